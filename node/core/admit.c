/* node/core/admit.c: the check at append, the leader's time stamps, and who waits for a ticket. */
#include "node/base/host.h"
#include "node/base/log.h"
#include "node/core/command.h"
#include "node/core/core_int.h"

/* ---- tickets ---- */

void core_wake_parked(struct core *core)
{
    struct cf_list parked;
    cf_list_init(&parked);
    pthread_mutex_lock(&core->window_lock);
    cf_list_splice_tail(&parked, &core->parked);
    pthread_mutex_unlock(&core->window_lock);
    while (!cf_list_empty(&parked)) {
        struct parked *one = cf_container(parked.next, struct parked, link);
        cf_list_remove(&one->link);
        one->run(one);
    }
}

void core_park(struct core *core, struct parked *parked, const struct window_claim *claim)
{
    pthread_mutex_lock(&core->window_lock);
    /* The ticket in the way may have ended since the check: nobody would wake us. */
    bool waits = window_must_wait(core->window, claim);
    if (waits) {
        cf_list_add_tail(&core->parked, &parked->link);
    }
    pthread_mutex_unlock(&core->window_lock);
    if (!waits) {
        parked->run(parked);
    }
}

void core_end_ticket(struct core *core, uint64_t ticket)
{
    if (ticket == 0) {
        return;
    }
    pthread_mutex_lock(&core->window_lock);
    window_ticket_end(core->window, ticket);
    pthread_mutex_unlock(&core->window_lock);
    core_wake_parked(core);
}

/* ---- the append ---- */

/* Later than every stamp before, never slower than the monotonic clock: a wall clock that is set
 * back stops no lease from running out. window_lock is held. */
static int64_t next_stamp(struct core *core)
{
    uint64_t now_us = cf_monotonic_us(cf_host_clock());
    int64_t wall = cf_wall_ns(cf_host_clock());
    int64_t least = core->last_stamp_ns + (int64_t)(now_us - core->last_stamp_us) * 1000;
    least = least > core->last_stamp_ns ? least : core->last_stamp_ns + 1;
    core->last_stamp_ns = wall > least ? wall : least;
    core->last_stamp_us = now_us;
    return core->last_stamp_ns;
}

/* What a DR secondary mirrors has one writer, the receiver (design 3.4): whatever else gets here wrote past
 * a check that should have stopped it. */
static bool writes_mirrored(const struct window_claim *claim)
{
    for (size_t i = 0; i < claim->write_count; i++) {
        if (claim->writes[i].class != CLASS_OWN) {
            return true;
        }
    }
    return false;
}

cf_status core_admit(struct core *core, struct proposal *proposal, uint64_t index)
{
    cf_status status = CF_OK;
    struct window_claim *claim = proposal->claim;
    bool ended = false;
    if (claim != NULL && proposal->check == NULL &&
        atomic_load_explicit(&core->role_now, memory_order_relaxed) == ROLE_DR_SECONDARY &&
        writes_mirrored(claim)) {
        cf_err("core", "ALARM: a write of mirrored data was refused on a DR secondary; report it, "
                       "with the log of the minute before");
        return CF_READ_ONLY;
    }
    pthread_mutex_lock(&core->window_lock);
    if (claim != NULL) {
        status = window_check(core->window, claim, &proposal->retry_index);
        if (status == CF_OK) {
            window_appended(core->window, claim, index);
            ended = claim->ticket != 0;
            window_ticket_end(core->window, claim->ticket);
        } else if (claim->ticket == 0) {
            claim->ticket = window_ticket(core->window, claim); /* its owner keeps it */
        }
    } else {
        window_appended_all(core->window, index);
    }
    if (status == CF_OK) {
        command_set_stamp(&proposal->payload, next_stamp(core));
        atomic_fetch_add_explicit(&core->entries, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&core->window_lock);
    if (ended) {
        core_wake_parked(core);
    }
    return status;
}

void core_became_leader(struct core *core, uint64_t last_index)
{
    pthread_mutex_lock(&core->state_lock);
    struct progress applied = core->state.now;
    pthread_mutex_unlock(&core->state_lock);
    pthread_mutex_lock(&core->window_lock);
    window_reset(core->window, last_index);
    if (applied.stamp_ns > core->last_stamp_ns) {
        core->last_stamp_ns = applied.stamp_ns;
        core->last_stamp_us = applied.stamp_monotonic_us;
    }
    pthread_mutex_unlock(&core->window_lock);
    core_wake_parked(core);
}
