/* node/http/conn.c
 *
 * One client's connection from accept to close: its events, phases and deadlines. Every entry point
 * ends in settle(), which alone decides what the connection waits for.
 */
#include <arpa/inet.h>

#include "node/base/memory.h"
#include "node/http/server_int.h"

static void destroy(struct http_conn *conn);

static void enter(struct http_conn *conn)
{
    conn->depth++;
}

static void leave(struct http_conn *conn)
{
    if (--conn->depth == 0 && conn->dead) {
        destroy(conn);
    }
}

void conn_drop(struct http_conn *conn)
{
    conn->dead = true;
    if (conn->depth == 0) {
        destroy(conn);
    }
}

/* The handler still has it: it keeps its bytes and loses its connection. */
static void orphan(struct http_exchange *x)
{
    x->conn = NULL;
    if (x->state == EXCHANGE_STREAMING && x->stream_ops != NULL && !x->gone_posted) {
        x->gone_posted = true;
        loop_post_task(x->server->loop, &x->gone_task);
    }
}

static void destroy(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    struct http_exchange *x = conn->x;
    if (x != NULL && (x->state == EXCHANGE_HANDLED || x->state == EXCHANGE_STREAMING)) {
        orphan(x);
    } else if (x != NULL) {
        exchange_give_back(x);
    }
    wire_close(&conn->wire);
    cf_list_remove(&conn->link);
    if (conn->gate != NULL) {
        http_gate_leave(conn->gate, &conn->peer);
    }
    if (conn->waits_turn) {
        conn->server = NULL; /* the memory is freed when the turn comes */
    } else {
        cf_free(conn);
    }
    atomic_fetch_sub(&server->load, 1);
    atomic_fetch_sub(&server->connections, 1);
    server_check_drained(server);
}

void conn_set_phase(struct http_conn *conn, enum conn_phase phase, uint64_t in_us)
{
    conn->phase = phase;
    conn->deadline_us = in_us != 0 ? server_now_us(conn->server) + in_us : 0;
}

/* Nothing more is read or answered; what is queued is sent. */
void conn_finish(struct http_conn *conn)
{
    if (conn->phase < CONN_FINISHING) {
        conn_set_phase(conn, CONN_FINISHING, 0);
    }
}

void conn_refuse(struct http_conn *conn, int status, const char *reason)
{
    count_up(&conn->server->refused);
    answer_refuse(conn, status, reason);
    conn_finish(conn);
}

static void on_turn(void *arg)
{
    struct http_conn *conn = arg;
    conn->waits_turn = false;
    if (conn->server == NULL) {
        cf_free(conn);
    } else {
        conn_advance(conn);
    }
}

void conn_turn(struct http_conn *conn)
{
    if (!conn->waits_turn) {
        conn->waits_turn = true;
        conn->turn = (struct loop_task){.fn = on_turn, .arg = conn};
        loop_post_task(conn->server->loop, &conn->turn);
    }
}

static uint64_t body_time(const struct http_conn *conn)
{
    uint64_t units = (conn->x->parser.body_max + HTTP_BODY_MAX - 1) / HTTP_BODY_MAX;
    return conn->server->options.body_us * (units != 0 ? units : 1);
}

/* A phase begins once for each request, however often its bytes drip in. */
static void settle_reading(struct http_conn *conn)
{
    const struct http_exchange *x = conn->x;
    bool is_next = conn->answered;
    conn->answered = false;
    bool is_ours = conn->blocked || conn->waits_turn; /* what we wait for is not its request */
    if (x == NULL || is_ours) {
        if (is_next || is_ours) {
            conn_set_phase(conn, CONN_IDLE, conn->server->options.idle_us);
        }
    } else if (x->parser.body_at != 0) {
        if (is_next || conn->phase != CONN_BODY) {
            conn_set_phase(conn, CONN_BODY, body_time(conn));
            conn->body_since_us = server_now_us(conn->server);
        }
    } else if (is_next || conn->phase != CONN_HEAD) {
        conn_set_phase(conn, CONN_HEAD, conn->server->options.header_us);
    }
}

static void settle(struct http_conn *conn)
{
    if (!conn->dead) {
        wire_cork(&conn->wire, false);
    }
    if (wire_is_lost(&conn->wire)) {
        conn->dead = true;
    }
    if (conn->dead) {
        return;
    }
    if (conn->phase < CONN_HANDLED) {
        settle_reading(conn);
    } else if (conn->phase >= CONN_FINISHING && conn->x != NULL) {
        exchange_give_back(conn->x);
        conn->x = NULL;
    }
    if (conn->phase == CONN_FINISHING && wire_queued(&conn->wire) == 0) {
        wire_finish(&conn->wire);
        conn_set_phase(conn, CONN_LINGERING, LINGER_US);
        conn->dead = conn->ended;
    }
}

void conn_advance(struct http_conn *conn)
{
    if (conn->depth != 0) {
        return; /* whoever is on the stack goes on */
    }
    enter(conn);
    if (conn_reads(conn)) {
        wire_resume(&conn->wire);
        conn_serve(conn);
    }
    settle(conn);
    leave(conn);
}

/* Unread input would make the kernel send a reset, which may overtake our last answer. */
static void discard(struct http_conn *conn)
{
    if (wire_discard(&conn->wire) == WIRE_END) {
        conn->ended = true;
        conn->dead = conn->phase == CONN_LINGERING;
        cf_ignore(wire_pause(&conn->wire) == WIRE_END, "it is the end: that is known");
    }
}

static void on_input(void *arg)
{
    struct http_conn *conn = arg;
    if (conn_reads(conn) && !conn->blocked && !conn->waits_turn) {
        conn_advance(conn);
        return;
    }
    enter(conn);
    if (conn->phase >= CONN_FINISHING) {
        discard(conn);
    } else if (wire_pause(&conn->wire) == WIRE_END) {
        conn->ended = true;
    }
    settle(conn);
    leave(conn);
}

static void on_drained(void *arg)
{
    struct http_conn *conn = arg;
    struct http_exchange *x = conn->x;
    if (conn->phase == CONN_HANDLED) {
        enter(conn);
        if (x != NULL && x->state == EXCHANGE_STREAMING && x->stream_waits) {
            x->stream_waits = false;
            x->stream_ops->on_room(x, x->stream_arg);
        }
        bool is_dead = conn->dead;
        leave(conn);
        if (!is_dead) {
            conn_advance(conn); /* the stream may have ended */
        }
    } else if (conn->blocked || conn->phase == CONN_FINISHING) {
        conn->blocked = false;
        conn_advance(conn);
    }
}

static void on_lost(void *arg)
{
    conn_drop(arg);
}

static const struct wire_ops wire_ops = {
    .on_input = on_input,
    .on_drained = on_drained,
    .on_lost = on_lost,
};

static void note_peer(struct http_conn *conn, const struct net_address *peer)
{
    const void *storage = &peer->storage;
    conn->peer = *peer;
    if (peer->storage.ss_family == AF_INET) {
        const struct sockaddr_in *in = storage;
        conn->peer_port = ntohs(in->sin_port);
        (void)inet_ntop(AF_INET, &in->sin_addr, conn->peer_text, sizeof(conn->peer_text));
    } else if (peer->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = storage;
        conn->peer_port = ntohs(in6->sin6_port);
        (void)inet_ntop(AF_INET6, &in6->sin6_addr, conn->peer_text, sizeof(conn->peer_text));
    }
}

void conn_new(struct http_server *server, int fd, const struct net_address *peer,
              struct tls_server *tls, void *listener_context, struct http_gate *gate)
{
    struct http_conn *conn = cf_new(struct http_conn);
    conn->server = server;
    conn->gate = gate;
    conn->listener_context = listener_context;
    note_peer(conn, peer);
    cf_list_add_tail(&server->conns, &conn->link);
    count_up(&server->accepted);
    atomic_fetch_add(&server->connections, 1);
    conn_set_phase(conn, CONN_HEAD, server->options.header_us);
    conn->stall_since_us = server_now_us(server);
    wire_open(&conn->wire, server->loop, fd, tls, &wire_ops, conn);
}

/* The client takes nothing of its answer. Looked at by the sweep only: an answer costs nothing. */
static bool is_stalled(struct http_conn *conn, uint64_t now_us)
{
    uint64_t sent = wire_sent(&conn->wire);
    if (wire_queued(&conn->wire) == 0 || sent != conn->stall_sent) {
        conn->stall_sent = sent;
        conn->stall_since_us = now_us;
    }
    return now_us - conn->stall_since_us >= conn->server->options.write_stall_us;
}

static bool is_too_slow(const struct http_conn *conn, uint64_t now_us)
{
    uint64_t elapsed_us = now_us - conn->body_since_us;
    const struct http_exchange *x = conn->x;
    return conn->phase == CONN_BODY && elapsed_us > BODY_GRACE_US &&
           x->in.size - x->in_at - x->parser.body_at + x->parser.body_gone <
               elapsed_us / 1000000 * BODY_RATE;
}

void conn_check_deadline(struct http_conn *conn, uint64_t now_us)
{
    bool stalled = is_stalled(conn, now_us);
    if (conn->phase == CONN_IDLE && wire_queued(&conn->wire) != 0) {
        conn->deadline_us = now_us + conn->server->options.idle_us; /* still reads its answer */
    }
    bool is_due = conn->deadline_us != 0 && now_us >= conn->deadline_us;
    if (!is_due && !stalled && !is_too_slow(conn, now_us)) {
        return;
    }
    enter(conn);
    if (stalled || (conn->phase != CONN_IDLE && conn->phase != CONN_LINGERING)) {
        count_up(&conn->server->timed_out);
    }
    const struct http_exchange *x = conn->x;
    if (!stalled && (conn->phase == CONN_HEAD || conn->phase == CONN_BODY) && x != NULL &&
        http_parser_started(&x->parser, x->in.size - x->in_at)) {
        conn_refuse(conn, 408, "request timed out");
    } else {
        conn->dead = true;
    }
    settle(conn);
    leave(conn);
}

void conn_drain(struct http_conn *conn)
{
    bool is_between = (conn->phase == CONN_HEAD || conn->phase == CONN_IDLE) && conn->x == NULL;
    if (is_between && wire_queued(&conn->wire) == 0) {
        conn_drop(conn);
    } else if (is_between) {
        enter(conn);
        conn_finish(conn);
        settle(conn);
        leave(conn);
    }
}
