/* tests/unit/consensus/driver/test_rpc.c: three drivers over the real thing: mutual TLS on
 * loopback. */
#include "consensus/driver/rpc_transport.h"
#include "node/cluster/ca.h"
#include "node/cluster/rpc.h"
#include "node/crypto/random.h"
#include "tests/unit/consensus/driver/cluster.h"

static struct cluster c;
static struct rpc *endpoints[NODES_MAX];
static struct raft_rpc *transports[NODES_MAX];
static struct node_tls *certificates[NODES_MAX];

static void connect_node(struct node *node)
{
    struct cf_error err = {0};
    cf_status status = raft_rpc_new(endpoints[node->number], node->driver,
                                    certificates[node->number], &transports[node->number], &err);
    ck_assert_msg(status == CF_OK, "%s", err.message);
}

static void disconnect_node(struct node *node)
{
    raft_rpc_free(transports[node->number]);
    transports[node->number] = NULL;
}

static void open_endpoints(void *arg)
{
    (void)arg;
    CF_OWNED(ca) ca = NULL;
    int64_t now_s = cf_wall_ns(cf_host_clock()) / 1000000000;
    ck_ok(ca_new(CF_SLICE("c1"), now_s, &ca, NULL));
    for (unsigned i = 0; i < NODES_MAX; i++) {
        char name[RAFT_NODE_TEXT_SIZE];
        raft_node_text(i + 1, name);
        ck_ok(ca_issue(ca, CF_SLICE(IDENTITY_NODE), cf_slice_str(name), now_s, 0, &certificates[i],
                       NULL));
        endpoints[i] = rpc_new(&(struct rpc_config){.loop = c.loop,
                                                    .random = random_system(),
                                                    .version = "test",
                                                    .cluster_address = "",
                                                    .api_address = ""});
        ck_ok(rpc_listen(endpoints[i], CF_SLICE("127.0.0.1:0"), NULL));
        snprintf(c.nodes[i].address, sizeof(c.nodes[i].address), "%s",
                 rpc_listen_address(endpoints[i]));
    }
}

static void close_endpoints(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < NODES_MAX; i++) {
        rpc_free(endpoints[i]);
        node_tls_free(certificates[i]);
    }
}

static void begin(void)
{
    cluster_begin(&c);
    c.connect = connect_node;
    c.disconnect = disconnect_node;
    on_loop(&c, open_endpoints, NULL);
}

static void end(void)
{
    for (unsigned i = 0; i < NODES_MAX; i++) {
        node_stop(&c.nodes[i]);
    }
    on_loop(&c, close_endpoints, NULL);
    cluster_end(&c);
}

START_TEST(replicates_over_tls)
{
    begin();
    begin_three(&c, NODE_MEMORY);
    for (int i = 0; i < 50; i++) {
        char text[32];
        snprintf(text, sizeof(text), "k%d=%d", i, i);
        ck_assert_int_eq(put(&c.nodes[0], text), CF_OK);
    }
    for (unsigned i = 1; i < 3; i++) {
        ck_assert_int_eq(look(&c.nodes[i]), CF_OK);
        ck_assert_str_eq(get(&c.nodes[i], "k49"), "49");
    }
    end();
}
END_TEST

START_TEST(fails_over_and_comes_back)
{
    begin();
    c.tune.trailing_entries = 50;
    c.tune.trailing_bytes = 1;
    begin_three(&c, NODE_DISK);
    ck_assert_int_eq(put(&c.nodes[0], "a=1"), CF_OK);
    node_stop(&c.nodes[0]);
    wait_until(&c, leader_of(&c) != NULL);
    struct node *leader = leader_of(&c);
    ck_assert_int_eq(look(leader), CF_OK);
    ck_assert_str_eq(get(leader, "a"), "1");
    for (int i = 0; i < 300; i++) {
        char text[32];
        snprintf(text, sizeof(text), "k%d=%d", i, i);
        ck_assert_int_eq(put(leader, text), CF_OK);
    }
    wait_until(&c, raft_driver_log_first(leader->driver) > 100);
    node_start(&c.nodes[0], NODE_DISK); /* by snapshot */
    wait_until(&c, c.nodes[0].installs == 1);
    wait_until(&c, strcmp(get(&c.nodes[0], "k299"), "299") == 0);
    end();
}
END_TEST

START_TEST(names_of_nodes)
{
    char text[RAFT_NODE_TEXT_SIZE];
    uint64_t id = 0;
    raft_node_text(0xfedcba9876543210, text);
    ck_assert_str_eq(text, "fedcba9876543210");
    ck_ok(raft_node_parse(cf_slice_str(text), &id, NULL));
    ck_assert_uint_eq(id, 0xfedcba9876543210);
    const char *bad[] = {"",
                         "1",
                         "0000000000000000",
                         "FEDCBA9876543210",
                         "fedcba98765432100",
                         "fedcba987654321g",
                         "fedcba987654321:"};
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        ck_status(raft_node_parse(cf_slice_str(bad[i]), &id, &(struct cf_error){0}), CF_INVALID);
    }
}
END_TEST

TEST_MAIN("consensus/driver/rpc", names_of_nodes, replicates_over_tls, fails_over_and_comes_back)
