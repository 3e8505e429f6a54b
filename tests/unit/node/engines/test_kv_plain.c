/* tests/unit/node/engines/test_kv_plain.c: version 1, and the way from there to version 2. */
#include "kv_help.h"

START_TEST(write_read_overwrite_delete)
{
    CF_OWNED(fixture) f = kv_fixture("1");
    ck_call(204, f, "PUT", "kv/a", "{\"x\":\"1\",\"y\":2}");
    ck_call(200, f, "GET", "kv/a", NULL);
    ck_at(f, "data", "{\"x\":\"1\",\"y\":2}");
    ck_at(f, "lease_duration", "2764800");
    ck_at(f, "renewable", "false");
    ck_call(204, f, "POST", "kv/a", "{\"z\":[1]}");
    ck_call(200, f, "GET", "kv/a", NULL);
    ck_at(f, "data", "{\"z\":[1]}");
    ck_call(204, f, "DELETE", "kv/a", NULL);
    ck_call(404, f, "GET", "kv/a", NULL);
    ck_at(f, "errors", "[]");
    uint64_t index = fixture_index(f);
    ck_call(204, f, "DELETE", "kv/a", NULL);
    ck_assert_uint_eq(fixture_index(f), index);
    ck_call(400, f, "PUT", "kv/a", "{}");
    ck_assert(fixture_error_has(f, "missing data fields"));
    ck_call(405, f, "PATCH", "kv/a", "{\"x\":1}");
    ck_call(404, f, "GET", "kv/", NULL);
}
END_TEST

START_TEST(a_ttl_in_the_data_shows)
{
    CF_OWNED(fixture) f = kv_fixture("1");
    static const struct {
        const char *body, *want;
    } cases[] = {{"{\"ttl\":\"30s\"}", "30"},    {"{\"ttl\":45}", "45"},
                 {"{\"lease\":\"1h\"}", "3600"}, {"{\"ttl\":\"junk\"}", "2764800"},
                 {"{\"ttl\":{}}", "2764800"},    {"{\"ttl\":\"-5s\"}", "2764800"},
                 {"{\"ttl\":null}", "2764800"}};
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        ck_call(204, f, "PUT", "kv/t", cases[i].body);
        ck_call(200, f, "GET", "kv/t", NULL);
        ck_at(f, "lease_duration", cases[i].want);
    }
    ck_call(204, f, "POST", "sys/mounts/kv/tune", "{\"default_lease_ttl\":\"10m\"}");
    ck_call(200, f, "GET", "kv/t", NULL);
    ck_at(f, "lease_duration", "600");
}
END_TEST

START_TEST(lists)
{
    CF_OWNED(fixture) f = kv_fixture("1");
    static const char *const paths[] = {"kv/b", "kv/a/x/y", "kv/a", "kv/B", "kv/a-b"};
    for (size_t i = 0; i < CF_LENGTH(paths); i++) {
        ck_call(204, f, "PUT", paths[i], "{\"v\":1}");
    }
    ck_call(200, f, "LIST", "kv", NULL);
    ck_at(f, "data.keys", "[\"B\",\"a\",\"a-b\",\"a/\",\"b\"]");
    ck_call(200, f, "LIST", "kv/a", NULL);
    ck_at(f, "data.keys", "[\"x/\"]");
    ck_call(200, f, "SCAN", "kv/", NULL);
    ck_at(f, "data.keys", "[\"B\",\"a\",\"a-b\",\"a/x/y\",\"b\"]");
    ck_call(404, f, "LIST", "kv/zz/", NULL);
}
END_TEST

/* The way up is one entry, whatever the mount holds; what was written before is version 1. */
START_TEST(upgrade)
{
    CF_OWNED(fixture) f = kv_fixture("1");
    CF_BUF(large) = {0};
    cf_buf_add_str(&large, "{\"v\":\"old\",\"fill\":\"");
    for (int i = 0; i < 10000; i++) {
        cf_buf_add_byte(&large, 'x');
    }
    cf_buf_add_str(&large, "\"}");
    ck_call(204, f, "PUT", "kv/a", "{\"v\":\"old\",\"n\":1.10}");
    ck_call(204, f, "PUT", "kv/dir/large", cf_buf_text(&large));
    ck_call(204, f, "PUT", "kv/dir/gone", "{\"v\":1}");
    uint64_t index = fixture_index(f);
    ck_call(200, f, "POST", "sys/mounts/kv/tune", "{\"options\":{\"version\":\"2\"}}");
    ck_assert_uint_eq(fixture_index(f), index + 1);
    ck_call(200, f, "GET", "kv/data/a", NULL);
    ck_at(f, "data.data", "{\"n\":1.10,\"v\":\"old\"}");
    ck_at(f, "data.metadata.version", "1");
    ck_call(200, f, "GET", "kv/metadata/a", NULL);
    ck_at(f, "data.current_version", "1");
    ck_call(400, f, "POST", "kv/data/a", "{\"options\":{\"cas\":0},\"data\":{}}");
    ck_call(200, f, "POST", "kv/data/a", "{\"options\":{\"cas\":1},\"data\":{\"v\":\"new\"}}");
    ck_at(f, "data.version", "2");
    ck_call(200, f, "GET", "kv/data/a?version=1", NULL);
    ck_at(f, "data.data.v", "old");
    ck_call(204, f, "POST", "kv/metadata/dir/large", "{\"max_versions\":3}");
    ck_call(200, f, "GET", "kv/data/dir/large", NULL);
    ck_at(f, "data.data.v", "old");
    ck_call(204, f, "DELETE", "kv/data/dir/gone", NULL);
    ck_call(404, f, "GET", "kv/data/dir/gone", NULL);
    ck_call(204, f, "POST", "kv/undelete/dir/gone", "{\"versions\":[1]}");
    ck_call(200, f, "GET", "kv/data/dir/gone", NULL);
    ck_call(200, f, "LIST", "kv/metadata/dir/", NULL);
    ck_at(f, "data.keys", "[\"gone\",\"large\"]");
    ck_call(400, f, "POST", "sys/mounts/kv/tune", "{\"options\":{\"version\":\"1\"}}");
    ck_assert(fixture_error_has(f, "cannot downgrade mount from version 2"));
    ck_call(400, f, "POST", "sys/mounts/more", "{\"type\":\"kv\",\"options\":{\"version\":\"3\"}}");
}
END_TEST

TEST_MAIN("node/engines/kv_plain", write_read_overwrite_delete, a_ttl_in_the_data_shows, lists,
          upgrade)
