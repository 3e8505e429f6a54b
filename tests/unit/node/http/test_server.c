/* tests/unit/node/http/test_server.c: connections as clients, good and bad, see them. */
#include "harness.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define BIG ((size_t)8 << 20)

static struct harness *harness;

static void respond_later(struct http_exchange *x, void *arg)
{
    http_respond(x, 200, NULL, cf_slice_str(arg));
}

static void respond_to_nobody(struct http_exchange *x, void *arg)
{
    (void)arg;
    ck_assert(http_is_gone(x));
    ck_slice(http_body(x), "body");
    http_respond(x, 200, NULL, CF_SLICE("nobody hears"));
}

/* Writes until it must wait; ends after BIG bytes. */
static void produce(struct http_exchange *x, void *arg)
{
    static const uint8_t piece[32768] = {'s'};
    size_t *left = arg;
    struct harness *h = http_listener_context(x);
    atomic_fetch_add(&h->room_count, 1);
    while (*left != 0) {
        *left -= sizeof(piece);
        if (!http_stream_write(x, cf_slice_of(piece, sizeof(piece))) && *left != 0) {
            return;
        }
    }
    http_stream_end(x, true);
}

static void gone(struct http_exchange *x, void *arg)
{
    struct harness *h = http_listener_context(x);
    (void)arg;
    http_stream_end(x, false);
    atomic_fetch_add(&h->gone_count, 1);
    sem_post(&h->arrived);
}

static const struct http_stream_ops stream_ops = {.on_room = produce, .on_gone = gone};

static void echo(struct http_exchange *x)
{
    CF_BUF(body) = {0};
    struct cf_slice token = CF_SLICE("-");
    bool has_token = http_header(x, CF_SLICE("x-vault-token"), &token);
    cf_buf_addf(&body, "%.*s %.*s ?%.*s %.*s", CF_SHOW(http_method_name(x)), CF_SHOW(http_path(x)),
                CF_SHOW(http_query(x)), CF_SHOW(token));
    cf_buf_addf(&body, " %zu", http_body(x).size);
    (void)has_token;
    struct http_header_out list[] = {{CF_SLICE("X-Good"), CF_SLICE("yes")},
                                     {CF_SLICE("X-Bad"), CF_SLICE("a\r\nX-Evil: b")},
                                     {CF_SLICE("X-Bad: y\r\nX-Evil"), CF_SLICE("b")}};
    struct http_headers_out headers = {.content_type = "text/plain", .list = list, .count = 3};
    http_respond(x, 200, &headers, cf_buf_slice(&body));
}

static void handler(void *ctx, struct http_exchange *x)
{
    struct harness *h = ctx;
    struct cf_slice path = http_path(x);
    ck_assert_ptr_eq(http_listener_context(x), h);
    ck_slice(http_peer_address(x), "127.0.0.1");
    ck_assert_uint_ne(http_peer_port(x), 0);
    if (cf_slice_is(path, "/v1/later")) {
        h->later[atomic_load(&h->later_count)] = x;
        atomic_fetch_add(&h->later_count, 1);
        sem_post(&h->arrived);
    } else if (cf_slice_is(path, "/v1/none")) {
        http_respond(x, 204, NULL, CF_SLICE("ignored"));
    } else if (cf_slice_is(path, "/v1/close")) {
        struct http_headers_out headers = {.close = true};
        http_respond(x, 472, &headers, CF_SLICE("{}"));
    } else if (cf_slice_is(path, "/v1/error")) {
        http_respond_error(x, 403, "a \"quoted\\\"\n\ttext\x01<");
    } else if (cf_slice_is(path, "/v1/big")) {
        uint8_t *big = cf_zalloc(BIG);
        http_respond(x, 200, NULL, cf_slice_of(big, BIG));
        cf_free(big);
    } else if (cf_slice_is(path, "/v1/stream")) {
        size_t *left = arena_alloc(http_arena(x), sizeof(*left));
        *left = BIG;
        http_stream_begin(x, 200, NULL, &stream_ops, left);
        produce(x, left);
    } else if (cf_slice_is(path, "/v1/short")) {
        http_stream_begin(x, 200, NULL, &stream_ops, NULL);
        ck_assert(http_stream_write(x, CF_SLICE("abc")));
        ck_assert(http_stream_write(x, CF_SLICE("")));
        ck_assert(http_stream_write(x, CF_SLICE("def")));
        http_stream_end(x, true);
    } else if (cf_slice_is(path, "/v1/broken")) {
        http_stream_begin(x, 200, NULL, &stream_ops, NULL);
        ck_assert(http_stream_write(x, CF_SLICE("abc")));
        http_stream_end(x, false);
    } else if (cf_slice_is(path, "/v1/null")) {
        http_respond_error(x, 404, NULL);
    } else {
        echo(x);
    }
}

static size_t body_max_for(void *ctx, enum http_method method, struct cf_slice path,
                           size_t body_max)
{
    (void)ctx;
    return method == HTTP_POST && cf_slice_is(path, "/v1/sys/storage/raft/snapshot") ? 4 * body_max
                                                                                     : body_max;
}

static const struct http_options options = {.handler = handler, .body_max_for = body_max_for};

static void set_up(struct http_options with, unsigned reactors)
{
    harness = cf_new(struct harness);
    harness_start(harness, with, reactors);
}

static void tear_down(uint64_t grace_us)
{
    harness_stop(harness, grace_us);
    cf_free(harness);
}

/* Lets the `index`-th request to /v1/later be answered, from this thread. */
static void answer_later(unsigned index, const char *text)
{
    http_exchange_post(harness->later[index], respond_later, (void *)(uintptr_t)text);
}

START_TEST(answers_and_keeps_the_connection)
{
    set_up(options, 1);
    int fd = client_connect(harness);
    ANSWER(a);
    client_ask(fd, &a,
               "PUT /v1/a%20b?x=%20 HTTP/1.1\r\nHost: h\r\nX-VAULT-token: t\r\nContent-Length: "
               "2\r\n\r\n{}",
               200);
    ck_slice(answer_body(&a), "PUT /v1/a b ?x=%20 t 2");
    ck_assert(answer_has(&a, "Content-Type: text/plain"));
    ck_assert(answer_has(&a, "Cache-Control: no-store"));
    ck_assert(answer_has(&a, "Date: Sun, 06 Nov 1994 08:49:37 GMT"));
    ck_assert(answer_has(&a, "X-Good: yes"));
    ck_assert(!answer_has(&a, "X-Evil: b"));
    ck_assert(!answer_has(&a, "Strict-Transport-Security: max-age=31536000; includeSubDomains"));
    client_ask(fd, &a, "LIST / HTTP/1.1\r\nHost: h\r\n\r\n", 200);
    ck_slice(answer_body(&a), "LIST / ? - 0");
    client_ask(fd, &a, GET("/v1/none"), 204);
    ck_assert(memmem(a.bytes.data, a.head, "Content-", 8) == NULL);
    client_ask(fd, &a, GET("/v1/error"), 403);
    ck_slice(answer_body(&a), "{\"errors\":[\"a \\\"quoted\\\\\\\"\\n\\ttext\\u0001\\u003c\"]}\n");
    client_ask(fd, &a, GET("/v1/null"), 404);
    ck_slice(answer_body(&a), "{\"errors\":[]}\n");
    client_say(fd, "HEAD /v1/a HTTP/1.1\r\nHost: h\r\n\r\n");
    ck_assert(answer_read(&a, client_recv, &fd, false));
    ck_assert(answer_has(&a, "Content-Length: 16"));
    client_ask(fd, &a, GET("/v1/close"), 472);
    ck_assert(answer_has(&a, "Connection: close"));
    client_expect_end(fd, &a);
    close(fd);
    struct http_stats stats = http_server_stats(harness_server(harness));
    ck_assert_uint_eq(stats.accepted, 1);
    ck_assert_uint_eq(stats.requests, 7);
    ck_assert_uint_eq(stats.refused, 0);
    tear_down(1000000);
}
END_TEST

START_TEST(who_asks_for_the_end_gets_it)
{
    set_up(options, 1);
    static const char *const requests[] = {
        "GET /v1/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET /v1/a HTTP/1.0\r\n\r\n",
    };
    for (size_t i = 0; i < CF_LENGTH(requests); i++) {
        int fd = client_connect(harness);
        ANSWER(a);
        client_ask(fd, &a, requests[i], 200);
        ck_assert(answer_has(&a, "Connection: close"));
        client_expect_end(fd, &a);
        close(fd);
    }
    tear_down(0);
}
END_TEST

/* Refused by the parser: an answer, then the end; what follows is not served. */
START_TEST(refuses_and_closes)
{
    set_up((struct http_options){.handler = handler, .body_max = 1000}, 1);
    static const struct {
        const char *request;
        int status;
    } cases[] = {
        {"GET /v1/a HTTP/1.1\r\n\r\n" GET("/v1/a"), 400},
        {"POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
         "0\r\n\r\n" GET("/v1/a"),
         400},
        {"GET /v1/a HTTP/2.0\r\nHost: h\r\n\r\n", 505},
        {"POST /v1/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", 501},
        {"POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", 413},
        {"POST /v1/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", 413},
        {"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 405},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        int fd = client_connect(harness);
        ANSWER(a);
        client_ask(fd, &a, cases[i].request, cases[i].status);
        ck_assert(answer_has(&a, "Connection: close"));
        ck_assert(cf_slice_starts(answer_body(&a), CF_SLICE("{\"errors\":[\"")));
        client_expect_end(fd, &a);
        close(fd);
    }
    struct http_stats stats = http_server_stats(harness_server(harness));
    ck_assert_uint_eq(stats.refused, CF_LENGTH(cases));
    ck_assert_uint_eq(stats.requests, 0);
    tear_down(0);
}
END_TEST

/* A bad path is the answer of one request; the connection goes on. */
START_TEST(bad_paths_are_answered_in_order)
{
    set_up(options, 1);
    int fd = client_connect(harness);
    ANSWER(a);
    client_ask(fd, &a, GET("/v1/a/%2e%2e/b"), 400);
    client_ask(fd, &a, "POST /v1/a%2fb HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nGET", 400);
    ck_slice(answer_body(&a), "{\"errors\":[\"encoded slash in the path\"]}\n");
    client_ask(fd, &a, GET("//v1///a%20b?x=/y//z"), 307);
    ck_assert(answer_has(&a, "Location: /v1/a%20b?x=/y//z"));
    client_ask(fd, &a, GET("/v1//a"), 307);
    ck_assert(answer_has(&a, "Location: /v1/a"));
    client_ask(fd, &a, GET("/v1/ok"), 200);
    close(fd);
    tear_down(0);
}
END_TEST

START_TEST(body_in_pieces)
{
    set_up(options, 1);
    int fd = client_connect(harness);
    ANSWER(a);
    client_say(fd, "POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n");
    CF_BUF(body) = {0};
    for (size_t i = 0; i < 3000000; i++) {
        cf_buf_add_byte(&body, (uint8_t)i);
    }
    client_send(fd, cf_buf_slice(&body));
    ck_assert(client_answer(fd, &a));
    ck_slice(answer_body(&a), "POST /v1/a ? - 3000000");
    client_say(fd, "POST /v1/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < 300; i++) {
        CF_BUF(chunk) = {0};
        cf_buf_addf(&chunk, "%zx\r\n", i + 1);
        cf_buf_add(&chunk, body.data, i + 1);
        cf_buf_add_str(&chunk, "\r\n");
        client_send(fd, cf_buf_slice(&chunk));
    }
    client_say(fd, "0\r\n\r\n");
    ck_assert(client_answer(fd, &a));
    ck_slice(answer_body(&a), "POST /v1/a ? - 45150");
    close(fd);
    tear_down(0);
}
END_TEST

START_TEST(a_path_may_take_more)
{
    set_up(
        (struct http_options){.handler = handler, .body_max_for = body_max_for, .body_max = 1000},
        1);
    int fd = client_connect(harness);
    ANSWER(a);
    CF_BUF(body) = {0};
    cf_buf_add_str(&body, "POST /v1/sys/storage/raft/snapshot HTTP/1.1\r\nHost: h\r\n"
                          "Content-Length: 4000\r\n\r\n");
    for (size_t i = 0; i < 4000; i++) {
        cf_buf_add_byte(&body, 'b');
    }
    client_send(fd, cf_buf_slice(&body));
    ck_assert(client_answer(fd, &a));
    ck_slice(answer_body(&a), "POST /v1/sys/storage/raft/snapshot ? - 4000");
    client_ask(fd, &a,
               "POST /v1/sys/storage/raft/snapshot HTTP/1.1\r\nHost: h\r\n"
               "Content-Length: 4001\r\n\r\n",
               413);
    close(fd);
    tear_down(0);
}
END_TEST

/* The client learns that its body is too large before it sends it, and is asked for one that is
 * not. */
START_TEST(expect_100)
{
    set_up(options, 1);
    int fd = client_connect(harness);
    ANSWER(a);
    client_say(fd, "POST /v1/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: "
                   "2\r\n\r\n");
    ck_assert(answer_read(&a, client_recv, &fd, false));
    ck_assert_int_eq(a.status, 100);
    client_ask(fd, &a, "{}", 200);
    /* The body came along: nobody waits for 100. */
    client_ask(fd, &a,
               "POST /v1/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: "
               "2\r\n\r\n{}",
               200);
    client_ask(fd, &a,
               "POST /v1/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: "
               "33554433\r\n\r\n",
               413);
    client_expect_end(fd, &a);
    close(fd);
    tear_down(0);
}
END_TEST

/* A client that sends a body which was refused still gets to read why. */
START_TEST(refused_body_does_not_reset_the_answer)
{
    set_up((struct http_options){.handler = handler, .body_max = 1000}, 1);
    int fd = client_connect(harness);
    ANSWER(a);
    CF_BUF(text) = {0};
    cf_buf_add_str(&text, "POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    for (size_t i = 0; i < 1000000; i++) {
        cf_buf_add_byte(&text, 'b');
    }
    client_send(fd, cf_buf_slice(&text));
    ck_assert(client_answer(fd, &a));
    ck_assert_int_eq(a.status, 413);
    client_expect_end(fd, &a);
    close(fd);
    tear_down(0);
}
END_TEST

/* More requests at once than one turn, with answers at once: in order, none lost. */
START_TEST(pipelining_in_order)
{
    set_up(options, 1);
    int fd = client_connect(harness);
    CF_BUF(text) = {0};
    for (unsigned i = 0; i < 2000; i++) {
        cf_buf_addf(&text, "PUT /v1/%u HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", i);
    }
    client_send(fd, cf_buf_slice(&text));
    ANSWER(a);
    for (unsigned i = 0; i < 2000; i++) {
        char want[64];
        ck_assert(client_answer(fd, &a));
        (void)snprintf(want, sizeof(want), "PUT /v1/%u ? - 3", i);
        ck_slice(answer_body(&a), want);
    }
    close(fd);
    tear_down(0);
}
END_TEST

/* The second waits for the first, however late its answer comes. */
START_TEST(pipelining_waits_for_late_answers)
{
    set_up(options, 1);
    int fd = client_connect(harness);
    ANSWER(a);
    client_say(fd, GET("/v1/later") GET("/v1/b") GET("/v1/later") GET("/v1/c"));
    sem_wait(&harness->arrived);
    client_say(fd, GET("/v1/d"));
    harness_sync(harness);
    ck_assert_uint_eq(atomic_load(&harness->later_count), 1);
    ck_assert_uint_eq(http_server_stats(harness_server(harness)).pending, 1);
    answer_later(0, "first");
    sem_wait(&harness->arrived);
    answer_later(1, "third");
    static const char *const bodies[] = {"first", "GET /v1/b ? - 0", "third", "GET /v1/c ? - 0",
                                         "GET /v1/d ? - 0"};
    for (size_t i = 0; i < CF_LENGTH(bodies); i++) {
        ck_assert(client_answer(fd, &a));
        ck_slice(answer_body(&a), bodies[i]);
    }
    close(fd);
    tear_down(0);
}
END_TEST

/* Thousands of requests whose answers nobody reads: the server stops taking more, and goes on when
 * the client reads. */
START_TEST(unread_answers_hold_back_requests)
{
    set_up(options, 1);
    int fd = client_connect(harness);
    CF_BUF(text) = {0};
    for (unsigned i = 0; i < 4; i++) {
        cf_buf_add_str(&text, GET("/v1/big"));
    }
    client_send(fd, cf_buf_slice(&text));
    ANSWER(a);
    /* The kernel takes a few megabytes; the rest of the first answer (or the second) waits. */
    harness_until(harness, requests, 1);
    harness_sync(harness);
    ck_assert_uint_lt(http_server_stats(harness_server(harness)).requests, 4);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert(client_answer(fd, &a));
        ck_assert_uint_eq(a.body, BIG);
    }
    close(fd);
    tear_down(0);
}
END_TEST

/* A client that has ended its side gets the answers to what it has sent. */
START_TEST(half_close)
{
    set_up(options, 1);
    ANSWER(a);
    int fd = client_connect(harness);
    client_say(fd, GET("/v1/later") GET("/v1/b"));
    shutdown(fd, SHUT_WR);
    sem_wait(&harness->arrived);
    harness_sync(harness);
    answer_later(0, "late");
    ck_assert(client_answer(fd, &a));
    ck_slice(answer_body(&a), "late");
    ck_assert(client_answer(fd, &a));
    ck_slice(answer_body(&a), "GET /v1/b ? - 0");
    client_expect_end(fd, &a);
    close(fd);
    /* Half a request is none. */
    fd = client_connect(harness);
    client_say(fd, "GET /v1/a HTTP/1.1\r\n");
    shutdown(fd, SHUT_WR);
    client_expect_end(fd, &a);
    close(fd);
    tear_down(0);
}
END_TEST

static void reset_close(int fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd);
}

/* The exchange outlives its client. */
START_TEST(client_gone_before_the_answer)
{
    set_up(options, 1);
    for (unsigned i = 0; i < 20; i++) {
        int fd = client_connect(harness);
        client_say(fd, "POST /v1/later HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
        sem_wait(&harness->arrived);
        if (i % 2 == 0) {
            reset_close(fd);
            harness_until(harness, connections, 0); /* it was noticed */
            http_exchange_post(harness->later[i], respond_to_nobody, NULL);
        } else {
            close(fd);
            answer_later(i, "perhaps nobody hears");
        }
        harness_until(harness, pending, 0);
        harness_until(harness, connections, 0);
    }
    ck_assert_uint_ge(http_server_stats(harness_server(harness)).lost_answers, 10);
    tear_down(0);
}
END_TEST

START_TEST(streams)
{
    set_up(options, 1);
    int fd = client_connect(harness);
    ANSWER(a);
    client_ask(fd, &a, GET("/v1/short"), 200);
    ck_slice(answer_body(&a), "abcdef");
    client_say(fd, GET("/v1/stream"));
    harness_until(harness, requests, 2);
    harness_sync(harness); /* it has written what it could */
    ck_assert(client_answer(fd, &a));
    ck_assert_uint_eq(answer_body(&a).size, BIG);
    ck_assert_uint_gt(atomic_load(&harness->room_count), 1); /* it had to wait for us */
    client_say(fd, "HEAD /v1/short HTTP/1.1\r\nHost: h\r\n\r\n");
    ck_assert(answer_read(&a, client_recv, &fd, false));
    client_ask(fd, &a, GET("/v1/a"), 200);
    /* Cut off: neither a whole answer nor a connection. */
    client_say(fd, GET("/v1/broken"));
    ck_assert(!client_answer(fd, &a));
    close(fd);
    /* Without chunks for those who do not know them. */
    fd = client_connect(harness);
    client_say(fd, "GET /v1/short HTTP/1.0\r\n\r\n");
    ANSWER(old);
    while (answer_more(&old, client_recv, &fd)) {
    }
    ck_assert(cf_slice_ends(cf_buf_slice(&old.bytes), CF_SLICE("\r\n\r\nabcdef")));
    close(fd);
    tear_down(0);
}
END_TEST

START_TEST(streams_to_nobody)
{
    set_up(options, 1);
    int fd = client_connect(harness);
    client_say(fd, GET("/v1/stream"));
    char byte;
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 1);
    reset_close(fd);
    sem_wait(&harness->arrived);
    ck_assert_uint_eq(atomic_load(&harness->gone_count), 1);
    harness_until(harness, connections, 0);
    ck_assert_uint_eq(http_server_stats(harness_server(harness)).pending, 0);
    tear_down(0);
}
END_TEST

#define SECOND ((uint64_t)1000000)

/* The deadline of each phase is absolute: dripping bytes moves nothing. */
START_TEST(slow_header)
{
    set_up(options, 1);
    int silent = client_connect(harness), slow = client_connect(harness);
    ANSWER(a);
    client_say(slow, "GET /v1/a HTTP/1.1\r\n");
    harness_until(harness, connections, 2);
    for (unsigned i = 0; i < 9; i++) {
        client_say(slow, "X");
        harness_pass(harness, SECOND);
        ck_assert_uint_eq(http_server_stats(harness_server(harness)).connections, 2);
    }
    harness_pass(harness, 2 * SECOND);
    ck_assert(client_answer(slow, &a));
    ck_assert_int_eq(a.status, 408);
    client_expect_end(slow, &a);
    ANSWER(none);
    client_expect_end(silent, &none);
    close(slow);
    close(silent);
    tear_down(0);
}
END_TEST

START_TEST(slow_body)
{
    set_up(options, 1);
    static const char head[] = "POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n";
    char kilobytes[2048];
    memset(kilobytes, 'b', sizeof(kilobytes));
    ANSWER(a);
    ANSWER(b);
    int slow = client_connect(harness), steady = client_connect(harness);
    client_say(slow, head);
    client_say(steady, head);
    harness_until(harness, connections, 2);
    for (unsigned i = 0; i < 8; i++) {
        client_send(steady, cf_slice_of(kilobytes, sizeof(kilobytes)));
    }
    harness_sync(harness);
    harness_pass(harness, 9 * SECOND);
    ck_assert_uint_eq(http_server_stats(harness_server(harness)).timed_out, 0);
    harness_pass(harness, 2 * SECOND); /* below 1 KiB/s after the grace */
    ck_assert(client_answer(slow, &a));
    ck_assert_int_eq(a.status, 408);
    ck_assert_uint_eq(http_server_stats(harness_server(harness)).timed_out, 1);
    harness_pass(harness, 20 * SECOND); /* fast enough at first, but never done */
    ck_assert(client_answer(steady, &b));
    ck_assert_int_eq(b.status, 408);
    close(slow);
    close(steady);
    tear_down(0);
}
END_TEST

START_TEST(idle_connections_end)
{
    set_up(options, 1);
    int fd = client_connect(harness);
    ANSWER(a);
    client_ask(fd, &a, GET("/v1/a"), 200);
    harness_pass(harness, 299 * SECOND);
    client_ask(fd, &a, GET("/v1/a"), 200);
    harness_pass(harness, 299 * SECOND);
    ck_assert_uint_eq(http_server_stats(harness_server(harness)).connections, 1);
    harness_pass(harness, 2 * SECOND);
    client_expect_end(fd, &a);
    ck_assert_uint_eq(http_server_stats(harness_server(harness)).timed_out, 0);
    close(fd);
    tear_down(0);
}
END_TEST

START_TEST(waiting_for_the_handler_is_not_slow)
{
    set_up(options, 1);
    int fd = client_connect(harness);
    ANSWER(a);
    client_say(fd, GET("/v1/later"));
    sem_wait(&harness->arrived);
    harness_pass(harness, 3600 * SECOND);
    answer_later(0, "x");
    ck_assert(client_answer(fd, &a));
    close(fd);
    tear_down(0);
}
END_TEST

START_TEST(never_reading_the_answer)
{
    set_up(options, 1);
    int fd = client_connect(harness);
    client_say(fd, GET("/v1/big"));
    harness_until(harness, requests, 1);
    harness_pass(harness, 0);
    harness_pass(harness, 29 * SECOND);
    ck_assert_uint_eq(http_server_stats(harness_server(harness)).connections, 1);
    harness_pass(harness, 2 * SECOND);
    ck_assert_uint_eq(http_server_stats(harness_server(harness)).connections, 0);
    ck_assert_uint_eq(http_server_stats(harness_server(harness)).timed_out, 1);
    close(fd);
    tear_down(0);
}
END_TEST

static void drained(void *arg)
{
    sem_post(arg);
}

/* Idle connections end at once, a request under way gets its answer and then the end. */
START_TEST(drain)
{
    set_up(options, 1);
    ANSWER(a);
    ANSWER(b);
    int idle = client_connect(harness), busy = client_connect(harness);
    client_ask(idle, &a, GET("/v1/a"), 200);
    client_say(busy, GET("/v1/later"));
    sem_wait(&harness->arrived);
    sem_t done;
    sem_init(&done, 0, 0);
    http_reactors_drain(harness->reactors, 3600 * SECOND, harness->loop, drained, &done);
    client_expect_end(idle, &a);
    int late = client_connect(harness);
    ANSWER(c);
    client_expect_end(late, &c);
    harness_sync(harness);
    ck_assert_int_ne(sem_trywait(&done), 0);
    answer_later(0, "the last");
    ck_assert(client_answer(busy, &b));
    ck_slice(answer_body(&b), "the last");
    ck_assert(answer_has(&b, "Connection: close"));
    client_expect_end(busy, &b);
    close(busy);
    sem_wait(&done);
    close(idle);
    close(late);
    loop_stop(harness->loop);
    pthread_join(harness->thread, NULL);
    http_listener_free(harness->listener);
    http_reactors_free(harness->reactors);
    loop_free(harness->loop);
    cf_free(harness);
}
END_TEST

/* After the grace the connection is cut; the drain still waits for the handler. */
START_TEST(drain_out_of_patience)
{
    set_up(options, 1);
    ANSWER(a);
    int fd = client_connect(harness);
    client_say(fd, GET("/v1/later"));
    sem_wait(&harness->arrived);
    sem_t done;
    sem_init(&done, 0, 0);
    http_reactors_drain(harness->reactors, SECOND, harness->loop, drained, &done);
    harness_sync(harness);
    harness_pass(harness, 2 * SECOND);
    client_expect_end(fd, &a);
    ck_assert_int_ne(sem_trywait(&done), 0);
    answer_later(0, "nobody hears");
    sem_wait(&done);
    close(fd);
    loop_stop(harness->loop);
    pthread_join(harness->thread, NULL);
    http_listener_free(harness->listener);
    http_reactors_free(harness->reactors);
    loop_free(harness->loop);
    cf_free(harness);
}
END_TEST

START_TEST(too_many_connections)
{
    harness = cf_new(struct harness);
    harness->gate = http_gate_new(0, 2);
    harness_start(harness, options, 1);
    ANSWER(a);
    int first = client_connect(harness), second = client_connect(harness);
    client_ask(first, &a, GET("/v1/a"), 200);
    client_ask(second, &a, GET("/v1/a"), 200);
    int third = client_connect(harness);
    ANSWER(b);
    ck_assert(client_answer(third, &b));
    ck_assert_int_eq(b.status, 503);
    client_expect_end(third, &b);
    close(third);
    close(second);
    harness_until(harness, connections, 1);
    third = client_connect(harness);
    client_ask(third, &a, GET("/v1/a"), 200);
    close(third);
    close(first);
    tear_down(0);
}
END_TEST

/* A burst of connections spreads evenly: the accepting thread counts what it hands over. */
START_TEST(spreads_over_the_reactors)
{
    set_up(options, 4);
    int fds[16];
    for (size_t i = 0; i < CF_LENGTH(fds); i++) {
        fds[i] = client_connect(harness);
    }
    for (size_t i = 0; i < CF_LENGTH(fds); i++) {
        ANSWER(a);
        client_ask(fds[i], &a, GET("/v1/a"), 200);
    }
    for (unsigned i = 0; i < 4; i++) {
        struct http_server *server = http_reactors_server(harness->reactors, i);
        ck_assert_uint_eq(http_server_stats(server).connections, 4);
    }
    for (size_t i = 0; i < CF_LENGTH(fds); i++) {
        close(fds[i]);
    }
    tear_down(0);
}
END_TEST

START_TEST(gate_counts)
{
    CF_OWNED(http_gate) gate = http_gate_new(3, 2);
    struct net_address a, b, c;
    ck_ok(net_numeric(CF_SLICE("10.0.0.1"), 1, &a, NULL));
    ck_ok(net_numeric(CF_SLICE("2001:db8::1"), 1, &b, NULL));
    ck_ok(net_numeric(CF_SLICE("2001:db8::2"), 2, &c, NULL)); /* the same /64 */
    ck_assert(http_gate_enter(gate, &a));
    ck_assert(http_gate_enter(gate, &b));
    ck_assert(http_gate_enter(gate, &c));
    ck_assert(!http_gate_enter(gate, &a)); /* 3 in all */
    http_gate_leave(gate, &a);
    ck_assert(!http_gate_enter(gate, &b)); /* 2 of one */
    ck_assert(http_gate_enter(gate, &a));
    http_gate_leave(gate, &a);
    http_gate_leave(gate, &b);
    http_gate_leave(gate, &c);
    ck_assert(http_gate_enter(gate, &b));
}
END_TEST

TEST_MAIN("node/http/server", answers_and_keeps_the_connection, who_asks_for_the_end_gets_it,
          refuses_and_closes, bad_paths_are_answered_in_order, body_in_pieces, a_path_may_take_more,
          expect_100, refused_body_does_not_reset_the_answer, pipelining_in_order,
          pipelining_waits_for_late_answers, unread_answers_hold_back_requests, half_close,
          client_gone_before_the_answer, streams, streams_to_nobody, slow_header, slow_body,
          idle_connections_end, waiting_for_the_handler_is_not_slow, never_reading_the_answer,
          drain, drain_out_of_patience, too_many_connections, spreads_over_the_reactors,
          gate_counts)
