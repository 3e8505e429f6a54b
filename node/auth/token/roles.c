/* node/auth/token/roles.c: auth/token/roles: records AREA_ROLE<name> of class replicated. */
#include "node/auth/token/token_int.h"

#define ROLE_NAME_MAX ((size_t)256)

static struct key role_key(struct request *rq, struct cf_slice name)
{
    return (struct key){CLASS_REPLICATED, rq->ns,
                        cf_slice_str(arena_printf(rq->arena, "%s%.*s", AREA_ROLE, CF_SHOW(name)))};
}

/* ---- records ---- */

static void lists_to(struct arena *arena, const struct token_role *role, struct json *to)
{
    json_set(arena, to, "allowed_policies", params_list(arena, role->allowed, role->allowed_count));
    json_set(arena, to, "allowed_policies_glob",
             params_list(arena, role->allowed_globs, role->allowed_glob_count));
    json_set(arena, to, "disallowed_policies",
             params_list(arena, role->disallowed, role->disallowed_count));
    json_set(arena, to, "disallowed_policies_glob",
             params_list(arena, role->disallowed_globs, role->disallowed_glob_count));
    json_set(arena, to, "allowed_entity_aliases",
             role->entity_alias_count != 0
                 ? params_list(arena, role->entity_aliases, role->entity_alias_count)
                 : NULL);
}

static struct json *role_to_record(struct arena *arena, const struct token_role *role)
{
    struct json *record = json_object_new(arena);
    lists_to(arena, role, record);
    json_set_string(arena, record, "path_suffix", role->path_suffix);
    json_set_bool(arena, record, "orphan", role->orphan);
    json_set_bool(arena, record, "renewable", role->renewable);
    json_set_int(arena, record, "period", role->old_period_s);
    json_set_int(arena, record, "explicit_max_ttl", role->old_explicit_max_ttl_s);
    params_to_record(arena, &role->params, record);
    return record;
}

static void role_from_record(struct arena *arena, const struct json *record, struct token_role *ret)
{
    *ret = (struct token_role){.renewable = true};
    ret->allowed = params_strings(arena, json_get(record, "allowed_policies"), &ret->allowed_count);
    ret->allowed_globs =
        params_strings(arena, json_get(record, "allowed_policies_glob"), &ret->allowed_glob_count);
    ret->disallowed =
        params_strings(arena, json_get(record, "disallowed_policies"), &ret->disallowed_count);
    ret->disallowed_globs = params_strings(arena, json_get(record, "disallowed_policies_glob"),
                                           &ret->disallowed_glob_count);
    ret->entity_aliases =
        params_strings(arena, json_get(record, "allowed_entity_aliases"), &ret->entity_alias_count);
    ret->path_suffix = json_get_string(record, "path_suffix");
    cf_ignore(!json_bool(json_get(record, "orphan"), &ret->orphan), "absent is false");
    cf_ignore(!json_bool(json_get(record, "renewable"), &ret->renewable), "absent is true");
    ret->old_period_s = json_get_int(record, "period");
    ret->old_explicit_max_ttl_s = json_get_int(record, "explicit_max_ttl");
    params_from_record(arena, record, &ret->params);
}

cf_status token_role_load(struct request *rq, struct cf_slice name, struct token_role *ret,
                          struct cf_error *err)
{
    struct cf_slice bytes;
    struct json *record;
    CF_TRY(txn_get(rq->txn, role_key(rq, name), &bytes, err));
    CF_TRY(record_decode(bytes, rq->arena, &record, err));
    role_from_record(rq->arena, record, ret);
    ret->name = name;
    return CF_OK;
}

/* ---- paths ---- */

cf_status token_role_exists(struct request *rq, bool *ret, struct cf_error *err)
{
    struct token_role role;
    cf_status status = token_role_load(rq, rq->captures[0], &role, err);
    *ret = status == CF_OK;
    return status == CF_NOT_FOUND ? CF_OK : status;
}

cf_status token_role_read(struct request *rq, struct cf_error *err)
{
    struct token_role role;
    cf_status status = token_role_load(rq, rq->captures[0], &role, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    struct json *data = response_data(rq);
    json_set_string(rq->arena, data, "name", role.name);
    lists_to(rq->arena, &role, data);
    json_set_string(rq->arena, data, "path_suffix", role.path_suffix);
    json_set_bool(rq->arena, data, "orphan", role.orphan);
    json_set_bool(rq->arena, data, "renewable", role.renewable);
    json_set_int(rq->arena, data, "period", role.old_period_s);
    json_set_int(rq->arena, data, "explicit_max_ttl", role.old_explicit_max_ttl_s);
    params_show_common(rq->arena, &role.params, data);
    return CF_OK;
}

static cf_status read_names(struct request *rq, const char *field, struct cf_slice **names,
                            size_t *count, struct cf_error *err)
{
    if (request_field(rq, field) == NULL) {
        return CF_OK;
    }
    CF_TRY(request_list(rq, field, true, names, count, err));
    *count = params_clean_policies(rq->arena, *names, *count);
    return CF_OK;
}

static cf_status check_suffix(struct cf_slice suffix, struct cf_error *err)
{
    for (size_t i = 0; i < suffix.size; i++) {
        uint8_t c = suffix.data[i];
        bool is_word =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        bool is_inner = (c == '-' || c == '.') && i != 0 && i + 1 < suffix.size;
        if (!is_word && !is_inner) {
            return cf_fail(err, CF_INVALID,
                           "given role path suffix contains invalid characters; must be of "
                           "letters, digits, \"_\", \"-\" and \".\"");
        }
    }
    return suffix.size <= ROLE_NAME_MAX
               ? CF_OK
               : cf_fail(err, CF_INVALID, "given role path suffix is too long");
}

/* The older field names keep their own place in answers. */
static cf_status read_old_names(struct request *rq, struct token_role *role, struct cf_error *err)
{
    int64_t given;
    if (request_field(rq, "period") != NULL && request_field(rq, "token_period") == NULL) {
        CF_TRY(request_duration(rq, "period", 0, &role->old_period_s, NULL, err));
    } else if (request_field(rq, "token_period") != NULL) {
        CF_TRY(request_duration(rq, "token_period", 0, &given, NULL, err));
        role->old_period_s = role->old_period_s != 0 ? given : 0;
    }
    if (request_field(rq, "explicit_max_ttl") != NULL &&
        request_field(rq, "token_explicit_max_ttl") == NULL) {
        CF_TRY(
            request_duration(rq, "explicit_max_ttl", 0, &role->old_explicit_max_ttl_s, NULL, err));
    } else if (request_field(rq, "token_explicit_max_ttl") != NULL) {
        CF_TRY(request_duration(rq, "token_explicit_max_ttl", 0, &given, NULL, err));
        role->old_explicit_max_ttl_s = role->old_explicit_max_ttl_s != 0 ? given : 0;
    }
    return CF_OK;
}

cf_status token_role_write(struct request *rq, struct cf_error *err)
{
    struct token_role role = {.renewable = true};
    struct cf_slice name = rq->captures[0];
    if (name.size > ROLE_NAME_MAX) {
        return cf_fail(err, CF_INVALID, "role name is longer than %zu bytes", ROLE_NAME_MAX);
    }
    cf_status status = token_role_load(rq, name, &role, err);
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    CF_TRY(read_names(rq, "allowed_policies", &role.allowed, &role.allowed_count, err));
    CF_TRY(read_names(rq, "allowed_policies_glob", &role.allowed_globs, &role.allowed_glob_count,
                      err));
    CF_TRY(read_names(rq, "disallowed_policies", &role.disallowed, &role.disallowed_count, err));
    CF_TRY(read_names(rq, "disallowed_policies_glob", &role.disallowed_globs,
                      &role.disallowed_glob_count, err));
    CF_TRY(read_names(rq, "allowed_entity_aliases", &role.entity_aliases, &role.entity_alias_count,
                      err));
    CF_TRY(request_bool(rq, "orphan", role.orphan, &role.orphan, err));
    CF_TRY(request_bool(rq, "renewable", role.renewable, &role.renewable, err));
    if (request_field(rq, "path_suffix") != NULL) {
        CF_TRY(request_string(rq, "path_suffix", &role.path_suffix, err));
        CF_TRY(check_suffix(role.path_suffix, err));
    }
    CF_TRY(params_read(rq, "default-service", &role.params, err));
    CF_TRY(read_old_names(rq, &role, err));
    txn_put(rq->txn, role_key(rq, name),
            record_encode(rq->arena, role_to_record(rq->arena, &role)));
    return CF_OK;
}

cf_status token_role_delete(struct request *rq, struct cf_error *err)
{
    struct token_role role;
    cf_status status = token_role_load(rq, rq->captures[0], &role, err);
    if (status == CF_OK) {
        txn_delete(rq->txn, role_key(rq, rq->captures[0]));
    }
    return status == CF_NOT_FOUND ? CF_OK : status;
}

cf_status token_role_list(struct request *rq, struct cf_error *err)
{
    return response_page_of(rq, role_key(rq, CF_SLICE("")), err);
}
