/* node/engines/identity/entity.c: entities by id and by name. */
#include "node/base/memory.h"
#include "node/core/namespace.h"
#include "node/engines/identity/identity_int.h"

/* ---- out ---- */

struct json *identity_alias_json(struct request *rq, const struct json *alias,
                                 struct cf_slice canonical_id)
{
    struct arena *arena = rq->arena;
    struct json *shown = json_object_new(arena);
    static const char *const copied[] = {"id", "name", "mount_accessor", "mount_type",
                                         "mount_path", "metadata", "custom_metadata", "local"};
    for (size_t i = 0; i < CF_LENGTH(copied); i++) {
        json_set(arena, shown, copied[i], json_get(alias, copied[i]));
    }
    json_set_string(arena, shown, "canonical_id", canonical_id);
    json_set_string(arena, shown, "namespace_id", rq->nspace->id);
    json_set(arena, shown, "merged_from_canonical_ids", json_get(alias, "merged_from"));
    identity_set_time(rq, shown, "creation_time", alias, "creation");
    identity_set_time(rq, shown, "last_update_time", alias, "update");
    return shown;
}

/* The groups around the direct ones, each once. */
static cf_status inherited_groups(struct request *rq, const struct json *direct, struct json **ret,
                                  struct cf_error *err)
{
    struct json *all = json_array_new(rq->arena), *inherited = json_array_new(rq->arena);
    for (size_t i = 0; i < json_count(direct); i++) {
        struct cf_slice id;
        cf_ignore(!json_string(json_item(direct, i), &id), "we wrote strings");
        identity_list_add(rq->arena, all, id);
    }
    for (size_t i = 0; i < json_count(all) && i < IDENTITY_MEMBERS_MAX; i++) {
        struct cf_slice id;
        struct json *group;
        cf_ignore(!json_string(json_item(all, i), &id), "we wrote strings");
        cf_status status = identity_get(rq, IDENTITY_GROUP, id, &group, err);
        if (status == CF_NOT_FOUND) {
            continue;
        }
        CF_TRY(status);
        const struct json *parents = json_get(group, "parents");
        for (size_t k = 0; k < json_count(parents); k++) {
            cf_ignore(!json_string(json_item(parents, k), &id), "we wrote strings");
            identity_list_add(rq->arena, all, id);
            if (!identity_list_has(direct, id)) {
                identity_list_add(rq->arena, inherited, id);
            }
        }
    }
    *ret = inherited;
    return CF_OK;
}

static void join_lists(struct arena *arena, struct json *to, const struct json *from)
{
    for (size_t i = 0; i < json_count(from); i++) {
        json_array_add(arena, to, json_item(from, i));
    }
}

cf_status identity_entity_answer(struct request *rq, const struct json *entity,
                                 struct cf_error *err)
{
    struct arena *arena = rq->arena;
    struct json *data = response_data(rq), *aliases = json_array_new(arena), *inherited;
    struct json *direct = json_get(entity, "groups"), *groups = json_array_new(arena);
    const struct json *list = json_get(entity, "aliases");
    struct cf_slice id = json_get_string(entity, "id");
    CF_TRY(inherited_groups(rq, direct, &inherited, err));
    for (size_t i = 0; i < json_count(list); i++) {
        json_array_add(arena, aliases, identity_alias_json(rq, json_item(list, i), id));
    }
    join_lists(arena, groups, direct);
    join_lists(arena, groups, inherited);
    json_set_string(arena, data, "id", id);
    json_set_string(arena, data, "name", json_get_string(entity, "name"));
    json_set(arena, data, "aliases", aliases);
    json_set_bool(arena, data, "disabled", identity_flag(entity, "disabled"));
    json_set(arena, data, "metadata", json_get(entity, "metadata"));
    json_set(arena, data, "policies", json_get(entity, "policies"));
    json_set(arena, data, "merged_entity_ids", json_get(entity, "merged"));
    json_set(arena, data, "direct_group_ids", direct);
    json_set(arena, data, "inherited_group_ids", inherited);
    json_set(arena, data, "group_ids", groups);
    json_set_string(arena, data, "namespace_id", rq->nspace->id);
    identity_set_time(rq, data, "creation_time", entity, "creation");
    identity_set_time(rq, data, "last_update_time", entity, "update");
    return CF_OK;
}

/* ---- in ---- */

/* A name points at its entity, in whatever spelling. */
static cf_status rename_entity(struct request *rq, struct json *entity, struct cf_slice name,
                               struct cf_error *err)
{
    struct cf_slice before = identity_fold(rq->arena, json_get_string(entity, "name"));
    struct cf_slice folded = identity_fold(rq->arena, name);
    struct json *other;
    if (!cf_slice_eq(before, folded)) {
        cf_status status = identity_get(rq, IDENTITY_NAME, folded, &other, err);
        if (status == CF_OK) {
            return cf_fail(err, CF_INVALID, "entity name is already in use");
        }
        if (status != CF_NOT_FOUND) {
            return status;
        }
        identity_drop(rq, IDENTITY_NAME, before);
    }
    json_set_string(rq->arena, entity, "name", name);
    identity_put(rq, IDENTITY_NAME, folded, identity_name_record(rq->arena, entity));
    return CF_OK;
}

/* Lays what the request says over the entity and stores it. */
static cf_status change(struct request *rq, struct json *entity, bool is_new, struct cf_error *err)
{
    struct json *metadata, *policies;
    bool disabled;
    CF_TRY(identity_read_map(rq, "metadata", &metadata, err));
    CF_TRY(identity_read_policies(rq, &policies, err));
    CF_TRY(request_bool(rq, "disabled", identity_flag(entity, "disabled"), &disabled, err));
    if (metadata != NULL) {
        json_set(rq->arena, entity, "metadata", metadata);
    }
    if (policies != NULL) {
        json_set(rq->arena, entity, "policies", policies);
    }
    json_set_bool(rq->arena, entity, "disabled", disabled);
    json_set_int(rq->arena, entity, "update", request_now_ns(rq));
    struct cf_slice id = json_get_string(entity, "id");
    identity_put(rq, IDENTITY_ENTITY, id, entity);
    if (is_new) {
        json_set_string(rq->arena, response_data(rq), "id", id);
        json_set_string(rq->arena, response_data(rq), "name", json_get_string(entity, "name"));
        json_set(rq->arena, response_data(rq), "aliases", NULL);
    }
    return CF_OK;
}

static cf_status create(struct request *rq, struct cf_slice name, struct cf_error *err)
{
    struct json *entity = identity_new_entity(rq, name);
    struct cf_slice folded = identity_fold(rq->arena, json_get_string(entity, "name"));
    identity_put(rq, IDENTITY_NAME, folded, identity_name_record(rq->arena, entity));
    return change(rq, entity, true, err);
}

static cf_status write_by_name(struct request *rq, struct cf_slice name, struct cf_error *err)
{
    struct json *entity;
    cf_status status = identity_follow(rq, IDENTITY_NAME, identity_fold(rq->arena, name), "id",
                                       IDENTITY_ENTITY, &entity, err);
    if (status == CF_NOT_FOUND) {
        return create(rq, name, err);
    }
    CF_TRY(status);
    return change(rq, entity, false, err);
}

static cf_status write_by_id(struct request *rq, struct cf_slice id, struct cf_slice name,
                             struct cf_error *err)
{
    struct json *entity;
    cf_status status = identity_get(rq, IDENTITY_ENTITY, id, &entity, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "entity not found from id");
    }
    CF_TRY(status);
    if (name.size != 0) {
        CF_TRY(rename_entity(rq, entity, name, err));
    }
    return change(rq, entity, false, err);
}

cf_status identity_entity_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice id, name;
    CF_TRY(request_string(rq, "id", &id, err));
    CF_TRY(identity_read_name(rq, &name, err));
    if (id.size != 0) {
        return write_by_id(rq, id, name, err);
    }
    return name.size != 0 ? write_by_name(rq, name, err) : create(rq, CF_SLICE_EMPTY, err);
}

cf_status identity_entity_write_id(struct request *rq, struct cf_error *err)
{
    struct cf_slice name;
    CF_TRY(identity_read_name(rq, &name, err));
    return write_by_id(rq, rq->captures[0], name, err);
}

cf_status identity_entity_write_name(struct request *rq, struct cf_error *err)
{
    struct cf_slice name;
    CF_TRY(identity_read_name(rq, &name, err));
    return write_by_name(rq, name, err);
}

/* ---- reading ---- */

cf_status identity_entity_read_id(struct request *rq, struct cf_error *err)
{
    struct json *entity;
    cf_status status = identity_get(rq, IDENTITY_ENTITY, rq->captures[0], &entity, err);
    if (status == CF_NOT_FOUND) {
        status = identity_follow(rq, IDENTITY_MERGED, rq->captures[0], "to", IDENTITY_ENTITY,
                                 &entity, err);
    }
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    return identity_entity_answer(rq, entity, err);
}

static cf_status by_name(struct request *rq, struct json **ret, struct cf_error *err)
{
    return identity_follow(rq, IDENTITY_NAME, identity_fold(rq->arena, rq->captures[0]), "id",
                           IDENTITY_ENTITY, ret, err);
}

cf_status identity_entity_read_name(struct request *rq, struct cf_error *err)
{
    struct json *entity;
    cf_status status = by_name(rq, &entity, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    return identity_entity_answer(rq, entity, err);
}

static struct json *brief(struct request *rq, const struct json *entity)
{
    struct json *info = json_object_new(rq->arena), *aliases = json_array_new(rq->arena);
    const struct json *list = json_get(entity, "aliases");
    for (size_t i = 0; i < json_count(list); i++) {
        struct json *alias = json_object_new(rq->arena);
        static const char *const copied[] = {"id", "name", "mount_accessor", "mount_type",
                                             "mount_path"};
        for (size_t k = 0; k < CF_LENGTH(copied); k++) {
            json_set(rq->arena, alias, copied[k], json_get(json_item(list, i), copied[k]));
        }
        json_array_add(rq->arena, aliases, alias);
    }
    json_set_string(rq->arena, info, "name", json_get_string(entity, "name"));
    json_set(rq->arena, info, "aliases", aliases);
    return info;
}

cf_status identity_entity_list_ids(struct request *rq, struct cf_error *err)
{
    return identity_list(rq, IDENTITY_ENTITY, brief, err);
}

cf_status identity_entity_list_names(struct request *rq, struct cf_error *err)
{
    return identity_list_names(rq, IDENTITY_NAME, err);
}

/* ---- deleting ---- */

cf_status identity_entity_drop(struct request *rq, const struct json *entity, struct cf_error *err)
{
    struct cf_slice id = json_get_string(entity, "id");
    const struct json *aliases = json_get(entity, "aliases"), *groups = json_get(entity, "groups");
    const struct json *merged = json_get(entity, "merged");
    for (size_t i = 0; i < json_count(aliases); i++) {
        const struct json *alias = json_item(aliases, i);
        identity_drop(rq, IDENTITY_ALIAS, json_get_string(alias, "id"));
        identity_drop(rq, IDENTITY_FACTOR,
                      identity_factor(rq->arena, json_get_string(alias, "mount_accessor"),
                                      json_get_string(alias, "name")));
    }
    for (size_t i = 0; i < json_count(groups); i++) {
        struct cf_slice group;
        cf_ignore(!json_string(json_item(groups, i), &group), "we wrote strings");
        CF_TRY(identity_group_forget(rq, group, id, CF_SLICE_EMPTY, err));
    }
    for (size_t i = 0; i < json_count(merged); i++) {
        struct cf_slice old;
        cf_ignore(!json_string(json_item(merged, i), &old), "we wrote strings");
        identity_drop(rq, IDENTITY_MERGED, old);
    }
    identity_drop(rq, IDENTITY_NAME, identity_fold(rq->arena, json_get_string(entity, "name")));
    identity_drop(rq, IDENTITY_ENTITY, id);
    return CF_OK;
}

cf_status identity_entity_delete_id(struct request *rq, struct cf_error *err)
{
    struct json *entity;
    cf_status status = identity_get(rq, IDENTITY_ENTITY, rq->captures[0], &entity, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    return identity_entity_drop(rq, entity, err);
}

cf_status identity_entity_delete_name(struct request *rq, struct cf_error *err)
{
    struct json *entity;
    cf_status status = by_name(rq, &entity, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    return identity_entity_drop(rq, entity, err);
}

cf_status identity_entity_batch_delete(struct request *rq, struct cf_error *err)
{
    struct cf_slice *ids;
    size_t count;
    CF_TRY(request_list(rq, "entity_ids", true, &ids, &count, err));
    if (count == 0 || count > IDENTITY_MEMBERS_MAX) {
        return cf_fail(err, CF_INVALID, "entity_ids must name 1 to %zu entities",
                       IDENTITY_MEMBERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        struct json *entity;
        cf_status status = identity_get(rq, IDENTITY_ENTITY, ids[i], &entity, err);
        if (status == CF_OK) {
            status = identity_entity_drop(rq, entity, err);
        }
        if (status != CF_OK && status != CF_NOT_FOUND) {
            return status;
        }
    }
    return CF_OK;
}
