/* replication/core/tree.c: sums, leaves, pages, root. */
#include "replication/core/tree.h"

#include "node/base/map.h"

static uint64_t part_of(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)bytes[i] << 8 * i;
    }
    return value;
}

void repl_sum_join(struct repl_sum *to, const struct repl_sum *from)
{
    uint64_t carry = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t with_carry = to->part[i] + carry;
        carry = with_carry < carry;
        to->part[i] = with_carry + from->part[i];
        carry += to->part[i] < with_carry;
    }
}

void repl_sum_add(struct repl_sum *sum, const uint8_t hash[REPL_HASH_SIZE])
{
    struct repl_sum one;
    for (unsigned i = 0; i < 4; i++) {
        one.part[i] = part_of(hash + 8 * i);
    }
    repl_sum_join(sum, &one);
}

void repl_sum_take(struct repl_sum *sum, const uint8_t hash[REPL_HASH_SIZE])
{
    uint64_t borrow = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t part = part_of(hash + 8 * i);
        uint64_t without = sum->part[i] - part;
        uint64_t next = sum->part[i] < part;
        sum->part[i] = without - borrow;
        borrow = next + (without < borrow);
    }
}

bool repl_sum_equal(const struct repl_sum *a, const struct repl_sum *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

unsigned repl_tree_leaf(struct cf_slice key)
{
    static const uint8_t seed[16] = "coffer-leaves-1";
    return (unsigned)(cf_siphash(seed, key) % REPL_TREE_LEAVES);
}

void repl_tree_make(const struct repl_sum *sums, repl_hash_fn hash, struct repl_tree *ret)
{
    uint8_t page[REPL_TREE_SUBPAGES * REPL_HASH_SIZE];
    for (size_t i = 0; i < REPL_TREE_PAGES; i++) {
        for (size_t j = 0; j < REPL_TREE_SUBPAGES; j++) {
            const struct repl_sum *sum = &sums[i * REPL_TREE_SUBPAGES + j];
            ret->leaves[i * REPL_TREE_SUBPAGES + j] = sum->part[0];
            for (size_t k = 0; k < 4; k++) {
                cf_put_u64(page + j * REPL_HASH_SIZE + 8 * k, sum->part[k]);
            }
        }
        hash(cf_slice_of(page, sizeof(page)), ret->pages[i]);
    }
    hash(cf_slice_of(&ret->pages[0][0], sizeof(ret->pages)), ret->root);
}

void repl_leaf_set_add(struct repl_leaf_set *set, unsigned leaf)
{
    if (!repl_leaf_set_has(set, leaf)) {
        set->words[leaf / 64] |= (uint64_t)1 << leaf % 64;
        set->count++;
    }
}

unsigned repl_leaf_set_next(const struct repl_leaf_set *set, unsigned leaf)
{
    while (leaf < REPL_TREE_LEAVES && !repl_leaf_set_has(set, leaf)) {
        leaf = set->words[leaf / 64] >> leaf % 64 == 0 ? (leaf / 64 + 1) * 64 : leaf + 1;
    }
    return leaf;
}
