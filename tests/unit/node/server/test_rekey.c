/* tests/unit/node/server/test_rekey.c: the one entry of a rekey: what it changes, and what refuses it. */
#include "node/server/rekey_int.h"

#include "node/base/memory.h"
#include "node/server/cluster_int.h"
#include "repl_world.h"

static struct cluster *cluster;
static struct secret *old_key, *fresh;
static struct rekey_change change;

static struct secret *key_of(uint8_t byte)
{
    struct secret *key = secret_new(SEAL_KEY_SIZE);
    memset(secret_bytes(key), byte, SEAL_KEY_SIZE);
    return key;
}

static enum seal_type type;

static cf_status first_records(struct request *rq, struct cf_error *err)
{
    struct seal_config config = {.type = type, .shape = {3, 2}, .generation = 4};
    CF_BUF(bytes) = {0};
    if (type == SEAL_STATIC) {
        (void)snprintf(config.key_id, sizeof(config.key_id), "k1");
    }
    CF_TRY(seal_config_dump(&config, &bytes, err));
    txn_put_plain(rq->txn, SEAL_KEY_CONFIG, cf_buf_slice(&bytes));
    cf_buf_reset(&bytes);
    CF_TRY(seal_wrap_root(secret_slice(old_key), secret_slice(world_node->root_key), &bytes, err));
    txn_put_plain(rq->txn, type == SEAL_STATIC ? SEAL_KEY_RECOVERY : SEAL_KEY_ROOT,
                  cf_buf_slice(&bytes));
    return CF_OK;
}

static void set_up(enum seal_type seal)
{
    world_begin();
    type = seal;
    cluster = cf_new(struct cluster);
    (void)pthread_mutex_init(&cluster->lock, NULL);
    world_node->cluster = cluster;
    world_node->root_key = key_of(7);
    world_node->unseal_key = key_of(8);
    old_key = key_of(8);
    fresh = key_of(9);
    change = (struct rekey_change){.kind = seal == SEAL_STATIC ? REKEY_RECOVERY : REKEY_UNSEAL,
                                   .generation = 4,
                                   .shape = {5, 3},
                                   .fresh = fresh};
    ck_run(first_records);
}

static void tear_down(void)
{
    secret_free(old_key);
    secret_free(fresh);
    (void)pthread_mutex_destroy(&cluster->lock);
    cf_free(cluster);
    world_end();
}

static cf_status write_change(struct request *rq, struct cf_error *err)
{
    return rekey_write(rq, world_node, &change, err);
}

START_TEST(unseal_shares)
{
    struct seal_config config;
    struct secret *key = NULL;
    set_up(SEAL_SHAMIR);
    ck_ok(seal_authority(world_node, old_key, NULL));
    uint64_t entries = fixture_index(world);
    ck_run(write_change);
    ck_assert_uint_eq(fixture_index(world), entries + 1); /* one entry: all of it or nothing */
    ck_ok(seal_authority(world_node, fresh, NULL));
    ck_status(seal_authority(world_node, old_key, NULL), CF_INVALID);
    ck_ok(seal_config_of(world_node, &config, NULL));
    ck_assert(config.shape.shares == 5 && config.shape.threshold == 3 && config.generation == 5);
    /* A node that was unsealed before it, and knows the root key alone, has the new unseal key. */
    ck_ok(seal_unseal_key(world_node, &key, NULL));
    ck_assert(secret_equal(key, secret_slice(fresh)));
    secret_free(key);
    tear_down();
}
END_TEST

START_TEST(another_was_faster)
{
    set_up(SEAL_SHAMIR);
    ck_run(write_change);
    ck_assert_int_eq(world_run(write_change), 400); /* its shares proved themselves to an older seal */
    ck_assert(fixture_error_has(world, "changed meanwhile"));
    tear_down();
}
END_TEST

START_TEST(recovery_shares)
{
    struct secret *key = NULL;
    set_up(SEAL_STATIC);
    ck_run(write_change);
    ck_ok(seal_authority(world_node, fresh, NULL));
    ck_status(seal_authority(world_node, old_key, NULL), CF_INVALID);
    ck_ok(seal_unseal_key(world_node, &key, NULL)); /* the key that unseals is another, and stays */
    ck_assert(secret_equal(key, secret_slice(old_key)));
    secret_free(key);
    tear_down();
}
END_TEST

START_TEST(a_sealed_node_writes_nothing)
{
    set_up(SEAL_SHAMIR);
    struct secret *root = world_node->root_key;
    world_node->root_key = NULL;
    uint64_t entries = fixture_index(world);
    ck_assert_int_eq(world_run(write_change), 503);
    ck_assert_uint_eq(fixture_index(world), entries);
    world_node->root_key = root;
    tear_down();
}
END_TEST

START_TEST(shares_of_the_new_key)
{
    CF_OWNED(arena) arena = arena_new(1024);
    struct json *body = json_object_new(arena);
    struct ceremony_state state = {.shape = {3, 2}};
    struct secret *key = key_of(5), *combined = NULL;
    ck_ok(rekey_show_shares(&state, key, arena, body, NULL, NULL));
    ck_assert_uint_eq(json_count(json_get(body, "keys")), 3);
    struct cf_slice text[2];
    CF_BUF(first) = {0};
    CF_BUF(second) = {0};
    ck_assert(json_string(json_item(json_get(body, "keys"), 2), &text[0]));
    ck_assert(json_string(json_item(json_get(body, "keys_base64"), 0), &text[1]));
    ck_ok(encode_hex_decode(&first, text[0], NULL));
    ck_ok(encode_base64_decode(&second, text[1], NULL));
    struct cf_slice shares[] = {cf_buf_slice(&first), cf_buf_slice(&second)};
    ck_ok(shamir_combine(shares, 2, &combined, NULL));
    ck_assert(secret_equal(combined, secret_slice(key)));
    secret_free(combined);
    secret_free(key);
}
END_TEST

TEST_MAIN("node/server/rekey", unseal_shares, another_was_faster, recovery_shares,
          a_sealed_node_writes_nothing, shares_of_the_new_key)
