/* node/cluster/rpc_hello.c
 *
 * The first exchange on a connection: the dialling side sends its hello as call 1, the other
 * answers with its own. Each compares what the hello says with the peer's certificate, which TLS
 * has verified against the CA pool of the connection's ALPN name, and with whom it expects.
 */
#include <stdio.h>
#include <string.h>

#include "node/base/level.h"
#include "node/base/memory.h"
#include "node/cluster/rpc_int.h"
#include "node/crypto/x509.h"

static void copy_text(char *to, size_t size, ProtobufCBinaryData from)
{
    size_t used = 0;
    for (size_t i = 0; i < from.len && used + 1 < size;
         i++) { /* it ends in logs and status pages */
        to[used++] = (char)(from.data[i] >= ' ' && from.data[i] <= '~' ? from.data[i] : '?');
    }
    to[used] = '\0';
}

static ProtobufCBinaryData text(const char *from)
{
    return message_bytes(cf_slice_str(from));
}

static void pack_hello(const struct rpc *rpc, const struct node_tls *tls, enum rpc_traffic traffic,
                       struct cf_buf *to)
{
    const struct identity *is = node_tls_identity(tls);
    Coffer__NodeIdentity sender = COFFER__NODE_IDENTITY__INIT;
    Coffer__Hello hello = COFFER__HELLO__INIT;
    sender.cluster_id = text(is->cluster);
    sender.role = text(is->role);
    sender.node_id = text(is->id);
    sender.incarnation = rpc->incarnation;
    hello.protocol = RPC_PROTOCOL;
    hello.feature_level = cf_feature_level();
    hello.sender = &sender;
    hello.traffic = (uint32_t)traffic;
    hello.version = text(rpc->version);
    hello.cluster_address = text(rpc->cluster_address);
    hello.api_address = text(rpc->api_address);
    message_pack(&hello.base, to);
}

/* Fills peer from the certificate. */
static cf_status read_cert(struct rpc_link *link, struct cf_error *err)
{
    struct x509_info info;
    CF_BUF(der) = {.max = CERT_SIZE_MAX};
    CF_TRY(stream_peer_cert(link->stream, &der, err));
    CF_TRY(x509_read(cf_buf_slice(&der), &info, err));
    CF_TRY(identity_parse(cf_slice_str(info.uri), &link->peer.identity, err));
    memcpy(link->peer.fingerprint, info.fingerprint, sizeof(info.fingerprint));
    link->cert_not_after_s = info.not_after_s;
    return CF_OK;
}

static cf_status check_sender(const struct rpc_link *link, const Coffer__Hello *hello,
                              struct cf_error *err)
{
    const struct identity *is = &link->peer.identity;
    const Coffer__NodeIdentity *sender = hello->sender;
    if (hello->protocol != RPC_PROTOCOL || hello->feature_level == 0) {
        return cf_fail(err, CF_UNSUPPORTED,
                       "the peer speaks protocol %u, this node %d: run versions that have one in "
                       "common",
                       hello->protocol, RPC_PROTOCOL);
    }
    if (hello->feature_level + 1 < cf_feature_level()) {
        return cf_fail(err, CF_UNSUPPORTED,
                       "the peer speaks feature level %u, this node %u and the one before: upgrade the "
                       "peer, by the versions in between",
                       hello->feature_level, cf_feature_level());
    }
    if (sender == NULL || !cf_slice_is(message_slice(sender->cluster_id), is->cluster) ||
        !cf_slice_is(message_slice(sender->role), is->role) ||
        !cf_slice_is(message_slice(sender->node_id), is->id)) {
        return cf_fail(err, CF_DENIED,
                       "the peer's hello does not agree with its certificate (%s/%s/%s)",
                       is->cluster, is->role, is->id);
    }
    if (sender->incarnation == link->rpc->incarnation) {
        return cf_fail(err, CF_INVALID, "this is an address of the node itself");
    }
    return CF_OK;
}

static cf_status read_hello(struct rpc_link *link, struct cf_slice payload, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(2048);
    Coffer__Hello *hello;
    CF_TRY(message_unpack(coffer__hello, payload, arena, &hello, err));
    CF_TRY(check_sender(link, hello, err));
    if (!link->dialled && hello->traffic >= RPC_TRAFFIC_COUNT) {
        return cf_fail(err, CF_INVALID, "unknown class of traffic %u", hello->traffic);
    }
    struct rpc_peer *peer = &link->peer;
    if (!link->dialled) {
        peer->traffic = (enum rpc_traffic)hello->traffic;
    }
    peer->incarnation = hello->sender->incarnation;
    peer->level =
        hello->feature_level < cf_feature_level() ? hello->feature_level : cf_feature_level();
    copy_text(peer->cluster_address, sizeof(peer->cluster_address), hello->cluster_address);
    copy_text(peer->api_address, sizeof(peer->api_address), hello->api_address);
    copy_text(peer->version, sizeof(peer->version), hello->version);
    return CF_OK;
}

/* The client hears why before the connection goes. */
static void refuse(struct rpc_link *link, const struct frame *frame, const struct cf_error *why)
{
    rpc_link_write_error(link, frame->rpc, frame->call, why);
    link->closing = true;
    link->why = *why;
    stream_finish(link->stream);
}

/* A peer that started again: what its former process left open is dead, whatever TCP believes. */
static void close_former(struct rpc_link *link)
{
    cf_list_for_safe (at, &link->rpc->links) {
        struct rpc_link *other = cf_container(at, struct rpc_link, in_rpc);
        if (other != link && !other->dialled && other->state == LINK_UP &&
            strcmp(other->peer.alpn, link->peer.alpn) == 0 &&
            identity_equal(&other->peer.identity, &link->peer.identity) &&
            other->peer.incarnation != link->peer.incarnation) {
            rpc_link_close(other, "the peer has started anew");
        }
    }
}

void rpc_hello_request(struct rpc_link *link, const struct frame *frame)
{
    struct cf_error why = {0};
    const struct rpc_serving *is = &link->serving->is;
    cf_status status = read_hello(link, frame->payload, &why);
    if (status == CF_OK && is->authorise != NULL) {
        status = is->authorise(is->ctx, &link->peer, &why);
    }
    if (status != CF_OK) {
        refuse(link, frame, &why);
        return;
    }
    CF_BUF(payload) = {0};
    pack_hello(link->rpc, link->serving->tls, link->peer.traffic, &payload);
    struct frame answer = {.kind = FRAME_RESPONSE, .rpc = RPC_HELLO, .call = frame->call};
    rpc_link_write(link, &answer, cf_buf_slice(&payload));
    close_former(link);
    rpc_link_set_up(link);
}

static cf_status check_expected(const struct rpc_link *link, struct cf_error *err)
{
    const struct identity *wanted = &rpc_client_config_of(link->client)->expect;
    const struct identity *is = &link->peer.identity;
    if (identity_matches(wanted, is)) {
        return CF_OK;
    }
    return cf_fail(err, CF_DENIED,
                   "%s is %s/%s/%s, expected %s/%s/%s: check the address and where its proxy leads",
                   link->peer.address, is->cluster, is->role, is->id,
                   wanted->cluster[0] != '\0' ? wanted->cluster : "*",
                   wanted->role[0] != '\0' ? wanted->role : "*",
                   wanted->id[0] != '\0' ? wanted->id : "*");
}

static void on_answer(void *arg, const struct rpc_result *result)
{
    struct rpc_link *link = arg;
    struct cf_error why = {0};
    if (link->state == LINK_CLOSED) {
        return; /* the end of the link is what ends this call */
    }
    if (result->status != CF_OK) {
        why = *result->err;
        if (result->status != CF_TIMEOUT) {
            (void)cf_error_prefix(&why, why.status, "refused by the peer");
        }
    } else if (link->client != NULL) {
        cf_ignore(read_hello(link, result->response, &why) != CF_OK, "why tells");
    }
    if (why.status != CF_OK || link->client == NULL) {
        rpc_link_abort(link, &why);
        return;
    }
    rpc_link_set_up(link);
}

static void greet(struct rpc_link *link)
{
    CF_BUF(payload) = {0};
    pack_hello(link->rpc, rpc_client_tls(link->client), link->peer.traffic, &payload);
    (void)rpc_calls_start(link, RPC_HELLO, cf_buf_slice(&payload), loop_now_us() + RPC_HELLO_US,
                          on_answer, link);
}

void rpc_hello_opened(struct rpc_link *link)
{
    struct cf_error why = {0};
    struct cf_slice alpn = stream_alpn(link->stream);
    (void)snprintf(link->peer.alpn, sizeof(link->peer.alpn), "%.*s", CF_SHOW(alpn));
    cf_status status = read_cert(link, &why);
    if (status == CF_OK && link->dialled) {
        status = link->client != NULL ? check_expected(link, &why)
                                      : cf_fail(&why, CF_UNAVAILABLE, "not wanted any more");
    } else if (status == CF_OK) {
        link->serving = rpc_find_serving(link->rpc, alpn);
        if (link->serving == NULL) {
            status = cf_fail(&why, CF_DENIED, "\"%s\" is not served any more", link->peer.alpn);
        } else {
            link->serving->refs++;
            link->who = link->serving->is.who;
            if (link->serving->is.dead_us != 0) {
                link->dead_us = link->serving->is.dead_us;
            }
        }
    }
    if (status != CF_OK) {
        rpc_link_abort(link, &why);
    } else if (link->dialled) {
        greet(link);
    }
}
