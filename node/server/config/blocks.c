/* node/server/config/blocks.c: audit, user_lockout and replication. */
#include "node/server/config/config_int.h"

#include "node/base/memory.h"
#include "node/format/json.h"

#define IN_AUDIT(field) offsetof(struct audit_stanza, field)
/* An object of strings, numbers and booleans. */
static cf_status read_options(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct arena *arena = reading->config->arena;
    struct json *options = json_object_new(arena);
    const struct hcl_value *object = hcl_count(value) == 1 ? hcl_at(value, 0) : value;
    if (object->type != HCL_OBJECT) {
        return cf_fail(reading->err, CF_INVALID, "must be one block in braces");
    }
    for (uint32_t i = 0; i < object->count; i++) {
        struct cf_slice text;
        bool on;
        if (hcl_to_string(&object->items[i].value, "option", &text, reading->err) != CF_OK) {
            CF_TRY(hcl_to_bool(&object->items[i].value, "option", &on, reading->err));
            text = on ? CF_SLICE("true") : CF_SLICE("false");
        }
        json_object_set(arena, options, object->items[i].key, json_from_string(arena, text));
    }
    *(struct json **)to = options;
    return CF_OK;
}

static const struct known audit_keys[] = {
    {"description", config_read_slice, IN_AUDIT(description)},
    {"local", config_read_bool, IN_AUDIT(is_local)},
    {"options", read_options, IN_AUDIT(options)},
    {"path", config_read_slice, IN_AUDIT(path)},
    {"type", config_read_slice, IN_AUDIT(type)},
};

#define IN_LOCKOUT(field) offsetof(struct lockout_settings, field)
static const struct known lockout_keys[] = {
    {"lockout_threshold", config_read_int, IN_LOCKOUT(threshold)},
    {"lockout_duration", config_read_duration, IN_LOCKOUT(duration_s)},
    {"lockout_counter_reset", config_read_duration, IN_LOCKOUT(reset_s)},
    {"disable_lockout", config_read_bool, IN_LOCKOUT(is_off)},
};

/* user_lockout "userpass" { ... }; "all" is for the types without a block. */
cf_status config_read_lockout(struct reading *reading, const struct hcl_item *block)
{
    struct config *config = reading->config;
    if (config->lockout_count == CONFIG_LOCKOUTS_MAX) {
        return cf_fail(reading->err, CF_INVALID, "%s:%u: more than %zu user_lockout blocks",
                       reading->file, block->line, CONFIG_LOCKOUTS_MAX);
    }
    struct lockout_rule *rule = &config->lockouts[config->lockout_count++];
    rule->type = arena_copy(config->arena, block->labels[0]);
    CF_TRY(config_read_object(reading, &block->value, lockout_keys, CF_LENGTH(lockout_keys),
                       &rule->settings));
    return rule->settings.threshold >= 0
               ? CF_OK
               : cf_fail(reading->err, CF_INVALID, "%s:%u: lockout_threshold is negative",
                         reading->file, block->line);
}

/* audit "file" "to-file" { ... } */
cf_status config_read_audit(struct reading *reading, const struct hcl_item *block)
{
    struct config *config = reading->config;
    if (config->audit_count == CONFIG_AUDITS_MAX) {
        return cf_fail(reading->err, CF_INVALID, "%s:%u: more than %zu audit devices",
                       reading->file, block->line, CONFIG_AUDITS_MAX);
    }
    struct audit_stanza *audit = &config->audits[config->audit_count];
    *audit = (struct audit_stanza){.type = arena_copy(config->arena, block->labels[0]),
                                   .path = arena_copy(config->arena, block->labels[1])};
    CF_TRY(config_read_object(reading, &block->value, audit_keys, CF_LENGTH(audit_keys), audit));
    while (audit->path.size != 0 && audit->path.data[audit->path.size - 1] == '/') {
        audit->path.size--;
    }
    if (audit->path.size == 0) {
        return cf_fail(reading->err, CF_INVALID, "%s:%u: the audit device needs a name: audit "
                                                 "\"file\" \"name\" { ... }",
                       reading->file, block->line);
    }
    audit->path = cf_slice_str(arena_printf(config->arena, "%.*s/", CF_SHOW(audit->path)));
    for (size_t i = 0; i < config->audit_count; i++) {
        if (cf_slice_starts(config->audits[i].path, audit->path) ||
            cf_slice_starts(audit->path, config->audits[i].path)) {
            return cf_fail(reading->err, CF_INVALID,
                           "%s:%u: two audit devices at the path \"%.*s\"", reading->file,
                           block->line, CF_SHOW(audit->path));
        }
    }
    config->audit_count++;
    return CF_OK;
}

#define LOG_RETENTION_MIN ((uint64_t)1 << 20)
#define IN_CONFIG(field) offsetof(struct config, field)
static const struct known replication_keys[] = {
    {"allow_forwarding_via_header", config_read_bool, IN_CONFIG(forwards_by_header)},
    {"log_retention", config_read_duration, IN_CONFIG(log_retention_s)},
    {"log_retention_size", config_read_size, IN_CONFIG(log_retention_bytes)},
    {"compare_interval", config_read_duration, IN_CONFIG(compare_interval_s)},
    {"resolver_discover_servers", NULL, 0},
    {"logshipper_buffer_length", NULL, 0},
    {"logshipper_buffer_size", NULL, 0},
    {"best_effort_wal_wait_duration", NULL, 0},
    {"allow_forwarding_via_token", NULL, 0},
};

cf_status config_read_replication(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct config *config = to;
    CF_TRY(config_want_object(reading, value));
    CF_TRY(config_read_object(reading, value, replication_keys, CF_LENGTH(replication_keys), to));
    if (config->log_retention_bytes != 0 && config->log_retention_bytes < LOG_RETENTION_MIN) {
        return cf_fail(reading->err, CF_INVALID,
                       "log_retention_size must be at least 1mib");
    }
    return CF_OK;
}

const struct config_table config_other_tables[] = {
    {"audit", audit_keys, CF_LENGTH(audit_keys)},
    {"user_lockout", lockout_keys, CF_LENGTH(lockout_keys)},
    {"replication", replication_keys, CF_LENGTH(replication_keys)},
    {NULL, NULL, 0},
};
