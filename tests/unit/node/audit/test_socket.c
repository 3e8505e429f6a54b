/* tests/unit/node/audit/test_socket.c: the devices "socket" and "syslog" against real sockets. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/core/audit.h"
#include "test.h"

extern const struct audit_ops audit_socket, audit_syslog;

static struct arena *arena;
static const _Atomic bool go_on;

/* pairs: names and values in turn, ends with NULL. */
static cf_status make(const struct audit_ops *ops, const char *const *pairs, void **ret)
{
    static struct audit_settings settings;
    struct cf_error err = {0};
    struct json *options = json_object_new(arena);
    for (; pairs[0] != NULL; pairs += 2) {
        json_set_text(arena, options, pairs[0], pairs[1]);
    }
    settings = (struct audit_settings){.path = CF_SLICE("s/"), .options = options};
    return ops->make(&settings, ret, &err);
}

static cf_status put(void *device, const char *line)
{
    struct cf_error err = {0};
    return audit_socket.write(device, cf_slice_str(line), &go_on, &err);
}

static int listen_on(int type, char address[32])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, type, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, size), 0);
    ck_assert(type != SOCK_STREAM || listen(fd, 8) == 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    (void)snprintf(address, 32, "127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}

static void ck_reads(int fd, const char *want)
{
    char got[256] = "";
    size_t size = 0;
    while (size < strlen(want)) {
        ssize_t more = read(fd, got + size, sizeof(got) - 1 - size);
        ck_assert_int_gt(more, 0);
        size += (size_t)more;
    }
    ck_assert_str_eq(got, want);
}

START_TEST(tcp_and_its_reconnection)
{
    void *device;
    char address[32];
    arena = arena_new(1024);
    int listener = listen_on(SOCK_STREAM, address);
    ck_assert_int_eq(make(&audit_socket, (const char *[]){"address", address, NULL}, &device), CF_OK);
    ck_assert_int_eq(put(device, "{1}\n"), CF_OK);
    int peer = accept(listener, NULL, NULL);
    ck_reads(peer, "{1}\n");
    (void)close(peer); /* what is written to it now would be lost without a word */
    ck_assert_int_eq(put(device, "{2}\n"), CF_OK);
    peer = accept(listener, NULL, NULL);
    ck_reads(peer, "{2}\n");
    (void)close(peer);
    (void)close(listener);
    ck_assert_int_eq(put(device, "{3}\n"), CF_IO);
    audit_socket.free(device);
    arena_free(arena);
}
END_TEST

START_TEST(a_datagram_holds_one_line)
{
    void *device;
    char address[32];
    arena = arena_new(1024);
    int peer = listen_on(SOCK_DGRAM, address);
    const char *pairs[] = {"address", address, "socket_type", "udp", "write_timeout", "1s", NULL};
    ck_assert_int_eq(make(&audit_socket, pairs, &device), CF_OK);
    ck_assert_int_eq(put(device, "{1}\n{2}\n"), CF_OK);
    ck_reads(peer, "{1}\n");
    ck_reads(peer, "{2}\n");
    (void)close(peer);
    audit_socket.free(device);
    arena_free(arena);
}
END_TEST

START_TEST(options_that_make_no_sense)
{
    void *device;
    arena = arena_new(1024);
    static const char *const bad[][5] = {
        {NULL},
        {"address", "no port", NULL},
        {"address", "h:1", "socket_type", "carrier pigeon", NULL},
        {"address", "h:1", "write_timeout", "soon", NULL},
        {"address", "h:1", "write_timeout", "0", NULL},
    };
    for (size_t i = 0; i < CF_LENGTH(bad); i++) {
        ck_assert_int_eq(make(&audit_socket, bad[i], &device), CF_INVALID);
    }
    static const char *const bad_log[][3] = {
        {"facility", "NOBODY", NULL}, {"tag", "", NULL}, {"tag", "a b", NULL}};
    for (size_t i = 0; i < CF_LENGTH(bad_log); i++) {
        ck_assert_int_eq(make(&audit_syslog, bad_log[i], &device), CF_INVALID);
    }
    ck_assert_int_eq(make(&audit_syslog, (const char *[]){"facility", "local0", NULL}, &device),
                     CF_OK);
    audit_syslog.free(device);
    arena_free(arena);
}
END_TEST

TEST_MAIN("node/audit/socket", tcp_and_its_reconnection, a_datagram_holds_one_line,
          options_that_make_no_sense)
