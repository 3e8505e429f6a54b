/* replication/driver/receive_int.h: the insides of a secondary: receive.c, receive_io.c, call.c. */
#ifndef COFFER_REPLICATION_RECEIVE_INT_H
#define COFFER_REPLICATION_RECEIVE_INT_H

#include "replication/driver/driver_int.h"

#define RECEIVE_QUEUE_BYTES ((size_t)64 << 20) /* a primary sends at most 16 MiB and one batch */

/* An event on its way to the core. Everything that happens comes through the queue, so that a step
 * is never inside a step. */
struct receive_item {
    struct cf_list in_queue;
    struct secondary_event ev;
    uint64_t session; /* from the connection: dropped when that is no longer the current one */
    bool of_link;
    struct cf_buf data; /* BATCH, PAGE: bytes; KEYRING: sealed */
    struct cf_buf next; /* PAGE: the cursor */
    bool same;          /* PAGE: what stage_known told of */
    uint64_t stamp_ns;
    struct cf_error err;
};

struct receive_batch {
    struct repl_position from, to;
    struct cf_buf data;
};

struct receive_page {
    struct cf_list in_pages;
    struct cf_buf data;
    bool same;
};

struct repl_caller;

struct repl_secondary {
    struct repl_driver *driver;
    enum repl_kind kind;
    bool calls_only, freed;
    struct behind behind;
    unsigned refs; /* the owner, host functions under way, the queued task */
    char set_id[REPL_ID_SIZE];
    struct node_tls *tls;
    struct repl_address_list configured, known, peers;
    char redirect[REPL_ADDRESS_SIZE];
    char copy_address[REPL_ADDRESS_SIZE]; /* of the node whose snapshot is being copied */
    size_t rotation;
    struct secondary core;
    struct repl_channel channel;
    struct rpc_client *client;
    struct rpc_link *link;
    struct rpc_pending *asked, *heartbeat;
    struct repair_run *repair; /* the repair or comparison under way; NULL: none */
    struct loop_timer *timer, *beat_timer;
    struct cf_list queue;
    size_t queue_bytes;
    struct loop_task task;
    bool task_queued;
    /* what the hello said, and its answer */
    struct repl_lineage own, theirs;
    struct repl_position hello_position;
    struct cf_buf proof, keyring;
    char answer_text[256];
    struct receive_batch batches[SECONDARY_QUEUE_MAX]; /* by seq */
    struct cf_list pages;
    uint64_t heartbeat_sent_us;
    uint64_t told_us; /* when a node that answered said last why not; 0: connected since */
    uint64_t copy_began_us, copy_began_bytes; /* where this node began to take the copy; 0: it takes none */
    struct repl_secondary_status status;
    struct cf_list callers, calls;
};

/* ---- receive.c */
/* Queues; the item becomes the queue's. */
void receive_push(struct repl_secondary *s, struct receive_item *item);
struct receive_item *receive_item_new(enum secondary_event_type type);
void receive_item_free(struct receive_item *item);
void receive_unref(struct repl_secondary *s);
/* Goes on with what was kept of a copy, if none is under way. */
void receive_load_stage(struct repl_secondary *s);
/* From the link: LOST, with a reason. */
void receive_lost(struct repl_secondary *s, const struct cf_error *why);

/* ---- receive_io.c */
/* Performs an update. */
void receive_perform(struct repl_secondary *s, const struct secondary_update *update);
void receive_drop_link(struct repl_secondary *s);
void receive_beat(void *arg);
/* preferred (may be ""), configured, learned; plain and without doubles. */
void receive_dial_list(const struct repl_secondary *s, const char *preferred, size_t rotation,
                       struct repl_address_list *ret);
struct rpc_client_config receive_client_config(const struct repl_secondary *s);
void receive_slices(const struct repl_address_list *list, struct cf_slice *ret);
void receive_note_failure(struct repl_secondary *s, const char *address,
                          const struct cf_error *why);

/* ---- repair.c */
void repair_start(struct repl_secondary *s, const struct secondary_update *update);
void repair_drop(struct repl_secondary *s); /* the connection is gone */

/* ---- call.c */
void call_retire(struct repl_secondary *s); /* addresses or credentials changed */
void call_addresses(struct repl_secondary *s); /* the lists have changed */
void call_tidy(struct repl_secondary *s);   /* callers that nobody waits for */
void call_free_all(struct repl_secondary *s);

#endif
