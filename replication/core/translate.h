/* replication/core/translate.h
 *
 * Where the log of a promoted cluster goes on for somebody who stands at a position of the epoch before ours.
 * Entries that were received carry the indexes that they had in the log that they came from, but not the epoch; so
 * only those count that we received between the last two beginnings: the promotion that made our epoch is the
 * last, and the one before is where we began to follow its parent (adopted it, copied, repaired). Indexes from
 * before that, or what a performance secondary receives after its promotion, are of other logs. Pure.
 *
 *     ours      38 adopted  40        41       42     43 promoted   44
 *     came from             7..9      10       11..14 -             -      from 12: begins with 42, cut above 12
 */
#ifndef COFFER_REPLICATION_TRANSLATE_H
#define COFFER_REPLICATION_TRANSLATE_H

#include "replication/core/lineage.h"

/* One entry of our log. */
struct translate_entry {
    uint64_t index;
    bool begins;             /* a lineage of ours is written by it, or the state is replaced */
    bool is_shipped;         /* received */
    uint64_t oldest, newest; /* indexes that it came from; oldest UINT64_MAX: a repair, which has none; 0: empty */
};

/* What was received between two beginnings. */
struct translate_run {
    bool has_base; /* an entry at or below the position is in our log: nothing is missing */
    bool found;    /* an entry from above it */
    bool is_whole;
    uint64_t start, last_shipped;
};
struct translation {
    uint64_t from; /* index of the position */
    struct translate_run now, before;
    uint64_t began; /* index of the last beginning; 0: none in the log */
};

/* May positions of that epoch be sought at all? Of the parent of our epoch alone. */
bool translate_may(const struct repl_lineage *own, const struct repl_position *from);
void translate_begin(struct translation *t, uint64_t from_index);
/* All that are kept, in the order of the log. */
void translate_entry(struct translation *t, const struct translate_entry *entry);
/* *start: where the stream begins; *end: entries from there on are not cut, whatever they came from. False: it
 * cannot be known that nothing is missing before it. */
bool translate_end(const struct translation *t, uint64_t *start, uint64_t *end);

#endif
