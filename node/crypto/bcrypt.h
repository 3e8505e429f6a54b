/* node/crypto/bcrypt.h
 *
 * Password hashes in bcrypt's form ($2a$, $2b$, $2y$ as libxcrypt reads them; $2b$ is written).
 * Slow on purpose (83 ms at cost 10): call it on a worker, never on a reactor. Thread: any.
 */
#ifndef COFFER_CRYPTO_BCRYPT_H
#define COFFER_CRYPTO_BCRYPT_H

#include <stdbool.h>
#include <stddef.h>

#include "node/base/host.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define BCRYPT_HASH_SIZE ((size_t)60)
#define BCRYPT_PASSWORD_MAX ((size_t)72)
#define BCRYPT_COST_MIN 4u
#define BCRYPT_COST_MAX 16u /* 5 s; a stored hash with more would be a denial of service */
#define BCRYPT_COST_DEFAULT 10u

/* Hashes a password that is being set; `ret` gets 60 characters and a NUL. CF_INVALID for a
 * password with a NUL (bcrypt would stop there), over 72 bytes (it would ignore the rest), or a
 * cost outside BCRYPT_COST_MIN..MAX. An empty password is the caller's to refuse. */
CF_CHECKED cf_status bcrypt_make(struct cf_slice password, unsigned cost,
                                 const struct cf_random *random, char ret[61],
                                 struct cf_error *err);
/* CF_OK when `hash` is one that bcrypt_check() can judge; else CF_INVALID. For hashes that are set
 * from outside. */
CF_CHECKED cf_status bcrypt_is_hash(struct cf_slice hash, struct cf_error *err);
/* Whether the password belongs to the hash, compared in constant time. false for a malformed hash.
 * A password that could not have been set does the work and is false. */
bool bcrypt_check(struct cf_slice password, struct cf_slice hash);
/* The work of a check with a hash of that cost, for users that do not exist. */
void bcrypt_waste(struct cf_slice password, unsigned cost);

#endif
