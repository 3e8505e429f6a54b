/* node/core/admit.c: the check at append, the leader's time stamps, and who waits for a ticket. */
#include <time.h>

#include "node/base/host.h"
#include "node/base/log.h"
#include "node/core/command.h"
#include "node/core/core_int.h"
#include "node/core/lease_count.h"

#define COUNT_WAIT_MS 1000

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

/* Whether an entry may be the first after the whole cluster was down. What rests on a view does not: its handler
 * had no time to go by. */
static bool may_be_first(const struct window_claim *claim)
{
    return claim == NULL || claim->view_index == UINT64_MAX;
}

/* window_lock is held. */
static void give_stamp(struct core *core, struct proposal *proposal, uint64_t index)
{
    bool was_known = core->stamp.is_known, alarmed = core->stamp.is_alarming;
    command_set_stamp(&proposal->payload, stamp_next(&core->stamp, cf_monotonic_us(cf_host_clock())));
    if (!was_known) {
        window_appended_all(core->window, index); /* views before it know no time */
        atomic_store(&core->timed_index, index);
    }
    if (core->stamp.is_alarming && !alarmed) {
        cf_err("core",
               "ALARM: the voters' clocks are %lld s ahead of the cluster's time, which does not follow "
               "them: set them right",
               (long long)(core->stamp.ahead_ns / 1000000000));
    } else if (alarmed && !core->stamp.is_alarming) {
        cf_info("core", "the voters' clocks agree with the cluster's time again");
    }
}

/* What a DR secondary mirrors has one writer, the receiver (design 3.4): whatever else gets here wrote past
 * a check that should have stopped it. The entry that ends the role (a promotion) takes the data over. */
static bool writes_mirrored(const struct window_claim *claim)
{
    bool mirrored = false, ends_role = false;
    for (size_t i = 0; i < claim->write_count; i++) {
        const struct key *key = &claim->writes[i];
        mirrored = mirrored || key->class != CLASS_OWN;
        ends_role = ends_role || (key->class == CLASS_OWN && cf_slice_is(key->name, AREA_REPL "role"));
    }
    return mirrored && !ends_role;
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
    if (!stamp_is_ready(&core->stamp) || (!core->stamp.is_known && !may_be_first(claim))) {
        status = CF_UNAVAILABLE; /* the time is not known: see core_observe_clocks() */
    } else if (claim != NULL) {
        status = window_check(core->window, claim, &proposal->retry_index);
        bool is_free = status == CF_OK;
        if (is_free) {
            status = lease_counts_admit(core->lease_counts, claim, index);
        }
        if (status == CF_OK) {
            window_appended(core->window, claim, index);
            ended = claim->ticket != 0;
            window_ticket_end(core->window, claim->ticket);
        } else if (!is_free && window_wants_ticket(core->window, claim)) {
            claim->ticket = window_ticket(core->window, claim); /* its owner keeps it */
        }
    } else {
        window_appended_all(core->window, index);
        /* What another cluster sends a performance secondary holds no leases; any other entry of that kind may. */
        if (atomic_load_explicit(&core->role_now, memory_order_relaxed) != ROLE_PERFORMANCE_SECONDARY) {
            lease_counts_reset(core->lease_counts, index);
        }
    }
    if (status == CF_OK) {
        give_stamp(core, proposal, index);
        atomic_fetch_add_explicit(&core->entries, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&core->window_lock);
    if (ended) {
        core_wake_parked(core);
    }
    if (status == CF_BUSY) {
        expirer_wake(core->expirer); /* which counts */
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
    lease_counts_reset(core->lease_counts, last_index);
    stamp_lead(&core->stamp, applied.stamp_ns, applied.stamp_monotonic_us, applied.is_live);
    atomic_store(&core->timed_index, applied.is_live ? 0 : UINT64_MAX);
    pthread_mutex_unlock(&core->window_lock);
    core_wake_parked(core);
}

void core_observe_clocks(struct core *core, int64_t median_ns, unsigned heard, unsigned voters)
{
    pthread_mutex_lock(&core->window_lock);
    stamp_observe(&core->stamp, cf_monotonic_us(cf_host_clock()), median_ns, heard, voters);
    pthread_mutex_unlock(&core->window_lock);
}

bool core_time_is_known(const struct core *core)
{
    return atomic_load_explicit(&core->timed_index, memory_order_relaxed) == 0;
}

struct core_time core_time(struct core *core)
{
    pthread_mutex_lock(&core->window_lock);
    struct core_time time = {core->stamp.ahead_ns, core->stamp.is_alarming};
    pthread_mutex_unlock(&core->window_lock);
    return time;
}

void core_set_log_end(struct core *core, uint64_t last_index)
{
    pthread_mutex_lock(&core->state_lock);
    core->log_start = last_index;
    pthread_mutex_unlock(&core->state_lock);
}

bool core_lease_count(struct core *core, uint64_t rule, uint64_t *ret)
{
    pthread_mutex_lock(&core->window_lock);
    bool known = lease_counts_get(core->lease_counts, rule, ret);
    pthread_mutex_unlock(&core->window_lock);
    return known;
}

/* The view has to hold all that was appended before changes are kept: it may be a moment behind. */
static struct view *view_from(struct core *core, uint64_t index)
{
    for (int i = 0; i < COUNT_WAIT_MS; i++) {
        struct view *view = core_view(core);
        if (view == NULL || view->index >= index) {
            return view;
        }
        view_unref(view);
        struct timespec pause = {0, 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

cf_status core_count_leases(struct core *core, const struct view *view, struct cf_error *err)
{
    uint64_t from;
    pthread_mutex_lock(&core->window_lock);
    bool begins = lease_counts_begin(core->lease_counts, view, &from);
    pthread_mutex_unlock(&core->window_lock);
    if (!begins) {
        return CF_OK;
    }
    struct lease_scan *scan = NULL;
    struct view *newer = view_from(core, from);
    cf_status status = CF_OK;
    if (newer != NULL && newer->keyring != NULL && newer->settings != NULL && newer->namespaces != NULL) {
        status = lease_counts_scan(newer, &scan, err);
    }
    view_unref(newer);
    pthread_mutex_lock(&core->window_lock);
    lease_counts_end(core->lease_counts, scan);
    pthread_mutex_unlock(&core->window_lock);
    return status;
}
