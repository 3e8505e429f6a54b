/* node/storage/kv.h
 *
 * The one key-value store under everything that persists: ordered keys in named families, point
 * reads that borrow, iterators, cheap snapshots, atomic batches. Two backends behind one table of
 * functions: RocksDB (kv_open) and memory (kv_open_memory).
 *
 * Order is bytewise. Keys are 1..KV_KEY_MAX bytes, values 0..KV_VALUE_MAX bytes.
 * Thread: every function may be called from any thread at any time, except that one batch, one
 * iterator and one kv_value belong to one thread at a time. Batches of different threads are atomic
 * and are seen in one order.
 *
 * Errors of the backend are told apart: CF_NO_SPACE (disk full), CF_CORRUPT (checksum or format),
 * CF_IO (anything else of the disk), CF_INTERNAL (misuse). After CF_IO or CF_NO_SPACE from a commit
 * the store refuses writes for ever: end the process (reads may go on until then). Never retry.
 *
 * Lifetimes: release every value, iterator, snapshot, batch and family reference before kv_close.
 * A process that is crashing must not call kv_close: it just exits. Never fork after an open.
 */
#ifndef COFFER_STORAGE_KV_H
#define COFFER_STORAGE_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define KV_KEY_MAX ((size_t)65535)
#define KV_VALUE_MAX ((size_t)64 << 20)
#define KV_NAME_MAX ((size_t)64)

struct kv;
struct kv_family;   /* reference counted */
struct kv_snapshot; /* all families at one moment */
struct kv_iterator;
struct kv_batch;

/* What a reader sees. { kv, NULL } is "now", which moves on; with a snapshot it stands still.
 * Passed by value; borrows both. */
struct kv_view {
    struct kv *kv;
    const struct kv_snapshot *snapshot;
};

/* ---- opening ------------------------------------------------------------------------------- */

/* Zero means the default of the small-footprint profile (whole process idle below 40 MB). */
struct kv_options {
    bool must_exist;                /* refuse to create */
    size_t cache_bytes;             /* block cache; 8 MiB */
    size_t write_buffer_bytes;      /* one memtable of a family; 4 MiB, two of each */
    size_t all_write_buffers_bytes; /* of all families; 8 MiB */
    int open_files_max;             /* 256 */
    uint64_t wal_bytes_max;         /* of all live WAL files; 64 MiB */
};

/* Opens the store in directory `path` (mode 0700; it and its missing last component are created).
 * options may be NULL. CF_EXISTS: in use by another process (the message names its pid when known).
 * CF_UNSUPPORTED: written by a newer format. CF_CORRUPT: the directory holds a damaged or foreign
 * store. CF_NOT_FOUND: must_exist and nothing there. CF_IO, CF_NO_SPACE. Blocks (replays the WAL).
 */
CF_CHECKED cf_status kv_open(const char *path, const struct kv_options *options, struct kv **ret,
                             struct cf_error *err);
/* An empty store that forgets everything at kv_close. */
struct kv *kv_open_memory(void);
/* Flushes nothing (what was committed without WAL and not flushed is gone). NULL is fine. */
void kv_close(struct kv *kv);
static inline void kv_free(struct kv *kv)
{
    kv_close(kv);
}
CF_DEFINE_OWNED(kv);

static inline struct kv_view kv_now(struct kv *kv)
{
    return (struct kv_view){kv, NULL};
}

/* ---- families ------------------------------------------------------------------------------ */

/* The family of that name with a reference for the caller; CF_NOT_FOUND. */
CF_CHECKED cf_status kv_family_open(struct kv *kv, const char *name, struct kv_family **ret,
                                    struct cf_error *err);
/* Creates it, durably; CF_EXISTS. name: 1..KV_NAME_MAX of [a-z0-9-]. */
CF_CHECKED cf_status kv_family_create(struct kv *kv, const char *name, struct kv_family **ret,
                                      struct cf_error *err);
/* kv_family_open, else kv_family_create. */
CF_CHECKED cf_status kv_family_ensure(struct kv *kv, const char *name, struct kv_family **ret,
                                      struct cf_error *err);
/* Durably removes the family and its keys. Holders of references, snapshots and iterators may go on
 * reading; writing to it is CF_INTERNAL. The disk space comes back with the last reference. */
CF_CHECKED cf_status kv_family_drop(struct kv_family *family, struct cf_error *err);
struct kv_family *kv_family_ref(struct kv_family *family);
void kv_family_unref(struct kv_family *family); /* NULL is fine */
static inline void kv_family_free(struct kv_family *family)
{
    kv_family_unref(family);
}
CF_DEFINE_OWNED(kv_family);
const char *kv_family_name(const struct kv_family *family);
/* Calls visit for each family, sorted by name; the name is borrowed for the call. visit may open,
 * create and drop families. */
void kv_family_each(struct kv *kv, void (*visit)(void *context, const char *name), void *context);

/* ---- reading ------------------------------------------------------------------------------- */

/* A borrowed value: bytes stay valid until kv_value_release (which is due soon: it pins a cache
 * block). A zeroed one is empty and may be released. */
struct kv_value {
    struct cf_slice bytes;
    void *pin;
    void (*unpin)(void *pin);
};
static inline void kv_value_release(struct kv_value *value)
{
    if (value->unpin != NULL) {
        value->unpin(value->pin);
    }
    *value = (struct kv_value){0};
}
/* A value on the stack that is released at the end of the scope: KV_VALUE(name) = {0}; */
#define KV_VALUE(name) __attribute__((cleanup(kv_value_release))) struct kv_value name

/* Fills *value (which must be empty); CF_NOT_FOUND when absent. */
CF_CHECKED cf_status kv_get(struct kv_view view, struct kv_family *family, struct cf_slice key,
                            struct kv_value *value, struct cf_error *err);
/* As kv_get, and sees only what a crash right now would leave of a family whose writers go without
 * WAL, i.e. flushed files. In memory as kv_get. */
CF_CHECKED cf_status kv_get_persisted(struct kv *kv, struct kv_family *family, struct cf_slice key,
                                      struct kv_value *value, struct cf_error *err);

/* A handle for what all families hold now. Cheap; hold it for seconds, not hours. */
struct kv_snapshot *kv_snapshot_new(struct kv *kv);
void kv_snapshot_free(struct kv_snapshot *snapshot); /* NULL is fine */
CF_DEFINE_OWNED(kv_snapshot);

/* Iterates keys in [lower, upper); an empty slice is no bound; bounds are copied. Not positioned:
 * seek first. Without a snapshot it sees the moment of its creation. The snapshot must outlive it.
 * bulk: a long scan, which reads ahead and leaves the cache alone. */
struct kv_range {
    struct cf_slice lower, upper;
    bool bulk;
};
struct kv_iterator *kv_iterator_new(struct kv_view view, struct kv_family *family,
                                    struct kv_range range);
void kv_iterator_free(struct kv_iterator *iterator); /* NULL is fine */
CF_DEFINE_OWNED(kv_iterator);
void kv_seek(struct kv_iterator *iterator, struct cf_slice key);        /* first key >= key */
void kv_seek_before(struct kv_iterator *iterator, struct cf_slice key); /* last key <= key */
void kv_seek_first(struct kv_iterator *iterator);
void kv_seek_last(struct kv_iterator *iterator);
bool kv_valid(const struct kv_iterator *iterator);
/* Only when valid. Borrowed until the iterator moves or is freed. */
void kv_next(struct kv_iterator *iterator);
void kv_prev(struct kv_iterator *iterator);
struct cf_slice kv_key(const struct kv_iterator *iterator);
struct cf_slice kv_bytes(const struct kv_iterator *iterator);
/* Once kv_valid is false: was it the end of the range (CF_OK) or an error? */
CF_CHECKED cf_status kv_iterator_check(const struct kv_iterator *iterator, struct cf_error *err);

/* ---- writing ------------------------------------------------------------------------------- */

/* Operations are applied in order, all or nothing. Keys and values are copied in. Families must
 * stay referenced until the commit. An oversize key or value is remembered and refused by
 * kv_commit. */
struct kv_batch *kv_batch_new(struct kv *kv);
void kv_batch_free(struct kv_batch *batch); /* NULL is fine */
CF_DEFINE_OWNED(kv_batch);
void kv_batch_put(struct kv_batch *batch, struct kv_family *family, struct cf_slice key,
                  struct cf_slice value);
/* As kv_batch_put, the value being the parts one after the other (at most 8). */
void kv_batch_put_parts(struct kv_batch *batch, struct kv_family *family, struct cf_slice key,
                        const struct cf_slice *parts, size_t count);
void kv_batch_delete(struct kv_batch *batch, struct kv_family *family, struct cf_slice key);
/* Deletes [from, to); to must not be empty. Nothing happens when from >= to. */
void kv_batch_delete_range(struct kv_batch *batch, struct kv_family *family, struct cf_slice from,
                           struct cf_slice to);
void kv_batch_reset(struct kv_batch *batch);         /* empty again; keeps its memory */
size_t kv_batch_count(const struct kv_batch *batch); /* operations */
size_t kv_batch_size(const struct kv_batch *batch);  /* bytes that it takes in memory and WAL */

enum kv_durability {
    KV_SYNC,   /* in the WAL and synced before the return */
    KV_WAL,    /* in the WAL, synced with the next KV_SYNC; survives the process, not the machine */
    KV_NO_WAL, /* in memory until a flush */
};
/* Commits; the batch is left as it is (reset it to reuse it). A family is to be written either
 * always with KV_NO_WAL or never: mixing them within a batch is impossible, and within a family a
 * crash would keep later writes without the earlier ones. An empty batch commits at no cost. */
CF_CHECKED cf_status kv_commit(struct kv *kv, struct kv_batch *batch, enum kv_durability durability,
                               struct cf_error *err);

/* ---- loading ------------------------------------------------------------------------------- */

/* Fills a family that nobody else uses yet, in rising order of keys, past WAL and memtables: what is
 * told as done by kv_loader_end is durable. One thread. */
struct kv_loader;
struct kv_loader *kv_loader_new(struct kv_family *family);
/* CF_CORRUPT for a key that does not rise, or an impossible size; failures of the disk. */
CF_CHECKED cf_status kv_loader_add(struct kv_loader *loader, struct cf_slice key,
                                   struct cf_slice value, struct cf_error *err);
CF_CHECKED cf_status kv_loader_end(struct kv_loader *loader, struct cf_error *err);
/* Without an end: what was added may or may not be in the family. NULL is fine. */
void kv_loader_free(struct kv_loader *loader);
CF_DEFINE_OWNED(kv_loader);

/* ---- runs ---------------------------------------------------------------------------------- */

/* A sorted file beside the store, which a family takes over later, as it is. It means the same to every store that
 * keeps files: its bytes may be sent. One thread a run; any number of runs. */
struct kv_run;
bool kv_has_runs(const struct kv *kv); /* false in memory */
/* Makes the file. CF_UNSUPPORTED without files; failures of the disk. */
CF_CHECKED cf_status kv_run_new(struct kv *kv, const char *path, struct kv_run **ret,
                                struct cf_error *err);
/* In rising order of keys; the value is the parts, one after the other. CF_CORRUPT as kv_loader_add. */
CF_CHECKED cf_status kv_run_add(struct kv_run *run, struct cf_slice key,
                                const struct cf_slice *parts, size_t count, struct cf_error *err);
/* The file is whole and synced (its folder is not). At least one record was added. */
CF_CHECKED cf_status kv_run_end(struct kv_run *run, struct cf_error *err);
/* Without an end the file goes, too. NULL is fine. */
void kv_run_free(struct kv_run *run);
CF_DEFINE_OWNED(kv_run);
/* The records of all these runs are in the family, durably and at once; of a key in several the last one counts. The
 * files stay where they are, and share their space with the store's for as long as that keeps them. */
CF_CHECKED cf_status kv_take_runs(struct kv_family *family, const char *const *paths, size_t count,
                                  struct cf_error *err);

/* ---- care ---------------------------------------------------------------------------------- */

/* Writes what the family has in memory to files, synced; blocks. */
CF_CHECKED cf_status kv_flush(struct kv_family *family, struct cf_error *err);
/* Rewrites the files of [from, to) without what was deleted (empty: no bound); blocks, heavy. */
CF_CHECKED cf_status kv_compact(struct kv_family *family, struct cf_slice from, struct cf_slice to,
                                struct cf_error *err);
/* As kv_compact, down to the last file: nothing that was deleted, and that no snapshot sees, is left in the files of
 * [from, to), however it got there. Blocks, heavy. */
CF_CHECKED cf_status kv_rewrite(struct kv_family *family, struct cf_slice from, struct cf_slice to,
                                struct cf_error *err);
/* Keys of files that are gone stand in the store's list of files, too: it is written anew, without them. Blocks for a few
 * syncs. */
CF_CHECKED cf_status kv_forget_names(struct kv *kv, struct cf_error *err);
/* A number that rises with what is written: what a snapshot sees at least; what the oldest one that is still there
 * sees, 0: there is none. In memory both are 0: nothing is kept for a snapshot there that others would find. */
uint64_t kv_snapshot_number(const struct kv_snapshot *snapshot);
uint64_t kv_oldest_snapshot(struct kv *kv);
/* Any thread. Not allowed: rewrites and compactions under way end soon, unfinished, and others do nothing. */
void kv_allow_rewrites(struct kv *kv, bool allowed);
/* To be said after each open of a family whose keys are only added at the end, and go from the front
 * by kv_drop_files: its files are not merged by themselves, since that would gain nothing. */
CF_CHECKED cf_status kv_be_queue(struct kv_family *family, struct cf_error *err);
/* Gives back the space of keys in [from, last], both included, that the caller reads no more: some
 * of them may be gone afterwards, now or after a restart, others stay until a later call. For a
 * family that is a queue this is how to cut its front: a range delete would have every later file
 * merged with all that is kept. What reads already goes on. Blocks for a sync of the store's list
 * of files. */
CF_CHECKED cf_status kv_drop_files(struct kv_family *family, struct cf_slice from,
                                   struct cf_slice last, struct cf_error *err);
/* Deletes [from, to) of a family at once and gives the space back: delete-range, flush, compaction.
 * durability as for kv_commit. Blocks, heavy. */
CF_CHECKED cf_status kv_delete_bulk(struct kv_family *family, struct cf_slice from,
                                    struct cf_slice to, enum kv_durability durability,
                                    struct cf_error *err);
/* Bytes of files that [from, to) takes, roughly (RocksDB does not count memtables). */
uint64_t kv_approximate_size(struct kv_family *family, struct cf_slice from, struct cf_slice to);
/* Keys of the whole family, roughly: what was written twice or deleted may count until files meet. *unflushed: bytes that
 * no file holds yet. */
uint64_t kv_approximate_keys(struct kv_family *family, uint64_t *unflushed);

struct kv_counters {
    uint64_t syncs;        /* that we asked for since the open: one for each KV_SYNC */
    uint64_t commits;      /* batches that were not empty */
    uint64_t wal_bytes;    /* of batches with KV_SYNC and KV_WAL */
    uint64_t no_wal_bytes; /* of batches with KV_NO_WAL */
    uint64_t flushes;      /* calls of kv_flush */
    uint64_t memory_bytes; /* memtables and cache, or the whole store in memory */
};
void kv_count(struct kv *kv, struct kv_counters *ret);
/* syncs alone: one atomic load, for a metric. */
uint64_t kv_sync_count(const struct kv *kv);

/* A number beside the database, written without a sync and kept as long as the file system keeps it:
 * what a reader may find is what was noted last or, after a power cut, something older or nothing.
 * For marks like "synced up to here" that are only ever too low. noted: false when there is none. */
void kv_note(struct kv *kv, uint64_t value);
bool kv_noted(struct kv *kv, uint64_t *ret);
/* How often the backend has told CF_CORRUPT since the open. */
uint64_t kv_corruption_count(const struct kv *kv);

/* Room on the file system: what we may still use, and its size. In memory both are UINT64_MAX. */
CF_CHECKED cf_status kv_space(struct kv *kv, uint64_t *free_bytes, uint64_t *total_bytes,
                              struct cf_error *err);

/* Holds so many bytes of the disk back (0: gives them back): what is left for the way out when the
 * disk is full. Blocks shortly. CF_NO_SPACE: there is not that much. In memory nothing. */
CF_CHECKED cf_status kv_ballast(struct kv *kv, uint64_t bytes, struct cf_error *err);

#endif
