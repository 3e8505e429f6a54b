/* tests/unit/node/auth/test_token_create.c: who may make which tokens. */
#include "auth_help.h"

START_TEST(root_makes_root)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[TOKEN_TEXT];
    make_token(f, NULL, "{}", token);
    ck_at(f, "auth.policies", "[\"root\"]");
    ck_at(f, "auth.lease_duration", "0");
    ck_at(f, "auth.renewable", "false");
    ck_at(f, "auth.orphan", "false");
    ck_at(f, "auth.entity_id", "");
    ck_call_as(200, f, token, "GET", "auth/token/lookup-self", NULL);
    ck_at(f, "data.ttl", "0");
    ck_at(f, "data.expire_time", "null");
    ck_at(f, "data.display_name", "token");
    ck_at(f, "data.id", token);
    ck_at(f, "data.path", "auth/token/create");
    make_token(f, NULL, "{\"ttl\":\"1h\"}", token);
    ck_at(f, "auth.renewable", "true");
    ck_call_as(400, f, token, "POST", "auth/token/create", "{}");
    ck_error(f, "expiring root tokens cannot create non-expiring root tokens");
}
END_TEST

START_TEST(every_parameter)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[TOKEN_TEXT];
    make_token(f, NULL,
               "{\"policies\":[\"B\",\"a\",\" a \",\"b\"],\"meta\":{\"k\":\"v\"},\"ttl\":\"1h\","
               "\"display_name\":\"my name!\",\"num_uses\":7,\"no_parent\":true,"
               "\"explicit_max_ttl\":\"2h\",\"no_default_policy\":true,\"type\":\"service\"}",
               token);
    ck_at(f, "auth.policies", "[\"a\",\"b\"]");
    ck_at(f, "auth.metadata.k", "v");
    ck_at(f, "auth.orphan", "true");
    ck_at(f, "auth.num_uses", "7");
    ck_call(200, f, "POST", "auth/token/lookup", with("token", token));
    ck_at(f, "data.display_name", "token-my-name");
    ck_at(f, "data.explicit_max_ttl", "7200");
    ck_at(f, "data.creation_ttl", "3600");
    ck_at(f, "data.num_uses", "7");
    make_token(f, NULL, "{\"policies\":\"a,b\",\"lease\":\"5m\"}", token);
    ck_at(f, "auth.policies", "[\"a,b\",\"default\"]"); /* one name: not split */
    ck_at(f, "auth.lease_duration", "300");
}
END_TEST

START_TEST(refused_whole)
{
    CF_OWNED(fixture) f = fixture_new();
    static const struct {
        const char *body, *error;
    } cases[] = {
        {"{\"num_uses\":-1}", "number of uses cannot be negative"},
        {"{\"num_uses\":\"x\"}", "num_uses"},
        {"{\"ttl\":\"-1s\"}", "ttl must be positive"},
        {"{\"ttl\":\"soon\"}", "ttl"},
        {"{\"explicit_max_ttl\":-5}", "explicit_max_ttl"},
        {"{\"period\":\"-1h\"}", "period"},
        {"{\"meta\":[]}", "meta"},
        {"{\"meta\":{\"a\":1}}", "meta"},
        {"{\"type\":\"banana\"}", "invalid 'token_type' value"},
        {"{\"id\":\"s.ctown\"}", "'s.' prefix"},
        {"{\"id\":\"ct.own\"}", "'.' in the value"},
        {"{\"id\":\"with blank\"}", "visible ASCII"},
        {"{\"policies\":[\"response-wrapping\"]}", "cannot assign policy"},
        {"{\"policies\":{\"a\":1}}", "policies"},
        {"{\"entity_alias\":\"x\"}", "entity_alias"},
        {"{\"type\":\"batch\",\"period\":\"1h\"}", "batch tokens cannot have \"period\" set"},
        {"{\"type\":\"batch\",\"num_uses\":3}", "batch tokens cannot have \"num_uses\" set"},
        {"{\"type\":\"batch\",\"id\":\"x\"}", "batch tokens cannot have \"id\" set"},
        {"{\"type\":\"batch\",\"policies\":[\"root\"]}", "batch tokens cannot be root tokens"},
        {"{\"type\":\"batch\"}", "batch tokens cannot be root tokens"},
    };
    uint64_t index = fixture_index(f);
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        int status = fixture_call(f, NULL, "POST", "auth/token/create", cases[i].body, NULL);
        ck_assert_msg(status == 400, "%s: %d", cases[i].body, status);
        ck_error(f, cases[i].error);
    }
    ck_assert_uint_eq(fixture_index(f), index);
}
END_TEST

START_TEST(a_child_has_what_its_parent_has)
{
    CF_OWNED(fixture) f = fixture_new();
    char parent[TOKEN_TEXT], child[TOKEN_TEXT];
    make_policy(f, "maker", MAY_CREATE);
    make_token(f, NULL, "{\"policies\":[\"maker\"]}", parent);
    make_token(f, parent, "{\"policies\":[\"maker\"]}", child);
    ck_at(f, "auth.policies", "[\"default\",\"maker\"]");
    make_token(f, parent, "{\"policies\":[\"maker\"],\"no_default_policy\":true}", child);
    ck_at(f, "auth.policies", "[\"maker\"]");
    make_token(f, child, "{\"policies\":[\"maker\"]}", child);
    ck_at(f, "auth.policies", "[\"maker\"]"); /* its parent has no default */
    static const struct {
        const char *body, *error;
    } cases[] = {
        {"{\"policies\":[\"other\"]}", "child policies must be subset of parent"},
        {"{\"policies\":[\"root\"]}", "child policies must be subset of parent"},
        {"{\"policies\":[\"ROOT\"]}", "child policies must be subset of parent"},
        {"{\"no_parent\":true}", "root or sudo privileges required to create orphan token"},
        {"{\"id\":\"mine\"}", "root or sudo privileges required to specify token id"},
        {"{\"period\":\"1h\"}", "root or sudo privileges required to create periodic token"},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        ck_call_as(400, f, parent, "POST", "auth/token/create", cases[i].body);
        ck_error(f, cases[i].error);
    }
    ck_call_as(403, f, parent, "POST", "auth/token/create-orphan", "{}");
}
END_TEST

/* sudo on the path lets a token give policies that it does not have, but never root. */
START_TEST(sudo_gives_more_but_not_root)
{
    CF_OWNED(fixture) f = fixture_new();
    char boss[TOKEN_TEXT], child[TOKEN_TEXT];
    make_policy(f, "boss",
                "path \"auth/token/create\" { capabilities=[\"create\",\"update\",\"sudo\"] }");
    make_token(f, NULL, "{\"policies\":[\"boss\"]}", boss);
    make_token(f, boss, "{\"policies\":[\"other\"],\"no_parent\":true,\"period\":\"1h\"}", child);
    ck_at(f, "auth.policies", "[\"default\",\"other\"]");
    ck_at(f, "auth.orphan", "true");
    ck_call_as(400, f, boss, "POST", "auth/token/create", "{\"policies\":[\"root\"]}");
    ck_error(f, "root tokens may not be created without parent token being root");
}
END_TEST

START_TEST(an_own_id_is_taken_once)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[TOKEN_TEXT];
    make_token(f, NULL, "{\"id\":\"own-id\",\"policies\":[\"default\"]}", token);
    ck_assert_str_eq(token, "own-id");
    ck_call(400, f, "POST", "auth/token/create", "{\"id\":\"own-id\"}");
    ck_error(f, "cannot create a token with a duplicate ID");
    ck_call_as(200, f, "own-id", "GET", "auth/token/lookup-self", NULL);
}
END_TEST

START_TEST(counted_tokens_have_no_children)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[TOKEN_TEXT];
    make_token(f, NULL, "{\"num_uses\":5}", token);
    ck_call_as(400, f, token, "POST", "auth/token/create", "{}");
    ck_error(f, "restricted use token cannot generate child tokens");
    ck_call_as(200, f, token, "GET", "auth/token/lookup-self", NULL);
    ck_at(f, "data.num_uses", "3"); /* the refused request was a use as well */
}
END_TEST

START_TEST(uses_are_counted)
{
    CF_OWNED(fixture) f = fixture_new();
    char token[TOKEN_TEXT];
    make_token(f, NULL, "{\"num_uses\":3,\"policies\":[\"default\"]}", token);
    static const char *const left[] = {"2", "1", "0"};
    for (size_t i = 0; i < CF_LENGTH(left); i++) {
        ck_call_as(200, f, token, "GET", "auth/token/lookup-self", NULL);
        ck_at(f, "data.num_uses", left[i]);
    }
    ck_call_as(403, f, token, "GET", "auth/token/lookup-self", NULL);
    ck_call(403, f, "POST", "auth/token/lookup", with("token", token));
    ck_error(f, "bad token");
}
END_TEST

/* The token is its own record: it works, tells about itself and ends with parent, mount and time.
 */
START_TEST(batch_tokens)
{
    CF_OWNED(fixture) f = fixture_new();
    char maker[TOKEN_TEXT], token[TOKEN_TEXT];
    make_policy(f, "maker", MAY_CREATE);
    make_token(f, NULL, "{\"policies\":[\"maker\"]}", maker);
    make_token(f, maker, "{\"type\":\"batch\",\"ttl\":\"1h\",\"meta\":{\"k\":\"v\"}}", token);
    ck_assert(strncmp(token, "b.", 2) == 0);
    ck_at(f, "auth.accessor", "");
    ck_at(f, "auth.renewable", "false");
    ck_at(f, "auth.token_type", "batch");
    ck_call_as(200, f, token, "GET", "auth/token/lookup-self", NULL);
    ck_at(f, "data.type", "batch");
    ck_at(f, "data.policies", "[\"default\",\"maker\"]");
    ck_at(f, "data.meta.k", "v");
    ck_at(f, "data.id", token);
    ck_call_as(400, f, token, "POST", "auth/token/renew-self", "{}");
    ck_error(f, "batch tokens cannot be renewed");
    ck_call_as(400, f, token, "POST", "auth/token/revoke-self", "{}");
    ck_call(400, f, "POST", "auth/token/revoke", with("token", token));
    ck_error(f, "batch tokens cannot be revoked");
    ck_call_as(400, f, token, "POST", "auth/token/create", "{}");
    ck_error(f, "batch tokens cannot create more tokens");
    char *last = token + strlen(token) - 4;
    *last = *last == 'A' ? 'B' : 'A';
    ck_call_as(403, f, token, "GET", "auth/token/lookup-self", NULL);
    ck_call_as(403, f, "b.", "GET", "auth/token/lookup-self", NULL);
    make_token(f, maker, "{\"type\":\"batch\",\"ttl\":\"1h\"}", token);
    fixture_advance(f, 3601);
    ck_call_as(403, f, token, "GET", "auth/token/lookup-self", NULL);
    make_token(f, maker, "{\"type\":\"batch\",\"ttl\":\"1h\"}", token);
    ck_call(204, f, "POST", "auth/token/revoke", with("token", maker));
    ck_call_as(403, f, token, "GET", "auth/token/lookup-self", NULL);
}
END_TEST

START_TEST(a_missing_policy_and_an_unknown_field_draw_a_word)
{
    CF_OWNED(fixture) f = fixture_new();
    ck_call(200, f, "POST", "auth/token/create", "{\"policies\":[\"nowhere\"],\"bogus\":1}");
    ck_assert_ptr_nonnull(strstr(fixture_at(f, "warnings"), "\\\"nowhere\\\" does not exist"));
    ck_assert_ptr_nonnull(strstr(fixture_at(f, "warnings"), "bogus"));
}
END_TEST

TEST_MAIN("node/auth/token_create", root_makes_root, every_parameter, refused_whole,
          a_child_has_what_its_parent_has, sudo_gives_more_but_not_root, an_own_id_is_taken_once,
          counted_tokens_have_no_children, uses_are_counted, batch_tokens,
          a_missing_policy_and_an_unknown_field_draw_a_word)
