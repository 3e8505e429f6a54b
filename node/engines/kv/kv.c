/* node/engines/kv/kv.c: the secrets engine "kv": its paths, and which version a mount has. */
#include "node/engines/kv/kv_int.h"

/* ---- version 2 ---- */

static const struct field data_fields[] = {
    {"data", FIELD_MAP, "The secret: any object"},
    {"options", FIELD_MAP, "cas: the current version must be this one; 0: there must be none"},
    {"version", FIELD_INT, "Version to read; 0: the newest"},
    FIELD_END,
};

static const struct field versions_fields[] = {
    {"versions", FIELD_LIST, "Numbers of versions"},
    FIELD_END,
};

static const struct field metadata_fields[] = {
    {"max_versions", FIELD_INT, "Versions to keep; 0: as the mount says"},
    {"cas_required", FIELD_BOOL, "Writes must name the current version"},
    {"delete_version_after", FIELD_DURATION, "New versions are deleted after so long"},
    {"custom_metadata", FIELD_MAP, "Strings that describe the secret"},
    {"after", FIELD_STRING, "List names after this one"},
    {"limit", FIELD_INT, "List so many names"},
    FIELD_END,
};

static const struct field config_fields[] = {
    {"max_versions", FIELD_INT, "Versions to keep of each secret; 0: 10"},
    {"cas_required", FIELD_BOOL, "Writes must name the current version"},
    {"delete_version_after", FIELD_DURATION,
     "New versions are deleted after so long; negative: never"},
    FIELD_END,
};

static const struct field subkeys_fields[] = {
    {"version", FIELD_INT, "Version to read; 0: the newest"},
    {"depth", FIELD_INT, "Levels to show; 0: all"},
    FIELD_END,
};

static const struct route versioned_routes[] = {
    {.pattern = "config",
     .read = kv_config_read,
     .write = kv_config_write,
     .fields = config_fields,
     .help = "Settings of the mount."},
    {.pattern = "data/:path...",
     .read = kv_data_read,
     .write = kv_data_write,
     .patch = kv_data_patch,
     .del = kv_data_delete,
     .fields = data_fields,
     .exists = kv_entry_exists,
     .help = "Writes, merges, reads and deletes versions of a secret."},
    {.pattern = "delete/:path...",
     .write = kv_versions_delete,
     .fields = versions_fields,
     .help = "Marks versions as deleted; undelete/ brings them back."},
    {.pattern = "undelete/:path...",
     .write = kv_versions_undelete,
     .fields = versions_fields,
     .help = "Brings deleted versions back."},
    {.pattern = "destroy/:path...",
     .write = kv_versions_destroy,
     .fields = versions_fields,
     .help = "Removes the data of versions for good."},
    {.pattern = "subkeys/:path...",
     .read = kv_subkeys_read,
     .fields = subkeys_fields,
     .help = "Shows the structure of a secret without its values."},
    {.pattern = "metadata", .list = kv_list, .scan = kv_scan, .help = "Lists the secrets."},
    {.pattern = "metadata/:path...",
     .read = kv_metadata_read,
     .list = kv_list,
     .scan = kv_scan,
     .write = kv_metadata_write,
     .patch = kv_metadata_patch,
     .del = kv_metadata_delete,
     .fields = metadata_fields,
     .exists = kv_entry_exists,
     .help = "What is known of a secret beside its data; lists of secrets."},
    {.pattern = "detailed-metadata",
     .list = kv_list_detailed,
     .scan = kv_scan_detailed,
     .help = "Lists the secrets with their metadata."},
    {.pattern = "detailed-metadata/:path...",
     .list = kv_list_detailed,
     .scan = kv_scan_detailed,
     .help = "Lists the secrets with their metadata."},
    {.pattern = ":path...",
     .read = kv_hint,
     .list = kv_hint,
     .scan = kv_hint,
     .write = kv_hint,
     .patch = kv_hint,
     .del = kv_hint,
     .flags = ROUTE_READS,
     .help = "No path of version 2: secrets are at data/<path>."},
    ROUTE_END,
};

/* ---- which version ---- */

static bool is_versioned(const struct json *options)
{
    return cf_slice_is(json_get_string(options, "version"), "2");
}

static const struct route *kv_select(const struct mount *mount)
{
    return is_versioned(mount->options) ? versioned_routes : kv_plain_routes;
}

/* Both versions keep a secret under the same name and version 2 reads what version 1 wrote, so the
 * way up is one change of the mount's entry, whatever the mount holds. There is no way down. */
static cf_status kv_configure(struct request *rq, struct mount *mount, const struct mount *before,
                              struct cf_error *err)
{
    struct cf_slice version = json_get_string(mount->options, "version");
    if (version.size != 0 && !cf_slice_is(version, "1") && !cf_slice_is(version, "2")) {
        return cf_fail(err, CF_INVALID, "option \"version\" must be \"1\" or \"2\"");
    }
    if (before == NULL) {
        return CF_OK;
    }
    bool was_versioned = is_versioned(before->options);
    if (was_versioned && !is_versioned(mount->options)) {
        return cf_fail(err, CF_INVALID, "cannot downgrade mount from version 2");
    }
    if (!was_versioned && is_versioned(mount->options)) {
        response_warn(rq,
                      "Upgraded mount from version 1 to version 2: secrets are at data/<path>.");
    }
    return CF_OK;
}

const struct engine_ops engine_kv = {
    .type = "kv",
    .kind = ENGINE_SECRETS,
    .help = "The kv engine keeps objects under paths; version 2 keeps their history, too.",
    .routes = kv_plain_routes,
    .select = kv_select,
    .configure = kv_configure,
};
