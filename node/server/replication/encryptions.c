/* node/server/replication/encryptions.c: how often the shared keys were used, summed on the primary (design 3.5).
 *
 *   secondary: counts what its active node did  --every few seconds, the difference-->  any node of the primary
 *   primary's active node: adds it to its own count, which is reserved and rotates like ever (rotation.h)
 *
 * What was not answered is said again, and what a crash may have forgotten is taken from a reserved block: the sum may
 * be too high, never too low. */
#include <stdio.h>

#include "consensus/driver/driver.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/server/cluster.h"
#include "node/server/replication/repl_int.h"
#include "node/server/rotation.h"
#include "proto/message.h"
#include "proto/repl.pb-c.h"

#define TELL_US ((uint64_t)5 * 1000000)
#define CALL_US ((uint64_t)10 * 1000000)
#define REFUSED_US ((uint64_t)60 * 1000000)

/* ---- the primary ---- */

static cf_status add(struct node *node, const Coffer__Repl__Encrypted *message, struct cf_error *err)
{
    struct key_id id;
    struct view *view = core_view(node->core);
    cf_status status;
    if (message->key_id.len != sizeof(id.bytes)) {
        status = cf_fail(err, CF_INVALID, "a malformed count of encryptions");
    } else if (view == NULL || view->keyring == NULL) {
        status = cf_fail(err, CF_SEALED, "Vault is sealed");
    } else {
        memcpy(id.bytes, message->key_id.data, sizeof(id.bytes));
        /* More than a key is good for says nothing more, and must not make the count run over. */
        status = keyring_count_more(view->keyring, id,
                                    cf_min(message->count, (uint64_t)ROTATION_OPERATIONS_MAX), err);
    }
    view_unref(view);
    return status;
}

static cf_status serve(struct node *node, const struct rpc_peer *peer, struct cf_slice request,
                       struct rpc_call *call, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(512);
    Coffer__Repl__Encrypted *message;
    bool is_ours = strcmp(peer->alpn, TLS_ALPN_FORWARD) == 0;
    CF_TRY(message_unpack(coffer__repl__encrypted, request, arena, &message, err));
    if (!is_ours && strcmp(peer->identity.role, IDENTITY_SECONDARY) != 0) {
        return cf_fail(err, CF_DENIED, "not the certificate of a secondary");
    }
    if (!raft_driver_is_leader(node->driver)) {
        return is_ours ? cf_fail(err, CF_NOT_LEADER, "this node is not the active one")
                       : repl_hand_on(node, RPC_REPL_ENCRYPTED, request, call, err);
    }
    CF_TRY(add(node, message, err));
    rpc_reply(call, CF_SLICE_EMPTY);
    return CF_OK;
}

static void on_encrypted(void *ctx, struct rpc_link *link, struct cf_slice request, struct rpc_call *call)
{
    struct node_replication *replication = ctx;
    struct cf_error err = {0};
    if (call != NULL && serve(replication->node, rpc_link_peer(link), request, call, &err) != CF_OK) {
        rpc_fail(call, &err);
    }
}

/* ---- the secondary ---- */

static void answered(void *arg, const struct rpc_result *result)
{
    struct repl_encryptions *own = arg;
    own->asked = NULL;
    if (result->status == CF_OK) {
        uint64_t carried = cf_min(own->carried, own->asking);
        own->carried -= carried;
        own->told += own->asking - carried;
    } else {
        cf_debug("replication", "encryptions were not told to the primary, trying again: %s", result->err->message);
    }
    own->next_us = loop_now_us() + (result->status == CF_OK ? TELL_US : REFUSED_US);
}

/* Encryptions of the key in use that the primary does not know of. */
static uint64_t untold(struct repl_encryptions *own, const struct view *view)
{
    struct keyring_info active = keyring_active(view->keyring);
    struct cf_error err;
    bool is_other = memcmp(&active.id, &own->key, sizeof(own->key)) != 0;
    if (!own->is_active || is_other) {
        /* Another node may have been the active one, or this one before it was started anew. */
        if (rotation_read_untold(view, active.id, &own->carried, &err) != CF_OK) {
            cf_warn("replication", "what was reserved of encryptions cannot be read: %s", err.message);
            return 0;
        }
        own->key = active.id;
        own->told = is_other ? 0 : own->told;
        own->is_active = true;
    }
    own->told = active.here < own->told ? 0 : own->told; /* the keyring was loaded anew */
    return own->carried + active.here - own->told;
}

static void tell(struct repl_encryptions *own, struct rpc_link *link, uint64_t count)
{
    Coffer__Repl__Encrypted message = COFFER__REPL__ENCRYPTED__INIT;
    CF_BUF(bytes) = {0};
    message.key_id = message_bytes(cf_slice_of(own->key.bytes, sizeof(own->key.bytes)));
    message.count = own->asking = count;
    message_pack(&message.base, &bytes);
    cf_ignore(rpc_link_call(link, RPC_REPL_ENCRYPTED, cf_buf_slice(&bytes), loop_now_us() + CALL_US, answered,
                            own, &own->asked, NULL),
              "tried again with the next tick");
}

void repl_encryptions_tick(struct node_replication *replication)
{
    struct repl_encryptions *own = &replication->encryptions;
    struct repl_secondary *secondary = replication->sides[REPL_PERFORMANCE].secondary;
    struct view *view = secondary != NULL ? core_view(replication->node->core) : NULL;
    if (view == NULL || view->keyring == NULL || view->role != ROLE_PERFORMANCE_SECONDARY) {
        own->is_active = false;
        atomic_store(&own->untold, 0);
        view_unref(view);
        return;
    }
    uint64_t count = untold(own, view);
    struct rpc_link *link = repl_secondary_link(secondary);
    atomic_store(&own->untold, count);
    if (link != NULL && count != 0 && own->asked == NULL && loop_now_us() >= own->next_us) {
        tell(own, link, count);
    }
    view_unref(view);
}

void repl_encryptions_forget(struct node_replication *replication)
{
    struct repl_encryptions *own = &replication->encryptions;
    if (own->asked != NULL) {
        rpc_cancel(own->asked);
        own->asked = NULL;
    }
    own->next_us = 0;
}

uint64_t node_replication_untold(struct node *node)
{
    return node->replication != NULL ? atomic_load(&node->replication->encryptions.untold) : 0;
}

void repl_encryptions_start(struct node_replication *replication)
{
    rpc_handle(cluster_rpc(replication->node), RPC_REPL_ENCRYPTED, on_encrypted, replication);
}

void repl_encryptions_stop(struct node_replication *replication)
{
    rpc_handle(cluster_rpc(replication->node), RPC_REPL_ENCRYPTED, NULL, NULL);
    repl_encryptions_forget(replication);
}
