/* node/http/exchange.c: what a handler may ask of a request. */
#include "node/http/exchange.h"

#include "node/base/memory.h"
#include "node/http/server_int.h"

static const uint8_t *request_bytes(const struct http_exchange *x)
{
    return x->in.data + x->in_at;
}

enum http_method http_method(const struct http_exchange *x)
{
    return x->parser.method;
}

struct cf_slice http_method_name(const struct http_exchange *x)
{
    return http_span_slice(x->parser.method_name, request_bytes(x));
}

struct cf_slice http_path(const struct http_exchange *x)
{
    return x->path;
}

struct cf_slice http_query(const struct http_exchange *x)
{
    return http_span_slice(x->parser.query, request_bytes(x));
}

struct http_sink *http_body_sink(const struct http_exchange *x)
{
    return x->sink;
}

struct cf_slice http_body(const struct http_exchange *x)
{
    return cf_slice_of(request_bytes(x) + x->parser.body_at, x->parser.body_size);
}

bool http_header(const struct http_exchange *x, struct cf_slice name, struct cf_slice *ret)
{
    return http_parser_header(&x->parser, request_bytes(x), name, ret);
}

unsigned http_header_lines(const struct http_exchange *x, struct cf_slice name)
{
    return http_parser_header_count(&x->parser, request_bytes(x), name);
}

bool http_header_next(const struct http_exchange *x, size_t *at, struct cf_slice *name,
                      struct cf_slice *value)
{
    if (*at >= x->parser.header_count) {
        return false;
    }
    const struct http_header_span *header = &x->parser.headers[(*at)++];
    *name = http_span_slice(header->name, request_bytes(x));
    *value = http_span_slice(header->value, request_bytes(x));
    return true;
}

struct cf_slice http_peer_address(const struct http_exchange *x)
{
    return cf_slice_str(x->peer);
}

uint16_t http_peer_port(const struct http_exchange *x)
{
    return x->peer_port;
}

bool http_is_tls(const struct http_exchange *x)
{
    return x->is_tls;
}

cf_status http_peer_cert(struct http_exchange *x, struct cf_slice *ret, struct cf_error *err)
{
    if (x->conn == NULL) {
        return cf_fail(err, CF_UNAVAILABLE, "the client has gone");
    }
    if (!x->is_tls) {
        return cf_fail(err, CF_NOT_FOUND, "tls connection required");
    }
    CF_BUF(der) = {0};
    CF_TRY(stream_peer_cert(x->conn->wire.stream, &der, err));
    *ret = arena_copy(x->arena, cf_buf_slice(&der));
    return CF_OK;
}

bool http_is_gone(const struct http_exchange *x)
{
    return x->conn == NULL || wire_is_lost(&x->conn->wire);
}

void *http_listener_context(const struct http_exchange *x)
{
    return x->listener_context;
}

struct arena *http_arena(struct http_exchange *x)
{
    return x->arena;
}

struct loop *http_loop(const struct http_exchange *x)
{
    return x->server->loop;
}

unsigned http_reactor_index(const struct http_exchange *x)
{
    return x->server->index;
}

struct late_post {
    struct http_exchange *x;
    void (*fn)(struct http_exchange *x, void *arg);
    void *arg;
};

static void run_late_post(void *arg)
{
    struct late_post post = *(struct late_post *)arg;
    cf_free(arg);
    post.fn(post.x, post.arg);
}

static void run_post(void *arg)
{
    struct http_exchange *x = arg;
    void (*fn)(struct http_exchange *, void *) = x->post_fn;
    void *fn_arg = x->post_arg;
    atomic_store_explicit(&x->post_used, false, memory_order_release);
    fn(x, fn_arg);
}

void http_exchange_post(struct http_exchange *x, void (*fn)(struct http_exchange *x, void *arg),
                        void *arg)
{
    if (!atomic_exchange_explicit(&x->post_used, true, memory_order_acq_rel)) {
        x->post_fn = fn;
        x->post_arg = arg;
        x->post_task = (struct loop_task){.fn = run_post, .arg = x};
        loop_post_task(x->server->loop, &x->post_task);
        return;
    }
    struct late_post *post = cf_new(struct late_post);
    *post = (struct late_post){x, fn, arg};
    loop_post(x->server->loop, run_late_post, post);
}
