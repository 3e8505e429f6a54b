/* node/core/token_record.c: token entries as records, and the shared copies of them in the cache. */
#include "node/core/token_int.h"

#include "node/base/memory.h"
#include "node/core/cache.h"

static struct json *list_of(struct arena *arena, const struct cf_slice *items, size_t count)
{
    struct json *list = json_array_new(arena);
    for (size_t i = 0; i < count; i++) {
        json_array_add(arena, list, json_from_borrowed(arena, items[i]));
    }
    return list;
}

static void set_hex(struct arena *arena, struct json *record, const char *key,
                    const uint8_t bytes[TOKEN_KEY_SIZE])
{
    CF_BUF(hex) = {0};
    encode_hex(&hex, cf_slice_of(bytes, TOKEN_KEY_SIZE));
    json_set_string(arena, record, key, cf_buf_slice(&hex));
}

struct cf_slice token_to_record(struct arena *arena, const struct token_entry *entry)
{
    struct json *record = json_object_new(arena);
    if (entry->has_parent) {
        set_hex(arena, record, "parent", entry->parent);
    }
    if (entry->ns != NAMESPACE_ROOT) {
        json_set_int(arena, record, "ns", entry->ns);
        json_set_int(arena, record, "parent_ns", entry->parent_ns);
    }
    json_set_string(arena, record, "accessor", entry->accessor);
    json_set_string(arena, record, "display_name", entry->display_name);
    json_set_string(arena, record, "path", entry->path);
    json_set_string(arena, record, "role", entry->role);
    json_set_string(arena, record, "type", entry->type);
    json_set_string(arena, record, "entity_id", entry->entity_id);
    if (entry->login_role.size != 0) {
        json_set_string(arena, record, "login_role", entry->login_role);
    }
    json_set(arena, record, "policies", list_of(arena, entry->policies, entry->policy_count));
    json_set(arena, record, "bound_cidrs",
             list_of(arena, entry->bound_cidrs, entry->bound_cidr_count));
    json_set(arena, record, "metadata", entry->metadata);
    json_set(arena, record, "internal", entry->internal);
    json_set_int(arena, record, "creation", entry->creation_ns);
    json_set_int(arena, record, "last_renewal", entry->last_renewal_ns);
    json_set_int(arena, record, "expire", entry->expire_ns);
    json_set_int(arena, record, "creation_ttl", entry->creation_ttl_s);
    json_set_int(arena, record, "explicit_max_ttl", entry->explicit_max_ttl_s);
    json_set_int(arena, record, "period", entry->period_s);
    json_set_int(arena, record, "max_ttl", entry->max_ttl_s);
    json_set_int(arena, record, "num_uses", entry->num_uses);
    json_set_bool(arena, record, "root", entry->is_root);
    json_set_bool(arena, record, "renewable", entry->is_renewable);
    json_set_bool(arena, record, "wrapping", entry->is_wrapping);
    char uuid[ENCODE_UUID_TEXT + 1];
    encode_uuid_text(entry->mount_uuid, uuid);
    json_set_text(arena, record, "mount", uuid);
    return record_encode(arena, record);
}

static struct cf_slice *get_list(struct arena *arena, const struct json *record, const char *key,
                                 size_t *count)
{
    const struct json *list = json_get(record, key);
    *count = json_count(list);
    struct cf_slice *items = arena_alloc(arena, (*count + 1) * sizeof(*items));
    for (size_t i = 0; i < *count; i++) {
        cf_ignore(!json_string(json_item(list, i), &items[i]), "we wrote strings");
    }
    return items;
}

cf_status token_from_record(struct arena *arena, uint32_t ns, const uint8_t key[TOKEN_KEY_SIZE],
                            struct cf_slice bytes, struct token_entry *ret, struct cf_error *err)
{
    struct json *record;
    CF_TRY(record_decode(bytes, arena, &record, err));
    *ret = (struct token_entry){0};
    memcpy(ret->key, key, TOKEN_KEY_SIZE);
    ret->ns = (uint32_t)json_get_int(record, "ns");
    ret->parent_ns = (uint32_t)json_get_int(record, "parent_ns");
    if (ret->ns != ns) {
        return cf_fail(err, CF_CORRUPT, "token record is of another namespace");
    }
    struct cf_slice parent = json_get_string(record, "parent");
    if (parent.size != 0) {
        CF_BUF(raw) = {.max = TOKEN_KEY_SIZE};
        CF_TRY(encode_hex_decode(&raw, parent, err));
        if (raw.size != TOKEN_KEY_SIZE) {
            return cf_fail(err, CF_CORRUPT, "token record is malformed");
        }
        memcpy(ret->parent, raw.data, TOKEN_KEY_SIZE);
        ret->has_parent = true;
    }
    ret->accessor = json_get_string(record, "accessor");
    ret->display_name = json_get_string(record, "display_name");
    ret->path = json_get_string(record, "path");
    ret->role = json_get_string(record, "role");
    ret->type = json_get_string(record, "type");
    ret->entity_id = json_get_string(record, "entity_id");
    ret->login_role = json_get_string(record, "login_role");
    ret->policies = get_list(arena, record, "policies", &ret->policy_count);
    ret->bound_cidrs = get_list(arena, record, "bound_cidrs", &ret->bound_cidr_count);
    ret->metadata = json_get_object(record, "metadata");
    ret->internal = json_get_object(record, "internal");
    ret->creation_ns = json_get_int(record, "creation");
    ret->last_renewal_ns = json_get_int(record, "last_renewal");
    ret->expire_ns = json_get_int(record, "expire");
    ret->creation_ttl_s = json_get_int(record, "creation_ttl");
    ret->explicit_max_ttl_s = json_get_int(record, "explicit_max_ttl");
    ret->period_s = json_get_int(record, "period");
    ret->max_ttl_s = json_get_int(record, "max_ttl");
    ret->num_uses = json_get_int(record, "num_uses");
    ret->is_root = json_get_bool(record, "root");
    ret->is_renewable = json_get_bool(record, "renewable");
    ret->is_wrapping = json_get_bool(record, "wrapping");
    CF_TRY(encode_uuid_parse(json_get_string(record, "mount"), &ret->mount_uuid, err));
    ret->entry_hash = key_hash(token_record_key(arena, ns, key));
    return CF_OK;
}

/* ---- the cache ---- */

struct cached_token {
    struct cache_object object;
    struct arena *arena;
    struct token_entry entry;
    uint64_t key;
};

static void cached_token_destroy(struct cache_object *object)
{
    struct cached_token *cached = cf_container(object, struct cached_token, object);
    arena_free(cached->arena);
    cf_free(cached);
}

static void unref_cached(void *object)
{
    cache_object_unref(object);
}

cf_status token_load(struct txn *txn, struct arena *arena, uint32_t ns,
                     const uint8_t key[TOKEN_KEY_SIZE], const struct token_entry **ret,
                     struct cf_error *err)
{
    const struct view *view = txn_view(txn);
    struct cf_slice name = cf_slice_of(key, TOKEN_KEY_SIZE);
    struct key record_key = token_record_key(arena, ns, key);
    uint64_t hash = key_hash(record_key);
    struct cf_slice record;
    if (txn_writes_key(txn, record_key)) {
        /* This very request changed it: its own copy, not the shared one. */
        struct token_entry *own = arena_new_object(arena, struct token_entry);
        CF_TRY(txn_get(txn, record_key, &record, err));
        CF_TRY(token_from_record(arena, ns, key, record, own, err));
        *ret = own;
        return CF_OK;
    }
    txn_note_read(txn, hash);
    struct cache_object *hit = cache_get(view->cache, CACHE_TOKEN, name, view->index);
    if (hit == NULL) {
        CF_TRY(view_get(view, record_key, arena, &record, NULL, err));
        struct cached_token *cached = cf_new(struct cached_token);
        cache_object_init(&cached->object, cached_token_destroy);
        cached->arena = arena_new(3072); /* most tokens fit, in half of what two blocks take */
        cached->key = hash;
        cached->object.keys = &cached->key;
        cached->object.key_count = 1;
        cached->object.index = view->index;
        cf_status status = token_from_record(cached->arena, ns, key, record, &cached->entry, err);
        if (status != CF_OK) {
            cache_object_unref(&cached->object);
            return status;
        }
        cache_put(view->cache, CACHE_TOKEN, name, &cached->object);
        hit = &cached->object;
    }
    txn_keep(txn, hit, unref_cached);
    *ret = &cf_container(hit, struct cached_token, object)->entry;
    return CF_OK;
}
