/* tests/unit/node/core/test_lease.c: secrets that are lent out, by an engine whose way to take them back can fail
 * and hang: back-off, irrevocable leases, force, and that nobody else waits for it. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "bench.h"
#include "node/base/memory.h"
#include "node/core/lease.h"
#include "node/core/mount.h"
#include "node/server/registry.h"
#include "tests/lib/test.h"

/* ---- the engine ---- */

static struct {
    _Atomic unsigned attempts, taken; /* of lease_revoke, and those that succeeded */
    _Atomic unsigned hanging;         /* in lease_revoke, of the mount "slow/" */
    _Atomic bool fails, never, hangs, record_fails;
} world;

static cf_status lend(struct request *rq, struct cf_error *err)
{
    struct lease_ask *ask = arena_new_object(rq->arena, struct lease_ask);
    *ask = (struct lease_ask){.internal = json_object_new(rq->arena), .renewable = true};
    CF_TRY(request_duration(rq, "ttl", 600, &ask->ttl_s, NULL, err));
    ask->max_ttl_s = 3600;
    json_set_string(rq->arena, ask->internal, "user", rq->captures[0]);
    json_set_text(rq->arena, response_data(rq), "password", "lent");
    store_put(rq, cf_slice_str(arena_printf(rq->arena, "out/%.*s", CF_SHOW(rq->captures[0]))), CF_SLICE("x"));
    rq->response.lease = ask;
    return CF_OK;
}

static cf_status take_back(struct request *rq, const struct lease *lease, struct cf_error *err)
{
    atomic_fetch_add(&world.attempts, 1);
    if (json_get_string(lease->internal, "user").size == 0) {
        return cf_fail(err, CF_UNSUPPORTED, "the lease has lost its user");
    }
    if (cf_slice_is(rq->mount->path, "slow/")) {
        atomic_fetch_add(&world.hanging, 1);
        for (int i = 0; i < 30000 && atomic_load(&world.hangs); i++) {
            struct timespec pause = {0, 1000 * 1000};
            (void)nanosleep(&pause, NULL);
        }
        atomic_fetch_sub(&world.hanging, 1);
    }
    if (atomic_load(&world.never)) {
        return cf_fail(err, CF_UNSUPPORTED, "there is no such database any more");
    }
    if (atomic_load(&world.fails)) {
        return cf_fail(err, CF_UNAVAILABLE, "the database does not answer");
    }
    atomic_fetch_add(&world.taken, 1);
    return CF_OK;
}

static cf_status taken_back(struct request *rq, const struct lease *lease, struct cf_error *err)
{
    struct cf_slice user = json_get_string(lease->internal, "user");
    store_delete(rq, cf_slice_str(arena_printf(rq->arena, "out/%.*s", CF_SHOW(user))));
    return atomic_load(&world.record_fails) ? cf_fail(err, CF_INTERNAL, "no record of it") : CF_OK;
}

static const struct route lender_routes[] = {
    {.pattern = "creds/:name", .read = lend, .flags = ROUTE_WRITE, .help = "Lends a secret."},
    ROUTE_END,
};
static const struct engine_ops lender = {.type = "lender",
                                         .kind = ENGINE_SECRETS,
                                         .help = "Lends secrets.",
                                         .routes = lender_routes,
                                         .lease_revoke = take_back,
                                         .lease_revoked = taken_back};

/* ---- the bench ---- */

static struct bench *b;
static bool looks; /* the background work runs */
static char text[512];

static void start_background(void)
{
    looks = true;
    core_background_start(b->core);
}

static void must(int want, const char *token, const char *operation, const char *path, const char *body,
                 const char *dotted)
{
    int status = bench_call(b, token, operation, path, body, dotted, text);
    ck_assert_msg(status == want, "%s %s: %d \"%s\"", operation, path, status, text);
}

#define ck_call(want, operation, path, body) must(want, NULL, operation, path, body, "errors.0")

static void set_up(void)
{
    static const struct engine_ops *engines[64];
    size_t count = 0;
    while (registry_engines[count] != NULL) {
        engines[count] = registry_engines[count];
        count++;
    }
    engines[count] = &lender;
    bench_engines = engines;
    bench_free(b);
    b = bench_new();
    looks = false;
    memset(&world, 0, sizeof(world));
    ck_call(204, "POST", "sys/mounts/db", "{\"type\":\"lender\"}");
    ck_call(204, "POST", "sys/policies/acl/p",
            "{\"policy\":\"path \\\"db/*\\\" { capabilities = [\\\"read\\\"] } "
            "path \\\"slow/*\\\" { capabilities = [\\\"read\\\"] }\"}");
}

static void tear_down(void)
{
    bench_free(b);
    b = NULL;
}

/* Keys of an area in the store, over all namespaces. */
static size_t area(const char *name)
{
    size_t count = 0;
    pthread_mutex_lock(&b->lock);
    CF_OWNED(kv_iterator)
    iterator = kv_iterator_new(kv_now(b->kv), b->state, (struct kv_range){{NULL, 0}, {NULL, 0}, false});
    for (kv_seek_first(iterator); kv_valid(iterator); kv_next(iterator)) {
        struct key key;
        uint32_t generation;
        count += key_decode(kv_key(iterator), &key, &generation) && cf_slice_starts(key.name, cf_slice_str(name));
    }
    pthread_mutex_unlock(&b->lock);
    return count;
}

/* The clock of the store was moved by hand, which wakes nobody: the background work looks now. */
static void pause_and_look(void)
{
    struct timespec pause = {0, 2 * 1000 * 1000};
    (void)nanosleep(&pause, NULL);
    if (looks) {
        core_background_start(b->core);
    }
}

#define wait_until(condition)                                                                      \
    do {                                                                                           \
        for (int i_ = 0; i_ < 15000 && !(condition); i_++) {                                       \
            pause_and_look();                                                                      \
        }                                                                                          \
        ck_assert_msg((condition), "waited for %s", #condition);                                   \
    } while (0)

static void lend_one(const char *token, const char *path, char id[256])
{
    must(200, token, "GET", path, NULL, "lease_id");
    snprintf(id, 256, "%.255s", text);
}

static const char *with_id(const char *id)
{
    static char body[320];
    snprintf(body, sizeof(body), "{\"lease_id\":\"%s\"}", id);
    return body;
}

static void ck_no_lease_left(void)
{
    wait_until(area(AREA_LEASE_DUE) == 0);
    ck_assert_uint_eq(area(AREA_LEASE "db/"), 0);
    ck_assert_uint_eq(area(AREA_LEASE_OF), 0);
    ck_assert_uint_eq(area(AREA_LEASE_FAILED), 0);
}

/* Two whole rounds of the background work go by: what the first one would hand out has come to its end. */
static void let_it_look(void)
{
    for (int i = 0; i < 2; i++) {
        char token[64];
        bench_token(b, "{\"policies\":[\"default\"],\"ttl\":\"1s\"}", token);
        bench_advance(b, 2);
        wait_until(area(AREA_EXPIRE) == 0);
    }
}

/* ---- a lease's life ---- */

START_TEST(lends_renews_and_takes_back)
{
    char id[256];
    set_up();
    uint64_t before = b->appended;
    CF_OWNED(call) call = bench_start(b, NULL, "GET", "db/creds/a", NULL);
    call_wait(call);
    ck_assert_uint_eq(b->appended, before + 1); /* secret, lease and indexes are one entry */
    ck_assert_str_eq(call_at(call, "lease_duration"), "600");
    ck_assert_str_eq(call_at(call, "renewable"), "true");
    ck_assert_str_eq(call_at(call, "data.password"), "lent");
    snprintf(id, sizeof(id), "%.255s", call_at(call, "lease_id"));
    ck_assert_uint_eq(strlen(id), strlen("db/creds/a/") + 24);
    must(200, NULL, "POST", "sys/leases/lookup", with_id(id), "data.id");
    ck_assert_str_eq(text, id);
    must(200, NULL, "LIST", "sys/leases/lookup/db/creds", NULL, "data.keys.0");
    ck_assert_str_eq(text, "a/");
    bench_advance(b, 300);
    must(200, NULL, "POST", "sys/leases/renew", with_id(id), "lease_duration");
    ck_assert_str_eq(text, "600");
    char body[320];
    snprintf(body, sizeof(body), "{\"lease_id\":\"%s\",\"increment\":\"9h\"}", id);
    CF_OWNED(call) renewed = bench_start(b, NULL, "POST", "sys/leases/renew", body);
    call_wait(renewed);
    int left = atoi(call_at(renewed, "lease_duration")); /* at most an hour in all */
    ck_assert(left <= 3300 && left > 3200 && call_at(renewed, "warnings.0")[0] != '\0');
    ck_call(204, "POST", "sys/leases/revoke", with_id(id));
    must(400, NULL, "POST", "sys/leases/lookup", with_id(id), "errors.0");
    ck_assert_str_eq(text, "invalid lease");
    must(400, NULL, "POST", "sys/leases/renew", with_id(id), "errors.0");
    ck_assert_str_eq(text, "lease not found");
    start_background();
    ck_no_lease_left();
    ck_assert_uint_eq(world.attempts, 1);
    ck_assert_uint_eq(world.taken, 1);
    ck_call(204, "POST", "sys/leases/revoke", with_id(id)); /* what is gone is revoked */
    tear_down();
}
END_TEST

START_TEST(runs_out_and_ends_with_its_token)
{
    char id[256], token[64], child[64], body[128];
    set_up();
    start_background();
    lend_one(NULL, "db/creds/a", id);
    bench_advance(b, 601);
    ck_no_lease_left();
    ck_assert_uint_eq(world.taken, 1);
    bench_token(b, "{\"policies\":[\"p\",\"root\"],\"ttl\":\"1h\"}", token);
    must(200, token, "POST", "auth/token/create", "{\"policies\":[\"p\"]}", "auth.client_token");
    snprintf(child, sizeof(child), "%.63s", text);
    lend_one(token, "db/creds/a", id);
    for (int i = 0; i < 20; i++) {
        lend_one(child, "db/creds/b", id);
    }
    snprintf(body, sizeof(body), "{\"token\":\"%s\"}", token);
    ck_call(204, "POST", "auth/token/revoke", body);
    ck_no_lease_left();
    ck_assert_uint_eq(world.taken, 1 + 21);
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"100s\"}", token);
    lend_one(token, "db/creds/a", id);
    bench_advance(b, 101);
    ck_no_lease_left();
    ck_assert_uint_eq(world.taken, 23);
    tear_down();
}
END_TEST

START_TEST(what_would_end_at_once_is_not_made)
{
    char token[64], id[256];
    set_up();
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\",\"num_uses\":2}", token);
    lend_one(token, "db/creds/a", id);
    must(400, token, "GET", "db/creds/a", NULL, "errors.0");
    ck_assert_str_eq(text, "the token has one use left, and what is lent out would end with it: nothing was made");
    start_background();
    ck_no_lease_left(); /* its last use was spent, and what it had ends with it */
    CF_OWNED(call)
    batch = bench_start(b, NULL, "POST", "auth/token/create",
                        "{\"policies\":[\"p\"],\"ttl\":\"60s\",\"type\":\"batch\"}");
    call_wait(batch);
    const char *made = arena_text(batch->arena, json_get_string(json_get(batch->answer, "auth"), "client_token"));
    CF_OWNED(call) call = bench_start(b, made, "GET", "db/creds/a", NULL);
    call_wait(call);
    ck_assert_int_le(atoi(call_at(call, "lease_duration")), 60);
    ck_assert_str_eq(call_at(call, "renewable"), "false");
    tear_down();
}
END_TEST

/* ---- failures ---- */

/* The failure is recorded, and the next attempt is of another time. */
static bool nothing_is_due(void)
{
    CF_OWNED(arena) arena = arena_new(512);
    struct view *view = core_view(b->core);
    struct uuid mount = {{0}};
    struct txn_names names;
    bool found;
    ck_ok(lease_next_mount(view, &mount, &found, NULL));
    ck_ok(lease_due(view, arena, mount, 1, &names, NULL));
    view_unref(view);
    return names.count == 0;
}

START_TEST(failures_are_tried_again_further_and_further_apart)
{
    char id[256];
    set_up();
    atomic_store(&world.fails, true);
    lend_one(NULL, "db/creds/a", id);
    ck_call(204, "POST", "sys/leases/revoke", with_id(id));
    start_background();
    wait_until(world.attempts == 1);
    for (unsigned attempt = 1, base = 20; attempt < LEASE_ATTEMPTS; attempt++, base *= 2) {
        wait_until(nothing_is_due());
        bench_advance(b, base / 2 - 8); /* and 4 seconds by looking */
        let_it_look();
        ck_assert_uint_eq(world.attempts, attempt); /* not before half of it */
        must(200, NULL, "GET", "sys/leases/count", "{\"type\":\"irrevocable\"}", "data.lease_count");
        ck_assert_str_eq(text, "0");
        bench_advance(b, base + 9); /* and after one and a half of it in any case */
        wait_until(world.attempts == attempt + 1);
    }
    wait_until(area(AREA_LEASE_FAILED) == 1);
    ck_assert_uint_eq(area(AREA_LEASE_DUE), 0);
    CF_OWNED(call) list = bench_start(b, NULL, "GET", "sys/leases", "{\"type\":\"irrevocable\"}");
    call_wait(list);
    ck_assert_str_eq(call_at(list, "data.lease_count"), "1");
    ck_assert_str_eq(call_at(list, "data.leases.0.lease_id"), id);
    ck_assert_str_eq(call_at(list, "data.leases.0.error"), "the database does not answer");
    ck_assert_int_eq(strncmp(call_at(list, "data.leases.0.mount_id"), "lender_", 7), 0);
    char accessor[64], dotted[96];
    snprintf(accessor, sizeof(accessor), "%.40s", call_at(list, "data.leases.0.mount_id"));
    snprintf(dotted, sizeof(dotted), "data.counts.%s", accessor);
    must(200, NULL, "GET", "sys/leases/count", "{\"type\":\"irrevocable\"}", dotted);
    ck_assert_str_eq(text, "1");
    must(200, NULL, "POST", "sys/leases/lookup", with_id(id), "data.ttl");
    must(400, NULL, "POST", "sys/leases/renew", with_id(id), "errors.0");
    ck_assert_str_eq(text, "lease is expired and has failed previous revocation attempts");
    bench_advance(b, 100000);
    let_it_look();
    ck_assert_uint_eq(world.attempts, LEASE_ATTEMPTS); /* an operator's now */
    atomic_store(&world.fails, false);
    ck_call(204, "POST", "sys/leases/revoke", with_id(id)); /* who asks for it */
    ck_no_lease_left();
    ck_assert_uint_eq(world.taken, 1);
    tear_down();
}
END_TEST

START_TEST(what_is_hopeless_is_tried_once)
{
    char id[256];
    set_up();
    atomic_store(&world.never, true);
    for (int i = 0; i < 3; i++) {
        lend_one(NULL, "db/creds/a", id);
    }
    ck_call(204, "POST", "sys/leases/revoke-prefix/db", "{}");
    start_background();
    wait_until(area(AREA_LEASE_FAILED) == 3);
    ck_assert_uint_eq(world.attempts, 3);
    CF_OWNED(call) list = bench_start(b, NULL, "GET", "sys/leases", "{\"type\":\"irrevocable\",\"limit\":2}");
    call_wait(list);
    ck_assert_str_eq(call_at(list, "data.lease_count"), "2");
    ck_assert_str_ne(call_at(list, "warnings.0"), "");
    must(200, NULL, "GET", "sys/leases", "{\"type\":\"irrevocable\",\"limit\":\"none\"}", "data.lease_count");
    ck_assert_str_eq(text, "3");
    must(400, NULL, "GET", "sys/leases", "{\"type\":\"irrevocable\",\"limit\":\"0\"}", "errors.0");
    must(400, NULL, "GET", "sys/leases", "{\"type\":\"other\"}", "errors.0");
    ck_call(204, "POST", "sys/leases/revoke-prefix/db", "{}");
    let_it_look();
    ck_assert_uint_eq(world.attempts, 3); /* a prefix does not begin anew with what failed */
    ck_call(204, "POST", "sys/leases/revoke-force/db", "{}");
    ck_no_lease_left();
    ck_assert_uint_eq(world.attempts, 3);
    tear_down();
}
END_TEST

START_TEST(force_takes_one_attempt)
{
    char id[256];
    set_up();
    atomic_store(&world.fails, true);
    atomic_store(&world.record_fails, true);
    lend_one(NULL, "db/creds/a", id);
    lend_one(NULL, "db/creds/b", id);
    ck_call(204, "POST", "sys/leases/revoke", with_id(id));
    start_background();
    wait_until(world.attempts == 1 && nothing_is_due());
    ck_call(204, "POST", "sys/leases/revoke-force/db", "{\"sync\":true}");
    ck_no_lease_left();
    ck_assert_uint_eq(world.attempts, 3);
    ck_assert_uint_eq(world.taken, 0);
    tear_down();
}
END_TEST

START_TEST(a_record_that_fails_is_a_failure)
{
    char id[256];
    set_up();
    atomic_store(&world.record_fails, true);
    lend_one(NULL, "db/creds/a", id);
    ck_call(204, "POST", "sys/leases/revoke", with_id(id));
    start_background();
    wait_until(world.taken == 1 && nothing_is_due()); /* the failure is recorded */
    ck_assert_uint_eq(area(AREA_LEASE_DUE), 1);
    atomic_store(&world.record_fails, false);
    bench_advance(b, 31);
    ck_no_lease_left();
    ck_assert_uint_eq(world.taken, 2); /* taken back twice is taken back */
    tear_down();
}
END_TEST

START_TEST(a_mount_that_hangs_holds_up_nobody)
{
    char id[256], token[64];
    set_up();
    ck_call(204, "POST", "sys/mounts/slow", "{\"type\":\"lender\"}");
    atomic_store(&world.hangs, true);
    for (int i = 0; i < 40; i++) {
        lend_one(NULL, "slow/creds/a", id);
    }
    ck_call(204, "POST", "sys/leases/revoke-prefix/slow", "{}");
    start_background();
    wait_until(world.hanging >= 1);
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"100s\"}", token);
    bench_advance(b, 101);
    wait_until(area(AREA_EXPIRE) == 0);
    for (int i = 0; i < 20; i++) {
        lend_one(NULL, "db/creds/a", id);
    }
    ck_call(204, "POST", "sys/leases/revoke-prefix/db", "{}");
    wait_until(area(AREA_LEASE "db/") == 0);
    ck_assert_uint_eq(world.taken, 20);
    ck_assert_uint_eq(area(AREA_LEASE "slow/"), 40);
    atomic_store(&world.hangs, false);
    ck_no_lease_left();
    ck_assert_uint_eq(world.taken, 60);
    tear_down();
}
END_TEST

/* ---- mounts, namespaces, who does it ---- */

START_TEST(a_mount_is_not_unmounted_over_what_it_lent)
{
    char id[256];
    set_up();
    lend_one(NULL, "db/creds/a", id);
    must(400, NULL, "DELETE", "sys/mounts/db", NULL, "errors.0");
    ck_assert_ptr_nonnull(strstr(text, "sys/leases/revoke-prefix/db"));
    ck_call(200, "POST", "sys/remount", "{\"from\":\"db\",\"to\":\"moved\"}");
    start_background();
    ck_no_lease_left(); /* the mount moved, and still knew how */
    ck_assert_uint_eq(world.taken, 1);
    ck_call(204, "DELETE", "sys/mounts/moved", NULL);
    tear_down();
}
END_TEST

START_TEST(a_namespace_goes_after_what_it_lent)
{
    char id[256];
    set_up();
    must(200, NULL, "POST", "sys/namespaces/team", "{}", "data.id");
    char mark[64];
    snprintf(mark, sizeof(mark), ".%.20s", text);
    ck_call(204, "POST", "team/sys/mounts/db", "{\"type\":\"lender\"}");
    lend_one(NULL, "team/db/creds/a", id);
    ck_assert_str_eq(id + strlen(id) - strlen(mark), mark);
    ck_call(200, "POST", "team/sys/leases/lookup", with_id(id));
    ck_call(400, "POST", "sys/leases/lookup", with_id(id));
    atomic_store(&world.never, true);
    ck_call(204, "POST", "team/sys/leases/revoke", with_id(id));
    start_background();
    wait_until(area(AREA_LEASE_FAILED) == 1);
    must(200, NULL, "GET", "sys/leases/count", "{\"type\":\"irrevocable\"}", "data.lease_count");
    ck_assert_str_eq(text, "0");
    must(200, NULL, "GET", "sys/leases", "{\"type\":\"irrevocable\",\"include_child_namespaces\":true}",
         "data.leases.0.lease_id");
    ck_assert_str_eq(text, id);
    atomic_store(&world.never, false);
    atomic_store(&world.fails, true);
    lend_one(NULL, "team/db/creds/b", id);
    ck_call(200, "DELETE", "sys/namespaces/team", NULL);
    wait_until(world.attempts == 2 && nothing_is_due());
    let_it_look();
    ck_assert_uint_eq(area(AREA_NAMESPACE), 1); /* it waits for what may still be taken back */
    atomic_store(&world.fails, false);
    bench_advance(b, 31);
    wait_until(area(AREA_NAMESPACE) == 0);
    ck_assert_uint_eq(world.taken, 1);
    wait_until(area(AREA_LEASE_FAILED) == 0);
    tear_down();
}
END_TEST

START_TEST(more_than_one_entry_takes)
{
    char id[256];
    set_up();
    for (int i = 0; i < 620; i++) {
        lend_one(NULL, "db/creds/a", id);
    }
    ck_call(204, "POST", "sys/leases/revoke-prefix/db", "{}");
    must(400, NULL, "POST", "sys/leases/lookup", with_id("db/creds/a/none"), "errors.0");
    start_background();
    ck_no_lease_left();
    ck_assert_uint_eq(world.taken, 620);
    ck_assert_uint_eq(area(AREA_EXPIRE), 0);
    tear_down();
}
END_TEST

START_TEST(a_successor_tries_again)
{
    char id[256];
    set_up();
    lend_one(NULL, "db/creds/a", id);
    ck_call(204, "POST", "sys/leases/revoke", with_id(id));
    b->refusal = CF_NOT_LEADER; /* what it did outside, it could not record */
    start_background();
    wait_until(world.taken >= 2); /* whoever comes after it sees it as due as before */
    pthread_mutex_lock(&b->lock);
    b->refusal = CF_OK;
    pthread_mutex_unlock(&b->lock);
    ck_no_lease_left();
    core_background_stop(b->core);
    looks = false;
    lend_one(NULL, "db/creds/a", id);
    unsigned before = world.attempts;
    bench_advance(b, 601);
    core_sealed(b->core);
    core_background_start(b->core);
    core_background_stop(b->core);
    ck_assert_uint_eq(world.attempts, before);
    tear_down();
}
END_TEST

/* ---- a mount that lends, on its way to another namespace ---- */

static bool has_moved(const char *id, const char *want)
{
    char path[128];
    snprintf(path, sizeof(path), "sys/remount/status/%s", id);
    must(200, NULL, "GET", path, NULL, "data.migration_info.status");
    return strcmp(text, want) == 0;
}

static void move_db(char move[64])
{
    must(200, NULL, "POST", "sys/remount", "{\"from\":\"db\",\"to\":\"a/db\"}", "data.migration_id");
    snprintf(move, 64, "%.63s", text);
}

/* First everything comes back, by way of the mount where it still is; then it moves. */
START_TEST(takes_back_before_it_moves)
{
    char id[256], move[64];
    set_up();
    ck_call(200, "POST", "sys/namespaces/a", NULL);
    for (int i = 0; i < 30; i++) {
        lend_one(NULL, "db/creds/a", id);
    }
    atomic_store(&world.fails, true);
    move_db(move);
    start_background();
    wait_until(atomic_load(&world.attempts) >= 30);
    ck_assert(has_moved(move, "in-progress"));
    ck_call(503, "GET", "db/creds/a", NULL);
    atomic_store(&world.fails, false);
    bench_advance(b, 40);
    ck_no_lease_left();
    wait_until(has_moved(move, "success"));
    ck_assert_uint_eq(world.taken, 30);
    lend_one(NULL, "a/db/creds/b", id);
    ck_call(204, "POST", "a/sys/leases/revoke", with_id(id));
    ck_no_lease_left();
    ck_assert_uint_eq(world.taken, 31);
    tear_down();
}
END_TEST

/* What cannot be taken back would be lost sight of: the move is undone, and can be made once that is settled. */
START_TEST(stays_where_it_cannot_take_back)
{
    char id[256], move[64];
    set_up();
    ck_call(200, "POST", "sys/namespaces/a", NULL);
    lend_one(NULL, "db/creds/a", id);
    atomic_store(&world.never, true);
    move_db(move);
    start_background();
    wait_until(has_moved(move, "failure"));
    ck_assert_uint_eq(area(AREA_LEASE_FAILED), 1);
    atomic_store(&world.never, false);
    lend_one(NULL, "db/creds/b", id); /* open again */
    ck_call(404, "GET", "a/db/creds/b", NULL);
    ck_call(204, "POST", "sys/leases/revoke-force/db", NULL);
    ck_no_lease_left();
    move_db(move);
    wait_until(has_moved(move, "success"));
    lend_one(NULL, "a/db/creds/b", id);
    tear_down();
}
END_TEST

TEST_MAIN("node/core/lease", lends_renews_and_takes_back, runs_out_and_ends_with_its_token,
          what_would_end_at_once_is_not_made, failures_are_tried_again_further_and_further_apart,
          what_is_hopeless_is_tried_once, force_takes_one_attempt, a_record_that_fails_is_a_failure,
          a_mount_that_hangs_holds_up_nobody, a_mount_is_not_unmounted_over_what_it_lent,
          a_namespace_goes_after_what_it_lent, more_than_one_entry_takes, a_successor_tries_again,
          takes_back_before_it_moves, stays_where_it_cannot_take_back)
