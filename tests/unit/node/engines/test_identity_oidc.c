/* tests/unit/node/engines/test_identity_oidc.c: identity tokens: keys, roles, claims, rotation, checking. */
#include "node/format/encode.h"
#include "tests/lib/core_fixture.h"
#include "tests/lib/test.h"

static struct fixture *f;
static char token[128], entity[80];

static void keep(const char *at, char *to, size_t room)
{
    const char *text = fixture_at(f, at);
    ck_assert_uint_lt(strlen(text), room);
    memcpy(to, text, strlen(text) + 1);
}

#define ck_as(want, token, operation, path, body)                                                  \
    do {                                                                                           \
        int got_ = fixture_call(f, (token), (operation), (path), (body), NULL);                    \
        ck_assert_msg(got_ == (want), "%s %s: %d, error \"%s\"", (operation), (path), got_,        \
                      fixture_at(f, "errors.0"));                                                  \
    } while (0)
#define ck_call(want, operation, path, body) ck_as(want, NULL, operation, path, body)
#define ck_at(path, want) ck_assert_str_eq(fixture_at(f, (path)), (want))

static void set_up(void)
{
    fixture_free(f);
    f = fixture_new();
    ck_call(204, "POST", "sys/auth/u", "{\"type\":\"userpass\"}");
    ck_call(204, "POST", "auth/u/users/bob", "{\"password\":\"p\",\"token_policies\":\"t\"}");
    ck_call(204, "POST", "sys/policies/acl/t",
            "{\"policy\":\"path \\\"identity/oidc/token/*\\\" { capabilities = [\\\"read\\\"] }\"}");
    ck_as(200, "", "POST", "auth/u/login/bob", "{\"password\":\"p\"}");
    keep("auth.client_token", token, sizeof(token));
    keep("auth.entity_id", entity, sizeof(entity));
    ck_call(204, "POST", "identity/oidc/key/k",
            "{\"algorithm\":\"ES256\",\"allowed_client_ids\":[\"*\"],\"rotation_period\":\"1h\","
            "\"verification_ttl\":\"2h\"}");
    ck_call(204, "POST", "identity/oidc/role/r", "{\"key\":\"k\",\"ttl\":\"3h\"}");
}

static void fetch(char jwt[4096])
{
    ck_as(200, token, "GET", "identity/oidc/token/r", NULL);
    keep("data.token", jwt, 4096);
}

static void ck_active(const char *jwt, const char *want)
{
    char body[4608];
    (void)snprintf(body, sizeof(body), "{\"token\":\"%s\"}", jwt);
    ck_call(200, "POST", "identity/oidc/introspect", body);
    ck_at("active", want);
}

/* The claims of a token, as text. */
static void claims(const char *jwt, char to[4096])
{
    CF_BUF(bytes) = {0};
    struct cf_slice rest = cf_slice_str(jwt);
    rest = cf_slice_from(rest, cf_slice_find(rest, '.') + 1);
    ck_ok(encode_base64url_decode(&bytes, cf_slice_first(rest, cf_slice_find(rest, '.')), NULL));
    (void)snprintf(to, 4096, "%.*s", CF_SHOW(cf_buf_slice(&bytes)));
}

START_TEST(a_token_says_who)
{
    char jwt[4096], text[4096], want[128];
    set_up();
    fetch(jwt);
    claims(jwt, text);
    (void)snprintf(want, sizeof(want), "\"sub\":\"%s\"", entity);
    ck_assert_ptr_nonnull(strstr(text, want));
    ck_assert_ptr_nonnull(strstr(text, "\"iss\":\"/v1/identity/oidc\""));
    ck_assert_ptr_nonnull(strstr(text, "\"namespace\":\"root\""));
    ck_active(jwt, "true");
    ck_active("junk", "false");
    ck_active("a.b.c", "false");
    jwt[strlen(jwt) - 3] = jwt[strlen(jwt) - 3] == 'A' ? 'B' : 'A';
    ck_active(jwt, "false");
    fetch(jwt);
    fixture_advance(f, 3 * 3600 + 1);
    ck_active(jwt, "false");
    /* root has no entity */
    ck_call(400, "GET", "identity/oidc/token/r", NULL);
    ck_as(400, token, "GET", "identity/oidc/token/none", NULL);
}
END_TEST

START_TEST(keys_rotate_and_count_on)
{
    char first[4096], second[4096];
    set_up();
    fetch(first);
    uint64_t before = fixture_index(f);
    fetch(second);
    ck_assert_uint_eq(fixture_index(f), before); /* nothing to rotate: nothing is written */
    ck_as(200, "", "GET", "identity/oidc/.well-known/keys", NULL);
    ck_at("keys.0.kty", "EC");
    ck_at("keys.1.kty", "");
    fixture_advance(f, 3601);
    before = fixture_index(f);
    fetch(second); /* due: the token and the rotation are one entry */
    ck_assert_uint_eq(fixture_index(f), before + 1);
    ck_as(200, "", "GET", "identity/oidc/.well-known/keys", NULL);
    ck_at("keys.1.kty", "EC");
    ck_active(first, "true");
    ck_call(204, "POST", "identity/oidc/key/k/rotate", "{\"verification_ttl\":\"1s\"}");
    fixture_advance(f, 2);
    ck_active(second, "false"); /* its key is out of its time */
    ck_active(first, "true");
    ck_call(400, "DELETE", "identity/oidc/key/k", NULL);
    ck_call(204, "DELETE", "identity/oidc/role/r", NULL);
    ck_call(204, "DELETE", "identity/oidc/key/k", NULL);
    ck_active(first, "false");
    ck_as(200, "", "GET", "identity/oidc/.well-known/keys", NULL);
    ck_at("keys", "[]");
}
END_TEST

START_TEST(templates_of_claims)
{
    char jwt[4096], text[4096];
    set_up();
    char body[256];
    (void)snprintf(body, sizeof(body), "identity/entity/id/%s", entity);
    ck_call(204, "POST", body, "{\"metadata\":{\"team\":\"r\\\"ed\"},\"name\":\"Bob\"}");
    (void)snprintf(body, sizeof(body), "{\"name\":\"g.1\",\"member_entity_ids\":[\"%s\"]}", entity);
    ck_call(200, "POST", "identity/group", body);
    ck_call(204, "POST", "identity/oidc/role/r",
            "{\"template\":\"{\\\"name\\\": {{identity.entity.name}}, \\\"deep\\\": {\\\"m\\\": "
            "{{identity.entity.metadata}}, \\\"t\\\":{{ identity.entity.metadata.team }}}, \\\"g\\\": "
            "{{identity.entity.groups.names}}, \\\"nbf2\\\": {{time.now.plus.1h}}, \\\"none\\\": "
            "{{identity.entity.metadata.absent}}}\"}");
    fetch(jwt);
    claims(jwt, text);
    ck_assert_ptr_nonnull(strstr(text, "\"name\":\"Bob\""));
    ck_assert_ptr_nonnull(strstr(text, "\"t\":\"r\\\"ed\"")); /* a value cannot leave its quotes */
    ck_assert_ptr_nonnull(strstr(text, "\"m\":{\"team\":"));
    ck_assert_ptr_nonnull(strstr(text, "\"g\":[\"g.1\"]"));
    ck_assert_ptr_nonnull(strstr(text, "\"none\":\"\""));
    ck_active(jwt, "true");
    static const char *const bad[] = {"[]", "{\\\"sub\\\": \\\"x\\\"}", "{\\\"aud\\\": {{identity.entity.name}}}",
                                      "{{identity.entity.name}}", "{\\\"a\\\": {{nothing}}}",
                                      "{\\\"a\\\": {{time.now.plus.x}}}", "{"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        (void)snprintf(body, sizeof(body), "{\"template\":\"%s\"}", bad[i]);
        ck_call(400, "POST", "identity/oidc/role/r", body);
    }
}
END_TEST

START_TEST(what_keys_and_roles_refuse)
{
    set_up();
    ck_call(400, "POST", "identity/oidc/key/x", "{\"algorithm\":\"none\"}");
    ck_call(400, "POST", "identity/oidc/key/x", "{\"rotation_period\":\"10s\"}");
    ck_call(400, "POST", "identity/oidc/key/x",
            "{\"rotation_period\":\"1h\",\"verification_ttl\":\"11h\"}");
    ck_call(400, "POST", "identity/oidc/role/x", "{}");
    ck_call(400, "POST", "identity/oidc/key/none/rotate", NULL);
    ck_call(404, "GET", "identity/oidc/key/none", NULL);
    ck_call(404, "GET", "identity/oidc/role/none", NULL);
    /* a key that does not list the role's client id */
    ck_call(204, "POST", "identity/oidc/key/k", "{\"allowed_client_ids\":[\"other\"]}");
    ck_as(400, token, "GET", "identity/oidc/token/r", NULL);
    ck_call(204, "POST", "identity/oidc/role/r", "{\"client_id\":\"other\"}");
    ck_as(200, token, "GET", "identity/oidc/token/r", NULL);
    ck_at("data.client_id", "other");
    ck_call(400, "POST", "identity/oidc/config", "{\"issuer\":\"no url\"}");
    ck_call(400, "POST", "identity/oidc/config", "{\"issuer\":\"https://a/b\"}");
    ck_call(200, "POST", "identity/oidc/config", "{\"issuer\":\"https://id.example.com:1\"}");
    ck_as(200, "", "GET", "identity/oidc/.well-known/openid-configuration", NULL);
    ck_at("issuer", "https://id.example.com:1/v1/identity/oidc");
    ck_at("jwks_uri", "https://id.example.com:1/v1/identity/oidc/.well-known/keys");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_token_says_who, keys_rotate_and_count_on, templates_of_claims,
                                  what_keys_and_roles_refuse};
    int status = test_run("node/engines/identity_oidc", tests, sizeof(tests) / sizeof(tests[0]));
    fixture_free(f);
    return status;
}
