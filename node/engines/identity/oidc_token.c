/* node/engines/identity/oidc_token.c: roles, identity tokens, and what others check them by. */
#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/core/namespace.h"
#include "node/core/token.h"
#include "node/crypto/jws.h"
#include "node/engines/identity/oidc_int.h"
#include "node/format/encode.h"

#define TEMPLATE_MAX ((size_t)64 * 1024)
#define TOKEN_TEXT_MAX ((size_t)1 << 20)

/* ---- issuer ---- */

static struct cf_slice configured_issuer(struct request *rq)
{
    struct json *config;
    cf_status status = store_get_json(rq, CF_SLICE(OIDC_CONFIG), &config, NULL);
    return status == CF_OK ? json_get_string(config, "issuer") : CF_SLICE_EMPTY;
}

struct cf_slice oidc_issuer(struct request *rq)
{
    struct cf_slice base = configured_issuer(rq);
    const char *own = core_config(rq->core)->api_addr;
    base = base.size != 0 ? base : cf_slice_str(own != NULL ? own : "");
    while (base.size != 0 && base.data[base.size - 1] == '/') {
        base.size--;
    }
    return cf_slice_str(arena_printf(rq->arena, "%.*s/v1/%.*sidentity/oidc", CF_SHOW(base),
                                     CF_SHOW(rq->nspace->path)));
}

cf_status oidc_config_read(struct request *rq, struct cf_error *err)
{
    struct json *config;
    cf_status status = store_get_json(rq, CF_SLICE(OIDC_CONFIG), &config, err);
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    json_set_string(rq->arena, response_data(rq), "issuer",
                    status == CF_OK ? json_get_string(config, "issuer") : CF_SLICE_EMPTY);
    return CF_OK;
}

cf_status oidc_config_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice issuer;
    CF_TRY(request_string(rq, "issuer", &issuer, err));
    struct cf_slice rest = issuer;
    rest = cf_slice_starts(rest, CF_SLICE("https://"))  ? cf_slice_from(rest, 8)
           : cf_slice_starts(rest, CF_SLICE("http://")) ? cf_slice_from(rest, 7)
                                                        : CF_SLICE_EMPTY;
    if (issuer.size != 0 &&
        (rest.size == 0 || cf_slice_find(rest, '/') < rest.size ||
         cf_slice_find(rest, '?') < rest.size || cf_slice_find(rest, '#') < rest.size)) {
        return cf_fail(err, CF_INVALID,
                       "invalid issuer, which must include only a scheme, host, and optional "
                       "port (e.g. https://example.com:8200)");
    }
    store_put_json(rq, CF_SLICE(OIDC_CONFIG), identity_one(rq->arena, "issuer", issuer));
    if (issuer.size != 0) {
        response_warn(rq, "If \"issuer\" is set explicitly, all tokens must be validated against "
                          "that address, including those issued by secondary clusters. Setting "
                          "issuer to \"\" will restore the default behavior of using the "
                          "cluster's api_addr as the issuer.");
    }
    return CF_OK;
}

/* ---- roles ---- */

/* As it is, or all of it in base64. */
static struct cf_slice plain_template(struct request *rq, struct cf_slice text)
{
    CF_BUF(decoded) = {0};
    if (text.size != 0 && encode_base64_decode(&decoded, text, NULL) == CF_OK &&
        decoded.size != 0) {
        return arena_copy(rq->arena, cf_buf_slice(&decoded));
    }
    return text;
}

cf_status oidc_role_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice key, template, client_id;
    struct json *role, *unused;
    cf_status found = identity_get(rq, OIDC_ROLE, rq->captures[0], &role, err);
    if (found != CF_OK && found != CF_NOT_FOUND) {
        return found;
    }
    role = found == CF_OK ? role : json_object_new(rq->arena);
    int64_t ttl_s = found == CF_OK ? oidc_int(role, "ttl") : 24 * 3600;
    CF_TRY(request_string(rq, "key", &key, err));
    CF_TRY(request_string(rq, "template", &template, err));
    CF_TRY(request_string(rq, "client_id", &client_id, err));
    CF_TRY(request_duration(rq, "ttl", ttl_s, &ttl_s, NULL, err));
    key = key.size != 0 ? key : json_get_string(role, "key");
    if (key.size == 0) {
        return cf_fail(err, CF_INVALID, "the key parameter is required");
    }
    if (ttl_s <= 0) {
        return cf_fail(err, CF_INVALID, "ttl must be positive");
    }
    if (request_field(rq, "template") != NULL) {
        if (template.size > TEMPLATE_MAX) {
            return cf_fail(err, CF_INVALID, "template is longer than %zu bytes", TEMPLATE_MAX);
        }
        if (template.size != 0) {
            CF_TRY(oidc_fill(rq->arena, plain_template(rq, template), NULL, 0, &unused, err));
        }
        json_set_string(rq->arena, role, "template", template);
    }
    if (client_id.size == 0 && found == CF_NOT_FOUND) {
        CF_BUF(random) = {0};
        encode_base62_random(&random, rq->random, 26);
        client_id = arena_copy(rq->arena, cf_buf_slice(&random));
    }
    if (client_id.size != 0) {
        json_set_string(rq->arena, role, "client_id", client_id);
    }
    json_set_string(rq->arena, role, "key", key);
    json_set_int(rq->arena, role, "ttl", ttl_s);
    identity_put(rq, OIDC_ROLE, rq->captures[0], role);
    return CF_OK;
}

cf_status oidc_role_read(struct request *rq, struct cf_error *err)
{
    struct json *role;
    cf_status status = identity_get(rq, OIDC_ROLE, rq->captures[0], &role, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    struct json *data = response_data(rq);
    json_set(rq->arena, data, "key", json_get(role, "key"));
    json_set(rq->arena, data, "ttl", json_get(role, "ttl"));
    json_set_string(rq->arena, data, "template", json_get_string(role, "template"));
    json_set(rq->arena, data, "client_id", json_get(role, "client_id"));
    return CF_OK;
}

cf_status oidc_role_delete(struct request *rq, struct cf_error *err)
{
    (void)err;
    identity_drop(rq, OIDC_ROLE, rq->captures[0]);
    return CF_OK;
}

cf_status oidc_role_list(struct request *rq, struct cf_error *err)
{
    return identity_list(rq, OIDC_ROLE, NULL, err);
}

/* ---- tokens ---- */

static void add_part(struct cf_buf *to, const struct json *part)
{
    CF_BUF(text) = {0};
    json_write(&text, part);
    encode_base64url(to, cf_buf_slice(&text));
}

static cf_status sign(struct request *rq, const struct json *key, const struct json *claims,
                      struct cf_slice *ret, struct cf_error *err)
{
    CF_BUF(token) = {0};
    CF_BUF(private_der) = {.secret = true};
    CF_BUF(signature) = {0};
    const struct json *ring = json_get(key, "ring");
    struct json *head = json_object_new(rq->arena);
    json_set(rq->arena, head, "alg", json_get(key, "algorithm"));
    json_set(rq->arena, head, "kid", json_get(json_item(ring, json_count(ring) - 1), "kid"));
    add_part(&token, head);
    cf_buf_add_byte(&token, '.');
    add_part(&token, claims);
    CF_TRY(encode_base64_decode(&private_der, json_get_string(key, "private"), err));
    CF_TRY(jws_sign(jws_algorithm(json_get_string(key, "algorithm")), cf_buf_slice(&private_der),
                    cf_buf_slice(&token), &signature, err));
    cf_buf_add_byte(&token, '.');
    encode_base64url(&token, cf_buf_slice(&signature));
    *ret = arena_copy(rq->arena, cf_buf_slice(&token));
    return CF_OK;
}

static cf_status claims_of(struct request *rq, const struct identity *identity,
                           const struct json *role, struct json **ret, struct cf_error *err)
{
    struct cf_slice template = json_get_string(role, "template");
    int64_t now_s = request_now_ns(rq) / NS_PER_S;
    struct json *claims = json_object_new(rq->arena);
    if (template.size != 0) {
        CF_TRY(oidc_fill(rq->arena, plain_template(rq, template), identity->facts, now_s, &claims,
                         err));
    }
    json_set_string(rq->arena, claims, "iss", oidc_issuer(rq));
    json_set_string(rq->arena, claims, "sub", identity->id);
    json_set(rq->arena, claims, "aud", json_get(role, "client_id"));
    json_set_int(rq->arena, claims, "iat", now_s);
    json_set_int(rq->arena, claims, "exp", now_s + oidc_int(role, "ttl"));
    json_set_string(rq->arena, claims, "namespace", rq->nspace->id);
    *ret = claims;
    return CF_OK;
}

cf_status oidc_token(struct request *rq, struct cf_error *err)
{
    struct json *role, *key, *claims;
    const struct identity *identity;
    struct cf_slice text;
    if (rq->caller->entity_id.size == 0 || rq->caller->ns != rq->ns) {
        return cf_fail(err, CF_INVALID, "no entity associated with the request's token");
    }
    cf_status status = identity_get(rq, OIDC_ROLE, rq->captures[0], &role, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "role \"%.*s\" not found",
                       CF_SHOW(cf_slice_first(rq->captures[0], 80)));
    }
    CF_TRY(status);
    struct cf_slice key_name = json_get_string(role, "key"), client = json_get_string(role, "client_id");
    status = oidc_current_key(rq, key_name, &key, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "key \"%.*s\" not found", CF_SHOW(key_name));
    }
    CF_TRY(status);
    const struct json *allowed = json_get(key, "allowed_client_ids");
    if (!identity_list_has(allowed, CF_SLICE("*")) && !identity_list_has(allowed, client)) {
        return cf_fail(err, CF_INVALID,
                       "the key \"%.*s\" does not list the client ID of the role \"%.*s\" as an "
                       "allowed client ID",
                       CF_SHOW(cf_slice_first(key_name, 60)),
                       CF_SHOW(cf_slice_first(rq->captures[0], 60)));
    }
    CF_TRY(identity_of(rq->txn, rq->arena, rq->ns, rq->caller->entity_id, &identity, err));
    CF_TRY(claims_of(rq, identity, role, &claims, err));
    CF_TRY(sign(rq, key, claims, &text, err));
    json_set_string(rq->arena, response_data(rq), "token", text);
    json_set_string(rq->arena, response_data(rq), "client_id", client);
    json_set(rq->arena, response_data(rq), "ttl", json_get(role, "ttl"));
    return CF_OK;
}

/* ---- checking ---- */

static bool open_part(struct request *rq, struct cf_slice text, struct json **ret)
{
    CF_BUF(bytes) = {.max = TOKEN_TEXT_MAX};
    return encode_base64url_decode(&bytes, text, NULL) == CF_OK &&
           json_parse(rq->arena, arena_copy(rq->arena, cf_buf_slice(&bytes)), NULL, ret, NULL) ==
               CF_OK &&
           json_is(*ret, JSON_OBJECT);
}

/* Whether one of the keys of this namespace signed it. */
static cf_status is_signed(struct request *rq, const struct json *head, struct cf_slice input,
                           struct cf_slice signature, bool *ret, struct cf_error *err)
{
    struct txn_names names;
    *ret = false;
    CF_TRY(store_list(rq, CF_SLICE(OIDC_KEY), CF_SLICE_EMPTY, 0, &names, err));
    for (size_t i = 0; i < names.count && !*ret; i++) {
        struct json *key;
        CF_TRY(identity_get(rq, OIDC_KEY, names.names[i], &key, err));
        struct cf_slice algorithm = json_get_string(key, "algorithm");
        const struct json *ring = json_get(key, "ring");
        for (size_t k = 0; k < json_count(ring) && !*ret; k++) {
            const struct json *item = json_item(ring, k);
            int64_t expire_ns = oidc_int(item, "expire");
            CF_BUF(der) = {0};
            *ret = cf_slice_eq(json_get_string(item, "kid"), json_get_string(head, "kid")) &&
                   cf_slice_eq(algorithm, json_get_string(head, "alg")) &&
                   (expire_ns == 0 || expire_ns > request_now_ns(rq)) &&
                   encode_base64_decode(&der, json_get_string(item, "public"), NULL) == CF_OK &&
                   jws_check(jws_algorithm(algorithm), cf_buf_slice(&der), input, signature,
                             NULL) == CF_OK;
        }
    }
    return CF_OK;
}

/* Without a configured issuer each node and cluster signs under its own address, and all of them count
 * here: the keys are theirs in common. What stays is that the token is of this namespace. */
static bool is_own_issuer(struct request *rq, struct cf_slice issuer)
{
    if (configured_issuer(rq).size != 0) {
        return cf_slice_eq(issuer, oidc_issuer(rq));
    }
    return cf_slice_ends(issuer,
                         cf_slice_str(arena_printf(rq->arena, "/v1/%.*sidentity/oidc",
                                                   CF_SHOW(rq->nspace->path))));
}

static cf_status is_active(struct request *rq, struct cf_slice token, struct cf_slice client_id,
                           bool *ret, struct cf_error *err)
{
    const struct identity *identity;
    struct json *head, *claims;
    CF_BUF(signature) = {.max = 4096};
    size_t first = cf_slice_find(token, '.');
    struct cf_slice rest = cf_slice_from(token, first + 1);
    size_t second = cf_slice_find(rest, '.');
    *ret = false;
    if (token.size > TOKEN_TEXT_MAX || first == token.size || second == rest.size ||
        !open_part(rq, cf_slice_first(token, first), &head) ||
        !open_part(rq, cf_slice_first(rest, second), &claims) ||
        encode_base64url_decode(&signature, cf_slice_from(rest, second + 1), NULL) != CF_OK) {
        return CF_OK;
    }
    CF_TRY(is_signed(rq, head, cf_slice_first(token, first + 1 + second), cf_buf_slice(&signature),
                     ret, err));
    if (!*ret) {
        return CF_OK;
    }
    *ret = is_own_issuer(rq, json_get_string(claims, "iss")) &&
           oidc_int(claims, "exp") * NS_PER_S > request_now_ns(rq) &&
           (client_id.size == 0 || cf_slice_eq(client_id, json_get_string(claims, "aud")));
    struct cf_slice subject = json_get_string(claims, "sub");
    if (*ret && subject.size != 0) {
        CF_TRY(identity_of(rq->txn, rq->arena, rq->ns, subject, &identity, err));
        *ret = identity->exists && !identity->is_disabled;
    }
    return CF_OK;
}

cf_status oidc_introspect(struct request *rq, struct cf_error *err)
{
    struct cf_slice token, client_id;
    bool active;
    CF_TRY(request_string(rq, "token", &token, err));
    CF_TRY(request_string(rq, "client_id", &client_id, err));
    CF_TRY(is_active(rq, token, client_id, &active, err));
    json_set_bool(rq->arena, response_data(rq), "active", active);
    rq->response.no_envelope = true;
    return CF_OK;
}

cf_status oidc_keys(struct request *rq, struct cf_error *err)
{
    struct json *keys;
    CF_TRY(oidc_jwks(rq, &keys, err));
    json_set(rq->arena, response_data(rq), "keys", keys);
    rq->response.no_envelope = true;
    return CF_OK;
}

static void add_texts(struct request *rq, const char *name, const char *const *texts, size_t count)
{
    struct json *list = json_array_new(rq->arena);
    for (size_t i = 0; i < count; i++) {
        json_array_add(rq->arena, list, json_from_text(rq->arena, texts[i]));
    }
    json_set(rq->arena, response_data(rq), name, list);
}

cf_status oidc_discovery(struct request *rq, struct cf_error *err)
{
    static const char *const algorithms[] = {"RS256", "RS384", "RS512", "ES256",
                                             "ES384", "ES512", "EdDSA"};
    static const char *const types[] = {"id_token"};
    static const char *const subjects[] = {"public"};
    struct cf_slice issuer = oidc_issuer(rq);
    struct json *data = response_data(rq);
    (void)err;
    json_set_string(rq->arena, data, "issuer", issuer);
    json_set_string(
        rq->arena, data, "jwks_uri",
        cf_slice_str(arena_printf(rq->arena, "%.*s/.well-known/keys", CF_SHOW(issuer))));
    add_texts(rq, "response_types_supported", types, CF_LENGTH(types));
    add_texts(rq, "subject_types_supported", subjects, CF_LENGTH(subjects));
    add_texts(rq, "id_token_signing_alg_values_supported", algorithms, CF_LENGTH(algorithms));
    rq->response.no_envelope = true;
    return CF_OK;
}
