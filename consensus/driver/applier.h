/* consensus/driver/applier.h
 *
 * The state machine as the driver sees it: a table of functions that node/server fills in, so that
 * consensus knows nothing of requests and node/core nothing of Raft. "Loop" is the thread of the
 * driver's loop, "applier" its applier thread; no function is ever called on both at once.
 */
#ifndef COFFER_CONSENSUS_DRIVER_APPLIER_H
#define COFFER_CONSENSUS_DRIVER_APPLIER_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/core/raft.h"
#include "node/base/status.h"
#include "node/storage/kv.h"

/* One committed entry; payload borrowed for the call. */
struct raft_entry_view {
    uint64_t index, term;
    uint8_t type, flags; /* RAFT_ENTRY_DATA or RAFT_ENTRY_DATA_BATCH */
    struct cf_slice payload;
};

/* How a proposal ended. */
struct raft_outcome {
    /* CF_OK: committed and applied here at (index, term).
     * CF_NOT_LEADER: never appended; leader and leader_address say whom to ask (0, "": unknown).
     * CF_BUSY: never appended, try again. CF_NO_SPACE: never appended, the disk is full.
     * CF_CONFLICT (or whatever else admit returned): never appended.
     * CF_UNKNOWN_OUTCOME: appended, then leadership was lost: it may or may not come to pass.
     * CF_UNAVAILABLE: the driver is stopping; never appended. */
    cf_status status;
    uint64_t index, term;
    uint64_t leader;
    char leader_address[RAFT_ADDRESS_MAX];
    const struct cf_error *err; /* of a refusal; borrowed for the call; may be NULL */
};

/* One command on its way into the log. The caller's memory, from raft_driver_propose until done. */
struct raft_proposal {
    /* Filled in by the caller. */
    uint8_t type;        /* RAFT_ENTRY_DATA or RAFT_ENTRY_DATA_BATCH */
    uint8_t flags;       /* carried with the entry, not interpreted */
    bool frees;          /* removes more than it writes: admitted on a disk that is almost full */
    uint8_t *payload;    /* admit may patch it in place; not touched after the append */
    size_t payload_size; /* at most RAFT_PAYLOAD_MAX */
    /* Exactly once, never from inside raft_driver_propose: on the applier thread when it was
     * applied, else on the loop. It may free the proposal. Must not block. */
    void (*done)(struct raft_proposal *proposal, const struct raft_outcome *outcome);
    void *context; /* the caller's */
    /* The driver's. */
    struct raft_proposal *next;
    uint64_t index, term; /* known from the append on */
};

enum raft_state_reason {
    RAFT_STATE_STARTED,   /* from inside raft_driver_start */
    RAFT_STATE_INSTALLED, /* a snapshot replaced everything: drop all caches and views */
};

struct applier {
    void *context;

    /* Loop, on the leader, at the moment of append: the last check (write window, deadline), and
     * the place to stamp the payload. The entry gets exactly this index and term when it gets one
     * at all. Not CF_OK: the proposal ends with that status. Must be quick and must not wait.
     * Should the append itself be refused afterwards (CF_BUSY), the index is given to another
     * proposal: a write window that remembers it is merely too strict. May be NULL. */
    cf_status (*admit)(void *context, struct raft_proposal *proposal, uint64_t index, uint64_t term,
                       struct cf_error *err);

    /* Any thread: the feature level that a command needs (node/base/level.h), by its payload. The driver refuses
     * entries above its own level, and keeps the highest one with the state. NULL: all need the first one. */
    uint32_t (*level)(void *context, struct cf_slice payload);

    /* Applier: adds the effects of n entries, in order, to the batch. It must depend on nothing but
     * the state before and the entries: after a crash the tail is applied a second time. The driver
     * adds the applied index and commits without WAL. Keys must not begin with a zero byte. An
     * error ends the process: committed entries can't be refused. CF_UNAVAILABLE: the node is stopping, and what the
     * entries need is not there: nothing is applied any more. */
    cf_status (*apply)(void *context, const struct raft_entry_view *entries, size_t n,
                       struct kv_batch *batch, struct cf_error *err);

    /* Applier, right after that commit: everything up to index is in the state. Publish the view
     * here; proposals and reads that wait for it are answered when this returns. Also called for
     * runs without any command (index alone moves on). */
    void (*applied)(void *context, uint64_t index, uint64_t term);

    /* Whoever keeps a sum over the state while applying saves the driver a scan of all of it each time the
     * nodes are compared. capture: applier, between two runs: the sum at exactly this index will be asked
     * for; must be quick. sum: the digest's own thread, for the last index that was captured: what digest.c
     * describes, over all keys past the reserved ones. Not CF_OK: `scan`. Both or neither NULL. */
    void (*capture)(void *context, uint64_t index);
    cf_status (*sum)(void *context, uint64_t index, uint64_t *ret_sum, uint64_t *ret_records,
                     struct cf_error *err);
    /* The digest's own thread: the same sum by reading everything, for an applier whose family holds more than its state:
     * what was put there past the log (the files of a copy that will be switched to) is no part of it before an entry says
     * so, and appears in older snapshots, too. Ends soon with CF_UNAVAILABLE when *stop. NULL: the driver's own scan, over
     * all keys. */
    cf_status (*scan)(void *context, struct kv_view view, struct kv_family *state, const atomic_bool *stop,
                      uint64_t *ret_sum, uint64_t *ret_records, struct cf_error *err);

    /* The state is this family from here on, at exactly (index, term); take a reference to keep it.
     * For RAFT_STATE_STARTED on the thread inside raft_driver_start, else on the applier. */
    void (*state_changed)(void *context, struct kv_family *state, uint64_t index, uint64_t term,
                          enum raft_state_reason reason);

    /* Loop: role, term, leader or the leader's address changed (leader 0, address "": unknown;
     * borrowed). May be NULL. */
    void (*role)(void *context, enum raft_role role, uint64_t term, uint64_t leader,
                 const char *leader_address);

    /* Loop, once for each term that this node leads, before the first admit of that term:
     * everything up to last_index is in the log and applied here, so the write window starts empty
     * at last_index. May be NULL. */
    void (*became_leader)(void *context, uint64_t term, uint64_t last_index);
};

#endif
