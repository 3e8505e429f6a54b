/* tests/unit/node/barrier/fixture.h: a keyring with a known key, and names to seal for. */
#ifndef COFFER_TEST_BARRIER_FIXTURE_H
#define COFFER_TEST_BARRIER_FIXTURE_H

#include "hex.h"
#include "node/barrier/keyring.h"
#include "node/crypto/random.h"
#include "test.h"

/* A dump as another implementation writes it: one key, 00 01 02 ... 1f, id 11 11 ..., term 1. */
#define KNOWN_DUMP                                                                                 \
    "01000000011111111111111111111111111111111100000001000000000000000500000000000000000000010203" \
    "0"                                                                                            \
    "405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static inline struct keyring *known_keyring(struct arena *arena)
{
    struct keyring *keyring = NULL;
    ck_ok(keyring_load(hex(arena, KNOWN_DUMP), &keyring, NULL));
    return keyring;
}

static inline struct keyring *rotated(const struct keyring *from)
{
    struct keyring *keyring = NULL;
    ck_ok(keyring_rotate(from, random_system(), 7, &keyring, NULL));
    return keyring;
}

#endif
