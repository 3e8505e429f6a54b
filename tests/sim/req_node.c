/* tests/sim/req_node.c: runs, the append, commit and application, changes of leader, clocks. */
#include "req_world.h"

#include <stdio.h>
#include <string.h>

#include "node/base/memory.h"

#define SECOND ((int64_t)1000000000)
#define RANGE "r/"
#define RECORDS "request/"
#define FLOOR RECORDS "floor"

static struct key key_of(const char *name, size_t size)
{
    return (struct key){CLASS_CLUSTER, 0, cf_slice_of(name, size)};
}

static struct key key_text(const char *name)
{
    return key_of(name, strlen(name));
}

uint64_t node_mono_us(const struct world *w, const struct node *node)
{
    int64_t now = (int64_t)w->engine.now_us;
    return (uint64_t)(now + now / 1000000 * node->drift_ppm);
}

int64_t node_view_now_ns(const struct world *w, const struct node *node)
{
    return node->applied_ns + (int64_t)(node_mono_us(w, node) - node->applied_us) * 1000;
}

static struct node *leader_of(struct world *w)
{
    return w->is_ready ? &w->nodes[w->leader] : NULL;
}

static bool leads(const struct world *w, const struct run *run)
{
    return w->is_ready && w->leader == (int)run->node; /* in whichever term: it may have led before */
}

/* ---- the end of a run ---- */

static void wake(struct world *w)
{
    for (struct run *run = w->runs; run != NULL; run = run->next) {
        if (run->is_parked) {
            run->is_parked = false;
            sim_schedule(&w->engine, w->engine.now_us, EV_RUN, run->node, 0, 0, run);
        }
    }
}

void run_end(struct world *w, struct run *run, cf_status status, int64_t answer)
{
    run->is_over = true;
    run->is_parked = false;
    run->wait_index = 0;
    run->draft.answer = answer;
    if (run->ticket != 0 && leads(w, run)) {
        window_ticket_end(w->nodes[run->node].window, run->ticket);
        wake(w);
    }
    run->ticket = 0;
    if (!run->is_forwarded) {
        client_answer(w, run, status);
        return;
    }
    uint64_t at = w->engine.now_us + sim_between(&w->engine, 10, w->options.net_us);
    bool breaks = !w->healing && sim_chance(&w->engine, w->options.break_permille);
    sim_schedule(&w->engine, at, breaks ? EV_BREAK : EV_ANSWER, 0, (uint64_t)status, 0, run);
}

/* ---- a run ---- */

static void read_key(struct run *run, struct key key)
{
    run->reads[run->claim.read_count++] = key_hash(key);
}

static struct effect *add_effect(struct run *run, struct key key, bool is_prefix, int64_t value)
{
    size_t at = run->draft.effect_count++;
    struct effect *effect = &run->draft.effects[at];
    *effect = (struct effect){.size = key.name.size,
                              .hash = is_prefix ? 0 : key_hash(key),
                              .is_prefix = is_prefix,
                              .value = value};
    memcpy(effect->name, key.name.data, key.name.size);
    run->writes[at] = key_of(effect->name, effect->size);
    run->is_range[at] = is_prefix;
    run->claim.write_count++;
    return effect;
}

static struct key record_key(const struct once *once, char name[NAME_MAX_SIZE])
{
    memcpy(name, RECORDS, 8);
    cf_put_u64((uint8_t *)name + 8, once->group);
    memcpy(name + 16, once->id, ONCE_ID_SIZE);
    return key_of(name, 16 + ONCE_ID_SIZE);
}

/* As step_once(). True: the run is over. */
static bool look_up(struct world *w, struct run *run)
{
    char name[NAME_MAX_SIZE];
    struct key record = record_key(&run->once, name);
    int64_t value = 0, floor = 0;
    if (!GLUE(RECORD_UNREAD)) {
        read_key(run, record);
        read_key(run, key_text(FLOOR));
    }
    bool found = state_get(w, record, run->view, &value);
    if (!state_get(w, key_text(FLOOR), run->view, &floor)) {
        floor = 0;
    }
    uint64_t now = once_group(node_view_now_ns(w, &w->nodes[run->node]));
    switch (once_judge(&run->once, found, (uint64_t)floor, now)) {
    case ONCE_RUN:
        return false;
    case ONCE_REPLAY:
        sim_reached(&w->engine, MARK_REPLAY);
        run_end(w, run, value < 0 ? CF_INVALID : CF_OK, value);
        return true;
    case ONCE_REGROUP:
        run->once.regroup = cf_max(now, (uint64_t)floor);
        run_end(w, run, CF_UNAVAILABLE, 0);
        return true;
    case ONCE_GONE:
        sim_reached(&w->engine, MARK_GONE);
        run->once.is_final = true;
        run_end(w, run, CF_UNKNOWN_OUTCOME, 0);
        return true;
    }
    return true;
}

/* The handlers. False: refused, and nothing is written. */
static bool handle(struct world *w, struct run *run)
{
    const struct request *rq = run->request;
    struct entry *draft = &run->draft;
    char name[NAME_MAX_SIZE];
    if (rq->what == DO_PUT) { /* reads nothing of what it writes */
        (void)snprintf(name, sizeof(name), "put/%u", rq->number);
        draft->answer = (int64_t)sim_below(&w->engine, 1000000); /* as a token would be */
        add_effect(run, key_text(name), false, draft->answer);
        return true;
    }
    if (rq->what == DO_COUNT_RANGE) {
        struct key range = key_text(RANGE);
        draft->saw = draft->answer = state_count(w, range, run->view);
        run->ranges[run->claim.range_count++] = range;
        read_key(run, key_text("gate")); /* written by whoever deletes the range: see window.h */
        if (draft->saw >= 6) {
            add_effect(run, range, true, 0);
            add_effect(run, key_text("gate"), false, draft->saw);
        } else {
            (void)snprintf(name, sizeof(name), RANGE "%u", rq->number);
            add_effect(run, key_text(name), false, 1);
        }
        return true;
    }
    (void)snprintf(name, sizeof(name), "hot/%u", rq->hot);
    struct key key = key_text(name);
    read_key(run, key);
    if (!state_get(w, key, run->view, &draft->saw)) {
        draft->saw = 0;
    }
    if (rq->what == DO_CAS && draft->saw % 2 != (int64_t)rq->want) {
        draft->answer = -1;
        return false;
    }
    draft->answer = draft->saw + 1;
    add_effect(run, key, false, draft->answer);
    return true;
}

static void wait_for(struct world *w, struct run *run, uint64_t index)
{
    if (w->nodes[run->node].applied >= index) {
        sim_schedule(&w->engine, w->engine.now_us, EV_RUN, run->node, 0, 0, run);
    } else {
        run->wait_index = index;
    }
}

void node_run(struct world *w, struct run *run)
{
    struct node *node = &w->nodes[run->node];
    if (run->is_over) {
        return;
    }
    if (!leads(w, run) || w->engine.now_us > run->deadline_us) {
        run_end(w, run, leads(w, run) ? CF_TIMEOUT : CF_NOT_LEADER, 0);
        return;
    }
    run->view = node->applied;
    run->draft = (struct entry){.what = run->request->what,
                                .request = run->request->number,
                                .hot = run->request->hot};
    run->claim = (struct window_claim){.view_index = run->view,
                                       .reads = run->reads,
                                       .ranges = run->ranges,
                                       .writes = run->writes,
                                       .is_range = run->is_range,
                                       .ticket = run->ticket};
    if (run->is_forwarded && look_up(w, run)) {
        return;
    }
    bool done = handle(w, run);
    bool last_word = !done && run->is_forwarded && run->once.tries > 1;
    if (!done && !last_word) {
        if (run->view < w->commit) { /* answered through a read index */
            wait_for(w, run, w->commit);
        } else {
            run_end(w, run, CF_INVALID, -1);
        }
        return;
    }
    if (last_word && GLUE(NO_LAST_WORD)) {
        run_end(w, run, CF_INVALID, -1);
        return;
    }
    run->draft.is_record_only = last_word;
    if (run->is_forwarded && !GLUE(RECORD_APART)) {
        char name[NAME_MAX_SIZE];
        add_effect(run, record_key(&run->once, name), false, run->draft.answer);
    }
    if (last_word) {
        sim_reached(&w->engine, MARK_LAST_WORD);
    }
    sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 0, w->options.run_us), EV_APPEND,
                 run->node, 0, 0, run);
}

void node_arrive(struct world *w, struct run *run)
{
    if (run->request->try != run->try) {
        sim_reached(&w->engine, MARK_LATE_TRY);
    }
    if (run->is_over || w->leader != (int)run->node || !w->is_ready) {
        run_end(w, run, CF_NOT_LEADER, 0);
        return;
    }
    run->term = w->term;
    run->deadline_us = cf_max(run->deadline_us, w->engine.now_us + 3000000); /* it counts from here */
    node_run(w, run);
}

/* ---- the append ---- */

static void append(struct world *w, struct node *node, struct entry *draft, struct run *run)
{
    struct entry *entry = cf_new(struct entry);
    *entry = *draft;
    entry->run = run;
    entry->true_us = w->engine.now_us;
    entry->stamp_ns = stamp_next(&node->stamp, node_mono_us(w, node));
    if (node->stamp.is_alarming) {
        sim_reached(&w->engine, MARK_ALARM);
    }
    w->log[++w->last] = entry;
    sim_note(&w->engine, sim_mix(w->last, (uint64_t)entry->stamp_ns));
    sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 10, w->options.commit_us),
                 EV_COMMIT, 0, w->term, 0, NULL);
}

static bool is_oldest(const struct world *w, const struct run *run)
{
    for (const struct run *other = w->runs; other != NULL; other = other->next) {
        if (other->ticket != 0 && other->term == run->term && other->ticket < run->ticket) {
            return false;
        }
    }
    return true;
}

static void refused(struct world *w, struct run *run, uint64_t retry_index)
{
    bool by_range = false;
    uint64_t real = state_conflict(w, run, &by_range);
    if (window_wants_ticket(w->nodes[run->node].window, &run->claim)) {
        run->ticket = window_ticket(w->nodes[run->node].window, &run->claim);
        run->oldest_at = 0;
        run->term = w->term;
    }
    sim_reached(&w->engine, real == 0 ? MARK_FLOOR : by_range ? MARK_PHANTOM : MARK_CONFLICT);
    bool oldest = is_oldest(w, run);
    if (run->oldest_at != 0 && oldest && (real > run->oldest_at || retry_index == 0)) {
        sim_fail(&w->engine, "the oldest gets through", "request %u lost twice, ticket %llu",
                 run->request->number, (unsigned long long)run->ticket);
    }
    run->oldest_at = oldest ? w->last : 0;
    if (retry_index != 0) {
        wait_for(w, run, retry_index);
    } else {
        sim_reached(&w->engine, MARK_TICKET_WAIT);
        run->is_parked = window_must_wait(w->nodes[run->node].window, &run->claim);
        if (!run->is_parked) {
            wait_for(w, run, 0);
        }
    }
}

void node_append(struct world *w, struct run *run)
{
    struct node *node = &w->nodes[run->node];
    uint64_t retry_index = 0;
    if (run->is_over) {
        return;
    }
    if (!leads(w, run) || w->last + 2 >= ENTRIES_MAX) {
        run_end(w, run, CF_NOT_LEADER, 0);
        return;
    }
    if (w->engine.now_us > run->deadline_us) {
        run_end(w, run, CF_TIMEOUT, 0);
        return;
    }
    if (!node->stamp.is_known) {
        sim_reached(&w->engine, MARK_UNKNOWN_TIME);
        run_end(w, run, CF_UNAVAILABLE, 0);
        return;
    }
    run->claim.ticket = run->ticket;
    if (window_check(node->window, &run->claim, &retry_index) != CF_OK) {
        refused(w, run, retry_index);
        return;
    }
    check_admitted(w, run);
    window_appended(node->window, &run->claim, w->last + 1);
    window_ticket_end(node->window, run->ticket);
    run->ticket = 0;
    append(w, node, &run->draft, run);
    if (run->is_forwarded && GLUE(RECORD_APART)) {
        char name[NAME_MAX_SIZE];
        struct run *apart = cf_new(struct run);
        apart->node = run->node;
        add_effect(apart, record_key(&run->once, name), false, run->draft.answer);
        apart->claim.writes = apart->writes;
        apart->claim.is_range = apart->is_range;
        apart->draft.what = DO_DROP;
        window_appended(node->window, &apart->claim, w->last + 1);
        append(w, node, &apart->draft, NULL);
        cf_free(apart);
    }
    wake(w);
}

/* ---- commit and application ---- */

static void applied(struct world *w, struct node *node, uint64_t index)
{
    node->applied = index;
    node->applied_ns = w->log[index]->stamp_ns;
    node->applied_us = node_mono_us(w, node);
    node->is_live = node->is_live || index > node->log_start;
    for (struct run *run = w->runs; run != NULL; run = run->next) {
        if (run->wait_index != 0 && run->node == node->n && run->wait_index <= index) {
            run->wait_index = 0;
            sim_schedule(&w->engine, w->engine.now_us, EV_RUN, run->node, 0, 0, run);
        }
    }
}

static void commit_one(struct world *w)
{
    struct entry *entry = w->log[++w->commit];
    check_commit(w, entry, w->commit);
    for (unsigned i = 0; i < NODES; i++) {
        sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 10, w->options.apply_us),
                     EV_APPLY, i, 0, 0, NULL);
    }
}

void node_commit(struct world *w, uint64_t term)
{
    if (term == w->term && w->is_ready && w->commit < w->last) {
        commit_one(w);
    }
}

void node_apply(struct world *w, struct node *node)
{
    if (node->applied == w->commit) {
        return;
    }
    applied(w, node, node->applied + 1);
    struct entry *entry = w->log[node->applied];
    struct run *run = entry->run;
    if (w->is_ready && w->leader == (int)node->n) {
        window_applied(node->window, node->applied);
    }
    if (run != NULL && run->node == node->n) {
        entry->run = NULL;
        run_end(w, run, entry->is_record_only ? CF_INVALID : CF_OK, entry->answer);
    }
}

/* ---- changes of leader ---- */

static void tell_lost(struct world *w, bool killed)
{
    for (struct run *run = w->runs; run != NULL; run = run->next) {
        if (run->is_over || run->term == 0 || (int)run->node != w->leader) {
            continue;
        }
        bool in_log = false;
        for (uint64_t i = w->commit; i > 0 && i > w->commit - cf_min(w->commit, 64); i--) {
            in_log = in_log || w->log[i]->run == run;
        }
        for (uint64_t i = w->commit + 1; i <= w->last; i++) {
            if (w->log[i]->run == run) {
                in_log = true;
            }
        }
        bool is_at_work = !in_log && !run->is_parked && run->wait_index == 0;
        if (is_at_work && !killed && sim_chance(&w->engine, 700)) {
            continue; /* it knows nothing of the change yet, and will propose */
        }
        run->is_over = true;
        run->is_parked = false;
        run->wait_index = 0;
        run->ticket = 0;
        uint64_t at = w->engine.now_us + sim_between(&w->engine, 10, w->options.net_us);
        sim_schedule(&w->engine, at, killed ? EV_BREAK : EV_ANSWER, 0,
                     in_log ? CF_UNKNOWN_OUTCOME : CF_NOT_LEADER, 0, run);
    }
    for (uint64_t i = 1; i <= w->last; i++) {
        w->log[i]->run = NULL;
    }
}

void node_change(struct world *w, bool all_down)
{
    if (!w->is_ready) {
        return;
    }
    uint64_t kept = w->commit + sim_below(&w->engine, w->last - w->commit + 1);
    uint64_t away_us = sim_between(&w->engine, 1000, w->options.change_us);
    tell_lost(w, all_down || sim_chance(&w->engine, 500));
    if (kept < w->last) {
        sim_reached(&w->engine, MARK_LOST_ENTRY);
    }
    if (kept > w->commit) {
        sim_reached(&w->engine, MARK_KEPT_ENTRY);
    }
    for (; w->last > kept; w->last--) {
        cf_free(w->log[w->last]);
        w->log[w->last] = NULL;
    }
    if (sim_chance(&w->engine, 600)) { /* else it leads again */
        w->next_leader = (unsigned)sim_below(&w->engine, NODES);
    }
    if (all_down) {
        sim_reached(&w->engine, MARK_ALL_DOWN);
        away_us += sim_below(&w->engine, 3 * (uint64_t)86400 * 1000000);
        for (unsigned i = 0; i < NODES; i++) {
            w->nodes[i].is_live = false;
            w->nodes[i].log_start = w->last;
            w->nodes[i].stamp = (struct stamp){0};
            w->nodes[i].applied_us = node_mono_us(w, &w->nodes[i]) + away_us; /* when it starts */
        }
    }
    sim_trace(&w->engine, "leader %d is gone, %llu of %llu entries stay", w->leader,
              (unsigned long long)kept, (unsigned long long)w->commit);
    w->is_ready = false;
    w->leader = -1;
    w->ready_us = w->engine.now_us + away_us;
    sim_schedule(&w->engine, w->ready_us, EV_READY, 0, 0, 0, NULL);
}

void node_ready(struct world *w)
{
    struct node *node = &w->nodes[w->next_leader];
    w->leader = (int)w->next_leader;
    w->term++;
    w->is_ready = true;
    while (w->commit < w->last) {
        commit_one(w);
    }
    while (node->applied < w->commit) {
        applied(w, node, node->applied + 1);
    }
    window_reset(node->window, w->last);
    stamp_lead(&node->stamp, node->applied_ns, node->applied_us, node->is_live);
    sim_trace(&w->engine, "%u leads in term %llu from %llu on", node->n, (unsigned long long)w->term,
              (unsigned long long)w->last);
}

/* ---- clocks, ticks, old records ---- */

static int64_t wall_ns(const struct world *w, const struct node *node)
{
    return (int64_t)w->engine.now_us * 1000 + node->wall_offset_ns;
}

/* As the driver measures it: the lower one of two in the middle. */
static int64_t median_of(struct world *w, const struct node *node, unsigned *heard)
{
    int64_t clocks[NODES] = {wall_ns(w, node)};
    bool hears_all = w->healing || sim_chance(&w->engine, 600);
    *heard = 1;
    for (unsigned i = 0; i < NODES; i++) {
        if (i != node->n && (hears_all || sim_chance(&w->engine, 400))) {
            clocks[(*heard)++] = wall_ns(w, &w->nodes[i]);
        }
    }
    for (unsigned i = 1; i < *heard; i++) {
        for (unsigned k = i; k > 0 && clocks[k] < clocks[k - 1]; k--) {
            int64_t swap = clocks[k];
            clocks[k] = clocks[k - 1];
            clocks[k - 1] = swap;
        }
    }
    return clocks[(*heard - 1) / 2];
}

static void tick(struct world *w, struct node *node, int64_t median)
{
    struct entry draft = {.what = DO_TICK};
    bool was_known = node->stamp.is_known;
    if (!stamp_is_ready(&node->stamp) || w->last + 2 >= ENTRIES_MAX) {
        return;
    }
    append(w, node, &draft, NULL);
    if (!was_known) {
        window_appended_all(node->window, w->last);
        if (w->log[w->last]->stamp_ns < median - SECOND) {
            sim_fail(&w->engine, "the first stamp is a majority's", "%lld s behind it",
                     (long long)((median - w->log[w->last]->stamp_ns) / SECOND));
        }
    }
}

/* The oldest group with records that are there (those below the floor are not); false: none. */
static bool oldest_group(const struct world *w, uint64_t at, uint64_t *ret)
{
    bool found = false;
    int64_t floor = 0;
    if (!state_get(w, key_text(FLOOR), at, &floor)) {
        floor = 0;
    }
    for (uint64_t i = at; i > 0; i--) {
        for (unsigned k = 0; k < w->log[i]->effect_count; k++) {
            const struct effect *effect = &w->log[i]->effects[k];
            if (effect->is_prefix || effect->size != 16 + ONCE_ID_SIZE) {
                continue;
            }
            uint64_t group = cf_get_u64((const uint8_t *)effect->name + 8);
            if ((!found || group < *ret) && group >= (uint64_t)floor) {
                *ret = group;
                found = true;
            }
        }
    }
    return found;
}

/* As once_drop_old(), a group an entry. */
static void drop_old(struct world *w, struct node *node)
{
    struct run *run = cf_new(struct run);
    uint64_t group = 0, retry;
    run->view = node->applied;
    run->claim = (struct window_claim){.view_index = run->view,
                                       .reads = run->reads,
                                       .writes = run->writes,
                                       .is_range = run->is_range,
                                       .ticket = UINT64_MAX};
    read_key(run, key_text(FLOOR));
    if (oldest_group(w, run->view, &group) &&
        group < once_droppable(once_group(node_view_now_ns(w, node)))) {
        char name[NAME_MAX_SIZE];
        memcpy(name, RECORDS, 8);
        cf_put_u64((uint8_t *)name + 8, group);
        add_effect(run, key_of(name, 16), true, 0);
        add_effect(run, key_text(FLOOR), false, (int64_t)group + 1);
        run->draft.what = DO_DROP;
        if (window_check(node->window, &run->claim, &retry) == CF_OK && w->last + 2 < ENTRIES_MAX) {
            sim_reached(&w->engine, MARK_DROPPED);
            window_appended(node->window, &run->claim, w->last + 1);
            append(w, node, &run->draft, NULL);
        }
    }
    cf_free(run);
}

void node_pulse(struct world *w)
{
    struct node *node = leader_of(w);
    unsigned heard;
    if (w->bad_clock < NODES && sim_chance(&w->engine, 50)) {
        int64_t size = (int64_t)sim_below(&w->engine, 31536000) * SECOND;
        w->nodes[w->bad_clock].wall_offset_ns = sim_chance(&w->engine, 700) ? size : -size;
    }
    if (node == NULL) {
        return;
    }
    int64_t median = median_of(w, node, &heard);
    stamp_observe(&node->stamp, node_mono_us(w, node), median, heard, NODES);
    if (!node->stamp.is_known || sim_chance(&w->engine, 100)) {
        tick(w, node, median);
    }
    if (node->stamp.is_known && sim_chance(&w->engine, 200)) {
        drop_old(w, node);
    }
}
