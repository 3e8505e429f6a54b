/* tools/commands/rekey.c: operator rekey: new shares of the unseal (or recovery) key, share by share
 * of the old one, with a verification round if it was asked for. */
#include <inttypes.h>
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/output.h"
#include "tools/cli/render.h"
#include "tools/cli/term.h"
#include "tools/commands.h"
#include "tools/commands/pgp_keys.h"

struct rekey {
    bool init, cancel, status, verify, backup, backup_retrieve, backup_delete;
    int64_t shares, threshold;
    const char *nonce, *target;
    struct strings pgp_keys;
    bool recovery;
};

static const char *path_of(struct cli *cli, const struct rekey *r, const char *what, bool verify)
{
    return arena_printf(cli->arena, "sys/rekey%s/%s", r->recovery ? "-recovery-key" : "",
                        verify ? "verify" : what);
}

static const char *backup_path(const struct rekey *r)
{
    return r->recovery ? "sys/rekey/recovery-key-backup" : "sys/rekey/backup";
}

/* Members stand in the answer's top level; some servers have them under "data", too. */
static const struct json *content(const struct reply *reply)
{
    const struct json *data = json_get(reply->json, "data");
    return json_is(data, JSON_OBJECT) ? data : reply->json;
}

static int64_t number_of(const struct json *s, const char *name)
{
    int64_t value = 0;
    (void)json_int64(json_get(s, name), &value);
    return value;
}

static bool flag_of(const struct json *s, const char *name)
{
    bool value = false;
    (void)json_bool(json_get(s, name), &value);
    return value;
}

static void started_rows(struct table *table, const struct json *s)
{
    int64_t progress = number_of(s, "progress");
    int64_t required = number_of(s, "required");
    table_pairf(table, "Rekey Progress", "%" PRId64 "/%" PRId64 "%s", progress, required,
                progress == required ? " (verification in progress)" : "");
    table_pairf(table, "New Shares", "%" PRId64, number_of(s, "n"));
    table_pairf(table, "New Threshold", "%" PRId64, number_of(s, "t"));
    table_pairf(table, "Verification Required", "%s",
                flag_of(s, "verification_required") ? "true" : "false");
    if (json_get_string(s, "verification_nonce").size > 0) {
        table_pair(table, "Verification Nonce", json_get_string(s, "verification_nonce"));
    }
}

static int print_status(struct cli *cli, const struct json *s, bool verify)
{
    struct table table;
    if (output_machine(cli, s)) {
        return CLI_FINE;
    }
    table_init(&table, cli->arena);
    table_pair(&table, "Key", CF_SLICE("Value"));
    if (!verify) {
        table_pair(&table, "Nonce", json_get_string(s, "nonce"));
    }
    table_pairf(&table, "Started", "%s", flag_of(s, "started") ? "true" : "false");
    if (verify) {
        table_pairf(&table, "New Shares", "%" PRId64, number_of(s, "n"));
        table_pairf(&table, "New Threshold", "%" PRId64, number_of(s, "t"));
        table_pair(&table, "Verification Nonce", json_get_string(s, "nonce"));
        table_pairf(&table, "Verification Progress", "%" PRId64 "/%" PRId64,
                    number_of(s, "progress"), number_of(s, "t"));
    } else if (flag_of(s, "started")) {
        started_rows(&table, s);
    }
    if (json_count(json_get(s, "pgp_fingerprints")) > 0) {
        CF_BUF(text) = {0};
        render_value(&text, json_get(s, "pgp_fingerprints"));
        table_pair(&table, "PGP Fingerprints", cf_buf_slice(&text));
        table_pairf(&table, "Backup", "%s", flag_of(s, "backup") ? "true" : "false");
    }
    table_print(&table, true, cli->out);
    return CLI_FINE;
}

static int show_status(struct cli *cli, const struct rekey *r, bool verify)
{
    struct reply reply;
    struct call call = {.method = "GET",
                        .path = path_of(cli, r, "init", verify),
                        .at_root = true,
                        .wrap_ttl = ""};
    int code = session_do(cli, &call, &reply, "Error reading rekey status");
    return code != CLI_FINE ? code : print_status(cli, content(&reply), verify);
}

static int start(struct cli *cli, const struct rekey *r)
{
    struct json *body = json_object_new(cli->arena);
    struct reply reply;
    json_set_int(cli->arena, body, "secret_shares", r->shares);
    json_set_int(cli->arena, body, "secret_threshold", r->threshold);
    json_set_bool(cli->arena, body, "backup", r->backup);
    json_set_bool(cli->arena, body, "require_verification", r->verify);
    if (!pgp_keys_set(cli, body, "pgp_keys", &r->pgp_keys)) {
        return CLI_USAGE;
    }
    struct call call = {.method = "PUT",
                        .path = path_of(cli, r, "init", false),
                        .body = body,
                        .at_root = true,
                        .wrap_ttl = ""};
    int code = session_do(cli, &call, &reply, "Error initializing rekey");
    if (code != CLI_FINE) {
        return code;
    }
    if (cli_format_is(cli, "table") && r->pgp_keys.count == 0) {
        cli_error(cli, "WARNING! The new %s keys will be printed once and are kept nowhere. To "
                       "have them encrypted,\ncancel this (-cancel) and start again with "
                       "-pgp-keys, and -backup to have them kept.\n",
                  r->recovery ? "recovery" : "unseal");
    }
    return reply.json != NULL && json_get(content(&reply), "started") != NULL
               ? print_status(cli, content(&reply), false)
               : show_status(cli, r, false);
}

static int drop(struct cli *cli, const char *path, const char *doing, const char *done)
{
    struct reply reply;
    struct call call = {.method = "DELETE", .path = path, .at_root = true, .wrap_ttl = ""};
    int code = session_do(cli, &call, &reply, "%s", doing);
    if (code == CLI_FINE) {
        cli_say(cli, "%s", done);
    }
    return code;
}

static int print_keys(struct cli *cli, const struct rekey *r, const struct json *status,
                      const struct json *done)
{
    const struct json *keys = json_get(done, "keys_base64");
    const struct json *prints = json_get(done, "pgp_fingerprints");
    if (json_count(keys) == 0) {
        keys = json_get(done, "keys");
    }
    if (output_machine(cli, done)) {
        return CLI_FINE;
    }
    for (size_t i = 0; json_is(keys, JSON_ARRAY) && i < keys->count; i++) {
        struct cf_slice key = CF_SLICE_EMPTY;
        struct cf_slice print = CF_SLICE_EMPTY;
        (void)json_string(keys->items[i], &key);
        (void)json_string(json_item(prints, i), &print);
        if (print.size > 0) {
            cli_say(cli, "Key %zu fingerprint: %.*s; value: %.*s", i + 1, CF_SHOW(print),
                    CF_SHOW(key));
        } else {
            cli_say(cli, "Key %zu: %.*s", i + 1, CF_SHOW(key));
        }
    }
    cli_say(cli, "\nOperation nonce: %.*s\n", CF_SHOW(json_get_string(done, "nonce")));
    if (flag_of(status, "verification_required")) {
        cli_say(cli, "These shares are not valid before they are verified: give them with\n"
                     "\"coffer operator rekey -verify -nonce=...\". Until then keep the old ones.\n");
        return show_status(cli, r, true);
    }
    cli_say(cli,
            "Vault %s keys rekeyed with %" PRId64 " key shares and a key threshold of %" PRId64
            ".\nPlease hand the shares above to different people.",
            r->recovery ? "recovery" : "unseal", number_of(status, "n"), number_of(status, "t"));
    return CLI_FINE;
}

/* The share from the argument, standard input or the terminal; the nonce that goes with it. */
static int take_share(struct cli *cli, const struct rekey *r, const struct json *status,
                      const char **key, const char **nonce)
{
    struct cf_error err = {0};
    const char *given = cli_arg(cli, 0);
    *nonce = r->nonce;
    if (given != NULL && strcmp(given, "-") != 0) {
        *key = given;
    } else if (given == NULL && cli->non_interactive) {
        cli_error(cli, "Refusing to read from stdin with -non-interactive specified; specify nonce "
                       "via the -nonce flag");
        return CLI_USAGE;
    } else {
        if (given == NULL && *nonce == NULL) {
            *nonce = arena_text(cli->arena, json_get_string(status, "nonce"));
            cli_error(cli, "Rekey operation nonce: %s", *nonce);
        }
        const char *question = r->recovery ? "Recovery Key (will be hidden): "
                                           : "Unseal Key (will be hidden): ";
        if (term_ask_secret(cli, question, key, &err) != CF_OK) {
            cli_error(cli, "Failed to read the key share: %s", err.message);
            return CLI_USAGE;
        }
    }
    *key = cli_clean_path(cli, *key);
    if (*nonce == NULL || **nonce == '\0') {
        cli_error(cli, "Missing nonce value: specify it via the -nonce flag");
        return CLI_USAGE;
    }
    return CLI_FINE;
}

static int provide(struct cli *cli, const struct rekey *r)
{
    const char *key = NULL;
    const char *nonce = NULL;
    struct reply status;
    struct reply reply;
    struct call ask = {.method = "GET",
                       .path = path_of(cli, r, "init", r->verify),
                       .at_root = true,
                       .wrap_ttl = ""};
    int code = session_do(cli, &ask, &status, "Error getting rekey status");
    if (code != CLI_FINE) {
        return code;
    }
    if (!flag_of(content(&status), "started")) {
        cli_error(cli, "No rekey is in progress. Start a rekey process by running \"coffer operator "
                       "rekey -init\".");
        return CLI_USAGE;
    }
    if ((code = take_share(cli, r, content(&status), &key, &nonce)) != CLI_FINE) {
        return code;
    }
    struct json *body = json_object_new(cli->arena);
    json_set_text(cli->arena, body, "key", key);
    json_set_text(cli->arena, body, "nonce", nonce);
    struct call call = {.method = "PUT",
                        .path = path_of(cli, r, "update", r->verify),
                        .body = body,
                        .at_root = true,
                        .wrap_ttl = ""};
    code = session_do(cli, &call, &reply, "Error posting unseal key");
    if (code != CLI_FINE) {
        return code;
    }
    if (!flag_of(content(&reply), "complete")) {
        return show_status(cli, r, r->verify);
    }
    if (r->verify) {
        cli_say(cli, "Rekey verification successful. The rekey operation is complete and the new "
                     "keys are now active.");
        return CLI_FINE;
    }
    return print_keys(cli, r, content(&status), content(&reply));
}

static int retrieve(struct cli *cli, const struct rekey *r)
{
    struct reply reply;
    struct call call = {.method = "GET", .path = backup_path(r), .at_root = true};
    int code = session_do(cli, &call, &reply, "Error retrieving rekey stored keys");
    return code != CLI_FINE ? code : output_secret(cli, &reply);
}

static int run(struct cli *cli, struct rekey *r)
{
    if (strcmp(r->target, "recovery") == 0 || strcmp(r->target, "hsm") == 0) {
        r->recovery = true;
    } else if (strcmp(r->target, "barrier") != 0) {
        cli_error(cli, "Unknown target: %s", r->target);
        return CLI_USAGE;
    }
    if (r->backup_delete) {
        return drop(cli, backup_path(r), "Error deleting rekey stored keys",
                    "Success! Delete stored keys (if they existed)");
    }
    if (r->backup_retrieve) {
        return retrieve(cli, r);
    }
    if (r->cancel) {
        return drop(cli, path_of(cli, r, "init", r->verify), "Error canceling rekey",
                    "Success! Canceled rekeying (if it was started)");
    }
    return r->init     ? start(cli, r)
           : r->status ? show_status(cli, r, r->verify)
                       : provide(cli, r);
}

int command_operator_rekey(struct cli *cli, char *const *argv)
{
    struct rekey r = {.shares = 5, .threshold = 3, .target = "barrier"};
    const struct flag flags[] = {
        {"init", FLAG_BOOL, &r.init, NULL, "Start."},
        {"cancel", FLAG_BOOL, &r.cancel, NULL, "Stop, and forget the shares given so far."},
        {"status", FLAG_BOOL, &r.status, NULL, "Show how far it is."},
        {"key-shares", FLAG_INT, &r.shares, NULL, "Shares of the new key (5)."},
        {"n", FLAG_INT, &r.shares, NULL, "The same as -key-shares."},
        {"key-threshold", FLAG_INT, &r.threshold, NULL, "Shares that open it (3)."},
        {"t", FLAG_INT, &r.threshold, NULL, "The same as -key-threshold."},
        {"nonce", FLAG_STRING, &r.nonce, NULL, "Which one the share is for, as -init said."},
        {"target", FLAG_STRING, &r.target, NULL, "barrier or recovery."},
        {"verify", FLAG_BOOL, &r.verify, NULL,
         "With -init: the new shares count once they were given back. Else: give one back."},
        {"pgp-keys", FLAG_LIST, &r.pgp_keys, NULL, "Files of public keys, one a share, with commas between; repeatable."},
        {"backup", FLAG_BOOL, &r.backup, NULL, "Keep the encrypted new shares on the server."},
        {"backup-retrieve", FLAG_BOOL, &r.backup_retrieve, NULL, "Show what -backup kept."},
        {"backup-delete", FLAG_BOOL, &r.backup_delete, NULL, "Delete what -backup kept."},
    };
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT, 0, 1, "0-1"});
    return code != CLI_GO ? code : run(cli, &r);
}
