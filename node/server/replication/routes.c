/* node/server/replication/routes.c: handlers of sys/replication/ that only read and write the store.
 *
 * Pure like every handler: the effect of a call is its write set; the links follow when it is applied. */
#include "node/server/replication/routes.h"

#include <ctype.h>

#include "node/barrier/keyring.h"
#include "node/base/memory.h"
#include "node/cluster/identity.h"
#include "node/core/core.h"
#include "node/core/token.h"
#include "node/crypto/box.h"
#include "node/crypto/sign.h"
#include "node/crypto/x509.h"
#include "node/format/encode.h"
#include "node/server/dr_token.h"
#include "node/server/node.h"
#include "node/server/replication/lineage.h"
#include "node/server/replication/token_jwt.h"

#define CA_LIFE_S ((int64_t)30 * 365 * 86400)
#define SECONDARY_LIFE_S ((int64_t)365 * 86400)
#define TOKEN_TTL_S 1800
#define ID_MAX ((size_t)64)
#define CLUSTER_ID_MAX ((size_t)128)
#define PACKAGE_INFO CF_SLICE("coffer secondary package")

#define BRIEFLY "Vault will be unavailable for a brief period and will resume service shortly."

cf_status repl_kind(struct request *rq, enum set_kind *ret, struct cf_error *err)
{
    struct cf_slice rest = cf_slice_from(rq->relative, sizeof("replication/") - 1);
    return set_kind_of(cf_slice_first(rest, cf_slice_find(rest, '/')), ret)
               ? CF_OK
               : cf_fail(err, CF_NOT_FOUND, "1 error occurred:\n\t* unsupported path\n\n");
}

static cf_status want_primary(struct request *rq, enum set_kind kind, struct set_primary *ret,
                              struct cf_error *err)
{
    cf_status status = set_read_primary(rq, kind, ret, err);
    return status == CF_NOT_FOUND
               ? cf_fail(err, CF_INVALID, "cluster is not a %s primary", set_names[kind])
               : status;
}

static cf_status want_link(struct request *rq, enum set_kind kind, struct set_link *ret,
                           struct cf_error *err)
{
    cf_status status = set_read_link(rq, kind, ret, err);
    if (status != CF_NOT_FOUND) {
        return status;
    }
    return kind == SET_DR ? cf_fail(err, CF_INVALID, "Not a DR secondary.")
                          : cf_fail(err, CF_INVALID, "cluster is not a performance secondary");
}

static struct x509_validity life(struct request *rq, int64_t seconds)
{
    int64_t now = request_now_ns(rq) / 1000000000;
    return (struct x509_validity){now - 3600, now + seconds};
}

/* ---- primary/enable, disable, demote ---- */

static cf_status make_set(struct request *rq, enum set_kind kind, struct cf_slice address,
                          struct cf_error *err)
{
    CF_OWNED(secret) key = NULL;
    CF_BUF(cert) = {0};
    char id[ENCODE_UUID_TEXT + 1];
    encode_uuid_text(encode_uuid_new(rq->random), id);
    CF_TRY(x509_key_new(&key, err));
    CF_TRY(x509_ca_new(cf_slice_str(arena_printf(rq->arena, "coffer %s %.8s", set_names[kind], id)),
                       key, life(rq, CA_LIFE_S), &cert, err));
    struct set_primary set = {.id = cf_slice_str(id),
                              .ca = cf_buf_slice(&cert),
                              .ca_key = secret_slice(key),
                              .primary_cluster_addr = address};
    set_write_primary(rq, kind, &set);
    return CF_OK;
}

/* The line's key proves a later promotion; DR secondaries hold it, because it is of class cluster. */
static cf_status ensure_line_key(struct request *rq, struct cf_error *err)
{
    struct cf_slice ignored;
    CF_OWNED(sign_key) key = NULL;
    CF_OWNED(secret) der = NULL;
    cf_status status = txn_get(rq->txn, set_line_key(), &ignored, err);
    if (status != CF_NOT_FOUND) {
        return status;
    }
    CF_TRY(sign_generate(SIGN_ED25519, &key, err));
    CF_TRY(sign_private_der(key, &der, err));
    CF_BUF(public_der) = {0};
    CF_TRY(sign_public_der(key, &public_der, err));
    txn_put(rq->txn, set_line_key(), secret_slice(der));
    txn_put(rq->txn, set_line_public_key(), cf_buf_slice(&public_der));
    return CF_OK;
}

cf_status repl_primary_enable(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_primary set;
    struct set_link link;
    struct cf_slice address;
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(request_string(rq, "primary_cluster_addr", &address, err));
    cf_status status = set_read_primary(rq, kind, &set, err);
    if (status == CF_OK) {
        return cf_fail(err, CF_INVALID, "cluster is a %s primary already", set_names[kind]);
    }
    if (status != CF_NOT_FOUND) {
        return status;
    }
    if (set_read_link(rq, kind, &link, NULL) == CF_OK) {
        return cf_fail(err, CF_INVALID,
                       "cluster is a %s secondary: promote it, or disable it first",
                       set_names[kind]);
    }
    CF_TRY(make_set(rq, kind, address, err));
    CF_TRY(lineage_ensure(rq, err));
    if (rq->view->role == ROLE_ALONE_OR_PRIMARY) { /* elsewhere the line's key is the primary's to make */
        CF_TRY(ensure_line_key(rq, err));
    }
    response_warn(rq, "This cluster is being enabled as a primary for replication. " BRIEFLY);
    return CF_OK;
}

cf_status repl_primary_disable(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_primary set;
    struct set_link link;
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(want_primary(rq, kind, &set, err));
    set_delete_primary(rq, kind);
    if (set_read_link(rq, kind, &link, NULL) == CF_OK) {
        /* What a promotion has left: with it the cluster would count as a secondary from now on. */
        set_delete_link(rq, kind);
        txn_delete(rq->txn, set_position_key(kind));
    }
    response_warn(rq, "This cluster is having replication disabled. " BRIEFLY);
    return CF_OK;
}

cf_status repl_primary_demote(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_primary set;
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(want_primary(rq, kind, &set, err));
    if (kind == SET_DR && rq->view->role == ROLE_ALONE_OR_PRIMARY &&
        set_read_primary(rq, SET_PERFORMANCE, &set, NULL) == CF_OK) {
        return cf_fail(err, CF_INVALID, "demote the performance primary first: "
                                        "sys/replication/performance/primary/demote");
    }
    CF_TRY(want_primary(rq, kind, &set, err));
    struct set_link link = {.set_id = set.id, .state = CF_SLICE("detached"),
                            .started_ns = request_now_ns(rq)};
    set_write_link(rq, kind, &link);
    set_delete_primary(rq, kind);
    /* Where it once stood in an earlier primary's log: its own entries came after that. Following from
     * there would keep what only it has, and a promotion would branch off before its own epoch. */
    txn_delete(rq->txn, set_position_key(kind));
    set_write_role(rq, kind == SET_DR ? ROLE_DR_SECONDARY : ROLE_PERFORMANCE_SECONDARY,
                   &rq->view->line);
    response_warn(rq, "This cluster is being demoted to a replication secondary. " BRIEFLY);
    return CF_OK;
}

/* ---- the secondary token ---- */

static bool is_id(struct cf_slice id)
{
    bool good = id.size != 0 && id.size <= ID_MAX && id.data[0] != '.' && id.data[0] != '-';
    for (size_t i = 0; i < id.size && good; i++) {
        good = isalnum(id.data[i]) || memchr("-._", id.data[i], 3) != NULL;
    }
    return good;
}

static cf_status issue_client(struct request *rq, const struct set_primary *set,
                              struct set_secondary *secondary, struct cf_error *err)
{
    struct identity identity;
    char uri[IDENTITY_URI_SIZE];
    CF_OWNED(secret) key = NULL;
    CF_OWNED(secret) ca_key = secret_copy(set->ca_key);
    CF_BUF(public_key) = {0};
    CF_BUF(cert) = {0};
    CF_TRY(identity_make(set->id, cf_slice_str(IDENTITY_SECONDARY), secondary->id, &identity, err));
    identity_uri(&identity, uri);
    CF_TRY(x509_key_new(&key, err));
    CF_TRY(x509_key_public(key, &public_key, err));
    struct x509_names names = {.common_name = secondary->id, .uri = cf_slice_str(uri)};
    struct x509_issuer issuer = {set->ca, ca_key};
    CF_TRY(x509_issue(&issuer, cf_buf_slice(&public_key), &names, life(rq, SECONDARY_LIFE_S), &cert,
                      err));
    secondary->cert = arena_copy(rq->arena, cf_buf_slice(&cert));
    secondary->key = arena_copy(rq->arena, secret_slice(key));
    return CF_OK;
}

static struct cf_slice random_name(struct request *rq, size_t size)
{
    CF_BUF(text) = {0};
    encode_base62_random(&text, rq->random, size);
    return arena_copy(rq->arena, cf_buf_slice(&text));
}

cf_status repl_secondary_token(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_primary set;
    struct set_secondary secondary = {0};
    int64_t ttl;
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(want_primary(rq, kind, &set, err));
    CF_TRY(request_string(rq, "id", &secondary.id, err));
    CF_TRY(request_duration(rq, "ttl", TOKEN_TTL_S, &ttl, NULL, err));
    if (request_field(rq, "secondary_public_key") != NULL) {
        return cf_fail(err, CF_INVALID, "this build seals no tokens to a public key: leave "
                                        "secondary_public_key out");
    }
    if (!is_id(secondary.id)) {
        return cf_fail(err, CF_INVALID,
                       secondary.id.size == 0 ? "missing secondary id"
                                              : "secondary id may hold letters, digits, \"-\", "
                                                "\"_\" and \".\" only, 64 at most");
    }
    if (ttl > SECONDARY_LIFE_S) {
        return cf_fail(err, CF_INVALID, "ttl may be a year at most: so long the secondary's "
                                        "certificate is good");
    }
    struct set_secondary before;
    cf_status status = set_read_secondary(rq, kind, secondary.id, &before, err);
    if (status == CF_OK && !cf_slice_is(before.state, "revoked")) {
        return cf_fail(err, CF_INVALID, "secondary id \"%.*s\" already exists: revoke it first",
                       CF_SHOW(secondary.id));
    }
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    struct node *node = core_host_context(rq->core);
    int64_t now = request_now_ns(rq);
    ttl = ttl > 0 ? ttl : TOKEN_TTL_S;
    CF_TRY(issue_client(rq, &set, &secondary, err));
    secondary.state = CF_SLICE("pending");
    secondary.jti = random_name(rq, 26);
    secondary.created_ns = now;
    secondary.expires_ns = now + ttl * 1000000000;
    set_write_secondary(rq, kind, &secondary);
    struct token_claims claims = {.accessor = CF_SLICE_EMPTY,
                                  .addr = cf_slice_str(node->config->api_addr),
                                  .jti = secondary.jti,
                                  .id = secondary.id,
                                  .kind = kind,
                                  .issued_s = now / 1000000000,
                                  .expires_s = now / 1000000000 + ttl};
    struct wrap_info *wrap = arena_new_object(rq->arena, struct wrap_info);
    CF_TRY(token_jwt_make(rq, &claims, &wrap->token, err));
    wrap->accessor = random_name(rq, 24);
    wrap->creation_path = rq->path;
    wrap->creation_ns = now;
    wrap->ttl_s = ttl;
    rq->response.wrap = wrap;
    return CF_OK;
}

cf_status repl_revoke_secondary(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_primary set;
    struct set_secondary secondary;
    struct cf_slice id;
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(want_primary(rq, kind, &set, err));
    CF_TRY(request_string(rq, "id", &id, err));
    cf_status status =
        is_id(id) ? set_read_secondary(rq, kind, id, &secondary, err) : CF_NOT_FOUND;
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "no secondary \"%.*s\" is registered: see "
                                        "known_secondaries in the status",
                       CF_SHOW(id));
    }
    CF_TRY(status);
    secondary.state = CF_SLICE("revoked");
    secondary.key = CF_SLICE_EMPTY;
    set_write_secondary(rq, kind, &secondary);
    response_warn(rq, "The secondary keeps the data it has. Rotate the keys (sys/rotate) if it may "
                      "be in the wrong hands.");
    return CF_OK;
}

/* ---- redeeming ---- */

static void add_addresses(struct request *rq, const struct set_primary *set, struct json *package)
{
    struct node *node = core_host_context(rq->core);
    struct json *addresses = json_array_new(rq->arena);
    if (set->primary_cluster_addr.size != 0) {
        json_array_add(rq->arena, addresses,
                       json_from_borrowed(rq->arena, set->primary_cluster_addr));
    } else {
        struct raft_driver_status *status =
            arena_new_object(rq->arena, struct raft_driver_status);
        raft_driver_status(atomic_load(&node->driver_shared), status);
        for (size_t i = 0; i < status->peer_count; i++) {
            json_array_add(rq->arena, addresses,
                           json_from_text(rq->arena, status->peers[i].address));
        }
    }
    json_set(rq->arena, package, "addresses", addresses);
}

static cf_status seal_package(struct request *rq, enum set_kind kind, const struct set_primary *set,
                              const struct set_secondary *secondary, struct cf_slice public_key,
                              struct cf_error *err)
{
    struct json *package = json_object_new(rq->arena);
    struct cf_buf text, sealed = {0};
    CF_BUF(key) = {.secret = true};
    encode_base64(&key, secondary->key);
    json_set_text(rq->arena, package, "kind", set_names[kind]);
    json_set_string(rq->arena, package, "set_id", set->id);
    json_set_string(rq->arena, package, "id", secondary->id);
    json_set_string(rq->arena, package, "ca", set->ca);
    json_set_string(rq->arena, package, "cert", secondary->cert);
    json_set_string(rq->arena, package, "key", cf_buf_slice(&key));
    add_addresses(rq, set, package);
    cf_buf_init_secret(&text, 0);
    json_write(&text, package);
    cf_status status = box_seal(public_key, cf_buf_slice(&text), PACKAGE_INFO, &sealed, err);
    cf_buf_done(&text);
    if (status == CF_OK) {
        CF_BUF(base64) = {0};
        encode_base64(&base64, cf_buf_slice(&sealed));
        json_set_string(rq->arena, response_data(rq), "package", cf_buf_slice(&base64));
    }
    cf_buf_done(&sealed);
    return status;
}

/* Bound to the first cluster that comes; that one may come again until its copy is verified or the time
 * is up (design 5.1). */
cf_status repl_redeem(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_primary set;
    struct set_secondary secondary;
    struct token_claims claims;
    struct cf_slice token, cluster_id, key_text;
    CF_BUF(public_key) = {0};
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(want_primary(rq, kind, &set, err));
    CF_TRY(request_string(rq, "token", &token, err));
    CF_TRY(request_string(rq, "cluster_id", &cluster_id, err));
    CF_TRY(request_string(rq, "public_key", &key_text, err));
    CF_TRY(encode_base64_decode(&public_key, key_text, err));
    CF_TRY(token_jwt_check(rq, token, &claims, err));
    if (cluster_id.size == 0 || cluster_id.size > CLUSTER_ID_MAX) {
        /* Without a name there is nothing to bind the token to: it would be good for the next one, too. */
        return cf_fail(err, CF_INVALID, "missing cluster_id: who is it that redeems the token?");
    }
    if (claims.kind != kind) {
        return cf_fail(err, CF_INVALID, "this is a token for %s replication",
                       set_names[claims.kind]);
    }
    cf_status status = set_read_secondary(rq, kind, claims.id, &secondary, err);
    if (status == CF_NOT_FOUND || (status == CF_OK && !cf_slice_eq(secondary.jti, claims.jti))) {
        return cf_fail(err, CF_INVALID, "secondary token is not valid any more: make a new one");
    }
    CF_TRY(status);
    if (cf_slice_is(secondary.state, "revoked")) {
        return cf_fail(err, CF_INVALID, "secondary \"%.*s\" was revoked", CF_SHOW(secondary.id));
    }
    bool is_bound = secondary.bound_to.size != 0;
    if ((is_bound && !cf_slice_eq(secondary.bound_to, cluster_id)) ||
        cf_slice_is(secondary.state, "active")) {
        return cf_fail(err, CF_INVALID,
                       "secondary token was redeemed already: if that was not you, revoke \"%.*s\"",
                       CF_SHOW(secondary.id));
    }
    if (!is_bound) {
        secondary.bound_to = cluster_id;
        set_write_secondary(rq, kind, &secondary);
    }
    return seal_package(rq, kind, &set, &secondary, cf_buf_slice(&public_key), err);
}

/* ---- the secondary's side ---- */

cf_status repl_authorise_secondary(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    if (kind != SET_DR) {
        return CF_OK; /* the route asked for a token and its policy */
    }
    if (rq->view->role == ROLE_DR_SECONDARY) {
        return dr_token_check(rq, err);
    }
    /* Before the first copy is complete the cluster's own tokens still are the ones that count: where the
     * route asks for none (promote), a root token. Runs of the node itself have no route. */
    bool was_asked = rq->route != NULL && (rq->route->flags & ROUTE_OPEN) == 0;
    return was_asked || (rq->caller != NULL && rq->caller->is_root)
               ? CF_OK
               : cf_fail(err, CF_DENIED, "permission denied: this needs a root token");
}

cf_status repl_secondary_promote(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_link link;
    struct cf_slice address;
    bool force;
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(want_link(rq, kind, &link, err));
    CF_TRY(repl_authorise_secondary(rq, kind, err));
    CF_TRY(request_bool(rq, "force", false, &force, err));
    CF_TRY(request_string(rq, "primary_cluster_addr", &address, err));
    if (cf_slice_is(link.state, "promoted")) {
        /* Again: a second epoch would leave the first one's entries out of the lineage. */
        return cf_fail(err, CF_INVALID, "cluster is a %s primary already", set_names[kind]);
    }
    if (cf_slice_is(link.state, "bootstrapping")) {
        /* A half-filled copy is never promoted, whatever force says: the old data is still there. */
        return cf_fail(err, CF_UNAVAILABLE, "replication is still catching up, try again later or "
                                            "provide the \"force\" argument");
    }
    if (kind == SET_PERFORMANCE && rq->view->role != ROLE_PERFORMANCE_SECONDARY) {
        return cf_fail(err, CF_INVALID, "cluster is not a performance secondary");
    }
    CF_TRY(lineage_promote(rq, kind, err));
    struct json *former = json_array_new(rq->arena);
    for (size_t i = 0; i < link.address_count; i++) {
        json_array_add(rq->arena, former, json_from_borrowed(rq->arena, link.addresses[i]));
    }
    /* The link stays as the means to tell the old primary that it was superseded. */
    struct json *record = json_object_new(rq->arena);
    json_set_text(rq->arena, record, "kind", set_names[kind]);
    json_set(rq->arena, record, "addresses", former);
    txn_put(rq->txn, set_former_key(), record_encode(rq->arena, record));
    link.state = CF_SLICE("promoted");
    set_write_link(rq, kind, &link);
    /* The same set id with a new trust root: its other secondaries come with new tokens. */
    struct set_primary set = {.id = link.set_id, .primary_cluster_addr = address};
    CF_OWNED(secret) key = NULL;
    CF_BUF(cert) = {0};
    CF_TRY(x509_key_new(&key, err));
    CF_TRY(x509_ca_new(cf_slice_str(arena_printf(rq->arena, "coffer %s %.8s", set_names[kind],
                                                 (const char *)link.set_id.data)),
                       key, life(rq, CA_LIFE_S), &cert, err));
    set.ca = cf_buf_slice(&cert);
    set.ca_key = secret_slice(key);
    set_write_primary(rq, kind, &set);
    set_write_role(rq, ROLE_ALONE_OR_PRIMARY, &rq->view->line);
    dr_token_delete(rq);
    response_warn(rq, "This cluster is being promoted to a replication primary. " BRIEFLY);
    return CF_OK;
}

cf_status repl_secondary_disable(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_link link;
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(want_link(rq, kind, &link, err));
    CF_TRY(repl_authorise_secondary(rq, kind, err));
    set_delete_link(rq, kind);
    txn_delete(rq->txn, set_position_key(kind));
    set_write_role(rq, ROLE_ALONE_OR_PRIMARY, &rq->view->line);
    CF_TRY(lineage_forget(rq, err));
    response_warn(rq, "This cluster is having replication disabled. " BRIEFLY);
    return CF_OK;
}

cf_status repl_set_primary_addresses(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    struct set_link link;
    CF_TRY(want_link(rq, kind, &link, err));
    CF_TRY(repl_authorise_secondary(rq, kind, err));
    CF_TRY(request_list(rq, "update_primary_addrs", true, &link.addresses, &link.address_count,
                        err));
    if (link.cert.size == 0) {
        return cf_fail(err, CF_INVALID, "a demoted cluster has no credentials for a primary: give "
                                        "a token of the new primary");
    }
    for (size_t i = 0; i < link.address_count; i++) {
        struct cf_slice one = link.addresses[i];
        size_t scheme = cf_slice_starts(one, CF_SLICE("https://")) ? 8 : 0;
        link.addresses[i] = cf_slice_from(one, scheme);
    }
    link.started_ns = request_now_ns(rq);
    set_write_link(rq, kind, &link);
    response_warn(rq, "The new addresses are tried in their order; see "
                      "sys/replication/%s/status.",
                  set_names[kind]);
    return CF_OK;
}

cf_status repl_operation_token_delete(struct request *rq, struct cf_error *err)
{
    CF_TRY(dr_token_check(rq, err));
    dr_token_delete(rq);
    return CF_OK;
}
