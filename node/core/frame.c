/* node/core/frame.c: the way of a request: route, authenticate, check, audit, run, commit, answer. */
#include <stdio.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/cidr.h"
#include "node/core/core_int.h"
#include "node/core/envelope.h"
#include "node/core/policy.h"
#include "node/core/route.h"
#include "node/core/token.h"

#define ATTEMPTS_MAX 64
#define REQUEST_MAX_US ((uint64_t)90 * 1000000)

/* One request's stay in the frame. */
struct run {
    struct core *core;
    struct request *rq;
    unsigned attempts;
    uint64_t min_index;  /* the view must be at least this new */
    bool is_linearized;  /* a read index was asked for after the request came, min_index holds it */
    cf_status outcome;   /* the handler's: what is answered once its effect is committed */
    uint64_t ticket;
    struct proposal proposal;
    struct read_wait read;
    struct index_wait wait;
    struct cf_list parked;
    cf_status status; /* of the last step, on its way to the request's thread */
    struct acl *acl;
};

static void run_again(void *arg);
static void run_once(struct run *run);

static struct run *run_of(struct request *rq)
{
    return rq->frame;
}

/* ---- the end ---- */

static void let_go(struct run *run)
{
    struct request *rq = run->rq;
    txn_release(rq->txn);
    view_unref(rq->view);
    acl_unref(run->acl);
    run->acl = NULL;
    rq->txn = NULL;
    rq->view = NULL;
    rq->mount = NULL; /* the view's */
    rq->caller = NULL;
}

static void wake_parked(struct core *core)
{
    struct cf_list parked;
    cf_list_init(&parked);
    pthread_mutex_lock(&core->window_lock);
    cf_list_splice_tail(&parked, &core->parked);
    pthread_mutex_unlock(&core->window_lock);
    while (!cf_list_empty(&parked)) {
        struct run *run = cf_container(parked.next, struct run, parked);
        cf_list_remove(&run->parked);
        run->rq->post(run->rq, run_again, run);
    }
}

static void end_ticket(struct run *run)
{
    if (run->ticket == 0) {
        return;
    }
    pthread_mutex_lock(&run->core->window_lock);
    window_ticket_end(run->core->window, run->ticket);
    pthread_mutex_unlock(&run->core->window_lock);
    run->ticket = 0;
    wake_parked(run->core);
}

static void finish(struct run *run, cf_status status)
{
    struct request *rq = run->rq;
    end_ticket(run);
    if (status != CF_OK && rq->error.status != status) {
        cf_fail(&rq->error, status, "%s", cf_status_text(status));
    }
    rq->error.status = status;
    rq->frame = NULL;
    cf_buf_done(&run->proposal.payload);
    struct view *view = rq->view;
    rq->view = NULL;
    txn_release(rq->txn);
    acl_unref(run->acl);
    rq->txn = NULL;
    cf_free(run);
    rq->done(rq); /* may still look at rq->mount: the view outlives the answer */
    view_unref(view);
}

static void finish_posted(void *arg)
{
    struct run *run = arg;
    finish(run, run->status);
}

static void finish_later(struct run *run, cf_status status)
{
    run->status = status;
    run->rq->post(run->rq, finish_posted, run);
}

/* ---- linearizable reads ---- */

static void waited(struct index_wait *wait, bool reached)
{
    struct run *run = cf_container(wait, struct run, wait);
    if (!reached) {
        finish_later(run, CF_SEALED);
        return;
    }
    run->rq->post(run->rq, run_again, run);
}

static void wait_for(struct run *run, uint64_t index)
{
    run->min_index = index > run->min_index ? index : run->min_index;
    run->wait = (struct index_wait){.index = run->min_index, .run = waited};
    core_wait_index(run->core, &run->wait);
}

static void read_done(struct read_wait *read, cf_status status, uint64_t index)
{
    struct run *run = cf_container(read, struct run, read);
    if (status != CF_OK) {
        finish_later(run, status);
        return;
    }
    run->is_linearized = true;
    wait_for(run, index);
}

static void ask_read_index(struct run *run)
{
    struct proposer *proposer = &run->core->proposer;
    run->read = (struct read_wait){.done = read_done, .deadline_us = run->rq->deadline_us};
    proposer->read_index(proposer->context, &run->read);
}

/* ---- answers ---- */

/* Without a write set the answer stands only on a view that was the newest when the request came. */
static void answer(struct run *run, cf_status status)
{
    if (!run->is_linearized && !run->rq->stale_ok) {
        if (run->core->proposer.read_ready(run->core->proposer.context)) {
            run->is_linearized = true; /* what was read is what a new view would show, or the window's
                                          check would have told: views only grow */
        } else {
            let_go(run);
            ask_read_index(run);
            return;
        }
    }
    finish(run, status);
}

/* ---- committing ---- */

static void proposed(struct proposal *proposal, cf_status status, uint64_t index)
{
    struct run *run = cf_container(proposal, struct run, proposal);
    struct core *core = run->core;
    run->ticket = status == CF_OK ? 0 : proposal->claim->ticket; /* an append ends it */
    if (status == CF_OK) {
        run->rq->index = index;
        finish_later(run, run->outcome);
        return;
    }
    if (status != CF_CONFLICT) {
        finish_later(run, status);
        return;
    }
    run->min_index = proposal->retry_index > run->min_index ? proposal->retry_index : run->min_index;
    if (proposal->retry_index != 0) {
        wait_for(run, proposal->retry_index);
        return;
    }
    /* An older request's ticket stands in the way: run again when a ticket ends. */
    pthread_mutex_lock(&core->window_lock);
    cf_list_add_tail(&core->parked, &run->parked);
    pthread_mutex_unlock(&core->window_lock);
}

static void commit(struct run *run)
{
    struct request *rq = run->rq;
    struct proposal *proposal = &run->proposal;
    cf_buf_done(&proposal->payload);
    cf_buf_init(&proposal->payload, TRANSACTION_BYTES_MAX + COMMAND_HEADER_SIZE);
    cf_status status = txn_encode(rq->txn, &proposal->payload, &rq->error);
    if (status != CF_OK) {
        finish(run, status);
        return;
    }
    proposal->claim = txn_claim(rq->txn);
    proposal->claim->ticket = run->ticket;
    proposal->deadline_us = rq->deadline_us;
    proposal->done = proposed;
    proposal->retry_index = 0;
    run->core->proposer.propose(run->core->proposer.context, proposal);
}

cf_status core_admit(struct core *core, struct proposal *proposal, uint64_t index)
{
    cf_status status = CF_OK;
    struct window_claim *claim = proposal->claim;
    bool ended = false;
    pthread_mutex_lock(&core->window_lock);
    if (claim != NULL) {
        status = window_check(core->window, claim, &proposal->retry_index);
        if (status == CF_OK) {
            window_appended(core->window, claim, index);
            ended = claim->ticket != 0;
            window_ticket_end(core->window, claim->ticket);
        } else if (claim->ticket == 0) {
            claim->ticket = window_ticket(core->window, claim); /* proposed() keeps it */
        }
    } else {
        window_appended_all(core->window, index);
    }
    if (status == CF_OK) {
        int64_t now = cf_wall_ns(cf_host_clock());
        core->last_stamp_ns = now > core->last_stamp_ns ? now : core->last_stamp_ns + 1;
        command_set_stamp(&proposal->payload, core->last_stamp_ns);
        atomic_fetch_add_explicit(&core->entries, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&core->window_lock);
    if (ended) {
        wake_parked(core);
    }
    return status;
}

void core_became_leader(struct core *core, uint64_t last_index)
{
    pthread_mutex_lock(&core->state_lock);
    int64_t applied_stamp = core->state.stamp_ns;
    pthread_mutex_unlock(&core->state_lock);
    pthread_mutex_lock(&core->window_lock);
    window_reset(core->window, last_index);
    core->last_stamp_ns =
        applied_stamp > core->last_stamp_ns ? applied_stamp : core->last_stamp_ns;
    pthread_mutex_unlock(&core->window_lock);
    wake_parked(core);
}

/* ---- one run ---- */

static cf_status check_cluster(struct request *rq, struct cf_error *err)
{
    bool may_pass = rq->route != NULL && (rq->route->flags & ROUTE_ANY_ROLE) != 0;
    switch (rq->view->role) {
    case ROLE_ALONE_OR_PRIMARY:
    case ROLE_PERFORMANCE_SECONDARY:
        return CF_OK;
    case ROLE_DR_SECONDARY:
        if (may_pass) {
            return CF_OK;
        }
        return cf_fail(err, CF_INVALID, "path disabled in replication DR secondary mode");
    case ROLE_BOOTSTRAPPING:
        if (may_pass) {
            return CF_OK;
        }
        return cf_fail(err, CF_READ_ONLY, "this cluster is being filled from its primary; see "
                                          "sys/replication/status");
    case ROLE_FENCED:
        if (may_pass) {
            return CF_OK;
        }
        return cf_fail(err, CF_READ_ONLY,
                       "this cluster was superseded by a newer primary and answers nobody: see "
                       "sys/replication/status, then demote it or attach it as a secondary");
    }
    return CF_OK;
}

static cf_status find_route(struct request *rq, struct cf_error *err)
{
    rq->mount = mount_table_match(rq->view->mounts, rq->path);
    if (rq->mount == NULL) {
        return CF_NOT_FOUND;
    }
    rq->mount_path = rq->mount->path;
    rq->relative = cf_slice_from(rq->path, rq->mount->path.size);
    bool is_sys = cf_slice_is(rq->mount->path, "sys/");
    const struct route *routes = rq->mount->ops->select != NULL ? rq->mount->ops->select(rq->mount)
                                                                : rq->mount->ops->routes;
    rq->route = NULL;
    if (is_sys && rq->core->host.routes != NULL) {
        rq->route = route_find(rq->core->host.routes, rq->operation, rq->relative, rq->captures);
    }
    if (rq->route == NULL) {
        rq->route = route_find(routes, rq->operation, rq->relative, rq->captures);
    }
    (void)err;
    return rq->route != NULL ? CF_OK : CF_NOT_FOUND;
}

static bool is_host_route(const struct request *rq)
{
    return rq->route != NULL && (rq->route->flags & ROUTE_HOST) != 0;
}

static cf_status authenticate(struct request *rq, struct cf_error *err)
{
    bool is_open = rq->route != NULL && (rq->route->flags & ROUTE_OPEN) != 0;
    rq->caller = rq->foreign;
    if (rq->foreign != NULL) {
        return CF_OK;
    }
    if (rq->token.size == 0 || rq->token_is_malformed) {
        return is_open ? CF_OK : cf_fail(err, CF_DENIED, "permission denied");
    }
    cf_status status = token_lookup(rq->txn, rq->arena, rq->token, &rq->caller, err);
    if (status == CF_OK && rq->caller->bound_cidr_count != 0 &&
        !cidr_contains(rq->caller->bound_cidrs, rq->caller->bound_cidr_count, rq->remote_address)) {
        status = CF_DENIED;
    }
    if (status == CF_DENIED) {
        rq->caller = NULL;
        return is_open ? CF_OK : cf_fail(err, CF_DENIED, "permission denied");
    }
    return status;
}

/* Create or update is the mount's to say. */
static cf_status decide_operation(struct request *rq, struct cf_error *err)
{
    if (!rq->is_write_method) {
        return CF_OK;
    }
    bool exists = true;
    if (rq->route != NULL && rq->route->exists != NULL) {
        CF_TRY(rq->route->exists(rq, &exists, err));
    }
    rq->operation = exists ? OPERATION_UPDATE : OPERATION_CREATE;
    return CF_OK;
}

static struct cf_slice policy_path(const struct request *rq)
{
    bool lists = rq->operation == OPERATION_LIST || rq->operation == OPERATION_SCAN;
    if (lists && rq->path.size != 0 && rq->path.data[rq->path.size - 1] != '/') {
        return cf_slice_str(arena_printf(rq->arena, "%.*s/", CF_SHOW(rq->path)));
    }
    return rq->path;
}

static cf_status check_policy(struct run *run, struct cf_error *err)
{
    struct request *rq = run->rq;
    if (rq->route != NULL && (rq->route->flags & ROUTE_OPEN) != 0) {
        return CF_OK;
    }
    if (rq->caller->is_wrapping && (rq->route == NULL || (rq->route->flags & ROUTE_WRAPPING) == 0)) {
        return cf_fail(err, CF_DENIED, "1 error occurred:\n\t* permission denied\n\n");
    }
    acl_unref(run->acl);
    run->acl = NULL;
    CF_TRY(authorize_acl(rq->txn, rq->arena, rq->caller, &run->acl, err));
    struct acl_request question = {
        .path = policy_path(rq),
        .operation = rq->operation,
        .body = rq->body,
        .wrap_ttl_s = rq->wrap_ttl_s,
        .needs_sudo = rq->route != NULL && (rq->route->flags & ROUTE_SUDO) != 0,
    };
    if (!acl_allows(run->acl, &question)) {
        return cf_fail(err, CF_DENIED, "1 error occurred:\n\t* permission denied\n\n");
    }
    return CF_OK;
}

static void warn_unknown(struct request *rq)
{
    if (rq->response.no_unknown_parameter_warning || rq->body == NULL ||
        rq->route->fields == NULL) {
        return;
    }
    CF_BUF(names) = {.max = 900};
    for (size_t i = 0; i < json_count(rq->body); i++) {
        if (!route_knows(rq->route, rq->body->members[i].key)) {
            cf_buf_addf(&names, "%s%.*s", names.size != 0 ? " " : "",
                        CF_SHOW(rq->body->members[i].key));
        }
    }
    if (names.size != 0) {
        response_warn(rq, "Endpoint ignored these unrecognized parameters: [%.*s]",
                      CF_SHOW(cf_buf_slice(&names)));
    }
}

/* What every answer with content may become: a token, a wrapped answer. */
static cf_status decorate(struct request *rq, struct cf_error *err)
{
    struct response *rs = &rq->response;
    if (rq->foreign != NULL) {
        return CF_OK; /* the secondary makes them, from the answer */
    }
    if (rs->auth != NULL && (rq->route->flags & ROUTE_LOGIN) != 0) {
        CF_TRY(token_from_login(rq, rs->auth, err));
    }
    bool has_content = rs->data != NULL || rs->auth != NULL || rs->raw.size != 0;
    if (rq->wrap_ttl_s > 0 && has_content && rs->wrap == NULL && !rs->no_envelope) {
        CF_BUF(content) = {.secret = true};
        envelope_write(rq, &content);
        CF_TRY(wrapping_wrap(rq, rq->wrap_ttl_s, rq->path, cf_buf_slice(&content), &rs->wrap, err));
        rs->data = NULL;
        rs->auth = NULL;
        rs->warnings = NULL;
        rs->lease_id = CF_SLICE_EMPTY;
        rs->lease_duration_s = 0;
        rs->renewable = false;
    }
    return CF_OK;
}

/* The handler and what follows it, on the request's thread or (slow routes) on a worker. */
static cf_status handle(struct request *rq)
{
    route_handler handler = route_handler_of(rq->route, rq->operation);
    size_t mark = txn_mark(rq->txn);
    cf_status status = handler(rq, &rq->error);
    if (status == CF_OK) {
        warn_unknown(rq);
        status = decorate(rq, &rq->error);
    }
    if (status != CF_OK) {
        txn_rollback(rq->txn, mark); /* what stays is the use that was spent */
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
    if (is_host_route(rq)) {
        return (rq->route->flags & ROUTE_ACTIVE) != 0;
    }
    bool writes = rq->is_write_method || rq->operation == OPERATION_PATCH ||
                  rq->operation == OPERATION_DELETE;
    return (writes && (rq->route->flags & ROUTE_READS) == 0) ||
           (rq->route->flags & (ROUTE_ACTIVE | ROUTE_WRITE)) != 0 || rq->wrap_ttl_s > 0 ||
           (rq->caller != NULL && rq->caller->num_uses > 0);
}

static void forward(struct run *run, bool to_primary)
{
    struct core_host *host = &run->core->host;
    if (host->forward == NULL) {
        finish(run, CF_UNAVAILABLE);
        return;
    }
    host->forward(host->context, run->rq, to_primary);
}

static void after_handler(struct run *run)
{
    struct request *rq = run->rq;
    struct cf_error audit_error = {0};
    cf_status status = run->status;
    if (audit_record(run->core->audit, AUDIT_RESPONSE, rq, &audit_error) != CF_OK) {
        rq->error = audit_error;
        finish(run, CF_INTERNAL);
        return;
    }
    if (!txn_has_writes(rq->txn)) {
        answer(run, status);
        return;
    }
    if (rq->view->role == ROLE_PERFORMANCE_SECONDARY &&
        (txn_write_classes(rq->txn) & 1u << class_number(CLASS_REPLICATED)) != 0) {
        forward(run, true);
        return;
    }
    run->outcome = status; /* an error may still have spent a use of the token */
    commit(run);
}

static void after_worker(void *arg)
{
    after_handler(arg);
}

static void on_worker(void *arg)
{
    struct run *run = arg;
    run->status = handle(run->rq);
    run->rq->post(run->rq, after_worker, run);
}

/* Everything before the handler. CF_OK: go on with it; anything else is the answer. */
static cf_status prepare(struct run *run, bool *handed_on)
{
    struct request *rq = run->rq;
    struct cf_error *err = &rq->error;
    cf_status routed = find_route(rq, err);
    CF_TRY(check_cluster(rq, err));
    CF_TRY(authenticate(rq, err));
    if (routed != CF_OK && rq->mount == NULL) {
        return cf_fail(err, CF_NOT_FOUND, "no handler for route \"%.*s\". route entry not found.",
                       CF_SHOW(rq->path));
    }
    txn_note_read(rq->txn, rq->mount->entry_hash);
    CF_TRY(decide_operation(rq, err));
    CF_TRY(check_policy(run, err));
    if (rq->wrap_ttl_s < 0) {
        return cf_fail(err, CF_INVALID, "requested wrapping TTL is not a valid duration");
    }
    if (rq->operation == OPERATION_HELP) {
        return CF_OK;
    }
    if (rq->route == NULL) {
        return cf_fail(err, CF_NOT_FOUND, "1 error occurred:\n\t* unsupported path\n\n");
    }
    if (route_handler_of(rq->route, rq->operation) == NULL) {
        return cf_fail(err, CF_UNSUPPORTED, "1 error occurred:\n\t* unsupported operation\n\n");
    }
    if (belongs_to_active(run)) {
        *handed_on = true;
        forward(run, false);
        return CF_OK;
    }
    /* A wrapping token reaches nothing but sys/wrapping: what opens its content uses it up. */
    if (rq->caller != NULL && rq->caller->num_uses > 0 && !rq->caller->is_wrapping) {
        CF_TRY(token_spend_use(rq, rq->caller, err));
    }
    CF_TRY(audit_record(run->core->audit, AUDIT_REQUEST, rq, err));
    return CF_OK;
}

static bool needs_linear_view(const struct run *run)
{
    const struct request *rq = run->rq;
    bool writes = rq->is_write_method || rq->operation == OPERATION_PATCH ||
                  rq->operation == OPERATION_DELETE;
    return !writes && !rq->stale_ok;
}

static void run_once(struct run *run)
{
    struct request *rq = run->rq;
    bool handed_on = false;
    let_go(run);
    rq->response = (struct response){0};
    rq->error = (struct cf_error){0};
    if (++run->attempts > ATTEMPTS_MAX || cf_monotonic_us(cf_host_clock()) > rq->deadline_us) {
        finish(run, run->attempts > ATTEMPTS_MAX ? CF_CONFLICT : CF_TIMEOUT);
        return;
    }
    rq->view = core_view(run->core);
    if (rq->view == NULL || rq->view->keyring == NULL || rq->view->mounts == NULL) {
        finish(run, CF_SEALED);
        return;
    }
    rq->txn = txn_new(rq->arena, rq->view);
    if (rq->is_write_method) {
        rq->operation = OPERATION_UPDATE;
    }
    cf_status status = prepare(run, &handed_on);
    if (handed_on) {
        return;
    }
    if (status != CF_OK) {
        run->status = status;
        after_handler(run);
        return;
    }
    if (rq->operation == OPERATION_HELP) {
        json_set_text(rq->arena, response_data(rq), "help",
                      rq->route != NULL && rq->route->help != NULL ? rq->route->help
                                                                   : rq->mount->ops->help);
        rq->response.no_envelope = true;
        run->status = CF_OK;
        after_handler(run);
        return;
    }
    if (is_host_route(rq)) {
        /* Node-level work answers through core_host_done(). */
        cf_status started = route_handler_of(rq->route, rq->operation)(rq, &rq->error);
        if (started != CF_OK) {
            answer(run, started);
        }
        return;
    }
    if ((rq->route->flags & ROUTE_SLOW) != 0) {
        if (!work_pool_add(run->core->pool, on_worker, run)) {
            finish(run, CF_BUSY);
        }
        return;
    }
    run->status = handle(rq);
    after_handler(run);
}

static void run_again(void *arg)
{
    run_once(arg);
}

void core_submit(struct core *core, struct request *rq)
{
    struct run *run = cf_new(struct run);
    run->core = core;
    run->rq = rq;
    cf_list_init(&run->parked);
    rq->core = core;
    rq->frame = run;
    rq->is_write_method = rq->operation == OPERATION_CREATE || rq->operation == OPERATION_UPDATE;
    if (rq->deadline_us == 0) {
        rq->deadline_us = cf_monotonic_us(cf_host_clock()) + REQUEST_MAX_US;
    }
    if (rq->required_index != 0) {
        wait_for(run, rq->required_index);
        return;
    }
    if (needs_linear_view(run)) {
        if (!core->proposer.read_ready(core->proposer.context)) {
            ask_read_index(run);
            return;
        }
        run->is_linearized = true;
    }
    run_once(run);
}

void core_host_done(struct request *rq, cf_status status)
{
    finish_later(run_of(rq), status);
}
