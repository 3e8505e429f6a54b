/* node/server/config/top.c: what stands at the top of a configuration. */
#include "node/server/config/config_int.h"

#include "node/base/memory.h"

/* Ceremonies that key holders may hold without a token. That of the DR operation token always is. */
static cf_status read_open(struct reading *reading, const struct hcl_value *value, void *to)
{
    static const char *const names[] = {"rekey", "generate-root", "generate-operation-token"};
    for (size_t i = 0; i < hcl_count(value); i++) {
        struct cf_slice text;
        size_t which = 0;
        CF_TRY(hcl_to_string(hcl_at(value, i), "value", &text, reading->err));
        while (which < CF_LENGTH(names) && !cf_slice_is(text, names[which])) {
            which++;
        }
        if (which == CF_LENGTH(names)) {
            return cf_fail(reading->err, CF_INVALID, "is a list of \"rekey\", \"generate-root\" "
                                                     "and \"generate-operation-token\"");
        }
        *(unsigned *)to |= 1u << which;
    }
    return CF_OK;
}

static cf_status read_directories(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct arena *arena = reading->config->arena;
    const char **list = arena_alloc(arena, (hcl_count(value) + 1) * sizeof(*list));
    for (size_t i = 0; i < hcl_count(value); i++) {
        CF_TRY(config_read_text(reading, hcl_at(value, i), &list[i]));
        if (list[i][0] != '/') {
            return cf_fail(reading->err, CF_INVALID, "must be a list of absolute paths");
        }
    }
    *(const char ***)to = list;
    return CF_OK;
}

#define IN_CONFIG(field) offsetof(struct config, field)
static const struct known top_keys[] = {
    {"api_addr", config_read_text, IN_CONFIG(api_addr)},
    {"cluster_addr", config_read_text, IN_CONFIG(cluster_addr)},
    {"cluster_name", config_read_text, IN_CONFIG(cluster_name)},
    {"ui", config_read_bool, IN_CONFIG(ui)},
    {"disable_mlock", config_read_bool, IN_CONFIG(disable_mlock)},
    {"log_level", config_read_level, IN_CONFIG(log_level)},
    {"log_format", config_read_format, IN_CONFIG(log_json)},
    {"raw_storage_endpoint", config_read_bool, IN_CONFIG(raw_storage_endpoint)},
    {"default_lease_ttl", config_read_duration, IN_CONFIG(default_lease_ttl_s)},
    {"max_lease_ttl", config_read_duration, IN_CONFIG(max_lease_ttl_s)},
    {"pid_file", config_read_text, IN_CONFIG(pid_file)},
    {"listener", NULL, 1},
    {"storage", NULL, 1},
    {"backend", NULL, 1},
    {"seal", NULL, 1},
    {"ha_storage", NULL, 0},
    {"ha_backend", NULL, 0},
    {"telemetry", NULL, 0},
    {"audit", NULL, 1},
    {"enable_unauthenticated_access", read_open, IN_CONFIG(open_ceremonies)},
    {"audit_directories", read_directories, IN_CONFIG(audit_directories)},
    {"service_registration", NULL, 0},
    {"user_lockout", NULL, 1},
    {"entropy", NULL, 0},
    {"replication", config_read_replication, 0},
    {"experiments", NULL, 0},
    {"plugin", NULL, 0},
    {"plugin_directory", NULL, 0},
    {"plugin_tmpdir", NULL, 0},
    {"plugin_file_uid", NULL, 0},
    {"plugin_file_permissions", NULL, 0},
    {"cache_size", NULL, 0},
    {"disable_cache", NULL, 0},
    {"disable_clustering", NULL, 0},
    {"disable_performance_standby", NULL, 0},
    {"disable_standby_reads", NULL, 0},
    {"disable_sealwrap", NULL, 0},
    {"disable_indexing", NULL, 0},
    {"disable_printable_check", NULL, 0},
    {"disable_sentinel_trace", NULL, 0},
    {"enable_response_header_hostname", NULL, 0},
    {"enable_response_header_raft_node_id", NULL, 0},
    {"introspection_endpoint", NULL, 0},
    {"license_path", NULL, 0},
    {"log_file", NULL, 0},
    {"log_requests_level", NULL, 0},
    {"log_rotate_bytes", NULL, 0},
    {"log_rotate_duration", NULL, 0},
    {"log_rotate_max_files", NULL, 0},
    {"detect_deadlocks", NULL, 0},
    {"imprecise_lease_role_tracking", NULL, 0},
    {"initialize", NULL, 0},
    {"unsafe_allow_api_audit_creation", config_read_bool, IN_CONFIG(audit_by_api)},
    {"allow_audit_log_prefixing", config_read_bool, IN_CONFIG(audit_may_prefix)},
    {"administrative_namespace_path", NULL, 0},
    {"reporting", NULL, 0},
};

static const struct config_table top_table[] = {{"top", top_keys, CF_LENGTH(top_keys)}, {NULL, NULL, 0}};

void config_each_key(config_visit visit, void *context)
{
    const struct config_table *const groups[] = {top_table, config_listener_tables, config_storage_tables,
                                                 config_seal_tables, config_other_tables};
    for (size_t g = 0; g < CF_LENGTH(groups); g++) {
        for (const struct config_table *table = groups[g]; table->block != NULL; table++) {
            for (size_t i = 0; i < table->count; i++) {
                const struct known *key = &table->keys[i];
                bool is_block = table->keys == top_keys && key->read == NULL && key->offset == 1;
                visit(context, table->block, key->name, key->read != NULL || is_block);
            }
        }
    }
}

static cf_status read_blocks(struct reading *reading, const struct hcl_item *item)
{
    const struct hcl_item *blocks;
    size_t count;
    unsigned labels = cf_slice_is(item->key, "audit") ? 2 : 1;
    cf_status status =
        hcl_blocks(reading->config->arena, item, labels, &blocks, &count, reading->err);
    if (status != CF_OK) {
        return config_at(reading, item->line, status, arena_text(reading->config->arena, item->key));
    }
    for (size_t i = 0; i < count; i++) {
        if (cf_slice_is(item->key, "listener")) {
            CF_TRY(config_read_listener(reading, &blocks[i]));
        } else if (cf_slice_is(item->key, "seal")) {
            CF_TRY(config_read_seal(reading, &blocks[i]));
        } else if (cf_slice_is(item->key, "user_lockout")) {
            CF_TRY(config_read_lockout(reading, &blocks[i]));
        } else if (labels == 2) {
            CF_TRY(config_read_audit(reading, &blocks[i]));
        } else {
            CF_TRY(config_read_storage(reading, &blocks[i]));
        }
    }
    return CF_OK;
}

cf_status config_read_top(struct reading *reading, const struct hcl_value *top)
{
    for (uint32_t i = 0; i < top->count; i++) {
        const struct hcl_item *item = &top->items[i];
        const struct known *key = config_find(top_keys, CF_LENGTH(top_keys), item->key);
        if (key == NULL) {
            return config_unknown(reading, item, top_keys, CF_LENGTH(top_keys));
        }
        if (key->read != NULL) {
            cf_status status =
                key->read(reading, &item->value, (char *)reading->config + key->offset);
            if (status != CF_OK) {
                return config_at(reading, item->line, status, key->name);
            }
        } else if (key->offset == 1) {
            CF_TRY(read_blocks(reading, item));
        } else {
            config_warn_unused(reading, item);
        }
    }
    return CF_OK;
}
