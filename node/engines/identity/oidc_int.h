/* node/engines/identity/oidc_int.h: identity tokens (OpenID Connect): named keys, roles, tokens.
 *
 *   oidc/config        issuer
 *   oidc/key/<name>    algorithm, rotation_period, verification_ttl, allowed_client_ids, next_rotation,
 *                      private (of the signing key, base64), ring: [{kid, public (base64), expire}], the signing
 *                      key last; expire is 0 for it, and the time that the others still count until
 *   oidc/role/<name>   key, ttl, template, client_id
 */
#ifndef COFFER_ENGINES_IDENTITY_OIDC_INT_H
#define COFFER_ENGINES_IDENTITY_OIDC_INT_H

#include "node/engines/identity/identity_int.h"

#define OIDC_KEY "oidc/key/"
#define OIDC_ROLE "oidc/role/"
#define OIDC_CONFIG "oidc/config"
#define NS_PER_S ((int64_t)1000000000)

int64_t oidc_int(const struct json *record, const char *name);
/* The key as it stands now: rotated (in the write set) when that is due. */
CF_CHECKED cf_status oidc_current_key(struct request *rq, struct cf_slice name, struct json **ret,
                                      struct cf_error *err);
/* Signing keys and those that still count, as JWKs. */
CF_CHECKED cf_status oidc_jwks(struct request *rq, struct json **ret, struct cf_error *err);
struct cf_slice oidc_issuer(struct request *rq);
/* Fills {{...}} of the template in as JSON. CF_INVALID when the result is no object, or names a claim that is
 * not the template's to give. Pure but for the time; for any bytes. */
CF_CHECKED cf_status oidc_fill(struct arena *arena, struct cf_slice text, const struct json *facts,
                               int64_t now_s, struct json **ret, struct cf_error *err);

cf_status oidc_config_read(struct request *rq, struct cf_error *err);
cf_status oidc_config_write(struct request *rq, struct cf_error *err);
cf_status oidc_key_read(struct request *rq, struct cf_error *err);
cf_status oidc_key_write(struct request *rq, struct cf_error *err);
cf_status oidc_key_delete(struct request *rq, struct cf_error *err);
cf_status oidc_key_list(struct request *rq, struct cf_error *err);
cf_status oidc_key_rotate(struct request *rq, struct cf_error *err);
cf_status oidc_role_read(struct request *rq, struct cf_error *err);
cf_status oidc_role_write(struct request *rq, struct cf_error *err);
cf_status oidc_role_delete(struct request *rq, struct cf_error *err);
cf_status oidc_role_list(struct request *rq, struct cf_error *err);
cf_status oidc_token(struct request *rq, struct cf_error *err);
cf_status oidc_introspect(struct request *rq, struct cf_error *err);
cf_status oidc_keys(struct request *rq, struct cf_error *err);
cf_status oidc_discovery(struct request *rq, struct cf_error *err);

#endif
