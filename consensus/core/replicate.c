/* consensus/core/replicate.c
 *
 * A leader's side of the log: what goes to whom, what they acknowledged, what that commits.
 * Messages are made in raft_replicate_flush(), once for each ready, so that everything proposed or
 * acknowledged since the last one shares them.
 */
#include "consensus/core/raft_int.h"

struct raft_progress *raft_replicate_peer(struct raft *r, uint64_t id)
{
    for (size_t i = 0; i < r->peer_count; i++) {
        if (r->peers[i].id == id) {
            return &r->peers[i];
        }
    }
    return NULL;
}

struct raft_progress *raft_replicate_self(struct raft *r)
{
    return raft_replicate_peer(r, r->options.id);
}

void raft_replicate_stop(struct raft *r)
{
    for (size_t i = 0; i < r->peer_count; i++) {
        raft_progress_done(&r->peers[i]);
    }
    cf_free(r->peers);
    r->peers = NULL;
    r->peer_count = 0;
    r->transfer_to = RAFT_NONE;
    r->snap_send_count = 0;
}

static void note_own_progress(struct raft *r)
{
    struct raft_progress *self = raft_replicate_self(r);
    if (self != NULL) {
        self->match = MUTANT(MUTANT_SELF_MATCH_BEFORE_SYNC) ? r->log.last : r->log.durable;
        self->next = r->log.last + 1;
        self->heard_us = r->now_us;
        self->acked_round = r->round;
    }
}

/* Keeps what is known of members that stay, so that a change does not restart replication. */
void raft_replicate_sync_peers(struct raft *r)
{
    const struct raft_membership *m = &raft_config_in_force(r)->membership;
    struct raft_progress *peers = cf_array(m->count, sizeof(peers[0]));
    for (uint32_t i = 0; i < m->count; i++) {
        struct raft_progress *old = raft_replicate_peer(r, m->members[i].id);
        if (old != NULL) {
            peers[i] = *old;
            old->ring = NULL;
        } else {
            raft_progress_init(&peers[i], m->members[i].id, r->log.last + 1,
                               r->options.window_messages);
            peers[i].heard_us = r->now_us;
        }
    }
    for (size_t i = 0; i < r->peer_count; i++) {
        raft_progress_done(&r->peers[i]);
    }
    cf_free(r->peers);
    r->peers = peers;
    r->peer_count = m->count;
    note_own_progress(r);
}

void raft_replicate_start(struct raft *r)
{
    r->term_start = r->log.last + 1;
    r->transfer_to = RAFT_NONE;
    r->transfer_pause_us = 0;
    r->timeout_now_sent = false;
    r->confirmed_round = r->round;
    r->lease_start_us = 0;
    r->heartbeat_due_us = r->now_us + r->options.heartbeat_us;
    raft_replicate_sync_peers(r);
    struct raft_entry *noop = raft_entry_new(RAFT_ENTRY_NOOP, 0, CF_SLICE_EMPTY);
    raft_replicate_append(r, noop);
    raft_entry_unref(noop);
    raft_replicate_heartbeat(r);
}

void raft_replicate_append(struct raft *r, struct raft_entry *entry)
{
    raft_entry_seal(entry, r->term, r->log.last + 1);
    raft_log_append(&r->log, entry);
    note_own_progress(r);
}

/* ---- sending -------------------------------------------------------------------------------- */

static void send_heartbeat(struct raft *r, struct raft_progress *p, uint64_t round)
{
    /* Never beyond what it is known to hold: who is asked to commit more has lost data. */
    uint64_t commit = p->match < r->log.commit ? p->match : r->log.commit;
    struct raft_msg msg = {
        .kind = RAFT_MSG_HEARTBEAT, .to = p->id, .term = r->term, .commit = commit, .round = round};
    p->sent_commit = commit > p->sent_commit ? commit : p->sent_commit;
    r->counters.heartbeats_sent++;
    raft_outbox_push(r, &msg);
}

void raft_replicate_heartbeat(struct raft *r)
{
    r->round++;
    r->round_sent_us[r->round % RAFT_ROUNDS_KEPT] = r->now_us;
    raft_read_assign(r);
    raft_amnesia_note_peers(r);
    for (size_t i = 0; i < r->peer_count; i++) {
        struct raft_progress *p = &r->peers[i];
        if (p->id != r->options.id) {
            p->paused = p->reader_busy = false;
            send_heartbeat(r, p, r->round);
        }
    }
    note_own_progress(r);
    raft_read_round_acked(r);
}

static void want_snapshot(struct raft *r, struct raft_progress *p)
{
    if (r->now_us < p->snapshot_after_us) {
        p->paused = true; /* the last one failed a moment ago (cowsql/raft#100) */
        return;
    }
    raft_progress_snapshot(p);
    r->counters.snapshots_wanted++;
    raft_grow(&r->snap_sends, &r->snap_send_capacity, r->snap_send_count + 1,
              sizeof(r->snap_sends[0]));
    r->snap_sends[r->snap_send_count++] = (struct raft_snap_send){p->id, r->log.base_index};
}

/* References to entries from `from` on; 0 when there are none to be had now. */
static size_t read_entries(struct raft *r, struct raft_progress *p, uint64_t from, size_t max_bytes,
                           struct raft_entry **ret)
{
    size_t count = 0, bytes = 0;
    size_t max = cf_min(r->options.append_entries_max, (size_t)(r->log.last - from) + 1);
    uint64_t tail_first = raft_log_tail_first(&r->log);
    if (from >= tail_first) {
        for (uint64_t i = from; i <= r->log.last && count < max; i++) {
            struct raft_entry *entry = r->log.tail[r->log.head + (size_t)(i - tail_first)];
            bytes += raft_entry_size(entry);
            if (count > 0 && bytes > max_bytes) {
                break;
            }
            ret[count++] = raft_entry_ref(entry);
        }
        return count;
    }
    const struct raft_log_reader *reader = &r->options.reader;
    cf_status status =
        reader->entries(reader->context, from, tail_first - 1, max_bytes, max, ret, &count, NULL);
    bool sound = status == CF_OK && count > 0 && count <= max;
    for (size_t i = 0; sound && i < count; i++) {
        sound = ret[i]->index == from + i && raft_log_matches(&r->log, from + i, ret[i]->term);
    }
    if (sound) {
        return count;
    }
    for (size_t i = 0; status == CF_OK && i < count; i++) {
        raft_entry_unref(ret[i]);
    }
    r->counters.reader_errors += status != CF_BUSY && status != CF_NOT_FOUND;
    if (status == CF_NOT_FOUND) {
        want_snapshot(r, p);
    } else {
        p->reader_busy = true;
    }
    return 0;
}

static void push_append(struct raft *r, struct raft_progress *p, uint64_t before_term,
                        struct raft_entry **entries, size_t count)
{
    struct raft_msg msg = {.kind = RAFT_MSG_APPEND,
                           .to = p->id,
                           .term = r->term,
                           .log_index = p->next - 1,
                           .log_term = before_term,
                           .commit = r->log.commit,
                           .round = r->round,
                           .flags = (p->condition & RAFT_RECOVERING) != 0 ? RAFT_MSG_RECOVERING : 0,
                           .entry_count = count};
    if (count > 0) {
        msg.entries = cf_memdup(entries, count * sizeof(entries[0]));
    }
    p->sent_commit = r->log.commit;
    r->counters.appends_sent++;
    raft_outbox_push(r, &msg);
}

/* One APPEND from p->next on. False when there is nothing (more) to send now. */
static bool send_append(struct raft *r, struct raft_progress *p)
{
    uint64_t before_term;
    if (!raft_log_term(&r->log, p->next - 1, &before_term)) {
        want_snapshot(r, p);
        return false;
    }
    size_t room = r->options.window_bytes - cf_min(p->ring_bytes, r->options.window_bytes);
    size_t count = 0, bytes = 0;
    struct raft_entry **entries = NULL;
    if (p->next <= r->log.last) {
        size_t most = cf_min(r->options.append_entries_max, (size_t)(r->log.last - p->next) + 1);
        entries = cf_array(most, sizeof(entries[0]));
        count = read_entries(r, p, p->next, cf_min(r->options.append_bytes_max, room), entries);
    }
    bool sends = count > 0 || p->state == RAFT_PROBE;
    if (sends) {
        for (size_t i = 0; i < count; i++) {
            bytes += raft_entry_size(entries[i]);
        }
        push_append(r, p, before_term, entries, count);
    }
    if (sends && p->state == RAFT_PROBE) {
        p->probe_last = p->next - 1 + count;
    }
    if (count > 0 && p->state == RAFT_REPLICATE) {
        raft_progress_sent(p, &r->options, p->next + count - 1, bytes);
    }
    cf_free(entries);
    return sends;
}

static void flush_peer(struct raft *r, struct raft_progress *p)
{
    switch (p->state) {
    case RAFT_PROBE:
        if (!p->paused && !p->reader_busy && send_append(r, p)) {
            p->paused = true;
        }
        break;
    case RAFT_REPLICATE:
        while (p->state == RAFT_REPLICATE && !p->reader_busy && p->next <= r->log.last &&
               !raft_progress_window_full(p, &r->options)) {
            if (!send_append(r, p)) {
                break;
            }
        }
        break;
    case RAFT_SNAPSHOT:
        break;
    }
    uint64_t commit = p->match < r->log.commit ? p->match : r->log.commit;
    if (p->state != RAFT_SNAPSHOT && commit > p->sent_commit) {
        send_heartbeat(r, p, 0); /* a notice that asks for no reply */
    }
}

void raft_replicate_flush(struct raft *r)
{
    for (size_t i = 0; r->role == RAFT_LEADER && i < r->peer_count; i++) {
        if (r->peers[i].id != r->options.id) {
            flush_peer(r, &r->peers[i]);
        }
    }
}

/* ---- replies -------------------------------------------------------------------------------- */

void raft_replicate_maybe_commit(struct raft *r)
{
    uint64_t matches[RAFT_MEMBERS_MAX];
    note_own_progress(r);
    for (size_t i = 0; i < r->peer_count; i++) {
        matches[i] = r->peers[i].match;
    }
    uint64_t index = raft_quorum_value(&raft_config_in_force(r)->membership, matches);
    /* Counting decides only for entries of the own term; older ones are committed beneath them
     * (Raft figure 8). */
    bool own_term = index >= r->term_start || MUTANT(MUTANT_COMMIT_OLD_TERM);
    if (index > r->log.commit && own_term) {
        raft_set_commit(r, index);
    }
}

uint64_t raft_replicate_heard_us(struct raft *r)
{
    uint64_t heard[RAFT_MEMBERS_MAX];
    note_own_progress(r);
    for (size_t i = 0; i < r->peer_count; i++) {
        heard[i] = r->peers[i].heard_us;
    }
    return raft_quorum_value(&raft_config_in_force(r)->membership, heard);
}

bool raft_replicate_has_quorum(struct raft *r)
{
    return r->now_us <= raft_replicate_heard_us(r) + r->options.election_us;
}

/* What every reply tells of its sender. NULL when it is no member. */
static struct raft_progress *note_contact(struct raft *r, const struct raft_msg *m)
{
    struct raft_progress *p = raft_replicate_peer(r, m->from);
    if (p == NULL) {
        return NULL;
    }
    p->heard_us = r->now_us;
    p->last_index = m->last_index;
    p->condition = ((m->flags & RAFT_MSG_SEALED) != 0 ? RAFT_SEALED : 0) |
                   ((m->flags & RAFT_MSG_STALLED) != 0 ? RAFT_STALLED : 0) |
                   ((m->flags & RAFT_MSG_RECOVERING) != 0 ? RAFT_RECOVERING : 0);
    if (m->round > p->acked_round && m->round <= r->round) {
        p->acked_round = m->round;
        raft_read_round_acked(r);
    }
    /* It says itself that it lost what it once acknowledged: begin again. What was committed
     * stays committed. */
    if ((p->condition & RAFT_RECOVERING) != 0 && m->last_index < p->match) {
        p->match = 0;
        p->sent_commit = 0;
        raft_progress_probe(p, m->last_index + 1);
    }
    return p;
}

static void on_reject(struct raft *r, struct raft_progress *p, const struct raft_msg *m)
{
    bool stale = m->log_index <= p->match ||
                 (p->state == RAFT_PROBE && m->log_index != p->next - 1) ||
                 p->state == RAFT_SNAPSHOT;
    if (stale) {
        r->counters.dropped_stale++;
        return;
    }
    r->counters.appends_rejected++;
    uint64_t next = raft_log_before_term(&r->log, m->hint_index, m->hint_term) + 1;
    if (m->hint_index < r->log.base_index) {
        next = m->hint_index + 1; /* below the base: the snapshot's business */
    }
    if (next > m->log_index) {
        next = m->log_index; /* each rejection goes back by one at least */
    }
    raft_progress_probe(p, next);
}

void raft_replicate_on_append_reply(struct raft *r, const struct raft_msg *m)
{
    struct raft_progress *p = note_contact(r, m);
    if (p == NULL || r->role != RAFT_LEADER) {
        return;
    }
    if (m->reject) {
        on_reject(r, p, m);
        return;
    }
    if (m->log_index > r->log.last) {
        r->counters.dropped_nonsense++; /* acknowledges what was never sent */
        return;
    }
    bool moved = m->log_index > p->match;
    raft_progress_acked(p, &r->options, m->log_index);
    uint64_t unused;
    /* Only the answer to the probe itself ends it. Were an older one enough, each rejection that is
     * still on its way would begin another full window (a storm under reordering). */
    if ((p->state == RAFT_PROBE && m->log_index >= p->probe_last) ||
        (p->state == RAFT_SNAPSHOT && raft_log_term(&r->log, p->match, &unused))) {
        raft_progress_replicate(p);
    }
    if (moved) {
        raft_replicate_maybe_commit(r);
    }
    if (r->role == RAFT_LEADER) {
        raft_transfer_advance(r, raft_replicate_peer(r, m->from));
    }
}

void raft_replicate_on_heartbeat_reply(struct raft *r, const struct raft_msg *m)
{
    struct raft_progress *p = note_contact(r, m);
    if (p == NULL || r->role != RAFT_LEADER) {
        return;
    }
    p->paused = p->reader_busy = false;
    /* Sent and not acknowledged for a whole interval: ask where it stands. The answer acknowledges
     * or rejects; without this the loss of the last message would go unnoticed. */
    uint64_t before_term;
    bool silent = p->match + 1 < p->next && !p->acked;
    bool recovering = (p->condition & RAFT_RECOVERING) != 0; /* waits for an APPEND that says so */
    if (p->state == RAFT_REPLICATE && (silent || recovering)) {
        if (raft_log_term(&r->log, p->next - 1, &before_term)) {
            push_append(r, p, before_term, NULL, 0);
        } else {
            raft_progress_probe(p, p->match + 1); /* compacted meanwhile: a snapshot comes of it */
        }
    }
    p->acked = false;
}
