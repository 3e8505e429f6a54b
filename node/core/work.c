/* node/core/work.c: the small pool of threads for whatever is slow. */
#include <pthread.h>

#include "node/base/list.h"
#include "node/base/memory.h"
#include "node/core/core_int.h"

/* Slow work is 50 ms and more apiece: a longer queue would only hide an overload. */
#define QUEUE_MAX ((size_t)256)

struct work {
    struct cf_list link;
    void (*run)(void *);
    void *arg;
};

struct work_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct cf_list queue;
    size_t queued;
    bool stopping;
    unsigned count;
    pthread_t *threads;
};

static void *work_main(void *arg)
{
    struct work_pool *pool = arg;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping || !cf_list_empty(&pool->queue)) {
        if (cf_list_empty(&pool->queue)) {
            pthread_cond_wait(&pool->wake, &pool->lock);
            continue;
        }
        struct work *work = cf_container(pool->queue.next, struct work, link);
        cf_list_remove(&work->link);
        pool->queued--;
        pthread_mutex_unlock(&pool->lock);
        work->run(work->arg);
        cf_free(work);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

struct work_pool *work_pool_new(unsigned threads)
{
    struct work_pool *pool = cf_new(struct work_pool);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    cf_list_init(&pool->queue);
    pool->threads = cf_array(threads, sizeof(pthread_t));
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&pool->threads[pool->count], NULL, work_main, pool) == 0) {
            pool->count++;
        }
    }
    return pool;
}

void work_pool_stop(struct work_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->count; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pool->count = 0;
}

void work_pool_free(struct work_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    work_pool_stop(pool);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    cf_free(pool->threads);
    cf_free(pool);
}

bool work_pool_add(struct work_pool *pool, void (*run)(void *), void *arg)
{
    pthread_mutex_lock(&pool->lock);
    bool room = pool->queued < QUEUE_MAX && pool->count != 0;
    if (room) {
        struct work *work = cf_new(struct work);
        work->run = run;
        work->arg = arg;
        cf_list_add_tail(&pool->queue, &work->link);
        pool->queued++;
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
    return room;
}

void core_work(struct core *core, void (*run)(void *), void *arg)
{
    if (!work_pool_add(core->pool, run, arg)) {
        run(arg);
    }
}
