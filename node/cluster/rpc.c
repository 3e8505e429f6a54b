/* node/cluster/rpc.c: the endpoint: handlers, the cluster port, upkeep of links. */
#include "node/cluster/rpc.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/cluster/rpc_int.h"

enum { LOGS_PER_SECOND = 5 };

static void on_ping(void *ctx, struct rpc_link *link, struct cf_slice request,
                    struct rpc_call *call)
{
    (void)ctx;
    (void)link;
    (void)request;
    if (call != NULL) {
        rpc_reply(call, CF_SLICE_EMPTY);
    }
}

static void on_pong(void *arg, const struct rpc_result *result)
{
    struct rpc_link *link = arg;
    (void)result; /* anything that was heard counts, and a lost link says so itself */
    link->pinging = false;
}

/* A link that is silent is asked, then closed: a peer whose machine is gone says nothing at all. */
static void keep_alive(struct rpc_link *link, uint64_t now, int64_t now_s)
{
    /* A frame of 16 MiB may be long on its way; and whom we don't read, we can't hear. */
    if (link->paused || stream_received(link->stream) != link->heard_bytes) {
        link->heard_bytes = stream_received(link->stream);
        link->heard_us = now;
    }
    uint64_t silent = now > link->heard_us ? now - link->heard_us : 0;
    if (link->cert_not_after_s + RPC_EXPIRED_GRACE_S < now_s) {
        rpc_link_close(link, "the peer's certificate has expired");
    } else if (silent > link->dead_us) {
        char why[64];
        (void)snprintf(why, sizeof(why), "nothing was heard for %.1f seconds",
                       (double)silent / 1000000);
        rpc_link_close(link, why);
    } else if (silent > link->dead_us / 3 && !link->pinging) {
        link->pinging = true;
        (void)rpc_calls_start(link, RPC_PING, CF_SLICE_EMPTY, now + link->dead_us, on_pong, link);
    }
}

/* Whoever did not listen has no right to call others silent: a process that was stopped, or a loop
 * that was held up, has what they said still before it. */
static void forgive(struct rpc *rpc, uint64_t now)
{
    uint64_t late = rpc->ticked_us != 0 && now > rpc->ticked_us + RPC_TICK_US
                        ? now - rpc->ticked_us - RPC_TICK_US
                        : 0;
    rpc->ticked_us = now;
    if (late < RPC_TICK_US) {
        return;
    }
    cf_list_for (at, &rpc->links) {
        cf_container(at, struct rpc_link, in_rpc)->heard_us += late;
    }
}

static void on_tick(void *arg)
{
    struct rpc *rpc = arg;
    uint64_t now = loop_now_us();
    int64_t now_s = cf_wall_ns(cf_host_clock()) / 1000000000;
    forgive(rpc, now);
    cf_list_for_safe (at, &rpc->links) {
        struct rpc_link *link = cf_container(at, struct rpc_link, in_rpc);
        if (link->state == LINK_UP && !link->closing) {
            keep_alive(link, now, now_s);
        }
    }
    loop_timer_set_in(rpc->tick_timer, RPC_TICK_US);
}

static void set_text(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%s", from != NULL ? from : "");
}

struct rpc *rpc_new(const struct rpc_config *config)
{
    struct rpc *rpc = cf_new(struct rpc);
    rpc->loop = config->loop;
    rpc->random = config->random;
    set_text(rpc->version, sizeof(rpc->version), config->version);
    rpc_set_addresses(rpc, config->cluster_address, config->api_address);
    while (rpc->incarnation == 0) {
        cf_random_fill(rpc->random, &rpc->incarnation, sizeof(rpc->incarnation));
    }
    cf_list_init(&rpc->links);
    cf_list_init(&rpc->pending);
    struct cf_error err = {0};
    cf_status status = tls_server_cluster(&rpc->server, &err);
    assert(status == CF_OK);
    (void)status;
    rpc->deadline_timer = loop_timer_new(rpc->loop, rpc_calls_on_deadline, rpc);
    rpc->tick_timer = loop_timer_new(rpc->loop, on_tick, rpc);
    loop_timer_set_in(rpc->tick_timer, RPC_TICK_US);
    rpc_handle(rpc, RPC_PING, on_ping, NULL);
    return rpc;
}

void rpc_free(struct rpc *rpc)
{
    struct cf_error why = {0};
    if (rpc == NULL) {
        return;
    }
    (void)cf_fail(&why, CF_UNAVAILABLE, "this node is shutting down");
    net_listener_free(rpc->listener);
    while (!cf_list_empty(&rpc->links)) {
        rpc_link_end(cf_container(rpc->links.next, struct rpc_link, in_rpc), &why);
    }
    assert(cf_list_empty(&rpc->pending)); /* clients are freed before their endpoint */
    for (size_t i = 0; i < RPC_SERVINGS_MAX; i++) {
        if (rpc->servings[i] != NULL) {
            rpc_serving_unref(rpc->servings[i]);
        }
    }
    tls_server_free(rpc->server);
    loop_timer_free(rpc->deadline_timer);
    loop_timer_free(rpc->tick_timer);
    cf_free(rpc);
}

uint64_t rpc_incarnation(const struct rpc *rpc)
{
    return rpc->incarnation;
}

void rpc_set_addresses(struct rpc *rpc, const char *cluster_address, const char *api_address)
{
    set_text(rpc->cluster_address, sizeof(rpc->cluster_address), cluster_address);
    set_text(rpc->api_address, sizeof(rpc->api_address), api_address);
}

void rpc_handle(struct rpc *rpc, enum rpc_id id, rpc_handler handler, void *ctx)
{
    assert((unsigned)id < RPC_IDS_MAX && rpc_type_find((uint16_t)id) != NULL);
    rpc->handlers[id].fn = handler;
    rpc->handlers[id].ctx = ctx;
}

void rpc_serving_unref(struct serving *serving)
{
    if (--serving->refs == 0) {
        node_tls_free(serving->tls);
        cf_free(serving);
    }
}

static struct serving **slot_of(struct rpc *rpc, struct cf_slice alpn)
{
    struct serving **vacant = NULL;
    for (size_t i = 0; i < RPC_SERVINGS_MAX; i++) {
        if (rpc->servings[i] == NULL) {
            vacant = vacant != NULL ? vacant : &rpc->servings[i];
        } else if (cf_slice_is(alpn, rpc->servings[i]->alpn)) {
            return &rpc->servings[i];
        }
    }
    assert(vacant != NULL);
    return vacant;
}

struct serving *rpc_find_serving(struct rpc *rpc, struct cf_slice alpn)
{
    return *slot_of(rpc, alpn);
}

cf_status rpc_serve(struct rpc *rpc, const struct rpc_serving *serving, struct cf_error *err)
{
    struct tls_credentials with = node_tls_credentials(serving->tls);
    CF_TRY(tls_server_set(rpc->server, serving->alpn, &with, err));
    struct serving **slot = slot_of(rpc, cf_slice_str(serving->alpn));
    if (*slot != NULL) {
        rpc_serving_unref(*slot);
    }
    *slot = cf_new(struct serving);
    (*slot)->refs = 1;
    (*slot)->is = *serving;
    (*slot)->tls = node_tls_copy(serving->tls);
    set_text((*slot)->alpn, sizeof((*slot)->alpn), serving->alpn);
    return CF_OK;
}

void rpc_unserve(struct rpc *rpc, const char *alpn)
{
    struct serving **slot = slot_of(rpc, cf_slice_str(alpn));
    tls_server_remove(rpc->server, alpn);
    if (*slot == NULL) {
        return;
    }
    cf_list_for_safe (at, &rpc->links) {
        struct rpc_link *link = cf_container(at, struct rpc_link, in_rpc);
        if (!link->dialled && link->serving != NULL && strcmp(link->serving->alpn, alpn) == 0) {
            rpc_link_close(link, "not served any more");
        }
    }
    rpc_serving_unref(*slot);
    *slot = NULL;
}

void rpc_end_served(struct rpc *rpc, const void *ctx)
{
    struct cf_error why = {0};
    (void)cf_fail(&why, CF_UNAVAILABLE, "not served any more");
    cf_list_for_safe (at, &rpc->links) {
        struct rpc_link *link = cf_container(at, struct rpc_link, in_rpc);
        if (!link->dialled && link->serving != NULL && link->serving->is.ctx == ctx) {
            rpc_link_end(link, &why);
        }
    }
}

static void on_accept(int fd, const struct net_address *peer, void *arg)
{
    struct rpc *rpc = arg;
    if (rpc->opening >= RPC_OPENING_MAX || rpc->accepted >= RPC_LINKS_MAX) {
        struct cf_error why = {0};
        char address[NET_TEXT_SIZE];
        net_text(peer, address);
        (void)cf_fail(&why, CF_BUSY, "too many connections");
        rpc_log_refusal(rpc, address, "connection refused", &why);
        rpc->counters.refused++;
        close(fd);
        return;
    }
    struct rpc_link *link = rpc_link_new(rpc);
    rpc->accepted++;
    rpc->opening++;
    link->counted_opening = true;
    net_text(peer, link->peer.address);
    link->stream = stream_accept(rpc->loop, fd, rpc->server, rpc_link_ops(), link);
    stream_read_marks(link->stream, FRAME_HEADER_SIZE, RPC_READ_HIGH);
    stream_deadline(link->stream, loop_now_us() + RPC_HELLO_US, "TLS handshake and hello");
}

cf_status rpc_listen(struct rpc *rpc, struct cf_slice address, struct cf_error *err)
{
    assert(rpc->listener == NULL);
    return net_listen(rpc->loop, address, "cluster port", on_accept, rpc, &rpc->listener, err);
}

const char *rpc_listen_address(const struct rpc *rpc)
{
    return rpc->listener != NULL ? net_listener_address(rpc->listener) : NULL;
}

size_t rpc_close_matching(struct rpc *rpc, const char *alpn, const struct identity *wanted,
                          const char *why)
{
    size_t count = 0;
    cf_list_for_safe (at, &rpc->links) {
        struct rpc_link *link = cf_container(at, struct rpc_link, in_rpc);
        if (link->state >= LINK_HELLO && !link->closing && strcmp(link->peer.alpn, alpn) == 0 &&
            identity_matches(wanted, &link->peer.identity)) {
            rpc_link_close(link, why);
            count++;
        }
    }
    return count;
}

size_t rpc_each_link(struct rpc *rpc, void (*fn)(void *arg, struct rpc_link *link), void *arg)
{
    size_t count = 0;
    cf_list_for_safe (at, &rpc->links) {
        struct rpc_link *link = cf_container(at, struct rpc_link, in_rpc);
        if (link->state == LINK_UP && !link->closing) {
            count++;
            if (fn != NULL) {
                fn(arg, link);
            }
        }
    }
    return count;
}

const struct rpc_counters *rpc_counters(const struct rpc *rpc)
{
    return &rpc->counters;
}

void rpc_log_refusal(struct rpc *rpc, const char *address, const char *what,
                     const struct cf_error *why)
{
    uint64_t now = loop_now_us();
    if (now - rpc->logged_at_us >= RPC_TICK_US) {
        if (rpc->log_dropped > 0) {
            cf_warn("cluster", "%u more connections were refused", rpc->log_dropped);
        }
        rpc->logged_at_us = now;
        rpc->logged = rpc->log_dropped = 0;
    }
    if (rpc->logged++ < LOGS_PER_SECOND) {
        cf_warn("cluster", "%s: %s: %s", address, what, why->message);
    } else {
        rpc->log_dropped++;
    }
}
