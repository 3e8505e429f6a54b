/* tests/sim/repl_cluster.c: a cluster: its log, its nodes and their leader, what is proposed and committed. */
#include "tests/sim/repl_world.h"

void cluster_init(struct world *w, unsigned n)
{
    struct cluster *c = &w->clusters[n];
    *c = (struct cluster){.n = n, .line = n % 2, .term = 1, .leader = -1, .redirect = NOBODY};
    c->capacity = 64;
    c->log = cf_array(c->capacity, sizeof(c->log[0]));
    for (unsigned i = 0; i < NODES; i++) {
        c->nodes[i] = (struct node){
            .cluster = n, .n = i, .id = n * NODES + i, .up = true, .floor = UINT64_MAX};
    }
}

static void drop_ops(struct cluster *c)
{
    for (size_t i = 0; i < c->op_count; i++) {
        effects_done(&c->ops[i].effects);
    }
    c->op_count = 0;
}

static void drop_held(struct cluster *c)
{
    for (size_t i = 0; i < c->held_count; i++) {
        effects_done(&c->held[i].effects);
    }
    c->held_count = 0;
}

static void drop_receiver(struct cluster *c)
{
    drop_ops(c);
    drop_held(c);
    repair_drop(c);
    secondary_done(&c->receiver);
    c->receiver = (struct secondary){0};
    c->receiving = false;
    c->conn = 0;
    c->redirect = NOBODY;
}

void cluster_done(struct cluster *c)
{
    drop_receiver(c);
    for (uint64_t i = 1; i <= c->last; i++) {
        effects_done(&c->log[i].effects);
    }
    for (unsigned i = 0; i < NODES; i++) {
        for (unsigned k = 0; k < KINDS; k++) {
            for (unsigned p = 0; p < CLUSTERS; p++) {
                cf_free(c->nodes[i].peers[k][p].snapshot.tree);
            }
        }
        cf_free(c->nodes[i].reached_us);
    }
    effects_done(&c->stage);
    cf_free(c->log);
    cf_free(c->ops);
    cf_free(c->held);
}

struct node *node_at(struct world *w, unsigned id)
{
    return &w->clusters[id / NODES].nodes[id % NODES];
}

struct node *cluster_leader(struct cluster *c)
{
    return c->leader >= 0 ? &c->nodes[c->leader] : NULL;
}

const struct state *cluster_state(const struct cluster *c)
{
    return &c->log[c->last].state;
}

const struct state *node_state(const struct cluster *c, const struct node *node)
{
    return &c->log[node->applied].state;
}

bool role_serves(const struct cluster *c, enum role role, enum repl_kind kind)
{
    switch (role) {
    case AS_SHARED:
        return true;
    case AS_PERFORMANCE:
        return kind == REPL_DR;
    case AS_FENCED: /* what it was; it streams nothing, but it hears */
        return kind == REPL_DR || c->line == 0;
    case AS_MIRROR:
        break;
    }
    return false;
}

enum repl_kind role_receives(enum role role)
{
    return role == AS_PERFORMANCE ? REPL_PERFORMANCE : REPL_DR;
}

unsigned state_lineage(const struct state *state, enum repl_kind kind)
{
    return kind == REPL_DR ? state->line_lineage : state->set_lineage;
}

struct repl_position state_position(const struct state *state, enum repl_kind kind)
{
    return kind == REPL_DR ? state->line_position : state->set_position;
}

/* ---- nodes ---- */

static void note_reached(struct world *w, struct node *node, uint64_t index)
{
    if (node->reached_count <= index) {
        size_t count = (size_t)index * 2 + 64;
        node->reached_us = cf_realloc(node->reached_us, count * sizeof(node->reached_us[0]));
        node->reached_count = count;
    }
    for (uint64_t i = node->applied + 1; i <= index; i++) {
        node->reached_us[i] = w->engine.now_us;
    }
}

void node_apply(struct world *w, struct node *node, uint64_t index)
{
    struct cluster *c = &w->clusters[node->cluster];
    const struct node *leader = cluster_leader(c);
    if (!node->up || node->cut_off || index <= node->applied) {
        return;
    }
    if (leader != NULL && node->applied < leader->base) {
        sim_reached(&w->engine, MARK_SNAPSHOT_NODE);
        index = c->last;
        note_reached(w, node, index);
        node->base = index; /* it came by snapshot: nothing of the log before it is here */
    }
    note_reached(w, node, index);
    for (uint64_t i = node->applied + 1; i <= index; i++) {
        /* Each one, because a role may come and go. */
        enum role before = c->log[i - 1].state.role, after = c->log[i].state.role;
        for (unsigned k = 0; k < KINDS && before != after; k++) {
            if (role_serves(c, before, k) != role_serves(c, after, k)) {
                serve_reset(w, node, k);
                memset(c->settled_ms[k], 0, sizeof(c->settled_ms[k])); /* a floor is a primary's */
            }
        }
    }
    node->applied = index;
    serve_advanced(w, node);
}

void node_crash(struct world *w, struct node *node)
{
    struct cluster *c = &w->clusters[node->cluster];
    if (!node->up) {
        return;
    }
    sim_trace(&w->engine, "%u.%u crashes", c->n, node->n);
    if (c->leader == (int)node->n) {
        cluster_lose_leader(w, c);
    }
    links_break_node(w, node->id);
    node->up = false;
    for (unsigned k = 0; k < KINDS; k++) {
        serve_reset(w, node, k);
    }
}

void node_up(struct world *w, struct node *node)
{
    struct cluster *c = &w->clusters[node->cluster];
    if (node->up) {
        return;
    }
    sim_trace(&w->engine, "%u.%u is back", c->n, node->n);
    node->up = true;
    c->steady_since_us = w->engine.now_us;
    node->floor = 0; /* until it has heard more, it keeps what it has; as a leader it tells the others to (node.c) */
    node->contact_ms = 0;
    if (c->leader < 0) {
        cluster_elect(w, c);
    }
    if (c->leader >= 0) {
        sim_schedule(&w->engine, w->engine.now_us + w->options.apply_us, EV_APPLY, node->id, c->last, 0,
                     NULL);
    }
}

bool node_in_contact(const struct world *w, const struct node *node)
{
    const struct cluster *c = &w->clusters[node->cluster];
    return c->leader == (int)node->n ||
           (node->contact_ms != 0 && w->engine.now_us / 1000 < node->contact_ms + 5000);
}

void node_compact(struct world *w, struct node *node)
{
    const struct options *o = &w->options;
    uint64_t kept = cf_min(o->trailing, node->applied); /* whether anybody needs it or not */
    uint64_t to = cf_min(node->floor, node->applied - kept);
    if (!node->up) {
        return;
    }
    if (to > node->base) {
        node->base = sim_between(&w->engine, node->base, to);
    }
    if (node->floor < node->applied) {
        sim_reached(&w->engine, MARK_FLOOR_HELD);
    }
    if (node->applied > node->base + o->cap) {
        node->base = node->capped = node->applied - o->cap;
        sim_reached(&w->engine, MARK_CAP);
    }
    check_bounds(w, node);
}

/* ---- entries ---- */

static struct entry *append(struct world *w, struct cluster *c)
{
    if (c->last + 2 > c->capacity) {
        c->capacity *= 2;
        c->log = cf_realloc(c->log, c->capacity * sizeof(c->log[0]));
    }
    struct entry *entry = &c->log[c->last + 1];
    *entry = (struct entry){
        .term = c->term, .at_us = w->engine.now_us, .state = c->log[c->last].state};
    c->last++;
    return entry;
}

/* It is committed: the leader has applied it, the others do soon. */
static void committed(struct world *w, struct cluster *c)
{
    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = &c->nodes[i];
        if (c->leader == (int)i) {
            node_apply(w, node, c->last);
        } else if (node->up && !node->cut_off) {
            sim_schedule(&w->engine,
                         w->engine.now_us + sim_between(&w->engine, 50, w->options.apply_us), EV_APPLY,
                         node->id, c->last, 0, NULL);
        }
    }
    calls_advanced(w, c);
}

void cluster_write(struct world *w, struct cluster *c, struct effects *effects,
                   void (*change)(struct world *, struct cluster *, struct state *))
{
    struct entry *entry = append(w, c);
    for (size_t i = 0; effects != NULL && i < effects->count; i++) {
        state_apply(w, &entry->state, &effects->all[i], c->last);
    }
    if (effects != NULL) {
        entry->effects = *effects;
        *effects = (struct effects){0};
    }
    if (change != NULL) {
        change(w, c, &entry->state);
        const struct state *before = &c->log[c->last - 1].state;
        if (before->role != entry->state.role || before->attached != entry->state.attached) {
            c->kept.snapshot = 0; /* it was for a link that is no more */
        }
    }
    entry->begins_line = entry->state.line_lineage != c->log[c->last - 1].state.line_lineage;
    entry->begins_set = entry->state.set_lineage != c->log[c->last - 1].state.set_lineage;
    committed(w, c);
}

/* ---- leaders ---- */

/* A new leader goes on with the copy that the one before it has begun. */
static void take_over(struct world *w, struct cluster *c)
{
    uint8_t cursor[8];
    cf_put_u64(cursor, c->kept.cursor);
    if (c->kept.snapshot != 0) {
        struct secondary_stage stage = {.snapshot_id = c->kept.snapshot,
                                        .position = c->kept.position,
                                        .is_whole = c->kept.whole,
                                        .cursor = cf_slice_of(cursor, sizeof(cursor))};
        secondary_resume(&c->receiver, &stage);
        sim_reached(&w->engine, MARK_TAKEN_OVER);
    }
}

void cluster_restart_receiver(struct world *w, struct cluster *c)
{
    const struct state *state = cluster_state(c);
    links_break_receiver(w, c);
    drop_receiver(c);
    if (c->leader >= 0 && state->attached &&
        (state->role == AS_PERFORMANCE || state->role == AS_MIRROR)) {
        struct secondary_event ev = {.type = SECONDARY_EV_ENABLED};
        secondary_init(&c->receiver, sim_below(&w->engine, UINT64_MAX));
        behind_init(&c->behind, w->engine.now_us / 1000);
        c->receiving = true;
        take_over(w, c);
        c->progress_at_us = w->engine.now_us;
        links_feed_secondary(w, c, &ev);
    }
}

/* A majority is up, and one of it leads. */
void cluster_elect(struct world *w, struct cluster *c)
{
    unsigned fit = 0;
    for (unsigned i = 0; i < NODES; i++) {
        fit += c->nodes[i].up && !c->nodes[i].cut_off;
    }
    if (c->leader >= 0 || fit * 2 <= NODES) {
        return;
    }
    uint64_t skip = sim_below(&w->engine, fit);
    for (unsigned i = 0; i < NODES && c->leader < 0; i++) {
        if (c->nodes[i].up && !c->nodes[i].cut_off && skip-- == 0) {
            c->leader = (int)i;
        }
    }
    struct node *leader = cluster_leader(c);
    c->incarnation++;
    c->term++;
    c->active_since_ms = w->engine.now_us / 1000;
    c->inherited = leader->floor;
    memset(c->rows, 0, sizeof(c->rows));
    c->steady_since_us = w->engine.now_us;
    sim_trace(&w->engine, "%u.%u leads", c->n, leader->n);
    if (leader->applied < c->last) {
        node_apply(w, leader, c->last);
    }
    cluster_write(w, c, NULL, NULL); /* the entry of a new leader */
    cluster_restart_receiver(w, c);
}

void cluster_lose_leader(struct world *w, struct cluster *c)
{
    size_t survive = c->op_count > 0 ? sim_below(&w->engine, c->op_count + 1) : 0;
    if (c->leader < 0) {
        return;
    }
    c->receiving = false; /* who proposed it hears nothing any more */
    for (size_t i = 0; i < survive; i++) {
        cluster_commit(w, c, true);
    }
    links_break_receiver(w, c);
    drop_receiver(c);
    c->leader = -1;
    c->incarnation++;
    sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 1000, 1500000), EV_ELECT, c->n,
                 c->incarnation, 0, NULL);
}

/* ---- proposals of the receiver ---- */

void cluster_propose(struct world *w, struct cluster *c, const struct proposed *op)
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

static struct effect position_effect(struct world *w, const struct repl_position *to)
{
    const struct truth *truth = truth_find(w, REPL_PERFORMANCE, &to->epoch);
    if (truth == NULL) {
        sim_fail(&w->engine, "P-36 position", "an epoch that nobody raised");
    }
    return (struct effect){.type = FX_POSITION,
                           .is_own = true,
                           .gen = (uint32_t)(truth - w->truths),
                           .term = to->term,
                           .value = to->index};
}

/* The position travels inside of the entry: state and position can't part. */
static void set_position(struct world *w, struct entry *entry, enum repl_kind kind,
                         const struct repl_position *to)
{
    if (kind == REPL_DR) {
        entry->state.line_position = *to;
    } else {
        struct effect effect = position_effect(w, to);
        effects_add(&entry->effects, &effect);
    }
}

static void set_lineage(struct entry *entry, enum repl_kind kind, unsigned lineage)
{
    if (kind == REPL_DR) {
        entry->begins_line = true;
        entry->state.line_lineage = lineage;
    } else {
        entry->begins_set = true;
        effects_add(&entry->effects,
                    &(struct effect){.type = FX_LINEAGE, .is_own = true, .value = lineage});
    }
}

static void ship(struct entry *entry, struct proposed *op)
{
    entry->is_shipped = true;
    for (size_t i = 0; i < op->effects.count; i++) {
        uint64_t source = op->effects.all[i].source;
        entry->oldest = i == 0 ? source : entry->oldest;
        entry->newest = source;
    }
    if (op->type == OP_REPAIR) {
        entry->oldest = UINT64_MAX;
        entry->newest = 0;
    }
    entry->effects = op->effects;
    op->effects = (struct effects){0};
}

static void apply(struct world *w, struct cluster *c, struct proposed *op)
{
    struct entry *entry = append(w, c);
    enum repl_kind kind = role_receives(entry->state.role);
    struct repl_position before = state_position(&entry->state, kind);
    switch (op->type) {
    case OP_BATCH:
        ship(entry, op);
        set_position(w, entry, kind, &op->to);
        break;
    case OP_ADOPT:
        set_lineage(entry, kind, op->lineage);
        operator_hurry(w, c);
        break;
    case OP_BEGIN:
        c->stage.count = 0;
        c->kept.snapshot = 0;
        break;
    case OP_PAGE:
        effects_copy(&c->stage, &op->effects);
        c->kept.snapshot = op->snapshot;
        c->kept.position = op->to;
        c->kept.cursor = op->cursor;
        c->kept.whole = op->whole;
        break;
    case OP_SWITCH:
        entry->is_switch = true;
        state_drop(&entry->state, kind);
        effects_copy(&entry->effects, &c->stage);
        c->stage.count = 0;
        c->kept.snapshot = 0;
        set_position(w, entry, kind, &op->to);
        set_lineage(entry, kind, op->lineage);
        entry->state.has_data = true;
        sim_reached(&w->engine, MARK_BOOTSTRAPPED);
        break;
    case OP_REPAIR:
        ship(entry, op);
        set_position(w, entry, kind, &op->to);
        set_lineage(entry, kind, op->lineage);
        sim_reached(&w->engine, MARK_REPAIRED);
        break;
    case OP_INSTALL:
        break;
    }
    for (size_t i = 0; i < entry->effects.count; i++) {
        state_apply(w, &entry->state, &entry->effects.all[i], c->last);
    }
    check_secondary(w, c, &before);
    committed(w, c);
}

void cluster_commit(struct world *w, struct cluster *c, bool fine)
{
    static const enum secondary_event_type done[] = {
        [OP_BATCH] = SECONDARY_EV_PROPOSED, [OP_INSTALL] = SECONDARY_EV_INSTALLED,
        [OP_ADOPT] = SECONDARY_EV_ADOPTED,  [OP_BEGIN] = SECONDARY_EV_STAGED,
        [OP_PAGE] = SECONDARY_EV_STAGED,    [OP_SWITCH] = SECONDARY_EV_STAGED,
        [OP_REPAIR] = SECONDARY_EV_REPAIRED,
    };
    struct proposed op = c->ops[0];
    memmove(c->ops, c->ops + 1, --c->op_count * sizeof(c->ops[0]));
    if (fine) {
        apply(w, c, &op);
    }
    effects_done(&op.effects);
    if (c->receiving) {
        struct secondary_event ev = {.type = done[op.type],
                                     .session = op.session,
                                     .seq = op.seq,
                                     .status = fine ? CF_OK : CF_NOT_LEADER};
        links_feed_secondary(w, c, &ev);
    }
}
