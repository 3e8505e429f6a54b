/* node/core/system.h
 *
 * Work of the node itself that reads and writes like a request, without a client: ceremonies, settings of
 * replication, registries. One run, one log entry, its read set checked; run again when it loses the check.
 */
#ifndef COFFER_CORE_SYSTEM_H
#define COFFER_CORE_SYSTEM_H

#include "node/core/core.h"

struct system_work {
    /* Reads and writes through rq->txn; may run more than once, on a worker thread. No writes: nothing is
     * proposed. rq lives until `done` has returned. */
    cf_status (*run)(struct request *rq, void *context, struct cf_error *err);
    /* Once, on any thread. index: where it was committed, 0 when nothing was written. */
    void (*done)(void *context, cf_status status, uint64_t index, const struct cf_error *err);
    void *context;
};

/* Copied. Any thread. CF_SEALED, CF_NOT_LEADER and the like arrive through done. */
void system_submit(struct core *core, const struct system_work *work);

#endif
