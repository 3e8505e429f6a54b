/* tests/unit/replication/core/test_behind.c: what a secondary says that a promotion would lose. */
#include "replication/core/behind.h"
#include "test.h"

static struct behind b;

static struct repl_position at(uint64_t index)
{
    return (struct repl_position){.epoch = {.number = 1}, .term = 1, .index = index};
}

static void heard(uint64_t now_ms, uint64_t said_ms, uint64_t theirs, uint64_t ours)
{
    struct repl_position there = at(theirs), here = at(ours);
    behind_heard(&b, said_ms, &there, &here, now_ms);
}

static uint64_t says(uint64_t now_ms, bool streams, uint64_t ours)
{
    struct repl_position here = at(ours);
    return behind_ms(&b, streams, &here, now_ms);
}

static void set_up(void)
{
    behind_init(&b, 10000);
    heard(11000, 0, 50, 50);
}

START_TEST(what_the_primary_says_holds_while_it_is_heard)
{
    behind_init(&b, 10000);
    ck_assert_uint_eq(says(12000, false, 0), 2000); /* never heard: since it began */
    heard(12000, 0, 50, 50);
    ck_assert_uint_eq(says(12500, true, 50), 0);
    heard(13000, 700, 60, 55);
    ck_assert_uint_eq(says(13500, true, 55), 700);
    ck_assert_uint_eq(says(13500, false, 55), 1200); /* the link is gone: and the silence */
    ck_assert_uint_eq(says(13000 + BEHIND_SILENT_MS, true, 55), 700 + BEHIND_SILENT_MS); /* gone, and nobody noticed */
}
END_TEST

/* Whoever serves next counts from its hello: it was not there when the oldest missing entry was written. */
START_TEST(a_node_that_serves_since_a_moment_ago_is_not_believed)
{
    set_up();
    behind_lost(&b);
    ck_assert_uint_eq(says(71000, false, 50), 60000);
    heard(71000, 10, 900, 50);
    ck_assert_uint_eq(says(71000, true, 50), 60000);
    heard(72000, 1010, 950, 500);
    ck_assert_uint_eq(says(72000, true, 500), 61000);
    ck_assert_uint_eq(says(72500, true, 899), 61500);
    ck_assert_uint_eq(says(72500, true, 900), 1010); /* all of its first word is here: from now on it knows */
    heard(73000, 200, 960, 940);
    ck_assert_uint_eq(says(73100, true, 940), 200);
    behind_lost(&b); /* what was whole stays so */
    ck_assert_uint_eq(says(74000, false, 940), 1200);
}
END_TEST

/* A node that has not heard its own leader says how old its first word is. */
START_TEST(a_stale_first_word_is_as_old_as_it_says)
{
    set_up();
    behind_lost(&b);
    heard(20000, 4000, 80, 80);
    behind_lost(&b);
    ck_assert_uint_eq(says(20500, false, 80), 4500);
    heard(21000, 30000, 90, 80); /* nor does a word make older what was whole */
    ck_assert_uint_eq(says(21000, false, 90), 5000);
}
END_TEST

START_TEST(another_epochs_position_reaches_nothing)
{
    struct repl_position theirs = at(10), ours = at(500);
    theirs.epoch.number = 2;
    set_up();
    behind_lost(&b);
    behind_heard(&b, 0, &theirs, &ours, 15000);
    ck_assert_uint_eq(behind_ms(&b, true, &ours, 15000), 4000);
    ck_assert_uint_eq(behind_ms(&b, true, &theirs, 15000), 0);
}
END_TEST

TEST_MAIN("replication/core/behind", what_the_primary_says_holds_while_it_is_heard,
          a_node_that_serves_since_a_moment_ago_is_not_believed, a_stale_first_word_is_as_old_as_it_says,
          another_epochs_position_reaches_nothing)
