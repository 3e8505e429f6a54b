/* tests/unit/node/cluster/test_loop.c: the promises of node/cluster/loop.h. */
#include "node/cluster/loop.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "test.h"

enum { THREADS = 4, EACH = 20000 };

struct counting {
    struct loop *loop;
    unsigned thread, next[THREADS], total;
    bool out_of_order;
};
struct post {
    struct counting *counting;
    unsigned thread, number;
};

static struct counting counting;

static void count_one(void *arg)
{
    struct post *post = arg;
    struct counting *c = post->counting;
    c->out_of_order |= c->next[post->thread] != post->number;
    c->out_of_order |= !loop_is_current(c->loop);
    c->next[post->thread] = post->number + 1;
    if (++c->total == THREADS * EACH) {
        loop_stop(c->loop);
    }
    cf_free(post);
}

static void *post_many(void *arg)
{
    unsigned thread = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < EACH; i++) {
        struct post *post = cf_new(struct post);
        *post = (struct post){&counting, thread, i};
        loop_post(counting.loop, count_one, post);
    }
    return NULL;
}

/* Every task runs once, on the loop's thread, those of one thread in their order. */
START_TEST(posts_from_threads)
{
    counting = (struct counting){0};
    ck_ok(loop_new(&counting.loop, &err_));
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, post_many, (void *)(uintptr_t)i), 0);
    }
    loop_run(counting.loop);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_eq(counting.next[i], EACH);
    }
    ck_assert(!counting.out_of_order);
    ck_assert_uint_eq(counting.total, THREADS * EACH);
    ck_assert(!loop_is_current(counting.loop));
    loop_free(counting.loop);
}
END_TEST

static char trace[64];
static struct loop *loop;

static void note(void *arg)
{
    strncat(trace, arg, sizeof(trace) - strlen(trace) - 1);
}
static void note_and_post(void *arg)
{
    note(arg);
    loop_post(loop, note, (void *)(uintptr_t) "c");
    strncat(trace, "b", 2); /* a post runs later, never from inside loop_post */
}
static void stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

START_TEST(post_is_never_nested)
{
    trace[0] = '\0';
    ck_ok(loop_new(&loop, &err_));
    loop_post(loop, note_and_post, (void *)(uintptr_t) "a");
    loop_post(loop, stop, NULL);
    loop_run(loop);
    ck_assert_str_eq(trace, "abc");
    loop_post(loop, note, (void *)(uintptr_t) "d"); /* run by loop_free */
    loop_free(loop);
    ck_assert_str_eq(trace, "abcd");
}
END_TEST

static struct loop_task task;
static unsigned rounds;

static void again(void *arg)
{
    (void)arg;
    if (++rounds < 1000) {
        loop_post_task(loop, &task);
    } else {
        loop_stop(loop);
    }
}

START_TEST(task_may_requeue_itself)
{
    rounds = 0;
    ck_ok(loop_new(&loop, &err_));
    task = (struct loop_task){.fn = again};
    loop_post_task(loop, &task);
    loop_run(loop);
    ck_assert_uint_eq(rounds, 1000);
    loop_free(loop);
}
END_TEST

static struct loop_timer *timers[4];
static uint64_t due[4];
static bool early;

static void on_a(void *arg)
{
    early |= loop_now_us() < due[0];
    note(arg);
    loop_timer_cancel(timers[2]);
    loop_timer_free(timers[0]); /* inside its own callback */
    timers[0] = NULL;
}
static void on_last(void *arg)
{
    early |= loop_now_us() < due[3];
    note(arg);
    loop_stop(loop);
}

/* In the order of their deadlines, never early; moved ones at the new deadline; cancelled ones not.
 */
START_TEST(timers_keep_deadlines)
{
    trace[0] = '\0';
    early = false;
    ck_ok(loop_new(&loop, &err_));
    timers[0] = loop_timer_new(loop, on_a, (void *)(uintptr_t) "a");
    timers[1] = loop_timer_new(loop, note, (void *)(uintptr_t) "b");
    timers[2] = loop_timer_new(loop, note, (void *)(uintptr_t) "x");
    timers[3] = loop_timer_new(loop, on_last, (void *)(uintptr_t) "c");
    uint64_t now = loop_now_us();
    due[0] = now + 10000;
    due[3] = now + 30000;
    loop_timer_set(timers[3], now + 5000);
    loop_timer_set(timers[3], due[3]); /* later */
    loop_timer_set_in(timers[1], 50000000);
    loop_timer_set(timers[1], now + 20000); /* earlier */
    loop_timer_set(timers[2], now + 15000);
    loop_timer_set(timers[0], due[0]);
    loop_run(loop);
    ck_assert_str_eq(trace, "abc");
    ck_assert(!early);
    ck_assert(!loop_timer_is_set(timers[1]));
    loop_timer_set(timers[1], 0); /* the past: as soon as possible */
    loop_timer_set_in(timers[3], UINT64_MAX);
    loop_timer_cancel(timers[3]);
    for (int i = 0; i < 4; i++) {
        loop_timer_free(timers[i]);
    }
    loop_free(loop);
}
END_TEST

static void on_pipe(int fd, unsigned ready, void *arg)
{
    char byte = 0;
    ck_assert_uint_eq(ready, LOOP_READ);
    ck_assert_int_eq(read(fd, &byte, 1), 1);
    note(((char[]){byte, '\0'}));
    struct loop_fd **watch = arg;
    if (byte == 'z') {
        ck_ok(loop_fd_want(*watch, 0, &err_));
        loop_stop(loop);
    }
}
static void on_usr1(void *arg)
{
    note((void *)(uintptr_t) "s");
    cf_ignore(write(*(int *)arg, "z", 1) != 1, "the read end tells");
}

START_TEST(descriptors_and_signals)
{
    int ends[2];
    struct loop_fd *watch;
    struct loop_signal *usr1;
    trace[0] = '\0';
    ck_assert_int_eq(pipe(ends), 0);
    ck_ok(loop_new(&loop, &err_));
    watch = loop_fd_new(loop, ends[0], on_pipe, &watch);
    ck_ok(loop_fd_want(watch, LOOP_READ, &err_));
    ck_ok(loop_signal_new(loop, SIGUSR1, on_usr1, &ends[1], &usr1, &err_));
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    raise(SIGUSR1);
    loop_run(loop);
    ck_assert_ptr_nonnull(strchr(trace, 's'));
    ck_assert_ptr_nonnull(strchr(trace, 'x'));
    ck_assert_ptr_nonnull(strchr(trace, 'z'));
    loop_signal_free(usr1);
    loop_fd_free(watch);
    loop_free(loop);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

TEST_MAIN("node/cluster/loop", posts_from_threads, post_is_never_nested, task_may_requeue_itself,
          timers_keep_deadlines, descriptors_and_signals)
