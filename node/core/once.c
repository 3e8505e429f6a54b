/* node/core/once.c: whether a request that carries an id runs, and whether it is sent again. */
#include "node/core/once.h"

#include "node/core/mutant.h"

#define REGROUPS_MAX 3

enum once_verdict once_judge(const struct once *once, bool has_record, uint64_t floor, uint64_t now)
{
    if (has_record) {
        return ONCE_REPLAY;
    }
    bool is_kept = once->group >= floor && once->group + ONCE_KEEP_GROUPS >= now &&
                   once->group <= now + ONCE_AHEAD_GROUPS;
    if (is_kept || REQ_MUTANT(DROPPED_RUNS)) {
        return ONCE_RUN;
    }
    return once->tries <= 1 || REQ_MUTANT(RETRY_REGROUPED) ? ONCE_REGROUP : ONCE_GONE;
}

uint64_t once_droppable(uint64_t now)
{
    return now > ONCE_KEEP_GROUPS ? now - ONCE_KEEP_GROUPS : 0;
}

enum once_next once_failed(struct once *once, cf_status status, bool sent, bool repeatable,
                           uint64_t now_us, uint64_t seek_until_us, uint64_t outcome_until_us)
{
    bool untouched = status == CF_UNAVAILABLE || status == CF_NOT_LEADER || status == CF_BUSY ||
                     (status == CF_TIMEOUT && !sent);
    bool ambiguous = status == CF_UNKNOWN_OUTCOME || (status == CF_TIMEOUT && sent);
    bool before = once->tries > 1; /* an earlier try may have run */
    if (repeatable && (untouched || ambiguous)) {
        return now_us < seek_until_us ? ONCE_TRY_AGAIN : ONCE_UNTOUCHED;
    }
    if (!untouched && !ambiguous) {
        return before ? ONCE_UNKNOWN : ONCE_REFUSED;
    }
    if (!once->is_present) {
        return ambiguous                 ? ONCE_UNKNOWN
               : now_us < seek_until_us ? ONCE_TRY_AGAIN
                                         : ONCE_UNTOUCHED;
    }
    if (ambiguous && !REQ_MUTANT(TRIES_UNCOUNTED)) {
        once->tries++;
    }
    if (once->tries > 1) {
        return now_us < outcome_until_us ? ONCE_TRY_AGAIN : ONCE_UNKNOWN;
    }
    return now_us < seek_until_us ? ONCE_TRY_AGAIN : ONCE_UNTOUCHED;
}

bool once_withdraw(struct once *once)
{
    once->is_present = false;
    return once->tries == 1;
}

bool once_regroup(struct once *once, uint64_t group, unsigned *count)
{
    once->group = group;
    return (once->tries == 1 || REQ_MUTANT(RETRY_REGROUPED)) && ++*count <= REGROUPS_MAX;
}
