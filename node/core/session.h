/* node/core/session.h
 *
 * X-Vault-Index: what a client has seen of a cluster's state, so that no node shows it less. The text is base64
 * of `v1:<cluster id>:<local index>:<replicated index>:<hex HMAC>`. Local counts this cluster's log; replicated
 * that of its primary, on a performance secondary whose own log did not have the effect yet. Clients keep it,
 * merge several and send it back. Pure.
 */
#ifndef COFFER_CORE_SESSION_H
#define COFFER_CORE_SESSION_H

#include <stdint.h>

#include "node/base/slice.h"
#include "node/base/status.h"

struct session_index {
    uint64_t local, replicated;
};

/* cluster: this cluster's id as text. salt: 32 secret bytes that the cluster's nodes share. */
void session_write(const uint8_t salt[32], const char *cluster, struct session_index index,
                   struct cf_buf *to);
/* Raises *ret to what the text asks for. One of another cluster asks for nothing: positions of two logs cannot
 * be compared, and after a promotion nobody would ever reach them. CF_INVALID: malformed, or not one of ours. */
CF_CHECKED cf_status session_read(const uint8_t salt[32], const char *cluster, struct cf_slice text,
                                  struct session_index *ret, struct cf_error *err);

#endif
