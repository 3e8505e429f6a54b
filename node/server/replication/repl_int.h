/* node/server/replication/repl_int.h: what the files of the replication glue share. */
#ifndef COFFER_SERVER_REPLICATION_REPL_INT_H
#define COFFER_SERVER_REPLICATION_REPL_INT_H

#include <pthread.h>

#include "node/format/encode.h"
#include "node/server/node.h"
#include "node/server/replication.h"
#include "node/server/replication/filter.h"
#include "node/server/replication/reader.h"
#include "node/server/replication/set.h"
#include "replication/driver/driver.h"

#define REPL_SNAPSHOTS_MAX 32

/* What comparisons and repairs have found. */
struct repair_status {
    uint64_t comparisons, undecided; /* undecided: the primary could not tell at that position */
    uint64_t differing;              /* comparisons that found something, since the start */
    uint64_t leaves;                 /* ... and how many leaves, the last time */
    int64_t compared_ns, differed_ns, repaired_ns; /* wall times; 0: never */
    uint64_t put, deleted;           /* records, by the last repair */
};

/* Claims that were not proved, and what else the operator has to see. */
struct repl_alarms {
    uint64_t count, logged_us;
    int64_t last_ns; /* wall time; 0: never */
    char text[512];
    char reason[256]; /* why the last proof that was looked at proves nothing; "": it does */
};

/* This cluster's certificates towards a primary: of its connection, and (promotion.h) of its next epoch. */
struct keeping;
struct repl_certificate {
    struct node *node;
    struct node_tls *tls;      /* as the link's record has it; NULL without a link */
    bool promotion_due;        /* it lacks one by the key that the set has now */
    uint64_t promotion_serial; /* of the one that it has; 0: none */
    struct rpc_pending *asked; /* for the next ones */
    struct keeping *keeping;   /* the other half of what is asked for */
    int64_t next_try_s, pause_s;
};
/* certificate.c: hands a request of a secondary on to this cluster's active node, and its answer back. */
CF_CHECKED cf_status repl_hand_on(struct node *node, enum rpc_id id, struct cf_slice bytes,
                                  struct rpc_call *call, struct cf_error *err);
/* encryptions.c: counts of secondaries are summed on the primary. */
void repl_encryptions_start(struct node_replication *replication);
void repl_encryptions_stop(struct node_replication *replication);
void repl_encryptions_tick(struct node_replication *replication); /* once a second */
/* The link is gone. */
void repl_encryptions_forget(struct node_replication *replication);
/* certificate.c: the link is gone, and with it what is under way. */
void certificate_forget(struct repl_certificate *own);

/* One kind of replication as this node sees it. Main loop. */
struct repl_side {
    struct repl_primary *primary;
    uint8_t primary_hash[32]; /* of the set that it was started for */
    struct repl_secondary *secondary;
    uint8_t secondary_hash[32]; /* of the link record that it was started with */
    uint8_t certificate_hash[32]; /* of the certificate in that record */
    struct repl_certificate certificate;
    struct repl_alarms alarms;
    int64_t served_renew_at_s;  /* this node's certificate towards secondaries */
    bool is_primary;            /* a set definition stands in the store */
    char set_id[ENCODE_UUID_TEXT + 1];
    char link_state[16];        /* "" without a link */
    uint64_t switched_at;       /* in our log the newest entry, as far as a stream met one, that nobody gets past */
    struct repl_lineage lineage; /* of the set, or of the line */
    struct cf_buf proof;         /* of its current epoch, once it was needed */
    /* the receiver */
    bool tail_known;
    struct repl_position tail; /* the last that was proposed */
    unsigned in_flight;
    struct repl_position appended; /* of the log: what the next batch has to continue from */
    uint64_t appended_index;       /* the log index that it was given */
    bool is_broken;                /* one was refused: all behind it are, until the receiver begins anew */
    uint32_t stage_generation;
    struct copy_stage *stage; /* stage.c; NULL: none, or by pages */
    /* the primary's registry, without the revoked: ids, each with its end */
    struct cf_buf registered;
    size_t registered_count;
    struct repair *repair; /* repair.c; NULL: none under way */
    bool must_repair;      /* a comparison has found our data to differ: our position counts for nothing */
    bool compare_soon;     /* an operator pointed us to another primary: what we have is compared, not trusted */
    struct repair_status compared;
    /* what the other side's addresses are, as last kept */
    struct repl_address_list learned;
};

/* How much log is kept, and for whom; as of the last half second. */
struct repl_retention {
    uint64_t floor; /* UINT64_MAX: no secondary needs the log */
    uint64_t log_bytes, log_bytes_max;
    uint64_t hold_s;        /* how long the log is kept for a secondary that is away */
    size_t unknown, overdue; /* secondaries not heard of yet; away for longer than hold_s */
    size_t cut_off;         /* away, and what they need has left the log */
    bool alarm;             /* the log is near its cap, and a secondary is why */
};

struct repl_open_snapshot {
    uint64_t id;
    struct view *view;
    struct filter *filter; /* NULL: of a DR secondary */
    struct repair_source *source; /* NULL: nobody compares with it yet */
    struct page_job *ahead; /* pages.c: the page that is wanted next; NULL: none is read ahead */
};

struct merkle_clock;

/* encryptions.c: of the shared key that is in use, on a performance secondary's active node. */
struct repl_encryptions {
    struct rpc_pending *asked;
    struct key_id key;
    uint64_t told, carried, asking; /* of this process, told to the primary; from before it; of these in `asked` */
    uint64_t next_us;
    bool is_active;
    _Atomic uint64_t untold; /* as of the last second */
};

struct node_replication {
    struct repl_encryptions encryptions;
    struct node *node;
    struct repl_driver *driver;
    struct repl_side sides[REPL_KIND_COUNT];
    uint8_t claimant_hash[32]; /* of the link that it was made from */
    struct repl_claimant *claimant;
    struct repl_open_snapshot snapshots[REPL_SNAPSHOTS_MAX];
    enum cluster_role role;
    bool is_fencing;
    struct cf_list waiting; /* forwarded calls that wait for their position here */
    struct cf_list rows; /* what standbys have reported of secondaries */
    size_t row_count;
    struct loop_timer *report_timer, *certificate_timer;
    uint64_t contact_us;       /* with our leader, or leading */
    uint64_t active_since_us;  /* 0: not active */
    uint64_t floor_inherited;
    bool serves;
    struct repl_retention retention;
    pthread_mutex_t gauges_lock;
    struct replication_gauges gauges;
    _Atomic bool has_waiting, is_linked;
    _Atomic uint64_t advanced;
    _Atomic bool advance_posted, refresh_posted;
    _Atomic(const char *) modes[REPL_KIND_COUNT];
    struct merkle_clock *merkle; /* merkle.c */
    _Atomic uint64_t comparisons, differences, repairs; /* for metrics */
    struct cf_map *filters; /* by id of the secondary, as last looked at */
};

struct repl_host repl_host_table(struct node_replication *replication);
/* host.c: position of an index of our own log. */
bool repl_own_position(struct node_replication *replication, enum repl_kind kind, uint64_t index,
                       struct repl_position *ret);
void repl_snapshots_close(struct node_replication *replication);
/* filter_host.c: the filter of a secondary by the newest view, NULL for the DR kind; borrowed until the next call.
 * *ret_index (may be NULL): of that view. Main loop. */
CF_CHECKED cf_status repl_filter_of(struct node_replication *replication, enum repl_kind kind,
                                    const char *id, struct filter **ret, uint64_t *ret_index,
                                    struct cf_error *err);
/* Can a stream to that secondary begin with the entry at `start` of our log? */
bool repl_filter_streams(struct node_replication *replication, enum repl_kind kind, const char *id,
                         uint64_t start);
/* Is the filter still the secondary's? */
bool repl_filter_stands(struct node_replication *replication, const struct filter *filter);
/* On a secondary: what its filter came to hold back goes from the disk of this node. */
void repl_filter_refresh(struct node_replication *replication, struct reader *reader);
void repl_filters_free(struct node_replication *replication);
/* report.c: what all nodes of this cluster know of its secondaries. */
void repl_report_start(struct node_replication *replication);
void repl_report_stop(struct node_replication *replication);
void repl_report_soon(void *ctx, enum repl_kind kind); /* struct repl_host's peer_changed */
/* Leadership or role changed. */
void repl_report_refresh(struct node_replication *replication, bool leads);
/* Secondaries that were heard of, by whichever node, one row each; returns how many there are. On a standby: its
 * own. Main loop. */
size_t repl_secondaries(const struct node_replication *replication, enum repl_kind kind,
                        struct repl_peer_status *ret, size_t max);
/* host.c: in a pending registry entry of a secondary that streams, the token is used up. */
void repl_activate(struct node_replication *replication, enum repl_kind kind, const char *id);
/* calls.c */
void calls_serve(void *ctx, enum repl_kind kind, const char *id, struct cf_slice bytes,
                     uint64_t deadline_us, struct repl_reply *reply);
void repl_calls_advanced(struct node_replication *replication);
/* The last source position that is applied here. */
bool repl_applied_position(struct node_replication *replication, enum repl_kind kind,
                           struct repl_position *ret);
/* pages.c: the table's snapshot_read. */
void repl_read_page(void *ctx, enum repl_kind kind, const struct repl_page_query *query,
                    repl_page_fn fn, void *arg);
void repl_pages_close(struct repl_open_snapshot *snapshot);
/* stage.c: a copy under way, with runs. The table's functions, for a node that keeps files and a cluster whose nodes all
 * know of runs; copy_begin is false where they don't. */
bool copy_begin(struct node_replication *replication, enum repl_kind kind);
bool copy_load(void *ctx, enum repl_kind kind, struct repl_stage *ret);
bool copy_known(void *ctx, enum repl_kind kind, struct cf_slice cursor, uint8_t hash[32],
                 struct cf_slice *until);
void copy_page(struct node_replication *replication, enum repl_kind kind, struct cf_buf *bytes,
                bool same, const struct repl_stage *behind, repl_done_fn done, void *arg);
/* ready comes when all is in, durably, on a majority: then copy_run_names() are what to switch to. */
void copy_finish(struct node_replication *replication, enum repl_kind kind, repl_done_fn ready,
                  void *arg);
const struct cf_slice *copy_run_names(struct repl_side *side, struct arena *arena, size_t *count);
/* The receiver goes, or the switch was proposed: nothing more is done for it. What the store keeps stays. */
void copy_drop(struct repl_side *side);
/* receive.c: the secondary's half of struct repl_host. */
void repl_receive_table(struct repl_host *host);
/* Proposes what a repair changes, with position, lineage and proof, as one entry. */
void repl_propose_repair(struct node_replication *replication, enum repl_kind kind,
                         const struct op *ops, size_t count, const struct repl_position *position,
                         const struct repl_lineage *lineage, struct cf_slice proof,
                         repl_done_fn done, void *arg);
/* repair.c: the secondary's side of repairs and comparisons. */
void repl_repair_table(struct repl_host *host);
/* repair_serve.c: the primary's. */
void repl_serve_repair(void *ctx, enum repl_kind kind, const char *id, uint64_t snapshot,
                       struct cf_slice question, struct repl_reply *reply);
void repair_source_unref(struct repair_source *source); /* NULL is fine */
/* host.c */
struct repl_open_snapshot *repl_find_snapshot(struct node_replication *replication, uint64_t id);
/* What is signed by a claim. */
void repl_claim_text(const struct repl_lineage *lineage, struct cf_buf *to);

static inline enum set_kind repl_set_kind(enum repl_kind kind)
{
    return kind == REPL_PERFORMANCE ? SET_PERFORMANCE : SET_DR;
}

#endif
