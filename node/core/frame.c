/* node/core/frame.c: the way of a request: route, authenticate, check, audit, run, commit, answer. run_int.h says which
 * file does what.
 */
#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/core/mount_move.h"
#include "node/core/policy.h"
#include "node/core/route.h"
#include "node/core/run_int.h"
#include "node/core/token.h"

#define ATTEMPTS_MAX 64
#define REQUEST_MAX_US ((uint64_t)90 * 1000000)

/* The handler and what follows it, on the request's thread or (slow routes) on a worker. */
static cf_status handle(struct run *run)
{
    struct request *rq = run->rq;
    run->is_handled = true;
    cf_status status = route_handler_of(rq->route, rq->operation)(rq, &rq->error);
    if (status == CF_OK) {
        status = step_decorate(rq, &rq->error);
    }
    if (status != CF_OK && !rq->keeps_writes) {
        txn_rollback(rq->txn, run->mark); /* what stays is the use that was spent */
    }
    return status;
}

/* Does this node have to hand the request on before it runs it? */
static bool belongs_to_active(const struct run *run)
{
    const struct request *rq = run->rq;
    if (rq->is_forwarded || run->core->proposer.is_active(run->core->proposer.context)) {
        return false;
    }
    if (request_spends_use(rq)) {
        return true;
    }
    if (rq->route == NULL || rq->operation == OPERATION_HELP) {
        return false;
    }
    if (request_is_host(rq)) {
        return (rq->route->flags & ROUTE_ACTIVE) != 0;
    }
    return (request_writes(rq) && (rq->route->flags & ROUTE_READS) == 0) ||
           (rq->route->flags & (ROUTE_ACTIVE | ROUTE_WRITE)) != 0 || rq->wrap_ttl_s > 0 ||
           (rq->caller != NULL && rq->caller->num_uses > 0);
}

static void on_worker(void *arg)
{
    struct run *run = arg;
    run->status = handle(run);
    run->rq->post(run->rq, run_after_handler, run);
}

/* Everything before the handler. CF_OK: go on with it; anything else is the answer. */
static cf_status prepare(struct run *run, bool *hand_on)
{
    struct request *rq = run->rq;
    struct cf_error *err = &rq->error;
    CF_TRY(step_namespace(rq, err));
    step_route(rq);
    CF_TRY(step_cluster(rq, err));
    CF_TRY(step_open_namespace(rq, err));
    if (!run->is_metered) { /* once, however often it runs */
        run->is_metered = true;
        CF_TRY(step_quota(rq, err));
    }
    CF_TRY(step_authenticate(rq, err));
    if (request_spends_use(rq)) {
        *hand_on =
            belongs_to_active(run); /* what it is allowed is asked there, at the same price */
        if (*hand_on) {
            return CF_OK;
        }
        CF_TRY(token_spend_use(rq, rq->caller, err));
        run->mark = txn_mark(rq->txn);
    }
    if (rq->mount != NULL) {
        txn_note_read(rq->txn, rq->mount->entry_hash);
    }
    CF_TRY(step_acl(rq, &run->acl, err));
    CF_TRY(step_operation(rq, run->acl, err));
    CF_TRY(step_policy(rq, run->acl, err));
    if (rq->mount == NULL) { /* behind the policy: who may not look is not told what is mounted */
        return cf_fail(err, CF_NOT_FOUND, "no handler for route \"%.*s\". route entry not found.",
                       CF_SHOW(rq->path));
    }
    bool is_behind;
    CF_TRY(mount_move_is_behind(rq->txn, rq->arena, rq->mount, &is_behind, err));
    if (rq->mount->move.way != MOVE_NONE || is_behind) {
        return cf_fail(err, CF_BUSY, "the mount \"%.*s\" is being moved, try again later", CF_SHOW(rq->mount->path));
    }
    CF_TRY(step_handler(rq, err));
    *hand_on = belongs_to_active(run);
    return CF_OK;
}

static void give_help(struct request *rq)
{
    json_set_text(rq->arena, response_data(rq), "help",
                  rq->route != NULL && rq->route->help != NULL ? rq->route->help
                                                               : rq->mount->ops->help);
    rq->response.no_envelope = true;
}

/* What leaves this node, or is the host's, has effects before its answer is known. */
static void hand_over(void *arg)
{
    struct run *run = arg;
    if (!run->is_recorded) {
        run_unrecorded(run, CF_INTERNAL);
    } else if (!request_is_host(run->rq) || run->hands_on) {
        run_forward(run, false);
    } else if (txn_has_writes(run->rq->txn)) {
        run_commit(run, NEXT_HOST); /* one use of a token never allows two effects */
    } else {
        run_start_host(run);
    }
}

/* A handler is a function: its effect is the write set, which is not appended before both records are
 * written. So the request's record is waited for together with the answer's. */
static void go_on(struct run *run)
{
    struct request *rq = run->rq;
    if (rq->operation == OPERATION_HELP) {
        give_help(rq);
        run_after_handler(run);
    } else if (request_is_host(rq)) {
        run_when_recorded(run, hand_over);
    } else if ((rq->route->flags & ROUTE_SLOW) == 0) {
        run->status = handle(run);
        run_after_handler(run);
    } else if (!work_pool_add(run->core->pool, on_worker, run)) {
        run_finish(run, CF_BUSY);
    }
}

/* A fresh view and nothing of the run before. False: the request is answered, or waits. */
static bool begin(struct run *run)
{
    struct request *rq = run->rq;
    run_let_go(run);
    rq->response = (struct response){0};
    rq->error = (struct cf_error){0};
    rq->ensure = NULL;
    rq->ask = NULL;
    rq->keeps_writes = false;
    run->mark = 0;
    run->hands_on = false;
    run->trail = (struct audit_trail){0};
    if (++run->attempts > ATTEMPTS_MAX || cf_monotonic_us(cf_host_clock()) > rq->deadline_us) {
        run_finish(run, run->attempts > ATTEMPTS_MAX ? CF_CONFLICT : CF_TIMEOUT);
        return false;
    }
    rq->view = core_view(run->core);
    if (rq->view == NULL || rq->view->keyring == NULL || rq->view->mounts == NULL ||
        rq->view->audit == NULL) {
        run_finish(run, CF_SEALED);
        return false;
    }
    if (run->may_be_stale && !run_is_fresh_enough(run)) {
        run->may_be_stale = rq->was_stale = false;
        run_let_go(run);
        run_ask_read_index(run);
        return false;
    }
    rq->txn = txn_new(rq->arena, rq->view);
    for (size_t i = 0; i < CF_LENGTH(run->core->audit_hashes); i++) {
        txn_note_read(rq->txn, run->core->audit_hashes[i]); /* no write past a device enabled since */
    }
    if (rq->is_write_method) {
        rq->operation = OPERATION_UPDATE;
    }
    return true;
}

static void let_in(struct audit_held *held)
{
    struct run *run = cf_container(held, struct run, held);
    run->rq->post(run->rq, run_again, run);
}

void run_once(struct run *run)
{
    run->held.run = let_in;
    run->is_handled = false;
    if (audit_gate_holds(run->core->audit_gate, &run->held)) {
        return;
    }
    if (!begin(run)) {
        return;
    }
    if (run->grant != NULL) {
        run->status = step_grant(run->rq, run->grant, &run->rq->error);
        run_after_handler(run);
        return;
    }
    bool is_done = false;
    run->status = step_once(run->rq, &is_done, &run->rq->error);
    if (is_done || run->status != CF_OK) { /* what ran was recorded and authorised where it ran */
        run_finish(run, run->status);
        return;
    }
    if (run->is_forced) {
        /* Whether it acts on the node; all else is asked there. */
        cf_ignore(step_namespace(run->rq, NULL), "this node may not have it yet");
        step_route(run->rq);
        run->status = step_quota(run->rq, &run->rq->error);
        run->hands_on = true;
    } else {
        run->status = prepare(run, &run->hands_on);
    }
    run_settle(run->rq, run->status);
    if (run->rq->quota.is_refused && !run->rq->view->settings->quotas.audits) {
        run_finish(run, run->status); /* a flood must not fill the audit devices, unless that is wanted */
        return;
    }
    run_record(run, AUDIT_REQUEST);
    if (run->status == CF_OK && run->hands_on) {
        run_when_recorded(run, hand_over);
    } else if (run->status != CF_OK) {
        run_after_handler(run);
    } else {
        go_on(run);
    }
}

void run_again(void *arg)
{
    run_once(arg);
}

bool run_is_active(const struct run *run)
{
    return run->core->proposer.is_active(run->core->proposer.context);
}

void core_submit(struct core *core, struct request *rq)
{
    struct run *run = cf_new(struct run);
    run->core = core;
    run->rq = rq;
    rq->core = core;
    rq->frame = run;
    rq->full_path = rq->path;
    rq->is_write_method = rq->operation == OPERATION_CREATE || rq->operation == OPERATION_UPDATE;
    uint64_t now_us = cf_monotonic_us(cf_host_clock());
    if (rq->deadline_us == 0) {
        rq->deadline_us = now_us + REQUEST_MAX_US;
    }
    flights_add(&core->flights, &run->flight, rq, now_us);
    if (rq->forward_always && !rq->is_forwarded && !run_is_active(run)) {
        run->is_forced = true;
        run_once(run);
        return;
    }
    run_start(run);
}

void core_host_done(struct request *rq, cf_status status)
{
    struct run *run = rq->frame;
    run->status = status;
    rq->post(rq, run_host_ended, run);
}
