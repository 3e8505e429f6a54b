/* node/server/replication/secondary_token.c: the registry of secondaries, their tokens, and what a token is
 * redeemed for.
 *
 * A token is a handle (a JWT that names where to redeem it), or, made for a public key, the sealed package
 * itself: then the secondary needs no call to the primary's API. */
#include <ctype.h>

#include "node/base/host.h"
#include "node/base/level.h"
#include "node/base/memory.h"
#include "node/cluster/identity.h"
#include "node/core/core.h"
#include "node/crypto/box.h"
#include "node/crypto/x509.h"
#include "node/format/encode.h"
#include "node/format/timefmt.h"
#include "node/server/node.h"
#include "node/server/replication/certificate.h"
#include "node/server/replication/package.h"
#include "node/server/replication/promotion.h"
#include "node/server/replication/routes.h"
#include "node/server/replication/token_jwt.h"
#include "node/server/rotation.h"

#define SECONDARY_LIFE_S ((int64_t)365 * 86400)
#define TOKEN_TTL_S 1800
#define ID_MAX ((size_t)64)
#define CLUSTER_ID_MAX ((size_t)128)

bool repl_is_id(struct cf_slice id)
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
    CF_OWNED(secret) key = NULL;
    CF_BUF(public_key) = {0};
    CF_BUF(cert) = {0};
    CF_TRY(x509_key_new(&key, err));
    CF_TRY(x509_key_public(key, &public_key, err));
    CF_TRY(certificate_issue(rq, set, secondary->id, cf_buf_slice(&public_key), &cert, err));
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

static cf_status answer_sealed(struct request *rq, enum set_kind kind, const struct set_primary *set,
                               const struct set_secondary *secondary, struct cf_slice public_key,
                               struct cf_error *err)
{
    CF_BUF(sealed) = {0};
    CF_BUF(text) = {0};
    CF_TRY(package_seal(rq, kind, set, secondary, public_key, &sealed, err));
    cf_buf_add_str(&text, PACKAGE_TOKEN_PREFIX);
    encode_base64url(&text, cf_buf_slice(&sealed));
    json_set_string(rq->arena, response_data(rq), "token", cf_buf_slice(&text));
    return CF_OK;
}

static cf_status read_public_key(struct request *rq, struct cf_buf *ret, struct cf_error *err)
{
    struct cf_slice text;
    CF_TRY(request_string(rq, "secondary_public_key", &text, err));
    if (text.size != 0 && (encode_base64_decode(ret, text, NULL) != CF_OK || ret->size != BOX_PUBLIC_SIZE)) {
        return cf_fail(err, CF_INVALID, "secondary_public_key is malformed: pass the text that "
                                        "secondary/generate-public-key answered on the secondary");
    }
    return CF_OK;
}

cf_status repl_secondary_token(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_primary set;
    struct set_secondary secondary = {0};
    int64_t ttl;
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(repl_want_primary(rq, kind, &set, err));
    CF_TRY(repl_check_serving(rq, err));
    CF_TRY(request_string(rq, "id", &secondary.id, err));
    CF_TRY(request_duration(rq, "ttl", TOKEN_TTL_S, &ttl, NULL, err));
    CF_BUF(public_key) = {0};
    CF_TRY(read_public_key(rq, &public_key, err));
    if (!repl_is_id(secondary.id)) {
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
    if (public_key.size != 0) {
        secondary.bound_to = CF_SLICE(SET_SEALED);
        CF_TRY(answer_sealed(rq, kind, &set, &secondary, cf_buf_slice(&public_key), err));
        secondary.key = CF_SLICE_EMPTY; /* it is in the package alone */
        set_write_secondary(rq, kind, &secondary);
        return CF_OK;
    }
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
    wrap->is_activation = true;
    rq->response.wrap = wrap;
    return CF_OK;
}

cf_status repl_revoke_secondary(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_primary set;
    struct set_secondary secondary;
    struct cf_slice id;
    bool rotate;
    CF_TRY(repl_kind(rq, &kind, err));
    CF_TRY(repl_want_primary(rq, kind, &set, err));
    CF_TRY(request_string(rq, "id", &id, err));
    CF_TRY(request_bool(rq, "rotate", false, &rotate, err));
    if (rotate && rq->view->role != ROLE_ALONE_OR_PRIMARY) {
        return cf_fail(err, CF_INVALID, "cannot rotate on a replication secondary: revoke without rotate, and "
                                        "rotate on the primary");
    }
    cf_status status =
        repl_is_id(id) ? set_read_secondary(rq, kind, id, &secondary, err) : CF_NOT_FOUND;
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "no secondary \"%.*s\" is registered: see "
                                        "known_secondaries in the status",
                       CF_SHOW(id));
    }
    CF_TRY(status);
    if (cf_slice_is(secondary.state, "revoked")) {
        response_warn(rq, "Secondary \"%.*s\" was revoked already: nothing was changed.", CF_SHOW(id));
        return CF_OK;
    }
    secondary.state = CF_SLICE("revoked");
    secondary.key = CF_SLICE_EMPTY;
    set_write_secondary(rq, kind, &secondary);
    if (kind == SET_PERFORMANCE) {
        CF_TRY(promotion_void(rq, id, err));
    }
    if (rotate) {
        CF_TRY(rotation_rotate(rq, core_host_context(rq->core), err));
        response_warn(rq, "The secondary keeps the data and the keys it has. The data key was replaced: what is "
                          "written from now on can not be read with those.");
    } else {
        response_warn(rq, "The secondary keeps the data and the keys it has. If it may be in the wrong hands, "
                          "rotate the data key (sys/rotate, or revoke with rotate=true), and replace the "
                          "secrets that it could read.");
    }
    return CF_OK;
}

/* ---- redeeming ---- */

/* For the dry run of who holds a good token: where it would connect, and what it should compare. */
static cf_status describe_primary(struct request *rq, enum set_kind kind, const struct set_primary *set)
{
    struct json *data = response_data(rq);
    uint8_t from[1] = {kind == SET_DR ? CLASS_CLUSTER : CLASS_REPLICATED};
    uint8_t to[1] = {CLASS_REPLICATED + 1};
    uint64_t bytes =
        kv_approximate_size(rq->view->state, cf_slice_of(from, 1), cf_slice_of(to, 1));
    json_set(rq->arena, data, "addresses", package_addresses(rq, set));
    json_set_text(rq->arena, data, "version", COFFER_VERSION);
    json_set_int(rq->arena, data, "feature_level", cf_feature_level());
    json_set_int(rq->arena, data, "server_time_ms", cf_wall_ns(cf_host_clock()) / 1000000);
    json_set_int(rq->arena, data, "bytes", (int64_t)bytes);
    return CF_OK;
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
    CF_TRY(repl_want_primary(rq, kind, &set, err));
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
    bool dry;
    CF_TRY(request_bool(rq, "dry_run", false, &dry, err));
    if (dry) {
        return describe_primary(rq, kind, &set);
    }
    if (!is_bound) {
        secondary.bound_to = cluster_id;
        set_write_secondary(rq, kind, &secondary);
    }
    CF_BUF(sealed) = {0};
    CF_BUF(base64) = {0};
    CF_TRY(package_seal(rq, kind, &set, &secondary, cf_buf_slice(&public_key), &sealed, err));
    encode_base64(&base64, cf_buf_slice(&sealed));
    json_set_string(rq->arena, response_data(rq), "package", cf_buf_slice(&base64));
    return CF_OK;
}


/* ---- the registry, for operators ---- */

static void add_time(struct request *rq, struct json *object, const char *name, int64_t ns)
{
    char text[TIMEFMT_SIZE];
    timefmt_text(ns, text);
    json_set_text(rq->arena, object, name, ns != 0 ? text : "");
}

struct json *repl_describe_secondary(struct request *rq, const struct set_secondary *secondary)
{
    struct json *json = json_object_new(rq->arena);
    bool pending = cf_slice_is(secondary->state, "pending");
    bool in_time = request_now_ns(rq) < secondary->expires_ns;
    bool redeemed = secondary->bound_to.size != 0 && !cf_slice_is(secondary->bound_to, SET_SEALED);
    json_set_string(rq->arena, json, "id", secondary->id);
    json_set_string(rq->arena, json, "state", secondary->state);
    add_time(rq, json, "created_at", secondary->created_ns);
    add_time(rq, json, "token_expires_at", pending ? secondary->expires_ns : 0);
    json_set_bool(rq->arena, json, "token_is_valid", pending && in_time);
    json_set_bool(rq->arena, json, "token_was_redeemed", redeemed);
    return json;
}

static cf_status named_secondary(struct request *rq, enum set_kind *kind, struct set_secondary *ret,
                                 struct cf_error *err)
{
    struct set_primary set;
    struct cf_slice id;
    CF_TRY(repl_kind(rq, kind, err));
    CF_TRY(repl_want_primary(rq, *kind, &set, err));
    CF_TRY(request_string(rq, "id", &id, err));
    cf_status status =
        repl_is_id(id) ? set_read_secondary(rq, *kind, id, ret, err) : CF_NOT_FOUND;
    return status == CF_NOT_FOUND ? request_absent(err) : status;
}

cf_status repl_read_secondary(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_secondary secondary;
    CF_TRY(named_secondary(rq, &kind, &secondary, err));
    rq->response.data = repl_describe_secondary(rq, &secondary);
    return CF_OK;
}

/* Only what is revoked may be forgotten: else a secondary would lose its primary by a slip. */
cf_status repl_delete_secondary(struct request *rq, struct cf_error *err)
{
    enum set_kind kind;
    struct set_secondary secondary;
    CF_TRY(named_secondary(rq, &kind, &secondary, err));
    if (!cf_slice_is(secondary.state, "revoked")) {
        return cf_fail(err, CF_INVALID, "secondary \"%.*s\" is not revoked: revoke it first "
                                        "(primary/revoke-secondary)",
                       CF_SHOW(secondary.id));
    }
    set_delete_secondary(rq, kind, secondary.id);
    return CF_OK;
}
