/* tests/unit/node/engines/test_kv_data.c: versions of secrets: write, read, merge, delete, prune.
 */
#include "kv_help.h"

START_TEST(versions_count_up_and_stay_readable)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    for (int i = 1; i <= 3; i++) {
        char body[64];
        (void)snprintf(body, sizeof(body), "{\"data\":{\"v\":%d}}", i);
        ck_call(200, f, "POST", "kv/data/a/b", body);
        (void)snprintf(body, sizeof(body), "%d", i);
        ck_at(f, "data.version", body);
    }
    ck_call(200, f, "GET", "kv/data/a/b", NULL);
    ck_at(f, "data.data.v", "3");
    ck_at(f, "data.metadata.version", "3");
    ck_at(f, "data.metadata.custom_metadata", "null");
    ck_at(f, "data.metadata.deletion_time", "");
    ck_call(200, f, "GET", "kv/data/a/b?version=1", NULL);
    ck_at(f, "data.data.v", "1");
    ck_call(200, f, "GET", "kv/data/a/b?version=0", NULL);
    ck_at(f, "data.data.v", "3");
    ck_call(404, f, "GET", "kv/data/a/b?version=4", NULL);
    ck_at(f, "errors", "[]");
    ck_call(404, f, "GET", "kv/data/a/b?version=-1", NULL);
    ck_call(400, f, "GET", "kv/data/a/b?version=x", NULL);
    ck_call(404, f, "GET", "kv/data/a", NULL);
    ck_at(f, "errors", "[]");
}
END_TEST

/* Digits, exponents and signs of zero are the user's: nothing passes through a double. */
START_TEST(numbers_and_nesting_come_back)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    ck_call(200, f, "POST", "kv/data/n",
            "{\"data\":{\"big\":123456789012345678901234567890,\"e\":1e400,\"f\":1.10,\"z\":-0,"
            "\"n\":null,\"l\":[1,[],{}],\"u\":\"\\u0000\\ud83d\\ude00\"}}");
    ck_call(200, f, "GET", "kv/data/n", NULL);
    ck_at(f, "data.data.big", "123456789012345678901234567890");
    ck_at(f, "data.data.e", "1e400");
    ck_at(f, "data.data.f", "1.10");
    ck_at(f, "data.data.z", "-0");
    ck_at(f, "data.data.n", "null");
    ck_at(f, "data.data.l", "[1,[],{}]");
    ck_call(200, f, "PATCH", "kv/data/n", "{\"data\":{\"more\":2.50}}");
    ck_call(200, f, "GET", "kv/data/n", NULL);
    ck_at(f, "data.data.e", "1e400");
    ck_at(f, "data.data.more", "2.50");
}
END_TEST

/* Data beyond the inline limit lies in a record of its own; every mix of sizes reads back. */
START_TEST(large_and_small_versions_mix)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    static const size_t sizes[] = {10, 5000, 20, 4096, 100000, 4000, 1};
    for (size_t i = 0; i < CF_LENGTH(sizes); i++) {
        CF_BUF(body) = {0};
        cf_buf_addf(&body, "{\"data\":{\"n\":%zu,\"fill\":\"", sizes[i]);
        for (size_t k = 0; k < sizes[i]; k++) {
            cf_buf_add_byte(&body, 'x');
        }
        cf_buf_add_str(&body, "\"}}");
        ck_call(200, f, "POST", "kv/data/mix", cf_buf_text(&body));
    }
    for (size_t i = 0; i < CF_LENGTH(sizes); i++) {
        const struct json *answer;
        char path[64], want[32];
        (void)snprintf(path, sizeof(path), "kv/data/mix?version=%zu", i + 1);
        (void)snprintf(want, sizeof(want), "%zu", sizes[i]);
        ck_assert_int_eq(fixture_call(f, NULL, "GET", path, NULL, &answer), 200);
        ck_at(f, "data.data.n", want);
        const struct json *data = json_get(json_get(answer, "data"), "data");
        ck_assert_uint_eq(json_get_string(data, "fill").size, sizes[i]);
    }
}
END_TEST

START_TEST(writes_are_refused_whole)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    static const char *const bodies[] = {
        "{}",
        "{\"x\":1}",
        "{\"data\":null}",
        "{\"data\":[]}",
        "{\"data\":\"text\"}",
        "{\"data\":{},\"options\":7}",
        "{\"data\":{},\"options\":{\"cas\":\"x\"}}",
        "{\"data\":{},\"options\":{\"cas\":\"\"}}",
        "{\"data\":{},\"options\":{\"cas\":-1}}",
        "{\"data\":{},\"options\":{\"cas\":1.5}}",
        "{\"data\":{},\"options\":{\"cas\":{}}}",
        "{\"data\":{},\"options\":{\"cas\":99999999999999999999}}",
    };
    uint64_t index = fixture_index(f);
    for (size_t i = 0; i < CF_LENGTH(bodies); i++) {
        int status = fixture_call(f, NULL, "POST", "kv/data/bad", bodies[i], NULL);
        ck_assert_msg(status == 400, "%s: %d", bodies[i], status);
    }
    ck_assert_uint_eq(fixture_index(f), index);
    ck_call(404, f, "GET", "kv/metadata/bad", NULL);
    ck_call(200, f, "POST", "kv/data/empty", "{\"data\":{}}");
    ck_call(200, f, "GET", "kv/data/empty", NULL);
    ck_at(f, "data.data", "{}");
}
END_TEST

START_TEST(a_path_has_a_longest)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    char path[5000] = "kv/data/";
    memset(path + 8, 'p', 3840);
    path[8 + 3840] = '\0';
    ck_call(200, f, "POST", path, "{\"data\":{\"v\":1}}");
    ck_call(200, f, "POST", path, "{\"data\":{\"v\":2}}");
    ck_call(200, f, "GET", path, NULL);
    path[8 + 3840] = 'p';
    path[8 + 3841] = '\0';
    ck_call(400, f, "POST", path, "{\"data\":{\"v\":1}}");
    ck_call(400, f, "GET", path, NULL);
    ck_call(400, f, "DELETE", path, NULL);
    memcpy(path, "kv/metadata/", 12);
    ck_call(200, f, "LIST", "kv/metadata/", NULL);
}
END_TEST

/* More than a log entry holds is refused; a long list of versions costs one copy of them. */
START_TEST(sizes_are_bounded)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    CF_BUF(body) = {0};
    cf_buf_add_str(&body, "{\"data\":{\"first\":1");
    for (int i = 0; i < 10; i++) {
        cf_buf_addf(&body, ",\"k%d\":\"%0*d\"", i, 900000, 0);
    }
    cf_buf_add_str(&body, "}}");
    ck_call(413, f, "POST", "kv/data/big", cf_buf_text(&body));
    ck_call(404, f, "GET", "kv/metadata/big", NULL);
    ck_call(204, f, "POST", "kv/metadata/many", "{\"max_versions\":2000}");
    for (int i = 0; i < 1000; i++) {
        ck_call(200, f, "POST", "kv/data/many", "{\"data\":{}}");
    }
    cf_buf_reset(&body);
    cf_buf_add_str(&body, "{\"versions\":[1");
    for (int i = 0; i < 9999; i++) {
        cf_buf_addf(&body, ",%d", i % 1000 + 1);
    }
    cf_buf_add_str(&body, "]}");
    ck_call(204, f, "POST", "kv/destroy/many", cf_buf_text(&body));
    ck_call(404, f, "GET", "kv/data/many?version=500", NULL);
    ck_at(f, "data.metadata.destroyed", "true");
    ck_call(204, f, "DELETE", "kv/metadata/many", NULL);
    ck_call(404, f, "GET", "kv/data/many?version=500", NULL);
    ck_at(f, "errors", "[]");
}
END_TEST

START_TEST(check_and_set)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    ck_call(400, f, "POST", "kv/data/c", "{\"options\":{\"cas\":1},\"data\":{}}");
    ck_assert(fixture_error_has(f, "check-and-set parameter did not match the current version"));
    ck_call(200, f, "POST", "kv/data/c", "{\"options\":{\"cas\":0},\"data\":{}}");
    ck_call(400, f, "POST", "kv/data/c", "{\"options\":{\"cas\":0},\"data\":{}}");
    ck_call(200, f, "POST", "kv/data/c", "{\"options\":{\"cas\":\"1\"},\"data\":{}}");
    ck_call(204, f, "DELETE", "kv/data/c", NULL);
    ck_call(400, f, "POST", "kv/data/c", "{\"options\":{\"cas\":0},\"data\":{}}");
    ck_call(200, f, "POST", "kv/data/c", "{\"options\":{\"cas\":2},\"data\":{}}");
    ck_call(204, f, "DELETE", "kv/metadata/c", NULL);
    ck_call(200, f, "POST", "kv/data/c", "{\"options\":{\"cas\":0},\"data\":{}}");
    ck_at(f, "data.version", "1"); /* counting starts anew */
    ck_call(204, f, "POST", "kv/config", "{\"cas_required\":true}");
    ck_call(400, f, "POST", "kv/data/c", "{\"data\":{}}");
    ck_assert(fixture_error_has(f, "check-and-set parameter required for this call"));
    ck_call(400, f, "PATCH", "kv/data/c", "{\"data\":{}}");
    ck_call(200, f, "PATCH", "kv/data/c", "{\"data\":{},\"options\":{\"cas\":1}}");
}
END_TEST

START_TEST(merge_patch)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    ck_call(404, f, "PATCH", "kv/data/m", "{\"data\":{\"x\":1}}");
    ck_call(200, f, "POST", "kv/data/m",
            "{\"data\":{\"x\":1,\"y\":{\"a\":1,\"b\":2},\"l\":[1,2]}}");
    ck_call(200, f, "PATCH", "kv/data/m",
            "{\"data\":{\"x\":null,\"y\":{\"b\":null,\"c\":3},\"l\":[9]}}");
    ck_at(f, "data.version", "2");
    ck_call(200, f, "GET", "kv/data/m", NULL);
    ck_at(f, "data.data", "{\"l\":[9],\"y\":{\"a\":1,\"c\":3}}");
    ck_call(400, f, "PATCH", "kv/data/m", "{\"q\":1}");
    ck_call(204, f, "DELETE", "kv/data/m", NULL);
    ck_call(404, f, "PATCH", "kv/data/m", "{\"data\":{\"q\":1}}");
    ck_at(f, "data.version", "2");
    ck_call(404, f, "GET", "kv/data/m", NULL);
    ck_at(f, "data.data", "null");
}
END_TEST

START_TEST(delete_undelete_destroy)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    for (int i = 0; i < 3; i++) {
        ck_call(200, f, "POST", "kv/data/d", "{\"data\":{\"v\":1}}");
    }
    ck_call(204, f, "DELETE", "kv/data/d", NULL);
    ck_call(404, f, "GET", "kv/data/d", NULL);
    ck_at(f, "data.data", "null");
    ck_at(f, "data.metadata.version", "3");
    ck_assert_str_ne(fixture_at(f, "data.metadata.deletion_time"), "");
    uint64_t index = fixture_index(f);
    ck_call(204, f, "DELETE", "kv/data/d", NULL);
    ck_call(204, f, "DELETE", "kv/data/none", NULL);
    ck_call(204, f, "POST", "kv/delete/none", "{\"versions\":[1]}");
    ck_call(204, f, "POST", "kv/delete/d", "{\"versions\":[77]}");
    ck_assert_uint_eq(fixture_index(f), index); /* what changes nothing writes nothing */
    ck_call(204, f, "POST", "kv/undelete/d", "{\"versions\":\"3\"}");
    ck_call(200, f, "GET", "kv/data/d", NULL);
    ck_call(204, f, "PUT", "kv/destroy/d", "{\"versions\":[3,\"1\"]}");
    ck_call(404, f, "GET", "kv/data/d", NULL);
    ck_at(f, "data.metadata.destroyed", "true");
    ck_call(204, f, "POST", "kv/undelete/d", "{\"versions\":[1,2,3]}");
    ck_call(404, f, "GET", "kv/data/d?version=1", NULL);
    ck_call(200, f, "GET", "kv/data/d?version=2", NULL);
    ck_call(400, f, "POST", "kv/delete/d", "{}");
    ck_assert(fixture_error_has(f, "No version number provided"));
    ck_call(400, f, "POST", "kv/destroy/d", "{\"versions\":[]}");
    ck_call(400, f, "POST", "kv/delete/d", "{\"versions\":[\"x\"]}");
    ck_call(400, f, "POST", "kv/delete/d", "{\"versions\":[-1]}");
    ck_call(400, f, "POST", "kv/delete/d", "{\"versions\":{}}");
}
END_TEST

START_TEST(old_versions_fall_away)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    for (int i = 0; i < 12; i++) {
        ck_call(200, f, "POST", "kv/data/p", "{\"data\":{\"v\":1}}");
    }
    ck_call(200, f, "GET", "kv/metadata/p", NULL);
    ck_at(f, "data.current_version", "12");
    ck_at(f, "data.oldest_version", "3");
    ck_at(f, "data.versions.2", "");
    ck_assert_str_ne(fixture_at(f, "data.versions.3"), "");
    ck_call(404, f, "GET", "kv/data/p?version=2", NULL);
    ck_at(f, "errors", "[]");
    ck_call(204, f, "POST", "kv/metadata/p", "{\"max_versions\":1}");
    ck_call(200, f, "GET", "kv/data/p?version=3", NULL); /* only a write prunes */
    ck_call(200, f, "POST", "kv/data/p", "{\"data\":{\"v\":2}}");
    ck_call(200, f, "GET", "kv/metadata/p", NULL);
    ck_at(f, "data.oldest_version", "13");
    ck_call(404, f, "GET", "kv/data/p?version=12", NULL);
    ck_call(200, f, "GET", "kv/data/p", NULL);
    ck_at(f, "data.data.v", "2");
    ck_call(200, f, "POST", "kv/data/p", "{\"data\":{\"v\":3}}");
    ck_call(404, f, "GET", "kv/data/p?version=13", NULL);
}
END_TEST

/* The key's span, cut to the mount's; a negative one of the mount switches it off. */
START_TEST(versions_delete_themselves)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    ck_call(204, f, "POST", "kv/metadata/t", "{\"delete_version_after\":\"1h\"}");
    ck_call(200, f, "POST", "kv/data/t", "{\"data\":{\"v\":1}}");
    ck_assert_str_ne(fixture_at(f, "data.deletion_time"), "");
    ck_call(200, f, "GET", "kv/data/t", NULL);
    fixture_advance(f, 3599);
    ck_call(200, f, "GET", "kv/data/t", NULL);
    fixture_advance(f, 2);
    ck_call(404, f, "GET", "kv/data/t", NULL);
    ck_at(f, "data.metadata.version", "1");
    ck_call(204, f, "POST", "kv/undelete/t", "{\"versions\":[1]}");
    ck_call(200, f, "GET", "kv/data/t", NULL);
    ck_call(204, f, "POST", "kv/config", "{\"delete_version_after\":\"1m\"}");
    ck_call(200, f, "POST", "kv/data/t", "{\"data\":{\"v\":2}}");
    fixture_advance(f, 61);
    ck_call(404, f, "GET", "kv/data/t", NULL);
    ck_call(204, f, "POST", "kv/config", "{\"delete_version_after\":\"-1s\"}");
    ck_call(200, f, "POST", "kv/data/t", "{\"data\":{\"v\":3}}");
    ck_at(f, "data.deletion_time", "");
}
END_TEST

START_TEST(subkeys)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    ck_call(200, f, "POST", "kv/data/s",
            "{\"data\":{\"x\":1,\"y\":{\"a\":{\"deep\":[1]},\"b\":2},\"e\":{}}}");
    ck_call(200, f, "GET", "kv/subkeys/s", NULL);
    ck_at(f, "data.subkeys", "{\"e\":null,\"x\":null,\"y\":{\"a\":{\"deep\":null},\"b\":null}}");
    ck_call(200, f, "GET", "kv/subkeys/s?depth=2", NULL);
    ck_at(f, "data.subkeys", "{\"e\":null,\"x\":null,\"y\":{\"a\":null,\"b\":null}}");
    ck_call(400, f, "GET", "kv/subkeys/s?depth=-1", NULL);
    ck_call(404, f, "GET", "kv/subkeys/none", NULL);
    ck_call(204, f, "DELETE", "kv/data/s", NULL);
    ck_call(404, f, "GET", "kv/subkeys/s", NULL);
    ck_at(f, "data.subkeys", "null");
}
END_TEST

START_TEST(wrong_paths_draw_a_hint)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    static const struct {
        const char *operation, *path, *body;
    } calls[] = {{"GET", "kv/a", NULL},       {"PUT", "kv/a", "{\"v\":1}"},
                 {"LIST", "kv/", NULL},       {"DELETE", "kv/a", NULL},
                 {"GET", "kv/data/", NULL},   {"LIST", "kv/data/", NULL},
                 {"GET", "kv/data/a/", NULL}, {"GET", "kv/metadata/", NULL}};
    for (size_t i = 0; i < CF_LENGTH(calls); i++) {
        ck_call(404, f, calls[i].operation, calls[i].path, calls[i].body);
        ck_assert_msg(strstr(fixture_at(f, "warnings.0"), "Invalid path for a versioned K/V") !=
                          NULL,
                      "%s %s: %s", calls[i].operation, calls[i].path, fixture_at(f, "warnings"));
        ck_at(f, "data", "null");
    }
}
END_TEST

TEST_MAIN("node/engines/kv_data", versions_count_up_and_stay_readable,
          numbers_and_nesting_come_back, large_and_small_versions_mix, writes_are_refused_whole,
          a_path_has_a_longest, sizes_are_bounded, check_and_set, merge_patch,
          delete_undelete_destroy, old_versions_fall_away, versions_delete_themselves, subkeys,
          wrong_paths_draw_a_hint)
