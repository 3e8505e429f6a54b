/* node/core/preview.c: would this request be let through? Asked before a large body is taken in. */
#include "node/core/frame_int.h"
#include "node/core/policy.h"

bool core_would_allow(struct core *core, struct request *rq)
{
    struct acl *acl = NULL;
    struct cf_error err = {0};
    rq->view = core_view(core);
    bool allowed = false;
    if (rq->view != NULL && rq->view->keyring != NULL && rq->view->mounts != NULL) {
        rq->txn = txn_new(rq->arena, rq->view);
        rq->full_path = rq->path;
        bool is_found = step_namespace(rq, &err) == CF_OK;
        if (is_found) {
            step_route(rq);
        }
        allowed = is_found && rq->mount != NULL && step_cluster(rq, &err) == CF_OK &&
                  step_open_namespace(rq, &err) == CF_OK &&
                  step_authenticate(rq, &err) == CF_OK && step_acl(rq, &acl, &err) == CF_OK &&
                  step_policy(rq, acl, &err) == CF_OK && step_handler(rq, &err) == CF_OK;
        txn_release(rq->txn);
    }
    acl_unref(acl);
    view_unref(rq->view);
    rq->view = NULL;
    rq->txn = NULL;
    rq->path = rq->full_path.size != 0 ? rq->full_path : rq->path;
    rq->nspace = NULL;
    rq->mounts = NULL;
    rq->mount = NULL;
    rq->caller = NULL;
    return allowed;
}
