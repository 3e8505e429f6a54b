/* node/core/core.h
 *
 * The request frame: route, authenticate, check the policy, audit, run, commit, wait, answer
 * (design 3.1, 3.2, 3.8). One struct core per node. node/server gives it the proposer and the engines
 * and feeds it with what consensus applies.
 */
#ifndef COFFER_CORE_CORE_H
#define COFFER_CORE_CORE_H

#include "node/core/audit.h"
#include "node/core/engine.h"
#include "node/core/lockout.h"
#include "node/core/proposer.h"
#include "node/core/request.h"
#include "node/core/view.h"

struct namespace;
struct outside_ask;

struct core_config {
    int64_t default_lease_ttl_s, max_lease_ttl_s;
    bool raw_storage_endpoint;
    unsigned workers; /* threads of the worker pool */
    struct audit_options audit;
    const struct lockout_rule *lockout_rules; /* of the configuration */
    size_t lockout_rule_count;
    bool audit_by_api;       /* sys/audit/:path makes devices; otherwise only the configuration does */
    bool audit_may_prefix;   /* the option "prefix" is allowed */
    const char *api_addr;    /* what clients reach this cluster by, or NULL; outlives the core */
};

/* Node-level work that needs more than a view (raft, seal, replication): routes of sys/ that node/server
 * adds. Their handler runs on the request's thread after authorisation; it calls core_host_done(rq) once,
 * later or at once, from any thread. */
struct core_host {
    void *context;
    const struct route *routes; /* ROUTE_HOST is implied; ends with ROUTE_END */
    /* Sends a request to the active node, or (replicated write set on a performance secondary) to the
     * primary; fills in rq->response or rq->error and calls core_host_done. */
    void (*forward)(void *context, struct request *rq, bool to_primary);
    /* Performance secondaries: which index of the primary's log this node's state has reached. May be NULL. */
    uint64_t (*replicated)(void *context);
    /* Gets or posts, and appends the body of a 200 to `to` (which has a maximum). Blocks, on threads of the core's own
     * (outside.h). NULL: nothing is asked. */
    cf_status (*fetch)(void *context, const struct outside_ask *ask, int timeout_ms, struct cf_buf *to,
                       struct cf_error *err);
    /* What the ages of those answers are measured by. NULL: cf_host_clock(). */
    const struct cf_clock *clock;
    /* May a mount move from one path, below one namespace, to the other? NULL: it may. */
    cf_status (*check_move)(struct request *rq, const struct namespace *from_ns, struct cf_slice from,
                            const struct namespace *to_ns, struct cf_slice to, struct cf_error *err);
};

/* A session waits so long for a node that lags. */
#define SESSION_WAIT_US ((uint64_t)500 * 1000)
/* A read that may be stale, and would be staler than this, is linearizable instead. */
#define STALE_MAX_US ((uint64_t)10 * 1000000)

struct core *core_new(const struct core_config *config, const struct engine_ops *const *engines,
                      const struct proposer *proposer, const struct core_host *host);
/* Ends the threads; what waits or is queued gets its answer, on this thread or on one that ends. Nothing
 * calls out of the core afterwards. The owner's way to let last words arrive before it frees their
 * receivers; twice is harmless. The listeners and the driver are gone. */
void core_stop(struct core *core);
void core_free(struct core *core); /* stops it first */
CF_DEFINE_OWNED(core);
const struct core_config *core_config(const struct core *core);
const struct engine_ops *const *core_engines(const struct core *core);

/* Takes the request through the frame. rq->done runs later on the transport's thread (through rq->post),
 * or at once. Thread: the transport's. */
void core_submit(struct core *core, struct request *rq);
void core_host_done(struct request *rq, cf_status status);
/* Whether route, token and policy let the request through, by this node's newest view; nothing is
 * recorded, spent or run. For who has to know before a body is taken in: the request goes through the
 * frame afterwards all the same. Any thread. */
bool core_would_allow(struct core *core, struct request *rq);
/* Whether a page of that origin may call (sys/config/cors). headers: what it may send, in the arena,
 * where the answer is ORIGIN_ALLOWED. Any thread. */
enum core_origin {
    ORIGIN_ANY, /* nothing is configured: nobody looks at origins */
    ORIGIN_ALLOWED,
    ORIGIN_REFUSED,
};
enum core_origin core_origin(struct core *core, struct cf_slice origin, struct arena *arena,
                             struct cf_slice *ret_headers);

/* The requests that are under way in the frame; what is shown is borrowed for the call. Any thread. */
struct core_flight {
    const char *id;
    struct cf_slice path, remote_address; /* the path with the namespaces in front */
    enum operation operation;
    int64_t start_ns;
};
void core_flights(struct core *core, void (*each)(void *context, const struct core_flight *flight),
                  void *context);

/* The host's check_move. */
CF_CHECKED cf_status core_check_move(struct request *rq, const struct namespace *from_ns, struct cf_slice from,
                                     const struct namespace *to_ns, struct cf_slice to, struct cf_error *err);
/* What the host's context is, for handlers of host routes. */
void *core_host_context(const struct core *core);

/* The newest published view, referenced; NULL before the first. Any thread. */
struct view *core_view(struct core *core);
/* Calls `run` once a view of at least `index` is published (at once when it is). Any thread. */
struct index_wait {
    struct cf_list link;
    uint64_t index;
    bool while_active; /* the index is of this leader's log, and may never come under another: runs
                          (not reached) when this node stops being active, too */
    uint64_t deadline_us; /* monotonic; not reached by then: runs, as false, at the next core_pulse(). 0: none */
    void (*run)(struct index_wait *wait, bool reached); /* false: sealed or shut down meanwhile */
};
void core_wait_index(struct core *core, struct index_wait *wait);
/* Any thread, every now and then: ends waits that are past their deadline. */
void core_pulse(struct core *core);
/* Before the first request: this cluster's id as text, for X-Vault-Index. */
void core_set_cluster_id(struct core *core, const char id[37]);

/* ---- fed by node/server ---- */

/* The state family to use from now on (start, snapshot install, restore). All caches go. */
CF_CHECKED cf_status core_state_changed(struct core *core, struct kv *db, struct kv_family *state,
                                        uint64_t index, struct cf_error *err);
/* Applier thread: the effects of one entry, added to the batch; after the last of a batch,
 * core_apply_end(). CF_CORRUPT: the entry makes no sense, the node must stop. */
CF_CHECKED cf_status core_apply(struct core *core, uint64_t index, struct cf_slice payload,
                                struct kv_batch *batch, struct cf_error *err);
void core_apply_end(struct core *core, struct kv_batch *batch);
/* Applier thread, after the batch is committed: publishes the view of this index. */
void core_applied(struct core *core, uint64_t index);
/* Main loop, at append: fills in the stamp, checks the window. */
CF_CHECKED cf_status core_admit(struct core *core, struct proposal *proposal, uint64_t index);
void core_became_leader(struct core *core, uint64_t last_index);

/* Time (stamp.h). Before consensus starts, UINT64_MAX, then the last index of the log as it was found: only what
 * comes behind it tells that the cluster's time went on under this process. Never called (tests): it always did. */
void core_set_log_end(struct core *core, uint64_t last_index);
/* The voters' clocks, now and then, on a leader; median of their wall clocks, and how many of them were heard. */
void core_observe_clocks(struct core *core, int64_t median_ns, unsigned heard, unsigned voters);
/* False on a leader that can't stamp yet: until the first entry of its own is applied, others are refused with
 * CF_UNAVAILABLE. Any thread. */
bool core_time_is_known(const struct core *core);
/* How far the voters' median is ahead of the leader's time, as of the last stamp. */
struct core_time {
    int64_t ahead_ns;
    bool is_alarming;
};
struct core_time core_time(struct core *core);

/* Unsealing hands over the keyring (referenced by the core); sealing takes it away and drops all caches
 * and tables. A changed keyring (rotation) is applied like any other entry: the core re-reads it through
 * `reload`, which node/server provides because the root key is there. */
void core_unsealed(struct core *core, struct keyring *keyring);
void core_sealed(struct core *core);
void core_set_keyring_loader(struct core *core,
                             cf_status (*load)(void *context, struct cf_slice wrapped,
                                               struct keyring **ret, struct cf_error *err),
                             void *context);

/* Called on the applier's thread (and on the one that unseals) after a view is published that changed what
 * stands below AREA_REPL: roles, sets, links. */
void core_on_replication_change(struct core *core, void (*changed)(void *context), void *context);

/* Background work of the active node: expiry. Started when it becomes active, stopped when it is not. */
void core_background_start(struct core *core);
void core_background_stop(struct core *core);

/* First content of a fresh store: default policies, mounts, salt, root token, and what the caller adds.
 * Encoded as one command. */
struct initial_put {
    struct key key;
    struct cf_slice value;
    bool is_plain; /* not sealed by the barrier (AREA_SEAL) */
};
CF_CHECKED cf_status core_initial_command(struct core *core, struct keyring *keyring,
                                          const struct initial_put *extra, size_t extra_count,
                                          const struct cf_random *random, struct cf_buf *to,
                                          struct cf_slice *ret_root_token, struct arena *arena,
                                          struct cf_error *err);

/* Log entries that were appended on this node since it started. */
uint64_t core_entry_count(const struct core *core);
struct audit_broker *core_audit(struct core *core);

/* The real random numbers, for requests. */
const struct cf_random *core_random(void);
/* The same in bulk, for what everybody may see: ids of requests. Never for keys or tokens. */
const struct cf_random *core_random_public(void);

/* Runs a function on the worker pool. */
void core_work(struct core *core, void (*run)(void *), void *arg);

#endif
