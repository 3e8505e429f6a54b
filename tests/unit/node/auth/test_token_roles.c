/* tests/unit/node/auth/test_token_roles.c: token roles and what tokens made by them may be. */
#include "auth_help.h"

START_TEST(write_read_list_delete)
{
    CF_OWNED(fixture) f = fixture_new();
    ck_call(404, f, "GET", "auth/token/roles/r", NULL);
    ck_call(404, f, "LIST", "auth/token/roles", NULL);
    ck_call(204, f, "POST", "auth/token/roles/r",
            "{\"allowed_policies\":\"b,A\",\"orphan\":true,\"renewable\":false,"
            "\"token_explicit_max_ttl\":\"1h\",\"path_suffix\":\"suf\"}");
    ck_call(204, f, "POST", "auth/token/roles/r", "{\"token_period\":\"10m\"}");
    ck_call(200, f, "GET", "auth/token/roles/r", NULL);
    ck_at(f, "data.allowed_policies", "[\"a\",\"b\"]");
    ck_at(f, "data.token_explicit_max_ttl", "3600");
    ck_at(f, "data.token_period", "600");
    ck_at(f, "data.explicit_max_ttl", "0");
    ck_at(f, "data.orphan", "true");
    ck_at(f, "data.renewable", "false");
    ck_at(f, "data.token_type", "default-service");
    ck_at(f, "data.name", "r");
    ck_call(200, f, "LIST", "auth/token/roles", NULL);
    ck_at(f, "data.keys", "[\"r\"]");
    ck_call(400, f, "POST", "auth/token/roles/r", "{\"path_suffix\":\"a/b\"}");
    ck_call(400, f, "POST", "auth/token/roles/r", "{\"token_bound_cidrs\":\"10.0.0.0/33\"}");
    ck_call(400, f, "POST", "auth/token/roles/r", "{\"token_type\":\"banana\"}");
    ck_call(400, f, "POST", "auth/token/roles/r", "{\"token_num_uses\":-1}");
    ck_call(204, f, "DELETE", "auth/token/roles/r", NULL);
    ck_call(204, f, "DELETE", "auth/token/roles/r", NULL);
    ck_call(400, f, "POST", "auth/token/create/r", "{}");
    ck_error(f, "unknown role r");
}
END_TEST

START_TEST(the_lists_decide)
{
    CF_OWNED(fixture) f = fixture_new();
    char maker[TOKEN_TEXT], token[TOKEN_TEXT];
    make_policy(f, "maker", "path \"auth/token/create/*\" { capabilities=[\"update\"] }");
    make_token(f, NULL, "{\"policies\":[\"maker\"]}", maker);
    ck_call(204, f, "POST", "auth/token/roles/r",
            "{\"allowed_policies\":[\"a\"],\"allowed_policies_glob\":[\"app-*\"],"
            "\"disallowed_policies\":[\"app-admin\"]}");
    ck_call_as(200, f, maker, "POST", "auth/token/create/r", "{\"policies\":[\"a\",\"app-x\"]}");
    ck_at(f, "auth.policies", "[\"a\",\"app-x\",\"default\"]");
    ck_call_as(200, f, maker, "POST", "auth/token/create/r", "{}");
    ck_at(f, "auth.policies", "[\"a\",\"default\"]");
    keep(f, "auth.client_token", token);
    ck_call_as(200, f, token, "GET", "auth/token/lookup-self", NULL);
    ck_at(f, "data.role", "r");
    ck_at(f, "data.path", "auth/token/create/r");
    static const char *const refused[] = {"zz", "app-admin", "root", "maker"};
    for (size_t i = 0; i < CF_LENGTH(refused); i++) {
        ck_call_as(400, f, maker, "POST", "auth/token/create/r", with("policies", refused[i]));
        ck_error(f, "token polic");
    }
    ck_call(204, f, "POST", "auth/token/roles/d", "{\"disallowed_policies\":[\"default\"]}");
    ck_call(200, f, "POST", "auth/token/create/d", "{\"policies\":[\"anything\"]}");
    ck_at(f, "auth.policies", "[\"anything\"]");
    ck_call_as(400, f, maker, "POST", "auth/token/create/d", "{\"policies\":[\"root\"]}");
}
END_TEST

START_TEST(limits_of_the_role)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[TOKEN_TEXT];
    ck_call(204, f, "POST", "auth/token/roles/r",
            "{\"allowed_policies\":[\"a\"],\"token_explicit_max_ttl\":\"1h\",\"orphan\":true,"
            "\"token_num_uses\":9,\"path_suffix\":\"suf\"}");
    ck_call(200, f, "POST", "auth/token/create/r", "{\"num_uses\":20}");
    ck_at(f, "auth.lease_duration", "3600");
    ck_at(f, "auth.orphan", "true");
    ck_at(f, "auth.num_uses", "9");
    ck_assert_str_ne(fixture_at(f, "warnings.0"), "");
    keep(f, "auth.client_token", token);
    ck_call(200, f, "POST", "auth/token/lookup", with("token", token));
    ck_at(f, "data.explicit_max_ttl", "0");
    ck_at(f, "data.path", "auth/token/create/r/suf");
    fixture_advance(f, 600);
    ck_call(200, f, "POST", "auth/token/renew", with("token", token));
    int left = atoi(fixture_at(f, "auth.lease_duration"));
    ck_assert_msg(left >= 2990 && left <= 3000, "%d", left);
    ck_call(204, f, "DELETE", "auth/token/roles/r", NULL);
    ck_call(400, f, "POST", "auth/token/renew", with("token", token));
    ck_error(f, "could not be found, not renewing");
}
END_TEST

/* The fixture's requests come from 127.0.0.1. */
START_TEST(networks_are_kept)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[TOKEN_TEXT];
    static const struct {
        const char *networks;
        int want;
    } cases[] = {
        {"10.0.0.0/8", 403}, {"127.0.0.0/8", 200}, {"10.0.0.1,127.0.0.1", 200}, {"::/0", 403},
        {"0.0.0.0/0", 200},  {"127.0.0.2", 403},   {"::ffff:127.0.0.1", 200}};
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        ck_call(204, f, "POST", "auth/token/roles/n", with("token_bound_cidrs", cases[i].networks));
        ck_call(200, f, "POST", "auth/token/create/n", "{\"policies\":[\"default\"]}");
        keep(f, "auth.client_token", token);
        ck_call_as(cases[i].want, f, token, "GET", "auth/token/lookup-self", NULL);
    }
    ck_call(204, f, "POST", "auth/token/roles/n", with("token_bound_cidrs", "10.0.0.0/8"));
    ck_call(200, f, "POST", "auth/token/create/n", "{\"policies\":[\"root\"]}");
    keep(f, "auth.client_token", token);
    ck_call_as(200, f, token, "GET", "auth/token/lookup-self", NULL); /* root without an end */
    ck_call(204, f, "POST", "auth/token/roles/n", "{\"token_type\":\"batch\"}");
    ck_call(200, f, "POST", "auth/token/create/n",
            "{\"policies\":[\"default\"],\"type\":\"service\"}");
    ck_at(f, "auth.token_type", "batch"); /* the role decides */
    keep(f, "auth.client_token", token);
    ck_call_as(403, f, token, "GET", "auth/token/lookup-self", NULL);
}
END_TEST

/* The token belongs to the entity of the alias that was named, as if that had logged in. */
START_TEST(a_token_for_an_alias)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[TOKEN_TEXT], entity[TOKEN_TEXT], path[TOKEN_TEXT + 32];
    make_policy(f, "p", "path \"sys/mounts\" { capabilities=[\"read\"] }");
    ck_call(204, f, "POST", "auth/token/roles/r",
            "{\"allowed_entity_aliases\":[\"Web-*\",\"api\"],\"allowed_policies\":[\"default\"]}");
    ck_call(200, f, "POST", "auth/token/create/r", "{\"entity_alias\":\"web-1\"}");
    keep(f, "auth.client_token", token);
    keep(f, "auth.entity_id", entity);
    ck_call_as(200, f, token, "GET", "auth/token/lookup-self", NULL);
    ck_at(f, "data.entity_id", entity);
    ck_call(200, f, "POST", "auth/token/create/r", "{\"entity_alias\":\"WEB-1\"}"); /* one alias in any spelling */
    ck_at(f, "auth.entity_id", entity);
    ck_call(200, f, "POST", "auth/token/create/r", "{\"entity_alias\":\"API\",\"type\":\"batch\",\"ttl\":\"1h\"}");
    ck_assert_str_ne(fixture_at(f, "auth.entity_id"), entity);
    ck_assert_str_ne(fixture_at(f, "auth.entity_id"), "");
    uint64_t index = fixture_index(f);
    ck_call(400, f, "POST", "auth/token/create/r", "{\"entity_alias\":\"other\"}");
    ck_error(f, "the role does not allow it");
    ck_call(400, f, "POST", "auth/token/create", "{\"entity_alias\":\"web-1\"}");
    ck_error(f, "only allowed in combination with token role");
    ck_assert_uint_eq(fixture_index(f), index);
    snprintf(path, sizeof(path), "identity/entity/id/%s", entity);
    ck_call(200, f, "GET", path, NULL);
    ck_at(f, "data.aliases.0.name", "web-1");
    ck_at(f, "data.aliases.0.mount_type", "token");
    ck_call_as(403, f, token, "GET", "sys/mounts", NULL);
    ck_call(204, f, "POST", path, "{\"policies\":[\"p\"]}");
    ck_call_as(200, f, token, "GET", "sys/mounts", NULL); /* what the entity may, its token may */
    ck_call(204, f, "POST", path, "{\"disabled\":true}");
    ck_call_as(403, f, token, "GET", "auth/token/lookup-self", NULL);
    ck_call(403, f, "POST", "auth/token/create/r", "{\"entity_alias\":\"web-1\"}");
}
END_TEST

TEST_MAIN("node/auth/token_roles", write_read_list_delete, the_lists_decide, limits_of_the_role,
          networks_are_kept, a_token_for_an_alias)
