/* consensus/driver/worker.h
 *
 * A thread for work that may block on the disk, and the way back: jobs run one after the other, and
 * their `done` runs on the loop, many per wake.
 */
#ifndef COFFER_CONSENSUS_DRIVER_WORKER_H
#define COFFER_CONSENSUS_DRIVER_WORKER_H

#include <pthread.h>
#include <stddef.h>

#include "node/base/own.h"

struct loop;
struct raft_worker;

/* Starts a thread with all signals blocked (they belong to the main loop) and a name for debuggers.
 * A machine without room for a thread ends the process. */
void raft_thread_start(pthread_t *thread, void *(*main)(void *arg), void *arg, const char *name);

/* Embedded in whoever asks; one use at a time. */
struct raft_job {
    void (*run)(struct raft_job *job);  /* the worker's thread */
    void (*done)(struct raft_job *job); /* loop; may free the job or push it again */
    struct raft_job *next;              /* the worker's */
};

struct raft_worker *raft_worker_new(struct loop *loop, const char *name);
/* Loop. Runs what is queued, ends the thread, calls what is left of `done` from inside. NULL is
 * fine. (The memory itself goes with a last task of the loop, as one may be on its way.) */
void raft_worker_free(struct raft_worker *worker);
CF_DEFINE_OWNED(raft_worker);
/* Any thread. */
void raft_worker_push(struct raft_worker *worker, struct raft_job *job);

#endif
