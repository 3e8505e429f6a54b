/* tests/sim/repl_start.c: what a run is made of: its options, the clusters at first, the faults. */
#include "tests/sim/repl_world.h"

/* ---- options, founding ---- */

void run_draw(struct world *w)
{
    struct sim_engine *e = &w->engine;
    struct options *o = &w->options;
    o->topology = sim_option(e, "topology", 1, 15);
    o->write_us = sim_option(e, "write_us", 2000, 60000);
    o->commit_us = sim_option(e, "commit_us", 200, 40000);
    o->commit_us *= 1 + sim_option_maybe(e, "slow_commit", 5, 20);
    o->apply_us = sim_option(e, "apply_us", 100, 150000);
    o->delay_us = sim_option(e, "delay_us", 100, 80000);
    o->nemesis_us = 1000 * sim_option(e, "nemesis_ms", 50, 1500);
    o->crash = sim_option_maybe(e, "crash", 1, 10);
    o->cut = sim_option_maybe(e, "cut", 1, 10);
    o->cut_off = sim_option_maybe(e, "cut_off", 1, 10);
    o->leader_change = sim_option_maybe(e, "leader_change", 1, 10);
    o->drop_permille = sim_option_maybe(e, "lost_batch_permille", 1, 50);
    o->fail_permille = sim_option_maybe(e, "failed_proposal_permille", 1, 30);
    o->compact_ms = sim_option(e, "compact_ms", 20, 2000);
    o->promotions = sim_option_maybe(e, "promotions", 1, 5);
    o->drills = sim_option_maybe(e, "drills", 1, 3);
    o->page_records = sim_option(e, "page_records", 1, 20);
    o->batch_entries = sim_option(e, "batch_entries", 1, 8);
    o->expire_permille = sim_option_maybe(e, "expired_snapshot_permille", 1, 300);
    o->rogue_permille = sim_option_maybe(e, "rogue_permille", 1, 200);
    o->repair_permille = sim_option(e, "repair_permille", 0, 1000);
    o->repair_records = sim_option(e, "repair_records", 1, 60);
    o->hold_ms = sim_option(e, "hold_ms", 200, 8000);
    o->cap = sim_option(e, "cap", 10, 400);
    o->filter_us = 1000 * sim_option_maybe(e, "filter_ms", 200, 2000);
    o->mounts_permille = sim_option_maybe(e, "mounts_permille", 20, 300);
    o->call_us = 1000 * sim_option_maybe(e, "call_ms", 20, 500);
    o->lost_answer_permille = sim_option_maybe(e, "lost_answer_permille", 20, 400);
    o->safety_us = 1000000 * sim_option(e, "safety_s", 3, 10);
    struct cf_prng own; /* a later option: what is drawn above stays as it was */
    sim_stream_seed(e, &own, 8, 0, 0);
    struct cf_prng *before = sim_draw_from(e, &own);
    o->trailing = sim_option_maybe(e, "trailing", 20, 400);
    if (sim_option(e, "relay", 0, 7) == 0) { /* three take turns, and their logs keep what came from before */
        o->topology |= 10;
        o->promotions = cf_max(o->promotions, 4);
        o->trailing = o->cap = 400;
        o->crash = o->cut = o->leader_change = 0;
        o->safety_us = 10000000;
    }
    sim_draw_from(e, before);
}

static unsigned first_epoch(struct world *w, struct cluster *c, enum repl_kind kind)
{
    struct repl_lineage lineage = {0};
    struct repl_epoch first = {.number = 1};
    first.id[0] = (uint8_t)(c->n + 1);
    first.id[1] = (uint8_t)kind;
    cf_ignore(repl_lineage_raise(&lineage, &first, NULL, NULL), "the first");
    truth_begin(w, c, kind, &first);
    return lineage_id(w, &lineage);
}

/* Roles as after the first activation; nobody has copied anything yet. */
void run_found(struct world *w)
{
    static const unsigned bits[CLUSTERS] = {0, 1, 2, 4, 8}; /* A is always there; D without B is not */
    for (unsigned i = 0; i < CLUSTERS; i++) {
        struct cluster *c = &w->clusters[i];
        struct state *state = &c->log[0].state;
        c->present = i == 0 || (w->options.topology & bits[i]) != 0;
        c->present = c->present && (i != 3 || (w->options.topology & 1) != 0);
        state->role = i == 0 ? AS_SHARED : i == 1 ? AS_PERFORMANCE : AS_MIRROR;
        state->attached = i != 0;
        if (i < 2) {
            state->line_lineage = first_epoch(w, c, REPL_DR);
        }
        if (i == 0) {
            state->set_lineage = first_epoch(w, c, REPL_PERFORMANCE);
        }
    }
    for (unsigned i = 0; i < CLUSTERS; i++) {
        struct cluster *c = &w->clusters[i];
        if (!c->present) {
            continue;
        }
        cluster_elect(w, c);
        for (unsigned n = 0; n < NODES; n++) {
            uint64_t at = w->engine.now_us + sim_between(&w->engine, 1000, 200000);
            sim_schedule(&w->engine, at, EV_TICK, c->nodes[n].id, 0, 0, NULL);
            sim_schedule(&w->engine, at + 500000, EV_COMPACT, c->nodes[n].id, 0, 0, NULL);
        }
        sim_schedule(&w->engine, w->engine.now_us + 1000, EV_REPORT, i, 0, 0, NULL);
        sim_schedule(&w->engine, w->engine.now_us + 2000, EV_WRITE, i, 0, 0, NULL);
    }
    static const enum event_kind kinds[] = {EV_NEMESIS,  EV_PROMOTE, EV_DRILL, EV_OPERATOR,
                                            EV_CLAIM, EV_FILTER,  EV_CALL};
    for (size_t i = 0; i < CF_LENGTH(kinds); i++) {
        sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 1000, 500000), kinds[i], 0, 0,
                     0, NULL);
    }
}
/* ---- faults ---- */

static void cut(struct world *w, unsigned a, unsigned b)
{
    w->cut[a][b] = w->cut[b][a] = true;
    links_break_between(w, a, b);
    sim_trace(&w->engine, "%u and %u are cut", a, b);
    sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 1000, 3000000), EV_HEAL, 0, a, b,
                 NULL);
}

static void crash(struct world *w, struct cluster *c)
{
    bool all = sim_chance(&w->engine, 200);
    unsigned n = (unsigned)sim_below(&w->engine, NODES);
    if (c->leader >= 0 && sim_chance(&w->engine, 300)) {
        n = (unsigned)c->leader;
    }
    for (unsigned i = 0; i < NODES; i++) {
        if (all || i == n) {
            node_crash(w, &c->nodes[i]);
            sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 1000, 2500000), EV_UP,
                         c->nodes[i].id, 0, 0, NULL);
        }
    }
}

static void cut_off(struct world *w, struct cluster *c)
{
    struct node *node = &c->nodes[sim_below(&w->engine, NODES)];
    if (node->up && !node->cut_off && c->leader != (int)node->n) {
        sim_trace(&w->engine, "%u.%u is cut off from its cluster", c->n, node->n);
        node->cut_off = true;
        sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 1000, 7000000), EV_REJOIN,
                     node->id, 0, 0, NULL);
    }
}

void run_nemesis(struct world *w)
{
    const struct options *o = &w->options;
    struct cluster *c = &w->clusters[sim_below(&w->engine, CLUSTERS)];
    unsigned other = (unsigned)((c->n + 1 + sim_below(&w->engine, CLUSTERS - 1)) % CLUSTERS);
    uint64_t pick = sim_below(&w->engine, o->crash + o->cut + o->leader_change + o->cut_off + 2);
    for (unsigned i = 0; i < CLUSTERS * NODES; i++) {
        struct node *node = node_at(w, i);
        for (unsigned k = 0; k < KINDS; k++) {
            for (unsigned p = 0; p < CLUSTERS && sim_chance(&w->engine, o->expire_permille); p++) {
                node->peers[k][p].snapshot.id = 0;
            }
        }
    }
    if (!c->present) {
        return;
    }
    if (pick < o->crash) {
        crash(w, c);
    } else if (pick < o->crash + o->cut) {
        cut(w, c->n, other);
    } else if (pick < o->crash + o->cut + o->leader_change) {
        sim_trace(&w->engine, "%u loses its leader", c->n);
        cluster_lose_leader(w, c);
    } else if (pick < o->crash + o->cut + o->leader_change + o->cut_off) {
        cut_off(w, c);
    } else {
        links_break_between(w, c->n, other); /* connections alone */
    }
}

void run_rejoin(struct world *w, struct node *node)
{
    struct cluster *c = &w->clusters[node->cluster];
    if (node->cut_off) {
        node->cut_off = false;
        c->steady_since_us = w->engine.now_us;
        cluster_elect(w, c);
        sim_schedule(&w->engine, w->engine.now_us + 1000, EV_APPLY, node->id, c->last, 0, NULL);
    }
}
