/* tests/unit/node/engines/test_kv_metadata.c: metadata, lists and settings of version 2. */
#include "kv_help.h"

START_TEST(metadata_without_a_version)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    ck_call(204, f, "POST", "kv/metadata/a", "{}");
    ck_call(404, f, "GET", "kv/metadata/a", NULL); /* nothing was said, nothing is there */
    ck_call(204, f, "POST", "kv/metadata/a",
            "{\"max_versions\":5,\"cas_required\":true,\"delete_version_after\":\"3h25m\","
            "\"custom_metadata\":{\"owner\":\"me\"}}");
    ck_call(200, f, "GET", "kv/metadata/a", NULL);
    ck_at(f, "data.current_version", "0");
    ck_at(f, "data.versions", "{}");
    ck_at(f, "data.delete_version_after", "3h25m0s");
    ck_at(f, "data.custom_metadata.owner", "me");
    ck_call(404, f, "GET", "kv/data/a", NULL);
    ck_at(f, "errors", "[]");
    ck_call(204, f, "DELETE", "kv/data/a", NULL);
    ck_call(200, f, "POST", "kv/data/a", "{\"options\":{\"cas\":0},\"data\":{\"v\":1}}");
    ck_at(f, "data.custom_metadata.owner", "me");
    ck_call(204, f, "POST", "kv/metadata/a", "{\"custom_metadata\":{\"x\":\"y\"}}");
    ck_call(200, f, "GET", "kv/metadata/a", NULL);
    ck_at(f, "data.custom_metadata", "{\"x\":\"y\"}");
    ck_at(f, "data.max_versions", "5");
    ck_at(f, "data.cas_required", "true");
    ck_call(204, f, "DELETE", "kv/metadata/a", NULL);
    ck_call(404, f, "GET", "kv/metadata/a", NULL);
    ck_call(404, f, "GET", "kv/data/a", NULL);
    ck_call(404, f, "GET", "kv/data/a?version=1", NULL);
    ck_call(204, f, "DELETE", "kv/metadata/a", NULL);
}
END_TEST

START_TEST(patch_merges_and_null_resets)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    ck_call(404, f, "PATCH", "kv/metadata/a", "{\"max_versions\":2}");
    ck_call(
        204, f, "POST", "kv/metadata/a",
        "{\"max_versions\":5,\"cas_required\":true,\"custom_metadata\":{\"a\":\"1\",\"b\":\"2\"}}");
    ck_call(204, f, "PATCH", "kv/metadata/a",
            "{\"max_versions\":null,\"custom_metadata\":{\"a\":null,\"c\":\"3\"}}");
    ck_call(200, f, "GET", "kv/metadata/a", NULL);
    ck_at(f, "data.max_versions", "0");
    ck_at(f, "data.cas_required", "true");
    ck_at(f, "data.custom_metadata", "{\"b\":\"2\",\"c\":\"3\"}");
    ck_call(204, f, "PATCH", "kv/metadata/a", "{\"custom_metadata\":null}");
    ck_call(200, f, "GET", "kv/metadata/a", NULL);
    ck_at(f, "data.custom_metadata", "null");
}
END_TEST

static void custom(struct cf_buf *body, size_t pairs, size_t key_size, size_t value_size)
{
    cf_buf_add_str(body, "{\"custom_metadata\":{");
    for (size_t i = 0; i < pairs; i++) {
        cf_buf_addf(body, "%s\"%0*zu\":\"%0*d\"", i != 0 ? "," : "", (int)key_size, i,
                    (int)value_size, 0);
    }
    cf_buf_add_str(body, "}}");
}

START_TEST(custom_metadata_is_bounded)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    static const struct {
        size_t pairs, key_size, value_size;
        int want;
    } cases[] = {{64, 128, 512, 204}, {65, 2, 1, 400}, {1, 129, 1, 400}, {1, 1, 513, 400}};
    for (size_t i = 0; i < CF_LENGTH(cases); i++) {
        CF_BUF(body) = {0};
        custom(&body, cases[i].pairs, cases[i].key_size, cases[i].value_size);
        ck_call(cases[i].want, f, "POST", "kv/metadata/c", cf_buf_text(&body));
    }
    ck_call(400, f, "POST", "kv/metadata/d", "{\"custom_metadata\":{\"a\":1}}");
    ck_call(400, f, "POST", "kv/metadata/d", "{\"custom_metadata\":{\"\":\"x\"}}");
    ck_call(400, f, "POST", "kv/metadata/d", "{\"custom_metadata\":[\"x\"]}");
    ck_call(400, f, "POST", "kv/metadata/d", "{\"max_versions\":-1}");
    ck_call(400, f, "POST", "kv/metadata/d", "{\"max_versions\":10001}");
    ck_call(400, f, "POST", "kv/metadata/d", "{\"delete_version_after\":\"soon\"}");
    ck_call(400, f, "POST", "kv/metadata/d", "{\"delete_version_after\":\"-1h\"}");
    ck_call(404, f, "GET", "kv/metadata/d", NULL);
}
END_TEST

START_TEST(lists)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    static const char *const paths[] = {"kv/data/b", "kv/data/a/x", "kv/data/a", "kv/data/a/y/z",
                                        "kv/data/B"};
    for (size_t i = 0; i < CF_LENGTH(paths); i++) {
        ck_call(200, f, "POST", paths[i], "{\"data\":{\"v\":1}}");
    }
    ck_call(200, f, "LIST", "kv/metadata", NULL);
    ck_at(f, "data.keys", "[\"B\",\"a\",\"a/\",\"b\"]");
    ck_call(200, f, "LIST", "kv/metadata/a", NULL);
    ck_at(f, "data.keys", "[\"x\",\"y/\"]");
    ck_call(404, f, "LIST", "kv/metadata/none/", NULL);
    ck_at(f, "errors", "[]");
    ck_call(200, f, "LIST", "kv/metadata/?after=a&limit=1", NULL);
    ck_at(f, "data.keys", "[\"a/\"]");
    ck_call(200, f, "LIST", "kv/metadata/?after=a/", NULL);
    ck_at(f, "data.keys", "[\"b\"]");
    ck_call(200, f, "SCAN", "kv/metadata/", NULL);
    ck_at(f, "data.keys", "[\"B\",\"a\",\"a/x\",\"a/y/z\",\"b\"]");
    ck_call(200, f, "SCAN", "kv/metadata/a/", NULL);
    ck_at(f, "data.keys", "[\"x\",\"y/z\"]");
    ck_call(204, f, "DELETE", "kv/data/b", NULL);
    ck_call(200, f, "LIST", "kv/metadata/", NULL);
    ck_at(f, "data.keys", "[\"B\",\"a\",\"a/\",\"b\"]");
    ck_call(200, f, "LIST", "kv/detailed-metadata/a/", NULL);
    ck_at(f, "data.keys", "[\"x\",\"y/\"]");
    ck_at(f, "data.key_info.x.current_version", "1");
    ck_at(f, "data.key_info.y/", "");
}
END_TEST

START_TEST(config_keeps_what_is_not_named)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    ck_call(200, f, "GET", "kv/config", NULL);
    ck_at(f, "data", "{\"cas_required\":false,\"delete_version_after\":\"0s\",\"max_versions\":0}");
    ck_call(204, f, "POST", "kv/config",
            "{\"max_versions\":7,\"cas_required\":true,\"delete_version_after\":\"30m\"}");
    ck_call(204, f, "POST", "kv/config", "{\"max_versions\":8}");
    ck_call(200, f, "GET", "kv/config", NULL);
    ck_at(f, "data",
          "{\"cas_required\":true,\"delete_version_after\":\"30m0s\",\"max_versions\":8}");
    ck_call(400, f, "POST", "kv/config", "{\"max_versions\":\"many\"}");
    ck_call(400, f, "POST", "kv/config", "{\"cas_required\":\"maybe\"}");
}
END_TEST

/* Two mounts never see each other's secrets, and a disabled one leaves nothing behind. */
START_TEST(mounts_are_apart)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    ck_call(204, f, "POST", "sys/mounts/other", "{\"type\":\"kv-v2\"}");
    ck_call(200, f, "POST", "kv/data/a", "{\"data\":{\"v\":1}}");
    ck_call(404, f, "GET", "other/data/a", NULL);
    ck_call(404, f, "LIST", "other/metadata/", NULL);
    ck_call(204, f, "DELETE", "sys/mounts/kv", NULL);
    ck_call(204, f, "POST", "sys/mounts/kv", "{\"type\":\"kv-v2\"}");
    ck_call(404, f, "GET", "kv/data/a", NULL);
}
END_TEST

TEST_MAIN("node/engines/kv_metadata", metadata_without_a_version, patch_merges_and_null_resets,
          custom_metadata_is_bounded, lists, config_keeps_what_is_not_named, mounts_are_apart)
