/* tests/unit/node/core/test_acl_model.c: a million decisions of the compiled policies are those of the plain
 * model (reliability.md P-28, acl_model_check). COFFER_ACL_CASES sets another number for each of the seeds. */
#include "acl_cases.h"

#include "node/base/memory.h"
#include "tests/lib/test.h"

#ifdef __SANITIZE_ADDRESS__
#define CASES_A_SEED 10000
#else
#define CASES_A_SEED 100000
#endif
#define SEEDS 10

static uint64_t marks[ACL_MARK_COUNT];

START_TEST(decides_as_the_model)
{
    struct acl_run *run = cf_new(struct acl_run);
    const char *asked = getenv("COFFER_ACL_CASES");
    uint64_t cases = asked != NULL ? strtoull(asked, NULL, 10) : CASES_A_SEED;
    acl_cases((uint64_t)_i, cases, run);
    ck_assert_msg(run->difference[0] == '\0', "seed %d, case %llu: %s", _i,
                  (unsigned long long)run->cases, run->difference);
    for (int i = 0; i < ACL_MARK_COUNT; i++) {
        marks[i] += run->marks[i];
    }
    cf_free(run);
}
END_TEST

/* The cases have in them what they are to show. */
START_TEST(everything_was_met)
{
    for (int i = 0; i < ACL_MARK_COUNT; i++) {
        ck_assert_msg(marks[i] >= 10, "\"%s\": %llu times", acl_mark_names[i],
                      (unsigned long long)marks[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("node/core/acl_model");
    TCase *tcase = tcase_create("acl_model_check");
    tcase_set_timeout(tcase, 600);
    tcase_add_loop_test(tcase, decides_as_the_model, 0, SEEDS);
    tcase_add_test(tcase, everything_was_met);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
