/* tools/cli/cli.h
 *
 * What every command works with: streams, common flags, arguments, and the ways to say something.
 * A command is `int command_x(struct cli *cli, char *const *argv)`; it returns the exit code:
 * 0 fine, 1 wrong use or a local failure, 2 the server refused or has nothing. Thread: main.
 */
#ifndef COFFER_CLI_CLI_H
#define COFFER_CLI_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "tools/cli/flags.h"
#include "tools/cli/tls.h"

#define CLI_GO (-1) /* cli_parse(): carry on */
#define CLI_FINE 0
#define CLI_USAGE 1
#define CLI_REFUSED 2

struct session;

struct cli {
    struct arena *arena; /* freed after the command */
    FILE *in, *out, *err;
    const char *command; /* its words, such as "kv put" */
    const char *usage;   /* its arguments, such as "[flags] PATH" */
    const char *help;    /* what it does, one sentence */

    /* common flags, from the command line or the environment */
    const char *address, *token, *name_space, *wrap_ttl, *format, *field;
    struct strings headers;
    struct tls_options tls;
    bool token_given;
    bool non_interactive;
    bool detailed;
    bool output_curl, output_policy;
    struct strings mfa; /* refused, with words */

    struct strings args;
    struct session *session; /* opened with the first request */
};

/* in, out, err are borrowed. */
void cli_init(struct cli *cli, FILE *in, FILE *out, FILE *err);
void cli_done(struct cli *cli);

enum { CLI_SERVER = 1, CLI_FORMAT = 2, CLI_FIELD = 4, CLI_ANYWHERE = 8 };

/* Reads the environment, then the flags: the command's own and the common ones that `groups` names
 * (CLI_SERVER: address, TLS, token; CLI_FORMAT: -format; CLI_FIELD: -field; CLI_ANYWHERE: flags may
 * follow arguments). CLI_GO, or the exit code when help was asked for or something is wrong. */
int cli_parse(struct cli *cli, const struct flag *own, size_t count, unsigned groups,
              char *const *argv);
/* The usage text with all flags, to `out`. */
void cli_print_help(struct cli *cli, const struct flag *own, size_t count, unsigned groups,
                    FILE *out);

/* What a command takes: flag groups, how many arguments (see cli_want()). */
struct cli_rule {
    unsigned groups;
    size_t min, max;
    const char *expected;
};
/* cli_parse() and cli_want() in one. */
int cli_begin(struct cli *cli, const struct flag *own, size_t count, char *const *argv,
              struct cli_rule rule);

/* True when min <= arguments <= max, else the complaint that scripts know ("Not enough arguments
 * (expected 1, got 0)"); `expected` as it stands there, or NULL for the number. */
bool cli_want(struct cli *cli, size_t min, size_t max, const char *expected);
const char *cli_arg(const struct cli *cli, size_t at); /* NULL past the end */

void cli_say(struct cli *cli, const char *fmt, ...) CF_PRINTF(2, 3);   /* line to out */
void cli_error(struct cli *cli, const char *fmt, ...) CF_PRINTF(2, 3); /* line to err */
/* "<context>: <message>", and the exit code 2. */
int cli_fail(struct cli *cli, const char *context, const struct cf_error *err);

/* First of COFFER_x, VAULT_x that is set and not empty; NULL when none. */
const char *cli_env(const char *name);
bool cli_format_is(const struct cli *cli, const char *format);

/* Path without white space and slashes at both ends, in the arena. */
const char *cli_clean_path(struct cli *cli, const char *path);
/* As cli_clean_path, with one slash at the end. */
const char *cli_mount_path(struct cli *cli, const char *path);

/* Whole file or standard input ("-"); CF_NOT_FOUND, CF_IO, CF_TOO_LARGE (over 64 MiB). */
CF_CHECKED cf_status cli_read_file(struct cli *cli, const char *path, struct cf_slice *ret,
                                   struct cf_error *err);

#endif
