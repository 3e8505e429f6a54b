/* tools/commands/generate_root.c: the ceremony that makes a root token, or with -dr-token a DR
 * operation token, from key shares. The token travels XORed with a one-time password that only the
 * one who started the ceremony knows. */
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "node/base/memory.h"
#include "node/format/encode.h"
#include "tools/cli/output.h"
#include "tools/cli/term.h"
#include "tools/commands.h"

struct ceremony {
    bool init, cancel, status, generate_otp, dr;
    const char *decode, *otp, *nonce, *pgp_key;
};

static const char *attempt_path(const struct ceremony *c)
{
    return c->dr ? "sys/replication/dr/secondary/generate-operation-token/attempt"
                 : "sys/generate-root/attempt";
}

static const char *update_path(const struct ceremony *c)
{
    return c->dr ? "sys/replication/dr/secondary/generate-operation-token/update"
                 : "sys/generate-root/update";
}

static void row_text(struct table *table, const char *name, struct cf_slice value)
{
    if (value.size > 0) {
        table_pair(table, name, value);
    }
}

static int print_status(struct cli *cli, const struct json *s)
{
    struct table table;
    int64_t progress = 0;
    int64_t required = 0;
    int64_t length = 0;
    bool started = false;
    bool complete = false;
    if (cli->field != NULL) {
        return output_field(cli, s, cli->field);
    }
    if (output_machine(cli, s)) {
        return CLI_FINE;
    }
    (void)json_int64(json_get(s, "progress"), &progress);
    (void)json_int64(json_get(s, "required"), &required);
    (void)json_int64(json_get(s, "otp_length"), &length);
    (void)json_bool(json_get(s, "started"), &started);
    (void)json_bool(json_get(s, "complete"), &complete);
    struct cf_slice encoded = json_get_string(s, "encoded_token");
    struct cf_slice encoded_root = json_get_string(s, "encoded_root_token");
    struct cf_slice otp = json_get_string(s, "otp");
    table_init(&table, cli->arena);
    table_pair(&table, "Nonce", json_get_string(s, "nonce"));
    table_pairf(&table, "Started", "%s", started ? "true" : "false");
    table_pairf(&table, "Progress", "%" PRId64 "/%" PRId64, progress, required);
    table_pairf(&table, "Complete", "%s", complete ? "true" : "false");
    row_text(&table, "PGP Fingerprint", json_get_string(s, "pgp_fingerprint"));
    row_text(&table, encoded.size > 0 ? "Encoded Token" : "Encoded Root Token",
             encoded.size > 0 ? encoded : encoded_root);
    if (otp.size > 0) {
        cli_error(cli, "A One-Time-Password has been generated for you and is shown in the OTP "
                       "field.\nYou will need this value to decode the resulting root token, so "
                       "keep it safe.");
        table_pair(&table, "OTP", otp);
    }
    if (length > 0) {
        table_pairf(&table, "OTP Length", "%" PRId64, length);
    }
    table_print(&table, false, cli->out);
    return CLI_FINE;
}

static int get_status(struct cli *cli, const struct ceremony *c, struct reply *reply)
{
    struct call call = {.method = "GET", .path = attempt_path(c), .at_root = true, .wrap_ttl = ""};
    return session_do(cli, &call, reply, "Error getting root generation status");
}

static int start(struct cli *cli, const struct ceremony *c)
{
    struct json *body = json_object_new(cli->arena);
    struct reply reply;
    if (c->otp != NULL && c->pgp_key != NULL) {
        cli_error(cli, "Error initializing: cannot specify both -otp and -pgp-key");
        return CLI_USAGE;
    }
    if (c->otp != NULL) {
        json_set_text(cli->arena, body, "otp", c->otp);
    }
    if (c->pgp_key != NULL) {
        json_set_text(cli->arena, body, "pgp_key", c->pgp_key);
    }
    struct call call = {
        .method = "PUT", .path = attempt_path(c), .body = body, .at_root = true, .wrap_ttl = ""};
    int code = session_do(cli, &call, &reply, "Error initializing root generation");
    return code != CLI_FINE ? code : print_status(cli, reply.json);
}

static int cancel(struct cli *cli, const struct ceremony *c)
{
    struct json *body = NULL;
    struct reply reply;
    if (c->nonce != NULL) {
        body = json_object_new(cli->arena);
        json_set_text(cli->arena, body, "nonce", c->nonce);
    }
    struct call call = {
        .method = "DELETE", .path = attempt_path(c), .body = body, .at_root = true, .wrap_ttl = ""};
    int code = session_do(cli, &call, &reply, "Error canceling root token generation");
    if (code == CLI_FINE) {
        cli_say(cli, "Success! Root token generation canceled (if it was started)");
    }
    return code;
}

/* Characters of [0-9A-Za-z], each equally likely. */
static cf_status make_otp(struct cf_buf *otp, int64_t length, struct cf_error *err)
{
    static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    while (otp->size < (size_t)length) {
        uint8_t byte = 0;
        if (getrandom(&byte, 1, 0) != 1) {
            return cf_fail(err, CF_IO, "the kernel gives no random bytes");
        }
        if (byte < 248) { /* 4 * 62: the rest would favour some */
            cf_buf_add_byte(otp, (uint8_t)alphabet[byte % 62]);
        }
    }
    return CF_OK;
}

static int generate_otp(struct cli *cli, const struct ceremony *c)
{
    CF_BUF(otp) = {.secret = true};
    struct cf_error err = {0};
    struct reply reply;
    int64_t length = 0;
    int code = get_status(cli, c, &reply);
    if (code != CLI_FINE) {
        return code;
    }
    (void)json_int64(json_get(reply.json, "otp_length"), &length);
    if (length <= 0 || length > 256) {
        cli_error(cli, "Error getting root generation status: the server names no OTP length");
        return CLI_REFUSED;
    }
    if (make_otp(&otp, length, &err) != CF_OK) {
        return cli_fail(cli, "Error generating OTP", &err);
    }
    struct json *object = json_object_new(cli->arena);
    json_set_string(cli->arena, object, "otp", cf_buf_slice(&otp));
    json_set_int(cli->arena, object, "otp_length", length);
    if (!output_machine(cli, object)) {
        cli_say(cli, "%s", cf_buf_text(&otp));
    }
    return CLI_FINE;
}

static int decode(struct cli *cli, const struct ceremony *c)
{
    CF_BUF(token) = {.secret = true};
    struct cf_error err = {0};
    const char *encoded = c->decode;
    if (c->otp == NULL) {
        cli_error(cli, "Missing otp: use -otp to supply it");
        return CLI_USAGE;
    }
    if (strcmp(encoded, "-") == 0 && term_ask(cli, "", &encoded, &err) != CF_OK) {
        cli_error(cli, "Failed to read from stdin: %s", err.message);
        return CLI_USAGE;
    }
    encoded = arena_text(cli->arena, cf_slice_str(encoded)); /* the slash is a base64 character */
    if (*encoded == '\0') {
        cli_error(cli, "Missing encoded value: use -decode=<string> to supply it");
        return CLI_USAGE;
    }
    if (encode_base64_decode(&token, cf_slice_str(encoded), &err) != CF_OK) {
        cli_error(cli, "Error decoding root token: %s", err.message);
        return CLI_USAGE;
    }
    if (token.size != strlen(c->otp)) {
        cli_error(cli, "Error decoding root token: the OTP has %zu characters, the token %zu",
                  strlen(c->otp), token.size);
        return CLI_USAGE;
    }
    for (size_t i = 0; i < token.size; i++) {
        token.data[i] ^= (uint8_t)c->otp[i];
    }
    struct json *object = json_object_new(cli->arena);
    json_set_string(cli->arena, object, "token", cf_buf_slice(&token));
    if (!output_machine(cli, object)) {
        output_raw(cli, cf_buf_slice(&token));
    }
    return CLI_FINE;
}

/* One share: the argument, standard input ("-", then -nonce is needed), or asked for. */
static int take_share(struct cli *cli, struct ceremony *c, const char *asked_nonce,
                      const char **share)
{
    struct cf_error err = {0};
    *share = cli_arg(cli, 0);
    if (*share != NULL && strcmp(*share, "-") != 0) {
        c->nonce = c->nonce != NULL ? c->nonce : asked_nonce;
        return CLI_FINE;
    }
    if (*share == NULL && cli->non_interactive) {
        cli_error(cli, "Refusing to read from stdin with -non-interactive specified; specify the "
                       "share as an argument");
        return CLI_USAGE;
    }
    if (*share != NULL && c->nonce == NULL) {
        cli_error(cli, "Missing nonce value: specify it via the -nonce flag");
        return CLI_USAGE;
    }
    c->nonce = c->nonce != NULL ? c->nonce : asked_nonce;
    cli_error(cli, "Operation nonce: %s", c->nonce);
    if (term_ask_secret(cli, "Unseal Key (will be hidden): ", share, &err) != CF_OK) {
        cli_error(cli, "An error occurred attempting to ask for the unseal key: %s", err.message);
        return CLI_USAGE;
    }
    return CLI_FINE;
}

static int provide(struct cli *cli, struct ceremony *c)
{
    struct reply reply;
    const char *share = NULL;
    bool started = false;
    int code = get_status(cli, c, &reply);
    if (code != CLI_FINE) {
        return code;
    }
    (void)json_bool(json_get(reply.json, "started"), &started);
    if (!started) {
        cli_error(cli, "No root generation is in progress. Start a root generation by running "
                       "\"coffer operator generate-root -init\".");
        return CLI_USAGE;
    }
    const char *nonce = arena_text(cli->arena, json_get_string(reply.json, "nonce"));
    if ((code = take_share(cli, c, nonce, &share)) != CLI_FINE) {
        return code;
    }
    struct json *body = json_object_new(cli->arena);
    json_set_text(cli->arena, body, "key", share);
    json_set_text(cli->arena, body, "nonce", c->nonce);
    struct call call = {
        .method = "PUT", .path = update_path(c), .body = body, .at_root = true, .wrap_ttl = ""};
    code = session_do(cli, &call, &reply, "Error posting unseal key");
    return code != CLI_FINE ? code : print_status(cli, reply.json);
}

int command_operator_generate_root(struct cli *cli, char *const *argv)
{
    struct ceremony c = {0};
    struct reply reply;
    const struct flag flags[] = {
        {"init", FLAG_BOOL, &c.init, NULL, "Start."},
        {"cancel", FLAG_BOOL, &c.cancel, NULL, "Forget the shares given so far."},
        {"status", FLAG_BOOL, &c.status, NULL, "Only show how far it is."},
        {"decode", FLAG_STRING, &c.decode, NULL, "Decode this result with -otp; \"-\" reads it."},
        {"generate-otp", FLAG_BOOL, &c.generate_otp, NULL, "Make a one-time password."},
        {"otp", FLAG_STRING, &c.otp, NULL, "The one-time password."},
        {"pgp-key", FLAG_STRING, &c.pgp_key, NULL, "Encrypt the result for this key instead."},
        {"nonce", FLAG_STRING, &c.nonce, NULL, "The ceremony's nonce."},
        {"dr-token", FLAG_BOOL, &c.dr, NULL, "Make a DR operation token."},
    };
    int code = cli_begin(cli, flags, CF_LENGTH(flags), argv,
                         (struct cli_rule){CLI_SERVER | CLI_FORMAT | CLI_FIELD, 0, 1, "0-1"});
    if (code != CLI_GO) {
        return code;
    }
    if (c.generate_otp) {
        return generate_otp(cli, &c);
    }
    if (c.decode != NULL) {
        return decode(cli, &c);
    }
    if (c.cancel) {
        return cancel(cli, &c);
    }
    if (c.init) {
        return start(cli, &c);
    }
    if (c.status) {
        code = get_status(cli, &c, &reply);
        return code != CLI_FINE ? code : print_status(cli, reply.json);
    }
    return provide(cli, &c);
}
