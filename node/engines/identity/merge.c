/* node/engines/identity/merge.c: several entities become one. The one that stays keeps its name, metadata and
 * policies; it gets the aliases and memberships of the others, and tokens of theirs are its own. */
#include "node/base/memory.h"
#include "node/engines/identity/identity_int.h"

#define MERGE_MAX ((size_t)100)

static cf_status read_ids(struct request *rq, struct cf_slice **ret, size_t *ret_count,
                          struct cf_slice *to, struct cf_error *err)
{
    CF_TRY(request_list(rq, "from_entity_ids", true, ret, ret_count, err));
    CF_TRY(request_string(rq, "to_entity_id", to, err));
    if (*ret_count == 0) {
        return cf_fail(err, CF_INVALID, "missing entity ids to merge from");
    }
    if (*ret_count > MERGE_MAX) {
        return cf_fail(err, CF_INVALID, "at most %zu entities are merged at once", MERGE_MAX);
    }
    if (to->size == 0) {
        return cf_fail(err, CF_INVALID, "missing entity id to merge to");
    }
    for (size_t i = 0; i < *ret_count; i++) {
        if (cf_slice_eq((*ret)[i], *to)) {
            return cf_fail(err, CF_INVALID,
                           "to_entity_id should not be present in from_entity_ids");
        }
    }
    return CF_OK;
}

static struct json *alias_at(const struct json *entity, struct cf_slice accessor)
{
    const struct json *aliases = json_get(entity, "aliases");
    for (size_t i = 0; i < json_count(aliases); i++) {
        struct json *alias = json_item(aliases, i);
        if (cf_slice_eq(json_get_string(alias, "mount_accessor"), accessor)) {
            return alias;
        }
    }
    return NULL;
}

static void remove_alias(struct request *rq, const struct json *alias)
{
    identity_drop(rq, IDENTITY_ALIAS, json_get_string(alias, "id"));
    identity_drop(rq, IDENTITY_FACTOR,
                  identity_factor(rq->arena, json_get_string(alias, "mount_accessor"),
                                  json_get_string(alias, "name")));
}

/* An entity has one alias a mount: of two, the one that the request names is kept. */
static cf_status take_alias(struct request *rq, struct json *to, struct cf_slice from_id,
                            struct json *alias, const struct json *keep, struct cf_error *err)
{
    struct cf_slice to_id = json_get_string(to, "id");
    struct json *own = alias_at(to, json_get_string(alias, "mount_accessor"));
    if (own != NULL) {
        bool keeps_own = identity_list_has(keep, json_get_string(own, "id"));
        bool keeps_other = identity_list_has(keep, json_get_string(alias, "id"));
        if (keeps_own == keeps_other) {
            return cf_fail(err, CF_INVALID,
                           "toEntity and at least one fromEntity have aliases at the same mount "
                           "%.*s: name the one to keep in conflicting_alias_ids_to_keep",
                           CF_SHOW(json_get_string(alias, "mount_accessor")));
        }
        if (keeps_own) {
            remove_alias(rq, alias);
            return CF_OK;
        }
        remove_alias(rq, own);
        struct json *left = json_array_new(rq->arena), *aliases = json_get(to, "aliases");
        for (size_t i = 0; i < json_count(aliases); i++) {
            if (json_item(aliases, i) != own) {
                json_array_add(rq->arena, left, json_item(aliases, i));
            }
        }
        json_set(rq->arena, to, "aliases", left);
    }
    struct json *merged = json_get(alias, "merged_from");
    merged = json_is(merged, JSON_ARRAY) ? merged : json_array_new(rq->arena);
    identity_list_add(rq->arena, merged, from_id);
    json_set(rq->arena, alias, "merged_from", merged);
    json_array_add(rq->arena, json_get(to, "aliases"), alias);
    identity_put(rq, IDENTITY_ALIAS, json_get_string(alias, "id"),
                 identity_one(rq->arena, "entity", to_id));
    identity_put(rq, IDENTITY_FACTOR,
                 identity_factor(rq->arena, json_get_string(alias, "mount_accessor"),
                                 json_get_string(alias, "name")),
                 identity_one(rq->arena, "entity", to_id));
    return CF_OK;
}

static cf_status take_groups(struct request *rq, struct json *to, const struct json *from,
                             struct cf_error *err)
{
    const struct json *groups = json_get(from, "groups");
    for (size_t i = 0; i < json_count(groups); i++) {
        struct cf_slice group;
        cf_ignore(!json_string(json_item(groups, i), &group), "we wrote strings");
        CF_TRY(identity_group_forget(rq, group, json_get_string(from, "id"),
                                     json_get_string(to, "id"), err));
        identity_list_add(rq->arena, json_get(to, "groups"), group);
    }
    return CF_OK;
}

static void take_ids(struct request *rq, struct json *to, const struct json *from)
{
    struct json *merged = json_get(to, "merged");
    const struct json *older = json_get(from, "merged");
    struct cf_slice id;
    merged = json_is(merged, JSON_ARRAY) ? merged : json_array_new(rq->arena);
    identity_list_add(rq->arena, merged, json_get_string(from, "id"));
    for (size_t i = 0; i < json_count(older); i++) {
        cf_ignore(!json_string(json_item(older, i), &id), "we wrote strings");
        identity_list_add(rq->arena, merged, id);
    }
    for (size_t i = 0; i < json_count(merged); i++) {
        cf_ignore(!json_string(json_item(merged, i), &id), "we wrote strings");
        identity_put(rq, IDENTITY_MERGED, id,
                     identity_one(rq->arena, "to", json_get_string(to, "id")));
    }
    json_set(rq->arena, to, "merged", merged);
}

static cf_status merge_one(struct request *rq, struct json *to, struct cf_slice from_id,
                           const struct json *keep, struct cf_error *err)
{
    struct json *from;
    cf_status status = identity_get(rq, IDENTITY_ENTITY, from_id, &from, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "entity id to merge from is invalid");
    }
    CF_TRY(status);
    struct json *aliases = json_get(from, "aliases");
    for (size_t i = 0; i < json_count(aliases); i++) {
        CF_TRY(take_alias(rq, to, from_id, json_item(aliases, i), keep, err));
    }
    CF_TRY(take_groups(rq, to, from, err));
    take_ids(rq, to, from);
    identity_drop(rq, IDENTITY_NAME, identity_fold(rq->arena, json_get_string(from, "name")));
    identity_drop(rq, IDENTITY_ENTITY, from_id);
    return CF_OK;
}

cf_status identity_entity_merge(struct request *rq, struct cf_error *err)
{
    struct cf_slice *ids, *keep_ids, to_id;
    size_t count, keep_count;
    struct json *to, *keep = json_array_new(rq->arena);
    CF_TRY(read_ids(rq, &ids, &count, &to_id, err));
    CF_TRY(request_list(rq, "conflicting_alias_ids_to_keep", true, &keep_ids, &keep_count, err));
    for (size_t i = 0; i < keep_count; i++) {
        identity_list_add(rq->arena, keep, keep_ids[i]);
    }
    cf_status status = identity_get(rq, IDENTITY_ENTITY, to_id, &to, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "entity id to merge to is invalid");
    }
    CF_TRY(status);
    for (size_t i = 0; i < count; i++) {
        CF_TRY(merge_one(rq, to, ids[i], keep, err));
    }
    json_set_int(rq->arena, to, "update", request_now_ns(rq));
    identity_put(rq, IDENTITY_ENTITY, to_id, to);
    return CF_OK;
}
