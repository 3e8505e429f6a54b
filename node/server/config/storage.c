/* node/server/config/storage.c: storage "raft", "file" and "inmem", and whom to join. */
#include "node/server/config/config_int.h"

#include "node/base/memory.h"

#define IN_JOIN(field) offsetof(struct config_join, field)
static const struct known join_keys[] = {
    {"leader_api_addr", config_read_text, IN_JOIN(leader_api_addr)},
    {"leader_ca_cert_file", config_read_text, IN_JOIN(ca_cert_file)},
    {"leader_client_cert_file", config_read_text, IN_JOIN(client_cert_file)},
    {"leader_client_key_file", config_read_text, IN_JOIN(client_key_file)},
    {"leader_ca_cert", config_read_text, IN_JOIN(ca_cert)},
    {"leader_client_cert", config_read_text, IN_JOIN(client_cert)},
    {"leader_client_key", config_read_text, IN_JOIN(client_key)},
    {"leader_tls_servername", config_read_text, IN_JOIN(tls_servername)},
    {"auto_join", config_read_text, IN_JOIN(auto_join)},
    {"auto_join_scheme", NULL, 0},
    {"auto_join_port", NULL, 0},
};

static cf_status read_join(struct reading *reading, const struct hcl_value *value, void *to);

#define IN_CONFIG(field) offsetof(struct config, field)
static const struct known storage_keys[] = {
    {"path", config_read_text, IN_CONFIG(path)},
    {"node_id", config_read_text, IN_CONFIG(node_id)},
    {"retry_join", read_join, 0},
    {"performance_multiplier", NULL, 0},
    {"trailing_logs", config_read_int, IN_CONFIG(trailing_logs)},
    {"state_wal", config_read_bool, IN_CONFIG(state_wal)},
    {"snapshot_threshold", NULL, 0},
    {"snapshot_path", config_read_text, IN_CONFIG(snapshot_path)},
    {"snapshot_interval", config_read_duration, IN_CONFIG(snapshot_interval_s)},
    {"max_entry_size", NULL, 0},
    {"max_transaction_size", NULL, 0},
    {"autopilot_reconcile_interval", NULL, 0},
    {"autopilot_update_interval", NULL, 0},
    {"retry_join_as_non_voter", config_read_bool, IN_CONFIG(join_as_non_voter)},
    {"node_cert_ttl", config_read_duration, IN_CONFIG(node_cert_ttl_s)},
    {"secondary_cert_ttl", config_read_duration, IN_CONFIG(secondary_cert_ttl_s)},
};

static cf_status read_join(struct reading *reading, const struct hcl_value *value, void *to)
{
    struct config *config = reading->config;
    (void)to;
    for (size_t i = 0; i < hcl_count(value); i++) {
        const struct hcl_value *one = hcl_at(value, i);
        CF_TRY(config_want_object(reading, one));
        if (config->join_count == CONFIG_JOINS_MAX) {
            return cf_fail(reading->err, CF_INVALID, "more than %zu retry_join blocks",
                           CONFIG_JOINS_MAX);
        }
        struct config_join *join = &config->joins[config->join_count++];
        CF_TRY(config_read_object(reading, one, join_keys, CF_LENGTH(join_keys), join));
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

cf_status config_read_storage(struct reading *reading, const struct hcl_item *block)
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
            CF_TRY(config_read_object(reading, &block->value, storage_keys, CF_LENGTH(storage_keys),
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

const struct config_table config_storage_tables[] = {
    {"storage", storage_keys, CF_LENGTH(storage_keys)},
    {"storage.retry_join", join_keys, CF_LENGTH(join_keys)},
    {NULL, NULL, 0},
};
