/* tests/unit/consensus/driver/test_single.c: one node: propose, apply, restart, replay, group
 * commit, reads without a round, retention, refusals. */
#include "consensus/driver/driver_int.h"
#include "tests/unit/consensus/driver/cluster.h"

static struct cluster c;
static struct node *one;

static void begin(unsigned how)
{
    cluster_begin(&c);
    one = &c.nodes[0];
    node_start(one, how | NODE_BOOTSTRAP);
    wait_until(&c, raft_driver_is_leader(one->driver));
}

static void propose_and_read(unsigned how)
{
    begin(how);
    ck_assert_uint_eq(one->led_term, raft_driver_term(one->driver));
    ck_assert_int_eq(put(one, "a=1"), CF_OK);
    ck_assert_str_eq(get(one, "a"), "1");
    ck_assert(raft_driver_read_ready_now(one->driver));
    ck_assert_int_eq(look(one), CF_OK);
    ck_assert_int_eq(put(one, "a="), CF_OK);
    ck_assert_str_eq(get(one, "a"), "");
    ck_assert_uint_eq(raft_driver_leader(one->driver), 1);
    cluster_end(&c);
}

START_TEST(proposes_in_memory)
{
    propose_and_read(NODE_MEMORY);
}
END_TEST

START_TEST(proposes_on_disk)
{
    propose_and_read(NODE_DISK);
}
END_TEST

static struct raft_histogram timing(enum raft_step step)
{
    struct raft_histogram ret;
    raft_driver_timing(one->driver, step, &ret);
    return ret;
}

/* Each write alone is followed through all its steps; of a thousand at once, some are. */
START_TEST(steps_are_timed)
{
    begin(NODE_DISK);
    uint64_t before = timing(RAFT_STEP_WAIT).count;
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(put(one, "a=1"), CF_OK);
    }
    static const enum raft_step steps[] = {RAFT_STEP_WAIT, RAFT_STEP_DURABLE, RAFT_STEP_COMMIT,
                                           RAFT_STEP_APPLY, RAFT_STEP_PROPOSE};
    for (size_t i = 0; i < CF_LENGTH(steps); i++) {
        struct raft_histogram seen = timing(steps[i]);
        uint64_t sum = 0;
        for (size_t n = 0; n < RAFT_BUCKETS; n++) {
            sum += seen.counts[n];
        }
        ck_assert_uint_eq(sum, seen.count);
        ck_assert_uint_eq(seen.count, before + 20);
        ck_assert_uint_ge(seen.sum_us, seen.max_us);
        ck_assert_uint_le(raft_histogram_us(&seen, 500), raft_histogram_us(&seen, 990));
        ck_assert_uint_le(raft_histogram_us(&seen, 1000), seen.max_us);
    }
    /* The whole is no shorter than its parts. */
    ck_assert_uint_ge(timing(RAFT_STEP_PROPOSE).sum_us, timing(RAFT_STEP_COMMIT).sum_us);
    ck_assert_uint_ge(timing(RAFT_STEP_COMMIT).sum_us, timing(RAFT_STEP_DURABLE).sum_us);
    ck_assert_uint_ge(timing(RAFT_STEP_SYNC).count, 20);
    cluster_end(&c);
}
END_TEST

START_TEST(restarts)
{
    begin(NODE_DISK);
    for (int i = 0; i < 50; i++) {
        char text[32];
        snprintf(text, sizeof(text), "k%d=%d", i % 7, i);
        ck_assert_int_eq(put(one, text), CF_OK);
    }
    uint64_t term = raft_driver_term(one->driver);
    node_stop(one); /* flushes: nothing to replay */
    node_start(one, NODE_DISK);
    wait_until(&c, raft_driver_is_leader(one->driver));
    ck_assert_uint_gt(raft_driver_term(one->driver), term);
    ck_assert_str_eq(get(one, "k0"), "49");
    ck_assert_uint_eq(one->replayed, 0);
    ck_assert_int_eq(put(one, "after=1"), CF_OK);
    ck_assert_str_eq(get(one, "after"), "1");
    cluster_end(&c);
}
END_TEST

/* 64 proposals that wait together share syncs: the first may go alone, the rest goes with it or
 * after it, never one by one. */
struct herd {
    struct write writes[64];
};

static void propose_herd(void *arg)
{
    struct herd *herd = arg;
    for (int i = 0; i < 64; i++) {
        char text[32];
        snprintf(text, sizeof(text), "h%d=%d", i, i);
        write_begin(one, &herd->writes[i], text);
    }
}

START_TEST(shares_syncs)
{
    begin(NODE_DISK);
    wait_until(&c, one->applied >= 1);
    struct herd *herd = cf_new(struct herd);
    uint64_t before = kv_sync_count(one->kv);
    on_loop(&c, propose_herd, herd); /* on the loop: all of them are there before it looks */
    for (int i = 0; i < 64; i++) {
        ck_assert_int_eq(write_wait(&herd->writes[i]), CF_OK);
    }
    ck_assert_uint_le(kv_sync_count(one->kv) - before, 2);
    cf_free(herd);
    cluster_end(&c);
}
END_TEST

/* The end of a write takes the queue whose task still waits in the loop. What comes after that must not put
 * the same task there a second time: the loop's queue would bite its own tail, and lose what stands behind. */
static atomic_bool task_before_has_run;

static void run_task_before(void *arg)
{
    (void)arg;
    atomic_store(&task_before_has_run, true);
}

static void propose_around_a_take(void *arg)
{
    struct herd *herd = arg;
    loop_post(c.loop, run_task_before, NULL);
    write_begin(one, &herd->writes[0], "first=1");
    propose_take(one->driver);
    write_begin(one, &herd->writes[1], "second=2");
}

START_TEST(a_task_is_queued_once)
{
    begin(NODE_MEMORY);
    struct herd *herd = cf_new(struct herd);
    on_loop(&c, propose_around_a_take, herd);
    ck_assert_int_eq(write_wait(&herd->writes[0]), CF_OK);
    ck_assert_int_eq(write_wait(&herd->writes[1]), CF_OK);
    ck_assert_str_eq(get(one, "second"), "2");
    wait_until(&c, atomic_load(&task_before_has_run));
    cf_free(herd);
    cluster_end(&c);
}
END_TEST

/* The same from threads that each wait for their answer: far fewer syncs than writes. */
static void *writer_main(void *arg)
{
    for (int i = 0; i < 20; i++) {
        char text[32];
        snprintf(text, sizeof(text), "w%d-%d=x", *(int *)arg, i);
        if (put(one, text) != CF_OK) {
            return arg;
        }
    }
    return NULL;
}

START_TEST(threads_share_syncs)
{
    begin(NODE_DISK);
    pthread_t threads[32];
    int numbers[32];
    uint64_t before = kv_sync_count(one->kv);
    for (int i = 0; i < 32; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, writer_main, &numbers[i]), 0);
    }
    for (int i = 0; i < 32; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    ck_assert_uint_lt(kv_sync_count(one->kv) - before, 32 * 20 / 2);
    cluster_end(&c);
}
END_TEST

/* What a group waits for, out of how many writes at once: never where there are few. */
START_TEST(a_group_is_a_share_of_what_is_on_its_way)
{
    for (size_t at_once = 0; at_once < GATHER_MIN; at_once++) {
        ck_assert_uint_eq(propose_group(at_once), 0);
    }
    for (size_t at_once = GATHER_MIN; at_once < 2000; at_once++) {
        ck_assert_uint_ge(propose_group(at_once), at_once / 2);
        ck_assert_uint_lt(propose_group(at_once), at_once); /* or it would wait for those that it holds up */
    }
    ck_assert_uint_eq(propose_group(64), 40);
}
END_TEST

/* A large group teaches the next ones to wait; one that comes alone then goes all the same. */
START_TEST(nobody_waits_for_those_who_left)
{
    begin(NODE_DISK);
    struct herd *herd = cf_new(struct herd);
    on_loop(&c, propose_herd, herd);
    for (int i = 0; i < 64; i++) {
        ck_assert_int_eq(write_wait(&herd->writes[i]), CF_OK);
    }
    for (int i = 0; i < 64; i++) {
        ck_assert_int_eq(put(one, "alone=1"), CF_OK);
    }
    cf_free(herd);
    cluster_end(&c);
}
END_TEST

START_TEST(admit_refuses_and_stamps)
{
    begin(NODE_MEMORY);
    uint64_t last = status_of(one).last_index;
    pthread_mutex_lock(&c.lock);
    one->admit_status = CF_CONFLICT;
    pthread_mutex_unlock(&c.lock);
    ck_assert_int_eq(put(one, "a=1"), CF_CONFLICT);
    pthread_mutex_lock(&c.lock);
    one->admit_status = CF_OK;
    one->stamp = '9';
    pthread_mutex_unlock(&c.lock);
    ck_assert_int_eq(put(one, "a=1"), CF_OK);
    ck_assert_str_eq(get(one, "a"), "9");
    wait_until(&c, status_of(one).last_index == last + 1); /* the refused one left no trace */
    struct raft_proposal large = {.payload_size = RAFT_PAYLOAD_MAX + 1};
    ck_status(raft_driver_propose(one->driver, &large, &(struct cf_error){0}), CF_TOO_LARGE);
    cluster_end(&c);
}
END_TEST

START_TEST(waits_for_an_index)
{
    begin(NODE_MEMORY);
    uint64_t now = raft_driver_applied(one->driver);
    struct look soon = {.read.done = look_done, .cluster = &c},
                later = {.read.done = look_done, .cluster = &c},
                never = {.read.done = look_done, .cluster = &c};
    raft_driver_wait_applied(one->driver, &never.read, now + 100);
    raft_driver_wait_applied(one->driver, &later.read, now + 2);
    raft_driver_wait_applied(one->driver, &soon.read, now);
    wait_until(&c, soon.done);
    ck_assert_int_eq(soon.status, CF_OK);
    ck_assert(!later.done);
    ck_assert_int_eq(put(one, "a=1"), CF_OK);
    ck_assert_int_eq(put(one, "a=2"), CF_OK);
    wait_until(&c, later.done);
    ck_assert_int_eq(later.status, CF_OK);
    node_stop(one);
    ck_assert(never.done);
    ck_assert_int_eq(never.status, CF_UNAVAILABLE);
    cluster_end(&c);
}
END_TEST

/* The log is cut only below what is flushed, keeps its trailing part and respects the floor. */
START_TEST(cuts_the_log)
{
    cluster_begin(&c);
    c.tune.trailing_entries = 100;
    c.tune.trailing_bytes = 1;
    one = &c.nodes[0];
    node_start(one, NODE_DISK | NODE_BOOTSTRAP);
    wait_until(&c, raft_driver_is_leader(one->driver));
    raft_driver_set_floor(one->driver, 0);
    char text[64];
    for (int i = 0; i < 900; i++) {
        snprintf(text, sizeof(text), "k%d=%d", i, i);
        ck_assert_int_eq(put(one, text), CF_OK);
    }
    ck_assert_uint_eq(raft_driver_log_first(one->driver), 1);
    struct raft_log_run run;
    ck_ok(raft_driver_log_read(one->driver, 1, 1 << 20, &run, NULL));
    ck_assert_uint_gt(run.count, 0);
    ck_assert_uint_eq(run.entries[0]->index, 1);
    raft_log_run_done(&run);

    raft_driver_set_floor(one->driver, 300);
    wait_until(&c, raft_driver_log_first(one->driver) > 1);
    uint64_t first = raft_driver_log_first(one->driver);
    ck_assert_uint_le(first, 301);
    ck_assert_uint_le(first - 1, status_of(one).flushed);
    raft_driver_set_floor(one->driver, UINT64_MAX);
    wait_until(&c, raft_driver_log_first(one->driver) > 301);
    first = raft_driver_log_first(one->driver);
    ck_assert_uint_le(first, status_of(one).last_index - 99);
    ck_status(raft_driver_log_read(one->driver, first - 1, 1, &run, &(struct cf_error){0}),
              CF_NOT_FOUND);
    uint64_t term = 0;
    ck_ok(raft_driver_log_term(one->driver, first, &term, NULL));
    ck_ok(raft_driver_log_read(one->driver, first, 1, &run, NULL));
    ck_assert_uint_eq(run.count, 1);
    raft_log_run_done(&run);
    ck_ok(raft_driver_log_read(one->driver, raft_driver_applied(one->driver) + 1, 1, &run, NULL));
    ck_assert_uint_eq(run.count, 0);

    node_stop(one);
    node_start(one, NODE_DISK);
    wait_until(&c, raft_driver_is_leader(one->driver));
    ck_assert_uint_ge(raft_driver_log_first(one->driver), first);
    ck_assert_str_eq(get(one, "k0"), "0");
    ck_assert_str_eq(get(one, "k899"), "899");
    cluster_end(&c);
}
END_TEST

static struct cf_slice wanted;
static unsigned found;

static int look_into(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)walk;
    if (type != FTW_F || info->st_size == 0) {
        return 0;
    }
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return 0; /* gone meanwhile */
    }
    size_t size = (size_t)info->st_size;
    char *bytes = malloc(size);
    size = fread(bytes, 1, size, file);
    found += memmem(bytes, size, wanted.data, wanted.size) != NULL;
    free(bytes);
    (void)fclose(file);
    return 0;
}

static bool on_disk(const char *text)
{
    wanted = cf_slice_str(text);
    found = 0;
    ck_assert_int_eq(nftw(one->dir, look_into, 8, FTW_PHYS), 0);
    return found != 0;
}

static void purge(void *arg)
{
    CF_OWNED(kv_snapshot) snapshot = kv_snapshot_new(one->kv);
    raft_driver_purge(one->driver, *(uint64_t *)arg, kv_snapshot_number(snapshot));
}

/* What was deleted goes from state, log and the store's log of writes, though the log would be kept; what another
 * cluster still needs waits for it. */
START_TEST(purges_what_was_deleted)
{
    cluster_begin(&c);
    one = &c.nodes[0];
    node_start(one, NODE_DISK | NODE_BOOTSTRAP);
    wait_until(&c, raft_driver_is_leader(one->driver));
    raft_driver_set_floor(one->driver, 0);
    char text[64];
    for (int i = 0; i < 300; i++) {
        snprintf(text, sizeof(text), "gone%d=marker-gone-%d", i, i);
        ck_assert_int_eq(put(one, text), CF_OK);
        snprintf(text, sizeof(text), "kept%d=marker-kept-%d", i, i);
        ck_assert_int_eq(put(one, text), CF_OK);
    }
    struct kv_snapshot *older = kv_snapshot_new(one->kv); /* a reader that takes its time */
    for (int i = 0; i < 300; i++) {
        snprintf(text, sizeof(text), "gone%d=", i);
        ck_assert_int_eq(put(one, text), CF_OK);
    }
    uint64_t index = raft_driver_applied(one->driver);
    on_loop(&c, purge, &index);
    ck_assert_int_eq(put(one, "after=1"), CF_OK);
    ck_assert(on_disk("marker-gone-7"));
    ck_assert_uint_eq(raft_driver_log_first(one->driver), 1);
    raft_driver_set_floor(one->driver, UINT64_MAX);
    wait_until(&c, raft_driver_log_first(one->driver) > index);
    ck_assert_int_eq(put(one, "later=1"), CF_OK);
    ck_assert_uint_eq(raft_store_purged(one->store), 0);
    kv_snapshot_free(older);
    wait_until(&c, raft_store_purged(one->store) == index);
    wait_until(&c, !on_disk("marker-gone")); /* the files go after the record */
    ck_assert(on_disk("marker-kept-299"));
    ck_assert_str_eq(get(one, "kept7"), "marker-kept-7");
    ck_assert_str_eq(get(one, "gone7"), "");
    uint64_t earlier = index - 5;
    on_loop(&c, purge, &earlier); /* done: nothing begins anew */
    node_stop(one);
    node_start(one, NODE_DISK);
    wait_until(&c, raft_driver_is_leader(one->driver));
    ck_assert_uint_eq(raft_store_purged(one->store), index);
    ck_assert_str_eq(get(one, "kept299"), "marker-kept-299");
    ck_assert_str_eq(get(one, "after"), "1");
    cluster_end(&c);
}
END_TEST

/* A node that ends in the middle does it after its next start. */
START_TEST(purge_is_not_forgotten)
{
    begin(NODE_DISK);
    ck_assert_int_eq(put(one, "a=marker-gone"), CF_OK);
    ck_assert_int_eq(put(one, "a="), CF_OK);
    uint64_t index = raft_driver_applied(one->driver);
    on_loop(&c, purge, &index);
    node_stop(one);
    node_start(one, NODE_DISK);
    wait_until(&c, raft_driver_is_leader(one->driver));
    ck_assert_uint_eq(raft_store_purged(one->store), 0);
    on_loop(&c, purge, &index); /* whoever asked finds it in the state, and asks again */
    wait_until(&c, raft_store_purged(one->store) == index);
    ck_assert(!on_disk("marker-gone"));
    cluster_end(&c);
}
END_TEST

static void start_fails(void *arg)
{
    struct cf_error *err = arg;
    struct raft_driver *driver = NULL;
    struct raft_driver_options options = {
        .loop = c.loop,
        .store = one->store,
        .seed = 1,
        .applier = {.context = one, .state_changed = node_state_changed},
    };
    ck_assert_int_ne(raft_driver_start(&options, &driver, err), CF_OK);
}

/* A lone node whose state is ahead of its log has lost acknowledged entries: it says so. */
START_TEST(log_behind_state)
{
    begin(NODE_DISK);
    ck_assert_int_eq(put(one, "a=1"), CF_OK);
    node_stop(one);
    ck_ok(kv_open(one->dir, NULL, &one->kv, NULL));
    ck_ok(raft_store_open(one->kv, &one->store, NULL));
    struct kv_family *state = raft_store_state(one->store);
    struct kv_batch *batch = kv_batch_new(one->kv);
    raft_store_add_applied(batch, state, (struct raft_applied){99, 1}, NULL);
    ck_ok(kv_commit(one->kv, batch, KV_NO_WAL, NULL));
    kv_batch_free(batch);
    kv_family_unref(state);
    struct cf_error err = {0};
    on_loop(&c, start_fails, &err);
    ck_assert_int_eq(err.status, CF_CORRUPT);
    ck_assert_msg(strstr(err.message, "before the state at 99") != NULL, "%s", err.message);
    raft_store_free(one->store);
    cluster_end(&c);
}
END_TEST

START_TEST(needs_an_identity)
{
    cluster_begin(&c);
    one = &c.nodes[0];
    one->kv = kv_open_memory();
    ck_ok(raft_store_open(one->kv, &one->store, NULL));
    struct cf_error err = {0};
    on_loop(&c, start_fails, &err);
    ck_assert_int_eq(err.status, CF_UNINITIALIZED);
    raft_store_free(one->store);
    cluster_end(&c);
}
END_TEST

TEST_MAIN("consensus/driver/single", proposes_in_memory, proposes_on_disk, steps_are_timed, restarts, shares_syncs,
          a_task_is_queued_once, threads_share_syncs, a_group_is_a_share_of_what_is_on_its_way,
          nobody_waits_for_those_who_left, admit_refuses_and_stamps, waits_for_an_index,
          cuts_the_log, purges_what_was_deleted, purge_is_not_forgotten, log_behind_state,
          needs_an_identity)
