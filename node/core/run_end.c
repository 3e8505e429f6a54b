/* node/core/run_end.c: the end of a request in the frame, and its records for the audit devices.
 */
#include "node/base/memory.h"
#include "node/core/policy.h"
#include "node/core/run_int.h"

/* ---- the end ---- */

void run_let_go(struct run *run)
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

void run_settle(struct request *rq, cf_status status)
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

void run_finish(struct run *run, cf_status status)
{
    struct request *rq = run->rq;
    if (run->grant != NULL && status != CF_OK) {
        status = outcome_of_grant(rq, status);
    }
    core_end_ticket(run->core, run->ticket);
    flights_remove(&run->core->flights, &run->flight);
    run_settle(rq, status);
    rq->frame = NULL;
    cf_buf_done(&run->proposal.payload);
    struct view *view = rq->view;
    rq->seen_index = view != NULL ? view->index : 0;
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
    run_finish(run, run->status);
}

void run_finish_later(struct run *run, cf_status status)
{
    run->status = status;
    run->rq->post(run->rq, finish_posted, run);
}

/* ---- audit ---- */

void run_record(struct run *run, enum audit_phase phase)
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

void run_when_recorded(struct run *run, void (*then)(void *arg))
{
    if (run->rq->view->audit->count == 0) {
        run->is_recorded = true;
        then(run);
        return;
    }
    run->recorded = then;
    audit_wait(&run->trail, trail_ended);
}

void run_unrecorded(struct run *run, cf_status status)
{
    struct request *rq = run->rq;
    cf_fail(&rq->error, status, "%s", cf_status_text(status));
    cf_error_detail(&rq->error, "No audit device took the record: see the log, and sys/audit.");
    run_finish(run, status);
}
