/* node/core/sys/internal.c: what command lines and user interfaces ask before they ask anything
 * else. */
#include "node/core/core_int.h"
#include "node/core/identity.h"
#include "node/core/policy.h"
#include "node/core/sys/sys_int.h"
#include "node/core/token.h"

/* The caller's ACL; NULL for nobody. The path is open, so that a token that is none is nobody, too.
 */
static cf_status caller_acl(struct request *rq, struct acl **ret, struct cf_error *err)
{
    *ret = NULL;
    if (rq->caller == NULL || rq->caller->is_wrapping) {
        return CF_OK;
    }
    return authorize_acl(rq->txn, rq->arena, rq->caller, ret, err);
}

/* Whether the caller's policies say something about the path or what is below it. */
static bool touches(const struct request *rq, const struct acl *acl, struct cf_slice path)
{
    return request_policy_path(rq, rq->caller, path, &path) && acl_touches(acl, path);
}

static struct json *unauthenticated_entry(struct request *rq, const struct mount *mount)
{
    struct json *entry = json_object_new(rq->arena);
    json_set_string(rq->arena, entry, "type", mount->type);
    json_set_string(rq->arena, entry, "description", mount->description);
    json_set(rq->arena, entry, "options", mount->options);
    return entry;
}

cf_status sys_ui_mounts(struct request *rq, struct cf_error *err)
{
    const struct mount_table *table = rq->mounts;
    struct json *secret = json_object_new(rq->arena), *auth = json_object_new(rq->arena);
    struct acl *acl;
    CF_TRY(caller_acl(rq, &acl, err));
    for (size_t i = 0; i < table->count; i++) {
        const struct mount *mount = table->mounts[i];
        bool is_public = cf_slice_is(mount->listing_visibility, "unauth");
        struct json *entry = NULL;
        if (acl != NULL && (is_public || touches(rq, acl, mount->path))) {
            entry = mount_entry_json(rq, mount);
        } else if (acl == NULL && is_public) {
            entry = unauthenticated_entry(rq, mount);
        }
        if (entry != NULL) {
            json_object_set(rq->arena, mount->ops->kind == ENGINE_AUTH ? auth : secret,
                            mount_shown_path(mount), entry);
        }
    }
    acl_unref(acl);
    json_set(rq->arena, response_data(rq), "auth", auth);
    json_set(rq->arena, response_data(rq), "secret", secret);
    return CF_OK;
}

/* One answer for "no such mount" and "not for you": existence is not to be found out here. */
cf_status sys_ui_mount(struct request *rq, struct cf_error *err)
{
    struct cf_slice path = rq->captures[0];
    struct acl *acl;
    if (rq->caller == NULL) {
        return cf_fail(err, CF_DENIED, "permission denied");
    }
    const struct mount *mount = mount_table_match(rq->mounts, path);
    CF_TRY(caller_acl(rq, &acl, err));
    bool may_see = mount != NULL && acl != NULL && touches(rq, acl, mount->path);
    acl_unref(acl);
    if (!may_see) {
        return cf_fail(err, CF_DENIED,
                       "preflight capability check returned 403, please ensure client's policies "
                       "grant access to path \"%.*s/\"",
                       CF_SHOW(cf_slice_first(path, 120)));
    }
    txn_note_read(rq->txn, mount->entry_hash);
    rq->response.data = mount_entry_json(rq, mount);
    json_set_string(rq->arena, rq->response.data, "path", mount->path);
    return CF_OK;
}

static bool count_one(void *context, struct cf_slice rest)
{
    (void)rest;
    ++*(int64_t *)context;
    return true;
}

cf_status sys_count_tokens(struct request *rq, struct cf_error *err)
{
    struct key prefix = {CLASS_CLUSTER, rq->ns, CF_SLICE(AREA_TOKEN)};
    struct json *total = json_object_new(rq->arena), *counters = json_object_new(rq->arena);
    int64_t count = 0;
    CF_TRY(view_walk(rq->view, prefix, CF_SLICE_EMPTY, count_one, &count, err));
    json_set_int(rq->arena, total, "total", count);
    json_set(rq->arena, counters, "service_tokens", total);
    json_set(rq->arena, response_data(rq), "counters", counters);
    return CF_OK;
}

cf_status sys_count_entities(struct request *rq, struct cf_error *err)
{
    struct json *total = json_object_new(rq->arena), *counters = json_object_new(rq->arena);
    struct key prefix;
    int64_t count = 0;
    CF_TRY(identity_key(rq, IDENTITY_ENTITY, CF_SLICE_EMPTY, &prefix, err));
    CF_TRY(view_walk(rq->view, prefix, CF_SLICE_EMPTY, count_one, &count, err));
    json_set_int(rq->arena, total, "total", count);
    json_set(rq->arena, counters, "entities", total);
    json_set(rq->arena, response_data(rq), "counters", counters);
    return CF_OK;
}

cf_status sys_count_requests(struct request *rq, struct cf_error *err)
{
    (void)rq;
    return cf_fail(err, CF_NOT_FOUND, "The functionality has been removed on this path: "
                                      "sys/metrics counts requests");
}

/* As where nothing was collected: no content. */
cf_status sys_count_activity(struct request *rq, struct cf_error *err)
{
    (void)err;
    rq->response.status = 204;
    return CF_OK;
}

cf_status sys_count_config(struct request *rq, struct cf_error *err)
{
    struct json *data = response_data(rq);
    (void)err;
    json_set_int(rq->arena, data, "default_report_months", 12);
    json_set_text(rq->arena, data, "enabled", "default-disabled");
    json_set_bool(rq->arena, data, "queries_available", false);
    json_set_int(rq->arena, data, "retention_months", 24);
    return CF_OK;
}

cf_status sys_inspect_router(struct request *rq, struct cf_error *err)
{
    static const char *const tags[] = {"root", "uuid", "accessor", "storage"};
    struct cf_slice tag = rq->captures[0];
    size_t which = 0;
    while (which < CF_LENGTH(tags) && !cf_slice_is(tag, tags[which])) {
        which++;
    }
    if (which == CF_LENGTH(tags)) {
        return cf_fail(err, CF_INVALID, "unknown tag: use root, uuid, accessor or storage");
    }
    struct json *list = json_object_new(rq->arena);
    for (size_t i = 0; i < rq->mounts->count; i++) {
        const struct mount *mount = rq->mounts->mounts[i];
        struct json *entry = json_object_new(rq->arena);
        struct cf_slice uuid = cf_slice_str(mount->uuid_text);
        json_set_string(rq->arena, entry, "mount_path", mount->path);
        json_set_string(rq->arena, entry, "type", mount->type);
        json_set_string(rq->arena, entry, "uuid", uuid);
        json_set_string(rq->arena, entry, "accessor", mount->accessor);
        json_set_bool(rq->arena, entry, "local", mount->is_local);
        json_set_text(rq->arena, entry, "mount_namespace",
                      rq->nspace != NULL ? arena_text(rq->arena, rq->nspace->path) : "");
        json_object_set(rq->arena, list,
                        which == 0   ? mount->path
                        : which == 2 ? mount->accessor
                                     : uuid,
                        entry);
    }
    json_set(rq->arena, response_data(rq), tags[which], list);
    return CF_OK;
}
