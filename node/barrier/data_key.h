/* node/barrier/data_key.h
 *
 * One data key with all that hangs on it: its key schedule, the subkeys derived from it and the
 * count of encryptions. Shared, by reference count, by every keyring that holds it; only keyring.c
 * uses this. Thread: any, without a lock.
 */
#ifndef COFFER_BARRIER_DATA_KEY_H
#define COFFER_BARRIER_DATA_KEY_H

#include <stdatomic.h>

#include "node/barrier/keyring_int.h"
#include "node/base/secret.h"

#define DATA_KEY_SIZE ((size_t)32)

struct subkey;

struct data_key {
    struct key_id id;
    struct secret *secret;
    atomic_uint references;
    atomic_uint_fast64_t encryptions;
    atomic_uint_fast64_t elsewhere; /* of these: what this process did not count itself */
    struct subkey *_Atomic subkeys; /* only ever grows, at the head */
};

/* `secret` (32 bytes) is taken over. One reference, the caller's. */
struct data_key *data_key_new(struct key_id id, struct secret *secret, uint64_t encryptions);
struct data_key *data_key_ref(struct data_key *key);
void data_key_unref(struct data_key *key); /* the last one wipes */
/* Borrowed for the life of the key; derived on first use. */
struct aead_key *data_key_cipher(struct data_key *key, enum keyring_purpose purpose,
                                 const uint8_t *line);
/* Raises the count to at least this. */
void data_key_count_at_least(struct data_key *key, uint64_t encryptions);
/* Adds what others counted. */
void data_key_count_more(struct data_key *key, uint64_t encryptions);

#endif
