/* tests/sim/view.c: what the observer knows: every log as it grows, everything that was committed.
 */
#include <inttypes.h>

#include "tests/sim/world.h"

#define ID PRIu64

/* ---- what is known of the whole history ----------------------------------------------------- */

uint64_t check_entry_chain(uint64_t before, const struct raft_entry *entry)
{
    return sim_mix(sim_mix(before, entry->term), sim_mix(entry->index, entry->crc32c));
}

struct sim_oracle_entry *view_oracle(struct world *w, uint64_t index)
{
    size_t old = w->oracle_capacity;
    raft_grow(&w->oracle, &w->oracle_capacity, (size_t)index + 1, sizeof(w->oracle[0]));
    if (w->oracle_capacity != old) {
        memset(w->oracle + old, 0, (w->oracle_capacity - old) * sizeof(w->oracle[0]));
    }
    if (index + 1 > w->oracle_count) {
        w->oracle_count = (size_t)index + 1;
    }
    return &w->oracle[index];
}

static void chains_grow(struct world *w)
{
    struct sim_chain_slot *old = w->chains;
    size_t old_capacity = w->chain_capacity;
    w->chain_capacity = old_capacity != 0 ? 2 * old_capacity : 1024;
    w->chains = cf_array(w->chain_capacity, sizeof(w->chains[0]));
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].index != 0) {
            size_t at = (size_t)sim_mix(old[i].index, old[i].term) & (w->chain_capacity - 1);
            while (w->chains[at].index != 0) {
                at = (at + 1) & (w->chain_capacity - 1);
            }
            w->chains[at] = old[i];
        }
    }
    cf_free(old);
}

/* I-3: same (index, term), same prefix; on all logs that ever were. */
static void check_log_matching(struct world *w, struct sim_node *n, uint64_t index, uint64_t term,
                               uint64_t chain)
{
    if (2 * (w->chain_count + 1) > w->chain_capacity) {
        chains_grow(w);
    }
    size_t at = (size_t)sim_mix(index, term) & (w->chain_capacity - 1);
    while (w->chains[at].index != 0 &&
           (w->chains[at].index != index || w->chains[at].term != term)) {
        at = (at + 1) & (w->chain_capacity - 1);
    }
    if (w->chains[at].index == 0) {
        w->chains[at] = (struct sim_chain_slot){index, term, chain};
        w->chain_count++;
    } else if (w->chains[at].chain != chain) {
        SIM_FAIL(w, "I-3", "node %" ID " has another log below %" ID "/%" ID, n->id, index, term);
    }
}

/* ---- quorums, computed in another way than the core does ------------------------------------ */

static bool half_has(const struct raft_membership *m, uint8_t role, const bool *has,
                     const uint64_t *ids, size_t count)
{
    unsigned members = 0, yes = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if ((m->members[i].role & role) == 0) {
            continue;
        }
        members++;
        for (size_t j = 0; j < count; j++) {
            yes += ids[j] == m->members[i].id && has[j];
        }
    }
    return role == RAFT_OUTGOING && members == 0 ? true : 2 * yes > members;
}

bool check_has_quorum(const struct raft_membership *m, const bool *has, const uint64_t *ids,
                      size_t count)
{
    return half_has(m, RAFT_VOTER, has, ids, count) && half_has(m, RAFT_OUTGOING, has, ids, count);
}

/* ---- the view of one log -------------------------------------------------------------------- */

static uint64_t view_last(const struct sim_view *v)
{
    return v->base + v->count - 1;
}

const struct sim_view_entry *view_at(const struct sim_view *v, uint64_t index)
{
    return index >= v->base && index <= view_last(v) ? &v->at[index - v->base] : NULL;
}

static void view_push(struct sim_view *v, struct sim_view_entry entry)
{
    raft_grow(&v->at, &v->capacity, v->count + 1, sizeof(v->at[0]));
    v->at[v->count++] = entry;
}

void view_reset(struct world *w, struct sim_view *v, uint64_t index, uint64_t term)
{
    v->base = index;
    v->count = 0;
    view_push(v, (struct sim_view_entry){.term = term, .chain = view_oracle(w, index)->chain});
}

static void view_cut(struct world *w, struct sim_node *n, uint64_t from)
{
    struct sim_view *v = &n->view;
    for (uint64_t i = from; i <= view_last(v); i++) {
        if (v->at[i - v->base].config) {
            sim_reached(&w->engine, MARK_CONFIG_ROLLED_BACK);
        }
    }
    if (from <= n->seen_commit) {
        SIM_FAIL(w, "I-6", "node %" ID " cuts %" ID ", which it knew to be committed", n->id, from);
    }
    v->count = (size_t)(from - v->base);
}

static void view_follow_base(struct world *w, struct sim_node *n)
{
    struct sim_view *v = &n->view;
    const struct raft_log *log = &n->raft->log;
    if (log->base_index == v->base) {
        return;
    }
    const struct sim_view_entry *at = view_at(v, log->base_index);
    if (at == NULL || at->term != log->base_term) {
        view_reset(w, v, log->base_index, log->base_term); /* a snapshot */
        return;
    }
    size_t drop = (size_t)(log->base_index - v->base);
    v->count -= drop;
    memmove(v->at, v->at + drop, v->count * sizeof(v->at[0]));
    v->base = log->base_index;
}

/* Two majorities, one of each, that do not meet? Tries all ways to split the members. */
static void check_intersection(struct world *w, const struct raft_config *a,
                               const struct raft_config *b)
{
    uint64_t ids[2 * RAFT_MEMBERS_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < a->membership.count; i++) {
        ids[count++] = a->membership.members[i].id;
    }
    for (uint32_t i = 0; i < b->membership.count; i++) {
        if (raft_membership_find(&a->membership, b->membership.members[i].id) == NULL) {
            ids[count++] = b->membership.members[i].id;
        }
    }
    if (a->membership.count == 0) {
        return; /* a node that waits to be added */
    }
    for (uint32_t split = 0; split < 1u << count; split++) {
        bool here[2 * RAFT_MEMBERS_MAX], there[2 * RAFT_MEMBERS_MAX];
        for (size_t i = 0; i < count; i++) {
            here[i] = (split >> i & 1) != 0;
            there[i] = !here[i];
        }
        if (check_has_quorum(&a->membership, here, ids, count) &&
            check_has_quorum(&b->membership, there, ids, count)) {
            SIM_FAIL(w, "I-13", "configurations at %" ID " and %" ID " have disjoint majorities",
                     a->index, b->index);
        }
    }
}

static void note_config(struct world *w, struct sim_node *n, uint64_t index, uint64_t term)
{
    for (size_t i = w->config_count; i-- > 0;) {
        if (w->configs[i].index == index && w->configs[i].term == term) {
            return;
        }
    }
    const struct raft_config *config = raft_config_at(n->raft, index);
    raft_grow(&w->configs, &w->config_capacity, w->config_count + 1, sizeof(w->configs[0]));
    w->configs[w->config_count++] = (struct sim_config_seen){index, term, config->membership};
    check_intersection(w, raft_config_at(n->raft, index - 1), config);
}

void view_add(struct world *w, struct sim_node *n, const struct raft_entry *entry)
{
    struct sim_view *v = &n->view;
    uint64_t chain = check_entry_chain(v->at[v->count - 1].chain, entry);
    view_push(v, (struct sim_view_entry){entry->term, chain, entry->type == RAFT_ENTRY_CONFIG});
    check_log_matching(w, n, entry->index, entry->term, chain);
}

/* True when the log changed. */
bool view_sync(struct world *w, struct sim_node *n)
{
    struct sim_view *v = &n->view;
    const struct raft_log *log = &n->raft->log;
    uint64_t before = view_last(v), base_before = v->base;
    view_follow_base(w, n);
    if (n->raft->counters.truncations != n->seen_truncations) {
        n->seen_truncations = n->raft->counters.truncations;
        uint64_t i = v->base, term = 0;
        while (i <= view_last(v) && raft_log_term(log, i, &term) &&
               term == v->at[i - v->base].term) {
            i++;
        }
        if (i <= view_last(v)) {
            view_cut(w, n, i);
        }
    }
    if (view_last(v) > log->last) {
        SIM_FAIL(w, "I-6", "the log of node %" ID " shrank without a truncation", n->id);
    }
    bool changed = view_last(v) != before || v->base != base_before || view_last(v) != log->last;
    while (view_last(v) < log->last) {
        uint64_t index = view_last(v) + 1, first = raft_log_tail_first(log);
        if (index < first) {
            SIM_FAIL(w, "I-18", "node %" ID " has %" ID " without having been given it", n->id,
                     index);
        }
        const struct raft_entry *entry = log->tail[log->head + (size_t)(index - first)];
        view_add(w, n, entry);
        if (entry->type == RAFT_ENTRY_CONFIG) {
            note_config(w, n, entry->index, entry->term);
        }
    }
    return changed;
}
