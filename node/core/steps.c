/* node/core/steps.c: what stands before and behind a handler, for all requests alike. */
#include "node/base/memory.h"
#include "node/core/cidr.h"
#include "node/core/envelope.h"
#include "node/core/frame_int.h"
#include "node/core/grant.h"
#include "node/core/identity.h"
#include "node/core/lease.h"
#include "node/core/namespace.h"
#include "node/core/policy.h"
#include "node/core/route.h"
#include "node/core/token.h"

static bool takes_dr_token(const struct request *rq)
{
    return rq->view->role == ROLE_DR_SECONDARY && rq->route != NULL &&
           (rq->route->flags & ROUTE_DR_TOKEN) != 0;
}

static bool is_open_route(const struct request *rq)
{
    bool is_ceremony = rq->ceremonies_are_open && rq->token.size == 0 && rq->route != NULL &&
                       (rq->route->flags & ROUTE_CEREMONY) != 0;
    return (rq->route != NULL && (rq->route->flags & ROUTE_OPEN) != 0) || takes_dr_token(rq) ||
           is_ceremony;
}

cf_status step_cluster(struct request *rq, struct cf_error *err)
{
    txn_note_read(rq->txn, rq->core->role_hash); /* no write lands after a change of role */
    bool may_pass = rq->route != NULL && (rq->route->flags & ROUTE_ANY_ROLE) != 0;
    switch (rq->view->role) {
    case ROLE_ALONE_OR_PRIMARY:
    case ROLE_PERFORMANCE_SECONDARY:
        return CF_OK;
    case ROLE_DR_SECONDARY:
        if (takes_dr_token(rq) || (may_pass && (rq->route->flags & ROUTE_NOT_DR) == 0)) {
            return CF_OK;
        }
        return cf_fail(err, CF_INVALID, "path disabled in replication DR secondary mode");
    case ROLE_BOOTSTRAPPING:
        if (may_pass) {
            return CF_OK;
        }
        return cf_fail(err, CF_READ_ONLY,
                       "this cluster is being filled from its primary; see "
                       "sys/replication/status");
    case ROLE_FENCED:
        if (may_pass) {
            return CF_OK;
        }
        return cf_fail(err, CF_READ_ONLY,
                       "this cluster was superseded by a newer primary and answers nobody: see "
                       "sys/replication/status, then demote it or attach it as a secondary");
    }
    return CF_OK;
}

cf_status step_namespace(struct request *rq, struct cf_error *err)
{
    const struct namespace_table *table = rq->view->namespaces;
    const struct namespace *ns = namespace_table_match(table, rq->full_path);
    rq->ns = ns->number;
    rq->nspace = ns;
    rq->mounts = ns->mounts;
    rq->path = cf_slice_from(rq->full_path, ns->path.size);
    namespace_note_read(rq->txn, ns);
    for (const struct namespace *around = ns; around != NULL; around = around->parent) {
        if (around->is_tainted) {
            return cf_fail(err, CF_NOT_FOUND, "namespace not found");
        }
    }
    if (rq->ns_header_size > ns->path.size) {
        return cf_fail(err, CF_NOT_FOUND, "namespace not found");
    }
    return CF_OK;
}

cf_status step_open_namespace(const struct request *rq, struct cf_error *err)
{
    if (rq->ns == NAMESPACE_ROOT) {
        return CF_OK;
    }
    const struct namespace *locked = namespace_lock_of(rq->nspace);
    if (locked != NULL && !cf_slice_is(rq->path, "sys/namespaces/api-lock/unlock")) {
        return cf_fail(err, CF_READ_ONLY,
                       "API access to this namespace has been locked by an administrator - "
                       "\"%.60s\" must be unlocked to gain access.",
                       arena_text(rq->arena, locked->path));
    }
    bool is_root_only =
        cf_slice_starts(rq->path, CF_SLICE("sys/")) &&
        (request_is_host(rq) || namespace_is_root_only(cf_slice_from(rq->path, 4)));
    if (is_root_only) {
        return cf_fail(err, CF_INVALID, "operation only available in root namespace");
    }
    return CF_OK;
}

void step_route(struct request *rq)
{
    rq->route = NULL;
    rq->mount = mount_table_match(rq->mounts, rq->path);
    if (rq->mount == NULL) {
        return;
    }
    rq->mount_path = rq->mount->path;
    rq->relative = cf_slice_from(rq->path, rq->mount->path.size);
    bool is_sys = cf_slice_is(rq->mount->path, "sys/");
    const struct route *routes =
        rq->mount->ops->select != NULL ? rq->mount->ops->select(rq->mount) : rq->mount->ops->routes;
    if (is_sys && rq->core->host.routes != NULL) {
        rq->route = route_find(rq->core->host.routes, rq->operation, rq->relative, rq->captures);
    }
    if (rq->route == NULL) {
        rq->route = route_find(routes, rq->operation, rq->relative, rq->captures);
    }
}

bool request_is_host(const struct request *rq)
{
    return rq->route != NULL && (rq->route->flags & ROUTE_HOST) != 0;
}

bool request_writes(const struct request *rq)
{
    return rq->is_write_method || rq->operation == OPERATION_PATCH ||
           rq->operation == OPERATION_DELETE;
}

bool request_spends_use(const struct request *rq)
{
    /* A wrapping token reaches nothing but sys/wrapping: what opens its content uses it up. */
    bool is_open = is_open_route(rq);
    return rq->caller != NULL && rq->foreign == NULL && rq->caller->num_uses > 0 &&
           !rq->caller->is_wrapping && !is_open;
}

/* A token acts in its own namespace and in those below. What a wrapping token holds may be fetched from
 * anywhere: it names its namespace itself. */
static bool may_enter(const struct request *rq)
{
    if (rq->caller->ns == rq->ns) {
        return true;
    }
    const struct namespace *own = namespace_by_number(rq->view->namespaces, rq->caller->ns);
    return (own != NULL && namespace_is_within(rq->nspace, own)) ||
           (rq->caller->is_wrapping && rq->route != NULL &&
            (rq->route->flags & ROUTE_WRAPPING) != 0);
}

cf_status step_quota(struct request *rq, struct cf_error *err)
{
    struct core *core = rq->core;
    if (!atomic_load_explicit(&core->has_quotas, memory_order_relaxed) || rq->is_forwarded ||
        rq->foreign != NULL || rq->view->settings == NULL) {
        return CF_OK; /* counted where it came in */
    }
    const struct quota_table *table = &rq->view->settings->quotas;
    const struct quota_rule *rule = quota_match(table, rq);
    struct limiter *limiter = atomic_load(&core->limiter);
    if (rule == NULL || limiter == NULL) {
        return CF_OK;
    }
    struct limit_verdict verdict;
    limiter_take(limiter, limiter_client(rule->id, rq->remote_address), &rule->limit,
                 cf_monotonic_us(cf_host_clock()), &verdict);
    rq->quota = (struct quota_answer){.is_shown = table->shows_headers,
                                      .is_refused = !verdict.allowed,
                                      .limit = rule->limit.rate,
                                      .remaining = verdict.remaining,
                                      .reset_s = (verdict.reset_us + 999999) / 1000000,
                                      .retry_s = (verdict.retry_us + 999999) / 1000000};
    if (!verdict.allowed) {
        return cf_fail(err, CF_RATE_LIMITED, "request path \"%.*s\": rate limit quota exceeded",
                       CF_SHOW(cf_slice_first(rq->full_path, 100)));
    }
    return CF_OK;
}

cf_status step_authenticate(struct request *rq, struct cf_error *err)
{
    bool is_open = is_open_route(rq);
    rq->caller = rq->foreign;
    if (rq->foreign != NULL) {
        return may_enter(rq) ? CF_OK : cf_fail(err, CF_DENIED, "permission denied");
    }
    if (rq->token.size == 0 || rq->token_is_malformed) {
        return is_open ? CF_OK : cf_fail(err, CF_DENIED, "permission denied");
    }
    cf_status status = token_lookup(rq->txn, rq->arena, rq->token, &rq->caller, err);
    if (status == CF_OK && !may_enter(rq)) {
        status = CF_DENIED;
    }
    if (status == CF_OK && rq->caller->bound_cidr_count != 0 &&
        !cidr_contains(rq->caller->bound_cidrs, rq->caller->bound_cidr_count, rq->remote_address)) {
        status = CF_DENIED;
    }
    if (status == CF_DENIED) {
        rq->caller = NULL;
        return is_open ? CF_OK : cf_fail(err, CF_DENIED, "permission denied");
    }
    return status;
}

/* As the policies of the caller see it: below the caller's namespace, which the request is in. */
static struct cf_slice policy_path(const struct request *rq)
{
    struct cf_slice path = rq->path;
    if (rq->caller->ns != rq->ns) {
        const struct namespace *own = namespace_by_number(rq->view->namespaces, rq->caller->ns);
        bool is_inside = own != NULL && namespace_is_within(rq->nspace, own);
        path = is_inside ? cf_slice_from(rq->full_path, own->path.size) : path;
    }
    bool lists = rq->operation == OPERATION_LIST || rq->operation == OPERATION_SCAN;
    if (lists && path.size != 0 && path.data[path.size - 1] != '/') {
        return cf_slice_str(arena_printf(rq->arena, "%.*s/", CF_SHOW(path)));
    }
    return path;
}

cf_status step_acl(struct request *rq, struct acl **acl, struct cf_error *err)
{
    acl_unref(*acl);
    *acl = NULL;
    if (is_open_route(rq)) {
        return CF_OK;
    }
    return authorize_acl(rq->txn, rq->arena, rq->caller, acl, err);
}

/* To look whether something is there costs about as much as all else that a write does here, and a
 * read that the window checks. Most rules grant both or neither, and without a device nobody notes it. */
static bool minds_existence(const struct request *rq, const struct acl *acl)
{
    return acl == NULL || rq->view->audit->count != 0 || acl_tells_creation(acl, policy_path(rq));
}

cf_status step_operation(struct request *rq, const struct acl *acl, struct cf_error *err)
{
    if (!rq->is_write_method) {
        return CF_OK;
    }
    bool exists = true;
    if (rq->route != NULL && rq->route->exists != NULL && minds_existence(rq, acl)) {
        CF_TRY(rq->route->exists(rq, &exists, err));
    }
    rq->operation = exists ? OPERATION_UPDATE : OPERATION_CREATE;
    return CF_OK;
}

cf_status step_policy(const struct request *rq, const struct acl *acl, struct cf_error *err)
{
    if (is_open_route(rq)) {
        return CF_OK;
    }
    if (rq->caller->is_wrapping &&
        (rq->route == NULL || (rq->route->flags & ROUTE_WRAPPING) == 0)) {
        return cf_fail(err, CF_DENIED, "1 error occurred:\n\t* permission denied\n\n");
    }
    struct acl_request question = {
        .path = policy_path(rq),
        .operation = rq->operation,
        .body = rq->body,
        .wrap_ttl_s = rq->wrap_ttl_s,
        .needs_sudo = rq->route != NULL && (rq->route->flags & ROUTE_SUDO) != 0,
    };
    if (!acl_allows(acl, &question)) {
        return cf_fail(err, CF_DENIED, "1 error occurred:\n\t* permission denied\n\n");
    }
    return CF_OK;
}

cf_status step_handler(const struct request *rq, struct cf_error *err)
{
    if (rq->wrap_ttl_s < 0) {
        return cf_fail(err, CF_INVALID, "requested wrapping TTL is not a valid duration");
    }
    if (rq->operation == OPERATION_HELP) {
        return CF_OK;
    }
    if (rq->route == NULL) {
        return cf_fail(err, CF_NOT_FOUND, "1 error occurred:\n\t* unsupported path\n\n");
    }
    if (route_handler_of(rq->route, rq->operation) == NULL) {
        return cf_fail(err, CF_UNSUPPORTED, "1 error occurred:\n\t* unsupported operation\n\n");
    }
    return CF_OK;
}

static void warn_unknown(struct request *rq)
{
    if (rq->response.no_unknown_parameter_warning || rq->body == NULL ||
        rq->route->fields == NULL) {
        return;
    }
    CF_BUF(names) = {.max = 900};
    for (size_t i = 0; i < json_count(rq->body); i++) {
        if (!route_knows(rq->route, rq->body->members[i].key)) {
            cf_buf_addf(&names, "%s%.*s", names.size != 0 ? " " : "",
                        CF_SHOW(rq->body->members[i].key));
        }
    }
    if (names.size != 0) {
        response_warn(rq, "Endpoint ignored these unrecognized parameters: [%.*s]",
                      CF_SHOW(cf_buf_slice(&names)));
    }
}

/* To a performance secondary. A token of this cluster would be none there: it gets what it makes one of. */
static cf_status answer_login(struct request *rq, struct cf_error *err)
{
    const struct auth_result *auth = rq->response.auth;
    if (auth == NULL || (rq->route->flags & ROUTE_LOGIN) == 0) {
        return CF_OK;
    }
    if (!rq->takes_grant) {
        /* The use of a credential would be spent for nothing. */
        return cf_fail(err, CF_INVALID,
                       "this login changes shared data (a counted secret-id), which a performance secondary of "
                       "this version cannot do: upgrade it, log in at the primary, or use a role with local_secret_ids");
    }
    if (auth->alias_name.size != 0) { /* in the same entry: it is there with the answer */
        struct cf_slice entity_id;
        struct identity_alias alias = token_alias_of(rq, auth);
        CF_TRY(identity_login(rq, &alias, &entity_id, err));
    }
    json_set(rq->arena, response_data(rq), "grant", grant_of(rq->arena, auth));
    rq->response.auth = NULL;
    return CF_OK;
}

cf_status step_grant(struct request *rq, const struct json *grant, struct cf_error *err)
{
    CF_TRY(step_namespace(rq, err));
    step_route(rq);
    CF_TRY(step_cluster(rq, err));
    if (rq->mount == NULL || rq->route == NULL) {
        return cf_fail(err, CF_NOT_FOUND, "the mount of this login is gone");
    }
    txn_note_read(rq->txn, rq->mount->entry_hash);
    rq->operation = OPERATION_UPDATE;
    CF_TRY(grant_read(rq->arena, grant, &rq->response.auth, err));
    return step_decorate(rq, err);
}

cf_status step_decorate(struct request *rq, struct cf_error *err)
{
    struct response *rs = &rq->response;
    warn_unknown(rq);
    if (rq->foreign != NULL && rs->lease == NULL) {
        return answer_login(rq, err);
    }
    bool is_the_primarys = rq->view->role == ROLE_PERFORMANCE_SECONDARY &&
                           (txn_write_classes(rq->txn) & 1u << class_number(CLASS_REPLICATED)) != 0;
    if (is_the_primarys) {
        return CF_OK; /* it is run there: what it is answered with is not known yet */
    }
    if (rs->auth != NULL && (rq->route->flags & ROUTE_LOGIN) != 0) {
        CF_TRY(token_from_login(rq, rs->auth, err));
    }
    if (rs->lease != NULL) {
        CF_TRY(lease_create(rq, err));
    }
    bool has_content = rs->data != NULL || rs->auth != NULL || rs->raw.size != 0;
    if (rq->wrap_ttl_s > 0 && has_content && rs->wrap == NULL && !rs->no_envelope) {
        CF_BUF(content) = {.secret = true};
        envelope_write(rq, &content);
        CF_TRY(wrapping_wrap(rq, rq->wrap_ttl_s, rq->path, cf_buf_slice(&content), &rs->wrap, err));
        rs->data = NULL;
        rs->auth = NULL;
        rs->warnings = NULL;
        rs->lease_id = CF_SLICE_EMPTY;
        rs->lease_duration_s = 0;
        rs->renewable = false;
    }
    return CF_OK;
}
