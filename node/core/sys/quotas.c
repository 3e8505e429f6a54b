/* node/core/sys/quotas.c: sys/quotas/: limits of requests and of leases, and what is exempt from the former. */
#include <stdlib.h>

#include "node/base/memory.h"
#include "node/core/core_int.h"
#include "node/core/namespace.h"
#include "node/core/settings.h"
#include "node/core/sys/sys_int.h"

/* ---- config ---- */

cf_status sys_quota_config_read(struct request *rq, struct cf_error *err)
{
    struct cf_slice record;
    struct json *json = NULL, *paths = json_array_new(rq->arena);
    struct quota_table table = {0};
    cf_status status = txn_get(rq->txn, QUOTA_CONFIG_KEY, &record, err);
    if (status == CF_OK) {
        status = record_decode(record, rq->arena, &json, err);
    }
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    quota_config_from(rq->arena, json, &table);
    for (size_t i = 0; i < table.exempt_count; i++) {
        json_array_add(rq->arena, paths, json_from_string(rq->arena, table.exempt[i]));
    }
    struct json *data = response_data(rq);
    json_set_bool(rq->arena, data, "enable_rate_limit_audit_logging", table.audits);
    json_set_bool(rq->arena, data, "enable_rate_limit_response_headers", table.shows_headers);
    json_set(rq->arena, data, "rate_limit_exempt_paths", paths);
    return CF_OK;
}

/* What is not named goes back to off and empty. */
cf_status sys_quota_config_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice *paths;
    size_t count;
    bool headers, audit;
    CF_TRY(request_list(rq, "rate_limit_exempt_paths", true, &paths, &count, err));
    CF_TRY(request_bool(rq, "enable_rate_limit_response_headers", false, &headers, err));
    CF_TRY(request_bool(rq, "enable_rate_limit_audit_logging", false, &audit, err));
    if (count > QUOTA_RULES_MAX) {
        return cf_fail(err, CF_INVALID, "rate_limit_exempt_paths: more than %zu", QUOTA_RULES_MAX);
    }
    struct json *record = json_object_new(rq->arena), *list = json_array_new(rq->arena);
    for (size_t i = 0; i < count; i++) {
        json_array_add(rq->arena, list, json_from_string(rq->arena, paths[i]));
    }
    json_set(rq->arena, record, "exempt", list);
    json_set_bool(rq->arena, record, "headers", headers);
    json_set_bool(rq->arena, record, "audit", audit);
    txn_put(rq->txn, QUOTA_CONFIG_KEY, record_encode(rq->arena, record));
    return CF_OK;
}

/* ---- rules ---- */

static cf_status rule_of(struct request *rq, enum quota_kind kind, struct cf_slice name,
                         struct quota_rule *ret, struct cf_error *err)
{
    struct cf_slice record;
    struct json *json;
    CF_TRY(txn_get(rq->txn, quota_rule_key(rq->arena, kind, name), &record, err));
    CF_TRY(record_decode(record, rq->arena, &json, err));
    return quota_rule_from(rq->arena, kind, json, ret, err);
}

static cf_status names_of(struct request *rq, enum quota_kind kind, struct txn_names *ret, struct cf_error *err)
{
    return txn_scan(rq->txn, quota_rule_key(rq->arena, kind, CF_SLICE_EMPTY), CF_SLICE_EMPTY, 0, ret, err);
}

static cf_status list(struct request *rq, enum quota_kind kind, struct cf_error *err)
{
    struct txn_names names;
    CF_TRY(names_of(rq, kind, &names, err));
    return response_keys(rq, &names, err);
}

cf_status sys_quota_list(struct request *rq, struct cf_error *err)
{
    return list(rq, QUOTA_RATE, err);
}

cf_status sys_lease_quota_list(struct request *rq, struct cf_error *err)
{
    return list(rq, QUOTA_LEASES, err);
}

/* The mount may have moved since. */
static struct cf_slice shown_path(struct request *rq, const struct quota_rule *rule)
{
    struct cf_slice path = rule->mount_path;
    const struct namespace *ns = namespace_table_find(rq->view->namespaces, rule->ns_path);
    for (size_t i = 0; ns != NULL && rule->mount_uuid.size != 0 && i < ns->mounts->count; i++) {
        if (cf_slice_is(rule->mount_uuid, ns->mounts->mounts[i]->uuid_text)) {
            path = ns->mounts->mounts[i]->path;
        }
    }
    return cf_slice_str(arena_printf(rq->arena, "%.*s%.*s%.*s", CF_SHOW(rule->ns_path),
                                     CF_SHOW(path), CF_SHOW(rule->suffix)));
}

cf_status sys_quota_read(struct request *rq, struct cf_error *err)
{
    struct quota_rule rule;
    cf_status status = rule_of(rq, QUOTA_RATE, rq->captures[0], &rule, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    struct json *data = response_data(rq);
    json_set_int(rq->arena, data, "block_interval", (int64_t)(rule.limit.block_us / 1000000));
    json_set_bool(rq->arena, data, "inheritable", rule.inheritable);
    json_set_int(rq->arena, data, "interval", (int64_t)(rule.limit.interval_us / 1000000));
    json_set_string(rq->arena, data, "name", rule.name);
    json_set_string(rq->arena, data, "path", shown_path(rq, &rule));
    json_set(rq->arena, data, "rate", json_copy(rq->arena, rule.rate));
    json_set_string(rq->arena, data, "role", rule.role);
    json_set_text(rq->arena, data, "type", "rate-limit");
    return CF_OK;
}

cf_status sys_quota_delete(struct request *rq, struct cf_error *err)
{
    (void)err;
    txn_delete(rq->txn, quota_rule_key(rq->arena, QUOTA_RATE, rq->captures[0]));
    return CF_OK;
}

/* A positive number, as number or text. */
static cf_status read_rate(struct request *rq, struct json **ret, struct cf_error *err)
{
    const struct json *given = request_field(rq, "rate");
    struct cf_slice text = CF_SLICE_EMPTY;
    if (!json_number(given, &text) && !json_string(given, &text)) {
        return cf_fail(err, CF_INVALID, "'rate' is invalid");
    }
    *ret = json_from_number(rq->arena, text);
    if (*ret == NULL || strtod(arena_text(rq->arena, text), NULL) <= 0) {
        return cf_fail(err, CF_INVALID, "'rate' is invalid: it must be a number above 0");
    }
    return CF_OK;
}

/* "ns/mount/suffix": which namespace, which mount, and what is left. */
static cf_status read_path(struct request *rq, struct quota_rule *rule, struct cf_error *err)
{
    struct cf_slice path;
    CF_TRY(request_string(rq, "path", &path, err));
    while (path.size != 0 && path.data[0] == '/') {
        path = cf_slice_from(path, 1);
    }
    if (path.size == 0) {
        return CF_OK;
    }
    bool has_slash = path.data[path.size - 1] == '/';
    path = cf_slice_str(arena_printf(rq->arena, "%.*s%s", CF_SHOW(path), has_slash ? "" : "/"));
    const struct namespace *ns = namespace_table_match(rq->view->namespaces, path);
    namespace_note_read(rq->txn, ns);
    rule->ns_path = ns->path;
    struct cf_slice rest = cf_slice_from(path, ns->path.size);
    if (rest.size == 0) {
        return CF_OK;
    }
    const struct mount *mount = mount_table_match(ns->mounts, rest);
    if (mount == NULL) {
        return cf_fail(err, CF_INVALID, "invalid mount path \"%.*s\"",
                       CF_SHOW(cf_slice_first(rest, 100)));
    }
    txn_note_read(rq->txn, mount->entry_hash);
    rule->mount_uuid = cf_slice_str(mount->uuid_text);
    rule->mount_path = mount->path;
    rest = cf_slice_from(rest, mount->path.size);
    rule->suffix = rest.size != 0 ? cf_slice_first(rest, rest.size - 1) : rest;
    if (rule->role.size != 0 && rule->suffix.size != 0) {
        return cf_fail(err, CF_INVALID,
                       "Quotas cannot contain both a path suffix and a role. If a role is provided, "
                       "path must be a valid auth mount with a concept of roles");
    }
    if (rule->role.size != 0 && mount->ops->kind != ENGINE_AUTH) {
        return cf_fail(err, CF_INVALID,
                       "Mount path \"%.*s\" is not a valid auth method and therefore unsuitable for "
                       "use with role-based quotas",
                       CF_SHOW(cf_slice_first(mount->path, 60)));
    }
    if (rule->role.size != 0 && mount->ops->login_role == NULL) {
        return cf_fail(err, CF_INVALID,
                       "Mount path \"%.*s\" does not support use with role-based quotas",
                       CF_SHOW(cf_slice_first(mount->path, 60)));
    }
    return CF_OK;
}

static bool is_alike(const struct quota_rule *a, const struct quota_rule *b)
{
    return cf_slice_eq(a->ns_path, b->ns_path) && cf_slice_eq(a->mount_uuid, b->mount_uuid) &&
           cf_slice_eq(a->suffix, b->suffix) && cf_slice_eq(a->role, b->role);
}

/* Of two rules for the same requests neither would be the narrower one. */
static cf_status check_others(struct request *rq, enum quota_kind kind, const struct quota_rule *rule,
                              struct cf_error *err)
{
    struct txn_names names;
    CF_TRY(names_of(rq, kind, &names, err));
    if (names.count >= QUOTA_RULES_MAX) {
        return cf_fail(err, CF_INVALID, "there are %zu quotas of this kind: delete some", names.count);
    }
    for (size_t i = 0; i < names.count; i++) {
        struct quota_rule other;
        if (cf_slice_eq(names.names[i], rule->name)) {
            continue;
        }
        CF_TRY(rule_of(rq, kind, names.names[i], &other, err));
        if (is_alike(rule, &other)) {
            return cf_fail(err, CF_INVALID,
                           "quota rule with similar properties exists under the name \"%.*s\"",
                           CF_SHOW(cf_slice_first(other.name, 60)));
        }
    }
    return CF_OK;
}

/* What both kinds of rules have: where they hold. */
static cf_status read_place(struct request *rq, enum quota_kind kind, struct quota_rule *rule, struct cf_error *err)
{
    CF_TRY(request_string(rq, "role", &rule->role, err));
    CF_TRY(read_path(rq, rule, err));
    CF_TRY(check_others(rq, kind, rule, err));
    bool is_global = rule->ns_path.size == 0 && rule->mount_uuid.size == 0;
    CF_TRY(request_bool(rq, "inheritable", is_global, &rule->inheritable, err));
    if (rule->inheritable && rule->mount_uuid.size != 0) {
        return cf_fail(err, CF_INVALID, "'inheritable' is for quotas of namespaces");
    }
    cf_random_fill(rq->random, &rule->id, sizeof(rule->id));
    return CF_OK;
}

static struct json *record_of(struct request *rq, const struct quota_rule *rule)
{
    struct json *record = json_object_new(rq->arena);
    json_set_string(rq->arena, record, "name", rule->name);
    json_set_string(rq->arena, record, "ns", rule->ns_path);
    json_set_string(rq->arena, record, "mount_uuid", rule->mount_uuid);
    json_set_string(rq->arena, record, "mount_path", rule->mount_path);
    json_set_string(rq->arena, record, "suffix", rule->suffix);
    json_set_string(rq->arena, record, "role", rule->role);
    json_set_bool(rq->arena, record, "inheritable", rule->inheritable);
    json_set(rq->arena, record, "id", json_from_uint(rq->arena, rule->id));
    return record;
}

cf_status sys_quota_write(struct request *rq, struct cf_error *err)
{
    struct quota_rule rule = {.name = rq->captures[0]};
    struct json *rate = NULL;
    int64_t interval, block;
    CF_TRY(read_rate(rq, &rate, err));
    CF_TRY(request_duration(rq, "interval", 0, &interval, NULL, err));
    CF_TRY(request_duration(rq, "block_interval", 0, &block, NULL, err));
    if (interval < 0 || block < 0) {
        return cf_fail(err, CF_INVALID, "'%s' is invalid: it must not be negative",
                       interval < 0 ? "interval" : "block_interval");
    }
    CF_TRY(read_place(rq, QUOTA_RATE, &rule, err));
    struct json *record = record_of(rq, &rule);
    json_set(rq->arena, record, "rate", rate);
    json_set_int(rq->arena, record, "interval", interval != 0 ? interval : 1);
    json_set_int(rq->arena, record, "block_interval", block);
    txn_put(rq->txn, quota_rule_key(rq->arena, QUOTA_RATE, rule.name), record_encode(rq->arena, record));
    return CF_OK;
}

/* ---- of leases ---- */

cf_status sys_lease_quota_write(struct request *rq, struct cf_error *err)
{
    struct quota_rule rule = {.name = rq->captures[0]};
    int64_t max;
    CF_TRY(request_int(rq, "max_leases", 0, &max, err));
    if (max <= 0) {
        return cf_fail(err, CF_INVALID, "'max_leases' is invalid: it must be a number above 0");
    }
    CF_TRY(read_place(rq, QUOTA_LEASES, &rule, err));
    struct json *record = record_of(rq, &rule);
    json_set_int(rq->arena, record, "max_leases", max);
    txn_put(rq->txn, quota_rule_key(rq->arena, QUOTA_LEASES, rule.name), record_encode(rq->arena, record));
    quota_leases_changed(rq);
    return CF_OK;
}

cf_status sys_lease_quota_read(struct request *rq, struct cf_error *err)
{
    struct quota_rule rule;
    uint64_t count;
    cf_status status = rule_of(rq, QUOTA_LEASES, rq->captures[0], &rule, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    struct json *data = response_data(rq);
    bool known = core_lease_count(rq->core, rule.id, &count);
    json_set(rq->arena, data, "counter", known ? json_from_uint(rq->arena, count) : NULL);
    json_set_bool(rq->arena, data, "inheritable", rule.inheritable);
    json_set_int(rq->arena, data, "max_leases", (int64_t)rule.max_leases);
    json_set_string(rq->arena, data, "name", rule.name);
    json_set_string(rq->arena, data, "path", shown_path(rq, &rule));
    json_set_string(rq->arena, data, "role", rule.role);
    json_set_text(rq->arena, data, "type", "lease-count");
    if (!known) {
        response_warn(rq, "The leases of this quota are being counted: until then none is made under it.");
    }
    return CF_OK;
}

cf_status sys_lease_quota_delete(struct request *rq, struct cf_error *err)
{
    (void)err;
    txn_delete(rq->txn, quota_rule_key(rq->arena, QUOTA_LEASES, rq->captures[0]));
    quota_leases_changed(rq);
    return CF_OK;
}
