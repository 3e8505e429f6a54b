/* node/server/dr_token.h
 *
 * The DR operation token: authorises the calls of a DR secondary and nothing else (replication.md 2.6).
 * Kept as a hash in class own, so that it stays with this cluster.
 */
#ifndef COFFER_SERVER_DR_TOKEN_H
#define COFFER_SERVER_DR_TOKEN_H

#include "node/server/node.h"

/* Whether this cluster is a DR secondary now. Any thread. */
bool dr_token_is_due(struct node *node);
/* Makes one (26 characters, in the request's arena); an earlier one is void. */
CF_CHECKED cf_status dr_token_create(struct request *rq, struct cf_slice *ret, struct cf_error *err);
/* CF_DENIED unless rq's field dr_operation_token is the valid one. Reads through rq->txn. */
CF_CHECKED cf_status dr_token_check(struct request *rq, struct cf_error *err);
/* Voids it. */
void dr_token_delete(struct request *rq);

#endif
