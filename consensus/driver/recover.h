/* consensus/driver/recover.h
 *
 * When a majority of a cluster is gone for good: the store of one surviving node, while no server uses
 * it, is made that of a cluster of one. A configuration entry goes to the end of its log, and a new
 * recovery epoch into its identity: nodes of another epoch are refused, so that the old majority, should
 * it wake up, cannot merge back (consensus.md 9).
 *
 * Exactly one node is recovered; the others join it as new ones. Two recovered apart from each other
 * have different epochs, too. Thread: any, one at a time.
 */
#ifndef COFFER_CONSENSUS_DRIVER_RECOVER_H
#define COFFER_CONSENSUS_DRIVER_RECOVER_H

#include "consensus/driver/store.h"

struct cf_random;

/* The terms of the lost majority may have gone on without this node: what it writes from now on must
 * not carry one that was used there, as those who follow the log tell entries apart by term and index. */
#define RAFT_RECOVERY_TERMS 1000

struct raft_recovery {
    /* What is there. */
    struct raft_identity identity;
    struct raft_membership members; /* the newest configuration, joint perhaps */
    uint64_t term, last_index, last_term, applied;
    uint64_t commit; /* known to be committed: what follows it was perhaps never acknowledged */
    /* What comes. */
    uint64_t epoch, entry_index, entry_term;
    struct raft_membership next;
};

/* How often an identity was recovered: the ordered part of an epoch; the rest is random. */
uint64_t raft_epoch_generation(uint64_t epoch);

/* Reads, and writes nothing. The node becomes the only voter, under `address` and `name`.
 * CF_UNINITIALIZED: the store belongs to no cluster; CF_CORRUPT: the log or the state is damaged, or
 * the log ends before the state; CF_INVALID: the node never heard of its cluster's members. */
CF_CHECKED cf_status raft_recovery_plan(struct raft_store *store, const struct cf_random *random,
                                        const char *address, const char *name,
                                        struct raft_recovery *ret, struct cf_error *err);
/* One synced batch: all of it or nothing. The store is of no use afterwards but to be closed. */
CF_CHECKED cf_status raft_recovery_write(struct raft_store *store,
                                         const struct raft_recovery *recovery,
                                         struct cf_error *err);

#endif
