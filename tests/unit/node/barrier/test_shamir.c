/* Shamir shares: compatible, any threshold of them suffices, fewer tell nothing, bad ones are
 * refused. */
#include "hex.h"
#include "node/barrier/shamir.h"
#include "node/base/memory.h"
#include "test.h"

/* Not cryptographic: the properties hold for any coefficients, and a seed makes a failure
 * repeatable. */
static struct cf_prng prng = {{1, 2, 3, 4}};

static void fill(void *context, void *bytes, size_t size)
{
    uint8_t *to = bytes;
    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)cf_prng_next(context);
    }
}

static const struct cf_random seeded = {.context = &prng, .fill = fill};

static void free_all(struct secret **shares, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        secret_free(shares[i]);
    }
}

/* Three shares made with another implementation of the same field (tables of logarithms, 0x11b). */
START_TEST(combines_shares_made_elsewhere)
{
    static const char *const made[] = {
        "92af2deb97e7f823d46d0215e2889dcb3b671ac4130279dd64695002c5a99bdeca",
        "638110053a91280732ea14d06a606964143e0b71d1f9b9edbbff4e098d6233a901",
        "91a7964cb56d39537ca7528c4f44aabae812c5d667d0add6631685ff4fb112f3ff",
    };
    CF_OWNED(arena) arena = arena_new(4096);
    struct cf_slice shares[3];
    for (size_t i = 0; i < 3; i++) {
        shares[i] = hex(arena, made[i]);
    }
    CF_OWNED(secret) secret = NULL;
    ck_ok(shamir_combine(shares, 3, &secret, NULL));
    ck_slice(secret_slice(secret), "Vault-compatible 32-byte secret!");
    CF_OWNED(secret) fewer = NULL;
    ck_ok(shamir_combine(shares, 2, &fewer, NULL));
    ck_assert(!secret_equal(fewer, secret_slice(secret)));
}
END_TEST

/* Every subset of every size of five shares: right from the threshold on, wrong below. */
START_TEST(any_threshold_of_shares_suffices)
{
    struct cf_slice secret = CF_SLICE("0123456789abcdef0123456789abcdef");
    for (unsigned threshold = 2; threshold <= 5; threshold++) {
        struct shamir_shape shape = {.shares = 5, .threshold = threshold};
        struct secret *shares[5];
        ck_ok(shamir_split(secret, shape, &seeded, shares, NULL));
        for (unsigned set = 1; set < 32; set++) {
            struct cf_slice some[5];
            size_t count = 0;
            for (unsigned i = 0; i < 5; i++) {
                if ((set >> i & 1) != 0) {
                    some[count++] = secret_slice(shares[i]);
                }
            }
            CF_OWNED(secret) made = NULL;
            ck_ok(shamir_combine(some, count, &made, NULL));
            ck_assert_int_eq(secret_equal(made, secret), count >= threshold);
        }
        free_all(shares, 5);
    }
}
END_TEST

START_TEST(shares_have_vaults_form)
{
    struct secret *shares[255];
    bool seen[256] = {true};
    struct shamir_shape shape = {.shares = 255, .threshold = 255};
    ck_ok(shamir_split(CF_SLICE("a secret"), shape, &seeded, shares, NULL));
    struct cf_slice all[255];
    for (size_t i = 0; i < 255; i++) {
        all[i] = secret_slice(shares[i]);
        ck_assert_uint_eq(all[i].size, 9);
        ck_assert(!seen[all[i].data[8]]); /* the place comes last, is not 0, and is there once */
        seen[all[i].data[8]] = true;
    }
    CF_OWNED(secret) made = NULL;
    ck_ok(shamir_combine(all, 255, &made, NULL));
    ck_slice(secret_slice(made), "a secret");
    free_all(shares, 255);
}
END_TEST

START_TEST(one_share_is_the_secret)
{
    struct secret *share = NULL;
    struct shamir_shape shape = {.shares = 1, .threshold = 1};
    ck_ok(shamir_split(CF_SLICE("a secret"), shape, &seeded, &share, NULL));
    ck_slice(secret_slice(share), "a secret");
    struct cf_slice all = secret_slice(share);
    CF_OWNED(secret) made = NULL;
    ck_ok(shamir_combine(&all, 1, &made, NULL));
    ck_slice(secret_slice(made), "a secret");
    secret_free(share);
}
END_TEST

/* One share of two is uniform whatever the secret: over all coefficients each value occurs once. */
START_TEST(one_share_tells_nothing)
{
    for (unsigned secret = 0; secret < 256; secret += 51) {
        uint8_t byte = (uint8_t)secret;
        bool seen[256] = {false};
        for (unsigned value = 0; value < 256; value++) {
            /* The share at place 1 that goes with this value at place 2 for this secret. */
            uint8_t first[] = {(uint8_t)value, 1};
            bool found = false;
            for (unsigned other = 0; other < 256 && !found; other++) {
                uint8_t second[] = {(uint8_t)other, 2};
                struct cf_slice both[] = {cf_slice_of(first, 2), cf_slice_of(second, 2)};
                CF_OWNED(secret) made = NULL;
                ck_ok(shamir_combine(both, 2, &made, NULL));
                found = secret_equal(made, cf_slice_of(&byte, 1));
                if (found) {
                    ck_assert(!seen[other]);
                    seen[other] = true;
                }
            }
            ck_assert(found);
        }
    }
}
END_TEST

START_TEST(refuses_bad_shapes)
{
    static const struct shamir_shape bad[] = {{0, 0}, {1, 0},   {0, 1},     {2, 1},
                                              {5, 1}, {3, 4},   {256, 3},   {256, 256},
                                              {1, 2}, {255, 0}, {~0u, ~0u}, {255, 256}};
    struct secret *shares[5] = {NULL};
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        ck_status(shamir_check(bad[i], NULL), CF_INVALID);
        ck_status(shamir_split(CF_SLICE("x"), bad[i], &seeded, shares, NULL), CF_INVALID);
    }
    struct shamir_shape good = {.shares = 5, .threshold = 3};
    static const uint8_t large[SECRET_SIZE_MAX];
    ck_status(shamir_split(CF_SLICE_EMPTY, good, &seeded, shares, NULL), CF_INVALID);
    ck_status(shamir_split(cf_slice_of(large, sizeof(large)), good, &seeded, shares, NULL),
              CF_INVALID);
    ck_assert_ptr_null(shares[0]);
}
END_TEST

START_TEST(refuses_bad_shares)
{
    CF_OWNED(secret) made = NULL;
    struct cf_slice many[256];
    uint8_t bytes[256][2];
    for (size_t i = 0; i < 256; i++) {
        bytes[i][0] = 7;
        bytes[i][1] = (uint8_t)i;
        many[i] = cf_slice_of(bytes[i], 2);
    }
    ck_status(shamir_combine(many, 0, &made, NULL), CF_INVALID);
    ck_status(shamir_combine(many, 256, &made, NULL), CF_INVALID);
    ck_status(shamir_combine(many, 2, &made, NULL), CF_INVALID); /* place 0 */
    const struct cf_slice twice[] = {many[3], many[4], many[3]};
    ck_status(shamir_combine(twice, 3, &made, NULL), CF_INVALID);
    const struct cf_slice uneven[] = {CF_SLICE("ab\1"), CF_SLICE("a\2")};
    ck_status(shamir_combine(uneven, 2, &made, NULL), CF_INVALID);
    const struct cf_slice tiny[] = {CF_SLICE("\1"), CF_SLICE("\2")};
    ck_status(shamir_combine(tiny, 2, &made, NULL), CF_INVALID);
    const struct cf_slice none[] = {CF_SLICE_EMPTY, CF_SLICE_EMPTY};
    ck_status(shamir_combine(none, 1, &made, NULL), CF_INVALID);
    ck_status(shamir_combine(none, 2, &made, NULL), CF_INVALID);
    ck_assert_ptr_null(made);
    static const uint8_t large[SECRET_SIZE_MAX + 1] = {1};
    struct cf_slice huge = cf_slice_of(large, sizeof(large));
    ck_status(shamir_combine(&huge, 1, &made, NULL), CF_INVALID);
}
END_TEST

TEST_MAIN("node/barrier/shamir", combines_shares_made_elsewhere, any_threshold_of_shares_suffices,
          shares_have_vaults_form, one_share_is_the_secret, one_share_tells_nothing,
          refuses_bad_shapes, refuses_bad_shares)
