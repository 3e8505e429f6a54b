/* Bytes: order, growth, the maximum of a buffer. */
#include "test.h"

START_TEST(compares_bytewise)
{
    ck_assert_int_lt(cf_slice_cmp(CF_SLICE("a"), CF_SLICE("a/")), 0);
    ck_assert_int_lt(cf_slice_cmp(CF_SLICE("a-b"), CF_SLICE("a/")), 0);
    ck_assert_int_gt(cf_slice_cmp(CF_SLICE("b"), CF_SLICE("B")), 0);
    ck_assert_int_eq(cf_slice_cmp(CF_SLICE_EMPTY, CF_SLICE("")), 0);
    ck_assert(cf_slice_starts(CF_SLICE("abc"), CF_SLICE("ab")));
    ck_assert(!cf_slice_starts(CF_SLICE("ab"), CF_SLICE("abc")));
    ck_assert(cf_slice_ends(CF_SLICE("abc"), CF_SLICE("bc")));
}
END_TEST

/* What does not fit is dropped whole, and the check at the end says so. */
START_TEST(buffer_keeps_its_maximum)
{
    CF_BUF(buf) = {.max = 8};
    cf_buf_add_str(&buf, "12345678");
    ck_ok(cf_buf_check(&buf, NULL));
    cf_buf_add_byte(&buf, '9');
    ck_status(cf_buf_check(&buf, NULL), CF_TOO_LARGE);
    ck_assert_uint_eq(buf.size, 8);
    cf_buf_reset(&buf);
    ck_ok(cf_buf_check(&buf, NULL));
}
END_TEST

START_TEST(formats_long_texts)
{
    CF_BUF(buf) = {0};
    cf_buf_addf(&buf, "%0500d|", 7);
    ck_assert_uint_eq(buf.size, 501);
    ck_assert_str_eq(cf_buf_text(&buf) + 498, "07|");
}
END_TEST

START_TEST(integers_are_big_endian)
{
    CF_BUF(buf) = {0};
    cf_buf_add_u64(&buf, 0x0102030405060708U);
    ck_assert_uint_eq(buf.data[0], 1);
    ck_assert_uint_eq(cf_get_u64(buf.data), 0x0102030405060708U);
    ck_assert_uint_eq(cf_get_u32(buf.data + 4), 0x05060708U);
}
END_TEST

TEST_MAIN("node/base/slice", compares_bytewise, buffer_keeps_its_maximum, formats_long_texts,
          integers_are_big_endian)
