/* node/http/path.h
 *
 * The canonical form of a request's path: percent-decoded once, and then the one spelling that
 * routing, policies, audit and storage all see. What could mean two things to two of them is
 * refused; nothing is silently rewritten. Pure. Thread: any.
 */
#ifndef COFFER_HTTP_PATH_H
#define COFFER_HTTP_PATH_H

#include <stdbool.h>

#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define HTTP_PATH_SIZE_MAX ((size_t)2048) /* decoded, with the first slash */
#define HTTP_PATH_SEGMENTS_MAX 64 /* what stands between slashes; a last empty one is none */
#define HTTP_PATH_SEGMENT_SIZE_MAX ((size_t)512)

struct http_path {
    struct cf_slice canonical; /* starts with '/'; bytes of the arena, or of `sent` */
    bool is_doubled;           /* has "//": `canonical` is empty, send the client to `location` */
    struct cf_slice location;  /* with is_doubled: the path as sent, each run of slashes made one */
};

/* sent: the path of the request target, as the parser found it (visible ASCII, starts with '/', or
 * empty for "/"); may point into the request, *ret may borrow from it.
 *
 * CF_INVALID: a malformed %-escape; an encoded slash; a control byte (NUL above all); bytes that
 * are no UTF-8; a "." or ".." segment, encoded or not; beyond one of the limits above. All else is
 * the name that it says: spaces, backslashes (encoded), "%" (as "%25"), any letter of Unicode. */
CF_CHECKED cf_status http_path_parse(struct arena *arena, struct cf_slice sent,
                                     struct http_path *ret, struct cf_error *err);

/* `path` (below "/v1/") in the namespace that the header X-Vault-Namespace names: both as one path, so that
 * "ns1/secret/a" without the header is the same. Slashes around the header's value do not count; "" and
 * "root" are the root namespace. *ret_namespace: how much of the result came from the header, with its slash;
 * the caller refuses what is no namespace as a whole, so the value needs no check here. */
struct cf_slice http_path_in(struct arena *arena, struct cf_slice header, struct cf_slice path,
                             size_t *ret_namespace);

#endif
