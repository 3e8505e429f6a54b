/* The generators: every byte is filled, nothing is handed out twice, over block borders and
 * threads. */
#include <pthread.h>

#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/crypto/random.h"
#include "test.h"

#define DRAWS 2000
#define THREADS 4

static uint8_t drawn[THREADS * DRAWS][12];

static void *draw(void *context)
{
    uint8_t(*to)[12] = context;
    for (size_t i = 0; i < DRAWS; i++) {
        random_public(to[i], sizeof(to[i]));
    }
    return NULL;
}

START_TEST(nonces_never_repeat)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, draw, drawn[i * DRAWS]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    CF_OWNED(cf_map) seen = cf_map_new();
    for (size_t i = 0; i < CF_LENGTH(drawn); i++) {
        ck_assert_ptr_null(cf_map_put(seen, cf_slice_of(drawn[i], sizeof(drawn[i])), drawn));
    }
}
END_TEST

/* 64 random bytes are all equal with a chance of 2^-504. */
static void check_filled(const uint8_t *bytes)
{
    bool differ = false;
    for (size_t i = 1; i < 64; i++) {
        differ |= bytes[i] != bytes[0];
    }
    ck_assert(differ);
}

START_TEST(fills_any_size)
{
    static uint8_t large[5000];
    for (size_t size = 64; size <= sizeof(large); size += 617) {
        memset(large, 0, sizeof(large));
        random_public(large, size);
        check_filled(large + size - 64);
        memset(large, 0, sizeof(large));
        cf_random_fill(random_system(), large, size);
        check_filled(large + size - 64);
        for (size_t i = size; i < sizeof(large); i++) {
            ck_assert_uint_eq(large[i], 0);
        }
    }
    random_public(NULL, 0);
}
END_TEST

TEST_MAIN("node/crypto/random", nonces_never_repeat, fills_any_size)
