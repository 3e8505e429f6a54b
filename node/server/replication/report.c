/* node/server/replication/report.c: what the nodes of a primary know of its secondaries, put together.
 *
 * A secondary is served by any node. Each half second a standby reports to the active node whom it serves
 * and how far that one is; the active node decides on the floor of the log, shows all of them in its
 * status, and answers with the addresses that every node hands on. Main loop. */
#include <stdio.h>

#include "consensus/driver/driver.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/server/cluster_int.h"
#include "node/server/replication/repl_int.h"
#include "node/server/replication/runs.h"
#include "proto/message.h"
#include "proto/repl.pb-c.h"
#include "replication/core/floor.h"

enum { ROWS_MAX = 4096 };
#define REPORT_US ((uint64_t)500 * 1000)
#define STALE_US ((uint64_t)3 * 1000000) /* a node that has not reported for so long serves nobody */
#define HOLD_S ((uint64_t)86400)

/* What one standby said of one secondary. */
struct row {
    struct cf_list link;
    enum repl_kind kind;
    uint64_t node, heard_us;
    uint64_t connected_us; /* when it was connected last */
    bool is_activated;
    struct repl_peer_status status;
};

static struct raft_driver *raft_of(const struct node_replication *replication)
{
    return replication->node->driver;
}

/* ---- rows ---- */

static void drop_rows(struct node_replication *replication)
{
    cf_list_for_safe (at, &replication->rows) {
        cf_list_remove(at);
        cf_free(cf_container(at, struct row, link));
    }
    replication->row_count = 0;
}

static bool is_connected(const struct row *row)
{
    return row->status.connected && loop_now_us() - row->heard_us < STALE_US;
}

static struct row *row_of(struct node_replication *replication, enum repl_kind kind, uint64_t node,
                          const char *id)
{
    cf_list_for (at, &replication->rows) {
        struct row *row = cf_container(at, struct row, link);
        if (row->kind == kind && row->node == node && strcmp(row->status.id, id) == 0) {
            return row;
        }
    }
    if (replication->row_count >= ROWS_MAX) {
        return NULL;
    }
    struct row *row = cf_new(struct row);
    row->kind = kind;
    row->node = node;
    row->connected_us = loop_now_us(); /* away since when, this node does not know: as of now */
    (void)snprintf(row->status.id, sizeof(row->status.id), "%s", id);
    cf_list_add_tail(&replication->rows, &row->link);
    replication->row_count++;
    return row;
}

static const char *state_of(struct cf_slice text)
{
    static const char *const states[] = {"stream-wals", "merkle-sync"};
    for (size_t i = 0; i < CF_LENGTH(states); i++) {
        if (cf_slice_is(text, states[i])) {
            return states[i];
        }
    }
    return "idle";
}

static void set_text(char *to, size_t size, ProtobufCBinaryData from)
{
    (void)snprintf(to, size, "%.*s", CF_SHOW(message_slice(from)));
}

static void take_row(struct node_replication *replication, uint64_t node,
                     const Coffer__Repl__ReportRow *said)
{
    char id[REPL_ID_SIZE];
    struct repl_position position = {0};
    if (said->kind >= REPL_KIND_COUNT || said->id.len >= sizeof(id) ||
        repl_position_decode(message_slice(said->position), &position, NULL) != CF_OK) {
        return;
    }
    enum repl_kind kind = (enum repl_kind)said->kind;
    set_text(id, sizeof(id), said->id);
    struct row *row = row_of(replication, kind, node, id);
    if (row == NULL) {
        return;
    }
    struct repl_peer_status *status = &row->status;
    row->heard_us = loop_now_us();
    row->connected_us = said->connected ? row->heard_us : row->connected_us;
    status->connected = said->connected;
    status->state = state_of(message_slice(said->state));
    status->position = position;
    status->needs = said->needs;
    status->lag_entries = said->lag_entries;
    status->lag_bytes = said->lag_bytes;
    status->lag_ms = said->lag_ms;
    status->canary_age_ms = (int64_t)(said->lag_ms & INT64_MAX);
    status->bootstrap_bytes = said->bootstrap_bytes;
    status->since_ns = said->since_ns;
    status->last_heartbeat_ns = said->last_heartbeat_ns;
    status->last_heartbeat_duration_ms = said->last_heartbeat_duration_ms;
    status->clock_skew_ms = said->clock_skew_ms;
    set_text(status->api_address, sizeof(status->api_address), said->api_address);
    set_text(status->cluster_address, sizeof(status->cluster_address), said->cluster_address);
    set_text(status->version, sizeof(status->version), said->version);
    status->feature_level = said->feature_level;
    set_text(status->error, sizeof(status->error), said->error);
    status->addresses.count = 0;
    for (size_t i = 0; i < said->n_addresses; i++) {
        cf_ignore(!repl_address_add(&status->addresses, message_slice(said->addresses[i])),
                  "a double, or the list is full");
        if (kind == REPL_DR) {
            cf_ignore(!repl_address_add(&replication->sides[REPL_DR].learned,
                                        message_slice(said->addresses[i])),
                      "known, or the list is full");
        }
    }
    if (strcmp(status->state, "stream-wals") == 0 && !row->is_activated) {
        row->is_activated = true;
        repl_activate(replication, kind, id);
    }
}

/* ---- messages ---- */

static ProtobufCBinaryData text(const char *text)
{
    return message_bytes(cf_slice_str(text));
}

static ProtobufCBinaryData *addresses_of(struct arena *arena, const struct repl_address_list *list)
{
    ProtobufCBinaryData *all = arena_alloc(arena, (list->count + 1) * sizeof(*all));
    for (size_t i = 0; i < list->count; i++) {
        all[i] = text(list->text[i]);
    }
    return all;
}

static Coffer__Repl__ReportRow *pack_row(struct arena *arena, enum repl_kind kind,
                                         const struct repl_peer_status *status)
{
    Coffer__Repl__ReportRow *row = arena_new_object(arena, Coffer__Repl__ReportRow);
    CF_BUF(position) = {0};
    coffer__repl__report_row__init(row);
    repl_position_encode(&status->position, &position);
    row->kind = (uint32_t)kind;
    row->id = text(status->id);
    row->connected = status->connected;
    row->state = text(status->state);
    row->position = message_bytes(arena_copy(arena, cf_buf_slice(&position)));
    row->needs = status->needs;
    row->lag_entries = status->lag_entries;
    row->lag_bytes = status->lag_bytes;
    row->lag_ms = status->lag_ms;
    row->bootstrap_bytes = status->bootstrap_bytes;
    row->api_address = text(status->api_address);
    row->cluster_address = text(status->cluster_address);
    row->version = text(status->version);
    row->feature_level = status->feature_level;
    row->since_ns = status->since_ns;
    row->last_heartbeat_ns = status->last_heartbeat_ns;
    row->last_heartbeat_duration_ms = status->last_heartbeat_duration_ms;
    row->clock_skew_ms = status->clock_skew_ms;
    row->error = text(status->error);
    row->n_addresses = status->addresses.count;
    row->addresses = addresses_of(arena, &status->addresses);
    return row;
}

static size_t own_rows(const struct node_replication *replication, enum repl_kind kind,
                       struct arena *arena, struct repl_peer_status **ret)
{
    const struct repl_primary *primary = replication->sides[kind].primary;
    *ret = NULL;
    size_t count = primary != NULL ? repl_primary_status(primary, NULL, 0) : 0;
    if (count > 0) {
        *ret = arena_alloc(arena, count * sizeof(**ret));
        count = repl_primary_status(primary, *ret, count);
    }
    return count;
}

static void report(struct node_replication *replication)
{
    struct cluster *cluster = replication->node->cluster;
    CF_OWNED(arena) arena = arena_new(16384);
    Coffer__Repl__Report message = COFFER__REPL__REPORT__INIT;
    CF_BUF(bytes) = {0};
    struct repl_peer_status *own[REPL_KIND_COUNT];
    size_t count[REPL_KIND_COUNT], total = 0;
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        count[i] = own_rows(replication, (enum repl_kind)i, arena, &own[i]);
        total += count[i];
    }
    bool serves = replication->sides[REPL_PERFORMANCE].primary != NULL ||
                  replication->sides[REPL_DR].primary != NULL;
    if (!serves || cluster->forward_client == NULL) {
        return;
    }
    message.rows = arena_alloc(arena, (total + 1) * sizeof(*message.rows));
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        for (size_t n = 0; n < count[i]; n++) {
            message.rows[message.n_rows++] = pack_row(arena, (enum repl_kind)i, &own[i][n]);
        }
    }
    message_pack(&message.base, &bytes);
    cf_ignore(rpc_client_send(cluster->forward_client, RPC_LATENCY, RPC_REPL_REPORT,
                              cf_buf_slice(&bytes), NULL),
              "the next one comes in half a second");
}

/* To a standby that has reported: what the others have told. */
static void answer(struct node_replication *replication, struct rpc_link *link)
{
    CF_OWNED(arena) arena = arena_new(4096);
    Coffer__Repl__Report message = COFFER__REPL__REPORT__INIT;
    CF_BUF(bytes) = {0};
    const struct repl_address_list *learned = &replication->sides[REPL_DR].learned;
    message.n_peers = learned->count;
    message.peers = addresses_of(arena, learned);
    message_pack(&message.base, &bytes);
    cf_ignore(rpc_link_send(link, RPC_REPL_REPORT, cf_buf_slice(&bytes), NULL),
              "the next one comes in half a second");
}

static void on_report(void *ctx, struct rpc_link *link, struct cf_slice bytes, struct rpc_call *call)
{
    struct node_replication *replication = ctx;
    CF_OWNED(arena) arena = arena_new(16384);
    Coffer__Repl__Report *message;
    struct cf_error err = {0};
    uint64_t node;
    if (call != NULL) {
        (void)cf_fail(&err, CF_INVALID, "that message is one-way");
        rpc_fail(call, &err);
        return;
    }
    if (!cluster_id_parse(rpc_link_peer(link)->identity.id, &node) ||
        message_unpack(coffer__repl__report, bytes, arena, &message, &err) != CF_OK) {
        return;
    }
    for (size_t i = 0; i < message->n_peers; i++) {
        cf_ignore(!repl_address_add(&replication->sides[REPL_DR].learned,
                                    message_slice(message->peers[i])),
                  "known, or the list is full");
    }
    if (replication->active_since_us == 0 || message->n_peers > 0) {
        return; /* for the active node, or from it */
    }
    for (size_t i = 0; i < message->n_rows; i++) {
        take_row(replication, node, message->rows[i]);
    }
    if (replication->sides[REPL_DR].learned.count > 0) {
        answer(replication, link);
    }
}

/* ---- the floor ---- */

static void add_floor_rows(const struct node_replication *replication, enum repl_kind kind,
                           struct arena *arena, struct floor_row **ret, size_t *ret_count)
{
    struct repl_peer_status *own;
    size_t own_count = own_rows(replication, kind, arena, &own);
    struct floor_row *rows =
        arena_alloc(arena, (own_count + replication->row_count + 1) * sizeof(*rows));
    size_t count = 0;
    for (size_t i = 0; i < own_count; i++) {
        rows[count++] = (struct floor_row){own[i].id, own[i].connected, own[i].needs,
                                           own[i].connected_us / 1000};
    }
    cf_list_for (at, &replication->rows) {
        const struct row *row = cf_container(at, struct row, link);
        if (row->kind == kind) {
            rows[count++] = (struct floor_row){row->status.id, is_connected(row), row->status.needs,
                                               row->connected_us / 1000};
        }
    }
    *ret = rows;
    *ret_count = count;
}

static bool has_row(const struct floor_row *rows, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

static uint64_t hold_s(const struct node_replication *replication)
{
    int64_t wanted = replication->node->config->log_retention_s;
    return wanted > 0 ? (uint64_t)wanted : HOLD_S;
}

static struct floor_answer floor_of(const struct node_replication *replication, enum repl_kind kind,
                                    struct arena *arena)
{
    const struct repl_side *side = &replication->sides[kind];
    struct floor_row *rows;
    size_t row_count, count = 0;
    add_floor_rows(replication, kind, arena, &rows, &row_count);
    const char **ids = arena_alloc(arena, (side->registered_count + 1) * sizeof(*ids));
    const char *at = (const char *)side->registered.data;
    for (size_t i = 0; i < side->registered_count; i++, at += strlen(at) + 1) {
        /* A token that nobody has redeemed holds nothing back; one whose copy is under way does. */
        if (at[0] == 'a' || has_row(rows, row_count, at + 1)) {
            ids[count++] = at + 1;
        }
    }
    struct floor_question question = {.registered = ids,
                                      .registered_count = count,
                                      .rows = rows,
                                      .row_count = row_count,
                                      .capped = raft_driver_log_capped(raft_of(replication)),
                                      .inherited = replication->floor_inherited,
                                      .now_ms = loop_now_us() / 1000,
                                      .since_ms = replication->active_since_us / 1000,
                                      .hold_ms = hold_s(replication) * 1000};
    return floor_decide(&question);
}

/* Said once when it begins, and once when it is over. */
static void watch_cap(struct node_replication *replication, struct arena *arena)
{
    struct repl_retention *retention = &replication->retention;
    struct raft_driver_status *status = arena_new_object(arena, struct raft_driver_status);
    raft_driver_status(raft_of(replication), status);
    retention->log_bytes = status->log_bytes;
    retention->log_bytes_max = status->log_bytes_max;
    bool alarm = retention->floor != UINT64_MAX && retention->floor < status->applied &&
                 status->log_bytes > status->log_bytes_max / 10 * 8;
    if (alarm && !retention->alarm) {
        cf_warn("replication", "the log holds %llu MiB for secondaries that are behind or away; at %llu MiB "
                               "it is cut, and they need more than the log: see sys/replication/status, "
                               "bring them back or revoke them",
                (unsigned long long)(status->log_bytes >> 20),
                (unsigned long long)(status->log_bytes_max >> 20));
    } else if (!alarm && retention->alarm) {
        cf_info("replication", "the log is within its bounds again");
    }
    retention->alarm = alarm;
}

static void decide(struct node_replication *replication)
{
    CF_OWNED(arena) arena = arena_new(16384);
    struct repl_retention *retention = &replication->retention;
    uint64_t floor = UINT64_MAX;
    size_t was_cut_off = retention->cut_off;
    retention->unknown = retention->overdue = retention->cut_off = 0;
    retention->hold_s = hold_s(replication);
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        if (replication->sides[i].primary != NULL) {
            struct floor_answer said = floor_of(replication, (enum repl_kind)i, arena);
            floor = said.floor < floor ? said.floor : floor;
            retention->unknown += said.unknown;
            retention->overdue += said.overdue;
            retention->cut_off += said.cut_off;
        }
    }
    if (retention->cut_off > was_cut_off) {
        cf_warn("replication", "the log was cut past what %zu secondar%s away still needed "
                               "(log_retention_size): on return they compare their data, and have what differs moved",
                retention->cut_off, retention->cut_off == 1 ? "y that is" : "ies that are");
    }
    retention->floor = floor;
    raft_driver_set_floor(raft_of(replication), floor);
    watch_cap(replication, arena);
}

/* ---- gauges ---- */

static void add_served(const struct node_replication *replication, enum repl_kind kind,
                       struct arena *arena, struct replication_gauges *to)
{
    size_t count = repl_secondaries(replication, kind, NULL, 0);
    struct repl_peer_status *all = arena_alloc(arena, (count + 1) * sizeof(*all));
    count = cf_min(repl_secondaries(replication, kind, all, count), count);
    for (size_t i = 0; i < count; i++) {
        to->connected += all[i].connected;
        to->lag_entries = cf_max(to->lag_entries, all[i].lag_entries);
        to->lag_bytes = cf_max(to->lag_bytes, all[i].lag_bytes);
        to->lag_ms = cf_max(to->lag_ms, all[i].lag_ms);
    }
}

/* What this node holds for those that it serves itself. */
static void add_held(const struct node_replication *replication, enum repl_kind kind, struct arena *arena,
                     struct replication_gauges *to)
{
    struct repl_peer_status *own;
    size_t count = own_rows(replication, kind, arena, &own);
    for (size_t i = 0; i < count; i++) {
        to->unacknowledged += own[i].unacknowledged_bytes;
        to->queued += own[i].queued_bytes;
    }
}

static void add_followed(const struct node_replication *replication, enum repl_kind kind,
                         struct arena *arena, struct replication_gauges *to)
{
    const struct repl_secondary *secondary = replication->sides[kind].secondary;
    if (secondary == NULL) {
        return;
    }
    struct repl_secondary_status *status = arena_new_object(arena, struct repl_secondary_status);
    repl_secondary_status(secondary, status);
    to->streaming += strcmp(status->state, "stream-wals") == 0;
    to->own_lag_entries = cf_max(to->own_lag_entries, status->lag_entries);
    to->own_lag_bytes = cf_max(to->own_lag_bytes, status->lag_bytes);
    to->own_lag_ms = cf_max(to->own_lag_ms, status->lag_ms);
    to->last_remote = cf_max(to->last_remote, status->position.index);
    to->reconnects += status->reconnects;
    to->bootstraps += status->bootstraps;
    to->bootstrap_bytes += status->bootstrap_bytes;
}

static void take_gauges(struct node_replication *replication)
{
    CF_OWNED(arena) arena = arena_new(16384);
    const struct repl_retention *retention = &replication->retention;
    struct replication_gauges gauges = {
        .overdue = retention->overdue,
        .cut_off = retention->cut_off,
        .floor = retention->floor != UINT64_MAX ? retention->floor : 0,
        .log_bytes_max = retention->log_bytes_max,
        .near_cap = retention->alarm,
    };
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        add_served(replication, (enum repl_kind)i, arena, &gauges);
        add_held(replication, (enum repl_kind)i, arena, &gauges);
        add_followed(replication, (enum repl_kind)i, arena, &gauges);
        gauges.alarms += replication->sides[i].alarms.count;
    }
    pthread_mutex_lock(&replication->gauges_lock);
    replication->gauges = gauges;
    pthread_mutex_unlock(&replication->gauges_lock);
}

void node_replication_gauges(struct node *node, struct replication_gauges *ret)
{
    struct node_replication *replication = node->replication;
    pthread_mutex_lock(&replication->gauges_lock);
    *ret = replication->gauges;
    pthread_mutex_unlock(&replication->gauges_lock);
}

/* ---- life ---- */

static void on_timer(void *arg)
{
    struct node_replication *replication = arg;
    loop_timer_set_in(replication->report_timer, REPORT_US);
    if (replication->node->runs != NULL) {
        runs_care(replication->node->runs);
    }
    if (raft_of(replication) == NULL || atomic_load(&replication->node->is_sealed)) {
        return;
    }
    if (replication->active_since_us != 0) {
        decide(replication);
    } else {
        replication->retention.floor = raft_driver_floor(raft_of(replication));
        report(replication);
    }
    take_gauges(replication);
}

void repl_report_soon(void *ctx, enum repl_kind kind)
{
    struct node_replication *replication = ctx;
    (void)kind;
    if (replication->report_timer != NULL) {
        loop_timer_set_in(replication->report_timer, 0);
    }
}

void repl_report_refresh(struct node_replication *replication, bool leads)
{
    bool was = replication->active_since_us != 0, did_serve = replication->serves;
    replication->serves = replication->sides[REPL_PERFORMANCE].primary != NULL ||
                          replication->sides[REPL_DR].primary != NULL;
    if (leads && !was) {
        replication->active_since_us = loop_now_us();
        replication->floor_inherited = raft_driver_floor(raft_of(replication));
    } else if (!leads && was) {
        replication->active_since_us = 0;
        replication->retention.alarm = false;
        drop_rows(replication);
    } else if (leads && replication->serves && !did_serve) {
        /* Promoted: its secondaries are registered, none was heard, and nothing was kept for them. */
        replication->floor_inherited = raft_driver_log_first(raft_of(replication));
    }
}

void repl_report_start(struct node_replication *replication)
{
    replication->report_timer =
        loop_timer_new(replication->node->loop, on_timer, replication);
    loop_timer_set_in(replication->report_timer, REPORT_US);
    rpc_handle(cluster_rpc(replication->node), RPC_REPL_REPORT, on_report, replication);
}

void repl_report_stop(struct node_replication *replication)
{
    rpc_handle(cluster_rpc(replication->node), RPC_REPL_REPORT, NULL, NULL);
    loop_timer_free(replication->report_timer);
    replication->report_timer = NULL;
    drop_rows(replication);
}

/* ---- for status ---- */

static void merge(struct repl_peer_status *ret, size_t *count, size_t max,
                  const struct repl_peer_status *one, bool connected)
{
    for (size_t i = 0; i < cf_min(*count, max); i++) {
        if (strcmp(ret[i].id, one->id) != 0) {
            continue;
        }
        bool better = connected && !ret[i].connected;
        better = better || (connected == ret[i].connected && one->since_ns > ret[i].since_ns);
        if (better) {
            ret[i] = *one;
            ret[i].connected = connected;
        }
        return;
    }
    if (*count < max) {
        ret[*count] = *one;
        ret[*count].connected = connected;
    }
    ++*count;
}

size_t repl_secondaries(const struct node_replication *replication, enum repl_kind kind,
                        struct repl_peer_status *ret, size_t max)
{
    CF_OWNED(arena) arena = arena_new(16384);
    struct repl_peer_status *own;
    size_t own_count = own_rows(replication, kind, arena, &own), count = 0;
    for (size_t i = 0; i < own_count; i++) {
        if (own[i].since_ns != 0) { /* else it was only sent elsewhere */
            merge(ret, &count, max, &own[i], own[i].connected);
        }
    }
    cf_list_for (at, &replication->rows) {
        const struct row *row = cf_container(at, struct row, link);
        if (row->kind == kind && row->status.since_ns != 0) {
            merge(ret, &count, max, &row->status, is_connected(row));
        }
    }
    return count;
}
