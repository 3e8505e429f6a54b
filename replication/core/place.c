/* replication/core/place.c: where the stream of a secondary is served. */
#include "replication/core/place.h"

#include "replication/core/mutant.h"

static size_t count_fit(const struct place_question *q)
{
    size_t fit = 0;
    for (size_t i = 0; i < q->count; i++) {
        fit += q->holds_to[i] >= q->index;
    }
    return fit;
}

/* Of those that may hold the position: the draw-th, and behind it the next with each one that was tried. */
static bool choose(const struct place_question *q, size_t *ret)
{
    size_t fit = count_fit(q);
    size_t skip = fit > 0 ? (size_t)((q->draw + q->tried) % fit) : 0;
    for (size_t i = 0; i < q->count; i++) {
        if (q->holds_to[i] >= q->index && skip-- == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static enum place active_decides(const struct place_question *q, size_t *standby)
{
    bool sends = q->tried == 0 || (!q->holds && q->tried < count_fit(q) &&
                                   !REPL_MUTATED(REPL_MUTANT_FIRST_STANDBY_ONLY));
    return sends && choose(q, standby) ? PLACE_STANDBY : PLACE_HERE;
}

enum place place_decide(const struct place_question *q, size_t *standby)
{
    if (!q->may_serve) {
        return q->active_known ? PLACE_ACTIVE : PLACE_NOWHERE;
    }
    if (q->is_active) {
        return active_decides(q, standby);
    }
    if (q->holds || REPL_MUTATED(REPL_MUTANT_HOLDS_NOT_ASKED)) {
        return PLACE_HERE;
    }
    return q->active_known ? PLACE_ACTIVE : PLACE_NOWHERE;
}

void place_send(struct place_sent *sent, const struct repl_position *position, unsigned tried, uint64_t now_ms)
{
    *sent = (struct place_sent){now_ms, tried + 1, *position};
}

unsigned place_tried(const struct place_sent *sent, const struct repl_position *position, uint64_t now_ms)
{
    bool came_back = sent->at_ms != 0 && now_ms - sent->at_ms < PLACE_SENT_MS &&
                     repl_position_equal(&sent->from, position);
    return came_back ? sent->tried : 0;
}

bool place_moves(const struct place_question *q, uint64_t fit_for_ms)
{
    size_t standby;
    return q->is_active && fit_for_ms >= PLACE_SETTLED_MS && choose(q, &standby);
}
