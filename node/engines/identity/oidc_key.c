/* node/engines/identity/oidc_key.c: named keys of identity tokens, and their rotation. */
#include "node/base/memory.h"
#include "node/crypto/jws.h"
#include "node/engines/identity/oidc_int.h"
#include "node/format/encode.h"

#define DAY_S ((int64_t)24 * 3600)
#define RING_MAX 100

int64_t oidc_int(const struct json *record, const char *name)
{
    int64_t value = 0;
    cf_ignore(!json_int64(json_get(record, name), &value), "absent is 0");
    return value;
}

static void set_base64(struct request *rq, struct json *to, const char *name, struct cf_slice bytes)
{
    CF_BUF(text) = {.secret = true};
    encode_base64(&text, bytes);
    json_set_string(rq->arena, to, name, cf_buf_slice(&text));
}

/* What has run out leaves the ring. */
static struct json *still_good(struct request *rq, const struct json *ring)
{
    struct json *left = json_array_new(rq->arena);
    for (size_t i = 0; i < json_count(ring); i++) {
        int64_t expire_ns = oidc_int(json_item(ring, i), "expire");
        if (expire_ns == 0 || expire_ns > request_now_ns(rq)) {
            json_array_add(rq->arena, left, json_item(ring, i));
        }
    }
    return left;
}

/* A new pair signs from now on; the one before still counts for ttl_s. */
static cf_status rotate(struct request *rq, struct json *key, int64_t ttl_s, struct cf_error *err)
{
    CF_BUF(private_der) = {.secret = true};
    CF_BUF(public_der) = {0};
    char kid[ENCODE_UUID_TEXT + 1];
    struct json *ring = json_get(key, "ring");
    const struct jws_algorithm *algorithm = jws_algorithm(json_get_string(key, "algorithm"));
    CF_TRY(jws_generate(algorithm, &private_der, &public_der, err));
    ring = still_good(rq, ring);
    if (json_count(ring) >= RING_MAX) {
        return cf_fail(err, CF_INVALID, "%d keys are still valid: rotate less often or lower "
                                        "verification_ttl", RING_MAX);
    }
    for (size_t i = 0; i < json_count(ring); i++) {
        if (oidc_int(json_item(ring, i), "expire") == 0) {
            json_set_int(rq->arena, json_item(ring, i), "expire",
                         request_now_ns(rq) + ttl_s * NS_PER_S);
        }
    }
    struct json *fresh = json_object_new(rq->arena);
    encode_uuid_text(encode_uuid_new(rq->random), kid);
    json_set_text(rq->arena, fresh, "kid", kid);
    set_base64(rq, fresh, "public", cf_buf_slice(&public_der));
    json_set_int(rq->arena, fresh, "expire", 0);
    json_array_add(rq->arena, ring, fresh);
    json_set(rq->arena, key, "ring", ring);
    set_base64(rq, key, "private", cf_buf_slice(&private_der));
    json_set_int(rq->arena, key, "next_rotation",
                 request_now_ns(rq) + oidc_int(key, "rotation_period") * NS_PER_S);
    return CF_OK;
}

cf_status oidc_current_key(struct request *rq, struct cf_slice name, struct json **ret,
                           struct cf_error *err)
{
    CF_TRY(identity_get(rq, OIDC_KEY, name, ret, err));
    if (request_now_ns(rq) < oidc_int(*ret, "next_rotation")) {
        return CF_OK;
    }
    CF_TRY(rotate(rq, *ret, oidc_int(*ret, "verification_ttl"), err));
    identity_put(rq, OIDC_KEY, name, *ret);
    return CF_OK;
}

static cf_status read_span(struct request *rq, const char *name, int64_t *value,
                           struct cf_error *err)
{
    bool given;
    CF_TRY(request_duration(rq, name, *value, value, &given, err));
    return *value < 0 ? cf_fail(err, CF_INVALID, "%s must be positive", name) : CF_OK;
}

cf_status oidc_key_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice algorithm, *ids;
    struct json *key;
    size_t count;
    cf_status found = identity_get(rq, OIDC_KEY, rq->captures[0], &key, err);
    if (found == CF_NOT_FOUND) {
        key = json_object_new(rq->arena);
    } else {
        CF_TRY(found);
    }
    bool is_new = found == CF_NOT_FOUND;
    int64_t period_s = is_new ? DAY_S : oidc_int(key, "rotation_period");
    int64_t ttl_s = is_new ? DAY_S : oidc_int(key, "verification_ttl");
    struct cf_slice before = is_new ? CF_SLICE("RS256") : json_get_string(key, "algorithm");
    CF_TRY(request_string(rq, "algorithm", &algorithm, err));
    algorithm = algorithm.size != 0 ? algorithm : before;
    CF_TRY(read_span(rq, "rotation_period", &period_s, err));
    CF_TRY(read_span(rq, "verification_ttl", &ttl_s, err));
    if (period_s < 60) {
        return cf_fail(err, CF_INVALID, "rotation_period must be at least one minute");
    }
    if (ttl_s > 10 * period_s) {
        return cf_fail(err, CF_INVALID,
                       "verification_ttl cannot be longer than 10x rotation_period");
    }
    if (jws_algorithm(algorithm) == NULL) {
        return cf_fail(err, CF_INVALID,
                       "unknown signing algorithm: RS256, RS384, RS512, ES256, ES384, ES512 and "
                       "EdDSA are known");
    }
    if (is_new || request_field(rq, "allowed_client_ids") != NULL) {
        CF_TRY(request_list(rq, "allowed_client_ids", true, &ids, &count, err));
        struct json *allowed = json_array_new(rq->arena);
        for (size_t i = 0; i < count; i++) {
            identity_list_add(rq->arena, allowed, ids[i]);
        }
        json_set(rq->arena, key, "allowed_client_ids", allowed);
    }
    int64_t last_ns = oidc_int(key, "next_rotation") - oidc_int(key, "rotation_period") * NS_PER_S;
    json_set_string(rq->arena, key, "algorithm", algorithm);
    json_set_int(rq->arena, key, "rotation_period", period_s);
    json_set_int(rq->arena, key, "verification_ttl", ttl_s);
    json_set_int(rq->arena, key, "next_rotation", last_ns + period_s * NS_PER_S);
    if (is_new || !cf_slice_eq(before, algorithm)) {
        if (!is_new) { /* what was signed by the other kind of key is not checked by this one */
            json_set(rq->arena, key, "ring", json_array_new(rq->arena));
        }
        CF_TRY(rotate(rq, key, ttl_s, err));
    }
    identity_put(rq, OIDC_KEY, rq->captures[0], key);
    return CF_OK;
}

cf_status oidc_key_read(struct request *rq, struct cf_error *err)
{
    static const char *const shown[] = {"algorithm", "rotation_period", "verification_ttl",
                                        "allowed_client_ids"};
    struct json *key;
    cf_status status = identity_get(rq, OIDC_KEY, rq->captures[0], &key, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    for (size_t i = 0; i < CF_LENGTH(shown); i++) {
        json_set(rq->arena, response_data(rq), shown[i], json_get(key, shown[i]));
    }
    return CF_OK;
}

cf_status oidc_key_delete(struct request *rq, struct cf_error *err)
{
    struct txn_names roles;
    CF_TRY(store_list(rq, CF_SLICE(OIDC_ROLE), CF_SLICE_EMPTY, 0, &roles, err));
    for (size_t i = 0; i < roles.count; i++) {
        struct json *role;
        CF_TRY(identity_get(rq, OIDC_ROLE, roles.names[i], &role, err));
        if (cf_slice_eq(json_get_string(role, "key"), rq->captures[0])) {
            return cf_fail(err, CF_INVALID,
                           "unable to delete key \"%.*s\" because it is currently referenced by "
                           "these roles: %.*s",
                           CF_SHOW(cf_slice_first(rq->captures[0], 60)),
                           CF_SHOW(cf_slice_first(roles.names[i], 60)));
        }
    }
    identity_drop(rq, OIDC_KEY, rq->captures[0]);
    return CF_OK;
}

cf_status oidc_key_list(struct request *rq, struct cf_error *err)
{
    return identity_list(rq, OIDC_KEY, NULL, err);
}

cf_status oidc_key_rotate(struct request *rq, struct cf_error *err)
{
    struct json *key;
    cf_status status = identity_get(rq, OIDC_KEY, rq->captures[0], &key, err);
    if (status == CF_NOT_FOUND) {
        return cf_fail(err, CF_INVALID, "no named key found at \"%.*s\"",
                       CF_SHOW(cf_slice_first(rq->captures[0], 80)));
    }
    CF_TRY(status);
    int64_t ttl_s = oidc_int(key, "verification_ttl");
    CF_TRY(read_span(rq, "verification_ttl", &ttl_s, err));
    CF_TRY(rotate(rq, key, ttl_s, err));
    identity_put(rq, OIDC_KEY, rq->captures[0], key);
    return CF_OK;
}

/* ---- the public side ---- */

static void set_url(struct request *rq, struct json *to, const char *name, struct cf_slice bytes)
{
    CF_BUF(text) = {0};
    encode_base64url(&text, bytes);
    json_set_string(rq->arena, to, name, cf_buf_slice(&text));
}

static cf_status add_jwk(struct request *rq, struct json *list, struct cf_slice algorithm_name,
                         const struct json *item, struct cf_error *err)
{
    const struct jws_algorithm *algorithm = jws_algorithm(algorithm_name);
    CF_BUF(der) = {0};
    CF_BUF(first) = {0};
    CF_BUF(second) = {0};
    CF_TRY(encode_base64_decode(&der, json_get_string(item, "public"), err));
    CF_TRY(jws_numbers(algorithm, cf_buf_slice(&der), &first, &second, err));
    struct json *jwk = json_object_new(rq->arena);
    json_set_string(rq->arena, jwk, "alg", algorithm_name);
    json_set_string(rq->arena, jwk, "kid", json_get_string(item, "kid"));
    json_set_text(rq->arena, jwk, "kty", jws_kty(algorithm));
    json_set_text(rq->arena, jwk, "use", "sig");
    bool is_rsa = jws_crv(algorithm) == NULL;
    if (!is_rsa) {
        json_set_text(rq->arena, jwk, "crv", jws_crv(algorithm));
    }
    set_url(rq, jwk, is_rsa ? "n" : "x", cf_buf_slice(&first));
    if (second.size != 0) {
        set_url(rq, jwk, is_rsa ? "e" : "y", cf_buf_slice(&second));
    }
    json_array_add(rq->arena, list, jwk);
    return CF_OK;
}

cf_status oidc_jwks(struct request *rq, struct json **ret, struct cf_error *err)
{
    struct txn_names names;
    struct json *list = json_array_new(rq->arena);
    CF_TRY(store_list(rq, CF_SLICE(OIDC_KEY), CF_SLICE_EMPTY, 0, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        struct json *key;
        CF_TRY(identity_get(rq, OIDC_KEY, names.names[i], &key, err));
        struct json *ring = still_good(rq, json_get(key, "ring"));
        for (size_t k = 0; k < json_count(ring); k++) {
            CF_TRY(add_jwk(rq, list, json_get_string(key, "algorithm"), json_item(ring, k), err));
        }
    }
    *ret = list;
    return CF_OK;
}
