/* replication/core/tree.h
 *
 * The hash tree over what is shipped: 65,536 leaves in 256 pages (replication.md 6.3). A record belongs
 * to the leaf that a fixed hash of its key names, so that both sides agree without talking; a leaf is the
 * sum of its records' 256-bit hashes modulo 2^256 and does not depend on their order: a write takes the
 * old hash out and puts the new one in (AdHash: Bellare, Micciancio, "A New Paradigm for Collision-free
 * Hashing", 1997). Trees of two classes add up to the tree of both; what a filter leaves out subtracts.
 *
 * What that is worth. Two states that differ by accident have equal leaves with a chance of 2^-256 (on
 * the wire, where a leaf is told by 64 bits, 2^-64; the root says it in full before anything counts as
 * repaired). Against somebody who may choose very many records freely, a sum of 256 bits is weaker than
 * a hash of 256 bits (Wagner, "A Generalized Birthday Problem", 2002; LtHash takes 16,384 bits for that
 * reason: Lewi et al., 2019). Nobody has that choice here: values are sealed by the barrier with nonces
 * that clients neither choose nor see, both sides of a link are authenticated, and what is replayed or
 * swapped within a store does not open (key and namespace are authenticated data). The tree is there to
 * find divergence, not to authenticate data.
 *
 * Pure: the hash of a record reaches it as bytes, the hash over sums as a function.
 */
#ifndef COFFER_REPLICATION_TREE_H
#define COFFER_REPLICATION_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/slice.h"

enum { REPL_TREE_PAGES = 256, REPL_TREE_SUBPAGES = 256, REPL_TREE_LEAVES = 65536 };
#define REPL_HASH_SIZE ((size_t)32)

/* A sum modulo 2^256; the lowest part first. */
struct repl_sum {
    uint64_t part[4];
};
void repl_sum_add(struct repl_sum *sum, const uint8_t hash[REPL_HASH_SIZE]);
void repl_sum_take(struct repl_sum *sum, const uint8_t hash[REPL_HASH_SIZE]);
/* *to += from */
void repl_sum_join(struct repl_sum *to, const struct repl_sum *from);
bool repl_sum_equal(const struct repl_sum *a, const struct repl_sum *b);

/* The leaf of a key, by what both sides know it by (class, namespace, name). On the wire: never changes. */
unsigned repl_tree_leaf(struct cf_slice key);

/* What a state is compared by: 0.5 MiB. */
struct repl_tree {
    uint64_t leaves[REPL_TREE_LEAVES]; /* the lowest part of each sum */
    uint8_t pages[REPL_TREE_PAGES][REPL_HASH_SIZE];
    uint8_t root[REPL_HASH_SIZE];
};
typedef void (*repl_hash_fn)(struct cf_slice data, uint8_t ret[REPL_HASH_SIZE]);
/* sums: REPL_TREE_LEAVES. */
void repl_tree_make(const struct repl_sum *sums, repl_hash_fn hash, struct repl_tree *ret);

/* A set of leaves. */
struct repl_leaf_set {
    uint64_t words[REPL_TREE_LEAVES / 64];
    size_t count;
};
void repl_leaf_set_add(struct repl_leaf_set *set, unsigned leaf);
static inline bool repl_leaf_set_has(const struct repl_leaf_set *set, unsigned leaf)
{
    return (set->words[leaf / 64] >> leaf % 64 & 1) != 0;
}
/* The first one at or after `leaf`; REPL_TREE_LEAVES when there is none. */
unsigned repl_leaf_set_next(const struct repl_leaf_set *set, unsigned leaf);

#endif
