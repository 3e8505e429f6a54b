/* tests/unit/replication/core/test_position.c: positions, lineages and the fence. */
#include "replication/core/fence.h"
#include "test.h"

static struct repl_epoch epoch(uint32_t number, uint8_t id)
{
    return (struct repl_epoch){.number = number, .id = {id}};
}
static struct repl_position at(uint32_t number, uint8_t id, uint64_t term, uint64_t index)
{
    return (struct repl_position){epoch(number, id), term, index};
}
static void raise(struct repl_lineage *lineage, uint32_t number, uint8_t id,
                  struct repl_position where)
{
    struct repl_epoch next = epoch(number, id);
    ck_ok(repl_lineage_raise(lineage, &next, &where, &err_));
}
/* 1 --at 90--> 2, the picture of lineage.h */
static void two(struct repl_lineage *lineage)
{
    *lineage = (struct repl_lineage){0};
    raise(lineage, 1, 1, at(0, 0, 0, 0));
    raise(lineage, 2, 2, at(1, 1, 3, 90));
}

START_TEST(position_round_trip_and_hostile_bytes)
{
    struct repl_position from = at(7, 9, 3, 1234), to;
    char text[REPL_POSITION_TEXT_SIZE];
    CF_BUF(bytes) = {0};
    repl_position_encode(&from, &bytes);
    ck_assert_uint_eq(bytes.size, REPL_POSITION_SIZE);
    ck_ok(repl_position_decode(cf_buf_slice(&bytes), &to, &err_));
    ck_assert(repl_position_equal(&from, &to));
    repl_position_text(&from, text);
    ck_assert_str_eq(text, "7:09000000:3/1234");
    for (size_t size = 0; size < bytes.size; size++) {
        ck_assert_int_ne(
            repl_position_decode(cf_slice_first(cf_buf_slice(&bytes), size), &to, NULL), CF_OK);
    }
    cf_buf_add_byte(&bytes, 0);
    ck_status(repl_position_decode(cf_buf_slice(&bytes), &to, NULL), CF_CORRUPT);
    bytes.size--;
    bytes.data[0] = 2;
    ck_status(repl_position_decode(cf_buf_slice(&bytes), &to, NULL), CF_UNSUPPORTED);
    bytes.data[0] = 1;
    bytes.data[1] = 2; /* a line epoch */
    ck_status(repl_position_decode(cf_buf_slice(&bytes), &to, NULL), CF_UNSUPPORTED);
    const struct repl_position bad[] = {at(7, 9, 0, 5), at(7, 9, 5, 0), at(0, 0, 1, 1),
                                        at(7, 9, 1, UINT64_MAX)};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cf_buf_reset(&bytes);
        repl_position_encode(&bad[i], &bytes);
        ck_status(repl_position_decode(cf_buf_slice(&bytes), &to, NULL), CF_CORRUPT);
    }
}
END_TEST

START_TEST(positions_compare_within_an_epoch)
{
    struct repl_position a = at(1, 1, 1, 5), b = at(1, 1, 2, 9), c = at(2, 2, 1, 20);
    struct repl_position none = {0}, beginning = at(3, 3, 0, 0);
    ck_assert(repl_position_before(&a, &b));
    ck_assert(!repl_position_before(&b, &a));
    ck_assert(!repl_position_before(&a, &a));
    ck_assert(!repl_position_before(&a, &c) && !repl_position_before(&c, &a));
    ck_assert(repl_position_equal(&none, &beginning));
    ck_assert(repl_position_before(&none, &a));
    b = a;
    b.term = 2;
    ck_assert(!repl_position_equal(&a, &b));
}
END_TEST

START_TEST(higher_number_then_larger_id_wins)
{
    struct repl_epoch a = epoch(1, 200), b = epoch(2, 1), c = epoch(2, 3);
    ck_assert_int_lt(repl_epoch_cmp(&a, &b), 0);
    ck_assert_int_lt(repl_epoch_cmp(&b, &c), 0);
    ck_assert_int_eq(repl_epoch_cmp(&c, &c), 0);
}
END_TEST

START_TEST(lineages_compare)
{
    struct repl_lineage one = {0}, longer, other, none = {0};
    size_t common;
    raise(&one, 1, 1, at(0, 0, 0, 0));
    two(&longer);
    other = one;
    raise(&other, 2, 9, at(1, 1, 3, 50));
    ck_assert_int_eq(repl_lineage_compare(&one, &one, &common), REPL_SAME);
    ck_assert_int_eq(repl_lineage_compare(&one, &longer, &common), REPL_OURS_OLDER);
    ck_assert_uint_eq(common, 1);
    ck_assert_int_eq(repl_lineage_compare(&longer, &one, NULL), REPL_THEIRS_OLDER);
    ck_assert_int_eq(repl_lineage_compare(&longer, &other, NULL), REPL_DIVERGED_LOST);
    ck_assert_int_eq(repl_lineage_compare(&other, &longer, NULL), REPL_DIVERGED_WON);
    ck_assert_int_eq(repl_lineage_compare(&none, &one, &common), REPL_OURS_OLDER);
    ck_assert_uint_eq(common, 0);
    /* The same epoch at another branch point is another history. */
    struct repl_lineage twin = one;
    raise(&twin, 2, 2, at(1, 1, 3, 91));
    ck_assert_int_eq(repl_lineage_compare(&longer, &twin, &common), REPL_DIVERGED_WON);
    ck_assert_uint_eq(common, 1);
}
END_TEST

START_TEST(branch_points)
{
    struct repl_lineage one = {0}, longer, other, stranger = {0};
    struct repl_position point;
    raise(&one, 1, 1, at(0, 0, 0, 0));
    two(&longer);
    other = one;
    raise(&other, 3, 9, at(1, 1, 3, 50));
    raise(&stranger, 1, 77, at(0, 0, 0, 0));
    ck_assert(repl_lineage_branch_point(&longer, &other, &point));
    ck_assert_uint_eq(point.index, 50);
    ck_assert_uint_eq(point.epoch.number, 1);
    ck_assert(repl_lineage_branch_point(&one, &longer, &point));
    ck_assert_uint_eq(point.index, 90);
    ck_assert(repl_lineage_branch_point(&one, &one, &point));
    ck_assert_uint_eq(point.index, UINT64_MAX);
    ck_assert(!repl_lineage_branch_point(&one, &stranger, &point));
}
END_TEST

START_TEST(beyond_the_branch_point_is_diverged)
{
    struct repl_lineage lineage;
    two(&lineage);
    const struct {
        struct repl_position position;
        bool included;
    } cases[] = {
        {at(1, 1, 3, 90), true},  {at(1, 1, 2, 10), true},   {at(1, 1, 3, 91), false},
        {at(1, 1, 4, 90), false}, {at(2, 2, 9, 9999), true}, {at(2, 3, 1, 1), false},
        {at(5, 5, 0, 0), true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(repl_lineage_includes(&lineage, &cases[i].position) == cases[i].included,
                      "case %zu", i);
    }
}
END_TEST

START_TEST(raising)
{
    struct repl_lineage lineage;
    struct repl_epoch same = epoch(2, 9), next = epoch(3, 3);
    struct repl_position here = at(2, 2, 4, 10), beyond = at(1, 1, 3, 91), early = at(1, 1, 3, 80);
    two(&lineage);
    ck_status(repl_lineage_raise(&lineage, &same, &here, NULL), CF_INVALID);
    ck_status(repl_lineage_raise(&lineage, &next, &beyond, NULL), CF_INVALID);
    ck_assert_uint_eq(lineage.count, 2);
    /* Adopted epoch 2, but holds nothing of it: epoch 3 grows from epoch 1. */
    raise(&lineage, 3, 3, early);
    ck_assert_uint_eq(lineage.count, 2);
    ck_assert_uint_eq(lineage.branches[1].parent.number, 1);
    ck_assert_uint_eq(repl_lineage_current(&lineage).number, 3);
    for (uint32_t i = 4; lineage.count < REPL_LINEAGE_MAX; i++) {
        raise(&lineage, i, 1, at(i - 1, i == 4 ? 3 : 1, 1, i));
    }
    struct repl_epoch last = epoch(9999, 1), current = repl_lineage_current(&lineage);
    struct repl_position end = {current, 1, 1};
    ck_status(repl_lineage_raise(&lineage, &last, &end, NULL), CF_TOO_LARGE);
}
END_TEST

START_TEST(lineage_round_trip_and_hostile_bytes)
{
    static struct repl_lineage from, to;
    CF_BUF(bytes) = {0};
    two(&from);
    repl_lineage_encode(&from, &bytes);
    ck_assert_uint_le(bytes.size, REPL_LINEAGE_SIZE_MAX);
    ck_ok(repl_lineage_decode(cf_buf_slice(&bytes), &to, &err_));
    ck_assert_int_eq(repl_lineage_compare(&from, &to, NULL), REPL_SAME);
    for (size_t size = 0; size < bytes.size; size++) {
        ck_assert_int_ne(repl_lineage_decode(cf_slice_first(cf_buf_slice(&bytes), size), &to, NULL),
                         CF_OK);
    }
    /* Any byte of the second branch's parent, or its number: the chain is broken. */
    for (size_t i = 6 + 57; i < 6 + 57 + 40; i++) {
        uint8_t old = bytes.data[i];
        bytes.data[i] = (uint8_t)(i < 6 + 57 + 4 ? 0 : old ^ 0x55);
        bool id_of_epoch = i >= 6 + 57 + 4 && i < 6 + 57 + 20;
        bool still_above = bytes.data[i] == old;
        ck_assert((repl_lineage_decode(cf_buf_slice(&bytes), &to, NULL) == CF_OK) ==
                  (id_of_epoch || still_above));
        bytes.data[i] = old;
    }
    bytes.data[2] = 0xff; /* a count that would not fit */
    ck_status(repl_lineage_decode(cf_buf_slice(&bytes), &to, NULL), CF_CORRUPT);
    struct repl_lineage none = {0};
    cf_buf_reset(&bytes);
    repl_lineage_encode(&none, &bytes);
    ck_ok(repl_lineage_decode(cf_buf_slice(&bytes), &to, &err_));
    ck_assert_uint_eq(to.count, 0);
}
END_TEST

START_TEST(fencing_needs_a_proof)
{
    struct repl_lineage one = {0}, longer, other, none = {0};
    raise(&one, 1, 1, at(0, 0, 0, 0));
    two(&longer);
    other = one;
    raise(&other, 2, 9, at(1, 1, 3, 50));
    const struct {
        const struct repl_lineage *own, *theirs;
        enum fence_role role;
        bool verified;
        enum fence_decision want;
    } cases[] = {
        {&one, &longer, FENCE_PRIMARY, true, FENCE_FENCE},
        {&one, &longer, FENCE_PRIMARY, false, FENCE_ALARM},
        {&longer, &one, FENCE_PRIMARY, true, FENCE_IGNORE},
        {&one, &one, FENCE_PRIMARY, true, FENCE_IGNORE},
        {&longer, &other, FENCE_PRIMARY, true, FENCE_FENCE},
        {&longer, &other, FENCE_PRIMARY, false, FENCE_ALARM},
        {&other, &longer, FENCE_PRIMARY, true, FENCE_IGNORE},
        {&one, &longer, FENCE_SECONDARY, true, FENCE_ADOPT},
        {&one, &longer, FENCE_SECONDARY, false, FENCE_ALARM},
        {&none, &longer, FENCE_SECONDARY, false, FENCE_ADOPT},
        {&none, &longer, FENCE_PRIMARY, false, FENCE_ALARM},
        {&one, &longer, FENCE_NO_PART, true, FENCE_IGNORE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fence_claim claim = {cases[i].theirs, cases[i].verified};
        ck_assert_msg(fence_decide(cases[i].own, cases[i].role, &claim) == cases[i].want,
                      "case %zu", i);
    }
}
END_TEST

START_TEST(who_is_concerned_by_a_newer_epoch)
{
    ck_assert(fence_concerns(true, false, REPL_PERFORMANCE));
    ck_assert(fence_concerns(true, false, REPL_DR));
    ck_assert(fence_concerns(false, true, REPL_DR));
    ck_assert(!fence_concerns(false, true, REPL_PERFORMANCE)); /* it follows: nothing to give up */
    ck_assert(!fence_concerns(false, false, REPL_DR));
}
END_TEST

START_TEST(a_state_of_an_older_epoch_has_not_arrived)
{
    struct repl_position until = {.epoch.number = 2, .term = 3, .index = 40}, here = until;
    ck_assert(repl_position_reached(&until, &here));
    here.index = 39;
    ck_assert(!repl_position_reached(&until, &here));
    here.epoch.number = 1;
    here.index = 1000; /* of another log */
    ck_assert(!repl_position_reached(&until, &here));
    here.epoch.number = 3; /* it is in it, or was lost */
    ck_assert(repl_position_reached(&until, &here));
}
END_TEST

/* Line and set are raised at one place, under one id; a set that has not seen the promotion in whose log that place
 * is begins anew. */
START_TEST(a_promotion_raises_line_and_set)
{
    static struct repl_lineage line, set;
    static const uint8_t first[16] = {1}, second[16] = {2};
    struct repl_epoch of_line = {.number = 1, .id = {7}}, of_set = {.number = 4, .id = {8}};
    line = set = (struct repl_lineage){0};
    ck_ok(repl_lineage_raise(&line, &of_line, NULL, &err_));
    ck_ok(repl_lineage_raise(&set, &of_set, NULL, &err_));
    struct repl_position at = {of_line, 2, 90};
    ck_ok(repl_lineage_promote(&line, &set, &at, first, &err_));
    ck_assert_uint_eq(line.branches[1].index, 90);
    ck_assert_uint_eq(set.branches[1].index, 90);
    ck_assert_uint_eq(set.branches[1].epoch.number, 5);
    ck_assert_mem_eq(line.branches[1].epoch.id, set.branches[1].epoch.id, 16);
    /* The next one knows of it... */
    struct repl_lineage line_then = line, set_then = set;
    at = (struct repl_position){repl_lineage_current(&line), 3, 120};
    ck_ok(repl_lineage_promote(&line, &set, &at, second, &err_));
    ck_assert_uint_eq(set.count, 3);
    ck_assert_uint_eq(set.branches[2].index, 120);
    /* ... and one whose set lineage is still that of before does not. */
    set_then.count = 1;
    ck_ok(repl_lineage_promote(&line_then, &set_then, &at, second, &err_));
    ck_assert_uint_eq(line_then.branches[2].index, 120);
    ck_assert_uint_eq(set_then.count, 2);
    ck_assert_uint_eq(set_then.branches[1].index, 1);
    ck_assert_uint_eq(set_then.branches[1].epoch.number, set.branches[2].epoch.number);
    ck_ok(repl_lineage_promote(&line, NULL, &(struct repl_position){repl_lineage_current(&line), 4, 130}, first,
                               &err_));
}
END_TEST

TEST_MAIN("replication/core/position", position_round_trip_and_hostile_bytes,
          positions_compare_within_an_epoch, higher_number_then_larger_id_wins, lineages_compare,
          branch_points, beyond_the_branch_point_is_diverged, raising,
          lineage_round_trip_and_hostile_bytes, fencing_needs_a_proof,
          who_is_concerned_by_a_newer_epoch, a_state_of_an_older_epoch_has_not_arrived,
          a_promotion_raises_line_and_set)
