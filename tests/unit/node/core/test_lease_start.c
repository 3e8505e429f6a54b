/* tests/unit/node/core/test_lease_start.c: leases don't slow the start (P-17, lease_million_start): what a node reads
 * when it takes over a state, and in a round of the background work with nothing due, is the same with few leases and
 * with many. Counted: this program is linked with wrapped reads of the store. */
#include <stdatomic.h>
#include <time.h>

#include "bench.h"
#include "node/base/memory.h"
#include "node/core/core_int.h"
#include "tests/lib/test.h"

static _Atomic unsigned reads; /* values and steps of iterators */

cf_status __real_kv_get(struct kv_view view, struct kv_family *family, struct cf_slice key, struct kv_value *value,
                        struct cf_error *err);
cf_status __wrap_kv_get(struct kv_view view, struct kv_family *family, struct cf_slice key, struct kv_value *value,
                        struct cf_error *err);
void __real_kv_next(struct kv_iterator *iterator);
void __wrap_kv_next(struct kv_iterator *iterator);
void __real_kv_seek(struct kv_iterator *iterator, struct cf_slice key);
void __wrap_kv_seek(struct kv_iterator *iterator, struct cf_slice key);

cf_status __wrap_kv_get(struct kv_view view, struct kv_family *family, struct cf_slice key, struct kv_value *value,
                        struct cf_error *err)
{
    atomic_fetch_add(&reads, 1);
    return __real_kv_get(view, family, key, value, err);
}

void __wrap_kv_next(struct kv_iterator *iterator)
{
    atomic_fetch_add(&reads, 1);
    __real_kv_next(iterator);
}

void __wrap_kv_seek(struct kv_iterator *iterator, struct cf_slice key)
{
    atomic_fetch_add(&reads, 1);
    __real_kv_seek(iterator, key);
}

static struct bench *b;

struct costs {
    unsigned start, request, round;
};

/* What it costs with so many leases. */
static struct costs costs_with(unsigned leases)
{
    struct costs costs;
    char token[64], text[512];
    b = bench_new();
    for (unsigned i = 0; i < leases; i++) {
        bench_token(b, "{\"policies\":[\"default\"],\"ttl\":\"24h\"}", token);
    }
    core_sealed(b->core);
    atomic_store(&reads, 0);
    ck_ok(core_state_changed(b->core, b->kv, b->state, b->applied, NULL));
    core_unsealed(b->core, b->keyring);
    core_became_leader(b->core, b->appended);
    costs.start = atomic_exchange(&reads, 0);
    ck_assert_int_eq(bench_call(b, NULL, "GET", "sys/mounts", NULL, "", text), 200);
    costs.request = atomic_exchange(&reads, 0);
    core_background_start(b->core);
    for (int i = 0; i < 10000 && atomic_load(&reads) == 0; i++) {
        struct timespec pause = {0, 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    expirer_stop(b->core->expirer); /* once the round is over */
    costs.round = atomic_exchange(&reads, 0);
    bench_free(b);
    b = NULL;
    return costs;
}

START_TEST(many_leases_cost_what_few_do)
{
    struct costs few = costs_with(10), many = costs_with(3500);
    ck_assert_uint_ge(few.start, 10); /* it is counted */
    ck_assert_uint_ge(few.request, 1);
    ck_assert_uint_ge(few.round, 1);
    ck_assert_uint_eq(many.start, few.start);
    ck_assert_uint_eq(many.request, few.request);
    ck_assert_uint_lt(many.round, 1000); /* a few a round, and a slow machine may fit some rounds in */
}
END_TEST

TEST_MAIN("node/core/lease start", many_leases_cost_what_few_do)
