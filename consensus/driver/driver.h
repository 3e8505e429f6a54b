/* consensus/driver/driver.h
 *
 * Runs one Raft node: owns the core and does what its readies say. Three threads beside the loop:
 * the log writer (everything that waits goes into one batch and one sync), the applier (committed
 * and locally durable entries go into the state in batches), and the carer (flushes, reads for
 * followers that lag, snapshots). Everything on them comes back to the loop in batches.
 *
 *   propose -> [queue] -> loop: admit, core -> log writer: one sync --+--> loop: commit -> applier
 *                              \--> APPEND to peers (in parallel) ---/        effects, applied,
 * done
 */
#ifndef COFFER_CONSENSUS_DRIVER_DRIVER_H
#define COFFER_CONSENSUS_DRIVER_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/core/autopilot.h"
#include "consensus/core/raft.h"
#include "consensus/driver/applier.h"
#include "consensus/driver/store.h"
#include "consensus/driver/timing.h"
#include "consensus/driver/transport.h"
#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"

struct loop;
struct raft_driver;

/* Exit statuses of a driver that had to end the process (sysexits.h: EX_IOERR, EX_DATAERR). */
#define RAFT_EXIT_DISK 74    /* a write or sync failed, or the disk hung */
#define RAFT_EXIT_CORRUPT 65 /* what is stored can't be applied */

struct raft_driver_options {
    struct loop *loop;        /* borrowed; the driver lives on its thread */
    struct raft_store *store; /* borrowed; has an identity */
    struct applier applier;   /* copied */
    uint64_t seed;            /* random: the core's timers and the incarnation come from it */
    uint32_t features; /* feature level of this node; 0: that of the build (node/base/level.h) */
    uint32_t condition;       /* RAFT_SEALED at the start? */
    /* The rest may be 0: defaults. */
    uint64_t heartbeat_us, election_us; /* 50 ms, 500 ms */
    /* A learner that kept up that long becomes a voter. 0: nothing is promoted or removed before
     * raft_driver_set_autopilot() was called in this leadership; UINT64_MAX: never by itself. */
    uint64_t promote_after_us;
    uint64_t trailing_entries,
        trailing_bytes;             /* of log kept: 20,000 and 64 MiB, whichever is more */
    uint64_t log_bytes_max;         /* hard cap that beats the floor: 1 GiB */
    uint64_t purge_early_us;        /* raft_driver_purge waits so long for views to go, or rewrites twice: 30 s */
    uint64_t flush_bytes, flush_us; /* state is flushed after 256 MiB of log, or 60 s when dirty */
    uint64_t tail_entries, tail_bytes; /* hot tail in memory: 8192 and 16 MiB */
    uint64_t snapshot_chunk_bytes;     /* 256 KiB */
    uint64_t snapshot_bytes_per_s;     /* to one follower; 128 MiB/s, half of it while the log is slow */
    uint64_t digest_us;                /* the nodes' states are compared that often: 20 s */
    bool state_wal;                    /* the state goes through the WAL, too (consensus.md 11, A) */
    /* Called instead of ending the process; for tests. It must not return to the driver's business:
     * nothing more may be answered. */
    void (*fatal)(void *context, int exit_status, const struct cf_error *err);
    void *fatal_context;
};

/* Reads what the store holds, starts the threads, calls state_changed; the core ticks from here on.
 * On the loop's thread, or before the loop runs. CF_UNINITIALIZED without an identity; CF_CORRUPT.
 */
CF_CHECKED cf_status raft_driver_start(const struct raft_driver_options *options,
                                       struct raft_driver **ret, struct cf_error *err);
/* Loop. Answers everything that waits (CF_UNAVAILABLE; CF_UNKNOWN_OUTCOME for what was appended),
 * ends the threads, flushes the state. Hand leadership over first. NULL is fine. */
void raft_driver_free(struct raft_driver *driver);
CF_DEFINE_OWNED(raft_driver);

/* Bytes that must be free on a disk of that size for a new driver to take proposals. */
uint64_t raft_driver_space_needed(uint64_t total);

/* ---- network (loop) ------------------------------------------------------------------------- */

/* Before the first message, and again after a change (NULL: none any more; a sole voter needs
 * none). Copied. */
void raft_driver_set_transport(struct raft_driver *driver, const struct raft_transport *transport);
/* A frame from a peer whose certificate says that it is node `from`. Nonsense and frames of another
 * cluster, epoch, recipient or sender are dropped and counted. Borrowed for the call. */
void raft_driver_receive(struct raft_driver *driver, uint64_t from, struct cf_slice frame);
/* The connection to this peer broke. */
void raft_driver_unreachable(struct raft_driver *driver, uint64_t peer);

/* ---- proposals and reads (any thread) ---------------------------------------------------------
 */

/* CF_OK: queued, `done` will come. CF_BUSY: the queue is full; CF_TOO_LARGE; CF_UNAVAILABLE:
 * stopping: nothing was queued and done will not come. */
CF_CHECKED cf_status raft_driver_propose(struct raft_driver *driver, struct raft_proposal *proposal,
                                         struct cf_error *err);

/* One waiting read. The caller's memory, until done. */
struct raft_read {
    /* CF_OK: everything that was acknowledged anywhere before the call is applied here, up to
     * index. CF_NOT_LEADER, CF_TIMEOUT: try again; CF_BUSY; CF_UNAVAILABLE: no leader known, or
     * stopping. Exactly once, never from inside the call: on the loop or the applier thread. Must
     * not block. */
    void (*done)(struct raft_read *read, cf_status status, uint64_t index);
    void *context;
    /* The driver's. */
    struct raft_read *next;
    uint64_t index;
};

/* A linearizable read begins; on any node. All that wait share one round. */
void raft_driver_read_index(struct raft_driver *driver, struct raft_read *read);
/* True: this node alone decides, and whatever is applied now is all that was ever acknowledged, so
 * a view taken after this call is linearizable without a round. A few atomic loads. */
bool raft_driver_read_ready_now(const struct raft_driver *driver);
/* done comes once applied >= index (CF_OK), or when the driver stops; a session's read. */
void raft_driver_wait_applied(struct raft_driver *driver, struct raft_read *read, uint64_t index);

/* ---- status (any thread) ----------------------------------------------------------------------
 */

struct raft_peer_info {
    uint64_t id;
    uint8_t role; /* RAFT_VOTER, RAFT_LEARNER, RAFT_OUTGOING */
    char address[RAFT_ADDRESS_MAX], name[RAFT_NAME_MAX];
    /* On a leader, else 0. */
    uint64_t match, last_index;
    uint64_t heard_us; /* loop_now_us() of the last message; 0: never */
    /* How far it is behind our log: in bytes about, in time since we had more than it has (exact to a tick,
     * and no more than the last minute or so). */
    uint64_t lag_entries, lag_bytes, lag_us;
    uint32_t condition, features;
    bool is_non_voter; /* a learner that is to stay one */
    enum raft_peer_state state;
};

struct raft_driver_status {
    uint64_t id;
    enum raft_role role;
    bool leader_ready; /* leads, and takes proposals */
    bool removed;
    uint64_t superseded; /* recovery epoch of the cluster that went on without this node; 0: none */
    uint32_t condition;
    uint64_t term, leader, commit, applied, flushed, last_index, last_term, first_index;
    char leader_address[RAFT_ADDRESS_MAX];
    uint64_t leader_heard_us; /* loop_now_us() of the last contact with the leader; 0: never */
    uint64_t contact_us;      /* loop_now_us() when this node led or heard its leader last; never: since its start */
    uint64_t floor;           /* of replication, as known here */
    bool disk_full;             /* proposals are refused that don't free room */
    uint64_t disk_left, disk_total;
    bool damaged;           /* stored data fails its checksum, and nobody else has it */
    uint64_t corruptions;   /* how often that was met */
    uint64_t crc_failures;  /* entries whose checksum did not fit, from the wire or in memory */
    /* The comparison of states: this node's differs; states differ and no majority agrees (writes
     * are refused); how many sums were made here and, on a leader, how many did not agree. */
    bool diverged, digest_split;
    uint64_t digests, digest_mismatches, digest_index;
    /* Feature levels: of this build, in force, and what reading this node's state takes. */
    uint32_t feature_level, level, state_level;
    uint64_t disk_stalls; /* how often leadership was given up for it */
    uint64_t late_us_max, lates; /* how late the loop was at most, and how often for half an election timeout */
    uint64_t queue_entries, queue_bytes; /* proposals that wait for the loop */
    uint64_t log_bytes, log_bytes_max;
    struct raft_counters counters;
    uint64_t frames_refused, proposals, writes, syncs, write_us_max, oldest_write_us;
    bool snapshot_receiving;
    uint64_t snapshot_bytes; /* of the transfer under way, received */
    size_t peer_count;       /* members of the configuration, this node included */
    struct raft_peer_info peers[RAFT_MEMBERS_MAX];
};
/* How long the steps of writes took since the start; any thread. */
void raft_driver_timing(const struct raft_driver *driver, enum raft_step step, struct raft_histogram *ret);
/* At most a tick (100 ms) old, except applied, which is exact. */
void raft_driver_status(struct raft_driver *driver, struct raft_driver_status *ret);
/* Wall clocks of the voters, as their heartbeats told within the last five seconds (design 3.7). */
struct raft_clocks {
    int64_t median_ns; /* of (theirs - ours), ours counted as 0: what a stamp is slewed towards */
    int64_t spread_ns; /* largest difference to ours */
    unsigned heard, voters; /* heard includes this node when it votes */
};
void raft_driver_clocks(struct raft_driver *driver, struct raft_clocks *ret);
/* The feature level in force: nothing above it may be proposed or said (level.c). Exact on the loop. */
uint32_t raft_driver_level(const struct raft_driver *driver);
/* Exact; one atomic load each. leader 0: unknown. */
uint64_t raft_driver_applied(const struct raft_driver *driver);
bool raft_driver_is_leader(const struct raft_driver *driver); /* leads and takes proposals */
uint64_t raft_driver_term(const struct raft_driver *driver);
uint64_t raft_driver_leader(const struct raft_driver *driver);

/* ---- membership and leadership (loop) ---------------------------------------------------------
 */

/* Ends a change: CF_OK once it is applied here; CF_UNKNOWN_OUTCOME when leadership was lost before.
 * err: borrowed for the call, may be NULL. On the loop, never from inside the call. */
typedef void (*raft_change_fn)(void *context, cf_status status, const struct cf_error *err);

/* Adds a node as a learner; autopilot makes it a voter. A known id: address and name are replaced,
 * and never its role; what is in force already is CF_OK once it is applied. Immediate refusals: CF_NOT_LEADER, CF_BUSY (another
 * change is pending), CF_INVALID; then done does not come. */
CF_CHECKED cf_status raft_driver_add(struct raft_driver *driver, uint64_t id, const char *address,
                                     const char *name, uint32_t features, raft_change_fn done,
                                     void *context, struct cf_error *err);
/* A learner becomes a voter now. CF_NOT_FOUND, CF_EXISTS, and as raft_driver_add. */
CF_CHECKED cf_status raft_driver_promote(struct raft_driver *driver, uint64_t id,
                                         raft_change_fn done, void *context, struct cf_error *err);
/* CF_NOT_FOUND; CF_INVALID for the last voter; and as raft_driver_add. */
CF_CHECKED cf_status raft_driver_remove(struct raft_driver *driver, uint64_t id,
                                        raft_change_fn done, void *context, struct cf_error *err);
/* In one (joint) change: `old` goes, and the node `id` comes with its vote, or as a learner. For a
 * node that lost its disk: the caller has made sure that `old` will never be back. As
 * raft_driver_add, and CF_NOT_FOUND. */
CF_CHECKED cf_status raft_driver_replace(struct raft_driver *driver, uint64_t old, uint64_t id,
                                         const char *address, const char *name, uint32_t features,
                                         bool as_learner, raft_change_fn done, void *context,
                                         struct cf_error *err);
/* What autopilot works with from now on, and the members that must never vote (count at most
 * RAFT_MEMBERS_MAX). A leader is told anew in each leadership. */
void raft_driver_set_autopilot(struct raft_driver *driver, const struct autopilot_config *config,
                               const uint64_t *non_voters, size_t count);
/* Any thread: what it last saw; since_us is 0 where this node does not lead. */
void raft_driver_autopilot(struct raft_driver *driver, struct autopilot *ret);
/* Hands leadership over (to 0: the best voter). done: CF_OK when this node does not lead any more,
 * CF_TIMEOUT when it still does after the election timeout. CF_NOT_LEADER, CF_UNAVAILABLE (nobody
 * would do), CF_BUSY, CF_INVALID: done does not come. */
CF_CHECKED cf_status raft_driver_transfer(struct raft_driver *driver, uint64_t to,
                                          raft_change_fn done, void *context, struct cf_error *err);
/* RAFT_SEALED on or off. */
void raft_driver_set_sealed(struct raft_driver *driver, bool sealed);

/* ---- what must not stay on the disk (loop) ----------------------------------------------------
 */

/* Of entries up to `index` (applied), and of what was deleted from the state up to there, nothing stays in files: the
 * log is cut there once nobody needs it (followers, the floor), whatever its trailing part is, and files are rewritten
 * in the background. snapshot: kv_snapshot_number of one that was made after `index` was applied. Done once for an
 * index, also over restarts; may be said again. */
void raft_driver_purge(struct raft_driver *driver, uint64_t index, uint64_t snapshot);

/* ---- the log for replication (any thread) ------------------------------------------------------
 */

/* The log is not cut above index, as long as it is below its hard cap. 0: keep everything that is
 * there; UINT64_MAX (at the start): nobody needs it. For a leader, whose heartbeats carry it to all
 * nodes; a node that becomes leader goes on with the floor that it was told last. On another node it
 * holds until its leader is heard. */
void raft_driver_set_floor(struct raft_driver *driver, uint64_t index);
/* What holds now. Loop. */
uint64_t raft_driver_floor(const struct raft_driver *driver);

struct raft_log_run {
    struct raft_entry **entries; /* referenced */
    size_t count;
};
/* Applied entries from `from` on, all types, as many as fit in max_bytes and at least one; count 0
 * when from is past the applied index. CF_NOT_FOUND: compacted (or a snapshot replaced it). May
 * read from disk. */
CF_CHECKED cf_status raft_driver_log_read(struct raft_driver *driver, uint64_t from,
                                          size_t max_bytes, struct raft_log_run *ret,
                                          struct cf_error *err);
void raft_log_run_done(struct raft_log_run *run);
/* Term of an applied entry (the base's, too). CF_NOT_FOUND. */
CF_CHECKED cf_status raft_driver_log_term(struct raft_driver *driver, uint64_t index, uint64_t *ret,
                                          struct cf_error *err);
/* Index of the oldest entry that can be read. */
uint64_t raft_driver_log_first(const struct raft_driver *driver);
/* Index of the newest entry that went because the log had reached log_bytes_max, whoever still needed it; 0: none
 * since the start. */
uint64_t raft_driver_log_capped(const struct raft_driver *driver);

#endif
