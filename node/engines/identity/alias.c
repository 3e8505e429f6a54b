/* node/engines/identity/alias.c: which logins an entity has. */
#include "node/base/memory.h"
#include "node/core/mount.h"
#include "node/core/token.h"
#include "node/engines/identity/identity_int.h"

cf_status identity_find_mount(struct request *rq, struct cf_slice accessor,
                              struct identity_alias *ret, struct cf_error *err)
{
    const struct mount *mount = mount_table_by_accessor(rq->mounts, accessor);
    if (mount == NULL || mount->ops->kind != ENGINE_AUTH) {
        return cf_fail(err, CF_INVALID, "invalid mount accessor \"%.*s\"",
                       CF_SHOW(cf_slice_first(accessor, 80)));
    }
    txn_note_read(rq->txn, mount->entry_hash);
    ret->accessor = mount->accessor;
    ret->type = mount->type;
    ret->path = mount->path;
    ret->is_local = mount->is_local;
    return CF_OK;
}

static struct json *alias_in(const struct json *entity, struct cf_slice id)
{
    const struct json *aliases = json_get(entity, "aliases");
    for (size_t i = 0; i < json_count(aliases); i++) {
        struct json *alias = json_item(aliases, i);
        if (cf_slice_eq(json_get_string(alias, "id"), id)) {
            return alias;
        }
    }
    return NULL;
}

/* The alias and the entity that has it. CF_NOT_FOUND. */
static cf_status find(struct request *rq, struct cf_slice id, struct json **ret_entity,
                      struct json **ret, struct cf_error *err)
{
    CF_TRY(identity_follow(rq, IDENTITY_ALIAS, id, "entity", IDENTITY_ENTITY, ret_entity, err));
    *ret = alias_in(*ret_entity, id);
    return *ret != NULL ? CF_OK : CF_NOT_FOUND;
}

static void take_out(struct request *rq, struct json *entity, const struct json *alias)
{
    struct json *left = json_array_new(rq->arena), *aliases = json_get(entity, "aliases");
    for (size_t i = 0; i < json_count(aliases); i++) {
        if (json_item(aliases, i) != alias) {
            json_array_add(rq->arena, left, json_item(aliases, i));
        }
    }
    json_set(rq->arena, entity, "aliases", left);
}

static struct cf_slice factor_of(struct request *rq, const struct json *alias)
{
    return identity_factor(rq->arena, json_get_string(alias, "mount_accessor"),
                           json_get_string(alias, "name"));
}

static void store(struct request *rq, struct json *entity, const struct json *alias)
{
    struct json *pointer = identity_one(rq->arena, "entity", json_get_string(entity, "id"));
    json_set_int(rq->arena, entity, "update", request_now_ns(rq));
    identity_put(rq, IDENTITY_ENTITY, json_get_string(entity, "id"), entity);
    identity_put(rq, IDENTITY_ALIAS, json_get_string(alias, "id"), pointer);
    identity_put(rq, IDENTITY_FACTOR, factor_of(rq, alias), pointer);
}

/* An entity has one alias a mount: else which of them a policy's template meant would be chance. */
static cf_status check_single(const struct json *entity, struct cf_slice accessor,
                              const struct json *but, struct cf_error *err)
{
    const struct json *aliases = json_get(entity, "aliases");
    for (size_t i = 0; i < json_count(aliases); i++) {
        const struct json *alias = json_item(aliases, i);
        if (alias != but && cf_slice_eq(json_get_string(alias, "mount_accessor"), accessor)) {
            return cf_fail(err, CF_INVALID,
                           "alias already exists for requested entity and mount accessor");
        }
    }
    return CF_OK;
}

static cf_status find_canonical(struct request *rq, struct cf_slice id, struct json **ret,
                                struct cf_error *err)
{
    cf_status status = identity_get(rq, IDENTITY_ENTITY, id, ret, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "given 'canonical_id' is not associated with an entity");
    }
    return status;
}

static cf_status answer(struct request *rq, const struct json *entity, const struct json *alias)
{
    json_set_string(rq->arena, response_data(rq), "id", json_get_string(alias, "id"));
    json_set_string(rq->arena, response_data(rq), "canonical_id", json_get_string(entity, "id"));
    return CF_OK;
}

/* A name and a mount that have no alias yet. */
static cf_status create(struct request *rq, const struct identity_alias *wanted,
                        struct cf_slice canonical_id, struct json *custom, struct cf_error *err)
{
    struct json *entity;
    if (canonical_id.size != 0) {
        CF_TRY(find_canonical(rq, canonical_id, &entity, err));
        CF_TRY(check_single(entity, wanted->accessor, NULL, err));
    } else {
        entity = identity_new_entity(rq, CF_SLICE_EMPTY);
        identity_put(rq, IDENTITY_NAME,
                     identity_fold(rq->arena, json_get_string(entity, "name")),
                     identity_name_record(rq->arena, entity));
    }
    struct json *alias = identity_new_alias(rq, wanted);
    json_set(rq->arena, alias, "custom_metadata", custom);
    json_array_add(rq->arena, json_get(entity, "aliases"), alias);
    store(rq, entity, alias);
    return answer(rq, entity, alias);
}

/* Lays what is given over an alias; it may get another name, mount or entity. */
static cf_status change(struct request *rq, struct json *entity, struct json *alias,
                        const struct identity_alias *wanted, struct cf_slice canonical_id,
                        struct json *custom, struct cf_error *err)
{
    struct json *to = entity, *other;
    struct cf_slice before = factor_of(rq, alias);
    if (canonical_id.size != 0 && !cf_slice_eq(canonical_id, json_get_string(entity, "id"))) {
        CF_TRY(find_canonical(rq, canonical_id, &to, err));
        take_out(rq, entity, alias);
        identity_put(rq, IDENTITY_ENTITY, json_get_string(entity, "id"), entity);
        json_array_add(rq->arena, json_get(to, "aliases"), alias);
    }
    if (wanted->accessor.size != 0) {
        json_set_string(rq->arena, alias, "mount_accessor", wanted->accessor);
        json_set_string(rq->arena, alias, "mount_type", wanted->type);
        json_set_string(rq->arena, alias, "mount_path", wanted->path);
    }
    if (wanted->name.size != 0) {
        json_set_string(rq->arena, alias, "name", wanted->name);
    }
    CF_TRY(check_single(to, json_get_string(alias, "mount_accessor"), alias, err));
    struct cf_slice after = factor_of(rq, alias);
    if (!cf_slice_eq(before, after)) {
        cf_status status = identity_get(rq, IDENTITY_FACTOR, after, &other, err);
        if (status == CF_OK) {
            return cf_fail(err, CF_INVALID, "alias with that name and mount exists already");
        }
        if (status != CF_NOT_FOUND) {
            return status;
        }
        identity_drop(rq, IDENTITY_FACTOR, before);
    }
    if (custom != NULL) {
        json_set(rq->arena, alias, "custom_metadata", custom);
    }
    json_set_int(rq->arena, alias, "update", request_now_ns(rq));
    store(rq, to, alias);
    return answer(rq, to, alias);
}

static cf_status write(struct request *rq, struct cf_slice id, struct cf_error *err)
{
    struct identity_alias wanted = {0};
    struct cf_slice canonical_id, accessor;
    struct json *entity, *alias, *custom;
    CF_TRY(identity_read_name(rq, &wanted.name, err));
    CF_TRY(request_string(rq, "mount_accessor", &accessor, err));
    CF_TRY(request_string(rq, "canonical_id", &canonical_id, err));
    if (canonical_id.size == 0) {
        CF_TRY(request_string(rq, "entity_id", &canonical_id, err)); /* an old name */
    }
    CF_TRY(identity_read_map(rq, "custom_metadata", &custom, err));
    if (id.size == 0 && (accessor.size == 0 || wanted.name.size == 0)) {
        return cf_fail(err, CF_INVALID, "'id' or 'mount_accessor' and 'name' must be provided");
    }
    if (accessor.size != 0) {
        CF_TRY(identity_find_mount(rq, accessor, &wanted, err));
    }
    if (id.size != 0) {
        cf_status status = find(rq, id, &entity, &alias, err);
        if (status == CF_NOT_FOUND) {
            return cf_fail(err, CF_INVALID, "invalid alias ID provided");
        }
        CF_TRY(status);
        return change(rq, entity, alias, &wanted, canonical_id, custom, err);
    }
    struct cf_slice factor = identity_factor(rq->arena, wanted.accessor, wanted.name);
    cf_status status =
        identity_follow(rq, IDENTITY_FACTOR, factor, "entity", IDENTITY_ENTITY, &entity, err);
    if (status == CF_NOT_FOUND) {
        return create(rq, &wanted, canonical_id, custom, err);
    }
    CF_TRY(status);
    struct json *aliases = json_get(entity, "aliases");
    for (size_t i = 0; i < json_count(aliases); i++) {
        if (cf_slice_eq(factor_of(rq, json_item(aliases, i)), factor)) {
            wanted.name = CF_SLICE_EMPTY;
            return change(rq, entity, json_item(aliases, i), &wanted, canonical_id, custom, err);
        }
    }
    return cf_fail(err, CF_CORRUPT, "internal error");
}

cf_status identity_alias_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice id;
    CF_TRY(request_string(rq, "id", &id, err));
    return write(rq, id, err);
}

cf_status identity_alias_write_id(struct request *rq, struct cf_error *err)
{
    return write(rq, rq->captures[0], err);
}

cf_status identity_alias_read(struct request *rq, struct cf_error *err)
{
    struct json *entity, *alias;
    cf_status status = find(rq, rq->captures[0], &entity, &alias, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    rq->response.data = identity_alias_json(rq, alias, json_get_string(entity, "id"));
    return CF_OK;
}

cf_status identity_alias_delete(struct request *rq, struct cf_error *err)
{
    struct json *entity, *alias;
    cf_status status = find(rq, rq->captures[0], &entity, &alias, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    identity_drop(rq, IDENTITY_ALIAS, rq->captures[0]);
    identity_drop(rq, IDENTITY_FACTOR, factor_of(rq, alias));
    take_out(rq, entity, alias);
    json_set_int(rq->arena, entity, "update", request_now_ns(rq));
    identity_put(rq, IDENTITY_ENTITY, json_get_string(entity, "id"), entity);
    return CF_OK;
}

cf_status identity_alias_list(struct request *rq, struct cf_error *err)
{
    CF_TRY(identity_list(rq, IDENTITY_ALIAS, NULL, err));
    struct json *info = json_object_new(rq->arena), *keys = json_get(rq->response.data, "keys");
    for (size_t i = 0; i < json_count(keys); i++) {
        struct json *entity, *alias;
        struct cf_slice id;
        cf_ignore(!json_string(json_item(keys, i), &id), "names are strings");
        if (find(rq, id, &entity, &alias, err) == CF_OK) {
            json_object_set(rq->arena, info, id,
                            identity_alias_json(rq, alias, json_get_string(entity, "id")));
        }
    }
    json_set(rq->arena, rq->response.data, "key_info", info);
    return CF_OK;
}

/* What a performance secondary asks for before a login of its own goes on (core/ensure.c): for clusters, not
 * for clients. */
cf_status identity_ensure_write(struct request *rq, struct cf_error *err)
{
    struct identity_alias alias = {0};
    struct json *metadata;
    struct cf_slice id, *groups = NULL;
    if (rq->foreign == NULL || !rq->foreign->is_root) {
        return cf_fail(err, CF_NOT_FOUND, "1 error occurred:\n\t* unsupported path\n\n");
    }
    CF_TRY(identity_read_map(rq, "metadata", &metadata, err));
    CF_TRY(identity_read_name(rq, &alias.name, err));
    CF_TRY(request_string(rq, "mount_accessor", &alias.accessor, err));
    CF_TRY(request_string(rq, "mount_type", &alias.type, err));
    CF_TRY(request_string(rq, "mount_path", &alias.path, err));
    CF_TRY(request_bool(rq, "local", false, &alias.is_local, err));
    if (alias.name.size == 0 || alias.accessor.size == 0) {
        return cf_fail(err, CF_INVALID, "'mount_accessor' and 'name' must be provided");
    }
    alias.metadata = metadata;
    alias.has_groups = request_field(rq, "groups") != NULL;
    CF_TRY(request_list(rq, "groups", false, &groups, &alias.group_count, err));
    alias.groups = groups;
    return identity_ensure(rq, &alias, &id, err);
}
