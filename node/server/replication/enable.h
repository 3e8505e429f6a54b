/* node/server/replication/enable.h: becoming a secondary: the token is redeemed at the primary's API. */
#ifndef COFFER_SERVER_REPLICATION_ENABLE_H
#define COFFER_SERVER_REPLICATION_ENABLE_H

#include "node/core/request.h"

/* Handlers of host routes (ROUTE_HOST): they answer through core_host_done(). */
cf_status enable_secondary(struct request *rq, struct cf_error *err);
cf_status enable_update_primary(struct request *rq, struct cf_error *err);

#endif
