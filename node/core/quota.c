/* node/core/quota.c: rules that limit requests and leases: reading them, and which one counts. */
#include "node/core/quota.h"

#include <stdlib.h>

#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/core/namespace.h"
#include "node/core/settings.h"

/* What operators need to get out of trouble is not limited unless they say so. */
static const char *const usual_exempt[] = {
    "sys/generate-recovery-token/attempt", "sys/generate-recovery-token/update",
    "sys/generate-root/attempt",           "sys/generate-root/update",
    "sys/health",                          "sys/seal-status",
    "sys/unseal"};

static const char *prefix_of(enum quota_kind kind)
{
    return kind == QUOTA_RATE ? QUOTA_RATE_PREFIX : QUOTA_LEASE_PREFIX;
}

struct key quota_rule_key(struct arena *arena, enum quota_kind kind, struct cf_slice name)
{
    const char *text = arena_printf(arena, "%s%.*s", prefix_of(kind), CF_SHOW(name));
    return (struct key){CLASS_REPLICATED, NAMESPACE_ROOT, cf_slice_str(text)};
}

static bool read_rate(struct arena *arena, const struct json *record, struct quota_rule *ret)
{
    int64_t interval, block;
    struct cf_slice rate;
    ret->rate = json_get(record, "rate");
    if (!json_number(ret->rate, &rate) || !json_int64(json_get(record, "interval"), &interval) ||
        !json_int64(json_get(record, "block_interval"), &block) || interval <= 0 || block < 0) {
        return false;
    }
    double value = strtod(arena_text(arena, rate), NULL);
    ret->limit.rate = value < 1 ? 1 : value > 1e15 ? (uint64_t)1e15 : (uint64_t)(value + 0.5);
    ret->limit.interval_us = (uint64_t)interval * 1000000;
    ret->limit.block_us = (uint64_t)block * 1000000;
    return true;
}

cf_status quota_rule_from(struct arena *arena, enum quota_kind kind, const struct json *record,
                          struct quota_rule *ret, struct cf_error *err)
{
    *ret = (struct quota_rule){.name = json_get_string(record, "name"),
                               .ns_path = json_get_string(record, "ns"),
                               .mount_uuid = json_get_string(record, "mount_uuid"),
                               .mount_path = json_get_string(record, "mount_path"),
                               .suffix = json_get_string(record, "suffix"),
                               .role = json_get_string(record, "role")};
    bool is_good = kind == QUOTA_RATE ? read_rate(arena, record, ret)
                                      : json_uint64(json_get(record, "max_leases"), &ret->max_leases);
    if (!is_good || !json_bool(json_get(record, "inheritable"), &ret->inheritable) ||
        !json_uint64(json_get(record, "id"), &ret->id)) {
        return cf_fail(err, CF_CORRUPT, "record of a quota is malformed");
    }
    return CF_OK;
}

void quota_config_from(struct arena *arena, const struct json *record, struct quota_table *ret)
{
    const struct json *paths = json_get(record, "exempt");
    size_t count = record != NULL ? json_count(paths) : CF_LENGTH(usual_exempt);
    struct cf_slice *list = arena_alloc(arena, (count + 1) * sizeof(*list));
    ret->exempt = list;
    ret->exempt_count = 0;
    ret->shows_headers = ret->audits = false;
    for (size_t i = 0; i < count; i++) {
        struct cf_slice text = CF_SLICE_EMPTY;
        if (record == NULL) {
            text = cf_slice_str(usual_exempt[i]);
        } else {
            cf_ignore(!json_string(json_item(paths, i), &text), "strings were stored");
        }
        list[ret->exempt_count++] = text;
    }
    cf_ignore(!json_bool(json_get(record, "headers"), &ret->shows_headers), "absent is false");
    cf_ignore(!json_bool(json_get(record, "audit"), &ret->audits), "absent is false");
}

struct loading {
    const struct view *view;
    struct arena *arena;
    enum quota_kind kind;
    struct quota_rule *rules;
    size_t count;
    cf_status status;
    struct cf_error *err;
};

static cf_status load_one(struct loading *loading, struct cf_slice name)
{
    struct cf_slice record;
    struct json *json;
    struct key key = quota_rule_key(loading->arena, loading->kind, name);
    CF_TRY(view_get(loading->view, key, loading->arena, &record, NULL, loading->err));
    CF_TRY(record_decode(record, loading->arena, &json, loading->err));
    CF_TRY(quota_rule_from(loading->arena, loading->kind, json, &loading->rules[loading->count],
                           loading->err));
    loading->count++;
    return CF_OK;
}

static bool each_rule(void *context, struct cf_slice name)
{
    struct loading *loading = context;
    loading->status = load_one(loading, name);
    return loading->status == CF_OK && loading->count < QUOTA_RULES_MAX;
}

static bool count_rule(void *context, struct cf_slice name)
{
    (void)name;
    return ++*(size_t *)context < QUOTA_RULES_MAX;
}

static cf_status load_kind(struct loading *loading, enum quota_kind kind)
{
    struct key prefix = {CLASS_REPLICATED, NAMESPACE_ROOT, cf_slice_str(prefix_of(kind))};
    size_t count = 0;
    loading->kind = kind;
    loading->count = 0;
    CF_TRY(view_walk(loading->view, prefix, CF_SLICE_EMPTY, count_rule, &count, loading->err));
    loading->rules = arena_alloc(loading->arena, (count + 1) * sizeof(*loading->rules));
    if (count != 0) {
        CF_TRY(view_walk(loading->view, prefix, CF_SLICE_EMPTY, each_rule, loading, loading->err));
    }
    return loading->status;
}

cf_status quota_table_load(const struct view *view, struct arena *arena, struct quota_table *ret,
                           struct cf_error *err)
{
    struct cf_slice record;
    struct json *json = NULL;
    struct loading loading = {.view = view, .arena = arena, .err = err};
    cf_status status = view_get(view, QUOTA_CONFIG_KEY, arena, &record, NULL, err);
    if (status == CF_OK) {
        status = record_decode(record, arena, &json, err);
    }
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    quota_config_from(arena, json, ret);
    CF_TRY(load_kind(&loading, QUOTA_RATE));
    ret->rules = loading.rules;
    ret->count = loading.count;
    CF_TRY(load_kind(&loading, QUOTA_LEASES));
    ret->leases = loading.rules;
    ret->lease_count = loading.count;
    ret->lease_version = 0;
    if (ret->lease_count == 0) {
        return CF_OK;
    }
    status = view_get(view, QUOTA_LEASE_GUARD, arena, &record, NULL, err);
    ret->lease_version = status == CF_OK && record.size == 8 ? cf_get_u64(record.data) : 1;
    return status == CF_NOT_FOUND ? CF_OK : status;
}

/* ---- which one counts ---- */

static struct cf_slice without_slash(struct cf_slice path)
{
    return path.size != 0 && path.data[path.size - 1] == '/' ? cf_slice_first(path, path.size - 1)
                                                             : path;
}

/* "a/b" also exempts "a/b/c"; a closing '*' whatever begins so. */
static bool is_exempt(const struct quota_table *table, struct cf_slice path)
{
    for (size_t i = 0; i < table->exempt_count; i++) {
        struct cf_slice exempt = without_slash(table->exempt[i]);
        if (exempt.size != 0 && exempt.data[exempt.size - 1] == '*') {
            if (cf_slice_starts(path, cf_slice_first(exempt, exempt.size - 1))) {
                return true;
            }
        } else if (cf_slice_starts(path, exempt) &&
                   (path.size == exempt.size || path.data[exempt.size] == '/')) {
            return exempt.size != 0;
        }
    }
    return false;
}

enum { RANK_NONE = 0, RANK_NAMESPACE = 1, RANK_MOUNT, RANK_GLOB, RANK_PATH, RANK_ROLE };

/* What a rule is compared with: a request, or the place of a lease. */
struct target {
    struct cf_slice ns_path, relative;
    const struct mount *mount;
    struct request *rq; /* whose role is asked for when a rule wants to know */
    bool has_role;
    struct cf_slice role;
};

static bool is_role(struct target *target, struct cf_slice role)
{
    struct request *rq = target->rq;
    if (rq != NULL) {
        target->rq = NULL;
        target->has_role =
            target->mount->ops->login_role != NULL && target->mount->ops->login_role(rq, &target->role);
    }
    return target->has_role && cf_slice_eq(target->role, role);
}

/* The narrower, the greater. */
static uint32_t rank_of(const struct quota_rule *rule, struct target *target)
{
    struct cf_slice ns = target->ns_path;
    bool is_own = cf_slice_eq(rule->ns_path, ns);
    if (rule->mount_uuid.size == 0) {
        bool fits = is_own || (rule->inheritable && cf_slice_starts(ns, rule->ns_path));
        return fits ? RANK_NAMESPACE << 16 | (uint32_t)rule->ns_path.size : RANK_NONE;
    }
    if (!is_own || target->mount == NULL || !cf_slice_is(rule->mount_uuid, target->mount->uuid_text)) {
        return RANK_NONE;
    }
    if (rule->role.size != 0) {
        return is_role(target, rule->role) ? RANK_ROLE << 16 : RANK_NONE;
    }
    struct cf_slice suffix = rule->suffix, relative = without_slash(target->relative);
    if (suffix.size == 0) {
        return RANK_MOUNT << 16;
    }
    if (suffix.data[suffix.size - 1] == '*') {
        bool fits = cf_slice_starts(relative, cf_slice_first(suffix, suffix.size - 1));
        return fits ? RANK_GLOB << 16 | (uint32_t)suffix.size : RANK_NONE;
    }
    return cf_slice_eq(suffix, relative) ? RANK_PATH << 16 : RANK_NONE;
}

static const struct quota_rule *best_of(const struct quota_rule *rules, size_t count, struct target *target)
{
    const struct quota_rule *best = NULL;
    uint32_t best_rank = RANK_NONE;
    for (size_t i = 0; i < count; i++) {
        uint32_t rank = rank_of(&rules[i], target);
        if (rank > best_rank) {
            best_rank = rank;
            best = &rules[i];
        }
    }
    return best;
}

const struct quota_rule *quota_match(const struct quota_table *table, struct request *rq)
{
    struct target target = {.ns_path = rq->nspace != NULL ? rq->nspace->path : CF_SLICE_EMPTY,
                            .relative = rq->relative,
                            .mount = rq->mount,
                            .rq = rq};
    const struct quota_rule *best = best_of(table->rules, table->count, &target);
    return best != NULL && !is_exempt(table, rq->full_path) ? best : NULL;
}

const struct quota_rule *quota_match_lease(const struct view *view, uint32_t ns, struct cf_slice path,
                                           struct cf_slice role)
{
    const struct settings *settings = view->settings;
    if (settings == NULL || settings->quotas.lease_count == 0) {
        return NULL;
    }
    const struct namespace *own = namespace_by_number(view->namespaces, ns);
    if (own == NULL) {
        return NULL;
    }
    struct target target = {.ns_path = own->path,
                            .mount = mount_table_match(own->mounts, path),
                            .has_role = role.size != 0,
                            .role = role};
    if (target.mount != NULL) {
        target.relative = cf_slice_from(path, target.mount->path.size);
    }
    return best_of(settings->quotas.leases, settings->quotas.lease_count, &target);
}

static void leases_changed(struct txn *txn, const struct cf_random *random)
{
    uint8_t version[8];
    do {
        cf_random_fill(random, version, sizeof(version));
    } while (cf_get_u64(version) == 0);
    txn_put(txn, QUOTA_LEASE_GUARD, cf_slice_of(version, sizeof(version)));
}

void quota_leases_changed(struct request *rq)
{
    leases_changed(rq->txn, rq->random);
}

static void forget(struct request *rq, enum quota_kind kind, const struct quota_rule *rules, size_t count,
                   const struct mount *mount)
{
    for (size_t i = 0; i < count; i++) {
        if (cf_slice_is(rules[i].mount_uuid, mount->uuid_text)) {
            txn_delete(rq->txn, quota_rule_key(rq->arena, kind, rules[i].name));
            if (kind == QUOTA_LEASES) {
                quota_leases_changed(rq);
            }
        }
    }
}

void quota_forget_mount(struct request *rq, const struct mount *mount)
{
    const struct quota_table *table = &rq->view->settings->quotas;
    forget(rq, QUOTA_RATE, table->rules, table->count, mount);
    forget(rq, QUOTA_LEASES, table->leases, table->lease_count, mount);
}

static cf_status move_rules(struct txn *txn, struct arena *arena, enum quota_kind kind, const struct quota_rule *rules,
                            size_t count, const struct mount *mount, struct cf_slice ns_path, struct cf_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct key key = quota_rule_key(arena, kind, rules[i].name);
        struct cf_slice bytes;
        struct json *record;
        if (!cf_slice_is(rules[i].mount_uuid, mount->uuid_text)) {
            continue;
        }
        CF_TRY(txn_get(txn, key, &bytes, err));
        CF_TRY(record_decode(bytes, arena, &record, err));
        json_set_string(arena, record, "ns", ns_path);
        json_set_string(arena, record, "mount_path", mount->path);
        txn_put(txn, key, record_encode(arena, record));
        if (kind == QUOTA_LEASES) {
            leases_changed(txn, core_random());
        }
    }
    return CF_OK;
}

cf_status quota_move_mount(struct txn *txn, struct arena *arena, const struct mount *mount, struct cf_slice ns_path,
                           struct cf_error *err)
{
    const struct quota_table *table = &txn_view(txn)->settings->quotas;
    CF_TRY(move_rules(txn, arena, QUOTA_RATE, table->rules, table->count, mount, ns_path, err));
    return move_rules(txn, arena, QUOTA_LEASES, table->leases, table->lease_count, mount, ns_path, err);
}
