/* tests/lib/test.h
 *
 * What each unit test file needs around Check. A file holds START_TEST blocks and ends with
 *     TEST_MAIN("node/base/slice", test_a, test_b)
 * Forking is off (CK_NOFORK): databases and threads do not survive a fork, and the sanitizers see all.
 */
#ifndef COFFER_TEST_H
#define COFFER_TEST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/slice.h"
#include "node/base/status.h"

#define ck_ok(call)                                                                                \
    do {                                                                                           \
        struct cf_error err_ = {0};                                                                \
        (void)err_;                                                                                \
        cf_status status_ = (call);                                                                \
        ck_assert_msg(status_ == CF_OK, "%s: %s", #call, cf_status_name(status_));                 \
    } while (0)
#define ck_status(call, want)                                                                      \
    do {                                                                                           \
        cf_status status_ = (call);                                                                \
        ck_assert_msg(status_ == (want), "%s: %s", #call, cf_status_name(status_));                \
    } while (0)
#define ck_slice(got, text)                                                                        \
    do {                                                                                           \
        struct cf_slice got_ = (got);                                                              \
        ck_assert_msg(cf_slice_is(got_, text), "%s is \"%.*s\", not \"%s\"", #got, CF_SHOW(got_),  \
                      text);                                                                       \
    } while (0)

static inline int test_run(const char *name, const TTest *const *tests, size_t count)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 120);
    for (size_t i = 0; i < count; i++) {
        tcase_add_test(tcase, tests[i]);
    }
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define TEST_MAIN(name, ...)                                                                       \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const tests_[] = {__VA_ARGS__};                                               \
        return test_run((name), tests_, sizeof(tests_) / sizeof(tests_[0]));                       \
    }

#endif
