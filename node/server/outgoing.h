/* node/server/outgoing.h: JSON requests of this node to other servers' APIs (libcurl; blocks). */
#ifndef COFFER_SERVER_OUTGOING_H
#define COFFER_SERVER_OUTGOING_H

#include <stdbool.h>

#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/format/json.h"

struct outgoing_target {
    const char *url; /* scheme, host, port: "https://n1:8200"; a closing slash is tolerated */
    /* PEM files, or (instead) PEM texts; NULL: the system's CAs, no client certificate. */
    const char *ca_file, *ca_path, *cert_file, *key_file;
    const char *ca_pem, *cert_pem, *key_pem;
    const char *server_name; /* the certificate's name, when it is not the URL's host */
    const char *ns;          /* namespace of the request; NULL: none */
    bool skip_verify;        /* take any certificate: the operator said so */
    const char *address;     /* numeric: connect there instead of looking the host up; NULL */
};

/* Once, before threads. */
void outgoing_init(void);
/* POSTs body to <url>/v1/<path>; redirects are followed, unless a token travels. *ret_status: the HTTP
 * status; *ret: the answer, NULL when it has none. CF_UNAVAILABLE with the reason when nobody answered.
 * Worker threads only: blocks up to timeout_ms. */
CF_CHECKED cf_status outgoing_post(const struct outgoing_target *target, const char *path,
                                   const char *token, const struct json *body, int timeout_ms,
                                   struct arena *arena, int *ret_status, struct json **ret,
                                   struct cf_error *err);
/* The body of a 200 to a GET (body empty) or POST of any http or https URL, added to `to`, which has a maximum; the
 * system's CAs, no redirects. CF_UNAVAILABLE with the reason. Worker threads only: blocks up to timeout_ms. */
CF_CHECKED cf_status outgoing_fetch(const char *url, const char *content_type, struct cf_slice body, int timeout_ms,
                                    struct cf_buf *to, struct cf_error *err);
/* The texts of an error answer, joined; "" when there are none. Arena's. */
const char *outgoing_errors(struct arena *arena, const struct json *answer);

/* Blocks. The numeric addresses that the URL's host has right now, each once, at most `max`, in the arena.
 * CF_INVALID for a malformed URL, CF_UNAVAILABLE when the name does not resolve. */
CF_CHECKED cf_status outgoing_resolve(const char *url, struct arena *arena, const char **ret,
                                      size_t max, size_t *ret_count, struct cf_error *err);

#endif
