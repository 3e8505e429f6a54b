/* tests/unit/node/core/test_folder.c: which folder a path lies in, and the search by it. */
#include "node/core/folder.h"
#include "tests/lib/test.h"

START_TEST(order_is_that_of_the_path_with_a_slash)
{
    static const char *const paths[] = {"",      "a",   "a/",  "a-b",   "a/b",    "ab",  "a!",
                                        "a0",    "a/b/", "b",  "a//",   "auth/x", "auth"};
    static const char *const folders[] = {"a/", "a-b/", "a/b/", "auth/x/", "b/", "!/"};
    char joined[64];
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        for (size_t k = 0; k < sizeof(folders) / sizeof(*folders); k++) {
            struct cf_slice path = cf_slice_str(paths[i]), folder = cf_slice_str(folders[k]);
            (void)snprintf(joined, sizeof(joined), "%s/", paths[i]);
            int want = cf_slice_cmp(cf_slice_str(joined), folder);
            int got = folder_cmp(path, folder);
            ck_assert_msg((want < 0) == (got < 0) && (want == 0) == (got == 0), "%s and %s: %d, %d",
                          paths[i], folders[k], want, got);
            ck_assert_int_eq(folder_holds(folder, path),
                             cf_slice_starts(cf_slice_str(joined), folder));
        }
    }
    ck_assert(folder_holds(CF_SLICE_EMPTY, CF_SLICE("a")));
}
END_TEST

TEST_MAIN("node/core/folder", order_is_that_of_the_path_with_a_slash)
