/* node/cluster/rpc_link.c: one connection: frames in and out, its end. */
#include <assert.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/cluster/rpc_int.h"

static void on_task(void *arg);

struct rpc_link *rpc_link_new(struct rpc *rpc)
{
    struct rpc_link *link = cf_new(struct rpc_link);
    link->rpc = rpc;
    link->by_call = cf_map_new();
    link->queue_max = RPC_QUEUE_MAX_DEFAULT;
    link->low = FRAME_HEADER_SIZE;
    link->dead_us = RPC_DEAD_US;
    link->heard_us = loop_now_us();
    link->task = (struct loop_task){.fn = on_task, .arg = link};
    cf_list_init(&link->pending);
    cf_list_init(&link->incoming);
    cf_list_add_tail(&rpc->links, &link->in_rpc);
    return link;
}

static void release(struct rpc_link *link)
{
    if (link->state == LINK_CLOSED && link->busy == 0 && !link->task_queued) {
        stream_free(link->stream);
        if (link->serving != NULL) {
            rpc_serving_unref(link->serving);
        }
        cf_map_free(link->by_call);
        cf_free(link);
    }
}

static void count_end(struct rpc_link *link)
{
    if (!link->dialled) {
        link->rpc->accepted--;
    }
    if (link->counted_opening) {
        link->rpc->opening--;
        link->counted_opening = false;
    }
}

void rpc_link_end(struct rpc_link *link, const struct cf_error *why)
{
    if (link->state == LINK_CLOSED) {
        return;
    }
    bool was_up = link->state == LINK_UP;
    struct rpc_client *client = link->client;
    link->busy++;
    link->state = LINK_CLOSED;
    cf_list_remove(&link->in_rpc);
    count_end(link);
    rpc_calls_lost(link, why);
    if (was_up && !link->dialled && link->serving->is.down != NULL) {
        link->serving->is.down(link->serving->is.ctx, link, why);
    } else if (!was_up && !link->dialled) {
        link->rpc->counters.refused++;
        rpc_log_refusal(link->rpc, link->peer.address, "connection refused", why);
    } else if (client != NULL && link->client != NULL) {
        link->client = NULL;
        rpc_client_link_ended(client, link, was_up, why);
    }
    link->busy--;
    release(link);
}

static void on_task(void *arg)
{
    struct rpc_link *link = arg;
    link->task_queued = false;
    if (link->state == LINK_CLOSED) {
        release(link);
        return;
    }
    struct cf_error why = link->why;
    rpc_link_end(link, &why);
}

void rpc_link_abort(struct rpc_link *link, const struct cf_error *why)
{
    if (link->state == LINK_CLOSED || link->closing) {
        return;
    }
    link->closing = true;
    link->why = *why;
    stream_pause(link->stream, true);
    link->task_queued = true;
    loop_post_task(link->rpc->loop, &link->task);
}

void rpc_link_close(struct rpc_link *link, const char *why)
{
    struct cf_error err = {0};
    (void)cf_fail(&err, CF_UNAVAILABLE, "connection closed: %s", why);
    rpc_link_abort(link, &err);
}

void rpc_link_write(struct rpc_link *link, const struct frame *frame, struct cf_slice payload)
{
    uint8_t header[FRAME_HEADER_SIZE];
    struct frame full = *frame;
    if (link->state == LINK_CLOSED) {
        return;
    }
    full.level = (uint8_t)link->peer.level;
    frame_write(&full, payload.size, header);
    stream_write(link->stream, cf_slice_of(header, sizeof(header)));
    stream_write(link->stream, payload);
    link->written += sizeof(header) + payload.size;
    link->rpc->counters.frames_out++;
    link->rpc->counters.bytes_out += sizeof(header) + payload.size;
    /* Requests and messages are refused long before this; answers can't be, so a peer that asks and
     * doesn't read what it asked for is cut off. */
    if (stream_queued(link->stream) > 4 * link->queue_max + FRAME_SIZE_MAX) {
        rpc_link_close(link, "the peer does not read its answers");
    }
}

void rpc_link_write_error(struct rpc_link *link, uint16_t id, uint64_t call,
                          const struct cf_error *why)
{
    Coffer__Error error = COFFER__ERROR__INIT;
    CF_BUF(payload) = {0};
    error.message = message_bytes(cf_slice_str(why->message));
    error.detail = message_bytes(cf_slice_str(why->detail));
    message_pack(&error.base, &payload);
    struct frame frame = {
        .kind = FRAME_ERROR, .status = (uint16_t)why->status, .rpc = id, .call = call};
    rpc_link_write(link, &frame, cf_buf_slice(&payload));
}

void rpc_link_set_up(struct rpc_link *link)
{
    link->state = LINK_UP;
    link->up_us = loop_now_us();
    stream_deadline(link->stream, 0, NULL);
    stream_write_mark(link->stream, link->queue_max / 4);
    if (link->counted_opening) {
        link->counted_opening = false;
        link->rpc->opening--;
    }
    if (link->dialled) {
        link->rpc->counters.dialled++;
        rpc_client_link_up(link->client, link);
    } else {
        link->rpc->counters.accepted++;
        if (link->serving->is.up != NULL) {
            link->serving->is.up(link->serving->is.ctx, link);
        }
    }
}

static void bad_frame(struct rpc_link *link, const struct cf_error *why)
{
    link->rpc->counters.malformed++;
    if (link->state == LINK_UP) { /* before that, its end is logged as a refusal */
        cf_warn("cluster", "%s: %s; closing", link->peer.address, why->message);
    }
    rpc_link_abort(link, why);
}

static void handle(struct rpc_link *link, const struct frame *frame)
{
    struct cf_error why = {0};
    link->rpc->counters.frames_in++;
    link->rpc->counters.bytes_in += FRAME_HEADER_SIZE + frame->payload.size;
    if (frame->kind == FRAME_RESPONSE || frame->kind == FRAME_ERROR) {
        rpc_calls_answer(link, frame);
    } else if (link->state == LINK_UP && frame->rpc != RPC_HELLO) {
        rpc_calls_incoming(link, frame);
    } else if (link->state == LINK_HELLO && !link->dialled && frame->rpc == RPC_HELLO &&
               frame->kind == FRAME_REQUEST) {
        rpc_hello_request(link, frame);
    } else {
        (void)cf_fail(&why, CF_CORRUPT, "message %u at a time when it is not allowed", frame->rpc);
        bad_frame(link, &why);
    }
}

/* Waits for `size` bytes; a large frame raises both marks for as long as it is on its way. */
static void wait_for(struct rpc_link *link, size_t size)
{
    if (size != link->low) {
        link->low = size;
        stream_read_marks(link->stream, size, cf_max(size, RPC_READ_HIGH));
    }
}

static void on_read(struct stream *stream, void *arg)
{
    struct rpc_link *link = arg;
    struct cf_error why = {0};
    struct frame frame;
    size_t size = FRAME_HEADER_SIZE;
    link->busy++;
    while (link->state != LINK_CLOSED && !link->closing) {
        size_t have = stream_available(stream);
        if (frame_read(stream_peek(stream, FRAME_HEADER_SIZE), &frame, &size, &why) != CF_OK) {
            bad_frame(link, &why);
            break;
        }
        if (link->state != LINK_UP && size > RPC_HELLO_SIZE_MAX) {
            (void)cf_fail(&why, CF_CORRUPT, "frame of %zu bytes before the hello", size);
            bad_frame(link, &why);
            break;
        }
        if (have < size) {
            wait_for(link, size);
            break;
        }
        cf_ignore(frame_read(stream_peek(stream, size), &frame, &size, &why) != CF_OK,
                  "its header was read a moment ago");
        handle(link, &frame);
        stream_consume(stream, size); /* also of a link that ended inside: it is kept until here */
        wait_for(link, FRAME_HEADER_SIZE);
    }
    link->busy--;
    release(link);
}

static void on_open(struct stream *stream, void *arg)
{
    struct rpc_link *link = arg;
    (void)stream;
    link->busy++;
    link->state = LINK_HELLO;
    rpc_hello_opened(link);
    link->busy--;
    release(link);
}

static void on_drained(struct stream *stream, void *arg)
{
    struct rpc_link *link = arg;
    (void)stream;
    link->busy++;
    if (link->state == LINK_UP && !link->closing && link->on_writable != NULL) {
        link->on_writable(link->writable_arg, link);
    }
    link->busy--;
    release(link);
}

static void on_close(struct stream *stream, const struct cf_error *why, void *arg)
{
    struct rpc_link *link = arg;
    struct cf_error reason = link->closing ? link->why : *why;
    (void)stream;
    if (reason.status == CF_OK) {
        (void)cf_fail(&reason, CF_UNAVAILABLE, "connection closed by the peer");
    }
    rpc_link_end(link, &reason);
}

const struct stream_ops *rpc_link_ops(void)
{
    static const struct stream_ops ops = {on_open, on_read, on_drained, on_close};
    return &ops;
}

static cf_status check_room(const struct rpc_link *link, size_t size, struct cf_error *err)
{
    if (link->state != LINK_UP || link->closing) {
        return cf_fail(err, CF_UNAVAILABLE, "the connection is closed");
    }
    if (size > FRAME_PAYLOAD_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "a message of %zu bytes does not fit into a frame", size);
    }
    size_t queued = stream_queued(link->stream);
    if (queued > 0 && queued + size + FRAME_HEADER_SIZE > link->queue_max) {
        return cf_fail(err, CF_BUSY, "%zu bytes wait for %s already", queued, link->peer.address);
    }
    return CF_OK;
}

cf_status rpc_link_call(struct rpc_link *link, enum rpc_id id, struct cf_slice request,
                        uint64_t deadline_us, rpc_done_fn fn, void *arg, struct rpc_pending **ret,
                        struct cf_error *err)
{
    CF_TRY(check_room(link, request.size, err));
    struct rpc_pending *pending =
        rpc_calls_start(link, (uint16_t)id, request, deadline_us, fn, arg);
    if (ret != NULL) {
        *ret = pending;
    }
    return CF_OK;
}

cf_status rpc_link_send(struct rpc_link *link, enum rpc_id id, struct cf_slice message,
                        struct cf_error *err)
{
    CF_TRY(check_room(link, message.size, err));
    struct frame frame = {.kind = FRAME_ONE_WAY, .rpc = (uint16_t)id};
    rpc_link_write(link, &frame, message);
    return CF_OK;
}

const struct rpc_peer *rpc_link_peer(const struct rpc_link *link)
{
    return &link->peer;
}

struct rpc *rpc_link_rpc(const struct rpc_link *link)
{
    return link->rpc;
}

void rpc_link_set_user(struct rpc_link *link, void *user)
{
    link->user = user;
}

void *rpc_link_user(const struct rpc_link *link)
{
    return link->user;
}

size_t rpc_link_queued(const struct rpc_link *link)
{
    return stream_queued(link->stream);
}

size_t rpc_link_queue_max(const struct rpc_link *link)
{
    return link->queue_max;
}

void rpc_link_on_writable(struct rpc_link *link, void (*fn)(void *arg, struct rpc_link *link),
                          void *arg)
{
    link->on_writable = fn;
    link->writable_arg = arg;
}

void rpc_link_window(struct rpc_link *link, size_t bytes)
{
    if (link->state == LINK_UP && !link->closing) {
        stream_window(link->stream, bytes);
    }
}

void rpc_link_pause(struct rpc_link *link, bool paused)
{
    if (link->state != LINK_CLOSED && !link->closing) {
        link->paused = paused;
        link->heard_us = loop_now_us();
        stream_pause(link->stream, paused);
    }
}
