/* tests/unit/node/engines/test_cubbyhole.c: a store for every token, gone with it. */
#include "kv_help.h"

static void make_token(struct fixture *f, const char *body, char token[128])
{
    ck_call(200, f, "POST", "auth/token/create", body);
    (void)snprintf(token, 128, "%s", fixture_at(f, "auth.client_token"));
}

START_TEST(tokens_see_their_own_only)
{
    CF_OWNED(fixture) f = fixture_new();
    char a[128], b[128];
    make_token(f, "{\"policies\":[\"default\"]}", a);
    make_token(f, "{\"policies\":[\"default\"]}", b);
    ck_assert_int_eq(fixture_call(f, a, "PUT", "cubbyhole/x/y", "{\"v\":1.10}", NULL), 204);
    ck_assert_int_eq(fixture_call(f, a, "GET", "cubbyhole/x/y", NULL, NULL), 200);
    ck_at(f, "data.v", "1.10");
    ck_assert_int_eq(fixture_call(f, a, "LIST", "cubbyhole/", NULL, NULL), 200);
    ck_at(f, "data.keys", "[\"x/\"]");
    ck_assert_int_eq(fixture_call(f, b, "GET", "cubbyhole/x/y", NULL, NULL), 404);
    ck_assert_int_eq(fixture_call(f, NULL, "GET", "cubbyhole/x/y", NULL, NULL), 404);
    ck_assert_int_eq(fixture_call(f, b, "LIST", "cubbyhole/", NULL, NULL), 404);
    ck_assert_int_eq(fixture_call(f, a, "PUT", "cubbyhole/x/y", "{}", NULL), 400);
    ck_assert_int_eq(fixture_call(f, a, "DELETE", "cubbyhole/x/y", NULL, NULL), 204);
    ck_assert_int_eq(fixture_call(f, a, "DELETE", "cubbyhole/x/y", NULL, NULL), 204);
    ck_assert_int_eq(fixture_call(f, a, "GET", "cubbyhole/x/y", NULL, NULL), 404);
}
END_TEST

/* A token of the same id, made after the first was revoked, starts with nothing. */
START_TEST(it_goes_with_the_token)
{
    CF_OWNED(fixture) f = fixture_new();
    const char *body = "{\"id\":\"own-id\",\"policies\":[\"default\"]}";
    char token[128];
    make_token(f, body, token);
    ck_assert_int_eq(fixture_call(f, token, "PUT", "cubbyhole/x", "{\"v\":1}", NULL), 204);
    ck_call(204, f, "POST", "auth/token/revoke", "{\"token\":\"own-id\"}");
    make_token(f, body, token);
    ck_assert_int_eq(fixture_call(f, token, "GET", "cubbyhole/x", NULL, NULL), 404);
}
END_TEST

START_TEST(the_last_use_still_reads)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[128];
    make_token(f, "{\"policies\":[\"default\"],\"num_uses\":2}", token);
    ck_assert_int_eq(fixture_call(f, token, "PUT", "cubbyhole/x", "{\"v\":1}", NULL), 204);
    ck_assert_int_eq(fixture_call(f, token, "GET", "cubbyhole/x", NULL, NULL), 200);
    ck_at(f, "data.v", "1");
    ck_assert_int_eq(fixture_call(f, token, "GET", "cubbyhole/x", NULL, NULL), 403);
    make_token(f, "{\"policies\":[\"default\"],\"num_uses\":1}", token);
    ck_assert_int_eq(fixture_call(f, token, "PUT", "cubbyhole/x", "{\"v\":1}", NULL), 204);
    ck_assert_int_eq(fixture_call(f, token, "GET", "cubbyhole/x", NULL, NULL), 403);
}
END_TEST

START_TEST(not_for_batch_and_wrapping_tokens)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[2048];
    ck_call(200, f, "POST", "auth/token/create",
            "{\"type\":\"batch\",\"policies\":[\"default\"],\"ttl\":\"1h\"}");
    (void)snprintf(token, sizeof(token), "%s", fixture_at(f, "auth.client_token"));
    ck_assert_int_eq(fixture_call(f, token, "PUT", "cubbyhole/x", "{\"v\":1}", NULL), 400);
    ck_assert_int_eq(fixture_call(f, token, "GET", "cubbyhole/x", NULL, NULL), 400);
    ck_assert_int_eq(fixture_call_wrapped(f, NULL, "GET", "sys/mounts/cubbyhole", NULL, 60, NULL),
                     200);
    (void)snprintf(token, sizeof(token), "%s", fixture_at(f, "wrap_info.token"));
    ck_assert_int_eq(fixture_call(f, token, "GET", "cubbyhole/response", NULL, NULL), 403);
    ck_assert_int_eq(fixture_call(f, token, "POST", "sys/wrapping/unwrap", NULL, NULL), 200);
}
END_TEST

TEST_MAIN("node/engines/cubbyhole", tokens_see_their_own_only, it_goes_with_the_token,
          the_last_use_still_reads, not_for_batch_and_wrapping_tokens)
