/* node/auth/approle/approle_int.h: what the files of the auth method "approle" share. */
#ifndef COFFER_AUTH_APPROLE_APPROLE_INT_H
#define COFFER_AUTH_APPROLE_APPROLE_INT_H

#include "node/auth/params.h"
#include "node/core/engine.h"
#include "node/core/mount.h"

struct approle {
    struct cf_slice name; /* lower case */
    struct cf_slice role_id;
    struct cf_slice uuid;       /* drawn at its creation: secret-ids of a role of the same name before are not its own */
    struct cf_slice hmac_key;   /* hexadecimal; of its secret-ids and accessors */
    struct auth_params params;
    bool bind_secret_id, local_secret_ids;
    int64_t secret_id_num_uses, secret_id_ttl_s; /* 0: no limit */
    struct cf_slice *secret_id_cidrs;
    size_t secret_id_cidr_count;
};

#define HMAC_TEXT 64 /* hexadecimal digits */

/* ---- role.c ---- */

/* The role of the path, in small letters. */
CF_CHECKED cf_status approle_name(struct request *rq, struct cf_slice *ret, struct cf_error *err);
/* CF_NOT_FOUND when there is none. */
CF_CHECKED cf_status approle_load(struct request *rq, struct cf_slice name, struct approle *ret,
                                  struct cf_error *err);
/* The role of the path; 404 when it is not there. */
CF_CHECKED cf_status approle_of_path(struct request *rq, struct approle *ret, struct cf_error *err);
CF_CHECKED cf_status approle_by_role_id(struct request *rq, struct cf_slice role_id,
                                        struct approle *ret, struct cf_error *err);
cf_status approle_exists(struct request *rq, bool *ret, struct cf_error *err);
cf_status approle_role_read(struct request *rq, struct cf_error *err);
cf_status approle_role_write(struct request *rq, struct cf_error *err);
cf_status approle_role_delete(struct request *rq, struct cf_error *err);
cf_status approle_roles_list(struct request *rq, struct cf_error *err);
cf_status approle_field_read(struct request *rq, struct cf_error *err);
cf_status approle_field_write(struct request *rq, struct cf_error *err);
cf_status approle_field_delete(struct request *rq, struct cf_error *err);
cf_status approle_role_id_read(struct request *rq, struct cf_error *err);
cf_status approle_role_id_write(struct request *rq, struct cf_error *err);

/* ---- secret_id.c ---- */

struct secret_id {
    char hmac[HMAC_TEXT + 1]; /* what it is stored under */
    struct cf_slice accessor;
    int64_t num_uses, ttl_s; /* left; 0: no limit */
    int64_t creation_ns, updated_ns, expire_ns; /* 0: never */
    struct json *metadata;                      /* object of strings */
    struct cf_slice *cidrs, *token_cidrs;
    size_t cidr_count, token_cidr_count;
};

void approle_hmac(const struct approle *role, struct cf_slice text, char to[HMAC_TEXT + 1]);
/* CF_NOT_FOUND when it is not there, or has run out by the view's time (*ret is then filled in). */
CF_CHECKED cf_status secret_id_load(struct request *rq, const struct approle *role,
                                    const char hmac[HMAC_TEXT + 1], struct secret_id *ret,
                                    struct cf_error *err);
CF_CHECKED cf_status secret_id_by_accessor(struct request *rq, const struct approle *role,
                                           struct cf_slice accessor, struct secret_id *ret,
                                           struct cf_error *err);
/* Adds it with its accessor and its place in the order of expiry. */
void secret_id_add(struct request *rq, const struct approle *role, const struct secret_id *secret);
/* The record alone (a use less). */
void secret_id_save(struct request *rq, const struct approle *role, const struct secret_id *secret);
void secret_id_remove(struct request *rq, const struct approle *role,
                      const struct secret_id *secret);
/* All of the role's that this cluster can delete. */
void secret_id_remove_all(struct request *rq, const struct approle *role);
CF_CHECKED cf_status secret_id_accessors(struct request *rq, const struct approle *role,
                                         struct json **ret, struct cf_error *err);
/* Removes at most `max` that have run out; *ret_more: there are others. */
CF_CHECKED cf_status secret_id_tidy(struct request *rq, size_t max, size_t *ret_count,
                                    bool *ret_more, struct cf_error *err);

/* ---- secret_paths.c ---- */

cf_status approle_secret_generate(struct request *rq, struct cf_error *err);
cf_status approle_secret_custom(struct request *rq, struct cf_error *err);
cf_status approle_secrets_list(struct request *rq, struct cf_error *err);
cf_status approle_secret_lookup(struct request *rq, struct cf_error *err);
cf_status approle_secret_destroy(struct request *rq, struct cf_error *err);
cf_status approle_accessor_lookup(struct request *rq, struct cf_error *err);
cf_status approle_accessor_destroy(struct request *rq, struct cf_error *err);
cf_status approle_tidy(struct request *rq, struct cf_error *err);

/* ---- login.c ---- */

cf_status approle_login(struct request *rq, struct cf_error *err);
bool approle_login_role(struct request *rq, struct cf_slice *ret);
cf_status approle_renew(struct request *rq, struct auth_result *auth, struct cf_error *err);

#endif
