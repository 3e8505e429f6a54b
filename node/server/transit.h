/* node/server/transit.h
 *
 * The transit engine of another Vault-compatible server, as far as a seal needs it: it encrypts this cluster's
 * unseal key and decrypts it again at each start (core-api.md section 22). All calls block: worker threads only.
 * Failures: CF_UNAVAILABLE when nobody answers or the other server cannot now (sealed, 5xx, rate limit), which
 * time may heal; CF_DENIED when it refuses, which somebody has to.
 */
#ifndef COFFER_SERVER_TRANSIT_H
#define COFFER_SERVER_TRANSIT_H

#include "node/base/secret.h"
#include "node/server/config.h"

/* Appends the key as the server encrypted it: "vault:v<version>:...", at most SEAL_WRAPPED_MAX bytes. */
CF_CHECKED cf_status transit_wrap(const struct config_seal *seal, const struct secret *key,
                                  struct cf_buf *to, struct cf_error *err);
/* CF_DENIED, too, when what comes back is no key of a seal. */
CF_CHECKED cf_status transit_unwrap(const struct config_seal *seal, struct cf_slice wrapped,
                                    struct secret **ret, struct cf_error *err);
/* Renews the token. *ret_ttl_s: how long it lives from now; 0 when it does not end or cannot be renewed. */
CF_CHECKED cf_status transit_renew(const struct config_seal *seal, int64_t *ret_ttl_s,
                                   struct cf_error *err);
/* Whether two wrapped texts were made by the same version of the key. Any thread. */
bool transit_same_version(struct cf_slice a, struct cf_slice b);

#endif
