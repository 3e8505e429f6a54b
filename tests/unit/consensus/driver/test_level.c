/* tests/unit/consensus/driver/test_level.c: feature levels: what is in force, when it begins, and what an older build
 * refuses: an entry, a snapshot, a data directory, a place in the cluster (consensus/driver/level.c). */
#include "tests/unit/consensus/driver/cluster.h"

static struct cluster c;

/* Commands that begin with "!" need level 2. */
static uint32_t level_of(void *context, struct cf_slice payload)
{
    (void)context;
    return payload.size > 0 && payload.data[0] == '!' ? 2 : 1;
}

static void begin(uint32_t features)
{
    cluster_begin(&c);
    c.level = level_of;
    c.tune.features = features;
    begin_three(&c, NODE_MEMORY);
}

static void as_build(struct node *node, uint32_t features)
{
    node_stop(node);
    c.tune.features = features;
    node_start(node, NODE_MEMORY);
}

static bool all_at(uint32_t level)
{
    for (unsigned i = 0; i < 3; i++) {
        if (c.nodes[i].driver == NULL || raft_driver_level(c.nodes[i].driver) != level) {
            return false;
        }
    }
    return true;
}

/* Members that the leader's configuration has at this level. */
static unsigned members_at(uint32_t features)
{
    struct node *leader = leader_of(&c);
    unsigned count = 0;
    if (leader != NULL) {
        struct raft_driver_status status = status_of(leader);
        for (size_t i = 0; i < status.peer_count; i++) {
            count += status.peers[i].features == features;
        }
    }
    return count;
}

static void put_on_leader(const char *text)
{
    for (int i = 0;; i++) {
        ck_assert_int_lt(i, 100000);
        struct node *leader = leader_of(&c);
        if (leader != NULL && put(leader, text) == CF_OK) {
            return;
        }
        usleep(1000);
    }
}

/* Up one by one, and down again: the lowest counts, and the configuration says who has what. */
START_TEST(lowest_is_in_force)
{
    begin(1);
    wait_until(&c, all_at(1) && members_at(1) == 3);
    for (unsigned i = 0; i < 3; i++) {
        wait_until(&c, members_at(2) == i && all_at(1));
        as_build(&c.nodes[i], 2);
    }
    wait_until(&c, members_at(2) == 3 && all_at(2));
    put_on_leader("a=1"); /* nothing of level 2 */
    as_build(&c.nodes[0], 1);
    wait_until(&c, all_at(1) && members_at(1) == 1);
    as_build(&c.nodes[1], 1);
    as_build(&c.nodes[2], 1);
    wait_until(&c, all_at(1) && members_at(1) == 3);
    put_on_leader("b=1");
    cluster_end(&c);
}
END_TEST

static void start_refused(struct node *node, const char *word)
{
    c.may_fail = true;
    c.start_status = CF_OK;
    ck_ok(raft_store_open(node->kv, &node->store, NULL));
    on_loop(&c, node_start_driver, node);
    c.may_fail = false;
    ck_assert_int_eq(c.start_status, CF_UNSUPPORTED);
    ck_assert_msg(strstr(c.start_message, word) != NULL, "%s", c.start_message);
    ck_assert_ptr_null(node->driver);
    raft_store_free(node->store);
    node->store = NULL;
}

START_TEST(older_build_refuses_the_directory)
{
    begin(2);
    wait_until(&c, all_at(2));
    put_on_leader("!x=1");
    put_on_leader("y=1");
    wait_until(&c, status_of(&c.nodes[2]).state_level == 2);
    node_stop(&c.nodes[2]);
    c.tune.features = 1;
    start_refused(&c.nodes[2], "upgrade");
    c.tune.features = 2;
    node_start(&c.nodes[2], NODE_MEMORY);
    wait_until(&c, status_of(&c.nodes[2]).applied == status_of(&c.nodes[0]).applied);
    cluster_end(&c);
}
END_TEST

START_TEST(older_build_refuses_the_entry)
{
    begin(2);
    wait_until(&c, all_at(2));
    node_stop(&c.nodes[2]);
    put_on_leader("!x=1");
    c.tune.features = 1;
    node_start(&c.nodes[2], NODE_MEMORY);
    wait_until(&c, c.fatal_status != 0);
    ck_assert_int_eq(c.fatal_status, RAFT_EXIT_CORRUPT);
    ck_assert_msg(strstr(c.fatal_message, "upgrade") != NULL, "%s", c.fatal_message);
    ck_assert_str_eq(get(&c.nodes[2], "!x"), ""); /* nothing of it was applied */
    cluster_end(&c);
}
END_TEST

START_TEST(older_build_refuses_the_snapshot)
{
    cluster_begin(&c);
    c.level = level_of;
    c.tune.features = 2;
    c.tune.trailing_entries = 50;
    c.tune.trailing_bytes = 1;
    begin_three(&c, NODE_MEMORY);
    wait_until(&c, all_at(2));
    node_stop(&c.nodes[2]);
    put_on_leader("!x=1");
    for (int i = 0; i < 600; i++) {
        put_on_leader("y=1");
    }
    wait_until(&c, raft_driver_log_first(leader_of(&c)->driver) > 200);
    c.tune.features = 1;
    node_start(&c.nodes[2], NODE_MEMORY);
    wait_until(&c, status_of(&c.nodes[2]).frames_refused > 0);
    ck_assert_uint_eq(c.nodes[2].installs, 0);
    ck_assert_int_eq(c.fatal_status, 0);
    as_build(&c.nodes[2], 2);
    wait_until(&c, c.nodes[2].installs == 1);
    wait_until(&c, status_of(&c.nodes[2]).state_level == 2); /* it came with the state */
    cluster_end(&c);
}
END_TEST

static cf_status added;
static char why[160];

static void add_older(void *arg)
{
    struct cf_error err = {0};
    added = raft_driver_add(((struct node *)arg)->driver, 4, "address-4", "node-4", 1, NULL, NULL, &err);
    memcpy(why, err.message, sizeof(why));
}

START_TEST(older_build_is_not_admitted)
{
    begin(2);
    wait_until(&c, all_at(2));
    on_loop(&c, add_older, leader_of(&c));
    ck_assert_int_eq(added, CF_INVALID);
    ck_assert_msg(strstr(why, "upgrade") != NULL, "%s", why);
    cluster_end(&c);
}
END_TEST

TEST_MAIN("consensus/driver/level", lowest_is_in_force, older_build_refuses_the_directory,
          older_build_refuses_the_entry, older_build_refuses_the_snapshot, older_build_is_not_admitted)
