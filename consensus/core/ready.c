/* consensus/core/ready.c
 *
 * What leaves the core. Messages wait in the outbox until the write that they depend on is durable;
 * writes are numbered, finish in order, and remember how far they bring the log.
 */
#include "consensus/core/raft_int.h"

void raft_msg_done(struct raft_msg *msg)
{
    for (size_t i = 0; i < msg->entry_count; i++) {
        raft_entry_unref(msg->entries[i]);
    }
    cf_free(msg->entries);
    msg->entries = NULL;
    msg->entry_count = 0;
}

/* ---- the outbox ----------------------------------------------------------------------------- */

/* A term has to be durable before anybody hears of it, except from its leader, whose term was
 * durable before it asked for votes. */
static uint64_t write_of_term(const struct raft *r, enum raft_msg_kind kind)
{
    bool leaders = kind == RAFT_MSG_APPEND || kind == RAFT_MSG_HEARTBEAT ||
                   kind == RAFT_MSG_TIMEOUT_NOW || kind == RAFT_MSG_READ_INDEX_R;
    if (leaders || MUTANT(MUTANT_VOTE_BEFORE_SYNC)) {
        return 0;
    }
    return r->hard_state_dirty ? r->next_write : r->hard_state_write;
}

/* The write that makes the log durable up to index; 0 when it is. */
static uint64_t write_of_index(const struct raft *r, uint64_t index)
{
    if (MUTANT(MUTANT_ACK_BEFORE_PERSIST)) {
        return 0;
    }
    if (r->install != NULL || index > r->log.handed) {
        return r->next_write;
    }
    if (!r->installing && index <= r->log.durable) {
        return 0;
    }
    for (size_t i = 0; i < r->write_count; i++) {
        const struct raft_write *write = &r->writes[(r->write_head + i) % RAFT_WRITES_MAX];
        if (write->last_index >= index && (write->install || !r->installing)) {
            return write->id;
        }
    }
    return r->next_write;
}

static void hold(struct raft *r, struct raft_msg *msg, uint64_t after)
{
    raft_amnesia_tell(r, msg);
    if (r->outbox_count >= RAFT_OUTBOX_MAX) {
        r->counters.dropped_full++;
        raft_msg_done(msg);
        return;
    }
    raft_grow(&r->outbox, &r->outbox_capacity, r->outbox_count + 1, sizeof(r->outbox[0]));
    r->outbox[r->outbox_count++] = (struct raft_held){after, *msg};
}

void raft_outbox_push(struct raft *r, struct raft_msg *msg)
{
    msg->from = r->options.id;
    hold(r, msg, write_of_term(r, msg->kind));
}

void raft_outbox_push_ack(struct raft *r, struct raft_msg *msg)
{
    msg->from = r->options.id;
    uint64_t term_write = write_of_term(r, msg->kind);
    uint64_t log_write = write_of_index(r, msg->log_index);
    uint64_t after = term_write > log_write ? term_write : log_write;
    /* One acknowledgement for all that one write makes durable. */
    for (size_t i = r->outbox_count; i-- > 0;) {
        struct raft_msg *held = &r->outbox[i].msg;
        if (held->kind == msg->kind && held->to == msg->to && held->term == msg->term &&
            !held->reject && r->outbox[i].after == after) {
            held->log_index = held->log_index > msg->log_index ? held->log_index : msg->log_index;
            held->round = held->round > msg->round ? held->round : msg->round;
            held->last_index = msg->last_index;
            held->flags = msg->flags;
            return;
        }
    }
    hold(r, msg, after);
}

/* What was said in an older term means nothing to anybody now, and an acknowledgement that still
 * waits must not leave: the next leader may overwrite what it is about. */
void raft_outbox_drop_terms_below(struct raft *r, uint64_t term)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->outbox_count; i++) {
        if (r->outbox[i].msg.term < term) {
            raft_msg_done(&r->outbox[i].msg);
        } else {
            r->outbox[kept++] = r->outbox[i];
        }
    }
    r->outbox_count = kept;
}

/* ---- writes --------------------------------------------------------------------------------- */

/* Writes in flight stand for less from now on (I-21). */
void raft_ready_truncated(struct raft *r, uint64_t from)
{
    for (size_t i = 0; i < r->write_count && !MUTANT(MUTANT_ABA_COMPLETION); i++) {
        struct raft_write *write = &r->writes[(r->write_head + i) % RAFT_WRITES_MAX];
        if (write->last_index >= from) {
            write->last_index = from - 1;
        }
    }
}

static void take_entries(struct raft *r, struct raft_ready *ret)
{
    uint64_t first = r->log.handed + 1;
    size_t count = (size_t)(r->log.last - r->log.handed);
    if (count == 0) {
        return;
    }
    uint64_t tail_first = raft_log_tail_first(&r->log);
    assert(first >= tail_first);
    r->given_entries = cf_array(count, sizeof(r->given_entries[0]));
    for (size_t i = 0; i < count; i++) {
        struct raft_entry *entry = r->log.tail[r->log.head + (size_t)(first - tail_first) + i];
        r->given_entries[i] = raft_entry_ref(entry);
    }
    r->given_entry_count = count;
    ret->entries = r->given_entries;
    ret->entry_count = count;
    r->log.handed = r->log.last;
}

static void take_write(struct raft *r, struct raft_ready *ret)
{
    bool any = r->hard_state_dirty || r->install != NULL || r->log.truncate_from != 0 ||
               r->log.handed < r->log.last;
    if (!any || r->write_count == RAFT_WRITES_MAX) {
        return;
    }
    ret->write_id = r->next_write++;
    ret->write_term = r->term;
    struct raft_write *write = &r->writes[(r->write_head + r->write_count++) % RAFT_WRITES_MAX];
    *write = (struct raft_write){ret->write_id, r->term, r->log.last, r->install != NULL};
    ret->install = r->given_install = r->install;
    r->install = NULL;
    ret->truncate_from = r->log.truncate_from;
    r->log.truncate_from = 0;
    take_entries(r, ret);
    ret->has_hard_state = r->hard_state_dirty || r->log.commit > r->commit_handed;
    ret->hard_state = (struct raft_hard_state){r->term, r->vote, r->log.commit};
    r->commit_handed = r->log.commit;
    if (r->hard_state_dirty) {
        r->hard_state_dirty = false;
        r->hard_state_write = ret->write_id;
    }
}

static void take_messages(struct raft *r, struct raft_ready *ret)
{
    size_t kept = 0, given = 0;
    r->given_msgs =
        r->outbox_count > 0 ? cf_array(r->outbox_count, sizeof(r->given_msgs[0])) : NULL;
    for (size_t i = 0; i < r->outbox_count; i++) {
        if (r->outbox[i].after <= r->done_write) {
            r->given_msgs[given++] = r->outbox[i].msg;
        } else {
            r->outbox[kept++] = r->outbox[i];
        }
    }
    r->outbox_count = kept;
    r->given_msg_count = given;
    ret->msgs = r->given_msgs;
    ret->msg_count = given;
}

static void take_apply(struct raft *r, struct raft_ready *ret)
{
    /* Nothing is shown that a crash of this node could take back (etcd#14370). */
    uint64_t limit = r->log.commit < r->log.durable ? r->log.commit : r->log.durable;
    if (MUTANT(MUTANT_APPLY_BEFORE_DURABLE)) {
        limit = r->log.commit < r->log.last ? r->log.commit : r->log.last;
    }
    if (!r->installing && limit > r->apply_handed) {
        ret->apply_from = r->apply_handed + 1;
        ret->apply_to = limit;
        r->apply_handed = limit;
    }
}

static bool soft_equal(const struct raft_soft_state *a, const struct raft_soft_state *b)
{
    return a->role == b->role && a->term == b->term && a->leader == b->leader &&
           a->leader_ready == b->leader_ready && a->removed == b->removed &&
           a->condition == b->condition;
}

static void take_answers(struct raft *r, struct raft_ready *ret)
{
    ret->snap_sends = r->given_snap_sends = r->snap_sends;
    ret->snap_send_count = r->snap_send_count;
    r->snap_sends = NULL;
    r->snap_send_count = r->snap_send_capacity = 0;
    ret->reads = r->given_results = r->results;
    ret->read_count = r->result_count;
    r->results = NULL;
    r->result_count = r->result_capacity = 0;
    raft_fill_soft(r, &ret->soft);
    ret->soft_changed = !r->soft_given_once || !soft_equal(&ret->soft, &r->soft_given);
    r->soft_given = ret->soft;
    r->soft_given_once = true;
    ret->leadership_lost_term = r->leadership_lost_term;
    ret->lost_why = r->lost_why;
    ret->lost_unheard_us = r->lost_unheard_us;
    r->leadership_lost_term = 0;
    ret->membership_changed = r->membership_changed;
    r->membership_changed = false;
}

static void forget_given(struct raft *r)
{
    for (size_t i = 0; i < r->given_entry_count; i++) {
        raft_entry_unref(r->given_entries[i]);
    }
    for (size_t i = 0; i < r->given_msg_count; i++) {
        raft_msg_done(&r->given_msgs[i]);
    }
    cf_free(r->given_entries);
    cf_free(r->given_msgs);
    cf_free(r->given_install);
    cf_free(r->given_snap_sends);
    cf_free(r->given_results);
    r->given_entries = NULL;
    r->given_msgs = NULL;
    r->given_install = NULL;
    r->given_snap_sends = NULL;
    r->given_results = NULL;
    r->given_entry_count = r->given_msg_count = 0;
}

bool raft_take_ready(struct raft *r, struct raft_ready *ret)
{
    forget_given(r);
    *ret = (struct raft_ready){0};
    raft_read_pump(r);
    raft_replicate_flush(r);
    take_write(r, ret);
    take_messages(r, ret);
    take_apply(r, ret);
    take_answers(r, ret);
    return ret->write_id != 0 || ret->msg_count != 0 || ret->snap_send_count != 0 ||
           ret->apply_from != 0 || ret->read_count != 0 || ret->soft_changed ||
           ret->leadership_lost_term != 0 || ret->membership_changed;
}

void raft_on_persisted(struct raft *r, uint64_t now_us, uint64_t write_id, uint64_t write_term)
{
    raft_advance_time(r, now_us);
    size_t at = 0;
    while (at < r->write_count &&
           r->writes[(r->write_head + at) % RAFT_WRITES_MAX].id != write_id) {
        at++;
    }
    if (at == r->write_count ||
        r->writes[(r->write_head + at) % RAFT_WRITES_MAX].term != write_term) {
        r->counters.dropped_stale++;
        return;
    }
    bool installed = false;
    for (size_t i = 0; i <= at; i++) {
        struct raft_write *write = &r->writes[r->write_head];
        r->write_head = (r->write_head + 1) % RAFT_WRITES_MAX;
        r->write_count--;
        r->done_write = write->id;
        installed |= write->install;
        /* Below an install that is still to come, the log is another one. */
        bool counts = !r->installing || installed;
        if (counts && write->last_index > r->log.durable && write->last_index <= r->log.last) {
            raft_log_set_durable(&r->log, write->last_index);
        }
    }
    if (installed && r->install == NULL) {
        r->installing = false;
        r->applied = r->applied > r->log.base_index ? r->applied : r->log.base_index;
        r->apply_handed = r->apply_handed > r->applied ? r->apply_handed : r->applied;
    }
    raft_log_trim(&r->log, r->role == RAFT_LEADER, r->options.uncommitted_bytes_max);
    raft_follow_maybe_recovered(r);
    if (r->own_vote_waits && r->role == RAFT_CANDIDATE && !r->hard_state_dirty &&
        r->hard_state_write <= r->done_write) {
        raft_election_own_vote(r);
    }
    if (r->role == RAFT_LEADER) {
        raft_replicate_maybe_commit(r);
    }
}

void raft_ready_done(struct raft *r)
{
    forget_given(r);
    for (size_t i = 0; i < r->outbox_count; i++) {
        raft_msg_done(&r->outbox[i].msg);
    }
    cf_free(r->outbox);
    cf_free(r->install);
    cf_free(r->snap_sends);
    cf_free(r->results);
}
