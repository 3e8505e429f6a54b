/* tests/unit/node/format/test_url.c: percent-encoding, strictly. */
#include "node/base/memory.h"
#include "node/format/url.h"
#include "test.h"

START_TEST(decodes)
{
    static const char *const cases[][3] = {
        /* text, as a path, as a query */
        {"", "", ""},
        {"abc", "abc", "abc"},
        {"a+b", "a+b", "a b"},
        {"a%20b", "a b", "a b"},
        {"%2F%2f%25", "//%", "//%"},
        {"%c3%A9", "\xc3\xa9", "\xc3\xa9"},
        {"%2B+%2b", "+++", "+ +"},
    };
    struct arena *arena = arena_new(1024);
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        struct cf_slice got;
        ck_ok(url_decode(arena, cf_slice_str(cases[i][0]), false, &got, NULL));
        ck_slice(got, cases[i][1]);
        ck_ok(url_decode(arena, cf_slice_str(cases[i][0]), true, &got, NULL));
        ck_slice(got, cases[i][2]);
    }
    static const char *const bad[] = {"%",         "%4",   "a%",   "a%4",    "%%41", "%4g",
                                      "%g4",       "%+4",  "% 41", "%00",    "%ff",  "%c0%af",
                                      "%ed%a0%80", "\xff", "%c3",  "%u0041", "%-1"};
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        struct cf_slice got = CF_SLICE("kept");
        ck_assert_msg(url_decode(arena, cf_slice_str(bad[i]), true, &got, NULL) == CF_INVALID, "%s",
                      bad[i]);
        ck_slice(got, "kept");
    }
    arena_free(arena);
}
END_TEST

START_TEST(encodes)
{
    CF_BUF(buf) = {0};
    url_encode(&buf, CF_SLICE("aZ09-._~/ +%&=\xc3\xa9"));
    ck_slice(cf_buf_slice(&buf), "aZ09-._~%2F%20%2B%25%26%3D%C3%A9");
    cf_buf_reset(&buf);
    url_encode_path(&buf, CF_SLICE("a/b c"));
    ck_slice(cf_buf_slice(&buf), "a/b%20c");
    struct arena *arena = arena_new(1024);
    uint8_t bytes[127];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i + 1);
    }
    cf_buf_reset(&buf);
    url_encode(&buf, cf_slice_of(bytes, sizeof(bytes)));
    struct cf_slice back;
    ck_ok(url_decode(arena, cf_buf_slice(&buf), true, &back, NULL));
    ck_assert(cf_slice_eq(back, cf_slice_of(bytes, sizeof(bytes))));
    arena_free(arena);
}
END_TEST

START_TEST(goes_through_queries)
{
    struct arena *arena = arena_new(1024);
    struct cf_slice rest = CF_SLICE("&list=true&&x&y=&a%3Db=c=d&q=a+b&list=2&");
    static const char *const want[][2] = {{"list", "true"}, {"x", ""},    {"y", ""},
                                          {"a=b", "c=d"},   {"q", "a b"}, {"list", "2"}};
    struct url_parameter got;
    cf_status status;
    for (size_t i = 0; i < CF_LENGTH(want); i++) {
        ck_assert(url_next(arena, &rest, &got, &status, NULL));
        ck_slice(got.key, want[i][0]);
        ck_slice(got.value, want[i][1]);
    }
    ck_assert(!url_next(arena, &rest, &got, &status, NULL));
    ck_status(status, CF_OK);
    struct cf_slice value = CF_SLICE("unset");
    ck_ok(url_query(arena, CF_SLICE("a=1&b=2&b=3"), "b", &value, NULL));
    ck_slice(value, "2");
    ck_ok(url_query(arena, CF_SLICE("a=1&b=2"), "c", &value, NULL));
    ck_slice(value, "2");
    ck_ok(url_query(arena, CF_SLICE(""), "c", &value, NULL));
    ck_status(url_query(arena, CF_SLICE("b=2&a=%"), "b", &value, NULL), CF_INVALID);
    ck_status(url_query(arena, CF_SLICE("%zz=2"), "b", &value, NULL), CF_INVALID);
    arena_free(arena);
}
END_TEST

TEST_MAIN("node/format/url", decodes, encodes, goes_through_queries)
