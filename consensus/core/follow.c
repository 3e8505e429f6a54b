/* consensus/core/follow.c: a follower's side of the log: what it accepts, acknowledges, commits. */
#include "consensus/core/raft_int.h"

/* The sender leads this term (raft_step() has brought the terms in line). */
bool raft_follow_contact(struct raft *r, uint64_t from)
{
    if (r->role == RAFT_LEADER || (r->leader != RAFT_NONE && r->leader != from)) {
        r->counters.dropped_nonsense++; /* two leaders in one term: cannot be */
        return false;
    }
    if (r->role != RAFT_FOLLOWER || r->leader != from) {
        raft_become_follower(r, r->term, from);
    }
    r->failed_rounds = 0;
    r->leader_heard_us = r->now_us;
    r->told_removed = false;
    /* Also when the message is rejected below: a follower that is being repaired must not start
     * elections (redpanda#30815). */
    raft_election_reset_timer(r);
    return true;
}

static bool entries_are_sound(const struct raft_msg *m)
{
    uint64_t term = m->log_term;
    if (m->entry_count > 0 && m->entries == NULL) {
        return false;
    }
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct raft_entry *entry = m->entries[i];
        struct raft_membership unused;
        if (entry == NULL || entry->index != m->log_index + 1 + i || entry->term < term ||
            entry->term > m->term) {
            return false;
        }
        if (entry->type == RAFT_ENTRY_CONFIG &&
            raft_membership_decode(entry->payload, &unused, NULL) != CF_OK) {
            return false;
        }
        term = entry->term;
    }
    return true;
}

static void reject(struct raft *r, const struct raft_msg *m)
{
    /* The leader goes on at its own last entry of no later term than the hint's: round trips are
     * counted in terms, not in entries (thesis, end of 3.5). */
    uint64_t hint = raft_log_before_term(&r->log, m->log_index, m->log_term), term = 0;
    bool known = raft_log_term(&r->log, hint, &term);
    assert(known);
    struct raft_msg reply = {.kind = RAFT_MSG_APPEND_R,
                             .to = m->from,
                             .term = r->term,
                             .flags = raft_own_flags(r),
                             .reject = true,
                             .log_index = m->log_index,
                             .log_term = m->log_term,
                             .hint_index = hint,
                             .hint_term = term,
                             .last_index = r->log.last,
                             .round = m->round};
    raft_outbox_push(r, &reply);
}

void raft_follow_acknowledge(struct raft *r, uint64_t index, uint64_t round)
{
    struct raft_msg reply = {.kind = RAFT_MSG_APPEND_R,
                             .to = r->leader,
                             .term = r->term,
                             .flags = raft_own_flags(r),
                             .log_index = index,
                             .last_index = r->log.last,
                             .round = round};
    raft_outbox_push_ack(r, &reply);
}

/* Skips what is there already; cuts at the first conflict; appends the rest. False when that would
 * cut what is committed: some node's disk has lied. */
static bool store_entries(struct raft *r, const struct raft_msg *m)
{
    size_t at = 0;
    while (at < m->entry_count &&
           (m->entries[at]->index <= r->log.base_index ||
            raft_log_matches(&r->log, m->entries[at]->index, m->entries[at]->term))) {
        at++;
    }
    if (at == m->entry_count) {
        return true;
    }
    uint64_t before_term;
    if (m->entries[at]->index <= r->log.commit ||
        !raft_log_term(&r->log, m->entries[at]->index - 1, &before_term) ||
        m->entries[at]->term < before_term) {
        return false;
    }
    if (m->entries[at]->index <= r->log.last) {
        raft_truncate(r, m->entries[at]->index);
    }
    for (; at < m->entry_count; at++) {
        struct raft_entry *entry = m->entries[at];
        raft_log_append(&r->log, entry);
        if (entry->type == RAFT_ENTRY_CONFIG) {
            struct raft_membership membership;
            cf_status status = raft_membership_decode(entry->payload, &membership, NULL);
            assert(status == CF_OK); /* entries_are_sound() */
            raft_config_push(r, entry->index, entry->term, &membership);
        }
    }
    return true;
}

/* The node lost entries and must hold again whatever it may have acknowledged before it votes. An
 * entry of the current term that is committed stands above all of that. */
static void note_recovery_target(struct raft *r, const struct raft_msg *m, uint64_t matched)
{
    /* RAFT_MSG_RECOVERING: the leader knows, and counts nothing any more that was lost. */
    if (MUTANT(MUTANT_RECOVERED_EARLY)) {
        r->recover_to = 1;
    }
    if ((r->condition & RAFT_RECOVERING) != 0 && r->recover_to == 0 && m->commit <= matched &&
        (m->flags & RAFT_MSG_RECOVERING) != 0 && raft_log_matches(&r->log, m->commit, r->term)) {
        r->recover_to = m->commit;
    }
}

void raft_follow_maybe_recovered(struct raft *r)
{
    if ((r->condition & (RAFT_RECOVERING | RAFT_AMNESIAC)) == RAFT_RECOVERING && r->recover_to != 0 &&
        r->log.durable >= r->recover_to) {
        r->condition &= ~RAFT_RECOVERING;
        r->recover_to = 0;
    }
}

void raft_follow_on_append(struct raft *r, const struct raft_msg *m)
{
    if (!entries_are_sound(m)) {
        r->counters.dropped_nonsense++;
        return;
    }
    uint64_t deadline_us = r->election_deadline_us;
    if (!raft_follow_contact(r, m->from)) {
        return;
    }
    if (m->log_index < r->log.commit && m->log_index + m->entry_count <= r->log.commit) {
        raft_follow_acknowledge(r, r->log.commit, m->round); /* old news */
        return;
    }
    bool known =
        m->log_index < r->log.base_index || raft_log_matches(&r->log, m->log_index, m->log_term);
    if (!known) {
        r->election_deadline_us =
            MUTANT(MUTANT_REJECT_NO_CONTACT) ? deadline_us : r->election_deadline_us;
        reject(r, m);
        return;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < m->entry_count; i++) {
        bytes += raft_entry_size(m->entries[i]);
    }
    if (r->log.nondurable_bytes > 0 &&
        r->log.nondurable_bytes + bytes > r->options.uncommitted_bytes_max) {
        r->counters.dropped_full++; /* the disk is behind; the leader sends it again */
        return;
    }
    uint64_t matched = m->log_index + m->entry_count;
    if (!store_entries(r, m)) {
        r->counters.dropped_nonsense++;
        r->condition |= RAFT_RECOVERING;
        return;
    }
    raft_log_trim(&r->log, false, r->options.uncommitted_bytes_max);
    uint64_t shared = MUTANT(MUTANT_APPEND_COMMIT_UNCUT) ? r->log.last : matched;
    raft_set_commit(r, m->commit < shared ? m->commit : shared);
    note_recovery_target(r, m, matched);
    raft_follow_maybe_recovered(r);
    raft_follow_acknowledge(r, matched, m->round);
}

void raft_follow_on_heartbeat(struct raft *r, const struct raft_msg *m)
{
    if (!raft_follow_contact(r, m->from)) {
        return;
    }
    if (m->commit > r->log.last) {
        /* The leader sends no more than this node acknowledged: it has lost data (etcd#12483). */
        r->counters.commit_beyond_last++;
        if (MUTANT(MUTANT_COMMIT_BEYOND_CLAMPED)) {
            raft_set_commit(r, r->log.last);
            return;
        }
        r->condition |= raft_amnesia_condition(r);
        r->recover_to = 0;
    } else {
        raft_set_commit(r, m->commit);
    }
    if (m->round == 0) {
        return;
    }
    struct raft_msg reply = {.kind = RAFT_MSG_HEARTBEAT_R,
                             .to = m->from,
                             .term = r->term,
                             .flags = raft_own_flags(r),
                             .last_index = r->log.last,
                             .round = m->round};
    raft_outbox_push(r, &reply);
}
