/* tests/unit/node/core/test_serial.c: P-52: requests are serializable, over changes of leadership, too. */
#include "bench.h"
#include "node/base/memory.h"
#include "tests/lib/test.h"

static struct bench *b;
static char text[512];

static void set_up(void)
{
    bench_free(b);
    b = bench_new();
    ck_assert_int_eq(bench_call(b, NULL, "POST", "sys/mounts/v",
                                "{\"type\":\"kv\",\"options\":{\"version\":\"2\"}}", "", NULL),
                     204);
    ck_assert_int_eq(
        bench_call(b, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"first\"}}", "", NULL), 200);
}

static const char *secret(const char *dotted)
{
    ck_assert_int_eq(bench_call(b, NULL, "GET", "v/data/a", NULL, dotted, text), 200);
    return text;
}

#define START_HELD(name, operation, path, body)                                                    \
    b->holds = true;                                                                               \
    CF_OWNED(call) name = bench_start(b, NULL, (operation), (path), (body));                       \
    b->holds = false;                                                                              \
    ck_assert(!name->is_done)

/* The writes of a request that has read before another's entry are never applied: it runs again on what the
 * other left, and its answer says that. */
START_TEST(txn_conflict_rerun)
{
    static const struct {
        const char *operation, *path, *body;
        int status;         /* after a write that came between */
        const char *value;  /* "x" in the end */
        const char *version;
    } steps[] = {
        {"POST", "v/data/a", "{\"data\":{\"x\":\"late\"}}", 200, "late", "3"},
        {"POST", "v/data/a", "{\"options\":{\"cas\":1},\"data\":{\"x\":\"late\"}}", 400, "between", "2"},
        {"PATCH", "v/data/a", "{\"data\":{\"y\":\"late\"}}", 200, "between", "3"},
    };
    for (size_t i = 0; i < CF_LENGTH(steps); i++) {
        set_up();
        START_HELD(held, steps[i].operation, steps[i].path, steps[i].body);
        ck_assert_int_eq(
            bench_call(b, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"between\"}}", "", NULL),
            200);
        uint64_t before = b->appended;
        bench_release(b, 0);
        call_wait(held);
        ck_assert_int_eq(held->status, steps[i].status);
        ck_assert_uint_eq(b->conflicts, 1);
        ck_assert_uint_eq(b->appended, before + (steps[i].status == 200));
        ck_assert_str_eq(secret("data.data.x"), steps[i].value);
        ck_assert_str_eq(secret("data.metadata.version"), steps[i].version);
    }
}
END_TEST

/* Another node led for a while; its entry came by replication, and no window here has seen it. */
static void another_led(struct cf_slice entry)
{
    b->is_passive = true;
    core_background_stop(b->core);
    cf_buf_add_slice(&b->log[++b->appended], entry);
    bench_apply(b);
}

static void leads_again(void)
{
    b->is_passive = false;
    core_became_leader(b->core, b->appended);
}

/* The entry of a request of this node, taken off its log as a new leader takes it off, and kept. */
static struct cf_slice cut(struct arena *arena, struct proposal **ret)
{
    ck_assert_uint_eq(b->appended, b->applied + 1);
    struct cf_slice payload = arena_copy(arena, cf_buf_slice(&b->log[b->appended]));
    *ret = b->waiting[b->appended];
    b->waiting[b->appended] = NULL;
    cf_buf_done(&b->log[b->appended]);
    b->appended--;
    return payload;
}

/* Ran under the old leadership, reaches the append under the next one: another node's write in between is not
 * undone. */
START_TEST(txn_deposed_leader_late)
{
    CF_OWNED(arena) arena = arena_new(8192);
    struct proposal *lost;
    set_up();
    /* What the other node will write, made by this one and taken off its log again. */
    b->holds_entries = true;
    CF_OWNED(call) other = bench_start(b, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"newer\"}}");
    struct cf_slice newer = cut(arena, &lost);
    b->holds_entries = false;
    lost->done(lost, CF_UNKNOWN_OUTCOME, 0);
    call_wait(other);
    ck_assert_int_eq(other->status, 504);
    leads_again();
    ck_assert_str_eq(secret("data.data.x"), "first");

    START_HELD(late, "POST", "v/data/a", "{\"data\":{\"x\":\"late\"},\"options\":{\"cas\":1}}");
    START_HELD(patch, "PATCH", "v/data/a", "{\"data\":{\"y\":\"late\"}}");
    another_led(newer);
    leads_again();
    uint64_t before = b->appended;
    bench_release(b, 0);
    call_wait(late);
    ck_assert_int_eq(late->status, 400);
    ck_assert_uint_eq(b->appended, before);
    bench_release(b, 0);
    call_wait(patch);
    ck_assert_int_eq(patch->status, 200);
    ck_assert_uint_eq(b->conflicts, 2);
    ck_assert_str_eq(secret("data.data.x"), "newer");
    ck_assert_str_eq(secret("data.data.y"), "late");
    ck_assert_str_eq(secret("data.metadata.version"), "3");
}
END_TEST

/* Appended by the old leader and never committed: the client hears that the outcome is unknown, and the entry
 * does not come back when the node leads again. */
START_TEST(a_cut_entry_stays_away)
{
    CF_OWNED(arena) arena = arena_new(8192);
    struct proposal *lost;
    set_up();
    b->holds_entries = true;
    CF_OWNED(call) late = bench_start(b, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"late\"}}");
    (void)cut(arena, &lost);
    b->holds_entries = false;
    b->is_passive = true;
    core_background_stop(b->core);
    lost->done(lost, CF_UNKNOWN_OUTCOME, 0);
    call_wait(late);
    ck_assert_int_eq(late->status, 504);
    leads_again();
    uint64_t before = b->appended;
    ck_assert_int_eq(
        bench_call(b, NULL, "POST", "v/data/a", "{\"data\":{\"x\":\"newer\"}}", "", NULL), 200);
    ck_assert_uint_eq(b->appended, before + 1);
    ck_assert_str_eq(secret("data.data.x"), "newer");
    ck_assert_str_eq(secret("data.metadata.version"), "2");
    bench_free(b);
    b = NULL;
}
END_TEST

TEST_MAIN("node/core/serial", txn_conflict_rerun, txn_deposed_leader_late, a_cut_entry_stays_away)
