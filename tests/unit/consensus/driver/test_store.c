/* tests/unit/consensus/driver/test_store.c: the log store over both backends: append, truncation
 * with its replacement, reload, damage, lost tails, the switch to another state. */
#include <ftw.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consensus/core/raft_int.h"
#include "consensus/driver/store.h"
#include "consensus/driver/store_int.h"
#include "test.h"

static char dir[64];
static struct kv *kv;
static struct raft_store *store;

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static void open_store(void)
{
    struct cf_error err = {0};
    cf_status status = raft_store_open(kv, &store, &err);
    ck_assert_msg(status == CF_OK, "%s", err.message);
}

static void begin(bool disk)
{
    dir[0] = '\0';
    if (disk) {
        strcpy(dir, "/tmp/coffer-store-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(dir));
        ck_ok(kv_open(dir, NULL, &kv, NULL));
    } else {
        kv = kv_open_memory();
    }
    open_store();
}

static void end(void)
{
    raft_store_free(store);
    kv_close(kv);
    if (dir[0] != '\0') {
        ck_assert_int_eq(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    }
}

/* A new process, as far as the store can tell; memory keeps its database. */
static void restart(void)
{
    raft_store_free(store);
    if (dir[0] != '\0') {
        kv_close(kv);
        ck_ok(kv_open(dir, NULL, &kv, NULL));
    }
    open_store();
}

static const struct raft_identity identity = {.node_id = 7, .cluster_id = "cluster-of-test"};

static struct raft_entry *make(uint64_t term, uint64_t index, enum raft_entry_type type,
                               struct cf_slice payload)
{
    struct raft_entry *entry = raft_entry_new(type, 3, payload);
    raft_entry_seal(entry, term, index);
    return entry;
}

/* One synced write of entries [from, to] in a term, after a truncation when truncate is not 0. */
static void append(uint64_t truncate, uint64_t term, uint64_t from, uint64_t to)
{
    struct raft_entry *entries[512];
    size_t count = 0;
    for (uint64_t index = from; index <= to; index++) {
        char text[32];
        snprintf(text, sizeof(text), "%llu.%llu", (unsigned long long)term,
                 (unsigned long long)index);
        entries[count++] = make(term, index, RAFT_ENTRY_DATA, cf_slice_str(text));
    }
    struct raft_hard_state hard = {.term = term, .vote = 7, .commit = 1};
    struct raft_store_write write = {
        .truncate_from = truncate, .entries = entries, .entry_count = count, .hard_state = &hard};
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    raft_store_add(store, batch, &write);
    uint64_t syncs = kv_sync_count(kv);
    ck_ok(raft_store_sync(store, batch, NULL));
    ck_assert_uint_eq(kv_sync_count(kv), syncs + 1);
    for (size_t i = 0; i < count; i++) {
        raft_entry_unref(entries[i]);
    }
}

/* "term.index" of each entry from `from` on. */
static const char *log_text(uint64_t from)
{
    static char text[1024];
    text[0] = '\0';
    struct raft_entry *run[3];
    size_t count = 0;
    while (raft_store_entries(store, from, UINT64_MAX - 1, 1 << 20, 3, run, &count, NULL) ==
           CF_OK) {
        for (size_t i = 0; i < count; i++) {
            size_t at = strlen(text);
            ck_assert_uint_eq(run[i]->index, from + i);
            ck_assert_uint_eq(run[i]->flags, 3);
            snprintf(text + at, sizeof(text) - at, "%s%.*s", at > 0 ? " " : "",
                     CF_SHOW(run[i]->payload));
            raft_entry_unref(run[i]);
        }
        from += count;
    }
    return text;
}

static struct raft_loaded load(void)
{
    struct raft_loaded loaded;
    struct cf_error err = {0};
    cf_status status = raft_store_load(store, &loaded, &err);
    ck_assert_msg(status == CF_OK, "%s", err.message);
    return loaded;
}

static void load_fails(cf_status want, const char *message)
{
    struct raft_loaded loaded;
    struct cf_error err = {0};
    ck_status(raft_store_load(store, &loaded, &err), want);
    ck_assert_msg(strstr(err.message, message) != NULL, "%s", err.message);
}

static void set_applied(uint64_t index, uint64_t term)
{
    CF_OWNED(kv_family) state = raft_store_state(store);
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    raft_store_add_applied(batch, state, (struct raft_applied){index, term}, NULL);
    ck_ok(kv_commit(kv, batch, KV_NO_WAL, NULL));
}

/* ---- the suite */

static void suite_identity(void)
{
    struct raft_loaded loaded;
    ck_status(raft_store_load(store, &loaded, NULL), CF_UNINITIALIZED);
    ck_assert(!raft_store_has_identity(store));
    struct raft_identity nobody = identity;
    nobody.node_id = 0;
    ck_status(raft_store_bootstrap(store, &nobody, "a", "n", &(struct cf_error){0}), CF_INVALID);
    ck_ok(raft_store_bootstrap(store, &identity, "127.0.0.1:8201", "one", NULL));
    ck_status(raft_store_join(store, &identity, &(struct cf_error){0}), CF_EXISTS);
    ck_ok(raft_store_put_record(store, "tls-key", CF_SLICE("opaque"), NULL));
    restart();
    ck_assert(raft_store_has_identity(store));
    struct raft_identity back = raft_store_identity(store);
    ck_assert_mem_eq(&back, &identity, sizeof(back));
    KV_VALUE(value) = {0};
    ck_ok(raft_store_get_record(store, "tls-key", &value, NULL));
    ck_slice(value.bytes, "opaque");
    kv_value_release(&value);
    ck_ok(raft_store_put_record(store, "tls-key", CF_SLICE_EMPTY, NULL));
    ck_status(raft_store_get_record(store, "tls-key", &value, NULL), CF_NOT_FOUND);
    ck_status(raft_store_get_record(store, "", &value, NULL), CF_INVALID);
    loaded = load();
    ck_assert_uint_eq(loaded.last_index, 0);
    ck_assert_uint_eq(loaded.base.membership.count, 1);
    ck_assert_str_eq(loaded.base.membership.members[0].address, "127.0.0.1:8201");
    raft_loaded_done(&loaded);
}

static void suite_log(void)
{
    ck_ok(raft_store_bootstrap(store, &identity, "a", "n", NULL));
    append(0, 1, 1, 6);
    ck_assert_str_eq(log_text(1), "1.1 1.2 1.3 1.4 1.5 1.6");
    ck_assert_str_eq(log_text(5), "1.5 1.6");
    /* Truncation and replacement in one write; a shorter log must not show the old end again. */
    append(4, 2, 4, 4);
    ck_assert_str_eq(log_text(1), "1.1 1.2 1.3 2.4");
    restart();
    ck_assert_str_eq(log_text(1), "1.1 1.2 1.3 2.4");
    struct raft_loaded loaded = load();
    ck_assert_uint_eq(loaded.last_index, 4);
    ck_assert_uint_eq(loaded.hard_state.term, 2);
    ck_assert_uint_eq(loaded.hard_state.vote, 7);
    raft_loaded_done(&loaded);
    append(2, 3, 2, 1); /* a truncation alone */
    restart();
    ck_assert_str_eq(log_text(1), "1.1");
    append(0, 3, 2, 5);
    ck_assert_str_eq(log_text(1), "1.1 3.2 3.3 3.4 3.5");
    uint64_t term = 0;
    ck_ok(raft_store_term(store, 2, &term, NULL));
    ck_assert_uint_eq(term, 3);
    ck_status(raft_store_term(store, 6, &term, NULL), CF_NOT_FOUND);
    struct raft_entry *run[8];
    size_t count = 0;
    ck_status(raft_store_entries(store, 6, 9, 1, 8, run, &count, &(struct cf_error){0}),
              CF_NOT_FOUND);
    ck_ok(raft_store_entries(store, 2, 5, 1, 8, run, &count, NULL)); /* at least one */
    ck_assert_uint_eq(count, 1);
    raft_entry_unref(run[0]);
}

static void suite_configs(void)
{
    ck_ok(raft_store_bootstrap(store, &identity, "a", "n", NULL));
    CF_BUF(payload) = {0};
    struct raft_membership membership = {0};
    ck_ok(raft_membership_set(&membership, 7, RAFT_VOTER, 0, "b", "n", NULL));
    raft_membership_encode(&membership, &payload);
    append(0, 1, 1, 2);
    for (uint64_t index = 3; index <= 5; index++) {
        struct raft_entry *entry = make(1, index, RAFT_ENTRY_CONFIG, cf_buf_slice(&payload));
        CF_OWNED(kv_batch) batch = kv_batch_new(kv);
        raft_store_add(store, batch,
                       &(struct raft_store_write){.entries = &entry, .entry_count = 1});
        ck_ok(raft_store_sync(store, batch, NULL));
        raft_entry_unref(entry);
    }
    append(5, 1, 5, 6); /* the third one is cut off */
    restart();
    struct raft_loaded loaded = load();
    ck_assert_uint_eq(loaded.config_count, 2);
    ck_assert_uint_eq(loaded.configs[1]->index, 4);
    raft_loaded_done(&loaded);

    /* Compaction: what is up to the base is gone for readers; configurations below go, too. */
    set_applied(4, 1);
    struct raft_base base = {.index = 3, .term = 1, .membership = membership};
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    raft_store_add(store, batch, &(struct raft_store_write){.compact = &base});
    ck_ok(raft_store_sync(store, batch, NULL));
    kv_batch_free(kv_batch_take(&batch));
    ck_ok(raft_store_drop_log_files(store, 3, NULL));
    CF_OWNED(kv_family) state = raft_store_state(store);
    ck_ok(kv_flush(state, NULL));
    kv_family_unref(kv_family_take(&state));
    restart();
    loaded = load();
    ck_assert_uint_eq(loaded.base.index, 3);
    ck_assert_uint_eq(loaded.config_count, 1);
    ck_assert_uint_eq(loaded.last_index, 6);
    ck_assert_uint_eq(loaded.applied, 4);
    raft_loaded_done(&loaded);
    struct raft_entry *one;
    size_t count;
    ck_status(raft_store_entries(store, 3, 9, 1, 1, &one, &count, &(struct cf_error){0}),
              CF_NOT_FOUND);
}

/* The switch to an installed state is one record; identity and hard state stay. */
static void suite_install(void)
{
    ck_ok(raft_store_bootstrap(store, &identity, "a", "n", NULL));
    append(0, 4, 1, 5);
    set_applied(3, 4);
    CF_OWNED(kv_family) left = NULL;
    ck_ok(raft_store_stage(store, &left, NULL)); /* given up */
    kv_family_unref(kv_family_take(&left));
    CF_OWNED(kv_family) staged = NULL;
    ck_ok(raft_store_stage(store, &staged, NULL));
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    kv_batch_put(batch, staged, CF_SLICE("k"), CF_SLICE("new"));
    raft_store_add_applied(batch, staged, (struct raft_applied){100, 4}, NULL);
    ck_ok(kv_commit(kv, batch, KV_NO_WAL, NULL));
    ck_ok(kv_flush(staged, NULL));

    struct raft_base base = {.index = 100, .term = 4};
    ck_ok(raft_membership_set(&base.membership, 7, RAFT_VOTER, 0, "c", "n", NULL));
    kv_batch_reset(batch);
    raft_store_add(store, batch, &(struct raft_store_write){.install = &base, .switch_to = staged});
    ck_ok(raft_store_sync(store, batch, NULL));
    raft_store_set_state(store, staged);
    kv_batch_free(kv_batch_take(&batch));
    kv_family_unref(kv_family_take(&staged));
    restart(); /* drops the old state */
    struct raft_loaded loaded = load();
    ck_assert_uint_eq(loaded.base.index, 100);
    ck_assert_uint_eq(loaded.last_index, 100);
    ck_assert_uint_eq(loaded.applied, 100);
    ck_assert_uint_eq(loaded.hard_state.term, 4);
    ck_assert_uint_eq(loaded.hard_state.vote, 7);
    raft_loaded_done(&loaded);
    append(0, 5, 101, 102);
    ck_assert_str_eq(log_text(101), "5.101 5.102");
    struct kv_family *old = NULL;
    ck_status(kv_family_open(kv, "state-1", &old, &(struct cf_error){0}), CF_NOT_FOUND);
}

/* ---- damage */

static void put_raw(const char *family_name, struct cf_slice key, struct cf_slice value)
{
    CF_OWNED(kv_family) family = NULL;
    ck_ok(kv_family_open(kv, family_name, &family, NULL));
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    if (value.data == NULL) {
        kv_batch_delete(batch, family, key);
    } else {
        kv_batch_put(batch, family, key, value);
    }
    ck_ok(kv_commit(kv, batch, KV_SYNC, NULL));
}

static void suite_damage(void)
{
    ck_ok(raft_store_bootstrap(store, &identity, "a", "n", NULL));
    append(0, 1, 1, 9);
    uint8_t key[8];
    CF_OWNED(kv_family) log = NULL;
    ck_ok(kv_family_open(kv, "log", &log, NULL));

    /* One flipped bit in each byte of an entry is found, wherever it is. */
    KV_VALUE(value) = {0};
    ck_ok(kv_get(kv_now(kv), log, index_key(key, 5), &value, NULL));
    uint8_t whole[64];
    size_t size = value.bytes.size;
    memcpy(whole, value.bytes.data, size);
    kv_value_release(&value);
    for (size_t i = 0; i < size; i++) {
        uint8_t bent[64];
        memcpy(bent, whole, size);
        bent[i] ^= 0x10;
        put_raw("log", index_key(key, 5), cf_slice_of(bent, size));
        load_fails(CF_CORRUPT, "log entry 5");
    }
    put_raw("log", index_key(key, 5), cf_slice_of(whole, 3));
    load_fails(CF_CORRUPT, "log entry 5");
    put_raw("log", index_key(key, 5), CF_SLICE_EMPTY); /* deleted: a hole */
    load_fails(CF_CORRUPT, "log entry 5 is missing");
    put_raw("log", index_key(key, 5), cf_slice_of(whole, size));
    struct raft_loaded loaded = load();
    raft_loaded_done(&loaded);

    put_raw("log", index_key(key, 1), CF_SLICE_EMPTY);
    load_fails(CF_CORRUPT, "does not begin at entry 1");
    put_raw("meta", CF_SLICE("hard"), CF_SLICE("x"));
    load_fails(CF_CORRUPT, "term and vote");
    put_raw("meta", CF_SLICE("base"), CF_SLICE_EMPTY);
    put_raw("meta", CF_SLICE("hard"), cf_slice_of((uint8_t[25]){1}, 25));
    load_fails(CF_CORRUPT, "missing");
}

/* What lies below the applied index is not read at the start, but is checked when it is used. */
static void suite_damage_below_applied(void)
{
    ck_ok(raft_store_bootstrap(store, &identity, "a", "n", NULL));
    append(0, 1, 1, 9);
    set_applied(7, 1);
    uint8_t key[8];
    put_raw("log", index_key(key, 3), CF_SLICE("nonsense that is long enough"));
    struct raft_loaded loaded = load();
    raft_loaded_done(&loaded);
    struct raft_entry *run[8];
    size_t count = 0;
    ck_ok(raft_store_entries(store, 1, 9, 1 << 20, 8, run, &count, NULL));
    ck_assert_uint_eq(count, 2);
    raft_entry_unref(run[0]);
    raft_entry_unref(run[1]);
    ck_status(raft_store_entries(store, 3, 9, 1 << 20, 8, run, &count, &(struct cf_error){0}),
              CF_CORRUPT);
}

#define BOTH(name)                                                                                 \
    START_TEST(name##_in_memory)                                                                   \
    {                                                                                              \
        begin(false);                                                                              \
        suite_##name();                                                                            \
        end();                                                                                     \
    }                                                                                              \
    END_TEST                                                                                       \
    START_TEST(name##_on_disk)                                                                     \
    {                                                                                              \
        begin(true);                                                                               \
        suite_##name();                                                                            \
        end();                                                                                     \
    }                                                                                              \
    END_TEST

BOTH(identity)
BOTH(log)
BOTH(configs)
BOTH(install)
BOTH(damage)
BOTH(damage_below_applied)

/* A power cut in the middle of a write: the WAL is cut at every length, and each time the log must
 * be a prefix of what was written, whole writes only, never with a hole. */
/* A copy of the closed store whose newest WAL lacks its last bytes, opened. False: it is not that long. */
static bool open_torn(off_t cut, size_t wals_min)
{
    char pattern[96], copy[160], command[400];
    glob_t found;
    struct stat info;
    snprintf(pattern, sizeof(pattern), "%s/db/*.log", dir);
    ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
    ck_assert_uint_ge(found.gl_pathc, wals_min);
    const char *wal = found.gl_pathv[found.gl_pathc - 1];
    ck_assert_int_eq(stat(wal, &info), 0);
    snprintf(copy, sizeof(copy), "%s-copy", dir);
    snprintf(command, sizeof(command), "rm -rf %s && cp -r %s %s", copy, dir, copy);
    ck_assert_int_eq(system(command), 0);
    snprintf(command, sizeof(command), "%s%s", copy, wal + strlen(dir));
    bool long_enough = cut < info.st_size;
    ck_assert_int_eq(truncate(command, long_enough ? info.st_size - cut : 0), 0);
    snprintf(command, sizeof(command), "%s/synced", copy);
    ck_assert_int_eq(unlink(command), 0); /* it was never synced, so it goes first */
    globfree(&found);
    ck_ok(kv_open(copy, NULL, &kv, NULL));
    open_store();
    return long_enough;
}

static void close_torn(void)
{
    char command[400];
    raft_store_free(store);
    kv_close(kv);
    snprintf(command, sizeof(command), "rm -rf %s-copy", dir);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(torn_tail)
{
    begin(true);
    ck_ok(raft_store_bootstrap(store, &identity, "a", "n", NULL));
    append(0, 1, 1, 2);
    append(0, 1, 3, 4);
    append(4, 2, 4, 6);
    raft_store_free(store);
    kv_close(kv);
    /* Only the last two writes: before them stands what makes the node a node. */
    for (off_t cut = 1; cut <= 250; cut += 7) {
        ck_assert(open_torn(cut, 1));
        struct raft_loaded loaded = load();
        raft_loaded_done(&loaded);
        const char *text = log_text(1);
        bool whole = strcmp(text, "1.1 1.2 1.3 1.4") == 0 || strcmp(text, "1.1 1.2") == 0;
        ck_assert_msg(whole, "cut by %d: %s", (int)cut, text);
        close_torn();
    }
    ck_assert_int_eq(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}
END_TEST

/* store_flush_between_torn_tail: a flush of the state between two writes of the log switches the WAL; a torn tail of the
 * newer WAL, down to nothing, must not reach into the older one, nor into the state (rocksdb#12162, #13903). */
START_TEST(store_flush_between_torn_tail)
{
    begin(true);
    ck_ok(raft_store_bootstrap(store, &identity, "a", "n", NULL));
    append(0, 1, 1, 3);
    set_applied(2, 1);
    struct kv_family *state = raft_store_state(store);
    ck_ok(kv_flush(state, NULL));
    set_applied(3, 1); /* not flushed: gone after the restart */
    struct raft_applied flushed;
    ck_ok(raft_store_flushed(store, &flushed, NULL));
    ck_assert_uint_eq(flushed.index, 2);
    append(0, 1, 4, 5);
    kv_family_unref(state);
    raft_store_free(store);
    kv_close(kv);
    unsigned lost = 0, rounds = 0;
    for (off_t cut = 0; rounds == 0 || lost == 0 || cut < 400; cut += 11, rounds++) {
        bool more = open_torn(cut, 2);
        struct raft_loaded loaded = load();
        ck_assert_uint_eq(loaded.applied, 2);
        ck_assert(!loaded.recovering);
        const char *text = log_text(1);
        bool without = strcmp(text, "1.1 1.2 1.3") == 0;
        ck_assert_msg(without || (cut == 0 && strcmp(text, "1.1 1.2 1.3 1.4 1.5") == 0), "cut by %d: %s",
                      (int)cut, text);
        lost += without;
        raft_loaded_done(&loaded);
        close_torn();
        if (!more) {
            break;
        }
    }
    ck_assert_uint_gt(lost, 0);
    ck_assert_int_eq(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}
END_TEST

/* The log may be cut only to what is flushed: the index in memory does not count. */
START_TEST(store_applied_persisted_tier)
{
    begin(true);
    ck_ok(raft_store_bootstrap(store, &identity, "a", "n", NULL));
    append(0, 1, 1, 5);
    struct raft_applied flushed;
    set_applied(2, 1);
    ck_ok(raft_store_flushed(store, &flushed, NULL));
    ck_assert_uint_eq(flushed.index, 0);
    CF_OWNED(kv_family) state = raft_store_state(store);
    ck_ok(kv_flush(state, NULL));
    set_applied(4, 1);
    ck_ok(raft_store_flushed(store, &flushed, NULL));
    ck_assert_uint_eq(flushed.index, 2);
    kv_family_unref(kv_family_take(&state));
    end();
}
END_TEST

/* etcd#22442: what a truncation removed does not come back, wherever files were written between. */
START_TEST(store_truncate_then_reload)
{
    begin(true);
    ck_ok(raft_store_bootstrap(store, &identity, "a", "n", NULL));
    append(0, 1, 1, 6);
    ck_ok(kv_flush(store->log, NULL));
    append(3, 2, 3, 3);
    ck_ok(kv_flush(store->log, NULL));
    append(0, 2, 4, 4);
    for (int round = 0; round < 2; round++) {
        restart();
        struct raft_loaded loaded = load();
        ck_assert_uint_eq(loaded.last_index, 4);
        raft_loaded_done(&loaded);
        ck_assert_str_eq(log_text(1), "1.1 1.2 2.3 2.4");
    }
    append(0, 2, 5, 5);
    restart();
    ck_assert_str_eq(log_text(1), "1.1 1.2 2.3 2.4 2.5");
    end();
}
END_TEST

/* The end of the log is gone although it was synced: no start as if nothing had happened. */
START_TEST(store_reopen_after_loss)
{
    begin(true);
    ck_ok(raft_store_bootstrap(store, &identity, "a", "n", NULL));
    append(0, 1, 1, 4);
    kv_note(kv, 6);
    restart();
    struct raft_loaded loaded;
    struct cf_error err = {0};
    ck_status(raft_store_load_or_repair(store, &loaded, &err), CF_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "ends at entry 4, but entry 6 was written"));
    kv_note(kv, 4);
    loaded = load();
    ck_assert(!loaded.recovering);
    raft_loaded_done(&loaded);
    end();
}
END_TEST

/* A store that has nothing, but did: no new node. */
START_TEST(store_lost_identity)
{
    begin(true);
    kv_note(kv, 6);
    raft_store_free(store);
    store = NULL;
    struct cf_error err = {0};
    ck_status(raft_store_open(kv, &store, &err), CF_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "lost its identity"));
    end();
}
END_TEST

/* Condition 2: state bytes stay out of the WAL, and with state_wal go through it. */
START_TEST(store_wal_bytes)
{
    begin(true);
    ck_ok(raft_store_bootstrap(store, &identity, "a", "n", NULL));
    CF_OWNED(kv_family) state = raft_store_state(store);
    uint8_t big[5000] = {1};
    for (int way = 0; way < 2; way++) {
        struct kv_counters before, after;
        raft_store_set_state_wal(store, way == 1);
        kv_count(kv, &before);
        CF_OWNED(kv_batch) batch = kv_batch_new(kv);
        kv_batch_put(batch, state, CF_SLICE("key"), cf_slice_of(big, sizeof(big)));
        ck_ok(kv_commit(kv, batch, raft_store_state_durability(store), NULL));
        kv_count(kv, &after);
        ck_assert_int_eq(after.wal_bytes - before.wal_bytes >= sizeof(big), way == 1);
        ck_assert_int_eq(after.no_wal_bytes - before.no_wal_bytes >= sizeof(big), way == 0);
    }
    kv_family_unref(kv_family_take(&state));
    end();
}
END_TEST

/* What RocksDB says of its options, for the database and each family: consensus.md 11. */
START_TEST(store_options)
{
    static const char *const wanted[] = {
        "recycle_log_file_num=0", "wal_recovery_mode=kPointInTimeRecovery",
        "track_and_verify_wals_in_manifest=true", "paranoid_checks=true", "wal_bytes_per_sync=0",
        "use_fsync=false", "avoid_flush_during_recovery=false", "manual_wal_flush=false",
        "atomic_flush=false", "two_write_queues=false", "unordered_write=false"};
    begin(true);
    char pattern[96], line[512];
    snprintf(pattern, sizeof(pattern), "%s/db/OPTIONS-*", dir);
    glob_t found;
    ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
    FILE *file = fopen(found.gl_pathv[found.gl_pathc - 1], "r");
    ck_assert_ptr_nonnull(file);
    unsigned seen[CF_LENGTH(wanted)] = {0};
    while (fgets(line, sizeof(line), file) != NULL) {
        for (size_t i = 0; i < CF_LENGTH(wanted); i++) {
            seen[i] += strstr(line, wanted[i]) != NULL;
        }
    }
    fclose(file);
    globfree(&found);
    for (size_t i = 0; i < CF_LENGTH(wanted); i++) {
        ck_assert_msg(seen[i] > 0, "%s", wanted[i]);
    }
    end();
}
END_TEST

/* No checkpoint is ever made (a snapshot is read through the store): what it reads holds what no
 * file holds yet, which is what a checkpoint would have to flush for. */
START_TEST(store_checkpoint_has_memtable)
{
    begin(true);
    ck_ok(raft_store_bootstrap(store, &identity, "a", "n", NULL));
    set_applied(7, 1);
    CF_OWNED(kv_family) state = raft_store_state(store);
    CF_OWNED(kv_snapshot) snapshot = kv_snapshot_new(kv);
    set_applied(8, 1);
    struct raft_applied at;
    ck_ok(raft_store_read_applied((struct kv_view){kv, snapshot}, state, &at, NULL));
    ck_assert_uint_eq(at.index, 7);
    ck_ok(raft_store_flushed(store, &at, NULL));
    ck_assert_uint_eq(at.index, 0);
    kv_snapshot_free(kv_snapshot_take(&snapshot));
    kv_family_unref(kv_family_take(&state));
    end();
}
END_TEST

/* A node with peers: its own membership entry says so. */
static void begin_of_three(void)
{
    begin(true);
    struct raft_membership members = {0};
    for (uint64_t id = 7; id <= 9; id++) {
        ck_ok(raft_membership_set(&members, id, RAFT_VOTER, 1, "address", "name", NULL));
    }
    ck_ok(raft_store_join(store, &identity, NULL));
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    store_add_base(store, batch, &(struct raft_base){.membership = members});
    ck_ok(kv_commit(kv, batch, KV_SYNC, NULL));
}

START_TEST(store_repairs_its_log)
{
    begin_of_three();
    append(0, 3, 1, 9);
    set_applied(4, 3);
    uint8_t key[8];
    put_raw("log", index_key(key, 6), CF_SLICE("nonsense that is long enough"));
    for (int round = 0; round < 2; round++) { /* the second start still knows that it lacks something */
        struct raft_loaded loaded;
        ck_ok(raft_store_load_or_repair(store, &loaded, NULL));
        ck_assert(loaded.recovering);
        ck_assert_uint_eq(loaded.last_index, 5);
        ck_assert_uint_eq(loaded.hard_state.term, 3);
        ck_assert_uint_eq(loaded.hard_state.vote, 7);
        raft_loaded_done(&loaded);
        restart();
    }
    ck_assert_str_eq(log_text(1), "3.1 3.2 3.3 3.4 3.5");
    kv_note(kv, 5);
    ck_ok(raft_store_recovered(store, NULL));
    struct raft_loaded loaded = load();
    ck_assert(!loaded.recovering);
    raft_loaded_done(&loaded);
    end();
}
END_TEST

START_TEST(store_drops_a_damaged_state)
{
    begin_of_three();
    append(0, 3, 1, 9);
    raft_store_set_damaged(store);
    restart();
    struct raft_loaded loaded;
    ck_ok(raft_store_load_or_repair(store, &loaded, NULL));
    ck_assert(loaded.recovering);
    ck_assert_uint_eq(loaded.last_index, 0);
    ck_assert_uint_eq(loaded.applied, 0);
    ck_assert_uint_eq(loaded.hard_state.term, 3); /* a vote is never forgotten */
    ck_assert_uint_eq(loaded.hard_state.vote, 7);
    raft_loaded_done(&loaded);
    ck_assert_str_eq(log_text(1), "");
    end();
}
END_TEST

/* What a start reads of the state besides its index: damage there is dropped like any other. */
START_TEST(store_drops_a_state_with_a_damaged_level)
{
    begin_of_three();
    append(0, 3, 1, 9);
    set_applied(4, 3);
    put_raw("state-1", CF_SLICE("\0level"), CF_SLICE("no level"));
    struct raft_loaded loaded;
    ck_ok(raft_store_load_or_repair(store, &loaded, NULL));
    ck_assert(loaded.recovering);
    ck_assert_uint_eq(loaded.last_index, 0);
    ck_assert_uint_eq(loaded.applied, 0);
    ck_assert_uint_eq(loaded.hard_state.vote, 7);
    raft_loaded_done(&loaded);
    end();
}
END_TEST

TEST_MAIN("consensus/driver/store", identity_in_memory, identity_on_disk, log_in_memory,
          log_on_disk, configs_in_memory, configs_on_disk, install_in_memory, install_on_disk,
          damage_in_memory, damage_on_disk, damage_below_applied_in_memory,
          damage_below_applied_on_disk, torn_tail, store_flush_between_torn_tail, store_applied_persisted_tier,
          store_truncate_then_reload, store_reopen_after_loss, store_lost_identity, store_wal_bytes, store_options,
          store_checkpoint_has_memtable, store_repairs_its_log, store_drops_a_damaged_state,
          store_drops_a_state_with_a_damaged_level)
