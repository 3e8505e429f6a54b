/* tests/sim/repl_serve.c: a node of a primary: where a stream is served, hello, batches, snapshots. */
#include "replication/core/translate.h"
#include "tests/sim/repl_world.h"

/* The secondaries of the set are one line, which goes by one name. */
static unsigned peer_index(enum repl_kind kind, unsigned from)
{
    return kind == REPL_PERFORMANCE ? 1 : from;
}

static struct cluster *cluster_of(struct world *w, const struct node *node)
{
    return &w->clusters[node->cluster];
}

static const struct repl_lineage *own_lineage(struct world *w, const struct node *node,
                                              enum repl_kind kind)
{
    return lineage_of(w, state_lineage(node_state(cluster_of(w, node), node), kind));
}

struct repl_position node_position(const struct world *w, const struct node *node,
                                   enum repl_kind kind, uint64_t index)
{
    const struct cluster *c = &w->clusters[node->cluster];
    const struct repl_lineage *own =
        lineage_of(w, state_lineage(node_state(c, node), kind));
    return (struct repl_position){repl_lineage_current(own), c->log[index].term, index};
}

void serve_reset(struct world *w, struct node *node, enum repl_kind kind)
{
    for (unsigned p = 0; p < CLUSTERS; p++) {
        struct peer *peer = &node->peers[kind][p];
        links_break(w, peer->conn);
        cf_free(peer->snapshot.tree);
        *peer = (struct peer){0};
        primary_init(&peer->core);
    }
}

static void drop_peer(struct world *w, struct peer *peer)
{
    struct primary_event lost = {.type = PRIMARY_EV_LOST, .now_ms = w->engine.now_us / 1000};
    struct primary_update update;
    links_break(w, peer->conn);
    peer->conn = 0;
    cf_ignore(primary_step(&peer->core, &lost, &update, NULL), "losing a link can't fail");
}

void serve_lost(struct world *w, struct node *node, uint64_t conn)
{
    for (unsigned k = 0; k < KINDS; k++) {
        for (unsigned p = 0; p < CLUSTERS; p++) {
            if (node->peers[k][p].conn == conn) {
                drop_peer(w, &node->peers[k][p]);
            }
        }
    }
}

/* ---- positions ---- */

struct start {
    uint64_t index, above, cut_end;
};

static bool find_translated(const struct cluster *c, const struct node *node, enum repl_kind kind,
                            const struct repl_position *from, struct start *ret)
{
    struct translation t;
    translate_begin(&t, from->index);
    for (uint64_t i = node->base + 1; i <= node->applied; i++) {
        const struct entry *entry = &c->log[i];
        struct translate_entry one = {.index = i,
                                      .begins = entry->begins_line || entry->is_switch ||
                                                (kind == REPL_PERFORMANCE && entry->begins_set),
                                      .is_shipped = entry->is_shipped,
                                      .oldest = entry->oldest,
                                      .newest = entry->newest};
        translate_entry(&t, &one);
    }
    ret->above = from->index;
    return translate_end(&t, &ret->index, &ret->cut_end);
}

/* As host.c. */
static bool find_start(struct world *w, struct node *node, enum repl_kind kind,
                       const struct repl_position *from, struct start *ret)
{
    const struct cluster *c = cluster_of(w, node);
    const struct repl_lineage *own = own_lineage(w, node, kind);
    struct repl_epoch current = repl_lineage_current(own);
    *ret = (struct start){0};
    if (from->index == 0) {
        return false;
    }
    if (!repl_epoch_equal(&from->epoch, &current)) {
        return translate_may(own, from) && find_translated(c, node, kind, from, ret);
    }
    ret->index = from->index + 1;
    return from->index >= node->base && from->index <= node->applied &&
           c->log[from->index].term == from->term;
}

static bool known(struct world *w, struct node *node, enum repl_kind kind, struct peer *peer,
                  const struct repl_position *position)
{
    struct start start;
    if ((!repl_lineage_includes(own_lineage(w, node, kind), position) &&
         !REPL_MUTATED(REPL_MUTANT_STREAM_BEYOND)) ||
        !find_start(w, node, kind, position, &start) || start.index <= peer->switched_at) {
        return false;
    }
    struct sieve *sieve =
        kind == REPL_PERFORMANCE ? sieve_new(node_state(cluster_of(w, node), node)) : NULL;
    bool streams = sieve_can_stream(sieve, start.index);
    sieve_free(sieve);
    return streams;
}

/* ---- batches ---- */

static void add_entry(struct world *w, struct cluster *c, enum repl_kind kind, struct sieve *sieve,
                      uint64_t index, uint64_t above, struct effects *ret)
{
    const struct entry *entry = &c->log[index];
    struct effects ships = {0}, passed = {0};
    bool any = false;
    for (size_t i = 0; i < entry->effects.count; i++) {
        const struct effect *effect = &entry->effects.all[i];
        bool counts = !entry->is_shipped || above == 0 || effect->source == 0 || effect->source > above;
        /* What we added ourselves goes with what it was added to. */
        if (effect->is_own ? above != 0 && entry->is_shipped && !any : !counts) {
            sim_reached(&w->engine, MARK_CUT_ENTRY);
            continue;
        }
        any = true;
        if (effect_ships(kind, effect)) {
            effects_add(&ships, effect);
        }
    }
    if (ships.count != 0) {
        sieve_pass(w, sieve, index, &ships, &passed);
    }
    for (size_t i = 0; i < passed.count; i++) {
        struct effect effect = passed.all[i];
        effect.is_own = false;
        effect.source = index;
        effects_add(ret, &effect);
    }
    effects_done(&ships);
    effects_done(&passed);
}

static cf_status read_batch(struct world *w, struct node *node, enum repl_kind kind,
                            struct peer *peer, const struct repl_position *from,
                            struct primary_event *ev, struct effects *ret)
{
    struct cluster *c = cluster_of(w, node);
    struct start start;
    ev->to = *from;
    if (!find_start(w, node, kind, from, &start)) {
        return CF_NOT_FOUND;
    }
    struct sieve *sieve = kind == REPL_PERFORMANCE ? sieve_new(node_state(c, node)) : NULL;
    cf_status status = sieve_can_stream(sieve, start.index) ? CF_OK : CF_NOT_FOUND;
    uint64_t most = sim_between(&w->engine, 1, w->options.batch_entries);
    if (start.above != 0) {
        sim_reached(&w->engine, MARK_TRANSLATED);
    }
    for (uint64_t i = start.index; status == CF_OK && i <= node->applied && ev->entries < most; i++) {
        if (c->log[i].is_switch) {
            peer->switched_at = i;
            status = CF_NOT_FOUND;
            break;
        }
        add_entry(w, c, kind, sieve, i, i < start.cut_end ? start.above : 0, ret);
        ev->to = node_position(w, node, kind, i);
        ev->entries++;
    }
    sieve_free(sieve);
    ev->bytes = ret->count * 100;
    return status;
}

static void send_batch(struct world *w, struct node *node, struct peer *peer,
                       const struct primary_update *update, struct effects *effects)
{
    struct message *m = message_new(cluster_of(w, node), MSG_BATCH);
    m->seq = update->seq;
    m->position = update->from;
    m->to = update->to;
    if (effects != NULL) {
        m->effects = *effects;
        *effects = (struct effects){0};
    }
    links_send(w, m, peer->conn);
}

static bool step(struct world *w, struct node *node, struct peer *peer, struct primary_event *ev,
                 struct primary_update *update, struct effects *effects)
{
    struct cf_error err = {0};
    ev->now_ms = w->engine.now_us / 1000;
    cf_status status = primary_step(&peer->core, ev, update, &err);
    if (update->send && status == CF_OK) {
        send_batch(w, node, peer, update, effects);
    }
    if (status != CF_OK && ev->type != PRIMARY_EV_HELLO && ev->type != PRIMARY_EV_SNAPSHOT) {
        sim_trace(&w->engine, "%u.%u closes a stream: %s", node->cluster, node->n, err.message);
        drop_peer(w, peer);
    }
    return status == CF_OK;
}

void serve_feed(struct world *w, struct node *node, enum repl_kind kind, unsigned from,
                struct primary_event *ev)
{
    struct peer *peer = &node->peers[kind][from];
    struct primary_update update;
    bool fine = step(w, node, peer, ev, &update, NULL);
    while (fine && update.read) {
        struct effects effects = {0};
        struct primary_event read = {.type = PRIMARY_EV_READ};
        struct repl_position at = update.read_from;
        read.status = read_batch(w, node, kind, peer, &at, &read, &effects);
        fine = step(w, node, peer, &read, &update, &effects);
        effects_done(&effects);
    }
}

void serve_advanced(struct world *w, struct node *node)
{
    for (unsigned k = 0; k < KINDS; k++) {
        for (unsigned p = 0; p < CLUSTERS; p++) {
            if (node->peers[k][p].core.heard) {
                struct primary_event ev = {.type = PRIMARY_EV_ADVANCED, .index = node->applied};
                serve_feed(w, node, k, p, &ev);
            }
        }
    }
}

/* ---- where ---- */

static bool may_serve(struct world *w, struct node *node, enum repl_kind kind)
{
    struct cluster *c = cluster_of(w, node);
    enum role role = node_state(c, node)->role;
    return node->up && role != AS_FENCED && role_serves(c, role, kind) && node_in_contact(w, node);
}

struct places {
    uint64_t holds_to[NODES];
    unsigned standbys[NODES];
};

static struct place_question question_of(struct world *w, struct node *node, enum repl_kind kind,
                                         unsigned from, struct places *places)
{
    struct cluster *c = cluster_of(w, node);
    struct place_question q = {
        .is_active = c->leader == (int)node->n,
        .may_serve = may_serve(w, node, kind),
        .active_known = c->leader >= 0 && c->leader != (int)node->n && node_in_contact(w, node),
        .draw = from,
        .holds_to = places->holds_to,
    };
    for (unsigned i = 0; i < NODES && q.is_active; i++) {
        const struct node *other = &c->nodes[i];
        if (other != node && other->up && !other->cut_off) {
            places->standbys[q.count] = other->id;
            places->holds_to[q.count++] = other->applied;
        }
    }
    return q;
}

/* Here, or where it is sent (NOBODY: to nobody). */
static bool placed_here(struct world *w, struct node *node, enum repl_kind kind, unsigned from,
                        const struct message *m, unsigned *redirect)
{
    struct cluster *c = cluster_of(w, node);
    struct peer *peer = &node->peers[kind][from];
    struct places places;
    struct place_question q = question_of(w, node, kind, from, &places);
    struct repl_epoch current = repl_lineage_current(own_lineage(w, node, kind));
    size_t standby = 0;
    q.tried = place_tried(&peer->sent, &m->position, w->engine.now_us / 1000);
    q.holds = m->position.index == 0 || known(w, node, kind, peer, &m->position);
    q.index = repl_epoch_equal(&current, &m->position.epoch) ? m->position.index : 0;
    *redirect = NOBODY;
    unsigned active = q.active_known ? c->nodes[c->leader].id : NOBODY;
    if (lineage_is_newer(w, state_lineage(node_state(c, node), kind), m->lineage)) {
        *redirect = active;
        return q.is_active || active == NOBODY;
    }
    switch (place_decide(&q, &standby)) {
    case PLACE_HERE:
        return true;
    case PLACE_ACTIVE:
        *redirect = active;
        if (!q.holds && q.may_serve) {
            sim_reached(&w->engine, MARK_STANDBY_LACKS);
        }
        break;
    case PLACE_STANDBY:
        *redirect = places.standbys[standby];
        peer->was_sent = true;
        place_send(&peer->sent, &m->position, q.tried, w->engine.now_us / 1000);
        break;
    case PLACE_NOWHERE:
        break;
    }
    return false;
}

/* ---- hello ---- */

bool lineage_is_newer(const struct world *w, unsigned own, unsigned theirs)
{
    enum repl_relation relation =
        repl_lineage_compare(lineage_of(w, own), lineage_of(w, theirs), NULL);
    return relation == REPL_OURS_OLDER || relation == REPL_DIVERGED_LOST;
}

static void be_fenced(struct world *w, struct cluster *c, struct state *state)
{
    (void)w;
    (void)c;
    state->role = AS_FENCED;
    state->attached = false;
}

void serve_fence(struct world *w, struct cluster *c, enum repl_kind kind, unsigned lineage, bool rogue)
{
    enum role role = cluster_state(c)->role;
    if (c->leader < 0 || !fence_concerns(role == AS_SHARED, role == AS_PERFORMANCE, kind)) {
        return;
    }
    check_fenced(w, c, kind, lineage, rogue);
    sim_reached(&w->engine, MARK_FENCED);
    sim_trace(&w->engine, "%u is fenced by an epoch of kind %d", c->n, (int)kind);
    cluster_write(w, c, NULL, be_fenced);
    cluster_restart_receiver(w, c);
}

static void greet(struct world *w, struct node *node, enum repl_kind kind, unsigned from,
                  const struct message *m, struct message *answer)
{
    struct cluster *c = cluster_of(w, node);
    struct peer *peer = &node->peers[kind][from];
    struct primary_update update;
    unsigned own = state_lineage(node_state(c, node), kind);
    struct primary_event ev = {.type = PRIMARY_EV_HELLO,
                               .own = lineage_of(w, own),
                               .theirs = lineage_of(w, m->lineage),
                               .verified = m->verified,
                               .position = m->position,
                               .index = node->applied};
    if (peer->conn != m->conn) {
        drop_peer(w, peer);
    }
    peer->conn = m->conn;
    peer->connected_ms = c->hello_ms[kind][from] = w->engine.now_us / 1000;
    ev.known = known(w, node, kind, peer, &m->position);
    cf_ignore(step(w, node, peer, &ev, &update, NULL), "the verdict says it");
    answer->verdict = update.verdict;
    answer->keyring = sim_chance(&w->engine, 500);
    if (update.verdict == REPL_BOOTSTRAP) {
        check_resync(w, node, kind, from, m);
        c->streamed_ms[kind][from] = 0; /* from here on the log is kept for what it loads */
    }
    if (update.verdict == REPL_STREAM) {
        check_returns(w, c, kind, from);
        c->streamed_by[kind][from] = m->from;
        peer->snapshot.id = 0;
        if (c->leader != (int)node->n) {
            sim_reached(&w->engine, MARK_STANDBY_SERVES);
        }
    }
    if (update.fence && c->leader == (int)node->n) { /* a standby commits nothing */
        serve_fence(w, c, kind, m->lineage, false);
    }
}

static void on_hello(struct world *w, struct node *node, enum repl_kind kind, unsigned from,
                     struct message *m)
{
    struct cluster *c = cluster_of(w, node);
    struct message *answer = message_new(c, MSG_ANSWER);
    answer->lineage = state_lineage(node_state(c, node), kind);
    answer->position = m->position;
    answer->verified = true;
    answer->verdict = REPL_REDIRECT;
    if (placed_here(w, node, kind, from, m, &answer->redirect)) {
        greet(w, node, kind, from, m, answer);
    }
    links_send(w, answer, m->conn);
}

/* ---- snapshots ---- */

static void on_open(struct world *w, struct node *node, enum repl_kind kind, struct peer *peer,
                    struct message *m)
{
    struct snapshot *snapshot = &peer->snapshot;
    struct primary_update update;
    if (snapshot->id == 0 || snapshot->id != m->snapshot) {
        cf_free(snapshot->tree);
        *snapshot = (struct snapshot){.id = ++w->next_snapshot,
                                      .position = node_position(w, node, kind, node->applied),
                                      .index = node->applied};
    }
    struct primary_event ev = {.type = PRIMARY_EV_SNAPSHOT, .position = snapshot->position};
    struct message *answer = message_new(cluster_of(w, node), MSG_SNAPSHOT);
    answer->status = step(w, node, peer, &ev, &update, NULL) ? CF_OK : CF_INVALID;
    answer->snapshot = snapshot->id;
    answer->position = snapshot->position;
    links_send(w, answer, m->conn);
}

static void on_fetch(struct world *w, struct node *node, enum repl_kind kind, struct peer *peer,
                     struct message *m)
{
    const struct cluster *c = cluster_of(w, node);
    const struct snapshot *snapshot = &peer->snapshot;
    struct message *answer = message_new(c, MSG_PAGE);
    const struct state *then = &c->log[snapshot->index].state, *now = node_state(c, node);
    bool stands = then->changed == now->changed && then->widened == now->widened;
    if (snapshot->id == 0 || snapshot->id != m->snapshot || (kind == REPL_PERFORMANCE && !stands)) {
        answer->status = CF_NOT_FOUND;
    } else {
        struct effects all = {0};
        uint64_t at = m->cursor, end = at + w->options.page_records;
        state_records(w, then, kind, kind == REPL_PERFORMANCE, &all);
        for (; at < end && at < all.count; at++) {
            effects_add(&answer->effects, &all.all[at]);
        }
        answer->cursor = at;
        answer->done = at >= all.count;
        effects_done(&all);
    }
    links_send(w, answer, m->conn);
}

/* ---- messages, time ---- */

static void on_ack(struct world *w, struct node *node, enum repl_kind kind, unsigned from,
                   struct message *m)
{
    struct cluster *c = cluster_of(w, node);
    struct primary_event ev = {.type = PRIMARY_EV_ACK, .seq = m->seq, .position = m->position};
    check_ack(w, &w->clusters[m->from], kind, &m->position);
    c->streamed_ms[kind][from] = w->engine.now_us / 1000;
    c->streamed_by[kind][from] = m->from;
    serve_feed(w, node, kind, from, &ev);
}

void serve_message(struct world *w, struct node *node, struct message *m)
{
    const struct conn *conn = &w->conns[m->conn];
    enum repl_kind kind = conn->kind;
    unsigned from = peer_index(kind, m->from);
    struct cluster *c = cluster_of(w, node);
    struct peer *peer = &node->peers[kind][from];
    if (!role_serves(c, node_state(c, node)->role, kind)) {
        links_break(w, m->conn);
        return;
    }
    if (m->type == MSG_HELLO) {
        on_hello(w, node, kind, from, m);
        return;
    }
    if (peer->conn != m->conn) {
        return;
    }
    if (m->type == MSG_OPEN) {
        on_open(w, node, kind, peer, m);
    } else if (m->type == MSG_FETCH) {
        on_fetch(w, node, kind, peer, m);
    } else if (m->type == MSG_REPAIR) {
        repair_serve(w, node, m);
    } else if (m->type == MSG_ACK) {
        on_ack(w, node, kind, from, m);
    } else {
        struct primary_event ev = {.type = PRIMARY_EV_START, .position = m->position};
        serve_feed(w, node, kind, from, &ev);
    }
}

static void heartbeat(struct world *w, struct node *node, enum repl_kind kind, struct peer *peer)
{
    struct message *m = message_new(cluster_of(w, node), MSG_HEARTBEAT);
    m->lag_ms = primary_lag(&peer->core, w->engine.now_us / 1000).ms;
    m->position = node_position(w, node, kind, node->applied);
    links_send(w, m, peer->conn);
}

/* One at a time, as serve.c does. */
static void move_one(struct world *w, struct node *node, enum repl_kind kind)
{
    uint64_t now_ms = w->engine.now_us / 1000;
    for (unsigned p = 0; p < CLUSTERS; p++) {
        struct peer *peer = &node->peers[kind][p];
        struct places places;
        struct place_question q = question_of(w, node, kind, p, &places);
        node->fit_since_ms = q.count == 0 ? 0 : node->fit_since_ms != 0 ? node->fit_since_ms : now_ms;
        q.index = peer->core.acked.index;
        if (peer->conn != 0 && peer->core.state == PRIMARY_STREAMING && !peer->was_sent &&
            node->fit_since_ms != 0 && place_moves(&q, now_ms - node->fit_since_ms)) {
            sim_reached(&w->engine, MARK_MOVED);
            drop_peer(w, peer);
            return;
        }
    }
}

static uint64_t silent_ms(struct world *w, const struct node *node)
{
    return cluster_of(w, node)->leader == (int)node->n ? 0 : w->engine.now_us / 1000 - node->contact_ms;
}

void serve_tick(struct world *w, struct node *node)
{
    for (unsigned k = 0; k < KINDS && node->up; k++) {
        bool may = may_serve(w, node, k);
        for (unsigned p = 0; p < CLUSTERS; p++) {
            struct peer *peer = &node->peers[k][p];
            struct primary_event ev = {.type = PRIMARY_EV_TICK};
            struct primary_update update;
            peer->core.silent_ms = silent_ms(w, node);
            if (peer->conn != 0 && !may) {
                drop_peer(w, peer);
            }
            if (peer->conn == 0) {
                continue;
            }
            cf_ignore(step(w, node, peer, &ev, &update, NULL), "a tick can't fail");
            if (update.heartbeat) {
                heartbeat(w, node, k, peer);
            }
            check_lag(w, node, k, p);
        }
        move_one(w, node, k);
    }
}
