/* tests/sim/repl_links.c
 *
 * Connections and messages, and a secondary's side: the updates of its core performed, as replication/driver
 * does in life, without bytes. A connection delivers in order until it breaks; what was on its way is lost
 * then, and each side hears of it on its own.
 */
#include "tests/sim/repl_world.h"

void message_free(struct message *m)
{
    effects_done(&m->effects);
    cf_buf_done(&m->bytes);
    cf_free(m);
}

struct message *message_new(const struct cluster *from, enum message_type type)
{
    struct message *m = cf_new(struct message);
    m->type = type;
    m->from = from->n;
    m->redirect = NOBODY;
    return m;
}

/* Where a connection ends at the secondary's side: whoever leads it. */
static unsigned receiver_of(struct world *w, const struct conn *conn)
{
    const struct cluster *c = &w->clusters[conn->secondary];
    return conn->secondary * NODES + (unsigned)(c->leader >= 0 ? c->leader : 0);
}

void links_send(struct world *w, struct message *m, uint64_t id)
{
    struct conn *conn = &w->conns[id];
    bool to_secondary = m->from == conn->primary;
    bool lost = m->type == MSG_BATCH && sim_chance(&w->engine, w->options.drop_permille);
    m->conn = id;
    if (id == 0 || !conn->alive || lost) {
        if (lost) {
            sim_reached(&w->engine, MARK_GAP);
        }
        message_free(m);
        return;
    }
    uint64_t at = w->engine.now_us + sim_between(&w->engine, 50, w->options.delay_us);
    uint64_t *next = &conn->next_us[to_secondary];
    *next = at > *next ? at : *next + 1;
    sim_schedule(&w->engine, *next, EV_MESSAGE, to_secondary ? receiver_of(w, conn) : conn->node, 0, 0, m);
}

void links_break(struct world *w, uint64_t id)
{
    struct conn *conn = &w->conns[id];
    if (id == 0 || !conn->alive) {
        return;
    }
    conn->alive = false;
    for (unsigned side = 0; side < 2; side++) {
        sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 1, 200000), EV_DOWN,
                     side ? receiver_of(w, conn) : conn->node, id, 0, NULL);
    }
}

void links_break_between(struct world *w, unsigned a, unsigned b)
{
    for (uint64_t i = 1; i <= w->conn_count; i++) {
        const struct conn *conn = &w->conns[i];
        if (conn->alive && ((conn->secondary == a && conn->primary == b) ||
                            (conn->secondary == b && conn->primary == a))) {
            links_break(w, i);
        }
    }
}

void links_break_node(struct world *w, unsigned id)
{
    for (uint64_t i = 1; i <= w->conn_count; i++) {
        if (w->conns[i].alive && w->conns[i].node == id) {
            links_break(w, i);
        }
    }
}

void links_break_receiver(struct world *w, struct cluster *c)
{
    for (uint64_t i = 1; i <= w->conn_count; i++) {
        if (w->conns[i].alive && w->conns[i].secondary == c->n) {
            links_break(w, i);
        }
    }
}

void links_down(struct world *w, unsigned id, uint64_t conn)
{
    struct node *node = node_at(w, id);
    struct cluster *c = &w->clusters[node->cluster];
    if (c->receiving && c->conn == conn) {
        struct secondary_event ev = {.type = SECONDARY_EV_LOST};
        c->conn = 0;
        behind_lost(&c->behind);
        links_feed_secondary(w, c, &ev);
    }
    serve_lost(w, node, conn);
}

/* ---- dialling ---- */

/* Who may be the primary: for the set line 0; for a line the other clusters of it. */
static unsigned dial_list(const struct world *w, const struct cluster *c, enum repl_kind kind,
                          unsigned list[CLUSTERS * NODES])
{
    unsigned count = 0;
    for (unsigned i = 0; i < CLUSTERS; i++) {
        const struct cluster *to = &w->clusters[i];
        bool fits = kind == REPL_PERFORMANCE ? to->line == 0 : to->line == c->line;
        for (unsigned n = 0; n < NODES && to->present && to != c && fits; n++) {
            list[count++] = i * NODES + n;
        }
    }
    return count;
}

static void dial(struct world *w, struct cluster *c)
{
    unsigned list[CLUSTERS * NODES];
    enum repl_kind kind = role_receives(cluster_state(c)->role);
    unsigned count = dial_list(w, c, kind, list);
    unsigned to = count != 0 ? list[c->rotation % count] : NOBODY;
    if (c->redirect != NOBODY) {
        to = c->redirect;
        c->redirect = NOBODY;
    } else {
        c->rotation++;
    }
    if (to == NOBODY || w->conn_count + 1 >= CONNS_MAX) {
        sim_fail(&w->engine, "P-38 progress", "%d connections were not enough", CONNS_MAX);
    }
    w->conns[++w->conn_count] = (struct conn){
        .secondary = c->n, .primary = to / NODES, .node = to, .kind = kind, .alive = true};
    c->conn = w->conn_count;
    sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 100, 20000), EV_DIALLED,
                 receiver_of(w, &w->conns[c->conn]), c->conn, 0, NULL);
}

void links_dialled(struct world *w, struct cluster *c, uint64_t id)
{
    struct conn *conn = &w->conns[id];
    struct cluster *to = &w->clusters[conn->primary];
    const struct node *node = node_at(w, conn->node);
    struct secondary_event ev = {.type = SECONDARY_EV_CONNECTED};
    if (!c->receiving || c->conn != id) {
        return;
    }
    if (!conn->alive || !node->up || w->cut[c->n][to->n] ||
        !role_serves(to, node_state(to, node)->role, conn->kind)) {
        conn->alive = false;
        c->conn = 0;
        ev.type = SECONDARY_EV_LOST;
    }
    links_feed_secondary(w, c, &ev);
}

/* ---- what came ---- */

static struct held *held_find(struct cluster *c, uint64_t seq)
{
    for (size_t i = 0; i < c->held_count; i++) {
        if (c->held[i].seq == seq) {
            return &c->held[i];
        }
    }
    return NULL;
}

static void held_add(struct cluster *c, struct message *m)
{
    if (c->held_count == c->held_capacity) {
        c->held_capacity = c->held_capacity * 2 + 16;
        c->held = cf_realloc(c->held, c->held_capacity * sizeof(c->held[0]));
    }
    c->held[c->held_count++] = (struct held){m->seq, m->position, m->to, m->effects};
    m->effects = (struct effects){0};
}

static void held_remove(struct cluster *c, struct held *held)
{
    size_t at = (size_t)(held - c->held);
    memmove(held, held + 1, (--c->held_count - at) * sizeof(*held));
}

static void propose(struct world *w, struct cluster *c, const struct secondary_update *update,
                    enum op_type type, uint64_t seq)
{
    struct proposed op = {.type = type, .session = update->session, .seq = seq, .to = update->position};
    if (type == OP_BATCH || type == OP_PAGE) {
        struct held *held = type == OP_BATCH ? held_find(c, seq) : c->held;
        if (held == NULL || (type == OP_PAGE && c->held_count == 0)) {
            if (REPL_MUTATED(REPL_MUTANT_ACCEPT_GAP)) {
                return; /* the batch of the gap */
            }
            sim_fail(&w->engine, "contract", "%u is to propose what never came", c->n);
        }
        op.to = type == OP_BATCH ? held->to : op.to;
        op.effects = held->effects;
        held_remove(c, held);
    }
    if (type == OP_PAGE) {
        struct secondary_stage behind = secondary_stage_behind(&c->receiver);
        op.snapshot = behind.snapshot_id;
        op.to = behind.position;
        op.cursor = behind.cursor.size == 8 ? cf_get_u64(behind.cursor.data) : 0;
        op.whole = behind.is_whole;
    }
    op.lineage = c->answered;
    cluster_propose(w, c, &op);
}

/* ---- updates performed ---- */

static void hello(struct world *w, struct cluster *c)
{
    const struct state *state = cluster_state(c);
    enum repl_kind kind = role_receives(state->role);
    struct message *m = message_new(c, MSG_HELLO);
    m->lineage = state_lineage(state, kind);
    m->position = state_position(state, kind);
    m->verified = true; /* it keeps the proof of what it adopted */
    links_send(w, m, c->conn);
}

static void perform_messages(struct world *w, struct cluster *c, const struct secondary_update *update)
{
    struct message *m;
    if ((update->requests & SECONDARY_HELLO) != 0) {
        hello(w, c);
    }
    if ((update->requests & SECONDARY_START) != 0) {
        sim_reached(&w->engine, MARK_STREAMED);
        c->connected_us = w->engine.now_us;
        m = message_new(c, MSG_START);
        m->position = update->position;
        links_send(w, m, c->conn);
    }
    if ((update->requests & SECONDARY_OPEN) != 0) {
        m = message_new(c, MSG_OPEN);
        m->snapshot = update->snapshot_id;
        links_send(w, m, c->conn);
    }
    if ((update->requests & SECONDARY_FETCH_PAGE) != 0) {
        m = message_new(c, MSG_FETCH);
        m->snapshot = update->snapshot_id;
        m->cursor = update->cursor.size == 8 ? cf_get_u64(update->cursor.data) : 0;
        links_send(w, m, c->conn);
    }
    if ((update->requests & SECONDARY_REPAIR) != 0) {
        repair_begin(w, c, update);
    }
    if ((update->requests & SECONDARY_ACK) != 0) {
        m = message_new(c, MSG_ACK);
        m->seq = update->ack_seq;
        m->position = update->position;
        links_send(w, m, c->conn);
    }
}

static void close_link(struct world *w, struct cluster *c)
{
    links_break(w, c->conn);
    c->conn = 0;
    if (c->repair != NULL) {
        sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 1, 1000), EV_REPAIR_ENDS, c->n,
                     c->repair->session, c->incarnation, NULL);
    }
    for (size_t i = 0; i < c->held_count; i++) {
        effects_done(&c->held[i].effects);
    }
    c->held_count = 0;
}

static void perform(struct world *w, struct cluster *c, const struct secondary_update *update)
{
    static const struct {
        unsigned request;
        enum op_type type;
    } ops[] = {{SECONDARY_INSTALL, OP_INSTALL},
               {SECONDARY_ADOPT, OP_ADOPT},
               {SECONDARY_STAGE_BEGIN, OP_BEGIN},
               {SECONDARY_STAGE_PAGE, OP_PAGE},
               {SECONDARY_STAGE_SWITCH, OP_SWITCH}};
    if ((update->requests & SECONDARY_CLOSE_LINK) != 0) {
        behind_lost(&c->behind);
        close_link(w, c);
    }
    if ((update->requests & SECONDARY_SET_TIMER) != 0) {
        uint64_t at_us = update->timeout_at_ms * 1000;
        sim_schedule(&w->engine, at_us > w->engine.now_us ? at_us : w->engine.now_us, EV_TIMER, c->n,
                     update->session, c->incarnation, NULL);
    }
    if ((update->requests & SECONDARY_CONNECT) != 0) {
        dial(w, c);
    }
    perform_messages(w, c, update);
    for (size_t i = 0; i < CF_LENGTH(ops); i++) {
        if ((update->requests & ops[i].request) != 0) {
            propose(w, c, update, ops[i].type, 0);
        }
    }
    for (uint64_t i = 0; i < update->propose_count; i++) {
        propose(w, c, update, OP_BATCH, update->propose_first + i);
    }
}

void links_feed_secondary(struct world *w, struct cluster *c, struct secondary_event *ev)
{
    struct secondary_update update;
    struct cf_error err = {0};
    ev->now_ms = w->engine.now_us / 1000;
    enum secondary_state before = c->receiver.state;
    cf_status status = secondary_step(&c->receiver, ev, &update, &err);
    sim_note(&w->engine, (uint64_t)ev->type << 32 | update.requests);
    sim_trace(&w->engine, "%u event %d state %d -> %d requests %x %s", c->n, (int)ev->type,
              (int)before, (int)c->receiver.state, update.requests, err.message);
    if (status == CF_INVALID && update.requests != 0) {
        sim_fail(&w->engine, "contract", "an invalid event had an effect");
    }
    if (c->receiver.seq_received - c->receiver.seq_committed > PRIMARY_BATCHES_MAX) {
        sim_fail(&w->engine, "P-45 credit", "%u holds %llu batches that are not committed", c->n,
                 (unsigned long long)(c->receiver.seq_received - c->receiver.seq_committed));
    }
    perform(w, c, &update);
}

/* ---- messages of the primary ---- */

static void on_answer(struct world *w, struct cluster *c, struct message *m)
{
    const struct state *state = cluster_state(c);
    unsigned own = state_lineage(state, role_receives(state->role));
    c->answered = m->lineage;
    c->redirect = m->verdict == REPL_REDIRECT ? m->redirect : NOBODY;
    struct secondary_event ev = {.type = SECONDARY_EV_ANSWER,
                                 .verdict = m->verdict,
                                 .position = m->position,
                                 .own = lineage_of(w, own),
                                 .theirs = lineage_of(w, m->lineage),
                                 .verified = m->verified,
                                 .has_redirect = c->redirect != NOBODY,
                                 .has_keyring = m->keyring};
    ev.has_data = state->has_data && sim_chance(&w->engine, w->options.repair_permille);
    if (repl_lineage_compare(ev.own, ev.theirs, NULL) == REPL_DIVERGED_LOST) {
        sim_reached(&w->engine, MARK_DIVERGED);
    }
    links_feed_secondary(w, c, &ev);
}

static void on_heartbeat(struct world *w, struct cluster *c, const struct message *m)
{
    const struct state *state = cluster_state(c);
    struct repl_position ours = state_position(state, role_receives(state->role));
    behind_heard(&c->behind, m->lag_ms, &m->position, &ours, w->engine.now_us / 1000);
}

static void to_secondary(struct world *w, struct cluster *c, struct message *m)
{
    uint8_t cursor[8];
    struct secondary_event ev = {.status = m->status};
    if (!c->receiving || c->conn != m->conn) {
        return;
    }
    switch ((int)m->type) {
    case MSG_ANSWER:
        on_answer(w, c, m);
        return;
    case MSG_REPAIRED:
        repair_answered(w, c, m);
        return;
    case MSG_HEARTBEAT:
        on_heartbeat(w, c, m);
        return;
    case MSG_BATCH:
        ev.type = SECONDARY_EV_BATCH;
        ev.seq = m->seq;
        ev.from = m->position;
        ev.to = m->to;
        held_add(c, m);
        break;
    case MSG_SNAPSHOT:
        ev.type = SECONDARY_EV_SNAPSHOT;
        ev.snapshot_id = m->snapshot;
        ev.position = m->position;
        if (c->receiver.stage_begun && m->status == CF_OK) {
            sim_reached(&w->engine,
                        m->snapshot == c->receiver.snapshot_id ? MARK_RESUMED : MARK_RESTARTED);
        }
        break;
    case MSG_PAGE:
        ev.type = SECONDARY_EV_PAGE;
        ev.done = m->done;
        cf_put_u64(cursor, m->cursor);
        ev.cursor = cf_slice_of(cursor, sizeof(cursor));
        if (m->status == CF_OK) {
            held_add(c, m);
        }
        break;
    default:
        return;
    }
    links_feed_secondary(w, c, &ev);
}

void links_message(struct world *w, unsigned to, struct message *m)
{
    const struct conn *conn = &w->conns[m->conn];
    struct node *node = node_at(w, to);
    if (!conn->alive || !node->up) {
        return;
    }
    if (m->from == conn->secondary) {
        serve_message(w, node, m);
    } else {
        to_secondary(w, &w->clusters[conn->secondary], m);
    }
}
