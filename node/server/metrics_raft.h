/* node/server/metrics_raft.h: metrics of consensus that have labels or buckets; any thread. */
#ifndef COFFER_SERVER_METRICS_RAFT_H
#define COFFER_SERVER_METRICS_RAFT_H

#include "node/server/node.h"

/* Lag of each other member (on the active node, label peer_id), and how long the steps of writes take. */
void metrics_raft_text(struct node *node, struct arena *arena, struct cf_buf *to);
void metrics_raft_json(struct node *node, struct arena *arena, struct json *gauges,
                       struct json *samples);

#endif
