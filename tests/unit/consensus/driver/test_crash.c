/* tests/unit/consensus/driver/test_crash.c: a node that ends without warning, again and again,
 * keeps every write that it acknowledged. The victim is a process of its own (RocksDB and fork
 * don't mix). */
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define ROUNDS 8

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static int run_child(const char *dir, const char *acknowledged, int more)
{
    char program[512], count[16];
    ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 32);
    ck_assert_int_gt(size, 0);
    program[size] = '\0';
    strcpy(strrchr(program, '/') + 1, "driver_crash_child");
    snprintf(count, sizeof(count), "%d", more);
    char *argv[] = {program, (char *)(uintptr_t)dir, (char *)(uintptr_t)acknowledged, count, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    /* Check talks on standard output: acknowledgements get a descriptor of their own. */
    posix_spawn_file_actions_addopen(&actions, 3, acknowledged, O_WRONLY | O_CREAT | O_APPEND,
                                     0600);
    pid_t child;
    ck_assert_int_eq(posix_spawn(&child, program, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

START_TEST(keeps_what_it_acknowledged)
{
    char dir[] = "/tmp/coffer-crash-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    char data[64], acknowledged[64];
    snprintf(data, sizeof(data), "%s/data", dir);
    snprintf(acknowledged, sizeof(acknowledged), "%s/acknowledged", dir);
    for (int round = 1; round <= ROUNDS; round++) {
        ck_assert_int_eq(run_child(data, acknowledged, 37 * round), 0);
    }
    ck_assert_int_eq(run_child(data, acknowledged, 0), 0);
    ck_assert_int_eq(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}
END_TEST

TEST_MAIN("consensus/driver/crash", keeps_what_it_acknowledged)
