/* node/server/diagnose.c: operator diagnose: configuration, certificates, seal, clock, limits. */
#include "node/server/diagnose.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/base/secret.h"
#include "node/cluster/tls.h"
#include "node/crypto/x509.h"
#include "node/server/diagnose_int.h"
#include "node/server/static_seal.h"

#define DAY_S ((int64_t)24 * 3600)
#define YEAR_2024_S ((time_t)1704067200)
#define FILES_LOW ((rlim_t)1024)
#define FILES_GOOD ((rlim_t)16384)
#define KEY_MEMORY ((rlim_t)1 << 20) /* as node.c asks for */

static const char *const verdicts[] = {"ok", "warn", "fail"};

void diagnosis_add(struct diagnosis *d, const char *name, enum verdict verdict, const char *advice,
                   const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct json *check = json_object_new(d->arena);
    json_set_text(d->arena, check, "name", name);
    json_set_text(d->arena, check, "status", verdicts[verdict]);
    json_set_text(d->arena, check, "message", text);
    if (advice != NULL) {
        json_set_text(d->arena, check, "advice", advice);
    }
    json_array_add(d->arena, d->checks, check);
    d->worst = verdict > d->worst ? verdict : d->worst;
}

/* ---- certificates ---- */

static cf_status read_pem(const char *path, struct cf_buf *to, struct cf_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? 1 : -1;
    while (got > 0 && cf_buf_reserve(to, 4096)) {
        got = read(fd, to->data + to->size, 4096);
        to->size += got > 0 ? (size_t)got : 0;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return got == 0 ? CF_OK : cf_fail(err, CF_INVALID, "cannot read \"%s\"", path);
}

static void check_dates(struct diagnosis *d, const char *path)
{
    struct cf_error err = {0};
    struct x509_info info;
    CF_BUF(pem) = {.max = (size_t)1 << 20};
    cf_status status = read_pem(path, &pem, &err);
    if (status == CF_OK) {
        status = x509_read(cf_buf_slice(&pem), &info, &err);
    }
    int64_t now = (int64_t)time(NULL);
    if (status != CF_OK) {
        diagnosis_add(d, "tls", VERDICT_FAIL, NULL, "%s", err.message);
    } else if (now < info.not_before_s || now > info.not_after_s) {
        diagnosis_add(d, "tls", VERDICT_FAIL, "replace the certificate, or set the clock",
                      "\"%s\" %s", path,
                      now > info.not_after_s ? "has expired" : "is not valid yet");
    } else {
        int days = (int)((info.not_after_s - now) / DAY_S);
        diagnosis_add(d, "tls", days < 30 ? VERDICT_WARN : VERDICT_OK,
                      days < 30 ? "replace it soon; SIGHUP reads it without a restart" : NULL,
                      "\"%s\" is good for %d days", path, days);
    }
}

static void check_tls(struct diagnosis *d)
{
    for (size_t i = 0; i < d->config->listener_count; i++) {
        const struct config_listener *listener = &d->config->listeners[i];
        struct tls_server *tls = NULL;
        struct cf_error err = {0};
        if (listener->tls_disable) {
            bool local = strncmp(listener->address, "127.", 4) == 0 ||
                         strncmp(listener->address, "[::1]", 5) == 0;
            diagnosis_add(d, "tls", local ? VERDICT_OK : VERDICT_WARN,
                          local ? NULL : "give tls_cert_file and tls_key_file",
                          "the listener on %s is plain HTTP", listener->address);
            continue;
        }
        struct tls_files files = {.cert_file = listener->tls_cert_file,
                                  .key_file = listener->tls_key_file,
                                  .client_ca_file = listener->tls_client_ca_file,
                                  .no_client_certs = listener->tls_disable_client_certs,
                                  .require_client_cert = listener->tls_require_client_cert,
                                  .only_tls13 = listener->only_tls13};
        if (tls_server_from_files(&files, &tls, &err) != CF_OK) {
            diagnosis_add(d, "tls", VERDICT_FAIL, "the server will not start before this is right",
                          "%s", err.message);
            continue;
        }
        tls_server_free(tls);
        check_dates(d, listener->tls_cert_file);
    }
}

/* ---- seal, audit, clock, limits ---- */

static void check_seal(struct diagnosis *d)
{
    static const char scheme[] = "file://";
    struct cf_error err = {0};
    struct secret *key = NULL, *previous = NULL;
    struct stat info;
    const struct config_seal *seal = config_auto_seal(d->config);
    const char *source = seal != NULL ? seal->key : NULL;
    if (seal != NULL && seal->type == SEAL_TRANSIT) {
        diagnosis_add(d, "seal", VERDICT_OK, NULL, "transit key \"%s\" at %s, which is asked at the start",
                      seal->key_name, seal->address);
        return;
    }
    if (source == NULL) {
        diagnosis_add(d, "seal", VERDICT_OK, NULL, "shamir: people give shares after each start");
        return;
    }
    if (static_seal_read(d->config, &key, &previous, &err) != CF_OK) {
        diagnosis_add(d, "seal", VERDICT_FAIL, NULL, "%s", err.message);
        return;
    }
    secret_free(key);
    secret_free(previous);
    bool is_file = strncmp(source, scheme, sizeof(scheme) - 1) == 0;
    bool open = is_file && stat(source + sizeof(scheme) - 1, &info) == 0 &&
                (info.st_mode & (S_IRWXG | S_IRWXO)) != 0;
    diagnosis_add(d, "seal", is_file && !open ? VERDICT_OK : VERDICT_WARN,
                  open       ? "chmod 0600 it"
                  : is_file ? NULL
                             : "keep the key in a file of its own (file:///path)",
                  "static key \"%s\" is readable%s", seal->key_id,
                  open       ? ", for others than its owner, too"
                  : is_file ? ""
                             : " and stands in the configuration itself");
}

static void check_audit(struct diagnosis *d)
{
    for (size_t i = 0; i < d->config->audit_count; i++) {
        struct cf_slice path = json_get_string(d->config->audits[i].options, "file_path");
        if (path.size == 0 || path.data[0] != '/') {
            continue;
        }
        char *folder = arena_text(d->arena, path);
        *(strrchr(folder, '/') + 1) = '\0';
        bool fine = access(folder, W_OK | X_OK) == 0;
        diagnosis_add(d, "audit", fine ? VERDICT_OK : VERDICT_FAIL,
                      fine ? NULL : "make it, writable for the user that runs the server",
                      "folder \"%s\"%s%s", folder, fine ? " takes audit files" : ": ",
                      fine ? "" : strerror(errno));
    }
}

static void check_clock(struct diagnosis *d)
{
    struct timex state = {0};
    int code = adjtimex(&state); /* asks only: modes is 0 */
    if (time(NULL) < YEAR_2024_S) {
        diagnosis_add(d, "clock", VERDICT_FAIL, "set the clock", "the clock stands before 2024");
        return;
    }
    bool unsure = code < 0 || code == TIME_ERROR || (state.status & STA_UNSYNC) != 0;
    diagnosis_add(d, "clock", unsure ? VERDICT_WARN : VERDICT_OK,
                  unsure ? "run chrony or systemd-timesyncd: members compare their clocks" : NULL,
                  unsure ? "nobody keeps this clock (the kernel calls it unsynchronised)"
                         : "the clock is kept in step");
}

static void check_limits(struct diagnosis *d)
{
    struct rlimit files = {0};
    struct rlimit locked = {0};
    (void)getrlimit(RLIMIT_NOFILE, &files);
    (void)getrlimit(RLIMIT_MEMLOCK, &locked);
    enum verdict verdict = files.rlim_max < FILES_LOW    ? VERDICT_FAIL
                           : files.rlim_cur < FILES_GOOD ? VERDICT_WARN
                                                         : VERDICT_OK;
    diagnosis_add(d, "limits", verdict,
                  verdict != VERDICT_OK ? "LimitNOFILE=65536 in the unit, or ulimit -n 65536" : NULL,
                  "%llu open files", (unsigned long long)files.rlim_cur);
    bool small = !d->config->disable_mlock && locked.rlim_cur < KEY_MEMORY && geteuid() != 0;
    diagnosis_add(d, "limits", small ? VERDICT_FAIL : VERDICT_OK,
                  small ? "LimitMEMLOCK=infinity in the unit, or disable_mlock = true" : NULL,
                  small ? "only %llu bytes of memory may be locked, keys need more"
                        : "memory for keys can be locked (limit %llu)",
                  (unsigned long long)locked.rlim_cur);
}

/* ---- the whole ---- */

static void print_plain(const struct diagnosis *d, FILE *out)
{
    static const char *const ends[] = {"All is well.", "The server would run; look at the warnings.",
                                       "The server would not work: see what failed."};
    for (size_t i = 0; i < d->checks->count; i++) {
        const struct json *check = d->checks->items[i];
        struct cf_slice advice = json_get_string(check, "advice");
        (void)fprintf(out, "[%4.*s] %.*s: %.*s\n", CF_SHOW(json_get_string(check, "status")),
                      CF_SHOW(json_get_string(check, "name")),
                      CF_SHOW(json_get_string(check, "message")));
        if (advice.size > 0) {
            (void)fprintf(out, "       -> %.*s\n", CF_SHOW(advice));
        }
    }
    (void)fprintf(out, "\n%s\n", ends[d->worst]);
}

static void print_json(const struct diagnosis *d, FILE *out)
{
    CF_BUF(text) = {0};
    struct json *whole = json_object_new(d->arena);
    json_set_text(d->arena, whole, "status", verdicts[d->worst]);
    json_set(d->arena, whole, "checks", d->checks);
    json_write_pretty(&text, whole);
    (void)fprintf(out, "%.*s\n", CF_SHOW(cf_buf_slice(&text)));
}

int diagnose_run(const struct tools_diagnosis *asked, FILE *out)
{
    static const int codes[] = {[VERDICT_OK] = 0, [VERDICT_WARN] = 2, [VERDICT_FAIL] = 1};
    CF_OWNED(arena) arena = arena_new(4096);
    CF_OWNED(config) config = NULL;
    struct cf_error err = {0};
    struct diagnosis d = {.arena = arena, .checks = json_array_new(arena)};
    if (config_load(asked->configs, asked->config_count, &config, &err) != CF_OK) {
        diagnosis_add(&d, "configuration", VERDICT_FAIL, "see deploy/configuration.md", "%s",
                      err.message);
    } else {
        d.config = config;
        diagnosis_add(&d, "configuration", VERDICT_OK, NULL, "node \"%s\", storage %s",
                      config->node_id, storage_type_name(config->storage));
        check_tls(&d);
        check_seal(&d);
        check_audit(&d);
        diagnose_storage(&d);
        diagnose_network(&d);
        check_clock(&d);
        check_limits(&d);
    }
    if (asked->as_json) {
        print_json(&d, out);
    } else {
        print_plain(&d, out);
    }
    return codes[d.worst];
}
