/* tests/unit/consensus/driver/test_hops.c: I-24: the checksum that a proposal gets goes with its entry to every disk and
 * peer, and is looked at wherever the entry changes hands: a flipped byte at any of them is noticed, and nothing is made
 * of it. What is read back from disk: test_store.c. */
#include "tests/unit/consensus/driver/cluster.h"

#include "consensus/driver/driver_int.h"

static struct cluster c;

/* The one object that tail, writer, peers and applier share. */
static void flip_in_memory(struct node *node, uint64_t index)
{
    struct raft_entry *entry = NULL;
    for (int i = 0; i < 100000 && entry == NULL; i++) {
        if (raft_tail_get(node->driver->tail, index, index, 1 << 20, 1, &entry) == 0) {
            usleep(100);
        }
    }
    ck_assert_ptr_nonnull(entry);
    ((uint8_t *)(uintptr_t)entry->payload.data)[3] ^= 0x40;
    raft_entry_unref(entry);
}

static void expect_fatal(struct node *node, const char *when)
{
    wait_until(&c, c.fatal_status != 0);
    ck_assert_int_eq(c.fatal_status, RAFT_EXIT_CORRUPT);
    ck_assert_msg(strstr(c.fatal_message, when) != NULL, "%s", c.fatal_message);
    ck_assert_uint_ge(atomic_load(&node->driver->crc_failures), 1);
    ck_assert_str_eq(get(node, "bad"), "");
}

static struct node *begin_one(void)
{
    cluster_begin(&c);
    node_start(&c.nodes[0], NODE_MEMORY | NODE_BOOTSTRAP);
    wait_until(&c, raft_driver_is_leader(c.nodes[0].driver));
    ck_assert_int_eq(put(&c.nodes[0], "good=1"), CF_OK);
    return &c.nodes[0];
}

START_TEST(crc_at_append)
{
    struct node *node = begin_one();
    static struct write write;
    uint64_t index = raft_driver_applied(node->driver) + 1;
    pthread_mutex_lock(&node->driver->writer.lock); /* the loop stops right before it hands over */
    write_begin(node, &write, "bad=1");
    flip_in_memory(node, index);
    pthread_mutex_unlock(&node->driver->writer.lock);
    expect_fatal(node, "about to be written");
    cluster_end(&c);
}
END_TEST

static void pause_applier(void *arg)
{
    struct node *node = arg;
    apply_pause(node->driver);
}

static void resume_applier(struct node *node)
{
    pthread_mutex_lock(&node->driver->apply.lock);
    node->driver->apply.paused = node->driver->apply.idle = false;
    pthread_cond_signal(&node->driver->apply.wake);
    pthread_mutex_unlock(&node->driver->apply.lock);
}

START_TEST(crc_at_apply)
{
    struct node *node = begin_one();
    static struct write write;
    uint64_t index = raft_driver_applied(node->driver) + 1;
    on_loop(&c, pause_applier, node);
    write_begin(node, &write, "bad=1");
    wait_until(&c, status_of(node).commit >= index);
    flip_in_memory(node, index);
    resume_applier(node);
    expect_fatal(node, "about to be applied");
    cluster_end(&c);
}
END_TEST

struct cut {
    bool cut;
};
static void set_cut(void *arg)
{
    for (unsigned i = 1; i < NODES_MAX; i++) {
        c.cut[0][i] = c.cut[i][0] = ((struct cut *)arg)->cut;
    }
}

START_TEST(crc_at_send)
{
    cluster_begin(&c);
    c.tune.election_us = 3 * 1000 * 1000; /* it leads on while it is cut off for a moment */
    c.tune.heartbeat_us = 15 * 1000;
    begin_three(&c, NODE_MEMORY);
    struct node *node = &c.nodes[0];
    static struct write write;
    ck_assert_int_eq(put(node, "good=1"), CF_OK);
    uint64_t index = raft_driver_applied(node->driver) + 1;
    on_loop(&c, set_cut, &(struct cut){true});
    uint64_t syncs = status_of(node).syncs;
    write_begin(node, &write, "bad=1");
    wait_until(&c, status_of(node).syncs > syncs); /* its own writer must not be the one that notices */
    flip_in_memory(node, index);
    on_loop(&c, set_cut, &(struct cut){false});
    expect_fatal(node, "about to be sent");
    for (unsigned i = 1; i < 3; i++) {
        ck_assert_str_eq(get(&c.nodes[i], "bad"), "");
    }
    cluster_end(&c);
}
END_TEST

static unsigned bent;

/* In each frame that holds the text, once in a while. */
static void bend_text(struct node *from, uint8_t *frame, size_t size)
{
    (void)from;
    for (size_t i = 0; i + 8 <= size; i++) {
        if (memcmp(frame + i, "payload=", 8) == 0 && bent < 6) {
            frame[i + 3] ^= 0x40;
            bent++;
            return;
        }
    }
}

static void set_bend(void *arg)
{
    (void)arg;
    c.bend = bend_text;
}

START_TEST(crc_at_receive)
{
    cluster_begin(&c);
    begin_three(&c, NODE_MEMORY);
    bent = 0;
    on_loop(&c, set_bend, NULL);
    ck_assert_int_eq(put(leader_of(&c), "payload=right"), CF_OK);
    for (unsigned i = 0; i < 3; i++) {
        wait_until(&c, strcmp(get(&c.nodes[i], "payload"), "right") == 0);
    }
    uint64_t found = 0;
    for (unsigned i = 0; i < 3; i++) {
        found += status_of(&c.nodes[i]).crc_failures;
    }
    ck_assert_uint_gt(bent, 0);
    wait_until(&c, status_of(&c.nodes[0]).crc_failures + status_of(&c.nodes[1]).crc_failures +
                           status_of(&c.nodes[2]).crc_failures ==
                       bent);
    ck_assert_uint_le(found, bent);
    ck_assert_int_eq(c.fatal_status, 0);
    cluster_end(&c);
}
END_TEST

/* What admit patches in place belongs to the sum: it is made after that. */
START_TEST(crc_of_what_was_admitted)
{
    struct node *node = begin_one();
    node->stamp = '7';
    ck_assert_int_eq(put(node, "stamped=x"), CF_OK);
    ck_assert_str_eq(get(node, "stamped"), "7");
    ck_assert_uint_eq(status_of(node).crc_failures, 0);
    cluster_end(&c);
}
END_TEST

TEST_MAIN("consensus/driver/hops", crc_at_append, crc_at_apply, crc_at_send, crc_at_receive,
          crc_of_what_was_admitted)
