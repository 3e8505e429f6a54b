/* tests/sim/req_world.h
 *
 * Requests under simulation: the write window, tickets, request records and stamps of node/core, driven as the
 * frame, the append and the forwarders drive them, over an ideal log: it commits in order, and a change of leader
 * keeps a drawn part of what was not committed (the real one has a simulator of its own).
 */
#ifndef COFFER_SIM_REQ_WORLD_H
#define COFFER_SIM_REQ_WORLD_H

#include "engine.h"
#include "node/core/once.h"
#include "node/core/stamp.h"
#include "node/core/window.h"

#define NODES 3
#define HOT_KEYS 24
#define ENTRIES_MAX 1500
#define REQUESTS_MAX 600
#define EFFECTS_MAX 4
#define READS_MAX 4
#define NAME_MAX_SIZE 72

enum event_kind {
    EV_CLIENT, /* a client begins a request */
    EV_ARRIVE, /* a try reaches the node that led when it was sent */
    EV_RUN,    /* the handler, on the node's newest view */
    EV_APPEND,
    EV_COMMIT,
    EV_APPLY,
    EV_ANSWER, /* reaches whoever forwards; a: the run's status */
    EV_BREAK,  /* its connection breaks instead */
    EV_RETRY,
    EV_CHANGE, /* of leader */
    EV_READY,  /* the new one takes proposals */
    EV_DOWN,   /* of all */
    EV_PULSE,  /* clocks, ticks, dropping of records */
};

enum mark {
    MARK_CONFLICT,
    MARK_PHANTOM, /* a conflict over a range alone */
    MARK_FLOOR,   /* a view older than the window remembers */
    MARK_TICKET_WAIT,
    MARK_REPLAY,
    MARK_REGROUP,
    MARK_GONE,
    MARK_LAST_WORD,
    MARK_LATE_TRY, /* one arrives after its request was answered */
    MARK_LOST_ENTRY,
    MARK_KEPT_ENTRY, /* an uncommitted one came through a change of leader */
    MARK_DROPPED,
    MARK_ALL_DOWN,
    MARK_ALARM,
    MARK_UNKNOWN_TIME,
    MARK_COUNT
};

enum what { DO_INCREMENT, DO_CAS, DO_COUNT_RANGE, DO_PUT, DO_TICK, DO_DROP };

struct effect {
    char name[NAME_MAX_SIZE];
    size_t size;
    uint64_t hash; /* 0 for prefixes */
    bool is_prefix;
    int64_t value;
};

struct run;

struct entry {
    enum what what;
    uint32_t request; /* number + 1; 0: none */
    bool is_record_only; /* the last word on a request without an effect */
    int64_t stamp_ns;
    uint64_t true_us;
    int64_t saw; /* what the handler read: the counter, or how many there were */
    int64_t answer;
    unsigned hot;
    struct effect effects[EFFECTS_MAX];
    unsigned effect_count;
    struct run *run; /* who waits for it, while that is so */
};

struct node {
    unsigned n;
    uint64_t applied;
    int64_t applied_ns; /* stamp, and when it was applied */
    uint64_t applied_us;
    bool is_live;
    uint64_t log_start; /* of the log when the process started */
    struct window *window;
    struct stamp stamp;
    int64_t wall_offset_ns;
    int64_t drift_ppm;
};

enum outcome { NOT_ENDED, ENDED_OK, ENDED_ERROR, ENDED_UNTOUCHED, ENDED_UNKNOWN };

struct request {
    uint32_t number;
    enum what what;
    unsigned hot, want;
    unsigned node; /* that the client has asked */
    struct once once; /* of who forwards */
    unsigned regroups;
    uint64_t seek_until_us, outcome_until_us, deadline_us;
    enum outcome outcome;
    int64_t answer;
    unsigned effects; /* committed */
    int64_t effect_answer;
    uint64_t try; /* number of the newest one; answers to older ones are nobody's */
};

/* One try, on one node. */
struct run {
    struct run *next; /* all, and those parked */
    struct request *request;
    unsigned node;
    uint64_t term;
    uint64_t try;
    bool is_forwarded;
    struct once once;
    uint64_t deadline_us;
    uint64_t view, wait_index; /* wait_index: runs again once it is applied */
    bool is_parked, is_over;
    uint64_t ticket;
    uint64_t oldest_at; /* it lost as the oldest ticket at that append; 0: no */
    struct entry draft;
    uint64_t reads[READS_MAX];
    struct key ranges[1], writes[EFFECTS_MAX];
    bool is_range[EFFECTS_MAX];
    struct window_claim claim;
};

struct options {
    uint64_t client_us, run_us, commit_us, apply_us, net_us, change_us, down_us, pulse_us;
    uint64_t break_permille, late_permille, direct_permille, hot, window_keys, safety_us;
    uint64_t old_permille; /* forwarders whose idea of the time is old */
};

struct world {
    struct sim_engine engine;
    struct options options;
    struct node nodes[NODES];
    int leader; /* -1: none */
    bool is_ready;
    unsigned next_leader;
    uint64_t ready_us; /* when it takes over */
    uint64_t term;
    struct entry *log[ENTRIES_MAX + 1]; /* from 1 */
    uint64_t last, commit;
    uint64_t all_touched; /* index from which views count: what was appended without keys */
    struct request requests[REQUESTS_MAX];
    uint32_t request_count;
    struct run *runs;
    uint64_t tries;
    bool healing;
    unsigned bad_clock; /* NODES: none */
};

#ifdef REQ_MUTATIONS
enum req_glue { /* mistakes of the frame's, which the driver here stands for */
    GLUE_NONE,
    GLUE_RECORD_UNREAD, /* the record is looked up, but not part of the read set */
    GLUE_NO_LAST_WORD,  /* a retry that ends in an error leaves no record */
    GLUE_RECORD_APART,  /* the record is a later entry than the effect */
};
extern int req_glue;
#define GLUE(x) (req_glue == GLUE_##x)
#else
#define GLUE(x) false
#endif

/* req_node.c */
void node_arrive(struct world *w, struct run *run);
void node_run(struct world *w, struct run *run);
void node_append(struct world *w, struct run *run);
void node_commit(struct world *w, uint64_t term);
void node_apply(struct world *w, struct node *node);
void node_pulse(struct world *w);
void node_change(struct world *w, bool all_down);
void node_ready(struct world *w);
uint64_t node_mono_us(const struct world *w, const struct node *node);
int64_t node_view_now_ns(const struct world *w, const struct node *node);
void run_end(struct world *w, struct run *run, cf_status status, int64_t answer);

/* req_client.c */
void client_begin(struct world *w);
void client_send(struct world *w, struct request *rq);
void client_answer(struct world *w, struct run *run, cf_status status);
void client_broken(struct world *w, struct run *run);

/* req_check.c */
/* The newest value of the key in entries up to `at`; false: none. */
bool state_get(const struct world *w, struct key key, uint64_t at, int64_t *ret);
int64_t state_count(const struct world *w, struct key prefix, uint64_t at);
/* The newest entry in (claim's view, last] that touches what the claim read; `by_range` when only a range is. */
uint64_t state_conflict(const struct world *w, const struct run *run, bool *by_range);
void check_commit(struct world *w, const struct entry *entry, uint64_t index);
void check_admitted(struct world *w, const struct run *run);
void check_ended(struct world *w, const struct request *rq);
void check_all(struct world *w);

#endif
