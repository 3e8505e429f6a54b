/* node/server/registry.h: every engine and auth method that is built in. */
#ifndef COFFER_SERVER_REGISTRY_H
#define COFFER_SERVER_REGISTRY_H

#include "node/core/audit.h"
#include "node/core/engine.h"

/* Made from engines.def and auth.def; ends with NULL. */
extern const struct engine_ops *const registry_engines[];
/* Made from audit.def; ends with NULL. */
extern const struct audit_ops *const registry_audit[];

#endif
