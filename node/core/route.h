/* node/core/route.h: finding the route of a path within a mount's table. Pure. */
#ifndef COFFER_CORE_ROUTE_H
#define COFFER_CORE_ROUTE_H

#include "node/core/engine.h"

/* Whether `path` (relative to the mount) fits the pattern; fills captures (at most 4) if so. */
bool route_matches(const char *pattern, struct cf_slice path, struct cf_slice captures[4]);
/* The first route of the table that fits; NULL when none does. List and scan try the path with and
 * without its closing slash. */
const struct route *route_find(const struct route *routes, enum operation operation,
                               struct cf_slice path, struct cf_slice captures[4]);
/* The handler for the operation; NULL when the route does not have it. */
route_handler route_handler_of(const struct route *route, enum operation operation);
/* Whether the field is known to the route (captures count). Routes without fields know everything. */
bool route_knows(const struct route *route, struct cf_slice field);

#endif
