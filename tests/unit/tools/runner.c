/* tests/unit/tools/runner.c: runs command lines in this process. */
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "fake_server.h"
#include "node/base/memory.h"
#include "runner.h"
#include "test.h"
#include "tools/tools.h"

struct fake_server *server;
char home[64];
char *out, *err;

void set_up(void)
{
    static const char *const names[] = {"ADDR",   "TOKEN",  "NAMESPACE",   "FORMAT",     "WRAP_TTL",
                                        "CACERT", "CAPATH", "MAX_RETRIES", "SKIP_VERIFY"};
    for (size_t i = 0; i < CF_LENGTH(names); i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "VAULT_%s", names[i]);
        (void)unsetenv(name);
        (void)snprintf(name, sizeof(name), "COFFER_%s", names[i]);
        (void)unsetenv(name);
    }
    (void)snprintf(home, sizeof(home), "/tmp/coffer-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(home));
    (void)setenv("HOME", home, 1);
    server = fake_server_new();
    (void)setenv("VAULT_ADDR", fake_server_address(server), 1);
    (void)setenv("VAULT_TOKEN", "tok", 1);
}

void tear_down(void)
{
    char path[128];
    fake_server_free(server);
    (void)snprintf(path, sizeof(path), "%s/.vault-token", home);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/file", home);
    (void)unlink(path);
    (void)rmdir(home);
    free(out);
    free(err);
    out = err = NULL;
}

int run_with(const char *input, const char *const *words)
{
    char *argv[24] = {(char *)(uintptr_t) "coffer"};
    size_t out_size = 0;
    size_t err_size = 0;
    int argc = 1;
    for (size_t i = 0; words[i] != NULL; i++) {
        argv[argc++] = (char *)(uintptr_t)words[i];
    }
    free(out);
    free(err);
    FILE *in = *input != '\0' ? fmemopen((void *)(uintptr_t)input, strlen(input), "r")
                              : fopen("/dev/null", "re");
    FILE *to_out = open_memstream(&out, &out_size);
    FILE *to_err = open_memstream(&err, &err_size);
    int code = tools_run(argc, argv, in, to_out, to_err);
    (void)fclose(in);
    (void)fclose(to_out);
    (void)fclose(to_err);
    return code;
}
