/* consensus/core/transfer.c: handing leadership over (thesis 3.10). */
#include "consensus/core/raft_int.h"

/* Best target: a voter of the new half, heard lately, fit to lead, with the highest match. */
uint64_t raft_transfer_best(const struct raft *r, bool unsealed_only)
{
    const struct raft_membership *m = &raft_config_in_force(r)->membership;
    const struct raft_progress *best = NULL;
    for (size_t i = 0; i < r->peer_count; i++) {
        const struct raft_progress *p = &r->peers[i];
        bool fit = (m->members[i].role & RAFT_VOTER) != 0 && p->id != r->options.id &&
                   (p->condition & (RAFT_STALLED | RAFT_RECOVERING)) == 0 &&
                   r->now_us < p->heard_us + r->options.election_us && p->state == RAFT_REPLICATE;
        bool sealed = (p->condition & RAFT_SEALED) != 0;
        if (!fit || (unsealed_only && (sealed || p->match < r->log.commit))) {
            continue;
        }
        bool best_sealed = best != NULL && (best->condition & RAFT_SEALED) != 0;
        if (best == NULL || (best_sealed && !sealed) ||
            (best_sealed == sealed && p->match > best->match)) {
            best = p;
        }
    }
    return best != NULL ? best->id : RAFT_NONE;
}

static void send_timeout_now(struct raft *r, uint64_t to)
{
    /* From here on the target may win an election without waiting for anybody's timer, so a lease
     * of this term would be worth nothing. */
    r->timeout_now_sent = true;
    struct raft_msg msg = {.kind = RAFT_MSG_TIMEOUT_NOW, .to = to, .term = r->term};
    raft_outbox_push(r, &msg);
}

static void begin(struct raft *r, uint64_t to)
{
    r->transfer_to = to;
    r->transfer_deadline_us = r->now_us + r->options.election_us;
    r->counters.transfers++;
    raft_transfer_advance(r, raft_replicate_peer(r, to));
}

cf_status raft_transfer(struct raft *r, uint64_t now_us, uint64_t to, struct cf_error *err)
{
    raft_advance_time(r, now_us);
    if (r->role != RAFT_LEADER) {
        return cf_fail(err, CF_NOT_LEADER, "this node does not lead the cluster");
    }
    if (r->transfer_to != RAFT_NONE) {
        return cf_fail(err, CF_BUSY, "leadership is being handed over already");
    }
    if (to == RAFT_NONE) {
        to = raft_transfer_best(r, false);
        if (to == RAFT_NONE) {
            return cf_fail(err, CF_UNAVAILABLE, "no other voter is fit to lead");
        }
    }
    const struct raft_member *member =
        raft_membership_find(&raft_config_in_force(r)->membership, to);
    if (member == NULL || (member->role & RAFT_VOTER) == 0 || to == r->options.id) {
        return cf_fail(err, CF_INVALID, "leadership can be handed to another voter only");
    }
    begin(r, to);
    return CF_OK;
}

/* Called whenever the target's match moved, and at each heartbeat (the message may get lost). */
void raft_transfer_advance(struct raft *r, struct raft_progress *p)
{
    if (p != NULL && r->transfer_to == p->id &&
        (p->match == r->log.last || MUTANT(MUTANT_TRANSFER_EARLY))) {
        send_timeout_now(r, p->id);
    }
}

void raft_transfer_tick(struct raft *r)
{
    if (r->transfer_to != RAFT_NONE) {
        if (r->now_us < r->transfer_deadline_us) {
            raft_transfer_advance(r, raft_replicate_peer(r, r->transfer_to));
            return;
        }
        r->transfer_to = RAFT_NONE; /* proposals are accepted again */
        r->transfer_pause_us = r->now_us + r->options.election_us;
        if ((r->condition & (RAFT_STALLED | RAFT_RECOVERING)) != 0) {
            raft_step_down(r, RAFT_LOSS_DISK);
        }
        return;
    }
    if (r->now_us < r->transfer_pause_us || !raft_read_is_ready(r)) {
        return;
    }
    if ((r->condition & (RAFT_SEALED | RAFT_STALLED)) != 0 && !MUTANT(MUTANT_STALLED_LEADS)) {
        uint64_t to = raft_transfer_best(r, (r->condition & RAFT_STALLED) == 0);
        if (to != RAFT_NONE) {
            begin(r, to);
        }
    }
}

void raft_transfer_on_timeout_now(struct raft *r, const struct raft_msg *m)
{
    if (!raft_follow_contact(r, m->from) || !raft_election_may_campaign(r)) {
        return;
    }
    /* No PreVote: a heartbeat that arrives meanwhile would cancel it (canonical/raft#203). */
    raft_read_fail_all(r, CF_NOT_LEADER);
    if (MUTANT(MUTANT_TRANSFER_PREVOTE)) {
        raft_election_timeout(r);
        return;
    }
    raft_election_campaign(r, true);
}

/* The configuration without this node is committed: tell the others, name a successor, stop
 * (etcd-io/raft#83). */
void raft_transfer_and_leave(struct raft *r)
{
    raft_replicate_flush(r);
    uint64_t to = raft_transfer_best(r, false);
    if (to != RAFT_NONE) {
        send_timeout_now(r, to);
    }
    raft_step_down(r, RAFT_LOSS_REMOVED);
}
