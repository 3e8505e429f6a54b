/* node/engines/identity/record.c: records by name, fields of requests, lists. */
#include <stdlib.h>

#include "node/base/memory.h"
#include "node/core/policy.h"
#include "node/engines/identity/identity_int.h"
#include "node/format/timefmt.h"

static struct cf_slice full_name(struct request *rq, const char *folder, struct cf_slice name)
{
    return cf_slice_str(arena_printf(rq->arena, "%s%.*s", folder, CF_SHOW(name)));
}

cf_status identity_get(struct request *rq, const char *folder, struct cf_slice name,
                       struct json **ret, struct cf_error *err)
{
    if (name.size == 0 || name.size > 1024) {
        return CF_NOT_FOUND;
    }
    return store_get_json(rq, full_name(rq, folder, name), ret, err);
}

void identity_put(struct request *rq, const char *folder, struct cf_slice name,
                  const struct json *record)
{
    store_put_json(rq, full_name(rq, folder, name), record);
}

void identity_drop(struct request *rq, const char *folder, struct cf_slice name)
{
    store_delete(rq, full_name(rq, folder, name));
}

cf_status identity_follow(struct request *rq, const char *pointer, struct cf_slice name,
                          const char *field, const char *folder, struct json **ret,
                          struct cf_error *err)
{
    struct json *to;
    CF_TRY(identity_get(rq, pointer, name, &to, err));
    return identity_get(rq, folder, json_get_string(to, field), ret, err);
}

struct json *identity_one(struct arena *arena, const char *name, struct cf_slice value)
{
    struct json *object = json_object_new(arena);
    json_set_string(arena, object, name, value);
    return object;
}

struct json *identity_name_record(struct arena *arena, const struct json *of)
{
    struct json *record = identity_one(arena, "id", json_get_string(of, "id"));
    json_set_string(arena, record, "name", json_get_string(of, "name"));
    return record;
}

bool identity_flag(const struct json *record, const char *name)
{
    bool value = false;
    cf_ignore(!json_bool(json_get(record, name), &value), "absent is false");
    return value;
}

/* Lists of "k=v" are taken, too, as command lines send them. */
cf_status identity_read_map(struct request *rq, const char *name, struct json **ret,
                            struct cf_error *err)
{
    const struct json *given = request_field(rq, name);
    *ret = NULL;
    if (given == NULL) {
        return CF_OK;
    }
    struct json *map = json_object_new(rq->arena);
    struct cf_slice text;
    if (json_is(given, JSON_OBJECT)) {
        for (size_t i = 0; i < json_count(given); i++) {
            if (!json_string(given->members[i].value, &text)) {
                return cf_fail(err, CF_INVALID, "field \"%s\" must be a map of strings", name);
            }
        }
        *ret = json_copy(rq->arena, given);
        return CF_OK;
    }
    struct cf_slice *pairs;
    size_t count;
    CF_TRY(request_list(rq, name, true, &pairs, &count, err));
    for (size_t i = 0; i < count; i++) {
        size_t equals = cf_slice_find(pairs[i], '=');
        if (equals == 0 || equals == pairs[i].size) {
            return cf_fail(err, CF_INVALID, "field \"%s\" must be a map of strings", name);
        }
        json_object_set(rq->arena, map, cf_slice_first(pairs[i], equals),
                        json_from_string(rq->arena, cf_slice_from(pairs[i], equals + 1)));
    }
    *ret = map;
    return CF_OK;
}

static int by_bytes(const void *a, const void *b)
{
    return cf_slice_cmp(*(const struct cf_slice *)a, *(const struct cf_slice *)b);
}

cf_status identity_read_policies(struct request *rq, struct json **ret, struct cf_error *err)
{
    struct cf_slice *names;
    size_t count;
    *ret = NULL;
    if (request_field(rq, "policies") == NULL) {
        return CF_OK;
    }
    CF_TRY(request_list(rq, "policies", true, &names, &count, err));
    *ret = json_array_new(rq->arena);
    for (size_t i = 0; i < count; i++) {
        names[i] = identity_fold(rq->arena, names[i]);
        if (cf_slice_is(names[i], "root")) {
            return cf_fail(err, CF_INVALID, "policies cannot contain root");
        }
    }
    if (count != 0) {
        qsort(names, count, sizeof(*names), by_bytes);
    }
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !cf_slice_eq(names[i - 1], names[i])) {
            json_array_add(rq->arena, *ret, json_from_string(rq->arena, names[i]));
        }
    }
    return CF_OK;
}

cf_status identity_read_name(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    CF_TRY(request_string(rq, "name", ret, err));
    if (ret->size > IDENTITY_NAME_MAX) {
        return cf_fail(err, CF_INVALID, "name is longer than %zu bytes", IDENTITY_NAME_MAX);
    }
    for (size_t i = 0; i < ret->size; i++) {
        if (ret->data[i] < 0x20 || ret->data[i] == 0x7f) {
            return cf_fail(err, CF_INVALID, "name cannot contain control characters");
        }
    }
    return CF_OK;
}

void identity_set_time(struct request *rq, struct json *to, const char *name,
                       const struct json *record, const char *from)
{
    char text[TIMEFMT_SIZE];
    int64_t time_ns = 0;
    cf_ignore(!json_int64(json_get(record, from), &time_ns), "absent is 0");
    timefmt_text(time_ns, text);
    json_set_text(rq->arena, to, name, text);
}

/* The page that is asked for. */
static cf_status names_of(struct request *rq, const char *folder, struct txn_names *ret,
                          struct cf_error *err)
{
    struct cf_slice after;
    int64_t limit;
    CF_TRY(request_string(rq, "after", &after, err));
    CF_TRY(request_int(rq, "limit", 0, &limit, err));
    return txn_scan(rq->txn, store_key(rq, cf_slice_str(folder)), after,
                    limit > 0 ? (size_t)limit : 0, ret, err);
}

cf_status identity_list(struct request *rq, const char *folder,
                        struct json *(*info)(struct request *rq, const struct json *record),
                        struct cf_error *err)
{
    struct txn_names names;
    struct json *all = json_object_new(rq->arena);
    CF_TRY(names_of(rq, folder, &names, err));
    CF_TRY(response_keys(rq, &names, err));
    for (size_t i = 0; info != NULL && i < names.count; i++) {
        struct json *record;
        cf_status status = identity_get(rq, folder, names.names[i], &record, err);
        if (status == CF_OK) {
            json_object_set(rq->arena, all, names.names[i], info(rq, record));
        } else if (status != CF_NOT_FOUND) {
            return status;
        }
    }
    if (info != NULL) {
        json_set(rq->arena, response_data(rq), "key_info", all);
    }
    return CF_OK;
}

/* Records are named by folded names: the name itself stands inside. */
cf_status identity_list_names(struct request *rq, const char *folder, struct cf_error *err)
{
    struct txn_names names;
    CF_TRY(names_of(rq, folder, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        struct json *record;
        CF_TRY(identity_get(rq, folder, names.names[i], &record, err));
        names.names[i] = json_get_string(record, "name");
    }
    if (names.count != 0) {
        qsort(names.names, names.count, sizeof(*names.names), by_bytes);
    }
    return response_keys(rq, &names, err);
}
