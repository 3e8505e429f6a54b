/* node/server/config.c: the server's configuration file. */
#include "node/server/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/format/hcl.h"
#include "node/format/json.h"

#define FILE_SIZE_MAX ((off_t)1 << 20)
#define DEFAULT_TTL_S ((int64_t)768 * 3600)

struct reading {
    struct config *config;
    const char *file;
    struct cf_error *err;
};

/* ---- what is known ---- */

typedef cf_status (*read_value)(struct reading *reading, const struct hcl_value *value, void *to);

struct known {
    const char *name;
    read_value read; /* NULL: other Vault servers use it, this one does not */
    size_t offset;
};

static cf_status read_text(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct cf_slice text;
    CF_TRY(hcl_to_string(value, "value", &text, reading->err));
    *(const char **)to = arena_text(reading->config->arena, text);
    return CF_OK;
}

static cf_status read_bool(struct reading *reading, const struct hcl_value *value, void *to)
{
    return hcl_to_bool(value, "value", to, reading->err);
}

static cf_status read_not(struct reading *reading, const struct hcl_value *value, void *to)
{
    bool on;
    CF_TRY(hcl_to_bool(value, "value", &on, reading->err));
    *(bool *)to = !on;
    return CF_OK;
}

static cf_status read_int(struct reading *reading, const struct hcl_value *value, void *to)
{
    return hcl_to_int(value, "value", to, reading->err);
}

static cf_status read_duration(struct reading *reading, const struct hcl_value *value, void *to)
{
    CF_TRY(hcl_to_duration(value, "value", to, reading->err));
    if (*(int64_t *)to <= 0) {
        return cf_fail(reading->err, CF_INVALID, "must be a positive duration such as \"768h\"");
    }
    return CF_OK;
}

static cf_status read_level(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct cf_slice text;
    CF_TRY(hcl_to_string(value, "value", &text, reading->err));
    if (!cf_log_parse_level(text, to)) {
        return cf_fail(reading->err, CF_INVALID,
                       "\"%.*s\" is no log level (trace, debug, info, warn, error)",
                       CF_SHOW(text));
    }
    return CF_OK;
}

static cf_status read_format(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct cf_slice text;
    CF_TRY(hcl_to_string(value, "value", &text, reading->err));
    if (!cf_slice_is(text, "json") && !cf_slice_is(text, "standard")) {
        return cf_fail(reading->err, CF_INVALID, "must be \"standard\" or \"json\"");
    }
    *(bool *)to = cf_slice_is(text, "json");
    return CF_OK;
}

static cf_status read_min_version(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct cf_slice text;
    CF_TRY(hcl_to_string(value, "value", &text, reading->err));
    if (!cf_slice_is(text, "tls12") && !cf_slice_is(text, "tls13")) {
        return cf_fail(reading->err, CF_INVALID, "must be \"tls12\" or \"tls13\"");
    }
    *(bool *)to = cf_slice_is(text, "tls13");
    return CF_OK;
}

static cf_status read_listener_telemetry(struct reading *reading, const struct hcl_value *value,
                                         void *to);

#define IN_LISTENER(field) offsetof(struct config_listener, field)
static const struct known listener_keys[] = {
    {"address", read_text, IN_LISTENER(address)},
    {"cluster_address", read_text, IN_LISTENER(cluster_address)},
    {"tls_disable", read_bool, IN_LISTENER(tls_disable)},
    {"tls_cert_file", read_text, IN_LISTENER(tls_cert_file)},
    {"tls_key_file", read_text, IN_LISTENER(tls_key_file)},
    {"tls_client_ca_file", read_text, IN_LISTENER(tls_client_ca_file)},
    {"tls_disable_client_certs", read_bool, IN_LISTENER(tls_disable_client_certs)},
    {"tls_require_and_verify_client_cert", read_bool, IN_LISTENER(tls_require_client_cert)},
    {"tls_min_version", read_min_version, IN_LISTENER(only_tls13)},
    {"max_request_size", read_int, IN_LISTENER(request_size_max)},
    {"disable_unauthed_rekey_endpoints", read_not, IN_LISTENER(allow_unauthed_rekey)},
    {"disable_unauthed_generate_root_endpoints", read_not,
     IN_LISTENER(allow_unauthed_generate_root)},
    {"telemetry", read_listener_telemetry, IN_LISTENER(unauthenticated_metrics)},
    {"tls_max_version", NULL, 0},
    {"tls_cipher_suites", NULL, 0},
    {"tls_prefer_server_cipher_suites", NULL, 0},
    {"http_idle_timeout", NULL, 0},
    {"http_read_timeout", NULL, 0},
    {"http_read_header_timeout", NULL, 0},
    {"http_write_timeout", NULL, 0},
    {"max_request_duration", NULL, 0},
    {"max_request_json_memory", NULL, 0},
    {"max_request_json_strings", NULL, 0},
    {"proxy_protocol_behavior", NULL, 0},
    {"proxy_protocol_authorized_addrs", NULL, 0},
    {"x_forwarded_for_authorized_addrs", NULL, 0},
    {"x_forwarded_for_hop_skips", NULL, 0},
    {"x_forwarded_for_reject_not_authorized", NULL, 0},
    {"x_forwarded_for_reject_not_present", NULL, 0},
    {"require_request_header", NULL, 0},
    {"profiling", NULL, 0},
    {"inflight_requests_logging", NULL, 0},
    {"custom_response_headers", NULL, 0},
    {"disable_printable_check", NULL, 0},
    {"disable_replication_status_endpoints", NULL, 0},
    {"redact_addresses", NULL, 0},
    {"redact_cluster_name", NULL, 0},
    {"redact_version", NULL, 0},
    {"chroot_namespace", NULL, 0},
    {"enable_quit", NULL, 0},
    {"role", NULL, 0},
    {"purpose", NULL, 0},
};

static const struct known telemetry_keys[] = {
    {"unauthenticated_metrics_access", read_bool, 0},
};

#define IN_JOIN(field) offsetof(struct config_join, field)
static const struct known join_keys[] = {
    {"leader_api_addr", read_text, IN_JOIN(leader_api_addr)},
    {"leader_ca_cert_file", read_text, IN_JOIN(ca_cert_file)},
    {"leader_client_cert_file", read_text, IN_JOIN(client_cert_file)},
    {"leader_client_key_file", read_text, IN_JOIN(client_key_file)},
    {"leader_ca_cert", read_text, IN_JOIN(ca_cert)},
    {"leader_client_cert", read_text, IN_JOIN(client_cert)},
    {"leader_client_key", read_text, IN_JOIN(client_key)},
    {"leader_tls_servername", read_text, IN_JOIN(tls_servername)},
    {"auto_join", read_text, IN_JOIN(auto_join)},
    {"auto_join_scheme", NULL, 0},
    {"auto_join_port", NULL, 0},
};

static cf_status read_join(struct reading *reading, const struct hcl_value *value, void *to);

#define IN_CONFIG(field) offsetof(struct config, field)
static const struct known storage_keys[] = {
    {"path", read_text, IN_CONFIG(path)},
    {"node_id", read_text, IN_CONFIG(node_id)},
    {"retry_join", read_join, 0},
    {"performance_multiplier", NULL, 0},
    {"trailing_logs", read_int, IN_CONFIG(trailing_logs)},
    {"state_wal", read_bool, IN_CONFIG(state_wal)},
    {"snapshot_threshold", NULL, 0},
    {"snapshot_path", read_text, IN_CONFIG(snapshot_path)},
    {"snapshot_interval", read_duration, IN_CONFIG(snapshot_interval_s)},
    {"max_entry_size", NULL, 0},
    {"max_transaction_size", NULL, 0},
    {"autopilot_reconcile_interval", NULL, 0},
    {"autopilot_update_interval", NULL, 0},
    {"retry_join_as_non_voter", read_bool, IN_CONFIG(join_as_non_voter)},
    {"node_cert_ttl", read_duration, IN_CONFIG(node_cert_ttl_s)},
};

static const struct known replication_keys[] = {
    {"allow_forwarding_via_header", read_bool, IN_CONFIG(forwards_by_header)},
    {"resolver_discover_servers", NULL, 0},
    {"logshipper_buffer_length", NULL, 0},
    {"logshipper_buffer_size", NULL, 0},
    {"best_effort_wal_wait_duration", NULL, 0},
    {"allow_forwarding_via_token", NULL, 0},
};

#define IN_SEAL(field) offsetof(struct config_seal, field)
static const struct known static_seal_keys[] = {
    {"current_key_id", read_text, IN_SEAL(key_id)},
    {"current_key", read_text, IN_SEAL(key)},
    {"previous_key_id", NULL, 0},
    {"previous_key", NULL, 0},
    {"disabled", read_bool, IN_SEAL(disabled)},
};

static const struct known transit_seal_keys[] = {
    {"address", read_text, IN_SEAL(address)},
    {"token", read_text, IN_SEAL(token)},
    {"key_name", read_text, IN_SEAL(key_name)},
    {"mount_path", read_text, IN_SEAL(mount_path)},
    {"namespace", read_text, IN_SEAL(ns)},
    {"tls_ca_cert", read_text, IN_SEAL(ca_file)},
    {"tls_client_cert", read_text, IN_SEAL(cert_file)},
    {"tls_client_key", read_text, IN_SEAL(key_file)},
    {"tls_server_name", read_text, IN_SEAL(server_name)},
    {"tls_skip_verify", read_bool, IN_SEAL(skip_verify)},
    {"disable_renewal", read_bool, IN_SEAL(disable_renewal)},
    {"disabled", read_bool, IN_SEAL(disabled)},
    {"key_id_prefix", NULL, 0},
};

#define IN_AUDIT(field) offsetof(struct audit_stanza, field)
static cf_status read_slice(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct cf_slice text;
    CF_TRY(hcl_to_string(value, "value", &text, reading->err));
    *(struct cf_slice *)to = arena_copy(reading->config->arena, text);
    return CF_OK;
}

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
        CF_TRY(read_text(reading, hcl_at(value, i), &list[i]));
        if (list[i][0] != '/') {
            return cf_fail(reading->err, CF_INVALID, "must be a list of absolute paths");
        }
    }
    *(const char ***)to = list;
    return CF_OK;
}

#define IN_LOCKOUT(field) offsetof(struct lockout_settings, field)
static const struct known lockout_keys[] = {
    {"lockout_threshold", read_int, IN_LOCKOUT(threshold)},
    {"lockout_duration", read_duration, IN_LOCKOUT(duration_s)},
    {"lockout_counter_reset", read_duration, IN_LOCKOUT(reset_s)},
    {"disable_lockout", read_bool, IN_LOCKOUT(is_off)},
};

static const struct known audit_keys[] = {
    {"description", read_slice, IN_AUDIT(description)},
    {"local", read_bool, IN_AUDIT(is_local)},
    {"options", read_options, IN_AUDIT(options)},
    {"path", read_slice, IN_AUDIT(path)},
    {"type", read_slice, IN_AUDIT(type)},
};

static cf_status read_listener(struct reading *reading, const struct hcl_item *block);
static cf_status read_storage(struct reading *reading, const struct hcl_item *block);
static cf_status read_seal(struct reading *reading, const struct hcl_item *block);
static cf_status read_replication(struct reading *reading, const struct hcl_value *value, void *to);

static const struct known top_keys[] = {
    {"api_addr", read_text, IN_CONFIG(api_addr)},
    {"cluster_addr", read_text, IN_CONFIG(cluster_addr)},
    {"cluster_name", read_text, IN_CONFIG(cluster_name)},
    {"ui", read_bool, IN_CONFIG(ui)},
    {"disable_mlock", read_bool, IN_CONFIG(disable_mlock)},
    {"log_level", read_level, IN_CONFIG(log_level)},
    {"log_format", read_format, IN_CONFIG(log_json)},
    {"raw_storage_endpoint", read_bool, IN_CONFIG(raw_storage_endpoint)},
    {"default_lease_ttl", read_duration, IN_CONFIG(default_lease_ttl_s)},
    {"max_lease_ttl", read_duration, IN_CONFIG(max_lease_ttl_s)},
    {"pid_file", read_text, IN_CONFIG(pid_file)},
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
    {"replication", read_replication, 0},
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
    {"unsafe_allow_api_audit_creation", read_bool, IN_CONFIG(audit_by_api)},
    {"allow_audit_log_prefixing", read_bool, IN_CONFIG(audit_may_prefix)},
    {"administrative_namespace_path", NULL, 0},
    {"reporting", NULL, 0},
};

static const struct {
    const char *block;
    const struct known *keys;
    size_t count;
} tables[] = {
    {"top", top_keys, CF_LENGTH(top_keys)},
    {"listener", listener_keys, CF_LENGTH(listener_keys)},
    {"listener.telemetry", telemetry_keys, CF_LENGTH(telemetry_keys)},
    {"storage", storage_keys, CF_LENGTH(storage_keys)},
    {"storage.retry_join", join_keys, CF_LENGTH(join_keys)},
    {"seal", static_seal_keys, CF_LENGTH(static_seal_keys)},
    {"seal.transit", transit_seal_keys, CF_LENGTH(transit_seal_keys)},
    {"audit", audit_keys, CF_LENGTH(audit_keys)},
    {"user_lockout", lockout_keys, CF_LENGTH(lockout_keys)},
    {"replication", replication_keys, CF_LENGTH(replication_keys)},
};

void config_each_key(config_visit visit, void *context)
{
    for (size_t t = 0; t < CF_LENGTH(tables); t++) {
        for (size_t i = 0; i < tables[t].count; i++) {
            const struct known *key = &tables[t].keys[i];
            bool is_block = tables[t].keys == top_keys && key->read == NULL && key->offset == 1;
            visit(context, tables[t].block, key->name, key->read != NULL || is_block);
        }
    }
}

/* ---- reading ---- */

static cf_status at(struct reading *reading, uint32_t line, cf_status status, const char *key)
{
    if (reading->err == NULL) {
        return status;
    }
    return cf_error_prefix(reading->err, status, "%s:%u: \"%s\"", reading->file, line, key);
}

static cf_status unknown(struct reading *reading, const struct hcl_item *item,
                         const struct known *known, size_t count)
{
    const char *names[CF_LENGTH(top_keys) + CF_LENGTH(listener_keys)];
    for (size_t i = 0; i < count; i++) {
        names[i] = known[i].name;
    }
    const char *near = hcl_nearest(item->key, names, count);
    return cf_fail(reading->err, CF_INVALID, "%s:%u: unknown key \"%.*s\"%s%s%s", reading->file,
                   item->line, CF_SHOW(item->key), near != NULL ? "; did you mean \"" : "",
                   near != NULL ? near : "", near != NULL ? "\"?" : "; remove it");
}

static const struct known *find(const struct known *known, size_t count, struct cf_slice key)
{
    for (size_t i = 0; i < count; i++) {
        if (cf_slice_is(key, known[i].name)) {
            return &known[i];
        }
    }
    return NULL;
}

static void warn_unused(struct reading *reading, const struct hcl_item *item)
{
    cf_warn("config", "%s:%u: \"%.*s\" is known from other servers and has no effect here",
            reading->file, item->line, CF_SHOW(item->key));
}

/* The keys of one object, by a table, into the struct `base`. */
static cf_status read_object(struct reading *reading, const struct hcl_value *object,
                             const struct known *known, size_t count, void *base)
{
    for (uint32_t i = 0; i < object->count; i++) {
        const struct hcl_item *item = &object->items[i];
        const struct known *key = find(known, count, item->key);
        if (key == NULL) {
            return unknown(reading, item, known, count);
        }
        if (key->read == NULL) {
            warn_unused(reading, item);
            continue;
        }
        cf_status status = key->read(reading, &item->value, (char *)base + key->offset);
        if (status != CF_OK) {
            return at(reading, item->line, status, key->name);
        }
    }
    return CF_OK;
}

static cf_status want_object(struct reading *reading, const struct hcl_value *value)
{
    return value->type == HCL_OBJECT
               ? CF_OK
               : cf_fail(reading->err, CF_INVALID, "must be a block in braces");
}

static cf_status read_replication(struct reading *reading, const struct hcl_value *value, void *to)
{
    CF_TRY(want_object(reading, value));
    return read_object(reading, value, replication_keys, CF_LENGTH(replication_keys), to);
}

static cf_status read_listener_telemetry(struct reading *reading, const struct hcl_value *value,
                                         void *to)
{
    CF_TRY(want_object(reading, value));
    return read_object(reading, value, telemetry_keys, CF_LENGTH(telemetry_keys), to);
}

static cf_status read_join(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct config *config = reading->config;
    (void)to;
    for (size_t i = 0; i < hcl_count(value); i++) {
        const struct hcl_value *one = hcl_at(value, i);
        CF_TRY(want_object(reading, one));
        if (config->join_count == CONFIG_JOINS_MAX) {
            return cf_fail(reading->err, CF_INVALID, "more than %zu retry_join blocks",
                           CONFIG_JOINS_MAX);
        }
        struct config_join *join = &config->joins[config->join_count++];
        CF_TRY(read_object(reading, one, join_keys, CF_LENGTH(join_keys), join));
        if (join->auto_join != NULL) {
            return cf_fail(reading->err, CF_INVALID,
                           "auto_join is not supported: list the members by leader_api_addr (a DNS "
                           "name that has all their addresses will do)");
        }
        if ((join->client_cert != NULL) != (join->client_key != NULL) ||
            (join->client_cert_file != NULL) != (join->client_key_file != NULL)) {
            return cf_fail(reading->err, CF_INVALID,
                           "a client certificate needs its key, and the other way round");
        }
        if (join->leader_api_addr == NULL) {
            return cf_fail(reading->err, CF_INVALID, "needs leader_api_addr");
        }
    }
    return CF_OK;
}

static cf_status read_listener(struct reading *reading, const struct hcl_item *block)
{
    struct config *config = reading->config;
    if (!cf_slice_is(block->labels[0], "tcp")) {
        return cf_fail(reading->err, CF_INVALID, "%s:%u: unknown listener type \"%.*s\"; use "
                                                 "\"tcp\"",
                       reading->file, block->line, CF_SHOW(block->labels[0]));
    }
    if (config->listener_count == CONFIG_LISTENERS_MAX) {
        return cf_fail(reading->err, CF_INVALID, "%s:%u: more than %zu listeners", reading->file,
                       block->line, CONFIG_LISTENERS_MAX);
    }
    struct config_listener *listener = &config->listeners[config->listener_count++];
    CF_TRY(read_object(reading, &block->value, listener_keys, CF_LENGTH(listener_keys), listener));
    if (listener->address == NULL) {
        listener->address = "127.0.0.1:8200";
    }
    if (!listener->tls_disable &&
        (listener->tls_cert_file == NULL || listener->tls_key_file == NULL)) {
        return cf_fail(reading->err, CF_INVALID,
                       "%s:%u: listener needs tls_cert_file and tls_key_file, or tls_disable = "
                       "true",
                       reading->file, block->line);
    }
    return CF_OK;
}

static cf_status read_storage(struct reading *reading, const struct hcl_item *block)
{
    static const char *const types[] = {"raft", "file", "inmem"};
    struct config *config = reading->config;
    if ((int)config->storage >= 0) {
        return cf_fail(reading->err, CF_INVALID,
                       "%s:%u: a second storage block; a node has one place for its data: remove one",
                       reading->file, block->line);
    }
    for (size_t i = 0; i < CF_LENGTH(types); i++) {
        if (cf_slice_is(block->labels[0], types[i])) {
            config->storage = (enum storage_type)i;
            CF_TRY(read_object(reading, &block->value, storage_keys, CF_LENGTH(storage_keys),
                               config));
            if (config->storage != STORAGE_INMEM && config->path == NULL) {
                return cf_fail(reading->err, CF_INVALID, "%s:%u: storage \"%s\" needs a path",
                               reading->file, block->line, types[i]);
            }
            return CF_OK;
        }
    }
    return cf_fail(reading->err, CF_INVALID,
                   "%s:%u: unknown storage \"%.*s\"; use \"raft\", \"file\" or \"inmem\"",
                   reading->file, block->line, CF_SHOW(block->labels[0]));
}

static const char *or_environment(const char *given, const char *name)
{
    return given != NULL ? given : getenv(name);
}

static cf_status check_transit(struct reading *reading, const struct hcl_item *block,
                               struct config_seal *seal)
{
    seal->address = or_environment(seal->address, "VAULT_ADDR");
    seal->token = or_environment(seal->token, "VAULT_TOKEN");
    seal->key_name = or_environment(seal->key_name, "VAULT_TRANSIT_SEAL_KEY_NAME");
    seal->mount_path = or_environment(seal->mount_path, "VAULT_TRANSIT_SEAL_MOUNT_PATH");
    if (seal->address == NULL || seal->key_name == NULL || seal->mount_path == NULL ||
        seal->token == NULL) {
        return cf_fail(reading->err, CF_INVALID,
                       "%s:%u: seal \"transit\" needs address, token, key_name and mount_path",
                       reading->file, block->line);
    }
    if (strlen(seal->key_name) > SEAL_KEY_ID_MAX) {
        return cf_fail(reading->err, CF_INVALID, "%s:%u: key_name is longer than %zu bytes",
                       reading->file, block->line, SEAL_KEY_ID_MAX);
    }
    return CF_OK;
}

/* One seal to use, and beside it at most one to leave. */
static cf_status check_seals(struct reading *reading, const struct hcl_item *block)
{
    struct config *config = reading->config;
    const struct config_seal *last = &config->seals[config->seal_count - 1];
    for (const struct config_seal *seal = config->seals; seal != last; seal++) {
        if (seal->disabled == last->disabled) {
            return cf_fail(reading->err, CF_INVALID,
                           "%s:%u: a second seal: to change from one to the other, give the old "
                           "one disabled = \"true\"",
                           reading->file, block->line);
        }
        if (seal->type == last->type) {
            return cf_fail(reading->err, CF_INVALID,
                           "%s:%u: a change between two seals of type \"%s\" is not supported: "
                           "change to another type first",
                           reading->file, block->line, seal_type_name(seal->type));
        }
    }
    return CF_OK;
}

static cf_status read_seal(struct reading *reading, const struct hcl_item *block)
{
    struct config *config = reading->config;
    bool is_transit = cf_slice_is(block->labels[0], "transit");
    if (cf_slice_is(block->labels[0], "shamir")) {
        return CF_OK;
    }
    if (!is_transit && !cf_slice_is(block->labels[0], "static")) {
        return cf_fail(reading->err, CF_INVALID,
                       "%s:%u: unknown seal \"%.*s\"; use \"static\", \"transit\", or none for shamir",
                       reading->file, block->line, CF_SHOW(block->labels[0]));
    }
    if (config->seal_count == CONFIG_SEALS_MAX) {
        return cf_fail(reading->err, CF_INVALID, "%s:%u: more than %zu seals", reading->file,
                       block->line, CONFIG_SEALS_MAX);
    }
    struct config_seal *seal = &config->seals[config->seal_count++];
    seal->type = is_transit ? SEAL_TRANSIT : SEAL_STATIC;
    if (is_transit) {
        CF_TRY(read_object(reading, &block->value, transit_seal_keys, CF_LENGTH(transit_seal_keys),
                           seal));
        CF_TRY(check_transit(reading, block, seal));
    } else {
        CF_TRY(read_object(reading, &block->value, static_seal_keys, CF_LENGTH(static_seal_keys),
                           seal));
        if (seal->key == NULL || seal->key_id == NULL) {
            return cf_fail(reading->err, CF_INVALID,
                           "%s:%u: seal \"static\" needs current_key_id and current_key",
                           reading->file, block->line);
        }
    }
    return check_seals(reading, block);
}

static const struct config_seal *find_seal(const struct config *config, bool disabled)
{
    for (size_t i = 0; i < config->seal_count; i++) {
        if (config->seals[i].disabled == disabled) {
            return &config->seals[i];
        }
    }
    return NULL;
}

const struct config_seal *config_auto_seal(const struct config *config)
{
    return find_seal(config, false);
}

const struct config_seal *config_old_seal(const struct config *config)
{
    return find_seal(config, true);
}

/* user_lockout "userpass" { ... }; "all" is for the types without a block. */
static cf_status read_lockout(struct reading *reading, const struct hcl_item *block)
{
    struct config *config = reading->config;
    if (config->lockout_count == CONFIG_LOCKOUTS_MAX) {
        return cf_fail(reading->err, CF_INVALID, "%s:%u: more than %zu user_lockout blocks",
                       reading->file, block->line, CONFIG_LOCKOUTS_MAX);
    }
    struct lockout_rule *rule = &config->lockouts[config->lockout_count++];
    rule->type = arena_copy(config->arena, block->labels[0]);
    CF_TRY(read_object(reading, &block->value, lockout_keys, CF_LENGTH(lockout_keys),
                       &rule->settings));
    return rule->settings.threshold >= 0
               ? CF_OK
               : cf_fail(reading->err, CF_INVALID, "%s:%u: lockout_threshold is negative",
                         reading->file, block->line);
}

/* audit "file" "to-file" { ... } */
static cf_status read_audit(struct reading *reading, const struct hcl_item *block)
{
    struct config *config = reading->config;
    if (config->audit_count == CONFIG_AUDITS_MAX) {
        return cf_fail(reading->err, CF_INVALID, "%s:%u: more than %zu audit devices",
                       reading->file, block->line, CONFIG_AUDITS_MAX);
    }
    struct audit_stanza *audit = &config->audits[config->audit_count];
    *audit = (struct audit_stanza){.type = arena_copy(config->arena, block->labels[0]),
                                   .path = arena_copy(config->arena, block->labels[1])};
    CF_TRY(read_object(reading, &block->value, audit_keys, CF_LENGTH(audit_keys), audit));
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

static cf_status read_blocks(struct reading *reading, const struct hcl_item *item)
{
    const struct hcl_item *blocks;
    size_t count;
    unsigned labels = cf_slice_is(item->key, "audit") ? 2 : 1;
    cf_status status =
        hcl_blocks(reading->config->arena, item, labels, &blocks, &count, reading->err);
    if (status != CF_OK) {
        return at(reading, item->line, status, arena_text(reading->config->arena, item->key));
    }
    for (size_t i = 0; i < count; i++) {
        if (cf_slice_is(item->key, "listener")) {
            CF_TRY(read_listener(reading, &blocks[i]));
        } else if (cf_slice_is(item->key, "seal")) {
            CF_TRY(read_seal(reading, &blocks[i]));
        } else if (cf_slice_is(item->key, "user_lockout")) {
            CF_TRY(read_lockout(reading, &blocks[i]));
        } else if (labels == 2) {
            CF_TRY(read_audit(reading, &blocks[i]));
        } else {
            CF_TRY(read_storage(reading, &blocks[i]));
        }
    }
    return CF_OK;
}

static cf_status read_top(struct reading *reading, const struct hcl_value *top)
{
    for (uint32_t i = 0; i < top->count; i++) {
        const struct hcl_item *item = &top->items[i];
        const struct known *key = find(top_keys, CF_LENGTH(top_keys), item->key);
        if (key == NULL) {
            return unknown(reading, item, top_keys, CF_LENGTH(top_keys));
        }
        if (key->read != NULL) {
            cf_status status =
                key->read(reading, &item->value, (char *)reading->config + key->offset);
            if (status != CF_OK) {
                return at(reading, item->line, status, key->name);
            }
        } else if (key->offset == 1) {
            CF_TRY(read_blocks(reading, item));
        } else {
            warn_unused(reading, item);
        }
    }
    return CF_OK;
}

static cf_status read_file(const char *path, struct cf_buf *to, struct cf_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        int reason = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return cf_fail(err, CF_INVALID, "cannot read configuration \"%s\": %s", path,
                       strerror(reason));
    }
    if (!S_ISREG(info.st_mode) || info.st_size > FILE_SIZE_MAX) {
        (void)close(fd);
        return cf_fail(err, CF_INVALID, "configuration \"%s\" is no file of at most 1 MiB", path);
    }
    ssize_t got = 1;
    while (got > 0 && cf_buf_reserve(to, 4096)) {
        got = read(fd, to->data + to->size, 4096);
        to->size += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    return got == 0 ? CF_OK
                    : cf_fail(err, CF_INVALID, "cannot read configuration \"%s\"", path);
}

static cf_status load_file(struct config *config, const char *path, struct cf_error *err)
{
    CF_BUF(text) = {.max = (size_t)2 << 20};
    const struct hcl_value *top;
    struct reading reading = {config, path, err};
    CF_TRY(read_file(path, &text, err));
    cf_status status = hcl_parse(config->arena, cf_buf_slice(&text), &top, err);
    if (status != CF_OK) {
        return cf_error_prefix(err, status, "%s", path);
    }
    return read_top(&reading, top);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static cf_status load_folder(struct config *config, const char *path, struct cf_error *err)
{
    const char *names[256];
    size_t count = 0;
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return cf_fail(err, CF_INVALID, "cannot read folder \"%s\": %s", path, strerror(errno));
    }
    for (struct dirent *entry = readdir(folder); entry != NULL && count < CF_LENGTH(names);
         entry = readdir(folder)) {
        struct cf_slice name = cf_slice_str(entry->d_name);
        if (cf_slice_ends(name, CF_SLICE(".hcl")) || cf_slice_ends(name, CF_SLICE(".json"))) {
            names[count++] = arena_printf(config->arena, "%s/%s", path, entry->d_name);
        }
    }
    (void)closedir(folder);
    qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 0; i < count; i++) {
        CF_TRY(load_file(config, names[i], err));
    }
    return count != 0 ? CF_OK
                      : cf_fail(err, CF_INVALID, "folder \"%s\" holds no .hcl or .json file",
                                path);
}

static struct config *config_new(void)
{
    struct config *config = cf_new(struct config);
    config->arena = arena_new(8192);
    config->log_level = CF_LOG_INFO;
    config->default_lease_ttl_s = DEFAULT_TTL_S;
    config->max_lease_ttl_s = DEFAULT_TTL_S;
    config->storage = (enum storage_type)-1;
    return config;
}

/* The same host, some ports further. */
static const char *beside(struct config *config, const char *scheme, struct cf_slice host,
                          const char *address, int port_offset)
{
    const char *colon = strrchr(address, ':');
    long port = (colon != NULL ? strtol(colon + 1, NULL, 10) : 8200) + port_offset;
    return arena_printf(config->arena, "%s%.*s:%ld", scheme, CF_SHOW(host), port);
}

static struct cf_slice host_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    return cf_slice_of(address, colon != NULL ? (size_t)(colon - address) : strlen(address));
}

/* "0.0.0.0:8200" as others reach it: loopback for the unspecified address. */
static const char *reachable(struct config *config, const char *scheme, const char *address)
{
    struct cf_slice host = host_of(address);
    if (host.size == 0 || cf_slice_is(host, "0.0.0.0") || cf_slice_is(host, "[::]")) {
        host = CF_SLICE("127.0.0.1");
    }
    return beside(config, scheme, host, address, 0);
}

/* The folders that the configuration was read from, and the usual one. */
static void derive_audit(struct config *config, const char *const *paths, size_t count)
{
    if (config->audit_directories != NULL) {
        return;
    }
    const char **list = arena_alloc(config->arena, (count + 2) * sizeof(*list));
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        char *whole = realpath(paths[i], NULL);
        struct stat info;
        if (whole == NULL) {
            continue;
        }
        char *slash = strrchr(whole, '/');
        if (stat(whole, &info) == 0 && !S_ISDIR(info.st_mode) && slash != NULL && slash != whole) {
            *slash = '\0';
        }
        list[at++] = arena_printf(config->arena, "%s", whole);
        free(whole);
    }
    list[at] = "/var/log/coffer";
    config->audit_directories = list;
}

static void derive(struct config *config)
{
    struct config_listener *first = &config->listeners[0];
    for (size_t i = 0; i < config->listener_count; i++) {
        struct config_listener *listener = &config->listeners[i];
        listener->allow_unauthed_rekey |= (config->open_ceremonies & 1u) != 0;
        listener->allow_unauthed_generate_root |= (config->open_ceremonies & 2u) != 0;
        if (listener->cluster_address == NULL) {
            /* To listen on, so the unspecified address stays what it is. */
            listener->cluster_address =
                beside(config, "", host_of(listener->address), listener->address, 1);
        }
    }
    if (config->api_addr == NULL) {
        config->api_addr =
            reachable(config, first->tls_disable ? "http://" : "https://", first->address);
    }
    if (config->cluster_addr == NULL) {
        config->cluster_addr = reachable(config, "https://", first->cluster_address);
    }
    if (config->node_id == NULL) {
        char host[256] = "node";
        cf_ignore(gethostname(host, sizeof(host) - 1) != 0, "the default will do");
        config->node_id = arena_printf(config->arena, "%s", host);
    }
}

cf_status config_load(const char *const *paths, size_t count, struct config **ret,
                      struct cf_error *err)
{
    CF_OWNED(config) config = config_new();
    for (size_t i = 0; i < count; i++) {
        struct stat info;
        bool is_folder = stat(paths[i], &info) == 0 && S_ISDIR(info.st_mode);
        CF_TRY(is_folder ? load_folder(config, paths[i], err) : load_file(config, paths[i], err));
    }
    if ((int)config->storage < 0) {
        return cf_fail(err, CF_INVALID, "the configuration has no storage block: add storage "
                                        "\"raft\" { path = \"...\" }");
    }
    if (config->listener_count == 0) {
        return cf_fail(err, CF_INVALID, "the configuration has no listener block: add listener "
                                        "\"tcp\" { address = \"...\" }");
    }
    derive(config);
    derive_audit(config, paths, count);
    config->paths = arena_alloc(config->arena, count * sizeof(*config->paths));
    for (size_t i = 0; i < count; i++) {
        config->paths[config->path_count++] =
            arena_text(config->arena, cf_slice_str(paths[i]));
    }
    *ret = config_take(&config);
    return CF_OK;
}

struct config *config_dev(const char *root_token, const char *listen_address)
{
    struct config *config = config_new();
    config->is_dev = true;
    config->dev_root_token = root_token;
    config->dev_keeps_token = true;
    config->storage = STORAGE_INMEM;
    config->disable_mlock = true;
    config->node_id = "dev";
    config->listener_count = 1;
    config->listeners[0] = (struct config_listener){
        .address = listen_address, .tls_disable = true, .allow_unauthed_rekey = true,
        .allow_unauthed_generate_root = true};
    config->audit_by_api = true; /* in the working directory */
    derive(config);
    char *here = getcwd(NULL, 0);
    const char *const folders[] = {here};
    derive_audit(config, folders, here != NULL ? 1 : 0);
    free(here);
    return config;
}

void config_free(struct config *config)
{
    if (config != NULL) {
        arena_free(config->arena);
        cf_free(config);
    }
}

const char *storage_type_name(enum storage_type type)
{
    static const char *const names[] = {"raft", "file", "inmem"};
    return names[type];
}
