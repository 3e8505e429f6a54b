/* tests/sim/faults.c: the nemesis of the safety phase, and what the liveness phase demands. */
#include <inttypes.h>

#include "tests/sim/world.h"

static struct sim_node *victim(struct world *w)
{
    struct sim_node *leader = load_leader(w);
    if (leader != NULL && sim_chance(&w->engine, 400)) {
        return leader;
    }
    return &w->nodes[sim_below(&w->engine, SIM_NODES)];
}

static size_t survivors(struct world *w, const struct sim_node *n)
{
    return sim_chance(&w->engine, w->options.torn_permille)
               ? disk_torn(&w->engine, &n->disk)
               : (size_t)sim_between(&w->engine, 0, n->disk.queue_count);
}

void faults_crash(struct world *w, struct sim_node *n)
{
    node_crash(w, n, survivors(w, n));
    if (n->rotten != 0) {
        faults_rot_found(w, n); /* a start reads the whole log */
    } else if (sim_chance(&w->engine, w->options.lose_permille)) {
        atlas_lose_some(w, n);
    } else if (sim_chance(&w->engine, w->options.silent_permille)) {
        atlas_restore_older_image(w, n);
    }
    atlas_restart_within(w, n, 3000000);
}

/* The hard moment for a node that lost entries: who knows of them goes away, too. */
void faults_cut_leader(struct world *w)
{
    struct sim_node *leader = load_leader(w);
    if (leader == NULL || leader->lost) {
        return;
    }
    if (sim_below(&w->engine, 2) == 0) {
        node_crash(w, leader, survivors(w, leader));
        if (leader->rotten != 0) {
            faults_rot_found(w, leader);
        }
        atlas_restart_within(w, leader, 3000000);
        return;
    }
    for (unsigned i = 0; i < SIM_NODES; i++) {
        w->net.cut[i][node_slot(w, leader)] |= i != node_slot(w, leader);
        w->net.cut[node_slot(w, leader)][i] |= i != node_slot(w, leader);
    }
}

static void crash_some(struct world *w)
{
    uint64_t count = sim_chance(&w->engine, 100) ? SIM_NODES : sim_between(&w->engine, 1, 2);
    for (uint64_t i = 0; i < count; i++) {
        struct sim_node *n = count == SIM_NODES ? &w->nodes[i] : victim(w);
        if (n->alive) {
            faults_crash(w, n);
        }
    }
}

static void change_condition(struct world *w, struct sim_node *n)
{
    static const uint32_t conditions[] = {0, 0, RAFT_SEALED, RAFT_STALLED};
    n->condition = conditions[sim_below(&w->engine, CF_LENGTH(conditions))];
    faults_set_condition(w, n);
}

void faults_set_condition(struct world *w, struct sim_node *n)
{
    if (n->alive && n->paused_until_us <= w->engine.now_us) {
        world_record(w, "condition %" PRIu64 " %u%s", n->id, (unsigned)n->condition, held(w));
        raft_set_condition(n->raft, node_now(w, n), n->condition);
        node_after_input(w, n);
    }
}

/* The clock of `slow` falls as far behind the others' as the drift of this run allows. */
static void pull_clocks_apart(struct world *w, const struct sim_node *slow)
{
    uint64_t drift = w->options.drift_permille;
    for (unsigned i = 0; i < SIM_NODES && drift != 0; i++) {
        struct sim_node *n = &w->nodes[i];
        if (n->exists) {
            node_set_clock(w, n, n == slow ? 1000 - drift : 1000 + drift);
            world_record(w, "clock %" PRIu64 " %" PRIu64, n->id, n->clock_rate);
        }
    }
}

/* A leader whose lease may still run while the others elect: nobody hears it any more (nor, mostly, does it hear
 * anybody), its clock is the slowest, and it is asked for reads all the time in which it could answer wrongly; with
 * leases above all around T later, when the others elect. */
void faults_isolate(struct world *w, struct sim_node *n)
{
    unsigned slot = node_slot(w, n);
    uint64_t t = w->options.election_us;
    bool mute = sim_chance(&w->engine, 250);
    for (unsigned i = 0; i < SIM_NODES; i++) {
        w->net.cut[slot][i] = i != slot;
        w->net.cut[i][slot] = i != slot && !mute;
    }
    for (unsigned i = 0; i < 8; i++) {
        uint64_t after_us = sim_between(&w->engine, 0, 3 * t / 2);
        sim_schedule(&w->engine, w->engine.now_us + after_us, EV_READ_AT_WAKE, slot, 0, 0, NULL);
    }
    if (w->options.lease != 0) {
        pull_clocks_apart(w, n);
        for (uint64_t after_us = 3 * t / 4; after_us < 3 * t / 2; after_us += t / 32) {
            sim_schedule(&w->engine, w->engine.now_us + after_us, EV_READ_AT_WAKE, slot, 0, 0, NULL);
        }
    }
    sim_reached(&w->engine, MARK_ISOLATED);
    sim_trace(&w->engine, "%" PRIu64 " is cut off and asked", n->id);
}

/* Links go one endpoint after the other and come back in another order. */
static void swizzle(struct world *w)
{
    uint64_t at_us = w->engine.now_us, count = sim_between(&w->engine, 2, 5);
    for (uint64_t i = 0; i < count; i++) {
        unsigned slot = (unsigned)sim_below(&w->engine, SIM_NODES);
        at_us += sim_between(&w->engine, 0, w->options.election_us);
        sim_schedule(&w->engine, at_us, EV_SWIZZLE, slot, 1, 0, NULL);
        sim_schedule(&w->engine, at_us + sim_between(&w->engine, 1000, 4 * w->options.election_us),
                     EV_SWIZZLE, slot, 0, 0, NULL);
    }
}

void faults_swizzle(struct world *w, unsigned slot, bool cut)
{
    sim_reached(&w->engine, MARK_SWIZZLED);
    for (unsigned i = 0; i < SIM_NODES; i++) {
        w->net.cut[i][slot] = w->net.cut[slot][i] = cut && i != slot;
    }
}

/* The node comes back with the new program. */
static void upgrade(struct world *w, struct sim_node *n)
{
    if (n->alive && n->level < 2) {
        faults_crash(w, n);
        n->level = 2;
        sim_reached(&w->engine, MARK_UPGRADED);
    }
}

void faults_nemesis(struct world *w)
{
    const struct sim_options *o = &w->options;
    uint64_t total = o->crash_weight + o->pause_weight + o->partition_weight + o->condition_weight +
                     o->upgrade_weight + o->isolate_weight;
    w->nemeses++;
    if (sim_chance(&w->engine, o->rot_permille)) {
        atlas_rot(w, &w->nodes[sim_below(&w->engine, SIM_NODES)]);
    }
    if (total == 0) {
        return;
    }
    uint64_t pick = sim_below(&w->engine, total);
    struct sim_node *n = victim(w);
    if (pick < o->crash_weight) {
        crash_some(w);
    } else if ((pick -= o->crash_weight) < o->pause_weight) {
        if (n->alive) {
            n->paused_until_us =
                w->engine.now_us + sim_between(&w->engine, 1000, 5 * o->election_us);
            sim_schedule(&w->engine, n->paused_until_us, EV_READ_AT_WAKE, node_slot(w, n), 0, 0,
                         NULL);
            sim_trace(&w->engine, "%" PRIu64 " pauses", n->id);
        }
    } else if ((pick -= o->pause_weight) < o->partition_weight) {
        if (sim_chance(&w->engine, 600)) {
            sim_net_heal(&w->net);
        }
        if (sim_chance(&w->engine, 150)) {
            swizzle(w);
        } else if (sim_chance(&w->engine, 700)) {
            struct sim_node *leader = load_leader(w);
            sim_net_break(&w->engine, &w->net,
                          leader != NULL ? node_slot(w, leader) : node_slot(w, n));
            sim_trace(&w->engine, "the network breaks");
        }
    } else if ((pick -= o->partition_weight) < o->condition_weight) {
        change_condition(w, n);
    } else if ((pick -= o->condition_weight) < o->upgrade_weight) {
        upgrade(w, n);
    } else {
        struct sim_node *leader = load_leader(w);
        sim_net_heal(&w->net);
        if (leader != NULL) {
            faults_isolate(w, leader);
        }
    }
}

/* ---- liveness ------------------------------------------------------------------------------- */

static void break_for_good(struct world *w, unsigned slot)
{
    struct sim_node *n = &w->nodes[slot];
    w->broken[slot] = true;
    uint64_t how = sim_below(&w->engine, 3);
    sim_trace(&w->engine, "%" PRIu64 " stays broken: %s", n->id,
              how == 0   ? "dead"
              : how == 1 ? "deaf"
                         : "mute");
    if (how == 0 && n->alive) {
        node_crash(w, n, n->disk.queue_count);
    }
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (i != slot) {
            w->net.cut[i][slot] |= how == 1;
            w->net.cut[slot][i] |= how == 2;
        }
    }
}

bool faults_begin_liveness(struct world *w)
{
    w->liveness = true;
    w->healed_us = w->engine.now_us;
    sim_net_heal(&w->net);
    w->net.drop_permille = w->net.duplicate_permille = w->net.slow_permille = 0;
    w->net.delay_max_us = cf_min(w->net.delay_max_us, w->options.heartbeat_us / 4);
    w->net.delay_min_us = cf_min(w->net.delay_min_us, w->net.delay_max_us);
    w->options.fsync_max_us = cf_min(w->options.fsync_max_us, w->options.heartbeat_us / 4);
    w->options.fsync_min_us = cf_min(w->options.fsync_min_us, w->options.fsync_max_us);
    w->options.corrupt_permille = 0;
    /* One entry for each round trip would make the end a matter of bandwidth. */
    w->options.append_bytes = cf_max(w->options.append_bytes, 16384);
    w->options.window_bytes = cf_max(w->options.window_bytes, 65536);
    sim_trace(&w->engine, "everything heals");
    for (unsigned i = 0; i < SIM_NODES; i++) {
        struct sim_node *n = &w->nodes[i];
        n->condition = 0;
        n->rotten = 0;
        if (!n->exists) {
            continue;
        }
        node_set_clock(w, n, 1000);
        n->paused_until_us = 0;
        if (!n->alive) {
            node_start(w, n);
        } else {
            n->raft->options.append_bytes_max = w->options.append_bytes;
            n->raft->options.window_bytes = w->options.window_bytes;
            raft_set_condition(n->raft, node_now(w, n), 0);
            node_after_input(w, n);
        }
    }
    bool broken[SIM_NODES] = {false};
    if (!atlas_healthy_suffice(w, broken)) {
        return false;
    }
    for (unsigned tries = 0; tries < 4; tries++) {
        unsigned slot = (unsigned)sim_below(&w->engine, SIM_NODES);
        if (!w->nodes[slot].exists || broken[slot] || !sim_chance(&w->engine, 500)) {
            continue;
        }
        broken[slot] = true;
        if (atlas_healthy_suffice(w, broken)) {
            break_for_good(w, slot);
        } else {
            broken[slot] = false;
        }
    }
    return true;
}

static struct sim_node *healthy_leader(struct world *w)
{
    struct sim_node *leader = NULL;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        struct sim_node *n = &w->nodes[i];
        if (n->alive && !w->broken[i] && n->raft->role == RAFT_LEADER) {
            leader = n;
        }
    }
    return leader;
}

void faults_check_settled(struct world *w)
{
    struct sim_node *leader = healthy_leader(w);
    if (leader == NULL || !raft_read_is_ready(leader->raft)) {
        SIM_FAIL(w, "L-1", "nobody leads 10 T after everything healed");
    }
}

void faults_check_stable(struct world *w, uint64_t term)
{
    struct sim_node *leader = healthy_leader(w);
    if (leader == NULL || leader->raft->term != term) {
        SIM_FAIL(w, "L-1", "the leader of term %" PRIu64 " did not stay", term);
    }
}

static bool is_caught_up(struct world *w, const struct sim_node *leader, uint64_t id)
{
    const struct sim_node *n = world_node(w, id);
    return w->broken[id - 1] || (n->alive && n->raft->log.last == leader->raft->log.last &&
                                 n->state.applied == leader->raft->log.last);
}

bool faults_all_caught_up(struct world *w)
{
    struct sim_node *leader = healthy_leader(w);
    for (uint32_t i = 0; leader != NULL && i < raft_membership(leader->raft)->count; i++) {
        if (!is_caught_up(w, leader, raft_membership(leader->raft)->members[i].id)) {
            return false;
        }
    }
    return leader != NULL;
}

static void check_caught_up(struct world *w, const struct sim_node *leader, uint64_t id)
{
    const struct sim_node *n = world_node(w, id);
    if (w->broken[n->id - 1]) {
        return;
    }
    if (!is_caught_up(w, leader, id)) {
        SIM_FAIL(w, "L-3", "node %" PRIu64 " is at %" PRIu64 "/%" PRIu64 ", the leader at %" PRIu64,
                 id, n->alive ? n->raft->log.last : 0, n->state.applied, leader->raft->log.last);
    }
    if ((n->raft->condition & RAFT_RECOVERING) != 0) {
        SIM_FAIL(w, "L-3", "node %" PRIu64 " holds everything and is still recovering", id);
    }
    if (n->read_count != 0) {
        SIM_FAIL(w, "L-2", "%zu reads of node %" PRIu64 " were never answered", n->read_count, id);
    }
}

/* Who does not belong to the cluster any more, and can still reach a member that it knows, has been
 * told so: else it would ask for votes for ever. */
static void check_removed(struct world *w, const struct sim_node *leader, const struct sim_node *n)
{
    const struct raft_membership *m = raft_membership(leader->raft);
    if (!n->alive || w->broken[node_slot(w, n)] || raft_membership_find(m, n->id) != NULL ||
        !n->raft->was_member || !raft_election_may_campaign(n->raft)) {
        return;
    }
    const struct raft_membership *own = raft_membership(n->raft);
    for (uint32_t i = 0; raft_membership_votes(own, n->id) && i < own->count; i++) {
        uint64_t id = own->members[i].id;
        if (raft_membership_votes(own, id) && raft_membership_find(m, id) != NULL &&
            !w->broken[id - 1]) {
            SIM_FAIL(w, "L-4", "node %" PRIu64 " was removed and asks for votes for ever", n->id);
        }
    }
}

void faults_check_end(struct world *w)
{
    struct sim_node *leader = healthy_leader(w);
    if (leader == NULL) {
        SIM_FAIL(w, "L-1", "nobody leads at the end");
    }
    const struct raft_membership *m = raft_membership(leader->raft);
    if (raft_membership_is_joint(m) || !raft_config_is_committed(leader->raft)) {
        SIM_FAIL(w, "L-3", "the change of membership never ended");
    }
    for (uint32_t i = 0; i < m->count; i++) {
        check_caught_up(w, leader, m->members[i].id);
    }
    for (unsigned i = 0; i < SIM_NODES; i++) {
        check_removed(w, leader, &w->nodes[i]);
    }
    if (leader->pending_count != 0) {
        SIM_FAIL(w, "L-2", "%zu accepted proposals have no outcome", leader->pending_count);
    }
    if (w->liveness_accepted == 0 && w->options.read_permille < 900) {
        SIM_FAIL(w, "L-2", "no proposal was accepted in the whole liveness phase");
    }
}

/* A healthy voter that has everything is named; RAFT_NONE when there is none beside the leader. */
uint64_t faults_begin_transfer(struct world *w)
{
    struct sim_node *leader = healthy_leader(w);
    const struct raft_membership *m = raft_membership(leader->raft);
    for (uint32_t i = 0; i < m->count; i++) {
        uint64_t id = m->members[i].id;
        bool fit = id != leader->id && m->members[i].role == RAFT_VOTER && !w->broken[id - 1];
        if (fit && load_transfer(w, leader, id) == CF_OK) {
            node_after_input(w, leader);
            return id;
        }
    }
    return RAFT_NONE;
}

void faults_check_transferred(struct world *w, uint64_t to, uint64_t old_term)
{
    struct sim_node *leader = healthy_leader(w);
    if (leader == NULL || leader->id != to || leader->raft->term <= old_term) {
        SIM_FAIL(w, "L-5", "leadership was not handed to %" PRIu64, to);
    }
}
