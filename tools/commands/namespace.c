/* tools/commands/namespace.c: namespace list, scan, lookup, create, patch, delete, lock, unlock. */
#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/params.h"
#include "tools/commands.h"

static const char *path_of(struct cli *cli)
{
    return arena_printf(cli->arena, "sys/namespaces/%s", cli_clean_path(cli, cli_arg(cli, 0)));
}

/* The names below the namespace in use; with `method` SCAN those at any depth. */
static int list(struct cli *cli, char *const *argv, const char *method, const char *doing)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER | CLI_FORMAT, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = method, .path = "sys/namespaces", .absent_ok = true};
    code = session_do(cli, &call, &reply, "%s", doing);
    if (code != CLI_FINE) {
        return code;
    }
    const struct json *data = json_get(reply.json, "data");
    if (json_count(json_get(data, "keys")) == 0) {
        if (!output_machine(cli, json_object_new(cli->arena))) {
            cli_error(cli, "No namespaces found");
        }
        return CLI_REFUSED;
    }
    if (cli->detailed && output_machine(cli, json_get(data, "key_info"))) {
        return CLI_FINE;
    }
    return output_list(cli, &reply);
}

int command_namespace_list(struct cli *cli, char *const *argv)
{
    return list(cli, argv, "LIST", "Error listing namespaces");
}

int command_namespace_scan(struct cli *cli, char *const *argv)
{
    return list(cli, argv, "SCAN", "Error scanning namespaces");
}

int command_namespace_lookup(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "GET", .path = path_of(cli), .absent_ok = true};
    code = session_do(cli, &call, &reply, "Error looking up namespace");
    if (code == CLI_FINE && reply.status == 404) {
        cli_error(cli, "Namespace not found");
        return CLI_REFUSED;
    }
    return code != CLI_FINE ? code : output_secret(cli, &reply);
}

int command_namespace_create(struct cli *cli, char *const *argv)
{
    struct strings metadata = {0};
    const struct flag flags[] = {
        {"custom-metadata", FLAG_LIST, &metadata, NULL, "key=value to keep with it; repeatable."},
    };
    struct reply reply;
    bool ok = true;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    struct json *pairs = params_pairs(cli, &metadata, &ok);
    if (!ok) {
        return CLI_USAGE;
    }
    struct json *body = json_object_new(cli->arena);
    json_set(cli->arena, body, "custom_metadata", pairs);
    struct call call = {.method = "PUT", .path = path_of(cli), .body = body};
    code = session_do(cli, &call, &reply, "Error creating namespace");
    return code != CLI_FINE ? code : output_secret(cli, &reply);
}

int command_namespace_patch(struct cli *cli, char *const *argv)
{
    struct strings metadata = {0};
    struct strings removed = {0};
    const struct flag flags[] = {
        {"custom-metadata", FLAG_LIST, &metadata, NULL, "key=value to set; repeatable."},
        {"remove-custom-metadata", FLAG_LIST, &removed, NULL, "Key to remove; repeatable."},
    };
    struct reply reply;
    bool ok = true;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    struct json *pairs = params_pairs(cli, &metadata, &ok);
    if (!ok) {
        return CLI_USAGE;
    }
    for (size_t i = 0; i < removed.count; i++) {
        json_set(cli->arena, pairs, removed.at[i], json_null()); /* a merge patch removes by null */
    }
    struct json *body = json_object_new(cli->arena);
    json_set(cli->arena, body, "custom_metadata", pairs);
    struct call call = {
        .method = "PATCH", .path = path_of(cli), .body = body, .absent_ok = true};
    code = session_do(cli, &call, &reply, "Error patching namespace");
    if (code == CLI_FINE && reply.status == 404) {
        cli_error(cli, "Namespace not found");
        return CLI_REFUSED;
    }
    return code != CLI_FINE ? code : output_secret(cli, &reply);
}

int command_namespace_delete(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER | CLI_FORMAT, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "DELETE", .path = path_of(cli)};
    code = session_do(cli, &call, &reply, "Error deleting namespace");
    if (code != CLI_FINE) {
        return code;
    }
    if (reply.json != NULL) {
        return output_secret(cli, &reply); /* it goes in the background: the answer says so */
    }
    cli_say(cli, "Success! Namespace deleted at: %s", cli_mount_path(cli, cli_arg(cli, 0)));
    return CLI_FINE;
}

static const char *lock_path(struct cli *cli, const char *verb)
{
    const char *below = cli_arg(cli, 0);
    return below == NULL ? arena_printf(cli->arena, "sys/namespaces/api-lock/%s", verb)
                         : arena_printf(cli->arena, "sys/namespaces/api-lock/%s/%s", verb,
                                        cli_clean_path(cli, below));
}

int command_namespace_lock(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 0, 1, "0 or 1"});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "PUT", .path = lock_path(cli, "lock")};
    code = session_do(cli, &call, &reply, "Error locking namespace");
    if (code != CLI_FINE) {
        return code;
    }
    if (!cli_format_is(cli, "table") || cli->field != NULL) {
        return output_secret(cli, &reply);
    }
    struct cf_slice key = json_get_string(json_get(reply.json, "data"), "unlock_key");
    cli_say(cli, "Unlock Key: %.*s", CF_SHOW(key));
    cli_say(cli, "\nThe namespace is locked. Keep the unlock key: \"namespace unlock\" wants it,\n"
                 "or a token with the sudo capability.");
    return CLI_FINE;
}

int command_namespace_unlock(struct cli *cli, char *const *argv)
{
    const char *key = NULL;
    const struct flag flags[] = {
        {"unlock-key", FLAG_STRING, &key, NULL, "What \"namespace lock\" printed."},
    };
    struct reply reply;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT, 0, 1, "0 or 1"});
    if (code != CLI_GO) {
        return code;
    }
    struct json *body = json_object_new(cli->arena);
    json_set_text(cli->arena, body, "unlock_key", key != NULL ? key : "");
    struct call call = {.method = "PUT", .path = lock_path(cli, "unlock"), .body = body};
    code = session_do(cli, &call, &reply, "Error unlocking namespace");
    if (code != CLI_FINE) {
        return code;
    }
    if (json_count(json_get(reply.json, "warnings")) > 0) {
        output_warnings(cli, reply.json);
    } else {
        cli_say(cli, "Namespace unlocked successfully!");
    }
    return CLI_FINE;
}
