/* node/server/proposals.c: the core's proposer on top of the Raft driver, and the applier beneath it.
 *
 * Neither core nor consensus includes the other; here their tables meet. */
#include "node/server/proposals.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/command.h"
#include "node/server/cluster.h"
#include "node/server/replication.h"
#include "node/server/replication/runs.h"
#include "node/server/replication/tree.h"
#include "node/server/seal.h"
#include "node/server/snapshot/snapshot.h"
#include "node/server/tick.h"

struct pending {
    struct raft_proposal raft;
    struct node *node;
    struct proposal *proposal;
};

struct pending_read {
    struct raft_read raft;
    struct node *node;
    struct read_wait *wait;
    uint64_t asked_us;
};

static struct raft_driver *driver_of(struct node *node)
{
    return atomic_load_explicit(&node->driver_shared, memory_order_acquire);
}

/* ---- proposer ---- */

static void raft_done(struct raft_proposal *raft, const struct raft_outcome *outcome)
{
    struct pending *pending = cf_container(raft, struct pending, raft);
    struct proposal *proposal = pending->proposal;
    cf_status status = outcome->status;
    uint64_t index = outcome->index;
    cf_free(pending);
    proposal->done(proposal, status, index);
}

static void propose(void *context, struct proposal *proposal)
{
    struct node *node = context;
    struct raft_driver *driver = driver_of(node);
    if (driver == NULL) {
        proposal->done(proposal, CF_UNAVAILABLE, 0);
        return;
    }
    struct pending *pending = cf_new(struct pending);
    pending->node = node;
    pending->proposal = proposal;
    pending->raft.type = RAFT_ENTRY_DATA;
    pending->raft.payload = proposal->payload.data;
    pending->raft.payload_size = proposal->payload.size;
    pending->raft.frees = proposal->frees;
    pending->raft.done = raft_done;
    cf_status status = raft_driver_propose(driver, &pending->raft, NULL);
    if (status != CF_OK) {
        cf_free(pending);
        proposal->done(proposal, status, 0);
    }
}

static void read_done(struct raft_read *raft, cf_status status, uint64_t index)
{
    struct pending_read *pending = cf_container(raft, struct pending_read, raft);
    struct read_wait *wait = pending->wait;
    if (status == CF_OK) {
        tick_note_read(pending->node, pending->asked_us, index);
    }
    cf_free(pending);
    wait->done(wait, status == CF_TIMEOUT ? CF_UNAVAILABLE : status, index);
}

static void read_index(void *context, struct read_wait *wait)
{
    struct node *node = context;
    struct raft_driver *driver = driver_of(node);
    if (driver == NULL) {
        wait->done(wait, CF_SEALED, 0);
        return;
    }
    struct pending_read *pending = cf_new(struct pending_read);
    pending->node = node;
    pending->wait = wait;
    pending->asked_us = loop_now_us();
    pending->raft.done = read_done;
    raft_driver_read_index(driver, &pending->raft);
}

static bool read_ready(void *context)
{
    struct raft_driver *driver = driver_of(context);
    return driver != NULL && raft_driver_read_ready_now(driver);
}

static bool is_active(void *context)
{
    struct raft_driver *driver = driver_of(context);
    /* One that does not know the time yet lets requests wait as if nobody were active. */
    return driver != NULL && raft_driver_is_leader(driver) &&
           core_time_is_known(((struct node *)context)->core);
}

static uint64_t staleness_us(void *context, uint64_t index)
{
    return tick_staleness_us(context, index);
}

struct proposer proposals_proposer(struct node *node)
{
    return (struct proposer){node, propose, read_index, read_ready, is_active, staleness_us};
}

/* ---- applier ---- */

static cf_status admit(void *context, struct raft_proposal *raft, uint64_t index, uint64_t term,
                       struct cf_error *err)
{
    struct node *node = context;
    struct pending *pending = cf_container(raft, struct pending, raft);
    (void)term;
    if (loop_now_us() > pending->proposal->deadline_us) {
        return cf_fail(err, CF_TIMEOUT, "request timed out before it was appended");
    }
    uint32_t level = command_level(cf_buf_slice(&pending->proposal->payload));
    uint32_t in_force = raft_driver_level(node->driver);
    if (level > in_force) {
        return cf_fail(err, CF_UNAVAILABLE,
                       "this needs feature level %u, and the cluster works at %u: upgrade all of its "
                       "nodes",
                       level, in_force);
    }
    if (!snapshot_admits(node, pending->proposal)) {
        return cf_fail(err, CF_UNAVAILABLE, "a snapshot is being restored");
    }
    if (pending->proposal->check != NULL) {
        CF_TRY(pending->proposal->check(pending->proposal, index));
    }
    return core_admit(node->core, pending->proposal, index);
}

static uint32_t level(void *context, struct cf_slice payload)
{
    (void)context;
    return command_level(payload);
}

/* What a switch makes current has to be in the state before. */
static cf_status take_runs(struct node *node, const struct raft_entry_view *entry,
                           struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(4096);
    struct command command;
    if (entry->payload.size < COMMAND_HEADER_SIZE || entry->payload.data[9] != COMMAND_SWITCH) {
        return CF_OK;
    }
    CF_TRY(command_decode(entry->payload, arena, &command, err));
    if (command.run_count == 0) {
        return CF_OK;
    }
    return node->runs != NULL
               ? runs_take(node->runs, &command, entry->index, err)
               : cf_fail(err, CF_CORRUPT, "the log switches to files, and this storage keeps none");
}

static cf_status apply(void *context, const struct raft_entry_view *entries, size_t count,
                       struct kv_batch *batch, struct cf_error *err)
{
    struct node *node = context;
    for (size_t i = 0; i < count; i++) {
        CF_TRY(take_runs(node, &entries[i], err));
        CF_TRY(core_apply(node->core, entries[i].index, entries[i].payload, batch, err));
    }
    if (count != 0) {
        core_apply_end(node->core, batch);
    }
    return CF_OK;
}

static void try_unseal(void *arg)
{
    seal_state_arrived(arg);
}

static void applied(void *context, uint64_t index, uint64_t term)
{
    struct node *node = context;
    (void)term;
    core_applied(node->core, index);
    node_replication_applied(node, index);
    state_tree_nudge(node->tree);
    if (atomic_load_explicit(&node->wants_unseal, memory_order_relaxed)) {
        loop_post(node->loop, try_unseal, node);
    }
}

/* ---- the sum of the state, from the tree that is kept ---- */

static void capture(void *context, uint64_t index)
{
    state_tree_capture(((struct node *)context)->tree, index);
}

static cf_status sum(void *context, uint64_t index, uint64_t *ret_sum, uint64_t *ret_records,
                     struct cf_error *err)
{
    return state_tree_sum(((struct node *)context)->tree, index, ret_sum, ret_records, err);
}

static cf_status scan(void *context, struct kv_view view, struct kv_family *state, const atomic_bool *stop,
                      uint64_t *ret_sum, uint64_t *ret_records, struct cf_error *err)
{
    (void)context;
    return state_tree_scan(view, state, stop, ret_sum, ret_records, err);
}

static void state_changed(void *context, struct kv_family *state, uint64_t index, uint64_t term,
                          enum raft_state_reason reason)
{
    struct node *node = context;
    struct cf_error err = {0};
    (void)term;
    if (core_state_changed(node->core, node->kv, state, index, &err) != CF_OK) {
        cf_err("server", "cannot read the state at index %llu: %s %s", (unsigned long long)index,
               err.message, err.detail);
    }
    if (reason == RAFT_STATE_INSTALLED) {
        cf_info("server", "state replaced by a snapshot at index %llu",
                (unsigned long long)index);
    }
    if (atomic_load(&node->wants_unseal)) {
        loop_post(node->loop, try_unseal, node);
    }
}

static void became_active(void *arg)
{
    cluster_became_active(arg);
}

static void became_leader(void *context, uint64_t term, uint64_t last_index)
{
    struct node *node = context;
    (void)term;
    core_became_leader(node->core, last_index);
    tick_observe(node);
    loop_post(node->loop, became_active, node); /* proposals are taken right after this returns */
}

static void role(void *context, enum raft_role role, uint64_t term, uint64_t leader,
                 const char *leader_address)
{
    cluster_role_changed(context, role, term, leader, leader_address);
}

struct applier proposals_applier(struct node *node)
{
    return (struct applier){.context = node,
                            .admit = admit,
                            .level = level,
                            .apply = apply,
                            .applied = applied,
                            .capture = capture,
                            .sum = sum,
                            .scan = scan,
                            .state_changed = state_changed,
                            .role = role,
                            .became_leader = became_leader};
}
