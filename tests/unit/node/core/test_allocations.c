/* tests/unit/node/core/test_allocations.c: how often a request of the hot paths allocates, from its submission to
 * its answer, or to its proposal if it writes (what the store does then is the store's). The numbers may only become smaller: who
 * makes one smaller lowers it here. Once everything is cached, a request that allocates more than before does
 * something again that could be done once. */
#include "bench.h"
#include "node/base/memory.h"
#include "node/core/envelope.h"
#include "node/core/policy.h"
#include "node/crypto/random.h"
#include "tests/lib/alloc_count.h"
#include "tests/lib/test.h"

#define WARM 8    /* rounds that fill caches */
#define ROUNDS 16 /* rounds that count: the smallest is the request itself, others pay for growth of tables */

static struct bench *b;
static char token[128];
static struct arena *arena;

static void request_post(struct request *rq, void (*run)(void *), void *arg)
{
    (void)rq;
    run(arg);
}

static void request_done(struct request *rq)
{
    *(bool *)rq->transport = true;
}

/* One request; what was allocated between its submission and its answer. */
static uint64_t count_one(enum operation operation, const char *path, const char *body, int want)
{
    bool is_done = false;
    arena_reset(arena);
    struct request *rq = arena_new_object(arena, struct request);
    rq->arena = arena;
    rq->random = random_system();
    rq->operation = operation;
    rq->path = cf_slice_str(path);
    rq->token = cf_slice_str(token);
    rq->remote_address = CF_SLICE("127.0.0.1");
    rq->post = request_post;
    rq->done = request_done;
    rq->transport = &is_done;
    (void)snprintf(rq->id, sizeof(rq->id), "00000000-0000-4000-8000-000000000000");
    if (body != NULL) {
        rq->raw_body = cf_slice_str(body);
        ck_ok(json_parse(arena, rq->raw_body, NULL, &rq->body, NULL));
    }
    (void)alloc_count();
    b->holds = true;
    core_submit(b->core, rq);
    uint64_t count = alloc_count();
    b->holds = false;
    if (b->held_count != 0) {
        bench_release(b, 0);
    }
    ck_assert(is_done);
    ck_assert_int_eq(envelope_status(rq), want);
    return count;
}

static void check(const char *name, enum operation operation, const char *path, const char *body, int want,
                  uint64_t most)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < WARM + ROUNDS; i++) {
        uint64_t count = count_one(operation, path, body, want);
        least = i >= WARM && count < least ? count : least;
    }
    printf("%s: %llu allocations\n", name, (unsigned long long)least);
    ck_assert_msg(least <= most, "%s: %llu allocations, not more than %llu before", name,
                  (unsigned long long)least, (unsigned long long)most);
}

static void set_up(void)
{
    b = bench_new();
    ck_assert_int_eq(bench_call(b, NULL, "POST", "sys/mounts/v1", "{\"type\":\"kv\"}", NULL, NULL), 204);
    ck_assert_int_eq(bench_call(b, NULL, "POST", "sys/mounts/v2",
                                "{\"type\":\"kv\",\"options\":{\"version\":\"2\"}}", NULL, NULL),
                     204);
    ck_assert_int_eq(
        bench_call(b, NULL, "POST", "sys/policies/acl/p",
                   "{\"policy\":\"path \\\"v1/*\\\" { capabilities=[\\\"create\\\",\\\"read\\\",\\\"update\\\"] }"
                   " path \\\"v2/+/a/*\\\" { capabilities=[\\\"create\\\",\\\"read\\\",\\\"update\\\"] }\"}",
                   NULL, NULL),
        204);
    bench_token(b, "{\"policies\":[\"p\"]}", token);
}

START_TEST(of_hot_paths)
{
    set_up();
    check("kv v1 write", OPERATION_UPDATE, "v1/a/b", "{\"k\":\"v\"}", 204, 12);
    check("kv v1 read", OPERATION_READ, "v1/a/b", NULL, 200, 5);
    check("kv v2 write", OPERATION_UPDATE, "v2/data/a/b", "{\"data\":{\"k\":\"v\"}}", 200, 14);
    check("kv v2 read", OPERATION_READ, "v2/data/a/b", NULL, 200, 5);
    check("token lookup-self", OPERATION_READ, "auth/token/lookup-self", NULL, 200, 5);
    check("a refusal by policy", OPERATION_READ, "v2/data/b/b", NULL, 403, 5);
}
END_TEST

/* Compiled once: a decision allocates and parses nothing. */
START_TEST(of_a_decision)
{
    struct policy *policy;
    struct acl *acl;
    struct json *body;
    ck_ok(policy_parse(CF_SLICE("p"),
                       CF_SLICE("path \"a/+/c\" { capabilities=[\"update\"] allowed_parameters={k=[\"x*\"] "
                                "\"*\"=[]} denied_parameters={d=[]} required_parameters=[\"k\"] }\n"
                                "path \"a/*\" { capabilities=[\"read\"] min_wrapping_ttl=\"5s\" }\n"
                                "path \"a/b\" { capabilities=[\"list\"] }"),
                       &policy, NULL));
    ck_ok(acl_new(&policy, 1, false, NULL, &acl, NULL));
    ck_ok(json_parse(arena, CF_SLICE("{\"k\":\"x1\",\"n\":5}"), NULL, &body, NULL));
    static const char *const paths[] = {"a/b/c", "a/b", "a/b/", "a/x/y/z", "none"};
    unsigned allowed = 0;
    (void)alloc_count();
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        for (int operation = 0; operation < OPERATION_COUNT; operation++) {
            struct acl_request request = {.path = cf_slice_str(paths[i]),
                                          .operation = (enum operation)operation,
                                          .body = body,
                                          .wrap_ttl_s = 10};
            allowed += acl_allows(acl, &request);
            (void)acl_capabilities(acl, request.path);
        }
    }
    uint64_t count = alloc_count();
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_gt(allowed, 4);
    acl_unref(acl);
    policy_unref(policy);
}
END_TEST

/* The counter counts. */
START_TEST(of_an_allocation)
{
    (void)alloc_count();
    void *one = cf_alloc(10);
    uint64_t allocated = alloc_count();
    cf_free(one);
    uint64_t freed = alloc_count();
    ck_assert_uint_eq(allocated, 1);
    ck_assert_uint_eq(freed, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {of_an_allocation, of_a_decision, of_hot_paths};
    arena = arena_new(65536);
    int status = test_run("node/core/allocations", tests, sizeof(tests) / sizeof(tests[0]));
    bench_free(b);
    arena_free(arena);
    return status;
}
