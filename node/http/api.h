/* node/http/api.h
 *
 * From HTTP to requests of the secrets store and back: paths below /v1/, tokens, bodies, queries,
 * headers. Node-level paths that must answer in every state (sys/init, sys/health ...) are the
 * node's: it gives a function that is asked first.
 */
#ifndef COFFER_HTTP_API_H
#define COFFER_HTTP_API_H

#include "node/core/core.h"
#include "node/http/exchange.h"

struct api_options {
    struct core *core;
    /* Asked first, on the reactor's thread; path is below /v1/. true: it took the exchange and will
     * answer it. May be NULL. */
    bool (*node_route)(void *context, struct http_exchange *x, struct cf_slice path);
    /* Answers whatever is not below /v1/; false: 404. May be NULL. */
    bool (*other)(void *context, struct http_exchange *x, struct cf_slice path);
    /* Whether a ceremony of key holders (ROUTE_CEREMONY) is open without a token on the listener of x; path
     * is below /v1/sys/. May be NULL: none is. */
    bool (*ceremony_is_open)(const struct http_exchange *x, struct cf_slice path);
    void *context;
    int64_t wrap_ttl_max_s; /* 0: no limit */
    bool forwards_by_header; /* X-Vault-Forward and X-Vault-Inconsistent are obeyed, else 400 */
};

struct api;

struct api *api_new(const struct api_options *options);
void api_free(struct api *api); /* after the reactors are drained; NULL is fine */
CF_DEFINE_OWNED(api);

/* An http_handler_fn; ctx is the struct api. */
void api_handle(void *ctx, struct http_exchange *x);

/* Builds a request in the exchange's arena without sending it (for the node's own routes). False:
 * the exchange was answered with an error. */
bool api_read_request(struct api *api, struct http_exchange *x, struct request **ret);
/* Answers the exchange with what the finished request holds. */
void api_answer(struct http_exchange *x, const struct request *rq);
/* A JSON body with that status. */
void api_answer_json(struct http_exchange *x, int status, const struct json *body);
/* The error of a status with its message. */
void api_answer_error(struct http_exchange *x, cf_status status, const struct cf_error *err);

#endif
