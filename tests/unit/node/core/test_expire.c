/* tests/unit/node/core/test_expire.c: what has run out is revoked, in bounded entries; large trees
 * of tokens. */
#include <time.h>

#include "bench.h"
#include "node/base/memory.h"
#include "node/core/token.h"
#include "tests/lib/test.h"

static struct bench *b;
static char text[512];

static void tear_down(void)
{
    bench_free(b);
    b = NULL;
}

static void set_up(void)
{
    tear_down();
    b = bench_new();
}

/* Keys of an area in the store. */
static size_t area(const char *name)
{
    size_t count = 0;
    CF_OWNED(kv_iterator)
    iterator =
        kv_iterator_new(kv_now(b->kv), b->state, (struct kv_range){{NULL, 0}, {NULL, 0}, false});
    for (kv_seek_first(iterator); kv_valid(iterator); kv_next(iterator)) {
        struct key key;
        uint32_t generation;
        count += key_decode(kv_key(iterator), &key, &generation) &&
                 cf_slice_starts(key.name, cf_slice_str(name));
    }
    return count;
}

/* Waits for the background work until so many tokens are left. */
static void wait_tokens(size_t left)
{
    size_t found = SIZE_MAX;
    for (int i = 0; i < 3000 && found > left; i++) {
        pthread_mutex_lock(&b->lock); /* no entry is half applied */
        found = area(AREA_TOKEN);
        pthread_mutex_unlock(&b->lock);
        struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    ck_assert_uint_eq(found, left);
}

static int use(const char *token)
{
    return bench_call(b, token, "GET", "auth/token/lookup-self", NULL, "", text);
}

static void child_of(const char *parent, const char *body, char *to)
{
    ck_assert_int_eq(
        bench_call(b, parent, "POST", "auth/token/create", body, "auth.client_token", text), 200);
    snprintf(to, 64, "%.60s", text);
}

#define MOTHER "{\"policies\":[\"root\"],\"ttl\":\"1h\"}"
#define CHILD "{\"policies\":[\"default\"],\"ttl\":\"24h\"}"

/* Nothing of a token stays behind; the root token's two records do. */
static void ck_clean(void)
{
    ck_assert_uint_eq(area(AREA_TOKEN), 1);
    ck_assert_uint_eq(area(AREA_ACCESSOR), 1);
    ck_assert_uint_eq(area(AREA_CHILD), 0);
    ck_assert_uint_eq(area(AREA_EXPIRE), 0);
    ck_assert_uint_eq(area(AREA_LEASE), 0);
    ck_assert_uint_eq(area(AREA_CUBBY), 0);
}

/* The largest number of effects of the entries from index on. */
static size_t largest_entry(uint64_t from)
{
    size_t largest = 0;
    for (uint64_t i = from; i <= b->applied; i++) {
        CF_OWNED(arena) arena = arena_new(65536);
        largest = cf_max(largest, bench_entry(b, i, arena).op_count);
    }
    return largest;
}

START_TEST(what_is_due_goes)
{
    char first[64], second[64], later[64];
    set_up();
    bench_token(b, MOTHER, first);
    child_of(first, CHILD, second);
    bench_token(b, CHILD, later);
    ck_assert_int_eq(bench_call(b, first, "POST", "cubbyhole/x", "{\"a\":\"b\"}", "", text), 204);
    ck_assert_uint_eq(area(AREA_CUBBY), 1);
    core_background_start(b->core);
    bench_advance(b, 1800);
    ck_assert_int_eq(use(first), 200);
    bench_advance(b, 1900);
    ck_assert_int_eq(use(first), 403); /* at once, whatever the background work does */
    ck_assert_int_eq(use(second), 403);
    wait_tokens(2);
    ck_assert_int_eq(use(later), 200);
    bench_advance(b, 24 * 3600);
    wait_tokens(1);
    ck_clean();
}
END_TEST

START_TEST(a_renewal_moves_it)
{
    char token[64];
    set_up();
    bench_token(b, "{\"policies\":[\"default\"],\"ttl\":\"1h\"}", token);
    bench_advance(b, 3000);
    ck_assert_int_eq(bench_call(b, token, "POST", "auth/token/renew-self", "{}", "", text), 200);
    ck_assert_uint_eq(area(AREA_EXPIRE), 1);
    bench_advance(b, 3000);
    ck_assert_int_eq(use(token), 200);
    core_background_start(b->core);
    bench_advance(b, 3000);
    wait_tokens(1);
    ck_clean();
}
END_TEST

/* The decision to revoke meets a renewal: the renewal's entry was first, so the token lives. */
START_TEST(expiry_is_checked_like_any_write)
{
    char token[64], body[128];
    set_up();
    bench_token(b, "{\"policies\":[\"default\"],\"ttl\":\"1h\"}", token);
    bench_advance(b, 3599);
    /* A round that looks a little into the future, held before its append. */
    b->holds = true;
    bench_advance(b, 2);
    core_background_start(b->core);
    for (int i = 0; i < 3000; i++) {
        pthread_mutex_lock(&b->lock);
        bool is_held = b->held_count == 1;
        pthread_mutex_unlock(&b->lock);
        if (is_held) {
            break;
        }
        struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    ck_assert_uint_eq(b->held_count, 1);
    b->holds = false;
    /* The record changes under it: a child that is made below it would be missed otherwise. */
    CF_OWNED(arena) arena = arena_new(4096);
    struct view *view = core_view(b->core);
    struct txn *txn = txn_new(arena, view);
    const struct token_entry *entry;
    uint8_t key[TOKEN_KEY_SIZE];
    CF_BUF(payload) = {0};
    ck_ok(token_key_of(txn, cf_slice_str(token), key, NULL));
    ck_ok(token_by_key(txn, arena, NAMESPACE_ROOT, key, &entry, NULL));
    struct token_entry renewed = *entry;
    renewed.expire_ns += 3600LL * 1000000000;
    ck_ok(token_update(txn, arena, entry, &renewed, NULL));
    struct proposal proposal = {.claim = txn_claim(txn)};
    ck_ok(txn_encode(txn, &proposal.payload, NULL));
    ck_ok(core_admit(b->core, &proposal, b->appended + 1));
    cf_buf_add_slice(&b->log[++b->appended], cf_buf_slice(&proposal.payload));
    command_set_stamp(&b->log[b->appended], view_now_ns(view));
    bench_apply(b);
    cf_buf_done(&proposal.payload);
    txn_release(txn);
    view_unref(view);
    bench_release(b, 0);
    ck_assert_int_eq(use(token), 200);
    snprintf(body, sizeof(body), "{\"token\":\"%s\"}", token);
    ck_assert_int_eq(bench_call(b, NULL, "POST", "auth/token/lookup", body, "", text), 200);
    core_background_stop(b->core);
}
END_TEST

/* A record that cannot be read any more keeps nothing else alive. */
START_TEST(a_damaged_record)
{
    char token[64];
    uint8_t due[sizeof(AREA_EXPIRE) - 1 + 8 + 1 + TOKEN_KEY_SIZE] = AREA_EXPIRE;
    uint8_t record[sizeof(AREA_TOKEN) - 1 + TOKEN_KEY_SIZE] = AREA_TOKEN;
    const size_t head = sizeof(AREA_EXPIRE) - 1;
    set_up();
    due[head + 7] = 1; /* 1970: before all others */
    due[head + 8] = 't';
    memset(due + head + 9, 7, TOKEN_KEY_SIZE);
    memset(record + sizeof(AREA_TOKEN) - 1, 7, TOKEN_KEY_SIZE);
    const struct op ops[] = {
        {OP_PUT, {CLASS_CLUSTER, 0, cf_slice_of(due, sizeof(due))}, CF_SLICE("not sealed")},
        {OP_PUT, {CLASS_CLUSTER, 0, cf_slice_of(record, sizeof(record))}, CF_SLICE("not sealed")}};
    struct command command = {.id = COMMAND_WRITE, .ops = ops, .op_count = 2};
    ck_ok(bench_command(b, &command, NULL));
    bench_token(b, MOTHER, token);
    bench_advance(b, 3700);
    core_background_start(b->core);
    wait_tokens(2); /* root's, and the damaged one */
    core_background_stop(b->core);
    ck_assert_int_eq(use(token), 403);
}
END_TEST

/* ---- large trees ---- */

#define MANY 1100

static void make_family(char mother[64])
{
    char child[64];
    bench_token(b, MOTHER, mother);
    for (int i = 0; i < MANY; i++) {
        child_of(mother, CHILD, child);
    }
}

START_TEST(a_large_tree_expires_in_bounded_entries)
{
    char mother[64], other[64];
    set_up();
    make_family(mother);
    bench_token(b, MOTHER, other); /* due right after it: must not wait for ever behind it */
    bench_advance(b, 3700);
    uint64_t before = b->appended;
    core_background_start(b->core);
    wait_tokens(1);
    core_background_stop(b->core);
    ck_clean();
    ck_assert_uint_ge(b->applied - before, 3);
    ck_assert_uint_le(largest_entry(before + 1), 500 * 7);
}
END_TEST

START_TEST(a_large_tree_is_revoked_at_once_and_deleted_later)
{
    char mother[64], child[64], body[128];
    set_up();
    make_family(mother);
    child_of(mother, CHILD, child);
    ck_assert_int_eq(use(child), 200);
    snprintf(body, sizeof(body), "{\"token\":\"%s\"}", mother);
    uint64_t before = b->appended;
    ck_assert_int_eq(bench_call(b, NULL, "POST", "auth/token/revoke", body, "errors.0", text), 204);
    ck_assert_uint_eq(b->appended, before + 1);
    ck_assert_uint_le(largest_entry(before + 1), 10);
    ck_assert_int_eq(use(mother), 403);
    ck_assert_int_eq(use(child), 403); /* all of it, although its records are there still */
    ck_assert_int_eq(bench_call(b, NULL, "POST", "auth/token/lookup", body, "", text), 403);
    ck_assert_uint_eq(area(AREA_TOKEN), 1 + 2 + MANY);
    core_background_start(b->core);
    wait_tokens(1);
    core_background_stop(b->core);
    ck_clean();
}
END_TEST

START_TEST(a_small_tree_is_revoked_in_one_entry)
{
    char mother[64], daughter[64], child[64], body[128];
    set_up();
    bench_token(b, MOTHER, mother);
    for (int i = 0; i < 20; i++) {
        child_of(mother, MOTHER, daughter);
        child_of(daughter, CHILD, child);
    }
    snprintf(body, sizeof(body), "{\"token\":\"%s\"}", mother);
    uint64_t before = b->appended;
    ck_assert_int_eq(bench_call(b, NULL, "POST", "auth/token/revoke", body, "errors.0", text), 204);
    ck_assert_uint_eq(b->appended, before + 1);
    ck_clean();
}
END_TEST

START_TEST(a_deep_tree)
{
    char token[64], top[64], body[128];
    set_up();
    bench_token(b, MOTHER, top);
    snprintf(token, sizeof(token), "%s", top);
    for (int i = 0; i < 100; i++) {
        char next[64];
        child_of(token, MOTHER, next);
        snprintf(token, sizeof(token), "%s", next);
    }
    snprintf(body, sizeof(body), "{\"token\":\"%s\"}", top);
    ck_assert_int_eq(bench_call(b, NULL, "POST", "auth/token/revoke", body, "errors.0", text), 204);
    ck_assert_int_eq(use(top), 403);
    core_background_start(b->core);
    wait_tokens(1);
    core_background_stop(b->core);
    ck_clean();
}
END_TEST

START_TEST(orphans)
{
    char mother[64], child[64], body[128];
    set_up();
    bench_token(b, MOTHER, mother);
    child_of(mother, CHILD, child);
    snprintf(body, sizeof(body), "{\"token\":\"%s\"}", mother);
    ck_assert_int_eq(bench_call(b, NULL, "POST", "auth/token/revoke-orphan", body, "", text), 204);
    ck_assert_int_eq(use(mother), 403);
    ck_assert_int_eq(use(child), 200);
    ck_assert_uint_eq(area(AREA_CHILD), 0);
    make_family(mother);
    snprintf(body, sizeof(body), "{\"token\":\"%s\"}", mother);
    uint64_t before = b->appended;
    ck_assert_int_eq(bench_call(b, NULL, "POST", "auth/token/revoke-orphan", body, "", text), 503);
    ck_assert_uint_eq(b->appended, before);
    ck_assert_int_eq(use(mother), 200);
}
END_TEST

/* ---- who does it ---- */

START_TEST(only_the_active_node)
{
    char token[64];
    set_up();
    bench_token(b, CHILD, token);
    bench_advance(b, 25 * 3600);
    b->is_passive = true;
    uint64_t before = b->appended;
    core_background_start(b->core);
    core_background_stop(b->core);
    b->is_passive = false;
    ck_assert_uint_eq(b->appended, before);
    core_sealed(b->core);
    core_background_start(b->core); /* a sealed one has nothing to look at */
    core_background_stop(b->core);
    core_unsealed(b->core, b->keyring);
    core_background_start(b->core);
    wait_tokens(1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_is_due_goes,
                                  a_renewal_moves_it,
                                  expiry_is_checked_like_any_write,
                                  a_damaged_record,
                                  a_large_tree_expires_in_bounded_entries,
                                  a_large_tree_is_revoked_at_once_and_deleted_later,
                                  a_small_tree_is_revoked_in_one_entry,
                                  a_deep_tree,
                                  orphans,
                                  only_the_active_node};
    int failed = test_run("node/core/expire", tests, CF_LENGTH(tests));
    tear_down();
    return failed;
}
