/* tools/commands/login.c: login, print token, version. */
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/params.h"
#include "tools/cli/term.h"
#include "tools/cli/token_file.h"
#include "tools/commands.h"

struct login {
    const char *method, *path;
    bool no_store, no_print, token_only;
};

static int login_token(struct cli *cli, const struct json *data, struct reply *reply)
{
    struct cf_error err = {0};
    const char *token = NULL;
    struct cf_slice given = json_get_string(data, "token");
    if (given.size > 0) {
        token = arena_text(cli->arena, given);
    } else if (cli->args.count > 0 && strchr(cli_arg(cli, 0), '=') == NULL &&
               strcmp(cli_arg(cli, 0), "-") != 0) {
        token = cli_arg(cli, 0);
    } else if (cli->non_interactive) {
        cli_error(cli, "Refusing to ask for a token with -non-interactive: give token=...");
        return CLI_USAGE;
    } else if (term_ask_secret(cli, "Token (will be hidden): ", &token, &err) != CF_OK) {
        cli_error(cli, "Error authenticating: %s", err.message);
        return CLI_REFUSED;
    }
    token = cli_clean_path(cli, token);
    struct call call = {.method = "GET", .path = "auth/token/lookup-self", .token = token};
    int code = session_do(cli, &call, reply, "Error authenticating: error looking up token");
    if (code != CLI_FINE) {
        return code;
    }
    if (!json_is(reply->json, JSON_OBJECT)) {
        cli_error(cli, "Error authenticating: the answer is no JSON object");
        return CLI_REFUSED;
    }
    /* The look-up answers data; what follows wants the shape of a login. */
    const struct json *found = json_get(reply->json, "data");
    struct json *auth = json_object_new(cli->arena);
    json_set_text(cli->arena, auth, "client_token", token);
    json_set(cli->arena, auth, "accessor", json_get(found, "accessor"));
    json_set(cli->arena, auth, "policies", json_get(found, "policies"));
    json_set(cli->arena, auth, "token_policies", json_get(found, "policies"));
    json_set(cli->arena, auth, "identity_policies", json_get(found, "identity_policies"));
    json_set(cli->arena, auth, "metadata", json_get(found, "meta"));
    json_set(cli->arena, auth, "lease_duration", json_get(found, "ttl"));
    struct json *renewable = json_get(found, "renewable");
    json_set(cli->arena, auth, "renewable", renewable != NULL ? renewable : json_from_bool(false));
    json_set(cli->arena, reply->json, "auth", auth);
    json_set(cli->arena, reply->json, "data", json_null());
    return CLI_FINE;
}

static int login_userpass(struct cli *cli, const struct login *login, struct json *data,
                          struct reply *reply)
{
    struct cf_error err = {0};
    const char *mount = cli_clean_path(cli, login->path != NULL ? login->path : login->method);
    struct cf_slice user = json_get_string(data, "username");
    if (user.size == 0) {
        cli_error(cli, "Error authenticating: 'username' must be specified");
        return CLI_REFUSED;
    }
    if (json_get(data, "password") == NULL) {
        const char *password = NULL;
        if (cli->non_interactive) {
            cli_error(cli, "Error authenticating: 'password' must be given with -non-interactive");
            return CLI_USAGE;
        }
        if (term_ask_secret(cli, "Password (will be hidden): ", &password, &err) != CF_OK) {
            return cli_fail(cli, "Error authenticating", &err);
        }
        json_set_text(cli->arena, data, "password", password);
    }
    const char *path = arena_printf(cli->arena, "auth/%s/login/%.*s", mount, CF_SHOW(user));
    (void)json_object_remove(cli->arena, data, CF_SLICE("username"));
    (void)json_object_remove(cli->arena, data, CF_SLICE("mount"));
    struct call call = {.method = "PUT", .path = path, .body = data, .token = ""};
    return session_do(cli, &call, reply, "Error authenticating");
}

/* Any other method: its data as it stands to auth/<path>/login. */
static int login_plain(struct cli *cli, const struct login *login, struct json *data,
                       struct reply *reply)
{
    const char *mount = cli_clean_path(cli, login->path != NULL ? login->path : login->method);
    const char *path = arena_printf(cli->arena, "auth/%s/login", mount);
    struct call call = {.method = "PUT", .path = path, .body = data, .token = ""};
    return session_do(cli, &call, reply, "Error authenticating");
}

static void explain(struct cli *cli, bool stored)
{
    cli_say(cli, "Success! You are now authenticated. The token information displayed below%s\n",
            stored ? "\nis already stored in the token helper. You do NOT need to run\n"
                     "\"coffer login\" again. Future requests will automatically use this token."
                   : "\nis not stored in the token helper.");
}

static int finish(struct cli *cli, const struct login *login, struct reply *reply)
{
    struct cf_error err = {0};
    const struct json *auth = json_get(reply->json, "auth");
    struct cf_slice token = json_get_string(auth, "client_token");
    if (json_is(json_get(reply->json, "wrap_info"), JSON_OBJECT)) {
        return output_secret(cli, reply); /* asked for with -wrap-ttl: nothing to store */
    }
    if (token.size == 0) {
        cli_error(cli, "Vault returned an empty secret");
        return CLI_REFUSED;
    }
    bool store = !login->no_store && !login->token_only;
    if (store && token_file_write(cli->arena, token, &err) != CF_OK) {
        cli_error(cli,
                  "Error storing token: %s\nAuthentication was successful, but the token was "
                  "not kept; this is it:\n\n%.*s",
                  err.message, CF_SHOW(token));
        return CLI_REFUSED;
    }
    if (store && (cli_env("TOKEN") != NULL)) {
        cli_error(cli, "WARNING! The COFFER_TOKEN (or VAULT_TOKEN) environment variable is set! It "
                       "takes precedence over the value that this command has stored.\n");
    }
    if (login->token_only) {
        cli->field = "token";
    } else if (cli->field == NULL && !login->no_print && cli_format_is(cli, "table")) {
        explain(cli, store);
    }
    return login->no_print ? CLI_FINE : output_secret(cli, reply);
}

int command_login(struct cli *cli, char *const *argv)
{
    struct login login = {.method = "token"};
    const struct flag flags[] = {
        {"method", FLAG_STRING, &login.method, NULL, "token, userpass, or another method."},
        {"path", FLAG_STRING, &login.path, NULL, "Where the method is mounted, below auth/."},
        {"no-store", FLAG_BOOL, &login.no_store, NULL, "Do not write the token to ~/.vault-token."},
        {"no-print", FLAG_BOOL, &login.no_print, NULL, "Do not print the token."},
        {"token-only", FLAG_BOOL, &login.token_only, NULL, "Print only the token; not stored."},
    };
    struct cf_error err = {0};
    struct json *data = NULL;
    struct reply reply;
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER | CLI_FORMAT | CLI_FIELD, argv);
    if (code != CLI_GO) {
        return code;
    }
    bool is_token = strcmp(login.method, "token") == 0;
    bool bare = is_token && cli->args.count == 1 && strchr(cli_arg(cli, 0), '=') == NULL;
    if (bare && strcmp(cli_arg(cli, 0), "-") == 0) {
        if (term_ask(cli, "", &cli->args.at[0], &err) != CF_OK) {
            return cli_fail(cli, "Error authenticating", &err);
        }
    }
    if (bare) {
        data = json_object_new(cli->arena);
    } else if (params_parse(cli, 0, &data, &err) != CF_OK) {
        cli_error(cli, "Error parsing configuration: %s", err.message);
        return CLI_USAGE;
    }
    if (is_token) {
        code = login_token(cli, data, &reply);
    } else if (strcmp(login.method, "userpass") == 0 || strcmp(login.method, "ldap") == 0) {
        code = login_userpass(cli, &login, data, &reply);
    } else {
        code = login_plain(cli, &login, data, &reply);
    }
    return code == CLI_FINE ? finish(cli, &login, &reply) : code;
}

int command_print_token(struct cli *cli, char *const *argv)
{
    int code = cli_parse(cli, NULL, 0, CLI_SERVER, argv);
    if (code != CLI_GO) {
        return code;
    }
    cli_say(cli, "%s", session_token(cli));
    return CLI_FINE;
}

int command_version(struct cli *cli, char *const *argv)
{
    int code = cli_parse(cli, NULL, 0, 0, argv);
    if (code != CLI_GO) {
        return code;
    }
    cli_say(cli, "Coffer v%s", COFFER_VERSION);
    return CLI_FINE;
}
