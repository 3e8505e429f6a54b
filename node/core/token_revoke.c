/* node/core/token_revoke.c: ending tokens and what hangs below them, in bounded write sets. */
#include "node/base/memory.h"
#include "node/core/lease.h"
#include "node/core/sys/lease_store.h"
#include "node/core/token_int.h"

/* Tokens deeper than this below the one that is revoked are cut off and run out by themselves. */
#define DEPTH_MAX ((size_t)32)
/* What one token makes of writes, at most. */
#define WRITES_OF_TOKEN ((size_t)7)

static cf_status remove_one(struct txn *txn, struct arena *arena, const struct token_entry *entry,
                            struct cf_error *err)
{
    struct key key;
    CF_TRY(token_accessor_key(txn, arena, entry->ns, entry->accessor, &key, err));
    txn_delete(txn, key);
    txn_delete(txn, token_record_key(arena, entry->ns, entry->key));
    if (entry->expire_ns != 0) {
        txn_delete(txn, token_expire_key(arena, entry));
        lease_remove_token(txn, arena, entry);
    }
    if (entry->has_parent) {
        txn_delete(txn, token_child_key(arena, entry));
    }
    CF_TRY(lease_leave(txn, arena, entry, err));
    /* Everybody who reads the cubbyhole has read the record that goes with it (window.h). */
    txn_delete_prefix(txn,
                      token_area_key(arena, entry->ns, AREA_CUBBY, entry->key, CF_SLICE_EMPTY));
    return CF_OK;
}

static cf_status children_of(struct txn *txn, struct arena *arena, const struct token_entry *entry,
                             size_t max, struct txn_names *ret, struct cf_error *err)
{
    return txn_scan(txn, token_area_key(arena, entry->ns, AREA_CHILD, entry->key, CF_SLICE_EMPTY),
                    CF_SLICE_EMPTY, max, ret, err);
}

/* A copy of the child that hangs below nobody. */
static cf_status cut_off(struct txn *txn, struct arena *arena, const struct token_entry *child,
                         bool ends_now, struct cf_error *err)
{
    struct token_entry changed = *child;
    txn_delete(txn, token_child_key(arena, child));
    changed.has_parent = false;
    memset(changed.parent, 0, sizeof(changed.parent));
    if (ends_now) {
        changed.expire_ns = view_now_ns(txn_view(txn));
    }
    return token_update(txn, arena, child, &changed, err);
}

static cf_status orphan_children(struct txn *txn, struct arena *arena,
                                 const struct token_entry *entry, struct cf_error *err)
{
    struct txn_names children;
    CF_TRY(children_of(txn, arena, entry, TOKEN_TREE_MAX + 1, &children, err));
    if (children.count > TOKEN_TREE_MAX) {
        return cf_fail(err, CF_BUSY,
                       "the token has more than %d children: revoke some of them first",
                       TOKEN_TREE_MAX);
    }
    for (size_t i = 0; i < children.count; i++) {
        const struct token_entry *child;
        cf_status status = token_load(txn, arena, token_child_ns(entry, children.names[i]),
                                      children.names[i].data, &child, err);
        if (status == CF_OK) {
            status = cut_off(txn, arena, child, false, err);
        } else if (status == CF_NOT_FOUND) {
            txn_delete(txn, token_area_key(arena, entry->ns, AREA_CHILD, entry->key, children.names[i]));
            status = CF_OK;
        }
        CF_TRY(status);
    }
    return CF_OK;
}

/* ---- whole trees ---- */

/* A token on the way down: its children from `next` on are still to be done. */
struct level {
    const struct token_entry *entry;
    struct txn_names children;
    size_t next;
};

static cf_status descend(struct txn *txn, struct arena *arena, struct level *level,
                         const struct token_entry *entry, size_t room, struct cf_error *err)
{
    *level = (struct level){.entry = entry};
    return children_of(txn, arena, entry, room + 1, &level->children, err);
}

cf_status token_revoke_some(struct txn *txn, struct arena *arena, const struct token_entry *entry,
                            size_t *room, bool *ret_left, struct cf_error *err)
{
    struct level levels[DEPTH_MAX];
    size_t depth = 1;
    *ret_left = true;
    CF_TRY(descend(txn, arena, &levels[0], entry, *room, err));
    while (*room != 0) {
        struct level *level = &levels[depth - 1];
        if (level->next == level->children.count) {
            CF_TRY(remove_one(txn, arena, level->entry, err));
            (*room)--;
            if (--depth == 0) {
                *ret_left = false;
                return CF_OK;
            }
            continue;
        }
        struct cf_slice name = level->children.names[level->next++];
        const struct token_entry *child;
        cf_status status = token_load(txn, arena, token_child_ns(level->entry, name), name.data,
                                      &child, err);
        if (status == CF_NOT_FOUND) {
            txn_delete(txn, token_area_key(arena, level->entry->ns, AREA_CHILD, level->entry->key, name));
        } else if (status != CF_OK) {
            return status;
        } else if (depth == DEPTH_MAX) {
            CF_TRY(cut_off(txn, arena, child, true, err));
            (*room)--;
        } else {
            CF_TRY(descend(txn, arena, &levels[depth], child, *room, err));
            depth++;
        }
    }
    return CF_OK;
}

cf_status token_revoke(struct txn *txn, struct arena *arena, const struct token_entry *entry,
                       bool with_children, struct cf_error *err)
{
    if (!with_children) {
        CF_TRY(orphan_children(txn, arena, entry, err));
        return remove_one(txn, arena, entry, err);
    }
    size_t mark = txn_mark(txn);
    size_t used = mark / WRITES_OF_TOKEN;
    size_t room = used < TOKEN_TREE_MAX ? TOKEN_TREE_MAX - used : 1;
    bool left;
    CF_TRY(token_revoke_some(txn, arena, entry, &room, &left, err));
    if (!left) {
        return CF_OK;
    }
    txn_rollback(txn, mark);
    struct token_entry ended = *entry;
    ended.expire_ns = view_now_ns(txn_view(txn));
    if (entry->expire_ns != 0 && entry->expire_ns <= ended.expire_ns) {
        return CF_OK; /* it has ended already, and is being deleted */
    }
    return token_update(txn, arena, entry, &ended, err);
}
