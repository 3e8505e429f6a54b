/* replication/driver/driver.c: the handlers of the REPL_ messages: whose they are, and nothing
 * else. */
#include <assert.h>

#include "replication/driver/driver_int.h"

static struct repl_channel *channel_of(const struct rpc_link *link)
{
    return rpc_link_user(link);
}

struct repl_peer *repl_streaming_peer(struct rpc_link *link)
{
    struct repl_channel *channel = channel_of(link);
    struct repl_peer *peer =
        channel != NULL && channel->type == CHANNEL_ACCEPTED ? channel->owner : NULL;
    return peer != NULL && peer->link == link ? peer : NULL;
}

static struct repl_secondary *receiver(struct rpc_link *link)
{
    struct repl_channel *channel = channel_of(link);
    return channel != NULL && channel->type == CHANNEL_STREAM ? channel->owner : NULL;
}

/* The primary that serves this accepted link; NULL and the call refused otherwise. */
static struct repl_slot *serving_slot(struct repl_driver *driver, struct rpc_link *link,
                                      struct rpc_call *call)
{
    struct repl_channel *channel = channel_of(link);
    struct repl_slot *slot = NULL;
    if (channel != NULL && channel->type == CHANNEL_ACCEPTED) {
        slot = &driver->slots[channel->kind];
    }
    if (call == NULL || slot == NULL || slot->primary == NULL) {
        if (call != NULL) {
            repl_refuse(call, CF_UNAVAILABLE, "this node is no primary of that kind");
        }
        return NULL;
    }
    return slot;
}

static void on_hello(void *ctx, struct rpc_link *link, struct cf_slice request,
                     struct rpc_call *call)
{
    struct repl_slot *slot = serving_slot(ctx, link, call);
    if (slot != NULL) {
        repl_serve_hello(slot, link, request, call);
    }
}

static void on_claim(void *ctx, struct rpc_link *link, struct cf_slice request,
                     struct rpc_call *call)
{
    struct repl_slot *slot = serving_slot(ctx, link, call);
    if (slot != NULL) {
        repl_serve_claim(slot, link, request, call);
    }
}

static void on_call(void *ctx, struct rpc_link *link, struct cf_slice request,
                    struct rpc_call *call)
{
    struct repl_slot *slot = serving_slot(ctx, link, call);
    if (slot != NULL) {
        repl_serve_call(slot, link, request, call);
    }
}

/* Requests that only make sense on a stream. */
static struct repl_peer *stream_or_refuse(struct rpc_link *link, struct rpc_call *call)
{
    struct repl_peer *peer = repl_streaming_peer(link);
    if (call != NULL && peer == NULL) {
        repl_refuse(call, CF_INVALID, "this connection carries no stream");
    }
    return call != NULL ? peer : NULL;
}

static void on_snapshot(void *ctx, struct rpc_link *link, struct cf_slice request,
                        struct rpc_call *call)
{
    struct repl_peer *peer = stream_or_refuse(link, call);
    (void)ctx;
    if (peer != NULL) {
        repl_ship_snapshot(peer, request, call);
    }
}

static void on_page(void *ctx, struct rpc_link *link, struct cf_slice request,
                    struct rpc_call *call)
{
    struct repl_peer *peer = stream_or_refuse(link, call);
    (void)ctx;
    if (peer != NULL) {
        repl_ship_page(peer, request, call);
    }
}

static void on_repair(void *ctx, struct rpc_link *link, struct cf_slice request,
                      struct rpc_call *call)
{
    struct repl_peer *peer = stream_or_refuse(link, call);
    (void)ctx;
    if (peer != NULL) {
        repl_ship_repair(peer, request, call);
    }
}

static void on_start(void *ctx, struct rpc_link *link, struct cf_slice message,
                     struct rpc_call *call)
{
    struct repl_peer *peer = repl_streaming_peer(link);
    (void)ctx;
    if (call != NULL) {
        repl_refuse(call, CF_INVALID, "that message is one-way");
    } else if (peer != NULL) {
        repl_ship_start(peer, message);
    }
}

static void on_ack(void *ctx, struct rpc_link *link, struct cf_slice message, struct rpc_call *call)
{
    struct repl_peer *peer = repl_streaming_peer(link);
    (void)ctx;
    if (call != NULL) {
        repl_refuse(call, CF_INVALID, "that message is one-way");
    } else if (peer != NULL) {
        repl_ship_ack(peer, message);
    }
}

static void receive(struct rpc_link *link, struct rpc_call *call, enum received_type type,
                    struct cf_slice message)
{
    struct repl_secondary *s = receiver(link);
    if (call != NULL) {
        repl_refuse(call, CF_INVALID, "that message is one-way");
    } else if (s != NULL) {
        repl_receive_message(s, type, message);
    }
}

static void on_batch(void *ctx, struct rpc_link *link, struct cf_slice message,
                     struct rpc_call *call)
{
    (void)ctx;
    receive(link, call, RECEIVED_BATCH, message);
}

static void on_keyring(void *ctx, struct rpc_link *link, struct cf_slice message,
                       struct rpc_call *call)
{
    (void)ctx;
    receive(link, call, RECEIVED_KEYRING, message);
}

static void on_heartbeat(void *ctx, struct rpc_link *link, struct cf_slice request,
                         struct rpc_call *call)
{
    struct repl_secondary *s = receiver(link);
    (void)ctx;
    if (s != NULL && call != NULL) {
        repl_receive_heartbeat(s, request, call);
        return;
    }
    struct repl_peer *peer = stream_or_refuse(link, call);
    if (peer != NULL) {
        repl_ship_heartbeat(peer, request, call);
    }
}

static const struct {
    enum rpc_id id;
    rpc_handler fn;
} handlers[] = {
    {RPC_REPL_HELLO, on_hello},       {RPC_REPL_START, on_start},
    {RPC_REPL_BATCH, on_batch},       {RPC_REPL_ACK, on_ack},
    {RPC_REPL_KEYRING, on_keyring},   {RPC_REPL_HEARTBEAT, on_heartbeat},
    {RPC_REPL_SNAPSHOT, on_snapshot}, {RPC_REPL_PAGE, on_page},
    {RPC_REPL_CLAIM, on_claim},       {RPC_REPL_CALL, on_call},
    {RPC_REPL_REPAIR, on_repair},
};

static size_t size_or(size_t size, size_t otherwise, size_t max)
{
    return size == 0 ? otherwise : cf_min(size, max);
}

struct repl_driver *repl_driver_new(const struct repl_driver_config *config)
{
    struct repl_driver *driver = cf_new(struct repl_driver);
    driver->loop = config->loop;
    driver->rpc = config->rpc;
    driver->clock = config->clock;
    driver->random = config->random;
    driver->host = *config->host;
    driver->batch_bytes = size_or(config->batch_bytes, REPL_SIZE_DEFAULT, REPL_BATCH_BYTES_MAX);
    driver->page_bytes = size_or(config->page_bytes, REPL_SIZE_DEFAULT, REPL_PAGE_BYTES_MAX);
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        driver->slots[i] = (struct repl_slot){.driver = driver, .kind = (enum repl_kind)i};
    }
    for (size_t i = 0; i < CF_LENGTH(handlers); i++) {
        rpc_handle(driver->rpc, handlers[i].id, handlers[i].fn, driver);
    }
    return driver;
}

void repl_driver_free(struct repl_driver *driver)
{
    if (driver == NULL) {
        return;
    }
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        assert(driver->slots[i].primary == NULL && driver->secondaries[i] == NULL);
        rpc_end_served(driver->rpc, &driver->slots[i]); /* some may be closing still */
    }
    cf_free(driver);
}

void repl_driver_advanced(struct repl_driver *driver, uint64_t applied_index)
{
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        struct repl_primary *primary = driver->slots[i].primary;
        if (primary != NULL && applied_index > primary->applied_index) {
            primary->applied_index = applied_index;
            repl_ship_schedule(primary);
        }
    }
}
