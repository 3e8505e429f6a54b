/* node/http/server_int.h: server, connection and exchange from the inside. */
#ifndef COFFER_HTTP_SERVER_INT_H
#define COFFER_HTTP_SERVER_INT_H

#include <netinet/in.h>
#include <stdatomic.h>

#include "node/base/list.h"
#include "node/http/server.h"
#include "node/http/wire.h"

#define SWEEP_US ((uint64_t)250000)        /* how exactly deadlines are kept */
#define LINGER_US ((uint64_t)2000000)      /* for a client to read the last answer */
#define BODY_GRACE_US ((uint64_t)10000000) /* then BODY_RATE counts */
#define BODY_RATE ((uint64_t)1024)         /* bytes per second */
#define BODY_MAX_MAX ((size_t)1 << 40)     /* of any path: sums below do not overflow */
#define STREAM_QUEUE_MAX ((size_t)1 << 20) /* of one streamed answer, then its writer waits */
#define PIPELINE_QUEUE_MAX                                                                         \
    ((size_t)262144)     /* of unread answers, then no more requests are read                      \
                          */
#define PIPELINE_TURN 64 /* requests of one connection, then others get a turn */
#define READ_SIZE ((size_t)8192)
#define INPUT_KEPT_MAX ((size_t)65536) /* memory of an unused exchange above this is given back */
#define EXTRA_HEADERS_MAX 8
#define POOL_MAX 256                   /* unused exchanges that are kept */

enum exchange_state {
    EXCHANGE_READING,   /* the connection fills it */
    EXCHANGE_HANDLED,   /* the handler has it */
    EXCHANGE_STREAMING, /* so it has, and the answer's head was sent */
    EXCHANGE_ANSWERED,
};

struct http_exchange {
    struct http_server *server;
    struct http_conn *conn; /* NULL: unused, or the client has gone */
    struct http_exchange *next_free;
    enum exchange_state state;
    struct arena *arena;
    struct cf_buf in;      /* read so far; the request starts at in_at */
    size_t in_at, in_high; /* in_high: how far `in` was ever filled: what is to be wiped */
    struct http_parser parser;

    struct cf_slice path;
    bool path_is_sent; /* `path` is the request's own bytes: follows them when they move */
    int path_status;   /* 0, or the answer that the path alone calls for */
    const char *path_reason;
    struct cf_slice redirect;
    struct http_sink *sink; /* takes the body; NULL: it stays in `in` */

    char peer[INET6_ADDRSTRLEN];
    uint16_t peer_port;
    bool is_tls;
    void *listener_context;

    struct http_header_out extra[EXTRA_HEADERS_MAX]; /* http_add_header: for whatever answer comes */
    unsigned extra_count;

    const struct http_stream_ops *stream_ops;
    void *stream_arg;
    bool stream_chunked, stream_silent, stream_waits, stream_close;
    bool gone_posted, ended; /* on_gone is on its way; http_stream_end was called meanwhile */
    struct loop_task gone_task;

    struct loop_task post_task;
    atomic_bool post_used;
    void (*post_fn)(struct http_exchange *x, void *arg);
    void *post_arg;
};

enum conn_phase {
    CONN_HEAD, /* waits for (the rest of) a header; so does a new connection */
    CONN_IDLE, /* between two requests */
    CONN_BODY,
    CONN_HANDLED,   /* the handler or a stream has the exchange */
    CONN_FINISHING, /* the last answer is on its way */
    CONN_LINGERING, /* it was sent; waits for the client to close */
};

struct http_conn {
    struct http_server *server;
    struct cf_list link; /* server->conns */
    struct wire wire;
    struct http_exchange *x; /* NULL: no byte of a request is here */
    enum conn_phase phase;
    bool unparsed;   /* x has bytes that the parser did not see */
    bool continued;  /* 100 was sent for this request */
    bool ended;      /* the client sends nothing more */
    bool dead;       /* to be destroyed when depth is 0 */
    bool answered;   /* since the phase was set: the next one starts anew */
    bool blocked;    /* too many unread answers */
    bool waits_turn; /* `turn` is posted */
    unsigned depth;  /* functions of ours on the stack */
    uint64_t deadline_us, body_since_us;
    uint64_t stall_sent, stall_since_us;
    struct loop_task turn;
    char peer_text[INET6_ADDRSTRLEN];
    uint16_t peer_port;
    struct net_address peer;
    struct http_gate *gate;
    void *listener_context;
};

struct http_server {
    struct loop *loop;
    struct http_options options;
    unsigned index;
    struct cf_list conns;
    struct http_exchange *pool;
    unsigned pooled;
    struct loop_timer *sweeper;
    struct cf_buf head; /* scratch: the header of the answer that is being sent */
    int64_t date_s;
    char date[64];
    bool draining, drained;
    uint64_t drain_until_us;
    loop_fn drain_done;
    void *drain_arg;
    struct loop_task drain_task;
    /* Written by the reactor only, but for load. */
    _Atomic uint64_t accepted, requests, refused, timed_out, lost_answers;
    _Atomic unsigned connections, pending;
    _Atomic unsigned load; /* connections, with those on their way here */
};

static inline void count_up(_Atomic uint64_t *counter)
{
    /* One writer: no locked instruction needed. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* server.c */
uint64_t server_now_us(const struct http_server *server);
/* What the sweeper does at its ticks: ends what is past its deadline. */
void server_sweep(struct http_server *server);
void server_check_drained(struct http_server *server);
struct http_exchange *exchange_take(struct http_server *server);
void exchange_give_back(struct http_exchange *x);
/* Wipes the request and what belongs to it, keeps the bytes that follow. */
void exchange_recycle(struct http_exchange *x);

/* conn.c */
void conn_new(struct http_server *server, int fd, const struct net_address *peer,
              struct tls_server *tls, void *listener_context, struct http_gate *gate);
/* Closes and forgets; an exchange that a handler has lives on. */
void conn_drop(struct http_conn *conn);
/* Whatever can be done now is done. */
void conn_advance(struct http_conn *conn);
/* The same in the loop's next pass. */
void conn_turn(struct http_conn *conn);
void conn_check_deadline(struct http_conn *conn, uint64_t now_us);
void conn_set_phase(struct http_conn *conn, enum conn_phase phase,
                    uint64_t in_us); /* 0: for ever */
/* Nothing more is read or answered; what is queued is sent. */
void conn_finish(struct http_conn *conn);
/* Our own error, and the end. */
void conn_refuse(struct http_conn *conn, int status, const char *reason);
static inline bool conn_reads(const struct http_conn *conn)
{
    return !conn->dead && conn->phase < CONN_HANDLED;
}
void conn_drain(struct http_conn *conn);

/* conn_serve.c: reads, parses and hands over until there is nothing to do or it is others' turn. */
void conn_serve(struct http_conn *conn);

/* answer.c */
/* The answer to x->conn's exchange was sent: on to the next request, or to the end. */
void answer_finished(struct http_exchange *x, bool keep_alive);
/* An error found here, before any handler; the connection ends. x may be NULL. */
void answer_refuse(struct http_conn *conn, int status, const char *reason);
void answer_redirect(struct http_exchange *x);

#endif
