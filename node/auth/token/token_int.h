/* node/auth/token/token_int.h: what the files of the auth method "token" share. */
#ifndef COFFER_AUTH_TOKEN_TOKEN_INT_H
#define COFFER_AUTH_TOKEN_TOKEN_INT_H

#include "node/auth/params.h"
#include "node/core/engine.h"
#include "node/core/mount.h"
#include "node/core/token.h"

/* auth/token/roles/<name>: what tokens made through create/<name> may be. Memory of the request. */
struct token_role {
    struct cf_slice name, path_suffix;
    struct cf_slice *allowed, *disallowed, *allowed_globs, *disallowed_globs, *entity_aliases;
    size_t allowed_count, disallowed_count, allowed_glob_count, disallowed_glob_count,
        entity_alias_count;
    bool orphan, renewable;
    int64_t old_period_s, old_explicit_max_ttl_s; /* as given under the old field names; shown */
    struct auth_params params;
};

/* roles.c. CF_NOT_FOUND for an unknown one. */
CF_CHECKED cf_status token_role_load(struct request *rq, struct cf_slice name,
                                     struct token_role *ret, struct cf_error *err);
cf_status token_role_exists(struct request *rq, bool *ret, struct cf_error *err);
cf_status token_role_read(struct request *rq, struct cf_error *err);
cf_status token_role_write(struct request *rq, struct cf_error *err);
cf_status token_role_delete(struct request *rq, struct cf_error *err);
cf_status token_role_list(struct request *rq, struct cf_error *err);

/* policies.c: which policies a new token gets, by core-api.md section 5. */
struct token_policies {
    const struct token_role *role; /* NULL: none */
    const struct cf_slice *asked;  /* as the request names them */
    size_t asked_count;
    bool is_sudo, no_default;
};
/* Sorted, lower case, no doubles. CF_INVALID when the caller may not give them away. */
CF_CHECKED cf_status token_policies_choose(struct request *rq, const struct token_policies *from,
                                           struct cf_slice **ret, size_t *ret_count,
                                           struct cf_error *err);

/* "*" at either end of the glob stands for anything. */
bool token_glob_matches(struct cf_slice glob, struct cf_slice name);

/* create.c */
cf_status token_create_child(struct request *rq, struct cf_error *err);
cf_status token_create_orphan(struct request *rq, struct cf_error *err);
cf_status token_create_by_role(struct request *rq, struct cf_error *err);

/* lookup.c */
cf_status token_answer_lookup(struct request *rq, struct cf_error *err);
cf_status token_answer_lookup_self(struct request *rq, struct cf_error *err);
cf_status token_answer_lookup_accessor(struct request *rq, struct cf_error *err);
cf_status token_answer_accessors(struct request *rq, struct cf_error *err);
/* The field "accessor" as a token. CF_INVALID when missing or unknown. */
CF_CHECKED cf_status token_of_accessor(struct request *rq, const struct token_entry **ret,
                                       struct cf_error *err);

/* renew.c */
cf_status token_renew(struct request *rq, struct cf_error *err);
cf_status token_renew_self(struct request *rq, struct cf_error *err);
cf_status token_renew_accessor(struct request *rq, struct cf_error *err);

/* revoke.c */
cf_status token_revoke_one(struct request *rq, struct cf_error *err);
cf_status token_revoke_self(struct request *rq, struct cf_error *err);
cf_status token_revoke_accessor(struct request *rq, struct cf_error *err);
cf_status token_revoke_orphan(struct request *rq, struct cf_error *err);
cf_status token_tidy(struct request *rq, struct cf_error *err);

#endif
