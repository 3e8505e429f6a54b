/* node/server/replication/merkle.h: the hash tree as operators see it: sys/replication/{reindex,merkle-check,recover},
 * fields of the status, and the clock that makes nodes look at their data. */
#ifndef COFFER_SERVER_REPLICATION_MERKLE_H
#define COFFER_SERVER_REPLICATION_MERKLE_H

#include "node/core/engine.h"
#include "node/server/replication/repl_int.h"
#include "node/server/replication/tree.h"

/* ---- merkle_routes.c: handlers (host routes) ---- */

cf_status merkle_reindex(struct request *rq, struct cf_error *err);
cf_status merkle_check(struct request *rq, struct cf_error *err);
cf_status merkle_recover(struct request *rq, struct cf_error *err);
extern const struct field merkle_reindex_fields[], merkle_fields[];

/* Fields of either side's status: damage, checks, reindex. Main loop. */
void merkle_add_common(struct node *node, struct arena *arena, struct json *object);
/* ... of a secondary: comparisons and repairs. */
void merkle_add_secondary(const struct repl_side *side, const struct repl_secondary_status *status,
                          struct arena *arena, struct json *object);

/* ---- merkle.c ---- */

/* Every compare_interval a secondary that streams compares itself with its primary; and a node that keeps a tree
 * reads all of its data again, a fiftieth of the time at most. Main loop. */
void merkle_start(struct node_replication *replication);
void merkle_stop(struct node_replication *replication); /* twice is harmless */
/* A worker: reads everything, says so where it is damaged, and lets a secondary compare itself at once. */
CF_CHECKED cf_status merkle_check_now(struct node *node, struct tree_report *ret,
                                      struct cf_error *err);

#endif
