/* tests/unit/node/server/test_token_jwt.c: secondary tokens, good and forged. */
#include "node/server/replication/token_jwt.h"

#include "node/base/memory.h"
#include "node/crypto/sign.h"
#include "node/format/encode.h"
#include "repl_world.h"

static char token[8192];
static int64_t lifetime_s;

static cf_status make(struct request *rq, struct cf_error *err)
{
    struct cf_slice text;
    int64_t now = request_now_ns(rq) / 1000000000;
    struct token_claims claims = {.accessor = CF_SLICE("acc"),
                                  .addr = CF_SLICE("https://p:8200"),
                                  .jti = CF_SLICE("jti-1"),
                                  .id = CF_SLICE("b"),
                                  .kind = SET_DR,
                                  .issued_s = now,
                                  .expires_s = now + lifetime_s};
    CF_TRY(token_jwt_make(rq, &claims, &text, err));
    snprintf(token, sizeof(token), "%.*s", CF_SHOW(text));
    return CF_OK;
}

static void make_token(int64_t seconds)
{
    lifetime_s = seconds;
    ck_run(make);
}

static cf_status check(struct request *rq, struct cf_error *err)
{
    struct token_claims claims;
    CF_TRY(token_jwt_check(rq, cf_slice_str(token), &claims, err));
    ck_slice(claims.accessor, "acc");
    ck_slice(claims.addr, "https://p:8200");
    ck_slice(claims.jti, "jti-1");
    ck_slice(claims.id, "b");
    ck_assert_int_eq((int)claims.kind, SET_DR);
    ck_assert(claims.expires_s == claims.issued_s + lifetime_s);
    return CF_OK;
}

#define ck_check_refused(text)                                                                     \
    do {                                                                                           \
        ck_assert_int_eq(world_run(check), 400);                                                   \
        ck_assert_msg(fixture_error_has(world, (text)), "%s", fixture_at(world, "errors.0"));      \
    } while (0)

START_TEST(good_and_expired)
{
    world_begin();
    make_token(60);
    ck_run(check);
    make_token(60); /* the key stays: both are good */
    ck_run(check);
    fixture_advance(world, 61);
    ck_check_refused("secondary token has expired");
    make_token(0);
    ck_check_refused("secondary token has expired");
    world_end();
}
END_TEST

static cf_status replace_key(struct request *rq, struct cf_error *err)
{
    CF_OWNED(sign_key) key = NULL;
    CF_OWNED(secret) der = NULL;
    CF_TRY(sign_generate(SIGN_P521, &key, err));
    CF_TRY(sign_private_der(key, &der, err));
    txn_put(rq->txn, set_jwt_key(), secret_slice(der));
    return CF_OK;
}

START_TEST(foreign_key)
{
    world_begin();
    make_token(60);
    ck_run(replace_key);
    ck_check_refused("was not made by this cluster");
    world_end();
    world_begin(); /* a cluster that never made one */
    ck_check_refused("was not made by this cluster");
    world_end();
}
END_TEST

/* All of it matters: any shorter text is refused, and nothing reads past its end. */
static cf_status check_truncated(struct request *rq, struct cf_error *err)
{
    size_t size = strlen(token);
    (void)err;
    for (size_t at = 0; at < size; at++) {
        struct token_claims claims;
        uint8_t *copy = cf_memdup(token, cf_max(at, 1)); /* so that a sanitizer sees its end */
        ck_status(token_jwt_check(rq, cf_slice_of(copy, at), &claims, NULL), CF_INVALID);
        cf_free(copy);
    }
    return CF_OK;
}

static cf_status check_changed(struct request *rq, struct cf_error *err)
{
    size_t size = strlen(token);
    (void)err;
    for (size_t at = 0; at < size; at += 3) {
        struct token_claims claims;
        char before = token[at];
        token[at] = before == 'A' ? 'B' : 'A';
        ck_status(token_jwt_check(rq, cf_slice_of(token, size), &claims, NULL), CF_INVALID);
        token[at] = before;
    }
    return CF_OK;
}

START_TEST(truncated_and_changed)
{
    world_begin();
    make_token(60);
    ck_run(check_truncated);
    ck_run(check_changed);
    ck_run(check);
    strcat(token, ".");
    ck_check_refused("malformed");
    world_end();
}
END_TEST

/* header and body in clear, the signature as text */
static void forge(const char *header, const char *body, const char *signature)
{
    CF_BUF(text) = {0};
    encode_base64url(&text, cf_slice_str(header));
    cf_buf_add_byte(&text, '.');
    encode_base64url(&text, cf_slice_str(body));
    cf_buf_add_byte(&text, '.');
    cf_buf_add_str(&text, signature);
    snprintf(token, sizeof(token), "%s", cf_buf_text(&text));
}

#define BODY                                                                                       \
    "{\"accessor\":\"\",\"addr\":\"\",\"exp\":9999999999,\"iat\":1,\"nbf\":1,\"jti\":\"j\","       \
    "\"type\":\"wrapping\",\"secondary\":\"b\",\"kind\":\"dr\"}"

START_TEST(no_algorithm)
{
    char signature[256];
    world_begin();
    make_token(60);
    snprintf(signature, sizeof(signature), "%s", strrchr(token, '.') + 1);
    forge("{\"alg\":\"none\"}", BODY, "");
    ck_check_refused("was not made by this cluster");
    forge("{\"alg\":\"none\"}", BODY, signature);
    ck_check_refused("was not made by this cluster");
    forge("{\"alg\":\"HS256\"}", BODY, "AAAA");
    ck_check_refused("was not made by this cluster");
    world_end();
}
END_TEST

START_TEST(claims_are_all_there)
{
    static const char *const bodies[] = {
        "{}",
        "[]",
        "\"text\"",
        "{\"exp\":1,\"iat\":1,\"jti\":\"j\",\"type\":\"wrapping\",\"secondary\":\"b\"}",
        "{\"exp\":1,\"iat\":1,\"jti\":\"j\",\"type\":\"wrapping\",\"secondary\":\"b\",\"kind\":"
        "\"x\"}",
        "{\"exp\":1,\"iat\":1,\"jti\":\"\",\"type\":\"wrapping\",\"secondary\":\"b\",\"kind\":"
        "\"dr\"}",
        "{\"exp\":1,\"iat\":1,\"jti\":\"j\",\"type\":\"other\",\"secondary\":\"b\",\"kind\":"
        "\"dr\"}",
        "{\"exp\":\"1\",\"iat\":1,\"jti\":\"j\",\"type\":\"wrapping\",\"secondary\":\"b\",\"kind\":"
        "\"dr\"}",
        "{\"exp\":1e99,\"iat\":1,\"jti\":\"j\",\"type\":\"wrapping\",\"secondary\":\"b\",\"kind\":"
        "\"dr\"}",
        "{\"exp\":1,\"iat\":1,\"jti\":\"j\",\"type\":\"wrapping\",\"secondary\":7,\"kind\":\"dr\"}",
    };
    CF_OWNED(arena) arena = arena_new(4096);
    struct token_claims claims;
    for (size_t i = 0; i < CF_LENGTH(bodies); i++) {
        forge("{}", bodies[i], "");
        ck_assert_msg(token_jwt_read(arena, cf_slice_str(token), &claims, NULL) == CF_INVALID, "%s",
                      bodies[i]);
    }
    forge("{}", BODY, "");
    ck_ok(token_jwt_read(arena, cf_slice_str(token), &claims, NULL));
    ck_assert(claims.expires_s == 9999999999 && claims.kind == SET_DR);
    char *large = cf_alloc(1 << 20);
    memset(large, 'A', 1 << 20);
    large[10] = large[20] = '.';
    ck_status(token_jwt_read(arena, cf_slice_of(large, 1 << 20), &claims, NULL), CF_INVALID);
    cf_free(large);
}
END_TEST

TEST_MAIN("node/server/replication/token_jwt", good_and_expired, foreign_key, truncated_and_changed,
          no_algorithm, claims_are_all_there)
