/* consensus/driver/driver_int.h
 *
 * The driver's parts and what they share. Fields say which thread they belong to; "loop" needs no
 * lock. Each file below has one idea:
 *   driver.c    start, stop, what a ready asks for, timers
 *   frames.c    frames out and in
 *   health.c    a disk that hangs or is full
 *   propose.c   proposals on their way in and out
 *   reads.c     reads that wait
 *   writer.c    the log writer thread
 *   apply.c     the applier thread
 *   retention.c flushing, cutting, reading the log
 *   change.c    membership and leadership changes
 *   autopilot.c which of them the leader makes by itself
 *   level.c     feature levels
 *   status.c    what others may see
 *   snap_send.c, snap_receive.c   snapshots
 */
#ifndef COFFER_CONSENSUS_DRIVER_INT_H
#define COFFER_CONSENSUS_DRIVER_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "consensus/core/autopilot.h"
#include "consensus/driver/driver.h"
#include "consensus/driver/tail.h"
#include "consensus/driver/wire.h"
#include "consensus/driver/worker.h"
#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/cluster/loop.h"

#define TICK_US ((uint64_t)100 * 1000) /* of the driver's own housekeeping */
#define QUEUE_ENTRIES_MAX 16384        /* proposals that wait for the loop */
#define QUEUE_BYTES_MAX ((size_t)64 << 20)
#define HOLD_BYTES ((size_t)256 << 10) /* proposals below that wait for the log writer */
#define GATHER_MIN 16 /* writes at a time, below that groups are not waited for */
#define GATHER_US_MAX ((uint64_t)2000)
#define CHUNK_ENTRIES_MAX 1024 /* proposals in one append */
#define CHUNK_BYTES_MAX ((size_t)1 << 20)
#define APPLY_ENTRIES_MAX 512 /* entries in one batch of effects */
#define APPLY_BYTES_MAX ((size_t)4 << 20)
#define WRITE_BYTES_MAX ((size_t)16 << 20) /* of one batch of the log writer */

/* ---- log writer */

/* One write of the core, or a compaction. Owned by the driver; entries referenced. */
struct write_item {
    struct write_item *next;
    uint64_t id, term; /* id 0: a compaction */
    struct raft_store_write write;
    struct raft_base base; /* of install or compact */
    struct raft_hard_state hard_state;
    size_t bytes;
    uint64_t queued_us;
};

struct writer {
    pthread_t thread;
    pthread_mutex_t lock; /* guards the two lists, stop, posted */
    pthread_cond_t wake;
    struct write_item *waiting, **waiting_tail;
    struct write_item *finished, **finished_tail;
    bool stop, posted;
    unsigned under_way; /* items pushed and not yet told; the loop's */
    struct loop_task task;
    atomic_uint_fast64_t busy_since_us; /* of the write under way; 0: idle */
    atomic_uint_fast64_t writes, write_us_max, write_us_sum; /* the sum before the count */
    atomic_uint_fast64_t write_us_last;
};

/* ---- groups of proposals; propose.c */

struct gather {
    uint64_t rests_us;   /* as the queue was told */
    uint64_t until_us;   /* the group after the last write waits no longer */
    size_t at_once;      /* 1/16: writes that were on their way together, lately */
    struct loop_timer *timer; /* for proposals that nobody follows */
};

/* ---- applier */

struct apply {
    pthread_t thread;
    pthread_mutex_t lock; /* guards target, paused, idle, switch_*, stop */
    pthread_cond_t wake;
    uint64_t target; /* apply up to here */
    bool paused, stop, started;
    bool idle;                   /* waits; nothing of the old state is in use */
    struct kv_family *switch_to; /* not NULL: take this state at switch_base */
    struct raft_applied switch_at;
    atomic_bool posted, eager; /* eager: the loop wants to hear of each run */
    struct loop_task task;     /* progress, to the loop */
    /* The thread's own. */
    struct kv_family *state;
    struct raft_applied at;
    uint32_t level; /* that reading the state takes */
    struct kv_batch *batch;
};

/* ---- the way of an install: the applier rests, the switch is written, the applier goes on */

enum install_phase { INSTALL_NONE, INSTALL_PAUSING, INSTALL_WRITING, INSTALL_SWITCHING };

/* ---- snapshots */

struct snap_send;    /* snap_send.c */
struct snap_receive; /* snap_receive.c */
#define SNAP_SENDS_MAX 2

/* Room on the disk; health.c. */
enum space_level { SPACE_ENOUGH, SPACE_IS_LOW, SPACE_IS_GONE };

/* Comparison of the nodes' states; digest.c. */
struct digest_sum {
    uint64_t index, sum, records;
};
struct digest {
    atomic_uint_fast64_t wants; /* the index to take a snapshot at; 0: none */
    atomic_bool is_captured;    /* the applier has filled in the three below; the loop clears it */
    struct kv_snapshot *snapshot;
    struct kv_family *family;
    uint64_t captured;
    /* Of the job. */
    struct raft_worker *worker;
    struct raft_job job;
    struct kv *kv;
    const struct applier *applier;
    atomic_bool stop;
    bool result_ok;
    struct digest_sum result;
    uint64_t result_us;
    /* Loop. */
    uint64_t took_us;
    bool busy, is_diverged, is_split; /* split: states differ, and no majority agrees */
    struct digest_sum own, verdict;
    uint64_t ask, asked_us, seen_index, alarm_index, mismatches, count;
    struct {
        uint64_t id;
        struct digest_sum sum;
    } peers[RAFT_MEMBERS_MAX];
};

/* Feature levels; level.c. Loop. */
struct levels {
    struct {
        uint64_t id;
        uint32_t features;
    } heard[RAFT_MEMBERS_MAX]; /* as the nodes say in their frames, in the term that this node leads */
    size_t next;
    uint64_t term;
    bool is_behind; /* the configuration is at a level that this build does not know */
    uint64_t refused_us;
};

/* A run of entries that a lagging follower needs, read by a worker. */
#define FETCHES_MAX 4
struct fetch {
    struct raft_job job;
    struct raft_driver *driver;
    bool busy;
    uint64_t from, used_us;
    size_t count;
    struct raft_entry *entries[CHUNK_ENTRIES_MAX];
    cf_status status;
};

/* How many bytes the log has up to an index, every so often. */
/* The log ended at `index` from then on. */
struct age {
    uint64_t index, us;
};
#define AGES_MAX 600 /* ticks: a minute */

struct mark {
    uint64_t index, bytes;
};

struct change {
    raft_change_fn done;
    void *context;
    uint64_t index; /* of the CONFIG entry; 0: none is pending */
};

/* What has to go from the disk (purge.c). */
struct purge {
    uint64_t index;  /* 0: nothing */
    uint64_t cut_at; /* the last entry of a file, at or behind index; 0: no file was ended there yet */
    uint64_t snapshot, asked_us; /* a number, of a snapshot that sees nothing of it any more; when it was asked for */
    uint64_t done_index;        /* up to where it was done */
    bool is_known;  /* what earlier runs of the process did was looked up: done_index holds it */
    bool is_busy;   /* job is under way, for what was wanted up to job_index */
    uint64_t job_index, job_cut, ended_at;
    bool is_last;   /* of the job: nothing sees any more what was deleted */
    bool is_early;  /* files were rewritten while something did */
    cf_status status;
    struct raft_worker *worker;
    struct raft_job job;
};

struct raft_driver {
    struct raft_driver_options options;
    struct loop *loop;
    struct raft_store *store;
    struct applier applier;
    struct raft_identity identity;
    uint64_t incarnation;
    struct cf_prng prng; /* loop */
    struct raft *raft;   /* loop */
    struct raft_transport transport;
    bool has_transport;
    struct raft_tail *tail;
    struct loop_timer *core_timer, *tick_timer;
    struct raft_worker *carer, *fetcher; /* blocking work: flushes and staging; reads */
    bool stopping, pumping, pump_again;

    struct writer writer;
    struct apply apply;
    struct timing timing;
    enum install_phase install;           /* loop */
    struct write_item *held, **held_tail; /* writes that wait for an install to end; loop */

    /* Proposals and reads. */
    pthread_mutex_t queue_lock; /* guards what follows, to queue_rests_count */
    struct raft_proposal *queue, **queue_tail;
    size_t queue_count, queue_bytes;
    bool queue_closed;
    bool queue_told; /* propose_task stands in the loop's queue, whoever takes the proposals first */
    uint64_t queue_since_us; /* when the first in the queue came */
    uint64_t parked_since_us; /* loop: so of those that wait to be appended */
    /* The loop takes it by itself: nobody wakes it before that time (UINT64_MAX: the end of the write under
     * way), while there are fewer. */
    uint64_t queue_rests_us;
    size_t queue_rests_count;
    struct gather gather; /* loop */
    struct loop_task propose_task;
    pthread_mutex_t read_lock; /* guards reads, answers, read_posted */
    struct raft_read *reads, **reads_tail;
    struct raft_read *answers, **answers_tail; /* CF_OK, to be told on the loop */
    bool read_posted;
    atomic_bool closed;
    struct loop_task read_task;
    struct raft_proposal *parked, **parked_tail; /* loop: until leadership is usable or gone */
    struct cf_buf scratch;                       /* loop: frames */
    pthread_mutex_t pending_lock;                /* guards pending: appended, not applied */
    struct raft_proposal *pending, **pending_tail;
    pthread_mutex_t wait_lock; /* guards waiting: sorted by index */
    struct raft_read *waiting, *waiting_last;
    struct read_batch *read_batches; /* loop: rounds under way */
    uint64_t read_cookie;

    /* Leadership, as others may ask; written by the loop. */
    atomic_bool accepting, read_now;
    atomic_uint_fast64_t term, leader, applied, first_index, capped;
    uint64_t ready_term, ready_index; /* loop: this term's first usable commit */
    uint64_t announced_term;          /* loop: became_leader was called for it */
    struct raft_soft_state soft;      /* loop */
    /* Loop: what applier.role was told last. */
    bool announced_once;
    struct raft_soft_state announced;
    char announced_address[RAFT_ADDRESS_MAX];

    /* Retention. */
    atomic_uint_fast64_t floor;   /* of our own replication */
    uint64_t floor_leader;        /* as heard in heartbeats; loop */
    atomic_uint_fast64_t flushed; /* applied index on disk */
    atomic_uint_fast64_t unflushed_bytes;
    uint64_t dirty_since_us; /* loop; 0: nothing to flush */
    bool flushing;
    struct raft_job flush_job;
    bool dropping; /* loop: drop_job is under way, for entries up to drop_index */
    uint64_t drop_index;
    struct raft_job drop_job;
    struct raft_applied flushed_now; /* result of the job */
    struct purge purge;              /* loop */
    struct age ages[AGES_MAX];       /* loop: of the end of the log, a tick each, the latest last */
    uint64_t contact_us; /* raft_driver_status.contact_us */
    size_t age_count;
    struct mark *marks;              /* loop */
    size_t mark_count, mark_capacity;
    uint64_t log_bytes; /* loop */
    struct fetch fetches[FETCHES_MAX];

    struct change change;         /* loop */
    raft_change_fn transfer_done; /* loop */
    void *transfer_context;
    /* Loop; since_us 0: this node does not lead. */
    struct autopilot autopilot;
    bool autopilot_told; /* raft_driver_set_autopilot() came in this leadership */
    uint64_t non_voters[RAFT_MEMBERS_MAX];
    size_t non_voter_count;
    struct autopilot autopilot_now; /* guarded by status_lock */

    struct snap_send *sends[SNAP_SENDS_MAX];
    uint64_t paced_writes, paced_write_us; /* loop: of the writer, at the last tick */
    uint64_t quiet_write_us; /* loop: a write of the log without a transfer, about; 0: unknown */
    struct snap_receive *receive;
    uint64_t snap_failed[SNAP_SENDS_MAX + RAFT_MEMBERS_MAX]; /* to be told after the ready */
    size_t snap_failed_count;

    uint64_t lost[RAFT_MEMBERS_MAX]; /* peers that a message could not be sent to */
    size_t lost_count;

    struct {
        uint64_t id, heard_us;
        int64_t offset_ns;
    } clocks[RAFT_MEMBERS_MAX];    /* loop: of peers, as last heard */
    struct raft_clocks clocks_now; /* guarded by status_lock */

    struct digest digest;
    struct levels levels;
    atomic_uint_fast32_t level, state_level; /* in force; of what was applied */
    /* health.c; loop. */
    uint32_t lost_condition; /* as others told of a loss */
    bool recovering, recovered_busy; /* recovering: the store says so */
    struct raft_job recovered_job;
    uint64_t corruptions, losses; /* as seen last */
    bool damaged;
    uint64_t stalled_us, stalled_write_us, stalls, last_tick_us;
    /* How late the loop was: at most in the last second or so, ever, and how often for half an election timeout. */
    uint64_t late_us, late_at_us, late_us_max, lates, late_told_us;
    enum space_level space;
    uint64_t space_left, space_total, space_admitted; /* admitted: since the last look */
    bool ballast_held, ballast_busy;
    uint64_t ballast_tried_us;
    uint64_t ballast_bytes; /* of the job under way, whose thread reads it */
    cf_status ballast_status;
    struct raft_job ballast_job;
    atomic_uint_fast64_t superseded; /* the newer recovery epoch that this node was refused by; 0 */
    struct raft_job superseded_job;
    uint64_t epoch_logged_us, epoch_told_us; /* loop: the last word about peers of another epoch */

    atomic_uint_fast64_t crc_failures; /* entries whose sum did not fit: from the wire, or in memory */
    uint32_t condition; /* host's part: RAFT_SEALED, RAFT_STALLED */
    atomic_uint_fast64_t proposals;
    uint64_t frames_refused;
    pthread_mutex_t status_lock;
    struct raft_driver_status status; /* guarded */
};

/* driver.c */
void driver_pump(struct raft_driver *driver); /* loop: do what the core asks for */
_Noreturn void driver_exit(int exit_status, const struct cf_error *err);
/* Ends the process (or calls options.fatal and returns: the caller stops its work). Any thread. */
void driver_fatal(struct raft_driver *driver, int exit_status, const struct cf_error *err);
/* False: dropped. */
bool driver_send(struct raft_driver *driver, const struct raft_frame *frame);
const char *driver_address_of(struct raft_driver *driver, uint64_t id); /* "" when unknown */
/* Entries for any purpose: memory first, then disk. As raft_store_entries. Any thread. */
cf_status driver_entries(struct raft_driver *driver, uint64_t from, uint64_t to, size_t max_bytes,
                         size_t max_count, struct raft_entry **ret, size_t *ret_count,
                         struct cf_error *err);

/* health.c: CF_CORRUPT, counted: an entry is not what was proposed. when: "is about to be ...". Any thread. */
cf_status driver_check_entries(struct raft_driver *driver, struct raft_entry *const *entries,
                               size_t count, const char *when, struct cf_error *err);

/* writer.c */
void writer_start(struct raft_driver *driver);
void writer_stop(struct raft_driver *driver); /* writes what is queued */
void writer_push(struct raft_driver *driver, struct write_item *item);
void write_item_free(struct write_item *item);
/* Loop: a ready's write is on its way (maybe behind an install). */
void driver_write(struct raft_driver *driver, const struct raft_ready *ready);
void driver_compact(struct raft_driver *driver, const struct raft_base *base);
void install_applier_idle(struct raft_driver *driver);     /* loop */
void install_applier_switched(struct raft_driver *driver); /* loop */

/* apply.c */
void apply_start(struct raft_driver *driver, struct raft_applied at);
void apply_stop(struct raft_driver *driver);
void apply_to(struct raft_driver *driver, uint64_t index);
void apply_pause(struct raft_driver *driver);
void apply_wake(struct raft_driver *driver); /* a digest is wanted */
/* Loop: what the core should know of the applied index. */
void apply_progress(struct raft_driver *driver);
void apply_set_eager(struct raft_driver *driver);
void apply_switch(struct raft_driver *driver, struct kv_family *state, struct raft_applied at);

/* propose.c */
void propose_init(struct raft_driver *driver);
void propose_done(struct raft_driver *driver);
/* Loop: proposals that wait for leadership may go on, or must be refused. */
void propose_parked(struct raft_driver *driver);
void propose_take(struct raft_driver *driver); /* loop: what is queued becomes parked */
/* How many of `at_once` writes a group should have before it goes, when there is time; 0: any. Pure. */
size_t propose_group(size_t at_once);
void propose_early(struct raft_driver *driver); /* loop: the same, before a ready is taken */
void propose_written(struct raft_driver *driver, bool begun); /* loop: a write has begun; the last has ended */
/* Loop: leadership of a term is over: what is above `commit` has an unknown outcome. */
void propose_lost(struct raft_driver *driver, uint64_t commit);
/* Applier: these entries are applied. */
void propose_applied(struct raft_driver *driver, struct raft_entry *const *run, size_t count);
void driver_leadership(struct raft_driver *driver); /* loop: recompute accepting and read_now */
bool driver_is_sole_voter(const struct raft_driver *driver); /* loop */
void propose_close(struct raft_driver *driver);     /* loop: refuse all from now on */

/* reads.c */
void reads_init(struct raft_driver *driver);
void reads_done(struct raft_driver *driver);
void reads_applied(struct raft_driver *driver, uint64_t index); /* applier */
/* Loop: a round of the core has ended. */
void reads_result(struct raft_driver *driver, const struct raft_read_result *result);
void reads_fail_all(struct raft_driver *driver); /* after the threads ended */

/* frames.c */
/* Loop: sends what a ready holds; peers that could not be reached are in lost[] afterwards. */
void frames_send(struct raft_driver *driver, const struct raft_ready *ready);
void frames_tell_peers(struct raft_driver *driver); /* the transport hears who there is */

/* digest.c */
/* From one round of digests to the next, for a scan that takes took_us: few scans where the state is large, and still
 * a difference is told within 60 s as long as a scan takes less than 11. Pure. */
uint64_t digest_rest_us(uint64_t least_us, uint64_t took_us);
void digest_start(struct raft_driver *driver);
void digest_stop(struct raft_driver *driver); /* after the applier */
void digest_tick(struct raft_driver *driver, uint64_t now_us);
void digest_heard(struct raft_driver *driver, const struct raft_frame *frame);
void digest_tell(struct raft_driver *driver, struct raft_frame *frame);
/* Applier: how far it may go in one run; and it has reached `at`. */
uint64_t digest_bound(struct raft_driver *driver, uint64_t at, uint64_t target);
void digest_capture(struct raft_driver *driver, struct kv_family *state, uint64_t at);

/* level.c */
void level_changed(struct raft_driver *driver); /* loop: the configuration did, or what a node says */
void level_heard(struct raft_driver *driver, uint64_t from, uint32_t features); /* loop */
void level_tick(struct raft_driver *driver);                                    /* loop */
cf_status level_admits_member(struct raft_driver *driver, uint32_t features, struct cf_error *err);
bool level_takes_snapshot(struct raft_driver *driver, uint32_t level); /* loop */
/* CF_UNSUPPORTED: what the store holds is above this build. At the start, before the threads. */
cf_status level_check_store(struct raft_driver *driver, struct cf_error *err);
/* Applier: the level goes into the batch where these entries raise it. CF_UNSUPPORTED. */
cf_status level_note_entries(struct raft_driver *driver, const struct raft_entry_view *entries,
                             size_t count, struct cf_error *err);

/* health.c */
void health_tick(struct raft_driver *driver, uint64_t now_us);
/* Loop: is there room for a proposal of so many bytes? frees: it removes more than it writes. */
bool health_admits(struct raft_driver *driver, bool frees, size_t bytes);
/* Loop: is there room for entries of a leader? */
bool health_takes_entries(struct raft_driver *driver, size_t bytes);
/* Loop: the node is about to write; gives the ballast up when there is no room otherwise. */
void health_before_write(struct raft_driver *driver);

/* retention.c */
void retention_start(struct raft_driver *driver, const struct raft_loaded *loaded);
void retention_appended(struct raft_driver *driver, const struct raft_entry *entry);
void retention_truncated(struct raft_driver *driver, uint64_t from);
void retention_installed(struct raft_driver *driver, uint64_t index);
/* Loop: the compaction up to index is durable. */
void retention_compacted(struct raft_driver *driver, uint64_t index);
/* Bytes of log above an index, to the granularity of marks. */
uint64_t retention_bytes_above(const struct raft_driver *driver, uint64_t index);
void retention_tick(struct raft_driver *driver, uint64_t now_us);
/* purge.c: up to where the log has to go, whatever is kept for convenience; 0: nowhere. */
uint64_t purge_index(const struct raft_driver *driver);
void purge_tick(struct raft_driver *driver, uint64_t base_index, uint64_t now_us);
void purge_stop(struct raft_driver *driver);
void retention_stop(struct raft_driver *driver);
struct raft_log_reader retention_reader(struct raft_driver *driver);
uint64_t retention_floor(const struct raft_driver *driver);
/* This node leads from now on; a heartbeat of the leader named its floor. */
void retention_leads(struct raft_driver *driver);
void retention_told(struct raft_driver *driver, uint64_t floor);

/* change.c */
void change_applied(struct raft_driver *driver, uint64_t applied);
void change_lost(struct raft_driver *driver);
void change_tick(struct raft_driver *driver, uint64_t now_us);
/* Loop: as raft_driver_add, for any target, and nobody is told how it ended. */
cf_status change_members(struct raft_driver *driver, const struct raft_membership *target,
                         struct cf_error *err);
void change_stop(struct raft_driver *driver);

/* autopilot.c */
void autopilot_tick(struct raft_driver *driver, uint64_t now_us);

/* status.c */
void status_note_age(struct raft_driver *driver, uint64_t now_us); /* with each tick */
void status_publish(struct raft_driver *driver);
/* Loop: a heartbeat told the wall clock of its sender. */
void status_clock(struct raft_driver *driver, uint64_t peer, int64_t wall_ns);

/* snap_send.c */
void snap_send_start(struct raft_driver *driver, const struct raft_snap_send *want);
void snap_send_frame(struct raft_driver *driver, const struct raft_frame *frame);
void snap_send_tick(struct raft_driver *driver, uint64_t now_us);
/* The link to the peer is lost, and what was on it. */
void snap_send_broken(struct raft_driver *driver, uint64_t peer);
void snap_send_drop_all(struct raft_driver *driver); /* leadership is over */
/* Lowest index that a transfer needs the log from; UINT64_MAX. */
uint64_t snap_send_floor(const struct raft_driver *driver);

/* snap_receive.c */
void snap_receive_frame(struct raft_driver *driver, const struct raft_frame *frame);
/* The family that an install of this base switches to, with a reference; NULL: none. */
struct kv_family *snap_receive_staged(struct raft_driver *driver, const struct raft_base *base);
void snap_receive_installed(struct raft_driver *driver); /* loop: the switch is durable and done */
void snap_receive_stop(struct raft_driver *driver);
uint64_t snap_receive_bytes(const struct raft_driver *driver);

#endif
