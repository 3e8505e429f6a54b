/* node/server/replication.h: this node's part in replication between clusters. */
#ifndef COFFER_SERVER_REPLICATION_H
#define COFFER_SERVER_REPLICATION_H

#include "node/server/node.h"

struct node_replication *node_replication_new(struct node *node);
void node_replication_free(struct node_replication *replication); /* NULL is fine */
/* Main loop, once the cluster port is open; and before it closes. */
void node_replication_start(struct node *node);
void node_replication_stop(struct node *node);
/* Any thread: "disabled", "primary", "secondary", "bootstrapping" or (sealed) "unknown". */
void node_replication_modes(struct node *node, const char **performance, const char **dr);
/* Applier thread, after the view of index is published. */
void node_replication_applied(struct node *node, uint64_t index);
/* Any thread: sends a request whose effect is replicated to the primary (performance secondaries). */
void node_replication_forward(struct node *node, struct request *rq);
/* Any thread: which index of the primary's log the state here has reached (performance secondaries), else 0. */
uint64_t node_replication_reached(void *node);
/* For metrics; as of the last half second. Any thread. Of a primary: as its active node sees it. */
struct replication_gauges {
    uint64_t connected, overdue, cut_off, lag_entries, lag_bytes, lag_ms, floor, log_bytes_max, near_cap;
    uint64_t unacknowledged, queued; /* by this node itself */
    uint64_t streaming, own_lag_entries, own_lag_bytes, own_lag_ms, last_remote, reconnects, bootstraps,
        bootstrap_bytes, alarms;
};
/* Any thread: encryptions under the shared key that a performance secondary has not told its primary yet. */
uint64_t node_replication_untold(struct node *node);
void node_replication_gauges(struct node *node, struct replication_gauges *ret);
/* Main loop: leadership, unsealing and sealing start and stop links. */
void node_replication_refresh(struct node *node);

#endif
