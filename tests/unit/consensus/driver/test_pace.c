/* tests/unit/consensus/driver/test_pace.c: the rate cap and how it yields, under a clock of ours. */
#include "consensus/driver/pace.h"
#include "test.h"

#define CAP ((uint64_t)128 << 20)
#define PIECE ((uint64_t)256 << 10)
#define SECOND ((uint64_t)1000000)

/* Sends as eagerly as it is let for so long, from *now_us on; the most bytes in any 100 ms. */
static uint64_t eager(struct pace *pace, uint64_t *now_us, uint64_t for_us, uint64_t *ret_most)
{
    uint64_t end = *now_us + for_us, sent = 0, window = 0, window_end = *now_us + SECOND / 10;
    *ret_most = 0;
    while (*now_us < end) {
        uint64_t next = pace_next_us(pace);
        *now_us = next > *now_us ? next : *now_us;
        if (*now_us >= window_end) {
            *ret_most = window > *ret_most ? window : *ret_most;
            window = 0;
            window_end += SECOND / 10;
        }
        pace_sent(pace, *now_us, PIECE);
        sent += PIECE;
        window += PIECE;
    }
    return sent;
}

START_TEST(cap_holds_in_every_interval)
{
    struct pace pace;
    uint64_t now = 77 * SECOND, most;
    /* A burst, the piece that is under way when it is over, and one after the end. */
    uint64_t burst = CAP * PACE_BURST_US / SECOND + 2 * PIECE;
    pace_start(&pace, CAP, 0);
    uint64_t sent = eager(&pace, &now, SECOND, &most);
    ck_assert_uint_le(sent, CAP + burst);
    ck_assert_uint_ge(sent, CAP - PIECE);
    ck_assert_uint_le(most, CAP / 10 + burst);
    now += 3600 * SECOND; /* a rest saves nothing up but the burst */
    sent = eager(&pace, &now, SECOND / 10, &most);
    ck_assert_uint_le(sent, CAP / 10 + burst);
}
END_TEST

START_TEST(tiny_caps_work)
{
    struct pace pace;
    uint64_t now = 0, most;
    pace_start(&pace, 1000, 0);
    uint64_t sent = eager(&pace, &now, 3000 * SECOND, &most);
    ck_assert_uint_le(sent, 3000 * 1000 + 2 * PIECE);
    pace_start(&pace, 1, 100);
    for (int i = 0; i < 100; i++) {
        pace_observe(&pace, 1000000);
    }
    ck_assert_uint_eq(pace.rate, 1);
    pace_sent(&pace, 5, 1);
    ck_assert_uint_eq(pace.due_us, 5 + SECOND);
}
END_TEST

START_TEST(yields_to_the_log_and_comes_back)
{
    struct pace pace;
    pace_start(&pace, CAP, 4000);
    pace_observe(&pace, 5900); /* within half as much again */
    ck_assert_uint_eq(pace.rate, CAP);
    pace_observe(&pace, 6100);
    ck_assert_uint_eq(pace.rate, CAP / 4 * 3);
    for (int i = 0; i < 50; i++) {
        pace_observe(&pace, 50000);
    }
    ck_assert_uint_eq(pace.rate, CAP / 2); /* never less: the follower has to come back */
    uint64_t now = SECOND, most;
    uint64_t sent = eager(&pace, &now, SECOND, &most);
    ck_assert_uint_le(sent, CAP / 2 + 2 * PIECE + CAP * PACE_BURST_US / SECOND);
    for (int i = 0; i < 8; i++) {
        ck_assert_uint_lt(pace.rate, CAP);
        pace_observe(&pace, i % 2 ? 0 : 4000); /* quick again, or nobody writes */
    }
    ck_assert_uint_eq(pace.rate, CAP);
}
END_TEST

/* Without a yardstick there is no yielding; and microseconds are no trouble. */
START_TEST(noise_is_no_trouble)
{
    struct pace pace;
    pace_start(&pace, CAP, 0);
    pace_observe(&pace, 90000);
    ck_assert_uint_eq(pace.rate, CAP);
    pace_start(&pace, CAP, 40);
    pace_observe(&pace, 500);
    ck_assert_uint_eq(pace.rate, CAP);
}
END_TEST

TEST_MAIN("consensus/driver/pace", cap_holds_in_every_interval, tiny_caps_work,
          yields_to_the_log_and_comes_back, noise_is_no_trouble)
