/* tests/unit/node/server/test_rotation.c: data keys are replaced by count and by age, and a restart
 * forgets no encryption. */
#include "node/server/rotation.h"

#include "node/server/seal.h"
#include "node/server/versions.h"
#include "repl_world.h"

static void set_up(void)
{
    world_begin();
    world_node->root_key = secret_new(SEAL_KEY_SIZE);
    memset(secret_bytes(world_node->root_key), 7, SEAL_KEY_SIZE);
    core_set_keyring_loader(world_node->core, seal_load_keyring, world_node);
}

static struct keyring_info active(void)
{
    struct view *view = core_view(world_node->core);
    struct keyring_info info = keyring_active(view->keyring);
    view_unref(view);
    return info;
}

/* As if the active key had been used so often. */
static void count_to(uint64_t encryptions)
{
    struct view *view = core_view(world_node->core);
    ck_ok(keyring_count_at_least(view->keyring, keyring_active(view->keyring).id, encryptions,
                                 NULL));
    view_unref(view);
}

static cf_status look(struct request *rq, struct cf_error *err)
{
    return rotation_look(rq, world_node, err);
}

START_TEST(when_it_is_due)
{
    static const int64_t day_ns = (int64_t)86400 * 1000000000;
    struct rotation_settings settings = {.is_enabled = true, .max_operations = 1000000};
    struct keyring_info info = {.installed_ns = 5 * day_ns, .encryptions = 999999};
    ck_assert(!rotation_is_due(&settings, &info, 500 * day_ns));
    info.encryptions = 1000000;
    ck_assert(rotation_is_due(&settings, &info, 5 * day_ns));
    settings.is_enabled = false;
    ck_assert(!rotation_is_due(&settings, &info, 5 * day_ns));
    settings = (struct rotation_settings){true, ROTATION_OPERATIONS_MAX, 86400};
    ck_assert(!rotation_is_due(&settings, &info, 6 * day_ns - 1));
    ck_assert(rotation_is_due(&settings, &info, 6 * day_ns));
    ck_assert(!rotation_is_due(&settings, &info, 4 * day_ns)); /* a clock that was set back */
}
END_TEST

START_TEST(settings)
{
    set_up();
    ck_assert_int_eq(fixture_call(world, NULL, "GET", "sys/rotate/config", NULL, NULL), 200);
    ck_assert_str_eq(fixture_at(world, "data.enabled"), "true");
    ck_assert_str_eq(fixture_at(world, "data.interval"), "0");
    ck_assert_str_eq(fixture_at(world, "data.max_operations"), "3865470566");
    ck_refused("interval must be greater or equal to 24h0m0s", "sys/rotate/config",
               "{\"interval\":\"1h\"}");
    ck_refused("max_operations must be in the range [1000000,3865470566]", "sys/rotate/config",
               "{\"max_operations\":999999}");
    ck_refused("max_operations must be in the range", "sys/rotate/config",
               "{\"max_operations\":4294967296}");
    uint64_t entries = fixture_index(world);
    ck_post(204, "sys/rotate/config", "{\"interval\":\"48h\",\"max_operations\":1000000}");
    ck_assert_uint_eq(fixture_index(world), entries + 1);
    ck_post(204, "sys/rotate/config", "{\"enabled\":false}"); /* the rest stays */
    ck_assert_int_eq(fixture_call(world, NULL, "GET", "sys/rotate/config", NULL, NULL), 200);
    ck_assert_str_eq(fixture_at(world, "data.enabled"), "false");
    ck_assert_str_eq(fixture_at(world, "data.interval"), "48h0m0s");
    ck_assert_str_eq(fixture_at(world, "data.max_operations"), "1000000");
    world_end();
}
END_TEST

START_TEST(by_count_and_by_age)
{
    set_up();
    uint32_t term = active().term;
    ck_run(look); /* reserves */
    ck_assert_uint_eq(active().term, term);
    ck_post(204, "sys/rotate/config", "{\"max_operations\":1000000}");
    count_to(1000000);
    uint64_t entries = fixture_index(world);
    ck_run(look);
    ck_assert_uint_eq(fixture_index(world), entries + 1); /* one entry */
    ck_assert_uint_eq(active().term, term + 1);
    ck_assert_uint_lt(active().encryptions, 10);
    ck_run(look); /* reserves for the new key, which is not due */
    ck_assert_uint_eq(active().term, term + 1);
    ck_post(204, "sys/rotate/config", "{\"interval\":\"24h\"}");
    ck_run(look);
    ck_assert_uint_eq(active().term, term + 1);
    fixture_advance(world, 24 * 3600 + 1);
    ck_run(look);
    ck_assert_uint_eq(active().term, term + 2);
    ck_post(204, "sys/rotate/config", "{\"enabled\":false}");
    fixture_advance(world, 48 * 3600);
    count_to(2000000);
    ck_run(look);
    ck_assert_uint_eq(active().term, term + 2); /* what is off stays off */
    world_end();
}
END_TEST

/* Counts are in memory; what was reserved is not. */
START_TEST(reserved_in_blocks)
{
    set_up();
    ck_run(look);
    uint64_t entries = fixture_index(world);
    for (int i = 0; i < 5; i++) {
        ck_run(look);
    }
    ck_assert_uint_eq(fixture_index(world), entries); /* enough is reserved: nothing is written */
    count_to(3 * ROTATION_BLOCK);
    ck_run(look);
    ck_assert_uint_eq(fixture_index(world), entries + 1);
    /* A restart: the keyring as it was dumped, with a count of its own time. */
    struct view *view = core_view(world_node->core);
    CF_BUF(wrapped) = {0};
    struct view old = *view;
    ck_ok(seal_wrap(world_node, view->keyring, &wrapped, NULL));
    struct keyring *again;
    ck_ok(seal_load_keyring(world_node, cf_buf_slice(&wrapped), &again, NULL));
    old.keyring = again;
    ck_ok(rotation_take_over(&old, NULL));
    ck_assert_uint_ge(keyring_active(again).encryptions, 4 * ROTATION_BLOCK);
    keyring_unref(again);
    view_unref(view);
    world_end();
}
END_TEST

static uint64_t untold;

static cf_status reserve_untold(struct request *rq, struct cf_error *err)
{
    return rotation_reserve_untold(rq, untold, err);
}

static uint64_t read_untold(void)
{
    struct view *view = core_view(world_node->core);
    uint64_t found;
    ck_ok(rotation_read_untold(view, keyring_active(view->keyring).id, &found, NULL));
    view_unref(view);
    return found;
}

/* What a performance secondary has not told its primary yet: in blocks, too, per key. */
START_TEST(untold_in_blocks)
{
    set_up();
    ck_run(reserve_untold); /* nothing, so nothing is written */
    ck_assert_uint_eq(read_untold(), 0);
    untold = 5;
    ck_run(reserve_untold);
    ck_assert_uint_eq(read_untold(), ROTATION_BLOCK + 5);
    uint64_t entries = fixture_index(world);
    untold = ROTATION_BLOCK / 2;
    ck_run(reserve_untold);
    ck_assert_uint_eq(fixture_index(world), entries);
    untold = ROTATION_BLOCK;
    ck_run(reserve_untold);
    ck_assert_uint_eq(read_untold(), 2 * ROTATION_BLOCK);
    ck_post(200, "sys/replication/performance/primary/enable", "{}");
    ck_post(200, "sys/replication/performance/primary/secondary-token", "{\"id\":\"b\"}");
    uint32_t term = active().term;
    ck_post(200, "sys/replication/performance/primary/revoke-secondary", "{\"id\":\"b\",\"rotate\":true}");
    ck_assert_uint_eq(active().term, term + 1); /* revoked and rotated by one call */
    ck_assert_uint_eq(read_untold(), 0);        /* it was of the key before */
    world_end();
}
END_TEST

/* Our own share of a count, which others may raise, too. */
START_TEST(counted_here)
{
    set_up();
    uint64_t here = active().here, all = active().encryptions;
    count_to(all + 1000);
    ck_assert_uint_eq(active().here, here);
    struct view *view = core_view(world_node->core);
    ck_ok(keyring_count_more(view->keyring, keyring_active(view->keyring).id, 500, NULL));
    view_unref(view);
    ck_assert_uint_eq(active().encryptions, all + 1500);
    ck_assert_uint_eq(active().here, here);
    ck_run(look); /* writes a record */
    ck_assert_uint_gt(active().here, here);
    ck_assert_uint_eq(active().encryptions - active().here, all + 1500 - here);
    world_end();
}
END_TEST

START_TEST(version_history)
{
    set_up();
    uint64_t entries = fixture_index(world);
    ck_run(versions_note);
    ck_assert_uint_eq(fixture_index(world), entries + 1);
    ck_run(versions_note); /* it is known */
    ck_assert_uint_eq(fixture_index(world), entries + 1);
    ck_assert_int_eq(fixture_call(world, NULL, "LIST", "sys/version-history", NULL, NULL), 200);
    ck_assert_str_eq(fixture_at(world, "data.keys.0"), COFFER_VERSION);
    world_end();
}
END_TEST

TEST_MAIN("node/server/rotation", when_it_is_due, settings, by_count_and_by_age,
          reserved_in_blocks, untold_in_blocks, counted_here, version_history)
