/* node/server/status.h: what a node says of itself without a token: health, leader, seal status. */
#ifndef COFFER_SERVER_STATUS_H
#define COFFER_SERVER_STATUS_H

#include "node/server/node.h"

/* Reactor threads; each answers the exchange. */
void status_handle_health(struct node *node, struct http_exchange *x);
void status_handle_leader(struct node *node, struct http_exchange *x);
/* The members of sys/seal-status. */
struct json *status_seal(struct node *node, struct arena *arena);

#endif
