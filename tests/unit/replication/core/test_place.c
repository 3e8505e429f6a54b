/* tests/unit/replication/core/test_place.c: which node serves a secondary, and how far back the log is kept. */
#include "replication/core/floor.h"
#include "replication/core/place.h"
#include "test.h"

static uint64_t holds_to[3];
static size_t chosen;

static enum place decide(struct place_question question)
{
    question.holds_to = holds_to;
    chosen = 99;
    return place_decide(&question, &chosen);
}

START_TEST(a_standby_that_holds_it_serves)
{
    struct place_question q = {.may_serve = true, .active_known = true, .holds = true, .index = 7};
    ck_assert_int_eq(decide(q), PLACE_HERE);
    q.holds = false; /* whether it is gone altogether, the active node says */
    ck_assert_int_eq(decide(q), PLACE_ACTIVE);
    q.active_known = false;
    ck_assert_int_eq(decide(q), PLACE_NOWHERE);
    q.may_serve = false;
    q.holds = true;
    ck_assert_int_eq(decide(q), PLACE_NOWHERE);
    q.active_known = true;
    ck_assert_int_eq(decide(q), PLACE_ACTIVE);
}
END_TEST

START_TEST(the_active_node_is_relieved)
{
    struct place_question q = {.is_active = true, .may_serve = true, .holds = true, .index = 50};
    unsigned seen[3] = {0};
    ck_assert_int_eq(decide(q), PLACE_HERE); /* nobody else is there */
    q.count = 3;
    holds_to[0] = 49;
    holds_to[1] = 50;
    holds_to[2] = 1000;
    for (q.draw = 0; q.draw < 100; q.draw++) {
        ck_assert_int_eq(decide(q), PLACE_STANDBY);
        seen[chosen]++;
    }
    ck_assert_uint_eq(seen[0], 0);
    ck_assert_uint_eq(seen[1], 50);
    ck_assert_uint_eq(seen[2], 50);
    q.tried = 1; /* and came back */
    ck_assert_int_eq(decide(q), PLACE_HERE);
    q.tried = 0;
    holds_to[1] = holds_to[2] = 49;
    ck_assert_int_eq(decide(q), PLACE_HERE);
    q.index = 0; /* a first copy: any will do */
    ck_assert_int_eq(decide(q), PLACE_STANDBY);
}
END_TEST

/* An active node that came back by snapshot asks everybody before it says that a position is gone. */
START_TEST(an_active_node_without_the_position_asks_each_standby)
{
    struct place_question q = {
        .is_active = true, .may_serve = true, .holds = false, .index = 50, .count = 3};
    unsigned seen = 0;
    holds_to[0] = 60;
    holds_to[1] = 49; /* not this one: it is not that far */
    holds_to[2] = 50;
    for (q.draw = 0; q.draw < 4; q.draw++) {
        seen = 0;
        for (q.tried = 0; q.tried < 2; q.tried++) {
            ck_assert_int_eq(decide(q), PLACE_STANDBY);
            seen |= 1u << chosen;
        }
        ck_assert_uint_eq(seen, 5);
        ck_assert_int_eq(decide(q), PLACE_HERE);
    }
}
END_TEST

/* Back soon, but further than it was: it was served where it was sent. Else two broken links within seconds would
 * look as if no standby held the position. */
START_TEST(who_stands_elsewhere_by_now_was_served)
{
    struct place_sent sent = {0};
    struct repl_position at = {.epoch = {.number = 1}, .term = 1, .index = 50}, later = at;
    later.index = 51;
    ck_assert_uint_eq(place_tried(&sent, &at, 1), 0);
    place_send(&sent, &at, 0, 1000);
    ck_assert_uint_eq(place_tried(&sent, &at, 1001), 1);
    ck_assert_uint_eq(place_tried(&sent, &later, 1001), 0);
    place_send(&sent, &at, place_tried(&sent, &at, 1001), 2000);
    ck_assert_uint_eq(place_tried(&sent, &at, 1999 + PLACE_SENT_MS), 2);
    ck_assert_uint_eq(place_tried(&sent, &at, 2000 + PLACE_SENT_MS), 0);
}
END_TEST

START_TEST(streams_move_to_a_standby_that_stays)
{
    struct place_question q = {.is_active = true, .index = 50, .count = 1, .holds_to = holds_to};
    holds_to[0] = 60;
    ck_assert(!place_moves(&q, PLACE_SETTLED_MS - 1));
    ck_assert(place_moves(&q, PLACE_SETTLED_MS));
    holds_to[0] = 49;
    ck_assert(!place_moves(&q, PLACE_SETTLED_MS));
    holds_to[0] = 60;
    q.is_active = false;
    ck_assert(!place_moves(&q, PLACE_SETTLED_MS));
}
END_TEST

static const char *const ids[] = {"a", "b"};
static struct floor_row rows[3];
static struct floor_answer floor_of(size_t registered, size_t row_count, uint64_t inherited,
                                    uint64_t now_ms)
{
    struct floor_question q = {.registered = ids,
                               .registered_count = registered,
                               .rows = rows,
                               .row_count = row_count,
                               .inherited = inherited,
                               .now_ms = now_ms,
                               .since_ms = 1000,
                               .hold_ms = 5000};
    return floor_decide(&q);
}

START_TEST(the_slowest_holds_the_log)
{
    ck_assert_uint_eq(floor_of(0, 0, 3, 2000).floor, UINT64_MAX);
    rows[0] = (struct floor_row){"a", true, 100, 2000};
    rows[1] = (struct floor_row){"b", true, 70, 2000};
    ck_assert_uint_eq(floor_of(2, 2, 3, 2000).floor, 70);
    ck_assert_uint_eq(floor_of(1, 2, 3, 2000).floor, 100); /* b was revoked */
    /* Served by another node since: the word of the former one is old. */
    rows[1].connected = false;
    rows[2] = (struct floor_row){"b", true, 90, 2000};
    ck_assert_uint_eq(floor_of(2, 3, 3, 2000).floor, 90);
    rows[2].connected = false; /* by nobody now: who heard it last knows best */
    rows[2].heard_ms = 1900;
    ck_assert_uint_eq(floor_of(2, 3, 3, 2000).floor, 70);
    rows[2].connected = rows[1].connected = true; /* both think so: the lower is safe */
    ck_assert_uint_eq(floor_of(2, 3, 3, 2000).floor, 70);
}
END_TEST

START_TEST(what_held_before_holds_until_all_are_heard)
{
    rows[0] = (struct floor_row){"a", true, 100, 2000};
    rows[1] = (struct floor_row){"b", true, 0, 2000}; /* greeted, and no more */
    struct floor_answer answer = floor_of(2, 2, 30, 2000);
    ck_assert_uint_eq(answer.floor, 30);
    ck_assert_uint_eq(answer.unknown, 1);
    ck_assert_uint_eq(floor_of(2, 2, 0, 2000).floor, 0); /* after a start: all that is there */
    ck_assert_uint_eq(floor_of(2, 2, UINT64_MAX, 2000).floor, 100);
    /* Away for too long: the disk is not theirs alone. */
    answer = floor_of(2, 2, 30, 6001);
    ck_assert_uint_eq(answer.floor, 100);
    ck_assert_uint_eq(answer.overdue, 1);
    ck_assert_uint_eq(answer.unknown, 0);
    rows[0].connected = false;
    ck_assert_uint_eq(floor_of(1, 1, 30, 7000).floor, 100);
    ck_assert_uint_eq(floor_of(1, 1, 30, 7001).floor, UINT64_MAX);
}
END_TEST

/* The log was cut at its cap: there is nothing to keep for who needed more, and its end must not hold the rest. */
START_TEST(who_is_cut_off_holds_nothing)
{
    rows[0] = (struct floor_row){"a", true, 100, 2000};
    rows[1] = (struct floor_row){"b", false, 38, 2000};
    struct floor_question q = {.registered = ids,
                               .registered_count = 2,
                               .rows = rows,
                               .row_count = 2,
                               .inherited = 30,
                               .now_ms = 2000,
                               .since_ms = 1000,
                               .hold_ms = 5000};
    q.capped = 38; /* it has 38, and the log goes on from there */
    ck_assert_uint_eq(floor_decide(&q).floor, 38);
    ck_assert_uint_eq(floor_decide(&q).cut_off, 0);
    q.capped = 39;
    ck_assert_uint_eq(floor_decide(&q).floor, 100);
    ck_assert_uint_eq(floor_decide(&q).cut_off, 1);
    ck_assert_uint_eq(floor_decide(&q).unknown, 0);
    rows[1].connected = true; /* served, by a node whose log may reach further back */
    ck_assert_uint_eq(floor_decide(&q).floor, 38);
    ck_assert_uint_eq(floor_decide(&q).cut_off, 0);
}
END_TEST

TEST_MAIN("replication/core/place", a_standby_that_holds_it_serves, the_active_node_is_relieved,
          an_active_node_without_the_position_asks_each_standby, who_stands_elsewhere_by_now_was_served,
          streams_move_to_a_standby_that_stays, the_slowest_holds_the_log,
          what_held_before_holds_until_all_are_heard, who_is_cut_off_holds_nothing)
