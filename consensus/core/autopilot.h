/* consensus/core/autopilot.h
 *
 * Who of a cluster's members is healthy, which learner may vote now, which dead member may go: decided by
 * a leader from what it knows of its peers (consensus.md 9). Pure: time and observations in, at most one
 * action out; the driver performs it and steps again. What is remembered (since when a member has been
 * healthy) belongs to one leadership: begin anew with each.
 */
#ifndef COFFER_CONSENSUS_CORE_AUTOPILOT_H
#define COFFER_CONSENSUS_CORE_AUTOPILOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "consensus/core/membership.h"

/* Times in microseconds. */
struct autopilot_config {
    bool cleanup_dead_servers;
    uint64_t last_contact_us;   /* silent for longer: not healthy */
    uint64_t dead_contact_us;   /* silent for longer: may be removed, if cleanup_dead_servers */
    uint64_t stabilization_us;  /* a learner that was healthy for so long votes; UINT64_MAX: never */
    uint64_t quick_us;          /* instead of it while the leadership is younger than that time: a
                                   cluster that is just being formed needn't wait */
    uint64_t max_trailing_logs; /* further behind: not healthy */
    uint32_t min_quorum;        /* voters that cleanup leaves at least; below 3: nothing is removed */
};
/* As the API documents them: 10 s, 24 h, 10 s, 1000 entries, no cleanup. */
void autopilot_config_default(struct autopilot_config *config);

/* One member as the leader sees it now. */
struct autopilot_server {
    uint64_t id;
    bool is_self;      /* the leader: heard by definition */
    bool is_voter;     /* counts in the configuration in force */
    bool is_non_voter; /* its operator wants it never to vote */
    bool is_fetching;  /* takes a snapshot, or its log is not matched yet */
    uint64_t heard_us; /* of its last message; 0: never */
    uint64_t match;
    uint32_t condition; /* RAFT_SEALED and the like */
    uint32_t features;  /* feature level */
};

struct autopilot_input {
    uint64_t now_us, last_index;
    bool is_changing; /* a change of the configuration is pending: look, don't act */
    const struct autopilot_server *servers;
    size_t count; /* <= RAFT_MEMBERS_MAX */
};

struct autopilot_health {
    uint64_t id;
    bool is_healthy;
    uint64_t stable_since_us; /* since when is_healthy has not changed */
    uint64_t seen_us;         /* first seen by this leader */
};

/* Plain memory; begin with autopilot_begin(). */
struct autopilot {
    struct autopilot_config config;
    uint64_t since_us; /* of this leadership */
    size_t count;
    struct autopilot_health servers[RAFT_MEMBERS_MAX];
};

enum autopilot_act { AUTOPILOT_NOTHING, AUTOPILOT_PROMOTE, AUTOPILOT_REMOVE };
struct autopilot_action {
    enum autopilot_act act;
    uint64_t id;
};

/* This node leads since now_us. The configuration stays. */
void autopilot_begin(struct autopilot *autopilot, uint64_t now_us);
/* Takes the observations over and says what to do; time never falls between two calls. */
struct autopilot_action autopilot_step(struct autopilot *autopilot,
                                       const struct autopilot_input *input);
/* NULL when it was not in the last input. */
const struct autopilot_health *autopilot_find(const struct autopilot *autopilot, uint64_t id);
/* How many voters may fail before no majority of healthy ones is left. */
unsigned autopilot_tolerance(unsigned voters, unsigned healthy_voters);

#endif
