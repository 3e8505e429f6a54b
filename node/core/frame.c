/* node/core/frame.c: the way of a request: route, authenticate, check, audit, run, commit, answer.
 */
#include "node/base/host.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/audit_int.h"
#include "node/core/frame_int.h"
#include "node/core/grant.h"
#include "node/core/policy.h"
#include "node/core/route.h"
#include "node/core/token.h"

#define ATTEMPTS_MAX 64
#define REQUEST_MAX_US ((uint64_t)90 * 1000000)
#define GRANT_ARRIVAL_US ((uint64_t)5 * 1000000)

/* What follows once the write set is committed. */
enum next {
    NEXT_ANSWER,  /* it was the request's effect */
    NEXT_HOST,    /* it was a use of the token: the host's handler begins */
    NEXT_PRIMARY, /* as before: the request goes to the primary */
};

/* One request's stay in the frame. */
struct run {
    struct core *core;
    struct request *rq;
    unsigned attempts;
    uint64_t min_index; /* the view must be at least this new */
    bool is_linearized; /* a read index was asked for after the request came, min_index holds it */
    cf_status outcome;  /* the handler's: what is answered once its effect is committed */
    uint64_t ticket;
    struct proposal proposal;
    struct read_wait read;
    struct index_wait wait;
    struct parked parked;
    struct audit_held held;
    struct audit_trail trail;
    void (*recorded)(void *arg); /* what follows once the devices have this run's records */
    bool is_recorded;            /* they have */
    enum next next;
    bool hands_on;    /* to the active node */
    size_t mark;      /* of the write set: what the frame wrote by itself, before the handler */
    cf_status status; /* of the last step, on its way to the request's thread */
    struct session_index session; /* this node has to have seen that */
    uint64_t session_until_us;
    bool may_be_stale; /* a read that need not be linearizable */
    bool is_metered;   /* the rate limits have counted it */
    bool is_forced;    /* to the active node, before anything else is asked */
    bool asked_primary;
    bool is_handled; /* this time the handler has run: a refusal is its own */
    struct json *grant; /* of the primary: the login was carried out there, its token is to be made here */
    uint64_t grant_until_us; /* so long the entity of the login may be on its way from there */
    struct acl *acl;
    struct flight flight;
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
    rq->nspace = NULL;
    rq->mounts = NULL;
    rq->caller = NULL;
}

/* What rq->error says is what is answered: a look-up that may fail leaves its error behind. */
static void settle(struct request *rq, cf_status status)
{
    if (status != CF_OK && rq->error.status != status) {
        cf_fail(&rq->error, status, "%s", cf_status_text(status));
    }
    rq->error.status = status;
}

/* What the client has seen with this answer, for its next request. */
static void show_session(struct run *run, cf_status status)
{
    struct request *rq = run->rq;
    bool has_effect = rq->index != 0 || rq->replicated_index != 0;
    if (rq->view == NULL || rq->is_forwarded || status == CF_UNKNOWN_OUTCOME ||
        (!has_effect && !run->may_be_stale && rq->session_count == 0)) {
        return;
    }
    struct session_index index = {rq->index, rq->replicated_index};
    CF_BUF(text) = {0};
    if (!has_effect) {
        index.local = rq->view->index;
    }
    session_write(rq->view->salt, run->core->cluster_id, index, &text);
    rq->session = arena_copy(rq->arena, cf_buf_slice(&text));
}

/* The use of a credential is spent. Whoever forwarded the request here asks another node, which gets the grant
 * again (its record is the primary's); a client is told. */
static cf_status outcome_of_grant(struct request *rq, cf_status status)
{
    bool is_asked_again = rq->is_forwarded && (status == CF_NOT_LEADER || status == CF_UNAVAILABLE || status == CF_SEALED);
    return is_asked_again ? status
                          : cf_fail(&rq->error, CF_UNKNOWN_OUTCOME,
                                    "the primary let the login in, but its token could not be made here: log in again");
}

static void finish(struct run *run, cf_status status)
{
    struct request *rq = run->rq;
    if (run->grant != NULL && status != CF_OK) {
        status = outcome_of_grant(rq, status);
    }
    core_end_ticket(run->core, run->ticket);
    flights_remove(&run->core->flights, &run->flight);
    settle(rq, status);
    rq->frame = NULL;
    cf_buf_done(&run->proposal.payload);
    struct view *view = rq->view;
    show_session(run, status);
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

/* ---- audit ---- */

static void record(struct run *run, enum audit_phase phase)
{
    if (run->rq->view->audit->count != 0) {
        audit_add(&run->trail, phase, run->rq);
    }
}

static void trail_ended(struct audit_trail *trail, bool taken)
{
    struct run *run = cf_container(trail, struct run, trail);
    run->is_recorded = taken;
    run->rq->post(run->rq, run->recorded, run);
}

/* Goes on with `then` on the request's thread, which looks at is_recorded. */
static void when_recorded(struct run *run, void (*then)(void *arg))
{
    if (run->rq->view->audit->count == 0) {
        run->is_recorded = true;
        then(run);
        return;
    }
    run->recorded = then;
    audit_wait(&run->trail, trail_ended);
}

static void unrecorded(struct run *run, cf_status status)
{
    struct request *rq = run->rq;
    cf_fail(&rq->error, status, "%s", cf_status_text(status));
    cf_error_detail(&rq->error, "No audit device took the record: see the log, and sys/audit.");
    finish(run, status);
}

static void host_recorded(void *arg)
{
    struct run *run = arg;
    if (run->is_recorded) {
        finish(run, run->status);
    } else {
        unrecorded(run, CF_UNKNOWN_OUTCOME);
    }
}

/* The answer of a host's handler, of the active node or of the primary. The effect may be there
 * already, so a record that nobody takes cannot say that it is not (design 3.8). */
static void host_ended(void *arg)
{
    struct run *run = arg;
    struct request *rq = run->rq;
    if (run->asked_primary && rq->takes_grant && run->status == CF_OK && rq->response.status == 200) {
        run->grant = grant_in(rq->arena, rq->response.raw);
        run->grant_until_us = cf_monotonic_us(cf_host_clock()) + GRANT_ARRIVAL_US;
        run_once(run);
        return;
    }
    settle(run->rq, run->status);
    record(run, AUDIT_RESPONSE);
    when_recorded(run, host_recorded);
}

/* ---- linearizable reads ---- */

static void waited(struct index_wait *wait, bool reached)
{
    struct run *run = cf_container(wait, struct run, wait);
    if (!reached && !wait->while_active) {
        finish_later(run, CF_SEALED);
        return;
    }
    if (!reached) {
        run->min_index = 0; /* it was of a log that is no more ours to append to */
    }
    run->rq->post(run->rq, run_again, run);
}

static void wait_for(struct run *run, uint64_t index, bool while_active)
{
    run->min_index = index > run->min_index ? index : run->min_index;
    run->wait =
        (struct index_wait){.index = run->min_index, .while_active = while_active, .run = waited};
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
    wait_for(run, index, false);
}

static void ask_read_index(struct run *run)
{
    struct proposer *proposer = &run->core->proposer;
    run->read = (struct read_wait){.done = read_done, .deadline_us = run->rq->deadline_us};
    proposer->read_index(proposer->context, &run->read);
}

/* ---- answers ---- */

/* Without a write set the answer stands only on a view that was the newest when the request came.
 */
static void answer(struct run *run, cf_status status)
{
    if (!run->is_linearized && !run->may_be_stale) {
        if (run->core->proposer.read_ready(run->core->proposer.context)) {
            run->is_linearized = true; /* what was read is what a new view would show, or the
                                          window's check would have told: views only grow */
        } else {
            let_go(run);
            ask_read_index(run);
            return;
        }
    }
    finish(run, status);
}

/* ---- what others do: the active node, the primary, the host ---- */

static void forward(struct run *run, bool to_primary)
{
    struct core_host *host = &run->core->host;
    if (host->forward == NULL) {
        finish(run, CF_UNAVAILABLE);
        return;
    }
    host->forward(host->context, run->rq, to_primary);
}

/* Node-level work answers through core_host_done(). */
static void start_host(struct run *run)
{
    struct request *rq = run->rq;
    cf_status started = route_handler_of(rq->route, rq->operation)(rq, &rq->error);
    if (started != CF_OK) {
        run->status = started;
        host_ended(run);
    }
}

/* ---- committing ---- */

static void unparked(struct parked *parked)
{
    struct run *run = cf_container(parked, struct run, parked);
    run->rq->post(run->rq, run_again, run);
}

static void committed(void *arg)
{
    struct run *run = arg;
    switch (run->next) {
    case NEXT_ANSWER:
        finish(run, run->outcome);
        break;
    case NEXT_HOST:
        start_host(run);
        break;
    case NEXT_PRIMARY:
        forward(run, true);
        break;
    }
}

/* The audit devices have the answer that was meant: they are told that it was not given. */
static void lost(void *arg)
{
    struct run *run = arg;
    struct request *rq = run->rq;
    if (run->status == CF_RATE_LIMITED) { /* of the append: lease_count.h */
        cf_fail(&rq->error, CF_RATE_LIMITED, "request path \"%.*s\": lease count quota exceeded",
                CF_SHOW(cf_slice_first(rq->full_path, 100)));
    }
    settle(rq, run->status);
    record(run, AUDIT_OUTCOME); /* nothing to wait for: the client gets an error in any case */
    finish(run, run->status);
}

static void proposed(struct proposal *proposal, cf_status status, uint64_t index)
{
    struct run *run = cf_container(proposal, struct run, proposal);
    const struct proposer *proposer = &run->core->proposer;
    run->ticket = status == CF_OK ? 0 : proposal->claim->ticket; /* an append ends it */
    if (status == CF_OK) {
        run->rq->index = index;
        run->rq->post(run->rq, committed, run);
    } else if (status == CF_CONFLICT && proposal->retry_index != 0) {
        wait_for(run, proposal->retry_index, true);
    } else if (status == CF_CONFLICT) {
        run->parked.run = unparked;
        core_park(run->core, &run->parked, proposal->claim);
    } else if (status == CF_NOT_LEADER && !run->rq->is_forwarded &&
               !proposer->is_active(proposer->context)) {
        run->rq->post(run->rq, run_again, run); /* not appended: another node's now */
    } else {
        run->status = status;
        run->rq->post(run->rq, lost, run);
    }
}

static void commit(struct run *run, enum next next)
{
    struct request *rq = run->rq;
    struct proposal *proposal = &run->proposal;
    run->next = next;
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
    proposal->frees = rq->operation == OPERATION_DELETE || txn_frees(rq->txn);
    proposal->done = proposed;
    proposal->retry_index = 0;
    run->core->proposer.propose(run->core->proposer.context, proposal);
}

/* ---- one run ---- */

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

/* Is the request a change of shared data of an engine or auth method? (Of sys/ too little is shared to tell.) */
static bool changes_shared_data(const struct request *rq)
{
    return request_writes(rq) && rq->mount != NULL && rq->mount->class == CLASS_REPLICATED &&
           !cf_slice_is(rq->mount->type, "system") &&
           (rq->route->flags & (ROUTE_READS | ROUTE_OPEN | ROUTE_LOGIN)) == 0;
}

/* Does a performance secondary have to ask its primary? A change that was refused here, or found nothing to
 * do, went by a state that may be behind: a check-and-set against a version that the same client was told of, a
 * deletion of what has not come yet. A retry may find the effect of its own first try, which has come
 * back from there. Only the primary knows. */
static bool is_the_primarys(const struct run *run)
{
    const struct request *rq = run->rq;
    if (rq->view->role != ROLE_PERFORMANCE_SECONDARY) {
        return false;
    }
    if ((txn_write_classes(rq->txn) & 1u << class_number(CLASS_REPLICATED)) != 0) {
        return true;
    }
    if (run->is_handled && changes_shared_data(rq) && txn_mark(rq->txn) == run->mark &&
        cf_status_http(run->status) < 500) {
        return true;
    }
    return once_is_retry(rq) && request_writes(rq) &&
           (!txn_has_writes(rq->txn) || rq->keeps_writes); /* a failed login that was counted */
}

/* What the primary will answer is not known yet. A use of the token is spent here first. */
static void to_primary(void *arg)
{
    struct run *run = arg;
    struct request *rq = run->rq;
    if (!run->is_recorded) {
        unrecorded(run, CF_INTERNAL);
    } else if (txn_has_writes(rq->txn)) {
        commit(run, NEXT_PRIMARY);
    } else {
        forward(run, true);
    }
}

/* Both records stand: the effect may come about. */
static void handler_recorded(void *arg)
{
    struct run *run = arg;
    struct request *rq = run->rq;
    if (!run->is_recorded) {
        unrecorded(run, CF_INTERNAL);
        return;
    }
    struct cf_error err = {0};
    cf_status recorded = step_record(rq, &err);
    if (recorded != CF_OK) {
        rq->error = err;
        finish(run, recorded);
        return;
    }
    if (!txn_has_writes(rq->txn)) {
        answer(run, run->status);
        return;
    }
    run->outcome = run->status; /* an error may still have spent a use of the token */
    commit(run, NEXT_ANSWER);
}

static void after_handler(void *arg);

/* What the primary had to know is here now: the run begins again. */
static void ensured(void *arg, cf_status status, const struct cf_error *err)
{
    struct run *run = arg;
    struct request *rq = run->rq;
    if (status == CF_OK) {
        rq->post(rq, run_again, run);
        return;
    }
    run->status = status;
    rq->error = *err;
    rq->ensure = NULL;
    rq->post(rq, after_handler, run);
}

static void ensure_recorded(void *arg)
{
    struct run *run = arg;
    if (run->is_recorded) {
        ensure_start(run->rq, ensured, run);
    } else {
        unrecorded(run, CF_INTERNAL);
    }
}

/* Another server was asked: its answer, or that there is none, is known to the next run. */
static void asked_outside(void *arg)
{
    struct run *run = arg;
    run->rq->post(run->rq, run_again, run);
}

static void after_handler(void *arg)
{
    struct run *run = arg;
    struct request *rq = run->rq;
    if (rq->ask != NULL && run->status != CF_OK) {
        if (!outside_start(run->core, rq->ask, asked_outside, run)) {
            finish(run, CF_BUSY);
        }
        return;
    }
    if (rq->ensure != NULL && run->status != CF_OK && run->grant != NULL &&
        cf_monotonic_us(cf_host_clock()) < run->grant_until_us) {
        run->attempts--; /* it comes with the stream, whose link may have moved to another primary */
        wait_for(run, rq->view->index + 1, true);
        return;
    }
    if (rq->ensure != NULL && run->status != CF_OK) {
        when_recorded(run, ensure_recorded); /* it has an effect elsewhere */
        return;
    }
    if (run->grant == NULL && is_the_primarys(run)) {
        run->asked_primary = true;
        rq->error = (struct cf_error){0};
        rq->takes_grant = (rq->route->flags & ROUTE_LOGIN) != 0;
        txn_rollback(rq->txn, run->mark);
        when_recorded(run, to_primary);
        return;
    }
    settle(rq, run->status);
    record(run, AUDIT_RESPONSE);
    when_recorded(run, handler_recorded);
}

static void on_worker(void *arg)
{
    struct run *run = arg;
    run->status = handle(run);
    run->rq->post(run->rq, after_handler, run);
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
    if (rq->mount->move.way != MOVE_NONE) {
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
        unrecorded(run, CF_INTERNAL);
    } else if (!request_is_host(run->rq) || run->hands_on) {
        forward(run, false);
    } else if (txn_has_writes(run->rq->txn)) {
        commit(run, NEXT_HOST); /* one use of a token never allows two effects */
    } else {
        start_host(run);
    }
}

/* A handler is a function: its effect is the write set, which is not appended before both records are
 * written. So the request's record is waited for together with the answer's. */
static void go_on(struct run *run)
{
    struct request *rq = run->rq;
    if (rq->operation == OPERATION_HELP) {
        give_help(rq);
        after_handler(run);
    } else if (request_is_host(rq)) {
        when_recorded(run, hand_over);
    } else if ((rq->route->flags & ROUTE_SLOW) == 0) {
        run->status = handle(run);
        after_handler(run);
    } else if (!work_pool_add(run->core->pool, on_worker, run)) {
        finish(run, CF_BUSY);
    }
}

/* The bound of staleness, and its measure for the client. */
static bool is_fresh_enough(struct run *run)
{
    struct proposer *proposer = &run->core->proposer;
    struct request *rq = run->rq;
    rq->was_stale = true;
    rq->staleness_us = proposer->staleness_us != NULL
                           ? proposer->staleness_us(proposer->context, rq->view->index)
                           : 0;
    return rq->staleness_us <= STALE_MAX_US;
}

/* A fresh view and nothing of the run before. False: the request is answered, or waits. */
static bool begin(struct run *run)
{
    struct request *rq = run->rq;
    let_go(run);
    rq->response = (struct response){0};
    rq->error = (struct cf_error){0};
    rq->ensure = NULL;
    rq->ask = NULL;
    rq->keeps_writes = false;
    run->mark = 0;
    run->hands_on = false;
    run->trail = (struct audit_trail){0};
    if (++run->attempts > ATTEMPTS_MAX || cf_monotonic_us(cf_host_clock()) > rq->deadline_us) {
        finish(run, run->attempts > ATTEMPTS_MAX ? CF_CONFLICT : CF_TIMEOUT);
        return false;
    }
    rq->view = core_view(run->core);
    if (rq->view == NULL || rq->view->keyring == NULL || rq->view->mounts == NULL ||
        rq->view->audit == NULL) {
        finish(run, CF_SEALED);
        return false;
    }
    if (run->may_be_stale && !is_fresh_enough(run)) {
        run->may_be_stale = rq->was_stale = false;
        let_go(run);
        ask_read_index(run);
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

static void run_once(struct run *run)
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
        after_handler(run);
        return;
    }
    bool is_done = false;
    run->status = step_once(run->rq, &is_done, &run->rq->error);
    if (is_done || run->status != CF_OK) { /* what ran was recorded and authorised where it ran */
        finish(run, run->status);
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
    settle(run->rq, run->status);
    if (run->rq->quota.is_refused && !run->rq->view->settings->quotas.audits) {
        finish(run, run->status); /* a flood must not fill the audit devices, unless that is wanted */
        return;
    }
    record(run, AUDIT_REQUEST);
    if (run->status == CF_OK && run->hands_on) {
        when_recorded(run, hand_over);
    } else if (run->status != CF_OK) {
        after_handler(run);
    } else {
        go_on(run);
    }
}

static void run_again(void *arg)
{
    run_once(arg);
}

/* ---- which state a request may be answered from ---- */

static void await_session(struct run *run);

static bool is_active(const struct run *run)
{
    return run->core->proposer.is_active(run->core->proposer.context);
}

/* Linearizable, unless the client, or whoever tuned the mount, asked for less. */
static void start_reading(struct run *run)
{
    struct proposer *proposer = &run->core->proposer;
    if (proposer->read_ready(proposer->context)) {
        run->is_linearized = true;
        run->may_be_stale = false;
    } else if (!run->may_be_stale) {
        ask_read_index(run);
        return;
    }
    run_once(run);
}

static void session_over(void *arg)
{
    struct run *run = arg;
    struct request *rq = run->rq;
    if (rq->forward_if_behind && !is_active(run)) {
        run->is_forced = true;
        run_once(run);
        return;
    }
    cf_fail(&rq->error, CF_STALE, "%s", cf_status_text(CF_STALE));
    finish(run, CF_STALE);
}

static void session_reached(void *arg)
{
    struct run *run = arg;
    if (request_writes(run->rq)) {
        run_once(run);
        return;
    }
    run->may_be_stale = true; /* all that the client has seen is here */
    start_reading(run);
}

static void on_session_wait(struct index_wait *wait, bool reached)
{
    struct run *run = cf_container(wait, struct run, wait);
    (void)reached; /* looked at again: what is waited for may be of another log */
    await_session(run);
}

/* Any thread. */
static void await_session(struct run *run)
{
    struct core_host *host = &run->core->host;
    struct request *rq = run->rq;
    struct view *view = core_view(run->core);
    uint64_t index = view != NULL ? view->index : 0;
    bool is_secondary = view != NULL && view->role == ROLE_PERFORMANCE_SECONDARY;
    bool sealed = view == NULL || view->keyring == NULL;
    view_unref(view);
    bool has_replicated = !is_secondary || host->replicated == NULL || run->session.replicated == 0 ||
                          host->replicated(host->context) >= run->session.replicated;
    if (sealed || (index >= run->session.local && has_replicated)) {
        rq->post(rq, session_reached, run); /* sealed: the run says so */
        return;
    }
    if (cf_monotonic_us(cf_host_clock()) >= run->session_until_us) {
        rq->post(rq, session_over, run);
        return;
    }
    run->wait = (struct index_wait){.index = cf_max(run->session.local, index + 1),
                                    .deadline_us = run->session_until_us,
                                    .run = on_session_wait};
    core_wait_index(run->core, &run->wait);
}

/* False: the request was answered. */
static bool read_sessions(struct run *run)
{
    struct request *rq = run->rq;
    struct view *view = core_view(run->core);
    cf_status status = CF_OK;
    if (view != NULL && view->keyring != NULL) {
        for (unsigned i = 0; i < rq->session_count && status == CF_OK; i++) {
            status = session_read(view->salt, run->core->cluster_id, rq->sessions[i], &run->session,
                                  &rq->error);
        }
    }
    view_unref(view);
    if (status != CF_OK) {
        finish(run, status);
    }
    return status == CF_OK;
}

/* Whether the mount was tuned to answer reads from what a node has (read_consistency). */
static bool mount_is_stale(struct run *run)
{
    struct view *view = core_view(run->core);
    bool is_stale = false;
    if (view != NULL && view->namespaces != NULL) {
        struct cf_slice path = run->rq->full_path;
        const struct namespace *ns = namespace_table_match(view->namespaces, path);
        const struct mount *mount =
            ns->mounts->has_stale
                ? mount_table_match(ns->mounts, cf_slice_from(path, ns->path.size))
                : NULL;
        is_stale = mount != NULL && mount_reads_stale(mount);
    }
    view_unref(view);
    return is_stale;
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
    if (rq->forward_always && !rq->is_forwarded && !is_active(run)) {
        run->is_forced = true;
        run_once(run);
        return;
    }
    if (rq->session_count != 0) {
        if (read_sessions(run)) {
            run->session_until_us = cf_monotonic_us(cf_host_clock()) + SESSION_WAIT_US;
            await_session(run);
        }
        return;
    }
    if (request_writes(rq)) {
        run_once(run);
        return;
    }
    run->may_be_stale = rq->stale_ok || mount_is_stale(run);
    start_reading(run);
}

void core_host_done(struct request *rq, cf_status status)
{
    struct run *run = run_of(rq);
    run->status = status;
    rq->post(rq, host_ended, run);
}
