/* tests/sim/req_client.c: clients, and the forwarders that they ask (node/server/forward.c). */
#include "req_world.h"

#include "node/base/memory.h"

#define SEEK_US ((uint64_t)2000000)
#define OUTCOME_US ((uint64_t)12000000)
#define DEADLINE_US ((uint64_t)15000000)

static uint64_t delay(struct world *w, uint64_t mean_us)
{
    return w->engine.now_us + sim_between(&w->engine, mean_us / 4, mean_us * 2);
}

static void end(struct world *w, struct request *rq, enum outcome outcome)
{
    rq->outcome = outcome;
    rq->try = UINT64_MAX;
    sim_note(&w->engine, (uint64_t)rq->number << 4 | outcome);
    sim_trace(&w->engine, "request %u ends: %d", rq->number, (int)outcome);
    check_ended(w, rq);
}

void client_send(struct world *w, struct request *rq)
{
    struct run *run = cf_new(struct run);
    bool direct = !rq->once.is_present;
    run->request = rq;
    run->try = rq->try = ++w->tries;
    run->is_forwarded = !direct;
    run->once = rq->once;
    run->deadline_us = rq->deadline_us;
    run->term = direct ? w->term : 0; /* 0: not arrived */
    run->node = w->leader >= 0 ? (unsigned)w->leader : rq->node;
    run->next = w->runs;
    w->runs = run;
    if (direct) {
        node_arrive(w, run);
        return;
    }
    uint64_t at = delay(w, w->options.net_us);
    if (!w->healing && sim_chance(&w->engine, w->options.break_permille)) {
        /* It may arrive all the same, and much later. */
        sim_schedule(&w->engine, delay(w, w->options.net_us), EV_BREAK, 0, 0, 0, run);
        at += sim_chance(&w->engine, w->options.late_permille)
                  ? sim_between(&w->engine, 0, 400 * (uint64_t)1000000)
                  : 0;
        if (sim_chance(&w->engine, 300)) {
            return; /* never */
        }
    }
    sim_schedule(&w->engine, at, EV_ARRIVE, run->node, 0, 0, run);
}

void client_begin(struct world *w)
{
    static const enum what kinds[] = {DO_INCREMENT, DO_INCREMENT, DO_CAS, DO_COUNT_RANGE, DO_PUT};
    if (w->request_count == REQUESTS_MAX || w->last + 100 > ENTRIES_MAX) {
        return;
    }
    struct request *rq = &w->requests[w->request_count];
    uint64_t now = w->engine.now_us;
    *rq = (struct request){.number = ++w->request_count,
                           .what = kinds[sim_below(&w->engine, CF_LENGTH(kinds))],
                           .hot = (unsigned)sim_below(&w->engine, w->options.hot),
                           .want = (unsigned)sim_below(&w->engine, 2),
                           .seek_until_us = now + SEEK_US,
                           .outcome_until_us = now + OUTCOME_US,
                           .deadline_us = now + DEADLINE_US};
    rq->node = (unsigned)sim_below(&w->engine, NODES);
    if (w->is_ready && sim_chance(&w->engine, w->options.direct_permille)) {
        rq->node = (unsigned)w->leader;
    }
    if ((int)rq->node != w->leader || !w->is_ready) {
        int64_t time = node_view_now_ns(w, &w->nodes[rq->node]);
        rq->once = (struct once){.is_present = true, .tries = 1};
        cf_put_u64(rq->once.id + 32, rq->number);
        if (sim_chance(&w->engine, w->options.old_permille)) {
            time -= (int64_t)sim_below(&w->engine, 600) * 1000000000;
        }
        rq->once.group = once_group(time);
    }
    client_send(w, rq);
}

static void try_later(struct world *w, struct request *rq)
{
    sim_schedule(&w->engine, w->engine.now_us + 50000, EV_RETRY, 0, rq->number, rq->try, NULL);
}

static void failed(struct world *w, struct request *rq, cf_status status, bool sent)
{
    switch (once_failed(&rq->once, status, sent, false, w->engine.now_us, rq->seek_until_us,
                        rq->outcome_until_us)) {
    case ONCE_TRY_AGAIN:
        rq->try = ++w->tries; /* whatever still comes of the others is nobody's */
        try_later(w, rq);
        return;
    case ONCE_UNTOUCHED:
        end(w, rq, ENDED_UNTOUCHED);
        return;
    case ONCE_UNKNOWN:
        end(w, rq, ENDED_UNKNOWN);
        return;
    case ONCE_REFUSED:
        end(w, rq, ENDED_ERROR);
        return;
    }
}

void client_broken(struct world *w, struct run *run)
{
    struct request *rq = run->request;
    if (rq->try == run->try) {
        failed(w, rq, CF_UNKNOWN_OUTCOME, true);
    }
}

void client_answer(struct world *w, struct run *run, cf_status status)
{
    struct request *rq = run->request;
    if (rq->try != run->try) {
        return;
    }
    if (run->once.regroup != 0) {
        sim_reached(&w->engine, MARK_REGROUP);
        if (once_regroup(&rq->once, run->once.regroup, &rq->regroups)) {
            client_send(w, rq);
        } else {
            end(w, rq, rq->once.tries > 1 ? ENDED_UNKNOWN : ENDED_UNTOUCHED);
        }
        return;
    }
    if (status == CF_OK || status == CF_INVALID) {
        rq->answer = run->draft.answer;
        end(w, rq, status == CF_OK ? ENDED_OK : ENDED_ERROR);
    } else if (run->once.is_final || status == CF_TIMEOUT) {
        end(w, rq, ENDED_UNKNOWN);
    } else {
        failed(w, rq, status, true);
    }
}
