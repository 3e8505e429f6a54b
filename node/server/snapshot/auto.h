/* node/server/snapshot/auto.h: snapshots at intervals, into a folder, by the active node. */
#ifndef COFFER_SERVER_SNAPSHOT_AUTO_H
#define COFFER_SERVER_SNAPSHOT_AUTO_H

#include "node/server/snapshot/snapshot.h"

/* Routes of sys/storage/raft/snapshot-auto/. */
cf_status auto_read_config(struct request *rq, struct cf_error *err);
cf_status auto_write_config(struct request *rq, struct cf_error *err);
cf_status auto_delete_config(struct request *rq, struct cf_error *err);
cf_status auto_list_configs(struct request *rq, struct cf_error *err);
cf_status auto_read_status(struct request *rq, struct cf_error *err);

/* The clock of it; belongs to the main loop. */
struct snapshot_timer;
struct snapshot_timer *auto_new(struct node *node);
void auto_free(struct snapshot_timer *timer); /* after snapshots_stop; NULL is fine */

/* For metrics: taken and failed by this node since it started. Any thread. */
struct auto_counts {
    uint64_t taken, failed;
};
struct auto_counts auto_count(const struct node *node);

#endif
