/* node/cluster/stream.c
 *
 * Streams on non-blocking sockets with libevent's events and buffers. Not on bufferevents: theirs
 * for OpenSSL writes inside every evbuffer_add (a record and a system call for each), can't tell
 * what was handed to TLS, and asks the kernel for each buffer's size before a read.
 */
#include "node/cluster/stream.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "node/base/memory.h"
#include "node/cluster/tls_int.h"

enum {
    READ_SIZE = 65536,      /* of the scratch buffer: one system call's worth */
    READ_PER_WAKE = 262144, /* then others get their turn */
    WRITE_PER_WAKE = 1048576,
    RECORD_MAX = 16384, /* RFC 8446 5.1 */
    LINGER_US = 2000000,
    LINGER_SIZE_MAX = 1048576,
};

enum state {
    STATE_CONNECTING, /* connect(2) is under way */
    STATE_HANDSHAKE,
    STATE_OPEN,
    STATE_FINISHING, /* output is sent, input dropped */
    STATE_LINGERING, /* everything sent and said so; waits for the peer to close */
    STATE_CLOSING,   /* on_close is due */
    STATE_CLOSED,
};

struct stream {
    struct loop *loop;
    int fd;
    enum state state;
    struct event *read_event, *write_event;
    bool reading, writing;                   /* the events are added */
    bool paused, high;                       /* why reading rests: the owner, the high-water mark */
    bool read_wants_write, write_wants_read; /* TLS */
    bool above;                              /* stream_queued was above the write mark */
    bool report; /* input waits that the owner is to hear of without anything new arriving */
    bool freed, task_queued;
    unsigned busy; /* callbacks of ours on the stack */
    struct loop_task task;
    struct loop_timer *timer;
    const char *deadline_what;
    struct evbuffer *in, *out;
    size_t read_low, read_high, write_low;
    size_t retry; /* TLS: bytes at the front of `out` that a blocked SSL_write already took */
    uint64_t sent;
    size_t lingered;
    SSL *ssl;
    struct tls_server *server;
    struct tls_client *client;
    struct tls_note note;
    const struct stream_ops *ops;
    void *arg;
    struct cf_error why;
    char peer[NET_TEXT_SIZE];
};

static _Thread_local uint8_t scratch[READ_SIZE];

/* Something is to be done in this pass of the loop, but not inside the owner's call. */
static void soon(struct stream *s)
{
    if (!s->task_queued) {
        s->task_queued = true;
        loop_post_task(s->loop, &s->task);
    }
}

static void release(struct stream *s)
{
    if (s->freed && s->busy == 0 && !s->task_queued) {
        cf_free(s);
    }
}

static void want(struct event *event, bool *is, bool should)
{
    if (*is != should) {
        *is = should;
        int result = should ? event_add(event, NULL) : event_del(event);
        assert(result == 0); /* a socket can always be polled */
        (void)result;
    }
}

static void update_events(struct stream *s)
{
    bool out = evbuffer_get_length(s->out) > 0;
    bool read = false, write = false;
    switch (s->state) {
    case STATE_CONNECTING:
        write = true;
        break;
    case STATE_HANDSHAKE:
        write = s->read_wants_write;
        read = !write;
        break;
    case STATE_OPEN:
        read = (!s->paused && !s->high) || s->write_wants_read;
        write = (out && !s->write_wants_read) || s->read_wants_write;
        break;
    case STATE_FINISHING:
        read = s->write_wants_read;
        write = out && !s->write_wants_read;
        break;
    case STATE_LINGERING:
        read = true;
        break;
    case STATE_CLOSING:
    case STATE_CLOSED:
        break;
    }
    want(s->read_event, &s->reading, read);
    want(s->write_event, &s->writing, write);
}

/* The first reason counts. The owner hears it from pump(). */
static void fail(struct stream *s, const struct cf_error *why)
{
    if (s->state < STATE_CLOSING) {
        s->state = STATE_CLOSING;
        s->why = *why;
        update_events(s);
        soon(s);
    }
}

static void fail_with(struct stream *s, cf_status status, const char *text)
{
    struct cf_error why = {0};
    if (status != CF_OK) {
        (void)cf_fail(&why, status, "%s", text);
    }
    fail(s, &why);
}

static void fail_errno(struct stream *s, int error)
{
    struct cf_error why = {0};
    if (error == ECONNREFUSED) {
        (void)cf_fail(&why, CF_UNAVAILABLE, "connection refused: nothing listens on %s", s->peer);
    } else if (s->state == STATE_CONNECTING) {
        (void)cf_fail(&why, CF_UNAVAILABLE, "can't connect to %s: %s", s->peer, strerror(error));
    } else {
        (void)cf_fail(&why, CF_UNAVAILABLE, "connection lost: %s", strerror(error));
    }
    fail(s, &why);
}

/* True when the operation only has to wait. */
static bool tls_blocked(struct stream *s, int result, bool *wants_other, int other)
{
    int error = SSL_get_error(s->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        *wants_other = error == other;
        return true;
    }
    int system_error = errno;
    struct cf_error why = {0};
    (void)tls_explain(s->ssl, error, system_error, s->state == STATE_HANDSHAKE, &s->note, &why);
    fail(s, &why);
    return false;
}

static void handshake(struct stream *s)
{
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(s->ssl);
    s->read_wants_write = false;
    if (result != 1) {
        cf_ignore(tls_blocked(s, result, &s->read_wants_write, SSL_ERROR_WANT_WRITE),
                  "either way this pass is over");
        return;
    }
    struct cf_error why = {0};
    if (tls_check_alpn(s->ssl, &s->note, &why) != CF_OK) {
        fail(s, &why);
        return;
    }
    s->state = STATE_OPEN;
    if (s->ops->on_open != NULL) {
        s->ops->on_open(s, s->arg);
    }
}

static void connected(struct stream *s)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
        error = errno;
    }
    if (error != 0) {
        fail_errno(s, error);
    } else if (s->ssl != NULL) {
        s->state = STATE_HANDSHAKE;
        handshake(s);
    } else {
        s->state = STATE_OPEN;
        if (s->ops->on_open != NULL) {
            s->ops->on_open(s, s->arg);
        }
    }
}

/* Bytes read into the scratch buffer; 0 when there is nothing now (or the stream has failed).
 * *more: the next read may bring something without waiting for the kernel. */
static size_t read_once(struct stream *s, bool *more)
{
    errno = 0;
    *more = false;
    if (s->ssl == NULL) {
        ssize_t got = recv(s->fd, scratch, sizeof(scratch), 0);
        if (got == 0) {
            fail_with(s, CF_OK, "");
        } else if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            fail_errno(s, errno);
        }
        return got > 0 ? (size_t)got : 0; /* a short read: wait for the kernel's next word */
    }
    size_t got = 0;
    ERR_clear_error();
    s->read_wants_write = false;
    int result = SSL_read_ex(s->ssl, scratch, sizeof(scratch), &got);
    if (result != 1) {
        cf_ignore(tls_blocked(s, result, &s->read_wants_write, SSL_ERROR_WANT_WRITE),
                  "either way there is nothing");
        return 0;
    }
    *more = SSL_has_pending(s->ssl) == 1;
    return got;
}

static bool may_read(const struct stream *s)
{
    return s->state == STATE_OPEN && !s->paused && !s->freed &&
           evbuffer_get_length(s->in) < s->read_high;
}

static void read_some(struct stream *s)
{
    size_t total = 0;
    bool more = true;
    while (more && may_read(s) && total < READ_PER_WAKE) {
        size_t got = read_once(s, &more);
        if (got > 0) {
            evbuffer_add(s->in, scratch, got);
            cf_wipe(scratch, got); /* requests carry secrets */
        }
        total += got;
    }
    if ((total > 0 || s->report) && evbuffer_get_length(s->in) >= s->read_low) {
        s->report = false;
        s->ops->on_read(s, s->arg);
    }
    if (s->freed) {
        return;
    }
    s->high = evbuffer_get_length(s->in) >= s->read_high;
    if (more && may_read(s)) {
        soon(s); /* TLS has more in its own buffer: the kernel won't tell */
    }
}

static void linger(struct stream *s)
{
    ssize_t got = 1;
    while (got > 0 && s->lingered < LINGER_SIZE_MAX) {
        got = recv(s->fd, scratch, sizeof(scratch), 0);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
            return;
        }
        s->lingered += got > 0 ? (size_t)got : 0;
    }
    fail_with(s, CF_OK, "");
}

/* One write's worth in one piece: whole chains are joined up to a TLS record, so that a header and
 * a body leave in one record. */
static cf_status write_tls(struct stream *s, size_t *wrote)
{
    size_t size = s->retry > 0 ? s->retry : cf_min(evbuffer_get_length(s->out), RECORD_MAX);
    const unsigned char *bytes = evbuffer_pullup(s->out, (ev_ssize_t)size);
    *wrote = 0;
    errno = 0;
    ERR_clear_error();
    s->write_wants_read = false;
    int result = SSL_write_ex(s->ssl, bytes, size, wrote);
    if (result == 1) {
        s->retry = 0;
        return CF_OK;
    }
    s->retry = size;
    if (tls_blocked(s, result, &s->write_wants_read, SSL_ERROR_WANT_READ)) {
        return CF_BUSY;
    }
    return CF_IO;
}

static cf_status write_once(struct stream *s, size_t *wrote)
{
    if (s->ssl != NULL) {
        cf_status status = write_tls(s, wrote);
        evbuffer_drain(s->out, *wrote);
        return status;
    }
    errno = 0;
    int result = evbuffer_write(s->out, s->fd);
    *wrote = result > 0 ? (size_t)result : 0;
    if (result >= 0) {
        return CF_OK;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        return CF_BUSY;
    }
    fail_errno(s, errno);
    return CF_IO;
}

/* Everything is out: say so, and give the peer time to read it. Closing with unread input would
 * make the kernel send a reset, which may overtake our last bytes. */
static void finished(struct stream *s)
{
    if (s->ssl != NULL) {
        ERR_clear_error();
        cf_ignore(SSL_shutdown(s->ssl) < 0,
                  "a close_notify that does not fit is not worth waiting");
        ERR_clear_error();
    }
    shutdown(s->fd, SHUT_WR);
    s->state = STATE_LINGERING;
    stream_deadline(s, loop_now_us() + LINGER_US, NULL);
}

static void write_some(struct stream *s)
{
    size_t total = 0, wrote = 0;
    while (evbuffer_get_length(s->out) > 0 && total < WRITE_PER_WAKE &&
           write_once(s, &wrote) == CF_OK) {
        total += wrote;
    }
    s->sent += total;
    if (s->state >= STATE_CLOSING) {
        return;
    }
    size_t left = evbuffer_get_length(s->out);
    if (left == 0 && s->state == STATE_FINISHING) {
        finished(s);
    } else if (s->above && left <= s->write_low) {
        s->above = false;
        if (s->ops->on_drained != NULL && s->state == STATE_OPEN) {
            s->ops->on_drained(s, s->arg);
        }
    }
}

/* What arrived before the end is the owner's; only then does it hear of the end. */
static void report_close(struct stream *s)
{
    s->state = STATE_CLOSED;
    if (s->timer != NULL) {
        loop_timer_cancel(s->timer);
    }
    s->ops->on_close(s, &s->why, s->arg);
}

/* The work of one pass, in this order so that answers to what was read leave at once. */
static void pump(struct stream *s, bool readable)
{
    s->busy++;
    if (s->state == STATE_OPEN && !s->freed && (readable || s->report)) {
        read_some(s);
    }
    if (!s->freed && (s->state == STATE_OPEN || s->state == STATE_FINISHING)) {
        write_some(s);
    }
    if (!s->freed && s->state == STATE_CLOSING) {
        report_close(s);
    }
    if (!s->freed) {
        s->high = evbuffer_get_length(s->in) >= s->read_high;
        update_events(s);
    }
    s->busy--;
    release(s);
}

/* TLS may hold bytes that the kernel has no news of any more. */
static bool has_leftovers(const struct stream *s)
{
    return s->state == STATE_OPEN && s->ssl != NULL && SSL_has_pending(s->ssl) == 1;
}

static void on_task(void *arg)
{
    struct stream *s = arg;
    s->task_queued = false;
    if (s->freed) {
        release(s);
        return;
    }
    pump(s, has_leftovers(s));
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;
    bool readable = (what & EV_READ) != 0 || s->read_wants_write;
    (void)fd;
    s->busy++;
    if (s->state == STATE_CONNECTING || s->state == STATE_HANDSHAKE) {
        if (s->state == STATE_CONNECTING) {
            connected(s);
        } else {
            handshake(s);
        }
        readable = !s->freed && has_leftovers(s);
    } else if (s->state == STATE_LINGERING) {
        linger(s);
    }
    s->busy--;
    if (s->freed) {
        release(s);
        return;
    }
    pump(s, readable);
}

static void on_deadline(void *arg)
{
    struct stream *s = arg;
    struct cf_error why = {0};
    if (s->state == STATE_LINGERING) {
        fail(s, &why);
        return;
    }
    (void)cf_fail(&why, CF_TIMEOUT, "%s timed out", s->deadline_what);
    fail(s, &why);
}

static struct stream *stream_new(struct loop *loop, int fd, const struct stream_ops *ops, void *arg)
{
    struct stream *s = cf_new(struct stream);
    s->loop = loop;
    s->fd = fd;
    s->ops = ops;
    s->arg = arg;
    s->task = (struct loop_task){.fn = on_task, .arg = s};
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
    s->read_event = event_new(base, s->fd, EV_READ | EV_PERSIST, on_ready, s);
    s->write_event = event_new(base, s->fd, EV_WRITE | EV_PERSIST, on_ready, s);
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
            fail_with(s, CF_INTERNAL, "can't set up TLS");
        }
    }
    update_events(s);
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
        fail_errno(s, error);
    } else if (tls != NULL && s->ssl == NULL) {
        fail_with(s, CF_INTERNAL, "can't set up TLS");
    }
    update_events(s);
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
    release(stream);
}

void stream_set_ops(struct stream *stream, const struct stream_ops *ops, void *arg)
{
    stream->ops = ops;
    stream->arg = arg;
}

void stream_read_marks(struct stream *stream, size_t low, size_t high)
{
    stream->read_low = low > 0 ? low : 1;
    stream->read_high = cf_max(high, stream->read_low);
    soon(stream); /* reading may go on now */
}

void stream_write_mark(struct stream *stream, size_t low)
{
    stream->write_low = low;
}

void stream_pause(struct stream *stream, bool paused)
{
    if (stream->paused && !paused) {
        stream->report = true;
        soon(stream);
    }
    stream->paused = paused;
    if (paused && stream->state == STATE_OPEN && stream->busy == 0) {
        update_events(stream);
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
        stream->timer = loop_timer_new(stream->loop, on_deadline, stream);
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
        soon(stream); /* below the high-water mark reading goes on */
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
        soon(s);
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

void stream_finish(struct stream *stream)
{
    if (stream->state == STATE_OPEN) {
        stream->state = STATE_FINISHING;
        soon(stream);
    } else if (stream->state < STATE_OPEN) {
        fail_with(stream, CF_OK, "");
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
