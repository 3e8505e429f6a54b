/* node/server/replication/filter_host.c: the filters of the secondaries that this node serves. Main loop. */
#include "consensus/driver/driver.h"
#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/server/replication/repl_int.h"
#include "node/server/replication/tree.h"

static cf_status look(struct node_replication *replication, const struct view *view,
                      struct cf_slice id, struct filter **ret, struct cf_error *err)
{
    struct filter *kept = cf_map_get(replication->filters, id);
    if (kept != NULL && kept->table == view->namespaces && filter_stands(kept, view)) {
        *ret = kept;
        return CF_OK;
    }
    CF_TRY(filter_load(view, id, ret, err));
    filter_unref(cf_map_put(replication->filters, id, *ret));
    return CF_OK;
}

cf_status repl_filter_of(struct node_replication *replication, enum repl_kind kind, const char *id,
                         struct filter **ret, uint64_t *ret_index, struct cf_error *err)
{
    struct view *view = core_view(replication->node->core);
    cf_status status = CF_OK;
    *ret = NULL;
    if (view == NULL || view->keyring == NULL || view->namespaces == NULL) {
        status = cf_fail(err, CF_SEALED, "Vault is sealed");
    } else if (kind == REPL_PERFORMANCE) {
        if (replication->filters == NULL) {
            replication->filters = cf_map_new();
        }
        status = look(replication, view, cf_slice_str(id), ret, err);
    }
    if (status == CF_OK && ret_index != NULL) {
        *ret_index = view->index;
    }
    view_unref(view);
    return status;
}

bool repl_filter_streams(struct node_replication *replication, enum repl_kind kind, const char *id,
                         uint64_t start)
{
    struct filter *filter;
    return repl_filter_of(replication, kind, id, &filter, NULL, NULL) == CF_OK &&
           filter_can_stream(filter, start);
}

bool repl_filter_stands(struct node_replication *replication, const struct filter *filter)
{
    struct view *view = core_view(replication->node->core);
    bool stands = filter == NULL || (view != NULL && view->keyring != NULL &&
                                     filter_stands(filter, view));
    view_unref(view);
    return stands;
}

/* The deletions came in the entry that the record came in, or before it. Whatever says so is purged once. */
static void purge(struct node_replication *replication, struct reader *reader, struct key record)
{
    struct cf_slice ignored;
    uint64_t index = 0;
    if (view_get(reader->rq.view, record, reader->rq.arena, &ignored, &index, NULL) == CF_OK) {
        raft_driver_purge(replication->node->driver, index, kv_snapshot_number(reader->rq.view->snapshot));
        state_tree_let_go(replication->node->tree);
    }
}

/* Of a performance secondary, and of DR secondaries of one. */
void repl_filter_refresh(struct node_replication *replication, struct reader *reader)
{
    struct set_link link;
    bool is_secondary = replication->role == ROLE_PERFORMANCE_SECONDARY ||
                        replication->role == ROLE_DR_SECONDARY;
    if (!is_secondary || set_read_link(&reader->rq, SET_PERFORMANCE, &link, NULL) != CF_OK) {
        return;
    }
    purge(replication, reader, filter_narrowed_key(reader->rq.arena, link.secondary_id));
    purge(replication, reader, (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(MOUNTS_CLEANED)});
}

void repl_filters_free(struct node_replication *replication)
{
    size_t at = 0;
    struct cf_slice id;
    void *filter;
    while (replication->filters != NULL && cf_map_next(replication->filters, &at, &id, &filter)) {
        filter_unref(filter);
    }
    cf_map_free(replication->filters);
    replication->filters = NULL;
}
