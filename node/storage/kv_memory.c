/* node/storage/kv_memory.c
 *
 * The in-memory backend: one shared treap a family. Whoever reads takes a reference to the root
 * under the lock and then reads without it; a commit changes the trees under the lock, so that a
 * snapshot sees all of a batch or nothing.
 */
#include <string.h>

#include "node/storage/kv_int.h"
#include "node/storage/treap.h"

struct memory_kv {
    struct kv base;
    pthread_mutex_t lock; /* guards the root of every family */
};

struct memory_family {
    struct kv_family base;
    struct treap *root;
};

struct memory_snapshot {
    struct kv_snapshot base;
    size_t count;
    struct {
        struct memory_family *family; /* referenced */
        struct treap *root;           /* referenced */
    } roots[];
};

struct memory_iterator {
    struct kv_iterator base;
    struct treap *root; /* referenced */
    struct treap_cursor cursor;
    struct cf_buf lower, upper;
};

enum op_kind { OP_PUT, OP_DELETE, OP_DELETE_RANGE };

/* A put: item is key and value. A deletion: item is the key, or from with `to` as its value. */
struct op {
    enum op_kind kind;
    struct memory_family *family;
    struct treap_item *item;
};

struct memory_batch {
    struct kv_batch base;
    struct op *ops;
    size_t capacity, bytes;
};

static struct memory_kv *memory(struct kv *kv)
{
    return (struct memory_kv *)kv;
}

static void memory_close(struct kv *kv)
{
    pthread_mutex_destroy(&memory(kv)->lock);
    kv_base_done(kv);
}

/* ---- families */

static cf_status memory_family_create(struct kv *kv, const char *name, struct kv_family **ret,
                                      struct cf_error *err)
{
    (void)err;
    struct memory_family *family = cf_new(struct memory_family);
    kv_family_init(&family->base, kv, name);
    *ret = &family->base;
    return CF_OK;
}

static cf_status memory_family_drop(struct kv_family *family, struct cf_error *err)
{
    (void)family;
    (void)err;
    return CF_OK; /* the tree goes with the last reference */
}

static void memory_family_destroy(struct kv_family *base)
{
    struct memory_family *family = (struct memory_family *)base;
    treap_unref(family->root);
    cf_free(family);
}

/* ---- reading */

/* A reference to the tree that the view sees. */
static struct treap *tree(struct kv_view view, struct kv_family *base)
{
    struct memory_family *family = (struct memory_family *)base;
    struct treap *root = NULL;
    if (view.snapshot == NULL) {
        pthread_mutex_lock(&memory(view.kv)->lock);
        root = treap_ref(family->root);
        pthread_mutex_unlock(&memory(view.kv)->lock);
        return root;
    }
    /* A family younger than the snapshot is empty in it. */
    const struct memory_snapshot *snapshot = (const struct memory_snapshot *)view.snapshot;
    for (size_t i = 0; i < snapshot->count; i++) {
        if (snapshot->roots[i].family == family) {
            root = treap_ref(snapshot->roots[i].root);
            break;
        }
    }
    return root;
}

static void unpin_item(void *pin)
{
    treap_item_unref(pin);
}

static cf_status memory_get(struct kv_view view, struct kv_family *family, struct cf_slice key,
                            bool persisted, struct kv_value *value, struct cf_error *err)
{
    (void)persisted;
    struct treap *root = tree(view, family);
    struct treap_item *item = treap_find(root, key);
    if (item != NULL) {
        value->bytes = treap_item_value(item);
        value->pin = treap_item_ref(item);
        value->unpin = unpin_item;
    }
    treap_unref(root);
    return item != NULL ? CF_OK : cf_fail(err, CF_NOT_FOUND, "no such key");
}

static struct kv_snapshot *memory_snapshot_new(struct kv *kv)
{
    pthread_mutex_lock(&kv->families_lock);
    struct memory_snapshot *snapshot =
        cf_zalloc(sizeof(*snapshot) + kv->count * sizeof(snapshot->roots[0]));
    snapshot->base.kv = kv;
    snapshot->count = kv->count;
    pthread_mutex_lock(&memory(kv)->lock);
    for (size_t i = 0; i < kv->count; i++) {
        struct memory_family *family = (struct memory_family *)kv_family_ref(kv->families[i]);
        snapshot->roots[i].family = family;
        snapshot->roots[i].root = treap_ref(family->root);
    }
    pthread_mutex_unlock(&memory(kv)->lock);
    pthread_mutex_unlock(&kv->families_lock);
    return &snapshot->base;
}

static void memory_snapshot_free(struct kv_snapshot *base)
{
    struct memory_snapshot *snapshot = (struct memory_snapshot *)base;
    for (size_t i = 0; i < snapshot->count; i++) {
        treap_unref(snapshot->roots[i].root);
        kv_family_unref(&snapshot->roots[i].family->base);
    }
    cf_free(snapshot);
}

static const struct kv_ops memory_ops;

static struct kv_iterator *memory_iterator_new(struct kv_view view, struct kv_family *family,
                                               struct kv_range range)
{
    struct memory_iterator *it = cf_new(struct memory_iterator);
    it->base.ops = &memory_ops;
    it->root = tree(view, family);
    it->cursor.root = it->root;
    cf_buf_add_slice(&it->lower, range.lower);
    cf_buf_add_slice(&it->upper, range.upper);
    return &it->base;
}

static struct memory_iterator *iterator(struct kv_iterator *base)
{
    return (struct memory_iterator *)base;
}

static void memory_iterator_free(struct kv_iterator *base)
{
    struct memory_iterator *it = iterator(base);
    treap_cursor_done(&it->cursor);
    treap_unref(it->root);
    cf_buf_done(&it->lower);
    cf_buf_done(&it->upper);
    cf_free(it);
}

/* Leaves the position when it is outside of the bounds. */
static void clamp(struct memory_iterator *it)
{
    const struct treap_item *item = treap_at(&it->cursor);
    if (item != NULL) {
        struct cf_slice key = treap_item_key(item);
        if (cf_slice_cmp(key, cf_buf_slice(&it->lower)) < 0 ||
            (it->upper.size > 0 && cf_slice_cmp(key, cf_buf_slice(&it->upper)) >= 0)) {
            it->cursor.depth = 0;
        }
    }
}

static void memory_seek(struct kv_iterator *base, struct cf_slice key)
{
    struct memory_iterator *it = iterator(base);
    bool below = cf_slice_cmp(key, cf_buf_slice(&it->lower)) < 0;
    treap_seek(&it->cursor, below ? cf_buf_slice(&it->lower) : key);
    clamp(it);
}

static void memory_seek_before(struct kv_iterator *base, struct cf_slice key)
{
    struct memory_iterator *it = iterator(base);
    if (it->upper.size > 0 && cf_slice_cmp(key, cf_buf_slice(&it->upper)) >= 0) {
        treap_seek_before(&it->cursor, cf_buf_slice(&it->upper));
    } else {
        treap_seek(&it->cursor, key);
        const struct treap_item *item = treap_at(&it->cursor);
        if (item == NULL || !cf_slice_eq(treap_item_key(item), key)) {
            treap_seek_before(&it->cursor, key);
        }
    }
    clamp(it);
}

static void memory_seek_first(struct kv_iterator *base)
{
    memory_seek(base, cf_buf_slice(&iterator(base)->lower));
}

static void memory_seek_last(struct kv_iterator *base)
{
    struct memory_iterator *it = iterator(base);
    if (it->upper.size > 0) {
        treap_seek_before(&it->cursor, cf_buf_slice(&it->upper));
    } else {
        treap_seek_end(&it->cursor, true);
    }
    clamp(it);
}

static bool memory_valid(const struct kv_iterator *base)
{
    return ((const struct memory_iterator *)base)->cursor.depth > 0;
}

static void memory_next(struct kv_iterator *base)
{
    treap_step(&iterator(base)->cursor, true);
    clamp(iterator(base));
}

static void memory_prev(struct kv_iterator *base)
{
    treap_step(&iterator(base)->cursor, false);
    clamp(iterator(base));
}

static struct cf_slice memory_key(const struct kv_iterator *base)
{
    return treap_item_key(treap_at(&((const struct memory_iterator *)base)->cursor));
}

static struct cf_slice memory_bytes_of(const struct kv_iterator *base)
{
    return treap_item_value(treap_at(&((const struct memory_iterator *)base)->cursor));
}

static cf_status memory_iterator_check(const struct kv_iterator *base, struct cf_error *err)
{
    (void)base;
    (void)err;
    return CF_OK;
}

/* ---- writing */

static struct kv_batch *memory_batch_new(struct kv *kv)
{
    struct memory_batch *batch = cf_new(struct memory_batch);
    batch->base.kv = kv;
    return &batch->base;
}

static void add(struct kv_batch *base, enum op_kind kind, struct kv_family *family,
                struct treap_item *item)
{
    struct memory_batch *batch = (struct memory_batch *)base;
    if (base->count == batch->capacity) {
        batch->capacity = cf_max(16, 2 * batch->capacity);
        batch->ops = cf_realloc(batch->ops, batch->capacity * sizeof(*batch->ops));
        memset(batch->ops + base->count, 0, (batch->capacity - base->count) * sizeof(*batch->ops));
    }
    batch->ops[base->count] = (struct op){kind, (struct memory_family *)family, item};
    batch->bytes += sizeof(struct op) + item->key_size + item->value_size;
}

static void memory_batch_put(struct kv_batch *base, struct kv_family *family, struct cf_slice key,
                             const struct cf_slice *parts, size_t count)
{
    add(base, OP_PUT, family, treap_item_new(key, parts, count));
}

static void memory_batch_delete(struct kv_batch *base, struct kv_family *family,
                                struct cf_slice key)
{
    add(base, OP_DELETE, family, treap_item_new(key, NULL, 0));
}

static void memory_batch_delete_range(struct kv_batch *base, struct kv_family *family,
                                      struct cf_slice from, struct cf_slice to)
{
    add(base, OP_DELETE_RANGE, family, treap_item_new(from, &to, 1));
}

/* kv_batch_reset has set base.count to 0 already: what is owned is up to the first free place. */
static void memory_batch_reset(struct kv_batch *base)
{
    struct memory_batch *batch = (struct memory_batch *)base;
    for (size_t i = 0; i < batch->capacity && batch->ops[i].item != NULL; i++) {
        treap_item_unref(batch->ops[i].item);
        batch->ops[i].item = NULL;
    }
    batch->bytes = 0;
}

static void memory_batch_free(struct kv_batch *base)
{
    memory_batch_reset(base);
    cf_free(((struct memory_batch *)base)->ops);
    cf_free(base);
}

static size_t memory_batch_size(const struct kv_batch *base)
{
    return ((const struct memory_batch *)base)->bytes;
}

static cf_status memory_commit(struct kv *kv, struct kv_batch *base, enum kv_durability durability,
                               struct cf_error *err)
{
    (void)err;
    struct memory_batch *batch = (struct memory_batch *)base;
    pthread_mutex_lock(&memory(kv)->lock);
    for (size_t i = 0; i < base->count; i++) {
        struct op *op = &batch->ops[i];
        struct treap **root = &op->family->root;
        switch (op->kind) {
        case OP_PUT:
            *root = treap_put(*root, treap_item_ref(op->item));
            break;
        case OP_DELETE:
            *root = treap_delete(*root, treap_item_key(op->item));
            break;
        case OP_DELETE_RANGE:
            *root = treap_delete_range(*root, treap_item_key(op->item), treap_item_value(op->item));
            break;
        }
    }
    pthread_mutex_unlock(&memory(kv)->lock);
    if (durability == KV_SYNC) {
        atomic_fetch_add_explicit(&kv->syncs, 1, memory_order_relaxed);
    }
    return CF_OK;
}

/* ---- care */

static cf_status memory_flush(struct kv_family *family, struct cf_error *err)
{
    (void)family;
    (void)err;
    return CF_OK;
}

static cf_status memory_compact(struct kv_family *family, struct cf_slice from, struct cf_slice to,
                                struct cf_error *err)
{
    (void)family;
    (void)from;
    (void)to;
    (void)err;
    return CF_OK;
}

static uint64_t memory_snapshot_number(const struct kv_snapshot *snapshot)
{
    (void)snapshot;
    return 0;
}

static uint64_t memory_oldest_snapshot(struct kv *kv)
{
    (void)kv;
    return 0;
}

static void memory_allow_rewrites(struct kv *kv, bool allowed)
{
    (void)kv;
    (void)allowed;
}

static cf_status memory_be_queue(struct kv_family *family, struct cf_error *err)
{
    (void)family;
    (void)err;
    return CF_OK;
}

static cf_status memory_drop_files(struct kv_family *family, struct cf_slice from,
                                   struct cf_slice last, struct cf_error *err)
{
    CF_OWNED(kv_batch) batch = kv_batch_new(family->kv);
    CF_BUF(past) = {0};
    cf_buf_add_slice(&past, last);
    cf_buf_add_byte(&past, 0);
    kv_batch_delete_range(batch, family, from, cf_buf_slice(&past));
    return kv_commit(family->kv, batch, KV_NO_WAL, err);
}

static uint64_t memory_approximate_keys(struct kv_family *family, uint64_t *unflushed)
{
    struct treap *root = tree(kv_now(family->kv), family);
    uint64_t keys = root != NULL ? root->count : 0;
    treap_unref(root);
    *unflushed = 0;
    return keys;
}

static uint64_t memory_approximate_size(struct kv_family *family, struct cf_slice from,
                                        struct cf_slice to)
{
    struct treap *root = tree(kv_now(family->kv), family);
    uint64_t below_to = to.size > 0 ? treap_bytes_below(root, to) : root != NULL ? root->bytes : 0;
    uint64_t below_from = treap_bytes_below(root, from);
    treap_unref(root);
    return below_to > below_from ? below_to - below_from : 0;
}

static uint64_t memory_memory_bytes(struct kv *kv)
{
    uint64_t bytes = 0;
    pthread_mutex_lock(&kv->families_lock);
    pthread_mutex_lock(&memory(kv)->lock);
    for (size_t i = 0; i < kv->count; i++) {
        const struct memory_family *family = (const struct memory_family *)kv->families[i];
        bytes += family->root != NULL ? family->root->bytes : 0;
    }
    pthread_mutex_unlock(&memory(kv)->lock);
    pthread_mutex_unlock(&kv->families_lock);
    return bytes;
}

static void memory_note(struct kv *kv, uint64_t value)
{
    (void)kv;
    (void)value;
}

static bool memory_noted(struct kv *kv, uint64_t *ret)
{
    (void)kv;
    (void)ret;
    return false; /* what is in memory is there or all gone */
}

static cf_status memory_ballast(struct kv *kv, uint64_t bytes, struct cf_error *err)
{
    (void)kv;
    (void)bytes;
    (void)err;
    return CF_OK;
}

static cf_status memory_space(struct kv *kv, uint64_t *free_bytes, uint64_t *total_bytes,
                              struct cf_error *err)
{
    (void)kv;
    (void)err;
    *free_bytes = *total_bytes = UINT64_MAX;
    return CF_OK;
}

static const struct kv_ops memory_ops = {
    .close = memory_close,
    .family_create = memory_family_create,
    .family_drop = memory_family_drop,
    .family_destroy = memory_family_destroy,
    .get = memory_get,
    .snapshot_new = memory_snapshot_new,
    .snapshot_free = memory_snapshot_free,
    .iterator_new = memory_iterator_new,
    .iterator_free = memory_iterator_free,
    .seek = memory_seek,
    .seek_before = memory_seek_before,
    .seek_first = memory_seek_first,
    .seek_last = memory_seek_last,
    .valid = memory_valid,
    .next = memory_next,
    .prev = memory_prev,
    .key = memory_key,
    .bytes = memory_bytes_of,
    .iterator_check = memory_iterator_check,
    .batch_new = memory_batch_new,
    .batch_free = memory_batch_free,
    .batch_put = memory_batch_put,
    .batch_delete = memory_batch_delete,
    .batch_delete_range = memory_batch_delete_range,
    .batch_reset = memory_batch_reset,
    .batch_size = memory_batch_size,
    .commit = memory_commit,
    .flush = memory_flush,
    .compact = memory_compact,
    .rewrite = memory_compact,
    .snapshot_number = memory_snapshot_number,
    .oldest_snapshot = memory_oldest_snapshot,
    .allow_rewrites = memory_allow_rewrites,
    .be_queue = memory_be_queue,
    .drop_files = memory_drop_files,
    .approximate_keys = memory_approximate_keys,
    .approximate_size = memory_approximate_size,
    .memory_bytes = memory_memory_bytes,
    .note = memory_note,
    .noted = memory_noted,
    .ballast = memory_ballast,
    .space = memory_space,
};

struct kv *kv_open_memory(void)
{
    struct memory_kv *kv = cf_new(struct memory_kv);
    kv_base_init(&kv->base, &memory_ops);
    pthread_mutex_init(&kv->lock, NULL);
    return &kv->base;
}
