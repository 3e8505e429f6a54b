/* node/server/proposals.h: the core's proposer on top of the Raft driver, and the applier beneath it. */
#ifndef COFFER_SERVER_PROPOSALS_H
#define COFFER_SERVER_PROPOSALS_H

#include "node/server/node.h"

struct proposer proposals_proposer(struct node *node);
struct applier proposals_applier(struct node *node);

#endif
