/* node/engines/kv/metadata.c: metadata/<path>: what is known of a secret beside its data. */
#include "node/engines/kv/kv_int.h"
#include "node/format/duration.h"

#define CUSTOM_PAIRS_MAX 64
#define CUSTOM_KEY_MAX ((size_t)128)
#define CUSTOM_VALUE_MAX ((size_t)512)

/* ---- reading ---- */

static struct json *versions_of(struct request *rq, const struct kv_entry *entry)
{
    struct arena *arena = rq->arena;
    struct json *all = json_object_new(arena);
    struct kv_version version;
    for (uint64_t i = entry->current - entry->count + 1; i <= entry->current; i++) {
        if (!kv_version_get(entry, i, &version)) {
            continue;
        }
        struct json *one = json_object_new(arena);
        kv_show_time(arena, one, "created_time", version.created_ns);
        kv_show_time(arena, one, "deletion_time", version.deletion_ns);
        json_set_bool(arena, one, "destroyed", version.destroyed);
        char *number = arena_printf(arena, "%llu", (unsigned long long)i);
        json_set(arena, all, number, one);
    }
    return all;
}

void kv_show_metadata(struct request *rq, const struct kv_entry *entry, struct json *to)
{
    struct arena *arena = rq->arena;
    CF_BUF(span) = {0};
    duration_write(&span, entry->delete_after_s);
    json_set_bool(arena, to, "cas_required", entry->cas_required);
    kv_show_time(arena, to, "created_time", entry->created_ns);
    json_set_int(arena, to, "current_version", (int64_t)entry->current);
    json_set(arena, to, "custom_metadata", kv_custom_metadata(arena, entry));
    json_set_string(arena, to, "delete_version_after", cf_buf_slice(&span));
    json_set_int(arena, to, "max_versions", entry->max_versions);
    json_set_int(arena, to, "oldest_version", (int64_t)entry->oldest);
    kv_show_time(arena, to, "updated_time", entry->updated_ns);
    json_set(arena, to, "versions", versions_of(rq, entry));
}

static cf_status load(struct request *rq, struct kv_entry *ret, struct cf_error *err)
{
    struct cf_slice path;
    CF_TRY(kv_path(rq, &path, err));
    return kv_entry_load(rq, path, ret, err);
}

cf_status kv_metadata_read(struct request *rq, struct cf_error *err)
{
    struct kv_entry entry;
    if (!kv_names_secret(rq)) {
        return kv_hint(rq, err);
    }
    CF_TRY(load(rq, &entry, err));
    if (!entry.exists) {
        return request_absent(err);
    }
    kv_show_metadata(rq, &entry, response_data(rq));
    return CF_OK;
}

/* ---- writing ---- */

static cf_status check_custom(const struct json *custom, struct cf_error *err)
{
    struct cf_slice value;
    if (!json_is(custom, JSON_OBJECT)) {
        return cf_fail(err, CF_INVALID, "custom_metadata must be an object of strings");
    }
    if (json_count(custom) > CUSTOM_PAIRS_MAX) {
        return cf_fail(err, CF_INVALID,
                       "custom_metadata validation failed: payload must contain at most %d keys, "
                       "provided %zu",
                       CUSTOM_PAIRS_MAX, json_count(custom));
    }
    for (size_t i = 0; i < json_count(custom); i++) {
        struct cf_slice key = custom->members[i].key;
        if (key.size == 0 || key.size > CUSTOM_KEY_MAX) {
            return cf_fail(err, CF_INVALID,
                           "custom_metadata validation failed: length of key is %zu but must be "
                           "0 < len(key) <= %zu",
                           key.size, CUSTOM_KEY_MAX);
        }
        if (!json_string(custom->members[i].value, &value)) {
            return cf_fail(err, CF_INVALID, "custom_metadata must be an object of strings");
        }
        if (value.size == 0 || value.size > CUSTOM_VALUE_MAX) {
            return cf_fail(err, CF_INVALID,
                           "custom_metadata validation failed: length of value is %zu but must be "
                           "0 < len(value) <= %zu",
                           value.size, CUSTOM_VALUE_MAX);
        }
    }
    return CF_OK;
}

static cf_status set_custom(struct request *rq, struct kv_entry *entry, const struct json *custom,
                            struct cf_error *err)
{
    CF_TRY(check_custom(custom, err));
    entry->custom_metadata = CF_SLICE_EMPTY;
    return json_count(custom) != 0 ? kv_text(rq->arena, custom, &entry->custom_metadata, err)
                                   : CF_OK;
}

static cf_status read_span(struct request *rq, struct kv_entry *entry, struct cf_error *err)
{
    if (request_field(rq, "delete_version_after") == NULL) {
        return CF_OK;
    }
    CF_TRY(request_duration(rq, "delete_version_after", 0, &entry->delete_after_s, NULL, err));
    if (entry->delete_after_s < 0) {
        return cf_fail(err, CF_INVALID, "delete_version_after must not be negative");
    }
    return CF_OK;
}

/* The fields that a request may name, but for custom_metadata, over what is there. */
static cf_status read_settings(struct request *rq, struct kv_entry *entry, struct cf_error *err)
{
    CF_TRY(kv_read_max_versions(rq, &entry->max_versions, err));
    CF_TRY(request_bool(rq, "cas_required", entry->cas_required, &entry->cas_required, err));
    return read_span(rq, entry, err);
}

static bool names_any(const struct request *rq)
{
    return request_field(rq, "max_versions") != NULL || request_field(rq, "cas_required") != NULL ||
           request_field(rq, "delete_version_after") != NULL ||
           request_field(rq, "custom_metadata") != NULL;
}

static void save(struct request *rq, struct kv_entry *entry)
{
    int64_t now_ns = request_now_ns(rq);
    entry->created_ns = entry->exists ? entry->created_ns : now_ns;
    entry->updated_ns = now_ns;
    entry->exists = true;
    kv_entry_save(rq, entry);
}

cf_status kv_metadata_write(struct request *rq, struct cf_error *err)
{
    struct kv_entry entry;
    if (!kv_names_secret(rq)) {
        return kv_hint(rq, err);
    }
    CF_TRY(load(rq, &entry, err));
    if (!names_any(rq)) {
        return CF_OK; /* nothing is made where nothing is said */
    }
    CF_TRY(read_settings(rq, &entry, err));
    const struct json *custom = request_field(rq, "custom_metadata");
    if (custom != NULL) {
        CF_TRY(set_custom(rq, &entry, custom, err));
    }
    save(rq, &entry);
    return CF_OK;
}

/* RFC 7396 on the settings: null goes back to what a new secret has. */
static void reset_nulls(struct request *rq, struct kv_entry *entry)
{
    if (json_is(json_get(rq->body, "max_versions"), JSON_NULL)) {
        entry->max_versions = 0;
    }
    if (json_is(json_get(rq->body, "cas_required"), JSON_NULL)) {
        entry->cas_required = false;
    }
    if (json_is(json_get(rq->body, "delete_version_after"), JSON_NULL)) {
        entry->delete_after_s = 0;
    }
    if (json_is(json_get(rq->body, "custom_metadata"), JSON_NULL)) {
        entry->custom_metadata = CF_SLICE_EMPTY;
    }
}

cf_status kv_metadata_patch(struct request *rq, struct cf_error *err)
{
    struct kv_entry entry;
    struct json *custom = json_get(rq->body, "custom_metadata");
    struct json *before = NULL;
    if (!kv_names_secret(rq)) {
        return kv_hint(rq, err);
    }
    CF_TRY(load(rq, &entry, err));
    if (!entry.exists) {
        return request_absent(err);
    }
    CF_TRY(read_settings(rq, &entry, err));
    reset_nulls(rq, &entry);
    if (json_is(custom, JSON_OBJECT)) {
        if (entry.custom_metadata.size != 0 &&
            json_parse(rq->arena, entry.custom_metadata, NULL, &before, NULL) != CF_OK) {
            return cf_fail(err, CF_CORRUPT, "stored custom metadata is malformed");
        }
        custom = json_merge_patch(rq->arena, before, custom);
    }
    if (custom != NULL && !json_is(custom, JSON_NULL)) {
        CF_TRY(set_custom(rq, &entry, custom, err));
    }
    save(rq, &entry);
    return CF_OK;
}

cf_status kv_metadata_delete(struct request *rq, struct cf_error *err)
{
    struct kv_entry entry;
    if (!kv_names_secret(rq)) {
        return kv_hint(rq, err);
    }
    CF_TRY(load(rq, &entry, err));
    if (entry.exists) {
        kv_entry_remove(rq, &entry);
    }
    return CF_OK;
}
