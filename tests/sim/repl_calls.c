/* tests/sim/repl_calls.c
 *
 * Writes that a performance secondary forwards (design 5.4): the request records of node/core/once.c over
 * several clusters. The connection may break with a try on its way, or with its answer; the primary may be
 * replaced meanwhile. Driven as node/server/replication/calls.c does it, without bytes.
 *
 * Checked: an effect at most once in any history; an answer is that of an effect which is there; who was told
 * "nothing was written" has no effect, ever; who was answered reads it here, unless it waited in vain.
 */
#include "tests/sim/repl_world.h"

enum { RETRY_MS = 100, ARRIVAL_MS = 2000, DEADLINE_MS = 20000 };

struct answer {
    cf_status status;
    bool sent, is_replay;
    struct once said;
    struct repl_position position;
};

static uint64_t group_now(const struct world *w)
{
    return once_group((int64_t)w->engine.now_us * 1000 + (int64_t)3600 * 1000000000);
}

static unsigned number(const struct world *w, const struct call *call)
{
    return (unsigned)(call - w->calls);
}

static void later(struct world *w, enum event_kind kind, const struct call *call, uint64_t in_us)
{
    sim_schedule(&w->engine, w->engine.now_us + in_us, kind, 0, number(w, call), call->tries_sent, NULL);
}

void calls_new(struct world *w)
{
    unsigned origin = sim_chance(&w->engine, 700) ? 1 : 3;
    struct cluster *c = &w->clusters[origin];
    if (w->call_count == CALLS_MAX || !c->present || c->leader < 0 ||
        cluster_state(c)->role != AS_PERFORMANCE || cluster_state(c)->set_position.index == 0) {
        return;
    }
    struct call *call = &w->calls[w->call_count++];
    *call = (struct call){.origin = origin,
                          .once = {.is_present = true, .is_own = true, .tries = 1, .group = group_now(w)},
                          .deadline_us = w->engine.now_us + (uint64_t)DEADLINE_MS * 1000};
    call->outcome_until_us = w->engine.now_us + sim_between(&w->engine, 200000, 20000000);
    later(w, EV_CALL_SEND, call, 0);
}

/* ---- the end of a call ---- */

static bool has_run_anywhere(const struct world *w, unsigned n)
{
    for (unsigned i = 0; i < CLUSTERS; i++) {
        const struct cluster *c = &w->clusters[i];
        for (uint64_t e = 1; e <= c->last; e++) {
            if (c->present && bits_word(c->log[e].state.ran, n) != 0) {
                return true;
            }
        }
    }
    return false;
}

static void finish(struct world *w, struct call *call, cf_status status)
{
    call->done = true;
    call->waits = false;
    call->status = status;
    sim_trace(&w->engine, "call %u ends with %d", number(w, call), (int)status);
    if (status == CF_UNAVAILABLE) {
        sim_reached(&w->engine, MARK_CALL_UNTOUCHED);
    } else if (status == CF_UNKNOWN_OUTCOME) {
        sim_reached(&w->engine, MARK_CALL_UNKNOWN);
    }
}

void calls_check(struct world *w)
{
    for (unsigned i = 0; i < w->call_count; i++) {
        const struct call *call = &w->calls[i];
        if (!call->done) {
            sim_fail(&w->engine, "P-5 ends", "call %u never ended", i);
        }
        if (call->status == CF_UNAVAILABLE && has_run_anywhere(w, i)) {
            sim_fail(&w->engine, "P-4 no effect", "call %u was told that nothing was written", i);
        }
    }
}

/* What a node of the origin waits for. */
void calls_advanced(struct world *w, struct cluster *c)
{
    const struct state *state = cluster_state(c);
    for (unsigned i = 0; i < w->call_count; i++) {
        struct call *call = &w->calls[i];
        if (call->waits && call->origin == c->n && state->role == AS_PERFORMANCE &&
            repl_position_reached(&call->until, &state->set_position)) {
            const struct truth *truth = truth_find(w, REPL_PERFORMANCE, &call->until.epoch);
            bool is_newer = repl_epoch_cmp(&state->set_position.epoch, &call->until.epoch) > 0;
            if (!is_newer && truth != NULL && bits_word(state->ran, i) == 0) {
                sim_fail(&w->engine, "P-36 own writes", "call %u was answered, and is not in what is read", i);
            }
            finish(w, call, CF_OK);
        }
    }
}

/* ---- the forwarder ---- */

static void failed(struct world *w, struct call *call, cf_status status, bool sent)
{
    switch (once_failed(&call->once, status, sent, false, w->engine.now_us, 0, call->outcome_until_us)) {
    case ONCE_TRY_AGAIN:
        later(w, EV_CALL_SEND, call, (uint64_t)RETRY_MS * 1000);
        break;
    case ONCE_UNTOUCHED:
        finish(w, call, CF_UNAVAILABLE);
        break;
    case ONCE_UNKNOWN:
        finish(w, call, CF_UNKNOWN_OUTCOME);
        break;
    case ONCE_REFUSED:
        finish(w, call, status);
        break;
    }
}

static void answer_later(struct world *w, const struct call *call, const struct answer *answer,
                         uint64_t in_us)
{
    sim_schedule(&w->engine, w->engine.now_us + in_us, EV_CALL_ANSWER, 0, number(w, call),
                 call->tries_sent, cf_memdup(answer, sizeof(*answer)));
}

/* To the active node of whoever looks like the primary from here. */
static void send(struct world *w, struct call *call)
{
    unsigned fit[CLUSTERS], count = 0;
    for (unsigned i = 0; i < CLUSTERS; i += 2) {
        const struct cluster *to = &w->clusters[i];
        if (to->present && to->leader >= 0 && !w->cut[call->origin][i] &&
            cluster_state(to)->role == AS_SHARED) {
            fit[count++] = i;
        }
    }
    call->tries_sent++;
    if (count == 0) {
        struct answer none = {.status = CF_UNAVAILABLE};
        answer_later(w, call, &none, 1000);
        return;
    }
    unsigned to = fit[sim_below(&w->engine, count)];
    uint64_t delay_us = sim_between(&w->engine, 50, w->options.delay_us);
    if (sim_chance(&w->engine, 20)) {
        delay_us += sim_between(&w->engine, 1, 3000000); /* in a queue somewhere; the connection is gone */
    }
    sim_schedule(&w->engine, w->engine.now_us + delay_us, EV_CALL_SERVE, to, number(w, call),
                 call->tries_sent, cf_memdup(&call->once, sizeof(call->once)));
    later(w, EV_CALL_LOST, call, 1500000);
}

static void take_answer(struct world *w, struct call *call, const struct answer *answer)
{
    if (answer->status != CF_OK) {
        failed(w, call, answer->status, answer->sent);
        return;
    }
    if (answer->said.regroup != 0) {
        if (once_regroup(&call->once, answer->said.regroup, &call->group_changes)) {
            later(w, EV_CALL_SEND, call, 0);
        } else {
            finish(w, call, call->once.tries > 1 ? CF_UNKNOWN_OUTCOME : CF_UNAVAILABLE);
        }
        return;
    }
    call->waits = true;
    call->until = answer->position;
    later(w, EV_CALL_GIVE_UP, call, (uint64_t)ARRIVAL_MS * 1000);
    calls_advanced(w, &w->clusters[call->origin]);
}

/* ---- the primary ---- */

static void run(struct world *w, struct cluster *c, struct call *call)
{
    unsigned n = number(w, call);
    struct effects effects = {0};
    if (bits_word(cluster_state(c)->ran, n) != 0) {
        sim_fail(&w->engine, "P-5 once", "call %u runs again on cluster %u", n, c->n);
    }
    effects_add(&effects, &(struct effect){.type = FX_RAN, .value = n});
    effects_add(&effects, &(struct effect){.type = FX_RECORD, .value = n});
    if (call->ran) {
        sim_reached(&w->engine, MARK_CALL_OVER_PROMOTION); /* the first run was lost with its primary */
    }
    call->ran = true;
    sim_reached(&w->engine, MARK_CALL_RAN);
    cluster_write(w, c, &effects, NULL);
}

/* once: as it was when that try was sent. */
static void serve(struct world *w, struct cluster *c, struct call *call, uint64_t try,
                  const struct once *once)
{
    struct answer answer = {.said = *once};
    unsigned n = number(w, call);
    if (c->leader < 0 || cluster_state(c)->role != AS_SHARED) {
        answer.status = CF_NOT_LEADER; /* refused, or nobody was there: it was not run */
    } else if (w->engine.now_us > call->deadline_us) {
        answer.status = CF_UNKNOWN_OUTCOME;
    } else {
        bool recorded = bits_word(cluster_state(c)->record, n) != 0 &&
                        !REPL_MUTATED(REPL_MUTANT_RECORD_UNREAD);
        switch (once_judge(once, recorded, 0, group_now(w))) {
        case ONCE_RUN:
            run(w, c, call);
            break;
        case ONCE_REPLAY:
            sim_reached(&w->engine, MARK_CALL_REPLAYED);
            break;
        case ONCE_REGROUP:
            answer.said.regroup = group_now(w);
            break;
        case ONCE_GONE:
            answer.status = CF_UNKNOWN_OUTCOME;
            break;
        }
        answer.position =
            node_position(w, cluster_leader(c), REPL_PERFORMANCE, c->last);
    }
    answer.sent = true;
    if (try == call->tries_sent && !call->done && !w->cut[call->origin][c->n] &&
        !sim_chance(&w->engine, w->options.lost_answer_permille)) {
        answer_later(w, call, &answer, sim_between(&w->engine, 50, w->options.delay_us));
    }
}

void calls_event(struct world *w, const struct sim_event *ev)
{
    struct call *call = &w->calls[ev->a];
    bool current = !call->done && !call->waits && ev->b == call->tries_sent;
    switch ((int)ev->kind) {
    case EV_CALL_SEND:
        if (current) {
            send(w, call);
        }
        break;
    case EV_CALL_SERVE:
        serve(w, &w->clusters[ev->node], call, ev->b, ev->data);
        break;
    case EV_CALL_ANSWER:
        if (current) {
            take_answer(w, call, ev->data);
        }
        break;
    case EV_CALL_LOST:
        if (current) {
            failed(w, call, CF_UNKNOWN_OUTCOME, true);
        }
        break;
    case EV_CALL_GIVE_UP:
        if (call->waits) {
            finish(w, call, CF_OK); /* it is there; here something stale may be read for a moment */
        }
        break;
    default:
        break;
    }
}
