/* node/core/view.h
 *
 * A view (design 3.3): one published state of the store: a snapshot, the read-only tables made from it,
 * its index and its time, all of the same moment. Immutable, reference-counted. Thread: any.
 */
#ifndef COFFER_CORE_VIEW_H
#define COFFER_CORE_VIEW_H

#include <stdatomic.h>
#include <stdint.h>

#include "node/barrier/barrier.h"
#include "node/barrier/keyring.h"
#include "node/base/arena.h"
#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/core/key.h"
#include "node/storage/kv.h"

struct cache;
struct audit_table;
struct mount_table;
struct namespace_table;
struct settings;

/* What this cluster is in the replica set, as far as requests care. Part of every view. */
enum cluster_role {
    ROLE_ALONE_OR_PRIMARY,      /* accepts every write */
    ROLE_PERFORMANCE_SECONDARY, /* replicated data belongs to the primary */
    ROLE_DR_SECONDARY,          /* answers nobody */
    ROLE_FENCED,                /* was a primary; a newer epoch exists */
    ROLE_BOOTSTRAPPING,         /* being filled */
};

struct view {
    _Atomic unsigned references;
    struct kv *db;
    struct kv_family *state;
    struct kv_snapshot *snapshot;
    uint64_t index;
    uint32_t generation[CLASS_COUNT];
    int64_t stamp_ns;            /* the last applied stamp */
    uint64_t stamp_monotonic_us; /* when it was applied here */
    enum cluster_role role;
    struct line_id line;      /* the line of clusters: key derivation of class cluster */
    struct keyring *keyring;  /* NULL while sealed */
    struct namespace_table *namespaces; /* NULL while sealed */
    struct mount_table *mounts; /* of the root namespace; the table's */
    struct audit_table *audit;  /* NULL while sealed */
    struct settings *settings;  /* NULL while sealed */
    uint8_t salt[32];           /* of token and accessor HMACs; zero while sealed */
    struct cache *cache;        /* node/core/cache.h; borrowed from the core */
};

const char *cluster_role_name(enum cluster_role role); /* "primary", "dr-secondary", ... */

struct view *view_ref(struct view *view);
void view_unref(struct view *view); /* NULL is fine */

/* Now, in ns since 1970: the last applied stamp and the monotonic time since (design 3.7). */
int64_t view_now_ns(const struct view *view);

/* The opened value, in the arena. CF_NOT_FOUND; CF_CORRUPT when it does not open. index may be NULL. */
CF_CHECKED cf_status view_get(const struct view *view, struct key key, struct arena *arena,
                              struct cf_slice *ret, uint64_t *ret_index, struct cf_error *err);
/* As stored (sealed), without the modification index. For keys that the barrier does not seal. */
CF_CHECKED cf_status view_get_raw(const struct view *view, struct key key, struct arena *arena,
                                  struct cf_slice *ret, struct cf_error *err);

/* Walks names below prefix.name in bytewise order, from the first name > after (empty: the first).
 * `each` gets the name without the prefix, borrowed; it returns false to stop. */
CF_CHECKED cf_status view_walk(const struct view *view, struct key prefix, struct cf_slice after,
                               bool (*each)(void *context, struct cf_slice rest), void *context,
                               struct cf_error *err);

/* The first namespace with a number from `from` on that has keys of the class; false when there is none. */
CF_CHECKED cf_status view_next_namespace(const struct view *view, uint8_t class, uint32_t from,
                                         bool *ret_found, uint32_t *ret, struct cf_error *err);

#endif
