/* tests/unit/node/core/test_sys_leases.c: leases of tokens and wrapped answers, through the frame.
 */
#include <time.h>

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

static void login(const char *user, char to[128])
{
    char path[128];
    snprintf(path, sizeof(path), "auth/up/login/%s", user);
    ck_assert_int_eq(fixture_call(f, "", "POST", path, "{\"password\":\"p\"}", NULL), 200);
    snprintf(to, 128, "%s", fixture_at(f, "auth.client_token"));
}

static bool lives(const char *token)
{
    return fixture_call(f, token, "GET", "auth/token/lookup-self", NULL, NULL) == 200;
}

static void set_up(void)
{
    f = fixture_new();
    ck_call(204, "POST", "sys/auth/up", "{\"type\":\"userpass\"}");
    ck_call(204, "POST", "auth/up/users/u", "{\"password\":\"p\",\"token_ttl\":\"1h\"}");
    ck_call(204, "POST", "auth/up/users/u2", "{\"password\":\"p\"}");
}

static void tear_down(void)
{
    fixture_free(f);
}

START_TEST(the_lease_of_a_login)
{
    char token[128], id[256], body[320];
    set_up();
    login("u", token);
    ck_call(200, "LIST", "sys/leases/lookup/auth/up/login/u", NULL);
    snprintf(id, sizeof(id), "auth/up/login/u/%s", fixture_at(f, "data.keys.0"));
    ck_assert_uint_eq(strlen(id), strlen("auth/up/login/u/h") + 64);
    ck_call(200, "LIST", "sys/leases/lookup/auth/up/login/", NULL);
    ck_at("data.keys", "[\"u/\"]");
    snprintf(body, sizeof(body), "{\"lease_id\":\"%s\"}", id);
    ck_call(200, "POST", "sys/leases/lookup", body);
    ck_at("data.id", id);
    ck_at("data.last_renewal", "null");
    ck_at("data.renewable", "true");
    ck_assert_int_ge(atoi(fixture_at(f, "data.ttl")), 3590);
    ck_refused("tokens cannot be renewed", "POST", "sys/leases/renew", body);
    ck_call(204, "POST", "sys/leases/revoke", body);
    ck_assert(!lives(token));
    ck_refused("invalid lease", "POST", "sys/leases/lookup", body);
    ck_call(204, "POST", "sys/leases/revoke", body);
    ck_call(404, "LIST", "sys/leases/lookup/auth/up/", NULL);
    tear_down();
}
END_TEST

START_TEST(a_lease_ends_with_its_token)
{
    char token[128], body[320];
    set_up();
    login("u", token);
    ck_call(200, "LIST", "sys/leases/lookup/auth/up/login/u/", NULL);
    snprintf(body, sizeof(body), "{\"lease_id\":\"auth/up/login/u/%s\"}",
             fixture_at(f, "data.keys.0"));
    fixture_advance(f, 3601);
    ck_refused("invalid lease", "POST", "sys/leases/lookup", body);
    login("u", token);
    ck_assert_int_eq(fixture_call(f, token, "POST", "auth/token/revoke-self", NULL, NULL), 204);
    ck_refused("lease not found", "POST", "sys/leases/renew", "{\"lease_id\":\"a/b\"}");
    ck_refused("lease_id must be specified", "POST", "sys/leases/lookup", "{}");
    tear_down();
}
END_TEST

START_TEST(revoke_prefix_takes_whole_segments)
{
    char one[128], two[128];
    set_up();
    login("u", one);
    login("u2", two);
    ck_call(204, "POST", "sys/leases/revoke-prefix/auth/up/login/u", "{}");
    ck_assert(!lives(one));
    ck_assert(lives(two));
    ck_call(204, "POST", "sys/leases/revoke-force/auth/up", "{\"sync\":true}");
    ck_assert(!lives(two));
    ck_call(204, "POST", "sys/leases/revoke-prefix/none", "{}");
    tear_down();
}
END_TEST

/* More tokens than one write set takes: the rest goes in the background, and none is forgotten. */
START_TEST(disabling_an_auth_method_ends_all_its_tokens)
{
    char first[128], last[128];
    set_up();
    ck_call(204, "POST", "auth/token/roles/many", "{}");
    for (int i = 0; i < 520; i++) {
        ck_call(200, "POST", "auth/token/create/many", "{\"ttl\":\"1h\"}");
        snprintf(i == 0 ? first : last, 128, "%s", fixture_at(f, "auth.client_token"));
    }
    ck_call(204, "POST", "sys/leases/revoke-prefix/auth/token/create", "{}");
    core_background_start(fixture_core(f));
    for (int i = 0; i < 500 && call("LIST", "sys/leases/lookup/auth/token/create", NULL) != 404;
         i++) {
        struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    core_background_stop(fixture_core(f));
    ck_assert(!lives(first));
    ck_assert(!lives(last));
    ck_call(404, "LIST", "sys/leases/lookup/auth/token/create", NULL);
    tear_down();
}
END_TEST

START_TEST(counts_and_tidy)
{
    set_up();
    ck_call(202, "POST", "sys/leases/tidy", "{}");
    ck_assert(fixture_at(f, "warnings.0")[0] != '\0');
    ck_call(200, "GET", "sys/leases/count?type=irrevocable", NULL);
    ck_at("data.lease_count", "0");
    ck_call(200, "GET", "sys/leases?type=irrevocable", NULL);
    ck_call(400, "GET", "sys/leases/count?type=other", NULL);
    tear_down();
}
END_TEST

/* ---- wrapping ---- */

static void wrap(char token[128])
{
    ck_assert_int_eq(fixture_call_wrapped(f, NULL, "POST", "sys/wrapping/wrap",
                                          "{\"a\":\"1\",\"b\":{\"c\":2}}", 60, NULL),
                     200);
    ck_at("wrap_info.ttl", "60");
    ck_at("wrap_info.creation_path", "sys/wrapping/wrap");
    ck_at("data", "null");
    snprintf(token, 128, "%s", fixture_at(f, "wrap_info.token"));
}

static const char *body_with(const char *token)
{
    static char body[256];
    snprintf(body, sizeof(body), "{\"token\":\"%s\"}", token);
    return body;
}

static const char not_valid[] = "wrapping token is not valid or does not exist";

START_TEST(wraps_and_unwraps_once)
{
    char token[128];
    set_up();
    ck_refused("endpoint requires response wrapping", "POST", "sys/wrapping/wrap", "{\"a\":1}");
    wrap(token);
    ck_call(200, "POST", "sys/wrapping/lookup", body_with(token));
    ck_at("data.creation_ttl", "60");
    ck_at("data.creation_path", "sys/wrapping/wrap");
    ck_assert_int_eq(fixture_call(f, "", "POST", "sys/wrapping/lookup", body_with(token), NULL),
                     200);
    ck_assert_int_eq(fixture_call(f, "", "POST", "sys/wrapping/unwrap", body_with(token), NULL),
                     403);
    ck_call(200, "POST", "sys/wrapping/unwrap", body_with(token));
    ck_refused(not_valid, "POST", "sys/wrapping/unwrap", body_with(token));
    ck_refused(not_valid, "POST", "sys/wrapping/lookup", body_with(token));
    ck_refused(not_valid, "POST", "sys/wrapping/unwrap", body_with(fixture_root(f)));
    ck_refused(not_valid, "POST", "sys/wrapping/lookup", "{}");
    tear_down();
}
END_TEST

START_TEST(a_wrapping_token_opens_its_content_and_nothing_else)
{
    char token[128], other[128];
    set_up();
    wrap(token);
    wrap(other);
    ck_assert_int_eq(fixture_call(f, token, "GET", "auth/token/lookup-self", NULL, NULL), 403);
    ck_assert_int_eq(fixture_call(f, token, "POST", "sys/wrapping/unwrap", body_with(other), NULL),
                     403);
    ck_assert_int_eq(fixture_call(f, token, "POST", "sys/wrapping/lookup", NULL, NULL), 200);
    ck_assert_int_eq(fixture_call(f, token, "PUT", "sys/wrapping/unwrap", NULL, NULL), 200);
    ck_assert_int_eq(fixture_call(f, token, "PUT", "sys/wrapping/unwrap", NULL, NULL), 403);
    tear_down();
}
END_TEST

START_TEST(rewrap_moves_the_content)
{
    char token[128], next[128];
    set_up();
    ck_assert_int_eq(fixture_call_wrapped(f, NULL, "POST", "auth/token/create",
                                          "{\"policies\":[\"default\"]}", 60, NULL),
                     200);
    ck_at("wrap_info.creation_path", "auth/token/create");
    ck_assert(fixture_at(f, "wrap_info.wrapped_accessor")[0] != '\0');
    snprintf(token, sizeof(token), "%s", fixture_at(f, "wrap_info.token"));
    ck_call(200, "POST", "sys/wrapping/rewrap", body_with(token));
    ck_at("wrap_info.creation_path", "auth/token/create");
    ck_at("wrap_info.ttl", "60");
    ck_assert(fixture_at(f, "wrap_info.wrapped_accessor")[0] != '\0');
    snprintf(next, sizeof(next), "%s", fixture_at(f, "wrap_info.token"));
    ck_refused(not_valid, "POST", "sys/wrapping/unwrap", body_with(token));
    /* Opened under wrapping again: a third token, then the content itself. */
    ck_assert_int_eq(
        fixture_call_wrapped(f, NULL, "POST", "sys/wrapping/unwrap", body_with(next), 30, NULL),
        200);
    ck_at("wrap_info.ttl", "30");
    snprintf(next, sizeof(next), "%s", fixture_at(f, "wrap_info.token"));
    ck_call(200, "POST", "sys/wrapping/unwrap", body_with(next));
    ck_refused(not_valid, "POST", "sys/wrapping/rewrap", body_with(next));
    tear_down();
}
END_TEST

TEST_MAIN("node/core/sys leases", the_lease_of_a_login, a_lease_ends_with_its_token,
          revoke_prefix_takes_whole_segments, disabling_an_auth_method_ends_all_its_tokens,
          counts_and_tidy, wraps_and_unwraps_once,
          a_wrapping_token_opens_its_content_and_nothing_else, rewrap_moves_the_content)
