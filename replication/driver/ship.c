/* replication/driver/ship.c: what a primary sends to one secondary: batches, keyrings, pages. */
#include <stdio.h>

#include "node/base/log.h"
#include "replication/driver/driver_int.h"

#define SNAPSHOT_KEPT_US ((uint64_t)600 * 1000000) /* without a connection */

static struct repl_driver *driver_of(const struct repl_peer *peer)
{
    return peer->primary->driver;
}

void repl_ship_schedule(struct repl_primary *primary)
{
    if (!primary->task_queued) {
        primary->task_queued = true;
        loop_post_task(primary->driver->loop, &primary->task);
    }
}

/* ---- keyring ---- */

cf_status repl_ship_keyring(struct repl_peer *peer, struct cf_buf *ret, uint64_t *version,
                            struct cf_error *err)
{
    const struct repl_host *host = &driver_of(peer)->host;
    *version = 0;
    if (peer->public_key.size == 0) {
        return CF_OK;
    }
    CF_TRY(host->keyring(host->ctx, peer->primary->kind, peer->id, cf_buf_slice(&peer->public_key),
                         ret, version, err));
    return cf_buf_check(ret, err);
}

/* Before what needs it. */
static cf_status send_keyring(struct repl_peer *peer, uint64_t needed, struct cf_error *err)
{
    Coffer__Repl__Keyring message = COFFER__REPL__KEYRING__INIT;
    CF_BUF(sealed) = {0};
    if (!peer->keyring_due && needed <= peer->keyring_version) {
        return CF_OK;
    }
    cf_buf_init_secret(&sealed, REPL_KEYRING_MAX);
    CF_TRY(repl_ship_keyring(peer, &sealed, &peer->keyring_version, err));
    peer->keyring_due = false;
    if (peer->keyring_version < needed) {
        peer->keyring_version =
            needed; /* no public key: nothing to send, and nothing to ask again */
    }
    if (sealed.size == 0) {
        return CF_OK;
    }
    message.sealed = message_bytes(cf_buf_slice(&sealed));
    return repl_send(peer->link, RPC_REPL_KEYRING, &message.base, err);
}

/* ---- stream ---- */

static cf_status send_batch(struct repl_peer *peer, const struct primary_update *update,
                            const struct repl_batch *batch, struct cf_error *err)
{
    Coffer__Repl__Batch message = COFFER__REPL__BATCH__INIT;
    struct repl_position_bytes from, to;
    message.seq = update->seq;
    message.from = repl_position_bytes(&update->from, &from);
    message.to = repl_position_bytes(&update->to, &to);
    message.last_index = peer->core.index;
    if (batch != NULL) {
        CF_TRY(send_keyring(peer, batch->keyring_version, err));
        message.entries = batch->entries;
        message.stamp_ns = batch->stamp_ns;
        message.data = message_bytes(cf_buf_slice(&batch->bytes));
    }
    return repl_send(peer->link, RPC_REPL_BATCH, &message.base, err);
}

static void note_read(struct repl_peer *peer, const struct primary_update *update)
{
    if (update->read) {
        peer->read_waits = true;
        peer->read_from = update->read_from;
    }
}

/* Feeds an event; whatever fails ends the stream. */
static void step(struct repl_peer *peer, struct primary_event *ev, const struct repl_batch *batch)
{
    struct primary_update update;
    struct cf_error err = {0};
    ev->now_ms = repl_now_ms();
    cf_status status = primary_step(&peer->core, ev, &update, &err);
    if (status == CF_OK && update.send) {
        status = send_batch(peer, &update, batch, &err);
    }
    if (status != CF_OK) {
        repl_peer_drop(peer, err.message);
        return;
    }
    note_read(peer, &update);
}

static void on_writable(void *arg, struct rpc_link *link)
{
    struct repl_peer *peer = arg;
    rpc_link_on_writable(link, NULL, NULL);
    repl_ship_schedule(peer->primary);
}

static void read_once(struct repl_peer *peer, size_t *budget)
{
    struct repl_driver *driver = driver_of(peer);
    struct repl_batch batch = {.bytes.max = REPL_BATCH_BYTES_MAX, .to = peer->read_from};
    struct primary_event ev = {.type = PRIMARY_EV_READ};
    struct cf_error err = {0};
    peer->read_waits = false;
    ev.status = driver->host.read_batch(driver->host.ctx, peer->primary->kind, peer->id,
                                        &peer->read_from, driver->batch_bytes, &batch, &err);
    if (ev.status == CF_OK) {
        ev.status = cf_buf_check(&batch.bytes, &err);
    }
    if (ev.status != CF_OK) {
        cf_info("replication", "secondary \"%s\": no batch: %s", peer->id, err.message);
    }
    ev.to = batch.to;
    ev.bytes = batch.bytes.size;
    ev.entries = batch.entries;
    size_t cost = cf_max(batch.bytes.size, 4096);
    *budget -= cf_min(*budget, cost);
    step(peer, &ev, &batch);
    cf_buf_done(&batch.bytes);
}

void repl_ship_pump(struct repl_peer *peer, size_t *budget)
{
    while (peer->read_waits && peer->link != NULL) {
        if (rpc_link_queued(peer->link) > rpc_link_queue_max(peer->link) / 4) {
            /* Not deeper than this: heartbeats stand behind it. */
            rpc_link_on_writable(peer->link, on_writable, peer);
            return;
        }
        if (*budget == 0) {
            repl_ship_schedule(peer->primary);
            return;
        }
        read_once(peer, budget);
    }
}

void repl_ship_advanced(struct repl_peer *peer)
{
    struct primary_event ev = {.type = PRIMARY_EV_ADVANCED, .index = peer->primary->applied_index};
    if (peer->core.state == PRIMARY_STREAMING && peer->read_waits) {
        /* A read is due anyway; but when the index was reached has to be known for the lag. */
        struct primary_update update;
        ev.now_ms = repl_now_ms();
        cf_ignore(primary_step(&peer->core, &ev, &update, NULL), "advancing can't fail");
    } else {
        step(peer, &ev, NULL);
    }
}

static cf_status unpack_position(struct cf_slice bytes, struct repl_position *ret,
                                 struct cf_error *err)
{
    return repl_position_decode(bytes, ret, err);
}

void repl_ship_start(struct repl_peer *peer, struct cf_slice message)
{
    CF_OWNED(arena) arena = arena_new(256);
    Coffer__Repl__Start *start;
    struct primary_event ev = {.type = PRIMARY_EV_START};
    struct cf_error err = {0};
    if (message_unpack(coffer__repl__start, message, arena, &start, &err) != CF_OK ||
        unpack_position(message_slice(start->position), &ev.position, &err) != CF_OK) {
        repl_peer_drop(peer, err.message);
        return;
    }
    step(peer, &ev, NULL);
    repl_peer_changed(peer);
    repl_ship_schedule(peer->primary);
}

void repl_ship_ack(struct repl_peer *peer, struct cf_slice message)
{
    CF_OWNED(arena) arena = arena_new(256);
    Coffer__Repl__Ack *ack;
    struct primary_event ev = {.type = PRIMARY_EV_ACK};
    struct cf_error err = {0};
    if (message_unpack(coffer__repl__ack, message, arena, &ack, &err) != CF_OK ||
        unpack_position(message_slice(ack->position), &ev.position, &err) != CF_OK) {
        repl_peer_drop(peer, err.message);
        return;
    }
    ev.seq = ack->seq;
    step(peer, &ev, NULL);
    if (peer->read_waits) {
        repl_ship_schedule(peer->primary);
    }
}

/* ---- snapshots ---- */

void repl_ship_close_snapshot(struct repl_peer *peer)
{
    const struct repl_host *host = &driver_of(peer)->host;
    if (peer->snapshot != 0) {
        host->snapshot_close(host->ctx, peer->primary->kind, peer->snapshot);
        peer->snapshot = 0;
    }
}

static cf_status open_snapshot(struct repl_peer *peer, struct repl_snapshot *ret,
                               struct cf_error *err)
{
    const struct repl_host *host = &driver_of(peer)->host;
    repl_ship_close_snapshot(peer);
    CF_TRY(host->snapshot_open(host->ctx, peer->primary->kind, peer->id, ret, err));
    peer->snapshot = ret->id;
    peer->bootstrap_bytes = 0;
    return CF_OK;
}

void repl_ship_snapshot(struct repl_peer *peer, struct cf_slice request, struct rpc_call *call)
{
    CF_OWNED(arena) arena = arena_new(256);
    Coffer__Repl__SnapshotOpen *open;
    Coffer__Repl__Snapshot answer = COFFER__REPL__SNAPSHOT__INIT;
    struct repl_position_bytes room;
    struct cf_error err = {0};
    cf_status status = message_unpack(coffer__repl__snapshot_open, request, arena, &open, &err);
    if (status == CF_OK && peer->core.state != PRIMARY_BOOTSTRAPPING) {
        status = cf_fail(&err, CF_INVALID, "no snapshot was offered");
    }
    bool resume = status == CF_OK && open->resume != 0 && open->resume == peer->snapshot;
    if (status == CF_OK && !resume) {
        status = open_snapshot(peer, &peer->opened, &err);
    }
    struct primary_event ev = {.type = PRIMARY_EV_SNAPSHOT, .position = peer->opened.position};
    struct primary_update update;
    if (status == CF_OK) {
        status = primary_step(&peer->core, &ev, &update, &err);
    }
    if (status == CF_OK) {
        status = send_keyring(peer, peer->opened.keyring_version, &err);
    }
    if (status != CF_OK) {
        rpc_fail(call, &err);
        return;
    }
    peer->snapshot_used_us = loop_now_us();
    answer.id = peer->opened.id;
    answer.position = repl_position_bytes(&peer->opened.position, &room);
    answer.keys = peer->opened.keys;
    answer.size = peer->opened.bytes;
    repl_answer(call, &answer.base);
}

static cf_status query_page(struct repl_peer *peer, const Coffer__Repl__PageRequest *request,
                            struct repl_page_query *ret, struct cf_error *err)
{
    if (peer->snapshot == 0 || request->id != peer->snapshot ||
        peer->core.state != PRIMARY_BOOTSTRAPPING) {
        return cf_fail(err, CF_NOT_FOUND, "that snapshot is gone");
    }
    if (request->cursor.len > REPL_CURSOR_MAX || request->until.len > REPL_CURSOR_MAX) {
        return cf_fail(err, CF_INVALID, "a cursor of %zu bytes",
                       cf_max(request->cursor.len, request->until.len));
    }
    *ret = (struct repl_page_query){.snapshot = peer->snapshot,
                                    .cursor = message_slice(request->cursor),
                                    .until = message_slice(request->until),
                                    .hash = message_slice(request->hash),
                                    .max_bytes = driver_of(peer)->page_bytes};
    return CF_OK;
}

/* The link may be gone by now, and with it the peer. */
static void on_page_read(void *arg, cf_status status, const struct repl_page *page,
                         const struct cf_error *err)
{
    struct rpc_call *call = arg;
    Coffer__Repl__Page answer = COFFER__REPL__PAGE__INIT;
    struct cf_error why = {0};
    struct rpc_link *link = rpc_call_link(call);
    struct repl_peer *peer = link != NULL ? repl_streaming_peer(link) : NULL;
    if (status == CF_OK && !page->done && page->next.size == 0) {
        err = &why;
        status = cf_fail(&why, CF_INTERNAL, "a snapshot that does not go on");
    }
    if (status != CF_OK) {
        rpc_fail(call, err);
        return;
    }
    if (peer != NULL) {
        peer->snapshot_used_us = loop_now_us();
        peer->bootstrap_bytes += page->size;
    }
    answer.keys = page->keys;
    answer.size = page->size;
    answer.same = page->same;
    answer.done = page->done;
    answer.data = message_bytes(cf_buf_slice(&page->data));
    answer.next = message_bytes(cf_buf_slice(&page->next));
    repl_answer(call, &answer.base);
}

void repl_ship_page(struct repl_peer *peer, struct cf_slice request, struct rpc_call *call)
{
    CF_OWNED(arena) arena = arena_new(4096);
    const struct repl_host *host = &driver_of(peer)->host;
    Coffer__Repl__PageRequest *wanted;
    struct repl_page_query query;
    struct cf_error err = {0};
    if (message_unpack(coffer__repl__page_request, request, arena, &wanted, &err) != CF_OK ||
        query_page(peer, wanted, &query, &err) != CF_OK) {
        rpc_fail(call, &err);
        return;
    }
    peer->snapshot_used_us = loop_now_us();
    host->snapshot_read(host->ctx, peer->primary->kind, &query, on_page_read, call);
}

/* ---- heartbeats ---- */

static void fill_heartbeat(struct repl_peer *peer, Coffer__Repl__Heartbeat *message,
                           struct repl_address_list lists[2], struct repl_texts texts[2],
                           struct repl_position_bytes *room)
{
    struct repl_driver *driver = driver_of(peer);
    const struct repl_host *host = &driver->host;
    struct primary_lag lag = primary_lag(&peer->core, repl_now_ms());
    struct repl_position applied = {0};
    int64_t stamp_ns;
    lists[0].count = lists[1].count = 0;
    host->own_addresses(host->ctx, peer->primary->kind, &lists[0]);
    host->peer_addresses(host->ctx, peer->primary->kind, &lists[1]);
    host->applied(host->ctx, peer->primary->kind, &applied, &stamp_ns);
    repl_texts_of(&lists[0], &texts[0]);
    repl_texts_of(&lists[1], &texts[1]);
    message->wall_ns = repl_wall_ns(driver);
    message->position = repl_position_bytes(&applied, room);
    message->n_addresses = lists[0].count;
    message->addresses = texts[0].data;
    message->n_peers = lists[1].count;
    message->peers = texts[1].data;
    message->lag_entries = lag.entries;
    message->lag_bytes = lag.bytes;
    message->lag_ms = lag.ms;
}

static void learn(struct repl_peer *peer, const Coffer__Repl__Heartbeat *message)
{
    static const struct repl_address_list none;
    const struct repl_host *host = &driver_of(peer)->host;
    struct repl_address_list addresses;
    repl_addresses_read(message->n_addresses, message->addresses, &addresses);
    if (!repl_addresses_equal(&addresses, &peer->addresses)) {
        peer->addresses = addresses;
        host->learned(host->ctx, peer->primary->kind, peer->id, &addresses, &none);
    }
}

void repl_ship_heartbeat(struct repl_peer *peer, struct cf_slice request, struct rpc_call *call)
{
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Heartbeat *theirs;
    Coffer__Repl__Heartbeat ours = COFFER__REPL__HEARTBEAT__INIT;
    struct repl_address_list lists[2];
    struct repl_texts texts[2];
    struct repl_position_bytes room;
    struct cf_error err = {0};
    if (message_unpack(coffer__repl__heartbeat, request, arena, &theirs, &err) != CF_OK) {
        rpc_fail(call, &err);
        return;
    }
    learn(peer, theirs);
    peer->status.last_heartbeat_ns = repl_wall_ns(driver_of(peer));
    fill_heartbeat(peer, &ours, lists, texts, &room);
    repl_answer(call, &ours.base);
}

static void on_heartbeat(void *arg, const struct rpc_result *result)
{
    struct repl_peer *peer = arg;
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Heartbeat *theirs;
    peer->heartbeat = NULL;
    if (result->status == CF_OK &&
        message_unpack(coffer__repl__heartbeat, result->response, arena, &theirs, NULL) == CF_OK) {
        repl_heartbeat_note(driver_of(peer), &peer->status, peer->heartbeat_sent_us,
                            theirs->wall_ns);
        learn(peer, theirs);
    }
}

static void send_heartbeat(struct repl_peer *peer)
{
    Coffer__Repl__Heartbeat message = COFFER__REPL__HEARTBEAT__INIT;
    struct repl_address_list lists[2];
    struct repl_texts texts[2];
    struct repl_position_bytes room;
    CF_BUF(bytes) = {0};
    if (peer->heartbeat != NULL) {
        return; /* the last one is still on its way: the link's own keep-alive judges that */
    }
    fill_heartbeat(peer, &message, lists, texts, &room);
    message_pack(&message.base, &bytes);
    peer->heartbeat_sent_us = loop_now_us();
    cf_ignore(rpc_link_call(peer->link, RPC_REPL_HEARTBEAT, cf_buf_slice(&bytes),
                            loop_now_us() + REPL_ANSWER_US, on_heartbeat, peer, &peer->heartbeat,
                            NULL),
              "a full or closed link says so itself");
}

void repl_ship_tick(struct repl_peer *peer)
{
    struct primary_event ev = {.type = PRIMARY_EV_TICK, .now_ms = repl_now_ms()};
    struct primary_update update;
    struct cf_error err = {0};
    if (peer->link == NULL) {
        if (peer->snapshot != 0 && loop_now_us() - peer->snapshot_used_us > SNAPSHOT_KEPT_US) {
            repl_ship_close_snapshot(peer);
        }
        return;
    }
    cf_ignore(primary_step(&peer->core, &ev, &update, NULL), "a tick can't fail");
    if (update.send && send_batch(peer, &update, NULL, &err) != CF_OK) {
        repl_peer_drop(peer, err.message);
        return;
    }
    if (peer->keyring_due && peer->core.state == PRIMARY_STREAMING &&
        send_keyring(peer, 0, &err) != CF_OK) {
        repl_peer_drop(peer, err.message);
        return;
    }
    if (update.heartbeat) {
        send_heartbeat(peer);
    }
}
