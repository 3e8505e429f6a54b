/* tests/unit/node/server/test_seal.c: the records of the seal in the store: configuration, root
 * key, keyring. Nothing of a node runs but its core. */
#include "node/server/seal.h"

#include "node/base/memory.h"
#include "node/format/encode.h"
#include "node/server/cluster_int.h"
#include "node/server/static_seal.h"
#include "repl_world.h"

static struct cluster *cluster;
static struct secret *unseal, *root, *other;
static struct seal_config config;
static struct cf_buf config_bytes, root_bytes, recovery_bytes, keyring_bytes;

static struct secret *key_of(uint8_t byte)
{
    struct secret *key = secret_new(SEAL_KEY_SIZE);
    memset(secret_bytes(key), byte, SEAL_KEY_SIZE);
    return key;
}

static void set_up(enum seal_type type)
{
    world_begin();
    cluster = cf_new(struct cluster);
    (void)pthread_mutex_init(&cluster->lock, NULL);
    world_node->cluster = cluster;
    unseal = key_of(1);
    root = key_of(2);
    other = key_of(3);
    config = (struct seal_config){.type = type, .shape = {5, 3}, .generation = 4};
    if (type == SEAL_STATIC) {
        snprintf(config.key_id, sizeof(config.key_id), "k1");
    }
    ck_ok(seal_config_dump(&config, &config_bytes, NULL));
    ck_ok(seal_wrap_root(secret_slice(unseal), secret_slice(root), &root_bytes, NULL));
    ck_ok(seal_wrap_root(secret_slice(other), secret_slice(root), &recovery_bytes, NULL));
}

static void tear_down(void)
{
    struct cf_buf *const buffers[] = {&config_bytes, &root_bytes, &recovery_bytes, &keyring_bytes};
    for (size_t i = 0; i < CF_LENGTH(buffers); i++) {
        cf_buf_done(buffers[i]);
        *buffers[i] = (struct cf_buf){0};
    }
    secret_free(unseal);
    secret_free(root);
    secret_free(other);
    (void)pthread_mutex_destroy(&cluster->lock);
    cf_free(cluster);
    world_end();
}

static cf_status write_records(struct request *rq, struct cf_error *err)
{
    (void)err;
    txn_put_plain(rq->txn, SEAL_KEY_CONFIG, cf_buf_slice(&config_bytes));
    txn_put_plain(rq->txn, SEAL_KEY_ROOT, cf_buf_slice(&root_bytes));
    txn_put_plain(rq->txn, SEAL_KEY_RECOVERY, cf_buf_slice(&recovery_bytes));
    return CF_OK;
}

START_TEST(configuration)
{
    struct seal_config got = {0};
    set_up(SEAL_SHAMIR);
    ck_status(seal_config_of(world_node, &got, NULL), CF_NOT_FOUND);
    cluster->pending_seal = (struct seal_config){.type = SEAL_SHAMIR, .shape = {7, 4}};
    ck_ok(seal_config_of(world_node, &got,
                         NULL)); /* a joining node was told before the state comes */
    ck_assert_uint_eq(got.shape.shares, 7);
    ck_run(write_records);
    ck_ok(seal_config_of(world_node, &got, NULL)); /* and what the state says counts from then on */
    ck_assert(got.type == SEAL_SHAMIR && got.generation == 4);
    ck_assert(got.shape.shares == 5 && got.shape.threshold == 3);
    /* In the clear: a sealed node has to read it. */
    CF_OWNED(arena) arena = arena_new(512);
    struct cf_slice stored;
    struct view *view = core_view(world_node->core);
    ck_ok(view_get_raw(view, SEAL_KEY_CONFIG, arena, &stored, NULL));
    ck_assert(cf_slice_eq(stored, cf_buf_slice(&config_bytes)));
    view_unref(view);
    tear_down();
}
END_TEST

static size_t cut;

static cf_status write_cut(struct request *rq, struct cf_error *err)
{
    (void)err;
    txn_put_plain(rq->txn, SEAL_KEY_CONFIG, cf_slice_first(cf_buf_slice(&config_bytes), cut));
    return CF_OK;
}

START_TEST(damaged_configuration)
{
    struct seal_config got;
    set_up(SEAL_STATIC);
    for (cut = 0; cut < config_bytes.size; cut++) {
        ck_run(write_cut);
        ck_assert_int_ne(seal_config_of(world_node, &got, NULL), CF_OK);
    }
    ck_run(write_cut);
    ck_ok(seal_config_of(world_node, &got, NULL));
    ck_assert_str_eq(got.key_id, "k1");
    tear_down();
}
END_TEST

START_TEST(authority)
{
    set_up(SEAL_SHAMIR);
    ck_status(seal_authority(world_node, unseal, NULL), CF_NOT_FOUND);
    ck_run(write_records);
    ck_ok(seal_authority(world_node, unseal, NULL));
    ck_status(seal_authority(world_node, other, NULL), CF_INVALID);
    ck_status(seal_authority(world_node, root, NULL), CF_INVALID); /* is not its own wrapping */
    tear_down();
    set_up(SEAL_STATIC); /* there the recovery shares prove it, not the key file */
    ck_run(write_records);
    ck_ok(seal_authority(world_node, other, NULL));
    ck_status(seal_authority(world_node, unseal, NULL), CF_INVALID);
    tear_down();
}
END_TEST

START_TEST(keys_of_a_sealed_node)
{
    CF_BUF(to) = {0};
    struct secret *key = NULL;
    struct keyring *keyring = NULL;
    set_up(SEAL_SHAMIR);
    struct view *view = core_view(world_node->core);
    ck_status(seal_unseal_key(world_node, &key, NULL), CF_SEALED);
    ck_status(seal_wrap(world_node, view->keyring, &to, NULL), CF_SEALED);
    ck_status(seal_load_keyring(world_node, CF_SLICE("anything"), &keyring, NULL), CF_SEALED);
    ck_assert(key == NULL && keyring == NULL && to.size == 0);
    view_unref(view);
    tear_down();
}
END_TEST

START_TEST(keyring_record)
{
    struct keyring *keyring = NULL;
    struct secret *key = NULL;
    set_up(SEAL_SHAMIR);
    world_node->root_key = secret_copy(secret_slice(root));
    world_node->unseal_key = secret_copy(secret_slice(unseal));
    ck_ok(seal_unseal_key(world_node, &key, NULL));
    ck_assert(secret_equal(key, secret_slice(unseal)) && key != world_node->unseal_key);
    secret_free(key);
    struct view *view = core_view(world_node->core);
    ck_ok(seal_wrap(world_node, view->keyring, &keyring_bytes, NULL));
    ck_ok(seal_load_keyring(world_node, cf_buf_slice(&keyring_bytes), &keyring, NULL));
    ck_assert(keyring_includes(keyring, view->keyring) && keyring_includes(view->keyring, keyring));
    keyring_unref(keyring);
    view_unref(view);
    for (size_t size = 0; size < keyring_bytes.size; size += 3) {
        struct cf_slice part = cf_slice_first(cf_buf_slice(&keyring_bytes), size);
        ck_assert_int_ne(seal_load_keyring(world_node, part, &keyring, NULL), CF_OK);
    }
    secret_free(world_node->root_key);
    world_node->root_key = secret_copy(secret_slice(other)); /* another cluster's root key */
    ck_status(seal_load_keyring(world_node, cf_buf_slice(&keyring_bytes), &keyring, NULL),
              CF_CORRUPT);
    tear_down();
}
END_TEST

START_TEST(shares_as_text)
{
    static const struct {
        const char *text;
        size_t size; /* 0: refused */
    } shares[] = {
        {"00ff10", 3}, {"00FF10", 3}, {"AP8Q", 3}, {"AP8QAA==", 4}, {"", 0},
        {"!", 0},      {"zz", 0},     {" 00", 0},  {"0", 0},        {"deadbeefdeadbeef", 8}};
    for (size_t i = 0; i < CF_LENGTH(shares); i++) {
        CF_BUF(to) = {0};
        cf_status status = seal_decode_share(cf_slice_str(shares[i].text), &to, NULL);
        ck_assert_msg(status == (shares[i].size != 0 ? CF_OK : CF_INVALID), "%s", shares[i].text);
        ck_assert_msg(status != CF_OK || to.size == shares[i].size, "%s", shares[i].text);
    }
}
END_TEST

START_TEST(key_that_waits)
{
    set_up(SEAL_SHAMIR);
    seal_keep_key(world_node, key_of(9));
    ck_assert(atomic_load(&world_node->wants_unseal));
    seal_keep_key(world_node, key_of(10)); /* the one before is wiped */
    ck_assert_uint_eq(secret_slice(world_node->pending_key).data[0], 10);
    seal_keep_key(world_node, NULL);
    ck_assert(!atomic_load(&world_node->wants_unseal) && world_node->pending_key == NULL);
    tear_down();
}
END_TEST

/* ---- a static key that replaces another ---- */

static cf_status replace_key(struct request *rq, struct cf_error *err)
{
    return static_seal_write(rq, world_node, "k2", err);
}

static bool stored_opens(struct key key, const struct secret *with, const struct secret *expected)
{
    CF_OWNED(arena) records = arena_new(512);
    CF_OWNED(secret) got = NULL;
    struct cf_slice stored;
    struct view *view = core_view(world_node->core);
    ck_ok(view_get_raw(view, key, records, &stored, NULL));
    view_unref(view);
    return seal_unwrap_root(secret_slice(with), stored, &got, NULL) == CF_OK &&
           secret_equal(got, secret_slice(expected));
}

START_TEST(a_new_static_key)
{
    struct seal_config got;
    struct secret *key = NULL;
    set_up(SEAL_STATIC);
    ck_run(write_records);
    CF_OWNED(secret) fresh = key_of(7);
    world_node->root_key = secret_copy(secret_slice(root));
    world_node->unseal_key = secret_copy(secret_slice(unseal));
    world_node->pending_key = secret_copy(secret_slice(fresh));
    ck_assert_int_eq(world_run(replace_key), 400); /* neither key opens it: nothing is written */
    ck_assert(fixture_error_has(world, "\"k1\""));
    world_node->previous_key = secret_copy(secret_slice(other));
    ck_assert_int_eq(world_run(replace_key), 400);
    ck_assert(stored_opens(SEAL_KEY_ROOT, unseal, root));
    secret_free(world_node->previous_key);
    world_node->previous_key = secret_copy(secret_slice(unseal));
    uint64_t before = fixture_index(world);
    ck_run(replace_key);
    ck_assert_uint_eq(fixture_index(world), before + 1); /* one entry */
    ck_ok(seal_config_of(world_node, &got, NULL));
    ck_assert_str_eq(got.key_id, "k2");
    ck_assert(got.generation == 4 && got.shape.shares == 5 && got.type == SEAL_STATIC);
    ck_assert(stored_opens(SEAL_KEY_ROOT, fresh, root) && !stored_opens(SEAL_KEY_ROOT, unseal, root));
    ck_assert(stored_opens(SEAL_KEY_UNSEAL, root, fresh));
    ck_assert(stored_opens(SEAL_KEY_RECOVERY, other, root)); /* the people's shares are as they were */
    ck_ok(seal_unseal_key(world_node, &key, NULL)); /* who was opened with the old one admits others with the new */
    ck_assert(secret_equal(key, secret_slice(fresh)));
    secret_free(key);
    ck_run(replace_key);
    ck_assert_uint_eq(fixture_index(world), before + 1); /* another node did it: no entry */
    secret_free(world_node->previous_key);
    world_node->previous_key = NULL;
    tear_down();
}
END_TEST

START_TEST(static_keys_of_a_configuration)
{
#define HEX_1 "0101010101010101010101010101010101010101010101010101010101010101"
#define HEX_2 "0202020202020202020202020202020202020202020202020202020202020202"
    struct config given = {.seal_count = 1};
    struct config_seal *seal = &given.seals[0];
    struct secret *current, *previous;
    struct cf_error err = {0};
    *seal = (struct config_seal){.type = SEAL_STATIC, .key_id = "k2", .key = HEX_2};
    ck_ok(static_seal_read(&given, &current, &previous, NULL));
    ck_assert(secret_slice(current).data[0] == 2 && previous == NULL);
    secret_free(current);
    seal->previous_id = "k1";
    seal->previous_key = HEX_1;
    ck_ok(static_seal_read(&given, &current, &previous, NULL));
    ck_assert(secret_slice(current).data[0] == 2 && secret_slice(previous).data[0] == 1);
    secret_free(current);
    secret_free(previous);
    seal->previous_key = "file:///nowhere/at/all";
    ck_status(static_seal_read(&given, &current, &previous, &err), CF_INVALID);
    ck_assert(strstr(err.message, "previous_key") != NULL && strstr(err.message, "/nowhere/at/all") != NULL);
    ck_assert(current == NULL && previous == NULL);
    seal->previous_key = "short";
    ck_status(static_seal_read(&given, &current, &previous, &err), CF_INVALID);
    ck_assert_ptr_null(strstr(err.message, "short"));
    seal->type = SEAL_TRANSIT;
    ck_ok(static_seal_read(&given, &current, &previous, NULL));
    ck_assert(current == NULL && previous == NULL);
}
END_TEST

TEST_MAIN("node/server/seal", configuration, damaged_configuration, authority,
          keys_of_a_sealed_node, keyring_record, shares_as_text, key_that_waits, a_new_static_key, static_keys_of_a_configuration)
