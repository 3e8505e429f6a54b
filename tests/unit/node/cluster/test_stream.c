/* tests/unit/node/cluster/test_stream.c: streams and addresses: back-pressure, deadlines, ends. */
#include "node/cluster/stream.h"

#include <sys/socket.h>
#include <unistd.h>

#include "node/cluster/stream_int.h"
#include "pki.h"

enum { BIG = 20 << 20 };

static struct loop *loop;
static struct net_listener *listener;
static struct tls_server *server;
static struct tls_client *client;
static struct pki_ca ca;
static struct pki_node node;

static struct stream *in, *out; /* accepted, dialled */
static size_t in_size, out_size, drained, ends, most_waiting;
static bool in_order, in_paused, keep_out;
static struct cf_error in_why, out_why;
static const struct stream_ops *in_ops;

static void count_read(struct stream *stream, void *arg)
{
    size_t *total = arg;
    struct cf_slice bytes;
    while ((bytes = stream_peek_some(stream)).size > 0) {
        for (size_t i = 0; i < bytes.size; i++) {
            in_order = in_order && bytes.data[i] == (uint8_t)((*total + i) % 251);
        }
        *total += bytes.size;
        stream_consume(stream, bytes.size);
    }
}
static void end_in(struct stream *stream, const struct cf_error *why, void *arg)
{
    (void)arg;
    in_why = *why;
    stream_free(stream); /* or the other end lingers, to see whether we have read its last words */
    in = NULL;
    if (++ends == 2) {
        loop_stop(loop);
    }
}
static void end_out(struct stream *stream, const struct cf_error *why, void *arg)
{
    (void)arg;
    out_why = *why;
    if (!keep_out) {
        stream_free(stream);
        out = NULL;
    }
    if (++ends == 2) {
        loop_stop(loop);
    }
}
static void note_drained(struct stream *stream, void *arg)
{
    (void)arg;
    ck_assert_uint_le(stream_queued(stream), 65536);
    drained++;
}

static void on_accept(int fd, const struct net_address *peer, void *arg)
{
    (void)peer;
    (void)arg;
    in = stream_accept(loop, fd, server, in_ops, &in_size);
    if (in_paused) {
        stream_pause(in, true);
    }
}

static void set_up(bool tls)
{
    in = out = NULL;
    in_size = out_size = drained = ends = most_waiting = 0;
    in_order = true;
    in_paused = keep_out = false;
    server = NULL;
    client = NULL;
    ck_ok(loop_new(&loop, &err_));
    if (tls) {
        pki_ca_init(&ca, "ca");
        pki_issue(&ca, &node, "coffer://c/node/1", PKI_VALID);
        struct tls_credentials with = pki_credentials(&node, &ca);
        ck_ok(tls_server_cluster(&server, &err_));
        ck_ok(tls_server_set(server, TLS_ALPN_DR, &with, &err_));
        ck_ok(tls_client_new(TLS_ALPN_DR, &with, &client, &err_));
    }
    ck_ok(net_listen(loop, CF_SLICE("127.0.0.1:0"), "test", on_accept, NULL, &listener, &err_));
}
static void tear_down(bool tls)
{
    stream_free(in);
    stream_free(out);
    net_listener_free(listener);
    tls_server_free(server);
    tls_client_free(client);
    loop_free(loop);
    if (tls) {
        pki_node_done(&node);
        pki_ca_done(&ca);
    }
}
static void dial(const struct stream_ops *ops)
{
    struct net_address to;
    ck_ok(net_numeric(CF_SLICE("127.0.0.1"), net_listener_port(listener), &to, &err_));
    out = stream_dial(loop, &to, client, ops, &out_size);
}

static void unpause(void *arg)
{
    (void)arg;
    /* What came meanwhile is at most what the buffers hold: nothing was read past the mark. */
    most_waiting = stream_available(in);
    stream_pause(in, false);
}

/* 20 MiB in pieces of every size arrive whole and in order, past a reader that rests at first. */
static void transfer(bool tls)
{
    static const struct stream_ops reader = {NULL, count_read, NULL, end_in};
    static const struct stream_ops writer = {NULL, count_read, note_drained, end_out};
    set_up(tls);
    in_ops = &reader;
    in_paused = true;
    dial(&writer);
    stream_write_mark(out, 65536);
    uint8_t *bytes = cf_alloc(BIG);
    for (size_t i = 0; i < BIG; i++) {
        bytes[i] = (uint8_t)(i % 251);
    }
    for (size_t at = 0, piece = 1; at < BIG; at += piece, piece = piece * 7 % 100003) {
        stream_write(out, cf_slice_first(cf_slice_of(bytes + at, BIG - at), piece));
    }
    ck_assert_uint_eq(stream_sent(out), 0); /* nothing leaves inside a call */
    ck_assert_uint_eq(stream_queued(out), BIG);
    struct loop_timer *timer = loop_timer_new(loop, unpause, NULL);
    loop_timer_set_in(timer, 50000);
    while (in_size < BIG) {
        loop_stop(loop);
        loop_run(loop);
        if (out == NULL) {
            ck_abort_msg("%s", out_why.message);
        }
    }
    ck_assert(in_order);
    ck_assert_uint_le(most_waiting, 65536);
    ck_assert_uint_eq(drained, 1);
    ck_assert_uint_eq(stream_sent(out), BIG);
    ck_assert_uint_eq(stream_received(in), BIG);
    ck_assert_uint_eq(stream_queued(out), 0);
    ck_assert(stream_is_tls(in) == tls);
    ck_assert(stream_peer_verified(in) == tls);
    stream_finish(out);
    loop_run(loop);
    ck_assert_int_eq(in_why.status, CF_OK);
    ck_assert_int_eq(out_why.status, CF_OK);
    cf_free(bytes);
    loop_timer_free(timer);
    tear_down(tls);
}

START_TEST(carries_plain)
{
    transfer(false);
}
END_TEST
START_TEST(carries_tls)
{
    transfer(true);
}
END_TEST

static int kernel_size(const struct stream *stream, int option)
{
    int size = 0;
    socklen_t size_size = sizeof(size);
    ck_assert_int_eq(getsockopt(stream->fd, SOL_SOCKET, option, &size, &size_size), 0);
    return size;
}

/* Whatever the limits of this kernel are: a wish for a large window makes no buffer smaller, leaves the reader
 * waiting for one byte, and everything arrives. */
START_TEST(large_window)
{
    static const struct stream_ops reader = {NULL, count_read, NULL, end_in};
    static const struct stream_ops writer = {NULL, count_read, NULL, end_out};
    set_up(false);
    in_ops = &reader;
    dial(&writer);
    int send = kernel_size(out, SO_SNDBUF), receive = kernel_size(out, SO_RCVBUF);
    stream_window(out, 16 << 20);
    ck_assert_int_ge(kernel_size(out, SO_SNDBUF), send);
    ck_assert_int_gt(kernel_size(out, SO_RCVBUF), receive);
    ck_assert_int_eq(kernel_size(out, SO_RCVLOWAT), 1);
    uint8_t one = 0;
    stream_write(out, cf_slice_of(&one, 1));
    while (in_size < 1) {
        loop_stop(loop);
        loop_run(loop);
    }
    stream_finish(out);
    loop_run(loop);
    ck_assert_int_eq(in_why.status, CF_OK);
    tear_down(false);
}
END_TEST

START_TEST(deadline_closes)
{
    static const struct stream_ops reader = {NULL, count_read, NULL, end_in};
    static const struct stream_ops writer = {NULL, count_read, NULL, end_out};
    set_up(false);
    in_ops = &reader;
    dial(&writer);
    uint64_t due = loop_now_us() + 30000;
    stream_deadline(out, loop_now_us() + 5000, "first");
    stream_deadline(out, due, "answer"); /* moved */
    loop_run(loop);
    ck_assert_uint_ge(loop_now_us(), due);
    ck_assert_int_eq(out_why.status, CF_TIMEOUT);
    ck_assert_str_eq(out_why.message, "answer timed out");
    tear_down(false);
}
END_TEST

static size_t released;
static void on_released(void *arg)
{
    (void)arg;
    released++;
}
static void free_on_read(struct stream *stream, void *arg)
{
    (void)arg;
    stream_write(stream, CF_SLICE("never sent"));
    stream_free(stream);
    in = NULL;
}

/* The owner may free a stream inside its callbacks; borrowed bytes come back in any case. */
START_TEST(freed_in_callback)
{
    static const struct stream_ops reader = {NULL, free_on_read, NULL, end_in};
    static const struct stream_ops writer = {NULL, count_read, NULL, end_out};
    set_up(true);
    in_ops = &reader;
    released = 0;
    ends = 1;
    keep_out = true;
    dial(&writer);
    stream_write_borrowed(out, CF_SLICE("hello"), on_released, NULL);
    loop_run(loop);
    ck_assert_uint_eq(released, 1);
    ck_assert_uint_eq(out_size, 0);
    stream_write_borrowed(out, CF_SLICE("late"), on_released,
                          NULL); /* closed: given back at once */
    ck_assert_uint_eq(released, 2);
    tear_down(true);
}
END_TEST

/* What is written after the peer is gone must not end the process (SIGPIPE), and says so. */
START_TEST(peer_resets)
{
    static const struct stream_ops reader = {NULL, free_on_read, NULL, end_in};
    static const struct stream_ops writer = {NULL, count_read, NULL, end_out};
    static uint8_t bytes[1 << 20];
    set_up(false);
    in_ops = &reader;
    ends = 1;
    dial(&writer);
    for (int i = 0; i < 20; i++) {
        stream_write(out, cf_slice_of(bytes, sizeof(bytes)));
    }
    loop_run(loop);
    ck_assert_int_eq(out_why.status, CF_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(out_why.message, "connection lost"));
    tear_down(false);
}
END_TEST

START_TEST(addresses)
{
    struct cf_slice host;
    uint16_t port;
    static const struct {
        const char *text, *host;
        uint16_t default_port, port;
    } good[] = {{"a:1", "a", 0, 1},
                {"[::1]:8201", "::1", 0, 8201},
                {"::1", "::1", 8200, 8200},
                {"[::1]", "::1", 8200, 8200},
                {"a.b-c", "a.b-c", 5, 5},
                {"127.0.0.1:65535", "127.0.0.1", 1, 65535},
                {"0.0.0.0:0", "0.0.0.0", 0, 0}};
    for (size_t i = 0; i < CF_LENGTH(good); i++) {
        ck_ok(net_split(cf_slice_str(good[i].text), good[i].default_port, &host, &port, &err_));
        ck_slice(host, good[i].host);
        ck_assert_uint_eq(port, good[i].port);
    }
    static const char *const bad[] = {
        "",        "a",    "a:",    ":1",  "a:65536", "a:-1",          "a:1x", "[::1",
        "[::1]x1", "[]:1", "a b:1", "::1", "a/b:1",   "a:99999999999", "[a:1"};
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        ck_status(net_split(cf_slice_str(bad[i]), 0, &host, &port, NULL), CF_INVALID);
    }
    struct net_address address;
    char text[NET_TEXT_SIZE];
    ck_ok(net_numeric(CF_SLICE("::1"), 8201, &address, &err_));
    net_text(&address, text);
    ck_assert_str_eq(text, "[::1]:8201");
    ck_status(net_numeric(CF_SLICE("localhost"), 1, &address, NULL), CF_NOT_FOUND);
}
END_TEST

START_TEST(port_in_use)
{
    struct net_listener *second = NULL;
    struct cf_error err = {0};
    set_up(false);
    ck_status(net_listen(loop, cf_slice_str(net_listener_address(listener)), "API listener",
                         on_accept, NULL, &second, &err),
              CF_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(err.message, "API listener: address 127.0.0.1:"));
    ck_assert_ptr_nonnull(strstr(err.message, "already in use: stop what listens there"));
    ck_status(
        net_listen(loop, CF_SLICE("192.0.2.1:0"), "API listener", on_accept, NULL, &second, &err),
        CF_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(err.message, "does not belong to this machine"));
    ck_status(
        net_listen(loop, CF_SLICE("nonsense"), "API listener", on_accept, NULL, &second, &err),
        CF_INVALID);
    tear_down(false);
}
END_TEST

static void on_answer(const struct net_answer *answer, void *arg)
{
    struct net_answer *to = arg;
    *to = *answer;
    if (++ends == 3) {
        loop_stop(loop);
    }
}

START_TEST(look_ups)
{
    static struct net_answer answers[3];
    set_up(false);
    net_resolve(loop, CF_SLICE("127.0.0.1"), 80, on_answer, &answers[0]);
    net_resolve(loop, CF_SLICE("localhost"), 80, on_answer, &answers[1]);
    net_resolve(loop, CF_SLICE("no such host"), 80, on_answer, &answers[2]);
    ck_assert_uint_eq(ends, 0); /* never inside the call */
    loop_run(loop);
    ck_assert_int_eq(answers[0].status, CF_OK);
    ck_assert_int_eq(answers[1].status, CF_OK);
    ck_assert_uint_ge(answers[1].count, 1);
    ck_assert_int_eq(answers[2].status, CF_INVALID);
    tear_down(false);
}
END_TEST

TEST_MAIN("node/cluster/stream", carries_plain, carries_tls, large_window, deadline_closes, freed_in_callback,
          peer_resets, addresses, port_in_use, look_ups)
