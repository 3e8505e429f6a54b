/* node/core/system.c: runs of the node itself. */
#include "node/core/system.h"

#include "node/base/memory.h"
#include "node/core/core_int.h"

#define ATTEMPTS_MAX 1000 /* tickets see to progress; the deadline is the real bound */
#define DEADLINE_US ((uint64_t)30 * 1000000)

struct system_run {
    struct core *core;
    struct system_work work;
    struct request rq;
    struct proposal proposal;
    struct index_wait wait;
    struct parked parked;
    uint64_t ticket;
    struct cf_error err;
    unsigned attempts;
    uint64_t deadline_us;
};

static void run_once(void *arg);

static void let_go(struct system_run *run)
{
    txn_release(run->rq.txn);
    view_unref(run->rq.view);
    cf_buf_done(&run->proposal.payload);
    run->rq.txn = NULL;
    run->rq.view = NULL;
}

static void finish(struct system_run *run, cf_status status, uint64_t index)
{
    core_end_ticket(run->core, run->ticket);
    if (status != CF_OK && run->err.status != status) {
        cf_fail(&run->err, status, "%s", cf_status_text(status));
    }
    run->work.done(run->work.context, status, index, &run->err);
    let_go(run);
    arena_free(run->rq.arena);
    cf_free(run);
}

static void again(struct system_run *run)
{
    core_work(run->core, run_once, run);
}

static void waited(struct index_wait *wait, bool reached)
{
    (void)reached; /* if not: sealed, or no more active, as the next run will find */
    again(cf_container(wait, struct system_run, wait));
}

static void unparked(struct parked *parked)
{
    again(cf_container(parked, struct system_run, parked));
}

static void proposed(struct proposal *proposal, cf_status status, uint64_t index)
{
    struct system_run *run = cf_container(proposal, struct system_run, proposal);
    run->ticket = status == CF_OK ? 0 : proposal->claim->ticket;
    if (status != CF_CONFLICT) {
        finish(run, status, index);
    } else if (proposal->retry_index != 0) {
        run->wait = (struct index_wait){
            .index = proposal->retry_index, .while_active = true, .run = waited};
        core_wait_index(run->core, &run->wait);
    } else {
        run->parked.run = unparked;
        core_park(run->core, &run->parked, proposal->claim);
    }
}

static void run_once(void *arg)
{
    struct system_run *run = arg;
    struct request *rq = &run->rq;
    let_go(run);
    run->err = (struct cf_error){0};
    if (++run->attempts > ATTEMPTS_MAX) {
        finish(run, CF_CONFLICT, 0);
        return;
    }
    rq->view = core_view(run->core);
    if (rq->view == NULL || rq->view->keyring == NULL) {
        finish(run, CF_SEALED, 0);
        return;
    }
    rq->txn = txn_new(rq->arena, rq->view);
    cf_status status = run->work.run(rq, run->work.context, &run->err);
    if (status == CF_OK && txn_has_writes(rq->txn)) {
        cf_buf_init(&run->proposal.payload, TRANSACTION_BYTES_MAX + COMMAND_HEADER_SIZE);
        status = txn_encode(rq->txn, &run->proposal.payload, &run->err);
        if (status == CF_OK) {
            run->proposal.claim = txn_claim(rq->txn);
            run->proposal.claim->ticket = run->ticket;
            run->proposal.deadline_us = run->deadline_us;
            run->proposal.done = proposed;
            run->core->proposer.propose(run->core->proposer.context, &run->proposal);
            return;
        }
    }
    finish(run, status, 0);
}

void system_submit(struct core *core, const struct system_work *work)
{
    struct system_run *run = cf_new(struct system_run);
    run->core = core;
    run->work = *work;
    run->rq.core = core;
    run->rq.arena = arena_new(4096);
    run->rq.random = core_random();
    run->deadline_us = cf_monotonic_us(cf_host_clock()) + DEADLINE_US;
    again(run);
}
