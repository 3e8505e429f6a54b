/* tests/unit/replication/core/test_repair.c: what differs, level by level; questions as bytes, hostile ones too. */
#include "replication/core/repair.h"

#include <stdlib.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "tests/lib/test.h"

static struct repl_sum ours_sums[REPL_TREE_LEAVES], theirs_sums[REPL_TREE_LEAVES];
static struct repl_tree ours, theirs, learned;
static struct cf_prng prng;

static void mix(struct cf_slice data, uint8_t ret[REPL_HASH_SIZE])
{
    uint64_t state[4] = {1, 2, 3, 4};
    for (size_t i = 0; i < data.size; i++) {
        state[i % 4] = (state[i % 4] ^ data.data[i]) * 0x100000001b3U;
    }
    memcpy(ret, state, REPL_HASH_SIZE);
}

static void random_hash(uint8_t hash[REPL_HASH_SIZE])
{
    for (size_t i = 0; i < REPL_HASH_SIZE; i++) {
        hash[i] = (uint8_t)cf_prng_next(&prng);
    }
}

static void make(void)
{
    repl_tree_make(ours_sums, mix, &ours);
    repl_tree_make(theirs_sums, mix, &theirs);
    learned = ours;
}

static void set_up(void)
{
    cf_prng_seed(&prng, 11);
    for (size_t i = 0; i < REPL_TREE_LEAVES; i++) {
        uint8_t hash[REPL_HASH_SIZE];
        ours_sums[i] = (struct repl_sum){0};
        random_hash(hash);
        repl_sum_add(&ours_sums[i], hash);
    }
    memcpy(theirs_sums, ours_sums, sizeof(ours_sums));
    make();
}

static struct cf_slice their_pages(void)
{
    return cf_slice_of(&theirs.pages[0][0], sizeof(theirs.pages));
}

START_TEST(level_by_level)
{
    static const unsigned changed[] = {0, 1, 255, 256, 700, 65535};
    set_up();
    CF_BUF(none) = {0};
    ck_ok(repair_pages(&ours, their_pages(), &none, NULL));
    ck_assert_uint_eq(none.size, 0);
    for (size_t i = 0; i < CF_LENGTH(changed); i++) {
        uint8_t hash[REPL_HASH_SIZE];
        random_hash(hash);
        repl_sum_add(&theirs_sums[changed[i]], hash);
    }
    make();
    CF_BUF(pages) = {0};
    CF_BUF(leaves) = {0};
    struct repl_leaf_set set = {0};
    ck_ok(repair_pages(&ours, their_pages(), &pages, NULL));
    ck_assert_uint_eq(pages.size, 4);
    ck_assert_int_eq(memcmp(pages.data, (uint8_t[]){0, 1, 2, 255}, 4), 0);
    ck_ok(repair_answer_leaves(&theirs, cf_buf_slice(&pages), &leaves, NULL));
    ck_ok(repair_leaves(&ours, cf_buf_slice(&pages), cf_buf_slice(&leaves), &learned, &set, NULL));
    ck_assert_uint_eq(set.count, CF_LENGTH(changed));
    for (size_t i = 0; i < CF_LENGTH(changed); i++) {
        ck_assert(repl_leaf_set_has(&set, changed[i]));
    }
    ck_assert_int_eq(memcmp(learned.leaves, theirs.leaves, sizeof(theirs.leaves)), 0);
}
END_TEST

START_TEST(answers_that_lie)
{
    set_up();
    uint8_t hash[REPL_HASH_SIZE];
    random_hash(hash);
    repl_sum_add(&theirs_sums[5], hash);
    make();
    CF_BUF(pages) = {0};
    CF_BUF(leaves) = {0};
    struct repl_leaf_set set = {0};
    ck_status(repair_pages(&ours, cf_slice_first(their_pages(), 8191), &pages, NULL), CF_CORRUPT);
    ck_ok(repair_pages(&ours, their_pages(), &pages, NULL));
    ck_ok(repair_answer_leaves(&ours, cf_buf_slice(&pages), &leaves, NULL)); /* our own: none differs */
    ck_status(repair_leaves(&ours, cf_buf_slice(&pages), cf_buf_slice(&leaves), &learned, &set, NULL),
              CF_CORRUPT);
    leaves.size -= 8;
    ck_status(repair_leaves(&ours, cf_buf_slice(&pages), cf_buf_slice(&leaves), &learned, &set, NULL),
              CF_CORRUPT);
    CF_BUF(out) = {0};
    ck_status(repair_answer_leaves(&ours, cf_slice_of((uint8_t[]){4, 4}, 2), &out, NULL), CF_INVALID);
    ck_status(repair_answer_leaves(&ours, cf_slice_of((uint8_t[]){4, 3}, 2), &out, NULL), CF_INVALID);
}
END_TEST

/* All leaves are asked for once, in order, and never more prints at once than fit, one large leaf aside. */
START_TEST(questions)
{
    struct repl_leaf_set set = {0};
    static const size_t sizes[] = {3, 0, REPAIR_PRINTS_MAX + 10, 5, REPAIR_PRINTS_MAX - 5, 1};
    size_t total = 0, at = 0;
    cf_prng_seed(&prng, 3);
    for (size_t i = 0; i < CF_LENGTH(sizes); i++) {
        repl_leaf_set_add(&set, (unsigned)(i * 1000));
        total += sizes[i];
    }
    struct repair_record *records = cf_array(total, sizeof(*records));
    for (size_t i = 0; i < CF_LENGTH(sizes); i++) {
        for (size_t n = 0; n < sizes[i]; n++, at++) {
            records[at].leaf = (uint16_t)(i * 1000);
            cf_put_u64(records[at].print, cf_prng_next(&prng));
            cf_put_u64(records[at].print + 8, at);
        }
    }
    qsort(records, total, sizeof(*records), repair_record_cmp);
    at = 0;
    unsigned rounds = 0;
    for (unsigned leaf = 0; repl_leaf_set_next(&set, leaf) < REPL_TREE_LEAVES; rounds++) {
        unsigned leaf_end;
        size_t count;
        CF_BUF(bytes) = {0};
        struct repair_question question;
        repair_chunk(&set, leaf, records + at, total - at, &leaf_end, &count);
        repair_encode(&set, leaf, leaf_end, records + at, count, &bytes);
        ck_ok(repair_decode(cf_buf_slice(&bytes), &question, NULL));
        ck_assert_uint_eq(question.count, count);
        ck_assert_int_eq(memcmp(question.records, records + at, count * sizeof(*records)), 0);
        ck_assert(question.count <= REPAIR_PRINTS_MAX || question.leaves.count == 1);
        for (unsigned n = leaf; n < leaf_end && n < REPL_TREE_LEAVES; n++) {
            ck_assert(repl_leaf_set_has(&question.leaves, n) == repl_leaf_set_has(&set, n));
        }
        for (size_t n = 0; n < count; n += count / 7 + 1) {
            uint8_t hash[REPL_HASH_SIZE] = {0};
            memcpy(hash, records[at + n].print, REPAIR_PRINT_SIZE);
            ck_assert_uint_eq(repair_find(question.records, count, records[at + n].leaf, hash), n);
            hash[0] ^= 1;
            ck_assert_uint_eq(repair_find(question.records, count, records[at + n].leaf, hash), SIZE_MAX);
        }
        repair_question_done(&question);
        at += count;
        leaf = leaf_end;
    }
    ck_assert_uint_eq(at, total);
    ck_assert_uint_eq(rounds, 4);
    cf_free(records);
}
END_TEST

static cf_status decode(const void *bytes, size_t size)
{
    struct repair_question question = {0};
    cf_status status = repair_decode(cf_slice_of(bytes, size), &question, NULL);
    if (status == CF_OK) {
        repair_question_done(&question);
    }
    return status;
}

START_TEST(hostile_questions)
{
    uint8_t bytes[64] = {0, 7, 0, 0, 0, 2};
    memset(bytes + 6, 1, 16);
    memset(bytes + 22, 2, 16);
    ck_assert_int_eq(decode(bytes, 38), CF_OK);
    for (size_t size = 1; size < 38; size++) {
        ck_assert_int_eq(decode(bytes, size), CF_CORRUPT);
    }
    memset(bytes + 22, 1, 16); /* the same print twice */
    ck_assert_int_eq(decode(bytes, 38), CF_CORRUPT);
    uint8_t back[12] = {0, 7, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0}; /* the same leaf twice */
    ck_assert_int_eq(decode(back, sizeof(back)), CF_CORRUPT);
    back[7] = 6;
    ck_assert_int_eq(decode(back, sizeof(back)), CF_CORRUPT);
    back[7] = 8;
    ck_assert_int_eq(decode(back, sizeof(back)), CF_OK);
    memset(back + 2, 0xff, 4); /* more prints than bytes */
    ck_assert_int_eq(decode(back, sizeof(back)), CF_CORRUPT);
}
END_TEST

/* Records in and out move the leaf as its sum moves. */
START_TEST(counting)
{
    set_up();
    uint8_t hash[REPL_HASH_SIZE];
    for (unsigned i = 0; i < 200; i++) {
        unsigned leaf = (unsigned)cf_prng_below(&prng, REPL_TREE_LEAVES);
        random_hash(hash);
        bool in = cf_prng_below(&prng, 2) == 0;
        repair_count(&ours, leaf, hash, in);
        if (in) {
            repl_sum_add(&theirs_sums[leaf], hash);
        } else {
            repl_sum_take(&theirs_sums[leaf], hash);
        }
    }
    repl_tree_make(theirs_sums, mix, &theirs);
    ck_assert_int_eq(memcmp(ours.leaves, theirs.leaves, sizeof(ours.leaves)), 0);
}
END_TEST

TEST_MAIN("replication/core/repair", level_by_level, answers_that_lie, questions, hostile_questions,
          counting)
