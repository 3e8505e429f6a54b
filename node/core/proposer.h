/* node/core/proposer.h
 *
 * How the core reaches consensus: a table that node/server fills in (core knows nothing of Raft).
 * All functions may be called from any thread.
 */
#ifndef COFFER_CORE_PROPOSER_H
#define COFFER_CORE_PROPOSER_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/list.h"
#include "node/base/slice.h"
#include "node/base/status.h"

struct window_claim; /* node/core/window.h: read set and write set of the proposal */

/* One log entry on its way. Memory is the proposer's caller's until `done` ran. */
struct proposal {
    struct cf_buf payload; /* node/core/command.h; the stamp is filled in at append */
    struct window_claim *claim; /* NULL: unconditional */
    bool is_restore;       /* of a restore under way: goes through while all others are held off */
    bool frees;            /* it removes: admitted on a disk that is almost full */
    uint64_t deadline_us;  /* monotonic; past it the append is refused with CF_TIMEOUT */

    /* At append, on the main loop, before anything else is checked; index: what it would get. Not CF_OK
     * refuses it. May be NULL. */
    cf_status (*check)(struct proposal *proposal, uint64_t index);

    /* Called once, on any thread. CF_OK: applied here, at `index`. CF_CONFLICT: not appended; run
     * again once `retry_index` is applied. CF_NOT_LEADER, CF_BUSY, CF_NO_SPACE, CF_TIMEOUT,
     * CF_READ_ONLY: not appended. CF_UNKNOWN_OUTCOME: leadership was lost after the append. */
    void (*done)(struct proposal *proposal, cf_status status, uint64_t index);
    uint64_t retry_index;
    struct cf_list link; /* the proposer's, while it holds the proposal */
    void *slot;          /* the adapter's */
};

struct read_wait {
    /* CF_OK: a view with index >= `index` is published and linearizable with the moment of the call.
     * Any thread. */
    void (*done)(struct read_wait *wait, cf_status status, uint64_t index);
    uint64_t deadline_us;
    struct cf_list link;
    void *slot;
};

struct proposer {
    void *context;
    void (*propose)(void *context, struct proposal *proposal);
    void (*read_index)(void *context, struct read_wait *wait);
    /* True when the newest published view is linearizable as it is (a sole voter that leads). */
    bool (*read_ready)(void *context);
    /* Whether this node may append (it leads, or believes so). */
    bool (*is_active)(void *context);
    /* How long ago, at most, a view of this index was the cluster's newest; UINT64_MAX: unknown. NULL: it is
     * the newest always. */
    uint64_t (*staleness_us)(void *context, uint64_t index);
};

#endif
