/* tests/unit/tools/test_render.c: values as text, YAML, tables. */
#include "node/base/memory.h"
#include "test.h"
#include "tools/cli/render.h"
#include "tools/cli/table.h"

static struct json *parse(struct arena *arena, const char *text)
{
    struct json *json = NULL;
    ck_ok(json_parse(arena, cf_slice_str(text), NULL, &json, NULL));
    return json;
}

#define CHECK(function, text, want)                                                                \
    do {                                                                                           \
        struct arena *arena_ = arena_new(4096);                                                    \
        CF_BUF(out_) = {0};                                                                        \
        function(&out_, parse(arena_, (text)));                                                    \
        ck_assert_str_eq(cf_buf_text(&out_), (want));                                              \
        arena_free(arena_);                                                                        \
    } while (0)

START_TEST(values_as_go_prints_them)
{
    CHECK(render_value, "{\"b\":[1,\"x\",null],\"a\":{\"t\":true}}",
          "map[a:map[t:true] b:[1 x <nil>]]");
    CHECK(render_value, "1.10", "1.10");
    CHECK(render_value, "123456789012345678901234567890", "123456789012345678901234567890");
    CHECK(render_value, "\"\"", "");
    CHECK(render_value, "{}", "map[]");
    CHECK(render_value, "[]", "[]");
    CHECK(render_quoted_list, "[\"a\",\"b c\"]", "[\"a\" \"b c\"]");
    CHECK(render_quoted_list, "null", "[]");
}
END_TEST

static const char *duration(int64_t seconds)
{
    static struct cf_buf out;
    cf_buf_reset(&out);
    render_duration(&out, seconds);
    return cf_buf_text(&out);
}

START_TEST(durations)
{
    ck_assert_str_eq(duration(0), "0s");
    ck_assert_str_eq(duration(59), "59s");
    ck_assert_str_eq(duration(60), "1m");
    ck_assert_str_eq(duration(3600), "1h");
    ck_assert_str_eq(duration(3601), "1h0m1s");
    ck_assert_str_eq(duration(5400), "1h30m");
    ck_assert_str_eq(duration(2764800), "768h");
    ck_assert_str_eq(duration(INT64_MIN), "-2562047788015215h30m8s");
    ck_assert(render_is_duration(CF_SLICE("token_ttl")) && render_is_duration(CF_SLICE("period")));
    ck_assert(!render_is_duration(CF_SLICE("little")));
}
END_TEST

START_TEST(yaml)
{
    CHECK(render_yaml, "{\"b\":{\"y\":1,\"x\":[]},\"a\":[\"p\",{\"q\":2,\"r\":null}]}",
          "a:\n- p\n- q: 2\n  r: null\nb:\n  x: []\n  \"y\": 1");
    /* What some reader would take for something else is quoted. */
    CHECK(render_yaml, "[\"yes\",\"No\",\"1\",\"~\",\"a: b\",\"a#b\",\" a\",\"a \",\"\",\"null\"]",
          "- \"yes\"\n- \"No\"\n- \"1\"\n- \"~\"\n- \"a: b\"\n- \"a#b\"\n- \" a\"\n- \"a \"\n- "
          "\"\"\n- \"null\"");
    CHECK(render_yaml, "[\"two\\nlines\",\"secret/data/x\",\"a b\"]",
          "- \"two\\nlines\"\n- secret/data/x\n- a b");
    CHECK(render_yaml, "[[1,2],[3]]", "- - 1\n  - 2\n- - 3");
    CHECK(render_yaml, "\"x\"", "x");
    CHECK(render_yaml, "{}", "{}");
}
END_TEST

START_TEST(json_keeps_the_first_level_and_sorts_below)
{
    struct arena *arena = arena_new(4096);
    CF_BUF(out) = {0};
    render_json(&out, arena, parse(arena, "{\"z\":1,\"a\":{\"y\":2,\"b\":3}}"));
    ck_assert_str_eq(cf_buf_text(&out),
                     "{\n  \"z\": 1,\n  \"a\": {\n    \"b\": 3,\n    \"y\": 2\n  }\n}");
    arena_free(arena);
}
END_TEST

static char *print(const struct table *table, bool heading)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    table_print(table, heading, out);
    (void)fclose(out);
    return text;
}

START_TEST(tables)
{
    struct arena *arena = arena_new(4096);
    struct table table;
    table_init(&table, arena);
    table_pair(&table, "Key", CF_SLICE("Value"));
    table_pair(&table, "empty", CF_SLICE(""));
    table_pair(&table, "\xc3\xbc", CF_SLICE("  two words \n"));
    table_pairf(&table, "number", "%d", 7);
    char *text = print(&table, true);
    ck_assert_str_eq(text, "Key       Value\n"
                           "---       -----\n"
                           "empty     n/a\n"
                           "\xc3\xbc         two words\n"
                           "number    7\n");
    free(text);
    arena_free(arena);
}
END_TEST

TEST_MAIN("tools/cli/render", values_as_go_prints_them, durations, yaml,
          json_keeps_the_first_level_and_sorts_below, tables)
