/* node/barrier/seal.h
 *
 * The chain of keys of a cluster: the unseal key (split into shares, or in a key file) wraps the
 * root key, the root key wraps the keyring. Each wrap is AES-256-GCM under a key derived by HKDF
 * for that purpose alone, in a versioned record: 1 format version | 12 nonce | ciphertext | 16 tag.
 * Also what a joining node and the ceremonies (unseal, generate-root, rekey) need from these keys.
 * Pure bytes: reads no file, stores nothing. Thread: any; a struct seal_progress is its owner's.
 */
#ifndef COFFER_BARRIER_SEAL_H
#define COFFER_BARRIER_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/barrier/keyring.h"
#include "node/barrier/shamir.h"
#include "node/base/host.h"
#include "node/base/own.h"
#include "node/base/secret.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define SEAL_KEY_SIZE ((size_t)32)
#define SEAL_KEY_ID_MAX ((size_t)64)
#define SEAL_KEYRING_MAX ((size_t)1 << 20)
#define SEAL_CHALLENGE_SIZE ((size_t)1 + 12 + 32 + 16)

#define SEAL_WRAPPED_MAX ((size_t)2048)

/* The values are on disk. */
enum seal_type { SEAL_SHAMIR = 1, SEAL_STATIC = 2, SEAL_TRANSIT = 3 };

struct seal_config {
    enum seal_type type;
    struct shamir_shape shape; /* the unseal shares; of an auto seal the recovery shares, or 0 */
    uint32_t generation;       /* one more with each rekey and each change of the seal */
    char key_id[SEAL_KEY_ID_MAX + 1]; /* SEAL_STATIC: current_key_id; SEAL_TRANSIT: key_name */
    /* SEAL_TRANSIT: the unseal key, encrypted by the other server ("vault:v1:..."); else "". */
    char wrapped_key[SEAL_WRAPPED_MAX + 1];
};

const char *seal_type_name(enum seal_type type); /* "shamir", "static", "transit" */
/* Whether the cluster unseals itself: its shares are recovery shares then, and SEAL_KEY_RECOVERY (the root
 * key under the recovery key) is what proves them. */
static inline bool seal_is_auto(enum seal_type type)
{
    return type == SEAL_STATIC || type == SEAL_TRANSIT;
}
/* Appends a versioned record; no secret in it. CF_INVALID when the configuration breaks its own
 * rules. */
CF_CHECKED cf_status seal_config_dump(const struct seal_config *config, struct cf_buf *out,
                                      struct cf_error *err);
CF_CHECKED cf_status seal_config_load(struct cf_slice bytes, struct seal_config *ret,
                                      struct cf_error *err);

/* 32 new random bytes: a root key or an unseal key. */
struct secret *seal_new_key(const struct cf_random *random);
/* What a key file holds: 32 raw bytes, 64 hex digits, or base64 of 32 bytes (padding optional,
 * either alphabet), the texts with white space around them. CF_INVALID otherwise. */
CF_CHECKED cf_status seal_static_key(struct cf_slice content, struct secret **ret,
                                     struct cf_error *err);

/* Appends the root key, wrapped by the unseal key. */
CF_CHECKED cf_status seal_wrap_root(struct cf_slice unseal_key, struct cf_slice root_key,
                                    struct cf_buf *out, struct cf_error *err);
/* CF_INVALID when this is not the key that wrapped it (what shares that do not fit lead to).
 * CF_CORRUPT when the record is no wrapped root key at all, CF_UNSUPPORTED when newer. */
CF_CHECKED cf_status seal_unwrap_root(struct cf_slice unseal_key, struct cf_slice wrapped,
                                      struct secret **ret, struct cf_error *err);
/* Whether the key (combined shares) opens this root key: the proof that generate-root, rekey and
 * the DR operation token ask for. Failures as seal_unwrap_root(). */
CF_CHECKED cf_status seal_verify(struct cf_slice unseal_key, struct cf_slice wrapped,
                                 struct cf_error *err);

/* Appends the keyring, wrapped by the root key. */
CF_CHECKED cf_status seal_wrap_keyring(struct cf_slice root_key, const struct keyring *keyring,
                                       struct cf_buf *out, struct cf_error *err);
/* CF_CORRUPT when it is damaged or another root key's. */
CF_CHECKED cf_status seal_unwrap_keyring(struct cf_slice root_key, struct cf_slice wrapped,
                                         struct keyring **ret, struct cf_error *err);

/* The shares of a ceremony as they come in. Shares lie in secret memory until the last one is
 * there. */
struct seal_progress;
struct seal_progress *seal_progress_new(void);
void seal_progress_free(struct seal_progress *seal_progress); /* wipes; NULL is fine */
CF_DEFINE_OWNED(seal_progress);
/* Forgets the shares and the nonce. */
void seal_progress_reset(struct seal_progress *progress);
/* Different shares so far. */
unsigned seal_progress_count(const struct seal_progress *progress);
/* A random UUID (RFC 4122, version 4) once a share is in, else "". Borrowed until the next change.
 */
const char *seal_progress_nonce(const struct seal_progress *progress);
/* Adds a share. The same share twice does not count. With the last one of shape.threshold the
 * combined key goes to *ret (owned) and the progress is gone; before that *ret is NULL. The caller
 * then tries the key with seal_unwrap_root() or seal_verify(). CF_INVALID for a share that cannot
 * be one (wrong size, zero x): the progress stays; and for a full set that does not combine: the
 * progress is gone. */
CF_CHECKED cf_status seal_progress_add(struct seal_progress *progress, struct shamir_shape shape,
                                       struct cf_slice share, const struct cf_random *random,
                                       struct secret **ret, struct cf_error *err);

/* A joining node proves that it holds the unseal key. The member makes a challenge, keeps the 32
 * bytes of `expected` (secret, short-lived), and sends the challenge; the answer binds `identity`
 * (say, the joining node's id and the hash of its TLS key), so that nobody in between can use it
 * for itself. */
CF_CHECKED cf_status seal_challenge_new(struct cf_slice unseal_key, struct cf_slice identity,
                                        const struct cf_random *random, struct cf_buf *challenge,
                                        uint8_t expected[32], struct cf_error *err);
/* CF_INVALID when the challenge was not made with this unseal key. */
CF_CHECKED cf_status seal_challenge_answer(struct cf_slice unseal_key, struct cf_slice identity,
                                           struct cf_slice challenge, uint8_t answer[32],
                                           struct cf_error *err);
/* In constant time. */
bool seal_challenge_check(const uint8_t expected[32], struct cf_slice answer);

#endif
