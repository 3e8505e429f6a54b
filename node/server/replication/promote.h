/* node/server/replication/promote.h: sys/replication/<kind>/secondary/promote, with what the link knows. */
#ifndef COFFER_SERVER_REPLICATION_PROMOTE_H
#define COFFER_SERVER_REPLICATION_PROMOTE_H

#include "node/core/request.h"

/* Handler of a host route (ROUTE_HOST): it answers through core_host_done(). */
cf_status replication_promote(struct request *rq, struct cf_error *err);

#endif
