/* tests/unit/node/audit/test_syslog.c: the device "syslog" against a log's socket at a private path: a datagram or a
 * piece of a stream per record, in the form that syslog(3) sends and rsyslog, syslog-ng and journald read (RFC 3164,
 * with the time of the place and no host name), and a log that is started anew. */
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/core/audit.h"
#include "test.h"

extern const struct audit_ops audit_syslog;

#define HEADER "^<%d>(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 123][0-9] [0-2][0-9]:[0-5][0-9]:[0-6][0-9] %s\\[%ld\\]: %s$"

static const _Atomic bool go_on;
static struct arena *arena;
static int log_fd = -1;

/* The build of this test looks for the log at "log", in the working folder. */
static void open_log(int type)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "log"};
    (void)unlink("log");
    log_fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(log_fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert(type != SOCK_STREAM || listen(log_fd, 8) == 0);
}

static void close_log(void)
{
    (void)close(log_fd);
    (void)unlink("log");
}

static void *make(const char *facility, const char *tag)
{
    static struct audit_settings settings;
    struct cf_error err = {0};
    struct json *options = json_object_new(arena);
    void *device = NULL;
    json_set_text(arena, options, "facility", facility);
    json_set_text(arena, options, "tag", tag);
    settings = (struct audit_settings){.path = CF_SLICE("s/"), .options = options};
    return audit_syslog.make(&settings, &device, &err) == CF_OK ? device : NULL;
}

static cf_status put(void *device, const char *lines)
{
    struct cf_error err = {0};
    return audit_syslog.write(device, cf_slice_str(lines), &go_on, &err);
}

static void ck_form(const char *got, int priority, const char *tag, const char *record)
{
    char pattern[512];
    regex_t compiled;
    (void)snprintf(pattern, sizeof(pattern), HEADER, priority, tag, (long)getpid(), record);
    ck_assert_int_eq(regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB), 0);
    ck_assert_msg(regexec(&compiled, got, 0, NULL, 0) == 0, "\"%s\" is not as %s", got, pattern);
    regfree(&compiled);
}

static void ck_datagram(int priority, const char *tag, const char *record)
{
    char got[512] = "";
    ck_assert_int_gt(recv(log_fd, got, sizeof(got) - 1, MSG_DONTWAIT), 0);
    ck_form(got, priority, tag, record);
}

START_TEST(a_datagram_a_record)
{
    open_log(SOCK_DGRAM);
    void *device = make("local3", "audit-1");
    ck_assert_ptr_nonnull(device);
    ck_assert_int_eq(put(device, "{one}\n{two 100%}\n"), CF_OK);
    ck_datagram(LOG_LOCAL3 | LOG_INFO, "audit-1", "\\{one\\}");
    ck_datagram(LOG_LOCAL3 | LOG_INFO, "audit-1", "\\{two 100%\\}");
    audit_syslog.free(device);
    close_log();
}
END_TEST

START_TEST(a_log_that_is_started_anew)
{
    open_log(SOCK_DGRAM);
    void *device = make("AUTH", "coffer");
    ck_assert_int_eq(put(device, "{1}\n"), CF_OK);
    ck_datagram(LOG_AUTH | LOG_INFO, "coffer", "\\{1\\}");
    close_log();
    ck_assert_int_eq(put(device, "{lost}\n"), CF_IO); /* told, so that the request fails */
    open_log(SOCK_DGRAM);
    ck_assert_int_eq(put(device, "{2}\n"), CF_OK);
    ck_datagram(LOG_AUTH | LOG_INFO, "coffer", "\\{2\\}");
    close_log();
    open_log(SOCK_DGRAM); /* between two records nobody notices */
    ck_assert_int_eq(put(device, "{3}\n"), CF_OK);
    ck_datagram(LOG_AUTH | LOG_INFO, "coffer", "\\{3\\}");
    audit_syslog.free(device);
    close_log();
}
END_TEST

/* Records of many kilobytes come whole; what no datagram holds is refused, not cut. */
START_TEST(large_records)
{
    open_log(SOCK_DGRAM);
    void *device = make("AUTH", "coffer");
    size_t size = 64 * 1024;
    char *line = cf_alloc(16 * size), *got = cf_alloc(16 * size);
    memset(line, 'x', 16 * size);
    line[size - 2] = '\n';
    line[size - 1] = '\0';
    ck_assert_int_eq(put(device, line), CF_OK);
    ssize_t came = recv(log_fd, got, 16 * size, MSG_DONTWAIT);
    ck_assert_int_gt(came, (ssize_t)size);
    ck_assert_int_eq(got[came - 1], 'x');
    memset(line, 'x', 16 * size - 2);
    line[16 * size - 2] = '\n';
    line[16 * size - 1] = '\0';
    ck_assert_int_eq(put(device, line), CF_IO);
    ck_assert_int_eq(put(device, "{small}\n"), CF_OK);
    ck_datagram(LOG_AUTH | LOG_INFO, "coffer", "\\{small\\}");
    cf_free(line);
    cf_free(got);
    audit_syslog.free(device);
    close_log();
}
END_TEST

/* syslog-ng may be told to take streams: records end in a zero byte there. */
START_TEST(a_stream)
{
    open_log(SOCK_STREAM);
    void *device = make("DAEMON", "coffer");
    ck_assert_int_eq(put(device, "{1}\n{2}\n"), CF_OK);
    int peer = accept(log_fd, NULL, NULL);
    char got[512] = "";
    size_t size = 0, first = 0;
    for (int zeros = 0; zeros < 2; zeros += got[size++] == '\0') {
        ck_assert_int_eq(read(peer, got + size, 1), 1);
        first = zeros == 0 ? size + 1 : first;
    }
    ck_form(got, LOG_DAEMON | LOG_INFO, "coffer", "\\{1\\}");
    ck_form(got + first, LOG_DAEMON | LOG_INFO, "coffer", "\\{2\\}");
    (void)close(peer);
    audit_syslog.free(device);
    close_log();
}
END_TEST

START_TEST(options)
{
    ck_assert_ptr_null(make("PIGEON", "coffer"));
    ck_assert_ptr_null(make("AUTH", ""));
    ck_assert_ptr_null(make("AUTH", "two words"));
    ck_assert_ptr_null(make("AUTH", "colon:"));
    void *device = make("AUTH", "coffer");
    ck_assert_int_eq(put(device, "{}\n"), CF_IO); /* there is no log */
    audit_syslog.free(device);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_datagram_a_record, a_log_that_is_started_anew, large_records, a_stream, options};
    char folder[] = "/tmp/coffer-syslog-XXXXXX";
    arena = arena_new(1024);
    if (mkdtemp(folder) == NULL || chdir(folder) != 0) {
        return EXIT_FAILURE;
    }
    int status = test_run("node/audit/syslog", tests, sizeof(tests) / sizeof(tests[0]));
    arena_free(arena);
    (void)rmdir(folder);
    return status;
}
