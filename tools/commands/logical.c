/* tools/commands/logical.c: read, write, patch, delete, list, scan, unwrap, path-help. */
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/params.h"
#include "tools/commands.h"

static int bad_data(struct cli *cli, const struct cf_error *err)
{
    cli_error(cli, "Failed to parse K=V data: %s", err->message);
    return CLI_USAGE;
}

/* A 404 with content or warnings is an answer all the same (a deleted version in KV v2). */
static bool holds_something(const struct reply *reply)
{
    const struct json *data = json_get(reply->json, "data");
    const struct json *warnings = json_get(reply->json, "warnings");
    return reply->status == 200 || json_count(data) > 0 || json_count(warnings) > 0;
}

int command_read(struct cli *cli, char *const *argv)
{
    struct json *query = NULL;
    struct cf_error err = {0};
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 1, SIZE_MAX});
    if (code != CLI_GO) {
        return code;
    }
    if (params_parse(cli, 1, &query, &err) != CF_OK) {
        return bad_data(cli, &err);
    }
    const char *path = cli_clean_path(cli, cli_arg(cli, 0));
    struct call call = {.method = "GET", .path = path, .query = query, .absent_ok = true};
    code = session_do(cli, &call, &reply, "Error reading %s", path);
    if (code != CLI_FINE) {
        return code;
    }
    if (!holds_something(&reply)) {
        cli_error(cli, "No value found at %s", path);
        return CLI_REFUSED;
    }
    return output_secret(cli, &reply);
}

/* Writes with PUT or PATCH and shows what comes back. */
static int write_data(struct cli *cli, char *const *argv, const char *method)
{
    bool force = false;
    const struct flag flags[] = {
        {"f", FLAG_BOOL, &force, NULL, "Write without any data."},
        {"force", FLAG_BOOL, &force, NULL, "The same as -f."},
    };
    struct cf_error err = {0};
    struct json *body = NULL;
    struct reply reply;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 1, SIZE_MAX});
    if (code != CLI_GO) {
        return code;
    }
    if (cli->args.count == 1 && !force) {
        cli_error(cli, "Must supply data or use -force");
        return CLI_USAGE;
    }
    if (params_parse(cli, 1, &body, &err) != CF_OK) {
        return bad_data(cli, &err);
    }
    const char *path = cli_clean_path(cli, cli_arg(cli, 0));
    struct call call = {.method = method, .path = path, .body = body};
    code = session_do(cli, &call, &reply, "Error writing data to %s", path);
    if (code != CLI_FINE) {
        return code;
    }
    if (reply.json == NULL) {
        if (cli->field == NULL && !cli_format_is(cli, "json") && !cli_format_is(cli, "yaml")) {
            cli_say(cli, "Success! Data written to: %s", path);
        }
        return CLI_FINE;
    }
    return output_secret(cli, &reply);
}

int command_write(struct cli *cli, char *const *argv)
{
    return write_data(cli, argv, "PUT");
}

int command_patch(struct cli *cli, char *const *argv)
{
    return write_data(cli, argv, "PATCH");
}

int command_delete(struct cli *cli, char *const *argv)
{
    struct json *query = NULL;
    struct cf_error err = {0};
    struct reply reply;
    int code = cli_begin(
        cli, NULL, 0, argv,
        (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 1, SIZE_MAX, "at least 1"});
    if (code != CLI_GO) {
        return code;
    }
    if (params_parse(cli, 1, &query, &err) != CF_OK) {
        return bad_data(cli, &err);
    }
    const char *path = cli_clean_path(cli, cli_arg(cli, 0));
    struct call call = {.method = "DELETE", .path = path, .query = query};
    code = session_do(cli, &call, &reply, "Error deleting %s", path);
    if (code != CLI_FINE) {
        return code;
    }
    if (reply.json == NULL) {
        cli_say(cli, "Success! Data deleted (if it existed) at: %s", path);
        return CLI_FINE;
    }
    return output_secret(cli, &reply);
}

/* LIST, or SCAN for what lies below at any depth. */
static int list(struct cli *cli, char *const *argv, const char *method, const char *doing)
{
    const char *after = NULL;
    const char *limit = NULL;
    const struct flag flags[] = {
        {"after", FLAG_STRING, &after, NULL, "Only names after this one."},
        {"limit", FLAG_STRING, &limit, NULL, "At most so many names."},
    };
    struct reply reply;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    const char *path = cli_clean_path(cli, cli_arg(cli, 0));
    struct json *query = json_object_new(cli->arena);
    if (after != NULL) {
        json_set_text(cli->arena, query, "after", after);
    }
    if (limit != NULL) {
        json_set_text(cli->arena, query, "limit", limit);
    }
    struct call call = {.method = method, .path = path, .query = query, .absent_ok = true};
    code = session_do(cli, &call, &reply, "Error %s %s", doing, path);
    if (code != CLI_FINE) {
        return code;
    }
    if (json_is(json_get(reply.json, "wrap_info"), JSON_OBJECT)) {
        return output_secret(cli, &reply);
    }
    if (json_count(json_get(json_get(reply.json, "data"), "keys")) > 0) {
        return output_list(cli, &reply);
    }
    if (cli_format_is(cli, "json")) {
        cli_say(cli, "{}");
    } else {
        output_warnings(cli, reply.json);
        cli_error(cli, "%s found at %s", reply.status == 404 ? "No value" : "No entries", path);
    }
    return CLI_REFUSED;
}

int command_list(struct cli *cli, char *const *argv)
{
    return list(cli, argv, "LIST", "listing");
}

int command_scan(struct cli *cli, char *const *argv)
{
    return list(cli, argv, "SCAN", "scanning");
}

int command_unwrap(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 0, 1, "0-1"});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "PUT", .path = "sys/wrapping/unwrap", .wrap_ttl = ""};
    const char *token = cli_arg(cli, 0);
    if (token != NULL) {
        /* Without a token of our own the wrapping token is the caller itself. */
        struct json *body = json_object_new(cli->arena);
        token = cli_clean_path(cli, token);
        if (*session_token(cli) == '\0' || strcmp(session_token(cli), token) == 0) {
            call.token = token;
        } else {
            json_set_text(cli->arena, body, "token", token);
            call.body = body;
        }
    }
    code = session_do(cli, &call, &reply, "Error unwrapping");
    if (code != CLI_FINE) {
        return code;
    }
    if (reply.json == NULL) {
        cli_say(cli, "Successfully unwrapped. There was no data in the wrapped secret.");
        return CLI_FINE;
    }
    return output_secret(cli, &reply);
}

int command_path_help(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER | CLI_FORMAT, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    struct json *query = json_object_new(cli->arena);
    json_set_text(cli->arena, query, "help", "1");
    struct call call = {
        .method = "GET", .path = cli_clean_path(cli, cli_arg(cli, 0)), .query = query};
    code = session_do(cli, &call, &reply, "Error retrieving help");
    if (code != CLI_FINE) {
        return code;
    }
    if (!output_machine(cli, reply.json)) {
        cli_say(cli, "%.*s", CF_SHOW(json_get_string(reply.json, "help")));
    }
    return CLI_FINE;
}
