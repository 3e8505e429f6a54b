/* node/crypto/aead.h
 *
 * AES-256-GCM (NIST SP 800-38D) with a 12-byte nonce and the 16-byte tag after the ciphertext.
 * A key keeps a small set of keyed contexts, each used by one thread at a time without a lock, so
 * the key schedule is computed once a thread and not once a call. All of them are wiped when the
 * key is freed: no thread holds on to a key that is gone. Thread: sealing and opening with one key
 * from any number of threads.
 */
#ifndef COFFER_CRYPTO_AEAD_H
#define COFFER_CRYPTO_AEAD_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define AEAD_KEY_SIZE ((size_t)32)
#define AEAD_NONCE_SIZE ((size_t)12)
#define AEAD_TAG_SIZE ((size_t)16)
#define AEAD_PLAIN_MAX ((size_t)1 << 30)

struct aead_key;

/* key.size must be AEAD_KEY_SIZE, else CF_INVALID. The bytes are copied into secret memory. */
CF_CHECKED cf_status aead_key_new(struct cf_slice key, struct aead_key **ret, struct cf_error *err);
void aead_key_free(struct aead_key *aead_key); /* wipes; NULL is fine; nobody may be using it */
CF_DEFINE_OWNED(aead_key);

/* What is authenticated beside the plaintext: aad, then aad_more, as if they were one. A nonce is
 * used once under one key (random ones: at most 2^32 a key). */
struct aead_input {
    uint8_t nonce[12];
    struct cf_slice aad, aad_more;
};

/* Writes plain.size + AEAD_TAG_SIZE bytes to `out`, which may be plain.data itself (no other
 * overlap). CF_TOO_LARGE past AEAD_PLAIN_MAX. */
CF_CHECKED cf_status aead_seal(struct aead_key *key, const struct aead_input *input,
                               struct cf_slice plain, uint8_t *out, struct cf_error *err);
/* Writes sealed.size - AEAD_TAG_SIZE bytes to `out`, which may be sealed.data itself. CF_CORRUPT
 * when key, nonce, additional data, ciphertext or tag do not belong together; `out` is then wiped.
 */
CF_CHECKED cf_status aead_open(struct aead_key *key, const struct aead_input *input,
                               struct cf_slice sealed, uint8_t *out, struct cf_error *err);

#endif
