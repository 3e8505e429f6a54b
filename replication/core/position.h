/* replication/core/position.h
 *
 * Where in the history of a replication set somebody is: (epoch, term, index), the index being one
 * of the Raft log of the cluster that was primary in that epoch. So a position survives every
 * failover inside a primary, and a promotion, too: a promoted secondary knows for each of its
 * entries which position of the former epoch it came from (design 5.2).
 * Positions are not dense. Pure; thread: any.
 */
#ifndef COFFER_REPLICATION_POSITION_H
#define COFFER_REPLICATION_POSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/slice.h"
#include "node/base/status.h"

enum repl_kind { REPL_PERFORMANCE = 0, REPL_DR = 1, REPL_KIND_COUNT = 2 };
const char *repl_kind_name(enum repl_kind kind); /* "performance", "dr" */

/* Who is primary: the higher number, and between equal numbers the larger id, wins. number 0: none.
 */
struct repl_epoch {
    uint32_t number;
    uint8_t id[16]; /* random, drawn by who raised it */
};

/* index 0: the very beginning, before any entry (a secondary that holds nothing). */
struct repl_position {
    struct repl_epoch epoch;
    uint64_t term, index;
};

bool repl_epoch_equal(const struct repl_epoch *a, const struct repl_epoch *b);
/* < 0: b wins; 0: the same; > 0: a wins. */
int repl_epoch_cmp(const struct repl_epoch *a, const struct repl_epoch *b);
bool repl_position_equal(const struct repl_position *a, const struct repl_position *b);
/* Is `a` strictly before `b` in the log of one epoch? False between epochs: those are compared
 * along a lineage (lineage.h). */
bool repl_position_before(const struct repl_position *a, const struct repl_position *b);

/* Does a state at `here` hold what was committed at `until`? An epoch that is newer than that of `until` has it, or
 * never will: it was lost with a promotion. One that is older has not got there yet. */
bool repl_position_reached(const struct repl_position *until, const struct repl_position *here);

/* Bytes: version 1, kind of epoch (1: set epoch; 2 is for line epochs), number, id, term, index.
 * A later version may append (a filter's version): the size is part of the version. */
#define REPL_POSITION_SIZE ((size_t)38)
void repl_position_encode(const struct repl_position *position, struct cf_buf *out);
/* CF_CORRUPT for another size or an impossible value, CF_UNSUPPORTED for a version or kind of epoch
 * that this build does not know. */
CF_CHECKED cf_status repl_position_decode(struct cf_slice bytes, struct repl_position *ret,
                                          struct cf_error *err);

/* "3:1f00aa..:7/1042" (number, first bytes of the id, term, index): for logs and status. */
#define REPL_POSITION_TEXT_SIZE 80
void repl_position_text(const struct repl_position *position, char text[REPL_POSITION_TEXT_SIZE]);

#endif
