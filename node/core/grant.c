/* node/core/grant.c: what a login's token is made of, as an object. */
#include "node/core/grant.h"

static struct json *list_of(struct arena *arena, const struct cf_slice *items, size_t count)
{
    struct json *list = json_array_new(arena);
    for (size_t i = 0; i < count; i++) {
        json_array_add(arena, list, json_from_string(arena, items[i]));
    }
    return list;
}

static void set_object(struct arena *arena, struct json *to, const char *name, const struct json *object)
{
    json_set(arena, to, name, object != NULL ? json_copy(arena, object) : NULL);
}

struct json *grant_of(struct arena *arena, const struct auth_result *auth)
{
    struct json *grant = json_object_new(arena);
    json_set_string(arena, grant, "display_name", auth->display_name);
    json_set(arena, grant, "policies", list_of(arena, auth->policies, auth->policy_count));
    set_object(arena, grant, "metadata", auth->metadata);
    json_set_string(arena, grant, "alias", auth->alias_name);
    json_set_string(arena, grant, "role", auth->role);
    json_set_bool(arena, grant, "has_groups", auth->has_groups);
    json_set(arena, grant, "groups", list_of(arena, auth->groups, auth->group_count));
    set_object(arena, grant, "internal", auth->internal);
    json_set_int(arena, grant, "ttl", auth->ttl_s);
    json_set_int(arena, grant, "max_ttl", auth->max_ttl_s);
    json_set_int(arena, grant, "explicit_max_ttl", auth->explicit_max_ttl_s);
    json_set_int(arena, grant, "period", auth->period_s);
    json_set_int(arena, grant, "num_uses", auth->num_uses);
    json_set(arena, grant, "bound_cidrs", list_of(arena, auth->bound_cidrs, auth->bound_cidr_count));
    json_set_bool(arena, grant, "no_default_policy", auth->no_default_policy);
    json_set_bool(arena, grant, "not_renewable", auth->not_renewable);
    json_set_bool(arena, grant, "batch", auth->is_batch);
    return grant;
}

static bool read_list(struct arena *arena, const struct json *grant, const char *name,
                      const struct cf_slice **ret, size_t *ret_count)
{
    const struct json *list = json_get(grant, name);
    size_t count = json_count(list);
    struct cf_slice *items = arena_alloc(arena, (count + 1) * sizeof(*items));
    if (!json_is(list, JSON_ARRAY)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!json_string(json_item(list, i), &items[i])) {
            return false;
        }
    }
    *ret = items;
    *ret_count = count;
    return true;
}

static bool read_object(struct json *object, struct json **ret)
{
    *ret = json_is(object, JSON_OBJECT) ? object : NULL;
    return *ret != NULL || object == NULL || json_is(object, JSON_NULL);
}

cf_status grant_read(struct arena *arena, const struct json *grant, struct auth_result **ret,
                     struct cf_error *err)
{
    struct auth_result *auth = arena_new_object(arena, struct auth_result);
    if (!json_string(json_get(grant, "display_name"), &auth->display_name) ||
        !read_list(arena, grant, "policies", &auth->policies, &auth->policy_count) ||
        !read_object(json_get(grant, "metadata"), &auth->metadata) ||
        !json_string(json_get(grant, "alias"), &auth->alias_name) ||
        !json_string(json_get(grant, "role"), &auth->role) ||
        !json_bool(json_get(grant, "has_groups"), &auth->has_groups) ||
        !read_list(arena, grant, "groups", &auth->groups, &auth->group_count) ||
        !read_object(json_get(grant, "internal"), &auth->internal) ||
        !json_int64(json_get(grant, "ttl"), &auth->ttl_s) ||
        !json_int64(json_get(grant, "max_ttl"), &auth->max_ttl_s) ||
        !json_int64(json_get(grant, "explicit_max_ttl"), &auth->explicit_max_ttl_s) ||
        !json_int64(json_get(grant, "period"), &auth->period_s) ||
        !json_int64(json_get(grant, "num_uses"), &auth->num_uses) ||
        !read_list(arena, grant, "bound_cidrs", &auth->bound_cidrs, &auth->bound_cidr_count) ||
        !json_bool(json_get(grant, "no_default_policy"), &auth->no_default_policy) ||
        !json_bool(json_get(grant, "not_renewable"), &auth->not_renewable) ||
        !json_bool(json_get(grant, "batch"), &auth->is_batch)) {
        return cf_fail(err, CF_CORRUPT, "the primary's answer to a login is malformed");
    }
    *ret = auth;
    return CF_OK;
}

struct json *grant_in(struct arena *arena, struct cf_slice body)
{
    struct json *answer, *grant = NULL;
    if (json_parse(arena, body, NULL, &answer, NULL) == CF_OK) {
        grant = json_get(json_get(answer, "data"), "grant");
    }
    return json_is(grant, JSON_OBJECT) ? grant : json_object_new(arena);
}
