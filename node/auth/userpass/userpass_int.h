/* node/auth/userpass/userpass_int.h: what the files of the auth method "userpass" share. */
#ifndef COFFER_AUTH_USERPASS_USERPASS_INT_H
#define COFFER_AUTH_USERPASS_USERPASS_INT_H

#include "node/auth/params.h"
#include "node/core/engine.h"
#include "node/core/mount.h"

struct userpass_user {
    struct cf_slice name; /* lower case */
    struct cf_slice hash; /* bcrypt */
    struct auth_params params;
};

/* The user of the path, in small letters. CF_INVALID when the name is too long. */
CF_CHECKED cf_status userpass_name(struct request *rq, struct cf_slice *ret, struct cf_error *err);
/* CF_NOT_FOUND when there is none. */
CF_CHECKED cf_status userpass_load(struct request *rq, struct cf_slice name,
                                   struct userpass_user *ret, struct cf_error *err);

/* login.c */
cf_status userpass_login(struct request *rq, struct cf_error *err);
cf_status userpass_renew(struct request *rq, struct auth_result *auth, struct cf_error *err);

#endif
