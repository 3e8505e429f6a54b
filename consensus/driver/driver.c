/* consensus/driver/driver.c: start, stop, what a ready asks for, timers. */
#include "consensus/driver/driver.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "consensus/driver/driver_int.h"
#include "node/base/level.h"
#include "node/base/log.h"

/* ---- the end of the process */

void driver_exit(int exit_status, const struct cf_error *err)
{
    const char *what =
        exit_status == RAFT_EXIT_CORRUPT
            ? "restore this node's data directory, or remove it and let the node join "
              "its cluster again"
            : "check the disk and its free space, then start again";
    cf_err("raft", "fatal: %s (%s); %s", err->message, err->detail, what);
    _exit(exit_status);
}

void driver_fatal(struct raft_driver *driver, int exit_status, const struct cf_error *err)
{
    if (exit_status == RAFT_EXIT_CORRUPT && kv_corruption_count(raft_store_kv(driver->store)) > 0) {
        raft_store_set_damaged(driver->store);
    }
    if (driver->options.fatal == NULL) {
        driver_exit(exit_status, err);
    }
    driver->options.fatal(driver->options.fatal_context, exit_status, err);
}

/* ---- readies */

/* Why a cluster changed its leader is asked long after: each side says what it saw. */
static void tell_why(const struct raft_driver *driver, const struct raft_ready *ready)
{
    unsigned late_ms = (unsigned)(driver->late_us / 1000);
    if (ready->leadership_lost_term != 0) {
        cf_warn("raft", "leadership of term %llu is over: %s (a majority was heard %llu ms ago; the disk's longest "
                        "write took %llu ms so far; this process was %u ms late at most within the last second)",
                (unsigned long long)ready->leadership_lost_term, raft_loss_text(ready->lost_why),
                (unsigned long long)ready->lost_unheard_us / 1000,
                (unsigned long long)atomic_load(&driver->writer.write_us_max) / 1000, late_ms);
    }
    if (ready->soft.role == RAFT_PRE_CANDIDATE && driver->soft.leader != 0 && ready->soft.leader == 0) {
        struct raft_status status;
        raft_status(driver->raft, &status);
        cf_warn("raft", "node %016llx, which leads term %llu, was not heard for %llu ms: asking who would follow this "
                        "node (this process was %u ms late at most within the last second)",
                (unsigned long long)driver->soft.leader, (unsigned long long)status.term,
                (unsigned long long)(loop_now_us() - status.leader_heard_us) / 1000, late_ms);
    }
}

static void take_soft_state(struct raft_driver *driver, const struct raft_ready *ready)
{
    tell_why(driver, ready);
    if (ready->leadership_lost_term != 0) {
        atomic_store(&driver->accepting, false);
        atomic_store(&driver->read_now, false);
        struct raft_status status;
        raft_status(driver->raft, &status);
        propose_lost(driver, status.commit);
        change_lost(driver);
        snap_send_drop_all(driver);
    }
    if (!ready->soft_changed) {
        return;
    }
    if (ready->soft.role == RAFT_LEADER && driver->soft.role != RAFT_LEADER) {
        retention_leads(driver);
    }
    driver->soft = ready->soft;
    atomic_store(&driver->term, ready->soft.term);
    atomic_store(&driver->leader, ready->soft.leader);
}

/* A node that has just joined hears its leader before it knows the leader's address: that counts as
 * a change, too. */
static void announce_role(struct raft_driver *driver)
{
    const struct raft_soft_state *soft = &driver->soft, *told = &driver->announced;
    const char *address = driver_address_of(driver, soft->leader);
    if (driver->applier.role == NULL ||
        (driver->announced_once && soft->role == told->role && soft->term == told->term &&
         soft->leader == told->leader && strcmp(address, driver->announced_address) == 0)) {
        return;
    }
    driver->announced_once = true;
    driver->announced = *soft;
    memcpy(driver->announced_address, address, strlen(address) + 1);
    driver->applier.role(driver->applier.context, soft->role, soft->term, soft->leader,
                         driver->announced_address);
}

static void take_entries(struct raft_driver *driver, const struct raft_ready *ready)
{
    if (ready->install != NULL) {
        raft_tail_reset(driver->tail, ready->install->index + 1);
        retention_installed(driver, ready->install->index);
    }
    if (ready->truncate_from != 0) {
        raft_tail_truncate(driver->tail, ready->truncate_from);
        retention_truncated(driver, ready->truncate_from);
    }
    for (size_t i = 0; i < ready->entry_count; i++) {
        raft_tail_append(driver->tail, ready->entries[i]);
        retention_appended(driver, ready->entries[i]);
    }
}

static void handle(struct raft_driver *driver, const struct raft_ready *ready)
{
    /* First what others may believe of us: nothing must be read or proposed on lost leadership. */
    take_soft_state(driver, ready);
    if (ready->membership_changed) {
        atomic_store(&driver->read_now, false); /* until driver_leadership has looked again */
        frames_tell_peers(driver);
    }
    if (ready->soft_changed || ready->membership_changed) {
        level_changed(driver);
        announce_role(driver);
    }
    if (ready->write_id != 0) {
        take_entries(driver, ready);
        driver_write(driver, ready);
    }
    frames_send(driver, ready);
    for (size_t i = 0; i < ready->snap_send_count; i++) {
        snap_send_start(driver, &ready->snap_sends[i]);
    }
    if (ready->apply_from != 0) {
        timing_committed(&driver->timing, ready->apply_to);
        apply_to(driver, ready->apply_to);
    }
    for (size_t i = 0; i < ready->read_count; i++) {
        reads_result(driver, &ready->reads[i]);
    }
}

void driver_pump(struct raft_driver *driver)
{
    if (driver->pumping || driver->stopping) {
        driver->pump_again = true;
        return;
    }
    driver->pumping = true;
    do {
        driver->pump_again = false;
        propose_early(driver);
        struct raft_ready ready;
        while (raft_take_ready(driver->raft, &ready)) {
            bool soft = ready.soft_changed || ready.membership_changed;
            handle(driver, &ready);
            while (driver->snap_failed_count > 0) {
                raft_on_snapshot_sent(driver->raft, loop_now_us(),
                                      driver->snap_failed[--driver->snap_failed_count], 0, false);
            }
            while (driver->lost_count > 0) {
                raft_on_unreachable(driver->raft, loop_now_us(),
                                    driver->lost[--driver->lost_count]);
            }
            driver_leadership(driver);
            if (soft) {
                status_publish(driver);
            }
        }
        driver_leadership(driver);
        propose_parked(driver);
    } while (driver->pump_again);
    driver->pumping = false;
    apply_set_eager(driver);
    uint64_t deadline = raft_deadline_us(driver->raft);
    if (deadline == UINT64_MAX) {
        loop_timer_cancel(driver->core_timer);
    } else {
        loop_timer_set(driver->core_timer, deadline);
    }
}

/* ---- time */

static void on_core_timer(void *arg)
{
    struct raft_driver *driver = arg;
    raft_tick(driver->raft, loop_now_us());
    driver_pump(driver);
}

#define LATE_TELL_US ((uint64_t)10 * 1000 * 1000)

/* Leadership hangs on a loop that comes round in time: whoever looks for why it was lost has to see when this one
 * did not (a machine without time for it, a process that was stopped, something slow on the loop). */
static void note_late(struct raft_driver *driver, uint64_t now_us)
{
    uint64_t due_us = driver->last_tick_us + TICK_US, late_us = now_us > due_us ? now_us - due_us : 0;
    driver->late_us = late_us > driver->late_us || now_us - driver->late_at_us > 1000 * 1000 ? late_us : driver->late_us;
    driver->late_at_us = driver->late_us == late_us ? now_us : driver->late_at_us;
    driver->late_us_max = cf_max(driver->late_us_max, late_us);
    if (late_us > driver->options.election_us / 2) {
        driver->lates++;
        if (driver->late_told_us == 0 || now_us - driver->late_told_us > LATE_TELL_US) {
            driver->late_told_us = now_us;
            cf_warn("raft", "this process did not run for %llu ms (%llu times so far): it was stopped, or the machine "
                            "has too little time for it. Leaders are lost that way",
                    (unsigned long long)late_us / 1000, (unsigned long long)driver->lates);
        }
    }
}

static void on_tick(void *arg)
{
    struct raft_driver *driver = arg;
    uint64_t now_us = loop_now_us();
    note_late(driver, now_us);
    health_tick(driver, now_us);
    digest_tick(driver, now_us);
    driver->last_tick_us = now_us;
    apply_progress(driver);
    change_tick(driver, now_us);
    snap_send_tick(driver, now_us);
    retention_tick(driver, now_us);
    propose_take(driver); /* a write that hangs must not hide proposals from a change of role */
    driver_pump(driver);
    status_note_age(driver, now_us);
    status_publish(driver);
    loop_timer_set(driver->tick_timer, now_us + TICK_US);
}

/* ---- start and stop */

static void or_default(uint64_t *value, uint64_t other)
{
    *value = *value != 0 ? *value : other;
}

static void fill_defaults(struct raft_driver_options *options)
{
    options->features = options->features != 0 ? options->features : cf_feature_level();
    or_default(&options->heartbeat_us, 50 * 1000);
    or_default(&options->election_us, 500 * 1000);
    or_default(&options->trailing_entries, 20000);
    or_default(&options->trailing_bytes, (uint64_t)64 << 20);
    or_default(&options->log_bytes_max, (uint64_t)1 << 30);
    or_default(&options->purge_early_us, (uint64_t)30 * 1000 * 1000);
    or_default(&options->flush_bytes, (uint64_t)256 << 20);
    or_default(&options->flush_us, 60 * 1000 * 1000);
    or_default(&options->tail_entries, 8192);
    or_default(&options->tail_bytes, (uint64_t)16 << 20);
    or_default(&options->digest_us, 20 * 1000 * 1000);
    or_default(&options->snapshot_chunk_bytes, (uint64_t)256 << 10);
    or_default(&options->snapshot_bytes_per_s, (uint64_t)128 << 20);
}

/* Is this node the only member of the configuration in force? */
static bool is_alone(const struct raft_driver *driver, const struct raft_loaded *loaded)
{
    struct raft_membership members = loaded->base.membership;
    if (loaded->config_count > 0 &&
        raft_membership_decode(loaded->configs[loaded->config_count - 1]->payload, &members,
                               NULL) != CF_OK) {
        return false;
    }
    return members.count == 1 && members.members[0].id == driver->identity.node_id;
}

static cf_status new_core(struct raft_driver *driver, const struct raft_loaded *loaded,
                          struct cf_error *err)
{
    struct raft_options options;
    raft_options_default(&options);
    options.id = driver->identity.node_id;
    options.incarnation = driver->incarnation;
    options.seed = cf_prng_next(&driver->prng);
    options.heartbeat_us = driver->options.heartbeat_us;
    options.election_us = driver->options.election_us;
    options.condition = driver->options.condition;
    options.reader = retention_reader(driver);
    driver->recovering = loaded->recovering;
    if (loaded->recovering || loaded->hard_state.commit > loaded->last_index || loaded->applied > loaded->last_index) {
        /* Something that was durable is gone (consensus.md 11): take no part until it is repaired.
         */
        options.condition |= RAFT_RECOVERING;
        cf_err("raft",
               "the log ends at entry %llu, but %llu was committed and %llu applied: this "
               "node lost data and fetches it from its leader",
               (unsigned long long)loaded->last_index,
               (unsigned long long)loaded->hard_state.commit, (unsigned long long)loaded->applied);
    }
    struct raft_start start = {
        .hard_state = loaded->hard_state,
        .base = loaded->base,
        .last_index = loaded->last_index,
        .applied = loaded->applied,
        .configs = loaded->configs,
        .config_count = loaded->config_count,
    };
    /* A sole voter has nobody to wait for: its first election timeout has passed already. */
    uint64_t now_us = loop_now_us(), past = 4 * driver->options.election_us;
    bool alone = is_alone(driver, loaded) && now_us > past;
    return raft_new(&options, &start, alone ? now_us - past : now_us, &driver->raft, err);
}

/* A lone voter that lost log has nobody to fetch it from. */
static cf_status check_alone(struct raft_driver *driver, const struct raft_loaded *loaded,
                             struct cf_error *err)
{
    if (is_alone(driver, loaded) && loaded->applied > loaded->last_index) {
        cf_fail(err, CF_CORRUPT, "the log ends at entry %llu, before the state at %llu",
                (unsigned long long)loaded->last_index, (unsigned long long)loaded->applied);
        cf_error_detail(err,
                        "Part of the log is lost, and there is no other node to fetch it from: "
                        "restore the data directory from a backup.");
        return CF_CORRUPT;
    }
    return CF_OK;
}

static void start_all(struct raft_driver *driver, const struct raft_loaded *loaded)
{
    autopilot_config_default(&driver->autopilot.config);
    if (driver->options.promote_after_us != 0) {
        driver->autopilot.config.stabilization_us = driver->options.promote_after_us;
        driver->autopilot.config.quick_us = driver->options.promote_after_us;
    }
    struct raft_applied at = {loaded->applied, loaded->applied_term};
    CF_OWNED(kv_family) state = raft_store_state(driver->store);
    driver->applier.state_changed(driver->applier.context, state, at.index, at.term,
                                  RAFT_STATE_STARTED);
    digest_start(driver);
    writer_start(driver);
    apply_start(driver, at);
    driver->carer = raft_worker_new(driver->loop, "raft-care");
    driver->fetcher = raft_worker_new(driver->loop, "raft-fetch");
    driver->core_timer = loop_timer_new(driver->loop, on_core_timer, driver);
    driver->tick_timer = loop_timer_new(driver->loop, on_tick, driver);
    driver->last_tick_us = loop_now_us();
    status_publish(driver);
    /* Nothing is called back before the caller has the driver in hand. */
    loop_timer_set(driver->core_timer, driver->last_tick_us);
    loop_timer_set(driver->tick_timer, driver->last_tick_us);
}

static void free_memory(void *arg)
{
    struct raft_driver *driver = arg;
    propose_done(driver);
    reads_done(driver);
    pthread_mutex_destroy(&driver->status_lock);
    raft_tail_free(driver->tail);
    raft_free(driver->raft);
    retention_stop(driver);
    cf_buf_done(&driver->scratch);
    cf_free(driver);
}

/* A cluster that was recovered without this node has said so once: it stays out of everything. */
static void load_superseded(struct raft_driver *driver)
{
    KV_VALUE(value) = {0};
    if (raft_store_get_record(driver->store, RAFT_SUPERSEDED_RECORD, &value, NULL) == CF_OK &&
        value.bytes.size == 8) {
        atomic_store(&driver->superseded, cf_get_u64(value.bytes.data));
        driver->options.condition |= RAFT_RECOVERING;
        cf_err("raft", "the cluster was recovered without this node: it takes no part any more. Stop "
                       "it, remove its data directory, and let it join again");
    }
}

/* consensus.md 13.8: for good, under this id. `coffer operator raft recover` begins a new epoch, and ends it. */
static void load_amnesia(struct raft_driver *driver)
{
    KV_VALUE(value) = {0};
    if (raft_store_get_record(driver->store, RAFT_AMNESIAC_RECORD, &value, NULL) == CF_OK &&
        value.bytes.size > 0) {
        driver->options.condition |= RAFT_RECOVERING | RAFT_AMNESIAC;
        cf_err("raft", "this node has lost what it had acknowledged: under this id it does not vote any more. "
                       "Stop it, remove its data directory, and let it join again");
    }
}

cf_status raft_driver_start(const struct raft_driver_options *options, struct raft_driver **ret,
                            struct cf_error *err)
{
    struct raft_loaded loaded;
    CF_TRY(raft_store_load_or_repair(options->store, &loaded, err));
    struct raft_driver *driver = cf_new(struct raft_driver);
    driver->options = *options;
    fill_defaults(&driver->options);
    driver->loop = options->loop;
    driver->store = options->store;
    driver->applier = options->applier;
    load_superseded(driver);
    load_amnesia(driver);
    driver->condition = driver->options.condition;
    raft_store_set_state_wal(driver->store, options->state_wal);
    driver->identity = raft_store_identity(options->store);
    cf_prng_seed(&driver->prng, options->seed);
    driver->incarnation = cf_prng_next(&driver->prng);
    driver->held_tail = &driver->held;
    pthread_mutex_init(&driver->status_lock, NULL);
    propose_init(driver);
    reads_init(driver);
    atomic_store(&driver->applied, loaded.applied);
    driver->tail = raft_tail_new(driver->options.tail_entries, driver->options.tail_bytes,
                                 loaded.last_index + 1);
    retention_start(driver, &loaded);
    cf_status status = new_core(driver, &loaded, err);
    if (status == CF_OK) {
        status = check_alone(driver, &loaded, err);
    }
    if (status == CF_OK) {
        status = level_check_store(driver, err);
    }
    if (status == CF_OK) {
        level_changed(driver);
        start_all(driver, &loaded);
        *ret = driver;
    } else {
        free_memory(driver);
    }
    raft_loaded_done(&loaded);
    return status;
}

void raft_driver_free(struct raft_driver *driver)
{
    if (driver == NULL) {
        return;
    }
    driver->stopping = true;
    propose_close(driver);
    loop_timer_free(driver->core_timer);
    loop_timer_free(driver->tick_timer);
    snap_send_drop_all(driver);
    writer_stop(driver);
    apply_stop(driver);
    digest_stop(driver);
    purge_stop(driver);
    raft_worker_free(driver->carer);
    raft_worker_free(driver->fetcher);
    snap_receive_stop(driver);
    propose_lost(driver, 0);
    reads_fail_all(driver);
    change_stop(driver);
    /* So that the next start has nothing to replay; a failure costs just that. */
    CF_OWNED(kv_family) state = raft_store_state(driver->store);
    cf_ignore(kv_flush(state, NULL), "the log holds everything that is not flushed");
    /* Tasks of ours may still stand in the loop's queue: the memory goes after them. */
    loop_post(driver->loop, free_memory, driver);
}
