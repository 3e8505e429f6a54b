/* Requests by client and interval: the limit, the end of an interval, blocking, bounded memory. */
#include "node/core/limiter.h"
#include "test.h"

static struct limit_verdict take(struct limiter *limiter, uint64_t client,
                                 const struct limit *limit, uint64_t now_us)
{
    struct limit_verdict verdict;
    limiter_take(limiter, client, limit, now_us, &verdict);
    return verdict;
}

START_TEST(so_many_in_an_interval)
{
    static const struct limit limit = {.rate = 3, .interval_us = 1000};
    struct limiter *limiter = limiter_new(100);
    for (uint64_t i = 0; i < 3; i++) {
        struct limit_verdict verdict = take(limiter, 7, &limit, 5000 + i);
        ck_assert(verdict.allowed);
        ck_assert_uint_eq(verdict.remaining, 2 - i);
        ck_assert_uint_eq(verdict.reset_us, 1000 - i);
    }
    struct limit_verdict verdict = take(limiter, 7, &limit, 5500);
    ck_assert(!verdict.allowed && verdict.remaining == 0);
    ck_assert_uint_eq(verdict.retry_us, 500);
    ck_assert(take(limiter, 8, &limit, 5500).allowed); /* another client */
    ck_assert(!take(limiter, 7, &limit, 5999).allowed);
    ck_assert(take(limiter, 7, &limit, 6000).allowed); /* and anew */
    limiter_free(limiter);
}
END_TEST

START_TEST(blocked_for_a_while)
{
    static const struct limit limit = {.rate = 1, .interval_us = 1000, .block_us = 10000};
    struct limiter *limiter = limiter_new(100);
    ck_assert(take(limiter, 7, &limit, 0).allowed);
    ck_assert_uint_eq(take(limiter, 7, &limit, 100).retry_us, 10000);
    ck_assert_uint_eq(take(limiter, 7, &limit, 5100).retry_us, 5000); /* asking does not prolong it */
    ck_assert(!take(limiter, 7, &limit, 10099).allowed);
    ck_assert(take(limiter, 7, &limit, 10100).allowed);
    limiter_free(limiter);
}
END_TEST

/* More clients than fit: nobody is refused who did not go over the limit. */
START_TEST(forgets_rather_than_refuses)
{
    static const struct limit limit = {.rate = 2, .interval_us = 1000000};
    struct limiter *limiter = limiter_new(512);
    for (uint64_t round = 0; round < 2; round++) {
        for (uint64_t client = 1; client < 20000; client++) {
            ck_assert(take(limiter, client * 0x9e3779b97f4a7c15u, &limit, round).allowed);
        }
    }
    limiter_free(limiter);
}
END_TEST

START_TEST(who_is_one_client)
{
    ck_assert_uint_eq(limiter_client(1, CF_SLICE("10.0.0.1")),
                      limiter_client(1, CF_SLICE("10.0.0.1")));
    ck_assert_uint_ne(limiter_client(1, CF_SLICE("10.0.0.1")),
                      limiter_client(1, CF_SLICE("10.0.0.2")));
    ck_assert_uint_ne(limiter_client(1, CF_SLICE("10.0.0.1")),
                      limiter_client(2, CF_SLICE("10.0.0.1"))); /* each rule counts for itself */
    ck_assert_uint_eq(limiter_client(1, CF_SLICE("2001:db8:1:2::1")),
                      limiter_client(1, CF_SLICE("2001:db8:1:2:ffff::9")));
    ck_assert_uint_ne(limiter_client(1, CF_SLICE("2001:db8:1:2::1")),
                      limiter_client(1, CF_SLICE("2001:db8:1:3::1")));
    ck_assert_uint_ne(limiter_client(0, CF_SLICE_EMPTY), 0);
}
END_TEST

TEST_MAIN("node/core/limiter", so_many_in_an_interval, blocked_for_a_while,
          forgets_rather_than_refuses, who_is_one_client)
