/* tests/unit/node/auth/test_approle.c: roles, secret-ids, logins and what limits them. */
#include "auth_help.h"

static struct fixture *with_role(const char *body)
{
    struct fixture *f = fixture_new();
    ck_call(204, f, "POST", "sys/auth/ar", "{\"type\":\"approle\"}");
    ck_call(204, f, "POST", "auth/ar/role/R", body);
    return f;
}

/* A secret-id into `to`, its accessor into `accessor`. */
static void make(struct fixture *f, const char *body, char *to, char *accessor)
{
    ck_call(200, f, "POST", "auth/ar/role/r/secret-id", body);
    keep(f, "data.secret_id", to);
    keep(f, "data.secret_id_accessor", accessor);
}

static int login(struct fixture *f, const char *secret)
{
    char role[TOKEN_TEXT], body[2 * TOKEN_TEXT + 64];
    ck_call(200, f, "GET", "auth/ar/role/r/role-id", NULL);
    keep(f, "data.role_id", role);
    (void)snprintf(body, sizeof(body), "{\"role_id\":\"%s\",\"secret_id\":\"%s\"}", role, secret);
    return fixture_call(f, "", "POST", "auth/ar/login", body, NULL);
}

static int with_field(struct fixture *f, const char *path, const char *field, const char *value)
{
    char body[TOKEN_TEXT + 512];
    (void)snprintf(body, sizeof(body), "{\"%s\":\"%s\"}", field, value);
    return fixture_call(f, NULL, "POST", path, body, NULL);
}

START_TEST(roles)
{
    CF_OWNED(fixture) f = with_role("{\"token_policies\":\"B,a\",\"secret_id_ttl\":\"1h\"}");
    ck_call(200, f, "GET", "auth/ar/role/r", NULL);
    ck_at(f, "data.token_policies", "[\"a\",\"b\"]");
    ck_at(f, "data.secret_id_ttl", "3600");
    ck_at(f, "data.bind_secret_id", "true");
    ck_at(f, "data.secret_id_bound_cidrs", "null");
    ck_at(f, "data.role_id", "");
    ck_at(f, "data.hmac_key", "");
    ck_call(200, f, "LIST", "auth/ar/role", NULL);
    ck_at(f, "data.keys", "[\"r\"]");
    static const char *const bad[] = {
        "{\"secret_id_num_uses\":-1}",
        "{\"secret_id_ttl\":\"-1h\"}",
        "{\"secret_id_bound_cidrs\":\"here\"}",
        "{\"bind_secret_id\":false}",
        "{\"local_secret_ids\":true}",
        "{\"token_type\":\"batch\",\"token_num_uses\":2}",
        "{\"token_ttl\":\"2h\",\"token_max_ttl\":\"1h\"}",
    };
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        int status = fixture_call(f, NULL, "POST", "auth/ar/role/r", bad[i], NULL);
        ck_assert_msg(status == 400, "%s: %d", bad[i], status);
    }
    ck_call(204, f, "POST", "auth/ar/role/r", "{\"role_id\":\"mine\"}");
    ck_call(400, f, "POST", "auth/ar/role/other", "{\"role_id\":\"mine\"}");
    ck_error(f, "role_id already in use");
    ck_call(404, f, "GET", "auth/ar/role/other", NULL);
    ck_call(204, f, "DELETE", "auth/ar/role/r", NULL);
    ck_call(204, f, "DELETE", "auth/ar/role/r", NULL);
    ck_call(404, f, "GET", "auth/ar/role/r", NULL);
    ck_call(404, f, "GET", "auth/ar/role/r/role-id", NULL);
    ck_call(204, f, "POST", "auth/ar/role/other", "{\"role_id\":\"mine\"}"); /* free again */
}
END_TEST

START_TEST(one_field_and_no_other)
{
    CF_OWNED(fixture) f = with_role("{\"token_policies\":\"a\",\"token_ttl\":\"5m\"}");
    static const struct {
        const char *path, *body, *member, *want, *reset;
    } fields[] = {
        {"policies", "{\"policies\":\"x,y\"}", "data.token_policies", "[\"x\",\"y\"]", "[]"},
        {"token-ttl", "{\"token_ttl\":60}", "data.token_ttl", "60", "0"},
        {"token-max-ttl", "{\"token_max_ttl\":\"2h\"}", "data.token_max_ttl", "7200", "0"},
        {"period", "{\"period\":\"1m\"}", "data.token_period", "60", "0"},
        {"token-num-uses", "{\"token_num_uses\":3}", "data.token_num_uses", "3", "0"},
        {"secret-id-num-uses", "{\"secret_id_num_uses\":4}", "data.secret_id_num_uses", "4", "0"},
        {"secret-id-ttl", "{\"secret_id_ttl\":9}", "data.secret_id_ttl", "9", "0"},
        {"token-bound-cidrs", "{\"token_bound_cidrs\":\"10.0.0.0/8\"}", "data.token_bound_cidrs",
         "[\"10.0.0.0/8\"]", "[]"},
        {"secret-id-bound-cidrs", "{\"secret_id_bound_cidrs\":[\"::1\"]}",
         "data.secret_id_bound_cidrs", "[\"::1\"]", "null"},
        {"bound-cidr-list", "{\"bound_cidr_list\":[\"::1\"]}", "data.bound_cidr_list", "[\"::1\"]",
         "null"},
    };
    char path[128];
    for (size_t i = 0; i < CF_LENGTH(fields); i++) {
        (void)snprintf(path, sizeof(path), "auth/ar/role/r/%s", fields[i].path);
        ck_call(204, f, "POST", path, fields[i].body);
        ck_call(200, f, "GET", path, NULL);
        ck_at(f, fields[i].member, fields[i].want);
        ck_call(400, f, "POST", path, "{}");
        ck_call(204, f, "DELETE", path, NULL);
        ck_call(200, f, "GET", path, NULL);
        ck_at(f, fields[i].member, fields[i].reset);
    }
    /* Who may change a TTL does not change the policies by the way. */
    ck_call(204, f, "POST", "auth/ar/role/r/token-ttl",
            "{\"token_ttl\":7,\"token_policies\":\"root\"}");
    ck_call(200, f, "GET", "auth/ar/role/r", NULL);
    ck_at(f, "data.token_policies", "[]");
    ck_at(f, "data.token_ttl", "7");
    ck_call(400, f, "POST", "auth/ar/role/r/bind-secret-id", "{\"bind_secret_id\":false}");
    ck_call(404, f, "POST", "auth/ar/role/none/token-ttl", "{\"token_ttl\":7}");
    ck_call(405, f, "POST", "auth/ar/role/r/local-secret-ids", "{\"local_secret_ids\":true}");
}
END_TEST

START_TEST(logins)
{
    CF_OWNED(fixture) f = with_role("{\"token_policies\":\"a\",\"token_ttl\":\"10m\"}");
    char secret[TOKEN_TEXT], accessor[TOKEN_TEXT], token[TOKEN_TEXT];
    make(f, "{\"metadata\":\"{\\\"k\\\":\\\"v\\\"}\"}", secret, accessor);
    uint64_t before = fixture_index(f);
    ck_assert_int_eq(login(f, secret), 200);
    ck_assert_uint_eq(fixture_index(f), before + 1);
    ck_at(f, "auth.policies", "[\"a\",\"default\"]");
    ck_at(f, "auth.metadata.role_name", "r");
    ck_at(f, "auth.metadata.k", "v");
    ck_at(f, "auth.lease_duration", "600");
    keep(f, "auth.client_token", token);
    before = fixture_index(f);
    ck_assert_int_eq(login(f, "wrong"), 400);
    ck_error(f, "invalid role or secret ID");
    ck_call_as(400, f, "", "POST", "auth/ar/login", "{\"role_id\":\"no\",\"secret_id\":\"no\"}");
    ck_error(f, "invalid role or secret ID");
    ck_call_as(400, f, "", "POST", "auth/ar/login", "{}");
    ck_assert_uint_eq(fixture_index(f), before + 1); /* the failure is counted */
    ck_call_as(200, f, token, "POST", "auth/token/renew-self", "{}");
    ck_call(204, f, "DELETE", "auth/ar/role/r", NULL);
    ck_call_as(400, f, token, "POST", "auth/token/renew-self", "{}");
    /* A role of the same name and role-id knows none of the old secret-ids. */
    ck_call(204, f, "POST", "auth/ar/role/r", "{}");
    ck_assert_int_eq(login(f, secret), 400);
    ck_call(204, f, "POST", "auth/ar/role/r", "{\"token_type\":\"batch\"}");
    make(f, "{}", secret, accessor);
    ck_assert_int_eq(login(f, secret), 200);
    ck_at(f, "auth.token_type", "batch");
}
END_TEST

/* The use is spent by the entry that makes the token; the last one takes the secret-id along. */
START_TEST(counted_uses)
{
    CF_OWNED(fixture) f = with_role("{\"secret_id_num_uses\":2}");
    char secret[TOKEN_TEXT], accessor[TOKEN_TEXT];
    ck_call(400, f, "POST", "auth/ar/role/r/secret-id", "{\"num_uses\":3}");
    ck_call(400, f, "POST", "auth/ar/role/r/secret-id", "{\"num_uses\":0}");
    ck_call(400, f, "POST", "auth/ar/role/r/secret-id", "{\"num_uses\":-1}");
    make(f, "{}", secret, accessor);
    uint64_t before = fixture_index(f);
    ck_assert_int_eq(login(f, secret), 200);
    ck_assert_uint_eq(fixture_index(f), before + 1);
    ck_assert_int_eq(with_field(f, "auth/ar/role/r/secret-id/lookup", "secret_id", secret), 200);
    ck_at(f, "data.secret_id_num_uses", "1");
    ck_assert_int_eq(login(f, secret), 200);
    ck_assert_uint_eq(fixture_index(f), before + 2);
    ck_assert_int_eq(login(f, secret), 400);
    ck_call(404, f, "LIST", "auth/ar/role/r/secret-id", NULL);
}
END_TEST

START_TEST(an_ended_secret_id_never_logs_in)
{
    CF_OWNED(fixture) f = with_role("{\"secret_id_ttl\":\"1h\"}");
    char secret[TOKEN_TEXT], accessor[TOKEN_TEXT], other[TOKEN_TEXT];
    ck_call(400, f, "POST", "auth/ar/role/r/secret-id", "{\"ttl\":\"2h\"}");
    make(f, "{\"ttl\":\"10m\"}", secret, accessor);
    ck_at(f, "data.secret_id_ttl", "600");
    make(f, "{}", other, accessor);
    ck_at(f, "data.secret_id_ttl", "3600");
    fixture_advance(f, 599);
    ck_assert_int_eq(login(f, secret), 200);
    fixture_advance(f, 2);
    ck_assert_int_eq(login(f, secret), 400);
    ck_error(f, "invalid role or secret ID");
    ck_assert_int_eq(with_field(f, "auth/ar/role/r/secret-id/lookup", "secret_id", secret), 204);
    ck_assert_int_eq(login(f, other), 200);
    ck_call(200, f, "LIST", "auth/ar/role/r/secret-id", NULL);
    ck_assert_str_ne(fixture_at(f, "data.keys.1"), ""); /* until it is tidied up */
    ck_call(202, f, "POST", "auth/ar/tidy/secret-id", "{}");
    ck_assert_str_ne(fixture_at(f, "warnings.0"), "");
    ck_call(200, f, "LIST", "auth/ar/role/r/secret-id", NULL);
    ck_at(f, "data.keys.0", accessor);
    ck_at(f, "data.keys.1", "");
    ck_assert_int_eq(login(f, other), 200);
}
END_TEST

/* Given anew after its end, a chosen secret-id is not what tidy looks for. */
START_TEST(a_custom_secret_id_again)
{
    CF_OWNED(fixture) f = with_role("{\"secret_id_ttl\":\"1h\"}");
    ck_call(200, f, "POST", "auth/ar/role/r/custom-secret-id", "{\"secret_id\":\"mine\"}");
    ck_call(400, f, "POST", "auth/ar/role/r/custom-secret-id", "{\"secret_id\":\"mine\"}");
    ck_error(f, "already registered");
    ck_call(400, f, "POST", "auth/ar/role/r/custom-secret-id", "{}");
    fixture_advance(f, 3601);
    ck_assert_int_eq(login(f, "mine"), 400);
    ck_call(200, f, "POST", "auth/ar/role/r/custom-secret-id", "{\"secret_id\":\"mine\"}");
    ck_call(202, f, "POST", "auth/ar/tidy/secret-id", "{}");
    ck_assert_int_eq(login(f, "mine"), 200);
    ck_call(200, f, "LIST", "auth/ar/role/r/secret-id", NULL);
    ck_at(f, "data.keys.1", "");
}
END_TEST

START_TEST(accessors)
{
    CF_OWNED(fixture) f = with_role("{}");
    char secret[TOKEN_TEXT], accessor[TOKEN_TEXT];
    static const char look[] = "auth/ar/role/r/secret-id-accessor/lookup";
    static const char end[] = "auth/ar/role/r/secret-id-accessor/destroy";
    make(f, "{}", secret, accessor);
    ck_assert_int_eq(with_field(f, look, "secret_id_accessor", accessor), 200);
    ck_at(f, "data.secret_id_accessor", accessor);
    ck_at(f, "data.expiration_time", "0001-01-01T00:00:00Z");
    ck_assert_int_eq(with_field(f, look, "secret_id_accessor", "none"), 404);
    ck_assert_int_eq(with_field(f, end, "secret_id_accessor", accessor), 204);
    ck_assert_int_eq(with_field(f, end, "secret_id_accessor", accessor), 404);
    ck_assert_int_eq(login(f, secret), 400);
    make(f, "{}", secret, accessor);
    static const char destroy[] = "auth/ar/role/r/secret-id/destroy";
    ck_assert_int_eq(with_field(f, destroy, "secret_id", secret), 204);
    ck_assert_int_eq(with_field(f, destroy, "secret_id", secret), 204);
    ck_assert_int_eq(with_field(f, look, "secret_id_accessor", accessor), 404);
}
END_TEST

START_TEST(networks)
{
    CF_OWNED(fixture) f = with_role("{\"secret_id_bound_cidrs\":\"127.0.0.0/8,10.0.0.0/8\","
                                    "\"token_bound_cidrs\":\"127.0.0.0/8\"}");
    char secret[TOKEN_TEXT], accessor[TOKEN_TEXT], token[TOKEN_TEXT];
    ck_call(400, f, "POST", "auth/ar/role/r/secret-id", "{\"cidr_list\":\"11.0.0.0/8\"}");
    ck_call(400, f, "POST", "auth/ar/role/r/secret-id", "{\"cidr_list\":\"0.0.0.0/0\"}");
    ck_call(400, f, "POST", "auth/ar/role/r/secret-id", "{\"token_bound_cidrs\":\"10.0.0.1\"}");
    ck_call(400, f, "POST", "auth/ar/role/r/secret-id", "{\"metadata\":\"[1]\"}");
    ck_call(400, f, "POST", "auth/ar/role/r/secret-id", "{\"metadata\":\"{\\\"a\\\":1}\"}");
    make(f, "{\"cidr_list\":\"10.1.0.0/16\"}", secret, accessor);
    ck_assert_int_eq(login(f, secret), 400);
    ck_error(f, "CIDR restrictions on the secret ID");
    make(f, "{\"cidr_list\":\"127.0.0.1\",\"token_bound_cidrs\":\"127.5.0.0/16\"}", secret,
         accessor);
    ck_assert_int_eq(login(f, secret), 200);
    keep(f, "auth.client_token", token);
    ck_call_as(403, f, token, "GET", "auth/token/lookup-self", NULL); /* not from here */
    ck_call(204, f, "POST", "auth/ar/role/r/secret-id-bound-cidrs",
            "{\"secret_id_bound_cidrs\":\"10.0.0.0/8\"}");
    ck_assert_int_eq(login(f, secret), 400);
    ck_error(f, "CIDR restrictions on the role");
    ck_call(204, f, "POST", "auth/ar/role/r", "{\"bind_secret_id\":false,"
                                              "\"secret_id_bound_cidrs\":\"127.0.0.1\"}");
    ck_assert_int_eq(login(f, ""), 200);
    ck_call(400, f, "POST", "auth/ar/role/r/secret-id", "{}");
    ck_error(f, "bind_secret_id is not set");
}
END_TEST

START_TEST(local_secret_ids)
{
    CF_OWNED(fixture) f = with_role("{\"local_secret_ids\":true,\"secret_id_num_uses\":1}");
    char secret[TOKEN_TEXT], accessor[TOKEN_TEXT];
    ck_call(200, f, "GET", "auth/ar/role/r/local-secret-ids", NULL);
    ck_at(f, "data.local_secret_ids", "true");
    make(f, "{\"ttl\":\"1m\"}", secret, accessor);
    ck_assert_int_eq(login(f, secret), 200);
    ck_assert_int_eq(login(f, secret), 400);
    make(f, "{\"ttl\":\"1m\"}", secret, accessor);
    fixture_advance(f, 61);
    ck_call(202, f, "POST", "auth/ar/tidy/secret-id", "{}");
    ck_call(404, f, "LIST", "auth/ar/role/r/secret-id", NULL);
}
END_TEST

TEST_MAIN("node/auth/approle", roles, one_field_and_no_other, logins, counted_uses,
          an_ended_secret_id_never_logs_in, a_custom_secret_id_again, accessors, networks,
          local_secret_ids)
