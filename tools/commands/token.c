/* tools/commands/token.c: create, lookup, renew, revoke, capabilities. */
#include <stdlib.h>
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/params.h"
#include "tools/commands.h"

/* Prints the answer of a request, or what went wrong. */
static int show(struct cli *cli, const struct call *call, const char *doing)
{
    struct reply reply;
    int code = session_do(cli, call, &reply, "%s", doing);
    return code != CLI_FINE ? code : output_secret(cli, &reply);
}

static struct json *text_body(struct cli *cli, const char *name, const char *value)
{
    struct json *body = json_object_new(cli->arena);
    if (value != NULL) {
        json_set_text(cli->arena, body, name, value);
    }
    return body;
}

struct creation {
    const char *id, *display_name, *ttl, *explicit_max_ttl, *period, *role, *type, *entity_alias;
    bool renewable, orphan, no_default_policy;
    int64_t use_limit;
    struct strings metadata, policies;
};

static struct json *creation_body(struct cli *cli, const struct creation *creation)
{
    const struct {
        const char *name, *value;
    } texts[] = {
        {"id", creation->id},
        {"display_name", creation->display_name},
        {"ttl", creation->ttl},
        {"explicit_max_ttl", creation->explicit_max_ttl},
        {"period", creation->period},
        {"type", creation->type},
        {"entity_alias", creation->entity_alias},
    };
    struct json *body = json_object_new(cli->arena);
    bool ok = true;
    for (size_t i = 0; i < CF_LENGTH(texts); i++) {
        if (texts[i].value != NULL) {
            json_set_text(cli->arena, body, texts[i].name, texts[i].value);
        }
    }
    struct json *meta = params_pairs(cli, &creation->metadata, &ok);
    if (!ok) {
        return NULL;
    }
    if (meta->count > 0) {
        json_set(cli->arena, body, "meta", meta);
    }
    if (creation->policies.count > 0) {
        struct json *policies = json_array_new(cli->arena);
        for (size_t i = 0; i < creation->policies.count; i++) {
            json_array_add(cli->arena, policies,
                           json_from_text(cli->arena, creation->policies.at[i]));
        }
        json_set(cli->arena, body, "policies", policies);
    }
    bool batch = strcmp(creation->type, "batch") == 0;
    json_set_bool(cli->arena, body, "renewable", creation->renewable && !batch);
    json_set_bool(cli->arena, body, "no_parent", creation->orphan);
    json_set_bool(cli->arena, body, "no_default_policy", creation->no_default_policy);
    json_set_int(cli->arena, body, "num_uses", creation->use_limit);
    return body;
}

int command_token_create(struct cli *cli, char *const *argv)
{
    struct creation c = {.renewable = true, .type = "service"};
    const struct flag flags[] = {
        {"id", FLAG_STRING, &c.id, NULL, "Value of the token; else one is made."},
        {"display-name", FLAG_STRING, &c.display_name, NULL, "Name to show."},
        {"ttl", FLAG_SECONDS, &c.ttl, NULL, "Initial time to live."},
        {"explicit-max-ttl", FLAG_SECONDS, &c.explicit_max_ttl, NULL, "Hard limit of its life."},
        {"period", FLAG_SECONDS, &c.period, NULL, "Makes a periodic token."},
        {"renewable", FLAG_BOOL, &c.renewable, NULL, "Whether it may be prolonged (true)."},
        {"orphan", FLAG_BOOL, &c.orphan, NULL, "Without a parent."},
        {"no-default-policy", FLAG_BOOL, &c.no_default_policy, NULL, "Without \"default\"."},
        {"use-limit", FLAG_INT, &c.use_limit, NULL, "How often it may be used; 0: no limit."},
        {"role", FLAG_STRING, &c.role, NULL, "Token role to create it by."},
        {"type", FLAG_STRING, &c.type, NULL, "service or batch."},
        {"metadata", FLAG_LIST, &c.metadata, NULL, "key=value; repeatable."},
        {"policy", FLAG_LIST, &c.policies, NULL, "Policy; repeatable."},
        {"entity-alias", FLAG_STRING, &c.entity_alias, NULL, "Entity alias, with a role."},
    };
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    struct json *body = creation_body(cli, &c);
    if (body == NULL) {
        return CLI_USAGE;
    }
    const char *path = "auth/token/create";
    if (c.role != NULL) {
        path = arena_printf(cli->arena, "auth/token/create/%s", c.role);
    }
    struct call call = {.method = "POST", .path = path, .body = body};
    return show(cli, &call, "Error creating token");
}

int command_token_lookup(struct cli *cli, char *const *argv)
{
    bool accessor = false;
    const struct flag flags[] = {
        {"accessor", FLAG_BOOL, &accessor, NULL, "The argument is an accessor."},
    };
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER | CLI_FORMAT | CLI_FIELD, argv);
    if (code != CLI_GO) {
        return code;
    }
    if (accessor && cli->args.count != 1) {
        cli_error(cli, "%s arguments with -accessor (expected 1, got %zu)",
                  cli->args.count < 1 ? "Not enough" : "Too many", cli->args.count);
        return CLI_USAGE;
    }
    if (!cli_want(cli, 0, 1, "0-1")) {
        return CLI_USAGE;
    }
    const char *what = cli_arg(cli, 0);
    struct call call = {.method = "GET", .path = "auth/token/lookup-self"};
    if (what != NULL) {
        call.method = "POST";
        call.path = accessor ? "auth/token/lookup-accessor" : "auth/token/lookup";
        call.body = text_body(cli, accessor ? "accessor" : "token", cli_clean_path(cli, what));
    }
    return show(cli, &call, "Error looking up token");
}

int command_token_renew(struct cli *cli, char *const *argv)
{
    bool accessor = false;
    const char *increment = NULL;
    const struct flag flags[] = {
        {"accessor", FLAG_BOOL, &accessor, NULL, "The argument is an accessor."},
        {"increment", FLAG_SECONDS, &increment, NULL, "For how long, from now."},
        {"i", FLAG_SECONDS, &increment, NULL, "The same as -increment."},
    };
    int code =
        cli_begin(cli, flags, CF_LENGTH(flags), argv,
                  (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, accessor ? 1 : 0, 1});
    if (code != CLI_GO) {
        return code;
    }
    const char *what = cli_arg(cli, 0);
    struct json *body = text_body(cli, "increment", increment);
    struct call call = {.method = "PUT", .path = "auth/token/renew-self", .body = body};
    if (what != NULL) {
        call.path = accessor ? "auth/token/renew-accessor" : "auth/token/renew";
        json_set_text(cli->arena, body, accessor ? "accessor" : "token", cli_clean_path(cli, what));
    }
    return show(cli, &call, "Error renewing token");
}

/* Which combination of flags was asked for, as a complaint; NULL when it makes sense. */
static const char *revoke_misuse(bool self, bool accessor, const char *mode)
{
    if (self && accessor) {
        return "Cannot use -self with -accessor!";
    }
    if (self && *mode != '\0') {
        return "Cannot use -self with -mode!";
    }
    if (accessor && strcmp(mode, "orphan") == 0) {
        return "Cannot use -accessor with -mode=orphan!";
    }
    if (accessor && strcmp(mode, "path") == 0) {
        return "Cannot use -accessor with -mode=path!";
    }
    return NULL;
}

int command_token_revoke(struct cli *cli, char *const *argv)
{
    bool accessor = false;
    bool self = false;
    const char *mode = "";
    const struct flag flags[] = {
        {"accessor", FLAG_BOOL, &accessor, NULL, "The argument is an accessor."},
        {"self", FLAG_BOOL, &self, NULL, "The token in use."},
        {"mode", FLAG_STRING, &mode, NULL, "orphan: leave the children; path: all of that path."},
    };
    struct reply reply;
    int code = cli_parse(cli, flags, CF_LENGTH(flags), CLI_SERVER, argv);
    if (code != CLI_GO) {
        return code;
    }
    bool orphan = strcmp(mode, "orphan") == 0;
    if (*mode != '\0' && !orphan && strcmp(mode, "path") != 0) {
        cli_error(cli, "Invalid mode: %s", mode);
        return CLI_USAGE;
    }
    if (self && cli->args.count > 0) {
        cli_error(cli, "Too many arguments with -self (expected 0, got %zu)", cli->args.count);
        return CLI_USAGE;
    }
    if (!self && !cli_want(cli, 1, 1, "1 or -self")) {
        return CLI_USAGE;
    }
    const char *misuse = revoke_misuse(self, accessor, mode);
    if (misuse != NULL) {
        cli_error(cli, "%s", misuse);
        return CLI_USAGE;
    }
    const char *what = self ? NULL : cli_clean_path(cli, cli_arg(cli, 0));
    struct call call = {.method = "PUT", .path = "auth/token/revoke-self"};
    if (!self && strcmp(mode, "path") == 0) {
        call.path = arena_printf(cli->arena, "sys/leases/revoke-prefix/%s", what);
    } else if (!self) {
        call.path = accessor ? "auth/token/revoke-accessor"
                    : orphan ? "auth/token/revoke-orphan"
                             : "auth/token/revoke";
        call.body = text_body(cli, accessor ? "accessor" : "token", what);
    }
    code = session_do(cli, &call, &reply, "Error revoking token");
    if (code == CLI_FINE) {
        cli_say(cli, "Success! Revoked token (if it existed)");
    }
    return code;
}

static int by_text(const void *a, const void *b)
{
    const struct json *const *left = a;
    const struct json *const *right = b;
    return cf_slice_cmp((*left)->text, (*right)->text);
}

int command_token_capabilities(struct cli *cli, char *const *argv)
{
    bool accessor = false;
    const struct flag flags[] = {
        {"accessor", FLAG_BOOL, &accessor, NULL, "The first argument is an accessor."},
    };
    struct reply reply;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT, accessor ? 2 : 1, 2, "1-2"});
    if (code != CLI_GO) {
        return code;
    }
    const char *token = cli->args.count == 2 ? cli_arg(cli, 0) : NULL;
    const char *path = cli_arg(cli, cli->args.count - 1);
    struct json *body = text_body(cli, accessor ? "accessor" : "token", token);
    json_set_text(cli->arena, body, "path", path);
    struct call call = {.method = "POST", .path = "sys/capabilities-self", .body = body};
    if (token != NULL) {
        call.path = accessor ? "sys/capabilities-accessor" : "sys/capabilities";
    }
    code = session_do(cli, &call, &reply, "Error listing capabilities");
    if (code != CLI_FINE) {
        return code;
    }
    struct json *list = json_get(json_get(reply.json, "data"), "capabilities");
    if (list == NULL) {
        list = json_get(reply.json, "capabilities");
    }
    if (!json_is(list, JSON_ARRAY) || list->count == 0) {
        cli_error(cli, "No capabilities found");
        return CLI_USAGE;
    }
    qsort(list->items, list->count, sizeof(struct json *), by_text);
    if (output_machine(cli, list)) {
        return CLI_FINE;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        struct cf_slice name = CF_SLICE_EMPTY;
        (void)json_string(list->items[i], &name);
        (void)fprintf(cli->out, "%s%.*s", i > 0 ? ", " : "", CF_SHOW(name));
    }
    cli_say(cli, "%s", "");
    return CLI_FINE;
}
