/* consensus/driver/apply.c
 *
 * The applier: takes committed and locally durable entries, in runs, gives them to the state
 * machine, commits effects and applied index in one batch without WAL, publishes, answers. It also
 * switches to the state of an installed snapshot, at a moment when nothing of the old one is in
 * use.
 */
#include <assert.h>

#include "consensus/driver/driver_int.h"

static void tell_loop(struct raft_driver *driver)
{
    if (!atomic_exchange(&driver->apply.posted, true)) {
        loop_post_task(driver->loop, &driver->apply.task);
    }
}

/* ---- the thread */

/* Adds the commands of a run to the batch; NOOP, CONFIG and BARRIER are ours. */
static cf_status add_run(struct raft_driver *driver, struct raft_entry *const *run, size_t count,
                         struct raft_membership *membership, bool *has_membership,
                         struct cf_error *err)
{
    struct raft_entry_view views[APPLY_ENTRIES_MAX];
    size_t commands = 0;
    for (size_t i = 0; i < count; i++) {
        const struct raft_entry *entry = run[i];
        if (entry->type == RAFT_ENTRY_DATA || entry->type == RAFT_ENTRY_DATA_BATCH) {
            views[commands++] = (struct raft_entry_view){entry->index, entry->term, entry->type,
                                                         entry->flags, entry->payload};
        } else if (entry->type == RAFT_ENTRY_CONFIG) {
            CF_TRY(raft_membership_decode(entry->payload, membership, err));
            *has_membership = true;
        }
    }
    if (commands == 0) {
        return CF_OK;
    }
    CF_TRY(level_note_entries(driver, views, commands, err));
    return driver->applier.apply(driver->applier.context, views, commands, driver->apply.batch,
                                 err);
}

static cf_status apply_run(struct raft_driver *driver, struct raft_entry *const *run, size_t count,
                           struct cf_error *err)
{
    struct apply *apply = &driver->apply;
    struct raft_membership membership;
    bool has_membership = false;
    struct raft_applied at = {run[count - 1]->index, run[count - 1]->term};
    assert(run[0]->index == apply->at.index + 1);
    kv_batch_reset(apply->batch);
    CF_TRY(driver_check_entries(driver, run, count, "is about to be applied", err));
    CF_TRY(add_run(driver, run, count, &membership, &has_membership, err));
    raft_store_add_applied(apply->batch, apply->state, at, has_membership ? &membership : NULL);
    CF_TRY(kv_commit(raft_store_kv(driver->store), apply->batch,
                     raft_store_state_durability(driver->store), err));
    atomic_fetch_add(&driver->unflushed_bytes, kv_batch_size(apply->batch));
    apply->at = at;
    driver->applier.applied(driver->applier.context, at.index, at.term);
    /* Only now may anyone conclude that the index is visible. */
    atomic_store(&driver->applied, at.index);
    timing_applied(&driver->timing, at.index);
    propose_applied(driver, run, count);
    reads_applied(driver, at.index);
    return CF_OK;
}

/* One run up to target; false when the process is to end. */
static bool apply_some(struct raft_driver *driver, uint64_t target)
{
    struct raft_entry *run[APPLY_ENTRIES_MAX];
    size_t count = 0;
    struct cf_error err = {0};
    cf_status status = driver_entries(driver, driver->apply.at.index + 1, target, APPLY_BYTES_MAX,
                                      APPLY_ENTRIES_MAX, run, &count, &err);
    if (status == CF_OK) {
        status = apply_run(driver, run, count, &err);
    }
    for (size_t i = 0; i < count; i++) {
        raft_entry_unref(run[i]);
    }
    if (status == CF_UNAVAILABLE) {
        return false; /* the node is stopping; after the next start they are applied */
    }
    if (status != CF_OK) {
        bool disk = status == CF_IO || status == CF_NO_SPACE;
        driver_fatal(driver, disk ? RAFT_EXIT_DISK : RAFT_EXIT_CORRUPT, &err);
    }
    return status == CF_OK;
}

static void switch_state(struct raft_driver *driver, struct kv_family *state,
                         struct raft_applied at)
{
    struct apply *apply = &driver->apply;
    struct cf_error err = {0};
    kv_family_unref(apply->state);
    apply->state = state;
    apply->at = at;
    if (level_check_store(driver, &err) != CF_OK) { /* the offer had said so */
        driver_fatal(driver, RAFT_EXIT_CORRUPT, &err);
    }
    driver->applier.state_changed(driver->applier.context, state, at.index, at.term,
                                  RAFT_STATE_INSTALLED);
    atomic_store(&driver->applied, at.index);
    reads_applied(driver, at.index);
}

static void *apply_main(void *arg)
{
    struct raft_driver *driver = arg;
    struct apply *apply = &driver->apply;
    bool alive = true;
    pthread_mutex_lock(&apply->lock);
    while (alive && !apply->stop) {
        if (apply->switch_to != NULL) {
            struct kv_family *state = apply->switch_to;
            apply->switch_to = NULL;
            struct raft_applied at = apply->switch_at;
            pthread_mutex_unlock(&apply->lock);
            switch_state(driver, state, at);
            pthread_mutex_lock(&apply->lock);
            apply->paused = apply->idle = false;
            tell_loop(driver);
        } else if (apply->paused || apply->target <= apply->at.index) {
            if (apply->paused && !apply->idle) {
                apply->idle = true;
                tell_loop(driver);
            }
            if (!apply->paused) {
                digest_capture(driver, apply->state, apply->at.index);
            }
            pthread_cond_wait(&apply->wake, &apply->lock);
        } else {
            uint64_t target = apply->target;
            pthread_mutex_unlock(&apply->lock);
            alive = apply_some(driver, digest_bound(driver, apply->at.index, target));
            digest_capture(driver, apply->state, apply->at.index);
            if (atomic_load(&apply->eager)) {
                tell_loop(driver); /* somebody there waits for it; else the next tick will do */
            }
            pthread_mutex_lock(&apply->lock);
        }
    }
    pthread_mutex_unlock(&apply->lock);
    return NULL;
}

/* ---- the loop's side */

void apply_progress(struct raft_driver *driver)
{
    uint64_t applied = atomic_load(&driver->applied);
    if (driver->install == INSTALL_NONE) {
        raft_on_applied(driver->raft, loop_now_us(), applied);
    }
    change_applied(driver, applied);
    if (driver->dirty_since_us == 0 && applied > atomic_load(&driver->flushed)) {
        driver->dirty_since_us = loop_now_us();
    }
}

void apply_set_eager(struct raft_driver *driver)
{
    bool waits = driver->install != INSTALL_NONE || driver->change.index != 0 ||
                 (driver->soft.role == RAFT_LEADER && !atomic_load(&driver->accepting));
    if (waits && !atomic_exchange(&driver->apply.eager, true)) {
        tell_loop(driver); /* it may have happened just before */
    } else if (!waits) {
        atomic_store(&driver->apply.eager, false);
    }
}

static void on_progress(void *arg)
{
    struct raft_driver *driver = arg;
    struct apply *apply = &driver->apply;
    atomic_store(&apply->posted, false);
    if (driver->stopping) {
        return;
    }
    pthread_mutex_lock(&apply->lock);
    bool idle = apply->idle, running = !apply->paused;
    pthread_mutex_unlock(&apply->lock);
    if (idle) {
        install_applier_idle(driver);
    } else if (running) {
        install_applier_switched(driver);
    }
    apply_progress(driver);
    driver_pump(driver);
}

void apply_start(struct raft_driver *driver, struct raft_applied at)
{
    struct apply *apply = &driver->apply;
    pthread_mutex_init(&apply->lock, NULL);
    pthread_cond_init(&apply->wake, NULL);
    apply->at = at;
    apply->target = at.index;
    apply->state = raft_store_state(driver->store);
    apply->batch = kv_batch_new(raft_store_kv(driver->store));
    apply->task = (struct loop_task){.fn = on_progress, .arg = driver};
    apply->started = true;
    raft_thread_start(&apply->thread, apply_main, driver, "raft-apply");
}

void apply_stop(struct raft_driver *driver)
{
    struct apply *apply = &driver->apply;
    if (!apply->started) {
        return;
    }
    pthread_mutex_lock(&apply->lock);
    apply->stop = true;
    pthread_cond_signal(&apply->wake);
    pthread_mutex_unlock(&apply->lock);
    pthread_join(apply->thread, NULL);
    kv_batch_free(apply->batch);
    kv_family_unref(apply->state);
    kv_family_unref(apply->switch_to);
    apply->batch = NULL;
    apply->state = apply->switch_to = NULL;
}

void apply_to(struct raft_driver *driver, uint64_t index)
{
    struct apply *apply = &driver->apply;
    pthread_mutex_lock(&apply->lock);
    bool more = index > apply->target;
    apply->target = more ? index : apply->target;
    pthread_mutex_unlock(&apply->lock);
    if (more) {
        pthread_cond_signal(&apply->wake); /* after the unlock: it would wake only to wait again */
    }
}

void apply_wake(struct raft_driver *driver)
{
    pthread_mutex_lock(&driver->apply.lock);
    pthread_cond_signal(&driver->apply.wake);
    pthread_mutex_unlock(&driver->apply.lock);
}

void apply_pause(struct raft_driver *driver)
{
    struct apply *apply = &driver->apply;
    pthread_mutex_lock(&apply->lock);
    apply->paused = true;
    pthread_cond_signal(&apply->wake);
    pthread_mutex_unlock(&apply->lock);
}

void apply_switch(struct raft_driver *driver, struct kv_family *state, struct raft_applied at)
{
    struct apply *apply = &driver->apply;
    pthread_mutex_lock(&apply->lock);
    apply->switch_to = kv_family_ref(state);
    apply->switch_at = at;
    pthread_cond_signal(&apply->wake);
    pthread_mutex_unlock(&apply->lock);
}
