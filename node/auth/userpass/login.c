/* node/auth/userpass/login.c: from a password to a token, and the user's say in renewals. */
#include "node/auth/userpass/userpass_int.h"

#include "node/core/cidr.h"
#include "node/core/lockout.h"
#include "node/crypto/bcrypt.h"

/* One answer for whatever is wrong, after the same work, so that names cannot be probed. */
static cf_status check_password(struct request *rq, struct cf_slice name, struct cf_slice password,
                                struct userpass_user *ret, struct cf_error *err)
{
    cf_status status = userpass_load(rq, name, ret, err);
    bool exists = status == CF_OK;
    if (status != CF_NOT_FOUND) {
        CF_TRY(status);
    }
    CF_TRY(lockout_check(rq, name, exists, err));
    bool is_right = false;
    if (exists) {
        is_right = bcrypt_check(password, ret->hash);
    } else {
        bcrypt_waste(password, BCRYPT_COST_DEFAULT);
    }
    if (!is_right) {
        CF_TRY(lockout_failed(rq, name, exists, err));
        return cf_fail(err, CF_INVALID, "invalid username or password");
    }
    CF_TRY(lockout_passed(rq, name, err));
    if (ret->params.bound_cidr_count != 0 &&
        !cidr_contains(ret->params.bound_cidrs, ret->params.bound_cidr_count, rq->remote_address)) {
        return cf_fail(err, CF_DENIED, "permission denied");
    }
    return CF_OK;
}

static struct json *username_object(struct arena *arena, struct cf_slice name)
{
    struct json *object = json_object_new(arena);
    json_set_string(arena, object, "username", name);
    return object;
}

cf_status userpass_login(struct request *rq, struct cf_error *err)
{
    struct cf_slice name, password;
    struct userpass_user user;
    CF_TRY(userpass_name(rq, &name, err));
    CF_TRY(request_string(rq, "password", &password, err));
    if (password.size == 0) {
        return cf_fail(err, CF_INVALID, "missing password");
    }
    CF_TRY(check_password(rq, name, password, &user, err));
    struct auth_result *auth = arena_new_object(rq->arena, struct auth_result);
    params_apply(&user.params, auth);
    auth->display_name = params_display_name(rq, name);
    auth->metadata = username_object(rq->arena, name);
    auth->internal = username_object(rq->arena, name);
    auth->role = name;
    auth->alias_name = name;
    rq->response.auth = auth;
    return CF_OK;
}

/* The token's policies are those of the user, "default" added unless switched off. */
static bool same_policies(const struct auth_params *params, const struct auth_result *auth)
{
    size_t count = params->policy_count;
    struct cf_slice standard = CF_SLICE("default");
    for (size_t i = 0; i < params->policy_count; i++) {
        if (!params_has(auth->policies, auth->policy_count, params->policies[i])) {
            return false;
        }
    }
    if (!params->no_default_policy &&
        !params_has(params->policies, params->policy_count, standard)) {
        count++;
        if (!params_has(auth->policies, auth->policy_count, standard)) {
            return false;
        }
    }
    return count == auth->policy_count;
}

cf_status userpass_renew(struct request *rq, struct auth_result *auth, struct cf_error *err)
{
    struct userpass_user user;
    cf_status status = userpass_load(rq, json_get_string(auth->internal, "username"), &user, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "the user does not exist any more, not renewing");
    }
    CF_TRY(status);
    if (!same_policies(&user.params, auth)) {
        return cf_fail(err, CF_INVALID, "policies have changed, not renewing");
    }
    if (user.params.ttl_s != 0) {
        auth->ttl_s = user.params.ttl_s;
    }
    auth->max_ttl_s = user.params.max_ttl_s;
    auth->period_s = user.params.period_s;
    return CF_OK;
}
