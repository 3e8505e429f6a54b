/* node/core/sys/mount_entry.c: what a mount looks like to clients, and the settings that they send.
 */
#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/core/sys/sys_int.h"
#include "node/format/duration.h"

/* The fixed mounts answer what they always answered. */
static const struct {
    const char *type, *header;
    bool seal_wrap, is_local;
} fixed[] = {
    {"system", "Accept", true, false},
    {"identity", "Authorization", false, false},
    {"cubbyhole", NULL, false, true},
};

static const char *const list_settings[] = {
    "audit_non_hmac_request_keys", "audit_non_hmac_response_keys", "passthrough_request_headers",
    "allowed_response_headers"};

struct cf_slice mount_shown_path(const struct mount *mount)
{
    return mount->ops->kind == ENGINE_AUTH ? cf_slice_from(mount->path, strlen("auth/"))
                                           : mount->path;
}

/* ---- out ---- */

static void add_lockout(struct request *rq, const struct json *lockout, struct json *to)
{
    static const struct {
        const char *kept, *shown;
    } members[] = {{"lockout_threshold", "user_lockout_threshold"},
                   {"lockout_duration", "user_lockout_duration"},
                   {"lockout_counter_reset_duration", "user_lockout_counter_reset_duration"},
                   {"lockout_disable", "user_lockout_disable"}};
    for (size_t i = 0; i < CF_LENGTH(members); i++) {
        struct json *value = json_get(lockout, members[i].kept);
        if (value == NULL) {
            value = i == 3 ? json_from_bool(false) : json_from_int(rq->arena, 0);
        }
        json_set(rq->arena, to, members[i].shown, value);
    }
}

static void add_settings(struct request *rq, const struct mount *mount, struct json *to)
{
    json_set_bool(rq->arena, to, "force_no_cache", mount->force_no_cache);
    for (size_t i = 0; i < json_count(mount->config); i++) {
        if (cf_slice_is(mount->config->members[i].key, "user_lockout_config")) {
            add_lockout(rq, mount->config->members[i].value, to);
            continue;
        }
        json_object_set(rq->arena, to, mount->config->members[i].key,
                        mount->config->members[i].value);
    }
    if (mount->listing_visibility.size != 0) {
        json_set_string(rq->arena, to, "listing_visibility", mount->listing_visibility);
    }
    if (mount->ops->kind == ENGINE_AUTH) {
        json_set_string(rq->arena, to, "token_type",
                        mount->token_type.size != 0 ? mount->token_type
                                                    : CF_SLICE("default-service"));
    }
}

struct json *mount_entry_json(struct request *rq, const struct mount *mount)
{
    struct arena *arena = rq->arena;
    struct json *entry = json_object_new(arena);
    struct json *config = json_object_new(arena);
    bool seal_wrap = mount->seal_wrap, is_local = mount->is_local;
    json_set_int(arena, config, "default_lease_ttl", mount->default_lease_ttl_s);
    json_set_int(arena, config, "max_lease_ttl", mount->max_lease_ttl_s);
    for (size_t i = 0; i < CF_LENGTH(fixed); i++) {
        if (mount->is_fixed && cf_slice_is(mount->type, fixed[i].type)) {
            seal_wrap = fixed[i].seal_wrap;
            is_local = fixed[i].is_local;
            if (fixed[i].header != NULL) {
                struct json *headers = json_array_new(arena);
                json_array_add(arena, headers, json_from_text(arena, fixed[i].header));
                json_set(arena, config, "passthrough_request_headers", headers);
            }
        }
    }
    add_settings(rq, mount, config);
    struct json *options = mount->options;
    if (options == NULL && !mount->is_fixed) {
        options = json_object_new(arena);
    }
    struct cf_slice type = mount->type;
    if (mount->ns != NAMESPACE_ROOT && mount->is_fixed) {
        type = cf_slice_str(arena_printf(arena, "ns_%.*s", CF_SHOW(type)));
    }
    json_set_string(arena, entry, "type", type);
    json_set_string(arena, entry, "description", mount->description);
    json_set_string(arena, entry, "accessor", mount->accessor);
    json_set_text(arena, entry, "uuid", mount->uuid_text);
    json_set(arena, entry, "config", config);
    json_set(arena, entry, "options", options);
    json_set_bool(arena, entry, "local", is_local);
    json_set_bool(arena, entry, "seal_wrap", seal_wrap);
    json_set_bool(arena, entry, "external_entropy_access", mount->external_entropy_access);
    json_set_text(arena, entry, "plugin_version", "");
    json_set_text(arena, entry, "running_plugin_version", "v" COFFER_VERSION "+builtin");
    json_set_text(arena, entry, "running_sha256", "");
    json_set_text(arena, entry, "deprecation_status", "supported");
    return entry;
}

struct json *mount_tuning_json(struct request *rq, const struct mount *mount)
{
    const struct core_config *config = core_config(rq->core);
    int64_t max = mount->max_lease_ttl_s != 0 ? mount->max_lease_ttl_s : config->max_lease_ttl_s;
    int64_t usual =
        mount->default_lease_ttl_s != 0 ? mount->default_lease_ttl_s : config->default_lease_ttl_s;
    struct json *data = json_object_new(rq->arena);
    json_set_int(rq->arena, data, "default_lease_ttl", usual);
    json_set_int(rq->arena, data, "max_lease_ttl", max);
    json_set_string(rq->arena, data, "description", mount->description);
    add_settings(rq, mount, data);
    if (json_count(mount->options) != 0) {
        json_set(rq->arena, data, "options", mount->options);
    }
    if (mount->external_entropy_access) {
        json_set_bool(rq->arena, data, "external_entropy_access", true);
    }
    return data;
}

/* ---- in ---- */

/* NULL: not given. */
static const struct json *given(const struct json *from, const char *name)
{
    const struct json *value = json_get(from, name);
    return json_is(value, JSON_NULL) ? NULL : value;
}

static cf_status read_ttl(const struct json *from, const char *name, int64_t *ret,
                          struct cf_error *err)
{
    const struct json *value = given(from, name);
    struct cf_slice text = CF_SLICE_EMPTY;
    int64_t seconds = 0;
    if (value == NULL || (json_string(value, &text) && text.size == 0)) {
        return CF_OK;
    }
    if (!cf_slice_is(text, "system")) { /* the server's */
        cf_status status = duration_from_json(value, &seconds, err);
        if (status != CF_OK) {
            return cf_error_prefix(err, status, "unable to parse %s", name);
        }
    }
    if (seconds < 0) {
        return cf_fail(err, CF_INVALID, "%s must not be negative", name);
    }
    *ret = seconds;
    return CF_OK;
}

static cf_status read_text(struct request *rq, const struct json *from, const char *name,
                           const char *const *allowed, const char *refusal, struct cf_slice *ret,
                           struct cf_error *err)
{
    const struct json *value = given(from, name);
    struct cf_slice text;
    if (value == NULL) {
        return CF_OK;
    }
    if (!json_string(value, &text)) {
        return cf_fail(err, CF_INVALID, "field \"%s\" must be a string", name);
    }
    for (; *allowed != NULL; allowed++) {
        if (cf_slice_is(text, *allowed)) {
            *ret = arena_copy(rq->arena, text);
            return CF_OK;
        }
    }
    return cf_fail(err, CF_INVALID, "%s %.*s", refusal, CF_SHOW(cf_slice_first(text, 80)));
}

/* A list of strings, or one string with commas. */
static cf_status read_names(struct request *rq, const struct json *value, const char *name,
                            struct json **ret, struct cf_error *err)
{
    struct json *list = json_array_new(rq->arena);
    struct cf_slice text;
    if (json_string(value, &text)) {
        while (text.size != 0) {
            size_t end = cf_slice_find(text, ',');
            if (end != 0) {
                json_array_add(rq->arena, list,
                               json_from_string(rq->arena, cf_slice_first(text, end)));
            }
            text = cf_slice_from(text, end + 1);
        }
    } else if (json_is(value, JSON_ARRAY)) {
        for (size_t i = 0; i < json_count(value); i++) {
            if (!json_string(json_item(value, i), &text)) {
                return cf_fail(err, CF_INVALID, "field \"%s\" must be a list of strings", name);
            }
            json_array_add(rq->arena, list, json_from_string(rq->arena, text));
        }
    } else {
        return cf_fail(err, CF_INVALID, "field \"%s\" must be a list of strings", name);
    }
    *ret = list;
    return CF_OK;
}

static cf_status read_lists(struct request *rq, const struct json *from, struct mount *mount,
                            struct cf_error *err)
{
    struct json *config =
        mount->config != NULL ? json_copy(rq->arena, mount->config) : json_object_new(rq->arena);
    for (size_t i = 0; i < CF_LENGTH(list_settings); i++) {
        const struct json *value = given(from, list_settings[i]);
        struct json *names;
        if (value == NULL) {
            continue;
        }
        CF_TRY(read_names(rq, value, list_settings[i], &names, err));
        (void)json_object_remove(rq->arena, config, cf_slice_str(list_settings[i]));
        if (json_count(names) != 0) {
            json_set(rq->arena, config, list_settings[i], names);
        }
    }
    mount->config = json_count(config) != 0 ? config : NULL;
    return CF_OK;
}

/* {"lockout_threshold", "lockout_duration", "lockout_counter_reset_duration", "lockout_disable"}: what is
 * named is changed; kept as numbers. */
static cf_status read_lockout(struct request *rq, const struct json *from, struct mount *mount,
                              struct cf_error *err)
{
    static const char *const durations[] = {"lockout_duration", "lockout_counter_reset_duration"};
    const struct json *given_config = given(from, "user_lockout_config"), *value;
    int64_t number;
    bool off;
    if (given_config == NULL) {
        return CF_OK;
    }
    if (mount->ops->kind != ENGINE_AUTH || !json_is(given_config, JSON_OBJECT)) {
        return cf_fail(err, CF_INVALID, "user_lockout_config is an object, and of auth methods alone");
    }
    struct json *config =
        mount->config != NULL ? json_copy(rq->arena, mount->config) : json_object_new(rq->arena);
    struct json *lockout = json_get(config, "user_lockout_config");
    lockout = lockout != NULL ? lockout : json_object_new(rq->arena);
    if ((value = given(given_config, "lockout_threshold")) != NULL) {
        struct cf_slice text;
        struct json *parsed = NULL;
        if (json_string(value, &text) && json_is_number(text)) {
            parsed = json_from_number(rq->arena, text);
        }
        if (!json_int64(parsed != NULL ? parsed : value, &number) || number < 0) {
            return cf_fail(err, CF_INVALID, "lockout_threshold must be a number that is not negative");
        }
        json_set_int(rq->arena, lockout, "lockout_threshold", number);
    }
    for (size_t i = 0; i < CF_LENGTH(durations); i++) {
        if ((value = given(given_config, durations[i])) == NULL) {
            continue;
        }
        if (duration_from_json(value, &number, err) != CF_OK || number < 0) {
            return cf_fail(err, CF_INVALID, "%s must be a duration", durations[i]);
        }
        json_set_int(rq->arena, lockout, durations[i], number);
    }
    if ((value = given(given_config, "lockout_disable")) != NULL) {
        if (!json_bool(value, &off)) {
            return cf_fail(err, CF_INVALID, "lockout_disable must be true or false");
        }
        json_set_bool(rq->arena, lockout, "lockout_disable", off);
    }
    json_set(rq->arena, config, "user_lockout_config", lockout);
    mount->config = config;
    return CF_OK;
}

static cf_status read_token_type(struct request *rq, const struct json *from, struct mount *mount,
                                 struct cf_error *err)
{
    static const char *const types[] = {"default-service", "default-batch", "service", "batch",
                                        NULL};
    if (given(from, "token_type") == NULL) {
        return CF_OK;
    }
    if (mount->ops->kind != ENGINE_AUTH) {
        return cf_fail(err, CF_INVALID, "'token_type' can only be modified on auth mounts");
    }
    if (mount->is_fixed) {
        return cf_fail(err, CF_INVALID,
                       "'token_type' cannot be set for 'token' or 'ns_token' auth mounts");
    }
    return read_text(rq, from, "token_type", types,
                     "invalid value for 'token_type':", &mount->token_type, err);
}

/* "linearizable" is the default and not kept. */
static cf_status read_consistency(struct request *rq, const struct json *from, struct mount *mount,
                                  struct cf_error *err)
{
    static const char *const levels[] = {"", "linearizable", "stale", NULL};
    struct cf_slice level = CF_SLICE_EMPTY;
    if (given(from, MOUNT_READ_CONSISTENCY) == NULL) {
        return CF_OK;
    }
    CF_TRY(read_text(rq, from, MOUNT_READ_CONSISTENCY, levels,
                     "read_consistency is \"linearizable\" or \"stale\", not", &level, err));
    struct json *config =
        mount->config != NULL ? json_copy(rq->arena, mount->config) : json_object_new(rq->arena);
    (void)json_object_remove(rq->arena, config, CF_SLICE(MOUNT_READ_CONSISTENCY));
    if (cf_slice_is(level, "stale")) {
        json_set_string(rq->arena, config, MOUNT_READ_CONSISTENCY, level);
    }
    mount->config = json_count(config) != 0 ? config : NULL;
    return CF_OK;
}

cf_status mount_config_read(struct request *rq, const struct json *from, struct mount *mount,
                            struct cf_error *err)
{
    static const char *const visibilities[] = {"", "hidden", "unauth", NULL};
    static const char *const versions[] = {"", NULL};
    struct cf_slice version = CF_SLICE_EMPTY;
    const struct json *no_cache = given(from, "force_no_cache");
    CF_TRY(read_ttl(from, "default_lease_ttl", &mount->default_lease_ttl_s, err));
    CF_TRY(read_ttl(from, "max_lease_ttl", &mount->max_lease_ttl_s, err));
    if (no_cache != NULL && !json_bool(no_cache, &mount->force_no_cache)) {
        return cf_fail(err, CF_INVALID, "field \"force_no_cache\" must be true or false");
    }
    CF_TRY(read_text(rq, from, "listing_visibility", visibilities, "invalid listing_visibility",
                     &mount->listing_visibility, err));
    CF_TRY(read_text(rq, from, "plugin_version", versions,
                     "engines are built in and have no other versions: no plugin_version", &version,
                     err));
    CF_TRY(read_token_type(rq, from, mount, err));
    CF_TRY(read_consistency(rq, from, mount, err));
    CF_TRY(read_lockout(rq, from, mount, err));
    return read_lists(rq, from, mount, err);
}

cf_status mount_options_read(struct request *rq, struct mount *mount, struct cf_error *err)
{
    const struct json *options = request_field(rq, "options");
    if (options == NULL) {
        return CF_OK;
    }
    if (!json_is(options, JSON_OBJECT)) {
        return cf_fail(err, CF_INVALID, "field \"options\" must be an object of strings");
    }
    struct json *sum =
        mount->options != NULL ? json_copy(rq->arena, mount->options) : json_object_new(rq->arena);
    for (size_t i = 0; i < json_count(options); i++) {
        const struct json *value = options->members[i].value;
        struct cf_slice text;
        bool boolean;
        if (json_bool(value, &boolean)) {
            text = boolean ? CF_SLICE("true") : CF_SLICE("false");
        } else if (!json_string(value, &text) && !json_number(value, &text)) {
            return cf_fail(err, CF_INVALID, "field \"options\" must be an object of strings");
        }
        json_object_set(rq->arena, sum, options->members[i].key, json_from_string(rq->arena, text));
    }
    mount->options = sum;
    return CF_OK;
}
