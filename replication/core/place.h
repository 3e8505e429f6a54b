/* replication/core/place.h
 *
 * Where the stream of a secondary is served: any node of the primary that holds its position will do, and
 * standbys are preferred, because the active node has enough to do. Whether a position is gone is said
 * by the active node alone: a standby that does not hold it (its log begins later, it came back by
 * snapshot) sends the secondary there. Pure; thread: any.
 *
 *   standby --holds it--> here          active --a standby holds it--> there
 *           --does not--> active node          --just sent it away, and holds it, or none does--> here
 *
 * An active node that lacks the position itself (it came back by snapshot) asks each standby before it says that
 * the position is gone: to end a stream costs the secondary a comparison or a copy.
 */
#ifndef COFFER_REPLICATION_PLACE_H
#define COFFER_REPLICATION_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replication/core/position.h"

enum {
    PLACE_SENT_MS = 10000,   /* sent to a standby so lately and back again: that one would not do */
    PLACE_SETTLED_MS = 10000 /* a standby that was fit for so long takes over what the active serves */
};

enum place {
    PLACE_HERE,
    PLACE_ACTIVE,  /* the active node decides */
    PLACE_STANDBY, /* *standby of the list */
    PLACE_NOWHERE, /* nobody is known who may: try again */
};

struct place_question {
    bool is_active;    /* this node leads its cluster */
    bool may_serve;    /* unsealed, a primary, and in touch with its leader */
    bool active_known; /* another node leads, and its address is known */
    bool holds;        /* the position, or there is none yet */
    uint64_t index;    /* of the position in our own log; 0: none, or of an earlier epoch */
    unsigned tried;    /* standbys that this node has sent it to within PLACE_SENT_MS: it came back */
    uint64_t draw;     /* of the secondary: spreads them over the standbys */
    /* Standbys that could serve, as an active node knows them: up to where each holds the log. */
    const uint64_t *holds_to;
    size_t count;
};

enum place place_decide(const struct place_question *question, size_t *standby);

/* How an active node has sent a secondary to standbys, one after the other. Zeroed: never. */
struct place_sent {
    uint64_t at_ms;             /* the last time; 0: never */
    unsigned tried;             /* standbys, with the last one */
    struct repl_position from;  /* where the secondary stood then */
};
void place_send(struct place_sent *sent, const struct repl_position *position, unsigned tried, uint64_t now_ms);
/* For the next question: one that stands elsewhere by now was served where it was sent, however soon it is back. */
unsigned place_tried(const struct place_sent *sent, const struct repl_position *position, uint64_t now_ms);
/* Should an active node let go of a stream, because a standby has been fit for so long? */
bool place_moves(const struct place_question *question, uint64_t fit_for_ms);

#endif
