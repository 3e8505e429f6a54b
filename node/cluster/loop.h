/* node/cluster/loop.h
 *
 * A reactor: one thread, one libevent base (not locked: only its own thread touches it). Other
 * threads reach it through loop_post alone. The main loop runs consensus, the cluster port,
 * replication, timers and signals; each client reactor is a loop of its own.
 *
 * Everything below is for the loop's own thread (the one inside loop_run, or before loop_run the
 * one that made it), except where "any thread" is said. Callbacks run on the loop's thread, never
 * from inside the call that asked for them.
 */
#ifndef COFFER_CLUSTER_LOOP_H
#define COFFER_CLUSTER_LOOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "node/base/own.h"
#include "node/base/status.h"

struct event_base;
struct loop;
struct loop_timer;
struct loop_fd;
struct loop_signal;

typedef void (*loop_fn)(void *arg);

/* Once, at the start of the process and before any thread: ignores SIGPIPE (TLS writes to a closed
 * socket would kill the process) and prepares libevent. Calling it again is harmless. */
void loop_process_init(void);

/* CF_IO when the kernel refuses descriptors. */
CF_CHECKED cf_status loop_new(struct loop **ret, struct cf_error *err);
/* Runs the queued tasks, and those that they queue. Not running any more: for an owner that is about to
 * free what the tasks of its threads point to. */
void loop_drain(struct loop *loop);
/* Not running any more; timers, fds and signals were freed by their owners. Tasks that are still
 * queued are run, so that what they own is not lost. NULL is fine. */
void loop_free(struct loop *loop);
CF_DEFINE_OWNED(loop);

/* Runs until loop_stop. What was posted before the stop is run before this returns. The calling
 * thread becomes the loop's thread. May be called again afterwards. */
void loop_run(struct loop *loop);
/* Any thread. */
void loop_stop(struct loop *loop);
/* Any thread: is this the loop's thread? */
bool loop_is_current(const struct loop *loop);

/* Any thread: `fn(arg)` will run on the loop's thread. Tasks of one thread run in the order of
 * their posting. The loop is woken only when its queue was empty, and takes the whole queue per
 * wake. */
void loop_post(struct loop *loop, loop_fn fn, void *arg);

/* The same without an allocation: the caller's task, which must not be queued already and must live
 * until its fn is called (fn may then free or post it again). */
struct loop_task {
    struct loop_task *next;
    loop_fn fn;
    void *arg;
};
void loop_post_task(struct loop *loop, struct loop_task *task);

/* Monotonic microseconds, the clock of all deadlines here (cf_host_clock()). Any thread. */
uint64_t loop_now_us(void);

/* One-shot timers. A timer that is set again before it fired fires only at the new deadline; moving
 * a deadline further away costs next to nothing. The kernel rounds up to a millisecond. */
struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *arg);
/* at_us: absolute, on loop_now_us(); in the past: as soon as possible. */
void loop_timer_set(struct loop_timer *timer, uint64_t at_us);
void loop_timer_set_in(struct loop_timer *timer, uint64_t in_us);
void loop_timer_cancel(struct loop_timer *timer);
bool loop_timer_is_set(const struct loop_timer *timer);
/* Inside its own callback, too. NULL is fine. */
void loop_timer_free(struct loop_timer *timer);

/* Readiness of a descriptor (level-triggered). The descriptor stays the caller's. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
typedef void (*loop_fd_fn)(int fd, unsigned ready, void *arg);
struct loop_fd *loop_fd_new(struct loop *loop, int fd, loop_fd_fn fn, void *arg);
/* wanted: LOOP_READ | LOOP_WRITE, or 0 to rest. CF_IO for a descriptor that cannot be polled. */
CF_CHECKED cf_status loop_fd_want(struct loop_fd *watch, unsigned wanted, struct cf_error *err);
/* Before the descriptor is closed. NULL is fine. */
void loop_fd_free(struct loop_fd *watch);

/* Signals: on one loop of the process only (the main loop). */
CF_CHECKED cf_status loop_signal_new(struct loop *loop, int number, loop_fn fn, void *arg,
                                     struct loop_signal **ret, struct cf_error *err);
void loop_signal_free(struct loop_signal *watch); /* NULL is fine */

/* For bufferevents (node/cluster/stream.c) and listeners; borrowed for the life of the loop. */
struct event_base *loop_event_base(struct loop *loop);

#endif
