/* node/storage/kv_rocks.h: what the files of the RocksDB backend share. */
#ifndef COFFER_STORAGE_KV_ROCKS_H
#define COFFER_STORAGE_KV_ROCKS_H

#include <rocksdb/c.h>

#include "node/storage/kv_int.h"

struct rocks_kv {
    struct kv base;
    char *path;
    int note; /* descriptor of the file "synced"; -1: none */
    rocksdb_t *db;
    rocksdb_options_t *options; /* of the database and of each family */
    rocksdb_cache_t *cache;
    rocksdb_block_based_table_options_t *table;
    rocksdb_readoptions_t *read_now, *read_persisted;
    rocksdb_writeoptions_t *write_wal, *write_no_wal;
    rocksdb_flushoptions_t *flush;
    rocksdb_column_family_handle_t *unused; /* "default", which RocksDB insists on */
};

struct rocks_family {
    struct kv_family base;
    rocksdb_column_family_handle_t *handle;
};

extern const struct kv_ops rocks_ops;

static inline struct rocks_kv *rocks(struct kv *kv)
{
    return (struct rocks_kv *)kv;
}
static inline rocksdb_column_family_handle_t *rocks_handle(const struct kv_family *family)
{
    return ((const struct rocks_family *)family)->handle;
}

void rocks_close(struct kv *kv); /* also one whose open failed half-way */
/* Turns RocksDB's text into our error and frees it; CF_OK when text is NULL. */
cf_status rocks_status(char *text, const char *what, struct cf_error *err);
/* A family for a handle, which it takes over, with one reference. */
struct rocks_family *rocks_family_new(struct kv *kv, const char *name,
                                      rocksdb_column_family_handle_t *handle);

/* kv_rocks_load.c */
struct kv_file_loader *rocks_loader_new(struct kv_family *family);
void rocks_loader_free(struct kv_file_loader *loader);
cf_status rocks_loader_add(struct kv_file_loader *loader, struct cf_slice key, struct cf_slice value,
                           struct cf_error *err);
cf_status rocks_loader_end(struct kv_file_loader *loader, struct cf_error *err);
cf_status rocks_run_new(struct kv *kv, const char *path, struct kv_file_run **ret,
                        struct cf_error *err);
cf_status rocks_run_add(struct kv_file_run *run, struct cf_slice key, struct cf_slice value,
                        struct cf_error *err);
cf_status rocks_run_end(struct kv_file_run *run, struct cf_error *err);
void rocks_run_free(struct kv_file_run *run);
cf_status rocks_take_runs(struct kv_family *family, const char *const *paths, size_t count,
                          struct cf_error *err);
/* At the open: files that a crash left behind. */
void rocks_loader_clean(const char *path);

/* kv_rocks_manifest.c: before the open of the store at `store`: takes off what a power cut left half-written at the end
 * of the manifest. CF_IO when the file can't be cut; everything else is left for RocksDB to judge. */
CF_CHECKED cf_status rocks_manifest_mend(const char *store, struct cf_error *err);
/* kv_rocks_names.c: max_manifest_file_size, and the making of a new manifest. */
#define ROCKS_MANIFEST_BYTES ((size_t)128 << 10)
cf_status rocks_forget_names(struct kv *kv, struct cf_error *err);
bool rocks_is_filler(const char *family);
/* How much of a manifest stays: all of it, unless its end is torn. Pure. */
size_t rocks_manifest_whole(const uint8_t *bytes, size_t size);

#endif
