/* consensus/core/raft.c: creation, time, dispatch of messages, proposals, questions. */
#include "consensus/core/raft_int.h"

#ifdef RAFT_MUTATIONS
enum raft_mutant raft_mutation;
#endif

void raft_options_default(struct raft_options *options)
{
    *options = (struct raft_options){.heartbeat_us = 50000, .election_us = 500000};
}

static void fill_defaults(struct raft_options *o)
{
    o->append_bytes_max = o->append_bytes_max != 0 ? o->append_bytes_max : (size_t)1 << 20;
    o->append_entries_max = o->append_entries_max != 0 ? o->append_entries_max : 1024;
    o->window_messages = o->window_messages != 0 ? o->window_messages : 256;
    o->window_bytes = o->window_bytes != 0 ? o->window_bytes : (size_t)16 << 20;
    o->uncommitted_bytes_max =
        o->uncommitted_bytes_max != 0 ? o->uncommitted_bytes_max : (size_t)64 << 20;
    o->reads_max = o->reads_max != 0 ? o->reads_max : 65536;
}

static cf_status load_configs(struct raft *r, const struct raft_start *start, struct cf_error *err)
{
    uint64_t after = start->base.index;
    raft_config_reset(r, &start->base);
    for (size_t i = 0; i < start->config_count && !MUTANT(MUTANT_RELOAD_BASE_CONFIG); i++) {
        const struct raft_entry *entry = start->configs[i];
        struct raft_membership m;
        if (entry->type != RAFT_ENTRY_CONFIG || entry->index <= after ||
            !raft_log_matches(&r->log, entry->index, entry->term)) {
            return cf_fail(err, CF_CORRUPT, "the log's configurations do not fit the log");
        }
        CF_TRY(raft_membership_decode(entry->payload, &m, err));
        raft_config_push(r, entry->index, entry->term, &m);
        after = entry->index;
    }
    return CF_OK;
}

static cf_status load(struct raft *r, const struct raft_start *start, struct cf_error *err)
{
    const struct raft_hard_state *hard = &start->hard_state;
    if (start->base.membership.count != 0) {
        CF_TRY(raft_membership_check(&start->base.membership, err));
    }
    if (start->applied < start->base.index) {
        return cf_fail(err, CF_CORRUPT, "the log begins above what was applied");
    }
    raft_log_init(&r->log, start->base.index, start->base.term);
    CF_TRY(raft_log_load(&r->log, start->last_index, &r->options.reader, err));
    CF_TRY(load_configs(r, start, err));
    r->term = hard->term > raft_log_last_term(&r->log) ? hard->term : raft_log_last_term(&r->log);
    r->vote = r->term == hard->term ? hard->vote : RAFT_NONE;
    if (start->applied > r->log.last || hard->commit > r->log.last ||
        hard->term < raft_log_last_term(&r->log)) {
        r->condition |= RAFT_RECOVERING; /* entries or hard state were lost */
    }
    uint64_t commit = hard->commit > start->applied ? hard->commit : start->applied;
    commit = commit > start->base.index ? commit : start->base.index;
    r->log.commit = commit < r->log.last ? commit : r->log.last;
    r->applied = r->apply_handed = start->applied;
    return CF_OK;
}

cf_status raft_new(const struct raft_options *options, const struct raft_start *start,
                   uint64_t now_us, struct raft **ret, struct cf_error *err)
{
    if (options->id == RAFT_NONE || options->heartbeat_us == 0 ||
        options->election_us < 2 * options->heartbeat_us || options->reader.entries == NULL ||
        options->reader.term_of == NULL) {
        return cf_fail(err, CF_INVALID, "impossible options of the consensus core");
    }
    CF_OWNED(raft) r = cf_new(struct raft);
    r->options = *options;
    fill_defaults(&r->options);
    r->now_us = now_us;
    r->next_write = 1;
    r->condition = options->condition;
    cf_prng_seed(&r->prng, options->seed);
    CF_TRY(load(r, start, err));
    if (options->lease_reads) {
        r->quiet_until_us = now_us + options->election_us;
    }
    raft_become_follower(r, r->term, RAFT_NONE);
    r->membership_changed = true;
    *ret = raft_take(&r);
    return CF_OK;
}

void raft_free(struct raft *r)
{
    if (r == NULL) {
        return;
    }
    raft_replicate_stop(r);
    raft_ready_done(r);
    raft_configs_done(&r->configs);
    raft_log_done(&r->log);
    cf_free(r->reads);
    cf_free(r);
}

/* ---- time ----------------------------------------------------------------------------------- */

void raft_advance_time(struct raft *r, uint64_t now_us)
{
    r->now_us = now_us > r->now_us ? now_us : r->now_us;
}

/* The process stood still until long after the deadline: what the others said meanwhile waits
 * unread behind this tick, and has to be heard before anybody is given up. */
static bool woke_late(const struct raft *r, uint64_t deadline_us)
{
    return r->now_us > deadline_us + r->options.election_us / 2;
}

static void tick_leader(struct raft *r)
{
    if (r->now_us < r->heartbeat_due_us) {
        return;
    }
    bool heard = raft_replicate_has_quorum(r) || MUTANT(MUTANT_NO_CHECK_QUORUM);
    if (!woke_late(r, r->heartbeat_due_us) && !heard) {
        /* Nobody hears this leader: it must not keep those who do from electing another
         * (CheckQuorum; openraft#2080). */
        raft_step_down(r, RAFT_LOSS_QUORUM);
        return;
    }
    /* Rounds that reads begin do not move this timer: CheckQuorum and transfers hang on it. */
    r->heartbeat_due_us = r->now_us + r->options.heartbeat_us;
    raft_replicate_heartbeat(r);
    raft_transfer_tick(r);
}

void raft_tick(struct raft *r, uint64_t now_us)
{
    raft_advance_time(r, now_us);
    raft_read_tick(r);
    if (r->role == RAFT_LEADER) {
        tick_leader(r);
    } else if (r->now_us >= r->election_deadline_us) {
        if (woke_late(r, r->election_deadline_us) && !raft_election_is_sole_voter(r)) {
            r->election_deadline_us = r->now_us + r->options.heartbeat_us;
        } else {
            raft_election_timeout(r);
        }
    }
}

uint64_t raft_deadline_us(const struct raft *r)
{
    uint64_t own = r->role == RAFT_LEADER ? r->heartbeat_due_us : r->election_deadline_us;
    uint64_t reads = raft_read_deadline_us(r);
    return own < reads ? own : reads;
}

/* ---- messages ------------------------------------------------------------------------------- */

static void tell_current_term(struct raft *r, const struct raft_msg *m)
{
    struct raft_msg reply = {.kind = RAFT_MSG_APPEND_R,
                             .to = m->from,
                             .term = r->term,
                             .flags = raft_own_flags(r),
                             .reject = true,
                             .last_index = r->log.last};
    raft_outbox_push(r, &reply);
}

/* Brings the terms in line. False when that is all there is to do. */
static bool settle_term(struct raft *r, const struct raft_msg *m)
{
    bool from_leader = m->kind == RAFT_MSG_APPEND || m->kind == RAFT_MSG_HEARTBEAT ||
                       m->kind == RAFT_MSG_TIMEOUT_NOW;
    bool asks = m->kind == RAFT_MSG_PRE_VOTE || (m->kind == RAFT_MSG_PRE_VOTE_R && !m->reject);
    if (m->term == r->term || asks) {
        return true;
    }
    if (m->term < r->term) {
        r->counters.dropped_stale++;
        if (from_leader || m->kind == RAFT_MSG_READ_INDEX) {
            tell_current_term(r, m); /* silence would leave it stuck (consensus.md 5.5) */
        }
        return m->kind == RAFT_MSG_VOTE;
    }
    if (m->kind == RAFT_MSG_VOTE && (m->flags & RAFT_MSG_TRANSFER) == 0 &&
        raft_election_is_sticky(r)) {
        r->counters.votes_refused_sticky++;
        return false;
    }
    raft_become_follower(r, m->term, from_leader ? m->from : RAFT_NONE);
    return true;
}

void raft_step(struct raft *r, uint64_t now_us, const struct raft_msg *m)
{
    raft_advance_time(r, now_us);
    if (m->to != r->options.id || m->from == RAFT_NONE || m->from == r->options.id ||
        m->kind < RAFT_MSG_PRE_VOTE || m->kind >= RAFT_MSG_KINDS || m->term == 0 ||
        m->term > RAFT_TERM_MAX) {
        r->counters.dropped_nonsense++;
        return;
    }
    if (!settle_term(r, m)) {
        return;
    }
    raft_amnesia_hear(r, m);
    switch (m->kind) {
    case RAFT_MSG_PRE_VOTE:
    case RAFT_MSG_VOTE:
        raft_election_on_vote(r, m);
        break;
    case RAFT_MSG_PRE_VOTE_R:
    case RAFT_MSG_VOTE_R:
        raft_election_on_vote_reply(r, m);
        break;
    case RAFT_MSG_APPEND:
        raft_follow_on_append(r, m);
        break;
    case RAFT_MSG_HEARTBEAT:
        raft_follow_on_heartbeat(r, m);
        break;
    case RAFT_MSG_APPEND_R:
        if (r->role == RAFT_LEADER) {
            raft_replicate_on_append_reply(r, m);
        }
        break;
    case RAFT_MSG_HEARTBEAT_R:
        if (r->role == RAFT_LEADER) {
            raft_replicate_on_heartbeat_reply(r, m);
        }
        break;
    case RAFT_MSG_TIMEOUT_NOW:
        raft_transfer_on_timeout_now(r, m);
        break;
    case RAFT_MSG_READ_INDEX:
        raft_read_on_request(r, m);
        break;
    case RAFT_MSG_READ_INDEX_R:
        raft_read_on_reply(r, m);
        break;
    case RAFT_MSG_KINDS:
        break;
    }
}

uint32_t raft_own_flags(const struct raft *r)
{
    return ((r->condition & RAFT_SEALED) != 0 ? RAFT_MSG_SEALED : 0) |
           ((r->condition & RAFT_STALLED) != 0 ? RAFT_MSG_STALLED : 0) |
           ((r->condition & RAFT_RECOVERING) != 0 ? RAFT_MSG_RECOVERING : 0);
}

/* ---- proposals and completions -------------------------------------------------------------- */

static cf_status check_proposal(const struct raft *r, struct raft_entry *const *entries,
                                size_t count, struct cf_error *err)
{
    if (r->role != RAFT_LEADER) {
        return cf_fail(err, CF_NOT_LEADER, "this node does not lead the cluster");
    }
    if (r->transfer_to != RAFT_NONE && !MUTANT(MUTANT_TRANSFER_PROPOSES)) {
        return cf_fail(err, CF_BUSY, "leadership is being handed over");
    }
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bool may = entries[i]->type == RAFT_ENTRY_DATA || entries[i]->type == RAFT_ENTRY_BARRIER ||
                   entries[i]->type == RAFT_ENTRY_DATA_BATCH;
        if (!may || entries[i]->index != 0) {
            return cf_fail(err, CF_INVALID, "this entry may not be proposed");
        }
        bytes += raft_entry_size(entries[i]);
    }
    if (count == 0) {
        return cf_fail(err, CF_INVALID, "nothing was proposed");
    }
    if (r->log.tail_bytes > 0 && r->log.tail_bytes + bytes > r->options.uncommitted_bytes_max) {
        return cf_fail(err, CF_BUSY, "too much is waiting to be committed, try again");
    }
    return CF_OK;
}

cf_status raft_propose(struct raft *r, uint64_t now_us, struct raft_entry *const *entries,
                       size_t count, uint64_t *ret_index, struct cf_error *err)
{
    raft_advance_time(r, now_us);
    CF_TRY(check_proposal(r, entries, count, err));
    *ret_index = r->log.last + 1;
    for (size_t i = 0; i < count; i++) {
        raft_replicate_append(r, entries[i]);
    }
    return CF_OK;
}

void raft_set_commit(struct raft *r, uint64_t commit)
{
    if (commit <= r->log.commit) {
        return;
    }
    assert(commit <= r->log.last);
    r->log.commit = commit;
    raft_log_trim(&r->log, r->role == RAFT_LEADER, r->options.uncommitted_bytes_max);
    raft_config_committed(r);
}

void raft_truncate(struct raft *r, uint64_t from)
{
    r->counters.truncations++;
    raft_ready_truncated(r, from);
    raft_log_truncate(&r->log, from);
    raft_config_rollback(r, from);
}

void raft_on_applied(struct raft *r, uint64_t now_us, uint64_t index)
{
    raft_advance_time(r, now_us);
    if (index > r->applied && index <= r->apply_handed) {
        r->applied = index;
    }
}

void raft_on_unreachable(struct raft *r, uint64_t now_us, uint64_t peer)
{
    raft_advance_time(r, now_us);
    struct raft_progress *p = r->role == RAFT_LEADER ? raft_replicate_peer(r, peer) : NULL;
    if (p != NULL && p->state == RAFT_REPLICATE) {
        raft_progress_probe(p, p->match + 1);
        p->paused = true; /* until it is heard again, or the next heartbeat */
    }
}

void raft_on_log_ready(struct raft *r, uint64_t now_us)
{
    raft_advance_time(r, now_us);
    for (size_t i = 0; i < r->peer_count; i++) {
        r->peers[i].reader_busy = false;
    }
}

void raft_set_condition(struct raft *r, uint64_t now_us, uint32_t condition)
{
    raft_advance_time(r, now_us);
    uint32_t before = r->condition;
    r->condition =
        (condition & (RAFT_SEALED | RAFT_STALLED | RAFT_RECOVERING | RAFT_AMNESIAC)) |
        (before & (RAFT_RECOVERING | RAFT_AMNESIAC));
    if ((r->condition & ~before & RAFT_RECOVERING) != 0) {
        r->recover_to = 0;
    }
    bool worse = (r->condition & ~before & (RAFT_STALLED | RAFT_RECOVERING)) != 0 &&
                 !MUTANT(MUTANT_STALLED_LEADS);
    if (r->role == RAFT_LEADER && worse && r->transfer_to == RAFT_NONE &&
        raft_transfer(r, now_us, RAFT_NONE, NULL) != CF_OK) {
        raft_step_down(r, RAFT_LOSS_DISK);
    }
}

/* ---- questions ------------------------------------------------------------------------------ */

void raft_fill_soft(const struct raft *r, struct raft_soft_state *ret)
{
    *ret = (struct raft_soft_state){.role = r->role,
                                    .term = r->term,
                                    .leader = r->leader,
                                    .leader_ready = raft_read_is_ready(r),
                                    .removed = raft_is_removed(r),
                                    .condition = r->condition};
}

void raft_status(const struct raft *r, struct raft_status *ret)
{
    *ret = (struct raft_status){.id = r->options.id,
                                .term = r->term,
                                .vote = r->vote,
                                .leader = r->leader,
                                .commit = r->log.commit,
                                .applied = r->applied,
                                .durable = r->log.durable,
                                .last_index = r->log.last,
                                .last_term = raft_log_last_term(&r->log),
                                .base_index = r->log.base_index,
                                .base_term = r->log.base_term,
                                .transfer_to = r->transfer_to,
                                .config_index = raft_config_in_force(r)->index,
                                .config_committed = raft_config_is_committed(r),
                                .joint =
                                    raft_membership_is_joint(&raft_config_in_force(r)->membership),
                                .uncommitted_bytes = r->log.tail_bytes,
                                .reads_waiting = r->read_count,
                                .writes_in_flight = r->write_count,
                                .leader_heard_us = r->leader_heard_us};
    raft_fill_soft(r, &ret->soft);
}

void raft_counters(const struct raft *r, struct raft_counters *ret)
{
    *ret = r->counters;
}

const struct raft_membership *raft_membership(const struct raft *r)
{
    return &raft_config_in_force(r)->membership;
}

size_t raft_peers(const struct raft *r, struct raft_peer_status *ret, size_t max)
{
    for (size_t i = 0; i < r->peer_count && i < max; i++) {
        const struct raft_progress *p = &r->peers[i];
        ret[i] = (struct raft_peer_status){.id = p->id,
                                           .state = p->state,
                                           .match = p->match,
                                           .next = p->next,
                                           .last_index = p->last_index,
                                           .condition = p->condition,
                                           .heard_us = p->heard_us,
                                           .inflight_messages = p->ring_count,
                                           .inflight_bytes = p->ring_bytes};
    }
    return r->peer_count;
}

const char *raft_role_name(enum raft_role role)
{
    static const char *const names[] = {"follower", "pre-candidate", "candidate", "leader"};
    return (unsigned)role < CF_LENGTH(names) ? names[role] : "?";
}

const char *raft_loss_text(enum raft_loss why)
{
    static const char *const texts[] = {"no reason",
                                        "another node began a later term",
                                        "it was handed over",
                                        "no majority answered for an election timeout",
                                        "the disk stands still or has lost data",
                                        "this node was removed"};
    return (unsigned)why < CF_LENGTH(texts) ? texts[why] : "?";
}

const char *raft_msg_kind_name(enum raft_msg_kind kind)
{
    static const char *const names[] = {"?",
                                        "pre-vote",
                                        "pre-vote-reply",
                                        "vote",
                                        "vote-reply",
                                        "append",
                                        "append-reply",
                                        "heartbeat",
                                        "heartbeat-reply",
                                        "timeout-now",
                                        "read-index",
                                        "read-index-reply"};
    return (unsigned)kind < CF_LENGTH(names) ? names[kind] : "?";
}
