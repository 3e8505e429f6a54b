/* replication/core/behind.h
 *
 * How far a secondary is behind, as it knows itself: what a promotion would lose. Its primary says so with each
 * heartbeat, but only from what the node that serves sees: one that serves it since a moment ago does not know since
 * when it lacks what it lacks, and none of them says anything once it is gone. So the secondary keeps a moment of its
 * own: all that its primary had applied then is here. It moves on when the position that came with a heartbeat is
 * reached, and from then on with each heartbeat of that connection. The figure is the time since, and never too small
 * by more than two heartbeats, unless this process has not heard its primary yet. Pure; thread: its owner's.
 */
#ifndef COFFER_REPLICATION_BEHIND_H
#define COFFER_REPLICATION_BEHIND_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/core/position.h"

enum { BEHIND_SILENT_MS = 3000 }; /* three heartbeats missed: the connection may be gone and not know it */

struct behind {
    uint64_t began_ms; /* this process began to look for its primary */
    uint64_t heard_ms; /* the last heartbeat; 0: none */
    uint64_t said_ms;  /* the age of the oldest entry that we lack, in its words */
    uint64_t whole_ms; /* all of then is here; 0: not known */
    /* of this connection */
    bool is_exact; /* what is said of it is the truth: it has seen the oldest that we lack */
    uint64_t target_ms;
    struct repl_position target; /* theirs, at its first heartbeat; index 0: none yet */
};

void behind_init(struct behind *behind, uint64_t now_ms);
/* The connection is gone; who serves the next one may know less. */
void behind_lost(struct behind *behind);
/* A heartbeat: it has applied up to `theirs`, we have committed up to `ours`. */
void behind_heard(struct behind *behind, uint64_t said_ms, const struct repl_position *theirs,
                  const struct repl_position *ours, uint64_t now_ms);
/* streams: a connection that brings entries stands. */
uint64_t behind_ms(const struct behind *behind, bool streams, const struct repl_position *ours, uint64_t now_ms);

#endif
