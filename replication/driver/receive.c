/* replication/driver/receive.c: a secondary: its life, its queue of events, its status. */
#include <assert.h>
#include <stdio.h>

#include "node/base/log.h"
#include "replication/driver/receive_int.h"

struct receive_item *receive_item_new(enum secondary_event_type type)
{
    struct receive_item *item = cf_new(struct receive_item);
    item->ev.type = type;
    return item;
}

void receive_item_free(struct receive_item *item)
{
    cf_buf_done(&item->data);
    cf_buf_done(&item->next);
    cf_free(item);
}

static void clear_stream(struct repl_secondary *s)
{
    for (size_t i = 0; i < SECONDARY_QUEUE_MAX; i++) {
        cf_buf_done(&s->batches[i].data);
        s->batches[i] = (struct receive_batch){0};
    }
    while (!cf_list_empty(&s->pages)) {
        struct receive_page *page = cf_container(s->pages.next, struct receive_page, in_pages);
        cf_list_remove(&page->in_pages);
        cf_buf_done(&page->data);
        cf_free(page);
    }
}

void receive_unref(struct repl_secondary *s)
{
    if (--s->refs > 0) {
        return;
    }
    while (!cf_list_empty(&s->queue)) {
        struct receive_item *item = cf_container(s->queue.next, struct receive_item, in_queue);
        cf_list_remove(&item->in_queue);
        receive_item_free(item);
    }
    clear_stream(s);
    secondary_done(&s->core);
    cf_buf_done(&s->proof);
    cf_buf_done(&s->keyring);
    node_tls_free(s->tls);
    cf_free(s);
}

void receive_push(struct repl_secondary *s, struct receive_item *item)
{
    if (s->freed) {
        receive_item_free(item);
        return;
    }
    item->session = s->core.session;
    s->queue_bytes += item->data.size;
    cf_list_add_tail(&s->queue, &item->in_queue);
    if (!s->task_queued) {
        s->task_queued = true;
        s->refs++;
        loop_post_task(s->driver->loop, &s->task);
    }
}

void receive_lost(struct repl_secondary *s, const struct cf_error *why)
{
    struct receive_item *item = receive_item_new(SECONDARY_EV_LOST);
    item->of_link = true;
    item->err = *why;
    receive_push(s, item);
}

/* What the core will ask for by number or in turn has to stand ready before the step. */
static void keep_data(struct repl_secondary *s, struct receive_item *item)
{
    if (item->ev.type == SECONDARY_EV_BATCH) {
        struct receive_batch *slot = &s->batches[item->ev.seq % SECONDARY_QUEUE_MAX];
        cf_buf_done(&slot->data);
        *slot = (struct receive_batch){item->ev.from, item->ev.to, item->data};
        item->data = (struct cf_buf){0};
        s->status.batches++;
        s->status.bytes += slot->data.size;
    } else if (item->ev.type == SECONDARY_EV_PAGE && item->ev.status == CF_OK) {
        struct receive_page *page = cf_new(struct receive_page);
        page->data = item->data;
        page->same = item->same;
        item->data = (struct cf_buf){0};
        cf_list_add_tail(&s->pages, &page->in_pages);
        item->ev.cursor = cf_buf_slice(&item->next);
    } else if (item->ev.type == SECONDARY_EV_KEYRING) {
        cf_buf_done(&s->keyring);
        s->keyring = item->data;
        item->data = (struct cf_buf){0};
    }
}

static bool batch_fits(const struct repl_secondary *s, const struct receive_item *item)
{
    /* A number out of turn must not overwrite a slot that is in use; the core refuses it. */
    return item->ev.type != SECONDARY_EV_BATCH ||
           (item->ev.seq == s->core.seq_received + 1 &&
            s->core.seq_received - s->core.seq_committed < SECONDARY_QUEUE_MAX);
}

static void note_failure(struct repl_secondary *s, const struct receive_item *item,
                         const struct cf_error *err)
{
    const char *text = item->err.message[0] != '\0' ? item->err.message
                       : s->answer_text[0] != '\0'  ? s->answer_text
                                                    : err->message;
    if (text[0] != '\0') {
        (void)snprintf(s->status.error, sizeof(s->status.error), "%s", text);
        cf_info("replication", "%s secondary: %s%s%s", repl_kind_name(s->kind), err->message,
                err->message[0] != '\0' && text != err->message ? ": " : "",
                text != err->message ? text : "");
    }
    if (s->core.backoff_ms > 0 && s->redirect[0] == '\0') {
        s->rotation++; /* the next attempt begins with another address */
    }
}

static void step(struct repl_secondary *s, struct receive_item *item)
{
    struct secondary_update update;
    struct cf_error err = {0};
    item->ev.now_ms = repl_now_ms();
    if (batch_fits(s, item)) {
        keep_data(s, item);
    }
    cf_status status = secondary_step(&s->core, &item->ev, &update, &err);
    if (s->core.state == SECONDARY_STREAM_WALS) {
        s->status.error[0] = '\0';
    }
    if ((update.requests & SECONDARY_CLOSE_LINK) != 0) {
        clear_stream(s);
        s->status.reconnects++;
    }
    if (status != CF_OK || item->ev.type == SECONDARY_EV_LOST) {
        note_failure(s, item, &err);
    }
    bool copies = s->core.state == SECONDARY_BOOTSTRAPPING;
    if (copies && s->copy_began_us == 0) {
        s->copy_began_us = loop_now_us();
        s->copy_began_bytes = s->core.staged_bytes;
    } else if (!copies) {
        s->copy_began_us = 0;
    }
    receive_perform(s, &update);
}

static void on_task(void *arg)
{
    struct repl_secondary *s = arg;
    s->task_queued = false;
    struct cf_list now;
    cf_list_init(&now);
    cf_list_splice_tail(&now, &s->queue);
    while (!cf_list_empty(&now)) {
        struct receive_item *item = cf_container(now.next, struct receive_item, in_queue);
        cf_list_remove(&item->in_queue);
        s->queue_bytes -= item->data.size;
        if (!s->freed && (!item->of_link || item->session == s->core.session)) {
            step(s, item);
        }
        receive_item_free(item);
    }
    receive_unref(s);
}

static void on_timer(void *arg)
{
    struct repl_secondary *s = arg;
    receive_push(s, receive_item_new(SECONDARY_EV_TIMEOUT));
}

/* ---- messages of the primary ---- */

static cf_status read_batch(struct repl_secondary *s, struct cf_slice message,
                            struct receive_item *item, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Batch *batch;
    CF_TRY(message_unpack(coffer__repl__batch, message, arena, &batch, err));
    if (batch->data.len > REPL_BATCH_BYTES_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "a batch of %zu bytes", batch->data.len);
    }
    CF_TRY(repl_position_decode(message_slice(batch->from), &item->ev.from, err));
    CF_TRY(repl_position_decode(message_slice(batch->to), &item->ev.to, err));
    item->ev.seq = batch->seq;
    cf_buf_add_slice(&item->data, message_slice(batch->data));
    if (batch->last_index > s->status.remote.index) {
        s->status.remote = item->ev.to;
        s->status.remote.index = batch->last_index;
    }
    return CF_OK;
}

static cf_status read_keyring(struct cf_slice message, struct receive_item *item,
                              struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Keyring *keyring;
    CF_TRY(message_unpack(coffer__repl__keyring, message, arena, &keyring, err));
    cf_buf_init_secret(&item->data, REPL_KEYRING_MAX);
    cf_buf_add_slice(&item->data, message_slice(keyring->sealed));
    return cf_buf_check(&item->data, err);
}

void repl_receive_message(struct repl_secondary *s, enum received_type type,
                          struct cf_slice message)
{
    struct cf_error err = {0};
    struct receive_item *item =
        receive_item_new(type == RECEIVED_BATCH ? SECONDARY_EV_BATCH : SECONDARY_EV_KEYRING);
    cf_status status = type == RECEIVED_BATCH ? read_batch(s, message, item, &err)
                                              : read_keyring(message, item, &err);
    if (status == CF_OK && s->queue_bytes + item->data.size > RECEIVE_QUEUE_BYTES) {
        status = cf_fail(&err, CF_CORRUPT, "the primary sends more than it may");
    }
    if (status != CF_OK) {
        receive_item_free(item);
        receive_lost(s, &err);
        return;
    }
    item->of_link = true;
    receive_push(s, item);
}

/* ---- life ---- */

static uint64_t random_seed(const struct repl_driver *driver)
{
    uint64_t seed;
    cf_random_fill(driver->random, &seed, sizeof(seed));
    return seed;
}

static void copy_plain(const struct repl_address_list *from, struct repl_address_list *ret)
{
    struct cf_slice plain;
    ret->count = 0;
    for (size_t i = 0; i < from->count; i++) {
        if (repl_address_plain(cf_slice_str(from->text[i]), &plain)) {
            (void)repl_address_add(ret, plain);
        }
    }
}

static cf_status check_addresses(const struct repl_address_list *list, struct cf_error *err)
{
    struct cf_slice plain;
    for (size_t i = 0; i < list->count; i++) {
        if (!repl_address_plain(cf_slice_str(list->text[i]), &plain)) {
            return cf_fail(err, CF_INVALID, "\"%.100s\" is no cluster address (host:port)",
                           list->text[i]);
        }
    }
    return CF_OK;
}

void receive_load_stage(struct repl_secondary *s)
{
    const struct repl_host *host = &s->driver->host;
    struct repl_stage stage = {.cursor.max = SECONDARY_CURSOR_MAX};
    if (secondary_stage_of(&s->core).snapshot_id == 0 && host->stage_load(host->ctx, s->kind, &stage)) {
        stage.is.cursor = cf_buf_slice(&stage.cursor);
        secondary_resume(&s->core, &stage.is);
        (void)snprintf(s->copy_address, sizeof(s->copy_address), "%s", stage.address);
        cf_info("replication", "%s secondary: a copy is under way, %llu bytes are here",
                repl_kind_name(s->kind), (unsigned long long)stage.is.staged_bytes);
    }
    cf_buf_done(&stage.cursor);
}

cf_status repl_secondary_new(struct repl_driver *driver, const struct repl_secondary_config *config,
                             struct repl_secondary **ret, struct cf_error *err)
{
    assert(driver->secondaries[config->kind] == NULL);
    CF_TRY(check_addresses(config->addresses, err));
    struct repl_secondary *s = cf_new(struct repl_secondary);
    s->driver = driver;
    s->kind = config->kind;
    behind_init(&s->behind, repl_now_ms());
    s->calls_only = config->calls_only;
    s->refs = 1;
    (void)snprintf(s->set_id, sizeof(s->set_id), "%s", config->set_id);
    s->tls = node_tls_copy(config->tls);
    copy_plain(config->addresses, &s->configured);
    secondary_init(&s->core, random_seed(driver));
    s->channel = (struct repl_channel){CHANNEL_STREAM, s->kind, s};
    cf_list_init(&s->queue);
    cf_list_init(&s->pages);
    cf_list_init(&s->callers);
    cf_list_init(&s->calls);
    s->proof.max = REPL_PROOF_MAX;
    s->task.fn = on_task;
    s->task.arg = s;
    s->timer = loop_timer_new(driver->loop, on_timer, s);
    s->beat_timer = loop_timer_new(driver->loop, receive_beat, s);
    loop_timer_set_in(s->beat_timer, REPL_HEARTBEAT_US);
    s->status.last_start_ns = repl_wall_ns(driver);
    driver->secondaries[config->kind] = s;
    if (!s->calls_only) {
        receive_push(s, receive_item_new(SECONDARY_EV_ENABLED));
    }
    *ret = s;
    return CF_OK;
}

void repl_secondary_free(struct repl_secondary *s)
{
    if (s == NULL) {
        return;
    }
    s->freed = true;
    s->driver->secondaries[s->kind] = NULL;
    receive_drop_link(s);
    call_free_all(s);
    loop_timer_free(s->timer);
    loop_timer_free(s->beat_timer);
    s->timer = s->beat_timer = NULL;
    receive_unref(s);
}

void repl_secondary_restart(struct repl_secondary *s)
{
    if (s->core.state == SECONDARY_WAITING) {
        loop_timer_set_in(s->timer, 0);
    } else if (!s->calls_only) {
        receive_push(s, receive_item_new(SECONDARY_EV_LOST));
    }
}

cf_status repl_secondary_set_addresses(struct repl_secondary *s,
                                       const struct repl_address_list *addresses,
                                       struct cf_error *err)
{
    CF_TRY(check_addresses(addresses, err));
    copy_plain(addresses, &s->configured);
    s->known.count = s->peers.count = 0; /* of the former primary */
    s->rotation = 0;
    s->redirect[0] = '\0';
    call_retire(s);
    repl_secondary_restart(s);
    return CF_OK;
}

cf_status repl_secondary_set_tls(struct repl_secondary *s, const struct node_tls *tls,
                                 struct cf_error *err)
{
    if (s->client != NULL) {
        CF_TRY(rpc_client_set_tls(s->client, tls, err));
    }
    struct node_tls *copy = node_tls_copy(tls);
    node_tls_free(s->tls);
    s->tls = copy;
    call_retire(s);
    return CF_OK;
}

struct rpc_link *repl_secondary_link(const struct repl_secondary *s)
{
    return s->link;
}

/* ---- status ---- */

static const char *connection_text(const struct repl_secondary *s)
{
    switch (s->core.state) {
    case SECONDARY_WAITING:
        return "transient_failure";
    case SECONDARY_CONNECTING:
    case SECONDARY_GREETING:
        return s->client == NULL            ? "idle"
               : s->status.error[0] != '\0' ? "transient_failure"
                                            : "connecting";
    case SECONDARY_PREPARING:
    case SECONDARY_BOOTSTRAPPING:
    case SECONDARY_STREAM_WALS:
        return "ready";
    case SECONDARY_CLOSED:
        return "shutdown";
    case SECONDARY_IDLE:
    case SECONDARY_STATE_COUNT:
        break;
    }
    return "idle";
}

static void show_rate(const struct repl_secondary *s, struct repl_secondary_status *ret)
{
    uint64_t us = s->copy_began_us != 0 ? loop_now_us() - s->copy_began_us : 0;
    uint64_t bytes = ret->bootstrap_bytes - cf_min(s->copy_began_bytes, ret->bootstrap_bytes);
    uint64_t left = ret->bootstrap_total_bytes - cf_min(ret->bootstrap_bytes, ret->bootstrap_total_bytes);
    ret->bootstrap_per_s = us >= 1000 ? bytes * 1000 / (us / 1000) : 0;
    ret->bootstrap_left_s =
        ret->bootstrap_per_s != 0 ? (left + ret->bootstrap_per_s - 1) / ret->bootstrap_per_s : 0;
}

void repl_secondary_status(const struct repl_secondary *s, struct repl_secondary_status *ret)
{
    const struct secondary *core = &s->core;
    struct repl_address_list dial;
    *ret = s->status;
    ret->state = secondary_state_text(core);
    ret->connection_state = connection_text(s);
    ret->primary.connected = s->link != NULL;
    ret->known_addresses = s->known;
    ret->bootstrapping = core->state == SECONDARY_BOOTSTRAPPING;
    if (ret->bootstrapping) {
        ret->bootstrap_keys = core->staged_keys;
        ret->bootstrap_bytes = core->staged_bytes;
        ret->bootstrap_total_keys = core->total_keys;
        ret->bootstrap_total_bytes = core->total_bytes;
        show_rate(s, ret);
    }
    bool streams = s->link != NULL && core->state == SECONDARY_STREAM_WALS;
    ret->lag_ms = behind_ms(&s->behind, streams, &s->status.position, repl_now_ms());
    ret->bootstraps = core->bootstraps;
    ret->repairs = core->repairs;
    /* The list of errors is by address; show those that would be dialled now. */
    receive_dial_list(s, "", 0, &dial);
    ret->address_count = dial.count;
    for (size_t i = 0; i < dial.count; i++) {
        struct repl_address_status *to = &ret->addresses[i];
        *to = (struct repl_address_status){0};
        for (size_t j = 0; j < s->status.address_count; j++) {
            if (strcmp(s->status.addresses[j].address, dial.text[i]) == 0) {
                *to = s->status.addresses[j];
            }
        }
        (void)snprintf(to->address, sizeof(to->address), "%s", dial.text[i]);
    }
}
