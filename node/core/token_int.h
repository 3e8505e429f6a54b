/* node/core/token_int.h: what the files of the token store share. */
#ifndef COFFER_CORE_TOKEN_INT_H
#define COFFER_CORE_TOKEN_INT_H

#include "node/core/token.h"

struct cf_slice token_to_record(struct arena *arena, const struct token_entry *entry);
CF_CHECKED cf_status token_from_record(struct arena *arena, uint32_t ns,
                                       const uint8_t key[TOKEN_KEY_SIZE], struct cf_slice bytes, struct token_entry *ret,
                                       struct cf_error *err);
/* Through the cache; whether it has expired is not looked at. CF_NOT_FOUND. */
CF_CHECKED cf_status token_load(struct txn *txn, struct arena *arena, uint32_t ns,
                                const uint8_t key[TOKEN_KEY_SIZE], const struct token_entry **ret,
                                struct cf_error *err);
/* token_batch.c: whether it is the text of a batch token, and the entry that it holds (expiry is not
 * looked at; parent and mount are). CF_DENIED when it is not one of ours. */
bool token_is_batch(struct cf_slice id);
CF_CHECKED cf_status token_open_batch(struct txn *txn, struct arena *arena, struct cf_slice id,
                                      const struct namespace *ns, const struct token_entry **ret, struct cf_error *err);
/* Whether the mount is in the view's table; notes that its entry was read. */
bool token_mount_exists(struct txn *txn, uint32_t ns, struct uuid uuid);
/* False once a token that it descends from has run out: a large tree is revoked by ending its root, and
 * then deleted bit by bit. Ancestors are read through the cache. */
bool token_family_is_live(struct txn *txn, struct arena *arena, const struct token_entry *entry);
struct key token_expire_key(struct arena *arena, const struct token_entry *entry);
CF_CHECKED cf_status token_accessor_key(struct txn *txn, struct arena *arena, uint32_t ns,
                                        struct cf_slice accessor, struct key *ret,
                                        struct cf_error *err);
/* Copies the policies, sorted. */
void token_sort_policies(struct arena *arena, struct token_entry *entry);
/* <area><key><rest> as a key of class cluster. */
struct key token_area_key(struct arena *arena, uint32_t ns, const char *area,
                          const uint8_t key[TOKEN_KEY_SIZE], struct cf_slice rest);
/* AREA_CHILD<key of the parent><key of the child>, and the child's namespace where it is another; and the
 * namespace back from what follows the parent's key. */
struct key token_child_key(struct arena *arena, const struct token_entry *child);
uint32_t token_child_ns(const struct token_entry *parent, struct cf_slice name);

#endif
