/* node/server/catch_up.h: waiting until this node, sealed or not, has all that its cluster had at the call. */
#ifndef COFFER_SERVER_CATCH_UP_H
#define COFFER_SERVER_CATCH_UP_H

#include "node/server/node.h"

/* Main loop. done, once, on the main loop and never from inside: CF_OK when what was committed anywhere is
 * applied here; CF_UNAVAILABLE when no leader was found within `limit_us`, or the node stops. */
void catch_up(struct node *node, uint64_t limit_us, void (*done)(void *arg, cf_status status),
              void *arg);
/* At the end, when driver and workers have said their last words: who still waits hears CF_UNAVAILABLE. */
void catch_up_stop(struct node *node);

#endif
