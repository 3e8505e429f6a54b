/* tests/sim/repl_check.c: what was committed where, and what must be true of everybody. The names of the
 * invariants begin with their row of reliability.md, section 2.5. */
#include "tests/sim/repl_world.h"

struct truth *truth_find(struct world *w, enum repl_kind kind, const struct repl_epoch *epoch)
{
    for (size_t i = 0; i < w->truth_count; i++) {
        if (w->truths[i].kind == kind && repl_epoch_equal(&w->truths[i].epoch, epoch)) {
            return &w->truths[i];
        }
    }
    return NULL;
}

/* The log of its owner is the history of the epoch: what it received before is part of it, for it is sent from
 * there to who is behind the branch point. */
void truth_begin(struct world *w, struct cluster *c, enum repl_kind kind, const struct repl_epoch *epoch)
{
    w->truths[w->truth_count++] = (struct truth){kind, *epoch, c->n};
}

static const struct cluster *owner_of(struct world *w, const struct cluster *c, enum repl_kind kind,
                                      const struct repl_position *at)
{
    const struct truth *truth = truth_find(w, kind, &at->epoch);
    const struct cluster *owner = truth != NULL ? &w->clusters[truth->owner] : NULL;
    if (owner == NULL || at->index > owner->last || owner->log[at->index].term != at->term) {
        sim_fail(&w->engine, "P-36 position", "%u is at %u/%llu, which nobody ever was", c->n,
                 at->epoch.number, (unsigned long long)at->index);
    }
    return owner;
}

/* ---- prefix ---- */

/* May that mount lack? It is filtered there, or was later, or is gone by then. */
static bool may_lack(const struct cluster *owner, uint64_t index, unsigned slot)
{
    uint32_t gen = owner->log[index].state.gen[slot];
    for (uint64_t i = index; i <= owner->last; i++) {
        const struct state *state = &owner->log[i].state;
        if ((state->denied >> slot & 1) != 0 || state->gen[slot] != gen) {
            return true;
        }
    }
    return false;
}

/* Is that mount, or the filter, another one later? */
static bool is_passing(const struct cluster *owner, uint64_t index, unsigned slot)
{
    uint32_t gen = owner->log[index].state.gen[slot];
    for (uint64_t i = index + 1; i <= owner->last; i++) {
        const struct state *state = &owner->log[i].state;
        if (state->gen[slot] != gen || state->changed != owner->log[index].state.changed) {
            return true;
        }
    }
    return false;
}

/* Keys without their mount: only where a node that knew of the mount's end (or of a filter that holds it back) told to
 * delete it, and one that had not come so far went on; until that position, which deletes them. */
static void check_orphan(struct world *w, const struct cluster *c, const struct cluster *owner, uint64_t index,
                         unsigned slot, bool is_through_filter)
{
    uint32_t orphan = cluster_state(c)->orphan[slot];
    const struct state *want = &owner->log[index].state;
    bool may = is_through_filter ? want->gen[slot] == orphan && is_passing(owner, index, slot)
                                 : want->orphan[slot] == orphan;
    if (orphan != 0 && !may) {
        sim_fail(&w->engine, "P-36 orphan", "%u at %llu of %u has keys of mount %u.%u, and %u.%u is there", c->n,
                 (unsigned long long)index, owner->n, slot, orphan, slot, cluster_state(c)->gen[slot]);
    }
}

static void check_mount(struct world *w, const struct cluster *c, const struct cluster *owner,
                        uint64_t index, unsigned slot, bool is_through_filter)
{
    const struct state *have = cluster_state(c), *want = &owner->log[index].state;
    bool denied = is_through_filter && (want->denied >> slot & 1) != 0;
    check_orphan(w, c, owner, index, slot, is_through_filter);
    /* The sender knows the newest filter and the newest mounts alone (filter.h): on the way through entries between
     * two changes what was there may stay until the second one, unchanged. */
    if (denied && have->gen[slot] != 0 && !is_passing(owner, index, slot)) {
        sim_fail(&w->engine, "P-40 filter", "%u at %llu has mount %u, which is filtered there", c->n,
                 (unsigned long long)index, slot);
    }
    if (have->gen[slot] == 0 && (denied || (is_through_filter && may_lack(owner, index, slot)))) {
        return;
    }
    if (have->gen[slot] != want->gen[slot] ||
        memcmp(have->value[slot], want->value[slot], sizeof(have->value[slot])) != 0) {
        sim_fail(&w->engine, "P-36 prefix", "%u at %llu of %u differs in mount %u (%u, there %u)", c->n,
                 (unsigned long long)index, owner->n, slot, have->gen[slot], want->gen[slot]);
    }
}

static bool same_cluster_class(const struct state *a, const struct state *b)
{
    return memcmp(a->local, b->local, sizeof(a->local)) == 0 &&
           memcmp(a->record, b->record, sizeof(a->record)) == 0 &&
           repl_position_equal(&a->set_position, &b->set_position) && a->set_lineage == b->set_lineage;
}

/* Exactly what the primary of its position's epoch had there, by class and through the filter: nothing reordered,
 * nothing half-applied, no mix of two states. */
static void check_state(struct world *w, const struct cluster *c, enum repl_kind kind)
{
    const struct state *have = cluster_state(c);
    struct repl_position at = state_position(have, kind);
    const struct cluster *owner = owner_of(w, c, kind, &at);
    const struct state *want = &owner->log[at.index].state;
    for (unsigned slot = 0; slot < MOUNTS; slot++) {
        check_mount(w, c, owner, at.index, slot, kind == REPL_PERFORMANCE);
    }
    if (memcmp(have->ran, want->ran, sizeof(have->ran)) != 0 || have->denied != want->denied) {
        sim_fail(&w->engine, "P-36 prefix", "%u at %llu of %u differs in shared records", c->n,
                 (unsigned long long)at.index, owner->n);
    }
    if (kind == REPL_DR && !same_cluster_class(have, want)) {
        sim_fail(&w->engine, "P-44 class", "%u at %llu of %u differs in what its line alone has", c->n,
                 (unsigned long long)at.index, owner->n);
    }
}

/* What only its line may have did not come from the other line. */
static void check_local(struct world *w, const struct cluster *c, const struct state *before)
{
    const struct state *now = cluster_state(c);
    if (now->role == AS_PERFORMANCE && c->last > 1 &&
        (memcmp(now->local, before->local, sizeof(now->local)) != 0 ||
         memcmp(now->record, before->record, sizeof(now->record)) != 0)) {
        sim_fail(&w->engine, "P-40 class", "%u took what belongs to another line", c->n);
    }
}

void check_secondary(struct world *w, struct cluster *c, const struct repl_position *before)
{
    const struct state *state = cluster_state(c);
    enum repl_kind kind = role_receives(state->role);
    struct repl_position at = state_position(state, kind);
    check_local(w, c, &c->log[c->last - 1].state);
    if (at.index == 0) {
        return;
    }
    check_state(w, c, kind);
    if (repl_position_before(&at, before)) {
        sim_fail(&w->engine, "P-36 monotone", "%u went back from %llu to %llu", c->n,
                 (unsigned long long)before->index, (unsigned long long)at.index);
    }
    sim_note(&w->engine, at.index);
}

/* What a primary believes to be shipped is there for good: the promise of a promotion. */
void check_ack(struct world *w, struct cluster *c, enum repl_kind kind, const struct repl_position *acked)
{
    struct repl_position at = state_position(cluster_state(c), kind);
    if (role_receives(cluster_state(c)->role) == kind && repl_epoch_equal(&at.epoch, &acked->epoch) &&
        at.index < acked->index) {
        sim_fail(&w->engine, "P-43 shipped", "%u acknowledged %llu and has %llu", c->n,
                 (unsigned long long)acked->index, (unsigned long long)at.index);
    }
}

void check_fenced(struct world *w, struct cluster *c, enum repl_kind kind, unsigned lineage, bool rogue)
{
    struct repl_epoch other = repl_lineage_current(lineage_of(w, lineage));
    struct repl_epoch own =
        repl_lineage_current(lineage_of(w, state_lineage(cluster_state(c), kind)));
    const struct truth *truth = truth_find(w, kind, &other);
    if (rogue || truth == NULL || repl_epoch_cmp(&other, &own) <= 0) {
        sim_fail(&w->engine, "P-42 fence", "%u was fenced by %s claim", c->n,
                 rogue ? "an unproved" : "an older");
    }
    /* An epoch of a line is for that line alone. */
    if (kind == REPL_DR && truth->owner % 2 != c->line) {
        sim_fail(&w->engine, "P-42 fence", "%u was fenced by a promotion in another line", c->n);
    }
}

/* ---- lag, floor, bounds ---- */

void check_lag(struct world *w, struct node *node, enum repl_kind kind, unsigned from)
{
    const struct peer *peer = &node->peers[kind][from];
    if (peer->conn == 0 || peer->core.state != PRIMARY_STREAMING) {
        return;
    }
    const struct cluster *c = &w->clusters[w->conns[peer->conn].secondary];
    struct repl_position at = state_position(cluster_state(c), kind);
    struct primary_lag lag = primary_lag(&peer->core, w->engine.now_us / 1000);
    if (role_receives(cluster_state(c)->role) != kind || !repl_epoch_equal(&at.epoch, &peer->core.epoch)) {
        return;
    }
    uint64_t lacks = node->applied > at.index ? node->applied - at.index : 0;
    if (lag.entries < lacks) {
        sim_fail(&w->engine, "P-37 lag", "%u lacks %llu entries, its primary says %llu", c->n,
                 (unsigned long long)lacks, (unsigned long long)lag.entries);
    }
    if (lacks > 0 && node->reached_us[at.index + 1] >= peer->connected_ms * 1000) {
        uint64_t age_ms = (w->engine.now_us - node->reached_us[at.index + 1]) / 1000;
        if (lag.ms + 1 < age_ms) {
            sim_fail(&w->engine, "P-37 lag", "%u lacks something for %llu ms, its primary says %llu", c->n,
                     (unsigned long long)age_ms, (unsigned long long)lag.ms);
        }
    }
    if (lag.entries == 0 && lag.ms != 0 && lag.ms != peer->core.silent_ms) {
        sim_fail(&w->engine, "P-37 lag", "%u lacks nothing, for %llu ms", c->n, (unsigned long long)lag.ms);
    }
}

/* What a secondary says that a promotion would lose is not younger than what it would lose. (What one knows that has not
 * heard its primary in this life is told as such.) */
void check_behind(struct world *w, const struct cluster *c)
{
    enum { TOLERANCE_MS = 2600 }; /* two heartbeats, of a standby that hears its leader twice a second; links */
    const struct state *state = cluster_state(c);
    enum repl_kind kind = role_receives(state->role);
    struct repl_position at = state_position(state, kind);
    if (!c->receiving || at.index == 0 || c->behind.whole_ms == 0) {
        return;
    }
    const struct cluster *owner = owner_of(w, c, kind, &at);
    struct repl_epoch current = repl_lineage_current(lineage_of(w, state_lineage(cluster_state(owner), kind)));
    if (owner == c || at.index >= owner->last || !repl_epoch_equal(&current, &at.epoch)) {
        return;
    }
    uint64_t now_ms = w->engine.now_us / 1000, age_ms = now_ms - owner->log[at.index + 1].at_us / 1000;
    bool streams = c->conn != 0 && c->receiver.state == SECONDARY_STREAM_WALS;
    uint64_t says_ms = behind_ms(&c->behind, streams, &at, now_ms);
    if (says_ms + TOLERANCE_MS < age_ms) {
        sim_fail(&w->engine, "P-37 loss", "%u would lose %llu ms, and says %llu", c->n, (unsigned long long)age_ms,
                 (unsigned long long)says_ms);
    }
}

/* Whoever is away for longer than was promised holds nothing back. */
void check_floor(struct world *w, struct cluster *c, uint64_t floor)
{
    uint64_t now_ms = w->engine.now_us / 1000, grace_ms = w->options.hold_ms + 4000;
    bool is_away = true, is_here = false;
    for (unsigned i = 0; i < NODES; i++) {
        for (unsigned k = 0; k < KINDS; k++) {
            for (unsigned p = 0; p < CLUSTERS; p++) {
                if (c->nodes[i].peers[k][p].conn != 0) {
                    c->hello_ms[k][p] = now_ms;
                }
                is_away = is_away && c->hello_ms[k][p] + grace_ms < now_ms;
                is_here |= c->hello_ms[k][p] + 4000 > now_ms;
            }
        }
    }
    if (!is_here && floor < cluster_leader(c)->capped && floor != c->inherited) {
        sim_fail(&w->engine, "P-45 floor", "%u keeps its log from %llu on, and %llu has left it", c->n,
                 (unsigned long long)floor, (unsigned long long)cluster_leader(c)->capped);
    }
    if (!is_away) {
        return;
    }
    if (floor != UINT64_MAX && c->active_since_ms + grace_ms < now_ms) {
        sim_fail(&w->engine, "P-45 floor", "%u keeps its log from %llu on for nobody", c->n,
                 (unsigned long long)floor);
    }
}

void check_bounds(struct world *w, struct node *node)
{
    if (node->applied - node->base > w->options.cap) {
        sim_fail(&w->engine, "P-45 log", "%u.%u keeps %llu entries", node->cluster, node->n,
                 (unsigned long long)(node->applied - node->base));
    }
    for (unsigned k = 0; k < KINDS; k++) {
        for (unsigned p = 0; p < CLUSTERS; p++) {
            const struct primary *core = &node->peers[k][p].core;
            if (core->seq_sent - core->seq_acked > PRIMARY_BATCHES_MAX) {
                sim_fail(&w->engine, "P-45 credit", "%u.%u has sent %llu batches that nobody acknowledged",
                         node->cluster, node->n, (unsigned long long)(core->seq_sent - core->seq_acked));
            }
        }
    }
}

static bool is_barred(const struct cluster *c, enum repl_kind kind, uint64_t index)
{
    for (uint64_t i = index + 1; i <= c->last; i++) {
        if (c->log[i].is_switch) {
            return true;
        }
    }
    return kind == REPL_PERFORMANCE && cluster_state(c)->widened > index;
}

/* When the active node knew last that it was here. (Who came and went between two reports of a standby: it did not. What
 * is held is held for hours.) */
static uint64_t seen_ms(const struct cluster *c, enum repl_kind kind, unsigned from)
{
    return cf_min(c->streamed_ms[kind][from], c->seen_ms[kind][from]);
}

/* One that was away for too long is back while the log is still there: what it needs was given up, and may go a moment
 * later. Nothing is promised to it until the nodes have heard otherwise. */
void check_returns(struct world *w, struct cluster *c, enum repl_kind kind, unsigned from)
{
    uint64_t now_ms = w->engine.now_us / 1000;
    if (c->settled_ms[kind][from] != 0 && seen_ms(c, kind, from) + w->options.hold_ms < now_ms) {
        c->settled_ms[kind][from] = now_ms;
    }
}

/* What the active node was told of it had left the log, so that nothing is held for it. It may stand further than that
 * by what was on its way, or by what a standby served that could not tell: at the edge of the cap, where it would be lost
 * with the next entries. */
static bool is_given_up(const struct cluster *c, enum repl_kind kind, unsigned from)
{
    uint64_t capped = 0;
    bool is_below = false;
    for (unsigned i = 0; i < NODES; i++) {
        capped = cf_max(capped, c->nodes[i].capped);
    }
    for (unsigned i = 0; i < NODES; i++) {
        const struct row *row = &c->rows[i][kind][from];
        is_below |= row->known && row->needs != 0 && row->needs < capped;
    }
    return is_below;
}

/* A position that is in this epoch's log is gone only when more was kept than is promised, or nobody who has it can
 * be asked. */
void check_resync(struct world *w, struct node *node, enum repl_kind kind, unsigned from,
                  const struct message *hello)
{
    const struct repl_position *position = &hello->position;
    struct cluster *c = &w->clusters[node->cluster];
    uint64_t now_ms = w->engine.now_us / 1000, at = position->index;
    struct repl_position here = node_position(w, node, kind, node->applied);
    bool is_ours = at != 0 && repl_epoch_equal(&here.epoch, &position->epoch) && at <= c->last &&
                   c->log[at].term == position->term;
    /* (A DR secondary that took a performance secondary's place may stand further back: nobody knew of it.) */
    bool was_here = c->streamed_by[kind][from] == hello->from && c->settled_ms[kind][from] != 0 &&
                    c->settled_ms[kind][from] + 3000 < now_ms && seen_ms(c, kind, from) + w->options.hold_ms > now_ms;
    bool within = at + w->options.cap >= c->last;
    bool can_be_asked = false, is_kept = false;
    for (unsigned i = 0; i < NODES; i++) {
        const struct node *other = &c->nodes[i];
        bool holds = other->base <= at && at <= other->applied;
        is_kept |= holds || other->base <= at;
        can_be_asked |= holds && other->up && !other->cut_off && c->steady_since_us + 300000 < w->engine.now_us;
    }
    if (!is_ours || !was_here || !within || is_given_up(c, kind, from) || is_barred(c, kind, at)) {
        return;
    }
    if (can_be_asked) {
        sim_fail(&w->engine, "P-38 place", "%u.%u says that %llu is gone, and another node has it", c->n,
                 node->n, (unsigned long long)at);
    }
    if (!is_kept) {
        sim_fail(&w->engine, "P-38 floor", "%u has dropped %llu, where a secondary of it stands", c->n,
                 (unsigned long long)at);
    }
}

/* ---- progress, promotions, the end ---- */

void check_progress(struct world *w, struct cluster *c)
{
    const struct secondary *s = &c->receiver;
    uint64_t now = c->progress + s->staged_keys + s->session * 1000 + c->last * 7;
    if (!c->receiving || s->state != SECONDARY_BOOTSTRAPPING || now != c->seen_progress) {
        c->seen_progress = now;
        c->progress_at_us = w->engine.now_us;
    }
    if (w->engine.now_us - c->progress_at_us > 60000000) {
        sim_fail(&w->engine, "P-38 progress", "%u is in %s without progress", c->n, secondary_state_text(s));
    }
}

/* Nothing is lost when it was planned. */
void check_promotion(struct world *w, struct cluster *c, bool is_planned)
{
    struct repl_position at = cluster_state(c)->line_position;
    cf_ignore(owner_of(w, c, REPL_DR, &at) == NULL, "it ends the process when nobody was ever there");
    if (is_planned && at.index < w->drill.closed) {
        sim_fail(&w->engine, "P-43 planned", "%u was promoted at %llu of %llu", c->n,
                 (unsigned long long)at.index, (unsigned long long)w->drill.closed);
    }
}

static bool is_equal(struct world *w, const struct cluster *c, const struct cluster *primary, enum repl_kind kind)
{
    const struct state *have = cluster_state(c), *want = cluster_state(primary);
    struct repl_position at = state_position(have, kind);
    if (primary->leader < 0) {
        return false;
    }
    struct repl_position last =
        node_position(w, &primary->nodes[primary->leader], kind, primary->last);
    if (!repl_position_equal(&at, &last) || state_lineage(have, kind) != state_lineage(want, kind)) {
        return false;
    }
    for (unsigned slot = 0; slot < MOUNTS; slot++) {
        bool denied = kind == REPL_PERFORMANCE && (want->denied >> slot & 1) != 0;
        if (have->gen[slot] != (denied ? 0 : want->gen[slot])) {
            return false;
        }
    }
    return true; /* the rest was compared when it was committed */
}

/* Who is what: one active cluster in each line. NULL: not yet. */
static const struct cluster *active_of(const struct world *w, unsigned line)
{
    const struct cluster *active = NULL;
    for (unsigned i = line; i < CLUSTERS; i += 2) {
        const struct cluster *c = &w->clusters[i];
        enum role role = cluster_state(c)->role;
        if (!c->present || (role == AS_MIRROR && cluster_state(c)->attached)) {
            continue;
        }
        if (role != (line == 0 ? AS_SHARED : AS_PERFORMANCE) || active != NULL) {
            return NULL;
        }
        active = c;
    }
    return active;
}

/* One shared primary, one of each line, nobody fenced; everybody else follows and has it all. */
bool check_converged(struct world *w, bool must)
{
    for (unsigned i = 0; i < CLUSTERS; i++) {
        const struct cluster *c = &w->clusters[i], *own = active_of(w, c->line);
        enum repl_kind kind = role_receives(cluster_state(c)->role);
        const struct cluster *primary = kind == REPL_DR ? own : active_of(w, 0);
        if (!c->present || (c == own && c->line == 0)) {
            continue;
        }
        if (own == NULL || primary == NULL) {
            if (must) {
                sim_fail(&w->engine, "P-42 one primary", "line %u has not one active cluster (%u has role %d)",
                         c->line, i, (int)cluster_state(c)->role);
            }
            return false;
        }
        if (!is_equal(w, c, primary, kind)) {
            if (must) {
                struct repl_position at = state_position(cluster_state(c), kind);
                sim_fail(&w->engine, "P-38 convergence", "%u is at %u/%llu of %llu, state %d", i,
                         at.epoch.number, (unsigned long long)at.index, (unsigned long long)primary->last,
                         (int)c->receiver.state);
            }
            return false;
        }
    }
    return true;
}
