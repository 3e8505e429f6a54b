/* tests/sim/repl_sim.c
 *
 * The command.
 *     repl_sim --seeds A..B [--marks]        runs seeds A to B inclusive; exit status 1 at a
 * failure repl_sim --seed N [--trace]            one seed, with its options and what happened
 *     repl_sim --twice A..B                  runs each twice and compares the traces
 *     repl_sim --mutant NAME --seeds A..B    (mutants build) wants a failure within A..B
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
    [MARK_STREAMED] = "streamed",           [MARK_BOOTSTRAPPED] = "bootstrapped",
    [MARK_RESUMED] = "bootstrap-resumed",   [MARK_RESTARTED] = "bootstrap-restarted",
    [MARK_PROMOTED] = "promoted",           [MARK_FENCED] = "fenced",
    [MARK_DIVERGED] = "diverged",           [MARK_TRANSLATED] = "translated",
    [MARK_ROGUE] = "unproved-claim",        [MARK_GAP] = "lost-batch",
    [MARK_TWO_PRIMARIES] = "two-primaries", [MARK_FILTERED] = "filtered",
    [MARK_REPAIRED] = "repaired",           [MARK_REPAIR_TOO_LARGE] = "repair-too-large",
    [MARK_REPAIR_LOST] = "repair-lost",
};
_Static_assert(CF_LENGTH(mark_names) == MARK_COUNT, "every mark has a name");

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
};
_Static_assert(CF_LENGTH(mutant_names) == REPL_MUTANT_COUNT, "every mutant has a name");
#endif

/* ---- one seed ---- */

static void draw(struct world *w)
{
    struct sim_engine *e = &w->engine;
    struct options *o = &w->options;
    o->write_us = sim_option(e, "write_us", 500, 60000);
    o->commit_us = sim_option(e, "commit_us", 200, 40000);
    o->commit_us *= 1 + sim_option_maybe(e, "slow_commit", 5, 20);
    o->delay_us = sim_option(e, "delay_us", 100, 80000);
    o->nemesis_us = 1000 * sim_option(e, "nemesis_ms", 20, 1500);
    o->crash = sim_option_maybe(e, "crash", 1, 10);
    o->cut = sim_option_maybe(e, "cut", 1, 10);
    o->leader_change = sim_option_maybe(e, "leader_change", 1, 10);
    o->drop_permille = sim_option_maybe(e, "lost_batch_permille", 1, 50);
    o->fail_permille = sim_option_maybe(e, "failed_proposal_permille", 1, 30);
    o->compact_us = 1000 * sim_option(e, "compact_ms", 20, 3000);
    o->promotions = sim_option_maybe(e, "promotions", 1, 4);
    o->page_items = sim_option(e, "page_items", 1, 20);
    o->batch_entries = sim_option(e, "batch_entries", 1, 8);
    o->expire_permille = sim_option_maybe(e, "expired_snapshot_permille", 1, 300);
    o->rogue_permille = sim_option_maybe(e, "rogue_permille", 1, 200);
    o->repair_permille = sim_option(e, "repair_permille", 0, 1000);
    o->repair_items = sim_option(e, "repair_items", 1, 200);
    o->safety_us = 1000000 * sim_option(e, "safety_s", 2, 8);
    w->clusters[2].performance = sim_option(e, "performance", 0, 1) != 0;
}

static void found(struct world *w)
{
    struct cluster *a = &w->clusters[0];
    struct repl_epoch first = {.number = 1, .id = {(uint8_t)sim_below(&w->engine, 256)}};
    cf_ignore(repl_lineage_raise(&a->lineage, &first, NULL, NULL), "the first");
    a->primary = true;
    truth_begin(w, a);
    for (unsigned i = 0; i < CLUSTERS; i++) {
        cluster_start(w, &w->clusters[i]);
        sim_schedule(&w->engine, w->engine.now_us + 1000, EV_TICK, i, 0, 0, NULL);
    }
    static const enum event_kind kinds[] = {EV_WRITE,    EV_NEMESIS, EV_PROMOTE,
                                            EV_OPERATOR, EV_CLAIM,   EV_COMPACT};
    for (size_t i = 0; i < CF_LENGTH(kinds); i++) {
        sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 1000, 500000), kinds[i],
                     0, 0, 0, NULL);
    }
}

static void again(struct world *w, const struct sim_event *ev, uint64_t interval_us)
{
    sim_schedule(&w->engine,
                 w->engine.now_us + sim_between(&w->engine, interval_us / 2, interval_us * 3 / 2),
                 ev->kind, ev->node, 0, 0, NULL);
}

static void on_write(struct world *w)
{
    for (unsigned i = 0; i < CLUSTERS; i++) {
        struct cluster *c = &w->clusters[i];
        if (c->up && c->primary && !c->fenced && c->last < 400) {
            cluster_write(w, c);
        }
    }
}

static void crash(struct world *w, struct cluster *c)
{
    if (c->up) {
        sim_trace(&w->engine, "%u crashes", c->n);
        cluster_lose_leader(w, c);
        c->up = false;
        sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 1000, 1500000), EV_UP,
                     c->n, 0, 0, NULL);
    }
}

static void cut(struct world *w, unsigned a, unsigned b)
{
    w->cut[a][b] = w->cut[b][a] = true;
    links_break_all(w, a, (int)b);
    sim_trace(&w->engine, "%u and %u are cut", a, b);
    sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 1000, 2000000), EV_HEAL, 0,
                 a, b, NULL);
}

static void on_nemesis(struct world *w)
{
    const struct options *o = &w->options;
    struct cluster *c = &w->clusters[sim_below(&w->engine, CLUSTERS)];
    unsigned other = (unsigned)((c->n + 1 + sim_below(&w->engine, CLUSTERS - 1)) % CLUSTERS);
    uint64_t pick = sim_below(&w->engine, o->crash + o->cut + o->leader_change + 2);
    if (pick < o->crash) {
        crash(w, c);
    } else if (pick < o->crash + o->cut) {
        cut(w, c->n, other);
    } else if (pick < o->crash + o->cut + o->leader_change && c->up) {
        sim_trace(&w->engine, "%u changes its leader", c->n);
        cluster_lose_leader(w, c);
        cluster_start(w, c);
    } else if (w->conn_count > 0) {
        links_break_all(w, c->n, (int)other); /* a connection alone */
    }
    for (unsigned i = 0; i < CLUSTERS; i++) {
        if (sim_chance(&w->engine, o->expire_permille)) {
            c->snapshots[i].id = 0;
        }
    }
}

static void on_promote(struct world *w)
{
    struct cluster *c = &w->clusters[1 + sim_below(&w->engine, CLUSTERS - 1)];
    if (w->promotions >= w->options.promotions || !c->up || c->primary || c->performance ||
        c->remote.index == 0 || w->truth_count == EPOCHS_MAX) {
        return;
    }
    for (unsigned i = 0; i < CLUSTERS; i++) {
        if (w->clusters[i].primary && !w->clusters[i].fenced && w->clusters[i].up) {
            sim_reached(&w->engine, MARK_TWO_PRIMARIES);
        }
    }
    w->promotions++;
    sim_reached(&w->engine, MARK_PROMOTED);
    cluster_lose_leader(w, c);
    cluster_promote(w, c);
}

/* Somebody looks after a fenced primary: it returns as a secondary. */
static void on_operator(struct world *w)
{
    for (unsigned i = 0; i < CLUSTERS; i++) {
        struct cluster *c = &w->clusters[i];
        if (c->up && c->primary && c->fenced) {
            cluster_demote(w, c);
        }
    }
}

static void on_claim(struct world *w)
{
    for (unsigned i = 0; i < CLUSTERS; i++) {
        for (unsigned j = 0; j < CLUSTERS; j++) {
            struct cluster *from = &w->clusters[i], *to = &w->clusters[j];
            if (i == j || w->cut[i][j] || !from->up || !to->up || !to->primary) {
                continue;
            }
            links_claim(w, from, to, false);
            if (!w->healing && sim_chance(&w->engine, w->options.rogue_permille)) {
                links_claim(w, from, to, true);
            }
        }
    }
}

static void on_compact(struct world *w)
{
    struct cluster *c = &w->clusters[sim_below(&w->engine, CLUSTERS)];
    if (c->last > c->base) {
        c->base = sim_between(&w->engine, c->base, c->last);
    }
}

static void on_tick(struct world *w, struct cluster *c)
{
    for (unsigned i = 0; i < CLUSTERS; i++) {
        if (c->up && c->sender_conn[i] != 0) {
            struct primary_event ev = {.type = PRIMARY_EV_TICK};
            links_feed_primary(w, c, i, &ev);
        }
    }
}

static void on_commit(struct world *w, struct cluster *c, const struct sim_event *ev)
{
    if (!c->up || c->incarnation != ev->a || c->op_count == 0) {
        return;
    }
    /* When one fails, so do all behind it: nothing is appended behind a gap (struct repl_host). */
    if (sim_chance(&w->engine, w->options.fail_permille)) {
        for (size_t left = c->op_count; left > 0; left--) {
            cluster_commit(w, c, false);
        }
    } else {
        cluster_commit(w, c, true);
    }
}

/* What stops when the network heals. */
static void on_world(struct world *w, const struct sim_event *ev)
{
    switch (ev->kind) {
    case EV_WRITE:
        on_write(w);
        again(w, ev, w->options.write_us);
        break;
    case EV_NEMESIS:
        on_nemesis(w);
        again(w, ev, w->options.nemesis_us);
        break;
    case EV_PROMOTE:
        on_promote(w);
        again(w, ev, 700000);
        break;
    case EV_COMPACT:
        on_compact(w);
        again(w, ev, w->options.compact_us);
        break;
    default:
        break;
    }
}

static void dispatch(struct world *w, struct sim_event *ev)
{
    struct cluster *c = &w->clusters[ev->node];
    switch ((enum event_kind)ev->kind) {
    case EV_DIALLED:
        links_dialled(w, c, ev->a);
        break;
    case EV_MESSAGE:
        links_message(w, c, ev->data);
        message_free(ev->data);
        break;
    case EV_DOWN:
        links_down(w, c, ev->a);
        break;
    case EV_COMMIT:
        on_commit(w, c, ev);
        break;
    case EV_TIMER:
        if (c->receiving && ev->a == c->receiver.session && ev->b == c->incarnation) {
            struct secondary_event timeout = {.type = SECONDARY_EV_TIMEOUT};
            links_feed_secondary(w, c, &timeout);
        }
        break;
    case EV_TICK:
        on_tick(w, c);
        again(w, ev, 200000);
        break;
    case EV_HEAL:
        w->cut[ev->a][ev->b] = w->cut[ev->b][ev->a] = false;
        break;
    case EV_UP:
        if (!c->up) {
            sim_trace(&w->engine, "%u is back", c->n);
            cluster_start(w, c);
        }
        break;
    case EV_OPERATOR:
        on_operator(w);
        again(w, ev, 900000);
        break;
    case EV_CLAIM:
        on_claim(w);
        again(w, ev, 600000);
        break;
    case EV_REPAIR_ENDS:
        links_repair_ends(w, c, ev->a, ev->b);
        break;
    case EV_WRITE:
    case EV_NEMESIS:
    case EV_PROMOTE:
    case EV_COMPACT:
        if (!w->healing) {
            on_world(w, ev);
        }
        break;
    }
}

/* Faults are over; everybody has to come together, in a time that is long and no more. */
static void heal(struct world *w)
{
    struct sim_event ev;
    w->healing = true;
    w->options.drop_permille = w->options.fail_permille = 0;
    memset(w->cut, 0, sizeof(w->cut));
    for (unsigned i = 0; i < CLUSTERS; i++) {
        links_break_all(w, i, -1); /* the last batch of one may have been lost: nobody would know */
    }
    uint64_t until_us = w->engine.now_us + 300000000;
    uint64_t look_us = w->engine.now_us;
    while (sim_next(&w->engine, until_us, &ev)) {
        dispatch(w, &ev);
        if (w->engine.now_us >= look_us) {
            look_us = w->engine.now_us + 1000000;
            if (check_converged(w, false)) {
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
    }
}

static uint64_t run_seed(uint64_t seed, bool trace, uint64_t *reached, bool print)
{
    struct world *w = cf_new(struct world);
    struct sim_event ev;
    sim_engine_init(&w->engine, seed, trace);
    for (unsigned i = 0; i < CLUSTERS; i++) {
        cluster_init(w, i);
    }
    draw(w);
    found(w);
    if (print) {
        printf("seed %" PRIu64 ": %s\n", seed, sim_options_text(&w->engine));
    }
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
    for (size_t i = 0; i < w->truth_count; i++) {
        items_done(&w->truths[i].items);
        cf_free(w->truths[i].at);
    }
    sim_engine_done(&w->engine, drop);
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

#ifdef REPL_MUTATIONS
/* In a child, because a failure ends the process. */
static int hunt(const char *name, uint64_t first, uint64_t last)
{
    for (unsigned i = 1; i < REPL_MUTANT_COUNT; i++) {
        if (strcmp(name, mutant_names[i]) == 0) {
            repl_mutation = (enum repl_mutant)i;
        }
    }
    if (repl_mutation == REPL_MUTANT_NONE) {
        fprintf(stderr, "no such mutant: %s\n", name);
        return 2;
    }
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(run_range(first, last, false, false));
    }
    bool caught = child > 0 && waitpid(child, &status, 0) == child && status != 0;
    printf("%s: %s\n", name, caught ? "caught" : "NOT caught");
    return caught ? 0 : 1;
}
#endif

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'r'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"trace", no_argument, NULL, 't'},
                                            {"twice", required_argument, NULL, '2'},
                                            {"mutant", required_argument, NULL, 'x'},
                                            {"marks", no_argument, NULL, 'm'},
                                            {NULL, 0, NULL, 0}};
    uint64_t first = 1, last = 100, reached = 0;
    bool one = false, trace = false, twice = false, marks = false, sound = true;
    const char *mutant = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutant") == 0) {
            (void)unsetenv("COFFER_SIM_SEEDS"); /* a hunt needs the seeds that it was given */
        }
    }
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'r' || c == 's' || c == '2') {
            one = c == 's';
            twice = c == '2';
            sound &= parse_range(optarg, &first, &last);
        } else if (c == 't') {
            trace = true;
        } else if (c == 'm') {
            marks = getenv("COFFER_SIM_SEEDS") == NULL; /* a fraction need not reach them all */
        } else if (c == 'x') {
            mutant = optarg;
        } else {
            sound = false;
        }
    }
    if (!sound || optind != argc) {
        fprintf(stderr, "usage: repl_sim --seeds A..B [--marks] | --seed N [--trace] | "
                        "--twice A..B\n");
        return 2;
    }
#ifdef REPL_MUTATIONS
    if (mutant != NULL) {
        return hunt(mutant, first, last);
    }
#endif
    if (mutant != NULL) {
        fprintf(stderr, "this build has no mutants; use repl_sim_mutants\n");
        return 2;
    }
    if (one) {
        cf_ignore((int)run_seed(first, trace, &reached, true), "printed");
        return 0;
    }
    return run_range(first, last, twice, marks);
}
