/* node/server/node.c: starting a node, wiring its parts together, ending it in order. */
#include "node/server/node.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/level.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/outside.h"
#include "node/core/sys/sys.h"
#include "node/format/encode.h"
#include "node/http/api.h"
#include "node/http/parser.h"
#include "node/server/audit.h"
#include "node/server/auto_seal.h"
#include "node/server/autopilot.h"
#include "node/server/ceremony.h"
#include "node/server/catch_up.h"
#include "node/server/cluster.h"
#include "node/server/dev.h"
#include "node/server/host.h"
#include "node/server/init.h"
#include "node/server/metrics.h"
#include "node/server/migrate.h"
#include "node/server/monitor.h"
#include "node/server/outgoing.h"
#include "node/server/proposals.h"
#include "node/server/registry.h"
#include "node/server/rekey.h"
#include "node/server/renewal.h"
#include "node/server/replication.h"
#include "node/server/replication/filter.h"
#include "node/server/replication/runs.h"
#include "node/server/replication/tree.h"
#include "node/server/seal.h"
#include "node/server/snapshot/auto.h"
#include "node/server/static_seal.h"
#include "node/server/status.h"
#include "node/server/tick.h"
#include "node/server/upkeep.h"

#define NAME_RECORD "node-name"
#define TYPE_RECORD "storage-type"

#define CONNECTIONS_MAX 16384
#define CONNECTIONS_PER_ADDRESS_MAX 4096
#define KEY_MEMORY ((size_t)1 << 20)
#define DRAIN_US ((uint64_t)5 * 1000000)

static struct proposer the_proposer; /* of the one node of this process */

const struct proposer *node_proposer(struct node *node)
{
    (void)node;
    return &the_proposer;
}

void node_cluster_id(const struct node *node, char to[37])
{
    struct uuid id = {{0}};
    if (node->store != NULL && raft_store_has_identity(node->store)) {
        struct raft_identity identity = raft_store_identity(node->store);
        memcpy(id.bytes, identity.cluster_id, sizeof(id.bytes));
    }
    encode_uuid_text(id, to);
}

const char *node_cluster_name(const struct node *node)
{
    return node->config->cluster_name != NULL ? node->config->cluster_name : "coffer";
}

/* ---- routes that answer in every state ---- */

/* ?help=1 on what is answered without the frame: what it is for, from the tables that the OpenAPI document has it
 * from. */
static bool answer_help(struct http_exchange *x, struct cf_slice path)
{
    const struct route *const tables[] = {sys_node_routes, host_routes};
    struct cf_slice query = http_query(x);
    if (http_method(x) != HTTP_GET || (!cf_slice_is(query, "help=1") && !cf_slice_is(query, "help=true"))) {
        return false;
    }
    for (size_t i = 0; i < CF_LENGTH(tables); i++) {
        for (const struct route *route = tables[i]; route->pattern != NULL; route++) {
            bool is_ours = tables[i] == sys_node_routes || (route->flags & ROUTE_CEREMONY) != 0;
            if (is_ours && cf_slice_is(cf_slice_from(path, strlen("sys/")), route->pattern)) {
                struct json *body = json_object_new(http_arena(x));
                json_set_text(http_arena(x), body, "help", route->help);
                api_answer_json(x, 200, body);
                return true;
            }
        }
    }
    return false;
}

static bool node_route(void *context, struct http_exchange *x, struct cf_slice path)
{
    static const struct {
        const char *path;
        void (*handle)(struct node *node, struct http_exchange *x);
    } routes[] = {
        {"sys/health", status_handle_health},   {"sys/seal-status", seal_handle_status},
        {"sys/leader", status_handle_leader},   {"sys/init", init_handle},
        {"sys/unseal", seal_handle_unseal},     {"sys/storage/raft/join", cluster_handle_join},
    };
    struct node *node = context;
    bool is_sys = cf_slice_starts(path, CF_SLICE("sys/"));
    if (is_sys && answer_help(x, path)) {
        return true;
    }
    for (size_t i = 0; is_sys && i < CF_LENGTH(routes); i++) {
        if (cf_slice_is(path, routes[i].path)) {
            if (http_method(x) == HTTP_HEAD && routes[i].handle != status_handle_health) {
                http_respond_error(x, 405, NULL);
                return true;
            }
            routes[i].handle(node, x);
            return true;
        }
    }
    if (cf_slice_is(path, "sys/metrics") && metrics_handle_open(node, x)) {
        return true;
    }
    const char *why = renewal_not_member(node);
    if (why != NULL) { /* there is nobody to try again with */
        http_respond_error(x, 503, why);
        return true;
    }
    return is_sys && (cluster_handle_bootstrap(node, x, path) || ceremony_handle(node, x, path));
}

/* ---- hardening ---- */

static cf_status harden(const struct config *config, struct cf_error *err)
{
    struct rlimit none = {0, 0};
    (void)umask(077);
    cf_ignore(setrlimit(RLIMIT_CORE, &none) != 0, "PR_SET_DUMPABLE does the same");
    cf_ignore(prctl(PR_SET_DUMPABLE, 0) != 0, "an old kernel");
    cf_ignore(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0, "an old kernel");
    return secret_init(KEY_MEMORY, !config->disable_mlock, err);
}

/* ---- storage and consensus ---- */

static cf_status open_storage(struct node *node, struct cf_error *err)
{
    struct config *config = node->config;
    if (config->storage == STORAGE_INMEM) {
        node->kv = kv_open_memory();
    } else {
        struct stat info;
        if (mkdir(config->path, 0700) != 0 && errno == EEXIST &&
            stat(config->path, &info) == 0 && !S_ISDIR(info.st_mode)) {
            return cf_fail(err, CF_INVALID, "data directory \"%s\" is no directory", config->path);
        }
        if (access(config->path, W_OK | X_OK) != 0) {
            return cf_fail(err, CF_IO, "cannot make data directory \"%s\": %s", config->path,
                           strerror(errno));
        }
        const char *path = arena_printf(config->arena, "%s/db", config->path);
        CF_TRY(kv_open(path, NULL, &node->kv, err));
    }
    return raft_store_open(node->kv, &node->store, err);
}

/* The record says what the configuration said when the directory was first used. */
static cf_status check_record(struct node *node, const char *record, const char *what,
                              const char *configured, struct cf_error *err)
{
    KV_VALUE(kept) = {0};
    cf_status status = raft_store_get_record(node->store, record, &kept, err);
    if (status == CF_NOT_FOUND) {
        return raft_store_put_record(node->store, record, cf_slice_str(configured), err);
    }
    CF_TRY(status);
    return cf_slice_is(kept.bytes, configured)
               ? CF_OK
               : cf_fail(err, CF_INVALID,
                         "data directory \"%s\" belongs to %s \"%.*s\", but the configuration says "
                         "\"%s\": correct path or %s",
                         node->config->path, what, CF_SHOW(kept.bytes), configured, what);
}

/* A data directory under the name of another node (a copied configuration, a wrong path) is refused:
 * two nodes would take themselves for the same voter. So is one of another type of storage. */
static cf_status check_name(struct node *node, struct cf_error *err)
{
    if (node->config->storage == STORAGE_INMEM) {
        return CF_OK;
    }
    CF_TRY(check_record(node, TYPE_RECORD, "storage",
                        storage_type_name(node->config->storage), err));
    return node->config->storage == STORAGE_RAFT
               ? check_record(node, NAME_RECORD, "node_id", node->config->node_id, err)
               : CF_OK;
}

cf_status node_start_driver(struct node *node, struct cf_error *err)
{
    uint64_t seed;
    CF_TRY(check_name(node, err));
    cf_random_fill(core_random(), &seed, sizeof(seed));
    struct raft_driver_options options = {
        .loop = node->loop,
        .store = node->store,
        .applier = proposals_applier(node),
        .seed = seed,
        .features = cf_feature_level(),
        .condition = RAFT_SEALED,
        .state_wal = node->config->state_wal,
        .flush_us = (uint64_t)cf_max(0, node->config->snapshot_interval_s) * 1000000,
    };
    options.log_bytes_max = node->config->log_retention_bytes;
    if (node->config->trailing_logs > 0) {
        options.trailing_entries = (uint64_t)node->config->trailing_logs;
        options.trailing_bytes = 1; /* the larger of both counts: entries alone */
    }
    char id[37];
    node_cluster_id(node, id);
    core_set_cluster_id(node->core, id);
    core_set_log_end(node->core, UINT64_MAX);
    CF_TRY(raft_driver_start(&options, &node->driver, err));
    raft_driver_set_floor(node->driver, 0); /* all that is there, until secondaries are known about */
    pulse_start(node);
    atomic_store(&node->driver_shared, node->driver);
    atomic_store(&node->is_initialized, true);
    cluster_driver_started(node);
    renewal_start(node);
    return CF_OK;
}

/* ---- listeners ---- */

static void handle(void *ctx, struct http_exchange *x)
{
    api_handle(ctx, x);
}

static bool no_ui(void *context, struct http_exchange *x, struct cf_slice path)
{
    (void)context;
    if (cf_slice_starts(path, CF_SLICE("/ui"))) {
        http_respond_error(x, 404, "this build has no web interface");
        return true;
    }
    return false;
}

/* The least of those given: a reactor serves connections of all listeners. 0: the default. */
static size_t request_size_max(const struct config *config)
{
    int64_t least = 0;
    for (size_t i = 0; i < config->listener_count; i++) {
        int64_t one = config->listeners[i].request_size_max;
        least = one > 0 && (least == 0 || one < least) ? one : least;
    }
    return (size_t)least;
}

static cf_status open_listeners(struct node *node, struct cf_error *err)
{
    struct config *config = node->config;
    struct api_options api = {
        .core = node->core,
        .node_route = node_route,
        .other = no_ui,
        .ceremony_is_open = ceremony_is_open,
        .context = node,
        .forwards_by_header = config->forwards_by_header};
    node->api = api_new(&api);
    struct http_options options = {
        .handler = handle, .ctx = node->api, .sink_for = snapshot_sink_for, .sink_ctx = node,
        .body_max = request_size_max(config)};
    node->gate = http_gate_new(CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX);
    CF_TRY(http_reactors_start(&options, 0, &node->reactors, err));
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (!listener->tls_disable) {
            struct tls_files files = {.cert_file = listener->tls_cert_file,
                                      .key_file = listener->tls_key_file,
                                      .client_ca_file = listener->tls_client_ca_file,
                                      .no_client_certs = listener->tls_disable_client_certs,
                                      .require_client_cert = listener->tls_require_client_cert,
                                      .only_tls13 = listener->only_tls13};
            CF_TRY(tls_server_from_files(&files, &node->tls[i], err));
        }
        CF_TRY(http_listen(node->loop, node->reactors, cf_slice_str(listener->address),
                           node->tls[i], node->gate, (void *)(uintptr_t)listener,
                           &node->listeners[i], err));
        cf_info("server", "API listener on %s%s", http_listener_address(node->listeners[i]),
                listener->tls_disable ? " (plain HTTP)" : "");
    }
    return CF_OK;
}

/* ---- signals ---- */

static void on_terminate(void *arg)
{
    node_stop(arg, 0);
}

static void on_hangup(void *arg)
{
    struct node *node = arg;
    struct cf_error err = {0};
    for (size_t i = 0; i < node->config->listener_count; i++) {
        if (node->tls[i] == NULL) {
            continue;
        }
        if (tls_server_reload(node->tls[i], &err) == CF_OK) {
            cf_info("server", "certificate of %s reloaded", node->config->listeners[i].address);
        } else {
            cf_err("server", "certificate not reloaded, the old one stays in use: %s",
                   err.message);
        }
    }
    host_reload(node);
}

/* ---- the end ---- */

static void drained(void *arg)
{
    struct node *node = arg;
    loop_stop(node->loop);
}

static void stepped_down(void *arg, cf_status status)
{
    struct node *node = arg;
    if (status != CF_OK) {
        cf_warn("server", "leadership was not handed over: %s", cf_status_text(status));
    }
    if (node->reactors != NULL) {
        http_reactors_drain(node->reactors, DRAIN_US, node->loop, drained, node);
    } else {
        loop_stop(node->loop);
    }
}

void node_stop(struct node *node, int exit_status)
{
    if (node->is_stopping) {
        return;
    }
    node->is_stopping = true;
    node->exit_status = exit_status;
    cf_info("server", "stopping");
    for (size_t i = 0; i < CONFIG_LISTENERS_MAX; i++) {
        http_listener_free(node->listeners[i]);
        node->listeners[i] = NULL;
    }
    core_background_stop(node->core);
    monitors_end(node->monitors, true); /* they have no end of their own to wait for */
    cluster_step_down(node, stepped_down, node);
}

/* ---- -dev ---- */

static void dev_seeded(struct node *node, struct cf_slice root_token, struct cf_slice unseal_key)
{
    if (root_token.size == 0) {
        node_stop(node, 1);
        return;
    }
    CF_BUF(key) = {0};
    encode_base64(&key, unseal_key);
    (void)printf("\nWARNING! dev mode is enabled: everything is in memory and lost at the end, and "
                 "the server starts unsealed.\n\n"
                 "    export VAULT_ADDR='%s'\n\nUnseal Key: %.*s\n",
                 node->config->api_addr, CF_SHOW(cf_buf_slice(&key)));
    dev_set_up(node, root_token);
}

/* ---- the whole life ---- */

/* For handlers that have to know something from outside (node/core/outside.h). */
static cf_status fetch(void *context, const struct outside_ask *ask, int timeout_ms, struct cf_buf *to,
                       struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(1024);
    (void)context;
    return outgoing_fetch(arena_text(arena, ask->url), ask->content_type, ask->body, timeout_ms, to, err);
}

static cf_status start(struct node *node, struct cf_error *err)
{
    struct config *config = node->config;
    struct core_config core = {.default_lease_ttl_s = config->default_lease_ttl_s,
                               .max_lease_ttl_s = config->max_lease_ttl_s,
                               .raw_storage_endpoint = config->raw_storage_endpoint,
                               .audit = node_audit_options(node),
                               .audit_by_api = config->audit_by_api,
                               .lockout_rules = config->lockouts,
                               .lockout_rule_count = config->lockout_count,
                               .audit_may_prefix = config->audit_may_prefix,
                               .api_addr = config->api_addr};
    CF_TRY(harden(config, err));
    CF_TRY(loop_new(&node->loop, err));
    CF_TRY(loop_signal_new(node->loop, SIGTERM, on_terminate, node, &node->signals[0], err));
    CF_TRY(loop_signal_new(node->loop, SIGINT, on_terminate, node, &node->signals[1], err));
    CF_TRY(loop_signal_new(node->loop, SIGHUP, on_hangup, node, &node->signals[2], err));
    CF_TRY(open_storage(node, err));
    the_proposer = proposals_proposer(node);
    struct core_host host = {
        .context = node,
        .routes = host_routes,
        .forward = cluster_forward,
        .replicated = node_replication_reached,
        .fetch = fetch,
        .check_move = filter_check_move};
    node->core = core_new(&core, registry_engines, &the_proposer, &host);
    core_set_keyring_loader(node->core, seal_load_keyring, node);
    CF_TRY(node_audit_start(node, err));
    CF_TRY(seal_configure(node, err));
    node->snapshots = snapshots_new(node);
    node->monitors = monitors_new();
    node->snapshot_timer = auto_new(node);
    node->ceremony = ceremony_new();
    node->rekey = rekey_new();
    node->tree = state_tree_new(node->core);
    node->runs = runs_new(node);
    node->replication = node_replication_new(node);
    CF_TRY(cluster_new(node, &node->cluster, err));
    CF_TRY(cluster_open(node, err));
    node_replication_start(node);
    if (raft_store_has_identity(node->store)) {
        CF_TRY(node_start_driver(node, err));
        CF_TRY(seal_check_config(node, err));
    } else if (config->join_count != 0) {
        cluster_start_joining(node);
    }
    CF_TRY(open_listeners(node, err));
    if (config->is_dev) {
        init_dev(node, dev_seeded);
    }
    return CF_OK;
}

static void destroy(struct node *node)
{
    for (size_t i = 0; i < CONFIG_LISTENERS_MAX; i++) {
        http_listener_free(node->listeners[i]);
    }
    node_replication_stop(node);
    state_tree_stop(node->tree);
    if (node->snapshots != NULL) {
        snapshots_stop(node->snapshots);
    }
    if (node->driver != NULL) {
        cluster_driver_stopping(node);
        atomic_store(&node->driver_shared, NULL);
        raft_driver_free(node->driver);
        node->driver = NULL;
    }
    http_reactors_free(node->reactors);
    core_stop(node->core);
    loop_drain(node->loop); /* the last words of workers and applier, while their owners are there */
    catch_up_stop(node);
    http_gate_free(node->gate);
    api_free(node->api);
    node_replication_free(node->replication);
    tick_free(node->ticker);
    autopilot_feed_free(node->autopilot);
    auto_free(node->snapshot_timer);
    snapshots_free(node->snapshots);
    monitors_free(node->monitors);
    cluster_free(node->cluster);
    ceremony_free(node->ceremony);
    for (size_t i = 0; i < CONFIG_LISTENERS_MAX; i++) {
        tls_server_free(node->tls[i]);
    }
    state_tree_free(node->tree);
    runs_free(node->runs);
    core_free(node->core);
    node_audit_free(node);
    auto_seal_free(node->auto_seal);
    migrate_free(node->migration);
    static_seal_free(node->static_seal);
    cf_buf_done(&node->refused_root);
    renewal_free(node->renewal); /* a worker may have had it */
    upkeep_free(node->upkeep);
    rekey_free(node->rekey);
    raft_store_free(node->store);
    kv_close(node->kv);
    secret_free(node->root_key);
    secret_free(node->unseal_key);
    secret_free(node->pending_key);
    secret_free(node->previous_key);
    secret_free(node->migration_key);
    seal_progress_free(node->progress);
    pthread_mutex_destroy(&node->seal_lock);
    for (size_t i = 0; i < CF_LENGTH(node->signals); i++) {
        loop_signal_free(node->signals[i]);
    }
    loop_free(node->loop);
    cf_free(node);
}

int node_run(struct config *config)
{
    struct cf_error err = {0};
    struct node *node = cf_new(struct node);
    node->config = config;
    node->progress = seal_progress_new();
    node->started_ns = cf_wall_ns(cf_host_clock());
    cf_random_fill(core_random(), &node->incarnation, sizeof(node->incarnation));
    atomic_init(&node->is_sealed, true);
    pthread_mutex_init(&node->seal_lock, NULL);
    loop_process_init();
    outgoing_init();
    cf_log_set_level(config->log_level);
    cf_log_set_json(config->log_json);
    cf_info("server", "coffer %s, node \"%s\", storage %s", COFFER_VERSION, config->node_id,
            storage_type_name(config->storage));
    if (start(node, &err) != CF_OK) {
        (void)fprintf(stderr, "coffer: cannot start: %s%s%s\n", err.message,
                      err.detail[0] != '\0' ? ". " : "", err.detail);
        return 1; /* the process ends: nothing is half done that a restart does not repair */
    }
    loop_run(node->loop);
    int status = node->exit_status;
    destroy(node);
    return status;
}
