/* tests/unit/node/core/test_txn.c: what one run reads and writes. */
#include "node/core/txn.h"

#include "bench.h"
#include "node/base/host.h"
#include "node/base/memory.h"
#include "tests/lib/test.h"

static struct bench *b;
static struct arena *arena;
static struct view *view;
static struct txn *txn;

static struct key key(const char *name)
{
    return (struct key){CLASS_CLUSTER, NAMESPACE_ROOT, cf_slice_str(name)};
}

static void begin(void)
{
    txn_release(txn);
    view_unref(view);
    view = core_view(b->core);
    txn = txn_new(arena, view);
}

static void commit(void)
{
    CF_BUF(payload) = {0};
    ck_ok(txn_encode(txn, &payload, NULL));
    ck_ok(bench_payload(b, cf_buf_slice(&payload), NULL));
    begin();
}

static void tear_down(void)
{
    txn_release(txn);
    view_unref(view);
    txn = NULL;
    view = NULL;
    bench_free(b);
    arena_free(arena);
    b = NULL;
    arena = NULL;
}

static void set_up(void)
{
    tear_down();
    b = bench_new();
    arena = arena_new(8192);
    begin();
}

static void put(const char *name, const char *value)
{
    txn_put(txn, key(name), cf_slice_str(value));
}

/* "-" when absent. */
static const char *get(const char *name)
{
    struct cf_slice value;
    cf_status status = txn_get(txn, key(name), &value, NULL);
    ck_assert(status == CF_OK || status == CF_NOT_FOUND);
    return status == CF_OK ? arena_text(arena, value) : "-";
}

/* The names, joined by blanks. */
static const char *joined(const struct txn_names *names)
{
    CF_BUF(text) = {0};
    for (size_t i = 0; i < names->count; i++) {
        cf_buf_add_str(&text, i != 0 ? " " : "");
        cf_buf_add_slice(&text, names->names[i]);
    }
    return arena_text(arena, cf_buf_slice(&text));
}

static const char *list(const char *prefix, const char *after, size_t limit)
{
    struct txn_names names;
    ck_ok(txn_list(txn, key(prefix), cf_slice_str(after), limit, &names, NULL));
    return joined(&names);
}

static const char *scan(const char *prefix, const char *after, size_t limit)
{
    struct txn_names names;
    ck_ok(txn_scan(txn, key(prefix), cf_slice_str(after), limit, &names, NULL));
    return joined(&names);
}

START_TEST(reads_its_own_writes)
{
    set_up();
    put("t/a", "old");
    put("t/b", "old");
    commit();
    ck_assert_str_eq(get("t/a"), "old");
    put("t/a", "new");
    put("t/c", "made");
    txn_delete(txn, key("t/b"));
    ck_assert_str_eq(get("t/a"), "new");
    ck_assert_str_eq(get("t/b"), "-");
    ck_assert_str_eq(get("t/c"), "made");
    put("t/b", "again");
    ck_assert_str_eq(get("t/b"), "again");
    txn_delete_prefix(txn, key("t/"));
    ck_assert_str_eq(get("t/a"), "-");
    ck_assert_str_eq(get("t/c"), "-");
    put("t/c", "after");
    ck_assert_str_eq(get("t/c"), "after");
    ck_assert(txn_writes_key(txn, key("t/never"))); /* deleted with the prefix */
    ck_assert(!txn_writes_key(txn, key("u")));
    commit();
    ck_assert_str_eq(get("t/a"), "-");
    ck_assert_str_eq(get("t/b"), "-");
    ck_assert_str_eq(get("t/c"), "after");
    /* The same name in another class is another key. */
    struct cf_slice value;
    ck_status(txn_get(txn, (struct key){CLASS_OWN, 0, CF_SLICE("t/c")}, &value, NULL),
              CF_NOT_FOUND);
    ck_status(txn_get(txn, (struct key){CLASS_CLUSTER, 1, CF_SLICE("t/c")}, &value, NULL),
              CF_NOT_FOUND);
}
END_TEST

START_TEST(arguments_are_copied)
{
    set_up();
    char name[] = "t/a", value[] = "one";
    txn_put(txn, key(name), cf_slice_str(value));
    memset(name, 'x', 3);
    memset(value, 'x', 3);
    ck_assert_str_eq(get("t/a"), "one");
}
END_TEST

START_TEST(lists)
{
    set_up();
    static const char *const names[] = {"t/a", "t/a-b", "t/a/1", "t/a/2", "t/b", "t/B", "t/c/x/y"};
    for (size_t i = 0; i < CF_LENGTH(names); i++) {
        put(names[i], "");
    }
    put("t", "");
    put("u/z", "");
    commit();
    ck_assert_str_eq(list("t/", "", 0), "B a a-b a/ b c/"); /* bytewise; a name and a folder */
    ck_assert_str_eq(list("t/", "", 2), "B a");
    ck_assert_str_eq(list("t/", "a", 0), "a-b a/ b c/");
    ck_assert_str_eq(list("t/", "a/", 0), "b c/");
    ck_assert_str_eq(list("t/", "a/", 1), "b");
    ck_assert_str_eq(list("t/", "zz", 0), "");
    ck_assert_str_eq(list("t/a/", "", 0), "1 2");
    ck_assert_str_eq(list("t/none/", "", 0), "");
    ck_assert_str_eq(scan("t/", "", 0), "B a a-b a/1 a/2 b c/x/y");
    ck_assert_str_eq(scan("t/", "a/1", 2), "a/2 b");
}
END_TEST

START_TEST(lists_with_own_writes)
{
    set_up();
    put("t/a", "");
    put("t/b/1", "");
    put("t/b/2", "");
    put("t/c/1", "");
    commit();
    put("t/d", "");
    put("t/b/3", "");
    put("t/A", "");
    txn_delete(txn, key("t/a"));
    txn_delete(txn, key("t/b/1"));
    txn_delete_prefix(txn, key("t/c/"));
    ck_assert_str_eq(list("t/", "", 0), "A b/ d");
    ck_assert_str_eq(list("t/", "", 1), "A");
    ck_assert_str_eq(list("t/", "A", 1), "b/");
    ck_assert_str_eq(scan("t/", "", 0), "A b/2 b/3 d");
    txn_delete(txn, key("t/b/2"));
    txn_delete(txn, key("t/b/3"));
    ck_assert_str_eq(list("t/", "", 0), "A d"); /* a folder goes with its last name */
    put("t/c/9", "");
    ck_assert_str_eq(list("t/", "", 0), "A c/ d");
}
END_TEST

/* Random writes of this run over random stored ones, against a plain array. */
START_TEST(agrees_with_a_model)
{
    static const char *const names[] = {"a", "a/1", "a/2", "b", "b/1", "b/x/1", "b/x/2", "c"};
    static const char *const prefixes[] = {"a/", "b/", "b/x/", ""};
    bool model[CF_LENGTH(names)] = {0}, before[CF_LENGTH(names)];
    struct cf_prng prng;
    cf_prng_seed(&prng, 5);
    set_up();
    for (int round = 0; round < 300; round++) {
        size_t mark = txn_mark(txn);
        memcpy(before, model, sizeof(before));
        for (uint64_t steps = cf_prng_below(&prng, 6); steps > 0; steps--) {
            size_t i = cf_prng_below(&prng, CF_LENGTH(names));
            CF_BUF(name) = {0};
            cf_buf_addf(&name, "m/%s", names[i]);
            uint64_t what = cf_prng_below(&prng, 5);
            if (what < 3) {
                put(cf_buf_text(&name), "v");
                model[i] = true;
            } else if (what == 3) {
                txn_delete(txn, key(cf_buf_text(&name)));
                model[i] = false;
            } else {
                const char *prefix = prefixes[cf_prng_below(&prng, 3)];
                cf_buf_reset(&name);
                cf_buf_addf(&name, "m/%s", prefix);
                txn_delete_prefix(txn, key(cf_buf_text(&name)));
                for (size_t n = 0; n < CF_LENGTH(names); n++) {
                    model[n] = model[n] && strncmp(names[n], prefix, strlen(prefix)) != 0;
                }
            }
            CF_BUF(want) = {0};
            for (size_t n = 0; n < CF_LENGTH(names); n++) {
                if (model[n]) {
                    cf_buf_addf(&want, "%s%s", want.size != 0 ? " " : "", names[n]);
                }
            }
            ck_assert_str_eq(scan("m/", "", 0), cf_buf_text(&want));
        }
        if (cf_prng_below(&prng, 4) == 0) {
            txn_rollback(txn, mark);
            memcpy(model, before, sizeof(model));
        }
        if (cf_prng_below(&prng, 20) == 0) { /* write sets large enough for their table, and small ones */
            commit();
        }
    }
}
END_TEST

static bool has_read(const struct window_claim *claim, const char *name)
{
    for (size_t i = 0; i < claim->read_count; i++) {
        if (claim->reads[i] == key_hash(key(name))) {
            return true;
        }
    }
    return false;
}

START_TEST(the_claim)
{
    set_up();
    put("t/a", "1");
    commit();
    (void)get("t/a");
    (void)get("t/absent");
    put("t/w", "1");
    (void)get("t/w"); /* its own: nothing of the store was read */
    (void)list("l/", "x", 3);
    txn_note_read(txn, 42);
    txn_delete(txn, key("t/d"));
    txn_delete_prefix(txn, key("p/"));
    struct window_claim *claim = txn_claim(txn);
    ck_assert_uint_eq(claim->view_index, b->applied);
    ck_assert(has_read(claim, "t/a"));
    ck_assert(has_read(claim, "t/absent"));
    ck_assert(!has_read(claim, "t/w"));
    ck_assert_uint_eq(claim->reads[claim->read_count - 1], 42);
    ck_assert_uint_eq(claim->range_count, 1);
    ck_slice(claim->ranges[0].name, "l/"); /* the whole folder, whatever the page */
    ck_assert_uint_eq(claim->write_count, 3);
    ck_slice(claim->writes[0].name, "t/w");
    ck_assert(!claim->is_range[0] && !claim->is_range[1] && claim->is_range[2]);
    ck_slice(claim->writes[2].name, "p/");
    ck_assert_uint_eq(claim->ticket, 0);
}
END_TEST

START_TEST(rollback)
{
    set_up();
    put("t/a", "1");
    size_t mark = txn_mark(txn);
    put("t/a", "2");
    put("t/b", "2");
    txn_delete_prefix(txn, key("t/"));
    ck_assert_str_eq(get("t/a"), "-");
    txn_rollback(txn, mark);
    ck_assert_str_eq(get("t/a"), "1");
    ck_assert_str_eq(get("t/b"), "-");
    ck_assert(has_read(txn_claim(txn), "t/b"));
    txn_rollback(txn, 0);
    ck_assert(!txn_has_writes(txn));
    ck_assert_uint_eq(txn_write_classes(txn), 0);
    txn_rollback(txn, 17); /* nothing to go back over */
    ck_assert(!txn_has_writes(txn));
}
END_TEST

START_TEST(write_classes)
{
    set_up();
    ck_assert(!txn_has_writes(txn));
    txn_delete(txn, (struct key){CLASS_OWN, 0, CF_SLICE("a")});
    ck_assert_uint_eq(txn_write_classes(txn), 1u << 2);
    txn_delete_prefix(txn, (struct key){CLASS_REPLICATED, 0, CF_SLICE("a")});
    ck_assert_uint_eq(txn_write_classes(txn), 1u << 2 | 1u);
    ck_assert(txn_has_writes(txn));
}
END_TEST

/* Values leave sealed, each effect once. */
START_TEST(sealed_effects)
{
    struct op *ops;
    size_t count;
    struct cf_slice plain;
    set_up();
    put("t/a", "the first");
    put("t/gone", "gone");
    txn_delete_prefix(txn, key("t/"));
    put("t/a", "the secret");
    put("t/b", "overtaken");
    txn_delete(txn, key("t/b"));
    txn_put_plain(txn, (struct key){CLASS_OWN, 0, CF_SLICE("seal/x")}, CF_SLICE("plain"));
    ck_ok(txn_seal(txn, &ops, &count, NULL));
    ck_assert_uint_eq(count, 4);
    ck_assert_int_eq(ops[0].kind, OP_DELETE_PREFIX);
    ck_assert_int_eq(ops[1].kind, OP_PUT);
    ck_slice(ops[1].key.name, "t/a");
    ck_assert_ptr_null(memmem(ops[1].value.data, ops[1].value.size, "secret", 6));
    struct barrier_name name = {CLASS_CLUSTER, 0, CF_SLICE("t/a")};
    ck_ok(barrier_open(view->keyring, &name, &view->line, ops[1].value, arena, &plain, NULL));
    ck_slice(plain, "the secret");
    name.name = CF_SLICE("t/b"); /* opens nowhere else */
    ck_status(barrier_open(view->keyring, &name, &view->line, ops[1].value, arena, &plain, NULL),
              CF_CORRUPT);
    ck_assert_int_eq(ops[2].kind, OP_DELETE);
    ck_assert_uint_eq(ops[2].value.size, 0);
    ck_slice(ops[3].value, "plain");
    /* What was encoded is what is applied, in order. */
    commit();
    ck_assert_str_eq(get("t/a"), "the secret");
    ck_assert_str_eq(get("t/gone"), "-");
}
END_TEST

START_TEST(limits)
{
    CF_BUF(payload) = {0};
    struct cf_error err = {0};
    uint8_t *bytes = cf_zalloc(TRANSACTION_BYTES_MAX);
    set_up();
    txn_put(txn, (struct key){CLASS_CLUSTER, 0, cf_slice_of(bytes, KEY_NAME_MAX)}, CF_SLICE("x"));
    ck_ok(txn_encode(txn, &payload, &err));
    txn_delete(txn, (struct key){CLASS_CLUSTER, 0, cf_slice_of(bytes, KEY_NAME_MAX + 1)});
    ck_status(txn_encode(txn, &payload, &err), CF_INVALID);
    begin();
    cf_buf_reset(&payload);
    for (int i = 0; i < 2; i++) {
        txn_put(txn, key(i == 0 ? "a" : "b"), cf_slice_of(bytes, TRANSACTION_BYTES_MAX / 2));
    }
    ck_status(txn_encode(txn, &payload, &err), CF_TOO_LARGE);
    cf_free(bytes);
}
END_TEST

static void count_unref(void *object)
{
    ++*(unsigned *)object;
}

START_TEST(what_is_kept_is_let_go)
{
    unsigned first = 0, second = 0;
    set_up();
    txn_keep(txn, &first, count_unref);
    txn_keep(txn, &second, count_unref);
    ck_assert_uint_eq(first + second, 0);
    txn_release(txn);
    txn_release(txn);
    txn_release(NULL);
    ck_assert_uint_eq(first, 1);
    ck_assert_uint_eq(second, 1);
}
END_TEST

/* Many writes of one run: reads among them stay cheap enough for a thread that serves others, too.
 */
START_TEST(many_writes)
{
    char name[32];
    set_up();
    for (unsigned i = 0; i < 6000; i++) {
        snprintf(name, sizeof(name), "m/%u", i);
        put(name, "v");
    }
    for (unsigned i = 0; i < 6000; i++) {
        snprintf(name, sizeof(name), "m/%u", i);
        ck_assert_str_eq(get(name), "v");
    }
    commit();
    ck_assert_str_eq(get("m/5999"), "v");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {reads_its_own_writes,
                                  arguments_are_copied,
                                  lists,
                                  lists_with_own_writes,
                                  agrees_with_a_model,
                                  the_claim,
                                  rollback,
                                  write_classes,
                                  sealed_effects,
                                  limits,
                                  what_is_kept_is_let_go,
                                  many_writes};
    int failed = test_run("node/core/txn", tests, CF_LENGTH(tests));
    tear_down();
    return failed;
}
