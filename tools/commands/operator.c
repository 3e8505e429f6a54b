/* tools/commands/operator.c: init, unseal, seal, step-down, key-status, rotate, members. */
#include <inttypes.h>
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/render.h"
#include "tools/cli/term.h"
#include "tools/commands.h"
#include "tools/commands/pgp_keys.h"
#include "tools/commands/status.h"

struct init {
    int64_t shares, threshold, recovery_shares, recovery_threshold;
    bool shares_given, threshold_given, recovery_shares_given, recovery_threshold_given;
    bool status;
    struct strings pgp_keys, recovery_pgp_keys;
    const char *root_pgp_key;
};

/* -status: 0 initialised, 2 not, 1 no answer. */
static int init_status(struct cli *cli)
{
    struct cf_error err = {0};
    struct reply reply;
    struct call call = {
        .method = "GET", .path = "sys/init", .token = "", .at_root = true, .wrap_ttl = ""};
    cf_status status = session_call(cli, &call, &reply, &err);
    if (status != CF_OK || reply.status != 200) {
        cli_error(cli, "Error checking init status: %s",
                  status != CF_OK ? err.message : session_error_text(cli, &reply));
        return CLI_USAGE;
    }
    bool initialized = false;
    (void)json_bool(json_get(reply.json, "initialized"), &initialized);
    if (!output_machine(cli, reply.json)) {
        cli_say(cli, "Vault is %sinitialized", initialized ? "" : "not ");
    }
    return initialized ? CLI_FINE : CLI_REFUSED;
}

/* A server that unseals itself hands out recovery shares instead of unseal shares. */
static int set_defaults(struct cli *cli, struct init *init)
{
    struct reply reply;
    bool recovery = false;
    struct call call = {
        .method = "GET", .path = "sys/seal-status", .token = "", .at_root = true, .wrap_ttl = ""};
    int code = session_do(cli, &call, &reply, "Error checking seal status");
    if (code != CLI_FINE) {
        return code;
    }
    (void)json_bool(json_get(reply.json, "recovery_seal"), &recovery);
    bool *given = recovery ? &init->recovery_shares_given : &init->shares_given;
    int64_t *shares = recovery ? &init->recovery_shares : &init->shares;
    int64_t *threshold = recovery ? &init->recovery_threshold : &init->threshold;
    bool *threshold_given = recovery ? &init->recovery_threshold_given : &init->threshold_given;
    /* The plain flags of scripts that do not know of the seal count for recovery shares, too. */
    if (recovery && !*given && init->shares_given) {
        *shares = init->shares;
        *given = true;
    }
    if (recovery && !*threshold_given && init->threshold_given) {
        *threshold = init->threshold;
        *threshold_given = true;
    }
    *shares = *given ? *shares : 5;
    *threshold = *threshold_given ? *threshold : *given && *shares < 3 ? *shares : 3;
    if (recovery) {
        init->shares = 0;
        init->threshold = 0;
    }
    return CLI_FINE;
}

static void print_keys(struct cli *cli, const char *title, const struct json *keys)
{
    for (size_t i = 0; json_is(keys, JSON_ARRAY) && i < keys->count; i++) {
        struct cf_slice key = CF_SLICE_EMPTY;
        (void)json_string(keys->items[i], &key);
        cli_say(cli, "%s Key %zu: %.*s", title, i + 1, CF_SHOW(key));
    }
}

static void print_init(struct cli *cli, const struct init *init, const struct json *answer)
{
    const struct json *keys = json_get(answer, "keys_base64");
    const struct json *recovery = json_get(answer, "recovery_keys_base64");
    print_keys(cli, "Unseal", keys);
    print_keys(cli, "Recovery", recovery);
    cli_say(cli, "\nInitial Root Token: %.*s", CF_SHOW(json_get_string(answer, "root_token")));
    if (json_count(keys) > 0) {
        cli_say(cli,
                "\nVault initialized with %" PRId64 " key shares and a key threshold of %" PRId64
                ".\nPlease hand the shares above to different people: after a restart or seal\n"
                "the server opens only with %" PRId64 " of them. It does not keep them; without\n"
                "them the data is lost.",
                init->shares, init->threshold, init->threshold);
    } else {
        cli_say(cli, "\nSuccess! Vault is initialized");
    }
    if (json_count(recovery) > 0) {
        cli_say(cli,
                "\nRecovery key initialized with %" PRId64
                " key shares and a key threshold of %" PRId64 ".\nPlease hand the shares above to "
                "different people.",
                init->recovery_shares, init->recovery_threshold);
    }
}

static struct json *or_empty(struct cli *cli, struct json *list)
{
    return json_is(list, JSON_ARRAY) ? list : json_array_new(cli->arena);
}

static struct json *machine_init(struct cli *cli, const struct init *init,
                                 const struct json *answer)
{
    struct arena *arena = cli->arena;
    struct json *object = json_object_new(arena);
    json_set(arena, object, "unseal_keys_b64", or_empty(cli, json_get(answer, "keys_base64")));
    json_set(arena, object, "unseal_keys_hex", or_empty(cli, json_get(answer, "keys")));
    json_set_int(arena, object, "unseal_shares", init->shares);
    json_set_int(arena, object, "unseal_threshold", init->threshold);
    json_set(arena, object, "recovery_keys_b64",
             or_empty(cli, json_get(answer, "recovery_keys_base64")));
    json_set(arena, object, "recovery_keys_hex", or_empty(cli, json_get(answer, "recovery_keys")));
    json_set_int(arena, object, "recovery_keys_shares", init->recovery_shares);
    json_set_int(arena, object, "recovery_keys_threshold", init->recovery_threshold);
    json_set(arena, object, "root_token", json_get(answer, "root_token"));
    return object;
}

int command_operator_init(struct cli *cli, char *const *argv)
{
    struct init init = {0};
    const struct flag flags[] = {
        {"status", FLAG_BOOL, &init.status, NULL, "Only ask: exit code 0 initialised, 2 not."},
        {"key-shares", FLAG_INT, &init.shares, &init.shares_given, "Shares of the key (5)."},
        {"n", FLAG_INT, &init.shares, &init.shares_given, "The same as -key-shares."},
        {"key-threshold", FLAG_INT, &init.threshold, &init.threshold_given,
         "Shares that open it (3)."},
        {"t", FLAG_INT, &init.threshold, &init.threshold_given, "The same as -key-threshold."},
        {"recovery-shares", FLAG_INT, &init.recovery_shares, &init.recovery_shares_given,
         "Recovery shares, where the server unseals itself (5)."},
        {"recovery-threshold", FLAG_INT, &init.recovery_threshold, &init.recovery_threshold_given,
         "Recovery shares that are needed (3)."},
        {"pgp-keys", FLAG_LIST, &init.pgp_keys, NULL,
         "Files of public keys, one a share, with commas between."},
        {"recovery-pgp-keys", FLAG_LIST, &init.recovery_pgp_keys, NULL, "The same for those."},
        {"root-token-pgp-key", FLAG_STRING, &init.root_pgp_key, NULL,
         "File of the public key that the root token is encrypted for."},
    };
    struct reply reply;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    if (init.status) {
        return init_status(cli);
    }
    if ((code = set_defaults(cli, &init)) != CLI_FINE) {
        return code;
    }
    struct json *body = json_object_new(cli->arena);
    json_set_int(cli->arena, body, "secret_shares", init.shares);
    json_set_int(cli->arena, body, "secret_threshold", init.threshold);
    if (init.recovery_shares > 0) {
        json_set_int(cli->arena, body, "recovery_shares", init.recovery_shares);
        json_set_int(cli->arena, body, "recovery_threshold", init.recovery_threshold);
    }
    if (!pgp_keys_set(cli, body, "pgp_keys", &init.pgp_keys) ||
        !pgp_keys_set(cli, body, "recovery_pgp_keys", &init.recovery_pgp_keys) ||
        !pgp_key_set(cli, body, "root_token_pgp_key", init.root_pgp_key)) {
        return CLI_USAGE;
    }
    struct call call = {.method = "PUT",
                        .path = "sys/init",
                        .body = body,
                        .token = "",
                        .at_root = true,
                        .wrap_ttl = ""};
    code = session_do(cli, &call, &reply, "Error initializing");
    if (code != CLI_FINE) {
        return code;
    }
    if (!output_machine(cli, machine_init(cli, &init, reply.json))) {
        print_init(cli, &init, reply.json);
    }
    return CLI_FINE;
}

int command_operator_unseal(struct cli *cli, char *const *argv)
{
    bool reset = false;
    bool migrate = false;
    const struct flag flags[] = {
        {"reset", FLAG_BOOL, &reset, NULL, "Forget the shares given so far."},
        {"migrate", FLAG_BOOL, &migrate, NULL, "The share is for a change of the seal."},
    };
    struct cf_error err = {0};
    struct reply reply;
    const char *key = NULL;
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 0, 1, "0-1"});
    if (code != CLI_GO) {
        return code;
    }
    struct json *body = json_object_new(cli->arena);
    if (reset) {
        json_set_bool(cli->arena, body, "reset", true);
    } else {
        key = cli_arg(cli, 0);
        if (key == NULL && cli->non_interactive) {
            cli_error(cli, "Refusing to read from stdin with -non-interactive specified; specify "
                           "unseal key as an argument to this command");
            return CLI_USAGE;
        }
        if ((key == NULL || strcmp(key, "-") == 0) &&
            term_ask_secret(cli, "Unseal Key (will be hidden): ", &key, &err) != CF_OK) {
            cli_error(cli, "An error occurred attempting to ask for the unseal key: %s",
                      err.message);
            return CLI_USAGE;
        }
        json_set_text(cli->arena, body, "key", cli_clean_path(cli, key));
        json_set_bool(cli->arena, body, "migrate", migrate);
    }
    struct call call = {.method = "PUT",
                        .path = "sys/unseal",
                        .body = body,
                        .token = "",
                        .at_root = true,
                        .wrap_ttl = ""};
    code = session_do(cli, &call, &reply,
                      reset ? "Error resetting unseal process" : "Error unsealing");
    return code != CLI_FINE ? code : status_print(cli, reply.json);
}

/* A PUT without data and without an answer. */
static int order(struct cli *cli, char *const *argv, const char *path, const char *doing)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "PUT", .path = path};
    return session_do(cli, &call, &reply, "%s", doing);
}

int command_operator_seal(struct cli *cli, char *const *argv)
{
    int code = order(cli, argv, "sys/seal", "Error sealing");
    if (code == CLI_FINE && cli->session != NULL) {
        cli_say(cli, "Success! Vault is sealed.");
    }
    return code;
}

int command_operator_step_down(struct cli *cli, char *const *argv)
{
    int code = order(cli, argv, "sys/step-down", "Error stepping down");
    if (code == CLI_FINE && cli->session != NULL) {
        cli_say(cli, "Success! Stepped down: %s", cli->address);
    }
    return code;
}

static int show_key_status(struct cli *cli)
{
    struct reply reply;
    struct table table;
    struct call call = {.method = "GET", .path = "sys/key-status"};
    int code = session_do(cli, &call, &reply, "Error reading key status");
    if (code != CLI_FINE) {
        return code;
    }
    const struct json *data = json_get(reply.json, "data");
    if (output_machine(cli, data)) {
        return CLI_FINE;
    }
    CF_BUF(text) = {0};
    table_init(&table, cli->arena);
    render_value(&text, json_get(data, "term"));
    table_pair(&table, "Key Term", cf_buf_slice(&text));
    table_pair(&table, "Install Time", json_get_string(data, "install_time"));
    cf_buf_reset(&text);
    render_value(&text, json_get(data, "encryptions"));
    table_pair(&table, "Encryption Count", cf_buf_slice(&text));
    table_print(&table, false, cli->out);
    return CLI_FINE;
}

int command_operator_key_status(struct cli *cli, char *const *argv)
{
    int code = cli_parse(cli, NULL, 0, CLI_SERVER | CLI_FORMAT, argv);
    if (code != CLI_GO) {
        return code;
    }
    return cli_want(cli, 0, 0, NULL) ? show_key_status(cli) : CLI_USAGE;
}

int command_operator_rotate(struct cli *cli, char *const *argv)
{
    struct reply reply;
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){CLI_SERVER | CLI_FORMAT, 0, 0});
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "PUT", .path = "sys/rotate"};
    code = session_do(cli, &call, &reply, "Error rotating key");
    if (code != CLI_FINE) {
        return code;
    }
    if (cli_format_is(cli, "table")) {
        cli_say(cli, "Success! Rotated key\n");
    }
    return show_key_status(cli);
}

int command_operator_members(struct cli *cli, char *const *argv)
{
    static const char *const fields[] = {"hostname",    "api_address", "cluster_address",
                                         "active_node", "version",     "last_echo"};
    static const char *const titles[] = {"Host Name",   "API Address", "Cluster Address",
                                         "Active Node", "Version",     "Last Echo"};
    struct reply reply;
    struct table table;
    int code = cli_parse(cli, NULL, 0, CLI_SERVER | CLI_FORMAT, argv);
    if (code != CLI_GO) {
        return code;
    }
    struct call call = {.method = "GET", .path = "sys/ha-status"};
    code = session_do(cli, &call, &reply, "Error getting members");
    if (code != CLI_FINE) {
        return code;
    }
    const struct json *data = json_get(reply.json, "data");
    const struct json *nodes = json_get(data != NULL ? data : reply.json, "nodes");
    if (output_machine(cli, data)) {
        return CLI_FINE;
    }
    table_init(&table, cli->arena);
    table_row(&table);
    for (size_t i = 0; i < CF_LENGTH(titles); i++) {
        table_cell(&table, cf_slice_str(titles[i]));
    }
    for (size_t n = 0; json_is(nodes, JSON_ARRAY) && n < nodes->count; n++) {
        table_row(&table);
        for (size_t i = 0; i < CF_LENGTH(fields); i++) {
            CF_BUF(text) = {0};
            const struct json *value = json_get(nodes->items[n], fields[i]);
            if (value != NULL && value->type != JSON_NULL) {
                render_value(&text, value);
            }
            table_cell(&table, cf_buf_slice(&text));
        }
    }
    table_print(&table, true, cli->out);
    return CLI_FINE;
}
