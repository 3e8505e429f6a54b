/* tests/unit/node/auth/test_userpass.c: users, logins and renewals of their tokens. */
#include "auth_help.h"

static struct fixture *with_userpass(void)
{
    struct fixture *f = fixture_new();
    ck_call(204, f, "POST", "sys/auth/up", "{\"type\":\"userpass\"}");
    return f;
}

START_TEST(users)
{
    CF_OWNED(fixture) f = with_userpass();
    ck_call(400, f, "POST", "auth/up/users/nopw", "{}");
    ck_error(f, "missing password");
    ck_call(204, f, "POST", "auth/up/users/Bob",
            "{\"password\":\"pw\",\"token_policies\":\"b,A\",\"token_ttl\":\"10m\","
            "\"token_max_ttl\":\"1h\"}");
    ck_call(200, f, "GET", "auth/up/users/bOB", NULL);
    ck_at(f, "data.token_policies", "[\"a\",\"b\"]");
    ck_at(f, "data.token_ttl", "600");
    ck_at(f, "data.token_type", "default");
    ck_at(f, "data.token_bound_cidrs", "[]");
    ck_at(f, "data.password", "");
    ck_at(f, "data.hash", "");
    ck_call(204, f, "POST", "auth/up/users/bob", "{\"token_num_uses\":3}"); /* keeps the password */
    ck_call(200, f, "GET", "auth/up/users/bob", NULL);
    ck_at(f, "data.token_max_ttl", "3600");
    ck_at(f, "data.token_num_uses", "3");
    ck_call(200, f, "LIST", "auth/up/users", NULL);
    ck_at(f, "data.keys", "[\"bob\"]");
    ck_call(204, f, "DELETE", "auth/up/users/BOB", NULL);
    ck_call(204, f, "DELETE", "auth/up/users/bob", NULL);
    ck_call(404, f, "GET", "auth/up/users/bob", NULL);
    ck_call(404, f, "LIST", "auth/up/users", NULL);
}
END_TEST

START_TEST(bad_users_are_refused)
{
    CF_OWNED(fixture) f = with_userpass();
    static const char *const bodies[] = {
        "{\"password\":\"\"}",
        "{\"password\":{}}",
        "{\"password\":\"a\\u0000b\"}",
        "{\"password\":"
        "\"1234567890123456789012345678901234567890123456789012345678901234567890123\"}",
        "{\"password\":\"x\",\"password_hash\":\"y\"}",
        "{\"password_hash\":\"no hash\"}",
        "{\"password\":\"x\",\"token_ttl\":\"2h\",\"token_max_ttl\":\"1h\"}",
        "{\"password\":\"x\",\"token_ttl\":\"-1h\"}",
        "{\"password\":\"x\",\"token_type\":\"banana\"}",
        "{\"password\":\"x\",\"token_type\":\"batch\",\"token_num_uses\":2}",
        "{\"password\":\"x\",\"token_bound_cidrs\":[\"here\"]}",
    };
    for (size_t i = 0; i < CF_LENGTH(bodies); i++) {
        int status = fixture_call(f, NULL, "POST", "auth/up/users/u", bodies[i], NULL);
        ck_assert_msg(status == 400, "%s: %d", bodies[i], status);
    }
    ck_call(404, f, "GET", "auth/up/users/u", NULL);
}
END_TEST

START_TEST(logins)
{
    CF_OWNED(fixture) f = with_userpass();
    char token[TOKEN_TEXT];
    ck_call(204, f, "POST", "auth/up/users/bob",
            "{\"password\":\"pw\",\"token_policies\":\"a\",\"token_ttl\":\"10m\"}");
    ck_call_as(200, f, "", "POST", "auth/up/login/BOB", "{\"password\":\"pw\"}");
    ck_at(f, "auth.policies", "[\"a\",\"default\"]");
    ck_at(f, "auth.metadata.username", "bob");
    ck_at(f, "auth.lease_duration", "600");
    ck_at(f, "auth.orphan", "true");
    keep(f, "auth.client_token", token);
    ck_call_as(200, f, token, "GET", "auth/token/lookup-self", NULL);
    ck_at(f, "data.display_name", "up-bob");
    ck_at(f, "data.path", "auth/up/login/BOB");
    uint64_t index = fixture_index(f);
    ck_call_as(400, f, "", "POST", "auth/up/login/bob", "{\"password\":\"no\"}");
    ck_error(f, "invalid username or password");
    ck_call_as(400, f, "", "POST", "auth/up/login/none", "{\"password\":\"pw\"}");
    ck_error(f, "invalid username or password");
    ck_call_as(400, f, "", "POST", "auth/up/login/bob", "{}");
    ck_error(f, "missing password");
    ck_assert_uint_eq(fixture_index(f), index);
    ck_call(204, f, "POST", "auth/up/users/bob/password", "{\"password\":\"new\"}");
    ck_call_as(400, f, "", "POST", "auth/up/login/bob", "{\"password\":\"pw\"}");
    ck_call_as(200, f, "", "POST", "auth/up/login/bob", "{\"password\":\"new\"}");
    ck_call(400, f, "POST", "auth/up/users/none/password", "{\"password\":\"x\"}");
    ck_error(f, "username does not exist");
    ck_call(400, f, "POST", "auth/up/users/bob/password", "{}");
    ck_call(204, f, "POST", "auth/up/users/bob", "{\"token_bound_cidrs\":\"10.0.0.0/8\"}");
    ck_call_as(403, f, "", "POST", "auth/up/login/bob", "{\"password\":\"new\"}");
    ck_call(204, f, "POST", "auth/up/users/bob",
            "{\"token_bound_cidrs\":[],\"token_type\":\"batch\"}");
    ck_call_as(200, f, "", "POST", "auth/up/login/bob", "{\"password\":\"new\"}");
    ck_at(f, "auth.token_type", "batch");
}
END_TEST

START_TEST(renewals_ask_the_user)
{
    CF_OWNED(fixture) f = with_userpass();
    char token[TOKEN_TEXT];
    ck_call(204, f, "POST", "auth/up/users/u",
            "{\"password\":\"p\",\"token_ttl\":\"10m\",\"token_max_ttl\":\"20m\"}");
    ck_call_as(200, f, "", "POST", "auth/up/login/u", "{\"password\":\"p\"}");
    keep(f, "auth.client_token", token);
    ck_call_as(200, f, token, "POST", "auth/token/renew-self", "{\"increment\":\"15m\"}");
    ck_at(f, "auth.lease_duration", "900");
    ck_call_as(200, f, token, "POST", "auth/token/renew-self", "{\"increment\":\"5h\"}");
    int left = atoi(fixture_at(f, "auth.lease_duration"));
    ck_assert_msg(left >= 1195 && left <= 1200, "%d", left);
    ck_assert_str_ne(fixture_at(f, "warnings.0"), "");
    ck_call(204, f, "POST", "auth/up/users/u/policies", "{\"token_policies\":[\"x\"]}");
    ck_call_as(400, f, token, "POST", "auth/token/renew-self", "{}");
    ck_error(f, "policies have changed, not renewing");
    ck_call(204, f, "DELETE", "auth/up/users/u", NULL);
    ck_call_as(400, f, token, "POST", "auth/token/renew-self", "{}");
    ck_call_as(200, f, token, "GET", "auth/token/lookup-self", NULL); /* lives on to its end */
    ck_call(204, f, "DELETE", "sys/auth/up", NULL);
    ck_call_as(403, f, token, "GET", "auth/token/lookup-self", NULL);
}
END_TEST

TEST_MAIN("node/auth/userpass", users, bad_users_are_refused, logins, renewals_ask_the_user)
