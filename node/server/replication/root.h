/* node/server/replication/root.h
 *
 * The hash over everything that a kind of replication ships: equal on both sides exactly when the data is.
 * Computed by a scan of one view on a worker, and kept until the view's index moves.
 */
#ifndef COFFER_SERVER_REPLICATION_ROOT_H
#define COFFER_SERVER_REPLICATION_ROOT_H

#include "node/core/view.h"
#include "replication/core/position.h"

#define ROOT_TEXT_SIZE 41 /* 40 hex digits: the first 160 bits of SHA-256 */

struct root_cache;

struct root_cache *root_cache_new(void);
void root_cache_free(struct root_cache *cache); /* NULL is fine */
/* Any thread; reads the whole of the data when the view is a new one: for workers. Callers for the same
 * view wait for each other instead of scanning twice. */
CF_CHECKED cf_status root_of(struct root_cache *cache, const struct view *view, enum repl_kind kind,
                             char ret[ROOT_TEXT_SIZE], struct cf_error *err);

#endif
