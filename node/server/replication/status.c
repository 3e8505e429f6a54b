/* node/server/replication/status.c: sys/replication/status and its parts.
 *
 * Fields and JSON types as clients know them (numbers that are strings stay strings); lag in entries, bytes
 * and milliseconds, epoch and readiness are additions. */
#include "node/server/replication/status.h"

#include <stdio.h>

#include "consensus/driver/driver.h"
#include "node/base/memory.h"
#include "node/core/audit.h"
#include "node/core/core.h"
#include "node/format/timefmt.h"
#include "node/server/replication/merkle.h"
#include "node/server/replication/promotion.h"
#include "node/server/replication/repl_int.h"
#include "node/server/replication/tree.h"
#include "node/server/replication/routes.h"

#define PEERS_MAX 64

struct asking {
    struct request *rq;
    struct node *node;
    bool one;
    enum repl_kind kind;
    char roots[REPL_KIND_COUNT][ROOT_TEXT_SIZE];
};

static void set_time(struct arena *arena, struct json *object, const char *key, int64_t ns)
{
    char text[TIMEFMT_SIZE];
    timefmt_text(ns, text);
    json_set_text(arena, object, key, ns != 0 ? text : "");
}

static void set_decimal(struct arena *arena, struct json *object, const char *key, int64_t value)
{
    json_set_text(arena, object, key, arena_printf(arena, "%lld", (long long)value));
}

static const char *https(struct arena *arena, const char *address)
{
    bool has_scheme = strstr(address, "://") != NULL;
    return address[0] == '\0' ? "" : arena_printf(arena, "%s%s", has_scheme ? "" : "https://",
                                                  address);
}

static void add_lineage(const struct repl_side *side, struct arena *arena, struct json *object)
{
    struct repl_epoch epoch = repl_lineage_current(&side->lineage);
    struct json *json = json_object_new(arena);
    char id[ENCODE_UUID_TEXT + 1];
    struct uuid uuid;
    memcpy(uuid.bytes, epoch.id, sizeof(uuid.bytes));
    encode_uuid_text(uuid, id);
    json_set_int(arena, json, "number", epoch.number);
    json_set_text(arena, json, "id", id);
    json_set(arena, object, "epoch", json);
}

static void add_common(struct node *node, const struct repl_side *side, struct arena *arena,
                       struct json *object)
{
    json_set_text(arena, object, "cluster_id", side->set_id);
    merkle_add_common(node, arena, object);
    /* Raised at each promotion. */
    uint32_t epoch = repl_lineage_current(&side->lineage).number;
    json_set_int(arena, object, "ssct_generation_counter", epoch > 1 ? epoch - 1 : 0);
    add_lineage(side, arena, object);
    json_set_int(arena, object, "alarms", (int64_t)side->alarms.count);
    json_set_text(arena, object, "last_alarm", side->alarms.text);
    set_time(arena, object, "last_alarm_time", side->alarms.last_ns);
}

/* ---- primary ---- */

static struct json *peer_json(struct arena *arena, const struct repl_peer_status *peer)
{
    struct json *json = json_object_new(arena);
    json_set_text(arena, json, "api_address", peer->api_address);
    json_set_text(arena, json, "cluster_address", https(arena, peer->cluster_address));
    json_set_text(arena, json, "connection_status", peer->connected ? "connected" : "disconnected");
    set_time(arena, json, "last_heartbeat", peer->last_heartbeat_ns);
    set_decimal(arena, json, "last_heartbeat_duration_ms", peer->last_heartbeat_duration_ms);
    set_decimal(arena, json, "clock_skew_ms", peer->clock_skew_ms);
    set_decimal(arena, json, "replication_primary_canary_age_ms", peer->canary_age_ms);
    json_set_text(arena, json, "version", peer->version);
    json_set_int(arena, json, "feature_level", peer->feature_level);
    json_set_int(arena, json, "lag_entries", (int64_t)peer->lag_entries);
    json_set_int(arena, json, "lag_bytes", (int64_t)peer->lag_bytes);
    json_set_int(arena, json, "lag_ms", (int64_t)peer->lag_ms);
    json_set_text(arena, json, "last_error", peer->error);
    return json;
}

static void add_secondaries(struct node_replication *replication, enum repl_kind kind,
                            struct request *rq, struct json *object)
{
    struct arena *arena = rq->arena;
    struct json *known = json_array_new(arena);
    struct json *heard = json_array_new(arena);
    struct json *registered = json_array_new(arena);
    struct txn_names ids = {0};
    cf_ignore(set_list_secondaries(rq, repl_set_kind(kind), &ids, NULL) != CF_OK, "shown as none");
    for (size_t i = 0; i < ids.count; i++) {
        struct set_secondary secondary;
        if (set_read_secondary(rq, repl_set_kind(kind), ids.names[i], &secondary, NULL) != CF_OK) {
            continue;
        }
        json_array_add(arena, registered, repl_describe_secondary(rq, &secondary));
        if (!cf_slice_is(secondary.state, "revoked")) {
            json_array_add(arena, known, json_from_string(arena, ids.names[i]));
        }
    }
    struct repl_peer_status *peers = arena_alloc(arena, PEERS_MAX * sizeof(*peers));
    size_t count = repl_secondaries(replication, kind, peers, PEERS_MAX);
    for (size_t i = 0; i < cf_min(count, PEERS_MAX); i++) {
        struct json *peer = peer_json(arena, &peers[i]);
        json_set_text(arena, peer, "node_id", peers[i].id);
        json_set_text(arena, peer, "state", peers[i].state);
        json_set_int(arena, peer, "acknowledged_wal", (int64_t)peers[i].position.index);
        json_set_int(arena, peer, "bootstrap_bytes", (int64_t)peers[i].bootstrap_bytes);
        json_array_add(arena, heard, peer);
    }
    json_set(arena, object, "known_secondaries", known);
    json_set(arena, object, "secondaries", heard);
    json_set(arena, object, "registered_secondaries", registered); /* with the tokens' expiry; the revoked, too */
}

/* How much log is kept, and for whom: before it is cut at its cap, an operator has to know. */
static void add_retention(const struct node_replication *replication, struct arena *arena,
                          struct json *object)
{
    const struct repl_retention *retention = &replication->retention;
    uint64_t floor = retention->floor != UINT64_MAX ? retention->floor
                                                    : atomic_load(&replication->advanced);
    json_set_int(arena, object, "log_floor", (int64_t)floor);
    json_set_int(arena, object, "log_bytes", (int64_t)retention->log_bytes);
    json_set_int(arena, object, "log_bytes_max", (int64_t)retention->log_bytes_max);
    json_set_int(arena, object, "log_hold_s", (int64_t)retention->hold_s);
    json_set_bool(arena, object, "log_near_cap", retention->alarm);
    json_set_int(arena, object, "secondaries_unheard", (int64_t)retention->unknown);
    json_set_int(arena, object, "secondaries_cut_off", (int64_t)retention->cut_off);
    json_set_int(arena, object, "secondaries_overdue", (int64_t)retention->overdue);
}

static void add_primary(struct node_replication *replication, enum repl_kind kind,
                        struct request *rq, const char *root, struct json *object)
{
    struct arena *arena = rq->arena;
    struct set_primary set = {0};
    uint64_t index = rq->view->index;
    cf_ignore(set_read_primary(rq, repl_set_kind(kind), &set, NULL) != CF_OK, "shown as empty");
    add_common(replication->node, &replication->sides[kind], arena, object);
    json_set_text(arena, object, "mode", "primary");
    json_set_text(arena, object, "state",
                  replication->role == ROLE_FENCED ? "fenced" : "running");
    json_set_string(arena, object, "primary_cluster_addr", set.primary_cluster_addr);
    json_set_int(arena, object, "last_wal", (int64_t)index);
    json_set_int(arena, object, kind == REPL_DR ? "last_dr_wal" : "last_performance_wal",
                 (int64_t)index);
    json_set_text(arena, object, "merkle_root", root);
    add_retention(replication, arena, object);
    add_secondaries(replication, kind, rq, object);
}

/* ---- secondary ---- */

static void add_progress(struct arena *arena, struct json *object,
                         const struct repl_secondary_status *status)
{
    struct json *progress = json_object_new(arena);
    json_set_int(arena, progress, "sync_total_keys", (int64_t)status->bootstrap_total_keys);
    json_set_int(arena, progress, "sync_progress", (int64_t)status->bootstrap_keys);
    json_set_int(arena, progress, "bytes", (int64_t)status->bootstrap_bytes);
    json_set_int(arena, progress, "total_bytes", (int64_t)status->bootstrap_total_bytes);
    json_set_int(arena, progress, "bytes_per_second", (int64_t)status->bootstrap_per_s);
    json_set_int(arena, progress, "seconds_left", (int64_t)status->bootstrap_left_s);
    json_set(arena, object, "merkle_sync_progress", progress);
}

/* Devices of the primary that are of no use on this node, which answers without them (node/core/audit.h). */
static struct json *unavailable_devices(struct request *rq)
{
    struct json *names = json_array_new(rq->arena);
    const struct audit_table *table = rq->view->audit;
    for (size_t i = 0; table != NULL && i < table->count; i++) {
        if (audit_is_excused(&table->entries[i])) {
            json_array_add(rq->arena, names, json_from_string(rq->arena, table->entries[i].path));
        }
    }
    return names;
}

static void add_link_addresses(struct arena *arena, struct json *object,
                               const struct repl_secondary_status *status)
{
    struct json *known = json_array_new(arena);
    struct json *tried = json_array_new(arena);
    for (size_t i = 0; i < status->known_addresses.count; i++) {
        json_array_add(arena, known,
                       json_from_text(arena, https(arena, status->known_addresses.text[i])));
    }
    for (size_t i = 0; i < status->address_count; i++) {
        struct json *one = json_object_new(arena);
        json_set_text(arena, one, "address", status->addresses[i].address);
        json_set_text(arena, one, "last_error", status->addresses[i].last_error);
        set_time(arena, one, "last_tried", status->addresses[i].tried_ns);
        json_array_add(arena, tried, one);
    }
    json_set(arena, object, "known_primary_cluster_addrs", known);
    json_set(arena, object, "addresses", tried);
}

static void add_readiness(struct arena *arena, struct json *object, const char *state,
                          bool bootstrapping)
{
    struct json *reasons = json_array_new(arena);
    if (bootstrapping) {
        json_array_add(arena, reasons, json_from_text(arena, "the first copy is not complete"));
    } else if (strcmp(state, "stream-wals") != 0) {
        json_array_add(arena, reasons,
                       json_from_text(arena, "not streaming: what the primary wrote since is "
                                             "missing"));
    }
    json_set_bool(arena, object, "ready_to_promote", !bootstrapping);
    json_set(arena, object, "not_ready_reasons", reasons);
}

static void add_secondary(struct node_replication *replication, enum repl_kind kind,
                          struct request *rq, const struct set_link *link, const char *root,
                          struct json *object)
{
    struct arena *arena = rq->arena;
    struct repl_side *side = &replication->sides[kind];
    struct repl_secondary_status *status =
        arena_new_object(arena, struct repl_secondary_status);
    struct json *primaries = json_array_new(arena);
    struct repl_position position = {0};
    bool bootstrapping = cf_slice_is(link->state, "bootstrapping");
    bool runs = side->secondary != NULL;
    if (runs) {
        repl_secondary_status(side->secondary, status);
    }
    const char *state = runs ? status->state : "idle";
    struct cf_slice bytes;
    if (!bootstrapping &&
        set_read_bytes(rq, set_position_key(repl_set_kind(kind)), &bytes, NULL) == CF_OK) {
        cf_ignore(repl_position_decode(bytes, &position, NULL) != CF_OK, "shown as the beginning");
    }
    add_common(replication->node, side, arena, object);
    json_set_string(arena, object, "cluster_id", link->set_id);
    json_set_text(arena, object, "mode", bootstrapping ? "bootstrapping" : "secondary");
    json_set_text(arena, object, "state", state);
    json_set_text(arena, object, "connection_state", runs ? status->connection_state : "idle");
    json_set_string(arena, object, "secondary_id", link->secondary_id);
    json_set_text(arena, object, "primary_cluster_addr",
                  link->address_count != 0
                      ? https(arena, arena_text(arena, link->addresses[0]))
                      : "");
    json_set_int(arena, object, "last_remote_wal", (int64_t)position.index);
    set_time(arena, object, "last_start", runs ? status->last_start_ns : link->started_ns);
    json_set_text(arena, object, "merkle_root", root);
    if (runs && status->primary.cluster_address[0] != '\0') {
        json_array_add(arena, primaries, peer_json(arena, &status->primary));
    }
    json_set(arena, object, "primaries", primaries);
    add_link_addresses(arena, object, status);
    json_set_int(arena, object, "lag_entries", (int64_t)status->lag_entries);
    json_set_int(arena, object, "lag_bytes", (int64_t)status->lag_bytes);
    json_set_int(arena, object, "lag_ms", (int64_t)status->lag_ms);
    json_set_int(arena, object, "bootstraps", (int64_t)status->bootstraps);
    json_set_int(arena, object, "copied_bytes", (int64_t)status->copied_bytes);
    merkle_add_secondary(side, status, arena, object);
    json_set_text(arena, object, "last_error", status->error);
    json_set(arena, object, "audit_devices_unavailable", unavailable_devices(rq));
    if (kind == REPL_PERFORMANCE) {
        /* Can it prove to its primary that it was replaced? 0: it has no certificate for that yet. */
        json_set_int(arena, object, "promotion_certificate",
                     promotion_is_current(rq, link) ? (int64_t)promotion_serial(link) : 0);
    }
    add_readiness(arena, object, state, bootstrapping);
    if (strcmp(state, "merkle-sync") == 0) {
        add_progress(arena, object, status);
    }
}

/* ---- the answer, made on the main loop ---- */

static struct json *describe(struct node_replication *replication, enum repl_kind kind,
                             const struct asking *asking)
{
    struct request *rq = asking->rq;
    const char *root = asking->roots[kind];
    struct json *object = json_object_new(rq->arena);
    struct set_link link;
    bool hidden = kind == REPL_PERFORMANCE && replication->role == ROLE_DR_SECONDARY;
    if (replication->sides[kind].is_primary && !hidden) {
        add_primary(replication, kind, rq, root, object);
    } else if (!hidden && set_read_link(rq, repl_set_kind(kind), &link, NULL) == CF_OK &&
               !cf_slice_is(link.state, "promoted")) {
        add_secondary(replication, kind, rq, &link, root, object);
    } else {
        json_set_text(rq->arena, object, "mode", "disabled");
    }
    return object;
}

static void describe_run(void *arg)
{
    struct asking *asking = arg;
    struct request *rq = asking->rq;
    struct node_replication *replication = asking->node->replication;
    if (asking->one) {
        rq->response.data = describe(replication, asking->kind, asking);
    } else {
        struct json *data = response_data(rq);
        json_set(rq->arena, data, "dr", describe(replication, REPL_DR, asking));
        json_set(rq->arena, data, "performance", describe(replication, REPL_PERFORMANCE, asking));
    }
    core_host_done(rq, CF_OK);
}

/* On a worker: the tree may have to catch up. */
static void hash_run(void *arg)
{
    struct asking *asking = arg;
    struct node_replication *replication = asking->node->replication;
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        bool asked = !asking->one || asking->kind == (enum repl_kind)i;
        if (asked && strcmp(atomic_load(&replication->modes[i]), "disabled") != 0) {
            cf_ignore(state_tree_root(asking->node->tree, (enum repl_kind)i, asking->roots[i],
                                      NULL) != CF_OK,
                      "shown as empty");
        }
    }
    loop_post(asking->node->loop, describe_run, asking);
}

static cf_status ask(struct request *rq, bool one, enum repl_kind kind)
{
    struct asking *asking = arena_new_object(rq->arena, struct asking);
    *asking = (struct asking){.rq = rq, .node = core_host_context(rq->core), .one = one,
                              .kind = kind};
    core_work(rq->core, hash_run, asking);
    return CF_OK;
}

cf_status replication_status(struct request *rq, struct cf_error *err)
{
    (void)err;
    return ask(rq, false, REPL_PERFORMANCE);
}

cf_status replication_kind_status(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    CF_TRY(repl_kind(rq, &kind, err));
    return ask(rq, true, kind == SET_DR ? REPL_DR : REPL_PERFORMANCE);
}
