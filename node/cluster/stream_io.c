/* node/cluster/stream_io.c
 *
 * What happens on a stream's socket. On libevent's events and buffers, but not on its bufferevents:
 * theirs for OpenSSL writes inside every evbuffer_add (a record and a system call for each), can't
 * tell what was handed to TLS, and asks the kernel for the size of each read before it.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "node/base/memory.h"
#include "node/cluster/stream_int.h"

static _Thread_local uint8_t scratch[READ_SIZE];

/* Something is to be done in this pass of the loop, but not inside the owner's call. */
void stream_soon(struct stream *s)
{
    if (!s->task_queued) {
        s->task_queued = true;
        loop_post_task(s->loop, &s->task);
    }
}

void stream_release(struct stream *s)
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

void stream_update_events(struct stream *s)
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
void stream_fail(struct stream *s, const struct cf_error *why)
{
    if (s->state < STATE_CLOSING) {
        s->state = STATE_CLOSING;
        s->why = *why;
        stream_update_events(s);
        stream_soon(s);
    }
}

void stream_fail_with(struct stream *s, cf_status status, const char *text)
{
    struct cf_error why = {0};
    if (status != CF_OK) {
        (void)cf_fail(&why, status, "%s", text);
    }
    stream_fail(s, &why);
}

void stream_fail_errno(struct stream *s, int error)
{
    struct cf_error why = {0};
    if (error == ECONNREFUSED) {
        (void)cf_fail(&why, CF_UNAVAILABLE, "connection refused: nothing listens on %s", s->peer);
    } else if (s->state == STATE_CONNECTING) {
        (void)cf_fail(&why, CF_UNAVAILABLE, "can't connect to %s: %s", s->peer, strerror(error));
    } else {
        (void)cf_fail(&why, CF_UNAVAILABLE, "connection lost: %s", strerror(error));
    }
    stream_fail(s, &why);
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
    stream_fail(s, &why);
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
        stream_fail(s, &why);
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
        stream_fail_errno(s, error);
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
            stream_fail_with(s, CF_OK, "");
        } else if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            stream_fail_errno(s, errno);
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
        s->received += got;
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
        stream_soon(s); /* TLS has more in its own buffer: the kernel won't tell */
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
    stream_fail_with(s, CF_OK, "");
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
    stream_fail_errno(s, errno);
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

/* What arrived before the end is the owner's; only then does it hear of the end. The socket does not wait for the
 * owner to free the stream: a peer that lingers would wait, too. */
static void report_close(struct stream *s)
{
    s->state = STATE_CLOSED;
    stream_update_events(s);
    if (s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
    }
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
        stream_update_events(s);
    }
    s->busy--;
    stream_release(s);
}

/* TLS may hold bytes that the kernel has no news of any more. */
static bool has_leftovers(const struct stream *s)
{
    return s->state == STATE_OPEN && s->ssl != NULL && SSL_has_pending(s->ssl) == 1;
}

void stream_on_task(void *arg)
{
    struct stream *s = arg;
    s->task_queued = false;
    if (s->freed) {
        stream_release(s);
        return;
    }
    pump(s, has_leftovers(s));
}

void stream_on_ready(evutil_socket_t fd, short what, void *arg)
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
        stream_release(s);
        return;
    }
    pump(s, readable);
}

void stream_on_deadline(void *arg)
{
    struct stream *s = arg;
    struct cf_error why = {0};
    if (s->state == STATE_LINGERING) {
        stream_fail(s, &why);
        return;
    }
    (void)cf_fail(&why, CF_TIMEOUT, "%s timed out", s->deadline_what);
    stream_fail(s, &why);
}
