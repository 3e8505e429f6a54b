/* replication/core/repair.h
 *
 * The decisions of a repair: a secondary whose position left its primary's log compares hash trees with a
 * snapshot of it, level by level, and has only the records moved that differ.
 *
 *     secondary                            primary (one snapshot, kept for the whole repair)
 *     its tree, by reading everything
 *         -- open -->                      position, root, 256 page hashes
 *         -- pages that differ -->         their leaves, 8 bytes each
 *         -- leaves that differ, with
 *            16 bytes for each record -->  records that it lacks, prints of those that are too many
 *     all in one entry of its own log, with the position; then the root is compared once more
 *
 * Everything here is on what came from the other side: checked before it is used. Pure.
 */
#ifndef COFFER_REPLICATION_REPAIR_H
#define COFFER_REPLICATION_REPAIR_H

#include "node/base/status.h"
#include "replication/core/tree.h"

#define REPAIR_PRINT_SIZE ((size_t)16) /* of a record's hash: its print */
enum {
    REPAIR_PRINTS_MAX = 65536,      /* of one request: 1 MiB */
    REPAIR_RECORDS_MAX = 1 << 20,   /* of ours in leaves that differ; beyond that a copy is taken */
};

/* Pages whose hash is not ours. theirs: REPL_TREE_PAGES hashes. CF_CORRUPT: not that many bytes. */
CF_CHECKED cf_status repair_pages(const struct repl_tree *ours, struct cf_slice theirs,
                                  struct cf_buf *ret, struct cf_error *err);
/* Leaves of those pages that are not ours. theirs: 8 bytes (big-endian) for each leaf of each page, in the
 * order of `pages`; noted in `tree`, a copy that is to become theirs. CF_CORRUPT: not that many bytes, or a
 * page that differs although none of its leaves does. */
CF_CHECKED cf_status repair_leaves(const struct repl_tree *ours, struct cf_slice pages,
                                   struct cf_slice theirs, struct repl_tree *tree,
                                   struct repl_leaf_set *ret, struct cf_error *err);
/* What a primary answers with: appends the leaves of the pages (one byte each). CF_INVALID: a page twice
 * or out of order. */
CF_CHECKED cf_status repair_answer_leaves(const struct repl_tree *tree, struct cf_slice pages,
                                          struct cf_buf *ret, struct cf_error *err);

/* One of our records in a leaf that differs. */
struct repair_record {
    uint16_t leaf;
    uint8_t print[REPAIR_PRINT_SIZE];
};
/* By leaf, then by print. */
int repair_record_cmp(const void *left, const void *right);
/* How many of the leaves of `set` from `first` on make one request: at least one, and *count of the records
 * (sorted) from the first of them on; *end: the leaf behind the last. */
void repair_chunk(const struct repl_leaf_set *set, unsigned first, const struct repair_record *records,
                  size_t record_count, unsigned *end, size_t *count);

/* The question as bytes, and back: for each leaf its number (2), how many records (4), their prints in
 * order. */
void repair_encode(const struct repl_leaf_set *set, unsigned first, unsigned end,
                   const struct repair_record *records, size_t count, struct cf_buf *to);
struct repair_question {
    struct repl_leaf_set leaves;
    struct repair_record *records; /* sorted */
    size_t count;
};
/* Leaves and prints rise. CF_CORRUPT when malformed, CF_TOO_LARGE beyond REPAIR_PRINTS_MAX and one leaf. */
CF_CHECKED cf_status repair_decode(struct cf_slice bytes, struct repair_question *ret,
                                   struct cf_error *err);
void repair_question_done(struct repair_question *question);
/* Where that record stands in the question; SIZE_MAX: nowhere. */
size_t repair_find(const struct repair_record *records, size_t count, unsigned leaf,
                   const uint8_t hash[REPL_HASH_SIZE]);

/* Leaves while records come and go (the lowest part of the sums). */
void repair_count(struct repl_tree *tree, unsigned leaf, const uint8_t hash[REPL_HASH_SIZE], bool in);

#endif
