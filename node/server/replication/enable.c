/* node/server/replication/enable.c: becoming a secondary.
 *
 *   token (JWT: where, which secondary)  --redeem over the primary's API, sealed to a fresh key-->  package:
 *   CA, client certificate and key, cluster addresses  -->  link and role in one entry  -->  the receiver
 *
 * Until that entry nothing has changed here, and a failure leaves the cluster as it was; the token stays good
 * for this cluster, so the call may simply be made again. The data itself is replaced at the switch at the
 * end of the first copy, not before. */
#include "node/server/replication/enable.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/crypto/box.h"
#include "node/format/encode.h"
#include "node/server/node.h"
#include "node/server/outgoing.h"
#include "node/server/replication/routes.h"
#include "node/server/replication/set.h"
#include "node/server/replication/token_jwt.h"

#define TIMEOUT_MS 20000
#define PACKAGE_INFO CF_SLICE("coffer secondary package")

struct enabling {
    struct request *rq;
    struct node *node;
    enum set_kind kind;
    bool is_update; /* update-primary: the data stays and is compared */
    struct cf_slice token;
    struct token_claims claims;
    struct outgoing_target target;
    struct set_link link;
};

/* ---- the redemption, on a worker ---- */

static cf_status read_package(struct enabling *enabling, const struct json *package,
                              struct cf_error *err)
{
    struct arena *arena = enabling->rq->arena;
    struct set_link *link = &enabling->link;
    CF_BUF(key) = {.secret = true};
    link->set_id = json_get_string(package, "set_id");
    link->secondary_id = json_get_string(package, "id");
    link->ca = json_get_string(package, "ca");
    link->cert = json_get_string(package, "cert");
    CF_TRY(encode_base64_decode(&key, json_get_string(package, "key"), err));
    link->key = arena_copy(arena, cf_buf_slice(&key));
    const struct json *addresses = json_get(package, "addresses");
    link->addresses = arena_alloc(arena, (json_count(addresses) + 1) * sizeof(struct cf_slice));
    for (size_t i = 0; i < json_count(addresses); i++) {
        struct cf_slice one;
        if (json_string(json_item(addresses, i), &one)) {
            size_t scheme = cf_slice_starts(one, CF_SLICE("https://")) ? 8 : 0;
            link->addresses[link->address_count++] = cf_slice_from(one, scheme);
        }
    }
    if (link->set_id.size == 0 || link->ca.size == 0 || link->cert.size == 0 ||
        link->address_count == 0) {
        return cf_fail(err, CF_INVALID, "the primary's package is incomplete");
    }
    return CF_OK;
}

static cf_status redeem(struct enabling *enabling, struct cf_error *err)
{
    struct request *rq = enabling->rq;
    uint8_t public_key[32];
    char cluster_id[37];
    CF_OWNED(secret) private_key = NULL;
    CF_BUF(text) = {0};
    CF_BUF(sealed) = {0};
    CF_BUF(opened) = {.secret = true};
    struct json *answer, *package;
    int http;
    CF_TRY(box_key_new(public_key, &private_key, err));
    node_cluster_id(enabling->node, cluster_id);
    encode_base64(&text, cf_slice_of(public_key, sizeof(public_key)));
    struct json *body = json_object_new(rq->arena);
    json_set_string(rq->arena, body, "token", enabling->token);
    json_set_text(rq->arena, body, "cluster_id", cluster_id);
    json_set_string(rq->arena, body, "public_key", cf_buf_slice(&text));
    const char *path = arena_printf(rq->arena, "sys/replication/%s/primary/redeem",
                                    set_names[enabling->kind]);
    CF_TRY(outgoing_post(&enabling->target, path, NULL, body, TIMEOUT_MS, rq->arena, &http,
                         &answer, err));
    if (http != 200) {
        return cf_fail(err, CF_INVALID, "%s answered %d: %s", enabling->target.url, http,
                       outgoing_errors(rq->arena, answer));
    }
    CF_TRY(encode_base64_decode(&sealed, json_get_string(json_get(answer, "data"), "package"),
                                err));
    CF_TRY(box_open(secret_slice(private_key), cf_buf_slice(&sealed), PACKAGE_INFO, &opened, err));
    CF_TRY(json_parse(rq->arena, cf_buf_slice(&opened), NULL, &package, err));
    enabling->link.box_key = arena_copy(rq->arena, secret_slice(private_key));
    return read_package(enabling, package, err);
}

/* ---- the entry ---- */

/* Asked before the token is redeemed, too: a call on the wrong cluster must not use it up. */
static cf_status check_free(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    struct set_primary primary;
    struct set_link link;
    if (set_read_primary(rq, kind, &primary, NULL) == CF_OK) {
        return cf_fail(err, CF_INVALID, "cluster is a %s primary: demote or disable it first",
                       set_names[kind]);
    }
    if (set_read_link(rq, kind, &link, NULL) == CF_OK &&
        !cf_slice_is(link.state, "bootstrapping") && !cf_slice_is(link.state, "promoted")) {
        return cf_fail(err, CF_INVALID, "cluster is a %s secondary already: use update-primary",
                       set_names[kind]);
    }
    if (rq->view->role == ROLE_DR_SECONDARY || rq->view->role == ROLE_PERFORMANCE_SECONDARY) {
        return cf_fail(err, CF_INVALID, "cluster is a secondary already");
    }
    return CF_OK;
}

static cf_status write_link(struct request *rq, void *context, struct cf_error *err)
{
    struct enabling *enabling = context;
    struct set_link before;
    struct set_link link = enabling->link;
    enum set_kind kind = enabling->kind;
    bool has_link = set_read_link(rq, kind, &before, NULL) == CF_OK;
    link.started_ns = request_now_ns(rq);
    if (enabling->is_update) {
        if (!has_link) {
            return cf_fail(err, CF_INVALID,
                           kind == SET_DR ? "Not a DR secondary."
                                          : "cluster is not a performance secondary");
        }
        link.state = cf_slice_is(before.state, "bootstrapping") ? before.state
                                                                : CF_SLICE("secondary");
        set_write_link(rq, kind, &link);
        return CF_OK;
    }
    CF_TRY(check_free(rq, kind, err));
    link.state = CF_SLICE("bootstrapping");
    set_write_link(rq, kind, &link);
    set_write_role(rq, ROLE_BOOTSTRAPPING, &rq->view->line);
    return CF_OK;
}

static void written(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct enabling *enabling = context;
    struct request *rq = enabling->rq;
    rq->index = index;
    if (status != CF_OK) {
        rq->error = *err;
    } else if (enabling->is_update) {
        response_warn(rq, "Vault has successfully found secondary information; it may take a while "
                          "to perform setup tasks.");
    } else {
        response_warn(rq, "Vault has successfully found secondary information; it may take a while "
                          "to perform setup tasks. Vault will be unavailable until these tasks and "
                          "initial sync complete.");
    }
    core_host_done(rq, status);
}

static void on_worker(void *arg)
{
    struct enabling *enabling = arg;
    struct request *rq = enabling->rq;
    cf_status status = redeem(enabling, &rq->error);
    if (status != CF_OK) {
        cf_error_prefix(&rq->error, status, "error unwrapping secondary token");
        rq->error.status = CF_INVALID;
        core_host_done(rq, CF_INVALID);
        return;
    }
    struct system_work work = {write_link, written, enabling};
    system_submit(rq->core, &work);
}

/* ---- the calls ---- */

static const char *text_field(struct request *rq, const char *name, struct cf_error *err,
                              cf_status *status)
{
    struct cf_slice value;
    if (*status == CF_OK) {
        *status = request_string(rq, name, &value, err);
    }
    return *status == CF_OK && value.size != 0 ? arena_text(rq->arena, value) : NULL;
}

static cf_status begin(struct request *rq, enum set_kind kind, bool is_update, struct cf_error *err)
{
    struct enabling *enabling = arena_new_object(rq->arena, struct enabling);
    enabling->rq = rq;
    enabling->node = core_host_context(rq->core);
    enabling->kind = kind;
    enabling->is_update = is_update;
    CF_TRY(request_string(rq, "token", &enabling->token, err));
    if (enabling->token.size == 0) {
        return cf_fail(err, CF_INVALID, "missing token: make one on the primary with "
                                        "sys/replication/%s/primary/secondary-token",
                       set_names[kind]);
    }
    CF_TRY(token_jwt_read(rq->arena, enabling->token, &enabling->claims, err));
    if (enabling->claims.kind != kind) {
        return cf_fail(err, CF_INVALID, "this is a token for %s replication",
                       set_names[enabling->claims.kind]);
    }
    if (!is_update) {
        CF_TRY(check_free(rq, kind, err));
    }
    cf_status status = CF_OK;
    enabling->target.url = text_field(rq, "primary_api_addr", err, &status);
    enabling->target.ca_file = text_field(rq, "ca_file", err, &status);
    enabling->target.ca_path = text_field(rq, "ca_path", err, &status);
    CF_TRY(status);
    if (enabling->target.url == NULL) {
        enabling->target.url = arena_text(rq->arena, enabling->claims.addr);
    }
    core_work(rq->core, on_worker, enabling);
    return CF_OK;
}

cf_status enable_secondary(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    CF_TRY(repl_kind(rq, &kind, err));
    return begin(rq, kind, false, err);
}

/* An explicit empty token: forget the primary, stay a secondary. Addresses alone: the same primary. */
static cf_status detach(struct request *rq, void *context, struct cf_error *err)
{
    struct enabling *enabling = context;
    struct set_link link;
    cf_status status = set_read_link(rq, enabling->kind, &link, err);
    if (status != CF_OK) {
        return status == CF_NOT_FOUND ? cf_fail(err, CF_INVALID, "cluster is not a secondary")
                                      : status;
    }
    link.address_count = 0;
    link.state = CF_SLICE("detached");
    set_write_link(rq, enabling->kind, &link);
    return CF_OK;
}

static cf_status move(struct request *rq, void *context, struct cf_error *err)
{
    struct enabling *enabling = context;
    rq->body = enabling->rq->body;
    rq->relative = enabling->rq->relative;
    rq->route = enabling->rq->route;
    rq->caller = enabling->rq->caller;
    rq->route = enabling->rq->route; /* what it was authorised by */
    return repl_set_primary_addresses(rq, enabling->kind, err);
}

cf_status enable_update_primary(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(repl_authorise_secondary(rq, kind, err));
    const struct json *token = request_field(rq, "token");
    const struct json *addresses = request_field(rq, "update_primary_addrs");
    struct cf_slice text;
    if (addresses != NULL && token != NULL) {
        return cf_fail(err, CF_INVALID, "give either token or update_primary_addrs");
    }
    bool empty = json_string(token, &text) && text.size == 0;
    if (addresses == NULL && !empty) {
        return begin(rq, kind, true, err);
    }
    struct enabling *enabling = arena_new_object(rq->arena, struct enabling);
    enabling->rq = rq;
    enabling->kind = kind;
    enabling->is_update = true;
    struct system_work work = {addresses != NULL ? move : detach, written, enabling};
    system_submit(rq->core, &work);
    return CF_OK;
}
