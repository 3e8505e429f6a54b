/* tests/unit/node/format/test_hcl.c: HCL as configurations and policies have it, and as they must
 * not have it. */
#include "node/base/memory.h"
#include "node/format/hcl.h"
#include "test.h"

static struct arena *arena;

static const struct hcl_value *parsed(const char *text)
{
    const struct hcl_value *root = NULL;
    struct cf_error err = {0};
    if (arena == NULL) {
        arena = arena_new(4096);
    }
    cf_status status = hcl_parse(arena, cf_slice_str(text), &root, &err);
    ck_assert_msg(status == CF_OK, "%s: %s", text, err.message);
    return root;
}

/* One text for a tree: key"label"{...}, strings in quotes, the rest bare. */
static void show(struct cf_buf *buf, const struct hcl_value *value);

static void show_item(struct cf_buf *buf, const struct hcl_item *item)
{
    cf_buf_add_slice(buf, item->key);
    for (uint32_t i = 0; i < item->label_count; i++) {
        cf_buf_addf(buf, "'%.*s'", CF_SHOW(item->labels[i]));
    }
    cf_buf_add_str(buf, "=");
    show(buf, &item->value);
}

static void show(struct cf_buf *buf, const struct hcl_value *value)
{
    switch (value->type) {
    case HCL_NULL:
        cf_buf_add_str(buf, "null");
        break;
    case HCL_BOOL:
        cf_buf_add_str(buf, value->boolean ? "true" : "false");
        break;
    case HCL_NUMBER:
        cf_buf_add_slice(buf, value->text);
        break;
    case HCL_STRING:
        cf_buf_addf(buf, "\"%.*s\"", CF_SHOW(value->text));
        break;
    case HCL_LIST:
        cf_buf_add_str(buf, "[");
        for (uint32_t i = 0; i < value->count; i++) {
            cf_buf_add_str(buf, i != 0 ? "," : "");
            show(buf, &value->values[i]);
        }
        cf_buf_add_str(buf, "]");
        break;
    case HCL_OBJECT:
        cf_buf_add_str(buf, "{");
        for (uint32_t i = 0; i < value->count; i++) {
            cf_buf_add_str(buf, i != 0 ? " " : "");
            show_item(buf, &value->items[i]);
        }
        cf_buf_add_str(buf, "}");
        break;
    }
}

static void reads_as(const char *text, const char *want)
{
    CF_BUF(buf) = {0};
    show(&buf, parsed(text));
    ck_assert_msg(cf_slice_is(cf_buf_slice(&buf), want), "%s\nis %s\nnot %s", text,
                  cf_buf_text(&buf), want);
}

/* Refused at that line and column. */
static void refused_at(const char *text, unsigned line, unsigned column)
{
    const struct hcl_value *root = NULL;
    struct cf_error err = {0};
    char want[64];
    arena = arena != NULL ? arena : arena_new(4096);
    ck_assert_msg(hcl_parse(arena, cf_slice_str(text), &root, &err) == CF_INVALID, "accepted: %s",
                  text);
    ck_assert_ptr_null(root);
    (void)snprintf(want, sizeof(want), "line %u, column %u: ", line, column);
    ck_assert_msg(strncmp(err.message, want, strlen(want)) == 0, "%s: %s, not %s", text,
                  err.message, want);
}

START_TEST(reads_values)
{
    reads_as("", "{}");
    reads_as(" \n# nothing\n// here\n/* at\nall */\n", "{}");
    reads_as("a = 1\nb=-2.5e+3\nc : \"x\"\nd = true e = false",
             "{a=1 b=-2.5e+3 c=\"x\" d=true e=false}");
    reads_as("a = 0x1F\nb = 0644", "{a=0x1F b=0644}");
    reads_as("a = 1, b = 2,\nc = 3", "{a=1 b=2 c=3}");
    reads_as("a-b_c.d1 = 1\n\"quoted key\" = 2\n_x = 3", "{a-b_c.d1=1 quoted key=2 _x=3}");
    reads_as("a = [1, \"two\", true, [3], {x = 4}]", "{a=[1,\"two\",true,[3],{x=4}]}");
    reads_as("a = [\n  1, # one\n  2, /* two */\n  // three\n]", "{a=[1,2]}");
    reads_as("a = []\nb = {}\nc {}", "{a=[] b={} c={}}");
    reads_as("\xef\xbb\xbf"
             "a = 1",
             "{a=1}");
    reads_as("a = 1\r\nb = 2\r\n", "{a=1 b=2}");
    reads_as("a = 1#c\nb = 2//c\nc = 3/*c*/d = 4", "{a=1 b=2 c=3 d=4}");
}
END_TEST

START_TEST(reads_blocks)
{
    reads_as("path \"secret/*\" { capabilities = [\"read\"] }",
             "{path'secret/*'={capabilities=[\"read\"]}}");
    reads_as("a { x = 1 }\na = { x = 2 }", "{a={x=1} a={x=2}}");
    reads_as("audit file \"to-file\" { options { p = \"q\" } }",
             "{audit'file''to-file'={options={p=\"q\"}}}");
    reads_as("l \"tcp\" {\n}\nl \"tcp\" { a = 1 b { c = 2 } }", "{l'tcp'={} l'tcp'={a=1 b={c=2}}}");
}
END_TEST

START_TEST(reads_strings)
{
    reads_as("a = \"\\n\\t\\r\\\"\\\\\\u00e9\\ud83d\\ude00\"",
             "{a=\"\n\t\r\"\\\xc3\xa9\xf0\x9f\x98\x80\"}");
    reads_as("a = \"x ${foo(\"bar\", \"{}\")} y\"", "{a=\"x ${foo(\"bar\", \"{}\")} y\"}");
    reads_as("a = \"${ {} \\n }\"\nb=\"\\n${a}\\t\"", "{a=\"${ {} \\n }\" b=\"\n${a}\t\"}");
    reads_as("a = \"{{identity.entity.id}} $5 $\"", "{a=\"{{identity.entity.id}} $5 $\"}");
    reads_as("a = \"# no comment // here /* */\"", "{a=\"# no comment // here /* */\"}");
}
END_TEST

START_TEST(reads_heredocs)
{
    reads_as("a = <<EOF\none\n  two \\n ${x} \"q\"\nEOF\nb = 1",
             "{a=\"one\n  two \\n ${x} \"q\"\n\" b=1}");
    reads_as("a = <<EOF\nEOF\n", "{a=\"\"}");
    reads_as("a = <<EOF\n EOFx\nxEOF\n\nEOF", "{a=\" EOFx\nxEOF\n\n\"}");
    reads_as("a = <<EOF\r\nx\r\nEOF\r\nb = 1", "{a=\"x\r\n\" b=1}");
    /* Indented, and every line has it: taken off. */
    reads_as("a = <<-EOF\n    one\n      two\n    EOF\n", "{a=\"one\n  two\n\"}");
    /* Not every line has it: as it is. */
    reads_as("a = <<-EOF\n    one\n  two\n    EOF\n", "{a=\"    one\n  two\n\"}");
    reads_as("a = <<-EOF\n  one\nEOF\n", "{a=\"  one\n\"}");
    reads_as("a = [<<X\none\nX\n, <<Y\ntwo\nY\n]\nb { c = <<Z\nz\nZ\n}",
             "{a=[\"one\n\",\"two\n\"] b={c=\"z\n\"}}");
}
END_TEST

START_TEST(reads_json)
{
    reads_as("{}", "{}");
    reads_as("\n {\"a\": [1, null, {\"b\": \"\\/${\\\"x\"}], \"c\": -0.5e3}\n",
             "{a=[1,null,{b=\"/${\"x\"}] c=-0.5e3}");
    reads_as("{\"a\":1,\"a\":2}", "{a=1 a=2}");
    refused_at("{\"a\": 1,}", 1, 9);
    refused_at("{\n\"a\" = 1}", 2, 5);
    refused_at("{\"a\": 1 \"b\": 2}", 1, 9);
    refused_at("{\n  # comment\n}", 2, 3);
    refused_at("{\"a\": 1}\npath \"x\" {}", 2, 1);
    refused_at("{\"a\": <<EOF\nx\nEOF\n}", 1, 7);
    refused_at("{\"a\": \"\\u0000\"}", 1, 10);
    refused_at("{a = 1}", 1, 2);
    refused_at("{", 1, 2);
}
END_TEST

START_TEST(refuses)
{
    refused_at("a", 1, 2);
    refused_at("a =", 1, 4);
    refused_at("a = \n\n  ", 3, 3);
    refused_at("a = b", 1, 5);
    refused_at("a = null", 1, 5);
    refused_at("= 1", 1, 1);
    refused_at("\"a\"", 1, 4);
    refused_at("1 = 2", 1, 1);
    refused_at("a = \"x", 1, 5);
    refused_at("b = 1\n  a = \"x\ny\"", 2, 7);
    refused_at("a = \"\\q\"", 1, 6);
    refused_at("a = \"\\/\"", 1, 6);
    refused_at("a = \"\\u12\"", 1, 8);
    refused_at("a = \"\\ud800\"", 1, 12);
    refused_at("a = \"\\u0000\"", 1, 8);
    refused_at("a = \"${x\"\nb = 1", 1, 6);
    refused_at("a = <<EOF\nx\n", 1, 5);
    refused_at("a = <<EOF x\nEOF", 1, 10);
    refused_at("a = <<\nEOF", 1, 7);
    refused_at("a = <<EOF", 1, 10);
    refused_at("/* x\n\n", 1, 1);
    refused_at("a = [1 2]", 1, 8);
    refused_at("a = [1\n2]", 2, 1);
    refused_at("a = [1,,2]", 1, 8);
    refused_at("a = [", 1, 6);
    refused_at("a = [}", 1, 6);
    refused_at("a {", 1, 4);
    refused_at("a { b = 1 ]", 1, 11);
    refused_at("a = 1 }", 1, 7);
    refused_at("a = 1,, b = 2", 1, 7);
    refused_at(", a = 1", 1, 1);
    refused_at("a \"b\" = {}", 1, 7);
    refused_at("a 1 {}", 1, 3);
    refused_at("a = 1h", 1, 6);
    refused_at("a = 1.", 1, 7);
    refused_at("a = 1.2.3", 1, 8);
    refused_at("a = -", 1, 6);
    refused_at("a = 0x", 1, 7);
    refused_at("a = +1", 1, 5);
    refused_at("a = 'x'", 1, 5);
    refused_at("a = 1\nb = \"\xff\"", 2, 6);
    refused_at("# \xc0\xaf", 1, 3);
    refused_at("a b c d e f g h i j {}", 1, 19);
    refused_at("a / b", 1, 3);
    const struct hcl_value *root;
    struct cf_error err;
    ck_status(hcl_parse(arena, CF_SLICE("a = 1\n\0b = 2"), &root, &err), CF_INVALID);
    ck_assert_str_eq(err.message, "line 2, column 1: NUL byte");
}
END_TEST

static cf_status repeated(const char *piece, size_t count, const char *middle, const char *closing)
{
    CF_BUF(text) = {0};
    for (size_t i = 0; i < count; i++) {
        cf_buf_add_str(&text, piece);
    }
    cf_buf_add_str(&text, middle);
    for (size_t i = 0; i < count; i++) {
        cf_buf_add_str(&text, closing);
    }
    const struct hcl_value *root;
    struct arena *own = arena_new(4096);
    cf_status status = hcl_parse(own, cf_buf_slice(&text), &root, NULL);
    arena_free(own);
    return status;
}

START_TEST(has_limits)
{
    ck_ok(repeated("a {", 64, "", "}"));
    ck_status(repeated("a {", 65, "", "}"), CF_INVALID);
    ck_status(repeated("a {", 200000, "", "}"), CF_INVALID);
    ck_ok(repeated("", 0, "a=[[[[1]]]]", ""));
    ck_status(repeated("", 0, "a=[", ""), CF_INVALID);
    ck_status(repeated("{\"a\":", 200, "1", "}"), CF_INVALID);
    ck_ok(repeated("a{}\n", 100000, "", ""));
    ck_status(repeated("a{}\n", 200001, "", ""), CF_INVALID);
    ck_status(repeated("# a comment\n", 90000, "", ""), CF_TOO_LARGE);
    ck_ok(repeated("# a comment\n", 80000, "", ""));
    ck_status(repeated("a=\"${", 100000, "", ""), CF_INVALID);
}
END_TEST

/* The blocks of the first item in the text, as hcl_blocks() sees it. */
static void blocks_as(const char *text, unsigned labels, const char *want)
{
    const struct hcl_item *blocks;
    size_t count;
    struct cf_error err = {0};
    cf_status status = hcl_blocks(arena, &parsed(text)->items[0], labels, &blocks, &count, &err);
    ck_assert_msg(status == CF_OK, "%s: %s", text, err.message);
    CF_BUF(buf) = {0};
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(blocks[i].value.type, HCL_OBJECT);
        ck_assert_uint_eq(blocks[i].label_count, labels);
        show_item(&buf, &blocks[i]);
        cf_buf_add_str(&buf, ";");
    }
    ck_assert_msg(cf_slice_is(cf_buf_slice(&buf), want), "%s\nis %s\nnot %s", text,
                  cf_buf_text(&buf), want);
}

START_TEST(all_forms_of_a_block_are_one)
{
    blocks_as("p \"a\" { x = 1 }", 1, "p'a'={x=1};");
    blocks_as("p = { \"a\" = { x = 1 } }", 1, "p'a'={x=1};");
    blocks_as("p { a { x = 1 } b { y = 2 } }", 1, "p'a'={x=1};p'b'={y=2};");
    blocks_as("{\"p\": {\"a\": {\"x\": 1}, \"b\": {}}}", 1, "p'a'={x=1};p'b'={};");
    blocks_as("{\"p\": [{\"a\": {\"x\": 1}}, {\"a\": [{\"x\": 2}, {\"x\": 3}]}]}", 1,
              "p'a'={x=1};p'a'={x=2};p'a'={x=3};");
    blocks_as("{\"p\": {\"a\": {\"q\": {\"k\": {}}}}}", 1, "p'a'={q={k={}}};");
    blocks_as("{\"p\": {\"a\": {\"b\": {\"x\": 1}}}}", 2, "p'a''b'={x=1};");
    blocks_as("p \"a\" { b { x = 1 } }", 2, "p'a''b'={x=1};");
    blocks_as("p { a \"b\" { x = 1 } }", 2, "p'a''b'={x=1};");
    blocks_as("p { x = 1 }", 0, "p={x=1};");
    blocks_as("p = [{ x = 1 }, { x = 2 }]", 0, "p={x=1};p={x=2};");
    blocks_as("p = {}", 1, "");
    blocks_as("p = []", 1, "");
}
END_TEST

START_TEST(what_is_no_block_is_told)
{
    static const struct {
        const char *text;
        unsigned labels;
        const char *message;
    } cases[] = {
        {"\np = 1", 0, "line 2, column 1: \"p\" must be a block"},
        {"p \"a\" \"b\" {}", 1, "line 1, column 1: \"p\" has too many labels"},
        {"p \"a\" {}", 0, "line 1, column 1: \"p\" has too many labels"},
        {"p { x = 1 }", 1, "line 1, column 1: \"p\" does not have the labels that it needs"},
        {"p = [1]", 1, "line 1, column 6: \"p\" must be a block"},
        {"p = [[{}]]", 0, "line 1, column 6: \"p\" must be a block"},
        {"p { a \"b\" {} }", 1, "line 1, column 1: \"p\" does not have the labels that it needs"},
    };
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        const struct hcl_item *blocks;
        size_t count;
        struct cf_error err = {0};
        ck_status(hcl_blocks(arena, &parsed(cases[i].text)->items[0], cases[i].labels, &blocks,
                             &count, &err),
                  CF_INVALID);
        ck_assert_str_eq(err.message, cases[i].message);
    }
}
END_TEST

START_TEST(nodes_know_their_lines)
{
    const struct hcl_value *root =
        parsed("# one\na = <<X\n2\n3\nX\n\n  b \"l\" {\n    c = [\n 1]\n}\n"
               "d = \"${\n}\" e = 1");
    ck_assert_uint_eq(root->items[0].line, 2);
    ck_assert_uint_eq(root->items[1].line, 7);
    ck_assert_uint_eq(root->items[1].column, 3);
    const struct hcl_value *c = hcl_get(&root->items[1].value, "c");
    ck_assert_uint_eq(c->line, 8);
    ck_assert_uint_eq(hcl_at(c, 0)->line, 9);
    ck_assert_uint_eq(hcl_at(c, 0)->column, 2);
    ck_assert_uint_eq(root->items[3].line, 12);
    ck_assert_uint_eq(root->items[3].column, 4);
}
END_TEST

START_TEST(converts)
{
    const struct hcl_value *root = parsed(
        "s = \"text\" n = 12 t = true ts = \"false\" one = 1 l = [\"a\", \"b\"] o = 0644 "
        "x = \"0x10\" neg = -5 d = \"1h\" frac = 1.5 s = \"last\" min = -9223372036854775808 "
        "big = 9223372036854775808");
    struct cf_slice text;
    bool flag;
    int64_t number;
    ck_ok(hcl_to_string(hcl_get(root, "s"), "s", &text, NULL));
    ck_slice(text, "last");
    ck_ok(hcl_to_string(hcl_get(root, "n"), "n", &text, NULL));
    ck_slice(text, "12");
    ck_status(hcl_to_string(hcl_get(root, "t"), "t", &text, NULL), CF_INVALID);
    ck_status(hcl_to_string(hcl_get(root, "l"), "l", &text, NULL), CF_INVALID);
    ck_ok(hcl_to_bool(hcl_get(root, "t"), "t", &flag, NULL));
    ck_assert(flag);
    ck_ok(hcl_to_bool(hcl_get(root, "ts"), "ts", &flag, NULL));
    ck_assert(!flag);
    ck_ok(hcl_to_bool(hcl_get(root, "one"), "one", &flag, NULL));
    ck_assert(flag);
    ck_status(hcl_to_bool(hcl_get(root, "s"), "s", &flag, NULL), CF_INVALID);
    ck_status(hcl_to_bool(hcl_get(root, "n"), "n", &flag, NULL), CF_INVALID);
    ck_ok(hcl_to_int(hcl_get(root, "o"), "o", &number, NULL));
    ck_assert_int_eq(number, 420);
    ck_ok(hcl_to_int(hcl_get(root, "x"), "x", &number, NULL));
    ck_assert_int_eq(number, 16);
    ck_ok(hcl_to_int(hcl_get(root, "neg"), "neg", &number, NULL));
    ck_assert_int_eq(number, -5);
    ck_ok(hcl_to_int(hcl_get(root, "min"), "min", &number, NULL));
    ck_assert(number == INT64_MIN);
    ck_status(hcl_to_int(hcl_get(root, "big"), "big", &number, NULL), CF_INVALID);
    ck_status(hcl_to_int(hcl_get(root, "frac"), "frac", &number, NULL), CF_INVALID);
    ck_ok(hcl_to_duration(hcl_get(root, "d"), "d", &number, NULL));
    ck_assert_int_eq(number, 3600);
    ck_ok(hcl_to_duration(hcl_get(root, "n"), "n", &number, NULL));
    ck_assert_int_eq(number, 12);
    struct cf_error err = {0};
    ck_status(hcl_to_duration(hcl_get(root, "frac"), "frac", &number, &err), CF_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "\"frac\" must be a duration"));
    ck_status(hcl_to_bool(hcl_get(root, "none"), "none", &flag, &err), CF_INVALID);
    ck_assert_str_eq(err.message, "\"none\" is missing");
    ck_assert_uint_eq(hcl_count(hcl_get(root, "l")), 2);
    ck_assert_uint_eq(hcl_count(hcl_get(root, "s")), 1);
    ck_assert_ptr_eq(hcl_at(hcl_get(root, "s"), 0), hcl_get(root, "s"));
    ck_assert_uint_eq(hcl_count(NULL), 0);
    ck_assert_ptr_null(hcl_at(hcl_get(root, "l"), 2));
    ck_assert_ptr_null(hcl_get(NULL, "a"));
    ck_assert_ptr_null(hcl_get(hcl_get(root, "l"), "a"));
}
END_TEST

START_TEST(finds_the_nearest_name)
{
    static const char *const known[] = {"api_addr", "cluster_addr", "listener", "ui"};
    ck_assert_str_eq(hcl_nearest(CF_SLICE("api_adr"), known, 4), "api_addr");
    ck_assert_str_eq(hcl_nearest(CF_SLICE("listner"), known, 4), "listener");
    ck_assert_str_eq(hcl_nearest(CF_SLICE("iu"), known, 1 + 3) != NULL ? "near" : "none", "none");
    ck_assert_ptr_null(hcl_nearest(CF_SLICE("something_else"), known, 4));
    char name[200];
    memset(name, 'a', sizeof(name));
    ck_assert_ptr_null(hcl_nearest(cf_slice_of(name, sizeof(name)), known, 4));
}
END_TEST

/* The example of core-api.md section 22, shortened. */
START_TEST(reads_a_configuration)
{
    const struct hcl_value *root =
        parsed("ui            = true\n"
               "api_addr      = \"https://n1.example.com:8200\"     # what clients see\n"
               "storage \"raft\" {                 # or \"file\" { path = ... }\n"
               "  path    = \"/var/lib/coffer\"\n"
               "  retry_join { leader_api_addr = \"https://n2\" leader_ca_cert_file = \"...\" }\n"
               "  retry_join { leader_api_addr = \"https://n3\" }\n"
               "}\n"
               "listener \"tcp\" {\n  address = \"0.0.0.0:8200\"\n  telemetry { x = false }\n}\n"
               "seal \"static\" { current_key_id = \"k1\" current_key = \"file:///...\" }\n"
               "audit \"file\" \"to-file\" { options { file_path = \"/var/log/a.log\" } }\n");
    ck_assert_uint_eq(root->count, 6);
    const struct hcl_item *blocks;
    size_t count;
    ck_ok(hcl_blocks(arena, &root->items[2], 1, &blocks, &count, NULL));
    ck_assert_uint_eq(count, 1);
    ck_slice(blocks[0].labels[0], "raft");
    ck_assert_uint_eq(blocks[0].value.count, 3);
    ck_assert_uint_eq(blocks[0].value.items[2].line, 6);
    arena_free(arena);
    arena = NULL;
}
END_TEST

TEST_MAIN("node/format/hcl", reads_values, reads_blocks, reads_strings, reads_heredocs, reads_json,
          refuses, has_limits, all_forms_of_a_block_are_one, what_is_no_block_is_told,
          nodes_know_their_lines, converts, finds_the_nearest_name, reads_a_configuration)
