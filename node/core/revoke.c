/* node/core/revoke.c: taking back what was lent out: on the active node, on threads of its own.
 *
 * The expiry thread says when to look; a few leases at a time are handed to the threads, of one mount no more
 * than a quarter of them, so that a database that hangs holds up its own leases alone. An attempt is an act outside,
 * made once, and then a record of how it ended: a run of the node itself (system.h), which may be made anew. A
 * node that stops being active in between leaves the lease as due as it was, and its successor tries again: so
 * engines take a second revocation for a success. */
#include <pthread.h>
#include <stdio.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/core_int.h"
#include "node/core/lease.h"
#include "node/core/mount_move.h"
#include "node/core/system.h"

#define SLOTS 16 /* each a thread, which an attempt may hold as long as it likes */
#define SLOTS_OF_MOUNT 4

struct job {
    struct revoker *revoker;
    bool is_taken;
    struct uuid mount;
    struct cf_buf due_name;
    cf_status status;
    char why[LEASE_FAILURE_MAX + 1];
    bool became_irrevocable;
};

struct revoker {
    struct core *core;
    pthread_mutex_t lock; /* which jobs are taken */
    struct work_pool *pool; /* NULL: nothing was ever lent out here; the expiry thread's */
    struct job jobs[SLOTS];
};

struct revoker *revoker_new(struct core *core)
{
    struct revoker *revoker = cf_new(struct revoker);
    revoker->core = core;
    pthread_mutex_init(&revoker->lock, NULL);
    return revoker;
}

void revoker_stop(struct revoker *revoker)
{
    if (revoker->pool != NULL) {
        work_pool_stop(revoker->pool);
    }
}

void revoker_free(struct revoker *revoker)
{
    if (revoker == NULL) {
        return;
    }
    work_pool_free(revoker->pool);
    for (size_t i = 0; i < SLOTS; i++) {
        cf_buf_done(&revoker->jobs[i].due_name);
    }
    pthread_mutex_destroy(&revoker->lock);
    cf_free(revoker);
}

/* ---- one lease ---- */

/* The request stands in the lease's mount, as if it had come there; its mount is NULL when that is gone. */
static void enter_mount(struct request *rq, const struct lease *lease)
{
    rq->mount = mount_after_moves(rq->view->namespaces, lease->ns, lease->mount_uuid);
    rq->ns = rq->mount != NULL ? rq->mount->ns : lease->ns;
    rq->nspace = namespace_by_number(rq->view->namespaces, rq->ns);
    rq->mounts = rq->nspace != NULL ? rq->nspace->mounts : NULL;
    if (rq->mount != NULL) {
        rq->mount_path = rq->mount->path;
        txn_note_read(rq->txn, rq->mount->entry_hash);
    }
}

static cf_status act(struct request *rq, struct cf_slice due_name, struct cf_error *err)
{
    struct lease *lease;
    cf_status status = lease_of_due(rq->txn, rq->arena, due_name, &lease, err);
    if (status != CF_OK) {
        return status == CF_NOT_FOUND ? CF_OK : status; /* what is left of it is cleared away */
    }
    enter_mount(rq, lease);
    if (rq->mount == NULL) {
        return lease->is_outside
                   ? cf_fail(err, CF_UNSUPPORTED,
                             "the mount that lent it out is gone, and with it the way to take it back")
                   : CF_OK;
    }
    return rq->mount->ops->lease_revoke != NULL ? rq->mount->ops->lease_revoke(rq, lease, err) : CF_OK;
}

static cf_status record(struct request *rq, void *context, struct cf_error *err)
{
    struct job *job = context;
    struct lease *lease;
    struct cf_slice due_name = cf_buf_slice(&job->due_name);
    txn_note_read(rq->txn, rq->core->role_hash);
    job->became_irrevocable = false;
    cf_status status = lease_of_due(rq->txn, rq->arena, due_name, &lease, err);
    if (status == CF_NOT_FOUND) {
        CF_BUF(name) = {0};
        cf_buf_add_str(&name, AREA_LEASE_DUE);
        cf_buf_add_slice(&name, due_name);
        txn_delete(rq->txn, (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, cf_buf_slice(&name)});
        return CF_OK;
    }
    CF_TRY(status);
    enter_mount(rq, lease);
    if (job->status != CF_OK && !lease->is_forced) {
        lease_note_failure(rq, lease, job->why, job->status == CF_UNSUPPORTED);
        job->became_irrevocable = lease->due_ns == 0;
        return CF_OK;
    }
    if (rq->mount != NULL && rq->mount->ops->lease_revoked != NULL) {
        size_t mark = txn_mark(rq->txn);
        status = rq->mount->ops->lease_revoked(rq, lease, err);
        if (status != CF_OK) {
            txn_rollback(rq->txn, mark);
        }
        if (status != CF_OK && !lease->is_forced) {
            lease_note_failure(rq, lease, err->message, false);
            job->became_irrevocable = lease->due_ns == 0;
            return CF_OK;
        }
    }
    lease_remove(rq->txn, rq->arena, lease);
    return CF_OK;
}

/* at_once: there may be more to do; otherwise the next round is as far away as it always is. */
static void end_job(struct job *job, bool at_once)
{
    struct revoker *revoker = job->revoker;
    pthread_mutex_lock(&revoker->lock);
    cf_buf_done(&job->due_name);
    job->is_taken = false;
    pthread_mutex_unlock(&revoker->lock);
    if (at_once) {
        expirer_wake(revoker->core->expirer);
    }
}

static void recorded(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct job *job = context;
    struct cf_slice id = cf_slice_from(cf_buf_slice(&job->due_name), 16 + 8 + 4);
    (void)index;
    if (status != CF_OK && status != CF_NOT_LEADER && status != CF_SEALED) {
        cf_warn("core", "what became of lease \"%.*s\" cannot be recorded, it will be revoked again: %s %s",
                CF_SHOW(id), err->message, err->detail);
    } else if (status == CF_OK && job->became_irrevocable) {
        cf_err("core",
               "lease \"%.*s\" cannot be revoked: %s. It is tried no more: see sys/leases?type=irrevocable; once "
               "what it stands for is gone, sys/leases/revoke-force removes it",
               CF_SHOW(id), job->why);
    } else if (status == CF_OK && job->status != CF_OK) {
        cf_warn("core", "lease \"%.*s\" was not revoked, will try again: %s", CF_SHOW(id), job->why);
    }
    end_job(job, status == CF_OK);
}

static void attempt(void *arg)
{
    struct job *job = arg;
    struct core *core = job->revoker->core;
    struct view *view = core_view(core);
    if (view == NULL || view->keyring == NULL || !core->proposer.is_active(core->proposer.context)) {
        view_unref(view);
        end_job(job, false);
        return;
    }
    CF_OWNED(arena) arena = arena_new(8192);
    struct request *rq = arena_new_object(arena, struct request);
    struct cf_error err = {0};
    rq->core = core;
    rq->arena = arena;
    rq->random = core_random();
    rq->view = view;
    rq->txn = txn_new(arena, view);
    job->status = act(rq, cf_buf_slice(&job->due_name), &err);
    if (job->status != CF_OK) {
        const char *why = err.message[0] != '\0' ? err.message : cf_status_text(job->status);
        (void)snprintf(job->why, sizeof(job->why), "%.*s", (int)LEASE_FAILURE_MAX, why);
    }
    txn_release(rq->txn);
    view_unref(view);
    struct system_work work = {.run = record, .done = recorded, .context = job};
    system_submit(core, &work);
}

/* ---- handing out ---- */

static struct job *take_slot(struct revoker *revoker, struct cf_slice due_name)
{
    struct job *free_job = NULL;
    size_t of_mount = 0;
    struct uuid mount;
    memcpy(mount.bytes, due_name.data, sizeof(mount.bytes));
    pthread_mutex_lock(&revoker->lock);
    for (size_t i = 0; i < SLOTS; i++) {
        struct job *job = &revoker->jobs[i];
        if (!job->is_taken) {
            free_job = job;
            continue;
        }
        if (cf_slice_eq(cf_buf_slice(&job->due_name), due_name)) {
            of_mount = SLOTS; /* it is at it */
        }
        of_mount += memcmp(job->mount.bytes, mount.bytes, sizeof(mount.bytes)) == 0;
    }
    if (of_mount >= SLOTS_OF_MOUNT) {
        free_job = NULL;
    }
    if (free_job != NULL) {
        free_job->is_taken = true;
        free_job->revoker = revoker;
        free_job->mount = mount;
        cf_buf_add_slice(&free_job->due_name, due_name);
    }
    pthread_mutex_unlock(&revoker->lock);
    return free_job;
}

cf_status revoker_round(struct revoker *revoker, const struct view *view, struct arena *arena,
                        struct cf_error *err)
{
    struct uuid mount = {{0}};
    bool found;
    CF_TRY(lease_next_mount(view, &mount, &found, err));
    while (found) {
        struct txn_names names;
        CF_TRY(lease_due(view, arena, mount, 2 * SLOTS_OF_MOUNT, &names, err));
        for (size_t i = 0; i < names.count; i++) {
            struct job *job = take_slot(revoker, names.names[i]);
            if (job == NULL) {
                continue;
            }
            if (revoker->pool == NULL) {
                revoker->pool = work_pool_new(SLOTS);
            }
            if (!work_pool_add(revoker->pool, attempt, job)) {
                end_job(job, false);
            }
        }
        CF_TRY(lease_next_mount(view, &mount, &found, err));
    }
    return CF_OK;
}
