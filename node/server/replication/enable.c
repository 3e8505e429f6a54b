/* node/server/replication/enable.c: becoming a secondary.
 *
 *   token (JWT: where, which secondary)  --redeem over the primary's API, sealed to a fresh key-->  package:
 *   CA, client certificate and key, cluster addresses  -->  link and role in one entry  -->  the receiver
 *
 * Until that entry nothing has changed here, and a failure leaves the cluster as it was; the token stays good
 * for this cluster, so the call may simply be made again. The data itself is replaced at the switch at the
 * end of the first copy, not before. A token that was sealed to this cluster's public key is the package
 * itself. The same token again, once it has worked, changes nothing. */
#include "node/server/replication/enable.h"

#include "node/base/host.h"
#include "node/base/level.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/base/step.h"
#include "node/core/system.h"
#include "node/crypto/box.h"
#include "node/crypto/hash.h"
#include "node/format/encode.h"
#include "node/server/node.h"
#include "node/server/outgoing.h"
#include "node/server/replication/dry_run.h"
#include "node/server/replication/package.h"
#include "node/server/replication/routes.h"
#include "node/server/replication/set.h"
#include "node/server/replication/token_jwt.h"

#define TIMEOUT_MS 20000
#define DIAL_MS 8000 /* a dry run's, over all addresses */

struct enabling {
    struct request *rq;
    struct node *node;
    enum set_kind kind;
    bool is_update; /* update-primary: the data stays and is compared */
    bool is_sealed; /* the token is the package */
    struct cf_slice token;
    struct cf_slice token_id; /* its digest: what a link remembers of it */
    struct token_claims claims;
    struct outgoing_target target;
    struct dry_run dry;
    struct set_link link;
};

/* ---- the redemption, on a worker ---- */

static cf_status ask_primary(struct enabling *enabling, struct cf_slice public_key,
                             struct json **ret, struct cf_error *err)
{
    struct request *rq = enabling->rq;
    char cluster_id[37];
    CF_BUF(text) = {0};
    struct json *answer;
    int http;
    node_cluster_id(enabling->node, cluster_id);
    encode_base64(&text, public_key);
    struct json *body = json_object_new(rq->arena);
    json_set_string(rq->arena, body, "token", enabling->token);
    json_set_text(rq->arena, body, "cluster_id", cluster_id);
    json_set_string(rq->arena, body, "public_key", cf_buf_slice(&text));
    if (enabling->dry.wanted) {
        json_set_bool(rq->arena, body, "dry_run", true);
    }
    const char *path = arena_printf(rq->arena, "sys/replication/%s/primary/redeem",
                                    set_names[enabling->kind]);
    CF_TRY(outgoing_post(&enabling->target, path, NULL, body, TIMEOUT_MS, rq->arena, &http,
                         &answer, err));
    if (http != 200) {
        return cf_fail(err, CF_INVALID, "%s answered %d: %s", enabling->target.url, http,
                       outgoing_errors(rq->arena, answer));
    }
    *ret = json_get(answer, "data");
    return CF_OK;
}

static cf_status redeem(struct enabling *enabling, struct cf_error *err)
{
    struct request *rq = enabling->rq;
    uint8_t public_key[BOX_PUBLIC_SIZE];
    CF_OWNED(secret) private_key = NULL;
    CF_BUF(sealed) = {0};
    struct json *data;
    struct package package;
    CF_TRY(box_key_new(public_key, &private_key, err));
    CF_TRY(ask_primary(enabling, cf_slice_of(public_key, sizeof(public_key)), &data, err));
    CF_TRY(encode_base64_decode(&sealed, json_get_string(data, "package"), err));
    CF_TRY(package_open(rq->arena, secret_slice(private_key), cf_buf_slice(&sealed), &package, err));
    enabling->link = package.link;
    enabling->link.token_id = enabling->token_id;
    enabling->link.box_key = arena_copy(rq->arena, secret_slice(private_key));
    return CF_OK;
}

/* ---- a token that was sealed to our public key ---- */

static cf_status open_sealed(struct enabling *enabling, struct cf_error *err)
{
    struct request *rq = enabling->rq;
    struct cf_slice text = cf_slice_from(enabling->token, sizeof(PACKAGE_TOKEN_PREFIX) - 1);
    struct cf_slice private_key;
    struct package package;
    CF_BUF(sealed) = {0};
    cf_status status = txn_get(rq->txn, set_enroll_key(enabling->kind), &private_key, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "error opening secondary token: this cluster has no key for it; "
                                        "make one with sys/replication/%s/secondary/generate-public-key "
                                        "and a token for that",
                       set_names[enabling->kind]);
    }
    CF_TRY(status);
    status = encode_base64url_decode(&sealed, text, err);
    if (status == CF_OK) {
        status = package_open(rq->arena, private_key, cf_buf_slice(&sealed), &package, err);
    }
    if (status != CF_OK) {
        return cf_error_prefix(err, CF_INVALID, "error opening secondary token");
    }
    if (request_now_ns(rq) >= package.expires_ns) {
        return cf_fail(err, CF_INVALID, "error opening secondary token: its time is up; revoke \"%.*s\" on "
                                        "the primary and make a new one",
                       CF_SHOW(package.link.secondary_id));
    }
    enabling->link = package.link;
    enabling->link.token_id = enabling->token_id;
    enabling->link.box_key = arena_copy(rq->arena, private_key);
    enabling->claims = (struct token_claims){.id = package.link.secondary_id,
                                             .kind = package.kind,
                                             .expires_s = package.expires_ns / 1000000000};
    return CF_OK;
}

/* ---- the entry ---- */

/* The call was made before, with this token, and has worked. */
static bool is_here(struct request *rq, enum set_kind kind, struct cf_slice token_id)
{
    struct set_link link;
    return set_read_link(rq, kind, &link, NULL) == CF_OK && link.token_id.size != 0 &&
           cf_slice_eq(link.token_id, token_id) && !cf_slice_is(link.state, "promoted") &&
           !cf_slice_is(link.state, "detached");
}

/* Asked before the token is redeemed, too: a call on the wrong cluster must not use it up. */
static cf_status check_free(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    struct set_primary primary;
    enum set_kind other = kind == SET_DR ? SET_PERFORMANCE : SET_DR;
    if (rq->view->role == ROLE_DR_SECONDARY) {
        return cf_fail(err, CF_INVALID, "path disabled in replication DR secondary mode");
    }
    if (set_read_primary(rq, kind, &primary, NULL) == CF_OK) {
        return cf_fail(err, CF_INVALID, "cluster is a %s primary: demote or disable it first",
                       set_names[kind]);
    }
    if (repl_is_secondary(rq, kind)) {
        return cf_fail(err, CF_INVALID, "cluster is a %s secondary already: use update-primary",
                       set_names[kind]);
    }
    if (repl_is_secondary(rq, other)) {
        return cf_fail(err, CF_INVALID, "cluster is a %s secondary: disable that first",
                       set_names[other]);
    }
    if (kind == SET_DR && set_read_primary(rq, other, &primary, NULL) == CF_OK) {
        return cf_fail(err, CF_INVALID, "cluster is a performance primary, whose data a DR secondary would "
                                        "lose: disable that first");
    }
    return CF_OK;
}

static cf_status write_link(struct request *rq, void *context, struct cf_error *err)
{
    struct enabling *enabling = context;
    struct set_link before;
    struct set_link link = enabling->link;
    enum set_kind kind = enabling->kind;
    repl_act_for(rq, enabling->rq);
    link.started_ns = request_now_ns(rq);
    if (is_here(rq, kind, link.token_id)) {
        return CF_OK;
    }
    if (enabling->is_update) {
        CF_TRY(repl_want_link(rq, kind, &before, err));
        CF_TRY(repl_authorise_secondary(rq, kind, err));
        link.state = cf_slice_is(before.state, "bootstrapping") ? before.state
                                                                : CF_SLICE("secondary");
        set_write_link(rq, kind, &link);
        if (kind == SET_PERFORMANCE) {
            set_drop_aside(rq, kind); /* demoted for good: somebody else is the primary */
        }
        cf_step("decided");
        return CF_OK;
    }
    CF_TRY(check_free(rq, kind, err));
    link.state = CF_SLICE("bootstrapping");
    set_write_link(rq, kind, &link);
    set_write_role(rq, ROLE_BOOTSTRAPPING, &rq->view->line);
    cf_step("decided");
    return CF_OK;
}

static void written(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct enabling *enabling = context;
    struct request *rq = enabling->rq;
    cf_step("written");
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

/* ---- dry run ---- */

static void tell_effects(struct enabling *enabling)
{
    struct dry_run *dry = &enabling->dry;
    if (enabling->is_update) {
        dry_run_effect(dry, "this cluster follows that primary; its data stays and is compared, only what "
                            "differs moves");
        return;
    }
    dry_run_effect(dry, "the data of this cluster is replaced by the primary's once the copy is complete; "
                        "until then it stays, and `secondary/disable` gives it back");
    dry_run_effect(dry, "all tokens of this cluster are void then; its seal and its key shares stay");
    if (enabling->kind == SET_DR) {
        dry_run_effect(dry, "this cluster answers no client until it is promoted; for that it needs a DR "
                            "operation token");
    }
}

static void tell_token(struct enabling *enabling)
{
    struct request *rq = enabling->rq;
    int64_t left_s = enabling->claims.expires_s - request_now_ns(rq) / 1000000000;
    dry_run_check(&enabling->dry, "token", left_s > 0, left_s > 0 ? "secondary id \"%.*s\", good for %lld s"
                                                                  : "secondary id \"%.*s\", its time is "
                                                                    "up for %lld s",
                  CF_SHOW(enabling->claims.id), (long long)(left_s > 0 ? left_s : -left_s));
}

/* What the primary says of itself and of the token, which it does not take as redeemed by this. */
static void tell_primary(struct enabling *enabling)
{
    struct request *rq = enabling->rq;
    struct dry_run *dry = &enabling->dry;
    struct cf_error err = {0};
    uint8_t none[BOX_PUBLIC_SIZE] = {0};
    struct json *data;
    int64_t before = cf_wall_ns(cf_host_clock());
    cf_status status = ask_primary(enabling, cf_slice_of(none, sizeof(none)), &data, &err);
    int64_t after = cf_wall_ns(cf_host_clock());
    dry_run_check(dry, "primary API", status == CF_OK, "%s%s%s", enabling->target.url,
                  status == CF_OK ? " knows the token, and it is free or bound to this cluster" : ": ",
                  status == CF_OK ? "" : err.message);
    if (status != CF_OK) {
        return;
    }
    int64_t theirs_ms = 0, level = 0, bytes = 0;
    cf_ignore(!json_int64(json_get(data, "server_time_ms"), &theirs_ms), "a primary of before says none");
    cf_ignore(!json_int64(json_get(data, "feature_level"), &level), "a primary of before says none");
    cf_ignore(!json_int64(json_get(data, "bytes"), &bytes), "a primary of before says none");
    if (theirs_ms != 0) {
        dry_run_clock(dry, theirs_ms - (before + (after - before) / 2) / 1000000);
    }
    int64_t ours = cf_feature_level();
    bool near = level >= ours - 1 && level <= ours + 1;
    dry_run_check(dry, "version", near, "the primary runs %.*s (feature level %lld), this node %s (%lld)%s",
                  CF_SHOW(json_get_string(data, "version")), (long long)level, COFFER_VERSION,
                  (long long)ours, near ? "" : ": upgrade the older side first");
    dry_run_space(dry, bytes > 0 ? (uint64_t)bytes : 0);
    const struct json *addresses = json_get(data, "addresses");
    struct set_link *link = &enabling->link;
    link->addresses = arena_alloc(rq->arena, (json_count(addresses) + 1) * sizeof(struct cf_slice));
    for (size_t i = 0; i < json_count(addresses); i++) {
        link->address_count += json_string(json_item(addresses, i),
                                           &link->addresses[link->address_count]);
    }
}

static void dry_on_worker(void *arg)
{
    struct enabling *enabling = arg;
    tell_effects(enabling);
    tell_token(enabling);
    if (!enabling->is_sealed) {
        tell_primary(enabling);
    }
    if (enabling->link.address_count != 0) {
        dry_run_dial(&enabling->dry, enabling->link.addresses, enabling->link.address_count, DIAL_MS);
    }
    core_host_done(enabling->rq, dry_run_end(&enabling->dry));
}

static void on_worker(void *arg)
{
    struct enabling *enabling = arg;
    struct request *rq = enabling->rq;
    cf_status status = redeem(enabling, &rq->error);
    cf_step("redeemed");
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

static cf_status read_target(struct enabling *enabling, struct cf_error *err)
{
    struct request *rq = enabling->rq;
    struct outgoing_target *target = &enabling->target;
    cf_status status = CF_OK;
    target->url = text_field(rq, "primary_api_addr", err, &status);
    target->ca_file = text_field(rq, "ca_file", err, &status);
    target->ca_path = text_field(rq, "ca_path", err, &status);
    target->cert_pem = text_field(rq, "client_cert_pem", err, &status);
    target->key_pem = text_field(rq, "client_key_pem", err, &status);
    CF_TRY(status);
    if ((target->cert_pem == NULL) != (target->key_pem == NULL)) {
        return cf_fail(err, CF_INVALID, "client_cert_pem and client_key_pem go together");
    }
    if (target->url == NULL) {
        target->url = arena_text(rq->arena, enabling->claims.addr);
    }
    return CF_OK;
}

static cf_status identify_token(struct enabling *enabling, struct cf_error *err)
{
    uint8_t digest[32];
    CF_BUF(text) = {0};
    CF_TRY(request_string(enabling->rq, "token", &enabling->token, err));
    hash_sha256(enabling->token, digest);
    encode_hex(&text, cf_slice_of(digest, sizeof(digest)));
    enabling->token_id = arena_copy(enabling->rq->arena, cf_buf_slice(&text));
    return CF_OK;
}

static cf_status read_token(struct enabling *enabling, struct cf_error *err)
{
    struct request *rq = enabling->rq;
    enum set_kind kind = enabling->kind;
    if (enabling->token.size == 0) {
        return cf_fail(err, CF_INVALID, "missing token: make one on the primary with "
                                        "sys/replication/%s/primary/secondary-token",
                       set_names[kind]);
    }
    enabling->is_sealed = cf_slice_starts(enabling->token, CF_SLICE(PACKAGE_TOKEN_PREFIX));
    if (enabling->is_sealed) {
        CF_TRY(open_sealed(enabling, err));
    } else {
        CF_TRY(token_jwt_read(rq->arena, enabling->token, &enabling->claims, err));
    }
    return enabling->claims.kind == kind
               ? CF_OK
               : cf_fail(err, CF_INVALID, "this is a token for %s replication",
                         set_names[enabling->claims.kind]);
}

static cf_status begin(struct request *rq, enum set_kind kind, bool is_update, struct cf_error *err)
{
    struct enabling *enabling = arena_new_object(rq->arena, struct enabling);
    enabling->rq = rq;
    enabling->node = core_host_context(rq->core);
    enabling->kind = kind;
    enabling->is_update = is_update;
    CF_TRY(dry_run_begin(&enabling->dry, rq, err));
    CF_TRY(identify_token(enabling, err));
    if (is_here(rq, kind, enabling->token_id)) {
        CF_TRY(repl_already(rq, "follows the primary of this token"));
        core_host_done(rq, CF_OK);
        return CF_OK;
    }
    if (!is_update) {
        CF_TRY(check_free(rq, kind, err));
    }
    CF_TRY(read_token(enabling, err));
    CF_TRY(read_target(enabling, err));
    if (enabling->dry.wanted) {
        core_work(rq->core, dry_on_worker, enabling);
    } else if (enabling->is_sealed) {
        struct system_work work = {write_link, written, enabling};
        system_submit(rq->core, &work);
    } else {
        core_work(rq->core, on_worker, enabling);
    }
    return CF_OK;
}

cf_status enable_secondary(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    CF_TRY(repl_kind(rq, &kind, err));
    return begin(rq, kind, false, err);
}

/* ---- update-primary ---- */

static cf_status detach(struct request *rq, void *context, struct cf_error *err)
{
    struct enabling *enabling = context;
    repl_act_for(rq, enabling->rq);
    return repl_detach(rq, enabling->kind, err);
}

static cf_status move(struct request *rq, void *context, struct cf_error *err)
{
    struct enabling *enabling = context;
    repl_act_for(rq, enabling->rq);
    return repl_set_primary_addresses(rq, enabling->kind, err);
}

static void dry_move(void *arg)
{
    struct enabling *enabling = arg;
    dry_run_effect(&enabling->dry, "the same primary is looked for at these addresses, in their order; "
                                   "credentials and data stay");
    dry_run_dial(&enabling->dry, enabling->link.addresses, enabling->link.address_count, DIAL_MS);
    core_host_done(enabling->rq, dry_run_end(&enabling->dry));
}

static cf_status dry_detach(struct enabling *enabling)
{
    dry_run_effect(&enabling->dry, "this cluster forgets its primary, stays a secondary and connects "
                                   "nowhere; what it has stays and grows old");
    core_host_done(enabling->rq, dry_run_end(&enabling->dry));
    return CF_OK;
}

/* An explicit empty token: forget the primary, stay a secondary. Addresses alone: the same primary. */
static cf_status without_token(struct request *rq, enum set_kind kind, bool has_addresses,
                               struct cf_error *err)
{
    struct enabling *enabling = arena_new_object(rq->arena, struct enabling);
    enabling->rq = rq;
    enabling->kind = kind;
    enabling->is_update = true;
    CF_TRY(dry_run_begin(&enabling->dry, rq, err));
    if (has_addresses) {
        CF_TRY(repl_read_addresses(rq, &enabling->link.addresses, &enabling->link.address_count, err));
    }
    if (enabling->dry.wanted && has_addresses) {
        core_work(rq->core, dry_move, enabling);
        return CF_OK;
    }
    if (enabling->dry.wanted) {
        return dry_detach(enabling);
    }
    struct system_work work = {has_addresses ? move : detach, written, enabling};
    system_submit(rq->core, &work);
    return CF_OK;
}

cf_status enable_update_primary(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_link link;
    struct cf_slice text;
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(repl_want_link(rq, kind, &link, err));
    CF_TRY(repl_authorise_secondary(rq, kind, err));
    const struct json *token = request_field(rq, "token");
    const struct json *addresses = request_field(rq, "update_primary_addrs");
    if (addresses != NULL && token != NULL) {
        return cf_fail(err, CF_INVALID, "give either token or update_primary_addrs");
    }
    bool empty = json_string(token, &text) && text.size == 0;
    return addresses != NULL || empty ? without_token(rq, kind, addresses != NULL, err)
                                      : begin(rq, kind, true, err);
}
