/* node/storage/kv_rocks_load.c: sorted records become files of the family, without WAL, memtables and
 * compactions: each byte is written once. */
#include <dirent.h>
#include <errno.h>
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

static void name_file(const struct rocks_kv *kv, char path[PATH_MAX])
{
    static atomic_uint number;
    (void)snprintf(path, PATH_MAX, "%s/" PREFIX "%u", kv->path, atomic_fetch_add(&number, 1));
}

static cf_status begin_file(struct kv_file_loader *loader, struct cf_error *err)
{
    char *error = NULL;
    name_file(loader->kv, loader->path);
    rocksdb_sstfilewriter_open(loader->writer, loader->path, &error);
    CF_TRY(rocks_status(error, "open a file to load", err));
    loader->is_open = true;
    loader->bytes = 0;
    return CF_OK;
}

/* moves: into the family, nothing is copied. as_they_are: refused where a record of theirs meets one of the family, since RocksDB
 * would write a number of its own into the file. */
static cf_status ingest(struct kv_family *family, const char *const *paths, size_t count,
                        bool moves, bool as_they_are, struct cf_error *err)
{
    char *error = NULL;
    rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(options, moves);
    rocksdb_ingestexternalfileoptions_set_allow_global_seqno(options, !as_they_are);
    rocksdb_ingestexternalfileoptions_set_snapshot_consistency(options, 0);
    rocksdb_ingest_external_file_cf(rocks(family->kv)->db, rocks_handle(family), paths, count,
                                    options, &error);
    rocksdb_ingestexternalfileoptions_destroy(options);
    return rocks_status(error, "take loaded files", err);
}

/* Syncs it and makes it part of the family. */
static cf_status end_file(struct kv_file_loader *loader, struct cf_error *err)
{
    const char *paths[] = {loader->path};
    char *error = NULL;
    rocksdb_sstfilewriter_finish(loader->writer, &error);
    CF_TRY(rocks_status(error, "finish a file to load", err));
    CF_TRY(ingest(&loader->family->base, paths, 1, true, false, err));
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

/* ---- runs ---- */

struct kv_file_run {
    rocksdb_envoptions_t *env;
    rocksdb_sstfilewriter_t *writer;
    bool is_whole;
    char path[PATH_MAX];
};

void rocks_run_free(struct kv_file_run *run)
{
    rocksdb_sstfilewriter_destroy(run->writer);
    rocksdb_envoptions_destroy(run->env);
    if (!run->is_whole) {
        (void)unlink(run->path);
    }
    cf_free(run);
}

cf_status rocks_run_new(struct kv *kv, const char *path, struct kv_file_run **ret,
                        struct cf_error *err)
{
    struct kv_file_run *run = cf_new(struct kv_file_run);
    char *error = NULL;
    run->env = rocksdb_envoptions_create();
    run->writer = rocksdb_sstfilewriter_create(run->env, rocks(kv)->options);
    (void)snprintf(run->path, sizeof(run->path), "%s", path);
    rocksdb_sstfilewriter_open(run->writer, run->path, &error);
    cf_status status = rocks_status(error, "open a run", err);
    if (status != CF_OK) {
        rocks_run_free(run);
        return status;
    }
    *ret = run;
    return CF_OK;
}

cf_status rocks_run_add(struct kv_file_run *run, struct cf_slice key, struct cf_slice value,
                        struct cf_error *err)
{
    char *error = NULL;
    rocksdb_sstfilewriter_put(run->writer, (const char *)key.data, key.size,
                              value.data != NULL ? (const char *)value.data : "", value.size,
                              &error);
    return rocks_status(error, "write a run", err);
}

cf_status rocks_run_end(struct kv_file_run *run, struct cf_error *err)
{
    char *error = NULL;
    rocksdb_sstfilewriter_finish(run->writer, &error);
    CF_TRY(rocks_status(error, "finish a run", err));
    run->is_whole = true;
    return CF_OK;
}

/* Under second names, which RocksDB takes: the runs stay. What is there already (the same runs, after a crash; deletions of
 * ranges by an earlier switch) makes it copies. */
cf_status rocks_take_runs(struct kv_family *family, const char *const *paths, size_t count,
                          struct cf_error *err)
{
    char(*names)[PATH_MAX] = cf_array(count, sizeof(*names));
    const char **moving = cf_array(count, sizeof(*moving));
    cf_status status = CF_OK;
    size_t linked = 0;
    for (; linked < count && status == CF_OK; linked++) {
        name_file(rocks(family->kv), names[linked]);
        moving[linked] = names[linked];
        if (link(paths[linked], names[linked]) != 0) {
            status = cf_fail(err, CF_IO, "storage input/output error");
            cf_error_detail(err, "No second name for the run %s: %s.", paths[linked],
                            strerror(errno));
        }
    }
    if (status == CF_OK) {
        status = ingest(family, moving, count, true, true, err);
    }
    for (size_t i = 0; i < linked; i++) {
        (void)unlink(names[i]); /* gone, if it was taken */
    }
    cf_free(moving);
    cf_free(names);
    return status == CF_OK ? CF_OK : ingest(family, paths, count, false, false, err);
}
