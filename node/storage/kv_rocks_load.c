/* node/storage/kv_rocks_load.c: sorted records become files of the family, without WAL, memtables and
 * compactions: each byte is written once. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/storage/kv_rocks.h"

#define FILE_BYTES ((uint64_t)16 << 20) /* each is synced at its end: small ones hold up less of the disk */
#define PREFIX "loading-"

struct kv_file_loader {
    struct rocks_kv *kv;
    struct rocks_family *family;
    rocksdb_envoptions_t *env;
    rocksdb_sstfilewriter_t *writer;
    bool is_open;
    uint64_t bytes; /* of the file that is open */
    char path[PATH_MAX];
};

struct kv_file_loader *rocks_loader_new(struct kv_family *family)
{
    struct kv_file_loader *loader = cf_new(struct kv_file_loader);
    loader->kv = rocks(family->kv);
    loader->family = (struct rocks_family *)family;
    loader->env = rocksdb_envoptions_create();
    loader->writer = rocksdb_sstfilewriter_create(loader->env, loader->kv->options);
    return loader;
}

void rocks_loader_free(struct kv_file_loader *loader)
{
    rocksdb_sstfilewriter_destroy(loader->writer);
    rocksdb_envoptions_destroy(loader->env);
    if (loader->is_open) {
        (void)unlink(loader->path);
    }
    cf_free(loader);
}

static cf_status begin_file(struct kv_file_loader *loader, struct cf_error *err)
{
    static atomic_uint number;
    char *error = NULL;
    (void)snprintf(loader->path, sizeof(loader->path), "%s/" PREFIX "%u", loader->kv->path,
                   atomic_fetch_add(&number, 1));
    rocksdb_sstfilewriter_open(loader->writer, loader->path, &error);
    CF_TRY(rocks_status(error, "open a file to load", err));
    loader->is_open = true;
    loader->bytes = 0;
    return CF_OK;
}

/* Syncs it and makes it part of the family: it moves, nothing is copied. */
static cf_status end_file(struct kv_file_loader *loader, struct cf_error *err)
{
    const char *paths[] = {loader->path};
    char *error = NULL;
    rocksdb_sstfilewriter_finish(loader->writer, &error);
    CF_TRY(rocks_status(error, "finish a file to load", err));
    rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
    rocksdb_ingestexternalfileoptions_set_snapshot_consistency(options, 0);
    rocksdb_ingest_external_file_cf(loader->kv->db, loader->family->handle, paths, 1, options,
                                    &error);
    rocksdb_ingestexternalfileoptions_destroy(options);
    CF_TRY(rocks_status(error, "take a loaded file", err));
    loader->is_open = false;
    return CF_OK;
}

cf_status rocks_loader_add(struct kv_file_loader *loader, struct cf_slice key, struct cf_slice value,
                           struct cf_error *err)
{
    char *error = NULL;
    if (!loader->is_open) {
        CF_TRY(begin_file(loader, err));
    }
    rocksdb_sstfilewriter_put(loader->writer, (const char *)key.data, key.size,
                              value.data != NULL ? (const char *)value.data : "", value.size,
                              &error);
    CF_TRY(rocks_status(error, "write a file to load", err));
    loader->bytes += key.size + value.size;
    return loader->bytes < FILE_BYTES ? CF_OK : end_file(loader, err);
}

cf_status rocks_loader_end(struct kv_file_loader *loader, struct cf_error *err)
{
    return loader->is_open ? end_file(loader, err) : CF_OK;
}

void rocks_loader_clean(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (strncmp(entry->d_name, PREFIX, sizeof(PREFIX) - 1) == 0) {
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
}
