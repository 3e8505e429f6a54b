/* node/server/replication/certificate.c: see certificate.h.
 *
 *   secondary: new key, request  --its stream-->  any node of the primary  -->  the active node
 *   active node: signs, keeps it beside the one in use (`next_cert`)  -->  answer
 *   secondary: keeps certificate and key in one entry, uses them from its next connection on
 *
 * Either of the two certificates may connect until the secondary names, with its next request, the one it kept: an
 * answer that is lost, or a crash before the entry, leaves it with one that is good. Promotion certificates
 * (promotion.h) come and go the same way, and also when there is none by the set's present key. */
#include "node/server/replication/certificate.h"

#include <stdio.h>

#include "consensus/driver/driver.h"
#include "node/base/host.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/crypto/sign.h"
#include "node/server/cluster_int.h"
#include "node/server/replication/promotion.h"
#include "node/server/replication/repl_int.h"
#include "proto/forward.pb-c.h"
#include "proto/message.h"
#include "proto/repl.pb-c.h"

#define LIFE_S ((int64_t)365 * 86400)
#define SLACK_S ((int64_t)3600) /* that clocks may differ by */
#define CHECK_US ((uint64_t)1000 * 1000)
#define CALL_US ((uint64_t)10 * 1000 * 1000)
#define RETRY_MIN_S 1
#define RETRY_MAX_S 600
#define CSR_MAX ((size_t)16384)

static int64_t wall_s(void)
{
    return cf_wall_ns(cf_host_clock()) / 1000000000;
}

/* ---- making ---- */

struct x509_validity certificate_life(const struct node *node, int64_t now_s)
{
    int64_t ttl_s = node->config->secondary_cert_ttl_s != 0 ? node->config->secondary_cert_ttl_s : LIFE_S;
    /* Most of a short life must not be over when it begins. */
    return (struct x509_validity){now_s - cf_min(SLACK_S, ttl_s / 4), now_s + ttl_s};
}

cf_status certificate_issue(struct request *rq, const struct set_primary *set, struct cf_slice id,
                            struct cf_slice public_key, struct cf_buf *cert, struct cf_error *err)
{
    struct identity identity;
    char uri[IDENTITY_URI_SIZE];
    CF_OWNED(secret) ca_key = secret_copy(set->ca_key);
    CF_TRY(identity_make(set->id, cf_slice_str(IDENTITY_SECONDARY), id, &identity, err));
    identity_uri(&identity, uri);
    struct x509_names names = {.common_name = id, .uri = cf_slice_str(uri)};
    struct x509_issuer issuer = {set->ca, ca_key};
    struct x509_validity life =
        certificate_life(core_host_context(rq->core), request_now_ns(rq) / 1000000000);
    return x509_issue(&issuer, public_key, &names, life, cert, err);
}

cf_status certificate_of_server(const struct node *node, const struct set_primary *set,
                                struct node_tls **ret, struct cf_error *err)
{
    struct identity identity;
    char uri[IDENTITY_URI_SIZE], id[17];
    CF_OWNED(secret) key = NULL;
    CF_OWNED(secret) ca_key = secret_copy(set->ca_key);
    CF_BUF(public_key) = {0};
    CF_BUF(cert) = {0};
    cluster_id_text(raft_store_identity(node->store).node_id, id);
    CF_TRY(identity_make(set->id, cf_slice_str(IDENTITY_PRIMARY), cf_slice_str(id), &identity, err));
    identity_uri(&identity, uri);
    CF_TRY(x509_key_new(&key, err));
    CF_TRY(x509_key_public(key, &public_key, err));
    struct x509_names names = {.common_name = cf_slice_str(id), .uri = cf_slice_str(uri)};
    struct x509_issuer issuer = {set->ca, ca_key};
    CF_TRY(x509_issue(&issuer, cf_buf_slice(&public_key), &names, certificate_life(node, wall_s()), &cert,
                      err));
    return node_tls_new(cf_buf_slice(&cert), key, set->ca, ret, err);
}

/* ---- judging ---- */

static bool is_of(struct cf_slice cert, const uint8_t fingerprint[32])
{
    struct x509_info info;
    return cert.size != 0 && x509_read(cert, &info, NULL) == CF_OK &&
           memcmp(info.fingerprint, fingerprint, sizeof(info.fingerprint)) == 0;
}

cf_status certificate_check(const struct set_secondary *secondary, const uint8_t fingerprint[32],
                            struct cf_error *err)
{
    const char *why = NULL;
    if (cf_slice_is(secondary->state, "revoked")) {
        why = "was revoked";
    } else if (!is_of(secondary->cert, fingerprint) && !is_of(secondary->next_cert, fingerprint)) {
        why = "was replaced by a newer one";
    }
    if (why == NULL) {
        return CF_OK;
    }
    CF_BUF(name) = {0};
    encode_hex(&name, cf_slice_of(fingerprint, 6));
    return cf_fail(err, CF_DENIED, "certificate %.*s of secondary \"%.*s\" %s: make a new token on the "
                                   "primary and give it to update-primary, or disable replication here",
                   CF_SHOW(cf_buf_slice(&name)), CF_SHOW(secondary->id), why);
}

/* ---- the primary signs ---- */

struct signing {
    struct loop *loop;
    struct rpc_call *call;
    enum set_kind kind;
    char id[REPL_ID_SIZE];
    uint8_t current[32]; /* fingerprint of the one that the secondary keeps */
    struct cf_buf public_key, cert; /* empty: not asked for */
    struct cf_buf promotion_key, promotion;
    uint64_t promotion_serial;
    cf_status status;
    struct cf_error err;
};

static void signing_free(struct signing *signing)
{
    cf_buf_done(&signing->public_key);
    cf_buf_done(&signing->cert);
    cf_buf_done(&signing->promotion_key);
    cf_buf_done(&signing->promotion);
    cf_free(signing);
}

static void signing_end(void *arg)
{
    struct signing *signing = arg;
    if (signing->status != CF_OK) {
        rpc_fail(signing->call, &signing->err);
    } else {
        Coffer__Repl__Renewed answer = COFFER__REPL__RENEWED__INIT;
        CF_BUF(bytes) = {0};
        answer.certificate = message_bytes(cf_buf_slice(&signing->cert));
        answer.promotion = message_bytes(cf_buf_slice(&signing->promotion));
        message_pack(&answer.base, &bytes);
        rpc_reply(signing->call, cf_buf_slice(&bytes));
    }
    signing_free(signing);
}

static cf_status sign(struct request *rq, void *context, struct cf_error *err)
{
    struct signing *signing = context;
    struct set_primary set;
    struct set_secondary secondary;
    cf_buf_reset(&signing->cert);
    cf_buf_reset(&signing->promotion);
    CF_TRY(set_read_primary(rq, signing->kind, &set, err));
    CF_TRY(set_read_secondary(rq, signing->kind, cf_slice_str(signing->id), &secondary, err));
    CF_TRY(certificate_check(&secondary, signing->current, err));
    if (signing->promotion_key.size != 0) {
        CF_TRY(promotion_issue(rq, secondary.id, cf_buf_slice(&signing->promotion_key),
                               signing->promotion_serial, &signing->promotion, err));
    }
    if (signing->public_key.size == 0) {
        return CF_OK;
    }
    CF_TRY(certificate_issue(rq, &set, secondary.id, cf_buf_slice(&signing->public_key), &signing->cert,
                             err));
    if (!is_of(secondary.cert, signing->current)) {
        secondary.cert = secondary.next_cert;
    }
    secondary.next_cert = cf_buf_slice(&signing->cert);
    set_write_secondary(rq, signing->kind, &secondary);
    return CF_OK;
}

static void is_signed(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct signing *signing = context;
    (void)index;
    signing->status = status;
    if (status != CF_OK) {
        signing->err = *err;
    }
    loop_post(signing->loop, signing_end, signing);
}

static cf_status begin_signing(struct node *node, const Coffer__Repl__Renewal *message, enum set_kind kind,
                               struct cf_slice id, struct rpc_call *call, struct cf_error *err)
{
    struct x509_info info;
    struct cf_slice csr = message_slice(message->csr);
    struct cf_slice promotion_key =
        kind == SET_PERFORMANCE ? message_slice(message->promotion_key) : CF_SLICE_EMPTY;
    if (csr.size > CSR_MAX || promotion_key.size > PROMOTION_MAX ||
        message->current.len != sizeof(info.fingerprint) || id.size >= REPL_ID_SIZE ||
        (csr.size == 0 && promotion_key.size == 0)) {
        return cf_fail(err, CF_INVALID, "malformed request for a certificate");
    }
    struct signing *signing = cf_new(struct signing);
    *signing = (struct signing){.loop = node->loop, .call = call, .kind = kind,
                                .promotion_serial = message->promotion_serial};
    cf_buf_add_slice(&signing->promotion_key, promotion_key);
    (void)snprintf(signing->id, sizeof(signing->id), "%.*s", CF_SHOW(id));
    memcpy(signing->current, message->current.data, sizeof(signing->current));
    cf_status status = csr.size != 0 ? x509_csr_read(csr, &info, &signing->public_key, err) : CF_OK;
    if (status != CF_OK) {
        signing_free(signing);
        return status;
    }
    struct system_work work = {sign, is_signed, signing};
    system_submit(node->core, &work);
    return CF_OK;
}

static void handed_on(void *arg, const struct rpc_result *result)
{
    struct rpc_call *call = arg;
    if (result->status == CF_OK) {
        rpc_reply(call, result->response);
    } else {
        rpc_fail(call, result->err);
    }
}

cf_status repl_hand_on(struct node *node, enum rpc_id id, struct cf_slice bytes, struct rpc_call *call,
                       struct cf_error *err)
{
    if (node->cluster->forward_client == NULL) {
        return cf_fail(err, CF_UNAVAILABLE, "no active node is known");
    }
    return rpc_client_call(node->cluster->forward_client, RPC_LATENCY, id, bytes, loop_now_us() + CALL_US,
                           handed_on, call, NULL, err);
}

/* A standby has the stream, the active node has the pen. */
static cf_status hand_on(struct node *node, Coffer__Repl__Renewal *message, enum repl_kind kind,
                         struct cf_slice id, struct rpc_call *call, struct cf_error *err)
{
    CF_BUF(bytes) = {0};
    message->kind = (uint32_t)kind;
    message->id = message_bytes(id);
    message_pack(&message->base, &bytes);
    return repl_hand_on(node, RPC_REPL_RENEW, cf_buf_slice(&bytes), call, err);
}

static cf_status serve(struct node *node, const struct rpc_peer *peer, struct cf_slice request,
                       struct rpc_call *call, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(1024);
    Coffer__Repl__Renewal *message;
    CF_TRY(message_unpack(coffer__repl__renewal, request, arena, &message, err));
    bool is_ours = strcmp(peer->alpn, TLS_ALPN_FORWARD) == 0;
    bool leads = raft_driver_is_leader(node->driver);
    enum repl_kind kind = strcmp(peer->alpn, TLS_ALPN_DR) == 0 ? REPL_DR : REPL_PERFORMANCE;
    /* Who it is stands in the certificate that it has, not in what it asks for. */
    struct cf_slice id = cf_slice_str(peer->identity.id);
    if (is_ours) {
        kind = message->kind == REPL_DR ? REPL_DR : REPL_PERFORMANCE;
        id = message_slice(message->id);
    } else if (strcmp(peer->identity.role, IDENTITY_SECONDARY) != 0) {
        return cf_fail(err, CF_DENIED, "not the certificate of a secondary");
    }
    if (!leads && is_ours) {
        return cf_fail(err, CF_NOT_LEADER, "this node is not the active one");
    }
    return leads ? begin_signing(node, message, repl_set_kind(kind), id, call, err)
                 : hand_on(node, message, kind, id, call, err);
}

static void on_renew(void *ctx, struct rpc_link *link, struct cf_slice request, struct rpc_call *call)
{
    struct node_replication *replication = ctx;
    struct cf_error err = {0};
    if (call != NULL && serve(replication->node, rpc_link_peer(link), request, call, &err) != CF_OK) {
        rpc_fail(call, &err);
    }
}

/* ---- the secondary asks ---- */

struct keeping {
    enum repl_kind kind;
    uint8_t before[32];
    struct cf_buf cert;
    struct secret *key; /* NULL: no certificate was asked for */
    struct cf_buf promotion, promotion_public;
    struct secret *promotion_key; /* NULL: no promotion certificate was asked for */
};

static void keeping_free(struct keeping *keeping)
{
    cf_buf_done(&keeping->cert);
    secret_free(keeping->key);
    cf_buf_done(&keeping->promotion);
    cf_buf_done(&keeping->promotion_public);
    secret_free(keeping->promotion_key);
    cf_free(keeping);
}

/* Left out (tried again) while the state does not fit it yet; the client certificate need not wait for that. */
static void keep_promotion(struct request *rq, const struct keeping *keeping, struct set_link *link)
{
    struct cf_error err = {0};
    if (keeping->promotion_key == NULL) {
        return;
    }
    if (promotion_check_own(rq, link, cf_buf_slice(&keeping->promotion),
                            cf_buf_slice(&keeping->promotion_public), &err) != CF_OK) {
        cf_info("replication", "the promotion certificate was not taken, trying again: %s", err.message);
        return;
    }
    link->promotion = cf_buf_slice(&keeping->promotion);
    link->promotion_key = secret_slice(keeping->promotion_key);
}

static cf_status keep(struct request *rq, void *context, struct cf_error *err)
{
    struct keeping *keeping = context;
    struct set_link link;
    CF_TRY(set_read_link(rq, repl_set_kind(keeping->kind), &link, err));
    bool is_live = cf_slice_is(link.state, "bootstrapping") || cf_slice_is(link.state, "secondary");
    if (!is_live || !is_of(link.cert, keeping->before)) {
        return CF_OK; /* an operator was faster, with a token or a promotion */
    }
    if (keeping->key != NULL) {
        link.cert = cf_buf_slice(&keeping->cert);
        link.key = secret_slice(keeping->key);
    }
    keep_promotion(rq, keeping, &link);
    set_write_link(rq, repl_set_kind(keeping->kind), &link);
    return CF_OK;
}

/* What the link uses follows from the record. */
static void kept(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct keeping *keeping = context;
    (void)index;
    if (status != CF_OK) {
        cf_warn("replication", "the renewed certificate for the %s primary could not be kept, trying again: "
                               "%s",
                repl_kind_name(keeping->kind), err->message);
    }
    keeping_free(keeping);
}

static cf_status take(struct repl_certificate *own, struct keeping *keeping, struct cf_slice response,
                      struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_OWNED(node_tls) tls = NULL;
    Coffer__Repl__Renewed *message;
    CF_TRY(message_unpack(coffer__repl__renewed, response, arena, &message, err));
    if (keeping->promotion_key != NULL && message->promotion.len > PROMOTION_MAX) {
        return cf_fail(err, CF_INVALID, "an oversize promotion certificate");
    }
    cf_buf_add_slice(&keeping->promotion, message_slice(message->promotion));
    if (keeping->key == NULL) {
        return CF_OK;
    }
    cf_buf_add_slice(&keeping->cert, message_slice(message->certificate));
    CF_TRY(x509_verify(cf_buf_slice(&keeping->cert), node_tls_cas(own->tls), wall_s(), err));
    CF_TRY(node_tls_new(cf_buf_slice(&keeping->cert), keeping->key, node_tls_cas(own->tls), &tls, err));
    return identity_equal(node_tls_identity(tls), node_tls_identity(own->tls))
               ? CF_OK
               : cf_fail(err, CF_DENIED, "the primary answered a certificate of somebody else");
}

static void not_renewed(const struct repl_certificate *own, const struct cf_error *err)
{
    char uri[IDENTITY_URI_SIZE];
    int64_t left_s = node_tls_not_after_s(own->tls) - wall_s();
    identity_uri(node_tls_identity(own->tls), uri);
    cf_warn("replication", "certificate %s was not renewed, it ends in %lld s; trying again: %s", uri,
            (long long)left_s, err->message);
}

static void answered(void *arg, const struct rpc_result *result)
{
    struct repl_certificate *own = arg;
    struct keeping *keeping = own->keeping;
    struct cf_error err = *result->err;
    own->asked = NULL;
    own->keeping = NULL;
    cf_status status = result->status;
    if (status == CF_OK) {
        status = take(own, keeping, result->response, &err);
    }
    if (status != CF_OK) {
        not_renewed(own, &err);
        keeping_free(keeping);
        return;
    }
    struct system_work work = {keep, kept, keeping};
    system_submit(own->node->core, &work);
}

static cf_status make_promotion_key(struct keeping *keeping, struct cf_error *err)
{
    CF_OWNED(sign_key) key = NULL;
    CF_TRY(sign_generate(SIGN_ED25519, &key, err));
    CF_TRY(sign_public_der(key, &keeping->promotion_public, err));
    return sign_private_der(key, &keeping->promotion_key, err);
}

static cf_status ask(struct repl_certificate *own, struct rpc_link *link, enum repl_kind kind, bool renews,
                     struct cf_error *err)
{
    Coffer__Repl__Renewal message = COFFER__REPL__RENEWAL__INIT;
    struct x509_info info;
    CF_BUF(csr) = {0};
    CF_BUF(bytes) = {0};
    struct keeping *keeping = cf_new(struct keeping);
    keeping->kind = kind;
    own->keeping = keeping;
    struct x509_names names = {.common_name = cf_slice_str(node_tls_identity(own->tls)->id)};
    CF_TRY(x509_read(node_tls_cert(own->tls), &info, err));
    memcpy(keeping->before, info.fingerprint, sizeof(keeping->before));
    if (renews) {
        CF_TRY(x509_key_new(&keeping->key, err));
        CF_TRY(x509_csr_new(keeping->key, &names, &csr, err));
    }
    if (kind == REPL_PERFORMANCE) {
        CF_TRY(make_promotion_key(keeping, err));
    }
    message.csr = message_bytes(cf_buf_slice(&csr));
    message.current = message_bytes(cf_slice_of(keeping->before, sizeof(keeping->before)));
    message.promotion_key = message_bytes(cf_buf_slice(&keeping->promotion_public));
    message.promotion_serial = own->promotion_serial;
    message_pack(&message.base, &bytes);
    return rpc_link_call(link, RPC_REPL_RENEW, cf_buf_slice(&bytes), loop_now_us() + CALL_US, answered, own,
                         &own->asked, err);
}

/* How long until it is asked again: a fraction of what is left, and ever longer. */
static int64_t next_pause(struct repl_certificate *own, int64_t now)
{
    int64_t left_s = cf_max((node_tls_not_after_s(own->tls) - now) / 20, RETRY_MIN_S);
    own->pause_s = cf_min(cf_max(2 * own->pause_s, RETRY_MIN_S), cf_min(left_s, RETRY_MAX_S));
    return own->pause_s;
}

static void renew_own(struct repl_side *side, enum repl_kind kind)
{
    struct repl_certificate *own = &side->certificate;
    struct cf_error err = {0};
    int64_t now = wall_s();
    struct rpc_link *link = side->secondary != NULL ? repl_secondary_link(side->secondary) : NULL;
    bool renews = own->tls != NULL && now >= node_tls_renew_at_s(own->tls);
    if (!renews && !own->promotion_due) {
        own->pause_s = 0;
        return;
    }
    if (link == NULL || own->tls == NULL || own->asked != NULL || now < own->next_try_s) {
        return;
    }
    own->next_try_s = now + next_pause(own, now);
    if (ask(own, link, kind, renews, &err) != CF_OK) {
        if (own->keeping != NULL) {
            keeping_free(own->keeping);
            own->keeping = NULL;
        }
        not_renewed(own, &err);
    }
}

/* ---- this node's towards secondaries ---- */

static void renew_served(struct node_replication *replication, enum repl_kind kind)
{
    struct repl_side *side = &replication->sides[kind];
    struct reader reader;
    struct set_primary set;
    struct cf_error err = {0};
    CF_OWNED(node_tls) tls = NULL;
    int64_t now = wall_s();
    if (side->primary == NULL || now < side->served_renew_at_s) {
        return;
    }
    side->served_renew_at_s = now + RETRY_MIN_S;
    cf_status status = reader_begin(&reader, replication->node)
                           ? set_read_primary(&reader.rq, repl_set_kind(kind), &set, &err)
                           : cf_fail(&err, CF_SEALED, "Vault is sealed");
    if (status == CF_OK) {
        status = certificate_of_server(replication->node, &set, &tls, &err);
    }
    if (status == CF_OK) {
        status = repl_primary_set_tls(side->primary, tls, &err);
    }
    reader_end(&reader);
    if (status == CF_OK) {
        side->served_renew_at_s = node_tls_renew_at_s(tls);
        cf_info("replication", "this node's certificate for %s secondaries was renewed; it is good for %lld s",
                repl_kind_name(kind), (long long)(node_tls_not_after_s(tls) - now));
    } else {
        cf_warn("replication", "this node's certificate for %s secondaries was not renewed: %s",
                repl_kind_name(kind), err.message);
    }
}

static void on_timer(void *arg)
{
    struct node_replication *replication = arg;
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        renew_served(replication, (enum repl_kind)i);
        renew_own(&replication->sides[i], (enum repl_kind)i);
    }
    repl_encryptions_tick(replication);
    loop_timer_set_in(replication->certificate_timer, CHECK_US);
}

void certificates_start(struct node_replication *replication)
{
    struct node *node = replication->node;
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        replication->sides[i].certificate.node = node;
    }
    rpc_handle(cluster_rpc(node), RPC_REPL_RENEW, on_renew, replication);
    replication->certificate_timer = loop_timer_new(node->loop, on_timer, replication);
    loop_timer_set_in(replication->certificate_timer, CHECK_US);
}

void certificate_forget(struct repl_certificate *own)
{
    if (own->asked != NULL) {
        rpc_cancel(own->asked);
        own->asked = NULL;
    }
    if (own->keeping != NULL) {
        keeping_free(own->keeping);
        own->keeping = NULL;
    }
    node_tls_free(own->tls);
    own->tls = NULL;
    own->promotion_due = false;
    own->promotion_serial = 0;
    own->next_try_s = 0;
    own->pause_s = 0;
}

void certificates_stop(struct node_replication *replication)
{
    if (replication->certificate_timer == NULL) {
        return; /* was never started */
    }
    rpc_handle(cluster_rpc(replication->node), RPC_REPL_RENEW, NULL, NULL);
    loop_timer_free(replication->certificate_timer);
    replication->certificate_timer = NULL;
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        certificate_forget(&replication->sides[i].certificate);
    }
}
