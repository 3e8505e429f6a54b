/* tests/unit/node/core/test_stamp.c: the leader's time follows a majority, slowly, and nobody else. */
#include "node/core/stamp.h"

#include "node/base/host.h"
#include "tests/lib/test.h"

#define S ((int64_t)1000000000)
#define US ((uint64_t)1000000)

static struct stamp stamp;

/* A leader since 0 s, whose newest stamp is 1000 s. */
static void lead(bool known)
{
    stamp = (struct stamp){0};
    stamp_lead(&stamp, 1000 * S, 0, known);
}

START_TEST(advances_by_the_monotonic_clock)
{
    lead(true);
    ck_assert(stamp_is_ready(&stamp));
    ck_assert_int_eq(stamp_next(&stamp, 5 * US), 1005 * S);
    ck_assert_int_eq(stamp_next(&stamp, 5 * US), 1005 * S + 1); /* each later than the one before */
    ck_assert_int_eq(stamp_next(&stamp, 6 * US), 1006 * S + 1);
    ck_assert_int_eq(stamp_next(&stamp, 3 * US), 1006 * S + 2); /* whatever is asked */
}
END_TEST

START_TEST(is_slewed_at_a_bounded_rate)
{
    lead(true);
    stamp_observe(&stamp, 0, 1002 * S, 3, 3);
    ck_assert_int_eq(stamp_next(&stamp, 10 * US), 1010 * S + S / 10);
    ck_assert(!stamp.is_alarming);
    for (unsigned i = 11; i <= 400; i++) {
        ck_assert_int_le(stamp_next(&stamp, i * US), (1002 + i) * S); /* never past it */
    }
    ck_assert_int_eq(stamp.last_ns, 1402 * S);
    stamp_observe(&stamp, 400 * US, 1401 * S, 3, 3); /* and back */
    ck_assert_int_eq(stamp_next(&stamp, 410 * US), 1412 * S - S / 10);
}
END_TEST

START_TEST(a_large_difference_is_not_followed)
{
    lead(true);
    stamp_observe(&stamp, 0, 1000 * S + STAMP_FOLLOW_NS + S, 3, 3);
    ck_assert_int_eq(stamp_next(&stamp, 10 * US), 1010 * S);
    ck_assert(stamp.is_alarming);
    ck_assert_int_eq(stamp.ahead_ns, STAMP_FOLLOW_NS + S);
    stamp_observe(&stamp, 10 * US, 0, 3, 3);
    ck_assert_int_eq(stamp_next(&stamp, 20 * US), 1020 * S);
    ck_assert(stamp.is_alarming);
    stamp_observe(&stamp, 20 * US, 1020 * S, 3, 3);
    ck_assert_int_eq(stamp_next(&stamp, 20 * US), 1020 * S + 1);
    ck_assert(!stamp.is_alarming);
}
END_TEST

START_TEST(a_minority_is_nobody)
{
    lead(true);
    stamp_observe(&stamp, 0, 1050 * S, 1, 3);
    ck_assert_int_eq(stamp_next(&stamp, 10 * US), 1010 * S);
    stamp_observe(&stamp, 0, 1050 * S, 2, 4);
    ck_assert_int_eq(stamp_next(&stamp, 20 * US), 1020 * S);
    stamp_observe(&stamp, 20 * US, 1050 * S, 1, 1); /* a sole voter is the majority */
    ck_assert_int_eq(stamp_next(&stamp, 30 * US), 1030 * S + S / 10);
}
END_TEST

/* The whole cluster was down: for how long, a majority has to say. */
START_TEST(the_first_one_needs_a_majority)
{
    lead(false);
    ck_assert(!stamp_is_ready(&stamp));
    stamp_observe(&stamp, US, 90000 * S, 1, 3);
    ck_assert(!stamp_is_ready(&stamp));
    stamp_observe(&stamp, 2 * US, 90000 * S, 2, 3);
    ck_assert(stamp_is_ready(&stamp));
    ck_assert_int_eq(stamp_next(&stamp, 3 * US), 90001 * S);
    ck_assert(!stamp.is_alarming);
    stamp_observe(&stamp, 3 * US, 190000 * S, 2, 3); /* from then on it is slewed */
    ck_assert_int_eq(stamp_next(&stamp, 4 * US), 90002 * S);
    ck_assert(stamp.is_alarming);
    lead(false);
    stamp_observe(&stamp, US, 10 * S, 2, 3); /* their clocks are behind: time does not go back */
    ck_assert_int_eq(stamp_next(&stamp, 2 * US), 1002 * S);
    ck_assert(stamp.is_alarming);
}
END_TEST

/* Stamps given before by this node, and lost, stay given. */
START_TEST(leads_again)
{
    lead(true);
    ck_assert_int_eq(stamp_next(&stamp, 10 * US), 1010 * S);
    stamp_lead(&stamp, 1005 * S, 6 * US, true);
    ck_assert_int_gt(stamp_next(&stamp, 10 * US), 1010 * S);
    stamp_lead(&stamp, 1020 * S, 19 * US, true);
    ck_assert_int_eq(stamp_next(&stamp, 20 * US), 1021 * S);
}
END_TEST

TEST_MAIN("node/core/stamp", advances_by_the_monotonic_clock, is_slewed_at_a_bounded_rate,
          a_large_difference_is_not_followed, a_minority_is_nobody, the_first_one_needs_a_majority,
          leads_again)
