/* node/server/replication/merkle_routes.c: sys/replication/{reindex,merkle-check,recover}, and what the status says of
 * the hash tree. On a DR secondary the same below dr/secondary/, with an operation token. */
#include <stdio.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/format/timefmt.h"
#include "node/server/dr_token.h"
#include "node/server/replication/merkle.h"
#include "node/server/replication/tree.h"

#define NEVER_CHECKED_S ((int64_t)-62135596800) /* year 1 */

const struct field merkle_reindex_fields[] = {
    {"dr_operation_token", FIELD_STRING, "On a DR secondary: authorises the call."},
    {"diff", FIELD_BOOL, "Compare record by record. It is always done so here."},
    {"force", FIELD_BOOL, "Build from stored data alone. It is always done so here."},
    {"skip_flush", FIELD_BOOL, "Without effect: the tree is in memory."},
    FIELD_END,
};
const struct field merkle_fields[] = {
    {"dr_operation_token", FIELD_STRING, "On a DR secondary: authorises the call."},
    FIELD_END,
};

/* Is the call for a cluster like this one, and allowed? */
static cf_status admit(struct request *rq, struct cf_error *err)
{
    struct node *node = core_host_context(rq->core);
    const char *performance, *dr;
    if (cf_slice_starts(rq->relative, CF_SLICE("replication/dr/secondary/"))) {
        if (rq->view->role != ROLE_DR_SECONDARY) {
            return cf_fail(err, CF_INVALID, "Not a DR secondary.");
        }
        return dr_token_check(rq, err);
    }
    node_replication_modes(node, &performance, &dr);
    if (strcmp(performance, "disabled") == 0 && strcmp(dr, "disabled") == 0) {
        return cf_fail(err, CF_INVALID, "replication is not enabled on this cluster");
    }
    return CF_OK;
}

/* ---- reindex ---- */

static void reindex_run(void *arg)
{
    struct node *node = arg;
    struct cf_error err = {0};
    if (state_tree_rebuild(node->tree, &err) == CF_OK) {
        cf_info("replication", "reindex: the hash tree was built anew");
    } else {
        cf_err("replication", "reindex: %s %s", err.message, err.detail);
    }
}

cf_status merkle_reindex(struct request *rq, struct cf_error *err)
{
    struct node *node = core_host_context(rq->core);
    struct tree_progress progress;
    bool ignored;
    CF_TRY(admit(rq, err));
    CF_TRY(request_bool(rq, "diff", false, &ignored, err));
    CF_TRY(request_bool(rq, "force", false, &ignored, err));
    CF_TRY(request_bool(rq, "skip_flush", false, &ignored, err));
    state_tree_progress(node->tree, &progress);
    if (progress.is_building) {
        response_warn(rq, "The data is being read already; the status shows the progress.");
    } else {
        response_warn(rq, "The hash tree is being built anew from what is stored; requests go on, and the "
                          "status shows the progress.");
        core_work(rq->core, reindex_run, node);
    }
    core_host_done(rq, CF_OK);
    return CF_OK;
}

/* ---- merkle-check ---- */

static struct json *pages_json(struct arena *arena, const struct repl_leaf_set *damaged)
{
    struct json *pages = json_object_new(arena);
    struct json *list = NULL;
    unsigned last = REPL_TREE_PAGES;
    for (unsigned leaf = repl_leaf_set_next(damaged, 0); leaf < REPL_TREE_LEAVES;
         leaf = repl_leaf_set_next(damaged, leaf + 1)) {
        unsigned page = leaf / REPL_TREE_SUBPAGES;
        if (page != last) {
            struct json *tuple = json_object_new(arena);
            list = json_array_new(arena);
            json_set_bool(arena, tuple, "corrupted", true);
            json_set(arena, tuple, "subpages", list);
            json_set(arena, pages, arena_printf(arena, "%u", page), tuple);
            last = page;
        }
        json_array_add(arena, list, json_from_int(arena, leaf % REPL_TREE_SUBPAGES));
    }
    return damaged->count != 0 ? pages : json_null();
}

static void report_json(struct request *rq, const struct tree_report *report)
{
    static const char *const types[TREE_CLASSES] = {"replicated", "local"};
    struct arena *arena = rq->arena;
    struct json *json = json_object_new(arena);
    struct json *trees = json_object_new(arena);
    char time[TIMEFMT_SIZE];
    for (size_t i = 0; i < TREE_CLASSES; i++) {
        struct json *tree = json_object_new(arena);
        CF_BUF(root) = {0};
        encode_base64(&root, cf_slice_of(report->roots[i], 20));
        json_set(arena, tree, "corrupted_index_tuples_map", pages_json(arena, &report->damaged[i]));
        json_set_bool(arena, tree, "corrupted_subtree_root", report->damaged[i].count != 0);
        json_set_string(arena, tree, "root_hash", arena_copy(arena, cf_buf_slice(&root)));
        json_set_text(arena, tree, "tree_type", types[i]);
        json_set(arena, trees, i == 0 ? "1" : "2", tree);
    }
    timefmt_text(report->checked_ns, time);
    json_set_bool(arena, json, "corrupted_root", report->is_damaged);
    json_set(arena, json, "corrupted_tree_map", trees);
    json_set_text(arena, json, "last_corruption_check_epoch", time);
    json_set_int(arena, json, "records", (int64_t)report->records);
    json_set(arena, response_data(rq), "merkle_corruption_report", json);
}

static void check_run(void *arg)
{
    struct request *rq = arg;
    struct tree_report *report = cf_new(struct tree_report);
    cf_status status = merkle_check_now(core_host_context(rq->core), report, &rq->error);
    if (status == CF_OK) {
        report_json(rq, report);
    }
    cf_free(report);
    core_host_done(rq, status);
}

cf_status merkle_check(struct request *rq, struct cf_error *err)
{
    CF_TRY(admit(rq, err));
    core_work(rq->core, check_run, rq);
    return CF_OK;
}

/* ---- recover ---- */

static void recover_run(void *arg)
{
    struct request *rq = arg;
    struct node *node = core_host_context(rq->core);
    unsigned count = 0;
    for (size_t i = 0; i < REPL_KIND_COUNT; i++) {
        if (node->replication->sides[i].secondary != NULL) {
            repl_secondary_restart(node->replication->sides[i].secondary);
            count++;
        }
    }
    response_warn(rq, count != 0 ? "The link to the primary begins anew."
                                 : "This cluster follows no primary: there is nothing to begin anew.");
    core_host_done(rq, CF_OK);
}

cf_status merkle_recover(struct request *rq, struct cf_error *err)
{
    struct node *node = core_host_context(rq->core);
    CF_TRY(admit(rq, err));
    loop_post(node->loop, recover_run, rq);
    return CF_OK;
}

/* ---- status ---- */

static void set_seconds(struct arena *arena, struct json *object, const char *key, int64_t ns,
                        int64_t never_s)
{
    json_set_text(arena, object, key,
                  arena_printf(arena, "%lld",
                               (long long)(ns != 0 ? ns / 1000000000 : never_s)));
}

void merkle_add_common(struct node *node, struct arena *arena, struct json *object)
{
    struct tree_report *report = arena_new_object(arena, struct tree_report);
    struct tree_progress progress;
    state_tree_report(node->tree, report);
    state_tree_progress(node->tree, &progress);
    json_set_bool(arena, object, "corrupted_merkle_tree", report->is_damaged);
    set_seconds(arena, object, "last_corruption_check_epoch", report->checked_ns, NEVER_CHECKED_S);
    set_seconds(arena, object, "last_reindex_epoch", progress.built_ns, 0);
    if (progress.is_building) {
        json_set_bool(arena, object, "reindex_in_progress", true);
        json_set_text(arena, object, "reindex_stage", "building");
        json_set_int(arena, object, "reindex_building_progress", (int64_t)progress.done);
        json_set_int(arena, object, "reindex_building_total",
                     (int64_t)cf_max(progress.total, progress.done));
    }
}

static void set_time(struct arena *arena, struct json *object, const char *key, int64_t ns)
{
    char text[TIMEFMT_SIZE];
    timefmt_text(ns, text);
    json_set_text(arena, object, key, ns != 0 ? text : "");
}

void merkle_add_secondary(const struct repl_side *side, const struct repl_secondary_status *status,
                          struct arena *arena, struct json *object)
{
    const struct repair_status *found = &side->compared;
    struct json *json = json_object_new(arena);
    json_set_int(arena, json, "comparisons", (int64_t)found->comparisons);
    json_set_int(arena, json, "undecided", (int64_t)found->undecided);
    json_set_int(arena, json, "differences", (int64_t)found->differing);
    json_set_int(arena, json, "leaves", (int64_t)found->leaves);
    set_time(arena, json, "last_comparison", found->compared_ns);
    set_time(arena, json, "last_difference", found->differed_ns);
    set_time(arena, json, "last_repair", found->repaired_ns);
    json_set_int(arena, json, "repairs", (int64_t)status->repairs);
    json_set_int(arena, json, "records_written", (int64_t)found->put);
    json_set_int(arena, json, "records_deleted", (int64_t)found->deleted);
    json_set_int(arena, json, "bytes_moved", (int64_t)status->repair_bytes);
    json_set(arena, object, "repair", json);
}
