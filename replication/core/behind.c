/* replication/core/behind.c: how far a secondary is behind, as it knows itself. */
#include "replication/core/behind.h"

#include "node/base/memory.h"
#include "replication/core/mutant.h"

void behind_init(struct behind *behind, uint64_t now_ms)
{
    *behind = (struct behind){.began_ms = now_ms};
}

void behind_lost(struct behind *behind)
{
    behind->is_exact = false;
    behind->target.index = 0;
}

static void look(struct behind *behind, const struct repl_position *ours)
{
    bool reached = behind->target.index != 0 && repl_epoch_equal(&ours->epoch, &behind->target.epoch) &&
                   ours->index >= behind->target.index;
    if (!behind->is_exact && reached) {
        behind->is_exact = true;
        behind->whole_ms = cf_max(behind->whole_ms, behind->target_ms);
    }
}

void behind_heard(struct behind *behind, uint64_t said_ms, const struct repl_position *theirs,
                  const struct repl_position *ours, uint64_t now_ms)
{
    behind->heard_ms = now_ms;
    behind->said_ms = said_ms;
    look(behind, ours);
    if (!behind->is_exact && behind->target.index == 0) {
        behind->target = *theirs;
        behind->target_ms = now_ms - cf_min(said_ms, now_ms); /* it may not have heard its leader itself */
        look(behind, ours);
    }
    if ((behind->is_exact || REPL_MUTATED(REPL_MUTANT_LAG_OF_NEWCOMER)) && said_ms < now_ms) {
        behind->whole_ms = cf_max(behind->whole_ms, now_ms - said_ms);
    }
}

uint64_t behind_ms(const struct behind *behind, bool streams, const struct repl_position *ours, uint64_t now_ms)
{
    struct behind now = *behind;
    look(&now, ours);
    bool hears = now.heard_ms != 0 && streams && now_ms - now.heard_ms < BEHIND_SILENT_MS;
    bool believes = now.is_exact || REPL_MUTATED(REPL_MUTANT_LAG_OF_NEWCOMER);
    if ((hears && believes) || (now.heard_ms != 0 && REPL_MUTATED(REPL_MUTANT_LAG_SILENT))) {
        return now.said_ms;
    }
    return now_ms - (now.whole_ms != 0 ? now.whole_ms : now.began_ms);
}
