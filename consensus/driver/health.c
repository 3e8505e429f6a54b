/* consensus/driver/health.c: a disk that hangs or is full. */
#include "consensus/driver/driver_int.h"
#include "node/base/log.h"

#define SPACE_CHECK_US ((uint64_t)1000 * 1000)
#define SPACE_MIN ((uint64_t)64 << 20)  /* always too little */
#define SPACE_LOW ((uint64_t)512 << 20) /* too little when it is below 5 % as well */
#define STALL_EXIT_US ((uint64_t)30 * 1000 * 1000)

/* A node whose disk hangs must not lead, and one that hangs for long must end (hashicorp/raft#503).
 * A pause of the whole process (SIGSTOP) is no stall: time counts only while we tick. A sole voter
 * goes on leading: nobody could take over, and giving up would leave clients without an answer to
 * writes that the disk is about to take. */
static void check_stall(struct raft_driver *driver, uint64_t now_us)
{
    uint64_t busy = atomic_load(&driver->writer.busy_since_us);
    uint64_t tick = now_us - driver->last_tick_us;
    bool slow = busy != 0 && now_us > busy && now_us - busy > driver->options.election_us;
    driver->stalled_us = slow ? driver->stalled_us + (tick < 2 * TICK_US ? tick : 2 * TICK_US) : 0;
    bool stalled =
        driver->stalled_us > driver->options.election_us && !driver_is_sole_voter(driver);
    uint32_t condition = (driver->condition & ~RAFT_STALLED) | (stalled ? RAFT_STALLED : 0);
    if (condition != driver->condition) {
        driver->condition = condition;
        cf_warn("raft", condition & RAFT_STALLED
                            ? "the disk does not answer: leadership is given up"
                            : "the disk answers again");
        raft_set_condition(driver->raft, now_us, condition);
    }
    if (driver->stalled_us > STALL_EXIT_US) {
        struct cf_error err = {0};
        cf_fail(&err, CF_IO, "the disk has not answered for 30 seconds");
        driver_fatal(driver, RAFT_EXIT_DISK, &err);
    }
}

static void check_space(struct raft_driver *driver, uint64_t now_us)
{
    if (now_us - driver->space_checked_us < SPACE_CHECK_US) {
        return;
    }
    driver->space_checked_us = now_us;
    uint64_t left = 0, total = 0;
    if (kv_space(raft_store_kv(driver->store), &left, &total, NULL) != CF_OK) {
        return;
    }
    bool full = left < SPACE_MIN || (left < SPACE_LOW && left < total / 20);
    if (full != driver->disk_full) {
        driver->disk_full = full;
        if (full) {
            cf_err("raft",
                   "the data directory's disk is almost full (%llu MiB left): writes are "
                   "refused until there is room",
                   (unsigned long long)(left >> 20));
        } else {
            cf_info("raft", "the data directory's disk has room again");
        }
    }
}

void health_tick(struct raft_driver *driver, uint64_t now_us)
{
    check_stall(driver, now_us);
    check_space(driver, now_us);
}
