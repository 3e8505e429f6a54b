/* tests/unit/node/core/test_views.c: threads that read while the applier publishes: no read sees half of an
 * entry, no cache outlives the view it was filled from. Run under the thread sanitizer, too. */
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>

#include "bench.h"
#include "node/base/host.h"
#include "node/base/memory.h"
#include "tests/lib/test.h"

#define READERS 3

static struct bench *b;

/* What the readers share with the test, which alone may assert. */
static struct {
    _Atomic bool stop;
    _Atomic uint64_t state;       /* of the writer: what has been acknowledged */
    _Atomic unsigned checks[4];   /* what was seen, by kind */
    pthread_mutex_t lock;
    char wrong[512];              /* the first thing that must not be */
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

CF_PRINTF(1, 2) static void wrong(const char *fmt, ...)
{
    va_list args;
    pthread_mutex_lock(&shared.lock);
    if (shared.wrong[0] == '\0') {
        va_start(args, fmt);
        (void)vsnprintf(shared.wrong, sizeof(shared.wrong), fmt, args);
        va_end(args);
    }
    pthread_mutex_unlock(&shared.lock);
    atomic_store(&shared.stop, true);
}

static void set_up(void)
{
    bench_free(b);
    b = bench_new();
    atomic_store(&shared.stop, false);
    atomic_store(&shared.state, 0);
    for (size_t i = 0; i < CF_LENGTH(shared.checks); i++) {
        atomic_store(&shared.checks[i], 0);
    }
    shared.wrong[0] = '\0';
}

static pthread_t threads[READERS];
static unsigned asked; /* read indexes */

static void start_readers(void *(*run)(void *))
{
    for (size_t i = 0; i < READERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run, NULL), 0);
    }
}

static void end_readers(void)
{
    atomic_store(&shared.stop, true);
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_msg(shared.wrong[0] == '\0', "%s", shared.wrong);
    asked = b->reads_asked;
    bench_free(b);
    b = NULL;
}

/* Bounded: until the readers have seen `more` of a kind, so that none of the writer's states goes by unread. */
static void wait_for_checks(unsigned kind, unsigned more)
{
    unsigned want = atomic_load(&shared.checks[kind]) + more;
    for (unsigned i = 0; i < 30000 && !atomic_load(&shared.stop); i++) {
        if (atomic_load(&shared.checks[kind]) >= want) {
            return;
        }
        struct timespec pause = {0, 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    ck_assert_msg(shared.wrong[0] != '\0', "the readers make no progress");
}

/* ---- views ---- */

#define CELLS 8

/* All cells hold the round, and one marker is named after it. */
static size_t round_ops(struct op *ops, unsigned round, char names[CELLS + 2][24], char *value)
{
    size_t count = 0;
    (void)snprintf(value, 24, "%u", round);
    for (unsigned i = 0; i < CELLS; i++) {
        (void)snprintf(names[i], 24, "x/%u", i);
        ops[count++] = (struct op){OP_PUT, {'r', 0, cf_slice_str(names[i])}, cf_slice_str(value)};
    }
    (void)snprintf(names[CELLS], 24, "y/%u", round);
    ops[count++] = (struct op){OP_PUT, {'r', 0, cf_slice_str(names[CELLS])}, cf_slice_str(value)};
    return count;
}

static void write_round(unsigned round)
{
    struct op ops[CELLS + 2];
    char names[CELLS + 2][24], value[24];
    size_t count = round_ops(ops, round, names, value);
    (void)snprintf(names[CELLS + 1], 24, "y/%u", round - 1);
    ops[count++] = (struct op){OP_DELETE, {'r', 0, cf_slice_str(names[CELLS + 1])}, {NULL, 0}};
    struct command command = {.id = COMMAND_WRITE, .ops = ops, .op_count = count};
    ck_ok(bench_command(b, &command, NULL));
}

/* The same by a copy that is staged and switched to, as a bootstrap and a repair do it. */
static void switch_round(unsigned round)
{
    struct op ops[CELLS + 2];
    char names[CELLS + 2][24], value[24];
    size_t count = round_ops(ops, round, names, value);
    for (size_t i = 0; i < count; i++) {
        struct command stage = {
            .id = COMMAND_STAGE, .ops = &ops[i], .op_count = 1, .stage_generation = round};
        ck_ok(bench_command(b, &stage, NULL));
    }
    struct command change = {.id = COMMAND_SWITCH,
                             .stage_generation = round,
                             .switch_classes = 1u << class_number('r')};
    ck_ok(bench_command(b, &change, NULL));
}

struct marker {
    unsigned count, round;
};

static bool see_marker(void *context, struct cf_slice rest)
{
    struct marker *marker = context;
    char text[24];
    (void)snprintf(text, sizeof(text), "%.*s", CF_SHOW(rest));
    marker->count++;
    marker->round = (unsigned)strtoul(text, NULL, 10);
    return true;
}

/* The round that the view shows, whole; else wrong(). */
static unsigned round_of(struct view *view, struct arena *arena)
{
    unsigned rounds[CELLS];
    struct marker marker = {0};
    for (unsigned i = 0; i < CELLS; i++) {
        char name[24];
        struct cf_slice value;
        (void)snprintf(name, sizeof(name), "x/%u", i);
        if (view_get_raw(view, (struct key){'r', 0, cf_slice_str(name)}, arena, &value, NULL) !=
            CF_OK) {
            wrong("%s is absent at index %llu", name, (unsigned long long)view->index);
            return 0;
        }
        rounds[i] = (unsigned)strtoul(arena_text(arena, value), NULL, 10);
        if (rounds[i] != rounds[0]) {
            wrong("x/0 is %u, %s is %u at index %llu", rounds[0], name, rounds[i],
                  (unsigned long long)view->index);
        }
    }
    if (view_walk(view, (struct key){'r', 0, CF_SLICE("y/")}, CF_SLICE_EMPTY, see_marker, &marker,
                  NULL) != CF_OK ||
        marker.count != 1 || marker.round != rounds[0]) {
        wrong("%u markers, the last one %u, beside %u", marker.count, marker.round, rounds[0]);
    }
    return rounds[0];
}

static void *read_views(void *arg)
{
    uint64_t index = 0;
    unsigned last = 0;
    CF_OWNED(arena) arena = arena_new(4096);
    while (!atomic_load(&shared.stop)) {
        uint64_t published = atomic_load(&shared.state);
        struct view *view = core_view(b->core);
        unsigned round = round_of(view, arena);
        if (view->index < index || round < last || round < published) {
            wrong("round %u at index %llu after round %u at %llu, of %llu", round,
                  (unsigned long long)view->index, last, (unsigned long long)index,
                  (unsigned long long)published);
        }
        sched_yield();
        if (round_of(view, arena) != round) { /* whatever happened meanwhile */
            wrong("a view of round %u has changed", round);
        }
        atomic_fetch_add(&shared.checks[0], 1);
        index = view->index;
        last = round;
        view_unref(view);
        arena_reset(arena);
    }
    return arg;
}

START_TEST(no_view_shows_half_an_entry)
{
    set_up();
    write_round(1);
    start_readers(read_views);
    for (unsigned round = 2; round < 1000 && !atomic_load(&shared.stop); round++) {
        if (round % 20 == 0) {
            switch_round(round);
            wait_for_checks(0, 2);
        } else {
            write_round(round);
        }
        atomic_store(&shared.state, round);
    }
    end_readers();
}
END_TEST

/* ---- requests ---- */

#define ck_call(want, operation, path, body)                                                       \
    do {                                                                                           \
        char text_[512];                                                                           \
        int got_ = bench_call(b, NULL, (operation), (path), (body), "errors.0", text_);            \
        ck_assert_msg(got_ == (want), "%s %s: %d \"%s\"", (operation), (path), got_, text_);       \
    } while (0)

/* Version and metadata of a kv v2 are two keys: each version n holds n. */
static unsigned read_version(const char *path)
{
    CF_OWNED(call) call = bench_start(b, NULL, "GET", path, NULL);
    call_wait(call);
    if (call->status == 404) {
        if (call->answer != NULL && call_at(call, "data")[0] != '\0') {
            wrong("%s: metadata without its version", path);
        }
        return 0;
    }
    unsigned value = (unsigned)strtoul(call_at(call, "data.data.x"), NULL, 10);
    unsigned version = (unsigned)strtoul(call_at(call, "data.metadata.version"), NULL, 10);
    if (call->status != 200 || value != version || version == 0) {
        wrong("%s: %d, version %u holds %u", path, call->status, version, value);
    }
    return version;
}

/* As many versions as are kept, the newest one the current one. */
static void read_metadata(const char *path)
{
    CF_OWNED(call) call = bench_start(b, NULL, "GET", path, NULL);
    call_wait(call);
    char dotted[64];
    unsigned current = (unsigned)strtoul(call_at(call, "data.current_version"), NULL, 10);
    unsigned oldest = (unsigned)strtoul(call_at(call, "data.oldest_version"), NULL, 10);
    (void)snprintf(dotted, sizeof(dotted), "data.versions.%u.created_time", current);
    if (call->status != 200 || call_at(call, dotted)[0] == '\0') {
        wrong("%s: %d, version %u is not listed", path, call->status, current);
    }
    (void)snprintf(dotted, sizeof(dotted), "data.versions.%u", current + 1);
    if (call_at(call, dotted)[0] != '\0' || (current > 3 && oldest != current - 2)) {
        wrong("%s: versions %u to %u", path, oldest, current);
    }
}

static void *read_secrets(void *arg)
{
    unsigned last = 0;
    while (!atomic_load(&shared.stop)) {
        uint64_t acknowledged = atomic_load(&shared.state);
        unsigned version = read_version("v/data/a");
        if (version < acknowledged || version < last) {
            wrong("version %u after %u, with %llu acknowledged", version, last,
                  (unsigned long long)acknowledged);
        }
        last = version;
        read_metadata("v/metadata/a");
        read_version("v/data/b");
        atomic_fetch_add(&shared.checks[0], 1);
    }
    return arg;
}

static void put_version(const char *path, unsigned version)
{
    char body[96];
    (void)snprintf(body, sizeof(body), "{\"options\":{\"cas\":%u},\"data\":{\"x\":\"%u\"}}",
                   version - 1, version);
    ck_call(200, "POST", path, body);
}

static void secrets_under_writes(bool asks)
{
    set_up();
    b->asks = asks;
    ck_call(204, "POST", "sys/mounts/v", "{\"type\":\"kv\",\"options\":{\"version\":\"2\"}}");
    ck_call(204, "POST", "v/metadata/a", "{\"max_versions\":3}");
    put_version("v/data/a", 1);
    start_readers(read_secrets);
    unsigned other = 0;
    for (unsigned i = 2; i < 600 && !atomic_load(&shared.stop); i++) {
        put_version("v/data/a", i);
        atomic_store(&shared.state, i);
        if (other < 4) {
            put_version("v/data/b", ++other);
        } else {
            ck_call(204, "DELETE", "v/metadata/b", NULL); /* with all versions */
            other = 0;
        }
        if (i % 50 == 0) {
            wait_for_checks(0, 2);
        }
    }
    end_readers();
}

START_TEST(no_request_sees_half_a_write)
{
    secrets_under_writes(false);
}
END_TEST

/* One of several voters. */
START_TEST(no_request_that_asks_sees_half_a_write)
{
    secrets_under_writes(true);
    ck_assert_uint_ge(asked, 1);
}
END_TEST

/* ---- caches ---- */

#define TOKEN_ROUNDS 10
#define CACHE_ROUNDS 400

static char tokens[CACHE_ROUNDS / TOKEN_ROUNDS + 1][64];

static void set_policy(bool allows)
{
    ck_call(204, "POST", "sys/policies/acl/p",
            allows ? "{\"policy\":\"path \\\"s/*\\\" { capabilities = [\\\"read\\\"] }\"}"
                   : "{\"policy\":\"path \\\"s/*\\\" { capabilities = [\\\"deny\\\"] }\"}");
}

/* state: twice the round, odd while the round is being made. An odd round allows. */
static void *read_as_user(void *arg)
{
    while (!atomic_load(&shared.stop)) {
        uint64_t before = atomic_load(&shared.state);
        uint64_t round = before / 2, user = round / TOKEN_ROUNDS;
        int status = bench_call(b, tokens[user], "GET", "s/a", NULL, "", NULL);
        bool stands = before % 2 == 0 && atomic_load(&shared.state) == before;
        if (stands && status != (round % 2 == 1 ? 200 : 403)) {
            wrong("%d in round %llu", status, (unsigned long long)round);
        } else if (status != 200 && status != 403) {
            wrong("%d", status);
        }
        if (stands) {
            atomic_fetch_add(&shared.checks[round % 2], 1);
        }
        if (user > 0) {
            status = bench_call(b, tokens[user - 1], "GET", "s/a", NULL, "", NULL);
            if (status != 403) {
                wrong("%d for a token that is revoked, round %llu", status,
                      (unsigned long long)round);
            }
            atomic_fetch_add(&shared.checks[2], 1);
        }
    }
    return arg;
}

/* Readers fill the caches of tokens, policies and what was compiled of them; each acknowledged change counts
 * for every request that begins after it. */
START_TEST(no_cache_outlives_its_view)
{
    set_up();
    char body[128];
    ck_call(204, "POST", "sys/mounts/s", "{\"type\":\"kv\"}");
    ck_call(204, "POST", "s/a", "{\"x\":\"1\"}");
    set_policy(false);
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\"}", tokens[0]);
    start_readers(read_as_user);
    for (unsigned round = 1; round < CACHE_ROUNDS && !atomic_load(&shared.stop); round++) {
        if (round % TOKEN_ROUNDS == 0) {
            unsigned user = round / TOKEN_ROUNDS;
            bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\"}", tokens[user]);
            (void)snprintf(body, sizeof(body), "{\"token\":\"%s\"}", tokens[user - 1]);
            atomic_store(&shared.state, 2 * (uint64_t)round - 1);
            ck_call(204, "POST", "auth/token/revoke", body);
        } else {
            atomic_store(&shared.state, 2 * (uint64_t)round - 1);
        }
        set_policy(round % 2 == 1);
        atomic_store(&shared.state, 2 * (uint64_t)round);
        if (round % 4 < 2) {
            wait_for_checks(round % 2, 2);
        }
    }
    end_readers();
    ck_assert_uint_ge(atomic_load(&shared.checks[2]), 1);
}
END_TEST

TEST_MAIN("node/core/views", no_view_shows_half_an_entry, no_request_sees_half_a_write,
          no_request_that_asks_sees_half_a_write, no_cache_outlives_its_view)
