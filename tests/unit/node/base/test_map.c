/* The hash table: the published SipHash vector, and many random operations against an array. */
#include "node/base/host.h"
#include "node/base/map.h"
#include "test.h"

/* Appendix A of the SipHash paper: key 00..0f, message 00..0e. */
START_TEST(siphash_vector)
{
    uint8_t key[16], message[15];
    for (unsigned i = 0; i < 16; i++) {
        key[i] = (uint8_t)i;
    }
    memcpy(message, key, sizeof(message));
    ck_assert_uint_eq(cf_siphash(key, cf_slice_of(message, 15)), 0xa129ca6149be45e5U);
}
END_TEST

START_TEST(agrees_with_an_array)
{
    enum { KEYS = 300 };
    static int values[KEYS];
    bool present[KEYS] = {false};
    struct cf_prng prng;
    cf_prng_seed(&prng, 1);
    CF_OWNED(cf_map) map = cf_map_new();
    for (int i = 0; i < 20000; i++) {
        unsigned k = (unsigned)cf_prng_below(&prng, KEYS);
        struct cf_slice key = cf_slice_of(&k, sizeof(k));
        if (cf_prng_below(&prng, 2) != 0) {
            ck_assert_ptr_eq(cf_map_put(map, key, &values[k]), present[k] ? &values[k] : NULL);
            present[k] = true;
        } else {
            ck_assert_ptr_eq(cf_map_remove(map, key), present[k] ? &values[k] : NULL);
            present[k] = false;
        }
    }
    size_t live = 0, at = 0, seen = 0;
    for (int i = 0; i < KEYS; i++) {
        live += present[i];
    }
    struct cf_slice key;
    void *value;
    while (cf_map_next(map, &at, &key, &value)) {
        ck_assert(present[(int *)value - values]);
        seen++;
    }
    ck_assert_uint_eq(seen, live);
    ck_assert_uint_eq(cf_map_size(map), live);
}
END_TEST

TEST_MAIN("node/base/map", siphash_vector, agrees_with_an_array)
