/* node/core/quota.h
 *
 * Rate limits and limits of leases (core-api.md section 19): rules that stand in the store, part of a view through its settings
 * (settings.h). Of the rules that fit a request the narrowest alone counts: role, path below a mount, path with
 * a closing '*' (the longest), mount, namespace, the nearest inheritable one around it. Requests
 * are counted by each node, for its own clients; leases by the active node, for its cluster (lease_count.h). Thread: any; a table is immutable.
 */
#ifndef COFFER_CORE_QUOTA_H
#define COFFER_CORE_QUOTA_H

#include "node/core/limiter.h"
#include "node/core/request.h"
#include "node/core/view.h"

#define QUOTA_AREA AREA_CONFIG "quota"
#define QUOTA_RATE_PREFIX AREA_CONFIG "quota/rate-limit/"
#define QUOTA_LEASE_PREFIX AREA_CONFIG "quota/lease-count/"
/* Written with each change of the limits of leases, read by whoever makes or removes one: what was counted by other
 * rules is not appended. */
#define QUOTA_LEASE_GUARD ((struct key){CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE(AREA_CONFIG "quota-leases")})
#define QUOTA_CONFIG_KEY                                                                           \
    ((struct key){CLASS_REPLICATED, NAMESPACE_ROOT, CF_SLICE(AREA_CONFIG "quota-config")})
#define QUOTA_RULES_MAX ((size_t)1000)

enum quota_kind { QUOTA_RATE, QUOTA_LEASES };

struct quota_rule {
    struct cf_slice name;
    struct cf_slice ns_path;    /* "" for root */
    struct cf_slice mount_uuid; /* as text; empty: the whole namespace */
    struct cf_slice mount_path; /* when it was written */
    struct cf_slice suffix;     /* below the mount, without a closing slash; "x*" any that begins so */
    struct cf_slice role;
    const struct json *rate; /* as it was given */
    struct limit limit;      /* of QUOTA_RATE */
    uint64_t max_leases;     /* of QUOTA_LEASES */
    bool inheritable;
    uint64_t id; /* a new one with each write: counting begins anew */
};

struct quota_table {
    const struct quota_rule *rules; /* of requests */
    size_t count;
    const struct quota_rule *leases;
    size_t lease_count;
    uint64_t lease_version; /* changes with the limits of leases; 0: there are none */
    const struct cf_slice *exempt;
    size_t exempt_count;
    bool shows_headers, audits;
};

/* Into the arena, which outlives the table. */
CF_CHECKED cf_status quota_table_load(const struct view *view, struct arena *arena,
                                      struct quota_table *ret, struct cf_error *err);
CF_CHECKED cf_status quota_rule_from(struct arena *arena, enum quota_kind kind, const struct json *record,
                                     struct quota_rule *ret, struct cf_error *err);
struct key quota_rule_key(struct arena *arena, enum quota_kind kind, struct cf_slice name);
/* The settings: exempt paths and switches; record NULL: the defaults. */
void quota_config_from(struct arena *arena, const struct json *record, struct quota_table *ret);
/* What counts for the request (namespace, mount and relative path are known); NULL: nothing. */
const struct quota_rule *quota_match(const struct quota_table *table, struct request *rq);
/* The limit that a lease counts for: by the path that it was made at, below its namespace, and the role of the
 * login (empty: none). NULL: none. */
const struct quota_rule *quota_match_lease(const struct view *view, uint32_t ns, struct cf_slice path,
                                           struct cf_slice role);
/* Inside a run: which lease counts for which rule has changed, so that they are counted anew. */
void quota_leases_changed(struct request *rq);
/* Inside a run: a mount goes, and its rules with it. */
void quota_forget_mount(struct request *rq, const struct mount *mount);

/* Inside a run: a mount is in another namespace now, and its rules with it. */
CF_CHECKED cf_status quota_move_mount(struct txn *txn, struct arena *arena, const struct mount *mount,
                                      struct cf_slice ns_path, struct cf_error *err);

#endif
