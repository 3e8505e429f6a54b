/* node/server/replication/status.h: sys/replication/status and its parts (replication.md section 3). */
#ifndef COFFER_SERVER_REPLICATION_STATUS_H
#define COFFER_SERVER_REPLICATION_STATUS_H

#include "node/core/request.h"

/* Handlers of host routes: they answer through core_host_done(). */
cf_status replication_status(struct request *rq, struct cf_error *err);
cf_status replication_kind_status(struct request *rq, struct cf_error *err);

#endif
