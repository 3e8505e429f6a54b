/* node/auth/approle/login.c: from a role-id and a secret-id to a token, and the role's say in renewals. */
#include "node/auth/approle/approle_int.h"

#include "node/core/cidr.h"
#include "node/core/lockout.h"

static cf_status refuse(struct cf_error *err)
{
    return cf_fail(err, CF_INVALID, "invalid role or secret ID");
}

/* One use less, in the write set of the login: two logins with the last use collide, and one of them
 * finds it gone. */
static void spend(struct request *rq, const struct approle *role, struct secret_id *secret)
{
    if (secret->num_uses == 1) {
        secret_id_remove(rq, role, secret);
    } else if (secret->num_uses > 1) {
        secret->num_uses--;
        secret->updated_ns = request_now_ns(rq);
        secret_id_save(rq, role, secret);
    }
}

static cf_status check_secret(struct request *rq, const struct approle *role,
                              struct secret_id *ret, struct cf_error *err)
{
    struct cf_slice id;
    char hmac[HMAC_TEXT + 1];
    CF_TRY(request_string(rq, "secret_id", &id, err));
    if (id.size == 0) {
        return cf_fail(err, CF_INVALID, "missing secret_id");
    }
    approle_hmac(role, id, hmac);
    cf_status status = secret_id_load(rq, role, hmac, ret, err);
    if (status == CF_NOT_FOUND) {
        CF_TRY(lockout_failed(rq, role->role_id, true, err));
        return refuse(err);
    }
    CF_TRY(status);
    CF_TRY(lockout_passed(rq, role->role_id, err));
    if (ret->cidr_count != 0 && !cidr_contains(ret->cidrs, ret->cidr_count, rq->remote_address)) {
        return cf_fail(err, CF_INVALID, "source address \"%.*s\" unauthorized through CIDR "
                                        "restrictions on the secret ID",
                       CF_SHOW(rq->remote_address));
    }
    spend(rq, role, ret);
    return CF_OK;
}

static struct json *metadata_of(struct request *rq, const struct approle *role,
                                const struct secret_id *secret)
{
    struct json *metadata = secret->metadata != NULL ? json_copy(rq->arena, secret->metadata)
                                                     : json_object_new(rq->arena);
    json_set_string(rq->arena, metadata, "role_name", role->name);
    return metadata;
}

cf_status approle_login(struct request *rq, struct cf_error *err)
{
    struct approle role;
    struct secret_id secret = {0};
    struct cf_slice role_id;
    CF_TRY(request_string(rq, "role_id", &role_id, err));
    if (role_id.size == 0) {
        return cf_fail(err, CF_INVALID, "missing role_id");
    }
    cf_status status = approle_by_role_id(rq, role_id, &role, err);
    if (status == CF_NOT_FOUND) {
        return refuse(err);
    }
    CF_TRY(status);
    CF_TRY(lockout_check(rq, role.role_id, true, err));
    if (role.bind_secret_id) {
        CF_TRY(check_secret(rq, &role, &secret, err));
    }
    if (role.secret_id_cidr_count != 0 &&
        !cidr_contains(role.secret_id_cidrs, role.secret_id_cidr_count, rq->remote_address)) {
        return cf_fail(err, CF_INVALID, "source address \"%.*s\" unauthorized by CIDR restrictions "
                                        "on the role",
                       CF_SHOW(rq->remote_address));
    }
    struct auth_result *auth = arena_new_object(rq->arena, struct auth_result);
    params_apply(&role.params, auth);
    if (secret.token_cidr_count != 0) {
        auth->bound_cidrs = secret.token_cidrs;
        auth->bound_cidr_count = secret.token_cidr_count;
    }
    if (!role.bind_secret_id && auth->bound_cidr_count != 0 &&
        !cidr_contains(auth->bound_cidrs, auth->bound_cidr_count, rq->remote_address)) {
        return refuse(err); /* its only constraint */
    }
    auth->display_name = params_display_name(rq, CF_SLICE_EMPTY);
    auth->metadata = metadata_of(rq, &role, &secret);
    auth->internal = json_object_new(rq->arena);
    json_set_string(rq->arena, auth->internal, "role_name", role.name);
    auth->role = role.name;
    auth->alias_name = role.role_id;
    rq->response.auth = auth;
    return CF_OK;
}

bool approle_login_role(struct request *rq, struct cf_slice *ret)
{
    struct approle role;
    struct cf_slice role_id;
    if (!rq->is_write_method || !cf_slice_is(rq->relative, "login") ||
        request_string(rq, "role_id", &role_id, NULL) != CF_OK ||
        approle_by_role_id(rq, role_id, &role, NULL) != CF_OK) {
        return false;
    }
    *ret = role.name;
    return true;
}

cf_status approle_renew(struct request *rq, struct auth_result *auth, struct cf_error *err)
{
    struct approle role;
    cf_status status = approle_load(rq, json_get_string(auth->internal, "role_name"), &role, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "the role does not exist any more, not renewing");
    }
    CF_TRY(status);
    if (role.params.ttl_s != 0) {
        auth->ttl_s = role.params.ttl_s;
    }
    auth->max_ttl_s = role.params.max_ttl_s;
    auth->period_s = role.params.period_s;
    return CF_OK;
}
