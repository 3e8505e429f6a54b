/* consensus/driver/purge.c
 *
 * What was deleted goes from the disk's files, too, and not only when the store comes round to it: a secondary that must
 * not have some data any more has them in entries of its log, in files of its state, and in the store's log of writes.
 *
 * First the file that the log's newest entries go to is ended, then the log is cut there (retention.c asks
 * purge_index), then files are rewritten on a thread of their own: this may take
 * minutes, and what syncs must not wait behind it. A snapshot of the store keeps what it sees, so that the views of that
 * time have to go first; where one stays long, files are rewritten with it, and once more without.
 */
#include "consensus/driver/driver_int.h"
#include "node/base/log.h"

static void end_file_run(struct raft_job *job)
{
    struct purge *purge = cf_container(job, struct purge, job);
    struct raft_driver *driver = cf_container(purge, struct raft_driver, purge);
    purge->status = raft_store_end_log_file(driver->store, &purge->ended_at, NULL);
}

static void end_file_done(struct raft_job *job)
{
    struct purge *purge = cf_container(job, struct purge, job);
    purge->is_busy = false;
    if (purge->status == CF_OK && purge->job_index == purge->index) {
        purge->cut_at = cf_max(purge->ended_at, purge->index);
    }
}

static void purge_run(struct raft_job *job)
{
    struct purge *purge = cf_container(job, struct purge, job);
    struct raft_driver *driver = cf_container(purge, struct raft_driver, purge);
    struct cf_error err = {0};
    purge->status = raft_store_purge(driver->store, purge->job_cut, &err);
    if (purge->status != CF_OK) {
        cf_warn("raft", "files were not rewritten, will try again: %s %s", err.message, err.detail);
    }
}

static void purge_done(struct raft_job *job)
{
    struct purge *purge = cf_container(job, struct purge, job);
    struct raft_driver *driver = cf_container(purge, struct raft_driver, purge);
    struct cf_error err = {0};
    purge->is_busy = false;
    if (purge->status != CF_OK || driver->stopping || !purge->is_last ||
        purge->job_index != purge->index) {
        return;
    }
    cf_info("raft", "what was deleted up to entry %llu is gone from the files of this node",
            (unsigned long long)purge->index);
    if (raft_store_set_purged(driver->store, purge->index, &err) != CF_OK) {
        cf_warn("raft", "cannot note that files were rewritten: %s", err.message);
    }
    purge->done_index = purge->index;
    purge->index = purge->cut_at = 0;
}

static void push(struct raft_driver *driver, struct raft_job job)
{
    struct purge *purge = &driver->purge;
    if (purge->worker == NULL) {
        purge->worker = raft_worker_new(driver->loop, "raft-purge");
    }
    purge->is_busy = true;
    purge->job_index = purge->index;
    purge->job_cut = purge->cut_at;
    purge->job = job;
    raft_worker_push(purge->worker, &purge->job);
}

uint64_t purge_index(const struct raft_driver *driver)
{
    return driver->purge.cut_at;
}

static bool is_due(struct raft_driver *driver, uint64_t now_us)
{
    struct purge *purge = &driver->purge;
    purge->is_last = !raft_store_has_older_snapshot(driver->store, purge->snapshot);
    if (purge->is_last) {
        return true;
    }
    bool early = !purge->is_early && now_us - purge->asked_us >= driver->options.purge_early_us;
    purge->is_early = purge->is_early || early;
    return early;
}

void purge_tick(struct raft_driver *driver, uint64_t base_index, uint64_t now_us)
{
    struct purge *purge = &driver->purge;
    if (purge->index == 0 || purge->is_busy || driver->stopping) {
        return;
    }
    if (purge->cut_at == 0) {
        push(driver, (struct raft_job){.run = end_file_run, .done = end_file_done});
    } else if (base_index >= purge->cut_at && is_due(driver, now_us)) {
        push(driver, (struct raft_job){.run = purge_run, .done = purge_done});
    }
}

void raft_driver_purge(struct raft_driver *driver, uint64_t index, uint64_t snapshot)
{
    struct purge *purge = &driver->purge;
    if (!purge->is_known) {
        purge->is_known = true;
        purge->done_index = raft_store_purged(driver->store);
    }
    if (index > purge->done_index && index > purge->index) {
        purge->index = index;
        purge->cut_at = 0;
        purge->snapshot = snapshot;
        purge->asked_us = loop_now_us();
        purge->is_early = false;
    }
}

void purge_stop(struct raft_driver *driver)
{
    if (driver->purge.worker != NULL) {
        raft_store_allow_purges(driver->store, false);
        raft_worker_free(driver->purge.worker);
        raft_store_allow_purges(driver->store, true);
        driver->purge.worker = NULL;
    }
}
