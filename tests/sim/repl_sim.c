/* tests/sim/repl_sim.c
 *
 * The command.
 *     repl_sim --seeds A..B [--marks]        runs seeds A to B inclusive; exit status 1 at a failure
 *     repl_sim --seed N [--trace]            one seed, with its options and what happened
 *     repl_sim --twice A..B                  runs each twice and compares the traces
 *     repl_sim --regress FILE                the seeds of a file, one a line; # begins a comment
 *     repl_sim --shrink N                    the fewest faults with which a seed fails the same invariant
 *     repl_sim --set NAME=VALUE ...          with any of these: an option, whatever is drawn
 *     repl_sim --mutant NAME ...             (mutants build) with that mistake; --seeds wants a failure
 * COFFER_SIM_SEEDS=K: of each range only the first K seeds are run.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/repl_world.h"

static const char *const mark_names[] = {
    [MARK_STREAMED] = "streamed",
    [MARK_BOOTSTRAPPED] = "bootstrapped",
    [MARK_RESUMED] = "bootstrap-resumed",
    [MARK_RESTARTED] = "bootstrap-restarted",
    [MARK_PROMOTED] = "promoted",
    [MARK_FENCED] = "fenced",
    [MARK_DIVERGED] = "diverged",
    [MARK_TRANSLATED] = "translated",
    [MARK_CUT_ENTRY] = "entry-cut",
    [MARK_ROGUE] = "unproved-claim",
    [MARK_GAP] = "lost-batch",
    [MARK_TWO_PRIMARIES] = "two-primaries",
    [MARK_TWO_PROMOTED] = "three-primaries",
    [MARK_LINE_PROMOTED] = "line-promoted",
    [MARK_FILTERED] = "filtered",
    [MARK_NARROWED] = "filter-narrowed",
    [MARK_WIDENED] = "filter-widened",
    [MARK_GONE] = "mount-taken-away",
    [MARK_REPAIRED] = "repaired",
    [MARK_REPAIR_TOO_LARGE] = "repair-too-large",
    [MARK_REPAIR_LOST] = "repair-lost",
    [MARK_REPAIR_NOTHING] = "repair-of-nothing",
    [MARK_STANDBY_SERVES] = "standby-serves",
    [MARK_STANDBY_LACKS] = "standby-lacks",
    [MARK_SNAPSHOT_NODE] = "node-by-snapshot",
    [MARK_MOVED] = "stream-moved",
    [MARK_FLOOR_HELD] = "floor-held",
    [MARK_FLOOR_INHERITED] = "floor-inherited",
    [MARK_OVERDUE] = "overdue",
    [MARK_CAP] = "log-at-its-cap",
    [MARK_DRILL] = "planned-failover",
    [MARK_FAILBACK] = "former-primary-attached",
    [MARK_CALL_RAN] = "call-ran",
    [MARK_CALL_REPLAYED] = "call-replayed",
    [MARK_CALL_UNTOUCHED] = "call-untouched",
    [MARK_CALL_UNKNOWN] = "call-unknown",
    [MARK_CALL_OVER_PROMOTION] = "call-again-after-promotion",
};
_Static_assert(CF_LENGTH(mark_names) == MARK_COUNT, "every mark has a name");
_Static_assert(MARK_COUNT <= 64, "a mark is a bit");

#ifdef REPL_MUTATIONS
static const char *const mutant_names[] = {
    [REPL_MUTANT_NONE] = "none",
    [REPL_MUTANT_ACCEPT_GAP] = "accept-gap",
    [REPL_MUTANT_HELLO_EARLY] = "hello-early",
    [REPL_MUTANT_RESUME_BLINDLY] = "resume-blindly",
    [REPL_MUTANT_STREAM_BEYOND] = "stream-beyond",
    [REPL_MUTANT_TRUST_CLAIMS] = "trust-claims",
    [REPL_MUTANT_NEVER_FENCE] = "never-fence",
    [REPL_MUTANT_ACK_EARLY] = "ack-early",
    [REPL_MUTANT_REPAIR_ENDLESS] = "repair-endless",
    [REPL_MUTANT_TRANSLATE_WITHOUT_BASE] = "translate-without-base",
    [REPL_MUTANT_TRANSLATE_ANY_EPOCH] = "translate-any-epoch",
    [REPL_MUTANT_TRANSLATE_ALL] = "translate-all",
    [REPL_MUTANT_TRANSLATE_PAST_REPAIR] = "translate-past-repair",
    [REPL_MUTANT_LINE_NEVER_FENCED] = "line-never-fenced",
    [REPL_MUTANT_OTHER_EPOCH_REACHED] = "other-epoch-reached",
    [REPL_MUTANT_HOLDS_NOT_ASKED] = "holds-not-asked",
    [REPL_MUTANT_FIRST_STANDBY_ONLY] = "first-standby-only",
    [REPL_MUTANT_FLOOR_FORGETS] = "floor-forgets",
    [REPL_MUTANT_FLOOR_OF_LAST] = "floor-of-last",
    [REPL_MUTANT_FLOOR_ENDLESS] = "floor-endless",
    [REPL_MUTANT_FLOOR_OF_CUT_OFF] = "floor-of-cut-off",
    [REPL_MUTANT_HOLDING_FREED] = "holding-freed",
    [REPL_MUTANT_LAG_OF_SENT] = "lag-of-sent",
    [REPL_MUTANT_LAG_YOUNG] = "lag-young",
    [REPL_MUTANT_LAG_OF_NEWCOMER] = "lag-of-newcomer",
    [REPL_MUTANT_LAG_SILENT] = "lag-silent",
    [REPL_MUTANT_LAG_BLIND] = "lag-blind",
    [REPL_MUTANT_CREDIT_IGNORED] = "credit-ignored",
    [REPL_MUTANT_FILTER_LATE] = "filter-late",
    [REPL_MUTANT_FILTER_STAYS] = "filter-stays",
    [REPL_MUTANT_FILTER_WIDENED] = "filter-widened",
    [REPL_MUTANT_FILTER_GONE] = "filter-gone",
    [REPL_MUTANT_FILTER_OPEN] = "filter-open",
    [REPL_MUTANT_RECORD_UNREAD] = "record-unread",
    [REPL_MUTANT_TWO_IDS] = "two-ids",
    [REPL_MUTANT_SET_ANYWHERE] = "set-anywhere",
    [REPL_MUTANT_REPAIR_SURPLUS] = "repair-surplus",
};
_Static_assert(CF_LENGTH(mutant_names) == REPL_MUTANT_COUNT, "every mutant has a name");
#endif

enum { SETS_MAX = 40 };
static struct sim_override overrides[SETS_MAX + 1];
static size_t override_count;

/* ---- one seed ---- */

static void draw(struct world *w)
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
static void found(struct world *w)
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

static void again(struct world *w, const struct sim_event *ev, uint64_t interval_us)
{
    sim_schedule(&w->engine,
                 w->engine.now_us + sim_between(&w->engine, interval_us / 2, interval_us * 3 / 2), ev->kind,
                 ev->node, 0, 0, NULL);
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

static void on_nemesis(struct world *w)
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

static void on_rejoin(struct world *w, struct node *node)
{
    struct cluster *c = &w->clusters[node->cluster];
    if (node->cut_off) {
        node->cut_off = false;
        c->steady_since_us = w->engine.now_us;
        cluster_elect(w, c);
        sim_schedule(&w->engine, w->engine.now_us + 1000, EV_APPLY, node->id, c->last, 0, NULL);
    }
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
        on_nemesis(w);
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
        on_rejoin(w, node_at(w, ev->node));
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
            on_rejoin(w, node_at(w, i));
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

static uint64_t run_seed(uint64_t seed, bool trace, uint64_t *reached, bool print)
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
    draw(w);
    if (print) {
        printf("seed %" PRIu64 ": %s\n", seed, sim_options_text(&w->engine));
    }
    found(w);
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

/* ---- the command ---- */

static bool parse_range(const char *text, uint64_t *first, uint64_t *last)
{
    char *end;
    *first = *last = strtoull(text, &end, 10);
    if (strncmp(end, "..", 2) == 0) {
        *last = strtoull(end + 2, &end, 10);
    }
    const char *limit = getenv("COFFER_SIM_SEEDS");
    if (limit != NULL && *last - *first >= strtoull(limit, NULL, 10)) {
        *last = *first + strtoull(limit, NULL, 10) - 1;
    }
    return *end == '\0' && *last >= *first;
}

static int run_range(uint64_t first, uint64_t last, bool twice, bool marks)
{
    uint64_t reached = 0;
    int failed = 0;
    for (uint64_t seed = first; seed <= last; seed++) {
        uint64_t hash = run_seed(seed, false, &reached, false);
        if (twice && run_seed(seed, false, &reached, false) != hash) {
            fprintf(stderr, "seed %" PRIu64 ": two runs differ\n", seed);
            return 1;
        }
    }
    printf("seeds %" PRIu64 "..%" PRIu64 ": %" PRIu64 " passed\n", first, last, last - first + 1);
    for (unsigned i = 0; marks && i < MARK_COUNT; i++) {
        if ((reached >> i & 1) == 0) {
            fprintf(stderr, "never reached: %s\n", mark_names[i]);
            failed = 1;
        }
    }
    return failed;
}

/* In a child, because a failure ends the process. The invariant that broke, or "" when none did. */
static const char *fails(uint64_t seed)
{
    static char text[4096];
    int ends[2];
    size_t size = 0;
    if (pipe(ends) != 0) {
        return "";
    }
    pid_t child = fork();
    if (child == 0) {
        uint64_t reached = 0;
        (void)dup2(ends[1], STDERR_FILENO);
        cf_ignore((int)run_seed(seed, false, &reached, false), "whether it returns is what counts");
        _exit(0);
    }
    (void)close(ends[1]);
    for (ssize_t got; size < sizeof(text) - 1 &&
                      (got = read(ends[0], text + size, sizeof(text) - 1 - size)) > 0;) {
        size += (size_t)got;
    }
    (void)close(ends[0]);
    text[size] = '\0';
    int status = 0;
    bool broke = child > 0 && waitpid(child, &status, 0) == child && status != 0;
    return broke ? text : "";
}

/* The name of an invariant, as sim_fail() prints it: "seed N: NAME violated at ...". */
static void invariant_of(const char *text, char ret[64])
{
    const char *end = strstr(text, " violated at "), *from = strstr(text, ": ");
    bool named = end != NULL && from != NULL && from < end;
    const char *broke = text[0] != '\0' ? "an assertion" : "";
    (void)snprintf(ret, 64, "%.*s", named ? (int)cf_min((size_t)(end - from - 2), 63) : 63,
                   named ? from + 2 : broke);
}

static bool add_override(const char *name, size_t size, uint64_t value)
{
    static char names[SETS_MAX][40];
    if (override_count == SETS_MAX || size >= sizeof(names[0])) {
        return false;
    }
    memcpy(names[override_count], name, size);
    names[override_count][size] = '\0';
    overrides[override_count] = (struct sim_override){names[override_count], value};
    overrides[++override_count] = (struct sim_override){0};
    return true;
}

static bool parse_set(const char *text)
{
    const char *equals = strchr(text, '=');
    return equals != NULL &&
           add_override(text, (size_t)(equals - text), strtoull(equals + 1, NULL, 10));
}

/* Whole classes of faults off, fewer clusters, less time: whatever leaves the same invariant broken. */
static int shrink(uint64_t seed)
{
    static const char *const faults[] = {
        "crash", "cut", "cut_off", "leader_change", "lost_batch_permille", "failed_proposal_permille",
        "expired_snapshot_permille", "rogue_permille", "filter_ms", "mounts_permille", "call_ms",
        "lost_answer_permille", "slow_commit", "drills", "promotions"};
    static const uint64_t topologies[] = {1, 2, 3, 5, 10};
    char wanted[64], now[64];
    invariant_of(fails(seed), wanted);
    if (wanted[0] == '\0') {
        fprintf(stderr, "seed %" PRIu64 " does not fail\n", seed);
        return 1;
    }
    for (size_t i = 0; i < CF_LENGTH(topologies) + CF_LENGTH(faults) + 7; i++) {
        size_t before = override_count, fault = i - CF_LENGTH(topologies);
        const char *name = i < CF_LENGTH(topologies) ? "topology"
                           : fault < CF_LENGTH(faults) ? faults[fault]
                                                       : "safety_s";
        uint64_t value = i < CF_LENGTH(topologies)   ? topologies[i]
                         : fault < CF_LENGTH(faults) ? 0
                                                     : 3 + fault - CF_LENGTH(faults);
        bool again = false;
        for (size_t k = 0; k < before; k++) {
            again |= strcmp(overrides[k].name, name) == 0;
        }
        if (again || !add_override(name, strlen(name), value)) {
            continue;
        }
        invariant_of(fails(seed), now);
        if (strcmp(now, wanted) != 0) {
            override_count = before;
            overrides[before] = (struct sim_override){0};
        }
    }
    printf("repl_sim --seed %" PRIu64, seed);
    for (size_t i = 0; i < override_count; i++) {
        printf(" --set %s=%" PRIu64, overrides[i].name, overrides[i].value);
    }
    printf(" --trace # %s\n", wanted);
    return 0;
}

static int regress(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[512];
    uint64_t reached = 0;
    unsigned count = 0;
    if (file == NULL) {
        perror(path);
        return 2;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (line[0] >= '0' && line[0] <= '9') {
            cf_ignore((int)run_seed(strtoull(line, NULL, 10), false, &reached, false), "no failure");
            count++;
        }
    }
    (void)fclose(file);
    printf("%u seeds that once failed: passed\n", count);
    return 0;
}

#ifdef REPL_MUTATIONS
static bool choose_mutant(const char *name)
{
    for (unsigned i = 1; i < REPL_MUTANT_COUNT; i++) {
        if (strcmp(name, mutant_names[i]) == 0) {
            repl_mutation = (enum repl_mutant)i;
        }
    }
    if (repl_mutation == REPL_MUTANT_NONE) {
        fprintf(stderr, "no such mutant: %s\n", name);
    }
    return repl_mutation != REPL_MUTANT_NONE;
}

static int hunt(const char *name, uint64_t first, uint64_t last)
{
    for (uint64_t seed = first; seed <= last; seed++) {
        char invariant[64];
        const char *text = fails(seed);
        if (text[0] != '\0') {
            invariant_of(text, invariant);
            printf("%s: caught by %s after %" PRIu64 " seeds\n", name, invariant, seed - first + 1);
            return 0;
        }
    }
    printf("%s: NOT caught\n", name);
    return 1;
}
#endif

struct arguments {
    uint64_t first, last;
    bool one, trace, twice, marks, shrinks, sound;
    const char *mutant, *regress;
};

static struct arguments parse(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'r'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"trace", no_argument, NULL, 't'},
                                            {"twice", required_argument, NULL, '2'},
                                            {"mutant", required_argument, NULL, 'x'},
                                            {"regress", required_argument, NULL, 'g'},
                                            {"shrink", required_argument, NULL, 'k'},
                                            {"set", required_argument, NULL, '='},
                                            {"marks", no_argument, NULL, 'm'},
                                            {NULL, 0, NULL, 0}};
    struct arguments a = {.first = 1, .last = 100, .sound = true};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutant") == 0) {
            (void)unsetenv("COFFER_SIM_SEEDS"); /* a hunt needs the seeds that it was given */
        }
    }
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'r' || c == 's' || c == '2' || c == 'k') {
            a.one = c == 's';
            a.twice = c == '2';
            a.shrinks = c == 'k';
            a.sound &= parse_range(optarg, &a.first, &a.last);
        } else if (c == 't') {
            a.trace = true;
        } else if (c == 'm') {
            a.marks = getenv("COFFER_SIM_SEEDS") == NULL; /* a fraction need not reach them all */
        } else if (c == 'x') {
            a.mutant = optarg;
        } else if (c == 'g') {
            a.regress = optarg;
        } else {
            a.sound &= c == '=' && parse_set(optarg);
        }
    }
    a.sound &= optind == argc;
    return a;
}

int main(int argc, char **argv)
{
    struct arguments a = parse(argc, argv);
    uint64_t reached = 0;
    if (!a.sound) {
        fprintf(stderr, "usage: repl_sim --seeds A..B [--marks] | --seed N [--trace] | --twice A..B | "
                        "--regress FILE | --shrink N, and --set NAME=VALUE\n");
        return 2;
    }
#ifdef REPL_MUTATIONS
    if (a.mutant != NULL && !choose_mutant(a.mutant)) {
        return 2;
    }
    if (a.mutant != NULL && !a.one && !a.shrinks) {
        return hunt(a.mutant, a.first, a.last);
    }
#else
    if (a.mutant != NULL) {
        fprintf(stderr, "this build has no mutants; use repl_sim_mutants\n");
        return 2;
    }
#endif
    if (a.regress != NULL) {
        return regress(a.regress);
    }
    if (a.shrinks) {
        return shrink(a.first);
    }
    if (a.one) {
        cf_ignore((int)run_seed(a.first, a.trace, &reached, true), "printed");
        return 0;
    }
    return run_range(a.first, a.last, a.twice, a.marks);
}
