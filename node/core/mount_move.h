/* node/core/mount_move.h
 *
 * A mount on its way to another namespace (sys/remount). What it stores is sealed for its namespace and stands
 * under that one's number, so it is carried over, sealed anew:
 *
 *     asked:  one entry puts a mount entry of the same uuid and accessor at the target, marks both as on
 *             their way, and ends what was lent out or logged in at the source. Below both, requests are refused.
 *     rounds: the active node waits until every lease has ended, then moves some of the data an entry, from
 *             below one number to below the other.
 *     done:   one entry removes the source and opens the target.
 *
 * All of it is in the state, so that any active node goes on where the one before stopped. A secret that cannot
 * be taken back (an irrevocable lease) undoes the move before any data was touched.
 *
 * What each cluster keeps of a shared mount for itself (class cluster) is carried by that cluster, by the list of former
 * namespaces in the entry. Thread: the transaction's.
 */
#ifndef COFFER_CORE_MOUNT_MOVE_H
#define COFFER_CORE_MOUNT_MOVE_H

#include "node/core/namespace.h"

/* Records of how moves went: below this in the data of the mount sys/ of the namespace that was asked. */
#define MOVE_STATUS_FOLDER "remount/"
struct key move_status_key(struct arena *arena, const struct mount *sys, bool is_local, struct cf_slice id);
/* What sys/remount/status answers. */
struct cf_slice move_status_record(struct arena *arena, struct cf_slice source, struct cf_slice target,
                                   const char *status, const char *reason, int64_t now_ns);

/* The two entries that a move begins with. from: of the request's view; ret_in has the source's settings. */
void move_entries(struct arena *arena, const struct mount *from, const struct namespace *target,
                  struct cf_slice path, uint32_t asked_ns, struct cf_slice id, struct mount *ret_out,
                  struct mount *ret_in);

/* One bounded step of what the active node does about moves. ret_more: there is more to do at once. */
CF_CHECKED cf_status mount_move_round(struct txn *txn, struct arena *arena, bool *ret_more, struct cf_error *err);

/* Whether a shared mount has been moved, and part of what this performance secondary keeps of it for itself is not carried
 * after it yet: until then who asks below it is told to try again, or a secret-id that is good would be called
 * wrong, and counted. Costs something for mounts that were moved only. */
CF_CHECKED cf_status mount_move_is_behind(struct txn *txn, struct arena *arena, const struct mount *mount, bool *ret,
                                          struct cf_error *err);

/* The mount by its uuid, in that namespace or where it has been moved from there since; NULL: it is gone. */
const struct mount *mount_after_moves(const struct namespace_table *table, uint32_t ns, struct uuid uuid);

#endif
