/* node/core/view.c: reading the store at one index. */
#include "node/core/view.h"

#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/core/audit.h"
#include "node/core/namespace.h"
#include "node/core/settings.h"

struct view *view_ref(struct view *view)
{
    atomic_fetch_add_explicit(&view->references, 1, memory_order_relaxed);
    return view;
}

void view_unref(struct view *view)
{
    if (view == NULL ||
        atomic_fetch_sub_explicit(&view->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    kv_snapshot_free(view->snapshot);
    kv_family_unref(view->state);
    keyring_unref(view->keyring);
    namespace_table_unref(view->namespaces);
    audit_table_unref(view->audit);
    settings_unref(view->settings);
    cf_wipe(view->salt, sizeof(view->salt));
    cf_free(view);
}

int64_t view_now_ns(const struct view *view)
{
    uint64_t since_us = cf_monotonic_us(cf_host_clock()) - view->stamp_monotonic_us;
    return view->stamp_ns + (int64_t)since_us * 1000;
}

static struct kv_view at(const struct view *view)
{
    return (struct kv_view){view->db, view->snapshot};
}

/* The stored value without its index; pinned by *value. */
static cf_status fetch(const struct view *view, struct key key, struct kv_value *value,
                       struct cf_slice *ret, uint64_t *ret_index, struct cf_error *err)
{
    uint8_t small[512];
    CF_BUF(large) = {0};
    struct cf_slice stored;
    unsigned number = class_number(key.class);
    if (number == CLASS_COUNT || key.name.size > KEY_NAME_MAX) {
        return cf_fail(err, CF_INVALID, "path is too long");
    }
    if (KEY_HEADER_SIZE + key.name.size <= sizeof(small)) {
        small[0] = key.class;
        cf_put_u32(small + 1, view->generation[number]);
        cf_put_u32(small + 5, key.ns);
        if (key.name.size != 0) {
            memcpy(small + KEY_HEADER_SIZE, key.name.data, key.name.size);
        }
        stored = cf_slice_of(small, KEY_HEADER_SIZE + key.name.size);
    } else {
        key_encode(&large, key, view->generation[number]);
        stored = cf_buf_slice(&large);
    }
    CF_TRY(kv_get(at(view), view->state, stored, value, err));
    if (value->bytes.size < VALUE_HEADER_SIZE) {
        return cf_fail(err, CF_CORRUPT, "internal error");
    }
    if (ret_index != NULL) {
        *ret_index = cf_get_u64(value->bytes.data);
    }
    *ret = cf_slice_from(value->bytes, VALUE_HEADER_SIZE);
    return CF_OK;
}

cf_status view_get_raw(const struct view *view, struct key key, struct arena *arena,
                       struct cf_slice *ret, struct cf_error *err)
{
    KV_VALUE(value) = {0};
    struct cf_slice stored;
    CF_TRY(fetch(view, key, &value, &stored, NULL, err));
    *ret = arena_copy(arena, stored);
    return CF_OK;
}

cf_status view_get(const struct view *view, struct key key, struct arena *arena,
                   struct cf_slice *ret, uint64_t *ret_index, struct cf_error *err)
{
    KV_VALUE(value) = {0};
    struct cf_slice stored;
    CF_TRY(fetch(view, key, &value, &stored, ret_index, err));
    if (view->keyring == NULL) {
        return cf_fail(err, CF_SEALED, "Vault is sealed");
    }
    struct barrier_name name = {.class = key.class, .ns = key.ns, .name = key.name};
    return barrier_open(view->keyring, &name, &view->line, stored, arena, ret, err);
}

cf_status view_walk(const struct view *view, struct key prefix, struct cf_slice after,
                    bool (*each)(void *context, struct cf_slice rest), void *context,
                    struct cf_error *err)
{
    unsigned number = class_number(prefix.class);
    CF_BUF(lower) = {0};
    CF_BUF(upper) = {0};
    key_encode(&lower, prefix, view->generation[number]);
    size_t skip = lower.size;
    cf_buf_add_slice(&upper, cf_buf_slice(&lower));
    /* The first key after all that begin with lower: raise the last byte that can be raised. The
     * header's class byte is a letter, so that there always is one. */
    while (upper.data[upper.size - 1] == 0xff) {
        upper.size--;
    }
    upper.data[upper.size - 1]++;
    if (after.size != 0) {
        cf_buf_add_slice(&lower, after);
        cf_buf_add_byte(&lower, 0);
    }
    struct kv_range range = {cf_buf_slice(&lower), cf_buf_slice(&upper), false};
    CF_OWNED(kv_iterator) iterator = kv_iterator_new(at(view), view->state, range);
    for (kv_seek_first(iterator); kv_valid(iterator); kv_next(iterator)) {
        if (!each(context, cf_slice_from(kv_key(iterator), skip))) {
            return CF_OK;
        }
    }
    return kv_iterator_check(iterator, err);
}

cf_status view_next_namespace(const struct view *view, uint8_t class, uint32_t from,
                              bool *ret_found, uint32_t *ret, struct cf_error *err)
{
    uint8_t lower[KEY_HEADER_SIZE] = {class}, upper[KEY_HEADER_SIZE + 1] = {class};
    uint32_t generation = view->generation[class_number(class)];
    cf_put_u32(lower + 1, generation);
    cf_put_u32(lower + 5, from);
    memset(upper + 1, 0xff, sizeof(upper) - 1);
    cf_put_u32(upper + 1, generation); /* no namespace has the number that is all ones */
    struct kv_range range = {cf_slice_of(lower, sizeof(lower)), cf_slice_of(upper, sizeof(upper)),
                             false};
    CF_OWNED(kv_iterator) iterator = kv_iterator_new(at(view), view->state, range);
    struct key key;
    kv_seek_first(iterator);
    *ret_found = kv_valid(iterator) && key_decode(kv_key(iterator), &key, &generation);
    if (*ret_found) {
        *ret = key.ns;
    }
    return kv_iterator_check(iterator, err);
}
