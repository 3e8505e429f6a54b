/* node/core/sys/lease_store.c: the index of leases by id. */
#include "node/core/sys/lease_store.h"

#include "node/base/memory.h"
#include "node/core/lease.h"
#include "node/core/quota.h"

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

/* An entry says what its id does not: wrapping tokens count for no quota, logins for that of their role, too. */
static struct cf_slice token_value(struct arena *arena, const struct token_entry *entry)
{
    return entry->is_wrapping            ? CF_SLICE("w")
           : entry->login_role.size != 0 ? cf_slice_str(arena_printf(arena, "r%.*s", CF_SHOW(entry->login_role)))
                                         : CF_SLICE_EMPTY;
}

/* Before the write that it is about. */
static void count(struct txn *txn, uint32_t ns, struct cf_slice path, struct cf_slice role, int32_t change)
{
    const struct quota_rule *rule = quota_match_lease(txn_view(txn), ns, path, role);
    txn_note_read(txn, key_hash(QUOTA_LEASE_GUARD));
    if (rule != NULL) {
        txn_count_lease(txn, rule->id, change);
    }
}

static void count_token(struct txn *txn, const struct token_entry *entry, int32_t change)
{
    if (!entry->is_wrapping) {
        count(txn, entry->ns, entry->path, entry->login_role, change);
    }
}

void lease_add_token(struct txn *txn, struct arena *arena, const struct token_entry *entry)
{
    count_token(txn, entry, 1);
    txn_put(txn, lease_key(arena, entry->ns, lease_token_id(arena, entry)), token_value(arena, entry));
}

void lease_remove_token(struct txn *txn, struct arena *arena, const struct token_entry *entry)
{
    count_token(txn, entry, -1);
    txn_delete(txn, lease_key(arena, entry->ns, lease_token_id(arena, entry)));
}

static struct cf_slice path_of_id(struct cf_slice id)
{
    size_t size = id.size;
    while (size != 0 && id.data[size - 1] != '/') {
        size--;
    }
    return cf_slice_first(id, size != 0 ? size - 1 : 0);
}

void lease_count_secret(struct txn *txn, uint32_t ns, struct cf_slice id, int32_t change)
{
    count(txn, ns, path_of_id(id), CF_SLICE_EMPTY, change);
}

const struct quota_rule *lease_rule_of(const struct view *view, uint32_t ns, struct cf_slice id,
                                       struct cf_slice value)
{
    bool is_login = value.size != 0 && value.data[0] == 'r';
    return value.size != 0 && value.data[0] == 'w'
               ? NULL
               : quota_match_lease(view, ns, path_of_id(id), is_login ? cf_slice_from(value, 1) : CF_SLICE_EMPTY);
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
                            bool forced, struct cf_error *err)
{
    uint8_t key[TOKEN_KEY_SIZE];
    const struct token_entry *entry;
    struct lease *lease;
    cf_status status = lease_find(txn, arena, ns, id, &lease, err);
    if (status == CF_OK) {
        /* An irrevocable one is tried again when somebody asks for just that. */
        if (forced || lease->due_ns != 0) {
            lease_end(txn, arena, lease, forced);
        }
        return CF_OK;
    }
    if (status == CF_NOT_FOUND && token_key_in(id, key)) {
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

/* Written at the index or after it: not meant. */
static cf_status is_since(const struct txn *txn, struct arena *arena, struct key key, uint64_t index, bool *ret,
                          struct cf_error *err)
{
    struct cf_slice ignored;
    uint64_t written = 0;
    *ret = false;
    if (index != UINT64_MAX) {
        cf_status status = view_get(txn_view(txn), key, arena, &ignored, &written, err);
        *ret = status == CF_OK && written >= index;
        return status == CF_NOT_FOUND ? CF_OK : status;
    }
    return CF_OK;
}

static cf_status revoke_range(struct txn *txn, struct arena *arena, uint32_t ns, struct cf_slice prefix,
                              struct cf_slice *after, size_t max, bool forced, uint64_t before, bool *ret_more,
                              struct cf_error *err)
{
    size_t changed = 0;
    *ret_more = true;
    while (changed < max) {
        struct txn_names names;
        size_t room = max - changed;
        CF_TRY(txn_scan(txn, lease_key(arena, ns, prefix), *after, room + 1, &names, err));
        for (size_t i = 0; i < names.count && i < room; i++) {
            size_t mark = txn_mark(txn);
            bool spared;
            struct cf_slice id = cf_slice_str(
                arena_printf(arena, "%.*s%.*s", CF_SHOW(prefix), CF_SHOW(names.names[i])));
            CF_TRY(is_since(txn, arena, lease_key(arena, ns, id), before, &spared, err));
            if (!spared) {
                CF_TRY(revoke_one(txn, arena, ns, id, forced, err));
            }
            changed += txn_mark(txn) != mark;
            *after = names.names[i];
        }
        if (names.count <= room) {
            *ret_more = false;
            break;
        }
    }
    return CF_OK;
}

cf_status lease_revoke_some(struct txn *txn, struct arena *arena, uint32_t ns, struct cf_slice prefix,
                            struct cf_slice *after, size_t max, bool forced, bool *ret_more,
                            struct cf_error *err)
{
    return revoke_range(txn, arena, ns, prefix, after, max, forced, UINT64_MAX, ret_more, err);
}

cf_status lease_revoke_before(struct txn *txn, struct arena *arena, uint32_t ns, struct cf_slice prefix,
                              uint64_t index, bool *ret_more, struct cf_error *err)
{
    struct cf_slice after = CF_SLICE_EMPTY;
    return revoke_range(txn, arena, ns, prefix, &after, LEASE_REVOKE_MAX, false, index, ret_more, err);
}

cf_status lease_revoke_prefix(struct txn *txn, struct arena *arena, uint32_t ns, struct cf_slice prefix,
                              bool forced, struct cf_error *err)
{
    bool more;
    struct cf_slice after = CF_SLICE_EMPTY;
    CF_TRY(lease_revoke_some(txn, arena, ns, prefix, &after, LEASE_REVOKE_MAX, forced, &more, err));
    if (more) {
        CF_BUF(name) = {0};
        bool has_ns = ns != NAMESPACE_ROOT || forced;
        cf_buf_add_str(&name, AREA_EXPIRE);
        cf_buf_add_u64(&name, (uint64_t)(view_now_ns(txn_view(txn)) / 1000000));
        cf_buf_add_byte(&name, forced   ? LEASE_EXPIRE_FORCED
                               : has_ns ? LEASE_EXPIRE_NS_PREFIX
                                        : LEASE_EXPIRE_PREFIX);
        if (has_ns) {
            cf_buf_add_u32(&name, ns);
        }
        cf_buf_add_slice(&name, prefix);
        txn_put(txn, (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, cf_buf_slice(&name)}, after);
    }
    return CF_OK;
}

bool lease_is_prefix_entry(struct cf_slice what)
{
    uint8_t mark = what.size > 1 ? what.data[0] : 0;
    return mark == LEASE_EXPIRE_PREFIX ||
           (what.size > 5 && (mark == LEASE_EXPIRE_NS_PREFIX || mark == LEASE_EXPIRE_FORCED));
}

cf_status lease_revoke_entry(struct txn *txn, struct arena *arena, struct key entry, struct cf_slice what,
                             size_t max, bool *ret_left, struct cf_error *err)
{
    bool has_ns = what.data[0] != LEASE_EXPIRE_PREFIX;
    uint32_t ns = has_ns ? cf_get_u32(what.data + 1) : NAMESPACE_ROOT;
    struct cf_slice after = CF_SLICE_EMPTY, before;
    cf_status status = txn_get(txn, entry, &after, err);
    if (status != CF_OK) {
        *ret_left = false;
        return status == CF_NOT_FOUND ? CF_OK : status;
    }
    before = after;
    CF_TRY(lease_revoke_some(txn, arena, ns, cf_slice_from(what, has_ns ? 5 : 1), &after, max,
                             what.data[0] == LEASE_EXPIRE_FORCED, ret_left, err));
    if (*ret_left && !cf_slice_eq(before, after)) {
        txn_put(txn, entry, after);
    }
    return CF_OK;
}

cf_status lease_is_pending(struct txn *txn, struct arena *arena, uint32_t ns, bool *ret, struct cf_error *err)
{
    struct txn_names failed, names;
    CF_TRY(lease_irrevocable(txn, ns, 0, &failed, err));
    CF_TRY(txn_scan(txn, lease_key(arena, ns, CF_SLICE_EMPTY), CF_SLICE_EMPTY, failed.count + 1, &names, err));
    *ret = names.count > failed.count;
    return CF_OK;
}

cf_status lease_has_any(struct txn *txn, struct arena *arena, uint32_t ns, struct cf_slice prefix, bool *ret,
                        struct cf_error *err)
{
    struct txn_names names;
    CF_TRY(txn_scan(txn, lease_key(arena, ns, prefix), CF_SLICE_EMPTY, 1, &names, err));
    *ret = names.count != 0;
    return CF_OK;
}
