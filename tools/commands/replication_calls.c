/* tools/commands/replication_calls.c: the calls of sys/replication as commands: enable, token, join, promote and the
 * like. Each is one request; -dry-run shows what it would do. */
#include <stdio.h>
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/commands.h"

#define GROUPS (CLI_SERVER | CLI_FORMAT | CLI_FIELD | CLI_ANYWHERE)

/* What the flags of all of them together say; a command takes those of its own list. */
struct asked {
    const char *kind, *cluster_addr, *api_addr, *ca_file, *ca_path, *dr_token, *ttl, *public_key;
    struct strings addresses;
    bool dry_run, force, detach, secondary, rotate;
};

/* "-": the first line of standard input, so that the token is in no list of processes. */
static const char *token_read(struct cli *cli, const char *text)
{
    char line[16384];
    if (strcmp(text, "-") != 0) {
        return text;
    }
    if (fgets(line, sizeof(line), stdin) == NULL) {
        return "";
    }
    line[strcspn(line, "\r\n")] = '\0';
    text = arena_text(cli->arena, cf_slice_str(line));
    cf_wipe(line, sizeof(line));
    return text;
}

static void set_text(struct cli *cli, struct json *body, const char *name, const char *text)
{
    if (text != NULL) {
        json_set_text(cli->arena, body, name, text);
    }
}

static void show_list(struct cli *cli, const char *title, const struct json *list)
{
    if (json_count(list) != 0) {
        (void)fprintf(cli->out, "\n%s\n", title);
    }
    for (size_t i = 0; i < json_count(list); i++) {
        struct cf_slice text;
        if (json_string(json_item(list, i), &text)) {
            (void)fprintf(cli->out, "  - %.*s\n", CF_SHOW(text));
        }
    }
}

static bool says(const struct json *object, const char *name)
{
    bool value = false;
    return json_bool(json_get(object, name), &value) && value;
}

/* Exit code 2 when something is missing, so that scripts can ask before they act. */
static int show_dry_run(struct cli *cli, const struct reply *reply)
{
    const struct json *data = json_get(reply->json, "data");
    bool fine = says(data, "would_succeed");
    struct table table;
    if (output_machine(cli, data)) {
        return fine ? CLI_FINE : CLI_REFUSED;
    }
    const struct json *checks = json_get(data, "checks");
    table_init(&table, cli->arena);
    table_row(&table);
    table_cell(&table, CF_SLICE("Check"));
    table_cell(&table, CF_SLICE("Result"));
    table_cell(&table, CF_SLICE("Text"));
    for (size_t i = 0; i < json_count(checks); i++) {
        const struct json *one = json_item(checks, i);
        table_row(&table);
        table_cell(&table, json_get_string(one, "check"));
        table_cell(&table, says(one, "ok") ? CF_SLICE("ok") : CF_SLICE("missing"));
        table_cell(&table, json_get_string(one, "text"));
    }
    if (json_count(checks) != 0) {
        table_print(&table, true, cli->out);
    }
    show_list(cli, "What would happen:", json_get(data, "effects"));
    show_list(cli, "What is missing:", json_get(data, "missing"));
    (void)fprintf(cli->out, "\n%s Nothing was changed.\n",
                  fine ? "The call would succeed." : "The call would fail.");
    return fine ? CLI_FINE : CLI_REFUSED;
}

static int call_it(struct cli *cli, const struct asked *asked, const char *call_path, struct json *body)
{
    struct reply reply;
    bool known = strcmp(asked->kind, "performance") == 0 || strcmp(asked->kind, "dr") == 0;
    if (!known) {
        cli_error(cli, "-kind takes \"performance\" or \"dr\"");
        return CLI_USAGE;
    }
    if (asked->dry_run) {
        json_set_bool(cli->arena, body, "dry_run", true);
    }
    set_text(cli, body, "dr_operation_token", asked->dr_token);
    struct call call = {
        .method = "POST",
        .path = arena_printf(cli->arena, "sys/replication/%s/%s", asked->kind, call_path),
        .body = body,
        .at_root = true};
    int code = session_do(cli, &call, &reply, "Error calling %s", call.path);
    if (code != CLI_FINE) {
        return code;
    }
    bool is_dry = asked->dry_run && says(json_get(reply.json, "data"), "dry_run");
    return is_dry ? show_dry_run(cli, &reply) : output_secret(cli, &reply);
}

#define KIND {"kind", FLAG_STRING, &asked.kind, NULL, "\"performance\" (default) or \"dr\"."}
#define DRY_RUN {"dry-run", FLAG_BOOL, &asked.dry_run, NULL, "Say what would happen; change nothing."}
#define DR_TOKEN {"dr-token", FLAG_STRING, &asked.dr_token, NULL, "DR operation token, on a DR secondary."}
#define CLUSTER_ADDR                                                                               \
    {"primary-cluster-addr", FLAG_STRING, &asked.cluster_addr, NULL,                               \
     "Cluster address that tokens name in place of the nodes' own."}
#define PRIMARY                                                                                    \
    {"primary-api-addr", FLAG_STRING, &asked.api_addr, NULL,                                       \
     "API address of the primary in place of the token's."},                                       \
        {"primary-ca-file", FLAG_STRING, &asked.ca_file, NULL,                                     \
         "File on the server that verifies the primary's API certificate."},                       \
        {"primary-ca-path", FLAG_STRING, &asked.ca_path, NULL, "Folder of such files there."}

#define BEGIN(least, most)                                                                         \
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv, (struct cli_rule){GROUPS, (least), (most)}); \
    if (code != CLI_GO) {                                                                          \
        return code;                                                                               \
    }                                                                                              \
    struct json *body = json_object_new(cli->arena)

int command_replication_enable(struct cli *cli, char *const *argv)
{
    struct asked asked = {.kind = "performance"};
    const struct flag flags[] = {KIND, CLUSTER_ADDR, DRY_RUN};
    BEGIN(0, 0);
    set_text(cli, body, "primary_cluster_addr", asked.cluster_addr);
    return call_it(cli, &asked, "primary/enable", body);
}

int command_replication_demote(struct cli *cli, char *const *argv)
{
    struct asked asked = {.kind = "performance"};
    const struct flag flags[] = {KIND, DRY_RUN, DR_TOKEN};
    BEGIN(0, 0);
    return call_it(cli, &asked, "primary/demote", body);
}

int command_replication_disable(struct cli *cli, char *const *argv)
{
    struct asked asked = {.kind = "performance"};
    const struct flag flags[] = {
        KIND, DR_TOKEN, {"secondary", FLAG_BOOL, &asked.secondary, NULL, "This cluster is a secondary."}};
    BEGIN(0, 0);
    return call_it(cli, &asked, asked.secondary ? "secondary/disable" : "primary/disable", body);
}

int command_replication_token(struct cli *cli, char *const *argv)
{
    struct asked asked = {.kind = "performance"};
    const struct flag flags[] = {
        KIND,
        {"ttl", FLAG_SECONDS, &asked.ttl, NULL, "How long the token may be used (30m)."},
        {"public-key", FLAG_STRING, &asked.public_key, NULL, "Seal it to this key of the secondary."}};
    BEGIN(1, 1);
    json_set_text(cli->arena, body, "id", cli_arg(cli, 0));
    set_text(cli, body, "ttl", asked.ttl);
    set_text(cli, body, "secondary_public_key", asked.public_key);
    return call_it(cli, &asked, "primary/secondary-token", body);
}

int command_replication_public_key(struct cli *cli, char *const *argv)
{
    struct asked asked = {.kind = "performance"};
    const struct flag flags[] = {KIND, DR_TOKEN};
    BEGIN(0, 0);
    return call_it(cli, &asked, "secondary/generate-public-key", body);
}

int command_replication_revoke(struct cli *cli, char *const *argv)
{
    struct asked asked = {.kind = "performance"};
    const struct flag flags[] = {
        KIND, {"rotate", FLAG_BOOL, &asked.rotate, NULL, "Replace the data key, too."}};
    BEGIN(1, 1);
    json_set_text(cli->arena, body, "id", cli_arg(cli, 0));
    if (asked.rotate) {
        json_set_bool(cli->arena, body, "rotate", true);
    }
    return call_it(cli, &asked, "primary/revoke-secondary", body);
}

static void add_primary(struct cli *cli, const struct asked *asked, struct json *body)
{
    set_text(cli, body, "primary_api_addr", asked->api_addr);
    set_text(cli, body, "ca_file", asked->ca_file);
    set_text(cli, body, "ca_path", asked->ca_path);
}

int command_replication_join(struct cli *cli, char *const *argv)
{
    struct asked asked = {.kind = "performance"};
    const struct flag flags[] = {KIND, PRIMARY, DRY_RUN};
    BEGIN(1, 1);
    json_set_text(cli->arena, body, "token", token_read(cli, cli_arg(cli, 0)));
    add_primary(cli, &asked, body);
    return call_it(cli, &asked, "secondary/enable", body);
}

int command_replication_promote(struct cli *cli, char *const *argv)
{
    struct asked asked = {.kind = "performance"};
    const struct flag flags[] = {
        KIND, CLUSTER_ADDR, DR_TOKEN, DRY_RUN,
        {"force", FLAG_BOOL, &asked.force, NULL, "Although data is being fetched."}};
    BEGIN(0, 0);
    set_text(cli, body, "primary_cluster_addr", asked.cluster_addr);
    if (asked.force) {
        json_set_bool(cli->arena, body, "force", true);
    }
    return call_it(cli, &asked, "secondary/promote", body);
}

int command_replication_update_primary(struct cli *cli, char *const *argv)
{
    struct asked asked = {.kind = "performance"};
    const struct flag flags[] = {
        KIND, PRIMARY, DR_TOKEN, DRY_RUN,
        {"addr", FLAG_LIST, &asked.addresses, NULL, "New cluster address of the same primary; repeatable."},
        {"detach", FLAG_BOOL, &asked.detach, NULL, "Forget the primary."}};
    BEGIN(0, 1);
    bool has_token = cli->args.count == 1;
    if (has_token + asked.detach + (asked.addresses.count != 0) != 1) {
        cli_error(cli, "Give one of TOKEN, -addr or -detach");
        return CLI_USAGE;
    }
    if (asked.addresses.count != 0) {
        struct json *list = json_array_new(cli->arena);
        for (size_t i = 0; i < asked.addresses.count; i++) {
            json_array_add(cli->arena, list, json_from_text(cli->arena, asked.addresses.at[i]));
        }
        json_set(cli->arena, body, "update_primary_addrs", list);
    } else {
        json_set_text(cli->arena, body, "token", has_token ? token_read(cli, cli_arg(cli, 0)) : "");
        add_primary(cli, &asked, body);
    }
    return call_it(cli, &asked, "secondary/update-primary", body);
}
