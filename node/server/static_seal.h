/* node/server/static_seal.h
 *
 * The static seal: the unseal key is in a file (or in the configuration itself), which this node reads at its start.
 * To replace it, every node gets the new key as current_key and the old one as previous_key, one after the other,
 * standbys first. A node opens with whichever of the two the cluster has; the first of them that becomes active wraps
 * the root key under the current one, in one entry. After that the old key opens this cluster's state no more.
 */
#ifndef COFFER_SERVER_STATIC_SEAL_H
#define COFFER_SERVER_STATIC_SEAL_H

#include "node/server/node.h"

/* The keys of a configuration with a static seal, NULL with another; *ret_previous NULL where none is named. CF_INVALID
 * with what is wrong with a file. Any thread. */
CF_CHECKED cf_status static_seal_read(const struct config *config, struct secret **ret_current,
                                      struct secret **ret_previous, struct cf_error *err);

/* Main loop. NULL: the configuration names no previous key. */
struct static_seal *static_seal_new(struct node *node);
void static_seal_free(struct static_seal *static_seal); /* after the core: it may have a run under way. NULL is fine */
/* In a run of system_submit(): the root key under the node's current key, as "key_id"; nothing when it has that id.
 * CF_INVALID when neither of the node's keys opens it, and nothing is changed. */
CF_CHECKED cf_status static_seal_write(struct request *rq, struct node *node, const char *key_id,
                                       struct cf_error *err);

#endif
