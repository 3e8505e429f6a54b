/* node/server/once.c: ids of forwarded requests. */
#include "node/server/once.h"

#include "node/base/level.h"
#include "node/base/memory.h"
#include "node/core/engine.h"
#include "node/core/token.h"
#include "proto/message.h"

void once_begin(struct node *node, struct request *rq, bool to_primary)
{
    struct once *once = &rq->once;
    bool acts_on_node = rq->route != NULL && (rq->route->flags & ROUTE_HOST) != 0;
    bool spends_apart = rq->view->role == ROLE_PERFORMANCE_SECONDARY && rq->caller != NULL &&
                        rq->caller->num_uses > 0;
    /* What the primary keeps, only the primary can say. */
    bool keeps = to_primary || raft_driver_level(node->driver) >= LEVEL_REQUEST_RECORDS;
    if (once->is_present || acts_on_node || spends_apart || !keeps) {
        return;
    }
    struct raft_identity identity = raft_store_identity(node->store);
    uint64_t sequence = atomic_fetch_add_explicit(&node->once_sequence, 1, memory_order_relaxed);
    memcpy(once->id, identity.cluster_id, 16);
    cf_put_u64(once->id + 16, identity.node_id);
    cf_put_u64(once->id + 24, node->incarnation);
    cf_put_u64(once->id + 32, sequence);
    cf_random_fill(core_random(), once->key, sizeof(once->key));
    once->group = once_group(view_now_ns(rq->view));
    once->tries = 1;
    once->is_present = true;
    once->is_own = true;
}

bool once_admits(struct node *node, struct request *rq)
{
    rq->once.no_records =
        rq->once.is_present && raft_driver_level(node->driver) < LEVEL_REQUEST_RECORDS;
    if (rq->once.no_records) {
        cf_fail(&rq->error, CF_UNAVAILABLE, "the nodes of this cluster are being upgraded, try again");
    }
    return !rq->once.no_records;
}

void once_pack(struct once *once, Coffer__Forward__Request *to)
{
    if (once->is_present) {
        to->once_id = message_bytes(cf_slice_of(once->id, sizeof(once->id)));
        to->once_key = message_bytes(cf_slice_of(once->key, sizeof(once->key)));
        to->once_group = once->group;
        to->once_tries = once->tries;
    }
}

cf_status once_unpack(const Coffer__Forward__Request *from, struct once *ret, struct cf_error *err)
{
    *ret = (struct once){0};
    if (from->once_id.len == 0) {
        return CF_OK;
    }
    if (from->once_id.len != sizeof(ret->id) || from->once_key.len != sizeof(ret->key) ||
        from->once_tries == 0) {
        return cf_fail(err, CF_INVALID, "malformed id of a forwarded request");
    }
    memcpy(ret->id, from->once_id.data, sizeof(ret->id));
    memcpy(ret->key, from->once_key.data, sizeof(ret->key));
    ret->group = from->once_group;
    ret->tries = from->once_tries;
    ret->is_present = true;
    return CF_OK;
}
