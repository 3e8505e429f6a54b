/* tests/unit/node/format/test_json.c: what json.h promises, with input of people who mean harm. */
#include <stdint.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/format/json.h"
#include "test.h"

static struct arena *arena;

static void begin(void)
{
    arena_free(arena);
    arena = arena_new(4096);
}

static struct json *parsed(const char *text)
{
    struct json *node = NULL;
    struct cf_error err = {0};
    cf_status status = json_parse(arena, cf_slice_str(text), NULL, &node, &err);
    ck_assert_msg(status == CF_OK, "%s: %s", text, err.message);
    return node;
}

static void refused(const char *text, size_t size)
{
    struct json *node = NULL;
    struct cf_error err = {0};
    cf_status status = json_parse(arena, cf_slice_of(text, size), NULL, &node, &err);
    ck_assert_msg(status == CF_INVALID && node == NULL, "accepted: %.*s", (int)size, text);
    ck_assert_uint_ne(strlen(err.message), 0);
}

static void written_as(const struct json *node, const char *want)
{
    CF_BUF(buf) = {0};
    json_write(&buf, node);
    ck_slice(cf_buf_slice(&buf), want);
}

static void same(const char *text)
{
    written_as(parsed(text), text);
}

START_TEST(keeps_what_it_reads)
{
    begin();
    same("{}");
    same("[]");
    same("null");
    same("\"\"");
    same("{\"b\":[1,2,{\"x\":null}],\"a\":true,\"c\":false}");
    same("[1.10,-0,1e400,123456789012345678901234567890,0.000,-1E-7,1e+5]");
    same("\"<script>&\\\\\\\"\\n\\t\\u0001\x7f\"");
    same("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
    written_as(parsed(" \t\r\n{ \"a\" : [ 1 , 2 ] }\n"), "{\"a\":[1,2]}");
    written_as(parsed("\"\\/\\b\\f\\u00e9\\u20AC\\ud83d\\uDE00x\""),
               "\"/\\b\\f\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80x\"");
}
END_TEST

START_TEST(last_duplicate_wins_in_first_place)
{
    begin();
    written_as(parsed("{\"a\":1,\"b\":2,\"a\":3,\"b\":4,\"c\":5}"), "{\"a\":3,\"b\":4,\"c\":5}");
    CF_BUF(text) = {0};
    cf_buf_add_str(&text, "{");
    for (int i = 0; i < 200; i++) {
        cf_buf_addf(&text, "%s\"k%d\":%d", i != 0 ? "," : "", i % 70, i);
    }
    cf_buf_add_str(&text, "}");
    struct json *node = parsed(cf_buf_text(&text));
    ck_assert_uint_eq(json_count(node), 70);
    int64_t value;
    ck_assert(json_int64(json_get(node, "k5"), &value));
    ck_assert_int_eq(value, 145);
    ck_slice(node->members[69].key, "k69");
}
END_TEST

START_TEST(strings_may_hold_nul_but_keys_not)
{
    begin();
    struct cf_slice text = {0};
    ck_assert(json_string(parsed("\"a\\u0000b\""), &text));
    ck_assert(cf_slice_eq(text, CF_SLICE("a\0b")));
    same("\"a\\u0000b\"");
    refused("{\"a\\u0000b\":1}", strlen("{\"a\\u0000b\":1}"));
}
END_TEST

START_TEST(refuses_what_is_no_json)
{
    begin();
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[",
        "}",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\" 1}",
        "nul",
        "nulll",
        "True",
        "NaN",
        "Infinity",
        "-",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "1.e5",
        "1e",
        "1e+",
        "0x10",
        "1_000",
        "--1",
        "1 2",
        "{} {}",
        "\"",
        "\"abc",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\ud800\\n\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\\ud83d\\ude0\"",
        "\"a\nb\"",
        "\"\t\"",
        "\"\x01\"",
        "/* c */ 1",
        "1 // c",
        "\xef\xbb\xbf{}",
        "\"\xff\"",
        "\"\x80\"",
        "\"\xc0\xaf\"",
        "\"\xc1\xbf\"",
        "\"\xe0\x9f\xbf\"",
        "\"\xed\xa0\x80\"",
        "\"\xf0\x8f\xbf\xbf\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xf5\x80\x80\x80\"",
        "\"\xe2\x82\"",
        "\"\xf0\x9f\x98",
        "{\"\xff\":1}",
        "\xa0{}",
        "\f{}",
        "\"\\uD83D\"",
        "\"\\u\"",
        "[[]",
        "{\"a\":{}",
    };
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        refused(bad[i], strlen(bad[i]));
    }
    refused("1\0", 2);
    refused("\0", 1);
    refused("[1,\0]", 5);
    refused("\"a\0b\"", 5);
    refused("{}\0", 3);
}
END_TEST

static cf_status nested(size_t depth, const char *open, const char *close, uint32_t limit)
{
    CF_BUF(text) = {0};
    for (size_t i = 0; i < depth; i++) {
        cf_buf_add_str(&text, open);
    }
    cf_buf_add_str(&text, "1");
    for (size_t i = 0; i < depth; i++) {
        cf_buf_add_str(&text, close);
    }
    struct json *node;
    struct json_limits limits = {.depth = limit};
    return json_parse(arena, cf_buf_slice(&text), &limits, &node, NULL);
}

START_TEST(limits_depth)
{
    begin();
    ck_ok(nested(300, "[", "]", 0));
    ck_status(nested(301, "[", "]", 0), CF_INVALID);
    ck_ok(nested(300, "{\"a\":", "}", 0));
    ck_status(nested(301, "{\"a\":", "}", 0), CF_INVALID);
    ck_status(nested(1000000, "[", "]", 0), CF_INVALID);
    ck_ok(nested(JSON_DEPTH_MAX, "[", "]", UINT32_MAX));
    ck_status(nested(JSON_DEPTH_MAX + 1, "[", "]", UINT32_MAX), CF_INVALID);
}
END_TEST

/* "[x,x,...]" or an object of numbered keys. */
static cf_status listed(size_t count, bool keys, const struct json_limits *limits)
{
    CF_BUF(text) = {0};
    cf_buf_add_str(&text, keys ? "{" : "[");
    for (size_t i = 0; i < count; i++) {
        cf_buf_add_str(&text, i != 0 ? "," : "");
        if (keys) {
            cf_buf_addf(&text, "\"k%zu\":", i);
        }
        cf_buf_add_str(&text, "0");
    }
    cf_buf_add_str(&text, keys ? "}" : "]");
    struct json *node;
    return json_parse(arena, cf_buf_slice(&text), limits, &node, NULL);
}

START_TEST(limits_counts)
{
    begin();
    ck_ok(listed(10000, true, NULL));
    ck_status(listed(10001, true, NULL), CF_INVALID);
    ck_ok(listed(10000, false, NULL));
    ck_status(listed(10001, false, NULL), CF_INVALID);
    struct json_limits limits = {.nodes = 101};
    ck_ok(listed(100, false, &limits));
    ck_status(listed(101, false, &limits), CF_INVALID);
    limits = (struct json_limits){.keys = 3, .items = 5};
    ck_ok(listed(3, true, &limits));
    ck_status(listed(4, true, &limits), CF_INVALID);
    ck_ok(listed(5, false, &limits));
    ck_status(listed(6, false, &limits), CF_INVALID);
}
END_TEST

START_TEST(limits_strings)
{
    begin();
    struct json *node;
    struct json_limits limits = {.string = 4};
    ck_ok(json_parse(arena, CF_SLICE("\"abcd\""), &limits, &node, NULL));
    ck_ok(json_parse(arena, CF_SLICE("\"\\u0061\\u0062cd\""), &limits, &node, NULL));
    ck_status(json_parse(arena, CF_SLICE("\"abcde\""), &limits, &node, NULL), CF_INVALID);
    ck_status(json_parse(arena, CF_SLICE("{\"abcde\":1}"), &limits, &node, NULL), CF_INVALID);
    ck_ok(json_parse(arena, CF_SLICE("[1234]"), &limits, &node, NULL));
    ck_status(json_parse(arena, CF_SLICE("[12345]"), &limits, &node, NULL), CF_INVALID);
    size_t mib = (size_t)1 << 20;
    char *text = cf_alloc(mib + 3);
    memset(text, 'x', mib + 3);
    text[0] = text[mib + 1] = '"';
    ck_ok(json_parse(arena, cf_slice_of(text, mib + 2), NULL, &node, NULL));
    text[mib + 1] = 'x';
    text[mib + 2] = '"';
    ck_status(json_parse(arena, cf_slice_of(text, mib + 3), NULL, &node, NULL), CF_INVALID);
    cf_free(text);
}
END_TEST

START_TEST(integers_are_range_checked)
{
    begin();
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775809", false, 0},
        {"18446744073709551616", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
        {"99999999999999999999999999", false, 0},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        int64_t value = 77;
        ck_assert_msg(json_int64(parsed(cases[i].text), &value) == cases[i].ok, "%s",
                      cases[i].text);
        ck_assert_int_eq(value, cases[i].ok ? cases[i].value : 77);
    }
    uint64_t big;
    ck_assert(json_uint64(parsed("18446744073709551615"), &big));
    ck_assert(big == UINT64_MAX);
    ck_assert(!json_uint64(parsed("18446744073709551616"), &big));
    ck_assert(!json_uint64(parsed("-1"), &big));
    ck_assert(!json_uint64(parsed("-0"), &big));
}
END_TEST

START_TEST(accessors_accept_anything)
{
    begin();
    struct cf_slice text = CF_SLICE("kept");
    bool flag = true;
    ck_assert_ptr_null(json_get(NULL, "a"));
    ck_assert_ptr_null(json_get(parsed("[1]"), "a"));
    ck_assert_ptr_null(json_get(json_get(parsed("{}"), "a"), "b"));
    ck_assert_ptr_null(json_item(parsed("{\"a\":1}"), 0));
    ck_assert_ptr_null(json_item(parsed("[1]"), 1));
    ck_assert_uint_eq(json_count(NULL), 0);
    ck_assert_uint_eq(json_count(parsed("\"abc\"")), 0);
    ck_assert(!json_string(parsed("1"), &text));
    ck_assert(!json_number(parsed("\"1\""), &text));
    ck_assert(!json_bool(parsed("null"), &flag) && flag);
    ck_slice(text, "kept");
    struct json *node = parsed("{\"a\":\"x\",\"n\":null,\"b\":false,\"1\":1.50}");
    ck_slice(json_get_string(node, "a"), "x");
    ck_slice(json_get_string(node, "b"), "");
    ck_assert(json_is(json_get(node, "n"), JSON_NULL));
    ck_assert(json_bool(json_get(node, "b"), &flag) && !flag);
    ck_assert(json_number(json_get_slice(node, CF_SLICE("1")), &text));
    ck_slice(text, "1.50");
}
END_TEST

START_TEST(builds_documents)
{
    begin();
    struct json *node = json_object_new(arena), *list = json_array_new(arena);
    json_set_text(arena, node, "name", "it's \"x\"");
    json_set_text(arena, node, "none", NULL);
    json_set_int(arena, node, "min", INT64_MIN);
    json_set(arena, node, "max", json_from_uint(arena, UINT64_MAX));
    json_set_bool(arena, node, "yes", true);
    for (int i = 0; i < 9; i++) {
        json_array_add(arena, list, json_from_int(arena, i));
    }
    json_array_add(arena, list, NULL);
    json_set(arena, node, "list", list);
    json_set(arena, node, "raw", json_from_raw(arena, CF_SLICE("{\"z\": 1, \"a\":2}")));
    json_set_int(arena, node, "min", 1);
    written_as(node, "{\"name\":\"it's \\\"x\\\"\",\"none\":null,\"min\":1,"
                     "\"max\":18446744073709551615,\"yes\":true,"
                     "\"list\":[0,1,2,3,4,5,6,7,8,null],\"raw\":{\"z\": 1, \"a\":2}}");
    ck_assert_ptr_null(json_from_number(arena, CF_SLICE("1x")));
    ck_assert_ptr_null(json_from_number(arena, CF_SLICE("")));
    written_as(json_from_number(arena, CF_SLICE("1.500")), "1.500");
    ck_assert(!json_is_number(CF_SLICE("1\0")));
    char long_number[300];
    memset(long_number, '7', sizeof(long_number));
    ck_assert(json_is_number(cf_slice_of(long_number, sizeof(long_number))));
}
END_TEST

START_TEST(large_objects_stay_indexed)
{
    begin();
    struct json *node = json_object_new(arena);
    char key[32];
    for (int i = 0; i < 5000; i++) {
        int size = snprintf(key, sizeof(key), "key-%d", i * 7 % 4999);
        json_object_set(arena, node, cf_slice_of(key, (size_t)size), json_from_int(arena, i));
    }
    ck_assert_uint_eq(json_count(node), 4999);
    for (int i = 0; i < 4999; i++) {
        (void)snprintf(key, sizeof(key), "key-%d", i);
        ck_assert_ptr_nonnull(json_get(node, key));
    }
    ck_assert_ptr_null(json_get(node, "key-4999"));
    struct json *copy = json_copy(arena, node);
    ck_assert(json_equal(copy, node));
    ck_assert(json_object_remove(arena, copy, CF_SLICE("key-0")));
    ck_assert(!json_object_remove(arena, copy, CF_SLICE("key-0")));
    ck_assert_ptr_null(json_get(copy, "key-0"));
    ck_assert_ptr_nonnull(json_get(copy, "key-4998"));
    ck_assert(!json_equal(copy, node));
    ck_assert_ptr_nonnull(json_get(node, "key-0"));
    struct json *few = json_object_new(arena);
    for (int i = 0; i < 40; i++) {
        json_set_int(arena, few, arena_printf(arena, "%d", i), i);
    }
    while (json_count(few) > 3) {
        ck_assert(json_object_remove(arena, few, few->members[json_count(few) / 2].key));
        ck_assert_ptr_nonnull(json_get(few, "39"));
    }
    ck_assert_uint_eq(json_count(few), 3);
}
END_TEST

START_TEST(copies_share_nothing)
{
    begin();
    struct arena *other = arena_new(256);
    struct json *copy;
    {
        struct arena *first = arena_new(256);
        struct json *node = NULL;
        ck_ok(json_parse(first, CF_SLICE("{\"a\":[1,\"two\",{\"three\":3.0}],\"b\":null}"), NULL,
                         &node, NULL));
        json_set(first, node, "raw", json_from_raw(first, arena_copy(first, CF_SLICE("[ 1 ]"))));
        copy = json_copy(other, node);
        arena_free(first);
    }
    written_as(copy, "{\"a\":[1,\"two\",{\"three\":3.0}],\"b\":null,\"raw\":[ 1 ]}");
    arena_free(other);
}
END_TEST

START_TEST(writes_sorted_and_pretty)
{
    begin();
    struct json *node =
        parsed("{\"b\":{\"z\":1,\"B\":[],\"a\":{}},\"a\":[{\"y\":1,\"x\":2}],\"\":0}");
    CF_BUF(buf) = {0};
    json_write_sorted(&buf, node);
    ck_slice(cf_buf_slice(&buf),
             "{\"\":0,\"a\":[{\"x\":2,\"y\":1}],\"b\":{\"B\":[],\"a\":{},\"z\":1}}");
    cf_buf_reset(&buf);
    json_write_pretty(&buf, parsed("{\"b\":{\"z\":1,\"e\":[]},\"a\":[1,{}]}"));
    ck_slice(cf_buf_slice(&buf), "{\n  \"b\": {\n    \"z\": 1,\n    \"e\": []\n  },\n  \"a\": [\n"
                                 "    1,\n    {}\n  ]\n}");
    cf_buf_reset(&buf);
    struct json *many = json_object_new(arena);
    for (int i = 99; i >= 0; i--) {
        json_object_set(arena, many, cf_slice_str(arena_printf(arena, "%02d", i)), json_null());
    }
    json_write_sorted(&buf, many);
    struct json *again = parsed(cf_buf_text(&buf));
    ck_slice(again->members[0].key, "00");
    ck_slice(again->members[99].key, "99");
}
END_TEST

START_TEST(writer_makes_valid_text_of_any_bytes)
{
    begin();
    for (unsigned first = 0; first < 256; first++) {
        uint8_t bytes[11] = "abcdefgh\0";
        bytes[8] = (uint8_t)first;
        bytes[9] = (uint8_t)(first * 7);
        CF_BUF(buf) = {0};
        json_write_string(&buf, cf_slice_of(bytes, 10));
        struct json *node = NULL;
        ck_ok(json_parse(arena, cf_buf_slice(&buf), NULL, &node, NULL));
    }
    CF_BUF(buf) = {0};
    json_write_string(&buf, CF_SLICE("a\xff\xe2\x82z"));
    ck_slice(cf_buf_slice(&buf), "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"");
}
END_TEST

START_TEST(a_full_buffer_tells)
{
    begin();
    CF_BUF(buf) = {.max = 8};
    json_write(&buf, parsed("[\"0123456789\"]"));
    ck_assert(buf.overflow);
    ck_assert_uint_le(buf.size, 8);
}
END_TEST

START_TEST(writes_without_a_tree)
{
    begin();
    CF_BUF(buf) = {0};
    struct json_out out;
    json_out_init(&out, &buf);
    json_out_object(&out);
    json_out_key(&out, "a");
    json_out_array(&out);
    json_out_int(&out, -5);
    json_out_int(&out, INT64_MIN);
    json_out_uint(&out, UINT64_MAX);
    json_out_object(&out);
    json_out_object_end(&out);
    json_out_text(&out, NULL);
    json_out_text(&out, "t\n");
    json_out_array_end(&out);
    json_out_key_slice(&out, CF_SLICE("\"k\""));
    json_out_raw(&out, CF_SLICE("{\"x\":1}"));
    json_out_key(&out, "t");
    json_out_bool(&out, true);
    json_out_key(&out, "n");
    json_out_node(&out, parsed("{\"b\":1,\"a\":2}"));
    json_out_key(&out, "z");
    json_out_node(&out, NULL);
    json_out_object_end(&out);
    json_out_end(&out);
    ck_slice(cf_buf_slice(&buf),
             "{\"a\":[-5,-9223372036854775808,18446744073709551615,{},null,\"t\\n\"],"
             "\"\\\"k\\\"\":{\"x\":1},\"t\":true,\"n\":{\"a\":2,\"b\":1},\"z\":null}");
}
END_TEST

/* The table of RFC 7396, appendix A. */
START_TEST(merges_patches)
{
    begin();
    static const char *const cases[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        struct json *target = parsed(cases[i][0]);
        written_as(json_merge_patch(arena, target, parsed(cases[i][1])), cases[i][2]);
        written_as(target, cases[i][0]);
    }
}
END_TEST

/* ---- random trees survive a round trip ---- */

static struct json *random_tree(struct cf_prng *prng, unsigned depth)
{
    static const char *const numbers[] = {"0",     "-0",       "1.10",
                                          "1e400", "-12.5E-9", "123456789012345678901"};
    uint64_t kind = cf_prng_below(prng, depth == 0 ? 4 : 6);
    if (kind == 0) {
        return json_null();
    } else if (kind == 1) {
        return json_from_bool(cf_prng_below(prng, 2) != 0);
    } else if (kind == 2) {
        uint64_t at = cf_prng_below(prng, CF_LENGTH(numbers));
        return json_from_number(arena, cf_slice_str(numbers[at]));
    } else if (kind == 3) {
        static const char *const pieces[] = {
            "a", "\"", "\\", "\n", "\x01", "\xc3\xa9", "\xf0\x9f\x98\x80", "/", "plain text", ""};
        CF_BUF(text) = {0};
        for (uint64_t i = cf_prng_below(prng, 12); i > 0; i--) {
            cf_buf_add_str(&text, pieces[cf_prng_below(prng, CF_LENGTH(pieces))]);
        }
        return json_from_string(arena, cf_buf_slice(&text));
    }
    struct json *node = kind == 4 ? json_array_new(arena) : json_object_new(arena);
    for (uint64_t i = cf_prng_below(prng, depth == 4 ? 40 : 5); i > 0; i--) {
        struct json *child = random_tree(prng, depth - 1);
        if (kind == 4) {
            json_array_add(arena, node, child);
        } else {
            const char *key = arena_printf(arena, "k%u\"", (unsigned)cf_prng_below(prng, 60));
            json_object_set(arena, node, cf_slice_str(key), child);
        }
    }
    return node;
}

START_TEST(random_trees_round_trip)
{
    struct cf_prng prng;
    cf_prng_seed(&prng, 42);
    for (int i = 0; i < 2000; i++) {
        begin();
        struct json *node = random_tree(&prng, 4);
        CF_BUF(first) = {0};
        CF_BUF(second) = {0};
        json_write(&first, node);
        struct json *again = NULL;
        ck_ok(json_parse(arena, cf_buf_slice(&first), NULL, &again, NULL));
        ck_assert(json_equal(node, again));
        json_write(&second, again);
        ck_assert(cf_slice_eq(cf_buf_slice(&first), cf_buf_slice(&second)));
        cf_buf_reset(&second);
        json_write_pretty(&second, again);
        struct json *pretty = NULL;
        ck_ok(json_parse(arena, cf_buf_slice(&second), NULL, &pretty, NULL));
        ck_assert(json_equal(node, pretty));
        cf_buf_reset(&second);
        json_write_sorted(&second, again);
        struct json *sorted = NULL;
        ck_ok(json_parse(arena, cf_buf_slice(&second), NULL, &sorted, NULL));
        ck_assert(json_equal(node, sorted));
    }
    arena_free(arena);
    arena = NULL;
}
END_TEST

TEST_MAIN("node/format/json", keeps_what_it_reads, last_duplicate_wins_in_first_place,
          strings_may_hold_nul_but_keys_not, refuses_what_is_no_json, limits_depth, limits_counts,
          limits_strings, integers_are_range_checked, accessors_accept_anything, builds_documents,
          large_objects_stay_indexed, copies_share_nothing, writes_sorted_and_pretty,
          writer_makes_valid_text_of_any_bytes, a_full_buffer_tells, writes_without_a_tree,
          merges_patches, random_trees_round_trip)
