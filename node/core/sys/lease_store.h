/* node/core/sys/lease_store.h
 *
 * Leases by id (core-api.md section 11). Every token that ends has one: "<path it came from>/h<64
 * hex digits: its key>". The index is what finds the tokens of a login path or an auth method;
 * the id says nearly all, so entries are empty but for quotas' sake. Written with the token itself, in the same write
 * set. Thread: the transaction's.
 */
#ifndef COFFER_CORE_SYS_LEASE_STORE_H
#define COFFER_CORE_SYS_LEASE_STORE_H

#include "node/core/token.h"

/* Revocations in one write set; what goes beyond is done by the active node in the background. */
#define LEASE_REVOKE_MAX ((size_t)500)

struct cf_slice lease_token_id(struct arena *arena, const struct token_entry *entry);
void lease_add_token(struct txn *txn, struct arena *arena, const struct token_entry *entry);
void lease_remove_token(struct txn *txn, struct arena *arena, const struct token_entry *entry);

/* A secret's lease (lease.h) is made or removed: counts for the quota that it falls under. Before its writes. */
void lease_count_secret(struct txn *txn, uint32_t ns, struct cf_slice id, int32_t change);
/* The quota that a stored lease counts for; value: of its entry. */
struct quota_rule;
const struct quota_rule *lease_rule_of(const struct view *view, uint32_t ns, struct cf_slice id,
                                       struct cf_slice value);

/* The live token of a lease id. CF_NOT_FOUND. */
CF_CHECKED cf_status lease_find_token(struct txn *txn, struct arena *arena, uint32_t ns,
                                      struct cf_slice id, const struct token_entry **ret, struct cf_error *err);
/* Revokes what has a lease id that begins with prefix (ends in '/') and comes after *after: tokens with their
 * trees, secrets by queueing them (lease.h). Stops after about `max` that it changed; *after is the last one then,
 * in the arena. forced: secrets go whatever their mount says. ret_more: some are left. */
CF_CHECKED cf_status lease_revoke_some(struct txn *txn, struct arena *arena, uint32_t ns,
                                       struct cf_slice prefix, struct cf_slice *after, size_t max, bool forced,
                                       bool *ret_more, struct cf_error *err);
/* Those that were written before that index of the log alone (UINT64_MAX: all), from the first one on. */
CF_CHECKED cf_status lease_revoke_before(struct txn *txn, struct arena *arena, uint32_t ns, struct cf_slice prefix,
                                         uint64_t index, bool *ret_more, struct cf_error *err);
/* As lease_revoke_some with all of them: the first LEASE_REVOKE_MAX in this write set, the others later, by an
 * entry of the expiry index that holds the prefix. */
CF_CHECKED cf_status lease_revoke_prefix(struct txn *txn, struct arena *arena, uint32_t ns,
                                         struct cf_slice prefix, bool forced, struct cf_error *err);
/* The mark of such an entry, after the time and before the prefix; the second one with the number of a
 * namespace (4 bytes) in front of the prefix, the third one as the second, forced. Its value is how far it got. */
#define LEASE_EXPIRE_PREFIX 'p'
#define LEASE_EXPIRE_NS_PREFIX 'q'
#define LEASE_EXPIRE_FORCED 'f'
/* Works such an entry off (what: the mark and what follows); false: it is none. ret_left: it stays. */
bool lease_is_prefix_entry(struct cf_slice what);
CF_CHECKED cf_status lease_revoke_entry(struct txn *txn, struct arena *arena, struct key entry,
                                        struct cf_slice what, size_t max, bool *ret_left, struct cf_error *err);
/* Whether there is a lease below prefix. */
CF_CHECKED cf_status lease_has_any(struct txn *txn, struct arena *arena, uint32_t ns, struct cf_slice prefix,
                                   bool *ret, struct cf_error *err);
/* Whether secrets of the namespace wait for their revocation still: irrevocable ones don't. */
CF_CHECKED cf_status lease_is_pending(struct txn *txn, struct arena *arena, uint32_t ns, bool *ret,
                                      struct cf_error *err);

#endif
