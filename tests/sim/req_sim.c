/* tests/sim/req_sim.c: one seed, and the command. */
#include "req_world.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/core/mutant.h"

#define SECOND_US ((uint64_t)1000000)

static const char *const mark_names[MARK_COUNT] = {
    [MARK_CONFLICT] = "an append that lost over a key",
    [MARK_PHANTOM] = "an append that lost over a range",
    [MARK_FLOOR] = "a view older than the window",
    [MARK_TICKET_WAIT] = "a younger one waits for a ticket",
    [MARK_REPLAY] = "an answer from a record",
    [MARK_REGROUP] = "a request asks again under another group",
    [MARK_GONE] = "a record that may be gone",
    [MARK_LAST_WORD] = "an error that is recorded",
    [MARK_LATE_TRY] = "a try that arrives too late",
    [MARK_LOST_ENTRY] = "an uncommitted entry is lost",
    [MARK_KEPT_ENTRY] = "an uncommitted entry is kept",
    [MARK_DROPPED] = "records are dropped",
    [MARK_ALL_DOWN] = "the whole cluster was down",
    [MARK_ALARM] = "a clock is not followed",
    [MARK_UNKNOWN_TIME] = "a leader that does not know the time",
};

#ifdef REQ_MUTATIONS
enum req_mutant req_mutation;
int req_glue;
static const struct {
    const char *name;
    enum req_mutant mutant;
    int glue;
} mutants[] = {
    {"reads-unchecked", REQ_MUTANT_READS_UNCHECKED, 0},
    {"ranges-unchecked", REQ_MUTANT_RANGES_UNCHECKED, 0},
    {"forgets-silently", REQ_MUTANT_FORGETS_SILENTLY, 0},
    {"new-leader-knows", REQ_MUTANT_NEW_LEADER_KNOWS, 0},
    {"no-tickets", REQ_MUTANT_NO_TICKETS, 0},
    {"tickets-of-writes", REQ_MUTANT_TICKETS_OF_WRITES, 0},
    {"dropped-runs", REQ_MUTANT_DROPPED_RUNS, 0},
    {"retry-regrouped", REQ_MUTANT_RETRY_REGROUPED, 0},
    {"tries-uncounted", REQ_MUTANT_TRIES_UNCOUNTED, 0},
    {"minority-clock", REQ_MUTANT_MINORITY_CLOCK, 0},
    {"stale-tickets", REQ_MUTANT_STALE_TICKETS, 0},
    {"first-stamp-at-once", REQ_MUTANT_FIRST_AT_ONCE, 0},
    {"record-unread", REQ_MUTANT_NONE, GLUE_RECORD_UNREAD},
    {"no-last-word", REQ_MUTANT_NONE, GLUE_NO_LAST_WORD},
    {"record-apart", REQ_MUTANT_NONE, GLUE_RECORD_APART},
};
#endif

/* ---- one seed ---- */

static void draw(struct world *w)
{
    struct sim_engine *e = &w->engine;
    struct options *o = &w->options;
    o->client_us = sim_option(e, "client_us", 300, 40000);
    o->run_us = sim_option(e, "run_us", 100, 20000);
    o->commit_us = sim_option(e, "commit_us", 100, 30000);
    o->apply_us = sim_option(e, "apply_us", 100, 30000);
    o->net_us = sim_option(e, "net_us", 100, 20000);
    o->change_us = 1000 * sim_option(e, "change_ms", 5, 1500);
    o->down_us = sim_option_maybe(e, "down_s", 20, 300) * SECOND_US;
    o->pulse_us = sim_option(e, "pulse_ms", 20, 400) * 1000;
    o->break_permille = sim_option_maybe(e, "break_permille", 10, 400);
    o->late_permille = sim_option(e, "late_permille", 0, 600);
    o->direct_permille = sim_option(e, "direct_permille", 0, 700);
    o->hot = sim_option(e, "hot_keys", 1, HOT_KEYS);
    o->window_keys = sim_option(e, "window_keys", 16, 400);
    o->old_permille = sim_option_maybe(e, "old_permille", 10, 300);
    o->safety_us = SECOND_US * sim_option(e, "safety_s", 2, 12);
    w->bad_clock = (unsigned)sim_option(e, "bad_clock", 0, NODES);
}

static void found(struct world *w)
{
    struct sim_engine *e = &w->engine;
    e->now_us = (uint64_t)1000000 * SECOND_US;
    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = &w->nodes[i];
        node->n = i;
        node->window = window_new(w->options.window_keys, 1 << 20);
        node->wall_offset_ns = (int64_t)sim_below(e, 2000000000) - 1000000000;
        node->drift_ppm = (int64_t)sim_below(e, 200) - 100;
        node->applied_ns = 1; /* 1970: the cluster is new */
        node->applied_us = node_mono_us(w, node);
    }
    w->leader = -1;
    sim_schedule(e, e->now_us, EV_READY, 0, 0, 0, NULL);
    sim_schedule(e, e->now_us + 1, EV_PULSE, 0, 0, 0, NULL);
    sim_schedule(e, e->now_us + 1000, EV_CLIENT, 0, 0, 0, NULL);
    sim_schedule(e, e->now_us + sim_between(e, 100000, 2000000), EV_CHANGE, 0, 0, 0, NULL);
    sim_schedule(e, e->now_us + sim_between(e, 100000, 4000000), EV_DOWN, 0, 0, 0, NULL);
}

static void again(struct world *w, const struct sim_event *ev, uint64_t mean_us)
{
    uint64_t from_us = w->engine.now_us;
    if (!w->is_ready && w->ready_us > from_us + 3 * SECOND_US) {
        from_us = w->ready_us - SECOND_US; /* nothing to see for days */
    }
    sim_schedule(&w->engine, from_us + sim_between(&w->engine, mean_us / 2, mean_us * 3 / 2), ev->kind,
                 ev->node, 0, 0, NULL);
}

static void on_retry(struct world *w, const struct sim_event *ev)
{
    struct request *rq = &w->requests[ev->a - 1];
    if (rq->outcome == NOT_ENDED && rq->try == ev->b) {
        client_send(w, rq);
    }
}

static void dispatch(struct world *w, const struct sim_event *ev)
{
    switch ((enum event_kind)ev->kind) {
    case EV_CLIENT:
        if (!w->healing) {
            client_begin(w);
            again(w, ev, w->options.client_us);
        }
        break;
    case EV_ARRIVE:
        node_arrive(w, ev->data);
        break;
    case EV_RUN:
        node_run(w, ev->data);
        break;
    case EV_APPEND:
        node_append(w, ev->data);
        break;
    case EV_COMMIT:
        node_commit(w, ev->a);
        break;
    case EV_APPLY:
        node_apply(w, &w->nodes[ev->node]);
        break;
    case EV_ANSWER:
        client_answer(w, ev->data, (cf_status)ev->a);
        break;
    case EV_BREAK:
        client_broken(w, ev->data);
        break;
    case EV_RETRY:
        on_retry(w, ev);
        break;
    case EV_CHANGE:
        if (!w->healing) {
            node_change(w, false);
            again(w, ev, w->options.change_us * 3);
        }
        break;
    case EV_READY:
        node_ready(w);
        break;
    case EV_DOWN:
        if (!w->healing && w->options.down_us != 0) {
            node_change(w, true);
            again(w, ev, w->options.down_us);
        }
        break;
    case EV_PULSE:
        node_pulse(w);
        again(w, ev, w->options.pulse_us);
        break;
    }
}

/* Faults end: every request has to end, records to be dropped, and tries that are still on their way to come. */
static void heal(struct world *w)
{
    struct sim_event ev;
    w->healing = true;
    w->options.pulse_us = cf_max(w->options.pulse_us, SECOND_US);
    uint64_t until_us = w->engine.now_us + 500 * SECOND_US;
    while (sim_next(&w->engine, until_us, &ev)) {
        dispatch(w, &ev);
    }
    check_all(w);
}

static uint64_t run_seed(uint64_t seed, bool trace, uint64_t *reached, bool print)
{
    struct world *w = cf_new(struct world);
    struct sim_event ev;
    sim_engine_init(&w->engine, seed, trace);
    draw(w);
    found(w);
    if (print) {
        printf("seed %" PRIu64 ": %s\n", seed, sim_options_text(&w->engine));
    }
    uint64_t until_us = w->engine.now_us + w->options.safety_us;
    while (sim_next(&w->engine, until_us, &ev)) {
        dispatch(w, &ev);
        if (ev.kind == EV_DOWN && !w->is_ready) { /* however long it is away */
            until_us = cf_max(until_us, w->ready_us + SECOND_US);
        }
    }
    heal(w);
    uint64_t hash = w->engine.hash;
    *reached |= w->engine.reached;
    if (print) {
        printf("hash %016" PRIx64 ", %" PRIu64 " events, %" PRIu64 " entries, %u requests\n", hash,
               w->engine.events, w->last, w->request_count);
    }
    for (unsigned i = 0; i < NODES; i++) {
        window_free(w->nodes[i].window);
    }
    while (w->runs != NULL) {
        struct run *run = w->runs;
        w->runs = run->next;
        cf_free(run);
    }
    for (uint64_t i = 1; i <= w->last; i++) {
        cf_free(w->log[i]);
    }
    sim_engine_done(&w->engine, NULL);
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

#ifdef REQ_MUTATIONS
/* In a child, because a failure ends the process. */
static int hunt(const char *name, uint64_t first, uint64_t last)
{
    size_t at = 0;
    while (at < CF_LENGTH(mutants) && strcmp(name, mutants[at].name) != 0) {
        at++;
    }
    if (at == CF_LENGTH(mutants)) {
        fprintf(stderr, "no such mutant: %s\n", name);
        return 2;
    }
    req_mutation = mutants[at].mutant;
    req_glue = mutants[at].glue;
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(run_range(first, last, false, false));
    }
    bool caught = child > 0 && waitpid(child, &status, 0) == child && status != 0;
    printf("%s: %s\n", name, caught ? "caught" : "NOT caught");
    return caught ? 0 : 1;
}
#else
static int hunt(const char *name, uint64_t first, uint64_t last)
{
    (void)first;
    (void)last;
    fprintf(stderr, "this build has no mutants (%s); use req_sim_mutants\n", name);
    return 2;
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
        fprintf(stderr, "usage: req_sim --seeds A..B [--marks] | --seed N [--trace] | --twice A..B\n");
        return 2;
    }
    if (mutant != NULL) {
        return hunt(mutant, first, last);
    }
    if (one) {
        cf_ignore((int)run_seed(first, trace, &reached, true), "printed");
        return 0;
    }
    return run_range(first, last, twice, marks);
}
