/* tests/unit/node/server/test_filter.c: what passes a paths filter: by rules, in the state, in a stream, and as the
 * API shows it. */
#include "node/server/replication/filter.h"

#include <stdio.h>

#include "node/base/memory.h"
#include "node/core/mount.h"
#include "repl_world.h"

#define FILTER "sys/replication/performance/primary/paths-filter/b"
#define DYNAMIC "sys/replication/performance/primary/dynamic-filter/b"

static struct arena *arena;
static struct view *view;
static struct filter *filter;

/* Root with eu/, us/ and auth/up/; team/ and team/in/ with kv/ each. */
static void set_up(void)
{
    world_begin();
    arena = arena_new(4096);
    ck_post(200, "sys/replication/performance/primary/enable", "{}");
    ck_post(200, "sys/replication/performance/primary/secondary-token", "{\"id\":\"b\"}");
    ck_post(204, "sys/mounts/eu", "{\"type\":\"kv\"}");
    ck_post(204, "sys/mounts/us", "{\"type\":\"kv\"}");
    ck_post(204, "sys/mounts/near", "{\"type\":\"kv\",\"local\":true}");
    ck_post(204, "sys/auth/up", "{\"type\":\"userpass\"}");
    ck_post(200, "sys/namespaces/team", "{}");
    ck_post(200, "team/sys/namespaces/in", "{}");
    ck_post(204, "team/sys/mounts/kv", "{\"type\":\"kv\"}");
    ck_post(204, "team/in/sys/mounts/kv", "{\"type\":\"kv\"}");
}

static void let_go(void)
{
    filter_unref(filter);
    view_unref(view);
    filter = NULL;
    view = NULL;
}

static void tear_down(void)
{
    let_go();
    arena_free(arena);
    world_end();
}

static void look(void)
{
    let_go();
    view = core_view(fixture_core(world));
    ck_ok(filter_load(view, CF_SLICE("b"), &filter, NULL));
}

static void set_filter(const char *mode, const char *paths)
{
    char body[256];
    (void)snprintf(body, sizeof(body), "{\"mode\":\"%s\",\"paths\":\"%s\"}", mode, paths);
    int status = world_post(FILTER, body);
    ck_assert_msg(status == 204 || status == 200, "%d %s", status, fixture_at(world, "errors.0"));
    look();
}

static const struct namespace *ns_at(const char *path)
{
    const struct namespace *ns = namespace_table_find(view->namespaces, cf_slice_str(path));
    ck_assert_ptr_nonnull(ns);
    return ns;
}

static const struct mount *mount_at(const char *ns, const char *path)
{
    const struct mount *mount = mount_table_find(ns_at(ns)->mounts, cf_slice_str(path));
    ck_assert_ptr_nonnull(mount);
    return mount;
}

static struct key data_key(const struct mount *mount, const char *rest)
{
    CF_BUF(name) = {0};
    cf_buf_add_str(&name, AREA_DATA);
    cf_buf_add(&name, mount->uuid.bytes, sizeof(mount->uuid.bytes));
    cf_buf_add_byte(&name, '/');
    cf_buf_add_str(&name, rest);
    return (struct key){CLASS_REPLICATED, mount->ns, arena_copy(arena, cf_buf_slice(&name))};
}

static bool mount_passes(const char *ns, const char *path)
{
    const struct mount *mount = mount_at(ns, path);
    bool entry = filter_passes(filter, mount_key(mount));
    ck_assert(entry == filter_passes(filter, data_key(mount, "x")));
    return entry;
}

static bool namespace_passes(const char *path)
{
    const struct namespace *ns = ns_at(path);
    struct key inside = {CLASS_REPLICATED, ns->number, CF_SLICE(AREA_POLICY "default")};
    bool record = filter_passes(filter, namespace_key(arena, ns->number));
    ck_assert(record == filter_passes(filter, inside));
    return record;
}

START_TEST(by_mount_and_namespace)
{
    static const struct {
        const char *mode, *paths;
        bool eu, us, up, team, team_kv, in, in_kv;
    } cases[] = {
        {"deny", "", true, true, true, true, true, true, true},
        {"deny", "eu/", false, true, true, true, true, true, true},
        {"deny", "e/,u/,eu/x/,team/k/", true, true, true, true, true, true, true},
        {"deny", "auth/up", true, true, false, true, true, true, true},
        {"deny", "team", true, true, true, false, false, false, false},
        {"deny", "team/kv", true, true, true, true, false, true, true},
        {"deny", "team/in", true, true, true, true, true, false, false},
        {"allow", "", false, false, false, false, false, false, false},
        {"allow", "eu", true, false, false, false, false, false, false},
        {"allow", "eu,auth/up", true, false, true, false, false, false, false},
        {"allow", "team", false, false, false, true, true, true, true},
        {"allow", "team/in", false, false, false, true, false, true, true},
        {"allow", "team/in/kv", false, false, false, true, false, true, true},
        {"allow", "team/kv", false, false, false, true, true, false, false},
    };
    set_up();
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        set_filter(cases[i].mode, cases[i].paths);
        ck_assert_msg(mount_passes("", "eu/") == cases[i].eu, "eu, case %zu", i);
        ck_assert_msg(mount_passes("", "us/") == cases[i].us, "us, case %zu", i);
        ck_assert_msg(mount_passes("", "auth/up/") == cases[i].up, "up, case %zu", i);
        ck_assert_msg(namespace_passes("team/") == cases[i].team, "team, case %zu", i);
        ck_assert_msg(mount_passes("team/", "kv/") == cases[i].team_kv, "team/kv, case %zu", i);
        ck_assert_msg(namespace_passes("team/in/") == cases[i].in, "in, case %zu", i);
        ck_assert_msg(mount_passes("team/in/", "kv/") == cases[i].in_kv, "in/kv, case %zu", i);
        ck_assert(mount_passes("", "sys/") && mount_passes("", "identity/"));
        ck_assert(mount_passes("team/", "identity/") == cases[i].team);
        ck_assert(filter_passes(filter, (struct key){CLASS_REPLICATED, NAMESPACE_ROOT,
                                                     CF_SLICE(AREA_POLICY "default")}));
    }
    tear_down();
}
END_TEST

START_TEST(records_of_filters_go_to_their_own)
{
    set_up();
    set_filter("deny", "eu/");
    ck_assert(filter_passes(filter, filter_record_key(arena, CF_SLICE("b"))));
    ck_assert(filter_passes(filter, filter_widened_key(arena, CF_SLICE("b"))));
    ck_assert(!filter_passes(filter, filter_record_key(arena, CF_SLICE("c"))));
    ck_assert(!filter_passes(filter, filter_widened_key(arena, CF_SLICE("bb"))));
    filter_unref(filter);
    ck_ok(filter_load(view, CF_SLICE("c"), &filter, NULL)); /* without one of its own */
    ck_assert(mount_passes("", "eu/"));
    ck_assert(!filter_passes(filter, filter_record_key(arena, CF_SLICE("b"))));
    ck_assert(filter_passes(NULL, filter_record_key(arena, CF_SLICE("b")))); /* a DR secondary */
    tear_down();
}
END_TEST

START_TEST(widened_only_by_what_is_there)
{
    set_up();
    set_filter("deny", "eu/");
    uint64_t changed = filter->changed;
    ck_assert_uint_ne(changed, 0);
    ck_assert_uint_eq(filter->widened, 0);
    ck_assert(filter_can_stream(filter, 1));
    set_filter("deny", "eu/");
    ck_assert_uint_eq(filter->changed, changed); /* nothing new, nothing written */
    set_filter("deny", "eu/,later/,us/");
    ck_assert_uint_gt(filter->changed, changed);
    ck_assert_uint_eq(filter->widened, 0);
    set_filter("deny", "eu/,us/"); /* nobody had made later/ */
    ck_assert_uint_eq(filter->widened, 0);
    set_filter("deny", "us/");
    ck_assert_uint_eq(filter->widened, filter->changed);
    ck_assert(!filter_can_stream(filter, filter->widened));
    ck_assert(filter_can_stream(filter, filter->widened + 1));
    ck_assert_int_eq(fixture_call(world, NULL, "DELETE", FILTER, NULL, NULL), 204);
    changed = filter->changed;
    look();
    ck_assert_uint_eq(filter->changed, 0);
    ck_assert_uint_gt(filter->widened, changed);
    ck_assert(mount_passes("", "us/"));
    tear_down();
}
END_TEST

START_TEST(stands_until_it_changes)
{
    set_up();
    set_filter("deny", "eu/");
    struct filter *kept = filter_ref(filter);
    ck_post(204, "sys/mounts/more", "{\"type\":\"kv\"}");
    look();
    ck_assert(filter_stands(kept, view));
    set_filter("deny", "us/");
    ck_assert(!filter_stands(kept, view));
    filter_unref(kept);
    tear_down();
}
END_TEST

/* ---- a stream ---- */

static const struct op *shipped;
static size_t shipped_count;

static void ship(struct filter_pass *pass, uint64_t index, enum op_kind kind, struct key key)
{
    struct op op = {.kind = kind, .key = key, .value = CF_SLICE("sealed")};
    shipped_count = 1;
    const struct op *ops = filter_ops(pass, arena, index, &op, &shipped_count);
    struct op *copy = arena_alloc(arena, (shipped_count + 1) * sizeof(*copy));
    if (shipped_count != 0) {
        memcpy(copy, ops, shipped_count * sizeof(*copy));
    }
    shipped = copy;
}

static void ck_passes(struct filter_pass *pass, uint64_t index, enum op_kind kind, struct key key)
{
    ship(pass, index, kind, key);
    ck_assert_uint_eq(shipped_count, 1);
    ck_assert_int_eq(shipped[0].kind, kind);
    ck_assert(cf_slice_eq(shipped[0].key.name, key.name) && shipped[0].key.ns == key.ns);
}

/* Its entry, and everything below its data. */
static void ck_removed(const struct op *ops, const struct mount *mount)
{
    ck_assert_int_eq(ops[0].kind, OP_DELETE);
    ck_assert(cf_slice_eq(ops[0].key.name, mount_key(mount).name));
    ck_assert_int_eq(ops[1].kind, OP_DELETE_PREFIX);
    ck_assert(cf_slice_eq(ops[1].key.name, data_key(mount, "").name));
    ck_assert(ops[0].key.ns == mount->ns && ops[1].key.ns == mount->ns);
    ck_assert(ops[0].value.size == 0 && ops[1].value.size == 0);
}

START_TEST(a_stream_before_at_and_after_the_change)
{
    set_up();
    set_filter("deny", "eu/");
    const struct mount *eu = mount_at("", "eu/"), *us = mount_at("", "us/");
    struct filter_pass pass = {.filter = filter};
    uint64_t at = filter->changed;
    ck_passes(&pass, at - 5, OP_PUT, data_key(us, "a"));
    ship(&pass, at - 4, OP_PUT, data_key(eu, "a")); /* would be half of what it has: it goes now */
    ck_assert_uint_eq(shipped_count, 2);
    ck_removed(shipped, eu);
    ship(&pass, at - 3, OP_DELETE, data_key(eu, "b")); /* nor are names told */
    ck_assert_uint_eq(shipped_count, 0);
    ship(&pass, at, OP_PUT, filter_record_key(arena, CF_SLICE("b")));
    ck_assert_uint_eq(shipped_count, 1); /* once a batch */
    filter_pass_done(&pass);
    ship(&pass, at, OP_PUT, filter_record_key(arena, CF_SLICE("b")));
    ck_assert_uint_eq(shipped_count, 3);
    ck_removed(shipped + 1, eu);
    filter_pass_done(&pass);
    ship(&pass, at + 1, OP_PUT, data_key(eu, "a"));
    ck_assert_uint_eq(shipped_count, 0);
    ship(&pass, at + 1, OP_PUT, mount_key(eu));
    ck_assert_uint_eq(shipped_count, 0);
    ck_passes(&pass, at + 1, OP_PUT, mount_key(us));
    filter_pass_done(&pass);
    tear_down();
}
END_TEST

START_TEST(a_namespace_goes_whole)
{
    set_up();
    set_filter("deny", "team/");
    const struct namespace *team = ns_at("team/");
    struct filter_pass pass = {.filter = filter};
    ship(&pass, filter->changed, OP_PUT, filter_record_key(arena, CF_SLICE("b")));
    ck_assert_uint_eq(shipped_count, 5); /* the record, and two of each namespace */
    ck_assert(cf_slice_eq(shipped[1].key.name, namespace_key(arena, team->number).name));
    ck_assert_uint_eq(shipped[1].key.ns, NAMESPACE_ROOT);
    ck_assert_int_eq(shipped[2].kind, OP_DELETE_PREFIX);
    ck_assert(shipped[2].key.ns == team->number && shipped[2].key.name.size == 0);
    filter_pass_done(&pass);
    ship(&pass, filter->changed + 1, OP_PUT,
         (struct key){CLASS_REPLICATED, team->number, CF_SLICE(AREA_POLICY "p")});
    ck_assert_uint_eq(shipped_count, 0);
    filter_pass_done(&pass);
    tear_down();
}
END_TEST

START_TEST(what_is_gone_leaves_nothing)
{
    set_up();
    set_filter("deny", "eu/");
    struct mount us = *mount_at("", "us/");
    struct key data = data_key(&us, "a"), all = data_key(&us, ""), some = data_key(&us, "sub/");
    uint32_t number = ns_at("team/in/")->number;
    us.record_name = arena_copy(arena, us.record_name);
    ck_assert_int_eq(fixture_call(world, NULL, "DELETE", "sys/mounts/us", NULL, NULL), 204);
    look();
    uint64_t at = filter->changed + 1;
    struct filter_pass pass = {.filter = filter};
    ship(&pass, at, OP_PUT, data);
    ck_assert_uint_eq(shipped_count, 2);
    ck_removed(shipped, &us);
    ship(&pass, at, OP_PUT, mount_key(&us));
    ck_assert_uint_eq(shipped_count, 0);
    ship(&pass, at, OP_DELETE_PREFIX, some);
    ck_assert_uint_eq(shipped_count, 0);
    ck_passes(&pass, at, OP_DELETE, mount_key(&us));
    ck_passes(&pass, at, OP_DELETE_PREFIX, all);
    filter_pass_done(&pass);
    ship(&pass, at, OP_PUT, (struct key){CLASS_REPLICATED, number + 1, CF_SLICE("d/x")});
    ck_assert_uint_eq(shipped_count, 2); /* a namespace that nobody knows any more */
    ck_passes(&pass, at, OP_DELETE, namespace_key(arena, number + 1));
    ck_passes(&pass, at, OP_DELETE_PREFIX,
              (struct key){CLASS_REPLICATED, number + 1, CF_SLICE_EMPTY});
    filter_pass_done(&pass);
    tear_down();
}
END_TEST

START_TEST(copies_skip_whole_parts)
{
    set_up();
    set_filter("deny", "eu/,team/");
    CF_BUF(behind) = {0};
    CF_BUF(want) = {0};
    const struct mount *eu = mount_at("", "eu/");
    struct key next = data_key(eu, "");
    filter_skip(filter, data_key(eu, "x/y"), 7, &behind);
    ((uint8_t *)(uintptr_t)next.name.data)[next.name.size - 1]++;
    key_encode(&want, next, 7);
    ck_assert(cf_slice_eq(cf_buf_slice(&behind), cf_buf_slice(&want)));
    uint32_t number = ns_at("team/")->number;
    cf_buf_reset(&behind);
    cf_buf_reset(&want);
    filter_skip(filter, (struct key){CLASS_REPLICATED, number, CF_SLICE("x")}, 7, &behind);
    key_encode(&want, (struct key){CLASS_REPLICATED, number + 1, CF_SLICE_EMPTY}, 7);
    ck_assert(cf_slice_eq(cf_buf_slice(&behind), cf_buf_slice(&want)));
    cf_buf_reset(&behind);
    cf_buf_reset(&want);
    filter_skip(filter, mount_key(eu), 7, &behind); /* the entry of another one may follow */
    key_encode(&want, mount_key(eu), 7);
    cf_buf_add_byte(&want, 0);
    ck_assert(cf_slice_eq(cf_buf_slice(&behind), cf_buf_slice(&want)));
    tear_down();
}
END_TEST

/* ---- requests ---- */

START_TEST(requests_from_a_secondary)
{
    set_up();
    set_filter("deny", "eu/,team/in/");
    ck_assert(filter_hides(view, CF_SLICE("b"), CF_SLICE("eu/x")));
    ck_assert(filter_hides(view, CF_SLICE("b"), CF_SLICE("team/in/sys/policies/acl/x")));
    ck_assert(!filter_hides(view, CF_SLICE("b"), CF_SLICE("us/x")));
    ck_assert(!filter_hides(view, CF_SLICE("b"), CF_SLICE("team/kv/x")));
    ck_assert(!filter_hides(view, CF_SLICE("b"), CF_SLICE("nothing/x")));
    ck_assert(!filter_hides(view, CF_SLICE("c"), CF_SLICE("eu/x")));
    tear_down();
}
END_TEST

START_TEST(no_move_past_a_filter)
{
    set_up();
    set_filter("deny", "eu/");
    ck_refused("holds back \"eu/\"", "sys/remount", "{\"from\":\"eu\",\"to\":\"free\"}");
    ck_assert_int_eq(fixture_call(world, NULL, "DELETE", "sys/mounts/eu", NULL, NULL), 204);
    ck_refused("lets through \"us/\"", "sys/remount", "{\"from\":\"us\",\"to\":\"eu\"}");
    ck_post(200, "sys/remount", "{\"from\":\"us\",\"to\":\"free\"}");
    ck_post(200, "sys/remount", "{\"from\":\"near\",\"to\":\"eu\"}"); /* local: goes nowhere */
    tear_down();
}
END_TEST

START_TEST(dry_run_and_dynamic)
{
    set_up();
    set_filter("deny", "eu/");
    ck_post(200, FILTER, "{\"mode\":\"allow\",\"paths\":[\"eu/\",\"team/kv\"],\"dry_run\":true}");
    ck_assert_str_eq(fixture_at(world, "data.would_be_copied.0"), "eu/");
    ck_assert_str_eq(fixture_at(world, "data.would_be_copied.1"), "");
    ck_assert_str_eq(fixture_at(world, "data.would_be_removed.0"), "auth/up/");
    ck_assert_str_eq(fixture_at(world, "data.would_be_removed.1"), "us/");
    ck_assert_str_eq(fixture_at(world, "data.would_be_removed.2"), "team/in/");
    ck_assert_str_eq(fixture_at(world, "data.would_be_removed.3"), "team/in/kv/");
    ck_assert_str_eq(fixture_at(world, "data.would_be_removed.4"), "");
    ck_assert_int_eq(fixture_call(world, NULL, "GET", DYNAMIC, NULL, NULL), 200);
    ck_assert_str_eq(fixture_at(world, "data.dynamic_filtered_mounts.0"), "eu/");
    ck_assert_str_eq(fixture_at(world, "data.dynamic_filtered_mounts.1"), "");
    ck_assert_str_eq(fixture_at(world, "data.dynamic_filtered_namespaces.0"), "");
    tear_down();
}
END_TEST

START_TEST(malformed_records)
{
    struct filter_rules rules;
    static const char *const bad[] = {"", "\x01{}", "\x01{\"mode\":\"deny\"}", "\x02{}",
                                      "\x01{\"mode\":\"x\",\"paths\":[]}"};
    arena = arena_new(256);
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        ck_assert_int_ne(filter_decode(arena, cf_slice_str(bad[i]), &rules, NULL), CF_OK);
    }
    ck_ok(filter_decode(arena, CF_SLICE("\x01{\"mode\":\"deny\",\"paths\":[\"b/\",\"a/\",\"b/\",7]}"),
                        &rules, NULL));
    ck_assert_uint_eq(rules.count, 2);
    ck_assert(cf_slice_is(rules.paths[0], "a/") && cf_slice_is(rules.paths[1], "b/"));
    arena_free(arena);
}
END_TEST

TEST_MAIN("server/filter", by_mount_and_namespace, records_of_filters_go_to_their_own,
          widened_only_by_what_is_there, stands_until_it_changes,
          a_stream_before_at_and_after_the_change, a_namespace_goes_whole,
          what_is_gone_leaves_nothing, copies_skip_whole_parts, requests_from_a_secondary,
          no_move_past_a_filter, dry_run_and_dynamic, malformed_records)
