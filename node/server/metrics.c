/* node/server/metrics.c: counters and gauges of this node. */
#include "node/server/metrics.h"
#include "node/server/metrics_raft.h"
#include "node/server/replication/repl_int.h"
#include "node/server/replication/tree.h"
#include "node/server/snapshot/auto.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/format/timefmt.h"
#include "node/server/replication.h"

struct metric {
    const char *name, *help;
    bool is_counter;
    uint64_t value;
};

#define METRICS_MAX 128

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL) {
        cf_ignore(fscanf(file, "%*u %llu", &pages) != 1, "shown as 0");
        (void)fclose(file);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static size_t collect(struct node *node, struct arena *arena, struct metric *to)
{
    size_t count = 0;
    struct raft_driver *driver = atomic_load(&node->driver_shared);
    struct raft_driver_status *raft = arena_new_object(arena, struct raft_driver_status);
    struct kv_counters kv;
    kv_count(node->kv, &kv);
    if (driver != NULL) {
        raft_driver_status(driver, raft);
    }
    uint64_t requests = 0, connections = 0;
    for (unsigned i = 0; i < http_reactors_count(node->reactors); i++) {
        struct http_stats stats = http_server_stats(http_reactors_server(node->reactors, i));
        requests += stats.requests;
        connections += stats.connections;
    }
    struct autopilot *autopilot = arena_new_object(arena, struct autopilot);
    struct tree_report *report = arena_new_object(arena, struct tree_report);
    state_tree_report(node->tree, report);
    unsigned voters = 0, healthy_voters = 0;
    bool all_healthy = true;
    if (driver != NULL) {
        raft_driver_autopilot(driver, autopilot);
    }
    for (size_t i = 0; i < autopilot->count && i < raft->peer_count; i++) {
        const struct autopilot_health *health = autopilot_find(autopilot, raft->peers[i].id);
        bool healthy = health != NULL && health->is_healthy;
        bool votes = raft->peers[i].role != RAFT_LEARNER;
        voters += votes;
        healthy_voters += votes && healthy;
        all_healthy = all_healthy && healthy;
    }
    struct audit_status devices[AUDIT_DEVICES_MAX];
    size_t device_count = audit_status(core_audit(node->core), devices, AUDIT_DEVICES_MAX);
    uint64_t records = 0, lost = 0, failed = 0;
    for (size_t i = 0; i < device_count; i++) {
        records += devices[i].records;
        lost += devices[i].lost;
        failed += devices[i].is_failed;
    }
    struct replication_gauges repl;
    node_replication_gauges(node, &repl);
    const struct metric all[] = {
        {"coffer_replication_secondaries_connected", "secondaries that any node of this cluster serves, as the "
         "active node sees it", false, repl.connected},
        {"coffer_replication_secondaries_overdue", "secondaries that the log is not kept for any more", false,
         repl.overdue},
        {"coffer_replication_secondaries_cut_off", "secondaries that are away and need more than the log holds",
         false, repl.cut_off},
        {"coffer_replication_lag_entries", "of the secondary that is furthest behind", false, repl.lag_entries},
        {"coffer_replication_lag_bytes", "of the secondary that is furthest behind", false, repl.lag_bytes},
        {"coffer_replication_lag_ms", "of the secondary that is furthest behind", false, repl.lag_ms},
        {"coffer_replication_log_floor", "log index from which secondaries need the log; 0: none does", false,
         repl.floor},
        {"coffer_replication_log_bytes_max", "bytes of log at which it is cut for secondaries, too", false,
         repl.log_bytes_max},
        {"coffer_replication_log_near_cap", "1 when secondaries will soon need more than the log", false,
         repl.near_cap},
        {"coffer_replication_alarms", "claims of a newer epoch that were not proved, and the like", true,
         repl.alarms},
        {"coffer_replication_unacknowledged_bytes", "sent by this node to secondaries that have not committed it yet",
         false, repl.unacknowledged},
        {"coffer_replication_queued_bytes", "for secondaries, in this node's memory because the network takes no more",
         false, repl.queued},
        {"coffer_replication_streaming", "links of this node, as a secondary's, that stream", false,
         repl.streaming},
        {"coffer_replication_own_lag_entries", "of this cluster behind its primary", false,
         repl.own_lag_entries},
        {"coffer_replication_own_lag_bytes", "of this cluster behind its primary", false, repl.own_lag_bytes},
        {"coffer_replication_own_lag_ms", "of this cluster behind its primary", false, repl.own_lag_ms},
        {"coffer_replication_last_remote_wal", "index of the primary's log that is applied here", false,
         repl.last_remote},
        {"coffer_replication_reconnects", "connections to the primary that ended", true, repl.reconnects},
        {"coffer_replication_bootstraps", "copies of the primary that were taken", true, repl.bootstraps},
        {"coffer_replication_bootstrap_bytes", "of the copy that is under way", false, repl.bootstrap_bytes},
        {"coffer_audit_devices", "Audit devices of this node", false, device_count},
        {"coffer_audit_devices_failed", "Audit devices that take nothing at present", false, failed},
        {"coffer_audit_records", "Records given to audit devices", true, records},
        {"coffer_audit_records_lost", "Records that a device did not take", true, lost},
        {"coffer_storage_syncs", "fsyncs of the write-ahead log", true, kv.syncs},
        {"coffer_storage_commits", "batches written", true, kv.commits},
        {"coffer_storage_wal_bytes", "bytes written with the log", true, kv.wal_bytes},
        {"coffer_storage_flushes", "memtables written out", true, kv.flushes},
        {"coffer_log_entries", "log entries that requests of this node made", true,
         core_entry_count(node->core)},
        {"coffer_http_requests", "requests taken", true, requests},
        {"coffer_raft_proposals", "proposals taken", true, raft->proposals},
        {"coffer_snapshots_taken", "scheduled snapshots of this node", true,
         auto_count(node).taken},
        {"coffer_snapshots_failed", "scheduled snapshots that failed here", true,
         auto_count(node).failed},
        {"coffer_raft_syncs", "syncs of the log writer", true, raft->syncs},
        {"coffer_http_connections", "open client connections", false, connections},
        {"coffer_storage_memory_bytes", "memtables and cache", false, kv.memory_bytes},
        {"coffer_process_resident_bytes", "resident memory", false, resident_bytes()},
        {"coffer_raft_term", "term", false, raft->term},
        {"coffer_raft_commit_index", "commit index", false, raft->commit},
        {"coffer_raft_applied_index", "applied index", false, raft->applied},
        {"coffer_raft_last_index", "last log index", false, raft->last_index},
        {"coffer_raft_first_index", "first log index that is kept", false, raft->first_index},
        {"coffer_raft_durable_flushed_index", "applied index of the state on disk", false,
         raft->flushed},
        {"coffer_raft_log_bytes", "bytes of log kept", false, raft->log_bytes},
        {"coffer_raft_elections_started", "elections that this node began", true,
         raft->counters.elections},
        {"coffer_raft_feature_level", "feature level of this node", false, raft->feature_level},
        {"coffer_raft_feature_level_in_force", "the least of the members'", false, raft->level},
        {"coffer_raft_feature_level_state", "what reading the state takes", false, raft->state_level},
        {"coffer_raft_queue_entries", "proposals that wait", false, raft->queue_entries},
        {"coffer_raft_write_us_max", "longest write of the log with its sync", false,
         raft->write_us_max},
        {"coffer_raft_oldest_write_us", "age of the write of the log under way", false,
         raft->oldest_write_us},
        {"coffer_raft_disk_stalls", "times that a hung disk cost leadership", true,
         raft->disk_stalls},
        {"coffer_raft_loop_late_us_max", "longest that the thread which leads or follows did not run when it was due",
         false, raft->late_us_max},
        {"coffer_raft_loop_late", "times that it was late by half an election timeout", true, raft->lates},
        {"coffer_raft_disk_full", "1 when only what frees room is written", false,
         raft->disk_full},
        {"coffer_raft_disk_free_bytes", "room on the data directory's disk", false,
         raft->disk_left},
        {"coffer_raft_crc_failures", "damaged data that was met", true,
         raft->corruptions + raft->crc_failures},
        {"coffer_raft_acknowledged_lost", "times that this node's log lacked what it had acknowledged", true,
         raft->counters.amnesia + raft->counters.commit_beyond_last},
        {"coffer_raft_votes", "1 unless it has lost what it had acknowledged", false,
         (raft->condition & RAFT_RECOVERING) == 0},
        {"coffer_raft_digests", "sums of the state that were made", true, raft->digests},
        {"coffer_raft_digest_index", "index of the latest one", false, raft->digest_index},
        {"coffer_raft_digest_mismatches", "comparisons that found nodes to differ", true,
         raft->digest_mismatches},
        {"coffer_raft_diverged", "1 when this node's state differs and it takes no part", false,
         raft->diverged},
        {"coffer_raft_frames_refused", "foreign or malformed frames", true, raft->frames_refused},
        {"coffer_raft_is_leader", "1 on the active node", false,
         driver != NULL && raft_driver_is_leader(driver)},
        {"coffer_autopilot_healthy", "1 on the active node when all members are well", false,
         autopilot->count != 0 && all_healthy},
        {"coffer_autopilot_failure_tolerance", "voters that may fail, as the active node sees it",
         false, autopilot_tolerance(voters, healthy_voters)},
        {"coffer_autopilot_voters", "voters, as the active node sees it", false, voters},
        {"coffer_cluster_clock_ahead_ms",
         "milliseconds by which the voters' clocks differ from the time of the cluster", false,
         (uint64_t)(llabs(core_time(node->core).ahead_ns) / 1000000)},
        {"coffer_node_certificate_expiry_seconds", "when this node's certificate ends, since 1970",
         false, (uint64_t)cf_max(0, atomic_load(&node->certificate_end_s))},
        {"coffer_raft_is_member", "0 once the cluster goes on without this node", false,
         atomic_load(&node->standing) == MEMBER},
        {"coffer_replication_comparisons", "times that this secondary compared its data with the primary's",
         true, atomic_load(&node->replication->comparisons)},
        {"coffer_replication_differences", "comparisons that found data to differ", true,
         atomic_load(&node->replication->differences)},
        {"coffer_replication_repairs", "times that what differed was fetched", true,
         atomic_load(&node->replication->repairs)},
        {"coffer_tree_checks", "times that all data was read and compared with the hash tree", true,
         report->checks},
        {"coffer_tree_damage", "checks that found data that was not written here", true, report->found},
        {"coffer_core_unsealed", "1 when unsealed", false, !atomic_load(&node->is_sealed)},
    };
    for (size_t i = 0; i < CF_LENGTH(all); i++) {
        to[count++] = all[i];
    }
    return count;
}

/* The text of Prometheus; its content type. */
#define PROMETHEUS_TYPE "text/plain; version=0.0.4; charset=utf-8"

static void write_text(const struct metric *metrics, size_t count, struct cf_buf *to)
{
    for (size_t i = 0; i < count; i++) {
        cf_buf_addf(to, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", metrics[i].name, metrics[i].help,
                    metrics[i].name, metrics[i].is_counter ? "counter" : "gauge", metrics[i].name,
                    (unsigned long long)metrics[i].value);
    }
}

static void fill_json(struct node *node, const struct metric *metrics, size_t count, struct arena *arena,
                      struct json *data)
{
    struct json *counters = json_array_new(arena);
    struct json *gauges = json_array_new(arena);
    for (size_t i = 0; i < count; i++) {
        struct json *one = json_object_new(arena);
        json_set_text(arena, one, "Name", metrics[i].name);
        json_set_int(arena, one, metrics[i].is_counter ? "Count" : "Value",
                     (int64_t)metrics[i].value);
        json_set(arena, one, "Labels", json_object_new(arena));
        json_array_add(arena, metrics[i].is_counter ? counters : gauges, one);
    }
    char now[TIMEFMT_SIZE];
    timefmt_text(cf_wall_ns(cf_host_clock()), now);
    json_set_text(arena, data, "Timestamp", now);
    json_set(arena, data, "Counters", counters);
    json_set(arena, data, "Gauges", gauges);
    json_set(arena, data, "Points", json_array_new(arena));
    struct json *samples = json_array_new(arena);
    metrics_raft_json(node, arena, gauges, samples);
    json_set(arena, data, "Samples", samples);
}

void metrics_answer(struct node *node, struct request *rq, bool prometheus)
{
    struct metric metrics[METRICS_MAX];
    size_t count = collect(node, rq->arena, metrics);
    if (prometheus) {
        CF_BUF(text) = {0};
        write_text(metrics, count, &text);
        metrics_raft_text(node, rq->arena, &text);
        rq->response.raw = arena_copy(rq->arena, cf_buf_slice(&text));
        rq->response.content_type = PROMETHEUS_TYPE;
        return;
    }
    fill_json(node, metrics, count, rq->arena, response_data(rq));
    rq->response.no_envelope = true;
}

bool metrics_handle_open(struct node *node, struct http_exchange *x)
{
    const struct config_listener *listener = http_listener_context(x);
    struct metric metrics[METRICS_MAX];
    if (!listener->unauthenticated_metrics || http_method(x) != HTTP_GET) {
        return false;
    }
    struct cf_slice query = http_query(x);
    size_t count = collect(node, http_arena(x), metrics);
    if (query.size != 0 && memmem(query.data, query.size, "format=prometheus", 17) != NULL) {
        CF_BUF(text) = {0};
        const struct http_headers_out headers = {.content_type = PROMETHEUS_TYPE};
        write_text(metrics, count, &text);
        metrics_raft_text(node, http_arena(x), &text);
        http_respond(x, 200, &headers, cf_buf_slice(&text));
        return true;
    }
    struct json *body = json_object_new(http_arena(x));
    fill_json(node, metrics, count, http_arena(x), body);
    api_answer_json(x, 200, body);
    return true;
}
