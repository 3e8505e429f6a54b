/* node/http/api.c: from HTTP to requests of the secrets store and back. */
#include "node/http/api.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/cluster/loop.h"
#include "node/core/envelope.h"
#include "node/core/route.h"
#include "node/format/duration.h"
#include "node/format/encode.h"
#include "node/format/url.h"
#include "node/http/parser.h"
#include "node/http/path.h"

#define API_PREFIX CF_SLICE("/v1/")
#define TOKEN_SIZE_MAX ((size_t)4096)

struct api {
    struct api_options options;
};

struct api *api_new(const struct api_options *options)
{
    struct api *api = cf_new(struct api);
    api->options = *options;
    return api;
}

void api_free(struct api *api)
{
    cf_free(api);
}

/* ---- answering ---- */

void api_answer_json(struct http_exchange *x, int status, const struct json *body)
{
    CF_BUF(text) = {.secret = true};
    json_write_sorted(&text, body);
    cf_buf_add_byte(&text, '\n');
    http_respond(x, status, NULL, cf_buf_slice(&text));
}

void api_answer_error(struct http_exchange *x, cf_status status, const struct cf_error *err)
{
    bool has_text = err != NULL && err->status == status;
    int http = cf_status_http(status);
    const char *text = has_text && http != 500 ? err->message : cf_status_text(status);
    http_respond_error(x, http, text);
}

static void log_failure(const struct request *rq, int status)
{
    if (status >= 500 && status != 503) {
        cf_err("http", "request %s on \"%.*s\" failed with %d: %s %s (%s)", rq->id,
               CF_SHOW(rq->path), status, rq->error.message, rq->error.detail,
               rq->error.where != NULL ? rq->error.where : "");
    }
}

void api_answer(struct http_exchange *x, const struct request *rq)
{
    int status = envelope_status(rq);
    CF_BUF(body) = {.secret = true};
    log_failure(rq, status);
    if (rq->error.status != CF_OK && status == 500) {
        envelope_error(cf_status_text(rq->error.status), &body);
    } else {
        envelope_body(rq, &body);
    }
    struct http_header_out list[8];
    char age[24], numbers[4][24];
    struct http_headers_out headers = {.content_type = rq->response.content_type, .list = list};
    const struct quota_answer *quota = &rq->quota;
    if (status == 503 || status == 429) {
        (void)snprintf(numbers[0], sizeof(numbers[0]), "%llu",
                       quota->is_refused ? (unsigned long long)cf_max(quota->retry_s, 1) : 1ULL);
        list[headers.count++] =
            (struct http_header_out){CF_SLICE("Retry-After"), cf_slice_str(numbers[0])};
    }
    if (quota->is_shown) {
        const uint64_t values[] = {quota->limit, quota->remaining, quota->reset_s};
        static const char *const names[] = {"X-Ratelimit-Limit", "X-Ratelimit-Remaining",
                                            "X-Ratelimit-Reset"};
        for (size_t i = 0; i < CF_LENGTH(names); i++) {
            (void)snprintf(numbers[i + 1], sizeof(numbers[0]), "%llu",
                           (unsigned long long)values[i]);
            list[headers.count++] =
                (struct http_header_out){cf_slice_str(names[i]), cf_slice_str(numbers[i + 1])};
        }
    }
    if (rq->response.location != NULL) {
        list[headers.count++] =
            (struct http_header_out){CF_SLICE("Location"), cf_slice_str(rq->response.location)};
    }
    if (rq->session.size != 0) {
        list[headers.count++] = (struct http_header_out){CF_SLICE("X-Vault-Index"), rq->session};
    }
    if (rq->was_stale) {
        (void)snprintf(age, sizeof(age), "%llu", (unsigned long long)(rq->staleness_us + 999) / 1000);
        list[headers.count++] =
            (struct http_header_out){CF_SLICE("X-Coffer-Staleness-Ms"), cf_slice_str(age)};
    }
    http_respond(x, status, &headers, status == 204 ? CF_SLICE_EMPTY : cf_buf_slice(&body));
}

/* ---- reading ---- */

static bool read_operation(struct http_exchange *x, struct request *rq)
{
    switch (http_method(x)) {
    case HTTP_GET:
    case HTTP_HEAD:
        rq->operation = OPERATION_READ;
        return true;
    case HTTP_LIST:
        rq->operation = OPERATION_LIST;
        return true;
    case HTTP_SCAN:
        rq->operation = OPERATION_SCAN;
        return true;
    case HTTP_POST:
    case HTTP_PUT:
        rq->operation = OPERATION_UPDATE;
        return true;
    case HTTP_PATCH:
        rq->operation = OPERATION_PATCH;
        return true;
    case HTTP_DELETE:
        rq->operation = OPERATION_DELETE;
        return true;
    case HTTP_OPTIONS:
    case HTTP_OTHER:
        break;
    }
    http_respond_error(x, 405, NULL);
    return false;
}

/* list=true and scan=true turn a GET into the other method; help=1 asks for help. */
static bool read_switch(struct http_exchange *x, struct request *rq, struct cf_slice key,
                        struct cf_slice value)
{
    static const struct {
        const char *key;
        enum operation operation;
    } switches[] = {{"list", OPERATION_LIST}, {"scan", OPERATION_SCAN}, {"help", OPERATION_HELP}};
    for (size_t i = 0; i < CF_LENGTH(switches); i++) {
        if (!cf_slice_is(key, switches[i].key) || rq->operation != OPERATION_READ) {
            continue;
        }
        if (cf_slice_is(value, "true") || cf_slice_is(value, "1") || cf_slice_is(value, "t") ||
            cf_slice_is(value, "TRUE") || cf_slice_is(value, "True") || cf_slice_is(value, "T")) {
            rq->operation = switches[i].operation;
        } else if (!cf_slice_is(value, "false") && !cf_slice_is(value, "0") &&
                   !cf_slice_is(value, "f") && !cf_slice_is(value, "F") &&
                   !cf_slice_is(value, "FALSE") && !cf_slice_is(value, "False") && i < 2) {
            http_respond_error(x, 400, NULL);
            return false;
        }
    }
    return true;
}

static bool read_query(struct http_exchange *x, struct request *rq)
{
    struct cf_slice rest = http_query(x);
    struct url_parameter parameter;
    struct cf_error err = {0};
    if (rest.size == 0) {
        return true;
    }
    rq->query = json_object_new(rq->arena);
    cf_status status = CF_OK;
    while (url_next(rq->arena, &rest, &parameter, &status, &err)) {
        if (!read_switch(x, rq, parameter.key, parameter.value)) {
            return false;
        }
        json_object_set(rq->arena, rq->query, parameter.key,
                        json_from_borrowed(rq->arena, parameter.value));
    }
    if (status != CF_OK) {
        http_respond_error(x, 400, err.message);
        return false;
    }
    return true;
}

static void read_token(struct http_exchange *x, struct request *rq)
{
    struct cf_slice bearer;
    if (http_header(x, CF_SLICE("X-Vault-Token"), &rq->token)) {
        rq->token_is_malformed = http_header_lines(x, CF_SLICE("X-Vault-Token")) > 1;
    } else if (http_header(x, CF_SLICE("Authorization"), &bearer) &&
               cf_slice_starts(bearer, CF_SLICE("Bearer "))) {
        rq->token = cf_slice_from(bearer, 7);
    }
    if (rq->token.size > TOKEN_SIZE_MAX) {
        rq->token_is_malformed = true;
    }
}

static void read_namespace(struct http_exchange *x, struct request *rq)
{
    struct cf_slice ns;
    if (http_header(x, CF_SLICE("X-Vault-Namespace"), &ns)) {
        rq->path = http_path_in(rq->arena, ns, rq->path, &rq->ns_header_size);
    }
}

/* How reads may be answered: X-Vault-Index, what to do when this node has not got there, stale reads. */
static bool read_consistency(const struct api *api, struct http_exchange *x, struct request *rq)
{
    struct cf_slice name, value;
    if (http_header(x, CF_SLICE("X-Vault-Index"), &value)) {
        for (size_t at = 0; http_header_next(x, &at, &name, &value);) {
            if (name.size != strlen("X-Vault-Index") || value.size == 0 ||
                strncasecmp((const char *)name.data, "X-Vault-Index", name.size) != 0) {
                continue;
            }
            if (rq->session_count == CF_LENGTH(rq->sessions)) {
                http_respond_error(x, 400, "more than two X-Vault-Index headers: merge them");
                return false;
            }
            rq->sessions[rq->session_count++] = value;
        }
    }
    if (http_header(x, CF_SLICE("X-Vault-Inconsistent"), &value) &&
        cf_slice_is(value, "forward-active-node")) {
        if (!api->options.forwards_by_header) {
            http_respond_error(x, 400,
                               "forwarding via header X-Vault-Inconsistent=forward-active-node disabled "
                               "in configuration");
            return false;
        }
        rq->forward_if_behind = true;
    }
    if (http_header(x, CF_SLICE("X-Vault-Forward"), &value) && cf_slice_is(value, "active-node")) {
        if (!api->options.forwards_by_header) {
            http_respond_error(x, 400,
                               "forwarding via header X-Vault-Forward disabled in configuration");
            return false;
        }
        rq->forward_always = true;
    }
    if (http_header(x, CF_SLICE("X-Vault-No-Request-Forwarding"), &value)) {
        rq->redirects = true;
        rq->redirect_query = http_query(x);
    }
    if (http_header(x, CF_SLICE("X-Coffer-Consistency"), &value)) {
        if (!cf_slice_is(value, "stale") && !cf_slice_is(value, "linearizable")) {
            http_respond_error(x, 400, "X-Coffer-Consistency is \"linearizable\" or \"stale\"");
            return false;
        }
        rq->stale_ok = cf_slice_is(value, "stale");
    }
    return true;
}

static bool read_headers(const struct api *api, struct http_exchange *x, struct request *rq)
{
    struct cf_slice value;
    struct cf_error err = {0};
    if (http_header(x, CF_SLICE("X-Vault-Wrap-TTL"), &value) && value.size != 0) {
        if (duration_parse(value, &rq->wrap_ttl_s, &err) != CF_OK || rq->wrap_ttl_s < 0) {
            http_respond_error(x, 400, "requested wrapping TTL is not a valid duration");
            return false;
        }
    }
    read_namespace(x, rq);
    return read_consistency(api, x, rq);
}

static bool read_body(struct http_exchange *x, struct request *rq)
{
    struct cf_slice type;
    struct cf_error err = {0};
    bool writes = rq->operation == OPERATION_UPDATE || rq->operation == OPERATION_PATCH;
    rq->raw_body = http_body(x);
    if (rq->operation == OPERATION_PATCH) {
        if (!http_header(x, CF_SLICE("Content-Type"), &type) ||
            !cf_slice_starts(type, CF_SLICE("application/merge-patch+json"))) {
            http_respond_error(x, 415, "PATCH requires Content-Type: application/merge-patch+json");
            return false;
        }
    }
    if (!writes || rq->raw_body.size == 0) {
        return true;
    }
    if (cf_slice_is(rq->path, "sys/storage/raft/snapshot") ||
        cf_slice_is(rq->path, "sys/storage/raft/snapshot-force")) {
        return true; /* an archive, not JSON */
    }
    if (json_parse(rq->arena, rq->raw_body, NULL, &rq->body, &err) != CF_OK) {
        /* The text that clients know; what is over a limit of ours says which one. */
        bool is_limit = cf_slice_starts(cf_slice_str(err.message), CF_SLICE("JSON over"));
        http_respond_error(x, 400, is_limit ? err.message : "error parsing JSON");
        return false;
    }
    if (json_is(rq->body, JSON_NULL)) { /* how clients write without fields: no body at all */
        rq->body = NULL;
        rq->raw_body = CF_SLICE_EMPTY;
        return true;
    }
    if (!json_is(rq->body, JSON_OBJECT)) {
        http_respond_error(x, 400, "error parsing JSON");
        return false;
    }
    return true;
}

static void request_post(struct request *rq, void (*run)(void *), void *arg)
{
    loop_post(http_loop(rq->transport), run, arg);
}

static void request_done(struct request *rq)
{
    api_answer(rq->transport, rq);
}

static bool request_header(const struct request *rq, struct cf_slice name, struct cf_slice *ret)
{
    return http_header(rq->transport, name, ret);
}

bool api_read_request(struct api *api, struct http_exchange *x, struct request **ret)
{
    struct arena *arena = http_arena(x);
    struct request *rq = arena_new_object(arena, struct request);
    rq->core = api->options.core;
    rq->arena = arena;
    rq->transport = x;
    rq->post = request_post;
    rq->done = request_done;
    rq->random = core_random();
    rq->header = request_header;
    encode_uuid_text(encode_uuid_new(core_random_public()), rq->id);
    rq->path = cf_slice_from(http_path(x), API_PREFIX.size);
    rq->remote_address = http_peer_address(x);
    rq->remote_port = http_peer_port(x);
    if (memmem(rq->path.data, rq->path.size, "auth/", 5) != NULL && /* logins, renewals */
        http_peer_cert(x, &rq->peer_certificate, NULL) != CF_OK) {
        rq->peer_certificate = CF_SLICE_EMPTY;
    }
    if (api->options.ceremony_is_open != NULL && cf_slice_starts(rq->path, CF_SLICE("sys/"))) {
        rq->ceremonies_are_open = api->options.ceremony_is_open(x, cf_slice_from(rq->path, 4));
    }
    if (!read_operation(x, rq) || !read_query(x, rq)) {
        return false;
    }
    read_token(x, rq);
    if (!read_headers(api, x, rq) || !read_body(x, rq)) {
        return false;
    }
    bool writes = rq->operation == OPERATION_UPDATE;
    if (writes && rq->path.size != 0 && rq->path.data[rq->path.size - 1] == '/') {
        http_respond_error(x, 400, "cannot write to a path ending in '/'");
        return false;
    }
    *ret = rq;
    return true;
}

/* ---- pages of other origins ---- */

#define CORS_METHODS "DELETE,GET,OPTIONS,POST,PUT,PATCH,LIST,SCAN"

static bool is_cors_method(struct cf_slice method)
{
    static const char *const methods[] = {"DELETE", "GET",   "OPTIONS", "POST",
                                          "PUT",    "PATCH", "LIST",    "SCAN"};
    for (size_t i = 0; i < CF_LENGTH(methods); i++) {
        if (cf_slice_is(method, methods[i])) {
            return true;
        }
    }
    return false;
}

/* False: answered. A browser's question in advance (OPTIONS) gets its answer here; every other answer
 * says whose page may read it. */
static bool pass_origin(const struct api *api, struct http_exchange *x, struct cf_slice origin)
{
    struct cf_slice headers = CF_SLICE_EMPTY, method = CF_SLICE_EMPTY;
    enum core_origin verdict = core_origin(api->options.core, origin, http_arena(x), &headers);
    if (verdict == ORIGIN_ANY) {
        return true;
    }
    if (verdict == ORIGIN_REFUSED) {
        http_respond_error(x, 403, "origin not allowed");
        return false;
    }
    bool asks = http_method(x) == HTTP_OPTIONS;
    if (asks && (!http_header(x, CF_SLICE("Access-Control-Request-Method"), &method) ||
                 !is_cors_method(method))) {
        http_respond_error(x, 405, NULL);
        return false;
    }
    http_add_header(x, CF_SLICE("Access-Control-Allow-Origin"), origin);
    http_add_header(x, CF_SLICE("Vary"), CF_SLICE("Origin"));
    if (asks) {
        http_add_header(x, CF_SLICE("Access-Control-Allow-Methods"), CF_SLICE(CORS_METHODS));
        http_add_header(x, CF_SLICE("Access-Control-Allow-Headers"), headers);
        http_add_header(x, CF_SLICE("Access-Control-Max-Age"), CF_SLICE("300"));
        http_respond(x, 204, NULL, CF_SLICE_EMPTY);
        return false;
    }
    return true;
}

void api_handle(void *ctx, struct http_exchange *x)
{
    struct api *api = ctx;
    struct cf_slice path = http_path(x);
    struct request *rq;
    if (!cf_slice_starts(path, API_PREFIX)) {
        if (api->options.other == NULL || !api->options.other(api->options.context, x, path)) {
            http_respond_error(x, 404, NULL);
        }
        return;
    }
    struct cf_slice origin;
    if (http_header(x, CF_SLICE("Origin"), &origin) && !pass_origin(api, x, origin)) {
        return;
    }
    path = cf_slice_from(path, API_PREFIX.size);
    if (api->options.node_route != NULL && api->options.node_route(api->options.context, x, path)) {
        return;
    }
    if (api_read_request(api, x, &rq)) {
        core_submit(api->options.core, rq);
    }
}
