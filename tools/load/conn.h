/* tools/load/conn.h
 *
 * One keep-alive HTTP/1.1 connection, non-blocking: raw sockets for http, libcurl's connect-only
 * mode as a TLS pipe for https. One request is out at a time. Thread: its owner's.
 */
#ifndef COFFER_LOAD_CONN_H
#define COFFER_LOAD_CONN_H

#include <stdbool.h>

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "tools/cli/tls.h"

/* Where to connect, from an address like "https://host:port". */
struct conn_target {
    bool tls;
    char address[300]; /* as given, without closing slashes */
    char host[256], port[8];
    char authority[270]; /* for the Host header */
    struct tls_options options;
};

struct conn;

/* CF_INVALID for what is no http or https address. `options` may be NULL; its texts stay borrowed.
 */
CF_CHECKED cf_status conn_target_parse(const char *address, const struct tls_options *options,
                                       struct conn_target *ret, struct cf_error *err);

/* `target` is borrowed. Nothing is connected yet. */
struct conn *load_conn_new(const struct conn_target *target);
void conn_free(struct conn *conn); /* closes; NULL is fine */
CF_DEFINE_OWNED(conn);

/* Connects (non-blocking for http; https waits for the handshake, 10 s at most). CF_IO. */
CF_CHECKED cf_status conn_open(struct conn *conn, struct cf_error *err);
bool conn_is_open(const struct conn *conn);
void conn_close(struct conn *conn);
int conn_fd(const struct conn *conn); /* -1 when closed */

/* The buffer that the next request is written to; conn_start() then sends it. */
struct cf_buf *conn_request(struct conn *conn);
/* Begins to send; conn_step() carries on. CF_IO: the connection is lost. */
CF_CHECKED cf_status conn_start(struct conn *conn, struct cf_error *err);
/* Sends and reads what it can without waiting; *complete when the answer is there. On failure the
 * connection is of no further use. */
CF_CHECKED cf_status conn_step(struct conn *conn, bool *complete, struct cf_error *err);
/* Bytes of the request are still unsent: wait for the socket to be writable, too. */
bool conn_wants_write(const struct conn *conn);

/* The answer, until the next conn_start(). */
int conn_status(const struct conn *conn);
struct cf_slice conn_body(const struct conn *conn);
/* To be called once the answer is looked at: closes if the server said so. */
void load_conn_finish(struct conn *conn);

/* Opens if needed, sends what conn_request() holds and waits for the answer. CF_TIMEOUT, CF_IO. */
CF_CHECKED cf_status conn_call(struct conn *conn, int timeout_ms, struct cf_error *err);

/* Writes a request into `out` (emptied first): `path` begins with /, `token` and `extra` (complete
 * header lines) may be empty. */
void conn_write_request(struct cf_buf *out, const struct conn_target *target, const char *method,
                        struct cf_slice path, struct cf_slice token, struct cf_slice extra,
                        struct cf_slice body);

#endif
