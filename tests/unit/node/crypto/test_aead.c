/* AES-256-GCM: published vectors, every flipped byte refused, many threads on one key. */
#include <pthread.h>

#include "hex.h"
#include "node/base/memory.h"
#include "node/crypto/aead.h"
#include "node/crypto/random.h"
#include "test.h"

#define KEY15 "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define PLAIN15                                                                                    \
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6" \
    "b525b16aedf5aa0de657ba637b39"
#define TEXT15                                                                                     \
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b105682" \
    "8838c5f61e6393ba7a0abcc9f662"

/* McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, cases 13 to 16. */
static const struct {
    const char *key, *nonce, *aad, *plain, *text, *tag;
} vectors[] = {
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "00000000000000000000000000000000", "cea7403d4d606b6e074ec5d3baf39d18",
     "d0d1c8a799996bf0265b98b5d48ab919"},
    {KEY15, "cafebabefacedbaddecaf888", "", PLAIN15 "1aafd255", TEXT15 "898015ad",
     "b094dac5d93471bdec1a502270e3cc6c"},
    {KEY15, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2", PLAIN15, TEXT15,
     "76fc6ece0f4e1768cddf8853bb2d551b"},
};

START_TEST(gives_the_published_answers)
{
    CF_OWNED(arena) arena = arena_new(4096);
    for (size_t i = 0; i < CF_LENGTH(vectors); i++) {
        CF_OWNED(aead_key) key = NULL;
        ck_ok(aead_key_new(hex(arena, vectors[i].key), &key, NULL));
        struct cf_slice plain = hex(arena, vectors[i].plain);
        struct cf_slice aad = hex(arena, vectors[i].aad);
        /* However the additional data is cut in two, and sealing and opening taking turns. */
        for (size_t cut = 0; cut <= aad.size; cut++) {
            struct aead_input input = {.aad = cf_slice_first(aad, cut),
                                       .aad_more = cf_slice_from(aad, cut)};
            memcpy(input.nonce, hex(arena, vectors[i].nonce).data, sizeof(input.nonce));
            uint8_t sealed[128], opened[128];
            ck_ok(aead_seal(key, &input, plain, sealed, NULL));
            struct cf_slice all = cf_slice_of(sealed, plain.size + AEAD_TAG_SIZE);
            ck_hex(arena, all, arena_printf(arena, "%s%s", vectors[i].text, vectors[i].tag));
            ck_ok(aead_open(key, &input, all, opened, NULL));
            ck_assert(cf_slice_eq(cf_slice_of(opened, plain.size), plain));
        }
    }
}
END_TEST

START_TEST(works_in_place)
{
    CF_OWNED(aead_key) key = NULL;
    ck_ok(aead_key_new(CF_SLICE("0123456789abcdef0123456789abcdef"), &key, NULL));
    struct aead_input input = {.aad = CF_SLICE("where")};
    uint8_t bytes[5 + 16] = "hello";
    ck_ok(aead_seal(key, &input, cf_slice_of(bytes, 5), bytes, NULL));
    ck_assert_int_ne(memcmp(bytes, "hello", 5), 0);
    ck_ok(aead_open(key, &input, cf_slice_of(bytes, sizeof(bytes)), bytes, NULL));
    ck_assert_int_eq(memcmp(bytes, "hello", 5), 0);
}
END_TEST

/* Any change of any input is refused, and nothing of the plaintext is left behind. */
START_TEST(refuses_every_flipped_bit)
{
    CF_OWNED(aead_key) key = NULL;
    ck_ok(aead_key_new(CF_SLICE("0123456789abcdef0123456789abcdef"), &key, NULL));
    struct aead_input input = {.aad = CF_SLICE("class"), .aad_more = CF_SLICE("name")};
    uint8_t sealed[20 + 16], out[20];
    ck_ok(aead_seal(key, &input, CF_SLICE("twenty bytes of text"), sealed, NULL));
    struct cf_slice all = cf_slice_of(sealed, sizeof(sealed));
    for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        memset(out, 'x', sizeof(out));
        ck_status(aead_open(key, &input, all, out, NULL), CF_CORRUPT);
        for (size_t i = 0; i < sizeof(out); i++) {
            ck_assert_uint_eq(out[i], 0);
        }
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 96; bit++) {
        struct aead_input other = input;
        other.nonce[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_status(aead_open(key, &other, all, out, NULL), CF_CORRUPT);
    }
    struct aead_input other = {.aad = CF_SLICE("class"), .aad_more = CF_SLICE("nama")};
    ck_status(aead_open(key, &other, all, out, NULL), CF_CORRUPT);
    for (size_t size = 0; size < sizeof(sealed); size++) {
        ck_status(aead_open(key, &input, cf_slice_of(sealed, size), out, NULL), CF_CORRUPT);
    }
    ck_ok(aead_open(key, &input, all, out, NULL));
    ck_slice(cf_slice_of(out, sizeof(out)), "twenty bytes of text");
}
END_TEST

START_TEST(refuses_keys_of_other_sizes)
{
    CF_OWNED(aead_key) key = NULL;
    struct cf_error err;
    ck_status(aead_key_new(CF_SLICE("0123456789abcdef"), &key, &err), CF_INVALID);
    ck_status(aead_key_new(CF_SLICE_EMPTY, &key, &err), CF_INVALID);
    ck_assert_ptr_null(key);
    aead_key_free(NULL);
}
END_TEST

struct worker {
    pthread_t thread;
    struct aead_key *key;
    uint8_t number;
    unsigned wrong;
};

static void *seal_and_open(void *context)
{
    struct worker *worker = context;
    for (unsigned round = 0; round < 300; round++) {
        struct aead_input input = {.aad = cf_slice_of(&worker->number, 1)};
        random_public(input.nonce, sizeof(input.nonce));
        uint8_t plain[64], sealed[64 + 16], opened[64];
        memset(plain, worker->number ^ (int)round, sizeof(plain));
        bool good =
            aead_seal(worker->key, &input, cf_slice_of(plain, 64), sealed, NULL) == CF_OK &&
            aead_open(worker->key, &input, cf_slice_of(sealed, 80), opened, NULL) == CF_OK &&
            memcmp(plain, opened, 64) == 0;
        worker->wrong += !good;
    }
    return NULL;
}

/* More threads than a key keeps contexts. */
START_TEST(serves_many_threads_at_once)
{
    CF_OWNED(aead_key) key = NULL;
    ck_ok(aead_key_new(CF_SLICE("0123456789abcdef0123456789abcdef"), &key, NULL));
    struct worker workers[24];
    for (size_t i = 0; i < CF_LENGTH(workers); i++) {
        workers[i] = (struct worker){.key = key, .number = (uint8_t)i};
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, seal_and_open, &workers[i]), 0);
    }
    for (size_t i = 0; i < CF_LENGTH(workers); i++) {
        ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
        ck_assert_uint_eq(workers[i].wrong, 0);
    }
}
END_TEST

TEST_MAIN("node/crypto/aead", gives_the_published_answers, works_in_place,
          refuses_every_flipped_bit, refuses_keys_of_other_sizes, serves_many_threads_at_once)
