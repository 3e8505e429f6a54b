/* node/core/frame_int.h: the steps of one run of a request, in the order in which frame.c takes
 * them. Each reads through rq->txn at rq->view; what it says not to go on with is the answer. */
#ifndef COFFER_CORE_FRAME_INT_H
#define COFFER_CORE_FRAME_INT_H

#include "node/core/core_int.h"

/* Whether this cluster answers at all: its role is noted as read. */
CF_CHECKED cf_status step_cluster(struct request *rq, struct cf_error *err);
/* Fills in rq->ns, nspace, mounts, and path below the namespace. CF_NOT_FOUND. */
CF_CHECKED cf_status step_namespace(struct request *rq, struct cf_error *err);
/* After the route is known: locked namespaces, and paths that the root namespace alone has. */
CF_CHECKED cf_status step_open_namespace(const struct request *rq, struct cf_error *err);
/* Fills in rq->mount and rq->route; either may be NULL, which is said later, to those who may know.
 */
void step_route(struct request *rq);
/* Once a request: whether the rate limits let it through. CF_RATE_LIMITED. */
CF_CHECKED cf_status step_quota(struct request *rq, struct cf_error *err);
/* Fills in rq->caller (NULL on open paths that got no good token). CF_DENIED. */
CF_CHECKED cf_status step_authenticate(struct request *rq, struct cf_error *err);
/* What the caller may do; NULL where that is not asked. *acl holds a reference; the one it held before
 * is let go. CF_DENIED. */
CF_CHECKED cf_status step_acl(struct request *rq, struct acl **acl, struct cf_error *err);
/* Create or update is the mount's to say. Where it makes no difference, it is not asked: update. */
CF_CHECKED cf_status step_operation(struct request *rq, const struct acl *acl,
                                    struct cf_error *err);
/* acl: from step_acl(). CF_DENIED. */
CF_CHECKED cf_status step_policy(const struct request *rq, const struct acl *acl,
                                 struct cf_error *err);
/* CF_OK when there is a handler for the operation. */
CF_CHECKED cf_status step_handler(const struct request *rq, struct cf_error *err);
/* After a handler's success: warnings, the token of a login, response wrapping. */
CF_CHECKED cf_status step_decorate(struct request *rq, struct cf_error *err);

/* On a performance secondary: the primary has answered a login with a grant (grant.h), of which the token is made
 * here, by the rest of a run of its own. */
CF_CHECKED cf_status step_grant(struct request *rq, const struct json *grant, struct cf_error *err);

/* once_record.c. A forwarded request with an id: *is_done when it is not to be run; its answer or error is
 * then filled in (a replay, an outcome that is unknown, a group to ask again under). */
CF_CHECKED cf_status step_once(struct request *rq, bool *is_done, struct cf_error *err);
/* Adds the record of the settled answer to the write set, if it needs one. */
CF_CHECKED cf_status step_record(struct request *rq, struct cf_error *err);
/* An earlier try of this request may have run. */
bool once_is_retry(const struct request *rq);

/* ensure.c: rq->ensure is done by the primary, and its effect waited for; then done is called, on any thread.
 * origin outlives it. */
void ensure_start(const struct request *origin,
                  void (*done)(void *arg, cf_status status, const struct cf_error *err), void *arg);

bool request_is_host(const struct request *rq);
/* By its method: whether it is expected to change something. */
bool request_writes(const struct request *rq);
/* Whether the frame spends one of the caller's counted uses. */
bool request_spends_use(const struct request *rq);

#endif
