/* tests/sim/transport.c: packets on the simulated network, and snapshots in chunks. */
#include <inttypes.h>

#include "consensus/driver/wire.h"
#include "tests/sim/world.h"

void packet_free(struct packet *p)
{
    if (p != NULL) {
        raft_msg_done(&p->msg);
        cf_free(p);
    }
}

struct packet *packet_copy(const struct packet *p)
{
    struct packet *copy = cf_memdup(p, sizeof(*p));
    if (p->msg.entry_count > 0) {
        copy->msg.entries =
            cf_memdup(p->msg.entries, p->msg.entry_count * sizeof(p->msg.entries[0]));
        for (size_t i = 0; i < p->msg.entry_count; i++) {
            raft_entry_ref(copy->msg.entries[i]);
        }
    }
    return copy;
}

void transport_send(struct world *w, struct sim_node *n, const struct packet *packet)
{
    struct packet stamped = *packet;
    const struct packet *p = &stamped;
    stamped.incarnation = n->incarnation;
    const struct sim_node *to = world_node(w, p->msg.to);
    unsigned from = node_slot(w, n);
    if (to == NULL || !to->exists) {
        return;
    }
    if (w->script != NULL) {
        script_in_flight(w, packet_copy(p));
        return;
    }
    uint64_t delays[2];
    struct cf_prng *before =
        sim_draw_from(&w->engine, &w->link_draws[from][node_slot(w, to)]);
    unsigned copies = sim_net_route(&w->engine, &w->net, from, node_slot(w, to), delays);
    if (copies == 0 && p->type == PACKET_RAFT && sim_chance(&w->engine, 100)) {
        sim_schedule(&w->engine, w->engine.now_us, EV_UNREACHABLE, from, n->incarnation, to->id,
                     NULL);
    }
    for (unsigned i = 0; i < copies; i++) {
        sim_schedule(&w->engine, w->engine.now_us + delays[i], EV_PACKET, node_slot(w, to), from,
                     w->liveness, packet_copy(p));
    }
    sim_draw_from(&w->engine, before);
}

void transport_send_msg(struct world *w, struct sim_node *n, const struct raft_msg *m)
{
    struct packet p = {.type = PACKET_RAFT, .msg = *m};
    sim_note(&w->engine, sim_mix(m->kind, m->term) ^ sim_mix(m->log_index, m->to));
    sim_note(&w->engine, sim_mix(m->commit, m->round) ^ (uint64_t)m->reject << 3 ^ m->entry_count);
    sim_trace(&w->engine,
              "%" PRIu64 "->%" PRIu64 " %s term %" PRIu64 " at %" PRIu64 "/%" PRIu64
              " commit %" PRIu64 " entries %zu%s hint %" PRIu64 "/%" PRIu64 " round %" PRIu64,
              m->from, m->to, raft_msg_kind_name(m->kind), m->term, m->log_index, m->log_term,
              m->commit, m->entry_count, m->reject ? " reject" : "", m->hint_index, m->hint_term,
              m->round);
    transport_send(w, n, &p);
}

static bool is_corrupted(struct world *w, const struct packet *p)
{
    if (p->msg.entry_count == 0 || !sim_chance(&w->engine, w->options.corrupt_permille)) {
        return false;
    }
    frame_damage(w, p);
    return true;
}

/* ---- snapshots: one chunk after the other, each acknowledged -------------------------------- */

void transport_drop_all(struct sim_node *n)
{
    memset(n->transfers, 0, sizeof(n->transfers));
}

static void send_chunk(struct world *w, struct sim_node *n, uint64_t peer)
{
    const struct sim_transfer *t = &n->transfers[peer - 1];
    struct packet p = {.type = PACKET_SNAP,
                       .msg = {.from = n->id, .to = peer, .term = t->term},
                       .base = t->base,
                       .state = t->state,
                       .chunk = t->chunk,
                       .chunks = t->chunks};
    transport_send(w, n, &p);
}

static void schedule_step(struct world *w, struct sim_node *n, uint64_t peer)
{
    if (w->script != NULL) {
        return;
    }
    sim_schedule(&w->engine, w->engine.now_us + w->options.heartbeat_us, EV_SNAP_STEP,
                 node_slot(w, n), n->incarnation, peer, NULL);
}

void transport_snapshot_begin(struct world *w, struct sim_node *n, uint64_t peer, uint64_t above)
{
    struct sim_transfer *t = &n->transfers[peer - 1];
    struct raft_status status;
    raft_status(n->raft, &status);
    struct cf_error err = {0};
    struct sim_transfer fresh = {.active = true,
                                 .term = status.term,
                                 .deadline_us = w->engine.now_us + 4 * w->options.election_us,
                                 .state = n->state,
                                 .chunks = 1 + (unsigned)(n->state.applied + n->id) % 4};
    if (n->state.applied < above ||
        raft_describe(n->raft, n->state.applied, &fresh.base, &err) != CF_OK) {
        SIM_FAIL(w, "I-17", "node %" PRIu64 " applied %" PRIu64 " cannot make a snapshot: %s",
                 n->id, n->state.applied, err.message);
    }
    sim_trace(&w->engine, "%" PRIu64 " sends a snapshot at %" PRIu64 " to %" PRIu64, n->id,
              fresh.base.index, peer);
    *t = fresh;
    send_chunk(w, n, peer);
    schedule_step(w, n, peer);
}

void transport_snapshot_step(struct world *w, struct sim_node *n, uint64_t peer)
{
    struct sim_transfer *t = &n->transfers[peer - 1];
    if (!t->active) {
        return;
    }
    world_record(w, "snapstep %" PRIu64 " %" PRIu64 "%s", n->id, peer, held(w));
    if (w->engine.now_us >= t->deadline_us) {
        t->active = false;
        sim_reached(&w->engine, MARK_SNAPSHOT_FAILED);
        raft_on_snapshot_sent(n->raft, node_now(w, n), peer, t->base.index, false);
        return;
    }
    send_chunk(w, n, peer);
    schedule_step(w, n, peer);
}

static void answer(struct world *w, struct sim_node *n, const struct packet *p, bool ok, bool done)
{
    struct packet reply = {.type = PACKET_SNAP_R,
                           .msg = {.from = n->id, .to = p->msg.from, .term = p->msg.term},
                           .base = p->base,
                           .chunk = p->chunk,
                           .ok = ok,
                           .done = done};
    transport_send(w, n, &reply);
}

static void on_chunk(struct world *w, struct sim_node *n, const struct packet *p)
{
    uint64_t now = node_now(w, n), from = p->msg.from, term = p->msg.term;
    bool same = n->incoming_from == from && n->incoming.index == p->base.index &&
                n->incoming.term == p->base.term;
    if (n->raft->installing && !same) {
        sim_reached(&w->engine, MARK_DOUBLE_OFFER);
    }
    if (p->chunk > 0 && (!same || n->incoming_chunk < p->chunk)) {
        cf_ignore(raft_snapshot_contact(n->raft, now, from, term, NULL), "it is contact at most");
        return;
    }
    cf_status status = p->chunk == 0 ? raft_snapshot_offer(n->raft, now, from, term, p->base.index,
                                                           p->base.term, NULL)
                                     : raft_snapshot_contact(n->raft, now, from, term, NULL);
    if (status == CF_OK && p->chunk + 1 == p->chunks) {
        status = raft_snapshot_install(n->raft, now, from, term, &p->base, NULL);
    }
    if (status == CF_OK) {
        n->incoming = p->base;
        n->incoming_state = p->state;
        n->incoming_from = from;
        n->incoming_chunk = p->chunk + 1;
    }
    if (status == CF_EXISTS || (status == CF_OK && p->chunk + 1 < p->chunks)) {
        answer(w, n, p, true, status == CF_EXISTS);
    }
}

/* The switch is durable: now, and not earlier, the leader may hear of it. */
void transport_snapshot_installed(struct world *w, struct sim_node *n)
{
    struct packet p = {.msg = {.from = n->incoming_from}, .base = n->incoming};
    struct raft_status status;
    raft_status(n->raft, &status);
    p.msg.term = status.term;
    n->incoming_chunk = 0;
    answer(w, n, &p, true, true);
}

static void on_answer(struct world *w, struct sim_node *n, const struct packet *p)
{
    struct sim_transfer *t = &n->transfers[p->msg.from - 1];
    if (!t->active || t->term != p->msg.term || t->base.index != p->base.index) {
        return;
    }
    if (p->done) {
        t->active = false;
        raft_on_snapshot_sent(n->raft, node_now(w, n), p->msg.from, t->base.index, p->ok);
    } else if (p->chunk == t->chunk && t->chunk + 1 < t->chunks) {
        t->chunk++;
        t->deadline_us = w->engine.now_us + 4 * w->options.election_us;
        send_chunk(w, n, p->msg.from);
    }
}

static void record_delivery(struct world *w, const struct sim_node *n, const struct packet *p)
{
    if (w->record == NULL) {
        return;
    }
    char text[128];
    script_name_packet(p, text, sizeof(text));
    world_record(w, "deliver %" PRIu64 ">%" PRIu64 " %s%s", p->msg.from, n->id, text, held(w));
}

/* I-23: a node that was heard since it started anew left nothing on its way: the cluster port closes what its former
 * process had open (rpc_hello.c). An acknowledgement of then may be of entries that its disk has lost. */
static bool is_of_former_life(struct sim_node *n, unsigned from, uint64_t incarnation)
{
    bool former = incarnation < n->heard_life[from] && !MUTANT(MUTANT_FORMER_LIVES);
    n->heard_life[from] = cf_max(n->heard_life[from], incarnation);
    return former;
}

void transport_receive(struct world *w, struct sim_node *n, struct packet *sent)
{
    unsigned from = node_slot(w, world_node(w, sent->msg.from));
    if (sim_net_is_cut(&w->net, from, node_slot(w, n)) || is_corrupted(w, sent)) {
        return;
    }
    record_delivery(w, n, sent);
    struct packet p;
    struct raft_wire_room room;
    frame_pass(w, sent, &p, &room);
    if (is_of_former_life(n, from, p.incarnation)) {
        sim_reached(&w->engine, MARK_FORMER_LIFE);
        raft_wire_done(&room);
        return;
    }
    switch (p.type) {
    case PACKET_RAFT:
        check_before_step(w, n, &p.msg);
        raft_step(n->raft, node_now(w, n), &p.msg);
        check_after_step(w, n, &p.msg);
        break;
    case PACKET_SNAP:
        on_chunk(w, n, &p);
        break;
    case PACKET_SNAP_R:
        on_answer(w, n, &p);
        break;
    }
    raft_wire_done(&room);
}
