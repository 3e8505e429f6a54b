/* tests/unit/replication/core/test_translate.c: positions of the epoch before ours, in our own log. */
#include "replication/core/translate.h"
#include "test.h"

static struct translation t;
static uint64_t start, end, next_index;

static void set_up(uint64_t from)
{
    translate_begin(&t, from);
    next_index = 40;
}

static void add(bool begins, bool is_shipped, uint64_t oldest, uint64_t newest)
{
    translate_entry(&t, &(struct translate_entry){next_index++, begins, is_shipped, oldest, newest});
}

/* As in the header: adopted (40), 7..9 (41), 10 (42), 11..14 (43), promoted (44), our own (45). */
static void add_log(void)
{
    add(true, false, 0, 0);
    add(false, true, 7, 9);
    add(false, true, 10, 10);
    add(false, true, 11, 14);
    add(true, false, 0, 0);
    add(false, false, 0, 0);
}

START_TEST(goes_on_behind_the_position)
{
    static const struct {
        uint64_t from, start;
        bool is_whole;
    } cases[] = {{9, 42, true}, {10, 43, true}, {12, 43, true}, {14, 44, true}, {6, 41, true},
                 {5, 41, false}, /* 6 may have been in the log before */
                 {8, 41, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set_up(cases[i].from);
        add_log();
        ck_assert_msg(translate_end(&t, &start, &end) == cases[i].is_whole, "case %zu", i);
        ck_assert_uint_eq(start, cases[i].start);
        ck_assert_uint_eq(end, 44);
    }
}
END_TEST

/* What was received before we followed the parent has indexes of another log, and so has what a performance
 * secondary receives after its promotion. */
START_TEST(other_logs_do_not_count)
{
    set_up(12);
    add(false, true, 11, 12);
    add_log();
    add(false, true, 3, 500);
    ck_assert(translate_end(&t, &start, &end));
    ck_assert_uint_eq(start, 44);
    ck_assert_uint_eq(end, 45); /* the one with 3..500 goes out whole */
    set_up(12);
    add(false, true, 11, 12);
    add(false, true, 13, 20);
    add(true, false, 0, 0); /* adopted, and nothing came of it */
    add(true, false, 0, 0); /* promoted */
    ck_assert(!translate_end(&t, &start, &end));
    set_up(12);
    add(false, true, 11, 20); /* the promotion left the log: of which epoch this is nobody knows */
    ck_assert(!translate_end(&t, &start, &end));
}
END_TEST

START_TEST(a_repair_hides_what_was_before)
{
    set_up(12);
    add(true, false, 0, 0);
    add(false, true, 10, 12);
    add(false, true, UINT64_MAX, 0);
    add(false, true, 14, 20);
    add(true, false, 0, 0);
    ck_assert(!translate_end(&t, &start, &end));
    set_up(13);
    add(true, true, UINT64_MAX, 0);
    add(false, true, 14, 20);
    add(true, false, 0, 0);
    ck_assert(translate_end(&t, &start, &end)); /* nothing lies between */
    ck_assert_uint_eq(start, 41);
}
END_TEST

START_TEST(only_the_parent_is_translated)
{
    struct repl_epoch first = {.number = 1}, second = {.number = 2}, third = {.number = 3};
    static struct repl_lineage lineage;
    lineage.count = 0;
    ck_ok(repl_lineage_raise(&lineage, &first, NULL, &err_));
    ck_ok(repl_lineage_raise(&lineage, &second, &(struct repl_position){first, 1, 50}, &err_));
    ck_ok(repl_lineage_raise(&lineage, &third, &(struct repl_position){second, 2, 80}, &err_));
    ck_assert(translate_may(&lineage, &(struct repl_position){second, 2, 80}));
    ck_assert(!translate_may(&lineage, &(struct repl_position){second, 2, 81})); /* it was lost */
    ck_assert(!translate_may(&lineage, &(struct repl_position){first, 1, 50}));
    ck_assert(!translate_may(&(struct repl_lineage){0}, &(struct repl_position){first, 1, 50}));
}
END_TEST

TEST_MAIN("replication/core/translate", goes_on_behind_the_position, other_logs_do_not_count,
          a_repair_hides_what_was_before, only_the_parent_is_translated)
