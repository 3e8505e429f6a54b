/* node/server/replication/routes.c: sys/replication/<kind>/primary/: enable, disable, demote.
 *
 * Pure like every handler: the effect of a call is its write set; the links follow when it is applied. A call
 * that is repeated after it worked says so and writes nothing. */
#include "node/server/replication/routes.h"

#include "node/base/memory.h"
#include "node/base/step.h"
#include "node/core/engine.h"
#include "node/core/token.h"
#include "node/crypto/sign.h"
#include "node/crypto/x509.h"
#include "node/format/encode.h"
#include "node/server/dr_token.h"
#include "node/server/replication/dry_run.h"
#include "node/server/replication/lineage.h"

#define CA_LIFE_S ((int64_t)30 * 365 * 86400)

cf_status repl_kind(struct request *rq, enum set_kind *ret, struct cf_error *err)
{
    struct cf_slice rest = cf_slice_from(rq->relative, sizeof("replication/") - 1);
    struct cf_slice first = cf_slice_first(rest, cf_slice_find(rest, '/'));
    if (cf_slice_is(first, "primary") || cf_slice_is(first, "secondary")) {
        *ret = SET_PERFORMANCE; /* the paths of the time when there was one kind */
        return CF_OK;
    }
    return set_kind_of(first, ret)
               ? CF_OK
               : cf_fail(err, CF_NOT_FOUND, "1 error occurred:\n\t* unsupported path\n\n");
}

cf_status repl_want_primary(struct request *rq, enum set_kind kind, struct set_primary *ret,
                            struct cf_error *err)
{
    cf_status status = set_read_primary(rq, kind, ret, err);
    return status == CF_NOT_FOUND
               ? cf_fail(err, CF_INVALID, "cluster is not a %s primary", set_names[kind])
               : status;
}

cf_status repl_want_link(struct request *rq, enum set_kind kind, struct set_link *ret,
                         struct cf_error *err)
{
    cf_status status = set_read_link(rq, kind, ret, err);
    /* What a promotion leaves is there to tell the former primary, and makes nobody a secondary. */
    if (status != CF_NOT_FOUND && (status != CF_OK || !cf_slice_is(ret->state, "promoted"))) {
        return status;
    }
    return kind == SET_DR ? cf_fail(err, CF_INVALID, "Not a DR secondary.")
                          : cf_fail(err, CF_INVALID, "cluster is not a performance secondary");
}

struct x509_validity repl_life(struct request *rq, int64_t seconds)
{
    int64_t now = request_now_ns(rq) / 1000000000;
    return (struct x509_validity){now - 3600, now + seconds};
}

void repl_act_for(struct request *rq, const struct request *outer)
{
    rq->body = outer->body;
    rq->operation = outer->operation;
    rq->path = outer->path;
    rq->full_path = outer->full_path;
    rq->relative = outer->relative;
    rq->route = outer->route;
    rq->caller = outer->caller; /* what it was authorised by */
    rq->ns = outer->ns;
    rq->nspace = outer->nspace;
    rq->mounts = outer->mounts;
    rq->remote_address = outer->remote_address;
    memcpy(rq->captures, outer->captures, sizeof(rq->captures));
}

cf_status repl_check_serving(struct request *rq, struct cf_error *err)
{
    switch (rq->view->role) {
    case ROLE_FENCED:
        return cf_fail(err, CF_INVALID, "this cluster was superseded by a newer primary: demote it, or "
                                        "disable what it was the primary of");
    case ROLE_BOOTSTRAPPING:
        return cf_fail(err, CF_UNAVAILABLE, "this cluster is being filled from its primary; see "
                                            "sys/replication/status");
    case ROLE_ALONE_OR_PRIMARY:
    case ROLE_PERFORMANCE_SECONDARY:
    case ROLE_DR_SECONDARY:
        break;
    }
    return CF_OK;
}

cf_status repl_already(struct request *rq, const char *what)
{
    response_warn(rq, "This cluster %s already: nothing was changed.", what);
    return CF_OK;
}

bool repl_is_secondary(struct request *rq, enum set_kind kind)
{
    struct set_link link;
    return set_read_link(rq, kind, &link, NULL) == CF_OK && !cf_slice_is(link.state, "promoted");
}

/* ---- primary/enable ---- */

cf_status repl_new_ca(struct request *rq, enum set_kind kind, struct set_primary *set,
                      struct cf_error *err)
{
    CF_OWNED(secret) key = NULL;
    CF_BUF(cert) = {0};
    CF_TRY(x509_key_new(&key, err));
    CF_TRY(x509_ca_new(cf_slice_str(arena_printf(rq->arena, "coffer %s %.8s", set_names[kind],
                                                 arena_text(rq->arena, set->id))),
                       key, repl_life(rq, CA_LIFE_S), &cert, err));
    set->ca = arena_copy(rq->arena, cf_buf_slice(&cert));
    set->ca_key = arena_copy(rq->arena, secret_slice(key));
    return CF_OK;
}

static cf_status make_set(struct request *rq, enum set_kind kind, struct cf_slice address,
                          struct cf_error *err)
{
    char id[ENCODE_UUID_TEXT + 1];
    encode_uuid_text(encode_uuid_new(rq->random), id);
    struct set_primary set = {.id = arena_copy(rq->arena, cf_slice_str(id)),
                              .primary_cluster_addr = address};
    CF_TRY(repl_new_ca(rq, kind, &set, err));
    set_write_primary(rq, kind, &set);
    return CF_OK;
}

/* What proves a later promotion. Of the set, DR secondaries of the primary hold it; of the line, those of this
 * cluster, whatever its part in the set. */
static cf_status ensure_claim_key(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    struct cf_slice ignored;
    CF_OWNED(sign_key) key = NULL;
    CF_OWNED(secret) der = NULL;
    cf_status status = txn_get(rq->txn, set_line_key(kind), &ignored, err);
    if (status != CF_NOT_FOUND) {
        return status;
    }
    CF_TRY(sign_generate(SIGN_ED25519, &key, err));
    CF_TRY(sign_private_der(key, &der, err));
    CF_BUF(public_der) = {0};
    CF_TRY(sign_public_der(key, &public_der, err));
    txn_put(rq->txn, set_line_key(kind), secret_slice(der));
    txn_put(rq->txn, set_line_public_key(kind), cf_buf_slice(&public_der));
    return CF_OK;
}

cf_status repl_primary_enable(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_primary set;
    struct cf_slice address;
    struct dry_run dry;
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(request_string(rq, "primary_cluster_addr", &address, err));
    CF_TRY(dry_run_begin(&dry, rq, err));
    cf_status status = set_read_primary(rq, kind, &set, err);
    if (status == CF_OK) {
        bool same = request_field(rq, "primary_cluster_addr") == NULL ||
                    cf_slice_eq(set.primary_cluster_addr, address);
        if (!same) {
            return cf_fail(err, CF_INVALID,
                           "cluster is a %s primary already, with another primary_cluster_addr: "
                           "secondaries learn new addresses by update-primary",
                           set_names[kind]);
        }
        return repl_already(rq, kind == SET_DR ? "is a dr primary" : "is a performance primary");
    }
    if (status != CF_NOT_FOUND) {
        return status;
    }
    if (repl_is_secondary(rq, kind)) {
        return cf_fail(err, CF_INVALID, "cluster is a %s secondary: promote it, or disable it first%s",
                       set_names[kind],
                       kind == SET_PERFORMANCE ? "; it can feed DR secondaries, while performance secondaries "
                                                 "follow the primary alone"
                                               : "");
    }
    if (kind == SET_PERFORMANCE && repl_is_secondary(rq, SET_DR)) {
        return cf_fail(err, CF_INVALID, "cluster is being made a dr secondary: that one has no part in "
                                        "performance replication of its own");
    }
    CF_TRY(repl_check_serving(rq, err));
    if (dry.wanted) {
        repl_dry_addresses(&dry, address);
        dry_run_effect(&dry, "a new %s replication set with a certificate authority of its own; this "
                             "cluster is its primary, its data stays as it is",
                       set_names[kind]);
        return dry_run_end(&dry);
    }
    CF_TRY(make_set(rq, kind, address, err));
    CF_TRY(lineage_ensure(rq, kind, err));
    CF_TRY(ensure_claim_key(rq, kind, err));
    response_warn(rq, "This cluster is being enabled as a primary for replication. " REPL_BRIEFLY);
    cf_step("decided");
    return CF_OK;
}

/* ---- primary/disable ---- */

cf_status repl_primary_disable(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_primary set;
    struct set_link link;
    CF_TRY(repl_kind(rq, &kind, err));
    cf_status status = repl_want_primary(rq, kind, &set, err);
    if (status == CF_INVALID && set_has_ended(rq, kind, "primary") && !repl_is_secondary(rq, kind)) {
        return repl_already(rq, "has replication disabled");
    }
    CF_TRY(status);
    set_delete_primary(rq, kind);
    set_write_ended(rq, kind, "primary");
    if (set_read_link(rq, kind, &link, NULL) == CF_OK) {
        /* What a promotion has left: with it the cluster would count as a secondary from now on. */
        set_delete_link(rq, kind);
        txn_delete(rq->txn, set_position_key(kind));
    }
    enum set_kind other = kind == SET_DR ? SET_PERFORMANCE : SET_DR;
    if (rq->view->role == ROLE_FENCED && set_read_primary(rq, other, &set, NULL) != CF_OK) {
        /* Who superseded it was of a set that it has left: it stands alone. */
        set_write_role(rq, ROLE_ALONE_OR_PRIMARY, &rq->view->line);
        txn_delete(rq->txn, set_fence_key());
    }
    response_warn(rq, "This cluster is having replication disabled. " REPL_BRIEFLY);
    cf_step("decided");
    return CF_OK;
}

/* ---- primary/demote ---- */

/* On a DR secondary nothing is open but what says so: there a demotion is repeated by who could have made
 * it, or by who holds an operation token. */
static cf_status demoted_already(struct request *rq, enum set_kind kind, bool *ret,
                                 struct cf_error *err)
{
    struct set_link link;
    bool may = true;
    *ret = false;
    bool on_dr = rq->view->role == ROLE_DR_SECONDARY;
    cf_status status = set_read_link(rq, kind, &link, err);
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    bool is_detached = status == CF_OK && cf_slice_is(link.state, "detached");
    if (on_dr && rq->caller != NULL) {
        CF_TRY(token_allows(rq, rq->caller, rq->path, rq->operation, false, &may, err));
    } else if (on_dr) {
        may = dr_token_check(rq, NULL) == CF_OK;
    }
    if (on_dr && (!may || !is_detached)) {
        return cf_fail(err, CF_INVALID, "path disabled in replication DR secondary mode");
    }
    *ret = is_detached;
    return CF_OK;
}

/* The revoked follow nobody. */
static cf_status count_followers(struct request *rq, enum set_kind kind, size_t *ret, struct cf_error *err)
{
    struct txn_names ids = {0};
    CF_TRY(set_list_secondaries(rq, kind, &ids, err));
    *ret = 0;
    for (size_t i = 0; i < ids.count; i++) {
        struct set_secondary secondary;
        CF_TRY(set_read_secondary(rq, kind, ids.names[i], &secondary, err));
        *ret += !cf_slice_is(secondary.state, "revoked");
    }
    return CF_OK;
}

static cf_status dry_demote(struct dry_run *dry, enum set_kind kind, struct cf_error *err)
{
    size_t count;
    CF_TRY(count_followers(dry->rq, kind, &count, err));
    dry_run_note(dry, "secondaries", "%zu registered: each needs update-primary with a token of the new "
                                     "primary, unless it learned the new one's addresses",
                 count);
    if (kind == SET_DR) {
        dry_run_effect(dry, "this cluster refuses all clients at once; from then on its calls need a DR "
                            "operation token (operator generate-root -dr-token)");
    } else {
        dry_run_effect(dry, "reads go on here; writes to shared data fail until update-primary names a "
                            "primary");
    }
    dry_run_effect(dry, "the data stays; nothing is connected anywhere");
    return dry_run_end(dry);
}

cf_status repl_primary_demote(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_primary set;
    struct dry_run dry;
    bool already;
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(demoted_already(rq, kind, &already, err));
    if (already) {
        return repl_already(rq, "was demoted");
    }
    CF_TRY(repl_want_primary(rq, kind, &set, err));
    bool leads = rq->view->role == ROLE_ALONE_OR_PRIMARY || rq->view->role == ROLE_FENCED;
    if (kind == SET_DR && leads && set_read_primary(rq, SET_PERFORMANCE, &set, NULL) == CF_OK) {
        return cf_fail(err, CF_INVALID, "demote the performance primary first: "
                                        "sys/replication/performance/primary/demote");
    }
    CF_TRY(repl_want_primary(rq, kind, &set, err));
    CF_TRY(dry_run_begin(&dry, rq, err));
    if (dry.wanted) {
        return dry_demote(&dry, kind, err);
    }
    struct set_link link = {.set_id = arena_copy(rq->arena, set.id), .state = CF_SLICE("detached"),
                            .started_ns = request_now_ns(rq)};
    set_write_link(rq, kind, &link);
    if (kind == SET_PERFORMANCE && set_read_primary(rq, SET_DR, &set, NULL) == CF_OK) {
        /* The first step of a planned failover: who takes the line over takes the set over. */
        CF_TRY(set_put_primary_aside(rq, kind, err));
    } else {
        set_delete_primary(rq, kind);
    }
    /* Where it once stood in an earlier primary's log: its own entries came after that. Following from
     * there would keep what only it has, and a promotion would branch off before its own epoch. */
    txn_delete(rq->txn, set_position_key(kind));
    txn_delete(rq->txn, set_fence_key());
    set_write_role(rq, kind == SET_DR ? ROLE_DR_SECONDARY : ROLE_PERFORMANCE_SECONDARY,
                   &rq->view->line);
    response_warn(rq, "This cluster is being demoted to a replication secondary. " REPL_BRIEFLY);
    cf_step("decided");
    return CF_OK;
}
