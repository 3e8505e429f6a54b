/* node/server/renewal.c: see renewal.h. */
#include "node/server/renewal.h"

#include <stdio.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/crypto/x509.h"
#include "node/server/cluster_int.h"
#include "proto/forward.pb-c.h"
#include "proto/message.h"

#define CHECK_US ((uint64_t)1000 * 1000)
#define CALL_US ((uint64_t)10 * 1000 * 1000)
#define RETRY_MIN_S 1
#define RETRY_MAX_S 600
#define CSR_MAX ((size_t)16384)

#define REMOVED_TEXT                                                                               \
    "this node was removed from its cluster: stop it, remove its data directory, and start it with " \
    "retry_join to come back as a new member"
#define SUPERSEDED_TEXT                                                                            \
    "the cluster was recovered without this node: stop it, remove its data directory, and start it " \
    "with retry_join to come back as a new member"

struct renewal {
    struct node *node;
    struct loop_timer *timer;
    bool is_busy;
    int64_t next_try_s;
    bool was_told;
    /* one attempt */
    struct secret *key;
    struct cf_buf csr, cert, ca;
    cf_status status;
    struct cf_error err;
};

static int64_t now_s(void)
{
    return cf_wall_ns(cf_host_clock()) / 1000000000;
}

/* ---- both sides: the active node signs ---- */

struct signing {
    struct node *node;
    struct rpc_call *call;   /* NULL: it is for this very node */
    struct renewal *renewal; /* then */
    uint64_t node_id;
    struct cf_buf public_key, cert, ca;
    cf_status status;
    struct cf_error err;
};

static void signing_free(struct signing *signing)
{
    cf_buf_done(&signing->public_key);
    cf_buf_done(&signing->cert);
    cf_buf_done(&signing->ca);
    cf_free(signing);
}

static void take_certificate(struct renewal *renewal, struct cf_slice cert, struct cf_slice ca);
static void attempt_over(struct renewal *renewal, cf_status status, const struct cf_error *err);

static void signing_end(void *arg)
{
    struct signing *signing = arg;
    if (signing->call == NULL && signing->status != CF_OK) {
        attempt_over(signing->renewal, signing->status, &signing->err);
    } else if (signing->call == NULL) {
        take_certificate(signing->renewal, cf_buf_slice(&signing->cert),
                         cf_buf_slice(&signing->ca));
    } else if (signing->status != CF_OK) {
        rpc_fail(signing->call, &signing->err);
    } else {
        Coffer__Forward__Renewed answer = COFFER__FORWARD__RENEWED__INIT;
        CF_BUF(bytes) = {0};
        answer.certificate = message_bytes(cf_buf_slice(&signing->cert));
        answer.ca = message_bytes(cf_buf_slice(&signing->ca));
        message_pack(&answer.base, &bytes);
        rpc_reply(signing->call, cf_buf_slice(&bytes));
    }
    signing_free(signing);
}

static cf_status sign(struct request *rq, void *context, struct cf_error *err)
{
    struct signing *signing = context;
    CF_OWNED(secret) key = NULL;
    char id[37];
    node_cluster_id(signing->node, id);
    cf_buf_reset(&signing->ca);
    cf_buf_reset(&signing->cert);
    CF_TRY(cluster_read_ca(rq, &signing->ca, &key, err));
    return cluster_issue(signing->node, cf_buf_slice(&signing->ca), key,
                         cf_buf_slice(&signing->public_key), id, signing->node_id, &signing->cert,
                         err);
}

static void is_signed(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct signing *signing = context;
    (void)index;
    signing->status = status;
    if (status != CF_OK) {
        signing->err = *err;
    }
    loop_post(signing->node->loop, signing_end, signing);
}

static bool is_member(struct node *node, uint64_t id)
{
    CF_OWNED(arena) arena = arena_new(16384);
    struct raft_driver_status *status = arena_new_object(arena, struct raft_driver_status);
    raft_driver_status(node->driver, status);
    for (size_t i = 0; i < status->peer_count; i++) {
        if (status->peers[i].id == id) {
            return true;
        }
    }
    return false;
}

/* call, or renewal; the other is NULL. */
static cf_status begin_signing(struct node *node, uint64_t node_id, struct cf_slice csr,
                               struct rpc_call *call, struct renewal *renewal,
                               struct cf_error *err)
{
    struct x509_info info;
    if (!raft_driver_is_leader(node->driver)) {
        return cf_fail(err, CF_NOT_LEADER, "this node is not the active one");
    }
    if (!is_member(node, node_id)) {
        return cf_fail(err, CF_DENIED, "%016llx is no member of this cluster",
                       (unsigned long long)node_id);
    }
    if (csr.size > CSR_MAX) {
        return cf_fail(err, CF_INVALID, "malformed request for a certificate");
    }
    struct signing *signing = cf_new(struct signing);
    signing->node = node;
    signing->call = call;
    signing->renewal = renewal;
    signing->node_id = node_id;
    cf_status status = x509_csr_read(csr, &info, &signing->public_key, err);
    if (status != CF_OK) {
        signing_free(signing);
        return status;
    }
    struct system_work work = {sign, is_signed, signing};
    system_submit(node->core, &work);
    return CF_OK;
}

static void on_renew(void *ctx, struct rpc_link *link, struct cf_slice request,
                     struct rpc_call *call)
{
    struct cluster *cluster = ctx;
    CF_OWNED(arena) arena = arena_new(1024);
    struct cf_error err = {0};
    Coffer__Forward__Renewal *message;
    uint64_t id = 0;
    if (call == NULL) {
        return;
    }
    /* Who it is stands in the certificate that it has, not in what it asks for. */
    cf_status status = cluster_id_parse(rpc_link_peer(link)->identity.id, &id)
                           ? message_unpack(coffer__forward__renewal, request, arena, &message, &err)
                           : cf_fail(&err, CF_DENIED, "not a node of this cluster");
    if (status == CF_OK) {
        status = begin_signing(cluster->node, id, message_slice(message->csr), call, NULL, &err);
    }
    if (status != CF_OK) {
        rpc_fail(call, &err);
    }
}

void renewal_serve(struct cluster *cluster)
{
    rpc_handle(cluster->rpc, RPC_RENEW, on_renew, cluster);
}

/* ---- this node's own certificate ---- */

static void attempt_over(struct renewal *renewal, cf_status status, const struct cf_error *err)
{
    struct node *node = renewal->node;
    int64_t left_s = node_tls_not_after_s(node->cluster->tls) - now_s();
    int64_t pause_s = left_s / 20;
    pause_s = pause_s < RETRY_MIN_S ? RETRY_MIN_S : pause_s > RETRY_MAX_S ? RETRY_MAX_S : pause_s;
    secret_free(renewal->key);
    renewal->key = NULL;
    renewal->is_busy = false;
    renewal->next_try_s = now_s() + pause_s;
    if (status == CF_OK) {
        cf_info("server", "this node's certificate was renewed; it is good for %lld s",
                (long long)left_s);
    } else if (left_s > 0) {
        cf_warn("server", "this node's certificate was not renewed, it ends in %lld s; trying again "
                          "in %lld s: %s",
                (long long)left_s, (long long)pause_s, err->message);
    } else {
        cf_err("server", "this node's certificate has ended and was not renewed: %s. If no other node "
                         "talks to it any more, remove its data directory and let it join again",
               err->message);
    }
}

static void adopt(void *arg)
{
    struct renewal *renewal = arg;
    if (renewal->status == CF_OK) {
        renewal->status = cluster_adopt_tls(renewal->node, cf_buf_slice(&renewal->cert),
                                            renewal->key, cf_buf_slice(&renewal->ca), &renewal->err);
    }
    attempt_over(renewal, renewal->status, &renewal->err);
}

/* Durable before it is used: a restart in between must not end with a key that nobody signed. */
static void keep_on_worker(void *arg)
{
    struct renewal *renewal = arg;
    renewal->status = cluster_keep_tls(renewal->node, cf_buf_slice(&renewal->cert), renewal->key,
                                       cf_buf_slice(&renewal->ca), &renewal->err);
    loop_post(renewal->node->loop, adopt, renewal);
}

static void take_certificate(struct renewal *renewal, struct cf_slice cert, struct cf_slice ca)
{
    cf_buf_reset(&renewal->cert);
    cf_buf_reset(&renewal->ca);
    cf_buf_add_slice(&renewal->cert, cert);
    cf_buf_add_slice(&renewal->ca, ca);
    core_work(renewal->node->core, keep_on_worker, renewal);
}

static void answered(void *arg, const struct rpc_result *result)
{
    struct renewal *renewal = arg;
    CF_OWNED(arena) arena = arena_new(4096);
    struct cf_error err = {0};
    Coffer__Forward__Renewed *message;
    cf_status status = result->status;
    if (status != CF_OK) {
        attempt_over(renewal, status, result->err);
        return;
    }
    status = message_unpack(coffer__forward__renewed, result->response, arena, &message, &err);
    if (status != CF_OK) {
        attempt_over(renewal, status, &err);
        return;
    }
    take_certificate(renewal, message_slice(message->certificate), message_slice(message->ca));
}

static cf_status ask(struct renewal *renewal, struct cf_error *err)
{
    struct node *node = renewal->node;
    struct cluster *cluster = node->cluster;
    uint64_t self = raft_store_identity(node->store).node_id;
    char id[17];
    cluster_id_text(self, id);
    struct x509_names names = {.common_name = cf_slice_str(id)};
    cf_buf_reset(&renewal->csr);
    CF_TRY(x509_key_new(&renewal->key, err));
    CF_TRY(x509_csr_new(renewal->key, &names, &renewal->csr, err));
    if (raft_driver_is_leader(node->driver)) {
        return begin_signing(node, self, cf_buf_slice(&renewal->csr), NULL, renewal, err);
    }
    if (cluster->forward_client == NULL) {
        return cf_fail(err, CF_UNAVAILABLE, "no active node is known");
    }
    Coffer__Forward__Renewal message = COFFER__FORWARD__RENEWAL__INIT;
    CF_BUF(bytes) = {0};
    message.csr = message_bytes(cf_buf_slice(&renewal->csr));
    message_pack(&message.base, &bytes);
    return rpc_client_call(cluster->forward_client, RPC_LATENCY, RPC_RENEW, cf_buf_slice(&bytes),
                           loop_now_us() + CALL_US, answered, renewal, NULL, err);
}

static void attempt(struct renewal *renewal)
{
    struct cf_error err = {0};
    renewal->is_busy = true;
    cf_status status = ask(renewal, &err);
    if (status != CF_OK) {
        attempt_over(renewal, status, &err);
    }
}

/* ---- being a member ---- */

const char *renewal_not_member(const struct node *node)
{
    static const char *const texts[] = {[MEMBER] = NULL,
                                        [MEMBER_REMOVED] = REMOVED_TEXT,
                                        [MEMBER_SUPERSEDED] = SUPERSEDED_TEXT};
    return texts[atomic_load(&node->standing)];
}

static void look_around(struct renewal *renewal)
{
    struct node *node = renewal->node;
    CF_OWNED(arena) arena = arena_new(16384);
    struct raft_driver_status *status = arena_new_object(arena, struct raft_driver_status);
    raft_driver_status(node->driver, status);
    atomic_store(&node->standing, status->superseded != 0 ? MEMBER_SUPERSEDED
                                  : status->removed       ? MEMBER_REMOVED
                                                          : MEMBER);
    const char *why = renewal_not_member(node);
    if (why != NULL && !renewal->was_told) {
        cf_err("server", "%s", why);
    }
    renewal->was_told = why != NULL;
}

static void on_timer(void *arg)
{
    struct renewal *renewal = arg;
    struct node *node = renewal->node;
    const struct node_tls *tls = node->cluster->tls;
    int64_t now = now_s();
    look_around(renewal);
    atomic_store(&node->certificate_end_s, tls != NULL ? node_tls_not_after_s(tls) : 0);
    if (tls != NULL && !renewal->is_busy && !node->is_stopping &&
        atomic_load(&node->standing) == MEMBER && now >= node_tls_renew_at_s(tls) &&
        now >= renewal->next_try_s) {
        attempt(renewal);
    }
    loop_timer_set_in(renewal->timer, CHECK_US);
}

void renewal_start(struct node *node)
{
    struct renewal *renewal = cf_new(struct renewal);
    renewal->node = node;
    renewal->timer = loop_timer_new(node->loop, on_timer, renewal);
    node->renewal = renewal;
    loop_timer_set_in(renewal->timer, CHECK_US);
}

void renewal_free(struct renewal *renewal)
{
    if (renewal == NULL) {
        return;
    }
    loop_timer_free(renewal->timer);
    secret_free(renewal->key);
    cf_buf_done(&renewal->csr);
    cf_buf_done(&renewal->cert);
    cf_buf_done(&renewal->ca);
    cf_free(renewal);
}
