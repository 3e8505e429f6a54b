/* node/storage/kv_int.h
 *
 * What the backends and kv.c share. A backend embeds the structs below as first members and fills
 * in one struct kv_ops; kv.c has checked arguments before it calls. For this folder and its tests
 * only.
 */
#ifndef COFFER_STORAGE_KV_INT_H
#define COFFER_STORAGE_KV_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "node/base/memory.h"
#include "node/storage/kv.h"

struct kv_file_loader;
struct kv_file_run;

struct kv_ops {
    /* All five or none: then there are no runs. */
    cf_status (*run_new)(struct kv *kv, const char *path, struct kv_file_run **ret,
                         struct cf_error *err);
    cf_status (*run_add)(struct kv_file_run *run, struct cf_slice key, struct cf_slice value,
                         struct cf_error *err);
    cf_status (*run_end)(struct kv_file_run *run, struct cf_error *err);
    void (*run_free)(struct kv_file_run *run);
    cf_status (*take_runs)(struct kv_family *family, const char *const *paths, size_t count,
                           struct cf_error *err);
    /* All four or none: kv_load.c does it with batches then. free also after end. */
    struct kv_file_loader *(*file_loader_new)(struct kv_family *family);
    void (*file_loader_free)(struct kv_file_loader *loader);
    cf_status (*file_loader_add)(struct kv_file_loader *loader, struct cf_slice key,
                                 struct cf_slice value, struct cf_error *err);
    cf_status (*file_loader_end)(struct kv_file_loader *loader, struct cf_error *err);
    void (*close)(struct kv *kv); /* all families are gone; frees kv itself through kv_base_done */
    cf_status (*family_create)(struct kv *kv, const char *name, struct kv_family **ret,
                               struct cf_error *err);
    cf_status (*family_drop)(struct kv_family *family, struct cf_error *err);
    void (*family_destroy)(struct kv_family *family); /* last reference */
    cf_status (*get)(struct kv_view view, struct kv_family *family, struct cf_slice key,
                     bool persisted, struct kv_value *value, struct cf_error *err);
    struct kv_snapshot *(*snapshot_new)(struct kv *kv);
    void (*snapshot_free)(struct kv_snapshot *snapshot);
    struct kv_iterator *(*iterator_new)(struct kv_view view, struct kv_family *family,
                                        struct kv_range range);
    void (*iterator_free)(struct kv_iterator *iterator);
    void (*seek)(struct kv_iterator *iterator, struct cf_slice key);
    void (*seek_before)(struct kv_iterator *iterator, struct cf_slice key);
    void (*seek_first)(struct kv_iterator *iterator);
    void (*seek_last)(struct kv_iterator *iterator);
    bool (*valid)(const struct kv_iterator *iterator);
    void (*next)(struct kv_iterator *iterator);
    void (*prev)(struct kv_iterator *iterator);
    struct cf_slice (*key)(const struct kv_iterator *iterator);
    struct cf_slice (*bytes)(const struct kv_iterator *iterator);
    cf_status (*iterator_check)(const struct kv_iterator *iterator, struct cf_error *err);
    struct kv_batch *(*batch_new)(struct kv *kv);
    void (*batch_free)(struct kv_batch *batch);
    void (*batch_put)(struct kv_batch *batch, struct kv_family *family, struct cf_slice key,
                      const struct cf_slice *parts, size_t count);
    void (*batch_delete)(struct kv_batch *batch, struct kv_family *family, struct cf_slice key);
    void (*batch_delete_range)(struct kv_batch *batch, struct kv_family *family,
                               struct cf_slice from, struct cf_slice to);
    void (*batch_reset)(struct kv_batch *batch);
    size_t (*batch_size)(const struct kv_batch *batch);
    cf_status (*commit)(struct kv *kv, struct kv_batch *batch, enum kv_durability durability,
                        struct cf_error *err);
    cf_status (*flush)(struct kv_family *family, struct cf_error *err);
    cf_status (*compact)(struct kv_family *family, struct cf_slice from, struct cf_slice to,
                         struct cf_error *err);
    cf_status (*rewrite)(struct kv_family *family, struct cf_slice from, struct cf_slice to,
                         struct cf_error *err);
    cf_status (*forget_names)(struct kv *kv, struct cf_error *err); /* NULL: none are kept */
    uint64_t (*snapshot_number)(const struct kv_snapshot *snapshot);
    uint64_t (*oldest_snapshot)(struct kv *kv);
    void (*allow_rewrites)(struct kv *kv, bool allowed);
    cf_status (*be_queue)(struct kv_family *family, struct cf_error *err);
    cf_status (*drop_files)(struct kv_family *family, struct cf_slice from, struct cf_slice last,
                            struct cf_error *err);
    uint64_t (*approximate_keys)(struct kv_family *family, uint64_t *unflushed);
    uint64_t (*approximate_size)(struct kv_family *family, struct cf_slice from,
                                 struct cf_slice to);
    uint64_t (*memory_bytes)(struct kv *kv);
    void (*note)(struct kv *kv, uint64_t value);
    bool (*noted)(struct kv *kv, uint64_t *ret);
    cf_status (*ballast)(struct kv *kv, uint64_t bytes, struct cf_error *err);
    cf_status (*space)(struct kv *kv, uint64_t *free_bytes, uint64_t *total_bytes,
                       struct cf_error *err);
};

struct kv {
    const struct kv_ops *ops;
    pthread_mutex_t families_lock; /* guards families, count and capacity */
    struct kv_family **families;   /* sorted by name; one reference each */
    size_t count, capacity;
    atomic_uint_fast64_t syncs, commits, wal_bytes, no_wal_bytes, flushes,
        corruptions;
};

struct kv_family {
    struct kv *kv;
    atomic_uint refs;
    atomic_bool dropped;
    char name[KV_NAME_MAX + 1];
};

struct kv_snapshot {
    struct kv *kv;
};

struct kv_iterator {
    const struct kv_ops *ops;
    struct kv *kv;
};

struct kv_batch {
    struct kv *kv;
    size_t count;
    const char *refused; /* why kv_commit will say no, or NULL */
};

void kv_base_init(struct kv *kv, const struct kv_ops *ops);
void kv_base_done(struct kv *kv);
/* Sets name, kv and one reference (the registry's). */
void kv_family_init(struct kv_family *family, struct kv *kv, const char *name);
/* Puts a family into the registry, which takes over its one reference. */
void kv_register(struct kv *kv, struct kv_family *family);

#endif
