/* node/core/mutant.h: deliberate mistakes in the pure parts that decide over requests, for the build that the
 * simulator has to find them in (tests/sim, req_sim_mutants). Everywhere else they are not there. */
#ifndef COFFER_CORE_MUTANT_H
#define COFFER_CORE_MUTANT_H

#ifdef REQ_MUTATIONS
enum req_mutant {
    REQ_MUTANT_NONE,
    REQ_MUTANT_READS_UNCHECKED,   /* the window looks at ranges alone */
    REQ_MUTANT_RANGES_UNCHECKED,  /* the window looks at keys alone */
    REQ_MUTANT_FORGETS_SILENTLY,  /* what the window forgets does not count as touched */
    REQ_MUTANT_NEW_LEADER_KNOWS,  /* nor does what a leader before has appended */
    REQ_MUTANT_NO_TICKETS,        /* nobody waits for an older one */
    REQ_MUTANT_TICKETS_OF_WRITES, /* a ticket holds what its request writes, not what it reads */
    REQ_MUTANT_DROPPED_RUNS,      /* records that were dropped count as never written */
    REQ_MUTANT_RETRY_REGROUPED,   /* a later try may take a new group */
    REQ_MUTANT_TRIES_UNCOUNTED,   /* a try that may have run is none */
    REQ_MUTANT_MINORITY_CLOCK,    /* time follows whoever was heard */
    REQ_MUTANT_STALE_TICKETS,     /* a ticket of an earlier leadership still counts */
    REQ_MUTANT_FIRST_AT_ONCE,     /* the first stamp waits for nobody */
};
extern enum req_mutant req_mutation;
#define REQ_MUTANT(x) (req_mutation == REQ_MUTANT_##x)
#else
#define REQ_MUTANT(x) false
#endif

#endif
