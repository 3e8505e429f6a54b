/* node/server/monitor.h: sys/monitor, this node's log as it is written, to clients that follow it. */
#ifndef COFFER_SERVER_MONITOR_H
#define COFFER_SERVER_MONITOR_H

#include "node/server/node.h"

/* Those who follow. Any thread. */
struct monitors *monitors_new(void);
/* After the reactors are drained: nobody follows any more. NULL is fine. */
void monitors_free(struct monitors *monitors);
/* Ends all of them: the node is sealed or stops. for_good: there will be no more. */
void monitors_end(struct monitors *monitors, bool for_good);

extern const struct field monitor_fields[];
cf_status monitor_handle(struct request *rq, struct cf_error *err);

#endif
