/* node/core/stamp.c: the leader's time. */
#include "node/core/stamp.h"

#include <assert.h>

#include "node/core/mutant.h"


static int64_t passed_ns(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? (int64_t)(to_us - from_us) * 1000 : 0;
}

void stamp_lead(struct stamp *stamp, int64_t applied_ns, uint64_t applied_us, bool known)
{
    if (applied_ns > stamp->last_ns) {
        stamp->last_ns = applied_ns;
        stamp->last_us = applied_us;
    }
    stamp->is_known = known;
    stamp->has_target = false; /* it was of other voters, perhaps */
    stamp->is_alarming = false;
}

void stamp_observe(struct stamp *stamp, uint64_t now_us, int64_t median_ns, unsigned heard,
                   unsigned voters)
{
    stamp->has_target = heard > voters / 2 || REQ_MUTANT(MINORITY_CLOCK);
    stamp->target_ns = median_ns;
    stamp->target_us = now_us;
}

bool stamp_is_ready(const struct stamp *stamp)
{
    return stamp->is_known || stamp->has_target || REQ_MUTANT(FIRST_AT_ONCE);
}

int64_t stamp_next(struct stamp *stamp, uint64_t now_us)
{
    assert(stamp_is_ready(stamp));
    int64_t passed = passed_ns(stamp->last_us, now_us);
    int64_t next = stamp->last_ns + passed;
    if (stamp->has_target) {
        int64_t ahead = stamp->target_ns + passed_ns(stamp->target_us, now_us) - next;
        int64_t most = passed / STAMP_SLEW;
        bool follows = ahead <= STAMP_FOLLOW_NS && ahead >= -STAMP_FOLLOW_NS;
        if (!stamp->is_known && ahead > 0) {
            next += ahead; /* nobody knows better how long the cluster was down */
            ahead = 0;
            follows = true;
        } else if (follows) {
            next += ahead > most ? most : ahead < -most ? -most : ahead;
        }
        stamp->is_alarming = !follows;
        stamp->ahead_ns = ahead;
    }
    stamp->is_known = true;
    stamp->last_ns = next > stamp->last_ns ? next : stamp->last_ns + 1;
    stamp->last_us = now_us;
    return stamp->last_ns;
}
