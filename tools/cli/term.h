/* tools/cli/term.h
 *
 * The terminal: questions without echo, and progress. Plain lines where there is no terminal or
 * NO_COLOR (or COFFER_CLI_NO_COLOR) is set. Thread: main.
 */
#ifndef COFFER_CLI_TERM_H
#define COFFER_CLI_TERM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "node/base/status.h"
#include "tools/cli/cli.h"

/* True when `file` is a terminal that may be drawn on. */
bool term_is_live(FILE *file);

/* Asks on standard error and reads one line without echo (from standard input when it is no
 * terminal). The text lives in cli->arena. CF_IO at the end of input. */
CF_CHECKED cf_status term_ask_secret(struct cli *cli, const char *question, const char **ret,
                                     struct cf_error *err);
/* The same with echo. */
CF_CHECKED cf_status term_ask(struct cli *cli, const char *question, const char **ret,
                              struct cf_error *err);

/* A bar on a terminal, a line every few seconds elsewhere. */
struct term_progress {
    FILE *out;
    const char *title;
    bool live, is_bytes, has_spoken;
    uint64_t total, start_us, shown_us;
};

void term_progress_start(struct term_progress *progress, FILE *out, const char *title,
                         uint64_t total);
/* The same for bytes, in units that people read. total 0: unknown, then without bar and time left. What ends
 * within seconds says nothing where there is no terminal: scripts see no more than they need. */
void term_progress_start_bytes(struct term_progress *progress, FILE *out, const char *title,
                               uint64_t total);
/* Cheap enough for every tick. */
void term_progress_show(struct term_progress *progress, uint64_t done);
/* The last state; ends the line. */
void term_progress_end(struct term_progress *progress, uint64_t done);

#endif
