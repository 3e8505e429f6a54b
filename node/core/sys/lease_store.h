/* node/core/sys/lease_store.h
 *
 * Leases by id (core-api.md section 11). Every token that ends has one: "<path it came from>/h<64
 * hex digits: its key>". The index is what finds the tokens of a login path or an auth method;
 * entries are empty, since the id says it all. Written with the token itself, in the same write
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

/* The live token of a lease id. CF_NOT_FOUND. */
CF_CHECKED cf_status lease_find_token(struct txn *txn, struct arena *arena, uint32_t ns,
                                      struct cf_slice id, const struct token_entry **ret, struct cf_error *err);
/* Revokes what has a lease id that begins with prefix (ends in '/'), `max` of them at most, with
 * their trees. ret_more: some are left. */
CF_CHECKED cf_status lease_revoke_some(struct txn *txn, struct arena *arena, uint32_t ns,
                                       struct cf_slice prefix, size_t max, bool *ret_more, struct cf_error *err);
/* As above with all of them: the first LEASE_REVOKE_MAX in this write set, the others later, by an
 * entry of the expiry index that holds the prefix. */
CF_CHECKED cf_status lease_revoke_prefix(struct txn *txn, struct arena *arena, uint32_t ns,
                                         struct cf_slice prefix, struct cf_error *err);
/* The mark of such an entry, after the time and before the prefix; the second one with the number of a
 * namespace (4 bytes) in front of the prefix. */
#define LEASE_EXPIRE_PREFIX 'p'
#define LEASE_EXPIRE_NS_PREFIX 'q'

#endif
