/* tests/unit/node/core/test_frame.c: requests that meet others between their run and their append;
 * one entry a request; uses, audit, tickets, standbys. */
#include "bench.h"
#include "node/base/memory.h"
#include "node/core/txn.h"
#include "node/format/encode.h"
#include "tests/lib/test.h"

static struct bench *b;
static char text[512], token_text[512];

static void tear_down(void)
{
    bench_free(b);
    b = NULL;
}

static int call_as(const char *token, const char *operation, const char *path, const char *body)
{
    return bench_call(b, token, operation, path, body, "errors.0", text);
}

static int call(const char *operation, const char *path, const char *body)
{
    return call_as(NULL, operation, path, body);
}

#define ck_call(want, operation, path, body)                                                       \
    do {                                                                                           \
        int got_ = call((operation), (path), (body));                                              \
        ck_assert_msg(got_ == (want), "%s %s: %d \"%s\"", (operation), (path), got_, text);        \
    } while (0)
#define ck_as(token, want, operation, path, body)                                                  \
    do {                                                                                           \
        int got_ = call_as((token), (operation), (path), (body));                                  \
        ck_assert_msg(got_ == (want), "%s %s: %d \"%s\"", (operation), (path), got_, text);        \
    } while (0)

/* A kv of each version, and a policy that allows the first. */
static void set_up(void)
{
    tear_down();
    b = bench_new();
    ck_call(204, "POST", "sys/mounts/s", "{\"type\":\"kv\"}");
    ck_call(204, "POST", "sys/mounts/v", "{\"type\":\"kv\",\"options\":{\"version\":\"2\"}}");
    ck_call(204, "POST", "sys/policies/acl/p",
            "{\"policy\":\"path \\\"s/*\\\" { capabilities = [\\\"create\\\",\\\"read\\\","
            "\\\"update\\\",\\\"delete\\\",\\\"list\\\"] } path \\\"sys/bench-host\\\" { "
            "capabilities = [\\\"read\\\",\\\"update\\\"] }\"}");
}

/* A user; apart, since the hash of the password takes its time. */
static void add_people(void)
{
    ck_call(204, "POST", "sys/auth/people", "{\"type\":\"userpass\"}");
    ck_call(204, "POST", "auth/people/users/u", "{\"password\":\"pw\",\"token_policies\":[\"p\"]}");
}

/* "-" when absent. */
static const char *secret(const char *path, const char *dotted)
{
    return bench_call(b, NULL, "GET", path, NULL, dotted, text) == 200 ? text : "-";
}

#define START_HELD(name, token, operation, path, body)                                             \
    b->holds = true;                                                                               \
    CF_OWNED(call) name = bench_start(b, (token), (operation), (path), (body));                    \
    b->holds = false;                                                                              \
    ck_assert(!name->is_done)

#define ck_ended(name, want)                                                                       \
    do {                                                                                           \
        call_wait(name);                                                                           \
        ck_assert(name->is_done);                                                                  \
        ck_assert_msg(name->status == (want), "%d: %s", name->status, call_at(name, "errors.0"));  \
    } while (0)

/* ---- losing the check ---- */

START_TEST(a_loser_runs_again_and_acts_once)
{
    set_up();
    START_HELD(first, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"first\"}}");
    START_HELD(second, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"second\"}}");
    uint64_t before = b->appended;
    bench_release(b, 1);
    ck_ended(second, 200);
    ck_assert_str_eq(call_at(second, "data.version"), "1");
    bench_release(b, 0);
    ck_ended(first, 200);
    ck_assert_str_eq(call_at(first, "data.version"), "2"); /* made from what the other left */
    ck_assert_uint_eq(b->conflicts, 1);
    ck_assert_uint_eq(b->appended, before + 2);
    ck_assert_str_eq(secret("v/data/a", "data.data.x"), "first");
    ck_assert_str_eq(secret("v/metadata/a", "data.current_version"), "2");
}
END_TEST

START_TEST(check_and_set)
{
    set_up();
    START_HELD(first, NULL, "POST", "v/data/a", "{\"options\":{\"cas\":0},\"data\":{\"x\":\"1\"}}");
    START_HELD(second, NULL, "POST", "v/data/a",
               "{\"options\":{\"cas\":0},\"data\":{\"x\":\"2\"}}");
    bench_release(b, 0);
    ck_ended(first, 200);
    uint64_t before = b->appended;
    bench_release(b, 0);
    ck_ended(second, 400);
    ck_assert_uint_eq(b->appended, before);
    ck_assert_str_eq(secret("v/data/a", "data.data.x"), "1");
}
END_TEST

START_TEST(unrelated_requests_do_not_disturb)
{
    set_up();
    START_HELD(first, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"1\"}}");
    ck_call(200, "POST", "v/data/b", "{\"data\":{\"x\":\"1\"}}");
    ck_call(204, "POST", "s/a", "{\"x\":\"1\"}");
    ck_call(200, "POST", "auth/token/create", "{}");
    bench_release(b, 0);
    ck_ended(first, 200);
    ck_assert_uint_eq(b->conflicts, 0);
}
END_TEST

/* The conflicting entry is in the log and not yet in the state: the loser waits for it, then runs.
 */
START_TEST(a_loser_waits_for_the_entry)
{
    set_up();
    START_HELD(first, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"first\"}}");
    b->holds_entries = true;
    CF_OWNED(call) second = bench_start(b, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"2\"}}");
    ck_assert_uint_eq(b->appended, b->applied + 1);
    bench_release(b, 0);
    ck_assert(!first->is_done && !second->is_done);
    ck_assert_uint_eq(b->conflicts, 1);
    ck_assert_uint_eq(b->appended, b->applied + 1);
    bench_apply(b);
    bench_apply(b);
    ck_ended(second, 200);
    ck_ended(first, 200);
    ck_assert_str_eq(call_at(first, "data.version"), "2");
    ck_assert_uint_eq(b->conflicts, 1);
}
END_TEST

/* ---- create or update ---- */

/* A write that replaces whatever is there reads nothing of it, so nothing comes in between. */
START_TEST(a_write_reads_only_what_decides)
{
    char token[64];
    set_up();
    ck_call(204, "POST", "sys/policies/acl/new",
            "{\"policy\":\"path \\\"s/*\\\" { capabilities = [\\\"create\\\"] }\"}");
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\"}", token);
    unsigned before = b->conflicts;
    START_HELD(both, token, "POST", "s/one", "{\"x\":\"late\"}");
    ck_call(204, "POST", "s/one", "{\"x\":\"early\"}");
    bench_release(b, 0);
    ck_ended(both, 204);
    ck_assert_uint_eq(b->conflicts, before);
    ck_assert_str_eq(secret("s/one", "data.x"), "late");

    /* Who may only create may not replace what came first. */
    bench_token(b, "{\"policies\":[\"new\"],\"ttl\":\"1h\"}", token);
    START_HELD(create, token, "POST", "s/two", "{\"x\":\"late\"}");
    ck_call(204, "POST", "s/two", "{\"x\":\"early\"}");
    bench_release(b, 0);
    ck_ended(create, 403);
    ck_assert_uint_eq(b->conflicts, before + 1);
    ck_assert_str_eq(secret("s/two", "data.x"), "early");
    ck_as(token, 204, "POST", "s/three", "{\"x\":\"1\"}");
    ck_as(token, 403, "POST", "s/three", "{\"x\":\"2\"}");
}
END_TEST

/* ---- what is taken away is gone ---- */

/* Holds a write of `token`, does the other request as root, and lets the write go on. */
static int write_overtaken_by(const char *token, const char *operation, const char *path,
                              const char *body, int want)
{
    START_HELD(held, token, "POST", "s/late", "{\"x\":\"late\"}");
    ck_call(want, operation, path, body);
    uint64_t before = b->appended;
    bench_release(b, 0);
    ck_assert(held->is_done);
    ck_assert_uint_eq(b->appended, before + (held->status < 400));
    return held->status;
}

START_TEST(no_write_after_a_revocation)
{
    char parent[64], child[64], body[128];
    set_up();
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\"}", child);
    snprintf(body, sizeof(body), "{\"token\":\"%s\"}", child);
    ck_assert_int_eq(write_overtaken_by(child, "POST", "auth/token/revoke", body, 204), 403);
    ck_assert_str_eq(secret("s/late", "data.x"), "-");

    /* With its parent. */
    bench_token(b, "{\"policies\":[\"p\",\"root\"],\"ttl\":\"1h\"}", parent);
    ck_assert_int_eq(bench_call(b, parent, "POST", "auth/token/create",
                                "{\"policies\":[\"p\"],\"ttl\":\"1h\"}", "auth.client_token", text),
                     200);
    snprintf(child, sizeof(child), "%.60s", text);
    snprintf(body, sizeof(body), "{\"token\":\"%s\"}", parent);
    ck_assert_int_eq(write_overtaken_by(child, "POST", "auth/token/revoke", body, 204), 403);
    ck_assert_str_eq(secret("s/late", "data.x"), "-");

    /* By itself, meanwhile. */
    bench_token(b, "{\"policies\":[\"p\",\"default\"],\"ttl\":\"1h\"}", child);
    START_HELD(held, child, "POST", "s/late", "{\"x\":\"late\"}");
    ck_as(child, 204, "POST", "auth/token/revoke-self", NULL);
    bench_release(b, 0);
    ck_ended(held, 403);
    ck_assert_str_eq(secret("s/late", "data.x"), "-");
}
END_TEST

START_TEST(no_write_after_a_change_of_policy)
{
    char token[64];
    set_up();
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\"}", token);
    ck_assert_int_eq(write_overtaken_by(token, "POST", "sys/policies/acl/p",
                                        "{\"policy\":\"path \\\"s/*\\\" { capabilities = "
                                        "[\\\"read\\\"] }\"}",
                                        204),
                     403);
    ck_assert_str_eq(secret("s/late", "data.x"), "-");
    /* A policy that was named and not there counts, too. */
    bench_token(b, "{\"policies\":[\"p\",\"coming\"],\"ttl\":\"1h\"}", token);
    ck_call(204, "POST", "sys/policies/acl/p",
            "{\"policy\":\"path \\\"s/*\\\" { capabilities = [\\\"create\\\",\\\"update\\\"] }\"}");
    ck_assert_int_eq(write_overtaken_by(token, "POST", "sys/policies/acl/coming",
                                        "{\"policy\":\"path \\\"s/*\\\" { capabilities = "
                                        "[\\\"deny\\\"] }\"}",
                                        204),
                     403);
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\"}", token);
    ck_assert_int_eq(write_overtaken_by(token, "DELETE", "sys/policies/acl/p", NULL, 204), 403);
    ck_assert_str_eq(secret("s/late", "data.x"), "-");
}
END_TEST

START_TEST(no_write_after_an_unmount)
{
    set_up();
    ck_assert_int_eq(write_overtaken_by(NULL, "DELETE", "sys/mounts/s", NULL, 204), 404);
    /* What stood there before does not come back with a new mount of that name, and the write that
     * was meant for the old one goes into the new one or nowhere. */
    ck_call(204, "POST", "sys/mounts/s", "{\"type\":\"kv\"}");
    ck_call(204, "POST", "s/old", "{\"x\":\"old\"}");
    START_HELD(held, NULL, "POST", "s/late", "{\"x\":\"late\"}");
    ck_call(204, "DELETE", "sys/mounts/s", NULL);
    ck_call(204, "POST", "sys/mounts/s", "{\"type\":\"kv\"}");
    bench_release(b, 0);
    ck_ended(held, 204);
    ck_assert_str_eq(secret("s/late", "data.x"), "late");
    ck_assert_str_eq(secret("s/old", "data.x"), "-");
    /* Nothing is left below the mounts that went. */
    CF_OWNED(kv_iterator)
    iterator =
        kv_iterator_new(kv_now(b->kv), b->state, (struct kv_range){{NULL, 0}, {NULL, 0}, false});
    size_t data = 0;
    for (kv_seek_first(iterator); kv_valid(iterator); kv_next(iterator)) {
        struct key key;
        uint32_t generation;
        data += key_decode(kv_key(iterator), &key, &generation) &&
                cf_slice_starts(key.name, CF_SLICE(AREA_DATA)) && key.class == CLASS_REPLICATED &&
                memmem(key.name.data, key.name.size, "late", 4) != NULL;
    }
    ck_assert_uint_eq(data, 1);
}
END_TEST

START_TEST(no_write_by_a_login_of_a_disabled_method)
{
    char token[64];
    set_up();
    add_people();
    ck_assert_int_eq(bench_call(b, "", "POST", "auth/people/login/u", "{\"password\":\"pw\"}",
                                "auth.client_token", text),
                     200);
    snprintf(token, sizeof(token), "%.60s", text);
    ck_assert_int_eq(write_overtaken_by(token, "DELETE", "sys/auth/people", NULL, 204), 403);
    ck_assert_str_eq(secret("s/late", "data.x"), "-");
}
END_TEST

START_TEST(no_write_after_a_change_of_role)
{
    set_up();
    START_HELD(held, NULL, "POST", "s/late", "{\"x\":\"late\"}");
    bench_role(b, "fenced");
    uint64_t before = b->appended;
    bench_release(b, 0);
    ck_ended(held, 503);
    ck_assert_uint_eq(b->appended, before);
}
END_TEST

/* ---- one request, one entry ---- */

static uint64_t entries_of(const char *token, const char *operation, const char *path,
                           const char *body, int want)
{
    uint64_t before = b->appended;
    ck_as(token, want, operation, path, body);
    return b->appended - before;
}

START_TEST(one_entry)
{
    char token[64], body[128];
    set_up();
    add_people();
    static const struct {
        const char *operation, *path, *body;
        int status;
        uint64_t entries;
    } steps[] = {
        {"POST", "s/a", "{\"x\":1}", 204, 1},
        {"GET", "s/a", NULL, 200, 0},
        {"LIST", "s", NULL, 200, 0},
        {"DELETE", "s/a", NULL, 204, 1},
        {"POST", "v/data/a", "{\"data\":{\"x\":1}}", 200, 1},
        {"POST", "v/data/a", "{\"data\":{\"x\":2}}", 200, 1},
        {"GET", "v/data/a", NULL, 200, 0},
        {"DELETE", "v/metadata/a", NULL, 204, 1},
        {"POST", "auth/token/create", "{\"ttl\":\"1h\"}", 200, 1},
        {"POST", "auth/people/login/u", "{\"password\":\"pw\"}", 200, 1},
        {"POST", "sys/mounts/m", "{\"type\":\"kv\"}", 204, 1},
        {"POST", "sys/mounts/m/tune", "{\"max_lease_ttl\":\"5h\"}", 204, 1},
        {"DELETE", "sys/mounts/m", NULL, 204, 1},
        {"POST", "sys/auth/m", "{\"type\":\"userpass\"}", 204, 1},
        {"DELETE", "sys/auth/m", NULL, 204, 1},
        {"POST", "sys/policies/acl/q", "{\"policy\":\"path \\\"x\\\" {}\"}", 204, 1},
        {"GET", "sys/mounts", NULL, 200, 0},
        {"POST", "sys/capabilities-self", "{\"paths\":[\"s/a\"]}", 200, 0},
        {"POST", "auth/people/login/u", "{\"password\":\"no\"}", 400, 1}, /* is counted */
        /* what fails otherwise has no effect */
        {"POST", "v/data/a", "{\"options\":{\"cas\":7},\"data\":{}}", 400, 0},
        {"POST", "sys/mounts/s", "{\"type\":\"kv\"}", 400, 0},
        {"POST", "nowhere/x", "{}", 404, 0},
        {"POST", "sys/unknown", "{}", 404, 0},
        {"DELETE", "sys/mounts", NULL, 405, 0},
    };
    for (size_t i = 0; i < CF_LENGTH(steps); i++) {
        uint64_t entries =
            entries_of(NULL, steps[i].operation, steps[i].path, steps[i].body, steps[i].status);
        ck_assert_msg(entries == steps[i].entries, "%s %s: %u entries", steps[i].operation,
                      steps[i].path, (unsigned)entries);
    }
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\"}", token);
    ck_assert_uint_eq(entries_of(token, "POST", "v/data/a", "{\"data\":{}}", 403), 0);
    ck_assert_uint_eq(entries_of("", "POST", "s/a", "{}", 403), 0);
    ck_assert_uint_eq(entries_of("hvs.wrong", "POST", "s/a", "{}", 403), 0);
    snprintf(body, sizeof(body), "{\"token\":\"%s\"}", token);
    ck_assert_uint_eq(entries_of(NULL, "POST", "auth/token/revoke", body, 204), 1);
    ck_assert_uint_eq(core_entry_count(b->core), b->appended - 1); /* all but the first content */
}
END_TEST

START_TEST(a_wrapped_answer_is_one_entry)
{
    char token[64], body[128];
    set_up();
    ck_call(204, "POST", "s/a", "{\"x\":\"1\"}");
    b->wrap_ttl_s = 60;
    uint64_t before = b->appended;
    ck_assert_int_eq(bench_call(b, NULL, "GET", "s/a", NULL, "wrap_info.token", token_text), 200);
    ck_assert_uint_eq(b->appended, before + 1);
    ck_call(404, "GET", "s/absent", NULL);        /* an error is not wrapped */
    ck_call(204, "POST", "s/b", "{\"x\":\"1\"}"); /* nor is an answer without content */
    ck_assert_uint_eq(b->appended, before + 2);
    b->wrap_ttl_s = -1;
    ck_call(400, "GET", "s/a", NULL);
    b->wrap_ttl_s = 0;
    ck_assert_uint_eq(b->appended, before + 2);
    snprintf(token, sizeof(token), "%.60s", token_text);
    snprintf(body, sizeof(body), "{\"token\":\"%s\"}", token);
    ck_assert_int_eq(bench_call(b, NULL, "POST", "sys/wrapping/unwrap", body, "data.x", text), 200);
    ck_assert_str_eq(text, "1");
    ck_assert_uint_eq(b->appended, before + 3);
    ck_call(400, "POST", "sys/wrapping/unwrap", body); /* once */
    ck_assert_uint_eq(b->appended, before + 3);
    /* Two at once: one of them gets it. */
    b->wrap_ttl_s = 60;
    ck_assert_int_eq(bench_call(b, NULL, "GET", "s/a", NULL, "wrap_info.token", token_text), 200);
    b->wrap_ttl_s = 0;
    snprintf(body, sizeof(body), "{\"token\":\"%.60s\"}", token_text);
    START_HELD(first, NULL, "POST", "sys/wrapping/unwrap", body);
    START_HELD(second, NULL, "POST", "sys/wrapping/unwrap", body);
    bench_release(b, 0);
    bench_release(b, 0);
    ck_ended(first, 200);
    ck_ended(second, 400);
}
END_TEST

/* ---- counted uses ---- */

START_TEST(uses)
{
    char token[64];
    set_up();
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\",\"num_uses\":2}", token);
    ck_assert_uint_eq(entries_of(token, "POST", "s/a", "{\"x\":\"1\"}", 204), 1); /* with the use */
    ck_assert_uint_eq(entries_of(token, "GET", "s/a", NULL, 200), 1);
    ck_assert_uint_eq(entries_of(token, "GET", "s/a", NULL, 403), 0);
    /* What is refused costs a use and does nothing else. */
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\",\"num_uses\":2}", token);
    ck_assert_uint_eq(entries_of(token, "POST", "v/data/a", "{\"data\":{}}", 403), 1);
    ck_assert_uint_eq(entries_of(token, "GET", "s/absent", NULL, 404), 1);
    ck_as(token, 403, "GET", "s/a", NULL);
    ck_assert_str_eq(secret("v/data/a", "data"), "-");
}
END_TEST

START_TEST(one_use_never_allows_two_effects)
{
    char token[64];
    set_up();
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\",\"num_uses\":1}", token);
    START_HELD(first, token, "POST", "s/1", "{\"x\":\"1\"}");
    START_HELD(second, token, "POST", "s/2", "{\"x\":\"2\"}");
    bench_release(b, 1);
    ck_ended(second, 204);
    bench_release(b, 0);
    ck_ended(first, 403);
    ck_assert_str_eq(secret("s/1", "data.x"), "-");
    /* Nor on the host's routes, whose effects are no write sets. */
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\",\"num_uses\":1}", token);
    START_HELD(third, token, "POST", "sys/bench-host", "{}");
    START_HELD(fourth, token, "POST", "sys/bench-host", "{}");
    ck_assert_uint_eq(b->host_calls, 0); /* the use comes first */
    bench_release(b, 0);
    bench_release(b, 0);
    ck_ended(third, 200);
    ck_ended(fourth, 403);
    ck_assert_uint_eq(b->host_calls, 1);
    ck_as(token, 403, "GET", "sys/bench-host", NULL);
    ck_call(200, "GET", "sys/bench-host", NULL); /* others are not counted */
    ck_assert_uint_eq(b->host_calls, 2);
}
END_TEST

START_TEST(a_performance_secondary_spends_before_it_sends)
{
    char token[64];
    set_up();
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\",\"num_uses\":1}", token);
    bench_role(b, "performance-secondary");
    uint64_t before = b->appended;
    CF_OWNED(call) first = bench_start(b, token, "POST", "s/1", "{\"x\":\"1\"}");
    ck_assert(!first->is_done);
    ck_assert_uint_eq(b->forwards, 1);
    ck_assert(b->to_primary);
    ck_assert_uint_eq(b->appended, before + 1); /* the use, and nothing that is replicated */
    CF_OWNED(arena) arena = arena_new(4096);
    struct command entry = bench_entry(b, b->appended, arena);
    for (size_t i = 0; i < entry.op_count; i++) {
        ck_assert_int_eq(entry.ops[i].key.class, CLASS_CLUSTER);
    }
    ck_as(token, 403, "POST", "s/2", "{}");
    ck_assert_uint_eq(b->forwards, 1);
    core_host_done(&first->rq, CF_OK);
    ck_ended(first, 204);
    /* Without counted uses nothing is written here. */
    before = b->appended;
    CF_OWNED(call) second = bench_start(b, NULL, "POST", "s/1", "{\"x\":\"1\"}");
    ck_assert_uint_eq(b->forwards, 2);
    ck_assert_uint_eq(b->appended, before);
    cf_fail(&second->rq.error, CF_READ_ONLY, "the primary cannot be reached");
    core_host_done(&second->rq, CF_READ_ONLY);
    ck_ended(second, 503);
    ck_call(200, "POST", "auth/token/create", "{\"ttl\":\"1h\"}"); /* of class cluster: here */
    ck_assert_uint_eq(b->forwards, 2);
}
END_TEST

/* Its state may be behind what this very client was told: only the primary refuses, or says that there is nothing to do. */
START_TEST(a_performance_secondary_refuses_no_change_of_shared_data)
{
    static const struct {
        const char *operation, *path, *body;
    } changes[] = {
        {"POST", "v/data/a", "{\"data\":{\"x\":\"2\"},\"options\":{\"cas\":1}}"},
        {"PATCH", "v/data/a", "{\"data\":{\"x\":\"2\"}}"},
        {"DELETE", "v/data/a", NULL},
        {"DELETE", "s/a", NULL},
        {"POST", "v/undelete/a", "{\"versions\":[1]}"},
    };
    char token[64];
    set_up();
    ck_call(204, "POST", "sys/mounts/near", "{\"type\":\"kv\",\"local\":true,\"options\":{\"version\":\"2\"}}");
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\",\"num_uses\":2}", token);
    bench_role(b, "performance-secondary");
    for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        CF_OWNED(call) call = bench_start(b, NULL, changes[i].operation, changes[i].path, changes[i].body);
        bench_wait_forwards(b, i + 1);
        ck_assert_msg(!call->is_done && b->to_primary, "%s %s", changes[i].operation, changes[i].path);
        call->rq.response = (struct response){.status = 204}; /* the primary's */
        core_host_done(&call->rq, CF_OK);
        ck_ended(call, 204); /* what was found here is forgotten */
    }
    unsigned forwards = b->forwards;
    CF_OWNED(call) counted = bench_start(b, token, "DELETE", "s/a", NULL);
    bench_wait_forwards(b, ++forwards); /* the use is spent here */
    core_host_done(&counted->rq, CF_OK);
    ck_ended(counted, 204);
    /* What is this cluster's own is decided here, and so is what is only read. */
    ck_call(400, "POST", "near/data/a", "{\"data\":{\"x\":\"2\"},\"options\":{\"cas\":1}}");
    ck_call(404, "GET", "v/data/a", NULL);
    ck_call(404, "GET", "s/a", NULL);
    ck_as("", 403, "POST", "s/a", "{}");
    ck_assert_uint_eq(b->forwards, forwards);
}
END_TEST

/* ---- tickets ---- */

START_TEST(the_loser_is_not_passed_by)
{
    set_up();
    START_HELD(old, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"old\"}}");
    ck_call(200, "POST", "v/data/a", "{\"data\":{\"x\":\"1\"}}");
    b->holds = true;
    bench_release(b, 0); /* loses, takes a ticket, runs again and is held again */
    b->holds = false;
    ck_assert(!old->is_done);
    ck_assert_uint_eq(b->held_count, 1);
    CF_OWNED(call) young = bench_start(b, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"young\"}}");
    CF_OWNED(call) other = bench_start(b, NULL, "POST", "v/data/b", "{\"data\":{\"x\":\"other\"}}");
    ck_assert(!young->is_done);
    ck_ended(other, 200);
    bench_release(b, 0);
    ck_ended(old, 200);
    ck_assert_str_eq(call_at(old, "data.version"), "2");
    ck_ended(young, 200);
    ck_assert_str_eq(call_at(young, "data.version"), "3");
}
END_TEST

/* A ticket ends with its request, whatever becomes of that. */
START_TEST(tickets_end)
{
    set_up();
    START_HELD(old, NULL, "POST", "v/data/a", "{\"options\":{\"cas\":0},\"data\":{\"x\":\"o\"}}");
    ck_call(200, "POST", "v/data/a", "{\"data\":{\"x\":\"1\"}}");
    b->holds = true;
    bench_release(b, 0); /* loses; in its second run the cas fails, and it ends */
    b->holds = false;
    ck_ended(old, 400);
    ck_call(200, "POST", "v/data/a", "{\"data\":{\"x\":\"2\"}}");

    START_HELD(lost, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"lost\"}}");
    ck_call(200, "POST", "v/data/a", "{\"data\":{\"x\":\"3\"}}");
    b->holds = true;
    bench_release(b, 0);
    b->holds = false;
    CF_OWNED(call) young = bench_start(b, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"4\"}}");
    ck_assert(!young->is_done);
    struct proposal *proposal = b->held[0];
    b->held_count = 0;
    proposal->done(proposal, CF_TIMEOUT, 0);
    ck_ended(lost, 504);
    ck_ended(young, 200);

    /* A new leader's window knows no tickets: who waited for one goes on. */
    START_HELD(again, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"again\"}}");
    ck_call(200, "POST", "v/data/a", "{\"data\":{\"x\":\"5\"}}");
    b->holds = true;
    bench_release(b, 0);
    b->holds = false;
    CF_OWNED(call) next = bench_start(b, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"6\"}}");
    ck_assert(!next->is_done);
    core_became_leader(b->core, b->appended);
    ck_ended(next, 200);
    bench_release(b, 0);
    ck_ended(again, 200);
}
END_TEST

/* ---- audit ---- */

struct recorded {
    enum audit_phase phase;
    uint64_t appended;
    bool has_error;
};
static struct recorded records[64];
static _Atomic size_t record_count;
static _Atomic int fails_at; /* -1: never; else the phase that nobody takes */

static cf_status audit_make(const struct audit_settings *settings, void **ret, struct cf_error *err)
{
    (void)settings;
    (void)err;
    *ret = &records;
    return CF_OK;
}

static bool line_has(struct cf_slice line, const char *word)
{
    return memmem(line.data, line.size, word, strlen(word)) != NULL;
}

static cf_status audit_write(void *device, struct cf_slice lines, const _Atomic bool *stop,
                             struct cf_error *err)
{
    (void)device;
    (void)stop;
    while (lines.size != 0) {
        struct cf_slice line = cf_slice_first(lines, cf_slice_find(lines, '\n'));
        enum audit_phase phase = line_has(line, "\"outcome\":")             ? AUDIT_OUTCOME
                                 : line_has(line, "\"type\":\"response\"") ? AUDIT_RESPONSE
                                                                           : AUDIT_REQUEST;
        if ((int)phase == fails_at) {
            return cf_fail(err, CF_IO, "the audit disk is full");
        }
        if (record_count < CF_LENGTH(records)) {
            records[record_count] =
                (struct recorded){phase, b->appended, line_has(line, "\"error\":")};
            record_count++;
        }
        lines = cf_slice_from(lines, line.size + 1);
    }
    return CF_OK;
}

static void audit_nothing(void *device)
{
    (void)device;
}

static void set_up_audit(void)
{
    static const char *const options[] = {NULL};
    static const struct audit_ops ops = {
        "test", options, audit_make, audit_write, audit_nothing, audit_nothing};
    static const struct audit_ops *const all[] = {&ops, NULL};
    bench_audit = all;
    fails_at = -1;
    set_up();
    ck_call(204, "POST", "sys/audit/t", "{\"type\":\"test\",\"options\":{\"skip_test\":\"true\"}}");
    record_count = 0;
}

START_TEST(both_records_before_the_append)
{
    char token[64];
    set_up_audit();
    uint64_t before = b->appended;
    ck_call(204, "POST", "s/a", "{\"x\":\"1\"}");
    ck_assert_uint_eq(record_count, 2);
    ck_assert_int_eq(records[0].phase, AUDIT_REQUEST);
    ck_assert_int_eq(records[1].phase, AUDIT_RESPONSE);
    ck_assert_uint_eq(records[0].appended, before);
    ck_assert_uint_eq(records[1].appended, before);
    ck_assert(!records[1].has_error); /* whatever was looked up in vain on the way */
    ck_as("wrong", 200, "GET", "sys/internal/ui/mounts", NULL);
    ck_assert(!records[record_count - 1].has_error);
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\"}", token);
    record_count = 0;
    ck_as(token, 403, "GET", "v/data/a", NULL); /* refused ones, too */
    ck_assert_uint_eq(record_count, 2);
    ck_assert(records[1].has_error);
    record_count = 0;
    ck_call(404, "GET", "nowhere", NULL);
    ck_assert_uint_eq(record_count, 2);
    record_count = 0;
    ck_call(200, "GET", "sys/bench-host", NULL);
    ck_assert_uint_eq(record_count, 2);
}
END_TEST

START_TEST(what_is_not_recorded_has_no_effect)
{
    set_up_audit();
    uint64_t before = b->appended;
    for (fails_at = AUDIT_REQUEST; fails_at <= AUDIT_RESPONSE; fails_at++) {
        ck_call(500, "POST", "s/a", "{\"x\":\"1\"}");
        ck_call(500, "GET", "s/a", NULL);
        ck_call(500, "GET", "nowhere", NULL);
        ck_assert_uint_eq(b->appended, before);
    }
    fails_at = AUDIT_REQUEST;
    ck_call(500, "GET", "sys/bench-host", NULL);
    ck_assert_uint_eq(b->host_calls, 0);
    fails_at = AUDIT_RESPONSE;
    ck_call(504, "GET", "sys/bench-host", NULL); /* it may have happened */
    fails_at = -1;
    ck_assert_str_eq(secret("s/a", "data.x"), "-");
}
END_TEST

START_TEST(a_lost_commit_is_recorded)
{
    set_up_audit();
    b->refusal = CF_UNKNOWN_OUTCOME;
    ck_call(504, "POST", "s/a", "{\"x\":\"1\"}");
    for (int i = 0; i < 3000 && record_count < 3; i++) { /* nobody waits for this one */
        struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    ck_assert_uint_eq(record_count, 3);
    ck_assert_int_eq(records[2].phase, AUDIT_OUTCOME);
    ck_assert(records[2].has_error);
    b->refusal = CF_NO_SPACE;
    ck_call(507, "POST", "s/a", "{\"x\":\"1\"}");
    b->refusal = CF_BUSY;
    ck_call(503, "POST", "s/a", "{\"x\":\"1\"}");
    b->refusal = CF_OK;
    ck_assert_str_eq(secret("s/a", "data.x"), "-");
}
END_TEST

/* ---- standbys ---- */

START_TEST(a_standby)
{
    char token[64];
    set_up_audit();
    ck_call(204, "POST", "s/a", "{\"x\":\"1\"}");
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\",\"num_uses\":5}", token);
    b->is_passive = true;
    record_count = 0;
    ck_assert_str_eq(secret("s/a", "data.x"), "1"); /* after a read index */
    ck_assert_uint_eq(b->reads_asked, 1);
    ck_assert_uint_eq(record_count, 2);
    ck_as("", 403, "POST", "s/a", "{}"); /* a refusal stands on a read index, too */
    ck_assert_uint_eq(b->reads_asked, 2);
    ck_assert_uint_eq(b->forwards, 0);
    record_count = 0;
    CF_OWNED(call) write = bench_start(b, NULL, "POST", "s/a", "{\"x\":\"2\"}");
    bench_wait_forwards(b, 1);
    ck_assert(!b->to_primary);
    ck_assert_uint_eq(record_count, 1); /* before it is sent */
    core_host_done(&write->rq, CF_OK);
    ck_ended(write, 204);
    ck_assert_uint_eq(record_count, 2);
    CF_OWNED(call) counted = bench_start(b, token, "GET", "s/a", NULL);
    bench_wait_forwards(b, 2);
    fails_at = AUDIT_RESPONSE; /* it was done over there: never an error that means "no effect" */
    core_host_done(&counted->rq, CF_OK);
    ck_ended(counted, 504);
    ck_assert_uint_eq(b->appended, b->applied);
}
END_TEST

START_TEST(leadership_lost_before_the_append)
{
    set_up();
    START_HELD(held, NULL, "POST", "s/a", "{\"x\":\"1\"}");
    struct proposal *proposal = b->held[0];
    b->held_count = 0;
    b->is_passive = true;
    proposal->done(proposal, CF_NOT_LEADER, 0); /* it was not appended: the new active node's */
    ck_assert(!held->is_done);
    ck_assert_uint_eq(b->forwards, 1);
    core_host_done(&held->rq, CF_OK);
    ck_ended(held, 204);
}
END_TEST

/* The conflicting entry was of a log that lost: nobody waits for an index that never comes. */
START_TEST(leadership_lost_while_waiting)
{
    set_up();
    START_HELD(first, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"first\"}}");
    b->holds_entries = true;
    CF_OWNED(call) second = bench_start(b, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"2\"}}");
    bench_release(b, 0);
    ck_assert(!first->is_done);
    b->is_passive = true;
    core_background_stop(b->core);
    ck_assert_uint_eq(b->forwards, 1);
    ck_assert_ptr_eq(b->forwarded, &first->rq);
    core_host_done(&first->rq, CF_OK);
    ck_assert(first->is_done);
    bench_apply(b);
    ck_ended(second, 200);
}
END_TEST

START_TEST(absent_and_help)
{
    set_up();
    CF_OWNED(call) absent = bench_start(b, NULL, "GET", "s/a", NULL);
    ck_ended(absent, 404);
    ck_assert_str_eq(call_at(absent, "errors"), "[]");
    CF_OWNED(call) help = bench_start(b, NULL, "HELP", "s/a", NULL);
    ck_ended(help, 200);
    ck_assert_str_ne(call_at(help, "help"), "");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_loser_runs_again_and_acts_once,
                                  check_and_set,
                                  unrelated_requests_do_not_disturb,
                                  a_loser_waits_for_the_entry,
                                  a_write_reads_only_what_decides,
                                  no_write_after_a_revocation,
                                  no_write_after_a_change_of_policy,
                                  no_write_after_an_unmount,
                                  no_write_by_a_login_of_a_disabled_method,
                                  no_write_after_a_change_of_role,
                                  one_entry,
                                  a_wrapped_answer_is_one_entry,
                                  uses,
                                  one_use_never_allows_two_effects,
                                  a_performance_secondary_spends_before_it_sends,
                                  a_performance_secondary_refuses_no_change_of_shared_data,
                                  the_loser_is_not_passed_by,
                                  tickets_end,
                                  both_records_before_the_append,
                                  what_is_not_recorded_has_no_effect,
                                  a_lost_commit_is_recorded,
                                  a_standby,
                                  leadership_lost_before_the_append,
                                  leadership_lost_while_waiting,
                                  absent_and_help};
    int failed = test_run("node/core/frame", tests, CF_LENGTH(tests));
    tear_down();
    return failed;
}
