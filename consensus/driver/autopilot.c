/* consensus/driver/autopilot.c: what the leader sees of its peers, given to autopilot (core), and what
 * comes out, done as a change of the configuration. */
#include <string.h>

#include "consensus/driver/driver_int.h"
#include "node/base/log.h"

static bool is_non_voter(const struct raft_driver *driver, uint64_t id)
{
    for (size_t i = 0; i < driver->non_voter_count; i++) {
        if (driver->non_voters[i] == id) {
            return true;
        }
    }
    return false;
}

static size_t look(struct raft_driver *driver, struct autopilot_server *servers)
{
    struct raft_peer_status peers[RAFT_MEMBERS_MAX];
    size_t count = cf_min(raft_peers(driver->raft, peers, RAFT_MEMBERS_MAX), RAFT_MEMBERS_MAX);
    const struct raft_membership *members = raft_membership(driver->raft);
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const struct raft_member *member = raft_membership_find(members, peers[i].id);
        bool self = peers[i].id == driver->identity.node_id;
        if (member == NULL) {
            continue;
        }
        servers[found++] = (struct autopilot_server){
            .id = member->id,
            .is_self = self,
            .is_voter = (member->role & (RAFT_VOTER | RAFT_OUTGOING)) != 0,
            .is_non_voter = is_non_voter(driver, member->id),
            .is_fetching = peers[i].state == RAFT_SNAPSHOT || peers[i].match == 0,
            .heard_us = peers[i].heard_us,
            .match = peers[i].match,
            .condition = self ? driver->condition : peers[i].condition,
            .features = self ? driver->options.features : member->features};
    }
    return found;
}

static void perform(struct raft_driver *driver, struct autopilot_action action)
{
    const struct raft_member *member =
        raft_membership_find(raft_membership(driver->raft), action.id);
    struct cf_error err = {0};
    char name[RAFT_NAME_MAX] = "";
    if (action.act == AUTOPILOT_NOTHING || member == NULL) {
        return;
    }
    memcpy(name, member->name, sizeof(name));
    bool promotes = action.act == AUTOPILOT_PROMOTE;
    cf_status status = promotes ? raft_driver_promote(driver, action.id, NULL, NULL, &err)
                                : raft_driver_remove(driver, action.id, NULL, NULL, &err);
    if (status == CF_OK) {
        cf_info("raft", "autopilot: %s node \"%s\" (%016llx)",
                promotes ? "votes from now on:" : "removes the dead", name,
                (unsigned long long)action.id);
    } /* else another change came first: the next tick looks again */
}

static void publish(struct raft_driver *driver)
{
    pthread_mutex_lock(&driver->status_lock);
    driver->autopilot_now = driver->autopilot;
    pthread_mutex_unlock(&driver->status_lock);
}

void autopilot_tick(struct raft_driver *driver, uint64_t now_us)
{
    struct autopilot *autopilot = &driver->autopilot;
    if (!atomic_load(&driver->accepting)) {
        if (autopilot->since_us != 0) {
            autopilot->since_us = 0;
            autopilot->count = 0;
            driver->autopilot_told = false;
            publish(driver);
        }
        return;
    }
    if (autopilot->since_us == 0) {
        autopilot_begin(autopilot, now_us);
    }
    struct autopilot_server servers[RAFT_MEMBERS_MAX];
    struct raft_status status;
    raft_status(driver->raft, &status);
    bool told = driver->autopilot_told || driver->options.promote_after_us != 0;
    struct autopilot_input input = {.now_us = now_us,
                                    .last_index = status.last_index,
                                    .is_changing = !told || driver->change.index != 0 ||
                                                   status.joint || !status.config_committed ||
                                                   status.transfer_to != RAFT_NONE,
                                    .servers = servers,
                                    .count = look(driver, servers)};
    struct autopilot_action action = autopilot_step(autopilot, &input);
    publish(driver);
    perform(driver, action);
}

void raft_driver_set_autopilot(struct raft_driver *driver, const struct autopilot_config *config,
                               const uint64_t *non_voters, size_t count)
{
    driver->autopilot.config = *config;
    driver->non_voter_count = cf_min(count, RAFT_MEMBERS_MAX);
    if (count != 0) {
        memcpy(driver->non_voters, non_voters, driver->non_voter_count * sizeof(non_voters[0]));
    }
    driver->autopilot_told = atomic_load(&driver->accepting);
}

void raft_driver_autopilot(struct raft_driver *driver, struct autopilot *ret)
{
    pthread_mutex_lock(&driver->status_lock);
    *ret = driver->autopilot_now;
    pthread_mutex_unlock(&driver->status_lock);
}
