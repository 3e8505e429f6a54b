/* tools/cli/term.c: questions without echo, and progress. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "tools/cli/term.h"

#define BAR_WIDTH 30u
#define LIVE_EVERY_US 100000u
#define LINE_EVERY_US 2000000u

bool term_is_live(FILE *file)
{
    const char *term = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");
    bool plain = (no_color != NULL && *no_color != '\0') || cli_env("CLI_NO_COLOR") != NULL ||
                 (term != NULL && strcmp(term, "dumb") == 0);
    int fd = fileno(file);
    return !plain && fd >= 0 && isatty(fd) == 1;
}

static cf_status read_line(struct cli *cli, const char **ret, struct cf_error *err)
{
    char line[8192];
    if (fgets(line, sizeof(line), cli->in) == NULL) {
        return cf_fail(err, CF_IO, "nothing to read on standard input");
    }
    line[strcspn(line, "\r\n")] = '\0';
    *ret = arena_text(cli->arena, cf_slice_str(line));
    cf_wipe(line, sizeof(line));
    return CF_OK;
}

cf_status term_ask(struct cli *cli, const char *question, const char **ret, struct cf_error *err)
{
    (void)fflush(cli->out);
    (void)fputs(question, cli->err);
    (void)fflush(cli->err);
    return read_line(cli, ret, err);
}

cf_status term_ask_secret(struct cli *cli, const char *question, const char **ret,
                          struct cf_error *err)
{
    struct termios old;
    int fd = fileno(cli->in);
    bool quiet = fd >= 0 && tcgetattr(fd, &old) == 0;
    if (quiet) {
        struct termios silent = old;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(fd, TCSAFLUSH, &silent);
    }
    cf_status status = term_ask(cli, question, ret, err);
    if (quiet) {
        (void)tcsetattr(fd, TCSAFLUSH, &old);
        (void)fputc('\n', cli->err);
    }
    return status;
}

static uint64_t now_us(void)
{
    return cf_monotonic_us(cf_host_clock());
}

void term_progress_start(struct term_progress *progress, FILE *out, const char *title,
                         uint64_t total)
{
    *progress = (struct term_progress){.out = out, .title = title, .total = total};
    progress->live = term_is_live(out);
    progress->start_us = now_us();
    progress->shown_us = progress->live ? 0 : progress->start_us;
}

static void show(struct term_progress *progress, uint64_t done, uint64_t now)
{
    double seconds = (double)(now - progress->start_us) / 1e6;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    uint64_t left = progress->total > done ? progress->total - done : 0;
    unsigned percent = progress->total > 0 ? (unsigned)(100 * done / progress->total) : 100;
    if (!progress->live) {
        (void)fprintf(progress->out, "%s: %" PRIu64 " of %" PRIu64 " (%u %%), %.0f/s\n",
                      progress->title, done, progress->total, percent, rate);
        (void)fflush(progress->out);
        return;
    }
    char bar[BAR_WIDTH + 1];
    unsigned filled = (percent < 100 ? percent : 100) * BAR_WIDTH / 100;
    memset(bar, ' ', BAR_WIDTH);
    memset(bar, '=', filled);
    if (filled < BAR_WIDTH) {
        bar[filled] = '>';
    }
    bar[BAR_WIDTH] = '\0';
    (void)fprintf(progress->out,
                  "\r%s [%s] %3u %%  %" PRIu64 "/%" PRIu64 "  %.0f/s  %.0f s left\033[K",
                  progress->title, bar, percent, done, progress->total, rate,
                  rate > 0 ? (double)left / rate : 0);
    (void)fflush(progress->out);
}

void term_progress_show(struct term_progress *progress, uint64_t done)
{
    uint64_t now = now_us();
    if (now - progress->shown_us >= (progress->live ? LIVE_EVERY_US : LINE_EVERY_US)) {
        progress->shown_us = now;
        show(progress, done, now);
    }
}

void term_progress_end(struct term_progress *progress, uint64_t done)
{
    show(progress, done, now_us());
    if (progress->live) {
        (void)fputc('\n', progress->out);
    }
}
