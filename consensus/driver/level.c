/* consensus/driver/level.c
 *
 * Which feature level is in force (node/base/level.h; consensus.md 3, 9): the lowest among the members of the
 * configuration, learners included. Each member's own stands in the configuration, and a leader corrects it when a
 * member says another in its frames, as after an upgrade. So all nodes agree on when a level begins: an entry that
 * needs it stands in the log behind the configuration that allows it.
 *
 * Back to an older build goes as long as nothing was written that it can't read: the highest level of what was applied
 * is kept with the state ("\0level"), and a build below it refuses the directory. A leader that hears a member say
 * less than the configuration has goes down at once, and writes it down after that; one that is itself below it takes
 * no proposals before it did.
 */
#include <string.h>

#include "consensus/driver/driver_int.h"
#include "node/base/level.h"
#include "node/base/log.h"

static uint32_t lower(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

#define REFUSED_LOG_US ((uint64_t)60 * 1000 * 1000)

/* Only a leader hears of everybody, and only in its own term: NULL elsewhere. What was heard at another time may be
 * older than the configuration. */
static uint32_t *heard_of(struct raft_driver *driver, uint64_t id)
{
    if (driver->soft.role != RAFT_LEADER || driver->levels.term != driver->soft.term) {
        return NULL;
    }
    for (size_t i = 0; i < CF_LENGTH(driver->levels.heard); i++) {
        if (driver->levels.heard[i].id == id) {
            return &driver->levels.heard[i].features;
        }
    }
    return NULL;
}

/* What the member can do, as far as this node knows: what it says counts where that is less. */
static uint32_t level_of(struct raft_driver *driver, const struct raft_member *member)
{
    if (member->id == driver->identity.node_id) {
        return lower(member->features, driver->options.features);
    }
    const uint32_t *heard = heard_of(driver, member->id);
    return heard != NULL ? lower(*heard, member->features) : member->features;
}

void level_changed(struct raft_driver *driver)
{
    const struct raft_membership *members = raft_membership(driver->raft);
    uint32_t level = members->count > 0 ? UINT32_MAX : LEVEL_FIRST, written = level;
    for (uint32_t i = 0; i < members->count; i++) {
        level = lower(level, level_of(driver, &members->members[i]));
        written = lower(written, members->members[i].features);
    }
    level = lower(level, driver->options.features);
    level = level > LEVEL_FIRST ? level : LEVEL_FIRST;
    driver->levels.is_behind = written > driver->options.features;
    uint32_t before = (uint32_t)atomic_exchange(&driver->level, level);
    if (before != level && before != 0) {
        cf_info("raft", "feature level %u is in force, after %u", level, before);
    }
}

void level_heard(struct raft_driver *driver, uint64_t from, uint32_t features)
{
    if (driver->soft.role != RAFT_LEADER) {
        return;
    }
    if (driver->levels.term != driver->soft.term) {
        memset(driver->levels.heard, 0, sizeof(driver->levels.heard));
        driver->levels.term = driver->soft.term;
        driver->levels.next = 0;
    }
    uint32_t *heard = heard_of(driver, from);
    if (heard == NULL) {
        size_t at = driver->levels.next++ % CF_LENGTH(driver->levels.heard);
        driver->levels.heard[at].id = from;
        driver->levels.heard[at].features = 0;
        heard = &driver->levels.heard[at].features;
    }
    if (*heard != features && features != 0) {
        *heard = features;
        level_changed(driver);
    }
}

void level_tick(struct raft_driver *driver)
{
    struct raft_status status;
    raft_status(driver->raft, &status);
    if (status.soft.role != RAFT_LEADER || !status.soft.leader_ready || driver->change.index != 0 ||
        status.joint || !status.config_committed || status.transfer_to != RAFT_NONE) {
        return;
    }
    struct raft_membership target = *raft_membership(driver->raft);
    unsigned changed = 0;
    for (uint32_t i = 0; i < target.count; i++) {
        struct raft_member *member = &target.members[i];
        const uint32_t *heard = heard_of(driver, member->id);
        uint32_t says = member->id == driver->identity.node_id ? driver->options.features
                        : heard != NULL                        ? *heard
                                                               : member->features;
        if (says != member->features && says != 0) {
            cf_info("raft", "node \"%s\" (%016llx) is at feature level %u now, after %u", member->name,
                    (unsigned long long)member->id, says, member->features);
            member->features = says;
            changed++;
        }
    }
    if (changed > 0) {
        cf_ignore(change_members(driver, &target, NULL) != CF_OK, "the next tick looks again");
    }
}

cf_status level_admits_member(struct raft_driver *driver, uint32_t features, struct cf_error *err)
{
    uint32_t level = raft_driver_level(driver);
    if (features >= level) {
        return CF_OK;
    }
    return cf_fail(err, CF_INVALID,
                   "this cluster works at feature level %u, the joining node has %u: upgrade it first",
                   level, features);
}

bool level_takes_snapshot(struct raft_driver *driver, uint32_t level)
{
    if (level <= driver->options.features) {
        return true;
    }
    uint64_t now_us = loop_now_us();
    if (driver->levels.refused_us == 0 || now_us - driver->levels.refused_us > REFUSED_LOG_US) {
        driver->levels.refused_us = now_us;
        cf_err("raft", "refused a snapshot that needs feature level %u, this node has %u: upgrade it",
               level, driver->options.features);
    }
    return false;
}

cf_status level_check_store(struct raft_driver *driver, struct cf_error *err)
{
    CF_OWNED(kv_family) state = raft_store_state(driver->store);
    uint32_t level;
    CF_TRY(raft_store_read_level(kv_now(raft_store_kv(driver->store)), state, &level, err));
    driver->apply.level = level;
    atomic_store(&driver->state_level, level);
    if (level > driver->options.features) {
        cf_fail(err, CF_UNSUPPORTED,
                "the data directory needs feature level %u, this build has %u: upgrade it", level,
                driver->options.features);
        cf_error_detail(err, "A newer version has written here what this one cannot read: start that one "
                             "again.");
        return CF_UNSUPPORTED;
    }
    return CF_OK;
}

cf_status level_note_entries(struct raft_driver *driver, const struct raft_entry_view *entries,
                             size_t count, struct cf_error *err)
{
    const struct applier *applier = &driver->applier;
    uint32_t level = driver->apply.level;
    for (size_t i = 0; i < count && applier->level != NULL; i++) {
        uint32_t needed = applier->level(applier->context, entries[i].payload);
        if (needed > driver->options.features) {
            return cf_fail(err, CF_UNSUPPORTED,
                           "entry %llu needs feature level %u, this node has %u: upgrade it",
                           (unsigned long long)entries[i].index, needed, driver->options.features);
        }
        level = needed > level ? needed : level;
    }
    if (level > driver->apply.level) {
        raft_store_add_level(driver->apply.batch, driver->apply.state, level);
        driver->apply.level = level; /* a batch that is not committed ends the process */
        atomic_store(&driver->state_level, level);
    }
    return CF_OK;
}

uint32_t raft_driver_level(const struct raft_driver *driver)
{
    return (uint32_t)atomic_load_explicit(&driver->level, memory_order_acquire);
}
