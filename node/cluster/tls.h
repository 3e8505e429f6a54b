/* node/cluster/tls.h
 *
 * What TLS connections are made with. Two kinds of server: the operator's (certificate from PEM
 * files, reloaded in place), and the cluster port's (mutual TLS 1.3, where the ALPN name that the
 * client offers decides on certificate and CA pool). A client is always mutual TLS 1.3.
 * Tickets, renegotiation and compression are off. Streams (stream.h) use these; connections that
 * exist keep what they were made with.
 */
#ifndef COFFER_CLUSTER_TLS_H
#define COFFER_CLUSTER_TLS_H

#include <stdbool.h>

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"

struct secret;
struct tls_server;
struct tls_client;

/* The protocols of the cluster port. */
#define TLS_ALPN_RAFT "coffer-raft/1"       /* inside a cluster: consensus */
#define TLS_ALPN_FORWARD "coffer-forward/1" /* inside a cluster: standby to active */
#define TLS_ALPN_PERF "coffer-perf/1"       /* performance secondary to its primary */
#define TLS_ALPN_DR "coffer-dr/1"           /* DR secondary to its primary */
#define TLS_ALPN_MAX 63                     /* bytes of a name */

/* The operator's listener. Strings are copied. */
struct tls_files {
    const char *cert_file;      /* PEM: certificate, then its chain */
    const char *key_file;       /* PEM, not encrypted */
    const char *client_ca_file; /* PEM, or NULL */
    bool no_client_certs;       /* don't even ask (tls_disable_client_certs) */
    bool require_client_cert;   /* refuse clients that have none from client_ca_file */
    bool only_tls13;            /* else TLS 1.2 and 1.3 */
};

/* Asks for client certificates, but does not verify them unless required (the cert auth method
 * judges them). ALPN http/1.1. CF_INVALID names the file and what is wrong with it (missing,
 * unreadable, no PEM, key does not belong to the certificate, expired is a matter of the operator
 * and passes). */
CF_CHECKED cf_status tls_server_from_files(const struct tls_files *files, struct tls_server **ret,
                                           struct cf_error *err);
/* Any thread. Reads the files again; on failure what was loaded before stays in use. */
CF_CHECKED cf_status tls_server_reload(struct tls_server *server, struct cf_error *err);

/* A context of a library that makes its own (an SSL_CTX): decrypted data is wiped as in ours. Any thread, before it is used. */
void tls_wipe_decrypted(void *ssl_ctx);

/* What one side of a mutual connection proves itself with, and whom it believes. Borrowed for the
 * call. `cert` and `cas` are PEM (one or more certificates; `cas` holds the roots), `key` is the
 * PKCS#8 DER that node/crypto/x509.h makes. */
struct tls_credentials {
    struct cf_slice cert;
    const struct secret *key;
    struct cf_slice cas;
};

/* The cluster port's server; refuses every handshake until a name is set. Never NULL-returning. */
CF_CHECKED cf_status tls_server_cluster(struct tls_server **ret, struct cf_error *err);
/* Adds or replaces the credentials under one ALPN name. CF_INVALID when they do not fit together.
 * Any thread; meant for the main loop. */
CF_CHECKED cf_status tls_server_set(struct tls_server *server, const char *alpn,
                                    const struct tls_credentials *with, struct cf_error *err);
/* New handshakes with this name are refused from now on. Unknown names are ignored. */
void tls_server_remove(struct tls_server *server, const char *alpn);
/* Streams hold what they need: free it at any time after they were made. NULL is fine. */
void tls_server_free(struct tls_server *server);
CF_DEFINE_OWNED(tls_server);

/* For dialling with one ALPN name; the server must have a certificate from `cas`, choose that name
 * and speak TLS 1.3. Names and addresses in its certificate are not looked at: who it is (SAN
 * coffer://...) is the caller's to check after the handshake (rpc.h does). */
CF_CHECKED cf_status tls_client_new(const char *alpn, const struct tls_credentials *with,
                                    struct tls_client **ret, struct cf_error *err);
void tls_client_free(struct tls_client *client); /* as tls_server_free */
CF_DEFINE_OWNED(tls_client);

#endif
