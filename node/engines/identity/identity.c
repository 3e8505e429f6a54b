/* node/engines/identity/identity.c: the mount "identity/", which every cluster has.
 *
 * Entities and groups are not part of this build: the mount is there, because clients and policies
 * name it, and every path of it is answered as unknown. */
#include "node/core/engine.h"

static const struct route identity_routes[] = {ROUTE_END};

const struct engine_ops engine_identity = {
    .type = "identity",
    .kind = ENGINE_SECRETS,
    .help = "The identity store.",
    .routes = identity_routes,
    .builtin_only = true,
};
