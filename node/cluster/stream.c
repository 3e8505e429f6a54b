/* node/cluster/stream.c: life and interface of a stream; the work is in stream_io.c. */
#include "node/cluster/stream.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/cluster/stream_int.h"

static struct stream *stream_new(struct loop *loop, int fd, const struct stream_ops *ops, void *arg)
{
    struct stream *s = cf_new(struct stream);
    s->loop = loop;
    s->fd = fd;
    s->ops = ops;
    s->arg = arg;
    s->task = (struct loop_task){.fn = stream_on_task, .arg = s};
    s->in = evbuffer_new();
    s->out = evbuffer_new();
    s->read_low = 1;
    s->read_high = READ_SIZE;
    assert(s->in != NULL && s->out != NULL);
    return s;
}

static void make_events(struct stream *s)
{
    struct event_base *base = loop_event_base(s->loop);
    s->read_event = event_new(base, s->fd, EV_READ | EV_PERSIST, stream_on_ready, s);
    s->write_event = event_new(base, s->fd, EV_WRITE | EV_PERSIST, stream_on_ready, s);
    assert(s->read_event != NULL && s->write_event != NULL);
}

struct stream *stream_accept(struct loop *loop, int fd, struct tls_server *tls,
                             const struct stream_ops *ops, void *arg)
{
    struct stream *s = stream_new(loop, fd, ops, arg);
    struct net_address peer = {.size = sizeof(peer.storage)};
    void *storage = &peer.storage;
    make_events(s);
    s->state = STATE_OPEN;
    if (getpeername(fd, storage, &peer.size) == 0) {
        net_text(&peer, s->peer);
    }
    if (tls != NULL) {
        tls_server_ref(tls);
        s->server = tls;
        s->state = STATE_HANDSHAKE;
        s->ssl = tls_server_ssl(tls, fd, &s->note);
        if (s->ssl == NULL) {
            stream_fail_with(s, CF_INTERNAL, "can't set up TLS");
        }
    }
    stream_update_events(s);
    return s;
}

struct stream *stream_dial(struct loop *loop, const struct net_address *to, struct tls_client *tls,
                           const struct stream_ops *ops, void *arg)
{
    const void *storage = &to->storage;
    int on = 1;
    int fd = socket(to->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? errno : 0;
    struct stream *s = stream_new(loop, fd, ops, arg);
    net_text(to, s->peer);
    s->state = STATE_CONNECTING;
    make_events(s);
    if (error == 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) {
        error = errno;
    }
    if (error == 0 && connect(fd, storage, to->size) != 0 && errno != EINPROGRESS) {
        error = errno;
    }
    if (error == 0 && tls != NULL) {
        tls_client_ref(tls);
        s->client = tls;
        s->ssl = tls_client_ssl(tls, fd, &s->note);
    }
    if (error != 0) {
        stream_fail_errno(s, error);
    } else if (tls != NULL && s->ssl == NULL) {
        stream_fail_with(s, CF_INTERNAL, "can't set up TLS");
    }
    stream_update_events(s);
    return s;
}

void stream_free(struct stream *stream)
{
    if (stream == NULL || stream->freed) {
        return;
    }
    stream->freed = true;
    event_free(stream->read_event);
    event_free(stream->write_event);
    loop_timer_free(stream->timer);
    SSL_free(stream->ssl);
    tls_server_free(stream->server);
    tls_client_free(stream->client);
    evbuffer_free(stream->in);
    evbuffer_free(stream->out);
    if (stream->fd >= 0) {
        close(stream->fd);
    }
    stream_release(stream);
}

void stream_set_ops(struct stream *stream, const struct stream_ops *ops, void *arg)
{
    stream->ops = ops;
    stream->arg = arg;
}

/* ---- the kernel's buffers ---- */

#define TCP_WMEM_USUAL 4194304

/* What one socket's send buffer grows to by itself. */
static int own_growth(void)
{
    int least, start, most = TCP_WMEM_USUAL;
    FILE *file = fopen("/proc/sys/net/ipv4/tcp_wmem", "re");
    if (file != NULL) {
        if (fscanf(file, "%d %d %d", &least, &start, &most) != 3) {
            most = TCP_WMEM_USUAL;
        }
        (void)fclose(file);
    }
    return most;
}

/* Asking for a size ends the growing by itself and cannot be taken back, and where the limit is low (212,992 bytes
 * is usual) it would make the buffer smaller: so it is tried on a socket that nobody uses. */
static bool send_size_helps(int size)
{
    int got = 0;
    socklen_t got_size = sizeof(got);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool known = setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0 &&
                 getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &got, &got_size) == 0;
    close(fd);
    return known && got > own_growth();
}

void stream_window(struct stream *stream, size_t bytes)
{
    int size = (int)cf_min(bytes, (size_t)1 << 28), one = 1;
    if (stream->fd < 0 || stream->state >= STATE_CLOSING) {
        return;
    }
    if (send_size_helps(size)) {
        cf_ignore(setsockopt(stream->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) != 0,
                  "it stays as it was");
    }
    /* Linux makes room for what a reader waits for, and goes on growing by itself afterwards. Without it a
     * window begins at 64 KiB, and takes 20 round trips to cover a long link. */
    if (setsockopt(stream->fd, SOL_SOCKET, SO_RCVLOWAT, &size, sizeof(size)) == 0) {
        int result = setsockopt(stream->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
        assert(result == 0);
        (void)result;
    }
}

void stream_read_marks(struct stream *stream, size_t low, size_t high)
{
    stream->read_low = low > 0 ? low : 1;
    stream->read_high = cf_max(high, stream->read_low);
    stream_soon(stream); /* reading may go on now */
}

void stream_write_mark(struct stream *stream, size_t low)
{
    stream->write_low = low;
}

void stream_pause(struct stream *stream, bool paused)
{
    if (stream->paused && !paused) {
        stream->report = true;
        stream_soon(stream);
    }
    stream->paused = paused;
    if (paused && stream->state == STATE_OPEN && stream->busy == 0) {
        stream_update_events(stream);
    }
}

void stream_deadline(struct stream *stream, uint64_t at_us, const char *what)
{
    stream->deadline_what = what;
    if (at_us == 0) {
        if (stream->timer != NULL) {
            loop_timer_cancel(stream->timer);
        }
        return;
    }
    if (stream->timer == NULL) {
        stream->timer = loop_timer_new(stream->loop, stream_on_deadline, stream);
    }
    if (stream->state < STATE_CLOSING) {
        loop_timer_set(stream->timer, at_us);
    }
}

size_t stream_available(const struct stream *stream)
{
    return evbuffer_get_length(stream->in);
}

struct cf_slice stream_peek(struct stream *stream, size_t size)
{
    size = cf_min(size, evbuffer_get_length(stream->in));
    if (size == 0) {
        return CF_SLICE_EMPTY;
    }
    return cf_slice_of(evbuffer_pullup(stream->in, (ev_ssize_t)size), size);
}

struct cf_slice stream_peek_some(struct stream *stream)
{
    return stream_peek(stream, evbuffer_get_contiguous_space(stream->in));
}

void stream_consume(struct stream *stream, size_t size)
{
    assert(size <= evbuffer_get_length(stream->in));
    evbuffer_drain(stream->in, size);
    if (stream->high && stream->busy == 0) {
        stream_soon(stream); /* below the high-water mark reading goes on */
    }
}

static bool takes_output(const struct stream *s)
{
    return s->state <= STATE_OPEN;
}

static void note_output(struct stream *s)
{
    s->above = s->above || evbuffer_get_length(s->out) > s->write_low;
    if (s->state == STATE_OPEN) {
        stream_soon(s);
    }
}

void stream_write(struct stream *stream, struct cf_slice bytes)
{
    if (takes_output(stream) && bytes.size > 0) {
        int result = evbuffer_add(stream->out, bytes.data, bytes.size);
        assert(result == 0);
        (void)result;
        note_output(stream);
    }
}

struct borrowed {
    loop_fn done;
    void *arg;
};

static void on_released(const void *data, size_t size, void *arg)
{
    struct borrowed *borrowed = arg;
    (void)data;
    (void)size;
    borrowed->done(borrowed->arg);
    cf_free(borrowed);
}

void stream_write_borrowed(struct stream *stream, struct cf_slice bytes, loop_fn done, void *arg)
{
    if (!takes_output(stream) || bytes.size == 0) {
        done(arg);
        return;
    }
    struct borrowed *borrowed = cf_new(struct borrowed);
    *borrowed = (struct borrowed){done, arg};
    int result = evbuffer_add_reference(stream->out, bytes.data, bytes.size, on_released, borrowed);
    assert(result == 0);
    (void)result;
    note_output(stream);
}

size_t stream_queued(const struct stream *stream)
{
    return evbuffer_get_length(stream->out);
}

uint64_t stream_sent(const struct stream *stream)
{
    return stream->sent + stream->retry;
}

uint64_t stream_received(const struct stream *stream)
{
    return stream->received;
}

void stream_finish(struct stream *stream)
{
    if (stream->state == STATE_OPEN) {
        stream->state = STATE_FINISHING;
        stream_soon(stream);
    } else if (stream->state < STATE_OPEN) {
        stream_fail_with(stream, CF_OK, "");
    }
}

bool stream_is_open(const struct stream *stream)
{
    return stream->state == STATE_OPEN;
}

bool stream_is_tls(const struct stream *stream)
{
    return stream->ssl != NULL;
}

const char *stream_peer(const struct stream *stream)
{
    return stream->peer;
}

struct cf_slice stream_alpn(const struct stream *stream)
{
    const unsigned char *name = NULL;
    unsigned size = 0;
    if (stream->ssl != NULL) {
        SSL_get0_alpn_selected(stream->ssl, &name, &size);
    }
    return cf_slice_of(name, size);
}

const char *stream_tls_version(const struct stream *stream)
{
    return stream->ssl != NULL ? SSL_get_version(stream->ssl) : NULL;
}

cf_status stream_peer_cert(const struct stream *stream, struct cf_buf *ret, struct cf_error *err)
{
    X509 *cert = stream->ssl != NULL ? SSL_get0_peer_certificate(stream->ssl) : NULL;
    int size = cert != NULL ? i2d_X509(cert, NULL) : 0;
    if (size <= 0) {
        return cf_fail(err, CF_NOT_FOUND, "the peer showed no certificate");
    }
    if (!cf_buf_reserve(ret, (size_t)size)) {
        return cf_fail(err, CF_TOO_LARGE, "the peer's certificate is too large");
    }
    unsigned char *at = ret->data + ret->size;
    ret->size += (size_t)i2d_X509(cert, &at);
    return CF_OK;
}

bool stream_peer_verified(const struct stream *stream)
{
    return stream->ssl != NULL && SSL_get0_peer_certificate(stream->ssl) != NULL &&
           SSL_get_verify_result(stream->ssl) == X509_V_OK;
}

struct evbuffer *stream_input(struct stream *stream)
{
    return stream->in;
}

struct evbuffer *stream_output(struct stream *stream)
{
    return stream->out;
}

void stream_flush_soon(struct stream *stream)
{
    note_output(stream);
}
