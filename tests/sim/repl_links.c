/* tests/sim/repl_links.c
 *
 * Connections, messages, and the updates of the cores performed: what replication/driver does in
 * life, without bytes. A connection delivers in order until it breaks; what was on its way is lost
 * then, and each side hears of it on its own.
 */
#include "tests/sim/repl_world.h"

void message_free(struct message *m)
{
    items_done(&m->items);
    items_done(&m->surplus);
    cf_free(m->lineage);
    cf_free(m);
}

static struct repl_lineage *copy_lineage(const struct repl_lineage *from)
{
    return cf_memdup(from, sizeof(*from));
}

static struct message *message_new(const struct cluster *from, enum message_type type)
{
    struct message *m = cf_new(struct message);
    m->type = type;
    m->from = from->n;
    return m;
}

static void send(struct world *w, struct message *m, uint64_t id)
{
    struct conn *conn = &w->conns[id];
    unsigned side = m->from == conn->primary;
    unsigned to = side ? conn->secondary : conn->primary;
    bool lost = m->type == MSG_BATCH && sim_chance(&w->engine, w->options.drop_permille);
    m->conn = id;
    if (!conn->alive || lost) {
        if (lost) {
            sim_reached(&w->engine, MARK_GAP);
        }
        message_free(m);
        return;
    }
    uint64_t at = w->engine.now_us + sim_between(&w->engine, 50, w->options.delay_us);
    conn->next_us[side] = at > conn->next_us[side] ? at : conn->next_us[side] + 1;
    sim_schedule(&w->engine, conn->next_us[side], EV_MESSAGE, to, 0, 0, m);
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
                     side ? conn->secondary : conn->primary, id, 0, NULL);
    }
}

void links_break_all(struct world *w, unsigned a, int b)
{
    for (uint64_t i = 1; i <= w->conn_count; i++) {
        const struct conn *conn = &w->conns[i];
        bool with_a = conn->secondary == a || conn->primary == a;
        bool with_b = b < 0 || conn->secondary == (unsigned)b || conn->primary == (unsigned)b;
        if (conn->alive && with_a && with_b) {
            links_break(w, i);
        }
    }
}

void links_down(struct world *w, struct cluster *c, uint64_t id)
{
    if (c->up && c->receiving && c->conn == id) {
        struct secondary_event ev = {.type = SECONDARY_EV_LOST};
        c->conn = 0;
        links_feed_secondary(w, c, &ev);
    }
    for (unsigned i = 0; i < CLUSTERS; i++) {
        if (c->sender_conn[i] == id) {
            struct primary_event ev = {.type = PRIMARY_EV_LOST};
            c->sender_conn[i] = 0;
            links_feed_primary(w, c, i, &ev);
        }
    }
}

/* ---- the secondary's side ---- */

static void dial(struct world *w, struct cluster *c)
{
    unsigned to = (c->n + 1 + c->rotation++ % (CLUSTERS - 1)) % CLUSTERS;
    if (w->conn_count + 1 >= CONNS_MAX) {
        sim_fail(&w->engine, "progress", "%u connections were not enough", CONNS_MAX);
    }
    w->conns[++w->conn_count] = (struct conn){.secondary = c->n, .primary = to, .alive = true};
    c->conn = w->conn_count;
    sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 100, 20000), EV_DIALLED,
                 c->n, c->conn, 0, NULL);
}

void links_dialled(struct world *w, struct cluster *c, uint64_t id)
{
    struct conn *conn = &w->conns[id];
    const struct cluster *to = &w->clusters[conn->primary];
    struct secondary_event ev = {.type = SECONDARY_EV_CONNECTED};
    if (!c->up || !c->receiving || c->conn != id) {
        return;
    }
    if (!conn->alive || !to->up || !to->primary || w->cut[c->n][to->n]) {
        conn->alive = false;
        c->conn = 0;
        ev.type = SECONDARY_EV_LOST;
    }
    links_feed_secondary(w, c, &ev);
}

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
    c->held[c->held_count++] = (struct held){m->seq, m->to, m->items};
    m->items = (struct items){0};
}

static void held_remove(struct cluster *c, struct held *held)
{
    size_t at = (size_t)(held - c->held);
    memmove(held, held + 1, (--c->held_count - at) * sizeof(*held));
}

static void propose(struct world *w, struct cluster *c, const struct secondary_update *update,
                    enum op_type type, uint64_t seq)
{
    struct op op = {.type = type, .session = update->session, .seq = seq, .to = update->position};
    if (type == OP_BATCH || type == OP_PAGE) {
        struct held *held = type == OP_PAGE ? &c->held[0] : held_find(c, seq);
        if (held == NULL || c->held_count == 0) { /* a mutant acknowledges what never came */
            return;
        }
        op.items = held->items;
        op.to = held->to;
        held_remove(c, held);
    }
    if (type == OP_ADOPT || type == OP_SWITCH) {
        op.lineage = copy_lineage(&c->answered);
    }
    cluster_propose(w, c, &op);
}

static void say_hello(struct world *w, struct cluster *c)
{
    struct message *m = message_new(c, MSG_HELLO);
    m->lineage = copy_lineage(&c->lineage);
    m->position = c->remote;
    m->verified = true;
    send(w, m, c->conn);
}

static void perform_messages(struct world *w, struct cluster *c,
                             const struct secondary_update *update)
{
    struct message *m;
    if ((update->requests & SECONDARY_HELLO) != 0) {
        say_hello(w, c);
    }
    if ((update->requests & SECONDARY_START) != 0) {
        sim_reached(&w->engine, MARK_STREAMED);
        m = message_new(c, MSG_START);
        m->position = update->position;
        send(w, m, c->conn);
    }
    if ((update->requests & SECONDARY_OPEN) != 0) {
        m = message_new(c, MSG_OPEN);
        m->snapshot = update->snapshot_id;
        send(w, m, c->conn);
    }
    if ((update->requests & SECONDARY_FETCH_PAGE) != 0) {
        m = message_new(c, MSG_FETCH);
        m->snapshot = update->snapshot_id;
        m->cursor = update->cursor.size == 8 ? cf_get_u64(update->cursor.data) : 0;
        send(w, m, c->conn);
    }
    if ((update->requests & SECONDARY_REPAIR) != 0) {
        m = message_new(c, MSG_REPAIR);
        m->snapshot = update->snapshot_id;
        items_copy(&m->items, &c->state, 0);
        c->repairing = true;
        c->repair_session = update->session;
        send(w, m, c->conn);
    }
    if ((update->requests & SECONDARY_ACK) != 0) {
        m = message_new(c, MSG_ACK);
        m->seq = update->ack_seq;
        m->position = update->position;
        send(w, m, c->conn);
    }
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
        links_break(w, c->conn);
        c->conn = 0;
        if (c->repairing) {
            sim_schedule(&w->engine, w->engine.now_us + sim_between(&w->engine, 1, 1000),
                         EV_REPAIR_ENDS, c->n, c->repair_session, c->incarnation, NULL);
        }
        for (size_t i = 0; i < c->held_count; i++) {
            items_done(&c->held[i].items);
        }
        c->held_count = 0;
    }
    if ((update->requests & SECONDARY_SET_TIMER) != 0) {
        sim_schedule(&w->engine, cf_max(update->timeout_at_ms * 1000, w->engine.now_us), EV_TIMER,
                     c->n, update->session, c->incarnation, NULL);
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
    perform(w, c, &update);
}

void links_repair_ends(struct world *w, struct cluster *c, uint64_t session, uint64_t incarnation)
{
    if (c->receiving && c->repairing && c->repair_session == session &&
        c->incarnation == incarnation) {
        struct secondary_event ev = {
            .type = SECONDARY_EV_REPAIRED, .session = session, .status = CF_UNAVAILABLE};
        c->repairing = false;
        sim_reached(&w->engine, MARK_REPAIR_LOST);
        links_feed_secondary(w, c, &ev);
    }
}

/* What differs is known: one entry, or the reason why not. */
static void on_repaired(struct world *w, struct cluster *c, struct message *m)
{
    struct op op = {.type = OP_REPAIR, .session = c->repair_session, .to = m->position};
    if (!c->repairing) {
        return;
    }
    c->repairing = false;
    if (m->status != CF_OK) {
        struct secondary_event ev = {
            .type = SECONDARY_EV_REPAIRED, .session = c->repair_session, .status = m->status};
        links_feed_secondary(w, c, &ev);
        return;
    }
    op.items = m->items;
    op.surplus = m->surplus;
    m->items = m->surplus = (struct items){0};
    op.lineage = copy_lineage(&c->answered);
    cluster_propose(w, c, &op);
}

static void on_answer(struct world *w, struct cluster *c, struct message *m)
{
    c->answered = *m->lineage;
    struct secondary_event ev = {.type = SECONDARY_EV_ANSWER,
                                 .verdict = m->verdict,
                                 .position = m->position,
                                 .own = &c->lineage,
                                 .theirs = &c->answered,
                                 .verified = m->verified,
                                 .has_keyring = m->keyring};
    ev.has_data = c->remote.index != 0 && sim_chance(&w->engine, w->options.repair_permille);
    if (repl_lineage_compare(&c->lineage, m->lineage, NULL) == REPL_DIVERGED_LOST) {
        sim_reached(&w->engine, MARK_DIVERGED);
    }
    links_feed_secondary(w, c, &ev);
}

static void to_secondary(struct world *w, struct cluster *c, struct message *m)
{
    uint8_t cursor[8];
    struct secondary_event ev = {.status = m->status};
    if (!c->receiving || c->conn != m->conn) {
        return;
    }
    if (m->type == MSG_ANSWER) {
        on_answer(w, c, m);
        return;
    }
    if (m->type == MSG_REPAIRED) {
        on_repaired(w, c, m);
        return;
    }
    if (m->type == MSG_BATCH) {
        ev.type = SECONDARY_EV_BATCH;
        ev.seq = m->seq;
        ev.from = m->position;
        ev.to = m->to;
        held_add(c, m);
    } else if (m->type == MSG_SNAPSHOT) {
        ev.type = SECONDARY_EV_SNAPSHOT;
        ev.snapshot_id = m->snapshot;
        ev.position = m->position;
        bool again = c->receiver.stage_begun;
        if (again && m->status == CF_OK) {
            sim_reached(&w->engine,
                        m->snapshot == c->receiver.snapshot_id ? MARK_RESUMED : MARK_RESTARTED);
        }
    } else {
        ev.type = SECONDARY_EV_PAGE;
        ev.done = m->done;
        cf_put_u64(cursor, m->cursor);
        ev.cursor = cf_slice_of(cursor, sizeof(cursor));
        if (m->status == CF_OK) {
            held_add(c, m);
        }
    }
    links_feed_secondary(w, c, &ev);
}

/* ---- the primary's side ---- */

static void send_batch(struct world *w, struct cluster *c, unsigned peer,
                       const struct primary_update *update, struct items *items)
{
    struct message *m = message_new(c, MSG_BATCH);
    m->seq = update->seq;
    m->position = update->from;
    m->to = update->to;
    if (items != NULL) {
        m->items = *items;
        *items = (struct items){0};
    }
    send(w, m, c->sender_conn[peer]);
}

static bool step(struct world *w, struct cluster *c, unsigned peer, struct primary_event *ev,
                 struct primary_update *update, struct items *items)
{
    struct cf_error err = {0};
    ev->now_ms = w->engine.now_us / 1000;
    cf_status status = primary_step(&c->senders[peer], ev, update, &err);
    if (update->send && status == CF_OK) {
        send_batch(w, c, peer, update, items);
    }
    if (update->close && ev->type != PRIMARY_EV_HELLO) {
        sim_trace(&w->engine, "%u closes its stream to %u: %s", c->n, peer, err.message);
        links_break(w, c->sender_conn[peer]);
        c->sender_conn[peer] = 0;
    }
    return status == CF_OK;
}

void links_feed_primary(struct world *w, struct cluster *c, unsigned peer, struct primary_event *ev)
{
    struct primary_update update;
    bool fine = step(w, c, peer, ev, &update, NULL);
    while (fine && update.read) {
        struct items items = {0};
        struct primary_event read = {.type = PRIMARY_EV_READ};
        read.status = cluster_read(w, c, w->clusters[peer].performance, &update.read_from, &items,
                                   &read.to, &read.entries, &read.bytes)
                          ? CF_OK
                          : CF_NOT_FOUND;
        fine = step(w, c, peer, &read, &update, &items);
        items_done(&items);
    }
}

static void be_fenced(struct world *w, struct cluster *c, const struct repl_lineage *by, bool rogue)
{
    check_fenced(w, c, by, rogue);
    if (!c->fenced) {
        sim_reached(&w->engine, MARK_FENCED);
        sim_trace(&w->engine, "%u is fenced", c->n);
    }
    c->fenced = true;
}

static void on_hello(struct world *w, struct cluster *c, struct message *m)
{
    struct primary_update update;
    struct message *answer = message_new(c, MSG_ANSWER);
    struct primary_event ev = {.type = PRIMARY_EV_HELLO,
                               .own = &c->lineage,
                               .theirs = m->lineage,
                               .verified = m->verified,
                               .position = m->position,
                               .index = c->last};
    enum repl_relation relation = repl_lineage_compare(&c->lineage, m->lineage, NULL);
    bool newer = relation == REPL_OURS_OLDER || relation == REPL_DIVERGED_LOST;
    answer->lineage = copy_lineage(&c->lineage);
    answer->position = m->position;
    answer->verified = true;
    answer->verdict = REPL_REDIRECT;
    if (!c->fenced || newer) {
        if (c->sender_conn[m->from] != m->conn) {
            links_break(w, c->sender_conn[m->from]);
        }
        c->sender_conn[m->from] = m->conn;
        ev.known = m->position.index != 0 &&
                   (repl_lineage_includes(&c->lineage, &m->position) ||
                    REPL_MUTATED(REPL_MUTANT_STREAM_BEYOND)) &&
                   cluster_knows(c, &m->position);
        cf_ignore(step(w, c, m->from, &ev, &update, NULL), "the verdict says it");
        answer->verdict = update.verdict;
        answer->keyring = sim_chance(&w->engine, 500);
        if (update.fence) {
            be_fenced(w, c, m->lineage, false);
        }
        if (update.verdict == REPL_STREAM) {
            c->snapshots[m->from].id = 0;
        }
    }
    send(w, answer, m->conn);
}

static void on_open(struct world *w, struct cluster *c, struct message *m)
{
    struct snapshot *snapshot = &c->snapshots[m->from];
    struct primary_update update;
    if (snapshot->id == 0 || snapshot->id != m->snapshot) {
        snapshot->id = ++w->next_snapshot;
        snapshot->position = cluster_here(c);
        snapshot->items.count = 0;
        for (size_t i = 0; i < c->state.count; i++) {
            struct item copy = c->state.all[i];
            copy.at = snapshot->position;
            if (genuine(&copy, w->clusters[m->from].performance)) {
                items_add(&snapshot->items, &copy);
            }
        }
    }
    struct primary_event ev = {.type = PRIMARY_EV_SNAPSHOT, .position = snapshot->position};
    struct message *answer = message_new(c, MSG_SNAPSHOT);
    answer->status = step(w, c, m->from, &ev, &update, NULL) ? CF_OK : CF_INVALID;
    answer->snapshot = snapshot->id;
    answer->position = snapshot->position;
    send(w, answer, m->conn);
}

static void on_fetch(struct world *w, struct cluster *c, struct message *m)
{
    const struct snapshot *snapshot = &c->snapshots[m->from];
    struct message *answer = message_new(c, MSG_PAGE);
    uint64_t at = m->cursor, end = at + w->options.page_items;
    if (snapshot->id == 0 || (snapshot->id != m->snapshot) || at > snapshot->items.count) {
        answer->status = CF_NOT_FOUND;
    } else {
        for (; at < end && at < snapshot->items.count; at++) {
            items_add(&answer->items, &snapshot->items.all[at]);
        }
        answer->cursor = at;
        answer->done = at == snapshot->items.count;
    }
    send(w, answer, m->conn);
}

static void add_missing(const struct items *from, const struct items *in, struct items *ret)
{
    for (size_t i = 0; i < from->count; i++) {
        bool found = false;
        for (size_t j = 0; j < in->count && !found; j++) {
            found = in->all[j].id == from->all[i].id;
        }
        if (!found) {
            items_add(ret, &from->all[i]);
        }
    }
}

static void on_repair(struct world *w, struct cluster *c, struct message *m)
{
    const struct snapshot *snapshot = &c->snapshots[m->from];
    struct message *answer = message_new(c, MSG_REPAIRED);
    if (snapshot->id == 0 || snapshot->id != m->snapshot) {
        answer->status = CF_NOT_FOUND;
    } else {
        answer->position = snapshot->position;
        add_missing(&snapshot->items, &m->items, &answer->items);
        add_missing(&m->items, &snapshot->items, &answer->surplus);
        if (answer->items.count + answer->surplus.count > w->options.repair_items) {
            sim_reached(&w->engine, MARK_REPAIR_TOO_LARGE);
            answer->status = CF_TOO_LARGE;
        }
    }
    send(w, answer, m->conn);
}

static void to_primary(struct world *w, struct cluster *c, struct message *m)
{
    if (!c->primary) {
        links_break(w, m->conn);
        return;
    }
    if (m->type == MSG_HELLO) {
        on_hello(w, c, m);
        return;
    }
    if (c->sender_conn[m->from] != m->conn) {
        return;
    }
    if (m->type == MSG_OPEN) {
        on_open(w, c, m);
    } else if (m->type == MSG_FETCH) {
        on_fetch(w, c, m);
    } else if (m->type == MSG_REPAIR) {
        on_repair(w, c, m);
    } else {
        struct primary_event ev = {.type = m->type == MSG_ACK ? PRIMARY_EV_ACK : PRIMARY_EV_START,
                                   .seq = m->seq,
                                   .position = m->position};
        if (m->type == MSG_ACK) {
            check_ack(w, &w->clusters[m->from], &m->position);
        }
        links_feed_primary(w, c, m->from, &ev);
    }
}

void links_message(struct world *w, struct cluster *c, struct message *m)
{
    const struct conn *conn = &w->conns[m->conn];
    if (!conn->alive || !c->up) {
        return;
    }
    if (conn->primary == c->n) {
        to_primary(w, c, m);
    } else {
        to_secondary(w, c, m);
    }
}

/* The claimant of replication/driver, or somebody who makes an epoch up. */
void links_claim(struct world *w, struct cluster *from, struct cluster *to, bool rogue)
{
    struct repl_lineage *lineage = copy_lineage(&from->lineage);
    if (rogue) {
        struct repl_epoch made_up = {.number = repl_lineage_current(&to->lineage).number + 7};
        struct repl_position here = cluster_here(to);
        *lineage = to->lineage;
        cf_ignore(repl_lineage_raise(lineage, &made_up, &here, NULL), "few enough");
    }
    struct fence_claim claim = {lineage, !rogue};
    enum fence_decision decision = fence_decide(&to->lineage, FENCE_PRIMARY, &claim);
    if (decision == FENCE_FENCE) {
        be_fenced(w, to, lineage, rogue);
    } else if (rogue && decision != FENCE_ALARM) {
        sim_fail(&w->engine, "fence", "a made-up epoch raised no alarm");
    } else if (rogue) {
        sim_reached(&w->engine, MARK_ROGUE);
    }
    cf_free(lineage);
}
