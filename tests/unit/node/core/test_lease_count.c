/* tests/unit/node/core/test_lease_count.c: quotas of leases: which one counts, exact counts at the append, what was
 * there before, changes of leaders. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "bench.h"
#include "node/base/memory.h"
#include "node/core/core_int.h"
#include "tests/lib/test.h"

static struct bench *b;
static char text[512];
static char role_ids[2][64]; /* of the roles "one" and "two" of auth/ap */

static int call(const char *token, const char *operation, const char *path, const char *body, const char *dotted)
{
    return bench_call(b, token, operation, path, body, dotted, text);
}

#define ck_call(want, operation, path, body)                                                       \
    do {                                                                                           \
        int got_ = call(NULL, (operation), (path), (body), "errors.0");                            \
        ck_assert_msg(got_ == (want), "%s %s: %d \"%s\"", (operation), (path), got_, text);        \
    } while (0)

static void set_up(void)
{
    b = bench_new();
    ck_call(204, "POST", "sys/auth/ap", "{\"type\":\"approle\"}");
    for (int i = 0; i < 2; i++) {
        char path[64];
        snprintf(path, sizeof(path), "auth/ap/role/%s", i == 0 ? "one" : "two");
        ck_call(204, "POST", path, "{\"bind_secret_id\":false,\"token_bound_cidrs\":[\"127.0.0.0/8\"],\"token_ttl\":\"1h\"}");
        strcat(path, "/role-id");
        ck_assert_int_eq(call(NULL, "GET", path, NULL, "data.role_id"), 200);
        snprintf(role_ids[i], sizeof(role_ids[i]), "%.60s", text);
    }
    core_background_start(b->core);
}

static void tear_down(void)
{
    bench_free(b);
    b = NULL;
}

static int log_in(int role)
{
    char body[128];
    snprintf(body, sizeof(body), "{\"role_id\":\"%s\"}", role_ids[role]);
    return call("", "POST", "auth/ap/login", body, "auth.client_token");
}

static void revoke(const char *token)
{
    char body[160];
    snprintf(body, sizeof(body), "{\"token\":\"%.100s\"}", token);
    ck_call(204, "POST", "auth/token/revoke", body);
}

static void nap(void)
{
    struct timespec pause = {0, 2 * 1000 * 1000};
    (void)nanosleep(&pause, NULL);
}

/* Waits until the leases are counted. */
static int counter(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "sys/quotas/lease-count/%s", name);
    for (int i = 0; i < 10000; i++) {
        ck_assert_int_eq(call(NULL, "GET", path, NULL, "data.counter"), 200);
        if (strcmp(text, "null") != 0) {
            return atoi(text);
        }
        core_background_start(b->core);
        nap();
    }
    ck_abort_msg("leases are never counted");
    return -1;
}

static void write_quota(const char *name, const char *body, int count)
{
    char path[128];
    snprintf(path, sizeof(path), "sys/quotas/lease-count/%s", name);
    ck_call(204, "POST", path, body);
    ck_assert_int_eq(counter(name), count);
}

START_TEST(refuses_what_is_too_many)
{
    char token[128];
    set_up();
    ck_assert_int_eq(log_in(0), 200); /* counts, too: it was there before */
    write_quota("q", "{\"path\":\"auth/ap\",\"max_leases\":3}", 1);
    ck_assert_int_eq(log_in(0), 200);
    ck_assert_int_eq(log_in(1), 200);
    snprintf(token, sizeof(token), "%.100s", text);
    uint64_t before = b->appended;
    ck_assert_int_eq(call("", "POST", "auth/ap/login", "{\"role_id\":\"none\"}", "errors.0"), 400);
    char body[128];
    snprintf(body, sizeof(body), "{\"role_id\":\"%s\"}", role_ids[0]);
    ck_assert_int_eq(call("", "POST", "auth/ap/login", body, "errors.0"), 429);
    ck_assert_str_eq(text, "request path \"auth/ap/login\": lease count quota exceeded");
    ck_assert_uint_le(b->appended, before + 1); /* the failed login may be counted, the refused one has no entry */
    ck_assert_int_eq(counter("q"), 3);
    ck_assert_int_eq(call(token, "POST", "auth/token/renew-self", "{}", "errors.0"), 200);
    char child[64];
    bench_token(b, "{\"policies\":[\"default\"],\"ttl\":\"1h\"}", child); /* of another mount */
    revoke(token);
    ck_assert_int_eq(counter("q"), 2);
    ck_assert_int_eq(log_in(1), 200);
    ck_assert_int_eq(log_in(1), 429);
    bench_advance(b, 3700);
    for (int i = 0; i < 5000 && counter("q") != 0; i++) {
        core_background_start(b->core);
        nap();
    }
    ck_assert_int_eq(counter("q"), 0);
    ck_assert_int_eq(log_in(1), 200);
    b->wrap_ttl_s = 60; /* the token of the answer counts, the one that holds it does not */
    ck_assert_int_eq(log_in(1), 200);
    b->wrap_ttl_s = 0;
    ck_assert_int_eq(counter("q"), 2);
    tear_down();
}
END_TEST

START_TEST(a_refused_login_spends_nothing)
{
    char body[256], secret[64];
    set_up();
    ck_call(204, "POST", "auth/ap/role/two", "{\"bind_secret_id\":true,\"secret_id_num_uses\":2}");
    ck_assert_int_eq(call(NULL, "POST", "auth/ap/role/two/secret-id", "{}", "data.secret_id"), 200);
    snprintf(secret, sizeof(secret), "%.60s", text);
    write_quota("q", "{\"path\":\"auth/ap\",\"max_leases\":1}", 0);
    ck_assert_int_eq(log_in(0), 200);
    snprintf(body, sizeof(body), "{\"role_id\":\"%s\",\"secret_id\":\"%s\"}", role_ids[1], secret);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(call("", "POST", "auth/ap/login", body, "errors.0"), 429);
    }
    ck_call(204, "DELETE", "sys/quotas/lease-count/q", NULL);
    ck_assert_int_eq(call("", "POST", "auth/ap/login", body, "errors.0"), 200);
    ck_assert_int_eq(call("", "POST", "auth/ap/login", body, "errors.0"), 200);
    ck_assert_int_eq(call("", "POST", "auth/ap/login", body, "errors.0"), 400);
    tear_down();
}
END_TEST

START_TEST(the_narrowest_counts)
{
    set_up();
    ck_assert_int_eq(log_in(0), 200);
    write_quota("all", "{\"max_leases\":100}", 1);
    ck_call(400, "POST", "sys/quotas/lease-count/again", "{\"max_leases\":7}");
    ck_call(400, "POST", "sys/quotas/lease-count/none", "{\"max_leases\":0}");
    ck_call(400, "POST", "sys/quotas/lease-count/none", "{\"max_leases\":5,\"path\":\"nowhere/at/all\"}");
    write_quota("mount", "{\"path\":\"auth/ap\",\"max_leases\":2}", 1);
    ck_assert_int_eq(counter("all"), 0); /* one rule a lease */
    write_quota("role", "{\"path\":\"auth/ap\",\"role\":\"one\",\"max_leases\":1}", 1);
    ck_assert_int_eq(log_in(0), 429);
    ck_assert_int_eq(log_in(1), 200);
    ck_assert_int_eq(log_in(1), 200);
    ck_assert_int_eq(log_in(1), 429);
    ck_assert_int_eq(call(NULL, "LIST", "sys/quotas/lease-count", NULL, "data.keys"), 200);
    ck_assert_str_eq(text, "[\"all\",\"mount\",\"role\"]");
    ck_assert_int_eq(call(NULL, "GET", "sys/quotas/lease-count/role", NULL, "data"), 200);
    ck_assert_str_eq(text, "{\"counter\":1,\"inheritable\":false,\"max_leases\":1,\"name\":\"role\",\"path\":\"auth/ap/\","
                           "\"role\":\"one\",\"type\":\"lease-count\"}");
    ck_call(200, "POST", "sys/namespaces/team", "{}");
    write_quota("team", "{\"path\":\"team\",\"max_leases\":1}", 0);
    ck_call(200, "POST", "team/auth/token/create", "{\"policies\":[\"default\"],\"ttl\":\"1h\"}");
    ck_call(429, "POST", "team/auth/token/create", "{\"policies\":[\"default\"],\"ttl\":\"1h\"}");
    ck_call(200, "POST", "auth/token/create", "{\"policies\":[\"default\"],\"ttl\":\"1h\"}");
    ck_call(200, "POST", "auth/token/create", "{\"policies\":[\"root\"]}"); /* no end, no lease */
    ck_assert_int_eq(counter("all"), 1);
    ck_call(200, "POST", "sys/remount", "{\"from\":\"auth/ap\",\"to\":\"auth/moved\"}");
    ck_assert_int_eq(counter("mount"), 0);
    ck_assert_int_eq(call(NULL, "GET", "sys/quotas/lease-count/mount", NULL, "data.path"), 200);
    ck_assert_str_eq(text, "auth/moved/");
    ck_call(204, "DELETE", "sys/auth/moved", NULL);
    ck_call(404, "GET", "sys/quotas/lease-count/mount", NULL);
    ck_call(404, "GET", "sys/quotas/lease-count/role", NULL);
    tear_down();
}
END_TEST

START_TEST(a_new_leader_counts_anew)
{
    set_up();
    write_quota("q", "{\"path\":\"auth/ap\",\"max_leases\":4}", 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(log_in(i % 2), 200);
    }
    core_background_stop(b->core);
    pthread_mutex_lock(&b->lock);
    core_became_leader(b->core, b->appended);
    pthread_mutex_unlock(&b->lock);
    ck_assert_int_eq(log_in(0), 503); /* nothing is made on a guess */
    core_background_start(b->core);
    ck_assert_int_eq(counter("q"), 3);
    ck_assert_int_eq(log_in(0), 200);
    ck_assert_int_eq(log_in(0), 429);
    tear_down();
}
END_TEST

/* ---- threads ---- */

#define LIMIT 60
static _Atomic unsigned made, refused, other;

static void *log_in_often(void *arg)
{
    for (unsigned i = 0; i < 60; i++) {
        char body[128];
        snprintf(body, sizeof(body), "{\"role_id\":\"%s\"}", role_ids[(i + (unsigned)(uintptr_t)arg) % 2]);
        CF_OWNED(call) one = bench_start(b, "", "POST", "auth/ap/login", body);
        call_wait(one);
        atomic_fetch_add(one->status == 200 ? &made : one->status == 429 ? &refused : &other, 1);
    }
    return NULL;
}

static uint64_t rule_id(void)
{
    struct view *view = core_view(b->core);
    uint64_t id = view->settings->quotas.leases[0].id;
    view_unref(view);
    return id;
}

/* By this thread: the one that does it otherwise has ended. */
static uint64_t count_now(void)
{
    uint64_t count;
    struct view *view = core_view(b->core);
    ck_ok(core_count_leases(b->core, view, NULL));
    view_unref(view);
    ck_assert(core_lease_count(b->core, rule_id(), &count));
    return count;
}

START_TEST(exactly_as_many_as_there_may_be)
{
    pthread_t threads[4];
    set_up();
    ck_assert_int_eq(log_in(0), 200); /* entities are there */
    ck_assert_int_eq(log_in(1), 200);
    write_quota("q", "{\"path\":\"auth/ap\",\"max_leases\":62}", 2);
    expirer_stop(b->core->expirer);
    bench_threads_start(b);
    for (uintptr_t i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, log_in_often, (void *)i), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    bench_threads_stop(b);
    ck_assert_uint_eq(made, LIMIT);
    ck_assert_uint_eq(refused, 240 - LIMIT);
    ck_assert_uint_eq(other, 0);
    ck_assert_uint_eq(count_now(), LIMIT + 2);
    core_became_leader(b->core, b->appended);
    ck_assert_uint_eq(count_now(), LIMIT + 2); /* what is in the store is what was counted */
    tear_down();
}
END_TEST

TEST_MAIN("node/core/lease count", refuses_what_is_too_many, a_refused_login_spends_nothing, the_narrowest_counts,
          a_new_leader_counts_anew, exactly_as_many_as_there_may_be)
