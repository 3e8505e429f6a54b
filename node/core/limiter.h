/* node/core/limiter.h
 *
 * How often clients came within an interval, for rate limits. A table of fixed size, sets of eight under
 * locks of their own: memory does not grow with the number of clients, and requests of different clients
 * rarely meet. When more clients are active than fit, those whose interval ends first are forgotten, and
 * begin anew: a limit is never too strict. Pure but for its table: the time is given. Thread: any.
 */
#ifndef COFFER_CORE_LIMITER_H
#define COFFER_CORE_LIMITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/slice.h"

struct limiter;

struct limit {
    uint64_t rate; /* requests in an interval */
    uint64_t interval_us;
    uint64_t block_us; /* who went over it is refused so long; 0: until the interval ends */
};

struct limit_verdict {
    bool allowed;
    uint64_t remaining; /* of this interval */
    uint64_t reset_us;  /* until it ends */
    uint64_t retry_us;  /* until it is worth another try; 0 when allowed */
};

struct limiter *limiter_new(size_t clients_max);
void limiter_free(struct limiter *limiter); /* NULL is fine */
/* One request of `client` (a hash of rule and address; not 0). */
void limiter_take(struct limiter *limiter, uint64_t client, const struct limit *limit,
                  uint64_t now_us, struct limit_verdict *ret);
/* What counts as one client: the address, of IPv6 the first 64 bits. Not 0. */
uint64_t limiter_client(uint64_t rule, struct cf_slice address);

#endif
