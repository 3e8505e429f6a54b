/* tests/unit/node/core/test_key.c: the on-disk form of keys, and their order. */
#include "node/core/key.h"

#include "node/base/host.h"
#include "node/base/memory.h"
#include "tests/lib/test.h"

static void encoded(struct cf_buf *to, uint8_t class, uint32_t generation, uint32_t ns,
                    struct cf_slice name)
{
    cf_buf_reset(to);
    key_encode(to, (struct key){class, ns, name}, generation);
}

START_TEST(pinned_form)
{
    CF_BUF(buf) = {0};
    encoded(&buf, CLASS_CLUSTER, 0x01020304, 0xa0b0c0d0, CF_SLICE("token/x"));
    static const uint8_t want[] = {'c',  0x01, 0x02, 0x03, 0x04, 0xa0, 0xb0, 0xc0,
                                   0xd0, 't',  'o',  'k',  'e',  'n',  '/',  'x'};
    ck_assert(cf_slice_eq(cf_buf_slice(&buf), cf_slice_of(want, sizeof(want))));
    ck_assert_uint_eq(KEY_HEADER_SIZE, 9);
}
END_TEST

START_TEST(round_trip)
{
    static const uint8_t classes[] = {CLASS_REPLICATED, CLASS_CLUSTER, CLASS_OWN};
    struct cf_prng prng;
    CF_BUF(buf) = {0};
    cf_prng_seed(&prng, 3);
    for (int i = 0; i < 2000; i++) {
        uint8_t name[40];
        for (size_t n = 0; n < sizeof(name); n++) {
            name[n] = (uint8_t)cf_prng_next(&prng);
        }
        size_t size = cf_prng_below(&prng, sizeof(name) + 1);
        uint32_t generation = (uint32_t)cf_prng_next(&prng), ns = (uint32_t)cf_prng_next(&prng);
        uint8_t class = classes[i % 3];
        struct key key;
        uint32_t got;
        encoded(&buf, class, generation, ns, cf_slice_of(name, size));
        ck_assert(key_decode(cf_buf_slice(&buf), &key, &got));
        ck_assert_uint_eq(got, generation);
        ck_assert_uint_eq(key.ns, ns);
        ck_assert_uint_eq(key.class, class);
        ck_assert(cf_slice_eq(key.name, cf_slice_of(name, size)));
    }
}
END_TEST

START_TEST(foreign_keys)
{
    struct key key;
    uint32_t generation;
    CF_BUF(buf) = {0};
    encoded(&buf, CLASS_REPLICATED, 1, 0, CF_SLICE(""));
    ck_assert(key_decode(cf_buf_slice(&buf), &key, &generation)); /* an empty name is one */
    for (size_t size = 0; size < KEY_HEADER_SIZE; size++) {
        ck_assert(!key_decode(cf_slice_first(cf_buf_slice(&buf), size), &key, &generation));
    }
    ck_assert(!key_decode(CF_SLICE("\1generation"), &key, &generation));
    ck_assert(!key_decode(CF_SLICE("\0applied-or-so"), &key, &generation));
    ck_assert(!key_decode(CF_SLICE("xxxxxxxxxxxx"), &key, &generation));
}
END_TEST

/* Bytes on disk sort as (class, generation, namespace, name), so that a generation of a class is
 * one range and so is a folder of names. */
START_TEST(order)
{
    static const struct {
        uint8_t class;
        uint32_t generation, ns;
        const char *name;
    } sorted[] = {
        {'c', 0, 0, ""},       {'c', 0, 0, "a"},   {'c', 0, 0, "a/"},  {'c', 0, 0, "a/b"},
        {'c', 0, 0, "a0"},     {'c', 0, 1, ""},    {'c', 0, 256, "a"}, {'c', 1, 0, "a"},
        {'c', 255, 0, "a"},    {'c', 256, 0, "a"}, {'o', 0, 0, "a"},   {'r', 0, 0, "a"},
        {'r', 0, ~0u, "\xff"}, {'r', 1, 0, ""},    {'r', ~0u, 0, ""},
    };
    for (size_t i = 0; i < CF_LENGTH(sorted); i++) {
        for (size_t j = 0; j < CF_LENGTH(sorted); j++) {
            CF_BUF(a) = {0};
            CF_BUF(b) = {0};
            encoded(&a, sorted[i].class, sorted[i].generation, sorted[i].ns,
                    cf_slice_str(sorted[i].name));
            encoded(&b, sorted[j].class, sorted[j].generation, sorted[j].ns,
                    cf_slice_str(sorted[j].name));
            int got = cf_slice_cmp(cf_buf_slice(&a), cf_buf_slice(&b));
            ck_assert((got < 0) == (i < j) && (got == 0) == (i == j));
        }
    }
}
END_TEST

START_TEST(hashes)
{
    struct key key = {CLASS_CLUSTER, 0, CF_SLICE("token/a")};
    struct key same = {CLASS_CLUSTER, 0, CF_SLICE("token/a")};
    ck_assert_uint_eq(key_hash(key), key_hash(same));
    same.name = CF_SLICE("token/b");
    ck_assert_uint_ne(key_hash(key), key_hash(same));
    same = (struct key){CLASS_OWN, 0, key.name};
    ck_assert_uint_ne(key_hash(key), key_hash(same));
    same = (struct key){CLASS_CLUSTER, 1, key.name};
    ck_assert_uint_ne(key_hash(key), key_hash(same));
}
END_TEST

START_TEST(class_numbers)
{
    ck_assert_uint_eq(class_number(CLASS_REPLICATED), 0);
    ck_assert_uint_eq(class_number(CLASS_CLUSTER), 1);
    ck_assert_uint_eq(class_number(CLASS_OWN), 2);
    unsigned known = 0;
    for (unsigned i = 0; i < 256; i++) {
        known += class_number((uint8_t)i) != CLASS_COUNT;
    }
    ck_assert_uint_eq(known, CLASS_COUNT);
}
END_TEST

TEST_MAIN("node/core/key", pinned_form, round_trip, foreign_keys, order, hashes, class_numbers)
