/* node/server/init.h: sys/init: the first moment of a cluster. */
#ifndef COFFER_SERVER_INIT_H
#define COFFER_SERVER_INIT_H

#include "node/server/node.h"

/* Reactor threads: takes the exchange (GET: is it initialised; PUT: initialise). */
void init_handle(struct node *node, struct http_exchange *x);
/* Main loop: this node leads and takes proposals: an init under way goes on. */
void init_leader_ready(struct node *node);
/* Main loop, for -dev: initialises with one share and unseals, before requests are served. done runs on
 * the main loop. */
void init_dev(struct node *node, void (*done)(struct node *node, struct cf_slice root_token,
                                              struct cf_slice unseal_key));

#endif
