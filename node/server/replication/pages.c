/* node/server/replication/pages.c: the pages of a copy, on the primary: read by a worker, and the next one ahead, while this
 * one is on its way. Main loop but for `read_page`. */
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/base/step.h"
#include "node/crypto/hash.h"
#include "node/server/replication/codec.h"
#include "node/server/replication/repl_int.h"

struct page_job {
    struct node_replication *replication;
    enum repl_kind kind;
    uint64_t snapshot;
    struct view *view;
    struct filter *filter;
    struct cf_buf cursor, until, hash;
    size_t max_bytes;
    /* the answer */
    bool is_read;
    struct repl_page page;
    cf_status status;
    struct cf_error err;
    repl_page_fn fn; /* NULL: nobody has asked yet */
    void *arg;
    bool is_orphan; /* nobody will: the snapshot is closed */
};

static void job_free(struct page_job *job)
{
    view_unref(job->view);
    filter_unref(job->filter);
    cf_buf_done(&job->cursor);
    cf_buf_done(&job->until);
    cf_buf_done(&job->hash);
    cf_buf_done(&job->page.data);
    cf_buf_done(&job->page.next);
    cf_free(job);
}

static void read_next(struct node_replication *replication, const struct page_job *before);

static void deliver(struct page_job *job)
{
    job->fn(job->arg, job->status, &job->page, &job->err);
    job_free(job);
    cf_step("page-sent");
}

static void was_read(void *arg)
{
    struct page_job *job = arg;
    job->is_read = true;
    if (job->is_orphan) {
        job_free(job);
    } else if (job->fn != NULL) {
        read_next(job->replication, job);
        deliver(job);
    }
}

static void read_page(void *arg)
{
    struct page_job *job = arg;
    struct repl_page *page = &job->page;
    uint8_t digest[HASH_SHA256_SIZE];
    job->status = codec_page(job->view, job->kind, job->filter, cf_buf_slice(&job->cursor),
                             cf_buf_slice(&job->until), job->max_bytes, &page->data, &page->next,
                             &page->keys, &page->done, &job->err);
    if (job->status == CF_OK) {
        job->status = cf_buf_check(&page->data, &job->err);
    }
    page->size = page->data.size;
    if (job->status == CF_OK && job->hash.size != 0) {
        hash_sha256(cf_buf_slice(&page->data), digest);
        page->same = cf_slice_eq(cf_buf_slice(&job->hash), cf_slice_of(digest, sizeof(digest)));
        if (page->same) {
            cf_buf_reset(&page->data);
        }
    }
    loop_post(job->replication->node->loop, was_read, job);
}

static struct page_job *start(struct node_replication *replication, enum repl_kind kind,
                              const struct repl_open_snapshot *from,
                              const struct repl_page_query *query, repl_page_fn fn, void *arg)
{
    struct page_job *job = cf_new(struct page_job);
    job->replication = replication;
    job->kind = kind;
    job->snapshot = from->id;
    job->view = view_ref(from->view);
    job->filter = from->filter != NULL ? filter_ref(from->filter) : NULL;
    cf_buf_add_slice(&job->cursor, query->cursor);
    cf_buf_add_slice(&job->until, query->until);
    cf_buf_add_slice(&job->hash, query->hash);
    job->max_bytes = query->max_bytes;
    cf_buf_init(&job->page.data, REPL_PAGE_BYTES_MAX);
    job->fn = fn;
    job->arg = arg;
    core_work(replication->node->core, read_page, job);
    return job;
}

/* Whoever took this page asks for the next one most likely. */
static void read_next(struct node_replication *replication, const struct page_job *before)
{
    struct repl_open_snapshot *snapshot = repl_find_snapshot(replication, before->snapshot);
    bool goes_on = before->status == CF_OK && !before->page.done && before->until.size == 0;
    if (goes_on && snapshot != NULL && snapshot->ahead == NULL) {
        struct repl_page_query query = {.cursor = cf_buf_slice(&before->page.next),
                                        .max_bytes = before->max_bytes};
        snapshot->ahead = start(replication, before->kind, snapshot, &query, NULL, NULL);
    }
}

void repl_pages_close(struct repl_open_snapshot *snapshot)
{
    struct page_job *job = snapshot->ahead;
    snapshot->ahead = NULL;
    if (job != NULL && job->is_read) {
        job_free(job);
    } else if (job != NULL) {
        job->is_orphan = true;
    }
}

static bool is_for(const struct page_job *job, const struct repl_page_query *query)
{
    return query->until.size == 0 && query->hash.size == 0 && job->max_bytes == query->max_bytes &&
           cf_slice_eq(cf_buf_slice(&job->cursor), query->cursor);
}

void repl_read_page(void *ctx, enum repl_kind kind, const struct repl_page_query *query,
                    repl_page_fn fn, void *arg)
{
    struct node_replication *replication = ctx;
    struct repl_open_snapshot *snapshot =
        query->snapshot != 0 ? repl_find_snapshot(replication, query->snapshot) : NULL;
    if (snapshot == NULL || !repl_filter_stands(replication, snapshot->filter)) {
        struct cf_error err = {0};
        struct repl_page none = {0};
        fn(arg, cf_fail(&err, CF_NOT_FOUND, "that copy is gone"), &none, &err);
        return;
    }
    struct page_job *job = snapshot->ahead;
    if (job == NULL || !is_for(job, query)) {
        repl_pages_close(snapshot);
        (void)start(replication, kind, snapshot, query, fn, arg);
        return;
    }
    snapshot->ahead = NULL;
    job->fn = fn;
    job->arg = arg;
    if (job->is_read) {
        read_next(replication, job);
        deliver(job);
    }
}
