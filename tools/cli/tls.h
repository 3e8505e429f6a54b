/* tools/cli/tls.h: what a client needs to know for https; borrowed texts, NULL when not given. */
#ifndef COFFER_CLI_TLS_H
#define COFFER_CLI_TLS_H

#include <stdbool.h>

#include <curl/curl.h>

struct tls_options {
    const char *ca_cert, *ca_path;
    const char *client_cert, *client_key;
    const char *server_name; /* checked and sent in place of the address's host */
    bool skip_verify;
};

/* Sets certificate options of a curl handle. server_name is the session's business: curl takes it
 * from the URL, so the caller maps it with CURLOPT_CONNECT_TO. */
void tls_apply(const struct tls_options *options, CURL *curl);

#endif
