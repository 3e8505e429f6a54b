/* node/server/dr_token.h
 *
 * DR operation tokens (replication.md 2.6): they authorise the calls of a DR secondary and nothing else.
 * One is made by the ceremony of the cluster's own key holders, has no end but its deletion, and is kept as
 * a hash in class own, so that it stays with this cluster. The others are orphan batch tokens, made on the
 * primary beforehand: key and policy came with the data, so they work without the primary, each on
 * exactly the paths that its policy names and until its time is up.
 */
#ifndef COFFER_SERVER_DR_TOKEN_H
#define COFFER_SERVER_DR_TOKEN_H

#include "node/server/node.h"

/* Whether this cluster is a DR secondary now. Any thread. */
bool dr_token_is_due(struct node *node);
/* Makes one (26 characters, in the request's arena); an earlier one is void. */
CF_CHECKED cf_status dr_token_create(struct request *rq, struct cf_slice *ret, struct cf_error *err);
/* CF_DENIED with what is missing unless rq's field dr_operation_token is the ceremony's token, or a batch token
 * whose policy allows rq->operation on exactly rq->path. Reads through rq->txn. */
CF_CHECKED cf_status dr_token_check(struct request *rq, struct cf_error *err);
/* Voids it. */
void dr_token_delete(struct request *rq);

#endif
