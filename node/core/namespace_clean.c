/* node/core/namespace_clean.c: what the active node does about namespaces that are deleted.
 *
 * A deletion commits a taint, which nobody gets past any more. Then, in entries of bounded size that any
 * active node goes on with: the leases, so that what was lent out ends; then the data, by its numbers. The
 * record goes last, in the primary cluster. Each cluster ends the leases of its own and drops the data of
 * its own; since numbers are never used again, data of a number that has no record is nobody's. */
#include "node/base/log.h"
#include "node/core/lease.h"
#include "node/core/namespace.h"
#include "node/core/sys/lease_store.h"

#define LEASES_MAX ((size_t)256)

static bool note_one(void *context, struct cf_slice rest)
{
    (void)rest;
    *(bool *)context = true;
    return false;
}

static cf_status has_keys(const struct view *view, uint8_t class, uint32_t ns, bool *ret,
                          struct cf_error *err)
{
    *ret = false;
    return view_walk(view, (struct key){class, ns, CF_SLICE_EMPTY}, CF_SLICE_EMPTY, note_one, ret,
                     err);
}

static void drop(struct txn *txn, uint8_t class, uint32_t ns)
{
    txn_delete_prefix(txn, (struct key){class, ns, CF_SLICE_EMPTY});
}

/* ret_busy: leases were ended, or data dropped; what follows comes with the next round. */
static cf_status clean_tainted(struct txn *txn, struct arena *arena, const struct namespace *ns,
                               bool *ret_busy, struct cf_error *err)
{
    const struct view *view = txn_view(txn);
    size_t mark = txn_mark(txn);
    bool more, has_local;
    struct cf_slice after = CF_SLICE_EMPTY;
    CF_TRY(lease_revoke_some(txn, arena, ns->number, CF_SLICE_EMPTY, &after, LEASES_MAX, false, &more, err));
    *ret_busy = more || txn_mark(txn) != mark;
    if (*ret_busy) {
        return CF_OK;
    }
    bool is_pending;
    CF_TRY(lease_is_pending(txn, arena, ns->number, &is_pending, err));
    if (is_pending) {
        return CF_OK; /* mounts of it are taking secrets back: they need what is stored for that */
    }
    namespace_note_read(txn, ns);
    struct txn_names failed;
    CF_TRY(lease_irrevocable(txn, ns->number, 0, &failed, err));
    for (size_t i = 0; i < failed.count; i++) {
        lease_count_secret(txn, ns->number, failed.names[i], -1);
    }
    if (view->role == ROLE_ALONE_OR_PRIMARY) {
        drop(txn, CLASS_CLUSTER, ns->number);
        drop(txn, CLASS_REPLICATED, ns->number);
        txn_delete(txn, namespace_key(arena, ns->number));
        *ret_busy = true;
        return CF_OK;
    }
    CF_TRY(has_keys(view, CLASS_CLUSTER, ns->number, &has_local, err));
    if (has_local) {
        drop(txn, CLASS_CLUSTER, ns->number);
        *ret_busy = true;
    }
    return CF_OK;
}

/* One number with local data and without a record. */
static cf_status clean_nobodys(struct txn *txn, bool *ret_busy, struct cf_error *err)
{
    const struct view *view = txn_view(txn);
    uint32_t from = NAMESPACE_ROOT;
    bool found = true;
    while (found && from != UINT32_MAX) {
        uint32_t ns;
        CF_TRY(view_next_namespace(view, CLASS_CLUSTER, from + 1, &found, &ns, err));
        if (found && namespace_by_number(view->namespaces, ns) == NULL) {
            drop(txn, CLASS_CLUSTER, ns);
            *ret_busy = true;
            return CF_OK;
        }
        from = found ? ns : from;
    }
    return CF_OK;
}

cf_status namespace_clean(struct txn *txn, struct arena *arena, bool *ret_more,
                          struct cf_error *err)
{
    const struct namespace_table *table = txn_view(txn)->namespaces;
    *ret_more = false;
    for (size_t i = 1; i < table->count; i++) {
        if (table->list[i]->is_tainted) {
            CF_TRY(clean_tainted(txn, arena, table->list[i], ret_more, err));
            if (*ret_more) {
                return CF_OK;
            }
        }
    }
    return clean_nobodys(txn, ret_more, err);
}
