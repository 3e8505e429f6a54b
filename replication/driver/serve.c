/* replication/driver/serve.c: a primary's side of connections: who may, hello, claims, calls. */
#include <assert.h>
#include <stdio.h>

#include "node/base/log.h"
#include "replication/driver/driver_int.h"

#define CAME_BACK_US ((uint64_t)600 * 1000000)

struct repl_reply {
    struct rpc_call *call;
};

static const char *alpn_of(enum repl_kind kind)
{
    return kind == REPL_DR ? TLS_ALPN_DR : TLS_ALPN_PERF;
}

static struct repl_peer *find_peer(const struct repl_primary *primary, const char *id)
{
    cf_list_for (at, &primary->peers) {
        struct repl_peer *peer = cf_container(at, struct repl_peer, in_primary);
        if (strcmp(peer->id, id) == 0) {
            return peer;
        }
    }
    return NULL;
}

static struct repl_peer *peer_of(struct repl_primary *primary, const char *id)
{
    struct repl_peer *peer = find_peer(primary, id);
    if (peer == NULL) {
        peer = cf_new(struct repl_peer);
        peer->primary = primary;
        peer->public_key.max = REPL_PUBLIC_KEY_MAX;
        (void)snprintf(peer->id, sizeof(peer->id), "%s", id);
        (void)snprintf(peer->status.id, sizeof(peer->status.id), "%s", id);
        primary_init(&peer->core);
        cf_list_add_tail(&primary->peers, &peer->in_primary);
        primary->peer_count++;
    }
    return peer;
}

void repl_peer_changed(struct repl_peer *peer)
{
    const struct repl_host *host = &peer->primary->driver->host;
    host->peer_changed(host->ctx, peer->primary->kind);
}

/* The stream ends here; its link, if it is still up, carries nothing any more. */
static void detach(struct repl_peer *peer, const char *why)
{
    struct primary_event lost = {.type = PRIMARY_EV_LOST, .now_ms = repl_now_ms()};
    struct primary_update update;
    if (peer->link == NULL) {
        return;
    }
    if (peer->heartbeat != NULL) {
        rpc_cancel(peer->heartbeat);
        peer->heartbeat = NULL;
    }
    rpc_link_on_writable(peer->link, NULL, NULL);
    peer->link = NULL;
    peer->read_waits = false;
    peer->snapshot_used_us = loop_now_us();
    cf_ignore(primary_step(&peer->core, &lost, &update, NULL), "losing a link can't fail");
    peer->status.connected = false;
    peer->status.connected_us = loop_now_us();
    peer->status.since_ns = repl_wall_ns(peer->primary->driver);
    (void)snprintf(peer->status.error, sizeof(peer->status.error), "%s", why);
    repl_peer_changed(peer);
}

void repl_peer_drop(struct repl_peer *peer, const char *why)
{
    struct rpc_link *link = peer->link;
    if (link != NULL) {
        cf_info("replication", "%s secondary \"%s\": stream closed: %s",
                repl_kind_name(peer->primary->kind), peer->id, why);
        detach(peer, why);
        rpc_link_close(link, why);
    }
}

/* ---- connections ---- */

static cf_status authorise(void *ctx, const struct rpc_peer *peer, struct cf_error *err)
{
    const struct repl_slot *slot = ctx;
    const struct repl_host *host = &slot->driver->host;
    if (slot->primary == NULL) {
        return cf_fail(err, CF_UNAVAILABLE, "this cluster is not a %s primary",
                       repl_kind_name(slot->kind));
    }
    if (strcmp(peer->identity.role, IDENTITY_SECONDARY) != 0) {
        return cf_fail(err, CF_DENIED, "not the certificate of a secondary");
    }
    return host->authorise(host->ctx, slot->kind, peer->identity.id, peer->fingerprint, err);
}

static void on_up(void *ctx, struct rpc_link *link)
{
    const struct repl_slot *slot = ctx;
    struct repl_channel *channel = cf_new(struct repl_channel);
    channel->type = CHANNEL_ACCEPTED;
    channel->kind = slot->kind;
    rpc_link_set_user(link, channel);
}

static void on_down(void *ctx, struct rpc_link *link, const struct cf_error *why)
{
    const struct repl_slot *slot = ctx;
    struct repl_channel *channel = rpc_link_user(link);
    struct repl_peer *peer = slot->primary != NULL ? channel->owner : NULL;
    if (peer != NULL && peer->link == link) {
        cf_info("replication", "%s secondary \"%s\": connection lost: %s",
                repl_kind_name(slot->kind), peer->id, why->message);
        detach(peer, why->message);
    }
    rpc_link_set_user(link, NULL);
    cf_free(channel);
}

/* ---- hello ---- */

struct hello {
    struct repl_lineage own, theirs;
    struct repl_position position;
    const Coffer__Repl__Hello *message;
    struct cf_buf proof, lineage, keyring; /* of the answer */
};

static cf_status read_hello(const Coffer__Repl__Hello *message, struct hello *ret,
                            struct cf_error *err)
{
    if (message->proof.len > REPL_PROOF_MAX || message->public_key.len > REPL_PUBLIC_KEY_MAX ||
        message->n_addresses > REPL_ADDRESSES_MAX) {
        return cf_fail(err, CF_INVALID, "an oversize hello");
    }
    ret->message = message;
    CF_TRY(repl_lineage_decode(message_slice(message->lineage), &ret->theirs, err));
    return repl_position_decode(message_slice(message->position), &ret->position, err);
}

static bool is_newer(const struct repl_lineage *own, const struct repl_lineage *theirs)
{
    enum repl_relation relation = repl_lineage_compare(own, theirs, NULL);
    return relation == REPL_OURS_OLDER || relation == REPL_DIVERGED_LOST;
}

static bool proved(const struct repl_slot *slot, const struct repl_lineage *own,
                   const struct repl_lineage *theirs, struct cf_slice proof)
{
    const struct repl_host *host = &slot->driver->host;
    return is_newer(own, theirs) && host->claim_verify(host->ctx, slot->kind, theirs, proof);
}

static void note_peer(struct repl_peer *peer, struct rpc_link *link, const struct hello *hello)
{
    const struct rpc_peer *is = rpc_link_peer(link);
    const struct repl_host *host = &peer->primary->driver->host;
    struct repl_address_list addresses;
    struct repl_peer_status *status = &peer->status;
    (void)snprintf(status->api_address, sizeof(status->api_address), "%s", is->api_address);
    (void)snprintf(status->cluster_address, sizeof(status->cluster_address), "%s",
                   is->cluster_address);
    (void)snprintf(status->version, sizeof(status->version), "%s", is->version);
    status->feature_level = is->level;
    cf_buf_reset(&peer->public_key);
    cf_buf_add_slice(&peer->public_key, message_slice(hello->message->public_key));
    repl_addresses_read(hello->message->n_addresses, hello->message->addresses, &addresses);
    if (!repl_addresses_equal(&addresses, &peer->addresses)) {
        static const struct repl_address_list none;
        peer->addresses = addresses;
        host->learned(host->ctx, peer->primary->kind, peer->id, &addresses, &none);
    }
}

/* The active node of a secondary changed, or its old connection is a corpse: one stream each. */
static void attach(struct repl_peer *peer, struct rpc_link *link)
{
    struct repl_channel *channel = rpc_link_user(link);
    if (peer->link != NULL && peer->link != link) {
        repl_peer_drop(peer, "replaced by a newer connection");
    }
    if (peer->link == NULL) {
        peer->link = link;
        rpc_link_window(link, REPL_WINDOW);
        peer->status.connected = true;
        peer->status.since_ns = repl_wall_ns(peer->primary->driver);
        peer->status.error[0] = '\0';
    }
    channel->owner = peer;
}

static void fence_or_alarm(const struct repl_slot *slot, const struct primary_update *update,
                           const struct hello *hello, const char *id)
{
    const struct repl_host *host = &slot->driver->host;
    char text[256];
    if (update->fence) {
        host->fence(host->ctx, slot->kind, &hello->theirs, message_slice(hello->message->proof),
                    id);
    }
    if (update->alarm) {
        (void)snprintf(text, sizeof(text),
                       "secondary \"%s\" claims epoch %u without proof; its connection was closed",
                       id, repl_lineage_current(&hello->theirs).number);
        host->alarm(host->ctx, slot->kind, text);
    }
}

static void answer_hello(const struct repl_slot *slot, struct rpc_call *call,
                         enum repl_verdict verdict, const char *text, const char *redirect,
                         struct hello *hello)
{
    const struct repl_host *host = &slot->driver->host;
    struct repl_address_list own = {0}, peers = {0};
    struct repl_texts own_texts, peer_texts;
    struct repl_position applied = {0};
    struct repl_position_bytes room;
    ProtobufCBinaryData *own_data = own_texts.data, *peer_data = peer_texts.data;
    Coffer__Repl__HelloAnswer answer = COFFER__REPL__HELLO_ANSWER__INIT;
    int64_t stamp_ns;
    host->own_addresses(host->ctx, slot->kind, &own);
    host->peer_addresses(host->ctx, slot->kind, &peers);
    host->applied(host->ctx, slot->kind, &applied, &stamp_ns);
    repl_texts_of(&own, &own_texts);
    repl_texts_of(&peers, &peer_texts);
    repl_lineage_encode(&hello->own, &hello->lineage);
    host->claim_sign(host->ctx, slot->kind, &hello->proof);
    answer.features = REPL_FEATURES;
    answer.verdict = (uint32_t)verdict;
    answer.message = message_bytes(cf_slice_str(text));
    answer.redirect = message_bytes(cf_slice_str(redirect));
    answer.lineage = message_bytes(cf_buf_slice(&hello->lineage));
    answer.proof = message_bytes(cf_buf_slice(&hello->proof));
    answer.keyring = message_bytes(cf_buf_slice(&hello->keyring));
    answer.position = repl_position_bytes(&applied, &room);
    answer.n_addresses = own.count;
    answer.addresses = own_data;
    answer.n_peers = peers.count;
    answer.peers = peer_data;
    repl_answer(call, &answer.base);
}

static bool knows(const struct repl_slot *slot, const struct hello *hello, const char *id)
{
    const struct repl_host *host = &slot->driver->host;
    return hello->position.index != 0 && repl_lineage_includes(&hello->own, &hello->position) &&
           host->position_known(host->ctx, slot->kind, id, &hello->position);
}

/* A secondary that may be here, on a node that may serve. */
static void greet(struct repl_slot *slot, struct rpc_link *link, struct hello *hello,
                  struct rpc_call *call)
{
    struct repl_driver *driver = slot->driver;
    const struct repl_host *host = &driver->host;
    struct repl_peer *peer = peer_of(slot->primary, rpc_link_peer(link)->identity.id);
    struct repl_position applied = {0};
    struct primary_update update;
    struct cf_error err = {0};
    int64_t stamp_ns;
    attach(peer, link);
    note_peer(peer, link, hello);
    host->applied(host->ctx, slot->kind, &applied, &stamp_ns);
    struct primary_event ev = {
        .type = PRIMARY_EV_HELLO,
        .now_ms = repl_now_ms(),
        .own = &hello->own,
        .theirs = &hello->theirs,
        .verified = proved(slot, &hello->own, &hello->theirs, message_slice(hello->message->proof)),
        .position = hello->position,
        .index = applied.index,
    };
    ev.known = knows(slot, hello, peer->id);
    cf_ignore(primary_step(&peer->core, &ev, &update, &err), "the verdict and its text are sent");
    fence_or_alarm(slot, &update, hello, peer->id);
    peer->keyring_due = false;
    if ((update.verdict == REPL_STREAM || update.verdict == REPL_BOOTSTRAP) &&
        repl_ship_keyring(peer, &hello->keyring, &peer->keyring_version, &err) != CF_OK) {
        update.verdict = REPL_REFUSED;
        update.close = true;
    }
    if (update.verdict == REPL_STREAM) {
        repl_ship_close_snapshot(peer);
    }
    cf_info("replication", "%s secondary \"%s\": %s", repl_kind_name(slot->kind), peer->id,
            update.verdict == REPL_STREAM      ? "streams"
            : update.verdict == REPL_BOOTSTRAP ? "needs a snapshot"
                                               : err.message);
    answer_hello(slot, call, update.verdict, err.message, "", hello);
    repl_peer_changed(peer);
    if (update.close) {
        detach(peer, err.message); /* the secondary closes when it has read the answer */
    }
}

static void hello_done(struct hello *hello)
{
    cf_buf_done(&hello->proof);
    cf_buf_done(&hello->lineage);
    cf_buf_done(&hello->keyring);
    cf_free(hello);
}

static uint64_t draw_of(const char *id)
{
    uint64_t draw = 14695981039346656037u; /* FNV-1a */
    for (; *id != '\0'; id++) {
        draw = (draw ^ (uint8_t)*id) * 1099511628211u;
    }
    return draw;
}

static struct place_question place_question(const struct repl_places *places, const char *id)
{
    return (struct place_question){
        .is_active = places->is_active,
        .may_serve = places->may_serve,
        .active_known = places->active[0] != '\0',
        .draw = draw_of(id),
        .holds_to = places->holds_to,
        .count = places->standby_count,
    };
}

/* Here, or where the answer is to send it ("" and false: nobody may). */
static bool placed_here(struct repl_slot *slot, const struct repl_places *places,
                        const struct hello *hello, const char *id, char redirect[REPL_ADDRESS_SIZE])
{
    struct place_question question = place_question(places, id);
    struct repl_epoch current = repl_lineage_current(&hello->own);
    size_t standby = 0;
    const struct repl_peer *peer = find_peer(slot->primary, id);
    question.tried = peer != NULL ? place_tried(&peer->sent, &hello->position, repl_now_ms()) : 0;
    question.holds = hello->position.index == 0 || knows(slot, hello, id);
    question.index = repl_epoch_equal(&current, &hello->position.epoch) ? hello->position.index : 0;
    redirect[0] = '\0';
    if (is_newer(&hello->own, &hello->theirs)) {
        /* A node that may not serve still has to hear that it was replaced: where that can be
         * committed, or here when nobody knows where. */
        memcpy(redirect, places->active, REPL_ADDRESS_SIZE);
        return places->is_active || redirect[0] == '\0';
    }
    if (places->may_serve && hello->message->resume != 0 && peer != NULL &&
        peer->snapshot == hello->message->resume) {
        return true; /* no other node has it */
    }
    switch (place_decide(&question, &standby)) {
    case PLACE_HERE:
        return true;
    case PLACE_ACTIVE:
        memcpy(redirect, places->active, REPL_ADDRESS_SIZE);
        break;
    case PLACE_STANDBY:
        memcpy(redirect, places->standbys[standby], REPL_ADDRESS_SIZE);
        place_send(&peer_of(slot->primary, id)->sent, &hello->position, question.tried, repl_now_ms());
        break;
    case PLACE_NOWHERE:
        break;
    }
    return false;
}

void repl_serve_hello(struct repl_slot *slot, struct rpc_link *link, struct cf_slice request,
                      struct rpc_call *call)
{
    const struct repl_host *host = &slot->driver->host;
    const char *id = rpc_link_peer(link)->identity.id;
    CF_OWNED(arena) arena = arena_new(4096);
    struct hello *hello = cf_new(struct hello); /* two lineages are large for a stack */
    struct repl_places *places = arena_new_object(arena, struct repl_places);
    Coffer__Repl__Hello *message;
    struct cf_error err = {0};
    char redirect[REPL_ADDRESS_SIZE];
    cf_buf_init_secret(&hello->keyring, REPL_KEYRING_MAX);
    hello->proof.max = REPL_PROOF_MAX;
    if (message_unpack(coffer__repl__hello, request, arena, &message, &err) != CF_OK ||
        read_hello(message, hello, &err) != CF_OK) {
        rpc_fail(call, &err);
        hello_done(hello);
        return;
    }
    host->lineage(host->ctx, slot->kind, &hello->own);
    host->places(host->ctx, slot->kind, places);
    if (slot->primary->peer_count >= REPL_PEERS_MAX) {
        repl_refuse(call, CF_BUSY, "too many secondaries");
    } else if (!placed_here(slot, places, hello, id, redirect)) {
        answer_hello(slot, call, REPL_REDIRECT, "another node serves", redirect, hello);
    } else {
        greet(slot, link, hello, call);
    }
    hello_done(hello);
}

/* ---- claims and calls ---- */

static void judge_claim(struct repl_slot *slot, const char *id, struct hello *hello,
                        struct cf_slice proof, struct rpc_call *call)
{
    const struct repl_host *host = &slot->driver->host;
    Coffer__Repl__ClaimAnswer answer = COFFER__REPL__CLAIM_ANSWER__INIT;
    char text[256] = "";
    struct repl_places places = {0};
    host->places(host->ctx, slot->kind, &places);
    if (!places.is_active && places.active[0] != '\0') {
        answer.redirect = message_bytes(cf_slice_str(places.active));
        repl_answer(call, &answer.base);
        return;
    }
    host->lineage(host->ctx, slot->kind, &hello->own);
    struct fence_claim claim = {&hello->theirs, proved(slot, &hello->own, &hello->theirs, proof)};
    switch (fence_decide(&hello->own, FENCE_PRIMARY, &claim)) {
    case FENCE_FENCE:
        host->fence(host->ctx, slot->kind, &hello->theirs, proof, id);
        answer.fenced = true;
        (void)snprintf(text, sizeof(text), "fenced: epoch %u is newer",
                       repl_lineage_current(&hello->theirs).number);
        break;
    case FENCE_ALARM:
        (void)snprintf(text, sizeof(text), "secondary \"%s\" claims epoch %u without proof", id,
                       repl_lineage_current(&hello->theirs).number);
        host->alarm(host->ctx, slot->kind, text);
        (void)snprintf(slot->primary->close_next, sizeof(slot->primary->close_next), "%s", id);
        repl_refuse(call, CF_DENIED, "the claim is not proved");
        return;
    case FENCE_IGNORE:
    case FENCE_ADOPT:
        (void)snprintf(text, sizeof(text), "nothing newer: this cluster is at epoch %u",
                       repl_lineage_current(&hello->own).number);
        break;
    }
    answer.message = message_bytes(cf_slice_str(text));
    repl_answer(call, &answer.base);
}

void repl_serve_claim(struct repl_slot *slot, struct rpc_link *link, struct cf_slice request,
                      struct rpc_call *call)
{
    CF_OWNED(arena) arena = arena_new(4096);
    struct hello *hello = cf_new(struct hello);
    Coffer__Repl__Claim *message;
    struct cf_error err = {0};
    if (message_unpack(coffer__repl__claim, request, arena, &message, &err) != CF_OK ||
        repl_lineage_decode(message_slice(message->lineage), &hello->theirs, &err) != CF_OK) {
        rpc_fail(call, &err);
    } else if (message->proof.len > REPL_PROOF_MAX) {
        repl_refuse(call, CF_INVALID, "an oversize proof");
    } else {
        judge_claim(slot, rpc_link_peer(link)->identity.id, hello, message_slice(message->proof),
                    call);
    }
    hello_done(hello);
}

void repl_serve_call(struct repl_slot *slot, struct rpc_link *link, struct cf_slice request,
                     struct rpc_call *call)
{
    const struct repl_host *host = &slot->driver->host;
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Call *message;
    struct cf_error err = {0};
    if (message_unpack(coffer__repl__call, request, arena, &message, &err) != CF_OK) {
        rpc_fail(call, &err);
        return;
    }
    struct repl_reply *reply = repl_reply_new(call);
    host->serve_call(host->ctx, slot->kind, rpc_link_peer(link)->identity.id,
                     message_slice(message->data), rpc_call_deadline(call), reply);
}

struct repl_reply *repl_reply_new(struct rpc_call *call)
{
    struct repl_reply *reply = cf_new(struct repl_reply);
    reply->call = call;
    return reply;
}

static void answer_call(struct repl_reply *reply, const Coffer__Repl__CallAnswer *answer)
{
    repl_answer(reply->call, &answer->base);
    cf_free(reply);
}

void repl_reply_ok(struct repl_reply *reply, struct cf_slice bytes)
{
    Coffer__Repl__CallAnswer answer = COFFER__REPL__CALL_ANSWER__INIT;
    answer.data = message_bytes(bytes);
    answer_call(reply, &answer);
}

void repl_reply_fail(struct repl_reply *reply, const struct cf_error *err)
{
    rpc_fail(reply->call, err);
    cf_free(reply);
}

void repl_reply_not_leader(struct repl_reply *reply, const char *leader)
{
    Coffer__Repl__CallAnswer answer = COFFER__REPL__CALL_ANSWER__INIT;
    answer.not_leader = true;
    answer.leader = message_bytes(cf_slice_str(leader));
    answer_call(reply, &answer);
}

/* ---- life ---- */

/* What this node serves although a standby could: one at a time, so that they don't all dial at once. */
static void move_one(struct repl_primary *primary, const struct repl_places *places)
{
    uint64_t now = loop_now_us();
    primary->fit_since_us = places->standby_count == 0     ? 0
                            : primary->fit_since_us != 0 ? primary->fit_since_us
                                                         : now;
    uint64_t fit_for_ms = primary->fit_since_us != 0 ? (now - primary->fit_since_us) / 1000 : 0;
    cf_list_for_safe (at, &primary->peers) {
        struct repl_peer *peer = cf_container(at, struct repl_peer, in_primary);
        struct place_question question = place_question(places, peer->id);
        question.index = peer->core.acked.index;
        /* Who was sent away and is here again has found that no standby will do. */
        bool came_back = peer->sent.at_ms != 0 && repl_now_ms() - peer->sent.at_ms < CAME_BACK_US / 1000;
        if (peer->link != NULL && peer->core.state == PRIMARY_STREAMING && !came_back &&
            place_moves(&question, fit_for_ms)) {
            repl_peer_drop(peer, "a standby serves it from now on");
            return;
        }
    }
}

static void on_timer(void *arg)
{
    struct repl_primary *primary = arg;
    const struct repl_host *host = &primary->driver->host;
    struct repl_places places = {0};
    host->places(host->ctx, primary->kind, &places);
    cf_list_for_safe (at, &primary->peers) {
        struct repl_peer *peer = cf_container(at, struct repl_peer, in_primary);
        if (!places.may_serve) {
            repl_peer_drop(peer, "this node may not serve a stream now");
        }
        peer->core.entry_bytes = places.entry_bytes;
        peer->core.silent_ms = places.silent_ms;
        repl_ship_tick(peer);
    }
    if (primary->close_next[0] != '\0') {
        /* It has had its answer. What else that certificate has open goes, too. */
        (void)repl_primary_close(primary, primary->close_next, "claimed a newer epoch without proof");
        primary->close_next[0] = '\0';
    }
    move_one(primary, &places);
    loop_timer_set_in(primary->timer, REPL_TICK_US);
}

static void on_task(void *arg)
{
    struct repl_primary *primary = arg;
    primary->task_queued = false;
    if (primary->freed) {
        cf_free(primary);
        return;
    }
    size_t budget = (size_t)4 << 20; /* a pass: the main loop has other things to do */
    cf_list_for (at, &primary->peers) {
        struct repl_peer *peer = cf_container(at, struct repl_peer, in_primary);
        repl_ship_advanced(peer);
        repl_ship_pump(peer, &budget);
    }
}

cf_status repl_primary_set_tls(struct repl_primary *primary, const struct node_tls *tls,
                               struct cf_error *err)
{
    struct repl_slot *slot = &primary->driver->slots[primary->kind];
    struct rpc_serving serving = {.alpn = alpn_of(primary->kind),
                                  .who = primary->kind == REPL_DR ? RPC_BY_DR : RPC_BY_PERF,
                                  .tls = tls,
                                  .authorise = authorise,
                                  .up = on_up,
                                  .down = on_down,
                                  .ctx = slot,
                                  .dead_us = REPL_SILENT_US};
    return rpc_serve(primary->driver->rpc, &serving, err);
}

cf_status repl_primary_new(struct repl_driver *driver, const struct repl_primary_config *config,
                           struct repl_primary **ret, struct cf_error *err)
{
    assert(driver->slots[config->kind].primary == NULL);
    CF_OWNED(repl_primary) primary = cf_new(struct repl_primary);
    primary->driver = driver;
    primary->kind = config->kind;
    cf_list_init(&primary->peers);
    primary->timer = loop_timer_new(driver->loop, on_timer, primary);
    primary->task.fn = on_task;
    primary->task.arg = primary;
    CF_TRY(repl_primary_set_tls(primary, config->tls, err));
    loop_timer_set_in(primary->timer, REPL_TICK_US);
    driver->slots[config->kind].primary = primary;
    *ret = repl_primary_take(&primary);
    return CF_OK;
}

void repl_primary_free(struct repl_primary *primary)
{
    if (primary == NULL) {
        return;
    }
    struct repl_slot *slot = &primary->driver->slots[primary->kind];
    cf_list_for_safe (at, &primary->peers) {
        struct repl_peer *peer = cf_container(at, struct repl_peer, in_primary);
        repl_peer_drop(peer, "this cluster no longer is the primary");
        repl_ship_close_snapshot(peer);
        cf_buf_done(&peer->public_key);
        cf_free(peer);
    }
    if (slot->primary == primary) {
        rpc_unserve(primary->driver->rpc, alpn_of(primary->kind));
        slot->primary = NULL;
    }
    loop_timer_free(primary->timer);
    primary->freed = true;
    if (!primary->task_queued) {
        cf_free(primary);
    }
}

size_t repl_primary_close(struct repl_primary *primary, const char *id, const char *why)
{
    struct identity wanted = {.role = IDENTITY_SECONDARY};
    cf_list_for (at, &primary->peers) {
        struct repl_peer *peer = cf_container(at, struct repl_peer, in_primary);
        if (peer->link != NULL && (id == NULL || strcmp(peer->id, id) == 0)) {
            detach(peer, why);
        }
        if (id != NULL && strcmp(peer->id, id) == 0) {
            repl_ship_close_snapshot(peer);
        }
    }
    (void)snprintf(wanted.id, sizeof(wanted.id), "%s", id != NULL ? id : "");
    /* Calls and claims of that secondary go, too. */
    return rpc_close_matching(primary->driver->rpc, alpn_of(primary->kind), &wanted, why);
}

void repl_primary_keyring_changed(struct repl_primary *primary)
{
    cf_list_for (at, &primary->peers) {
        cf_container(at, struct repl_peer, in_primary)->keyring_due = true;
    }
}

bool repl_primary_shipped(const struct repl_primary *primary, const char *id, uint64_t index)
{
    const struct repl_peer *peer = find_peer(primary, id);
    return peer != NULL && repl_epoch_equal(&peer->core.acked.epoch, &peer->core.epoch) &&
           peer->core.acked.index >= index;
}

size_t repl_primary_status(const struct repl_primary *primary, struct repl_peer_status *ret,
                           size_t max)
{
    size_t count = 0;
    cf_list_for (at, &primary->peers) {
        const struct repl_peer *peer = cf_container(at, struct repl_peer, in_primary);
        if (count < max) {
            struct primary_lag lag = primary_lag(&peer->core, repl_now_ms());
            struct repl_peer_status *to = &ret[count];
            *to = peer->status;
            to->connected_us = to->connected ? loop_now_us() : to->connected_us;
            to->state = peer->core.state == PRIMARY_STREAMING       ? "stream-wals"
                        : peer->core.state == PRIMARY_BOOTSTRAPPING ? "merkle-sync"
                                                                    : "idle";
            to->position = peer->core.acked;
            to->lag_entries = lag.entries;
            to->lag_bytes = lag.bytes;
            to->lag_ms = lag.ms;
            to->canary_age_ms = (int64_t)lag.ms;
            to->unacknowledged_bytes = peer->core.flight_bytes;
            to->queued_bytes = peer->link != NULL ? rpc_link_queued(peer->link) : 0;
            to->needs = primary_floor(&peer->core);
            to->addresses = peer->addresses;
            to->bootstrap_bytes = peer->bootstrap_bytes;
        }
        count++;
    }
    return count;
}
