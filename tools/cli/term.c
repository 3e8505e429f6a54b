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

void term_progress_start_bytes(struct term_progress *progress, FILE *out, const char *title,
                               uint64_t total)
{
    term_progress_start(progress, out, title, total);
    progress->is_bytes = true;
}

#define AMOUNT_SIZE 32

/* 1234 as it is, or as 1.2 KiB. */
static const char *amount(const struct term_progress *progress, double value,
                          char text[AMOUNT_SIZE])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (progress->is_bytes && value >= 1024 && unit + 1 < CF_LENGTH(units)) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(text, AMOUNT_SIZE, "%.*f%s%s", unit > 0 ? 1 : 0, value,
                   progress->is_bytes ? " " : "", progress->is_bytes ? units[unit] : "");
    return text;
}

static void show(struct term_progress *progress, uint64_t done, uint64_t now)
{
    double seconds = (double)(now - progress->start_us) / 1e6;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    uint64_t left = progress->total > done ? progress->total - done : 0;
    unsigned percent = progress->total > 0 ? (unsigned)(100 * done / progress->total) : 100;
    char so_far[AMOUNT_SIZE], whole[AMOUNT_SIZE], each[AMOUNT_SIZE], bar[BAR_WIDTH + 1];
    amount(progress, (double)done, so_far);
    amount(progress, (double)progress->total, whole);
    amount(progress, rate, each);
    progress->has_spoken = true;
    const char *begin = progress->live ? "\r" : "", *end = progress->live ? "\033[K" : "\n";
    if (progress->is_bytes && (progress->total == 0 || done > progress->total)) {
        (void)fprintf(progress->out, "%s%s: %s, %s/s%s", begin, progress->title, so_far, each, end);
    } else if (!progress->live) {
        (void)fprintf(progress->out, "%s: %s of %s (%u %%), %s/s\n", progress->title, so_far, whole,
                      percent, each);
    } else {
        unsigned filled = (percent < 100 ? percent : 100) * BAR_WIDTH / 100;
        memset(bar, ' ', BAR_WIDTH);
        memset(bar, '=', filled);
        if (filled < BAR_WIDTH) {
            bar[filled] = '>';
        }
        bar[BAR_WIDTH] = '\0';
        (void)fprintf(progress->out, "\r%s [%s] %3u %%  %s/%s  %s/s  %.0f s left\033[K",
                      progress->title, bar, percent, so_far, whole, each,
                      rate > 0 ? (double)left / rate : 0);
    }
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
    if (progress->live || !progress->is_bytes || progress->has_spoken) {
        show(progress, done, now_us());
    }
    if (progress->live) {
        (void)fputc('\n', progress->out);
    }
}
