/* node/server/snapshot/save.c: GET sys/storage/raft/snapshot.
 *
 * Any unsealed node answers, from a view that shows everything acknowledged before the request. A thread
 * of its own walks the view; the reactor sends what it made, piece by piece, so that memory is bounded
 * and a slow client slows its own download alone. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/server/snapshot/snapshot.h"

#define SAVES_MAX 4 /* on one node at once */
#define PIECE ((size_t)256 << 10)

struct save {
    struct node *node;
    struct http_exchange *x;
    struct view *view;
    char size[24]; /* of the archive, roughly, in digits: ciphertext does not compress */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    struct cf_buf piece; /* on its way to the client */
    bool is_busy, is_gone, has_failed;
};

static void save_free(struct save *save)
{
    struct snapshots *snapshots = save->node->snapshots;
    view_unref(save->view);
    cf_buf_done(&save->piece);
    pthread_mutex_destroy(&save->lock);
    pthread_cond_destroy(&save->wake);
    cf_free(save);
    snapshots_leave(snapshots);
}

/* ---- the reactor's side ---- */

static void ready(struct save *save, bool gone)
{
    pthread_mutex_lock(&save->lock);
    save->is_busy = false;
    save->is_gone = save->is_gone || gone;
    pthread_cond_signal(&save->wake);
    pthread_mutex_unlock(&save->lock);
}

static void on_room(struct http_exchange *x, void *arg)
{
    (void)x;
    ready(arg, false);
}

static void on_gone(struct http_exchange *x, void *arg)
{
    (void)x;
    ready(arg, true);
}

static const struct http_stream_ops stream_ops = {on_room, on_gone};

static void send_piece(struct http_exchange *x, void *arg)
{
    struct save *save = arg;
    bool has_room = http_stream_write(x, cf_buf_slice(&save->piece));
    cf_buf_reset(&save->piece);
    if (has_room || http_is_gone(x)) {
        ready(save, http_is_gone(x));
    }
}

static void end_stream(struct http_exchange *x, void *arg)
{
    struct save *save = arg;
    bool is_whole = !save->has_failed;
    save_free(save);
    http_stream_end(x, is_whole); /* cut short it has no last chunk: the client sees that */
}

/* ---- the thread ---- */

/* Waits until the piece before has left. */
static cf_status wait_idle(struct save *save, struct cf_error *err)
{
    pthread_mutex_lock(&save->lock);
    while (save->is_busy) {
        pthread_cond_wait(&save->wake, &save->lock);
    }
    bool gone = save->is_gone || snapshots_stopping(save->node->snapshots);
    pthread_mutex_unlock(&save->lock);
    return gone ? cf_fail(err, CF_UNAVAILABLE, "the client has gone") : CF_OK;
}

static void hand_over(struct save *save)
{
    pthread_mutex_lock(&save->lock);
    save->is_busy = true;
    pthread_mutex_unlock(&save->lock);
    http_exchange_post(save->x, send_piece, save);
}

static cf_status take_bytes(void *context, struct cf_slice bytes, struct cf_error *err)
{
    struct save *save = context;
    CF_TRY(wait_idle(save, err));
    cf_buf_add_slice(&save->piece, bytes);
    if (save->piece.size >= PIECE) {
        hand_over(save);
    }
    return CF_OK;
}

static void *run(void *arg)
{
    struct save *save = arg;
    struct snapshot_info info;
    struct cf_error err = {0};
    struct gzip_sink sink = {take_bytes, save};
    cf_status status = snapshot_write(save->node, save->view, &sink, &info, &err);
    if (status == CF_OK) {
        status = wait_idle(save, &err);
    }
    if (status == CF_OK && save->piece.size != 0) {
        hand_over(save);
        status = wait_idle(save, &err);
    }
    if (status == CF_OK) {
        cf_info("snapshot", "state at entry %llu given out: %llu records, %llu bytes",
                (unsigned long long)info.index, (unsigned long long)info.records,
                (unsigned long long)info.bytes);
    } else {
        cf_warn("snapshot", "a snapshot was not given out whole: %s %s", err.message, err.detail);
        cf_ignore(wait_idle(save, NULL), "the last piece only has to have left");
    }
    save->has_failed = status != CF_OK;
    http_exchange_post(save->x, end_stream, save);
    return NULL;
}

/* The frame is through with the request: audited, and the answer is ours to give. */
static void begin(struct request *rq)
{
    struct http_exchange *x = rq->transport;
    struct save *save = rq->response_context;
    pthread_t thread;
    if (rq->error.status != CF_OK || save == NULL) {
        if (save != NULL) {
            save_free(save);
        }
        api_answer(x, rq);
        return;
    }
    struct http_headers_out headers = {.content_type = "application/gzip"};
    if (save->size[0] != '\0') {
        http_add_header(x, CF_SLICE("X-Coffer-Approximate-Size"), cf_slice_str(save->size));
    }
    http_stream_begin(x, 200, &headers, &stream_ops, save);
    if (pthread_create(&thread, NULL, run, save) != 0) {
        save->has_failed = true;
        end_stream(x, save);
        return;
    }
    pthread_detach(thread); /* snapshots_stop waits for it by count */
}

static void prepare(void *arg)
{
    struct request *rq = arg;
    struct node *node = core_host_context(rq->core);
    struct view *view = snapshot_fresh_view(node, &rq->error);
    if (view == NULL) {
        snapshots_leave(node->snapshots);
        core_host_done(rq, rq->error.status);
        return;
    }
    struct save *save = cf_new(struct save);
    save->node = node;
    save->x = rq->transport;
    save->view = view;
    uint64_t size = kv_approximate_size(view->state, CF_SLICE_EMPTY, CF_SLICE_EMPTY);
    if (size != 0) { /* else all of it is in memory */
        (void)snprintf(save->size, sizeof(save->size), "%llu", (unsigned long long)size);
    }
    pthread_mutex_init(&save->lock, NULL);
    pthread_cond_init(&save->wake, NULL);
    rq->response_context = save;
    core_host_done(rq, CF_OK);
}

cf_status snapshot_handle_save(struct request *rq, struct cf_error *err)
{
    struct node *node = core_host_context(rq->core);
    if (rq->is_forwarded) {
        return cf_fail(err, CF_INVALID, "a snapshot is not forwarded: ask the node itself");
    }
    if (!snapshots_enter(node->snapshots, SAVES_MAX)) {
        return cf_fail(err, CF_BUSY, "too many snapshots are under way on this node: try again");
    }
    rq->done = begin;
    rq->response.raw = CF_SLICE("gzip"); /* for the frame: there is content */
    rq->response.content_type = "application/gzip";
    core_work(rq->core, prepare, rq);
    return CF_OK;
}
