/* node/cluster/stream.h
 *
 * A connected byte stream, plain TCP or TLS, on a loop. Belongs to its loop's thread. What is
 * written during one pass of the loop leaves as one write (and as few TLS records as possible).
 *
 *      dial/accept --> opening --on_open--> open --on_close--> closed --stream_free
 *                          \_______________on_close_______________^
 *
 * on_close comes exactly once, unless the owner frees the stream first; nothing comes after it.
 * Inside any callback the owner may call any function here, stream_free too.
 */
#ifndef COFFER_CLUSTER_STREAM_H
#define COFFER_CLUSTER_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/cluster/loop.h"
#include "node/cluster/net.h"
#include "node/cluster/tls.h"

struct evbuffer;
struct stream;

struct stream_ops {
    /* Connected, handshake done. Plain accepted streams are open at once and don't call this.
     * May be NULL. */
    void (*on_open)(struct stream *stream, void *arg);
    /* At least the read low-water mark of bytes waits. Called again only when more arrives: consume
     * what is complete. */
    void (*on_read)(struct stream *stream, void *arg);
    /* stream_queued fell to the write low-water mark after it had been above. May be NULL. */
    void (*on_drained)(struct stream *stream, void *arg);
    /* The end. why->status: CF_OK: the peer closed in order, or stream_finish has sent everything;
     * CF_TIMEOUT: the deadline; CF_DENIED: a certificate or an ALPN name was refused (by us or by
     * the peer); CF_UNAVAILABLE: connection refused, reset or lost; CF_INVALID: not TLS where TLS
     * was due. The message says in clear words what happened and, where that is known, what to do.
     */
    void (*on_close)(struct stream *stream, const struct cf_error *why, void *arg);
};

/* Takes over a descriptor that net_listen accepted, also after a failure. tls NULL: plain TCP. */
struct stream *stream_accept(struct loop *loop, int fd, struct tls_server *tls,
                             const struct stream_ops *ops, void *arg);
/* Connects. tls NULL: plain TCP. Every failure arrives through on_close. */
struct stream *stream_dial(struct loop *loop, const struct net_address *to, struct tls_client *tls,
                           const struct stream_ops *ops, void *arg);
/* Closes at once; what was not sent is lost. NULL is fine. */
void stream_free(struct stream *stream);
CF_DEFINE_OWNED(stream);

/* Replaces callbacks and argument (a connection changes hands). */
void stream_set_ops(struct stream *stream, const struct stream_ops *ops, void *arg);
/* low: on_read waits for that many bytes (default 1). high: reading from the network stops while
 * that many bytes wait (default 64 KiB; must be above what the owner needs at once). */
void stream_read_marks(struct stream *stream, size_t low, size_t high);
/* low: on_drained comes at that many bytes (default 0). */
void stream_write_mark(struct stream *stream, size_t low);
/* Stops and restarts reading from the network (back-pressure). Reading again reports what waits. */
void stream_pause(struct stream *stream, bool paused);
/* This stream carries much over a long way: has the kernel hold up to `bytes` on their way, as far as it lets an
 * unprivileged process (net.core.wmem_max, net.ipv4.tcp_rmem). Never makes anything smaller. */
void stream_window(struct stream *stream, size_t bytes);
/* Absolute, loop_now_us(); 0: none. Past it the stream closes with CF_TIMEOUT and `what` (static
 * text, "request header") in the message. It covers everything, handshake and waiting included: the
 * owner moves it per phase. */
void stream_deadline(struct stream *stream, uint64_t at_us, const char *what);

/* Input: what has arrived. */
size_t stream_available(const struct stream *stream);
/* The first `size` bytes (or all, when fewer) in one piece; borrowed until the next call for this
 * stream. */
struct cf_slice stream_peek(struct stream *stream, size_t size);
/* What lies in one piece at the front already, without copying. */
struct cf_slice stream_peek_some(struct stream *stream);
void stream_consume(struct stream *stream, size_t size);

/* Output: copied and queued without limit (watch stream_queued); dropped once the stream is closed.
 */
void stream_write(struct stream *stream, struct cf_slice bytes);
/* The same without a copy: `done(arg)` is called once the bytes are not needed any more. */
void stream_write_borrowed(struct stream *stream, struct cf_slice bytes, loop_fn done, void *arg);
/* Bytes accepted that did not reach the kernel yet. */
size_t stream_queued(const struct stream *stream);
/* All bytes that were ever handed over to the kernel (or to TLS on the way there); what
 * stream_write got beyond this was provably not sent. */
uint64_t stream_sent(const struct stream *stream);
/* All bytes that ever came in (decrypted). */
uint64_t stream_received(const struct stream *stream);
/* No more output: sends what is queued, then closes; on_close(CF_OK) follows. Input is dropped. */
void stream_finish(struct stream *stream);

/* Facts. Empty or NULL where there is none (plain, or not open yet). */
bool stream_is_open(const struct stream *stream);
bool stream_is_tls(const struct stream *stream);
const char *stream_peer(const struct stream *stream);        /* "127.0.0.1:41234" */
struct cf_slice stream_alpn(const struct stream *stream);    /* borrowed */
const char *stream_tls_version(const struct stream *stream); /* "TLSv1.3" */
/* The peer's certificate as DER (verified on the cluster port; only presented on an operator's
 * listener). CF_NOT_FOUND when there is none. */
CF_CHECKED cf_status stream_peer_cert(const struct stream *stream, struct cf_buf *ret,
                                      struct cf_error *err);
/* True when the peer's certificate was verified against a CA pool. */
bool stream_peer_verified(const struct stream *stream);

/* The buffers themselves, for owners that parse in place. Write only through the functions above,
 * or through stream_output and then stream_flush_soon. */
struct evbuffer *stream_input(struct stream *stream);
struct evbuffer *stream_output(struct stream *stream);
void stream_flush_soon(struct stream *stream);

#endif
