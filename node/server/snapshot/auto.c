/* node/server/snapshot/auto.c: snapshots at intervals: settings, status, and the clock that takes them.
 *
 * Settings and outcomes are plain records of class own: this cluster's Raft keeps them, a restore does not
 * bring them. Files are the active node's, below the folders that its configuration file allows
 * (`snapshot_path`): a caller of the API chooses no other place on the disk. */
#include "node/server/snapshot/auto.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/format/duration.h"
#include "node/format/timefmt.h"
#include "node/server/snapshot/auto_int.h"

#define LOOK_US ((uint64_t)1000 * 1000)
#define INTERVAL_LEAST_S 60
#define RETRY_S 60 /* after a failure, at the latest */
#define SECOND_NS ((int64_t)1000000000)
#define RETAIN_MAX 10000

struct snapshot_timer {
    struct node *node;
    struct loop_timer *timer;
    _Atomic bool is_running;
    _Atomic uint64_t taken, failed;
};

struct auto_counts auto_count(const struct node *node)
{
    const struct snapshot_timer *timer = node->snapshot_timer;
    return timer == NULL ? (struct auto_counts){0}
                         : (struct auto_counts){atomic_load(&timer->taken),
                                                atomic_load(&timer->failed)};
}

/* ---- records ---- */

static struct key config_key(struct arena *arena, struct cf_slice name)
{
    const char *text = arena_printf(arena, AUTO_CONFIG "%.*s", CF_SHOW(name));
    return (struct key){CLASS_OWN, NAMESPACE_ROOT, cf_slice_str(text)};
}

static struct key status_key(struct arena *arena, struct cf_slice name)
{
    const char *text = arena_printf(arena, AUTO_STATUS "%.*s", CF_SHOW(name));
    return (struct key){CLASS_OWN, NAMESPACE_ROOT, cf_slice_str(text)};
}

/* Plain records; noted as read, so that two writers do not overwrite each other. */
static cf_status load(struct request *rq, struct key key, struct json **ret, struct cf_error *err)
{
    struct cf_slice bytes;
    txn_note_read(rq->txn, key_hash(key));
    CF_TRY(view_get_raw(rq->view, key, rq->arena, &bytes, err));
    return record_decode(bytes, rq->arena, ret, err);
}

static int64_t number(const struct json *record, const char *name)
{
    int64_t value = 0;
    cf_ignore(!json_int64(json_get(record, name), &value), "absent is 0");
    return value;
}

static bool is_name(struct cf_slice name)
{
    bool fine = name.size != 0 && name.size <= 64 && name.data[0] != '.';
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        fine = fine && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                        c == '-' || c == '_' || c == '.');
    }
    return fine;
}

/* ---- routes ---- */

cf_status auto_read_config(struct request *rq, struct cf_error *err)
{
    struct json *record;
    cf_status status = load(rq, config_key(rq->arena, rq->captures[0]), &record, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    struct json *data = response_data(rq);
    for (size_t i = 0; i < record->count; i++) {
        json_object_set(rq->arena, data, record->members[i].key, record->members[i].value);
    }
    return CF_OK;
}

static cf_status take_string(struct request *rq, struct json *record, const char *name,
                             const char *absent, struct cf_error *err)
{
    struct cf_slice value;
    CF_TRY(request_string(rq, name, &value, err));
    if (request_field(rq, name) != NULL) {
        json_set_string(rq->arena, record, name, value);
    } else if (json_get(record, name) == NULL) {
        json_set_text(rq->arena, record, name, absent);
    }
    return CF_OK;
}

static cf_status take_numbers(struct request *rq, struct json *record, struct cf_error *err)
{
    int64_t interval = number(record, "interval"), retain = number(record, "retain");
    bool given;
    CF_TRY(request_duration(rq, "interval", interval, &interval, &given, err));
    CF_TRY(request_int(rq, "retain", retain != 0 ? retain : 1, &retain, err));
    if (interval < INTERVAL_LEAST_S) {
        return cf_fail(err, CF_INVALID, "interval is needed: %d seconds or more", INTERVAL_LEAST_S);
    }
    if (retain < 1 || retain > RETAIN_MAX) {
        return cf_fail(err, CF_INVALID, "retain is 1 to %d", RETAIN_MAX);
    }
    json_set_int(rq->arena, record, "interval", interval);
    json_set_int(rq->arena, record, "retain", retain);
    return CF_OK;
}

cf_status auto_write_config(struct request *rq, struct cf_error *err)
{
    struct node *node = core_host_context(rq->core);
    struct key key = config_key(rq->arena, rq->captures[0]);
    struct json *record;
    char folder[PATH_MAX];
    if (!is_name(rq->captures[0])) {
        return cf_fail(err, CF_INVALID, "a name has 1 to 64 letters, digits, '-', '_' and '.'");
    }
    cf_status status = load(rq, key, &record, err);
    if (status == CF_NOT_FOUND) {
        record = json_object_new(rq->arena);
        status = CF_OK;
    }
    CF_TRY(status);
    CF_TRY(take_numbers(rq, record, err));
    CF_TRY(take_string(rq, record, "path_prefix", "", err));
    CF_TRY(take_string(rq, record, "file_prefix", "coffer-snapshot", err));
    CF_TRY(take_string(rq, record, "storage_type", "local", err));
    if (!cf_slice_is(json_get_string(record, "storage_type"), "local")) {
        return cf_fail(err, CF_INVALID, "storage_type: this server stores snapshots in \"local\" "
                                        "folders only");
    }
    if (!is_name(json_get_string(record, "file_prefix"))) {
        return cf_fail(err, CF_INVALID, "file_prefix is the beginning of a file name: letters, "
                                        "digits, '-', '_' and '.'");
    }
    CF_TRY(auto_folder(node, json_get_string(record, "path_prefix"), folder, err));
    txn_put_plain(rq->txn, key, record_encode(rq->arena, record));
    return CF_OK;
}

cf_status auto_delete_config(struct request *rq, struct cf_error *err)
{
    (void)err;
    txn_delete(rq->txn, config_key(rq->arena, rq->captures[0]));
    txn_delete(rq->txn, status_key(rq->arena, rq->captures[0]));
    return CF_OK;
}

cf_status auto_list_configs(struct request *rq, struct cf_error *err)
{
    struct txn_names names;
    CF_TRY(txn_list(rq->txn, config_key(rq->arena, CF_SLICE("")), CF_SLICE_EMPTY, 0, &names, err));
    return response_keys(rq, &names, err);
}

static void set_time(struct request *rq, struct json *data, const char *name, int64_t ns)
{
    char text[TIMEFMT_SIZE];
    timefmt_text(ns, text);
    json_set_text(rq->arena, data, name, ns != 0 ? text : "");
}

cf_status auto_read_status(struct request *rq, struct cf_error *err)
{
    struct json *config, *record;
    cf_status status = load(rq, config_key(rq->arena, rq->captures[0]), &config, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    status = load(rq, status_key(rq->arena, rq->captures[0]), &record, err);
    if (status == CF_NOT_FOUND) {
        record = json_object_new(rq->arena);
    } else {
        CF_TRY(status);
    }
    struct json *data = response_data(rq);
    int64_t next = number(record, "next_ns");
    json_set_int(rq->arena, data, "consecutive_errors", number(record, "errors"));
    set_time(rq, data, "last_snapshot_start", number(record, "start_ns"));
    set_time(rq, data, "last_snapshot_end", number(record, "end_ns"));
    json_set_string(rq->arena, data, "last_snapshot_error", json_get_string(record, "error"));
    json_set_string(rq->arena, data, "last_snapshot_url", json_get_string(record, "path"));
    json_set_string(rq->arena, data, "snapshot_node", json_get_string(record, "node"));
    json_set_int(rq->arena, data, "last_snapshot_index", number(record, "index"));
    json_set_int(rq->arena, data, "last_snapshot_size", number(record, "size"));
    set_time(rq, data, "next_snapshot_start", next);
    return CF_OK;
}

/* ---- taking one ---- */

/* What runs on a thread of its own; ends with a record. */
struct taking {
    struct snapshot_timer *timer;
    struct arena *arena;
    struct cf_slice name;
    struct auto_order order;
    int64_t interval_s, errors, start_ns;
    struct auto_result result;
    cf_status status;
    struct cf_error err;
};

static cf_status write_outcome(struct request *rq, void *context, struct cf_error *err)
{
    const struct taking *taking = context;
    struct json *record = json_object_new(rq->arena);
    struct json *unused;
    bool failed = taking->status != CF_OK;
    int64_t pause_s = failed && taking->interval_s > RETRY_S ? RETRY_S : taking->interval_s;
    if (load(rq, config_key(rq->arena, taking->name), &unused, err) != CF_OK) {
        return CF_OK; /* deleted meanwhile */
    }
    json_set_int(rq->arena, record, "start_ns", taking->start_ns);
    json_set_int(rq->arena, record, "end_ns", cf_wall_ns(cf_host_clock()));
    json_set_int(rq->arena, record, "next_ns", taking->start_ns + pause_s * SECOND_NS);
    json_set_int(rq->arena, record, "errors", failed ? taking->errors + 1 : 0);
    json_set_text(rq->arena, record, "error", failed ? taking->err.message : "");
    json_set_text(rq->arena, record, "path", taking->result.path);
    json_set_text(rq->arena, record, "node", taking->timer->node->config->node_id);
    json_set_int(rq->arena, record, "index", (int64_t)taking->result.info.index);
    json_set_int(rq->arena, record, "size", (int64_t)taking->result.size);
    txn_put_plain(rq->txn, status_key(rq->arena, taking->name), record_encode(rq->arena, record));
    return CF_OK;
}

static void taken(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct taking *taking = context;
    struct snapshot_timer *timer = taking->timer;
    struct snapshots *snapshots = timer->node->snapshots;
    (void)index;
    if (status != CF_OK) {
        cf_warn("snapshot", "the outcome of a scheduled snapshot was not kept: %s", err->message);
    }
    arena_free(taking->arena);
    cf_free(taking);
    atomic_store(&timer->is_running, false);
    snapshots_leave(snapshots);
}

static void *take(void *arg)
{
    struct taking *taking = arg;
    struct snapshot_timer *timer = taking->timer;
    taking->status = auto_take(timer->node, &taking->order, &taking->result, &taking->err);
    if (taking->status == CF_OK) {
        atomic_fetch_add(&timer->taken, 1);
        cf_info("snapshot", "taken into \"%s\": entry %llu, %llu bytes", taking->result.path,
                (unsigned long long)taking->result.info.index,
                (unsigned long long)taking->result.size);
    } else {
        atomic_fetch_add(&timer->failed, 1);
        cf_err("snapshot", "the scheduled snapshot \"%.*s\" failed: %s %s", CF_SHOW(taking->name),
               taking->err.message, taking->err.detail);
    }
    struct system_work work = {write_outcome, taken, taking};
    system_submit(timer->node->core, &work);
    return NULL;
}

/* ---- the clock ---- */

struct looking {
    struct snapshot_timer *timer;
    const struct view *view;
    struct taking *due; /* the first that is */
};

static cf_status look_at(void *context, struct key key, struct cf_slice value, struct cf_error *err)
{
    struct looking *looking = context;
    struct json *config, *record = NULL;
    struct cf_slice bytes;
    CF_OWNED(arena) arena = arena_new(2048);
    struct cf_slice name = cf_slice_from(key.name, sizeof(AUTO_CONFIG) - 1);
    if (looking->due != NULL || record_decode(value, arena, &config, err) != CF_OK) {
        return CF_OK;
    }
    if (view_get_raw(looking->view, status_key(arena, name), arena, &bytes, NULL) == CF_OK &&
        record_decode(bytes, arena, &record, NULL) != CF_OK) {
        record = NULL;
    }
    int64_t now = cf_wall_ns(cf_host_clock());
    /* A clock that was set back does not stop it for longer than an interval. */
    int64_t next = number(record, "next_ns"), interval = number(config, "interval");
    if (record != NULL && now < next && next - now <= interval * SECOND_NS) {
        return CF_OK;
    }
    struct taking *taking = cf_new(struct taking);
    taking->timer = looking->timer;
    taking->arena = arena_new(1024);
    taking->name = arena_copy(taking->arena, name);
    taking->start_ns = now;
    taking->interval_s = interval;
    taking->errors = number(record, "errors");
    taking->order.path_prefix = arena_copy(taking->arena, json_get_string(config, "path_prefix"));
    taking->order.file_prefix = arena_text(taking->arena, json_get_string(config, "file_prefix"));
    taking->order.retain = (size_t)number(config, "retain");
    looking->due = taking;
    return CF_OK;
}

static void start(struct snapshot_timer *timer, struct taking *taking)
{
    pthread_t thread;
    if (snapshots_enter(timer->node->snapshots, UINT_MAX)) {
        atomic_store(&timer->is_running, true);
        if (pthread_create(&thread, NULL, take, taking) == 0) {
            pthread_detach(thread); /* snapshots_stop waits for it by count */
            return;
        }
        atomic_store(&timer->is_running, false);
        snapshots_leave(timer->node->snapshots);
    }
    arena_free(taking->arena);
    cf_free(taking);
}

static void on_timer(void *arg)
{
    struct snapshot_timer *timer = arg;
    struct node *node = timer->node;
    loop_timer_set_in(timer->timer, LOOK_US);
    if (node->driver == NULL || !raft_driver_is_leader(node->driver) ||
        atomic_load(&node->is_sealed) || atomic_load(&timer->is_running) || node->is_stopping) {
        return;
    }
    struct looking looking = {.timer = timer};
    struct view *view = core_view(node->core);
    if (view != NULL) {
        looking.view = view;
        cf_ignore(snapshot_walk(view, CLASS_OWN, CF_SLICE(AUTO_CONFIG), look_at, &looking, NULL),
                  "looked at again in a second");
    }
    view_unref(view);
    if (looking.due != NULL) {
        start(timer, looking.due);
    }
}

struct snapshot_timer *auto_new(struct node *node)
{
    struct snapshot_timer *timer = cf_new(struct snapshot_timer);
    timer->node = node;
    timer->timer = loop_timer_new(node->loop, on_timer, timer);
    loop_timer_set_in(timer->timer, LOOK_US);
    return timer;
}

void auto_free(struct snapshot_timer *timer)
{
    if (timer != NULL) {
        loop_timer_free(timer->timer);
        cf_free(timer);
    }
}
