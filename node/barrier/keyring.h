/* node/barrier/keyring.h
 *
 * Every data key of the barrier. Immutable once published: a rotation or a union makes a new
 * keyring, readers keep the one of their view (reference counted). The keys themselves, their key
 * schedules, derived subkeys and encryption counts are shared between keyrings that hold them; they
 * live in secret memory and are wiped with the last keyring. Keys are never dropped: a retired key
 * only decrypts. Thread: any; look-ups take no lock.
 */
#ifndef COFFER_BARRIER_KEYRING_H
#define COFFER_BARRIER_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/host.h"
#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define KEYRING_KEYS_MAX ((size_t)4096)
/* 90 % of 2^32, the bound of random nonces under one key (NIST SP 800-38D 8.3). */
#define KEYRING_ROTATE_AT ((uint64_t)3865470566)

struct keyring;

struct key_id {
    uint8_t bytes[8];
};

struct keyring_info {
    struct key_id id;
    uint32_t term;        /* 1, 2, 3 ... as sys/key-status shows */
    int64_t installed_ns; /* since 1970, UTC */
    uint64_t encryptions; /* counted by this process, on top of what was loaded */
    uint64_t here;        /* of these: by this process alone */
    bool retired;         /* never encrypts again */
    bool active;          /* encrypts */
};

static inline bool key_id_equal(struct key_id a, struct key_id b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

/* One new key, active, term 1. */
struct keyring *keyring_new_first(const struct cf_random *random, int64_t now_ns);
/* `from` with a new active key of the next term; the one that was active is retired.
 * CF_TOO_LARGE at KEYRING_KEYS_MAX keys. */
CF_CHECKED cf_status keyring_rotate(const struct keyring *from, const struct cf_random *random,
                                    int64_t now_ns, struct keyring **ret, struct cf_error *err);
/* Every key of both; a mark that either side has stays. Commutative, associative and idempotent but
 * for `active`, which the caller names. CF_NOT_FOUND when neither holds `active`; CF_CONFLICT when
 * it is retired on either side (rotate, then merge); CF_CORRUPT when one id names two different
 * keys. */
CF_CHECKED cf_status keyring_union(const struct keyring *a, const struct keyring *b,
                                   struct key_id active, struct keyring **ret,
                                   struct cf_error *err);
/* Whether every key and mark of `part` is in `whole`. */
bool keyring_includes(const struct keyring *whole, const struct keyring *part);

struct keyring *keyring_ref(const struct keyring *keyring); /* returns it */
void keyring_unref(struct keyring *keyring);                /* NULL is fine; the last one wipes */
static inline void keyring_free(struct keyring *keyring)
{
    keyring_unref(keyring);
}
CF_DEFINE_OWNED(keyring);

/* Plaintext with a format version: keys in the clear, so only for bytes that are sealed next. `out`
 * must be made with cf_buf_init_secret (asserted). CF_TOO_LARGE past out's maximum. */
CF_CHECKED cf_status keyring_dump(const struct keyring *keyring, struct cf_buf *out,
                                  struct cf_error *err);
/* Parses what keyring_dump() wrote. CF_CORRUPT when malformed, CF_UNSUPPORTED for a newer format.
 */
CF_CHECKED cf_status keyring_load(struct cf_slice plain, struct keyring **ret,
                                  struct cf_error *err);

size_t keyring_count(const struct keyring *keyring);
/* at < keyring_count(); ordered by id. */
struct keyring_info keyring_at(const struct keyring *keyring, size_t at);
struct keyring_info keyring_active(const struct keyring *keyring);
/* CF_NOT_FOUND for an id that it does not hold. */
CF_CHECKED cf_status keyring_find(const struct keyring *keyring, struct key_id id,
                                  struct keyring_info *ret, struct cf_error *err);

/* Adds what other nodes counted, or a block reserved ahead (design 3.5). CF_NOT_FOUND as above. */
CF_CHECKED cf_status keyring_count_more(const struct keyring *keyring, struct key_id id,
                                        uint64_t encryptions, struct cf_error *err);
/* Raises the count to at least this. CF_NOT_FOUND as above. */
CF_CHECKED cf_status keyring_count_at_least(const struct keyring *keyring, struct key_id id,
                                            uint64_t encryptions, struct cf_error *err);
/* Whether the active key was used so often that it is time for a new one. */
bool keyring_wants_rotation(const struct keyring *keyring);

#endif
