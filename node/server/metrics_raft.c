/* node/server/metrics_raft.c: metrics of consensus that have labels or buckets (consensus.md 17). */
#include "node/server/metrics_raft.h"

#include "node/base/memory.h"

/* ---- members, as the active node sees them ---- */

static uint64_t match_of(const struct raft_peer_info *peer, uint64_t now_us)
{
    (void)now_us;
    return peer->match;
}
static uint64_t entries_of(const struct raft_peer_info *peer, uint64_t now_us)
{
    (void)now_us;
    return peer->lag_entries;
}
static uint64_t bytes_of(const struct raft_peer_info *peer, uint64_t now_us)
{
    (void)now_us;
    return peer->lag_bytes;
}
static uint64_t lag_ms_of(const struct raft_peer_info *peer, uint64_t now_us)
{
    (void)now_us;
    return peer->lag_us / 1000;
}
static uint64_t heard_ms_of(const struct raft_peer_info *peer, uint64_t now_us)
{
    return now_us > peer->heard_us ? (now_us - peer->heard_us) / 1000 : 0;
}
static uint64_t state_of(const struct raft_peer_info *peer, uint64_t now_us)
{
    (void)now_us;
    return (uint64_t)peer->state;
}

static const struct {
    const char *name, *help;
    uint64_t (*value)(const struct raft_peer_info *peer, uint64_t now_us);
} of_peers[] = {
    {"coffer_raft_peer_match_index", "last log index that a member is known to share", match_of},
    {"coffer_raft_peer_lag_entries", "log entries that a member lacks", entries_of},
    {"coffer_raft_peer_lag_bytes", "bytes of log that a member lacks, about", bytes_of},
    {"coffer_raft_peer_lag_ms", "milliseconds since there is more log than a member has; a minute at most",
     lag_ms_of},
    {"coffer_raft_peer_contact_ms", "milliseconds since a member was heard", heard_ms_of},
    {"coffer_raft_peer_state", "0 its log is sought, 1 it follows, 2 it takes a snapshot", state_of},
};

/* Others than this node, on a leader; else none. */
static size_t peers_of(struct raft_driver *driver, struct arena *arena, struct raft_peer_info **ret)
{
    struct raft_driver_status *raft = arena_new_object(arena, struct raft_driver_status);
    size_t count = 0;
    raft_driver_status(driver, raft);
    for (size_t i = 0; raft->role == RAFT_LEADER && i < raft->peer_count; i++) {
        if (raft->peers[i].id != raft->id && raft->peers[i].heard_us != 0) {
            raft->peers[count++] = raft->peers[i];
        }
    }
    *ret = raft->peers;
    return count;
}

/* ---- the steps of a write ---- */

static const struct {
    const char *name, *help;
} of_steps[RAFT_STEPS] = {
    [RAFT_STEP_WAIT] = {"coffer_raft_wait_seconds", "from the proposal of a write until it is appended"},
    [RAFT_STEP_DURABLE] = {"coffer_raft_durable_seconds", "from there until it is synced on this node"},
    [RAFT_STEP_COMMIT] = {"coffer_raft_commit_seconds", "from the append until it is committed and durable here"},
    [RAFT_STEP_APPLY] = {"coffer_raft_apply_seconds", "from the commit until it is in the state"},
    [RAFT_STEP_PROPOSE] = {"coffer_raft_propose_seconds", "from the proposal of a write until it is in the state"},
    [RAFT_STEP_SYNC] = {"coffer_raft_sync_seconds", "writing a batch of the log with its sync"},
};

/* ---- as text ---- */

/* A name stands in quotes there; what would end them goes. */
static struct cf_slice label(struct arena *arena, const char *name)
{
    char *text = arena_text(arena, cf_slice_str(name));
    for (char *at = text; *at != '\0'; at++) {
        *at = *at == '"' || *at == '\\' || (unsigned char)*at < ' ' ? '_' : *at;
    }
    return cf_slice_str(text);
}

static void histogram_text(const struct raft_driver *driver, enum raft_step step, struct cf_buf *to)
{
    struct raft_histogram histogram;
    const char *name = of_steps[step].name;
    uint64_t below = 0;
    raft_driver_timing(driver, step, &histogram);
    cf_buf_addf(to, "# HELP %s %s\n# TYPE %s histogram\n", name, of_steps[step].help, name);
    for (size_t i = 0; i < RAFT_BUCKETS - 1; i++) {
        below += histogram.counts[i];
        cf_buf_addf(to, "%s_bucket{le=\"%g\"} %llu\n", name, (double)raft_bucket_us[i] / 1e6,
                    (unsigned long long)below);
    }
    cf_buf_addf(to, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.6f\n%s_count %llu\n", name,
                (unsigned long long)histogram.count, name, (double)histogram.sum_us / 1e6, name,
                (unsigned long long)histogram.count);
}

void metrics_raft_text(struct node *node, struct arena *arena, struct cf_buf *to)
{
    struct raft_driver *driver = atomic_load(&node->driver_shared);
    struct raft_peer_info *peers;
    if (driver == NULL) {
        return;
    }
    uint64_t now_us = loop_now_us();
    size_t count = peers_of(driver, arena, &peers);
    for (size_t i = 0; i < CF_LENGTH(of_peers) && count > 0; i++) {
        cf_buf_addf(to, "# HELP %s %s\n# TYPE %s gauge\n", of_peers[i].name, of_peers[i].help,
                    of_peers[i].name);
        for (size_t n = 0; n < count; n++) {
            cf_buf_addf(to, "%s{peer_id=\"%.*s\"} %llu\n", of_peers[i].name,
                        CF_SHOW(label(arena, peers[n].name)),
                        (unsigned long long)of_peers[i].value(&peers[n], now_us));
        }
    }
    for (unsigned step = 0; step < RAFT_STEPS; step++) {
        histogram_text(driver, (enum raft_step)step, to);
    }
}

/* ---- as JSON ---- */

static void add_peer(struct arena *arena, struct json *gauges, const char *name,
                     const struct raft_peer_info *peer, uint64_t value)
{
    struct json *one = json_object_new(arena), *labels = json_object_new(arena);
    json_set_text(arena, labels, "peer_id", arena_text(arena, cf_slice_str(peer->name)));
    json_set_text(arena, one, "Name", name);
    json_set_int(arena, one, "Value", (int64_t)value);
    json_set(arena, one, "Labels", labels);
    json_array_add(arena, gauges, one);
}

/* Of buckets only their bounds are known: quantiles are upper bounds. All in whole microseconds. */
static void add_step(struct arena *arena, struct json *samples, const struct raft_driver *driver,
                     enum raft_step step)
{
    static const struct {
        const char *name;
        unsigned permille;
    } quantiles[] = {{"P50", 500}, {"P90", 900}, {"P99", 990}};
    struct raft_histogram histogram;
    struct json *one = json_object_new(arena), *labels = json_object_new(arena);
    raft_driver_timing(driver, step, &histogram);
    json_set_text(arena, labels, "unit", "us");
    json_set_text(arena, one, "Name", of_steps[step].name);
    json_set_int(arena, one, "Count", (int64_t)histogram.count);
    json_set_int(arena, one, "Sum", (int64_t)histogram.sum_us);
    json_set_int(arena, one, "Mean",
                 histogram.count != 0 ? (int64_t)(histogram.sum_us / histogram.count) : 0);
    json_set_int(arena, one, "Max", (int64_t)histogram.max_us);
    for (size_t i = 0; i < CF_LENGTH(quantiles); i++) {
        json_set_int(arena, one, quantiles[i].name,
                     (int64_t)raft_histogram_us(&histogram, quantiles[i].permille));
    }
    json_set(arena, one, "Labels", labels);
    json_array_add(arena, samples, one);
}

void metrics_raft_json(struct node *node, struct arena *arena, struct json *gauges,
                       struct json *samples)
{
    struct raft_driver *driver = atomic_load(&node->driver_shared);
    struct raft_peer_info *peers;
    if (driver == NULL) {
        return;
    }
    uint64_t now_us = loop_now_us();
    size_t count = peers_of(driver, arena, &peers);
    for (size_t i = 0; i < CF_LENGTH(of_peers); i++) {
        for (size_t n = 0; n < count; n++) {
            add_peer(arena, gauges, of_peers[i].name, &peers[n],
                     of_peers[i].value(&peers[n], now_us));
        }
    }
    for (unsigned step = 0; step < RAFT_STEPS; step++) {
        add_step(arena, samples, driver, (enum raft_step)step);
    }
}
