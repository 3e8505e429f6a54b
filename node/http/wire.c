/* node/http/wire.c: reading and writing one connection; see wire.h. */
#include "node/http/wire.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "node/base/memory.h"

#define CORK_SIZE_MAX ((size_t)65536) /* sent even when corked */
#define OUT_KEPT_MAX ((size_t)65536)  /* memory of an empty queue above this is given back */
#define PARTS_MAX 4

static void want(struct wire *wire, bool write)
{
    unsigned wanted =
        (wire->paused ? 0u : (unsigned)LOOP_READ) | (write ? (unsigned)LOOP_WRITE : 0u);
    if (wanted != wire->wanted) {
        wire->wanted = wanted;
        if (loop_fd_want(wire->watch, wanted, NULL) != CF_OK) {
            wire->lost = true;
        }
    }
}

static void out_reset(struct wire *wire)
{
    cf_wipe(wire->out.data, wire->out.size);
    wire->out.size = 0;
    wire->out_at = 0;
    if (wire->out.capacity > OUT_KEPT_MAX) {
        cf_buf_done(&wire->out);
    }
}

/* Sends from the queue until it is empty or the kernel is full. */
static void flush(struct wire *wire)
{
    while (!wire->lost && wire->out_at < wire->out.size) {
        ssize_t sent = send(wire->fd, wire->out.data + wire->out_at, wire->out.size - wire->out_at,
                            MSG_NOSIGNAL);
        if (sent > 0) {
            wire->out_at += (size_t)sent;
            wire->sent += (uint64_t)sent;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            wire->lost = true;
        }
    }
    if (wire->lost || wire->out_at == wire->out.size) {
        out_reset(wire);
    }
    want(wire, wire->out.size != 0);
}

static void on_ready(int fd, unsigned ready, void *arg)
{
    struct wire *wire = arg;
    (void)fd;
    bool drained = false;
    if ((ready & LOOP_WRITE) != 0) {
        flush(wire);
        drained = wire->out.size == 0;
    }
    if ((ready & LOOP_READ) != 0) {
        wire->readable = true;
    }
    /* One callback a time: it may close the wire, and with it everything behind `wire`. What is
     * readable stays so (level-triggered). */
    if (wire->lost) {
        wire->ops->on_lost(wire->arg);
    } else if (drained) {
        wire->ops->on_drained(wire->arg);
    } else if (wire->readable) {
        wire->ops->on_input(wire->arg);
    }
}

static void on_stream_input(struct stream *stream, void *arg)
{
    struct wire *wire = arg;
    (void)stream;
    wire->ops->on_input(wire->arg);
}

static void on_stream_drained(struct stream *stream, void *arg)
{
    struct wire *wire = arg;
    (void)stream;
    wire->ops->on_drained(wire->arg);
}

static void on_stream_close(struct stream *stream, const struct cf_error *why, void *arg)
{
    struct wire *wire = arg;
    (void)stream;
    (void)why; /* what clients do to their connections is not worth a line of the log */
    wire->lost = true;
    wire->ops->on_lost(wire->arg);
}

static const struct stream_ops stream_ops = {
    .on_read = on_stream_input,
    .on_drained = on_stream_drained,
    .on_close = on_stream_close,
};

void wire_open(struct wire *wire, struct loop *loop, int fd, struct tls_server *tls,
               const struct wire_ops *ops, void *arg)
{
    *wire = (struct wire){.ops = ops, .arg = arg, .fd = -1};
    if (tls != NULL) {
        wire->stream = stream_accept(loop, fd, tls, &stream_ops, wire);
        return;
    }
    wire->fd = fd;
    wire->watch = loop_fd_new(loop, fd, on_ready, wire);
    cf_buf_init_secret(&wire->out, 0);
    want(wire, false);
}

void wire_close(struct wire *wire)
{
    if (wire->ops == NULL) {
        return;
    }
    stream_free(wire->stream);
    loop_fd_free(wire->watch);
    if (wire->fd >= 0) {
        close(wire->fd);
    }
    cf_buf_done(&wire->out);
    *wire = (struct wire){.fd = -1, .lost = true};
}

static enum wire_read read_stream(struct wire *wire, struct cf_buf *into, size_t room)
{
    size_t before = into->size;
    while (into->size - before < room) {
        struct cf_slice some =
            cf_slice_first(stream_peek_some(wire->stream), room - (into->size - before));
        if (some.size == 0) {
            break;
        }
        cf_buf_add_slice(into, some);
        stream_consume(wire->stream, some.size);
    }
    return into->size != before ? WIRE_SOME : WIRE_NONE;
}

/* 0: the end; -1: nothing now; -2: an error. */
static ssize_t receive(struct wire *wire, void *to, size_t room, int flags)
{
    for (;;) {
        ssize_t got = recv(wire->fd, to, room, flags);
        if (got >= 0) {
            return got;
        }
        if (errno == EAGAIN) {
            return -1;
        }
        if (errno != EINTR) {
            return -2;
        }
    }
}

static enum wire_read verdict(struct wire *wire, ssize_t got, size_t room)
{
    if (got > 0) {
        /* Less than was asked for: the next call would find nothing. */
        wire->readable = (size_t)got == room;
        return WIRE_SOME;
    }
    if (got == 0) {
        return WIRE_END;
    }
    wire->readable = false;
    wire->lost = got == -2;
    return wire->lost ? WIRE_LOST : WIRE_NONE;
}

enum wire_read wire_read(struct wire *wire, struct cf_buf *into, size_t room)
{
    if (wire->lost) {
        return WIRE_LOST;
    }
    if (wire->stream != NULL) {
        return read_stream(wire, into, room);
    }
    if (!wire->readable) {
        return WIRE_NONE;
    }
    if (!cf_buf_reserve(into, room)) {
        wire->lost = true; /* unreachable: the buffer has no maximum of its own */
        return WIRE_LOST;
    }
    ssize_t got = receive(wire, into->data + into->size, room, 0);
    into->size += got > 0 ? (size_t)got : 0;
    return verdict(wire, got, room);
}

enum wire_read wire_discard(struct wire *wire)
{
    if (wire->lost) {
        return WIRE_LOST;
    }
    if (wire->stream != NULL) {
        stream_consume(wire->stream, stream_available(wire->stream));
        return WIRE_NONE;
    }
    uint8_t scratch[4096];
    ssize_t got = receive(wire, scratch, sizeof(scratch), 0);
    cf_wipe(scratch, got > 0 ? (size_t)got : 0);
    return verdict(wire, got, sizeof(scratch));
}

enum wire_read wire_pause(struct wire *wire)
{
    if (wire->stream != NULL || wire->lost) {
        return wire->lost ? WIRE_LOST : WIRE_NONE; /* a stream stops at its high-water mark */
    }
    uint8_t byte;
    ssize_t got = receive(wire, &byte, 1, MSG_PEEK);
    if (got == -1) {
        wire->readable = false;
        return WIRE_NONE;
    }
    if (got == -2) {
        wire->lost = true;
        return WIRE_LOST;
    }
    wire->paused = true;
    want(wire, wire->out.size != 0);
    return got == 0 ? WIRE_END : WIRE_SOME;
}

void wire_resume(struct wire *wire)
{
    if (wire->paused && !wire->lost) {
        wire->paused = false;
        want(wire, wire->out.size != 0);
    }
}

static void queue(struct wire *wire, const struct cf_slice *parts, size_t count, size_t skip)
{
    for (size_t i = 0; i < count; i++) {
        size_t here = cf_min(skip, parts[i].size);
        cf_buf_add_slice(&wire->out, cf_slice_from(parts[i], here));
        skip -= here;
    }
}

static void write_plain(struct wire *wire, const struct cf_slice *parts, size_t count)
{
    if (wire->out.size != 0 || wire->corked) {
        queue(wire, parts, count, 0);
        if (wire->corked && (wire->wanted & LOOP_WRITE) == 0 && wire->out.size > CORK_SIZE_MAX) {
            flush(wire);
        }
        return;
    }
    struct iovec vectors[PARTS_MAX];
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        vectors[i] = (struct iovec){(void *)(uintptr_t)parts[i].data, parts[i].size};
        total += parts[i].size;
    }
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count};
    ssize_t sent;
    do {
        sent = sendmsg(wire->fd, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN) {
        wire->lost = true;
        return;
    }
    size_t done = sent > 0 ? (size_t)sent : 0;
    wire->sent += done;
    if (done < total) {
        queue(wire, parts, count, done);
        want(wire, true);
    }
}

void wire_write(struct wire *wire, const struct cf_slice *parts, size_t count)
{
    assert(count <= PARTS_MAX);
    if (wire->lost) {
        return;
    }
    if (wire->stream == NULL) {
        write_plain(wire, parts, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        stream_write(wire->stream, parts[i]);
    }
}

void wire_cork(struct wire *wire, bool corked)
{
    wire->corked = corked;
    if (!corked && wire->stream == NULL && !wire->lost && wire->out.size != 0 &&
        (wire->wanted & LOOP_WRITE) == 0) {
        flush(wire);
    }
}

size_t wire_queued(const struct wire *wire)
{
    return wire->stream != NULL ? stream_queued(wire->stream) : wire->out.size - wire->out_at;
}

uint64_t wire_sent(const struct wire *wire)
{
    return wire->stream != NULL ? stream_sent(wire->stream) : wire->sent;
}

void wire_finish(struct wire *wire)
{
    if (wire->lost) {
        return;
    }
    if (wire->stream != NULL) {
        stream_finish(wire->stream);
    } else {
        (void)shutdown(wire->fd, SHUT_WR);
    }
}
