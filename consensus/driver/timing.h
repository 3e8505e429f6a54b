/* consensus/driver/timing.h
 *
 * How long the steps of a write take (consensus.md 17), in buckets. One write at a time is followed,
 * the last of its chunk: each step costs the hot path one atomic load, and a clock only for that one.
 * Who counts is one thread for each histogram, so nothing locks; anybody may read.
 *
 *   proposed --wait--> appended --durable--> synced here
 *                          +------commit---> a quorum has it, and we --apply--> in the state
 *   proposed --------------------------------propose--------------------------> in the state
 */
#ifndef COFFER_CONSENSUS_DRIVER_TIMING_H
#define COFFER_CONSENSUS_DRIVER_TIMING_H

#include <stdatomic.h>
#include <stdint.h>

enum raft_step { RAFT_STEP_WAIT, RAFT_STEP_DURABLE, RAFT_STEP_COMMIT, RAFT_STEP_APPLY, RAFT_STEP_PROPOSE,
                 RAFT_STEP_SYNC, RAFT_STEPS };
/* Of all writes that were followed (RAFT_STEP_SYNC: of all syncs), in buckets that end at
 * raft_bucket_us; the last one has no end. */
#define RAFT_BUCKETS 16
extern const uint64_t raft_bucket_us[RAFT_BUCKETS - 1];

struct raft_histogram {
    uint64_t counts[RAFT_BUCKETS];
    uint64_t count, sum_us, max_us;
};
/* The upper end of the bucket that the given part (0..1000) of all lies below; the last one: the longest. */
uint64_t raft_histogram_us(const struct raft_histogram *histogram, unsigned permille);

/* ---- the driver's */

struct timing_histogram {
    _Atomic uint64_t counts[RAFT_BUCKETS], sum_us, max_us;
};

struct timing {
    _Atomic uint64_t index; /* of the write that is followed; 0: none */
    _Atomic uint64_t proposed_us, appended_us, committed_us, synced_index;
    struct timing_histogram steps[RAFT_STEPS];
};

/* Loop: entries up to `last` were appended; the oldest of them was proposed at that time. */
void timing_appended(struct timing *timing, uint64_t last, uint64_t proposed_us);
/* Log writer: a batch is synced, `last` is its highest entry (0: none). */
void timing_synced(struct timing *timing, uint64_t last, uint64_t took_us);
/* Loop: everything up to `last` may be applied. */
void timing_committed(struct timing *timing, uint64_t last);
/* Applier: everything up to `last` is in the state. */
void timing_applied(struct timing *timing, uint64_t last);
/* Loop: what is followed may never end. */
void timing_lost(struct timing *timing);
void timing_read(const struct timing *timing, enum raft_step step, struct raft_histogram *ret);

#endif
