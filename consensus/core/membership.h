/* consensus/core/membership.h
 *
 * Who belongs to a cluster: a plain value, copied around. A configuration is simple (voters,
 * learners) or joint (Raft section 6): while it is joint, every decision needs a majority of the
 * members marked VOTER and a majority of the members marked OUTGOING.
 */
#ifndef COFFER_CONSENSUS_CORE_MEMBERSHIP_H
#define COFFER_CONSENSUS_CORE_MEMBERSHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/slice.h"
#include "node/base/status.h"

#define RAFT_MEMBERS_MAX 24 /* of one configuration, both halves of a joint one together */
#define RAFT_VOTERS_MAX 9   /* of each half */
#define RAFT_ADDRESS_MAX 128
#define RAFT_NAME_MAX 64

/* Bits of raft_member.role. They reach disk and wire. */
#define RAFT_VOTER 1u    /* votes in the (new) configuration */
#define RAFT_OUTGOING 2u /* joint only: votes in the old configuration */
#define RAFT_LEARNER                                                                               \
    4u /* receives the log, counts nowhere; never together with RAFT_VOTER. With                   \
          RAFT_OUTGOING: still votes in the old half, a learner afterwards */

struct raft_member {
    uint64_t id; /* random, never 0, never reused: a node that lost its disk gets a new one */
    uint8_t role;
    uint32_t features;              /* feature level that the node announced */
    char address[RAFT_ADDRESS_MAX]; /* cluster address, NUL-terminated; opaque to the core */
    char name[RAFT_NAME_MAX];       /* for people; opaque to the core */
};

struct raft_membership {
    uint32_t count;
    struct raft_member members[RAFT_MEMBERS_MAX]; /* ascending ids */
};

/* NULL when absent; borrowed from *m. */
const struct raft_member *raft_membership_find(const struct raft_membership *m, uint64_t id);

/* Adds a member or changes the one with this id (role, address, name and features are replaced).
 * CF_TOO_LARGE when full or a text is too long, CF_INVALID for id 0 or an impossible role. */
CF_CHECKED cf_status raft_membership_set(struct raft_membership *m, uint64_t id, uint8_t role,
                                         uint32_t features, const char *address, const char *name,
                                         struct cf_error *err);
/* True when it was there. */
bool raft_membership_remove(struct raft_membership *m, uint64_t id);

bool raft_membership_is_joint(const struct raft_membership *m);
/* Votes in either half. */
bool raft_membership_votes(const struct raft_membership *m, uint64_t id);
bool raft_membership_equal(const struct raft_membership *a, const struct raft_membership *b);

/* CF_INVALID with a message that says what is wrong: no voter, more than RAFT_VOTERS_MAX in a half,
 * ids unordered, zero or twice, a role that cannot be. An empty configuration (count 0, a node that
 * waits to be added) is invalid here and yet allowed as the base of a log. */
CF_CHECKED cf_status raft_membership_check(const struct raft_membership *m, struct cf_error *err);

/* The payload of a CONFIG entry, also used for the base record and snapshot descriptors: version
 * byte, count, then id, role, features, address and name of each. Deterministic. */
void raft_membership_encode(const struct raft_membership *m, struct cf_buf *out);
/* CF_CORRUPT when malformed or of an unknown version; *ret is then untouched. Accepts an empty one.
 */
CF_CHECKED cf_status raft_membership_decode(struct cf_slice bytes, struct raft_membership *ret,
                                            struct cf_error *err);

#endif
