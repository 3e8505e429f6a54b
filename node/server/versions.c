/* node/server/versions.c: sys/version-history. */
#include "node/server/versions.h"

#include "node/base/memory.h"
#include "node/format/timefmt.h"

#define VERSION_PREFIX AREA_CLUSTER "version/"

static struct key version_key(struct arena *arena, struct cf_slice version)
{
    const char *name = arena_printf(arena, VERSION_PREFIX "%.*s", CF_SHOW(version));
    return (struct key){CLASS_OWN, NAMESPACE_ROOT, cf_slice_str(name)};
}

static struct cf_slice record_of(struct arena *arena, int64_t now_ns, struct cf_slice previous)
{
    struct json *record = json_object_new(arena);
    json_set_int(arena, record, "installed", now_ns);
    json_set_text(arena, record, "build_date", COFFER_BUILD_DATE);
    json_set_string(arena, record, "previous", previous);
    return record_encode(arena, record);
}

/* One record after the other; the latest is what ran before this one. */
static cf_status load(struct request *rq, struct cf_slice version, struct json **ret,
                      int64_t *ret_installed, struct cf_error *err)
{
    struct cf_slice record;
    CF_TRY(txn_get(rq->txn, version_key(rq->arena, version), &record, err));
    CF_TRY(record_decode(record, rq->arena, ret, err));
    return json_int64(json_get(*ret, "installed"), ret_installed)
               ? CF_OK
               : cf_fail(err, CF_CORRUPT, "record of a version is malformed");
}

static cf_status names_of(struct request *rq, struct txn_names *ret, struct cf_error *err)
{
    struct key prefix = {CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(VERSION_PREFIX)};
    return txn_scan(rq->txn, prefix, CF_SLICE_EMPTY, 0, ret, err);
}

cf_status versions_note(struct request *rq, struct cf_error *err)
{
    struct cf_slice ignored, now = CF_SLICE(COFFER_VERSION), previous = CF_SLICE_EMPTY;
    struct txn_names names;
    int64_t latest = INT64_MIN;
    cf_status status = txn_get(rq->txn, version_key(rq->arena, now), &ignored, err);
    if (status != CF_NOT_FOUND) {
        return status;
    }
    CF_TRY(names_of(rq, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        struct json *record;
        int64_t installed;
        CF_TRY(load(rq, names.names[i], &record, &installed, err));
        if (installed > latest) {
            latest = installed;
            previous = names.names[i];
        }
    }
    txn_put(rq->txn, version_key(rq->arena, now),
            record_of(rq->arena, request_now_ns(rq), previous));
    return CF_OK;
}

struct initial_put versions_initial_put(struct arena *arena)
{
    return (struct initial_put){
        .key = version_key(arena, CF_SLICE(COFFER_VERSION)),
        .value = record_of(arena, cf_wall_ns(cf_host_clock()), CF_SLICE_EMPTY)};
}

cf_status versions_list(struct request *rq, struct cf_error *err)
{
    struct txn_names names;
    CF_TRY(names_of(rq, &names, err));
    struct json *keys = json_array_new(rq->arena), *info = json_object_new(rq->arena);
    for (size_t i = 0; i < names.count; i++) {
        struct json *record, *one = json_object_new(rq->arena);
        char time[TIMEFMT_SIZE];
        int64_t installed;
        CF_TRY(load(rq, names.names[i], &record, &installed, err));
        struct cf_slice previous = json_get_string(record, "previous");
        timefmt_text(installed, time);
        json_set(rq->arena, one, "previous_version",
                 previous.size != 0 ? json_from_string(rq->arena, previous) : json_null());
        json_set_text(rq->arena, one, "timestamp_installed", time);
        json_set_string(rq->arena, one, "build_date", json_get_string(record, "build_date"));
        json_array_add(rq->arena, keys, json_from_string(rq->arena, names.names[i]));
        json_object_set(rq->arena, info, names.names[i], one);
    }
    json_set(rq->arena, response_data(rq), "keys", keys);
    json_set(rq->arena, response_data(rq), "key_info", info);
    return CF_OK;
}
