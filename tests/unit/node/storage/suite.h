/* tests/unit/node/storage/suite.h: the promises of kv.h, run over each backend. */
#ifndef COFFER_TEST_STORAGE_SUITE_H
#define COFFER_TEST_STORAGE_SUITE_H

#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/storage/kv.h"
#include "tests/lib/test.h"

/* A directory of the test's own, removed afterwards. */
static char test_dir[64];

static inline int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}
static inline const char *dir_begin(void)
{
    snprintf(test_dir, sizeof(test_dir), "/tmp/coffer-storage-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(test_dir));
    return test_dir;
}
static inline void dir_end(void)
{
    ck_assert_int_eq(nftw(test_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline struct cf_slice text(const char *from)
{
    return cf_slice_str(from);
}

static inline void put(struct kv *kv, struct kv_family *family, const char *key, const char *value)
{
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    kv_batch_put(batch, family, text(key), text(value));
    ck_ok(kv_commit(kv, batch, KV_NO_WAL, &(struct cf_error){0}));
}

/* "" when absent; the answer lives until the next call. */
static inline const char *got(struct kv_view view, struct kv_family *family, const char *key)
{
    static char answer[256];
    KV_VALUE(value) = {0};
    cf_status status = kv_get(view, family, text(key), &value, NULL);
    if (status == CF_NOT_FOUND) {
        return "";
    }
    ck_assert_int_eq(status, CF_OK);
    snprintf(answer, sizeof(answer), "%.*s", CF_SHOW(value.bytes));
    return answer;
}

/* All keys of a range as one text, "a b c". */
static inline const char *keys(struct kv_view view, struct kv_family *family, const char *lower,
                               const char *upper, bool backwards)
{
    static char answer[512];
    answer[0] = '\0';
    CF_OWNED(kv_iterator)
    it = kv_iterator_new(view, family,
                         (struct kv_range){.lower = text(lower), .upper = text(upper)});
    for (backwards ? kv_seek_last(it) : kv_seek_first(it); kv_valid(it);
         backwards ? kv_prev(it) : kv_next(it)) {
        size_t at = strlen(answer);
        snprintf(answer + at, sizeof(answer) - at, "%s%.*s", at > 0 ? " " : "",
                 CF_SHOW(kv_key(it)));
    }
    ck_ok(kv_iterator_check(it, NULL));
    return answer;
}

static inline void suite_points(struct kv *kv)
{
    CF_OWNED(kv_family) family = NULL;
    ck_ok(kv_family_create(kv, "state-1", &family, NULL));
    put(kv, family, "a", "1");
    put(kv, family, "empty", "");
    put(kv, family, "a", "2");
    ck_assert_str_eq(got(kv_now(kv), family, "a"), "2");
    KV_VALUE(value) = {0};
    ck_ok(kv_get(kv_now(kv), family, text("empty"), &value, NULL));
    ck_assert_uint_eq(value.bytes.size, 0);
    kv_value_release(&value);
    kv_value_release(&value);
    struct cf_error err;
    ck_status(kv_get(kv_now(kv), family, text("b"), &value, &err), CF_NOT_FOUND);

    /* A borrowed value stays what it was while the key changes and goes. */
    ck_ok(kv_get(kv_now(kv), family, text("a"), &value, NULL));
    put(kv, family, "a", "3");
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    kv_batch_delete(batch, family, text("a"));
    kv_batch_delete(batch, family, text("never"));
    ck_ok(kv_commit(kv, batch, KV_NO_WAL, NULL));
    ck_slice(value.bytes, "2");
    ck_assert_str_eq(got(kv_now(kv), family, "a"), "");
}

static inline void suite_batches(struct kv *kv)
{
    CF_OWNED(kv_family) one = NULL;
    CF_OWNED(kv_family) two = NULL;
    ck_ok(kv_family_create(kv, "one", &one, NULL));
    ck_ok(kv_family_create(kv, "two", &two, NULL));
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    ck_ok(kv_commit(kv, batch, KV_SYNC, NULL)); /* empty: costs nothing */
    ck_assert_uint_eq(kv_sync_count(kv), 0);

    /* In order, over families; the same key twice; a range that swallows an earlier put. */
    struct cf_slice parts[] = {CF_SLICE("index,"), CF_SLICE_EMPTY, CF_SLICE("cipher")};
    kv_batch_put_parts(batch, one, text("parts"), parts, 3);
    kv_batch_put(batch, one, text("k1"), text("x"));
    kv_batch_put(batch, one, text("k2"), text("x"));
    kv_batch_put(batch, one, text("k3"), text("x"));
    kv_batch_delete_range(batch, one, text("k1"), text("k3"));
    kv_batch_put(batch, one, text("k2"), text("again"));
    kv_batch_delete_range(batch, one, text("z"), text("a")); /* nothing */
    kv_batch_put(batch, two, text("k2"), text("other"));
    ck_assert_uint_eq(kv_batch_count(batch), 7);
    ck_assert_uint_gt(kv_batch_size(batch), 20);
    ck_ok(kv_commit(kv, batch, KV_SYNC, NULL));
    ck_assert_uint_eq(kv_sync_count(kv), 1);
    ck_assert_str_eq(keys(kv_now(kv), one, "", "", false), "k2 k3 parts");
    ck_assert_str_eq(got(kv_now(kv), one, "k2"), "again");
    ck_assert_str_eq(got(kv_now(kv), one, "parts"), "index,cipher");
    ck_assert_str_eq(keys(kv_now(kv), two, "", "", false), "k2");

    /* Reused; committed without a sync. */
    kv_batch_reset(batch);
    ck_assert_uint_eq(kv_batch_count(batch), 0);
    kv_batch_delete_range(batch, one, text(""), text("k3"));
    ck_ok(kv_commit(kv, batch, KV_WAL, NULL));
    ck_assert_str_eq(keys(kv_now(kv), one, "", "", false), "k3 parts");
    ck_assert_uint_eq(kv_sync_count(kv), 1);
    struct kv_counters counters;
    kv_count(kv, &counters);
    ck_assert_uint_eq(counters.commits, 2);
    ck_assert_uint_gt(counters.wal_bytes, 0);
    ck_assert_uint_eq(counters.no_wal_bytes, 0);

    /* What can't be stored is refused as a whole, and the batch is fine again after a reset. */
    kv_batch_reset(batch);
    kv_batch_put(batch, one, text("good"), text("x"));
    kv_batch_put(batch, one, CF_SLICE_EMPTY, text("x"));
    struct cf_error err = {0};
    ck_status(kv_commit(kv, batch, KV_SYNC, &err), CF_INTERNAL);
    ck_assert_str_eq(got(kv_now(kv), one, "good"), "");
    kv_batch_reset(batch);
    CF_BUF(long_key) = {0};
    for (size_t i = 0; i <= KV_KEY_MAX; i++) {
        cf_buf_add_byte(&long_key, 'k');
    }
    kv_batch_put(batch, one, cf_buf_slice(&long_key), text("x"));
    ck_status(kv_commit(kv, batch, KV_SYNC, &err), CF_INTERNAL);
    kv_batch_reset(batch);
    kv_batch_put(batch, one, cf_slice_first(cf_buf_slice(&long_key), KV_KEY_MAX), text("x"));
    ck_ok(kv_commit(kv, batch, KV_SYNC, NULL));
}

static inline void suite_iterators(struct kv *kv)
{
    CF_OWNED(kv_family) family = NULL;
    ck_ok(kv_family_ensure(kv, "it", &family, NULL));
    struct kv_view now = kv_now(kv);
    ck_assert_str_eq(keys(now, family, "", "", false), "");
    const char *all[] = {"d", "b", "f", "a", "c", "e", "bb"};
    for (size_t i = 0; i < CF_LENGTH(all); i++) {
        put(kv, family, all[i], all[i]);
    }
    ck_assert_str_eq(keys(now, family, "", "", false), "a b bb c d e f");
    ck_assert_str_eq(keys(now, family, "", "", true), "f e d c bb b a");
    ck_assert_str_eq(keys(now, family, "b", "e", false), "b bb c d");
    ck_assert_str_eq(keys(now, family, "b", "e", true), "d c bb b");
    ck_assert_str_eq(keys(now, family, "ba", "ba", false), "");
    ck_assert_str_eq(keys(now, family, "x", "", true), "");

    CF_OWNED(kv_iterator)
    it = kv_iterator_new(now, family, (struct kv_range){.lower = text("b"), .upper = text("e")});
    kv_seek(it, text("0"));
    ck_slice(kv_key(it), "b");
    kv_seek(it, text("ba"));
    ck_slice(kv_key(it), "bb");
    ck_slice(kv_bytes(it), "bb");
    kv_prev(it);
    ck_slice(kv_key(it), "b");
    kv_prev(it);
    ck_assert(!kv_valid(it));
    kv_seek(it, text("e"));
    ck_assert(!kv_valid(it));
    kv_seek_before(it, text("z"));
    ck_slice(kv_key(it), "d");
    kv_seek_before(it, text("bz"));
    ck_slice(kv_key(it), "bb");
    kv_seek_before(it, text("c"));
    ck_slice(kv_key(it), "c");
    kv_next(it);
    ck_slice(kv_key(it), "d");
    kv_next(it);
    ck_assert(!kv_valid(it));
    kv_seek_before(it, text("a"));
    ck_assert(!kv_valid(it));
    ck_ok(kv_iterator_check(it, NULL));
}

static inline void suite_snapshots(struct kv *kv)
{
    CF_OWNED(kv_family) family = NULL;
    CF_OWNED(kv_family) later = NULL;
    ck_ok(kv_family_create(kv, "snap", &family, NULL));
    put(kv, family, "a", "1");
    put(kv, family, "b", "1");
    struct kv_snapshot *snapshot = kv_snapshot_new(kv);
    struct kv_view then = {kv, snapshot};
    CF_OWNED(kv_iterator) it = kv_iterator_new(kv_now(kv), family, (struct kv_range){0});
    put(kv, family, "a", "2");
    put(kv, family, "c", "2");
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    kv_batch_delete_range(batch, family, text("b"), text("bz"));
    ck_ok(kv_commit(kv, batch, KV_NO_WAL, NULL));
    ck_ok(kv_family_create(kv, "later", &later, NULL));
    put(kv, later, "x", "1");

    ck_assert_str_eq(keys(then, family, "", "", false), "a b");
    ck_assert_str_eq(got(then, family, "a"), "1");
    ck_assert_str_eq(got(then, family, "c"), "");
    ck_assert_str_eq(keys(kv_now(kv), family, "", "", false), "a c");
    kv_seek_first(it); /* sees the moment of its creation */
    ck_slice(kv_bytes(it), "1");
    ck_ok(kv_flush(family, NULL));
    ck_ok(kv_compact(family, CF_SLICE_EMPTY, CF_SLICE_EMPTY, NULL));
    ck_assert_str_eq(keys(then, family, "", "", false), "a b");
    kv_iterator_free(kv_iterator_take(&it));
    kv_snapshot_free(snapshot);
    ck_assert_str_eq(got(kv_now(kv), family, "a"), "2");
}

static inline void add_name(void *context, const char *name)
{
    strcat(context, name);
    strcat(context, " ");
}

static inline void suite_families(struct kv *kv)
{
    CF_OWNED(kv_family) family = NULL;
    struct kv_family *again = NULL;
    struct cf_error err = {0};
    ck_ok(kv_family_create(kv, "meta", &family, NULL));
    ck_status(kv_family_create(kv, "meta", &again, &err), CF_EXISTS);
    ck_status(kv_family_create(kv, "No Good", &again, &err), CF_INVALID);
    ck_status(kv_family_create(kv, "", &again, &err), CF_INVALID);
    ck_status(kv_family_open(kv, "log", &again, &err), CF_NOT_FOUND);
    ck_ok(kv_family_ensure(kv, "log", &again, NULL));
    put(kv, again, "k", "v");
    char names[64] = "";
    kv_family_each(kv, add_name, names);
    ck_assert_str_eq(names, "log meta ");

    /* Dropped: gone by name, readable through what was held before, not writable. */
    CF_OWNED(kv_snapshot) snapshot = kv_snapshot_new(kv);
    ck_ok(kv_family_drop(again, NULL));
    ck_status(kv_family_drop(again, &err), CF_NOT_FOUND);
    ck_assert_str_eq(got((struct kv_view){kv, snapshot}, again, "k"), "v");
    ck_assert_str_eq(keys(kv_now(kv), again, "", "", false), "k");
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    kv_batch_put(batch, again, text("k2"), text("v"));
    ck_status(kv_commit(kv, batch, KV_NO_WAL, &err), CF_INTERNAL);
    struct kv_family *fresh = NULL;
    ck_ok(kv_family_create(kv, "log", &fresh, NULL));
    ck_assert_str_eq(got(kv_now(kv), fresh, "k"), "");
    kv_family_unref(fresh);
    kv_family_unref(again);
}

/* Against a plain array: the same random operations must give the same contents. */
#define MODEL_KEYS 200

static inline void check_model(struct kv_view view, struct kv_family *family, const int *model)
{
    CF_OWNED(kv_iterator) it = kv_iterator_new(view, family, (struct kv_range){0});
    kv_seek_first(it);
    for (int i = 0; i < MODEL_KEYS; i++) {
        char key[16], value[16];
        snprintf(key, sizeof(key), "%04d", i);
        if (model[i] != 0) {
            snprintf(value, sizeof(value), "%d", model[i]);
            ck_assert(kv_valid(it));
            ck_slice(kv_key(it), key);
            ck_slice(kv_bytes(it), value);
            kv_next(it);
        }
    }
    ck_assert(!kv_valid(it));
}

static inline void suite_model(struct kv *kv)
{
    CF_OWNED(kv_family) family = NULL;
    ck_ok(kv_family_create(kv, "model", &family, NULL));
    int model[MODEL_KEYS] = {0}, old[MODEL_KEYS] = {0};
    struct cf_prng prng;
    cf_prng_seed(&prng, 7);
    CF_OWNED(kv_snapshot) snapshot = kv_snapshot_new(kv);
    for (int round = 1; round <= 300; round++) {
        CF_OWNED(kv_batch) batch = kv_batch_new(kv);
        for (int n = 0; n < 10; n++) {
            int a = (int)cf_prng_below(&prng, MODEL_KEYS), b = a + (int)cf_prng_below(&prng, 20);
            char key[16], to[16], value[16];
            snprintf(key, sizeof(key), "%04d", a);
            snprintf(to, sizeof(to), "%04d", b);
            snprintf(value, sizeof(value), "%d", round);
            uint64_t kind = cf_prng_below(&prng, 10);
            if (kind < 7) {
                kv_batch_put(batch, family, text(key), text(value));
                model[a] = round;
            } else if (kind < 9) {
                kv_batch_delete(batch, family, text(key));
                model[a] = 0;
            } else {
                kv_batch_delete_range(batch, family, text(key), text(to));
                for (int i = a; i < b && i < MODEL_KEYS; i++) {
                    model[i] = 0;
                }
            }
        }
        ck_ok(kv_commit(kv, batch, KV_NO_WAL, NULL));
        check_model(kv_now(kv), family, model);
        check_model((struct kv_view){kv, snapshot}, family, old);
        if (round % 37 == 0) {
            kv_snapshot_free(snapshot);
            snapshot = kv_snapshot_new(kv);
            memcpy(old, model, sizeof(old));
        }
    }
    ck_ok(kv_delete_bulk(family, CF_SLICE_EMPTY, CF_SLICE_EMPTY, KV_NO_WAL, NULL));
    ck_assert_str_eq(keys(kv_now(kv), family, "", "", false), "");
    ck_ok(kv_delete_bulk(family, CF_SLICE_EMPTY, CF_SLICE_EMPTY, KV_NO_WAL, NULL));
}

/* A family filled in order holds exactly that; a key that does not rise is refused. */
static inline void suite_load(struct kv *kv)
{
    char key[16], value[16];
    CF_OWNED(kv_family) family = NULL;
    ck_ok(kv_family_create(kv, "load", &family, NULL));
    CF_OWNED(kv_loader) loader = kv_loader_new(family);
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "k%06d", i);
        snprintf(value, sizeof(value), "%d", i);
        ck_ok(kv_loader_add(loader, text(key), text(value), NULL));
    }
    ck_status(kv_loader_add(loader, text("k000001"), text("x"), NULL), CF_CORRUPT);
    ck_status(kv_loader_add(loader, text("k004999"), text("x"), NULL), CF_CORRUPT);
    ck_ok(kv_loader_end(loader, NULL));
    CF_OWNED(kv_iterator) it = kv_iterator_new(kv_now(kv), family, (struct kv_range){0});
    int count = 0;
    for (kv_seek_first(it); kv_valid(it); kv_next(it), count++) {
        snprintf(key, sizeof(key), "k%06d", count);
        snprintf(value, sizeof(value), "%d", count);
        ck_slice(kv_key(it), key);
        ck_slice(kv_bytes(it), value);
    }
    ck_assert_int_eq(count, 5000);
    KV_VALUE(kept) = {0};
    ck_ok(kv_get_persisted(kv, family, text("k000042"), &kept, NULL));
    ck_slice(kept.bytes, "42");
    put(kv, family, "k000042", "newer"); /* an ordinary family from here on */
    ck_assert_str_eq(got(kv_now(kv), family, "k000042"), "newer");
    CF_OWNED(kv_loader) broken = kv_loader_new(family);
    ck_ok(kv_loader_add(broken, text("z"), text("1"), NULL)); /* never ended: freed without harm */
}

/* Readers beside a writer see all of a batch or nothing: both keys always hold the same. */
struct race {
    struct kv *kv;
    struct kv_family *family;
    atomic_bool stop;
    atomic_int torn;
};

static inline void *race_read(void *arg)
{
    struct race *race = arg;
    while (!atomic_load(&race->stop)) {
        CF_OWNED(kv_snapshot) snapshot = kv_snapshot_new(race->kv);
        struct kv_view view = {race->kv, snapshot};
        KV_VALUE(left) = {0};
        KV_VALUE(right) = {0};
        cf_status a = kv_get(view, race->family, text("left"), &left, NULL);
        cf_status b = kv_get(view, race->family, text("right"), &right, NULL);
        if (a != b || !cf_slice_eq(left.bytes, right.bytes)) {
            atomic_fetch_add(&race->torn, 1);
        }
    }
    return NULL;
}

static inline void suite_race(struct kv *kv)
{
    struct race race = {.kv = kv};
    ck_ok(kv_family_create(kv, "race", &race.family, NULL));
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, race_read, &race), 0);
    }
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    for (int i = 0; i < 2000; i++) {
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        kv_batch_reset(batch);
        kv_batch_put(batch, race.family, text("left"), text(value));
        kv_batch_put(batch, race.family, text("right"), text(value));
        ck_ok(kv_commit(kv, batch, KV_NO_WAL, NULL));
    }
    atomic_store(&race.stop, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_int_eq(atomic_load(&race.torn), 0);
    kv_family_unref(race.family);
}

#endif
