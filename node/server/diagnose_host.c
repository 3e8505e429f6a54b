/* node/server/diagnose_host.c: operator diagnose: the data directory and its disk, ports and members. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/server/diagnose_int.h"

#define SYNCS 40
#define SYNC_SLOW_US ((uint64_t)20 * 1000)
#define ROOM_FAIL ((uint64_t)100 << 20)
#define ROOM_WARN ((uint64_t)1 << 30)
#define CONNECT_MS 3000

/* ---- storage ---- */

static uint64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return (*left > *right) - (*left < *right);
}

/* Appends 4 KiB at a time and syncs each, as the log does. */
static void check_speed(struct diagnosis *d, const char *folder)
{
    static const uint8_t block[4096] = {0};
    uint64_t took[SYNCS];
    const char *path = arena_printf(d->arena, "%s/.diagnose.%ld", folder, (long)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    bool fine = fd >= 0;
    for (size_t i = 0; fine && i < SYNCS; i++) {
        uint64_t began = now_us();
        fine = write(fd, block, sizeof(block)) == (ssize_t)sizeof(block) && fdatasync(fd) == 0;
        took[i] = now_us() - began;
    }
    int reason = errno;
    if (fd >= 0) {
        (void)close(fd);
        (void)unlink(path);
    }
    if (!fine) {
        diagnosis_add(d, "disk", VERDICT_FAIL, "writes and syncs have to work there",
                      "cannot write in \"%s\": %s", folder, strerror(reason));
        return;
    }
    qsort(took, SYNCS, sizeof(took[0]), by_size);
    bool slow = took[SYNCS / 2] > SYNC_SLOW_US;
    diagnosis_add(d, "disk", slow ? VERDICT_WARN : VERDICT_OK,
                  slow ? "each write waits for a sync: use a disk of its own, or a faster one" : NULL,
                  "a synced write takes %.2f ms (median of %d), %.2f ms at worst",
                  (double)took[SYNCS / 2] / 1000, SYNCS, (double)took[SYNCS - 1] / 1000);
}

static void check_room(struct diagnosis *d, const char *folder)
{
    struct statvfs info;
    if (statvfs(folder, &info) != 0) {
        return;
    }
    uint64_t left = (uint64_t)info.f_bavail * info.f_frsize;
    enum verdict verdict = left < ROOM_FAIL   ? VERDICT_FAIL
                           : left < ROOM_WARN ? VERDICT_WARN
                                              : VERDICT_OK;
    diagnosis_add(d, "disk", verdict, verdict != VERDICT_OK ? "make room" : NULL,
                  "%llu MiB are free below \"%s\"", (unsigned long long)(left >> 20), folder);
}

void diagnose_storage(struct diagnosis *d)
{
    struct stat info;
    const char *path = d->config->path;
    if (d->config->storage == STORAGE_INMEM) {
        diagnosis_add(d, "storage", VERDICT_WARN, "use storage \"raft\" for data that should last",
                      "everything is in memory and lost at the end");
        return;
    }
    if (stat(path, &info) != 0) {
        char *parent = arena_printf(d->arena, "%s", path);
        char *slash = strrchr(parent, '/');
        if (slash != NULL) {
            slash[slash == parent ? 1 : 0] = '\0';
        }
        parent = slash != NULL ? parent : arena_printf(d->arena, ".");
        bool fine = access(parent, W_OK | X_OK) == 0;
        diagnosis_add(d, "storage", fine ? VERDICT_OK : VERDICT_FAIL,
                      fine ? NULL : "make it, owned by the user that runs the server, mode 0700",
                      "\"%s\" is not there%s", path, fine ? "; the first start makes it" : "");
        path = fine ? parent : NULL;
    } else if (!S_ISDIR(info.st_mode) || access(path, R_OK | W_OK | X_OK) != 0) {
        diagnosis_add(d, "storage", VERDICT_FAIL, "it must be a directory of the server's user",
                      "\"%s\" can't be used: %s", path,
                      S_ISDIR(info.st_mode) ? strerror(errno) : "it is no directory");
        path = NULL;
    } else {
        bool open = (info.st_mode & (S_IRWXG | S_IRWXO)) != 0 || info.st_uid != geteuid();
        diagnosis_add(d, "storage", open ? VERDICT_WARN : VERDICT_OK,
                      open ? "chown it to the server's user, chmod 0700" : NULL, "\"%s\" %s", path,
                      open ? "belongs to another user, or others may look into it"
                           : "is this user's alone");
    }
    if (path != NULL) {
        check_room(d, path);
        check_speed(d, path);
    }
}

/* ---- network ---- */

/* "[scheme://]host[:port][/...]"; false when it is none. */
static bool split(struct arena *arena, const char *address, const char *port, char **ret_host,
                  char **ret_port)
{
    const char *at = strstr(address, "://");
    struct cf_slice rest = cf_slice_str(at != NULL ? at + 3 : address);
    rest = cf_slice_first(rest, cf_slice_find(rest, '/'));
    char *host = arena_text(arena, rest);
    char *colon = strrchr(host, ':');
    char *bracket = strrchr(host, ']');
    bool has_port = colon != NULL && (bracket == NULL || colon > bracket);
    *ret_port = has_port ? colon + 1 : arena_printf(arena, "%s", port);
    if (has_port) {
        *colon = '\0';
    }
    if (bracket != NULL && host[0] == '[') {
        *bracket = '\0';
        host++;
    }
    *ret_host = host;
    return **ret_port != '\0';
}

static void check_bind(struct diagnosis *d, const char *what, const char *address)
{
    char *host;
    char *port;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int one = 1;
    if (!split(d->arena, address, "8200", &host, &port) ||
        getaddrinfo(*host != '\0' ? host : NULL, port, &hints, &found) != 0) {
        diagnosis_add(d, "ports", VERDICT_FAIL, "give host:port", "%s: \"%s\" is no address here",
                      what, address);
        return;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    bool fine = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0;
    int reason = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    freeaddrinfo(found);
    bool in_use = !fine && reason == EADDRINUSE;
    diagnosis_add(d, "ports", fine ? VERDICT_OK : in_use ? VERDICT_WARN : VERDICT_FAIL,
                  fine     ? NULL
                  : in_use ? "right if this server runs already, else another program has it"
                           : "the address must be one of this machine, the port one it may use",
                  "%s %s%s%s", what, address, fine ? " is free" : ": ", fine ? "" : strerror(reason));
}

/* Within CONNECT_MS: 0, or why not. */
static int reach(const struct addrinfo *to)
{
    int error = 0;
    socklen_t size = sizeof(error);
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    if (connect(fd, to->ai_addr, to->ai_addrlen) != 0 && errno != EINPROGRESS) {
        error = errno;
    } else {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        error = poll(&wait, 1, CONNECT_MS) == 1 ? 0 : ETIMEDOUT;
        if (error == 0) {
            (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        }
    }
    (void)close(fd);
    return error;
}

static void check_member(struct diagnosis *d, const char *address)
{
    char *host;
    char *port;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    bool plain = strncmp(address, "http://", 7) == 0;
    if (!split(d->arena, address, plain ? "80" : "443", &host, &port) ||
        getaddrinfo(host, port, &hints, &found) != 0) {
        diagnosis_add(d, "members", VERDICT_WARN, "check the name and the resolver",
                      "retry_join %s: the name has no address", address);
        return;
    }
    int error = reach(found);
    freeaddrinfo(found);
    diagnosis_add(d, "members", error == 0 ? VERDICT_OK : VERDICT_WARN,
                  error == 0 ? NULL : "is that member up, and no firewall between?",
                  "retry_join %s: %s", address, error == 0 ? "reachable" : strerror(error));
}

static bool is_loopback(const char *url)
{
    const char *at = strstr(url, "://");
    at = at != NULL ? at + 3 : url;
    return strncmp(at, "127.", 4) == 0 || strncmp(at, "localhost", 9) == 0 ||
           strncmp(at, "[::1]", 5) == 0;
}

void diagnose_network(struct diagnosis *d)
{
    const struct config *config = d->config;
    for (size_t i = 0; i < config->listener_count; i++) {
        check_bind(d, "API listener", config->listeners[i].address);
        check_bind(d, "cluster listener", config->listeners[i].cluster_address);
    }
    bool others = false;
    for (size_t i = 0; i < config->join_count; i++) {
        check_member(d, config->joins[i].leader_api_addr);
        others = others || !is_loopback(config->joins[i].leader_api_addr);
    }
    bool hidden = others && (is_loopback(config->api_addr) || is_loopback(config->cluster_addr));
    diagnosis_add(d, "addresses", hidden ? VERDICT_FAIL : VERDICT_OK,
                  hidden ? "set api_addr and cluster_addr to what other machines reach" : NULL,
                  "others are told %s and %s", config->api_addr, config->cluster_addr);
}
