/* node/cluster/tls.c: the TLS contexts; see tls.h. */
#include "node/cluster/tls.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "node/base/memory.h"
#include "node/base/secret.h"
#include "node/cluster/tls_int.h"

enum { NAMES_MAX = 16 };

struct named {
    char alpn[TLS_ALPN_MAX + 1];
    SSL_CTX *ctx;
};

struct tls_server {
    atomic_uint refs;
    pthread_mutex_t lock; /* over what follows */
    SSL_CTX *ctx;
    struct tls_files files; /* the operator's; cert_file NULL: the cluster port */
    struct named names[NAMES_MAX];
    size_t name_count;
};

struct tls_client {
    atomic_uint refs;
    SSL_CTX *ctx;
    char alpn[TLS_ALPN_MAX + 1];
};

static cf_status openssl_failed(struct cf_error *err, const char *what)
{
    char text[120];
    return cf_fail(err, CF_INVALID, "%s: %s", what, tls_queue_text(text, sizeof(text)));
}

/* What all contexts have in common. */
static SSL_CTX *new_ctx(const SSL_METHOD *method, int min_version)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    assert(ctx != NULL); /* OpenSSL without memory or without its default provider */
    SSL_CTX_set_min_proto_version(ctx, min_version);
    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    /* Partial writes: at most one record is ever half-way, so stream_sent() tells the truth. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
    return ctx;
}

static int choose_http(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                       const unsigned char *in, unsigned in_size, void *arg)
{
    static const unsigned char http[] = "\x08http/1.1";
    (void)ssl;
    (void)arg;
    /* in and out point into constant memory; the cast is what the interface wants */
    if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_size, http, sizeof(http) - 1,
                              in, in_size) != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 3.2 */
    }
    return SSL_TLSEXT_ERR_OK;
}

static int accept_any(int ok, X509_STORE_CTX *store)
{
    (void)ok;
    (void)store;
    return 1;
}

static cf_status check_readable(const char *path, struct cf_error *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return cf_fail(err, CF_INVALID, "can't read \"%s\": %m", path);
    }
    (void)fclose(file);
    return CF_OK;
}

static cf_status file_failed(struct cf_error *err, const char *path, const char *what)
{
    char text[120];
    return cf_fail(err, CF_INVALID, "\"%s\" %s: %s", path, what,
                   tls_queue_text(text, sizeof(text)));
}

static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1; /* a daemon has nobody to ask */
}

static cf_status load_client_cas(SSL_CTX *ctx, const struct tls_files *files, struct cf_error *err)
{
    if (files->client_ca_file == NULL) {
        return CF_OK;
    }
    CF_TRY(check_readable(files->client_ca_file, err));
    if (SSL_CTX_load_verify_file(ctx, files->client_ca_file) != 1) {
        return file_failed(err, files->client_ca_file, "holds no usable PEM certificate");
    }
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(files->client_ca_file);
    if (names != NULL) {
        SSL_CTX_set_client_CA_list(ctx, names);
    }
    ERR_clear_error();
    return CF_OK;
}

static cf_status load_pair(SSL_CTX *ctx, const struct tls_files *files, struct cf_error *err)
{
    CF_TRY(check_readable(files->cert_file, err));
    CF_TRY(check_readable(files->key_file, err));
    if (SSL_CTX_use_certificate_chain_file(ctx, files->cert_file) != 1) {
        return file_failed(err, files->cert_file, "holds no usable PEM certificate");
    }
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    ERR_clear_error();
    if (SSL_CTX_use_PrivateKey_file(ctx, files->key_file, SSL_FILETYPE_PEM) != 1) {
        if (ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH) {
            ERR_clear_error();
            return cf_fail(err, CF_INVALID,
                           "the key in \"%s\" does not belong to the certificate "
                           "in \"%s\"",
                           files->key_file, files->cert_file);
        }
        return file_failed(err, files->key_file, "holds no usable PEM key (without a passphrase)");
    }
    return CF_OK;
}

static cf_status build_operator(const struct tls_files *files, SSL_CTX **ret, struct cf_error *err)
{
    SSL_CTX *ctx =
        new_ctx(TLS_server_method(), files->only_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    ERR_clear_error();
    cf_status status = load_pair(ctx, files, err);
    if (status == CF_OK) {
        status = load_client_cas(ctx, files, err);
    }
    if (status != CF_OK) {
        SSL_CTX_free(ctx);
        return status;
    }
    SSL_CTX_set_alpn_select_cb(ctx, choose_http, NULL);
    if (files->require_client_cert) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, tls_on_verify);
    } else if (!files->no_client_certs) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, accept_any);
    }
    *ret = ctx;
    return CF_OK;
}

static struct tls_server *server_new(void)
{
    struct tls_server *server = cf_new(struct tls_server);
    atomic_init(&server->refs, 1);
    pthread_mutex_init(&server->lock, NULL);
    return server;
}

cf_status tls_server_from_files(const struct tls_files *files, struct tls_server **ret,
                                struct cf_error *err)
{
    if (files->cert_file == NULL || files->key_file == NULL) {
        return cf_fail(err, CF_INVALID,
                       "a TLS listener needs \"tls_cert_file\" and \"tls_key_file\" (or "
                       "tls_disable = true)");
    }
    if (files->require_client_cert && files->client_ca_file == NULL) {
        return cf_fail(err, CF_INVALID,
                       "\"tls_require_and_verify_client_cert\" needs "
                       "\"tls_client_ca_file\"");
    }
    SSL_CTX *ctx = NULL;
    CF_TRY(build_operator(files, &ctx, err));
    struct tls_server *server = server_new();
    server->ctx = ctx;
    server->files = *files;
    server->files.cert_file = cf_strdup(files->cert_file);
    server->files.key_file = cf_strdup(files->key_file);
    server->files.client_ca_file =
        files->client_ca_file != NULL ? cf_strdup(files->client_ca_file) : NULL;
    *ret = server;
    return CF_OK;
}

cf_status tls_server_reload(struct tls_server *server, struct cf_error *err)
{
    SSL_CTX *fresh = NULL;
    assert(server->files.cert_file != NULL);
    CF_TRY(build_operator(&server->files, &fresh, err)); /* files never change after the start */
    pthread_mutex_lock(&server->lock);
    SSL_CTX *old = server->ctx;
    server->ctx = fresh;
    pthread_mutex_unlock(&server->lock);
    SSL_CTX_free(old);
    return CF_OK;
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
    return PEM_read_bio_X509(pem, NULL, no_passphrase, NULL);
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
    struct tls_server *server = server_new();
    server->ctx = new_ctx(TLS_server_method(), TLS1_3_VERSION);
    SSL_CTX_set_verify(server->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       tls_on_verify);
    SSL_CTX_set_client_hello_cb(server->ctx, on_client_hello, server);
    *ret = server;
    return CF_OK;
}

static struct named *find_name(struct tls_server *server, const char *alpn)
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
    SSL_CTX *ctx = new_ctx(TLS_server_method(), TLS1_3_VERSION);
    cf_status status = use_credentials(ctx, with, err);
    if (status != CF_OK) {
        SSL_CTX_free(ctx);
        return status;
    }
    SSL_CTX_set_ex_data(ctx, name_index, cf_strdup(alpn));
    SSL_CTX_set_alpn_select_cb(ctx, choose_name, NULL);
    pthread_mutex_lock(&server->lock);
    struct named *named = find_name(server, alpn);
    SSL_CTX *old = named != NULL ? named->ctx : NULL;
    if (named == NULL) {
        assert(server->name_count < NAMES_MAX);
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
    struct named *named = find_name(server, alpn);
    SSL_CTX *old = named != NULL ? named->ctx : NULL;
    if (named != NULL) {
        *named = server->names[--server->name_count];
    }
    pthread_mutex_unlock(&server->lock);
    SSL_CTX_free(old);
}

void tls_server_ref(struct tls_server *server)
{
    atomic_fetch_add(&server->refs, 1);
}

void tls_server_free(struct tls_server *server)
{
    if (server == NULL || atomic_fetch_sub(&server->refs, 1) != 1) {
        return;
    }
    SSL_CTX_free(server->ctx);
    for (size_t i = 0; i < server->name_count; i++) {
        SSL_CTX_free(server->names[i].ctx);
    }
    cf_free((void *)(uintptr_t)server->files.cert_file);
    cf_free((void *)(uintptr_t)server->files.key_file);
    cf_free((void *)(uintptr_t)server->files.client_ca_file);
    pthread_mutex_destroy(&server->lock);
    cf_free(server);
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
    client->ctx = new_ctx(TLS_client_method(), TLS1_3_VERSION);
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

static SSL *new_ssl(SSL_CTX *ctx, int fd, struct tls_note *note)
{
    SSL *ssl = SSL_new(ctx);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_app_data(ssl, note);
    return ssl;
}

SSL *tls_server_ssl(struct tls_server *server, int fd, struct tls_note *note)
{
    pthread_mutex_lock(&server->lock);
    SSL *ssl = new_ssl(server->ctx, fd, note);
    pthread_mutex_unlock(&server->lock);
    if (ssl != NULL) {
        SSL_set_accept_state(ssl);
    }
    return ssl;
}

SSL *tls_client_ssl(struct tls_client *client, int fd, struct tls_note *note)
{
    SSL *ssl = new_ssl(client->ctx, fd, note);
    note->alpn = client->alpn;
    if (ssl != NULL) {
        SSL_set_connect_state(ssl);
    }
    return ssl;
}
