/* node/server/renewal.h
 *
 * What a node does about its own standing in the cluster, once a second: its certificate is renewed well
 * before it ends (a new key, signed by the active node over the cluster port; connections that exist stay),
 * and it says so, once, when the cluster goes on without it.
 */
#ifndef COFFER_SERVER_RENEWAL_H
#define COFFER_SERVER_RENEWAL_H

#include "node/server/node.h"

struct renewal;

/* Main loop; the driver runs. */
void renewal_start(struct node *node);
void renewal_free(struct renewal *renewal); /* NULL is fine; no worker has it any more */
/* The active node's side. */
struct cluster;
void renewal_serve(struct cluster *cluster);

/* Any thread. NULL while this node is a member; else why not and what to do about it. */
const char *renewal_not_member(const struct node *node);

#endif
