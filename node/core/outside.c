/* node/core/outside.c: answers of other servers, kept for a while. */
#include "node/core/outside.h"

#include <pthread.h>
#include <stdio.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/core/core_int.h"

#define THREADS 4
#define ENTRIES_MAX ((size_t)256)
#define BYTES_MAX ((size_t)16 * 1024 * 1024)

struct entry {
    struct cf_buf key, answer;
    bool has_answer;
    uint64_t used, fetched_us, failed_us; /* failed_us 0: the last try went well */
    char why[200];
};

struct outside {
    pthread_mutex_t lock;
    struct work_pool *pool; /* made with the first question */
    struct entry entries[ENTRIES_MAX];
    size_t count, bytes;
    uint64_t uses;
    bool is_stopped;
};

struct question {
    struct core *core;
    const struct outside_ask *ask;
    void (*done)(void *arg);
    void *arg;
};

struct outside *outside_new(void)
{
    struct outside *outside = cf_new(struct outside);
    pthread_mutex_init(&outside->lock, NULL);
    return outside;
}

void outside_stop(struct outside *outside)
{
    pthread_mutex_lock(&outside->lock);
    struct work_pool *pool = outside->pool;
    outside->is_stopped = true;
    pthread_mutex_unlock(&outside->lock);
    if (pool != NULL) {
        work_pool_stop(pool);
    }
}

void outside_free(struct outside *outside)
{
    if (outside == NULL) {
        return;
    }
    outside_stop(outside);
    work_pool_free(outside->pool);
    for (size_t i = 0; i < outside->count; i++) {
        cf_buf_done(&outside->entries[i].key);
        cf_buf_done(&outside->entries[i].answer);
    }
    pthread_mutex_destroy(&outside->lock);
    cf_free(outside);
}

static uint64_t now_us(const struct core *core)
{
    return cf_monotonic_us(core->host.clock != NULL ? core->host.clock : cf_host_clock());
}

/* ---- entries; locked ---- */

static void add_key(struct cf_buf *key, const struct outside_ask *ask)
{
    cf_buf_add_slice(key, ask->url);
    cf_buf_add_byte(key, 0);
    cf_buf_add_slice(key, ask->body);
}

static struct entry *find(struct outside *outside, struct cf_slice key)
{
    for (size_t i = 0; i < outside->count; i++) {
        if (cf_slice_eq(cf_buf_slice(&outside->entries[i].key), key)) {
            outside->entries[i].used = ++outside->uses;
            return &outside->entries[i];
        }
    }
    return NULL;
}

static void empty(struct outside *outside, struct entry *entry)
{
    outside->bytes -= entry->answer.size;
    cf_buf_done(&entry->key);
    cf_buf_done(&entry->answer);
    *entry = outside->entries[--outside->count];
    outside->entries[outside->count] = (struct entry){0};
}

static void make_room(struct outside *outside, size_t bytes)
{
    while (outside->count != 0 && (outside->count == ENTRIES_MAX || outside->bytes + bytes > BYTES_MAX)) {
        struct entry *oldest = &outside->entries[0];
        for (size_t i = 1; i < outside->count; i++) {
            oldest = outside->entries[i].used < oldest->used ? &outside->entries[i] : oldest;
        }
        empty(outside, oldest);
    }
}

static void take_answer(struct outside *outside, struct cf_slice key, const struct cf_buf *answer, uint64_t now)
{
    struct entry *entry = find(outside, key);
    if (entry != NULL) {
        empty(outside, entry);
    }
    make_room(outside, answer->size);
    entry = &outside->entries[outside->count++];
    *entry = (struct entry){.has_answer = true, .used = ++outside->uses, .fetched_us = now};
    cf_buf_add_slice(&entry->key, key);
    cf_buf_add_slice(&entry->answer, cf_buf_slice(answer));
    outside->bytes += answer->size;
}

static void take_failure(struct outside *outside, struct cf_slice key, const struct cf_error *err, uint64_t now)
{
    struct entry *entry = find(outside, key);
    if (entry == NULL) {
        make_room(outside, 0);
        entry = &outside->entries[outside->count++];
        *entry = (struct entry){.used = ++outside->uses};
        cf_buf_add_slice(&entry->key, key);
    }
    entry->failed_us = now;
    (void)snprintf(entry->why, sizeof(entry->why), "%.199s", err->message);
}

/* ---- asking ---- */

static void ask_now(void *arg)
{
    struct question *question = arg;
    struct core *core = question->core;
    struct cf_error err = {0};
    CF_BUF(key) = {0};
    CF_BUF(answer) = {.max = question->ask->answer_max};
    add_key(&key, question->ask);
    cf_status status =
        core->host.fetch != NULL
            ? core->host.fetch(core->host.context, question->ask, OUTSIDE_TIMEOUT_MS, &answer, &err)
            : cf_fail(&err, CF_UNAVAILABLE, "this node asks no other servers");
    if (status == CF_OK && question->ask->check != NULL) {
        status = question->ask->check(cf_buf_slice(&answer), &err);
    }
    pthread_mutex_lock(&core->outside->lock);
    if (status == CF_OK) {
        take_answer(core->outside, cf_buf_slice(&key), &answer, now_us(core));
    } else {
        take_failure(core->outside, cf_buf_slice(&key), &err, now_us(core));
    }
    pthread_mutex_unlock(&core->outside->lock);
    void (*done)(void *) = question->done;
    void *done_arg = question->arg;
    cf_free(question);
    done(done_arg);
}

bool outside_start(struct core *core, const struct outside_ask *ask, void (*done)(void *arg), void *arg)
{
    struct outside *outside = core->outside;
    struct question *question = cf_new(struct question);
    *question = (struct question){core, ask, done, arg};
    pthread_mutex_lock(&outside->lock);
    if (outside->pool == NULL && !outside->is_stopped) {
        outside->pool = work_pool_new(THREADS);
    }
    bool is_queued = !outside->is_stopped && work_pool_add(outside->pool, ask_now, question);
    pthread_mutex_unlock(&outside->lock);
    if (!is_queued) {
        cf_free(question);
    }
    return is_queued;
}

static void note_ask(struct request *rq, const struct outside_ask *ask)
{
    struct outside_ask *copy = arena_new_object(rq->arena, struct outside_ask);
    *copy = *ask;
    copy->url = arena_copy(rq->arena, ask->url);
    copy->body = arena_copy(rq->arena, ask->body);
    rq->ask = copy;
}

cf_status outside_get(struct request *rq, const struct outside_ask *ask, uint64_t max_age_us, struct cf_slice *ret,
                      struct cf_error *err)
{
    struct outside *outside = rq->core->outside;
    uint64_t now = now_us(rq->core);
    cf_status status = CF_BUSY;
    CF_BUF(key) = {0};
    add_key(&key, ask);
    rq->outside_since_us = rq->outside_since_us != 0 ? rq->outside_since_us : now;
    pthread_mutex_lock(&outside->lock);
    struct entry *entry = find(outside, cf_buf_slice(&key));
    if (entry != NULL && entry->has_answer &&
        (now - entry->fetched_us <= max_age_us || entry->fetched_us >= rq->outside_since_us)) {
        *ret = arena_copy(rq->arena, cf_buf_slice(&entry->answer));
        status = CF_OK;
    } else if (entry != NULL && entry->failed_us != 0 &&
               ((max_age_us != 0 && now - entry->failed_us < OUTSIDE_FAILED_US) || entry->failed_us >= rq->outside_since_us)) {
        status = cf_fail(err, CF_UNAVAILABLE, "%s", entry->why);
    }
    pthread_mutex_unlock(&outside->lock);
    if (status == CF_BUSY) {
        note_ask(rq, ask);
        return cf_fail(err, CF_BUSY, "another server is asked first");
    }
    return status;
}
