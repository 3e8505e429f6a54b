/* node/core/lease.h
 *
 * Secrets that are lent out (core-api.md section 11). A handler that makes one fills in rs.lease; the frame
 * writes the lease in the same entry, under "<request path>/<24 characters>". When it runs out, or is revoked,
 * or its token ends, the mount takes the secret back: the active node calls the engine's lease_revoke on a
 * thread of its own, where it may block; success removes the lease in one entry, with what lease_revoked
 * writes. A failure is tried again, LEASE_ATTEMPTS times in all and further and further apart; then the lease
 * is irrevocable: listed, and left to an operator.
 *
 * What is due stands by mount, so that one mount whose secrets cannot be taken back holds up nobody else's,
 * and apart from what tokens have. The leases of tokens are in sys/lease_store.h. Thread: the transaction's.
 */
#ifndef COFFER_CORE_LEASE_H
#define COFFER_CORE_LEASE_H

#include "node/core/token.h"

#define LEASE_ATTEMPTS 6
#define LEASE_RETRY_BASE_S ((int64_t)10) /* the n-th failure waits this times 2^n, give or take a half */
#define LEASE_FAILURE_MAX ((size_t)240)  /* bytes that are kept of an error */

/* rs.lease */
struct lease_ask {
    struct json *internal;    /* what lease_renew and lease_revoke get; object or NULL. Stored, shown to nobody */
    int64_t ttl_s, max_ttl_s; /* 0: the mount's, the server's */
    bool renewable;
};

struct lease {
    struct cf_slice id; /* as stored: without the mark of its namespace */
    uint32_t ns;
    struct uuid mount_uuid;
    uint8_t token[TOKEN_KEY_SIZE]; /* whose it is */
    uint32_t token_ns;
    bool has_token; /* batch tokens have no key */
    struct json *internal;
    int64_t issue_ns, expire_ns, last_renewal_ns; /* 0: never */
    int64_t ttl_s, max_ttl_s;                     /* as it was made; 0: the mount's */
    bool renewable;
    bool is_ending;  /* revoked, or run out: nothing but its revocation is to come */
    bool is_forced;  /* one attempt, and it goes whatever that says */
    bool is_outside; /* the engine that made it has a lease_revoke */
    unsigned attempts; /* failed ones */
    int64_t due_ns;    /* the next attempt, or its end; 0: irrevocable */
    struct cf_slice failure; /* of the last attempt */
};

/* Fills in rs.lease_id, lease_duration_s and renewable from rs.lease. */
CF_CHECKED cf_status lease_create(struct request *rq, struct cf_error *err);
/* Of any state. CF_NOT_FOUND. */
CF_CHECKED cf_status lease_find(struct txn *txn, struct arena *arena, uint32_t ns, struct cf_slice id,
                                struct lease **ret, struct cf_error *err);
/* Whether it can still be looked up and renewed. */
bool lease_is_live(const struct txn *txn, const struct lease *lease);
/* From now on, as far as lease, mount and server allow. rq's mount is not the lease's. */
CF_CHECKED cf_status lease_renew(struct request *rq, struct lease *lease, int64_t increment_s,
                                 struct cf_error *err);
/* Queues its revocation, with all its attempts; of an irrevocable one again. */
void lease_end(struct txn *txn, struct arena *arena, struct lease *lease, bool forced);
/* Everything of it goes. */
void lease_remove(struct txn *txn, struct arena *arena, const struct lease *lease);
/* An attempt failed: the next one, or irrevocable (at once when is_hopeless). */
void lease_note_failure(struct request *rq, struct lease *lease, const char *why, bool is_hopeless);

/* What a token leaves behind when it goes: an entry by which the active node ends its leases. Nothing when it
 * has none. */
CF_CHECKED cf_status lease_leave(struct txn *txn, struct arena *arena, const struct token_entry *entry,
                                 struct cf_error *err);
#define LEASE_EXPIRE_TOKEN 'o' /* mark of that entry: namespace (4 bytes), token key */
/* Works one off. ret_more: some are left. */
CF_CHECKED cf_status lease_end_of_token(struct txn *txn, struct arena *arena, struct cf_slice what, size_t max,
                                        bool *ret_more, struct cf_error *err);

/* The first mount after `*mount` that has leases (zero: the first of all); false: there is none. */
CF_CHECKED cf_status lease_next_mount(const struct view *view, struct uuid *mount, bool *ret_found,
                                      struct cf_error *err);
/* The names of the mount's leases that are due, oldest first: for lease_of_due(). */
CF_CHECKED cf_status lease_due(const struct view *view, struct arena *arena, struct uuid mount, size_t max,
                               struct txn_names *ret, struct cf_error *err);
/* CF_NOT_FOUND when it has gone or is not due any more. */
CF_CHECKED cf_status lease_of_due(struct txn *txn, struct arena *arena, struct cf_slice due_name,
                                  struct lease **ret, struct cf_error *err);
/* The irrevocable ones of a namespace, by their end: whole ids, `max` at most; 0: all. */
CF_CHECKED cf_status lease_irrevocable(struct txn *txn, uint32_t ns, size_t max,
                                       struct txn_names *ret, struct cf_error *err);

#endif
