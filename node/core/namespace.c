/* node/core/namespace.c: the table of namespaces and its records. */
#include "node/core/namespace.h"

#include <stdlib.h>

#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/core/folder.h"

#define ROOT_UUID "00000000-0000-0000-0000-000000000000"

/* ---- records ---- */

struct key namespace_key(struct arena *arena, uint32_t number)
{
    return (struct key){CLASS_REPLICATED, NAMESPACE_ROOT,
                        cf_slice_str(arena_printf(arena, AREA_NAMESPACE "%08x", number))};
}

struct cf_slice namespace_to_record(struct arena *arena, const struct namespace *ns)
{
    struct json *record = json_object_new(arena);
    CF_BUF(hex) = {0};
    encode_hex(&hex, ns->unlock_hash);
    json_set_text(arena, record, "uuid", ns->uuid_text);
    json_set_string(arena, record, "id", ns->id);
    json_set_string(arena, record, "path", ns->path);
    json_set(arena, record, "custom_metadata", ns->custom_metadata);
    json_set_string(arena, record, "unlock_hash", cf_buf_slice(&hex));
    json_set_bool(arena, record, "tainted", ns->is_tainted);
    return record_encode(arena, record);
}

cf_status namespace_from_record(struct arena *arena, uint32_t number, struct cf_slice bytes,
                                struct namespace **ret, struct cf_error *err)
{
    struct namespace *ns = arena_new_object(arena, struct namespace);
    struct json *record;
    CF_BUF(hash) = {0};
    CF_TRY(record_decode(bytes, arena, &record, err));
    ns->number = number;
    ns->id = json_get_string(record, "id");
    ns->path = json_get_string(record, "path");
    ns->custom_metadata = json_get(record, "custom_metadata");
    cf_ignore(!json_bool(json_get(record, "tainted"), &ns->is_tainted), "absent is false");
    CF_TRY(encode_uuid_parse(json_get_string(record, "uuid"), &ns->uuid, err));
    encode_uuid_text(ns->uuid, ns->uuid_text);
    CF_TRY(encode_hex_decode(&hash, json_get_string(record, "unlock_hash"), err));
    ns->unlock_hash = arena_copy(arena, cf_buf_slice(&hash));
    if (number == NAMESPACE_ROOT || ns->id.size == 0 || ns->path.size == 0) {
        return cf_fail(err, CF_CORRUPT, "namespace record is malformed");
    }
    ns->entry_hash = key_hash(namespace_key(arena, number));
    *ret = ns;
    return CF_OK;
}

/* ---- loading ---- */

void stale_mounts_add(struct stale_mounts *stale, uint32_t ns)
{
    for (size_t i = 0; i < stale->count; i++) {
        if (stale->ns[i] == ns) {
            return;
        }
    }
    if (stale->count == STALE_MOUNTS_MAX) {
        stale->all = true;
        return;
    }
    stale->ns[stale->count++] = ns;
}

static bool is_stale(const struct stale_mounts *stale, uint32_t ns)
{
    bool found = stale->all;
    for (size_t i = 0; i < stale->count; i++) {
        found = found || stale->ns[i] == ns;
    }
    return found;
}

struct loading {
    struct namespace_table *table;
    const struct view *view;
    size_t room;
    struct cf_error *err;
    cf_status status;
};

static void add(struct loading *loading, struct namespace *ns)
{
    struct namespace_table *table = loading->table;
    if (table->count == loading->room) {
        loading->room = 2 * loading->room + 8;
        table->list = cf_realloc(table->list, loading->room * sizeof(*table->list));
    }
    table->list[table->count++] = ns;
}

static cf_status load_one(struct loading *loading, struct cf_slice name)
{
    struct arena *arena = loading->table->arena;
    struct cf_slice record;
    struct namespace *ns;
    CF_BUF(number) = {.max = 4};
    CF_TRY(encode_hex_decode(&number, name, loading->err));
    if (number.size != 4) {
        return cf_fail(loading->err, CF_CORRUPT, "namespace record has a malformed name");
    }
    uint32_t n = cf_get_u32(number.data);
    CF_TRY(view_get(loading->view, namespace_key(arena, n), arena, &record, NULL, loading->err));
    CF_TRY(namespace_from_record(arena, n, record, &ns, loading->err));
    add(loading, ns);
    return CF_OK;
}

static bool each_record(void *context, struct cf_slice rest)
{
    struct loading *loading = context;
    loading->status = load_one(loading, rest);
    return loading->status == CF_OK;
}

static void add_root(struct loading *loading)
{
    struct namespace *root = arena_new_object(loading->table->arena, struct namespace);
    root->id = CF_SLICE("root");
    root->path = CF_SLICE_EMPTY;
    memcpy(root->uuid_text, ROOT_UUID, sizeof(ROOT_UUID));
    root->custom_metadata = json_object_new(loading->table->arena);
    add(loading, root);
}

static int by_path(const void *a, const void *b)
{
    return cf_slice_cmp((*(const struct namespace *const *)a)->path,
                        (*(const struct namespace *const *)b)->path);
}

static struct cf_slice number_key(uint8_t to[4], uint32_t number)
{
    cf_put_u32(to, number);
    return cf_slice_of(to, 4);
}

static void index_all(struct namespace_table *table)
{
    uint8_t number[4];
    qsort(table->list, table->count, sizeof(*table->list), by_path);
    table->by_id = cf_map_new();
    table->by_number = cf_map_new();
    for (size_t i = 0; i < table->count; i++) {
        struct namespace *ns = table->list[i];
        const struct namespace *around = i != 0 ? table->list[i - 1] : NULL;
        while (around != NULL && !cf_slice_starts(ns->path, around->path)) {
            around = around->parent;
        }
        ns->parent = around;
        cf_map_put(table->by_id, ns->id, ns);
        cf_map_put(table->by_number, number_key(number, ns->number), ns);
    }
}

static cf_status load_mounts(const struct view *view, const struct engine_ops *const *engines,
                             const struct namespace_table *before,
                             const struct stale_mounts *stale, struct namespace *ns,
                             struct cf_error *err)
{
    const struct namespace *old =
        before != NULL ? namespace_by_number(before, ns->number) : NULL;
    if (old != NULL && !is_stale(stale, ns->number)) {
        ns->mounts = mount_table_ref(old->mounts);
        return CF_OK;
    }
    return mount_table_load(view, ns->number, engines, &ns->mounts, err);
}

cf_status namespace_table_load(const struct view *view, const struct engine_ops *const *engines,
                               const struct namespace_table *before,
                               const struct stale_mounts *stale, struct namespace_table **ret,
                               struct cf_error *err)
{
    struct namespace_table *table = cf_new(struct namespace_table);
    struct loading loading = {.table = table, .view = view, .err = err};
    struct key prefix = {CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE(AREA_NAMESPACE)};
    table->arena = arena_new(1024);
    table->index = view->index;
    atomic_init(&table->references, 1);
    add_root(&loading);
    cf_status status = view_walk(view, prefix, CF_SLICE_EMPTY, each_record, &loading, err);
    status = status == CF_OK ? loading.status : status;
    if (status == CF_OK) {
        index_all(table);
    }
    for (size_t i = 0; i < table->count && status == CF_OK; i++) {
        status = load_mounts(view, engines, before, stale, table->list[i], err);
    }
    if (status != CF_OK) {
        namespace_table_unref(table);
        return status;
    }
    *ret = table;
    return CF_OK;
}

struct namespace_table *namespace_table_ref(struct namespace_table *table)
{
    atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
    return table;
}

void namespace_table_unref(struct namespace_table *table)
{
    if (table == NULL ||
        atomic_fetch_sub_explicit(&table->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < table->count; i++) {
        mount_table_unref(table->list[i]->mounts);
    }
    cf_map_free(table->by_id);
    cf_map_free(table->by_number);
    cf_free(table->list);
    arena_free(table->arena);
    cf_free(table);
}

/* ---- looking up ---- */

const struct namespace *namespace_table_match(const struct namespace_table *table,
                                              struct cf_slice path)
{
    if (table->count == 1) {
        return table->list[0];
    }
    size_t low = 1, high = table->count; /* the first one behind the path lies in [low, high] */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (folder_cmp(path, table->list[middle]->path) < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    const struct namespace *ns = table->list[low - 1];
    while (ns->parent != NULL && !folder_holds(ns->path, path)) {
        ns = ns->parent;
    }
    return ns;
}

const struct namespace *namespace_table_find(const struct namespace_table *table,
                                             struct cf_slice path)
{
    const struct namespace *ns = namespace_table_match(table, path);
    return cf_slice_eq(ns->path, path) ? ns : NULL;
}

const struct namespace *namespace_by_number(const struct namespace_table *table, uint32_t number)
{
    uint8_t key[4];
    return number == NAMESPACE_ROOT ? table->list[0]
                                    : cf_map_get(table->by_number, number_key(key, number));
}

const struct namespace *namespace_by_id(const struct namespace_table *table, struct cf_slice id)
{
    return cf_map_get(table->by_id, id);
}

const struct namespace *namespace_of_text(const struct namespace_table *table,
                                          struct cf_slice text)
{
    /* The dot of a prefix ("s.", "hvs.") is none before an id. */
    static const char *const prefixes[] = {"s.", "b.", "r.", "hvs.", "hvb.", "hvr."};
    for (size_t i = 0; i < CF_LENGTH(prefixes); i++) {
        if (cf_slice_starts(text, cf_slice_str(prefixes[i]))) {
            text = cf_slice_from(text, strlen(prefixes[i]));
            break;
        }
    }
    const uint8_t *dot =
        text.data != NULL && text.size != 0 ? memrchr(text.data, '.', text.size) : NULL;
    if (dot == NULL) {
        return table->list[0];
    }
    struct cf_slice id = cf_slice_from(text, (size_t)(dot - text.data) + 1);
    /* Nothing of the root namespace ends in its id: one text, one token. */
    const struct namespace *ns = namespace_by_id(table, id);
    return ns == NULL || ns->number == NAMESPACE_ROOT ? NULL : ns;
}

struct cf_slice namespace_mark(struct arena *arena, const struct namespace *ns,
                               struct cf_slice text)
{
    if (ns == NULL || ns->number == NAMESPACE_ROOT) {
        return text;
    }
    return cf_slice_str(arena_printf(arena, "%.*s.%.*s", CF_SHOW(text), CF_SHOW(ns->id)));
}

bool namespace_is_within(const struct namespace *ns, const struct namespace *around)
{
    return cf_slice_starts(ns->path, around->path);
}

const struct namespace *namespace_lock_of(const struct namespace *ns)
{
    while (ns != NULL && ns->unlock_hash.size == 0) {
        ns = ns->parent;
    }
    return ns;
}

bool namespace_has_children(const struct namespace_table *table, const struct namespace *ns)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->list[i]->parent != NULL && table->list[i]->parent->number == ns->number) {
            return true;
        }
    }
    return false;
}

bool namespace_is_root_only(struct cf_slice path)
{
    static const char *const only[] = {
        "audit",        "audit-hash",    "config/auditing",  "config/cors",
        "config/group-policy-application", "config/reload",  "config/state",
        "config/ui",    "decode-token",  "generate-recovery-token", "generate-root",
        "ha-status",    "health",        "host-info",        "in-flight-req",
        "init",         "internal/counters/activity", "internal/counters/config",
        "internal/inspect", "internal/request-limiter", "key-status", "leader",
        "license",      "loggers",       "metrics",          "monitor",
        "pprof",        "quotas/config", "quotas/lease-count", "quotas/rate-limit",
        "raw",          "rekey",         "rekey-recovery-key", "replication",
        "rotate",       "seal",          "seal-backend-status", "seal-status",
        "sealwrap",     "step-down",     "storage",          "sync/config",
        "unseal",       "version-history"};
    for (size_t i = 0; i < CF_LENGTH(only); i++) {
        size_t size = strlen(only[i]);
        if (cf_slice_starts(path, cf_slice_str(only[i])) &&
            (path.size == size || path.data[size] == '/')) {
            return true;
        }
    }
    return false;
}

void namespace_note_read(struct txn *txn, const struct namespace *ns)
{
    for (; ns != NULL && ns->number != NAMESPACE_ROOT; ns = ns->parent) {
        txn_note_read(txn, ns->entry_hash);
    }
}
