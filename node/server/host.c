/* node/server/host.c: the routes of sys/ that need the node and not just a view. */
#include "node/server/host.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/format/timefmt.h"
#include "node/server/about.h"
#include "node/server/audit.h"
#include "node/server/autopilot.h"
#include "node/server/ceremony.h"
#include "node/server/cluster.h"
#include "node/server/metrics.h"
#include "node/server/monitor.h"
#include "node/server/raft_routes.h"
#include "node/server/rekey.h"
#include "node/server/replication/enable.h"
#include "node/server/replication/filter_routes.h"
#include "node/server/replication/merkle.h"
#include "node/server/replication/promote.h"
#include "node/server/replication/routes.h"
#include "node/server/replication/status.h"
#include "node/server/rotation.h"
#include "node/server/seal.h"
#include "node/server/snapshot/auto.h"
#include "node/server/versions.h"

static struct node *node_of(struct request *rq)
{
    return core_host_context(rq->core);
}

/* ---- sys/seal and sys/step-down: on the main loop, answered from there ---- */

static void seal_run(void *arg)
{
    struct request *rq = arg;
    struct node *node = node_of(rq);
    core_host_done(rq, CF_OK);
    seal_now(node);
}

static cf_status handle_seal(struct request *rq, struct cf_error *err)
{
    CF_TRY(raft_check_dr_token(rq, err));
    loop_post(node_of(rq)->loop, seal_run, rq);
    return CF_OK;
}

static void stepped_down(void *arg, cf_status status)
{
    core_host_done(arg, status == CF_TIMEOUT ? CF_OK : status);
}

static void step_down_run(void *arg)
{
    struct request *rq = arg;
    cluster_step_down(node_of(rq), stepped_down, rq);
}

static cf_status handle_step_down(struct request *rq, struct cf_error *err)
{
    CF_TRY(raft_check_dr_token(rq, err));
    loop_post(node_of(rq)->loop, step_down_run, rq);
    return CF_OK;
}

/* ---- sys/ha-status ---- */

static void ha_status_run(void *arg)
{
    struct request *rq = arg;
    struct node *node = node_of(rq);
    char host[256] = "";
    cf_ignore(gethostname(host, sizeof(host) - 1) != 0, "shown as empty");
    struct json *nodes = json_array_new(rq->arena);
    struct json *self = json_object_new(rq->arena);
    json_set_text(rq->arena, self, "hostname", host);
    json_set_text(rq->arena, self, "api_address", node->config->api_addr);
    json_set_text(rq->arena, self, "cluster_address", node->config->cluster_addr);
    json_set_bool(rq->arena, self, "active_node", true);
    json_set(rq->arena, self, "last_echo", json_null());
    json_set_text(rq->arena, self, "version", COFFER_VERSION);
    const struct raft_driver_status *status = raft_status_of(rq);
    json_set_text(rq->arena, self, "upgrade_version", COFFER_VERSION);
    json_set_int(rq->arena, self, "feature_level", status->feature_level);
    json_array_add(rq->arena, nodes, self);
    for (size_t i = 0; i < status->peer_count; i++) {
        const struct raft_peer_info *peer = &status->peers[i];
        if (peer->id == status->id) {
            continue;
        }
        char time[TIMEFMT_SIZE];
        int64_t ago_us = peer->heard_us != 0 ? (int64_t)(loop_now_us() - peer->heard_us) : 0;
        timefmt_text(cf_wall_ns(cf_host_clock()) - ago_us * 1000, time);
        struct json *other = json_object_new(rq->arena);
        json_set_text(rq->arena, other, "hostname", raft_peer_name(rq, peer));
        json_set_string(rq->arena, other, "api_address",
                        cluster_peer_api(node, rq->arena, peer->id));
        json_set_text(rq->arena, other, "cluster_address",
                      arena_printf(rq->arena, "https://%s", peer->address));
        json_set_bool(rq->arena, other, "active_node", false);
        json_set_text(rq->arena, other, "last_echo", peer->heard_us != 0 ? time : NULL);
        json_set_string(rq->arena, other, "version",
                        cluster_peer_version(node, rq->arena, peer->id));
        json_set_string(rq->arena, other, "upgrade_version",
                        cluster_peer_version(node, rq->arena, peer->id));
        json_set_int(rq->arena, other, "feature_level", peer->features);
        json_array_add(rq->arena, nodes, other);
    }
    json_set(rq->arena, response_data(rq), "nodes", nodes);
    json_set_int(rq->arena, response_data(rq), "feature_level", status->level);
    rq->response.data_at_top = true;
    core_host_done(rq, CF_OK);
}

/* On the main loop, whose links know the addresses. */
static cf_status handle_ha_status(struct request *rq, struct cf_error *err)
{
    (void)err;
    loop_post(node_of(rq)->loop, ha_status_run, rq);
    return CF_OK;
}

static cf_status handle_metrics(struct request *rq, struct cf_error *err)
{
    struct cf_slice format;
    CF_TRY(request_string(rq, "format", &format, err));
    metrics_answer(node_of(rq), rq, cf_slice_is(format, "prometheus"));
    core_host_done(rq, CF_OK);
    return CF_OK;
}

static const struct field rekey_fields[] = {
    {"secret_shares", FIELD_INT, "How many new shares."},
    {"secret_threshold", FIELD_INT, "How many of them open the seal."},
    {"require_verification", FIELD_BOOL, "The new shares count once enough of them were given back."},
    {"pgp_keys", FIELD_LIST, "Public keys of the holders, one a share, in base64."},
    {"backup", FIELD_BOOL, "Keeps the encrypted shares, too."},
    {"stored_shares", FIELD_INT, "Kept for clients."},
    {"key", FIELD_STRING, "A share, in hex or base64."},
    {"nonce", FIELD_STRING, "Of the operation."},
    FIELD_END};

/* For the policy check and the documents: these are answered before the frame (ceremony.h). */
static cf_status by_ceremony(struct request *rq, struct cf_error *err)
{
    (void)rq;
    return cf_fail(err, CF_INVALID, "this path belongs to the root namespace");
}

const struct route host_routes[] = {
    {.pattern = "seal", .write = handle_seal, .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_DR_TOKEN,
     .help = "Seals this node: keys are wiped, nothing is served until it is unsealed again."},
    {.pattern = "step-down", .write = handle_step_down,
     .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE | ROUTE_DR_TOKEN,
     .help = "The active node hands leadership over."},
    {.pattern = "rotate", .write = rotation_handle, .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE,
     .help = "Makes a new data key; older ones go on decrypting."},
    {.pattern = "rotate/keyring", .write = rotation_handle,
     .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE, .help = "As sys/rotate."},
    {.pattern = "rotate/config", .read = rotation_read_config, .write = rotation_write_config,
     .fields = rotation_fields, .help = "When data keys are replaced without being asked to."},
    {.pattern = "rotate/keyring/config", .read = rotation_read_config,
     .write = rotation_write_config, .fields = rotation_fields, .help = "As sys/rotate/config."},
    {.pattern = "rekey/init", .read = rekey_read, .write = rekey_start, .del = rekey_cancel,
     .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE | ROUTE_CEREMONY, .fields = rekey_fields,
     .help = "Starts, shows and cancels the replacement of the unseal shares."},
    {.pattern = "rekey/update", .write = rekey_update,
     .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE | ROUTE_CEREMONY, .fields = rekey_fields,
     .help = "Takes a present share."},
    {.pattern = "rekey/verify", .read = rekey_verify_read, .write = rekey_verify,
     .del = rekey_verify_restart, .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE | ROUTE_CEREMONY,
     .fields = rekey_fields, .help = "Takes a new share, to show that it is in good hands."},
    {.pattern = "rekey-recovery-key/init", .read = rekey_read, .write = rekey_start, .del = rekey_cancel,
     .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE | ROUTE_CEREMONY, .fields = rekey_fields,
     .help = "Starts, shows and cancels the replacement of the recovery shares."},
    {.pattern = "rekey-recovery-key/update", .write = rekey_update,
     .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE | ROUTE_CEREMONY, .fields = rekey_fields,
     .help = "Takes a present share."},
    {.pattern = "rekey-recovery-key/verify", .read = rekey_verify_read, .write = rekey_verify,
     .del = rekey_verify_restart, .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE | ROUTE_CEREMONY,
     .fields = rekey_fields, .help = "Takes a new share, to show that it is in good hands."},
    {.pattern = "rotate/root/init", .read = rekey_read, .write = rekey_start, .del = rekey_cancel,
     .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE, .fields = rekey_fields,
     .help = "Starts, shows and cancels the replacement of the unseal shares."},
    {.pattern = "rotate/root/update", .write = rekey_update,
     .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE, .fields = rekey_fields,
     .help = "Takes a present share."},
    {.pattern = "rotate/root/verify", .read = rekey_verify_read, .write = rekey_verify,
     .del = rekey_verify_restart, .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE,
     .fields = rekey_fields, .help = "Takes a new share, to show that it is in good hands."},
    {.pattern = "rotate/recovery/init", .read = rekey_read, .write = rekey_start, .del = rekey_cancel,
     .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE, .fields = rekey_fields,
     .help = "Starts, shows and cancels the replacement of the recovery shares."},
    {.pattern = "rotate/recovery/update", .write = rekey_update,
     .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE, .fields = rekey_fields,
     .help = "Takes a present share."},
    {.pattern = "rotate/recovery/verify", .read = rekey_verify_read, .write = rekey_verify,
     .del = rekey_verify_restart, .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE,
     .fields = rekey_fields, .help = "Takes a new share, to show that it is in good hands."},
    {.pattern = "rekey/backup", .read = rekey_backup_read, .del = rekey_backup_delete,
     .flags = ROUTE_SUDO, .help = "The new shares, encrypted for their holders."},
    {.pattern = "rekey/recovery-key-backup", .read = rekey_backup_read, .del = rekey_backup_delete,
     .flags = ROUTE_SUDO, .help = "The new shares, encrypted for their holders."},
    {.pattern = "rekey/recovery-backup", .read = rekey_backup_read, .del = rekey_backup_delete,
     .flags = ROUTE_SUDO, .help = "The new shares, encrypted for their holders."},
    {.pattern = "rotate/root/backup", .read = rekey_backup_read, .del = rekey_backup_delete,
     .flags = ROUTE_SUDO, .help = "The new shares, encrypted for their holders."},
    {.pattern = "rotate/recovery/backup", .read = rekey_backup_read, .del = rekey_backup_delete,
     .flags = ROUTE_SUDO, .help = "The new shares, encrypted for their holders."},
    {.pattern = "generate-root/attempt", .read = by_ceremony, .write = by_ceremony,
     .del = by_ceremony, .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE | ROUTE_CEREMONY,
     .help = "Starts, shows and cancels the generation of a root token."},
    {.pattern = "generate-root/update", .write = by_ceremony,
     .flags = ROUTE_HOST | ROUTE_SUDO | ROUTE_ACTIVE | ROUTE_CEREMONY,
     .help = "Takes a key share for the generation of a root token."},
    {.pattern = "storage/raft/configuration", .read = raft_read_configuration,
     .write = raft_read_configuration, .flags = ROUTE_HOST | ROUTE_ACTIVE | ROUTE_DR_TOKEN, .help = "The members of this cluster."},
    {.pattern = "storage/raft/remove-peer", .write = raft_remove_peer,
     .flags = ROUTE_HOST | ROUTE_ACTIVE | ROUTE_DR_TOKEN,
     .help = "Removes a member of this cluster."},
    {.pattern = "storage/raft/snapshot-auto/config", .list = auto_list_configs,
     .flags = ROUTE_SUDO, .help = "The schedules of snapshots."},
    {.pattern = "storage/raft/snapshot-auto/config/:name", .read = auto_read_config,
     .write = auto_write_config, .del = auto_delete_config, .flags = ROUTE_SUDO,
     .help = "A schedule: interval, retain, path_prefix, file_prefix, storage_type."},
    {.pattern = "storage/raft/snapshot-auto/status/:name", .read = auto_read_status,
     .help = "When a schedule last ran, how it ended, and when it runs next."},
    {.pattern = "storage/raft/snapshot", .read = snapshot_handle_save,
     .write = snapshot_handle_restore, .flags = ROUTE_HOST,
     .help = "GET gives this cluster's state as an archive; POST restores one."},
    {.pattern = "storage/raft/snapshot-force", .write = snapshot_handle_force, .flags = ROUTE_HOST,
     .help = "Restores an archive that was sealed by other keys: its seal comes with it."},
    {.pattern = "storage/raft/autopilot/state", .read = autopilot_read_state,
     .write = autopilot_read_state, .flags = ROUTE_HOST | ROUTE_ACTIVE | ROUTE_DR_TOKEN, .help = "Health of the members of this cluster."},
    {.pattern = "storage/raft/autopilot/configuration", .read = autopilot_read_configuration,
     .write = autopilot_write_configuration,
     .flags = ROUTE_ACTIVE | ROUTE_ANY_ROLE | ROUTE_DR_TOKEN, .help = "When a member counts as healthy."},
    {.pattern = "ha-status", .read = handle_ha_status, .flags = ROUTE_HOST | ROUTE_ACTIVE,
     .help = "The nodes of this cluster and when they were last heard."},
    {.pattern = "metrics", .read = handle_metrics, .flags = ROUTE_HOST | ROUTE_CEREMONY,
     .help = "Counters and gauges of this node, as JSON or (format=prometheus) as text."},
#include "node/server/replication/routes.def"
    {.pattern = "loggers", .read = about_loggers_read, .write = about_loggers_write,
     .del = about_loggers_delete, .flags = ROUTE_HOST, .fields = about_logger_fields,
     .help = "Log levels of this node, until its next start."},
    {.pattern = "loggers/:name", .read = about_loggers_read, .write = about_loggers_write,
     .del = about_loggers_delete, .flags = ROUTE_HOST, .fields = about_logger_fields,
     .help = "The log level of a component of this node."},
    {.pattern = "monitor", .read = monitor_handle, .flags = ROUTE_HOST, .fields = monitor_fields,
     .help = "Follows the log of this node until the client goes: log_level, log_format."},
    {.pattern = "in-flight-req", .read = about_in_flight, .flags = ROUTE_HOST,
     .help = "The requests under way on this node."},
    {.pattern = "host-info", .read = about_host, .flags = ROUTE_HOST,
     .help = "The machine that this node runs on."},
    {.pattern = "config/state/sanitized", .read = about_configuration, .flags = ROUTE_HOST,
     .help = "The configuration of this node without secrets."},
    {.pattern = "pprof", .read = about_absent, .list = about_absent, .flags = ROUTE_HOST,
     .help = "There is no profiler: says so."},
    {.pattern = "pprof/:name", .read = about_absent, .flags = ROUTE_HOST,
     .help = "There is no profiler: says so."},
    {.pattern = "version-history", .list = versions_list,
     .help = "The versions that served this cluster, and since when."},
    ROUTE_END,
};

void host_reload(struct node *node)
{
    struct cf_error err = {0};
    const char *const *paths = (const char *const *)node->config->paths;
    struct config *fresh;
    if (node->config->path_count == 0) {
        audit_reopen(core_audit(node->core));
        return;
    }
    if (config_load(paths, node->config->path_count, &fresh, &err) != CF_OK) {
        cf_err("server", "configuration not reloaded: %s", err.message);
        audit_reopen(core_audit(node->core));
        return;
    }
    cf_log_set_level(fresh->log_level);
    for (size_t i = 0; i < cf_min(fresh->listener_count, node->config->listener_count); i++) {
        ceremony_reopen(&node->config->listeners[i], &fresh->listeners[i]);
    }
    cf_info("server", "log level reloaded");
    node_audit_reload(node, fresh);
}
