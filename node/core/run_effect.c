/* node/core/run_effect.c: what a run came to: it is committed, handed to the active node, the primary or the host, asked
 * outside, or answered; the audit devices are told before. */
#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/core/command.h"
#include "node/core/grant.h"
#include "node/core/key.h"
#include "node/core/outside.h"
#include "node/core/route.h"
#include "node/core/run_int.h"

#define GRANT_ARRIVAL_US ((uint64_t)5 * 1000000)
#define ENSURED_MAX 3 /* each is answered when its effect is here, or after a wait of two seconds */

/* ---- what others do: the active node, the primary, the host ---- */

void run_forward(struct run *run, bool to_primary)
{
    struct core_host *host = &run->core->host;
    if (host->forward == NULL) {
        run_finish(run, CF_UNAVAILABLE);
        return;
    }
    audit_carry_headers(run->rq);
    host->forward(host->context, run->rq, to_primary);
}

void run_start_host(struct run *run)
{
    struct request *rq = run->rq;
    cf_status started = route_handler_of(rq->route, rq->operation)(rq, &rq->error);
    if (started != CF_OK) {
        run->status = started;
        run_host_ended(run);
    }
}

static void host_recorded(void *arg)
{
    struct run *run = arg;
    if (run->is_recorded) {
        run_finish(run, run->status);
    } else {
        run_unrecorded(run, CF_UNKNOWN_OUTCOME);
    }
}

/* The answer of a host's handler, of the active node or of the primary. The effect may be there
 * already, so a record that nobody takes cannot say that it is not (design 3.8). */
void run_host_ended(void *arg)
{
    struct run *run = arg;
    struct request *rq = run->rq;
    if (run->asked_primary && rq->takes_grant && run->status == CF_OK && rq->response.status == 200) {
        run->grant = grant_in(rq->arena, rq->response.raw);
        run->grant_until_us = cf_monotonic_us(cf_host_clock()) + GRANT_ARRIVAL_US;
        run_once(run);
        return;
    }
    run_settle(run->rq, run->status);
    run_record(run, AUDIT_RESPONSE);
    run_when_recorded(run, host_recorded);
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
        run_finish(run, run->outcome);
        break;
    case NEXT_HOST:
        run_start_host(run);
        break;
    case NEXT_PRIMARY:
        run_forward(run, true);
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
    run_settle(rq, run->status);
    run_record(run, AUDIT_OUTCOME); /* nothing to wait for: the client gets an error in any case */
    run_finish(run, run->status);
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
        run_wait_for(run, proposal->retry_index, true);
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

void run_commit(struct run *run, enum next next)
{
    struct request *rq = run->rq;
    struct proposal *proposal = &run->proposal;
    run->next = next;
    cf_buf_done(&proposal->payload);
    cf_buf_init(&proposal->payload, TRANSACTION_BYTES_MAX + COMMAND_HEADER_SIZE);
    cf_status status = txn_encode(rq->txn, &proposal->payload, &rq->error);
    if (status != CF_OK) {
        run_finish(run, status);
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

/* ---- behind the handler ---- */

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
        run_unrecorded(run, CF_INTERNAL);
    } else if (txn_has_writes(rq->txn)) {
        run_commit(run, NEXT_PRIMARY);
    } else {
        run_forward(run, true);
    }
}

/* Both records stand: the effect may come about. */
static void handler_recorded(void *arg)
{
    struct run *run = arg;
    struct request *rq = run->rq;
    if (!run->is_recorded) {
        run_unrecorded(run, CF_INTERNAL);
        return;
    }
    struct cf_error err = {0};
    cf_status recorded = step_record(rq, &err);
    if (recorded != CF_OK) {
        rq->error = err;
        run_finish(run, recorded);
        return;
    }
    if (!txn_has_writes(rq->txn)) {
        run_answer(run, run->status);
        return;
    }
    run->outcome = run->status; /* an error may still have spent a use of the token */
    run_commit(run, NEXT_ANSWER);
}

/* What the primary had to know is here now: the run begins again. */
static void ensured(void *arg, cf_status status, const struct cf_error *err)
{
    struct run *run = arg;
    struct request *rq = run->rq;
    if (status == CF_OK && ++run->ensured <= ENSURED_MAX) {
        rq->post(rq, run_again, run);
        return;
    }
    if (status != CF_OK) {
        run->status = status;
        rq->error = *err;
    } else {
        cf_fail(&rq->error, CF_UNAVAILABLE,
                "the primary knows the entity of this login, but it has not come here yet: see how far "
                "this cluster is behind in sys/replication/performance/status, and try again");
        run->status = CF_UNAVAILABLE;
    }
    rq->ensure = NULL;
    rq->post(rq, run_after_handler, run);
}

static void ensure_recorded(void *arg)
{
    struct run *run = arg;
    if (run->is_recorded) {
        ensure_start(run->rq, ensured, run);
    } else {
        run_unrecorded(run, CF_INTERNAL);
    }
}

/* Another server was asked: its answer, or that there is none, is known to the next run. */
static void asked_outside(void *arg)
{
    struct run *run = arg;
    run->rq->post(run->rq, run_again, run);
}

void run_after_handler(void *arg)
{
    struct run *run = arg;
    struct request *rq = run->rq;
    if (rq->ask != NULL && run->status != CF_OK) {
        if (!outside_start(run->core, rq->ask, asked_outside, run)) {
            run_finish(run, CF_BUSY);
        }
        return;
    }
    if (rq->ensure != NULL && run->status != CF_OK && run->grant != NULL &&
        cf_monotonic_us(cf_host_clock()) < run->grant_until_us) {
        run->attempts--; /* it comes with the stream, whose link may have moved to another primary */
        run_wait_for(run, rq->view->index + 1, true);
        return;
    }
    if (rq->ensure != NULL && run->status != CF_OK) {
        run_when_recorded(run, ensure_recorded); /* it has an effect elsewhere */
        return;
    }
    if (run->grant == NULL && is_the_primarys(run)) {
        run->asked_primary = true;
        rq->error = (struct cf_error){0};
        rq->takes_grant = (rq->route->flags & ROUTE_LOGIN) != 0;
        txn_rollback(rq->txn, run->mark);
        run_when_recorded(run, to_primary);
        return;
    }
    run_settle(rq, run->status);
    run_record(run, AUDIT_RESPONSE);
    run_when_recorded(run, handler_recorded);
}
