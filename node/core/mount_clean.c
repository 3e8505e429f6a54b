/* node/core/mount_clean.c: what the active node of a performance secondary does about shared mounts that went.
 *
 * The primary removes a mount, moves it, or a filter holds it back: the secondary hears of that by its table alone.
 * What this cluster has of the mount is of class cluster and nobody else's to remove: leases and tokens of the path,
 * and data (lockouts, local secret-ids). One record for each namespace says which mounts were there when that was done
 * last, so that neither a restart nor another mount at the same path in between hides one that went. */
#include <string.h>

#include "node/base/memory.h"
#include "node/core/mount_move.h"
#include "node/core/sys/lease_store.h"

#define UUID_SIZE sizeof(((struct uuid *)0)->bytes)

static struct key seen_key(uint32_t ns)
{
    return (struct key){CLASS_CLUSTER, ns, CF_SLICE(MOUNTS_SEEN)};
}

/* uuid, 4 bytes of size, path: of each shared mount that may be removed. */
static void encode_seen(const struct mount_table *table, struct cf_buf *to)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct mount *mount = table->mounts[i];
        if (mount->class == CLASS_REPLICATED && !mount->is_fixed) {
            cf_buf_add(to, mount->uuid.bytes, UUID_SIZE);
            cf_buf_add_u32(to, (uint32_t)mount->path.size);
            cf_buf_add_slice(to, mount->path);
        }
    }
}

static bool next_seen(struct cf_slice *rest, struct uuid *uuid, struct cf_slice *path)
{
    if (rest->size < UUID_SIZE + 4) {
        return false;
    }
    size_t size = cf_get_u32(rest->data + UUID_SIZE);
    if (rest->size - UUID_SIZE - 4 < size) {
        return false;
    }
    memcpy(uuid->bytes, rest->data, UUID_SIZE);
    *path = cf_slice_first(cf_slice_from(*rest, UUID_SIZE + 4), size);
    *rest = cf_slice_from(*rest, UUID_SIZE + 4 + size);
    return true;
}

/* ---- data ---- */

static struct key data_prefix(struct arena *arena, uint32_t ns, struct uuid uuid)
{
    CF_BUF(name) = {0};
    cf_buf_add_str(&name, AREA_DATA);
    cf_buf_add(&name, uuid.bytes, UUID_SIZE);
    cf_buf_add_byte(&name, '/');
    return (struct key){CLASS_CLUSTER, ns, arena_copy(arena, cf_buf_slice(&name))};
}

struct first_data {
    struct uuid uuid;
    bool found;
};

static bool note_first(void *context, struct cf_slice rest)
{
    struct first_data *first = context;
    if (rest.size > UUID_SIZE) {
        memcpy(first->uuid.bytes, rest.data, UUID_SIZE);
        first->found = true;
        return false;
    }
    return true;
}

/* Data of mounts that the table does not know, whenever they went. */
static cf_status drop_data(struct txn *txn, struct arena *arena, const struct namespace *ns, bool *ret_dropped,
                           struct cf_error *err)
{
    uint8_t last[UUID_SIZE + 1];
    struct cf_slice after = CF_SLICE_EMPTY;
    for (;;) {
        struct first_data first = {.found = false};
        CF_TRY(view_walk(txn_view(txn), (struct key){CLASS_CLUSTER, ns->number, CF_SLICE(AREA_DATA)}, after,
                         note_first, &first, err));
        if (!first.found) {
            return CF_OK;
        }
        /* What was moved to another namespace is carried there (mount_move.h). */
        if (mount_after_moves(txn_view(txn)->namespaces, ns->number, first.uuid) == NULL) {
            txn_delete_prefix(txn, data_prefix(arena, ns->number, first.uuid));
            *ret_dropped = true;
        }
        memcpy(last, first.uuid.bytes, UUID_SIZE);
        last[UUID_SIZE] = '/' + 1; /* behind all of its names */
        after = cf_slice_of(last, sizeof(last));
    }
}

/* ---- leases ---- */

/* Another mount may have the path by now: what came under that one stays. */
static cf_status end_leases(struct txn *txn, struct arena *arena, const struct namespace *ns, struct cf_slice path,
                            bool *ret_more, struct cf_error *err)
{
    const struct mount *heir = mount_table_find(ns->mounts, path);
    struct cf_slice ignored;
    uint64_t since = UINT64_MAX;
    if (heir != NULL) {
        CF_TRY(view_get(txn_view(txn), mount_key(heir), arena, &ignored, &since, err));
    }
    return lease_revoke_before(txn, arena, ns->number, path, since, ret_more, err);
}

/* What lies in no mount at all: of one that came and went before anybody looked. */
static cf_status end_nobodys(struct txn *txn, struct arena *arena, const struct namespace *ns, bool *ret_more,
                             struct cf_error *err)
{
    const struct key leases = {CLASS_CLUSTER, ns->number, CF_SLICE(AREA_LEASE)};
    struct cf_slice after = CF_SLICE_EMPTY;
    struct txn_names names;
    *ret_more = false;
    for (;;) {
        CF_TRY(txn_scan(txn, leases, after, 1, &names, err));
        if (names.count == 0 || *ret_more) {
            return CF_OK;
        }
        struct cf_slice id = names.names[0], path;
        const struct mount *mount = mount_table_match(ns->mounts, id);
        if (mount != NULL) {
            path = mount->path;
        } else {
            while (id.size > 1 && id.data[id.size - 1] != '/') {
                id.size--;
            }
            path = id;
            CF_TRY(lease_revoke_before(txn, arena, ns->number, path, UINT64_MAX, ret_more, err));
        }
        /* Behind all that begins with it: it ends in a slash. */
        after = cf_slice_str(arena_printf(arena, "%.*s%c", CF_SHOW(cf_slice_first(path, path.size - 1)), '/' + 1));
    }
}

/* ---- one namespace ---- */

static cf_status clean_one(struct txn *txn, struct arena *arena, const struct namespace *ns, bool *ret_dropped,
                           struct cf_error *err)
{
    struct cf_slice seen = CF_SLICE_EMPTY, path;
    struct uuid uuid;
    bool more = false;
    CF_BUF(now) = {0};
    cf_status status = txn_get(txn, seen_key(ns->number), &seen, err);
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    encode_seen(ns->mounts, &now);
    /* A mount that comes or goes meanwhile makes this run again. */
    txn_note_read(txn, key_hash((struct key){CLASS_REPLICATED, ns->number, CF_SLICE(MOUNT_TABLE_GUARD)}));
    txn_note_read(txn, key_hash((struct key){CLASS_CLUSTER, ns->number, CF_SLICE(MOUNT_TABLE_GUARD)}));
    for (struct cf_slice rest = seen; !more && next_seen(&rest, &uuid, &path);) {
        const struct mount *mount = mount_table_by_uuid(ns->mounts, uuid);
        if (mount == NULL || !cf_slice_eq(mount->path, path)) {
            CF_TRY(end_leases(txn, arena, ns, path, &more, err));
        }
    }
    if (!more) {
        CF_TRY(end_nobodys(txn, arena, ns, &more, err));
    }
    if (more) {
        return CF_OK; /* the record stays as it is: the next round goes on */
    }
    CF_TRY(drop_data(txn, arena, ns, ret_dropped, err));
    if (status != CF_OK || !cf_slice_eq(seen, cf_buf_slice(&now))) {
        txn_put(txn, seen_key(ns->number), cf_buf_slice(&now));
    }
    return CF_OK;
}

cf_status mount_clean(struct txn *txn, struct arena *arena, struct cf_error *err)
{
    const struct view *view = txn_view(txn);
    bool dropped = false;
    if (view->role != ROLE_PERFORMANCE_SECONDARY) {
        return CF_OK; /* a primary removes what it has with the mount itself */
    }
    for (size_t i = 0; i < view->namespaces->count; i++) {
        const struct namespace *ns = view->namespaces->list[i];
        if (!ns->is_tainted) {
            CF_TRY(clean_one(txn, arena, ns, &dropped, err));
        }
    }
    if (dropped) {
        txn_put(txn, (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(MOUNTS_CLEANED)}, CF_SLICE("1"));
    }
    return CF_OK;
}
