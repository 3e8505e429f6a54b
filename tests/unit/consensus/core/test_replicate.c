/* The log: what is acknowledged, committed, applied and cut, and when. */
#include "harness.h"

START_TEST(proposal_is_applied_everywhere)
{
    struct bench *b = bench_new(3);
    uint64_t index = 0;
    ck_status(bench_propose(b, 1, "early", NULL), CF_NOT_LEADER);
    bench_elect(b, 1);
    ck_ok(bench_propose(b, 1, "a", &index));
    ck_assert_uint_eq(index, 2);
    bench_settle(b);
    for (uint64_t id = 1; id <= 3; id++) {
        ck_assert_uint_eq(bench_at(b, id)->applied, 2);
        ck_slice(bench_at(b, id)->log[1]->payload, "a");
        ck_ok(raft_entry_check(bench_at(b, id)->log[1], NULL));
    }
    bench_free(b);
}
END_TEST

START_TEST(bad_proposals)
{
    struct bench *b = bench_new(1);
    bench_elect(b, 1);
    struct raft_entry *entry = raft_entry_new(RAFT_ENTRY_CONFIG, 0, CF_SLICE("x"));
    uint64_t index;
    ck_status(raft_propose(bench_raft(b, 1), b->now_us, &entry, 1, &index, NULL), CF_INVALID);
    ck_status(raft_propose(bench_raft(b, 1), b->now_us, &entry, 0, &index, NULL), CF_INVALID);
    raft_entry_unref(entry);
    entry = raft_entry_new(RAFT_ENTRY_DATA, 0, CF_SLICE("x"));
    ck_ok(raft_propose(bench_raft(b, 1), b->now_us, &entry, 1, &index, NULL));
    ck_status(raft_propose(bench_raft(b, 1), b->now_us, &entry, 1, &index, NULL), CF_INVALID);
    raft_entry_unref(entry);
    bench_free(b);
}
END_TEST

/* etcd#14370: committed by the others, yet not applied here before it is durable here. */
START_TEST(core_apply_limit_local_durable)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_at(b, 1)->hold_disk = true;
    ck_ok(bench_propose(b, 1, "a", NULL));
    bench_settle(b);
    ck_assert_uint_eq(bench_status(b, 1).commit, 2); /* 2 and 3 have it on disk */
    ck_assert_uint_eq(bench_at(b, 1)->applied, 1);
    ck_assert_uint_eq(bench_at(b, 2)->applied, 2);
    bench_sync(b, 1, 1);
    bench_settle(b);
    ck_assert_uint_eq(bench_at(b, 1)->applied, 2);
    bench_free(b);
}
END_TEST

/* etcd#10508: alone, nothing is committed before the own sync. */
START_TEST(sole_voter_waits_for_its_disk)
{
    struct bench *b = bench_new(1);
    bench_elect(b, 1);
    bench_at(b, 1)->hold_disk = true;
    ck_ok(bench_propose(b, 1, "a", NULL));
    bench_settle(b);
    ck_assert_uint_eq(bench_status(b, 1).commit, 1);
    bench_sync(b, 1, 1);
    bench_settle(b);
    ck_assert_uint_eq(bench_at(b, 1)->applied, 2);
    bench_free(b);
}
END_TEST

START_TEST(acknowledgement_waits_for_the_disk)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_isolate(b, 3);
    bench_at(b, 2)->hold_disk = true;
    for (int i = 0; i < 5; i++) {
        ck_ok(bench_propose(b, 1, "a", NULL));
        bench_settle(b);
    }
    ck_assert_uint_eq(bench_status(b, 2).last_index, 6);
    ck_assert_uint_eq(bench_status(b, 1).commit, 1);
    bench_sync(b, 2, 2);
    bench_settle(b);
    ck_assert_uint_eq(bench_status(b, 1).commit, 3);
    bench_sync(b, 2, bench_at(b, 2)->queue_count);
    bench_settle(b);
    ck_assert_uint_eq(bench_status(b, 1).commit, 6);
    bench_free(b);
}
END_TEST

/* Five nodes, Raft figure 8: an entry of an old term on a majority is not committed by counting. */
START_TEST(old_term_is_not_counted)
{
    struct bench *b = bench_new(5);
    bench_elect(b, 1);
    for (uint64_t id = 3; id <= 5; id++) {
        bench_isolate(b, id);
    }
    ck_ok(bench_propose(b, 1, "old", NULL)); /* index 2, on 1 and 2 */
    bench_settle(b);
    bench_stop(b, 1, 9);
    bench_heal(b);
    bench_isolate(b, 5);
    bench_drop_all(b);
    /* 2 wins with 3 and 4, and spreads index 2, but its own NOOP (3) does not get through. */
    b->now_us += 2 * T_US;
    bench_timeout(b, 2);
    b->hold_msgs = false;
    while (bench_raft(b, 2)->role != RAFT_LEADER) {
        ck_assert(bench_deliver(b, 3, RAFT_MSG_PRE_VOTE) ||
                  bench_deliver(b, 4, RAFT_MSG_PRE_VOTE) ||
                  bench_deliver(b, 2, RAFT_MSG_PRE_VOTE_R) || bench_deliver(b, 3, RAFT_MSG_VOTE) ||
                  bench_deliver(b, 4, RAFT_MSG_VOTE) || bench_deliver(b, 2, RAFT_MSG_VOTE_R));
    }
    struct raft_msg ack = {
        .kind = RAFT_MSG_APPEND_R, .from = 3, .to = 2, .term = 2, .log_index = 2, .last_index = 2};
    raft_step(bench_raft(b, 2), b->now_us, &ack);
    ack.from = 4;
    raft_step(bench_raft(b, 2), b->now_us, &ack);
    ck_assert_uint_eq(bench_status(b, 2).commit, 1);
    ack.log_index = ack.last_index = 3;
    raft_step(bench_raft(b, 2), b->now_us, &ack);
    ack.from = 3;
    raft_step(bench_raft(b, 2), b->now_us, &ack);
    ck_assert_uint_eq(bench_status(b, 2).commit, 3);
    bench_free(b);
}
END_TEST

static struct raft_entry *entry_of(uint64_t term, uint64_t index, const char *text)
{
    struct raft_entry *entry = raft_entry_new(RAFT_ENTRY_DATA, 0, cf_slice_str(text));
    raft_entry_seal(entry, term, index);
    return entry;
}

static void append_to(struct bench *b, uint64_t to, uint64_t term, uint64_t prev,
                      uint64_t prev_term, uint64_t commit, struct raft_entry *entry)
{
    struct raft_msg m = {.kind = RAFT_MSG_APPEND,
                         .from = term % 2 == 0 ? 2 : 3,
                         .to = to,
                         .term = term,
                         .log_index = prev,
                         .log_term = prev_term,
                         .commit = commit,
                         .entry_count = entry != NULL ? 1 : 0,
                         .entries = &entry};
    raft_step(bench_raft(b, to), b->now_us, &m);
    bench_drain(b, to);
    raft_entry_unref(entry);
}

/* The completion of a write whose entry was overwritten, and overwritten again with an entry of the
 * first leader's, marks nothing durable (I-21, etcd-io/raft's ABA). */
START_TEST(core_append_aba)
{
    struct bench *b = bench_new(3);
    b->hold_msgs = true;
    bench_at(b, 1)->hold_disk = true;
    append_to(b, 1, 2, 0, 0, 0, entry_of(2, 1, "A"));
    append_to(b, 1, 3, 0, 0, 0, entry_of(3, 1, "B"));
    append_to(b, 1, 4, 0, 0, 0, entry_of(4, 1, "A again"));
    ck_assert_uint_eq(bench_status(b, 1).last_index, 1);
    ck_assert_uint_eq(bench_at(b, 1)->queue_count, 3);
    bench_sync(b, 1, 1);
    ck_assert_uint_eq(bench_status(b, 1).durable, 0);
    bench_sync(b, 1, 1);
    ck_assert_uint_eq(bench_status(b, 1).durable, 0);
    bench_drain(b, 1);
    ck_assert_uint_eq(b->sent[RAFT_MSG_APPEND_R], 0); /* and acknowledges nothing */
    bench_sync(b, 1, 1);
    bench_drain(b, 1);
    ck_assert_uint_eq(bench_status(b, 1).durable, 1);
    ck_assert_uint_eq(b->sent[RAFT_MSG_APPEND_R], 1);
    raft_on_persisted(bench_raft(b, 1), b->now_us, 2, 3); /* once more, and one never issued */
    raft_on_persisted(bench_raft(b, 1), b->now_us, 77, 4);
    ck_assert_uint_eq(bench_raft(b, 1)->counters.dropped_stale, 2);
    bench_free(b);
}
END_TEST

/* canonical/raft#470: what was cut may come back, under a later leader, and be committed. */
START_TEST(core_truncate_reinstate)
{
    struct bench *b = bench_new(3);
    b->hold_msgs = true;
    append_to(b, 1, 2, 0, 0, 0, entry_of(2, 1, "first"));
    append_to(b, 1, 3, 0, 0, 0, entry_of(3, 1, "second"));
    ck_slice(bench_at(b, 1)->log[0]->payload, "second");
    append_to(b, 1, 4, 0, 0, 0, entry_of(2, 1, "first"));
    ck_slice(bench_at(b, 1)->log[0]->payload, "first");
    append_to(b, 1, 4, 1, 2, 2, entry_of(4, 2, "third"));
    ck_assert_uint_eq(bench_at(b, 1)->applied, 2);
    ck_assert_uint_eq(bench_status(b, 1).commit, 2);
    bench_free(b);
}
END_TEST

/* An entry below the commit index is never cut, whoever asks for it. */
START_TEST(committed_is_never_cut)
{
    struct bench *b = bench_new(3);
    b->hold_msgs = true;
    append_to(b, 1, 2, 0, 0, 0, entry_of(2, 1, "a"));
    append_to(b, 1, 2, 1, 2, 2, entry_of(2, 2, "b"));
    ck_assert_uint_eq(bench_status(b, 1).commit, 2);
    struct raft_entry *wrong[2] = {entry_of(3, 2, "evil"), entry_of(3, 3, "evil")};
    struct raft_msg m = {.kind = RAFT_MSG_APPEND,
                         .from = 3,
                         .to = 1,
                         .term = 3,
                         .log_index = 1,
                         .log_term = 2,
                         .entry_count = 2,
                         .entries = wrong};
    raft_step(bench_raft(b, 1), b->now_us, &m);
    bench_drain(b, 1);
    ck_slice(bench_at(b, 1)->log[1]->payload, "b");
    ck_assert_uint_ne(bench_status(b, 1).soft.condition & RAFT_RECOVERING, 0);
    raft_entry_unref(wrong[0]);
    raft_entry_unref(wrong[1]);
    bench_free(b);
}
END_TEST

/* Entries whose indexes or terms do not fit are refused as a whole. */
START_TEST(unsound_entries)
{
    struct bench *b = bench_new(3);
    b->hold_msgs = true;
    append_to(b, 1, 2, 0, 0, 0, entry_of(2, 2, "gap"));
    append_to(b, 1, 2, 0, 0, 0, entry_of(3, 1, "from the future"));
    struct raft_entry *config = raft_entry_new(RAFT_ENTRY_CONFIG, 0, CF_SLICE("nonsense"));
    raft_entry_seal(config, 2, 1);
    append_to(b, 1, 2, 0, 0, 0, config);
    struct raft_msg none = {
        .kind = RAFT_MSG_APPEND, .from = 2, .to = 1, .term = 2, .entry_count = 3};
    raft_step(bench_raft(b, 1), b->now_us, &none);
    ck_assert_uint_eq(bench_status(b, 1).last_index, 0);
    ck_assert_uint_eq(bench_raft(b, 1)->counters.dropped_nonsense, 4);
    bench_free(b);
}
END_TEST

/* etcd#12483, cockroach#30260: asked to commit what it does not have, a node knows that it lost
 * data: it does not vote, does not campaign, does not crash, and is whole again after replication.
 */
START_TEST(core_commit_beyond_last_recovering)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    for (int i = 0; i < 5; i++) {
        ck_ok(bench_propose(b, 1, "a", NULL));
        bench_settle(b);
    }
    struct bench_node *lost = bench_at(b, 3);
    bench_stop(b, 3, 0);
    while (lost->count > 2) { /* the disk forgot what it had synced */
        raft_entry_unref(lost->log[--lost->count]);
    }
    lost->hard.commit = 0;
    lost->applied = 0;
    b->options.amnesia_ends = true;
    bench_start(b, 3);
    bench_drain(b, 3);
    b->hold_msgs = true;
    bench_drop_all(b);
    b->now_us += HEARTBEAT_US;
    raft_tick(bench_raft(b, 1), b->now_us);
    bench_drain(b, 1);
    ck_assert(bench_deliver(b, 3, RAFT_MSG_HEARTBEAT));
    ck_assert_uint_eq(bench_status(b, 3).soft.condition, RAFT_RECOVERING);
    ck_assert_uint_eq(bench_raft(b, 3)->counters.commit_beyond_last, 1);
    b->now_us += 3 * T_US;
    struct raft_msg vote = {
        .kind = RAFT_MSG_VOTE, .from = 2, .to = 3, .term = 9, .log_index = 99, .log_term = 8};
    bench_drop_all(b);
    raft_step(bench_raft(b, 3), b->now_us, &vote);
    bench_drain(b, 3);
    ck_assert_uint_eq(bench_status(b, 3).vote, RAFT_NONE);
    bench_timeout(b, 3);
    ck_assert_int_eq(bench_raft(b, 3)->role, RAFT_FOLLOWER);
    b->hold_msgs = false;
    bench_run(b, 8 * T_US);
    for (uint64_t id = 1; id <= 2; id++) { /* something of the present term is committed */
        cf_ignore(bench_propose(b, id, "more", NULL), "one of them leads");
    }
    bench_run(b, T_US);
    ck_assert_uint_eq(bench_status(b, 3).soft.condition, 0);
    ck_assert_uint_eq(bench_status(b, 3).last_index, bench_status(b, 1).last_index);
    bench_free(b);
}
END_TEST

/* Puts an older image of its disk back: the log ends at `keep`, term and vote are old as well. */
static void restore_image(struct bench *b, uint64_t id, size_t keep, struct raft_hard_state hard)
{
    struct bench_node *lost = bench_at(b, id);
    bench_stop(b, id, 0);
    while (lost->count > keep) {
        raft_entry_unref(lost->log[--lost->count]);
    }
    lost->hard = hard;
    lost->applied = 0;
    bench_start(b, id);
    bench_drain(b, id);
}

/* 13.8: all three hold five entries and remember of each other that they do. */
static struct bench *two_know(void)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    for (int i = 0; i < 5; i++) {
        ck_ok(bench_propose(b, 1, "a", NULL));
        bench_settle(b);
    }
    bench_run(b, 4 * HEARTBEAT_US); /* each follower has heard of the other one */
    return b;
}

/* The one that remembers asks for a vote: that is how the amnesiac learns of it, though the leader that it had
 * acknowledged to is gone. */
START_TEST(core_amnesia_told_by_candidate)
{
    struct bench *b = two_know();
    uint64_t last = bench_status(b, 2).last_index;
    bench_isolate(b, 1);
    restore_image(b, 2, 2, (struct raft_hard_state){.term = 1});
    b->hold_msgs = true;
    bench_drop_all(b);
    ck_assert_uint_eq(bench_status(b, 2).soft.condition, 0);
    b->now_us += 3 * T_US;
    bench_timeout(b, 3);
    ck_assert(bench_deliver(b, 2, RAFT_MSG_PRE_VOTE));
    ck_assert_uint_eq(bench_status(b, 2).soft.condition, RAFT_RECOVERING | RAFT_AMNESIAC);
    ck_assert_uint_eq(bench_raft(b, 2)->counters.amnesia, 1);
    ck_assert(bench_deliver(b, 3, RAFT_MSG_PRE_VOTE_R));
    ck_assert_int_ne(bench_raft(b, 3)->role, RAFT_CANDIDATE);
    ck_assert_uint_eq(bench_status(b, 3).last_index, last);
    bench_free(b);
}
END_TEST

/* It asks itself, and is told in the refusal; nobody who lacks the entries, too, elects it. */
START_TEST(core_amnesia_candidate_refused)
{
    struct bench *b = two_know();
    bench_isolate(b, 1);
    restore_image(b, 2, 2, (struct raft_hard_state){.term = 1});
    b->hold_msgs = true;
    bench_drop_all(b);
    struct raft_msg vote = {.kind = RAFT_MSG_PRE_VOTE, .from = 2, .to = 3, .term = 9, .log_index = 2,
                            .log_term = 9}; /* its log would do, by term and index */
    b->now_us += 3 * T_US;
    raft_step(bench_raft(b, 3), b->now_us, &vote);
    bench_drain(b, 3);
    ck_assert_uint_eq(bench_raft(b, 3)->counters.votes_refused_condition, 1);
    ck_assert(bench_deliver(b, 2, RAFT_MSG_PRE_VOTE_R));
    ck_assert_uint_eq(bench_status(b, 2).soft.condition, RAFT_RECOVERING | RAFT_AMNESIAC);
    bench_timeout(b, 2);
    ck_assert_int_eq(bench_raft(b, 2)->role, RAFT_FOLLOWER);
    bench_free(b);
}
END_TEST

/* 13.8: a leader gives everything back, but no vote comes back with it: also after a restart it neither votes nor
 * campaigns, so that the two that are left elect nobody without the third. */
START_TEST(core_amnesia_is_final)
{
    const uint32_t for_good = RAFT_RECOVERING | RAFT_AMNESIAC;
    struct bench *b = two_know();
    restore_image(b, 2, 2, (struct raft_hard_state){.term = 1});
    bench_run(b, 8 * T_US);
    for (uint64_t id = 1; id <= 3; id++) {
        cf_ignore(bench_propose(b, id, "more", NULL), "one of them leads");
    }
    bench_run(b, T_US);
    ck_assert_uint_eq(bench_status(b, 2).last_index, bench_status(b, 1).last_index);
    ck_assert_uint_eq(bench_status(b, 2).soft.condition, for_good);
    bench_stop(b, 2, 0);
    b->options.condition = for_good; /* the host remembers */
    bench_start(b, 2);
    b->options.condition = 0;
    bench_run(b, 8 * T_US);
    ck_assert_uint_eq(bench_status(b, 2).soft.condition, for_good);
    raft_set_condition(bench_raft(b, 2), b->now_us, RAFT_SEALED);
    ck_assert_uint_eq(bench_status(b, 2).soft.condition, for_good | RAFT_SEALED);
    bench_isolate(b, 1);
    bench_run(b, 20 * T_US);
    ck_assert_int_ne(bench_raft(b, 2)->role, RAFT_LEADER);
    ck_assert_int_ne(bench_raft(b, 3)->role, RAFT_LEADER);
    ck_assert_uint_eq(bench_raft(b, 2)->counters.elections + bench_raft(b, 2)->counters.pre_votes, 0);
    bench_heal(b);
    bench_run(b, 20 * T_US);
    ck_assert(bench_raft(b, 1)->role == RAFT_LEADER || bench_raft(b, 3)->role == RAFT_LEADER);
    bench_free(b);
}
END_TEST

/* Where it may end (the simulator), an entry of its leader's term that is committed after that leader knew ends it. */
START_TEST(core_amnesia_ends_with_the_log)
{
    struct bench *b = two_know();
    b->options.amnesia_ends = true;
    restore_image(b, 2, 2, (struct raft_hard_state){.term = 1});
    bench_run(b, 8 * T_US);
    ck_assert_uint_ge(bench_raft(b, 2)->counters.amnesia, 1);
    for (uint64_t id = 1; id <= 3; id++) {
        cf_ignore(bench_propose(b, id, "more", NULL), "one of them leads");
    }
    bench_run(b, T_US);
    ck_assert_uint_eq(bench_status(b, 2).soft.condition, 0);
    ck_assert_uint_eq(bench_status(b, 2).last_index, bench_status(b, 1).last_index);
    bench_free(b);
}
END_TEST

/* What was acknowledged and never committed may be cut: that is no amnesia. And a restart forgets nothing. */
START_TEST(core_amnesia_no_false_alarm)
{
    struct bench *b = two_know();
    for (uint64_t id = 1; id <= 3; id++) {
        bench_stop(b, id, 0);
        bench_start(b, id);
        bench_run(b, 8 * T_US);
    }
    bench_isolate(b, 1);
    for (int i = 0; i < 3; i++) {
        cf_ignore(bench_propose(b, 1, "never committed", NULL), "it may not lead");
    }
    bench_run(b, 8 * T_US);
    bench_heal(b);
    bench_run(b, 8 * T_US);
    for (uint64_t id = 1; id <= 3; id++) {
        ck_assert_uint_eq(bench_raft(b, id)->counters.amnesia, 0);
        ck_assert_uint_eq(bench_status(b, id).soft.condition, 0);
    }
    bench_free(b);
}
END_TEST

/* Before the leader knows, it may still count what this node has lost: its word ends nothing. */
START_TEST(recovery_ends_when_the_leader_knows)
{
    struct bench *b = bench_new(3);
    b->hold_msgs = true;
    append_to(b, 1, 2, 0, 0, 0, entry_of(2, 1, "a"));
    raft_set_condition(bench_raft(b, 1), b->now_us, RAFT_RECOVERING);
    append_to(b, 1, 2, 1, 2, 1, entry_of(2, 2, "b"));
    ck_assert_uint_eq(bench_status(b, 1).soft.condition, RAFT_RECOVERING);
    raft_set_condition(bench_raft(b, 1), b->now_us, 0); /* the host cannot end it, either */
    ck_assert_uint_eq(bench_status(b, 1).soft.condition, RAFT_RECOVERING);
    struct raft_msg m = {.kind = RAFT_MSG_APPEND,
                         .from = 2,
                         .to = 1,
                         .term = 2,
                         .log_index = 2,
                         .log_term = 2,
                         .commit = 2,
                         .flags = RAFT_MSG_RECOVERING};
    raft_step(bench_raft(b, 1), b->now_us, &m);
    bench_drain(b, 1);
    ck_assert_uint_eq(bench_status(b, 1).soft.condition, 0);
    bench_free(b);
}
END_TEST

/* Backtracking costs a round trip for each term, not for each entry. */
START_TEST(fast_backtracking)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_isolate(b, 1);
    for (int i = 0; i < 100; i++) {
        ck_ok(bench_propose(b, 1, "lost", NULL));
        bench_drain(b, 1);
    }
    bench_elect(b, 2);
    for (int i = 0; i < 100; i++) {
        ck_ok(bench_propose(b, 2, "kept", NULL));
        bench_settle(b);
    }
    bench_heal(b);
    uint64_t rejected = bench_raft(b, 2)->counters.appends_rejected;
    bench_run(b, 4 * HEARTBEAT_US);
    ck_assert_uint_eq(bench_status(b, 1).last_index, 102);
    ck_assert_uint_eq(bench_at(b, 1)->applied, 102);
    ck_assert_uint_le(bench_raft(b, 2)->counters.appends_rejected, rejected + 2);
    bench_free(b);
}
END_TEST

START_TEST(back_pressure)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_raft(b, 1)->options.uncommitted_bytes_max = 1000;
    bench_isolate(b, 1);
    cf_status status = CF_OK;
    unsigned accepted = 0;
    for (; status == CF_OK; accepted++) {
        status = bench_propose(b, 1, "0123456789", NULL);
    }
    ck_status(status, CF_BUSY);
    ck_assert_uint_le(accepted, 1000 / 74 + 1);
    bench_heal(b);
    bench_run(b, 2 * HEARTBEAT_US);
    ck_ok(bench_propose(b, 1, "again", NULL));
    bench_free(b);
}
END_TEST

/* The loss of the last message is noticed without further traffic. */
START_TEST(lost_tail_is_sent_again)
{
    struct bench *b = bench_new(3);
    bench_elect(b, 1);
    bench_run(b, 2 * HEARTBEAT_US);
    ck_ok(bench_propose(b, 1, "a", NULL));
    bench_drain(b, 1);
    bench_drop_all(b);
    bench_run(b, 4 * HEARTBEAT_US);
    ck_assert_uint_eq(bench_at(b, 3)->applied, 2);
    raft_on_unreachable(bench_raft(b, 1), b->now_us, 2);
    ck_ok(bench_propose(b, 1, "b", NULL));
    bench_run(b, 4 * HEARTBEAT_US);
    ck_assert_uint_eq(bench_at(b, 2)->applied, 3);
    bench_free(b);
}
END_TEST

/* Seed 188 of the simulator: with a window of messages out of order, each rejection that was still
 * on its way began another full window. An answer older than the probe does not end it. */
START_TEST(late_answers_begin_no_storm)
{
    struct bench *b = bench_new(2);
    bench_elect(b, 1);
    bench_run(b, 2 * HEARTBEAT_US);
    b->hold_msgs = true;
    for (int i = 0; i < 100; i++) {
        ck_ok(bench_propose(b, 1, "a", NULL));
        bench_drain(b, 1);
    }
    uint64_t sent = b->sent[RAFT_MSG_APPEND];
    struct raft_msg reply = {
        .kind = RAFT_MSG_APPEND_R, .from = 2, .to = 1, .term = 1, .last_index = 1};
    for (uint64_t i = 0; i < 50; i++) {
        reply.reject = true; /* of one that overtook another */
        reply.log_index = 50 + i;
        reply.hint_index = 2 + i;
        reply.hint_term = 1;
        raft_step(bench_raft(b, 1), b->now_us, &reply);
        bench_drain(b, 1);
        reply.reject = false; /* and an acknowledgement of an early one */
        reply.log_index = 2 + i;
        raft_step(bench_raft(b, 1), b->now_us, &reply);
        bench_drain(b, 1);
    }
    ck_assert_uint_le(b->sent[RAFT_MSG_APPEND] - sent, 60);
    b->hold_msgs = false;
    bench_run(b, 4 * HEARTBEAT_US);
    ck_assert_uint_eq(bench_at(b, 2)->applied, 101);
    bench_free(b);
}
END_TEST

START_TEST(window_is_kept)
{
    struct bench *b = bench_new(2);
    bench_elect(b, 1);
    bench_run(b, 2 * HEARTBEAT_US);
    b->hold_msgs = true;
    uint64_t sent = b->sent[RAFT_MSG_APPEND];
    for (int i = 0; i < 400; i++) {
        ck_ok(bench_propose(b, 1, "a", NULL));
        bench_drain(b, 1);
    }
    ck_assert_uint_eq(b->sent[RAFT_MSG_APPEND] - sent, 256);
    b->hold_msgs = false;
    bench_settle(b);
    ck_assert_uint_eq(bench_at(b, 2)->applied, 401);
    bench_free(b);
}
END_TEST

/* More writes than RAFT_WRITES_MAX wait inside the core. */
START_TEST(writes_in_flight_are_bounded)
{
    struct bench *b = bench_new(1);
    bench_elect(b, 1);
    bench_at(b, 1)->hold_disk = true;
    for (int i = 0; i < 64; i++) {
        ck_ok(bench_propose(b, 1, "a", NULL));
        bench_drain(b, 1);
    }
    for (int i = 0; i < 10; i++) {
        ck_ok(bench_propose(b, 1, "b", NULL));
        bench_drain(b, 1);
    }
    ck_assert_uint_eq(bench_at(b, 1)->queue_count, RAFT_WRITES_MAX);
    bench_sync(b, 1, 64);
    bench_drain(b, 1);
    ck_assert_uint_eq(bench_at(b, 1)->queue_count, 1);
    bench_sync(b, 1, 1);
    bench_drain(b, 1);
    ck_assert_uint_eq(bench_at(b, 1)->applied, 75);
    bench_free(b);
}
END_TEST

TEST_MAIN("consensus/core/replicate", proposal_is_applied_everywhere, bad_proposals,
          core_apply_limit_local_durable, sole_voter_waits_for_its_disk,
          acknowledgement_waits_for_the_disk, old_term_is_not_counted, core_append_aba,
          core_truncate_reinstate, committed_is_never_cut, unsound_entries,
          core_commit_beyond_last_recovering, core_amnesia_told_by_candidate,
          core_amnesia_candidate_refused, core_amnesia_is_final, core_amnesia_ends_with_the_log, core_amnesia_no_false_alarm, recovery_ends_when_the_leader_knows,
          fast_backtracking, back_pressure, lost_tail_is_sent_again, late_answers_begin_no_storm,
          window_is_kept, writes_in_flight_are_bounded)
