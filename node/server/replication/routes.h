/* node/server/replication/routes.h: handlers of sys/replication/ that only read and write the store. */
#ifndef COFFER_SERVER_REPLICATION_ROUTES_H
#define COFFER_SERVER_REPLICATION_ROUTES_H

#include "node/core/engine.h"
#include "node/server/replication/set.h"

cf_status repl_primary_enable(struct request *rq, struct cf_error *err);
cf_status repl_primary_disable(struct request *rq, struct cf_error *err);
cf_status repl_primary_demote(struct request *rq, struct cf_error *err);
cf_status repl_secondary_token(struct request *rq, struct cf_error *err);
cf_status repl_revoke_secondary(struct request *rq, struct cf_error *err);
cf_status repl_redeem(struct request *rq, struct cf_error *err);
cf_status repl_secondary_promote(struct request *rq, struct cf_error *err);
cf_status repl_secondary_disable(struct request *rq, struct cf_error *err);
cf_status repl_operation_token_delete(struct request *rq, struct cf_error *err);
/* secondary/update-primary with update_primary_addrs; with a token it is enable.c's. */
cf_status repl_set_primary_addresses(struct request *rq, enum set_kind kind, struct cf_error *err);
/* Of a call on a secondary: the DR kind needs the operation token, which is checked here. */
cf_status repl_authorise_secondary(struct request *rq, enum set_kind kind, struct cf_error *err);
/* The kind that the path names ("replication/<kind>/..."); CF_NOT_FOUND for an unknown one. */
cf_status repl_kind(struct request *rq, enum set_kind *ret, struct cf_error *err);

#endif
