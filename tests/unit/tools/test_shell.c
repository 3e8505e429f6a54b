/* tests/unit/tools/test_shell.c: what needs no server, and what must not be in a support bundle:
 * completion, nearest names, policy fmt, -output-policy, debug. */
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_server.h"
#include "node/base/memory.h"
#include "node/format/gzip.h"
#include "node/format/tar.h"
#include "runner.h"
#include "test.h"
#include "tools/commands/debug_redact.h"

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    (void)fputs(text, file);
    (void)fclose(file);
}

static const char *read_text(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    (void)fclose(file);
    return text;
}

START_TEST(names_what_was_meant)
{
    set_up();
    ck_assert_int_eq(RUN("stauts"), 127);
    ck_assert_ptr_nonnull(strstr(err, "Did you mean \"coffer status\"?"));
    ck_assert_int_eq(RUN("kv", "putt", "secret/a"), 127);
    ck_assert_ptr_nonnull(strstr(err, "Did you mean \"coffer kv put\"?"));
    ck_assert_int_eq(RUN("zzzzzzzzzzzz"), 127);
    ck_assert_ptr_null(strstr(err, "Did you mean"));
    ck_assert_int_eq(RUN("read", "-feld=a", "x"), 1);
    ck_assert_ptr_nonnull(strstr(err, "Did you mean -field?"));
    ck_assert_int_eq(RUN("read", "-mfa=x:1", "x"), 1);
    ck_assert_ptr_nonnull(strstr(err, "-mfa is not supported"));
    ck_assert_int_eq(RUN("operator", "diagnose"), 1);
    ck_assert_str_eq(err, "Must specify a configuration file using -config.\n");
    tear_down();
}
END_TEST

START_TEST(policies_without_a_request)
{
    set_up();
    ck_assert_int_eq(RUN("read", "-output-policy", "k/a"), 0);
    ck_assert_str_eq(out, "path \"k/a\" {\n  capabilities = [\"read\"]\n}\n");
    ck_assert_int_eq(RUN("write", "-output-policy", "sys/audit/file", "type=file"), 0);
    ck_assert_str_eq(out,
                     "path \"sys/audit/file\" {\n  capabilities = [\"create\", \"update\", "
                     "\"sudo\"]\n}\n");
    ck_assert_int_eq(RUN("list", "-output-policy", "k"), 0);
    ck_assert_str_eq(out, "path \"k\" {\n  capabilities = [\"list\"]\n}\n");
    ck_assert_int_eq(RUN("status", "-output-policy"), 0);
    ck_assert_uint_eq(fake_server_count(server), 0);
    tear_down();
}
END_TEST

START_TEST(lays_out_policies)
{
    char path[128];
    set_up();
    (void)snprintf(path, sizeof(path), "%s/file", home);
    write_text(path, "# who\npath   \"a/*\"   {\n capabilities=[\"read\",   \"list\"]\n"
                     "min_wrapping_ttl    =  \"1s = {\"  // at least\n\n\n"
                     "allowed_parameters={\n\"x\"=[]\n}\n}\n\n\n");
    ck_assert_int_eq(RUN("policy", "fmt", path), 0);
    ck_assert_ptr_nonnull(strstr(out, "Success! Formatted policy: "));
    ck_assert_str_eq(read_text(path), "# who\n"
                                      "path \"a/*\" {\n"
                                      "  capabilities     = [\"read\", \"list\"]\n"
                                      "  min_wrapping_ttl = \"1s = {\" // at least\n"
                                      "\n"
                                      "  allowed_parameters = {\n"
                                      "    \"x\" = []\n"
                                      "  }\n"
                                      "}\n");
    /* Again changes nothing. */
    char *once = cf_strdup(read_text(path));
    ck_assert_int_eq(RUN("policy", "fmt", path), 0);
    ck_assert_str_eq(read_text(path), once);
    cf_free(once);
    write_text(path, "path \"a\" {");
    ck_assert_int_eq(RUN("policy", "fmt", path), 1);
    ck_assert_str_eq(read_text(path), "path \"a\" {");
    ck_assert_int_eq(RUN("policy", "fmt", "/nonexistent"), 1);
    tear_down();
}
END_TEST

START_TEST(completes)
{
    char path[128];
    set_up();
    ck_assert_int_eq(RUN("completion", "bash"), 0);
    ck_assert_ptr_nonnull(strstr(out, "\nkv metadata put\n"));
    ck_assert_ptr_nonnull(strstr(out, "complete -F _coffer coffer\n"));
    (void)snprintf(path, sizeof(path), "%s/file", home);
    write_text(path, out);
    char command[512];
    (void)snprintf(command, sizeof(command),
                   "bash -c '. %s; COMP_WORDS=(coffer kv me); COMP_CWORD=2; _coffer; "
                   "[ \"${COMPREPLY[*]}\" = metadata ]'",
                   path);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(RUN("completion", "zsh"), 0);
    ck_assert_ptr_nonnull(strstr(out, "#compdef coffer\n"));
    ck_assert_int_eq(RUN("completion", "fish"), 0);
    ck_assert_ptr_nonnull(strstr(out, "'operator raft list-peers'"));
    ck_assert_int_eq(RUN("completion", "csh"), 1);
    (void)setenv("SHELL", "/bin/bash", 1);
    (void)snprintf(path, sizeof(path), "%s/.bashrc", home);
    write_text(path, "alias x=y\n");
    ck_assert_int_eq(RUN("-autocomplete-install"), 0);
    ck_assert_int_eq(RUN("-autocomplete-install"), 0);
    ck_assert_str_eq(read_text(path), "alias x=y\nsource <(coffer completion bash)\n");
    ck_assert_int_eq(RUN("-autocomplete-uninstall"), 0);
    ck_assert_str_eq(read_text(path), "alias x=y\n");
    (void)unlink(path);
    tear_down();
}
END_TEST

static cf_status from_file(void *context, void *to, size_t size, size_t *ret, struct cf_error *error)
{
    (void)error;
    *ret = fread(to, 1, size, context);
    return CF_OK;
}

/* All of the archive as one text, and how many files are in it. */
static size_t unpack(const char *path, struct cf_buf *all)
{
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    struct gzip_source source = {from_file, file};
    CF_OWNED(gzip_in) in = gzip_in_new(&source);
    size_t files = 0;
    for (;;) {
        uint8_t block[TAR_BLOCK];
        struct tar_entry entry;
        size_t got = 0;
        bool at_end = false;
        ck_ok(gzip_in_read(in, block, sizeof(block), &got, NULL));
        ck_ok(tar_parse(block, &entry, &at_end, NULL));
        if (at_end) {
            break;
        }
        files++;
        size_t size = (size_t)entry.size + tar_padding(entry.size);
        ck_assert(cf_buf_reserve(all, size));
        ck_ok(gzip_in_read(in, all->data + all->size, size, &got, NULL));
        ck_assert_uint_eq(got, size);
        all->size += (size_t)entry.size;
    }
    (void)fclose(file);
    return files;
}

START_TEST(bundles_hold_no_secret)
{
    char path[128];
    struct stat info;
    CF_BUF(all) = {0};
    set_up();
    (void)setenv("VAULT_TOKEN", "root-canary-1", 1);
    fake_server_answer(server, "GET /v1/sys/config/state/sanitized", 200,
                       "{\"data\":{\"api_addr\":\"https://n1:8200\",\"seals\":[{\"type\":\"static\","
                       "\"current_key\":\"canary-2\",\"disabled\":false}],"
                       "\"storage\":{\"connection_url\":\"postgres://u:canary-3@h/db\"}}}",
                       NULL);
    fake_server_answer(server, "GET /v1/sys/health", 503, "{\"sealed\":false,\"version\":\"7.7.7\"}",
                       NULL);
    fake_server_answer(server, "GET /v1/sys/in-flight-req", 200,
                       "{\"data\":{\"r\":{\"request_path\":\"/v1/auth/x/"
                       "hvs.CAESIcanary4canary4canary4\",\"client_token\":\"canary-5\"}}}",
                       NULL);
    fake_server_answer(server, "GET /v1/sys/metrics", 200,
                       "{\"Gauges\":[{\"Name\":\"vault.token.count\",\"Value\":12,"
                       "\"Labels\":{\"x\":\"root-canary-1\"}}]}",
                       NULL);
    fake_server_answer(server, "GET /v1/sys/leader", 400,
                       "{\"errors\":[\"-----BEGIN PRIVATE KEY----- canary-6\"]}", NULL);
    (void)snprintf(path, sizeof(path), "%s/b.tar.gz", home);
    ck_assert_int_eq(RUN("debug", "-duration=0", "-output", path), 0);
    ck_assert_ptr_nonnull(strstr(out, "Success! Bundle written to: "));
    ck_assert_ptr_nonnull(strstr(err, "Not captured: sys/host-info (status 404)"));
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0600);
    size_t files = unpack(path, &all);
    ck_assert_uint_eq(files, 17);
    const char *text = cf_buf_text(&all);
    ck_assert_ptr_null(strstr(text, "canary"));
    ck_assert_ptr_nonnull(strstr(text, "https://n1:8200"));
    ck_assert_ptr_nonnull(strstr(text, "\"vault.token.count\""));
    ck_assert_ptr_nonnull(strstr(text, "7.7.7"));
    ck_assert_ptr_nonnull(strstr(text, DEBUG_REDACTED));
    /* What is there is never written over. */
    ck_assert_int_eq(RUN("debug", "-duration=0", "-output", path), 1);
    ck_assert_int_eq(RUN("debug", "-duration=x", "-output=/tmp/none"), 1);
    ck_assert_int_eq(RUN("debug", "-target=all", "-output=/tmp/none"), 1);
    ck_assert_ptr_nonnull(strstr(err, "Unknown target \"all\""));
    (void)unlink(path);
    ck_assert_int_eq(RUN("debug", "-duration=0", "-target=metrics", "-output", path), 0);
    all.size = 0;
    ck_assert_uint_eq(unpack(path, &all), 4);
    (void)unlink(path);
    tear_down();
}
END_TEST

TEST_MAIN("tools/shell", names_what_was_meant, policies_without_a_request, lays_out_policies,
          completes, bundles_hold_no_secret)
