/* replication/driver/repair.c: the questions and answers of a repair, and of a comparison, on the stream's
 * connection. What is asked is decided by the host and replication/core/repair.h; here they travel. */
#include "node/base/log.h"
#include "replication/driver/receive_int.h"

/* ---- the secondary ---- */

/* One repair or comparison. Freed when the host's step is over and no answer is awaited. */
struct repair_run {
    struct repl_secondary *s;
    uint64_t session;
    bool is_comparison, is_over;
    struct rpc_pending *asked;
};

static void advance(struct repair_run *run, struct cf_slice answer);

static void end(struct repair_run *run, cf_status status, const struct cf_error *err)
{
    struct repl_secondary *s = run->s;
    if (!run->is_over) { /* else the host was told, and may be gone */
        const struct repl_host *host = &s->driver->host;
        host->repair_end(host->ctx, s->kind);
    }
    s->repair = NULL;
    if (!run->is_comparison) {
        struct receive_item *item = receive_item_new(SECONDARY_EV_REPAIRED);
        item->ev.session = run->session;
        item->ev.status = status;
        item->err = *err;
        if (status == CF_OK) {
            cf_info("replication", "%s secondary: repaired, %llu bytes moved",
                    repl_kind_name(s->kind), (unsigned long long)s->status.repair_bytes);
        }
        receive_push(s, item);
    }
    cf_free(run);
    receive_unref(s);
}

static void on_reply(void *arg, const struct rpc_result *result)
{
    struct repair_run *run = arg;
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__CallAnswer *answer;
    struct cf_error err = *result->err;
    run->asked = NULL;
    cf_status status = result->status;
    if (status == CF_OK) {
        run->s->status.repair_bytes += result->response.size;
        status = message_unpack(coffer__repl__call_answer, result->response, arena, &answer, &err);
    }
    if (status != CF_OK) {
        end(run, status, &err);
        return;
    }
    advance(run, message_slice(answer->data));
}

static void on_step(void *arg, cf_status status, struct cf_slice question,
                    const struct cf_error *err)
{
    struct repair_run *run = arg;
    struct repl_secondary *s = run->s;
    struct cf_error own = *err;
    if (status == CF_OK && question.size != 0) {
        if (run->is_over || s->link == NULL) {
            status = cf_fail(&own, CF_UNAVAILABLE, "the connection is gone");
        } else {
            s->status.repair_bytes += question.size;
            status = rpc_link_call(s->link, RPC_REPL_REPAIR, question,
                                   loop_now_us() + REPL_REPAIR_US, on_reply, run, &run->asked,
                                   &own);
        }
        if (status == CF_OK) {
            return;
        }
    }
    end(run, status, &own);
}

static void advance(struct repair_run *run, struct cf_slice answer)
{
    const struct repl_host *host = &run->s->driver->host;
    host->repair_step(host->ctx, run->s->kind, answer, on_step, run);
}

static void begin(struct repl_secondary *s, bool is_comparison, uint64_t snapshot, uint64_t session)
{
    const struct repl_host *host = &s->driver->host;
    struct repair_run *run = cf_new(struct repair_run);
    run->s = s;
    run->session = session;
    run->is_comparison = is_comparison;
    s->refs++;
    s->repair = run;
    host->repair_begin(host->ctx, s->kind, snapshot, &s->theirs, cf_buf_slice(&s->proof));
    advance(run, CF_SLICE_EMPTY);
}

void repair_start(struct repl_secondary *s, const struct secondary_update *update)
{
    struct cf_error err = {0};
    repair_drop(s); /* a comparison of the connection before */
    if (s->repair != NULL) { /* its step is not over: the core tries again, a little later */
        struct receive_item *item = receive_item_new(SECONDARY_EV_REPAIRED);
        item->ev.session = update->session;
        item->ev.status = cf_fail(&err, CF_BUSY, "a comparison is under way still");
        item->err = err;
        receive_push(s, item);
        return;
    }
    begin(s, false, update->snapshot_id, update->session);
}

void repair_drop(struct repl_secondary *s)
{
    struct repair_run *run = s->repair;
    struct cf_error err = {0};
    if (run == NULL || run->is_over) {
        return;
    }
    const struct repl_host *host = &s->driver->host;
    host->repair_end(host->ctx, s->kind);
    run->is_over = true;
    if (run->asked != NULL) { /* else the host's step is under way, and ends it */
        rpc_cancel(run->asked);
        run->asked = NULL;
        end(run, cf_fail(&err, CF_UNAVAILABLE, "the connection is gone"), &err);
    }
}

bool repl_secondary_compare(struct repl_secondary *s)
{
    if (s->core.state != SECONDARY_STREAM_WALS || s->link == NULL || s->repair != NULL) {
        return false;
    }
    begin(s, true, 0, s->core.session);
    return true;
}

/* ---- the primary ---- */

void repl_ship_repair(struct repl_peer *peer, struct cf_slice request, struct rpc_call *call)
{
    struct repl_driver *driver = peer->primary->driver;
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Repair *question;
    struct cf_error err = {0};
    cf_status status = message_unpack(coffer__repl__repair, request, arena, &question, &err);
    if (status == CF_OK && request.size > REPL_PAGE_BYTES_MAX) {
        status = cf_fail(&err, CF_TOO_LARGE, "a question of %zu bytes", request.size);
    }
    bool compares = status == CF_OK && question->id == 0;
    if (status == CF_OK && compares && peer->core.state != PRIMARY_STREAMING) {
        status = cf_fail(&err, CF_INVALID, "nothing is streamed");
    }
    if (status == CF_OK && !compares &&
        (peer->core.state != PRIMARY_BOOTSTRAPPING || question->id != peer->snapshot)) {
        status = cf_fail(&err, CF_UNAVAILABLE, "that snapshot is gone");
    }
    if (status != CF_OK) {
        rpc_fail(call, &err);
        return;
    }
    if (!compares) {
        peer->snapshot_used_us = loop_now_us();
    }
    driver->host.serve_repair(driver->host.ctx, peer->primary->kind, peer->id, question->id, request,
                              repl_reply_new(call));
}
