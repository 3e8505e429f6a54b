/* tests/unit/node/core/test_sys.c: sys/ through the whole frame: mounts, auth methods, policies,
 * capabilities, tools. */
#include <stdlib.h>

#include "tests/lib/core_fixture.h"
#include "tests/lib/test.h"

static struct fixture *f;

static int call(const char *operation, const char *path, const char *body)
{
    return fixture_call(f, NULL, operation, path, body, NULL);
}

#define ck_call(want, operation, path, body)                                                       \
    do {                                                                                           \
        int got_ = call((operation), (path), (body));                                              \
        ck_assert_msg(got_ == (want), "%s %s: %d, error \"%s\"", (operation), (path), got_,        \
                      fixture_at(f, "errors.0"));                                                  \
    } while (0)
#define ck_refused(text, operation, path, body)                                                    \
    do {                                                                                           \
        ck_call(400, operation, path, body);                                                       \
        ck_assert_msg(fixture_error_has(f, (text)), "%s %s: \"%s\"", (operation), (path),          \
                      fixture_at(f, "errors.0"));                                                  \
    } while (0)
#define ck_at(path, want) ck_assert_str_eq(fixture_at(f, (path)), (want))

/* A token of the policies (a JSON list), kept in `to`. */
static void make_token(const char *policies, char to[128])
{
    char body[256];
    snprintf(body, sizeof(body), "{\"policies\":%s,\"ttl\":\"1h\"}", policies);
    ck_call(200, "POST", "auth/token/create", body);
    snprintf(to, 128, "%s", fixture_at(f, "auth.client_token"));
}

/* ---- mounts ---- */

START_TEST(fixed_mounts)
{
    ck_call(200, "GET", "sys/mounts", NULL);
    ck_at("data.sys/.type", "system");
    ck_at("data.sys/.seal_wrap", "true");
    ck_at("data.sys/.options", "null");
    ck_at("data.sys/.config.passthrough_request_headers.0", "Accept");
    ck_at("data.cubbyhole/.local", "true");
    ck_at("sys/.type", "system"); /* for old clients */
    ck_at("data.token/.type", "");
    ck_call(200, "GET", "sys/auth", NULL);
    ck_at("data.token/.type", "token");
    ck_at("data.token/.config.token_type", "default-service");
    ck_refused("cannot unmount \"sys/\"", "DELETE", "sys/mounts/sys", NULL);
    ck_refused("cannot unmount", "DELETE", "sys/mounts/auth/token", NULL);
    ck_refused("token credential backend cannot be disabled", "DELETE", "sys/auth/token", NULL);
}
END_TEST

START_TEST(enable_read_disable)
{
    ck_call(204, "POST", "sys/mounts/a", "{\"type\":\"kv\",\"description\":\"first\"}");
    ck_call(200, "GET", "sys/mounts/a", NULL);
    ck_at("data.type", "kv");
    ck_at("data.description", "first");
    ck_at("data.options", "{}");
    ck_at("data.config.default_lease_ttl", "0");
    ck_call(204, "PUT", "a/x", "{\"v\":\"1\"}");
    ck_call(204, "DELETE", "sys/mounts/a", NULL);
    ck_call(204, "DELETE", "sys/mounts/a", NULL);
    ck_refused("No secret engine mount at a/", "GET", "sys/mounts/a", NULL);
    ck_call(404, "GET", "a/x", NULL);
    ck_call(204, "POST", "sys/mounts/a", "{\"type\":\"kv\"}");
    ck_call(404, "GET", "a/x", NULL); /* the data went with the mount */
    ck_assert(fixture_at(f, "errors.0")[0] == '\0');
    ck_call(204, "DELETE", "sys/mounts/a", NULL);
}
END_TEST

START_TEST(paths_that_are_taken)
{
    ck_call(204, "POST", "sys/mounts/p/one", "{\"type\":\"kv\"}");
    ck_refused("path is already in use at p/one/", "POST", "sys/mounts/p/one", "{\"type\":\"kv\"}");
    ck_refused("path is already in use at p/one/", "POST", "sys/mounts/p", "{\"type\":\"kv\"}");
    ck_refused("path is already in use at p/one/", "POST", "sys/mounts/p/one/x",
               "{\"type\":\"kv\"}");
    ck_call(204, "POST", "sys/mounts/p/two", "{\"type\":\"kv\"}");
    ck_refused("cannot mount \"sys/\"", "POST", "sys/mounts/sys", "{\"type\":\"kv\"}");
    ck_refused("cannot mount \"auth/\"", "POST", "sys/mounts/auth", "{\"type\":\"kv\"}");
    ck_refused("cannot mount \"auth/x/\"", "POST", "sys/mounts/auth/x", "{\"type\":\"kv\"}");
    ck_refused("backend type must be specified", "POST", "sys/mounts/x", "{}");
    ck_refused("plugin not found in the catalog: nope", "POST", "sys/mounts/x",
               "{\"type\":\"nope\"}");
    ck_refused("mount type of \"cubbyhole\" is not mountable", "POST", "sys/mounts/x",
               "{\"type\":\"cubbyhole\"}");
    ck_refused("plugin not found in the catalog: kv", "POST", "sys/auth/x", "{\"type\":\"kv\"}");
    ck_refused("path is already in use at token/", "POST", "sys/auth/token",
               "{\"type\":\"userpass\"}");
    ck_call(204, "DELETE", "sys/mounts/p/one", NULL);
    ck_call(204, "DELETE", "sys/mounts/p/two", NULL);
}
END_TEST

START_TEST(config_and_tuning)
{
    ck_call(204, "POST", "sys/mounts/t",
            "{\"type\":\"kv\",\"config\":{\"default_lease_ttl\":\"5m\",\"max_lease_ttl\":3600,"
            "\"force_no_cache\":true,\"listing_visibility\":\"hidden\"}}");
    ck_call(200, "GET", "sys/mounts/t", NULL);
    ck_at("data.config.default_lease_ttl", "300");
    ck_at("data.config.listing_visibility", "hidden");
    ck_call(200, "GET", "sys/mounts/t/tune", NULL);
    ck_at("data.max_lease_ttl", "3600");
    ck_call(204, "POST", "sys/mounts/t/tune",
            "{\"default_lease_ttl\":\"system\",\"description\":\"new\","
            "\"audit_non_hmac_request_keys\":[\"a\",\"b\"],\"allowed_response_headers\":\"X,Y\"}");
    ck_call(200, "GET", "sys/mounts/t/tune", NULL);
    ck_at("data.default_lease_ttl", "2764800"); /* the server's */
    ck_at("data.description", "new");
    ck_at("data.audit_non_hmac_request_keys", "[\"a\",\"b\"]");
    ck_at("data.allowed_response_headers", "[\"X\",\"Y\"]");
    ck_refused("backend max lease TTL of 3600 would be less", "POST", "sys/mounts/t/tune",
               "{\"default_lease_ttl\":\"10h\"}");
    ck_refused("invalid listing_visibility banana", "POST", "sys/mounts/t/tune",
               "{\"listing_visibility\":\"banana\"}");
    ck_refused("", "POST", "sys/mounts/t/tune", "{\"default_lease_ttl\":\"junk\"}");
    ck_refused("'token_type' can only be modified on auth mounts", "POST", "sys/mounts/t/tune",
               "{\"token_type\":\"batch\"}");
    ck_refused("no mount entry found", "POST", "sys/mounts/no/tune", "{\"description\":\"x\"}");
    ck_refused("cannot fetch sysview for path \"no/\"", "GET", "sys/mounts/no/tune", NULL);
    ck_refused(
        "greater than given max", "POST", "sys/mounts/t2",
        "{\"type\":\"kv\",\"config\":{\"default_lease_ttl\":\"2h\",\"max_lease_ttl\":\"1h\"}}");
    ck_refused("greater than system max lease TTL of 2764800", "POST", "sys/mounts/t2",
               "{\"type\":\"kv\",\"config\":{\"default_lease_ttl\":\"900000h\"}}");
    ck_call(405, "DELETE", "sys/mounts/t/tune", NULL);
    ck_call(204, "DELETE", "sys/mounts/t", NULL);
}
END_TEST

START_TEST(auth_methods)
{
    char token[128];
    ck_call(204, "POST", "sys/auth/up", "{\"type\":\"userpass\",\"description\":\"people\"}");
    ck_call(200, "GET", "sys/auth/up", NULL);
    ck_at("data.config.token_type", "default-service");
    ck_call(204, "POST", "sys/auth/up/tune",
            "{\"default_lease_ttl\":\"10m\",\"token_type\":\"service\"}");
    ck_call(200, "GET", "sys/mounts/auth/up/tune", NULL);
    ck_at("data.default_lease_ttl", "600");
    ck_at("data.token_type", "service");
    ck_refused("invalid value for 'token_type'", "POST", "sys/auth/up/tune",
               "{\"token_type\":\"junk\"}");
    ck_refused("cannot be set for 'token'", "POST", "sys/auth/token/tune",
               "{\"token_type\":\"batch\"}");
    ck_call(204, "POST", "auth/up/users/u", "{\"password\":\"p\"}");
    ck_assert_int_eq(fixture_call(f, "", "POST", "auth/up/login/u", "{\"password\":\"p\"}", NULL),
                     200);
    snprintf(token, sizeof(token), "%s", fixture_at(f, "auth.client_token"));
    ck_assert_int_eq(fixture_call(f, token, "GET", "auth/token/lookup-self", NULL, NULL), 200);
    /* Not through the path that asks for no sudo. */
    ck_refused("cannot unmount", "DELETE", "sys/mounts/auth/up", NULL);
    ck_call(204, "DELETE", "sys/auth/up", NULL);
    ck_assert_int_eq(fixture_call(f, token, "GET", "auth/token/lookup-self", NULL, NULL), 403);
    ck_refused("No auth engine at up/", "GET", "sys/auth/up", NULL);
}
END_TEST

START_TEST(remount)
{
    char status[128];
    ck_call(204, "POST", "sys/mounts/r1", "{\"type\":\"kv\"}");
    ck_call(204, "PUT", "r1/a", "{\"v\":\"1\"}");
    ck_call(200, "POST", "sys/remount", "{\"from\":\"r1\",\"to\":\"r2\"}");
    snprintf(status, sizeof(status), "sys/remount/status/%s", fixture_at(f, "data.migration_id"));
    ck_call(200, "GET", status, NULL);
    ck_at("data.migration_info.status", "success");
    ck_at("data.migration_info.source_mount", "r1/");
    ck_at("data.migration_info.target_mount", "r2/");
    ck_call(200, "GET", "r2/a", NULL);
    ck_call(404, "GET", "r1/a", NULL);
    ck_refused("cannot remount", "POST", "sys/remount", "{\"from\":\"r2\",\"to\":\"auth/r2\"}");
    ck_refused("cannot remount \"sys/\"", "POST", "sys/remount", "{\"from\":\"sys\",\"to\":\"s\"}");
    ck_refused("path in use", "POST", "sys/remount", "{\"from\":\"r2\",\"to\":\"cubbyhole/x\"}");
    ck_refused("no matching mount", "POST", "sys/remount", "{\"from\":\"r1\",\"to\":\"r3\"}");
    ck_refused("must be specified", "POST", "sys/remount", "{\"from\":\"r2\"}");
    ck_call(404, "GET", "sys/remount/status/00000000-0000-4000-8000-000000000000", NULL);
    ck_call(405, "GET", "sys/remount", NULL);
    ck_call(204, "DELETE", "sys/mounts/r2", NULL);
}
END_TEST

/* ---- policies ---- */

START_TEST(policies)
{
    const char *body = "{\"policy\":\"path \\\"x/*\\\" { capabilities = [\\\"read\\\"] }\"}";
    ck_call(204, "POST", "sys/policies/acl/Mine", body);
    ck_call(200, "GET", "sys/policies/acl/mine", NULL);
    ck_at("data.name", "mine");
    ck_at("data.policy", "path \"x/*\" { capabilities = [\"read\"] }");
    ck_call(200, "GET", "sys/policy/mine", NULL);
    ck_at("data.rules", "path \"x/*\" { capabilities = [\"read\"] }");
    ck_call(200, "LIST", "sys/policies/acl", NULL);
    ck_at("data.keys", "[\"default\",\"mine\",\"root\"]");
    ck_call(200, "GET", "sys/policy", NULL);
    ck_at("policies", "[\"default\",\"mine\",\"root\"]");
    ck_call(200, "GET", "sys/policies/acl/root", NULL);
    ck_at("data.policy", "");
    ck_refused("cannot update \"root\" policy", "POST", "sys/policies/acl/root", body);
    ck_refused("cannot delete \"root\" policy", "DELETE", "sys/policies/acl/root", NULL);
    ck_refused("cannot delete default policy", "DELETE", "sys/policies/acl/default", NULL);
    ck_refused("'policy' parameter not supplied or empty", "POST", "sys/policies/acl/e", "{}");
    ck_refused("failed to parse policy: line 1", "POST", "sys/policies/acl/e",
               "{\"policy\":\"pth \\\"x\\\" {}\"}");
    ck_call(204, "POST", "sys/policy/b64",
            "{\"rules\":\"cGF0aCAiY3AtYjY0LyoiIHsgY2FwYWJpbGl0aWVzID0gWyJyZWFkIl0gfQ==\"}");
    ck_call(200, "GET", "sys/policies/acl/b64", NULL);
    ck_at("data.policy", "path \"cp-b64/*\" { capabilities = [\"read\"] }");
    ck_call(204, "DELETE", "sys/policies/acl/b64", NULL);
    ck_call(204, "DELETE", "sys/policies/acl/mine", NULL);
    ck_call(204, "DELETE", "sys/policies/acl/mine", NULL);
    ck_call(404, "GET", "sys/policies/acl/mine", NULL);
}
END_TEST

START_TEST(capabilities_follow_the_policy_at_once)
{
    char token[128], body[256];
    ck_call(204, "POST", "sys/policies/acl/cap",
            "{\"policy\":\"path \\\"c/a\\\" { capabilities=[\\\"read\\\",\\\"list\\\"] }\"}");
    make_token("[\"cap\"]", token);
    snprintf(body, sizeof(body), "{\"token\":\"%s\",\"paths\":[\"c/a\",\"c/b\"]}", token);
    ck_call(200, "POST", "sys/capabilities", body);
    ck_at("data.c/a", "[\"list\",\"read\"]");
    ck_at("data.c/b", "[\"deny\"]");
    ck_at("data.capabilities", "");
    ck_assert_int_eq(
        fixture_call(f, token, "POST", "sys/capabilities-self", "{\"path\":\"c/a\"}", NULL), 200);
    ck_at("data.capabilities", "[\"list\",\"read\"]");
    ck_call(204, "POST", "sys/policies/acl/cap",
            "{\"policy\":\"path \\\"c/a\\\" { capabilities=[\\\"update\\\"] }\"}");
    ck_call(200, "POST", "sys/capabilities", body);
    ck_at("c/a", "[\"update\"]");
    ck_call(200, "POST", "sys/capabilities-self", "{\"paths\":[\"x\"]}");
    ck_at("data.x", "[\"root\"]");
    ck_refused("invalid token", "POST", "sys/capabilities", "{\"token\":\"s.x\",\"path\":\"a\"}");
    ck_refused("invalid accessor", "POST", "sys/capabilities-accessor",
               "{\"accessor\":\"x\",\"path\":\"a\"}");
    ck_refused("paths must be supplied", "POST", "sys/capabilities-self", "{}");
    ck_assert_int_eq(fixture_call(f, token, "GET", "sys/internal/ui/resultant-acl", NULL, NULL),
                     200);
    ck_at("data.root", "false");
    ck_at("data.exact_paths.c/a.capabilities", "[\"update\"]");
    ck_at("data.glob_paths.cubbyhole/.capabilities.0", "create");
    ck_call(204, "DELETE", "sys/policies/acl/cap", NULL);
}
END_TEST

START_TEST(ui_mounts)
{
    char token[128];
    ck_call(204, "POST", "sys/mounts/seen", "{\"type\":\"kv\"}");
    ck_call(204, "POST", "sys/mounts/hidden", "{\"type\":\"kv\"}");
    ck_call(204, "POST", "sys/mounts/public",
            "{\"type\":\"kv\",\"config\":{\"listing_visibility\":\"unauth\"}}");
    ck_call(204, "POST", "sys/policies/acl/ui",
            "{\"policy\":\"path \\\"seen/deep/x\\\" { capabilities=[\\\"read\\\"] }\"}");
    make_token("[\"ui\"]", token);
    ck_assert_int_eq(fixture_call(f, token, "GET", "sys/internal/ui/mounts", NULL, NULL), 200);
    ck_at("data.secret.seen/.type", "kv");
    ck_at("data.secret.public/.type", "kv");
    ck_at("data.secret.hidden/.type", "");
    ck_assert_int_eq(fixture_call(f, "", "GET", "sys/internal/ui/mounts", NULL, NULL), 200);
    ck_at("data.secret.public/.type", "kv");
    ck_at("data.secret.public/.accessor", "");
    ck_at("data.secret.seen/.type", "");
    ck_assert_int_eq(fixture_call(f, token, "GET", "sys/internal/ui/mounts/seen/q", NULL, NULL),
                     200);
    ck_at("data.path", "seen/");
    ck_assert_int_eq(fixture_call(f, token, "GET", "sys/internal/ui/mounts/none", NULL, NULL), 403);
    ck_assert(fixture_error_has(f, "preflight capability check returned 403"));
    ck_assert_int_eq(fixture_call(f, token, "GET", "sys/internal/ui/mounts/hidden", NULL, NULL),
                     403);
    ck_assert_int_eq(fixture_call(f, "", "GET", "sys/internal/ui/mounts/seen", NULL, NULL), 403);
    ck_call(204, "DELETE", "sys/mounts/seen", NULL);
    ck_call(204, "DELETE", "sys/mounts/hidden", NULL);
    ck_call(204, "DELETE", "sys/mounts/public", NULL);
    ck_call(204, "DELETE", "sys/policies/acl/ui", NULL);
}
END_TEST

/* ---- tools and documents ---- */

START_TEST(tools)
{
    ck_call(200, "POST", "sys/tools/random", "{}");
    ck_assert_uint_eq(strlen(fixture_at(f, "data.random_bytes")), 44);
    ck_call(200, "POST", "sys/tools/random/16", "{\"format\":\"hex\"}");
    ck_assert_uint_eq(strlen(fixture_at(f, "data.random_bytes")), 32);
    ck_call(200, "POST", "sys/tools/random/platform/8", "{}");
    ck_call(200, "POST", "sys/tools/random/all", "{\"bytes\":\"3\"}");
    ck_assert_uint_eq(strlen(fixture_at(f, "data.random_bytes")), 4);
    ck_refused("'bytes' cannot be less than 1", "POST", "sys/tools/random", "{\"bytes\":-3}");
    ck_refused("'bytes' should be less than", "POST", "sys/tools/random", "{\"bytes\":1000000}");
    ck_refused("unsupported encoding format \"junk\"", "POST", "sys/tools/random",
               "{\"format\":\"junk\"}");
    ck_refused("entropy source", "POST", "sys/tools/random/moon/8", "{}");
    ck_call(200, "POST", "sys/tools/hash", "{\"input\":\"aGVsbG8=\"}");
    ck_at("data.sum", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    ck_call(200, "POST", "sys/tools/hash/sha2-224",
            "{\"input\":\"aGVsbG8=\",\"format\":\"base64\"}");
    ck_at("data.sum", "6gmunMZ2jFD87pA+0FRVblv8g0eQfxJZiqJBkw==");
    ck_refused("unable to decode", "POST", "sys/tools/hash", "{\"input\":\"@@\"}");
    ck_refused("unsupported algorithm junk", "POST", "sys/tools/hash/junk", "{\"input\":\"\"}");
    ck_call(200, "GET", "sys/key-status", NULL);
    ck_at("data.term", "1");
    ck_at("term", "1");
    ck_call(200, "GET", "sys/internal/counters/tokens", NULL);
    ck_assert_int_ge(atoi(fixture_at(f, "data.counters.service_tokens.total")), 1);
    ck_call(200, "GET", "sys/internal/specs/openapi", NULL);
    ck_at("openapi", "3.0.2");
    ck_at("paths./sys/mounts.get.responses.200.description", "OK");
    ck_at("paths./sys/mounts/{path}.parameters.0.name", "path");
    ck_call(404, "GET", "sys/nope", NULL);
}
END_TEST

START_TEST(catalog)
{
    ck_call(200, "GET", "sys/plugins/catalog", NULL);
    ck_at("data.auth", "[\"approle\",\"cert\",\"userpass\"]");
    ck_at("data.detailed.0.builtin", "true");
    ck_call(200, "LIST", "sys/plugins/catalog/secret", NULL);
    ck_at("data.keys.0", "kv");
    ck_call(405, "LIST", "sys/plugins/catalog/junk", NULL);
    ck_call(200, "GET", "sys/plugins/catalog/secret/kv", NULL);
    ck_at("data.builtin", "true");
    ck_call(404, "GET", "sys/plugins/catalog/secret/none", NULL);
    ck_call(404, "GET", "sys/plugins/catalog/secret/cubbyhole", NULL);
}
END_TEST

START_TEST(password_policies)
{
    ck_call(
        204, "POST", "sys/policies/password/pw",
        "{\"policy\":\"length = 12\\nrule \\\"charset\\\" { charset = \\\"ab\\\" min-chars = 3 }"
        "\\nrule \\\"charset\\\" { charset = \\\"01\\\" min-chars = 9 }\"}");
    ck_call(200, "GET", "sys/policies/password/pw/generate", NULL);
    const char *password = fixture_at(f, "data.password");
    size_t digits = 0;
    for (const char *at = password; *at != '\0'; at++) {
        ck_assert_ptr_nonnull(strchr("ab01", *at));
        digits += *at == '0' || *at == '1';
    }
    ck_assert_uint_eq(strlen(password), 12);
    ck_assert_uint_eq(digits, 9);
    ck_call(200, "LIST", "sys/policies/password", NULL);
    ck_at("data.keys", "[\"pw\"]");
    ck_refused("invalid password policy", "POST", "sys/policies/password/x",
               "{\"policy\":\"length = 3\"}");
    ck_refused("no charsets", "POST", "sys/policies/password/x", "{\"policy\":\"length = 8\"}");
    ck_refused("shorter than the rules ask", "POST", "sys/policies/password/x",
               "{\"policy\":\"length = 4\\nrule \\\"charset\\\" { charset = \\\"a\\\" min-chars = "
               "9223372036854775807 }\"}");
    ck_call(204, "DELETE", "sys/policies/password/pw", NULL);
    ck_call(404, "GET", "sys/policies/password/pw/generate", NULL);
    ck_call(404, "LIST", "sys/policies/password", NULL);
}
END_TEST

START_TEST(cross_origin)
{
    struct core *core = fixture_core(f);
    struct cf_slice headers = CF_SLICE_EMPTY;
    CF_OWNED(arena) arena = arena_new(512);
    ck_call(200, "GET", "sys/config/cors", NULL);
    ck_at("data.enabled", "false");
    ck_assert(core_origin(core, CF_SLICE("https://a.example"), arena, &headers) == ORIGIN_ANY);
    ck_refused("at least one origin", "POST", "sys/config/cors", "{}");
    ck_refused("must be the only value", "POST", "sys/config/cors",
               "{\"allowed_origins\":[\"*\",\"https://a.example\"]}");
    ck_refused("a header cannot", "POST", "sys/config/cors",
               "{\"allowed_origins\":[\"https://a.example\\r\\nX: y\"]}");
    ck_refused("a header cannot", "POST", "sys/config/cors",
               "{\"allowed_origins\":\"https://a.example\",\"allowed_headers\":[\"X\\nY\"]}");
    uint64_t entries = fixture_index(f);
    ck_call(204, "POST", "sys/config/cors",
            "{\"allowed_origins\":\"https://a.example,https://b.example\",\"allowed_headers\":\"X-Me\"}");
    ck_assert_uint_eq(fixture_index(f), entries + 1);
    ck_assert(core_origin(core, CF_SLICE("https://b.example"), arena, &headers) == ORIGIN_ALLOWED);
    ck_assert(cf_slice_ends(headers, CF_SLICE(",X-Vault-Token,X-Me")));
    ck_assert(core_origin(core, CF_SLICE("https://b.example.evil"), arena, &headers) ==
              ORIGIN_REFUSED);
    ck_assert(core_origin(core, CF_SLICE("http://b.example"), arena, &headers) == ORIGIN_REFUSED);
    ck_call(204, "POST", "sys/config/cors", "{\"allowed_origins\":\"*\"}");
    ck_assert(core_origin(core, CF_SLICE("https://c.example"), arena, &headers) == ORIGIN_ALLOWED);
    ck_call(204, "DELETE", "sys/config/cors", NULL);
    ck_assert(core_origin(core, CF_SLICE("https://c.example"), arena, &headers) == ORIGIN_ANY);
}
END_TEST

START_TEST(ui_headers)
{
    ck_call(404, "LIST", "sys/config/ui/headers", NULL);
    uint64_t entries = fixture_index(f);
    ck_call(200, "POST", "sys/config/ui/headers/X-Custom", "{\"values\":[\"a\",\"b\"]}");
    ck_assert_uint_eq(fixture_index(f), entries + 1);
    ck_call(200, "GET", "sys/config/ui/headers/x-custom", NULL); /* names know no case */
    ck_at("data.value", "a");
    ck_call(200, "GET", "sys/config/ui/headers/X-Custom?multivalue=true", NULL);
    ck_at("data.values.1", "b");
    ck_refused("X-Vault headers cannot be set", "POST", "sys/config/ui/headers/X-vault-A",
               "{\"values\":\"v\"}");
    ck_refused("header and values must be", "POST", "sys/config/ui/headers/A", "{}");
    ck_refused("a header cannot", "POST", "sys/config/ui/headers/A", "{\"values\":[\"a\\nB: c\"]}");
    ck_refused("header and values must be", "POST", "sys/config/ui/headers/a:b",
               "{\"values\":[\"c\"]}");
    ck_call(200, "POST", "sys/config/ui/headers/Content-Security-Policy", "{\"values\":\"x\"}");
    ck_assert(strstr(fixture_at(f, "warnings.0"), "overriding default") != NULL);
    ck_call(204, "DELETE", "sys/config/ui/headers/X-CUSTOM", NULL);
    ck_call(404, "GET", "sys/config/ui/headers/X-Custom", NULL);
    ck_call(204, "DELETE", "sys/config/ui/headers/content-security-policy", NULL);
}
END_TEST

START_TEST(counters_and_router)
{
    ck_call(200, "GET", "sys/internal/counters/entities", NULL);
    long before = strtol(fixture_at(f, "data.counters.entities.total"), NULL, 10);
    ck_call(200, "POST", "identity/entity", "{\"name\":\"counted\"}");
    ck_call(200, "GET", "sys/internal/counters/entities", NULL);
    ck_assert_int_eq(strtol(fixture_at(f, "data.counters.entities.total"), NULL, 10), before + 1);
    ck_call(404, "GET", "sys/internal/counters/requests", NULL);
    ck_assert(fixture_error_has(f, "removed"));
    ck_call(204, "GET", "sys/internal/counters/activity", NULL);
    ck_call(200, "GET", "sys/internal/counters/config", NULL);
    ck_at("data.enabled", "default-disabled");
    ck_call(200, "GET", "sys/internal/inspect/router/root", NULL);
    ck_at("data.root.sys/.type", "system");
    ck_refused("unknown tag", "GET", "sys/internal/inspect/router/x", NULL);
    ck_refused("nothing can be registered", "POST", "sys/plugins/catalog/secret/mine", "{}");
    ck_refused("nothing can be registered", "DELETE", "sys/plugins/catalog/secret/kv", NULL);
    ck_refused("there is nothing to reload", "POST", "sys/plugins/reload/backend", "{\"plugin\":\"kv\"}");
    ck_call(404, "GET", "sys/license/status", NULL); /* as the community edition */
}
END_TEST

/* Every area of key.h is in the report: an operator sees what leaves the cluster. */
START_TEST(data_classes)
{
    char line[512], area[64], at[64];
    size_t areas = 0;
    const char *path = getenv("COFFER_KEY_HEADER"); /* from meson.build: node/core/key.h */
    ck_assert_msg(path != NULL, "COFFER_KEY_HEADER is not set: run it by meson test");
    ck_call(204, "POST", "sys/mounts/shared", "{\"type\":\"kv\"}");
    ck_call(204, "POST", "sys/mounts/own", "{\"type\":\"kv\",\"local\":true}");
    ck_call(204, "POST", "sys/mounts/empty", "{\"type\":\"kv\"}");
    ck_call(204, "POST", "shared/a", "{\"x\":\"1\"}");
    ck_call(204, "POST", "own/a", "{\"x\":\"1\"}");
    ck_call(200, "GET", "sys/internal/data-classes", NULL);
    ck_at("data.secret.shared/.class", "replicated");
    ck_at("data.secret.shared/.classes_stored", "[\"replicated\"]");
    ck_at("data.secret.own/.class", "cluster");
    ck_at("data.secret.own/.local", "true");
    ck_at("data.secret.own/.classes_stored", "[\"cluster\"]");
    ck_at("data.secret.empty/.classes_stored", "[]");
    ck_at("data.secret.cubbyhole/.class", "cluster");
    ck_at("data.auth.token/.type", "token");
    FILE *header = fopen(path, "r");
    ck_assert_ptr_nonnull(header);
    while (fgets(line, sizeof(line), header) != NULL) {
        if (sscanf(line, "#define AREA_%*[A-Z_] \"%63[^\"]\"", area) == 1 && strcmp(area, "d/") != 0) {
            bool is_told = false;
            for (unsigned i = 0; i < 64 && !is_told; i++) {
                (void)snprintf(at, sizeof(at), "data.records.%u.area", i);
                is_told = strcmp(fixture_at(f, at), area) == 0;
            }
            ck_assert_msg(is_told, "%s is not in sys/internal/data-classes", area);
            areas++;
        }
    }
    (void)fclose(header);
    ck_assert_uint_gt(areas, 20);
}
END_TEST

/* The fixture's configuration has it on. */
START_TEST(raw_records)
{
    ck_call(404, "GET", "sys/raw/r/0/policy/raw-test", NULL);
    ck_call(204, "POST", "sys/policy/raw-test", "{\"policy\":\"path \\\"x\\\" { capabilities = [\\\"read\\\"] }\"}");
    ck_call(200, "GET", "sys/raw/r/0/policy/raw-test?encoding=base64", NULL);
    char kept[1024];
    snprintf(kept, sizeof(kept), "{\"encoding\":\"base64\",\"value\":\"%s\"}", fixture_at(f, "data.value"));
    ck_call(200, "LIST", "sys/raw/r/0/policy", NULL);
    ck_assert(strstr(fixture_at(f, "data.keys"), "\"raw-test\"") != NULL);
    uint64_t entries = fixture_index(f);
    ck_call(204, "DELETE", "sys/raw/r/0/policy/raw-test", NULL);
    ck_assert_uint_eq(fixture_index(f), entries + 1);
    ck_call(404, "GET", "sys/policy/raw-test", NULL);
    ck_call(204, "POST", "sys/raw/r/0/policy/raw-test", kept);
    ck_call(200, "GET", "sys/policy/raw-test", NULL);
    ck_call(204, "DELETE", "sys/policy/raw-test", NULL);
    ck_refused("the barrier does not seal it", "GET", "sys/raw/o/0/seal/root", NULL);
    ck_refused("a raw path is", "GET", "sys/raw/policy/x", NULL);
    ck_refused("a raw path is", "GET", "sys/raw/r/99999999999/x", NULL);
    ck_refused("begins \\xNN", "GET", "sys/raw/r/0/a\\q", NULL);
    ck_refused("names no record", "DELETE", "sys/raw/r/0/", NULL);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {fixed_mounts,
                                  enable_read_disable,
                                  paths_that_are_taken,
                                  config_and_tuning,
                                  auth_methods,
                                  remount,
                                  policies,
                                  capabilities_follow_the_policy_at_once,
                                  ui_mounts,
                                  tools,
                                  catalog,
                                  password_policies,
                                  cross_origin,
                                  ui_headers,
                                  counters_and_router,
                                  data_classes,
                                  raw_records};
    f = fixture_new();
    int status = test_run("node/core/sys", tests, sizeof(tests) / sizeof(tests[0]));
    fixture_free(f);
    return status;
}
