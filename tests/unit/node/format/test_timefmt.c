/* tests/unit/node/format/test_timefmt.c: RFC 3339, compared with the C library's calendar. */
#include <time.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/format/timefmt.h"
#include "test.h"

START_TEST(prints)
{
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z"},
        {1, "1970-01-01T00:00:00.000000001Z"},
        {-1, "1969-12-31T23:59:59.999999999Z"},
        {500000000, "1970-01-01T00:00:00.5Z"},
        {1709164800000000000, "2024-02-29T00:00:00Z"},
        {951782399123456000, "2000-02-28T23:59:59.123456Z"},
        {INT64_MAX, "2262-04-11T23:47:16.854775807Z"},
        {INT64_MIN, "1677-09-21T00:12:43.145224192Z"},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        CF_BUF(buf) = {0};
        int64_t ns;
        timefmt_write(&buf, cases[i].ns);
        ck_slice(cf_buf_slice(&buf), cases[i].text);
        ck_ok(timefmt_parse(cf_buf_slice(&buf), &ns, NULL));
        ck_assert(ns == cases[i].ns);
    }
}
END_TEST

START_TEST(takes_offsets_and_decimals)
{
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"1970-01-01T00:00:00+00:00", 0},
        {"1970-01-01T01:30:00+01:30", 0},
        {"1969-12-31T19:00:00-05:00", 0},
        {"1970-01-01T00:00:00.000Z", 0},
        {"1970-01-01T00:00:01.1234567899999Z", 1123456789},
        {"2262-04-12T00:47:16.854775807+01:00", INT64_MAX},
        {"2000-02-29T12:00:00Z", 951825600000000000},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        int64_t ns;
        ck_assert_msg(timefmt_parse(cf_slice_str(cases[i].text), &ns, NULL) == CF_OK, "%s",
                      cases[i].text);
        ck_assert_int_eq(ns, cases[i].ns);
    }
}
END_TEST

START_TEST(refuses)
{
    static const char *const bad[] = {
        "",
        "1970",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01 00:00:00Z",
        "1970-01-01t00:00:00Z",
        "1970-01-01T00:00:00z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00,5Z",
        "1970-01-01T00:00:60Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-00-01T00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-01-00T00:00:00Z",
        "1970-01-32T00:00:00Z",
        "1970-04-31T00:00:00Z",
        "1970-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2262-04-11T23:47:16.854775808Z",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+00:60",
        "1970-01-01T00:00:00+0000",
        "1970-01-01T00:00:00Z ",
        " 1970-01-01T00:00:00Z",
        "1970-1-1T00:00:00Z",
        "-970-01-01T00:00:00Z",
        "1970-01-01T00:00:00+-1:00",
        "99999-01-01T00:00:00Z",
        "1970-01-01T00:00:00Zx",
    };
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        int64_t ns = 77;
        ck_assert_msg(timefmt_parse(cf_slice_str(bad[i]), &ns, NULL) == CF_INVALID, "%s", bad[i]);
        ck_assert_int_eq(ns, 77);
    }
}
END_TEST

START_TEST(agrees_with_the_c_library)
{
    struct cf_prng prng;
    cf_prng_seed(&prng, 5);
    for (int i = 0; i < 20000; i++) {
        /* Years 0 to 9999. */
        int64_t seconds = (int64_t)cf_prng_below(&prng, 315569519999) - 62167219200;
        time_t libc = seconds;
        struct tm tm;
        ck_assert_ptr_nonnull(gmtime_r(&libc, &tm));
        struct timefmt_civil civil = timefmt_civil(seconds);
        ck_assert_int_eq(civil.year, tm.tm_year + 1900);
        ck_assert_int_eq(civil.month, tm.tm_mon + 1);
        ck_assert_int_eq(civil.day, tm.tm_mday);
        ck_assert_int_eq(civil.hour, tm.tm_hour);
        ck_assert_int_eq(civil.minute, tm.tm_min);
        ck_assert_int_eq(civil.second, tm.tm_sec);
        ck_assert_int_eq(timefmt_seconds(&civil), seconds);
    }
}
END_TEST

TEST_MAIN("node/format/timefmt", prints, takes_offsets_and_decimals, refuses,
          agrees_with_the_c_library)
