/* tests/sim/run.c: one seed: options, the two phases, the end. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/script.h"

/* A lease of 0.8 T by the slowest clock has to end before T by the fastest: 0.8 / 0.89 < 1 / 1.11. */
#define DRIFT_MAX_PERMILLE 110
/* The busiest honest run of 50,000 took two million: a backlog of single entries, sent anew by whole windows because
 * each sixth message comes late. */
#define EVENTS_MAX 6000000

static void draw_timing(struct world *w)
{
    struct sim_engine *e = &w->engine;
    struct sim_options *o = &w->options;
    o->heartbeat_us = 1000 * sim_option(e, "heartbeat_ms", 30, 60);
    o->election_us = o->heartbeat_us * sim_option(e, "election_heartbeats", 6, 12);
    o->fsync_min_us = sim_option(e, "fsync_min_us", 50, 2000);
    o->fsync_max_us = o->fsync_min_us + sim_option(e, "fsync_spread_us", 0, 20000);
    o->fsync_spike_permille = sim_option_maybe(e, "fsync_spike_permille", 1, 100);
    o->fsync_spike_us = 1000 * sim_option(e, "fsync_spike_ms", 10, 2000);
    o->apply_us = sim_option(e, "apply_us", 0, 10000);
    o->drain_us = sim_option_maybe(e, "drain_us", 1, 5000);
    o->timer_late_us = sim_option_maybe(e, "timer_late_us", 1, 10000);
    o->client_us = sim_option(e, "client_us", 5000, 80000);
    o->operator_us = 1000 * sim_option(e, "operator_ms", 50, 2000);
    o->nemesis_us = 1000 * sim_option(e, "nemesis_ms", 50, 2000);
    o->maintain_us = 1000 * sim_option(e, "maintain_ms", 50, 2000);
    o->safety_us = 1000000 * sim_option(e, "safety_s", 3, 12);
}

static void draw_limits(struct world *w)
{
    struct sim_engine *e = &w->engine;
    struct sim_options *o = &w->options;
    static const uint64_t windows[] = {1, 2, 4, 256};
    o->append_bytes = sim_option(e, "append_bytes", 64, 4096);
    o->window_messages = windows[sim_option(e, "window_class", 0, CF_LENGTH(windows) - 1)];
    o->window_bytes = sim_option(e, "window_bytes", 256, 65536);
    o->uncommitted_bytes = sim_option(e, "uncommitted_bytes", 1024, 65536);
    o->payload_max = sim_option(e, "payload_max", 1, 600);
    o->trailing = sim_option(e, "trailing", 2, 60);
    o->busy_permille = sim_option_maybe(e, "reader_busy_permille", 10, 500);
    o->lease = sim_option_maybe(e, "lease", 1, 1);
    o->priority = sim_option_maybe(e, "preferred", 1, 5);
    o->read_permille = sim_option(e, "read_permille", 50, 700);
}

static void draw_faults(struct world *w)
{
    struct sim_engine *e = &w->engine;
    struct sim_options *o = &w->options;
    o->crash_weight = sim_option_maybe(e, "crash", 1, 10);
    o->pause_weight = sim_option_maybe(e, "pause", 1, 10);
    o->partition_weight = sim_option_maybe(e, "partition", 1, 10);
    o->condition_weight = sim_option_maybe(e, "condition", 1, 5);
    o->change_weight = sim_option_maybe(e, "change", 1, 10);
    o->transfer_weight = sim_option_maybe(e, "transfer", 1, 10);
    o->corrupt_permille = sim_option_maybe(e, "corrupt_permille", 1, 50);
    w->net = (struct sim_net){.endpoints = SIM_NODES};
    w->net.delay_min_us = sim_option(e, "delay_min_us", 50, 2000);
    w->net.delay_max_us = w->net.delay_min_us + sim_option(e, "delay_spread_us", 0, 20000);
    w->net.drop_permille = sim_option_maybe(e, "drop_permille", 1, 300);
    w->net.duplicate_permille = sim_option_maybe(e, "duplicate_permille", 1, 500);
    w->net.slow_permille = sim_option_maybe(e, "slow_permille", 1, 200);
    w->net.slow_max_us = 1000 * sim_option(e, "slow_max_ms", 10, 2000);
}

static void draw_size(struct world *w)
{
    static const unsigned sizes[] = {1, 2, 3, 3, 3, 3, 4, 5, 5, 7};
    struct sim_engine *e = &w->engine;
    w->options.nodes = sizes[sim_option(e, "size_class", 0, CF_LENGTH(sizes) - 1)];
    w->options.learners = (unsigned)sim_option(e, "learners", 0, 2);
    w->options.clients = (unsigned)sim_option(e, "clients", 1, 6);
    /* New options come last, so that old seeds keep most of their meaning. */
    w->options.lose_permille = sim_option_maybe(e, "lose_permille", 1, 600);
    w->options.drift_permille = sim_option_maybe(e, "drift_permille", 1, DRIFT_MAX_PERMILLE);
    w->options.rot_permille = sim_option_maybe(e, "rot_permille", 1, 300);
    w->options.silent_permille = sim_option_maybe(e, "older_image_permille", 1, 600);
    w->options.fsync_fail_permille = sim_option_maybe(e, "fsync_fail_permille", 1, 10);
    w->options.upgrade_weight = sim_option_maybe(e, "upgrade", 1, 6);
    w->options.torn_permille = sim_option_maybe(e, "torn_permille", 1, 1000);
    w->options.forget_permille = sim_option_maybe(e, "older_vote_permille", 1, 1000);
    w->options.stop_us = sim_option(e, "stop_us", 0, 0);
    w->options.isolate_weight = sim_option_maybe(e, "isolate", 1, 10);
}

void world_found(struct world *w, unsigned voters, unsigned learners)
{
    struct raft_membership founding = {0};
    for (unsigned i = 0; i < voters + learners; i++) {
        uint8_t role = i < voters ? RAFT_VOTER : RAFT_LEARNER;
        cf_ignore(raft_membership_set(&founding, i + 1, role, 1, "", "", NULL), "always valid");
    }
    for (unsigned i = 0; i < voters + learners; i++) {
        node_create(w, i, &founding);
        w->nodes[i].level = w->options.upgrade_weight != 0 ? 1 : 2;
    }
}

static void schedule_all(struct world *w)
{
    for (unsigned i = 0; i < w->options.clients; i++) {
        sim_schedule(&w->engine, w->engine.now_us + w->options.client_us, EV_CLIENT, 0, i, 0, NULL);
    }
    sim_schedule(&w->engine, w->engine.now_us + w->options.operator_us, EV_OPERATOR, 0, 0, 0, NULL);
    sim_schedule(&w->engine, w->engine.now_us + w->options.nemesis_us, EV_NEMESIS, 0, 0, 0, NULL);
    for (unsigned i = 0; i < SIM_NODES; i++) {
        sim_schedule(&w->engine, w->engine.now_us + w->options.maintain_us, EV_MAINTAIN, i, 0, 0,
                     NULL);
    }
}

static void again(struct world *w, const struct sim_event *event, uint64_t interval_us)
{
    sim_schedule(&w->engine,
                 w->engine.now_us + sim_between(&w->engine, interval_us / 2, interval_us * 3 / 2),
                 event->kind, event->node, event->a, 0, NULL);
}

/* Clients stop with the workload; maintenance and nodes go on to the end. */
static void world_event(struct world *w, struct sim_event *event, bool load)
{
    /* Each fault and request has its chance to itself. */
    uint64_t ordinal = event->kind == EV_CLIENT     ? w->requests
                       : event->kind == EV_OPERATOR ? w->operations
                       : event->kind == EV_NEMESIS  ? w->nemeses
                                                    : w->engine.events;
    sim_stream_seed(&w->engine, &w->event_draws, 3, event->kind, ordinal);
    sim_draw_from(&w->engine, &w->event_draws);
    switch (event->kind) {
    case EV_SWIZZLE:
        if (!w->liveness) {
            faults_swizzle(w, event->node, event->a != 0);
        }
        break;
    case EV_CLIENT:
        if (load) {
            load_client(w);
        }
        again(w, event, w->options.client_us);
        break;
    case EV_READ_AT_WAKE:
        load_read_at_wake(w, &w->nodes[event->node]);
        break;
    case EV_OPERATOR:
        if (!w->liveness) {
            load_operator(w);
            again(w, event, w->options.operator_us);
        }
        break;
    case EV_ISOLATE:
        if (!w->liveness) {
            faults_isolate(w, &w->nodes[event->node]);
        }
        break;
    case EV_CUT_LEADER:
        if (!w->liveness) {
            faults_cut_leader(w);
        }
        break;
    case EV_NEMESIS:
        if (!w->liveness) {
            faults_nemesis(w);
            again(w, event, w->options.nemesis_us);
        }
        break;
    case EV_MAINTAIN: {
        struct sim_node *n = &w->nodes[event->node];
        if (n->alive && n->paused_until_us <= w->engine.now_us) {
            node_maintain(w, n);
            node_after_input(w, n);
        }
        again(w, event, w->options.maintain_us);
        break;
    }
    default:
        node_event(w, event);
        break;
    }
}

/* False: the run was to end here. */
static bool run_for(struct world *w, uint64_t duration_us, bool load)
{
    uint64_t until_us = w->engine.now_us + duration_us;
    struct sim_event event;
    if (w->options.stop_us != 0 && until_us > w->options.stop_us) {
        until_us = w->options.stop_us;
    }
    while (sim_next(&w->engine, until_us, &event)) {
        world_event(w, &event, load);
        sim_draw_from(&w->engine, NULL);
        if (w->engine.events > EVENTS_MAX) {
            SIM_FAIL(w, "L-4", "a storm of messages");
        }
    }
    return w->options.stop_us == 0 || w->engine.now_us < w->options.stop_us;
}

static void drop_event(struct sim_event *event)
{
    packet_free(event->data);
}

/* Everything healed: somebody leads and stays, everybody catches up. False: the run was cut. */
static bool run_liveness(struct world *w)
{
    uint64_t t = w->options.election_us;
    /* A sync that takes seconds may have begun before everything healed. */
    if (!run_for(w, 10 * t + (w->options.fsync_spike_permille != 0 ? w->options.fsync_spike_us : 0),
                 true)) {
        return false;
    }
    faults_check_settled(w);
    /* A change that was begun may still end the leadership of who is removed by it; and who fell
     * behind may have had its snapshot refused. */
    if (!run_for(w, 6 * t, true)) {
        return false;
    }
    faults_check_settled(w);
    uint64_t term = w->settled_term = load_leader(w)->raft->term;
    if (!run_for(w, 14 * t, true)) {
        return false;
    }
    faults_check_stable(w, term);
    /* A window of one small message is slow; what counts is that the end is reached. */
    for (unsigned rounds = 0; rounds < 40 && (rounds == 0 || !faults_all_caught_up(w)); rounds++) {
        if (!run_for(w, 6 * t, false)) {
            return false;
        }
        faults_check_stable(w, term);
    }
    faults_check_end(w);
    return true;
}

/* The two phases of TigerBeetle's VOPR. */
static void run_phases(struct world *w)
{
    if (!run_for(w, w->options.safety_us, true) || !faults_begin_liveness(w) || !run_liveness(w)) {
        return;
    }
    uint64_t to = faults_begin_transfer(w);
    if (to != RAFT_NONE && run_for(w, 3 * w->options.election_us, true)) { /* L-5, under load */
        faults_check_transferred(w, to, w->settled_term);
        sim_reached(&w->engine, MARK_LIVE_TRANSFER);
    }
}

void (*world_on_fail)(struct sim_engine *e, const char *invariant, const char *text);

/* The head of a recorded scenario: what its world was like. */
static void record_head(struct world *w)
{
    static const char *const kept[] = {"heartbeat_ms", "election_heartbeats", "append_bytes",
                                       "window_class", "window_bytes", "uncommitted_bytes",
                                       "lease", "preferred", "upgrade"};
    char *text = cf_memdup(sim_options_text(&w->engine), strlen(sim_options_text(&w->engine)) + 1);
    char *state = NULL;
    world_record(w, "nodes %u %u", w->options.nodes, w->options.learners);
    char *pair = strtok_r(text, " ", &state);
    for (; pair != NULL; pair = strtok_r(NULL, " ", &state)) {
        char *value = strchr(pair, '=');
        *value++ = '\0';
        for (size_t i = 0; i < CF_LENGTH(kept); i++) {
            if (strcmp(pair, kept[i]) == 0) {
                world_record(w, "set %s %s", pair, value);
            }
        }
    }
    cf_free(text);
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (w->nodes[i].exists && w->nodes[i].clock_rate != 1000) {
            world_record(w, "clock %u %" PRIu64, i + 1, w->nodes[i].clock_rate);
        }
    }
}

struct world *world_new(uint64_t seed, bool verbose, const struct sim_override *overrides)
{
    struct world *w = cf_new(struct world);
    sim_engine_init(&w->engine, seed, verbose);
    w->engine.overrides = overrides;
    w->engine.on_fail = world_on_fail;
    draw_timing(w);
    draw_limits(w);
    draw_faults(w);
    draw_size(w);
    for (unsigned i = 0; i < SIM_NODES * SIM_NODES; i++) {
        sim_stream_seed(&w->engine, &w->link_draws[i / SIM_NODES][i % SIM_NODES], 2, i, 0);
    }
    return w;
}

void world_free(struct world *w)
{
    for (unsigned i = 0; i < SIM_NODES; i++) {
        node_done(w, &w->nodes[i]);
    }
    sim_engine_done(&w->engine, drop_event);
    check_done(w);
    cf_free(w);
}

uint64_t run_seed_with(uint64_t seed, const struct sim_override *overrides, struct cf_buf *record,
                       bool verbose, uint64_t *ret_reached, bool print_summary)
{
    struct world *w = world_new(seed, verbose, overrides);
    w->record = record;
    w->recorded_us = w->engine.now_us;
    world_found(w, w->options.nodes, w->options.learners);
    if (record != NULL) {
        record_head(w);
    }
    if (print_summary) {
        printf("options: %s\n", sim_options_text(&w->engine));
    }
    schedule_all(w);
    w->record = NULL; /* these starts go without saying */
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (w->nodes[i].exists) {
            node_start(w, &w->nodes[i]);
        }
    }
    w->record = record;
    run_phases(w);
    uint64_t hash = w->engine.hash;
    if (print_summary) {
        printf("seed %" PRIu64 ": %" PRIu64 " events, commit %" PRIu64 ", %" PRIu64
               " writes acknowledged, %" PRIu64 " overwritten, %" PRIu64
               " reads, last term %" PRIu64 ", trace %016" PRIx64 "\n",
               seed, w->engine.events, w->max_commit, w->acked_writes, w->lost_writes,
               w->served_reads, w->max_leader_term, hash);
    }
    *ret_reached |= w->engine.reached;
    world_free(w);
    return hash;
}

uint64_t run_seed(uint64_t seed, bool verbose, uint64_t *ret_reached, bool print_summary)
{
    return run_seed_with(seed, NULL, NULL, verbose, ret_reached, print_summary);
}
