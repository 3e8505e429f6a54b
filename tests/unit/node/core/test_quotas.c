/* tests/unit/node/core/test_quotas.c: rate limits through the whole frame: which rule counts, what is
 * exempt, what follows a mount. */
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
#define ck_refused(text, path, body)                                                               \
    do {                                                                                           \
        ck_call(400, "POST", path, body);                                                          \
        ck_assert_msg(fixture_error_has(f, (text)), "%s: \"%s\"", (path),                          \
                      fixture_at(f, "errors.0"));                                                  \
    } while (0)
#define ck_at(path, want) ck_assert_str_eq(fixture_at(f, (path)), (want))

static void set_up(void)
{
    f = fixture_new();
    ck_call(204, "POST", "sys/mounts/a", "{\"type\":\"kv\"}");
    ck_call(204, "PUT", "a/x", "{\"v\":\"1\"}");
    ck_call(204, "PUT", "a/y", "{\"v\":\"1\"}");
}

/* How many reads of the path pass before one is refused; 50 at most. */
static int passes(const char *path)
{
    int count = 0;
    while (count < 50 && call("GET", path, NULL) == 200) {
        count++;
    }
    return count;
}

START_TEST(rules_as_they_are_written)
{
    set_up();
    ck_call(404, "LIST", "sys/quotas/rate-limit", NULL);
    uint64_t entries = fixture_index(f);
    ck_call(204, "POST", "sys/quotas/rate-limit/q",
            "{\"path\":\"a\",\"rate\":12.5,\"interval\":\"1m\",\"block_interval\":\"10s\"}");
    ck_assert_uint_eq(fixture_index(f), entries + 1);
    ck_call(200, "GET", "sys/quotas/rate-limit/q", NULL);
    ck_at("data.path", "a/");
    ck_at("data.rate", "12.5");
    ck_at("data.interval", "60");
    ck_at("data.block_interval", "10");
    ck_at("data.inheritable", "false");
    ck_at("data.type", "rate-limit");
    ck_refused("invalid mount path \"none/\"", "sys/quotas/rate-limit/r",
               "{\"path\":\"none/\",\"rate\":5}");
    ck_refused("'rate' is invalid", "sys/quotas/rate-limit/r", "{\"path\":\"a\",\"rate\":0}");
    ck_refused("'rate' is invalid", "sys/quotas/rate-limit/r", "{\"path\":\"a\"}");
    ck_refused("'rate' is invalid", "sys/quotas/rate-limit/r", "{\"rate\":\"many\"}");
    ck_refused("must not be negative", "sys/quotas/rate-limit/r",
               "{\"rate\":1,\"block_interval\":-1}");
    ck_refused("exists under the name \"q\"", "sys/quotas/rate-limit/r",
               "{\"path\":\"a/\",\"rate\":1}");
    ck_refused("not a valid auth method", "sys/quotas/rate-limit/r",
               "{\"path\":\"a\",\"rate\":1,\"role\":\"u\"}");
    ck_call(200, "POST", "sys/remount", "{\"from\":\"a\",\"to\":\"b\"}");
    ck_call(200, "GET", "sys/quotas/rate-limit/q", NULL);
    ck_at("data.path", "b/"); /* it follows its mount */
    fixture_free(f);
}
END_TEST

START_TEST(the_narrowest_counts)
{
    set_up();
    ck_call(204, "POST", "sys/quotas/rate-limit/all", "{\"rate\":40,\"interval\":\"1h\"}");
    ck_call(204, "POST", "sys/quotas/rate-limit/mount",
            "{\"path\":\"a\",\"rate\":7,\"interval\":\"1h\"}");
    ck_call(204, "POST", "sys/quotas/rate-limit/path",
            "{\"path\":\"a/x\",\"rate\":3,\"interval\":\"1h\"}");
    ck_assert_int_eq(passes("a/x"), 3);
    ck_call(429, "GET", "a/x", NULL);
    ck_assert(fixture_error_has(f, "request path \"a/x\": rate limit quota exceeded"));
    ck_assert_int_eq(passes("a/y"), 7);
    ck_call(204, "DELETE", "sys/quotas/rate-limit/path", NULL);
    ck_call(429, "GET", "a/x", NULL); /* now the mount's counts, which is used up */
    ck_call(204, "DELETE", "sys/quotas/rate-limit/mount", NULL);
    ck_call(200, "GET", "a/x", NULL);
    /* A path with '*' lies between: of two the longer one. */
    ck_call(204, "POST", "sys/quotas/rate-limit/glob",
            "{\"path\":\"a/*\",\"rate\":5,\"interval\":\"1h\"}");
    ck_assert_int_eq(passes("a/y"), 5);
    ck_call(204, "DELETE", "sys/quotas/rate-limit/glob", NULL);
    ck_call(204, "DELETE", "sys/quotas/rate-limit/all", NULL);
    ck_assert_int_eq(passes("a/x"), 50);
    fixture_free(f);
}
END_TEST

START_TEST(exempt_paths)
{
    set_up();
    ck_call(200, "GET", "sys/quotas/config", NULL);
    ck_at("data.enable_rate_limit_response_headers", "false");
    ck_at("data.rate_limit_exempt_paths.4", "sys/health");
    ck_call(204, "POST", "sys/quotas/config",
            "{\"rate_limit_exempt_paths\":[\"a/x\",\"sys\"],"
            "\"enable_rate_limit_response_headers\":true}");
    ck_call(204, "POST", "sys/quotas/rate-limit/all", "{\"rate\":2,\"interval\":\"1h\"}");
    ck_assert_int_eq(passes("a/x"), 50);
    ck_assert_int_eq(passes("sys/quotas/config"), 50);
    ck_assert_int_eq(passes("a/y"), 2);
    fixture_free(f);
}
END_TEST

START_TEST(namespaces_and_mounts_that_go)
{
    set_up();
    ck_call(200, "POST", "sys/namespaces/n", "{}");
    ck_call(204, "POST", "n/sys/mounts/b", "{\"type\":\"kv\"}");
    ck_call(204, "PUT", "n/b/x", "{\"v\":\"1\"}");
    ck_call(204, "POST", "sys/quotas/config", "{\"rate_limit_exempt_paths\":[\"sys\"]}");
    ck_call(204, "POST", "sys/quotas/rate-limit/all",
            "{\"rate\":4,\"interval\":\"1h\",\"inheritable\":false}");
    ck_assert_int_eq(passes("n/b/x"), 50); /* root's alone */
    ck_call(204, "POST", "sys/quotas/rate-limit/all", "{\"rate\":4,\"interval\":\"1h\"}");
    ck_assert_int_eq(passes("n/b/x"), 4);
    ck_call(204, "POST", "sys/quotas/rate-limit/ns",
            "{\"path\":\"n/\",\"rate\":6,\"interval\":\"1h\"}");
    ck_assert_int_eq(passes("n/b/x"), 6);
    ck_call(204, "POST", "sys/quotas/rate-limit/m", "{\"path\":\"a\",\"rate\":9}");
    ck_call(204, "DELETE", "sys/mounts/a", NULL);
    ck_call(404, "GET", "sys/quotas/rate-limit/m", NULL); /* the rule went with its mount */
    fixture_free(f);
}
END_TEST

START_TEST(by_role)
{
    set_up();
    ck_call(204, "POST", "sys/auth/up", "{\"type\":\"userpass\"}");
    ck_call(204, "POST", "auth/up/users/u", "{\"password\":\"p\"}");
    ck_call(204, "POST", "auth/up/users/v", "{\"password\":\"p\"}");
    ck_call(204, "POST", "sys/quotas/rate-limit/u",
            "{\"path\":\"auth/up\",\"role\":\"u\",\"rate\":1,\"interval\":\"1h\"}");
    ck_call(200, "POST", "auth/up/login/u", "{\"password\":\"p\"}");
    ck_call(429, "POST", "auth/up/login/u", "{\"password\":\"p\"}");
    ck_call(200, "POST", "auth/up/login/v", "{\"password\":\"p\"}");
    ck_call(200, "GET", "auth/up/users/u", NULL); /* no login */
    fixture_free(f);
}
END_TEST

/* A role-id says which role, before anything of it is proved. */
START_TEST(by_role_of_an_approle)
{
    char body[2][160];
    set_up();
    ck_call(204, "POST", "sys/auth/ap", "{\"type\":\"approle\"}");
    for (int i = 0; i < 2; i++) {
        const char *const paths[] = {"auth/ap/role/one", "auth/ap/role/two"};
        char path[64];
        ck_call(204, "POST", paths[i], "{\"bind_secret_id\":false,\"token_bound_cidrs\":[\"127.0.0.0/8\"]}");
        snprintf(path, sizeof(path), "%s/role-id", paths[i]);
        ck_call(200, "GET", path, NULL);
        snprintf(body[i], sizeof(body[i]), "{\"role_id\":\"%.100s\"}", fixture_at(f, "data.role_id"));
    }
    ck_call(204, "POST", "sys/quotas/rate-limit/one",
            "{\"path\":\"auth/ap\",\"role\":\"one\",\"rate\":1,\"interval\":\"1h\"}");
    ck_call(200, "POST", "auth/ap/login", body[0]);
    ck_call(429, "POST", "auth/ap/login", body[0]);
    ck_call(200, "POST", "auth/ap/login", body[1]);
    ck_call(400, "POST", "auth/ap/login", "{\"role_id\":\"none\"}");
    ck_call(200, "GET", "auth/ap/role/one", NULL); /* no login */
    ck_call(400, "POST", "sys/quotas/rate-limit/t", "{\"path\":\"auth/token\",\"role\":\"x\",\"rate\":1}");
    fixture_free(f);
}
END_TEST

TEST_MAIN("node/core/quotas", rules_as_they_are_written, the_narrowest_counts, exempt_paths,
          namespaces_and_mounts_that_go, by_role, by_role_of_an_approle)
