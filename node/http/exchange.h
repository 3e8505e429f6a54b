/* node/http/exchange.h
 *
 * One request and its answer, as a handler sees them.
 *
 *      handler(ctx, x) --http_respond--------------------------------> gone
 *            \---------http_stream_begin, _write ..., http_stream_end--> gone
 *
 * The handler answers at once or later, exactly once, on the reactor's thread; from another thread
 * it comes back with http_exchange_post. Until it is answered the exchange lives, whatever becomes
 * of the client: the answer to a client that has gone is dropped silently. After http_respond or
 * http_stream_end nothing of it may be touched: slices that the accessors returned and what its
 * arena handed out are wiped and used again.
 *
 * Everything here is for the reactor's thread, except http_exchange_post. While the handler has the
 * exchange, another thread may read what the accessors returned before.
 */
#ifndef COFFER_HTTP_EXCHANGE_H
#define COFFER_HTTP_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/http/parser.h"

struct http_exchange;
struct loop;

typedef void http_handler_fn(void *ctx, struct http_exchange *x);

/* Takes a large body piece by piece, on the reactor's thread: it must not wait for anything but a
 * file. Its owner embeds it. */
struct http_sink {
    size_t body_max; /* 413 beyond */
    /* Never fails for the client's sight: what went wrong is told by the handler, at the end. */
    void (*write)(struct http_sink *sink, struct cf_slice bytes);
    void (*free)(struct http_sink *sink); /* after the answer, or when the client is lost */
};

/* The request. Slices are borrowed until the answer. */
enum http_method http_method(const struct http_exchange *x);
struct cf_slice http_method_name(const struct http_exchange *x);
struct cf_slice http_path(const struct http_exchange *x);  /* canonical, see path.h: "/v1/a b" */
struct cf_slice http_query(const struct http_exchange *x); /* as sent, without '?'; may be empty */
struct cf_slice http_body(const struct http_exchange *x);  /* in one piece; may be empty */
/* What took the body instead, as http_options.sink_for gave it; NULL: nothing did. */
struct http_sink *http_body_sink(const struct http_exchange *x);
/* The value of the first header of that name, in any case; false when there is none. */
bool http_header(const struct http_exchange *x, struct cf_slice name, struct cf_slice *ret);
/* How many headers of that name the client sent (two tokens are not one). */
unsigned http_header_lines(const struct http_exchange *x, struct cf_slice name);
/* All of them in order; false at the end. Start with *at = 0. */
bool http_header_next(const struct http_exchange *x, size_t *at, struct cf_slice *name,
                      struct cf_slice *value);

/* The client. "127.0.0.1", "::1"; port 0 when unknown. */
struct cf_slice http_peer_address(const struct http_exchange *x);
uint16_t http_peer_port(const struct http_exchange *x);
bool http_is_tls(const struct http_exchange *x);
/* The certificate that the client has shown, as DER in the exchange's arena. Presented, not
 * verified: that is the caller's to do. CF_NOT_FOUND: none (or plain HTTP); CF_UNAVAILABLE: the
 * client has gone. */
CF_CHECKED cf_status http_peer_cert(struct http_exchange *x, struct cf_slice *ret,
                                    struct cf_error *err);
/* The connection was lost: nobody will read the answer. */
bool http_is_gone(const struct http_exchange *x);

/* What http_listen was given: tells listeners apart. */
void *http_listener_context(const struct http_exchange *x);
/* Memory of the exchange, wiped after the answer. */
struct arena *http_arena(struct http_exchange *x);
/* The reactor's loop; and its index among the reactors (for data that is one per thread). */
struct loop *http_loop(const struct http_exchange *x);
unsigned http_reactor_index(const struct http_exchange *x);

/* Any thread: fn(x, arg) will run on the reactor's thread. The exchange must not have been
 * answered, and stays so until fn has run. No allocation for the first that is under way. */
void http_exchange_post(struct http_exchange *x, void (*fn)(struct http_exchange *x, void *arg),
                        void *arg);

/* The answer's header. Always added: Content-Length or chunked framing, Cache-Control: no-store
 * (unless given), Date, on TLS Strict-Transport-Security, Connection: close where due. */
struct http_header_out {
    struct cf_slice name, value; /* one with a CR, LF or NUL in it is left out */
};
struct http_headers_out {
    const char *content_type; /* NULL: application/json */
    const struct http_header_out *list;
    size_t count;
    bool close; /* end the connection after this answer */
};

/* Adds a header to whatever answer this exchange gets, streamed ones included; at most 8, name and value
 * live until the answer. */
void http_add_header(struct http_exchange *x, struct cf_slice name, struct cf_slice value);

/* status 200..599. headers may be NULL. Everything is copied or sent before it returns. 204 and 304
 * have no body; for HEAD the length of `body` is told, and the body left out. */
void http_respond(struct http_exchange *x, int status, const struct http_headers_out *headers,
                  struct cf_slice body);
/* {"errors":["<message>"]}; message is any text, NULL gives {"errors":[]}. */
void http_respond_error(struct http_exchange *x, int status, const char *message);

/* Long answers, piece by piece (chunked; to HTTP/1.0 clients until the connection closes). */
struct http_stream_ops {
    /* Room again, after http_stream_write has returned false. */
    void (*on_room)(struct http_exchange *x, void *arg);
    /* The client has gone: stop producing and call http_stream_end. Comes once at most, never from
     * inside a call of this header. */
    void (*on_gone)(struct http_exchange *x, void *arg);
};
void http_stream_begin(struct http_exchange *x, int status, const struct http_headers_out *headers,
                       const struct http_stream_ops *ops, void *arg);
/* Copies. false: 1 MiB or more waits for the client, go on at on_room (or, when it has gone,
 * on_gone). What is written regardless is queued; for a client that has gone it is dropped. */
bool http_stream_write(struct http_exchange *x, struct cf_slice bytes);
/* complete false: something went wrong half-way, the connection is cut so that the client sees it.
 */
void http_stream_end(struct http_exchange *x, bool complete);

#endif
