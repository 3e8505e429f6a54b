/* consensus/driver/transport.h
 *
 * What the driver needs of a network: a table of functions, filled in by rpc_transport.c
 * (connections of node/cluster) or by a test. All on the loop's thread.
 */
#ifndef COFFER_CONSENSUS_DRIVER_TRANSPORT_H
#define COFFER_CONSENSUS_DRIVER_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/core/membership.h"
#include "node/base/slice.h"

/* Two ways to each peer, so that bulk can't delay a heartbeat (consensus.md 3). */
enum raft_channel {
    RAFT_CHANNEL_FAST, /* votes, heartbeats, replies, small appends */
    RAFT_CHANNEL_BULK, /* large appends and snapshots */
    RAFT_CHANNELS
};

struct raft_transport {
    void *context;
    /* The peers to keep connections to (without this node), with addresses; called at the start and
     * whenever the configuration changes. Borrowed for the call. */
    void (*peers)(void *context, const struct raft_member *peers, size_t count);
    /* Sends one frame, copied, in order within a channel. False: dropped, as the queue to that peer
     * is full or it is not connected. Never calls back from inside. */
    bool (*send)(void *context, uint64_t peer, enum raft_channel channel, struct cf_slice frame);
};

#endif
