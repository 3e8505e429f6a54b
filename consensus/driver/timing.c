/* consensus/driver/timing.c: see timing.h. */
#include "consensus/driver/timing.h"

#include "node/cluster/loop.h"

const uint64_t raft_bucket_us[RAFT_BUCKETS - 1] = {
    100,    250,    500,    1000,   2500,    5000,    10000,   25000,
    50000, 100000, 250000, 500000, 1000000, 2500000, 10000000,
};

#define relaxed memory_order_relaxed

static void count(struct timing_histogram *histogram, uint64_t us)
{
    unsigned at = 0;
    while (at < RAFT_BUCKETS - 1 && us > raft_bucket_us[at]) {
        at++;
    }
    atomic_fetch_add_explicit(&histogram->counts[at], 1, relaxed);
    atomic_fetch_add_explicit(&histogram->sum_us, us, relaxed);
    if (us > atomic_load_explicit(&histogram->max_us, relaxed)) {
        atomic_store_explicit(&histogram->max_us, us, relaxed);
    }
}

/* What lies between two steps; threads read the clock apart from each other. */
static void count_since(struct timing *timing, enum raft_step step, uint64_t from_us, uint64_t now_us)
{
    count(&timing->steps[step], now_us > from_us ? now_us - from_us : 0);
}

void timing_appended(struct timing *timing, uint64_t last, uint64_t proposed_us)
{
    if (atomic_load(&timing->index) != 0) {
        return;
    }
    uint64_t now_us = loop_now_us();
    count_since(timing, RAFT_STEP_WAIT, proposed_us, now_us);
    atomic_store_explicit(&timing->proposed_us, proposed_us, relaxed);
    atomic_store_explicit(&timing->appended_us, now_us, relaxed);
    atomic_store_explicit(&timing->committed_us, 0, relaxed);
    atomic_store(&timing->index, last); /* the others look at the rest only after this */
}

void timing_synced(struct timing *timing, uint64_t last, uint64_t took_us)
{
    uint64_t index = atomic_load(&timing->index);
    count(&timing->steps[RAFT_STEP_SYNC], took_us);
    /* In exactly one batch; a later one, or a truncated log, is none of it. */
    if (index != 0 && index <= last &&
        atomic_exchange_explicit(&timing->synced_index, index, relaxed) != index) {
        count_since(timing, RAFT_STEP_DURABLE,
                    atomic_load_explicit(&timing->appended_us, relaxed), loop_now_us());
    }
}

void timing_committed(struct timing *timing, uint64_t last)
{
    uint64_t index = atomic_load(&timing->index);
    if (index != 0 && index <= last &&
        atomic_load_explicit(&timing->committed_us, relaxed) == 0) {
        uint64_t now_us = loop_now_us();
        atomic_store_explicit(&timing->committed_us, now_us, relaxed);
        count_since(timing, RAFT_STEP_COMMIT,
                    atomic_load_explicit(&timing->appended_us, relaxed), now_us);
    }
}

void timing_applied(struct timing *timing, uint64_t last)
{
    uint64_t index = atomic_load(&timing->index);
    if (index == 0 || index > last) {
        return;
    }
    uint64_t now_us = loop_now_us();
    uint64_t committed_us = atomic_load_explicit(&timing->committed_us, relaxed);
    count_since(timing, RAFT_STEP_APPLY, committed_us != 0 ? committed_us : now_us, now_us);
    count_since(timing, RAFT_STEP_PROPOSE, atomic_load_explicit(&timing->proposed_us, relaxed), now_us);
    /* Unless it was given up meanwhile, and another is followed. */
    atomic_compare_exchange_strong(&timing->index, &index, 0);
}

void timing_lost(struct timing *timing)
{
    atomic_store(&timing->index, 0);
}

void timing_read(const struct timing *timing, enum raft_step step, struct raft_histogram *ret)
{
    const struct timing_histogram *from = &timing->steps[step];
    *ret = (struct raft_histogram){.sum_us = atomic_load_explicit(&from->sum_us, relaxed),
                                   .max_us = atomic_load_explicit(&from->max_us, relaxed)};
    for (unsigned i = 0; i < RAFT_BUCKETS; i++) {
        ret->counts[i] = atomic_load_explicit(&from->counts[i], relaxed);
        ret->count += ret->counts[i];
    }
}

uint64_t raft_histogram_us(const struct raft_histogram *histogram, unsigned permille)
{
    uint64_t below = 0, want = (histogram->count * permille + 999) / 1000;
    for (unsigned i = 0; i < RAFT_BUCKETS - 1; i++) {
        below += histogram->counts[i];
        if (below >= want) {
            return raft_bucket_us[i] < histogram->max_us ? raft_bucket_us[i] : histogram->max_us;
        }
    }
    return histogram->max_us;
}
