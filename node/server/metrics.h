/* node/server/metrics.h: counters and gauges of this node (JSON as Vault's, or Prometheus text). */
#ifndef COFFER_SERVER_METRICS_H
#define COFFER_SERVER_METRICS_H

#include "node/server/node.h"

/* Fills in the request's response. Any thread. */
void metrics_answer(struct node *node, struct request *rq, bool prometheus);
/* Answers a GET of sys/metrics without a token, sealed nodes included, where the listener says so
 * (unauthenticated_metrics_access); else false, and nothing is done. Reactor threads. */
bool metrics_handle_open(struct node *node, struct http_exchange *x);

#endif
