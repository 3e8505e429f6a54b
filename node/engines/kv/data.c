/* node/engines/kv/data.c: data/<path>: reading, writing, merging, deleting the newest version
 * (core-api.md section 9). */
#include "node/base/memory.h"
#include "node/engines/kv/kv_int.h"
#include "node/format/timefmt.h"

#define NS_PER_S ((int64_t)1000000000)

/* ---- answers ---- */

void kv_show_time(struct arena *arena, struct json *to, const char *key, int64_t ns)
{
    char text[TIMEFMT_SIZE] = "";
    if (ns != 0) {
        timefmt_text(ns, text);
    }
    json_set_text(arena, to, key, text);
}

struct json *kv_custom_metadata(struct arena *arena, const struct kv_entry *entry)
{
    return entry->custom_metadata.size != 0 ? json_from_raw(arena, entry->custom_metadata)
                                            : json_null();
}

void kv_show_version(struct request *rq, const struct kv_entry *entry, uint64_t number,
                     struct json *to)
{
    struct kv_version version = {0};
    cf_ignore(kv_version_get(entry, number, &version), "the caller has found it");
    kv_show_time(rq->arena, to, "created_time", version.created_ns);
    json_set(rq->arena, to, "custom_metadata", kv_custom_metadata(rq->arena, entry));
    kv_show_time(rq->arena, to, "deletion_time", version.deletion_ns);
    json_set_bool(rq->arena, to, "destroyed", version.destroyed);
    json_set_int(rq->arena, to, "version", (int64_t)number);
}

cf_status kv_hint(struct request *rq, struct cf_error *err)
{
    (void)err;
    const char *command = "get";
    switch (rq->operation) {
    case OPERATION_CREATE:
    case OPERATION_UPDATE:
        command = "put";
        break;
    case OPERATION_PATCH:
        command = "patch";
        break;
    case OPERATION_DELETE:
        command = "delete";
        break;
    case OPERATION_LIST:
    case OPERATION_SCAN:
        command = "list";
        break;
    case OPERATION_READ:
    case OPERATION_HELP:
    case OPERATION_COUNT:
        break;
    }
    response_warn(rq,
                  "Invalid path for a versioned K/V secrets engine. See the API docs for the "
                  "appropriate API endpoints to use. If using the CLI, use 'kv %s' for this "
                  "operation.",
                  command);
    rq->response.status = 404;
    rq->response.no_unknown_parameter_warning = true;
    return CF_OK;
}

/* ---- reading ---- */

cf_status kv_entry_exists(struct request *rq, bool *ret, struct cf_error *err)
{
    struct cf_slice path;
    struct kv_entry entry;
    CF_TRY(kv_path(rq, &path, err));
    CF_TRY(kv_entry_load(rq, path, &entry, err));
    *ret = entry.exists;
    return CF_OK;
}

cf_status kv_find_version(struct request *rq, struct kv_entry *entry, const char *key,
                          uint64_t *ret_number, bool *ret_gone, struct cf_error *err)
{
    struct cf_slice path;
    struct kv_version version;
    int64_t asked;
    CF_TRY(kv_path(rq, &path, err));
    CF_TRY(request_int(rq, "version", 0, &asked, err));
    CF_TRY(kv_entry_load(rq, path, entry, err));
    uint64_t number = asked == 0 ? entry->current : (uint64_t)asked;
    if (asked < 0 || !kv_version_get(entry, number, &version)) {
        return request_absent(err);
    }
    *ret_number = number;
    *ret_gone = kv_version_is_gone(rq, &version);
    struct json *data = response_data(rq);
    struct json *metadata = json_object_new(rq->arena);
    kv_show_version(rq, entry, number, metadata);
    json_set(rq->arena, data, key, json_null());
    json_set(rq->arena, data, "metadata", metadata);
    if (*ret_gone) {
        rq->response.status = 404;
    }
    return CF_OK;
}

cf_status kv_data_read(struct request *rq, struct cf_error *err)
{
    struct kv_entry entry;
    uint64_t number;
    bool is_gone;
    if (!kv_names_secret(rq)) {
        return kv_hint(rq, err);
    }
    CF_TRY(kv_find_version(rq, &entry, "data", &number, &is_gone, err));
    if (!is_gone) {
        struct cf_slice text;
        CF_TRY(kv_version_data(rq, &entry, number, &text, err));
        json_set(rq->arena, rq->response.data, "data", json_from_raw(rq->arena, text));
    }
    return CF_OK;
}

/* ---- writing ---- */

/* options.cas: a number, or digits in a string. */
static cf_status read_cas(struct request *rq, bool *ret_given, int64_t *ret, struct cf_error *err)
{
    const struct json *options = json_get(rq->body, "options");
    const struct json *cas = json_get(options, "cas");
    struct cf_slice text;
    *ret_given = false;
    if (options != NULL && !json_is(options, JSON_OBJECT) && !json_is(options, JSON_NULL)) {
        return cf_fail(err, CF_INVALID, "\"options\" must be an object");
    }
    if (cas == NULL || json_is(cas, JSON_NULL)) {
        return CF_OK;
    }
    *ret_given = true;
    if (json_int64(cas, ret)) {
        return CF_OK;
    }
    if (json_string(cas, &text) && text.size != 0 && text.size < 19) {
        *ret = 0;
        for (size_t i = 0; i < text.size; i++) {
            if (text.data[i] < '0' || text.data[i] > '9') {
                return cf_fail(err, CF_INVALID, "error parsing check-and-set parameter");
            }
            *ret = 10 * *ret + (text.data[i] - '0');
        }
        return CF_OK;
    }
    return cf_fail(err, CF_INVALID, "error parsing check-and-set parameter");
}

static cf_status check_cas(struct request *rq, const struct kv_entry *entry,
                           const struct kv_config *config, struct cf_error *err)
{
    bool is_given;
    int64_t cas = 0;
    CF_TRY(read_cas(rq, &is_given, &cas, err));
    if (!is_given) {
        return config->cas_required || entry->cas_required
                   ? cf_fail(err, CF_INVALID, "check-and-set parameter required for this call")
                   : CF_OK;
    }
    if (cas < 0 || (uint64_t)cas != entry->current) {
        return cf_fail(err, CF_INVALID,
                       "check-and-set parameter did not match the current version");
    }
    return CF_OK;
}

/* The secret's span, cut to the mount's; a negative one of the mount switches it off. 0: never. */
static int64_t deletion_time(const struct kv_entry *entry, const struct kv_config *config,
                             int64_t now_ns)
{
    int64_t span_s = entry->delete_after_s > 0 ? entry->delete_after_s : config->delete_after_s;
    int64_t span_ns, at_ns;
    if (config->delete_after_s > 0 && span_s > config->delete_after_s) {
        span_s = config->delete_after_s;
    }
    if (config->delete_after_s < 0 || span_s <= 0 ||
        __builtin_mul_overflow(span_s, NS_PER_S, &span_ns) ||
        __builtin_add_overflow(now_ns, span_ns, &at_ns)) {
        return 0;
    }
    return at_ns;
}

static uint32_t versions_to_keep(const struct kv_entry *entry, const struct kv_config *config)
{
    if (entry->max_versions != 0) {
        return entry->max_versions;
    }
    return config->max_versions != 0 ? config->max_versions : KV_VERSIONS_DEFAULT;
}

static cf_status add_version(struct request *rq, struct kv_entry *entry,
                             const struct kv_config *config, const struct json *data,
                             struct cf_error *err)
{
    struct kv_version version = {.created_ns = request_now_ns(rq)};
    struct cf_slice text;
    CF_TRY(kv_text(rq->arena, data, &text, err));
    version.deletion_ns = deletion_time(entry, config, version.created_ns);
    kv_version_add(rq, entry, &version, text, versions_to_keep(entry, config));
    kv_entry_save(rq, entry);
    kv_show_version(rq, entry, entry->current, response_data(rq));
    return CF_OK;
}

/* The member "data" of the body, which is an object. */
static cf_status sent_data(struct request *rq, struct json **ret, struct cf_error *err)
{
    *ret = json_get(rq->body, "data");
    if (*ret == NULL || json_is(*ret, JSON_NULL)) {
        return cf_fail(err, CF_INVALID, "no data provided");
    }
    return json_is(*ret, JSON_OBJECT) ? CF_OK
                                      : cf_fail(err, CF_INVALID, "\"data\" must be an object");
}

cf_status kv_data_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice path;
    struct json *data;
    struct kv_entry entry;
    struct kv_config config;
    if (!kv_names_secret(rq)) {
        return kv_hint(rq, err);
    }
    CF_TRY(kv_path(rq, &path, err));
    CF_TRY(sent_data(rq, &data, err));
    CF_TRY(kv_entry_load(rq, path, &entry, err));
    CF_TRY(kv_config_load(rq, &config, err));
    CF_TRY(check_cas(rq, &entry, &config, err));
    return add_version(rq, &entry, &config, data, err);
}

cf_status kv_data_patch(struct request *rq, struct cf_error *err)
{
    struct cf_slice path, text;
    struct json *patch, *target;
    struct kv_entry entry;
    struct kv_config config;
    struct kv_version newest;
    if (!kv_names_secret(rq)) {
        return kv_hint(rq, err);
    }
    CF_TRY(kv_path(rq, &path, err));
    CF_TRY(sent_data(rq, &patch, err));
    CF_TRY(kv_entry_load(rq, path, &entry, err));
    if (!kv_version_get(&entry, entry.current, &newest)) {
        rq->response.status = 404; /* without a body */
        rq->response.no_unknown_parameter_warning = true;
        return CF_OK;
    }
    if (kv_version_is_gone(rq, &newest)) {
        kv_show_version(rq, &entry, entry.current, response_data(rq));
        rq->response.status = 404;
        return CF_OK;
    }
    CF_TRY(kv_config_load(rq, &config, err));
    CF_TRY(check_cas(rq, &entry, &config, err));
    CF_TRY(kv_version_data(rq, &entry, entry.current, &text, err));
    static const struct json_limits limits = {.depth = JSON_DEPTH_MAX,
                                              .keys = 200000,
                                              .items = 200000,
                                              .nodes = 2000000,
                                              .string = (size_t)64 << 20};
    if (json_parse(rq->arena, text, &limits, &target, NULL) != CF_OK) {
        return cf_fail(err, CF_CORRUPT, "stored secret is malformed");
    }
    return add_version(rq, &entry, &config, json_merge_patch(rq->arena, target, patch), err);
}

cf_status kv_data_delete(struct request *rq, struct cf_error *err)
{
    struct cf_slice path;
    struct kv_entry entry;
    struct kv_version newest;
    if (!kv_names_secret(rq)) {
        return kv_hint(rq, err);
    }
    CF_TRY(kv_path(rq, &path, err));
    CF_TRY(kv_entry_load(rq, path, &entry, err));
    if (kv_version_get(&entry, entry.current, &newest) && !kv_version_is_gone(rq, &newest)) {
        newest.deletion_ns = request_now_ns(rq);
        newest.deleted = true;
        kv_version_set(rq->arena, &entry, entry.current, &newest);
        kv_entry_save(rq, &entry);
    }
    return CF_OK;
}
