/* node/http/server.c: one reactor's connections, unused exchanges, deadlines and end. */
#include "node/http/server.h"

#include <assert.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/http/server_int.h"

#define ARENA_BLOCK ((size_t)4096)

uint64_t server_now_us(const struct http_server *server)
{
    return cf_monotonic_us(server->options.clock);
}

static void on_sweep(void *arg)
{
    struct http_server *server = arg;
    loop_timer_set_in(server->sweeper, SWEEP_US);
    server_sweep(server);
}

struct http_server *http_server_new(struct loop *loop, const struct http_options *options,
                                    unsigned index)
{
    struct http_server *server = cf_new(struct http_server);
    struct http_options *own = &server->options;
    server->loop = loop;
    server->index = index;
    *own = *options;
    own->body_max = own->body_max != 0 ? own->body_max : HTTP_BODY_MAX;
    own->header_us = own->header_us != 0 ? own->header_us : 10000000;
    own->body_us = own->body_us != 0 ? own->body_us : 30000000;
    own->idle_us = own->idle_us != 0 ? own->idle_us : 300000000;
    own->write_stall_us = own->write_stall_us != 0 ? own->write_stall_us : 30000000;
    own->clock = own->clock != NULL ? own->clock : cf_host_clock();
    server->date_s = INT64_MIN;
    cf_list_init(&server->conns);
    server->sweeper = loop_timer_new(loop, on_sweep, server);
    loop_timer_set_in(server->sweeper, SWEEP_US);
    return server;
}

static void exchange_free(struct http_exchange *x)
{
    arena_free(x->arena);
    cf_buf_done(&x->in);
    cf_free(x);
}

void http_server_free(struct http_server *server)
{
    if (server == NULL) {
        return;
    }
    server->draining = true;
    cf_list_for_safe (at, &server->conns) {
        conn_drop(cf_container(at, struct http_conn, link));
    }
    assert(atomic_load(&server->pending) == 0); /* a handler would come back to freed memory */
    while (server->pool != NULL) {
        struct http_exchange *x = server->pool;
        server->pool = x->next_free;
        exchange_free(x);
    }
    loop_timer_free(server->sweeper);
    cf_buf_done(&server->head);
    cf_free(server);
}

struct http_exchange *exchange_take(struct http_server *server)
{
    struct http_exchange *x = server->pool;
    if (x != NULL) {
        server->pool = x->next_free;
        server->pooled--;
    } else {
        x = cf_new(struct http_exchange);
        x->server = server;
        x->arena = arena_new(ARENA_BLOCK);
        cf_buf_init_secret(&x->in, 0);
    }
    x->state = EXCHANGE_READING;
    http_parser_init(&x->parser, server->options.body_max);
    return x;
}

static void reset_request(struct http_exchange *x)
{
    x->extra_count = 0;
    if (x->sink != NULL) {
        x->sink->free(x->sink);
        x->sink = NULL;
    }
    arena_reset(x->arena);
    x->path = CF_SLICE_EMPTY;
    x->redirect = CF_SLICE_EMPTY;
    x->path_is_sent = false;
    x->path_status = 0;
    x->stream_ops = NULL;
    x->stream_arg = NULL;
    x->stream_waits = x->gone_posted = x->ended = false;
}

void exchange_recycle(struct http_exchange *x)
{
    cf_wipe(x->in.data + x->in_at, x->parser.consumed);
    x->in_at += x->parser.consumed;
    reset_request(x);
    x->state = EXCHANGE_READING;
    http_parser_init(&x->parser, x->server->options.body_max);
}

void exchange_give_back(struct http_exchange *x)
{
    struct http_server *server = x->server;
    reset_request(x);
    x->conn = NULL;
    x->listener_context = NULL;
    cf_wipe(x->in.data, x->in_high);
    x->in.size = x->in_at = x->in_high = 0;
    if (x->in.capacity > INPUT_KEPT_MAX) {
        cf_buf_done(&x->in);
    }
    if (server->pooled == POOL_MAX) {
        exchange_free(x);
        return;
    }
    x->next_free = server->pool;
    server->pool = x;
    server->pooled++;
}

struct adoption {
    struct http_server *server;
    int fd;
    struct net_address peer;
    struct tls_server *tls;
    void *listener_context;
    struct http_gate *gate;
};

static void adopt(void *arg)
{
    struct adoption *adoption = arg;
    struct http_server *server = adoption->server;
    if (server->draining) {
        close(adoption->fd);
        atomic_fetch_sub(&server->load, 1);
        if (adoption->gate != NULL) {
            http_gate_leave(adoption->gate, &adoption->peer);
        }
    } else {
        conn_new(server, adoption->fd, &adoption->peer, adoption->tls, adoption->listener_context,
                 adoption->gate);
    }
    cf_free(adoption);
}

void http_server_adopt(struct http_server *server, int fd, const struct net_address *peer,
                       struct tls_server *tls, void *listener_context, struct http_gate *gate)
{
    struct adoption *adoption = cf_new(struct adoption);
    *adoption = (struct adoption){.server = server,
                                  .fd = fd,
                                  .peer = *peer,
                                  .tls = tls,
                                  .listener_context = listener_context,
                                  .gate = gate};
    atomic_fetch_add(&server->load, 1);
    loop_post(server->loop, adopt, adoption);
}

void server_sweep(struct http_server *server)
{
    uint64_t now_us = server_now_us(server);
    bool is_over = server->draining && now_us >= server->drain_until_us;
    cf_list_for_safe (at, &server->conns) {
        struct http_conn *conn = cf_container(at, struct http_conn, link);
        if (is_over) {
            conn_drop(conn);
        } else {
            conn_check_deadline(conn, now_us);
        }
    }
    server_check_drained(server);
}

static void run_drain_done(void *arg)
{
    struct http_server *server = arg;
    server->drain_done(server->drain_arg);
}

void server_check_drained(struct http_server *server)
{
    if (server->draining && !server->drained && server->drain_done != NULL &&
        atomic_load(&server->connections) == 0 && atomic_load(&server->pending) == 0) {
        server->drained = true;
        server->drain_task = (struct loop_task){.fn = run_drain_done, .arg = server};
        loop_post_task(server->loop, &server->drain_task);
    }
}

void http_server_drain(struct http_server *server, uint64_t grace_us, loop_fn done, void *arg)
{
    assert(!server->draining);
    server->draining = true;
    server->drain_until_us = server_now_us(server) + grace_us;
    server->drain_done = done;
    server->drain_arg = arg;
    cf_list_for_safe (at, &server->conns) {
        conn_drain(cf_container(at, struct http_conn, link));
    }
    server_check_drained(server);
}

struct http_stats http_server_stats(const struct http_server *server)
{
    return (struct http_stats){
        .accepted = atomic_load_explicit(&server->accepted, memory_order_relaxed),
        .requests = atomic_load_explicit(&server->requests, memory_order_relaxed),
        .refused = atomic_load_explicit(&server->refused, memory_order_relaxed),
        .timed_out = atomic_load_explicit(&server->timed_out, memory_order_relaxed),
        .lost_answers = atomic_load_explicit(&server->lost_answers, memory_order_relaxed),
        .connections = atomic_load_explicit(&server->connections, memory_order_relaxed),
        .pending = atomic_load_explicit(&server->pending, memory_order_relaxed),
    };
}
