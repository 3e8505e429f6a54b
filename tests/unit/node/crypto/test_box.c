/* Sealed boxes: the format is pinned, only the right key and purpose open one. */
#include "hex.h"
#include "node/base/memory.h"
#include "node/crypto/box.h"
#include "test.h"

#define RECIPIENT "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"

/* Made by another implementation of the construction that box.h states. */
START_TEST(opens_a_box_made_elsewhere)
{
    CF_OWNED(arena) arena = arena_new(4096);
    uint8_t public_key[32];
    ck_ok(box_public_of(hex(arena, RECIPIENT), public_key, NULL));
    ck_hex(arena, cf_slice_of(public_key, 32),
           "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c");
    CF_BUF(plain) = {.secret = true};
    ck_ok(box_open(hex(arena, RECIPIENT),
                   hex(arena, "015869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b"
                              "962893ebcd10122a6b7022050d3c8904f21bc52e878608ca"),
                   CF_SLICE("keyring"), &plain, NULL));
    ck_slice(cf_buf_slice(&plain), "data key");
}
END_TEST

START_TEST(opens_what_it_sealed)
{
    uint8_t public_key[32], derived[32];
    CF_OWNED(secret) private_key = NULL;
    ck_ok(box_key_new(public_key, &private_key, NULL));
    ck_ok(box_public_of(secret_slice(private_key), derived, NULL));
    ck_assert_int_eq(memcmp(public_key, derived, sizeof(derived)), 0);
    static const uint8_t text[3000] = {1, 2, 3};
    static const size_t sizes[] = {0, 1, 32, 3000};
    for (size_t i = 0; i < CF_LENGTH(sizes); i++) {
        CF_BUF(box) = {0};
        CF_BUF(again) = {0};
        CF_BUF(plain) = {.secret = true};
        cf_buf_add_str(&plain, "kept");
        struct cf_slice from = cf_slice_of(text, sizes[i]);
        ck_ok(box_seal(cf_slice_of(public_key, 32), from, CF_SLICE("i"), &box, NULL));
        ck_ok(box_seal(cf_slice_of(public_key, 32), from, CF_SLICE("i"), &again, NULL));
        ck_assert_uint_eq(box.size, sizes[i] + BOX_OVERHEAD);
        ck_assert(!cf_slice_eq(cf_buf_slice(&box), cf_buf_slice(&again)));
        ck_ok(box_open(secret_slice(private_key), cf_buf_slice(&box), CF_SLICE("i"), &plain, NULL));
        ck_assert(cf_slice_eq(cf_slice_from(cf_buf_slice(&plain), 4), from));
    }
}
END_TEST

START_TEST(refuses_everything_else)
{
    uint8_t public_key[32], other_public[32];
    CF_OWNED(secret) private_key = NULL;
    CF_OWNED(secret) other = NULL;
    ck_ok(box_key_new(public_key, &private_key, NULL));
    ck_ok(box_key_new(other_public, &other, NULL));
    CF_BUF(box) = {0};
    CF_BUF(plain) = {.secret = true};
    struct cf_slice ours = secret_slice(private_key), info = CF_SLICE("keyring");
    ck_ok(box_seal(cf_slice_of(public_key, 32), CF_SLICE("data key"), info, &box, NULL));
    ck_status(box_open(secret_slice(other), cf_buf_slice(&box), info, &plain, NULL), CF_CORRUPT);
    ck_status(box_open(ours, cf_buf_slice(&box), CF_SLICE("keyrinh"), &plain, NULL), CF_CORRUPT);
    ck_status(box_open(ours, cf_buf_slice(&box), CF_SLICE_EMPTY, &plain, NULL), CF_CORRUPT);
    for (size_t at = 0; at < box.size; at++) {
        /* X25519 ignores the top bit of a public key (RFC 7748 5); here it is authenticated. */
        box.data[at] ^= 0x80;
        ck_status(box_open(ours, cf_buf_slice(&box), info, &plain, NULL), CF_CORRUPT);
        box.data[at] ^= 0x80;
        ck_status(box_open(ours, cf_slice_of(box.data, at), info, &plain, NULL), CF_CORRUPT);
    }
    ck_assert_uint_eq(plain.size, 0);
    ck_status(box_open(CF_SLICE("short"), cf_buf_slice(&box), info, &plain, NULL), CF_INVALID);
}
END_TEST

START_TEST(refuses_keys_of_low_order)
{
    static const uint8_t zero[32], one[32] = {1};
    CF_BUF(box) = {0};
    struct cf_slice plain = CF_SLICE("x"), info = CF_SLICE_EMPTY;
    ck_status(box_seal(cf_slice_of(zero, 32), plain, info, &box, NULL), CF_INVALID);
    ck_status(box_seal(cf_slice_of(one, 32), plain, info, &box, NULL), CF_INVALID);
    ck_status(box_seal(cf_slice_of(one, 31), plain, info, &box, NULL), CF_INVALID);
    ck_status(box_seal(CF_SLICE_EMPTY, plain, info, &box, NULL), CF_INVALID);
    ck_assert_uint_eq(box.size, 0);
}
END_TEST

START_TEST(respects_the_buffers_maximum)
{
    uint8_t public_key[32];
    CF_OWNED(secret) private_key = NULL;
    CF_BUF(small) = {.max = 20};
    CF_BUF(box) = {0};
    ck_ok(box_key_new(public_key, &private_key, NULL));
    struct cf_slice to = cf_slice_of(public_key, 32), text = CF_SLICE("more than twenty bytes...");
    ck_status(box_seal(to, text, CF_SLICE_EMPTY, &small, NULL), CF_TOO_LARGE);
    cf_buf_reset(&small);
    ck_ok(box_seal(to, text, CF_SLICE_EMPTY, &box, NULL));
    ck_status(box_open(secret_slice(private_key), cf_buf_slice(&box), CF_SLICE_EMPTY, &small, NULL),
              CF_TOO_LARGE);
}
END_TEST

TEST_MAIN("node/crypto/box", opens_a_box_made_elsewhere, opens_what_it_sealed,
          refuses_everything_else, refuses_keys_of_low_order, respects_the_buffers_maximum)
