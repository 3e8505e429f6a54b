/* tests/sim/node.c: a driver around the real core: loop, disk completions, applier, life and death.
 */
#include <inttypes.h>

#include "tests/sim/world.h"

struct sim_node *world_node(struct world *w, uint64_t id)
{
    return id >= 1 && id <= SIM_NODES ? &w->nodes[id - 1] : NULL;
}

unsigned node_slot(const struct world *w, const struct sim_node *n)
{
    return (unsigned)(n - w->nodes);
}

/* ---- the clock: monotonic, and no better than quartz ---------------------------------------- */

uint64_t node_now(const struct world *w, const struct sim_node *n)
{
    return n->clock_us + (w->engine.now_us - n->clock_at_us) * n->clock_rate / 1000;
}

void node_set_clock(struct world *w, struct sim_node *n, uint64_t rate)
{
    n->clock_us = n->clock_at_us != 0 ? node_now(w, n) : w->engine.now_us;
    n->clock_at_us = w->engine.now_us;
    n->clock_rate = rate;
}

/* When the node's clock will show `clock_us`. */
static uint64_t engine_time(const struct world *w, const struct sim_node *n, uint64_t clock_us)
{
    uint64_t now = node_now(w, n);
    uint64_t left = clock_us > now ? clock_us - now : 0;
    return w->engine.now_us + (left * 1000 + n->clock_rate - 1) / n->clock_rate;
}

/* ---- the log reader ------------------------------------------------------------------------- */

struct reader_context {
    struct world *w;
    struct sim_node *n;
};

static struct reader_context readers[SIM_NODES];

static cf_status read_term(void *context, uint64_t index, uint64_t *ret, struct cf_error *err)
{
    const struct reader_context *c = context;
    if (!disk_term(&c->n->disk, index, ret)) {
        return cf_fail(err, CF_NOT_FOUND, "no such entry");
    }
    return CF_OK;
}

static cf_status read_entries(void *context, uint64_t from, uint64_t to, size_t max_bytes,
                              size_t max_count, struct raft_entry **ret, size_t *ret_count,
                              struct cf_error *err)
{
    const struct reader_context *c = context;
    struct world *w = c->w;
    if (!w->liveness && sim_chance(&w->engine, w->options.busy_permille)) {
        sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 100, 20000),
                     EV_LOG_READY, node_slot(w, c->n), c->n->incarnation, 0, NULL);
        return cf_fail(err, CF_BUSY, "being read");
    }
    size_t count = 0, bytes = 0;
    if (faults_is_rotten(c->n, from)) {
        sim_schedule(&w->engine, w->engine.now_us, EV_ROT_FOUND, node_slot(w, c->n),
                     c->n->incarnation, 0, NULL);
        return cf_fail(err, CF_CORRUPT, "a checksum does not fit");
    }
    for (uint64_t i = from; i <= to && count < max_count && !faults_is_rotten(c->n, i); i++) {
        struct raft_entry *entry = disk_entry(&c->n->disk, i);
        if (entry == NULL) {
            break;
        }
        bytes += raft_entry_size(entry);
        if (count > 0 && bytes > max_bytes) {
            break;
        }
        ret[count++] = raft_entry_ref(entry);
    }
    if (count == 0) {
        return cf_fail(err, CF_NOT_FOUND, "no such entry");
    }
    *ret_count = count;
    return CF_OK;
}

/* ---- life ----------------------------------------------------------------------------------- */

void node_create(struct world *w, unsigned slot, const struct raft_membership *founding)
{
    struct sim_node *n = &w->nodes[slot];
    assert(!n->exists);
    n->exists = true;
    n->id = slot + 1;
    disk_init(&n->disk, founding);
    n->level = 2;
    sim_stream_seed(&w->engine, &n->draws, 1, slot, 0);
    uint64_t drift = w->options.drift_permille;
    struct cf_prng *before = sim_draw_from(&w->engine, &n->draws);
    node_set_clock(w, n, sim_between(&w->engine, 1000 - drift, 1000 + drift));
    sim_draw_from(&w->engine, before);
}

static struct raft_options core_options(struct world *w, struct sim_node *n)
{
    const struct sim_options *o = &w->options;
    struct raft_options options;
    raft_options_default(&options);
    options.id = n->id;
    options.incarnation = n->incarnation;
    options.seed = sim_mix(w->engine.seed, n->id << 32 | n->incarnation);
    options.heartbeat_us = o->heartbeat_us;
    options.election_us = o->election_us;
    options.use_priority = o->priority != 0;
    options.preferred = o->priority == n->id;
    options.lease_reads = o->lease != 0;
    options.amnesia_ends = true; /* else the faults of a run would use up its nodes */
    options.condition = n->condition | (n->lost && !n->lost_silently ? RAFT_RECOVERING : 0);
    options.append_bytes_max = o->append_bytes;
    options.append_entries_max = 16;
    options.window_messages = o->window_messages;
    options.window_bytes = o->window_bytes;
    options.uncommitted_bytes_max = o->uncommitted_bytes;
    options.reads_max = 64;
    readers[n->id - 1] = (struct reader_context){w, n};
    options.reader = (struct raft_log_reader){&readers[n->id - 1], read_term, read_entries};
    return options;
}

void node_start(struct world *w, struct sim_node *n)
{
    struct sim_disk *disk = &n->disk;
    struct raft_entry *configs[256];
    size_t config_count = 0;
    for (size_t i = 0; i < disk->count; i++) {
        if (disk->log[i]->type == RAFT_ENTRY_CONFIG) {
            assert(config_count < CF_LENGTH(configs));
            configs[config_count++] = disk->log[i];
        }
    }
    n->incarnation++;
    n->alive = true;
    n->paused_until_us = 0;
    n->state = disk->flushed;
    struct raft_options options = core_options(w, n);
    struct raft_start start = {.hard_state = disk->hard,
                               .base = disk->base,
                               .last_index = disk_last(disk),
                               .applied = n->state.applied,
                               .configs = configs,
                               .config_count = config_count};
    struct cf_error err = {0};
    if (raft_new(&options, &start, node_now(w, n), &n->raft, &err) != CF_OK) {
        SIM_FAIL(w, "restart", "node %" PRIu64 ": %s", n->id, err.message);
    }
    n->apply_to = n->state.applied;
    n->seen_role = RAFT_FOLLOWER;
    n->seen_truncations = 0;
    n->heard_us = n->stalled_us = 0;
    world_record(w, "start %" PRIu64, n->id);
    sim_trace(&w->engine, "%" PRIu64 " starts: term %" PRIu64 " log %" PRIu64 "..%" PRIu64, n->id,
              disk->hard.term, disk->base.index, disk_last(disk));
    check_restarted(w, n);
    node_after_input(w, n);
}

/* What is left of the process is its disk, and of that what was synced and perhaps a little more.
 */
void node_crash(struct world *w, struct sim_node *n, size_t kept)
{
    kept = cf_min(kept, n->disk.queue_count);
    world_record(w, "crash %" PRIu64 " %zu", n->id, kept);
    if (kept < n->disk.queue_count) {
        sim_reached(&w->engine, MARK_TORN_CRASH);
    }
    sim_trace(&w->engine, "%" PRIu64 " crashes; %zu of %zu unsynced writes survive", n->id, kept,
              n->disk.queue_count);
    if (!disk_apply(&n->disk, kept)) {
        SIM_FAIL(w, "I-18", "the log of node %" PRIu64 " has a gap on its disk", n->id);
    }
    disk_forget_queue(&n->disk);
    raft_free(n->raft);
    n->raft = NULL;
    n->alive = false;
    n->drain_scheduled = n->apply_scheduled = false;
    n->timer_serial++;
    n->timer_at_us = 0;
    n->incoming_chunk = 0;
    n->incoming_install = 0;
    load_forget(n);
    transport_drop_all(n);
}

void node_done(struct world *w, struct sim_node *n)
{
    (void)w;
    raft_free(n->raft);
    disk_done(&n->disk);
    load_forget(n);
    cf_free(n->pending);
    cf_free(n->reads);
    cf_free(n->view.at);
}

/* ---- disk ----------------------------------------------------------------------------------- */

static void start_sync(struct world *w, struct sim_node *n)
{
    const struct sim_options *o = &w->options;
    if (n->disk.syncing || n->disk.queue_count == 0) {
        return;
    }
    uint64_t duration = sim_between(&w->engine, o->fsync_min_us, o->fsync_max_us);
    if (!w->liveness && sim_chance(&w->engine, o->fsync_spike_permille)) {
        duration += sim_between(&w->engine, 0, o->fsync_spike_us);
    }
    n->disk.syncing = true;
    n->sync_began_us = w->engine.now_us;
    if (w->script != NULL) {
        return;
    }
    sim_schedule(&w->engine, w->engine.now_us + duration, EV_SYNCED, node_slot(w, n),
                 n->incarnation, n->disk.queue_count, NULL);
}

void node_sync(struct world *w, struct sim_node *n, size_t count, bool each)
{
    world_record(w, "sync %" PRIu64 " %zu%s%s", n->id, count, each ? " each" : "", held(w));
    count = cf_min(count, n->disk.queue_count);
    uint64_t ids[RAFT_WRITES_MAX * 4], terms[RAFT_WRITES_MAX * 4];
    size_t writes = 0;
    bool installed = false;
    for (size_t i = 0; i < count; i++) {
        struct disk_write *write = &n->disk.queue[i];
        if (write->id != 0) {
            ids[writes] = write->id;
            terms[writes++] = write->term;
            installed |= write->install && write->id == n->incoming_install;
        }
    }
    if (!disk_apply(&n->disk, count)) {
        SIM_FAIL(w, "I-18", "the log of node %" PRIu64 " has a gap on its disk", n->id);
    }
    n->disk.syncing = false;
    start_sync(w, n);
    if ((n->condition & RAFT_STALLED) != 0 && w->script == NULL) {
        n->condition &= ~RAFT_STALLED;
        world_record(w, "condition %" PRIu64 " %u +", n->id, (unsigned)n->condition);
        raft_set_condition(n->raft, node_now(w, n), n->condition);
    }
    if (installed) {
        n->state = n->incoming_state;
        n->apply_to = n->state.applied;
        n->incoming_install = 0;
        load_skipped(n, n->state.applied);
        sim_reached(&w->engine, MARK_SNAPSHOT_INSTALLED);
        check_snapshot(w, &n->incoming, &n->state);
    }
    size_t first = writes > 0 && !each ? writes - 1 : 0;
    for (size_t i = first; i < writes; i++) {
        raft_on_persisted(n->raft, node_now(w, n), ids[i], terms[i]);
        check_node(w, n);
    }
    if (installed) {
        transport_snapshot_installed(w, n);
        load_serve_reads(w, n);
    }
}

static void take_write(struct world *w, struct sim_node *n, const struct raft_ready *ready)
{
    struct disk_write write = {.id = ready->write_id,
                               .term = ready->write_term,
                               .truncate_from = ready->truncate_from,
                               .has_hard = ready->has_hard_state,
                               .hard = ready->hard_state,
                               .entry_count = ready->entry_count};
    if (ready->install != NULL) {
        write.install = true;
        write.base = *ready->install;
        write.state = n->incoming_state;
        n->incoming_install = write.id;
    }
    if (ready->truncate_from != 0) {
        sim_reached(&w->engine, MARK_TRUNCATED);
    }
    write.entries = cf_array(ready->entry_count, sizeof(write.entries[0]));
    for (size_t i = 0; i < ready->entry_count; i++) {
        write.entries[i] = raft_entry_ref(ready->entries[i]);
    }
    disk_queue(&n->disk, &write);
    if (n->disk.queue_count > 2) {
        sim_reached(&w->engine, MARK_WRITES_IN_FLIGHT);
    }
    start_sync(w, n);
}

/* ---- applier -------------------------------------------------------------------------------- */

static void schedule_apply(struct world *w, struct sim_node *n)
{
    if (!n->apply_scheduled && n->state.applied < n->apply_to && w->script == NULL) {
        n->apply_scheduled = true;
        sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 0, w->options.apply_us),
                     EV_APPLY, node_slot(w, n), n->incarnation, 0, NULL);
    }
}

void node_apply(struct world *w, struct sim_node *n, uint64_t chunk)
{
    world_record(w, "apply %" PRIu64 " %" PRIu64 "%s", n->id, chunk, held(w));
    while (chunk-- > 0 && n->state.applied < n->apply_to) {
        struct raft_entry *entry = disk_entry(&n->disk, n->state.applied + 1);
        if (faults_is_rotten(n, n->state.applied + 1)) {
            sim_schedule(&w->engine, w->engine.now_us, EV_ROT_FOUND, node_slot(w, n),
                         n->incarnation, 0, NULL);
            break;
        }
        if (entry == NULL) {
            SIM_FAIL(w, "I-10", "node %" PRIu64 " is to apply %" PRIu64 ", which is not durable",
                     n->id, n->state.applied + 1);
        }
        n->state.chain = check_entry_chain(n->state.chain, entry);
        n->state.applied++;
        check_apply(w, n, entry);
        load_applied(w, n, entry);
    }
    raft_on_applied(n->raft, node_now(w, n), n->state.applied);
    load_serve_reads(w, n);
    schedule_apply(w, n);
}

void node_flush(struct world *w, struct sim_node *n)
{
    world_record(w, "flush %" PRIu64, n->id);
    n->disk.flushed = n->state;
}

void node_compact(struct world *w, struct sim_node *n, uint64_t index)
{
    struct disk_write write = {.has_base = true};
    if (index <= n->disk.flushed.applied && n->incoming_install == 0 &&
        raft_compact(n->raft, index, &write.base, NULL) == CF_OK) {
        world_record(w, "compact %" PRIu64 " %" PRIu64, n->id, index);
        sim_reached(&w->engine, MARK_COMPACTED);
        disk_queue(&n->disk, &write);
        start_sync(w, n);
    }
}

/* Flushes the state now and then, and cuts the log to what the trailing limit says. */
void node_maintain(struct world *w, struct sim_node *n)
{
    if (sim_chance(&w->engine, 600)) {
        node_flush(w, n);
    }
    uint64_t limit = n->disk.flushed.applied;
    if (sim_chance(&w->engine, 500) && raft_compact_limit(n->raft) < limit) {
        limit = raft_compact_limit(n->raft); /* the polite way; else laggards take a snapshot */
    }
    if (limit >= n->disk.base.index + w->options.trailing) {
        node_compact(w, n, limit - w->options.trailing / 2);
    }
}

/* ---- the loop ------------------------------------------------------------------------------- */

static void handle_ready(struct world *w, struct sim_node *n, const struct raft_ready *ready)
{
    if (ready->write_id != 0) {
        take_write(w, n, ready);
    }
    for (size_t i = 0; i < ready->msg_count; i++) {
        check_message(w, n, &ready->msgs[i]);
        transport_send_msg(w, n, &ready->msgs[i]);
    }
    for (size_t i = 0; i < ready->snap_send_count; i++) {
        transport_snapshot_begin(w, n, ready->snap_sends[i].peer, ready->snap_sends[i].above);
    }
    if (ready->apply_from != 0) {
        if (ready->apply_from != n->apply_to + 1) {
            SIM_FAIL(w, "I-10", "node %" PRIu64 " skips from %" PRIu64 " to %" PRIu64, n->id,
                     n->apply_to, ready->apply_from);
        }
        n->apply_to = ready->apply_to;
        schedule_apply(w, n);
    }
    for (size_t i = 0; i < ready->read_count; i++) {
        load_read_result(w, n, &ready->reads[i]);
    }
    if (ready->leadership_lost_term != 0) {
        transport_drop_all(n);
    }
    if (ready->soft_changed) {
        sim_trace(&w->engine, "%" PRIu64 " is %s of term %" PRIu64 ", leader %" PRIu64, n->id,
                  raft_role_name(ready->soft.role), ready->soft.term, ready->soft.leader);
        if (ready->soft.removed) {
            sim_reached(&w->engine, MARK_REMOVED_TOLD);
        }
    }
}

void node_drain(struct world *w, struct sim_node *n)
{
    struct raft_ready ready;
    while (raft_take_ready(n->raft, &ready)) {
        handle_ready(w, n, &ready);
        check_node(w, n);
    }
    load_serve_reads(w, n);
}

/* Its own vote or its log may be needed: whoever votes in the configuration that is committed or in
 * the one that it follows has to ask when its time is up (scylladb#10618). */
static bool should_campaign(const struct raft *r)
{
    bool votes =
        raft_membership_votes(&raft_config_in_force(r)->membership, r->options.id) ||
        raft_membership_votes(&raft_config_at(r, r->log.commit)->membership, r->options.id);
    return votes && (r->condition & (RAFT_STALLED | RAFT_RECOVERING)) == 0 && !r->installing &&
           !raft_is_removed(r);
}

/* Lets the core see its clock; counts the time that a stalled leader sees pass. */
void node_tick(struct world *w, struct sim_node *n)
{
    uint64_t due_us = n->raft->election_deadline_us, now = node_now(w, n);
    uint64_t asked = n->raft->counters.pre_votes;
    bool should = should_campaign(n->raft);
    bool led = n->raft->role == RAFT_LEADER;
    size_t at = w->record != NULL ? w->record->size : 0;
    world_record(w, "tick %" PRIu64 "%s", n->id, held(w));
    raft_tick(n->raft, now);
    bool timed_out = !led && due_us <= now &&
                     n->raft->election_deadline_us >= now + w->options.election_us;
    if (timed_out && should && n->raft->counters.pre_votes == asked) {
        SIM_FAIL(w, "campaign", "node %" PRIu64 " may be needed and does not ask", n->id);
    }
    if (w->record != NULL && timed_out) {
        world_record_as(w, at, "timeout %" PRIu64 "%s", n->id, held(w));
    }
    /* What the host says of its disk (consensus.md 13.2). */
    bool slow = n->disk.syncing && w->engine.now_us > n->sync_began_us + w->options.election_us;
    if (slow && (n->condition & RAFT_STALLED) == 0 && w->script == NULL &&
        !raft_election_is_sole_voter(n->raft)) {
        sim_reached(&w->engine, MARK_DISK_STALLED);
        n->condition |= RAFT_STALLED;
        world_record(w, "condition %" PRIu64 " %u +", n->id, (unsigned)n->condition);
        raft_set_condition(n->raft, now, n->condition);
    }
    bool stalls = n->raft->role == RAFT_LEADER && (n->raft->condition & RAFT_STALLED) != 0;
    uint64_t passed = cf_min(now - n->stall_seen_us, w->options.heartbeat_us * 2);
    n->stalled_us = stalls ? n->stalled_us + passed : 0;
    n->stall_seen_us = now;
}

static void set_timer(struct world *w, struct sim_node *n)
{
    uint64_t deadline = raft_deadline_us(n->raft);
    if (w->script != NULL || deadline == UINT64_MAX) {
        return;
    }
    deadline = engine_time(w, n, deadline);
    if (n->timer_at_us != 0 && n->timer_at_us <= deadline && n->timer_at_us > w->engine.now_us) {
        return; /* it rings earlier and looks again */
    }
    n->timer_serial++;
    n->timer_at_us = deadline + sim_between(&w->engine, 0, w->options.timer_late_us);
    sim_schedule(&w->engine, n->timer_at_us, EV_TICK, node_slot(w, n), n->timer_serial, 0, NULL);
}

void node_after_input(struct world *w, struct sim_node *n)
{
    struct cf_prng *before = sim_draw_from(&w->engine, &n->draws);
    check_node(w, n);
    if (script_holds(w)) {
        sim_draw_from(&w->engine, before);
        return;
    }
    if (w->options.drain_us == 0) {
        node_drain(w, n);
    } else if (!n->drain_scheduled) {
        n->drain_scheduled = true;
        sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 0, w->options.drain_us),
                     EV_DRAIN, node_slot(w, n), n->incarnation, 0, NULL);
    }
    set_timer(w, n);
    sim_draw_from(&w->engine, before);
}

static bool is_current(struct sim_node *n, const struct sim_event *event)
{
    switch (event->kind) {
    case EV_TICK:
        return event->a == n->timer_serial;
    case EV_DRAIN:
    case EV_SYNCED:
    case EV_APPLY:
    case EV_LOG_READY:
    case EV_SNAP_STEP:
    case EV_UNREACHABLE:
    case EV_ROT_FOUND:
        return event->a == n->incarnation;
    default:
        return true;
    }
}

static void dispatch(struct world *w, struct sim_node *n, struct sim_event *event)
{
    switch (event->kind) {
    case EV_TICK:
        n->timer_at_us = 0;
        node_tick(w, n);
        break;
    case EV_DRAIN:
        n->drain_scheduled = false;
        world_record(w, "drain %" PRIu64, n->id);
        node_drain(w, n);
        set_timer(w, n);
        return;
    case EV_PACKET:
        /* What was delayed by seconds in the safety phase must not haunt the other one: the word of
         * a leader that is dead now would keep everybody quiet. */
        if (w->liveness && event->b == 0 &&
            w->engine.now_us > w->healed_us + w->options.heartbeat_us) {
            return;
        }
        transport_receive(w, n, event->data);
        break;
    case EV_SYNCED:
        if (!w->liveness && sim_chance(&w->engine, w->options.fsync_fail_permille)) {
            /* The first failed sync ends the process (consensus.md 13.1): what it was to bring to
             * the disk may be there or not, and a second sync would lie. */
            sim_reached(&w->engine, MARK_FSYNC_FAILED);
            faults_crash(w, n);
            return;
        }
        /* One completion for all, or one for each. */
        node_sync(w, n, (size_t)event->b, sim_below(&w->engine, 2) != 0);
        break;
    case EV_APPLY:
        n->apply_scheduled = false;
        node_apply(w, n, sim_between(&w->engine, 1, 32));
        break;
    case EV_UNREACHABLE:
        world_record(w, "unreachable %" PRIu64 " %" PRIu64 "%s", n->id, event->b, held(w));
        raft_on_unreachable(n->raft, node_now(w, n), event->b);
        break;
    case EV_ROT_FOUND:
        faults_rot_found(w, n);
        return;
    case EV_LOG_READY:
        world_record(w, "logready %" PRIu64 "%s", n->id, held(w));
        raft_on_log_ready(n->raft, node_now(w, n));
        break;
    case EV_SNAP_STEP:
        transport_snapshot_step(w, n, event->b);
        break;
    default:
        break;
    }
    node_after_input(w, n);
}

void node_event(struct world *w, struct sim_event *event)
{
    struct sim_node *n = &w->nodes[event->node];
    if (event->kind == EV_RESTART) {
        if (n->exists && !n->alive && !w->broken[event->node]) {
            node_start(w, n);
        }
    } else if (!n->alive || !is_current(n, event)) {
        sim_note(&w->engine, 1);
    } else if (n->paused_until_us > w->engine.now_us) {
        /* The process stands still; what happens to it happens when it goes on. */
        sim_schedule(&w->engine, n->paused_until_us, event->kind, event->node, event->a, event->b,
                     event->data);
        return;
    } else {
        struct cf_prng *before = sim_draw_from(&w->engine, &n->draws);
        dispatch(w, n, event);
        sim_draw_from(&w->engine, before);
    }
    packet_free(event->data);
}
