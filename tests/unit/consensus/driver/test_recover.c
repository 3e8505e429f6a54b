/* tests/unit/consensus/driver/test_recover.c: one node of three survives: what is planned, what is
 * written, and that nobody of the old epoch gets in, or goes on. */
#include "tests/unit/consensus/driver/cluster.h"

#include "consensus/driver/recover.h"
#include "node/base/host.h"

static struct cluster c;

static void fill(void *context, void *bytes, size_t size)
{
    memset(bytes, *(const int *)context, size);
}

static cf_status recover(struct node *node, int seed, struct raft_recovery *plan,
                         struct cf_error *err)
{
    struct raft_store *store;
    struct cf_random random = {&seed, fill};
    ck_ok(raft_store_open(node->kv, &store, NULL));
    cf_status status = raft_recovery_plan(store, &random, "address-3", "node-3", plan, err);
    if (status == CF_OK) {
        status = raft_recovery_write(store, plan, err);
    }
    raft_store_free(store);
    return status;
}

static uint64_t superseded(struct node *node)
{
    struct raft_driver_status status = status_of(node);
    return status.superseded;
}

START_TEST(one_of_three_goes_on_alone)
{
    struct cf_error err = {0};
    struct raft_recovery plan;
    cluster_begin(&c);
    begin_three(&c, NODE_MEMORY);
    for (int i = 0; i < 20; i++) {
        char text[32];
        snprintf(text, sizeof(text), "a%d=%d", i, i);
        ck_assert_int_eq(put(&c.nodes[0], text), CF_OK);
    }
    wait_until(&c, strcmp(get(&c.nodes[2], "a19"), "19") == 0);
    for (unsigned i = 0; i < 3; i++) {
        node_stop(&c.nodes[i]);
    }
    ck_assert_msg(recover(&c.nodes[2], 7, &plan, &err) == CF_OK, "%s", err.message);
    ck_assert_uint_eq(plan.members.count, 3);
    ck_assert_uint_eq(plan.next.count, 1);
    ck_assert_uint_eq(plan.entry_index, plan.last_index + 1);
    ck_assert_uint_gt(plan.entry_term, plan.term);
    ck_assert_uint_le(plan.commit, plan.last_index);
    ck_assert_uint_eq(raft_epoch_generation(plan.epoch), 1);
    ck_assert_uint_ne(plan.epoch, plan.identity.recovery_epoch);

    node_start(&c.nodes[2], NODE_MEMORY);
    wait_until(&c, raft_driver_is_leader(c.nodes[2].driver));
    for (int i = 0; i < 20; i++) {
        char key[32], value[32];
        snprintf(key, sizeof(key), "a%d", i);
        snprintf(value, sizeof(value), "%d", i);
        ck_assert_str_eq(get(&c.nodes[2], key), value);
    }
    ck_assert_int_eq(put(&c.nodes[2], "new=1"), CF_OK);
    ck_assert_uint_eq(voters(&c.nodes[2]), 1);

    /* The old majority wakes up: it learns that it is the past, and stays out, after a restart too. */
    node_start(&c.nodes[0], NODE_MEMORY);
    node_start(&c.nodes[1], NODE_MEMORY);
    wait_until(&c, superseded(&c.nodes[0]) == plan.epoch && superseded(&c.nodes[1]) == plan.epoch);
    wait_until(&c, !raft_driver_is_leader(c.nodes[0].driver) &&
                       !raft_driver_is_leader(c.nodes[1].driver));
    ck_assert(raft_driver_is_leader(c.nodes[2].driver));
    ck_assert_str_eq(get(&c.nodes[0], "new"), "");
    node_stop(&c.nodes[0]);
    node_stop(&c.nodes[1]);
    c.cut[0][2] = c.cut[2][0] = c.cut[1][2] = c.cut[2][1] = true; /* nobody to tell them */
    node_start(&c.nodes[0], NODE_MEMORY);
    node_start(&c.nodes[1], NODE_MEMORY);
    ck_assert_uint_eq(superseded(&c.nodes[0]), plan.epoch);
    for (int i = 0; i < 10; i++) { /* several election times */
        usleep(100 * 1000);
        ck_assert(!raft_driver_is_leader(c.nodes[0].driver));
        ck_assert(!raft_driver_is_leader(c.nodes[1].driver));
    }
    node_stop(&c.nodes[0]);
    node_stop(&c.nodes[1]);

    /* A new node joins the recovered one. */
    struct raft_store *store;
    struct raft_identity identity = {
        .node_id = 4, .cluster_id = "test", .recovery_epoch = plan.epoch};
    c.nodes[3].kv = kv_open_memory();
    ck_ok(raft_store_open(c.nodes[3].kv, &store, NULL));
    ck_ok(raft_store_join(store, &identity, NULL));
    raft_store_free(store);
    node_start(&c.nodes[3], NODE_MEMORY);
    ck_assert_int_eq(change(&c.nodes[2], CALL_ADD, 4), CF_OK);
    wait_until(&c, voters(&c.nodes[2]) == 2);
    wait_until(&c, strcmp(get(&c.nodes[3], "a19"), "19") == 0);
    cluster_end(&c);
}
END_TEST

/* Two survivors that were recovered apart are two clusters: neither takes the other's word. */
START_TEST(two_recoveries_do_not_mix)
{
    struct raft_recovery one, other;
    cluster_begin(&c);
    begin_three(&c, NODE_MEMORY);
    ck_assert_int_eq(put(&c.nodes[0], "a=1"), CF_OK);
    wait_until(&c, strcmp(get(&c.nodes[1], "a"), "1") == 0 && strcmp(get(&c.nodes[2], "a"), "1") == 0);
    for (unsigned i = 0; i < 3; i++) {
        node_stop(&c.nodes[i]);
    }
    ck_assert_int_eq(recover(&c.nodes[1], 3, &one, NULL), CF_OK);
    ck_assert_int_eq(recover(&c.nodes[2], 9, &other, NULL), CF_OK);
    ck_assert_uint_ne(one.epoch, other.epoch);
    node_start(&c.nodes[1], NODE_MEMORY);
    node_start(&c.nodes[2], NODE_MEMORY);
    wait_until(&c, raft_driver_is_leader(c.nodes[1].driver) && raft_driver_is_leader(c.nodes[2].driver));
    ck_assert_int_eq(put(&c.nodes[1], "b=1"), CF_OK);
    ck_assert_int_eq(put(&c.nodes[2], "b=2"), CF_OK);
    ck_assert_str_eq(get(&c.nodes[1], "b"), "1");
    ck_assert_str_eq(get(&c.nodes[2], "b"), "2");
    /* Once more: the generation goes on. */
    node_stop(&c.nodes[2]);
    ck_assert_int_eq(recover(&c.nodes[2], 9, &other, NULL), CF_OK);
    ck_assert_uint_eq(raft_epoch_generation(other.epoch), 2);
    cluster_end(&c);
}
END_TEST

START_TEST(refusals)
{
    struct cf_error err = {0};
    struct raft_recovery plan;
    struct node node = {.kv = kv_open_memory()};
    ck_assert_int_eq(recover(&node, 1, &plan, &err), CF_UNINITIALIZED);
    struct raft_store *store;
    struct raft_identity identity = {.node_id = 9, .cluster_id = "test"};
    ck_ok(raft_store_open(node.kv, &store, NULL));
    ck_ok(raft_store_join(store, &identity, NULL));
    raft_store_free(store);
    ck_assert_int_eq(recover(&node, 1, &plan, &err), CF_INVALID); /* heard nothing yet */
    ck_assert_ptr_nonnull(strstr(err.message, "recover another node"));
    kv_close(node.kv);
}
END_TEST

TEST_MAIN("consensus/driver/recover", one_of_three_goes_on_alone, two_recoveries_do_not_mix, refusals)
