/* tests/lib/disk.h: a process on a disk that forgets (disk_shim.c), and the power cut, for C tests. */
#ifndef COFFER_TEST_DISK_H
#define COFFER_TEST_DISK_H

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

/* Of this build: what meson made of `name` in tests/lib, e.g. "disk_shim.so". */
static inline void disk_tool(char to[PATH_MAX], const char *name)
{
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
    ck_assert_int_gt(size, 0);
    self[size] = '\0';
    char *tests = strstr(self, "/tests/");
    ck_assert_ptr_nonnull(tests);
    *tests = '\0';
    ck_assert_int_lt(snprintf(to, PATH_MAX, "%s/tests/lib/%s", self, name), PATH_MAX);
}

/* Runs argv[0] under the shim and waits. out: NULL, or a file that its descriptor 3 appends to.
 * Its exit status, or 100 + the signal that ended it. settings as in tests/lib/README.md. */
static inline int disk_run(const char *dir, const char *settings, const char *const *argv,
                           const char *out)
{
    char shim[PATH_MAX], preload[PATH_MAX + 16], dir_set[PATH_MAX + 32], all[512];
    disk_tool(shim, "disk_shim.so");
    snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", shim);
    snprintf(dir_set, sizeof(dir_set), "COFFER_DISK_DIR=%s", dir);
    snprintf(all, sizeof(all), "COFFER_DISK=%s", settings);
    /* The sanitizers want to be first in the list of libraries; the shim defines nothing of theirs
     * that matters. */
    char asan[] = "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0";
    char *environment[] = {preload, dir_set, all, asan, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (out != NULL) {
        posix_spawn_file_actions_addopen(&actions, 3, out, O_WRONLY | O_CREAT | O_APPEND, 0600);
    }
    pid_t child;
    ck_assert_int_eq(posix_spawn(&child, argv[0], &actions, NULL, (char **)(uintptr_t)argv,
                                 environment),
                     0);
    posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

/* Takes the directory back to what is durable; torn: with tails as the seed has them. */
static inline void disk_cut(const char *dir, bool torn, unsigned seed)
{
    char tool[PATH_MAX], command[3 * PATH_MAX];
    disk_tool(tool, "disk_cut");
    snprintf(command, sizeof(command), "%s %s --seed %u %s >/dev/null", tool, torn ? "" : "--exact",
             seed, dir);
    ck_assert_int_eq(system(command), 0);
}

static inline int disk_remove_one(const char *path, const struct stat *info, int type,
                                  struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline void disk_remove(const char *path)
{
    ck_assert_int_eq(nftw(path, disk_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
