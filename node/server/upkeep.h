/* node/server/upkeep.h
 *
 * What the active node looks after once a second: data keys that are due for rotation and counts that have
 * to be reserved (rotation.h), and the version that runs now (versions.h). One run, one entry at most; most
 * runs write nothing.
 */
#ifndef COFFER_SERVER_UPKEEP_H
#define COFFER_SERVER_UPKEEP_H

#include "node/server/node.h"

struct upkeep;

/* Main loop: this node leads, or does not any more. */
void upkeep_start(struct node *node);
void upkeep_stop(struct node *node);
void upkeep_free(struct upkeep *upkeep); /* after the core: a worker may have it. NULL is fine */

#endif
