/* node/crypto/box.h
 *
 * A sealed box: bytes that only the owner of an X25519 key can read (RFC 7748), used to hand data
 * keys to another cluster. An ephemeral key pair, HKDF-SHA-256 over the shared secret and both
 * public keys, AES-256-GCM. The sender is not authenticated: the connection that carries a box is.
 * Thread: any.
 */
#ifndef COFFER_CRYPTO_BOX_H
#define COFFER_CRYPTO_BOX_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/secret.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define BOX_PUBLIC_SIZE ((size_t)32)
#define BOX_PRIVATE_SIZE ((size_t)32)
/* format version, ephemeral public key, tag */
#define BOX_OVERHEAD ((size_t)1 + 32 + 16)

/* A new key pair; *ret is the 32-byte private key, owned by the caller. */
CF_CHECKED cf_status box_key_new(uint8_t public_key[32], struct secret **ret, struct cf_error *err);
/* The public key of a private one. CF_INVALID for a wrong size. */
CF_CHECKED cf_status box_public_of(struct cf_slice private_key, uint8_t public_key[32],
                                   struct cf_error *err);
/* Appends the box to `out`. `info` names the purpose and has to be the same on opening. CF_INVALID
 * for a public key of the wrong size or of low order. */
CF_CHECKED cf_status box_seal(struct cf_slice public_key, struct cf_slice plain,
                              struct cf_slice info, struct cf_buf *out, struct cf_error *err);
/* Appends the plaintext to `out` (best made with cf_buf_init_secret). CF_CORRUPT when the box is
 * not one for this key and info; nothing is appended then. */
CF_CHECKED cf_status box_open(struct cf_slice private_key, struct cf_slice box,
                              struct cf_slice info, struct cf_buf *out, struct cf_error *err);

#endif
