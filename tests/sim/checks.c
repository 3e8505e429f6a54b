/* tests/sim/checks.c: the observer. Invariants of consensus.md section 15, after every event. */
#include <inttypes.h>

#include "tests/sim/world.h"

#define ID PRIu64

static uint64_t *leader_of(struct world *w, uint64_t term)
{
    size_t old = w->term_capacity;
    raft_grow(&w->leader_of_term, &w->term_capacity, (size_t)term + 1, sizeof(uint64_t));
    if (w->term_capacity != old) {
        memset(w->leader_of_term + old, 0, (w->term_capacity - old) * sizeof(uint64_t));
    }
    return &w->leader_of_term[term];
}

static bool is_durable_at(const struct sim_node *n, uint64_t index, uint64_t term)
{
    uint64_t found;
    if (n->lost && index <= n->lost_last) {
        return true; /* it was */
    }
    return n->exists &&
           (n->disk.base.index > index || (disk_term(&n->disk, index, &found) && found == term));
}

/* ---- commits -------------------------------------------------------------------------------- */

static void first_commit(struct world *w, struct sim_node *n, uint64_t index)
{
    const struct sim_view_entry *entry = view_at(&n->view, index);
    bool has[SIM_NODES];
    uint64_t ids[SIM_NODES];
    if (n->raft->role != RAFT_LEADER && n->seen_role != RAFT_LEADER) {
        SIM_FAIL(w, "I-9", "node %" ID " commits %" ID " before its leader does", n->id, index);
    }
    for (unsigned i = 0; i < SIM_NODES; i++) {
        ids[i] = i + 1;
        has[i] = is_durable_at(&w->nodes[i], index, entry->term);
    }
    const struct raft_config *config = raft_config_at(n->raft, n->seen_last);
    if (!check_has_quorum(&config->membership, has, ids, SIM_NODES)) {
        SIM_FAIL(w, "I-9", "leader %" ID " commits %" ID "/%" ID ", which no majority has on disk",
                 n->id, index, entry->term);
    }
    struct sim_oracle_entry *o = view_oracle(w, index);
    *o = (struct sim_oracle_entry){entry->term, entry->chain, n->raft->term, 0};
    if (index > w->max_commit) {
        w->max_commit = index;
    }
}

static void check_commit(struct world *w, struct sim_node *n)
{
    uint64_t commit = n->raft->log.commit;
    if (commit < n->seen_commit) {
        SIM_FAIL(w, "I-6", "commit of node %" ID " fell to %" ID, n->id, commit);
    }
    if (commit == n->seen_commit) {
        return;
    }
    uint64_t top_term = 0;
    bool known = raft_log_term(&n->raft->log, commit, &top_term);
    bool first = commit > w->max_commit;
    if (!known || (first && n->raft->role == RAFT_LEADER && top_term != n->raft->term)) {
        SIM_FAIL(w, "I-11", "leader %" ID " of term %" ID " commits %" ID " of term %" ID, n->id,
                 n->raft->term, commit, top_term);
    }
    for (uint64_t i = n->seen_commit + 1; i <= commit; i++) {
        const struct sim_view_entry *entry = view_at(&n->view, i);
        const struct sim_oracle_entry *o = view_oracle(w, i);
        if (entry == NULL) {
            continue; /* below a snapshot that was installed */
        }
        if (o->commit_term == 0) {
            first_commit(w, n, i);
            if (entry->term < n->raft->term) {
                sim_reached(&w->engine, MARK_OLD_TERM_COMMITTED);
            }
        } else if (o->term != entry->term || o->chain != entry->chain) {
            SIM_FAIL(w, "I-5", "node %" ID " commits another entry at %" ID, n->id, i);
        }
    }
    n->seen_commit = commit;
}

/* ---- leaders -------------------------------------------------------------------------------- */

static void check_new_leader(struct world *w, struct sim_node *n)
{
    uint64_t term = n->raft->term;
    uint64_t *leader = leader_of(w, term);
    sim_reached(&w->engine, MARK_LEADER);
    if (*leader != 0 && *leader != n->id) {
        SIM_FAIL(w, "I-1", "nodes %" ID " and %" ID " both lead term %" ID, *leader, n->id, term);
    }
    *leader = n->id;
    if (term > w->max_leader_term) {
        w->max_leader_term = term;
    }
    for (uint64_t i = n->view.base; i < w->oracle_count; i++) {
        const struct sim_oracle_entry *o = &w->oracle[i];
        const struct sim_view_entry *entry = view_at(&n->view, i);
        if (o->commit_term != 0 && o->commit_term < term &&
            (entry == NULL || entry->term != o->term || entry->chain != o->chain)) {
            SIM_FAIL(w, "I-4", "leader %" ID " of term %" ID " lacks committed %" ID "/%" ID, n->id,
                     term, i, o->term);
        }
    }
}

static void check_peers(struct world *w, struct sim_node *n)
{
    struct raft *r = n->raft;
    for (size_t i = 0; i < r->peer_count; i++) {
        const struct raft_progress *p = &r->peers[i];
        const struct sim_node *peer = world_node(w, p->id);
        const struct sim_view_entry *entry = view_at(&n->view, p->match);
        if (p->match >= p->next || p->next > r->log.last + 1) {
            SIM_FAIL(w, "I-15", "leader %" ID ": match %" ID " next %" ID " last %" ID, n->id,
                     p->match, p->next, r->log.last);
        }
        if (peer->disk.hard.term == r->term && entry != NULL && p->match > 0 &&
            !is_durable_at(peer, p->match, entry->term)) {
            SIM_FAIL(w, "I-15", "leader %" ID " believes that %" ID " holds %" ID, n->id, p->id,
                     p->match);
        }
        if (p->id != n->id && raft_progress_window_full(p, &r->options)) {
            sim_reached(&w->engine, MARK_WINDOW_FULL);
        }
        if (p->ring_count > r->options.window_messages ||
            (p->ring_count > 1 &&
             p->ring_bytes > r->options.window_bytes + w->options.payload_max + 1024)) {
            SIM_FAIL(w, "I-16", "window of %" ID " for %" ID " overflows", n->id, p->id);
        }
    }
    unsigned uncommitted = 0;
    for (size_t i = 0; i < r->configs.count; i++) {
        uncommitted += r->configs.list[i]->index > r->log.commit;
    }
    if (uncommitted > 1) {
        SIM_FAIL(w, "I-12", "leader %" ID " has %u uncommitted configurations", n->id, uncommitted);
    }
}

static void check_role(struct world *w, struct sim_node *n)
{
    struct raft *r = n->raft;
    bool leads = r->role == RAFT_LEADER;
    const struct raft_membership *m = &raft_config_in_force(r)->membership;
    if (leads && raft_config_is_committed(r) && !raft_membership_is_joint(m) &&
        !raft_membership_votes(m, n->id)) {
        SIM_FAIL(w, "I-14", "node %" ID " leads a cluster that it is no voter of", n->id);
    }
    bool led = n->seen_role == RAFT_LEADER && n->seen_term == r->term;
    n->heard_us = leads ? 0 : n->heard_us; /* who led itself has heard nobody */
    if (leads && !led) {
        check_new_leader(w, n);
    }
    if (leads && led && r->log.last < n->seen_last) {
        SIM_FAIL(w, "I-2", "leader %" ID " removed its own entries", n->id);
    }
    if (r->term < n->seen_term) {
        SIM_FAIL(w, "I-7", "term of node %" ID " fell to %" ID, n->id, r->term);
    }
    if (leads) {
        check_peers(w, n);
    } else if (led && raft_is_removed(r)) {
        sim_reached(&w->engine, MARK_LEADER_REMOVED);
    }
}

/* ---- one node ------------------------------------------------------------------------------- */

static void check_config(struct world *w, struct sim_node *n)
{
    const struct sim_view *v = &n->view;
    uint64_t newest = v->base;
    for (size_t i = v->count; i-- > 1;) {
        if (v->at[i].config) {
            newest = v->base + i;
            break;
        }
    }
    const struct raft_config *config = raft_config_in_force(n->raft);
    if ((newest > v->base && config->index != newest) ||
        (newest == v->base && config->index > newest)) {
        SIM_FAIL(w, "I-12", "node %" ID " follows the configuration at %" ID ", not at %" ID, n->id,
                 config->index, newest);
    }
    if (n->raft->role == RAFT_LEADER && newest > v->base && n->raft->configs.count > 1 &&
        raft_membership_is_joint(&n->raft->configs.list[n->raft->configs.count - 2]->membership) &&
        !raft_membership_is_joint(&config->membership)) {
        sim_reached(&w->engine, MARK_JOINT_LEFT);
    }
}

void check_node(struct world *w, struct sim_node *n)
{
    struct raft *r = n->raft;
    if (view_sync(w, n)) {
        check_config(w, n);
    }
    check_commit(w, n);
    check_role(w, n);
    uint64_t durable_term, term;
    if (!r->installing &&
        (!raft_log_term(&r->log, r->log.durable, &term) ||
         !(n->disk.base.index > r->log.durable ||
           (disk_term(&n->disk, r->log.durable, &durable_term) && durable_term == term)))) {
        SIM_FAIL(w, "I-21", "node %" ID " takes %" ID " for durable", n->id, r->log.durable);
    }
    bool recovering = (r->condition & RAFT_RECOVERING) != 0;
    if (recovering && !n->lost) {
        SIM_FAIL(w, "recovering", "node %" ID " believes that it lost data", n->id);
    }
    if (recovering && r->role != RAFT_FOLLOWER) {
        SIM_FAIL(w, "recovering", "node %" ID " campaigns with a broken log", n->id);
    }
    if (recovering && n->lost_silently) {
        n->lost_silently = false; /* it was found out */
        sim_reached(&w->engine, MARK_COMMIT_BEYOND_LAST);
    }
    bool whole = n->lost_silently ? disk_last(&n->disk) >= n->lost_last : !recovering;
    if (n->lost && whole) {
        n->lost = n->lost_silently = false;
        sim_reached(&w->engine, MARK_RECOVERED);
    }
    if (n->stalled_us > 3 * w->options.election_us && !raft_election_is_sole_voter(r)) {
        SIM_FAIL(w, "stall", "node %" ID " leads on with a disk that does not move", n->id);
    }
    if (r->outbox_count > RAFT_OUTBOX_MAX || r->write_count > RAFT_WRITES_MAX ||
        r->read_count > r->options.reads_max) {
        SIM_FAIL(w, "I-25", "a queue of node %" ID " overflows", n->id);
    }
    n->seen_term = r->term;
    n->seen_role = r->role;
    n->seen_last = r->log.last;
}

void check_restarted(struct world *w, struct sim_node *n)
{
    struct sim_disk *disk = &n->disk;
    view_reset(w, &n->view, disk->base.index, disk->base.term);
    for (size_t i = 0; i < disk->count; i++) {
        if (raft_entry_check(disk->log[i], NULL) != CF_OK) {
            SIM_FAIL(w, "I-24", "a damaged entry on the disk of node %" ID, n->id);
        }
        view_add(w, n, disk->log[i]);
    }
    n->seen_commit = disk->base.index;
    n->seen_last = disk_last(disk);
    check_config(w, n);
    if (n->state.applied > 0 && view_oracle(w, n->state.applied)->chain != n->state.chain) {
        SIM_FAIL(w, "I-5", "node %" ID " comes back with another state at %" ID, n->id,
                 n->state.applied);
    }
    for (size_t i = 0; i < w->vote_count[n->id - 1]; i++) {
        const struct sim_vote *vote = &w->votes[n->id - 1][i];
        if (vote->term > n->raft->term ||
            (vote->term == n->raft->term && vote->vote != n->raft->vote)) {
            SIM_FAIL(w, "I-7", "node %" ID " forgot its vote in term %" ID, n->id, vote->term);
        }
    }
    n->seen_term = n->raft->term;
}

/* ---- what comes to a node ------------------------------------------------------------------- */

static struct {
    uint64_t term, vote, deadline_us;
    size_t outbox;
    bool hears; /* a leader, within T of its clock */
} before_step;

void check_before_step(struct world *w, struct sim_node *n, const struct raft_msg *m)
{
    (void)m;
    const struct raft *r = n->raft;
    before_step.term = r->term;
    before_step.vote = r->vote;
    before_step.deadline_us = r->election_deadline_us;
    before_step.outbox = r->outbox_count;
    before_step.hears =
        r->role == RAFT_LEADER ||
        (n->heard_us != 0 && node_now(w, n) < n->heard_us + w->options.election_us);
}

/* Did this step answer with a grant? */
static bool granted(const struct raft *r, enum raft_msg_kind kind)
{
    for (size_t i = before_step.outbox; i < r->outbox_count; i++) {
        if (r->outbox[i].msg.kind == kind && !r->outbox[i].msg.reject) {
            return true;
        }
    }
    return false;
}

static void check_contact(struct world *w, struct sim_node *n, const struct raft_msg *m)
{
    const struct raft *r = n->raft;
    if (m->term != r->term || r->leader != m->from) {
        return;
    }
    n->heard_us = node_now(w, n);
    /* Also when it was rejected: who is being repaired keeps quiet (redpanda#30815). */
    if (r->election_deadline_us < n->heard_us + w->options.election_us &&
        !raft_election_is_sole_voter(r)) {
        SIM_FAIL(w, "contact", "node %" ID " heard its leader and is about to campaign", n->id);
    }
    if (m->kind == RAFT_MSG_HEARTBEAT && m->commit > r->log.last &&
        (r->condition & RAFT_RECOVERING) == 0) {
        SIM_FAIL(w, "recovering", "node %" ID " is asked to commit %" ID " and has lost it", n->id,
                 m->commit);
    }
}

void check_after_step(struct world *w, struct sim_node *n, const struct raft_msg *m)
{
    const struct raft *r = n->raft;
    bool sticks = before_step.hears && (m->flags & RAFT_MSG_TRANSFER) == 0;
    if (m->kind == RAFT_MSG_PRE_VOTE) {
        if (r->term != before_step.term || r->vote != before_step.vote ||
            r->election_deadline_us != before_step.deadline_us) {
            SIM_FAIL(w, "pre-vote", "asking node %" ID " for a pre-vote changed it", n->id);
        }
        if (sticks && granted(r, RAFT_MSG_PRE_VOTE_R)) {
            SIM_FAIL(w, "sticky", "node %" ID " hears its leader and grants a pre-vote", n->id);
        }
    } else if (m->kind == RAFT_MSG_VOTE) {
        if (sticks && granted(r, RAFT_MSG_VOTE_R)) {
            SIM_FAIL(w, "sticky", "node %" ID " hears its leader and grants a vote", n->id);
        }
    } else if (m->kind == RAFT_MSG_READ_INDEX_R) {
        n->reads_asked = 0;
    } else if (m->kind == RAFT_MSG_APPEND || m->kind == RAFT_MSG_HEARTBEAT) {
        check_contact(w, n, m);
    }
}

/* ---- what leaves a node --------------------------------------------------------------------- */

static void promise_vote(struct world *w, struct sim_node *n, uint64_t term, uint64_t vote)
{
    unsigned slot = node_slot(w, n);
    if (n->disk.hard.term != term || n->disk.hard.vote != vote) {
        SIM_FAIL(w, "I-8", "a vote of node %" ID " in term %" ID " leaves before it is durable",
                 n->id, term);
    }
    for (size_t i = 0; i < w->vote_count[slot]; i++) {
        if (w->votes[slot][i].term == term) {
            if (w->votes[slot][i].vote != vote) {
                SIM_FAIL(w, "I-7", "node %" ID " votes twice in term %" ID, n->id, term);
            }
            return;
        }
    }
    raft_grow(&w->votes[slot], &w->vote_capacity[slot], w->vote_count[slot] + 1,
              sizeof(w->votes[slot][0]));
    w->votes[slot][w->vote_count[slot]++] = (struct sim_vote){term, vote};
}

/* Who is told to take over has all that clients were promised. Between the making of the message
 * and its leaving, the transfer may have ended, and the leader may have left a joint configuration. */
static void check_handover(struct world *w, struct sim_node *n, uint64_t to)
{
    const struct raft *r = n->raft;
    const struct raft_progress *p = raft_replicate_peer(n->raft, to);
    if (r->transfer_to != to || p == NULL || (p->condition & RAFT_RECOVERING) != 0) {
        return;
    }
    for (uint64_t i = p->match + 1; i <= r->log.last; i++) {
        const struct sim_view_entry *entry = view_at(&n->view, i);
        if (entry == NULL || !entry->config) {
            SIM_FAIL(w, "transfer", "node %" ID " hands over to %" ID ", which lacks %" ID, n->id,
                     to, i);
        }
    }
}

void check_message(struct world *w, struct sim_node *n, const struct raft_msg *m)
{
    bool asks = m->kind == RAFT_MSG_PRE_VOTE || (m->kind == RAFT_MSG_PRE_VOTE_R && !m->reject);
    if (!asks && m->term > n->disk.hard.term) {
        SIM_FAIL(w, "I-8", "node %" ID " speaks of term %" ID " before it is durable", n->id,
                 m->term);
    }
    if (m->kind == RAFT_MSG_APPEND_R && m->reject && m->hint_index + 1 < m->log_index) {
        sim_reached(&w->engine, MARK_BACKTRACKED);
    }
    if (m->kind == RAFT_MSG_READ_INDEX && ++n->reads_asked > 1) {
        sim_reached(&w->engine, MARK_READ_RETRIED);
    }
    if (m->kind == RAFT_MSG_VOTE) {
        promise_vote(w, n, m->term, n->id);
    } else if (m->kind == RAFT_MSG_VOTE_R && !m->reject) {
        promise_vote(w, n, m->term, m->to);
    } else if (m->kind == RAFT_MSG_TIMEOUT_NOW && n->raft->role == RAFT_LEADER) {
        check_handover(w, n, m->to);
    } else if (m->kind == RAFT_MSG_APPEND_R && !m->reject) {
        const struct sim_view_entry *entry = view_at(&n->view, m->log_index);
        if (entry != NULL && !is_durable_at(n, m->log_index, entry->term)) {
            SIM_FAIL(w, "I-8", "node %" ID " acknowledges %" ID " before it is durable", n->id,
                     m->log_index);
        }
    }
}

void check_apply(struct world *w, struct sim_node *n, const struct raft_entry *entry)
{
    const struct sim_oracle_entry *o = view_oracle(w, entry->index);
    if (o->commit_term == 0) {
        SIM_FAIL(w, "I-10", "node %" ID " applies %" ID ", which is not committed", n->id,
                 entry->index);
    }
    if (entry->flags > n->level) {
        SIM_FAIL(w, "upgrade", "node %" ID " of level %u is to apply what it cannot read", n->id,
                 n->level);
    }
    if (o->term != entry->term || o->chain != n->state.chain) {
        SIM_FAIL(w, "I-5", "node %" ID " applies another entry at %" ID, n->id, entry->index);
    }
    if (entry->index > n->raft->log.commit) {
        SIM_FAIL(w, "I-10", "node %" ID " applies %" ID " beyond its commit", n->id, entry->index);
    }
}

void check_snapshot(struct world *w, const struct raft_base *base, const struct sim_state *state)
{
    const struct sim_oracle_entry *o = view_oracle(w, base->index);
    if (o->commit_term == 0 || o->term != base->term || o->chain != state->chain ||
        state->applied != base->index) {
        SIM_FAIL(w, "I-17", "a snapshot at %" ID "/%" ID " is not what was committed", base->index,
                 base->term);
    }
    /* Its configuration is the newest committed one at or below its index. */
    const struct sim_config_seen *newest = NULL;
    for (size_t i = 0; i < w->config_count; i++) {
        const struct sim_config_seen *c = &w->configs[i];
        if (c->index <= base->index && view_oracle(w, c->index)->term == c->term &&
            (newest == NULL || c->index > newest->index)) {
            newest = c;
        }
    }
    if (newest != NULL && !raft_membership_equal(&newest->membership, &base->membership)) {
        SIM_FAIL(w, "I-17", "a snapshot at %" ID " carries another configuration", base->index);
    }
}

void check_done(struct world *w)
{
    for (unsigned i = 0; i < SIM_NODES; i++) {
        cf_free(w->votes[i]);
    }
    cf_buf_done(&w->frame);
    cf_free(w->oracle);
    cf_free(w->leader_of_term);
    cf_free(w->chains);
    cf_free(w->configs);
}
