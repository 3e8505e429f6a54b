/* tests/unit/node/base/test_wiping.c: the allocator that wipes; that nothing stays is shown by tests/cluster/canaries.py,
 * which looks into a real process. */
#include "node/base/wiping.h"

#include <stdint.h>
#include <string.h>

#include "test.h"

START_TEST(hands_out_memory_for_anything)
{
    for (size_t size = 0; size < 70; size++) {
        void *memory = cf_wiping_malloc(size);
        ck_assert_ptr_nonnull(memory);
        ck_assert_uint_eq((uintptr_t)memory % _Alignof(max_align_t), 0);
        memset(memory, 1, size);
        cf_wiping_free(memory);
    }
    cf_wiping_free(NULL);
}
END_TEST

START_TEST(calloc_is_zero_and_counts)
{
    static const uint8_t zeros[300];
    uint8_t *memory = cf_wiping_calloc(100, 3);
    ck_assert_mem_eq(memory, zeros, sizeof(zeros));
    cf_wiping_free(memory);
    ck_assert_ptr_null(cf_wiping_calloc(SIZE_MAX / 2, 3));
    ck_assert_ptr_null(cf_wiping_malloc(SIZE_MAX));
}
END_TEST

START_TEST(realloc_keeps_what_fits)
{
    char *text = cf_wiping_realloc(NULL, 6);
    memcpy(text, "abcde", 6);
    text = cf_wiping_realloc(text, 5000);
    ck_assert_str_eq(text, "abcde");
    text = cf_wiping_realloc(text, 2);
    ck_assert_mem_eq(text, "ab", 2);
    ck_assert_ptr_null(cf_wiping_realloc(text, SIZE_MAX)); /* and what there was is there */
    ck_assert_mem_eq(text, "ab", 2);
    cf_wiping_free(text);
}
END_TEST

START_TEST(strdup_copies)
{
    char *copy = cf_wiping_strdup("word");
    ck_assert_str_eq(copy, "word");
    cf_wiping_free(copy);
}
END_TEST

TEST_MAIN("node/base/wiping", hands_out_memory_for_anything, calloc_is_zero_and_counts, realloc_keeps_what_fits, strdup_copies)
