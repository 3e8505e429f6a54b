/* node/cluster/stream_int.h: a stream's insides, shared by stream.c (life and interface) and
 * stream_io.c (what happens on the socket). */
#ifndef COFFER_CLUSTER_STREAM_INT_H
#define COFFER_CLUSTER_STREAM_INT_H

#include <event2/buffer.h>
#include <event2/event.h>
#include <openssl/ssl.h>

#include "node/cluster/stream.h"
#include "node/cluster/tls_int.h"

enum {
    READ_SIZE = 65536,      /* of the scratch buffer: one system call's worth */
    READ_PER_WAKE = 262144, /* then others get their turn */
    WRITE_PER_WAKE = 1048576,
    RECORD_MAX = 16384, /* RFC 8446 5.1 */
    LINGER_US = 2000000,
    LINGER_SIZE_MAX = 1048576,
};

enum stream_state {
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
    enum stream_state state;
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
    uint64_t sent, received;
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

/* Something is to be done in this pass of the loop, but not inside the owner's call. */
void stream_soon(struct stream *s);
/* Frees the memory once the owner, our callbacks and the queue have let go. */
void stream_release(struct stream *s);
void stream_update_events(struct stream *s);
/* The first reason counts. The owner hears it from the next pump. */
void stream_fail(struct stream *s, const struct cf_error *why);
void stream_fail_with(struct stream *s, cf_status status, const char *text);
void stream_fail_errno(struct stream *s, int error);
/* What the loop calls. */
void stream_on_task(void *arg);
void stream_on_ready(evutil_socket_t fd, short what, void *arg);
void stream_on_deadline(void *arg);

#endif
