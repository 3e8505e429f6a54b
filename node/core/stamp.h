/* node/core/stamp.h
 *
 * The leader's time (design 3.7). It advances with the monotonic clock and is slewed, at a bounded rate,
 * towards the median wall clock of the voters. A larger difference raises an alarm and is not followed: a
 * clock that is set wrong, be it the leader's own, expires nothing. Stamps only grow.
 *
 * A leader whose process has not seen the log move knows nothing of the time that passed since the last entry
 * (the whole cluster was down): its first stamp waits for the median of a majority, and takes it. Pure;
 * thread: its owner's.
 */
#ifndef COFFER_CORE_STAMP_H
#define COFFER_CORE_STAMP_H

#include <stdbool.h>
#include <stdint.h>

/* Differences above this are not followed. */
#define STAMP_FOLLOW_NS ((int64_t)60 * 1000000000)
/* Slewing: one part in so many of the time that passes (a second is made up for in 100 seconds). */
#define STAMP_SLEW ((int64_t)100)

struct stamp {
    int64_t last_ns;  /* the newest stamp, given or applied */
    uint64_t last_us; /* monotonic, when it was */
    bool is_known;    /* the log moved under this process: last_ns and the monotonic time since are the time */
    bool has_target;  /* a majority of the voters was heard */
    int64_t target_ns; /* their median wall clock at target_us */
    uint64_t target_us;
    int64_t ahead_ns; /* of the median over the stamps, as of the last one */
    bool is_alarming; /* it is not followed */
};

/* A new leader, with the newest stamp that it applied and when; known: it was applied as it came. */
void stamp_lead(struct stamp *stamp, int64_t applied_ns, uint64_t applied_us, bool known);
/* What the voters' clocks say: median of those heard (of an even number the lower of the two in the middle, so
 * that one clock alone never pulls time forward). */
void stamp_observe(struct stamp *stamp, uint64_t now_us, int64_t median_ns, unsigned heard,
                   unsigned voters);
/* False: no stamp can be given yet. */
bool stamp_is_ready(const struct stamp *stamp);
/* The next one; stamp_is_ready(). */
int64_t stamp_next(struct stamp *stamp, uint64_t now_us);

#endif
