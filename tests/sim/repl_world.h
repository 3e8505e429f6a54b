/* tests/sim/repl_world.h
 *
 * The simulator of replication: three clusters, each one log (its own consensus is simulated
 * elsewhere: here a log keeps what was committed, and a change of leader loses what was not), the
 * real senders and receivers of replication/core between them, and a network of connections.
 *
 *   repl_cluster.c  a cluster: its log, state, stage, snapshots; what struct repl_host does in life
 *   repl_links.c    connections and messages; performing the updates of the cores
 *   repl_check.c    the truth (what each epoch's primary committed) and the invariants
 *   repl_sim.c      seeds, faults, operators, the command
 */
#ifndef COFFER_SIM_REPL_WORLD_H
#define COFFER_SIM_REPL_WORLD_H

#include "node/base/memory.h"
#include "replication/core/primary.h"
#include "replication/core/secondary.h"
#include "tests/sim/engine.h"

enum { CLUSTERS = 3, EPOCHS_MAX = 64, CONNS_MAX = 4096 };

enum event_kind {
    EV_WRITE,
    EV_DIALLED, /* node: who; a: conn */
    EV_MESSAGE, /* node: to; data */
    EV_DOWN,    /* node learns that conn a is gone */
    EV_COMMIT,  /* node; a: incarnation */
    EV_TIMER,   /* node; a: session, b: incarnation */
    EV_TICK,
    EV_NEMESIS,
    EV_HEAL, /* a, b: pair */
    EV_UP,
    EV_PROMOTE,
    EV_OPERATOR, /* demotes fenced primaries */
    EV_CLAIM,
    EV_COMPACT,
    EV_REPAIR_ENDS, /* node; a: session, b: incarnation: the link that it needed is gone */
};

struct item {
    uint64_t id;             /* odd: local to the primary's line, not for performance secondaries */
    struct repl_position at; /* in the log it came from, or our own */
};
struct items {
    struct item *all;
    size_t count, capacity;
};

struct entry { /* of a log; entry i has index i */
    uint64_t term;
    size_t end;                  /* items of the state after it */
    struct repl_position remote; /* as a secondary: our position after it */
};

enum op_type { OP_BATCH, OP_INSTALL, OP_ADOPT, OP_BEGIN, OP_PAGE, OP_SWITCH, OP_REPAIR };
struct op {
    enum op_type type;
    uint64_t session, seq;
    struct repl_position to;
    struct items items, surplus; /* of a repair: what is lacking, what is too much */
    struct repl_lineage *lineage;
};

struct snapshot {
    uint64_t id; /* 0: none */
    struct repl_position position;
    struct items items;
};

struct held { /* a batch or page that came */
    uint64_t seq;
    struct repl_position to;
    struct items items;
};

struct cluster {
    unsigned n;
    bool up, primary, fenced, performance;
    /* durable */
    struct repl_lineage lineage;
    struct entry *log;
    uint64_t last, base, capacity; /* entries up to base are gone */
    uint64_t term;
    struct items state, stage;
    struct repl_position remote;
    /* of this leader */
    uint64_t incarnation;
    struct op *ops; /* proposed, in order */
    size_t op_count, op_capacity;
    uint64_t commit_at_us;
    struct secondary receiver;
    bool receiving;
    uint64_t conn;
    unsigned rotation;
    struct repl_lineage answered;
    bool repairing; /* asked, and not answered yet: of repair_session */
    uint64_t repair_session;
    struct held *held;
    size_t held_count, held_capacity;
    struct primary senders[CLUSTERS];
    uint64_t sender_conn[CLUSTERS];
    struct snapshot snapshots[CLUSTERS];
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
    MSG_REPAIR,   /* items: all that we have; surplus of the answer is what the other has not */
    MSG_REPAIRED,
};
struct message {
    enum message_type type;
    unsigned from;
    uint64_t conn, seq, snapshot, cursor;
    struct repl_position position, to;
    struct repl_lineage *lineage;
    bool verified, done, keyring;
    cf_status status;
    enum repl_verdict verdict;
    struct items items, surplus;
};

struct conn {
    unsigned secondary, primary;
    bool alive;
    uint64_t next_us[2];
};

struct truth { /* what the primary of an epoch committed */
    struct repl_epoch epoch;
    unsigned owner;
    struct items items;
    struct entry *at; /* by index; term 0: no such entry */
    size_t at_count;
};

struct options {
    uint64_t write_us, commit_us, delay_us, nemesis_us, crash, cut, leader_change, drop_permille,
        fail_permille, compact_us, promotions, page_items, batch_entries, expire_permille,
        rogue_permille, repair_permille, repair_items, safety_us;
};

enum mark {
    MARK_STREAMED,
    MARK_BOOTSTRAPPED,
    MARK_RESUMED,
    MARK_RESTARTED,
    MARK_PROMOTED,
    MARK_FENCED,
    MARK_DIVERGED,
    MARK_TRANSLATED,
    MARK_ROGUE,
    MARK_GAP,
    MARK_TWO_PRIMARIES,
    MARK_FILTERED,
    MARK_REPAIRED,
    MARK_REPAIR_TOO_LARGE,
    MARK_REPAIR_LOST,
    MARK_COUNT
};

struct world {
    struct sim_engine engine;
    struct options options;
    struct cluster clusters[CLUSTERS];
    bool cut[CLUSTERS][CLUSTERS];
    struct conn conns[CONNS_MAX];
    uint64_t conn_count;
    struct truth truths[EPOCHS_MAX];
    size_t truth_count;
    uint64_t next_id, next_snapshot;
    unsigned promotions;
    bool healing;
};

/* ---- repl_cluster.c */
void items_add(struct items *items, const struct item *item);
void items_copy(struct items *to, const struct items *from, size_t first);
void items_done(struct items *items);
void cluster_init(struct world *w, unsigned n);
void cluster_done(struct cluster *c);
void cluster_write(struct world *w, struct cluster *c); /* a client's write is committed */
void cluster_promote(struct world *w, struct cluster *c);
void cluster_demote(struct world *w, struct cluster *c);
void cluster_propose(struct world *w, struct cluster *c, const struct op *op);
void cluster_commit(struct world *w, struct cluster *c, bool fine);
/* The leader is gone: some of what it proposed was committed. */
void cluster_lose_leader(struct world *w, struct cluster *c);
void cluster_start(struct world *w, struct cluster *c);
struct repl_position cluster_here(const struct cluster *c);
bool cluster_knows(const struct cluster *c, const struct repl_position *at);
/* Up to batch_entries entries after `from`; false: compacted. */
bool cluster_read(struct world *w, struct cluster *c, bool filtered,
                  const struct repl_position *from, struct items *ret, struct repl_position *to,
                  uint64_t *entries, uint64_t *bytes);

/* ---- repl_links.c */
void links_feed_secondary(struct world *w, struct cluster *c, struct secondary_event *ev);
void links_feed_primary(struct world *w, struct cluster *c, unsigned peer,
                        struct primary_event *ev);
/* The answer of a repair will not come. */
void links_repair_ends(struct world *w, struct cluster *c, uint64_t session, uint64_t incarnation);
void links_dialled(struct world *w, struct cluster *c, uint64_t conn);
void links_message(struct world *w, struct cluster *c, struct message *m);
void links_down(struct world *w, struct cluster *c, uint64_t conn);
void links_break(struct world *w, uint64_t conn);
void links_break_all(struct world *w, unsigned a, int b); /* b < 0: with anybody */
void message_free(struct message *m);
void links_claim(struct world *w, struct cluster *from, struct cluster *to, bool rogue);

/* ---- repl_check.c */
void truth_begin(struct world *w, struct cluster *c);
void truth_commit(struct world *w, struct cluster *c);
void check_secondary(struct world *w, struct cluster *c, const struct repl_position *before);
void check_ack(struct world *w, struct cluster *c, const struct repl_position *acked);
void check_fenced(struct world *w, struct cluster *c, const struct repl_lineage *by, bool rogue);
bool check_converged(struct world *w, bool must);

static inline bool genuine(const struct item *item, bool performance)
{
    return !performance || (item->id & 1) == 0;
}

#endif
