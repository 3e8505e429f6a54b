/* node/cluster/rpc_int.h
 *
 * The insides of RPC, shared by rpc.c (endpoint, cluster port), rpc_link.c (one connection),
 * rpc_hello.c (its first messages), rpc_calls.c (requests under way) and rpc_client.c (dialling).
 *
 * Lifetimes: a link is freed by nobody but itself, after its end, once no dispatch of it is on the
 * stack. A serving is counted, because links outlive rpc_unserve by a pass of the loop.
 */
#ifndef COFFER_CLUSTER_RPC_INT_H
#define COFFER_CLUSTER_RPC_INT_H

#include "node/base/host.h"
#include "node/base/list.h"
#include "node/base/map.h"
#include "node/cluster/rpc.h"
#include "node/cluster/stream.h"
#include "proto/common.pb-c.h"
#include "proto/frame.h"
#include "proto/message.h"

enum {
    RPC_IDS_MAX = 256,
    RPC_SERVINGS_MAX = 8,
    RPC_LINKS_MAX = 1024,     /* accepted, all told */
    RPC_OPENING_MAX = 64,     /* accepted and not through the hello */
    RPC_INCOMING_MAX = 32768, /* requests of one peer that wait for our answer */
    RPC_HELLO_SIZE_MAX = 16384,
    RPC_READ_HIGH = 262144,
    RPC_EXPIRED_GRACE_S = 300, /* a session outlives its certificate by so much */
};
#define RPC_HELLO_US ((uint64_t)10000000) /* from accept or dial to the end of the hello */
#define RPC_TICK_US ((uint64_t)250000)
#define RPC_DEAD_US ((uint64_t)15000000) /* nothing heard: close, unless its owner wants it sooner */

struct serving {
    unsigned refs;
    char alpn[TLS_ALPN_MAX + 1];
    struct node_tls *tls;
    struct rpc_serving is; /* callbacks; its alpn and tls are not used */
};

struct rpc {
    struct loop *loop;
    const struct cf_random *random;
    uint64_t incarnation;
    char version[64], cluster_address[256], api_address[256];
    struct {
        rpc_handler fn;
        void *ctx;
    } handlers[RPC_IDS_MAX];
    struct tls_server *server;
    struct net_listener *listener;
    struct serving *servings[RPC_SERVINGS_MAX];
    struct cf_list links;
    size_t accepted, opening; /* links accepted; of these, before the end of the hello */
    struct cf_list pending;   /* all requests under way, for their deadlines */
    uint64_t next_deadline_us;
    struct loop_timer *deadline_timer, *tick_timer;
    uint64_t ticked_us;
    uint64_t logged_at_us;
    unsigned logged, log_dropped;
    struct rpc_counters counters;
};

enum link_state { LINK_OPENING, LINK_HELLO, LINK_UP, LINK_CLOSED };

struct rpc_link {
    struct cf_list in_rpc;
    struct rpc *rpc;
    struct stream *stream;
    struct serving *serving;   /* accepted; known after the TLS handshake */
    struct rpc_client *client; /* dialled; NULL once that is freed */
    bool dialled, closing, counted_opening, task_queued;
    enum link_state state;
    unsigned who, busy;
    struct rpc_peer peer;
    int64_t cert_not_after_s;
    uint64_t written;   /* bytes given to the stream */
    uint64_t next_call; /* ids of our requests */
    uint64_t heard_us, up_us;
    uint64_t dead_us; /* silent for so long: closed; asked after a third of it */
    uint64_t heard_bytes; /* of the stream, at the last tick */
    bool pinging, paused;
    size_t low, queue_max;
    struct cf_map *by_call; /* our requests under way */
    struct cf_list pending, incoming;
    size_t incoming_count;
    struct cf_error why;
    struct loop_task task;
    void (*on_writable)(void *arg, struct rpc_link *link);
    void *writable_arg, *user;
};

/* A request of ours: on a link, or waiting in a client for one (link NULL). */
struct rpc_pending {
    struct cf_list in_owner, in_rpc;
    struct rpc *rpc;
    struct rpc_link *link;
    struct rpc_client *client;
    uint64_t call, deadline_us;
    uint64_t offset; /* where its frame begins in what the link has written */
    uint16_t id;
    struct cf_buf request; /* while it waits */
    rpc_done_fn fn;
    void *arg;
};

/* A request of theirs. */
struct rpc_call {
    struct cf_list in_link;
    struct rpc_link *link; /* NULL once that is gone */
    uint64_t call, deadline_us;
    uint16_t id;
};

/* rpc.c */
struct serving *rpc_find_serving(struct rpc *rpc, struct cf_slice alpn);
void rpc_serving_unref(struct serving *serving);
/* Connections are refused by the hundred when somebody tries: a few lines a second are enough. */
void rpc_log_refusal(struct rpc *rpc, const char *address, const char *what,
                     const struct cf_error *why);

/* rpc_link.c */
struct rpc_link *rpc_link_new(struct rpc *rpc);
const struct stream_ops *rpc_link_ops(void);
/* Frames and queues; true in every state but the last. */
void rpc_link_write(struct rpc_link *link, const struct frame *frame, struct cf_slice payload);
void rpc_link_write_error(struct rpc_link *link, uint16_t id, uint64_t call,
                          const struct cf_error *why);
/* The end: at once, with all that follows. */
void rpc_link_end(struct rpc_link *link, const struct cf_error *why);
/* The end in this pass of the loop, nothing more is read. */
void rpc_link_abort(struct rpc_link *link, const struct cf_error *why);
void rpc_link_set_up(struct rpc_link *link);

/* rpc_hello.c */
void rpc_hello_opened(struct rpc_link *link);
void rpc_hello_request(struct rpc_link *link, const struct frame *frame);

/* rpc_calls.c */
void rpc_calls_incoming(struct rpc_link *link, const struct frame *frame);
void rpc_calls_answer(struct rpc_link *link, const struct frame *frame);
/* Sends a request on a link, whatever its queue. */
struct rpc_pending *rpc_calls_start(struct rpc_link *link, uint16_t id, struct cf_slice request,
                                    uint64_t deadline_us, rpc_done_fn fn, void *arg);
/* One that waits for a link. */
struct rpc_pending *rpc_calls_wait(struct rpc *rpc, struct rpc_client *client,
                                   struct cf_list *waiting, uint16_t id, struct cf_slice request,
                                   uint64_t deadline_us, rpc_done_fn fn, void *arg);
void rpc_calls_move(struct rpc_pending *pending, struct rpc_link *link);
/* Ends one, whatever becomes of the owner inside fn. */
void rpc_calls_end(struct rpc_pending *pending, cf_status status, bool sent,
                   const struct cf_error *why, struct cf_slice response);
/* The link is gone: ends what it carried, and cuts the calls of the peer loose. */
void rpc_calls_lost(struct rpc_link *link, const struct cf_error *why);
void rpc_calls_on_deadline(void *arg);

/* rpc_client.c */
void rpc_client_link_up(struct rpc_client *client, struct rpc_link *link);
/* Before it was up (was_up false), or after. */
void rpc_client_link_ended(struct rpc_client *client, struct rpc_link *link, bool was_up,
                           const struct cf_error *why);
const struct rpc_client_config *rpc_client_config_of(const struct rpc_client *client);
const struct node_tls *rpc_client_tls(const struct rpc_client *client);
void rpc_client_waited(struct rpc_client *client, size_t bytes);

#endif
