/* node/cluster/tls_cluster.c: mutual TLS between nodes: a context for each ALPN name; see tls.h. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "node/base/memory.h"
#include "node/base/secret.h"
#include "node/cluster/tls_int.h"

static cf_status openssl_failed(struct cf_error *err, const char *what)
{
    char text[120];
    return cf_fail(err, CF_INVALID, "%s: %s", what, tls_queue_text(text, sizeof(text)));
}

static cf_status use_key(SSL_CTX *ctx, const struct tls_credentials *with, struct cf_error *err)
{
    struct cf_slice der = secret_slice(with->key);
    const unsigned char *at = der.data;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, (long)der.size);
    if (key == NULL) {
        return openssl_failed(err, "the private key is malformed");
    }
    int used = SSL_CTX_use_PrivateKey(ctx, key); /* also compares it with the certificate */
    EVP_PKEY_free(key);
    return used == 1 ? CF_OK : openssl_failed(err, "key and certificate do not fit");
}

static X509 *next_cert(BIO *pem)
{
    return PEM_read_bio_X509(pem, NULL, tls_no_passphrase, NULL);
}

static cf_status use_chain(SSL_CTX *ctx, struct cf_slice text, struct cf_error *err)
{
    BIO *pem = BIO_new_mem_buf(text.data, (int)text.size);
    X509 *cert = pem != NULL ? next_cert(pem) : NULL;
    bool used = cert != NULL && SSL_CTX_use_certificate(ctx, cert) == 1;
    X509_free(cert);
    while (used && (cert = next_cert(pem)) != NULL) {
        used = SSL_CTX_add0_chain_cert(ctx, cert) == 1;
    }
    BIO_free(pem);
    if (!used) {
        return openssl_failed(err, "the certificate is malformed or too weak");
    }
    ERR_clear_error(); /* the end of the text is an error to the reader */
    return CF_OK;
}

static cf_status use_cas(SSL_CTX *ctx, struct cf_slice text, struct cf_error *err)
{
    BIO *pem = BIO_new_mem_buf(text.data, (int)text.size);
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    X509 *cert;
    size_t count = 0;
    while (pem != NULL && (cert = next_cert(pem)) != NULL) {
        count += X509_STORE_add_cert(store, cert) == 1;
        X509_free(cert);
    }
    BIO_free(pem);
    ERR_clear_error();
    return count > 0 ? CF_OK : cf_fail(err, CF_INVALID, "the CA pool holds no certificate");
}

static cf_status use_credentials(SSL_CTX *ctx, const struct tls_credentials *with,
                                 struct cf_error *err)
{
    ERR_clear_error();
    CF_TRY(use_chain(ctx, with->cert, err));
    CF_TRY(use_key(ctx, with, err));
    CF_TRY(use_cas(ctx, with->cas, err));
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, tls_on_verify);
    return CF_OK;
}

/* Is `name` among the names of a ProtocolNameList (RFC 7301 3.1)? */
static bool offers(struct cf_slice list, struct cf_slice name)
{
    while (list.size > 0 && (size_t)list.data[0] < list.size) {
        if (cf_slice_eq(cf_slice_first(cf_slice_from(list, 1), list.data[0]), name)) {
            return true;
        }
        list = cf_slice_from(list, 1 + (size_t)list.data[0]);
    }
    return false;
}

static void note_offer(SSL *ssl, struct cf_slice list)
{
    struct tls_note *note = SSL_get_app_data(ssl);
    size_t used = 0;
    while (note != NULL && list.size > 0 && (size_t)list.data[0] < list.size &&
           used < sizeof(note->wanted) - 1) {
        struct cf_slice name = cf_slice_first(cf_slice_from(list, 1), list.data[0]);
        used += (size_t)snprintf(note->wanted + used, sizeof(note->wanted) - used, "%s\"%.*s\"",
                                 used > 0 ? ", " : "", CF_SHOW(name));
        list = cf_slice_from(list, 1 + (size_t)list.data[0]);
    }
    for (char *at = note != NULL ? note->wanted : NULL; at != NULL && *at != '\0'; at++) {
        *at = *at < ' ' || *at > '~' ? '?' : *at; /* a stranger's bytes on their way to the log */
    }
}

/* The certificate is chosen after this callback and the ALPN callback comes after that, so the
 * context is switched here, by the names that the client offers. */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct tls_server *server = arg;
    const unsigned char *bytes = NULL;
    size_t size = 0;
    struct cf_slice list = CF_SLICE_EMPTY;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &bytes,
                                  &size) == 1 &&
        size > 2) {
        list = cf_slice_of(bytes + 2, size - 2); /* after the length of the whole list */
    }
    bool found = false;
    pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < server->name_count && !found; i++) {
        if (offers(list, cf_slice_str(server->names[i].alpn))) {
            found = SSL_set_SSL_CTX(ssl, server->names[i].ctx) != NULL;
        }
    }
    pthread_mutex_unlock(&server->lock);
    if (!found) {
        note_offer(ssl, list);
        *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
        return SSL_CLIENT_HELLO_ERROR;
    }
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* A context carries its ALPN name as ex data, freed with it: what choose_name() hands to OpenSSL
 * must live as long as the handshake. */
static void free_name(void *parent, void *name, CRYPTO_EX_DATA *data, int index, long number,
                      void *arg)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)number;
    (void)arg;
    cf_free(name);
}

static int name_index;

static void make_name_index(void)
{
    name_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_name);
    assert(name_index >= 0);
}

static int choose_name(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                       const unsigned char *in, unsigned in_size, void *arg)
{
    const char *name = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), name_index);
    (void)arg;
    if (name == NULL || !offers(cf_slice_of(in, in_size), cf_slice_str(name))) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = (const unsigned char *)name; /* lives as long as the context, which the SSL holds */
    *out_size = (unsigned char)strlen(name);
    return SSL_TLSEXT_ERR_OK;
}

cf_status tls_server_cluster(struct tls_server **ret, struct cf_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)err;
    pthread_once(&once, make_name_index);
    struct tls_server *server = tls_server_new();
    server->ctx = tls_new_ctx(TLS_server_method(), TLS1_3_VERSION);
    SSL_CTX_set_verify(server->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       tls_on_verify);
    SSL_CTX_set_client_hello_cb(server->ctx, on_client_hello, server);
    *ret = server;
    return CF_OK;
}

static struct tls_named *find_name(struct tls_server *server, const char *alpn)
{
    for (size_t i = 0; i < server->name_count; i++) {
        if (strcmp(server->names[i].alpn, alpn) == 0) {
            return &server->names[i];
        }
    }
    return NULL;
}

cf_status tls_server_set(struct tls_server *server, const char *alpn,
                         const struct tls_credentials *with, struct cf_error *err)
{
    assert(strlen(alpn) > 0 && strlen(alpn) <= TLS_ALPN_MAX);
    SSL_CTX *ctx = tls_new_ctx(TLS_server_method(), TLS1_3_VERSION);
    cf_status status = use_credentials(ctx, with, err);
    if (status != CF_OK) {
        SSL_CTX_free(ctx);
        return status;
    }
    SSL_CTX_set_ex_data(ctx, name_index, cf_strdup(alpn));
    SSL_CTX_set_alpn_select_cb(ctx, choose_name, NULL);
    pthread_mutex_lock(&server->lock);
    struct tls_named *named = find_name(server, alpn);
    SSL_CTX *old = named != NULL ? named->ctx : NULL;
    if (named == NULL) {
        assert(server->name_count < TLS_NAMES_MAX);
        named = &server->names[server->name_count++];
        (void)snprintf(named->alpn, sizeof(named->alpn), "%s", alpn);
    }
    named->ctx = ctx;
    pthread_mutex_unlock(&server->lock);
    SSL_CTX_free(old);
    return CF_OK;
}

void tls_server_remove(struct tls_server *server, const char *alpn)
{
    pthread_mutex_lock(&server->lock);
    struct tls_named *named = find_name(server, alpn);
    SSL_CTX *old = named != NULL ? named->ctx : NULL;
    if (named != NULL) {
        *named = server->names[--server->name_count];
    }
    pthread_mutex_unlock(&server->lock);
    SSL_CTX_free(old);
}

cf_status tls_client_new(const char *alpn, const struct tls_credentials *with,
                         struct tls_client **ret, struct cf_error *err)
{
    CF_OWNED(tls_client) client = cf_new(struct tls_client);
    size_t size = strlen(alpn);
    unsigned char wire[1 + TLS_ALPN_MAX];
    assert(size > 0 && size <= TLS_ALPN_MAX);
    atomic_init(&client->refs, 1);
    memcpy(client->alpn, alpn, size);
    wire[0] = (unsigned char)size;
    memcpy(wire + 1, alpn, size);
    client->ctx = tls_new_ctx(TLS_client_method(), TLS1_3_VERSION);
    CF_TRY(use_credentials(client->ctx, with, err));
    if (SSL_CTX_set_alpn_protos(client->ctx, wire, (unsigned)size + 1) != 0) {
        return openssl_failed(err, "can't set the protocol name");
    }
    *ret = tls_client_take(&client);
    return CF_OK;
}

void tls_client_ref(struct tls_client *client)
{
    atomic_fetch_add(&client->refs, 1);
}

void tls_client_free(struct tls_client *client)
{
    if (client != NULL && atomic_fetch_sub(&client->refs, 1) == 1) {
        SSL_CTX_free(client->ctx);
        cf_free(client);
    }
}
