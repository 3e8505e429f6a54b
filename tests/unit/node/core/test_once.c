/* tests/unit/node/core/test_once.c: a forwarded request runs once, whatever happens on the way. */
#include "node/core/once.h"

#include "bench.h"
#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/core/core_int.h"
#include "tests/lib/test.h"

static struct bench *b;

static void set_up(void)
{
    bench_free(b);
    b = bench_new();
    ck_assert_int_eq(bench_call(b, NULL, "POST", "sys/mounts/v",
                                "{\"type\":\"kv\",\"options\":{\"version\":\"2\"}}", NULL, NULL),
                     204);
}

/* The requests that follow are try number `tries` of the request `number`. */
static void as_forwarded(uint8_t number, uint32_t tries)
{
    struct view *view = core_view(b->core);
    b->once = (struct once){.is_present = true, .tries = tries, .group = once_group(view_now_ns(view))};
    memset(b->once.id, number, sizeof(b->once.id));
    memset(b->once.key, 0x40 + number, sizeof(b->once.key));
    view_unref(view);
}

static void as_direct(void)
{
    b->once = (struct once){0};
}

static int post(const char *path, const char *body, char text[512], const char *at)
{
    return bench_call(b, NULL, "POST", path, body, at, text);
}

/* ---- decisions ---- */

START_TEST(verdicts)
{
    struct once once = {.is_present = true, .tries = 1, .group = 100};
    ck_assert_int_eq(once_judge(&once, false, 0, 100), ONCE_RUN);
    ck_assert_int_eq(once_judge(&once, false, 100, 100), ONCE_RUN);
    ck_assert_int_eq(once_judge(&once, false, 101, 100), ONCE_REGROUP);
    ck_assert_int_eq(once_judge(&once, false, 0, 100 + ONCE_KEEP_GROUPS), ONCE_RUN);
    ck_assert_int_eq(once_judge(&once, false, 0, 101 + ONCE_KEEP_GROUPS), ONCE_REGROUP);
    ck_assert_int_eq(once_judge(&once, false, 0, 100 - ONCE_AHEAD_GROUPS), ONCE_RUN);
    ck_assert_int_eq(once_judge(&once, false, 0, 99 - ONCE_AHEAD_GROUPS), ONCE_REGROUP);
    ck_assert_int_eq(once_judge(&once, true, 0, 100), ONCE_REPLAY);
    once.tries = 2;
    ck_assert_int_eq(once_judge(&once, false, 0, 100), ONCE_RUN);
    ck_assert_int_eq(once_judge(&once, false, 101, 100), ONCE_GONE);
    ck_assert_int_eq(once_judge(&once, false, 0, 101 + ONCE_KEEP_GROUPS), ONCE_GONE);
    ck_assert_int_eq(once_judge(&once, true, 0, 100), ONCE_REPLAY);
    /* What is droppable is refused by then. */
    once.group = once_droppable(500) - 1;
    ck_assert_int_ne(once_judge(&once, false, 0, 500), ONCE_RUN);
    ck_assert_uint_eq(once_droppable(3), 0);
}
END_TEST

START_TEST(tries)
{
    static const struct {
        bool has_id;
        cf_status status;
        bool sent, repeatable;
        uint32_t before;
        uint64_t now;
        enum once_next want;
        uint32_t after;
    } rows[] = {
        /* Nothing can have run: sought until 100. */
        {true, CF_UNAVAILABLE, false, false, 1, 50, ONCE_TRY_AGAIN, 1},
        {true, CF_NOT_LEADER, true, false, 1, 99, ONCE_TRY_AGAIN, 1},
        {true, CF_BUSY, true, false, 1, 100, ONCE_UNTOUCHED, 1},
        {true, CF_TIMEOUT, false, false, 1, 50, ONCE_TRY_AGAIN, 1},
        {false, CF_TIMEOUT, false, false, 0, 50, ONCE_TRY_AGAIN, 0},
        {false, CF_UNAVAILABLE, false, false, 0, 100, ONCE_UNTOUCHED, 0},
        /* It may have run: asked for until 200, and every later failure remembers it. */
        {true, CF_UNKNOWN_OUTCOME, true, false, 1, 50, ONCE_TRY_AGAIN, 2},
        {true, CF_TIMEOUT, true, false, 1, 199, ONCE_TRY_AGAIN, 2},
        {true, CF_UNAVAILABLE, false, false, 2, 150, ONCE_TRY_AGAIN, 2},
        {true, CF_UNAVAILABLE, false, false, 2, 200, ONCE_UNKNOWN, 2},
        {true, CF_INVALID, true, false, 2, 50, ONCE_UNKNOWN, 2},
        {true, CF_INVALID, true, false, 1, 50, ONCE_REFUSED, 1},
        /* Without an id there is one try. */
        {false, CF_UNKNOWN_OUTCOME, true, false, 0, 50, ONCE_UNKNOWN, 0},
        {false, CF_TIMEOUT, true, false, 0, 50, ONCE_UNKNOWN, 0},
        {false, CF_TOO_LARGE, false, false, 0, 50, ONCE_REFUSED, 0},
        /* What only reads is simply asked again. */
        {false, CF_UNKNOWN_OUTCOME, true, true, 0, 50, ONCE_TRY_AGAIN, 0},
        {true, CF_TIMEOUT, true, true, 1, 100, ONCE_UNTOUCHED, 1},
    };
    for (size_t i = 0; i < CF_LENGTH(rows); i++) {
        struct once once = {.is_present = rows[i].has_id, .tries = rows[i].before};
        enum once_next got = once_failed(&once, rows[i].status, rows[i].sent, rows[i].repeatable, rows[i].now, 100,
                              200);
        ck_assert_msg(got == rows[i].want && once.tries == rows[i].after, "row %zu: %d, %u tries", i,
                      (int)got, once.tries);
    }
    struct once once = {.is_present = true, .tries = 1};
    unsigned count = 0;
    ck_assert(once_regroup(&once, 7, &count));
    ck_assert_uint_eq(once.group, 7);
    ck_assert(once_regroup(&once, 8, &count));
    ck_assert(once_regroup(&once, 9, &count));
    ck_assert(!once_regroup(&once, 10, &count));
    once.tries = 2;
    count = 0;
    ck_assert(!once_regroup(&once, 7, &count)); /* that can't be answered to a second try */
}
END_TEST

/* ---- runs ---- */

/* P-54: the second try gets the first one's answer, and there is one entry. */
START_TEST(forward_at_most_once)
{
    char first[512], second[512], third[512];
    set_up();
    uint64_t before = b->appended;
    as_forwarded(1, 1);
    ck_assert_int_eq(post("auth/token/create", "{\"ttl\":\"1h\"}", first, "auth.client_token"), 200);
    ck_assert_uint_eq(b->appended, before + 1); /* effect and record */
    struct once same = b->once;
    as_forwarded(1, 2);
    b->once.group = same.group;
    ck_assert_int_eq(post("auth/token/create", "{\"ttl\":\"1h\"}", second, "auth.client_token"), 200);
    ck_assert_uint_eq(b->appended, before + 1);
    ck_assert_str_eq(first, second);
    ck_assert_str_ne(first, "");
    as_forwarded(2, 1); /* another request is another one */
    ck_assert_int_eq(post("auth/token/create", "{\"ttl\":\"1h\"}", third, "auth.client_token"), 200);
    ck_assert_str_ne(first, third);
    /* Nor does the answer depend on what the token may still do: it was allowed when it ran. */
    char child[64];
    as_direct();
    bench_token(b, "{\"policies\":[\"default\"]}", child);
    as_forwarded(3, 1);
    ck_assert_int_eq(bench_call(b, child, "POST", "auth/token/revoke-self", NULL, NULL, NULL), 204);
    uint64_t group = b->once.group;
    as_forwarded(3, 2);
    b->once.group = group;
    ck_assert_int_eq(bench_call(b, child, "POST", "auth/token/revoke-self", NULL, NULL, NULL), 204);
    as_forwarded(4, 2);
    ck_assert_int_eq(bench_call(b, child, "POST", "auth/token/revoke-self", NULL, NULL, NULL), 403);
}
END_TEST

/* P-5: both tries are under way at once, and the one that comes second to the append finds the record. */
START_TEST(two_tries_at_once)
{
    set_up();
    as_forwarded(1, 1);
    b->holds = true;
    CF_OWNED(call) one = bench_start(b, NULL, "POST", "auth/token/create", "{\"ttl\":\"1h\"}");
    b->once.tries = 2;
    CF_OWNED(call) two = bench_start(b, NULL, "POST", "auth/token/create", "{\"ttl\":\"1h\"}");
    ck_assert_uint_eq(b->held_count, 2);
    uint64_t before = b->appended;
    b->holds = false;
    bench_release(b, 1); /* the second try first */
    bench_release(b, 0);
    ck_assert(one->is_done && two->is_done);
    ck_assert_uint_eq(b->appended, before + 1);
    ck_assert_uint_eq(b->conflicts, 1);
    char first[512];
    snprintf(first, sizeof(first), "%s", call_at(one, "auth.client_token"));
    ck_assert_str_eq(first, call_at(two, "auth.client_token"));
}
END_TEST

/* P-5: leadership is lost between append and commit. The entry survives into the next leader's log: the
 * retry there runs before it is applied, loses the check and finds the record. */
START_TEST(session_dedupe_failover)
{
    set_up();
    as_forwarded(1, 1);
    b->holds_entries = true;
    CF_OWNED(call) one = bench_start(b, NULL, "POST", "v/data/a", "{\"data\":{\"n\":1}}");
    ck_assert(!one->is_done);
    uint64_t index = b->appended;
    struct proposal *lost = b->waiting[index];
    b->waiting[index] = NULL;
    lost->done(lost, CF_UNKNOWN_OUTCOME, 0);
    ck_assert(one->is_done);
    ck_assert_int_eq(one->status, 504);
    ck_assert(!one->rq.once.is_final); /* whoever forwards asks again */
    core_became_leader(b->core, b->appended);
    b->once.tries = 2;
    CF_OWNED(call) two = bench_start(b, NULL, "POST", "v/data/a", "{\"data\":{\"n\":1}}");
    ck_assert(!two->is_done);
    ck_assert_uint_eq(b->appended, index);
    b->holds_entries = false;
    bench_apply(b);
    ck_assert(two->is_done);
    ck_assert_int_eq(two->status, 200);
    ck_assert_str_eq(call_at(two, "data.version"), "1");
    ck_assert_uint_eq(b->appended, index);
}
END_TEST

/* P-5: and when the entry did not survive, the retry runs. */
START_TEST(a_lost_entry_runs_again)
{
    set_up();
    as_forwarded(1, 1);
    b->refusal = CF_UNKNOWN_OUTCOME; /* appended by a leader whose log lost */
    CF_OWNED(call) one = bench_start(b, NULL, "POST", "v/data/a", "{\"data\":{\"n\":1}}");
    ck_assert_int_eq(one->status, 504);
    b->refusal = CF_OK;
    b->once.tries = 2;
    CF_OWNED(call) two = bench_start(b, NULL, "POST", "v/data/a", "{\"data\":{\"n\":1}}");
    ck_assert_int_eq(two->status, 200);
    ck_assert_str_eq(call_at(two, "data.version"), "1");
}
END_TEST

/* P-4: a retry that is answered with an error is the last word: an earlier try that comes later has no effect,
 * although by then it would be allowed to. */
START_TEST(api_error_means_no_effect)
{
    set_up();
    const char *body = "{\"data\":{\"n\":1},\"options\":{\"cas\":7}}";
    as_forwarded(1, 2);
    struct once late = b->once;
    late.tries = 1;
    ck_assert_int_eq(post("v/data/a", body, NULL, NULL), 400);
    as_direct();
    for (int i = 0; i < 7; i++) {
        ck_assert_int_eq(post("v/data/a", "{\"data\":{\"n\":0}}", NULL, NULL), 200);
    }
    uint64_t before = b->appended;
    b->once = late;
    ck_assert_int_eq(post("v/data/a", body, NULL, NULL), 400);
    ck_assert_uint_eq(b->appended, before);
    as_forwarded(2, 1); /* the same under another id would */
    ck_assert_int_eq(post("v/data/a", body, NULL, NULL), 200);
    /* A first try's error leaves no entry: nothing else can be on its way. */
    before = b->appended;
    as_forwarded(3, 1);
    ck_assert_int_eq(post("v/data/a", body, NULL, NULL), 400);
    ck_assert_uint_eq(b->appended, before);
    /* Nor do reads. */
    as_forwarded(4, 2);
    ck_assert_int_eq(bench_call(b, NULL, "GET", "v/data/a", NULL, NULL, NULL), 200);
    ck_assert_uint_eq(b->appended, before);
}
END_TEST

START_TEST(another_request_under_the_id)
{
    char text[512];
    set_up();
    as_forwarded(1, 1);
    struct once once = b->once;
    once.tries = 2;
    ck_assert_int_eq(post("v/data/a", "{\"data\":{\"n\":1}}", NULL, NULL), 200);
    b->once = once;
    ck_assert_int_eq(post("v/data/a", "{\"data\":{\"n\":2}}", text, "errors.0"), 400);
    ck_assert_str_eq(text, "the id of this request was used for another one");
    b->once = once;
    ck_assert_int_eq(post("v/data/b", "{\"data\":{\"n\":1}}", NULL, NULL), 400);
    b->once = once;
    ck_assert_int_eq(bench_call(b, "other", "POST", "v/data/a", "{\"data\":{\"n\":1}}", NULL, NULL), 400);
    b->once = once;
    b->once.key[5] ^= 1; /* who has not got the key is told nothing */
    ck_assert_int_eq(post("v/data/a", "{\"data\":{\"n\":1}}", NULL, NULL), 400);
    b->once = once;
    ck_assert_int_eq(post("v/data/a", "{\"data\":{\"n\":1}}", NULL, NULL), 200);
}
END_TEST

static void each_record(uint64_t *count, char *plain_holds, const char *secret)
{
    struct view *view = core_view(b->core);
    CF_OWNED(arena) arena = arena_new(8192);
    struct txn *txn = txn_new(arena, view);
    struct key prefix = {CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_REQUEST)};
    struct txn_names names;
    ck_ok(txn_scan(txn, prefix, CF_SLICE_EMPTY, 0, &names, NULL));
    *count = 0;
    for (size_t i = 0; i < names.count; i++) {
        CF_BUF(name) = {0};
        struct cf_slice value;
        cf_buf_add_str(&name, AREA_REQUEST);
        cf_buf_add_slice(&name, names.names[i]);
        prefix.name = cf_buf_slice(&name);
        ck_ok(txn_get(txn, prefix, &value, NULL));
        *count += names.names[i].size == 8 + ONCE_ID_SIZE;
        if (secret != NULL && memmem(value.data, value.size, secret, strlen(secret)) != NULL) {
            *plain_holds = 1;
        }
    }
    txn_release(txn);
    view_unref(view);
}

/* The answer is kept under a key that nobody stores; a large one is not kept. */
START_TEST(what_is_kept)
{
    char token[512], holds = 0;
    uint64_t count;
    set_up();
    as_forwarded(1, 1);
    ck_assert_int_eq(post("auth/token/create", "{\"ttl\":\"1h\"}", token, "auth.client_token"), 200);
    each_record(&count, &holds, token);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(holds, 0);
    as_direct();
    CF_BUF(body) = {0};
    cf_buf_add_str(&body, "{\"data\":{\"x\":\"");
    for (size_t i = 0; i < ONCE_ANSWER_MAX; i++) {
        cf_buf_add_byte(&body, 'x');
    }
    cf_buf_add_str(&body, "\"}}");
    ck_assert_int_eq(post("cubbyhole/large", cf_buf_text(&body), NULL, NULL), 204);
    b->wrap_ttl_s = 60;
    char wrapped[512];
    ck_assert_int_eq(bench_call(b, NULL, "GET", "cubbyhole/large", NULL, "wrap_info.token", wrapped), 200);
    b->wrap_ttl_s = 0;
    as_forwarded(2, 1);
    ck_assert_int_eq(bench_call(b, wrapped, "POST", "sys/wrapping/unwrap", NULL, NULL, NULL), 200);
    b->once.tries = 2;
    CF_OWNED(call) again = bench_start(b, wrapped, "POST", "sys/wrapping/unwrap", NULL);
    ck_assert_int_eq(again->status, 504);
    ck_assert(again->rq.once.is_final); /* and not asked for again */
    ck_assert(strstr(call_at(again, "errors.0"), "was carried out") != NULL);
}
END_TEST

/* ---- old ones ---- */

static void drop_old(void)
{
    struct view *view = core_view(b->core);
    CF_OWNED(arena) arena = arena_new(8192);
    struct txn *txn = txn_new(arena, view);
    ck_ok(once_drop_old(txn, NULL));
    if (txn_has_writes(txn)) {
        CF_BUF(payload) = {0};
        ck_ok(txn_encode(txn, &payload, NULL));
        ck_ok(bench_payload(b, cf_buf_slice(&payload), NULL));
    }
    txn_release(txn);
    view_unref(view);
}

START_TEST(old_records_are_dropped)
{
    uint64_t count;
    char holds;
    set_up();
    as_forwarded(1, 1);
    struct once old = b->once;
    ck_assert_int_eq(post("v/data/a", "{\"data\":{\"n\":1}}", NULL, NULL), 200);
    drop_old();
    each_record(&count, &holds, NULL);
    ck_assert_uint_eq(count, 1); /* it is young */
    bench_advance(b, 120);
    old.tries = 2;
    b->once = old;
    ck_assert_int_eq(post("v/data/a", "{\"data\":{\"n\":1}}", NULL, NULL), 200);
    as_forwarded(2, 1);
    ck_assert_int_eq(post("v/data/b", "{\"data\":{\"n\":1}}", NULL, NULL), 200);
    bench_advance(b, 80);
    uint64_t before = b->appended;
    drop_old();
    ck_assert_uint_eq(b->appended, before + 1);
    each_record(&count, &holds, NULL);
    ck_assert_uint_eq(count, 1); /* the second one's */
    before = b->appended;
    drop_old(); /* nothing to do is no entry */
    ck_assert_uint_eq(b->appended, before);
    /* Nobody knows any more whether it ran; that it is a first try can be said again. */
    b->once = old;
    CF_OWNED(call) gone = bench_start(b, NULL, "POST", "v/data/a", "{\"data\":{\"n\":1}}");
    ck_assert_int_eq(gone->status, 504);
    ck_assert(gone->rq.once.is_final);
    old.tries = 1;
    b->once = old;
    CF_OWNED(call) first = bench_start(b, NULL, "POST", "v/data/a", "{\"data\":{\"n\":1}}");
    ck_assert_int_eq(first->status, 503);
    ck_assert_uint_ge(first->rq.once.regroup, old.group + ONCE_KEEP_GROUPS);
    b->once.group = first->rq.once.regroup;
    ck_assert_int_eq(post("v/data/a", "{\"data\":{\"n\":1}}", NULL, NULL), 200);
}
END_TEST

/* A run that found its group kept, and whose group is dropped before its append, is refused there. */
START_TEST(dropped_between_run_and_append)
{
    set_up();
    as_forwarded(1, 1);
    struct once old = b->once;
    ck_assert_int_eq(post("v/data/a", "{\"data\":{\"n\":1}}", NULL, NULL), 200);
    bench_advance(b, 170);
    old.tries = 2;
    memset(old.id, 9, sizeof(old.id)); /* another one of that time, whose first try never arrived */
    b->once = old;
    b->holds = true;
    CF_OWNED(call) held = bench_start(b, NULL, "POST", "v/data/c", "{\"data\":{\"n\":1}}");
    ck_assert_uint_eq(b->held_count, 1);
    b->holds = false;
    bench_advance(b, 60);
    drop_old();
    bench_release(b, 0);
    ck_assert(held->is_done);
    ck_assert_int_eq(held->status, 504);
    as_direct();
    ck_assert_int_eq(bench_call(b, NULL, "GET", "v/data/c", NULL, NULL, NULL), 404);
}
END_TEST

/* Many groups go in bounded entries; the caches of everybody else stay. */
START_TEST(many_groups)
{
    uint64_t count;
    char holds;
    set_up();
    for (uint8_t i = 0; i < 50; i++) {
        as_forwarded((uint8_t)(i + 1), 1);
        ck_assert_int_eq(post("v/data/a", "{\"data\":{\"n\":1}}", NULL, NULL), 200);
        bench_advance(b, 10);
    }
    bench_advance(b, 400);
    uint64_t before = b->appended;
    drop_old();
    each_record(&count, &holds, NULL);
    ck_assert_uint_eq(count, 50 - ONCE_DROP_MAX);
    drop_old();
    each_record(&count, &holds, NULL);
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(b->appended, before + 2);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {verdicts,
                                  tries,
                                  forward_at_most_once,
                                  two_tries_at_once,
                                  session_dedupe_failover,
                                  a_lost_entry_runs_again,
                                  api_error_means_no_effect,
                                  another_request_under_the_id,
                                  what_is_kept,
                                  old_records_are_dropped,
                                  dropped_between_run_and_append,
                                  many_groups};
    int failed = test_run("node/core/once", tests, CF_LENGTH(tests));
    bench_free(b);
    return failed;
}
