/* node/server/metrics.h: counters and gauges of this node (JSON as Vault's, or Prometheus text). */
#ifndef COFFER_SERVER_METRICS_H
#define COFFER_SERVER_METRICS_H

#include "node/server/node.h"

/* Fills in the request's response. Any thread. */
void metrics_answer(struct node *node, struct request *rq, bool prometheus);

#endif
