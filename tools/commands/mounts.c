/* tools/commands/mounts.c: secrets and auth: list, enable, disable, tune, move. The two differ in
 * their path and in their texts. */
#include <string.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/params.h"
#include "tools/cli/render.h"
#include "tools/commands.h"

#define MOVE_POLL_US 200000
#define MOVE_POLLS 1500

static const struct kind {
    const char *path; /* below sys/ */
    bool auth;
} secrets = {"mounts", false}, auths = {"auth", true};

struct settings {
    const char *path, *description, *default_ttl, *max_ttl, *visibility, *token_type, *plugin;
    struct strings options, request_keys, response_keys, passthrough, allowed;
    int64_t version;
    bool local, seal_wrap, force_no_cache, description_given, version_given, force_given;
    bool entropy;
};

/* The flags that enable and tune share, then those of enable alone. */
#define TUNE_FLAGS(s)                                                                              \
    {"description", FLAG_STRING, &(s).description, &(s).description_given, "For people."},         \
        {"default-lease-ttl", FLAG_SECONDS, &(s).default_ttl, NULL, "Time to live by default."},   \
        {"max-lease-ttl", FLAG_SECONDS, &(s).max_ttl, NULL, "Longest time to live."},              \
        {"listing-visibility", FLAG_STRING, &(s).visibility, NULL, "unauth or hidden."},           \
        {"audit-non-hmac-request-keys", FLAG_LIST, &(s).request_keys, NULL,                        \
         "Request key that audit leaves readable; repeatable."},                                   \
        {"audit-non-hmac-response-keys", FLAG_LIST, &(s).response_keys, NULL,                      \
         "Response key that audit leaves readable; repeatable."},                                  \
        {"passthrough-request-headers", FLAG_LIST, &(s).passthrough, NULL,                         \
         "Header that the backend sees; repeatable."},                                             \
        {"allowed-response-headers", FLAG_LIST, &(s).allowed, NULL,                                \
         "Header that the backend may set; repeatable."},                                          \
        {"options", FLAG_LIST, &(s).options, NULL, "key=value; repeatable."},                      \
        {"version", FLAG_INT, &(s).version, &(s).version_given, "The same as -options=version=."}, \
    {                                                                                              \
        "token-type", FLAG_STRING, &(s).token_type, NULL, "default-service, service, batch."       \
    }

#define ENABLE_FLAGS(s)                                                                            \
    {"path", FLAG_STRING, &(s).path, NULL, "Where to mount; else the type."},                      \
        {"local", FLAG_BOOL, &(s).local, NULL, "Not replicated."},                                 \
        {"seal-wrap", FLAG_BOOL, &(s).seal_wrap, NULL, "Wrap what is critical by the seal."},      \
        {"external-entropy-access", FLAG_BOOL, &(s).entropy, NULL, "May use outside randomness."}, \
        {"plugin-name", FLAG_STRING, &(s).plugin, NULL, "Name of the plugin."},                    \
    {                                                                                              \
        "force-no-cache", FLAG_BOOL, &(s).force_no_cache, &(s).force_given, "Never cache."         \
    }

static void set_list(struct cli *cli, struct json *to, const char *name,
                     const struct strings *texts)
{
    if (texts->count > 0) {
        struct json *list = json_array_new(cli->arena);
        for (size_t i = 0; i < texts->count; i++) {
            json_array_add(cli->arena, list, json_from_text(cli->arena, texts->at[i]));
        }
        json_set(cli->arena, to, name, list);
    }
}

static void set_text(struct cli *cli, struct json *to, const char *name, const char *value)
{
    if (value != NULL) {
        json_set_text(cli->arena, to, name, value);
    }
}

static void set_config(struct cli *cli, struct json *to, const struct settings *settings)
{
    set_text(cli, to, "default_lease_ttl", settings->default_ttl);
    set_text(cli, to, "max_lease_ttl", settings->max_ttl);
    set_text(cli, to, "listing_visibility", settings->visibility);
    set_text(cli, to, "token_type", settings->token_type);
    set_list(cli, to, "audit_non_hmac_request_keys", &settings->request_keys);
    set_list(cli, to, "audit_non_hmac_response_keys", &settings->response_keys);
    set_list(cli, to, "passthrough_request_headers", &settings->passthrough);
    set_list(cli, to, "allowed_response_headers", &settings->allowed);
    if (settings->force_given) {
        json_set_bool(cli->arena, to, "force_no_cache", settings->force_no_cache);
    }
}

static bool set_options(struct cli *cli, struct json *to, const struct settings *settings)
{
    bool ok = true;
    struct json *options = params_pairs(cli, &settings->options, &ok);
    if (!ok) {
        return false;
    }
    if (settings->version_given) {
        json_set_text(cli->arena, options, "version",
                      arena_printf(cli->arena, "%lld", (long long)settings->version));
    }
    if (options->count > 0) {
        json_set(cli->arena, to, "options", options);
    }
    return true;
}

static int enable(struct cli *cli, char *const *argv, const struct kind *kind)
{
    struct settings s = {0};
    const struct flag flags[] = {TUNE_FLAGS(s), ENABLE_FLAGS(s)};
    struct reply reply;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv, (struct cli_rule){CLI_SERVER, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    const char *type = cli_clean_path(cli, cli_arg(cli, 0));
    if (strcmp(type, "plugin") == 0 && s.plugin != NULL) {
        type = s.plugin;
    }
    const char *mount = cli_mount_path(cli, s.path != NULL ? s.path : type);
    struct json *body = json_object_new(cli->arena);
    struct json *config = json_object_new(cli->arena);
    json_set_text(cli->arena, body, "type", type);
    json_set_text(cli->arena, body, "description", s.description != NULL ? s.description : "");
    json_set_bool(cli->arena, body, "local", s.local);
    json_set_bool(cli->arena, body, "seal_wrap", s.seal_wrap);
    json_set_bool(cli->arena, body, "external_entropy_access", s.entropy);
    set_config(cli, config, &s);
    json_set(cli->arena, body, "config", config);
    if (!set_options(cli, body, &s)) {
        return CLI_USAGE;
    }
    const char *path =
        arena_printf(cli->arena, "sys/%s/%s", kind->path, cli_clean_path(cli, mount));
    struct call call = {.method = "POST", .path = path, .body = body};
    const char *doing =
        kind->auth ? arena_printf(cli->arena, "Error enabling %s auth", type) : "Error enabling";
    code = session_do(cli, &call, &reply, "%s", doing);
    if (code == CLI_FINE) {
        cli_say(cli,
                kind->auth ? "Success! Enabled %s auth method at: %s"
                           : "Success! Enabled the %s secrets engine at: %s",
                type, mount);
    }
    return code;
}

static int disable(struct cli *cli, char *const *argv, const struct kind *kind)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    const char *thing = kind->auth ? "auth method" : "secrets engine";
    const char *mount = cli_mount_path(cli, cli_arg(cli, 0));
    const char *path =
        arena_printf(cli->arena, "sys/%s/%s", kind->path, cli_clean_path(cli, cli_arg(cli, 0)));
    struct call call = {.method = "DELETE", .path = path};
    code = session_do(cli, &call, &reply, "Error disabling %s at %s", thing, mount);
    if (code == CLI_FINE) {
        cli_say(cli, "Success! Disabled the %s (if it existed) at: %s", thing, mount);
    }
    return code;
}

static int tune(struct cli *cli, char *const *argv, const struct kind *kind)
{
    struct settings s = {0};
    const struct flag flags[] = {TUNE_FLAGS(s)};
    struct reply reply;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv, (struct cli_rule){CLI_SERVER, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    const char *thing = kind->auth ? "auth method" : "secrets engine";
    const char *mount = cli_mount_path(cli, cli_arg(cli, 0));
    struct json *body = json_object_new(cli->arena);
    set_config(cli, body, &s);
    if (s.description_given) {
        set_text(cli, body, "description", s.description);
    }
    if (!set_options(cli, body, &s)) {
        return CLI_USAGE;
    }
    const char *path = arena_printf(cli->arena, "sys/mounts/%s%s/tune", kind->auth ? "auth/" : "",
                                    cli_clean_path(cli, cli_arg(cli, 0)));
    struct call call = {.method = "POST", .path = path, .body = body};
    code = session_do(cli, &call, &reply, "Error tuning %s %s", thing, mount);
    if (code == CLI_FINE) {
        cli_say(cli, "Success! Tuned the %s at: %s", thing, mount);
    }
    return code;
}

static void cell(struct table *table, const struct json *value)
{
    CF_BUF(text) = {0};
    render_value(&text, value);
    table_cell(table,
               json_is(value, JSON_NULL) || value == NULL ? CF_SLICE("") : cf_buf_slice(&text));
}

static void ttl_cell(struct table *table, const struct json *value)
{
    CF_BUF(text) = {0};
    int64_t seconds = 0;
    (void)json_int64(value, &seconds);
    render_duration(&text, seconds);
    table_cell(table, seconds == 0 ? CF_SLICE("system") : cf_buf_slice(&text));
}

static void mount_row(struct table *table, struct cf_slice path, const struct json *mount,
                      bool detailed)
{
    const struct json *config = json_get(mount, "config");
    const struct json *options = json_get(mount, "options");
    table_row(table);
    table_cell(table, path);
    cell(table, json_get(mount, "type"));
    cell(table, json_get(mount, "accessor"));
    if (detailed) {
        ttl_cell(table, json_get(config, "default_lease_ttl"));
        ttl_cell(table, json_get(config, "max_lease_ttl"));
        cell(table, json_get(mount, "local"));
        cell(table, json_get(mount, "seal_wrap"));
        cell(table, options != NULL && options->type == JSON_OBJECT ? options : NULL);
    }
    cell(table, json_get(mount, "description"));
    if (detailed) {
        cell(table, json_get(mount, "uuid"));
    }
}

static int list(struct cli *cli, char *const *argv, const struct kind *kind)
{
    static const char *const simple[] = {"Path", "Type", "Accessor", "Description"};
    static const char *const detailed[] = {"Path",        "Type",  "Accessor",  "Default TTL",
                                           "Max TTL",     "Local", "Seal Wrap", "Options",
                                           "Description", "UUID"};
    struct reply reply;
    struct table table;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER | CLI_FORMAT, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "GET", .path = arena_printf(cli->arena, "sys/%s", kind->path)};
    code = session_do(cli, &call, &reply, "Error listing %s",
                      kind->auth ? "enabled authentications" : "secrets engines");
    if (code != CLI_FINE) {
        return code;
    }
    const struct json *mounts = json_get(reply.json, "data");
    if (output_machine(cli, mounts)) {
        return CLI_FINE;
    }
    table_init(&table, cli->arena);
    table_row(&table);
    size_t columns = cli->detailed ? CF_LENGTH(detailed) : CF_LENGTH(simple);
    for (size_t i = 0; i < columns; i++) {
        table_cell(&table, cf_slice_str(cli->detailed ? detailed[i] : simple[i]));
    }
    if (json_is(mounts, JSON_OBJECT)) {
        const uint32_t *order = render_order(cli->arena, mounts);
        for (uint32_t i = 0; i < mounts->count; i++) {
            const struct json_member *mount = &mounts->members[order[i]];
            mount_row(&table, mount->key, mount->value, cli->detailed);
        }
    }
    table_print(&table, true, cli->out);
    return CLI_FINE;
}

int command_secrets_list(struct cli *cli, char *const *argv)
{
    return list(cli, argv, &secrets);
}

int command_secrets_enable(struct cli *cli, char *const *argv)
{
    return enable(cli, argv, &secrets);
}

int command_secrets_disable(struct cli *cli, char *const *argv)
{
    return disable(cli, argv, &secrets);
}

int command_secrets_tune(struct cli *cli, char *const *argv)
{
    return tune(cli, argv, &secrets);
}

int command_auth_list(struct cli *cli, char *const *argv)
{
    return list(cli, argv, &auths);
}

int command_auth_enable(struct cli *cli, char *const *argv)
{
    return enable(cli, argv, &auths);
}

int command_auth_disable(struct cli *cli, char *const *argv)
{
    return disable(cli, argv, &auths);
}

int command_auth_tune(struct cli *cli, char *const *argv)
{
    return tune(cli, argv, &auths);
}

/* Waits for the end of a move that runs in the background. */
static int follow_move(struct cli *cli, const char *from, const char *to, const char *id,
                       const char *thing)
{
    struct reply reply;
    struct call call = {.method = "GET",
                        .path = arena_printf(cli->arena, "sys/remount/status/%s", id)};
    for (unsigned i = 0; i < MOVE_POLLS; i++) {
        int code =
            session_do(cli, &call, &reply,
                       "Error checking migration status of %s %s to %s", thing, from, to);
        if (code != CLI_FINE) {
            return code;
        }
        const struct json *info = json_get(json_get(reply.json, "data"), "migration_info");
        struct cf_slice status = json_get_string(info, "status");
        if (cf_slice_is(status, "success")) {
            cli_say(cli, "Success! Finished moving %s %s to %s, with migration ID %s", thing,
                    from, to, id);
            return CLI_FINE;
        }
        if (cf_slice_is(status, "failure")) {
            cli_error(cli,
                      "Failure! Error encountered moving %s %s to %s, with migration ID %s",
                      thing, from, to, id);
            return CLI_REFUSED;
        }
        (void)usleep(MOVE_POLL_US);
    }
    cli_error(cli, "The move with migration ID %s has not ended yet", id);
    return CLI_REFUSED;
}

/* Auth mounts are named below auth/ where both kinds could be meant; who wrote it is understood. */
static const char *below(struct cli *cli, const struct kind *kind, const char *path)
{
    bool there = !kind->auth || strncmp(path, "auth/", 5) == 0;
    return there ? path : arena_printf(cli->arena, "auth/%s", path);
}

static int move(struct cli *cli, char *const *argv, const struct kind *kind)
{
    const char *thing = kind->auth ? "auth method" : "secrets engine";
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER, 2, 2});
    if (code != CLI_GO) {
        return code;
    }
    const char *from = cli_mount_path(cli, cli_arg(cli, 0));
    const char *to = cli_mount_path(cli, cli_arg(cli, 1));
    struct json *body = json_object_new(cli->arena);
    json_set_text(cli->arena, body, "from", below(cli, kind, from));
    json_set_text(cli->arena, body, "to", below(cli, kind, to));
    struct call call = {.method = "POST", .path = "sys/remount", .body = body};
    code = session_do(cli, &call, &reply, "Error moving %s %s to %s", thing, from, to);
    if (code != CLI_FINE) {
        return code;
    }
    struct cf_slice id = json_get_string(json_get(reply.json, "data"), "migration_id");
    const char *text = arena_text(cli->arena, id);
    cli_say(cli, "Started moving %s %s to %s, with migration ID %s", thing, from, to, text);
    return follow_move(cli, from, to, text, thing);
}

int command_secrets_move(struct cli *cli, char *const *argv)
{
    return move(cli, argv, &secrets);
}

int command_auth_move(struct cli *cli, char *const *argv)
{
    return move(cli, argv, &auths);
}
