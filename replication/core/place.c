/* replication/core/place.c: where the stream of a secondary is served. */
#include "replication/core/place.h"

/* The draw-th of those that hold the position. */
static bool choose(const struct place_question *q, size_t *ret)
{
    size_t fit = 0;
    for (size_t i = 0; i < q->count; i++) {
        fit += q->holds_to[i] >= q->index;
    }
    size_t skip = fit > 0 ? (size_t)(q->draw % fit) : 0;
    for (size_t i = 0; i < q->count; i++) {
        if (q->holds_to[i] >= q->index && skip-- == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

enum place place_decide(const struct place_question *q, size_t *standby)
{
    if (!q->may_serve) {
        return q->active_known ? PLACE_ACTIVE : PLACE_NOWHERE;
    }
    if (q->is_active) {
        return !q->was_sent && choose(q, standby) ? PLACE_STANDBY : PLACE_HERE;
    }
    if (q->holds) {
        return PLACE_HERE;
    }
    return q->active_known ? PLACE_ACTIVE : PLACE_NOWHERE;
}

bool place_moves(const struct place_question *q, uint64_t fit_for_ms)
{
    size_t standby;
    return q->is_active && fit_for_ms >= PLACE_SETTLED_MS && choose(q, &standby);
}
