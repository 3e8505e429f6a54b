/* tests/sim/repl_check.c: what the primaries committed, and what must be true of everybody. */
#include "tests/sim/repl_world.h"

static struct truth *find(struct world *w, const struct repl_epoch *epoch)
{
    for (size_t i = 0; i < w->truth_count; i++) {
        if (repl_epoch_equal(&w->truths[i].epoch, epoch)) {
            return &w->truths[i];
        }
    }
    return NULL;
}

static void note_entry(struct truth *truth, const struct cluster *c, uint64_t index)
{
    if (truth->at_count <= index) {
        size_t count = (size_t)index * 2 + 16;
        truth->at = cf_realloc(truth->at, count * sizeof(truth->at[0]));
        memset(truth->at + truth->at_count, 0, (count - truth->at_count) * sizeof(truth->at[0]));
        truth->at_count = count;
    }
    truth->at[index] = (struct entry){.term = c->log[index].term, .end = c->log[index].end};
}

/* What a promoted one holds from before is part of the log of its epoch, too: it is sent from there
 * to who is behind the branch point. */
void truth_begin(struct world *w, struct cluster *c)
{
    struct truth *truth = &w->truths[w->truth_count++];
    *truth = (struct truth){.epoch = repl_lineage_current(&c->lineage), .owner = c->n};
    items_copy(&truth->items, &c->state, 0);
    for (uint64_t i = c->base > 0 ? c->base : 1; i <= c->last; i++) {
        note_entry(truth, c, i);
    }
}

void truth_commit(struct world *w, struct cluster *c)
{
    struct repl_epoch epoch = repl_lineage_current(&c->lineage);
    struct truth *truth = find(w, &epoch);
    items_copy(&truth->items, &c->state, truth->items.count);
    note_entry(truth, c, c->last);
}

/* Exactly what the primary of its position's epoch had there, through the filter: nothing
 * reordered, nothing half-applied, no mix of two states. */
void check_secondary(struct world *w, struct cluster *c, const struct repl_position *before)
{
    struct sim_engine *e = &w->engine;
    const struct repl_position *at = &c->remote;
    struct truth *truth = find(w, &at->epoch);
    size_t have = 0;
    if (at->index == 0) {
        return;
    }
    if (truth == NULL || at->index >= truth->at_count || truth->at[at->index].term != at->term) {
        sim_fail(e, "position", "%u is at %u/%llu, which nobody ever was", c->n, at->epoch.number,
                 (unsigned long long)at->index);
    }
    for (size_t i = 0; i < truth->at[at->index].end; i++) {
        if (!genuine(&truth->items.all[i], c->performance)) {
            continue;
        }
        if (have >= c->state.count || c->state.all[have].id != truth->items.all[i].id) {
            sim_fail(e, "prefix", "%u at %u/%llu lacks item %llu as its number %zu", c->n,
                     at->epoch.number, (unsigned long long)at->index,
                     (unsigned long long)truth->items.all[i].id, have);
        }
        have++;
    }
    if (have != c->state.count) {
        sim_fail(e, "prefix", "%u at %u/%llu has %zu items too many", c->n, at->epoch.number,
                 (unsigned long long)at->index, c->state.count - have);
    }
    if (repl_position_before(at, before)) {
        sim_fail(e, "monotone", "%u went back from %llu to %llu", c->n,
                 (unsigned long long)before->index, (unsigned long long)at->index);
    }
    sim_note(e, at->index);
}

/* What a primary believes to be shipped is there for good: the promise of a promotion. */
void check_ack(struct world *w, struct cluster *c, const struct repl_position *acked)
{
    if (repl_epoch_equal(&c->remote.epoch, &acked->epoch) && c->remote.index < acked->index) {
        sim_fail(&w->engine, "shipped", "%u acknowledged %llu and has %llu", c->n,
                 (unsigned long long)acked->index, (unsigned long long)c->remote.index);
    }
}

void check_fenced(struct world *w, struct cluster *c, const struct repl_lineage *by, bool rogue)
{
    struct repl_epoch other = repl_lineage_current(by), own = repl_lineage_current(&c->lineage);
    if (rogue || find(w, &other) == NULL || repl_epoch_cmp(&other, &own) <= 0) {
        sim_fail(&w->engine, "fence", "%u was fenced by %s claim", c->n,
                 rogue ? "an unproved" : "an older");
    }
}

static bool same_state(const struct cluster *primary, const struct cluster *c)
{
    size_t have = 0;
    for (size_t i = 0; i < primary->state.count; i++) {
        if (genuine(&primary->state.all[i], c->performance)) {
            if (have >= c->state.count || c->state.all[have].id != primary->state.all[i].id) {
                return false;
            }
            have++;
        }
    }
    return have == c->state.count;
}

/* One primary that nobody fenced, of the highest epoch; everybody else follows and has it all. */
bool check_converged(struct world *w, bool must)
{
    struct cluster *primary = NULL;
    for (unsigned i = 0; i < CLUSTERS; i++) {
        struct cluster *c = &w->clusters[i];
        if (c->primary && (c->fenced || primary != NULL)) {
            if (must) {
                sim_fail(&w->engine, "fence", "%u is still primary", i);
            }
            return false;
        }
        primary = c->primary ? c : primary;
    }
    for (unsigned i = 0; i < CLUSTERS; i++) {
        struct cluster *c = &w->clusters[i];
        struct repl_position here = primary != NULL ? cluster_here(primary) : c->remote;
        if (c == primary ||
            (primary != NULL && repl_position_equal(&c->remote, &here) && same_state(primary, c) &&
             repl_lineage_compare(&c->lineage, &primary->lineage, NULL) == REPL_SAME)) {
            continue;
        }
        if (must) {
            sim_fail(&w->engine, "convergence", "%u is at %u/%llu of %llu, state %d", i,
                     c->remote.epoch.number, (unsigned long long)c->remote.index,
                     (unsigned long long)here.index, (int)c->receiver.state);
        }
        return false;
    }
    return true;
}
