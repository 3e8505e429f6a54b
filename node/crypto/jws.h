/* node/crypto/jws.h
 *
 * Signatures of JSON Web Signatures (RFC 7518 section 3, RFC 8037) for identity tokens: RS256, RS384, RS512
 * (PKCS #1 v1.5 with keys of 2048 bits), ES256, ES384, ES512 and EdDSA (Ed25519). Keys go in and out as DER:
 * PKCS#8 and SubjectPublicKeyInfo. Pure functions; an RSA key takes some 100 ms to make.
 */
#ifndef COFFER_CRYPTO_JWS_H
#define COFFER_CRYPTO_JWS_H

#include <stdbool.h>

#include "node/base/slice.h"
#include "node/base/status.h"

struct jws_algorithm;

/* By its name ("RS256"); NULL for an unknown one. */
const struct jws_algorithm *jws_algorithm(struct cf_slice name);
/* The members of the public key's JWK: "kty" and, for curves, "crv" (else NULL). */
const char *jws_kty(const struct jws_algorithm *algorithm);
const char *jws_crv(const struct jws_algorithm *algorithm);

/* Appends the two halves of a new pair. private_der should be a secret buffer. */
CF_CHECKED cf_status jws_generate(const struct jws_algorithm *algorithm, struct cf_buf *private_der,
                                  struct cf_buf *public_der, struct cf_error *err);
CF_CHECKED cf_status jws_sign(const struct jws_algorithm *algorithm, struct cf_slice private_der,
                              struct cf_slice input, struct cf_buf *out, struct cf_error *err);
/* CF_DENIED when the signature is none of this key over this input. */
CF_CHECKED cf_status jws_check(const struct jws_algorithm *algorithm, struct cf_slice public_der,
                               struct cf_slice input, struct cf_slice signature,
                               struct cf_error *err);
/* The numbers of a public key: RSA n and e; curves x and y; Ed25519 x and nothing. */
CF_CHECKED cf_status jws_numbers(const struct jws_algorithm *algorithm, struct cf_slice public_der,
                                 struct cf_buf *first, struct cf_buf *second, struct cf_error *err);

#endif
