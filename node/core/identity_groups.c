/* node/core/identity_groups.c: the external groups that a login is in: joined and left as the auth method says. */
#include "node/core/identity.h"

#include "node/core/view.h"

static cf_status get(struct request *rq, const char *folder, struct cf_slice name,
                     struct json **ret, struct cf_error *err)
{
    struct key key;
    struct cf_slice record;
    CF_TRY(identity_key(rq, folder, name, &key, err));
    CF_TRY(txn_get(rq->txn, key, &record, err));
    return record_decode(record, rq->arena, ret, err);
}

static cf_status put_group(struct request *rq, struct json *group, struct cf_error *err)
{
    struct key key;
    json_set_int(rq->arena, group, "update", request_now_ns(rq));
    CF_TRY(identity_key(rq, IDENTITY_GROUP, json_get_string(group, "id"), &key, err));
    txn_put(rq->txn, key, record_encode(rq->arena, group));
    return CF_OK;
}

/* Is its membership decided by logins at that mount? */
static bool is_of_mount(const struct json *group, struct cf_slice accessor)
{
    const struct json *alias = json_get(group, "alias");
    return cf_slice_is(json_get_string(group, "type"), "external") && json_is(alias, JSON_OBJECT) &&
           cf_slice_eq(json_get_string(alias, "mount_accessor"), accessor);
}

/* The groups behind the method's names, by id. */
static cf_status find_named(struct request *rq, const struct identity_alias *from,
                            struct json **ret, struct cf_error *err)
{
    *ret = json_array_new(rq->arena);
    for (size_t i = 0; i < from->group_count; i++) {
        struct json *pointer;
        struct cf_slice factor = identity_factor(rq->arena, from->accessor, from->groups[i]);
        cf_status status = get(rq, IDENTITY_GROUP_FACTOR, factor, &pointer, err);
        if (status == CF_NOT_FOUND) {
            continue;
        }
        CF_TRY(status);
        identity_list_add(rq->arena, *ret, json_get_string(pointer, "group"));
    }
    return CF_OK;
}

static struct json *list_of(struct request *rq, struct json *object, const char *name)
{
    struct json *list = json_get(object, name);
    if (!json_is(list, JSON_ARRAY)) {
        list = json_array_new(rq->arena);
        json_set(rq->arena, object, name, list);
    }
    return list;
}

static cf_status leave(struct request *rq, struct json *entity, const struct identity_alias *from,
                       const struct json *wanted, bool writes, bool *changed, struct cf_error *err)
{
    struct json *before = list_of(rq, entity, "groups"), *after = json_array_new(rq->arena);
    struct cf_slice me = json_get_string(entity, "id");
    for (size_t i = 0; i < json_count(before); i++) {
        struct json *group;
        struct cf_slice id = CF_SLICE_EMPTY;
        cf_ignore(!json_string(json_item(before, i), &id), "a list of texts");
        cf_status status = get(rq, IDENTITY_GROUP, id, &group, err);
        if (status != CF_OK && status != CF_NOT_FOUND) {
            return status;
        }
        if (status == CF_NOT_FOUND || !is_of_mount(group, from->accessor) ||
            identity_list_has(wanted, id)) {
            identity_list_add(rq->arena, after, id);
            continue;
        }
        *changed = true;
        json_set(rq->arena, group, "entities",
                 identity_list_without(rq->arena, json_get(group, "entities"), me));
        if (writes) {
            CF_TRY(put_group(rq, group, err));
        }
    }
    json_set(rq->arena, entity, "groups", after);
    return CF_OK;
}

static cf_status join(struct request *rq, struct json *entity, const struct identity_alias *from,
                      const struct json *wanted, bool writes, bool *changed, struct cf_error *err)
{
    struct json *mine = list_of(rq, entity, "groups");
    for (size_t i = 0; i < json_count(wanted); i++) {
        struct json *group;
        struct cf_slice id = CF_SLICE_EMPTY;
        cf_ignore(!json_string(json_item(wanted, i), &id), "a list of texts");
        if (identity_list_has(mine, id)) {
            continue;
        }
        cf_status status = get(rq, IDENTITY_GROUP, id, &group, err);
        if (status == CF_NOT_FOUND || (status == CF_OK && !is_of_mount(group, from->accessor))) {
            continue;
        }
        CF_TRY(status);
        *changed = true;
        identity_list_add(rq->arena, mine, id);
        identity_list_add(rq->arena, list_of(rq, group, "entities"), json_get_string(entity, "id"));
        if (writes) {
            CF_TRY(put_group(rq, group, err));
        }
    }
    return CF_OK;
}

cf_status identity_refresh_groups(struct request *rq, struct json *entity,
                                  const struct identity_alias *alias, bool writes,
                                  bool *ret_entity_changed, struct cf_error *err)
{
    struct json *wanted;
    *ret_entity_changed = false;
    if (!alias->has_groups) {
        return CF_OK;
    }
    CF_TRY(find_named(rq, alias, &wanted, err));
    CF_TRY(leave(rq, entity, alias, wanted, writes, ret_entity_changed, err));
    return join(rq, entity, alias, wanted, writes, ret_entity_changed, err);
}
