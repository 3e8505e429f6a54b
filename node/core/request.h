/* node/core/request.h
 *
 * A request on its way through the frame, and its answer. A handler is a function from (view, request)
 * to (response, write set): it reads and writes through rq->txn, takes the time from request_now_ns()
 * and randomness from rq->random, does no I/O and blocks on nothing. It may run more than once
 * (design 3.2); only the last run counts. Memory is of rq->arena unless it says otherwise.
 */
#ifndef COFFER_CORE_REQUEST_H
#define COFFER_CORE_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/arena.h"
#include "node/base/host.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/core/key.h"
#include "node/core/once.h"
#include "node/core/session.h"
#include "node/core/txn.h"
#include "node/format/json.h"

struct core;
struct mount;
struct mount_table;
struct namespace;
struct route;
struct token_entry;

enum operation {
    OPERATION_READ,
    OPERATION_LIST,
    OPERATION_SCAN,
    OPERATION_CREATE, /* a write to what is not there, where the mount can tell */
    OPERATION_UPDATE,
    OPERATION_PATCH,
    OPERATION_DELETE,
    OPERATION_HELP,
    OPERATION_COUNT
};
const char *operation_name(enum operation operation); /* "read", "list", ... */

struct warning {
    struct warning *next;
    const char *text;
};

/* What a login or token creation asks for; the frame turns it into a token (node/core/token.h). */
struct auth_result {
    struct cf_slice display_name;
    const struct cf_slice *policies; /* without "default" unless asked for; any order */
    size_t policy_count;
    struct json *metadata; /* object of strings, or NULL */
    struct cf_slice alias_name; /* identity alias at this mount; empty: none */
    bool has_groups; /* the method knows which of its groups the login is in: these, and no others */
    const struct cf_slice *groups; /* names, as group aliases at this mount have them */
    size_t group_count;
    struct cf_slice role;  /* or user, as quotas by role name it; empty: the method has no such notion */
    struct json *internal; /* for renewals by the auth method, or NULL */
    int64_t ttl_s, max_ttl_s, explicit_max_ttl_s, period_s; /* 0: the mount's, the server's */
    int64_t num_uses;
    const struct cf_slice *bound_cidrs; /* networks that the token may be used from */
    size_t bound_cidr_count;
    bool no_default_policy, not_renewable;
    bool is_batch; /* a batch token is asked for */
    /* Filled in by the frame, for the answer: */
    const struct cf_slice *identity_policies; /* of the entity and its groups */
    size_t identity_policy_count;
    struct token_entry *token;
    struct cf_slice client_token, accessor;
    int64_t lease_duration_s;
    bool renewable, orphan;
};

struct wrap_info {
    struct cf_slice token, accessor, wrapped_accessor, creation_path;
    int64_t ttl_s, creation_ns;
    bool is_activation; /* a secondary token: clients know it with an empty wrapped_accessor */
};

struct response {
    int status; /* 0: 200 when there is content, else 204; 200 without content: an envelope around null */
    struct json *data; /* object or NULL */
    struct auth_result *auth;
    struct wrap_info *wrap;
    struct warning *warnings; /* newest first; printed in order of addition */
    struct lease_ask *lease; /* the secret in the answer is lent out: node/core/lease.h */
    struct cf_slice lease_id; /* the frame's, of that lease */
    int64_t lease_duration_s;
    bool renewable;
    bool data_at_top;   /* the members of data appear at top level as well (core-api 2) */
    bool no_envelope;   /* data alone is the body */
    bool no_unknown_parameter_warning;
    struct cf_slice raw; /* with content_type: the body as it is */
    const char *content_type;
    const char *location; /* of a redirect; NULL: none */
};

struct outside_ask;

struct carried_header {
    struct cf_slice name, value; /* name in small letters */
};

/* What a rate limit said of the request, for the headers of its answer. */
struct quota_answer {
    bool is_shown;   /* a rule counts, and headers are switched on */
    bool is_refused; /* it is over the limit */
    uint64_t limit, remaining, reset_s, retry_s;
};

struct request {
    struct core *core;
    struct arena *arena;
    /* From the transport: */
    char id[37]; /* uuid text */
    enum operation operation;
    /* Canonical, below /v1/, e.g. "secret/data/a"; no leading slash. From the transport with the
     * namespaces in front ("team/secret/data/a"); the frame cuts them off. */
    struct cf_slice path;
    size_t ns_header_size; /* bytes at the beginning of path that a header put there ("team/") */
    struct cf_slice token; /* as sent, or empty */
    bool token_is_malformed; /* more than one, or a bad form */
    struct json *body; /* object or NULL; query parameters are merged in for reads and deletes */
    struct json *query; /* object of strings or NULL */
    struct cf_slice raw_body;
    int64_t wrap_ttl_s; /* 0: not asked for; < 0: invalid */
    struct cf_slice remote_address;
    uint16_t remote_port;
    struct cf_slice peer_certificate; /* DER or empty */
    /* The value of a header, for the audit log; NULL: the transport has none. */
    bool (*header)(const struct request *rq, struct cf_slice name, struct cf_slice *ret);
    /* Of a request that is forwarded: those of its headers that are recorded, for the other side's audit log (audit.h). */
    const struct carried_header *headers;
    size_t header_count;
    struct cf_slice forwarded_from; /* the node that forwarded it, when it is_forwarded */
    bool is_write_method; /* POST or PUT: create or update is decided by the mount */
    /* How its reads may be answered. Default: linearizable, on every node. */
    bool stale_ok;                /* from what this node has, bounded (STALE_MAX_US) and measured */
    struct cf_slice sessions[2];  /* X-Vault-Index: this node has to have seen that, which is then enough */
    unsigned session_count;
    bool forward_if_behind;       /* else CF_STALE (412) */
    bool forward_always;          /* to the active node */
    bool redirects;               /* instead of being forwarded to it: 307, with redirect_query */
    struct cf_slice redirect_query; /* as it was sent */
    bool ceremonies_are_open; /* its listener takes ROUTE_CEREMONY without a token */
    bool is_forwarded; /* by another node: never handed on again */
    const struct token_entry *foreign; /* the caller, as a performance secondary vouches for it: its
                                          policies count as they are here; it gets no token, lease or
                                          wrapping from here. NULL: everybody else */
    bool takes_grant; /* a login that changes shared data, on its way from a performance secondary to its primary:
                         the answer is what its token is made of (grant.h), and the secondary makes it */
    uint64_t deadline_us;
    struct once once; /* of a forwarded request: its id, under which it has one effect at most */
    const struct cf_random *random;

    /* Made by the frame for this run: */
    struct view *view;
    struct txn *txn;
    uint32_t ns; /* the number of its namespace; 0: root */
    const struct namespace *nspace;   /* NULL in the node's own runs: root */
    const struct mount_table *mounts; /* of its namespace */
    struct cf_slice full_path;        /* path with the namespaces in front */
    const struct mount *mount;
    const struct route *route;
    struct cf_slice mount_path; /* "secret/" */
    struct cf_slice relative;   /* "data/a" */
    struct cf_slice captures[4]; /* in order of the pattern */
    const struct token_entry *caller; /* NULL for open paths */
    struct quota_answer quota;
    struct json *ensure; /* what the primary has to do before this can go on here: identity.h */
    const struct outside_ask *ask; /* what another server has to be asked before this can go on: outside.h */
    uint64_t outside_since_us;     /* of all its runs: when it first asked */
    struct response response;
    bool keeps_writes; /* the handler fails, and what it has written stays: a failure that is counted */
    struct cf_error error;
    uint64_t index; /* where its effect was committed; 0: nothing was */
    uint64_t seen_index; /* once answered: of the state that the answer was found on */
    uint64_t replicated_index; /* where in the primary's log, on a performance secondary that has not got it yet */
    struct cf_slice session;   /* X-Vault-Index of the answer, or empty */
    bool was_stale;            /* answered from a view that nobody was asked about, of this age at most: */
    uint64_t staleness_us;

    /* The transport's: how the frame gives the request back, on the transport's thread. */
    void (*post)(struct request *rq, void (*run)(void *), void *arg);
    void (*done)(struct request *rq);
    void *transport;
    void *response_context; /* of a handler that put its own `done` there */
    /* The frame's. */
    void *frame;
};

/* ---- for handlers ---- */

/* A path of the request's namespace as policies of `entry` name it: below the namespace of the token.
 * False when the token belongs to no namespace at or above the request's: it may do nothing there. */
bool request_policy_path(const struct request *rq, const struct token_entry *entry,
                         struct cf_slice path, struct cf_slice *ret);
int64_t request_now_ns(const struct request *rq);

/* Fields: captures of the pattern first, then the body, then the query. NULL when absent or null. */
const struct json *request_field(const struct request *rq, const char *name);
/* Empty when absent. CF_INVALID (with err) when present and of the wrong type. Numbers and booleans are
 * taken as text where a string is asked for, digits in strings where a number is, as Vault does. */
CF_CHECKED cf_status request_string(const struct request *rq, const char *name, struct cf_slice *ret,
                                    struct cf_error *err);
CF_CHECKED cf_status request_int(const struct request *rq, const char *name, int64_t absent,
                                 int64_t *ret, struct cf_error *err);
CF_CHECKED cf_status request_bool(const struct request *rq, const char *name, bool absent, bool *ret,
                                  struct cf_error *err);
/* Seconds by core-api.md section 4. `given` may be NULL. Negative values pass through. */
CF_CHECKED cf_status request_duration(const struct request *rq, const char *name, int64_t absent,
                                      int64_t *ret, bool *given, struct cf_error *err);
/* A JSON list of strings, or one string: split at commas when `commas`, else one name. Blanks around
 * elements are cut, empty ones dropped. */
CF_CHECKED cf_status request_list(const struct request *rq, const char *name, bool commas,
                                  struct cf_slice **ret, size_t *ret_count, struct cf_error *err);

/* The entry is not there: 404 with an empty error list. */
CF_CHECKED cf_status request_absent(struct cf_error *err);
void response_warn(struct request *rq, const char *fmt, ...) CF_PRINTF(2, 3);
/* data = {"keys": [...]}; CF_NOT_FOUND (empty list of errors) when there are none. */
CF_CHECKED cf_status response_keys(struct request *rq, const struct txn_names *names,
                                   struct cf_error *err);
/* The page of names below `prefix` in the mount's own storage that `after` and `limit` of the request ask for, as
 * response_keys. */
CF_CHECKED cf_status response_page(struct request *rq, struct cf_slice prefix, struct cf_error *err);
/* The same for any keys. */
CF_CHECKED cf_status response_page_of(struct request *rq, struct key prefix, struct cf_error *err);
/* Makes rs->data when it is NULL and returns it. */
struct json *response_data(struct request *rq);

/* ---- the mount's own storage: names below the mount, class by the mount ---- */

struct key store_key(const struct request *rq, struct cf_slice name);
/* As store_key in class cluster: local even in a shared mount. */
struct key store_local_key(const struct request *rq, struct cf_slice name);
CF_CHECKED cf_status store_get(struct request *rq, struct cf_slice name, struct cf_slice *ret,
                               struct cf_error *err);
/* Records are one version byte and JSON (record.h). CF_NOT_FOUND when absent. */
CF_CHECKED cf_status store_get_json(struct request *rq, struct cf_slice name, struct json **ret,
                                    struct cf_error *err);
void store_put(struct request *rq, struct cf_slice name, struct cf_slice value);
void store_put_json(struct request *rq, struct cf_slice name, const struct json *value);
void store_delete(struct request *rq, struct cf_slice name);
CF_CHECKED cf_status store_list(struct request *rq, struct cf_slice prefix, struct cf_slice after,
                                size_t limit, struct txn_names *ret, struct cf_error *err);

#define RECORD_VERSION 1
/* version byte + compact JSON, in the arena */
struct cf_slice record_encode(struct arena *arena, const struct json *value);
CF_CHECKED cf_status record_decode(struct cf_slice record, struct arena *arena, struct json **ret,
                                   struct cf_error *err);

#endif
