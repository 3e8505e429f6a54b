/* node/crypto/sign.h
 *
 * Signing keys: P-256 and P-521 (ECDSA, FIPS 186-4) and Ed25519 (RFC 8032). A key is immutable
 * after it was made, so any number of threads may sign and check with it. About 20 us to sign with
 * P-256 or Ed25519; P-521 some 0.3 ms.
 */
#ifndef COFFER_CRYPTO_SIGN_H
#define COFFER_CRYPTO_SIGN_H

#include <stdbool.h>

#include "node/base/own.h"
#include "node/base/secret.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define SIGN_SIGNATURE_MAX ((size_t)160)

enum sign_kind { SIGN_P256, SIGN_P521, SIGN_ED25519 };

struct sign_key;

CF_CHECKED cf_status sign_generate(enum sign_kind kind, struct sign_key **ret,
                                   struct cf_error *err);
void sign_key_free(struct sign_key *sign_key); /* wipes; NULL is fine */
CF_DEFINE_OWNED(sign_key);
enum sign_kind sign_kind_of(const struct sign_key *key);
bool sign_has_private(const struct sign_key *key);

/* DER: PKCS#8 (RFC 5958) for the private key, SubjectPublicKeyInfo (RFC 5280) for the public one.
 * Loading refuses with CF_INVALID what is malformed, trails bytes, or is no key of the three kinds.
 */
CF_CHECKED cf_status sign_private_der(const struct sign_key *key, struct secret **ret,
                                      struct cf_error *err);
CF_CHECKED cf_status sign_public_der(const struct sign_key *key, struct cf_buf *out,
                                     struct cf_error *err);
CF_CHECKED cf_status sign_load_private(struct cf_slice der, struct sign_key **ret,
                                       struct cf_error *err);
CF_CHECKED cf_status sign_load_public(struct cf_slice der, struct sign_key **ret,
                                      struct cf_error *err);

/* Appends the signature to `out`: ECDSA as DER over SHA-256 (P-256) or SHA-512 (P-521), Ed25519 its
 * 64 bytes. CF_INVALID when the key has no private part. */
CF_CHECKED cf_status sign_make(const struct sign_key *key, struct cf_slice message,
                               struct cf_buf *out, struct cf_error *err);
/* CF_DENIED when the signature is not one of this key over this message, however malformed. */
CF_CHECKED cf_status sign_check(const struct sign_key *key, struct cf_slice message,
                                struct cf_slice signature, struct cf_error *err);

/* The same in the form of JWS (RFC 7518 3.4, RFC 8037): ES256, ES512 as raw r||s, EdDSA. */
const char *sign_jws_algorithm(const struct sign_key *key);
CF_CHECKED cf_status sign_jws_make(const struct sign_key *key, struct cf_slice signing_input,
                                   struct cf_buf *out, struct cf_error *err);
CF_CHECKED cf_status sign_jws_check(const struct sign_key *key, struct cf_slice signing_input,
                                    struct cf_slice signature, struct cf_error *err);

#endif
