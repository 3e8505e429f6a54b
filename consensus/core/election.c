/* consensus/core/election.c
 *
 * Elections: PreVote (thesis 9.6), stickiness (9.6, 6.4.1), the timer with its bias, votes.
 *
 *   follower --timeout--> pre-candidate --majority--> candidate --majority--> leader
 *       ^-------- a leader speaks, a higher term, refused by a majority --------'
 */
#include "consensus/core/raft_int.h"

/* Uniform in [from, to) tenths of T. */
static uint64_t draw(struct raft *r, uint64_t from, uint64_t to)
{
    uint64_t t = r->options.election_us;
    return t * from / 10 + cf_prng_below(&r->prng, t * (to - from) / 10);
}

bool raft_election_is_sole_voter(const struct raft *r)
{
    const struct raft_membership *m = &raft_config_in_force(r)->membership;
    for (uint32_t i = 0; i < m->count; i++) {
        bool votes = (m->members[i].role & (RAFT_VOTER | RAFT_OUTGOING)) != 0;
        if (votes && m->members[i].id != r->options.id) {
            return false;
        }
    }
    return raft_membership_votes(m, r->options.id);
}

void raft_election_reset_timer(struct raft *r)
{
    uint64_t timeout;
    if (r->role == RAFT_FOLLOWER && raft_election_is_sole_voter(r) &&
        raft_election_may_campaign(r) && !r->options.lease_reads && !raft_election_is_sticky(r)) {
        /* A node on its own serves as soon as it has started. Not with leases: who made it the only
         * voter may still lead, and count on T of quiet. */
        timeout = 0;
    } else if (r->failed_rounds >= 2) {
        timeout = draw(r, 10, 20); /* no bias may starve the rest (consensus.md 5.9) */
    } else if ((r->condition & RAFT_SEALED) != 0) {
        timeout = draw(r, 20, 30);
    } else if (r->options.use_priority) {
        timeout = r->options.preferred ? draw(r, 10, 13) : draw(r, 13, 20);
    } else {
        timeout = draw(r, 10, 20);
    }
    r->election_deadline_us = r->now_us + timeout;
}

bool raft_election_is_sticky(const struct raft *r)
{
    return r->role == RAFT_LEADER ||
           (!MUTANT(MUTANT_NO_STICKINESS) && r->leader_heard_us != 0 &&
            r->now_us < r->leader_heard_us + r->options.election_us);
}

/* Whether its vote, or its log, may be needed. One that an uncommitted entry of its own takes the
 * vote from still campaigns (without counting itself): it may be the only one whose log is new
 * enough for the others (thesis 4.2.2; scylladb#10618). */
static bool may_be_needed(const struct raft *r)
{
    return raft_membership_votes(&raft_config_in_force(r)->membership, r->options.id) ||
           (!MUTANT(MUTANT_DEMOTED_STAYS_OUT) &&
            raft_membership_votes(&raft_config_at(r, r->log.commit)->membership, r->options.id));
}

bool raft_election_may_campaign(const struct raft *r)
{
    return (r->condition & (RAFT_STALLED | RAFT_RECOVERING)) == 0 && !raft_is_removed(r) &&
           !r->installing && may_be_needed(r);
}

/* One term's leadership, candidacy or following ends here; everything tied to it does, too. */
void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader)
{
    assert(term >= r->term);
    if (r->role == RAFT_LEADER) {
        r->leadership_lost_term = r->term;
        r->lost_why = r->transfer_to != RAFT_NONE ? RAFT_LOSS_TRANSFER : RAFT_LOSS_TERM;
        r->lost_unheard_us = r->now_us - raft_replicate_heard_us(r);
        /* etcd#8334: an ex-leader must not refuse everybody */
        r->leader_heard_us = MUTANT(MUTANT_EXLEADER_STICKY) ? UINT64_MAX / 2 : 0;
        raft_replicate_stop(r);
        raft_read_fail_all(r, CF_NOT_LEADER);
    } else if (leader != r->leader || term != r->term) {
        raft_read_fail_all(r, CF_NOT_LEADER);
    }
    if (term != r->term) {
        r->term = term;
        r->vote = RAFT_NONE;
        r->hard_state_dirty = true;
        raft_outbox_drop_terms_below(r, term);
    }
    r->role = RAFT_FOLLOWER;
    r->leader = leader;
    r->own_vote_waits = r->transfer_campaign = false;
    if (leader != RAFT_NONE) {
        r->failed_rounds = 0;
    }
    raft_election_reset_timer(r);
}

void raft_step_down(struct raft *r, enum raft_loss why)
{
    r->counters.step_downs++;
    raft_become_follower(r, r->term, RAFT_NONE);
    r->lost_why = why;
}

static void become_leader(struct raft *r)
{
    r->role = RAFT_LEADER;
    r->leader = r->options.id;
    r->failed_rounds = 0;
    raft_replicate_start(r);
}

/* ---- asking --------------------------------------------------------------------------------- */

static void ask_everyone(struct raft *r, enum raft_msg_kind kind, uint64_t term, uint32_t flags)
{
    const struct raft_membership *m = &raft_config_in_force(r)->membership;
    for (uint32_t i = 0; i < m->count; i++) {
        bool votes = (m->members[i].role & (RAFT_VOTER | RAFT_OUTGOING)) != 0;
        if (!votes || m->members[i].id == r->options.id) {
            continue;
        }
        struct raft_msg msg = {.kind = kind,
                               .to = m->members[i].id,
                               .term = term,
                               .flags = flags,
                               .log_index = r->log.last,
                               .log_term = raft_log_last_term(&r->log)};
        raft_outbox_push(r, &msg);
    }
}

static bool record(struct raft *r, uint64_t voter, uint8_t vote)
{
    const struct raft_membership *m = &raft_config_in_force(r)->membership;
    const struct raft_member *member = raft_membership_find(m, voter);
    if (member == NULL || r->votes[member - m->members] != VOTE_UNKNOWN) {
        return false;
    }
    r->votes[member - m->members] = vote;
    return true;
}

/* VOTE_YES when won, VOTE_NO when it can't be won any more. */
static uint8_t tally(const struct raft *r)
{
    uint64_t granted[RAFT_MEMBERS_MAX] = {0}, possible[RAFT_MEMBERS_MAX] = {0};
    const struct raft_membership *m = &raft_config_in_force(r)->membership;
    for (uint32_t i = 0; i < m->count; i++) {
        granted[i] = r->votes[i] == VOTE_YES;
        possible[i] = r->votes[i] != VOTE_NO;
    }
    if (raft_quorum_value(m, granted) != 0) {
        return VOTE_YES;
    }
    return raft_quorum_value(m, possible) != 0 ? VOTE_UNKNOWN : VOTE_NO;
}

static void count_votes(struct raft *r)
{
    uint8_t result = tally(r);
    if (result == VOTE_NO) {
        r->counters.elections_lost++;
        r->failed_rounds++;
        r->role = RAFT_FOLLOWER; /* the timer runs on */
        r->own_vote_waits = false;
    } else if (result == VOTE_YES && r->role == RAFT_PRE_CANDIDATE) {
        raft_election_campaign(r, false);
    } else if (result == VOTE_YES) {
        become_leader(r);
    }
}

void raft_election_campaign(struct raft *r, bool transfer)
{
    r->role = RAFT_CANDIDATE;
    r->term++;
    r->vote = r->options.id;
    r->leader = RAFT_NONE;
    r->hard_state_dirty = true;
    r->transfer_campaign = transfer;
    r->counters.elections++;
    memset(r->votes, VOTE_UNKNOWN, sizeof(r->votes));
    raft_outbox_drop_terms_below(r, r->term);
    raft_election_reset_timer(r);
    /* The requests are held back until term and vote are durable, and so is the own vote: else a
     * crash right after the victory would let this node vote again in its own term. */
    ask_everyone(r, RAFT_MSG_VOTE, r->term, transfer ? RAFT_MSG_TRANSFER : 0);
    r->own_vote_waits = true;
    if (MUTANT(MUTANT_VOTE_BEFORE_SYNC)) {
        raft_election_own_vote(r);
    }
}

void raft_election_own_vote(struct raft *r)
{
    r->own_vote_waits = false;
    if (record(r, r->options.id, VOTE_YES)) {
        count_votes(r);
    }
}

void raft_election_timeout(struct raft *r)
{
    if (r->role != RAFT_FOLLOWER) {
        r->failed_rounds++;
        r->counters.elections_lost += r->role == RAFT_CANDIDATE;
    }
    if (r->leader != RAFT_NONE) {
        r->leader = RAFT_NONE;
        raft_read_fail_all(r, CF_NOT_LEADER);
    }
    r->role = RAFT_FOLLOWER;
    r->own_vote_waits = false;
    raft_election_reset_timer(r);
    if (!raft_election_may_campaign(r)) {
        return;
    }
    r->role = RAFT_PRE_CANDIDATE;
    r->counters.pre_votes++;
    memset(r->votes, VOTE_UNKNOWN, sizeof(r->votes));
    if (MUTANT(MUTANT_PREVOTE_CLEARS_VOTE)) {
        r->vote = RAFT_NONE;
        r->hard_state_dirty = true;
    }
    ask_everyone(r, RAFT_MSG_PRE_VOTE, r->term + 1, 0);
    if (record(r, r->options.id, VOTE_YES)) {
        count_votes(r);
    }
}

/* ---- answering ------------------------------------------------------------------------------ */

static bool log_is_new_enough(const struct raft *r, const struct raft_msg *m)
{
    uint64_t last_term = raft_log_last_term(&r->log);
    return m->log_term > last_term || (m->log_term == last_term && m->log_index >= r->log.last) ||
           MUTANT(MUTANT_GRANT_OLD_LOG);
}

/* Everything that both kinds have in common; counts why not. */
static bool may_grant(struct raft *r, const struct raft_msg *m)
{
    if ((r->condition & RAFT_RECOVERING) != 0 && !MUTANT(MUTANT_RECOVERING_VOTES)) {
        r->counters.votes_refused_condition++; /* it may have forgotten what it acknowledged */
        return false;
    }
    if (raft_amnesia_forgot(r, m)) {
        r->counters.votes_refused_condition++; /* the answer says what it lacks */
        return false;
    }
    if (!log_is_new_enough(r, m)) {
        r->counters.votes_refused_log++;
        return false;
    }
    return true;
}

static bool grants_pre_vote(struct raft *r, const struct raft_msg *m)
{
    if (raft_election_is_sticky(r) || r->now_us < r->quiet_until_us) {
        r->counters.votes_refused_sticky++;
        return false;
    }
    return m->term > r->term && may_grant(r, m);
}

static bool grants_vote(struct raft *r, const struct raft_msg *m)
{
    bool voted = r->vote != RAFT_NONE && r->vote != m->from;
    if ((voted && !MUTANT(MUTANT_VOTE_TWICE)) || (r->leader != RAFT_NONE && r->leader != m->from)) {
        r->counters.votes_refused_voted++;
        return false;
    }
    /* raft_step() refuses a higher term to a node that hears its leader; this one has learned of
     * the term in another way meanwhile, and the old leader may still hold a lease on its word. */
    bool quiet = raft_election_is_sticky(r) || r->now_us < r->quiet_until_us;
    if (quiet && (m->flags & RAFT_MSG_TRANSFER) == 0) {
        r->counters.votes_refused_sticky++;
        return false;
    }
    return may_grant(r, m);
}

/* The asker may have been removed without learning of it: the entry that did it was not sent to it
 * any more. Or it was never a member: the entry that made it one was cut with its leader's term. It
 * believes this only of a committed entry beyond its own configuration: up to there it is known what
 * was decided, whenever the configuration that lacks it was written. */
static void tell_removed(const struct raft *r, const struct raft_msg *m, struct raft_msg *reply)
{
    const struct raft_config *committed = raft_config_at(r, r->log.commit);
    if (MUTANT(MUTANT_REMOVED_NOT_TOLD)) {
        return;
    }
    uint64_t term;
    if (reply->reject && committed->membership.count != 0 &&
        raft_log_term(&r->log, r->log.commit, &term) &&
        raft_membership_find(&committed->membership, m->from) == NULL &&
        raft_membership_find(&raft_config_in_force(r)->membership, m->from) == NULL) {
        reply->flags |= RAFT_MSG_REMOVED;
        reply->hint_index = r->log.commit;
        reply->hint_term = term;
    }
}

/* PRE_VOTE of any term; VOTE of this term (raft_step() saw to it) or of an older one. A learner, or
 * a node that knows no configuration with the asker, answers, too: its view may be the stale one.
 */
void raft_election_on_vote(struct raft *r, const struct raft_msg *m)
{
    bool pre = m->kind == RAFT_MSG_PRE_VOTE;
    bool granted = pre ? grants_pre_vote(r, m) : m->term == r->term ? grants_vote(r, m) : false;
    if (granted && !pre) {
        /* A granted pre-vote changes nothing: no term, no vote, no timer (hashicorp/raft#609). */
        if (r->vote != m->from) {
            r->vote = m->from;
            r->hard_state_dirty = true;
        }
        raft_election_reset_timer(r);
    }
    if (granted && pre && MUTANT(MUTANT_PREVOTE_RESETS_TIMER)) {
        raft_election_reset_timer(r);
    }
    struct raft_msg reply = {.kind = pre ? RAFT_MSG_PRE_VOTE_R : RAFT_MSG_VOTE_R,
                             .to = m->from,
                             .term = granted && pre ? m->term : r->term,
                             .reject = !granted,
                             .flags = raft_own_flags(r),
                             .last_index = r->log.last};
    tell_removed(r, m, &reply);
    raft_outbox_push(r, &reply);
}

void raft_election_on_vote_reply(struct raft *r, const struct raft_msg *m)
{
    const struct raft_config *own = raft_config_in_force(r);
    /* What is committed of a later term is newer than an entry of an older one, wherever that stands:
     * it was never committed. */
    bool newer = m->hint_index > own->index || m->hint_term > own->term;
    if ((m->flags & RAFT_MSG_REMOVED) != 0 && m->reject && r->role != RAFT_LEADER && newer &&
        r->was_member) {
        r->told_removed = true;
        r->role = RAFT_FOLLOWER;
        return;
    }
    bool pre = m->kind == RAFT_MSG_PRE_VOTE_R;
    if (r->role != (pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE)) {
        return;
    }
    if (m->term != r->term + (pre && !m->reject ? 1 : 0)) {
        r->counters.dropped_stale++;
        return;
    }
    if (record(r, m->from, m->reject ? VOTE_NO : VOTE_YES)) {
        count_votes(r);
    }
}
