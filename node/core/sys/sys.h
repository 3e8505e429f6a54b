/* node/core/sys/sys.h: the engine behind sys/: mounts, policies, capabilities, wrapping, leases,
 * tools. Node-level paths (seal, raft, replication ...) are the host's: node/server. */
#ifndef COFFER_CORE_SYS_SYS_H
#define COFFER_CORE_SYS_SYS_H

#include "node/core/engine.h"

extern const struct engine_ops engine_system;

#endif
