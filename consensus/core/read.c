/* consensus/core/read.c
 *
 * Linearizable reads (thesis 6.4). A leader remembers its commit index and proves with a heartbeat
 * round begun after the read arrived that it still leads; everything that waits shares the next
 * round. A follower asks the leader once for everything that waits. The queue is first in, first
 * out, and rounds are assigned in its order, so that answering is taking from its head.
 */
#include "consensus/core/raft_int.h"

bool raft_read_is_ready(const struct raft *r)
{
    return r->role == RAFT_LEADER && r->log.commit >= r->term_start;
}

static struct raft_read_item *item_at(const struct raft *r, size_t at)
{
    return &r->reads[(r->read_head + at) % r->read_capacity];
}

static bool push_item(struct raft *r, const struct raft_read_item *item)
{
    if (r->read_count >= r->options.reads_max) {
        return false;
    }
    if (r->read_count == r->read_capacity) {
        size_t capacity = cf_max(64, r->read_capacity * 2);
        struct raft_read_item *grown = cf_array(capacity, sizeof(grown[0]));
        for (size_t i = 0; i < r->read_count; i++) {
            grown[i] = *item_at(r, i);
        }
        cf_free(r->reads);
        r->reads = grown;
        r->read_capacity = capacity;
        r->read_head = 0;
    }
    r->read_count++;
    *item_at(r, r->read_count - 1) = *item;
    return true;
}

static struct raft_read_item pop_item(struct raft *r)
{
    struct raft_read_item item = *item_at(r, 0);
    r->read_head = (r->read_head + 1) % r->read_capacity;
    r->read_count--;
    return item;
}

static void give(struct raft *r, const struct raft_read_item *item, uint64_t index,
                 cf_status status, bool by_lease)
{
    if (item->remote.node == RAFT_NONE) {
        raft_grow(&r->results, &r->result_capacity, r->result_count + 1, sizeof(r->results[0]));
        r->results[r->result_count++] =
            (struct raft_read_result){item->cookie, index, status, by_lease};
        return;
    }
    if (status == CF_OK) { /* who does not hear from us asks again by itself */
        struct raft_msg msg = {.kind = RAFT_MSG_READ_INDEX_R,
                               .to = item->remote.node,
                               .term = r->term,
                               .commit = index,
                               .read_id = item->remote};
        raft_outbox_push(r, &msg);
    }
}

void raft_read_fail_all(struct raft *r, cf_status status)
{
    while (r->read_count > 0) {
        struct raft_read_item item = pop_item(r);
        give(r, &item, 0, status, false);
    }
    r->forward_out = false;
    r->forward_count = 0;
}

/* ---- leader --------------------------------------------------------------------------------- */

bool raft_lease_valid(const struct raft *r, uint64_t now_us)
{
    /* 20 % off for clocks that drift apart; none once a TIMEOUT_NOW of this term is on its way. */
    uint64_t length = r->options.election_us / 5 * (MUTANT(MUTANT_LEASE_NO_MARGIN) ? 6 : 4);
    if (MUTANT(MUTANT_LEASE_AFTER_TRANSFER)) {
        return r->options.lease_reads && raft_read_is_ready(r) && r->lease_start_us != 0 &&
               now_us < r->lease_start_us + length;
    }
    return r->options.lease_reads && raft_read_is_ready(r) && r->transfer_to == RAFT_NONE &&
           !r->timeout_now_sent && r->lease_start_us != 0 && now_us < r->lease_start_us + length;
}

void raft_read_assign(struct raft *r)
{
    if (!raft_read_is_ready(r) && !MUTANT(MUTANT_READ_BEFORE_COMMIT)) {
        return;
    }
    for (size_t i = r->read_count; i-- > 0 && item_at(r, i)->round == 0;) {
        item_at(r, i)->round = r->round;
        item_at(r, i)->index = r->log.commit;
    }
}

void raft_read_round_acked(struct raft *r)
{
    uint64_t rounds[RAFT_MEMBERS_MAX];
    for (size_t i = 0; i < r->peer_count; i++) {
        rounds[i] = r->peers[i].acked_round;
    }
    uint64_t confirmed = raft_quorum_value(&raft_config_in_force(r)->membership, rounds);
    if (confirmed > r->confirmed_round) {
        r->confirmed_round = confirmed;
        if (r->round - confirmed < RAFT_ROUNDS_KEPT) {
            r->lease_start_us = r->round_sent_us[confirmed % RAFT_ROUNDS_KEPT];
        }
    }
    while (r->read_count > 0 && item_at(r, 0)->round != 0 &&
           item_at(r, 0)->round <= r->confirmed_round) {
        struct raft_read_item item = pop_item(r);
        give(r, &item, item.index, CF_OK, false);
    }
}

/* Reads of a leader: at most one round is out for them, so that those that come meanwhile share the
 * next one. */
static void pump_leader(struct raft *r)
{
    bool ready = raft_read_is_ready(r) || MUTANT(MUTANT_READ_BEFORE_COMMIT);
    if (!ready || r->read_count == 0) {
        return;
    }
    if (MUTANT(MUTANT_READ_WITHOUT_ROUND)) {
        while (r->read_count > 0) {
            struct raft_read_item item = pop_item(r);
            give(r, &item, r->log.commit, CF_OK, false);
        }
        return;
    }
    if (raft_lease_valid(r, r->now_us)) {
        while (r->read_count > 0) {
            struct raft_read_item item = pop_item(r);
            give(r, &item, r->log.commit, CF_OK, true);
        }
    } else if (item_at(r, 0)->round == 0) {
        r->counters.read_rounds++;
        raft_replicate_heartbeat(r);
    }
}

void raft_read_on_request(struct raft *r, const struct raft_msg *m)
{
    if (r->role != RAFT_LEADER) {
        return;
    }
    struct raft_read_item item = {.remote = m->read_id,
                                  .deadline_us = r->now_us + 2 * r->options.election_us};
    item.remote.node = m->from;
    if (!push_item(r, &item)) {
        r->counters.dropped_full++;
    }
}

/* ---- follower ------------------------------------------------------------------------------- */

static void forward(struct raft *r)
{
    if (!MUTANT(MUTANT_READ_RETRY_SAME_ID) || r->forward_seq == 0) {
        r->forward_seq++; /* a retry is a new request: the old one's answer says nothing about it */
    }
    r->forward_out = true;
    r->forward_count = r->read_count;
    r->forward_retry_us = r->now_us + 2 * r->options.heartbeat_us;
    struct raft_msg msg = {.kind = RAFT_MSG_READ_INDEX,
                           .to = r->leader,
                           .term = r->term,
                           .read_id = {r->options.id, r->options.incarnation, r->forward_seq}};
    raft_outbox_push(r, &msg);
}

void raft_read_on_reply(struct raft *r, const struct raft_msg *m)
{
    bool mine = r->role == RAFT_FOLLOWER && m->from == r->leader && r->forward_out &&
                m->read_id.node == r->options.id &&
                m->read_id.incarnation == r->options.incarnation &&
                m->read_id.seq == r->forward_seq;
    if (!mine) {
        r->counters.dropped_stale++;
        return;
    }
    r->forward_out = false;
    for (; r->forward_count > 0; r->forward_count--) {
        struct raft_read_item item = pop_item(r);
        give(r, &item, m->commit, CF_OK, false);
    }
}

/* ---- both ----------------------------------------------------------------------------------- */

cf_status raft_read(struct raft *r, uint64_t now_us, uint64_t cookie, struct cf_error *err)
{
    raft_advance_time(r, now_us);
    if (r->role != RAFT_LEADER && r->leader == RAFT_NONE) {
        return cf_fail(err, CF_NOT_LEADER, "no leader is known");
    }
    struct raft_read_item item = {.cookie = cookie,
                                  .deadline_us = r->now_us + 2 * r->options.election_us};
    if (!push_item(r, &item)) {
        return cf_fail(err, CF_BUSY, "too many reads are waiting");
    }
    return CF_OK;
}

/* Once for each ready, so that reads that came together go together. */
void raft_read_pump(struct raft *r)
{
    if (r->role == RAFT_LEADER) {
        pump_leader(r);
    } else if (r->read_count > 0 && r->leader != RAFT_NONE && !r->forward_out) {
        forward(r);
    }
}

void raft_read_tick(struct raft *r)
{
    while (r->read_count > 0 && r->now_us >= item_at(r, 0)->deadline_us) {
        struct raft_read_item item = pop_item(r);
        give(r, &item, 0, CF_TIMEOUT, false);
        r->forward_count -= r->forward_count > 0;
    }
    if (r->forward_count == 0) {
        r->forward_out = false;
    }
    if (r->forward_out && r->now_us >= r->forward_retry_us) {
        r->forward_out = false; /* the pump asks again */
    }
}

uint64_t raft_read_deadline_us(const struct raft *r)
{
    uint64_t deadline = UINT64_MAX;
    if (r->read_count > 0) {
        deadline = item_at(r, 0)->deadline_us;
    }
    if (r->forward_out && r->forward_retry_us < deadline) {
        deadline = r->forward_retry_us;
    }
    return deadline;
}
