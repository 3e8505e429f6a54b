/* node/core/sys/tools.c: random bytes, hashes, and what the barrier's key is like. */
#include "node/barrier/keyring.h"
#include "node/base/memory.h"
#include "node/core/sys/sys_int.h"
#include "node/crypto/hash.h"
#include "node/format/encode.h"
#include "node/format/timefmt.h"

#define RANDOM_BYTES_MAX (128 * 1024)

static bool is_source(struct cf_slice name)
{
    return cf_slice_is(name, "platform") || cf_slice_is(name, "seal") || cf_slice_is(name, "all");
}

static cf_status encode_as(struct cf_slice format, struct cf_slice bytes, struct cf_buf *to,
                           struct cf_error *err)
{
    if (cf_slice_is(format, "hex")) {
        encode_hex(to, bytes);
        return CF_OK;
    }
    if (cf_slice_is(format, "base64")) {
        encode_base64(to, bytes);
        return CF_OK;
    }
    return cf_fail(err, CF_INVALID,
                   "unsupported encoding format \"%.*s\"; must be \"hex\" or \"base64\"",
                   CF_SHOW(cf_slice_first(format, 40)));
}

/* tools/random[/<source>][/<bytes>]: every source is the system's generator. */
static cf_status wanted_bytes(struct request *rq, int64_t *ret, struct cf_error *err)
{
    struct cf_slice first, source;
    CF_TRY(request_string(rq, "urlbytes", &first, err));
    CF_TRY(request_string(rq, "source", &source, err));
    if (source.size == 0 && is_source(first)) {
        source = first;
        first = CF_SLICE_EMPTY;
    }
    if (source.size != 0 && !is_source(source)) {
        return cf_fail(err, CF_INVALID,
                       "unsupported entropy source \"%.*s\"; must be \"platform\" or \"seal\", or "
                       "\"all\"",
                       CF_SHOW(cf_slice_first(source, 40)));
    }
    CF_TRY(request_int(rq, first.size != 0 ? "urlbytes" : "bytes", 32, ret, err));
    if (*ret < 1) {
        return cf_fail(err, CF_INVALID, "'bytes' cannot be less than 1");
    }
    if (*ret > RANDOM_BYTES_MAX) {
        return cf_fail(err, CF_INVALID, "'bytes' should be less than %d", RANDOM_BYTES_MAX);
    }
    return CF_OK;
}

cf_status sys_tools_random(struct request *rq, struct cf_error *err)
{
    struct cf_slice format;
    int64_t count;
    CF_BUF(text) = {.secret = true};
    CF_TRY(wanted_bytes(rq, &count, err));
    CF_TRY(request_string(rq, "format", &format, err));
    uint8_t *bytes = arena_alloc_raw(rq->arena, (size_t)count);
    cf_random_fill(rq->random, bytes, (size_t)count);
    CF_TRY(encode_as(format.size != 0 ? format : CF_SLICE("base64"),
                     cf_slice_of(bytes, (size_t)count), &text, err));
    json_set_string(rq->arena, response_data(rq), "random_bytes", cf_buf_slice(&text));
    return CF_OK;
}

cf_status sys_tools_hash(struct request *rq, struct cf_error *err)
{
    struct cf_slice name, format, input;
    enum hash_kind kind;
    uint8_t digest[HASH_SIZE_MAX];
    CF_BUF(data) = {.secret = true};
    CF_BUF(text) = {0};
    CF_TRY(request_string(rq, "urlalgorithm", &name, err));
    if (name.size == 0) {
        CF_TRY(request_string(rq, "algorithm", &name, err));
    }
    CF_TRY(request_string(rq, "format", &format, err));
    CF_TRY(request_string(rq, "input", &input, err));
    if (!hash_find(name.size != 0 ? name : CF_SLICE("sha2-256"), &kind) || kind == HASH_SHA1) {
        return cf_fail(err, CF_INVALID, "unsupported algorithm %.*s",
                       CF_SHOW(cf_slice_first(name, 40)));
    }
    if (encode_base64_decode(&data, input, NULL) != CF_OK) {
        return cf_fail(err, CF_INVALID, "unable to decode input as base64");
    }
    size_t size = hash_once(kind, cf_buf_slice(&data), digest);
    CF_TRY(encode_as(format.size != 0 ? format : CF_SLICE("hex"), cf_slice_of(digest, size), &text,
                     err));
    json_set_string(rq->arena, response_data(rq), "sum", cf_buf_slice(&text));
    return CF_OK;
}

cf_status sys_key_status(struct request *rq, struct cf_error *err)
{
    (void)err;
    struct keyring_info key = keyring_active(rq->view->keyring);
    struct json *data = response_data(rq);
    char time[TIMEFMT_SIZE];
    timefmt_text(key.installed_ns, time);
    json_set_int(rq->arena, data, "term", key.term);
    json_set_text(rq->arena, data, "install_time", time);
    json_set(rq->arena, data, "encryptions", json_from_uint(rq->arena, key.encryptions));
    rq->response.data_at_top = true;
    return CF_OK;
}
