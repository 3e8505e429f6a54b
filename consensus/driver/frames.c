/* consensus/driver/frames.c: frames out to peers and in from them, and which peers there are. */
#include <string.h>

#include "consensus/driver/driver_int.h"
#include "consensus/driver/recover.h"
#include "node/base/log.h"

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
    if (!driver->has_transport || atomic_load(&driver->superseded) != 0) {
        return false;
    }
    struct cf_error err = {0};
    if (driver_check_entries(driver, frame->msg.entries, frame->msg.entry_count, "is about to be sent",
                             &err) != CF_OK) {
        driver_fatal(driver, RAFT_EXIT_CORRUPT, &err);
        return false;
    }
    frame->identity = driver->identity;
    frame->incarnation = driver->incarnation;
    frame->features = driver->options.features;
    frame->msg.from = driver->identity.node_id;
    bool beat = frame->kind == RAFT_MSG_HEARTBEAT || frame->kind == RAFT_MSG_HEARTBEAT_R;
    digest_tell(driver, frame);
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
               0;
}

/* ---- peers of another recovery epoch (recover.h) */

#define EPOCH_TELL_US ((uint64_t)1000 * 1000)
#define EPOCH_LOG_US ((uint64_t)60 * 1000 * 1000)

static void superseded_kept(struct raft_job *job)
{
    (void)job;
}

static void keep_superseded(struct raft_job *job)
{
    struct raft_driver *driver = cf_container(job, struct raft_driver, superseded_job);
    uint8_t bytes[8];
    struct cf_error err = {0};
    cf_put_u64(bytes, atomic_load(&driver->superseded));
    if (raft_store_put_record(driver->store, RAFT_SUPERSEDED_RECORD,
                              cf_slice_of(bytes, sizeof(bytes)), &err) != CF_OK) {
        cf_err("raft", "cannot note that this cluster was recovered without this node: %s",
               err.message); /* it will be told again */
    }
}

/* The others went on without this node. It says nothing more, so that it neither leads nor votes, and
 * the old majority loses the quorum that it may have found again. */
static void supersede(struct raft_driver *driver, uint64_t from, uint64_t epoch)
{
    if (atomic_load(&driver->superseded) != 0) {
        return;
    }
    cf_err("raft",
           "node %016llx belongs to this cluster after a recovery without this node (epoch %llx, "
           "here %llx): this node takes no part any more. Stop it, remove its data directory, and "
           "let it join again",
           (unsigned long long)from, (unsigned long long)epoch,
           (unsigned long long)driver->identity.recovery_epoch);
    atomic_store(&driver->superseded, epoch);
    driver->superseded_job = (struct raft_job){.run = keep_superseded, .done = superseded_kept};
    raft_worker_push(driver->carer, &driver->superseded_job);
    driver->condition |= RAFT_RECOVERING;
    raft_set_condition(driver->raft, loop_now_us(), driver->condition);
    driver_leadership(driver);
}

/* It is told our epoch by a frame that it refuses for the same reason. */
static void refuse_epoch(struct raft_driver *driver, uint64_t from, uint64_t epoch)
{
    uint64_t now_us = loop_now_us(), own = driver->identity.recovery_epoch;
    if (raft_epoch_generation(epoch) > raft_epoch_generation(own)) {
        supersede(driver, from, epoch);
        return;
    }
    if (now_us - driver->epoch_logged_us > EPOCH_LOG_US || driver->epoch_logged_us == 0) {
        driver->epoch_logged_us = now_us;
        cf_warn("raft",
                "refused node %016llx: it is of recovery epoch %llx, this cluster is at %llx. Its data "
                "directory has to be removed; then it can join again",
                (unsigned long long)from, (unsigned long long)epoch, (unsigned long long)own);
    }
    if (raft_epoch_generation(epoch) < raft_epoch_generation(own) &&
        now_us - driver->epoch_told_us > EPOCH_TELL_US) {
        driver->epoch_told_us = now_us;
        struct raft_frame frame = {.kind = RAFT_MSG_PRE_VOTE_R};
        frame.msg = (struct raft_msg){.kind = RAFT_MSG_PRE_VOTE_R, .to = from, .reject = true};
        cf_ignore(!send_frame(driver, &frame), "it asks again");
    }
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
    level_heard(driver, frame->msg.from, frame->features);
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
            digest_heard(driver, frame);
        }
        if (frame->kind == RAFT_MSG_HEARTBEAT && frame->msg.from == driver->soft.leader &&
            frame->msg.term == driver->soft.term) {
            retention_told(driver, frame->floor);
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
    cf_status status = raft_wire_unpack(bytes, &frame, &room, NULL);
    if (status != CF_OK || !is_ours(driver, from, &frame)) {
        atomic_fetch_add(&driver->crc_failures, status == CF_CORRUPT);
        driver->frames_refused++;
    } else if (frame.identity.recovery_epoch != driver->identity.recovery_epoch) {
        driver->frames_refused++;
        refuse_epoch(driver, from, frame.identity.recovery_epoch);
    } else if (atomic_load(&driver->superseded) == 0) {
        take_frame(driver, &frame);
    }
    raft_wire_done(&room);
    driver_pump(driver);
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
        snap_send_broken(driver, lost->peer);
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
