/* tests/unit/consensus/driver/test_crash.c: a node that ends without warning, again and again, keeps
 * every write that it acknowledged: killed under load, and with the power cut at any operation of
 * its disk (tests/lib/disk_shim.c), in both ways of keeping the state. The victim is a process of
 * its own (RocksDB and fork don't mix). COFFER_CRASHES=N: so many power cuts; default 24 each. */
#include <signal.h>

#include "disk.h"

#define ROUNDS 8
#define CRASHES 24
#define CRASHES_A_DIRECTORY 60 /* then a fresh one: each round reads all that was acknowledged */

static char base[64], data[80], acknowledged[80];

static void begin(void)
{
    strcpy(base, "/tmp/coffer-crash-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    snprintf(data, sizeof(data), "%s/data", base);
    snprintf(acknowledged, sizeof(acknowledged), "%s/acknowledged", base);
}

static int run_child(const char *settings, int more, bool state_wal)
{
    char program[PATH_MAX], count[16];
    ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 32);
    ck_assert_int_gt(size, 0);
    program[size] = '\0';
    strcpy(strrchr(program, '/') + 1, "driver_crash_child");
    snprintf(count, sizeof(count), "%d", more);
    const char *argv[] = {program, data, acknowledged, count, state_wal ? "1" : "0", NULL};
    return disk_run(data, settings, argv, acknowledged);
}

/* kill -9: the page cache stays. */
START_TEST(keeps_what_it_acknowledged)
{
    begin();
    for (int round = 1; round <= ROUNDS; round++) {
        ck_assert_int_eq(run_child("real_sync=1", 37 * round, false), 0);
    }
    ck_assert_int_eq(run_child("real_sync=1", 0, false), 0);
    disk_remove(base);
}
END_TEST

/* P-7, P-49 and the condition that effects and applied index survive together: the power goes at a
 * random operation of the disk, at the start as well as under load. */
static void crash_loop(bool state_wal)
{
    const char *wanted = getenv("COFFER_CRASHES");
    unsigned crashes = wanted != NULL ? (unsigned)atoi(wanted) : CRASHES, killed = 0;
    srandom(state_wal ? 2 : 1);
    for (unsigned round = 0; round < crashes; round++) {
        if (round % CRASHES_A_DIRECTORY == 0) {
            if (round > 0) {
                disk_remove(base);
            }
            begin();
        }
        char settings[64];
        snprintf(settings, sizeof(settings), "kill_after=%ld", 1 + random() % (1 + random() % 1500));
        int code = run_child(settings, 400, state_wal);
        ck_assert_msg(code == 0 || code == 100 + SIGKILL, "round %u (%s): %d", round, settings,
                      code);
        killed += code != 0;
        disk_cut(data, round % 2 == 0, round);
        code = run_child("", 0, state_wal);
        ck_assert_msg(code == 0, "after the cut of round %u (%s): %d", round, settings, code);
        if (round % 5 == 4) { /* the one after the cut is cut, too */
            disk_cut(data, true, round);
        }
    }
    ck_assert_uint_gt(killed, crashes / 3);
    disk_remove(base);
}

/* Also store_applied_atomic (etcd#13766): after each cut the applied index and the effects have to agree. */
START_TEST(store_crash_loop)
{
    crash_loop(false);
}
END_TEST

START_TEST(store_crash_loop_state_wal)
{
    crash_loop(true);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {keeps_what_it_acknowledged, store_crash_loop,
                                  store_crash_loop_state_wal};
    return test_run("consensus/driver/crash", tests, 3);
}
