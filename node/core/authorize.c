/* node/core/authorize.c: from a token's policy names to a compiled ACL, through the caches. */
#include <stdlib.h>

#include "node/base/memory.h"
#include "node/core/core_int.h"
#include "node/core/identity.h"
#include "node/core/policy.h"
#include "node/core/token.h"

struct cached_policy {
    struct cache_object object;
    struct policy *policy; /* NULL: there is none of that name */
    uint64_t key;
};

struct cached_acl {
    struct cache_object object;
    struct acl *acl;
    uint64_t keys[]; /* of all its policies */
};

static void cached_policy_destroy(struct cache_object *object)
{
    struct cached_policy *cached = cf_container(object, struct cached_policy, object);
    policy_unref(cached->policy);
    cf_free(cached);
}

static void cached_acl_destroy(struct cache_object *object)
{
    struct cached_acl *cached = cf_container(object, struct cached_acl, object);
    acl_unref(cached->acl);
    cf_free(cached);
}

static struct key policy_key(struct arena *arena, uint32_t ns, struct cf_slice name)
{
    return (struct key){
        CLASS_REPLICATED, ns,
        cf_slice_str(arena_printf(arena, "%s%.*s", AREA_POLICY, CF_SHOW(name)))};
}

static cf_status load_policy(const struct view *view, struct arena *arena, struct cf_slice name,
                             struct key key, struct policy **ret, struct cf_error *err)
{
    struct cf_slice record;
    struct json *json;
    *ret = NULL;
    if (cf_slice_is(name, "response-wrapping")) {
        return policy_parse(name, cf_slice_str(policy_wrapping_text), ret, err);
    }
    cf_status status = view_get(view, key, arena, &record, NULL, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK; /* names of absent policies are allowed and grant nothing */
    }
    CF_TRY(status);
    CF_TRY(record_decode(record, arena, &json, err));
    return policy_parse(name, json_get_string(json, "policy"), ret, err);
}

/* The compiled policy with a reference, or NULL in *ret. */
static cf_status policy_of(const struct view *view, struct arena *arena, struct cf_slice name,
                           struct key key, struct policy **ret, struct cf_error *err)
{
    CF_BUF(cache_name) = {0};
    cf_buf_add_u32(&cache_name, key.ns);
    cf_buf_add_slice(&cache_name, name);
    struct cache_object *hit =
        cache_get(view->cache, CACHE_POLICY, cf_buf_slice(&cache_name), view->index);
    struct cached_policy *cached;
    if (hit != NULL) {
        cached = cf_container(hit, struct cached_policy, object);
    } else {
        cached = cf_new(struct cached_policy);
        cache_object_init(&cached->object, cached_policy_destroy);
        cached->key = key_hash(key);
        cached->object.keys = &cached->key;
        cached->object.key_count = 1;
        cached->object.index = view->index;
        cf_status status = load_policy(view, arena, name, key, &cached->policy, err);
        if (status != CF_OK) {
            cache_object_unref(&cached->object);
            return status;
        }
        cache_put(view->cache, CACHE_POLICY, cf_buf_slice(&cache_name), &cached->object);
    }
    *ret = cached->policy != NULL ? policy_ref(cached->policy) : NULL;
    cache_object_unref(&cached->object);
    return CF_OK;
}

static cf_status make_acl(const struct view *view, struct arena *arena,
                          const struct token_entry *entry, const struct identity *identity,
                          struct cached_acl *cached, struct cf_error *err)
{
    size_t own = entry->policy_count;
    size_t all = own + (identity != NULL ? identity->policy_count : 0);
    struct policy **policies = arena_alloc(arena, (all + 1) * sizeof(*policies));
    size_t count = 0;
    bool is_root = false;
    cf_status status = CF_OK;
    for (size_t i = 0; i < all && status == CF_OK; i++) {
        struct cf_slice name = i < own ? entry->policies[i] : identity->policies[i - own];
        struct key key = policy_key(arena, entry->ns, name);
        cached->keys[cached->object.key_count++] = key_hash(key);
        if (i < own && cf_slice_is(name, "root")) {
            is_root = true;
            continue;
        }
        status = policy_of(view, arena, name, key, &policies[count], err);
        count += status == CF_OK && policies[count] != NULL;
    }
    if (status == CF_OK) {
        status = acl_new(policies, count, is_root, identity != NULL ? identity->facts : NULL,
                         &cached->acl, err);
    }
    for (size_t i = 0; i < count; i++) {
        policy_unref(policies[i]);
    }
    return status;
}

cf_status authorize_acl(struct txn *txn, struct arena *arena, const struct token_entry *entry,
                        struct acl **ret, struct cf_error *err)
{
    const struct view *view = txn_view(txn);
    const struct identity *identity = NULL;
    CF_BUF(name) = {0};
    cf_buf_add_u32(&name, entry->ns);
    for (size_t i = 0; i < entry->policy_count; i++) {
        cf_buf_add_slice(&name, entry->policies[i]);
        cf_buf_add_byte(&name, 0);
    }
    if (entry->entity_id.size != 0) {
        CF_TRY(identity_of(txn, arena, entry->ns, entry->entity_id, &identity, err));
        if (!identity->exists || identity->is_disabled) {
            return cf_fail(err, CF_DENIED, "permission denied");
        }
        cf_buf_add_byte(&name, 1); /* no name of a policy begins so */
        cf_buf_add_slice(&name, entry->entity_id);
    }
    struct cache_object *hit =
        cache_get(view->cache, CACHE_ACL, cf_buf_slice(&name), view->index);
    struct cached_acl *cached;
    if (hit != NULL) {
        cached = cf_container(hit, struct cached_acl, object);
    } else {
        size_t keys = entry->policy_count;
        keys += identity != NULL ? identity->policy_count + identity->key_count : 0;
        cached = cf_zalloc(sizeof(*cached) + (keys + 1) * sizeof(uint64_t));
        cache_object_init(&cached->object, cached_acl_destroy);
        cached->object.keys = cached->keys;
        cached->object.index = view->index;
        cf_status status = make_acl(view, arena, entry, identity, cached, err);
        for (size_t i = 0; identity != NULL && i < identity->key_count; i++) {
            cached->keys[cached->object.key_count++] = identity->keys[i];
        }
        if (status != CF_OK) {
            cache_object_unref(&cached->object);
            return status;
        }
        cache_put(view->cache, CACHE_ACL, cf_buf_slice(&name), &cached->object);
    }
    for (size_t i = 0; i < cached->object.key_count; i++) {
        txn_note_read(txn, cached->keys[i]); /* no write lands after a changed policy */
    }
    *ret = acl_ref(cached->acl);
    cache_object_unref(&cached->object);
    return CF_OK;
}

cf_status token_has_sudo(struct request *rq, struct cf_slice path, bool *ret, struct cf_error *err)
{
    struct acl *acl;
    *ret = false;
    if (!request_policy_path(rq, rq->caller, path, &path)) {
        return CF_OK;
    }
    CF_TRY(authorize_acl(rq->txn, rq->arena, rq->caller, &acl, err));
    *ret = acl_is_root(acl) || (acl_capabilities(acl, path) & CAPABILITY_SUDO) != 0;
    acl_unref(acl);
    return CF_OK;
}

cf_status token_allows(struct request *rq, const struct token_entry *entry, struct cf_slice path,
                       enum operation operation, bool needs_sudo, bool *ret, struct cf_error *err)
{
    struct acl *acl;
    *ret = false;
    if (!request_policy_path(rq, entry, path, &path)) {
        return CF_OK;
    }
    CF_TRY(authorize_acl(rq->txn, rq->arena, entry, &acl, err));
    struct acl_request question = {
        .path = path, .operation = operation, .body = rq->body, .needs_sudo = needs_sudo};
    *ret = acl_allows(acl, &question);
    acl_unref(acl);
    return CF_OK;
}
