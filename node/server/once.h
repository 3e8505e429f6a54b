/* node/server/once.h: ids of forwarded requests (node/core/once.h), given here and carried in messages. */
#ifndef COFFER_SERVER_ONCE_H
#define COFFER_SERVER_ONCE_H

#include "node/server/node.h"
#include "proto/forward.pb-c.h"

/* As long as something may have run, its outcome is asked for; past that it is unknown. */
#define ONCE_OUTCOME_US ((uint64_t)30 * 1000000)

/* Gives the request an id, unless it has one from another node or may not have one: what acts on a node and
 * not on the state leaves no record, and a use of a token that is spent here and not where the effect is
 * would be spent again. Any thread; rq has its view. */
void once_begin(struct node *node, struct request *rq, bool to_primary);
/* On the active node, for a request that came with an id: false where members of the cluster don't know of ids
 * (LEVEL_REQUEST_RECORDS is not in force); rq->once.no_records is then set, and the request must not be run. */
bool once_admits(struct node *node, struct request *rq);
/* Borrows from `once`. */
void once_pack(struct once *once, Coffer__Forward__Request *to);
CF_CHECKED cf_status once_unpack(const Coffer__Forward__Request *from, struct once *ret,
                                 struct cf_error *err);

#endif
