/* Signatures of identity tokens: every algorithm signs and checks, tampering is refused, the forms are those
 * of JWS, and what sign.h knows, too, it reads the same. */
#include "node/crypto/jws.h"
#include "node/crypto/sign.h"
#include "tests/lib/test.h"

static const struct {
    const char *name, *kty, *crv;
    size_t signature, first, second;
} cases[] = {
    {"RS256", "RSA", NULL, 256, 256, 3},      {"RS384", "RSA", NULL, 256, 256, 3},
    {"RS512", "RSA", NULL, 256, 256, 3},      {"ES256", "EC", "P-256", 64, 32, 32},
    {"ES384", "EC", "P-384", 96, 48, 48},     {"ES512", "EC", "P-521", 132, 66, 66},
    {"EdDSA", "OKP", "Ed25519", 64, 32, 0},
};

START_TEST(signs_and_checks)
{
    const struct jws_algorithm *algorithm = jws_algorithm(cf_slice_str(cases[_i].name));
    CF_BUF(private_der) = {.secret = true};
    CF_BUF(public_der) = {0};
    CF_BUF(signature) = {0};
    CF_BUF(first) = {0};
    CF_BUF(second) = {0};
    const struct cf_slice input = CF_SLICE("eyJhIjoxfQ.eyJiIjoyfQ");
    ck_assert_ptr_nonnull(algorithm);
    ck_assert_str_eq(jws_kty(algorithm), cases[_i].kty);
    ck_assert((jws_crv(algorithm) == NULL) == (cases[_i].crv == NULL));
    ck_ok(jws_generate(algorithm, &private_der, &public_der, NULL));
    ck_ok(jws_sign(algorithm, cf_buf_slice(&private_der), input, &signature, NULL));
    ck_assert_uint_eq(signature.size, cases[_i].signature);
    ck_ok(jws_check(algorithm, cf_buf_slice(&public_der), input, cf_buf_slice(&signature), NULL));
    ck_status(jws_check(algorithm, cf_buf_slice(&public_der), CF_SLICE("eyJhIjoxfQ.eyJiIjozfQ"),
                        cf_buf_slice(&signature), NULL),
              CF_DENIED);
    ck_ok(jws_numbers(algorithm, cf_buf_slice(&public_der), &first, &second, NULL));
    ck_assert_uint_eq(first.size, cases[_i].first);
    ck_assert_uint_eq(second.size, cases[_i].second);
    CF_OWNED(sign_key) other = NULL;
    if (sign_load_public(cf_buf_slice(&public_der), &other, NULL) == CF_OK) {
        ck_assert_str_eq(sign_jws_algorithm(other), cases[_i].name);
        ck_ok(sign_jws_check(other, input, cf_buf_slice(&signature), NULL));
    }
    for (size_t i = 0; i < signature.size; i += 13) {
        signature.data[i] ^= 1;
        ck_status(jws_check(algorithm, cf_buf_slice(&public_der), input, cf_buf_slice(&signature),
                            NULL),
                  CF_DENIED);
        signature.data[i] ^= 1;
    }
    signature.size--;
    ck_status(jws_check(algorithm, cf_buf_slice(&public_der), input, cf_buf_slice(&signature), NULL),
              CF_DENIED);
    ck_status(jws_check(algorithm, CF_SLICE("no key"), input, cf_buf_slice(&signature), NULL),
              CF_DENIED);
    ck_status(jws_numbers(algorithm, CF_SLICE("no key"), &first, &second, NULL), CF_INVALID);
}
END_TEST

START_TEST(unknown_names)
{
    static const char *const bad[] = {"", "none", "HS256", "rs256", "PS256", "RS2566"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        ck_assert_ptr_null(jws_algorithm(cf_slice_str(bad[i])));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("node/crypto/jws");
    TCase *tcase = tcase_create("jws");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, signs_and_checks, 0, (int)(sizeof(cases) / sizeof(*cases)));
    tcase_add_test(tcase, unknown_names);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
