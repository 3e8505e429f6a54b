/* tests/sim/engine.h
 *
 * What every simulator here stands on: virtual time, a heap of events, one seeded generator,
 * options drawn from it, a network between endpoints, a trace that is a hash (and text on demand).
 * One process, one thread, no clock, no address in any decision: a seed replays byte for byte.
 *
 * A simulator makes an engine from a seed, draws its options (sim_option), schedules first events
 * and loops over sim_next(). See raft simulator (world.h) for an example.
 */
#ifndef COFFER_SIM_ENGINE_H
#define COFFER_SIM_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/host.h"
#include "node/base/slice.h"

#define SIM_ENDPOINTS 32

struct sim_event {
    uint64_t at_us;
    uint64_t tie, seq; /* order among equal times: drawn, then the order of scheduling */
    uint32_t kind;     /* the simulator's */
    uint32_t node;
    uint64_t a, b;
    void *data; /* owned by who takes the event */
};

/* An option that a scenario or the shrinker sets, whatever is drawn. */
struct sim_override {
    const char *name;
    uint64_t value;
};

struct sim_engine {
    uint64_t seed;
    uint64_t now_us;
    struct cf_prng prng;
    struct cf_prng *draws; /* where chance comes from now: prng, or a stream of its own */
    const struct sim_override *overrides; /* of options; ends with a NULL name; or NULL */
    /* Told by sim_fail() instead of the terminal. */
    void (*on_fail)(struct sim_engine *e, const char *invariant, const char *text);
    struct sim_event *heap;
    size_t count, capacity;
    uint64_t seq;
    uint64_t events; /* taken so far */
    uint64_t hash;   /* of everything that happened */
    bool verbose;    /* print the trace */
    struct cf_buf options;
    uint64_t reached; /* bits of sim_reached() */
};

void sim_engine_init(struct sim_engine *e, uint64_t seed, bool verbose);
/* `drop` gets the data of each event that was never taken (when not NULL). */
void sim_engine_done(struct sim_engine *e, void (*drop)(struct sim_event *event));

/* ---- chance --------------------------------------------------------------------------------- */

uint64_t sim_below(struct sim_engine *e, uint64_t bound);                /* [0, bound) */
uint64_t sim_between(struct sim_engine *e, uint64_t low, uint64_t high); /* [low, high] */
bool sim_chance(struct sim_engine *e, uint64_t permille);
/* Draws from `stream` from now on (NULL: the main one); returns what was in use before. Streams of
 * their own keep the rest of a run as it was when one fault, link or node is changed, so that a
 * failure can be shrunk. */
struct cf_prng *sim_draw_from(struct sim_engine *e, struct cf_prng *stream);
/* Seeds a stream by the run's seed and a name of three numbers. */
void sim_stream_seed(const struct sim_engine *e, struct cf_prng *stream, uint64_t a, uint64_t b,
                     uint64_t c);

/* Draws an option of this run (or takes what an override says) and notes "name=value" in the
 * printed option set. */
uint64_t sim_option(struct sim_engine *e, const char *name, uint64_t low, uint64_t high);
/* Swarm testing: off (0) in half of the runs, else drawn from [low, high]. */
uint64_t sim_option_maybe(struct sim_engine *e, const char *name, uint64_t low, uint64_t high);
/* The option set so far, NUL-terminated; borrowed. */
const char *sim_options_text(struct sim_engine *e);

/* ---- events --------------------------------------------------------------------------------- */

void sim_schedule(struct sim_engine *e, uint64_t at_us, uint32_t kind, uint32_t node, uint64_t a,
                  uint64_t b, void *data);
/* The next event, if there is one not later than until_us; moves the time. */
bool sim_next(struct sim_engine *e, uint64_t until_us, struct sim_event *ret);

/* ---- trace ---------------------------------------------------------------------------------- */

/* Goes into the hash. */
void sim_note(struct sim_engine *e, uint64_t value);
/* Printed when verbose, with the time in front. */
void sim_trace(struct sim_engine *e, const char *fmt, ...) CF_PRINTF(2, 3);
/* A "sometimes" assertion: mark 0..63 was reached in this run. */
void sim_reached(struct sim_engine *e, unsigned mark);
/* A mixing step for checksums of simulated state. */
uint64_t sim_mix(uint64_t hash, uint64_t value);

/* Ends the process (exit status 1) after printing the seed, its options and the text: an invariant
 * does not hold. */
_Noreturn void sim_fail(struct sim_engine *e, const char *invariant, const char *fmt, ...)
    CF_PRINTF(3, 4);

/* ---- network -------------------------------------------------------------------------------- */

struct sim_net {
    unsigned endpoints;
    uint64_t delay_min_us, delay_max_us;
    uint64_t drop_permille, duplicate_permille;
    uint64_t slow_permille, slow_max_us;    /* some take much longer: reordering */
    bool cut[SIM_ENDPOINTS][SIM_ENDPOINTS]; /* from, to */
    uint64_t clogged_until_us[SIM_ENDPOINTS][SIM_ENDPOINTS];
};

/* How often, and after which delays, a packet from -> to arrives: 0, 1 or 2 times. */
unsigned sim_net_route(struct sim_engine *e, const struct sim_net *net, unsigned from, unsigned to,
                       uint64_t delays[2]);
/* A packet that arrives now: was the link cut meanwhile? */
bool sim_net_is_cut(const struct sim_net *net, unsigned from, unsigned to);
void sim_net_heal(struct sim_net *net);
/* Cuts something at random: halves, one endpoint, one direction, a bridge, a few links, a clog.
 * `favourite` is hit more often (the leader). */
void sim_net_break(struct sim_engine *e, struct sim_net *net, unsigned favourite);

#endif
