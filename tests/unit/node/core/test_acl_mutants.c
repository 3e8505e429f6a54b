/* tests/unit/node/core/test_acl_mutants.c: each deliberate mistake of node/core/mutant.h in the code of policies
 * shows as a difference from the model, within a tenth of the cases that test_acl_model.c runs. */
#include "acl_cases.h"

#include "node/base/memory.h"
#include "node/core/mutant.h"
#include "tests/lib/test.h"

#define CASES_MAX 100000

enum acl_mutant acl_mutation;

#define TEXT(name, text) [ACL_MUTANT_##name] = text,
static const char *const texts[] = {[ACL_MUTANT_NONE] = "none", ACL_MUTANT_LIST(TEXT)};

START_TEST(is_found)
{
    struct acl_run *run = cf_new(struct acl_run);
    acl_mutation = (enum acl_mutant)_i;
    acl_cases(1, CASES_MAX, run);
    printf("%s: after %llu cases\n", texts[_i], (unsigned long long)run->cases);
    ck_assert_msg(run->difference[0] != '\0', "not found in %d cases: %s", CASES_MAX, texts[_i]);
    cf_free(run);
}
END_TEST

/* This build without a mistake: no difference. */
START_TEST(none_is_found)
{
    struct acl_run *run = cf_new(struct acl_run);
    acl_mutation = ACL_MUTANT_NONE;
    acl_cases(1, CASES_MAX / 4, run);
    ck_assert_str_eq(run->difference, "");
    cf_free(run);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("node/core/acl_mutants");
    TCase *tcase = tcase_create("acl_mutants");
    tcase_set_timeout(tcase, 600);
    tcase_add_loop_test(tcase, is_found, ACL_MUTANT_NONE + 1, ACL_MUTANT_COUNT);
    tcase_add_test(tcase, none_is_found);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
