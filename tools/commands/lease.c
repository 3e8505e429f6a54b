/* tools/commands/lease.c: lookup, renew, revoke. */
#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/commands.h"

static struct json *lease_body(struct cli *cli, const char *id)
{
    struct json *body = json_object_new(cli->arena);
    json_set_text(cli->arena, body, "lease_id", id);
    return body;
}

int command_lease_lookup(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_parse(cli, NULL, 0, CLI_SERVER | CLI_FORMAT | CLI_FIELD, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (cli->args.count == 0) {
        cli_error(cli, "Missing ID!");
        return CLI_USAGE;
    }
    if (!cli_want(cli, 1, 1, NULL)) {
        return CLI_USAGE;
    }
    const char *id = cli_clean_path(cli, cli_arg(cli, 0));
    struct call call = {.method = "PUT", .path = "sys/leases/lookup", .body = lease_body(cli, id)};
    code = session_do(cli, &call, &reply, "error looking up lease id %s", id);
    return code != CLI_FINE ? code : output_secret(cli, &reply);
}

int command_lease_renew(struct cli *cli, char *const *argv)
{
    const char *increment = NULL;
    const struct flag flags[] = {
        {"increment", FLAG_SECONDS, &increment, NULL, "For how long, from now."},
        {"i", FLAG_SECONDS, &increment, NULL, "The same as -increment."},
    };
    struct reply reply;
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER | CLI_FORMAT | CLI_FIELD, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (cli->args.count == 0) {
        cli_error(cli, "Missing ID!");
        return CLI_USAGE;
    }
    if (!cli_want(cli, 1, 2, "1-2")) {
        return CLI_USAGE;
    }
    const char *id = cli_clean_path(cli, cli_arg(cli, 0));
    struct json *body = lease_body(cli, id);
    increment = cli->args.count == 2 ? cli_arg(cli, 1) : increment;
    if (increment != NULL) {
        json_set_text(cli->arena, body, "increment", increment);
    }
    struct call call = {.method = "PUT", .path = "sys/leases/renew", .body = body};
    code = session_do(cli, &call, &reply, "Error renewing %s", id);
    return code != CLI_FINE ? code : output_secret(cli, &reply);
}

int command_lease_revoke(struct cli *cli, char *const *argv)
{
    bool force = false;
    bool prefix = false;
    bool sync = false;
    const struct flag flags[] = {
        {"force", FLAG_BOOL, &force, NULL, "Forget the leases even if revoking them fails."},
        {"f", FLAG_BOOL, &force, NULL, "The same as -force."},
        {"prefix", FLAG_BOOL, &prefix, NULL, "The ID is a prefix."},
        {"sync", FLAG_BOOL, &sync, NULL, "Wait until it is done."},
    };
    struct reply reply;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv, (struct cli_rule){CLI_SERVER, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    if (force && !prefix) {
        cli_error(cli, "Specifying -force requires also specifying -prefix");
        return CLI_USAGE;
    }
    const char *id = cli_clean_path(cli, cli_arg(cli, 0));
    struct json *body = prefix ? json_object_new(cli->arena) : lease_body(cli, id);
    struct call call = {.method = "PUT", .path = "sys/leases/revoke", .body = body};
    if (sync) {
        json_set_bool(cli->arena, body, "sync", true);
    }
    if (prefix) {
        call.path =
            arena_printf(cli->arena, "sys/leases/revoke-%s/%s", force ? "force" : "prefix", id);
    }
    code = session_do(cli, &call, &reply, "Error %srevoking lease%s %s", force ? "force " : "",
                      prefix ? "s with prefix" : "", id);
    if (code != CLI_FINE) {
        return code;
    }
    if (prefix && (force || sync)) {
        cli_say(cli, "Success! %s any leases with prefix: %s", force ? "Force revoked" : "Revoked",
                id);
    } else if (sync) {
        cli_say(cli, "Success! Revoked lease: %s", id);
    } else {
        cli_say(cli, "All revocation operations queued successfully!");
    }
    return CLI_FINE;
}
