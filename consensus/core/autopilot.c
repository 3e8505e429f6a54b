/* consensus/core/autopilot.c: see autopilot.h. */
#include "consensus/core/autopilot.h"

#include "consensus/core/raft.h"

#define SECOND_US ((uint64_t)1000 * 1000)
/* "In contact" where something is about to change: heard right before, not just within last_contact,
 * which may be as long as the whole time that a learner is watched for. */
#define CONTACT_US (2 * SECOND_US)

void autopilot_config_default(struct autopilot_config *config)
{
    *config = (struct autopilot_config){.last_contact_us = 10 * SECOND_US,
                                        .dead_contact_us = 24 * 3600 * SECOND_US,
                                        .stabilization_us = 10 * SECOND_US,
                                        .quick_us = 2 * SECOND_US,
                                        .max_trailing_logs = 1000};
}

void autopilot_begin(struct autopilot *autopilot, uint64_t now_us)
{
    autopilot->since_us = now_us;
    autopilot->count = 0;
}

const struct autopilot_health *autopilot_find(const struct autopilot *autopilot, uint64_t id)
{
    for (size_t i = 0; i < autopilot->count; i++) {
        if (autopilot->servers[i].id == id) {
            return &autopilot->servers[i];
        }
    }
    return NULL;
}

unsigned autopilot_tolerance(unsigned voters, unsigned healthy_voters)
{
    unsigned quorum = voters / 2 + 1;
    return healthy_voters > quorum ? healthy_voters - quorum : 0;
}

/* How long the leader has not heard of it. It can't know of the time before it led. */
static uint64_t silence(const struct autopilot *autopilot, const struct autopilot_input *input,
                        const struct autopilot_server *server)
{
    if (server->is_self) {
        return 0;
    }
    const struct autopilot_health *known = autopilot_find(autopilot, server->id);
    uint64_t from = known != NULL ? known->seen_us : input->now_us;
    from = server->heard_us > from ? server->heard_us : from;
    return input->now_us > from ? input->now_us - from : 0;
}

static bool is_healthy(const struct autopilot *autopilot, const struct autopilot_input *input,
                       const struct autopilot_server *server)
{
    if ((server->condition & (RAFT_STALLED | RAFT_RECOVERING)) != 0) {
        return false;
    }
    return server->is_self ||
           (server->heard_us != 0 && !server->is_fetching &&
            silence(autopilot, input, server) <= autopilot->config.last_contact_us &&
            (server->match >= input->last_index ||
             input->last_index - server->match <= autopilot->config.max_trailing_logs));
}

static void observe(struct autopilot *autopilot, const struct autopilot_input *input)
{
    struct autopilot next = *autopilot;
    next.count = 0;
    for (size_t i = 0; i < input->count && i < RAFT_MEMBERS_MAX; i++) {
        const struct autopilot_server *server = &input->servers[i];
        const struct autopilot_health *old = autopilot_find(autopilot, server->id);
        struct autopilot_health *health = &next.servers[next.count++];
        bool healthy = is_healthy(autopilot, input, server);
        *health = (struct autopilot_health){.id = server->id,
                                            .is_healthy = healthy,
                                            .stable_since_us = input->now_us,
                                            .seen_us = input->now_us};
        if (old != NULL) {
            health->seen_us = old->seen_us;
            health->stable_since_us =
                old->is_healthy == healthy ? old->stable_since_us : input->now_us;
        }
    }
    *autopilot = next;
}

/* The level that the cluster works at: what its least voter knows. One that can't read that would
 * stop at the first entry. */
static uint32_t features_needed(const struct autopilot_input *input)
{
    uint32_t needed = UINT32_MAX;
    for (size_t i = 0; i < input->count; i++) {
        const struct autopilot_server *server = &input->servers[i];
        if (server->is_voter && server->features < needed) {
            needed = server->features;
        }
    }
    return needed == UINT32_MAX ? 0 : needed;
}

static uint64_t wanted_stability(const struct autopilot *autopilot, uint64_t now_us)
{
    const struct autopilot_config *config = &autopilot->config;
    bool young = now_us - autopilot->since_us < config->stabilization_us &&
                 config->stabilization_us != UINT64_MAX;
    return young && config->quick_us < config->stabilization_us ? config->quick_us
                                                                : config->stabilization_us;
}

static uint64_t to_promote(const struct autopilot *autopilot, const struct autopilot_input *input)
{
    uint64_t wanted = wanted_stability(autopilot, input->now_us);
    uint32_t needed = features_needed(input);
    for (size_t i = 0; i < input->count; i++) {
        const struct autopilot_server *server = &input->servers[i];
        const struct autopilot_health *health = autopilot_find(autopilot, server->id);
        if (!server->is_voter && !server->is_non_voter && server->features >= needed &&
            silence(autopilot, input, server) <= CONTACT_US && health != NULL &&
            health->is_healthy && wanted != UINT64_MAX &&
            input->now_us - health->stable_since_us >= wanted) {
            return server->id;
        }
    }
    return RAFT_NONE;
}

/* A dead member goes only while everything else is well: one that is merely cut off from a leader
 * which itself has lost its majority must never be taken for dead. */
static uint64_t to_remove(const struct autopilot *autopilot, const struct autopilot_input *input)
{
    const struct autopilot_config *config = &autopilot->config;
    uint64_t dead = RAFT_NONE;
    bool dead_votes = false;
    unsigned voters = 0;
    if (!config->cleanup_dead_servers || config->min_quorum < 3) {
        return RAFT_NONE;
    }
    for (size_t i = 0; i < input->count; i++) {
        const struct autopilot_server *server = &input->servers[i];
        const struct autopilot_health *health = autopilot_find(autopilot, server->id);
        voters += server->is_voter;
        if (health != NULL && health->is_healthy &&
            silence(autopilot, input, server) <= CONTACT_US) {
            continue;
        }
        if (silence(autopilot, input, server) <= config->dead_contact_us || dead != RAFT_NONE) {
            return RAFT_NONE; /* unwell but not dead, or a second one: for people to look at */
        }
        dead = server->id;
        dead_votes = server->is_voter;
    }
    return dead != RAFT_NONE && voters - dead_votes >= config->min_quorum ? dead : RAFT_NONE;
}

struct autopilot_action autopilot_step(struct autopilot *autopilot,
                                       const struct autopilot_input *input)
{
    struct autopilot_action action = {0};
    observe(autopilot, input);
    if (input->is_changing) {
        return action;
    }
    action.id = to_promote(autopilot, input);
    if (action.id != RAFT_NONE) {
        action.act = AUTOPILOT_PROMOTE;
        return action;
    }
    action.id = to_remove(autopilot, input);
    action.act = action.id != RAFT_NONE ? AUTOPILOT_REMOVE : AUTOPILOT_NOTHING;
    return action;
}
