/* tests/sim/repl_run.c: one seed: events, and everything heals in the end. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/repl_world.h"

static void again(struct world *w, const struct sim_event *ev, uint64_t interval_us)
{
    sim_schedule(&w->engine,
                 w->engine.now_us + sim_between(&w->engine, interval_us / 2, interval_us * 3 / 2), ev->kind,
                 ev->node, 0, 0, NULL);
}

/* ---- events ---- */

static void on_commit(struct world *w, struct cluster *c, const struct sim_event *ev)
{
    if (c->leader < 0 || c->incarnation != ev->a || c->op_count == 0) {
        return;
    }
    /* When one fails, so do all behind it: nothing is appended behind a gap (struct repl_host). */
    if (sim_chance(&w->engine, w->options.fail_permille)) {
        for (size_t left = c->op_count; left > 0 && c->op_count > 0; left--) {
            cluster_commit(w, c, false);
        }
    } else {
        cluster_commit(w, c, true);
    }
}

/* What stops when everything heals. */
static void on_world(struct world *w, const struct sim_event *ev)
{
    switch ((int)ev->kind) {
    case EV_WRITE:
        operator_write(w, &w->clusters[ev->node]);
        again(w, ev, w->options.write_us);
        break;
    case EV_NEMESIS:
        run_nemesis(w);
        again(w, ev, w->options.nemesis_us);
        break;
    case EV_PROMOTE:
        operator_promote(w, &w->clusters[ev->a != 0 ? ev->node : sim_below(&w->engine, CLUSTERS)]);
        if (ev->a == 0) {
            again(w, ev, 700000);
        }
        break;
    case EV_FILTER:
        if (w->options.filter_us != 0) {
            operator_filter(w);
            again(w, ev, w->options.filter_us);
        }
        break;
    case EV_CALL:
        if (w->options.call_us != 0) {
            calls_new(w);
            again(w, ev, w->options.call_us);
        }
        break;
    default:
        break;
    }
}

static void on_report(struct world *w, struct cluster *c, const struct sim_event *ev)
{
    check_behind(w, c);
    operator_floor(w, c);
    check_progress(w, c);
    again(w, ev, 300000);
}

static void on_operator(struct world *w, const struct sim_event *ev)
{
    if (ev->kind == EV_OPERATOR) {
        operator_look(w);
        again(w, ev, 900000);
    } else if (ev->kind == EV_CLAIM) {
        operator_claims(w);
        again(w, ev, 600000);
    } else {
        if (!w->healing || w->drill.phase != 0) {
            operator_drill(w);
        }
        again(w, ev, w->drill.phase != 0 ? 100000 : 900000);
    }
}

static void on_link(struct world *w, struct sim_event *ev)
{
    switch ((int)ev->kind) {
    case EV_DIALLED:
        links_dialled(w, &w->clusters[ev->node / NODES], ev->a);
        break;
    case EV_MESSAGE:
        links_message(w, ev->node, ev->data);
        message_free(ev->data);
        break;
    case EV_DOWN:
        links_down(w, ev->node, ev->a);
        break;
    case EV_TIMER: {
        struct cluster *c = &w->clusters[ev->node];
        if (c->receiving && ev->a == c->receiver.session && ev->b == c->incarnation) {
            struct secondary_event timeout = {.type = SECONDARY_EV_TIMEOUT};
            links_feed_secondary(w, c, &timeout);
        }
        break;
    }
    default:
        break;
    }
}

static void dispatch(struct world *w, struct sim_event *ev)
{
    switch ((enum event_kind)ev->kind) {
    case EV_DIALLED:
    case EV_MESSAGE:
    case EV_DOWN:
    case EV_TIMER:
        on_link(w, ev);
        break;
    case EV_COMMIT:
        on_commit(w, &w->clusters[ev->node], ev);
        break;
    case EV_APPLY:
        node_apply(w, node_at(w, ev->node), ev->a);
        break;
    case EV_TICK:
        serve_tick(w, node_at(w, ev->node));
        again(w, ev, 250000);
        break;
    case EV_REPORT:
        on_report(w, &w->clusters[ev->node], ev);
        break;
    case EV_COMPACT:
        node_compact(w, node_at(w, ev->node));
        again(w, ev, w->options.compact_ms * 1000);
        break;
    case EV_HEAL:
        w->cut[ev->a][ev->b] = w->cut[ev->b][ev->a] = false;
        break;
    case EV_REJOIN:
        run_rejoin(w, node_at(w, ev->node));
        break;
    case EV_UP:
        node_up(w, node_at(w, ev->node));
        break;
    case EV_ELECT:
        if (w->clusters[ev->node].incarnation == ev->a) {
            cluster_elect(w, &w->clusters[ev->node]);
        }
        break;
    case EV_OPERATOR:
    case EV_CLAIM:
    case EV_DRILL:
        on_operator(w, ev);
        break;
    case EV_REPAIR_ENDS:
        repair_lost(w, &w->clusters[ev->node], ev->a, ev->b);
        break;
    case EV_CALL_SEND:
    case EV_CALL_SERVE:
    case EV_CALL_ANSWER:
    case EV_CALL_LOST:
    case EV_CALL_GIVE_UP:
        calls_event(w, ev);
        cf_free(ev->data);
        break;
    case EV_WRITE:
    case EV_NEMESIS:
    case EV_PROMOTE:
    case EV_FILTER:
    case EV_CALL:
        if (!w->healing) {
            on_world(w, ev);
        }
        break;
    }
}

/* ---- a run ---- */

/* Faults are over; everybody has to come together, in a time that is long and no more. */
static void heal(struct world *w)
{
    struct sim_event ev;
    w->healing = true;
    w->options.drop_permille = w->options.fail_permille = w->options.lost_answer_permille = 0;
    memset(w->cut, 0, sizeof(w->cut));
    for (unsigned i = 0; i < CLUSTERS * NODES; i++) {
        links_break_node(w, i); /* the last batch of one may have been lost: nobody would know */
        if (w->clusters[i / NODES].present) {
            run_rejoin(w, node_at(w, i));
            node_up(w, node_at(w, i));
        }
    }
    uint64_t until_us = w->engine.now_us + 120000000, calls_us = w->engine.now_us + 25000000;
    uint64_t look_us = w->engine.now_us;
    while (sim_next(&w->engine, until_us, &ev)) {
        dispatch(w, &ev);
        if (w->engine.now_us >= look_us) {
            look_us = w->engine.now_us + 1000000;
            if ((w->engine.now_us > calls_us || w->call_count == 0) && check_converged(w, false)) {
                calls_check(w);
                return;
            }
        }
    }
    cf_ignore(!check_converged(w, true), "it ends the process when not");
}

static void drop(struct sim_event *ev)
{
    if (ev->kind == EV_MESSAGE) {
        message_free(ev->data);
    } else {
        cf_free(ev->data);
    }
}

uint64_t run_seed(uint64_t seed, const struct sim_override *overrides, bool trace, uint64_t *reached, bool print)
{
    struct world *w = cf_new(struct world);
    struct repl_lineage *none = cf_new(struct repl_lineage);
    struct sim_event ev;
    sim_engine_init(&w->engine, seed, trace);
    w->engine.overrides = overrides;
    w->conns = cf_array(CONNS_MAX, sizeof(w->conns[0]));
    cf_ignore((int)lineage_id(w, none), "number 0");
    cf_free(none);
    for (unsigned i = 0; i < CLUSTERS; i++) {
        cluster_init(w, i);
    }
    run_draw(w);
    if (print) {
        printf("seed %" PRIu64 ": %s\n", seed, sim_options_text(&w->engine));
    }
    run_found(w);
    uint64_t until_us = w->engine.now_us + w->options.safety_us;
    while (sim_next(&w->engine, until_us, &ev)) {
        dispatch(w, &ev);
    }
    heal(w);
    uint64_t hash = w->engine.hash;
    *reached |= w->engine.reached;
    if (print) {
        printf("hash %016" PRIx64 ", %" PRIu64 " events\n", hash, w->engine.events);
    }
    for (unsigned i = 0; i < CLUSTERS; i++) {
        cluster_done(&w->clusters[i]);
    }
    for (unsigned i = 0; i < w->lineage_count; i++) {
        cf_free(w->lineages[i]);
    }
    sim_engine_done(&w->engine, drop);
    cf_free(w->conns);
    cf_free(w);
    return hash;
}
