/* tests/unit/node/cluster/test_rpc.c: the promises of node/cluster/rpc.h, two endpoints on one
 * loop. */
#include "node/cluster/rpc.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/host.h"
#include "node/base/level.h"
#include "node/cluster/stream.h"
#include "pki.h"
#include "proto/frame.h"

static struct loop *loop;
static struct pki_ca ca;
static struct node_tls *tls_a, *tls_b;
static struct rpc *server, *other; /* other dials */
static struct rpc_client *client;
static struct cf_prng prng;
static struct loop_timer *guard;

static void fill(void *context, void *bytes, size_t size)
{
    uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) {
        at[i] = (uint8_t)cf_prng_next(context);
    }
}
static const struct cf_random seeded = {&prng, fill};

static void give_up(void *arg)
{
    (void)arg;
    ck_abort_msg("the loop did not come to an end");
}

static struct node_tls *make_tls(struct pki_ca *from, const char *uri, int when)
{
    struct pki_node node;
    struct node_tls *tls;
    pki_issue(from, &node, uri, when);
    ck_ok(node_tls_new(cf_buf_slice(&node.cert), node.key, cf_buf_slice(&from->cert), &tls, &err_));
    pki_node_done(&node);
    return tls;
}

static unsigned ups, downs, dial_ups, dial_downs, fails;
static char down_why[256], fail_why[256];
static bool refuse_all, stop_on_fail, stop_on_down;
static struct rpc_link *accepted;

static cf_status authorise(void *ctx, const struct rpc_peer *peer, struct cf_error *err)
{
    (void)ctx;
    ck_assert_str_eq(peer->identity.cluster, "c1");
    return refuse_all ? cf_fail(err, CF_DENIED, "secondary \"%s\" is revoked", peer->identity.id)
                      : CF_OK;
}
static void on_up(void *ctx, struct rpc_link *link)
{
    (void)ctx;
    accepted = link;
    ups++;
}
static void on_down(void *ctx, struct rpc_link *link, const struct cf_error *why)
{
    (void)ctx;
    (void)link;
    accepted = NULL;
    downs++;
    (void)snprintf(down_why, sizeof(down_why), "%s", why->message);
}
static void on_dial_up(void *ctx, struct rpc_link *link)
{
    (void)ctx;
    ck_assert_str_eq(rpc_link_peer(link)->identity.id, "b");
    ck_assert_str_eq(rpc_link_peer(link)->api_address, "https://b:8200");
    dial_ups++;
}
static void on_dial_down(void *ctx, struct rpc_link *link, const struct cf_error *why)
{
    (void)ctx;
    (void)link;
    (void)why;
    dial_downs++;
    if (stop_on_down) {
        loop_stop(loop);
    }
}
static void on_failed(void *ctx, const char *address, const struct cf_error *why)
{
    (void)ctx;
    (void)address;
    fails++;
    (void)snprintf(fail_why, sizeof(fail_why), "%s", why->message);
    if (stop_on_fail) {
        loop_stop(loop);
    }
}

static void serve(void)
{
    struct rpc_serving serving = {.alpn = TLS_ALPN_RAFT,
                                  .who = RPC_BY_RAFT,
                                  .tls = tls_b,
                                  .authorise = authorise,
                                  .up = on_up,
                                  .down = on_down,
                                  .ctx = &ups};
    ck_ok(rpc_serve(server, &serving, &err_));
}

static void set_up(void)
{
    ups = downs = dial_ups = dial_downs = fails = 0;
    refuse_all = stop_on_fail = stop_on_down = false;
    cf_prng_seed(&prng, 1);
    ck_ok(loop_new(&loop, &err_));
    guard = loop_timer_new(loop, give_up, NULL);
    loop_timer_set_in(guard, 60000000);
    pki_ca_init(&ca, "ca");
    tls_a = make_tls(&ca, "coffer://c1/node/a", PKI_VALID);
    tls_b = make_tls(&ca, "coffer://c1/node/b", PKI_VALID);
    struct rpc_config config = {loop, &seeded, "1", "b:8201", "https://b:8200"};
    server = rpc_new(&config);
    config.api_address = config.cluster_address = "";
    other = rpc_new(&config);
    ck_assert_uint_ne(rpc_incarnation(server), rpc_incarnation(other));
    serve();
    ck_ok(rpc_listen(server, CF_SLICE("127.0.0.1:0"), &err_));
}

static struct rpc_client_config dial_config(const struct node_tls *tls, const char *expect_node,
                                            size_t queue_max)
{
    struct rpc_client_config config = {.alpn = TLS_ALPN_RAFT,
                                       .who = RPC_BY_RAFT,
                                       .tls = tls,
                                       .queue_max = queue_max,
                                       .backoff_min_us = 1000,
                                       .backoff_max_us = 2000,
                                       .up = on_dial_up,
                                       .down = on_dial_down,
                                       .failed = on_failed};
    (void)snprintf(config.expect.cluster, sizeof(config.expect.cluster), "c1");
    (void)snprintf(config.expect.id, sizeof(config.expect.id), "%s", expect_node);
    return config;
}

static void dial_as(const struct node_tls *tls, const char *expect_node, size_t queue_max)
{
    struct rpc_client_config config = dial_config(tls, expect_node, queue_max);
    struct cf_slice address = cf_slice_str(rpc_listen_address(server));
    ck_ok(rpc_client_new(other, &config, &address, 1, &client, &err_));
}

static void tear_down(void)
{
    rpc_client_free(client);
    rpc_free(other);
    rpc_free(server);
    node_tls_free(tls_a);
    node_tls_free(tls_b);
    pki_ca_done(&ca);
    loop_timer_free(guard);
    loop_free(loop);
    client = NULL;
    server = other = NULL;
}

/* What came of the calls of a test. */
enum { MANY = 10000 };
static size_t done, wanted, by_status[CF_STATUS_COUNT], sent_count;
static uint8_t answered[MANY];
static char last_message[256];
static size_t last_size, level_wrong; /* of what was sent, the level of its link is known */

static void start_counting(size_t expect)
{
    done = sent_count = last_size = level_wrong = 0;
    wanted = expect;
    memset(by_status, 0, sizeof(by_status));
    memset(answered, 0, sizeof(answered));
}
static void on_done(void *arg, const struct rpc_result *result)
{
    size_t number = (size_t)(uintptr_t)arg;
    by_status[result->status]++;
    sent_count += result->sent;
    level_wrong += result->level != (result->sent ? cf_feature_level() : 0U);
    if (number < MANY) {
        answered[number]++;
    }
    if (result->status == CF_OK && result->response.size == 4) {
        ck_assert_uint_eq(cf_get_u32(result->response.data), number);
    }
    last_size = result->response.size;
    (void)snprintf(last_message, sizeof(last_message), "%s", result->err->message);
    if (++done == wanted) {
        loop_stop(loop);
    }
}
static void call_number(uint32_t number, uint64_t deadline_us)
{
    uint8_t bytes[4];
    cf_put_u32(bytes, number);
    ck_ok(rpc_client_call(client, RPC_LATENCY, RPC_PING, cf_slice_of(bytes, 4), deadline_us,
                          on_done, (void *)(uintptr_t)number, NULL, &err_));
}

/* Answers every second request later and in turn, so that answers overtake each other. */
static struct rpc_call *held[MANY];
static uint8_t held_bytes[MANY][4];
static size_t held_count;
static struct loop_task flush_task;

static void flush_held(void *arg)
{
    (void)arg;
    while (held_count > 0) {
        held_count--;
        rpc_reply(held[held_count], cf_slice_of(held_bytes[held_count], 4));
    }
}
static void echo(void *ctx, struct rpc_link *link, struct cf_slice request, struct rpc_call *call)
{
    (void)ctx;
    ck_assert_str_eq(rpc_link_peer(link)->identity.id, "a");
    ck_assert_ptr_eq(rpc_call_link(call), link);
    if (request.size == 4 && cf_get_u32(request.data) % 2 == 1) {
        if (held_count == 0) {
            flush_task = (struct loop_task){.fn = flush_held};
            loop_post_task(loop, &flush_task);
        }
        memcpy(held_bytes[held_count], request.data, 4);
        held[held_count++] = call;
        return;
    }
    rpc_reply(call, request);
}

START_TEST(ten_thousand_calls)
{
    set_up();
    rpc_handle(server, RPC_PING, echo, NULL);
    dial_as(tls_a, "b", 0);
    start_counting(MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        call_number(i, loop_now_us() + 50000000); /* waits for the connection */
    }
    loop_run(loop);
    ck_assert_uint_eq(by_status[CF_OK], MANY);
    for (size_t i = 0; i < MANY; i++) {
        ck_assert_uint_eq(answered[i], 1);
    }
    ck_assert_uint_eq(ups, 1);
    ck_assert_uint_eq(dial_ups, 1);
    struct cf_buf big = {0}; /* a payload of almost a frame */
    ck_assert(cf_buf_reserve(&big, FRAME_PAYLOAD_MAX));
    memset(big.data, 'x', FRAME_PAYLOAD_MAX);
    start_counting(1);
    ck_ok(rpc_client_call(client, RPC_LATENCY, RPC_PING, cf_slice_of(big.data, FRAME_PAYLOAD_MAX),
                          0, on_done, (void *)(uintptr_t)MANY, NULL, &err_));
    ck_status(rpc_client_call(client, RPC_LATENCY, RPC_PING,
                              cf_slice_of(big.data, FRAME_PAYLOAD_MAX + 1), 0, on_done, NULL, NULL,
                              NULL),
              CF_TOO_LARGE);
    loop_run(loop);
    ck_assert_uint_eq(by_status[CF_OK], 1);
    ck_assert_uint_eq(last_size, FRAME_PAYLOAD_MAX);
    cf_buf_done(&big);
    tear_down();
}
END_TEST

static void hold(void *ctx, struct rpc_link *link, struct cf_slice request, struct rpc_call *call)
{
    (void)ctx;
    (void)link;
    (void)request;
    held[held_count++] = call;
    if (held_count == wanted && stop_on_fail) {
        loop_stop(loop);
    }
}

START_TEST(deadlines)
{
    set_up();
    rpc_handle(server, RPC_PING, hold, NULL);
    dial_as(tls_a, "b", 0);
    start_counting(100);
    held_count = 0;
    uint64_t now = loop_now_us();
    for (uint32_t i = 0; i < 100; i++) {
        call_number(i, now + 1000000 + i * 100);
    }
    loop_run(loop);
    ck_assert_uint_ge(loop_now_us(), now + 1000000);
    ck_assert_uint_eq(by_status[CF_TIMEOUT], 100);
    ck_assert_uint_eq(sent_count, 100);
    ck_assert_uint_eq(held_count, 100);
    ck_assert_uint_ne(rpc_call_deadline(held[0]), 0);
    held_bytes[0][0] = 0;
    flush_held(NULL); /* answers that nobody waits for */
    start_counting(1);
    rpc_handle(server, RPC_PING, echo, NULL);
    call_number(2, 0);
    loop_run(loop);
    ck_assert_uint_eq(by_status[CF_OK], 1);
    tear_down();
}
END_TEST

/* The peer goes away: what it may have got is unknown, what it can't have got is not. */
START_TEST(peer_lost_in_the_middle)
{
    set_up();
    rpc_handle(server, RPC_PING, hold, NULL);
    dial_as(tls_a, "b", 0);
    start_counting(10);
    held_count = 0;
    stop_on_fail = true; /* hold() stops the loop once it has them all */
    for (uint32_t i = 0; i < 10; i++) {
        call_number(i, 0);
    }
    loop_run(loop);
    stop_on_fail = false;
    start_counting(15);
    for (uint32_t i = 10; i < 15; i++) {
        call_number(i, 0); /* queued here, not a byte is given to the kernel */
    }
    ck_ok(rpc_client_set_addresses(client, NULL, 0, &err_));
    rpc_free(server); /* its process ends */
    server = NULL;
    struct rpc_link *link = rpc_client_link(client, RPC_LATENCY);
    rpc_link_close(link, "test");
    loop_run(loop);
    ck_assert_uint_eq(by_status[CF_UNKNOWN_OUTCOME] + by_status[CF_UNAVAILABLE], 15);
    ck_assert_uint_ge(by_status[CF_UNKNOWN_OUTCOME], 10);
    ck_assert_uint_eq(sent_count, by_status[CF_UNKNOWN_OUTCOME]);
    ck_assert_uint_eq(level_wrong, by_status[CF_UNAVAILABLE]); /* put on the link, and not sent */
    ck_assert_uint_eq(dial_downs, 1);
    ck_status(rpc_client_call(client, RPC_LATENCY, RPC_PING, CF_SLICE_EMPTY, 0, on_done, NULL, NULL,
                              NULL),
              CF_UNAVAILABLE);
    while (held_count > 0) {
        struct cf_error err = {0};
        ck_assert_ptr_null(rpc_call_link(held[--held_count]));
        (void)cf_fail(&err, CF_INTERNAL, "late");
        rpc_fail(held[held_count], &err); /* goes nowhere */
    }
    tear_down();
}
END_TEST

START_TEST(nobody_listens)
{
    set_up();
    stop_on_fail = true;
    struct cf_slice address = CF_SLICE("127.0.0.1:1");
    dial_as(tls_a, "b", 0);
    ck_ok(rpc_client_set_addresses(client, &address, 1, &err_));
    start_counting(MANY);
    call_number(1, 0);
    loop_run(loop);
    ck_assert_uint_eq(by_status[CF_UNAVAILABLE], 1);
    ck_assert_uint_eq(sent_count, 0);
    ck_assert_ptr_nonnull(
        strstr(last_message, "connection refused: nothing listens on 127.0.0.1:1"));
    ck_assert_int_eq(rpc_client_error(client)->status, CF_UNAVAILABLE);
    ck_status(rpc_client_send(client, RPC_LATENCY, RPC_PING, CF_SLICE_EMPTY, NULL), CF_UNAVAILABLE);
    stop_on_fail = false; /* it comes back by itself once an address is right */
    address = cf_slice_str(rpc_listen_address(server));
    ck_ok(rpc_client_set_addresses(client, &address, 1, &err_));
    start_counting(1);
    rpc_handle(server, RPC_PING, echo, NULL);
    while (rpc_client_call(client, RPC_LATENCY, RPC_PING, CF_SLICE_EMPTY, 0, on_done, NULL, NULL,
                           NULL) != CF_OK) {
        loop_stop(loop);
        loop_run(loop);
    }
    if (done == 0) {
        loop_run(loop);
    }
    ck_assert_uint_eq(done, 1);
    tear_down();
}
END_TEST

/* A process that was stopped keeps its connections, and the kernel even takes new ones for it. */
START_TEST(a_silent_peer_is_found)
{
    set_up();
    stop_on_down = true;
    rpc_handle(server, RPC_PING, NULL, NULL);
    struct cf_slice address = cf_slice_str(rpc_listen_address(server));
    struct rpc_client_config config = dial_config(tls_a, "b", 0);
    config.dead_us = 600000;
    ck_ok(rpc_client_new(other, &config, &address, 1, &client, &err_));
    start_counting(1);
    call_number(1, 0);
    loop_run(loop);
    ck_assert_uint_eq(by_status[CF_UNSUPPORTED], 1);
    rpc_link_pause(accepted, true);
    uint64_t since_us = loop_now_us();
    call_number(1, 0);
    loop_run(loop);
    ck_assert_uint_eq(dial_downs, 1);
    ck_assert_uint_ge(loop_now_us() - since_us, 600000);
    ck_assert_uint_lt(loop_now_us() - since_us, 14000000); /* not what others wait */
    ck_assert_ptr_nonnull(strstr(rpc_client_error(client)->message, "nothing was heard for"));
    ck_assert_uint_eq(by_status[CF_UNKNOWN_OUTCOME], 1);
    tear_down();
}
END_TEST

START_TEST(impatient_calls_end_at_once_after_a_round)
{
    set_up();
    stop_on_fail = true;
    int mute = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    ck_assert_int_eq(bind(mute, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(listen(mute, 16), 0); /* nobody ever accepts */
    ck_assert_int_eq(getsockname(mute, (struct sockaddr *)&at, &size), 0);
    char text[32];
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(at.sin_port));
    struct cf_slice address = cf_slice_str(text);
    struct rpc_client_config config = dial_config(tls_a, "b", 0);
    config.hello_us = 200000;
    config.is_impatient = true;
    ck_ok(rpc_client_new(other, &config, &address, 1, &client, &err_));
    start_counting(MANY);
    call_number(1, 0);
    loop_run(loop);
    ck_assert_uint_eq(by_status[CF_UNAVAILABLE], 1); /* after its round */
    ck_assert_uint_eq(sent_count, 0);
    for (int i = 0; i < 3; i++) { /* resting, and while the next round goes on */
        ck_status(rpc_client_call(client, RPC_LATENCY, RPC_PING, CF_SLICE_EMPTY, 0, on_done, NULL,
                                  NULL, NULL),
                  CF_UNAVAILABLE);
        loop_run(loop);
    }
    ck_assert_uint_eq(fails, 4);
    close(mute);
    tear_down();
}
END_TEST

static size_t writable;
static void on_writable(void *arg, struct rpc_link *link)
{
    ck_assert_uint_le(rpc_link_queued(link), rpc_link_queue_max(link) / 4);
    writable++;
    (void)arg;
    loop_stop(loop);
}

START_TEST(full_queue)
{
    set_up();
    rpc_handle(server, RPC_PING, echo, NULL);
    dial_as(tls_a, "b", 100000);
    start_counting(1);
    call_number(2, 0);
    loop_run(loop);
    static uint8_t bytes[30000];
    struct rpc_link *link = rpc_client_link(client, RPC_LATENCY);
    struct cf_error err = {0};
    size_t taken = 0;
    writable = 0;
    rpc_link_on_writable(link, on_writable, NULL);
    while (rpc_link_send(link, RPC_PING, cf_slice_of(bytes, sizeof(bytes)), &err) == CF_OK) {
        taken++;
    }
    ck_assert_int_eq(err.status, CF_BUSY);
    ck_assert_uint_eq(taken, 3);
    ck_status(rpc_link_call(link, RPC_PING, cf_slice_of(bytes, sizeof(bytes)), 0, on_done, NULL,
                            NULL, NULL),
              CF_BUSY);
    rpc_handle(server, RPC_PING, NULL, NULL); /* one-way messages without a handler are dropped */
    loop_run(loop);
    ck_assert_uint_eq(writable, 1);
    rpc_link_on_writable(link, NULL, NULL);
    ck_ok(rpc_link_send(link, RPC_PING, cf_slice_of(bytes, sizeof(bytes)), &err_));
    start_counting(1);
    call_number(1, 0);
    loop_run(loop);
    ck_assert_uint_eq(by_status[CF_UNSUPPORTED], 1); /* requests without a handler are answered */
    tear_down();
}
END_TEST

static void push_back(void *ctx, struct rpc_link *link, struct cf_slice request,
                      struct rpc_call *call)
{
    (void)ctx;
    (void)request;
    for (uint32_t i = 0; i < 100; i++) {
        uint8_t bytes[4];
        cf_put_u32(bytes, i);
        ck_ok(rpc_link_send(link, RPC_PING, cf_slice_of(bytes, 4), &err_));
    }
    struct cf_error err = {0};
    (void)cf_fail(&err, CF_STALE, "pushed");
    rpc_fail(call, &err);
}
static uint32_t pushed;
static void on_push(void *ctx, struct rpc_link *link, struct cf_slice message,
                    struct rpc_call *call)
{
    (void)ctx;
    ck_assert_ptr_null(call);
    ck_assert_str_eq(rpc_link_peer(link)->identity.id, "b");
    ck_assert_uint_eq(cf_get_u32(message.data), pushed);
    pushed++;
}

/* The server pushes, in order; an error answer brings its status and message. */
START_TEST(one_way_both_ways)
{
    set_up();
    pushed = 0;
    rpc_handle(server, RPC_PING, push_back, NULL);
    rpc_handle(other, RPC_PING, on_push, NULL);
    dial_as(tls_a, "b", 0);
    start_counting(1);
    call_number(0, 0);
    loop_run(loop);
    ck_assert_uint_eq(pushed, 100);
    ck_assert_uint_eq(by_status[CF_STALE], 1);
    ck_assert_str_eq(last_message, "pushed");
    tear_down();
}
END_TEST

static void expect_failure(const struct node_tls *tls, const char *expect_node, const char *part)
{
    stop_on_fail = true;
    dial_as(tls, expect_node, 0);
    loop_run(loop);
    ck_assert_msg(strstr(fail_why, part) != NULL, "\"%s\" is not in \"%s\"", part, fail_why);
    ck_assert_uint_eq(dial_ups, 0);
    rpc_client_free(client);
    client = NULL;
}

START_TEST(who_may_not)
{
    set_up();
    struct pki_ca foreign;
    pki_ca_init(&foreign, "foreign");
    struct node_tls *stranger = make_tls(&foreign, "coffer://c1/node/a", PKI_VALID);
    struct node_tls *old = make_tls(&ca, "coffer://c1/node/a", PKI_EXPIRED);
    expect_failure(stranger, "b", "certificate signed by an unknown authority");
    expect_failure(old, "b", "expired");
    expect_failure(tls_a, "c", "is c1/node/b, expected c1/*/c: check the address");
    refuse_all = true;
    expect_failure(tls_a, "b", "refused by the peer: secondary \"a\" is revoked");
    refuse_all = false;
    rpc_unserve(server, TLS_ALPN_RAFT);
    expect_failure(tls_a, "b", "does not serve \"coffer-raft/1\"");
    ck_assert_uint_eq(ups, 0);
    ck_assert_uint_ge(rpc_counters(server)->refused, 2);
    node_tls_free(stranger);
    node_tls_free(old);
    pki_ca_done(&foreign);
    tear_down();
}
END_TEST

START_TEST(not_to_itself)
{
    set_up();
    struct rpc *keep = other;
    other = server;
    expect_failure(tls_b, "b", "address of the node itself");
    other = keep;
    tear_down();
}
END_TEST

/* Who serves may go in the middle of a closing: afterwards nobody asks for it (a secondary's link, a node that stops). */
START_TEST(served_by_nobody)
{
    set_up();
    rpc_handle(server, RPC_PING, echo, NULL);
    dial_as(tls_a, "b", 0);
    start_counting(1);
    call_number(2, 0);
    loop_run(loop);
    ck_assert_uint_eq(ups, 1);
    rpc_unserve(server, TLS_ALPN_RAFT); /* closing begins; `down` follows later */
    ck_assert_uint_eq(downs, 0);
    rpc_end_served(server, &downs); /* of another */
    ck_assert_uint_eq(downs, 0);
    rpc_end_served(server, &ups);
    ck_assert_uint_eq(downs, 1);
    ck_assert_uint_eq(rpc_each_link(server, NULL, NULL), 0);
    stop_on_down = true;
    loop_run(loop); /* the dialler hears of it; the task of the closing finds nothing to do */
    ck_assert_uint_eq(downs, 1);
    tear_down();
}
END_TEST

/* The new process of a node was heard: what its former one sent, and nobody has read yet, is not heard any more, though
 * its connection stands (consensus.md I-23; what its disk has lost in between must not be acknowledged). */
START_TEST(a_new_process_ends_the_former)
{
    set_up();
    rpc_handle(server, RPC_PING, echo, NULL);
    dial_as(tls_a, "b", 0);
    start_counting(1);
    call_number(2, 0);
    loop_run(loop);
    ck_assert_uint_eq(ups, 1);
    struct rpc *former = other;
    struct rpc_client *former_client = client;
    struct rpc_config config = {loop, &seeded, "1", "", ""};
    other = rpc_new(&config);
    ck_assert_uint_ne(rpc_incarnation(former), rpc_incarnation(other));
    dial_as(tls_a, "b", 0);
    start_counting(1);
    call_number(4, 0);
    loop_run(loop);
    ck_assert_uint_eq(by_status[CF_OK], 1);
    ck_assert_uint_eq(ups, 2);
    ck_assert_uint_eq(downs, 1);
    ck_assert_ptr_nonnull(strstr(down_why, "the peer has started anew"));
    rpc_client_free(former_client);
    rpc_free(former);
    tear_down();
}
END_TEST

START_TEST(revoked_at_once)
{
    set_up();
    rpc_handle(server, RPC_PING, echo, NULL);
    dial_as(tls_a, "b", 0);
    start_counting(1);
    call_number(2, 0);
    loop_run(loop);
    struct identity nobody = {.id = "z"}, everybody = {0};
    ck_assert_uint_eq(rpc_each_link(server, NULL, NULL), 1);
    ck_assert_uint_eq(rpc_close_matching(server, TLS_ALPN_RAFT, &nobody, "revoked"), 0);
    ck_assert_uint_eq(rpc_close_matching(server, TLS_ALPN_DR, &everybody, "revoked"), 0);
    refuse_all = true;
    stop_on_down = true;
    ck_assert_uint_eq(rpc_close_matching(server, TLS_ALPN_RAFT, &everybody, "revoked"), 1);
    loop_run(loop);
    ck_assert_uint_eq(downs, 1);
    ck_assert_str_eq(down_why, "connection closed: revoked");
    ck_assert_uint_eq(dial_downs, 1);
    refuse_all = false; /* and it comes back when it may */
    start_counting(1);
    while (rpc_client_call(client, RPC_LATENCY, RPC_PING, CF_SLICE_EMPTY, 0, on_done, NULL, NULL,
                           NULL) != CF_OK) {
        loop_stop(loop);
        loop_run(loop);
    }
    if (done == 0) {
        loop_run(loop);
    }
    ck_assert_uint_eq(done, 1);
    tear_down();
}
END_TEST

/* A stranger with a good certificate but without our manners. */
static struct cf_buf rude;
static cf_status rude_end;
static size_t rude_size;
static void rude_open(struct stream *stream, void *arg)
{
    (void)arg;
    stream_write(stream, cf_buf_slice(&rude));
}
static void rude_read(struct stream *stream, void *arg)
{
    (void)arg;
    rude_size += stream_available(stream);
    stream_consume(stream, stream_available(stream));
}
static void rude_close(struct stream *stream, const struct cf_error *why, void *arg)
{
    (void)stream;
    (void)arg;
    rude_end = why->status;
    loop_stop(loop);
}

static void send_rudely(const struct frame *frame, size_t declared)
{
    static const struct stream_ops ops = {rude_open, rude_read, NULL, rude_close};
    struct tls_credentials with = node_tls_credentials(tls_a);
    struct tls_client *context;
    struct net_address to;
    struct cf_slice host;
    uint16_t port;
    uint8_t header[FRAME_HEADER_SIZE];
    frame_write(frame, declared, header);
    rude_size = 0;
    cf_buf_reset(&rude);
    cf_buf_add(&rude, header, sizeof(header));
    cf_buf_add(&rude, "xxxxxxxx", cf_min(declared, 8));
    ck_ok(tls_client_new(TLS_ALPN_RAFT, &with, &context, &err_));
    ck_ok(net_split(cf_slice_str(rpc_listen_address(server)), 0, &host, &port, &err_));
    ck_ok(net_numeric(host, port, &to, &err_));
    struct stream *stream = stream_dial(loop, &to, context, &ops, NULL);
    loop_run(loop);
    stream_free(stream);
    tls_client_free(context);
}

START_TEST(rude_peers_are_closed)
{
    set_up();
    rude = (struct cf_buf){0};
    struct frame frame = {.kind = FRAME_REQUEST, .rpc = RPC_PING, .call = 1};
    send_rudely(&frame, 0); /* before the hello */
    frame.rpc = RPC_HELLO;
    send_rudely(&frame, 1000000); /* a hello of a megabyte: closed before it has come */
    frame.kind = FRAME_ONE_WAY;
    frame.call = 0;
    send_rudely(&frame, 0);
    frame = (struct frame){.kind = FRAME_RESPONSE, .rpc = RPC_HELLO, .call = 7};
    frame.version = 9;
    frame.flags = 3;
    send_rudely(&frame, 0);
    ck_assert_uint_ge(rpc_counters(server)->malformed, 4);
    frame = (struct frame){.kind = FRAME_REQUEST, .rpc = RPC_HELLO, .call = 1};
    send_rudely(&frame, 8); /* no hello in it: an error comes back, then the end */
    ck_assert_int_eq(rude_end, CF_OK);
    ck_assert_uint_gt(rude_size, FRAME_HEADER_SIZE);
    ck_assert_uint_ge(rpc_counters(server)->refused, 4);
    ck_assert_uint_eq(ups, 0);
    cf_buf_done(&rude);
    tear_down();
}
END_TEST

/* A name with several addresses, and a connection for each class of traffic. */
START_TEST(by_name_and_by_class)
{
    set_up();
    rpc_handle(server, RPC_PING, echo, NULL);
    char address[64];
    struct cf_slice host, list[2] = {CF_SLICE("127.0.0.1:1"), CF_SLICE_EMPTY};
    uint16_t port;
    ck_ok(net_split(cf_slice_str(rpc_listen_address(server)), 0, &host, &port, &err_));
    (void)snprintf(address, sizeof(address), "localhost:%u", (unsigned)port);
    list[1] = cf_slice_str(address); /* after one where nobody listens */
    struct rpc_client_config config = {.alpn = TLS_ALPN_RAFT,
                                       .who = RPC_BY_RAFT,
                                       .tls = tls_a,
                                       .traffic = 1u << RPC_LATENCY | 1u << RPC_BULK,
                                       .up = on_dial_up,
                                       .failed = on_failed};
    ck_ok(rpc_client_new(other, &config, list, 2, &client, &err_));
    start_counting(2);
    call_number(2, 0);
    ck_ok(rpc_client_call(client, RPC_BULK, RPC_PING, CF_SLICE("bulk."), 0, on_done, NULL, NULL,
                          &err_));
    loop_run(loop);
    ck_assert_uint_eq(by_status[CF_OK], 2);
    ck_assert_uint_eq(ups, 2);
    ck_assert_uint_ge(fails, 2);
    struct rpc_link *bulk = rpc_client_link(client, RPC_BULK);
    ck_assert_ptr_nonnull(bulk);
    ck_assert_ptr_ne(bulk, rpc_client_link(client, RPC_LATENCY));
    ck_assert_int_eq(rpc_link_peer(bulk)->traffic, RPC_BULK);
    ck_assert_int_eq(rpc_client_error(client)->status, CF_OK);
    tear_down();
}
END_TEST

/* A renewed certificate serves new connections; those that exist stay. */
START_TEST(renewal)
{
    set_up();
    rpc_handle(server, RPC_PING, echo, NULL);
    dial_as(tls_a, "b", 0);
    start_counting(1);
    call_number(2, 0);
    loop_run(loop);
    struct node_tls *renewed = make_tls(&ca, "coffer://c1/node/b", PKI_VALID);
    struct node_tls *renewed_a = make_tls(&ca, "coffer://c1/node/a", PKI_VALID);
    node_tls_free(tls_b);
    tls_b = renewed;
    serve();
    ck_ok(rpc_client_set_tls(client, renewed_a, &err_));
    start_counting(1);
    call_number(4, 0);
    loop_run(loop);
    ck_assert_uint_eq(ups, 1);
    uint8_t before[32];
    memcpy(before, rpc_link_peer(rpc_client_link(client, RPC_LATENCY))->fingerprint, 32);
    stop_on_down = true;
    rpc_link_close(rpc_client_link(client, RPC_LATENCY), "test");
    loop_run(loop);
    rpc_client_hurry(client);
    while (rpc_client_link(client, RPC_LATENCY) == NULL) {
        loop_stop(loop);
        loop_run(loop);
    }
    ck_assert_mem_ne(before, rpc_link_peer(rpc_client_link(client, RPC_LATENCY))->fingerprint, 32);
    node_tls_free(renewed_a);
    tear_down();
}
END_TEST

static void free_client(void *ctx, struct rpc_link *link, struct cf_slice message,
                        struct rpc_call *call)
{
    (void)ctx;
    (void)link;
    (void)call;
    ck_assert_uint_eq(message.size, 4);
    rpc_client_free(client);
    client = NULL;
    ck_assert_uint_eq(cf_get_u32(message.data), 0); /* still there */
    loop_stop(loop);
}

START_TEST(freed_inside_its_own_message)
{
    set_up();
    rpc_handle(server, RPC_PING, push_back, NULL);
    rpc_handle(other, RPC_PING, free_client, NULL);
    dial_as(tls_a, "b", 0);
    start_counting(MANY);
    call_number(0, 0);
    loop_run(loop);
    ck_assert_uint_eq(done, 1);
    ck_assert_uint_eq(by_status[CF_UNKNOWN_OUTCOME], 1);
    ck_assert_uint_eq(dial_downs, 0);
    tear_down();
}
END_TEST

TEST_MAIN("node/cluster/rpc", ten_thousand_calls, deadlines, peer_lost_in_the_middle,
          nobody_listens, a_silent_peer_is_found,
          impatient_calls_end_at_once_after_a_round, full_queue, one_way_both_ways, who_may_not, not_to_itself,
          served_by_nobody, a_new_process_ends_the_former, revoked_at_once, rude_peers_are_closed, by_name_and_by_class, renewal,
          freed_inside_its_own_message)
