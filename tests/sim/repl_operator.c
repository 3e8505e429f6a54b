/* tests/sim/repl_operator.c: who decides from above: clients, filters, floors, promotions, drills, claims. */
#include <stdio.h>

#include "tests/sim/repl_world.h"

/* ---- clients ---- */

static void add_data(struct world *w, const struct state *state, struct effects *effects)
{
    uint8_t slot = (uint8_t)sim_below(&w->engine, MOUNTS);
    bool turns = slot != 0 && sim_chance(&w->engine, w->options.mounts_permille);
    struct effect effect = {.slot = slot, .gen = state->gen[slot]};
    if (effect.gen == 0) {
        effect.type = FX_MOUNT;
        effect.gen = ++w->next_gen;
    } else if (turns) {
        effect.type = FX_UNMOUNT;
    } else {
        effect.type = FX_PUT;
        effect.key = (uint8_t)sim_below(&w->engine, KEYS);
        effect.value = ++w->next_value;
    }
    effects_add(effects, &effect);
}

static void add_local(struct world *w, struct effects *effects)
{
    effects_add(effects, &(struct effect){.type = FX_LOCAL,
                                          .slot = (uint8_t)sim_below(&w->engine, LOCALS),
                                          .value = ++w->next_value});
}

void operator_write(struct world *w, struct cluster *c)
{
    const struct state *state = cluster_state(c);
    struct effects effects = {0};
    if (!c->present || c->leader < 0 || c->last >= ENTRIES_MAX) {
        return;
    }
    if (state->role == AS_SHARED) {
        add_data(w, state, &effects);
        if (sim_chance(&w->engine, 300)) {
            add_local(w, &effects);
        }
    } else if (state->role == AS_PERFORMANCE && state->attached) {
        add_local(w, &effects);
    } else {
        return;
    }
    cluster_write(w, c, &effects, NULL);
}

void operator_filter(struct world *w)
{
    for (unsigned i = 0; i < CLUSTERS; i += 2) {
        struct cluster *c = &w->clusters[i];
        const struct state *state = cluster_state(c);
        struct effects effects = {0};
        if (!c->present || c->leader < 0 || state->role != AS_SHARED || c->last >= ENTRIES_MAX) {
            continue;
        }
        unsigned denied = (unsigned)sim_below(&w->engine, 8) << 1;
        bool widens = (state->denied & ~denied) != 0;
        sim_reached(&w->engine, widens ? MARK_WIDENED : MARK_NARROWED);
        sim_trace(&w->engine, "%u denies %x%s", i, denied, widens ? ", which is less" : "");
        effects_add(&effects, &(struct effect){.type = FX_FILTER, .key = widens, .value = denied});
        cluster_write(w, c, &effects, NULL);
    }
}

/* ---- the floor: what report.c does each half second ---- */

static void take_rows(struct world *w, struct cluster *c)
{
    uint64_t now_ms = w->engine.now_us / 1000;
    for (unsigned i = 0; i < NODES; i++) {
        const struct node *node = &c->nodes[i];
        for (unsigned k = 0; k < KINDS && node->up && !node->cut_off; k++) {
            for (unsigned p = 0; p < CLUSTERS; p++) {
                const struct peer *peer = &node->peers[k][p];
                struct row *row = &c->rows[i][k][p];
                if (!peer->core.heard) {
                    continue;
                }
                row->known = true;
                row->connected = peer->conn != 0;
                row->needs = primary_floor(&peer->core);
                row->heard_ms = now_ms;
                c->seen_ms[k][p] = row->connected ? now_ms : c->seen_ms[k][p];
                row->connected_ms = row->connected || row->connected_ms == 0 ? now_ms : row->connected_ms;
            }
        }
    }
}

static const char *const ids[CLUSTERS] = {"a", "b", "c", "d", "e"};

static uint64_t floor_of(struct world *w, struct cluster *c, enum repl_kind kind)
{
    struct floor_row rows[NODES * CLUSTERS];
    const char *registered[CLUSTERS];
    uint64_t now_ms = w->engine.now_us / 1000;
    struct floor_question q = {.registered = registered,
                               .rows = rows,
                               .capped = cluster_leader(c)->capped,
                               .inherited = c->inherited,
                               .now_ms = now_ms,
                               .since_ms = c->active_since_ms,
                               .hold_ms = w->options.hold_ms};
    for (unsigned p = 0; p < CLUSTERS; p++) {
        if (c->settled_ms[kind][p] != 0) { /* registered, and once copied */
            registered[q.registered_count++] = ids[p];
        }
        for (unsigned i = 0; i < NODES; i++) {
            const struct row *row = &c->rows[i][kind][p];
            bool fresh = now_ms < row->heard_ms + 3000;
            if (row->known) {
                rows[q.row_count++] =
                    (struct floor_row){ids[p], row->connected && fresh, row->needs, row->connected_ms};
                if (c->settled_ms[kind][p] == 0) {
                    registered[q.registered_count++] = ids[p];
                    c->settled_ms[kind][p] = now_ms;
                }
            }
        }
    }
    struct floor_answer answer = floor_decide(&q);
    if (answer.unknown > 0) {
        sim_reached(&w->engine, MARK_FLOOR_INHERITED);
    }
    if (answer.overdue > 0) {
        sim_reached(&w->engine, MARK_OVERDUE);
    }
    return answer.floor;
}

void operator_floor(struct world *w, struct cluster *c)
{
    uint64_t floor = UINT64_MAX;
    if (c->leader < 0) {
        return;
    }
    take_rows(w, c);
    for (unsigned k = 0; k < KINDS; k++) {
        if (role_serves(c, cluster_state(c)->role, k)) {
            uint64_t said = floor_of(w, c, k);
            floor = said < floor ? said : floor;
        }
    }
    check_floor(w, c, floor);
    if (floor != c->inherited) {
        sim_trace(&w->engine, "%u keeps its log from %lld on (%lld before)", c->n, (long long)floor,
                  (long long)c->inherited);
    }
    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = &c->nodes[i];
        if (node->up && !node->cut_off) {
            node->floor = floor;
            node->contact_ms = w->engine.now_us / 1000;
        }
    }
}

/* ---- roles ---- */

/* What the receiver had under way is over, one way or the other. */
static void quiesce(struct world *w, struct cluster *c)
{
    size_t survive = c->op_count > 0 ? sim_below(&w->engine, c->op_count + 1) : 0;
    c->receiving = false;
    for (size_t i = 0; i < survive; i++) {
        cluster_commit(w, c, true);
    }
    cluster_restart_receiver(w, c);
    c->receiving = false; /* the role that follows starts its own */
}

struct promotion {
    unsigned line_lineage;
};
static struct promotion promotion;

static void be_primary(struct world *w, struct cluster *c, struct state *state)
{
    (void)w;
    state->role = c->line == 0 ? AS_SHARED : AS_PERFORMANCE;
    state->attached = c->line != 0;
    state->line_lineage = promotion.line_lineage;
}

static void promote(struct world *w, struct cluster *c, bool is_planned)
{
    struct effects effects = {0};
    uint8_t id[16];
    check_behind(w, c);
    quiesce(w, c);
    const struct state *state = cluster_state(c);
    struct repl_position at = state->line_position;
    check_promotion(w, c, is_planned);
    for (size_t i = 0; i < sizeof(id); i++) {
        id[i] = (uint8_t)sim_below(&w->engine, 256);
    }
    struct repl_lineage *line = cf_memdup(lineage_of(w, state->line_lineage), sizeof(*line));
    struct repl_lineage *set = cf_memdup(lineage_of(w, state->set_lineage), sizeof(*set));
    if (repl_lineage_promote(line, c->line == 0 ? set : NULL, &at, id, NULL) != CF_OK) {
        sim_fail(&w->engine, "P-42 lineage", "%u can't be promoted where it stands", c->n);
    }
    promotion.line_lineage = lineage_id(w, line);
    struct repl_epoch epoch = repl_lineage_current(line);
    truth_begin(w, c, REPL_DR, &epoch);
    if (c->line == 0) {
        epoch = repl_lineage_current(set);
        truth_begin(w, c, REPL_PERFORMANCE, &epoch);
        effects_add(&effects, &(struct effect){.type = FX_LINEAGE, .value = lineage_id(w, set)});
    } else {
        sim_reached(&w->engine, MARK_LINE_PROMOTED);
    }
    cf_free(line);
    cf_free(set);
    sim_reached(&w->engine, MARK_PROMOTED);
    sim_trace(&w->engine, "%u is promoted%s", c->n, is_planned ? ", as planned" : "");
    cluster_write(w, c, &effects, be_primary);
    cluster_restart_receiver(w, c);
}

static bool may_be_promoted(const struct world *w, const struct cluster *c)
{
    const struct state *state = cluster_state(c);
    return c->present && c->leader >= 0 && state->role == AS_MIRROR &&
           state->line_position.index != 0 && w->truth_count + 2 < EPOCHS_MAX;
}

void operator_promote(struct world *w, struct cluster *c)
{
    unsigned active = 0;
    if (w->promotions >= w->options.promotions || !may_be_promoted(w, c)) {
        return;
    }
    for (unsigned i = c->line; i < CLUSTERS; i += 2) {
        const struct cluster *other = &w->clusters[i];
        enum role role = cluster_state(other)->role;
        active += other->present && other->leader >= 0 && (role == AS_SHARED || role == AS_PERFORMANCE);
    }
    if (active > 0) {
        sim_reached(&w->engine, MARK_TWO_PRIMARIES);
    }
    if (active > 1) {
        sim_reached(&w->engine, MARK_TWO_PROMOTED);
    }
    w->promotions++;
    w->drill.disturbed |= c->line == 0;
    promote(w, c, false);
}

/* It has adopted the epoch of its line's new primary, and nothing else yet: its set does not know of that promotion. Whoever
 * promotes it now raises a set that branched from the one before; and a little later, one whose log has positions of two
 * others. Of a stream of its own: other runs stay as they were. */
void operator_hurry(struct world *w, struct cluster *c)
{
    struct cf_prng own;
    sim_stream_seed(&w->engine, &own, 7, c->n, c->last);
    struct cf_prng *before = sim_draw_from(&w->engine, &own);
    bool may = !w->healing && w->promotions < w->options.promotions && c->line == 0;
    uint64_t within_us = sim_chance(&w->engine, 500) ? 3000 : 6000000;
    if (may && sim_chance(&w->engine, 600)) {
        sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 0, within_us), EV_PROMOTE, c->n, 1, 0, NULL);
    }
    sim_draw_from(&w->engine, before);
}

/* ---- planned failover: closed, shipped, demoted, promoted, attached ---- */

static void close_set(struct world *w, struct cluster *c, struct state *state)
{
    (void)w;
    (void)c;
    state->role = AS_PERFORMANCE; /* it follows nobody: no writes, but its line's DR secondaries are served */
    state->attached = false;
}

static void reopen(struct world *w, struct cluster *c, struct state *state)
{
    (void)w;
    (void)c;
    state->role = AS_SHARED;
}

/* What it has is compared with the new primary's; where it once stood in another's log means nothing now. */
static void demote(struct world *w, struct cluster *c, struct state *state)
{
    (void)w;
    (void)c;
    state->role = AS_MIRROR;
    state->attached = false;
    state->line_position = (struct repl_position){0};
}

static void attach(struct world *w, struct cluster *c, struct state *state)
{
    (void)w;
    (void)c;
    state->attached = true;
    state->has_data = true;
}

static void change_role(struct world *w, struct cluster *c,
                        void (*change)(struct world *, struct cluster *, struct state *))
{
    if (c->receiving) {
        quiesce(w, c);
    }
    cluster_write(w, c, NULL, change);
    cluster_restart_receiver(w, c);
}

/* As the status of the primary says: all that it has is there. */
static bool is_shipped(const struct world *w, const struct cluster *from, unsigned to)
{
    for (unsigned i = 0; i < NODES; i++) {
        const struct peer *peer = &from->nodes[i].peers[REPL_DR][to];
        struct repl_position last = node_position(w, &from->nodes[i], REPL_DR, from->last);
        if (from->nodes[i].up && peer->conn != 0 && repl_position_equal(&peer->core.acked, &last)) {
            return true;
        }
    }
    return false;
}

static void begin_drill(struct world *w)
{
    for (unsigned i = 0; i < CLUSTERS && w->drills < w->options.drills; i += 2) {
        struct cluster *from = &w->clusters[i];
        unsigned to = (i + 2 * (1 + (unsigned)sim_below(&w->engine, 2))) % 6;
        if (from->present && from->leader >= 0 && cluster_state(from)->role == AS_SHARED &&
            w->clusters[to].present && may_be_promoted(w, &w->clusters[to])) {
            w->drills++;
            w->drill.phase = 1;
            w->drill.from = i;
            w->drill.to = to;
            w->drill.began_us = w->engine.now_us;
            w->drill.disturbed = false;
            sim_trace(&w->engine, "%u is closed for %u", i, to);
            change_role(w, from, close_set);
            return;
        }
    }
}

void operator_drill(struct world *w)
{
    struct cluster *from = &w->clusters[w->drill.from], *to = &w->clusters[w->drill.to];
    bool over = w->engine.now_us - w->drill.began_us > 5000000;
    if (w->drill.phase == 0) {
        begin_drill(w);
        return;
    }
    enum role role = cluster_state(from)->role;
    if (from->leader < 0) {
        return;
    }
    if (w->drill.phase == 1 && (role != AS_PERFORMANCE || over || w->drill.disturbed)) {
        w->drill.phase = 0;
        if (role == AS_PERFORMANCE) {
            change_role(w, from, reopen);
        }
    } else if (w->drill.phase == 1 && is_shipped(w, from, w->drill.to)) {
        w->drill.closed = from->last;
        w->drill.phase = 2;
        change_role(w, from, demote);
    } else if (w->drill.phase == 2 && may_be_promoted(w, to)) {
        promote(w, to, !w->drill.disturbed);
        w->drill.phase = 3;
        sim_reached(&w->engine, MARK_DRILL);
    } else if (w->drill.phase == 2 && cluster_state(to)->role != AS_MIRROR) {
        w->drill.phase = 3; /* somebody else was faster */
    } else if (w->drill.phase == 3) {
        w->drill.phase = 0;
        if (role == AS_MIRROR && !cluster_state(from)->attached) {
            sim_reached(&w->engine, MARK_FAILBACK);
            change_role(w, from, attach);
        }
    }
}

/* Somebody looks after those who lost, and those who follow nobody. */
void operator_look(struct world *w)
{
    for (unsigned i = 0; i < CLUSTERS; i++) {
        struct cluster *c = &w->clusters[i];
        const struct state *state = cluster_state(c);
        bool in_drill = w->drill.phase != 0 && w->drill.from == i;
        if (!c->present || c->leader < 0 || in_drill) {
            continue;
        }
        if (state->role == AS_FENCED) {
            sim_trace(&w->engine, "%u is demoted", i);
            change_role(w, c, demote);
        } else if (state->role == AS_MIRROR && !state->attached) {
            change_role(w, c, attach);
        } else if (c->line == 0 && state->role == AS_PERFORMANCE) {
            change_role(w, c, reopen);
        }
    }
}

/* ---- claims ---- */

static void claim(struct world *w, struct cluster *from, struct cluster *to, enum repl_kind kind, bool rogue)
{
    unsigned own = state_lineage(cluster_state(to), kind);
    unsigned stated = state_lineage(cluster_state(from), kind);
    if (rogue) {
        struct repl_lineage *lineage = cf_memdup(lineage_of(w, own), sizeof(*lineage));
        struct repl_epoch made_up = {.number = repl_lineage_current(lineage).number + 7};
        struct repl_position here = node_position(w, cluster_leader(to), kind, to->last);
        cf_ignore(repl_lineage_raise(lineage, &made_up, &here, NULL), "few enough");
        struct fence_claim unproved = {lineage, false};
        enum fence_decision decision = fence_decide(lineage_of(w, own), FENCE_PRIMARY, &unproved);
        cf_free(lineage);
        if (decision == FENCE_FENCE) {
            serve_fence(w, to, kind, stated, true);
        } else if (decision != FENCE_ALARM) {
            sim_fail(&w->engine, "P-42 fence", "a made-up epoch raised no alarm");
        }
        sim_reached(&w->engine, MARK_ROGUE);
        return;
    }
    struct fence_claim proved = {lineage_of(w, stated), true};
    if (fence_decide(lineage_of(w, own), FENCE_PRIMARY, &proved) == FENCE_FENCE) {
        serve_fence(w, to, kind, stated, false);
    }
}

void operator_claims(struct world *w)
{
    for (unsigned i = 0; i < CLUSTERS; i++) {
        for (unsigned j = 0; j < CLUSTERS; j++) {
            struct cluster *from = &w->clusters[i], *to = &w->clusters[j];
            bool both = i != j && from->present && to->present && from->leader >= 0 && to->leader >= 0;
            for (unsigned k = 0; k < KINDS && both && !w->cut[i][j]; k++) {
                bool fits = k == REPL_DR ? from->line == to->line : to->line == 0;
                if (!fits || !role_serves(to, cluster_state(to)->role, k) ||
                    cluster_state(to)->role == AS_FENCED) {
                    continue;
                }
                claim(w, from, to, k, false);
                if (!w->healing && role_serves(to, cluster_state(to)->role, k) &&
                    cluster_state(to)->role != AS_FENCED &&
                    sim_chance(&w->engine, w->options.rogue_permille)) {
                    claim(w, from, to, k, true);
                }
            }
        }
    }
}
