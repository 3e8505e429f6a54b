/* node/http/conn_serve.c: reads requests one after the other and gives each to the handler. */
#include <string.h>

#include "node/base/memory.h"
#include "node/http/path.h"
#include "node/http/server_int.h"

/* The path decides how large the body may be, so it is looked at before the body is read. What is
 * wrong with it is answered when the request is complete: the connection then goes on. */
static void on_head(struct http_conn *conn, struct http_exchange *x)
{
    struct http_server *server = conn->server;
    struct http_path path;
    struct cf_error err = {0};
    struct cf_slice sent = http_span_slice(x->parser.path, x->in.data + x->in_at);
    if (http_path_parse(x->arena, sent, &path, &err) != CF_OK) {
        x->path_status = 400;
        x->path_reason = arena_text(x->arena, cf_slice_str(err.message));
    } else if (path.is_doubled) {
        x->path_status = 307;
        x->redirect = path.location;
    } else {
        x->path = path.canonical;
        x->path_is_sent = path.canonical.data == sent.data;
        if (server->options.body_max_for != NULL) {
            x->parser.body_max = server->options.body_max_for(server->options.ctx, x->parser.method,
                                                              x->path, server->options.body_max);
        }
        if (server->options.sink_for != NULL) {
            x->is_tls = wire_is_tls(&conn->wire);
            memcpy(x->peer, conn->peer_text, sizeof(x->peer));
            x->sink = server->options.sink_for(server->options.sink_ctx, x);
            x->parser.body_max = x->sink != NULL ? x->sink->body_max : x->parser.body_max;
        }
    }
}

static void handle(struct http_conn *conn, struct http_exchange *x)
{
    struct http_server *server = conn->server;
    if (x->path_is_sent) {
        x->path = http_span_slice(x->parser.path, x->in.data + x->in_at);
    }
    count_up(&server->requests);
    conn->continued = false;
    x->state = EXCHANGE_HANDLED;
    atomic_fetch_add_explicit(&server->pending, 1, memory_order_relaxed);
    if (x->path_status == 307) {
        answer_redirect(x);
    } else if (x->path_status != 0) {
        http_respond_error(x, x->path_status, x->path_reason);
    } else {
        memcpy(x->peer, conn->peer_text, sizeof(x->peer));
        x->peer_port = conn->peer_port;
        x->is_tls = wire_is_tls(&conn->wire);
        x->listener_context = conn->listener_context;
        server->options.handler(server->options.ctx, x);
    }
    if (conn->x != NULL && conn->x->state != EXCHANGE_ANSWERED) {
        conn_set_phase(conn, CONN_HANDLED, 0);
    }
}

/* How much room the next read gets: small requests fit at once; a body's buffer grows with what has
 * really arrived, not with what was announced. */
static size_t read_room(const struct http_exchange *x)
{
    size_t here = x->in.size - x->in_at;
    if (here < READ_SIZE) {
        return READ_SIZE;
    }
    size_t room = cf_min(here, (size_t)4 << 20);
    if (x->parser.has_length && x->parser.body_at != 0) {
        size_t wanted = x->parser.body_at + (size_t)cf_min(x->parser.length, x->parser.body_max);
        room = cf_min(room, cf_max(wanted - cf_min(wanted, here), 1));
    }
    return cf_max(room, 1024);
}

/* Answered requests at the front make room for the next ones. */
static void compact(struct http_exchange *x)
{
    if (x->in_at != 0) {
        memmove(x->in.data, x->in.data + x->in_at, x->in.size - x->in_at);
        x->in.size -= x->in_at;
        x->in_at = 0;
    }
}

/* False: nothing was read. */
static bool read_more(struct http_conn *conn)
{
    if (conn->ended) {
        conn_finish(conn);
        return false;
    }
    bool is_new = conn->x == NULL;
    struct http_exchange *x = is_new ? exchange_take(conn->server) : conn->x;
    compact(x);
    enum wire_read got = wire_read(&conn->wire, &x->in, read_room(x));
    x->in_high = cf_max(x->in_high, x->in.size);
    if (got == WIRE_SOME) {
        x->conn = conn;
        conn->x = x;
        conn->unparsed = true;
        return true;
    }
    if (is_new) {
        exchange_give_back(x);
    }
    if (got == WIRE_END) {
        conn->ended = true; /* what was cut off half-way is not worth an answer */
        conn_finish(conn);
    } else if (got == WIRE_LOST) {
        conn->dead = true;
    }
    return false;
}

static void ask_for_body(struct http_conn *conn, const struct http_exchange *x)
{
    if (x->parser.expect_continue && !conn->continued &&
        x->in.size - x->in_at == x->parser.body_at) {
        struct cf_slice answer = CF_SLICE("HTTP/1.1 100 Continue\r\n\r\n");
        wire_write(&conn->wire, &answer, 1);
    }
    conn->continued = true;
}

static void parse(struct http_conn *conn)
{
    struct http_exchange *x = conn->x;
    size_t size = x->in.size - x->in_at;
    enum http_progress progress = http_parser_run(&x->parser, x->in.data + x->in_at, &size);
    if (x->sink != NULL && progress != HTTP_BAD) {
        x->sink->write(x->sink, http_parser_body_here(&x->parser, x->in.data + x->in_at, size));
        http_parser_drop_body(&x->parser, x->in.data + x->in_at, &size);
    }
    x->in.size = x->in_at + size;
    conn->unparsed = false;
    if (progress == HTTP_HEAD_DONE) {
        on_head(conn, x);
        conn->unparsed = true;
    } else if (progress == HTTP_DONE) {
        handle(conn, x);
    } else if (progress == HTTP_BAD) {
        conn_refuse(conn, x->parser.status, x->parser.reason);
    } else if (x->parser.body_at != 0) {
        ask_for_body(conn, x);
    }
}

/* After an answer: the bytes behind the request are the next one. */
static void next_request(struct http_conn *conn)
{
    struct http_exchange *x = conn->x;
    if (x->in.size - x->in_at == x->parser.consumed) {
        conn->x = NULL;
        exchange_give_back(x);
    } else {
        exchange_recycle(x);
        conn->unparsed = true;
        wire_cork(&conn->wire, true); /* its answer and the next may leave together */
    }
}

void conn_serve(struct http_conn *conn)
{
    unsigned budget = PIPELINE_TURN;
    while (conn_reads(conn)) {
        if (conn->x != NULL && conn->x->state == EXCHANGE_ANSWERED) {
            if (budget-- == 0) {
                conn_turn(conn);
                return;
            }
            next_request(conn);
        }
        if (wire_queued(&conn->wire) > PIPELINE_QUEUE_MAX) {
            wire_cork(&conn->wire, false);
            conn->blocked = wire_queued(&conn->wire) > PIPELINE_QUEUE_MAX;
            if (conn->blocked) {
                return; /* who does not read its answers gets no more: on_drained goes on */
            }
        }
        if (!conn->unparsed && !read_more(conn)) {
            return;
        }
        parse(conn);
    }
}
