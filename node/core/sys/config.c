/* node/core/sys/config.c: sys/config/: other origins, headers of the user interface. */
#include "node/base/memory.h"
#include "node/core/settings.h"
#include "node/core/sys/sys_int.h"
#include "node/format/encode.h"

#define UI_PREFIX AREA_CONFIG "ui-header/"
#define LIST_MAX ((size_t)256)

/* ---- config/cors ---- */

static cf_status cors_of(struct request *rq, struct cors *ret, struct cf_error *err)
{
    struct cf_slice record;
    struct json *json = NULL;
    cf_status status = txn_get(rq->txn, SETTINGS_CORS_KEY, &record, err);
    if (status == CF_OK) {
        status = record_decode(record, rq->arena, &json, err);
    }
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    cors_from_record(rq->arena, json, ret);
    return CF_OK;
}

static struct json *texts(struct request *rq, const struct cf_slice *list, size_t count)
{
    struct json *array = json_array_new(rq->arena);
    for (size_t i = 0; i < count; i++) {
        json_array_add(rq->arena, array, json_from_string(rq->arena, list[i]));
    }
    return array;
}

cf_status sys_cors_read(struct request *rq, struct cf_error *err)
{
    struct cors cors;
    CF_TRY(cors_of(rq, &cors, err));
    struct json *data = response_data(rq);
    json_set_bool(rq->arena, data, "enabled", cors.is_enabled);
    if (cors.is_enabled) {
        json_set(rq->arena, data, "allowed_origins", texts(rq, cors.origins, cors.origin_count));
        json_set(rq->arena, data, "allowed_headers", texts(rq, cors.headers, cors.header_count));
    }
    return CF_OK;
}

/* What goes into a header of an answer must not end its line. */
static bool is_plain(struct cf_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < 0x20 || text.data[i] >= 0x7f) {
            return false;
        }
    }
    return text.size != 0 && text.size <= 512;
}

static cf_status check_texts(const struct cf_slice *list, size_t count, const char *field,
                             struct cf_error *err)
{
    if (count > LIST_MAX) {
        return cf_fail(err, CF_INVALID, "%s: more than %zu entries", field, LIST_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_plain(list[i])) {
            return cf_fail(err, CF_INVALID,
                           "%s: an entry holds bytes that a header cannot, or is too long", field);
        }
    }
    return CF_OK;
}

cf_status sys_cors_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice *origins, *headers;
    size_t origin_count, header_count;
    CF_TRY(request_list(rq, "allowed_origins", true, &origins, &origin_count, err));
    CF_TRY(request_list(rq, "allowed_headers", true, &headers, &header_count, err));
    CF_TRY(check_texts(origins, origin_count, "allowed_origins", err));
    CF_TRY(check_texts(headers, header_count, "allowed_headers", err));
    if (origin_count == 0) {
        return cf_fail(err, CF_INVALID, "at least one origin or the wildcard must be provided");
    }
    for (size_t i = 0; i < origin_count && origin_count > 1; i++) {
        if (cf_slice_is(origins[i], "*")) {
            return cf_fail(err, CF_INVALID, "to allow all origins the '*' must be the only value "
                                            "for allowed_origins");
        }
    }
    struct json *record = json_object_new(rq->arena);
    json_set(rq->arena, record, "origins", texts(rq, origins, origin_count));
    json_set(rq->arena, record, "headers", texts(rq, headers, header_count));
    txn_put(rq->txn, SETTINGS_CORS_KEY, record_encode(rq->arena, record));
    return CF_OK;
}

cf_status sys_cors_delete(struct request *rq, struct cf_error *err)
{
    (void)err;
    txn_delete(rq->txn, SETTINGS_CORS_KEY);
    return CF_OK;
}

/* ---- config/ui/headers ---- */

/* Names of headers know no case: kept in small letters. */
static struct key ui_key(struct request *rq, struct cf_slice name)
{
    CF_BUF(text) = {0};
    cf_buf_add_str(&text, UI_PREFIX);
    for (size_t i = 0; i < name.size; i++) {
        uint8_t byte = name.data[i];
        cf_buf_add_byte(&text, byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte - 'A' + 'a') : byte);
    }
    return (struct key){CLASS_REPLICATED, NAMESPACE_ROOT, arena_copy(rq->arena, cf_buf_slice(&text))};
}

cf_status sys_ui_header_list(struct request *rq, struct cf_error *err)
{
    struct txn_names names;
    struct key prefix = {CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE(UI_PREFIX)};
    CF_TRY(txn_scan(rq->txn, prefix, CF_SLICE_EMPTY, 0, &names, err));
    return response_keys(rq, &names, err);
}

cf_status sys_ui_header_read(struct request *rq, struct cf_error *err)
{
    struct cf_slice record;
    struct json *json;
    bool all;
    CF_TRY(request_bool(rq, "multivalue", false, &all, err));
    cf_status status = txn_get(rq->txn, ui_key(rq, rq->captures[0]), &record, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    CF_TRY(record_decode(record, rq->arena, &json, err));
    struct json *values = json_get(json, "values");
    json_set(rq->arena, response_data(rq), all ? "values" : "value",
             all ? values : json_item(values, 0));
    return CF_OK;
}

static bool is_token(struct cf_slice name)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < name.size; i++) {
        uint8_t byte = name.data[i];
        bool is_word = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                       (byte >= 'A' && byte <= 'Z');
        if (!is_word && memchr(others, byte, sizeof(others) - 1) == NULL) {
            return false;
        }
    }
    return name.size != 0 && name.size <= 256;
}

cf_status sys_ui_header_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice *values;
    size_t count;
    struct key key = ui_key(rq, rq->captures[0]);
    struct cf_slice name = cf_slice_from(key.name, sizeof(UI_PREFIX) - 1);
    CF_TRY(request_list(rq, "values", false, &values, &count, err));
    if (!is_token(name) || count == 0) {
        return cf_fail(err, CF_INVALID, "header and values must be specified");
    }
    if (cf_slice_starts(name, CF_SLICE("x-vault-"))) {
        return cf_fail(err, CF_INVALID, "X-Vault headers cannot be set");
    }
    CF_TRY(check_texts(values, count, "values", err));
    struct json *record = json_object_new(rq->arena);
    json_set(rq->arena, record, "values", texts(rq, values, count));
    txn_put(rq->txn, key, record_encode(rq->arena, record));
    if (cf_slice_is(name, "content-security-policy")) {
        response_warn(rq, "overriding default Content-Security-Policy which is secure by default, "
                          "proceed with caution");
    }
    rq->response.status = 200; /* with an envelope that holds no data */
    return CF_OK;
}

cf_status sys_ui_header_delete(struct request *rq, struct cf_error *err)
{
    (void)err;
    txn_delete(rq->txn, ui_key(rq, rq->captures[0]));
    return CF_OK;
}
