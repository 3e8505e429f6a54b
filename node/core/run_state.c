/* node/core/run_state.c: which state a request may be answered from: the newest, what its client has seen, or what this
 * node has. */
#include "node/base/host.h"
#include "node/core/mount.h"
#include "node/core/namespace.h"
#include "node/core/run_int.h"

/* ---- waiting ---- */

static void waited(struct index_wait *wait, bool reached)
{
    struct run *run = cf_container(wait, struct run, wait);
    if (!reached && !wait->while_active) {
        run_finish_later(run, CF_SEALED);
        return;
    }
    if (!reached) {
        run->min_index = 0; /* it was of a log that is no more ours to append to */
    }
    run->rq->post(run->rq, run_again, run);
}

void run_wait_for(struct run *run, uint64_t index, bool while_active)
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
        run_finish_later(run, status);
        return;
    }
    run->is_linearized = true;
    run_wait_for(run, index, false);
}

void run_ask_read_index(struct run *run)
{
    struct proposer *proposer = &run->core->proposer;
    run->read = (struct read_wait){.done = read_done, .deadline_us = run->rq->deadline_us};
    proposer->read_index(proposer->context, &run->read);
}

void run_answer(struct run *run, cf_status status)
{
    if (!run->is_linearized && !run->may_be_stale) {
        if (run->core->proposer.read_ready(run->core->proposer.context)) {
            run->is_linearized = true; /* what was read is what a new view would show, or the
                                          window's check would have told: views only grow */
        } else {
            run_let_go(run);
            run_ask_read_index(run);
            return;
        }
    }
    run_finish(run, status);
}

bool run_is_fresh_enough(struct run *run)
{
    struct proposer *proposer = &run->core->proposer;
    struct request *rq = run->rq;
    rq->was_stale = true;
    rq->staleness_us = proposer->staleness_us != NULL
                           ? proposer->staleness_us(proposer->context, rq->view->index)
                           : 0;
    return rq->staleness_us <= STALE_MAX_US;
}

/* ---- sessions ---- */

static void await_session(struct run *run);

/* Linearizable, unless the client, or whoever tuned the mount, asked for less. */
static void start_reading(struct run *run)
{
    struct proposer *proposer = &run->core->proposer;
    if (proposer->read_ready(proposer->context)) {
        run->is_linearized = true;
        run->may_be_stale = false;
    } else if (!run->may_be_stale) {
        run_ask_read_index(run);
        return;
    }
    run_once(run);
}

static void session_over(void *arg)
{
    struct run *run = arg;
    struct request *rq = run->rq;
    if (rq->forward_if_behind && !run_is_active(run)) {
        run->is_forced = true;
        run_once(run);
        return;
    }
    cf_fail(&rq->error, CF_STALE, "%s", cf_status_text(CF_STALE));
    run_finish(run, CF_STALE);
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
        run_finish(run, status);
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

void run_start(struct run *run)
{
    struct request *rq = run->rq;
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
