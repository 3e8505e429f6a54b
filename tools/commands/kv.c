/* tools/commands/kv.c: put, get, patch, rollback. */
#include <inttypes.h>
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/params.h"
#include "tools/commands.h"
#include "tools/commands/kv_paths.h"

#define MOUNT_FLAG(to)                                                                             \
    {                                                                                              \
        "mount", FLAG_STRING, (to), NULL, "Mount of the secrets engine; else it begins the path."  \
    }

/* What a write of KV v2 answers: a heading and the new version's metadata. */
static int show_written(struct cli *cli, const char *path, const struct reply *reply)
{
    const struct json *data = json_get(reply->json, "data");
    if (reply->json == NULL) {
        if (cli_format_is(cli, "table")) {
            cli_say(cli, "Success! Data written to: %s", path);
        }
        return CLI_FINE;
    }
    if (cli->field != NULL || !cli_format_is(cli, "table")) {
        return output_secret(cli, reply);
    }
    if (json_get(reply->json, "wrap_info") != NULL &&
        !json_is(json_get(reply->json, "wrap_info"), JSON_NULL)) {
        return output_secret(cli, reply);
    }
    kv_path_heading(cli, "Secret Path", path);
    kv_heading(cli, "Metadata", data);
    return output_secret(cli, reply);
}

static struct json *versioned_body(struct cli *cli, struct json *data, int64_t cas)
{
    struct json *body = json_object_new(cli->arena);
    struct json *options = json_object_new(cli->arena);
    if (cas >= 0) {
        json_set_int(cli->arena, options, "cas", cas);
    }
    json_set(cli->arena, body, "data", data);
    json_set(cli->arena, body, "options", options);
    return body;
}

/* The key and data arguments of put and patch. */
static int take_data(struct cli *cli, struct json **ret)
{
    struct cf_error err = {0};
    if (cli->args.count == 0) {
        cli_error(cli, "Not enough arguments (expected >1, got 0)");
        return CLI_USAGE;
    }
    if (cli->args.count == 1) {
        cli_error(cli, "Must supply data");
        return CLI_USAGE;
    }
    if (params_parse(cli, 1, ret, &err) != CF_OK) {
        cli_error(cli, "Failed to parse K=V data: %s", err.message);
        return CLI_USAGE;
    }
    return CLI_FINE;
}

int command_kv_put(struct cli *cli, char *const *argv)
{
    const char *mount = NULL;
    int64_t cas = -1;
    const struct flag flags[] = {
        MOUNT_FLAG(&mount),
        {"cas", FLAG_INT, &cas, NULL, "Write only if this is the current version; 0: only if new."},
    };
    struct json *data = NULL;
    struct kv_path path;
    struct reply reply;
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER | CLI_FORMAT | CLI_FIELD, argv);
    if (code != CLI_GO) {
        return code;
    }
    if ((code = take_data(cli, &data)) != CLI_FINE ||
        (code = kv_resolve(cli, mount, cli_arg(cli, 0), &path)) != CLI_FINE) {
        return code;
    }
    const char *full = kv_full_path(cli, &path, "data");
    struct call call = {
        .method = "PUT", .path = full, .body = path.v2 ? versioned_body(cli, data, cas) : data};
    code = session_do(cli, &call, &reply, "Error writing data to %s", full);
    return code != CLI_FINE ? code : show_written(cli, full, &reply);
}

static int show_secret(struct cli *cli, const struct kv_path *path, const char *full,
                       const struct reply *reply)
{
    const struct json *data = json_get(reply->json, "data");
    if (cli->field != NULL && path->v2) {
        const struct json *inner = json_get(data, "data");
        if (!json_is(inner, JSON_OBJECT)) {
            cli_error(cli, "No data found at %s", full);
            return CLI_REFUSED;
        }
        if (strcmp(cli->field, "data") == 0) {
            return output_secret(cli, reply);
        }
        return output_field(cli, inner, cli->field);
    }
    bool wrapped = json_is(json_get(reply->json, "wrap_info"), JSON_OBJECT);
    if (cli->field != NULL || !cli_format_is(cli, "table") || wrapped) {
        return output_secret(cli, reply);
    }
    if (!path->v2) {
        output_warnings(cli, reply->json);
        kv_heading(cli, "Data", data);
        kv_pairs(cli, data);
        return CLI_FINE;
    }
    kv_path_heading(cli, "Secret Path", full);
    const struct json *metadata = json_get(data, "metadata");
    if (json_is(metadata, JSON_OBJECT)) {
        kv_heading(cli, "Metadata", metadata);
        kv_pairs(cli, metadata);
        cli_say(cli, "%s", "");
    }
    const struct json *inner = json_get(data, "data");
    if (json_is(inner, JSON_OBJECT)) {
        kv_heading(cli, "Data", inner);
        kv_pairs(cli, inner);
    }
    return CLI_FINE;
}

/* Reads one version (0: the latest). A deleted one is a 404 with content, and an answer. */
static int read_version(struct cli *cli, const char *full, int64_t version, struct reply *reply,
                        const char *doing)
{
    struct json *query = json_object_new(cli->arena);
    if (version > 0) {
        json_set_text(cli->arena, query, "version", arena_printf(cli->arena, "%" PRId64, version));
    }
    struct call call = {.method = "GET", .path = full, .query = query, .absent_ok = true};
    int code = session_do(cli, &call, reply, "%s %s", doing, full);
    if (code != CLI_FINE) {
        return code;
    }
    if (reply->status == 404 && json_count(json_get(reply->json, "data")) == 0) {
        output_warnings(cli, reply->json);
        cli_error(cli, "No value found at %s", full);
        return CLI_REFUSED;
    }
    return CLI_FINE;
}

int command_kv_get(struct cli *cli, char *const *argv)
{
    const char *mount = NULL;
    int64_t version = 0;
    const struct flag flags[] = {
        MOUNT_FLAG(&mount),
        {"version", FLAG_INT, &version, NULL, "This version in place of the latest."},
    };
    struct kv_path path;
    struct reply reply;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    if ((code = kv_resolve(cli, mount, cli_arg(cli, 0), &path)) != CLI_FINE) {
        return code;
    }
    const char *full = kv_full_path(cli, &path, "data");
    code = read_version(cli, full, path.v2 ? version : 0, &reply, "Error reading");
    return code != CLI_FINE ? code : show_secret(cli, &path, full, &reply);
}

/* Reads, changes and writes under check-and-set: for servers or policies without PATCH. */
static int patch_by_rewrite(struct cli *cli, const char *full, struct json *data, int64_t cas,
                            struct reply *reply)
{
    struct reply old;
    int code = read_version(cli, full, 0, &old, "Error doing pre-read at");
    if (code != CLI_FINE) {
        return code;
    }
    const struct json *found = json_get(old.json, "data");
    struct json *before = json_get(found, "data");
    int64_t version = 0;
    if (!json_is(before, JSON_OBJECT) ||
        !json_int64(json_get(json_get(found, "metadata"), "version"), &version)) {
        cli_error(cli, "No data found at %s; patch only works on existing data", full);
        return CLI_REFUSED;
    }
    struct json *merged = json_merge_patch(cli->arena, before, data);
    struct call call = {.method = "PUT",
                        .path = full,
                        .body = versioned_body(cli, merged, cas >= 0 ? cas : version)};
    return session_do(cli, &call, reply, "Error writing data to %s", full);
}

static int patch_by_patch(struct cli *cli, const char *full, struct json *data, int64_t cas,
                          bool fall_back, struct reply *reply)
{
    struct cf_error err = {0};
    struct call call = {.method = "PATCH", .path = full, .body = versioned_body(cli, data, cas)};
    cf_status status = session_call(cli, &call, reply, &err);
    if (status == CF_OK && cli->output_curl) {
        return SESSION_PRINTED;
    }
    if (status != CF_OK) {
        cli_error(cli, "Error writing data to %s: %s", full, err.message);
        return CLI_REFUSED;
    }
    if (reply->status == 404) {
        cli_error(cli, "No value found at %s", full);
        return CLI_REFUSED;
    }
    if (fall_back && (reply->status == 403 || reply->status == 405)) {
        return patch_by_rewrite(cli, full, data, cas, reply);
    }
    if (reply->status < 200 || reply->status >= 300) {
        cli_error(cli, "Error writing data to %s: %s", full, session_error_text(cli, reply));
        return CLI_REFUSED;
    }
    return CLI_FINE;
}

int command_kv_patch(struct cli *cli, char *const *argv)
{
    const char *mount = NULL;
    const char *method = "";
    int64_t cas = -1;
    struct strings removed = {0};
    const struct flag flags[] = {
        MOUNT_FLAG(&mount),
        {"cas", FLAG_INT, &cas, NULL, "Write only if this is the current version."},
        {"method", FLAG_STRING, &method, NULL, "patch or rw; else patch, then rw if refused."},
        {"remove-data", FLAG_LIST, &removed, NULL, "Key to remove; repeatable."},
    };
    struct json *data = NULL;
    struct kv_path path;
    struct reply reply;
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER | CLI_FORMAT | CLI_FIELD, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (removed.count > 0 && cli->args.count == 1) {
        data = json_object_new(cli->arena);
    } else if ((code = take_data(cli, &data)) != CLI_FINE) {
        return code;
    }
    for (size_t i = 0; i < removed.count; i++) {
        json_object_set(cli->arena, data, cf_slice_str(removed.at[i]), json_null());
    }
    if ((code = kv_resolve(cli, mount, cli_arg(cli, 0), &path)) != CLI_FINE) {
        return code;
    }
    if (!path.v2) {
        cli_error(cli, "K/V engine mount must be version 2 for patch support");
        return CLI_REFUSED;
    }
    const char *full = kv_full_path(cli, &path, "data");
    if (strcmp(method, "rw") == 0) {
        code = patch_by_rewrite(cli, full, data, cas, &reply);
    } else if (strcmp(method, "patch") == 0 || *method == '\0') {
        code = patch_by_patch(cli, full, data, cas, *method == '\0', &reply);
    } else {
        cli_error(cli, "Unsupported method provided to -method flag: %s", method);
        return CLI_REFUSED;
    }
    return code != CLI_FINE ? code : show_written(cli, full, &reply);
}

int command_kv_rollback(struct cli *cli, char *const *argv)
{
    const char *mount = NULL;
    int64_t version = 0;
    bool given = false;
    const struct flag flags[] = {
        MOUNT_FLAG(&mount),
        {"version", FLAG_INT, &version, &given, "The version to write anew."},
    };
    struct kv_path path;
    struct reply reply;
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER | CLI_FORMAT | CLI_FIELD, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (cli->args.count != 1) {
        cli_error(cli, "Invalid number of arguments (expected 1, got %zu)", cli->args.count);
        return CLI_USAGE;
    }
    if (!given || version <= 0) {
        cli_error(cli,
                  given ? "Invalid value %" PRId64 " for the version flag"
                        : "Version flag must be specified",
                  version);
        return CLI_USAGE;
    }
    if ((code = kv_resolve(cli, mount, cli_arg(cli, 0), &path)) != CLI_FINE) {
        return code;
    }
    if (!path.v2) {
        cli_error(cli, "K/V engine mount must be version 2 for rollback support");
        return CLI_REFUSED;
    }
    const char *full = kv_full_path(cli, &path, "data");
    int64_t current = 0;
    if ((code = read_version(cli, full, 0, &reply, "Error doing pre-read at")) != CLI_FINE) {
        return code;
    }
    (void)json_int64(json_get(json_get(json_get(reply.json, "data"), "metadata"), "version"),
                     &current);
    if ((code = read_version(cli, full, version, &reply, "Error doing pre-read at")) != CLI_FINE) {
        return code;
    }
    const struct json *found = json_get(reply.json, "data");
    const struct json *metadata = json_get(found, "metadata");
    bool destroyed = false;
    (void)json_bool(json_get(metadata, "destroyed"), &destroyed);
    if (!json_is(json_get(found, "data"), JSON_OBJECT)) {
        bool deleted = !destroyed && json_get_string(metadata, "deletion_time").size > 0;
        cli_error(cli, "Cannot roll back to a version that has been %s",
                  deleted ? "deleted" : "destroyed");
        return CLI_REFUSED;
    }
    struct call call = {.method = "PUT",
                        .path = full,
                        .body = versioned_body(cli, json_get(found, "data"), current)};
    code = session_do(cli, &call, &reply, "Error writing data to %s", full);
    return code != CLI_FINE ? code : show_written(cli, full, &reply);
}
