/* node/auth/params.c: the parameters that roles and users of all auth methods share. */
#include "node/auth/params.h"

#include <stdlib.h>

#include "node/base/memory.h"
#include "node/core/cidr.h"
#include "node/core/mount.h"

/* ---- lists of names ---- */

struct cf_slice params_lower(struct arena *arena, struct cf_slice name)
{
    bool has_capital = false;
    for (size_t i = 0; i < name.size && !has_capital; i++) {
        has_capital = name.data[i] >= 'A' && name.data[i] <= 'Z';
    }
    if (!has_capital) {
        return name;
    }
    uint8_t *lower = arena_alloc_raw(arena, name.size);
    for (size_t i = 0; i < name.size; i++) {
        bool is_capital = name.data[i] >= 'A' && name.data[i] <= 'Z';
        lower[i] = is_capital ? (uint8_t)(name.data[i] - 'A' + 'a') : name.data[i];
    }
    return cf_slice_of(lower, name.size);
}

static int by_bytes(const void *a, const void *b)
{
    return cf_slice_cmp(*(const struct cf_slice *)a, *(const struct cf_slice *)b);
}

size_t params_clean_policies(struct arena *arena, struct cf_slice *names, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        names[i] = params_lower(arena, names[i]);
        if (cf_slice_is(names[i], "root")) {
            names[0] = CF_SLICE("root");
            return 1;
        }
    }
    if (count != 0) {
        qsort(names, count, sizeof(*names), by_bytes);
    }
    for (size_t i = 0; i < count; i++) {
        if (names[i].size != 0 && (kept == 0 || !cf_slice_eq(names[i], names[kept - 1]))) {
            names[kept++] = names[i];
        }
    }
    return kept;
}

bool params_has(const struct cf_slice *names, size_t count, struct cf_slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (cf_slice_eq(names[i], name)) {
            return true;
        }
    }
    return false;
}

struct json *params_list(struct arena *arena, const struct cf_slice *items, size_t count)
{
    struct json *list = json_array_new(arena);
    for (size_t i = 0; i < count; i++) {
        /* Copied: an answer outlives what a cache lends. */
        json_array_add(arena, list, json_from_string(arena, items[i]));
    }
    return list;
}

struct cf_slice *params_strings(struct arena *arena, const struct json *list, size_t *ret_count)
{
    struct cf_slice *items = arena_alloc(arena, (json_count(list) + 1) * sizeof(*items));
    *ret_count = 0;
    for (size_t i = 0; i < json_count(list); i++) {
        if (json_string(json_item(list, i), &items[*ret_count])) {
            (*ret_count)++;
        }
    }
    return items;
}

/* ---- from the request ---- */

/* The newer name counts when both are there. */
static const char *named(const struct request *rq, const char *name, const char *old_name)
{
    return request_field(rq, name) != NULL || old_name == NULL ||
                   request_field(rq, old_name) == NULL
               ? name
               : old_name;
}

static cf_status read_duration(struct request *rq, const char *name, const char *old_name,
                               int64_t *value, struct cf_error *err)
{
    const char *field = named(rq, name, old_name);
    if (request_field(rq, field) == NULL) {
        return CF_OK;
    }
    CF_TRY(request_duration(rq, field, 0, value, NULL, err));
    if (*value < 0) {
        return cf_fail(err, CF_INVALID, "'%s' cannot be negative", field);
    }
    return CF_OK;
}

static cf_status read_policies(struct request *rq, struct auth_params *params, struct cf_error *err)
{
    const char *field = named(rq, "token_policies", "policies");
    if (request_field(rq, field) == NULL) {
        return CF_OK;
    }
    CF_TRY(request_list(rq, field, true, &params->policies, &params->policy_count, err));
    params->policy_count = params_clean_policies(rq->arena, params->policies, params->policy_count);
    return CF_OK;
}

static cf_status read_cidrs(struct request *rq, struct auth_params *params, struct cf_error *err)
{
    const char *field = named(rq, "token_bound_cidrs", "bound_cidrs");
    if (request_field(rq, field) == NULL) {
        return CF_OK;
    }
    CF_TRY(request_list(rq, field, true, &params->bound_cidrs, &params->bound_cidr_count, err));
    for (size_t i = 0; i < params->bound_cidr_count; i++) {
        if (!cidr_is_valid(params->bound_cidrs[i])) {
            return cf_fail(err, CF_INVALID, "'%s' holds \"%.64s\", which is no address or network",
                           field, arena_text(rq->arena, params->bound_cidrs[i]));
        }
    }
    return CF_OK;
}

static cf_status read_type(struct request *rq, const char *default_type, struct auth_params *params,
                           struct cf_error *err)
{
    static const char *const types[] = {"default", "service", "batch", "default-service",
                                        "default-batch"};
    struct cf_slice type;
    CF_TRY(request_string(rq, "token_type", &type, err));
    if (type.size == 0) {
        params->type = params->type.size != 0 ? params->type : cf_slice_str(default_type);
        return CF_OK;
    }
    for (size_t i = 0; i < CF_LENGTH(types); i++) {
        if (cf_slice_is(type, types[i])) {
            params->type = type;
            return CF_OK;
        }
    }
    return cf_fail(err, CF_INVALID, "invalid 'token_type' value \"%.64s\"",
                   arena_text(rq->arena, type));
}

static cf_status check_together(const struct auth_params *params, struct cf_error *err)
{
    if (params->max_ttl_s > 0 && params->ttl_s > params->max_ttl_s) {
        return cf_fail(err, CF_INVALID, "'token_ttl' cannot be greater than 'token_max_ttl'");
    }
    bool is_batch =
        cf_slice_is(params->type, "batch") || cf_slice_is(params->type, "default-batch");
    if (is_batch && params->num_uses != 0) {
        return cf_fail(err, CF_INVALID,
                       "'token_type' cannot be 'batch' or 'default-batch' when set to generate "
                       "tokens with limited use count");
    }
    if (is_batch && params->period_s != 0) {
        return cf_fail(err, CF_INVALID,
                       "'token_type' cannot be 'batch' or 'default-batch' when set to generate "
                       "periodic tokens");
    }
    return CF_OK;
}

cf_status params_read(struct request *rq, const char *default_type, struct auth_params *params,
                      struct cf_error *err)
{
    CF_TRY(read_policies(rq, params, err));
    CF_TRY(read_cidrs(rq, params, err));
    CF_TRY(read_duration(rq, "token_ttl", "ttl", &params->ttl_s, err));
    CF_TRY(read_duration(rq, "token_max_ttl", "max_ttl", &params->max_ttl_s, err));
    CF_TRY(read_duration(rq, "token_explicit_max_ttl", "explicit_max_ttl",
                         &params->explicit_max_ttl_s, err));
    CF_TRY(read_duration(rq, "token_period", "period", &params->period_s, err));
    CF_TRY(request_int(rq, "token_num_uses", params->num_uses, &params->num_uses, err));
    if (params->num_uses < 0) {
        return cf_fail(err, CF_INVALID, "'token_num_uses' cannot be negative");
    }
    CF_TRY(request_bool(rq, "token_no_default_policy", params->no_default_policy,
                        &params->no_default_policy, err));
    CF_TRY(read_type(rq, default_type, params, err));
    return check_together(params, err);
}

/* ---- records and answers ---- */

void params_to_record(struct arena *arena, const struct auth_params *params, struct json *record)
{
    params_show(arena, params, record);
}

void params_from_record(struct arena *arena, const struct json *record, struct auth_params *ret)
{
    *ret = (struct auth_params){
        .ttl_s = json_get_int(record, "token_ttl"),
        .max_ttl_s = json_get_int(record, "token_max_ttl"),
        .explicit_max_ttl_s = json_get_int(record, "token_explicit_max_ttl"),
        .period_s = json_get_int(record, "token_period"),
        .num_uses = json_get_int(record, "token_num_uses"),
        .type = json_get_string(record, "token_type"),
    };
    cf_ignore(!json_bool(json_get(record, "token_no_default_policy"), &ret->no_default_policy),
              "absent is false");
    ret->policies = params_strings(arena, json_get(record, "token_policies"), &ret->policy_count);
    ret->bound_cidrs =
        params_strings(arena, json_get(record, "token_bound_cidrs"), &ret->bound_cidr_count);
}

void params_show_common(struct arena *arena, const struct auth_params *params, struct json *data)
{
    json_set(arena, data, "token_bound_cidrs",
             params_list(arena, params->bound_cidrs, params->bound_cidr_count));
    json_set_int(arena, data, "token_explicit_max_ttl", params->explicit_max_ttl_s);
    json_set_bool(arena, data, "token_no_default_policy", params->no_default_policy);
    json_set_int(arena, data, "token_num_uses", params->num_uses);
    json_set_int(arena, data, "token_period", params->period_s);
    json_set_string(arena, data, "token_type", params->type);
}

void params_show(struct arena *arena, const struct auth_params *params, struct json *data)
{
    params_show_common(arena, params, data);
    json_set(arena, data, "token_policies",
             params_list(arena, params->policies, params->policy_count));
    json_set_int(arena, data, "token_ttl", params->ttl_s);
    json_set_int(arena, data, "token_max_ttl", params->max_ttl_s);
}

struct cf_slice params_display_name(struct request *rq, struct cf_slice who)
{
    struct cf_slice path = rq->mount->path;
    if (cf_slice_starts(path, CF_SLICE("auth/"))) {
        path = cf_slice_from(path, sizeof("auth/") - 1);
    }
    char *text = arena_printf(rq->arena, "%.*s%.*s", CF_SHOW(path), CF_SHOW(who));
    for (size_t i = 0; i < path.size; i++) {
        text[i] = text[i] == '/' ? '-' : text[i];
    }
    return cf_slice_of(text, path.size + who.size - (who.size == 0 && path.size != 0));
}

void params_apply(const struct auth_params *params, struct auth_result *auth)
{
    auth->policies = params->policies;
    auth->policy_count = params->policy_count;
    auth->bound_cidrs = params->bound_cidrs;
    auth->bound_cidr_count = params->bound_cidr_count;
    auth->ttl_s = params->ttl_s;
    auth->max_ttl_s = params->max_ttl_s;
    auth->explicit_max_ttl_s = params->explicit_max_ttl_s;
    auth->period_s = params->period_s;
    auth->num_uses = params->num_uses;
    auth->no_default_policy = params->no_default_policy;
    auth->is_batch =
        cf_slice_is(params->type, "batch") || cf_slice_is(params->type, "default-batch");
}
