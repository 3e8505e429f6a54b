/* node/core/audit_table.c: the audit devices of a view, read from the store, and their records. */
#include <stdlib.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/audit_int.h"
#include "node/format/encode.h"

#define DEVICE_PREFIX AREA_AUDIT "dev/"

/* ---- options ---- */

struct cf_slice audit_option(const struct audit_settings *settings, const char *name,
                             const char *absent)
{
    struct cf_slice text;
    return json_string(json_get(settings->options, name), &text) ? text : cf_slice_str(absent);
}

static cf_status read_bool(const struct json *options, const char *name, bool *ret,
                           struct cf_error *err)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    struct cf_slice text;
    if (!json_string(json_get(options, name), &text)) {
        return CF_OK;
    }
    for (size_t i = 0; i < CF_LENGTH(yes); i++) {
        if (cf_slice_is(text, yes[i]) || cf_slice_is(text, no[i])) {
            *ret = cf_slice_is(text, yes[i]);
            return CF_OK;
        }
    }
    return cf_fail(err, CF_INVALID, "option \"%s\" must be \"true\" or \"false\"", name);
}

cf_status audit_read_options(struct audit_entry *entry, struct cf_error *err)
{
    bool hash_accessor = true;
    struct cf_slice format = json_get_string(entry->options, "format");
    CF_TRY(read_bool(entry->options, "log_raw", &entry->log_raw, err));
    CF_TRY(read_bool(entry->options, "hmac_accessor", &hash_accessor, err));
    CF_TRY(read_bool(entry->options, "elide_list_responses", &entry->elide_lists, err));
    entry->plain_accessor = !hash_accessor;
    entry->prefix = json_get_string(entry->options, "prefix");
    if (memchr(entry->prefix.data != NULL ? (const char *)entry->prefix.data : "", '\n',
               entry->prefix.size) != NULL) {
        return cf_fail(err, CF_INVALID, "option \"prefix\" must not hold a newline");
    }
    if (cf_slice_is(format, "jsonx")) {
        return cf_fail(err, CF_INVALID, "the format \"jsonx\" was removed: leave \"format\" out, or set "
                                        "it to \"json\"");
    }
    if (format.size != 0 && !cf_slice_is(format, "json")) {
        return cf_fail(err, CF_INVALID, "unknown format type \"%.*s\"",
                       CF_SHOW(cf_slice_first(format, 40)));
    }
    return CF_OK;
}

/* ---- records ---- */

struct key audit_entry_key(struct arena *arena, const struct audit_entry *entry)
{
    struct cf_slice name = cf_slice_str(arena_printf(arena, DEVICE_PREFIX "%s", entry->uuid));
    return (struct key){entry->is_local ? CLASS_CLUSTER : CLASS_REPLICATED, NAMESPACE_ROOT, name};
}

struct json *audit_entry_record(struct arena *arena, const struct audit_entry *entry)
{
    struct json *record = json_object_new(arena);
    CF_BUF(salt) = {.secret = true};
    encode_hex(&salt, cf_slice_of(entry->salt, sizeof(entry->salt)));
    json_set_string(arena, record, "path", entry->path);
    json_set_string(arena, record, "type", entry->type);
    json_set_string(arena, record, "description", entry->description);
    json_set(arena, record, "options", entry->options);
    json_set_bool(arena, record, "local", entry->is_local);
    json_set_bool(arena, record, "configured", entry->is_configured);
    json_set_string(arena, record, "cluster", entry->cluster);
    json_set_string(arena, record, "salt", cf_buf_slice(&salt));
    return record;
}

static cf_status read_entry(struct arena *arena, const struct json *record, struct cf_slice uuid,
                            bool is_local, struct audit_entry *ret, struct cf_error *err)
{
    CF_BUF(salt) = {.secret = true};
    *ret = (struct audit_entry){.path = json_get_string(record, "path"),
                                .type = json_get_string(record, "type"),
                                .description = json_get_string(record, "description"),
                                .options = json_get(record, "options"),
                                .cluster = json_get_string(record, "cluster"),
                                .is_local = is_local};
    cf_ignore(!json_bool(json_get(record, "configured"), &ret->is_configured), "absent is false");
    CF_TRY(encode_hex_decode(&salt, json_get_string(record, "salt"), err));
    if (uuid.size != ENCODE_UUID_TEXT || salt.size != sizeof(ret->salt) || ret->path.size == 0) {
        return cf_fail(err, CF_CORRUPT, "record of an audit device is malformed");
    }
    memcpy(ret->salt, salt.data, salt.size);
    memcpy(ret->uuid, uuid.data, uuid.size);
    ret->options = json_is(ret->options, JSON_OBJECT) ? ret->options : NULL;
    (void)arena;
    return audit_read_options(ret, err);
}

/* ---- loading ---- */

struct loading {
    struct audit_table *table;
    struct audit_broker *broker;
    const struct view *view;
    uint8_t class;
    struct cf_error *err;
    cf_status status;
};

static cf_status load_one(struct loading *loading, struct cf_slice uuid)
{
    struct audit_table *table = loading->table;
    struct arena *arena = table->arena;
    struct cf_slice name = cf_slice_str(arena_printf(arena, DEVICE_PREFIX "%.*s", CF_SHOW(uuid)));
    struct key key = {loading->class, NAMESPACE_ROOT, name};
    struct cf_slice record;
    struct json *json;
    if (table->count == AUDIT_DEVICES_MAX) {
        /* Both classes together, written by two clusters: none may be left out without a word. */
        return cf_fail(loading->err, CF_CORRUPT, "more than %zu audit devices", AUDIT_DEVICES_MAX);
    }
    CF_TRY(view_get(loading->view, key, arena, &record, NULL, loading->err));
    CF_TRY(record_decode(record, arena, &json, loading->err));
    CF_TRY(read_entry(arena, json, uuid, loading->class == CLASS_CLUSTER,
                      &table->entries[table->count], loading->err));
    table->count++;
    return CF_OK;
}

static bool each_device(void *context, struct cf_slice uuid)
{
    struct loading *loading = context;
    loading->status = load_one(loading, uuid);
    return loading->status == CF_OK;
}

static cf_status load_headers(struct loading *loading)
{
    struct audit_table *table = loading->table;
    struct cf_slice record;
    struct json *json;
    cf_status status =
        view_get(loading->view, AUDIT_HEADERS_KEY, table->arena, &record, NULL, loading->err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    CF_TRY(record_decode(record, table->arena, &json, loading->err));
    table->headers = arena_alloc(table->arena, (json_count(json) + 1) * sizeof(*table->headers));
    for (size_t i = 0; i < json_count(json); i++) {
        struct audit_header *header = &table->headers[table->header_count++];
        header->name = json->members[i].key;
        cf_ignore(!json_bool(json_get(json->members[i].value, "hmac"), &header->hmac),
                  "absent is false");
    }
    return CF_OK;
}

/* A DR secondary mirrors the local ones, too. Trust does not go by the role: a device of the former primary's configuration
 * stays in the table for a moment after a promotion. */
static void classify(const struct view *view, struct audit_broker *broker, struct cf_slice cluster_id, struct audit_entry *entry)
{
    bool is_own = entry->is_configured && audit_is_own(broker, entry);
    bool is_ours = entry->cluster.size != 0 ? cf_slice_eq(entry->cluster, cluster_id) : view->role == ROLE_ALONE_OR_PRIMARY;
    bool is_guest =
        view->role == ROLE_DR_SECONDARY || (view->role == ROLE_PERFORMANCE_SECONDARY && !entry->is_local);
    entry->is_foreign = is_guest && !is_own;
    entry->is_trusted = is_own || (entry->is_configured && is_ours);
}

static int by_path(const void *a, const void *b)
{
    return cf_slice_cmp(((const struct audit_entry *)a)->path,
                        ((const struct audit_entry *)b)->path);
}

cf_status audit_table_load(const struct view *view, struct audit_broker *broker,
                           const char *cluster_id, struct audit_table **ret, struct cf_error *err)
{
    static const uint8_t classes[] = {CLASS_REPLICATED, CLASS_CLUSTER};
    struct audit_table *table = cf_new(struct audit_table);
    table->arena = arena_new(4096);
    atomic_init(&table->references, 1);
    struct loading loading = {.table = table, .broker = broker, .view = view, .err = err};
    for (size_t i = 0; i < sizeof(classes) && loading.status == CF_OK; i++) {
        loading.class = classes[i];
        struct key prefix = {classes[i], NAMESPACE_ROOT, CF_SLICE(DEVICE_PREFIX)};
        cf_status walked = view_walk(view, prefix, CF_SLICE_EMPTY, each_device, &loading, err);
        loading.status = walked != CF_OK ? walked : loading.status;
    }
    if (loading.status == CF_OK) {
        loading.status = load_headers(&loading);
    }
    if (loading.status != CF_OK) {
        audit_table_unref(table);
        return loading.status;
    }
    qsort(table->entries, table->count, sizeof(table->entries[0]), by_path);
    for (size_t i = 0; i < table->count; i++) {
        classify(view, broker, cf_slice_str(cluster_id), &table->entries[i]);
        table->entries[i].device = audit_device_for(broker, &table->entries[i]);
    }
    *ret = table;
    return CF_OK;
}

struct audit_table *audit_table_ref(struct audit_table *table)
{
    atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
    return table;
}

void audit_table_unref(struct audit_table *table)
{
    if (table == NULL ||
        atomic_fetch_sub_explicit(&table->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < table->count; i++) {
        audit_device_unref(table->entries[i].device);
    }
    cf_wipe(table->entries, sizeof(table->entries));
    arena_free(table->arena);
    cf_free(table);
}

const struct audit_entry *audit_table_find(const struct audit_table *table, struct cf_slice path)
{
    for (size_t i = 0; table != NULL && i < table->count; i++) {
        if (cf_slice_eq(table->entries[i].path, path)) {
            return &table->entries[i];
        }
    }
    return NULL;
}
