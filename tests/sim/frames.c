/* tests/sim/frames.c
 *
 * Packets go through the frames that real nodes send (consensus/driver/wire.c): what a node hears is what was read
 * back from bytes. On its way a packet stays as it was sent, so that scenarios can name it by its fields; it becomes
 * bytes where it arrives, which is the same, as nobody may change a message that was sent.
 */
#include <inttypes.h>

#include "consensus/driver/wire.h"
#include "tests/sim/world.h"

enum { SNAP_OK = 1, SNAP_DONE = 2 };

static void write_frame(struct world *w, const struct packet *p)
{
    struct raft_frame frame = {.msg = p->msg, .features = 1, .incarnation = p->incarnation};
    memcpy(frame.identity.cluster_id, "simulated------", RAFT_CLUSTER_ID_SIZE);
    CF_BUF(members) = {0};
    if (p->type == PACKET_RAFT) {
        frame.kind = p->msg.kind;
    } else {
        frame.kind = p->type == PACKET_SNAP ? RAFT_FRAME_SNAP_CHUNK : RAFT_FRAME_SNAP_CHUNK_R;
        raft_membership_encode(&p->base.membership, &members);
        frame.snap = (struct raft_snap_fields){.index = p->base.index,
                                               .term = p->base.term,
                                               .seq = p->chunk,
                                               .records = p->chunks,
                                               .bytes = p->state.applied,
                                               .sum = p->state.chain,
                                               .status = (p->ok ? SNAP_OK : 0u) | (p->done ? SNAP_DONE : 0u),
                                               .membership = cf_buf_slice(&members)};
    }
    cf_buf_reset(&w->frame);
    raft_wire_pack(&frame, &w->frame);
}

void frame_pass(struct world *w, const struct packet *p, struct packet *ret, struct raft_wire_room *room)
{
    struct raft_frame frame;
    struct cf_error err = {0};
    write_frame(w, p);
    *ret = (struct packet){.type = p->type};
    if (raft_wire_unpack(cf_buf_slice(&w->frame), &frame, room, &err) != CF_OK) {
        SIM_FAIL(w, "frame", "a frame of %zu bytes cannot be read: %s", w->frame.size, err.message);
    }
    ret->msg = frame.msg;
    ret->incarnation = frame.incarnation;
    if (p->type != PACKET_RAFT) {
        ret->base.index = frame.snap.index;
        ret->base.term = frame.snap.term;
        ret->state = (struct sim_state){frame.snap.bytes, frame.snap.sum};
        ret->chunk = (unsigned)frame.snap.seq;
        ret->chunks = (unsigned)frame.snap.records;
        ret->ok = (frame.snap.status & SNAP_OK) != 0;
        ret->done = (frame.snap.status & SNAP_DONE) != 0;
        if (raft_membership_decode(frame.snap.membership, &ret->base.membership, &err) != CF_OK) {
            SIM_FAIL(w, "frame", "the members in a frame cannot be read: %s", err.message);
        }
    }
}

static bool is_one_of(const struct raft_entry *entry, const struct raft_msg *m)
{
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct raft_entry *sent = m->entries[i];
        if (entry->index == sent->index && entry->term == sent->term && entry->type == sent->type &&
            entry->flags == sent->flags && cf_slice_eq(entry->payload, sent->payload)) {
            return true;
        }
    }
    return false;
}

/* Bits flip, or the frame ends early. TLS would not let it through; if it did, no entry may come out of it that did not
 * go in (I-24), and nothing may fall over. The rest of a frame has no checksum of its own. */
void frame_damage(struct world *w, const struct packet *p)
{
    struct sim_engine *e = &w->engine;
    write_frame(w, p);
    uint8_t *bytes = w->frame.data;
    size_t size = w->frame.size;
    if (sim_below(e, 4) == 0) {
        size = sim_below(e, size);
    }
    for (uint64_t flips = sim_between(e, 1, 3); flips > 0 && size > 0; flips--) {
        uint64_t bit = sim_below(e, 8 * size);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    uint8_t *exact = cf_memdup(bytes, size); /* so that a look past the end is seen */
    struct raft_frame frame;
    struct raft_wire_room room;
    cf_status status = raft_wire_unpack(cf_slice_of(exact, size), &frame, &room, NULL);
    for (size_t i = 0; status == CF_OK && i < frame.msg.entry_count; i++) {
        if (!is_one_of(frame.msg.entries[i], &p->msg)) {
            SIM_FAIL(w, "I-24", "a damaged entry was accepted: %" PRIu64 " of term %" PRIu64,
                     frame.msg.entries[i]->index, frame.msg.entries[i]->term);
        }
    }
    raft_wire_done(&room);
    cf_free(exact);
    sim_reached(e, status == CF_CORRUPT ? MARK_CORRUPT_FRAME : MARK_MALFORMED_FRAME);
}
