/* tests/sim/script.h
 *
 * Scenarios: a run written down, line by line (README.md has the language). Directed ones are
 * written by hand, one for each bug of others (consensus.md section 14); the shrinker writes them,
 * too. In a scenario nothing happens by itself: messages wait until a line delivers them, disks
 * until a line syncs them, timers ring when a line says so.
 */
#ifndef COFFER_SIM_SCRIPT_H
#define COFFER_SIM_SCRIPT_H

#include "tests/sim/world.h"

#define SCRIPT_OVERRIDES 64
#define SCRIPT_LINE_MAX 200

/* What the head of a scenario says. */
struct script_head {
    uint64_t seed;        /* not 0: a seed with options set, instead of lines */
    unsigned voters, learners;
    bool lenient;         /* a line that fits nothing is skipped (another core, other messages) */
    char mutant[64];      /* the deliberate bug that it catches; "" none */
    char finds[32];       /* the invariant that the bug breaks */
    struct sim_override overrides[SCRIPT_OVERRIDES]; /* ends with a NULL name; names owned */
    size_t override_count;
};

struct script {
    struct script_head head;
    char **lines; /* without the head, comments and empty lines; owned */
    size_t count, capacity;
    size_t at;  /* the line that runs */
    bool hold;  /* it ends with +: no drain after it */
    bool held_disk[SIM_NODES]; /* "settle" and "run" leave this disk alone */
    struct script_packet {
        struct packet *packet;
        bool taken; /* delivered or dropped */
        char name[96];
    } * flight;
    size_t flight_count, flight_capacity;
};

/* Parses; prints what is wrong and returns NULL. */
struct script *script_parse(const char *name, const char *text);
void script_free(struct script *s);
/* Runs it, as a scenario or as a seed. False, after saying why: an expectation was not met. A
 * broken invariant ends the process as always. */
bool script_run(struct script *s, const char *name, bool verbose, uint64_t *ret_reached);
/* run.c: a world without a workload, to be freed by world_free(). */
struct world *world_new(uint64_t seed, bool verbose, const struct sim_override *overrides);
void world_found(struct world *w, unsigned voters, unsigned learners);
void world_free(struct world *w);
/* run.c: like run_seed(), with overrides and perhaps a record. */
uint64_t run_seed_with(uint64_t seed, const struct sim_override *overrides, struct cf_buf *record,
                       bool verbose, uint64_t *ret_reached, bool print_summary);
/* run.c: called when a run fails, before the end; told what was recorded so far. */
extern void (*world_on_fail)(struct sim_engine *e, const char *invariant, const char *text);

/* shrink.c: makes a failing seed short and prints the scenario. Exit status. */
int shrink_seed(uint64_t seed, const char *mutant);

#endif
