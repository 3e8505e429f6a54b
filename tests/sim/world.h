/* tests/sim/world.h
 *
 * The simulator of the consensus core: several nodes, each the real core over a simulated driver
 * (disk, applier, snapshot transport), clients, an operator, a nemesis, and an observer who sees
 * everything and checks the invariants of consensus.md section 15 after every event.
 */
#ifndef COFFER_SIM_WORLD_H
#define COFFER_SIM_WORLD_H

#include "consensus/core/raft_int.h"
#include "tests/sim/engine.h"

#define SIM_NODES 10

enum sim_kind {
    EV_TICK = 1,  /* a: serial of the timer */
    EV_DRAIN,     /* take what is ready */
    EV_PACKET,    /* data: struct packet; a: sender, b: sent in the liveness phase */
    EV_SYNCED,    /* a: incarnation, b: writes covered */
    EV_APPLY,     /* a: incarnation */
    EV_LOG_READY, /* a: incarnation */
    EV_SNAP_STEP, /* a: incarnation, b: peer */
    EV_RESTART,
    EV_CLIENT, /* a: number of the client */
    EV_READ_AT_WAKE,
    EV_CUT_LEADER,
    EV_ISOLATE, /* cut this one off and go on asking it */
    EV_OPERATOR,
    EV_NEMESIS,
    EV_MAINTAIN, /* flush and compact */
    EV_UNREACHABLE, /* a: incarnation, b: peer */
    EV_ROT_FOUND,   /* a: incarnation */
    EV_SWIZZLE,     /* a: 1 cut off, 0 back; one endpoint of many, in an order of its own */
};

/* "Sometimes" marks: a full run of the suite has to reach all of them. */
enum sim_mark {
    MARK_LEADER,
    MARK_TRUNCATED,
    MARK_SNAPSHOT_INSTALLED,
    MARK_JOINT,
    MARK_JOINT_LEFT,
    MARK_LEADER_REMOVED,
    MARK_TRANSFERRED,
    MARK_TORN_CRASH,
    MARK_TORN_WRITE,
    MARK_WHOLE_BEHIND_TORN,
    MARK_VOTE_FORGOTTEN,
    MARK_READ_FORWARDED,
    MARK_READ_LEASE,
    MARK_CONFIG_ROLLED_BACK,
    MARK_BUSY_PROPOSAL,
    MARK_OLD_TERM_COMMITTED,
    MARK_WRITES_IN_FLIGHT,
    MARK_COMPACTED,
    MARK_LEARNER_PROMOTED,
    MARK_CORRUPT_FRAME,
    MARK_MALFORMED_FRAME,
    MARK_FORMER_LIFE,
    MARK_SNAPSHOT_FAILED,
    MARK_REMOVED_TOLD,
    MARK_DISK_LOST,
    MARK_RECOVERED,
    MARK_DISK_LOST_SILENTLY,
    MARK_COMMIT_BEYOND_LAST,
    MARK_ROT_FOUND,
    MARK_FSYNC_FAILED,
    MARK_DISK_STALLED,
    MARK_SWIZZLED,
    MARK_UPGRADED,
    MARK_LEVEL_2,
    MARK_BACKTRACKED,
    MARK_WINDOW_FULL,
    MARK_DOUBLE_OFFER,
    MARK_READ_RETRIED,
    MARK_LIVE_TRANSFER,
    MARK_ISOLATED,
    MARK_COUNT
};

/* The simulated state machine: where it stands and a checksum of everything it applied. */
struct sim_state {
    uint64_t applied, chain;
};

struct disk_write {
    uint64_t id, term; /* id 0: a compaction record, nobody waits for it */
    bool has_base, install;
    struct raft_base base;
    struct sim_state state; /* of the snapshot, with install */
    uint64_t truncate_from;
    struct raft_entry **entries;
    size_t entry_count;
    bool has_hard;
    struct raft_hard_state hard;
};

/* The part under `base` .. `log` is what survives; `queue` is in the device's cache. */
struct sim_disk {
    struct raft_hard_state hard;
    struct raft_base base;
    struct raft_entry **log; /* base.index + 1 .. */
    size_t count, capacity;
    struct sim_state flushed; /* of the state machine: it has no log of its own */
    struct disk_write *queue;
    size_t queue_count, queue_capacity;
    bool syncing;
};

struct sim_pending { /* a proposal that a client waits for */
    uint64_t index, term;
};

struct sim_read {
    uint64_t cookie, floor, started_us;
    uint64_t index; /* 0: not confirmed yet */
    bool by_lease;
};

struct sim_transfer { /* of a snapshot, by a leader */
    bool active;
    uint64_t term, deadline_us;
    struct raft_base base;
    struct sim_state state;
    unsigned chunk, chunks;
};

/* What the observer last saw of a node's log in memory. */
struct sim_view {
    uint64_t base; /* index of at[0], which stands for the base itself */
    struct sim_view_entry {
        uint64_t term, chain;
        bool config;
    } * at;
    size_t count, capacity;
};

struct sim_node {
    uint64_t id; /* slot + 1 */
    bool exists, alive, drain_scheduled;
    uint64_t incarnation, paused_until_us;
    uint64_t heard_life[SIM_NODES]; /* the newest incarnation of each that it heard */
    uint32_t condition;
    bool lost; /* its disk lost synced entries; true until the core says that it is whole */
    bool lost_silently;  /* ... and nothing at the start showed it: an older image was put back */
    uint64_t lost_last;  /* what it had before */
    uint64_t rotten, rotten_term; /* a damaged entry of its disk that nobody has read; 0: none */
    unsigned level;      /* feature level of its program: 1 or 2 */
    uint64_t stalled_us; /* ticks under RAFT_STALLED as a leader: time that it saw pass */
    uint64_t stall_seen_us, sync_began_us;
    unsigned reads_asked;         /* of its leader, since the last answer */
    uint64_t heard_us; /* a leader of its term, by its clock */
    /* its clock: clock_us at the engine's clock_at_us, and clock_rate / 1000 as fast since */
    uint64_t clock_us, clock_at_us, clock_rate;
    struct cf_prng draws;
    struct raft *raft;
    struct sim_disk disk;
    struct sim_state state;
    uint64_t apply_to;
    bool apply_scheduled;
    uint64_t timer_serial, timer_at_us;
    struct sim_pending *pending;
    size_t pending_count, pending_capacity;
    struct sim_read *reads;
    size_t read_count, read_capacity;
    struct sim_transfer transfers[SIM_NODES]; /* as leader, by slot */
    /* as follower */
    struct raft_base incoming;
    struct sim_state incoming_state;
    unsigned incoming_chunk;
    uint64_t incoming_from, incoming_install; /* write id of the install */
    /* observer */
    struct sim_view view;
    uint64_t seen_term, seen_commit, seen_truncations;
    enum raft_role seen_role;
    uint64_t seen_last;
};

enum packet_type { PACKET_RAFT, PACKET_SNAP, PACKET_SNAP_R };

struct packet {
    enum packet_type type;
    struct raft_msg msg; /* RAFT; the others use from, to, term */
    struct raft_base base;
    struct sim_state state;
    unsigned chunk, chunks;
    bool ok, done;
    uint64_t incarnation; /* of the sender */
};

struct sim_oracle_entry {
    uint64_t term, chain;
    uint64_t commit_term; /* of the leader that committed it; 0: not committed */
    uint32_t crc32c;
};

struct sim_options {
    unsigned nodes, learners, clients;
    uint64_t heartbeat_us, election_us;
    uint64_t append_bytes, window_messages, window_bytes, uncommitted_bytes, payload_max;
    uint64_t trailing, maintain_us;
    uint64_t fsync_min_us, fsync_max_us, fsync_spike_permille, fsync_spike_us;
    uint64_t apply_us, drain_us, client_us, operator_us, nemesis_us;
    uint64_t lose_permille, crash_weight, pause_weight, partition_weight, condition_weight;
    uint64_t change_weight, transfer_weight, busy_permille, corrupt_permille;
    uint64_t lease, priority, read_permille, timer_late_us;
    uint64_t safety_us;
    uint64_t drift_permille, rot_permille, silent_permille, fsync_fail_permille, upgrade_weight;
    uint64_t torn_permille, forget_permille, isolate_weight;
    uint64_t stop_us; /* cut the run here; 0: no */
};

struct script;

struct world {
    struct sim_engine engine;
    struct sim_options options;
    struct sim_net net;
    struct sim_node nodes[SIM_NODES];
    bool broken[SIM_NODES]; /* for good, in the liveness phase */
    bool liveness;
    uint64_t healed_us;
    uint64_t next_cookie, next_value;
    /* the observer's knowledge */
    struct sim_oracle_entry *oracle; /* by index */
    size_t oracle_count, oracle_capacity;
    uint64_t *leader_of_term;
    size_t term_capacity;
    struct sim_vote {
        uint64_t term, vote;
    } * votes[SIM_NODES]; /* promises that left a node */
    size_t vote_count[SIM_NODES], vote_capacity[SIM_NODES];
    struct sim_chain_slot {
        uint64_t index, term, chain;
    } * chains; /* open addressing: (index, term) -> chain */
    size_t chain_count, chain_capacity;
    struct sim_config_seen {
        uint64_t index, term;
        struct raft_membership membership;
    } * configs; /* every configuration that ever was in a log */
    size_t config_count, config_capacity;
    uint64_t acknowledged;    /* highest index that some client saw: write or read */
    uint64_t max_leader_term; /* highest term that ever had a leader */
    uint64_t acked_writes, served_reads, lost_writes, max_commit;
    uint64_t settled_term; /* of the leader that has to stay; 0 before */
    /* chance in streams, so that one event more or less leaves the others as they were */
    struct cf_prng link_draws[SIM_NODES][SIM_NODES], event_draws;
    uint64_t nemeses, operations, requests; /* so far: they number their streams */
    struct script *script;                  /* a directed scenario runs; NULL: a seed */
    struct cf_buf frame;                    /* the one that is read at the moment */
    struct cf_buf *record;                  /* what happens, as a scenario; or NULL */
    uint64_t recorded_us;
    uint64_t liveness_accepted;
};

/* script.c: notes a line of the scenario that this run is, when somebody wants it. */
void world_record(struct world *w, const char *fmt, ...) CF_PRINTF(2, 3);
void world_record_as(struct world *w, size_t at, const char *fmt, ...) CF_PRINTF(3, 4);
void script_in_flight(struct world *w, struct packet *p); /* takes over */
void script_name_packet(const struct packet *p, char *ret, size_t size);
bool script_holds(const struct world *w); /* the line says that more comes before the drain */
/* Behind a recorded input that is not drained at once. */
static inline const char *held(const struct world *w)
{
    return w->options.drain_us != 0 ? " +" : "";
}

#define SIM_FAIL(w, invariant, ...) sim_fail(&(w)->engine, (invariant), __VA_ARGS__)

/* disk.c */
void disk_init(struct sim_disk *disk, const struct raft_membership *founding);
void disk_done(struct sim_disk *disk);
void disk_queue(struct sim_disk *disk, struct disk_write *write); /* takes over */
/* The first `count` queued writes become durable. False: the log would have a gap. */
bool disk_apply(struct sim_disk *disk, size_t count);
/* Power cut: how many of the queued writes are whole, and nothing before them is torn. */
size_t disk_torn(struct sim_engine *e, const struct sim_disk *disk);
void disk_forget_queue(struct sim_disk *disk);
void disk_lose(struct sim_disk *disk, uint64_t from); /* synced entries, against all promises */
uint64_t disk_last(const struct sim_disk *disk);
/* NULL outside. */
struct raft_entry *disk_entry(const struct sim_disk *disk, uint64_t index);
bool disk_term(const struct sim_disk *disk, uint64_t index, uint64_t *ret);

/* node.c */
uint64_t node_now(const struct world *w, const struct sim_node *n); /* by its own clock */
void node_set_clock(struct world *w, struct sim_node *n, uint64_t rate);
void node_sync(struct world *w, struct sim_node *n, size_t count, bool each);
void node_apply(struct world *w, struct sim_node *n, uint64_t most);
void node_drain(struct world *w, struct sim_node *n);
void node_tick(struct world *w, struct sim_node *n);
void node_flush(struct world *w, struct sim_node *n);
void node_compact(struct world *w, struct sim_node *n, uint64_t index);
struct sim_node *world_node(struct world *w, uint64_t id); /* NULL for RAFT_NONE */
unsigned node_slot(const struct world *w, const struct sim_node *n);
void node_create(struct world *w, unsigned slot, const struct raft_membership *founding);
void node_start(struct world *w, struct sim_node *n);
void node_crash(struct world *w, struct sim_node *n, size_t kept);
void node_after_input(struct world *w, struct sim_node *n); /* drain now or soon, timer, checks */
void node_event(struct world *w, struct sim_event *event);
void node_maintain(struct world *w, struct sim_node *n);
void node_done(struct world *w, struct sim_node *n);
void packet_free(struct packet *p);
struct packet *packet_copy(const struct packet *p);

/* transport.c */
void transport_send(struct world *w, struct sim_node *n, const struct packet *p);
void transport_send_msg(struct world *w, struct sim_node *n, const struct raft_msg *m);
void transport_receive(struct world *w, struct sim_node *n, struct packet *p);
void transport_snapshot_begin(struct world *w, struct sim_node *n, uint64_t peer, uint64_t above);
void transport_snapshot_step(struct world *w, struct sim_node *n, uint64_t peer);
void transport_snapshot_installed(struct world *w, struct sim_node *n);
void transport_drop_all(struct sim_node *n);

/* frames.c */
struct raft_wire_room;
/* What arrives of `p`. *ret borrows from *room: raft_wire_done. */
void frame_pass(struct world *w, const struct packet *p, struct packet *ret, struct raft_wire_room *room);
void frame_damage(struct world *w, const struct packet *p);

/* load.c */
void load_client(struct world *w);
void load_write(struct world *w, struct sim_node *n, size_t count, size_t size);
void load_read(struct world *w, struct sim_node *n);
cf_status load_change(struct world *w, struct sim_node *n, const struct raft_membership *target);
cf_status load_transfer(struct world *w, struct sim_node *n, uint64_t to);
void load_read_at_wake(struct world *w, struct sim_node *n);
void load_operator(struct world *w);
void load_applied(struct world *w, struct sim_node *n, const struct raft_entry *entry);
void load_read_result(struct world *w, struct sim_node *n, const struct raft_read_result *result);
void load_serve_reads(struct world *w, struct sim_node *n);
void load_skipped(struct sim_node *n, uint64_t up_to);
void load_forget(struct sim_node *n);          /* the process died */
struct sim_node *load_leader(struct world *w); /* the leader of the highest term, alive; or NULL */

/* faults.c */
void faults_nemesis(struct world *w);
void faults_cut_leader(struct world *w);
void faults_crash(struct world *w, struct sim_node *n);
void faults_lose(struct world *w, struct sim_node *n, uint64_t from, bool silently);
void faults_forget(struct world *w, struct sim_node *n, uint64_t term); /* its term and vote, back to that */
bool faults_is_rotten(const struct sim_node *n, uint64_t index);
void faults_rot_found(struct world *w, struct sim_node *n);
void faults_set_condition(struct world *w, struct sim_node *n);
/* atlas.c */
bool atlas_healthy_suffice(struct world *w, const bool *broken);
void atlas_restart_within(struct world *w, struct sim_node *n, uint64_t within_us);
void atlas_lose_some(struct world *w, struct sim_node *n);
void atlas_restore_older_image(struct world *w, struct sim_node *n);
void atlas_rot(struct world *w, struct sim_node *n);

void faults_isolate(struct world *w, struct sim_node *n);
void faults_swizzle(struct world *w, unsigned slot, bool cut);
/* False when too many disks were lost for anybody to lead. */
bool faults_begin_liveness(struct world *w);
void faults_check_settled(struct world *w);
void faults_check_stable(struct world *w, uint64_t term);
bool faults_all_caught_up(struct world *w);
uint64_t faults_begin_transfer(struct world *w);
void faults_check_transferred(struct world *w, uint64_t to, uint64_t old_term);
void faults_check_end(struct world *w);

/* view.c */
struct sim_oracle_entry *view_oracle(struct world *w, uint64_t index);
const struct sim_view_entry *view_at(const struct sim_view *v, uint64_t index); /* NULL outside */
void view_reset(struct world *w, struct sim_view *v, uint64_t index, uint64_t term);
void view_add(struct world *w, struct sim_node *n, const struct raft_entry *entry);
/* Follows what the core did to its log; true when that was anything. I-3, I-6, I-13, I-18. */
bool view_sync(struct world *w, struct sim_node *n);
bool check_has_quorum(const struct raft_membership *m, const bool *has, const uint64_t *ids,
                      size_t count);
uint64_t check_entry_chain(uint64_t before, const struct raft_entry *entry);

/* checks.c */
void check_node(struct world *w, struct sim_node *n);
void check_message(struct world *w, struct sim_node *n, const struct raft_msg *m);
/* Around raft_step(): what a message may change, by its kind and by what the observer knows. */
void check_before_step(struct world *w, struct sim_node *n, const struct raft_msg *m);
void check_after_step(struct world *w, struct sim_node *n, const struct raft_msg *m);
void check_apply(struct world *w, struct sim_node *n, const struct raft_entry *entry);
void check_snapshot(struct world *w, const struct raft_base *base, const struct sim_state *state);
void check_restarted(struct world *w, struct sim_node *n);
void check_done(struct world *w);

/* run.c: one seed. Returns the hash of its trace. */
uint64_t run_seed(uint64_t seed, bool verbose, uint64_t *ret_reached, bool print_summary);

#endif
