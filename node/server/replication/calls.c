/* node/server/replication/calls.c: writes of performance secondaries, on both sides (design 5.4).
 *
 *   secondary: the frame ran the request, its write set is of class replicated --> main loop --> one RPC with
 *   the caller (name, entity, policy names) --> primary: the whole frame with that caller, its own policies
 *   --> answer and position --> the secondary answers once its own state has reached that position. */
#include <stdio.h>

#include "consensus/driver/driver.h"
#include "node/base/level.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/envelope.h"
#include "node/core/system.h"
#include "node/core/token.h"
#include "node/server/cluster.h"
#include "node/server/carried.h"
#include "node/server/once.h"
#include "node/server/replication/repl_int.h"
#include "proto/forward.pb-c.h"
#include "proto/message.h"

#define POLICIES_MAX 1000
#define RETRY_US ((uint64_t)100 * 1000)
#define ARRIVAL_US ((uint64_t)2 * 1000000) /* best_effort_wal_wait_duration */
#define ARRIVAL_WARNING                                                                            \
    "Timeout hit while waiting for local replicated cluster to apply primary's write; this "       \
    "client may encounter stale reads of values written during this operation."

/* ---- the secondary's side ---- */

struct call {
    struct cf_list link; /* while it waits for its position */
    struct node_replication *replication;
    struct request *rq;
    struct repl_position until;
    uint64_t outcome_until_us;
    unsigned regroups;
    struct loop_timer *timer, *retry;
};

static void finish(struct call *call, cf_status status)
{
    struct request *rq = call->rq;
    cf_list_remove(&call->link);
    loop_timer_free(call->timer);
    loop_timer_free(call->retry);
    atomic_store(&call->replication->has_waiting, !cf_list_empty(&call->replication->waiting));
    if (status != CF_OK && rq->error.status != status) {
        cf_fail(&rq->error, status, "%s", cf_status_text(status));
    }
    cf_free(call);
    core_host_done(rq, status);
}

/* What the client is told to ask for: this cluster's log, as far as it is seen here. */
static void has_effect_here(struct call *call)
{
    struct view *view = core_view(call->rq->core);
    call->rq->index = view != NULL ? view->index : 0;
    call->rq->replicated_index = 0;
    view_unref(view);
}

void repl_calls_advanced(struct node_replication *replication)
{
    struct repl_position here;
    if (cf_list_empty(&replication->waiting) ||
        !repl_applied_position(replication, REPL_PERFORMANCE, &here)) {
        return;
    }
    cf_list_for_safe(at, &replication->waiting) {
        struct call *call = cf_container(at, struct call, link);
        if (repl_position_reached(&call->until, &here)) {
            has_effect_here(call);
            finish(call, CF_OK);
        }
    }
}

uint64_t node_replication_reached(void *context)
{
    struct node *node = context;
    struct repl_position here;
    return repl_applied_position(node->replication, REPL_PERFORMANCE, &here) ? here.index : 0;
}

/* The primary has it, this cluster not yet: the client may read something stale for a moment, and is told. */
static void arrival_timed_out(void *arg)
{
    struct call *call = arg;
    struct response *rs = &call->rq->response;
    struct arena *arena = call->rq->arena;
    struct json *body = NULL, *warnings;
    if (call->rq->takes_grant) { /* the answer is not this one */
        finish(call, CF_OK);
        return;
    }
    if (rs->raw.size == 0) {
        *rs = (struct response){0};
        response_warn(call->rq, "%s", ARRIVAL_WARNING);
    } else if (rs->wrap == NULL && json_parse(arena, rs->raw, NULL, &body, NULL) == CF_OK &&
               json_is(body, JSON_OBJECT)) {
        CF_BUF(text) = {.secret = true};
        warnings = json_get(body, "warnings");
        if (!json_is(warnings, JSON_ARRAY)) {
            warnings = json_array_new(arena);
            json_set(arena, body, "warnings", warnings);
        }
        json_array_add(arena, warnings, json_from_text(arena, ARRIVAL_WARNING));
        json_write(&text, body);
        cf_buf_add_byte(&text, '\n');
        rs->raw = arena_copy(arena, cf_buf_slice(&text));
    }
    finish(call, CF_OK);
}

static cf_status wrap_here(struct request *rq, void *context, struct cf_error *err)
{
    struct call *call = context;
    struct wrap_info *wrap;
    CF_TRY(wrapping_wrap(rq, call->rq->wrap_ttl_s, call->rq->path, call->rq->response.raw, &wrap,
                         err));
    struct wrap_info *kept = arena_new_object(call->rq->arena, struct wrap_info);
    *kept = *wrap;
    kept->token = arena_copy(call->rq->arena, wrap->token);
    kept->accessor = arena_copy(call->rq->arena, wrap->accessor);
    kept->creation_path = call->rq->path;
    call->rq->response.wrap = kept;
    return CF_OK;
}

struct wrapped {
    struct call *call;
    cf_status status;
};

static void wrapped_on_loop(void *arg)
{
    struct wrapped *wrapped = arg;
    struct request *rq = wrapped->call->rq;
    if (wrapped->status == CF_OK) {
        rq->response.raw = CF_SLICE_EMPTY;
        rq->response.content_type = NULL;
        rq->response.status = 0;
    }
    /* The effect is there; only its answer could not be wrapped: that must not look like "no effect". */
    finish(wrapped->call, wrapped->status == CF_OK ? CF_OK : CF_UNKNOWN_OUTCOME);
    cf_free(wrapped);
}

static void wrapped_here(void *context, cf_status status, uint64_t index,
                         const struct cf_error *err)
{
    struct call *call = context;
    struct wrapped *wrapped = cf_new(struct wrapped);
    (void)index;
    (void)err;
    *wrapped = (struct wrapped){call, status};
    loop_post(call->replication->node->loop, wrapped_on_loop, wrapped);
}

static void failed(struct call *call, cf_status status, bool sent, const struct cf_error *why);

static void take_answer(struct call *call, struct cf_slice bytes)
{
    struct request *rq = call->rq;
    Coffer__Forward__CallResponse *answer;
    if (message_unpack(coffer__forward__call_response, bytes, rq->arena, &answer, NULL) != CF_OK ||
        answer->response == NULL) {
        failed(call, CF_UNKNOWN_OUTCOME, true, NULL);
        return;
    }
    if (answer->response->regroup != 0) {
        if (once_regroup(&rq->once, answer->response->regroup, &call->regroups)) {
            loop_timer_set(call->retry, loop_now_us());
        } else {
            finish(call, rq->once.tries > 1 ? CF_UNKNOWN_OUTCOME : CF_UNAVAILABLE);
        }
        return;
    }
    if (answer->response->no_records) {
        rq->once.no_records = !rq->once.is_own; /* whoever gave the id takes it back */
        if (rq->once.is_own && once_withdraw(&rq->once)) {
            loop_timer_set(call->retry, loop_now_us());
        } else {
            finish(call, rq->once.tries > 1 ? CF_UNKNOWN_OUTCOME : CF_UNAVAILABLE);
        }
        return;
    }
    if (answer->response->status < 200 || answer->response->status > 599) {
        failed(call, CF_UNKNOWN_OUTCOME, true, NULL);
        return;
    }
    rq->response = (struct response){.status = (int)answer->response->status,
                                     .content_type = "application/json"};
    rq->response.raw = message_slice(answer->response->body);
    if (answer->response->content_type.len != 0) {
        rq->response.content_type =
            arena_text(rq->arena, message_slice(answer->response->content_type));
    }
    if (rq->wrap_ttl_s > 0 && rq->response.status == 200 && !rq->takes_grant) {
        struct system_work work = {wrap_here, wrapped_here, call};
        system_submit(rq->core, &work);
        return;
    }
    if (answer->position.len == 0 ||
        repl_position_decode(message_slice(answer->position), &call->until, NULL) != CF_OK) {
        finish(call, CF_OK);
        return;
    }
    rq->replicated_index = call->until.index;
    cf_list_add_tail(&call->replication->waiting, &call->link);
    atomic_store(&call->replication->has_waiting, true);
    call->timer = loop_timer_new(call->replication->node->loop, arrival_timed_out, call);
    loop_timer_set_in(call->timer, ARRIVAL_US);
    repl_calls_advanced(call->replication);
}

/* What went wrong at each address is in the status: the last one tried may be a cluster that is not the
 * primary, and would tell the client nothing. */
static void not_reached(struct call *call, const char *why)
{
    cf_debug("replication", "request %s was not forwarded: %s", call->rq->id, why);
    cf_fail(&call->rq->error, CF_UNAVAILABLE,
            "the primary cannot be reached, nothing was written: see "
            "sys/replication/performance/status");
    finish(call, CF_UNAVAILABLE);
}

/* The primary is not sought here: its addresses were all tried. What may have run there is asked for again,
 * also of a cluster that was promoted meanwhile: records are among what its DR secondaries have. */
static void failed(struct call *call, cf_status status, bool sent, const struct cf_error *why)
{
    struct request *rq = call->rq;
    switch (once_failed(&rq->once, status, sent, false, loop_now_us(), 0, call->outcome_until_us)) {
    case ONCE_TRY_AGAIN:
        loop_timer_set_in(call->retry, RETRY_US);
        return;
    case ONCE_UNTOUCHED:
        not_reached(call, why != NULL ? why->message : "");
        return;
    case ONCE_UNKNOWN:
        finish(call, CF_UNKNOWN_OUTCOME);
        return;
    case ONCE_REFUSED:
        if (why != NULL) {
            rq->error = *why;
        }
        finish(call, status);
        return;
    }
}

static void called(void *arg, const struct repl_call_result *result)
{
    struct call *call = arg;
    if (result->status == CF_OK) {
        take_answer(call, result->response);
    } else {
        /* A node of an older build ran it without a record, if it ran it: asking again would run it again. */
        if (result->sent && result->level < LEVEL_REQUEST_RECORDS) {
            (void)once_withdraw(&call->rq->once);
        }
        failed(call, result->status, result->sent, result->err);
    }
}

static void pack_call(struct request *rq, struct cf_buf *to)
{
    Coffer__Forward__Call message = COFFER__FORWARD__CALL__INIT;
    Coffer__Forward__Request request = COFFER__FORWARD__REQUEST__INIT;
    CF_BUF(query) = {.secret = true};
    ProtobufCBinaryData *policies = NULL;
    if (rq->query != NULL) {
        json_write(&query, rq->query);
    }
    request.id = message_bytes(cf_slice_str(rq->id));
    request.operation = (uint32_t)rq->operation;
    request.path = message_bytes(rq->full_path);
    request.body = message_bytes(rq->raw_body);
    request.query = message_bytes(cf_buf_slice(&query));
    request.remote_address = message_bytes(rq->remote_address);
    request.remote_port = rq->remote_port;
    request.ns_header_size = (uint32_t)rq->ns_header_size;
    carried_pack(rq, &request);
    once_pack(&rq->once, &request);
    message.request = &request;
    message.takes_grant = rq->takes_grant;
    if (rq->caller != NULL) {
        policies = arena_alloc(rq->arena, (rq->caller->policy_count + 1) * sizeof(*policies));
        for (size_t i = 0; i < rq->caller->policy_count; i++) {
            policies[i] = message_bytes(rq->caller->policies[i]);
        }
        message.policies = policies;
        message.n_policies = rq->caller->policy_count;
        message.display_name = message_bytes(rq->caller->display_name);
        message.accessor = message_bytes(rq->caller->accessor);
        message.entity_id = message_bytes(rq->caller->entity_id);
        message.ns = rq->caller->ns;
    }
    message_pack(&message.base, to);
}

static void send_on(void *arg)
{
    struct call *call = arg;
    struct request *rq = call->rq;
    struct repl_secondary *secondary = call->replication->sides[REPL_PERFORMANCE].secondary;
    struct cf_error err = {0};
    struct cf_buf bytes;
    if (secondary == NULL) {
        cf_fail(&err, CF_UNAVAILABLE, "this cluster has no link to its primary now");
        failed(call, CF_UNAVAILABLE, false, &err);
        return;
    }
    cf_buf_init_secret(&bytes, 0);
    pack_call(rq, &bytes);
    cf_status status = repl_secondary_call(secondary, cf_buf_slice(&bytes), rq->deadline_us, called,
                                           call, &err);
    cf_buf_done(&bytes);
    if (status != CF_OK) { /* not queued */
        failed(call, status == CF_TOO_LARGE ? status : CF_UNAVAILABLE, false, &err);
    }
}

static void start(void *arg)
{
    struct call *call = arg;
    call->retry = loop_timer_new(call->replication->node->loop, send_on, call);
    send_on(call);
}

void node_replication_forward(struct node *node, struct request *rq)
{
    struct call *call = cf_new(struct call);
    call->replication = node->replication;
    call->rq = rq;
    call->outcome_until_us = cf_min(loop_now_us() + ONCE_OUTCOME_US, rq->deadline_us);
    cf_list_init(&call->link);
    loop_post(node->loop, start, call);
}

/* ---- the primary's side ---- */

struct serving {
    struct node_replication *replication;
    char id[REPL_ID_SIZE]; /* of the secondary */
    struct repl_reply *reply;
    struct request rq;
    struct token_entry caller;
};

static void on_worker(struct request *rq, void (*run)(void *), void *arg)
{
    core_work(rq->core, run, arg);
}

/* How far the secondary's state has to be before it answers its client. Success without an effect (the entity of
 * a login was there already) tells of what the secondary may not have yet: whoever asked would ask again and again. */
static uint64_t told_index(const struct request *rq)
{
    return rq->index != 0 || envelope_status(rq) >= 400 ? rq->index : rq->seen_index;
}

static void reply(void *arg)
{
    struct serving *serving = arg;
    struct request *rq = &serving->rq;
    struct repl_position position;
    struct cf_buf body, bytes;
    CF_BUF(where) = {0};
    cf_buf_init_secret(&body, 0);
    cf_buf_init_secret(&bytes, 0);
    bool not_here = rq->once.regroup == 0 && !rq->once.no_records &&
                    (rq->error.status == CF_NOT_LEADER || rq->error.status == CF_UNAVAILABLE);
    if (not_here) {
        struct cluster_peer leader = {0};
        cf_ignore(!cluster_leader(serving->replication->node, rq->arena, &leader), "then unknown");
        repl_reply_not_leader(serving->reply, arena_text(rq->arena, leader.cluster_addr));
    } else if (rq->error.status == CF_UNKNOWN_OUTCOME && !rq->once.is_final) {
        repl_reply_fail(serving->reply, &rq->error);
    } else {
        Coffer__Forward__CallResponse message = COFFER__FORWARD__CALL_RESPONSE__INIT;
        Coffer__Forward__Response response = COFFER__FORWARD__RESPONSE__INIT;
        response.status = (uint32_t)envelope_status(rq);
        envelope_body(rq, &body);
        response.body = message_bytes(cf_buf_slice(&body));
        if (rq->response.content_type != NULL) {
            response.content_type = message_bytes(cf_slice_str(rq->response.content_type));
        }
        response.index = rq->index;
        response.regroup = rq->once.regroup;
        response.no_records = rq->once.no_records;
        message.response = &response;
        uint64_t told = told_index(rq);
        if (told != 0 && repl_own_position(serving->replication, REPL_PERFORMANCE, told, &position)) {
            repl_position_encode(&position, &where);
            message.position = message_bytes(cf_buf_slice(&where));
        }
        message_pack(&message.base, &bytes);
        repl_reply_ok(serving->reply, cf_buf_slice(&bytes));
    }
    cf_buf_done(&body);
    cf_buf_done(&bytes);
    arena_free(rq->arena);
    cf_free(serving);
}

static void served(struct request *rq)
{
    struct serving *serving = rq->transport;
    loop_post(serving->replication->node->loop, reply, serving);
}

static cf_status unpack(struct serving *serving, struct cf_slice bytes, struct cf_error *err)
{
    struct request *rq = &serving->rq;
    Coffer__Forward__Call *call;
    CF_TRY(message_unpack(coffer__forward__call, bytes, rq->arena, &call, err));
    const Coffer__Forward__Request *request = call->request;
    if (request == NULL || request->operation >= OPERATION_COUNT ||
        call->n_policies > POLICIES_MAX) {
        return cf_fail(err, CF_INVALID, "malformed forwarded request");
    }
    struct cf_slice id = cf_slice_first(message_slice(request->id), sizeof(rq->id) - 1);
    memcpy(rq->id, id.data, id.size);
    rq->operation = (enum operation)request->operation;
    rq->path = message_slice(request->path);
    rq->raw_body = message_slice(request->body);
    rq->remote_address = message_slice(request->remote_address);
    rq->remote_port = (uint16_t)request->remote_port;
    rq->ns_header_size = request->ns_header_size;
    CF_TRY(carried_unpack(request, rq, err));
    CF_TRY(once_unpack(request, &rq->once, err));
    if (request->query.len != 0) {
        CF_TRY(json_parse(rq->arena, message_slice(request->query), NULL, &rq->query, err));
    }
    if (rq->raw_body.size != 0 && rq->raw_body.data[0] == '{') {
        CF_TRY(json_parse(rq->arena, rq->raw_body, NULL, &rq->body, err));
    }
    rq->takes_grant = call->takes_grant;
    struct token_entry *caller = &serving->caller;
    caller->display_name = message_slice(call->display_name);
    caller->accessor = message_slice(call->accessor);
    caller->entity_id = message_slice(call->entity_id);
    caller->ns = call->ns;
    caller->type = CF_SLICE("service");
    caller->policies = arena_alloc(rq->arena, (call->n_policies + 1) * sizeof(struct cf_slice));
    for (size_t i = 0; i < call->n_policies; i++) {
        caller->policies[caller->policy_count++] = message_slice(call->policies[i]);
        caller->is_root = caller->is_root || cf_slice_is(caller->policies[i], "root");
    }
    rq->foreign = caller;
    return CF_OK;
}

/* What does not go to that secondary is not there for its clients, also where its own state lags. */
static bool is_hidden(struct serving *serving)
{
    struct view *view = core_view(serving->replication->node->core);
    bool hidden = view != NULL && view->keyring != NULL && view->namespaces != NULL &&
                  filter_hides(view, cf_slice_str(serving->id), serving->rq.path);
    view_unref(view);
    if (hidden) {
        cf_ignore(request_absent(&serving->rq.error), "this is the answer");
    }
    return hidden;
}

static void submit(void *arg)
{
    struct serving *serving = arg;
    if (!once_admits(serving->replication->node, &serving->rq) || is_hidden(serving)) {
        served(&serving->rq);
        return;
    }
    core_submit(serving->replication->node->core, &serving->rq);
}

void calls_serve(void *ctx, enum repl_kind kind, const char *id, struct cf_slice bytes,
                     uint64_t deadline_us, struct repl_reply *to)
{
    struct node_replication *replication = ctx;
    struct cf_error err = {0};
    if (kind != REPL_PERFORMANCE || replication->role != ROLE_ALONE_OR_PRIMARY) {
        cf_fail(&err, CF_INVALID, "cluster is not a performance primary");
        repl_reply_fail(to, &err);
        return;
    }
    if (!raft_driver_is_leader(replication->node->driver)) {
        CF_OWNED(arena) arena = arena_new(1024);
        struct cluster_peer leader = {0};
        cf_ignore(!cluster_leader(replication->node, arena, &leader), "then unknown");
        repl_reply_not_leader(to, arena_text(arena, leader.cluster_addr));
        return;
    }
    struct serving *serving = cf_new(struct serving);
    serving->replication = replication;
    serving->reply = to;
    (void)snprintf(serving->id, sizeof(serving->id), "%s", id);
    serving->rq.arena = arena_new(8192);
    serving->rq.random = core_random();
    serving->rq.post = on_worker;
    serving->rq.done = served;
    serving->rq.transport = serving;
    serving->rq.is_forwarded = true;
    serving->rq.deadline_us = deadline_us;
    if (unpack(serving, bytes, &err) != CF_OK) {
        repl_reply_fail(to, &err);
        arena_free(serving->rq.arena);
        cf_free(serving);
        return;
    }
    core_work(replication->node->core, submit, serving);
}
