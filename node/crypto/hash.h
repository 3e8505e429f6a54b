/* node/crypto/hash.h
 *
 * Digests, HMAC (RFC 2104, vectors of RFC 4231) and HKDF-SHA-256 (RFC 5869). Algorithms are looked
 * up once a process and contexts are kept per thread. None of these can fail but for lack of
 * memory, which ends the process, so most return nothing. Thread: any; a struct hash is its
 * owner's.
 */
#ifndef COFFER_CRYPTO_HASH_H
#define COFFER_CRYPTO_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define HASH_SHA1_SIZE ((size_t)20)
#define HASH_SHA256_SIZE ((size_t)32)
#define HASH_SIZE_MAX ((size_t)64)
#define HASH_HKDF_MAX ((size_t)255 * 32)

enum hash_kind {
    HASH_SHA1,
    HASH_SHA224,
    HASH_SHA256,
    HASH_SHA384,
    HASH_SHA512,
    HASH_SHA3_224,
    HASH_SHA3_256,
    HASH_SHA3_384,
    HASH_SHA3_512,
    HASH_KIND_COUNT
};

/* Names as sys/tools/hash takes them: sha1, sha2-224 ... sha2-512, sha3-224 ... sha3-512.
 * false when unknown. */
bool hash_find(struct cf_slice name, enum hash_kind *ret);
const char *hash_name(enum hash_kind kind);
size_t hash_size(enum hash_kind kind); /* bytes of the digest */

/* One-shot. `out` takes hash_size(kind) bytes, which are also returned. */
size_t hash_once(enum hash_kind kind, struct cf_slice data, uint8_t *out);
void hash_sha1(struct cf_slice data, uint8_t out[20]);
void hash_sha256(struct cf_slice data, uint8_t out[32]);
/* Of the parts one after the other, as if they were one. */
void hash_sha256_parts(const struct cf_slice *parts, size_t count, uint8_t out[32]);

/* Incremental. */
struct hash;
struct hash *hash_new(enum hash_kind kind);
void hash_free(struct hash *hash); /* NULL is fine */
CF_DEFINE_OWNED(hash);
void hash_add(struct hash *hash, struct cf_slice data);
/* Writes the digest, returns its size, and starts over. */
size_t hash_end(struct hash *hash, uint8_t *out);

/* HMAC; `out` takes hash_size(kind) bytes. The key may have any size. */
size_t hash_hmac(enum hash_kind kind, struct cf_slice key, struct cf_slice data, uint8_t *out);
void hash_hmac_sha256(struct cf_slice key, struct cf_slice data, uint8_t out[32]);
void hash_hmac_sha256_parts(struct cf_slice key, const struct cf_slice *parts, size_t count,
                            uint8_t out[32]);

/* HKDF-SHA-256: extract, then expand to `size` bytes at `out`. An empty salt is 32 zero bytes.
 * size 1..HASH_HKDF_MAX (asserted: the caller is the program). */
void hash_hkdf_sha256(struct cf_slice key, struct cf_slice salt, struct cf_slice info, uint8_t *out,
                      size_t size);

#endif
