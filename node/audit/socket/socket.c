/* node/audit/socket/socket.c: records to a socket: TCP, UDP, or a local one.
 *
 * A connection is made with the first record, and made anew once when a write fails. A peer that has closed
 * is noticed before the write, since the kernel would take the bytes and lose them. */
#include <unistd.h>

#include "node/audit/outlet.h"
#include "node/base/memory.h"
#include "node/core/audit.h"
#include "node/format/duration.h"

struct socket_device {
    enum outlet_kind kind;
    char *address;
    int64_t timeout_ms;
    int fd; /* -1: not connected */
};

static cf_status socket_make(const struct audit_settings *settings, void **ret,
                             struct cf_error *err)
{
    static const char *const kinds[] = {
        [OUTLET_TCP] = "tcp", [OUTLET_UDP] = "udp", [OUTLET_UNIX] = "unix", [OUTLET_UNIXGRAM] = "unixgram"};
    struct cf_slice type = audit_option(settings, "socket_type", "tcp");
    struct cf_slice address = audit_option(settings, "address", "");
    int64_t timeout_s;
    size_t kind = 0;
    if (address.size == 0) {
        return cf_fail(err, CF_INVALID, "address is required");
    }
    while (kind < CF_LENGTH(kinds) && !cf_slice_is(type, kinds[kind])) {
        kind++;
    }
    if (kind == CF_LENGTH(kinds)) {
        return cf_fail(err, CF_INVALID, "socket_type must be tcp, udp, unix or unixgram");
    }
    CF_TRY(duration_parse(audit_option(settings, "write_timeout", "2s"), &timeout_s, err));
    if (timeout_s <= 0 || timeout_s > 3600) {
        return cf_fail(err, CF_INVALID, "write_timeout must be a duration such as \"2s\"");
    }
    if (memchr(address.data, '\0', address.size) != NULL ||
        (kind <= OUTLET_UDP && cf_slice_find(address, ':') == address.size)) {
        return cf_fail(err, CF_INVALID, "address must be host:port");
    }
    struct socket_device *device = cf_new(struct socket_device);
    device->kind = (enum outlet_kind)kind;
    device->address = cf_zalloc(address.size + 1);
    memcpy(device->address, address.data, address.size);
    device->timeout_ms = timeout_s * 1000;
    device->fd = -1;
    *ret = device;
    return CF_OK;
}

static void socket_reopen(void *state)
{
    struct socket_device *device = state;
    if (device->fd >= 0) {
        (void)close(device->fd);
        device->fd = -1;
    }
}

static void socket_free(void *state)
{
    struct socket_device *device = state;
    socket_reopen(device);
    cf_free(device->address);
    cf_free(device);
}

static bool is_stream(const struct socket_device *device)
{
    return device->kind == OUTLET_TCP || device->kind == OUTLET_UNIX;
}

/* From the line at *lines, which moves on behind each line that went. */
static cf_status send_lines(struct socket_device *device, struct cf_slice *lines,
                            const _Atomic bool *stop, struct cf_error *err)
{
    size_t done;
    if (device->fd >= 0 && is_stream(device) && outlet_is_closed(device->fd)) {
        socket_reopen(device);
    }
    if (device->fd < 0) {
        CF_TRY(outlet_connect(device->kind, device->address, device->timeout_ms, stop, &device->fd,
                            err));
    }
    while (lines->size != 0) {
        /* A datagram holds one line. */
        size_t size =
            is_stream(device) ? lines->size : cf_min(cf_slice_find(*lines, '\n') + 1, lines->size);
        CF_TRY(outlet_write(device->fd, cf_slice_first(*lines, size), device->timeout_ms, stop, &done,
                          err));
        *lines = cf_slice_from(*lines, size);
    }
    return CF_OK;
}

static cf_status socket_write(void *state, struct cf_slice lines, const _Atomic bool *stop,
                              struct cf_error *err)
{
    struct socket_device *device = state;
    bool was_connected = device->fd >= 0;
    cf_status status = send_lines(device, &lines, stop, err);
    if (status == CF_IO && was_connected) {
        socket_reopen(device);
        status = send_lines(device, &lines, stop, err);
    }
    if (status != CF_OK) {
        socket_reopen(device); /* half a line may have gone */
    }
    return status;
}

static const char *const options[] = {"address", "socket_type", "write_timeout", NULL};

const struct audit_ops audit_socket = {
    .type = "socket",
    .options = options,
    .make = socket_make,
    .write = socket_write,
    .reopen = socket_reopen,
    .free = socket_free,
};
