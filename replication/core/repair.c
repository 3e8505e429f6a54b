/* replication/core/repair.c: what differs, and what to ask for. */
#include "replication/core/repair.h"

#include <stdlib.h>

#include "node/base/memory.h"

#define PAGE_BYTES ((size_t)8 * REPL_TREE_SUBPAGES)
#define LEAF_HEAD ((size_t)6)

cf_status repair_pages(const struct repl_tree *ours, struct cf_slice theirs, struct cf_buf *ret,
                       struct cf_error *err)
{
    if (theirs.size != sizeof(ours->pages)) {
        return cf_fail(err, CF_CORRUPT, "the primary's tree has %zu bytes of pages", theirs.size);
    }
    for (unsigned page = 0; page < REPL_TREE_PAGES; page++) {
        if (memcmp(ours->pages[page], theirs.data + page * REPL_HASH_SIZE, REPL_HASH_SIZE) != 0) {
            cf_buf_add_byte(ret, (uint8_t)page);
        }
    }
    return CF_OK;
}

cf_status repair_leaves(const struct repl_tree *ours, struct cf_slice pages, struct cf_slice theirs,
                        struct repl_tree *tree, struct repl_leaf_set *ret, struct cf_error *err)
{
    if (theirs.size != pages.size * PAGE_BYTES) {
        return cf_fail(err, CF_CORRUPT, "the primary told %zu bytes of leaves of %zu pages",
                       theirs.size, pages.size);
    }
    for (size_t i = 0; i < pages.size; i++) {
        size_t before = ret->count;
        for (unsigned n = 0; n < REPL_TREE_SUBPAGES; n++) {
            unsigned leaf = (unsigned)pages.data[i] * REPL_TREE_SUBPAGES + n;
            tree->leaves[leaf] = cf_get_u64(theirs.data + i * PAGE_BYTES + (size_t)8 * n);
            if (tree->leaves[leaf] != ours->leaves[leaf]) {
                repl_leaf_set_add(ret, leaf);
            }
        }
        if (ret->count == before) {
            return cf_fail(err, CF_CORRUPT, "page %u differs, and none of its leaves does",
                           pages.data[i]);
        }
    }
    return CF_OK;
}

cf_status repair_answer_leaves(const struct repl_tree *tree, struct cf_slice pages,
                               struct cf_buf *ret, struct cf_error *err)
{
    for (size_t i = 0; i < pages.size; i++) {
        if (i != 0 && pages.data[i] <= pages.data[i - 1]) {
            return cf_fail(err, CF_INVALID, "pages of a tree out of order");
        }
        for (unsigned n = 0; n < REPL_TREE_SUBPAGES; n++) {
            cf_buf_add_u64(ret, tree->leaves[(unsigned)pages.data[i] * REPL_TREE_SUBPAGES + n]);
        }
    }
    return CF_OK;
}

int repair_record_cmp(const void *left, const void *right)
{
    const struct repair_record *a = left, *b = right;
    return a->leaf != b->leaf ? (int)a->leaf - (int)b->leaf
                              : memcmp(a->print, b->print, REPAIR_PRINT_SIZE);
}

static size_t of_leaf(const struct repair_record *records, size_t count, unsigned leaf)
{
    size_t n = 0;
    while (n < count && records[n].leaf == leaf) {
        n++;
    }
    return n;
}

void repair_chunk(const struct repl_leaf_set *set, unsigned first,
                  const struct repair_record *records, size_t record_count, unsigned *end,
                  size_t *count)
{
    *count = 0;
    *end = first;
    for (unsigned leaf = repl_leaf_set_next(set, first); leaf < REPL_TREE_LEAVES;
         leaf = repl_leaf_set_next(set, leaf + 1)) {
        size_t more = of_leaf(records + *count, record_count - *count, leaf);
        if (*end != first && *count + more > REPAIR_PRINTS_MAX) {
            return;
        }
        *count += more;
        *end = leaf + 1;
    }
    *end = REPL_TREE_LEAVES;
}

void repair_encode(const struct repl_leaf_set *set, unsigned first, unsigned end,
                   const struct repair_record *records, size_t count, struct cf_buf *to)
{
    size_t at = 0;
    for (unsigned leaf = repl_leaf_set_next(set, first); leaf < end;
         leaf = repl_leaf_set_next(set, leaf + 1)) {
        size_t n = of_leaf(records + at, count - at, leaf);
        cf_buf_add_byte(to, (uint8_t)(leaf >> 8));
        cf_buf_add_byte(to, (uint8_t)leaf);
        cf_buf_add_u32(to, (uint32_t)n);
        for (size_t i = 0; i < n; i++) {
            cf_buf_add(to, records[at++].print, REPAIR_PRINT_SIZE);
        }
    }
}

static cf_status decode_leaf(struct cf_slice bytes, size_t *at, struct repair_question *ret,
                             struct cf_error *err)
{
    if (bytes.size - *at < LEAF_HEAD) {
        return cf_fail(err, CF_CORRUPT, "a cut question of a repair");
    }
    unsigned leaf = (unsigned)bytes.data[*at] << 8 | bytes.data[*at + 1];
    size_t n = cf_get_u32(bytes.data + *at + 2);
    *at += LEAF_HEAD;
    if (n > (bytes.size - *at) / REPAIR_PRINT_SIZE) {
        return cf_fail(err, CF_CORRUPT, "a cut question of a repair");
    }
    if (ret->leaves.count != 0 && repl_leaf_set_next(&ret->leaves, leaf) < REPL_TREE_LEAVES) {
        return cf_fail(err, CF_CORRUPT, "leaves of a repair out of order");
    }
    repl_leaf_set_add(&ret->leaves, leaf);
    for (size_t i = 0; i < n; i++, *at += REPAIR_PRINT_SIZE) {
        struct repair_record *record = &ret->records[ret->count++];
        record->leaf = (uint16_t)leaf;
        memcpy(record->print, bytes.data + *at, REPAIR_PRINT_SIZE);
        if (i != 0 && repair_record_cmp(record - 1, record) >= 0) {
            return cf_fail(err, CF_CORRUPT, "prints of a repair out of order");
        }
    }
    return CF_OK;
}

cf_status repair_decode(struct cf_slice bytes, struct repair_question *ret, struct cf_error *err)
{
    struct repair_question question = {0};
    size_t at = 0;
    cf_status status = CF_OK;
    question.records = cf_array(bytes.size / REPAIR_PRINT_SIZE + 1, sizeof(*question.records));
    while (at < bytes.size && status == CF_OK) {
        status = decode_leaf(bytes, &at, &question, err);
    }
    if (status == CF_OK && question.count > REPAIR_PRINTS_MAX && question.leaves.count > 1) {
        status = cf_fail(err, CF_TOO_LARGE, "a question of a repair with %zu records",
                         question.count);
    }
    if (status != CF_OK) {
        repair_question_done(&question);
        return status;
    }
    *ret = question;
    return CF_OK;
}

void repair_question_done(struct repair_question *question)
{
    cf_free(question->records);
    question->records = NULL;
    question->count = 0;
}

size_t repair_find(const struct repair_record *records, size_t count, unsigned leaf,
                   const uint8_t hash[REPL_HASH_SIZE])
{
    struct repair_record wanted = {.leaf = (uint16_t)leaf};
    memcpy(wanted.print, hash, REPAIR_PRINT_SIZE);
    const struct repair_record *found =
        count != 0 ? bsearch(&wanted, records, count, sizeof(wanted), repair_record_cmp) : NULL;
    return found != NULL ? (size_t)(found - records) : SIZE_MAX;
}

void repair_count(struct repl_tree *tree, unsigned leaf, const uint8_t hash[REPL_HASH_SIZE], bool in)
{
    struct repl_sum one = {0};
    repl_sum_add(&one, hash);
    tree->leaves[leaf] += in ? one.part[0] : 0 - one.part[0];
}
