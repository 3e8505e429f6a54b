/* node/server/upkeep.c: what the active node looks after once a second. */
#include "node/server/upkeep.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/server/replication/lineage.h"
#include "node/server/rotation.h"
#include "node/server/snapshot/snapshot.h"
#include "node/server/versions.h"

#define LOOK_US ((uint64_t)1000000)

struct upkeep {
    struct node *node;
    struct loop_timer *timer;
    struct keyring *seen; /* the one whose count was raised to what is reserved; referenced */
    _Atomic bool is_busy; /* a run is under way */
};

/* After the recovery of a lost quorum, before anything else: what the secondaries hold may be more than
 * what is left here (design 5.2). */
static cf_status note_recovery(struct request *rq, const struct node *node, struct cf_error *err)
{
    struct raft_identity identity = raft_store_identity(node->store);
    uint64_t term = 0, index = 0;
    KV_VALUE(found) = {0};
    if (rq->view->role != ROLE_ALONE_OR_PRIMARY || identity.recovery_epoch == 0) {
        return CF_OK;
    }
    /* A node that joined later does not know where the log was cut. */
    if (raft_store_get_record(node->store, RAFT_RECOVERED_RECORD, &found, NULL) == CF_OK &&
        found.bytes.size == 16) {
        term = cf_get_u64(found.bytes.data);
        index = cf_get_u64(found.bytes.data + 8);
    }
    return lineage_recovered(rq, identity.recovery_epoch, term, index, err);
}

static cf_status run_look(struct request *rq, void *context, struct cf_error *err)
{
    struct upkeep *upkeep = context;
    CF_TRY(note_recovery(rq, upkeep->node, err));
    CF_TRY(versions_note(rq, err));
    return rotation_look(rq, upkeep->node, err);
}

static void looked(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct upkeep *upkeep = context;
    (void)index;
    if (status != CF_OK && status != CF_NOT_LEADER && status != CF_SEALED &&
        status != CF_CONFLICT) {
        cf_warn("core", "upkeep of the active node failed, will try again: %s %s",
                cf_status_name(status), err->message);
    }
    atomic_store(&upkeep->is_busy, false);
}

/* Encryptions of a keyring that was loaded since the last look are counted from what was reserved. */
static bool take_over(struct upkeep *upkeep, const struct view *view)
{
    struct cf_error err = {0};
    if (view->keyring == upkeep->seen) {
        return true;
    }
    if (rotation_take_over(view, &err) != CF_OK) {
        cf_warn("core", "what was reserved of a data key cannot be read: %s", err.message);
        return false;
    }
    keyring_unref(upkeep->seen);
    upkeep->seen = keyring_ref(view->keyring);
    return true;
}

static void on_timer(void *arg)
{
    struct upkeep *upkeep = arg;
    struct node *node = upkeep->node;
    loop_timer_set_in(upkeep->timer, LOOK_US);
    struct view *view = core_view(node->core);
    bool looks = view != NULL && view->keyring != NULL && node->init == NULL &&
                 (view->role == ROLE_ALONE_OR_PRIMARY ||
                  view->role == ROLE_PERFORMANCE_SECONDARY) &&
                 !atomic_load(&upkeep->is_busy) && take_over(upkeep, view);
    view_unref(view);
    if (looks) {
        snapshot_take_carried(node); /* again and again: whoever led before may have come to nothing */
        struct system_work work = {run_look, looked, upkeep};
        atomic_store(&upkeep->is_busy, true);
        system_submit(node->core, &work);
    }
}

void upkeep_start(struct node *node)
{
    if (node->upkeep == NULL) {
        node->upkeep = cf_new(struct upkeep);
        node->upkeep->node = node;
        node->upkeep->timer = loop_timer_new(node->loop, on_timer, node->upkeep);
    }
    loop_timer_set_in(node->upkeep->timer, 0);
}

void upkeep_stop(struct node *node)
{
    if (node->upkeep != NULL) {
        loop_timer_cancel(node->upkeep->timer);
        keyring_unref(node->upkeep->seen); /* the next leader may count on */
        node->upkeep->seen = NULL;
    }
}

void upkeep_free(struct upkeep *upkeep)
{
    if (upkeep != NULL) {
        loop_timer_free(upkeep->timer);
        keyring_unref(upkeep->seen);
        cf_free(upkeep);
    }
}
