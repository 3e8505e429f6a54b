/* node/server/forward_serve.c: requests of standbys, on the active node.
 *
 * A worker takes each through the whole frame; the answer goes back from the main loop. */
#include "node/base/level.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/envelope.h"
#include "node/server/cluster_int.h"
#include "node/server/carried.h"
#include "node/server/once.h"
#include "proto/forward.pb-c.h"
#include "proto/message.h"

#define REQUEST_MAX_US ((uint64_t)90 * 1000000)

struct serving {
    struct node *node;
    struct rpc_call *call; /* NULL: it is of this very node, which came to lead meanwhile */
    rpc_done_fn done;
    void *arg;
    struct request rq;
};

static void on_worker(struct request *rq, void (*run)(void *), void *arg)
{
    core_work(rq->core, run, arg);
}

/* Trying again soon would not help the standby's client: it is the primary that is away, not this node. */
static bool lacks_primary(const struct serving *serving)
{
    struct view *view = core_view(serving->node->core);
    bool lacks = view != NULL && view->role == ROLE_PERFORMANCE_SECONDARY &&
                 serving->rq.error.status == CF_UNAVAILABLE &&
                 raft_driver_is_leader(serving->node->driver);
    view_unref(view);
    return lacks;
}

static void give(struct serving *serving, cf_status status, struct cf_slice bytes)
{
    if (serving->call == NULL) {
        struct rpc_result result = {status, status != CF_OK, &serving->rq.error, bytes,
                                    cf_feature_level()};
        serving->done(serving->arg, &result);
    } else if (status != CF_OK) {
        rpc_fail(serving->call, &serving->rq.error);
    } else {
        rpc_reply(serving->call, bytes);
    }
}

/* What whoever asked should ask again: it was not run, or nobody knows yet whether it was (leadership was lost
 * after the append) and its id will tell. */
static bool ask_again(const struct serving *serving)
{
    const struct request *rq = &serving->rq;
    return rq->error.status == CF_NOT_LEADER ||
           (rq->error.status == CF_UNAVAILABLE && !lacks_primary(serving)) ||
           (rq->error.status == CF_UNKNOWN_OUTCOME && rq->once.is_present && !rq->once.is_final);
}

static void reply(void *arg)
{
    struct serving *serving = arg;
    struct request *rq = &serving->rq;
    struct cf_buf body, bytes;
    cf_buf_init_secret(&body, 0);
    cf_buf_init_secret(&bytes, 0);
    Coffer__Forward__Response message = COFFER__FORWARD__RESPONSE__INIT;
    message.status = (uint32_t)envelope_status(rq);
    envelope_body(rq, &body);
    message.body = message_bytes(cf_buf_slice(&body));
    if (rq->response.content_type != NULL) {
        message.content_type = message_bytes(cf_slice_str(rq->response.content_type));
    }
    message.index = rq->index;
    message.regroup = rq->once.regroup;
    message.no_records = rq->once.no_records;
    if (rq->once.regroup == 0 && !rq->once.no_records && ask_again(serving)) {
        give(serving, rq->error.status, CF_SLICE_EMPTY);
    } else {
        message_pack(&message.base, &bytes);
        give(serving, CF_OK, cf_buf_slice(&bytes));
    }
    cf_buf_done(&body);
    cf_buf_done(&bytes);
    arena_free(rq->arena);
    cf_free(serving);
}

static void served(struct request *rq)
{
    struct serving *serving = rq->transport;
    loop_post(serving->node->loop, reply, serving);
}

static cf_status unpack(struct serving *serving, struct cf_slice bytes, struct cf_error *err)
{
    struct request *rq = &serving->rq;
    Coffer__Forward__Request *message;
    CF_TRY(message_unpack(coffer__forward__request, bytes, rq->arena, &message, err));
    if (message->operation >= OPERATION_COUNT) {
        return cf_fail(err, CF_INVALID, "malformed forwarded request");
    }
    struct cf_slice id = cf_slice_first(message_slice(message->id), sizeof(rq->id) - 1);
    memcpy(rq->id, id.data, id.size);
    rq->operation = (enum operation)message->operation;
    rq->path = message_slice(message->path);
    rq->token = message_slice(message->token);
    rq->token_is_malformed = message->token_is_malformed;
    rq->ceremonies_are_open = message->ceremonies_are_open;
    rq->raw_body = message_slice(message->body);
    rq->wrap_ttl_s = message->wrap_ttl_s;
    rq->remote_address = message_slice(message->remote_address);
    rq->remote_port = (uint16_t)message->remote_port;
    rq->peer_certificate = message_slice(message->peer_certificate);
    rq->ns_header_size = message->ns_header_size;
    CF_TRY(carried_unpack(message, rq, err));
    CF_TRY(once_unpack(message, &rq->once, err));
    if (message->query.len != 0) {
        CF_TRY(json_parse(rq->arena, message_slice(message->query), NULL, &rq->query, err));
    }
    bool writes = rq->operation == OPERATION_CREATE || rq->operation == OPERATION_UPDATE ||
                  rq->operation == OPERATION_PATCH;
    if (writes && rq->raw_body.size != 0 && rq->raw_body.data[0] == '{') {
        CF_TRY(json_parse(rq->arena, rq->raw_body, NULL, &rq->body, err));
    }
    return CF_OK;
}

static void submit(void *arg)
{
    struct serving *serving = arg;
    if (!once_admits(serving->node, &serving->rq)) {
        served(&serving->rq);
        return;
    }
    core_submit(serving->node->core, &serving->rq);
}

static void begin(struct node *node, struct cf_slice bytes, uint64_t deadline_us,
                  const struct serving *to)
{
    struct serving *serving = cf_new(struct serving);
    *serving = *to;
    serving->node = node;
    serving->rq.arena = arena_new(8192);
    serving->rq.forwarded_from = arena_copy(serving->rq.arena, to->rq.forwarded_from);
    serving->rq.random = core_random();
    serving->rq.post = on_worker;
    serving->rq.done = served;
    serving->rq.transport = serving;
    serving->rq.is_forwarded = true;
    serving->rq.deadline_us = deadline_us != 0 ? deadline_us : loop_now_us() + REQUEST_MAX_US;
    cf_status status = unpack(serving, bytes, &serving->rq.error);
    if (status != CF_OK) {
        give(serving, status, CF_SLICE_EMPTY);
        arena_free(serving->rq.arena);
        cf_free(serving);
        return;
    }
    core_work(node->core, submit, serving);
}

void forward_here(struct node *node, struct cf_slice request, uint64_t deadline_us, rpc_done_fn done,
                  void *arg)
{
    struct serving to = {.done = done, .arg = arg};
    begin(node, request, deadline_us, &to);
}

static void handle(void *ctx, struct rpc_link *link, struct cf_slice request, struct rpc_call *call)
{
    struct cluster *cluster = ctx;
    struct node *node = cluster->node;
    struct cf_error err = {0};
    if (call == NULL) {
        return;
    }
    if (!raft_driver_is_leader(node->driver)) {
        cf_fail(&err, CF_NOT_LEADER, "this node is not the active one");
        rpc_fail(call, &err);
        return;
    }
    struct serving to = {.call = call};
    to.rq.forwarded_from = cf_slice_str(rpc_link_peer(link)->identity.id);
    begin(node, request, rpc_call_deadline(call), &to);
}

static cf_status authorise(void *ctx, const struct rpc_peer *peer, struct cf_error *err)
{
    struct cluster *cluster = ctx;
    struct node *node = cluster->node;
    char own[37];
    uint64_t id;
    node_cluster_id(node, own);
    if (strcmp(peer->identity.cluster, own) != 0 ||
        strcmp(peer->identity.role, IDENTITY_NODE) != 0 ||
        !cluster_id_parse(peer->identity.id, &id)) {
        return cf_fail(err, CF_DENIED, "the certificate is not one of a node of this cluster");
    }
    return CF_OK;
}

void forward_serve(struct cluster *cluster)
{
    struct cf_error err = {0};
    struct rpc_serving serving = {.alpn = TLS_ALPN_FORWARD,
                                  .who = RPC_BY_FORWARD,
                                  .tls = cluster->tls,
                                  .authorise = authorise,
                                  .ctx = cluster};
    rpc_handle(cluster->rpc, RPC_FORWARD, handle, cluster);
    if (rpc_serve(cluster->rpc, &serving, &err) != CF_OK) {
        cf_err("server", "requests of standbys are not served: %s", err.message);
    }
}
