/* replication/core/translate.c: positions of the epoch before ours, in our own log. */
#include "replication/core/translate.h"

#include "replication/core/mutant.h"

bool translate_may(const struct repl_lineage *own, const struct repl_position *from)
{
    bool is_parent =
        own->count > 0 && repl_epoch_equal(&own->branches[own->count - 1].parent, &from->epoch);
    return (is_parent || REPL_MUTATED(REPL_MUTANT_TRANSLATE_ANY_EPOCH)) &&
           (repl_lineage_includes(own, from) || REPL_MUTATED(REPL_MUTANT_STREAM_BEYOND));
}

void translate_begin(struct translation *t, uint64_t from_index)
{
    *t = (struct translation){.from = from_index};
}

static void take(struct translate_run *run, uint64_t from, const struct translate_entry *entry)
{
    run->last_shipped = entry->index;
    if (entry->oldest == UINT64_MAX) { /* what was between is in it, and has no positions */
        run->has_base = REPL_MUTATED(REPL_MUTANT_TRANSLATE_PAST_REPAIR) && run->has_base;
        return;
    }
    if (entry->newest != 0 && entry->oldest <= from) {
        run->has_base = true;
    }
    if (entry->newest > from && !run->found) {
        run->found = true;
        run->start = entry->index;
        /* Without an entry at or below it in our log we cannot know that nothing is missing. */
        run->is_whole = run->has_base || entry->oldest == from + 1;
    }
}

void translate_entry(struct translation *t, const struct translate_entry *entry)
{
    if (entry->begins && !REPL_MUTATED(REPL_MUTANT_TRANSLATE_ALL)) {
        t->before = t->now;
        t->now = (struct translate_run){0};
        t->began = entry->index;
    }
    if (entry->is_shipped) {
        take(&t->now, t->from, entry);
    }
}

bool translate_end(const struct translation *t, uint64_t *start, uint64_t *end)
{
    const struct translate_run *run =
        REPL_MUTATED(REPL_MUTANT_TRANSLATE_ALL) ? &t->now : &t->before;
    *end = REPL_MUTATED(REPL_MUTANT_TRANSLATE_ALL) ? UINT64_MAX : t->began;
    /* It may have all that we received: our own entries follow. */
    *start = run->found ? run->start : run->last_shipped + 1;
    return (run->found ? run->is_whole : run->has_base) ||
           (run->last_shipped != 0 && REPL_MUTATED(REPL_MUTANT_TRANSLATE_WITHOUT_BASE));
}
