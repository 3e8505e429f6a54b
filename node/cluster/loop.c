/* node/cluster/loop.c: the reactor on libevent; see loop.h. */
#include "node/cluster/loop.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/thread.h>

#include "node/base/host.h"
#include "node/base/memory.h"

struct loop {
    struct event_base *base;
    struct event *wake;
    int wake_fd;
    /* A stack of tasks, newest first: pushed by anyone, taken whole by the loop. */
    _Atomic(struct loop_task *) queue;
    _Atomic(pthread_t) thread;
    atomic_bool has_thread, stopping;
};

struct loop_timer {
    struct loop *loop;
    struct event *event;
    loop_fn fn;
    void *arg;
    uint64_t at_us;    /* 0: not set */
    uint64_t armed_us; /* what libevent was told; 0: nothing */
};

struct loop_fd {
    struct loop *loop;
    struct event *event;
    loop_fd_fn fn;
    void *arg;
    int fd;
    unsigned wanted;
};

struct loop_signal {
    struct event *event;
    loop_fn fn;
    void *arg;
};

struct posted {
    struct loop_task task;
    loop_fn fn;
    void *arg;
};

/* Buffers of connections carry secrets: what libevent frees is wiped. */
static void wipe_and_free(void *memory)
{
    if (memory != NULL) {
        cf_wipe(memory, malloc_usable_size(memory));
        cf_free(memory);
    }
}

static void prepare_process(void)
{
    event_set_mem_functions(cf_alloc, cf_realloc, wipe_and_free);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    evthread_use_pthreads();
}

void loop_process_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_process);
}

uint64_t loop_now_us(void)
{
    return cf_monotonic_us(cf_host_clock());
}

/* Takes everything at once and turns the stack round: oldest first. */
static struct loop_task *take_all(struct loop *loop)
{
    struct loop_task *taken = atomic_exchange_explicit(&loop->queue, NULL, memory_order_acquire);
    struct loop_task *ordered = NULL;
    while (taken != NULL) {
        struct loop_task *next = taken->next;
        taken->next = ordered;
        ordered = taken;
        taken = next;
    }
    return ordered;
}

static void run_tasks(struct loop *loop)
{
    struct loop_task *task = take_all(loop);
    while (task != NULL) {
        struct loop_task *next = task->next; /* fn may free or requeue its task */
        task->next = NULL;
        task->fn(task->arg);
        task = next;
    }
}

/* The counter is read before the queue is taken: a task that is pushed in between is taken now, and
 * its signal wakes the loop once more for nothing; the other order could lose it. */
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    uint64_t count;
    (void)what;
    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
    run_tasks(loop);
}

cf_status loop_new(struct loop **ret, struct cf_error *err)
{
    loop_process_init();
    CF_OWNED(loop) loop = cf_new(struct loop);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0) {
        return cf_fail(err, CF_IO, "can't make an event descriptor: %s", strerror(errno));
    }
    struct event_config *config = event_config_new();
    if (config != NULL) {
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
        loop->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (loop->base == NULL) {
        return cf_fail(err, CF_IO, "can't make an event loop: %s", strerror(errno));
    }
    loop->wake = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
    if (loop->wake == NULL || event_add(loop->wake, NULL) != 0) {
        return cf_fail(err, CF_IO, "can't watch the event descriptor");
    }
    *ret = loop_take(&loop);
    return CF_OK;
}

void loop_drain(struct loop *loop)
{
    while (atomic_load(&loop->queue) != NULL) {
        run_tasks(loop);
    }
}

void loop_free(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    loop_drain(loop);
    if (loop->wake != NULL) {
        event_free(loop->wake);
    }
    if (loop->base != NULL) {
        event_base_free(loop->base);
    }
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
    }
    cf_free(loop);
}

void loop_run(struct loop *loop)
{
    atomic_store(&loop->thread, pthread_self());
    atomic_store(&loop->has_thread, true);
    while (!atomic_load(&loop->stopping)) {
        int result = event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
        assert(result >=
               0); /* epoll itself failed: the program closed a descriptor it still uses */
        (void)result;
    }
    run_tasks(loop);
    atomic_store(&loop->has_thread, false);
    atomic_store(&loop->stopping, false);
}

static void break_loop(void *arg)
{
    struct loop *loop = arg;
    atomic_store(&loop->stopping, true);
    event_base_loopbreak(loop->base);
}

void loop_stop(struct loop *loop)
{
    loop_post(loop, break_loop, loop);
}

bool loop_is_current(const struct loop *loop)
{
    return atomic_load(&loop->has_thread) &&
           pthread_equal(atomic_load(&loop->thread), pthread_self()) != 0;
}

void loop_post_task(struct loop *loop, struct loop_task *task)
{
    struct loop_task *head = atomic_load_explicit(&loop->queue, memory_order_relaxed);
    do {
        task->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&loop->queue, &head, task, memory_order_release,
                                                    memory_order_relaxed));
    if (head != NULL) {
        return; /* whoever made it non-empty has woken the loop */
    }
    if (loop_is_current(loop)) {
        event_active(loop->wake, EV_READ, 0); /* the same pass, without a system call */
        return;
    }
    uint64_t one = 1;
    while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

static void run_posted(void *arg)
{
    struct posted *posted = arg;
    loop_fn fn = posted->fn;
    void *fn_arg = posted->arg;
    cf_free(posted);
    fn(fn_arg);
}

void loop_post(struct loop *loop, loop_fn fn, void *arg)
{
    struct posted *posted = cf_new(struct posted);
    posted->fn = fn;
    posted->arg = arg;
    posted->task.fn = run_posted;
    posted->task.arg = posted;
    loop_post_task(loop, &posted->task);
}

static void arm(struct loop_timer *timer)
{
    uint64_t now = loop_now_us();
    uint64_t in = timer->at_us > now ? timer->at_us - now : 0;
    struct timeval tv = {.tv_sec = (time_t)(in / 1000000), .tv_usec = (suseconds_t)(in % 1000000)};
    timer->armed_us = timer->at_us;
    event_add(timer->event, &tv);
}

/* Fires at what libevent was told, which may be before the deadline: because it was moved, or
 * because libevent counts from a cached time. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct loop_timer *timer = arg;
    (void)fd;
    (void)what;
    timer->armed_us = 0;
    if (timer->at_us == 0) {
        return;
    }
    if (timer->at_us > loop_now_us()) {
        arm(timer);
        return;
    }
    timer->at_us = 0;
    timer->fn(timer->arg);
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *arg)
{
    struct loop_timer *timer = cf_new(struct loop_timer);
    timer->loop = loop;
    timer->fn = fn;
    timer->arg = arg;
    timer->event = evtimer_new(loop->base, on_timer, timer);
    assert(timer->event != NULL);
    return timer;
}

void loop_timer_set(struct loop_timer *timer, uint64_t at_us)
{
    timer->at_us = at_us > 0 ? at_us : 1;
    if (timer->armed_us == 0 || timer->at_us < timer->armed_us) {
        arm(timer);
    }
}

void loop_timer_set_in(struct loop_timer *timer, uint64_t in_us)
{
    uint64_t now = loop_now_us();
    loop_timer_set(timer, in_us > UINT64_MAX - now ? UINT64_MAX : now + in_us);
}

void loop_timer_cancel(struct loop_timer *timer)
{
    timer->at_us = 0;
    if (timer->armed_us != 0) {
        timer->armed_us = 0;
        event_del(timer->event);
    }
}

bool loop_timer_is_set(const struct loop_timer *timer)
{
    return timer->at_us != 0;
}

void loop_timer_free(struct loop_timer *timer)
{
    if (timer != NULL) {
        event_free(timer->event);
        cf_free(timer);
    }
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct loop_fd *watch = arg;
    unsigned ready = ((what & EV_READ) != 0 ? (unsigned)LOOP_READ : 0u) |
                     ((what & EV_WRITE) != 0 ? (unsigned)LOOP_WRITE : 0u);
    watch->fn(fd, ready, watch->arg);
}

struct loop_fd *loop_fd_new(struct loop *loop, int fd, loop_fd_fn fn, void *arg)
{
    struct loop_fd *watch = cf_new(struct loop_fd);
    watch->loop = loop;
    watch->fd = fd;
    watch->fn = fn;
    watch->arg = arg;
    watch->event = event_new(loop->base, fd, EV_PERSIST, on_ready, watch);
    assert(watch->event != NULL);
    return watch;
}

cf_status loop_fd_want(struct loop_fd *watch, unsigned wanted, struct cf_error *err)
{
    if (wanted == watch->wanted) {
        return CF_OK;
    }
    event_del(watch->event);
    watch->wanted = 0;
    short events = EV_PERSIST;
    events = (short)(events | ((wanted & LOOP_READ) != 0 ? EV_READ : 0));
    events = (short)(events | ((wanted & LOOP_WRITE) != 0 ? EV_WRITE : 0));
    event_assign(watch->event, watch->loop->base, watch->fd, events, on_ready, watch);
    if (wanted != 0 && event_add(watch->event, NULL) != 0) {
        return cf_fail(err, CF_IO, "can't watch descriptor %d: %s", watch->fd, strerror(errno));
    }
    watch->wanted = wanted;
    return CF_OK;
}

void loop_fd_free(struct loop_fd *watch)
{
    if (watch != NULL) {
        event_free(watch->event);
        cf_free(watch);
    }
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct loop_signal *watch = arg;
    (void)number;
    (void)what;
    watch->fn(watch->arg);
}

cf_status loop_signal_new(struct loop *loop, int number, loop_fn fn, void *arg,
                          struct loop_signal **ret, struct cf_error *err)
{
    struct loop_signal *watch = cf_new(struct loop_signal);
    watch->fn = fn;
    watch->arg = arg;
    watch->event = evsignal_new(loop->base, number, on_signal, watch);
    if (watch->event == NULL || evsignal_add(watch->event, NULL) != 0) {
        loop_signal_free(watch);
        return cf_fail(err, CF_IO, "can't watch signal %d", number);
    }
    *ret = watch;
    return CF_OK;
}

void loop_signal_free(struct loop_signal *watch)
{
    if (watch != NULL) {
        if (watch->event != NULL) {
            event_free(watch->event);
        }
        cf_free(watch);
    }
}

struct event_base *loop_event_base(struct loop *loop)
{
    return loop->base;
}
