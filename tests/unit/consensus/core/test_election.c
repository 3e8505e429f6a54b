/* Elections and transfers: the rules of consensus.md section 5, one scenario each. */
#include "harness.h"

START_TEST(three_elect_one)
{
    struct bench *b = bench_new(3);
    bench_run(b, 6 * T_US);
    unsigned leaders = 0;
    for (uint64_t id = 1; id <= 3; id++) {
        leaders += bench_raft(b, id)->role == RAFT_LEADER;
        ck_assert_uint_eq(bench_status(b, id).term, bench_status(b, 1).term);
        ck_assert_uint_eq(bench_at(b, id)->applied, 1); /* its NOOP */
    }
    ck_assert_uint_eq(leaders, 1);
    bench_free(b);
}
END_TEST

/* A node on its own leads as soon as it is asked what time it is; also after a restart. */
START_TEST(alone_at_once)
{
    struct bench *b = bench_new(1);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(raft_deadline_us(bench_raft(b, 1)), b->now_us);
        raft_tick(bench_raft(b, 1), b->now_us);
        bench_settle(b);
        ck_assert_int_eq(bench_raft(b, 1)->role, RAFT_LEADER);
        ck_assert(bench_status(b, 1).soft.leader_ready);
        bench_restart(b, 1, 9);
    }
    bench_free(b);
}
END_TEST

/* A candidate asks for votes, and counts its own, only after term and vote are on its disk. */

START_TEST(own_vote_after_sync)
{
    struct bench *b = bench_new(3);
    bench_at(b, 1)->hold_disk = true;
    b->now_us += 2 * T_US;
    bench_timeout(b, 1);
    bench_settle(b); /* the pre-votes */
    ck_assert_int_eq(bench_raft(b, 1)->role, RAFT_CANDIDATE);
    ck_assert_uint_eq(b->sent[RAFT_MSG_VOTE], 0);
    bench_sync(b, 1, 1);
    bench_settle(b);
    ck_assert_uint_eq(b->sent[RAFT_MSG_VOTE], 2);
    ck_assert_int_eq(bench_raft(b, 1)->role, RAFT_LEADER);
    bench_free(b);
}
END_TEST

START_TEST(grant_waits_for_the_disk)
{
    struct bench *b = bench_new(3);
    bench_at(b, 2)->hold_disk = bench_at(b, 3)->hold_disk = true;
    b->now_us += 2 * T_US;
    bench_timeout(b, 1);
    bench_settle(b);
    ck_assert_uint_eq(b->sent[RAFT_MSG_VOTE_R], 0);
    bench_restart(b, 2, 0); /* forgets it: and so has promised nothing */
    ck_assert_uint_eq(bench_status(b, 2).vote, RAFT_NONE);
    bench_sync(b, 3, 1);
    bench_settle(b);
    ck_assert_uint_eq(b->sent[RAFT_MSG_VOTE_R], 1);
    ck_assert_int_eq(bench_raft(b, 1)->role, RAFT_LEADER);
    bench_free(b);
}
END_TEST

/* canonical/raft#196: a vote given in this term survives the own PreVote, and a restart. */
START_TEST(core_prevote_keeps_vote)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    ck_assert_uint_eq(bench_status(b, 2).vote, 1);
    bench_isolate(b, 2);
    b->now_us += 2 * T_US;
    bench_timeout(b, 2);
    ck_assert_int_eq(bench_raft(b, 2)->role, RAFT_PRE_CANDIDATE);
    ck_assert_uint_eq(bench_status(b, 2).vote, 1);
    ck_assert_uint_eq(bench_status(b, 2).term, 1);
    bench_restart(b, 2, 0);
    ck_assert_uint_eq(bench_status(b, 2).vote, 1);
    bench_free(b);
}
END_TEST

/* hashicorp/raft#609. */
START_TEST(core_prevote_no_timer_reset)
{
    struct bench *b = bench_new(3);
    b->now_us += 2 * T_US;
    uint64_t deadline_us = bench_raft(b, 2)->election_deadline_us;
    b->hold_msgs = true;
    bench_timeout(b, 1);
    ck_assert(bench_deliver(b, 2, RAFT_MSG_PRE_VOTE));
    ck_assert_uint_eq(b->sent[RAFT_MSG_PRE_VOTE_R], 1);
    ck_assert_uint_eq(bench_raft(b, 2)->election_deadline_us, deadline_us);
    ck_assert_uint_eq(bench_status(b, 2).term, 0);
    bench_free(b);
}
END_TEST

/* etcd#8334, hashicorp/raft#605: who gave up leading does not go on refusing everybody. */
START_TEST(core_prevote_exleader)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_isolate(b, 1);
    for (int i = 0; i < 60 && bench_raft(b, 1)->role == RAFT_LEADER; i++) {
        b->now_us += HEARTBEAT_US;
        raft_tick(bench_raft(b, 1), b->now_us); /* the others' timers stand still */
        bench_drain(b, 1);
    }
    ck_assert_int_eq(bench_raft(b, 1)->role, RAFT_FOLLOWER);
    ck_assert_uint_eq(bench_at(b, 1)->lost_term, 1);
    bench_heal(b);
    bench_drop_all(b);
    bench_isolate(b, 3); /* so the ex-leader's vote is needed, at once */
    bench_timeout(b, 2);
    bench_settle(b);
    ck_assert_int_eq(bench_raft(b, 2)->role, RAFT_LEADER);
    bench_free(b);
}
END_TEST

/* A node that hears its leader refuses others, and does not let a higher term disturb it. */
START_TEST(stickiness)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_run(b, 2 * HEARTBEAT_US);
    struct raft_msg vote = {
        .kind = RAFT_MSG_VOTE, .from = 3, .to = 2, .term = 9, .log_index = 99, .log_term = 8};
    raft_step(bench_raft(b, 2), b->now_us, &vote);
    ck_assert_uint_eq(bench_status(b, 2).term, 1);
    ck_assert_uint_eq(bench_raft(b, 2)->counters.votes_refused_sticky, 1);
    vote.flags = RAFT_MSG_TRANSFER;
    raft_step(bench_raft(b, 2), b->now_us, &vote);
    ck_assert_uint_eq(bench_status(b, 2).term, 9);
    bench_free(b);
}
END_TEST

/* The candidate's term came another way first; the leader that was heard may still hold a lease on
 * this node's word, so that the vote is refused as if the term were news. */
START_TEST(stickiness_at_equal_terms)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_run(b, 2 * HEARTBEAT_US);
    struct raft_msg stale = {
        .kind = RAFT_MSG_APPEND_R, .from = 3, .to = 2, .term = 9, .reject = true};
    raft_step(bench_raft(b, 2), b->now_us, &stale);
    ck_assert_uint_eq(bench_status(b, 2).term, 9);
    struct raft_msg vote = {
        .kind = RAFT_MSG_VOTE, .from = 3, .to = 2, .term = 9, .log_index = 99, .log_term = 8};
    raft_step(bench_raft(b, 2), b->now_us, &vote);
    ck_assert_uint_eq(bench_status(b, 2).vote, RAFT_NONE);
    ck_assert_uint_eq(bench_raft(b, 2)->counters.votes_refused_sticky, 1);
    vote.flags = RAFT_MSG_TRANSFER;
    raft_step(bench_raft(b, 2), b->now_us, &vote);
    ck_assert_uint_eq(bench_status(b, 2).vote, 3);
    bench_free(b);
}
END_TEST

START_TEST(old_log_gets_no_vote)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_isolate(b, 3);
    ck_ok(bench_propose(b, 1, "a", NULL));
    bench_settle(b);
    bench_heal(b);
    bench_isolate(b, 1);
    b->now_us += 2 * T_US;
    bench_timeout(b, 3);
    bench_settle(b);
    ck_assert_int_ne(bench_raft(b, 3)->role, RAFT_LEADER);
    ck_assert_uint_eq(bench_raft(b, 2)->counters.votes_refused_log, 1);
    bench_elect(b, 2);
    bench_free(b);
}
END_TEST

/* A leader that a majority does not answer stops, and no longer heartbeats (openraft#2080). */
START_TEST(check_quorum)
{
    struct bench *b = bench_new(5);
    bench_elect(b, 1);
    for (uint64_t id = 3; id <= 5; id++) {
        bench_isolate(b, id);
    }
    for (int i = 0; i < 60 && bench_raft(b, 1)->role == RAFT_LEADER; i++) {
        b->now_us += HEARTBEAT_US;
        raft_tick(bench_raft(b, 1), b->now_us);
        bench_settle(b);
    }
    ck_assert_int_eq(bench_raft(b, 1)->role, RAFT_FOLLOWER);
    ck_assert_uint_eq(bench_raft(b, 1)->counters.step_downs, 1);
    ck_status(bench_propose(b, 1, "x", NULL), CF_NOT_LEADER);
    bench_free(b);
}
END_TEST

/* A process that stood still reads what waits for it before it gives up its followers or leader. */
START_TEST(late_ticks_decide_nothing)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_run(b, 2 * HEARTBEAT_US);
    b->now_us += 3 * T_US;
    for (uint64_t id = 1; id <= 3; id++) {
        raft_tick(bench_raft(b, id), b->now_us);
    }
    bench_settle(b); /* the heartbeats that were due, and their answers */
    bench_run(b, 4 * HEARTBEAT_US);
    ck_assert_int_eq(bench_raft(b, 1)->role, RAFT_LEADER);
    ck_assert_uint_eq(bench_raft(b, 2)->counters.pre_votes, 0);
    bench_isolate(b, 1);
    b->now_us += 3 * T_US;
    raft_tick(bench_raft(b, 1), b->now_us);
    ck_assert_int_eq(bench_raft(b, 1)->role, RAFT_LEADER);
    b->now_us += HEARTBEAT_US;
    raft_tick(bench_raft(b, 1), b->now_us); /* nobody answered: now it is certain */
    ck_assert_int_eq(bench_raft(b, 1)->role, RAFT_FOLLOWER);
    bench_free(b);
}
END_TEST

/* canonical/raft#203: the target campaigns at once, without PreVote. */
START_TEST(core_transfer_skips_prevote)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_run(b, 2 * HEARTBEAT_US);
    uint64_t pre_votes = b->sent[RAFT_MSG_PRE_VOTE];
    ck_ok(raft_transfer(bench_raft(b, 1), b->now_us, 3, NULL));
    ck_status(bench_propose(b, 1, "x", NULL), CF_BUSY);
    bench_settle(b);
    ck_assert_int_eq(bench_raft(b, 3)->role, RAFT_LEADER);
    ck_assert_uint_eq(b->sent[RAFT_MSG_PRE_VOTE], pre_votes);
    ck_assert_uint_eq(bench_at(b, 1)->lost_term, 1);
    bench_free(b);
}
END_TEST

START_TEST(transfer_gives_up)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_isolate(b, 3);
    ck_status(raft_transfer(bench_raft(b, 1), b->now_us, 1, NULL), CF_INVALID);
    ck_status(raft_transfer(bench_raft(b, 1), b->now_us, 6, NULL), CF_INVALID);
    ck_status(raft_transfer(bench_raft(b, 2), b->now_us, 1, NULL), CF_NOT_LEADER);
    ck_ok(bench_propose(b, 1, "a", NULL)); /* 3 cannot catch up */
    bench_settle(b);
    ck_ok(raft_transfer(bench_raft(b, 1), b->now_us, 3, NULL));
    ck_status(raft_transfer(bench_raft(b, 1), b->now_us, 2, NULL), CF_BUSY);
    ck_status(bench_propose(b, 1, "b", NULL), CF_BUSY);
    bench_run(b, T_US + 2 * HEARTBEAT_US);
    ck_assert_uint_eq(bench_status(b, 1).transfer_to, RAFT_NONE);
    ck_ok(bench_propose(b, 1, "b", NULL));
    bench_free(b);
}
END_TEST

/* Found by the simulator (seed 1486): reads begin rounds of their own, and must not put off the
 * timer that CheckQuorum and transfers hang on. */
START_TEST(reads_do_not_stop_the_timer)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_isolate(b, 1);
    for (int i = 0; i < 200 && bench_raft(b, 1)->role == RAFT_LEADER; i++) {
        b->now_us += HEARTBEAT_US / 4;
        cf_ignore(raft_read(bench_raft(b, 1), b->now_us, 1, NULL), "only its rounds matter");
        raft_tick(bench_raft(b, 1), b->now_us);
        bench_drain(b, 1);
        bench_at(b, 1)->read_count = 0;
    }
    ck_assert_int_eq(bench_raft(b, 1)->role, RAFT_FOLLOWER);
    bench_free(b);
}
END_TEST

/* A sealed leader hands over to an unsealed voter that has caught up; all sealed: it stays. */
START_TEST(sealed_leader_hands_over)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    for (uint64_t id = 3; id >= 1; id--) { /* the leader last, when it knows of the others */
        raft_set_condition(bench_raft(b, id), b->now_us, RAFT_SEALED);
        bench_run(b, 2 * HEARTBEAT_US);
    }
    bench_run(b, 4 * T_US);
    ck_assert_int_eq(bench_raft(b, 1)->role, RAFT_LEADER);
    raft_set_condition(bench_raft(b, 3), b->now_us, 0);
    bench_run(b, 4 * HEARTBEAT_US);
    ck_assert_int_eq(bench_raft(b, 3)->role, RAFT_LEADER);
    bench_run(b, 4 * T_US);
    ck_assert_int_eq(bench_raft(b, 3)->role, RAFT_LEADER);
    bench_free(b);
}
END_TEST

START_TEST(stalled_leader_leaves)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_run(b, 2 * HEARTBEAT_US);
    raft_set_condition(bench_raft(b, 1), b->now_us, RAFT_STALLED);
    bench_settle(b);
    ck_assert_int_ne(bench_raft(b, 1)->role, RAFT_LEADER);
    ck_assert(bench_raft(b, 2)->role == RAFT_LEADER || bench_raft(b, 3)->role == RAFT_LEADER);
    bench_isolate(b, 2);
    bench_isolate(b, 3);
    raft_set_condition(bench_raft(b, 2), b->now_us, RAFT_STALLED); /* alone: steps down at once */
    raft_set_condition(bench_raft(b, 3), b->now_us, RAFT_STALLED);
    bench_run(b, 8 * T_US);
    for (uint64_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(bench_raft(b, id)->role, RAFT_FOLLOWER); /* none of them campaigns */
    }
    bench_free(b);
}
END_TEST

/* A preferred node that fails over and over must not keep the others out: two failed rounds end its
 * early start. */
START_TEST(bias_ends_after_two_rounds)
{
    struct bench *b = bench_new(3);
    struct raft *r = bench_raft(b, 1);
    r->options.use_priority = r->options.preferred = true;
    bench_isolate(b, 1);
    uint64_t longest = 0;
    for (unsigned round = 0; round < 40; round++) {
        bench_timeout(b, 1);
        uint64_t wait_us = r->election_deadline_us - b->now_us;
        ck_assert_uint_ge(wait_us, T_US);
        if (r->failed_rounds < 2) {
            ck_assert_uint_lt(wait_us, T_US / 10 * 13);
        } else {
            longest = wait_us > longest ? wait_us : longest;
        }
    }
    ck_assert_uint_ge(longest, T_US / 10 * 13);
    bench_free(b);
}
END_TEST

START_TEST(preferred_node_wins)
{
    struct bench *b = bench_new(3);
    for (uint64_t id = 1; id <= 3; id++) {
        struct raft *r = bench_raft(b, id);
        r->options.use_priority = true;
        r->options.preferred = id == 2;
        raft_election_reset_timer(r);
    }
    bench_run(b, 3 * T_US);
    ck_assert_int_eq(bench_raft(b, 2)->role, RAFT_LEADER);
    bench_free(b);
}
END_TEST

/* A node stuck one term ahead (its term went up without an election won) is freed by one election.
 */
START_TEST(stuck_one_term_ahead)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    raft_become_follower(bench_raft(b, 3), 5, RAFT_NONE);
    bench_run(b, 6 * T_US);
    uint64_t term = bench_status(b, 1).term;
    ck_assert_uint_ge(term, 5);
    for (uint64_t id = 1; id <= 3; id++) {
        ck_assert_uint_eq(bench_status(b, id).term, term);
        ck_assert_uint_ne(bench_status(b, id).leader, RAFT_NONE);
    }
    bench_free(b);
}
END_TEST

/* Every kind, with absurd numbers, into every role: nothing but counters may move it to an assert.
 */
START_TEST(nonsense_is_dropped)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    const uint64_t numbers[] = {0, 1, 2, UINT64_MAX, (uint64_t)1 << 62, ((uint64_t)1 << 62) + 1};
    for (uint64_t to = 1; to <= 2; to++) {
        for (int kind = -1; kind <= RAFT_MSG_KINDS; kind++) {
            for (size_t i = 0; i < 6 * 6 * 6; i++) {
                struct raft_msg m = {.kind = (enum raft_msg_kind)kind,
                                     .from = 3,
                                     .to = to,
                                     .term = i % 2 == 0 ? bench_status(b, to).term : numbers[i % 4],
                                     .log_index = numbers[i % 6],
                                     .log_term = numbers[i / 6 % 6],
                                     .commit = numbers[i / 36],
                                     .hint_index = numbers[i / 36],
                                     .hint_term = numbers[i / 6 % 6],
                                     .round = numbers[i % 6],
                                     .last_index = numbers[i / 6 % 6],
                                     .reject = i % 3 == 0,
                                     .flags = (uint32_t)i % 32};
                raft_step(bench_raft(b, to), b->now_us, &m);
            }
            bench_drain(b, to);
            bench_drop_all(b);
        }
    }
    ck_assert_uint_gt(bench_raft(b, 2)->counters.dropped_nonsense, 0);
    bench_free(b);
}
END_TEST

START_TEST(impossible_options)
{
    struct bench *b = bench_new(1);
    struct raft_options options = bench_raft(b, 1)->options;
    struct raft_start start = {0};
    struct raft *raft = NULL;
    options.id = 0;
    ck_status(raft_new(&options, &start, 1, &raft, NULL), CF_INVALID);
    options.id = 1;
    options.election_us = options.heartbeat_us;
    ck_status(raft_new(&options, &start, 1, &raft, NULL), CF_INVALID);
    options.election_us = T_US;
    start.base.index = 5;
    start.base.term = 2;
    start.last_index = 4;
    ck_status(raft_new(&options, &start, 1, &raft, NULL), CF_CORRUPT);
    start.last_index = 5;
    start.applied = 4;
    ck_status(raft_new(&options, &start, 1, &raft, NULL), CF_CORRUPT);
    ck_assert_ptr_null(raft);
    bench_free(b);
}
END_TEST

TEST_MAIN("consensus/core/election", three_elect_one, alone_at_once, own_vote_after_sync,
          grant_waits_for_the_disk, core_prevote_keeps_vote, core_prevote_no_timer_reset,
          core_prevote_exleader, stickiness, stickiness_at_equal_terms,
          old_log_gets_no_vote, check_quorum,
          late_ticks_decide_nothing, core_transfer_skips_prevote, transfer_gives_up,
          reads_do_not_stop_the_timer, sealed_leader_hands_over, stalled_leader_leaves,
          bias_ends_after_two_rounds, preferred_node_wins,
          stuck_one_term_ahead, nonsense_is_dropped, impossible_options)
