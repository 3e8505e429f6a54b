/* tests/unit/node/http/test_server_tls.c: the same server behind the operator's certificate. */
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "harness.h"
#include "tests/unit/node/cluster/pki.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define BIG ((size_t)4 << 20)
#define SECOND ((uint64_t)1000000)

static struct harness *harness;
static struct pki_ca ca;
static struct pki_node server_node, client_node;
static char folder[] = "/tmp/coffer-http-XXXXXX";
static char cert_file[64], key_file[64];

static void respond_later(struct http_exchange *x, void *arg)
{
    http_respond(x, 200, NULL, cf_slice_str(arg));
}

static void respond_to_nobody(struct http_exchange *x, void *arg)
{
    (void)arg;
    ck_assert(http_is_gone(x));
    http_respond(x, 200, NULL, CF_SLICE("nobody hears"));
}

static void handler(void *ctx, struct http_exchange *x)
{
    struct harness *h = ctx;
    struct cf_slice path = http_path(x);
    ck_assert(http_is_tls(x));
    if (cf_slice_is(path, "/v1/later")) {
        h->later[atomic_load(&h->later_count)] = x;
        atomic_fetch_add(&h->later_count, 1);
        sem_post(&h->arrived);
    } else if (cf_slice_is(path, "/v1/cert")) {
        struct cf_slice der = CF_SLICE_EMPTY;
        cf_status status = http_peer_cert(x, &der, NULL);
        http_respond(x, status == CF_OK ? 200 : cf_status_http(status), NULL, der);
    } else if (cf_slice_is(path, "/v1/big")) {
        uint8_t *big = cf_zalloc(BIG);
        http_respond(x, 200, NULL, cf_slice_of(big, BIG));
        cf_free(big);
    } else {
        char text[32];
        (void)snprintf(text, sizeof(text), "%zu", http_body(x).size);
        http_respond(x, 200, NULL, cf_slice_str(text));
    }
}

static void write_file(const char *path, struct cf_slice bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes.data, bytes.size), (ssize_t)bytes.size);
    close(fd);
}

static void set_up(void)
{
    struct tls_files files = {.cert_file = cert_file, .key_file = key_file};
    struct http_options options = {.handler = handler};
    pki_ca_init(&ca, "test ca");
    pki_issue(&ca, &server_node, "", PKI_VALID);
    pki_issue(&ca, &client_node, "coffer://client", PKI_VALID);
    CF_BUF(pem) = {0};
    ck_ok(x509_key_pem(server_node.key, &pem, &err_));
    (void)snprintf(cert_file, sizeof(cert_file), "%s/cert.pem", folder);
    (void)snprintf(key_file, sizeof(key_file), "%s/key.pem", folder);
    write_file(cert_file, cf_buf_slice(&server_node.cert));
    write_file(key_file, cf_buf_slice(&pem));
    harness = cf_new(struct harness);
    ck_ok(tls_server_from_files(&files, &harness->tls, &err_));
    harness_start(harness, options, 1);
}

static void tear_down(void)
{
    harness_stop(harness, 0);
    cf_free(harness);
    pki_node_done(&server_node);
    pki_node_done(&client_node);
    pki_ca_done(&ca);
    unlink(cert_file);
    unlink(key_file);
}

struct client {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
};

static X509 *client_x509(void)
{
    BIO *bio = BIO_new_mem_buf(client_node.cert.data, (int)client_node.cert.size);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    ck_assert_ptr_nonnull(cert);
    return cert;
}

static void show_certificate(SSL_CTX *ctx)
{
    struct cf_slice der = secret_slice(client_node.key);
    const unsigned char *at = der.data;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, (long)der.size);
    X509 *cert = client_x509();
    ck_assert_int_eq(SSL_CTX_use_certificate(ctx, cert), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static struct client open_client(bool with_certificate)
{
    static const unsigned char alpn[] = "\x02h2\x08http/1.1";
    struct client client = {.fd = client_connect(harness), .ctx = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_alpn_protos(client.ctx, alpn, sizeof(alpn) - 1);
    if (with_certificate) {
        show_certificate(client.ctx);
    }
    client.ssl = SSL_new(client.ctx);
    SSL_set_fd(client.ssl, client.fd);
    ck_assert_int_eq(SSL_connect(client.ssl), 1);
    const unsigned char *chosen;
    unsigned size;
    SSL_get0_alpn_selected(client.ssl, &chosen, &size);
    ck_slice(cf_slice_of(chosen, size), "http/1.1");
    return client;
}

static void close_client(struct client *client)
{
    SSL_free(client->ssl);
    SSL_CTX_free(client->ctx);
    close(client->fd);
    ERR_clear_error();
}

static ssize_t tls_recv(void *from, void *to, size_t size)
{
    int got = SSL_read(((struct client *)from)->ssl, to, (int)size);
    ERR_clear_error();
    return got;
}

static void say(struct client *client, struct cf_slice bytes)
{
    ck_assert_int_eq(SSL_write(client->ssl, bytes.data, (int)bytes.size), (int)bytes.size);
}

static void ask(struct client *client, struct answer *a, const char *request, int status)
{
    say(client, cf_slice_str(request));
    ck_assert(answer_read(a, tls_recv, client, true));
    ck_assert_msg(a->status == status, "%s: %d, not %d", request, a->status, status);
}

static void expect_end(struct client *client, struct answer *a)
{
    char byte;
    answer_consume(a);
    ck_assert_uint_eq(a->bytes.size, 0);
    ck_assert_int_le(tls_recv(client, &byte, 1), 0);
}

START_TEST(answers_over_tls)
{
    set_up();
    struct client client = open_client(false);
    ANSWER(a);
    ask(&client, &a, GET("/v1/a"), 200);
    ck_assert(answer_has(&a, "Strict-Transport-Security: max-age=31536000; includeSubDomains"));
    ck_assert(answer_has(&a, "Cache-Control: no-store"));
    ask(&client, &a, GET("/v1/big"), 200);
    ck_assert_uint_eq(a.body, BIG);
    ask(&client, &a, GET("/v1/cert"), 404);
    CF_BUF(text) = {0};
    cf_buf_add_str(&text, "POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    for (size_t i = 0; i < 1000000; i++) {
        cf_buf_add_byte(&text, 'b');
    }
    say(&client, cf_buf_slice(&text));
    ck_assert(answer_read(&a, tls_recv, &client, true));
    ck_slice(answer_body(&a), "1000000");
    ask(&client, &a, "GET /v1/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 200);
    expect_end(&client, &a);
    close_client(&client);
    tear_down();
}
END_TEST

START_TEST(pipelining_over_tls)
{
    set_up();
    struct client client = open_client(false);
    ANSWER(a);
    CF_BUF(text) = {0};
    for (unsigned i = 0; i < 300; i++) {
        cf_buf_addf(&text, "PUT /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: %u\r\n\r\n%.*s",
                    i % 10, (int)(i % 10), "0123456789");
    }
    say(&client, CF_SLICE(GET("/v1/later")));
    say(&client, cf_buf_slice(&text));
    sem_wait(&harness->arrived);
    http_exchange_post(harness->later[0], respond_later, (void *)(uintptr_t) "late");
    ck_assert(answer_read(&a, tls_recv, &client, true));
    ck_slice(answer_body(&a), "late");
    for (unsigned i = 0; i < 300; i++) {
        char want[16];
        (void)snprintf(want, sizeof(want), "%u", i % 10);
        ck_assert(answer_read(&a, tls_recv, &client, true));
        ck_slice(answer_body(&a), want);
    }
    close_client(&client);
    tear_down();
}
END_TEST

/* What the client shows reaches the handler byte for byte, unverified. */
START_TEST(client_certificate)
{
    set_up();
    struct client client = open_client(true);
    ANSWER(a);
    ask(&client, &a, GET("/v1/cert"), 200);
    X509 *cert = client_x509();
    unsigned char *der = NULL;
    int size = i2d_X509(cert, &der);
    ck_assert(cf_slice_eq(answer_body(&a), cf_slice_of(der, (size_t)size)));
    OPENSSL_free(der);
    X509_free(cert);
    close_client(&client);
    tear_down();
}
END_TEST

START_TEST(expect_100_over_tls)
{
    set_up();
    struct client client = open_client(false);
    ANSWER(a);
    say(&client, CF_SLICE("POST /v1/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                          "Content-Length: 2\r\n\r\n"));
    ck_assert(answer_read(&a, tls_recv, &client, false));
    ck_assert_int_eq(a.status, 100);
    ask(&client, &a, "{}", 200);
    ask(&client, &a,
        "POST /v1/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
        "Content-Length: 33554433\r\n\r\n",
        413);
    expect_end(&client, &a);
    close_client(&client);
    tear_down();
}
END_TEST

START_TEST(client_gone_over_tls)
{
    set_up();
    for (unsigned i = 0; i < 10; i++) {
        struct client client = open_client(i % 3 == 0);
        say(&client, CF_SLICE(GET("/v1/later")));
        sem_wait(&harness->arrived);
        if (i % 2 == 0) {
            SSL_shutdown(client.ssl);
        }
        close_client(&client);
        harness_until(harness, connections, 0);
        http_exchange_post(harness->later[i], respond_to_nobody, NULL);
        harness_until(harness, pending, 0);
    }
    ck_assert_uint_eq(http_server_stats(harness_server(harness)).lost_answers, 10);
    tear_down();
}
END_TEST

/* Neither plain HTTP nor silence gets a connection; both are gone after the header's deadline. */
START_TEST(no_handshake)
{
    set_up();
    int plain = client_connect(harness), silent = client_connect(harness);
    ANSWER(a);
    client_say(plain, GET("/v1/a"));
    while (answer_more(&a, client_recv, &plain)) {
    }
    ck_assert(!cf_slice_starts(cf_buf_slice(&a.bytes), CF_SLICE("HTTP/")) ||
              memmem(a.bytes.data, a.bytes.size, " 400 ", 5) != NULL);
    harness_until(harness, connections, 1);
    harness_pass(harness, 11 * SECOND);
    ANSWER(b);
    client_expect_end(silent, &b);
    ck_assert_uint_eq(http_server_stats(harness_server(harness)).requests, 0);
    close(plain);
    close(silent);
    tear_down();
}
END_TEST

static int run(void)
{
    const TTest *const tests[] = {answers_over_tls,    pipelining_over_tls,  client_certificate,
                                  expect_100_over_tls, client_gone_over_tls, no_handshake};
    return test_run("node/http/server_tls", tests, CF_LENGTH(tests));
}

int main(void)
{
    if (mkdtemp(folder) == NULL) {
        perror("mkdtemp");
        return EXIT_FAILURE;
    }
    int result = run();
    rmdir(folder);
    return result;
}
