/* node/core/lease_count.h
 *
 * How many leases count for each quota (quota.h), on the active node, in memory. A request that makes or removes
 * leases says so in its claim; the check at append (admit.c) refuses what would exceed a limit and counts the rest, in
 * log order, so that the count is exact without a record that every login would collide at. What was there before this
 * node led, or before a rule was written, is counted once from a view, in the background; the changes appended
 * meanwhile are kept and added. Until then leases under a quota are not made (CF_BUSY). Thread: under the lock of the
 * append, except lease_counts_scan().
 */
#ifndef COFFER_CORE_LEASE_COUNT_H
#define COFFER_CORE_LEASE_COUNT_H

#include "node/core/view.h"
#include "node/core/window.h"

struct lease_counts;

struct lease_counts *lease_counts_new(void);
void lease_counts_free(struct lease_counts *counts);
/* Nothing is known any more; entries up to last_index are in the log. */
void lease_counts_reset(struct lease_counts *counts, uint64_t last_index);
/* CF_OK: append it at index, it is counted. CF_RATE_LIMITED, CF_BUSY. Asked last of all. */
CF_CHECKED cf_status lease_counts_admit(struct lease_counts *counts, const struct window_claim *claim,
                                        uint64_t index);
/* False: not known (yet). */
bool lease_counts_get(const struct lease_counts *counts, uint64_t rule, uint64_t *ret);

/* ---- counting, in three steps ---- */

/* Whether the view's rules are others than the ones that are counted. *ret_from: a view of at least this index has to
 * be scanned; from here on changes are kept. */
bool lease_counts_begin(struct lease_counts *counts, const struct view *view, uint64_t *ret_from);
/* Reads every lease of the view, without a lock. The result is freed by the next step. */
struct lease_scan;
CF_CHECKED cf_status lease_counts_scan(const struct view *view, struct lease_scan **ret, struct cf_error *err);
/* scan NULL: it failed, or came to nothing. */
void lease_counts_end(struct lease_counts *counts, struct lease_scan *scan);

#endif
