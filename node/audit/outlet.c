/* node/audit/outlet.c: writing to pipes and sockets without waiting for ever. */
#include "node/audit/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "node/base/host.h"

#define LOOK_MS 500 /* at *stop */

cf_status outlet_wait(int fd, int64_t timeout_ms, const _Atomic bool *stop, struct cf_error *err)
{
    uint64_t until = cf_monotonic_us(cf_host_clock()) + (uint64_t)timeout_ms * 1000;
    while (!atomic_load(stop)) {
        uint64_t now = cf_monotonic_us(cf_host_clock());
        if (now >= until) {
            break;
        }
        int64_t left = (int64_t)((until - now) / 1000) + 1;
        struct pollfd poller = {.fd = fd, .events = POLLOUT};
        int got = poll(&poller, 1, (int)(left < LOOK_MS ? left : LOOK_MS));
        if (got > 0) {
            return CF_OK; /* an error shows when it is written to */
        }
        if (got < 0 && errno != EINTR) {
            return cf_fail(err, CF_IO, "cannot wait: %s", strerror(errno));
        }
    }
    return cf_fail(err, CF_TIMEOUT, "it takes nothing");
}

cf_status outlet_write(int fd, struct cf_slice bytes, int64_t timeout_ms, const _Atomic bool *stop,
                     size_t *ret_done, struct cf_error *err)
{
    *ret_done = 0;
    while (*ret_done < bytes.size) {
        ssize_t put = write(fd, bytes.data + *ret_done, bytes.size - *ret_done);
        if (put > 0) {
            *ret_done += (size_t)put;
        } else if (put < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            CF_TRY(outlet_wait(fd, timeout_ms, stop, err));
        } else if (put < 0 && errno != EINTR) {
            bool is_full = errno == ENOSPC || errno == EDQUOT;
            return cf_fail(err, is_full ? CF_NO_SPACE : CF_IO, "cannot write: %s", strerror(errno));
        }
    }
    return CF_OK;
}

/* ---- connecting ---- */

static cf_status connect_to(const struct sockaddr *address, socklen_t size, int type,
                            int64_t timeout_ms, const _Atomic bool *stop, int *ret,
                            struct cf_error *err)
{
    int failure = 0;
    socklen_t failure_size = sizeof(failure);
    int fd = socket(address->sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return cf_fail(err, CF_IO, "no socket: %s", strerror(errno));
    }
    cf_status status = CF_OK;
    if (connect(fd, address, size) != 0) {
        if (errno != EINPROGRESS) {
            failure = errno;
        } else {
            status = outlet_wait(fd, timeout_ms, stop, err);
            cf_ignore(getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &failure_size) != 0,
                      "the write will tell");
        }
    }
    if (status == CF_OK && failure != 0) {
        status = cf_fail(err, CF_IO, "cannot connect: %s", strerror(failure));
    }
    if (status != CF_OK) {
        (void)close(fd);
        return status;
    }
    *ret = fd;
    return CF_OK;
}

static cf_status connect_local(const char *path, int type, int64_t timeout_ms,
                               const _Atomic bool *stop, int *ret, struct cf_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        return cf_fail(err, CF_INVALID, "the path of the socket is too long");
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    return connect_to((struct sockaddr *)&address, sizeof(address), type, timeout_ms, stop, ret,
                      err);
}

cf_status outlet_connect(enum outlet_kind kind, const char *address, int64_t timeout_ms,
                       const _Atomic bool *stop, int *ret, struct cf_error *err)
{
    char host[256];
    struct addrinfo hints = {.ai_socktype = kind == OUTLET_TCP ? SOCK_STREAM : SOCK_DGRAM};
    struct addrinfo *found = NULL;
    if (kind == OUTLET_UNIX || kind == OUTLET_UNIXGRAM) {
        return connect_local(address, kind == OUTLET_UNIX ? SOCK_STREAM : SOCK_DGRAM, timeout_ms,
                             stop, ret, err);
    }
    const char *colon = strrchr(address, ':');
    size_t size = colon != NULL ? (size_t)(colon - address) : sizeof(host);
    if (size >= sizeof(host)) {
        return cf_fail(err, CF_INVALID, "the address must be host:port");
    }
    memcpy(host, address, size);
    host[size] = '\0';
    char *name = host;
    if (name[0] == '[' && size > 1 && name[size - 1] == ']') {
        name[size - 1] = '\0';
        name++;
    }
    int failed = getaddrinfo(name[0] != '\0' ? name : NULL, colon + 1, &hints, &found);
    if (failed != 0) {
        return cf_fail(err, CF_IO, "cannot find the address: %s", gai_strerror(failed));
    }
    cf_status status = cf_fail(err, CF_IO, "the name has no address");
    for (struct addrinfo *at = found; at != NULL && status != CF_OK; at = at->ai_next) {
        status = connect_to(at->ai_addr, at->ai_addrlen, hints.ai_socktype, timeout_ms, stop, ret,
                            err);
    }
    freeaddrinfo(found);
    return status;
}

bool outlet_is_closed(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLRDHUP};
    return poll(&poller, 1, 0) > 0 && (poller.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}
