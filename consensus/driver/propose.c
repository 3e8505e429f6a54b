/* consensus/driver/propose.c
 *
 * Proposals and reads. In: queues that any thread fills; the loop is woken only by the first. Out:
 * a proposal is done by the applier once its entry is in the state, or by the loop when it is
 * refused or when leadership ends under it; a read is done by whoever gets the applied index far
 * enough.
 */
#include <string.h>

#include "consensus/driver/driver_int.h"

/* ---- ends of proposals */

static void finish(struct raft_driver *driver, struct raft_proposal *proposal, cf_status status,
                   const struct cf_error *err)
{
    struct raft_outcome outcome = {
        .status = status, .index = proposal->index, .term = proposal->term, .err = err};
    if (status == CF_NOT_LEADER) {
        outcome.leader = atomic_load(&driver->leader);
        if (outcome.leader != 0 && loop_is_current(driver->loop)) {
            const char *address = driver_address_of(driver, outcome.leader);
            memcpy(outcome.leader_address, address, strlen(address) + 1);
        }
    }
    proposal->done(proposal, &outcome);
}

/* A proposal leaves the queue (parked included) for good. */
static void leave_queue(struct raft_driver *driver, const struct raft_proposal *proposal)
{
    pthread_mutex_lock(&driver->queue_lock);
    driver->queue_count--;
    driver->queue_bytes -= proposal->payload_size;
    pthread_mutex_unlock(&driver->queue_lock);
}

static struct raft_proposal *pop_parked(struct raft_driver *driver)
{
    struct raft_proposal *proposal = driver->parked;
    driver->parked = proposal->next;
    if (driver->parked == NULL) {
        driver->parked_tail = &driver->parked;
    }
    proposal->next = NULL;
    leave_queue(driver, proposal);
    return proposal;
}

static void refuse_parked(struct raft_driver *driver, cf_status status, const struct cf_error *err)
{
    while (driver->parked != NULL) {
        finish(driver, pop_parked(driver), status, err);
    }
}

void propose_applied(struct raft_driver *driver, struct raft_entry *const *run, size_t count)
{
    uint64_t first = run[0]->index, last = run[count - 1]->index;
    for (;;) {
        pthread_mutex_lock(&driver->pending_lock);
        struct raft_proposal *proposal = driver->pending;
        if (proposal == NULL || proposal->index > last) {
            pthread_mutex_unlock(&driver->pending_lock);
            return;
        }
        driver->pending = proposal->next;
        if (driver->pending == NULL) {
            driver->pending_tail = &driver->pending;
        }
        pthread_mutex_unlock(&driver->pending_lock);
        proposal->next = NULL;
        /* Another term at that index: what was proposed never came to pass. */
        bool ours =
            proposal->index >= first && run[proposal->index - first]->term == proposal->term;
        finish(driver, proposal, ours ? CF_OK : CF_NOT_LEADER, NULL);
    }
}

/* Takes what is above `commit` out of pending. */
static struct raft_proposal *cut_pending(struct raft_driver *driver, uint64_t commit)
{
    pthread_mutex_lock(&driver->pending_lock);
    struct raft_proposal **at = &driver->pending;
    while (*at != NULL && (*at)->index <= commit) {
        at = &(*at)->next;
    }
    struct raft_proposal *cut = *at;
    *at = NULL;
    driver->pending_tail = at;
    pthread_mutex_unlock(&driver->pending_lock);
    return cut;
}

void propose_lost(struct raft_driver *driver, uint64_t commit)
{
    timing_lost(&driver->timing);
    struct raft_proposal *proposal = cut_pending(driver, commit);
    while (proposal != NULL) {
        struct raft_proposal *next = proposal->next;
        proposal->next = NULL;
        finish(driver, proposal, CF_UNKNOWN_OUTCOME, NULL);
        proposal = next;
    }
}

/* ---- appending */

struct chunk {
    struct raft_entry *entries[CHUNK_ENTRIES_MAX];
    struct raft_proposal *proposals[CHUNK_ENTRIES_MAX];
    size_t count, bytes;
};

/* Admits proposals until the chunk is full or none is left. */
static void fill_chunk(struct raft_driver *driver, struct chunk *chunk, uint64_t next,
                       uint64_t term)
{
    const struct applier *applier = &driver->applier;
    while (driver->parked != NULL && chunk->count < CHUNK_ENTRIES_MAX &&
           (chunk->count == 0 || chunk->bytes + driver->parked->payload_size <= CHUNK_BYTES_MAX)) {
        struct raft_proposal *proposal = pop_parked(driver);
        struct cf_error err = {0};
        cf_status status = CF_OK;
        if (driver->digest.is_split) {
            status = cf_fail(&err, CF_UNAVAILABLE,
                             "the states of the nodes differ, and no majority agrees");
        } else if (!health_admits(driver, proposal->frees, proposal->payload_size)) {
            status = cf_fail(&err, CF_NO_SPACE, "the disk is full: only deleting is possible");
        } else if (applier->admit != NULL) {
            status = applier->admit(applier->context, proposal, next + chunk->count, term, &err);
        }
        if (status != CF_OK) {
            finish(driver, proposal, status, &err);
            continue;
        }
        chunk->entries[chunk->count] =
            raft_entry_new((enum raft_entry_type)proposal->type, proposal->flags,
                           cf_slice_of(proposal->payload, proposal->payload_size));
        chunk->proposals[chunk->count++] = proposal;
        chunk->bytes += proposal->payload_size;
    }
}

/* Before the core lets anything be applied: that happens in the next pump. */
static void await_chunk(struct raft_driver *driver, const struct chunk *chunk, uint64_t first,
                        uint64_t term)
{
    pthread_mutex_lock(&driver->pending_lock);
    for (size_t i = 0; i < chunk->count; i++) {
        struct raft_proposal *proposal = chunk->proposals[i];
        proposal->index = first + i;
        proposal->term = term;
        proposal->next = NULL;
        *driver->pending_tail = proposal;
        driver->pending_tail = &proposal->next;
    }
    pthread_mutex_unlock(&driver->pending_lock);
    atomic_fetch_add(&driver->proposals, chunk->count);
}

static void append_chunk(struct raft_driver *driver)
{
    struct raft_status status;
    raft_status(driver->raft, &status);
    struct chunk chunk;
    chunk.count = chunk.bytes = 0;
    fill_chunk(driver, &chunk, status.last_index + 1, status.term);
    if (chunk.count == 0) {
        return;
    }
    uint64_t first = 0;
    struct cf_error err = {0};
    cf_status result =
        raft_propose(driver->raft, loop_now_us(), chunk.entries, chunk.count, &first, &err);
    for (size_t i = 0; i < chunk.count; i++) {
        raft_entry_unref(chunk.entries[i]);
    }
    if (result == CF_OK) {
        await_chunk(driver, &chunk, first, status.term);
        timing_appended(&driver->timing, first + chunk.count - 1, driver->parked_since_us);
        driver->pump_again = true;
        return;
    }
    for (size_t i = 0; i < chunk.count; i++) {
        finish(driver, chunk.proposals[i], result, &err);
    }
}

/* While a sync runs, what comes could be appended and sent in crumbs, each with a message to every
 * peer, an answer of theirs, a sync there and a turn of the applier; it would still wait here for
 * the next sync. So it waits before it is appended instead, and goes as one: the end of the sync
 * pumps. Much data goes at once: its way to the peers is what takes long then.
 *
 * After the sync, the group is still on its way through the others, and the clients whose writes come
 * after its end would just miss one that begins now. So the next group waits on: for the commit, then until
 * it is large enough, and in all for as long as the sync took and no longer. Where the others are further away
 * than the disk, groups overlap; a few writers never wait. */
size_t propose_group(size_t at_once)
{
    return at_once < GATHER_MIN ? 0 : at_once * 5 / 8;
}

/* How large the queue should be for the loop to go on; 0: it goes on. */
static size_t awaited(struct raft_driver *driver, const struct raft_status *status, size_t queued)
{
    size_t group = propose_group(driver->gather.at_once / 16);
    if (group == 0 || loop_now_us() >= driver->gather.until_us) {
        return 0;
    }
    if (status->last_index > status->commit) {
        return SIZE_MAX;
    }
    return queued < group ? group : 0;
}

/* Who comes before that need not wake the loop. */
static void let_rest(struct raft_driver *driver, uint64_t until_us, size_t count)
{
    driver->gather.rests_us = until_us;
    pthread_mutex_lock(&driver->queue_lock);
    driver->queue_rests_us = until_us;
    driver->queue_rests_count = count;
    pthread_mutex_unlock(&driver->queue_lock);
}

static void wake_up(struct raft_driver *driver)
{
    if (driver->gather.rests_us != 0) {
        let_rest(driver, 0, 0);
    }
    propose_take(driver);
}

/* True: what is parked waits on. Else everything that is queued has become parked. */
static bool gathers(struct raft_driver *driver, const struct raft_status *status)
{
    pthread_mutex_lock(&driver->queue_lock);
    size_t queued = driver->queue_count, bytes = driver->queue_bytes;
    pthread_mutex_unlock(&driver->queue_lock);
    bool writes = driver->writer.under_way != 0;
    if (bytes < HOLD_BYTES && writes) {
        if (driver->gather.rests_us != UINT64_MAX) {
            let_rest(driver, UINT64_MAX, SIZE_MAX);
        }
        return true;
    }
    size_t more = bytes < HOLD_BYTES ? awaited(driver, status, queued) : 0;
    if (more != 0) {
        let_rest(driver, driver->gather.until_us, more);
        loop_timer_set(driver->gather.timer, driver->gather.until_us);
        return true;
    }
    wake_up(driver);
    size_t at_once = 16 * (queued + (size_t)(status->last_index - atomic_load(&driver->applied)));
    size_t before = driver->gather.at_once;
    driver->gather.at_once = at_once > before ? at_once : before - (before - at_once) / 16;
    return false;
}

void propose_parked(struct raft_driver *driver)
{
    while (driver->parked != NULL || driver->gather.rests_us != 0) {
        struct raft_status status;
        raft_status(driver->raft, &status);
        if (driver->soft.role != RAFT_LEADER || status.soft.role != RAFT_LEADER) {
            wake_up(driver); /* nothing is going to be appended: say so at once */
            refuse_parked(driver, CF_NOT_LEADER, NULL);
        } else if (!atomic_load(&driver->accepting) || status.transfer_to != RAFT_NONE) {
            return; /* leadership is about to become usable, or to end */
        } else if (gathers(driver, &status) || driver->parked == NULL) {
            return;
        } else {
            append_chunk(driver);
        }
    }
}

/* The entries go to the peers in one message with what else the core has to say. */
void propose_early(struct raft_driver *driver)
{
    struct raft_status status;
    if (driver->soft.role == RAFT_LEADER && atomic_load(&driver->accepting)) {
        raft_status(driver->raft, &status);
        if (status.soft.role == RAFT_LEADER && status.term == driver->soft.term) {
            propose_parked(driver);
        }
    }
}

void propose_take(struct raft_driver *driver)
{
    pthread_mutex_lock(&driver->queue_lock);
    if (driver->queue != NULL) {
        driver->parked_since_us = driver->parked == NULL ? driver->queue_since_us : driver->parked_since_us;
        *driver->parked_tail = driver->queue;
        driver->parked_tail = driver->queue_tail;
        driver->queue = NULL;
        driver->queue_tail = &driver->queue;
    }
    pthread_mutex_unlock(&driver->queue_lock);
}

void propose_written(struct raft_driver *driver, bool begun)
{
    uint64_t took = atomic_load(&driver->writer.write_us_last);
    driver->gather.until_us = begun ? 0 : loop_now_us() + cf_min(took, GATHER_US_MAX);
    if (driver->soft.role == RAFT_LEADER) {
        let_rest(driver, begun ? UINT64_MAX : driver->gather.until_us, SIZE_MAX);
    }
}

static void on_proposals(void *arg)
{
    struct raft_driver *driver = arg;
    pthread_mutex_lock(&driver->queue_lock);
    driver->queue_told = false;
    pthread_mutex_unlock(&driver->queue_lock);
    propose_take(driver);
    if (driver->stopping) {
        refuse_parked(driver, CF_UNAVAILABLE, NULL);
        return;
    }
    driver_pump(driver);
}

static void on_gathered(void *arg)
{
    driver_pump(arg);
}

cf_status raft_driver_propose(struct raft_driver *driver, struct raft_proposal *proposal,
                              struct cf_error *err)
{
    if (proposal->payload_size > RAFT_PAYLOAD_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "a command of %zu bytes is too large for the log",
                       proposal->payload_size);
    }
    proposal->next = NULL;
    proposal->index = proposal->term = 0;
    pthread_mutex_lock(&driver->queue_lock);
    bool closed = driver->queue_closed;
    bool full =
        driver->queue_count >= QUEUE_ENTRIES_MAX ||
        (driver->queue_count > 0 && driver->queue_bytes + proposal->payload_size > QUEUE_BYTES_MAX);
    if (!closed && !full) {
        driver->queue_since_us = driver->queue == NULL ? loop_now_us() : driver->queue_since_us;
        *driver->queue_tail = proposal;
        driver->queue_tail = &proposal->next;
        driver->queue_count++;
        driver->queue_bytes += proposal->payload_size;
        uint64_t until = driver->queue_rests_us;
        bool rests = driver->queue_count < driver->queue_rests_count &&
                     driver->queue_bytes < HOLD_BYTES &&
                     (until == UINT64_MAX || loop_now_us() < until);
        if (!driver->queue_told && !rests) {
            driver->queue_told = true;
            loop_post_task(driver->loop, &driver->propose_task);
        }
    }
    pthread_mutex_unlock(&driver->queue_lock);
    if (closed) {
        return cf_fail(err, CF_UNAVAILABLE, "this node is shutting down");
    }
    return full ? cf_fail(err, CF_BUSY, "too many writes in flight, try again") : CF_OK;
}

/* ---- leadership, as proposals and reads see it */

bool driver_is_sole_voter(const struct raft_driver *driver)
{
    const struct raft_membership *members = raft_membership(driver->raft);
    unsigned voters = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        voters += (members->members[i].role & (RAFT_VOTER | RAFT_OUTGOING)) != 0;
    }
    return voters == 1 && raft_membership_votes(members, driver->identity.node_id);
}

void driver_leadership(struct raft_driver *driver)
{
    const struct raft_soft_state *soft = &driver->soft;
    bool leads = soft->role == RAFT_LEADER && soft->leader_ready && !driver->stopping &&
                 atomic_load(&driver->superseded) == 0;
    if (leads && driver->ready_term != soft->term) {
        struct raft_status status;
        raft_status(driver->raft, &status);
        driver->ready_term = soft->term;
        driver->ready_index = status.commit;
        driver->announced_term = 0;
    }
    /* Everything that earlier leaders had acknowledged is in our state before we check anything
     * against it: the write window can start empty. */
    bool accepting = leads && !driver->digest.is_diverged && !driver->levels.is_behind &&
                     atomic_load(&driver->applied) >= driver->ready_index;
    if (accepting && driver->announced_term != soft->term) {
        driver->announced_term = soft->term;
        if (driver->applier.became_leader != NULL) {
            driver->applier.became_leader(driver->applier.context, soft->term, driver->ready_index);
        }
    }
    atomic_store(&driver->accepting, accepting);
    atomic_store(&driver->read_now, accepting && driver_is_sole_voter(driver));
}

/* ---- start and end */

void propose_init(struct raft_driver *driver)
{
    pthread_mutex_init(&driver->queue_lock, NULL);
    pthread_mutex_init(&driver->pending_lock, NULL);
    driver->queue_tail = &driver->queue;
    driver->parked_tail = &driver->parked;
    driver->pending_tail = &driver->pending;
    driver->propose_task = (struct loop_task){.fn = on_proposals, .arg = driver};
    driver->gather.timer = loop_timer_new(driver->loop, on_gathered, driver);
}

void propose_close(struct raft_driver *driver)
{
    pthread_mutex_lock(&driver->queue_lock);
    driver->queue_closed = true;
    pthread_mutex_unlock(&driver->queue_lock);
    atomic_store(&driver->closed, true);
    atomic_store(&driver->accepting, false);
    atomic_store(&driver->read_now, false);
    on_proposals(driver);
}

void propose_done(struct raft_driver *driver)
{
    pthread_mutex_destroy(&driver->queue_lock);
    pthread_mutex_destroy(&driver->pending_lock);
    loop_timer_free(driver->gather.timer);
}
