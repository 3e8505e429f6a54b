/* node/auth/userpass/userpass.c: user names and passwords: the users (core-api.md section 12).
 *
 * A record user/<name> of the mount's class holds the bcrypt hash and the common parameters. */
#include "node/auth/userpass/userpass_int.h"

#include "node/crypto/bcrypt.h"

#define USER_NAME_MAX ((size_t)256)
#define USER_PREFIX "user/"

/* ---- records ---- */

static struct cf_slice record_name(struct request *rq, struct cf_slice name)
{
    return cf_slice_str(arena_printf(rq->arena, USER_PREFIX "%.*s", CF_SHOW(name)));
}

cf_status userpass_name(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    if (rq->captures[0].size > USER_NAME_MAX) {
        return cf_fail(err, CF_INVALID, "user name is longer than %zu bytes", USER_NAME_MAX);
    }
    *ret = params_lower(rq->arena, rq->captures[0]);
    return CF_OK;
}

cf_status userpass_load(struct request *rq, struct cf_slice name, struct userpass_user *ret,
                        struct cf_error *err)
{
    struct json *record;
    CF_TRY(store_get_json(rq, record_name(rq, name), &record, err));
    *ret = (struct userpass_user){.name = name, .hash = json_get_string(record, "hash")};
    params_from_record(rq->arena, record, &ret->params);
    return CF_OK;
}

static void save(struct request *rq, const struct userpass_user *user)
{
    struct json *record = json_object_new(rq->arena);
    json_set_string(rq->arena, record, "hash", user->hash);
    params_to_record(rq->arena, &user->params, record);
    store_put_json(rq, record_name(rq, user->name), record);
}

/* ---- passwords ---- */

/* The hash of the field "password", or the field "password_hash"; empty when neither is there. */
static cf_status read_hash(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    struct cf_slice password;
    char hash[BCRYPT_HASH_SIZE + 1];
    CF_TRY(request_string(rq, "password", &password, err));
    CF_TRY(request_string(rq, "password_hash", ret, err));
    if (password.size != 0 && ret->size != 0) {
        return cf_fail(err, CF_INVALID, "\"password\" and \"password_hash\" exclude each other");
    }
    if (ret->size != 0) {
        return bcrypt_is_hash(*ret, err);
    }
    if (password.size != 0) {
        CF_TRY(bcrypt_make(password, BCRYPT_COST_DEFAULT, rq->random, hash, err));
        *ret = arena_copy(rq->arena, cf_slice_str(hash));
    }
    return CF_OK;
}

/* ---- paths ---- */

static cf_status user_exists(struct request *rq, bool *ret, struct cf_error *err)
{
    struct cf_slice name;
    struct userpass_user user;
    CF_TRY(userpass_name(rq, &name, err));
    cf_status status = userpass_load(rq, name, &user, err);
    *ret = status == CF_OK;
    return status == CF_NOT_FOUND ? CF_OK : status;
}

static cf_status user_read(struct request *rq, struct cf_error *err)
{
    struct cf_slice name;
    struct userpass_user user;
    CF_TRY(userpass_name(rq, &name, err));
    cf_status status = userpass_load(rq, name, &user, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    params_show(rq->arena, &user.params, response_data(rq));
    return CF_OK;
}

static cf_status user_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice name, hash;
    CF_TRY(userpass_name(rq, &name, err));
    struct userpass_user user = {.name = name};
    cf_status status = userpass_load(rq, name, &user, err);
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    CF_TRY(params_read(rq, "default", &user.params, err));
    CF_TRY(read_hash(rq, &hash, err));
    if (hash.size != 0) {
        user.hash = hash;
    } else if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "missing password");
    }
    save(rq, &user);
    return CF_OK;
}

static cf_status user_delete(struct request *rq, struct cf_error *err)
{
    struct cf_slice name;
    struct userpass_user user;
    CF_TRY(userpass_name(rq, &name, err));
    cf_status status = userpass_load(rq, name, &user, err);
    if (status == CF_OK) {
        store_delete(rq, record_name(rq, name));
    }
    return status == CF_NOT_FOUND ? CF_OK : status;
}

static cf_status users_list(struct request *rq, struct cf_error *err)
{
    return response_page(rq, CF_SLICE(USER_PREFIX), err);
}

static cf_status load_existing(struct request *rq, struct userpass_user *ret, struct cf_error *err)
{
    struct cf_slice name;
    CF_TRY(userpass_name(rq, &name, err));
    cf_status status = userpass_load(rq, name, ret, err);
    return status == CF_NOT_FOUND ? cf_fail(err, CF_INVALID, "username does not exist") : status;
}

static cf_status password_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice hash;
    struct userpass_user user;
    CF_TRY(load_existing(rq, &user, err));
    CF_TRY(read_hash(rq, &hash, err));
    if (hash.size == 0) {
        return cf_fail(err, CF_INVALID, "missing password");
    }
    user.hash = hash;
    save(rq, &user);
    return CF_OK;
}

static cf_status policies_write(struct request *rq, struct cf_error *err)
{
    struct userpass_user user;
    CF_TRY(load_existing(rq, &user, err));
    if (request_field(rq, "token_policies") == NULL && request_field(rq, "policies") == NULL) {
        return cf_fail(err, CF_INVALID, "missing token_policies");
    }
    CF_TRY(params_read(rq, "default", &user.params, err));
    save(rq, &user);
    return CF_OK;
}

/* ---- the table ---- */

static const struct field user_fields[] = {
    {"username", FIELD_STRING, "Name of the user"},
    {"password", FIELD_STRING, "Password, of at most 72 bytes"},
    {"password_hash", FIELD_STRING, "bcrypt hash instead of a password"},
    AUTH_PARAMS_FIELDS,
    FIELD_END,
};

static const struct field password_fields[] = {
    {"password", FIELD_STRING, "Password, of at most 72 bytes"},
    {"password_hash", FIELD_STRING, "bcrypt hash instead of a password"},
    FIELD_END,
};

static const struct field policies_fields[] = {
    {"token_policies", FIELD_LIST, "Policies of the tokens"},
    {"policies", FIELD_LIST, "Old name of token_policies"},
    FIELD_END,
};

static bool login_role(struct request *rq, struct cf_slice *ret)
{
    *ret = rq->captures[0];
    return rq->route != NULL && (rq->route->flags & ROUTE_LOGIN) != 0;
}

static const struct route userpass_routes[] = {
    {.pattern = "login/:username",
     .write = userpass_login,
     .flags = ROUTE_OPEN | ROUTE_LOGIN | ROUTE_SLOW,
     .fields = password_fields,
     .help = "Logs in with a user name and a password."},
    {.pattern = "users", .list = users_list, .help = "Lists the users."},
    {.pattern = "users/:username",
     .read = user_read,
     .write = user_write,
     .del = user_delete,
     .flags = ROUTE_SLOW,
     .fields = user_fields,
     .exists = user_exists,
     .help = "A user: password and parameters of the tokens."},
    {.pattern = "users/:username/password",
     .write = password_write,
     .flags = ROUTE_SLOW,
     .fields = password_fields,
     .help = "Changes a user's password."},
    {.pattern = "users/:username/policies",
     .write = policies_write,
     .fields = policies_fields,
     .help = "Changes a user's policies."},
    ROUTE_END,
};

const struct engine_ops auth_userpass = {
    .type = "userpass",
    .kind = ENGINE_AUTH,
    .help = "Logins with user names and passwords.",
    .routes = userpass_routes,
    .login_role = login_role,
    .renew = userpass_renew,
};
