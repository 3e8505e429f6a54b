/* replication/driver/driver_int.h
 *
 * The insides of the driver, shared by driver.c (handlers), serve.c and ship.c (primary),
 * receive.c, receive_io.c and call.c (secondary), claim.c and wire.c (messages).
 */
#ifndef COFFER_REPLICATION_DRIVER_INT_H
#define COFFER_REPLICATION_DRIVER_INT_H

#include "node/base/arena.h"
#include "node/base/list.h"
#include "node/base/memory.h"
#include "proto/message.h"
#include "proto/repl.pb-c.h"
#include "replication/core/behind.h"
#include "replication/core/place.h"
#include "replication/core/primary.h"
#include "replication/core/secondary.h"
#include "replication/driver/driver.h"

enum { REPL_FEATURES = 1, REPL_PEERS_MAX = 1024 };
#define REPL_SIZE_DEFAULT ((size_t)1 << 20)
#define REPL_WINDOW ((size_t)16 << 20) /* on its way over one link; as PRIMARY_CREDIT_BYTES */
#define REPL_TICK_US ((uint64_t)250000)
#define REPL_HEARTBEAT_US ((uint64_t)1000000)
#define REPL_ANSWER_US ((uint64_t)30000000) /* a hello, a snapshot, a page */
#define REPL_SILENT_US ((uint64_t)2000000) /* a peer that says nothing for so long is taken for dead */
#define REPL_DIAL_US ((uint64_t)1500000)   /* one attempt to connect, to the end of the hello */
#define REPL_REPAIR_US ((uint64_t)300000000) /* an answer of a repair: its data is read whole */

/* What a link is to us: rpc_link_user(). */
enum channel_type { CHANNEL_ACCEPTED = 1, CHANNEL_STREAM, CHANNEL_CLAIM };
struct repl_channel {
    enum channel_type type;
    enum repl_kind kind;
    void *owner; /* struct repl_peer (NULL before its hello), repl_secondary, repl_claimant */
};

/* Outlives the primary, because links do by a pass of the loop. */
struct repl_slot {
    struct repl_driver *driver;
    enum repl_kind kind;
    struct repl_primary *primary;
};

struct repl_driver {
    struct loop *loop;
    struct rpc *rpc;
    const struct cf_clock *clock;
    const struct cf_random *random;
    struct repl_host host;
    size_t batch_bytes, page_bytes;
    struct repl_slot slots[REPL_KIND_COUNT];
    struct repl_secondary *secondaries[REPL_KIND_COUNT];
};

struct repl_peer;
/* driver.c: the secondary whose stream this accepted link carries; NULL: it carries none (any more). */
struct repl_peer *repl_streaming_peer(struct rpc_link *link);

/* One registered secondary, from its first hello on. */
struct repl_peer {
    struct cf_list in_primary;
    struct repl_primary *primary;
    char id[REPL_ID_SIZE];
    struct primary core;
    struct rpc_link *link; /* that carries its stream; NULL: none */
    struct cf_buf public_key;
    uint64_t keyring_version; /* that it was sent */
    bool keyring_due;
    struct place_sent sent; /* to standbys, by this node */
    bool read_waits; /* for the link's queue, or for the next pass */
    struct repl_position read_from;
    int64_t flight_stamp_ns;
    struct repl_snapshot opened; /* facts of `snapshot`, 0: none */
    uint64_t snapshot, snapshot_used_us, bootstrap_bytes;
    struct rpc_pending *heartbeat;
    uint64_t heartbeat_sent_us;
    struct repl_address_list addresses;
    struct repl_peer_status status;
};

struct repl_primary {
    struct repl_driver *driver;
    enum repl_kind kind;
    struct cf_list peers;
    size_t peer_count;
    struct loop_timer *timer;
    struct loop_task task; /* reads and sends what waits */
    bool task_queued, freed;
    uint64_t applied_index;
    uint64_t fit_since_us; /* a standby that could serve; 0: there is none */
    char close_next[REPL_ID_SIZE]; /* whose connections end with the next tick; "": nobody's */
};

/* ---- wire.c */

struct repl_texts { /* for repeated bytes */
    ProtobufCBinaryData data[REPL_ADDRESSES_MAX];
};
void repl_texts_of(const struct repl_address_list *list, struct repl_texts *ret);
/* Those that are addresses; whatever else is left out. */
void repl_addresses_read(size_t count, const ProtobufCBinaryData *from,
                         struct repl_address_list *ret);
/* "https://host:port/" as "host:port"; false when it is no address. */
bool repl_address_plain(struct cf_slice text, struct cf_slice *ret);
bool repl_addresses_equal(const struct repl_address_list *a, const struct repl_address_list *b);
/* A message as bytes on its way. */
#define REPL_PACK(name, message) repl_pack(&(message).base, (name))
void repl_pack(const ProtobufCMessage *message, struct cf_buf *out);
/* Sends one-way; errors mean that the link is gone or full. */
CF_CHECKED cf_status repl_send(struct rpc_link *link, enum rpc_id id,
                               const ProtobufCMessage *message, struct cf_error *err);
void repl_answer(struct rpc_call *call, const ProtobufCMessage *message);
void repl_refuse(struct rpc_call *call, cf_status status, const char *text);
struct repl_position_bytes {
    uint8_t data[REPL_POSITION_SIZE];
};
ProtobufCBinaryData repl_position_bytes(const struct repl_position *position,
                                        struct repl_position_bytes *room);
int64_t repl_wall_ns(const struct repl_driver *driver);
static inline uint64_t repl_now_ms(void)
{
    return loop_now_us() / 1000;
}
/* What both sides put into a heartbeat and take out of it. */
void repl_heartbeat_note(const struct repl_driver *driver, struct repl_peer_status *status,
                         uint64_t sent_us, int64_t their_wall_ns);

/* ---- serve.c */
void repl_serve_hello(struct repl_slot *slot, struct rpc_link *link, struct cf_slice request,
                      struct rpc_call *call);
void repl_serve_claim(struct repl_slot *slot, struct rpc_link *link, struct cf_slice request,
                      struct rpc_call *call);
void repl_serve_call(struct repl_slot *slot, struct rpc_link *link, struct cf_slice request,
                     struct rpc_call *call);
void repl_peer_changed(struct repl_peer *peer);
/* The stream's link of a peer is no longer: closes it when it is still up. */
void repl_peer_drop(struct repl_peer *peer, const char *why);

struct repl_reply *repl_reply_new(struct rpc_call *call);

/* ---- ship.c */
void repl_ship_start(struct repl_peer *peer, struct cf_slice message);
void repl_ship_ack(struct repl_peer *peer, struct cf_slice message);
void repl_ship_snapshot(struct repl_peer *peer, struct cf_slice request, struct rpc_call *call);
void repl_ship_repair(struct repl_peer *peer, struct cf_slice request, struct rpc_call *call);
void repl_ship_page(struct repl_peer *peer, struct cf_slice request, struct rpc_call *call);
void repl_ship_heartbeat(struct repl_peer *peer, struct cf_slice request, struct rpc_call *call);
void repl_ship_tick(struct repl_peer *peer);
void repl_ship_pump(struct repl_peer *peer, size_t *budget);
void repl_ship_advanced(struct repl_peer *peer);
void repl_ship_schedule(struct repl_primary *primary);
void repl_ship_close_snapshot(struct repl_peer *peer);
/* Appends the sealed keyring; *version 0 and nothing appended when there is no public key. */
CF_CHECKED cf_status repl_ship_keyring(struct repl_peer *peer, struct cf_buf *ret,
                                       uint64_t *version, struct cf_error *err);

/* ---- receive.c, receive_io.c */
enum received_type { RECEIVED_BATCH, RECEIVED_KEYRING };
void repl_receive_message(struct repl_secondary *s, enum received_type type,
                          struct cf_slice message);
void repl_receive_heartbeat(struct repl_secondary *s, struct cf_slice request,
                            struct rpc_call *call);

#endif
