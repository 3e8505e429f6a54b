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
    REPL_MUTANT_REPAIR_ENDLESS, /* a repair that can't be done is tried for ever */
    REPL_MUTANT_TRANSLATE_WITHOUT_BASE, /* goes on although what lies between may have left the log */
    REPL_MUTANT_TRANSLATE_ANY_EPOCH,    /* takes indexes of one log for those of another */
    REPL_MUTANT_TRANSLATE_ALL,          /* the same, within the log: whatever was received counts */
    REPL_MUTANT_TRANSLATE_PAST_REPAIR,  /* takes what came before a repair for what leads up to what came after */
    REPL_MUTANT_LINE_NEVER_FENCED,      /* a performance secondary that lost its line goes on */
    REPL_MUTANT_OTHER_EPOCH_REACHED,    /* any other epoch counts as having what is waited for */
    REPL_MUTANT_HOLDS_NOT_ASKED,        /* a standby that lacks the position says that it is gone */
    REPL_MUTANT_FIRST_STANDBY_ONLY,     /* an active node without the position asks one standby only */
    REPL_MUTANT_FLOOR_FORGETS,          /* a new active node keeps nothing for whom it has not heard of */
    REPL_MUTANT_FLOOR_OF_LAST,          /* the floor is that of the one who is furthest */
    REPL_MUTANT_FLOOR_ENDLESS,          /* who is away is waited for for ever */
    REPL_MUTANT_FLOOR_OF_CUT_OFF,       /* who needs what the cap has taken is waited for */
    REPL_MUTANT_HOLDING_FREED,          /* what a copy will continue from is not kept */
    REPL_MUTANT_LAG_OF_SENT,            /* what was sent counts as there */
    REPL_MUTANT_LAG_YOUNG,              /* the age of the newest missing entry, not of the oldest */
    REPL_MUTANT_LAG_OF_NEWCOMER,        /* a secondary believes a node that began to serve it a moment ago */
    REPL_MUTANT_LAG_SILENT,             /* ... and the last word of a primary that says nothing any more */
    REPL_MUTANT_LAG_BLIND,              /* a standby whose leader is silent says that nothing is missing */
    REPL_MUTANT_CREDIT_IGNORED,         /* sends without regard to what is acknowledged */
    REPL_MUTANT_FILTER_LATE,            /* what was filtered later is not deleted where it was there */
    REPL_MUTANT_FILTER_STAYS,           /* what is filtered from now on stays where it is */
    REPL_MUTANT_FILTER_WIDENED,         /* a stream goes past where the filter let more through */
    REPL_MUTANT_FILTER_GONE,            /* what a mount that is gone held is sent, its entry is not */
    REPL_MUTANT_FILTER_OPEN,            /* entries pass unfiltered */
    REPL_MUTANT_RECORD_UNREAD,          /* a forwarded request runs without a look at its record */
    REPL_MUTANT_TWO_IDS,                /* a promotion raises set and line under two ids */
    REPL_MUTANT_SET_ANYWHERE,           /* the set branches at an index of another log */
    REPL_MUTANT_REPAIR_SURPLUS,         /* a repair leaves what is too much */
    REPL_MUTANT_COUNT
};

#ifdef REPL_MUTATIONS
extern enum repl_mutant repl_mutation;
#define REPL_MUTATED(which) (repl_mutation == (which))
#else
#define REPL_MUTATED(which) false
#endif

#endif
