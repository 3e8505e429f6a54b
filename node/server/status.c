/* node/server/status.c: what a node says of itself without a token. */
#include "node/server/status.h"

#include "node/base/memory.h"
#include "node/format/timefmt.h"
#include "node/format/url.h"
#include "node/server/cluster.h"
#include "node/server/migrate.h"
#include "node/server/renewal.h"
#include "node/server/replication.h"
#include "node/server/seal.h"

#define VERSION_TEXT "1.15.0+coffer." COFFER_VERSION

/* Only where there is something to tell: the answer of a member stays as it is known. */
static void tell_standing(const struct node *node, struct arena *arena, struct json *body)
{
    const char *why = renewal_not_member(node);
    if (why != NULL) {
        json_set_bool(arena, body, "removed_from_cluster", true);
        json_set_text(arena, body, "removed_reason", why);
    }
}

struct json *status_seal(struct node *node, struct arena *arena)
{
    const struct config_seal *seal = config_auto_seal(node->config);
    struct seal_config config = {.type = seal != NULL ? seal->type : SEAL_SHAMIR};
    bool known = seal_config_of(node, &config, NULL) == CF_OK;
    bool sealed = atomic_load(&node->is_sealed);
    struct json *body = json_object_new(arena);
    json_set_text(arena, body, "type", seal_type_name(config.type));
    json_set_bool(arena, body, "initialized", known || atomic_load(&node->is_initialized));
    json_set_bool(arena, body, "sealed", sealed);
    json_set_int(arena, body, "t", config.shape.threshold);
    json_set_int(arena, body, "n", config.shape.shares);
    pthread_mutex_lock(&node->seal_lock);
    json_set_int(arena, body, "progress", seal_progress_count(node->progress));
    json_set_text(arena, body, "nonce", seal_progress_nonce(node->progress));
    pthread_mutex_unlock(&node->seal_lock);
    json_set_text(arena, body, "version", VERSION_TEXT);
    json_set_text(arena, body, "build_date", COFFER_BUILD_DATE);
    json_set_bool(arena, body, "migration", known && migrate_is_pending(node, &config));
    if (!sealed) {
        char id[37];
        node_cluster_id(node, id);
        json_set_text(arena, body, "cluster_name", node_cluster_name(node));
        json_set_text(arena, body, "cluster_id", id);
    }
    json_set_bool(arena, body, "recovery_seal", seal_is_auto(config.type));
    json_set_text(arena, body, "storage_type", storage_type_name(node->config->storage));
    tell_standing(node, arena, body);
    return body;
}

void seal_handle_status(struct node *node, struct http_exchange *x)
{
    api_answer_json(x, 200, status_seal(node, http_arena(x)));
}

/* ---- sys/health ---- */

enum health {
    HEALTH_ACTIVE,
    HEALTH_STANDBY,
    HEALTH_CUT_OFF,
    HEALTH_PERFORMANCE_STANDBY,
    HEALTH_DR_SECONDARY,
    HEALTH_SEALED,
    HEALTH_UNINITIALIZED,
    HEALTH_REMOVED,
    HEALTH_COUNT
};

static const struct {
    int code;
    const char *parameter;
} healths[HEALTH_COUNT] = {
    [HEALTH_ACTIVE] = {200, "activecode"},
    [HEALTH_STANDBY] = {429, "standbycode"},
    [HEALTH_CUT_OFF] = {474, "haunhealthycode"},
    [HEALTH_PERFORMANCE_STANDBY] = {473, "performancestandbycode"},
    [HEALTH_DR_SECONDARY] = {472, "drsecondarycode"},
    [HEALTH_SEALED] = {503, "sealedcode"},
    [HEALTH_UNINITIALIZED] = {501, "uninitcode"},
    [HEALTH_REMOVED] = {530, "removedcode"},
};

static bool is_active(struct node *node)
{
    struct raft_driver *driver = atomic_load(&node->driver_shared);
    return driver != NULL && raft_driver_is_leader(driver);
}

/* A standby that has not heard its leader for longer than an election takes: it can neither read nor forward. */
#define CUT_OFF_US ((uint64_t)5 * 1000000)
static bool is_cut_off(struct node *node)
{
    struct raft_driver *driver = atomic_load(&node->driver_shared);
    struct raft_driver_status status;
    if (driver == NULL) {
        return false;
    }
    raft_driver_status(driver, &status);
    return loop_now_us() > status.contact_us + CUT_OFF_US;
}

static enum health health_of(struct node *node, bool *dr)
{
    *dr = false;
    if (!atomic_load(&node->is_initialized)) {
        return HEALTH_UNINITIALIZED;
    }
    if (renewal_not_member(node) != NULL) {
        return HEALTH_REMOVED;
    }
    if (atomic_load(&node->is_sealed)) {
        return HEALTH_SEALED;
    }
    struct view *view = core_view(node->core);
    *dr = view != NULL && (view->role == ROLE_DR_SECONDARY);
    bool shut = view == NULL || view->role == ROLE_FENCED || view->role == ROLE_BOOTSTRAPPING;
    view_unref(view);
    if (*dr) {
        return HEALTH_DR_SECONDARY;
    }
    if (shut) {
        return HEALTH_SEALED; /* must get no traffic */
    }
    return is_active(node) ? HEALTH_ACTIVE : is_cut_off(node) ? HEALTH_CUT_OFF : HEALTH_STANDBY;
}

/* 0: not given; -1: no number. */
static int code_parameter(struct http_exchange *x, const char *name)
{
    struct cf_slice text = CF_SLICE_EMPTY;
    int64_t code;
    if (url_query(http_arena(x), http_query(x), name, &text, NULL) != CF_OK || text.size == 0) {
        return 0;
    }
    struct json *number = json_from_number(http_arena(x), text);
    if (number == NULL || !json_int64(number, &code) || code < 100 || code > 599) {
        return -1;
    }
    return (int)code;
}

static bool flag_parameter(struct http_exchange *x, const char *name)
{
    struct cf_slice text = CF_SLICE("-");
    cf_ignore(url_query(http_arena(x), http_query(x), name, &text, NULL) != CF_OK,
              "a malformed query has no flags");
    return cf_slice_is(text, "true") || cf_slice_is(text, "") || cf_slice_is(text, "1");
}

void status_handle_health(struct node *node, struct http_exchange *x)
{
    struct arena *arena = http_arena(x);
    bool dr;
    enum health health = health_of(node, &dr);
    int code = healths[health].code;
    for (size_t i = 0; i < HEALTH_COUNT; i++) {
        int wanted = code_parameter(x, healths[i].parameter);
        if (wanted < 0) {
            http_respond_error(x, 400, NULL);
            return;
        }
        code = i == (size_t)health && wanted != 0 ? wanted : code;
    }
    if (health == HEALTH_STANDBY && flag_parameter(x, "standbyok")) {
        int active = code_parameter(x, "activecode");
        code = active != 0 ? active : 200;
    }
    bool sealed = atomic_load(&node->is_sealed);
    struct json *body = json_object_new(arena);
    json_set_bool(arena, body, "initialized", atomic_load(&node->is_initialized));
    json_set_bool(arena, body, "sealed", sealed);
    json_set_bool(arena, body, "standby", sealed || !is_active(node));
    json_set_bool(arena, body, "performance_standby", false);
    const char *performance, *recovery;
    node_replication_modes(node, &performance, &recovery);
    json_set_text(arena, body, "replication_performance_mode", performance);
    json_set_text(arena, body, "replication_dr_mode", recovery);
    json_set_int(arena, body, "server_time_utc", cf_wall_ns(cf_host_clock()) / 1000000000);
    json_set_text(arena, body, "version", VERSION_TEXT);
    json_set_bool(arena, body, "enterprise", false);
    tell_standing(node, arena, body);
    if (!sealed) {
        char id[37];
        node_cluster_id(node, id);
        json_set_text(arena, body, "cluster_name", node_cluster_name(node));
        json_set_text(arena, body, "cluster_id", id);
        if (is_active(node)) {
            json_set_int(arena, body, "last_wal",
                         (int64_t)raft_driver_applied(atomic_load(&node->driver_shared)));
        }
    }
    api_answer_json(x, code, body);
}

/* ---- sys/leader ---- */

void status_handle_leader(struct node *node, struct http_exchange *x)
{
    struct arena *arena = http_arena(x);
    struct json *body = json_object_new(arena);
    struct raft_driver *driver = atomic_load(&node->driver_shared);
    bool ha = node->config->storage == STORAGE_RAFT;
    if (atomic_load(&node->is_sealed) || driver == NULL) {
        http_respond_error(x, 503, cf_status_text(CF_SEALED));
        return;
    }
    bool self = raft_driver_is_leader(driver);
    json_set_bool(arena, body, "ha_enabled", ha);
    json_set_bool(arena, body, "is_self", self);
    char since[TIMEFMT_SIZE] = "0001-01-01T00:00:00Z";
    int64_t active_since = atomic_load(&node->active_since_ns);
    if (self && active_since != 0) {
        timefmt_text(active_since, since);
    }
    json_set_text(arena, body, "active_time", since);
    struct cluster_peer leader = {0};
    bool known = cluster_leader(node, arena, &leader);
    json_set_string(arena, body, "leader_address", known ? leader.api_addr : CF_SLICE_EMPTY);
    json_set_string(arena, body, "leader_cluster_address",
                    known ? leader.cluster_addr : CF_SLICE_EMPTY);
    json_set_bool(arena, body, "performance_standby", false);
    json_set_int(arena, body, "performance_standby_last_remote_wal", 0);
    if (self) {
        json_set_int(arena, body, "last_wal", (int64_t)raft_driver_applied(driver));
    }
    struct raft_driver_status *status = arena_new_object(arena, struct raft_driver_status);
    raft_driver_status(driver, status);
    json_set_int(arena, body, "raft_committed_index", (int64_t)status->commit);
    json_set_int(arena, body, "raft_applied_index", (int64_t)raft_driver_applied(driver));
    api_answer_json(x, 200, body);
}
