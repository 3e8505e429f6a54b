/* node/engines/kv/config.c: settings of a version 2 mount. */
#include "node/engines/kv/kv_int.h"
#include "node/format/duration.h"

#define CONFIG_NAME CF_SLICE("config")

cf_status kv_config_load(struct request *rq, struct kv_config *ret, struct cf_error *err)
{
    struct json *record;
    int64_t max_versions = 0;
    *ret = (struct kv_config){0};
    cf_status status = store_get_json(rq, CONFIG_NAME, &record, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    cf_ignore(!json_int64(json_get(record, "max_versions"), &max_versions), "absent is 0");
    cf_ignore(!json_bool(json_get(record, "cas_required"), &ret->cas_required), "absent is false");
    cf_ignore(!json_int64(json_get(record, "delete_version_after"), &ret->delete_after_s),
              "absent is 0");
    ret->max_versions = (uint32_t)max_versions;
    return CF_OK;
}

cf_status kv_config_read(struct request *rq, struct cf_error *err)
{
    struct kv_config config;
    CF_BUF(span) = {0};
    CF_TRY(kv_config_load(rq, &config, err));
    struct json *data = response_data(rq);
    duration_write(&span, config.delete_after_s);
    json_set_bool(rq->arena, data, "cas_required", config.cas_required);
    json_set_string(rq->arena, data, "delete_version_after", cf_buf_slice(&span));
    json_set_int(rq->arena, data, "max_versions", config.max_versions);
    return CF_OK;
}

cf_status kv_read_max_versions(struct request *rq, uint32_t *value, struct cf_error *err)
{
    int64_t given;
    CF_TRY(request_int(rq, "max_versions", *value, &given, err));
    if (given < 0 || given > KV_VERSIONS_MAX) {
        return cf_fail(err, CF_INVALID, "max_versions must be from 0 to %d", KV_VERSIONS_MAX);
    }
    *value = (uint32_t)given;
    return CF_OK;
}

cf_status kv_config_write(struct request *rq, struct cf_error *err)
{
    struct kv_config config;
    CF_TRY(kv_config_load(rq, &config, err));
    CF_TRY(kv_read_max_versions(rq, &config.max_versions, err));
    CF_TRY(request_bool(rq, "cas_required", config.cas_required, &config.cas_required, err));
    if (request_field(rq, "delete_version_after") != NULL) {
        CF_TRY(request_duration(rq, "delete_version_after", 0, &config.delete_after_s, NULL, err));
        config.delete_after_s = config.delete_after_s < 0 ? -1 : config.delete_after_s;
    }
    struct json *record = json_object_new(rq->arena);
    json_set_int(rq->arena, record, "max_versions", config.max_versions);
    json_set_bool(rq->arena, record, "cas_required", config.cas_required);
    json_set_int(rq->arena, record, "delete_version_after", config.delete_after_s);
    store_put_json(rq, CONFIG_NAME, record);
    return CF_OK;
}
