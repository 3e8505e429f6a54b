/* tests/unit/tools/test_term.c: progress, on a terminal and elsewhere. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "test.h"
#include "tools/cli/term.h"

static char shown[65536];

/* Half of it, then all. */
static const char *run_on(FILE *out, bool bytes, uint64_t total, uint64_t done)
{
    struct term_progress progress;
    if (bytes) {
        term_progress_start_bytes(&progress, out, "Copy", total);
    } else {
        term_progress_start(&progress, out, "Copy", total);
    }
    term_progress_show(&progress, done / 2);
    term_progress_end(&progress, done);
    return shown;
}

static const char *plain(bool bytes, uint64_t total, uint64_t done)
{
    memset(shown, 0, sizeof(shown));
    FILE *out = fmemopen(shown, sizeof(shown) - 1, "w");
    run_on(out, bytes, total, done);
    (void)fclose(out);
    return shown;
}

static const char *terminal(bool bytes, uint64_t total, uint64_t done)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(master, 0);
    ck_assert_int_eq(grantpt(master), 0);
    ck_assert_int_eq(unlockpt(master), 0);
    FILE *out = fopen(ptsname(master), "we");
    ck_assert_ptr_nonnull(out);
    memset(shown, 0, sizeof(shown));
    run_on(out, bytes, total, done);
    (void)fclose(out);
    /* A terminal hands on in pieces, and later; its end (EIO) comes when all was read. */
    size_t size = 0;
    ssize_t got;
    while ((got = read(master, shown + size, sizeof(shown) - 1 - size)) > 0) {
        size += (size_t)got;
    }
    (void)close(master);
    return shown;
}

START_TEST(bytes_are_quiet_where_nobody_looks)
{
    ck_assert_str_eq(plain(true, 5000, 5000), "");
    ck_assert_str_eq(plain(true, 0, 5000), "");
    /* Counts of records end with a line, as ever: logs of imports are read. */
    ck_assert_ptr_nonnull(strstr(plain(false, 10, 10), "Copy: 10 of 10 (100 %), "));
}
END_TEST

START_TEST(a_bar_with_units)
{
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    const char *text = terminal(true, (uint64_t)3 << 20, (uint64_t)3 << 20);
    ck_assert_ptr_nonnull(strstr(text, "Copy [==============================] 100 %"));
    ck_assert_ptr_nonnull(strstr(text, "  3.0 MiB/3.0 MiB  "));
    ck_assert_ptr_nonnull(strstr(text, "iB/s  0 s left"));
    text = terminal(true, 0, 1536);
    ck_assert_ptr_nonnull(strstr(text, "Copy: 1.5 KiB, "));
    ck_assert_ptr_null(strstr(text, "left"));
    /* A guess that turned out too small is none any more. */
    ck_assert_ptr_nonnull(strstr(terminal(true, 1000, 4096), "Copy: 4.0 KiB, "));
    ck_assert_ptr_nonnull(strstr(terminal(false, 10, 10), "10/10  "));
}
END_TEST

START_TEST(no_drawing_where_it_is_not_wanted)
{
    setenv("NO_COLOR", "1", 1);
    ck_assert_ptr_null(strchr(terminal(false, 10, 10), '['));
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    ck_assert_ptr_null(strchr(terminal(false, 10, 10), '['));
}
END_TEST

TEST_MAIN("tools/cli/term", bytes_are_quiet_where_nobody_looks, a_bar_with_units,
          no_drawing_where_it_is_not_wanted)
