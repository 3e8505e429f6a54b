/* consensus/driver/frames.c: frames out to peers and in from them, and which peers there are. */
#include <string.h>

#include "consensus/driver/driver_int.h"

#define BULK_BYTES ((size_t)64 << 10) /* an APPEND above this takes the bulk connection */
#define SCRATCH_KEEP ((size_t)256 << 10)

const char *driver_address_of(struct raft_driver *driver, uint64_t id)
{
    const struct raft_member *member = raft_membership_find(raft_membership(driver->raft), id);
    return member != NULL ? member->address : "";
}

static enum raft_channel channel_of(const struct raft_frame *frame)
{
    if (frame->kind >= RAFT_FRAME_SNAP_OFFER) {
        return RAFT_CHANNEL_BULK;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < frame->msg.entry_count && bytes <= BULK_BYTES; i++) {
        bytes += raft_entry_size(frame->msg.entries[i]);
    }
    return bytes > BULK_BYTES ? RAFT_CHANNEL_BULK : RAFT_CHANNEL_FAST;
}

static bool send_frame(struct raft_driver *driver, struct raft_frame *frame)
{
    if (!driver->has_transport) {
        return false;
    }
    frame->identity = driver->identity;
    frame->incarnation = driver->incarnation;
    frame->features = driver->options.features;
    frame->msg.from = driver->identity.node_id;
    bool beat = frame->kind == RAFT_MSG_HEARTBEAT || frame->kind == RAFT_MSG_HEARTBEAT_R;
    frame->wall_ns = beat ? cf_wall_ns(cf_host_clock()) : 0;
    frame->floor = frame->kind == RAFT_MSG_HEARTBEAT ? atomic_load(&driver->floor) : UINT64_MAX;
    cf_buf_reset(&driver->scratch);
    raft_wire_pack(frame, &driver->scratch);
    bool sent = driver->transport.send(driver->transport.context, frame->msg.to, channel_of(frame),
                                       cf_buf_slice(&driver->scratch));
    if (driver->scratch.capacity > SCRATCH_KEEP) {
        cf_buf_done(&driver->scratch);
    }
    return sent;
}

bool driver_send(struct raft_driver *driver, const struct raft_frame *frame)
{
    struct raft_frame copy = *frame;
    return send_frame(driver, &copy);
}

/* Sends what a ready holds; peers that could not be reached are told to the core afterwards. */
void frames_send(struct raft_driver *driver, const struct raft_ready *ready)
{
    for (size_t i = 0; i < ready->msg_count; i++) {
        struct raft_frame frame = {.kind = ready->msgs[i].kind, .msg = ready->msgs[i]};
        if (!send_frame(driver, &frame) && frame.kind == RAFT_MSG_APPEND) {
            size_t at = 0;
            while (at < driver->lost_count && driver->lost[at] != frame.msg.to) {
                at++;
            }
            if (at == driver->lost_count && at < CF_LENGTH(driver->lost)) {
                driver->lost[driver->lost_count++] = frame.msg.to;
            }
        }
    }
}

static bool is_ours(const struct raft_driver *driver, uint64_t from, const struct raft_frame *frame)
{
    return frame->msg.from == from && frame->msg.to == driver->identity.node_id &&
           memcmp(frame->identity.cluster_id, driver->identity.cluster_id, RAFT_CLUSTER_ID_SIZE) ==
               0 &&
           frame->identity.recovery_epoch == driver->identity.recovery_epoch;
}

static size_t entry_bytes(const struct raft_msg *msg)
{
    size_t bytes = 0;
    for (size_t i = 0; i < msg->entry_count; i++) {
        bytes += raft_entry_size(msg->entries[i]);
    }
    return bytes;
}

static void take_frame(struct raft_driver *driver, const struct raft_frame *frame)
{
    switch (frame->kind) {
    case RAFT_FRAME_SNAP_OFFER:
    case RAFT_FRAME_SNAP_CHUNK:
    case RAFT_FRAME_SNAP_DONE:
        snap_receive_frame(driver, frame);
        break;
    case RAFT_FRAME_SNAP_OFFER_R:
    case RAFT_FRAME_SNAP_CHUNK_R:
    case RAFT_FRAME_SNAP_DONE_R:
        snap_send_frame(driver, frame);
        break;
    default:
        if (frame->kind == RAFT_MSG_HEARTBEAT || frame->kind == RAFT_MSG_HEARTBEAT_R) {
            status_clock(driver, frame->msg.from, frame->wall_ns);
        }
        if (frame->kind == RAFT_MSG_HEARTBEAT && frame->msg.from == driver->soft.leader &&
            frame->msg.term == driver->soft.term) {
            driver->floor_leader = frame->floor;
        }
        if (frame->kind == RAFT_MSG_APPEND && frame->msg.entry_count > 0 &&
            !health_takes_entries(driver, entry_bytes(&frame->msg))) {
            return; /* not answered: the leader goes on without this node until it has room */
        }
        raft_step(driver->raft, loop_now_us(), &frame->msg);
        break;
    }
}

void raft_driver_receive(struct raft_driver *driver, uint64_t from, struct cf_slice bytes)
{
    if (driver->stopping) {
        return;
    }
    struct raft_frame frame;
    struct raft_wire_room room;
    if (raft_wire_unpack(bytes, &frame, &room, NULL) == CF_OK && is_ours(driver, from, &frame)) {
        take_frame(driver, &frame);
        raft_wire_done(&room);
        driver_pump(driver);
        return;
    }
    driver->frames_refused++;
    raft_wire_done(&room);
}

struct lost_peer {
    struct raft_driver *driver;
    uint64_t peer;
};

static void on_lost_peer(void *arg)
{
    struct lost_peer *lost = arg;
    struct raft_driver *driver = lost->driver;
    if (!driver->stopping) {
        raft_on_unreachable(driver->raft, loop_now_us(), lost->peer);
        driver_pump(driver);
    }
    cf_free(lost);
}

/* Later, as it may be said from inside the end of a connection, which a change of the configuration
 * would free. */
void raft_driver_unreachable(struct raft_driver *driver, uint64_t peer)
{
    struct lost_peer *lost = cf_new(struct lost_peer);
    *lost = (struct lost_peer){driver, peer};
    loop_post(driver->loop, on_lost_peer, lost);
}

void frames_tell_peers(struct raft_driver *driver)
{
    if (!driver->has_transport) {
        return;
    }
    struct raft_member peers[RAFT_MEMBERS_MAX];
    size_t count = 0;
    const struct raft_membership *members = raft_membership(driver->raft);
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->members[i].id != driver->identity.node_id) {
            peers[count++] = members->members[i];
        }
    }
    driver->transport.peers(driver->transport.context, peers, count);
}

void raft_driver_set_transport(struct raft_driver *driver, const struct raft_transport *transport)
{
    driver->has_transport = transport != NULL;
    driver->transport = transport != NULL ? *transport : (struct raft_transport){0};
    frames_tell_peers(driver);
}
