/* node/cluster/tls_int.h: what tls.c, tls_cluster.c, tls_error.c and streams share. */
#ifndef COFFER_CLUSTER_TLS_INT_H
#define COFFER_CLUSTER_TLS_INT_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "node/cluster/tls.h"

enum { TLS_NAMES_MAX = 16 };

struct tls_named {
    char alpn[TLS_ALPN_MAX + 1];
    SSL_CTX *ctx;
};

struct tls_server {
    atomic_uint refs;
    pthread_mutex_t lock; /* over what follows */
    SSL_CTX *ctx;
    struct tls_files files; /* the operator's; cert_file NULL: the cluster port */
    struct tls_named names[TLS_NAMES_MAX];
    size_t name_count;
};

struct tls_client {
    atomic_uint refs;
    SSL_CTX *ctx;
    char alpn[TLS_ALPN_MAX + 1];
};

/* A context with what all have in common. */
SSL_CTX *tls_new_ctx(const SSL_METHOD *method, int min_version);
/* For PEM readers: a daemon has nobody to ask. */
int tls_no_passphrase(char *buf, int size, int writing, void *arg);
/* One reference, no context yet. */
struct tls_server *tls_server_new(void);

/* What a handshake leaves behind for its error message; the SSL's app data. */
struct tls_note {
    char peer[240];   /* subject, issuer and identity of the certificate that was refused */
    bool is_node;     /* that one carries an identity (identity.h): no proxy's */
    char wanted[160]; /* ALPN names that were offered to us and refused */
    const char *alpn; /* the name that we dial with, or NULL; borrowed from the client */
};

void tls_server_ref(struct tls_server *server);
void tls_client_ref(struct tls_client *client);
/* A new SSL for the descriptor; `note` must outlive it. NULL when OpenSSL refuses. */
SSL *tls_server_ssl(struct tls_server *server, int fd, struct tls_note *note);
SSL *tls_client_ssl(struct tls_client *client, int fd, struct tls_note *note);
/* After a client's handshake: did the server choose our name? */
CF_CHECKED cf_status tls_check_alpn(SSL *ssl, const struct tls_note *note, struct cf_error *err);

/* Turns what SSL_get_error() said into a sentence and drains OpenSSL's error queue. `opening`:
 * during the handshake. */
cf_status tls_explain(SSL *ssl, int ssl_error, int system_error, bool opening,
                      const struct tls_note *note, struct cf_error *err);
/* Fills note->peer while a chain is verified. */
int tls_on_verify(int ok, X509_STORE_CTX *store);
/* The reason on top of OpenSSL's queue as text; drains the queue. */
const char *tls_queue_text(char *text, size_t size);

#endif
