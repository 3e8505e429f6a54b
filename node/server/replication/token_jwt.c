/* node/server/replication/token_jwt.c: the secondary token as a JWT (RFC 7519, ES512 of RFC 7518). */
#include "node/server/replication/token_jwt.h"

#include "node/base/memory.h"
#include "node/crypto/sign.h"
#include "node/format/encode.h"

#define TOKEN_SIZE_MAX ((size_t)8192)
#define NOT_BEFORE_SLACK_S 5

static cf_status signing_key(struct request *rq, bool make, struct sign_key **ret,
                             struct cf_error *err)
{
    struct cf_slice der;
    cf_status status = txn_get(rq->txn, set_jwt_key(), &der, err);
    if (status == CF_OK) {
        return sign_load_private(der, ret, err);
    }
    if (status != CF_NOT_FOUND || !make) {
        return status == CF_NOT_FOUND ? cf_fail(err, CF_INVALID,
                                                "secondary token was not made by this cluster")
                                      : status;
    }
    CF_OWNED(secret) fresh = NULL;
    CF_TRY(sign_generate(SIGN_P521, ret, err));
    status = sign_private_der(*ret, &fresh, err);
    if (status != CF_OK) {
        sign_key_free(*ret);
        return status;
    }
    txn_put(rq->txn, set_jwt_key(), secret_slice(fresh));
    return CF_OK;
}

cf_status token_jwt_make(struct request *rq, const struct token_claims *claims,
                         struct cf_slice *ret, struct cf_error *err)
{
    CF_OWNED(sign_key) key = NULL;
    CF_BUF(text) = {.secret = true};
    CF_BUF(body) = {.secret = true};
    CF_BUF(signature) = {0};
    CF_TRY(signing_key(rq, true, &key, err));
    struct json *object = json_object_new(rq->arena);
    json_set_string(rq->arena, object, "accessor", claims->accessor);
    json_set_string(rq->arena, object, "addr", claims->addr);
    json_set_int(rq->arena, object, "exp", claims->expires_s);
    json_set_int(rq->arena, object, "iat", claims->issued_s);
    json_set_int(rq->arena, object, "nbf", claims->issued_s - NOT_BEFORE_SLACK_S);
    json_set_string(rq->arena, object, "jti", claims->jti);
    json_set_text(rq->arena, object, "type", "wrapping");
    json_set_string(rq->arena, object, "secondary", claims->id);
    json_set_text(rq->arena, object, "kind", set_names[claims->kind]);
    encode_base64url(&text, CF_SLICE("{\"alg\":\"ES512\",\"typ\":\"JWT\"}"));
    cf_buf_add_byte(&text, '.');
    json_write(&body, object);
    encode_base64url(&text, cf_buf_slice(&body));
    CF_TRY(sign_jws_make(key, cf_buf_slice(&text), &signature, err));
    cf_buf_add_byte(&text, '.');
    encode_base64url(&text, cf_buf_slice(&signature));
    *ret = arena_copy(rq->arena, cf_buf_slice(&text));
    return CF_OK;
}

struct parts {
    struct cf_slice input, body, signature;
};

static bool split(struct cf_slice token, struct parts *ret)
{
    size_t first = cf_slice_find(token, '.');
    struct cf_slice rest = cf_slice_from(token, first + 1);
    size_t second = cf_slice_find(rest, '.');
    if (token.size > TOKEN_SIZE_MAX || first == token.size || second == rest.size) {
        return false;
    }
    ret->body = cf_slice_first(rest, second);
    ret->signature = cf_slice_from(rest, second + 1);
    ret->input = cf_slice_first(token, first + 1 + second);
    return cf_slice_find(ret->signature, '.') == ret->signature.size;
}

cf_status token_jwt_read(struct arena *arena, struct cf_slice token, struct token_claims *ret,
                         struct cf_error *err)
{
    struct parts parts;
    struct json *body;
    CF_BUF(text) = {.secret = true};
    if (!split(token, &parts) || encode_base64url_decode(&text, parts.body, NULL) != CF_OK ||
        json_parse(arena, cf_buf_slice(&text), NULL, &body, NULL) != CF_OK) {
        return cf_fail(err, CF_INVALID, "secondary token is malformed: pass the whole token of "
                                        "primary/secondary-token");
    }
    *ret = (struct token_claims){.accessor = json_get_string(body, "accessor"),
                                 .addr = json_get_string(body, "addr"),
                                 .jti = json_get_string(body, "jti"),
                                 .id = json_get_string(body, "secondary")};
    bool complete = set_kind_of(json_get_string(body, "kind"), &ret->kind) &&
                    json_int64(json_get(body, "exp"), &ret->expires_s) &&
                    json_int64(json_get(body, "iat"), &ret->issued_s) && ret->jti.size != 0 &&
                    ret->id.size != 0 && cf_slice_is(json_get_string(body, "type"), "wrapping");
    return complete ? CF_OK
                    : cf_fail(err, CF_INVALID, "secondary token lacks a claim: is it a token of "
                                               "primary/secondary-token of a coffer?");
}

cf_status token_jwt_check(struct request *rq, struct cf_slice token, struct token_claims *ret,
                          struct cf_error *err)
{
    struct parts parts;
    CF_OWNED(sign_key) key = NULL;
    CF_BUF(signature) = {0};
    CF_TRY(token_jwt_read(rq->arena, token, ret, err));
    CF_TRY(signing_key(rq, false, &key, err));
    if (!split(token, &parts) ||
        encode_base64url_decode(&signature, parts.signature, NULL) != CF_OK ||
        sign_jws_check(key, parts.input, cf_buf_slice(&signature), NULL) != CF_OK) {
        return cf_fail(err, CF_INVALID, "secondary token was not made by this cluster");
    }
    if (request_now_ns(rq) / 1000000000 >= ret->expires_s) {
        return cf_fail(err, CF_INVALID, "secondary token has expired: revoke the secondary and "
                                        "make a new one");
    }
    return CF_OK;
}
