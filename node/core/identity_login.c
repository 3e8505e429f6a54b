/* node/core/identity_login.c: the entity of a login: found by its alias, made where there is none. */
#include "node/core/identity.h"

#include "node/base/memory.h"
#include "node/core/namespace.h"
#include "node/format/encode.h"

struct cf_slice identity_new_id(struct request *rq)
{
    char text[ENCODE_UUID_TEXT + 1];
    encode_uuid_text(encode_uuid_new(rq->random), text);
    struct cf_slice id = arena_copy(rq->arena, cf_slice_str(text));
    return namespace_mark(rq->arena, rq->nspace, id);
}

struct cf_slice identity_new_name(struct request *rq, const char *kind)
{
    uint8_t random[4];
    cf_random_fill(rq->random, random, sizeof(random));
    return cf_slice_str(arena_printf(rq->arena, "%s_%02x%02x%02x%02x", kind, random[0], random[1],
                                     random[2], random[3]));
}

struct json *identity_new_entity(struct request *rq, struct cf_slice name)
{
    struct arena *arena = rq->arena;
    struct json *entity = json_object_new(arena);
    json_set_string(arena, entity, "id", identity_new_id(rq));
    json_set_string(arena, entity, "name",
                    name.size != 0 ? name : identity_new_name(rq, "entity"));
    json_set(arena, entity, "metadata", NULL);
    json_set(arena, entity, "policies", json_array_new(arena));
    json_set_bool(arena, entity, "disabled", false);
    json_set_int(arena, entity, "creation", request_now_ns(rq));
    json_set_int(arena, entity, "update", request_now_ns(rq));
    json_set(arena, entity, "groups", json_array_new(arena));
    json_set(arena, entity, "aliases", json_array_new(arena));
    return entity;
}

struct json *identity_new_alias(struct request *rq, const struct identity_alias *from)
{
    struct arena *arena = rq->arena;
    struct json *alias = json_object_new(arena);
    json_set_string(arena, alias, "id", identity_new_id(rq));
    json_set_string(arena, alias, "name", from->name);
    json_set_string(arena, alias, "mount_accessor", from->accessor);
    json_set_string(arena, alias, "mount_type", from->type);
    json_set_string(arena, alias, "mount_path", from->path);
    json_set_bool(arena, alias, "local", from->is_local);
    json_set(arena, alias, "metadata", from->metadata != NULL ? json_copy(arena, from->metadata) : NULL);
    json_set_int(arena, alias, "creation", request_now_ns(rq));
    json_set_int(arena, alias, "update", request_now_ns(rq));
    return alias;
}

static cf_status get(struct request *rq, const char *folder, struct cf_slice name,
                     struct json **ret, struct cf_error *err)
{
    struct key key;
    struct cf_slice record;
    CF_TRY(identity_key(rq, folder, name, &key, err));
    CF_TRY(txn_get(rq->txn, key, &record, err));
    return record_decode(record, rq->arena, ret, err);
}

static cf_status put(struct request *rq, const char *folder, struct cf_slice name,
                     const struct json *value, struct cf_error *err)
{
    struct key key;
    CF_TRY(identity_key(rq, folder, name, &key, err));
    txn_put(rq->txn, key, record_encode(rq->arena, value));
    return CF_OK;
}

static struct json *one(struct arena *arena, const char *name, struct cf_slice value)
{
    struct json *object = json_object_new(arena);
    json_set_string(arena, object, name, value);
    return object;
}

static struct json *find_alias(const struct json *entity, const struct identity_alias *wanted,
                               struct arena *arena)
{
    const struct json *aliases = json_get(entity, "aliases");
    struct cf_slice factor = identity_factor(arena, wanted->accessor, wanted->name);
    for (size_t i = 0; i < json_count(aliases); i++) {
        struct json *alias = json_item(aliases, i);
        if (cf_slice_eq(identity_factor(arena, json_get_string(alias, "mount_accessor"),
                                        json_get_string(alias, "name")),
                        factor)) {
            return alias;
        }
    }
    return NULL;
}

static bool same_metadata(const struct json *a, const struct json *b)
{
    bool has_a = json_is(a, JSON_OBJECT) && json_count(a) != 0;
    bool has_b = json_is(b, JSON_OBJECT) && json_count(b) != 0;
    return has_a == has_b && (!has_a || json_equal(a, b));
}

/* All but the entity's own record, which the caller writes. */
static cf_status make(struct request *rq, const struct identity_alias *from, struct cf_slice factor,
                      struct json **ret, struct cf_error *err)
{
    struct json *entity = identity_new_entity(rq, CF_SLICE_EMPTY);
    struct json *alias = identity_new_alias(rq, from);
    struct cf_slice id = json_get_string(entity, "id"), name = json_get_string(entity, "name");
    json_array_add(rq->arena, json_get(entity, "aliases"), alias);
    struct json *named = one(rq->arena, "id", id);
    json_set_string(rq->arena, named, "name", name);
    CF_TRY(put(rq, IDENTITY_NAME, identity_fold(rq->arena, name), named, err));
    CF_TRY(put(rq, IDENTITY_ALIAS, json_get_string(alias, "id"), one(rq->arena, "entity", id), err));
    *ret = entity;
    return put(rq, IDENTITY_FACTOR, factor, one(rq->arena, "entity", id), err);
}

/* Whether the alias has other metadata than the login brought; it has the login's afterwards. */
static bool take_metadata(struct request *rq, struct json *entity, const struct identity_alias *from)
{
    struct json *alias = find_alias(entity, from, rq->arena);
    if (alias == NULL || same_metadata(json_get(alias, "metadata"), from->metadata)) {
        return false;
    }
    json_set(rq->arena, alias, "metadata",
             from->metadata != NULL ? json_copy(rq->arena, from->metadata) : NULL);
    json_set_int(rq->arena, alias, "update", request_now_ns(rq));
    return true;
}

/* writes: whether anything may be; where it may not and has to, *ret_missing is set. */
static cf_status ensure(struct request *rq, const struct identity_alias *from, bool writes,
                        bool *ret_missing, struct cf_slice *ret, struct cf_error *err)
{
    struct cf_slice factor = identity_factor(rq->arena, from->accessor, from->name);
    struct json *record, *entity = NULL;
    bool disabled = false, changed = false, moved = false;
    cf_status status = get(rq, IDENTITY_FACTOR, factor, &record, err);
    if (status == CF_OK) {
        status = get(rq, IDENTITY_ENTITY, json_get_string(record, "entity"), &entity, err);
    }
    if (status == CF_NOT_FOUND && !writes) {
        *ret_missing = true;
        return CF_OK;
    }
    if (status == CF_NOT_FOUND) {
        CF_TRY(make(rq, from, factor, &entity, err));
        changed = true;
    } else {
        CF_TRY(status);
        cf_ignore(!json_bool(json_get(entity, "disabled"), &disabled), "absent: no");
        if (disabled) {
            return cf_fail(err, CF_DENIED, "permission denied");
        }
        changed = take_metadata(rq, entity, from);
    }
    CF_TRY(identity_refresh_groups(rq, entity, from, writes, &moved, err));
    changed = changed || moved;
    *ret = json_get_string(entity, "id");
    *ret_missing = changed && !writes;
    return changed && writes ? put(rq, IDENTITY_ENTITY, *ret, entity, err) : CF_OK;
}

cf_status identity_ensure(struct request *rq, const struct identity_alias *alias,
                          struct cf_slice *ret_entity_id, struct cf_error *err)
{
    bool is_missing = false;
    return ensure(rq, alias, true, &is_missing, ret_entity_id, err);
}

/* As identity/ensure takes it. */
static struct json *ensure_body(struct arena *arena, const struct identity_alias *alias)
{
    struct json *body = json_object_new(arena);
    json_set_string(arena, body, "mount_accessor", alias->accessor);
    json_set_string(arena, body, "mount_type", alias->type);
    json_set_string(arena, body, "mount_path", alias->path);
    json_set_string(arena, body, "name", alias->name);
    json_set_bool(arena, body, "local", alias->is_local);
    json_set(arena, body, "metadata",
             alias->metadata != NULL ? json_copy(arena, alias->metadata) : NULL);
    if (alias->has_groups) {
        struct json *groups = json_array_new(arena);
        for (size_t i = 0; i < alias->group_count; i++) {
            json_array_add(arena, groups, json_from_string(arena, alias->groups[i]));
        }
        json_set(arena, body, "groups", groups);
    }
    return body;
}

cf_status identity_login(struct request *rq, const struct identity_alias *alias,
                         struct cf_slice *ret_entity_id, struct cf_error *err)
{
    bool is_missing = false;
    bool writes = rq->view->role != ROLE_PERFORMANCE_SECONDARY;
    CF_TRY(ensure(rq, alias, writes, &is_missing, ret_entity_id, err));
    if (!is_missing) {
        return CF_OK;
    }
    rq->ensure = ensure_body(rq->arena, alias);
    return cf_fail(err, CF_UNAVAILABLE, "the primary does not answer, and has to know the entity of "
                                        "this login first: try again");
}
