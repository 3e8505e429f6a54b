/* node/cluster/rpc_client.c
 *
 * Keeps one link a class of traffic to one peer. A lane of a client:
 *
 *      resting --timer--> resolving --addresses--> connecting --hello--> up
 *         ^                  | no answer               | failed           | lost
 *         |                  v                         v                  |
 *         +---- backoff --- next address of the list, next answer <-------+
 *
 * One round tries every address once; between rounds the backoff doubles, with jitter, so that
 * three nodes that lost each other don't come back in step (and neither do a thousand).
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "node/base/memory.h"
#include "node/cluster/rpc_int.h"

enum { ADDRESSES_MAX = 64, ADDRESS_SIZE = 256 };
#define BACKOFF_MIN_US ((uint64_t)100000)
#define BACKOFF_MAX_US ((uint64_t)3000000)
#define STEADY_US                                                                                  \
    ((uint64_t)5000000) /* up for so long: the next loss starts with a short backoff */

enum lane_state { LANE_RESTING, LANE_RESOLVING, LANE_CONNECTING, LANE_UP };

struct lane {
    struct rpc_client *client;
    enum rpc_traffic traffic;
    bool used;
    unsigned rounds_failed; /* since it was up */
    enum lane_state state;
    struct rpc_link *link;
    struct loop_timer *timer;
    uint64_t backoff_us;
    size_t next, tried; /* in the list of addresses; how many of this round */
    char address[ADDRESS_SIZE];
    struct net_answer found;
    size_t found_next;
    struct cf_list waiting;
};

struct rpc_client {
    struct rpc *rpc;
    struct rpc_client_config config;
    char alpn[TLS_ALPN_MAX + 1];
    struct node_tls *tls;
    struct tls_client *context;
    char (*addresses)[ADDRESS_SIZE];
    size_t address_count;
    size_t waiting_bytes;
    struct cf_error err;
    unsigned resolving; /* answers that will still come */
    bool freed;
    struct lane lanes[RPC_TRAFFIC_COUNT];
};

static void try_next(struct lane *lane);

static void release(struct rpc_client *client)
{
    if (client->freed && client->resolving == 0) {
        cf_free(client);
    }
}

static void fail_waiting(struct lane *lane, const struct cf_error *why)
{
    struct cf_error err = {0};
    (void)cf_fail(&err, CF_UNAVAILABLE, "not sent: %.220s", why->message);
    while (!cf_list_empty(&lane->waiting)) {
        struct rpc_pending *pending =
            cf_container(lane->waiting.next, struct rpc_pending, in_owner);
        rpc_calls_end(pending, CF_UNAVAILABLE, false, &err, CF_SLICE_EMPTY);
    }
}

/* Between half of the backoff and all of it. */
static void rest(struct lane *lane)
{
    struct rpc_client *client = lane->client;
    uint64_t draw = 0;
    cf_random_fill(client->rpc->random, &draw, sizeof(draw));
    lane->state = LANE_RESTING;
    loop_timer_set_in(lane->timer, lane->backoff_us / 2 + draw % (lane->backoff_us / 2 + 1));
    lane->backoff_us = lane->backoff_us * 2 < client->config.backoff_max_us
                           ? lane->backoff_us * 2
                           : client->config.backoff_max_us;
}

/* Those who wait hear of it only when the whole round has failed. The callbacks in here may free
 * the client: `resolving` keeps its memory, and after them `freed` is asked. */
static void attempt_failed(struct lane *lane, const struct cf_error *why)
{
    struct rpc_client *client = lane->client;
    struct cf_error err = *why;
    bool round_over = lane->found_next >= lane->found.count && lane->tried >= client->address_count;
    client->err = err;
    client->rpc->counters.dial_failed++;
    client->resolving++;
    if (round_over) {
        lane->rounds_failed++;
        rest(lane);
        fail_waiting(lane, &err);
    }
    if (!client->freed && client->config.failed != NULL) {
        client->config.failed(client->config.ctx, lane->address, &err);
    }
    client->resolving--;
    if (client->freed) {
        release(client);
    } else if (!round_over) {
        try_next(lane);
    }
}

/* Whoever is only slow is given more time with each round: else it would never be reached. */
static uint64_t attempt_us(const struct lane *lane)
{
    uint64_t us = lane->client->config.hello_us;
    for (unsigned i = 0; i < lane->rounds_failed && us < RPC_HELLO_US; i++) {
        us *= 2;
    }
    return us < RPC_HELLO_US ? us : RPC_HELLO_US;
}

static void dial(struct lane *lane, const struct net_address *to)
{
    struct rpc_client *client = lane->client;
    struct rpc_link *link = rpc_link_new(client->rpc);
    link->dialled = true;
    link->client = client;
    link->who = client->config.who;
    link->queue_max = client->config.queue_max;
    link->dead_us = client->config.dead_us;
    link->peer.traffic = lane->traffic;
    net_text(to, link->peer.address);
    link->stream = stream_dial(client->rpc->loop, to, client->context, rpc_link_ops(), link);
    stream_read_marks(link->stream, FRAME_HEADER_SIZE, RPC_READ_HIGH);
    stream_deadline(link->stream, loop_now_us() + attempt_us(lane), "TLS handshake and hello");
    lane->state = LANE_CONNECTING;
    lane->link = link;
}

static void on_found(const struct net_answer *answer, void *arg)
{
    struct lane *lane = arg;
    struct rpc_client *client = lane->client;
    client->resolving--;
    if (client->freed) {
        release(client);
        return;
    }
    lane->found = *answer;
    lane->found_next = 0;
    if (answer->status != CF_OK) {
        lane->found.count = 0;
        attempt_failed(lane, &answer->err);
        return;
    }
    try_next(lane);
}

/* The next answer of the last look-up, else the next address of the list. */
static void try_next(struct lane *lane)
{
    struct rpc_client *client = lane->client;
    if (lane->found_next < lane->found.count) {
        dial(lane, &lane->found.addresses[lane->found_next++]);
        return;
    }
    if (client->address_count == 0) {
        lane->state = LANE_RESTING;
        return; /* rpc_client_set_addresses starts again */
    }
    struct cf_slice host;
    uint16_t port = 0;
    memcpy(lane->address, client->addresses[lane->next++ % client->address_count], ADDRESS_SIZE);
    lane->tried++;
    lane->found.count = lane->found_next = 0;
    lane->state = LANE_RESOLVING;
    cf_status status = net_split(cf_slice_str(lane->address), 0, &host, &port, NULL);
    assert(status == CF_OK); /* was checked when the list was set */
    (void)status;
    client->resolving++;
    net_resolve(client->rpc->loop, host, port, on_found, lane);
}

static void start_round(struct lane *lane)
{
    lane->tried = 0;
    lane->found.count = lane->found_next = 0;
    try_next(lane);
}

static void on_timer(void *arg)
{
    struct lane *lane = arg;
    if (lane->state == LANE_RESTING) {
        start_round(lane);
    }
}

void rpc_client_link_up(struct rpc_client *client, struct rpc_link *link)
{
    struct lane *lane = &client->lanes[link->peer.traffic];
    lane->state = LANE_UP;
    lane->rounds_failed = 0;
    client->err = (struct cf_error){0};
    while (!cf_list_empty(&lane->waiting)) {
        rpc_calls_move(cf_container(lane->waiting.next, struct rpc_pending, in_owner), link);
    }
    if (client->config.up != NULL) {
        client->config.up(client->config.ctx, link);
    }
}

void rpc_client_link_ended(struct rpc_client *client, struct rpc_link *link, bool was_up,
                           const struct cf_error *why)
{
    struct lane *lane = &client->lanes[link->peer.traffic];
    lane->link = NULL;
    if (!was_up) {
        attempt_failed(lane, why);
        return;
    }
    client->err = *why;
    if (loop_now_us() - link->up_us > STEADY_US) {
        lane->backoff_us = client->config.backoff_min_us;
    }
    rest(lane);
    if (client->config.down != NULL) {
        client->config.down(client->config.ctx, link, why);
    }
}

const struct rpc_client_config *rpc_client_config_of(const struct rpc_client *client)
{
    return &client->config;
}

const struct node_tls *rpc_client_tls(const struct rpc_client *client)
{
    return client->tls;
}

void rpc_client_waited(struct rpc_client *client, size_t bytes)
{
    client->waiting_bytes -= bytes;
}

cf_status rpc_client_set_tls(struct rpc_client *client, const struct node_tls *tls,
                             struct cf_error *err)
{
    struct tls_credentials with = node_tls_credentials(tls);
    struct tls_client *context;
    CF_TRY(tls_client_new(client->alpn, &with, &context, err));
    tls_client_free(client->context);
    client->context = context;
    struct node_tls *copy = node_tls_copy(tls);
    node_tls_free(client->tls);
    client->tls = copy;
    return CF_OK;
}

static cf_status check_addresses(const struct cf_slice *addresses, size_t count,
                                 struct cf_error *err)
{
    struct cf_slice host;
    uint16_t port;
    if (count > ADDRESSES_MAX) {
        return cf_fail(err, CF_INVALID, "more than %d addresses", ADDRESSES_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (addresses[i].size >= ADDRESS_SIZE) {
            return cf_fail(err, CF_INVALID, "an address of %zu bytes", addresses[i].size);
        }
        CF_TRY(net_split(addresses[i], 0, &host, &port, err));
    }
    return CF_OK;
}

cf_status rpc_client_set_addresses(struct rpc_client *client, const struct cf_slice *addresses,
                                   size_t count, struct cf_error *err)
{
    CF_TRY(check_addresses(addresses, count, err));
    char(*copy)[ADDRESS_SIZE] = cf_array(count + 1, ADDRESS_SIZE);
    for (size_t i = 0; i < count; i++) {
        memcpy(copy[i], addresses[i].data, addresses[i].size);
    }
    bool had_none = client->address_count == 0;
    cf_free(client->addresses);
    client->addresses = copy;
    client->address_count = count;
    for (size_t i = 0; i < RPC_TRAFFIC_COUNT; i++) {
        struct lane *lane = &client->lanes[i];
        if (had_none && lane->used && lane->state == LANE_RESTING) {
            loop_timer_set_in(lane->timer, 0); /* not inside the owner's call */
        }
    }
    return CF_OK;
}

static void set_defaults(struct rpc_client_config *config)
{
    config->traffic = config->traffic != 0 ? config->traffic : 1u << RPC_LATENCY;
    config->queue_max = config->queue_max != 0 ? config->queue_max : RPC_QUEUE_MAX_DEFAULT;
    config->dead_us = config->dead_us != 0 ? config->dead_us : RPC_DEAD_US;
    config->hello_us = config->hello_us != 0 ? config->hello_us : RPC_HELLO_US;
    config->backoff_min_us = config->backoff_min_us != 0 ? config->backoff_min_us : BACKOFF_MIN_US;
    config->backoff_max_us = config->backoff_max_us != 0 ? config->backoff_max_us : BACKOFF_MAX_US;
}

cf_status rpc_client_new(struct rpc *rpc, const struct rpc_client_config *config,
                         const struct cf_slice *addresses, size_t count, struct rpc_client **ret,
                         struct cf_error *err)
{
    CF_OWNED(rpc_client) client = cf_new(struct rpc_client);
    client->rpc = rpc;
    client->config = *config;
    set_defaults(&client->config);
    (void)snprintf(client->alpn, sizeof(client->alpn), "%s", config->alpn);
    for (size_t i = 0; i < RPC_TRAFFIC_COUNT; i++) {
        struct lane *lane = &client->lanes[i];
        lane->client = client;
        lane->traffic = (enum rpc_traffic)i;
        lane->used = (client->config.traffic & 1u << i) != 0;
        lane->backoff_us = client->config.backoff_min_us;
        lane->timer = loop_timer_new(rpc->loop, on_timer, lane);
        cf_list_init(&lane->waiting);
    }
    CF_TRY(rpc_client_set_tls(client, config->tls, err));
    CF_TRY(rpc_client_set_addresses(client, addresses, count, err));
    *ret = rpc_client_take(&client);
    return CF_OK;
}

void rpc_client_free(struct rpc_client *client)
{
    struct cf_error why = {0};
    if (client == NULL || client->freed) {
        return;
    }
    (void)cf_fail(&why, CF_UNAVAILABLE, "connection closed by this node");
    client->freed = true;
    client->resolving++; /* keeps the memory while callbacks run */
    for (size_t i = 0; i < RPC_TRAFFIC_COUNT; i++) {
        struct lane *lane = &client->lanes[i];
        struct rpc_link *link = lane->link;
        loop_timer_free(lane->timer);
        lane->timer = NULL;
        lane->link = NULL;
        if (link != NULL) {
            link->client = NULL;
            rpc_link_end(link, &why);
        }
        fail_waiting(lane, &why);
    }
    tls_client_free(client->context);
    node_tls_free(client->tls);
    cf_free(client->addresses);
    client->resolving--;
    release(client);
}

void rpc_client_hurry(struct rpc_client *client)
{
    for (size_t i = 0; i < RPC_TRAFFIC_COUNT; i++) {
        struct lane *lane = &client->lanes[i];
        if (lane->used && lane->state == LANE_RESTING) {
            lane->backoff_us = client->config.backoff_min_us;
            loop_timer_set_in(lane->timer, 0);
        }
    }
}

struct rpc_link *rpc_client_link(struct rpc_client *client, enum rpc_traffic traffic)
{
    struct lane *lane = &client->lanes[traffic];
    return lane->state == LANE_UP ? lane->link : NULL;
}

const struct cf_error *rpc_client_error(const struct rpc_client *client)
{
    return &client->err;
}

static cf_status not_connected(struct rpc_client *client, struct cf_error *err)
{
    return cf_fail(err, CF_UNAVAILABLE, "not connected%s%.200s",
                   client->err.message[0] != '\0' ? ": " : "", client->err.message);
}

cf_status rpc_client_call(struct rpc_client *client, enum rpc_traffic traffic, enum rpc_id id,
                          struct cf_slice request, uint64_t deadline_us, rpc_done_fn fn, void *arg,
                          struct rpc_pending **ret, struct cf_error *err)
{
    struct lane *lane = &client->lanes[traffic];
    if (lane->state == LANE_UP) {
        return rpc_link_call(lane->link, id, request, deadline_us, fn, arg, ret, err);
    }
    if (lane->rounds_failed > 0 && client->config.is_impatient) {
        return not_connected(client, err);
    }
    bool fresh = lane->used && client->err.status == CF_OK && client->address_count > 0;
    if (lane->state == LANE_RESTING && !fresh) {
        return not_connected(client, err);
    }
    if (request.size > FRAME_PAYLOAD_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "a request of %zu bytes does not fit into a frame",
                       request.size);
    }
    if (client->waiting_bytes + request.size > client->config.queue_max) {
        return cf_fail(err, CF_BUSY, "%zu bytes wait for a connection already",
                       client->waiting_bytes);
    }
    client->waiting_bytes += request.size;
    struct rpc_pending *pending = rpc_calls_wait(client->rpc, client, &lane->waiting, (uint16_t)id,
                                                 request, deadline_us, fn, arg);
    if (ret != NULL) {
        *ret = pending;
    }
    return CF_OK;
}

cf_status rpc_client_send(struct rpc_client *client, enum rpc_traffic traffic, enum rpc_id id,
                          struct cf_slice message, struct cf_error *err)
{
    struct rpc_link *link = rpc_client_link(client, traffic);
    if (link == NULL) {
        return not_connected(client, err);
    }
    return rpc_link_send(link, id, message, err);
}
