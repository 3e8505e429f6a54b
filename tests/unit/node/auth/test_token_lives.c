/* tests/unit/node/auth/test_token_lives.c: looking tokens up, renewing and ending them. */
#include "auth_help.h"

START_TEST(lookups)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[TOKEN_TEXT], accessor[TOKEN_TEXT];
    make_token(f, NULL, "{\"policies\":[\"default\"],\"ttl\":\"1h\",\"display_name\":\"lf\"}",
               token);
    keep(f, "auth.accessor", accessor);
    ck_call_as(200, f, token, "GET", "auth/token/lookup-self", NULL);
    ck_at(f, "data.accessor", accessor);
    ck_at(f, "data.display_name", "token-lf");
    ck_at(f, "data.ttl", "3600");
    fixture_advance(f, 10);
    ck_call(200, f, "POST", "auth/token/lookup", with("token", token));
    ck_at(f, "data.id", token);
    ck_at(f, "data.ttl", "3590");
    ck_at(f, "data.creation_ttl", "3600");
    ck_call(200, f, "POST", "auth/token/lookup-accessor", with("accessor", accessor));
    ck_at(f, "data.id", "");
    ck_at(f, "data.accessor", accessor);
    ck_call(403, f, "POST", "auth/token/lookup", with("token", "s.none"));
    ck_error(f, "bad token");
    ck_call(400, f, "POST", "auth/token/lookup-accessor", with("accessor", "none"));
    ck_error(f, "invalid accessor");
    ck_call(400, f, "POST", "auth/token/lookup-accessor", "{}");
    ck_error(f, "missing accessor");
    ck_call(200, f, "LIST", "auth/token/accessors", NULL);
    ck_assert_ptr_nonnull(strstr(fixture_at(f, "data.keys"), accessor));
    ck_call_as(403, f, token, "LIST", "auth/token/accessors", NULL);
}
END_TEST

START_TEST(renewals)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[TOKEN_TEXT], accessor[TOKEN_TEXT], body[TOKEN_TEXT];
    make_token(f, NULL, "{\"policies\":[\"default\"],\"ttl\":\"1h\"}", token);
    keep(f, "auth.accessor", accessor);
    fixture_advance(f, 1000);
    ck_call(200, f, "POST", "auth/token/renew", with("token", token));
    ck_at(f, "auth.client_token", token);
    ck_at(f, "auth.lease_duration", "3600");
    (void)snprintf(body, sizeof(body), "{\"token\":\"%.200s\",\"increment\":\"2h\"}", token);
    ck_call(200, f, "POST", "auth/token/renew", body);
    ck_at(f, "auth.lease_duration", "7200");
    ck_call_as(200, f, token, "POST", "auth/token/renew-self", "{\"increment\":\"90m\"}");
    ck_at(f, "auth.lease_duration", "5400");
    (void)snprintf(body, sizeof(body), "{\"accessor\":\"%.200s\",\"increment\":100}", accessor);
    ck_call(200, f, "POST", "auth/token/renew-accessor", body);
    ck_at(f, "auth.lease_duration", "100");
    ck_at(f, "auth.client_token", "");
    ck_call_as(200, f, token, "GET", "auth/token/lookup-self", NULL);
    ck_assert_str_ne(fixture_at(f, "data.last_renewal"), "");
    ck_at(f, "data.creation_ttl", "3600");
    ck_call_as(400, f, token, "POST", "auth/token/renew-self", "{\"increment\":\"-1s\"}");
    fixture_advance(f, 101);
    ck_call_as(403, f, token, "POST", "auth/token/renew-self", "{}");
    ck_call(403, f, "POST", "auth/token/renew", with("token", "s.none"));
    make_token(f, NULL, "{\"ttl\":\"1h\",\"renewable\":false}", token);
    ck_call(400, f, "POST", "auth/token/renew", with("token", token));
    ck_error(f, "lease is not renewable");
    ck_call(400, f, "POST", "auth/token/renew-self", "{}"); /* root has no end */
}
END_TEST

START_TEST(an_explicit_maximum_holds)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[TOKEN_TEXT];
    make_token(f, NULL, "{\"ttl\":\"10h\",\"explicit_max_ttl\":\"1h\"}", token);
    ck_at(f, "auth.lease_duration", "3600");
    ck_assert_str_ne(fixture_at(f, "warnings.0"), "");
    fixture_advance(f, 600);
    ck_call_as(200, f, token, "POST", "auth/token/renew-self", "{\"increment\":\"10h\"}");
    int left = atoi(fixture_at(f, "auth.lease_duration"));
    ck_assert_msg(left >= 2990 && left <= 3000, "%d", left);
    ck_assert_str_ne(fixture_at(f, "warnings.0"), "");
    fixture_advance(f, 3001);
    ck_call_as(403, f, token, "GET", "auth/token/lookup-self", NULL);
}
END_TEST

START_TEST(a_period_is_given_again_and_again)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[TOKEN_TEXT];
    make_token(f, NULL, "{\"period\":\"2h\"}", token);
    ck_at(f, "auth.lease_duration", "7200");
    for (int i = 0; i < 1000; i += 333) {
        fixture_advance(f, 7000);
        ck_call_as(200, f, token, "POST", "auth/token/renew-self", "{\"increment\":\"100h\"}");
        ck_at(f, "auth.lease_duration", "7200");
    }
    ck_call_as(200, f, token, "GET", "auth/token/lookup-self", NULL);
    ck_at(f, "data.period", "7200");
    make_token(f, NULL, "{\"period\":\"2h\",\"explicit_max_ttl\":\"3h\"}", token);
    fixture_advance(f, 7000);
    ck_call_as(200, f, token, "POST", "auth/token/renew-self", "{}");
    int left = atoi(fixture_at(f, "auth.lease_duration"));
    ck_assert_msg(left >= 3790 && left <= 3800, "%d", left);
}
END_TEST

START_TEST(the_tree_goes_with_its_root)
{
    CF_OWNED(fixture) f = fixture_new();
    char parent[TOKEN_TEXT], child[TOKEN_TEXT], grandchild[TOKEN_TEXT];
    make_policy(f, "maker", MAY_CREATE);
    make_token(f, NULL, "{\"policies\":[\"maker\"]}", parent);
    make_token(f, parent, "{}", child);
    make_token(f, child, "{}", grandchild);
    ck_call(204, f, "POST", "auth/token/revoke", with("token", parent));
    ck_call_as(403, f, parent, "GET", "auth/token/lookup-self", NULL);
    ck_call_as(403, f, child, "GET", "auth/token/lookup-self", NULL);
    ck_call_as(403, f, grandchild, "GET", "auth/token/lookup-self", NULL);
}
END_TEST

START_TEST(orphans_live_on)
{
    CF_OWNED(fixture) f = fixture_new();
    char parent[TOKEN_TEXT], child[TOKEN_TEXT], orphan[TOKEN_TEXT];
    make_policy(f, "maker", MAY_CREATE);
    make_token(f, NULL, "{\"policies\":[\"maker\"]}", parent);
    make_token(f, parent, "{}", child);
    ck_call(200, f, "POST", "auth/token/create-orphan", "{\"policies\":[\"default\"]}");
    keep(f, "auth.client_token", orphan);
    ck_call_as(403, f, parent, "POST", "auth/token/revoke-orphan", with("token", parent));
    ck_call(204, f, "POST", "auth/token/revoke-orphan", with("token", parent));
    ck_call_as(403, f, parent, "GET", "auth/token/lookup-self", NULL);
    ck_call_as(200, f, child, "GET", "auth/token/lookup-self", NULL);
    ck_at(f, "data.orphan", "true");
    ck_call_as(200, f, orphan, "GET", "auth/token/lookup-self", NULL);
    ck_at(f, "data.path", "auth/token/create-orphan");
    ck_call(400, f, "POST", "auth/token/revoke-orphan", with("token", parent));
}
END_TEST

START_TEST(ways_to_revoke)
{
    CF_OWNED(fixture) f = fixture_new();
    char a[TOKEN_TEXT], b[TOKEN_TEXT], accessor[TOKEN_TEXT];
    make_token(f, NULL, "{\"policies\":[\"default\"]}", a);
    make_token(f, NULL, "{\"policies\":[\"default\"]}", b);
    keep(f, "auth.accessor", accessor);
    ck_call_as(204, f, a, "POST", "auth/token/revoke-self", "{}");
    ck_call_as(403, f, a, "GET", "auth/token/lookup-self", NULL);
    ck_call(204, f, "POST", "auth/token/revoke-accessor", with("accessor", accessor));
    ck_call_as(403, f, b, "GET", "auth/token/lookup-self", NULL);
    ck_call(200, f, "POST", "auth/token/revoke-accessor", with("accessor", accessor));
    ck_assert_str_ne(fixture_at(f, "warnings.0"), "");
    ck_call(204, f, "POST", "auth/token/revoke", with("token", "s.unknown"));
    ck_call(400, f, "POST", "auth/token/revoke", "{}");
    ck_error(f, "missing token ID");
    ck_call(400, f, "POST", "auth/token/revoke-accessor", "{}");
    ck_call(202, f, "POST", "auth/token/tidy", "{}");
    ck_assert_str_ne(fixture_at(f, "warnings.0"), "");
    make_token(f, NULL, "{\"num_uses\":1,\"policies\":[\"default\"]}", a);
    ck_call_as(204, f, a, "POST", "auth/token/revoke-self", "{}"); /* its last use */
    ck_call_as(403, f, a, "GET", "auth/token/lookup-self", NULL);
}
END_TEST

TEST_MAIN("node/auth/token_lives", lookups, renewals, an_explicit_maximum_holds,
          a_period_is_given_again_and_again, the_tree_goes_with_its_root, orphans_live_on,
          ways_to_revoke)
