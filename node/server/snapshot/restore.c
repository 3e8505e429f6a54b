/* node/server/snapshot/restore.c: POST sys/storage/raft/snapshot and snapshot-force.
 *
 *   body -> file without a name -> inspected whole -> keys -> staged beside the old state, by entries of
 *   the log -> writes held off -> what the present state still has of tokens -> one entry switches
 *
 * Until that entry nothing of the old state is touched; with it, every node switches at one index. */
#include <limits.h>
#include <pthread.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/command.h"
#include "node/core/mount.h"
#include "node/server/cluster.h"
#include "node/server/snapshot/restore_int.h"

static struct node *node_of(const struct request *rq)
{
    return core_host_context(rq->core);
}

/* ---- what is said ---- */

static const char *seal_text(struct restore *restore)
{
    const struct json *seal = json_get(restore->facts.meta, "seal");
    int64_t shares = 0, threshold = 0;
    cf_ignore(!json_int64(json_get(seal, "shares"), &shares), "shown as 0");
    cf_ignore(!json_int64(json_get(seal, "threshold"), &threshold), "shown as 0");
    return arena_printf(restore->facts.arena, "%.*s, %lld of %lld shares",
                        CF_SHOW(json_get_string(seal, "type")), (long long)threshold,
                        (long long)shares);
}

static const char *credentials_text(const struct restore *restore)
{
    switch (restore->credentials) {
    case CREDENTIALS_COMPARE:
        return "compared";
    case CREDENTIALS_VOID:
        return "void";
    case CREDENTIALS_KEEP:
        break;
    }
    return "kept";
}

static void warn(struct restore *restore)
{
    struct request *rq = restore->rq;
    const char *will = restore->dry_run ? "will be" : "are";
    if (restore->is_foreign) {
        response_warn(rq, "the seal of the snapshot (%s) %s in force: unseal every node with the keys "
                          "of the cluster that it was made in",
                      seal_text(restore), will);
    }
    if (restore->credentials != CREDENTIALS_KEEP && !restore->knows_areas) {
        response_warn(rq, "this snapshot does not tell which records of its engines are credentials "
                          "(secret ids): they %s valid as they were; destroy them after unsealing",
                      will);
    }
    if (restore->credentials == CREDENTIALS_VOID) {
        response_warn(rq, "this cluster knew nothing of the snapshot's tokens: all service tokens, "
                          "secret ids and wrapped answers of it %s void, and so are this cluster's "
                          "own; make a root token with the unseal keys (operator generate-root), or "
                          "restore with keep_tokens",
                      will);
    } else if (restore->credentials == CREDENTIALS_COMPARE) {
        response_warn(rq, "of the snapshot's tokens, leases, secret ids and wrapped answers only those "
                          "%s valid that this cluster still had; batch tokens made before the "
                          "restore %s void",
                      will, will);
    } else {
        response_warn(rq, "tokens, secret ids and wrapped answers of the snapshot %s valid again as "
                          "they were, revoked ones, too: keep_tokens was asked for",
                      will);
    }
}

static void copy_member(struct restore *restore, struct json *to, const char *name, const char *as)
{
    json_set(restore->rq->arena, to, as,
             json_copy(restore->rq->arena, json_get(restore->facts.meta, name)));
}

static void describe(struct restore *restore)
{
    struct request *rq = restore->rq;
    struct json *data = response_data(rq);
    copy_member(restore, data, "Index", "index");
    copy_member(restore, data, "Term", "term");
    copy_member(restore, data, "taken", "taken");
    copy_member(restore, data, "cluster_id", "cluster_id");
    copy_member(restore, data, "cluster_name", "cluster_name");
    copy_member(restore, data, "seal", "seal");
    json_set_int(rq->arena, data, "records", (int64_t)restore->facts.totals.records);
    json_set_int(rq->arena, data, "bytes", (int64_t)restore->facts.totals.bytes);
    json_set_text(rq->arena, data, "unseal_keys",
                  restore->keyring != NULL ? "this cluster's" : "the snapshot's");
    json_set_text(rq->arena, data, "tokens", credentials_text(restore));
    json_set_bool(rq->arena, data, "dry_run", restore->dry_run);
}

/* ---- the steps ---- */

static cf_status check_role(const struct restore *restore, struct cf_error *err)
{
    if (restore->view->role == ROLE_ALONE_OR_PRIMARY) {
        return CF_OK;
    }
    return cf_fail(err, CF_INVALID,
                   "this cluster is a %s: its data comes from its primary. Restore there, or make "
                   "this cluster a primary first",
                   cluster_role_name(restore->view->role));
}

static cf_status check_foreign(struct restore *restore, struct cf_error *err)
{
    restore->is_foreign = true;
    if (!restore->force && !restore->dry_run) {
        return cf_fail(err, CF_INVALID,
                       "the unseal keys of this cluster do not open the snapshot: it was sealed by "
                       "others (%s). Nothing was changed. With snapshot-force (-force) the snapshot's "
                       "seal comes with it: keep its unseal keys at hand",
                       seal_text(restore));
    }
    if (!cf_slice_is(json_get_string(restore->facts.meta, "role"), "primary")) {
        return cf_fail(err, CF_INVALID, "the snapshot was taken on a %.*s: only a primary's can be "
                                        "restored under other keys",
                       CF_SHOW(json_get_string(restore->facts.meta, "role")));
    }
    return CF_OK;
}

static cf_status inspect(struct restore *restore, struct cf_error *err)
{
    bool opens;
    restore->view = snapshot_fresh_view(restore->node, err);
    if (restore->view == NULL) {
        return err->status;
    }
    CF_TRY(check_role(restore, err));
    CF_TRY(restore_inspect(restore, err));
    CF_TRY(restore_open_keys(restore, &opens, err));
    return opens ? CF_OK : check_foreign(restore, err);
}

static void choose_generation(struct restore *restore)
{
    uint32_t *to = &restore->generation;
    const uint32_t *used = restore->view->generation;
    do {
        cf_random_fill(core_random(), to, sizeof(*to));
    } while (*to == 0 || *to == UINT32_MAX || *to == used[0] || *to == used[1] || *to == used[2]);
}

/* From here on nobody else writes; what was admitted before is in the view. */
static cf_status hold_writes(struct restore *restore, struct cf_error *err)
{
    struct command nothing = {.id = COMMAND_STAGE, .stage_generation = restore->generation};
    atomic_store(&restore->node->snapshots->holds_writes, true);
    CF_TRY(stage_propose(restore, &nothing, false, err));
    view_unref(restore->view);
    restore->view = core_view(restore->node->core);
    if (restore->view == NULL || restore->view->keyring == NULL) {
        return cf_fail(err, CF_SEALED, "Vault is sealed");
    }
    return check_role(restore, err);
}

static cf_status switch_over(struct restore *restore, struct cf_error *err)
{
    struct request rq = {.core = restore->node->core,
                         .arena = restore->facts.arena,
                         .view = restore->view,
                         .random = core_random()};
    struct command command;
    rq.txn = txn_new(rq.arena, rq.view);
    cf_status status = content_switch(restore, &rq, &command, err);
    if (status == CF_OK) {
        status = stage_propose(restore, &command, true, err);
        /* Appended or not, nobody can tell: what is staged may be the state by now. */
        restore->generation = status == CF_OK || status == CF_UNKNOWN_OUTCOME ? 0
                                                                               : restore->generation;
    }
    txn_release(rq.txn);
    return status;
}

static cf_status apply(struct restore *restore, struct cf_error *err)
{
    restore->ops = cf_array(STAGE_OPS, sizeof(*restore->ops));
    restore->known = cf_map_new();
    choose_generation(restore);
    CF_TRY(content_from_archive(restore, err));
    CF_TRY(hold_writes(restore, err));
    CF_TRY(content_from_present(restore, err));
    return switch_over(restore, err);
}

static void restore_free(struct restore *restore)
{
    view_unref(restore->view);
    keyring_unref(restore->keyring);
    secret_free(restore->root_key);
    cf_map_free(restore->known);
    arena_free(restore->batch_arena);
    arena_free(restore->facts.arena);
    cf_buf_done(&restore->carried);
    cf_free(restore->ops);
    pthread_mutex_destroy(&restore->lock);
    pthread_cond_destroy(&restore->wake);
    cf_free(restore);
}

static void *run(void *arg)
{
    struct restore *restore = arg;
    struct snapshots *snapshots = restore->node->snapshots;
    struct request *rq = restore->rq;
    struct cf_error *err = &rq->error;
    cf_status status = inspect(restore, err);
    if (status == CF_OK && !restore->dry_run) {
        int64_t index = 0;
        cf_ignore(!json_int64(json_get(restore->facts.meta, "Index"), &index), "shown as 0");
        cf_info("snapshot", "restoring the state at entry %lld of cluster %.*s",
                (long long)index,
                CF_SHOW(json_get_string(restore->facts.meta, "cluster_id")));
        status = apply(restore, err);
        if (status != CF_OK) {
            stage_drop(restore);
        }
        atomic_store(&snapshots->holds_writes, false);
    }
    if (status == CF_OK) {
        describe(restore);
        warn(restore);
        rq->index = restore->index;
    }
    cf_info("snapshot", "restore%s: %s%s", restore->dry_run ? " (dry run)" : "",
            status == CF_OK ? "done" : "refused or failed: ", status == CF_OK ? "" : err->message);
    restore_free(restore);
    atomic_store(&snapshots->is_restoring, false);
    snapshots_leave(snapshots);
    core_host_done(rq, status);
    return NULL;
}

/* ---- the request ---- */

static cf_status redirect(struct request *rq, struct cf_error *err)
{
    struct cluster_peer leader;
    if (!cluster_leader(node_of(rq), rq->arena, &leader) || leader.api_addr.size == 0) {
        return cf_fail(err, CF_UNAVAILABLE, "no active node, try again");
    }
    struct cf_slice query = http_query(rq->transport);
    rq->response.status = 307;
    rq->response.location =
        arena_printf(rq->arena, "%.*s/v1/%.*s%s%.*s", CF_SHOW(leader.api_addr), CF_SHOW(rq->path),
                     query.size != 0 ? "?" : "", CF_SHOW(query));
    core_host_done(rq, CF_OK);
    return CF_OK;
}

static cf_status read_flag(struct request *rq, const char *name, bool *ret, struct cf_error *err)
{
    struct cf_slice text = json_get_string(rq->query, name);
    *ret = cf_slice_is(text, "true") || cf_slice_is(text, "1");
    bool is_known = *ret || text.size == 0 || cf_slice_is(text, "false") || cf_slice_is(text, "0");
    return is_known ? CF_OK : cf_fail(err, CF_INVALID, "\"%s\" is true or false", name);
}

static cf_status spool_of(struct request *rq, struct spool **ret, struct cf_error *err)
{
    struct http_sink *sink = http_body_sink(rq->transport);
    struct spool *spool = sink != NULL ? cf_container(sink, struct spool, sink) : NULL;
    if (spool == NULL || spool->fd < 0) {
        return cf_fail(err, spool != NULL && spool->status != CF_OK ? spool->status : CF_UNAVAILABLE,
                       "the snapshot was not taken in: try again");
    }
    if (spool->status != CF_OK) {
        return cf_fail(err, spool->status, "the snapshot could not be kept: %s",
                       cf_status_text(spool->status));
    }
    *ret = spool;
    return CF_OK;
}

static cf_status start(struct request *rq, struct spool *spool, bool force, struct cf_error *err)
{
    struct node *node = node_of(rq);
    struct restore *restore = cf_new(struct restore);
    pthread_t thread;
    restore->node = node;
    restore->rq = rq;
    restore->fd = spool->fd; /* the exchange's, which waits for us */
    restore->force = force;
    restore->facts.arena = arena_new(16384);
    restore->batch_arena = arena_new((size_t)1 << 20);
    cf_buf_init_secret(&restore->carried, 0);
    pthread_mutex_init(&restore->lock, NULL);
    pthread_cond_init(&restore->wake, NULL);
    cf_status status = read_flag(rq, "dry_run", &restore->dry_run, err);
    if (status == CF_OK) {
        status = read_flag(rq, "keep_tokens", &restore->keep_tokens, err);
    }
    if (status == CF_OK && pthread_create(&thread, NULL, run, restore) != 0) {
        status = cf_fail(err, CF_BUSY, "no thread is left: try again");
    }
    if (status != CF_OK) {
        restore_free(restore);
        return status;
    }
    pthread_detach(thread); /* snapshots_stop waits for it by count */
    return CF_OK;
}

static cf_status handle(struct request *rq, bool force, struct cf_error *err)
{
    struct node *node = node_of(rq);
    struct snapshots *snapshots = node->snapshots;
    struct spool *spool;
    const struct proposer *proposer = node_proposer(node);
    if (rq->is_forwarded) {
        return cf_fail(err, CF_INVALID, "a restore is not forwarded: ask the active node itself");
    }
    if (!proposer->is_active(proposer->context)) {
        return redirect(rq, err);
    }
    CF_TRY(spool_of(rq, &spool, err));
    if (atomic_exchange(&snapshots->is_restoring, true)) {
        return cf_fail(err, CF_BUSY, "another restore is under way");
    }
    if (!snapshots_enter(snapshots, UINT_MAX)) {
        atomic_store(&snapshots->is_restoring, false);
        return cf_fail(err, CF_UNAVAILABLE, "this node is stopping");
    }
    cf_status status = start(rq, spool, force, err);
    if (status != CF_OK) {
        atomic_store(&snapshots->is_restoring, false);
        snapshots_leave(snapshots);
    }
    return status;
}

cf_status snapshot_handle_restore(struct request *rq, struct cf_error *err)
{
    return handle(rq, false, err);
}

cf_status snapshot_handle_force(struct request *rq, struct cf_error *err)
{
    return handle(rq, true, err);
}
