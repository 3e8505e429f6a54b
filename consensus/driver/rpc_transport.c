/* consensus/driver/rpc_transport.c: frames over connections of node/cluster. */
#include "consensus/driver/rpc_transport.h"

#include <stdio.h>
#include <string.h>

#include "consensus/driver/driver.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/cluster/rpc.h"
#include "node/cluster/tls.h"

#define QUEUE_MAX ((size_t)32 << 20) /* bytes that wait on one connection */
#define FAST_QUEUE_MAX ((size_t)8 << 20)
#define BACKOFF_MIN_US ((uint64_t)50 * 1000)
#define BACKOFF_MAX_US ((uint64_t)1000 * 1000)

struct peer {
    struct raft_rpc *transport;
    uint64_t id;
    char address[RAFT_ADDRESS_MAX];
    struct rpc_client *client; /* NULL: its address is no use */
    bool wanted;
};

struct raft_rpc {
    struct rpc *rpc;
    struct raft_driver *driver;
    struct node_tls *tls;
    struct peer *peers[RAFT_MEMBERS_MAX];
    size_t count;
};

void raft_node_text(uint64_t id, char text[RAFT_NODE_TEXT_SIZE])
{
    snprintf(text, RAFT_NODE_TEXT_SIZE, "%016llx", (unsigned long long)id);
}

cf_status raft_node_parse(struct cf_slice text, uint64_t *ret, struct cf_error *err)
{
    uint64_t id = 0;
    bool fine = text.size == RAFT_NODE_TEXT_SIZE - 1;
    for (size_t i = 0; fine && i < text.size; i++) {
        uint8_t c = text.data[i];
        fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        id = id << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (!fine || id == 0) {
        return cf_fail(err, CF_INVALID, "not the id of a node");
    }
    *ret = id;
    return CF_OK;
}

/* 0: not a member's certificate. */
static uint64_t peer_id(const struct rpc_link *link)
{
    const struct identity *identity = &rpc_link_peer(link)->identity;
    uint64_t id = 0;
    if (strcmp(identity->role, IDENTITY_NODE) != 0 ||
        raft_node_parse(cf_slice_str(identity->id), &id, NULL) != CF_OK) {
        return 0;
    }
    return id;
}

static void on_frame(void *ctx, struct rpc_link *link, struct cf_slice request,
                     struct rpc_call *call)
{
    struct raft_rpc *transport = ctx;
    uint64_t from = peer_id(link);
    if (call != NULL) {
        struct cf_error err = {0};
        cf_fail(&err, CF_INVALID, "raft frames are one-way");
        rpc_fail(call, &err);
    } else if (from != 0) {
        raft_driver_receive(transport->driver, from, request);
    }
}

static cf_status authorise(void *ctx, const struct rpc_peer *peer, struct cf_error *err)
{
    const struct raft_rpc *transport = ctx;
    const struct identity *own = node_tls_identity(transport->tls);
    uint64_t id;
    if (strcmp(peer->identity.cluster, own->cluster) != 0 ||
        strcmp(peer->identity.role, IDENTITY_NODE) != 0) {
        return cf_fail(err, CF_DENIED, "not a node of this cluster");
    }
    return raft_node_parse(cf_slice_str(peer->identity.id), &id, err);
}

/* ---- one peer */

static void on_up(void *ctx, struct rpc_link *link)
{
    const struct peer *peer = ctx;
    cf_debug("raft", "connected to node %llx at %s (%s)", (unsigned long long)peer->id,
             peer->address, rpc_link_peer(link)->traffic == RPC_BULK ? "bulk" : "quick");
}

static void on_down(void *ctx, struct rpc_link *link, const struct cf_error *why)
{
    const struct peer *peer = ctx;
    cf_debug("raft", "connection to node %llx is lost: %s", (unsigned long long)peer->id,
             why->message);
    (void)link;
    raft_driver_unreachable(peer->transport->driver, peer->id);
}

static void peer_free(struct peer *peer)
{
    rpc_client_free(peer->client);
    cf_free(peer);
}

static struct peer *find(const struct raft_rpc *transport, uint64_t id)
{
    for (size_t i = 0; i < transport->count; i++) {
        if (transport->peers[i]->id == id) {
            return transport->peers[i];
        }
    }
    return NULL;
}

static void dial(struct raft_rpc *transport, struct peer *peer)
{
    struct rpc_client_config config = {
        .alpn = TLS_ALPN_RAFT,
        .who = RPC_BY_RAFT,
        .tls = transport->tls,
        .expect = *node_tls_identity(transport->tls),
        .traffic = 1u << RPC_LATENCY | 1u << RPC_BULK,
        .queue_max = QUEUE_MAX,
        .backoff_min_us = BACKOFF_MIN_US,
        .backoff_max_us = BACKOFF_MAX_US,
        .up = on_up,
        .down = on_down,
        .ctx = peer,
    };
    memset(config.expect.id, 0, sizeof(config.expect.id));
    raft_node_text(peer->id, config.expect.id);
    struct cf_slice address = cf_slice_str(peer->address);
    struct cf_error err = {0};
    if (rpc_client_new(transport->rpc, &config, &address, 1, &peer->client, &err) != CF_OK) {
        cf_err("raft", "can't connect to node %s at \"%s\": %s", config.expect.id, peer->address,
               err.message);
        peer->client = NULL;
    }
}

static void keep(struct raft_rpc *transport, const struct raft_member *member)
{
    struct peer *peer = find(transport, member->id);
    if (peer == NULL) {
        if (transport->count == CF_LENGTH(transport->peers)) {
            return;
        }
        peer = cf_new(struct peer);
        peer->transport = transport;
        peer->id = member->id;
        transport->peers[transport->count++] = peer;
    }
    peer->wanted = true;
    if (strcmp(peer->address, member->address) == 0) {
        return;
    }
    memcpy(peer->address, member->address, sizeof(peer->address));
    struct cf_slice address = cf_slice_str(peer->address);
    if (peer->client == NULL) {
        dial(transport, peer);
    } else if (rpc_client_set_addresses(peer->client, &address, 1, NULL) != CF_OK) {
        cf_err("raft", "node %llx has an address that can't be used: \"%s\"",
               (unsigned long long)peer->id, peer->address);
    }
}

static void set_peers(void *ctx, const struct raft_member *members, size_t count)
{
    struct raft_rpc *transport = ctx;
    for (size_t i = 0; i < transport->count; i++) {
        transport->peers[i]->wanted = false;
    }
    /* Gone members first: there is room for the new ones then. */
    for (size_t i = 0; i < transport->count;) {
        struct peer *peer = transport->peers[i];
        for (size_t n = 0; n < count; n++) {
            peer->wanted |= members[n].id == peer->id;
        }
        if (peer->wanted) {
            i++;
            continue;
        }
        peer_free(peer);
        transport->peers[i] = transport->peers[--transport->count];
    }
    for (size_t n = 0; n < count; n++) {
        keep(transport, &members[n]);
    }
}

struct accepted {
    uint64_t id;
    enum rpc_traffic traffic;
    struct rpc_link *found;
};

static void each_link(void *arg, struct rpc_link *link)
{
    struct accepted *accepted = arg;
    const struct rpc_peer *peer = rpc_link_peer(link);
    if (peer->traffic == accepted->traffic && strcmp(peer->alpn, TLS_ALPN_RAFT) == 0 &&
        peer_id(link) == accepted->id) {
        accepted->found = link;
    }
}

/* The connection that the peer made to us. A node that has just joined knows no addresses yet (they
 * come with the configuration, by log or snapshot), and still has to answer its leader. */
static struct rpc_link *accepted_link(struct raft_rpc *transport, uint64_t id,
                                      enum rpc_traffic traffic)
{
    struct accepted accepted = {id, traffic, NULL};
    (void)rpc_each_link(transport->rpc, each_link, &accepted);
    return accepted.found;
}

static struct rpc_link *link_to(struct raft_rpc *transport, uint64_t id, enum rpc_traffic traffic)
{
    const struct peer *peer = find(transport, id);
    struct rpc_link *link =
        peer != NULL && peer->client != NULL ? rpc_client_link(peer->client, traffic) : NULL;
    return link != NULL ? link : accepted_link(transport, id, traffic);
}

cf_status raft_rpc_call(struct raft_rpc *transport, uint64_t peer, enum rpc_id id,
                        struct cf_slice request, uint64_t deadline_us, rpc_done_fn fn, void *arg,
                        struct rpc_pending **ret, struct cf_error *err)
{
    struct rpc_link *link = link_to(transport, peer, RPC_BULK);
    if (link == NULL) {
        return cf_fail(err, CF_UNAVAILABLE, "no connection to node %llx", (unsigned long long)peer);
    }
    return rpc_link_call(link, id, request, deadline_us, fn, arg, ret, err);
}

static bool send_to(void *ctx, uint64_t id, enum raft_channel channel, struct cf_slice frame)
{
    bool fast = channel == RAFT_CHANNEL_FAST;
    struct rpc_link *link = link_to(ctx, id, fast ? RPC_LATENCY : RPC_BULK);
    if (link == NULL || (fast && rpc_link_queued(link) > FAST_QUEUE_MAX)) {
        return false;
    }
    return rpc_link_send(link, RPC_RAFT, frame, NULL) == CF_OK;
}

/* ---- the whole */

static cf_status serve(struct raft_rpc *transport, struct cf_error *err)
{
    return rpc_serve(transport->rpc,
                     &(struct rpc_serving){.alpn = TLS_ALPN_RAFT,
                                           .who = RPC_BY_RAFT,
                                           .tls = transport->tls,
                                           .authorise = authorise,
                                           .ctx = transport},
                     err);
}

cf_status raft_rpc_new(struct rpc *rpc, struct raft_driver *driver, const struct node_tls *tls,
                       struct raft_rpc **ret, struct cf_error *err)
{
    struct raft_rpc *transport = cf_new(struct raft_rpc);
    transport->rpc = rpc;
    transport->driver = driver;
    transport->tls = node_tls_copy(tls);
    cf_status status = serve(transport, err);
    if (status != CF_OK) {
        node_tls_free(transport->tls);
        cf_free(transport);
        return status;
    }
    rpc_handle(rpc, RPC_RAFT, on_frame, transport);
    raft_driver_set_transport(
        driver,
        &(struct raft_transport){.context = transport, .peers = set_peers, .send = send_to});
    *ret = transport;
    return CF_OK;
}

void raft_rpc_free(struct raft_rpc *transport)
{
    if (transport == NULL) {
        return;
    }
    raft_driver_set_transport(transport->driver, NULL);
    rpc_handle(transport->rpc, RPC_RAFT, NULL, NULL);
    rpc_unserve(transport->rpc, TLS_ALPN_RAFT);
    for (size_t i = 0; i < transport->count; i++) {
        peer_free(transport->peers[i]);
    }
    node_tls_free(transport->tls);
    cf_free(transport);
}

cf_status raft_rpc_set_tls(struct raft_rpc *transport, const struct node_tls *tls,
                           struct cf_error *err)
{
    struct node_tls *old = transport->tls;
    transport->tls = node_tls_copy(tls);
    cf_status status = serve(transport, err);
    for (size_t i = 0; i < transport->count && status == CF_OK; i++) {
        if (transport->peers[i]->client != NULL) {
            status = rpc_client_set_tls(transport->peers[i]->client, transport->tls, err);
        }
    }
    node_tls_free(old);
    return status;
}

bool raft_rpc_is_connected(const struct raft_rpc *transport, uint64_t id)
{
    const struct peer *peer = find(transport, id);
    return peer != NULL && peer->client != NULL &&
           rpc_client_link(peer->client, RPC_LATENCY) != NULL;
}

void raft_rpc_hurry(struct raft_rpc *transport, uint64_t id)
{
    const struct peer *peer = find(transport, id);
    if (peer != NULL && peer->client != NULL) {
        rpc_client_hurry(peer->client);
    }
}
