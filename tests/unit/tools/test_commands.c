/* tests/unit/tools/test_commands.c: commands against a server within the test: exit codes, texts,
 * what is sent. */
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_server.h"
#include "runner.h"
#include "node/base/memory.h"
#include "test.h"
#include "tools/tools.h"

START_TEST(reads)
{
    set_up();
    fake_server_answer(server, "GET /v1/k/a", 200,
                       "{\"request_id\":\"r\",\"lease_id\":\"\",\"renewable\":false,"
                       "\"lease_duration\":3600,\"data\":{\"n\":1.10,\"ttl\":90,\"a\":\"\"},"
                       "\"warnings\":null,\"auth\":null,\"wrap_info\":null}",
                       NULL);
    ck_assert_int_eq(RUN("read", "/k/a/"), 0);
    ck_assert_str_eq(out, "Key                 Value\n"
                          "---                 -----\n"
                          "refresh_interval    1h\n"
                          "a                   n/a\n"
                          "n                   1.10\n"
                          "ttl                 1m30s\n");
    ck_assert_ptr_nonnull(strstr(fake_server_last(server), "\r\nX-Vault-Token: tok\r\n"));
    ck_assert_int_eq(RUN("read", "-field=n", "k/a"), 0);
    ck_assert_str_eq(out, "1.10");
    ck_assert_int_eq(RUN("read", "-field=zz", "k/a"), 1);
    ck_assert_str_eq(err, "Field \"zz\" not present in secret\n");
    ck_assert_int_eq(RUN("read", "-format=json", "k/a"), 0);
    ck_assert_str_eq(out,
                     "{\n  \"request_id\": \"r\",\n  \"lease_id\": \"\",\n"
                     "  \"lease_duration\": 3600,\n  \"renewable\": false,\n"
                     "  \"data\": {\n    \"a\": \"\",\n    \"n\": 1.10,\n    \"ttl\": 90\n  },\n"
                     "  \"warnings\": null\n}\n");
    tear_down();
}
END_TEST

START_TEST(errors_and_exit_codes)
{
    char want[512];
    set_up();
    fake_server_answer(server, "GET /v1/k/none", 404, "{\"errors\":[]}", NULL);
    fake_server_answer(server, "PUT /v1/k/x", 400, "{\"errors\":[\"first\",\"second\"]}", NULL);
    fake_server_answer(server, "GET /v1/k/html", 500, "<html>", NULL);
    ck_assert_int_eq(RUN("read", "k/none"), 2);
    ck_assert_str_eq(err, "No value found at k/none\n");
    ck_assert_int_eq(RUN("write", "k/x", "a=1"), 2);
    (void)snprintf(want, sizeof(want),
                   "Error writing data to k/x: Error making API request.\n\nURL: PUT %s/v1/k/x\n"
                   "Code: 400. Errors:\n\n* first\n* second\n",
                   fake_server_address(server));
    ck_assert_str_eq(err, want);
    ck_assert_int_eq(RUN("read", "k/html"), 2);
    ck_assert_ptr_nonnull(strstr(err, "Code: 500. Raw Message:\n\n<html>\n"));
    ck_assert_int_eq(RUN("read"), 1);
    ck_assert_str_eq(err, "Not enough arguments (expected 1, got 0)\n");
    ck_assert_int_eq(RUN("write", "k/x"), 1);
    ck_assert_str_eq(err, "Must supply data or use -force\n");
    ck_assert_int_eq(RUN("read", "-zz", "k"), 1);
    ck_assert_int_eq(RUN("read", "-format=xml", "k"), 1);
    ck_assert_int_eq(RUN("nonsense"), 127);
    ck_assert_int_eq(RUN("kv"), 1);
    ck_assert_int_eq(RUN("-help"), 0);
    ck_assert_int_eq(RUN("read", "-help"), 0);
    ck_assert_int_eq(RUN("read", "-address=http://127.0.0.1:1", "x"), 2);
    ck_assert_ptr_nonnull(strstr(err, "Connection refused"));
    tear_down();
}
END_TEST

START_TEST(writes_what_it_was_given)
{
    char path[128];
    char argument[160];
    set_up();
    (void)snprintf(path, sizeof(path), "%s/file", home);
    FILE *file = fopen(path, "we");
    (void)fputs("from \"file\"\n", file);
    (void)fclose(file);
    (void)snprintf(argument, sizeof(argument), "b=@%s", path);
    fake_server_answer(server, "PUT /v1/k/x%20y", 204, "", NULL);
    ck_assert_int_eq(RUN("write", "k/x y", "a=1", "a=2", "c=x=y", argument, "e="), 0);
    ck_assert_str_eq(out, "Success! Data written to: k/x y\n");
    ck_assert_ptr_nonnull(strstr(fake_server_last(server),
                                 "{\"a\":[\"1\",\"2\"],\"c\":\"x=y\","
                                 "\"b\":\"from \\\"file\\\"\\n\",\"e\":\"\"}"));
    ck_assert_int_eq(
        run_with("{\"n\":1.50}", (const char *const[]){"write", "k/x y", "-", "z=1", NULL}), 0);
    ck_assert_ptr_nonnull(strstr(fake_server_last(server), "{\"n\":1.50,\"z\":\"1\"}"));
    ck_assert_int_eq(run_with("[1]", (const char *const[]){"write", "k/x y", "-", NULL}), 1);
    ck_assert_int_eq(run_with("{", (const char *const[]){"write", "k/x y", "-", NULL}), 1);
    ck_assert_int_eq(RUN("write", "k/x y", "novalue"), 1);
    ck_assert_int_eq(RUN("write", "k/x y", "a=@/nonexistent"), 1);
    ck_assert_int_eq(RUN("write", "-f", "-wrap-ttl=60s", "-namespace=ns", "k/x y"), 0);
    ck_assert_ptr_nonnull(strstr(fake_server_last(server), "X-Vault-Wrap-TTL: 60s\r\n"));
    ck_assert_ptr_nonnull(strstr(fake_server_last(server), "X-Vault-Namespace: ns\r\n"));
    tear_down();
}
END_TEST

START_TEST(lists_and_deletes)
{
    set_up();
    fake_server_answer(server, "GET /v1/k?list=true", 200,
                       "{\"data\":{\"keys\":[\"a\",\"b/\"]},\"warnings\":null}", NULL);
    fake_server_answer(server, "GET /v1/none?list=true", 404, "{\"errors\":[]}", NULL);
    fake_server_answer(server, "DELETE /v1/k/a", 204, "", NULL);
    ck_assert_int_eq(RUN("list", "k"), 0);
    ck_assert_str_eq(out, "Keys\n----\na\nb/\n");
    ck_assert_int_eq(RUN("list", "-format=json", "k"), 0);
    ck_assert_str_eq(out, "[\n  \"a\",\n  \"b/\"\n]\n");
    ck_assert_int_eq(RUN("list", "-format=json", "none"), 2);
    ck_assert_str_eq(out, "{}\n");
    ck_assert_int_eq(RUN("list", "none"), 2);
    ck_assert_str_eq(err, "No value found at none\n");
    ck_assert_int_eq(RUN("delete", "k/a"), 0);
    ck_assert_str_eq(out, "Success! Data deleted (if it existed) at: k/a\n");
    tear_down();
}
END_TEST

START_TEST(status_tells_by_its_exit_code)
{
    set_up();
    fake_server_answer(
        server, "GET /v1/sys/seal-status", 200,
        "{\"type\":\"shamir\",\"initialized\":true,\"sealed\":true,\"t\":2,\"n\":3,"
        "\"progress\":1,\"nonce\":\"x\",\"version\":\"1\",\"storage_type\":\"raft\"}",
        NULL);
    fake_server_answer(server, "GET /v1/sys/leader", 503, "{\"errors\":[\"Vault is sealed\"]}",
                       NULL);
    ck_assert_int_eq(RUN("status"), 2);
    ck_assert_ptr_nonnull(strstr(out, "Unseal Progress    1/2\n"));
    ck_assert_ptr_nonnull(strstr(out, "HA Enabled         true\n"));
    ck_assert_int_eq(RUN("status", "-address=http://127.0.0.1:1"), 1);
    tear_down();
}
END_TEST

START_TEST(strange_answers)
{
    static const char *const bodies[] = {"",
                                         "[]",
                                         "<html>",
                                         "null",
                                         "{\"data\":[1]}",
                                         "{\"data\":{\"keys\":{}}}",
                                         "{\"data\":7,\"auth\":1}"};
    set_up();
    for (size_t i = 0; i < CF_LENGTH(bodies); i++) {
        fake_server_answer(server, "GET /v1/sys/seal-status", 200, bodies[i], NULL);
        fake_server_answer(server, "GET /v1/auth/token/lookup-self", 200, bodies[i], NULL);
        fake_server_answer(server, "GET /v1/x", 200, bodies[i], NULL);
        fake_server_answer(server, "GET /v1/x?list=true", 200, bodies[i], NULL);
        ck_assert_int_ne(RUN("status"), 127);
        (void)RUN("login", "-no-store", "root");
        (void)RUN("read", "x");
        ck_assert_int_ne(RUN("list", "x"), 0);
        (void)RUN("kv", "get", "x");
    }
    tear_down();
}
END_TEST

START_TEST(tries_again_when_the_server_is_busy)
{
    set_up();
    fake_server_answer(server, "GET /v1/k/busy", 503, "{\"errors\":[\"no active node\"]}", NULL);
    fake_server_answer(server, "GET /v1/k/busy", 200, "{\"data\":{\"a\":\"1\"}}", NULL);
    ck_assert_int_eq(RUN("read", "-field=a", "k/busy"), 0);
    ck_assert_uint_eq(fake_server_count(server), 2);
    /* A sealed server stays sealed, and a write whose outcome is unknown is not sent twice. */
    fake_server_answer(server, "GET /v1/k/sealed", 503, "{\"errors\":[\"Vault is sealed\"]}", NULL);
    fake_server_answer(server, "PUT /v1/k/unknown", 504, "{\"errors\":[\"outcome unknown\"]}",
                       NULL);
    ck_assert_int_eq(RUN("read", "k/sealed"), 2);
    ck_assert_uint_eq(fake_server_count(server), 3);
    ck_assert_int_eq(RUN("write", "k/unknown", "a=1"), 2);
    ck_assert_uint_eq(fake_server_count(server), 4);
    tear_down();
}
END_TEST

START_TEST(follows_one_redirect)
{
    char location[128];
    set_up();
    (void)snprintf(location, sizeof(location), "%s/v1/k/there", fake_server_address(server));
    fake_server_answer(server, "PUT /v1/k/here", 307, "", location);
    fake_server_answer(server, "PUT /v1/k/there", 204, "", NULL);
    ck_assert_int_eq(RUN("write", "k/here", "a=1"), 0);
    ck_assert_ptr_nonnull(strstr(fake_server_last(server), "PUT /v1/k/there "));
    ck_assert_ptr_nonnull(strstr(fake_server_last(server), "{\"a\":\"1\"}"));
    fake_server_answer(server, "PUT /v1/k/loop", 307, "", "ftp://127.0.0.1/x");
    ck_assert_int_eq(RUN("write", "k/loop", "a=1"), 2);
    tear_down();
}
END_TEST

START_TEST(login_keeps_the_token)
{
    char path[128];
    char text[64] = {0};
    struct stat info;
    set_up();
    (void)unsetenv("VAULT_TOKEN");
    fake_server_answer(server, "PUT /v1/auth/userpass/login/bob", 200,
                       "{\"auth\":{\"client_token\":\"s.new\",\"policies\":[\"default\"],"
                       "\"token_policies\":[\"default\"],\"lease_duration\":60}}",
                       NULL);
    ck_assert_int_eq(
        run_with("pw\n", (const char *const[]){"login", "-method=userpass", "username=bob", NULL}),
        0);
    ck_assert_ptr_nonnull(strstr(fake_server_last(server), "{\"password\":\"pw\"}"));
    (void)snprintf(path, sizeof(path), "%s/.vault-token", home);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
    (void)fclose(file);
    ck_assert_str_eq(text, "s.new");
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0600);
    ck_assert_int_eq(RUN("print", "token"), 0);
    ck_assert_str_eq(out, "s.new\n");
    ck_assert_int_eq(RUN("login", "-token-only", "-method=userpass", "username=bob", "password=p"),
                     0);
    ck_assert_str_eq(out, "s.new");
    tear_down();
}
END_TEST

START_TEST(kv_asks_for_the_version_first)
{
    set_up();
    fake_server_answer(server, "GET /v1/sys/internal/ui/mounts/team/kv/a/b", 200,
                       "{\"data\":{\"path\":\"team/kv/\",\"options\":{\"version\":\"2\"}}}", NULL);
    fake_server_answer(server, "PUT /v1/team/kv/data/a/b", 200,
                       "{\"data\":{\"version\":1,\"destroyed\":false}}", NULL);
    ck_assert_int_eq(RUN("kv", "put", "-cas=0", "team/kv/a/b", "x=1"), 0);
    ck_assert_ptr_nonnull(
        strstr(fake_server_last(server), "{\"data\":{\"x\":\"1\"},\"options\":{\"cas\":0}}"));
    ck_assert_str_eq(out, "== Secret Path ==\nteam/kv/data/a/b\n\n"
                          "==== Metadata ====\n"
                          "Key          Value\n"
                          "---          -----\n"
                          "destroyed    false\n"
                          "version      1\n");
    fake_server_answer(server, "GET /v1/sys/internal/ui/mounts/k1/a", 200,
                       "{\"data\":{\"path\":\"k1/\",\"options\":null}}", NULL);
    fake_server_answer(server, "PUT /v1/k1/a", 204, "", NULL);
    ck_assert_int_eq(RUN("kv", "put", "k1/a", "x=1"), 0);
    ck_assert_str_eq(out, "Success! Data written to: k1/a\n");
    ck_assert_int_eq(RUN("kv", "undelete", "-versions=1", "k1/a"), 1);
    ck_assert_str_eq(err, "Undelete not supported on KV Version 1\n");
    tear_down();
}
END_TEST

START_TEST(the_ceremony_decodes)
{
    set_up();
    /* "s.token" XOR "ABCDEFG" */
    ck_assert_int_eq(RUN("operator", "generate-root", "-decode=MmwyKytJIw==", "-otp=ABC"), 1);
    ck_assert_int_eq(RUN("operator", "generate-root", "-decode=MmwtIyo="), 1);
    ck_assert_str_eq(err, "Missing otp: use -otp to supply it\n");
    ck_assert_int_eq(RUN("operator", "generate-root", "-decode=MmwwKw==", "-otp=ABCD"), 0);
    ck_assert_str_eq(out, "s.so");
    tear_down();
}
END_TEST

START_TEST(imports_and_compares)
{
    char path[128];
    set_up();
    (void)snprintf(path, sizeof(path), "%s/file", home);
    FILE *file = fopen(path, "we");
    for (int i = 0; i < 200; i++) {
        (void)fprintf(file, "{\"path\":\"p%d\",\"data\":{\"n\":%d.50,\"t\":\"\xc3\xbc\"}}\n", i, i);
    }
    (void)fclose(file);
    ck_assert_int_eq(RUN("import", "-mount=kv", "-parallel=4", path, "-quiet"), 0);
    ck_assert_ptr_nonnull(strstr(out, "Imported 200 secrets into kv/"));
    ck_assert_int_eq(RUN("import", "-verify", "-mount=kv", "-quiet", path), 0);
    ck_assert_ptr_nonnull(strstr(out, "200 keys: 200 equal, 0 missing, 0 different, 0 extra"));
    /* One more on the server, one less, one changed. */
    file = fopen(path, "ae");
    (void)fputs("{\"path\":\"absent\",\"data\":{}}\n{\"path\":\"p7\",\"data\":{\"n\":7.5}}\n",
                file);
    (void)fclose(file);
    ck_assert_int_eq(RUN("import", "-verify", "-mount=kv", "-quiet", path), 2);
    ck_assert_ptr_nonnull(strstr(out, "201 keys: 199 equal, 1 missing, 1 different, 0 extra"));
    ck_assert_ptr_nonnull(strstr(err, "missing: absent\n"));
    ck_assert_ptr_nonnull(strstr(err, "different: p7\n"));
    file = fopen(path, "we");
    (void)fputs("{\"path\":\"p0\",\"data\":{\"t\":\"\\u00fc\",\"n\":0.50}}\n", file);
    (void)fclose(file);
    ck_assert_int_eq(RUN("import", "-check", "-mount=kv", "-quiet", "-show=1", path), 2);
    ck_assert_ptr_nonnull(strstr(out, "1 keys: 1 equal, 0 missing, 0 different, 199 extra"));
    ck_assert_int_eq(RUN("import", "-mount=nothing", "-quiet", path), 2);
    ck_assert_int_eq(RUN("import", "-mount=kv", "-quiet", "/nonexistent"), 1);
    ck_assert_int_eq(RUN("import", "-mount=kv", "-parallel=0", path), 1);
    /* Two clusters without a file: the second with the first. */
    const char *address = fake_server_address(server);
    ck_assert_int_eq(RUN("import", "-verify", "-mount=kv", "-quiet", "-address", address, "-token",
                         "a", "-address", address, "-token", "b"),
                     0);
    tear_down();
}
END_TEST

START_TEST(bench_counts)
{
    set_up();
    fake_server_answer(server, "GET /v1/sys/health", 200, "{}", NULL);
    ck_assert_int_eq(RUN("bench", "-count=50", "-connections=3", "-format=json", "health"), 0);
    ck_assert_ptr_nonnull(strstr(out, "\"operations\": 50"));
    ck_assert_ptr_nonnull(strstr(out, "\"errors\": 0"));
    ck_assert_int_eq(RUN("bench", "-count=3", "token-lookup"), 2);
    ck_assert_ptr_nonnull(strstr(err, "HTTP 404"));
    ck_assert_int_eq(RUN("bench", "nothing"), 1);
    ck_assert_int_eq(RUN("bench", "-count=3", "-dir", home, "disk"), 0);
    ck_assert_int_eq(RUN("bench", "-kill-leader", "failover"), 1);
    ck_assert_ptr_nonnull(strstr(err, "-servers=ADDRESS=PID"));
    ck_assert_int_eq(RUN("bench", "-step-down", "failover"), 1);
    ck_assert_int_eq(RUN("bench", "-terminate", "failover"), 1);
    ck_assert_int_eq(
        RUN("bench", "-terminate", "-step-down", "-servers=999999", "failover"), 1);
    ck_assert_ptr_nonnull(strstr(err, "at a time"));
    tear_down();
}
END_TEST

TEST_MAIN("tools/commands", reads, errors_and_exit_codes, writes_what_it_was_given,
          lists_and_deletes, status_tells_by_its_exit_code, strange_answers,
          tries_again_when_the_server_is_busy, follows_one_redirect, login_keeps_the_token,
          kv_asks_for_the_version_first, the_ceremony_decodes, imports_and_compares, bench_counts)
