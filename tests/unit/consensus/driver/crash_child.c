/* tests/unit/consensus/driver/crash_child.c
 *
 * The victim of test_crash.c: opens a node, says which of the earlier writes are missing (none may
 * be), then writes from eight threads, tells each acknowledged number on descriptor 3, and ends
 * without any warning after so many of them, or when its disk (tests/lib/disk_shim.c) kills it.
 * crash_child DIRECTORY ACKNOWLEDGED MORE STATE_WAL
 */
#include "tests/unit/consensus/driver/cluster.h"

#define TOLD_FD 3

static struct cluster c;
static struct node *one;
static int next_number, told, more;

static void tell(int number)
{
    pthread_mutex_lock(&c.lock);
    char line[16];
    int size = snprintf(line, sizeof(line), "%d\n", number);
    bool written = write(TOLD_FD, line, (size_t)size) == size;
    told++;
    if (!written || told >= more) {
        _exit(written ? 0 : 4); /* other writes are under way in every stage */
    }
    pthread_mutex_unlock(&c.lock);
}

static void *write_main(void *arg)
{
    for (;;) {
        pthread_mutex_lock(&c.lock);
        int number = next_number++;
        pthread_mutex_unlock(&c.lock);
        char text[64];
        snprintf(text, sizeof(text), "k%d=%d", number, number);
        if (put(one, text) != CF_OK) {
            _exit(5);
        }
        tell(number);
    }
    return arg;
}

static char **arguments;

/* A test of Check's only because the helpers use its assertions. */
START_TEST(dies)
{
    FILE *earlier = fopen(arguments[2], "r");
    more = atoi(arguments[3]);
    cluster_begin(&c);
    one = &c.nodes[0];
    strcpy(one->dir, arguments[1]);
    /* Tiny memtables: files are written and compacted all the time. */
    struct cf_error err = {0};
    cf_status opened = kv_open(
        one->dir,
        &(struct kv_options){.write_buffer_bytes = 64 << 10, .all_write_buffers_bytes = 128 << 10},
        &one->kv, &err);
    ck_assert_msg(opened == CF_OK, "%s is kept: %s. %s", one->dir, err.message, err.detail);
    c.tune.flush_us = 1;
    c.tune.state_wal = arguments[4][0] == '1';
    c.tune.trailing_entries = 200;
    c.tune.trailing_bytes = 1;
    node_start(one, NODE_BOOTSTRAP);
    wait_until(&c, raft_driver_is_leader(one->driver));
    ck_assert(!one->order_broken);
    for (int number; earlier != NULL && fscanf(earlier, "%d", &number) == 1;) {
        char key[16], value[16];
        snprintf(key, sizeof(key), "k%d", number);
        snprintf(value, sizeof(value), "%d", number);
        ck_assert_msg(strcmp(get(one, key), value) == 0, "acknowledged write %d is lost", number);
        next_number = number >= next_number ? number + 1 : next_number;
    }
    if (more == 0) {
        _exit(0);
    }
    next_number += 100; /* what was under way at the end may be there or not */
    for (int i = 0; i < 8; i++) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, write_main, NULL), 0);
    }
    for (;;) {
        pause();
    }
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {dies};
    arguments = argv;
    return argc == 5 ? test_run("crash_child", tests, 1) : 2;
}
