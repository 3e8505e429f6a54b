/* node/core/request.c: what handlers use: fields, answers, the mount's own storage, records. */
#include "node/core/request.h"

#include <stdarg.h>
#include <stdio.h>

#include "node/base/memory.h"
#include "node/core/namespace.h"
#include "node/core/token.h"
#include "node/format/duration.h"

const char *operation_name(enum operation operation)
{
    static const char *const names[OPERATION_COUNT] = {
        [OPERATION_READ] = "read",     [OPERATION_LIST] = "list",   [OPERATION_SCAN] = "scan",
        [OPERATION_CREATE] = "create", [OPERATION_UPDATE] = "update", [OPERATION_PATCH] = "patch",
        [OPERATION_DELETE] = "delete", [OPERATION_HELP] = "help",
    };
    return names[operation];
}

bool request_policy_path(const struct request *rq, const struct token_entry *entry,
                         struct cf_slice path, struct cf_slice *ret)
{
    *ret = path;
    if (entry->ns == rq->ns) {
        return true;
    }
    const struct namespace *own = namespace_by_number(rq->view->namespaces, entry->ns);
    if (own == NULL || !namespace_is_within(rq->nspace, own)) {
        return false;
    }
    struct cf_slice below = cf_slice_from(rq->nspace->path, own->path.size);
    *ret = cf_slice_str(arena_printf(rq->arena, "%.*s%.*s", CF_SHOW(below), CF_SHOW(path)));
    return true;
}

int64_t request_now_ns(const struct request *rq)
{
    return view_now_ns(rq->view);
}

/* ---- fields ---- */

/* The capture named so in the pattern of the request's route, as a JSON string. */
static const struct json *captured(const struct request *rq, const char *name)
{
    if (rq->route == NULL) {
        return NULL;
    }
    size_t number = 0;
    size_t size = strlen(name);
    for (const char *at = strchr(rq->route->pattern, ':'); at != NULL; at = strchr(at + 1, ':')) {
        const char *end = at + 1 + strcspn(at + 1, "./");
        if ((size_t)(end - at - 1) == size && memcmp(at + 1, name, size) == 0) {
            return json_from_borrowed(rq->arena, rq->captures[number]);
        }
        number++;
    }
    return NULL;
}

const struct json *request_field(const struct request *rq, const char *name)
{
    const struct json *found = captured(rq, name);
    found = found != NULL ? found : json_get(rq->body, name);
    found = found != NULL ? found : json_get(rq->query, name);
    return json_is(found, JSON_NULL) ? NULL : found;
}

static bool scalar_text(const struct json *value, struct cf_slice *ret)
{
    bool boolean;
    if (json_bool(value, &boolean)) {
        *ret = boolean ? CF_SLICE("true") : CF_SLICE("false");
        return true;
    }
    return json_string(value, ret) || json_number(value, ret);
}

cf_status request_string(const struct request *rq, const char *name, struct cf_slice *ret,
                         struct cf_error *err)
{
    const struct json *value = request_field(rq, name);
    *ret = CF_SLICE_EMPTY;
    if (value != NULL && !scalar_text(value, ret)) {
        return cf_fail(err, CF_INVALID, "field \"%s\" must be a string", name);
    }
    return CF_OK;
}

static bool parse_int(struct cf_slice text, int64_t *ret)
{
    bool negative = text.size != 0 && text.data[0] == '-';
    int64_t value = 0;
    if (text.size == (negative ? 1u : 0u)) {
        return false;
    }
    for (size_t i = negative ? 1 : 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' ||
            __builtin_mul_overflow(value, (int64_t)10, &value) ||
            __builtin_add_overflow(value, (int64_t)(text.data[i] - '0'), &value)) {
            return false;
        }
    }
    *ret = negative ? -value : value;
    return true;
}

cf_status request_int(const struct request *rq, const char *name, int64_t absent, int64_t *ret,
                      struct cf_error *err)
{
    const struct json *value = request_field(rq, name);
    struct cf_slice text;
    *ret = absent;
    if (value == NULL || json_int64(value, ret)) {
        return CF_OK;
    }
    if (json_string(value, &text) && (text.size == 0 || parse_int(text, ret))) {
        return CF_OK;
    }
    return cf_fail(err, CF_INVALID, "field \"%s\" must be an integer", name);
}

cf_status request_bool(const struct request *rq, const char *name, bool absent, bool *ret,
                       struct cf_error *err)
{
    const struct json *value = request_field(rq, name);
    struct cf_slice text;
    *ret = absent;
    if (value == NULL || json_bool(value, ret)) {
        return CF_OK;
    }
    if (scalar_text(value, &text)) {
        static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
        static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False", ""};
        for (size_t i = 0; i < CF_LENGTH(yes); i++) {
            if (cf_slice_is(text, yes[i])) {
                *ret = true;
                return CF_OK;
            }
        }
        for (size_t i = 0; i < CF_LENGTH(no); i++) {
            if (cf_slice_is(text, no[i])) {
                *ret = false;
                return CF_OK;
            }
        }
    }
    return cf_fail(err, CF_INVALID, "field \"%s\" must be true or false", name);
}

cf_status request_duration(const struct request *rq, const char *name, int64_t absent, int64_t *ret,
                           bool *given, struct cf_error *err)
{
    const struct json *value = request_field(rq, name);
    struct cf_slice text = CF_SLICE_EMPTY;
    *ret = absent;
    if (given != NULL) {
        *given = false;
    }
    if (value == NULL) {
        return CF_OK;
    }
    if (!json_string(value, &text) && !json_number(value, &text)) {
        return cf_fail(err, CF_INVALID, "field \"%s\" must be a duration", name);
    }
    if (text.size == 0) {
        return CF_OK;
    }
    cf_status status = duration_parse(text, ret, err);
    if (status != CF_OK) {
        *ret = absent;
        return cf_error_prefix(err, status, "field \"%s\"", name);
    }
    if (given != NULL) {
        *given = true;
    }
    return CF_OK;
}

static struct cf_slice trimmed(struct cf_slice text)
{
    while (text.size != 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = cf_slice_from(text, 1);
    }
    while (text.size != 0 &&
           (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

cf_status request_list(const struct request *rq, const char *name, bool commas,
                       struct cf_slice **ret, size_t *ret_count, struct cf_error *err)
{
    const struct json *value = request_field(rq, name);
    struct cf_slice text;
    *ret = NULL;
    *ret_count = 0;
    if (value == NULL) {
        return CF_OK;
    }
    if (json_is(value, JSON_ARRAY)) {
        *ret = arena_alloc(rq->arena, (json_count(value) + 1) * sizeof(**ret));
        for (size_t i = 0; i < json_count(value); i++) {
            if (!scalar_text(json_item(value, i), &text)) {
                return cf_fail(err, CF_INVALID, "field \"%s\" must be a list of strings", name);
            }
            text = trimmed(text);
            if (text.size != 0) {
                (*ret)[(*ret_count)++] = text;
            }
        }
        return CF_OK;
    }
    if (!scalar_text(value, &text)) {
        return cf_fail(err, CF_INVALID, "field \"%s\" must be a list of strings", name);
    }
    *ret = arena_alloc(rq->arena, (text.size + 1) * sizeof(**ret));
    while (text.size != 0) {
        size_t end = commas ? cf_slice_find(text, ',') : text.size;
        struct cf_slice one = trimmed(cf_slice_first(text, end));
        if (one.size != 0) {
            (*ret)[(*ret_count)++] = one;
        }
        text = cf_slice_from(text, end + 1);
    }
    return CF_OK;
}

/* ---- answers ---- */

cf_status request_absent(struct cf_error *err)
{
    return cf_fail(err, CF_NOT_FOUND, "%s", "");
}

void response_warn(struct request *rq, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct warning *warning = arena_new_object(rq->arena, struct warning);
    warning->text = arena_text(rq->arena, cf_slice_str(text));
    warning->next = rq->response.warnings;
    rq->response.warnings = warning;
}

struct json *response_data(struct request *rq)
{
    if (rq->response.data == NULL) {
        rq->response.data = json_object_new(rq->arena);
    }
    return rq->response.data;
}

cf_status response_keys(struct request *rq, const struct txn_names *names, struct cf_error *err)
{
    if (names->count == 0) {
        return request_absent(err);
    }
    struct json *keys = json_array_new(rq->arena);
    for (size_t i = 0; i < names->count; i++) {
        json_array_add(rq->arena, keys, json_from_borrowed(rq->arena, names->names[i]));
    }
    json_set(rq->arena, response_data(rq), "keys", keys);
    return CF_OK;
}

cf_status response_page_of(struct request *rq, struct key prefix, struct cf_error *err)
{
    struct txn_names names;
    struct cf_slice after;
    int64_t limit;
    CF_TRY(request_string(rq, "after", &after, err));
    CF_TRY(request_int(rq, "limit", 0, &limit, err));
    CF_TRY(txn_list(rq->txn, prefix, after, limit > 0 ? (size_t)limit : 0, &names, err));
    return response_keys(rq, &names, err);
}

cf_status response_page(struct request *rq, struct cf_slice prefix, struct cf_error *err)
{
    return response_page_of(rq, store_key(rq, prefix), err);
}

/* ---- the mount's own storage ---- */

static struct key mount_data_key(const struct request *rq, struct cf_slice name, uint8_t class)
{
    const size_t head = sizeof(AREA_DATA) - 1 + sizeof(rq->mount->uuid.bytes) + 1;
    uint8_t *whole = arena_alloc_raw(rq->arena, head + name.size);
    memcpy(whole, AREA_DATA, sizeof(AREA_DATA) - 1);
    memcpy(whole + sizeof(AREA_DATA) - 1, rq->mount->uuid.bytes, sizeof(rq->mount->uuid.bytes));
    whole[head - 1] = '/';
    if (name.size != 0) {
        memcpy(whole + head, name.data, name.size);
    }
    return (struct key){class, rq->mount->ns, cf_slice_of(whole, head + name.size)};
}

struct key mount_local_key(struct arena *arena, const struct mount *mount, struct cf_slice name)
{
    struct request rq = {.arena = arena, .mount = mount};
    return mount_data_key(&rq, name, CLASS_CLUSTER);
}

struct key store_key(const struct request *rq, struct cf_slice name)
{
    return mount_data_key(rq, name, rq->mount->class);
}

struct key store_local_key(const struct request *rq, struct cf_slice name)
{
    return mount_data_key(rq, name, CLASS_CLUSTER);
}

cf_status store_get(struct request *rq, struct cf_slice name, struct cf_slice *ret,
                    struct cf_error *err)
{
    return txn_get(rq->txn, store_key(rq, name), ret, err);
}

cf_status store_get_json(struct request *rq, struct cf_slice name, struct json **ret,
                         struct cf_error *err)
{
    struct cf_slice record;
    CF_TRY(store_get(rq, name, &record, err));
    return record_decode(record, rq->arena, ret, err);
}

void store_put(struct request *rq, struct cf_slice name, struct cf_slice value)
{
    txn_put(rq->txn, store_key(rq, name), value);
}

void store_put_json(struct request *rq, struct cf_slice name, const struct json *value)
{
    store_put(rq, name, record_encode(rq->arena, value));
}

void store_delete(struct request *rq, struct cf_slice name)
{
    txn_delete(rq->txn, store_key(rq, name));
}

cf_status store_list(struct request *rq, struct cf_slice prefix, struct cf_slice after,
                     size_t limit, struct txn_names *ret, struct cf_error *err)
{
    return txn_list(rq->txn, store_key(rq, prefix), after, limit, ret, err);
}

struct cf_slice record_encode(struct arena *arena, const struct json *value)
{
    CF_BUF(text) = {.secret = true};
    cf_buf_add_byte(&text, RECORD_VERSION);
    json_write(&text, value);
    return arena_copy(arena, cf_buf_slice(&text));
}

cf_status record_decode(struct cf_slice record, struct arena *arena, struct json **ret,
                        struct cf_error *err)
{
    /* What was stored passed the limits of requests; a record adds a little around it. */
    static const struct json_limits limits = {
        .depth = 400, .keys = 200000, .items = 200000, .nodes = 2000000, .string = 64u << 20};
    if (record.size == 0 || record.data[0] != RECORD_VERSION) {
        cf_fail(err, CF_CORRUPT, "stored record has an unknown version");
        cf_error_detail(err, "It was written by a newer coffer: upgrade this node.");
        return CF_CORRUPT;
    }
    if (json_parse(arena, cf_slice_from(record, 1), &limits, ret, err) != CF_OK) {
        return cf_fail(err, CF_CORRUPT, "stored record is malformed");
    }
    return CF_OK;
}
