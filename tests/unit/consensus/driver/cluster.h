/* tests/unit/consensus/driver/cluster.h
 *
 * Drivers in one process, on one loop, over a network of function calls. The state machine: a
 * payload "key=value" puts, "key=" deletes. The test's thread waits on a condition that every
 * callback signals.
 */
#ifndef COFFER_TEST_DRIVER_CLUSTER_H
#define COFFER_TEST_DRIVER_CLUSTER_H

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "consensus/driver/driver.h"
#include "consensus/driver/wire.h"
#include "node/base/level.h"
#include "node/base/memory.h"
#include "node/cluster/loop.h"
#include "test.h"

#define NODES_MAX 4

struct cluster;

struct node {
    struct cluster *cluster;
    unsigned number; /* id is number + 1 */
    char dir[64];    /* "": in memory */
    char address[64];
    struct kv *kv;
    struct raft_store *store;
    struct raft_driver *driver;
    /* Guarded by the cluster's lock. */
    struct kv_family *state;
    uint64_t applied, last_entry, led_term, led_index, runs;
    unsigned installs, replayed;
    bool order_broken;
    cf_status admit_status;
    char stamp;
};

struct cluster {
    bool double_offers; /* see offer_again */
    struct cf_buf second_offer;
    uint64_t second_id;
    atomic_int second_answer; /* cf_status; -1: none came */
    struct loop *loop;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct node nodes[NODES_MAX];
    bool cut[NODES_MAX][NODES_MAX];  /* loop */
    bool starved[NODES_MAX];         /* loop: entries do not reach it, all else does */
    struct raft_driver_options tune; /* what tests change of the options */
    /* NULL: function calls. Loop. */
    void (*connect)(struct node *node);
    void (*disconnect)(struct node *node);
    uint32_t (*level)(void *context, struct cf_slice payload);
    void (*bend)(struct node *from, uint8_t *frame, size_t size); /* loop: on its way */
    bool may_fail; /* a start may be refused: */
    cf_status start_status;
    char start_message[160];
    int fatal_status;
    char fatal_message[256];
};

static inline void cluster_signal(struct cluster *cluster)
{
    pthread_mutex_lock(&cluster->lock);
    pthread_cond_broadcast(&cluster->changed);
    pthread_mutex_unlock(&cluster->lock);
}

/* Waits until the condition holds (checked under the lock after each change, and now and then, as
 * statuses are published by a timer); a test that waits for a minute has failed. The condition is
 * evaluated under the lock: it may look, not wait. */
#define wait_until(cluster, condition)                                                             \
    do {                                                                                           \
        struct timespec end_, soon_;                                                               \
        clock_gettime(CLOCK_REALTIME, &end_);                                                      \
        end_.tv_sec += 60;                                                                         \
        pthread_mutex_lock(&(cluster)->lock);                                                      \
        for (;;) {                                                                                 \
            bool holds_ = (condition);                                                             \
            if (holds_) {                                                                          \
                break;                                                                             \
            }                                                                                      \
            clock_gettime(CLOCK_REALTIME, &soon_);                                                 \
            bool late_ = soon_.tv_sec > end_.tv_sec;                                               \
            if (late_) {                                                                           \
                pthread_mutex_unlock(&(cluster)->lock);                                            \
                ck_abort_msg("waited in vain for " #condition);                                    \
            }                                                                                      \
            soon_.tv_nsec += 5000000;                                                              \
            if (soon_.tv_nsec >= 1000000000) {                                                     \
                soon_.tv_nsec -= 1000000000;                                                       \
                soon_.tv_sec++;                                                                    \
            }                                                                                      \
            pthread_cond_timedwait(&(cluster)->changed, &(cluster)->lock, &soon_);                 \
        }                                                                                          \
        pthread_mutex_unlock(&(cluster)->lock);                                                    \
    } while (0)

/* Runs fn on the loop and waits for it. */
struct on_loop {
    void (*fn)(void *arg);
    void *arg;
    struct cluster *cluster;
    bool done;
};
static inline void on_loop_run(void *arg)
{
    struct on_loop *task = arg;
    task->fn(task->arg);
    pthread_mutex_lock(&task->cluster->lock);
    task->done = true;
    pthread_cond_broadcast(&task->cluster->changed);
    pthread_mutex_unlock(&task->cluster->lock);
}
static inline void on_loop(struct cluster *cluster, void (*fn)(void *arg), void *arg)
{
    struct on_loop task = {fn, arg, cluster, false};
    loop_post(cluster->loop, on_loop_run, &task);
    pthread_mutex_lock(&cluster->lock);
    while (!task.done) {
        pthread_cond_wait(&cluster->changed, &cluster->lock);
    }
    pthread_mutex_unlock(&cluster->lock);
}

/* ---- the state machine */

static inline cf_status node_admit(void *context, struct raft_proposal *proposal, uint64_t index,
                                   uint64_t term, struct cf_error *err)
{
    struct node *node = context;
    (void)index;
    (void)term;
    pthread_mutex_lock(&node->cluster->lock);
    cf_status status = node->admit_status;
    char stamp = node->stamp;
    pthread_mutex_unlock(&node->cluster->lock);
    if (stamp != 0) {
        proposal->payload[proposal->payload_size - 1] = (uint8_t)stamp;
    }
    return status == CF_OK ? CF_OK : cf_fail(err, status, "refused by the test");
}

static inline cf_status node_apply(void *context, const struct raft_entry_view *entries, size_t n,
                                   struct kv_batch *batch, struct cf_error *err)
{
    struct node *node = context;
    (void)err;
    pthread_mutex_lock(&node->cluster->lock);
    struct kv_family *state = kv_family_ref(node->state);
    for (size_t i = 0; i < n; i++) {
        node->order_broken |= entries[i].index <= node->last_entry;
        node->last_entry = entries[i].index;
        node->replayed++;
    }
    pthread_mutex_unlock(&node->cluster->lock);
    for (size_t i = 0; i < n; i++) {
        size_t at = cf_slice_find(entries[i].payload, '=');
        struct cf_slice key = cf_slice_first(entries[i].payload, at);
        struct cf_slice value = cf_slice_from(entries[i].payload, at + 1);
        if (value.size == 0) {
            kv_batch_delete(batch, state, key);
        } else {
            kv_batch_put(batch, state, key, value);
        }
    }
    kv_family_unref(state);
    return CF_OK;
}

static inline void node_applied(void *context, uint64_t index, uint64_t term)
{
    struct node *node = context;
    (void)term;
    pthread_mutex_lock(&node->cluster->lock);
    node->order_broken |= index <= node->applied;
    node->applied = index;
    node->runs++;
    pthread_cond_broadcast(&node->cluster->changed);
    pthread_mutex_unlock(&node->cluster->lock);
}

static inline void node_state_changed(void *context, struct kv_family *state, uint64_t index,
                                      uint64_t term, enum raft_state_reason reason)
{
    struct node *node = context;
    (void)term;
    pthread_mutex_lock(&node->cluster->lock);
    kv_family_unref(node->state);
    node->state = kv_family_ref(state);
    node->applied = node->last_entry = index;
    node->installs += reason == RAFT_STATE_INSTALLED;
    pthread_cond_broadcast(&node->cluster->changed);
    pthread_mutex_unlock(&node->cluster->lock);
}

static inline void node_role(void *context, enum raft_role role, uint64_t term, uint64_t leader,
                             const char *address)
{
    struct node *node = context;
    (void)role;
    (void)term;
    (void)leader;
    (void)address;
    cluster_signal(node->cluster);
}

static inline void node_became_leader(void *context, uint64_t term, uint64_t last_index)
{
    struct node *node = context;
    pthread_mutex_lock(&node->cluster->lock);
    node->led_term = term;
    node->led_index = last_index;
    node->order_broken |= last_index > node->applied;
    pthread_cond_broadcast(&node->cluster->changed);
    pthread_mutex_unlock(&node->cluster->lock);
}

static inline void node_fatal(void *context, int exit_status, const struct cf_error *err)
{
    struct node *node = context;
    pthread_mutex_lock(&node->cluster->lock);
    node->cluster->fatal_status = exit_status;
    memcpy(node->cluster->fatal_message, err->message, sizeof(err->message));
    pthread_cond_broadcast(&node->cluster->changed);
    pthread_mutex_unlock(&node->cluster->lock);
}

/* ---- the network */

struct flight {
    struct cluster *cluster;
    unsigned from, to;
    size_t size;
    uint8_t bytes[];
};

static inline void flight_land(void *arg)
{
    struct flight *flight = arg;
    struct node *to = &flight->cluster->nodes[flight->to];
    if (to->driver != NULL && !flight->cluster->cut[flight->from][flight->to]) {
        raft_driver_receive(to->driver, flight->from + 1, cf_slice_of(flight->bytes, flight->size));
    }
    cf_free(flight);
}

/* With double_offers: the offer of a snapshot comes again under another id while its chunks are on
 * their way; what the follower says to that is kept. */
static inline void offer_again(struct cluster *cluster, unsigned from, unsigned to,
                               struct cf_slice bytes)
{
    struct raft_frame frame;
    struct raft_wire_room room = {0};
    if (raft_wire_unpack(bytes, &frame, &room, NULL) != CF_OK) {
        raft_wire_done(&room);
        return;
    }
    if (frame.kind == RAFT_FRAME_SNAP_OFFER) {
        cf_buf_reset(&cluster->second_offer);
        frame.snap.id ^= 1;
        cluster->second_id = frame.snap.id;
        raft_wire_pack(&frame, &cluster->second_offer);
    } else if (frame.kind == RAFT_FRAME_SNAP_CHUNK && frame.snap.seq == 2 &&
               cluster->second_offer.size != 0) {
        struct cf_slice second = cf_buf_slice(&cluster->second_offer);
        struct flight *flight = cf_alloc(sizeof(*flight) + second.size);
        *flight = (struct flight){cluster, from, to, second.size};
        memcpy(flight->bytes, second.data, second.size);
        loop_post(cluster->loop, flight_land, flight);
    } else if (frame.kind == RAFT_FRAME_SNAP_OFFER_R && frame.snap.id == cluster->second_id) {
        atomic_store(&cluster->second_answer, (int)frame.snap.status);
    }
    raft_wire_done(&room);
}

static inline bool has_entries(struct cf_slice bytes)
{
    struct raft_frame frame;
    struct raft_wire_room room = {0};
    bool has = raft_wire_unpack(bytes, &frame, &room, NULL) == CF_OK &&
               frame.kind == RAFT_MSG_APPEND && frame.msg.entry_count > 0;
    raft_wire_done(&room);
    return has;
}

static inline bool network_send(void *context, uint64_t peer, enum raft_channel channel,
                                struct cf_slice frame)
{
    struct node *node = context;
    (void)channel;
    struct cluster *cluster = node->cluster;
    if (peer == 0 || peer > NODES_MAX || cluster->nodes[peer - 1].driver == NULL ||
        cluster->cut[node->number][peer - 1]) {
        return false;
    }
    if (cluster->starved[peer - 1] && has_entries(frame)) {
        return true; /* lost on the way */
    }
    struct flight *flight = cf_alloc(sizeof(*flight) + frame.size);
    *flight = (struct flight){cluster, node->number, (unsigned)peer - 1, frame.size};
    memcpy(flight->bytes, frame.data, frame.size);
    if (cluster->bend != NULL) {
        cluster->bend(node, flight->bytes, frame.size);
    }
    loop_post(cluster->loop, flight_land, flight);
    if (cluster->double_offers) {
        offer_again(cluster, node->number, (unsigned)peer - 1, frame);
    }
    return true;
}

static inline void network_peers(void *context, const struct raft_member *peers, size_t count)
{
    (void)context;
    (void)peers;
    (void)count;
}

/* ---- nodes */

static inline void *cluster_main(void *arg)
{
    loop_run(((struct cluster *)arg)->loop);
    return NULL;
}

static inline void cluster_begin(struct cluster *cluster)
{
    *cluster = (struct cluster){0};
    pthread_mutex_init(&cluster->lock, NULL);
    pthread_cond_init(&cluster->changed, NULL);
    loop_process_init();
    ck_ok(loop_new(&cluster->loop, NULL));
    for (unsigned i = 0; i < NODES_MAX; i++) {
        cluster->nodes[i].cluster = cluster;
        cluster->nodes[i].number = i;
        snprintf(cluster->nodes[i].address, sizeof(cluster->nodes[i].address), "address-%u", i + 1);
    }
    ck_assert_int_eq(pthread_create(&cluster->thread, NULL, cluster_main, cluster), 0);
}

static inline void node_start_driver(void *arg)
{
    struct node *node = arg;
    struct raft_driver_options options = node->cluster->tune;
    options.loop = node->cluster->loop;
    options.store = node->store;
    options.seed = 77 + node->number + 1000 * node->runs;
    options.fatal = node_fatal;
    options.fatal_context = node;
    if (options.election_us == 0) {
        options.election_us = 150 * 1000;
        options.heartbeat_us = 15 * 1000;
    }
    options.applier = (struct applier){
        .context = node,
        .admit = node_admit,
        .level = node->cluster->level,
        .apply = node_apply,
        .applied = node_applied,
        .state_changed = node_state_changed,
        .role = node_role,
        .became_leader = node_became_leader,
    };
    struct cf_error err = {0};
    struct raft_driver *driver = NULL;
    cf_status status = raft_driver_start(&options, &driver, &err);
    if (status != CF_OK && node->cluster->may_fail) {
        node->cluster->start_status = status;
        memcpy(node->cluster->start_message, err.message, sizeof(err.message));
        return;
    }
    ck_assert_msg(status == CF_OK, "%s", err.message);
    raft_driver_set_transport(
        driver,
        &(struct raft_transport){.context = node, .peers = network_peers, .send = network_send});
    node->driver = driver;
}

enum { NODE_MEMORY = 0, NODE_DISK = 1, NODE_BOOTSTRAP = 2 };

static inline void node_start(struct node *node, unsigned how)
{
    if (node->kv == NULL) {
        if ((how & NODE_DISK) && node->dir[0] == '\0') {
            strcpy(node->dir, "/tmp/coffer-driver-XXXXXX");
            ck_assert_ptr_nonnull(mkdtemp(node->dir));
        }
        if (node->dir[0] != '\0') {
            ck_ok(kv_open(node->dir, NULL, &node->kv, NULL));
        } else {
            node->kv = kv_open_memory();
        }
    }
    ck_ok(raft_store_open(node->kv, &node->store, NULL));
    if (!raft_store_has_identity(node->store)) {
        struct raft_identity identity = {.node_id = node->number + 1, .cluster_id = "test"};
        char name[32];
        snprintf(name, sizeof(name), "node-%u", node->number + 1);
        if (how & NODE_BOOTSTRAP) {
            ck_ok(raft_store_bootstrap(node->store, &identity, node->address, name, NULL));
        } else {
            ck_ok(raft_store_join(node->store, &identity, NULL));
        }
    }
    on_loop(node->cluster, node_start_driver, node);
}

static inline void node_free_driver(void *arg)
{
    struct node *node = arg;
    if (node->cluster->disconnect != NULL) {
        node->cluster->disconnect(node);
    }
    raft_driver_free(node->driver);
    node->driver = NULL;
}

/* Keeps the database (a restart); memory keeps its contents, too. */
static inline void node_stop(struct node *node)
{
    if (node->driver == NULL) {
        return;
    }
    on_loop(node->cluster, node_free_driver, node);
    raft_store_free(node->store);
    kv_family_unref(node->state);
    node->store = NULL;
    node->state = NULL;
    node->led_term = 0;
    node->replayed = 0;
    if (node->dir[0] != '\0') {
        kv_close(node->kv);
        node->kv = NULL;
    }
}

static inline int cluster_remove_one(const char *path, const struct stat *info, int type,
                                     struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline void cluster_end(struct cluster *cluster)
{
    for (unsigned i = 0; i < NODES_MAX; i++) {
        struct node *node = &cluster->nodes[i];
        node_stop(node);
        ck_assert(!node->order_broken); /* nobody writes it any more */
        kv_close(node->kv);
        if (node->dir[0] != '\0') {
            ck_assert_int_eq(nftw(node->dir, cluster_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
        }
    }
    loop_stop(cluster->loop);
    pthread_join(cluster->thread, NULL);
    loop_free(cluster->loop);
}

/* ---- what tests do */

struct write {
    struct raft_proposal proposal;
    struct cluster *cluster;
    uint8_t payload[64];
    cf_status status;
    uint64_t leader;
    char leader_address[RAFT_ADDRESS_MAX];
    bool done;
};

static inline void write_done(struct raft_proposal *proposal, const struct raft_outcome *outcome)
{
    struct write *write = cf_container(proposal, struct write, proposal);
    pthread_mutex_lock(&write->cluster->lock);
    write->status = outcome->status;
    write->leader = outcome->leader;
    memcpy(write->leader_address, outcome->leader_address, RAFT_ADDRESS_MAX);
    write->done = true;
    pthread_cond_broadcast(&write->cluster->changed);
    pthread_mutex_unlock(&write->cluster->lock);
}

static inline void write_begin(struct node *node, struct write *write, const char *text)
{
    memset(write, 0, sizeof(*write));
    write->cluster = node->cluster;
    size_t size = strlen(text);
    ck_assert_uint_le(size, sizeof(write->payload));
    memcpy(write->payload, text, size);
    write->proposal = (struct raft_proposal){.type = RAFT_ENTRY_DATA,
                                             .payload = write->payload,
                                             .payload_size = size,
                                             .done = write_done};
    ck_ok(raft_driver_propose(node->driver, &write->proposal, NULL));
}

static inline cf_status write_wait(struct write *write)
{
    wait_until(write->cluster, write->done);
    return write->status;
}

static inline cf_status put(struct node *node, const char *text)
{
    struct write write;
    write_begin(node, &write, text);
    return write_wait(&write);
}

/* By whoever leads: on a machine that stands still leaders change. Bounded; a write that may have happened is written
 * again. */
static inline struct node *leader_of(struct cluster *cluster);
static inline void put_anywhere(struct cluster *cluster, const char *text)
{
    for (int tries = 0; tries < 3000; tries++) {
        struct node *leader = leader_of(cluster);
        cf_status status = leader != NULL ? put(leader, text) : CF_NOT_LEADER;
        if (status == CF_OK) {
            return;
        }
        ck_assert(status == CF_NOT_LEADER || status == CF_UNAVAILABLE || status == CF_UNKNOWN_OUTCOME);
        usleep(10 * 1000);
    }
    ck_abort_msg("nobody took %s", text);
}

struct look {
    struct raft_read read;
    struct cluster *cluster;
    cf_status status;
    uint64_t index;
    bool done;
};

static inline void look_done(struct raft_read *read, cf_status status, uint64_t index)
{
    struct look *look = cf_container(read, struct look, read);
    pthread_mutex_lock(&look->cluster->lock);
    look->status = status;
    look->index = index;
    look->done = true;
    pthread_cond_broadcast(&look->cluster->changed);
    pthread_mutex_unlock(&look->cluster->lock);
}

static inline cf_status look(struct node *node)
{
    struct look look = {.read.done = look_done, .cluster = node->cluster};
    raft_driver_read_index(node->driver, &look.read);
    wait_until(node->cluster, look.done);
    return look.status;
}

static inline const char *get(struct node *node, const char *key)
{
    static char answer[128];
    KV_VALUE(value) = {0};
    cf_status status = kv_get(kv_now(node->kv), node->state, cf_slice_str(key), &value, NULL);
    if (status == CF_NOT_FOUND) {
        return "";
    }
    ck_assert_int_eq(status, CF_OK);
    snprintf(answer, sizeof(answer), "%.*s", CF_SHOW(value.bytes));
    return answer;
}

static inline struct node *leader_of(struct cluster *cluster)
{
    for (unsigned i = 0; i < NODES_MAX; i++) {
        struct node *node = &cluster->nodes[i];
        if (node->driver != NULL && raft_driver_is_leader(node->driver)) {
            return node;
        }
    }
    return NULL;
}

static inline struct raft_driver_status status_of(struct node *node)
{
    struct raft_driver_status status;
    raft_driver_status(node->driver, &status);
    return status;
}

/* ---- members */

struct change_call {
    struct node *node;
    enum { CALL_ADD, CALL_REMOVE, CALL_TRANSFER } what;
    uint64_t id;
    cf_status begun, ended;
    bool done;
};

static inline void change_ended(void *context, cf_status status, const struct cf_error *err)
{
    struct change_call *call = context;
    (void)err;
    pthread_mutex_lock(&call->node->cluster->lock);
    call->ended = status;
    call->done = true;
    pthread_cond_broadcast(&call->node->cluster->changed);
    pthread_mutex_unlock(&call->node->cluster->lock);
}

static inline void change_begin(void *arg)
{
    struct change_call *call = arg;
    struct raft_driver *driver = call->node->driver;
    struct cf_error err = {0};
    const char *text =
        call->node->cluster->nodes[call->id - 1 < NODES_MAX ? call->id - 1 : 0].address;
    switch (call->what) {
    case CALL_ADD:
        call->begun = raft_driver_add(driver, call->id, text, text, cf_feature_level(), change_ended, call, &err);
        break;
    case CALL_REMOVE:
        call->begun = raft_driver_remove(driver, call->id, change_ended, call, &err);
        break;
    case CALL_TRANSFER:
        call->begun = raft_driver_transfer(driver, call->id, change_ended, call, &err);
        break;
    }
}

/* Tries until the cluster is ready for the change (an earlier one may be on its way). */
static inline cf_status change(struct node *node, int what, uint64_t id)
{
    for (;;) {
        struct change_call call = {.node = node, .what = what, .id = id};
        on_loop(node->cluster, change_begin, &call);
        if (call.begun == CF_OK) {
            wait_until(node->cluster, call.done);
            return call.ended;
        }
        if (call.begun != CF_BUSY) {
            return call.begun;
        }
        usleep(1000);
    }
}

static inline unsigned voters(struct node *node)
{
    struct raft_driver_status status = status_of(node);
    unsigned count = 0;
    for (size_t i = 0; i < status.peer_count; i++) {
        count += (status.peers[i].role & RAFT_VOTER) != 0;
    }
    return count;
}

static inline void begin_three(struct cluster *c, unsigned how)
{
    c->tune.promote_after_us = 1;
    node_start(&c->nodes[0], how | NODE_BOOTSTRAP);
    wait_until(c, raft_driver_is_leader(c->nodes[0].driver));
    for (unsigned i = 1; i < 3; i++) {
        node_start(&c->nodes[i], how);
        cf_status added = CF_NOT_LEADER; /* it may stand still long enough to be voted out */
        for (int tries = 0; added == CF_NOT_LEADER && tries < 3000; tries++) {
            struct node *leader = leader_of(c);
            added = leader != NULL ? change(leader, CALL_ADD, i + 1) : CF_NOT_LEADER;
            usleep(added == CF_NOT_LEADER ? 10 * 1000 : 0);
        }
        ck_assert(added == CF_OK || added == CF_EXISTS);
    }
    wait_until(c, leader_of(c) != NULL && voters(leader_of(c)) == 3);
}

#endif
