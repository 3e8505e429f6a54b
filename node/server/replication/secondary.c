/* node/server/replication/secondary.c: sys/replication/<kind>/secondary/: promote, disable, update-primary by
 * addresses or by nothing, as write sets. */
#include "node/base/memory.h"
#include "node/base/step.h"
#include "node/core/engine.h"
#include "node/core/token.h"
#include "node/server/dr_token.h"
#include "node/server/replication/lineage.h"
#include "node/server/replication/package.h"
#include "node/server/replication/promotion.h"
#include "node/server/replication/routes.h"

cf_status repl_authorise_secondary(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    if (kind != SET_DR) {
        return CF_OK; /* the route asked for a token and its policy */
    }
    if (rq->view->role == ROLE_DR_SECONDARY) {
        return dr_token_check(rq, err);
    }
    /* Elsewhere the cluster's own tokens are the ones that count, sudo included. Runs of the node itself have
     * no route. */
    if (rq->route != NULL && (rq->route->flags & ROUTE_OPEN) == 0) {
        return CF_OK;
    }
    bool may = false;
    if (rq->caller != NULL) {
        CF_TRY(token_allows(rq, rq->caller, rq->path, rq->operation, true, &may, err));
    }
    return may ? CF_OK
               : cf_fail(err, CF_DENIED, "permission denied: while this cluster is being filled, this "
                                         "needs a token of its own with sudo on the path");
}

static cf_status check_force(struct request *rq, enum set_kind kind, const struct set_link *link,
                             bool is_copying, struct cf_error *err)
{
    bool force;
    CF_TRY(request_bool(rq, "force", false, &force, err));
    if (cf_slice_is(link->state, "bootstrapping")) {
        /* A half-filled copy is never promoted, whatever force says: the old data is still there. */
        return cf_fail(err, CF_UNAVAILABLE,
                       force ? "replication is still catching up: the first copy is not complete, so there "
                               "is nothing to promote; try again later, or disable replication"
                             : "replication is still catching up, try again later or provide the "
                               "\"force\" argument");
    }
    if (is_copying && !force) {
        return cf_fail(err, CF_UNAVAILABLE, "replication is still catching up, try again later or provide "
                                            "the \"force\" argument");
    }
    if (kind == SET_PERFORMANCE && rq->view->role != ROLE_PERFORMANCE_SECONDARY) {
        return cf_fail(err, CF_INVALID, "cluster is not a performance secondary");
    }
    return CF_OK;
}

/* Where the former primary is told that it was superseded; the link stays as the means to do so. */
static void keep_former(struct request *rq, enum set_kind kind, struct set_link *link)
{
    struct json *former = json_array_new(rq->arena);
    for (size_t i = 0; i < link->address_count; i++) {
        json_array_add(rq->arena, former, json_from_borrowed(rq->arena, link->addresses[i]));
    }
    struct json *record = json_object_new(rq->arena);
    json_set_text(rq->arena, record, "kind", set_names[kind]);
    json_set(rq->arena, record, "addresses", former);
    txn_put(rq->txn, set_former_key(), record_encode(rq->arena, record));
    link->state = CF_SLICE("promoted");
    set_write_link(rq, kind, link);
}

bool repl_was_promoted(struct request *rq, enum set_kind kind)
{
    struct set_link link;
    struct set_primary set;
    return set_read_link(rq, kind, &link, NULL) == CF_OK && cf_slice_is(link.state, "promoted") &&
           set_read_primary(rq, kind, &set, NULL) == CF_OK;
}

cf_status repl_check_promote(struct request *rq, enum set_kind kind, bool is_copying,
                             struct set_link *link, bool *ret_already, struct cf_error *err)
{
    *ret_already = false;
    if (repl_was_promoted(rq, kind)) {
        /* Again: a second epoch would leave the first one's entries out of the lineage. */
        *ret_already = true;
        return CF_OK;
    }
    CF_TRY(repl_want_link(rq, kind, link, err));
    CF_TRY(repl_authorise_secondary(rq, kind, err));
    return check_force(rq, kind, link, is_copying, err);
}

/* The line of a performance secondary goes on as one: with its link, its position and its name. */
static enum cluster_role role_after_promotion(struct request *rq, enum set_kind kind)
{
    struct set_primary set;
    bool is_shared_primary = set_read_primary(rq, SET_PERFORMANCE, &set, NULL) == CF_OK;
    return kind == SET_DR && !is_shared_primary && repl_is_secondary(rq, SET_PERFORMANCE)
               ? ROLE_PERFORMANCE_SECONDARY
               : ROLE_ALONE_OR_PRIMARY;
}

/* A planned failover: the former primary of this line was demoted as the shared primary, too, and follows nobody. Its
 * part goes on here, with its secondaries. */
static cf_status take_set_over(struct request *rq, struct cf_error *err)
{
    struct set_link link;
    cf_status status = set_read_link(rq, SET_PERFORMANCE, &link, err);
    if (status == CF_NOT_FOUND || (status == CF_OK && !cf_slice_is(link.state, "detached"))) {
        return CF_OK;
    }
    CF_TRY(status);
    status = set_restore_primary(rq, SET_PERFORMANCE, err);
    if (status == CF_OK) {
        set_delete_link(rq, SET_PERFORMANCE);
    }
    return status == CF_NOT_FOUND ? CF_OK : status;
}

cf_status repl_promote(struct request *rq, enum set_kind kind, bool is_copying, struct cf_error *err)
{
    struct set_link link;
    struct cf_slice address;
    bool already;
    CF_TRY(request_string(rq, "primary_cluster_addr", &address, err));
    CF_TRY(repl_check_promote(rq, kind, is_copying, &link, &already, err));
    if (already) {
        return repl_already(rq, kind == SET_DR ? "is a dr primary" : "is a performance primary");
    }
    if (kind == SET_DR) {
        CF_TRY(take_set_over(rq, err));
    } else {
        bool proves;
        set_drop_aside(rq, kind);
        CF_TRY(promotion_use(rq, &link, &proves, err));
        if (!proves) {
            response_warn(rq, "This cluster was given no promotion certificate: it cannot prove to its former "
                              "primary that it was replaced, so that one is not fenced by itself. Demote it, or "
                              "keep it switched off.");
        }
    }
    CF_TRY(lineage_promote(rq, kind, err));
    keep_former(rq, kind, &link);
    /* The same set id with a new trust root: its other secondaries come with new tokens. */
    struct set_primary set = {.id = link.set_id, .primary_cluster_addr = address};
    CF_TRY(repl_new_ca(rq, kind, &set, err));
    set_write_primary(rq, kind, &set);
    set_write_role(rq, role_after_promotion(rq, kind), &rq->view->line);
    dr_token_delete(rq);
    response_warn(rq, "This cluster is being promoted to a replication primary. " REPL_BRIEFLY);
    cf_step("decided");
    return CF_OK;
}

cf_status repl_secondary_promote(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    CF_TRY(repl_kind(rq, &kind, err));
    return repl_promote(rq, kind, false, err);
}

/* It stands alone: what it mirrored of its primary's part in performance replication is the primary's. */
static void leave_mirrored_set(struct request *rq)
{
    txn_delete_prefix(rq->txn, set_prefix(SET_PERFORMANCE));
    txn_delete(rq->txn, set_position_key(SET_PERFORMANCE));
    lineage_forget(rq, SET_PERFORMANCE);
}

cf_status repl_secondary_disable(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_link link;
    CF_TRY(repl_kind(rq, &kind, err));
    cf_status status = repl_want_link(rq, kind, &link, err);
    if (status == CF_INVALID && set_has_ended(rq, kind, "secondary") &&
        set_read_link(rq, kind, &link, NULL) == CF_NOT_FOUND) {
        return repl_already(rq, "has replication disabled");
    }
    CF_TRY(status);
    CF_TRY(repl_authorise_secondary(rq, kind, err));
    set_delete_link(rq, kind);
    set_drop_aside(rq, kind);
    set_write_ended(rq, kind, "secondary");
    txn_delete(rq->txn, set_position_key(kind));
    set_write_role(rq, ROLE_ALONE_OR_PRIMARY, &rq->view->line);
    dr_token_delete(rq);
    lineage_forget(rq, kind);
    if (kind == SET_DR && rq->view->role == ROLE_DR_SECONDARY) {
        leave_mirrored_set(rq);
    }
    response_warn(rq, "This cluster is having replication disabled. " REPL_BRIEFLY);
    cf_step("decided");
    return CF_OK;
}

/* ---- update-primary without a token ---- */

static bool same_addresses(const struct set_link *link, const struct cf_slice *addresses, size_t count)
{
    bool same = link->address_count == count;
    for (size_t i = 0; i < count && same; i++) {
        same = cf_slice_eq(link->addresses[i], addresses[i]);
    }
    return same;
}

cf_status repl_read_addresses(struct request *rq, struct cf_slice **ret, size_t *ret_count,
                              struct cf_error *err)
{
    CF_TRY(request_list(rq, "update_primary_addrs", true, ret, ret_count, err));
    for (size_t i = 0; i < *ret_count; i++) {
        (*ret)[i] = package_address((*ret)[i]);
        size_t colon = cf_slice_find((*ret)[i], ':');
        if (colon == 0 || colon + 1 >= (*ret)[i].size) {
            return cf_fail(err, CF_INVALID, "update_primary_addrs takes cluster addresses, as "
                                            "\"10.0.0.2:8201\": \"%.*s\" is none",
                           CF_SHOW(cf_slice_first((*ret)[i], 100)));
        }
    }
    return *ret_count != 0 ? CF_OK
                           : cf_fail(err, CF_INVALID, "update_primary_addrs is empty: an empty token "
                                                      "(token=\"\") forgets the primary");
}

cf_status repl_set_primary_addresses(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    struct set_link link;
    struct cf_slice *addresses;
    size_t count;
    CF_TRY(repl_want_link(rq, kind, &link, err));
    CF_TRY(repl_authorise_secondary(rq, kind, err));
    CF_TRY(repl_read_addresses(rq, &addresses, &count, err));
    if (link.cert.size == 0) {
        return cf_fail(err, CF_INVALID, "a demoted cluster has no credentials for a primary: give "
                                        "a token of the new primary");
    }
    if (same_addresses(&link, addresses, count) && !cf_slice_is(link.state, "detached")) {
        return CF_OK;
    }
    if (cf_slice_is(link.state, "detached")) {
        link.state = CF_SLICE("secondary"); /* its primary was forgotten, its credentials were not */
    }
    link.addresses = addresses;
    link.address_count = count;
    link.started_ns = request_now_ns(rq);
    set_write_link(rq, kind, &link);
    cf_step("decided");
    return CF_OK;
}

cf_status repl_detach(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    struct set_link link;
    CF_TRY(repl_want_link(rq, kind, &link, err));
    CF_TRY(repl_authorise_secondary(rq, kind, err));
    if (cf_slice_is(link.state, "bootstrapping")) {
        return cf_fail(err, CF_INVALID, "the first copy is not complete: disable replication, or give "
                                        "a token");
    }
    if (cf_slice_is(link.state, "detached")) {
        return CF_OK;
    }
    link.address_count = 0;
    link.state = CF_SLICE("detached");
    link.started_ns = request_now_ns(rq);
    set_write_link(rq, kind, &link);
    cf_step("decided");
    return CF_OK;
}

cf_status repl_operation_token_delete(struct request *rq, struct cf_error *err)
{
    if (rq->view->role != ROLE_DR_SECONDARY) {
        return cf_fail(err, CF_INVALID, "Not a DR secondary.");
    }
    CF_TRY(dr_token_check(rq, err));
    dr_token_delete(rq);
    return CF_OK;
}
