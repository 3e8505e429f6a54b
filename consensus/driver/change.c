/* consensus/driver/change.c
 *
 * Membership and leadership: one change at a time, told to its caller once it is applied here.
 * autopilot.c asks for some of them by itself.
 */
#include <string.h>

#include "consensus/driver/driver_int.h"

static void tell(raft_change_fn *done, void *context, cf_status status, const struct cf_error *err)
{
    raft_change_fn fn = *done;
    *done = NULL;
    if (fn != NULL) {
        fn(context, status, err);
    }
}

static void end_change(struct raft_driver *driver, cf_status status)
{
    struct change *change = &driver->change;
    change->index = 0;
    tell(&change->done, change->context, status, NULL);
}

void change_applied(struct raft_driver *driver, uint64_t applied)
{
    if (driver->change.index == 0 || applied < driver->change.index) {
        return;
    }
    struct raft_status status;
    raft_status(driver->raft, &status);
    if (!status.joint && status.config_committed) {
        end_change(driver, CF_OK);
    }
}

void change_lost(struct raft_driver *driver)
{
    if (driver->change.index != 0) {
        /* A leader that was to be removed is over because that is committed. */
        struct raft_status status;
        raft_status(driver->raft, &status);
        bool is_done = status.soft.removed && status.config_committed && !status.joint;
        end_change(driver, is_done ? CF_OK : CF_UNKNOWN_OUTCOME);
    }
    tell(&driver->transfer_done, driver->transfer_context, CF_OK, NULL);
}

void change_stop(struct raft_driver *driver)
{
    if (driver->change.index != 0) {
        end_change(driver, CF_UNKNOWN_OUTCOME);
    }
    tell(&driver->transfer_done, driver->transfer_context, CF_UNAVAILABLE, NULL);
}

/* Of the configuration in force. */
static uint64_t config_index(struct raft_driver *driver)
{
    struct raft_status status;
    raft_status(driver->raft, &status);
    return status.config_index;
}

static cf_status begin_change(struct raft_driver *driver, const struct raft_membership *target,
                              raft_change_fn done, void *context, struct cf_error *err)
{
    if (driver->change.index != 0) {
        return cf_fail(err, CF_BUSY, "another change of the cluster's members is under way");
    }
    uint64_t index = 0;
    CF_TRY(raft_change_membership(driver->raft, loop_now_us(), target, &index, err));
    driver->change = (struct change){done, context, index};
    driver_pump(driver);
    return CF_OK;
}

cf_status change_members(struct raft_driver *driver, const struct raft_membership *target,
                         struct cf_error *err)
{
    return begin_change(driver, target, NULL, NULL, err);
}

/* The configuration in force as a target; a joint one is refused by the core anyhow. */
static struct raft_membership current(struct raft_driver *driver)
{
    return *raft_membership(driver->raft);
}

cf_status raft_driver_add(struct raft_driver *driver, uint64_t id, const char *address,
                          const char *name, uint32_t features, raft_change_fn done, void *context,
                          struct cf_error *err)
{
    CF_TRY(level_admits_member(driver, features, err));
    struct raft_membership target = current(driver);
    const struct raft_member *known = raft_membership_find(&target, id);
    uint8_t role = known != NULL ? known->role : RAFT_LEARNER;
    CF_TRY(raft_membership_set(&target, id, role, features, address, name, err));
    cf_status status = begin_change(driver, &target, done, context, err);
    if (status == CF_EXISTS) { /* asked again after a lost answer */
        driver->change = (struct change){done, context, cf_max(config_index(driver), 1)};
        return CF_OK;
    }
    return status;
}

cf_status raft_driver_promote(struct raft_driver *driver, uint64_t id, raft_change_fn done,
                              void *context, struct cf_error *err)
{
    struct raft_membership target = current(driver);
    const struct raft_member *known = raft_membership_find(&target, id);
    if (known == NULL) {
        return cf_fail(err, CF_NOT_FOUND, "the cluster has no such member");
    }
    if (known->role & RAFT_VOTER) {
        return cf_fail(err, CF_EXISTS, "the member is a voter already");
    }
    struct raft_member member = *known;
    CF_TRY(raft_membership_set(&target, id, RAFT_VOTER, member.features, member.address,
                               member.name, err));
    return begin_change(driver, &target, done, context, err);
}

cf_status raft_driver_remove(struct raft_driver *driver, uint64_t id, raft_change_fn done,
                             void *context, struct cf_error *err)
{
    struct raft_membership target = current(driver);
    if (!raft_membership_remove(&target, id)) {
        return cf_fail(err, CF_NOT_FOUND, "the cluster has no such member");
    }
    return begin_change(driver, &target, done, context, err);
}

cf_status raft_driver_replace(struct raft_driver *driver, uint64_t old, uint64_t id,
                              const char *address, const char *name, uint32_t features,
                              bool as_learner, raft_change_fn done, void *context,
                              struct cf_error *err)
{
    CF_TRY(level_admits_member(driver, features, err));
    struct raft_membership target = current(driver);
    const struct raft_member *gone = raft_membership_find(&target, old);
    if (gone == NULL) {
        return cf_fail(err, CF_NOT_FOUND, "the cluster has no such member");
    }
    if (raft_membership_find(&target, id) != NULL || old == driver->identity.node_id) {
        return cf_fail(err, CF_INVALID, "one member replaces another one");
    }
    /* With the vote of the one that it replaces: the cluster can't do without fewer members than
     * before, and is never of an even size on the way (consensus.md 9). */
    uint8_t role = (gone->role & RAFT_VOTER) != 0 && !as_learner ? RAFT_VOTER : RAFT_LEARNER;
    (void)raft_membership_remove(&target, old);
    CF_TRY(raft_membership_set(&target, id, role, features, address, name, err));
    return begin_change(driver, &target, done, context, err);
}

cf_status raft_driver_transfer(struct raft_driver *driver, uint64_t to, raft_change_fn done,
                               void *context, struct cf_error *err)
{
    if (driver->transfer_done != NULL) {
        return cf_fail(err, CF_BUSY, "leadership is being handed over already");
    }
    CF_TRY(raft_transfer(driver->raft, loop_now_us(), to, err));
    driver->transfer_done = done;
    driver->transfer_context = context;
    driver_pump(driver);
    return CF_OK;
}

void raft_driver_set_sealed(struct raft_driver *driver, bool sealed)
{
    uint32_t condition = (driver->condition & ~RAFT_SEALED) | (sealed ? RAFT_SEALED : 0);
    if (condition != driver->condition) {
        driver->condition = condition;
        raft_set_condition(driver->raft, loop_now_us(), condition);
        driver_pump(driver);
    }
}

void change_tick(struct raft_driver *driver, uint64_t now_us)
{
    if (driver->transfer_done != NULL) {
        struct raft_status status;
        raft_status(driver->raft, &status);
        if (status.transfer_to == RAFT_NONE) {
            bool leads = status.soft.role == RAFT_LEADER;
            tell(&driver->transfer_done, driver->transfer_context, leads ? CF_TIMEOUT : CF_OK,
                 NULL);
        }
    }
    change_applied(driver, atomic_load(&driver->applied));
    level_tick(driver);
    autopilot_tick(driver, now_us);
}
