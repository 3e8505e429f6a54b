/* node/server/rotation.c: new data keys, on request, by count and by age. */
#include "node/server/rotation.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/format/duration.h"
#include "node/format/encode.h"
#include "node/server/replication.h"
#include "node/server/seal.h"

#define SETTINGS_KEY                                                                               \
    ((struct key){CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE(AREA_CONFIG "rotation")})
#define RESERVED_KEY                                                                               \
    ((struct key){CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE(AREA_CONFIG "encryptions")})

#define UNTOLD_KEY ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_CONFIG "encryptions-untold")})

/* ---- what is due ---- */

bool rotation_is_due(const struct rotation_settings *settings, const struct keyring_info *active,
                     int64_t now_ns)
{
    bool is_old = settings->interval_s > 0 &&
                  now_ns - active->installed_ns >= settings->interval_s * 1000000000;
    return settings->is_enabled &&
           (is_old || active->encryptions >= (uint64_t)settings->max_operations);
}

/* ---- the settings ---- */

static cf_status settings_from(struct arena *arena, struct cf_slice record,
                               struct rotation_settings *ret, struct cf_error *err)
{
    struct json *json;
    CF_TRY(record_decode(record, arena, &json, err));
    bool complete = json_bool(json_get(json, "enabled"), &ret->is_enabled) &&
                    json_int64(json_get(json, "max_operations"), &ret->max_operations) &&
                    json_int64(json_get(json, "interval"), &ret->interval_s);
    return complete ? CF_OK
                    : cf_fail(err, CF_CORRUPT, "settings of key rotation are malformed");
}

cf_status rotation_load(struct request *rq, struct rotation_settings *ret, struct cf_error *err)
{
    struct cf_slice record;
    *ret = (struct rotation_settings){.is_enabled = true,
                                      .max_operations = ROTATION_OPERATIONS_MAX};
    cf_status status = txn_get(rq->txn, SETTINGS_KEY, &record, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    return settings_from(rq->arena, record, ret, err);
}

const struct field rotation_fields[] = {
    {"enabled", FIELD_BOOL, "Whether keys are rotated without being asked to."},
    {"max_operations", FIELD_INT, "Encryptions after which a key is replaced."},
    {"interval", FIELD_DURATION, "Age at which a key is replaced, 24h at least; 0: at none."},
    FIELD_END};

cf_status rotation_read_config(struct request *rq, struct cf_error *err)
{
    struct rotation_settings settings;
    CF_TRY(rotation_load(rq, &settings, err));
    struct json *data = response_data(rq);
    json_set_bool(rq->arena, data, "enabled", settings.is_enabled);
    json_set_int(rq->arena, data, "max_operations", settings.max_operations);
    if (settings.interval_s == 0) {
        json_set_int(rq->arena, data, "interval", 0);
    } else {
        CF_BUF(text) = {0};
        duration_write(&text, settings.interval_s);
        json_set_string(rq->arena, data, "interval", cf_buf_slice(&text));
    }
    return CF_OK;
}

cf_status rotation_write_config(struct request *rq, struct cf_error *err)
{
    struct rotation_settings settings;
    bool given = false;
    int64_t interval;
    CF_TRY(rotation_load(rq, &settings, err));
    CF_TRY(request_bool(rq, "enabled", settings.is_enabled, &settings.is_enabled, err));
    CF_TRY(request_int(rq, "max_operations", settings.max_operations, &settings.max_operations,
                       err));
    CF_TRY(request_duration(rq, "interval", 0, &interval, &given, err));
    if (given || request_field(rq, "interval") != NULL) {
        settings.interval_s = interval;
    }
    if (settings.interval_s != 0 && settings.interval_s < ROTATION_INTERVAL_MIN_S) {
        return cf_fail(err, CF_INVALID, "interval must be greater or equal to 24h0m0s");
    }
    if (settings.max_operations < ROTATION_OPERATIONS_MIN ||
        settings.max_operations > ROTATION_OPERATIONS_MAX) {
        return cf_fail(err, CF_INVALID, "max_operations must be in the range [%lld,%lld]",
                       (long long)ROTATION_OPERATIONS_MIN, (long long)ROTATION_OPERATIONS_MAX);
    }
    struct json *record = json_object_new(rq->arena);
    json_set_bool(rq->arena, record, "enabled", settings.is_enabled);
    json_set_int(rq->arena, record, "max_operations", settings.max_operations);
    json_set_int(rq->arena, record, "interval", settings.interval_s);
    txn_put(rq->txn, SETTINGS_KEY, record_encode(rq->arena, record));
    return CF_OK;
}

/* ---- what is reserved ---- */

/* For the active key; 0 when nothing is, or for another key alone. */
static cf_status reserved_in(struct arena *arena, struct cf_slice record, struct key_id id,
                             uint64_t *ret, struct cf_error *err)
{
    struct json *json;
    CF_BUF(raw) = {.max = sizeof(id.bytes)};
    CF_TRY(record_decode(record, arena, &json, err));
    CF_TRY(encode_hex_decode(&raw, json_get_string(json, "key"), err));
    *ret = 0;
    if (raw.size == sizeof(id.bytes) && memcmp(raw.data, id.bytes, sizeof(id.bytes)) == 0 &&
        !json_uint64(json_get(json, "reserved"), ret)) {
        return cf_fail(err, CF_CORRUPT, "record of reserved encryptions is malformed");
    }
    return CF_OK;
}

static void write_reserved(struct request *rq, struct key key, struct key_id of, uint64_t reserved)
{
    CF_BUF(id) = {0};
    encode_hex(&id, cf_slice_of(of.bytes, sizeof(of.bytes)));
    struct json *fresh = json_object_new(rq->arena);
    json_set_string(rq->arena, fresh, "key", cf_buf_slice(&id));
    json_set(rq->arena, fresh, "reserved", json_from_uint(rq->arena, reserved));
    txn_put(rq->txn, key, record_encode(rq->arena, fresh));
}

static cf_status reserve(struct request *rq, struct key key, uint64_t count, struct cf_error *err)
{
    struct key_id active = keyring_active(rq->view->keyring).id;
    struct cf_slice record;
    uint64_t reserved = 0;
    cf_status status = txn_get(rq->txn, key, &record, err);
    if (status == CF_OK) {
        status = reserved_in(rq->arena, record, active, &reserved, err);
    }
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    if (reserved < count + ROTATION_BLOCK / 2) {
        write_reserved(rq, key, active, count + ROTATION_BLOCK);
    }
    return CF_OK;
}

cf_status rotation_reserve(struct request *rq, struct cf_error *err)
{
    return reserve(rq, RESERVED_KEY, keyring_active(rq->view->keyring).encryptions, err);
}

cf_status rotation_reserve_untold(struct request *rq, uint64_t untold, struct cf_error *err)
{
    return untold == 0 ? CF_OK : reserve(rq, UNTOLD_KEY, untold, err);
}

cf_status rotation_read_untold(const struct view *view, struct key_id id, uint64_t *ret,
                               struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(512);
    struct cf_slice record;
    *ret = 0;
    cf_status status = view_get(view, UNTOLD_KEY, arena, &record, NULL, err);
    return status == CF_NOT_FOUND ? CF_OK
           : status == CF_OK      ? reserved_in(arena, record, id, ret, err)
                                  : status;
}

cf_status rotation_take_over(const struct view *view, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(512);
    struct key_id id = keyring_active(view->keyring).id;
    struct cf_slice record;
    uint64_t reserved;
    cf_status status = view_get(view, RESERVED_KEY, arena, &record, NULL, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    CF_TRY(reserved_in(arena, record, id, &reserved, err));
    return keyring_count_at_least(view->keyring, id, reserved, err);
}

/* ---- rotating ---- */

cf_status rotation_rotate(struct request *rq, struct node *node, struct cf_error *err)
{
    CF_OWNED(keyring) fresh = NULL;
    CF_BUF(wrapped) = {0};
    struct cf_slice ignored;
    if (rq->view->role != ROLE_ALONE_OR_PRIMARY) { /* its keyring is the primary's */
        return cf_fail(err, CF_INVALID, "cannot rotate on a replication secondary");
    }
    cf_status status = txn_get(rq->txn, SEAL_KEY_KEYRING, &ignored, NULL);
    cf_ignore(status != CF_OK, "read for the read set alone: it does not open as a sealed value");
    CF_TRY(keyring_rotate(rq->view->keyring, rq->random, request_now_ns(rq), &fresh, err));
    CF_TRY(seal_wrap(node, fresh, &wrapped, err));
    txn_put_plain(rq->txn, SEAL_KEY_KEYRING, cf_buf_slice(&wrapped));
    return CF_OK;
}

struct host_work {
    struct request *rq;
    struct node *node;
};

static cf_status run_rotate(struct request *rq, void *context, struct cf_error *err)
{
    struct host_work *work = context;
    return rotation_rotate(rq, work->node, err);
}

static void rotate_done(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct host_work *work = context;
    work->rq->index = index;
    if (status != CF_OK) {
        work->rq->error = *err;
    }
    core_host_done(work->rq, status);
}

cf_status rotation_handle(struct request *rq, struct cf_error *err)
{
    struct host_work *context = arena_new_object(rq->arena, struct host_work);
    (void)err;
    *context = (struct host_work){rq, core_host_context(rq->core)};
    struct system_work work = {run_rotate, rotate_done, context};
    system_submit(rq->core, &work);
    return CF_OK;
}

cf_status rotation_look(struct request *rq, struct node *node, struct cf_error *err)
{
    struct rotation_settings settings;
    struct keyring_info active = keyring_active(rq->view->keyring);
    if (rq->view->role == ROLE_PERFORMANCE_SECONDARY) {
        return rotation_reserve_untold(rq, node_replication_untold(node), err);
    }
    if (rq->view->role != ROLE_ALONE_OR_PRIMARY) {
        return CF_OK;
    }
    CF_TRY(rotation_load(rq, &settings, err));
    if (!rotation_is_due(&settings, &active, request_now_ns(rq))) {
        return rotation_reserve(rq, err);
    }
    cf_info("core", "data key %u is replaced: %llu encryptions, limit %lld", active.term,
            (unsigned long long)active.encryptions, (long long)settings.max_operations);
    return rotation_rotate(rq, node, err);
}
