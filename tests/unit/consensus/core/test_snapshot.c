/* Snapshots and the base of the log. */
#include "harness.h"

/* A leader whose log begins above what the third node has. */
static struct bench *bench_with_laggard(void)
{
    struct bench *b = bench_new(3);
    struct raft_base base;
    bench_elect(b, 1);
    bench_isolate(b, 3);
    for (int i = 0; i < 9; i++) {
        ck_ok(bench_propose(b, 1, "a", NULL));
        bench_settle(b);
    }
    bench_run(b, 2 * T_US);
    ck_assert_uint_eq(raft_compact_limit(bench_raft(b, 1)), 10); /* the laggard is silent */
    ck_ok(raft_compact(bench_raft(b, 1), 8, &base, NULL));
    struct bench_node *n = bench_at(b, 1);
    for (size_t i = 0; i < 8; i++) {
        raft_entry_unref(n->log[i]);
    }
    n->count -= 8;
    memmove(n->log, n->log + 8, n->count * sizeof(n->log[0]));
    n->base = base;
    bench_heal(b);
    bench_run(b, 2 * T_US);
    return b;
}

START_TEST(laggard_gets_a_snapshot)
{
    struct bench *b = bench_with_laggard();
    struct raft *leader = bench_raft(b, 1), *follower = bench_raft(b, 3);
    struct raft_base base;
    ck_assert_uint_eq(bench_at(b, 1)->snap_send_count, 1);
    ck_assert_uint_eq(bench_at(b, 1)->snap_sends[0].peer, 3);
    ck_assert_uint_eq(bench_at(b, 1)->snap_sends[0].above, 8);
    ck_ok(raft_describe(leader, 10, &base, NULL));
    ck_status(raft_describe(leader, 7, &base, NULL), CF_NOT_FOUND);
    ck_status(raft_describe(leader, 99, &base, NULL), CF_INVALID);
    uint64_t term = bench_status(b, 1).term;
    ck_ok(raft_snapshot_offer(follower, b->now_us, 1, term, base.index, base.term, NULL));
    ck_ok(raft_snapshot_contact(follower, b->now_us, 1, term, NULL));
    bench_at(b, 3)->hold_disk = true;
    uint64_t replies = b->sent[RAFT_MSG_APPEND_R];
    ck_ok(raft_snapshot_install(follower, b->now_us, 1, term, &base, NULL));
    bench_drain(b, 3);
    ck_assert_uint_eq(b->sent[RAFT_MSG_APPEND_R], replies); /* not before it is durable */
    ck_assert_uint_eq(bench_at(b, 3)->queue_count, 1);
    bench_sync(b, 3, 1);
    bench_at(b, 3)->hold_disk = false;
    raft_on_snapshot_sent(leader, b->now_us, 3, base.index, true);
    bench_settle(b);
    ck_assert_uint_eq(bench_status(b, 3).base_index, 10);
    ck_assert_uint_eq(bench_status(b, 3).applied, 10);
    ck_ok(bench_propose(b, 1, "b", NULL));
    bench_settle(b);
    ck_assert_uint_eq(bench_at(b, 3)->applied, 11);
    bench_restart(b, 3, 0);
    ck_assert_uint_eq(bench_status(b, 3).base_index, 10);
    ck_assert_uint_eq(bench_status(b, 3).last_index, 11);
    bench_free(b);
}
END_TEST

/* etcd#18055: a second snapshot while one is being installed is refused, and nothing falls over. */
START_TEST(snap_double_offer)
{
    struct bench *b = bench_with_laggard();
    struct raft *follower = bench_raft(b, 3);
    struct raft_base first, second;
    uint64_t term = bench_status(b, 1).term;
    ck_ok(raft_describe(bench_raft(b, 1), 9, &first, NULL));
    ck_ok(raft_describe(bench_raft(b, 1), 10, &second, NULL));
    bench_at(b, 3)->hold_disk = true;
    ck_ok(raft_snapshot_install(follower, b->now_us, 1, term, &first, NULL));
    ck_status(raft_snapshot_offer(follower, b->now_us, 1, term, 10, second.term, NULL), CF_BUSY);
    ck_status(raft_snapshot_install(follower, b->now_us, 1, term, &second, NULL), CF_BUSY);
    bench_drain(b, 3);
    ck_status(raft_snapshot_install(follower, b->now_us, 1, term, &second, NULL), CF_BUSY);
    bench_sync(b, 3, 1);
    ck_status(raft_snapshot_install(follower, b->now_us, 1, term, &first, NULL), CF_EXISTS);
    ck_ok(raft_snapshot_install(follower, b->now_us, 1, term, &second, NULL));
    bench_drain(b, 3);
    bench_sync(b, 3, 1);
    ck_assert_uint_eq(bench_status(b, 3).base_index, 10);
    bench_free(b);
}
END_TEST

START_TEST(refusals)
{
    struct bench *b = bench_with_laggard();
    struct raft *follower = bench_raft(b, 3);
    struct raft_base base;
    uint64_t term = bench_status(b, 1).term;
    ck_ok(raft_describe(bench_raft(b, 1), 10, &base, NULL));
    ck_status(raft_snapshot_offer(follower, b->now_us, 1, term - 1, 10, 1, NULL), CF_STALE);
    ck_status(raft_snapshot_offer(follower, b->now_us, 3, term, 10, 1, NULL), CF_INVALID);
    ck_status(raft_snapshot_offer(follower, b->now_us, 1, term, 0, 1, NULL), CF_INVALID);
    ck_status(raft_snapshot_offer(follower, b->now_us, 1, term, 10, term + 1, NULL), CF_INVALID);
    base.membership.count = 0;
    ck_status(raft_snapshot_install(follower, b->now_us, 1, term, &base, NULL), CF_INVALID);
    ck_status(raft_snapshot_contact(bench_raft(b, 1), b->now_us, 2, term, NULL), CF_STALE);
    /* One whose log reaches it already says so to the leader. */
    ck_status(raft_snapshot_offer(bench_raft(b, 2), b->now_us, 1, term, 9, 1, NULL), CF_EXISTS);
    bench_free(b);
}
END_TEST

/* A failed transfer is not repeated at once (cowsql/raft#100), but it is repeated. */
START_TEST(failed_transfer_pauses)
{
    struct bench *b = bench_with_laggard();
    raft_on_snapshot_sent(bench_raft(b, 1), b->now_us, 3, 10, false);
    bench_run(b, T_US / 2);
    ck_assert_uint_eq(bench_at(b, 1)->snap_send_count, 1);
    bench_run(b, T_US);
    ck_assert_uint_eq(bench_at(b, 1)->snap_send_count, 2);
    bench_free(b);
}
END_TEST

/* redpanda#30815: chunks, also of a long transfer, keep the follower from campaigning. */
START_TEST(chunks_are_contact)
{
    struct bench *b = bench_with_laggard();
    uint64_t term = bench_status(b, 1).term;
    uint64_t asked = bench_raft(b, 3)->counters.pre_votes;
    b->cut[1][3] = true; /* no heartbeats, as if they were late */
    for (int i = 0; i < 50; i++) {
        b->now_us += HEARTBEAT_US;
        ck_ok(raft_snapshot_contact(bench_raft(b, 3), b->now_us, 1, term, NULL));
        raft_tick(bench_raft(b, 3), b->now_us);
        bench_drain(b, 3);
    }
    ck_assert_uint_eq(bench_raft(b, 3)->counters.pre_votes, asked);
    bench_free(b);
}
END_TEST

/* Seed 5 of the simulator: the log was compacted past what a follower had acknowledged, and the
 * acknowledgement of the rest was lost. It gets a snapshot, although nothing was rejected. */
START_TEST(silent_follower_behind_the_base)
{
    struct bench *b = bench_new(3);
    struct raft_base base;
    bench_elect(b, 1);
    bench_run(b, 2 * HEARTBEAT_US);
    b->cut[3][1] = true; /* it hears, but is not heard */
    bench_raft(b, 1)->options.window_messages = 1;
    for (int i = 0; i < 20; i++) {
        ck_ok(bench_propose(b, 1, "a", NULL));
        bench_settle(b);
    }
    ck_ok(raft_compact(bench_raft(b, 1), 20, &base, NULL));
    b->cut[3][1] = false;
    bench_run(b, 6 * HEARTBEAT_US);
    ck_assert_uint_eq(bench_at(b, 1)->snap_send_count, 1);
    bench_free(b);
}
END_TEST

START_TEST(compaction_limits)
{
    struct bench *b = bench_new(3);
    struct raft_base base;
    bench_elect(b, 1);
    ck_ok(bench_propose(b, 1, "a", NULL));
    bench_settle(b);
    ck_status(raft_compact(bench_raft(b, 1), 3, &base, NULL), CF_INVALID);
    ck_ok(raft_compact(bench_raft(b, 1), 2, &base, NULL));
    ck_assert_uint_eq(base.term, 1);
    ck_status(raft_compact(bench_raft(b, 1), 2, &base, NULL), CF_EXISTS);
    ck_status(raft_compact(bench_raft(b, 1), 1, &base, NULL), CF_EXISTS);
    bench_free(b);
}
END_TEST

TEST_MAIN("consensus/core/snapshot", laggard_gets_a_snapshot, snap_double_offer, refusals,
          failed_transfer_pauses, chunks_are_contact, silent_follower_behind_the_base,
          compaction_limits)
