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
/* Main loop: leadership, unsealing and sealing start and stop links. */
void node_replication_refresh(struct node *node);

#endif
