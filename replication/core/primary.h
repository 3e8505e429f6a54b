/* replication/core/primary.h
 *
 * The sender for one registered secondary, on a node of the primary: what to answer to its hello,
 * when to read and send a batch, how far it is, how far behind. Outlives connections: what was
 * acknowledged holds the log back until the secondary returns. Pure; thread: its owner's.
 *
 *     IDLE --hello--> GREETED --start--> STREAMING
 *      ^                 |  ^ hello          |
 *      |                 v  |                |
 *      +--- lost --- BOOTSTRAPPING ---- lost +
 *
 * Requests of an update are performed in the order of the fields; a batch that was read is fed
 * back as an event, in the same pass or a later one.
 */
#ifndef COFFER_REPLICATION_PRIMARY_H
#define COFFER_REPLICATION_PRIMARY_H

#include "replication/core/fence.h"
#include "replication/core/secondary.h"

enum {
    PRIMARY_BATCHES_MAX = 64, /* sent and not acknowledged */
    PRIMARY_MARKS = 64,
    PRIMARY_HEARTBEAT_MS = 1000,
};
#define PRIMARY_CREDIT_BYTES ((uint64_t)16 << 20) /* sent and not acknowledged, one batch aside */

enum primary_state { PRIMARY_IDLE, PRIMARY_GREETED, PRIMARY_BOOTSTRAPPING, PRIMARY_STREAMING };

enum primary_event_type {
    PRIMARY_EV_HELLO,
    PRIMARY_EV_SNAPSHOT, /* it opened one, of `position` */
    PRIMARY_EV_START,    /* it is ready for batches */
    PRIMARY_EV_ADVANCED, /* our applied index is `index` */
    PRIMARY_EV_READ,     /* what update.read asked for */
    PRIMARY_EV_ACK,
    PRIMARY_EV_TICK, /* at least once a PRIMARY_HEARTBEAT_MS */
    PRIMARY_EV_LOST, /* its connection; harmless when there was none */
};

struct primary_event {
    enum primary_event_type type;
    uint64_t now_ms;
    /* HELLO; known: we hold exactly that entry */
    const struct repl_lineage *own, *theirs;
    bool verified, known;
    struct repl_position position; /* HELLO, SNAPSHOT, START; ACK: after which batch */
    uint64_t index;                /* ADVANCED, and HELLO: our applied index */
    /* READ: CF_OK, or CF_NOT_FOUND when the log no longer reaches back; ACK: seq */
    cf_status status;
    struct repl_position to;
    uint64_t bytes, entries, seq;
};

struct primary_update {
    bool fence; /* we lost, and it is proved */
    bool alarm;
    enum repl_verdict verdict; /* of a hello; 0 otherwise */
    bool send;                 /* the batch that was just read (or an empty one): */
    uint64_t seq;
    struct repl_position from, to;
    bool read; /* a batch after read_from */
    struct repl_position read_from;
    bool heartbeat;
    bool close;
};

struct primary_mark {
    uint64_t index, at_ms;
};

struct primary {
    enum primary_state state;
    struct repl_epoch epoch;      /* our current one, as of the hello */
    bool heard;                   /* a hello since this node began to serve */
    struct repl_position acked;   /* its majority holds everything up to here */
    struct repl_position sent;    /* `to` of the last batch sent */
    struct repl_position read_at; /* behind what was read; ahead of `sent` by what was filtered */
    struct repl_position holding; /* of the snapshot it is loading */
    bool caught_up;
    uint64_t seq_sent, seq_acked;
    struct {
        struct repl_position to;
        uint64_t bytes;
    } flight[PRIMARY_BATCHES_MAX]; /* by seq */
    uint64_t flight_bytes;
    uint64_t index; /* applied here */
    uint64_t total_bytes, total_entries;
    uint64_t entry_bytes; /* the driver's word: what an entry of our log takes on the average; 0: unknown */
    uint64_t silent_ms;   /* the driver's word: for how long our own leader was silent, a tick ago; 0: we lead */
    uint64_t heartbeat_at_ms;
    struct primary_mark marks[PRIMARY_MARKS]; /* when which index was reached, beyond `acked` */
    size_t mark_count;
};

void primary_init(struct primary *p);
/* CF_CORRUPT: the peer broke the protocol; CF_DENIED, CF_CONFLICT: why the verdict is a refusal.
 * The update holds all the same. CF_INVALID: the event has no place in this state. */
CF_CHECKED cf_status primary_step(struct primary *p, const struct primary_event *ev,
                                  struct primary_update *ret, struct cf_error *err);

struct primary_lag {
    uint64_t entries;
    uint64_t bytes; /* in flight, and an estimate of what was not read yet */
    uint64_t ms;    /* age of the oldest entry that it does not have; 0: it has all. What our leader did while it was
                     * silent counts as missing, when that is longer than a heartbeat */
};
struct primary_lag primary_lag(const struct primary *p, uint64_t now_ms);

/* The lowest index of our log that it still needs (everything behind it): 0 when that is not known.
 */
uint64_t primary_floor(const struct primary *p);

#endif
