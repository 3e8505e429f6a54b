/* node/base/host.h
 *
 * Clock and randomness as tables that are handed in, so that everything that decides can run under
 * a test or the simulator. The real ones: cf_host_clock(), and random from node/crypto/random.h.
 */
#ifndef COFFER_BASE_HOST_H
#define COFFER_BASE_HOST_H

#include <stddef.h>
#include <stdint.h>

struct cf_clock {
    void *context;
    uint64_t (*monotonic_us)(void *context); /* never goes back */
    int64_t (*wall_ns)(void *context);       /* since 1970, UTC */
};

struct cf_random {
    void *context;
    void (*fill)(void *context, void *bytes, size_t size); /* cryptographic outside of tests */
};

const struct cf_clock *cf_host_clock(void);

static inline uint64_t cf_monotonic_us(const struct cf_clock *clock)
{
    return clock->monotonic_us(clock->context);
}
static inline int64_t cf_wall_ns(const struct cf_clock *clock)
{
    return clock->wall_ns(clock->context);
}
static inline void cf_random_fill(const struct cf_random *random, void *bytes, size_t size)
{
    random->fill(random->context, bytes, size);
}

/* xoshiro256** (Blackman and Vigna): the deterministic generator of timers, tests and simulator.
 * Never for keys. */
struct cf_prng {
    uint64_t state[4];
};
void cf_prng_seed(struct cf_prng *prng, uint64_t seed);
uint64_t cf_prng_next(struct cf_prng *prng);
/* Uniform in [0, bound); bound > 0. */
uint64_t cf_prng_below(struct cf_prng *prng, uint64_t bound);

#endif
