/* replication/core/fence.c: what a stated lineage does to us. */
#include "replication/core/fence.h"

#include "replication/core/mutant.h"

enum fence_decision fence_decide(const struct repl_lineage *own, enum fence_role role,
                                 const struct fence_claim *claim)
{
    enum repl_relation relation = repl_lineage_compare(own, claim->lineage, NULL);
    if (role == FENCE_PRIMARY && REPL_MUTATED(REPL_MUTANT_NEVER_FENCE)) {
        return FENCE_IGNORE;
    }
    if (role == FENCE_NO_PART || (relation != REPL_OURS_OLDER && relation != REPL_DIVERGED_LOST)) {
        return FENCE_IGNORE;
    }
    if (role == FENCE_SECONDARY && own->count == 0) {
        return FENCE_ADOPT;
    }
    if (!claim->verified && !REPL_MUTATED(REPL_MUTANT_TRUST_CLAIMS)) {
        return FENCE_ALARM;
    }
    return role == FENCE_PRIMARY ? FENCE_FENCE : FENCE_ADOPT;
}

bool fence_concerns(bool is_shared_primary, bool is_performance_secondary, enum repl_kind kind)
{
    return is_shared_primary ||
           (is_performance_secondary && kind == REPL_DR && !REPL_MUTATED(REPL_MUTANT_LINE_NEVER_FENCED));
}
