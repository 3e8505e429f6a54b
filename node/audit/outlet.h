/* node/audit/outlet.h
 *
 * Writing to what may not take it: pipes, terminals, sockets. Everything is non-blocking and waits in
 * poll(), with an end to it. Thread: the device's.
 */
#ifndef COFFER_AUDIT_OUTLET_H
#define COFFER_AUDIT_OUTLET_H

#include <stdatomic.h>

#include "node/base/slice.h"
#include "node/base/status.h"

/* Until the descriptor takes bytes. CF_TIMEOUT after timeout_ms, or when *stop is set. */
CF_CHECKED cf_status outlet_wait(int fd, int64_t timeout_ms, const _Atomic bool *stop,
                               struct cf_error *err);
/* Writes all of it to a non-blocking descriptor; *ret_done: how much went. timeout_ms counts from each byte
 * that went. CF_NO_SPACE, CF_IO, CF_TIMEOUT. */
CF_CHECKED cf_status outlet_write(int fd, struct cf_slice bytes, int64_t timeout_ms,
                                const _Atomic bool *stop, size_t *ret_done, struct cf_error *err);

/* From a host:port, or a path of a socket. */
enum outlet_kind { OUTLET_TCP, OUTLET_UDP, OUTLET_UNIX, OUTLET_UNIXGRAM };
/* A connected, non-blocking, close-on-exec socket. CF_IO, CF_TIMEOUT, CF_INVALID. */
CF_CHECKED cf_status outlet_connect(enum outlet_kind kind, const char *address, int64_t timeout_ms,
                                  const _Atomic bool *stop, int *ret, struct cf_error *err);
/* The other side of a stream has closed: what is written now would be lost without a word. */
bool outlet_is_closed(int fd);

#endif
