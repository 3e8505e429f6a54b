/* tests/unit/tools/test_admin.c: scan, audit, namespace, rekey, auth, monitor, version-history: what is
 * sent, texts and exit codes. */
#include <sys/stat.h>
#include <unistd.h>

#include "fake_server.h"
#include "node/base/memory.h"
#include "runner.h"
#include "test.h"

#define SENT(text) ck_assert_ptr_nonnull(strstr(fake_server_last(server), text))

START_TEST(scans)
{
    set_up();
    fake_server_answer(server, "GET /v1/k?scan=true", 200,
                       "{\"data\":{\"keys\":[\"a\",\"b/c\"]},\"warnings\":null}", NULL);
    fake_server_answer(server, "GET /v1/none?scan=true&limit=3", 404, "{\"errors\":[]}", NULL);
    ck_assert_int_eq(RUN("scan", "k"), 0);
    ck_assert_str_eq(out, "Keys\n----\na\nb/c\n");
    ck_assert_int_eq(RUN("scan", "-limit=3", "none"), 2);
    ck_assert_str_eq(err, "No value found at none\n");
    ck_assert_int_eq(RUN("scan"), 1);
    tear_down();
}
END_TEST

START_TEST(audit_devices)
{
    set_up();
    fake_server_answer(server, "GET /v1/sys/audit", 200, "{\"data\":{}}", NULL);
    ck_assert_int_eq(RUN("audit", "list"), 2);
    ck_assert_str_eq(out, "No audit devices are enabled.\n");
    ck_assert_int_eq(RUN("audit", "list", "-format=json"), 0);
    fake_server_answer(server, "GET /v1/sys/audit", 200,
                       "{\"data\":{\"file/\":{\"type\":\"file\",\"description\":\"\",\"local\":true,"
                       "\"options\":{\"file_path\":\"/x\"}}}}",
                       NULL);
    ck_assert_int_eq(RUN("audit", "list"), 0);
    ck_assert_str_eq(out, "Path     Type    Description\n----     ----    -----------\n"
                          "file/    file    n/a\n");
    ck_assert_int_eq(RUN("audit", "list", "-detailed"), 0);
    ck_assert_ptr_nonnull(strstr(out, "local          file_path=/x\n"));
    fake_server_answer(server, "PUT /v1/sys/audit/to-file", 204, "", NULL);
    ck_assert_int_eq(
        RUN("audit", "enable", "-path=to-file", "-local", "file", "file_path=/var/log/a"), 0);
    ck_assert_str_eq(out, "Success! Enabled the file audit device at: to-file/\n");
    SENT("{\"type\":\"file\",\"description\":\"\",\"options\":{\"file_path\":\"/var/log/a\"},"
         "\"local\":true}");
    ck_assert_int_eq(RUN("audit", "enable"), 1);
    ck_assert_ptr_nonnull(strstr(err, "'file', 'socket' and 'syslog'"));
    ck_assert_int_eq(RUN("audit", "enable", "file", "nothing"), 1);
    fake_server_answer(server, "DELETE /v1/sys/audit/to-file", 204, "", NULL);
    ck_assert_int_eq(RUN("audit", "disable", "to-file/"), 0);
    ck_assert_str_eq(out, "Success! Disabled audit device (if it was enabled) at: to-file/\n");
    tear_down();
}
END_TEST

START_TEST(namespaces)
{
    set_up();
    fake_server_answer(server, "GET /v1/sys/namespaces?list=true", 404, "{\"errors\":[]}", NULL);
    ck_assert_int_eq(RUN("namespace", "list"), 2);
    ck_assert_str_eq(err, "No namespaces found\n");
    ck_assert_int_eq(RUN("namespace", "list", "-format=json"), 2);
    ck_assert_str_eq(out, "{}\n");
    fake_server_answer(server, "GET /v1/sys/namespaces?scan=true", 200,
                       "{\"data\":{\"keys\":[\"a/\",\"a/b/\"],\"key_info\":{\"a/\":{\"id\":\"x\"}}}}",
                       NULL);
    ck_assert_int_eq(RUN("namespace", "scan"), 0);
    ck_assert_str_eq(out, "Keys\n----\na/\na/b/\n");
    ck_assert_int_eq(RUN("namespace", "scan", "-detailed", "-format=json"), 0);
    ck_assert_ptr_nonnull(strstr(out, "\"id\": \"x\""));
    fake_server_answer(server, "PUT /v1/sys/namespaces/a", 200,
                       "{\"data\":{\"id\":\"abc\",\"path\":\"a/\"}}", NULL);
    ck_assert_int_eq(RUN("namespace", "create", "-custom-metadata=k=v", "a/"), 0);
    SENT("{\"custom_metadata\":{\"k\":\"v\"}}");
    ck_assert_int_eq(RUN("namespace", "create", "-field=path", "a"), 0);
    ck_assert_str_eq(out, "a/");
    fake_server_answer(server, "PATCH /v1/sys/namespaces/a", 200, "{\"data\":{\"id\":\"abc\"}}", NULL);
    ck_assert_int_eq(RUN("namespace", "patch", "-custom-metadata=k=w", "-remove-custom-metadata=o",
                         "a"),
                     0);
    SENT("{\"custom_metadata\":{\"k\":\"w\",\"o\":null}}");
    fake_server_answer(server, "PATCH /v1/sys/namespaces/z", 404, "{\"errors\":[]}", NULL);
    ck_assert_int_eq(RUN("namespace", "patch", "z"), 2);
    ck_assert_str_eq(err, "Namespace not found\n");
    fake_server_answer(server, "GET /v1/sys/namespaces/z", 404, "{\"errors\":[]}", NULL);
    ck_assert_int_eq(RUN("namespace", "lookup", "z"), 2);
    ck_assert_str_eq(err, "Namespace not found\n");
    fake_server_answer(server, "DELETE /v1/sys/namespaces/a", 204, "", NULL);
    ck_assert_int_eq(RUN("namespace", "delete", "a"), 0);
    ck_assert_str_eq(out, "Success! Namespace deleted at: a/\n");
    fake_server_answer(server, "PUT /v1/sys/namespaces/api-lock/lock/a", 200,
                       "{\"data\":{\"unlock_key\":\"uk\"}}", NULL);
    ck_assert_int_eq(RUN("namespace", "lock", "a"), 0);
    ck_assert_ptr_nonnull(strstr(out, "Unlock Key: uk\n"));
    fake_server_answer(server, "PUT /v1/sys/namespaces/api-lock/unlock", 204, "", NULL);
    ck_assert_int_eq(RUN("namespace", "unlock", "-unlock-key=uk"), 0);
    SENT("{\"unlock_key\":\"uk\"}");
    ck_assert_str_eq(out, "Namespace unlocked successfully!\n");
    tear_down();
}
END_TEST

START_TEST(rekey_goes_share_by_share)
{
    char path[128];
    char flag[320];
    set_up();
    fake_server_answer(server, "GET /v1/sys/rekey/init", 200, "{\"started\":false}", NULL);
    ck_assert_int_eq(RUN("operator", "rekey", "share"), 1);
    ck_assert_ptr_nonnull(strstr(err, "No rekey is in progress"));
    (void)snprintf(path, sizeof(path), "%s/file", home);
    FILE *file = fopen(path, "we");
    (void)fputs("-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: 1\n\nQUJD\nREVG\n=abcd\n"
                "-----END PGP PUBLIC KEY BLOCK-----\n",
                file);
    (void)fclose(file);
    (void)snprintf(flag, sizeof(flag), "-pgp-keys=%s,@%s", path, path);
    fake_server_answer(server, "PUT /v1/sys/rekey/init", 200,
                       "{\"nonce\":\"n1\",\"started\":true,\"t\":2,\"n\":3,\"progress\":0,"
                       "\"required\":2}",
                       NULL);
    ck_assert_int_eq(RUN("operator", "rekey", "-init", "-n=2", "-t=2", "-verify", flag), 0);
    SENT("{\"secret_shares\":2,\"secret_threshold\":2,\"backup\":false,"
         "\"require_verification\":true,\"pgp_keys\":[\"QUJDREVG\",\"QUJDREVG\"]}");
    ck_assert_ptr_nonnull(strstr(out, "Nonce                    n1\n"));
    ck_assert_ptr_nonnull(strstr(out, "Rekey Progress           0/2\n"));
    ck_assert_int_eq(RUN("operator", "rekey", "-init", "-pgp-keys=/nonexistent"), 1);
    fake_server_answer(server, "GET /v1/sys/rekey/init", 200,
                       "{\"nonce\":\"n1\",\"started\":true,\"t\":2,\"n\":3,\"progress\":1,"
                       "\"required\":2}",
                       NULL);
    fake_server_answer(server, "PUT /v1/sys/rekey/update", 200, "{\"complete\":false}", NULL);
    ck_assert_int_eq(RUN("operator", "rekey", "share"), 1);
    ck_assert_str_eq(err, "Missing nonce value: specify it via the -nonce flag\n");
    ck_assert_int_eq(RUN("operator", "rekey", "-nonce=n1", "share"), 0);
    ck_assert_ptr_nonnull(strstr(out, "Rekey Progress           1/2\n"));
    fake_server_answer(server, "PUT /v1/sys/rekey/update", 200,
                       "{\"complete\":true,\"nonce\":\"n1\",\"keys\":[\"00\",\"01\"],"
                       "\"keys_base64\":[\"AA==\",\"AQ==\"]}",
                       NULL);
    ck_assert_int_eq(
        run_with("share2\n", (const char *const[]){"operator", "rekey", "-nonce=n1", "-", NULL}), 0);
    SENT("{\"key\":\"share2\",\"nonce\":\"n1\"}");
    ck_assert_ptr_nonnull(strstr(out, "Key 1: AA==\nKey 2: AQ==\n\nOperation nonce: n1\n"));
    ck_assert_ptr_nonnull(
        strstr(out, "Vault unseal keys rekeyed with 3 key shares and a key threshold of 2."));
    fake_server_answer(server, "DELETE /v1/sys/rekey-recovery-key/init", 204, "", NULL);
    ck_assert_int_eq(RUN("operator", "rekey", "-cancel", "-target=recovery"), 0);
    ck_assert_str_eq(out, "Success! Canceled rekeying (if it was started)\n");
    ck_assert_int_eq(RUN("operator", "rekey", "-status", "-target=moon"), 1);
    fake_server_answer(server, "DELETE /v1/sys/rekey/backup", 204, "", NULL);
    ck_assert_int_eq(RUN("operator", "rekey", "-backup-delete"), 0);
    tear_down();
}
END_TEST

START_TEST(auth_methods)
{
    set_up();
    ck_assert_int_eq(RUN("auth", "help", "userpass"), 0);
    ck_assert_ptr_nonnull(strstr(out, "coffer login -method=userpass username=alice"));
    fake_server_answer(server, "GET /v1/sys/auth", 200,
                       "{\"data\":{\"people/\":{\"type\":\"userpass\"},\"oidc/\":{\"type\":\"jwt\"}}}",
                       NULL);
    ck_assert_int_eq(RUN("auth", "help", "people"), 0);
    ck_assert_ptr_nonnull(strstr(out, "-method=userpass"));
    ck_assert_int_eq(RUN("auth", "help", "oidc/"), 2);
    ck_assert_int_eq(RUN("auth", "help", "nothing"), 1);
    ck_assert_str_eq(err, "No auth method available on the server at \"nothing/\"\n");
    fake_server_answer(server, "POST /v1/sys/remount", 200, "{\"data\":{\"migration_id\":\"m\"}}",
                       NULL);
    fake_server_answer(server, "GET /v1/sys/remount/status/m", 200,
                       "{\"data\":{\"migration_info\":{\"status\":\"success\"}}}", NULL);
    ck_assert_int_eq(RUN("auth", "move", "auth/people", "staff"), 0);
    ck_assert_str_eq(out, "Started moving auth method auth/people/ to staff/, with migration ID m\n"
                          "Success! Finished moving auth method auth/people/ to staff/, with "
                          "migration ID m\n");
    tear_down();
}
END_TEST

START_TEST(monitor_and_versions)
{
    set_up();
    fake_server_answer(server, "GET /v1/sys/monitor?log_level=debug&log_format=standard", 404,
                       "{\"errors\":[]}", NULL);
    ck_assert_int_eq(RUN("monitor", "-log-level=debug"), 2);
    ck_assert_ptr_nonnull(strstr(err, "This server does not stream its log"));
    fake_server_answer(server, "GET /v1/sys/monitor?log_level=info&log_format=json", 200,
                       "{\"@message\":\"x\"}\n", NULL);
    ck_assert_int_eq(RUN("monitor", "-log-format=json"), 0);
    ck_assert_str_eq(out, "{\"@message\":\"x\"}\n");
    ck_assert_int_eq(RUN("monitor", "-log-level=loud"), 1);
    fake_server_answer(server, "GET /v1/sys/version-history?list=true", 200,
                       "{\"data\":{\"keys\":[\"1.0.0\"],\"key_info\":{\"1.0.0\":{"
                       "\"timestamp_installed\":\"T\",\"build_date\":\"B\"}}}}",
                       NULL);
    ck_assert_int_eq(RUN("version-history"), 0);
    ck_assert_str_eq(out, "Version    Installation Time    Build Date\n"
                          "-------    -----------------    ----------\n"
                          "1.0.0      T                    B\n");
    tear_down();
}
END_TEST

TEST_MAIN("tools/admin", scans, audit_devices, namespaces, rekey_goes_share_by_share, auth_methods,
          monitor_and_versions)
