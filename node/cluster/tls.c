/* node/cluster/tls.c: the operator's TLS contexts, and what all have in common; see tls.h. */
#include "node/cluster/tls.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "node/base/memory.h"
#include "node/cluster/tls_int.h"

/* OpenSSL's buffer would keep the last token and secret of a connection, also after it is closed. */
void tls_wipe_decrypted(void *ssl_ctx)
{
    SSL_CTX_set_options((SSL_CTX *)ssl_ctx, SSL_OP_CLEANSE_PLAINTEXT);
}

SSL_CTX *tls_new_ctx(const SSL_METHOD *method, int min_version)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    assert(ctx != NULL); /* OpenSSL without memory or without its default provider */
    SSL_CTX_set_min_proto_version(ctx, min_version);
    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE);
    tls_wipe_decrypted(ctx);
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

int tls_no_passphrase(char *buf, int size, int writing, void *arg)
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
    SSL_CTX_set_default_passwd_cb(ctx, tls_no_passphrase);
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
        tls_new_ctx(TLS_server_method(), files->only_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
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

struct tls_server *tls_server_new(void)
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
    struct tls_server *server = tls_server_new();
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
