/* tests/unit/consensus/driver/test_three.c: three drivers in one process: joining, failover, reads
 * on followers, a partitioned leader, snapshots, removal, hand-over. */
#include "tests/unit/consensus/driver/cluster.h"

#include "consensus/driver/wire.h"

static struct cluster c;

static void same_everywhere(const char *key, const char *value)
{
    for (unsigned i = 0; i < NODES_MAX; i++) {
        struct node *node = &c.nodes[i];
        if (node->driver != NULL) {
            wait_until(&c, strcmp(get(node, key), value) == 0);
        }
    }
}

static void put_many(struct node *node, const char *prefix, int count)
{
    for (int i = 0; i < count; i++) {
        char text[64];
        snprintf(text, sizeof(text), "%s%d=%d", prefix, i, i);
        ck_assert_int_eq(put(node, text), CF_OK);
    }
}

/* Cuts a node off, in both directions. */
struct cut {
    unsigned node;
    bool cut;
};
static void set_cut(void *arg)
{
    const struct cut *cut = arg;
    for (unsigned i = 0; i < NODES_MAX; i++) {
        c.cut[cut->node][i] = c.cut[i][cut->node] = cut->cut;
    }
}
static void isolate(unsigned node, bool cut)
{
    on_loop(&c, set_cut, &(struct cut){node, cut});
}

START_TEST(joins_and_replicates)
{
    cluster_begin(&c);
    begin_three(&c, NODE_MEMORY);
    ck_assert(!raft_driver_read_ready_now(c.nodes[0].driver)); /* not alone any more */
    ck_assert_int_eq(put(&c.nodes[0], "a=1"), CF_OK);
    same_everywhere("a", "1");
    /* A follower refuses and says whom to ask. */
    struct write write;
    write_begin(&c.nodes[1], &write, "b=1");
    ck_assert_int_eq(write_wait(&write), CF_NOT_LEADER);
    ck_assert_uint_eq(write.leader, 1);
    ck_assert_str_eq(write.leader_address, "address-1");
    /* And reads what was acknowledged elsewhere. */
    for (int i = 0; i < 20; i++) {
        char text[32], value[16];
        snprintf(text, sizeof(text), "n=%d", i);
        snprintf(value, sizeof(value), "%d", i);
        ck_assert_int_eq(put(&c.nodes[0], text), CF_OK);
        struct node *follower = &c.nodes[1 + i % 2];
        ck_assert_int_eq(look(follower), CF_OK);
        ck_assert_str_eq(get(follower, "n"), value);
    }
    cluster_end(&c);
}
END_TEST

START_TEST(survives_its_leader)
{
    cluster_begin(&c);
    begin_three(&c, NODE_DISK);
    put_many(&c.nodes[0], "k", 30);
    node_stop(&c.nodes[0]);
    wait_until(&c, leader_of(&c) != NULL);
    struct node *leader = leader_of(&c);
    ck_assert_int_eq(look(leader), CF_OK);
    ck_assert_str_eq(get(leader, "k29"), "29");
    ck_assert_int_eq(put(leader, "after=1"), CF_OK);
    node_start(&c.nodes[0], NODE_DISK);
    same_everywhere("after", "1");
    same_everywhere("k17", "17");
    cluster_end(&c);
}
END_TEST

/* A leader that is cut off: its writes have an unknown outcome, its reads fail, and what it had not
 * committed gives way to the other side's log. */
START_TEST(deposed_leader)
{
    cluster_begin(&c);
    begin_three(&c, NODE_MEMORY);
    ck_assert_int_eq(put(&c.nodes[0], "a=1"), CF_OK);
    isolate(0, true);
    struct write lost;
    write_begin(&c.nodes[0], &lost, "a=lost");
    ck_assert_int_eq(write_wait(&lost), CF_UNKNOWN_OUTCOME);
    ck_assert_int_ne(look(&c.nodes[0]), CF_OK);
    ck_assert_str_eq(get(&c.nodes[0], "a"), "1"); /* never shown */
    wait_until(&c, leader_of(&c) != NULL && leader_of(&c) != &c.nodes[0]);
    ck_assert_int_eq(put(leader_of(&c), "a=2"), CF_OK);
    isolate(0, false);
    same_everywhere("a", "2");
    cluster_end(&c);
}
END_TEST

/* A node that was away for longer than the log is kept gets the state itself, and after it the log;
 * its identity and vote stay its own. */
static void catch_up_by_snapshot(unsigned how)
{
    cluster_begin(&c);
    c.tune.trailing_entries = 50;
    c.tune.trailing_bytes = 1;
    c.tune.snapshot_chunk_bytes = 300; /* many chunks */
    begin_three(&c, how);
    put_many(&c.nodes[0], "old", 20);
    same_everywhere("old19", "19");
    node_stop(&c.nodes[2]);
    put_many(&c.nodes[0], "new", 600);
    ck_assert_int_eq(put(&c.nodes[0], "old3="), CF_OK);
    wait_until(&c, raft_driver_log_first(c.nodes[0].driver) > 200);
    node_start(&c.nodes[2], how);
    wait_until(&c, c.nodes[2].installs == 1);
    ck_assert_int_eq(put(&c.nodes[0], "after=1"), CF_OK);
    same_everywhere("after", "1");
    same_everywhere("new599", "599");
    same_everywhere("old3", "");
    ck_assert_uint_eq(raft_store_identity(c.nodes[2].store).node_id, 3);

    /* It lives on what it got: also after a restart, and as a leader. */
    node_stop(&c.nodes[2]);
    node_start(&c.nodes[2], how);
    same_everywhere("new0", "0");
    ck_assert_int_eq(change(leader_of(&c), CALL_TRANSFER, 3), CF_OK);
    wait_until(&c, raft_driver_is_leader(c.nodes[2].driver));
    ck_assert_int_eq(put(&c.nodes[2], "led=3"), CF_OK);
    same_everywhere("led", "3");
    cluster_end(&c);
}

START_TEST(snapshot_in_memory)
{
    catch_up_by_snapshot(NODE_MEMORY);
}
END_TEST

START_TEST(snapshot_on_disk)
{
    catch_up_by_snapshot(NODE_DISK);
}
END_TEST

/* The link breaks in the middle of a transfer, again and again: it goes on where it was. */
START_TEST(snapshot_resumes)
{
    cluster_begin(&c);
    c.tune.trailing_entries = 50;
    c.tune.trailing_bytes = 1;
    c.tune.snapshot_chunk_bytes = 200;
    begin_three(&c, NODE_MEMORY);
    node_stop(&c.nodes[2]);
    put_many(&c.nodes[0], "k", 500);
    wait_until(&c, raft_driver_log_first(c.nodes[0].driver) > 200);
    node_start(&c.nodes[2], NODE_MEMORY);
    for (uint64_t bytes = 1; bytes <= 4000; bytes += 1500) {
        wait_until(&c, status_of(&c.nodes[2]).snapshot_bytes >= bytes || c.nodes[2].installs == 1);
        isolate(2, true);
        isolate(2, false);
    }
    wait_until(&c, c.nodes[2].installs == 1);
    same_everywhere("k499", "499");
    cluster_end(&c);
}
END_TEST

static void set_double_offers(void *arg)
{
    c.double_offers = *(bool *)arg;
}

/* A second offer in the middle of a transfer is refused, and the first one goes on (etcd#18055). */
START_TEST(snap_double_offer)
{
    cluster_begin(&c);
    c.tune.trailing_entries = 50;
    c.tune.trailing_bytes = 1;
    c.tune.snapshot_chunk_bytes = 200;
    begin_three(&c, NODE_MEMORY);
    node_stop(&c.nodes[2]);
    put_many(&c.nodes[0], "k", 500);
    wait_until(&c, raft_driver_log_first(c.nodes[0].driver) > 200);
    atomic_store(&c.second_answer, -1);
    on_loop(&c, set_double_offers, &(bool){true});
    node_start(&c.nodes[2], NODE_MEMORY);
    wait_until(&c, c.nodes[2].installs == 1);
    wait_until(&c, atomic_load(&c.second_answer) != -1);
    ck_assert_int_eq(atomic_load(&c.second_answer), CF_BUSY);
    same_everywhere("k499", "499");
    ck_assert_int_eq(c.nodes[2].installs, 1);
    cluster_end(&c);
    cf_buf_done(&c.second_offer);
    c.double_offers = false;
}
END_TEST

static void set_starved(void *arg)
{
    c.starved[2] = *(bool *)arg;
}
static void starve(bool starved)
{
    on_loop(&c, set_starved, &starved);
}

/* Node 3 answers its leader but gets no entries; ends when the leader's retention has looked at a log
 * that is far too long, three times: it looks in the tick that flushes the state. */
static void lag_behind(void)
{
    c.tune.trailing_entries = 50;
    c.tune.trailing_bytes = 1;
    c.tune.flush_us = 1;
    /* Another leader would have cut its log by then, and rightly: no change of leader for want of time. */
    c.tune.election_us = 1500 * 1000;
    c.tune.heartbeat_us = 15 * 1000;
    begin_three(&c, NODE_MEMORY);
    put_many(&c.nodes[0], "old", 20);
    same_everywhere("old19", "19");
    starve(true);
    for (int looks = 0; looks < 3; looks++) {
        put_many(&c.nodes[0], "new", 150);
        uint64_t last = raft_driver_applied(c.nodes[0].driver);
        wait_until(&c, status_of(&c.nodes[0]).flushed >= last);
    }
}

static struct raft_peer_info peer_of(uint64_t id)
{
    struct raft_driver_status status = status_of(&c.nodes[0]);
    for (size_t i = 0; i < status.peer_count; i++) {
        if (status.peers[i].id == id) {
            return status.peers[i];
        }
    }
    ck_abort_msg("no such peer");
}

/* Within the cap an active follower never needs a snapshot, however slow it is. */
START_TEST(active_follower_keeps_its_log)
{
    cluster_begin(&c);
    lag_behind();
    ck_assert_uint_le(raft_driver_log_first(c.nodes[0].driver),
                      status_of(&c.nodes[2]).last_index + 1);
    struct raft_peer_info slow = peer_of(3);
    ck_assert_uint_ge(slow.lag_entries, 300);
    ck_assert_uint_ge(slow.lag_bytes, slow.lag_entries * 5);
    ck_assert_uint_gt(slow.lag_us, 0);
    wait_until(&c, peer_of(2).lag_entries == 0);
    ck_assert_uint_eq(peer_of(2).lag_bytes, 0);
    ck_assert_uint_eq(peer_of(2).lag_us, 0);
    starve(false);
    same_everywhere("new149", "149");
    wait_until(&c, peer_of(3).lag_entries == 0);
    ck_assert_int_eq(c.nodes[2].installs, 0);
    wait_until(&c, raft_driver_log_first(c.nodes[0].driver) > 200); /* and then the log goes */
    cluster_end(&c);
}
END_TEST

/* What the leader keeps for a slow follower, the others need not: their logs go in time, which is marks of
 * 256 entries (retention.c) behind the trailing part and the half of it that is not worth a cut; also after
 * a restart, which knows two marks alone. */
START_TEST(followers_cut_while_the_leader_waits)
{
    cluster_begin(&c);
    lag_behind();
    for (int i = 0; i < 2; i++) {
        put_many(&c.nodes[0], "more", 300);
        wait_until(&c, raft_driver_applied(c.nodes[1].driver) >= raft_driver_applied(c.nodes[0].driver));
        uint64_t last = raft_driver_applied(c.nodes[0].driver);
        wait_until(&c, raft_driver_log_first(c.nodes[1].driver) + 50 + 25 + 256 > last);
        ck_assert_uint_le(raft_driver_log_first(c.nodes[0].driver),
                          status_of(&c.nodes[2]).last_index + 1);
        if (i == 0) {
            node_stop(&c.nodes[1]);
            node_start(&c.nodes[1], NODE_MEMORY);
        }
    }
    starve(false);
    same_everywhere("more299", "299");
    ck_assert_int_eq(c.nodes[2].installs, 0);
    cluster_end(&c);
}
END_TEST

/* A registered secondary's floor holds the log on every node; the leader spreads it. */
START_TEST(secondary_keeps_its_log)
{
    cluster_begin(&c);
    c.tune.trailing_entries = 50;
    c.tune.trailing_bytes = 1;
    begin_three(&c, NODE_MEMORY);
    raft_driver_set_floor(c.nodes[0].driver, 100);
    put_many(&c.nodes[0], "k", 400);
    same_everywhere("k399", "399");
    for (int i = 0; i < 2; i++) { /* the floor binds those that could cut by now */
        wait_until(&c, raft_driver_log_first(c.nodes[i].driver) > 1);
    }
    put_many(&c.nodes[0], "l", 200);
    same_everywhere("l199", "199");
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_le(raft_driver_log_first(c.nodes[i].driver), 101);
    }
    /* Who leads next knows no secondary yet, and keeps what was kept. */
    isolate(0, true);
    wait_until(&c, leader_of(&c) != NULL && leader_of(&c) != &c.nodes[0]);
    struct node *next = leader_of(&c);
    put_many(next, "m", 200);
    isolate(0, false);
    same_everywhere("m199", "199");
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_le(raft_driver_log_first(c.nodes[i].driver), 101);
    }
    raft_driver_set_floor(leader_of(&c)->driver, UINT64_MAX);
    for (int i = 0; i < 3; i++) {
        wait_until(&c, raft_driver_log_first(c.nodes[i].driver) > 300);
    }
    cluster_end(&c);
}
END_TEST

/* Beyond the cap the disk is not theirs alone. */
START_TEST(cap_beats_a_laggard)
{
    cluster_begin(&c);
    c.tune.log_bytes_max = 8000;
    lag_behind();
    wait_until(&c, raft_driver_log_first(c.nodes[0].driver) > 100);
    starve(false);
    wait_until(&c, c.nodes[2].installs >= 1);
    same_everywhere("new149", "149");
    cluster_end(&c);
}
END_TEST

START_TEST(hands_over)
{
    cluster_begin(&c);
    begin_three(&c, NODE_MEMORY);
    put_many(&c.nodes[0], "k", 5);
    ck_assert_int_eq(change(&c.nodes[0], CALL_TRANSFER, 0), CF_OK);
    wait_until(&c, leader_of(&c) != NULL && leader_of(&c) != &c.nodes[0]);
    ck_assert_int_eq(put(leader_of(&c), "x=1"), CF_OK);
    same_everywhere("x", "1");
    ck_assert_int_eq(change(&c.nodes[0], CALL_TRANSFER, 0), CF_NOT_LEADER);
    cluster_end(&c);
}
END_TEST

START_TEST(removes_a_member)
{
    cluster_begin(&c);
    begin_three(&c, NODE_MEMORY);
    ck_assert_int_eq(change(&c.nodes[0], CALL_REMOVE, 3), CF_OK);
    wait_until(&c, voters(&c.nodes[0]) == 2);
    ck_assert_int_eq(change(&c.nodes[0], CALL_REMOVE, 9), CF_NOT_FOUND);
    ck_assert_int_eq(put(&c.nodes[0], "a=1"), CF_OK);
    node_stop(&c.nodes[2]);
    same_everywhere("a", "1");
    ck_assert_int_eq(change(&c.nodes[0], CALL_REMOVE, 2), CF_OK);
    wait_until(&c, voters(&c.nodes[0]) == 1);
    ck_assert_int_eq(put(&c.nodes[0], "a=2"), CF_OK);
    cluster_end(&c);
}
END_TEST

/* A node that lost the end of its log (an old disk image, a lying disk) fetches it again before it
 * takes part; the state that it has stays right. */
START_TEST(lost_log_is_fetched)
{
    cluster_begin(&c);
    begin_three(&c, NODE_DISK);
    put_many(&c.nodes[0], "k", 40);
    same_everywhere("k39", "39");
    node_stop(&c.nodes[2]);
    struct kv *kv = NULL;
    ck_ok(kv_open(c.nodes[2].dir, NULL, &kv, NULL));
    struct kv_family *log = NULL;
    ck_ok(kv_family_open(kv, "log", &log, NULL));
    struct kv_batch *batch = kv_batch_new(kv);
    kv_batch_delete_range(batch, log, cf_slice_of((uint8_t[8]){0, 0, 0, 0, 0, 0, 0, 20}, 8),
                          cf_slice_of((uint8_t[8]){1}, 8));
    ck_ok(kv_commit(kv, batch, KV_SYNC, NULL));
    kv_batch_free(batch);
    kv_family_unref(log);
    kv_close(kv);
    node_start(&c.nodes[2], NODE_DISK);
    wait_until(&c, status_of(&c.nodes[2]).condition & RAFT_RECOVERING);
    ck_assert_int_eq(put(&c.nodes[0], "after=1"), CF_OK);
    same_everywhere("after", "1");
    same_everywhere("k39", "39");
    wait_until(&c, !(status_of(&c.nodes[2]).condition & RAFT_RECOVERING));
    ck_assert_int_eq(change(leader_of(&c), CALL_TRANSFER, 3), CF_OK);
    wait_until(&c, raft_driver_is_leader(c.nodes[2].driver));
    ck_assert_int_eq(put(&c.nodes[2], "led=3"), CF_OK);
    same_everywhere("led", "3");
    cluster_end(&c);
}
END_TEST

/* Frames that are not for us, or not frames at all, change nothing. */
static void feed_nonsense(void *arg)
{
    struct raft_driver *driver = ((struct node *)arg)->driver;
    struct raft_frame frame = {
        .kind = RAFT_MSG_VOTE,
        .msg = {.from = 2, .to = 1, .term = 99, .log_index = 99, .log_term = 99},
        .identity = raft_store_identity(((struct node *)arg)->store),
    };
    CF_BUF(bytes) = {0};
    raft_wire_pack(&frame, &bytes);
    raft_driver_receive(driver, 3, cf_buf_slice(&bytes)); /* says that it is somebody else */
    for (size_t size = 0; size < bytes.size; size++) {
        raft_driver_receive(driver, 3, cf_slice_first(cf_buf_slice(&bytes), size));
    }
    frame.identity.cluster_id[0] ^= 1;
    cf_buf_reset(&bytes);
    raft_wire_pack(&frame, &bytes);
    raft_driver_receive(driver, 2, cf_buf_slice(&bytes));
    frame.identity.cluster_id[0] ^= 1;
    frame.identity.recovery_epoch = 1;
    cf_buf_reset(&bytes);
    raft_wire_pack(&frame, &bytes);
    raft_driver_receive(driver, 2, cf_buf_slice(&bytes));
}

START_TEST(refuses_foreign_frames)
{
    cluster_begin(&c);
    begin_three(&c, NODE_MEMORY);
    uint64_t term = raft_driver_term(c.nodes[0].driver);
    on_loop(&c, feed_nonsense, &c.nodes[0]);
    ck_assert_int_eq(put(&c.nodes[0], "a=1"), CF_OK);
    ck_assert_uint_eq(raft_driver_term(c.nodes[0].driver), term);
    wait_until(&c, status_of(&c.nodes[0]).frames_refused > 3);
    cluster_end(&c);
}
END_TEST

struct replacing {
    struct node *node;
    bool as_learner;
    cf_status begun, ended;
    bool done;
};
static void replaced(void *context, cf_status status, const struct cf_error *err)
{
    struct replacing *replacing = context;
    (void)err;
    pthread_mutex_lock(&c.lock);
    replacing->ended = status;
    replacing->done = true;
    pthread_cond_broadcast(&c.changed);
    pthread_mutex_unlock(&c.lock);
}
static void replace(void *arg)
{
    struct replacing *is = arg;
    is->begun = raft_driver_replace(is->node->driver, 3, 4, "address-4", "node-3", cf_feature_level(),
                                    is->as_learner, replaced, is, NULL);
}

/* A node that lost its disk: its place goes to another id in one joint change, with its vote. */
START_TEST(one_takes_the_place_of_another)
{
    cluster_begin(&c);
    begin_three(&c, NODE_MEMORY);
    ck_assert_int_eq(put(&c.nodes[0], "a=1"), CF_OK);
    node_stop(&c.nodes[2]);
    node_start(&c.nodes[3], NODE_MEMORY);
    struct replacing is = {.node = &c.nodes[0]};
    on_loop(&c, replace, &is);
    ck_assert_int_eq(is.begun, CF_OK);
    wait_until(&c, is.done);
    ck_assert_int_eq(is.ended, CF_OK);
    wait_until(&c, voters(&c.nodes[0]) == 3 && voters(&c.nodes[3]) == 3);
    struct raft_driver_status status = status_of(&c.nodes[0]);
    ck_assert_uint_eq(status.peer_count, 3);
    for (size_t i = 0; i < status.peer_count; i++) {
        ck_assert_uint_ne(status.peers[i].id, 3);
    }
    wait_until(&c, strcmp(get(&c.nodes[3], "a"), "1") == 0);
    on_loop(&c, replace, &is); /* nobody of that id any more */
    ck_assert_int_eq(is.begun, CF_NOT_FOUND);
    node_stop(&c.nodes[1]); /* the new one's vote counts */
    ck_assert_int_eq(put(&c.nodes[0], "b=1"), CF_OK);
    cluster_end(&c);
}
END_TEST

TEST_MAIN("consensus/driver/three", joins_and_replicates, survives_its_leader, deposed_leader,
          snapshot_in_memory, snapshot_on_disk, snapshot_resumes, snap_double_offer,
          active_follower_keeps_its_log, followers_cut_while_the_leader_waits, secondary_keeps_its_log,
          cap_beats_a_laggard, hands_over, removes_a_member, lost_log_is_fetched, refuses_foreign_frames, one_takes_the_place_of_another)
