/* replication/driver/receive_io.c: what a secondary's core asks for: dialling, messages, the host.
 */
#include <stdio.h>

#include "node/base/log.h"
#include "replication/driver/receive_int.h"

#define TOLD_US ((uint64_t)60 * 1000000)

/* ---- addresses ---- */

void receive_dial_list(const struct repl_secondary *s, const char *preferred, size_t rotation,
                       struct repl_address_list *ret)
{
    struct repl_address_list all = {0};
    const struct repl_address_list *lists[] = {&s->configured, &s->known, &s->peers};
    for (size_t i = 0; i < CF_LENGTH(lists); i++) {
        for (size_t j = 0; j < lists[i]->count; j++) {
            (void)repl_address_add(&all, cf_slice_str(lists[i]->text[j]));
        }
    }
    ret->count = 0;
    (void)repl_address_add(ret, cf_slice_str(preferred));
    for (size_t i = 0; i < all.count; i++) {
        (void)repl_address_add(ret, cf_slice_str(all.text[(i + rotation) % all.count]));
    }
}

void receive_slices(const struct repl_address_list *list, struct cf_slice *ret)
{
    for (size_t i = 0; i < list->count; i++) {
        ret[i] = cf_slice_str(list->text[i]);
    }
}

void receive_note_failure(struct repl_secondary *s, const char *address, const struct cf_error *why)
{
    struct repl_secondary_status *status = &s->status;
    size_t at = 0;
    while (at < status->address_count && strcmp(status->addresses[at].address, address) != 0) {
        at++;
    }
    if (at == status->address_count) { /* the list is full: the oldest go */
        at = at < REPL_ADDRESSES_MAX ? status->address_count++ : 0;
        (void)snprintf(status->addresses[at].address, REPL_ADDRESS_SIZE, "%s", address);
    }
    status->addresses[at].tried_ns = repl_wall_ns(s->driver);
    (void)snprintf(status->addresses[at].last_error, sizeof(status->addresses[at].last_error), "%s",
                   why->message);
}

struct rpc_client_config receive_client_config(const struct repl_secondary *s)
{
    struct rpc_client_config config = {
        .alpn = s->kind == REPL_DR ? TLS_ALPN_DR : TLS_ALPN_PERF,
        .who = s->kind == REPL_DR ? RPC_BY_DR : RPC_BY_PERF,
        .tls = s->tls,
        .expect = {.role = IDENTITY_PRIMARY},
        .backoff_min_us = SECONDARY_BACKOFF_MIN_MS * 1000,
        .backoff_max_us = SECONDARY_BACKOFF_MAX_MS * 1000,
        .dead_us = REPL_SILENT_US,
        .hello_us = REPL_DIAL_US,
    };
    (void)snprintf(config.expect.cluster, sizeof(config.expect.cluster), "%s", s->set_id);
    return config;
}

/* ---- the connection ---- */

static void on_up(void *ctx, struct rpc_link *link)
{
    struct repl_secondary *s = ctx;
    const struct rpc_peer *peer = rpc_link_peer(link);
    struct repl_peer_status *status = &s->status.primary;
    struct receive_item *item = receive_item_new(SECONDARY_EV_CONNECTED);
    s->link = link;
    s->told_us = 0;
    rpc_link_set_user(link, &s->channel);
    rpc_link_window(link, REPL_WINDOW);
    (void)snprintf(status->api_address, sizeof(status->api_address), "%s", peer->api_address);
    (void)snprintf(status->cluster_address, sizeof(status->cluster_address), "%s",
                   peer->cluster_address);
    (void)snprintf(status->version, sizeof(status->version), "%s", peer->version);
    status->feature_level = peer->level;
    status->since_ns = repl_wall_ns(s->driver);
    item->of_link = true;
    receive_push(s, item);
}

static void on_down(void *ctx, struct rpc_link *link, const struct cf_error *why)
{
    struct repl_secondary *s = ctx;
    (void)link;
    s->link = NULL;
    s->status.primary.since_ns = repl_wall_ns(s->driver);
    receive_lost(s, why);
}

/* It was away for too long: only an operator can help. */
static void name_expired(const struct repl_secondary *s, struct cf_error *err)
{
    char uri[IDENTITY_URI_SIZE];
    identity_uri(node_tls_identity(s->tls), uri);
    (void)cf_fail(err, CF_DENIED, "our certificate %s has expired: on the primary revoke \"%.64s\" and make a "
                                  "new token, here give it to update-primary",
                  uri, node_tls_identity(s->tls)->id);
}

static void on_failed(void *ctx, const char *address, const struct cf_error *why)
{
    struct repl_secondary *s = ctx;
    struct cf_error err = *why;
    if (why->status == CF_DENIED && node_tls_not_after_s(s->tls) < repl_wall_ns(s->driver) / 1000000000) {
        name_expired(s, &err);
    }
    receive_note_failure(s, address, &err);
    bool is_silent = why->status == CF_UNAVAILABLE || why->status == CF_TIMEOUT;
    if (is_silent && s->told_us != 0 && loop_now_us() - s->told_us < TOLD_US) {
        return; /* that a node is down does not hide what another one said, such as a revocation */
    }
    s->told_us = is_silent ? 0 : loop_now_us();
    if (strcmp(s->status.error, err.message) != 0) {
        (void)snprintf(s->status.error, sizeof(s->status.error), "%s", err.message);
        cf_info("replication", "%s secondary: %s: %s", repl_kind_name(s->kind), address,
                err.message);
    }
}

void receive_drop_link(struct repl_secondary *s)
{
    if (s->asked != NULL) { /* else its end would be taken for one of the next connection */
        rpc_cancel(s->asked);
        s->asked = NULL;
    }
    if (s->heartbeat != NULL) {
        rpc_cancel(s->heartbeat);
        s->heartbeat = NULL;
    }
    s->link = NULL;
    behind_lost(&s->behind);
    repair_drop(s);
    rpc_client_free(s->client);
    s->client = NULL;
}

static void dial(struct repl_secondary *s)
{
    struct rpc_client_config config = receive_client_config(s);
    struct repl_address_list list;
    struct cf_slice slices[REPL_ADDRESSES_MAX];
    struct cf_error err = {0};
    config.up = on_up;
    config.down = on_down;
    config.failed = on_failed;
    config.ctx = s;
    /* A copy goes on where its snapshot is. */
    receive_load_stage(s);
    bool resumes = s->redirect[0] == '\0' && secondary_stage_of(&s->core).snapshot_id != 0;
    receive_dial_list(s, resumes ? s->copy_address : s->redirect, s->rotation, &list);
    receive_slices(&list, slices);
    s->redirect[0] = '\0';
    s->answer_text[0] = '\0';
    if (list.count == 0) {
        (void)snprintf(s->status.error, sizeof(s->status.error),
                       "no address of a primary is known");
        return; /* repl_secondary_set_addresses goes on */
    }
    if (rpc_client_new(s->driver->rpc, &config, slices, list.count, &s->client, &err) != CF_OK) {
        s->client = NULL;
        receive_lost(s, &err);
    }
}

/* ---- requests to the primary ---- */

/* An answer that failed closes the stream, except where the core wants to know the status. */
static void ask(struct repl_secondary *s, enum rpc_id id, const ProtobufCMessage *message,
                rpc_done_fn fn)
{
    CF_BUF(bytes) = {0};
    struct cf_error err = {0};
    message_pack(message, &bytes);
    if (s->link == NULL ||
        rpc_link_call(s->link, id, cf_buf_slice(&bytes), loop_now_us() + REPL_ANSWER_US, fn, s,
                      &s->asked, &err) != CF_OK) {
        receive_lost(s, &err);
    }
}

static void learn(struct repl_secondary *s, size_t n_addresses,
                  const ProtobufCBinaryData *addresses, size_t n_peers,
                  const ProtobufCBinaryData *peers)
{
    const struct repl_host *host = &s->driver->host;
    struct repl_address_list known, others;
    repl_addresses_read(n_addresses, addresses, &known);
    repl_addresses_read(n_peers, peers, &others);
    if (known.count > 0 &&
        (!repl_addresses_equal(&known, &s->known) || !repl_addresses_equal(&others, &s->peers))) {
        s->known = known;
        s->peers = others;
        call_addresses(s);
        host->learned(host->ctx, s->kind, "", &known, &others);
    }
}

static cf_status read_answer(struct repl_secondary *s, struct cf_slice bytes,
                             struct receive_item *item, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__HelloAnswer *answer;
    struct cf_slice redirect;
    CF_TRY(message_unpack(coffer__repl__hello_answer, bytes, arena, &answer, err));
    CF_TRY(repl_lineage_decode(message_slice(answer->lineage), &s->theirs, err));
    CF_TRY(repl_position_decode(message_slice(answer->position), &s->status.remote, err));
    if (answer->keyring.len > REPL_KEYRING_MAX || answer->proof.len > REPL_PROOF_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "an oversize answer to the hello");
    }
    item->ev.verdict = (enum repl_verdict)answer->verdict;
    if (repl_address_plain(message_slice(answer->redirect), &redirect)) {
        item->ev.has_redirect = true;
        (void)snprintf(s->redirect, sizeof(s->redirect), "%.*s", CF_SHOW(redirect));
    }
    (void)snprintf(s->answer_text, sizeof(s->answer_text), "%.*s",
                   CF_SHOW(cf_slice_first(message_slice(answer->message), 255)));
    cf_buf_reset(&s->proof);
    cf_buf_add_slice(&s->proof, message_slice(answer->proof));
    if (answer->keyring.len > 0) {
        item->ev.has_keyring = true;
        cf_buf_done(&s->keyring);
        cf_buf_init_secret(&s->keyring, REPL_KEYRING_MAX);
        cf_buf_add_slice(&s->keyring, message_slice(answer->keyring));
    }
    if (answer->verdict == REPL_STREAM || answer->verdict == REPL_BOOTSTRAP) {
        learn(s, answer->n_addresses, answer->addresses, answer->n_peers, answer->peers);
    }
    return CF_OK;
}

static void on_answer(void *arg, const struct rpc_result *result)
{
    struct repl_secondary *s = arg;
    const struct repl_host *host = &s->driver->host;
    struct receive_item *item = receive_item_new(SECONDARY_EV_ANSWER);
    struct cf_error err = *result->err;
    s->asked = NULL;
    if (result->status != CF_OK || read_answer(s, result->response, item, &err) != CF_OK) {
        receive_item_free(item);
        receive_lost(s, &err);
        return;
    }
    enum repl_relation relation = repl_lineage_compare(&s->own, &s->theirs, NULL);
    item->ev.verified = (relation == REPL_OURS_OLDER || relation == REPL_DIVERGED_LOST) &&
                        host->claim_verify(host->ctx, s->kind, &s->theirs, cf_buf_slice(&s->proof));
    item->ev.position = s->hello_position;
    item->ev.own = &s->own;
    item->ev.has_data = host->has_data(host->ctx, s->kind);
    item->ev.theirs = &s->theirs;
    item->of_link = true;
    receive_push(s, item);
}

static void say_hello(struct repl_secondary *s)
{
    const struct repl_host *host = &s->driver->host;
    Coffer__Repl__Hello hello = COFFER__REPL__HELLO__INIT;
    struct repl_address_list addresses = {0};
    struct repl_texts texts;
    struct repl_position_bytes room;
    struct cf_error err = {0};
    CF_BUF(lineage) = {0};
    CF_BUF(proof) = {.max = REPL_PROOF_MAX};
    CF_BUF(public_key) = {.max = REPL_PUBLIC_KEY_MAX};
    if (host->last_position(host->ctx, s->kind, &s->hello_position, &err) != CF_OK) {
        receive_lost(s, &err);
        return;
    }
    host->lineage(host->ctx, s->kind, &s->own);
    repl_lineage_encode(&s->own, &lineage);
    host->claim_sign(host->ctx, s->kind, &proof);
    host->public_key(host->ctx, s->kind, &public_key);
    host->own_addresses(host->ctx, s->kind, &addresses);
    repl_texts_of(&addresses, &texts);
    s->status.position = s->hello_position;
    hello.resume = secondary_stage_of(&s->core).snapshot_id;
    hello.features = REPL_FEATURES;
    hello.lineage = message_bytes(cf_buf_slice(&lineage));
    hello.position = repl_position_bytes(&s->hello_position, &room);
    hello.proof = message_bytes(cf_buf_slice(&proof));
    hello.public_key = message_bytes(cf_buf_slice(&public_key));
    hello.n_addresses = addresses.count;
    hello.addresses = texts.data;
    ask(s, RPC_REPL_HELLO, &hello.base, on_answer);
}

static void on_snapshot(void *arg, const struct rpc_result *result)
{
    struct repl_secondary *s = arg;
    CF_OWNED(arena) arena = arena_new(512);
    Coffer__Repl__Snapshot *snapshot;
    struct receive_item *item = receive_item_new(SECONDARY_EV_SNAPSHOT);
    struct secondary_event *ev = &item->ev;
    s->asked = NULL;
    item->of_link = true;
    item->err = *result->err;
    ev->status = result->status;
    if (ev->status == CF_OK) {
        ev->status =
            message_unpack(coffer__repl__snapshot, result->response, arena, &snapshot, &item->err);
    }
    if (ev->status == CF_OK) {
        struct cf_slice plain;
        if (repl_address_plain(cf_slice_str(s->status.primary.cluster_address), &plain)) {
            (void)snprintf(s->copy_address, sizeof(s->copy_address), "%.*s", CF_SHOW(plain));
        }
        ev->snapshot_id = snapshot->id;
        ev->keys = snapshot->keys;
        ev->bytes = snapshot->size;
        ev->status =
            repl_position_decode(message_slice(snapshot->position), &ev->position, &item->err);
    }
    receive_push(s, item);
}

static void on_page(void *arg, const struct rpc_result *result)
{
    struct repl_secondary *s = arg;
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Page *page;
    struct receive_item *item = receive_item_new(SECONDARY_EV_PAGE);
    struct secondary_event *ev = &item->ev;
    s->asked = NULL;
    item->of_link = true;
    item->err = *result->err;
    ev->status = result->status;
    if (ev->status == CF_OK) {
        ev->status = message_unpack(coffer__repl__page, result->response, arena, &page, &item->err);
    }
    if (ev->status == CF_OK) {
        cf_buf_add_slice(&item->data, message_slice(page->data));
        cf_buf_add_slice(&item->next, message_slice(page->next));
        ev->bytes = cf_max(page->data.len, page->size);
        item->same = page->same && page->data.len == 0;
        s->status.copied_bytes += page->data.len;
        ev->keys = page->keys;
        ev->done = page->done;
    }
    receive_push(s, item);
}

static void open_snapshot(struct repl_secondary *s, uint64_t resume)
{
    Coffer__Repl__SnapshotOpen open = COFFER__REPL__SNAPSHOT_OPEN__INIT;
    open.resume = resume;
    ask(s, RPC_REPL_SNAPSHOT, &open.base, on_snapshot);
}

static void fetch_page(struct repl_secondary *s, uint64_t id, struct cf_slice cursor)
{
    const struct repl_host *host = &s->driver->host;
    Coffer__Repl__PageRequest request = COFFER__REPL__PAGE_REQUEST__INIT;
    uint8_t hash[32];
    struct cf_slice until = CF_SLICE_EMPTY;
    request.id = id;
    request.cursor = message_bytes(cursor);
    if (host->stage_known(host->ctx, s->kind, cursor, hash, &until)) {
        request.hash = message_bytes(cf_slice_of(hash, sizeof(hash)));
    }
    request.until = message_bytes(until);
    ask(s, RPC_REPL_PAGE, &request.base, on_page);
}

static void tell(struct repl_secondary *s, enum rpc_id id, const ProtobufCMessage *message)
{
    struct cf_error err = {0};
    if (s->link == NULL || repl_send(s->link, id, message, &err) != CF_OK) {
        receive_lost(s, &err);
    }
}

static void send_start(struct repl_secondary *s, const struct repl_position *position)
{
    Coffer__Repl__Start start = COFFER__REPL__START__INIT;
    struct repl_position_bytes room;
    start.position = repl_position_bytes(position, &room);
    tell(s, RPC_REPL_START, &start.base);
    cf_info("replication", "%s secondary: streams", repl_kind_name(s->kind));
}

static void send_ack(struct repl_secondary *s, uint64_t seq, const struct repl_position *position)
{
    Coffer__Repl__Ack ack = COFFER__REPL__ACK__INIT;
    struct repl_position_bytes room;
    ack.seq = seq;
    ack.position = repl_position_bytes(position, &room);
    s->status.position = *position;
    tell(s, RPC_REPL_ACK, &ack.base);
}

/* ---- what the host does ---- */

struct op {
    struct repl_secondary *s;
    enum secondary_event_type type;
    uint64_t session, seq;
};

static void on_done(void *arg, cf_status status, const struct cf_error *err)
{
    struct op *op = arg;
    struct receive_item *item = receive_item_new(op->type);
    item->ev.session = op->session;
    item->ev.seq = op->seq;
    item->ev.status = status;
    if (status != CF_OK && err != NULL) {
        item->err = *err;
    }
    receive_push(op->s, item);
    receive_unref(op->s);
    cf_free(op);
}

static struct op *op_new(struct repl_secondary *s, enum secondary_event_type type)
{
    struct op *op = cf_new(struct op);
    op->s = s;
    op->type = type;
    op->session = s->core.session;
    s->refs++;
    return op;
}

static void propose(struct repl_secondary *s, uint64_t seq)
{
    const struct repl_host *host = &s->driver->host;
    struct receive_batch *batch = &s->batches[seq % SECONDARY_QUEUE_MAX];
    struct op *op = op_new(s, SECONDARY_EV_PROPOSED);
    op->seq = seq;
    host->propose_batch(host->ctx, s->kind, &batch->from, &batch->to, cf_buf_slice(&batch->data),
                        on_done, op);
    cf_buf_done(&batch->data);
    batch->data = (struct cf_buf){0};
}

static void stage_page(struct repl_secondary *s)
{
    const struct repl_host *host = &s->driver->host;
    struct receive_page *page = cf_container(s->pages.next, struct receive_page, in_pages);
    struct repl_stage behind = {.is = secondary_stage_behind(&s->core)};
    (void)snprintf(behind.address, sizeof(behind.address), "%s", s->copy_address);
    cf_list_remove(&page->in_pages);
    host->stage_page(host->ctx, s->kind, &page->data, page->same, &behind, on_done,
                     op_new(s, SECONDARY_EV_STAGED));
    cf_buf_done(&page->data);
    cf_free(page);
}

static void perform_in_raft(struct repl_secondary *s, const struct secondary_update *update)
{
    const struct repl_host *host = &s->driver->host;
    unsigned requests = update->requests;
    if ((requests & SECONDARY_INSTALL) != 0) {
        host->install_keyring(host->ctx, s->kind, cf_buf_slice(&s->keyring), on_done,
                              op_new(s, SECONDARY_EV_INSTALLED));
    }
    if ((requests & SECONDARY_ADOPT) != 0) {
        host->adopt(host->ctx, s->kind, &s->theirs, cf_buf_slice(&s->proof), on_done,
                    op_new(s, SECONDARY_EV_ADOPTED));
    }
    if ((requests & SECONDARY_STAGE_BEGIN) != 0) {
        host->stage_begin(host->ctx, s->kind, on_done, op_new(s, SECONDARY_EV_STAGED));
    }
    if ((requests & SECONDARY_STAGE_PAGE) != 0) {
        stage_page(s);
    }
    if ((requests & SECONDARY_STAGE_SWITCH) != 0) {
        host->stage_switch(host->ctx, s->kind, &update->position, &s->theirs,
                           cf_buf_slice(&s->proof), on_done, op_new(s, SECONDARY_EV_STAGED));
    }
    for (uint64_t i = 0; i < update->propose_count; i++) {
        propose(s, update->propose_first + i);
    }
}

void receive_perform(struct repl_secondary *s, const struct secondary_update *update)
{
    const struct repl_host *host = &s->driver->host;
    unsigned requests = update->requests;
    if ((requests & SECONDARY_CLOSE_LINK) != 0) {
        receive_drop_link(s);
    }
    if ((requests & SECONDARY_ALARM) != 0) {
        host->alarm(host->ctx, s->kind, s->status.error);
    }
    if ((requests & SECONDARY_SET_TIMER) != 0) {
        loop_timer_set(s->timer, update->timeout_at_ms * 1000);
    }
    if ((requests & SECONDARY_CONNECT) != 0) {
        dial(s);
    }
    if ((requests & SECONDARY_HELLO) != 0) {
        say_hello(s);
    }
    if ((requests & SECONDARY_START) != 0) {
        send_start(s, &update->position);
    }
    if ((requests & SECONDARY_OPEN) != 0) {
        open_snapshot(s, update->snapshot_id);
    }
    perform_in_raft(s, update);
    if ((requests & SECONDARY_REPAIR) != 0) {
        repair_start(s, update);
    }
    if ((requests & SECONDARY_FETCH_PAGE) != 0) {
        fetch_page(s, update->snapshot_id, update->cursor);
    }
    if ((requests & SECONDARY_ACK) != 0) {
        send_ack(s, update->ack_seq, &update->position);
    }
}

/* ---- heartbeats ---- */

static void note_heartbeat(struct repl_secondary *s, const Coffer__Repl__Heartbeat *theirs)
{
    struct repl_secondary_status *status = &s->status;
    struct repl_position remote;
    learn(s, theirs->n_addresses, theirs->addresses, theirs->n_peers, theirs->peers);
    if (repl_position_decode(message_slice(theirs->position), &remote, NULL) == CF_OK) {
        status->remote = remote;
        behind_heard(&s->behind, theirs->lag_ms, &remote, &status->position, repl_now_ms());
    }
    status->lag_entries = theirs->lag_entries;
    status->lag_bytes = theirs->lag_bytes;
    status->primary.canary_age_ms = (int64_t)(theirs->lag_ms & INT64_MAX);
}

static void fill_heartbeat(struct repl_secondary *s, Coffer__Repl__Heartbeat *message,
                           struct repl_address_list *own, struct repl_texts *texts,
                           struct repl_position_bytes *room)
{
    const struct repl_host *host = &s->driver->host;
    own->count = 0;
    host->own_addresses(host->ctx, s->kind, own);
    repl_texts_of(own, texts);
    message->wall_ns = repl_wall_ns(s->driver);
    message->position = repl_position_bytes(&s->status.position, room);
    message->n_addresses = own->count;
    message->addresses = texts->data;
}

void repl_receive_heartbeat(struct repl_secondary *s, struct cf_slice request,
                            struct rpc_call *call)
{
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Heartbeat *theirs;
    Coffer__Repl__Heartbeat ours = COFFER__REPL__HEARTBEAT__INIT;
    struct repl_address_list own;
    struct repl_texts texts;
    struct repl_position_bytes room;
    struct cf_error err = {0};
    if (message_unpack(coffer__repl__heartbeat, request, arena, &theirs, &err) != CF_OK) {
        rpc_fail(call, &err);
        return;
    }
    note_heartbeat(s, theirs);
    s->status.primary.last_heartbeat_ns = repl_wall_ns(s->driver);
    fill_heartbeat(s, &ours, &own, &texts, &room);
    repl_answer(call, &ours.base);
}

static void on_heartbeat(void *arg, const struct rpc_result *result)
{
    struct repl_secondary *s = arg;
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Heartbeat *theirs;
    s->heartbeat = NULL;
    if (result->status == CF_OK &&
        message_unpack(coffer__repl__heartbeat, result->response, arena, &theirs, NULL) == CF_OK) {
        repl_heartbeat_note(s->driver, &s->status.primary, s->heartbeat_sent_us, theirs->wall_ns);
        note_heartbeat(s, theirs);
    }
}

void receive_beat(void *arg)
{
    struct repl_secondary *s = arg;
    Coffer__Repl__Heartbeat message = COFFER__REPL__HEARTBEAT__INIT;
    struct repl_address_list own;
    struct repl_texts texts;
    struct repl_position_bytes room;
    CF_BUF(bytes) = {0};
    loop_timer_set_in(s->beat_timer, REPL_HEARTBEAT_US);
    call_tidy(s);
    bool greeted =
        s->core.state == SECONDARY_STREAM_WALS || s->core.state == SECONDARY_BOOTSTRAPPING;
    if (s->link == NULL || s->heartbeat != NULL || !greeted) {
        return;
    }
    fill_heartbeat(s, &message, &own, &texts, &room);
    message_pack(&message.base, &bytes);
    s->heartbeat_sent_us = loop_now_us();
    cf_ignore(rpc_link_call(s->link, RPC_REPL_HEARTBEAT, cf_buf_slice(&bytes),
                            loop_now_us() + REPL_ANSWER_US, on_heartbeat, s, &s->heartbeat, NULL),
              "a full or closed link says so itself");
}
