/* tests/unit/node/http/harness.h: a server on loopback with a clock that the test moves, and a
 * client of blocking sockets. */
#ifndef COFFER_TEST_HTTP_HARNESS_H
#define COFFER_TEST_HTTP_HARNESS_H

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/http/server.h"
#include "node/http/server_int.h"
#include "test.h"

#define LATER_MAX 64

struct harness {
    struct loop *loop; /* accepts; its thread is the harness's */
    pthread_t thread;
    struct http_reactors *reactors;
    struct http_listener *listener;
    struct http_gate *gate;
    struct tls_server *tls;
    struct cf_clock clock;
    _Atomic uint64_t offset_us;
    /* Requests to /v1/later, in the order in which they came. */
    struct http_exchange *later[LATER_MAX];
    atomic_uint later_count;
    atomic_uint gone_count, room_count;
    sem_t arrived, called;
};

static uint64_t harness_clock_us(void *context)
{
    struct harness *h = context;
    return loop_now_us() + atomic_load(&h->offset_us);
}

static int64_t harness_wall_ns(void *context)
{
    (void)context;
    return 784111777000000000; /* the date of RFC 9110 5.6.7 */
}

static inline void *harness_run(void *arg)
{
    loop_run(((struct harness *)arg)->loop);
    return NULL;
}

static inline void harness_start(struct harness *h, struct http_options options, unsigned reactors)
{
    struct cf_error err = {0};
    options.ctx = h;
    h->clock = (struct cf_clock){h, harness_clock_us, harness_wall_ns};
    options.clock = &h->clock;
    sem_init(&h->arrived, 0, 0);
    sem_init(&h->called, 0, 0);
    ck_ok(loop_new(&h->loop, NULL));
    ck_ok(http_reactors_start(&options, reactors, &h->reactors, NULL));
    cf_status status = http_listen(h->loop, h->reactors, CF_SLICE("127.0.0.1:0"), h->tls, h->gate,
                                   h, &h->listener, &err);
    ck_assert_msg(status == CF_OK, "%s", err.message);
    ck_assert_int_eq(pthread_create(&h->thread, NULL, harness_run, h), 0);
}

static inline void harness_post_called(void *arg)
{
    sem_post(&((struct harness *)arg)->called);
}

/* Drains (0 grace: cuts), then frees everything. */
static inline void harness_stop(struct harness *h, uint64_t grace_us)
{
    http_reactors_drain(h->reactors, grace_us, h->loop, harness_post_called, h);
    sem_wait(&h->called);
    loop_stop(h->loop);
    pthread_join(h->thread, NULL);
    http_listener_free(h->listener);
    http_reactors_free(h->reactors);
    http_gate_free(h->gate);
    tls_server_free(h->tls);
    loop_free(h->loop);
}

static inline struct http_server *harness_server(struct harness *h)
{
    return http_reactors_server(h->reactors, 0);
}

static inline void harness_sweep(void *arg)
{
    struct harness *h = arg;
    server_sweep(harness_server(h));
    sem_post(&h->called);
}

/* The reactor has done what came before this. */
static inline void harness_sync(struct harness *h)
{
    loop_post(harness_server(h)->loop, harness_post_called, h);
    sem_wait(&h->called);
}

/* Moves the clock, and has the first reactor look at it. */
static inline void harness_pass(struct harness *h, uint64_t us)
{
    harness_sync(h); /* deadlines are set at the end of a turn, after the client has its answer */
    atomic_fetch_add(&h->offset_us, us);
    loop_post(harness_server(h)->loop, harness_sweep, h);
    sem_wait(&h->called);
}

/* Until a figure of the first reactor is what is expected (the test's own timeout ends it). */
#define harness_until(h, field, value)                                                             \
    while (http_server_stats(harness_server(h)).field != (value)) {                                \
        usleep(500);                                                                               \
    }

static inline int client_connect(struct harness *h)
{
    const char *port = strrchr(http_listener_address(h->listener), ':') + 1;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    int room = 65536; /* so that what is not read does not all fit into the kernel */
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static inline void client_send(int fd, struct cf_slice bytes)
{
    while (bytes.size != 0) {
        ssize_t sent = send(fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        ck_assert_msg(sent > 0, "send: %s", strerror(errno));
        bytes = cf_slice_from(bytes, (size_t)sent);
    }
}
#define client_say(fd, text) client_send((fd), cf_slice_str(text))

struct answer {
    struct cf_buf bytes; /* everything that was read and not consumed */
    int status;
    size_t head, body; /* sizes */
    bool chunked;
    struct cf_buf joined; /* of a chunked answer */
};

static inline void answer_done(struct answer *a)
{
    cf_buf_done(&a->bytes);
    cf_buf_done(&a->joined);
}
#define ANSWER(name) __attribute__((cleanup(answer_done))) struct answer name = {0}

/* How the client's bytes come; NULL: from a socket. */
typedef ssize_t client_recv_fn(void *from, void *to, size_t size);

static inline ssize_t client_recv(void *from, void *to, size_t size)
{
    return recv(*(int *)from, to, size, 0);
}

static inline bool answer_more(struct answer *a, client_recv_fn *fn, void *from)
{
    char piece[65536];
    ssize_t got = fn(from, piece, sizeof(piece));
    if (got <= 0) {
        return false;
    }
    cf_buf_add(&a->bytes, piece, (size_t)got);
    return true;
}

static inline struct cf_slice answer_head(const struct answer *a)
{
    return cf_slice_first(cf_buf_slice(&a->bytes), a->head);
}

static inline bool answer_has(const struct answer *a, const char *line)
{
    CF_BUF(want) = {0};
    cf_buf_addf(&want, "\r\n%s\r\n", line);
    return memmem(a->bytes.data, a->head, want.data, want.size) != NULL;
}

static inline struct cf_slice answer_body(const struct answer *a)
{
    return a->chunked ? cf_buf_slice(&a->joined) : cf_slice_of(a->bytes.data + a->head, a->body);
}

/* Takes the answer that was read before out of the buffer. */
static inline void answer_consume(struct answer *a)
{
    size_t used = a->head + a->body;
    if (used == 0) {
        return;
    }
    memmove(a->bytes.data, a->bytes.data + used, a->bytes.size - used);
    a->bytes.size -= used;
    a->head = a->body = 0;
}

static inline bool answer_chunks(struct answer *a, client_recv_fn *fn, void *from)
{
    cf_buf_reset(&a->joined);
    a->chunked = true;
    for (size_t at = a->head;;) {
        const char *text = cf_buf_text(&a->bytes);
        const char *end = strstr(text + at, "\r\n");
        size_t size = end != NULL ? strtoul(text + at, NULL, 16) : 0;
        size_t data = end != NULL ? (size_t)(end - text) + 2 : 0;
        if (end == NULL || a->bytes.size < data + size + 2) {
            if (!answer_more(a, fn, from)) {
                return false;
            }
            continue;
        }
        cf_buf_add(&a->joined, text + data, size);
        at = data + size + 2;
        if (size == 0) {
            a->body = at - a->head;
            return true;
        }
    }
}

/* False: the connection ended before a whole answer. */
static inline bool answer_read(struct answer *a, client_recv_fn *fn, void *from, bool has_body)
{
    answer_consume(a);
    a->chunked = false;
    char *end;
    while ((end = a->bytes.size != 0 ? memmem(a->bytes.data, a->bytes.size, "\r\n\r\n", 4)
                                     : NULL) == NULL) {
        if (!answer_more(a, fn, from)) {
            return false;
        }
    }
    a->head = (size_t)((uint8_t *)end - a->bytes.data) + 4;
    a->status = (int)strtol((const char *)a->bytes.data + 9, NULL, 10);
    const char *length = memmem(a->bytes.data, a->head, "Content-Length: ", 16);
    if (has_body && memmem(a->bytes.data, a->head, "chunked", 7) != NULL) {
        return answer_chunks(a, fn, from);
    }
    a->body = has_body && length != NULL ? strtoul(length + 16, NULL, 10) : 0;
    while (a->bytes.size < a->head + a->body) {
        if (!answer_more(a, fn, from)) {
            return false;
        }
    }
    return true;
}

static inline bool client_answer(int fd, struct answer *a)
{
    return answer_read(a, client_recv, &fd, true);
}

/* The server closed, and sent nothing more. */
static inline void client_expect_end(int fd, struct answer *a)
{
    answer_consume(a);
    char byte;
    ck_assert_uint_eq(a->bytes.size, 0);
    ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
}

/* One request, one answer with this status. */
static inline void client_ask(int fd, struct answer *a, const char *request, int status)
{
    client_say(fd, request);
    ck_assert(client_answer(fd, a));
    ck_assert_msg(a->status == status, "%s: %d, not %d", request, a->status, status);
}

#endif
