/* node/http/wire.h
 *
 * The bytes of one client's connection. Plain TCP is read and written here directly: received into
 * the request's own (wiped) buffer, sent with one system call, and with the two directions ended
 * one by one, so that a client that has ended its side still gets its answer. TLS goes through
 * node/cluster/stream.h, which keeps OpenSSL to itself.
 * Thread: the reactor's. Callbacks never come from inside a call of this header.
 */
#ifndef COFFER_HTTP_WIRE_H
#define COFFER_HTTP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/slice.h"
#include "node/cluster/loop.h"
#include "node/cluster/stream.h"

struct wire_ops {
    void (*on_input)(void *arg);   /* bytes, or the end, can be read */
    void (*on_drained)(void *arg); /* everything was sent, after something had to wait */
    void (*on_lost)(void *arg);    /* no more reading or writing; the owner calls wire_close */
};

/* Zeroed before wire_open; fields are private. */
struct wire {
    const struct wire_ops *ops;
    void *arg;
    struct stream *stream; /* TLS, or NULL */
    struct loop_fd *watch; /* plain */
    int fd;
    bool readable, paused, lost, corked;
    unsigned wanted;
    struct cf_buf out; /* plain: what the kernel did not take yet, from out_at on */
    size_t out_at;
    uint64_t sent;
};

enum wire_read {
    WIRE_SOME, /* at least one byte was appended */
    WIRE_NONE, /* on_input will come */
    WIRE_END,  /* the client sends nothing more (plain only: it may still read) */
    WIRE_LOST,
};

/* Takes over the descriptor. tls NULL: plain. */
void wire_open(struct wire *wire, struct loop *loop, int fd, struct tls_server *tls,
               const struct wire_ops *ops, void *arg);
/* Closes at once. A wire that was never opened (zeroed) is fine. */
void wire_close(struct wire *wire);

/* Appends up to `room` bytes (> 0) to `into`, which grows when it must. */
enum wire_read wire_read(struct wire *wire, struct cf_buf *into, size_t room);
/* Reads and forgets. */
enum wire_read wire_discard(struct wire *wire);
/* Input came that nobody may read now: rests until wire_resume. Answers WIRE_END when it is the
 * end that came. */
enum wire_read wire_pause(struct wire *wire);
void wire_resume(struct wire *wire);

/* Sends the parts behind each other, in one system call or TLS record where possible; what the
 * kernel does not take is copied and follows. Nothing when lost. */
void wire_write(struct wire *wire, const struct cf_slice *parts, size_t count);
/* Corked: collects small answers until uncorked. */
void wire_cork(struct wire *wire, bool corked);
size_t wire_queued(const struct wire *wire);
/* Bytes that were handed over in all: moves as long as the client takes something. */
uint64_t wire_sent(const struct wire *wire);
/* With nothing queued: tells the client that no more will come. TLS: closes, on_lost follows. */
void wire_finish(struct wire *wire);

static inline bool wire_is_lost(const struct wire *wire)
{
    return wire->lost;
}
static inline bool wire_is_tls(const struct wire *wire)
{
    return wire->stream != NULL;
}

#endif
