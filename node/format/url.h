/* node/format/url.h
 *
 * Percent-encoding (RFC 3986 section 2.1) and query strings. Strict: a % that is not followed by
 * two hex digits, a NUL and what decodes to invalid UTF-8 are refused. Paths are judged by
 * node/http, which must look at the encoded text too (%2e, %2f). Thread: any.
 */
#ifndef COFFER_FORMAT_URL_H
#define COFFER_FORMAT_URL_H

#include <stdbool.h>

#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"

/* Into the arena, or the text itself when there is nothing to decode. plus_is_space is for query
 * strings and forms. CF_INVALID when malformed. */
CF_CHECKED cf_status url_decode(struct arena *arena, struct cf_slice text, bool plus_is_space,
                                struct cf_slice *ret, struct cf_error *err);

/* Appends; keeps letters, digits and -._~ and, for a path, the slash. */
void url_encode(struct cf_buf *buf, struct cf_slice text);
void url_encode_path(struct cf_buf *buf, struct cf_slice text);

/* Goes through "a=1&b=2" (without the question mark), decoding. Empty parts are passed over, "a" is
 * a key with an empty value. `rest` starts as the query. False at the end and on an error; *status
 * tells which (CF_OK, CF_INVALID). */
struct url_parameter {
    struct cf_slice key, value;
};
bool url_next(struct arena *arena, struct cf_slice *rest, struct url_parameter *ret,
              cf_status *status, struct cf_error *err);
/* The first value of a key; *ret is untouched when it is absent. CF_INVALID when some part of the
 * query is malformed. */
CF_CHECKED cf_status url_query(struct arena *arena, struct cf_slice query, const char *key,
                               struct cf_slice *ret, struct cf_error *err);

#endif
