/* Key material: wiped on free, reused, compared whole. */
#include "node/base/secret.h"
#include "test.h"

START_TEST(wipes_on_free)
{
    struct secret *secret = secret_copy(CF_SLICE("0123456789abcdef0123456789abcdef"));
    const uint8_t *bytes = secret_slice(secret).data;
    ck_assert(secret_equal(secret, CF_SLICE("0123456789abcdef0123456789abcdef")));
    ck_assert(!secret_equal(secret, CF_SLICE("0123456789abcdef0123456789abcdeX")));
    ck_assert(!secret_equal(secret, CF_SLICE("0123")));
    secret_free(secret);
    for (size_t i = 0; i < 32; i++) {
        ck_assert_uint_eq(bytes[i], 0); /* the arena stays mapped */
    }
}
END_TEST

START_TEST(reuses_its_arena)
{
    for (int round = 0; round < 2000; round++) {
        struct secret *all[20];
        for (size_t i = 0; i < 20; i++) {
            all[i] = secret_new(1 + i * 40);
            memset(secret_bytes(all[i]), (int)i, 1 + i * 40);
        }
        for (size_t i = 0; i < 20; i++) {
            ck_assert_uint_eq(secret_slice(all[i]).data[i * 40], i);
            secret_free(all[i]);
        }
    }
}
END_TEST

TEST_MAIN("node/base/secret", wipes_on_free, reuses_its_arena)
