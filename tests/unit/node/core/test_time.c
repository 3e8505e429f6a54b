/* tests/unit/node/core/test_time.c: what a core does with time: after the whole cluster was down, and when a
 * clock is wrong. */
#include "bench.h"
#include "node/base/host.h"
#include "node/base/memory.h"
#include "tests/lib/test.h"

#define S ((int64_t)1000000000)

static struct bench *b;

/* The same store under a process that has just started, on a cluster that was down. */
static void restart(void)
{
    bench_free(b);
    b = bench_new();
    core_set_log_end(b->core, UINT64_MAX);
    ck_ok(core_state_changed(b->core, b->kv, b->state, b->applied, NULL));
    core_became_leader(b->core, b->appended);
}

static int put(void)
{
    return bench_call(b, NULL, "POST", "cubbyhole/a", "{\"x\":1}", NULL, NULL);
}

static int64_t now_ns(void)
{
    struct view *view = core_view(b->core);
    int64_t now = view_now_ns(view);
    view_unref(view);
    return now;
}

START_TEST(the_first_stamp_waits_for_a_majority)
{
    restart();
    struct command tick = {.id = COMMAND_TICK};
    int64_t later = now_ns() + 86400 * S;
    uint64_t before = b->appended;
    ck_assert(!core_time_is_known(b->core));
    ck_assert_int_eq(put(), 503);
    ck_status(bench_command(b, &tick, NULL), CF_UNAVAILABLE);
    core_observe_clocks(b->core, later, 1, 3);
    ck_status(bench_command(b, &tick, NULL), CF_UNAVAILABLE);
    core_observe_clocks(b->core, later, 2, 3);
    ck_assert_int_eq(put(), 503); /* it would count from a time that is a day old */
    ck_assert_uint_eq(b->appended, before);
    ck_ok(bench_command(b, &tick, NULL));
    ck_assert(core_time_is_known(b->core));
    ck_assert_int_ge(now_ns(), later);
    ck_assert_int_eq(put(), 204);
}
END_TEST

/* A run on a view from before the first stamp is run again, if it appends after it. */
START_TEST(no_view_from_before_the_first_stamp)
{
    char text[512];
    restart();
    struct command tick = {.id = COMMAND_TICK};
    int64_t later = now_ns() + 86400 * S;
    b->holds = true;
    CF_OWNED(call) held = bench_start(b, NULL, "POST", "auth/token/create", "{\"ttl\":\"1h\"}");
    ck_assert_uint_eq(b->held_count, 1);
    core_observe_clocks(b->core, later, 3, 3);
    ck_ok(bench_command(b, &tick, NULL));
    b->holds = false;
    bench_release(b, 0);
    ck_assert(held->is_done);
    ck_assert_int_eq(held->status, 200);
    char token[64];
    snprintf(token, sizeof(token), "%s", call_at(held, "auth.client_token"));
    ck_assert_int_eq(bench_call(b, token, "GET", "auth/token/lookup-self", NULL, "data.ttl", text), 200);
    ck_assert_int_gt(atoi(text), 3500);
}
END_TEST

/* The wall clock of the active node jumps, or the median does: no token runs out. */
START_TEST(one_wrong_clock_expires_nothing)
{
    bench_free(b);
    b = bench_new();
    char token[64];
    bench_token(b, "{\"policies\":[\"default\"],\"ttl\":\"1h\"}", token);
    core_observe_clocks(b->core, now_ns() + 365 * 86400 * S, 3, 3);
    ck_assert_int_eq(put(), 204);
    ck_assert(core_time(b->core).is_alarming);
    ck_assert_int_gt(core_time(b->core).ahead_ns, 364 * 86400 * S);
    ck_assert_int_eq(bench_call(b, token, "GET", "auth/token/lookup-self", NULL, NULL, NULL), 200);
    core_observe_clocks(b->core, now_ns(), 3, 3);
    ck_assert_int_eq(put(), 204);
    ck_assert(!core_time(b->core).is_alarming);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {the_first_stamp_waits_for_a_majority,
                                  no_view_from_before_the_first_stamp, one_wrong_clock_expires_nothing};
    int failed = test_run("node/core/time", tests, CF_LENGTH(tests));
    bench_free(b);
    return failed;
}
