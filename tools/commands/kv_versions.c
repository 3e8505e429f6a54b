/* tools/commands/kv_versions.c: delete, undelete, destroy, list, enable-versioning. */
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/commands.h"
#include "tools/commands/kv_paths.h"

/* A command on one key with -mount and perhaps -versions. */
static int parse(struct cli *cli, char *const *argv, struct strings *versions, struct kv_path *path)
{
    const char *mount = NULL;
    const struct flag flags[] = {
        {"mount", FLAG_STRING, &mount, NULL, "Mount of the engine; else it begins the path."},
        {"versions", FLAG_LIST, versions, NULL, "Versions, such as 1,3; repeatable."},
    };
    int code = cli_begin(cli, flags, versions != NULL ? 2 : 1, argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    code = kv_resolve(cli, mount, cli_arg(cli, 0), path);
    return code == CLI_FINE ? CLI_GO : code;
}

static int send_versions(struct cli *cli, const char *full, struct json *versions,
                         const char *doing, const char *done)
{
    struct json *body = json_object_new(cli->arena);
    struct reply reply;
    json_set(cli->arena, body, "versions", versions);
    struct call call = {.method = "PUT", .path = full, .body = body};
    int code = session_do(cli, &call, &reply, "%s %s", doing, full);
    if (code != CLI_FINE) {
        return code;
    }
    if (reply.json != NULL) {
        return output_secret(cli, &reply);
    }
    if (cli_format_is(cli, "table")) {
        cli_say(cli, "Success! Data %s: %s", done, full);
    }
    return CLI_FINE;
}

int command_kv_delete(struct cli *cli, char *const *argv)
{
    struct strings texts = {0};
    struct kv_path path;
    struct reply reply;
    int code = parse(cli, argv, &texts, &path);
    if (code != CLI_GO) {
        return code;
    }
    struct json *versions = kv_versions(cli, &texts);
    if (path.v2 && versions != NULL) {
        return send_versions(cli, kv_full_path(cli, &path, "delete"), versions, "Error deleting",
                             "deleted (if it existed) at");
    }
    const char *full = kv_full_path(cli, &path, "data");
    struct call call = {.method = "DELETE", .path = full};
    code = session_do(cli, &call, &reply, "Error deleting %s", full);
    if (code != CLI_FINE) {
        return code;
    }
    if (reply.json != NULL) {
        return output_secret(cli, &reply);
    }
    if (cli_format_is(cli, "table")) {
        cli_say(cli, "Success! Data deleted (if it existed) at: %s", full);
    }
    return CLI_FINE;
}

static int with_versions(struct cli *cli, char *const *argv, const char *verb, const char *name)
{
    struct strings texts = {0};
    struct kv_path path;
    int code = parse(cli, argv, &texts, &path);
    if (code != CLI_GO) {
        return code;
    }
    struct json *versions = kv_versions(cli, &texts);
    if (versions == NULL) {
        cli_error(cli,
                  "No versions provided, use the \"-versions\" flag to specify the version to %s.",
                  verb);
        return CLI_USAGE;
    }
    if (!path.v2) {
        cli_error(cli, "%s not supported on KV Version 1", name);
        return CLI_USAGE;
    }
    return send_versions(cli, kv_full_path(cli, &path, verb), versions, "Error writing data to",
                         "written to");
}

int command_kv_undelete(struct cli *cli, char *const *argv)
{
    return with_versions(cli, argv, "undelete", "Undelete");
}

int command_kv_destroy(struct cli *cli, char *const *argv)
{
    return with_versions(cli, argv, "destroy", "Destroy");
}

int command_kv_list(struct cli *cli, char *const *argv)
{
    const char *mount = NULL;
    const struct flag flags[] = {
        {"mount", FLAG_STRING, &mount, NULL, "Mount of the engine; else it begins the path."},
    };
    struct kv_path path;
    struct reply reply;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT, mount != NULL ? 0 : 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    const char *text = cli_arg(cli, 0) != NULL ? cli_arg(cli, 0) : "";
    if ((code = kv_resolve(cli, mount, text, &path)) != CLI_FINE) {
        return code;
    }
    const char *full = kv_full_path(cli, &path, "metadata");
    struct call call = {.method = "LIST", .path = full, .absent_ok = true};
    code = session_do(cli, &call, &reply, "Error listing %s", full);
    if (code != CLI_FINE) {
        return code;
    }
    if (json_count(json_get(json_get(reply.json, "data"), "keys")) > 0) {
        return output_list(cli, &reply);
    }
    if (cli_format_is(cli, "json")) {
        cli_say(cli, "{}");
    } else {
        cli_error(cli, "No value found at %s", full);
    }
    return CLI_REFUSED;
}

int command_kv_enable_versioning(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    const char *mount = cli_mount_path(cli, cli_arg(cli, 0));
    struct json *options = json_object_new(cli->arena);
    struct json *body = json_object_new(cli->arena);
    json_set_text(cli->arena, options, "version", "2");
    json_set(cli->arena, body, "options", options);
    const char *path =
        arena_printf(cli->arena, "sys/mounts/%s/tune", cli_clean_path(cli, cli_arg(cli, 0)));
    struct call call = {.method = "POST", .path = path, .body = body};
    code = session_do(cli, &call, &reply, "Error tuning secrets engine %s", mount);
    if (code == CLI_FINE) {
        cli_say(cli, "Success! Tuned the secrets engine at: %s", mount);
    }
    return code;
}
