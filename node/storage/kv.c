/* node/storage/kv.c: what both backends share: checks, the registry of families, counters. */
#include "node/storage/kv.h"

#include <assert.h>
#include <string.h>

#include "node/storage/kv_int.h"

#define PARTS_MAX 8

/* ---- the registry of families */

void kv_base_init(struct kv *kv, const struct kv_ops *ops)
{
    kv->ops = ops;
    pthread_mutex_init(&kv->families_lock, NULL);
}

void kv_base_done(struct kv *kv)
{
    pthread_mutex_destroy(&kv->families_lock);
    cf_free(kv->families);
    cf_free(kv);
}

void kv_family_init(struct kv_family *family, struct kv *kv, const char *name)
{
    family->kv = kv;
    atomic_store(&family->refs, 1);
    size_t size = strlen(name);
    assert(size <= KV_NAME_MAX);
    memcpy(family->name, name, size + 1);
}

/* First position whose name is not below `name`; *found when it is equal. */
static size_t position(const struct kv *kv, const char *name, bool *found)
{
    size_t at = 0;
    while (at < kv->count && strcmp(kv->families[at]->name, name) < 0) {
        at++;
    }
    *found = at < kv->count && strcmp(kv->families[at]->name, name) == 0;
    return at;
}

static void insert(struct kv *kv, struct kv_family *family)
{
    bool found;
    size_t at = position(kv, family->name, &found);
    assert(!found);
    if (kv->count == kv->capacity) {
        kv->capacity = cf_max(8, 2 * kv->capacity);
        kv->families = cf_realloc(kv->families, kv->capacity * sizeof(*kv->families));
    }
    memmove(kv->families + at + 1, kv->families + at, (kv->count - at) * sizeof(*kv->families));
    kv->families[at] = family;
    kv->count++;
}

void kv_register(struct kv *kv, struct kv_family *family)
{
    pthread_mutex_lock(&kv->families_lock);
    insert(kv, family);
    pthread_mutex_unlock(&kv->families_lock);
}

void kv_close(struct kv *kv)
{
    if (kv == NULL) {
        return;
    }
    for (size_t i = 0; i < kv->count; i++) {
        /* RocksDB aborts in its own close when a handle is left: say it here, where it is clear. */
        assert(atomic_load(&kv->families[i]->refs) == 1 && "a family is still referenced");
        kv_family_unref(kv->families[i]);
    }
    kv->count = 0;
    kv->ops->close(kv);
}

/* ---- families */

static cf_status check_name(const char *name, struct cf_error *err)
{
    size_t size = strlen(name);
    if (size == 0 || size > KV_NAME_MAX ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != size) {
        return cf_fail(err, CF_INVALID, "bad name of a family");
    }
    return CF_OK;
}

cf_status kv_family_open(struct kv *kv, const char *name, struct kv_family **ret,
                         struct cf_error *err)
{
    pthread_mutex_lock(&kv->families_lock);
    bool found;
    size_t at = position(kv, name, &found);
    if (found) {
        *ret = kv_family_ref(kv->families[at]);
    }
    pthread_mutex_unlock(&kv->families_lock);
    return found ? CF_OK : cf_fail(err, CF_NOT_FOUND, "no family \"%s\" in the store", name);
}

cf_status kv_family_create(struct kv *kv, const char *name, struct kv_family **ret,
                           struct cf_error *err)
{
    CF_TRY(check_name(name, err));
    /* The lock is held over the creation, so that two creators of one name can't both succeed. */
    pthread_mutex_lock(&kv->families_lock);
    bool found;
    position(kv, name, &found);
    cf_status status = CF_OK;
    struct kv_family *family = NULL;
    if (found) {
        status = cf_fail(err, CF_EXISTS, "family \"%s\" already exists", name);
    } else {
        status = kv->ops->family_create(kv, name, &family, err);
    }
    if (status == CF_OK) {
        insert(kv, family);
        *ret = kv_family_ref(family);
    }
    pthread_mutex_unlock(&kv->families_lock);
    return status;
}

cf_status kv_family_ensure(struct kv *kv, const char *name, struct kv_family **ret,
                           struct cf_error *err)
{
    cf_status status = kv_family_open(kv, name, ret, err);
    return status == CF_NOT_FOUND ? kv_family_create(kv, name, ret, err) : status;
}

cf_status kv_family_drop(struct kv_family *family, struct cf_error *err)
{
    struct kv *kv = family->kv;
    if (atomic_exchange(&family->dropped, true)) {
        return cf_fail(err, CF_NOT_FOUND, "family \"%s\" is already dropped", family->name);
    }
    pthread_mutex_lock(&kv->families_lock);
    cf_status status = kv->ops->family_drop(family, err);
    if (status == CF_OK) {
        bool found;
        size_t at = position(kv, family->name, &found);
        assert(found && kv->families[at] == family);
        kv->count--;
        memmove(kv->families + at, kv->families + at + 1, (kv->count - at) * sizeof(*kv->families));
    } else {
        atomic_store(&family->dropped, false);
    }
    pthread_mutex_unlock(&kv->families_lock);
    if (status == CF_OK) {
        kv_family_unref(family); /* the registry's */
    }
    return status;
}

struct kv_family *kv_family_ref(struct kv_family *family)
{
    atomic_fetch_add_explicit(&family->refs, 1, memory_order_relaxed);
    return family;
}

void kv_family_unref(struct kv_family *family)
{
    if (family != NULL && atomic_fetch_sub_explicit(&family->refs, 1, memory_order_acq_rel) == 1) {
        family->kv->ops->family_destroy(family);
    }
}

const char *kv_family_name(const struct kv_family *family)
{
    return family->name;
}

void kv_family_each(struct kv *kv, void (*visit)(void *context, const char *name), void *context)
{
    /* Names are copied, so that visit may change the registry. */
    pthread_mutex_lock(&kv->families_lock);
    size_t count = kv->count;
    char(*names)[KV_NAME_MAX + 1] = cf_array(count + 1, sizeof(*names));
    for (size_t i = 0; i < count; i++) {
        memcpy(names[i], kv->families[i]->name, sizeof(names[i]));
    }
    pthread_mutex_unlock(&kv->families_lock);
    for (size_t i = 0; i < count; i++) {
        visit(context, names[i]);
    }
    cf_free(names);
}

/* ---- reading */

/* Damage is counted wherever it is told: whoever runs the store wants to know of it. */
static cf_status counted(struct kv *kv, cf_status status)
{
    if (status == CF_CORRUPT) {
        atomic_fetch_add_explicit(&kv->corruptions, 1, memory_order_relaxed);
    }
    return status;
}

cf_status kv_get(struct kv_view view, struct kv_family *family, struct cf_slice key,
                 struct kv_value *value, struct cf_error *err)
{
    return counted(view.kv, view.kv->ops->get(view, family, key, false, value, err));
}

cf_status kv_get_persisted(struct kv *kv, struct kv_family *family, struct cf_slice key,
                           struct kv_value *value, struct cf_error *err)
{
    return counted(kv, kv->ops->get(kv_now(kv), family, key, true, value, err));
}

struct kv_snapshot *kv_snapshot_new(struct kv *kv)
{
    return kv->ops->snapshot_new(kv);
}

void kv_snapshot_free(struct kv_snapshot *snapshot)
{
    if (snapshot != NULL) {
        snapshot->kv->ops->snapshot_free(snapshot);
    }
}

struct kv_iterator *kv_iterator_new(struct kv_view view, struct kv_family *family,
                                    struct kv_range range)
{
    struct kv_iterator *iterator = view.kv->ops->iterator_new(view, family, range);
    iterator->kv = view.kv;
    return iterator;
}

void kv_iterator_free(struct kv_iterator *iterator)
{
    if (iterator != NULL) {
        iterator->ops->iterator_free(iterator);
    }
}

void kv_seek(struct kv_iterator *iterator, struct cf_slice key)
{
    iterator->ops->seek(iterator, key);
}

void kv_seek_before(struct kv_iterator *iterator, struct cf_slice key)
{
    iterator->ops->seek_before(iterator, key);
}

void kv_seek_first(struct kv_iterator *iterator)
{
    iterator->ops->seek_first(iterator);
}

void kv_seek_last(struct kv_iterator *iterator)
{
    iterator->ops->seek_last(iterator);
}

bool kv_valid(const struct kv_iterator *iterator)
{
    return iterator->ops->valid(iterator);
}

void kv_next(struct kv_iterator *iterator)
{
    iterator->ops->next(iterator);
}

void kv_prev(struct kv_iterator *iterator)
{
    iterator->ops->prev(iterator);
}

struct cf_slice kv_key(const struct kv_iterator *iterator)
{
    return iterator->ops->key(iterator);
}

struct cf_slice kv_bytes(const struct kv_iterator *iterator)
{
    return iterator->ops->bytes(iterator);
}

cf_status kv_iterator_check(const struct kv_iterator *iterator, struct cf_error *err)
{
    return counted(iterator->kv, iterator->ops->iterator_check(iterator, err));
}

/* ---- writing */

/* False, and the batch refused, when the operation can't be part of any commit. */
static bool may_add(struct kv_batch *batch, const struct kv_family *family, struct cf_slice key)
{
    if (key.size == 0 || key.size > KV_KEY_MAX) {
        batch->refused = "a key is empty or too long";
    } else if (atomic_load_explicit(&family->dropped, memory_order_relaxed)) {
        batch->refused = "a family of the batch was dropped";
    } else if (family->kv != batch->kv) {
        batch->refused = "a family of the batch belongs to another store";
    }
    return batch->refused == NULL;
}

struct kv_batch *kv_batch_new(struct kv *kv)
{
    return kv->ops->batch_new(kv);
}

void kv_batch_free(struct kv_batch *batch)
{
    if (batch != NULL) {
        batch->kv->ops->batch_free(batch);
    }
}

void kv_batch_put(struct kv_batch *batch, struct kv_family *family, struct cf_slice key,
                  struct cf_slice value)
{
    kv_batch_put_parts(batch, family, key, &value, 1);
}

void kv_batch_put_parts(struct kv_batch *batch, struct kv_family *family, struct cf_slice key,
                        const struct cf_slice *parts, size_t count)
{
    assert(count <= PARTS_MAX);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += parts[i].size;
    }
    if (size > KV_VALUE_MAX) {
        batch->refused = "a value is too long";
    }
    if (may_add(batch, family, key)) {
        batch->kv->ops->batch_put(batch, family, key, parts, count);
        batch->count++;
    }
}

void kv_batch_delete(struct kv_batch *batch, struct kv_family *family, struct cf_slice key)
{
    if (may_add(batch, family, key)) {
        batch->kv->ops->batch_delete(batch, family, key);
        batch->count++;
    }
}

void kv_batch_delete_range(struct kv_batch *batch, struct kv_family *family, struct cf_slice from,
                           struct cf_slice to)
{
    if (cf_slice_cmp(from, to) < 0 && may_add(batch, family, to)) {
        batch->kv->ops->batch_delete_range(batch, family, from, to);
        batch->count++;
    }
}

void kv_batch_reset(struct kv_batch *batch)
{
    batch->count = 0;
    batch->refused = NULL;
    batch->kv->ops->batch_reset(batch);
}

size_t kv_batch_count(const struct kv_batch *batch)
{
    return batch->count;
}

size_t kv_batch_size(const struct kv_batch *batch)
{
    return batch->kv->ops->batch_size(batch);
}

cf_status kv_commit(struct kv *kv, struct kv_batch *batch, enum kv_durability durability,
                    struct cf_error *err)
{
    if (batch->refused != NULL) {
        return cf_fail(err, CF_INTERNAL, "storage refuses a batch: %s", batch->refused);
    }
    if (batch->count == 0) {
        return CF_OK;
    }
    CF_TRY(counted(kv, kv->ops->commit(kv, batch, durability, err)));
    atomic_fetch_add_explicit(&kv->commits, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(durability == KV_NO_WAL ? &kv->no_wal_bytes : &kv->wal_bytes,
                              kv_batch_size(batch), memory_order_relaxed);
    return CF_OK;
}

/* ---- care */

cf_status kv_flush(struct kv_family *family, struct cf_error *err)
{
    atomic_fetch_add_explicit(&family->kv->flushes, 1, memory_order_relaxed);
    return counted(family->kv, family->kv->ops->flush(family, err));
}

cf_status kv_compact(struct kv_family *family, struct cf_slice from, struct cf_slice to,
                     struct cf_error *err)
{
    return family->kv->ops->compact(family, from, to, err);
}

cf_status kv_rewrite(struct kv_family *family, struct cf_slice from, struct cf_slice to,
                     struct cf_error *err)
{
    CF_TRY(kv_flush(family, err));
    return family->kv->ops->rewrite(family, from, to, err);
}

uint64_t kv_snapshot_number(const struct kv_snapshot *snapshot)
{
    return snapshot->kv->ops->snapshot_number(snapshot);
}

uint64_t kv_oldest_snapshot(struct kv *kv)
{
    return kv->ops->oldest_snapshot(kv);
}

cf_status kv_forget_names(struct kv *kv, struct cf_error *err)
{
    return kv->ops->forget_names != NULL ? kv->ops->forget_names(kv, err) : CF_OK;
}

void kv_allow_rewrites(struct kv *kv, bool allowed)
{
    kv->ops->allow_rewrites(kv, allowed);
}

cf_status kv_be_queue(struct kv_family *family, struct cf_error *err)
{
    return family->kv->ops->be_queue(family, err);
}

cf_status kv_drop_files(struct kv_family *family, struct cf_slice from, struct cf_slice last,
                        struct cf_error *err)
{
    return family->kv->ops->drop_files(family, from, last, err);
}

cf_status kv_delete_bulk(struct kv_family *family, struct cf_slice from, struct cf_slice to,
                         enum kv_durability durability, struct cf_error *err)
{
    struct kv *kv = family->kv;
    CF_BUF(end) = {0};
    if (to.size == 0) {
        /* No bound: the first possible key after the last one. */
        CF_OWNED(kv_iterator) last = kv_iterator_new(kv_now(kv), family, (struct kv_range){0});
        kv_seek_last(last);
        if (!kv_valid(last)) {
            return kv_iterator_check(last, err);
        }
        cf_buf_add_slice(&end, kv_key(last));
        cf_buf_add_byte(&end, 0);
        to = cf_buf_slice(&end);
    }
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    kv_batch_delete_range(batch, family, from, to);
    CF_TRY(kv_commit(kv, batch, durability, err));
    CF_TRY(kv_flush(family, err));
    return kv_compact(family, from, to, err);
}

uint64_t kv_approximate_keys(struct kv_family *family, uint64_t *unflushed)
{
    return family->kv->ops->approximate_keys(family, unflushed);
}

uint64_t kv_approximate_size(struct kv_family *family, struct cf_slice from, struct cf_slice to)
{
    return family->kv->ops->approximate_size(family, from, to);
}

void kv_count(struct kv *kv, struct kv_counters *ret)
{
    *ret = (struct kv_counters){
        .syncs = atomic_load_explicit(&kv->syncs, memory_order_relaxed),
        .commits = atomic_load_explicit(&kv->commits, memory_order_relaxed),
        .wal_bytes = atomic_load_explicit(&kv->wal_bytes, memory_order_relaxed),
        .no_wal_bytes = atomic_load_explicit(&kv->no_wal_bytes, memory_order_relaxed),
        .flushes = atomic_load_explicit(&kv->flushes, memory_order_relaxed),
        .memory_bytes = kv->ops->memory_bytes(kv),
    };
}

uint64_t kv_sync_count(const struct kv *kv)
{
    return atomic_load_explicit(&kv->syncs, memory_order_relaxed);
}

cf_status kv_space(struct kv *kv, uint64_t *free_bytes, uint64_t *total_bytes, struct cf_error *err)
{
    return kv->ops->space(kv, free_bytes, total_bytes, err);
}

cf_status kv_ballast(struct kv *kv, uint64_t bytes, struct cf_error *err)
{
    return kv->ops->ballast(kv, bytes, err);
}

void kv_note(struct kv *kv, uint64_t value)
{
    kv->ops->note(kv, value);
}

bool kv_noted(struct kv *kv, uint64_t *ret)
{
    return kv->ops->noted(kv, ret);
}

uint64_t kv_corruption_count(const struct kv *kv)
{
    return atomic_load_explicit(&kv->corruptions, memory_order_relaxed);
}
