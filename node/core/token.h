/* node/core/token.h
 *
 * Tokens (core-api.md section 5): stored only under salted HMACs, with accessors, parents, uses, TTLs
 * and an expiry index in the store. Everything that writes does so through the request's txn.
 */
#ifndef COFFER_CORE_TOKEN_H
#define COFFER_CORE_TOKEN_H

#include "node/core/request.h"
#include "node/format/encode.h"

#define TOKEN_KEY_SIZE ((size_t)32)

/* When the state was last restored: what was made before and is kept nowhere (batch tokens) is void. */
#define TOKEN_NOT_BEFORE_KEY                                                                       \
    ((struct key){CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_NOT_BEFORE)})

struct identity_alias;

/* Immutable once it was read; may be shared by requests through the cache (then not of their arena). */
struct token_entry {
    uint8_t key[TOKEN_KEY_SIZE];    /* HMAC-SHA-256 of the token under the salt */
    uint8_t parent[TOKEN_KEY_SIZE]; /* zero: orphan */
    bool has_parent;
    uint32_t ns, parent_ns; /* whose it is; a parent may be of a namespace above */
    struct cf_slice accessor, display_name, path, role, type; /* type "service" or "batch" */
    struct cf_slice *policies; /* sorted, lower case, no doubles */
    size_t policy_count;
    struct json *metadata; /* object of strings or NULL */
    struct json *internal; /* the auth method's, for renewals */
    struct cf_slice entity_id;
    struct cf_slice login_role; /* of the login that made it, as quotas by role know it; empty: none */
    struct cf_slice *bound_cidrs;
    size_t bound_cidr_count;
    int64_t creation_ns, last_renewal_ns; /* 0: never */
    int64_t expire_ns;                    /* 0: never */
    int64_t creation_ttl_s, explicit_max_ttl_s, period_s, max_ttl_s;
    int64_t num_uses; /* uses left; 0: unlimited */
    bool is_root, is_renewable, is_wrapping;
    struct uuid mount_uuid; /* of the auth mount that made it */
    uint64_t entry_hash;    /* key_hash of its record: part of the read set of what it authorises */
};

/* key = HMAC(salt, id). */
CF_CHECKED cf_status token_key_of(struct txn *txn, struct cf_slice id, uint8_t key[TOKEN_KEY_SIZE],
                                  struct cf_error *err);
struct key token_record_key(struct arena *arena, uint32_t ns, const uint8_t key[TOKEN_KEY_SIZE]);

/* The live entry of a token as sent; notes what it read. CF_DENIED when unknown or expired. */
CF_CHECKED cf_status token_lookup(struct txn *txn, struct arena *arena, struct cf_slice id,
                                  const struct token_entry **ret, struct cf_error *err);
CF_CHECKED cf_status token_by_key(struct txn *txn, struct arena *arena, uint32_t ns,
                                  const uint8_t key[TOKEN_KEY_SIZE], const struct token_entry **ret,
                                  struct cf_error *err);
/* Of the namespace that the request is in, and of no other: CF_NOT_FOUND. */
CF_CHECKED cf_status token_by_accessor(struct txn *txn, struct arena *arena, uint32_t ns,
                                       struct cf_slice accessor, const struct token_entry **ret,
                                       struct cf_error *err);
/* Whether the request may act on the token: its namespace is the request's or lies below it, or the token
 * is the request's own. */
bool token_is_in_reach(const struct request *rq, const struct token_entry *entry);

/* Whether the caller's policies give `sudo` on the path (root: always). rq->caller is set. */
CF_CHECKED cf_status token_has_sudo(struct request *rq, struct cf_slice path, bool *ret,
                                    struct cf_error *err);

/* Whether the policies of a token allow the operation on exactly that path, with sudo where it is asked for. */
CF_CHECKED cf_status token_allows(struct request *rq, const struct token_entry *entry,
                                  struct cf_slice path, enum operation operation, bool needs_sudo,
                                  bool *ret, struct cf_error *err);

/* What a new token is made of. id empty: drawn at random. */
struct token_spec {
    struct cf_slice id;
    struct token_entry entry; /* key, accessor, creation, expiry, creation_ttl_s are filled in */
    int64_t ttl_s;            /* effective, already cut to the maxima; 0: never expires (root only) */
};
/* Adds record, accessor, child and expiry index to the write set, in the namespace of the request. The
 * token itself is in *ret_id. */
CF_CHECKED cf_status token_create(struct request *rq, struct token_spec *spec, struct cf_slice *ret_id,
                                  struct token_entry **ret, struct cf_error *err);
/* A batch token: the entry itself, sealed by the barrier, is the token. Nothing is stored; it has no
 * accessor, ends by its TTL (> 0), with its parent or with the auth mount that made it. */
CF_CHECKED cf_status token_create_batch(struct request *rq, struct token_spec *spec,
                                        struct cf_slice *ret_id, struct token_entry **ret,
                                        struct cf_error *err);
/* Writes a changed copy of the entry (renewal, use count): old expiry index out, new one in. */
CF_CHECKED cf_status token_update(struct txn *txn, struct arena *arena, const struct token_entry *before,
                                  const struct token_entry *after, struct cf_error *err);
/* Deletes the token and, with_children, its tree; children become orphans otherwise. Cubbyholes, indexes
 * and leases go with them. A tree that does not fit (TOKEN_TREE_MAX tokens in one write set, earlier
 * calls included) ends at once and is deleted later: the token's life ends now, which ends every token
 * below it, and the active node's background work deletes them in bounded entries. Orphaning more than
 * that many children at once is CF_BUSY. */
#define TOKEN_TREE_MAX 500
CF_CHECKED cf_status token_revoke(struct txn *txn, struct arena *arena, const struct token_entry *entry,
                                  bool with_children, struct cf_error *err);
/* Deletes tokens of the tree, leaves first, and lowers *room for each, until the tree is gone or *room is
 * 0. ret_left: the token itself is still there. */
CF_CHECKED cf_status token_revoke_some(struct txn *txn, struct arena *arena,
                                       const struct token_entry *entry, size_t *room, bool *ret_left,
                                       struct cf_error *err);

/* TTL by core-api.md section 4: asked (0: not asked) or the default, cut to the maxima; warns when cut. */
int64_t token_effective_ttl(struct request *rq, const struct mount *mount, int64_t asked_s,
                            int64_t role_ttl_s, int64_t role_max_s, int64_t explicit_max_s,
                            int64_t period_s);

/* Who logged in at rq's mount (identity.h). */
struct identity_alias token_alias_of(const struct request *rq, const struct auth_result *auth);
/* Turns rs.auth of a login into a token of this cluster. */
CF_CHECKED cf_status token_from_login(struct request *rq, struct auth_result *auth,
                                      struct cf_error *err);
/* The policies of the entity and its groups, for the answer. */
CF_CHECKED cf_status token_name_identity(struct request *rq, struct cf_slice entity_id,
                                         struct auth_result *auth, struct cf_error *err);
/* One use less. The last use deletes the token with its tree. */
CF_CHECKED cf_status token_spend_use(struct request *rq, const struct token_entry *entry,
                                     struct cf_error *err);
/* Response wrapping: stores the finished answer, replaces it by wrap_info. */
CF_CHECKED cf_status wrapping_wrap(struct request *rq, int64_t ttl_s, struct cf_slice creation_path,
                                   struct cf_slice content, struct wrap_info **ret,
                                   struct cf_error *err);
/* The stored answer of a wrapping token, which is used up. CF_INVALID "wrapping token is not valid or
 * does not exist". */
CF_CHECKED cf_status wrapping_unwrap(struct request *rq, struct cf_slice token, struct cf_slice *ret,
                                     struct cf_error *err);

#endif
