/* node/cluster/rpc.h
 *
 * Messages between nodes: long-lived connections of mutual TLS 1.3, on which both sides send
 * requests (answered later, in any order) and one-way messages, in frames of proto/frame.h with ids
 * of proto/rpc.def. All of it lives on one loop (the main loop) and its thread.
 *
 *     rpc          this node's endpoint: handlers, who may connect, all links
 *     rpc_link     one connection, dialled or accepted; equal rights once the hello is through
 *     rpc_client   keeps links to one peer alive: dials addresses in turn, with backoff and jitter
 *     rpc_call     a request that came in and waits for its answer
 *
 * Bytes in slices are borrowed for the call only, in both directions. Callbacks never run inside
 * the call that asked for them.
 */
#ifndef COFFER_CLUSTER_RPC_H
#define COFFER_CLUSTER_RPC_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/cluster/identity.h"
#include "node/cluster/loop.h"
#include "node/cluster/net.h"
#include "node/cluster/tls.h"
#include "proto/rpc_table.h"

struct rpc;
struct rpc_link;
struct rpc_client;
struct rpc_call;
struct rpc_pending;

#define RPC_PROTOCOL 1
#define RPC_QUEUE_MAX_DEFAULT ((size_t)32 << 20) /* bytes that wait on one link */

/* Traffic of different temper gets connections of its own: bulk never delays a heartbeat. */
enum rpc_traffic { RPC_LATENCY = 0, RPC_BULK = 1, RPC_TRAFFIC_COUNT = 2 };

/* The other side of a link. Strings are "" where it said nothing. */
struct rpc_peer {
    struct identity identity; /* from its verified certificate */
    uint8_t fingerprint[32];  /* SHA-256 of that */
    uint64_t incarnation;     /* random, new at each start of its process */
    unsigned level;           /* feature level that both know */
    enum rpc_traffic traffic;
    char alpn[TLS_ALPN_MAX + 1];
    char address[NET_TEXT_SIZE];                              /* of the connection */
    char cluster_address[256], api_address[256], version[64]; /* as it says */
};

/* Endpoint. `random` (borrowed) draws jitter and this node's incarnation. */
struct cf_random;
struct rpc_config {
    struct loop *loop;
    const struct cf_random *random;
    const char *version;         /* the software's, for status pages */
    const char *cluster_address; /* told to peers; may be "" */
    const char *api_address;
};
/* Strings are copied. */
struct rpc *rpc_new(const struct rpc_config *config);
/* Closes every link; pending calls end with CF_UNAVAILABLE or CF_UNKNOWN_OUTCOME before this
 * returns. Clients were freed by their owners. NULL is fine. */
void rpc_free(struct rpc *rpc);
CF_DEFINE_OWNED(rpc);
uint64_t rpc_incarnation(const struct rpc *rpc);
/* What hellos say from now on. */
void rpc_set_addresses(struct rpc *rpc, const char *cluster_address, const char *api_address);

/* A request (call != NULL) or one-way message (call NULL) of `id` came in, on a connection whose
 * ALPN name may carry it. Answer a call exactly once with rpc_reply or rpc_fail, now or later. */
typedef void (*rpc_handler)(void *ctx, struct rpc_link *link, struct cf_slice request,
                            struct rpc_call *call);
/* handler NULL removes. Ids without a handler answer CF_UNSUPPORTED (requests) or are dropped. */
void rpc_handle(struct rpc *rpc, enum rpc_id id, rpc_handler handler, void *ctx);

/* Answers. When the link is gone by then, the answer goes nowhere. */
void rpc_reply(struct rpc_call *call, struct cf_slice response);
void rpc_fail(struct rpc_call *call, const struct cf_error *why); /* why->status is not CF_OK */
/* Absolute on loop_now_us(); 0: none. Past it nobody waits any more. */
uint64_t rpc_call_deadline(const struct rpc_call *call);
/* NULL once the link is gone. */
struct rpc_link *rpc_call_link(struct rpc_call *call);

/* Serving one ALPN name on the cluster port. */
struct rpc_serving {
    const char *alpn;
    unsigned who;               /* the RPC_BY_ bit of that name */
    const struct node_tls *tls; /* copied */
    /* May this peer connect (a member, a secondary that is not revoked)? Its certificate was
     * verified against the CA pool and its hello agrees with it. NULL: everybody of the pool.
     * Another status than CF_OK is sent to the peer and closes the connection. */
    cf_status (*authorise)(void *ctx, const struct rpc_peer *peer, struct cf_error *err);
    /* May be NULL. `down` comes once for every `up`; the link is still readable inside. */
    void (*up)(void *ctx, struct rpc_link *link);
    void (*down)(void *ctx, struct rpc_link *link, const struct cf_error *why);
    void *ctx;
    /* A peer that says nothing for so long, although it was asked after a third of it, is taken for
     * dead; 0: 15 s. A peer whose process is stopped keeps its connections: only this finds it. */
    uint64_t dead_us;
};
/* Adds or replaces (a renewed certificate); existing links stay. */
CF_CHECKED cf_status rpc_serve(struct rpc *rpc, const struct rpc_serving *serving,
                               struct cf_error *err);
/* Refuses new connections with that name and closes its accepted links. */
void rpc_unserve(struct rpc *rpc, const char *alpn);
/* Ends at once, with `down`, every accepted link that was served with this ctx, those that are closing included: the
 * owner of ctx is about to go. Not from inside a callback of such a link. */
void rpc_end_served(struct rpc *rpc, const void *ctx);
/* Opens the cluster port; one a process. Errors as net_listen. */
CF_CHECKED cf_status rpc_listen(struct rpc *rpc, struct cf_slice address, struct cf_error *err);
/* "127.0.0.1:8201"; NULL before rpc_listen. */
const char *rpc_listen_address(const struct rpc *rpc);

/* Closes at once every link, accepted or dialled, whose peer matches (revocation, removed member);
 * the empty parts of `wanted` match anything. Returns how many. */
size_t rpc_close_matching(struct rpc *rpc, const char *alpn, const struct identity *wanted,
                          const char *why);
/* All links that are up, in no particular order; returns how many. fn (may be NULL) may close
 * links, but not free clients. */
size_t rpc_each_link(struct rpc *rpc, void (*fn)(void *arg, struct rpc_link *link), void *arg);

struct rpc_counters {
    uint64_t accepted, refused, dialled, dial_failed, calls, calls_failed, served, frames_in,
        frames_out, bytes_in, bytes_out, malformed;
};
const struct rpc_counters *rpc_counters(const struct rpc *rpc);

/* The end of a request. */
struct rpc_result {
    /* CF_OK: the response. The peer's own status when it answered with an error. Else:
     * CF_UNAVAILABLE: the request was provably not sent; nothing happened;
     * CF_UNKNOWN_OUTCOME: the connection was lost after it may have been sent;
     * CF_TIMEOUT: the deadline passed (`sent` tells whether it may have been sent). */
    cf_status status;
    bool sent;
    const struct cf_error *err; /* never NULL; the peer's message, or ours */
    struct cf_slice response;
    unsigned level; /* feature level of the link it went over; 0: over none */
};
typedef void (*rpc_done_fn)(void *arg, const struct rpc_result *result);

/* Sends a request. fn is called exactly once, unless an error is returned here or rpc_cancel comes
 * first: CF_BUSY when the link's queue is full, CF_UNAVAILABLE when it is closed, CF_TOO_LARGE past
 * a frame's size. deadline_us: absolute, 0 for none. ret (may be NULL): for rpc_cancel, until fn.
 */
CF_CHECKED cf_status rpc_link_call(struct rpc_link *link, enum rpc_id id, struct cf_slice request,
                                   uint64_t deadline_us, rpc_done_fn fn, void *arg,
                                   struct rpc_pending **ret, struct cf_error *err);
/* fn will not be called; the peer is not told. */
void rpc_cancel(struct rpc_pending *pending);
/* A one-way message: no answer, and no word of its loss but the link's end. Errors as above. */
CF_CHECKED cf_status rpc_link_send(struct rpc_link *link, enum rpc_id id, struct cf_slice message,
                                   struct cf_error *err);

/* Facts of a link; borrowed for its life (until its `down`). */
const struct rpc_peer *rpc_link_peer(const struct rpc_link *link);
struct rpc *rpc_link_rpc(const struct rpc_link *link);
/* Anything the owner wants to find again. */
void rpc_link_set_user(struct rpc_link *link, void *user);
void *rpc_link_user(const struct rpc_link *link);
/* Back-pressure: bytes that wait here, the most that may, and a call each time the queue falls
 * below a quarter of that after it was above (one watcher a link; NULL removes). */
size_t rpc_link_queued(const struct rpc_link *link);
size_t rpc_link_queue_max(const struct rpc_link *link);
void rpc_link_on_writable(struct rpc_link *link, void (*fn)(void *arg, struct rpc_link *link),
                          void *arg);
/* Stops and restarts reading from the peer. */
void rpc_link_pause(struct rpc_link *link, bool paused);
/* As stream_window: this link carries much, maybe over a long way. */
void rpc_link_window(struct rpc_link *link, size_t bytes);
/* `down` and the ends of pending calls follow, not inside this call. */
void rpc_link_close(struct rpc_link *link, const char *why);

/* Dialling. */
struct rpc_client_config {
    const char *alpn;
    unsigned who;               /* the RPC_BY_ bit of that name */
    const struct node_tls *tls; /* copied */
    struct identity expect;     /* empty parts: any of the CA pool */
    unsigned traffic;           /* bits (1 << RPC_LATENCY) | (1 << RPC_BULK); 0: latency only */
    size_t queue_max;           /* bytes a link; 0: RPC_QUEUE_MAX_DEFAULT */
    uint64_t backoff_min_us, backoff_max_us; /* 0: 100 ms, 3 s */
    uint64_t dead_us;  /* as in struct rpc_serving */
    /* One attempt may take so long, to the end of the hello, and twice as long with each round that
     * fails, up to 10 s; 0: 10 s from the start. */
    uint64_t hello_us;
    /* Requests wait for a connection through one round of the addresses at most; once a round has
     * failed, they end at once (CF_UNAVAILABLE) until there is one again. */
    bool is_impatient;
    /* May be NULL; as in struct rpc_serving. */
    void (*up)(void *ctx, struct rpc_link *link);
    void (*down)(void *ctx, struct rpc_link *link, const struct cf_error *why);
    /* An attempt failed (may be NULL): `address` is what was tried. Not for lost links. */
    void (*failed)(void *ctx, const char *address, const struct cf_error *why);
    void *ctx;
};
/* Starts to dial `addresses` ("host:port", tried in turn, names are looked up each time), and again
 * whenever a link is lost, until it is freed. CF_INVALID for a malformed address or credentials. */
CF_CHECKED cf_status rpc_client_new(struct rpc *rpc, const struct rpc_client_config *config,
                                    const struct cf_slice *addresses, size_t count,
                                    struct rpc_client **ret, struct cf_error *err);
/* Closes its links at once: `down` is not called any more; pending calls end before this returns.
 */
void rpc_client_free(struct rpc_client *client);
CF_DEFINE_OWNED(rpc_client);
/* Replaces the list for the next attempts (count 0: rests); links that are up stay. */
CF_CHECKED cf_status rpc_client_set_addresses(struct rpc_client *client,
                                              const struct cf_slice *addresses, size_t count,
                                              struct cf_error *err);
/* Replaces the credentials for the next attempts (renewal). */
CF_CHECKED cf_status rpc_client_set_tls(struct rpc_client *client, const struct node_tls *tls,
                                        struct cf_error *err);
/* Dials at once instead of waiting for the backoff. */
void rpc_client_hurry(struct rpc_client *client);
/* NULL while there is none. */
struct rpc_link *rpc_client_link(struct rpc_client *client, enum rpc_traffic traffic);
/* The last failure since the link went down; CF_OK while it is up or was never tried. Borrowed. */
const struct cf_error *rpc_client_error(const struct rpc_client *client);
/* As rpc_link_call on the client's link. While a connection is being made the request waits for it
 * (at most queue_max bytes in all); when that fails, it ends with CF_UNAVAILABLE and the reason.
 * Between attempts: CF_UNAVAILABLE at once. */
CF_CHECKED cf_status rpc_client_call(struct rpc_client *client, enum rpc_traffic traffic,
                                     enum rpc_id id, struct cf_slice request, uint64_t deadline_us,
                                     rpc_done_fn fn, void *arg, struct rpc_pending **ret,
                                     struct cf_error *err);
/* As rpc_link_send; CF_UNAVAILABLE while there is no link. */
CF_CHECKED cf_status rpc_client_send(struct rpc_client *client, enum rpc_traffic traffic,
                                     enum rpc_id id, struct cf_slice message, struct cf_error *err);

#endif
