/* Membership: one source, active on append, taken back when cut; single and joint changes. */
#include "harness.h"

#define IDS(...) ((const uint64_t[]){__VA_ARGS__, 0})

static cf_status change(struct bench *b, uint64_t id, const uint64_t *voters,
                        const uint64_t *learners)
{
    struct raft_membership target = bench_members(voters, learners);
    uint64_t index;
    return raft_change_membership(bench_raft(b, id), b->now_us, &target, &index, NULL);
}

static bool is(struct bench *b, uint64_t id, const uint64_t *voters, const uint64_t *learners)
{
    struct raft_membership wanted = bench_members(voters, learners);
    return raft_membership_equal(raft_membership(bench_raft(b, id)), &wanted);
}

START_TEST(learner_then_voter)
{
    struct bench *b = bench_new(1);
    bench_elect(b, 1);
    bench_add(b, 2);
    ck_ok(change(b, 1, IDS(1), IDS(2)));
    ck_status(change(b, 1, IDS(1, 2), NULL), CF_BUSY); /* one at a time */
    bench_settle(b);
    bench_run(b, 2 * HEARTBEAT_US);
    ck_assert_uint_eq(bench_at(b, 2)->applied, 2);
    ck_assert(is(b, 2, IDS(1), IDS(2)));
    bench_isolate(b, 2); /* a learner counts nowhere */
    ck_ok(bench_propose(b, 1, "a", NULL));
    bench_settle(b);
    ck_assert_uint_eq(bench_status(b, 1).commit, 3);
    bench_heal(b);
    bench_run(b, 2 * HEARTBEAT_US);
    ck_ok(change(b, 1, IDS(1, 2), NULL));
    bench_settle(b);
    ck_assert(is(b, 2, IDS(1, 2), NULL));
    ck_assert(!bench_status(b, 1).joint);
    bench_free(b);
}
END_TEST

START_TEST(refusals)
{
    struct bench *b = bench_new(3);
    ck_status(change(b, 1, IDS(1, 2), NULL), CF_NOT_LEADER);
    bench_elect(b, 1);
    ck_status(change(b, 1, IDS(1, 2, 3), NULL), CF_EXISTS);
    ck_status(change(b, 1, NULL, IDS(1)), CF_INVALID);
    struct raft_membership joint = bench_members(IDS(1, 2, 3), NULL);
    joint.members[0].role |= RAFT_OUTGOING;
    uint64_t index;
    ck_status(raft_change_membership(bench_raft(b, 1), b->now_us, &joint, &index, NULL),
              CF_INVALID);
    bench_free(b);
}
END_TEST

/* Ongaro 2015: no change before the leader has committed an entry of its term. */
START_TEST(no_change_before_own_commit)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_isolate(b, 1);
    bench_at(b, 3)->hold_disk = true;
    b->now_us += 2 * T_US;
    bench_timeout(b, 2);
    while (bench_raft(b, 2)->role != RAFT_LEADER) {
        bench_settle(b);
        bench_sync(b, 3, bench_at(b, 3)->queue_count);
    }
    ck_status(change(b, 2, IDS(1, 2), NULL), CF_BUSY);
    bench_settle(b);
    bench_sync(b, 3, bench_at(b, 3)->queue_count);
    bench_settle(b);
    ck_ok(change(b, 2, IDS(1, 2), NULL));
    bench_free(b);
}
END_TEST

/* Replacing one of three is one joint change; it is left by itself. */
START_TEST(replace_one_of_three)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_add(b, 4);
    ck_ok(change(b, 1, IDS(1, 2, 4), NULL));
    ck_assert(bench_status(b, 1).joint);
    ck_assert(raft_membership_votes(raft_membership(bench_raft(b, 1)), 3));
    bench_settle(b);
    bench_run(b, 4 * HEARTBEAT_US);
    ck_assert(is(b, 1, IDS(1, 2, 4), NULL));
    ck_assert(is(b, 4, IDS(1, 2, 4), NULL));
    ck_assert(bench_status(b, 1).config_committed);
    bench_free(b);
}
END_TEST

/* In a joint configuration one majority alone decides nothing. */
START_TEST(joint_needs_both)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_add(b, 4);
    bench_add(b, 5);
    bench_isolate(b, 4);
    bench_isolate(b, 5);
    ck_ok(change(b, 1, IDS(1, 4, 5), NULL));
    bench_settle(b);
    bench_run(b, 4 * HEARTBEAT_US);
    ck_assert(bench_status(b, 1).joint); /* 2 and 3 have it, but 4 and 5 have not */
    ck_assert(!bench_status(b, 1).config_committed);
    bench_heal(b);
    bench_run(b, 6 * HEARTBEAT_US);
    ck_assert(is(b, 1, IDS(1, 4, 5), NULL));
    bench_free(b);
}
END_TEST

/* etcd-io/raft#83, etcd#10563: the removed leader tells the others, names a successor and stops. */
START_TEST(conf_remove_leader)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    ck_ok(change(b, 1, IDS(2, 3), NULL));
    bench_settle(b);
    bench_run(b, 2 * HEARTBEAT_US);
    ck_assert_int_ne(bench_raft(b, 1)->role, RAFT_LEADER);
    ck_assert(bench_status(b, 1).soft.removed);
    ck_assert(bench_raft(b, 2)->role == RAFT_LEADER || bench_raft(b, 3)->role == RAFT_LEADER);
    ck_assert(is(b, 2, IDS(2, 3), NULL));
    uint64_t term = bench_status(b, 2).term;
    bench_run(b, 10 * T_US); /* and does not disturb (hashicorp/raft#524) */
    ck_assert_uint_eq(bench_status(b, 2).term, term);
    bench_free(b);
}
END_TEST

/* A removed follower that never saw its removal learns of it from those it asks for votes. */
START_TEST(removed_while_away)
{
    struct bench *b = bench_new(4);
    bench_elect(b, 1);
    bench_isolate(b, 4);
    ck_ok(change(b, 1, IDS(1, 2, 3), NULL));
    bench_settle(b);
    bench_heal(b);
    uint64_t term = bench_status(b, 1).term;
    bench_run(b, 10 * T_US);
    ck_assert_uint_eq(bench_status(b, 1).term, term);
    ck_assert(bench_status(b, 4).soft.removed);
    uint64_t asked = bench_raft(b, 4)->counters.pre_votes;
    bench_run(b, 10 * T_US);
    ck_assert_uint_eq(bench_raft(b, 4)->counters.pre_votes, asked);
    bench_free(b);
}
END_TEST

/* Its own entry, never committed, stands higher in the log and in an older term: what is committed
 * in a later term counts all the same. */
START_TEST(removed_by_a_later_term)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 3);
    bench_isolate(b, 3);
    ck_ok(bench_propose(b, 3, "lost", NULL));
    ck_ok(bench_propose(b, 3, "lost", NULL));
    ck_ok(change(b, 3, IDS(1, 2, 3, 4), NULL));
    bench_settle(b);
    ck_assert_uint_eq(bench_status(b, 3).config_index, 4);
    struct raft_msg told = {.kind = RAFT_MSG_PRE_VOTE_R,
                            .from = 1,
                            .to = 3,
                            .term = 2,
                            .reject = true,
                            .flags = RAFT_MSG_REMOVED,
                            .hint_index = 3,
                            .hint_term = 1};
    raft_step(bench_raft(b, 3), b->now_us, &told);
    ck_assert(!bench_status(b, 3).soft.removed); /* that is older than what it has itself */
    told.hint_term = 2;
    raft_step(bench_raft(b, 3), b->now_us, &told);
    ck_assert(bench_status(b, 3).soft.removed);
    bench_free(b);
}
END_TEST

/* Seed 11179 of the simulator: the entry that made it a voter was never committed, and cut. No configuration
 * was written since, so the one that lacks it is older than its own; what is committed is not. */
START_TEST(removed_before_it_was_added)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_add(b, 4);
    for (uint64_t id = 2; id <= 3; id++) {
        b->cut[1][id] = b->cut[id][1] = b->cut[4][id] = b->cut[id][4] = true;
    }
    ck_ok(change(b, 1, IDS(1, 2, 3, 4), NULL));
    bench_settle(b);
    bench_run(b, 2 * HEARTBEAT_US);
    ck_assert(raft_membership_votes(raft_membership(bench_raft(b, 4)), 4));
    bench_run(b, 4 * T_US); /* 2 or 3 leads, and 1 has given up */
    ck_assert(bench_raft(b, 2)->role == RAFT_LEADER || bench_raft(b, 3)->role == RAFT_LEADER);
    bench_heal(b);
    bench_run(b, 10 * T_US);
    ck_assert(is(b, 1, IDS(1, 2, 3), NULL));
    ck_assert(bench_status(b, 4).soft.removed);
    uint64_t asked = bench_raft(b, 4)->counters.pre_votes;
    bench_run(b, 10 * T_US);
    ck_assert_uint_eq(bench_raft(b, 4)->counters.pre_votes, asked);
    bench_free(b);
}
END_TEST

/* scylladb#10618, and seed 167 of the simulator: the only node whose log is new enough has an entry
 * of its own that takes its vote away. It must be able to win, without counting itself. */
START_TEST(conf_leader_demotes_itself)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_isolate(b, 1);
    ck_ok(change(b, 1, IDS(2, 3), IDS(1)));
    bench_drain(b, 1);
    bench_restart(b, 1, 9);
    bench_heal(b);
    bench_drop_all(b);
    b->now_us += 2 * T_US;
    bench_timeout(b, 1);
    bench_settle(b);
    ck_assert_uint_eq(bench_raft(b, 1)->counters.elections, 1);
    ck_assert_uint_eq(bench_at(b, 1)->lost_term, 2); /* it led, committed the entry, and left */
    ck_assert(is(b, 2, IDS(2, 3), IDS(1)));
    ck_assert_int_ne(bench_raft(b, 1)->role, RAFT_LEADER);
    bench_run(b, 6 * T_US);
    ck_assert(bench_raft(b, 2)->role == RAFT_LEADER || bench_raft(b, 3)->role == RAFT_LEADER);
    bench_free(b);
}
END_TEST

/* An uncommitted configuration is in force, survives a restart, and is taken back when it is cut.
 */
START_TEST(conf_single_source_reload)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_isolate(b, 1);
    ck_ok(change(b, 1, IDS(1, 2, 3), IDS(4)));
    bench_drain(b, 1);
    ck_assert(is(b, 1, IDS(1, 2, 3), IDS(4)));
    bench_restart(b, 1, 9);
    ck_assert(is(b, 1, IDS(1, 2, 3), IDS(4)));
    ck_assert(!bench_status(b, 1).config_committed);
    bench_elect(b, 2);
    bench_heal(b);
    bench_run(b, 4 * HEARTBEAT_US);
    ck_assert(is(b, 1, IDS(1, 2, 3), NULL));
    ck_assert_uint_eq(bench_status(b, 1).config_index, 0);
    bench_free(b);
}
END_TEST

/* canonical/raft#250: the configuration to go back to is below the compacted part. */
START_TEST(conf_rollback_after_compaction)
{
    struct bench *b = bench_new(3);
    struct raft_base base;
    bench_elect(b, 1);
    ck_ok(change(b, 1, IDS(1, 2, 3), IDS(5)));
    bench_settle(b);
    ck_ok(bench_propose(b, 1, "a", NULL));
    bench_settle(b);
    ck_ok(raft_compact(bench_raft(b, 1), 3, &base, NULL));
    ck_assert_uint_eq(base.index, 3);
    ck_assert_ptr_nonnull(raft_membership_find(&base.membership, 5));
    bench_isolate(b, 1);
    ck_ok(change(b, 1, IDS(1, 2), IDS(5)));
    bench_drain(b, 1);
    bench_elect(b, 2);
    ck_ok(bench_propose(b, 2, "b", NULL));
    bench_settle(b);
    bench_heal(b);
    bench_run(b, 4 * HEARTBEAT_US);
    ck_assert(is(b, 1, IDS(1, 2, 3), IDS(5)));
    bench_free(b);
}
END_TEST

/* camunda#60086: a new leader first commits the joint configuration it found, then leaves it. */
START_TEST(conf_recovered_joint)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_add(b, 4);
    bench_isolate(b, 3);
    bench_isolate(b, 4);
    ck_ok(change(b, 1, IDS(1, 2, 4), NULL));
    bench_settle(b); /* 1 and 2 have it; the new half needs one more */
    bench_stop(b, 1, 9);
    bench_heal(b);
    bench_drop_all(b);
    bench_elect(b, 2);
    bench_run(b, 4 * HEARTBEAT_US);
    ck_assert(is(b, 2, IDS(1, 2, 4), NULL));
    ck_assert(is(b, 4, IDS(1, 2, 4), NULL));
    bench_free(b);
}
END_TEST

/* Learners and strangers still answer who asks: their view may be the stale one. */
START_TEST(strangers_answer)
{
    struct bench *b = bench_new(1);
    bench_add(b, 2); /* knows no configuration at all */
    struct raft_msg vote = {
        .kind = RAFT_MSG_VOTE, .from = 3, .to = 2, .term = 4, .log_index = 9, .log_term = 3};
    raft_step(bench_raft(b, 2), b->now_us, &vote);
    bench_drain(b, 2);
    ck_assert_uint_eq(b->sent[RAFT_MSG_VOTE_R], 1);
    ck_assert_uint_eq(bench_status(b, 2).vote, 3);
    bench_run(b, 5 * T_US);
    ck_assert_int_eq(bench_raft(b, 2)->role, RAFT_FOLLOWER); /* but never campaigns */
    bench_free(b);
}
END_TEST

TEST_MAIN("consensus/core/config", learner_then_voter, refusals, no_change_before_own_commit,
          replace_one_of_three, joint_needs_both, conf_remove_leader, removed_while_away,
          removed_by_a_later_term, removed_before_it_was_added,
          conf_leader_demotes_itself, conf_single_source_reload, conf_rollback_after_compaction,
          conf_recovered_joint, strangers_answer)
