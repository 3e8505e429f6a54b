/* consensus/core/snapshot.c: offers, installs and the base of the log. The bytes are the driver's.
 */
#include "consensus/core/raft_int.h"

cf_status raft_describe(const struct raft *r, uint64_t index, struct raft_base *ret,
                        struct cf_error *err)
{
    if (index < r->log.base_index) {
        return cf_fail(err, CF_NOT_FOUND, "the log below %llu is gone",
                       (unsigned long long)r->log.base_index);
    }
    if (index > r->log.commit) {
        return cf_fail(err, CF_INVALID, "only what is committed can be a snapshot");
    }
    bool known = raft_log_term(&r->log, index, &ret->term);
    assert(known);
    ret->index = index;
    ret->membership = raft_config_at(r, index)->membership;
    return CF_OK;
}

/* ---- leader --------------------------------------------------------------------------------- */

void raft_on_snapshot_sent(struct raft *r, uint64_t now_us, uint64_t peer, uint64_t index, bool ok)
{
    raft_advance_time(r, now_us);
    struct raft_progress *p = r->role == RAFT_LEADER ? raft_replicate_peer(r, peer) : NULL;
    if (p == NULL || p->state != RAFT_SNAPSHOT) {
        return;
    }
    if (!ok) {
        p->snapshot_after_us = r->now_us + r->options.election_us;
    }
    uint64_t last = index < r->log.last ? index : r->log.last;
    raft_progress_probe(p, ok ? last + 1 : p->match + 1);
}

/* ---- follower ------------------------------------------------------------------------------- */

/* Someone says that it leads from_term. CF_STALE when it does not. */
static cf_status contact(struct raft *r, uint64_t from, uint64_t from_term, struct cf_error *err)
{
    if (from == RAFT_NONE || from == r->options.id) {
        return cf_fail(err, CF_INVALID, "a snapshot has to come from another node");
    }
    if (from_term < r->term) {
        struct raft_msg reply = {.kind = RAFT_MSG_APPEND_R,
                                 .to = from,
                                 .term = r->term,
                                 .flags = raft_own_flags(r),
                                 .reject = true,
                                 .last_index = r->log.last};
        raft_outbox_push(r, &reply);
        return cf_fail(err, CF_STALE, "the sender of the snapshot does not lead any more");
    }
    if (from_term > r->term) {
        raft_become_follower(r, from_term, from);
    }
    if (!raft_follow_contact(r, from)) {
        return cf_fail(err, CF_STALE, "the sender of the snapshot does not lead any more");
    }
    return CF_OK;
}

cf_status raft_snapshot_contact(struct raft *r, uint64_t now_us, uint64_t from, uint64_t from_term,
                                struct cf_error *err)
{
    raft_advance_time(r, now_us);
    return contact(r, from, from_term, err);
}

cf_status raft_snapshot_offer(struct raft *r, uint64_t now_us, uint64_t from, uint64_t from_term,
                              uint64_t index, uint64_t term, struct cf_error *err)
{
    raft_advance_time(r, now_us);
    CF_TRY(contact(r, from, from_term, err));
    if (r->installing && !MUTANT(MUTANT_SNAP_DOUBLE_INSTALL)) {
        return cf_fail(err, CF_BUSY, "another snapshot is being installed");
    }
    if (index == 0 || term == 0 || term > from_term) {
        return cf_fail(err, CF_INVALID, "malformed snapshot offer");
    }
    if (index < r->applied && r->applied > r->log.last) {
        return cf_fail(err, CF_BUSY, "the state here is newer than the snapshot");
    }
    if (index <= r->log.commit || raft_log_matches(&r->log, index, term)) {
        /* The log is there and needs no snapshot. A snapshot is committed, so its index is, too. */
        uint64_t have = index > r->log.commit ? index : r->log.commit;
        raft_set_commit(r, have);
        raft_follow_acknowledge(r, have, 0);
        return cf_fail(err, CF_EXISTS, "the log reaches the snapshot already");
    }
    return CF_OK;
}

cf_status raft_snapshot_install(struct raft *r, uint64_t now_us, uint64_t from, uint64_t from_term,
                                const struct raft_base *snapshot, struct cf_error *err)
{
    if (raft_membership_check(&snapshot->membership, err) != CF_OK) {
        return CF_INVALID;
    }
    CF_TRY(raft_snapshot_offer(r, now_us, from, from_term, snapshot->index, snapshot->term, err));
    /* Nothing of the old log can be needed: it does not reach the snapshot's (index, term), and
     * whatever of it is committed lies inside the snapshot. */
    r->installing = true;
    r->install = cf_memdup(snapshot, sizeof(*snapshot));
    raft_ready_truncated(r, r->log.commit + 1);
    raft_log_reset(&r->log, snapshot->index, snapshot->term);
    raft_config_reset(r, snapshot);
    r->counters.snapshots_installed++;
    raft_follow_acknowledge(r, snapshot->index, 0);
    return CF_OK;
}

/* ---- compaction ----------------------------------------------------------------------------- */

cf_status raft_compact(struct raft *r, uint64_t index, struct raft_base *ret, struct cf_error *err)
{
    if (r->installing || index > r->applied || index > r->log.durable || index > r->log.commit) {
        return cf_fail(err, CF_INVALID, "only what is applied can be compacted");
    }
    if (index <= r->log.base_index) {
        return cf_fail(err, CF_EXISTS, "the log begins later already");
    }
    raft_log_compact(&r->log, index);
    raft_config_compact(r, index);
    ret->index = index;
    ret->term = r->log.base_term;
    ret->membership = r->configs.list[0]->membership;
    return CF_OK;
}

uint64_t raft_compact_limit(const struct raft *r)
{
    uint64_t limit = r->applied < r->log.durable ? r->applied : r->log.durable;
    for (size_t i = 0; i < r->peer_count; i++) {
        const struct raft_progress *p = &r->peers[i];
        bool active = r->now_us < p->heard_us + r->options.election_us;
        if (active && p->id != r->options.id && p->state != RAFT_SNAPSHOT && p->match < limit) {
            limit = p->match;
        }
    }
    return limit < r->log.commit ? limit : r->log.commit;
}
