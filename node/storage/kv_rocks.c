/* node/storage/kv_rocks.c: the RocksDB backend: reading, writing, care (opening: kv_rocks_open.c).
 */
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "node/storage/kv_dir.h"
#include "node/storage/kv_rocks.h"

#define BOTTOMMOST_FORCE 2 /* BottommostLevelCompaction of rocksdb/options.h */

#define READ_AHEAD ((size_t)1 << 20)

struct rocks_snapshot {
    struct kv_snapshot base;
    const rocksdb_snapshot_t *snapshot;
    uint64_t number; /* what had been written before it was made */
    rocksdb_readoptions_t *read; /* made once: RocksDB takes the snapshot through these */
};

struct rocks_iterator {
    struct kv_iterator base;
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *read;
    struct cf_buf lower, upper; /* RocksDB borrows the bounds */
};

struct rocks_batch {
    struct kv_batch base;
    rocksdb_writebatch_t *batch;
};

static const char *chars(struct cf_slice slice)
{
    return slice.data != NULL ? (const char *)slice.data : "";
}

/* ---- families */

static cf_status rocks_family_create(struct kv *kv, const char *name, struct kv_family **ret,
                                     struct cf_error *err)
{
    char *error = NULL;
    rocksdb_column_family_handle_t *handle =
        rocksdb_create_column_family(rocks(kv)->db, rocks(kv)->options, name, &error);
    CF_TRY(rocks_status(error, "create a family", err));
    *ret = &rocks_family_new(kv, name, handle)->base;
    return CF_OK;
}

static cf_status rocks_family_drop(struct kv_family *family, struct cf_error *err)
{
    char *error = NULL;
    rocksdb_drop_column_family(rocks(family->kv)->db, rocks_handle(family), &error);
    return rocks_status(error, "drop a family", err);
}

static void rocks_family_destroy(struct kv_family *family)
{
    rocksdb_column_family_handle_destroy(rocks_handle(family));
    cf_free(family);
}

/* ---- reading */

static void unpin_slice(void *pin)
{
    rocksdb_pinnableslice_destroy(pin);
}

static cf_status rocks_get(struct kv_view view, struct kv_family *family, struct cf_slice key,
                           bool persisted, struct kv_value *value, struct cf_error *err)
{
    const struct rocks_kv *kv = rocks(view.kv);
    const rocksdb_readoptions_t *read = persisted ? kv->read_persisted
                                        : view.snapshot != NULL
                                            ? ((const struct rocks_snapshot *)view.snapshot)->read
                                            : kv->read_now;
    char *error = NULL;
    rocksdb_pinnableslice_t *pin =
        rocksdb_get_pinned_cf(kv->db, read, rocks_handle(family), chars(key), key.size, &error);
    if (pin == NULL) {
        return error != NULL ? rocks_status(error, "get", err)
                             : cf_fail(err, CF_NOT_FOUND, "no such key");
    }
    value->bytes.data = (const uint8_t *)rocksdb_pinnableslice_value(pin, &value->bytes.size);
    value->pin = pin;
    value->unpin = unpin_slice;
    return CF_OK;
}

static struct kv_snapshot *rocks_snapshot_new(struct kv *kv)
{
    struct rocks_snapshot *snapshot = cf_new(struct rocks_snapshot);
    snapshot->base.kv = kv;
    snapshot->number = rocksdb_get_latest_sequence_number(rocks(kv)->db);
    snapshot->snapshot = rocksdb_create_snapshot(rocks(kv)->db);
    snapshot->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(snapshot->read, snapshot->snapshot);
    return &snapshot->base;
}

static void rocks_snapshot_free(struct kv_snapshot *base)
{
    struct rocks_snapshot *snapshot = (struct rocks_snapshot *)base;
    rocksdb_readoptions_destroy(snapshot->read);
    rocksdb_release_snapshot(rocks(base->kv)->db, snapshot->snapshot);
    cf_free(snapshot);
}

static struct kv_iterator *rocks_iterator_new(struct kv_view view, struct kv_family *family,
                                              struct kv_range range)
{
    struct rocks_iterator *it = cf_new(struct rocks_iterator);
    it->base.ops = &rocks_ops;
    it->read = rocksdb_readoptions_create();
    if (view.snapshot != NULL) {
        rocksdb_readoptions_set_snapshot(it->read,
                                         ((const struct rocks_snapshot *)view.snapshot)->snapshot);
    }
    cf_buf_add_slice(&it->lower, range.lower);
    cf_buf_add_slice(&it->upper, range.upper);
    if (it->lower.size > 0) {
        rocksdb_readoptions_set_iterate_lower_bound(it->read, chars(cf_buf_slice(&it->lower)),
                                                    it->lower.size);
    }
    if (it->upper.size > 0) {
        rocksdb_readoptions_set_iterate_upper_bound(it->read, chars(cf_buf_slice(&it->upper)),
                                                    it->upper.size);
    }
    if (range.bulk) {
        rocksdb_readoptions_set_fill_cache(it->read, 0);
        rocksdb_readoptions_set_readahead_size(it->read, READ_AHEAD);
    }
    it->it = rocksdb_create_iterator_cf(rocks(view.kv)->db, it->read, rocks_handle(family));
    return &it->base;
}

static rocksdb_iterator_t *iterator(const struct kv_iterator *base)
{
    return ((const struct rocks_iterator *)base)->it;
}

static void rocks_iterator_free(struct kv_iterator *base)
{
    struct rocks_iterator *it = (struct rocks_iterator *)base;
    rocksdb_iter_destroy(it->it);
    rocksdb_readoptions_destroy(it->read);
    cf_buf_done(&it->lower);
    cf_buf_done(&it->upper);
    cf_free(it);
}

static void rocks_seek(struct kv_iterator *base, struct cf_slice key)
{
    rocksdb_iter_seek(iterator(base), chars(key), key.size);
}

static void rocks_seek_before(struct kv_iterator *base, struct cf_slice key)
{
    rocksdb_iter_seek_for_prev(iterator(base), chars(key), key.size);
}

static void rocks_seek_first(struct kv_iterator *base)
{
    rocksdb_iter_seek_to_first(iterator(base));
}

static void rocks_seek_last(struct kv_iterator *base)
{
    rocksdb_iter_seek_to_last(iterator(base));
}

static bool rocks_valid(const struct kv_iterator *base)
{
    return rocksdb_iter_valid(iterator(base)) != 0;
}

static void rocks_next(struct kv_iterator *base)
{
    rocksdb_iter_next(iterator(base));
}

static void rocks_prev(struct kv_iterator *base)
{
    rocksdb_iter_prev(iterator(base));
}

static struct cf_slice rocks_key(const struct kv_iterator *base)
{
    size_t size;
    const char *key = rocksdb_iter_key(iterator(base), &size);
    return cf_slice_of(key, size);
}

static struct cf_slice rocks_bytes(const struct kv_iterator *base)
{
    size_t size;
    const char *value = rocksdb_iter_value(iterator(base), &size);
    return cf_slice_of(value, size);
}

static cf_status rocks_iterator_check(const struct kv_iterator *base, struct cf_error *err)
{
    char *error = NULL;
    rocksdb_iter_get_error(iterator(base), &error);
    return rocks_status(error, "iterate", err);
}

/* ---- writing */

static struct kv_batch *rocks_batch_new(struct kv *kv)
{
    struct rocks_batch *batch = cf_new(struct rocks_batch);
    batch->base.kv = kv;
    batch->batch = rocksdb_writebatch_create();
    return &batch->base;
}

static rocksdb_writebatch_t *writes(const struct kv_batch *base)
{
    return ((const struct rocks_batch *)base)->batch;
}

static void rocks_batch_free(struct kv_batch *base)
{
    rocksdb_writebatch_destroy(writes(base));
    cf_free(base);
}

static void rocks_batch_put(struct kv_batch *base, struct kv_family *family, struct cf_slice key,
                            const struct cf_slice *parts, size_t count)
{
    const char *keys[1] = {chars(key)}, *values[8];
    size_t key_sizes[1] = {key.size}, value_sizes[8];
    for (size_t i = 0; i < count; i++) {
        values[i] = chars(parts[i]);
        value_sizes[i] = parts[i].size;
    }
    rocksdb_writebatch_putv_cf(writes(base), rocks_handle(family), 1, keys, key_sizes, (int)count,
                               values, value_sizes);
}

static void rocks_batch_delete(struct kv_batch *base, struct kv_family *family, struct cf_slice key)
{
    rocksdb_writebatch_delete_cf(writes(base), rocks_handle(family), chars(key), key.size);
}

static void rocks_batch_delete_range(struct kv_batch *base, struct kv_family *family,
                                     struct cf_slice from, struct cf_slice to)
{
    rocksdb_writebatch_delete_range_cf(writes(base), rocks_handle(family), chars(from), from.size,
                                       chars(to), to.size);
}

static void rocks_batch_reset(struct kv_batch *base)
{
    rocksdb_writebatch_clear(writes(base));
}

static size_t rocks_batch_size(const struct kv_batch *base)
{
    size_t size;
    (void)rocksdb_writebatch_data(writes(base), &size);
    return size;
}

static cf_status rocks_commit(struct kv *base, struct kv_batch *batch,
                              enum kv_durability durability, struct cf_error *err)
{
    const struct rocks_kv *kv = rocks(base);
    char *error = NULL;
    rocksdb_write(kv->db, durability == KV_NO_WAL ? kv->write_no_wal : kv->write_wal, writes(batch),
                  &error);
    CF_TRY(rocks_status(error, "write a batch", err));
    if (durability == KV_SYNC) {
        /* Written and synced in two calls: the write queue is free while the disk works, so the
         * applier's batches don't wait for the log's sync. The promise is the same. */
        atomic_fetch_add_explicit(&base->syncs, 1, memory_order_relaxed);
        rocksdb_flush_wal(kv->db, 1, &error);
    }
    return rocks_status(error, "sync the write-ahead log", err);
}

/* ---- care */

static cf_status rocks_flush(struct kv_family *family, struct cf_error *err)
{
    struct rocks_kv *kv = rocks(family->kv);
    char *error = NULL;
    rocksdb_flush_cf(kv->db, kv->flush, rocks_handle(family), &error);
    return rocks_status(error, "flush", err);
}

static cf_status rocks_compact(struct kv_family *family, struct cf_slice from, struct cf_slice to,
                               struct cf_error *err)
{
    (void)err; /* a failed compaction latches and is told by the next write */
    rocksdb_compact_range_cf(rocks(family->kv)->db, rocks_handle(family),
                             from.size > 0 ? chars(from) : NULL, from.size,
                             to.size > 0 ? chars(to) : NULL, to.size);
    return CF_OK;
}

/* A plain compaction leaves the files of the lowest level that nothing lies above: they may hold both a deletion and
 * what it deletes, if a snapshot was there when they were written. */
static cf_status rocks_rewrite(struct kv_family *family, struct cf_slice from, struct cf_slice to,
                               struct cf_error *err)
{
    rocksdb_compactoptions_t *options = rocksdb_compactoptions_create();
    (void)err;
    rocksdb_compactoptions_set_exclusive_manual_compaction(options, 0);
    rocksdb_compactoptions_set_bottommost_level_compaction(options, BOTTOMMOST_FORCE);
    rocksdb_compact_range_cf_opt(rocks(family->kv)->db, rocks_handle(family), options,
                                 from.size > 0 ? chars(from) : NULL, from.size,
                                 to.size > 0 ? chars(to) : NULL, to.size);
    rocksdb_compactoptions_destroy(options);
    return CF_OK;
}

static uint64_t rocks_snapshot_number(const struct kv_snapshot *snapshot)
{
    return ((const struct rocks_snapshot *)snapshot)->number;
}

static uint64_t rocks_oldest_snapshot(struct kv *kv)
{
    uint64_t at = 0;
    return rocksdb_property_int(rocks(kv)->db, "rocksdb.oldest-snapshot-sequence", &at) == 0 ? at : 0;
}

static void rocks_allow_rewrites(struct kv *kv, bool allowed)
{
    if (allowed) {
        rocksdb_enable_manual_compaction(rocks(kv)->db);
    } else {
        rocksdb_disable_manual_compaction(rocks(kv)->db);
    }
}

/* Left alone, RocksDB would move new files to the bottom as they are, and then rewrite each one for the
 * sake of its sequence numbers. Without automatic compactions there is no limit of files, either. */
static cf_status rocks_be_queue(struct kv_family *family, struct cf_error *err)
{
    const char *const keys[] = {"disable_auto_compactions"}, *const values[] = {"true"};
    char *error = NULL;
    rocksdb_set_options_cf(rocks(family->kv)->db, rocks_handle(family), 1, keys, values, &error);
    return rocks_status(error, "set the options of a queue", err);
}

/* Files are removed from below the topmost level only; new ones without overlap get there by a change of
 * the list alone. */
static cf_status rocks_drop_files(struct kv_family *family, struct cf_slice from,
                                  struct cf_slice last, struct cf_error *err)
{
    CF_TRY(rocks_compact(family, from, last, err));
    char *error = NULL;
    rocksdb_delete_file_in_range_cf(rocks(family->kv)->db, rocks_handle(family), chars(from),
                                    from.size, chars(last), last.size, &error);
    return rocks_status(error, "remove files", err);
}

static uint64_t rocks_approximate_keys(struct kv_family *family, uint64_t *unflushed)
{
    rocksdb_t *db = rocks(family->kv)->db;
    uint64_t keys = 0, bytes = 0;
    (void)rocksdb_property_int_cf(db, rocks_handle(family), "rocksdb.estimate-num-keys", &keys);
    (void)rocksdb_property_int_cf(db, rocks_handle(family), "rocksdb.cur-size-all-mem-tables", &bytes);
    *unflushed = bytes;
    return keys;
}

static uint64_t rocks_approximate_size(struct kv_family *family, struct cf_slice from,
                                       struct cf_slice to)
{
    /* No bound above: what is past the longest possible key of 0xff. */
    char past[64];
    memset(past, 0xff, sizeof(past));
    const char *start = chars(from), *limit = to.size > 0 ? chars(to) : past;
    size_t start_size = from.size, limit_size = to.size > 0 ? to.size : sizeof(past);
    uint64_t size = 0;
    char *error = NULL;
    rocksdb_approximate_sizes_cf(rocks(family->kv)->db, rocks_handle(family), 1, &start,
                                 &start_size, &limit, &limit_size, &size, &error);
    if (error != NULL) {
        rocksdb_free(error); /* a rough figure: none is as good as a wrong one */
        return 0;
    }
    return size;
}

static uint64_t rocks_memory_bytes(struct kv *base)
{
    const struct rocks_kv *kv = rocks(base);
    uint64_t bytes = rocksdb_cache_get_usage(kv->cache);
    pthread_mutex_lock(&base->families_lock);
    for (size_t i = 0; i < base->count; i++) {
        uint64_t one = 0;
        if (rocksdb_property_int_cf(kv->db, rocks_handle(base->families[i]),
                                    "rocksdb.size-all-mem-tables", &one) == 0) {
            bytes += one;
        }
    }
    pthread_mutex_unlock(&base->families_lock);
    return bytes;
}

static cf_status rocks_space(struct kv *base, uint64_t *free_bytes, uint64_t *total_bytes,
                             struct cf_error *err)
{
    struct statvfs info;
    if (statvfs(rocks(base)->path, &info) != 0) {
        return cf_fail(err, CF_IO, "can't ask for the free space of the data directory");
    }
    *free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    *total_bytes = (uint64_t)info.f_blocks * info.f_frsize;
    return CF_OK;
}

static void rocks_note(struct kv *base, uint64_t value)
{
    kv_dir_note(rocks(base)->note, value);
}

static bool rocks_noted(struct kv *base, uint64_t *ret)
{
    return kv_dir_noted(rocks(base)->note, ret);
}

static cf_status rocks_ballast(struct kv *base, uint64_t bytes, struct cf_error *err)
{
    return kv_dir_ballast(rocks(base)->path, bytes, err);
}

const struct kv_ops rocks_ops = {
    .close = rocks_close,
    .family_create = rocks_family_create,
    .family_drop = rocks_family_drop,
    .family_destroy = rocks_family_destroy,
    .get = rocks_get,
    .snapshot_new = rocks_snapshot_new,
    .snapshot_free = rocks_snapshot_free,
    .iterator_new = rocks_iterator_new,
    .iterator_free = rocks_iterator_free,
    .seek = rocks_seek,
    .seek_before = rocks_seek_before,
    .seek_first = rocks_seek_first,
    .seek_last = rocks_seek_last,
    .valid = rocks_valid,
    .next = rocks_next,
    .prev = rocks_prev,
    .key = rocks_key,
    .bytes = rocks_bytes,
    .iterator_check = rocks_iterator_check,
    .batch_new = rocks_batch_new,
    .batch_free = rocks_batch_free,
    .batch_put = rocks_batch_put,
    .batch_delete = rocks_batch_delete,
    .batch_delete_range = rocks_batch_delete_range,
    .batch_reset = rocks_batch_reset,
    .batch_size = rocks_batch_size,
    .commit = rocks_commit,
    .flush = rocks_flush,
    .compact = rocks_compact,
    .rewrite = rocks_rewrite,
    .snapshot_number = rocks_snapshot_number,
    .oldest_snapshot = rocks_oldest_snapshot,
    .allow_rewrites = rocks_allow_rewrites,
    .forget_names = rocks_forget_names,
    .be_queue = rocks_be_queue,
    .drop_files = rocks_drop_files,
    .approximate_keys = rocks_approximate_keys,
    .approximate_size = rocks_approximate_size,
    .memory_bytes = rocks_memory_bytes,
    .note = rocks_note,
    .noted = rocks_noted,
    .ballast = rocks_ballast,
    .space = rocks_space,
    .run_new = rocks_run_new,
    .run_add = rocks_run_add,
    .run_end = rocks_run_end,
    .run_free = rocks_run_free,
    .take_runs = rocks_take_runs,
    .file_loader_new = rocks_loader_new,
    .file_loader_free = rocks_loader_free,
    .file_loader_add = rocks_loader_add,
    .file_loader_end = rocks_loader_end,
};
