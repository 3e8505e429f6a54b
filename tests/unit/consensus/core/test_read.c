/* Linearizable reads: rounds, batches, forwarding, leases. */
#include "harness.h"

static cf_status begin(struct bench *b, uint64_t id, uint64_t cookie)
{
    return raft_read(bench_raft(b, id), b->now_us, cookie, NULL);
}

START_TEST(leader_and_followers)
{
    struct bench *b = bench_new(3);
    ck_status(begin(b, 1, 1), CF_NOT_LEADER);
    bench_elect(b, 1);
    for (uint64_t id = 1; id <= 3; id++) {
        ck_ok(begin(b, id, 10 + id));
    }
    bench_settle(b);
    for (uint64_t id = 1; id <= 3; id++) {
        const struct raft_read_result *result = bench_read_result(b, id, 10 + id);
        ck_assert_ptr_nonnull(result);
        ck_status(result->status, CF_OK);
        ck_assert_uint_eq(result->index, 1);
        ck_assert(!result->by_lease);
    }
    bench_free(b);
}
END_TEST

START_TEST(sole_voter_at_once)
{
    struct bench *b = bench_new(1);
    bench_elect(b, 1);
    ck_ok(begin(b, 1, 7));
    bench_drain(b, 1);
    ck_assert_uint_eq(bench_read_result(b, 1, 7)->index, 1);
    ck_assert_uint_eq(b->sent[RAFT_MSG_HEARTBEAT], 0);
    bench_free(b);
}
END_TEST

/* All reads that wait share one round, on a leader and on a follower. */
START_TEST(one_round_for_many)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    uint64_t heartbeats = b->sent[RAFT_MSG_HEARTBEAT];
    for (uint64_t i = 0; i < 10; i++) {
        ck_ok(begin(b, 1, i));
        ck_ok(begin(b, 2, i));
    }
    bench_settle(b);
    ck_assert_uint_eq(bench_at(b, 1)->read_count, 10);
    ck_assert_uint_eq(bench_at(b, 2)->read_count, 10);
    ck_assert_uint_eq(b->sent[RAFT_MSG_READ_INDEX], 1);
    ck_assert_uint_le(b->sent[RAFT_MSG_HEARTBEAT] - heartbeats, 6);
    bench_free(b);
}
END_TEST

/* etcd#7331, tikv#6340: a new leader may not know what is committed before an entry of its own is.
 */
START_TEST(core_readindex_needs_own_commit)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    ck_ok(bench_propose(b, 1, "a", NULL));
    bench_settle(b);
    bench_isolate(b, 1);
    bench_at(b, 2)->hold_disk = bench_at(b, 3)->hold_disk = true;
    b->now_us += 2 * T_US;
    bench_timeout(b, 2);
    for (int i = 0; i < 4; i++) {
        bench_settle(b);
        if (bench_raft(b, 2)->role != RAFT_LEADER) {
            bench_sync(b, 2, bench_at(b, 2)->queue_count);
            bench_sync(b, 3, bench_at(b, 3)->queue_count);
        }
    }
    ck_assert_int_eq(bench_raft(b, 2)->role, RAFT_LEADER);
    ck_assert(!raft_read_is_ready(bench_raft(b, 2)));
    ck_ok(begin(b, 2, 5));
    ck_ok(begin(b, 3, 6));
    b->now_us += HEARTBEAT_US;
    raft_tick(bench_raft(b, 2), b->now_us);
    bench_settle(b);
    ck_assert_ptr_null(bench_read_result(b, 2, 5));
    ck_assert_ptr_null(bench_read_result(b, 3, 6));
    bench_sync(b, 2, bench_at(b, 2)->queue_count);
    bench_sync(b, 3, bench_at(b, 3)->queue_count);
    bench_settle(b);
    ck_assert_uint_eq(bench_read_result(b, 2, 5)->index, 3);
    ck_assert_uint_eq(bench_read_result(b, 3, 6)->index, 3);
    bench_free(b);
}
END_TEST

/* etcd#20418: acknowledgements of an older round say nothing about a read that began later. */
START_TEST(old_acknowledgements_do_not_count)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    b->hold_msgs = true;
    b->now_us += HEARTBEAT_US;
    raft_tick(bench_raft(b, 1), b->now_us);
    bench_drain(b, 1);
    ck_assert(bench_deliver(b, 2, RAFT_MSG_HEARTBEAT)); /* its reply is on the way */
    ck_ok(begin(b, 1, 9));
    bench_drain(b, 1);
    ck_assert(bench_deliver(b, 1, RAFT_MSG_HEARTBEAT_R));
    ck_assert_ptr_null(bench_read_result(b, 1, 9));
    ck_assert(bench_deliver(b, 3, RAFT_MSG_HEARTBEAT)); /* of the older round, too */
    ck_assert(bench_deliver(b, 1, RAFT_MSG_HEARTBEAT_R));
    ck_assert_ptr_null(bench_read_result(b, 1, 9));
    b->hold_msgs = false;
    bench_settle(b);
    ck_status(bench_read_result(b, 1, 9)->status, CF_OK);
    bench_free(b);
}
END_TEST

/* A forwarded read that is asked again has another id; the answer to the first is not taken. */
START_TEST(retry_has_a_new_id)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    b->hold_msgs = true;
    ck_ok(begin(b, 2, 3));
    bench_drain(b, 2);
    ck_assert(bench_deliver(b, 1, RAFT_MSG_READ_INDEX));
    ck_assert(bench_deliver(b, 2, RAFT_MSG_HEARTBEAT));
    ck_assert(bench_deliver(b, 1, RAFT_MSG_HEARTBEAT_R));
    b->now_us += 2 * HEARTBEAT_US;
    raft_tick(bench_raft(b, 2), b->now_us);
    bench_drain(b, 2);
    ck_assert(bench_deliver(b, 2, RAFT_MSG_READ_INDEX_R)); /* to the first */
    ck_assert_ptr_null(bench_read_result(b, 2, 3));
    b->hold_msgs = false;
    bench_settle(b);
    ck_status(bench_read_result(b, 2, 3)->status, CF_OK);
    bench_free(b);
}
END_TEST

/* Reads that wait when leadership moves are failed, not carried over. */
START_TEST(failed_when_leadership_moves)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_isolate(b, 1);
    ck_ok(begin(b, 1, 4));
    ck_ok(begin(b, 2, 5));
    bench_settle(b);
    bench_run(b, 5 * T_US);
    ck_status(bench_read_result(b, 1, 4)->status, CF_NOT_LEADER);
    ck_status(bench_read_result(b, 2, 5)->status, CF_NOT_LEADER);
    bench_free(b);
}
END_TEST

START_TEST(too_many)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_raft(b, 1)->options.reads_max = 2;
    ck_ok(begin(b, 1, 1));
    ck_ok(begin(b, 1, 2));
    ck_status(begin(b, 1, 3), CF_BUSY);
    bench_settle(b);
    ck_ok(begin(b, 1, 3));
    bench_free(b);
}
END_TEST

static struct bench *bench_with_leases(void)
{
    struct bench *b = bench_new(3);
    for (uint64_t id = 1; id <= 3; id++) {
        bench_stop(b, id, 9);
        b->options.lease_reads = true;
        bench_start(b, id);
    }
    return b;
}

START_TEST(lease)
{
    struct bench *b = bench_with_leases();
    bench_elect(b, 1);
    bench_run(b, 2 * HEARTBEAT_US);
    uint64_t rounds = bench_raft(b, 1)->counters.read_rounds;
    ck_ok(begin(b, 1, 1));
    bench_drain(b, 1);
    ck_assert(bench_read_result(b, 1, 1)->by_lease);
    ck_assert_uint_eq(bench_raft(b, 1)->counters.read_rounds, rounds);
    ck_assert(raft_lease_valid(bench_raft(b, 1), b->now_us));
    ck_assert(!raft_lease_valid(bench_raft(b, 1), b->now_us + T_US * 4 / 5)); /* woke up late */
    ck_ok(raft_transfer(bench_raft(b, 1), b->now_us, 2, NULL));
    ck_assert(!raft_lease_valid(bench_raft(b, 1), b->now_us));
    bench_free(b);
}
END_TEST

/* A voter that restarted has forgotten whom it heard: it gives nobody its vote for T. */
START_TEST(restarted_voter_keeps_the_lease)
{
    struct bench *b = bench_with_leases();
    bench_elect(b, 1);
    bench_run(b, 2 * HEARTBEAT_US);
    bench_restart(b, 2, 9);
    struct raft_msg vote = {
        .kind = RAFT_MSG_VOTE, .from = 3, .to = 2, .term = 2, .log_index = 9, .log_term = 1};
    raft_step(bench_raft(b, 2), b->now_us, &vote);
    ck_assert_uint_eq(bench_status(b, 2).vote, RAFT_NONE);
    b->now_us += T_US;
    raft_step(bench_raft(b, 2), b->now_us, &vote);
    ck_assert_uint_eq(bench_status(b, 2).vote, 3);
    bench_free(b);
}
END_TEST

TEST_MAIN("consensus/core/read", leader_and_followers, sole_voter_at_once, one_round_for_many,
          core_readindex_needs_own_commit, old_acknowledgements_do_not_count, retry_has_a_new_id,
          failed_when_leadership_moves, too_many, lease, restarted_voter_keeps_the_lease)
