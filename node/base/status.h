/* node/base/status.h
 *
 * The one error idiom of the tree. A function that can fail returns cf_status and takes a last
 * `struct cf_error *err`, which may be NULL when nobody will read it. The error is filled in once,
 * where it is found; callers pass it on.
 */
#ifndef COFFER_BASE_STATUS_H
#define COFFER_BASE_STATUS_H

#include <stddef.h>

/* name, HTTP status, text a client sees when there is none better.
 * Statuses travel between nodes as numbers: add at the end only. */
#define CF_STATUS_LIST(X)                                                                          \
    X(CF_OK, 200, "ok")                                                                            \
    X(CF_INVALID, 400, "invalid request")                                                          \
    X(CF_DENIED, 403, "permission denied")                                                         \
    X(CF_NOT_FOUND, 404, "not found")                                                              \
    X(CF_SEALED, 503, "Vault is sealed")                                                           \
    X(CF_CORRUPT, 500, "internal error")                                                           \
    X(CF_INTERNAL, 500, "internal error")                                                          \
    X(CF_IO, 500, "internal error")                                                                \
    X(CF_NO_SPACE, 507, "storage is full")                                                         \
    X(CF_EXISTS, 400, "already exists")                                                            \
    X(CF_UNSUPPORTED, 405, "unsupported operation")                                                \
    X(CF_TOO_LARGE, 413, "request body too large")                                                 \
    X(CF_BUSY, 503, "too many requests in flight, try again")                                      \
    X(CF_UNAVAILABLE, 503, "no active node, try again")                                            \
    X(CF_NOT_LEADER, 503, "no active node, try again")                                             \
    X(CF_CONFLICT, 503, "conflicting writes, try again")                                           \
    X(CF_UNKNOWN_OUTCOME, 504, "outcome unknown: the write may or may not have happened")          \
    X(CF_TIMEOUT, 504, "request timed out")                                                        \
    X(CF_STALE, 412, "required index state not present")                                           \
    X(CF_UNINITIALIZED, 501, "server is not initialized")                                          \
    X(CF_RATE_LIMITED, 429, "too many requests")                                                   \
    X(CF_MEDIA_TYPE, 415, "unsupported media type")                                                \
    X(CF_READ_ONLY, 503, "this cluster does not accept writes")

#define CF_STATUS_ENUM(name, http, text) name,
typedef enum { CF_STATUS_LIST(CF_STATUS_ENUM) CF_STATUS_COUNT } cf_status;
#undef CF_STATUS_ENUM

struct cf_error {
    cf_status status;
    char message[256]; /* may reach a client: lower case, no full stop, never a secret */
    char detail[512];  /* server log only: full sentences */
    const char *where; /* file:line */
};

/* The compiler objects to a dropped result. */
#define CF_CHECKED __attribute__((warn_unused_result))
#define CF_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#define CF_STRING_(x) #x
#define CF_STRING(x) CF_STRING_(x)
#define CF_HERE __FILE__ ":" CF_STRING(__LINE__)

/* Fills *err (when there is one) with the message and returns `status`. */
cf_status cf_error_set(struct cf_error *err, cf_status status, const char *where, const char *fmt,
                       ...) CF_PRINTF(4, 5);

/* Adds the log-only detail to an error that was just set. Does nothing when err is NULL. */
void cf_error_detail(struct cf_error *err, const char *fmt, ...) CF_PRINTF(2, 3);

/* Puts "<context>: " before the message of an error on its way up; returns err's status
 * (or `status` when err is NULL). */
cf_status cf_error_prefix(struct cf_error *err, cf_status status, const char *fmt, ...)
    CF_PRINTF(3, 4);

/* Static texts and numbers of the table. Unknown values answer as CF_INTERNAL. */
const char *cf_status_name(cf_status status);
const char *cf_status_text(cf_status status);
int cf_status_http(cf_status status);

#define cf_fail(err, status, ...) cf_error_set((err), (status), CF_HERE, __VA_ARGS__)

/* The only macro that returns. */
#define CF_TRY(call)                                                                               \
    do {                                                                                           \
        cf_status try_ = (call);                                                                   \
        if (try_ != CF_OK) {                                                                       \
            return try_;                                                                           \
        }                                                                                          \
    } while (0)

/* Spells out that a result is not looked at, and why. */
#define cf_ignore(call, why)                                                                       \
    do {                                                                                           \
        _Static_assert(sizeof(why) > 1, "say why");                                                \
        if (call) {                                                                                \
        }                                                                                          \
    } while (0)

#endif
