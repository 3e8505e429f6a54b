/* node/core/sys/lease_store.c: the index of leases by id. */
#include "node/core/sys/lease_store.h"

#include "node/base/memory.h"

#define TOKEN_MARK 'h'
#define TAIL_SIZE (1 + 1 + 2 * TOKEN_KEY_SIZE) /* "/h" and the digits */

static struct key lease_key(struct arena *arena, uint32_t ns, struct cf_slice id)
{
    const size_t head = sizeof(AREA_LEASE) - 1;
    uint8_t *name = arena_alloc_raw(arena, head + id.size);
    memcpy(name, AREA_LEASE, head);
    if (id.size != 0) {
        memcpy(name + head, id.data, id.size);
    }
    return (struct key){CLASS_CLUSTER, ns, cf_slice_of(name, head + id.size)};
}

struct cf_slice lease_token_id(struct arena *arena, const struct token_entry *entry)
{
    CF_BUF(id) = {0};
    cf_buf_add_slice(&id, entry->path);
    cf_buf_add_byte(&id, '/');
    cf_buf_add_byte(&id, TOKEN_MARK);
    encode_hex(&id, cf_slice_of(entry->key, TOKEN_KEY_SIZE));
    return arena_copy(arena, cf_buf_slice(&id));
}

void lease_add_token(struct txn *txn, struct arena *arena, const struct token_entry *entry)
{
    txn_put(txn, lease_key(arena, entry->ns, lease_token_id(arena, entry)), CF_SLICE_EMPTY);
}

void lease_remove_token(struct txn *txn, struct arena *arena, const struct token_entry *entry)
{
    txn_delete(txn, lease_key(arena, entry->ns, lease_token_id(arena, entry)));
}

/* The token key that an id ends with; false when it is none of a token. */
static bool token_key_in(struct cf_slice id, uint8_t key[TOKEN_KEY_SIZE])
{
    if (id.size < TAIL_SIZE) {
        return false;
    }
    struct cf_slice tail = cf_slice_from(id, id.size - TAIL_SIZE);
    CF_BUF(raw) = {.max = TOKEN_KEY_SIZE};
    if (tail.data[0] != '/' || tail.data[1] != TOKEN_MARK ||
        encode_hex_decode(&raw, cf_slice_from(tail, 2), NULL) != CF_OK) {
        return false;
    }
    memcpy(key, raw.data, TOKEN_KEY_SIZE);
    return true;
}

cf_status lease_find_token(struct txn *txn, struct arena *arena, uint32_t ns, struct cf_slice id,
                           const struct token_entry **ret, struct cf_error *err)
{
    uint8_t key[TOKEN_KEY_SIZE];
    struct cf_slice nothing;
    if (id.size > KEY_NAME_MAX - sizeof(AREA_LEASE) || !token_key_in(id, key)) {
        return CF_NOT_FOUND;
    }
    CF_TRY(txn_get(txn, lease_key(arena, ns, id), &nothing, err));
    CF_TRY(token_by_key(txn, arena, ns, key, ret, err));
    bool is_over = (*ret)->expire_ns != 0 && (*ret)->expire_ns <= view_now_ns(txn_view(txn));
    return is_over ? CF_NOT_FOUND : CF_OK;
}

static cf_status revoke_one(struct txn *txn, struct arena *arena, uint32_t ns, struct cf_slice id,
                            struct cf_error *err)
{
    uint8_t key[TOKEN_KEY_SIZE];
    const struct token_entry *entry;
    cf_status status = CF_NOT_FOUND;
    if (token_key_in(id, key)) {
        status = token_by_key(txn, arena, ns, key, &entry, err);
    }
    if (status == CF_NOT_FOUND) {
        /* It went with its parent a moment ago, in this very write set. */
        txn_delete(txn, lease_key(arena, ns, id));
        return CF_OK;
    }
    CF_TRY(status);
    return token_revoke(txn, arena, entry, true, err);
}

cf_status lease_revoke_some(struct txn *txn, struct arena *arena, uint32_t ns,
                            struct cf_slice prefix, size_t max, bool *ret_more, struct cf_error *err)
{
    struct txn_names names;
    CF_TRY(txn_scan(txn, lease_key(arena, ns, prefix), CF_SLICE_EMPTY, max + 1, &names, err));
    *ret_more = names.count > max;
    for (size_t i = 0; i < names.count && i < max; i++) {
        struct cf_slice id =
            cf_slice_str(arena_printf(arena, "%.*s%.*s", CF_SHOW(prefix), CF_SHOW(names.names[i])));
        CF_TRY(revoke_one(txn, arena, ns, id, err));
    }
    return CF_OK;
}

cf_status lease_revoke_prefix(struct txn *txn, struct arena *arena, uint32_t ns,
                              struct cf_slice prefix, struct cf_error *err)
{
    bool more;
    CF_TRY(lease_revoke_some(txn, arena, ns, prefix, LEASE_REVOKE_MAX, &more, err));
    if (more) {
        CF_BUF(name) = {0};
        cf_buf_add_str(&name, AREA_EXPIRE);
        cf_buf_add_u64(&name, (uint64_t)(view_now_ns(txn_view(txn)) / 1000000));
        cf_buf_add_byte(&name, ns == NAMESPACE_ROOT ? LEASE_EXPIRE_PREFIX : LEASE_EXPIRE_NS_PREFIX);
        if (ns != NAMESPACE_ROOT) {
            cf_buf_add_u32(&name, ns);
        }
        cf_buf_add_slice(&name, prefix);
        txn_put(txn, (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, cf_buf_slice(&name)},
                CF_SLICE_EMPTY);
    }
    return CF_OK;
}
