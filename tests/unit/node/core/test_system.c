/* tests/unit/node/core/test_system.c: work of the node itself, on the worker threads. */
#include "node/core/system.h"

#include <stdatomic.h>

#include "bench.h"
#include "node/base/memory.h"
#include "tests/lib/test.h"

static struct bench *b;

static void tear_down(void)
{
    bench_free(b);
    b = NULL;
}

static void set_up(void)
{
    tear_down();
    b = bench_new();
}

/* A counter under config/x; what its last run saw and how it ended. */
struct job {
    _Atomic unsigned runs;
    _Atomic bool ran, is_done;
    cf_status fails;
    bool only_reads;
    cf_status status;
    uint64_t index;
    char message[256];
};

#define COUNTER ((struct key){CLASS_CLUSTER, 0, CF_SLICE("config/x")})

static cf_status count(struct request *rq, void *context, struct cf_error *err)
{
    struct job *job = context;
    struct cf_slice value = CF_SLICE_EMPTY;
    job->runs++;
    cf_status status = txn_get(rq->txn, COUNTER, &value, err);
    ck_assert(status == CF_OK || status == CF_NOT_FOUND);
    if (!job->only_reads) {
        CF_BUF(longer) = {0};
        cf_buf_add_slice(&longer, value);
        cf_buf_add_byte(&longer, 'x');
        txn_put(rq->txn, COUNTER, cf_buf_slice(&longer));
    }
    job->ran = true;
    return job->fails != CF_OK ? cf_fail(err, job->fails, "the job says no") : CF_OK;
}

static void done(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct job *job = context;
    job->status = status;
    job->index = index;
    snprintf(job->message, sizeof(job->message), "%s", status != CF_OK ? err->message : "");
    job->is_done = true;
}

static void submit(struct job *job)
{
    struct system_work work = {count, done, job};
    system_submit(b->core, &work);
}

static size_t counted(void)
{
    CF_OWNED(arena) arena = arena_new(1024);
    struct view *view = core_view(b->core);
    struct cf_slice value = CF_SLICE_EMPTY;
    cf_status status = view_get(view, COUNTER, arena, &value, NULL, NULL);
    ck_assert(status == CF_OK || status == CF_NOT_FOUND);
    view_unref(view);
    return value.size;
}

START_TEST(one_run_one_entry)
{
    struct job job = {0};
    set_up();
    uint64_t before = b->appended;
    submit(&job);
    bench_wait(&job.is_done);
    ck_assert_int_eq(job.status, CF_OK);
    ck_assert_uint_eq(job.index, before + 1);
    ck_assert_uint_eq(b->appended, before + 1);
    ck_assert_uint_eq(job.runs, 1);
    ck_assert_uint_eq(counted(), 1);
}
END_TEST

START_TEST(nothing_written)
{
    struct job job = {.only_reads = true}, failing = {.fails = CF_EXISTS};
    set_up();
    uint64_t before = b->appended;
    submit(&job);
    bench_wait(&job.is_done);
    ck_assert_int_eq(job.status, CF_OK);
    ck_assert_uint_eq(job.index, 0);
    submit(&failing);
    bench_wait(&failing.is_done);
    ck_assert_int_eq(failing.status, CF_EXISTS);
    ck_assert_str_eq(failing.message, "the job says no");
    ck_assert_uint_eq(failing.index, 0);
    ck_assert_uint_eq(b->appended, before);
    ck_assert_uint_eq(counted(), 0);
}
END_TEST

START_TEST(refusals_arrive)
{
    static const cf_status refusals[] = {CF_NOT_LEADER, CF_NO_SPACE, CF_UNKNOWN_OUTCOME};
    set_up();
    for (size_t i = 0; i < CF_LENGTH(refusals); i++) {
        struct job job = {0};
        b->refusal = refusals[i];
        submit(&job);
        bench_wait(&job.is_done);
        ck_assert_int_eq(job.status, refusals[i]);
        ck_assert_str_eq(job.message, cf_status_text(refusals[i]));
    }
    b->refusal = CF_OK;
    struct job job = {0};
    core_sealed(b->core);
    submit(&job);
    bench_wait(&job.is_done);
    ck_assert_int_eq(job.status, CF_SEALED);
    ck_assert_uint_eq(job.runs, 0);
}
END_TEST

START_TEST(a_loser_runs_again)
{
    struct job first = {0}, second = {0};
    set_up();
    b->holds = true;
    submit(&first);
    bench_wait_held(b, 1);
    submit(&second);
    bench_wait_held(b, 2);
    b->holds = false;
    bench_release(b, 0);
    bench_release(b, 0);
    bench_wait(&first.is_done);
    bench_wait(&second.is_done);
    ck_assert_int_eq(first.status, CF_OK);
    ck_assert_int_eq(second.status, CF_OK);
    ck_assert_uint_eq(first.runs + second.runs, 3);
    ck_assert_uint_eq(counted(), 2);
}
END_TEST

/* A job meets the ticket of an older one: it waits for its end and does not spin meanwhile; the job
 * that comes after both waits for it in turn. */
START_TEST(tickets)
{
    struct job winner = {0}, old = {0}, young = {0};
    set_up();
    b->holds = true;
    submit(&old);
    bench_wait_held(b, 1);
    submit(&winner);
    bench_wait_held(b, 2);
    bench_release(b, 1);
    bench_wait(&winner.is_done);
    old.ran = false;
    bench_release(b, 0); /* loses, has a ticket now, is held again */
    bench_wait(&old.ran);
    bench_wait_held(b, 1);
    b->holds = false;
    submit(&young);
    unsigned conflicts = 0;
    for (int i = 0; i < 3000 && conflicts < 2; i++) {
        pthread_mutex_lock(&b->lock);
        conflicts = b->conflicts;
        pthread_mutex_unlock(&b->lock);
        struct timespec pause = {0, 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    ck_assert(!young.is_done);
    ck_assert_uint_eq(young.runs, 1);
    bench_release(b, 0);
    bench_wait(&old.is_done);
    bench_wait(&young.is_done);
    ck_assert_int_eq(old.status, CF_OK);
    ck_assert_int_eq(young.status, CF_OK);
    ck_assert_uint_eq(old.runs, 2);
    ck_assert_uint_le(young.runs,
                      3); /* the ticket ends at the append, the entry is applied later */
    ck_assert_uint_eq(counted(), 3);
}
END_TEST

START_TEST(many_at_once)
{
    static struct job jobs[100];
    memset(jobs, 0, sizeof(jobs));
    set_up();
    for (size_t i = 0; i < CF_LENGTH(jobs); i++) {
        submit(&jobs[i]);
    }
    for (size_t i = 0; i < CF_LENGTH(jobs); i++) {
        bench_wait(&jobs[i].is_done);
        ck_assert_int_eq(jobs[i].status, CF_OK);
    }
    ck_assert_uint_eq(counted(), 100);
}
END_TEST

/* A stopped core has answered everyone, and what comes later is answered by its caller's own thread: an
 * owner that frees the receivers next hears nothing more. */
START_TEST(stopping_answers_all)
{
    static struct job jobs[100];
    struct job late = {.only_reads = true};
    memset(jobs, 0, sizeof(jobs));
    set_up();
    for (size_t i = 0; i < CF_LENGTH(jobs); i++) {
        jobs[i].only_reads = true;
        submit(&jobs[i]);
    }
    core_stop(b->core);
    for (size_t i = 0; i < CF_LENGTH(jobs); i++) {
        ck_assert(jobs[i].is_done);
        ck_assert_int_eq(jobs[i].status, CF_OK);
    }
    submit(&late);
    ck_assert(late.is_done);
    core_stop(b->core);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {one_run_one_entry,  nothing_written, refusals_arrive,
                                  a_loser_runs_again, tickets,         many_at_once,
                                  stopping_answers_all};
    int failed = test_run("node/core/system", tests, CF_LENGTH(tests));
    tear_down();
    return failed;
}
