/* node/cluster/rpc_calls.c: requests under way, ours and theirs; deadlines. */
#include <assert.h>

#include "node/base/memory.h"
#include "node/cluster/rpc_int.h"

static struct cf_slice call_key(const uint64_t *call)
{
    return cf_slice_of(call, sizeof(*call));
}

static void arm(struct rpc *rpc, uint64_t deadline_us)
{
    if (deadline_us != 0 && (rpc->next_deadline_us == 0 || deadline_us < rpc->next_deadline_us)) {
        rpc->next_deadline_us = deadline_us;
        loop_timer_set(rpc->deadline_timer, deadline_us);
    }
}

static struct rpc_pending *pending_new(struct rpc *rpc, uint16_t id, uint64_t deadline_us,
                                       rpc_done_fn fn, void *arg)
{
    struct rpc_pending *pending = cf_new(struct rpc_pending);
    pending->rpc = rpc;
    pending->id = id;
    pending->deadline_us = deadline_us;
    pending->fn = fn;
    pending->arg = arg;
    cf_list_init(&pending->in_owner);
    cf_list_add_tail(&rpc->pending, &pending->in_rpc);
    arm(rpc, deadline_us);
    rpc->counters.calls++;
    return pending;
}

static uint32_t time_left_ms(uint64_t deadline_us)
{
    if (deadline_us == 0) {
        return 0;
    }
    uint64_t now = loop_now_us();
    uint64_t left = deadline_us > now ? (deadline_us - now) / 1000 : 0;
    return left < 1 ? 1 : left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
}

static void put_on(struct rpc_pending *pending, struct rpc_link *link, struct cf_slice request)
{
    pending->link = link;
    pending->client = NULL;
    pending->call = ++link->next_call;
    pending->offset = link->written;
    cf_list_add_tail(&link->pending, &pending->in_owner);
    (void)cf_map_put(link->by_call, call_key(&pending->call), pending);
    struct frame frame = {.kind = FRAME_REQUEST,
                          .rpc = pending->id,
                          .call = pending->call,
                          .deadline_ms = time_left_ms(pending->deadline_us)};
    rpc_link_write(link, &frame, request);
}

struct rpc_pending *rpc_calls_start(struct rpc_link *link, uint16_t id, struct cf_slice request,
                                    uint64_t deadline_us, rpc_done_fn fn, void *arg)
{
    struct rpc_pending *pending = pending_new(link->rpc, id, deadline_us, fn, arg);
    put_on(pending, link, request);
    return pending;
}

struct rpc_pending *rpc_calls_wait(struct rpc *rpc, struct rpc_client *client,
                                   struct cf_list *waiting, uint16_t id, struct cf_slice request,
                                   uint64_t deadline_us, rpc_done_fn fn, void *arg)
{
    struct rpc_pending *pending = pending_new(rpc, id, deadline_us, fn, arg);
    pending->client = client;
    cf_buf_add_slice(&pending->request, request);
    cf_list_add_tail(waiting, &pending->in_owner);
    return pending;
}

void rpc_calls_move(struct rpc_pending *pending, struct rpc_link *link)
{
    cf_list_remove(&pending->in_owner);
    rpc_client_waited(pending->client, pending->request.size);
    put_on(pending, link, cf_buf_slice(&pending->request));
    cf_buf_done(&pending->request);
    pending->request = (struct cf_buf){0};
}

static void detach(struct rpc_pending *pending)
{
    if (pending->link != NULL) {
        (void)cf_map_remove(pending->link->by_call, call_key(&pending->call));
    } else if (pending->client != NULL) {
        rpc_client_waited(pending->client, pending->request.size);
    }
    cf_list_remove(&pending->in_owner);
    cf_list_remove(&pending->in_rpc);
    cf_buf_done(&pending->request);
}

void rpc_calls_end(struct rpc_pending *pending, cf_status status, bool sent,
                   const struct cf_error *why, struct cf_slice response)
{
    static const struct cf_error fine;
    unsigned level = pending->link != NULL ? pending->link->peer.level : 0;
    struct rpc_result result = {status, sent, why != NULL ? why : &fine, response, level};
    rpc_done_fn fn = pending->fn;
    void *arg = pending->arg;
    if (status != CF_OK) {
        pending->rpc->counters.calls_failed++;
    }
    detach(pending);
    cf_free(pending);
    fn(arg, &result);
}

void rpc_cancel(struct rpc_pending *pending)
{
    detach(pending);
    cf_free(pending);
}

static bool may_be_sent(const struct rpc_pending *pending)
{
    return pending->link != NULL && stream_sent(pending->link->stream) > pending->offset;
}

void rpc_calls_lost(struct rpc_link *link, const struct cf_error *why)
{
    struct cf_error unsent = {0}, unknown = {0};
    (void)cf_fail(&unsent, CF_UNAVAILABLE, "not sent: %.200s",
                  why->message[0] != '\0' ? why->message : "connection closed by the peer");
    (void)cf_fail(&unknown, CF_UNKNOWN_OUTCOME, "outcome unknown: %.200s",
                  why->message[0] != '\0' ? why->message : "connection closed by the peer");
    while (!cf_list_empty(&link->incoming)) {
        struct rpc_call *call = cf_container(link->incoming.next, struct rpc_call, in_link);
        cf_list_remove(&call->in_link);
        call->link = NULL;
    }
    while (!cf_list_empty(&link->pending)) {
        struct rpc_pending *pending =
            cf_container(link->pending.next, struct rpc_pending, in_owner);
        if (may_be_sent(pending)) {
            rpc_calls_end(pending, CF_UNKNOWN_OUTCOME, true, &unknown, CF_SLICE_EMPTY);
        } else {
            rpc_calls_end(pending, CF_UNAVAILABLE, false, &unsent, CF_SLICE_EMPTY);
        }
    }
}

/* All that are due, then the next. A pass over everything under way, but at most one a millisecond
 * and only when something was due: requests that end in time cost nothing here. */
void rpc_calls_on_deadline(void *arg)
{
    struct rpc *rpc = arg;
    uint64_t now = loop_now_us(), next = 0;
    struct cf_error late = {0};
    struct cf_list due;
    (void)cf_fail(&late, CF_TIMEOUT, "no answer before the deadline");
    cf_list_init(&due);
    cf_list_for_safe (at, &rpc->pending) {
        struct rpc_pending *pending = cf_container(at, struct rpc_pending, in_rpc);
        if (pending->deadline_us == 0) {
            continue;
        }
        if (pending->deadline_us <= now) {
            cf_list_remove(at);
            cf_list_add_tail(&due, at);
        } else if (next == 0 || pending->deadline_us < next) {
            next = pending->deadline_us;
        }
    }
    rpc->next_deadline_us = 0;
    arm(rpc, next != 0 && next < now + 1000 ? now + 1000 : next);
    while (!cf_list_empty(&due)) { /* fn may end or cancel others of them */
        struct rpc_pending *pending = cf_container(due.next, struct rpc_pending, in_rpc);
        rpc_calls_end(pending, CF_TIMEOUT, may_be_sent(pending), &late, CF_SLICE_EMPTY);
    }
}

static void answer_status(struct rpc_link *link, const struct frame *frame, cf_status status,
                          const char *text)
{
    struct cf_error err = {0};
    (void)cf_fail(&err, status, "%s", text);
    rpc_link_write_error(link, frame->rpc, frame->call, &err);
}

void rpc_calls_incoming(struct rpc_link *link, const struct frame *frame)
{
    const struct rpc_type *type = rpc_type_find(frame->rpc);
    bool asks = frame->kind == FRAME_REQUEST;
    if (type != NULL && (type->who & link->who) == 0) {
        struct cf_error why = {0};
        (void)cf_fail(&why, CF_DENIED, "message \"%s\" does not belong on a \"%s\" connection",
                      type->name, link->peer.alpn);
        link->rpc->counters.malformed++;
        rpc_link_abort(link, &why);
        return;
    }
    rpc_handler fn =
        type != NULL && type->id < RPC_IDS_MAX ? link->rpc->handlers[type->id].fn : NULL;
    if (fn == NULL) {
        if (asks) {
            answer_status(link, frame, CF_UNSUPPORTED, "this node does not serve that message");
        }
        return;
    }
    struct rpc_call *call = NULL;
    if (asks) {
        if (link->incoming_count >= RPC_INCOMING_MAX) {
            answer_status(link, frame, CF_BUSY, "too many requests in flight, try again");
            return;
        }
        call = cf_new(struct rpc_call);
        call->link = link;
        call->id = frame->rpc;
        call->call = frame->call;
        call->deadline_us =
            frame->deadline_ms != 0 ? loop_now_us() + (uint64_t)frame->deadline_ms * 1000 : 0;
        cf_list_add_tail(&link->incoming, &call->in_link);
        link->incoming_count++;
        link->rpc->counters.served++;
    }
    fn(link->rpc->handlers[type->id].ctx, link, frame->payload, call);
}

static void end_call(struct rpc_call *call)
{
    if (call->link != NULL) {
        call->link->incoming_count--;
    }
    cf_list_remove(&call->in_link);
    cf_free(call);
}

void rpc_reply(struct rpc_call *call, struct cf_slice response)
{
    struct frame frame = {.kind = FRAME_RESPONSE, .rpc = call->id, .call = call->call};
    struct cf_error err = {0};
    if (call->link != NULL && response.size > FRAME_PAYLOAD_MAX) {
        (void)cf_fail(&err, CF_TOO_LARGE, "the answer does not fit into a frame");
        rpc_link_write_error(call->link, call->id, call->call, &err);
    } else if (call->link != NULL) {
        rpc_link_write(call->link, &frame, response);
    }
    end_call(call);
}

void rpc_fail(struct rpc_call *call, const struct cf_error *why)
{
    assert(why->status != CF_OK);
    if (call->link != NULL) {
        rpc_link_write_error(call->link, call->id, call->call, why);
    }
    end_call(call);
}

uint64_t rpc_call_deadline(const struct rpc_call *call)
{
    return call->deadline_us;
}

struct rpc_link *rpc_call_link(struct rpc_call *call)
{
    return call->link;
}

static void read_error(const struct frame *frame, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(1024);
    Coffer__Error *error;
    cf_status status = frame->status < CF_STATUS_COUNT ? (cf_status)frame->status : CF_INTERNAL;
    if (message_unpack(coffer__error, frame->payload, arena, &error, NULL) != CF_OK) {
        (void)cf_fail(err, status, "%s", cf_status_text(status));
        return;
    }
    (void)cf_fail(err, status, "%.*s", CF_SHOW(cf_slice_first(message_slice(error->message), 250)));
    cf_error_detail(err, "%.*s", CF_SHOW(cf_slice_first(message_slice(error->detail), 500)));
}

void rpc_calls_answer(struct rpc_link *link, const struct frame *frame)
{
    struct rpc_pending *pending = cf_map_get(link->by_call, call_key(&frame->call));
    if (pending == NULL) {
        return; /* cancelled, or past its deadline */
    }
    if (frame->kind == FRAME_RESPONSE && frame->rpc == pending->id) {
        rpc_calls_end(pending, CF_OK, true, NULL, frame->payload);
        return;
    }
    struct cf_error err = {0};
    if (frame->kind == FRAME_RESPONSE) {
        (void)cf_fail(&err, CF_UNKNOWN_OUTCOME, "the peer answered another question");
    } else {
        read_error(frame, &err);
    }
    rpc_calls_end(pending, err.status, true, &err, CF_SLICE_EMPTY);
}
