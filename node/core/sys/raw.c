/* node/core/sys/raw.c: sys/raw/: records as they are stored, opened, for repairs under a support case. Off unless
 * the configuration says raw_storage_endpoint = true.
 *
 * A path is <class>/<namespace number>/<name>: "r/0/policy/default"; bytes of a name that are no printable
 * ASCII, and the backslash, stand as \xNN. What the barrier does not seal (the seal itself) is not shown. */
#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/core/sys/sys_int.h"
#include "node/format/encode.h"
#include "node/format/utf8.h"

static cf_status want_enabled(const struct request *rq, struct cf_error *err)
{
    return core_config(rq->core)->raw_storage_endpoint
               ? CF_OK
               : cf_fail(err, CF_NOT_FOUND, "1 error occurred:\n\t* unsupported path\n\n");
}

static int hex_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9'   ? byte - '0'
           : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                                        : -1;
}

static cf_status decode_name(struct request *rq, struct cf_slice text, struct cf_slice *ret,
                             struct cf_error *err)
{
    CF_BUF(name) = {.max = KEY_NAME_MAX};
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] != '\\') {
            cf_buf_add_byte(&name, text.data[i]);
            continue;
        }
        int high = i + 3 < text.size && text.data[i + 1] == 'x' ? hex_digit(text.data[i + 2]) : -1;
        int low = high >= 0 ? hex_digit(text.data[i + 3]) : -1;
        if (low < 0) {
            return cf_fail(err, CF_INVALID, "a backslash in a name begins \\xNN");
        }
        cf_buf_add_byte(&name, (uint8_t)(high << 4 | low));
        i += 3;
    }
    CF_TRY(cf_buf_check(&name, err));
    *ret = arena_copy(rq->arena, cf_buf_slice(&name));
    return CF_OK;
}

static struct cf_slice encode_name(struct request *rq, struct cf_slice name)
{
    CF_BUF(text) = {0};
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] < 0x20 || name.data[i] > 0x7e || name.data[i] == '\\') {
            cf_buf_addf(&text, "\\x%02x", name.data[i]);
        } else {
            cf_buf_add_byte(&text, name.data[i]);
        }
    }
    return arena_copy(rq->arena, cf_buf_slice(&text));
}

static cf_status key_of(struct request *rq, struct key *ret, struct cf_error *err)
{
    struct cf_slice path = rq->captures[0];
    uint64_t ns = 0;
    size_t at = 2;
    while (at < path.size && path.data[at] >= '0' && path.data[at] <= '9' && ns <= UINT32_MAX) {
        ns = ns * 10 + (uint64_t)(path.data[at++] - '0');
    }
    bool fits = path.size > 2 && class_number(path.data[0]) < CLASS_COUNT && path.data[1] == '/' &&
                at > 2 && ns <= UINT32_MAX && (at == path.size || path.data[at] == '/');
    if (!fits) {
        return cf_fail(err, CF_INVALID, "a raw path is <class r, c or o>/<namespace number>/<name>, "
                                        "such as r/0/policy/default");
    }
    *ret = (struct key){.class = path.data[0], .ns = (uint32_t)ns};
    struct cf_slice rest = cf_slice_from(path, at == path.size ? at : at + 1);
    CF_TRY(decode_name(rq, rest, &ret->name, err));
    if (cf_slice_starts(ret->name, CF_SLICE(AREA_SEAL))) {
        return cf_fail(err, CF_INVALID, "cannot show \"" AREA_SEAL "\": the barrier does not seal it");
    }
    return CF_OK;
}

cf_status sys_raw_read(struct request *rq, struct cf_error *err)
{
    struct key key;
    struct cf_slice value, encoding;
    CF_TRY(want_enabled(rq, err));
    CF_TRY(key_of(rq, &key, err));
    CF_TRY(request_string(rq, "encoding", &encoding, err));
    if (encoding.size != 0 && !cf_slice_is(encoding, "base64")) {
        return cf_fail(err, CF_INVALID, "invalid encoding: only \"base64\" is known");
    }
    cf_status status = txn_get(rq->txn, key, &value, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    if (encoding.size == 0 && !utf8_valid(value)) {
        return cf_fail(err, CF_INVALID, "the value is no text: ask for encoding=base64");
    }
    CF_BUF(text) = {.secret = true};
    if (encoding.size != 0) {
        encode_base64(&text, value);
    } else {
        cf_buf_add_slice(&text, value);
    }
    json_set_string(rq->arena, response_data(rq), "value", cf_buf_slice(&text));
    return CF_OK;
}

cf_status sys_raw_list(struct request *rq, struct cf_error *err)
{
    struct key key;
    struct txn_names names;
    CF_TRY(want_enabled(rq, err));
    CF_TRY(key_of(rq, &key, err));
    if (key.name.size != 0 && key.name.data[key.name.size - 1] != '/') {
        uint8_t *folder = arena_alloc_raw(rq->arena, key.name.size + 1);
        memcpy(folder, key.name.data, key.name.size);
        folder[key.name.size] = '/';
        key.name = cf_slice_of(folder, key.name.size + 1);
    }
    CF_TRY(txn_list(rq->txn, key, CF_SLICE_EMPTY, 0, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        names.names[i] = encode_name(rq, names.names[i]);
    }
    return response_keys(rq, &names, err);
}

cf_status sys_raw_write(struct request *rq, struct cf_error *err)
{
    struct key key;
    struct cf_slice value, encoding;
    CF_BUF(bytes) = {.secret = true};
    CF_TRY(want_enabled(rq, err));
    CF_TRY(key_of(rq, &key, err));
    CF_TRY(request_string(rq, "value", &value, err));
    CF_TRY(request_string(rq, "encoding", &encoding, err));
    if (key.name.size == 0 || (encoding.size != 0 && !cf_slice_is(encoding, "base64"))) {
        return cf_fail(err, CF_INVALID, key.name.size == 0
                                            ? "the path names no record"
                                            : "invalid encoding: only \"base64\" is known");
    }
    if (encoding.size != 0) {
        CF_TRY(encode_base64_decode(&bytes, value, err));
        value = cf_buf_slice(&bytes);
    }
    txn_put(rq->txn, key, value);
    return CF_OK;
}

cf_status sys_raw_delete(struct request *rq, struct cf_error *err)
{
    struct key key;
    CF_TRY(want_enabled(rq, err));
    CF_TRY(key_of(rq, &key, err));
    if (key.name.size == 0) {
        return cf_fail(err, CF_INVALID, "the path names no record");
    }
    txn_delete(rq->txn, key);
    return CF_OK;
}
