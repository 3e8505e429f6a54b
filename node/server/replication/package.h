/* node/server/replication/package.h
 *
 * What a secondary token stands for: the set's CA, the secondary's client certificate and key, the primary's
 * cluster addresses; sealed to a key of the secondary (design 5.1).
 */
#ifndef COFFER_SERVER_REPLICATION_PACKAGE_H
#define COFFER_SERVER_REPLICATION_PACKAGE_H

#include "node/server/replication/set.h"

#define PACKAGE_TOKEN_PREFIX "coffer-sealed." /* of a token that is the sealed package itself */

/* For who holds the private half of public_key (X25519). */
CF_CHECKED cf_status package_seal(struct request *rq, enum set_kind kind, const struct set_primary *set,
                                  const struct set_secondary *secondary, struct cf_slice public_key,
                                  struct cf_buf *ret, struct cf_error *err);

struct package {
    enum set_kind kind;
    int64_t expires_ns;   /* of the token */
    struct set_link link; /* set_id, secondary_id, ca, cert, key, addresses, vouched */
};
/* CF_INVALID, in words for the operator, unless it opens with the key and is complete. In the arena. */
CF_CHECKED cf_status package_open(struct arena *arena, struct cf_slice private_key,
                                  struct cf_slice sealed, struct package *ret, struct cf_error *err);
/* Where secondaries connect: the set's one address, or those of all nodes. */
struct json *package_addresses(struct request *rq, const struct set_primary *set);
/* "https://host:port" and "host:port" are the same cluster address. */
struct cf_slice package_address(struct cf_slice text);

#endif
