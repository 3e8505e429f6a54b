/* tests/lib/hex.h: published vectors are printed in hex; this reads and compares them. */
#ifndef COFFER_TEST_HEX_H
#define COFFER_TEST_HEX_H

#include "node/base/arena.h"
#include "test.h"

/* The bytes of hex digits, in the arena. */
static inline struct cf_slice hex(struct arena *arena, const char *digits)
{
    size_t size = strlen(digits) / 2;
    uint8_t *bytes = arena_alloc(arena, size + 1);
    for (size_t i = 0; i < size; i++) {
        unsigned value;
        ck_assert_int_eq(sscanf(digits + 2 * i, "%2x", &value), 1);
        bytes[i] = (uint8_t)value;
    }
    return cf_slice_of(bytes, size);
}

static inline char *hex_of(struct arena *arena, struct cf_slice bytes)
{
    char *digits = arena_alloc(arena, 2 * bytes.size + 1);
    for (size_t i = 0; i < bytes.size; i++) {
        (void)sprintf(digits + 2 * i, "%02x", bytes.data[i]);
    }
    return digits;
}

#define ck_hex(arena, bytes, want) ck_assert_str_eq(hex_of((arena), (bytes)), (want))

#endif
