/* node/engines/identity/group_alias.c: which group of an auth method stands behind an external group. */
#include "node/base/memory.h"
#include "node/engines/identity/identity_int.h"

static cf_status find(struct request *rq, struct cf_slice id, struct json **ret_group,
                      struct cf_error *err)
{
    CF_TRY(identity_follow(rq, IDENTITY_GROUP_ALIAS, id, "group", IDENTITY_GROUP, ret_group, err));
    return json_is(json_get(*ret_group, "alias"), JSON_OBJECT) ? CF_OK : CF_NOT_FOUND;
}

static void forget(struct request *rq, struct json *group)
{
    const struct json *alias = json_get(group, "alias");
    if (json_is(alias, JSON_OBJECT)) {
        identity_drop(rq, IDENTITY_GROUP_ALIAS, json_get_string(alias, "id"));
        identity_drop(rq, IDENTITY_GROUP_FACTOR,
                      identity_factor(rq->arena, json_get_string(alias, "mount_accessor"),
                                      json_get_string(alias, "name")));
    }
    json_set(rq->arena, group, "alias", NULL);
}

static cf_status take_group(struct request *rq, struct cf_slice id, struct json **ret,
                            struct cf_error *err)
{
    cf_status status = identity_get(rq, IDENTITY_GROUP, id, ret, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "invalid group ID given in 'canonical_id'");
    }
    CF_TRY(status);
    return cf_slice_is(json_get_string(*ret, "type"), "external")
               ? CF_OK
               : cf_fail(err, CF_INVALID, "alias can't be set on an internal group");
}

static cf_status write(struct request *rq, struct cf_slice id, struct cf_error *err)
{
    struct identity_alias wanted = {0};
    struct cf_slice accessor, canonical_id;
    struct json *group = NULL, *owner = NULL, *alias = NULL, *other;
    CF_TRY(identity_read_name(rq, &wanted.name, err));
    CF_TRY(request_string(rq, "mount_accessor", &accessor, err));
    CF_TRY(request_string(rq, "canonical_id", &canonical_id, err));
    if (id.size != 0) {
        cf_status status = find(rq, id, &owner, err);
        if (status == CF_NOT_FOUND) {
            return cf_fail(err, CF_INVALID, "invalid group alias ID");
        }
        CF_TRY(status);
        alias = json_get(owner, "alias");
        accessor = accessor.size != 0 ? accessor : json_get_string(alias, "mount_accessor");
        wanted.name = wanted.name.size != 0 ? wanted.name : json_get_string(alias, "name");
        canonical_id = canonical_id.size != 0 ? canonical_id : json_get_string(owner, "id");
    }
    if (wanted.name.size == 0) {
        return cf_fail(err, CF_INVALID, "missing alias name");
    }
    if (accessor.size == 0) {
        return cf_fail(err, CF_INVALID, "missing mount_accessor");
    }
    if (canonical_id.size == 0) {
        return cf_fail(err, CF_INVALID, "missing canonical_id");
    }
    CF_TRY(identity_find_mount(rq, accessor, &wanted, err));
    CF_TRY(take_group(rq, canonical_id, &group, err));
    struct cf_slice factor = identity_factor(rq->arena, wanted.accessor, wanted.name);
    cf_status status = identity_follow(rq, IDENTITY_GROUP_FACTOR, factor, "group", IDENTITY_GROUP,
                                       &other, err);
    if (status == CF_OK && !cf_slice_eq(json_get_string(other, "id"), canonical_id) &&
        (owner == NULL || !cf_slice_eq(json_get_string(other, "id"), json_get_string(owner, "id")))) {
        return cf_fail(err, CF_INVALID, "group alias with that name and mount exists already");
    }
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    struct json *fresh = identity_new_alias(rq, &wanted);
    if (alias != NULL) {
        json_set_string(rq->arena, fresh, "id", id);
        json_set(rq->arena, fresh, "creation", json_get(alias, "creation"));
    }
    if (owner != NULL && !cf_slice_eq(json_get_string(owner, "id"), canonical_id)) {
        forget(rq, owner);
        identity_put(rq, IDENTITY_GROUP, json_get_string(owner, "id"), owner);
    }
    forget(rq, group);
    struct json *pointer = identity_one(rq->arena, "group", canonical_id);
    json_set(rq->arena, group, "alias", fresh);
    json_set_int(rq->arena, group, "update", request_now_ns(rq));
    identity_put(rq, IDENTITY_GROUP, canonical_id, group);
    identity_put(rq, IDENTITY_GROUP_ALIAS, json_get_string(fresh, "id"), pointer);
    identity_put(rq, IDENTITY_GROUP_FACTOR, factor, pointer);
    json_set_string(rq->arena, response_data(rq), "id", json_get_string(fresh, "id"));
    json_set_string(rq->arena, response_data(rq), "canonical_id", canonical_id);
    return CF_OK;
}

cf_status identity_group_alias_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice id;
    CF_TRY(request_string(rq, "id", &id, err));
    return write(rq, id, err);
}

cf_status identity_group_alias_write_id(struct request *rq, struct cf_error *err)
{
    return write(rq, rq->captures[0], err);
}

cf_status identity_group_alias_read(struct request *rq, struct cf_error *err)
{
    struct json *group;
    cf_status status = find(rq, rq->captures[0], &group, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    rq->response.data =
        identity_alias_json(rq, json_get(group, "alias"), json_get_string(group, "id"));
    return CF_OK;
}

cf_status identity_group_alias_delete(struct request *rq, struct cf_error *err)
{
    struct json *group;
    cf_status status = find(rq, rq->captures[0], &group, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    forget(rq, group);
    identity_put(rq, IDENTITY_GROUP, json_get_string(group, "id"), group);
    return CF_OK;
}

cf_status identity_group_alias_list(struct request *rq, struct cf_error *err)
{
    return identity_list(rq, IDENTITY_GROUP_ALIAS, NULL, err);
}
