/* node/server/config/listener.c: listener "tcp". */
#include "node/server/config/config_int.h"

#include "node/base/memory.h"

static cf_status read_listener_telemetry(struct reading *reading, const struct hcl_value *value,
                                         void *to);

#define IN_LISTENER(field) offsetof(struct config_listener, field)
static const struct known listener_keys[] = {
    {"address", config_read_text, IN_LISTENER(address)},
    {"cluster_address", config_read_text, IN_LISTENER(cluster_address)},
    {"tls_disable", config_read_bool, IN_LISTENER(tls_disable)},
    {"tls_cert_file", config_read_text, IN_LISTENER(tls_cert_file)},
    {"tls_key_file", config_read_text, IN_LISTENER(tls_key_file)},
    {"tls_client_ca_file", config_read_text, IN_LISTENER(tls_client_ca_file)},
    {"tls_disable_client_certs", config_read_bool, IN_LISTENER(tls_disable_client_certs)},
    {"tls_require_and_verify_client_cert", config_read_bool, IN_LISTENER(tls_require_client_cert)},
    {"tls_min_version", config_read_min_version, IN_LISTENER(only_tls13)},
    {"max_request_size", config_read_int, IN_LISTENER(request_size_max)},
    {"disable_unauthed_rekey_endpoints", config_read_not, IN_LISTENER(allow_unauthed_rekey)},
    {"disable_unauthed_generate_root_endpoints", config_read_not,
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
    {"unauthenticated_metrics_access", config_read_bool, 0},
};

static cf_status read_listener_telemetry(struct reading *reading, const struct hcl_value *value,
                                         void *to)
{
    CF_TRY(config_want_object(reading, value));
    return config_read_object(reading, value, telemetry_keys, CF_LENGTH(telemetry_keys), to);
}

cf_status config_read_listener(struct reading *reading, const struct hcl_item *block)
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
    CF_TRY(config_read_object(reading, &block->value, listener_keys, CF_LENGTH(listener_keys), listener));
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

const struct config_table config_listener_tables[] = {
    {"listener", listener_keys, CF_LENGTH(listener_keys)},
    {"listener.telemetry", telemetry_keys, CF_LENGTH(telemetry_keys)},
    {NULL, NULL, 0},
};
