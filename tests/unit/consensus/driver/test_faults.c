/* tests/unit/consensus/driver/test_faults.c: what a bad disk does: a failed sync, a full disk, a
 * disk that hangs. The store is the in-memory one with some of its functions replaced. */
#include "node/storage/kv_int.h"
#include "tests/unit/consensus/driver/cluster.h"

static struct cluster c;
static struct node *one;

/* The bad disk of node 1; all atomic, as three threads meet there. */
static struct kv_ops bad_ops;
static const struct kv_ops *good_ops;
static atomic_int commit_status;
static atomic_bool hang;
static atomic_uint_fast64_t space_left;

static cf_status bad_commit(struct kv *kv, struct kv_batch *batch, enum kv_durability durability,
                            struct cf_error *err)
{
    while (durability == KV_SYNC && atomic_load(&hang)) {
        usleep(1000);
    }
    cf_status status = durability == KV_SYNC ? (cf_status)atomic_load(&commit_status) : CF_OK;
    return status == CF_OK ? good_ops->commit(kv, batch, durability, err)
                           : cf_fail(err, status, "the test's disk is broken");
}

static cf_status bad_space(struct kv *kv, uint64_t *free_bytes, uint64_t *total_bytes,
                           struct cf_error *err)
{
    (void)kv;
    (void)err;
    *free_bytes = atomic_load(&space_left);
    *total_bytes = (uint64_t)100 << 30;
    return CF_OK;
}

static void begin(void)
{
    cluster_begin(&c);
    one = &c.nodes[0];
    one->kv = kv_open_memory();
    good_ops = one->kv->ops;
    bad_ops = *good_ops;
    bad_ops.commit = bad_commit;
    bad_ops.space = bad_space;
    one->kv->ops = &bad_ops;
    atomic_store(&commit_status, CF_OK);
    atomic_store(&hang, false);
    atomic_store(&space_left, (uint64_t)50 << 30);
}

START_TEST(failed_sync_ends_the_process)
{
    begin();
    node_start(one, NODE_BOOTSTRAP);
    wait_until(&c, raft_driver_is_leader(one->driver));
    atomic_store(&commit_status, CF_IO);
    struct write write;
    write_begin(one, &write, "a=1");
    wait_until(&c, c.fatal_status != 0);
    ck_assert_int_eq(c.fatal_status, RAFT_EXIT_DISK);
    ck_assert_str_eq(c.fatal_message, "the test's disk is broken");
    ck_assert(!write.done); /* not answered, neither way */
    ck_assert_str_eq(get(one, "a"), "");
    atomic_store(&commit_status, CF_OK);
    node_stop(one);
    ck_assert_int_eq(write.status, CF_UNKNOWN_OUTCOME);
    cluster_end(&c);
}
END_TEST

static cf_status put_freeing(struct node *node, const char *text)
{
    struct write write = {.cluster = node->cluster};
    memcpy(write.payload, text, strlen(text));
    write.proposal = (struct raft_proposal){.type = RAFT_ENTRY_DATA,
                                            .frees = true,
                                            .payload = write.payload,
                                            .payload_size = strlen(text),
                                            .done = write_done};
    ck_ok(raft_driver_propose(node->driver, &write.proposal, NULL));
    return write_wait(&write);
}

START_TEST(full_disk_refuses_writes)
{
    begin();
    node_start(one, NODE_BOOTSTRAP);
    wait_until(&c, raft_driver_is_leader(one->driver));
    ck_assert_int_eq(put(one, "a=1"), CF_OK);
    ck_assert_int_eq(put(one, "b=1"), CF_OK);
    atomic_store(&space_left, (uint64_t)10 << 20);
    wait_until(&c, status_of(one).disk_full);
    ck_assert_int_eq(put(one, "a=2"), CF_NO_SPACE);
    ck_assert_int_eq(put_freeing(one, "b="), CF_OK);
    ck_assert_str_eq(get(one, "b"), "");
    atomic_store(&space_left, (uint64_t)1 << 20); /* the ballast is given up, and nothing is left */
    ck_assert_int_eq(put_freeing(one, "a="), CF_NO_SPACE);
    ck_assert_int_eq(look(one), CF_OK);
    ck_assert_str_eq(get(one, "a"), "1");
    atomic_store(&space_left, (uint64_t)50 << 30);
    wait_until(&c, !status_of(one).disk_full);
    ck_assert_int_eq(put(one, "a=2"), CF_OK);
    cluster_end(&c);
}
END_TEST

/* A leader whose disk hangs hands over or steps down; once it answers again the node catches up,
 * and what it had not synced was never acknowledged. */
START_TEST(hung_disk_loses_leadership)
{
    begin();
    begin_three(&c, NODE_MEMORY);
    ck_assert_int_eq(put(one, "a=1"), CF_OK);
    atomic_store(&hang, true);
    struct write stuck;
    write_begin(one, &stuck, "b=1");
    wait_until(&c, leader_of(&c) != NULL && leader_of(&c) != one);
    ck_assert_int_eq(put(leader_of(&c), "a=2"), CF_OK);
    ck_assert(status_of(one).condition & RAFT_STALLED || status_of(one).role != RAFT_LEADER);
    atomic_store(&hang, false);
    wait_until(&c, strcmp(get(one, "a"), "2") == 0);
    write_wait(&stuck);
    ck_assert_int_eq(c.fatal_status, 0);
    cluster_end(&c);
}
END_TEST

/* On its own it waits for the disk, and whoever wrote learns what became of it. */
START_TEST(hung_disk_of_a_sole_voter)
{
    begin();
    node_start(one, NODE_BOOTSTRAP | NODE_MEMORY);
    wait_until(&c, raft_driver_is_leader(one->driver));
    ck_assert_int_eq(put(one, "a=1"), CF_OK);
    uint64_t term = status_of(one).term;
    atomic_store(&hang, true);
    struct write stuck;
    write_begin(one, &stuck, "b=1");
    wait_until(&c, status_of(one).oldest_write_us > (uint64_t)900 * 1000); /* 6 election timeouts */
    ck_assert_int_eq(look(one), CF_OK);
    atomic_store(&hang, false);
    write_wait(&stuck);
    ck_assert_int_eq(stuck.status, CF_OK);
    ck_assert_uint_eq(status_of(one).term, term);
    cluster_end(&c);
}
END_TEST

/* All clocks of one machine agree: three voters, heard within seconds. */
START_TEST(clocks_of_voters)
{
    begin();
    begin_three(&c, NODE_MEMORY);
    struct raft_clocks clocks = {0};
    wait_until(&c, (raft_driver_clocks(one->driver, &clocks), clocks.heard == 3));
    ck_assert_uint_eq(clocks.voters, 3);
    ck_assert_int_lt(clocks.spread_ns, 60LL * 1000000000);
    cluster_end(&c);
}
END_TEST

TEST_MAIN("consensus/driver/faults", failed_sync_ends_the_process, full_disk_refuses_writes,
          hung_disk_loses_leadership, hung_disk_of_a_sole_voter, clocks_of_voters)
