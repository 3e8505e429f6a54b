/* tests/unit/node/storage/test_kv_rocks.c: the promises of kv.h over RocksDB, and what only a disk
 * has: reopening, bad directories, the lock, persisted reads. */
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "node/storage/kv_rocks.h"
#include "tests/unit/node/storage/suite.h"

#define OVER_ROCKS(name)                                                                           \
    START_TEST(name)                                                                               \
    {                                                                                              \
        struct kv *kv = NULL;                                                                      \
        ck_ok(kv_open(dir_begin(), NULL, &kv, NULL));                                              \
        suite_##name(kv);                                                                          \
        kv_close(kv);                                                                              \
        dir_end();                                                                                 \
    }                                                                                              \
    END_TEST

OVER_ROCKS(points)
OVER_ROCKS(batches)
OVER_ROCKS(iterators)
OVER_ROCKS(snapshots)
OVER_ROCKS(families)
OVER_ROCKS(model)
OVER_ROCKS(race)
OVER_ROCKS(load)

static cf_status reopen(struct kv **kv, struct cf_error *err)
{
    *kv = NULL;
    return kv_open(test_dir, &(struct kv_options){.must_exist = true}, kv, err);
}

static void write_file(const char *name, const char *content)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", test_dir, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(content, file);
    fclose(file);
}

/* Files of the store with the text. */
static unsigned files_with(const char *text)
{
    char path[128];
    glob_t found;
    unsigned count = 0;
    snprintf(path, sizeof(path), "%s/db/*", test_dir);
    ck_assert_int_eq(glob(path, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        static char bytes[1 << 20];
        FILE *file = fopen(found.gl_pathv[i], "r");
        size_t size = file != NULL ? fread(bytes, 1, sizeof(bytes), file) : 0;
        count += memmem(bytes, size, text, strlen(text)) != NULL;
        if (file != NULL) {
            fclose(file);
        }
    }
    globfree(&found);
    return count;
}

/* The first and the last key of each file stand in the manifest as well. */
START_TEST(names_are_forgotten)
{
    struct kv *kv = NULL;
    struct kv_family *family = NULL;
    char name[32];
    ck_ok(kv_open(dir_begin(), NULL, &kv, NULL));
    ck_ok(kv_family_create(kv, "state", &family, NULL));
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "a-name-%d", i);
        put(kv, family, name, "1");
        ck_ok(kv_flush(family, NULL));
    }
    put(kv, family, "other", "1");
    {
        CF_OWNED(kv_batch) batch = kv_batch_new(kv);
        kv_batch_delete_range(batch, family, text("a"), text("b"));
        ck_ok(kv_commit(kv, batch, KV_SYNC, NULL));
    }
    ck_ok(kv_flush(family, NULL));
    ck_ok(kv_rewrite(family, CF_SLICE_EMPTY, CF_SLICE_EMPTY, NULL));
    ck_assert_uint_ne(files_with("a-name-"), 0);
    ck_ok(kv_forget_names(kv, NULL));
    ck_assert_uint_eq(files_with("a-name-"), 0);
    for (int i = 0; i < 3; i++) { /* again and again, also over a new open */
        ck_ok(kv_forget_names(kv, NULL));
        kv_family_unref(family);
        kv_close(kv);
        ck_ok(reopen(&kv, NULL));
        ck_ok(kv_family_open(kv, "state", &family, NULL));
        ck_assert_str_eq(got(kv_now(kv), family, "other"), "1");
        ck_assert_uint_eq(kv->count, 1);
    }
    /* A crash in between leaves a family, which the next open drops. */
    char filler[2000];
    memset(filler, '~', sizeof(filler));
    filler[sizeof(filler) - 1] = '\0';
    char *error = NULL;
    rocksdb_column_family_handle_t *handle =
        rocksdb_create_column_family(rocks(kv)->db, rocks(kv)->options, filler, &error);
    ck_assert_ptr_null(error);
    rocksdb_column_family_handle_destroy(handle);
    for (int i = 0; i < 2; i++) {
        kv_family_unref(family);
        kv_close(kv);
        ck_ok(reopen(&kv, NULL));
        ck_ok(kv_family_open(kv, "state", &family, NULL));
        ck_assert_uint_eq(kv->count, 1);
    }
    kv_family_unref(family);
    kv_close(kv);
    dir_end();
}
END_TEST

START_TEST(reopens)
{
    struct kv *kv = NULL;
    struct cf_error err = {0};
    ck_status(kv_open(dir_begin(), &(struct kv_options){.must_exist = true}, &kv, &err),
              CF_NOT_FOUND);
    ck_ok(kv_open(test_dir, NULL, &kv, &err));
    struct kv_family *log = NULL, *state = NULL, *gone = NULL;
    ck_ok(kv_family_create(kv, "log", &log, NULL));
    ck_ok(kv_family_create(kv, "state-1", &state, NULL));
    ck_ok(kv_family_create(kv, "state-2", &gone, NULL));
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    kv_batch_put(batch, log, text("l"), text("1"));
    ck_ok(kv_commit(kv, batch, KV_SYNC, NULL));
    put(kv, state, "flushed", "1");
    ck_ok(kv_flush(state, NULL));
    put(kv, state, "lost", "1");
    ck_ok(kv_family_drop(gone, NULL));
    kv_batch_free(kv_batch_take(&batch));
    kv_family_unref(log);
    kv_family_unref(state);
    kv_family_unref(gone);
    kv_close(kv);

    ck_ok(reopen(&kv, &err));
    char names[64] = "";
    kv_family_each(kv, add_name, names);
    ck_assert_str_eq(names, "log state-1 ");
    ck_ok(kv_family_open(kv, "log", &log, NULL));
    ck_ok(kv_family_open(kv, "state-1", &state, NULL));
    ck_assert_str_eq(got(kv_now(kv), log, "l"), "1");
    ck_assert_str_eq(got(kv_now(kv), state, "flushed"), "1");
    ck_assert_str_eq(got(kv_now(kv), state, "lost"), "");
    kv_family_unref(log);
    kv_family_unref(state);
    kv_close(kv);
    struct stat info;
    ck_assert_int_eq(stat(test_dir, &info), 0);
    dir_end();
}
END_TEST

/* consensus.md 11, condition 4: what a crash would leave, not what memory holds. */
START_TEST(persisted_tier)
{
    struct kv *kv = NULL;
    ck_ok(kv_open(dir_begin(), NULL, &kv, NULL));
    CF_OWNED(kv_family) state = NULL;
    ck_ok(kv_family_create(kv, "state-1", &state, NULL));
    KV_VALUE(value) = {0};
    put(kv, state, "applied", "1");
    ck_status(kv_get_persisted(kv, state, text("applied"), &value, NULL), CF_NOT_FOUND);
    ck_ok(kv_flush(state, NULL));
    put(kv, state, "applied", "2");
    ck_ok(kv_get_persisted(kv, state, text("applied"), &value, NULL));
    ck_slice(value.bytes, "1");
    kv_value_release(&value);
    ck_assert_str_eq(got(kv_now(kv), state, "applied"), "2");
    kv_family_unref(kv_family_take(&state));
    kv_close(kv);
    dir_end();
}
END_TEST

static off_t wal_on_disk(void)
{
    char pattern[128];
    snprintf(pattern, sizeof(pattern), "%s/db/*.log", test_dir);
    glob_t found;
    off_t size = 0;
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            struct stat info;
            ck_assert_int_eq(stat(found.gl_pathv[i], &info), 0);
            size += info.st_size;
        }
        globfree(&found);
    }
    return size;
}

/* store_wal_bytes: writes without WAL must never end up in it, also not beside synced ones. */
START_TEST(no_wal_means_none)
{
    struct kv *kv = NULL;
    ck_ok(kv_open(dir_begin(), NULL, &kv, NULL));
    CF_OWNED(kv_family) log = NULL;
    CF_OWNED(kv_family) state = NULL;
    ck_ok(kv_family_create(kv, "log", &log, NULL));
    ck_ok(kv_family_create(kv, "state-1", &state, NULL));
    uint8_t large[4096] = {1};
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    off_t before = wal_on_disk();
    for (int i = 0; i < 20; i++) {
        kv_batch_reset(batch);
        kv_batch_put(batch, state, text("k"), cf_slice_of(large, sizeof(large)));
        ck_ok(kv_commit(kv, batch, KV_NO_WAL, NULL));
        kv_batch_reset(batch);
        kv_batch_put(batch, log, text("k"), text("small"));
        ck_ok(kv_commit(kv, batch, KV_SYNC, NULL));
    }
    ck_assert_int_gt(wal_on_disk(), before);
    ck_assert_int_lt(wal_on_disk() - before, 20 * 200);
    struct kv_counters counters;
    kv_count(kv, &counters);
    ck_assert_uint_eq(counters.syncs, 20);
    ck_assert_uint_gt(counters.no_wal_bytes, 20 * 4096);
    kv_family_unref(kv_family_take(&log));
    kv_family_unref(kv_family_take(&state));
    kv_batch_free(kv_batch_take(&batch));
    kv_close(kv);
    dir_end();
}
END_TEST

START_TEST(lock_of_this_process)
{
    struct kv *kv = NULL, *second = NULL;
    struct cf_error err = {0};
    ck_ok(kv_open(dir_begin(), NULL, &kv, NULL));
    ck_status(kv_open(test_dir, NULL, &second, &err), CF_EXISTS);
    ck_assert_ptr_nonnull(strstr(err.message, "in use by this process"));
    kv_close(kv);
    dir_end();
}
END_TEST

/* The other process is a child that never touches RocksDB: it locks the file as RocksDB does and
 * waits for the end of a pipe. */
START_TEST(lock_of_another_process)
{
    struct kv *kv = NULL;
    struct cf_error err = {0};
    ck_ok(kv_open(dir_begin(), NULL, &kv, NULL));
    kv_close(kv);
    char path[128];
    snprintf(path, sizeof(path), "%s/db/LOCK", test_dir);
    int ready[2], end[2];
    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(pipe(end), 0);
    pid_t child = fork();
    if (child == 0) {
        close(end[1]);
        int fd = open(path, O_RDWR);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        char byte = fcntl(fd, F_SETLK, &lock) == 0 ? 'y' : 'n';
        bool told = write(ready[1], &byte, 1) == 1 && read(end[0], &byte, 1) == 0;
        _exit(told ? 0 : 1);
    }
    close(end[0]);
    char byte = 0;
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'y');
    ck_status(kv_open(test_dir, NULL, &kv, &err), CF_EXISTS);
    char want[64];
    snprintf(want, sizeof(want), "in use by process %d", (int)child);
    ck_assert_msg(strstr(err.message, want) != NULL, "%s", err.message);
    close(end[1]);
    close(ready[0]);
    close(ready[1]);
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    dir_end();
}
END_TEST

START_TEST(bad_directories)
{
    struct kv *kv = NULL;
    struct cf_error err = {0};
    char path[128];
    dir_begin();
    snprintf(path, sizeof(path), "%s/a/b", test_dir);
    ck_status(kv_open(path, NULL, &kv, &err), CF_IO); /* only the last component is made */
    ck_assert_ptr_nonnull(strstr(err.message, "No such file"));
    write_file("file", "x");
    snprintf(path, sizeof(path), "%s/file", test_dir);
    ck_status(kv_open(path, NULL, &kv, &err), CF_IO);
    ck_status(kv_open("", NULL, &kv, &err), CF_INVALID);

    write_file("format", "coffer-store 2 ready\n");
    ck_status(kv_open(test_dir, NULL, &kv, &err), CF_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "newer release"));
    write_file("format", "coffer-store 1 rea");
    ck_status(kv_open(test_dir, NULL, &kv, &err), CF_CORRUPT);
    write_file("format", "something else");
    ck_status(kv_open(test_dir, NULL, &kv, &err), CF_CORRUPT);
    write_file("format", "");
    ck_status(kv_open(test_dir, NULL, &kv, &err), CF_CORRUPT);

    /* A creation that was cut off is taken up again. */
    write_file("format", "coffer-store 1 new\n");
    ck_ok(kv_open(test_dir, NULL, &kv, &err));
    struct kv_family *family = NULL;
    ck_ok(kv_family_create(kv, "log", &family, NULL));
    kv_family_unref(family);
    kv_close(kv);

    /* Files that vanish are damage, never a reason to start from nothing. */
    snprintf(path, sizeof(path), "%s/format", test_dir);
    ck_assert_int_eq(unlink(path), 0);
    ck_status(kv_open(test_dir, NULL, &kv, &err), CF_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "no format file"));
    write_file("format", "coffer-store 1 ready\n");
    ck_ok(kv_open(test_dir, NULL, &kv, &err));
    kv_close(kv);
    snprintf(path, sizeof(path), "%s/db/CURRENT", test_dir);
    ck_assert_int_eq(unlink(path), 0);
    ck_status(kv_open(test_dir, NULL, &kv, &err), CF_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "CURRENT"));
    dir_end();
}
END_TEST

/* A WAL file that is lost as a whole is told, not taken for an empty log. */
START_TEST(lost_wal)
{
    struct kv *kv = NULL;
    struct cf_error err = {0};
    ck_ok(kv_open(dir_begin(), NULL, &kv, NULL));
    struct kv_family *log = NULL, *state = NULL;
    ck_ok(kv_family_create(kv, "log", &log, NULL));
    ck_ok(kv_family_create(kv, "state-1", &state, NULL));
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    kv_batch_put(batch, log, text("l"), text("1"));
    ck_ok(kv_commit(kv, batch, KV_SYNC, NULL));
    put(kv, state, "k", "v");
    ck_ok(kv_flush(state, NULL)); /* closes the first WAL, which the log still needs */
    ck_ok(kv_commit(kv, batch, KV_SYNC, NULL));
    kv_batch_free(kv_batch_take(&batch));
    kv_family_unref(log);
    kv_family_unref(state);
    kv_close(kv);
    char pattern[128];
    snprintf(pattern, sizeof(pattern), "%s/db/*.log", test_dir);
    glob_t found;
    ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
    ck_assert_uint_ge(found.gl_pathc, 2);
    ck_assert_int_eq(unlink(found.gl_pathv[0]), 0);
    globfree(&found);
    ck_status(reopen(&kv, &err), CF_CORRUPT);
    dir_end();
}
END_TEST

START_TEST(space_is_told)
{
    struct kv *kv = NULL;
    ck_ok(kv_open(dir_begin(), NULL, &kv, NULL));
    uint64_t left = 0, total = 0;
    ck_ok(kv_space(kv, &left, &total, NULL));
    ck_assert_uint_gt(total, 0);
    ck_assert_uint_le(left, total);
    kv_close(kv);
    dir_end();
}
END_TEST

START_TEST(ballast)
{
    struct kv *kv = NULL;
    struct stat info;
    char name[128];
    ck_ok(kv_open(dir_begin(), NULL, &kv, NULL));
    snprintf(name, sizeof(name), "%s/ballast", test_dir);
    ck_ok(kv_ballast(kv, (uint64_t)3 << 20, NULL));
    ck_assert_int_eq(stat(name, &info), 0);
    ck_assert_int_ge(info.st_blocks, (3 << 20) / 512); /* held, not just named */
    ck_ok(kv_ballast(kv, (uint64_t)3 << 20, NULL));
    ck_ok(kv_ballast(kv, 0, NULL));
    ck_assert_int_ne(stat(name, &info), 0);
    ck_ok(kv_ballast(kv, 0, NULL));
    kv_close(kv);
    dir_end();
}
END_TEST

static const char *file_key(char to[16], unsigned number)
{
    snprintf(to, 16, "%06u", number);
    return to;
}

/* A few small files, each of 100 keys with 1 KiB: at the bottom, or as a queue leaves them. */
static void fill_files(struct kv *kv, struct kv_family *family, unsigned files, bool queue)
{
    char key[16], value[1025];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (unsigned file = 0; file < files; file++) {
        for (unsigned i = 0; i < 100; i++) {
            put(kv, family, file_key(key, 100 * file + i), value);
        }
        ck_ok(kv_flush(family, NULL));
        if (!queue) {
            ck_ok(kv_compact(family, text(file_key(key, 100 * file)), CF_SLICE_EMPTY, NULL));
        }
    }
}

/* The space comes back at once without any deletion, and nothing else changes: neither what was kept,
 * nor what a reopening finds. */
static void drop_from(bool queue)
{
    struct kv *kv = NULL;
    struct kv_family *family = NULL;
    char key[16];
    ck_ok(kv_open(dir_begin(), NULL, &kv, NULL));
    ck_ok(kv_family_create(kv, "log", &family, NULL));
    if (queue) {
        ck_ok(kv_be_queue(family, NULL));
    }
    fill_files(kv, family, 8, queue);
    uint64_t before = kv_approximate_size(family, CF_SLICE_EMPTY, CF_SLICE_EMPTY);
    ck_ok(kv_drop_files(family, text("000000"), text("000650"), NULL));
    uint64_t after = kv_approximate_size(family, CF_SLICE_EMPTY, CF_SLICE_EMPTY);
    ck_assert_uint_lt(after, before / 2);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 800; i++) {
            /* The file of 600 to 699 is needed. */
            ck_assert_int_eq(got(kv_now(kv), family, file_key(key, i))[0], i < 600 ? '\0' : 'v');
        }
        kv_family_unref(family);
        kv_close(kv);
        ck_ok(reopen(&kv, NULL));
        ck_ok(kv_family_open(kv, "log", &family, NULL));
    }
    /* A range without a file is nobody's business. */
    ck_ok(kv_drop_files(family, text("x"), text("y"), NULL));
    kv_family_unref(family);
    kv_close(kv);
    dir_end();
}

START_TEST(drops_files)
{
    drop_from(false);
    drop_from(true);
}
END_TEST

/* Keys are counted wherever they are; what no file holds is told apart. */
START_TEST(keys_are_told)
{
    struct kv *kv = NULL;
    struct kv_family *family = NULL;
    char key[16];
    uint64_t unflushed = 0, none = 0;
    ck_ok(kv_open(dir_begin(), NULL, &kv, NULL));
    ck_ok(kv_family_create(kv, "state", &family, NULL));
    for (unsigned i = 0; i < 1000; i++) {
        put(kv, family, file_key(key, i), "value");
    }
    ck_assert_uint_eq(kv_approximate_keys(family, &unflushed), 1000);
    ck_assert_uint_gt(unflushed, 1000 * 5);
    ck_ok(kv_flush(family, NULL));
    ck_assert_uint_eq(kv_approximate_keys(family, &none), 1000);
    ck_assert_uint_lt(none, unflushed);
    kv_family_unref(family);
    kv_close(kv);
    dir_end();
}
END_TEST

/* Runs of one store go into another one: all or none, the last one counts, and the files stay. */
START_TEST(runs)
{
    struct kv *kv = NULL;
    struct kv_family *family = NULL;
    char paths[3][256], key[16];
    const char *all[3];
    ck_ok(kv_open(dir_begin(), NULL, &kv, NULL));
    ck_ok(kv_family_create(kv, "state", &family, NULL));
    ck_assert(kv_has_runs(kv));
    put(kv, family, "k0000", "old");
    put(kv, family, "other", "stays");
    for (unsigned n = 0; n < 3; n++) {
        CF_OWNED(kv_run) run = NULL;
        struct cf_slice parts[2] = {text("v"), text(n == 0 ? "0" : n == 1 ? "1" : "2")};
        snprintf(paths[n], sizeof(paths[n]), "%s/run-%u", test_dir, n);
        all[n] = paths[n];
        ck_ok(kv_run_new(kv, paths[n], &run, NULL));
        for (unsigned i = 0; i < 200; i++) { /* each goes over half of the one before */
            snprintf(key, sizeof(key), "k%04u", 100 * n + i);
            ck_ok(kv_run_add(run, text(key), parts, 2, NULL));
        }
        ck_status(kv_run_add(run, text(key), parts, 2, NULL), CF_CORRUPT);
        ck_ok(kv_run_end(run, NULL));
    }
    CF_OWNED(kv_run) broken = NULL; /* its file goes with it */
    char path[256];
    snprintf(path, sizeof(path), "%s/run-broken", test_dir);
    ck_ok(kv_run_new(kv, path, &broken, NULL));
    kv_run_free(broken);
    broken = NULL;
    ck_assert_int_ne(access(path, F_OK), 0);
    const char *lacking[2] = {all[0], path};
    ck_assert_int_ne((int)kv_take_runs(family, lacking, 2, NULL), CF_OK);
    ck_assert_str_eq(got(kv_now(kv), family, "k0000"), "old");
    for (int round = 0; round < 2; round++) { /* a second time changes nothing */
        ck_ok(kv_take_runs(family, all, 3, NULL));
        for (unsigned i = 0; i < 400; i++) {
            snprintf(key, sizeof(key), "k%04u", i);
            ck_assert_str_eq(got(kv_now(kv), family, key), i < 100 ? "v0" : i < 200 ? "v1" : "v2");
        }
        ck_assert_str_eq(got(kv_now(kv), family, "other"), "stays");
        ck_assert_int_eq(access(paths[1], F_OK), 0);
        kv_family_unref(family);
        kv_close(kv);
        ck_ok(reopen(&kv, NULL));
        ck_ok(kv_family_open(kv, "state", &family, NULL));
        ck_assert_str_eq(got(kv_now(kv), family, "k0399"), "v2"); /* durable */
    }
    kv_family_unref(family);
    kv_close(kv);
    dir_end();
}
END_TEST

TEST_MAIN("node/storage/kv_rocks", points, batches, iterators, snapshots, families, model, race, load,
          names_are_forgotten, reopens, persisted_tier, no_wal_means_none, lock_of_this_process, lock_of_another_process,
          bad_directories, lost_wal, space_is_told, ballast, drops_files, keys_are_told, runs)
