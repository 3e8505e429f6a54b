/* node/core/core_int.h: the insides of struct core, for node/core only. */
#ifndef COFFER_CORE_CORE_INT_H
#define COFFER_CORE_CORE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "node/core/audit.h"
#include "node/core/cache.h"
#include "node/core/core.h"
#include "node/core/namespace.h"
#include "node/core/outside.h"
#include "node/core/settings.h"
#include "node/core/stamp.h"
#include "node/core/touched.h"
#include "node/core/window.h"

struct acl;
struct expirer;
struct revoker;
struct work_pool;

enum dirty {
    DIRTY_MOUNTS = 1 << 0, /* namespaces, and the mounts of some of them: struct stale_mounts */
    DIRTY_KEYRING = 1 << 1,
    DIRTY_ROLE = 1 << 2,
    DIRTY_SALT = 1 << 3,
    DIRTY_REPLICATION = 1 << 4, /* nothing of ours is made from it: the node is told */
    DIRTY_AUDIT = 1 << 5,
    DIRTY_EVERY_MOUNT = 1 << 6,
    DIRTY_SETTINGS = 1 << 7,
    DIRTY_ALL = 0xff,
};

/* The part of the state that a batch changes before it is committed. */
struct progress {
    uint32_t generation[CLASS_COUNT];
    int64_t stamp_ns;
    uint64_t stamp_monotonic_us;
    bool is_live; /* an entry came that was not in this node's log when it started */
};

/* What the applier knows of the state; guarded by state_lock. */
struct state {
    struct kv *db;
    struct kv_family *family;
    uint64_t index;
    struct progress now;  /* of the committed state: what views are made of */
    struct progress next; /* with the batch that is being applied; a publication by another thread
                             (unsealing) in between sees nothing of it */
    unsigned next_dirty;  /* what that batch makes stale, once it is committed */
    bool unsealed;
    struct keyring *keyring;
    struct namespace_table *namespaces;
    struct stale_mounts stale, next_stale; /* with DIRTY_MOUNTS in dirty and next_dirty */
    struct audit_table *audit;
    struct settings *settings;
    enum cluster_role role;
    struct line_id line;
    uint8_t salt[32];
    unsigned dirty; /* enum dirty */
    struct arena *scratch; /* of one apply */
    bool is_noting; /* somebody keeps a sum over the state: touched.h */
    struct touched touched, next_touched; /* next: of the batch that is being applied */
};

/* Reserved keys of the state family, beside the driver's "\0applied". */
#define GENERATION_KEY CF_SLICE("\1generation")
#define STAMP_KEY CF_SLICE("\1stamp")

/* The record of this cluster's role: part of every request's read set, so that no write lands after a
 * change of role. */
#define ROLE_KEY ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_REPL "role")})

/* Somebody who waits for an older ticket to end. */
struct parked {
    struct cf_list link;
    void (*run)(struct parked *parked); /* any thread; may not block */
};

/* flights.c: the requests under way. Locked by shard; what a flight points to does not change before it
 * is removed. */
#define FLIGHT_SHARDS 32
struct flight {
    struct cf_list link;
    const struct request *rq;
    enum operation operation; /* as it came */
    uint64_t started_us;
    unsigned shard;
};
struct flight_shard {
    _Alignas(64) pthread_mutex_t lock;
    struct cf_list list;
};
struct flights {
    struct flight_shard shards[FLIGHT_SHARDS];
};
void flights_init(struct flights *flights);
void flights_done(struct flights *flights);
void flights_add(struct flights *flights, struct flight *flight, const struct request *rq,
                 uint64_t now_us);
void flights_remove(struct flights *flights, struct flight *flight);

struct core {
    struct core_config config;
    const struct engine_ops *const *engines;
    struct proposer proposer;
    struct core_host host;
    struct cache *cache;
    struct audit_broker *audit;
    struct audit_gate *audit_gate;
    struct work_pool *pool;

    pthread_mutex_t state_lock;
    struct state state;
    cf_status (*load_keyring)(void *context, struct cf_slice wrapped, struct keyring **ret,
                              struct cf_error *err);
    void *load_context;
    void (*replication_changed)(void *context);
    void *replication_context;

    pthread_mutex_t view_lock; /* current, waits */
    struct view *current;
    struct cf_list waits;
    _Atomic unsigned timed_waits; /* those with a deadline */
    char cluster_id[37];

    pthread_mutex_t window_lock; /* window, parked, stamp, lease_counts */
    struct window *window;
    struct lease_counts *lease_counts;
    struct cf_list parked;
    struct stamp stamp;
    _Atomic uint64_t timed_index; /* not 0: the first stamp of this leader stands there, and is not applied yet;
                                     UINT64_MAX: it has given none, and needs the others' clocks for it */
    uint64_t log_start;           /* of the log when the process started; guarded by state_lock */
    uint64_t role_hash;
    uint64_t audit_hashes[2]; /* of AUDIT_GUARD in both classes that hold devices */

    struct flights flights;
    _Atomic bool has_cors; /* of the newest view: most clusters have none, and ask no further */
    _Atomic bool has_quotas; /* as has_cors */
    struct limiter *_Atomic limiter; /* made with the first quota; NULL before */
    struct expirer *expirer;
    struct revoker *revoker;
    struct outside *outside;
    _Atomic int role_now; /* enum cluster_role of the newest view, for the append */
    _Atomic uint64_t entries; /* log entries that requests made */
    _Atomic size_t touched_bytes; /* of state.touched, as of the last batch */
};

/* publish.c: rebuilds what is dirty and makes a view of state.index. state_lock is held. */
void core_publish(struct core *core);
/* Runs the waits that the newest view satisfies, and, not reached, all others or those that count on
 * this node's being active. No lock is held. */
enum waits { WAITS_REACHED, WAITS_LATE, WAITS_WHILE_ACTIVE, WAITS_ALL };
void core_run_waits(struct core *core, enum waits which);

/* admit.c: runs once no older ticket stands in the claim's way (at once when none does). */
void core_park(struct core *core, struct parked *parked, const struct window_claim *claim);
/* The expiry thread, on the active node: counts leases by quota where that is not known. May take as long as it
 * takes to read them all. */
CF_CHECKED cf_status core_count_leases(struct core *core, const struct view *view, struct cf_error *err);
/* False: this node does not know (yet). */
bool core_lease_count(struct core *core, uint64_t rule, uint64_t *ret);
/* Everybody who is parked runs and asks again. */
void core_wake_parked(struct core *core);
/* The holder appended, ended or gave up. 0 is fine. */
void core_end_ticket(struct core *core, uint64_t ticket);

/* authorize.c: the ACL with a reference; what it was made from is noted as read. */
CF_CHECKED cf_status authorize_acl(struct txn *txn, struct arena *arena,
                                   const struct token_entry *entry, struct acl **ret,
                                   struct cf_error *err);

/* once_record.c: adds the deletion of old request records to the write set, as far as there are any. */
CF_CHECKED cf_status once_drop_old(struct txn *txn, struct cf_error *err);

/* initial.c: the mounts and policies that a namespace begins with, in rq->ns. */
CF_CHECKED cf_status core_fill_namespace(struct request *rq, struct cf_error *err);

/* work.c */
struct work_pool *work_pool_new(unsigned threads);
/* Finishes what is queued and ends the threads; work_pool_add answers false from then on. Twice is
 * harmless. */
void work_pool_stop(struct work_pool *pool);
void work_pool_free(struct work_pool *pool); /* stops it first */
/* False when the queue is full. */
bool work_pool_add(struct work_pool *pool, void (*run)(void *), void *arg);

/* expire.c */
struct expirer *expirer_new(struct core *core);
void expirer_stop(struct expirer *expirer); /* ends its thread; twice is harmless */
void expirer_free(struct expirer *expirer); /* stops it first */
/* Its next round is at once. Any thread. */
void expirer_wake(struct expirer *expirer);

/* revoke.c */
struct revoker *revoker_new(struct core *core);
/* Waits for attempts that are under way; twice is harmless. The expiry thread has ended. */
void revoker_stop(struct revoker *revoker);
void revoker_free(struct revoker *revoker);
/* The expiry thread, on the active node: hands out leases that are due, as far as there is room. */
CF_CHECKED cf_status revoker_round(struct revoker *revoker, const struct view *view, struct arena *arena,
                                   struct cf_error *err);

#endif
