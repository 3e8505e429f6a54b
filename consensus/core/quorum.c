/* consensus/core/quorum.c: majorities, in one place (consensus.md section 7). */
#include "consensus/core/raft_int.h"

/* The value that a majority of the members with this role bit reaches. `none` when there are none.
 */
static uint64_t half(const struct raft_membership *m, const uint64_t *values, uint8_t role,
                     uint64_t none)
{
    uint64_t sorted[RAFT_MEMBERS_MAX]; /* descending */
    unsigned count = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if ((m->members[i].role & role) == 0) {
            continue;
        }
        unsigned at = count++;
        while (at > 0 && sorted[at - 1] < values[i]) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = values[i];
    }
    return count == 0 ? none : sorted[count / 2];
}

uint64_t raft_quorum_value(const struct raft_membership *m, const uint64_t *values)
{
    uint8_t counted = RAFT_VOTER;
    if (MUTANT(MUTANT_LEARNER_COUNTS)) {
        counted |= RAFT_LEARNER;
    }
    uint64_t incoming = half(m, values, counted, 0);
    uint64_t outgoing = half(m, values, RAFT_OUTGOING, UINT64_MAX);
    if (MUTANT(MUTANT_JOINT_ONE_MAJORITY)) {
        return incoming;
    }
    return incoming < outgoing ? incoming : outgoing;
}
