/* node/server/forward.c: requests on their way from a standby to the active node.
 *
 *   reactor of the standby --post--> its main loop --RPC--> main loop of the active node (forward_serve.c) -->
 *   worker pool: the whole frame (token, policy, handler, commit) --> back the same way; the standby answers
 *   once its own state has reached the index that came back, so that the client reads its own writes here.
 *
 * A request carries an id (node/core/once.h), so that one whose answer did not come is sent again, to whoever
 * leads by then, and has one effect at most. What has no id and may have been sent is not sent again (504),
 * unless it only reads. */
#include <stdio.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/server/cluster_int.h"
#include "node/server/carried.h"
#include "node/server/once.h"
#include "node/server/replication.h"
#include "proto/forward.pb-c.h"
#include "proto/message.h"

#define RETRY_US ((uint64_t)50 * 1000)
#define FORMER_US ((uint64_t)2 * 1000000)
#define SEEK_LEADER_US ((uint64_t)5 * 1000000)

struct forwarded {
    struct node *node;
    struct request *rq;
    struct loop_timer *retry;
    uint64_t seek_until_us, outcome_until_us;
    unsigned regroups;
    struct index_wait wait;
    cf_status status;
};

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

/* By its method and by its route: a read that makes credentials is none. */
static bool only_reads(const struct request *rq)
{
    bool writes = rq->route != NULL && (rq->route->flags & (ROUTE_WRITE | ROUTE_HOST)) != 0;
    return !writes && !rq->is_write_method && rq->operation != OPERATION_PATCH &&
           rq->operation != OPERATION_DELETE;
}

/* What comes back may have ended the wait for a leader: a client is not kept waiting for longer than it would
 * wait itself. */
static void failed(struct forwarded *forwarded, cf_status status, bool sent)
{
    struct request *rq = forwarded->rq;
    switch (once_failed(&rq->once, status, sent, only_reads(rq), loop_now_us(),
                        forwarded->seek_until_us, forwarded->outcome_until_us)) {
    case ONCE_TRY_AGAIN:
        loop_timer_set(forwarded->retry, loop_now_us() + RETRY_US);
        return;
    case ONCE_UNTOUCHED:
        finish(forwarded, CF_UNAVAILABLE);
        return;
    case ONCE_UNKNOWN:
        finish(forwarded, CF_UNKNOWN_OUTCOME);
        return;
    case ONCE_REFUSED:
        finish(forwarded, status);
        return;
    }
}

static void take_response(struct forwarded *forwarded, struct cf_slice bytes)
{
    struct request *rq = forwarded->rq;
    Coffer__Forward__Response *response;
    if (message_unpack(coffer__forward__response, bytes, rq->arena, &response, NULL) != CF_OK) {
        failed(forwarded, CF_UNKNOWN_OUTCOME, true);
        return;
    }
    if (response->regroup != 0) {
        if (once_regroup(&rq->once, response->regroup, &forwarded->regroups)) {
            loop_timer_set(forwarded->retry, loop_now_us());
        } else {
            finish(forwarded, rq->once.tries > 1 ? CF_UNKNOWN_OUTCOME : CF_UNAVAILABLE);
        }
        return;
    }
    if (response->no_records) {
        if (once_withdraw(&rq->once)) {
            loop_timer_set(forwarded->retry, loop_now_us());
        } else {
            finish(forwarded, CF_UNKNOWN_OUTCOME);
        }
        return;
    }
    if (response->status < 200 || response->status > 599) {
        failed(forwarded, CF_UNKNOWN_OUTCOME, true);
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

static void answered(void *arg, const struct rpc_result *result)
{
    struct forwarded *forwarded = arg;
    if (result->status == CF_OK) {
        take_response(forwarded, result->response);
        return;
    }
    if (result->status != CF_UNAVAILABLE && result->status != CF_NOT_LEADER) {
        forwarded->rq->error = *result->err; /* should it be the last word */
    }
    failed(forwarded, result->status, result->sent);
}

static void pack_request(struct request *rq, struct cf_buf *to)
{
    Coffer__Forward__Request message = COFFER__FORWARD__REQUEST__INIT;
    CF_BUF(query) = {.secret = true};
    if (rq->query != NULL) {
        json_write(&query, rq->query);
    }
    message.id = message_bytes(cf_slice_str(rq->id));
    message.operation = (uint32_t)rq->operation;
    message.path = message_bytes(rq->full_path);
    message.token = message_bytes(rq->token);
    message.token_is_malformed = rq->token_is_malformed;
    message.ceremonies_are_open = rq->ceremonies_are_open;
    message.body = message_bytes(rq->raw_body);
    message.query = message_bytes(cf_buf_slice(&query));
    message.wrap_ttl_s = rq->wrap_ttl_s;
    message.remote_address = message_bytes(rq->remote_address);
    message.remote_port = rq->remote_port;
    message.peer_certificate = message_bytes(rq->peer_certificate);
    message.ns_header_size = (uint32_t)rq->ns_header_size;
    carried_pack(rq, &message);
    once_pack(&rq->once, &message);
    message_pack(&message.base, to);
}

static void send_on(void *arg)
{
    struct forwarded *forwarded = arg;
    struct node *node = forwarded->node;
    struct request *rq = forwarded->rq;
    struct rpc_client *client = node->cluster->forward_client;
    struct cf_buf bytes;
    if (raft_driver_is_leader(node->driver)) {
        cf_buf_init_secret(&bytes, 0);
        pack_request(rq, &bytes);
        forward_here(node, cf_buf_slice(&bytes), rq->deadline_us, answered, forwarded);
        cf_buf_done(&bytes);
        return;
    }
    if (client == NULL) {
        failed(forwarded, CF_UNAVAILABLE, false);
        return;
    }
    cf_buf_init_secret(&bytes, 0);
    pack_request(rq, &bytes);
    enum rpc_traffic traffic = bytes.size > 256 * 1024 ? RPC_BULK : RPC_LATENCY;
    cf_status status = rpc_client_call(client, traffic, RPC_FORWARD, cf_buf_slice(&bytes),
                                       rq->deadline_us, answered, forwarded, NULL, &rq->error);
    cf_buf_done(&bytes);
    if (status != CF_OK) { /* not queued */
        failed(forwarded, status == CF_TOO_LARGE ? status : CF_UNAVAILABLE, false);
    }
}

static void start(void *arg)
{
    struct forwarded *forwarded = arg;
    forwarded->retry = loop_timer_new(forwarded->node->loop, send_on, forwarded);
    send_on(forwarded);
}

/* X-Vault-No-Request-Forwarding: the client goes there itself. */
static void redirect(struct node *node, struct request *rq)
{
    struct cluster_peer leader;
    if (!cluster_leader(node, rq->arena, &leader) || leader.api_addr.size == 0) {
        core_host_done(rq, cf_fail(&rq->error, CF_UNAVAILABLE, "no active node, try again"));
        return;
    }
    rq->response.status = 307;
    rq->response.location = arena_printf(rq->arena, "%.*s/v1/%.*s%s%.*s", CF_SHOW(leader.api_addr),
                                         CF_SHOW(cf_slice_from(rq->full_path, rq->ns_header_size)),
                                         rq->redirect_query.size != 0 ? "?" : "", CF_SHOW(rq->redirect_query));
    core_host_done(rq, CF_OK);
}

void cluster_forward(void *context, struct request *rq, bool to_primary)
{
    struct node *node = context;
    if (rq->redirects && !to_primary) {
        redirect(node, rq);
        return;
    }
    once_begin(node, rq, to_primary);
    if (to_primary) {
        node_replication_forward(node, rq);
        return;
    }
    struct forwarded *forwarded = cf_new(struct forwarded);
    uint64_t now = loop_now_us();
    forwarded->node = node;
    forwarded->rq = rq;
    forwarded->seek_until_us = cf_min(now + SEEK_LEADER_US, rq->deadline_us);
    forwarded->outcome_until_us = cf_min(now + ONCE_OUTCOME_US, rq->deadline_us);
    loop_post(node->loop, start, forwarded);
}

/* ---- connections ---- */

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

cf_status forward_set_tls(struct cluster *cluster, struct cf_error *err)
{
    struct rpc_client *clients[] = {cluster->forward_client, cluster->former_client};
    for (size_t i = 0; i < CF_LENGTH(clients); i++) {
        if (clients[i] != NULL) {
            CF_TRY(rpc_client_set_tls(clients[i], cluster->tls, err));
        }
    }
    forward_serve(cluster);
    return CF_OK;
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
                                  CF_SHOW(cf_slice_from(rq->path, rq->ns_header_size))))};
    struct http_headers_out headers = {.list = &location, .count = 1};
    http_respond(x, 307, &headers, CF_SLICE_EMPTY);
}
