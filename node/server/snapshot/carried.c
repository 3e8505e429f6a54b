/* node/server/snapshot/carried.c: own records that a forced restore put aside.
 *
 * A snapshot that came with its own seal took the keys away that this cluster's CA was sealed by. It
 * stands in a box for a key that the snapshot's root key yields; whoever unseals takes it up again. */
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/crypto/box.h"
#include "node/server/seal.h"
#include "node/server/snapshot/snapshot.h"

static cf_status put_back(struct request *rq, struct cf_slice carried, struct cf_error *err)
{
    while (carried.size != 0) {
        if (carried.size < 8) {
            return cf_fail(err, CF_CORRUPT, "records that were put aside are malformed");
        }
        size_t name_size = cf_get_u32(carried.data), size = cf_get_u32(carried.data + 4);
        carried = cf_slice_from(carried, 8);
        struct cf_slice name = cf_slice_first(carried, name_size);
        if (name_size > carried.size || size > carried.size - name_size ||
            !cf_slice_starts(name, CF_SLICE(AREA_CLUSTER))) {
            return cf_fail(err, CF_CORRUPT, "records that were put aside are malformed");
        }
        txn_put(rq->txn, (struct key){CLASS_OWN, NAMESPACE_ROOT, name},
                cf_slice_first(cf_slice_from(carried, name_size), size));
        carried = cf_slice_from(carried, name_size + size);
    }
    return CF_OK;
}

static cf_status run(struct request *rq, void *context, struct cf_error *err)
{
    struct node *node = context;
    CF_OWNED(secret) root_key = NULL;
    CF_OWNED(secret) box_key = NULL;
    CF_BUF(plain) = {.secret = true};
    uint8_t unused[BOX_PUBLIC_SIZE];
    struct cf_slice box, wrapped;
    CF_OWNED(keyring) keyring = NULL;
    cf_status status = view_get_raw(rq->view, SNAPSHOT_CARRIED_KEY, rq->arena, &box, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    CF_TRY(seal_root_key(node, &root_key, err));
    CF_TRY(view_get_raw(rq->view, SEAL_KEY_KEYRING, rq->arena, &wrapped, err));
    if (seal_unwrap_keyring(secret_slice(root_key), wrapped, &keyring, NULL) != CF_OK) {
        return CF_OK; /* still the keys from before: this node is about to seal itself */
    }
    CF_TRY(snapshot_box_key(root_key, &box_key, unused, err));
    CF_TRY(box_open(secret_slice(box_key), box, CF_SLICE("coffer carried"), &plain, err));
    CF_TRY(put_back(rq, cf_buf_slice(&plain), err));
    txn_delete(rq->txn, SNAPSHOT_CARRIED_KEY);
    return CF_OK;
}

static void done(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    (void)context;
    if (status == CF_OK && index != 0) {
        cf_info("snapshot", "the cluster's own records are back under the snapshot's seal");
    } else if (status == CF_SEALED || status == CF_NOT_LEADER) {
        return; /* whoever leads unsealed does it */
    } else if (status != CF_OK) {
        cf_err("snapshot", "records that a restore put aside were not taken up again: %s",
               err->message);
    }
}

void snapshot_take_carried(struct node *node)
{
    if (node->driver == NULL || !raft_driver_is_leader(node->driver) ||
        atomic_load(&node->is_sealed)) {
        return;
    }
    CF_OWNED(arena) arena = arena_new(512);
    struct cf_slice unused;
    struct view *view = core_view(node->core);
    bool is_there =
        view != NULL && view_get_raw(view, SNAPSHOT_CARRIED_KEY, arena, &unused, NULL) == CF_OK;
    view_unref(view);
    if (is_there) {
        struct system_work work = {run, done, node};
        system_submit(node->core, &work);
    }
}
