/* node/core/identity.c: from an entity's id to its policies and facts, through the cache. */
#include "node/core/identity.h"

#include <stdlib.h>

#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/core/cache.h"
#include "node/core/namespace.h"

/* Groups that one entity may be in, those around its own included: what is beyond does not count, and is
 * refused where groups are written. */
#define GROUPS_MAX ((size_t)4096)

/* ---- names ---- */

struct cf_slice identity_fold(struct arena *arena, struct cf_slice name)
{
    uint8_t *folded = arena_alloc_raw(arena, name.size + 1);
    for (size_t i = 0; i < name.size; i++) {
        uint8_t byte = name.data[i];
        folded[i] = byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte - 'A' + 'a') : byte;
    }
    return cf_slice_of(folded, name.size);
}

struct cf_slice identity_factor(struct arena *arena, struct cf_slice accessor, struct cf_slice name)
{
    struct cf_slice folded = identity_fold(arena, name);
    return cf_slice_str(arena_printf(arena, "%.*s/%.*s", CF_SHOW(accessor), CF_SHOW(folded)));
}

static const struct mount *mount_of(const struct view *view, uint32_t ns)
{
    const struct namespace *whose = namespace_by_number(view->namespaces, ns);
    return whose != NULL ? mount_table_find(whose->mounts, CF_SLICE("identity/")) : NULL;
}

static struct key data_key(struct arena *arena, const struct mount *mount, const char *folder,
                           struct cf_slice name)
{
    CF_BUF(whole) = {0};
    cf_buf_add_str(&whole, AREA_DATA);
    cf_buf_add(&whole, mount->uuid.bytes, sizeof(mount->uuid.bytes));
    cf_buf_add_byte(&whole, '/');
    cf_buf_add_str(&whole, folder);
    cf_buf_add_slice(&whole, name);
    return (struct key){mount->class, mount->ns, arena_copy(arena, cf_buf_slice(&whole))};
}

cf_status identity_key(const struct request *rq, const char *folder, struct cf_slice name,
                       struct key *ret, struct cf_error *err)
{
    const struct mount *mount = mount_of(rq->view, rq->ns);
    if (mount == NULL) {
        return cf_fail(err, CF_INTERNAL, "internal error");
    }
    *ret = data_key(rq->arena, mount, folder, name);
    return CF_OK;
}

/* ---- lists of texts ---- */

bool identity_list_has(const struct json *list, struct cf_slice text)
{
    struct cf_slice item;
    for (size_t i = 0; i < json_count(list); i++) {
        if (json_string(json_item(list, i), &item) && cf_slice_eq(item, text)) {
            return true;
        }
    }
    return false;
}

void identity_list_add(struct arena *arena, struct json *list, struct cf_slice text)
{
    if (!identity_list_has(list, text)) {
        json_array_add(arena, list, json_from_string(arena, text));
    }
}

struct json *identity_list_without(struct arena *arena, const struct json *list,
                                   struct cf_slice text)
{
    struct json *left = json_array_new(arena);
    struct cf_slice item;
    for (size_t i = 0; i < json_count(list); i++) {
        if (json_string(json_item(list, i), &item) && !cf_slice_eq(item, text)) {
            json_array_add(arena, left, json_from_string(arena, item));
        }
    }
    return left;
}

/* ---- the cached object ---- */

struct cached {
    struct cache_object object;
    struct arena *arena;
    struct identity identity;
    uint64_t *keys;
    size_t key_count, key_room;
};

static void cached_destroy(struct cache_object *object)
{
    struct cached *cached = cf_container(object, struct cached, object);
    arena_free(cached->arena);
    cf_free(cached->keys);
    cf_free(cached);
}

static void unref_cached(void *object)
{
    cache_object_unref(object);
}

/* A record as of the view, in the object's arena; remembered as read. NULL when absent. */
static cf_status read_record(const struct view *view, const struct mount *mount,
                             struct cached *cached, const char *folder, struct cf_slice name,
                             struct json **ret, struct cf_error *err)
{
    struct key key = data_key(cached->arena, mount, folder, name);
    struct cf_slice record;
    if (cached->key_count == cached->key_room) {
        cached->key_room = 2 * cached->key_room + 8;
        cached->keys = cf_realloc(cached->keys, cached->key_room * sizeof(*cached->keys));
    }
    cached->keys[cached->key_count++] = key_hash(key);
    *ret = NULL;
    cf_status status = view_get(view, key, cached->arena, &record, NULL, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    return record_decode(record, cached->arena, ret, err);
}

static int by_bytes(const void *a, const void *b)
{
    return cf_slice_cmp(*(const struct cf_slice *)a, *(const struct cf_slice *)b);
}

static void take_policies(struct cached *cached, const struct json *policies)
{
    struct identity *identity = &cached->identity;
    size_t count = json_count(policies);
    struct cf_slice *all =
        arena_alloc(cached->arena, (identity->policy_count + count + 1) * sizeof(*all));
    if (identity->policy_count != 0) {
        memcpy(all, identity->policies, identity->policy_count * sizeof(*all));
    }
    for (size_t i = 0; i < count; i++) {
        struct cf_slice name;
        if (json_string(json_item(policies, i), &name) && !cf_slice_is(name, "root")) {
            all[identity->policy_count++] = name;
        }
    }
    identity->policies = all;
}

static void sort_policies(struct identity *identity)
{
    size_t count = 0;
    if (identity->policy_count == 0) {
        return;
    }
    qsort(identity->policies, identity->policy_count, sizeof(*identity->policies), by_bytes);
    for (size_t i = 0; i < identity->policy_count; i++) {
        if (count == 0 || !cf_slice_eq(identity->policies[count - 1], identity->policies[i])) {
            identity->policies[count++] = identity->policies[i];
        }
    }
    identity->policy_count = count;
}

/* Groups to visit, each once. */
struct groups {
    struct cf_slice *ids;
    size_t count;
    struct cf_map *known;
};

static void add_groups(struct groups *groups, const struct json *ids)
{
    for (size_t i = 0; i < json_count(ids) && groups->count < GROUPS_MAX; i++) {
        struct cf_slice id;
        if (json_string(json_item(ids, i), &id) && cf_map_get(groups->known, id) == NULL) {
            cf_map_put(groups->known, id, groups);
            groups->ids[groups->count++] = id;
        }
    }
}

static void take_group(struct cached *cached, struct json *names, struct json *ids,
                       const struct json *group)
{
    struct arena *arena = cached->arena;
    struct json *shown = json_object_new(arena);
    struct cf_slice id = json_get_string(group, "id"), name = json_get_string(group, "name");
    json_set_string(arena, shown, "id", id);
    json_set_string(arena, shown, "name", name);
    json_set(arena, shown, "metadata", json_get(group, "metadata"));
    json_object_set(arena, names, name, shown);
    json_object_set(arena, ids, id, shown);
    take_policies(cached, json_get(group, "policies"));
}

static cf_status read_groups(const struct view *view, const struct mount *mount,
                             struct cached *cached, const struct json *direct,
                             struct json *facts, struct cf_error *err)
{
    struct arena *arena = cached->arena;
    CF_OWNED(cf_map) known = cf_map_new();
    struct groups groups = {arena_alloc(arena, GROUPS_MAX * sizeof(struct cf_slice)), 0, known};
    struct json *names = json_object_new(arena), *ids = json_object_new(arena);
    add_groups(&groups, direct);
    for (size_t i = 0; i < groups.count; i++) {
        struct json *group;
        CF_TRY(read_record(view, mount, cached, IDENTITY_GROUP, groups.ids[i], &group, err));
        if (group != NULL) {
            take_group(cached, names, ids, group);
            add_groups(&groups, json_get(group, "parents"));
        }
    }
    struct json *shown = json_object_new(arena);
    json_set(arena, shown, "names", names);
    json_set(arena, shown, "ids", ids);
    json_set(arena, facts, "groups", shown);
    return CF_OK;
}

static struct json *entity_facts(struct arena *arena, const struct json *entity)
{
    struct json *shown = json_object_new(arena), *aliases = json_object_new(arena);
    const struct json *list = json_get(entity, "aliases");
    json_set_string(arena, shown, "id", json_get_string(entity, "id"));
    json_set_string(arena, shown, "name", json_get_string(entity, "name"));
    json_set(arena, shown, "metadata", json_get(entity, "metadata"));
    for (size_t i = 0; i < json_count(list); i++) {
        struct json *alias = json_item(list, i);
        json_object_set(arena, aliases, json_get_string(alias, "mount_accessor"), alias);
    }
    json_set(arena, shown, "aliases", aliases);
    return shown;
}

static cf_status fill(const struct view *view, uint32_t ns, struct cf_slice id,
                      struct cached *cached, struct cf_error *err)
{
    const struct mount *mount = mount_of(view, ns);
    struct identity *identity = &cached->identity;
    struct json *entity = NULL, *merged = NULL;
    identity->id = arena_copy(cached->arena, id);
    identity->facts = json_object_new(cached->arena);
    if (mount == NULL) {
        return CF_OK;
    }
    CF_TRY(read_record(view, mount, cached, IDENTITY_ENTITY, id, &entity, err));
    if (entity == NULL) {
        CF_TRY(read_record(view, mount, cached, IDENTITY_MERGED, id, &merged, err));
    }
    if (merged != NULL) {
        identity->id = json_get_string(merged, "to");
        CF_TRY(read_record(view, mount, cached, IDENTITY_ENTITY, identity->id, &entity, err));
    }
    if (entity == NULL) {
        return CF_OK;
    }
    identity->exists = true;
    cf_ignore(!json_bool(json_get(entity, "disabled"), &identity->is_disabled), "absent: no");
    take_policies(cached, json_get(entity, "policies"));
    json_set(cached->arena, identity->facts, "entity", entity_facts(cached->arena, entity));
    CF_TRY(read_groups(view, mount, cached, json_get(entity, "groups"), identity->facts, err));
    sort_policies(identity);
    return CF_OK;
}

cf_status identity_of(struct txn *txn, struct arena *arena, uint32_t ns, struct cf_slice entity_id,
                      const struct identity **ret, struct cf_error *err)
{
    const struct view *view = txn_view(txn);
    uint8_t *name = arena_alloc_raw(arena, 4 + entity_id.size);
    cf_put_u32(name, ns);
    memcpy(name + 4, entity_id.data, entity_id.size);
    struct cf_slice cache_name = cf_slice_of(name, 4 + entity_id.size);
    struct cache_object *hit = cache_get(view->cache, CACHE_IDENTITY, cache_name, view->index);
    if (hit == NULL) {
        struct cached *cached = cf_new(struct cached);
        cache_object_init(&cached->object, cached_destroy);
        cached->arena = arena_new(4096);
        cf_status status = fill(view, ns, entity_id, cached, err);
        cached->object.keys = cached->keys;
        cached->object.key_count = cached->key_count;
        cached->object.index = view->index;
        cached->identity.keys = cached->keys;
        cached->identity.key_count = cached->key_count;
        if (status != CF_OK) {
            cache_object_unref(&cached->object);
            return status;
        }
        cache_put(view->cache, CACHE_IDENTITY, cache_name, &cached->object);
        hit = &cached->object;
    }
    const struct identity *identity = &cf_container(hit, struct cached, object)->identity;
    for (size_t i = 0; i < identity->key_count; i++) {
        txn_note_read(txn, identity->keys[i]);
    }
    txn_keep(txn, hit, unref_cached);
    *ret = identity;
    return CF_OK;
}
