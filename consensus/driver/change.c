/* consensus/driver/change.c
 *
 * Membership and leadership: one change at a time, told to its caller once it is applied here.
 * Learners that keep up become voters by themselves.
 */
#include <string.h>

#include "consensus/driver/driver_int.h"

#define CAUGHT_UP_ENTRIES 1000 /* consensus.md 9: max_trailing_logs */

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
        end_change(driver, CF_UNKNOWN_OUTCOME);
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

/* The configuration in force as a target; a joint one is refused by the core anyhow. */
static struct raft_membership current(struct raft_driver *driver)
{
    return *raft_membership(driver->raft);
}

cf_status raft_driver_add(struct raft_driver *driver, uint64_t id, const char *address,
                          const char *name, uint32_t features, raft_change_fn done, void *context,
                          struct cf_error *err)
{
    struct raft_membership target = current(driver);
    const struct raft_member *known = raft_membership_find(&target, id);
    uint8_t role = known != NULL ? known->role : RAFT_LEARNER;
    CF_TRY(raft_membership_set(&target, id, role, features, address, name, err));
    return begin_change(driver, &target, done, context, err);
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

/* ---- learners that keep up */

static bool keeps_up(const struct raft_driver *driver, const struct raft_peer_status *peer,
                     uint64_t last, uint64_t now_us)
{
    return peer->state == RAFT_REPLICATE && peer->match + CAUGHT_UP_ENTRIES >= last &&
           peer->heard_us != 0 && now_us - peer->heard_us <= 2 * driver->options.election_us &&
           !(peer->condition & (RAFT_STALLED | RAFT_RECOVERING));
}

/* The first learner that keeps up; 0: none. */
static uint64_t candidate(struct raft_driver *driver, uint64_t now_us)
{
    struct raft_peer_status peers[RAFT_MEMBERS_MAX];
    size_t count = raft_peers(driver->raft, peers, RAFT_MEMBERS_MAX);
    struct raft_status status;
    raft_status(driver->raft, &status);
    for (size_t i = 0; i < count && i < RAFT_MEMBERS_MAX; i++) {
        const struct raft_member *member =
            raft_membership_find(raft_membership(driver->raft), peers[i].id);
        if (member != NULL && (member->role & RAFT_LEARNER) &&
            keeps_up(driver, &peers[i], status.last_index, now_us)) {
            return peers[i].id;
        }
    }
    return 0;
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
    uint64_t id = atomic_load(&driver->accepting) ? candidate(driver, now_us) : 0;
    if (id == 0 || id != driver->promote_id) {
        driver->promote_id = id;
        driver->promote_since_us = now_us;
        return;
    }
    if (now_us - driver->promote_since_us >= driver->options.promote_after_us) {
        cf_ignore(raft_driver_promote(driver, id, NULL, NULL, NULL),
                  "a change is under way: the next tick tries again");
    }
}
