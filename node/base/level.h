/* node/base/level.h
 *
 * Feature levels: what nodes of one cluster may say to each other and write into what they share. A build knows one
 * level, and works with nodes of that and of the one before. What is in force is the lowest level among the members
 * of the cluster (consensus/driver/level.c); above it nothing is said or written. What was written with a level is
 * refused by builds that are below it.
 */
#ifndef COFFER_BASE_LEVEL_H
#define COFFER_BASE_LEVEL_H

/* Add at the end. A level says what a node of the one before would misread. */
enum {
    LEVEL_FIRST = 1,
    LEVEL_REQUEST_RECORDS = 2, /* ids of forwarded requests and their records in the state: without them a leader runs
                                  again what had run (node/core/once.h) */
    LEVEL_RUNS = LEVEL_REQUEST_RECORDS, /* came with it: a switch names runs, files beside the log (node/core/command.h) */
    LEVEL_NEWEST = LEVEL_REQUEST_RECORDS,
};

/* Of this build. Alone in its object, so that a test can link a build of the level before (tests/lib). */
unsigned cf_feature_level(void);

#endif
