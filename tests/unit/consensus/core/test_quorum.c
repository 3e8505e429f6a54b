/* Majorities: every configuration of up to seven members, simple and joint, against counting. */
#include "harness.h"

/* Does a majority of the members with this role have at least v? Counted, not sorted. */
static bool half_reaches(const struct raft_membership *m, const uint64_t *values, uint8_t role,
                         uint64_t v)
{
    unsigned members = 0, yes = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if ((m->members[i].role & role) != 0) {
            members++;
            yes += values[i] >= v;
        }
    }
    return members == 0 || 2 * yes > members;
}

static uint64_t counted(const struct raft_membership *m, const uint64_t *values)
{
    for (uint64_t v = 3; v > 0; v--) {
        if (half_reaches(m, values, RAFT_VOTER, v) && half_reaches(m, values, RAFT_OUTGOING, v)) {
            return v;
        }
    }
    return 0;
}

static void check_all_values(const struct raft_membership *m, unsigned steps)
{
    uint64_t combinations = 1;
    for (uint32_t i = 0; i < m->count; i++) {
        combinations *= steps;
    }
    for (uint64_t c = 0; c < combinations; c++) {
        uint64_t values[RAFT_MEMBERS_MAX], rest = c;
        for (uint32_t i = 0; i < m->count; i++, rest /= steps) {
            values[i] = rest % steps;
        }
        if (raft_quorum_value(m, values) != counted(m, values)) {
            ck_abort_msg("%u members, combination %lu", m->count, (unsigned long)c);
        }
    }
}

/* All 4^n ways to give n members to the two halves (learners are in neither). */
static void check_all_roles(unsigned n, unsigned steps)
{
    for (uint32_t roles = 0; roles < 1u << (2 * n); roles++) {
        struct raft_membership m = {.count = n};
        unsigned voters = 0;
        for (unsigned i = 0; i < n; i++) {
            uint8_t role = (uint8_t)(roles >> (2 * i) & 3);
            m.members[i] = (struct raft_member){.id = i + 1, .role = role};
            m.members[i].role |= (role & RAFT_VOTER) == 0 ? RAFT_LEARNER : 0;
            voters += (role & RAFT_VOTER) != 0;
        }
        if (voters > 0) {
            check_all_values(&m, steps);
        }
    }
}

START_TEST(exhaustive)
{
    for (unsigned n = 1; n <= 4; n++) {
        check_all_roles(n, 4);
    }
    check_all_roles(5, 3);
    check_all_roles(6, 2);
    check_all_roles(7, 2);
}
END_TEST

START_TEST(nobody_decides_nothing)
{
    struct raft_membership m = {0};
    uint64_t values[RAFT_MEMBERS_MAX] = {9, 9, 9};
    ck_assert_uint_eq(raft_quorum_value(&m, values), 0);
    m = bench_members(NULL, (const uint64_t[]){1, 2, 0});
    ck_assert_uint_eq(raft_quorum_value(&m, values), 0);
}
END_TEST

TEST_MAIN("consensus/core/quorum", exhaustive, nobody_decides_nothing)
