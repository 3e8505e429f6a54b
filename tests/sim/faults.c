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

/* Could every configuration that some node has in force decide with the healthy ones alone? */
static bool healthy_suffice(struct world *w, const bool *broken)
{
    bool has[SIM_NODES];
    uint64_t ids[SIM_NODES];
    for (unsigned i = 0; i < SIM_NODES; i++) {
        ids[i] = i + 1;
        has[i] = w->nodes[i].exists && !broken[i] && !w->nodes[i].lost;
    }
    for (unsigned i = 0; i < SIM_NODES; i++) {
        const struct sim_node *n = &w->nodes[i];
        if (!n->alive) {
            continue;
        }
        for (size_t j = 0; j < n->raft->configs.count; j++) {
            const struct raft_membership *m = &n->raft->configs.list[j]->membership;
            if (m->count != 0 && !check_has_quorum(m, has, ids, SIM_NODES)) {
                return false;
            }
        }
    }
    return true;
}

/* A disk that forgets what it had synced; the host notices at the start. One at a time: with more
 * of them no protocol could keep what was committed. */
static void lose_some(struct world *w, struct sim_node *n)
{
    bool none[SIM_NODES] = {false};
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (w->nodes[i].lost || (w->nodes[i].exists && !w->nodes[i].alive && &w->nodes[i] != n)) {
            return;
        }
    }
    uint64_t last = disk_last(&n->disk);
    n->lost = true;
    if (!healthy_suffice(w, none)) {
        n->lost = false;
        return;
    }
    n->lost_last = last;
    disk_lose(&n->disk, sim_between(&w->engine, n->disk.base.index + 1, last + 1));
    sim_reached(&w->engine, MARK_DISK_LOST);
    sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 0, 100000), EV_RESTART,
                 node_slot(w, n), 0, 0, NULL);
    if (sim_below(&w->engine, 2) == 0) {
        sim_schedule(&w->engine,
                     w->engine.now_us + sim_between(&w->engine, 0, 6 * w->options.heartbeat_us),
                     EV_CUT_LEADER, 0, 0, 0, NULL);
    }
    sim_trace(&w->engine, "%" PRIu64 " loses %" PRIu64 " synced entries", n->id,
              last - disk_last(&n->disk));
}

/* The hard moment for a node that lost entries: who knows of them goes away, too. */
void faults_cut_leader(struct world *w)
{
    struct sim_node *leader = load_leader(w);
    if (leader == NULL || leader->lost) {
        return;
    }
    if (sim_below(&w->engine, 2) == 0) {
        node_crash(w, leader);
        sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 1000, 3000000),
                     EV_RESTART, node_slot(w, leader), 0, 0, NULL);
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
            node_crash(w, n);
            if (sim_chance(&w->engine, w->options.lose_permille)) {
                lose_some(w, n);
            }
            sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 1000, 3000000),
                         EV_RESTART, node_slot(w, n), 0, 0, NULL);
        }
    }
}

static void change_condition(struct world *w, struct sim_node *n)
{
    static const uint32_t conditions[] = {0, 0, RAFT_SEALED, RAFT_STALLED};
    n->condition = conditions[sim_below(&w->engine, CF_LENGTH(conditions))];
    if (n->alive && n->paused_until_us <= w->engine.now_us) {
        raft_set_condition(n->raft, w->engine.now_us, n->condition);
        node_after_input(w, n);
    }
}

void faults_nemesis(struct world *w)
{
    const struct sim_options *o = &w->options;
    uint64_t total = o->crash_weight + o->pause_weight + o->partition_weight + o->condition_weight;
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
        if (sim_chance(&w->engine, 700)) {
            struct sim_node *leader = load_leader(w);
            sim_net_break(&w->engine, &w->net,
                          leader != NULL ? node_slot(w, leader) : node_slot(w, n));
            sim_trace(&w->engine, "the network breaks");
        }
    } else {
        change_condition(w, n);
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
        node_crash(w, n);
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
        if (!n->exists) {
            continue;
        }
        n->paused_until_us = 0;
        if (!n->alive) {
            node_start(w, n);
        } else {
            n->raft->options.append_bytes_max = w->options.append_bytes;
            n->raft->options.window_bytes = w->options.window_bytes;
            raft_set_condition(n->raft, w->engine.now_us, 0);
            node_after_input(w, n);
        }
    }
    bool broken[SIM_NODES] = {false};
    if (!healthy_suffice(w, broken)) {
        return false;
    }
    for (unsigned tries = 0; tries < 4; tries++) {
        unsigned slot = (unsigned)sim_below(&w->engine, SIM_NODES);
        if (!w->nodes[slot].exists || broken[slot] || !sim_chance(&w->engine, 500)) {
            continue;
        }
        broken[slot] = true;
        if (healthy_suffice(w, broken)) {
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
    if (leader->pending_count != 0) {
        SIM_FAIL(w, "L-2", "%zu accepted proposals have no outcome", leader->pending_count);
    }
    if (w->liveness_accepted == 0 && w->options.read_permille < 900) {
        SIM_FAIL(w, "L-2", "no proposal was accepted in the whole liveness phase");
    }
}
