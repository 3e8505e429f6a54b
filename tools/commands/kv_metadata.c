/* tools/commands/kv_metadata.c: get, put, patch, delete of a secret's metadata (KV v2). */
#include <stdlib.h>
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/params.h"
#include "tools/commands.h"
#include "tools/commands/kv_paths.h"

struct settings {
    int64_t max_versions;
    bool max_versions_given;
    bool cas_required, cas_required_given;
    const char *delete_after;
    struct strings custom, removed;
};

static int resolve(struct cli *cli, const char *mount, const char **full)
{
    struct kv_path path;
    if (!cli_want(cli, 1, 1, NULL)) {
        return CLI_USAGE;
    }
    int code = kv_resolve(cli, mount, cli_arg(cli, 0), &path);
    if (code != CLI_FINE) {
        return code;
    }
    if (!path.v2) {
        cli_error(cli, "Metadata not supported on KV Version 1");
        return CLI_USAGE;
    }
    *full = kv_full_path(cli, &path, "metadata");
    return CLI_GO;
}

static int parse_plain(struct cli *cli, char *const *argv, const char **full)
{
    const char *mount = NULL;
    const struct flag flags[] = {
        {"mount", FLAG_STRING, &mount, NULL, "Mount of the engine; else it begins the path."},
    };
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER | CLI_FORMAT | CLI_FIELD, argv);
    return code != CLI_GO ? code : resolve(cli, mount, full);
}

static int by_number(const void *a, const void *b)
{
    const struct json_member *const *left = a;
    const struct json_member *const *right = b;
    long x = strtol((const char *)(*left)->key.data, NULL, 10);
    long y = strtol((const char *)(*right)->key.data, NULL, 10);
    return (x > y) - (x < y);
}

static void show_versions(struct cli *cli, const struct json *versions)
{
    if (!json_is(versions, JSON_OBJECT)) {
        return;
    }
    struct json_member **order = arena_alloc(cli->arena, (versions->count + 1) * sizeof(*order));
    for (uint32_t i = 0; i < versions->count; i++) {
        order[i] = &versions->members[i];
    }
    qsort(order, versions->count, sizeof(struct json_member *), by_number);
    for (uint32_t i = 0; i < versions->count; i++) {
        const char *title = arena_printf(cli->arena, "Version %.*s", CF_SHOW(order[i]->key));
        cli_say(cli, "%s", "");
        kv_heading(cli, title, order[i]->value);
        kv_pairs(cli, order[i]->value);
    }
}

int command_kv_metadata_get(struct cli *cli, char *const *argv)
{
    const char *full = NULL;
    struct reply reply;
    int code = parse_plain(cli, argv, &full);
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "GET", .path = full, .absent_ok = true};
    code = session_do(cli, &call, &reply, "Error reading %s", full);
    if (code != CLI_FINE) {
        return code;
    }
    struct json *data = json_get(reply.json, "data");
    if (!json_is(data, JSON_OBJECT)) {
        cli_error(cli, "No value found at %s", full);
        return CLI_REFUSED;
    }
    if (cli->field != NULL || !cli_format_is(cli, "table")) {
        return output_secret(cli, &reply);
    }
    const struct json *versions = json_get(data, "versions");
    kv_path_heading(cli, "Metadata Path", full);
    kv_heading(cli, "Metadata", data);
    (void)json_object_remove(cli->arena, data, CF_SLICE("versions"));
    kv_pairs(cli, data);
    show_versions(cli, versions);
    return CLI_FINE;
}

static struct json *make_body(struct cli *cli, const struct settings *settings)
{
    struct json *body = json_object_new(cli->arena);
    bool ok = true;
    if (settings->max_versions_given) {
        json_set_int(cli->arena, body, "max_versions", settings->max_versions);
    }
    if (settings->cas_required_given) {
        json_set_bool(cli->arena, body, "cas_required", settings->cas_required);
    }
    if (settings->delete_after != NULL) {
        json_set_text(cli->arena, body, "delete_version_after", settings->delete_after);
    }
    struct json *custom = params_pairs(cli, &settings->custom, &ok);
    if (!ok) {
        return NULL;
    }
    for (size_t i = 0; i < settings->removed.count; i++) {
        json_object_set(cli->arena, custom, cf_slice_str(settings->removed.at[i]), json_null());
    }
    if (custom->count > 0) {
        json_set(cli->arena, body, "custom_metadata", custom);
    }
    return body;
}

static int change(struct cli *cli, char *const *argv, const char *method)
{
    bool patches = strcmp(method, "PATCH") == 0;
    const char *mount = NULL;
    const char *full = NULL;
    struct settings settings = {0};
    const struct flag flags[] = {
        {"mount", FLAG_STRING, &mount, NULL, "Mount of the engine; else it begins the path."},
        {"max-versions", FLAG_INT, &settings.max_versions, &settings.max_versions_given,
         "How many versions to keep."},
        {"cas-required", FLAG_BOOL, &settings.cas_required, &settings.cas_required_given,
         "Writes must name the current version."},
        {"delete-version-after", FLAG_SECONDS, &settings.delete_after, NULL,
         "Delete new versions after so long."},
        {"custom-metadata", FLAG_LIST, &settings.custom, NULL, "key=value; repeatable."},
        {"remove-custom-metadata", FLAG_LIST, &settings.removed, NULL,
         "Key to remove; repeatable."},
    };
    struct reply reply;
    int code = cli_parse(cli, flags, patches ? 6 : 5, CLI_SERVER | CLI_FORMAT | CLI_FIELD, argv);
    if (code != CLI_GO || (code = resolve(cli, mount, &full)) != CLI_GO) {
        return code;
    }
    struct json *body = make_body(cli, &settings);
    if (body == NULL) {
        return CLI_USAGE;
    }
    struct call call = {.method = method, .path = full, .body = body};
    code = session_do(cli, &call, &reply, "Error writing data to %s", full);
    if (code != CLI_FINE) {
        return code;
    }
    if (reply.json != NULL) {
        return output_secret(cli, &reply);
    }
    cli_say(cli, "Success! Data written to: %s", full);
    return CLI_FINE;
}

int command_kv_metadata_put(struct cli *cli, char *const *argv)
{
    return change(cli, argv, "PUT");
}

int command_kv_metadata_patch(struct cli *cli, char *const *argv)
{
    return change(cli, argv, "PATCH");
}

int command_kv_metadata_delete(struct cli *cli, char *const *argv)
{
    const char *full = NULL;
    struct reply reply;
    int code = parse_plain(cli, argv, &full);
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "DELETE", .path = full};
    code = session_do(cli, &call, &reply, "Error deleting %s", full);
    if (code == CLI_FINE) {
        cli_say(cli, "Success! Data deleted (if it existed) at: %s", full);
    }
    return code;
}
