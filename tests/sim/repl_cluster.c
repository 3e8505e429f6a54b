/* tests/sim/repl_cluster.c: a cluster as one log. */
#include "tests/sim/repl_world.h"

void items_add(struct items *items, const struct item *item)
{
    if (items->count == items->capacity) {
        items->capacity = items->capacity * 2 + 16;
        items->all = cf_realloc(items->all, items->capacity * sizeof(items->all[0]));
    }
    items->all[items->count++] = *item;
}

void items_copy(struct items *to, const struct items *from, size_t first)
{
    for (size_t i = first; i < from->count; i++) {
        items_add(to, &from->all[i]);
    }
}

void items_done(struct items *items)
{
    cf_free(items->all);
    *items = (struct items){0};
}

void cluster_init(struct world *w, unsigned n)
{
    struct cluster *c = &w->clusters[n];
    *c = (struct cluster){.n = n, .up = true, .term = 1};
    c->capacity = 64;
    c->log = cf_array(c->capacity, sizeof(c->log[0]));
}

static void drop_ops(struct cluster *c)
{
    for (size_t i = 0; i < c->op_count; i++) {
        items_done(&c->ops[i].items);
        items_done(&c->ops[i].surplus);
        cf_free(c->ops[i].lineage);
    }
    c->op_count = 0;
}

static void drop_volatile(struct cluster *c)
{
    drop_ops(c);
    for (size_t i = 0; i < c->held_count; i++) {
        items_done(&c->held[i].items);
    }
    c->held_count = 0;
    for (unsigned i = 0; i < CLUSTERS; i++) {
        items_done(&c->snapshots[i].items);
        c->snapshots[i].id = 0;
        c->sender_conn[i] = 0;
        primary_init(&c->senders[i]);
    }
    secondary_done(&c->receiver);
    c->receiver = (struct secondary){0};
    c->receiving = c->repairing = false;
    c->conn = 0;
}

void cluster_done(struct cluster *c)
{
    drop_volatile(c);
    items_done(&c->state);
    items_done(&c->stage);
    cf_free(c->log);
    cf_free(c->ops);
    cf_free(c->held);
}

struct repl_position cluster_here(const struct cluster *c)
{
    struct repl_position at = {.epoch = repl_lineage_current(&c->lineage)};
    at.index = c->last;
    at.term = c->last > 0 ? c->log[c->last].term : 0;
    return at;
}

static void append(struct cluster *c)
{
    if (c->last + 2 > c->capacity) {
        c->capacity *= 2;
        c->log = cf_realloc(c->log, c->capacity * sizeof(c->log[0]));
    }
    c->last++;
    /* What a primary commits itself comes from nowhere: with the position of before its promotion
     * it would be taken for what that position has already. */
    c->log[c->last] = (struct entry){.term = c->term, .end = c->state.count};
    if (!c->primary) {
        c->log[c->last].remote = c->remote;
    }
}

static void tell_senders(struct world *w, struct cluster *c)
{
    for (unsigned i = 0; i < CLUSTERS; i++) {
        if (c->sender_conn[i] != 0) {
            struct primary_event ev = {.type = PRIMARY_EV_ADVANCED, .index = c->last};
            links_feed_primary(w, c, i, &ev);
        }
    }
}

void cluster_write(struct world *w, struct cluster *c)
{
    struct item item = {.id = ++w->next_id};
    item.at = cluster_here(c);
    item.at.index++;
    item.at.term = c->term;
    items_add(&c->state, &item);
    append(c);
    truth_commit(w, c);
    tell_senders(w, c);
}

/* An entry without items: of a new leader, of a promotion. */
static void write_nothing(struct world *w, struct cluster *c)
{
    append(c);
    if (c->primary) {
        truth_commit(w, c);
    }
}

void cluster_promote(struct world *w, struct cluster *c)
{
    struct repl_epoch next = {.number = repl_lineage_current(&c->lineage).number + 1};
    for (size_t i = 0; i < sizeof(next.id); i++) {
        next.id[i] = (uint8_t)sim_below(&w->engine, 256);
    }
    links_break_all(w, c->n, -1);
    drop_volatile(c);
    c->incarnation++;
    c->term++;
    if (repl_lineage_raise(&c->lineage, &next, &c->remote, NULL) != CF_OK) {
        sim_fail(&w->engine, "lineage", "%u can't be promoted where it stands", c->n);
    }
    c->primary = true;
    c->fenced = false;
    truth_begin(w, c);
    write_nothing(w, c);
    sim_trace(&w->engine, "%u is promoted: epoch %u, %zu items", c->n, next.number, c->state.count);
}

void cluster_demote(struct world *w, struct cluster *c)
{
    links_break_all(w, c->n, -1);
    drop_volatile(c);
    c->primary = c->fenced = false;
    c->performance = false;
    c->remote = cluster_here(c);
    sim_trace(&w->engine, "%u is demoted", c->n);
    cluster_start(w, c);
}

void cluster_start(struct world *w, struct cluster *c)
{
    c->up = true;
    c->incarnation++;
    c->term++;
    write_nothing(w, c);
    if (!c->primary) {
        struct secondary_event ev = {.type = SECONDARY_EV_ENABLED};
        secondary_init(&c->receiver, sim_below(&w->engine, UINT64_MAX));
        c->receiving = true;
        links_feed_secondary(w, c, &ev);
    }
}

void cluster_lose_leader(struct world *w, struct cluster *c)
{
    size_t survive = c->op_count > 0 ? sim_below(&w->engine, c->op_count + 1) : 0;
    links_break_all(w, c->n, -1);
    c->receiving = false; /* who proposed it hears nothing any more */
    for (size_t i = 0; i < survive; i++) {
        cluster_commit(w, c, true);
    }
    drop_volatile(c);
    c->incarnation++;
}

void cluster_propose(struct world *w, struct cluster *c, const struct op *op)
{
    if (c->op_count == c->op_capacity) {
        c->op_capacity = c->op_capacity * 2 + 16;
        c->ops = cf_realloc(c->ops, c->op_capacity * sizeof(c->ops[0]));
    }
    c->ops[c->op_count++] = *op;
    uint64_t at = w->engine.now_us + sim_between(&w->engine, 100, w->options.commit_us);
    c->commit_at_us = at > c->commit_at_us ? at : c->commit_at_us;
    sim_schedule(&w->engine, c->commit_at_us, EV_COMMIT, c->n, c->incarnation, 0, NULL);
}

static bool has(const struct items *items, uint64_t id)
{
    for (size_t i = 0; i < items->count; i++) {
        if (items->all[i].id == id) {
            return true;
        }
    }
    return false;
}

/* What is too much goes, what is lacking comes in its place: ids rise within a state. */
static void repair(struct cluster *c, const struct op *op)
{
    struct items fresh = {0};
    size_t next = 0;
    for (size_t i = 0; i < c->state.count; i++) {
        for (; next < op->items.count && op->items.all[next].id < c->state.all[i].id; next++) {
            items_add(&fresh, &op->items.all[next]);
        }
        if (!has(&op->surplus, c->state.all[i].id)) {
            items_add(&fresh, &c->state.all[i]);
        }
    }
    items_copy(&fresh, &op->items, next);
    items_done(&c->state);
    c->state = fresh;
}

static void apply(struct world *w, struct cluster *c, struct op *op)
{
    struct repl_position before = c->remote;
    switch (op->type) {
    case OP_BATCH:
        items_copy(&c->state, &op->items, 0);
        c->remote = op->to;
        break;
    case OP_ADOPT:
        c->lineage = *op->lineage;
        break;
    case OP_BEGIN:
        c->stage.count = 0;
        break;
    case OP_PAGE:
        items_copy(&c->stage, &op->items, 0);
        break;
    case OP_SWITCH:
        items_done(&c->state);
        c->state = c->stage;
        c->stage = (struct items){0};
        c->remote = op->to;
        c->lineage = *op->lineage;
        sim_reached(&w->engine, MARK_BOOTSTRAPPED);
        break;
    case OP_REPAIR:
        repair(c, op);
        c->remote = op->to;
        c->lineage = *op->lineage;
        sim_reached(&w->engine, MARK_REPAIRED);
        break;
    case OP_INSTALL:
        break;
    }
    append(c);
    if (op->type == OP_SWITCH || op->type == OP_REPAIR) {
        c->base = c->last; /* what came before says nothing about this state */
    }
    check_secondary(w, c, &before);
}

void cluster_commit(struct world *w, struct cluster *c, bool fine)
{
    static const enum secondary_event_type done[] = {
        [OP_BATCH] = SECONDARY_EV_PROPOSED, [OP_INSTALL] = SECONDARY_EV_INSTALLED,
        [OP_ADOPT] = SECONDARY_EV_ADOPTED,  [OP_BEGIN] = SECONDARY_EV_STAGED,
        [OP_PAGE] = SECONDARY_EV_STAGED,    [OP_SWITCH] = SECONDARY_EV_STAGED,
        [OP_REPAIR] = SECONDARY_EV_REPAIRED,
    };
    struct op op = c->ops[0];
    memmove(c->ops, c->ops + 1, --c->op_count * sizeof(c->ops[0]));
    if (fine) {
        apply(w, c, &op);
    }
    items_done(&op.items);
    items_done(&op.surplus);
    cf_free(op.lineage);
    if (c->receiving) {
        struct secondary_event ev = {.type = done[op.type],
                                     .session = op.session,
                                     .seq = op.seq,
                                     .status = fine ? CF_OK : CF_NOT_LEADER};
        links_feed_secondary(w, c, &ev);
    }
}

/* ---- reading ---- */

/* Where in our log does what follows `from` begin? Entry, and the items of it to leave out. */
static bool find(const struct cluster *c, const struct repl_position *from, uint64_t *entry,
                 size_t *item)
{
    struct repl_epoch own = repl_lineage_current(&c->lineage);
    if (repl_epoch_equal(&own, &from->epoch)) {
        *entry = from->index + 1;
        *item = from->index <= c->last ? c->log[from->index].end : 0;
        return from->index >= c->base && from->index <= c->last &&
               c->log[from->index].term == from->term;
    }
    if (REPL_MUTATED(REPL_MUTANT_STREAM_BEYOND) && !repl_lineage_includes(&c->lineage, from)) {
        *entry = c->last + 1;
        *item = c->log[c->last].end;
        return true;
    }
    for (uint64_t i = c->last; i >= c->base && i > 0; i--) {
        if (repl_position_equal(&c->log[i].remote, from)) {
            *entry = i + 1;
            *item = c->log[i].end;
            return true;
        }
        for (size_t j = c->log[i].end; i > c->base && j > c->log[i - 1].end; j--) {
            if (repl_position_equal(&c->state.all[j - 1].at, from)) {
                *entry = i;
                *item = j;
                return true;
            }
        }
    }
    return false;
}

bool cluster_knows(const struct cluster *c, const struct repl_position *at)
{
    uint64_t entry;
    size_t item;
    return find(c, at, &entry, &item);
}

bool cluster_read(struct world *w, struct cluster *c, bool filtered,
                  const struct repl_position *from, struct items *ret, struct repl_position *to,
                  uint64_t *entries, uint64_t *bytes)
{
    uint64_t entry;
    size_t item;
    struct repl_epoch own = repl_lineage_current(&c->lineage);
    *to = *from;
    *entries = *bytes = 0;
    if (!find(c, from, &entry, &item)) {
        return false;
    }
    if (!repl_epoch_equal(&own, &from->epoch)) {
        sim_reached(&w->engine, MARK_TRANSLATED);
    }
    uint64_t most = sim_between(&w->engine, 1, w->options.batch_entries);
    while (entry <= c->last && *entries < most) {
        *to = (struct repl_position){own, c->log[entry].term, entry};
        for (; item < c->log[entry].end; item++) {
            struct item copy = c->state.all[item];
            copy.at = *to;
            if (genuine(&copy, filtered)) {
                items_add(ret, &copy);
            } else {
                sim_reached(&w->engine, MARK_FILTERED);
            }
        }
        entry++;
        ++*entries;
    }
    *bytes = filtered ? ret->count * 100 : *entries * 100;
    return true;
}
