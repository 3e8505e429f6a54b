/* node/core/mount.c: the mount table and its records. */
#include "node/core/mount.h"

#include <stdlib.h>

#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/core/folder.h"
#include "node/format/encode.h"

const struct engine_ops *engine_find(const struct engine_ops *const *all, enum engine_kind kind,
                                     struct cf_slice type)
{
    for (; *all != NULL; all++) {
        if ((*all)->kind == kind && cf_slice_is(type, (*all)->type)) {
            return *all;
        }
    }
    return NULL;
}

struct key mount_key(const struct mount *mount)
{
    return (struct key){.class = mount->is_local ? CLASS_CLUSTER : CLASS_REPLICATED,
                        .ns = mount->ns,
                        .name = mount->record_name};
}

static void finish(struct mount *mount, struct arena *arena)
{
    mount->record_name = arena_copy(
        arena, cf_slice_str(arena_printf(arena, "%s%s", AREA_MOUNT, mount->uuid_text)));
    mount->class =
        mount->is_local || mount->ops->is_local ? CLASS_CLUSTER : CLASS_REPLICATED;
    mount->entry_hash = key_hash(mount_key(mount));
}

void mount_identify(struct mount *mount, struct request *rq)
{
    mount->ns = rq->ns;
    mount->uuid = encode_uuid_new(rq->random);
    encode_uuid_text(mount->uuid, mount->uuid_text);
    uint8_t random[4];
    cf_random_fill(rq->random, random, sizeof(random));
    mount->accessor = cf_slice_str(
        arena_printf(rq->arena, "%s%s_%02x%02x%02x%02x",
                     mount->ops->kind == ENGINE_AUTH ? "auth_" : "", mount->ops->type, random[0],
                     random[1], random[2], random[3]));
    finish(mount, rq->arena);
}

/* ---- the entry as a record ---- */

static const char *const ways[] = {[MOVE_OUT] = "out", [MOVE_IN] = "in"};

static void move_to_record(struct arena *arena, const struct mount *mount, struct json *record)
{
    if (mount->move.way != MOVE_NONE) {
        struct json *move = json_object_new(arena);
        json_set_text(arena, move, "way", ways[mount->move.way]);
        json_set_int(arena, move, "ns", mount->move.other_ns);
        json_set_int(arena, move, "asked_ns", mount->move.asked_ns);
        json_set_string(arena, move, "id", mount->move.id);
        json_set(arena, record, "move", move);
    }
    if (mount->former_count != 0) {
        struct json *former = json_array_new(arena);
        for (size_t i = 0; i < mount->former_count; i++) {
            json_array_add(arena, former, json_from_int(arena, mount->former[i]));
        }
        json_set(arena, record, "former", former);
    }
}

static bool read_number(const struct json *value, uint32_t *ret)
{
    uint64_t number;
    if (!json_uint64(value, &number) || number > UINT32_MAX) {
        return false;
    }
    *ret = (uint32_t)number;
    return true;
}

static cf_status move_from_record(const struct json *record, struct mount *mount, struct cf_error *err)
{
    const struct json *move = json_get(record, "move"), *former = json_get(record, "former");
    bool is_good = true;
    if (json_is(move, JSON_OBJECT)) {
        bool is_out = cf_slice_is(json_get_string(move, "way"), ways[MOVE_OUT]);
        mount->move.way = is_out ? MOVE_OUT : MOVE_IN;
        mount->move.id = json_get_string(move, "id");
        is_good = (is_out || cf_slice_is(json_get_string(move, "way"), ways[MOVE_IN])) &&
                  read_number(json_get(move, "ns"), &mount->move.other_ns) &&
                  read_number(json_get(move, "asked_ns"), &mount->move.asked_ns);
    }
    if (json_is(former, JSON_ARRAY)) {
        mount->former_count = json_count(former);
        is_good = is_good && mount->former_count <= MOUNT_FORMER_MAX;
        for (size_t i = 0; is_good && i < mount->former_count; i++) {
            is_good = read_number(json_item(former, i), &mount->former[i]);
        }
    }
    return is_good ? CF_OK : cf_fail(err, CF_CORRUPT, "the entry of a mount that was moved is malformed");
}

struct json *mount_to_record(struct arena *arena, const struct mount *mount)
{
    struct json *record = json_object_new(arena);
    json_set_text(arena, record, "uuid", mount->uuid_text);
    json_set_text(arena, record, "kind", mount->ops->kind == ENGINE_AUTH ? "auth" : "secrets");
    json_set_string(arena, record, "type", mount->type);
    json_set_string(arena, record, "path", mount->path);
    json_set_string(arena, record, "description", mount->description);
    json_set_string(arena, record, "accessor", mount->accessor);
    json_set_int(arena, record, "default_lease_ttl", mount->default_lease_ttl_s);
    json_set_int(arena, record, "max_lease_ttl", mount->max_lease_ttl_s);
    json_set_bool(arena, record, "force_no_cache", mount->force_no_cache);
    json_set_bool(arena, record, "local", mount->is_local);
    json_set_bool(arena, record, "seal_wrap", mount->seal_wrap);
    json_set_bool(arena, record, "external_entropy_access", mount->external_entropy_access);
    json_set(arena, record, "options", mount->options);
    json_set(arena, record, "config", mount->config);
    json_set_string(arena, record, "token_type", mount->token_type);
    json_set_string(arena, record, "listing_visibility", mount->listing_visibility);
    move_to_record(arena, mount, record);
    return record;
}

cf_status mount_from_record(struct arena *arena, uint32_t ns, const struct json *record,
                            const struct engine_ops *const *engines, struct mount **ret,
                            struct cf_error *err)
{
    struct mount *mount = arena_new_object(arena, struct mount);
    mount->ns = ns;
    bool is_auth = cf_slice_is(json_get_string(record, "kind"), "auth");
    struct cf_slice uuid = json_get_string(record, "uuid");
    mount->type = json_get_string(record, "type");
    mount->ops = engine_find(engines, is_auth ? ENGINE_AUTH : ENGINE_SECRETS, mount->type);
    mount->path = json_get_string(record, "path");
    if (mount->ops == NULL || mount->path.size == 0) {
        cf_fail(err, CF_CORRUPT, "mount entry names no known engine");
        cf_error_detail(err, "Type \"%.*s\".", CF_SHOW(mount->type));
        return CF_CORRUPT;
    }
    CF_TRY(encode_uuid_parse(uuid, &mount->uuid, err));
    encode_uuid_text(mount->uuid, mount->uuid_text);
    mount->description = json_get_string(record, "description");
    mount->accessor = json_get_string(record, "accessor");
    mount->default_lease_ttl_s = json_get_int(record, "default_lease_ttl");
    mount->max_lease_ttl_s = json_get_int(record, "max_lease_ttl");
    mount->force_no_cache = json_get_bool(record, "force_no_cache");
    mount->is_local = json_get_bool(record, "local");
    mount->seal_wrap = json_get_bool(record, "seal_wrap");
    mount->external_entropy_access = json_get_bool(record, "external_entropy_access");
    mount->options = json_get_object(record, "options");
    mount->config = json_get_object(record, "config");
    mount->token_type = json_get_string(record, "token_type");
    mount->listing_visibility = json_get_string(record, "listing_visibility");
    mount->is_fixed = mount->ops->builtin_only;
    CF_TRY(move_from_record(record, mount, err));
    finish(mount, arena);
    *ret = mount;
    return CF_OK;
}

struct loading {
    struct mount_table *table;
    const struct view *view;
    const struct engine_ops *const *engines;
    uint32_t ns;
    uint8_t class;
    size_t room;
    struct cf_error *err;
    cf_status status;
};

static cf_status load_one(struct loading *loading, struct cf_slice uuid)
{
    struct arena *arena = loading->table->arena;
    struct cf_slice name = cf_slice_str(arena_printf(arena, "%s%.*s", AREA_MOUNT, CF_SHOW(uuid)));
    struct key key = {loading->class, loading->ns, name};
    struct cf_slice record;
    struct json *json;
    struct mount *mount;
    CF_TRY(view_get(loading->view, key, arena, &record, NULL, loading->err));
    CF_TRY(record_decode(record, arena, &json, loading->err));
    CF_TRY(mount_from_record(arena, loading->ns, json, loading->engines, &mount, loading->err));
    struct mount_table *table = loading->table;
    if (table->count == loading->room) {
        loading->room = 2 * loading->room + 16;
        table->mounts = cf_realloc(table->mounts, loading->room * sizeof(struct mount *));
    }
    table->mounts[table->count++] = mount;
    return CF_OK;
}

static bool each_mount(void *context, struct cf_slice uuid)
{
    struct loading *loading = context;
    loading->status = load_one(loading, uuid);
    return loading->status == CF_OK;
}

static int by_path(const void *a, const void *b)
{
    return cf_slice_cmp((*(const struct mount *const *)a)->path,
                        (*(const struct mount *const *)b)->path);
}

bool mount_reads_stale(const struct mount *mount)
{
    return mount->config != NULL &&
           cf_slice_is(json_get_string(mount->config, MOUNT_READ_CONSISTENCY), "stale");
}

/* Mounts are found by a search for the last path that is not behind the one asked for; paths that lie
 * in others (none do today: sys/mounts refuses them) are left by the way around. */
static void index_mounts(struct mount_table *table)
{
    table->by_uuid = cf_map_new();
    table->by_accessor = cf_map_new();
    table->around = arena_alloc(table->arena, (table->count + 1) * sizeof(*table->around));
    if (table->count != 0) {
        qsort(table->mounts, table->count, sizeof(*table->mounts), by_path);
    }
    for (size_t i = 0; i < table->count; i++) {
        const struct mount *mount = table->mounts[i];
        ptrdiff_t around = (ptrdiff_t)i - 1;
        while (around >= 0 && !cf_slice_starts(mount->path, table->mounts[around]->path)) {
            around = table->around[around];
        }
        table->around[i] = around;
        /* cf_map holds plain pointers; what it holds here is only ever read. */
        void *plain = (void *)(uintptr_t)mount;
        cf_map_put(table->by_uuid, cf_slice_of(mount->uuid.bytes, sizeof(mount->uuid.bytes)), plain);
        cf_map_put(table->by_accessor, mount->accessor, plain);
    }
}

cf_status mount_table_load(const struct view *view, uint32_t ns,
                           const struct engine_ops *const *engines, struct mount_table **ret,
                           struct cf_error *err)
{
    struct mount_table *table = cf_new(struct mount_table);
    table->arena = arena_new(ns == NAMESPACE_ROOT ? 8192 : 2048);
    atomic_init(&table->references, 1);
    struct loading loading = {
        .table = table, .view = view, .engines = engines, .ns = ns, .err = err};
    static const uint8_t classes[] = {CLASS_REPLICATED, CLASS_CLUSTER};
    for (size_t i = 0; i < sizeof(classes) && loading.status == CF_OK; i++) {
        loading.class = classes[i];
        struct key prefix = {classes[i], ns, CF_SLICE(AREA_MOUNT)};
        cf_status walked =
            view_walk(view, prefix, CF_SLICE_EMPTY, each_mount, &loading, err);
        loading.status = walked != CF_OK ? walked : loading.status;
    }
    if (loading.status != CF_OK) {
        mount_table_unref(table);
        return loading.status;
    }
    index_mounts(table);
    for (size_t i = 0; i < table->count; i++) {
        const struct mount *mount = table->mounts[i];
        table->has_stale = table->has_stale || mount_reads_stale(mount);
        table->has_moves = table->has_moves || mount->move.way != MOVE_NONE || mount->former_count != 0;
    }
    *ret = table;
    return CF_OK;
}

struct mount_table *mount_table_ref(struct mount_table *table)
{
    atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
    return table;
}

void mount_table_unref(struct mount_table *table)
{
    if (table != NULL &&
        atomic_fetch_sub_explicit(&table->references, 1, memory_order_acq_rel) == 1) {
        cf_map_free(table->by_uuid);
        cf_map_free(table->by_accessor);
        cf_free(table->mounts);
        arena_free(table->arena);
        cf_free(table);
    }
}

const struct mount *mount_table_match(const struct mount_table *table, struct cf_slice path)
{
    size_t low = 0, high = table->count; /* the first mount behind the path lies in [low, high] */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (folder_cmp(path, table->mounts[middle]->path) < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    ptrdiff_t at = (ptrdiff_t)low - 1;
    while (at >= 0 && !folder_holds(table->mounts[at]->path, path)) {
        at = table->around[at];
    }
    return at >= 0 ? table->mounts[at] : NULL;
}

const struct mount *mount_table_find(const struct mount_table *table, struct cf_slice path)
{
    const struct mount *mount = mount_table_match(table, path);
    return mount != NULL && cf_slice_eq(mount->path, path) ? mount : NULL;
}

const struct mount *mount_table_by_uuid(const struct mount_table *table, struct uuid uuid)
{
    return cf_map_get(table->by_uuid, cf_slice_of(uuid.bytes, sizeof(uuid.bytes)));
}

const struct mount *mount_table_by_accessor(const struct mount_table *table,
                                            struct cf_slice accessor)
{
    return cf_map_get(table->by_accessor, accessor);
}
