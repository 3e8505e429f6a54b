/* consensus/driver/wire.h: messages of the core and of snapshots as frames (proto/raft.proto). */
#ifndef COFFER_CONSENSUS_DRIVER_WIRE_H
#define COFFER_CONSENSUS_DRIVER_WIRE_H

#include "consensus/core/raft.h"
#include "consensus/driver/store.h"

/* Kinds beyond the core's. They reach the wire: add at the end only. */
enum raft_frame_kind {
    RAFT_FRAME_SNAP_OFFER = 32, /* leader: id, index, snap_term, membership, bytes */
    RAFT_FRAME_SNAP_OFFER_R,    /* id, status, seq (next wanted), resume_key */
    RAFT_FRAME_SNAP_CHUNK,      /* id, index, seq, data, crc32c */
    RAFT_FRAME_SNAP_CHUNK_R,    /* id, seq (next wanted) */
    RAFT_FRAME_SNAP_DONE,       /* id, index, seq (chunks), records, sum */
    RAFT_FRAME_SNAP_DONE_R,     /* id, index, status */
    RAFT_FRAME_KINDS
};

#define RAFT_FRAME_MAX ((size_t)16 << 20) /* design 5.2 */
#define RAFT_SNAP_DATA_MAX ((size_t)13 << 20)

struct raft_snap_fields {
    uint64_t id;          /* random, of one transfer */
    uint64_t index, term; /* of the snapshot */
    uint64_t seq, records, sum, bytes;
    uint32_t status, crc32c;
    uint32_t level; /* SNAP_OFFER: what the state needs */
    struct cf_slice membership, data, key;
};

/* kind of msg says which part counts. */
struct raft_frame {
    uint32_t kind;
    struct raft_msg msg; /* from, to, term: for all kinds */
    struct raft_snap_fields snap;
    /* Of the sender; filled in by the driver for every frame. */
    struct raft_identity identity; /* cluster_id and recovery_epoch */
    uint64_t incarnation;
    uint32_t features;
    uint64_t floor;  /* HEARTBEAT: the leader's replication floor */
    uint64_t digest_ask, digest_index, digest_sum; /* HEARTBEAT, HEARTBEAT_R: digest.c */
    int64_t wall_ns; /* HEARTBEAT, HEARTBEAT_R */
};

/* Appends the frame to *out. */
void raft_wire_pack(const struct raft_frame *frame, struct cf_buf *out);

/* Reads a frame. Slices of *ret are borrowed from *room, entries of ret->msg are referenced: free
 * both with raft_wire_done (also after an error). CF_INVALID: not a frame; CF_CORRUPT: an entry's
 * checksum; CF_UNSUPPORTED: an unknown kind; CF_TOO_LARGE. */
struct raft_wire_room {
    void *message;
    struct raft_entry **entries;
    size_t count;
};
CF_CHECKED cf_status raft_wire_unpack(struct cf_slice bytes, struct raft_frame *ret,
                                      struct raft_wire_room *room, struct cf_error *err);
void raft_wire_done(struct raft_wire_room *room);

#endif
