/* node/server/forward.c: requests on their way from a standby to the active node.
 *
 *   reactor of the standby --post--> its main loop --RPC--> main loop of the active node --> worker pool:
 *   the whole frame (token, policy, handler, commit) --> back the same way; the standby answers once its
 *   own state has reached the index that came back, so that the client reads its own writes here.
 *
 * A request that was provably not sent is tried again while a leader is sought; one that may have been sent
 * is not, unless it only reads: its outcome is unknown (504). */
#include <stdio.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/envelope.h"
#include "node/server/cluster_int.h"
#include "node/server/replication.h"
#include "proto/forward.pb-c.h"
#include "proto/message.h"

#define RETRY_US ((uint64_t)50 * 1000)
#define FORMER_US ((uint64_t)2 * 1000000)
#define SEEK_LEADER_US ((uint64_t)5 * 1000000)
#define REQUEST_MAX_US ((uint64_t)90 * 1000000)

struct forwarded {
    struct node *node;
    struct request *rq;
    struct loop_timer *retry;
    uint64_t seek_until_us;
    struct index_wait wait;
    cf_status status;
};

/* ---- the standby's side ---- */

static void finish(struct forwarded *forwarded, cf_status status)
{
    struct request *rq = forwarded->rq;
    loop_timer_free(forwarded->retry);
    if (status != CF_OK && rq->error.status != status) {
        cf_fail(&rq->error, status, "%s", cf_status_text(status));
    }
    cf_free(forwarded);
    core_host_done(rq, status);
}

static void end(void *arg)
{
    struct forwarded *forwarded = arg;
    finish(forwarded, forwarded->status);
}

/* Any thread: the timer belongs to the main loop, so the end is posted there. */
static void reached(struct index_wait *wait, bool is_reached)
{
    struct forwarded *forwarded = cf_container(wait, struct forwarded, wait);
    forwarded->status = is_reached ? CF_OK : CF_UNKNOWN_OUTCOME;
    loop_post(forwarded->node->loop, end, forwarded);
}

static bool only_reads(const struct request *rq)
{
    return !rq->is_write_method && rq->operation != OPERATION_PATCH &&
           rq->operation != OPERATION_DELETE;
}

static void take_response(struct forwarded *forwarded, struct cf_slice bytes)
{
    struct request *rq = forwarded->rq;
    Coffer__Forward__Response *response;
    if (message_unpack(coffer__forward__response, bytes, rq->arena, &response, NULL) != CF_OK ||
        response->status < 200 || response->status > 599) {
        finish(forwarded, CF_UNKNOWN_OUTCOME);
        return;
    }
    rq->response = (struct response){.status = (int)response->status};
    rq->response.raw = arena_copy(rq->arena, message_slice(response->body));
    rq->response.content_type =
        response->content_type.len != 0
            ? arena_text(rq->arena, message_slice(response->content_type))
            : "application/json";
    rq->index = response->index;
    if (rq->index == 0) {
        finish(forwarded, CF_OK);
        return;
    }
    forwarded->wait = (struct index_wait){.index = rq->index, .run = reached};
    core_wait_index(forwarded->node->core, &forwarded->wait);
}

static void try_later(struct forwarded *forwarded, cf_status status)
{
    uint64_t now = loop_now_us();
    if (now > forwarded->seek_until_us || now > forwarded->rq->deadline_us) {
        finish(forwarded, status);
        return;
    }
    loop_timer_set(forwarded->retry, now + RETRY_US);
}

static void answered(void *arg, const struct rpc_result *result)
{
    struct forwarded *forwarded = arg;
    if (result->status == CF_OK) {
        take_response(forwarded, result->response);
        return;
    }
    bool untouched = result->status == CF_UNAVAILABLE || result->status == CF_NOT_LEADER ||
                     result->status == CF_BUSY || (result->status == CF_TIMEOUT && !result->sent);
    if (untouched || only_reads(forwarded->rq)) {
        try_later(forwarded, CF_UNAVAILABLE);
        return;
    }
    finish(forwarded, result->status == CF_TIMEOUT ? CF_UNKNOWN_OUTCOME : result->status);
}

static void pack_request(const struct request *rq, struct cf_buf *to)
{
    Coffer__Forward__Request message = COFFER__FORWARD__REQUEST__INIT;
    CF_BUF(query) = {.secret = true};
    if (rq->query != NULL) {
        json_write(&query, rq->query);
    }
    message.id = message_bytes(cf_slice_str(rq->id));
    message.operation = (uint32_t)rq->operation;
    message.path = message_bytes(rq->path);
    message.token = message_bytes(rq->token);
    message.token_is_malformed = rq->token_is_malformed;
    message.body = message_bytes(rq->raw_body);
    message.query = message_bytes(cf_buf_slice(&query));
    message.wrap_ttl_s = rq->wrap_ttl_s;
    message.remote_address = message_bytes(rq->remote_address);
    message.remote_port = rq->remote_port;
    message.peer_certificate = message_bytes(rq->peer_certificate);
    message.ns = rq->ns;
    message_pack(&message.base, to);
}

static void send_on(void *arg)
{
    struct forwarded *forwarded = arg;
    struct node *node = forwarded->node;
    struct rpc_client *client = node->cluster->forward_client;
    if (client == NULL) {
        try_later(forwarded, CF_UNAVAILABLE);
        return;
    }
    struct cf_buf bytes;
    cf_buf_init_secret(&bytes, 0);
    pack_request(forwarded->rq, &bytes);
    enum rpc_traffic traffic = bytes.size > 256 * 1024 ? RPC_BULK : RPC_LATENCY;
    cf_status status =
        rpc_client_call(client, traffic, RPC_FORWARD, cf_buf_slice(&bytes),
                        forwarded->rq->deadline_us, answered, forwarded, NULL,
                        &forwarded->rq->error);
    cf_buf_done(&bytes);
    if (status == CF_TOO_LARGE) {
        finish(forwarded, status);
    } else if (status != CF_OK) {
        try_later(forwarded, CF_UNAVAILABLE);
    }
}

static void start(void *arg)
{
    struct forwarded *forwarded = arg;
    forwarded->retry = loop_timer_new(forwarded->node->loop, send_on, forwarded);
    send_on(forwarded);
}

void cluster_forward(void *context, struct request *rq, bool to_primary)
{
    struct node *node = context;
    if (to_primary) {
        node_replication_forward(node, rq);
        return;
    }
    struct forwarded *forwarded = cf_new(struct forwarded);
    forwarded->node = node;
    forwarded->rq = rq;
    forwarded->seek_until_us = loop_now_us() + SEEK_LEADER_US;
    loop_post(node->loop, start, forwarded);
}

/* ---- the active node's side ---- */

struct serving {
    struct node *node;
    struct rpc_call *call;
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
    bool not_here = rq->error.status == CF_NOT_LEADER ||
                    (rq->error.status == CF_UNAVAILABLE && !lacks_primary(serving));
    if (not_here) {
        rpc_fail(serving->call, &rq->error);
    } else {
        message_pack(&message.base, &bytes);
        rpc_reply(serving->call, cf_buf_slice(&bytes));
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
    rq->raw_body = message_slice(message->body);
    rq->wrap_ttl_s = message->wrap_ttl_s;
    rq->remote_address = message_slice(message->remote_address);
    rq->remote_port = (uint16_t)message->remote_port;
    rq->peer_certificate = message_slice(message->peer_certificate);
    rq->ns = message->ns;
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
    core_submit(serving->node->core, &serving->rq);
}

static void handle(void *ctx, struct rpc_link *link, struct cf_slice request, struct rpc_call *call)
{
    struct cluster *cluster = ctx;
    struct node *node = cluster->node;
    struct cf_error err = {0};
    (void)link;
    if (call == NULL) {
        return;
    }
    if (!raft_driver_is_leader(node->driver)) {
        cf_fail(&err, CF_NOT_LEADER, "this node is not the active one");
        rpc_fail(call, &err);
        return;
    }
    struct serving *serving = cf_new(struct serving);
    serving->node = node;
    serving->call = call;
    serving->rq.arena = arena_new(8192);
    serving->rq.random = core_random();
    serving->rq.post = on_worker;
    serving->rq.done = served;
    serving->rq.transport = serving;
    serving->rq.is_forwarded = true;
    uint64_t deadline = rpc_call_deadline(call);
    serving->rq.deadline_us = deadline != 0 ? deadline : loop_now_us() + REQUEST_MAX_US;
    if (unpack(serving, request, &err) != CF_OK) {
        rpc_fail(call, &err);
        arena_free(serving->rq.arena);
        cf_free(serving);
        return;
    }
    core_work(node->core, submit, serving);
}

/* ---- connections ---- */

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

static void leader_up(void *ctx, struct rpc_link *link)
{
    (void)link;
    cluster_refresh_leader(ctx);
}

static void former_over(void *arg)
{
    struct cluster *cluster = arg;
    rpc_client_free(cluster->former_client);
    cluster->former_client = NULL;
}

/* The node that led until now has requests of ours, and knows best what became of them: it answers them in
 * a moment when it handed leadership over, and its connection breaks when it died. */
static void keep_former(struct cluster *cluster)
{
    rpc_client_free(cluster->former_client);
    cluster->former_client = cluster->forward_client;
    cluster->forward_client = NULL;
    if (cluster->former_timer == NULL) {
        cluster->former_timer = loop_timer_new(cluster->node->loop, former_over, cluster);
    }
    loop_timer_set_in(cluster->former_timer, FORMER_US);
}

void forward_follow(struct cluster *cluster, uint64_t leader, const char *address)
{
    struct cf_error err = {0};
    struct cf_slice to = cf_slice_str(address);
    if (cluster->forward_leader == leader && cluster->forward_client != NULL) {
        return;
    }
    if (cluster->forward_client != NULL) {
        keep_former(cluster);
    }
    cluster->forward_leader = leader;
    if (leader == 0 || address[0] == '\0' || cluster->tls == NULL ||
        leader == raft_store_identity(cluster->node->store).node_id) {
        return;
    }
    struct rpc_client_config config = {.alpn = TLS_ALPN_FORWARD,
                                       .who = RPC_BY_FORWARD,
                                       .tls = cluster->tls,
                                       .traffic = 1u << RPC_LATENCY | 1u << RPC_BULK,
                                       .up = leader_up,
                                       .ctx = cluster};
    (void)snprintf(config.expect.role, sizeof(config.expect.role), "%s", IDENTITY_NODE);
    cluster_id_text(leader, config.expect.id);
    if (rpc_client_new(cluster->rpc, &config, &to, 1, &cluster->forward_client, &err) != CF_OK) {
        cf_err("server", "cannot forward to the active node at %s: %s", address, err.message);
    }
}

/* ---- node routes: sent to the active node's API ---- */

void cluster_forward_exchange(struct node *node, struct http_exchange *x, struct request *rq)
{
    struct cluster_peer leader;
    if (!cluster_leader(node, rq->arena, &leader) || leader.api_addr.size == 0) {
        http_respond_error(x, 503, "no active node, try again");
        return;
    }
    struct http_header_out location = {
        CF_SLICE("Location"),
        cf_slice_str(arena_printf(rq->arena, "%.*s/v1/%.*s", CF_SHOW(leader.api_addr),
                                  CF_SHOW(rq->path)))};
    struct http_headers_out headers = {.list = &location, .count = 1};
    http_respond(x, 307, &headers, CF_SLICE_EMPTY);
}
