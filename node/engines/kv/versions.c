/* node/engines/kv/versions.c: delete/, undelete/ and destroy/<path>: what happens to named
 * versions. */
#include "node/engines/kv/kv_int.h"

/* Changes the version; false when there was nothing to change. */
typedef bool (*version_change)(struct request *rq, struct kv_entry *entry, uint64_t number,
                               struct kv_version *version);

static bool parse_number(struct cf_slice text, uint64_t *ret)
{
    *ret = 0;
    if (text.size == 0 || text.size > 18) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        *ret = 10 * *ret + (uint64_t)(text.data[i] - '0');
    }
    return true;
}

static cf_status change_versions(struct request *rq, const char *none_given, version_change change,
                                 struct cf_error *err)
{
    struct cf_slice path, *numbers;
    struct kv_entry entry;
    struct kv_version version;
    size_t count;
    uint64_t number;
    bool has_changed = false;
    if (!kv_names_secret(rq)) {
        return kv_hint(rq, err);
    }
    CF_TRY(kv_path(rq, &path, err));
    CF_TRY(request_list(rq, "versions", true, &numbers, &count, err));
    if (count == 0) {
        return cf_fail(err, CF_INVALID, "%s", none_given);
    }
    CF_TRY(kv_entry_load(rq, path, &entry, err));
    for (size_t i = 0; i < count; i++) {
        if (!parse_number(numbers[i], &number)) {
            return cf_fail(err, CF_INVALID, "\"versions\" must be a list of version numbers");
        }
        if (kv_version_get(&entry, number, &version) && change(rq, &entry, number, &version)) {
            kv_version_set(rq->arena, &entry, number, &version);
            has_changed = true;
        }
    }
    if (has_changed) {
        kv_entry_save(rq, &entry);
    }
    return CF_OK;
}

static bool delete_version(struct request *rq, struct kv_entry *entry, uint64_t number,
                           struct kv_version *version)
{
    (void)entry;
    (void)number;
    if (kv_version_is_gone(rq, version)) {
        return false;
    }
    version->deletion_ns = request_now_ns(rq);
    version->deleted = true;
    return true;
}

static bool undelete_version(struct request *rq, struct kv_entry *entry, uint64_t number,
                             struct kv_version *version)
{
    (void)rq;
    (void)entry;
    (void)number;
    if (version->destroyed || version->deletion_ns == 0) {
        return false;
    }
    version->deletion_ns = 0;
    version->deleted = false;
    return true;
}

static bool destroy_version(struct request *rq, struct kv_entry *entry, uint64_t number,
                            struct kv_version *version)
{
    if (version->destroyed) {
        return false;
    }
    kv_version_wipe(rq, entry, number);
    version->destroyed = true;
    return true;
}

cf_status kv_versions_delete(struct request *rq, struct cf_error *err)
{
    return change_versions(rq, "No version number provided", delete_version, err);
}

cf_status kv_versions_undelete(struct request *rq, struct cf_error *err)
{
    return change_versions(rq, "No version number provided", undelete_version, err);
}

cf_status kv_versions_destroy(struct request *rq, struct cf_error *err)
{
    return change_versions(rq, "no version number provided", destroy_version, err);
}
