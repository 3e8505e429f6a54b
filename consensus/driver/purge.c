/* consensus/driver/purge.c
 *
 * What was deleted goes from the disk's files, too, and not only when the store comes round to it: a secondary that must
 * not have some data any more has them in entries of its log, in files of its state, and in the store's log of writes.
 *
 * First the log is cut (retention.c asks purge_index), then files are rewritten on a thread of their own: this may take
 * minutes, and what syncs must not wait behind it. A snapshot of the store keeps what it sees, so that the views of that
 * time have to go first; where one stays long, files are rewritten with it, and once more without.
 */
#include "consensus/driver/driver_int.h"
#include "node/base/log.h"

static void purge_run(struct raft_job *job)
{
    struct purge *purge = cf_container(job, struct purge, job);
    struct raft_driver *driver = cf_container(purge, struct raft_driver, purge);
    struct cf_error err = {0};
    purge->status = raft_store_purge(driver->store, purge->job_index, &err);
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
    purge->index = 0;
}

uint64_t purge_index(const struct raft_driver *driver)
{
    return driver->purge.index;
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
    if (purge->index == 0 || purge->is_busy || base_index < purge->index || driver->stopping ||
        !is_due(driver, now_us)) {
        return;
    }
    if (purge->worker == NULL) {
        purge->worker = raft_worker_new(driver->loop, "raft-purge");
    }
    purge->is_busy = true;
    purge->job_index = purge->index;
    purge->job = (struct raft_job){.run = purge_run, .done = purge_done};
    raft_worker_push(purge->worker, &purge->job);
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
