/* Signing keys: published vectors, round trips of keys and signatures, every tampering refused. */
#include "hex.h"
#include "node/base/memory.h"
#include "node/crypto/sign.h"
#include "test.h"

static const enum sign_kind kinds[] = {SIGN_P256, SIGN_P521, SIGN_ED25519};

/* RFC 8032 7.1, test 2. */
START_TEST(ed25519_follows_rfc_8032)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_OWNED(sign_key) key = NULL;
    ck_ok(sign_load_private(hex(arena,
                                "302e020100300506032b657004220420"
                                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
                            &key, NULL));
    CF_BUF(public_der) = {0};
    ck_ok(sign_public_der(key, &public_der, NULL));
    ck_hex(arena, cf_buf_slice(&public_der),
           "302a300506032b6570032100"
           "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    CF_BUF(signature) = {0};
    ck_ok(sign_make(key, CF_SLICE("\x72"), &signature, NULL));
    ck_hex(arena, cf_buf_slice(&signature),
           "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
           "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
}
END_TEST

/* RFC 7515 appendix A.3. */
START_TEST(es256_follows_rfc_7515)
{
    CF_OWNED(arena) arena = arena_new(4096);
    CF_OWNED(sign_key) key = NULL;
    ck_ok(sign_load_public(hex(arena,
                               "3059301306072a8648ce3d020106082a8648ce3d03010703420004"
                               "7fcdce2770f6c45d4183cbee6fdb4b7b580733357be9ef13bacf6e3c7bd15445"
                               "c7f144cd1bbd9b7e872cdfedb9eeb9f4b3695d6ea90b24ad8a4623288588e5ad"),
                           &key, NULL));
    ck_assert_str_eq(sign_jws_algorithm(key), "ES256");
    struct cf_slice input = CF_SLICE("eyJhbGciOiJFUzI1NiJ9"
                                     "."
                                     "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9l"
                                     "eGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ");
    struct cf_slice signature =
        hex(arena, "0ed1215379636c483c2f7f155807d402a3b228033af97c7e17819ac3169ea665"
                   "c50a07d38c3c70e5d8f12daf084a5480a66590c5f293509a8f3f7f8a83a354d5");
    ck_ok(sign_jws_check(key, input, signature, NULL));
    ck_status(sign_jws_check(key, CF_SLICE("other"), signature, NULL), CF_DENIED);
}
END_TEST

/* Keys survive their DER forms, and a public key has no private part to show. */
START_TEST(keys_travel_as_der)
{
    for (size_t i = 0; i < CF_LENGTH(kinds); i++) {
        CF_OWNED(sign_key) key = NULL;
        CF_OWNED(sign_key) again = NULL;
        CF_OWNED(sign_key) shown = NULL;
        CF_OWNED(secret) der = NULL;
        CF_OWNED(secret) none = NULL;
        CF_BUF(public_der) = {0};
        CF_BUF(public_again) = {0};
        CF_BUF(signature) = {0};
        ck_ok(sign_generate(kinds[i], &key, NULL));
        ck_ok(sign_private_der(key, &der, NULL));
        ck_ok(sign_public_der(key, &public_der, NULL));
        ck_ok(sign_load_private(secret_slice(der), &again, NULL));
        ck_ok(sign_load_public(cf_buf_slice(&public_der), &shown, NULL));
        ck_assert(sign_has_private(again));
        ck_assert(!sign_has_private(shown));
        ck_assert_int_eq(sign_kind_of(again), kinds[i]);
        ck_assert_int_eq(sign_kind_of(shown), kinds[i]);
        ck_ok(sign_public_der(again, &public_again, NULL));
        ck_assert(cf_slice_eq(cf_buf_slice(&public_der), cf_buf_slice(&public_again)));
        ck_ok(sign_make(again, CF_SLICE("message"), &signature, NULL));
        ck_assert_uint_le(signature.size, SIGN_SIGNATURE_MAX);
        ck_ok(sign_check(shown, CF_SLICE("message"), cf_buf_slice(&signature), NULL));
        ck_status(sign_make(shown, CF_SLICE("message"), &signature, NULL), CF_INVALID);
        ck_status(sign_private_der(shown, &none, NULL), CF_INVALID);
    }
}
END_TEST

/* A flipped bit, a cut, an addition, another message or another key: always CF_DENIED. */
static void check_tampering(const struct sign_key *key, struct cf_slice signature,
                            cf_status (*check)(const struct sign_key *, struct cf_slice,
                                               struct cf_slice, struct cf_error *))
{
    uint8_t bad[SIGN_SIGNATURE_MAX + 1] = {0};
    struct cf_slice message = CF_SLICE("message");
    ck_ok(check(key, message, signature, NULL));
    ck_status(check(key, CF_SLICE("messagf"), signature, NULL), CF_DENIED);
    ck_status(check(key, CF_SLICE_EMPTY, signature, NULL), CF_DENIED);
    memcpy(bad, signature.data, signature.size);
    for (size_t at = 0; at < signature.size; at += 3) {
        bad[at] ^= 0x10;
        ck_status(check(key, message, cf_slice_of(bad, signature.size), NULL), CF_DENIED);
        bad[at] ^= 0x10;
    }
    for (size_t size = 0; size < signature.size; size += 7) {
        ck_status(check(key, message, cf_slice_of(bad, size), NULL), CF_DENIED);
    }
    ck_status(check(key, message, cf_slice_of(bad, signature.size + 1), NULL), CF_DENIED);
    ck_status(check(key, message, cf_slice_of(bad, sizeof(bad)), NULL), CF_DENIED);
    CF_OWNED(sign_key) other = NULL;
    ck_ok(sign_generate(sign_kind_of(key), &other, NULL));
    ck_status(check(other, message, signature, NULL), CF_DENIED);
}

START_TEST(refuses_tampered_signatures)
{
    static const size_t raw_sizes[] = {64, 132, 64};
    static const char *const names[] = {"ES256", "ES512", "EdDSA"};
    for (size_t i = 0; i < CF_LENGTH(kinds); i++) {
        CF_OWNED(sign_key) key = NULL;
        CF_BUF(signature) = {0};
        CF_BUF(jws) = {0};
        ck_ok(sign_generate(kinds[i], &key, NULL));
        ck_ok(sign_make(key, CF_SLICE("message"), &signature, NULL));
        check_tampering(key, cf_buf_slice(&signature), sign_check);
        ck_ok(sign_jws_make(key, CF_SLICE("message"), &jws, NULL));
        ck_assert_uint_eq(jws.size, raw_sizes[i]);
        ck_assert_str_eq(sign_jws_algorithm(key), names[i]);
        check_tampering(key, cf_buf_slice(&jws), sign_jws_check);
    }
}
END_TEST

/* r = s = 0 was accepted by real verifiers (CVE-2022-21449). */
START_TEST(refuses_zero_signatures)
{
    for (size_t i = 0; i < CF_LENGTH(kinds); i++) {
        CF_OWNED(sign_key) key = NULL;
        ck_ok(sign_generate(kinds[i], &key, NULL));
        static const uint8_t zeros[132];
        struct cf_slice signature = cf_slice_of(zeros, kinds[i] == SIGN_P521 ? 132 : 64);
        ck_status(sign_jws_check(key, CF_SLICE("m"), signature, NULL), CF_DENIED);
    }
}
END_TEST

START_TEST(signature_stays_within_the_buffer)
{
    CF_OWNED(sign_key) key = NULL;
    CF_BUF(small) = {.max = 10};
    ck_ok(sign_generate(SIGN_P256, &key, NULL));
    ck_status(sign_make(key, CF_SLICE("m"), &small, NULL), CF_TOO_LARGE);
    ck_status(sign_jws_make(key, CF_SLICE("m"), &small, NULL), CF_TOO_LARGE);
}
END_TEST

/* Truncated, trailed, damaged or foreign DER is CF_INVALID and never more. */
START_TEST(refuses_malformed_keys)
{
    CF_OWNED(arena) arena = arena_new(4096);
    for (size_t i = 0; i < CF_LENGTH(kinds); i++) {
        CF_OWNED(sign_key) key = NULL;
        CF_OWNED(sign_key) loaded = NULL;
        CF_OWNED(secret) der = NULL;
        CF_BUF(public_der) = {0};
        ck_ok(sign_generate(kinds[i], &key, NULL));
        ck_ok(sign_private_der(key, &der, NULL));
        ck_ok(sign_public_der(key, &public_der, NULL));
        struct cf_slice whole = secret_slice(der), shown = cf_buf_slice(&public_der);
        for (size_t size = 0; size < whole.size; size += 5) {
            ck_status(sign_load_private(cf_slice_first(whole, size), &loaded, NULL), CF_INVALID);
        }
        for (size_t size = 0; size < shown.size; size += 3) {
            ck_status(sign_load_public(cf_slice_first(shown, size), &loaded, NULL), CF_INVALID);
        }
        cf_buf_add_byte(&public_der, 0);
        ck_status(sign_load_public(cf_buf_slice(&public_der), &loaded, NULL), CF_INVALID);
        ck_status(sign_load_public(whole, &loaded, NULL), CF_INVALID);
        ck_status(sign_load_private(shown, &loaded, NULL), CF_INVALID);
        uint8_t *trailed = arena_alloc(arena, whole.size + 1);
        memcpy(trailed, whole.data, whole.size);
        ck_status(sign_load_private(cf_slice_of(trailed, whole.size + 1), &loaded, NULL),
                  CF_INVALID);
        ck_assert_ptr_null(loaded);
    }
    CF_OWNED(sign_key) loaded = NULL; /* X25519: a good key of a kind that cannot sign */
    ck_status(sign_load_public(
                  hex(arena, "302a300506032b656e0321008520f0098930a754748b7ddcb43ef75a0dbf3a0d"
                             "26381af4eba4a98eaa9b4e6a"),
                  &loaded, NULL),
              CF_INVALID);
    /* A point that is not on P-256. */
    ck_status(sign_load_public(
                  hex(arena, "3059301306072a8648ce3d020106082a8648ce3d03010703420004"
                             "7fcdce2770f6c45d4183cbee6fdb4b7b580733357be9ef13bacf6e3c7bd15445"
                             "c7f144cd1bbd9b7e872cdfedb9eeb9f4b3695d6ea90b24ad8a4623288588e5ae"),
                  &loaded, NULL),
              CF_INVALID);
}
END_TEST

TEST_MAIN("node/crypto/sign", ed25519_follows_rfc_8032, es256_follows_rfc_7515, keys_travel_as_der,
          refuses_tampered_signatures, refuses_zero_signatures, signature_stays_within_the_buffer,
          refuses_malformed_keys)
