/* tests/unit/node/http/test_path.c: one spelling for each path, and what has none. */
#include "node/http/path.h"

#include "node/base/memory.h"
#include "test.h"

static struct arena *arena;

static cf_status parse(struct cf_slice sent, struct http_path *ret)
{
    /* An exact heap copy, so that a sanitizer sees each overrun. */
    uint8_t *copy = cf_memdup(sent.size != 0 ? sent.data : (const uint8_t *)"", sent.size);
    struct http_path path = {0};
    struct cf_error err = {0};
    cf_status status = http_path_parse(arena, cf_slice_of(copy, sent.size), &path, &err);
    ck_assert(status == CF_OK || err.message[0] != '\0');
    path.canonical = arena_copy(arena, path.canonical);
    path.location = arena_copy(arena, path.location);
    *ret = path;
    cf_free(copy);
    return status;
}

START_TEST(one_spelling)
{
    static const struct {
        const char *sent, *canonical;
    } cases[] = {
        {"", "/"},
        {"/", "/"},
        {"/v1/secret/a", "/v1/secret/a"},
        {"/v1/secret/", "/v1/secret/"},
        {"/v1/k1-o/a%20b", "/v1/k1-o/a b"},
        {"/v1/x.y@z", "/v1/x.y@z"},
        {"/v1/%C3%A9", "/v1/\xc3\xa9"},
        {"/v1/%c3%a9", "/v1/\xc3\xa9"},
        {"/v1/%73ecret", "/v1/secret"},
        {"/v1/a+b", "/v1/a+b"},
        {"/v1/100%25", "/v1/100%"},
        {"/v1/%252e%252e/a", "/v1/%2e%2e/a"},
        {"/v1/%252f", "/v1/%2f"},
        {"/v1/DOMAIN%5Cuser", "/v1/DOMAIN\\user"},
        {"/v1/.../..a/a../.a", "/v1/.../..a/a../.a"},
        {"/v1/%F0%9F%98%80", "/v1/\xf0\x9f\x98\x80"},
        {"/v1/%E2%80%8B%E2%80%AE", "/v1/\xe2\x80\x8b\xe2\x80\xae"},
        {"/v1/e%CC%81", "/v1/e\xcc\x81"},
        {"/v1/a%3fb%23c", "/v1/a?b#c"},
    };
    arena = arena_new(1024);
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        struct http_path path;
        ck_ok(parse(cf_slice_str(cases[i].sent), &path));
        ck_assert(!path.is_doubled);
        ck_slice(path.canonical, cases[i].canonical);
    }
    arena_free(arena);
}
END_TEST

START_TEST(refused)
{
    static const char *const cases[] = {
        "/v1/./a",
        "/v1/../a",
        "/v1/a/..",
        "/v1/a/.",
        "/..",
        "/.",
        "/v1/%2e%2e/a",
        "/v1/%2E/a",
        "/v1/.%2e/a",
        "/v1/a%2fb",
        "/v1/a%2Fb",
        "/%2f",
        "/v1/a%00b",
        "/v1/%01",
        "/v1/%0a",
        "/v1/%0d%0aX",
        "/v1/%7f",
        "/v1/%",
        "/v1/%4",
        "/v1/%zz",
        "/v1/%4g",
        "/v1/% 41",
        "/v1/%%41",
        "/v1/%ff",
        "/v1/%c3",
        "/v1/%c3/a",
        "/v1/%c0%ae%c0%ae/a",
        "/v1/%c0%af",
        "/v1/%e0%80%af",
        "/v1/%ed%a0%80",
        "/v1/%f4%90%80%80",
        "/v1/%f8%88%80%80%80",
        "/v1//../a",
        "/v1//a%2fb",
    };
    arena = arena_new(1024);
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        struct http_path path;
        cf_status status = parse(cf_slice_str(cases[i]), &path);
        ck_assert_msg(status == CF_INVALID, "%s: %s", cases[i], cf_status_name(status));
    }
    arena_free(arena);
}
END_TEST

START_TEST(doubled_slashes_are_sent_elsewhere)
{
    static const struct {
        const char *sent, *location;
    } cases[] = {
        {"//", "/"},
        {"//evil.example/v1", "/evil.example/v1"},
        {"/v1//secret///a//", "/v1/secret/a/"},
        {"/v1//a%20b", "/v1/a%20b"},
    };
    arena = arena_new(1024);
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        struct http_path path;
        ck_ok(parse(cf_slice_str(cases[i].sent), &path));
        ck_assert(path.is_doubled);
        ck_slice(path.location, cases[i].location);
        ck_assert_uint_eq(path.canonical.size, 0);
    }
    arena_free(arena);
}
END_TEST

/* "/" + count segments of `size` letters, each encoded when asked, `count` slashes in all. */
static cf_status shaped(size_t count, size_t size, bool encoded)
{
    CF_BUF(text) = {0};
    for (size_t i = 0; i < count; i++) {
        cf_buf_add_byte(&text, '/');
        for (size_t k = 0; k < size; k++) {
            cf_buf_add_str(&text, encoded ? "%61" : "a");
        }
    }
    struct http_path path;
    return parse(cf_buf_slice(&text), &path);
}

START_TEST(limits_below_at_above)
{
    arena = arena_new(1024);
    ck_ok(shaped(1, HTTP_PATH_SEGMENT_SIZE_MAX - 1, false));
    ck_ok(shaped(1, HTTP_PATH_SEGMENT_SIZE_MAX, false));
    ck_ok(shaped(1, HTTP_PATH_SEGMENT_SIZE_MAX, true));
    ck_status(shaped(1, HTTP_PATH_SEGMENT_SIZE_MAX + 1, false), CF_INVALID);
    ck_status(shaped(1, HTTP_PATH_SEGMENT_SIZE_MAX + 1, true), CF_INVALID);
    ck_ok(shaped(HTTP_PATH_SEGMENTS_MAX - 1, 1, false));
    ck_ok(shaped(HTTP_PATH_SEGMENTS_MAX, 1, false));
    ck_status(shaped(HTTP_PATH_SEGMENTS_MAX + 1, 1, false), CF_INVALID);
    ck_ok(shaped(8, HTTP_PATH_SIZE_MAX / 8 - 2, false));
    ck_ok(shaped(8, HTTP_PATH_SIZE_MAX / 8 - 1, false));
    ck_ok(shaped(8, HTTP_PATH_SIZE_MAX / 8 - 1, true));
    ck_status(shaped(8, HTTP_PATH_SIZE_MAX / 8, false), CF_INVALID);
    ck_status(shaped(1, 5000, false), CF_INVALID);
    arena_free(arena);
}
END_TEST

TEST_MAIN("node/http/path", one_spelling, refused, doubled_slashes_are_sent_elsewhere,
          limits_below_at_above)
