/* node/server/config/seal.c: seal "static" and "transit": the one to use, and the one to leave. */
#include "node/server/config/config_int.h"

#include <stdlib.h>

#include "node/base/memory.h"

#define IN_SEAL(field) offsetof(struct config_seal, field)
static const struct known static_seal_keys[] = {
    {"current_key_id", config_read_text, IN_SEAL(key_id)},
    {"current_key", config_read_text, IN_SEAL(key)},
    {"previous_key_id", config_read_text, IN_SEAL(previous_id)},
    {"previous_key", config_read_text, IN_SEAL(previous_key)},
    {"disabled", config_read_bool, IN_SEAL(disabled)},
};

static const struct known transit_seal_keys[] = {
    {"address", config_read_text, IN_SEAL(address)},
    {"token", config_read_text, IN_SEAL(token)},
    {"key_name", config_read_text, IN_SEAL(key_name)},
    {"mount_path", config_read_text, IN_SEAL(mount_path)},
    {"namespace", config_read_text, IN_SEAL(ns)},
    {"tls_ca_cert", config_read_text, IN_SEAL(ca_file)},
    {"tls_client_cert", config_read_text, IN_SEAL(cert_file)},
    {"tls_client_key", config_read_text, IN_SEAL(key_file)},
    {"tls_server_name", config_read_text, IN_SEAL(server_name)},
    {"tls_skip_verify", config_read_bool, IN_SEAL(skip_verify)},
    {"disable_renewal", config_read_bool, IN_SEAL(disable_renewal)},
    {"disabled", config_read_bool, IN_SEAL(disabled)},
    {"key_id_prefix", NULL, 0},
};

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

static cf_status check_static(struct reading *reading, const struct hcl_item *block, const struct config_seal *seal)
{
    if (seal->key == NULL || seal->key_id == NULL) {
        return cf_fail(reading->err, CF_INVALID, "%s:%u: seal \"static\" needs current_key_id and current_key",
                       reading->file, block->line);
    }
    if ((seal->previous_key == NULL) != (seal->previous_id == NULL)) {
        return cf_fail(reading->err, CF_INVALID,
                       "%s:%u: previous_key_id and previous_key of seal \"static\" go together", reading->file,
                       block->line);
    }
    if (seal->previous_id != NULL && strcmp(seal->previous_id, seal->key_id) == 0) {
        return cf_fail(reading->err, CF_INVALID,
                       "%s:%u: previous_key_id is current_key_id: a new key needs a new id, the same on all nodes",
                       reading->file, block->line);
    }
    if (strlen(seal->key_id) > SEAL_KEY_ID_MAX) {
        return cf_fail(reading->err, CF_INVALID, "%s:%u: current_key_id is longer than %zu bytes", reading->file,
                       block->line, SEAL_KEY_ID_MAX);
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

cf_status config_read_seal(struct reading *reading, const struct hcl_item *block)
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
        CF_TRY(config_read_object(reading, &block->value, transit_seal_keys, CF_LENGTH(transit_seal_keys),
                           seal));
        CF_TRY(check_transit(reading, block, seal));
    } else {
        CF_TRY(config_read_object(reading, &block->value, static_seal_keys, CF_LENGTH(static_seal_keys),
                           seal));
        CF_TRY(check_static(reading, block, seal));
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

const struct config_table config_seal_tables[] = {
    {"seal", static_seal_keys, CF_LENGTH(static_seal_keys)},
    {"seal.transit", transit_seal_keys, CF_LENGTH(transit_seal_keys)},
    {NULL, NULL, 0},
};
