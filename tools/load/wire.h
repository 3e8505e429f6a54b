/* tools/load/wire.h
 *
 * Many requests over a fixed number of keep-alive connections: one thread, epoll, one request out
 * on each connection. Who uses it says what to send next on a slot and what to do with the answer;
 * import, its check and the benchmark stand on this. Thread: the caller's, until wire_run()
 * returns.
 */
#ifndef COFFER_LOAD_WIRE_H
#define COFFER_LOAD_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/slice.h"
#include "node/base/status.h"
#include "tools/load/conn.h"

#define WIRE_SLOTS_MAX 1024u

enum wire_next {
    WIRE_SEND, /* the request is written */
    WIRE_WAIT, /* ask again at slot->wake_us */
    WIRE_STOP, /* this slot has nothing more to do */
};

struct wire_slot {
    unsigned number;
    const struct conn_target *target; /* `answer` and `lost` may name another for what follows */
    uint64_t sent_us; /* when the request that is out was sent (monotonic) */
    uint64_t wake_us;
    void *user; /* the caller's */
};

struct wire_ops {
    /* Writes the slot's next request into `out` (conn_write_request()). */
    enum wire_next (*next)(void *context, struct wire_slot *slot, struct cf_buf *out);
    /* The answer came; `body` lives until this returns. */
    void (*answer)(void *context, struct wire_slot *slot, int status, struct cf_slice body,
                   uint64_t latency_us);
    /* The request was not answered: refused, cut off or late. Whether it had its effect is unknown.
     */
    void (*lost)(void *context, struct wire_slot *slot, const struct cf_error *err);
    /* About every 100 ms; false ends the run (open requests are dropped). May be NULL. */
    bool (*tick)(void *context, uint64_t now_us);
};

struct wire_setup {
    const struct conn_target *targets; /* slots take them in turn */
    unsigned target_count, slots;      /* slots 1..WIRE_SLOTS_MAX */
    unsigned timeout_ms;               /* of one request */
};

/* Runs until every slot has stopped or a tick says so. CF_IO only when the machine refuses (no
 * descriptors); what goes wrong with a request goes to `lost`. */
CF_CHECKED cf_status wire_run(const struct wire_setup *setup, const struct wire_ops *ops,
                              void *context, struct cf_error *err);

#endif
