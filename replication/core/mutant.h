/* replication/core/mutant.h: deliberate mistakes that the simulator has to find (tests only:
 * compiled in with REPL_MUTATIONS). */
#ifndef COFFER_REPLICATION_MUTANT_H
#define COFFER_REPLICATION_MUTANT_H

enum repl_mutant {
    REPL_MUTANT_NONE,
    REPL_MUTANT_ACCEPT_GAP,     /* a batch is taken although it does not continue our position */
    REPL_MUTANT_HELLO_EARLY,    /* greets while proposals are under way */
    REPL_MUTANT_RESUME_BLINDLY, /* goes on with the stage of another snapshot */
    REPL_MUTANT_STREAM_BEYOND,  /* streams to who is beyond the branch point */
    REPL_MUTANT_TRUST_CLAIMS,   /* unproved claims fence */
    REPL_MUTANT_NEVER_FENCE,
    REPL_MUTANT_ACK_EARLY, /* acknowledges what was received, not what was committed */
    REPL_MUTANT_REPAIR_ENDLESS,  /* a repair that can't be done is tried for ever */
    REPL_MUTANT_COUNT
};

#ifdef REPL_MUTATIONS
extern enum repl_mutant repl_mutation;
#define REPL_MUTATED(which) (repl_mutation == (which))
#else
#define REPL_MUTATED(which) false
#endif

#endif
