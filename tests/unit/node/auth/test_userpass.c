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
    ck_assert_uint_eq(fixture_index(f), index + 2); /* the failures are counted */
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

static const char wrong[] = "{\"password\":\"no\"}", right[] = "{\"password\":\"pw\"}";

/* However the name is spelt, and on whichever node: five failures lock the user out, the right password
 * included, for a quarter of an hour. Names that nobody has behave alike. */
START_TEST(lockout_alias)
{
    CF_OWNED(fixture) f = with_userpass();
    static const char *const spellings[] = {"bob", "BOB", "Bob", "bOb", "boB"};
    ck_call(204, f, "POST", "auth/up/users/bob", right);
    uint64_t before = fixture_index(f);
    for (size_t i = 0; i < CF_LENGTH(spellings); i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "auth/up/login/%s", spellings[i]);
        ck_call_as(400, f, "", "POST", path, wrong);
        ck_error(f, "invalid username or password");
        ck_call_as(400, f, "", "POST", "auth/up/login/nobody", wrong);
        ck_error(f, "invalid username or password");
    }
    ck_assert_uint_eq(fixture_index(f), before + 10); /* one entry a failure */
    ck_call_as(403, f, "", "POST", "auth/up/login/bob", right);
    ck_call_as(403, f, "", "POST", "auth/up/login/bob", wrong);
    ck_call_as(403, f, "", "POST", "auth/up/login/Nobody", wrong);
    ck_assert_uint_eq(fixture_index(f), before + 10); /* and none while it lasts */
    ck_call(200, f, "GET", "sys/locked-users", NULL);
    ck_at(f, "data.total", "1");
    ck_at(f, "data.by_namespace.0.mount_accessors.0.alias_identifiers", "[\"bob\"]");
    fixture_advance(f, 15 * 60 + 1);
    ck_call(200, f, "GET", "sys/locked-users", NULL);
    ck_at(f, "data.total", "0");
    ck_call_as(400, f, "", "POST", "auth/up/login/bob", wrong); /* counts from one again */
    ck_call_as(200, f, "", "POST", "auth/up/login/bob", right);
}
END_TEST

START_TEST(lockout_ends_with_a_login_or_an_operator)
{
    CF_OWNED(fixture) f = with_userpass();
    char accessor[TOKEN_TEXT], path[TOKEN_TEXT + 64];
    ck_call(204, f, "POST", "auth/up/users/bob", right);
    for (int round = 0; round < 3; round++) { /* a good login forgets the bad ones */
        for (int i = 0; i < 4; i++) {
            ck_call_as(400, f, "", "POST", "auth/up/login/bob", wrong);
        }
        ck_call_as(200, f, "", "POST", "auth/up/login/bob", right);
    }
    for (int i = 0; i < 4; i++) { /* so does time without any */
        ck_call_as(400, f, "", "POST", "auth/up/login/bob", wrong);
    }
    fixture_advance(f, 15 * 60 + 1);
    for (int i = 0; i < 5; i++) {
        ck_call_as(400, f, "", "POST", "auth/up/login/bob", wrong);
    }
    ck_call_as(403, f, "", "POST", "auth/up/login/bob", right);
    ck_call(200, f, "GET", "sys/auth", NULL);
    keep(f, "data.up/.accessor", accessor);
    (void)snprintf(path, sizeof(path), "sys/locked-users/%s/unlock/bob", accessor);
    ck_call(204, f, "POST", path, "{}");
    ck_call_as(200, f, "", "POST", "auth/up/login/bob", right);
    ck_call(400, f, "POST", "sys/locked-users/none/unlock/bob", "{}");
}
END_TEST

START_TEST(lockout_is_tuned)
{
    CF_OWNED(fixture) f = with_userpass();
    ck_call(204, f, "POST", "auth/up/users/bob", right);
    ck_call(204, f, "POST", "sys/auth/up/tune",
            "{\"user_lockout_config\":{\"lockout_threshold\":\"2\",\"lockout_duration\":\"1m\"}}");
    ck_call(200, f, "GET", "sys/auth/up/tune", NULL);
    ck_at(f, "data.user_lockout_threshold", "2");
    ck_at(f, "data.user_lockout_duration", "60");
    ck_at(f, "data.user_lockout_disable", "false");
    ck_call_as(400, f, "", "POST", "auth/up/login/bob", wrong);
    ck_call_as(400, f, "", "POST", "auth/up/login/bob", wrong);
    ck_call_as(403, f, "", "POST", "auth/up/login/bob", right);
    fixture_advance(f, 61);
    ck_call_as(200, f, "", "POST", "auth/up/login/bob", right);
    ck_call(204, f, "POST", "sys/auth/up/tune",
            "{\"user_lockout_config\":{\"lockout_disable\":true}}");
    uint64_t before = fixture_index(f);
    for (int i = 0; i < 3; i++) {
        ck_call_as(400, f, "", "POST", "auth/up/login/bob", wrong);
    }
    ck_assert_uint_eq(fixture_index(f), before);
    ck_call_as(200, f, "", "POST", "auth/up/login/bob", right);
    static const char *const bad[] = {
        "{\"user_lockout_config\":{\"lockout_threshold\":\"many\"}}",
        "{\"user_lockout_config\":{\"lockout_threshold\":-1}}",
        "{\"user_lockout_config\":{\"lockout_duration\":\"soon\"}}",
        "{\"user_lockout_config\":{\"lockout_disable\":7}}",
        "{\"user_lockout_config\":\"x\"}",
    };
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        int status = fixture_call(f, NULL, "POST", "sys/auth/up/tune", bad[i], NULL);
        ck_assert_msg(status == 400, "%s: %d", bad[i], status);
    }
}
END_TEST

TEST_MAIN("node/auth/userpass", lockout_alias, lockout_ends_with_a_login_or_an_operator,
          lockout_is_tuned, users, bad_users_are_refused, logins, renewals_ask_the_user)
