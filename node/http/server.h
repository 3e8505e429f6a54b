/* node/http/server.h
 *
 * HTTP/1.1 for clients. A server belongs to one reactor (loop and thread); http_reactors runs one
 * per core. Listeners accept on one loop and hand each connection to the reactor that has fewest:
 * Vault clients hold few connections for long, and the kernel's blind choice between SO_REUSEPORT
 * sockets leaves threads idle (8 connections on 4 threads: in 38 % of cases one gets none); closing
 * one of such sockets also drops what waits in its queue.
 *
 * A connection is served one request at a time, in the order of arrival; what is pipelined waits.
 */
#ifndef COFFER_HTTP_SERVER_H
#define COFFER_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/host.h"
#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/cluster/loop.h"
#include "node/cluster/net.h"
#include "node/cluster/tls.h"
#include "node/http/exchange.h"

#define HTTP_BODY_MAX ((size_t)32 << 20) /* default; 413 beyond */

struct http_options {
    http_handler_fn *handler; /* on the reactor's thread; see exchange.h */
    void *ctx;
    /* May raise (or lower) the limit for one request, before its body is read. May be NULL. */
    size_t (*body_max_for)(void *ctx, enum http_method method, struct cf_slice path,
                           size_t body_max);
    size_t body_max; /* 0: HTTP_BODY_MAX */
    /* Asked when a header is complete (the exchange's accessors but the body's may be used): who takes
     * the body instead of memory; NULL: nobody. May be NULL. */
    struct http_sink *(*sink_for)(void *ctx, struct http_exchange *x);
    void *sink_ctx;
    /* Deadlines per phase, absolute, in microseconds; 0: the default. A client that drips gains
     * nothing. A request's own duration is the handler's to limit. */
    uint64_t header_us;      /* 10 s: from accept, or the first byte, to the end of the header */
    uint64_t body_us;        /* 30 s for each started 32 MiB of the limit, and 1 KiB/s after 10 s */
    uint64_t idle_us;        /* 5 min between requests */
    uint64_t write_stall_us; /* 30 s in which the client takes nothing of its answer */
    const struct cf_clock *clock; /* NULL: cf_host_clock() */
};

/* How many connections there are, over all listeners and reactors. Any thread. */
struct http_gate;
struct http_gate *http_gate_new(unsigned connections_max,
                                unsigned per_address_max); /* 0: no limit */
/* After everything that uses it. NULL is fine. */
void http_gate_free(struct http_gate *gate);
CF_DEFINE_OWNED(http_gate);
/* false: full. IPv6 clients are counted by /64. */
bool http_gate_enter(struct http_gate *gate, const struct net_address *peer);
void http_gate_leave(struct http_gate *gate, const struct net_address *peer);

/* One reactor. */
struct http_server;
struct http_stats {
    uint64_t accepted, requests, refused; /* refused: answered here with an error, for its form */
    uint64_t timed_out, lost_answers;     /* lost: the client had gone before the answer */
    unsigned connections, pending;        /* now; pending: with the handler */
};

/* options are copied; index: what http_reactor_index answers. On the loop's thread, or before it
 * runs. Never fails. */
struct http_server *http_server_new(struct loop *loop, const struct http_options *options,
                                    unsigned index);
/* On the loop's thread or after it has stopped. Connections are closed; no exchange may be with a
 * handler any more (see drain). NULL is fine. */
void http_server_free(struct http_server *server);
CF_DEFINE_OWNED(http_server);
/* Any thread: takes over the descriptor of an accepted connection. gate may be NULL. Descriptors
 * that arrive when the server drains are closed. */
void http_server_adopt(struct http_server *server, int fd, const struct net_address *peer,
                       struct tls_server *tls, void *listener_context, struct http_gate *gate);
/* The loop's thread: idle connections end now, the others after their answer, all after grace_us;
 * then, and when every handler has answered, done(arg) is called once (never from inside). */
void http_server_drain(struct http_server *server, uint64_t grace_us, loop_fn done, void *arg);
/* Any thread; each figure by itself is exact. */
struct http_stats http_server_stats(const struct http_server *server);

/* A thread with loop and server per core. */
struct http_reactors;
/* count 0: one a core. CF_IO when threads or descriptors are refused. */
CF_CHECKED cf_status http_reactors_start(const struct http_options *options, unsigned count,
                                         struct http_reactors **ret, struct cf_error *err);
unsigned http_reactors_count(const struct http_reactors *reactors);
/* Any thread: index < count. */
struct http_server *http_reactors_server(struct http_reactors *reactors, unsigned index);
/* Drains all; done(arg) is called once, on `loop`. The caller goes on running the loops that its
 * handlers need. */
void http_reactors_drain(struct http_reactors *reactors, uint64_t grace_us, struct loop *loop,
                         loop_fn done, void *arg);
/* Stops the threads and frees: after the drain, or when no exchange is with a handler. NULL is
 * fine. */
void http_reactors_free(struct http_reactors *reactors);
CF_DEFINE_OWNED(http_reactors);

/* A listening socket on `loop` (the main one), for all of the reactors. tls NULL: plain HTTP;
 * gate NULL: no limits. Both are borrowed until the reactors are freed. Fails as net_listen does.
 */
struct http_listener;
CF_CHECKED cf_status http_listen(struct loop *loop, struct http_reactors *reactors,
                                 struct cf_slice address, struct tls_server *tls,
                                 struct http_gate *gate, void *context, struct http_listener **ret,
                                 struct cf_error *err);
/* Stops accepting and closes the socket; first of all at shutdown. NULL is fine. */
void http_listener_free(struct http_listener *listener);
CF_DEFINE_OWNED(http_listener);
/* As net_listener_address. */
const char *http_listener_address(const struct http_listener *listener);

#endif
