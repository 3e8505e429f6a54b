/* tests/sim/atlas.c: disks that go bad, and which of them may: a majority keeps a good copy. */
#include <inttypes.h>

#include "tests/sim/world.h"

static bool has_newer_log(const struct sim_node *n, const struct sim_node *than)
{
    uint64_t own = raft_log_last_term(&n->raft->log), theirs = raft_log_last_term(&than->raft->log);
    return own > theirs || (own == theirs && n->raft->log.last > than->raft->log.last);
}

static bool may_ask(const struct sim_node *n)
{
    const struct raft *r = n->raft;
    return raft_membership_votes(raft_membership(r), n->id) ||
           raft_membership_votes(&raft_config_at(r, r->log.commit)->membership, n->id);
}

/* Where a voter lost what it had, a majority of healthy ones may be too few: what it appended as a leader may be with
 * learners alone, and one of those is a voter of a joint configuration that was never committed. It does not know, and
 * does not ask; it refuses whoever needs it, for its log is newer. */
static bool somebody_can_win(struct world *w, const bool *has, const uint64_t *ids)
{
    for (unsigned i = 0; i < SIM_NODES; i++) {
        const struct sim_node *n = &w->nodes[i];
        bool grants[SIM_NODES];
        for (unsigned j = 0; j < SIM_NODES; j++) {
            const struct sim_node *other = &w->nodes[j];
            grants[j] = has[j] && other->alive && n->alive && !has_newer_log(other, n);
        }
        if (has[i] && n->alive && may_ask(n) && check_has_quorum(raft_membership(n->raft), grants, ids, SIM_NODES)) {
            return true;
        }
    }
    return false;
}

/* Could every configuration that some node has in force decide with the healthy ones alone? */
bool atlas_healthy_suffice(struct world *w, const bool *broken)
{
    bool has[SIM_NODES], any_lost = false;
    uint64_t ids[SIM_NODES];
    for (unsigned i = 0; i < SIM_NODES; i++) {
        ids[i] = i + 1;
        has[i] = w->nodes[i].exists && !broken[i] && !w->nodes[i].lost && w->nodes[i].rotten == 0;
        any_lost |= w->nodes[i].lost;
    }
    if (any_lost && !somebody_can_win(w, has, ids)) {
        return false;
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

/* The fault atlas: one disk at a time is bad, and never one that a majority of the others cannot
 * do without. With more of them no protocol could keep what was committed. */
static bool may_harm(struct world *w, const struct sim_node *n)
{
    bool without[SIM_NODES] = {false}, others = false;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        const struct sim_node *other = &w->nodes[i];
        others |= other != n && other->alive && raft_membership(other->raft)->count != 0;
        if (other->lost || other->rotten != 0 || (other->exists && !other->alive && other != n)) {
            return false;
        }
    }
    without[node_slot(w, n)] = true;
    return n->exists && others && atlas_healthy_suffice(w, without);
}

void atlas_restart_within(struct world *w, struct sim_node *n, uint64_t within_us)
{
    uint64_t after_us = sim_between(&w->engine, 1000, within_us);
    sim_schedule(&w->engine, w->engine.now_us + after_us, EV_RESTART, node_slot(w, n), 0, 0, NULL);
}

/* Synced entries from `from` on are gone; n is down. */
void faults_lose(struct world *w, struct sim_node *n, uint64_t from, bool silently)
{
    world_record(w, "lose %" PRIu64 " %" PRIu64 "%s", n->id, from, silently ? " silently" : "");
    uint64_t last = disk_last(&n->disk);
    n->lost = true;
    n->lost_silently = silently;
    n->lost_last = last;
    n->rotten = 0;
    disk_lose(&n->disk, from);
    if (silently) {
        n->disk.hard.commit = cf_min(n->disk.hard.commit, disk_last(&n->disk));
    }
    sim_reached(&w->engine, silently ? MARK_DISK_LOST_SILENTLY : MARK_DISK_LOST);
    sim_trace(&w->engine, "%" PRIu64 " loses %" PRIu64 " synced entries%s", n->id,
              last - disk_last(&n->disk), silently ? " and cannot know it" : "");
}

/* A disk that forgets what it had synced; the host notices at the start. */
void atlas_lose_some(struct world *w, struct sim_node *n)
{
    if (!may_harm(w, n)) {
        return;
    }
    uint64_t last = disk_last(&n->disk);
    faults_lose(w, n, sim_between(&w->engine, n->disk.base.index + 1, last + 1), false);
    atlas_restart_within(w, n, 100000);
    if (sim_below(&w->engine, 2) == 0) {
        sim_schedule(&w->engine,
                     w->engine.now_us + sim_between(&w->engine, 0, 6 * w->options.heartbeat_us),
                     EV_CUT_LEADER, 0, 0, 0, NULL);
    }
}

/* The first index from which on everybody else holds what n holds. */
static uint64_t held_by_all(struct world *w, const struct sim_node *n)
{
    uint64_t from = disk_last(&n->disk) + 1, term, found;
    while (disk_term(&n->disk, from - 1, &term) && from - 1 > n->disk.base.index) {
        for (unsigned i = 0; i < SIM_NODES; i++) {
            const struct sim_node *other = &w->nodes[i];
            bool has = disk_term(&other->disk, from - 1, &found) && found == term;
            if (other->exists && other != n && !has) {
                return from;
            }
        }
        from--;
    }
    return from;
}

/* Can nobody get a second answer to a question for which this node's vote was given? Whoever is durably in the
 * term of that vote, or beyond it, and no candidate of it asks for later terms only. */
static bool vote_is_spent(struct world *w, const struct sim_node *n)
{
    uint64_t term = n->disk.hard.term;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        const struct sim_node *other = &w->nodes[i];
        bool asks = other->alive && other->raft->role == RAFT_CANDIDATE && other->raft->term <= term;
        if (other->exists && other != n && (other->disk.hard.term < term || asks)) {
            return false;
        }
    }
    return true;
}

/* Term and vote go back to what they were at some time before; n is down. */
void faults_forget(struct world *w, struct sim_node *n, uint64_t term)
{
    world_record(w, "forget %" PRIu64 " %" PRIu64, n->id, term);
    sim_trace(&w->engine, "%" PRIu64 " forgets its vote in term %" PRIu64 ": back to %" PRIu64, n->id,
              n->disk.hard.term, term);
    n->disk.hard.term = term;
    n->disk.hard.vote = RAFT_NONE;
    unsigned slot = node_slot(w, n);
    size_t kept = 0;
    for (size_t i = 0; i < w->vote_count[slot]; i++) {
        if (w->votes[slot][i].term < term) {
            w->votes[slot][kept++] = w->votes[slot][i];
        }
    }
    w->vote_count[slot] = kept;
    sim_reached(&w->engine, MARK_VOTE_FORGOTTEN);
}

/* An older image of the disk comes back (a restored backup of the machine), whose end looks sound:
 * nothing shows the loss until the leader asks to commit what is not there (etcd#12483). Only what
 * all others hold is lost, and only a vote that nobody can ask for again: else nobody could tell, and
 * the id has to be given up (consensus.md 13.8). */
void atlas_restore_older_image(struct world *w, struct sim_node *n)
{
    uint64_t last = disk_last(&n->disk);
    if (!may_harm(w, n)) {
        return;
    }
    uint64_t from = cf_max(held_by_all(w, n), n->disk.flushed.applied + 1);
    if (from <= last) {
        faults_lose(w, n, sim_between(&w->engine, from, last), true);
        uint64_t least = 0;
        cf_ignore(!disk_term(&n->disk, disk_last(&n->disk), &least), "the last one is there, or the base");
        if (sim_chance(&w->engine, w->options.forget_permille) && n->disk.hard.vote != RAFT_NONE &&
            vote_is_spent(w, n)) {
            faults_forget(w, n, sim_between(&w->engine, least, n->disk.hard.term));
        }
        atlas_restart_within(w, n, 20000);
    }
}

/* A block of the log goes bad and shows only when it is read. */
void atlas_rot(struct world *w, struct sim_node *n)
{
    if (n->alive && n->disk.count > 0 && may_harm(w, n)) {
        n->rotten = sim_between(&w->engine, n->disk.base.index + 1, disk_last(&n->disk));
        cf_ignore(!disk_term(&n->disk, n->rotten, &n->rotten_term), "it is there");
        sim_trace(&w->engine, "%" PRIu64 " has a bad block at %" PRIu64, n->id, n->rotten);
    }
}

bool faults_is_rotten(const struct sim_node *n, uint64_t index)
{
    uint64_t term;
    return n->rotten == index && index != 0 && disk_term(&n->disk, index, &term) &&
           term == n->rotten_term && index > n->disk.base.index;
}

/* Whoever read it stops the process; the next start finds the log whole up to there, no further,
 * and says so (13.4: a bad entry is no torn tail, what stood above it may have been promised). */
void faults_rot_found(struct world *w, struct sim_node *n)
{
    uint64_t from = n->rotten;
    if (!faults_is_rotten(n, from)) {
        n->rotten = 0; /* cut off or compacted meanwhile */
        return;
    }
    if (n->alive) {
        node_crash(w, n, (size_t)sim_between(&w->engine, 0, n->disk.queue_count));
        atlas_restart_within(w, n, 100000);
    }
    if (faults_is_rotten(n, from)) {
        sim_reached(&w->engine, MARK_ROT_FOUND);
        faults_lose(w, n, from, false);
    }
    n->rotten = 0;
}
