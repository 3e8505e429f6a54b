/* consensus/driver/status.c: what other threads may see of the core. */
#include <stdlib.h>
#include <string.h>

#include "consensus/driver/driver_int.h"

/* Copies NUL-terminated text into room that holds the longest one. */
#define copy_text(to, from) memcpy((to), (from), sizeof(to))

/* ---- lag of peers */

void status_note_age(struct raft_driver *driver, uint64_t now_us)
{
    struct raft_status core;
    raft_status(driver->raft, &core);
    const struct age *latest = driver->age_count > 0 ? &driver->ages[driver->age_count - 1] : NULL;
    if (latest != NULL && latest->index == core.last_index) {
        return;
    }
    if (latest != NULL && latest->index > core.last_index) {
        driver->age_count = 0; /* truncated */
    }
    if (driver->age_count == AGES_MAX) { /* the older half counts as one: they are a minute old */
        memmove(driver->ages, driver->ages + AGES_MAX / 2, AGES_MAX / 2 * sizeof(driver->ages[0]));
        driver->age_count = AGES_MAX - AGES_MAX / 2;
    }
    driver->ages[driver->age_count++] = (struct age){core.last_index, now_us};
}

/* Since when the log has held something above `match`. */
static uint64_t behind_since(const struct raft_driver *driver, uint64_t match)
{
    size_t low = 0, high = driver->age_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (driver->ages[middle].index <= match) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < driver->age_count ? driver->ages[low].us : 0;
}

static void fill_lag(const struct raft_driver *driver, uint64_t last_index, uint64_t now_us,
                     struct raft_peer_info *peer)
{
    peer->lag_entries = last_index > peer->match ? last_index - peer->match : 0;
    if (peer->lag_entries > 0) {
        uint64_t since = behind_since(driver, peer->match);
        peer->lag_bytes = retention_bytes_above(driver, peer->match);
        peer->lag_us = since != 0 && now_us > since ? now_us - since : 0;
    }
}

static void fill_peers(struct raft_driver *driver, struct raft_driver_status *ret)
{
    const struct raft_membership *members = raft_membership(driver->raft);
    struct raft_peer_status known[RAFT_MEMBERS_MAX];
    size_t count = cf_min(raft_peers(driver->raft, known, RAFT_MEMBERS_MAX), RAFT_MEMBERS_MAX);
    uint64_t now_us = loop_now_us();
    ret->peer_count = members->count;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->members[i];
        struct raft_peer_info *peer = &ret->peers[i];
        *peer = (struct raft_peer_info){
            .id = member->id, .role = member->role, .features = member->features};
        for (size_t n = 0; n < driver->non_voter_count; n++) {
            peer->is_non_voter |= driver->non_voters[n] == member->id;
        }
        copy_text(peer->address, member->address);
        copy_text(peer->name, member->name);
        if (member->id == ret->leader) {
            copy_text(ret->leader_address, member->address);
        }
        for (size_t n = 0; n < count; n++) {
            if (known[n].id == member->id) {
                peer->match = known[n].match;
                peer->last_index = known[n].last_index;
                peer->heard_us = known[n].heard_us;
                peer->condition = known[n].condition;
                peer->state = known[n].state;
                fill_lag(driver, ret->last_index, now_us, peer);
            }
        }
    }
}

/* ---- wall clocks */

#define CLOCK_KEEP_US ((uint64_t)5 * 1000 * 1000)

void status_clock(struct raft_driver *driver, uint64_t peer, int64_t wall_ns)
{
    uint64_t now_us = loop_now_us();
    size_t at = 0, oldest = 0;
    for (; at < CF_LENGTH(driver->clocks) && driver->clocks[at].id != peer; at++) {
        oldest = driver->clocks[at].heard_us < driver->clocks[oldest].heard_us ? at : oldest;
    }
    at = at < CF_LENGTH(driver->clocks) ? at : oldest;
    driver->clocks[at].id = peer;
    driver->clocks[at].heard_us = now_us;
    driver->clocks[at].offset_ns = wall_ns - cf_wall_ns(cf_host_clock());
}

static int compare_offsets(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static struct raft_clocks measure_clocks(const struct raft_driver *driver, uint64_t now_us)
{
    const struct raft_membership *members = raft_membership(driver->raft);
    struct raft_clocks clocks = {0};
    int64_t offsets[RAFT_MEMBERS_MAX];
    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->members[i];
        if (!(member->role & RAFT_VOTER)) {
            continue;
        }
        clocks.voters++;
        if (member->id == driver->identity.node_id) {
            offsets[clocks.heard++] = 0;
        }
        for (size_t n = 0; n < CF_LENGTH(driver->clocks); n++) {
            if (driver->clocks[n].id == member->id &&
                now_us - driver->clocks[n].heard_us <= CLOCK_KEEP_US) {
                offsets[clocks.heard++] = driver->clocks[n].offset_ns;
            }
        }
    }
    qsort(offsets, clocks.heard, sizeof(offsets[0]), compare_offsets);
    for (unsigned i = 0; i < clocks.heard; i++) {
        int64_t size = offsets[i] < 0 ? -offsets[i] : offsets[i];
        clocks.spread_ns = size > clocks.spread_ns ? size : clocks.spread_ns;
    }
    if (clocks.heard > 0) {
        /* The lower one of two in the middle: time is never pulled forward by one node alone. */
        clocks.median_ns = offsets[(clocks.heard - 1) / 2];
    }
    return clocks;
}

void raft_driver_clocks(struct raft_driver *driver, struct raft_clocks *ret)
{
    pthread_mutex_lock(&driver->status_lock);
    *ret = driver->clocks_now;
    pthread_mutex_unlock(&driver->status_lock);
}

/* ---- the whole */

void status_publish(struct raft_driver *driver)
{
    struct raft_status core;
    raft_status(driver->raft, &core);
    uint64_t contact_us = core.soft.role == RAFT_LEADER || driver->contact_us == 0 ? loop_now_us() : core.leader_heard_us;
    driver->contact_us = cf_max(driver->contact_us, contact_us);
    struct raft_driver_status status = {
        .id = driver->identity.node_id,
        .role = core.soft.role,
        .leader_ready = atomic_load(&driver->accepting),
        .removed = core.soft.removed,
        .superseded = atomic_load(&driver->superseded),
        .condition = core.soft.condition,
        .term = core.term,
        .leader = core.leader,
        .commit = core.commit,
        .applied = atomic_load(&driver->applied),
        .flushed = atomic_load(&driver->flushed),
        .last_index = core.last_index,
        .last_term = core.last_term,
        .first_index = atomic_load(&driver->first_index),
        .leader_heard_us = core.leader_heard_us,
        .contact_us = driver->contact_us,
        .floor = retention_floor(driver),
        .disk_full = driver->space != SPACE_ENOUGH,
        .disk_left = driver->space_left,
        .disk_total = driver->space_total,
        .disk_stalls = driver->stalls,
        .late_us_max = driver->late_us_max,
        .lates = driver->lates,
        .damaged = driver->damaged,
        .diverged = driver->digest.is_diverged,
        .digest_split = driver->digest.is_split,
        .digests = driver->digest.count,
        .digest_mismatches = driver->digest.mismatches,
        .digest_index = driver->digest.own.index,
        .corruptions = kv_corruption_count(raft_store_kv(driver->store)),
        .feature_level = driver->options.features,
        .level = (uint32_t)atomic_load(&driver->level),
        .state_level = (uint32_t)atomic_load(&driver->state_level),
        .crc_failures = atomic_load(&driver->crc_failures),
        .log_bytes = driver->log_bytes,
        .log_bytes_max = driver->options.log_bytes_max,
        .frames_refused = driver->frames_refused,
        .proposals = atomic_load(&driver->proposals),
        .writes = atomic_load(&driver->writer.writes),
        .write_us_max = atomic_load(&driver->writer.write_us_max),
        .syncs = kv_sync_count(raft_store_kv(driver->store)),
        .snapshot_receiving = driver->receive != NULL,
        .snapshot_bytes = snap_receive_bytes(driver),
    };
    raft_counters(driver->raft, &status.counters);
    fill_peers(driver, &status);
    struct raft_clocks clocks = measure_clocks(driver, loop_now_us());
    pthread_mutex_lock(&driver->status_lock);
    driver->clocks_now = clocks;
    driver->status = status;
    pthread_mutex_unlock(&driver->status_lock);
}

void raft_driver_status(struct raft_driver *driver, struct raft_driver_status *ret)
{
    pthread_mutex_lock(&driver->status_lock);
    *ret = driver->status;
    pthread_mutex_unlock(&driver->status_lock);
    ret->applied = atomic_load(&driver->applied);
    uint64_t busy = atomic_load(&driver->writer.busy_since_us), now = loop_now_us();
    ret->oldest_write_us = busy != 0 && now > busy ? now - busy : 0;
    pthread_mutex_lock(&driver->queue_lock);
    ret->queue_entries = driver->queue_count;
    ret->queue_bytes = driver->queue_bytes;
    pthread_mutex_unlock(&driver->queue_lock);
}

uint64_t raft_driver_applied(const struct raft_driver *driver)
{
    return atomic_load(&driver->applied);
}

bool raft_driver_is_leader(const struct raft_driver *driver)
{
    return atomic_load(&driver->accepting);
}

uint64_t raft_driver_term(const struct raft_driver *driver)
{
    return atomic_load(&driver->term);
}

uint64_t raft_driver_leader(const struct raft_driver *driver)
{
    return atomic_load(&driver->leader);
}

void raft_driver_timing(const struct raft_driver *driver, enum raft_step step, struct raft_histogram *ret)
{
    timing_read(&driver->timing, step, ret);
}
