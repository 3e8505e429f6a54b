/* node/crypto/pgp.h
 *
 * Messages to the owner of an OpenPGP key (RFC 4880): how key shares and root tokens leave for people who
 * gave their public keys. One public key a call, binary (gpg --export) or armored; RSA, ElGamal, NIST
 * curves and curve25519, whatever the optional library (librnp) takes. Built without it, every call fails
 * with CF_INVALID and words that say so. Thread: any; a key is immutable. Costs below a millisecond
 * for the usual sizes, some for RSA of 8192 bits.
 *
 * For a request (sys/init, rekey, generate-root) use node/core/pgp_shares.h, which reads the field and writes the
 * answer.
 */
#ifndef COFFER_CRYPTO_PGP_H
#define COFFER_CRYPTO_PGP_H

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define PGP_KEY_MAX ((size_t)64 << 10) /* bytes of one exported key */

struct pgp_key;

/* Reads one public key that can encrypt now. CF_INVALID, with the reason, for: what is no key, a private
 * key, several keys, a key that has expired or was revoked, one that cannot encrypt. */
CF_CHECKED cf_status pgp_key_parse(struct cf_slice bytes, struct pgp_key **ret,
                                   struct cf_error *err);
void pgp_key_free(struct pgp_key *pgp_key); /* NULL is fine */
CF_DEFINE_OWNED(pgp_key);
/* The fingerprint of the primary key, lower-case hex. Borrowed for the life of the key. */
const char *pgp_key_fingerprint(const struct pgp_key *key);
/* Appends a binary message (session key for this key, AES-256, integrity-protected) that holds `plain`. */
CF_CHECKED cf_status pgp_encrypt(const struct pgp_key *key, struct cf_slice plain,
                                 struct cf_buf *out, struct cf_error *err);

#endif
