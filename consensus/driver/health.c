/* consensus/driver/health.c
 *
 * A disk that hangs or is full (consensus.md 13.2, 13.3).
 *
 * Room on the disk has three levels. Enough; low: nothing is appended that does not free something;
 * none: nothing at all is appended, here and (as a follower) on behalf of others, as a log that
 * meets ENOSPC ends the process. A ballast is held back until the node itself has to write on a
 * disk without room, and counts as taken in all of this. What is admitted between two looks at the
 * disk is bounded, so a burst of writes cannot outrun them.
 */
#include "consensus/driver/driver_int.h"
#include "consensus/driver/store_int.h"
#include "node/base/log.h"

#define MIB ((uint64_t)1 << 20)
#define SPACE_LOW_MIN (24 * MIB) /* below it is low on any disk */
#define SPACE_LOW_MAX (512 * MIB) /* 5 % of a large disk would be a waste */
#define SPACE_COMPACTION (192 * MIB) /* what one compaction writes before it removes its input */
#define SPACE_NONE (8 * MIB)
#define SPACE_STEP (4 * MIB) /* of proposals between two looks */
#define BALLAST (64 * MIB)
#define BALLAST_RETRY_US ((uint64_t)10 * 1000 * 1000)
#define STALL_MIN_US (2 * TICK_US) /* we look no more often */
#define STALL_EXIT_US ((uint64_t)10 * 1000 * 1000)

/* ---- a disk that hangs */

/* A node whose disk hangs must not lead, and one that hangs for long must end (hashicorp/raft#503).
 * A pause of the whole process (SIGSTOP) is no stall: time counts only while we tick. A sole voter
 * goes on leading: nobody could take over, and giving up would leave clients without an answer to
 * writes that the disk is about to take. */
static void check_stall(struct raft_driver *driver, uint64_t now_us)
{
    uint64_t busy = atomic_load(&driver->writer.busy_since_us);
    uint64_t tick = now_us - driver->last_tick_us, age = busy != 0 && now_us > busy ? now_us - busy : 0;
    tick = tick < 2 * TICK_US ? tick : 2 * TICK_US;
    bool same = busy != 0 && busy == driver->stalled_write_us;
    driver->stalled_write_us = busy;
    driver->stalled_us = same ? driver->stalled_us + tick : age < tick ? age : tick;
    bool alone = driver_is_sole_voter(driver);
    uint64_t limit = cf_max(driver->options.election_us / 2, STALL_MIN_US);
    bool stalled = (driver->stalled_us >= limit && !alone) || driver->digest.is_diverged;
    uint32_t condition = (driver->condition & ~RAFT_STALLED) | (stalled ? RAFT_STALLED : 0);
    if (condition != driver->condition) {
        driver->condition = condition;
        driver->stalls += stalled;
        if (!driver->digest.is_diverged) {
            cf_warn("raft", stalled ? "the disk does not answer: leadership is given up"
                                    : "the disk answers again");
        }
        raft_set_condition(driver->raft, now_us, condition);
    }
    if (driver->stalled_us > STALL_EXIT_US && !alone) {
        struct cf_error err = {0};
        cf_fail(&err, CF_IO, "the disk has not answered for %u seconds",
                (unsigned)(STALL_EXIT_US / 1000000));
        driver_fatal(driver, RAFT_EXIT_DISK, &err);
    }
}

/* ---- a disk that is full */

static uint64_t ballast_of(uint64_t total)
{
    return total / 16 < BALLAST ? total / 16 : BALLAST;
}

static uint64_t low_of(uint64_t total)
{
    uint64_t share = total / 20;
    return share < SPACE_LOW_MIN ? SPACE_LOW_MIN : share > SPACE_LOW_MAX ? SPACE_LOW_MAX : share;
}

uint64_t raft_driver_space_needed(uint64_t total)
{
    return ballast_of(total) + low_of(total) + SPACE_NONE;
}

static void tell_space(struct raft_driver *driver, enum space_level before, uint64_t left)
{
    unsigned long long mib = left >> 20;
    switch (driver->space) {
    case SPACE_ENOUGH:
        cf_info("raft", "the data directory's disk has room again (%llu MiB)", mib);
        break;
    case SPACE_IS_LOW:
        if (before == SPACE_ENOUGH) {
            cf_err("raft",
                   "the data directory's disk is almost full (%llu MiB left): only what frees room "
                   "is written until there is more",
                   mib);
        }
        break;
    case SPACE_IS_GONE:
        cf_err("raft",
               "the data directory's disk is full: nothing is written until there is room. Make "
               "room on it, or give it more; reads go on");
        break;
    }
}

static void look_at_space(struct raft_driver *driver)
{
    uint64_t left = 0, total = 0;
    driver->space_admitted = 0;
    if (kv_space(raft_store_kv(driver->store), &left, &total, NULL) != CF_OK) {
        return;
    }
    driver->space_left = left;
    driver->space_total = total;
    /* As if the ballast were in place, so that giving it up does not look like new room. */
    uint64_t lacking = driver->ballast_held ? 0 : ballast_of(total);
    uint64_t usable = left > lacking ? left - lacking : 0, low = low_of(total);
    /* A compaction writes all of its output before its input goes, faster than we look. */
    uint64_t tables = raft_store_table_bytes(driver->store);
    low += tables < SPACE_COMPACTION ? tables : SPACE_COMPACTION;
    enum space_level before = driver->space, level;
    if (left + (driver->ballast_held ? ballast_of(total) : 0) < SPACE_NONE) {
        level = SPACE_IS_GONE;
    } else if (usable < low || (before != SPACE_ENOUGH && usable < low + low / 4)) {
        level = SPACE_IS_LOW; /* a little more to leave it than to enter it */
    } else {
        level = SPACE_ENOUGH;
    }
    driver->space = level;
    if (level != before) {
        tell_space(driver, before, left);
    }
}

/* Blocks while the file system finds room, which is quick where it can reserve at all. */
static void ballast_run(struct raft_job *job)
{
    struct raft_driver *driver = cf_container(job, struct raft_driver, ballast_job);
    driver->ballast_status =
        kv_ballast(raft_store_kv(driver->store), driver->ballast_bytes, NULL);
}

static void ballast_done(struct raft_job *job)
{
    struct raft_driver *driver = cf_container(job, struct raft_driver, ballast_job);
    driver->ballast_busy = false;
    driver->ballast_held = driver->ballast_status == CF_OK;
}

static void want_ballast(struct raft_driver *driver, uint64_t now_us)
{
    bool due = driver->ballast_tried_us == 0 || now_us - driver->ballast_tried_us > BALLAST_RETRY_US;
    if (driver->ballast_held || driver->ballast_busy || !due || driver->space != SPACE_ENOUGH ||
        driver->space_total == UINT64_MAX || driver->space_total == 0) {
        return;
    }
    driver->ballast_tried_us = now_us;
    driver->ballast_busy = true;
    driver->ballast_bytes = ballast_of(driver->space_total);
    driver->ballast_job = (struct raft_job){.run = ballast_run, .done = ballast_done};
    raft_worker_push(driver->carer, &driver->ballast_job);
}

void health_before_write(struct raft_driver *driver)
{
    if (driver->space == SPACE_ENOUGH || !driver->ballast_held) {
        return;
    }
    look_at_space(driver);
    if (driver->space_left < 2 * SPACE_NONE) {
        cf_warn("raft", "the reserve on the data directory's disk is given up");
        cf_ignore(kv_ballast(raft_store_kv(driver->store), 0, NULL), "the write will tell");
        driver->ballast_held = false;
        look_at_space(driver);
    }
}

bool health_admits(struct raft_driver *driver, bool frees, size_t bytes)
{
    driver->space_admitted += bytes;
    if (driver->space_admitted > SPACE_STEP) {
        look_at_space(driver);
    }
    if (driver->space == SPACE_ENOUGH) {
        return true;
    }
    look_at_space(driver); /* what was seen may be a tick old */
    health_before_write(driver);
    return driver->space == SPACE_ENOUGH || (driver->space == SPACE_IS_LOW && frees);
}

bool health_takes_entries(struct raft_driver *driver, size_t bytes)
{
    return health_admits(driver, true, bytes);
}

/* ---- damage */

static void recovered_run(struct raft_job *job)
{
    struct raft_driver *driver = cf_container(job, struct raft_driver, recovered_job);
    cf_ignore(raft_store_recovered(driver->store, NULL), "the next start only asks once more");
}

static void recovered_done(struct raft_job *job)
{
    struct raft_driver *driver = cf_container(job, struct raft_driver, recovered_job);
    driver->recovered_busy = driver->recovering = false;
}

/* Between two hops an entry lies in memory, which may go bad as well as a disk (I-24). */
cf_status driver_check_entries(struct raft_driver *driver, struct raft_entry *const *entries,
                               size_t count, const char *when, struct cf_error *err)
{
    if (raft_entries_check(entries, count, err) == CF_OK) {
        return CF_OK;
    }
    atomic_fetch_add(&driver->crc_failures, 1);
    return cf_fail(err, CF_CORRUPT,
                   "a log entry that %s has changed in memory: test the memory of this machine", when);
}

static void lost_run(struct raft_job *job)
{
    struct raft_driver *driver = cf_container(job, struct raft_driver, recovered_job);
    bool amnesiac = (driver->lost_condition & RAFT_AMNESIAC) != 0;
    cf_ignore(amnesiac ? raft_store_put_record(driver->store, RAFT_AMNESIAC_RECORD, CF_SLICE("1"), NULL)
                       : raft_store_set_recovering(driver->store, NULL),
              "others tell it again after a restart");
}

static void lost_done(struct raft_job *job)
{
    struct raft_driver *driver = cf_container(job, struct raft_driver, recovered_job);
    driver->recovered_busy = false;
    driver->recovering |= (driver->lost_condition & RAFT_AMNESIAC) == 0;
}

/* A block that fails its checksum was told by whoever read it, and nothing was made of it. With
 * peers the node ends and its next start fetches everything anew; alone it goes on with what can be
 * read, as there is nothing better. */
static void check_damage(struct raft_driver *driver)
{
    uint64_t corruptions = kv_corruption_count(raft_store_kv(driver->store));
    if (corruptions != driver->corruptions) {
        struct cf_error err = {0};
        driver->corruptions = corruptions;
        cf_fail(&err, CF_CORRUPT, "stored data is damaged");
        cf_error_detail(&err, "A block of a file fails its checksum.");
        if (!store_is_alone(driver->store)) {
            driver_fatal(driver, RAFT_EXIT_CORRUPT, &err);
        } else if (!driver->damaged) {
            cf_err("raft", "stored data is damaged, and there is no other node to fetch it from: "
                           "what cannot be read answers an error. Restore a snapshot");
        }
        driver->damaged = true;
    }
    struct raft_status status;
    struct raft_counters counters;
    raft_status(driver->raft, &status);
    raft_counters(driver->raft, &counters);
    if (counters.amnesia + counters.commit_beyond_last != driver->losses && !driver->recovered_busy) {
        cf_err("raft", "this node's log lacks what it had acknowledged, as other nodes know: an older copy of "
                       "its disk was put back, or the disk lost data. Under this id it does not vote any more, as "
                       "it may have forgotten a vote, too: stop it, remove its data directory, and let it join "
                       "again");
        driver->lost_condition = status.soft.condition;
        driver->losses = counters.amnesia + counters.commit_beyond_last;
        driver->recovered_busy = true; /* so that it is known after a restart, too */
        driver->recovered_job = (struct raft_job){.run = lost_run, .done = lost_done};
        raft_worker_push(driver->carer, &driver->recovered_job);
    }
    if (driver->recovering && (status.soft.condition & RAFT_RECOVERING) == 0 &&
        !driver->recovered_busy) {
        driver->recovered_busy = true;
        driver->recovered_job = (struct raft_job){.run = recovered_run, .done = recovered_done};
        raft_worker_push(driver->carer, &driver->recovered_job);
        cf_info("raft", "what was lost is back: this node votes again");
    }
}

void health_tick(struct raft_driver *driver, uint64_t now_us)
{
    check_damage(driver);
    check_stall(driver, now_us);
    look_at_space(driver);
    want_ballast(driver, now_us);
}
