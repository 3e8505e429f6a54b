/* tools/commands/policy.c: list, read, write, delete. */
#include <ctype.h>
#include <string.h>

#include "tools/cli/output.h"
#include "tools/commands.h"

int command_policy_list(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER | CLI_FORMAT, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "LIST", .path = "sys/policies/acl"};
    code = session_do(cli, &call, &reply, "Error listing policies");
    if (code != CLI_FINE) {
        return code;
    }
    const struct json *names = json_get(json_get(reply.json, "data"), "keys");
    if (output_machine(cli, names)) {
        return CLI_FINE;
    }
    for (size_t i = 0; json_is(names, JSON_ARRAY) && i < names->count; i++) {
        struct cf_slice name = CF_SLICE_EMPTY;
        (void)json_string(names->items[i], &name);
        cli_say(cli, "%.*s", CF_SHOW(name));
    }
    return CLI_FINE;
}

static char *lower_name(struct cli *cli, const char *name)
{
    char *lower = arena_text(cli->arena, cf_slice_str(cli_clean_path(cli, name)));
    for (char *at = lower; *at != '\0'; at++) {
        *at = (char)tolower((unsigned char)*at);
    }
    return lower;
}

static const char *policy_path(struct cli *cli, const char *name)
{
    return arena_printf(cli->arena, "sys/policies/acl/%s", name);
}

int command_policy_read(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER | CLI_FORMAT, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    const char *name = lower_name(cli, cli_arg(cli, 0));
    struct call call = {.method = "GET", .path = policy_path(cli, name), .absent_ok = true};
    code = session_do(cli, &call, &reply, "Error reading policy named %s", name);
    if (code != CLI_FINE) {
        return code;
    }
    if (reply.status == 404) {
        cli_error(cli, "No policy named: %s", name);
        return CLI_REFUSED;
    }
    struct cf_slice text = json_get_string(json_get(reply.json, "data"), "policy");
    struct json *object = json_object_new(cli->arena);
    json_set_string(cli->arena, object, "policy", text);
    if (output_machine(cli, object)) {
        return CLI_FINE;
    }
    while (text.size > 0 && isspace(text.data[text.size - 1])) {
        text.size--;
    }
    while (text.size > 0 && isspace(text.data[0])) {
        text = cf_slice_from(text, 1);
    }
    cli_say(cli, "%.*s", CF_SHOW(text));
    return CLI_FINE;
}

int command_policy_write(struct cli *cli, char *const *argv)
{
    struct cf_slice text = CF_SLICE_EMPTY;
    struct cf_error err = {0};
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER, 2, 2});
    if (code != CLI_GO) {
        return code;
    }
    if (cli_read_file(cli, cli_arg(cli, 1), &text, &err) != CF_OK) {
        return cli_fail(cli, "Error opening policy file", &err);
    }
    const char *given = cli_clean_path(cli, cli_arg(cli, 0));
    const char *name = lower_name(cli, given);
    struct json *body = json_object_new(cli->arena);
    json_set_string(cli->arena, body, "policy", text);
    struct call call = {.method = "PUT", .path = policy_path(cli, name), .body = body};
    code = session_do(cli, &call, &reply, "Error uploading policy");
    if (code != CLI_FINE) {
        return code;
    }
    if (strcmp(given, name) != 0) {
        cli_error(cli, "Policy name was converted from \"%s\" to \"%s\"", given, name);
    }
    cli_say(cli, "Success! Uploaded policy: %s", name);
    return CLI_FINE;
}

int command_policy_delete(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    const char *name = lower_name(cli, cli_arg(cli, 0));
    struct call call = {.method = "DELETE", .path = policy_path(cli, name)};
    code = session_do(cli, &call, &reply, "Error deleting %s", name);
    if (code == CLI_FINE) {
        cli_say(cli, "Success! Deleted policy: %s", name);
    }
    return code;
}
