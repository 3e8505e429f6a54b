/* tools/commands/auth_help.c: auth help: how to log in by a method, or by what is mounted at a path. */
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/session.h"
#include "tools/commands.h"

static const struct {
    const char *type, *text;
} methods[] = {
    {"token", "Usage: coffer login TOKEN [CONFIG K=V...]\n\n"
              "  Logs in with a token. Without an argument it is asked for, with - read from\n"
              "  standard input.\n\n"
              "      $ coffer login hvs.example\n\n"
              "Configuration:\n\n"
              "  token=<text>\n      The token.\n"},
    {"userpass", "Usage: coffer login -method=userpass [CONFIG K=V...]\n\n"
                 "  Logs in with a name and a password. A password that is not given is asked for.\n\n"
                 "      $ coffer login -method=userpass username=alice\n\n"
                 "Configuration:\n\n"
                 "  username=<text>\n      The name.\n\n"
                 "  password=<text>\n      The password; @FILE or - keep it off the command line.\n"},
    {"approle", "Usage: coffer login -method=approle [CONFIG K=V...]\n\n"
                "  Logs in with the id of a role and a secret id.\n\n"
                "      $ coffer login -method=approle role_id=... secret_id=@secret-id\n\n"
                "Configuration:\n\n"
                "  role_id=<text>\n      The id of the role.\n\n"
                "  secret_id=<text>\n      A secret id of it, where the role is bound to one.\n"},
    {"cert", "Usage: coffer login -method=cert [CONFIG K=V...]\n\n"
             "  Logs in with the TLS client certificate of -client-cert and -client-key.\n\n"
             "      $ coffer login -method=cert -client-cert=c.pem -client-key=k.pem name=web\n\n"
             "Configuration:\n\n"
             "  name=<text>\n      The role to try; else all of them are.\n"},
};

static const char *text_of(struct cf_slice type)
{
    for (size_t i = 0; i < CF_LENGTH(methods); i++) {
        if (cf_slice_is(type, methods[i].type)) {
            return methods[i].text;
        }
    }
    return NULL;
}

int command_auth_help(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    const char *text = text_of(cf_slice_str(cli_clean_path(cli, cli_arg(cli, 0))));
    if (text != NULL) {
        cli_say(cli, "%s", text);
        return CLI_FINE;
    }
    const char *mount = cli_mount_path(cli, cli_arg(cli, 0));
    struct call call = {.method = "GET", .path = "sys/auth"};
    code = session_do(cli, &call, &reply, "Error listing auth methods");
    if (code != CLI_FINE) {
        return code;
    }
    const struct json *found = json_get(json_get(reply.json, "data"), mount);
    if (found == NULL) {
        cli_error(cli, "No auth method available on the server at \"%s\"", mount);
        return CLI_USAGE;
    }
    text = text_of(json_get_string(found, "type"));
    if (text == NULL) {
        cli_error(cli,
                  "No method-specific CLI handler available for auth method \"%.*s\"; see "
                  "\"coffer path-help auth/%slogin\"",
                  CF_SHOW(json_get_string(found, "type")), mount);
        return CLI_REFUSED;
    }
    cli_say(cli, "%s", text);
    return CLI_FINE;
}
