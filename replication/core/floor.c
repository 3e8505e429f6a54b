/* replication/core/floor.c: how far back a primary keeps its log for its secondaries. */
#include "replication/core/floor.h"

#include <string.h>

#include "replication/core/mutant.h"

/* What holds for a secondary: the word of who serves it now (the lowest, when an old connection was not
 * noticed yet), else of who served it last. NULL: nobody has heard of it. */
static const struct floor_row *find(const struct floor_question *q, const char *id)
{
    const struct floor_row *best = NULL;
    for (size_t i = 0; i < q->row_count; i++) {
        const struct floor_row *row = &q->rows[i];
        if (row->needs == 0 || strcmp(row->id, id) != 0) {
            continue;
        }
        bool better = best == NULL || (row->connected && !best->connected) ||
                      (row->connected == best->connected &&
                       (row->connected ? row->needs < best->needs : row->heard_ms > best->heard_ms));
        best = better ? row : best;
    }
    return best;
}

struct floor_answer floor_decide(const struct floor_question *q)
{
    struct floor_answer answer = {.floor = UINT64_MAX};
    for (size_t i = 0; i < q->registered_count; i++) {
        const struct floor_row *row = find(q, q->registered[i]);
        uint64_t last_ms = row != NULL ? row->heard_ms : q->since_ms;
        bool connected = row != NULL && row->connected;
        if (!connected && q->now_ms > last_ms && q->now_ms - last_ms > q->hold_ms &&
            !REPL_MUTATED(REPL_MUTANT_FLOOR_ENDLESS)) {
            answer.overdue++;
        } else if (row == NULL) {
            answer.unknown++;
        } else if (!connected && row->needs < q->capped && !REPL_MUTATED(REPL_MUTANT_FLOOR_OF_CUT_OFF)) {
            answer.cut_off++; /* it will repair, from whatever moment then is */
        } else if (row->needs < answer.floor ||
                   (answer.floor != UINT64_MAX && REPL_MUTATED(REPL_MUTANT_FLOOR_OF_LAST))) {
            answer.floor = row->needs;
        }
    }
    if (answer.unknown > 0 && q->inherited < answer.floor &&
        !REPL_MUTATED(REPL_MUTANT_FLOOR_FORGETS)) {
        answer.floor = q->inherited;
    }
    return answer;
}
