/* consensus/driver/reads.c
 *
 * Reads that wait: for a round of the core, then for the applied index. In: a queue that any thread
 * fills, whose whole content shares one round. Out: done by whoever gets the applied index far
 * enough.
 */
#include "consensus/driver/driver_int.h"

/* Reads that share one round of the core. */
struct read_batch {
    struct read_batch *next;
    uint64_t cookie;
    struct raft_read *reads;
};

/* True: queued until applied >= index. False: it is already. */
static bool wait_for(struct raft_driver *driver, struct raft_read *read, uint64_t index)
{
    read->index = index;
    pthread_mutex_lock(&driver->wait_lock);
    bool wait = atomic_load(&driver->applied) < index;
    if (wait) {
        struct raft_read **at = &driver->waiting;
        if (driver->waiting_last != NULL && driver->waiting_last->index <= index) {
            at = &driver->waiting_last->next;
        }
        while (*at != NULL && (*at)->index <= index) {
            at = &(*at)->next;
        }
        read->next = *at;
        *at = read;
        if (read->next == NULL) {
            driver->waiting_last = read;
        }
    }
    pthread_mutex_unlock(&driver->wait_lock);
    return wait;
}

void reads_applied(struct raft_driver *driver, uint64_t index)
{
    pthread_mutex_lock(&driver->wait_lock);
    struct raft_read *ready = driver->waiting, *last = NULL;
    while (driver->waiting != NULL && driver->waiting->index <= index) {
        last = driver->waiting;
        driver->waiting = last->next;
    }
    if (last != NULL) {
        last->next = NULL;
    }
    if (driver->waiting == NULL) {
        driver->waiting_last = NULL;
    }
    pthread_mutex_unlock(&driver->wait_lock);
    while (last != NULL && ready != NULL) {
        struct raft_read *next = ready->next;
        ready->done(ready, CF_OK, index);
        ready = next;
    }
}

static void fail_reads(struct raft_read *reads, cf_status status)
{
    while (reads != NULL) {
        struct raft_read *next = reads->next;
        reads->done(reads, status, 0);
        reads = next;
    }
}

void reads_result(struct raft_driver *driver, const struct raft_read_result *result)
{
    struct read_batch **at = &driver->read_batches;
    while (*at != NULL && (*at)->cookie != result->cookie) {
        at = &(*at)->next;
    }
    struct read_batch *batch = *at;
    if (batch == NULL) {
        return;
    }
    *at = batch->next;
    struct raft_read *read = batch->reads;
    cf_free(batch);
    if (result->status != CF_OK) {
        fail_reads(read, result->status);
        return;
    }
    while (read != NULL) {
        struct raft_read *next = read->next;
        if (!wait_for(driver, read, result->index)) {
            read->done(read, CF_OK, atomic_load(&driver->applied));
        }
        read = next;
    }
}

/* All reads that came since the last wake share one round. */
static void take_reads(struct raft_driver *driver, bool from_task)
{
    pthread_mutex_lock(&driver->read_lock);
    driver->read_posted = driver->read_posted && !from_task;
    struct raft_read *reads = driver->reads, *answers = driver->answers;
    driver->reads = driver->answers = NULL;
    driver->reads_tail = &driver->reads;
    driver->answers_tail = &driver->answers;
    pthread_mutex_unlock(&driver->read_lock);
    while (answers != NULL) {
        struct raft_read *next = answers->next;
        cf_status status = driver->stopping && atomic_load(&driver->applied) < answers->index
                               ? CF_UNAVAILABLE
                               : CF_OK;
        answers->done(answers, status, atomic_load(&driver->applied));
        answers = next;
    }
    if (reads == NULL) {
        return;
    }
    if (driver->stopping || driver->digest.is_diverged) {
        fail_reads(reads, CF_UNAVAILABLE);
        return;
    }
    cf_status status = raft_read(driver->raft, loop_now_us(), ++driver->read_cookie, NULL);
    if (status != CF_OK) {
        fail_reads(reads, status == CF_NOT_LEADER ? CF_UNAVAILABLE : status);
        return;
    }
    struct read_batch *batch = cf_new(struct read_batch);
    batch->cookie = driver->read_cookie;
    batch->reads = reads;
    batch->next = driver->read_batches;
    driver->read_batches = batch;
    driver_pump(driver);
}

static void on_reads(void *arg)
{
    take_reads(arg, true);
}

/* Puts a read on one of the two lists of the loop. */
static void post_read(struct raft_driver *driver, struct raft_read *read, bool answer)
{
    read->next = NULL;
    pthread_mutex_lock(&driver->read_lock);
    struct raft_read ***tail = answer ? &driver->answers_tail : &driver->reads_tail;
    **tail = read;
    *tail = &read->next;
    if (!driver->read_posted) {
        driver->read_posted = true;
        loop_post_task(driver->loop, &driver->read_task);
    }
    pthread_mutex_unlock(&driver->read_lock);
}

void raft_driver_read_index(struct raft_driver *driver, struct raft_read *read)
{
    read->index = 0;
    post_read(driver, read, false);
}

bool raft_driver_read_ready_now(const struct raft_driver *driver)
{
    return atomic_load(&driver->read_now);
}

void raft_driver_wait_applied(struct raft_driver *driver, struct raft_read *read, uint64_t index)
{
    if (atomic_load(&driver->closed) || !wait_for(driver, read, index)) {
        read->index = index;
        post_read(driver, read, true); /* never from inside the call */
    }
}

/* ---- start and end */

void reads_init(struct raft_driver *driver)
{
    pthread_mutex_init(&driver->read_lock, NULL);
    pthread_mutex_init(&driver->wait_lock, NULL);
    driver->reads_tail = &driver->reads;
    driver->answers_tail = &driver->answers;
    driver->read_task = (struct loop_task){.fn = on_reads, .arg = driver};
}

void reads_fail_all(struct raft_driver *driver)
{
    struct raft_read *waiting = driver->waiting;
    driver->waiting = driver->waiting_last = NULL;
    fail_reads(waiting, CF_UNAVAILABLE);
    while (driver->read_batches != NULL) {
        struct read_batch *batch = driver->read_batches;
        driver->read_batches = batch->next;
        fail_reads(batch->reads, CF_UNAVAILABLE);
        cf_free(batch);
    }
    take_reads(driver, false); /* the task may still stand in the loop's queue */
}

void reads_done(struct raft_driver *driver)
{
    pthread_mutex_destroy(&driver->read_lock);
    pthread_mutex_destroy(&driver->wait_lock);
}
