/* node/server/replication/filter_routes.h: handlers of paths-filter, dynamic-filter and mount-filter. */
#ifndef COFFER_SERVER_REPLICATION_FILTER_ROUTES_H
#define COFFER_SERVER_REPLICATION_FILTER_ROUTES_H

#include "node/core/engine.h"
#include "node/core/request.h"

cf_status filter_route_write(struct request *rq, struct cf_error *err);
cf_status filter_route_read(struct request *rq, struct cf_error *err);
cf_status filter_route_delete(struct request *rq, struct cf_error *err);
/* What a filter comes to, as the primary knows it; and on the secondary itself. */
cf_status filter_route_dynamic(struct request *rq, struct cf_error *err);
cf_status filter_route_dynamic_here(struct request *rq, struct cf_error *err);
/* What was there before paths-filter: 404 that names it. */
cf_status filter_route_former(struct request *rq, struct cf_error *err);
extern const struct field filter_route_fields[];

#endif
