/* tests/unit/node/storage/test_power.c: the store over power cuts, and that the disk of the tests
 * (tests/lib/disk_shim.c) does forget and fail. The victim is this program again, with a mode. */
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>

#include "disk.h"
#include "node/storage/kv.h"

static char base[64], data[80];

static void begin(void)
{
    strcpy(base, "/tmp/coffer-power-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    snprintf(data, sizeof(data), "%s/data", base);
    ck_assert_int_eq(mkdir(data, 0700), 0);
}

static int run(const char *mode, const char *settings)
{
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[size] = '\0';
    const char *argv[] = {self, mode, data, NULL};
    return disk_run(data, settings, argv, NULL);
}

/* ---- victims */

static void put_file(const char *name, const char *text, bool sync)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
        (sync && fsync(fd) != 0) || close(fd) != 0) {
        _exit(2);
    }
}

static void sync_here(void)
{
    int fd = open(".", O_RDONLY | O_DIRECTORY);
    if (fd < 0 || fsync(fd) != 0 || close(fd) != 0) {
        _exit(2);
    }
}

static int files_victim(void)
{
    put_file("a", "durable", true);
    put_file("b", "old", true);
    sync_here();
    put_file("a", "-not synced", false);
    put_file("c", "no name", true);
    put_file("fresh", "new", true);
    if (rename("fresh", "b") != 0 || unlink("a") != 0) {
        return 2;
    }
    put_file("a", "another", true);
    raise(SIGKILL);
    return 2;
}

/* A failed sync is told once; then the disk says that all is well, and has lost it. */
static int lost_victim(void)
{
    put_file("a", "first ", true);
    sync_here();
    int fd = open("a", O_WRONLY | O_APPEND);
    if (fd < 0 || fsync(fd) != 0 || write(fd, "second", 6) != 6) {
        return 2;
    }
    put_file("../data.disk/control", "fsync_errors=1", false);
    if (fsync(fd) == 0 || errno != EIO || fsync(fd) != 0) {
        return 3;
    }
    return 0;
}

static int full_victim(void)
{
    char part[100] = {0};
    int fd = open("a", O_WRONLY | O_CREAT, 0600);
    for (int i = 0; i < 10; i++) {
        if (write(fd, part, sizeof(part)) != (ssize_t)sizeof(part)) {
            return 2;
        }
    }
    return write(fd, part, 1) == -1 && errno == ENOSPC && unlink("a") == 0 &&
                   write(open("b", O_WRONLY | O_CREAT, 0600), part, 1) == 1
               ? 0
               : 3;
}

/* Makes a store and commits one record. 0: acknowledged. */
static int store_victim(void)
{
    struct kv *kv = NULL;
    struct kv_family *family = NULL;
    if (kv_open("store", NULL, &kv, NULL) != CF_OK ||
        kv_family_ensure(kv, "log", &family, NULL) != CF_OK) {
        return 2;
    }
    struct kv_batch *batch = kv_batch_new(kv);
    kv_batch_put(batch, family, CF_SLICE("key"), CF_SLICE("value"));
    _exit(kv_commit(kv, batch, KV_SYNC, NULL) == CF_OK ? 0 : 2);
}

/* ---- tests */

static bool holds(const char *name, const char *text)
{
    char path[128], got[64] = {0};
    snprintf(path, sizeof(path), "%s/%s", data, name);
    int fd = open(path, O_RDONLY);
    ssize_t size = fd < 0 ? -1 : read(fd, got, sizeof(got) - 1);
    if (fd >= 0) {
        close(fd);
    }
    return text == NULL ? fd < 0 : size == (ssize_t)strlen(text) && strcmp(got, text) == 0;
}

START_TEST(the_disk_forgets)
{
    begin();
    ck_assert_int_eq(run("files", ""), 100 + SIGKILL);
    ck_assert(holds("a", "another"));
    disk_cut(data, false, 1);
    ck_assert(holds("a", "durable"));
    ck_assert(holds("b", "old"));
    ck_assert(holds("c", NULL));
    ck_assert(holds("fresh", NULL));
    disk_remove(base);
}
END_TEST

/* Over many seeds: either list of names, and the tail of "a" at different lengths. */
START_TEST(tails_are_torn)
{
    bool present = false, durable = false;
    for (unsigned seed = 1; seed <= 12; seed++) {
        begin();
        ck_assert_int_eq(run("files", ""), 100 + SIGKILL);
        disk_cut(data, true, seed);
        bool named = holds("c", "no name");
        present |= named && holds("b", "new") && holds("a", "another");
        durable |= !named && holds("b", "old");
        ck_assert(named ? holds("b", "new") : holds("b", "old"));
        disk_remove(base);
    }
    ck_assert(present && durable);
}
END_TEST

START_TEST(a_failed_sync_loses)
{
    begin();
    ck_assert_int_eq(run("lost", ""), 0);
    ck_assert(holds("a", "first second"));
    disk_cut(data, false, 1);
    ck_assert(!holds("a", "first second"));
    disk_remove(base);
}
END_TEST

START_TEST(a_full_disk_refuses)
{
    begin();
    ck_assert_int_eq(run("full", "space=1000"), 0);
    disk_remove(base);
}
END_TEST

/* store_rename_dirsync: the power goes at every operation while a store is made. Whatever is left
 * opens, and once the first commit was acknowledged it is there. */
START_TEST(store_rename_dirsync)
{
    unsigned operation = 0;
    for (operation = 1; operation < 400; operation++) {
        char settings[32];
        begin();
        snprintf(settings, sizeof(settings), "kill_after=%u", operation);
        int first = run("store", settings);
        ck_assert(first == 0 || first == 100 + SIGKILL);
        disk_cut(data, operation % 3 != 0, operation);
        struct kv *kv = NULL;
        struct cf_error err = {0};
        char path[96];
        snprintf(path, sizeof(path), "%s/store", data);
        cf_status status = kv_open(path, NULL, &kv, &err);
        ck_assert_msg(status == CF_OK, "cut at %u: %s (%s)", operation, err.message, err.detail);
        struct kv_family *family = NULL;
        ck_ok(kv_family_ensure(kv, "log", &family, NULL));
        KV_VALUE(value) = {0};
        cf_status found = kv_get(kv_now(kv), family, CF_SLICE("key"), &value, NULL);
        ck_assert_msg(first != 0 || found == CF_OK, "an acknowledged record is lost");
        kv_value_release(&value);
        kv_family_unref(family);
        kv_close(kv);
        disk_remove(base);
        if (first == 0) {
            break;
        }
    }
    ck_assert_uint_gt(operation, 20); /* operations were counted */
    ck_assert_uint_lt(operation, 400);
}
END_TEST

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } victims[] = {{"files", files_victim},
                   {"lost", lost_victim},
                   {"full", full_victim},
                   {"store", store_victim}};
    for (size_t i = 0; argc == 3 && i < sizeof(victims) / sizeof(victims[0]); i++) {
        if (strcmp(argv[1], victims[i].name) == 0) {
            return chdir(argv[2]) == 0 ? victims[i].run() : 2;
        }
    }
    const TTest *const tests[] = {the_disk_forgets, tails_are_torn, a_failed_sync_loses,
                                  a_full_disk_refuses, store_rename_dirsync};
    return test_run("node/storage/power", tests, 5);
}
