/* node/core/lease_count.c: leases by quota, counted at the append. */
#include "node/core/lease_count.h"

#include "node/base/memory.h"
#include "node/core/namespace.h"
#include "node/core/settings.h"
#include "node/core/sys/lease_store.h"

#define KEPT_MAX ((size_t)1 << 20) /* changes while it is counted; more: counted again */

struct total {
    uint64_t rule, max;
    int64_t count;
};

struct lease_scan {
    uint64_t index, version;
    struct total *totals;
    size_t count;
};

struct kept {
    uint64_t index, rule;
    int32_t change;
};

struct lease_counts {
    bool is_ready, is_counting, is_lost; /* is_lost: of the count under way */
    uint64_t version;                    /* of the rules that are counted */
    uint64_t last_index;                 /* appended */
    struct total *totals;
    size_t count;
    struct kept *kept;
    size_t kept_count, kept_room;
};

struct lease_counts *lease_counts_new(void)
{
    return cf_new(struct lease_counts);
}

void lease_counts_free(struct lease_counts *counts)
{
    if (counts != NULL) {
        cf_free(counts->totals);
        cf_free(counts->kept);
        cf_free(counts);
    }
}

void lease_counts_reset(struct lease_counts *counts, uint64_t last_index)
{
    counts->is_ready = false;
    counts->is_lost = true;
    counts->last_index = last_index;
}

static struct total *find(struct total *totals, size_t count, uint64_t rule)
{
    for (size_t i = 0; i < count; i++) {
        if (totals[i].rule == rule) {
            return &totals[i];
        }
    }
    return NULL;
}

bool lease_counts_get(const struct lease_counts *counts, uint64_t rule, uint64_t *ret)
{
    const struct total *total = counts->is_ready ? find(counts->totals, counts->count, rule) : NULL;
    *ret = total != NULL ? (uint64_t)cf_max(total->count, 0) : 0;
    return total != NULL;
}

/* ---- at the append ---- */

/* What the claim adds to a rule's leases: some of its own may go at the same time. */
static int64_t sum_of(const struct window_claim *claim, uint64_t rule)
{
    int64_t sum = 0;
    for (size_t i = 0; i < claim->delta_count; i++) {
        sum += claim->deltas[i].rule == rule ? claim->deltas[i].change : 0;
    }
    return sum;
}

static cf_status check(const struct lease_counts *counts, const struct window_claim *claim)
{
    for (size_t i = 0; i < claim->delta_count; i++) {
        if (claim->deltas[i].change <= 0) {
            continue;
        }
        const struct total *total =
            counts->is_ready ? find(counts->totals, counts->count, claim->deltas[i].rule) : NULL;
        if (total == NULL) {
            return CF_BUSY;
        }
        int64_t sum = sum_of(claim, total->rule);
        if (sum > 0 && total->count + sum > (int64_t)total->max) {
            return CF_RATE_LIMITED;
        }
    }
    return CF_OK;
}

static void keep(struct lease_counts *counts, const struct lease_delta *delta, uint64_t index)
{
    if (counts->kept_count == KEPT_MAX) {
        counts->is_lost = true;
        return;
    }
    if (counts->kept_count == counts->kept_room) {
        size_t room = cf_max(2 * counts->kept_room, 64);
        struct kept *fresh = cf_array(room, sizeof(*fresh));
        if (counts->kept_count != 0) {
            memcpy(fresh, counts->kept, counts->kept_count * sizeof(*fresh));
        }
        cf_free(counts->kept);
        counts->kept = fresh;
        counts->kept_room = room;
    }
    counts->kept[counts->kept_count++] = (struct kept){index, delta->rule, delta->change};
}

cf_status lease_counts_admit(struct lease_counts *counts, const struct window_claim *claim, uint64_t index)
{
    cf_status status = claim->delta_count != 0 ? check(counts, claim) : CF_OK;
    if (status != CF_OK) {
        return status;
    }
    for (size_t i = 0; i < claim->delta_count; i++) {
        const struct lease_delta *delta = &claim->deltas[i];
        struct total *total = find(counts->totals, counts->count, delta->rule);
        if (total != NULL && counts->is_ready) {
            total->count += delta->change;
        }
        if (counts->is_counting) {
            keep(counts, delta, index);
        }
    }
    counts->last_index = index;
    return CF_OK;
}

/* ---- counting ---- */

bool lease_counts_begin(struct lease_counts *counts, const struct view *view, uint64_t *ret_from)
{
    uint64_t version = view->settings != NULL ? view->settings->quotas.lease_version : 0;
    if (counts->is_ready && counts->version == version) {
        return false;
    }
    counts->is_counting = true;
    counts->is_lost = false;
    counts->kept_count = 0;
    *ret_from = counts->last_index;
    return true;
}

struct walk {
    const struct view *view;
    struct lease_scan *scan;
    struct arena *arena;
    uint32_t ns;
    cf_status status;
    struct cf_error *err;
};

static bool each_lease(void *context, struct cf_slice id)
{
    struct walk *walk = context;
    struct cf_slice value;
    CF_BUF(name) = {0};
    cf_buf_add_str(&name, AREA_LEASE);
    cf_buf_add_slice(&name, id);
    arena_reset(walk->arena);
    walk->status = view_get(walk->view, (struct key){CLASS_CLUSTER, walk->ns, cf_buf_slice(&name)}, walk->arena,
                            &value, NULL, walk->err);
    if (walk->status != CF_OK) {
        return false;
    }
    const struct quota_rule *rule = lease_rule_of(walk->view, walk->ns, id, value);
    struct total *total = rule != NULL ? find(walk->scan->totals, walk->scan->count, rule->id) : NULL;
    if (total != NULL) {
        total->count++;
    }
    return true;
}

static void scan_free(struct lease_scan *scan)
{
    cf_free(scan->totals);
    cf_free(scan);
}

cf_status lease_counts_scan(const struct view *view, struct lease_scan **ret, struct cf_error *err)
{
    const struct quota_table *table = &view->settings->quotas;
    struct lease_scan *scan = cf_new(struct lease_scan);
    CF_OWNED(arena) arena = arena_new(1024);
    struct walk walk = {.view = view, .scan = scan, .arena = arena, .err = err};
    scan->index = view->index;
    scan->version = table->lease_version;
    scan->count = table->lease_count;
    scan->totals = cf_array(table->lease_count + 1, sizeof(*scan->totals));
    for (size_t i = 0; i < table->lease_count; i++) {
        scan->totals[i] = (struct total){table->leases[i].id, table->leases[i].max_leases, 0};
    }
    for (size_t i = 0; table->lease_count != 0 && walk.status == CF_OK && i < view->namespaces->count; i++) {
        walk.ns = view->namespaces->list[i]->number;
        cf_status status = view_walk(view, (struct key){CLASS_CLUSTER, walk.ns, CF_SLICE(AREA_LEASE)},
                                     CF_SLICE_EMPTY, each_lease, &walk, err);
        walk.status = walk.status == CF_OK ? status : walk.status;
    }
    if (walk.status != CF_OK) {
        scan_free(scan);
        return walk.status;
    }
    *ret = scan;
    return CF_OK;
}

void lease_counts_end(struct lease_counts *counts, struct lease_scan *scan)
{
    counts->is_counting = false;
    if (scan == NULL) {
        return;
    }
    if (!counts->is_lost) {
        for (size_t i = 0; i < counts->kept_count; i++) {
            const struct kept *kept = &counts->kept[i];
            struct total *total = find(scan->totals, scan->count, kept->rule);
            if (total != NULL && kept->index > scan->index) {
                total->count += kept->change;
            }
        }
        cf_free(counts->totals);
        counts->totals = scan->totals;
        counts->count = scan->count;
        counts->version = scan->version;
        counts->is_ready = true;
        scan->totals = NULL;
    }
    scan_free(scan);
}
