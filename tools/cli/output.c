/* tools/cli/output.c: answers of the server in the format that was asked for. */
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/render.h"
#include "tools/cli/term.h"

static void put(struct cli *cli, struct cf_slice text)
{
    (void)fwrite(text.data, 1, text.size, cli->out);
}

bool output_machine(struct cli *cli, const struct json *value)
{
    CF_BUF(text) = {.secret = true};
    if (cli_format_is(cli, "json")) {
        render_json(&text, cli->arena, value);
    } else if (cli_format_is(cli, "yaml")) {
        render_yaml(&text, value);
    } else {
        return false;
    }
    cf_buf_add_byte(&text, '\n');
    put(cli, cf_buf_slice(&text));
    return true;
}

void output_warnings(struct cli *cli, const struct json *envelope)
{
    const struct json *warnings = json_get(envelope, "warnings");
    if (!json_is(warnings, JSON_ARRAY) || warnings->count == 0) {
        return;
    }
    cli_error(cli, "WARNING! The following warnings were returned from Vault:\n");
    for (uint32_t i = 0; i < warnings->count; i++) {
        struct cf_slice text = CF_SLICE_EMPTY;
        (void)json_string(warnings->items[i], &text);
        cli_error(cli, "  * %.*s\n", CF_SHOW(text));
    }
}

static void pair(struct table *table, const char *name, const struct json *value)
{
    CF_BUF(text) = {.secret = true};
    if (json_is(value, JSON_STRING)) {
        cf_buf_add_slice(&text, value->text);
    } else {
        render_value(&text, value);
    }
    table_pair(table, name, cf_buf_slice(&text));
}

static void pair_seconds(struct table *table, const char *name, const struct json *value)
{
    CF_BUF(text) = {0};
    int64_t seconds = 0;
    (void)json_int64(value, &seconds);
    render_duration(&text, seconds);
    table_pair(table, name, cf_buf_slice(&text));
}

static void pair_list(struct table *table, const char *name, const struct json *value)
{
    CF_BUF(text) = {0};
    render_quoted_list(&text, value);
    table_pair(table, name, cf_buf_slice(&text));
}

void output_pairs(struct table *table, const struct json *object)
{
    if (!json_is(object, JSON_OBJECT)) {
        return;
    }
    const uint32_t *order = render_order(table->arena, object);
    for (uint32_t i = 0; i < object->count; i++) {
        const struct json_member *member = &object->members[order[i]];
        CF_BUF(text) = {.secret = true};
        render_field(&text, member->key, member->value);
        table_row(table);
        table_cell(table, member->key);
        table_cell(table, cf_buf_slice(&text));
    }
}

static void lease_pairs(struct table *table, const struct json *envelope)
{
    int64_t seconds = 0;
    (void)json_int64(json_get(envelope, "lease_duration"), &seconds);
    if (seconds <= 0) {
        return;
    }
    const struct json *duration = json_get(envelope, "lease_duration");
    if (json_get_string(envelope, "lease_id").size > 0) {
        pair(table, "lease_id", json_get(envelope, "lease_id"));
        pair_seconds(table, "lease_duration", duration);
        pair(table, "lease_renewable", json_get(envelope, "renewable"));
    } else {
        pair_seconds(table, "refresh_interval", duration);
    }
}

static void auth_pairs(struct table *table, const struct json *auth)
{
    if (!json_is(auth, JSON_OBJECT)) {
        return;
    }
    int64_t seconds = 0;
    (void)json_int64(json_get(auth, "lease_duration"), &seconds);
    pair(table, "token", json_get(auth, "client_token"));
    pair(table, "token_accessor", json_get(auth, "accessor"));
    if (seconds == 0) {
        table_pair(table, "token_duration", CF_SLICE("∞")); /* a root token has no end */
    } else {
        pair_seconds(table, "token_duration", json_get(auth, "lease_duration"));
    }
    pair(table, "token_renewable", json_get(auth, "renewable"));
    pair_list(table, "token_policies", json_get(auth, "token_policies"));
    pair_list(table, "identity_policies", json_get(auth, "identity_policies"));
    pair_list(table, "policies", json_get(auth, "policies"));
    const struct json *metadata = json_get(auth, "metadata");
    for (size_t i = 0; json_is(metadata, JSON_OBJECT) && i < metadata->count; i++) {
        const struct json_member *member = &metadata->members[i];
        pair(table, arena_printf(table->arena, "token_meta_%.*s", CF_SHOW(member->key)),
             member->value);
    }
}

static void wrap_pairs(struct table *table, const struct json *wrap)
{
    if (!json_is(wrap, JSON_OBJECT)) {
        return;
    }
    pair(table, "wrapping_token:", json_get(wrap, "token"));
    pair(table, "wrapping_accessor:", json_get(wrap, "accessor"));
    pair_seconds(table, "wrapping_token_ttl:", json_get(wrap, "ttl"));
    pair(table, "wrapping_token_creation_time:", json_get(wrap, "creation_time"));
    pair(table, "wrapping_token_creation_path:", json_get(wrap, "creation_path"));
    if (json_get_string(wrap, "wrapped_accessor").size > 0) {
        pair(table, "wrapped_accessor:", json_get(wrap, "wrapped_accessor"));
    }
}

/* Member of the answer under its name, or null. */
static void carry(struct cli *cli, struct json *to, const struct json *from, const char *name)
{
    json_set(cli->arena, to, name, json_get(from, name));
}

struct json *output_envelope(struct cli *cli, const struct json *envelope)
{
    static const char *const always[] = {"request_id", "lease_id", "lease_duration",
                                         "renewable",  "data",     "warnings"};
    static const char *const present[] = {"auth", "wrap_info"};
    struct json *object = json_object_new(cli->arena);
    for (size_t i = 0; i < CF_LENGTH(always); i++) {
        carry(cli, object, envelope, always[i]);
    }
    for (size_t i = 0; i < CF_LENGTH(present); i++) {
        if (json_is(json_get(envelope, present[i]), JSON_OBJECT)) {
            carry(cli, object, envelope, present[i]);
        }
    }
    return object;
}

const struct json *output_find_field(struct cli *cli, const struct json *envelope,
                                     const char *field)
{
    static const struct {
        const char *field, *part, *name;
    } known[] = {
        {"token", "auth", "client_token"},
        {"token_accessor", "auth", "accessor"},
        {"token_duration", "auth", "lease_duration"},
        {"token_renewable", "auth", "renewable"},
        {"token_policies", "auth", "token_policies"},
        {"identity_policies", "auth", "identity_policies"},
        {"policies", "auth", "policies"},
        {"wrapping_token", "wrap_info", "token"},
        {"wrapping_accessor", "wrap_info", "accessor"},
        {"wrapping_token_ttl", "wrap_info", "ttl"},
        {"wrapping_token_creation_time", "wrap_info", "creation_time"},
        {"wrapping_token_creation_path", "wrap_info", "creation_path"},
        {"wrapped_accessor", "wrap_info", "wrapped_accessor"},
        {"lease_duration", NULL, "lease_duration"},
        {"lease_id", NULL, "lease_id"},
        {"request_id", NULL, "request_id"},
        {"renewable", NULL, "renewable"},
        {"refresh_interval", NULL, "lease_duration"},
    };
    const struct json *data = json_get(envelope, "data");
    bool is_auth = json_is(json_get(envelope, "auth"), JSON_OBJECT);
    bool is_wrap = !is_auth && json_is(json_get(envelope, "wrap_info"), JSON_OBJECT);
    const char *part = is_auth ? "auth" : is_wrap ? "wrap_info" : NULL;
    for (size_t i = 0; i < CF_LENGTH(known); i++) {
        bool here = part == NULL ? known[i].part == NULL
                                 : known[i].part != NULL && strcmp(part, known[i].part) == 0;
        if (here && strcmp(field, known[i].field) == 0) {
            const struct json *from = part != NULL ? json_get(envelope, part) : envelope;
            return json_get(from, known[i].name);
        }
    }
    if (part == NULL && strcmp(field, "data") == 0) {
        const struct json *inner = json_get(data, "data");
        return inner != NULL ? inner : data;
    }
    (void)cli;
    return json_get(data, field);
}

void output_raw(struct cli *cli, struct cf_slice text)
{
    put(cli, text);
    if (term_is_live(cli->out)) {
        (void)fputc('\n', cli->out);
    }
}

static int print_field(struct cli *cli, const struct json *value, const char *field)
{
    CF_BUF(text) = {.secret = true};
    if (value == NULL || json_is(value, JSON_NULL)) {
        cli_error(cli, "Field \"%s\" not present in secret", field);
        return CLI_USAGE;
    }
    if (cli_format_is(cli, "json")) {
        render_json(&text, cli->arena, value);
    } else if (cli_format_is(cli, "yaml")) {
        render_yaml(&text, value);
        cf_buf_add_byte(&text, '\n');
    } else {
        render_value(&text, value);
    }
    output_raw(cli, cf_buf_slice(&text));
    return CLI_FINE;
}

int output_field(struct cli *cli, const struct json *object, const char *field)
{
    return print_field(cli, json_get(object, field), field);
}

int output_secret(struct cli *cli, const struct reply *reply)
{
    const struct json *envelope = reply->json;
    struct table table;
    if (cli_format_is(cli, "raw") && cli->field == NULL) {
        cli_say(cli, "%.*s", CF_SHOW(reply->body));
        return CLI_FINE;
    }
    if (envelope == NULL) {
        return CLI_FINE;
    }
    if (cli->field != NULL) {
        return print_field(cli, output_find_field(cli, envelope, cli->field), cli->field);
    }
    if (output_machine(cli, output_envelope(cli, envelope))) {
        return CLI_FINE;
    }
    output_warnings(cli, envelope);
    table_init(&table, cli->arena);
    table_pair(&table, "Key", CF_SLICE("Value"));
    lease_pairs(&table, envelope);
    auth_pairs(&table, json_get(envelope, "auth"));
    wrap_pairs(&table, json_get(envelope, "wrap_info"));
    output_pairs(&table, json_get(envelope, "data"));
    if (table.count > 1) {
        table_print(&table, true, cli->out);
    }
    return CLI_FINE;
}

int output_object(struct cli *cli, const struct json *object)
{
    struct table table;
    if (cli->field != NULL) {
        return output_field(cli, object, cli->field);
    }
    if (output_machine(cli, object)) {
        return CLI_FINE;
    }
    table_init(&table, cli->arena);
    table_pair(&table, "Key", CF_SLICE("Value"));
    output_pairs(&table, object);
    if (table.count > 1) {
        table_print(&table, true, cli->out);
    }
    return CLI_FINE;
}

int output_list(struct cli *cli, const struct reply *reply)
{
    const struct json *keys = json_get(json_get(reply->json, "data"), "keys");
    struct table table;
    if (cli_format_is(cli, "raw")) {
        put(cli, reply->body);
        return CLI_FINE;
    }
    if (cli->detailed && cli_format_is(cli, "json")) {
        (void)output_machine(cli, output_envelope(cli, reply->json));
        return CLI_FINE;
    }
    if (output_machine(cli, keys)) {
        return CLI_FINE;
    }
    output_warnings(cli, reply->json);
    table_init(&table, cli->arena);
    table_row(&table);
    table_cell(&table, CF_SLICE("Keys"));
    for (size_t i = 0; json_is(keys, JSON_ARRAY) && i < keys->count; i++) {
        struct cf_slice name = CF_SLICE_EMPTY;
        (void)json_string(keys->items[i], &name);
        table_row(&table);
        table_cell(&table, name);
    }
    table_print(&table, true, cli->out);
    return CLI_FINE;
}
