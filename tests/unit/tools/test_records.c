/* tests/unit/tools/test_records.c: documents from package indexes and JSON lines. */
#include "node/base/memory.h"
#include "test.h"
#include "tools/load/records.h"

static struct records *records;
static struct cf_error err;

static cf_status parse(const char *text, const char *key, const char *prefix)
{
    struct records_options options = {.key = key, .prefix = prefix};
    records_free(records);
    records = NULL;
    err = (struct cf_error){0};
    return records_parse(cf_slice_str(text), &options, &records, &err);
}

static const char *document(size_t at)
{
    static struct cf_buf out;
    cf_buf_reset(&out);
    records_write(records, at, &out);
    return cf_buf_text(&out);
}

START_TEST(package_index)
{
    ck_ok(parse("Package: a\r\nVersion: 1\r\nDescription: one\r\n two\r\n .\r\n  three\r\n\r\n"
                "\n\nPackage: g++\nVersion:2\nEmpty:\nTag: x: \"y\"\n",
                NULL, NULL));
    ck_assert_uint_eq(records_count(records), 2);
    ck_slice(records_path(records, 0), "a");
    ck_slice(records_path(records, 1), "g++");
    ck_assert_str_eq(document(0), "{\"Package\":\"a\",\"Version\":\"1\","
                                  "\"Description\":\"one\\ntwo\\n.\\n three\"}");
    ck_assert_str_eq(document(1), "{\"Package\":\"g++\",\"Version\":\"2\",\"Empty\":\"\","
                                  "\"Tag\":\"x: \\\"y\\\"\"}");
}
END_TEST

START_TEST(keys_by_template_and_prefix)
{
    const char *text = "Package: a\nVersion: 1:2\nArchitecture: all\n";
    ck_ok(parse(text, "{Package}/{Version}_{Architecture}", "apt"));
    ck_slice(records_path(records, 0), "apt/a/1:2_all");
    ck_assert(records_has(records, CF_SLICE("apt/a/1:2_all")));
    ck_ok(parse(text, "Version", ""));
    ck_slice(records_path(records, 0), "1:2");
    ck_status(parse(text, "Nope", NULL), CF_INVALID);
    ck_status(parse(text, "{Package", NULL), CF_INVALID);
    ck_status(parse(text, "{}", NULL), CF_INVALID);
}
END_TEST

START_TEST(the_last_of_a_path_counts)
{
    ck_ok(parse("Package: a\nVersion: 1\n\nPackage: b\n\nPackage: a\nVersion: 2\n", NULL, NULL));
    ck_assert_uint_eq(records_count(records), 2);
    ck_assert_uint_eq(records_repeated(records), 1);
    ck_assert_str_eq(document(0), "{\"Package\":\"a\",\"Version\":\"2\"}");
}
END_TEST

START_TEST(json_lines)
{
    ck_ok(parse("{\"path\":\"x/y\",\"data\":{\"n\":1.50}}\n\n {\"path\":\"z\",\"data\":{}}", NULL,
                NULL));
    ck_assert_uint_eq(records_count(records), 2);
    ck_assert_str_eq(document(0), "{\"n\":1.50}");
    ck_assert_str_eq(document(1), "{}");
    ck_ok(parse("{\"id\":7,\"v\":[1]}\n", "id", "p/q"));
    ck_slice(records_path(records, 0), "p/q/7");
    ck_assert_str_eq(document(0), "{\"id\":7,\"v\":[1]}");
}
END_TEST

START_TEST(bad_input_names_its_line)
{
    ck_status(parse("{\"path\":\"a\",\"data\":{}}\n{\"path\":\"b\"}\n", NULL, NULL), CF_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "line 2"));
    ck_status(parse("{\"path\":\"a\",\"data\":{}\n", NULL, NULL), CF_INVALID);
    ck_status(parse("{\"id\":{}}\n", "id", NULL), CF_INVALID);
    ck_status(parse("Package: a\n\nVersion: 1\n", NULL, NULL), CF_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "line 3"));
    ck_status(parse("Package: a\nno field here\n", NULL, NULL), CF_INVALID);
    ck_status(parse("Package: /a\n", NULL, NULL), CF_INVALID);
    ck_status(parse("Package: a//b\n", NULL, NULL), CF_INVALID);
    ck_status(parse("Package: a/\n", NULL, NULL), CF_INVALID);
    ck_status(parse("Package:\n", NULL, NULL), CF_INVALID);
    ck_status(parse(" begins with a continuation\n", NULL, NULL), CF_INVALID);
    ck_status(parse(":\n", NULL, NULL), CF_INVALID);
}
END_TEST

START_TEST(nothing_is_an_empty_set)
{
    ck_ok(parse("", NULL, NULL));
    ck_assert_uint_eq(records_count(records), 0);
    ck_ok(parse("\n\n \n", NULL, NULL));
    ck_assert_uint_eq(records_count(records), 0);
    records_free(records);
    records = NULL;
}
END_TEST

TEST_MAIN("tools/load/records", package_index, keys_by_template_and_prefix,
          the_last_of_a_path_counts, json_lines, bad_input_names_its_line, nothing_is_an_empty_set)
