/* tests/unit/node/format/test_duration.c: core-api.md section 4, line by line. */
#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/format/duration.h"
#include "test.h"

START_TEST(takes)
{
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"", 0},
        {"0", 0},
        {"0s", 0},
        {"60", 60000000000},
        {"0060", 60000000000},
        {"1h", 3600000000000},
        {"1h30m", 5400000000000},
        {"1.5h", 5400000000000},
        {".5h", 1800000000000},
        {"1.h", 3600000000000},
        {"768h", 2764800000000000},
        {"30m1h", 5400000000000},
        {"1h1h", 7200000000000},
        {"3h25m0s", 12300000000000},
        {"1d", 86400000000000},
        {"30d", 2592000000000000},
        {"-1s", -1000000000},
        {"-5", -5000000000},
        {"+5", 5000000000},
        {"-1d", -86400000000000},
        {"1ns", 1},
        {"1us", 1000},
        {"1ms", 1000000},
        {"1.5s", 1500000000},
        {"0.000000001s", 1},
        {"0.0000000019s", 1},
        {"0.333333333333333333333333333h", 1199999999999},
        {"1.00000000000000000000000001s", 1000000000},
        {"9223372036854775807ns", INT64_MAX},
        {"9223372036", 9223372036000000000},
        {"-9223372036854775807ns", -INT64_MAX},
        {"2562047h", 9223369200000000000},
        {"106751d", 9223286400000000000},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        int64_t ns = 77, seconds = 77;
        struct cf_slice text = cf_slice_str(cases[i].text);
        ck_assert_msg(duration_parse_ns(text, &ns, NULL) == CF_OK, "%s", cases[i].text);
        ck_assert_msg(ns == cases[i].ns, "%s is %lld", cases[i].text, (long long)ns);
        ck_ok(duration_parse(text, &seconds, NULL));
        ck_assert_int_eq(seconds, cases[i].ns / 1000000000);
    }
}
END_TEST

START_TEST(refuses)
{
    static const char *const bad[] = {
        " ",
        " 1",
        "1 ",
        "1h ",
        "1h 30m",
        "1.5",
        "-1.5",
        ".",
        "-",
        "+",
        "--1",
        "+-1",
        "1d12h",
        "12h1d",
        "1d1d",
        "1.5d",
        ".5d",
        "d",
        "h",
        "1w",
        "1y",
        "1H",
        "1S",
        "1D",
        "1M",
        "1hour",
        "1sec",
        "1e3",
        "1e3s",
        "0x10",
        "0x10s",
        "1_000",
        "1_000s",
        "1,5h",
        "1h-30m",
        "1h+1m",
        "1.2.3h",
        "..5h",
        ".s",
        "1..5h",
        "NaN",
        "inf",
        "system",
        "junk",
        "1\n",
        "\xc2\xb5s",
        "1h30",
        "30m5",
        "9999999999h",
        "9223372037",
        "9223372036854775808ns",
        "-9223372036854775808ns",
        "18446744073709551616",
        "18446744073709551617s",
        "5124095577h",
        "9223372036.9s",
        "106752d",
        "2562047h1000h",
        "99999999999999999999999999999999999999999999999999999",
        "-99999999999999999999d",
        "1h1",
    };
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        int64_t value = 77;
        struct cf_error err = {0};
        ck_assert_msg(duration_parse(cf_slice_str(bad[i]), &value, &err) == CF_INVALID, "%s",
                      bad[i]);
        ck_assert_int_eq(value, 77);
        ck_assert_uint_ne(strlen(err.message), 0);
    }
    int64_t value;
    ck_status(duration_parse(CF_SLICE("1h\0"), &value, NULL), CF_INVALID);
    char zeros[4000];
    memset(zeros, '0', sizeof(zeros));
    ck_status(duration_parse(cf_slice_of(zeros, sizeof(zeros)), &value, NULL), CF_INVALID);
}
END_TEST

START_TEST(reads_fields)
{
    static const struct {
        const char *json;
        bool ok;
        int64_t seconds;
    } cases[] = {
        {"null", true, 0},
        {"0", true, 0},
        {"\"\"", true, 0},
        {"60", true, 60},
        {"-1", true, -1},
        {"\"60\"", true, 60},
        {"\"1h\"", true, 3600},
        {"1.5", false, 0},
        {"1e3", false, 0},
        {"\"1.5\"", false, 0},
        {"true", false, 0},
        {"[]", false, 0},
        {"{}", false, 0},
        {"1e400", false, 0},
        {"9223372036", true, DURATION_S_MAX},
        {"9223372037", false, 0},
        {"-9223372037", false, 0},
        {"9999999999999999999999", false, 0},
    };
    struct arena *arena = arena_new(4096);
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        struct json *node;
        int64_t seconds = 77;
        ck_ok(json_parse(arena, cf_slice_str(cases[i].json), NULL, &node, NULL));
        cf_status status = duration_from_json(node, &seconds, NULL);
        ck_assert_msg((status == CF_OK) == cases[i].ok, "%s", cases[i].json);
        ck_assert_int_eq(seconds, cases[i].ok ? cases[i].seconds : 77);
    }
    int64_t seconds = 77;
    ck_ok(duration_from_json(NULL, &seconds, NULL));
    ck_assert_int_eq(seconds, 0);
    arena_free(arena);
}
END_TEST

START_TEST(prints_as_go)
{
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "0s"},
        {1, "1ns"},
        {1100, "1.1\xc2\xb5s"},
        {2200000, "2.2ms"},
        {3300000000, "3.3s"},
        {245000000000, "4m5s"},
        {245001000000, "4m5.001s"},
        {18367001000000, "5h6m7.001s"},
        {480000000001, "8m0.000000001s"},
        {INT64_MAX, "2562047h47m16.854775807s"},
        {INT64_MIN, "-2562047h47m16.854775808s"},
        {-1, "-1ns"},
        {12300000000000, "3h25m0s"},
        {86400000000000, "24h0m0s"},
        {59000000000, "59s"},
        {60000000000, "1m0s"},
        {-1500000000, "-1.5s"},
    };
    CF_BUF(buf) = {0};
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        cf_buf_reset(&buf);
        duration_write_ns(&buf, cases[i].ns);
        ck_slice(cf_buf_slice(&buf), cases[i].text);
    }
    cf_buf_reset(&buf);
    duration_write(&buf, 12300);
    duration_write(&buf, 0);
    duration_write(&buf, -61);
    duration_write(&buf, INT64_MIN);
    ck_slice(cf_buf_slice(&buf), "3h25m0s0s-1m1s-2562047788015215h30m8s");
}
END_TEST

START_TEST(what_is_printed_is_read)
{
    struct cf_prng prng;
    cf_prng_seed(&prng, 11);
    CF_BUF(buf) = {0};
    for (int i = 0; i < 20000; i++) {
        int64_t ns = (int64_t)(cf_prng_next(&prng) >> cf_prng_below(&prng, 63)), back;
        cf_buf_reset(&buf);
        duration_write_ns(&buf, ns);
        if (buf.size > 3 && buf.data[buf.size - 2] == 0xb5) {
            continue; /* the micro sign is printed only */
        }
        ck_ok(duration_parse_ns(cf_buf_slice(&buf), &back, NULL));
        ck_assert_int_eq(back, ns);
    }
}
END_TEST

TEST_MAIN("node/format/duration", takes, refuses, reads_fields, prints_as_go,
          what_is_printed_is_read)
