/* node/core/sys/sys.h: the engine behind sys/: mounts, policies, capabilities, wrapping, leases,
 * tools. Node-level paths (seal, raft, replication ...) are the host's: node/server. */
#ifndef COFFER_CORE_SYS_SYS_H
#define COFFER_CORE_SYS_SYS_H

#include "node/core/engine.h"

extern const struct engine_ops engine_system;
/* What the host answers in every state of the node, sealed or not, without the frame: for the OpenAPI document and
 * for help alone, the handlers are never called. Ends with ROUTE_END. */
extern const struct route sys_node_routes[];

#endif
