/* tests/unit/consensus/driver/test_storm.c: three drivers under writes while nodes are cut off,
 * stopped and started at random, with a log so short that snapshots are normal. In the end all
 * agree, and everything acknowledged is there. */
#include "node/base/host.h"
#include "tests/unit/consensus/driver/cluster.h"

#define WRITERS 4
#define ACTIONS 40
#define NUMBERS_MAX 200000

static struct cluster c;
static atomic_bool over;
static atomic_int next_number;
static atomic_uchar acknowledged[NUMBERS_MAX];
static atomic_int acknowledged_count;

/* One attempt on whoever leads; on the loop, where drivers come and go. */
struct attempt {
    struct write write;
    int number;
    bool begun;
};

static void attempt_begin(void *arg)
{
    struct attempt *attempt = arg;
    struct node *leader = leader_of(&c);
    if (leader == NULL) {
        return;
    }
    struct write *write = &attempt->write;
    write->cluster = &c;
    snprintf((char *)write->payload, sizeof(write->payload), "n%d=%d", attempt->number,
             attempt->number);
    write->proposal = (struct raft_proposal){.type = RAFT_ENTRY_DATA,
                                             .payload = write->payload,
                                             .payload_size = strlen((char *)write->payload),
                                             .done = write_done};
    attempt->begun = raft_driver_propose(leader->driver, &write->proposal, NULL) == CF_OK;
}

static void *write_main(void *arg)
{
    while (!atomic_load(&over)) {
        struct attempt attempt = {.number = atomic_fetch_add(&next_number, 1)};
        if (attempt.number >= NUMBERS_MAX) {
            break;
        }
        on_loop(&c, attempt_begin, &attempt);
        if (!attempt.begun) {
            usleep(1000);
        } else if (write_wait(&attempt.write) == CF_OK) {
            atomic_store(&acknowledged[attempt.number], 1);
            atomic_fetch_add(&acknowledged_count, 1);
        }
    }
    return arg;
}

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

/* A little progress between two actions, so that each of them meets a working cluster. */
static void some_progress(int more)
{
    int before = atomic_load(&acknowledged_count);
    wait_until(&c, atomic_load(&acknowledged_count) >= before + more);
}

static void act(struct cf_prng *prng, unsigned how)
{
    unsigned victim = (unsigned)cf_prng_below(prng, 3);
    struct node *node = &c.nodes[victim];
    int pause = (int)cf_prng_below(prng, 150);
    switch (cf_prng_below(prng, 3)) {
    case 0:
        on_loop(&c, set_cut, &(struct cut){victim, true});
        some_progress(pause);
        on_loop(&c, set_cut, &(struct cut){victim, false});
        break;
    case 1:
        node_stop(node);
        some_progress(pause);
        node_start(node, how);
        break;
    default: {
        struct node *leader = leader_of(&c);
        if (leader != NULL) {
            change(leader, CALL_TRANSFER, 0);
        }
        break;
    }
    }
    some_progress(20);
}

static void same_state(struct node *a, struct node *b)
{
    CF_OWNED(kv_iterator) left = kv_iterator_new(kv_now(a->kv), a->state, (struct kv_range){0});
    CF_OWNED(kv_iterator) right = kv_iterator_new(kv_now(b->kv), b->state, (struct kv_range){0});
    kv_seek(left, CF_SLICE("\1")); /* past the reserved keys */
    kv_seek(right, CF_SLICE("\1"));
    while (kv_valid(left) && kv_valid(right)) {
        ck_assert(cf_slice_eq(kv_key(left), kv_key(right)));
        ck_assert(cf_slice_eq(kv_bytes(left), kv_bytes(right)));
        kv_next(left);
        kv_next(right);
    }
    ck_assert(!kv_valid(left) && !kv_valid(right));
}

static void storm(unsigned how, uint64_t seed)
{
    cluster_begin(&c);
    c.tune.trailing_entries = 60;
    c.tune.trailing_bytes = 1;
    c.tune.snapshot_chunk_bytes = 2000;
    c.tune.tail_entries = 32;
    begin_three(&c, how);
    atomic_store(&over, false);
    atomic_store(&next_number, 0);
    atomic_store(&acknowledged_count, 0);
    memset((void *)acknowledged, 0, sizeof(acknowledged));
    pthread_t writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(pthread_create(&writers[i], NULL, write_main, NULL), 0);
    }
    struct cf_prng prng;
    const char *other = getenv("STORM_SEED"); /* another order of actions */
    cf_prng_seed(&prng, other != NULL ? strtoull(other, NULL, 10) : seed);
    for (int i = 0; i < ACTIONS; i++) {
        act(&prng, how);
    }
    atomic_store(&over, true);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(writers[i], NULL);
    }
    do {
        wait_until(&c, leader_of(&c) != NULL);
    } while (put(leader_of(&c), "last=1") != CF_OK);
    for (unsigned i = 0; i < 3; i++) {
        wait_until(&c, strcmp(get(&c.nodes[i], "last"), "1") == 0);
    }
    int numbers = atomic_load(&next_number);
    for (int number = 0; number < numbers && number < NUMBERS_MAX; number++) {
        if (atomic_load(&acknowledged[number])) {
            char key[16], value[16];
            snprintf(key, sizeof(key), "n%d", number);
            snprintf(value, sizeof(value), "%d", number);
            ck_assert_str_eq(get(&c.nodes[0], key), value);
        }
    }
    same_state(&c.nodes[0], &c.nodes[1]);
    same_state(&c.nodes[0], &c.nodes[2]);
    ck_assert_int_eq(c.fatal_status, 0);
    cluster_end(&c);
}

START_TEST(storm_in_memory)
{
    storm(NODE_MEMORY, 1);
}
END_TEST

START_TEST(storm_on_disk)
{
    storm(NODE_DISK, 2);
}
END_TEST

TEST_MAIN("consensus/driver/storm", storm_in_memory, storm_on_disk)
