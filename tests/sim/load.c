/* tests/sim/load.c: clients that write and read on all nodes, and an operator who changes things.
 */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/world.h"

struct sim_node *load_leader(struct world *w)
{
    struct sim_node *best = NULL;
    uint64_t best_term = 0;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        struct sim_node *n = &w->nodes[i];
        if (n->alive && n->raft->role == RAFT_LEADER && n->raft->term > best_term) {
            best = n;
            best_term = n->raft->term;
        }
    }
    return best;
}

static bool is_up(struct world *w, struct sim_node *n)
{
    return n->alive && n->paused_until_us <= w->engine.now_us && !w->broken[node_slot(w, n)];
}

/* ---- clients -------------------------------------------------------------------------------- */

/* What every member is known to understand. */
static unsigned common_level(const struct raft *r)
{
    const struct raft_membership *m = &raft_config_at(r, r->log.commit)->membership;
    unsigned level = raft_config_is_committed(r) && m->count != 0 ? 2 : 1;
    for (uint32_t i = 0; i < m->count; i++) {
        level = m->members[i].features < level ? m->members[i].features : level;
    }
    return level;
}

void load_write(struct world *w, struct sim_node *n, size_t count, size_t size)
{
    struct raft_entry *entries[3];
    uint8_t payload[4096] = {0};
    uint8_t level = (uint8_t)common_level(n->raft);
    bool handing_over = n->raft->transfer_to != RAFT_NONE;
    for (size_t i = 0; i < count; i++) {
        cf_put_u64(payload, ++w->next_value);
        entries[i] = raft_entry_new(RAFT_ENTRY_DATA, level, cf_slice_of(payload, size));
    }
    uint64_t index = 0;
    cf_status status = raft_propose(n->raft, node_now(w, n), entries, count, &index, NULL);
    if (status == CF_OK) {
        world_record(w, "write %" PRIu64 " %zu %zu%s", n->id, count, size, held(w));
        if (handing_over) {
            SIM_FAIL(w, "transfer", "node %" PRIu64 " takes proposals while it hands over", n->id);
        }
        if (level > 1) {
            sim_reached(&w->engine, MARK_LEVEL_2);
        }
        for (size_t i = 0; i < count; i++) {
            raft_grow(&n->pending, &n->pending_capacity, n->pending_count + 1,
                      sizeof(n->pending[0]));
            n->pending[n->pending_count++] = (struct sim_pending){index + i, n->raft->term};
        }
        w->liveness_accepted += w->settled_term != 0 ? count : 0;
    } else if (status == CF_BUSY) {
        sim_reached(&w->engine, MARK_BUSY_PROPOSAL);
    }
    for (size_t i = 0; i < count; i++) {
        raft_entry_unref(entries[i]);
    }
}

void load_read(struct world *w, struct sim_node *n)
{
    struct sim_read read = {
        .cookie = ++w->next_cookie, .floor = w->acknowledged, .started_us = w->engine.now_us};
    if (raft_read(n->raft, node_now(w, n), read.cookie, NULL) == CF_OK) {
        world_record(w, "read %" PRIu64 "%s", n->id, held(w));
        raft_grow(&n->reads, &n->read_capacity, n->read_count + 1, sizeof(n->reads[0]));
        n->reads[n->read_count++] = read;
    }
}

/* A node that just woke up, which perhaps still believes that it leads, is read at once. */
void load_read_at_wake(struct world *w, struct sim_node *n)
{
    if (is_up(w, n)) {
        load_read(w, n);
        node_after_input(w, n);
    }
}

/* Anybody who believes to lead, the deposed first: those are the ones that could answer wrongly. */
static struct sim_node *oldest_leader(struct world *w)
{
    struct sim_node *oldest = NULL;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        struct sim_node *n = &w->nodes[i];
        if (is_up(w, n) && n->raft->role == RAFT_LEADER &&
            (oldest == NULL || n->raft->term < oldest->raft->term)) {
            oldest = n;
        }
    }
    return oldest;
}

void load_client(struct world *w)
{
    w->requests++;
    struct sim_node *n = &w->nodes[sim_below(&w->engine, SIM_NODES)];
    bool reads = sim_chance(&w->engine, w->options.read_permille);
    if (reads && sim_chance(&w->engine, 300)) {
        struct sim_node *oldest = oldest_leader(w);
        n = oldest != NULL ? oldest : n;
    }
    if (!reads && sim_chance(&w->engine, 900)) {
        struct sim_node *leader = load_leader(w);
        n = leader != NULL ? leader : n;
    }
    if (!is_up(w, n)) {
        return;
    }
    if (reads) {
        load_read(w, n);
    } else {
        size_t count = (size_t)sim_between(&w->engine, 1, 3);
        load_write(w, n, count, 8 + (size_t)sim_below(&w->engine, w->options.payload_max));
    }
    node_after_input(w, n);
}

void load_applied(struct world *w, struct sim_node *n, const struct raft_entry *entry)
{
    for (size_t i = 0; i < n->pending_count;) {
        if (n->pending[i].index != entry->index) {
            i++;
            continue;
        }
        if (n->pending[i].term == entry->term) {
            w->acked_writes++;
            if (entry->index > w->acknowledged) {
                w->acknowledged = entry->index;
            }
        } else {
            w->lost_writes++;
            if (w->settled_term != 0 && n->pending[i].term >= w->settled_term) {
                SIM_FAIL(w, "L-2", "an accepted proposal at %" PRIu64 " was lost", entry->index);
            }
        }
        n->pending[i] = n->pending[--n->pending_count];
    }
}

void load_read_result(struct world *w, struct sim_node *n, const struct raft_read_result *result)
{
    for (size_t i = 0; i < n->read_count; i++) {
        if (n->reads[i].cookie != result->cookie) {
            continue;
        }
        if (result->status != CF_OK) {
            n->reads[i] = n->reads[--n->read_count];
            return;
        }
        if (n->reads[i].index != 0) {
            SIM_FAIL(w, "read", "node %" PRIu64 " answers a read twice", n->id);
        }
        n->reads[i].index = result->index;
        n->reads[i].by_lease = result->by_lease;
        sim_reached(&w->engine, result->by_lease ? MARK_READ_LEASE : MARK_READ_FORWARDED);
        return;
    }
    SIM_FAIL(w, "read", "node %" PRIu64 " answers a read that nobody asked for", n->id);
}

void load_serve_reads(struct world *w, struct sim_node *n)
{
    for (size_t i = 0; i < n->read_count;) {
        struct sim_read read = n->reads[i];
        if (read.index == 0 || read.index > n->state.applied) {
            i++;
            continue;
        }
        n->reads[i] = n->reads[--n->read_count];
        if (read.by_lease && !raft_lease_valid(n->raft, node_now(w, n))) {
            continue; /* it woke up too late: the client asks again */
        }
        if (n->state.applied < read.floor) {
            SIM_FAIL(w, "I-19",
                     "node %" PRIu64 " read at %" PRIu64 " what began after %" PRIu64
                     " was acknowledged (%s)",
                     n->id, n->state.applied, read.floor, read.by_lease ? "lease" : "round");
        }
        if (read.by_lease && w->max_leader_term > n->raft->term) {
            SIM_FAIL(w, "I-20", "node %" PRIu64 " reads by a lease of term %" PRIu64, n->id,
                     n->raft->term);
        }
        w->served_reads++;
        /* What this client saw, no later read may miss. */
        if (n->state.applied > w->acknowledged) {
            w->acknowledged = n->state.applied;
        }
    }
}

/* A snapshot jumped over them: their clients are told that the outcome is unknown. */
void load_skipped(struct sim_node *n, uint64_t up_to)
{
    for (size_t i = 0; i < n->pending_count;) {
        if (n->pending[i].index <= up_to) {
            n->pending[i] = n->pending[--n->pending_count];
        } else {
            i++;
        }
    }
}

void load_forget(struct sim_node *n)
{
    n->pending_count = 0;
    n->read_count = 0;
}

/* ---- the operator --------------------------------------------------------------------------- */

static void set_role(const struct world *w, struct raft_membership *m, uint64_t id, uint8_t role)
{
    unsigned level = w->options.upgrade_weight != 0 ? w->nodes[id - 1].level : 1;
    cf_ignore(raft_membership_set(m, id, role, level, "", "", NULL), "ids and roles are valid");
}

static uint64_t pick(struct world *w, const struct raft_membership *m, uint8_t role)
{
    uint64_t ids[RAFT_MEMBERS_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if ((m->members[i].role & role) != 0) {
            ids[count++] = m->members[i].id;
        }
    }
    return count == 0 ? RAFT_NONE : ids[sim_below(&w->engine, count)];
}

static unsigned count_voters(const struct raft_membership *m)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        count += (m->members[i].role & RAFT_VOTER) != 0;
    }
    return count;
}

/* A node that never belonged to the cluster (ids are not reused); RAFT_NONE when all are used up.
 */
static uint64_t fresh_node(struct world *w)
{
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (!w->nodes[i].exists) {
            node_create(w, i, NULL);
            world_record(w, "add %u", i + 1);
            world_record(w, "clock %u %" PRIu64, i + 1, w->nodes[i].clock_rate);
            node_start(w, &w->nodes[i]);
            return i + 1;
        }
    }
    return RAFT_NONE;
}

static bool edit(struct world *w, struct raft_membership *m)
{
    unsigned voters = count_voters(m);
    uint64_t voter = pick(w, m, RAFT_VOTER), learner = pick(w, m, RAFT_LEARNER), fresh;
    switch (sim_below(&w->engine, w->options.upgrade_weight != 0 ? 10 : 7)) {
    case 0: /* a new learner */
        fresh = m->count < 7 ? fresh_node(w) : RAFT_NONE;
        if (fresh != RAFT_NONE) {
            set_role(w, m, fresh, RAFT_LEARNER);
        }
        return fresh != RAFT_NONE;
    case 1: /* promotion */
        if (learner != RAFT_NONE && voters < 7) {
            set_role(w, m, learner, RAFT_VOTER);
            sim_reached(&w->engine, MARK_LEARNER_PROMOTED);
            return true;
        }
        return false;
    case 2: /* removal of a voter, the leader sometimes */
        return voters > 2 && raft_membership_remove(m, voter);
    case 3: /* demotion */
        if (voters > 2) {
            set_role(w, m, voter, RAFT_LEARNER);
            return true;
        }
        return false;
    case 4: /* replace one: joint */
        fresh = learner != RAFT_NONE ? learner : fresh_node(w);
        if (fresh != RAFT_NONE && raft_membership_remove(m, voter)) {
            set_role(w, m, fresh, RAFT_VOTER);
            return true;
        }
        return false;
    case 5: /* everything at once: joint */
        for (uint32_t i = 0; i < m->count; i++) {
            m->members[i].role = sim_below(&w->engine, 3) == 0 ? RAFT_LEARNER : RAFT_VOTER;
        }
        return count_voters(m) >= 1;
    case 6: /* a learner goes */
        return learner != RAFT_NONE && raft_membership_remove(m, learner);
    default: /* nodes that run the new program say so */
        for (uint32_t i = 0; i < m->count; i++) {
            m->members[i].features = w->nodes[m->members[i].id - 1].level;
        }
        return true;
    }
}

/* What a joint configuration is about to become. */
static struct raft_membership simple_of(const struct raft_membership *m)
{
    struct raft_membership target = *m;
    for (uint32_t i = target.count; i-- > 0;) {
        target.members[i].role &= (uint8_t)~RAFT_OUTGOING;
        if (target.members[i].role == 0) {
            raft_membership_remove(&target, target.members[i].id);
        }
    }
    return target;
}

static void record_change(struct world *w, const struct sim_node *n,
                          const struct raft_membership *target)
{
    char text[256] = "";
    size_t size = 0;
    for (uint32_t i = 0; w->record != NULL && i < target->count; i++) {
        size += (size_t)snprintf(text + size, sizeof(text) - size, " %c%" PRIu64,
                                 target->members[i].role == RAFT_VOTER ? 'v' : 'l',
                                 target->members[i].id);
    }
    world_record(w, "change %" PRIu64 "%s%s", n->id, text, held(w));
}

cf_status load_change(struct world *w, struct sim_node *n, const struct raft_membership *target)
{
    uint64_t index = 0;
    cf_status status = raft_change_membership(n->raft, node_now(w, n), target, &index, NULL);
    if (status == CF_OK) {
        record_change(w, n, target);
        bool joint = raft_membership_is_joint(raft_membership(n->raft));
        sim_reached(&w->engine, joint ? MARK_JOINT : MARK_LEADER);
        sim_trace(&w->engine, "%" PRIu64 " changes the configuration at %" PRIu64 "%s", n->id,
                  index, joint ? " (joint)" : "");
    }
    return status;
}

static void change_membership(struct world *w, struct sim_node *n)
{
    struct raft_membership target = simple_of(raft_membership(n->raft)), none = {0};
    uint64_t index = 0;
    if (!edit(w, &target)) {
        return;
    }
    cf_ignore(load_change(w, n, &target), "legal or not, now or never");
    if (raft_change_membership(n->raft, node_now(w, n), &none, &index, NULL) == CF_OK) {
        SIM_FAIL(w, "config", "an empty configuration was accepted");
    }
}

cf_status load_transfer(struct world *w, struct sim_node *n, uint64_t to)
{
    cf_status status = raft_transfer(n->raft, node_now(w, n), to, NULL);
    if (status == CF_OK) {
        world_record(w, "transfer %" PRIu64 " %" PRIu64 "%s", n->id, to, held(w));
        sim_reached(&w->engine, MARK_TRANSFERRED);
        sim_trace(&w->engine, "%" PRIu64 " transfers to %" PRIu64, n->id, n->raft->transfer_to);
    }
    return status;
}

void load_operator(struct world *w)
{
    const struct sim_options *o = &w->options;
    uint64_t total = o->change_weight + o->transfer_weight;
    struct sim_node *n = load_leader(w);
    w->operations++;
    if (total == 0 || n == NULL || !is_up(w, n)) {
        return;
    }
    if (sim_below(&w->engine, total) < o->change_weight) {
        change_membership(w, n);
    } else {
        uint64_t to =
            sim_below(&w->engine, 2) == 0 ? RAFT_NONE : sim_between(&w->engine, 1, SIM_NODES);
        cf_ignore(load_transfer(w, n, to), "legal or not");
        if (w->options.partition_weight != 0 && sim_chance(&w->engine, 400)) {
            sim_schedule(&w->engine,
                         w->engine.now_us + sim_between(&w->engine, 0, w->options.heartbeat_us),
                         EV_ISOLATE, node_slot(w, n), 0, 0, NULL);
        }
    }
    node_after_input(w, n);
}
