/* node/auth/approle/role.c: the roles, whole and field by field.
 *
 * A record role/<name> holds the role, roleid/<HMAC of the role-id> its name. */
#include "node/auth/approle/approle_int.h"

#include "node/base/memory.h"
#include "node/core/cidr.h"
#include "node/crypto/hash.h"
#include "node/format/encode.h"

#define ROLE_PREFIX "role/"
#define ROLE_NAME_MAX ((size_t)256)
#define ROLE_ID_MAX ((size_t)4096)

/* ---- records ---- */

static struct cf_slice record_name(struct request *rq, struct cf_slice name)
{
    return cf_slice_str(arena_printf(rq->arena, ROLE_PREFIX "%.*s", CF_SHOW(name)));
}

/* The salt of role-ids: one of the mount's own, which goes where its roles go. */
static cf_status index_name(struct request *rq, struct cf_slice role_id, bool makes_salt,
                            struct cf_slice *ret, struct cf_error *err)
{
    struct cf_slice salt;
    uint8_t fresh[32], mac[32];
    cf_status status = store_get(rq, CF_SLICE("salt"), &salt, err);
    if (status == CF_NOT_FOUND && makes_salt) {
        cf_random_fill(rq->random, fresh, sizeof(fresh));
        salt = arena_copy(rq->arena, cf_slice_of(fresh, sizeof(fresh)));
        store_put(rq, CF_SLICE("salt"), salt);
        status = CF_OK;
    }
    CF_TRY(status);
    CF_BUF(name) = {0};
    hash_hmac_sha256(salt, role_id, mac);
    cf_buf_add_str(&name, "roleid/");
    encode_hex(&name, cf_slice_of(mac, sizeof(mac)));
    *ret = arena_copy(rq->arena, cf_buf_slice(&name));
    return CF_OK;
}

cf_status approle_name(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    if (rq->captures[0].size == 0 || rq->captures[0].size > ROLE_NAME_MAX) {
        return cf_fail(err, CF_INVALID, "missing role_name, or longer than %zu bytes",
                       ROLE_NAME_MAX);
    }
    *ret = params_lower(rq->arena, rq->captures[0]);
    return CF_OK;
}

cf_status approle_load(struct request *rq, struct cf_slice name, struct approle *ret,
                       struct cf_error *err)
{
    struct json *record;
    CF_TRY(store_get_json(rq, record_name(rq, name), &record, err));
    *ret = (struct approle){
        .name = name,
        .role_id = json_get_string(record, "role_id"),
        .uuid = json_get_string(record, "uuid"),
        .hmac_key = json_get_string(record, "hmac_key"),
        .bind_secret_id = json_get_bool(record, "bind_secret_id"),
        .local_secret_ids = json_get_bool(record, "local_secret_ids"),
        .secret_id_num_uses = json_get_int(record, "secret_id_num_uses"),
        .secret_id_ttl_s = json_get_int(record, "secret_id_ttl"),
    };
    ret->secret_id_cidrs = params_strings(rq->arena, json_get(record, "secret_id_bound_cidrs"),
                                          &ret->secret_id_cidr_count);
    params_from_record(rq->arena, record, &ret->params);
    return CF_OK;
}

static void show(struct request *rq, const struct approle *role, struct json *to)
{
    json_set_bool(rq->arena, to, "bind_secret_id", role->bind_secret_id);
    json_set_bool(rq->arena, to, "local_secret_ids", role->local_secret_ids);
    json_set(rq->arena, to, "secret_id_bound_cidrs",
             role->secret_id_cidr_count != 0
                 ? params_list(rq->arena, role->secret_id_cidrs, role->secret_id_cidr_count)
                 : json_null());
    json_set_int(rq->arena, to, "secret_id_num_uses", role->secret_id_num_uses);
    json_set_int(rq->arena, to, "secret_id_ttl", role->secret_id_ttl_s);
    params_show(rq->arena, &role->params, to);
}

static void save(struct request *rq, const struct approle *role)
{
    struct json *record = json_object_new(rq->arena);
    show(rq, role, record);
    json_set_string(rq->arena, record, "role_id", role->role_id);
    json_set_string(rq->arena, record, "uuid", role->uuid);
    json_set_string(rq->arena, record, "hmac_key", role->hmac_key);
    store_put_json(rq, record_name(rq, role->name), record);
}

cf_status approle_of_path(struct request *rq, struct approle *ret, struct cf_error *err)
{
    struct cf_slice name;
    CF_TRY(approle_name(rq, &name, err));
    cf_status status = approle_load(rq, name, ret, err);
    return status == CF_NOT_FOUND ? request_absent(err) : status;
}

cf_status approle_by_role_id(struct request *rq, struct cf_slice role_id, struct approle *ret,
                             struct cf_error *err)
{
    struct cf_slice index, name;
    CF_TRY(index_name(rq, role_id, false, &index, err));
    CF_TRY(store_get(rq, index, &name, err));
    return approle_load(rq, name, ret, err);
}

/* Takes the old role-id out of the index and puts the new one in. */
static cf_status set_role_id(struct request *rq, struct approle *role, struct cf_slice role_id,
                             struct cf_error *err)
{
    struct cf_slice index, owner;
    if (role_id.size > ROLE_ID_MAX) {
        return cf_fail(err, CF_INVALID, "role_id is longer than %zu bytes", ROLE_ID_MAX);
    }
    CF_TRY(index_name(rq, role_id, true, &index, err));
    cf_status status = store_get(rq, index, &owner, err);
    if (status == CF_OK && !cf_slice_eq(owner, role->name)) {
        return cf_fail(err, CF_INVALID, "role_id already in use");
    }
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    if (role->role_id.size != 0) {
        struct cf_slice old;
        CF_TRY(index_name(rq, role->role_id, true, &old, err));
        store_delete(rq, old);
    }
    store_put(rq, index, role->name);
    role->role_id = role_id;
    return CF_OK;
}

/* ---- from the request ---- */

static cf_status read_cidrs(struct request *rq, struct approle *role, struct cf_error *err)
{
    const char *field = request_field(rq, "secret_id_bound_cidrs") != NULL ? "secret_id_bound_cidrs"
                                                                          : "bound_cidr_list";
    if (request_field(rq, field) == NULL) {
        return CF_OK;
    }
    CF_TRY(
        request_list(rq, field, true, &role->secret_id_cidrs, &role->secret_id_cidr_count, err));
    for (size_t i = 0; i < role->secret_id_cidr_count; i++) {
        if (!cidr_is_valid(role->secret_id_cidrs[i])) {
            return cf_fail(err, CF_INVALID, "'%s' holds \"%.64s\", which is no address or network",
                           field, arena_text(rq->arena, role->secret_id_cidrs[i]));
        }
    }
    return CF_OK;
}

static cf_status check(const struct approle *role, struct cf_error *err)
{
    if (role->secret_id_num_uses < 0) {
        return cf_fail(err, CF_INVALID, "secret_id_num_uses cannot be negative");
    }
    if (role->secret_id_ttl_s < 0) {
        return cf_fail(err, CF_INVALID, "secret_id_ttl cannot be negative");
    }
    if (!role->bind_secret_id && role->secret_id_cidr_count == 0 &&
        role->params.bound_cidr_count == 0) {
        return cf_fail(err, CF_INVALID, "at least one constraint should be enabled on the role");
    }
    return CF_OK;
}

static cf_status read_fields(struct request *rq, struct approle *role, struct cf_error *err)
{
    CF_TRY(request_bool(rq, "bind_secret_id", role->bind_secret_id, &role->bind_secret_id, err));
    CF_TRY(read_cidrs(rq, role, err));
    CF_TRY(request_int(rq, "secret_id_num_uses", role->secret_id_num_uses,
                       &role->secret_id_num_uses, err));
    CF_TRY(request_duration(rq, "secret_id_ttl", role->secret_id_ttl_s, &role->secret_id_ttl_s,
                            NULL, err));
    CF_TRY(params_read(rq, "default", &role->params, err));
    return check(role, err);
}

/* ---- whole roles ---- */

cf_status approle_exists(struct request *rq, bool *ret, struct cf_error *err)
{
    struct cf_slice name;
    struct approle role;
    CF_TRY(approle_name(rq, &name, err));
    cf_status status = approle_load(rq, name, &role, err);
    *ret = status == CF_OK;
    return status == CF_NOT_FOUND ? CF_OK : status;
}

cf_status approle_role_read(struct request *rq, struct cf_error *err)
{
    struct approle role;
    CF_TRY(approle_of_path(rq, &role, err));
    show(rq, &role, response_data(rq));
    return CF_OK;
}

static struct cf_slice new_uuid(struct request *rq)
{
    CF_BUF(text) = {0};
    encode_uuid_add(&text, rq->random);
    return arena_copy(rq->arena, cf_buf_slice(&text));
}

static void make(struct request *rq, struct cf_slice name, struct approle *role)
{
    uint8_t key[32];
    CF_BUF(text) = {.secret = true};
    cf_random_fill(rq->random, key, sizeof(key));
    encode_hex(&text, cf_slice_of(key, sizeof(key)));
    *role = (struct approle){.name = name,
                             .uuid = new_uuid(rq),
                             .hmac_key = arena_copy(rq->arena, cf_buf_slice(&text)),
                             .bind_secret_id = true};
}

cf_status approle_role_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice name, role_id;
    struct approle role;
    bool local;
    CF_TRY(approle_name(rq, &name, err));
    cf_status status = approle_load(rq, name, &role, err);
    bool is_new = status == CF_NOT_FOUND;
    if (is_new) {
        make(rq, name, &role);
    } else {
        CF_TRY(status);
    }
    CF_TRY(request_bool(rq, "local_secret_ids", role.local_secret_ids, &local, err));
    if (!is_new && local != role.local_secret_ids) {
        return cf_fail(err, CF_INVALID, "local_secret_ids can only be modified during role creation");
    }
    role.local_secret_ids = local;
    CF_TRY(read_fields(rq, &role, err));
    CF_TRY(request_string(rq, "role_id", &role_id, err));
    if (is_new && role_id.size == 0) {
        role_id = new_uuid(rq);
    }
    if (role_id.size != 0) {
        CF_TRY(set_role_id(rq, &role, role_id, err));
    }
    save(rq, &role);
    return CF_OK;
}

cf_status approle_role_delete(struct request *rq, struct cf_error *err)
{
    struct cf_slice name, index;
    struct approle role;
    CF_TRY(approle_name(rq, &name, err));
    cf_status status = approle_load(rq, name, &role, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    CF_TRY(index_name(rq, role.role_id, true, &index, err));
    store_delete(rq, index);
    store_delete(rq, record_name(rq, name)); /* every reader of a secret-id has read it */
    secret_id_remove_all(rq, &role);
    return CF_OK;
}

cf_status approle_roles_list(struct request *rq, struct cf_error *err)
{
    return response_page(rq, CF_SLICE(ROLE_PREFIX), err);
}

/* ---- one field of a role ---- */

/* What stands behind role/<name>/, and the members of a role that it is about, old name second. */
static const struct {
    const char *path, *member, *old_name;
} paths[] = {
    {"policies", "token_policies", "policies"},
    {"bound-cidr-list", "secret_id_bound_cidrs", "bound_cidr_list"},
    {"secret-id-bound-cidrs", "secret_id_bound_cidrs", NULL},
    {"token-bound-cidrs", "token_bound_cidrs", NULL},
    {"bind-secret-id", "bind_secret_id", NULL},
    {"secret-id-num-uses", "secret_id_num_uses", NULL},
    {"secret-id-ttl", "secret_id_ttl", NULL},
    {"period", "token_period", "period"},
    {"token-num-uses", "token_num_uses", NULL},
    {"token-ttl", "token_ttl", NULL},
    {"token-max-ttl", "token_max_ttl", NULL},
    {"local-secret-ids", "local_secret_ids", NULL},
};

static size_t path_of(const struct request *rq)
{
    struct cf_slice rest = rq->relative;
    size_t at = 0;
    while (cf_slice_find(rest, '/') < rest.size) {
        rest = cf_slice_from(rest, cf_slice_find(rest, '/') + 1);
    }
    while (at + 1 < CF_LENGTH(paths) && !cf_slice_is(rest, paths[at].path)) {
        at++; /* the routes name no others */
    }
    return at;
}

cf_status approle_field_read(struct request *rq, struct cf_error *err)
{
    struct approle role;
    struct json *whole = json_object_new(rq->arena);
    size_t path = path_of(rq);
    CF_TRY(approle_of_path(rq, &role, err));
    show(rq, &role, whole);
    struct json *value = json_get(whole, paths[path].member);
    json_set(rq->arena, response_data(rq), paths[path].member, value);
    if (paths[path].old_name != NULL) {
        json_set(rq->arena, response_data(rq), paths[path].old_name, value);
    }
    return CF_OK;
}

/* Who may write one field may not write the others by the way: they are taken out. */
cf_status approle_field_write(struct request *rq, struct cf_error *err)
{
    struct approle role;
    struct json *one = json_object_new(rq->arena), *whole = rq->body;
    size_t path = path_of(rq);
    const char *names[] = {paths[path].member, paths[path].old_name};
    CF_TRY(approle_of_path(rq, &role, err));
    for (size_t i = 0; i < 2 && names[i] != NULL; i++) {
        struct json *value = json_get(whole, names[i]);
        if (value != NULL) {
            json_set(rq->arena, one, names[i], value);
        }
    }
    if (json_count(one) == 0) {
        return cf_fail(err, CF_INVALID, "missing %s", paths[path].member);
    }
    struct json *query = rq->query;
    rq->body = one;
    rq->query = NULL;
    cf_status status = read_fields(rq, &role, err);
    rq->body = whole;
    rq->query = query;
    CF_TRY(status);
    save(rq, &role);
    return CF_OK;
}

static void reset(struct approle *role, const char *member)
{
    const struct {
        const char *member;
        int64_t *number;
        size_t *count;
    } zeroed[] = {
        {"token_policies", NULL, &role->params.policy_count},
        {"secret_id_bound_cidrs", NULL, &role->secret_id_cidr_count},
        {"token_bound_cidrs", NULL, &role->params.bound_cidr_count},
        {"secret_id_num_uses", &role->secret_id_num_uses, NULL},
        {"secret_id_ttl", &role->secret_id_ttl_s, NULL},
        {"token_period", &role->params.period_s, NULL},
        {"token_num_uses", &role->params.num_uses, NULL},
        {"token_ttl", &role->params.ttl_s, NULL},
        {"token_max_ttl", &role->params.max_ttl_s, NULL},
    };
    for (size_t i = 0; i < CF_LENGTH(zeroed); i++) {
        if (strcmp(zeroed[i].member, member) == 0) {
            int64_t ignored_number;
            size_t ignored_count;
            *(zeroed[i].number != NULL ? zeroed[i].number : &ignored_number) = 0;
            *(zeroed[i].count != NULL ? zeroed[i].count : &ignored_count) = 0;
        }
    }
    if (strcmp(member, "bind_secret_id") == 0) {
        role->bind_secret_id = true;
    }
}

cf_status approle_field_delete(struct request *rq, struct cf_error *err)
{
    struct approle role;
    CF_TRY(approle_of_path(rq, &role, err));
    reset(&role, paths[path_of(rq)].member);
    CF_TRY(check(&role, err));
    save(rq, &role);
    return CF_OK;
}

/* ---- role-id ---- */

cf_status approle_role_id_read(struct request *rq, struct cf_error *err)
{
    struct approle role;
    CF_TRY(approle_of_path(rq, &role, err));
    json_set_string(rq->arena, response_data(rq), "role_id", role.role_id);
    return CF_OK;
}

cf_status approle_role_id_write(struct request *rq, struct cf_error *err)
{
    struct approle role;
    struct cf_slice role_id;
    CF_TRY(approle_of_path(rq, &role, err));
    CF_TRY(request_string(rq, "role_id", &role_id, err));
    if (role_id.size == 0) {
        return cf_fail(err, CF_INVALID, "missing role_id");
    }
    CF_TRY(set_role_id(rq, &role, role_id, err));
    save(rq, &role);
    return CF_OK;
}
