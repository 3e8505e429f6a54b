/* node/storage/kv_load.c: filling a family in key order; RocksDB does it with files of its own
 * (kv_rocks_load.c), memory with batches. Runs: files that are filled now and taken over later. */
#include "node/storage/kv_int.h"

#define BATCH_BYTES ((size_t)1 << 20)

struct kv_loader {
    struct kv_family *family;
    struct kv_batch *batch; /* backends without files */
    struct kv_file_loader *files;
    struct cf_buf last;
    bool any;
};

struct kv_loader *kv_loader_new(struct kv_family *family)
{
    struct kv_loader *loader = cf_new(struct kv_loader);
    loader->family = kv_family_ref(family);
    if (family->kv->ops->file_loader_new != NULL) {
        loader->files = family->kv->ops->file_loader_new(family);
    } else {
        loader->batch = kv_batch_new(family->kv);
    }
    return loader;
}

void kv_loader_free(struct kv_loader *loader)
{
    if (loader == NULL) {
        return;
    }
    if (loader->files != NULL) {
        loader->family->kv->ops->file_loader_free(loader->files);
    }
    kv_batch_free(loader->batch);
    kv_family_unref(loader->family);
    cf_buf_done(&loader->last);
    cf_free(loader);
}

static cf_status commit(struct kv_loader *loader, struct cf_error *err)
{
    CF_TRY(kv_commit(loader->family->kv, loader->batch, KV_NO_WAL, err));
    kv_batch_reset(loader->batch);
    return CF_OK;
}

cf_status kv_loader_add(struct kv_loader *loader, struct cf_slice key, struct cf_slice value,
                        struct cf_error *err)
{
    if (key.size == 0 || key.size > KV_KEY_MAX || value.size > KV_VALUE_MAX ||
        (loader->any && cf_slice_cmp(key, cf_buf_slice(&loader->last)) <= 0)) {
        return cf_fail(err, CF_CORRUPT, "records to load are not in order");
    }
    loader->any = true;
    cf_buf_reset(&loader->last);
    cf_buf_add_slice(&loader->last, key);
    if (loader->files != NULL) {
        return loader->family->kv->ops->file_loader_add(loader->files, key, value, err);
    }
    kv_batch_put(loader->batch, loader->family, key, value);
    return kv_batch_size(loader->batch) < BATCH_BYTES ? CF_OK : commit(loader, err);
}

cf_status kv_loader_end(struct kv_loader *loader, struct cf_error *err)
{
    return loader->files != NULL ? loader->family->kv->ops->file_loader_end(loader->files, err)
                                 : commit(loader, err);
}

/* ---- runs ---- */

struct kv_run {
    struct kv *kv;
    struct kv_file_run *file;
    struct cf_buf last, value;
};

bool kv_has_runs(const struct kv *kv)
{
    return kv->ops->run_new != NULL;
}

cf_status kv_run_new(struct kv *kv, const char *path, struct kv_run **ret, struct cf_error *err)
{
    struct kv_file_run *file;
    if (!kv_has_runs(kv)) {
        return cf_fail(err, CF_UNSUPPORTED, "this storage keeps no files");
    }
    CF_TRY(kv->ops->run_new(kv, path, &file, err));
    *ret = cf_new(struct kv_run);
    (*ret)->kv = kv;
    (*ret)->file = file;
    return CF_OK;
}

cf_status kv_run_add(struct kv_run *run, struct cf_slice key, const struct cf_slice *parts,
                     size_t count, struct cf_error *err)
{
    cf_buf_reset(&run->value);
    for (size_t i = 0; i < count; i++) {
        cf_buf_add_slice(&run->value, parts[i]);
    }
    if (key.size == 0 || key.size > KV_KEY_MAX || run->value.size > KV_VALUE_MAX ||
        cf_slice_cmp(key, cf_buf_slice(&run->last)) <= 0) {
        return cf_fail(err, CF_CORRUPT, "records of a run are not in order");
    }
    cf_buf_reset(&run->last);
    cf_buf_add_slice(&run->last, key);
    return run->kv->ops->run_add(run->file, key, cf_buf_slice(&run->value), err);
}

cf_status kv_run_end(struct kv_run *run, struct cf_error *err)
{
    return run->kv->ops->run_end(run->file, err);
}

void kv_run_free(struct kv_run *run)
{
    if (run == NULL) {
        return;
    }
    run->kv->ops->run_free(run->file);
    cf_buf_done(&run->last);
    cf_buf_done(&run->value);
    cf_free(run);
}

cf_status kv_take_runs(struct kv_family *family, const char *const *paths, size_t count,
                       struct cf_error *err)
{
    if (!kv_has_runs(family->kv)) {
        return cf_fail(err, CF_UNSUPPORTED, "this storage keeps no files");
    }
    return count != 0 ? family->kv->ops->take_runs(family, paths, count, err) : CF_OK;
}
