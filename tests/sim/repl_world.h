/* tests/sim/repl_world.h
 *
 * The simulator of replication: up to five clusters of three nodes in two lines, under one seed.
 *
 *     line 0:  A (shared primary at first), C and E (its DR secondaries)
 *     line 1:  B (performance secondary), D (DR secondary of B)
 *
 * The senders, receivers, places, floors, fences, lineages, translations, filters, repairs and request records
 * are the real ones (replication/core, node/server/replication/filter.c, node/core/once.c). A cluster's
 * consensus is simulated elsewhere: here its log holds what was committed, each node has applied some of
 * it and keeps some of it, and a change of leader loses a part of what was not committed.
 *
 *   repl_state.c     what a state machine holds; effects, classes, filters
 *   repl_cluster.c   logs, nodes, leaders, what is proposed and committed
 *   repl_links.c     connections and messages; a secondary's side
 *   repl_serve.c     a primary's side: hello, batches, snapshots
 *   repl_repair.c    repairs by tree, both sides
 *   repl_calls.c     writes that a performance secondary forwards
 *   repl_operator.c  promotions, drills, claims, floors: who decides from above
 *   repl_check.c     the truth (what was committed where) and the invariants
 *   repl_start.c     options, the clusters at first, faults
 *   repl_run.c       one seed: events, and everything heals
 *   repl_sim.c       the command
 */
#ifndef COFFER_SIM_REPL_WORLD_H
#define COFFER_SIM_REPL_WORLD_H

#include "node/base/memory.h"
#include "node/core/once.h"
#include "replication/core/behind.h"
#include "replication/core/floor.h"
#include "replication/core/place.h"
#include "replication/core/primary.h"
#include "replication/core/secondary.h"
#include "replication/core/tree.h"
#include "tests/sim/engine.h"

enum {
    CLUSTERS = 5,
    NODES = 3,
    KINDS = REPL_KIND_COUNT,
    MOUNTS = 4, /* the first one is never filtered */
    KEYS = 3,
    LOCALS = 4,
    CALLS_MAX = 128,
    CALL_WORDS = CALLS_MAX / 64,
    EPOCHS_MAX = 64,
    CONNS_MAX = 16384,
    LINEAGES_MAX = 128,
    ENTRIES_MAX = 420, /* nobody writes beyond that */
};
#define NOBODY UINT32_MAX /* no node */

enum event_kind {
    EV_WRITE,    /* node: cluster */
    EV_DIALLED,  /* node: who; a: conn */
    EV_MESSAGE,  /* node: to; data */
    EV_DOWN,     /* node learns that conn a is gone */
    EV_COMMIT,   /* node: cluster; a: incarnation */
    EV_APPLY,    /* node; a: index */
    EV_TIMER,    /* node: cluster; a: session, b: incarnation */
    EV_TICK,     /* node */
    EV_REPORT,   /* node: cluster: standbys report, the active node decides on the floor */
    EV_NEMESIS,
    EV_HEAL,     /* a, b: clusters */
    EV_REJOIN,   /* node is reached by its cluster again */
    EV_UP,       /* node */
    EV_ELECT,    /* node: cluster; a: incarnation */
    EV_PROMOTE, /* a: 1: node's cluster, once; else any, again and again */
    EV_DRILL,
    EV_OPERATOR, /* demotes fenced primaries, attaches who follows nobody */
    EV_CLAIM,
    EV_COMPACT,  /* node */
    EV_FILTER,
    EV_REPAIR_ENDS, /* node: cluster; a: session, b: incarnation: the link that it needed is gone */
    EV_CALL,        /* a client asks for a write on line 1 */
    EV_CALL_SEND,   /* a: call */
    EV_CALL_SERVE,  /* node: cluster that is asked; a: call, b: try */
    EV_CALL_ANSWER, /* a: call, b: try; data */
    EV_CALL_LOST,   /* a: call, b: try */
    EV_CALL_GIVE_UP, /* a: call: does not wait any more until the effect is here */
};

/* ---- repl_state.c */

enum role {
    AS_SHARED,      /* primary: of the set, and of its line */
    AS_PERFORMANCE, /* secondary of the set, primary of its line */
    AS_MIRROR,      /* DR secondary */
    AS_FENCED,
};

enum effect_type {
    FX_MOUNT, /* class replicated */
    FX_UNMOUNT,
    FX_PUT,
    FX_RAN,    /* the effect of a forwarded request */
    FX_UNRAN,  /* (repairs) */
    FX_FILTER, /* key: 1 when it lets through what it did not before, 2 when it is gone */
    FX_LOCAL,  /* class cluster */
    FX_RECORD, /* of a forwarded request */
    FX_UNRECORD,
    FX_POSITION, /* of the set's link */
    FX_LINEAGE,  /* of the set */
};
struct effect {
    uint8_t type, slot, key;
    bool is_own;     /* of a received entry: added here */
    uint32_t gen;    /* of the mount; epoch of a position */
    uint64_t value;
    uint64_t source; /* of a received entry: index of the entry that it came from; 0: a repair */
    uint64_t term;
};
struct effects {
    struct effect *all;
    size_t count, capacity;
};

struct state {
    /* class replicated */
    uint32_t gen[MOUNTS]; /* which mount is there; 0: none */
    uint64_t value[MOUNTS][KEYS];
    uint32_t ended[MOUNTS], orphan[MOUNTS]; /* deleted last; and of which there are keys, although it is not there */
    uint64_t ran[CALL_WORDS];
    unsigned denied;           /* mounts that do not go to line 1 */
    uint64_t changed, widened; /* local indexes of those changes */
    /* class cluster */
    uint64_t local[LOCALS];
    uint64_t record[CALL_WORDS];
    struct repl_position set_position;
    unsigned set_lineage;
    /* class own */
    enum role role;
    bool attached, has_data;
    struct repl_position line_position;
    unsigned line_lineage;
};

struct entry { /* of a log; entry i has index i */
    uint64_t term, at_us;
    struct effects effects;
    bool is_shipped, is_switch, begins_line, begins_set;
    uint64_t oldest, newest; /* source indexes; oldest UINT64_MAX: a repair */
    struct state state;      /* after it */
};

/* ---- the rest of a cluster */

enum op_type { OP_BATCH, OP_INSTALL, OP_ADOPT, OP_BEGIN, OP_PAGE, OP_SWITCH, OP_REPAIR };
struct proposed {
    enum op_type type;
    uint64_t session, seq;
    struct repl_position to;
    struct effects effects;
    unsigned lineage;
    uint64_t snapshot, cursor; /* of a page: whose, and where the next one begins */
    bool whole;
};

struct snapshot {
    uint64_t id; /* 0: none */
    struct repl_position position;
    uint64_t index;       /* of our log */
    struct repl_tree *tree; /* once a repair asks */
};

struct held { /* a batch or page that came */
    uint64_t seq;
    struct repl_position from, to;
    struct effects effects;
};

struct peer { /* what a node knows of a secondary */
    struct primary core;
    uint64_t conn;
    uint64_t connected_ms;
    struct place_sent sent;
    bool was_sent;
    uint64_t switched_at;
    struct snapshot snapshot;
};

struct row { /* what a standby reported */
    bool known, connected;
    uint64_t needs, heard_ms, connected_ms;
    struct repl_position position;
};

struct node {
    unsigned cluster, n, id; /* id: cluster * NODES + n */
    bool up, cut_off;        /* from its own cluster */
    uint64_t applied, base;  /* its log begins behind base */
    uint64_t capped;         /* the cap took it up to there */
    uint64_t floor;          /* as the active node's heartbeats said */
    uint64_t contact_ms, fit_since_ms;
    uint64_t *reached_us; /* when it applied which index */
    size_t reached_count;
    struct peer peers[KINDS][CLUSTERS];
};

struct repair {
    uint64_t session, snapshot;
    struct repl_position position;
    struct repl_tree *ours, *theirs;
    struct repl_leaf_set leaves;
    struct cf_buf pages;
    struct repair_record *records;
    size_t record_count;
    unsigned next;      /* leaf */
    size_t next_record; /* that it asked for last ends here */
    unsigned stage;
    struct effects effects;
};

struct cluster {
    unsigned n, line;
    bool present;
    struct node nodes[NODES];
    struct entry *log; /* committed, never cut: what a node keeps is its own */
    uint64_t last, capacity;
    uint64_t term, incarnation;
    int leader; /* -1: none */
    uint64_t active_since_ms, inherited;
    struct row rows[NODES][KINDS][CLUSTERS];
    struct effects stage;
    struct { /* beside the stage: how far it is, for the next receiver */
        uint64_t snapshot, cursor;
        struct repl_position position;
        bool whole;
    } kept;
    /* by secondary: known to the active node at first, and connected at its last look; acknowledged last; a hello */
    uint64_t settled_ms[KINDS][CLUSTERS], seen_ms[KINDS][CLUSTERS], streamed_ms[KINDS][CLUSTERS],
        hello_ms[KINDS][CLUSTERS];
    unsigned streamed_by[KINDS][CLUSTERS]; /* which cluster goes by that name */
    uint64_t steady_since_us; /* of leader and nodes */
    /* of the receiver on the leader */
    struct proposed *ops; /* proposed, in order */
    size_t op_count, op_capacity;
    uint64_t commit_at_us;
    bool receiving;
    struct secondary receiver;
    struct behind behind;
    struct repl_position tail; /* of what was appended */
    uint64_t conn;
    unsigned rotation, redirect;
    unsigned answered;
    struct repair *repair;
    struct held *held;
    size_t held_count, held_capacity;
    /* progress */
    uint64_t progress, seen_progress, progress_at_us, connected_us;
};

enum message_type {
    MSG_HELLO,
    MSG_ANSWER,
    MSG_START,
    MSG_BATCH,
    MSG_ACK,
    MSG_OPEN,
    MSG_SNAPSHOT,
    MSG_FETCH,
    MSG_PAGE,
    MSG_REPAIR,
    MSG_REPAIRED,
    MSG_HEARTBEAT,
};
struct message {
    enum message_type type;
    unsigned from; /* cluster */
    uint64_t conn, seq, snapshot, cursor, lag_ms;
    struct repl_position position, to;
    unsigned lineage, redirect, stage;
    bool verified, done, keyring;
    cf_status status;
    enum repl_verdict verdict;
    struct effects effects;
    struct cf_buf bytes;
};

struct conn {
    unsigned secondary, primary, node; /* clusters; node: of the primary's, by id */
    enum repl_kind kind;
    bool alive;
    uint64_t next_us[2];
};

struct truth { /* an epoch, and who was primary in it */
    enum repl_kind kind;
    struct repl_epoch epoch;
    unsigned owner;
};

struct call {
    struct once once;
    unsigned origin, group_changes; /* cluster */
    uint64_t outcome_until_us, deadline_us;
    struct repl_position until;
    bool waits, done, ran;
    cf_status status;
    unsigned tries_sent;
};

struct options {
    uint64_t write_us, commit_us, apply_us, delay_us, nemesis_us, crash, cut, leader_change, cut_off,
        drop_permille, fail_permille, compact_ms, promotions, drills, page_records, batch_entries,
        expire_permille, rogue_permille, repair_permille, repair_records, safety_us, hold_ms, cap,
        filter_us, trailing, mounts_permille, call_us, lost_answer_permille, topology;
};

enum mark {
    MARK_STREAMED,
    MARK_BOOTSTRAPPED,
    MARK_RESUMED,
    MARK_RESTARTED,
    MARK_TAKEN_OVER,
    MARK_PROMOTED,
    MARK_FENCED,
    MARK_DIVERGED,
    MARK_TRANSLATED,
    MARK_CUT_ENTRY,
    MARK_ROGUE,
    MARK_GAP,
    MARK_TWO_PRIMARIES,
    MARK_TWO_PROMOTED,
    MARK_LINE_PROMOTED,
    MARK_FILTERED,
    MARK_NARROWED,
    MARK_WIDENED,
    MARK_GONE,
    MARK_REPAIRED,
    MARK_REPAIR_TOO_LARGE,
    MARK_REPAIR_LOST,
    MARK_REPAIR_NOTHING,
    MARK_STANDBY_SERVES,
    MARK_STANDBY_LACKS,
    MARK_SNAPSHOT_NODE,
    MARK_MOVED,
    MARK_FLOOR_HELD,
    MARK_FLOOR_INHERITED,
    MARK_OVERDUE,
    MARK_CAP,
    MARK_DRILL,
    MARK_FAILBACK,
    MARK_CALL_RAN,
    MARK_CALL_REPLAYED,
    MARK_CALL_UNTOUCHED,
    MARK_CALL_UNKNOWN,
    MARK_CALL_OVER_PROMOTION,
    MARK_COUNT
};

struct world {
    struct sim_engine engine;
    struct options options;
    struct cluster clusters[CLUSTERS];
    bool cut[CLUSTERS][CLUSTERS];
    struct conn *conns;
    uint64_t conn_count;
    struct truth truths[EPOCHS_MAX];
    size_t truth_count;
    struct repl_lineage *lineages[LINEAGES_MAX]; /* 0: the empty one */
    unsigned lineage_count;
    uint64_t next_value, next_snapshot;
    uint32_t next_gen;
    unsigned promotions, drills;
    struct { /* a planned failover of line 0 */
        unsigned phase, from, to;
        uint64_t began_us, closed; /* closed: the last entry that may matter */
        bool disturbed;
    } drill;
    struct call calls[CALLS_MAX];
    unsigned call_count;
    bool healing;
};

/* ---- repl_state.c */
void effects_add(struct effects *effects, const struct effect *effect);
void effects_copy(struct effects *to, const struct effects *from);
void effects_done(struct effects *effects);
bool effect_ships(enum repl_kind kind, const struct effect *effect);
void state_apply(struct world *w, struct state *state, const struct effect *effect, uint64_t index);
/* What a copy of the kind consists of; for a performance secondary through its filter. */
void state_records(const struct world *w, const struct state *state, enum repl_kind kind,
                   bool through_filter, struct effects *ret);
/* That record goes. */
struct effect effect_undone(const struct effect *record);
void state_drop(struct state *state, enum repl_kind kind);
/* As codec_add: what of an entry leaves for a secondary. `filter` NULL: none. */
struct sieve;
struct sieve *sieve_new(const struct state *seen);
void sieve_free(struct sieve *sieve);
bool sieve_can_stream(const struct sieve *sieve, uint64_t index);
void sieve_pass(struct world *w, struct sieve *sieve, uint64_t index, const struct effects *from,
                struct effects *ret);
bool is_filtered(unsigned peer, enum repl_kind kind); /* has that secondary a filter? */
unsigned lineage_id(struct world *w, const struct repl_lineage *lineage);
const struct repl_lineage *lineage_of(const struct world *w, unsigned id);
uint64_t bits_word(const uint64_t *words, unsigned bit);

/* ---- repl_cluster.c */
void cluster_init(struct world *w, unsigned n);
void cluster_done(struct cluster *c);
struct node *node_at(struct world *w, unsigned id);
struct node *cluster_leader(struct cluster *c); /* or NULL */
const struct state *cluster_state(const struct cluster *c); /* as committed */
const struct state *node_state(const struct cluster *c, const struct node *node);
bool role_serves(const struct cluster *c, enum role role, enum repl_kind kind);
enum repl_kind role_receives(enum role role);
unsigned state_lineage(const struct state *state, enum repl_kind kind);
struct repl_position state_position(const struct state *state, enum repl_kind kind);
/* One entry of ours: effects are applied, and taken over. `change` (may be NULL): of class own. */
void cluster_write(struct world *w, struct cluster *c, struct effects *effects,
                   void (*change)(struct world *, struct cluster *, struct state *));
void cluster_propose(struct world *w, struct cluster *c, const struct proposed *op);
void cluster_commit(struct world *w, struct cluster *c, bool fine);
/* The leader is gone: some of what it proposed was committed. */
void cluster_lose_leader(struct world *w, struct cluster *c);
void cluster_elect(struct world *w, struct cluster *c);
void cluster_restart_receiver(struct world *w, struct cluster *c);
void node_crash(struct world *w, struct node *node);
void node_up(struct world *w, struct node *node);
void node_apply(struct world *w, struct node *node, uint64_t index);
void node_compact(struct world *w, struct node *node);
bool node_in_contact(const struct world *w, const struct node *node);

/* ---- repl_links.c */
struct message *message_new(const struct cluster *from, enum message_type type);
void message_free(struct message *m);
void links_send(struct world *w, struct message *m, uint64_t conn);
void links_feed_secondary(struct world *w, struct cluster *c, struct secondary_event *ev);
void links_dialled(struct world *w, struct cluster *c, uint64_t conn);
void links_message(struct world *w, unsigned to, struct message *m);
void links_down(struct world *w, unsigned node, uint64_t conn);
void links_break(struct world *w, uint64_t conn);
void links_break_between(struct world *w, unsigned a, unsigned b); /* clusters */
void links_break_node(struct world *w, unsigned id);
void links_break_receiver(struct world *w, struct cluster *c);

/* ---- repl_serve.c */
void serve_message(struct world *w, struct node *node, struct message *m);
void serve_feed(struct world *w, struct node *node, enum repl_kind kind, unsigned peer,
                struct primary_event *ev);
void serve_tick(struct world *w, struct node *node);
void serve_lost(struct world *w, struct node *node, uint64_t conn);
void serve_reset(struct world *w, struct node *node, enum repl_kind kind);
/* For all kinds. */
void serve_advanced(struct world *w, struct node *node);
void serve_fence(struct world *w, struct cluster *c, enum repl_kind kind, unsigned lineage, bool rogue);
bool lineage_is_newer(const struct world *w, unsigned own, unsigned theirs);
struct repl_position node_position(const struct world *w, const struct node *node,
                                   enum repl_kind kind, uint64_t index);

/* ---- repl_repair.c */
void repair_begin(struct world *w, struct cluster *c, const struct secondary_update *update);
void repair_answered(struct world *w, struct cluster *c, struct message *m);
/* The answer of a repair will not come. */
void repair_lost(struct world *w, struct cluster *c, uint64_t session, uint64_t incarnation);
void repair_drop(struct cluster *c);
void repair_serve(struct world *w, struct node *node, struct message *m);

/* ---- repl_calls.c */
void calls_new(struct world *w);
void calls_event(struct world *w, const struct sim_event *ev);
void calls_advanced(struct world *w, struct cluster *c);
void calls_check(struct world *w);

/* ---- repl_operator.c */
void operator_promote(struct world *w, struct cluster *c);
void operator_hurry(struct world *w, struct cluster *c);
void operator_drill(struct world *w);
void operator_look(struct world *w);
void operator_claims(struct world *w);
void operator_filter(struct world *w);
void operator_write(struct world *w, struct cluster *c);
void operator_floor(struct world *w, struct cluster *c);

/* ---- repl_check.c */
struct truth *truth_find(struct world *w, enum repl_kind kind, const struct repl_epoch *epoch);
void truth_begin(struct world *w, struct cluster *c, enum repl_kind kind,
                 const struct repl_epoch *epoch);
void check_secondary(struct world *w, struct cluster *c, const struct repl_position *before);
void check_ack(struct world *w, struct cluster *c, enum repl_kind kind,
               const struct repl_position *acked);
void check_fenced(struct world *w, struct cluster *c, enum repl_kind kind, unsigned lineage, bool rogue);
void check_lag(struct world *w, struct node *node, enum repl_kind kind, unsigned peer);
void check_behind(struct world *w, const struct cluster *c);
void check_bounds(struct world *w, struct node *node);
void check_returns(struct world *w, struct cluster *c, enum repl_kind kind, unsigned peer);
void check_resync(struct world *w, struct node *node, enum repl_kind kind, unsigned peer,
                  const struct message *hello);
void check_progress(struct world *w, struct cluster *c);
void check_promotion(struct world *w, struct cluster *c, bool is_planned);
void check_floor(struct world *w, struct cluster *c, uint64_t floor);
bool check_converged(struct world *w, bool must);

/* ---- repl_start.c */
void run_draw(struct world *w);
void run_found(struct world *w);
void run_nemesis(struct world *w);
void run_rejoin(struct world *w, struct node *node);

/* ---- repl_run.c: returns the hash of its trace */
uint64_t run_seed(uint64_t seed, const struct sim_override *overrides, bool trace, uint64_t *reached, bool print);

#endif
