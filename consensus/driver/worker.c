/* consensus/driver/worker.c: one thread, one queue, one way back to the loop. */
#include "consensus/driver/worker.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/cluster/loop.h"

struct queue {
    struct raft_job *head, **tail;
};

struct raft_worker {
    struct loop *loop;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct queue waiting, finished;
    bool stop, posted;
    struct loop_task task;
};

static void put(struct queue *queue, struct raft_job *job)
{
    job->next = NULL;
    *queue->tail = job;
    queue->tail = &job->next;
}

static struct raft_job *take_all(struct queue *queue)
{
    struct raft_job *jobs = queue->head;
    queue->head = NULL;
    queue->tail = &queue->head;
    return jobs;
}

/* Loop: what finished since the last wake. */
static void deliver(void *arg)
{
    struct raft_worker *worker = arg;
    pthread_mutex_lock(&worker->lock);
    worker->posted = false;
    struct raft_job *job = take_all(&worker->finished);
    pthread_mutex_unlock(&worker->lock);
    while (job != NULL) {
        struct raft_job *next = job->next;
        job->done(job);
        job = next;
    }
}

static void *work(void *arg)
{
    struct raft_worker *worker = arg;
    pthread_mutex_lock(&worker->lock);
    for (;;) {
        struct raft_job *job = worker->waiting.head;
        if (job == NULL) {
            if (worker->stop) {
                break;
            }
            pthread_cond_wait(&worker->wake, &worker->lock);
            continue;
        }
        worker->waiting.head = job->next;
        if (job->next == NULL) {
            worker->waiting.tail = &worker->waiting.head;
        }
        pthread_mutex_unlock(&worker->lock);
        job->run(job);
        pthread_mutex_lock(&worker->lock);
        put(&worker->finished, job);
        if (!worker->posted && !worker->stop) {
            worker->posted = true;
            loop_post_task(worker->loop, &worker->task);
        }
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

void raft_thread_start(pthread_t *thread, void *(*main)(void *arg), void *arg, const char *name)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, main, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        cf_err("raft", "can't start a thread: raise the limit of tasks of this service");
        abort();
    }
    pthread_setname_np(*thread, name);
}

struct raft_worker *raft_worker_new(struct loop *loop, const char *name)
{
    struct raft_worker *worker = cf_new(struct raft_worker);
    worker->loop = loop;
    worker->waiting.tail = &worker->waiting.head;
    worker->finished.tail = &worker->finished.head;
    worker->task = (struct loop_task){.fn = deliver, .arg = worker};
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->wake, NULL);
    raft_thread_start(&worker->thread, work, worker, name);
    return worker;
}

static void free_memory(void *arg)
{
    struct raft_worker *worker = arg;
    pthread_mutex_destroy(&worker->lock);
    pthread_cond_destroy(&worker->wake);
    cf_free(worker);
}

void raft_worker_free(struct raft_worker *worker)
{
    if (worker == NULL) {
        return;
    }
    pthread_mutex_lock(&worker->lock);
    worker->stop = true;
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->lock);
    pthread_join(worker->thread, NULL);
    deliver(worker);
    loop_post(worker->loop, free_memory, worker);
}

void raft_worker_push(struct raft_worker *worker, struct raft_job *job)
{
    pthread_mutex_lock(&worker->lock);
    bool idle = worker->waiting.head == NULL;
    put(&worker->waiting, job);
    if (idle) {
        pthread_cond_signal(&worker->wake);
    }
    pthread_mutex_unlock(&worker->lock);
}
