/* node/server/host.h: the routes of sys/ that need the node and not just a view. */
#ifndef COFFER_SERVER_HOST_H
#define COFFER_SERVER_HOST_H

#include "node/server/node.h"

extern const struct route host_routes[]; /* ends with ROUTE_END */

/* SIGHUP: re-reads what may change at run time (the log level). */
void host_reload(struct node *node);

#endif
