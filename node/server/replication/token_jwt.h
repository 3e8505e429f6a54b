/* node/server/replication/token_jwt.h: the secondary token: a JWT (ES512) that names where to redeem it. */
#ifndef COFFER_SERVER_REPLICATION_TOKEN_JWT_H
#define COFFER_SERVER_REPLICATION_TOKEN_JWT_H

#include "node/core/request.h"
#include "node/server/replication/set.h"

struct token_claims {
    struct cf_slice accessor, addr, jti, id; /* id: of the secondary */
    enum set_kind kind;
    int64_t expires_s, issued_s;
};

/* Signed with this cluster's key, which is made when there is none (a write of rq). */
CF_CHECKED cf_status token_jwt_make(struct request *rq, const struct token_claims *claims,
                                    struct cf_slice *ret, struct cf_error *err);
/* Signature, type and times. CF_INVALID "secondary token ..." with the reason. */
CF_CHECKED cf_status token_jwt_check(struct request *rq, struct cf_slice token,
                                     struct token_claims *ret, struct cf_error *err);
/* The claims without any check (the redeeming side: it cannot know the key). */
CF_CHECKED cf_status token_jwt_read(struct arena *arena, struct cf_slice token,
                                    struct token_claims *ret, struct cf_error *err);

#endif
