/* tests/unit/replication/core/test_tree.c: sums modulo 2^256, the tree's shape, sets of leaves. */
#include "replication/core/tree.h"

#include "node/base/host.h"
#include "node/base/memory.h"
#include "tests/lib/test.h"

static void fill(struct cf_prng *prng, uint8_t hash[REPL_HASH_SIZE])
{
    for (size_t i = 0; i < REPL_HASH_SIZE; i++) {
        /* Runs of ones and zeros carry and borrow across parts. */
        hash[i] = cf_prng_below(prng, 3) == 0 ? (uint8_t)cf_prng_next(prng)
                                              : (cf_prng_below(prng, 2) ? 0xff : 0);
    }
}

/* Byte by byte, as on paper. */
static void reference(uint8_t sum[REPL_HASH_SIZE], const uint8_t hash[REPL_HASH_SIZE])
{
    unsigned carry = 0;
    for (size_t i = 0; i < REPL_HASH_SIZE; i++) {
        carry += (unsigned)sum[i] + hash[i];
        sum[i] = (uint8_t)carry;
        carry >>= 8;
    }
}

static bool is(const struct repl_sum *sum, const uint8_t bytes[REPL_HASH_SIZE])
{
    struct repl_sum other = {0};
    repl_sum_add(&other, bytes);
    return repl_sum_equal(sum, &other);
}

START_TEST(sums)
{
    struct cf_prng prng;
    cf_prng_seed(&prng, 5);
    uint8_t hashes[64][REPL_HASH_SIZE], paper[REPL_HASH_SIZE];
    for (unsigned round = 0; round < 500; round++) {
        struct repl_sum sum = {0}, left = {0}, right = {0};
        memset(paper, 0, sizeof(paper));
        for (size_t i = 0; i < CF_LENGTH(hashes); i++) {
            fill(&prng, hashes[i]);
            repl_sum_add(&sum, hashes[i]);
            repl_sum_add(i % 3 == 0 ? &left : &right, hashes[i]);
            reference(paper, hashes[i]);
        }
        ck_assert(is(&sum, paper));
        repl_sum_join(&left, &right);
        ck_assert(repl_sum_equal(&left, &sum));
        for (size_t i = CF_LENGTH(hashes); i-- > 0;) { /* taken out in another order */
            repl_sum_take(&sum, hashes[(i * 7) % CF_LENGTH(hashes)]);
        }
        memset(paper, 0, sizeof(paper));
        ck_assert(is(&sum, paper));
        repl_sum_take(&sum, hashes[0]); /* below nothing and back */
        repl_sum_add(&sum, hashes[0]);
        ck_assert(is(&sum, paper));
    }
}
END_TEST

static void no_hash(struct cf_slice data, uint8_t ret[REPL_HASH_SIZE])
{
    uint8_t mixed[REPL_HASH_SIZE] = {0};
    for (size_t i = 0; i < data.size; i++) {
        mixed[i % REPL_HASH_SIZE] = (uint8_t)(mixed[i % REPL_HASH_SIZE] * 31 + data.data[i]);
    }
    memcpy(ret, mixed, sizeof(mixed));
}

/* One leaf changes itself, its page and the root. */
START_TEST(shape)
{
    static struct repl_sum leaves[REPL_TREE_LEAVES];
    struct repl_tree *before = cf_new(struct repl_tree), *after = cf_new(struct repl_tree);
    uint8_t hash[REPL_HASH_SIZE] = {3, 1, 4};
    repl_tree_make(leaves, no_hash, before);
    static const unsigned some[] = {0, 255, 256, 40000, 65535};
    for (size_t i = 0; i < CF_LENGTH(some); i++) {
        repl_sum_add(&leaves[some[i]], hash);
        repl_tree_make(leaves, no_hash, after);
        for (unsigned leaf = 0; leaf < REPL_TREE_LEAVES; leaf++) {
            ck_assert((before->leaves[leaf] != after->leaves[leaf]) == (leaf == some[i]));
        }
        for (unsigned page = 0; page < REPL_TREE_PAGES; page++) {
            bool differs = memcmp(before->pages[page], after->pages[page], REPL_HASH_SIZE) != 0;
            ck_assert(differs == (page == some[i] / REPL_TREE_SUBPAGES));
        }
        ck_assert_int_ne(memcmp(before->root, after->root, REPL_HASH_SIZE), 0);
        repl_sum_take(&leaves[some[i]], hash);
    }
    cf_free(before);
    cf_free(after);
}
END_TEST

/* On the wire: as it always was. */
START_TEST(leaves_of_names)
{
    ck_assert_uint_eq(repl_tree_leaf(CF_SLICE("")), 19244);
    ck_assert_uint_eq(repl_tree_leaf(CF_SLICE("secret/one")), 27076);
}
END_TEST

START_TEST(sets)
{
    struct repl_leaf_set set = {0};
    static const unsigned some[] = {0, 1, 63, 64, 4000, 65472, 65535};
    ck_assert_uint_eq(repl_leaf_set_next(&set, 0), REPL_TREE_LEAVES);
    for (size_t i = 0; i < CF_LENGTH(some); i++) {
        repl_leaf_set_add(&set, some[i]);
        repl_leaf_set_add(&set, some[i]);
    }
    ck_assert_uint_eq(set.count, CF_LENGTH(some));
    size_t seen = 0;
    for (unsigned leaf = repl_leaf_set_next(&set, 0); leaf < REPL_TREE_LEAVES;
         leaf = repl_leaf_set_next(&set, leaf + 1)) {
        ck_assert_uint_eq(leaf, some[seen++]);
    }
    ck_assert_uint_eq(seen, CF_LENGTH(some));
}
END_TEST

TEST_MAIN("replication/core/tree", sums, shape, leaves_of_names, sets)
