/* node/auth/approle/secret_paths.c: making, showing and ending secret-ids. */
#include "node/auth/approle/approle_int.h"

#include "node/base/memory.h"
#include "node/core/cidr.h"
#include "node/core/core.h"
#include "node/core/token.h"
#include "node/format/encode.h"
#include "node/format/timefmt.h"

#define SECRET_ID_MAX ((size_t)4096)
#define TIDY_MAX ((size_t)500)

/* ---- making ---- */

static cf_status read_metadata(struct request *rq, struct json **ret, struct cf_error *err)
{
    const struct json *field = request_field(rq, "metadata");
    struct cf_slice text;
    struct json *parsed = NULL;
    *ret = json_object_new(rq->arena);
    if (field == NULL || (json_string(field, &text) && text.size == 0)) {
        return CF_OK;
    }
    if (json_is(field, JSON_OBJECT)) {
        parsed = json_copy(rq->arena, field);
    } else if (!json_string(field, &text) ||
               json_parse(rq->arena, text, NULL, &parsed, err) != CF_OK) {
        return cf_fail(err, CF_INVALID, "failed to parse metadata: it is a JSON object in a string");
    }
    for (size_t i = 0; json_is(parsed, JSON_OBJECT) && i < json_count(parsed); i++) {
        if (!json_is(parsed->members[i].value, JSON_STRING)) {
            return cf_fail(err, CF_INVALID, "failed to parse metadata: its values are strings");
        }
    }
    if (!json_is(parsed, JSON_OBJECT)) {
        return cf_fail(err, CF_INVALID, "failed to parse metadata: it is a JSON object in a string");
    }
    *ret = parsed;
    return CF_OK;
}

/* A list of networks, each within one of the role's, if that has any. */
static cf_status read_networks(struct request *rq, const char *field, const struct cf_slice *within,
                               size_t within_count, struct cf_slice **ret, size_t *ret_count,
                               struct cf_error *err)
{
    CF_TRY(request_list(rq, field, true, ret, ret_count, err));
    for (size_t i = 0; i < *ret_count; i++) {
        bool is_inside = within_count == 0;
        if (!cidr_is_valid((*ret)[i])) {
            return cf_fail(err, CF_INVALID, "'%s' holds \"%.64s\", which is no address or network",
                           field, arena_text(rq->arena, (*ret)[i]));
        }
        for (size_t k = 0; k < within_count && !is_inside; k++) {
            is_inside = cidr_within((*ret)[i], within[k]);
        }
        if (!is_inside) {
            return cf_fail(err, CF_INVALID,
                           "'%s' holds \"%.64s\", which is no part of the role's networks", field,
                           arena_text(rq->arena, (*ret)[i]));
        }
    }
    return CF_OK;
}

/* What is asked for, or the role's; never more than the role's. */
static cf_status read_limits(struct request *rq, const struct approle *role,
                             struct secret_id *secret, struct cf_error *err)
{
    bool ttl_given;
    CF_TRY(request_int(rq, "num_uses", role->secret_id_num_uses, &secret->num_uses, err));
    CF_TRY(request_duration(rq, "ttl", role->secret_id_ttl_s, &secret->ttl_s, &ttl_given, err));
    if (secret->num_uses < 0 || secret->ttl_s < 0) {
        return cf_fail(err, CF_INVALID, "num_uses and ttl cannot be negative");
    }
    if (role->secret_id_num_uses != 0 &&
        (secret->num_uses == 0 || secret->num_uses > role->secret_id_num_uses)) {
        return cf_fail(err, CF_INVALID,
                       "num_uses cannot be higher than the role's secret_id_num_uses");
    }
    secret->ttl_s = secret->ttl_s == 0 ? role->secret_id_ttl_s : secret->ttl_s;
    if (role->secret_id_ttl_s != 0 && secret->ttl_s > role->secret_id_ttl_s) {
        return cf_fail(err, CF_INVALID, "ttl cannot be longer than the role's secret_id_ttl");
    }
    int64_t max_s = rq->mount->max_lease_ttl_s != 0 ? rq->mount->max_lease_ttl_s
                                                    : core_config(rq->core)->max_lease_ttl_s;
    if (secret->ttl_s > max_s) {
        response_warn(rq, "ttl is longer than the mount's maximum and was cut to %llds",
                      (long long)max_s);
        secret->ttl_s = max_s;
    }
    return CF_OK;
}

static cf_status make_secret(struct request *rq, const struct approle *role, struct cf_slice id,
                             struct cf_error *err)
{
    struct secret_id secret = {0}, other = {0};
    CF_BUF(accessor) = {0};
    if (!role->bind_secret_id) {
        return cf_fail(err, CF_INVALID, "bind_secret_id is not set on the role");
    }
    CF_TRY(read_metadata(rq, &secret.metadata, err));
    CF_TRY(read_networks(rq, "cidr_list", role->secret_id_cidrs, role->secret_id_cidr_count,
                         &secret.cidrs, &secret.cidr_count, err));
    CF_TRY(read_networks(rq, "token_bound_cidrs", role->params.bound_cidrs,
                         role->params.bound_cidr_count, &secret.token_cidrs,
                         &secret.token_cidr_count, err));
    CF_TRY(read_limits(rq, role, &secret, err));
    approle_hmac(role, id, secret.hmac);
    cf_status status = secret_id_load(rq, role, secret.hmac, &other, err);
    if (status == CF_OK) {
        return cf_fail(err, CF_INVALID, "SecretID is already registered");
    }
    if (status != CF_NOT_FOUND) {
        return status;
    }
    if (other.accessor.size != 0) { /* has run out */
        secret_id_remove(rq, role, &other);
    }
    encode_uuid_add(&accessor, rq->random);
    secret.accessor = arena_copy(rq->arena, cf_buf_slice(&accessor));
    secret.creation_ns = secret.updated_ns = request_now_ns(rq);
    secret.expire_ns = secret.ttl_s != 0 ? secret.creation_ns + secret.ttl_s * 1000000000 : 0;
    secret_id_add(rq, role, &secret);
    struct json *data = response_data(rq);
    json_set_string(rq->arena, data, "secret_id", id);
    json_set_string(rq->arena, data, "secret_id_accessor", secret.accessor);
    json_set_int(rq->arena, data, "secret_id_ttl", secret.ttl_s);
    json_set_int(rq->arena, data, "secret_id_num_uses", secret.num_uses);
    return CF_OK;
}

cf_status approle_secret_generate(struct request *rq, struct cf_error *err)
{
    struct approle role;
    CF_BUF(id) = {.secret = true};
    CF_TRY(approle_of_path(rq, &role, err));
    encode_uuid_add(&id, rq->random);
    return make_secret(rq, &role, arena_copy(rq->arena, cf_buf_slice(&id)), err);
}

cf_status approle_secret_custom(struct request *rq, struct cf_error *err)
{
    struct approle role;
    struct cf_slice id;
    CF_TRY(approle_of_path(rq, &role, err));
    CF_TRY(request_string(rq, "secret_id", &id, err));
    if (id.size == 0 || id.size > SECRET_ID_MAX) {
        return cf_fail(err, CF_INVALID, "missing secret_id, or longer than %zu bytes",
                       SECRET_ID_MAX);
    }
    return make_secret(rq, &role, id, err);
}

/* ---- showing ---- */

cf_status approle_secrets_list(struct request *rq, struct cf_error *err)
{
    struct approle role;
    struct json *accessors;
    CF_TRY(approle_of_path(rq, &role, err));
    CF_TRY(secret_id_accessors(rq, &role, &accessors, err));
    if (json_count(accessors) == 0) {
        return request_absent(err);
    }
    json_set(rq->arena, response_data(rq), "keys", accessors);
    return CF_OK;
}

static void set_time(struct request *rq, const char *name, int64_t ns)
{
    char text[TIMEFMT_SIZE] = TIMEFMT_NEVER;
    if (ns != 0) {
        timefmt_text(ns, text);
    }
    json_set_text(rq->arena, response_data(rq), name, text);
}

static cf_status show(struct request *rq, const struct secret_id *secret)
{
    struct json *data = response_data(rq);
    json_set(rq->arena, data, "cidr_list",
             params_list(rq->arena, secret->cidrs, secret->cidr_count));
    set_time(rq, "creation_time", secret->creation_ns);
    set_time(rq, "expiration_time", secret->expire_ns);
    set_time(rq, "last_updated_time", secret->updated_ns);
    json_set(rq->arena, data, "metadata", secret->metadata);
    json_set_string(rq->arena, data, "secret_id_accessor", secret->accessor);
    json_set_int(rq->arena, data, "secret_id_num_uses", secret->num_uses);
    json_set_int(rq->arena, data, "secret_id_ttl", secret->ttl_s);
    json_set(rq->arena, data, "token_bound_cidrs",
             params_list(rq->arena, secret->token_cidrs, secret->token_cidr_count));
    return CF_OK;
}

/* By the field secret_id of the request. */
static cf_status find_secret(struct request *rq, struct approle *role, struct secret_id *ret,
                             struct cf_error *err)
{
    struct cf_slice id;
    char hmac[HMAC_TEXT + 1];
    CF_TRY(approle_of_path(rq, role, err));
    CF_TRY(request_string(rq, "secret_id", &id, err));
    if (id.size == 0) {
        return cf_fail(err, CF_INVALID, "missing secret_id");
    }
    approle_hmac(role, id, hmac);
    return secret_id_load(rq, role, hmac, ret, err);
}

static cf_status find_accessor(struct request *rq, struct approle *role, struct secret_id *ret,
                               struct cf_error *err)
{
    struct cf_slice accessor;
    CF_TRY(approle_of_path(rq, role, err));
    CF_TRY(request_string(rq, "secret_id_accessor", &accessor, err));
    if (accessor.size == 0) {
        return cf_fail(err, CF_INVALID, "missing secret_id_accessor");
    }
    cf_status status = secret_id_by_accessor(rq, role, accessor, ret, err);
    return status == CF_NOT_FOUND
               ? cf_fail(err, CF_NOT_FOUND, "failed to find accessor entry for secret_id_accessor")
               : status;
}

/* Whether the role itself is there was said by find_secret: its 404 has no text of its own. */
static bool only_secret_is_absent(cf_status status, const struct approle *role)
{
    return status == CF_NOT_FOUND && role->uuid.size != 0;
}

cf_status approle_secret_lookup(struct request *rq, struct cf_error *err)
{
    struct approle role = {0};
    struct secret_id secret;
    cf_status status = find_secret(rq, &role, &secret, err);
    if (only_secret_is_absent(status, &role)) {
        return CF_OK; /* 204 */
    }
    CF_TRY(status);
    return show(rq, &secret);
}

cf_status approle_accessor_lookup(struct request *rq, struct cf_error *err)
{
    struct approle role;
    struct secret_id secret;
    CF_TRY(find_accessor(rq, &role, &secret, err));
    return show(rq, &secret);
}

/* ---- ending ---- */

cf_status approle_secret_destroy(struct request *rq, struct cf_error *err)
{
    struct approle role = {0};
    struct secret_id secret;
    cf_status status = find_secret(rq, &role, &secret, err);
    if (only_secret_is_absent(status, &role)) {
        return CF_OK;
    }
    CF_TRY(status);
    secret_id_remove(rq, &role, &secret);
    return CF_OK;
}

cf_status approle_accessor_destroy(struct request *rq, struct cf_error *err)
{
    struct approle role;
    struct secret_id secret;
    CF_TRY(find_accessor(rq, &role, &secret, err));
    secret_id_remove(rq, &role, &secret);
    return CF_OK;
}

cf_status approle_tidy(struct request *rq, struct cf_error *err)
{
    size_t count;
    bool more;
    CF_TRY(secret_id_tidy(rq, TIDY_MAX, &count, &more, err));
    response_warn(rq, more ? "%zu secret-ids that had run out were removed, and there are more: tidy again"
                           : "%zu secret-ids that had run out were removed",
                  count);
    rq->response.status = 202;
    return CF_OK;
}
