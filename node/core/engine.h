/* node/core/engine.h
 *
 * What a secrets engine or auth method is: a table of routes and a few hooks. A folder in node/engines
 * or node/auth defines one `const struct engine_ops`; a line in engines.def or auth.def registers it.
 */
#ifndef COFFER_CORE_ENGINE_H
#define COFFER_CORE_ENGINE_H

#include "node/core/request.h"

typedef cf_status (*route_handler)(struct request *rq, struct cf_error *err);

enum route_flags {
    ROUTE_OPEN = 1 << 0,   /* no token is asked for */
    ROUTE_SUDO = 1 << 1,   /* root-protected: sudo on top of the policy */
    ROUTE_READS = 1 << 2,  /* a write method that writes nothing: answered where it arrives */
    ROUTE_ACTIVE = 1 << 3, /* always answered by the active node */
    ROUTE_SLOW = 1 << 4,   /* runs on the worker pool (password hashing, key generation) */
    ROUTE_LOGIN = 1 << 5,  /* fills rs.auth; the frame makes the token */
    ROUTE_HOST = 1 << 6,   /* the handler is the host's: see core.h */
    ROUTE_WRITE = 1 << 7,  /* a read method that writes: goes to the active node at once */
    ROUTE_ANY_ROLE = 1 << 8, /* answered on DR secondaries and fenced clusters, too */
    ROUTE_WRAPPING = 1 << 9, /* may be called with a wrapping token */
    /* On a DR secondary open to callers without a token: the handler checks the operation token. */
    ROUTE_DR_TOKEN = 1 << 10,
    /* Open to callers without a token where the listener says so: ceremonies of key holders, metrics. */
    ROUTE_CEREMONY = 1 << 11,
    /* With ROUTE_ANY_ROLE: while a cluster is being filled or was superseded, but not on a DR secondary. */
    ROUTE_NOT_DR = 1 << 12,
};

enum field_type { FIELD_STRING, FIELD_INT, FIELD_BOOL, FIELD_DURATION, FIELD_LIST, FIELD_MAP, FIELD_ANY };

/* Fields give help, the OpenAPI document and the warning about unknown parameters. */
struct field {
    const char *name;
    enum field_type type;
    const char *help;
};
#define FIELD_END                                                                                  \
    {                                                                                              \
        NULL, FIELD_ANY, NULL                                                                      \
    }

/* pattern: segments by "/", ":x" one segment, ":x..." the rest (which may hold slashes and may be empty:
 * "data/:path..." also matches "data/"). First match wins. A list request is matched with and without its
 * closing slash. */
struct route {
    const char *pattern;
    route_handler read, list, scan, write, patch, del; /* write serves create and update */
    unsigned flags;
    const struct field *fields; /* ends with FIELD_END; NULL: any parameter is fine */
    const char *help;
    /* For create or update (only where the mount can tell): does the entry exist? NULL: update. Asked
     * only where a policy or an audit device tells the two apart: a handler finds out by itself. */
    cf_status (*exists)(struct request *rq, bool *ret, struct cf_error *err);
};
#define ROUTE_END                                                                                  \
    {                                                                                              \
        .pattern = NULL                                                                            \
    }

struct lease;

enum engine_kind { ENGINE_SECRETS, ENGINE_AUTH };

struct engine_ops {
    const char *type; /* "kv" */
    enum engine_kind kind;
    const char *help;
    const struct route *routes; /* ends with ROUTE_END */
    bool builtin_only; /* cannot be mounted by requests: sys, cubbyhole, identity, token */
    bool is_local;     /* its data is of class cluster wherever it is mounted */
    /* Prefixes of its own names whose records give access by themselves (secret ids); ends with NULL.
     * Restoring a snapshot brings none back that the present state no longer has. NULL: none. */
    const char *const *credentials;
    /* Prefixes of its own names whose records take access away (lists of revoked certificates); ends
     * with NULL. They outlive the restore of a snapshot that is older than they are. NULL: none. */
    const char *const *revocations;
    /* Which table serves this mount (kv: by options.version). NULL: routes. */
    const struct route *(*select)(const struct mount *mount);
    /* Checks and normalises a mount's options when it is enabled or tuned; may warn. NULL: any. */
    cf_status (*configure)(struct request *rq, struct mount *mount, const struct mount *before,
                           struct cf_error *err);
    /* The role or user that a login is one of, for quotas by role: read, nothing is written or proved. False: it is
     * no login, or of no role. NULL: the method has no such notion. */
    bool (*login_role)(struct request *rq, struct cf_slice *ret);
    /* Of engines that lend secrets out (lease.h). A lease is renewed: refuses, or changes the lease's
     * internal object and TTLs. Pure; NULL: allowed. */
    cf_status (*lease_renew)(struct request *rq, struct lease *lease, struct cf_error *err);
    /* Takes the secret back where it lives. On a thread of its own, where it may block; reads through rq->txn,
     * and what it writes there is dropped. May be called again for what it has done already (a crash, an
     * answer that was lost): that is a success. CF_UNSUPPORTED: it will never succeed, and is not tried
     * again. NULL: there is nothing outside. */
    cf_status (*lease_revoke)(struct request *rq, const struct lease *lease, struct cf_error *err);
    /* Writes what the mount keeps of it, in the entry that removes the lease. Pure. May be NULL. */
    cf_status (*lease_revoked)(struct request *rq, const struct lease *lease, struct cf_error *err);
    /* An auth method's say in a renewal (auth.internal as it was made). NULL: allowed. */
    cf_status (*renew)(struct request *rq, struct auth_result *auth, struct cf_error *err);
};

/* The registry: made by node/server from the .def files. */
const struct engine_ops *engine_find(const struct engine_ops *const *all, enum engine_kind kind,
                                     struct cf_slice type);

#endif
