/* node/engines/identity/group.c: groups by id and by name. */
#include "node/base/memory.h"
#include "node/core/namespace.h"
#include "node/engines/identity/identity_int.h"

static struct json *null_if_empty(struct json *list)
{
    return json_count(list) != 0 ? list : NULL;
}

cf_status identity_group_answer(struct request *rq, const struct json *group, struct cf_error *err)
{
    struct arena *arena = rq->arena;
    struct json *data = response_data(rq);
    const struct json *alias = json_get(group, "alias");
    struct cf_slice id = json_get_string(group, "id");
    (void)err;
    json_set(arena, data, "alias",
             json_is(alias, JSON_OBJECT) ? identity_alias_json(rq, alias, id)
                                         : json_object_new(arena));
    json_set_string(arena, data, "id", id);
    json_set_string(arena, data, "name", json_get_string(group, "name"));
    json_set_string(arena, data, "type", json_get_string(group, "type"));
    json_set(arena, data, "metadata", json_get(group, "metadata"));
    json_set(arena, data, "policies", json_get(group, "policies"));
    json_set(arena, data, "member_entity_ids", json_get(group, "entities"));
    json_set(arena, data, "member_group_ids", null_if_empty(json_get(group, "groups")));
    json_set(arena, data, "parent_group_ids", null_if_empty(json_get(group, "parents")));
    json_set_string(arena, data, "namespace_id", rq->nspace->id);
    identity_set_time(rq, data, "creation_time", group, "creation");
    identity_set_time(rq, data, "last_update_time", group, "update");
    return CF_OK;
}

static struct json *new_group(struct request *rq, struct cf_slice name, struct cf_slice type)
{
    struct arena *arena = rq->arena;
    struct json *group = json_object_new(arena);
    json_set_string(arena, group, "id", identity_new_id(rq));
    json_set_string(arena, group, "name", name.size != 0 ? name : identity_new_name(rq, "group"));
    json_set_string(arena, group, "type", type.size != 0 ? type : CF_SLICE("internal"));
    json_set(arena, group, "metadata", NULL);
    json_set(arena, group, "policies", json_array_new(arena));
    json_set(arena, group, "entities", json_array_new(arena));
    json_set(arena, group, "groups", json_array_new(arena));
    json_set(arena, group, "parents", json_array_new(arena));
    json_set_int(arena, group, "creation", request_now_ns(rq));
    return group;
}

/* NULL in *ret when the field is absent. */
static cf_status read_ids(struct request *rq, const char *name, struct json **ret,
                          struct cf_error *err)
{
    struct cf_slice *ids;
    size_t count;
    *ret = NULL;
    if (request_field(rq, name) == NULL) {
        return CF_OK;
    }
    CF_TRY(request_list(rq, name, true, &ids, &count, err));
    if (count > IDENTITY_MEMBERS_MAX) {
        return cf_fail(err, CF_INVALID, "a group has at most %zu members", IDENTITY_MEMBERS_MAX);
    }
    *ret = json_array_new(rq->arena);
    for (size_t i = 0; i < count; i++) {
        identity_list_add(rq->arena, *ret, ids[i]);
    }
    return CF_OK;
}

static cf_status change_members(struct request *rq, struct json *group, struct cf_error *err)
{
    struct json *entities, *groups;
    bool is_external = cf_slice_is(json_get_string(group, "type"), "external");
    CF_TRY(read_ids(rq, "member_entity_ids", &entities, err));
    CF_TRY(read_ids(rq, "member_group_ids", &groups, err));
    if (is_external && (json_count(entities) != 0 || json_count(groups) != 0)) {
        return cf_fail(err, CF_INVALID,
                       "member entities and groups can't be set manually for external groups");
    }
    return is_external ? CF_OK : identity_set_members(rq, group, entities, groups, err);
}

static cf_status change(struct request *rq, struct json *group, bool is_new, struct cf_error *err)
{
    struct json *metadata, *policies;
    CF_TRY(identity_read_map(rq, "metadata", &metadata, err));
    CF_TRY(identity_read_policies(rq, &policies, err));
    if (metadata != NULL) {
        json_set(rq->arena, group, "metadata", metadata);
    }
    if (policies != NULL) {
        json_set(rq->arena, group, "policies", policies);
    }
    json_set_int(rq->arena, group, "update", request_now_ns(rq));
    CF_TRY(change_members(rq, group, err));
    struct cf_slice id = json_get_string(group, "id");
    identity_put(rq, IDENTITY_GROUP, id, group);
    if (is_new) {
        json_set_string(rq->arena, response_data(rq), "id", id);
        json_set_string(rq->arena, response_data(rq), "name", json_get_string(group, "name"));
    }
    return CF_OK;
}

static cf_status read_type(struct request *rq, const struct json *group, struct cf_slice *ret,
                           struct cf_error *err)
{
    CF_TRY(request_string(rq, "type", ret, err));
    if (ret->size != 0 && !cf_slice_is(*ret, "internal") && !cf_slice_is(*ret, "external")) {
        return cf_fail(err, CF_INVALID, "invalid group type \"%.*s\"",
                       CF_SHOW(cf_slice_first(*ret, 80)));
    }
    if (group != NULL && ret->size != 0 && !cf_slice_eq(*ret, json_get_string(group, "type"))) {
        return cf_fail(err, CF_INVALID, "group type cannot be changed");
    }
    return CF_OK;
}

static cf_status create(struct request *rq, struct cf_slice name, struct cf_error *err)
{
    struct cf_slice type;
    CF_TRY(read_type(rq, NULL, &type, err));
    struct json *group = new_group(rq, name, type);
    identity_put(rq, IDENTITY_GROUP_NAME,
                 identity_fold(rq->arena, json_get_string(group, "name")),
                 identity_name_record(rq->arena, group));
    return change(rq, group, true, err);
}

static cf_status rename_group(struct request *rq, struct json *group, struct cf_slice name,
                              struct cf_error *err)
{
    struct cf_slice before = identity_fold(rq->arena, json_get_string(group, "name"));
    struct cf_slice folded = identity_fold(rq->arena, name);
    struct json *other;
    if (!cf_slice_eq(before, folded)) {
        cf_status status = identity_get(rq, IDENTITY_GROUP_NAME, folded, &other, err);
        if (status == CF_OK) {
            return cf_fail(err, CF_INVALID, "group name is already in use");
        }
        if (status != CF_NOT_FOUND) {
            return status;
        }
        identity_drop(rq, IDENTITY_GROUP_NAME, before);
    }
    json_set_string(rq->arena, group, "name", name);
    identity_put(rq, IDENTITY_GROUP_NAME, folded, identity_name_record(rq->arena, group));
    return CF_OK;
}

static cf_status write_by_id(struct request *rq, struct cf_slice id, struct cf_error *err)
{
    struct json *group;
    struct cf_slice name, type;
    CF_TRY(identity_read_name(rq, &name, err));
    cf_status status = identity_get(rq, IDENTITY_GROUP, id, &group, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "invalid group ID");
    }
    CF_TRY(status);
    CF_TRY(read_type(rq, group, &type, err));
    if (name.size != 0) {
        CF_TRY(rename_group(rq, group, name, err));
    }
    return change(rq, group, false, err);
}

static cf_status by_name(struct request *rq, struct cf_slice name, struct json **ret,
                         struct cf_error *err)
{
    return identity_follow(rq, IDENTITY_GROUP_NAME, identity_fold(rq->arena, name), "id",
                           IDENTITY_GROUP, ret, err);
}

static cf_status write_by_name(struct request *rq, struct cf_slice name, struct cf_error *err)
{
    struct json *group;
    struct cf_slice type;
    cf_status status = by_name(rq, name, &group, err);
    if (status == CF_NOT_FOUND) {
        return create(rq, name, err);
    }
    CF_TRY(status);
    CF_TRY(read_type(rq, group, &type, err));
    return change(rq, group, false, err);
}

cf_status identity_group_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice id, name;
    CF_TRY(request_string(rq, "id", &id, err));
    CF_TRY(identity_read_name(rq, &name, err));
    if (id.size != 0) {
        return write_by_id(rq, id, err);
    }
    return name.size != 0 ? write_by_name(rq, name, err) : create(rq, CF_SLICE_EMPTY, err);
}

cf_status identity_group_write_id(struct request *rq, struct cf_error *err)
{
    return write_by_id(rq, rq->captures[0], err);
}

cf_status identity_group_write_name(struct request *rq, struct cf_error *err)
{
    struct cf_slice name;
    CF_TRY(identity_read_name(rq, &name, err));
    return write_by_name(rq, name, err);
}

static cf_status give(struct request *rq, cf_status found, const struct json *group,
                      struct cf_error *err)
{
    if (found == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(found);
    return identity_group_answer(rq, group, err);
}

cf_status identity_group_read_id(struct request *rq, struct cf_error *err)
{
    struct json *group = NULL;
    cf_status status = identity_get(rq, IDENTITY_GROUP, rq->captures[0], &group, err);
    return give(rq, status, group, err);
}

cf_status identity_group_read_name(struct request *rq, struct cf_error *err)
{
    struct json *group = NULL;
    cf_status status = by_name(rq, rq->captures[0], &group, err);
    return give(rq, status, group, err);
}

/* The members and the groups around it forget it. */
static cf_status drop(struct request *rq, cf_status found, struct json *group,
                      struct cf_error *err)
{
    if (found == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(found);
    struct cf_slice id = json_get_string(group, "id");
    const struct json *parents = json_get(group, "parents"), *alias = json_get(group, "alias");
    CF_TRY(identity_set_members(rq, group, json_array_new(rq->arena), json_array_new(rq->arena),
                                err));
    for (size_t i = 0; i < json_count(parents); i++) {
        struct cf_slice parent_id;
        struct json *parent;
        cf_ignore(!json_string(json_item(parents, i), &parent_id), "we wrote strings");
        cf_status status = identity_get(rq, IDENTITY_GROUP, parent_id, &parent, err);
        if (status == CF_NOT_FOUND) {
            continue;
        }
        CF_TRY(status);
        json_set(rq->arena, parent, "groups",
                 identity_list_without(rq->arena, json_get(parent, "groups"), id));
        identity_put(rq, IDENTITY_GROUP, parent_id, parent);
    }
    if (json_is(alias, JSON_OBJECT)) {
        identity_drop(rq, IDENTITY_GROUP_ALIAS, json_get_string(alias, "id"));
        identity_drop(rq, IDENTITY_GROUP_FACTOR,
                      identity_factor(rq->arena, json_get_string(alias, "mount_accessor"),
                                      json_get_string(alias, "name")));
    }
    identity_drop(rq, IDENTITY_GROUP_NAME,
                  identity_fold(rq->arena, json_get_string(group, "name")));
    identity_drop(rq, IDENTITY_GROUP, id);
    return CF_OK;
}

cf_status identity_group_delete_id(struct request *rq, struct cf_error *err)
{
    struct json *group = NULL;
    cf_status status = identity_get(rq, IDENTITY_GROUP, rq->captures[0], &group, err);
    return drop(rq, status, group, err);
}

cf_status identity_group_delete_name(struct request *rq, struct cf_error *err)
{
    struct json *group = NULL;
    cf_status status = by_name(rq, rq->captures[0], &group, err);
    return drop(rq, status, group, err);
}

static struct json *brief(struct request *rq, const struct json *group)
{
    struct json *info = json_object_new(rq->arena);
    json_set_string(rq->arena, info, "name", json_get_string(group, "name"));
    json_set_int(rq->arena, info, "num_member_entities",
                 (int64_t)json_count(json_get(group, "entities")));
    json_set_int(rq->arena, info, "num_parent_groups",
                 (int64_t)json_count(json_get(group, "parents")));
    return info;
}

cf_status identity_group_list_ids(struct request *rq, struct cf_error *err)
{
    return identity_list(rq, IDENTITY_GROUP, brief, err);
}

cf_status identity_group_list_names(struct request *rq, struct cf_error *err)
{
    return identity_list_names(rq, IDENTITY_GROUP_NAME, err);
}
