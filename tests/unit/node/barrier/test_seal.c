/* The chain from unseal key to keyring, the ceremony of shares, and the proof of a joining node. */
#include "fixture.h"
#include "node/barrier/barrier.h"
#include "node/barrier/seal.h"
#include "node/base/memory.h"

#define U32 "UUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUU"
#define R32 "RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR"
#define WRAPPED_ROOT                                                                               \
    "012424242424242424242424243edd72157d0a343d24354a19d19e54cc9480147ca3c16143d51164aad769bbc4d7" \
    "027f006e370ac2baf2d228b66669a9"
#define WRAPPED_KEYRING                                                                            \
    "012424242424242424242424242775f2b9f9d9b83e39999b8b716a6bd884bdb9e1b61d9e900d2d7009ba0108079"  \
    "25b316a8e415c6d82d810e38f1e5b2a808ffc9bdcbd2c3bd9b36ebb9e10c4c8e580ba24b4c7e4024093a45cb9a49" \
    "873acc29aba4c959cacfc62"

/* Made by another implementation of the formats in seal.h. */
START_TEST(unwraps_records_made_elsewhere)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_OWNED(secret) root = NULL;
    CF_OWNED(keyring) keyring = NULL;
    CF_BUF(dump) = {.secret = true};
    ck_ok(seal_unwrap_root(CF_SLICE(U32), hex(arena, WRAPPED_ROOT), &root, NULL));
    ck_slice(secret_slice(root), R32);
    ck_ok(seal_unwrap_keyring(secret_slice(root), hex(arena, WRAPPED_KEYRING), &keyring, NULL));
    ck_ok(keyring_dump(keyring, &dump, NULL));
    ck_hex(arena, cf_buf_slice(&dump), KNOWN_DUMP);
}
END_TEST

START_TEST(the_chain_holds)
{
    CF_OWNED(secret) unseal = seal_new_key(random_system());
    CF_OWNED(secret) root = seal_new_key(random_system());
    CF_OWNED(keyring) first = keyring_new_first(random_system(), 1);
    CF_OWNED(keyring) keyring = rotated(first);
    CF_BUF(wrapped_root) = {0};
    CF_BUF(wrapped_keyring) = {0};
    ck_ok(seal_wrap_root(secret_slice(unseal), secret_slice(root), &wrapped_root, NULL));
    ck_ok(seal_wrap_keyring(secret_slice(root), keyring, &wrapped_keyring, NULL));
    CF_OWNED(secret) opened = NULL;
    CF_OWNED(keyring) again = NULL;
    ck_ok(seal_verify(secret_slice(unseal), cf_buf_slice(&wrapped_root), NULL));
    ck_ok(seal_unwrap_root(secret_slice(unseal), cf_buf_slice(&wrapped_root), &opened, NULL));
    ck_assert(secret_equal(opened, secret_slice(root)));
    ck_ok(seal_unwrap_keyring(secret_slice(opened), cf_buf_slice(&wrapped_keyring), &again, NULL));
    ck_assert(keyring_includes(again, keyring) && keyring_includes(keyring, again));
    ck_assert(key_id_equal(keyring_active(again).id, keyring_active(keyring).id));
}
END_TEST

START_TEST(refuses_wrong_keys_and_tampering)
{
    CF_OWNED(keyring) keyring = keyring_new_first(random_system(), 1);
    struct keyring *opened = NULL;
    CF_BUF(root) = {0};
    CF_BUF(ring) = {0};
    struct secret *made = NULL;
    ck_ok(seal_wrap_root(CF_SLICE(U32), CF_SLICE(R32), &root, NULL));
    ck_ok(seal_wrap_keyring(CF_SLICE(R32), keyring, &ring, NULL));
    ck_status(seal_unwrap_root(CF_SLICE(R32), cf_buf_slice(&root), &made, NULL), CF_INVALID);
    ck_status(seal_verify(CF_SLICE(R32), cf_buf_slice(&root), NULL), CF_INVALID);
    ck_status(seal_verify(CF_SLICE("short"), cf_buf_slice(&root), NULL), CF_INVALID);
    ck_status(seal_unwrap_keyring(CF_SLICE(U32), cf_buf_slice(&ring), &opened, NULL), CF_CORRUPT);
    ck_status(seal_unwrap_root(CF_SLICE(U32), cf_buf_slice(&ring), &made, NULL), CF_CORRUPT);
    /* A keyring key does not open a root key even where both keys are the same bytes. */
    CF_BUF(swapped) = {0};
    ck_ok(seal_wrap_root(CF_SLICE(R32), CF_SLICE(R32), &swapped, NULL));
    ck_status(seal_unwrap_keyring(CF_SLICE(R32), cf_buf_slice(&swapped), &opened, NULL),
              CF_CORRUPT);
    for (size_t at = 0; at < root.size; at++) {
        root.data[at] ^= 1;
        cf_status status = seal_verify(CF_SLICE(U32), cf_buf_slice(&root), NULL);
        ck_assert_int_eq(status, at == 0 ? CF_CORRUPT : CF_INVALID);
        root.data[at] ^= 1;
        ck_status(seal_verify(CF_SLICE(U32), cf_slice_of(root.data, at), NULL), CF_CORRUPT);
    }
    for (size_t at = 0; at < ring.size; at++) {
        ring.data[at] ^= 1;
        ck_status(seal_unwrap_keyring(CF_SLICE(R32), cf_buf_slice(&ring), &opened, NULL),
                  CF_CORRUPT);
        ring.data[at] ^= 1;
        ck_status(seal_unwrap_keyring(CF_SLICE(R32), cf_slice_of(ring.data, at), &opened, NULL),
                  CF_CORRUPT);
    }
    root.data[0] = ring.data[0] = 2;
    ck_status(seal_verify(CF_SLICE(U32), cf_buf_slice(&root), NULL), CF_UNSUPPORTED);
    ck_status(seal_unwrap_keyring(CF_SLICE(R32), cf_buf_slice(&ring), &opened, NULL),
              CF_UNSUPPORTED);
    ck_assert_ptr_null(made);
    ck_assert_ptr_null(opened);
}
END_TEST

START_TEST(config_survives_its_record)
{
    static const struct seal_config configs[] = {
        {.type = SEAL_SHAMIR, .shape = {5, 3}, .generation = 1},
        {.type = SEAL_SHAMIR, .shape = {1, 1}, .generation = 0xffffffff},
        {.type = SEAL_SHAMIR, .shape = {255, 255}},
        {.type = SEAL_STATIC, .generation = 2, .key_id = "k1"},
        {.type = SEAL_STATIC, .shape = {3, 2}, .key_id = ""},
        {.type = SEAL_TRANSIT, .shape = {3, 2}, .key_id = "k", .wrapped_key = "vault:v1:YWJj"},
    };
    for (size_t i = 0; i < CF_LENGTH(configs); i++) {
        CF_BUF(out) = {0};
        struct seal_config got;
        ck_ok(seal_config_dump(&configs[i], &out, NULL));
        ck_ok(seal_config_load(cf_buf_slice(&out), &got, NULL));
        ck_assert_int_eq(got.type, configs[i].type);
        ck_assert_uint_eq(got.shape.shares, configs[i].shape.shares);
        ck_assert_uint_eq(got.shape.threshold, configs[i].shape.threshold);
        ck_assert_uint_eq(got.generation, configs[i].generation);
        ck_assert_str_eq(got.key_id, configs[i].key_id);
        ck_assert_str_eq(got.wrapped_key, configs[i].wrapped_key);
        /* A wrapped key goes to the end: cut off it is another one, which opens nothing. */
        bool is_wrapped = configs[i].type == SEAL_TRANSIT;
        size_t head = out.size - strlen(configs[i].wrapped_key) + (is_wrapped ? 1 : 0);
        for (size_t size = 0; size < head; size++) {
            ck_status(seal_config_load(cf_slice_of(out.data, size), &got, NULL), CF_CORRUPT);
        }
        cf_buf_add_byte(&out, is_wrapped ? '\0' : 'x');
        ck_status(seal_config_load(cf_buf_slice(&out), &got, NULL), CF_CORRUPT);
        out.data[0] = 9;
        ck_status(seal_config_load(cf_buf_slice(&out), &got, NULL), CF_UNSUPPORTED);
    }
    ck_assert_str_eq(seal_type_name(SEAL_SHAMIR), "shamir");
    ck_assert_str_eq(seal_type_name(SEAL_STATIC), "static");
    ck_assert_str_eq(seal_type_name(SEAL_TRANSIT), "transit");
}
END_TEST

START_TEST(refuses_impossible_configs)
{
    struct seal_config bad = {.type = SEAL_SHAMIR, .shape = {3, 1}}, got;
    CF_BUF(out) = {0};
    ck_status(seal_config_dump(&bad, &out, NULL), CF_INVALID);
    bad = (struct seal_config){.type = SEAL_SHAMIR};
    ck_status(seal_config_dump(&bad, &out, NULL), CF_INVALID);
    bad = (struct seal_config){.type = (enum seal_type)7, .shape = {3, 2}};
    ck_status(seal_config_dump(&bad, &out, NULL), CF_INVALID);
    bad = (struct seal_config){.type = SEAL_STATIC};
    memset(bad.key_id, 'k', sizeof(bad.key_id));
    ck_status(seal_config_dump(&bad, &out, NULL), CF_INVALID);
    bad = (struct seal_config){.type = SEAL_TRANSIT, .shape = {3, 2}}; /* without its wrapped key */
    ck_status(seal_config_dump(&bad, &out, NULL), CF_INVALID);
    bad = (struct seal_config){.type = SEAL_STATIC, .wrapped_key = "vault:v1:x"};
    ck_status(seal_config_dump(&bad, &out, NULL), CF_INVALID);
    ck_assert_uint_eq(out.size, 0);
    ck_status(seal_config_load(CF_SLICE("\1\1\3\1\0\0\0\0\0"), &got, NULL), CF_CORRUPT);
    ck_status(seal_config_load(CF_SLICE("\1\7\3\2\0\0\0\0\0"), &got, NULL), CF_CORRUPT);
    ck_status(seal_config_load(CF_SLICE("\1\2\0\0\0\0\0\0\2k\0"), &got, NULL), CF_CORRUPT);
}
END_TEST

START_TEST(reads_key_files)
{
    static const char *const good[] = {
        "0123456789abcdefghijklmnopqrstuv",
        "303132333435363738396162636465666768696a6b6c6d6e6f70717273747576",
        "  303132333435363738396162636465666768696A6B6C6D6E6F70717273747576\r\n",
        "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=",
        "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY\n",
    };
    static const char *const bad[] = {
        "",
        "\n",
        "0123456789abcdefghijklmnopqrstu",
        "0123456789abcdefghijklmnopqrstuvw",
        "303132333435363738396162636465666768696a6b6c6d6e6f7071727374757",
        "303132333435363738396162636465666768696a6b6c6d6e6f7071727374757g",
        "303132333435363738396162636465666768696a6b6c6d6e6f7071727374757677",
        "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXZ=", /* spare bits set */
        "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY?",
        "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dX==",
        "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXYA",
    };
    for (size_t i = 0; i < CF_LENGTH(good); i++) {
        CF_OWNED(secret) key = NULL;
        ck_ok(seal_static_key(cf_slice_str(good[i]), &key, NULL));
        ck_slice(secret_slice(key), "0123456789abcdefghijklmnopqrstuv");
    }
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        struct secret *key = NULL;
        ck_status(seal_static_key(cf_slice_str(bad[i]), &key, NULL), CF_INVALID);
    }
    CF_OWNED(secret) url = NULL; /* the alphabet of URLs, as well as the usual one */
    ck_ok(seal_static_key(CF_SLICE("-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_8="), &url, NULL));
    ck_ok(seal_static_key(CF_SLICE("+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/8="), &url, NULL));
}
END_TEST

static const struct shamir_shape three_of_five = {.shares = 5, .threshold = 3};

static cf_status give(struct seal_progress *progress, const struct secret *share,
                      struct secret **ret)
{
    return seal_progress_add(progress, three_of_five, secret_slice(share), random_system(), ret,
                             NULL);
}

START_TEST(a_ceremony_ends_with_the_key)
{
    struct secret *shares[5], *key = NULL;
    CF_OWNED(seal_progress) progress = seal_progress_new();
    ck_ok(shamir_split(CF_SLICE(U32), three_of_five, random_system(), shares, NULL));
    ck_assert_str_eq(seal_progress_nonce(progress), "");
    ck_ok(give(progress, shares[4], &key));
    char nonce[40];
    (void)snprintf(nonce, sizeof(nonce), "%s", seal_progress_nonce(progress));
    ck_assert_uint_eq(strlen(nonce), 36);
    ck_assert_int_eq(nonce[14], '4');
    ck_ok(give(progress, shares[4], &key)); /* the same one does not count */
    ck_assert_uint_eq(seal_progress_count(progress), 1);
    ck_ok(give(progress, shares[0], &key));
    ck_ok(give(progress, shares[4], &key));
    ck_assert_uint_eq(seal_progress_count(progress), 2);
    ck_assert_str_eq(seal_progress_nonce(progress), nonce);
    ck_assert_ptr_null(key);
    ck_ok(give(progress, shares[2], &key));
    ck_assert(secret_equal(key, CF_SLICE(U32)));
    ck_assert_uint_eq(seal_progress_count(progress), 0);
    ck_assert_str_eq(seal_progress_nonce(progress), "");
    secret_free(key);
    for (size_t i = 0; i < 5; i++) {
        secret_free(shares[i]);
    }
}
END_TEST

/* Wrong bytes combine to a wrong key, which the wrapped root key then tells; the progress is gone.
 */
START_TEST(wrong_shares_end_with_a_wrong_key)
{
    struct secret *shares[5], *key = NULL;
    CF_BUF(wrapped) = {0};
    ck_ok(seal_wrap_root(CF_SLICE(U32), CF_SLICE(R32), &wrapped, NULL));
    CF_OWNED(seal_progress) progress = seal_progress_new();
    ck_ok(shamir_split(CF_SLICE(U32), three_of_five, random_system(), shares, NULL));
    secret_bytes(shares[1])[5] ^= 1;
    for (size_t i = 0; i < 3; i++) {
        ck_ok(give(progress, shares[i], &key));
    }
    ck_assert_ptr_nonnull(key);
    ck_status(seal_verify(secret_slice(key), cf_buf_slice(&wrapped), NULL), CF_INVALID);
    ck_assert_uint_eq(seal_progress_count(progress), 0);
    secret_free(key);
    key = NULL;
    /* Two shares of one place: a full set that does not combine. */
    CF_OWNED(secret) forged = secret_copy(secret_slice(shares[0]));
    secret_bytes(forged)[0] ^= 1;
    ck_ok(give(progress, shares[0], &key));
    ck_ok(give(progress, forged, &key));
    ck_status(give(progress, shares[2], &key), CF_INVALID);
    ck_assert_uint_eq(seal_progress_count(progress), 0);
    ck_assert_ptr_null(key);
    for (size_t i = 0; i < 5; i++) {
        secret_free(shares[i]);
    }
}
END_TEST

START_TEST(what_is_no_share_leaves_the_progress)
{
    CF_OWNED(secret) share = secret_new(33);
    struct secret *key = NULL;
    secret_bytes(share)[32] = 9;
    CF_OWNED(seal_progress) progress = seal_progress_new();
    ck_ok(give(progress, share, &key));
    static const uint8_t bytes[64];
    static const size_t sizes[] = {0, 1, 16, 32, 33 /* place 0 */, 34, 64};
    for (size_t i = 0; i < CF_LENGTH(sizes); i++) {
        struct cf_slice bad = cf_slice_of(bytes, sizes[i]);
        ck_status(seal_progress_add(progress, three_of_five, bad, random_system(), &key, NULL),
                  CF_INVALID);
        ck_assert_uint_eq(seal_progress_count(progress), 1);
    }
    seal_progress_reset(progress);
    ck_assert_uint_eq(seal_progress_count(progress), 0);
    ck_assert_str_eq(seal_progress_nonce(progress), "");
}
END_TEST

/* A rekey lowered the threshold after the shares came in: the next one counts, though it is known. */
START_TEST(a_lowered_threshold_is_met_by_what_is_here)
{
    CF_OWNED(seal_progress) progress = seal_progress_new();
    CF_OWNED(secret) unseal = seal_new_key(random_system());
    struct shamir_shape before = {5, 3}, now = {2, 2};
    struct secret *shares[SHAMIR_SHARES_MAX] = {NULL}, *key = NULL;
    ck_ok(shamir_split(secret_slice(unseal), now, random_system(), shares, NULL));
    for (int i = 0; i < 2; i++) {
        ck_ok(seal_progress_add(progress, before, secret_slice(shares[i]), random_system(), &key,
                                NULL));
        ck_assert_ptr_null(key);
    }
    ck_ok(seal_progress_add(progress, now, secret_slice(shares[0]), random_system(), &key, NULL));
    ck_assert_ptr_nonnull(key);
    ck_assert(secret_equal(key, secret_slice(unseal)));
    secret_free(key);
    secret_free(shares[0]);
    secret_free(shares[1]);
}
END_TEST

START_TEST(one_share_of_one_is_the_key)
{
    CF_OWNED(seal_progress) progress = seal_progress_new();
    CF_OWNED(secret) key = NULL;
    struct shamir_shape shape = {.shares = 1, .threshold = 1};
    ck_ok(seal_progress_add(progress, shape, CF_SLICE(U32), random_system(), &key, NULL));
    ck_assert(secret_equal(key, CF_SLICE(U32)));
}
END_TEST

START_TEST(a_joining_node_proves_itself)
{
    CF_BUF(challenge) = {0};
    uint8_t expected[32], answer[32];
    struct cf_slice node = CF_SLICE("node-2"), wrong = CF_SLICE("node-3");
    ck_ok(seal_challenge_new(CF_SLICE(U32), node, random_system(), &challenge, expected, NULL));
    ck_assert_uint_eq(challenge.size, SEAL_CHALLENGE_SIZE);
    struct cf_slice sent = cf_buf_slice(&challenge);
    ck_ok(seal_challenge_answer(CF_SLICE(U32), node, sent, answer, NULL));
    ck_assert(seal_challenge_check(expected, cf_slice_of(answer, 32)));
    ck_assert(!seal_challenge_check(expected, cf_slice_of(answer, 31)));
    ck_assert(!seal_challenge_check(expected, CF_SLICE_EMPTY));
    ck_ok(seal_challenge_answer(CF_SLICE(U32), wrong, sent, answer, NULL));
    ck_assert(!seal_challenge_check(expected, cf_slice_of(answer, 32)));
    ck_status(seal_challenge_answer(CF_SLICE(R32), node, sent, answer, NULL), CF_INVALID);
    for (size_t at = 0; at < challenge.size; at++) {
        challenge.data[at] ^= 1;
        cf_status status = seal_challenge_answer(CF_SLICE(U32), node, sent, answer, NULL);
        ck_assert_int_eq(status, at == 0 ? CF_CORRUPT : CF_INVALID);
        challenge.data[at] ^= 1;
        ck_status(
            seal_challenge_answer(CF_SLICE(U32), node, cf_slice_of(sent.data, at), answer, NULL),
            CF_CORRUPT);
    }
}
END_TEST

TEST_MAIN("node/barrier/seal", unwraps_records_made_elsewhere, the_chain_holds,
          refuses_wrong_keys_and_tampering, config_survives_its_record, refuses_impossible_configs,
          reads_key_files, a_ceremony_ends_with_the_key, wrong_shares_end_with_a_wrong_key,
          what_is_no_share_leaves_the_progress, a_lowered_threshold_is_met_by_what_is_here, one_share_of_one_is_the_key,
          a_joining_node_proves_itself)
