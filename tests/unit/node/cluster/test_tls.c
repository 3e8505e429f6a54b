/* tests/unit/node/cluster/test_tls.c: who gets through the cluster port's TLS, and what those hear
 * who don't; the operator's listener. Both ends of each connection run on one loop. */
#include "node/cluster/stream.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pki.h"

static struct loop *loop;
static struct net_listener *listener;
static struct tls_server *server;
static struct pki_ca ca, other_ca;
static struct pki_node node, stranger, expired, future, client_node;

/* One end of a connection, as a test sees it. */
struct end {
    struct stream *stream;
    bool opened, closed;
    cf_status status;
    char message[256], got[256];
    size_t got_size;
};
static struct end accepted, dialled;
static struct tls_server *accept_with;
static bool echo;

static void note_open(struct stream *stream, void *arg)
{
    struct end *end = arg;
    end->opened = true;
    if (end == &dialled) {
        stream_write(stream, stream_is_tls(stream) ? CF_SLICE("ping") : CF_SLICE("ping in plain"));
    }
}
static void note_read(struct stream *stream, void *arg)
{
    struct end *end = arg;
    struct cf_slice bytes = stream_peek(stream, sizeof(end->got) - end->got_size - 1);
    memcpy(end->got + end->got_size, bytes.data, bytes.size);
    end->got_size += bytes.size;
    stream_consume(stream, bytes.size);
    if (end == &accepted && echo) {
        stream_write(stream, stream_is_tls(stream) ? CF_SLICE("pong") : CF_SLICE("pong in plain"));
        stream_finish(stream);
    }
}
static void note_close(struct stream *stream, const struct cf_error *why, void *arg)
{
    struct end *end = arg;
    (void)stream;
    ck_assert(!end->closed);
    end->closed = true;
    end->status = why->status;
    (void)snprintf(end->message, sizeof(end->message), "%s", why->message);
    if (end == &dialled && (accepted.closed || accepted.stream == NULL)) {
        loop_stop(loop);
    } else if (end == &accepted && dialled.closed) {
        loop_stop(loop);
    }
}
static const struct stream_ops note_ops = {note_open, note_read, NULL, note_close};

static void on_accept(int fd, const struct net_address *peer, void *arg)
{
    (void)peer;
    (void)arg;
    accepted.stream = stream_accept(loop, fd, accept_with, &note_ops, &accepted);
    if (!stream_is_tls(accepted.stream)) {
        accepted.opened = true;
    }
    stream_deadline(accepted.stream, loop_now_us() + 30000000, "test");
}

static void set_up(void)
{
    pki_ca_init(&ca, "ca");
    pki_ca_init(&other_ca, "other ca");
    pki_issue(&ca, &node, "coffer://c/node/1", PKI_VALID);
    pki_issue(&ca, &client_node, "coffer://c/node/2", PKI_VALID);
    pki_issue(&other_ca, &stranger, "coffer://c/node/2", PKI_VALID);
    pki_issue(&ca, &expired, "coffer://c/node/2", PKI_EXPIRED);
    pki_issue(&ca, &future, "coffer://c/node/2", PKI_FUTURE);
    ck_ok(loop_new(&loop, &err_));
    ck_ok(tls_server_cluster(&server, &err_));
    struct tls_credentials credentials = pki_credentials(&node, &ca);
    ck_ok(tls_server_set(server, TLS_ALPN_RAFT, &credentials, &err_));
    ck_ok(net_listen(loop, CF_SLICE("127.0.0.1:0"), "test", on_accept, NULL, &listener, &err_));
    accept_with = server;
    echo = true;
}

static void tear_down(void)
{
    net_listener_free(listener);
    tls_server_free(server);
    loop_free(loop);
    pki_node_done(&node);
    pki_node_done(&client_node);
    pki_node_done(&stranger);
    pki_node_done(&expired);
    pki_node_done(&future);
    pki_ca_done(&ca);
    pki_ca_done(&other_ca);
}

static void dial_with(struct tls_client *client)
{
    struct net_address to;
    accepted = (struct end){0};
    dialled = (struct end){0};
    ck_ok(net_numeric(CF_SLICE("127.0.0.1"), net_listener_port(listener), &to, &err_));
    dialled.stream = stream_dial(loop, &to, client, &note_ops, &dialled);
    stream_deadline(dialled.stream, loop_now_us() + 30000000, "test");
    tls_client_free(client); /* the stream holds what it needs */
    loop_run(loop);
    stream_free(dialled.stream);
    stream_free(accepted.stream);
}

static void dial(struct pki_node *as, struct pki_ca *believe, const char *alpn)
{
    struct tls_credentials credentials = pki_credentials(as, believe);
    struct tls_client *client;
    ck_ok(tls_client_new(alpn, &credentials, &client, &err_));
    dial_with(client);
}

#define ck_says(end, want_status, part)                                                            \
    ck_assert_msg((end).closed && (end).status == (want_status) &&                                 \
                      strstr((end).message, (part)) != NULL,                                       \
                  "%s: %s \"%s\"", #end, cf_status_name((end).status), (end).message)

START_TEST(right_certificates_talk)
{
    set_up();
    dial(&client_node, &ca, TLS_ALPN_RAFT);
    ck_assert(accepted.opened && dialled.opened);
    ck_assert_str_eq(accepted.got, "ping");
    ck_assert_str_eq(dialled.got, "pong");
    ck_says(accepted, CF_OK, "");
    ck_says(dialled, CF_OK, "");
    tear_down();
}
END_TEST

START_TEST(wrong_authority)
{
    set_up();
    dial(&stranger, &ca, TLS_ALPN_RAFT); /* we trust it, it does not trust us */
    ck_says(accepted, CF_DENIED,
            "certificate signed by an unknown authority: \"/CN=node\" issued by "
            "\"/CN=other ca\"");
    ck_says(dialled, CF_DENIED, "the peer does not trust our certificate");
    ck_assert(!accepted.opened);
    ck_assert_str_eq(accepted.got, "");
    dial(&client_node, &other_ca, TLS_ALPN_RAFT);
    ck_says(dialled, CF_DENIED, "certificate signed by an unknown authority");
    ck_says(dialled, CF_DENIED, "(coffer://c/node/1); check the address");
    ck_assert_ptr_null(strstr(dialled.message, "proxy")); /* it speaks our protocol */
    ck_says(accepted, CF_DENIED, "the peer does not trust our certificate");
    tear_down();
}
END_TEST

START_TEST(wrong_time)
{
    set_up();
    dial(&expired, &ca, TLS_ALPN_RAFT);
    ck_says(accepted, CF_DENIED, "the peer's certificate has expired: \"/CN=node\"");
    ck_says(dialled, CF_DENIED, "the peer refuses our certificate: it has expired: coffer://c/node/2, good until ");
    dial(&future, &ca, TLS_ALPN_RAFT);
    ck_says(accepted, CF_DENIED, "not valid yet");
    tear_down();
}
END_TEST

START_TEST(names_decide)
{
    set_up();
    dial(&client_node, &ca, TLS_ALPN_PERF);
    ck_says(accepted, CF_DENIED, "a client asked for \"coffer-perf/1\", which is not served here");
    ck_says(dialled, CF_DENIED, "the peer does not serve \"coffer-perf/1\"");
    struct tls_credentials other = pki_credentials(&stranger, &other_ca);
    ck_ok(tls_server_set(server, TLS_ALPN_PERF, &other, &err_)); /* another CA under this name */
    dial(&stranger, &other_ca, TLS_ALPN_PERF);
    ck_says(dialled, CF_OK, "");
    dial(&stranger, &other_ca, TLS_ALPN_RAFT); /* does not count under the first */
    ck_says(dialled, CF_DENIED, "unknown authority");
    dial(&client_node, &other_ca, TLS_ALPN_PERF);
    ck_says(accepted, CF_DENIED, "unknown authority");
    dial(&client_node, &ca, TLS_ALPN_RAFT);
    ck_says(dialled, CF_OK, "");
    tls_server_remove(server, TLS_ALPN_PERF);
    dial(&stranger, &other_ca, TLS_ALPN_PERF);
    ck_says(dialled, CF_DENIED, "does not serve");
    tear_down();
}
END_TEST

START_TEST(not_tls_at_all)
{
    set_up();
    dial_with(NULL); /* "ping" in plain text */
    ck_says(accepted, CF_INVALID, "does not speak TLS");
    ck_assert(dialled.closed);
    accept_with = NULL; /* and a plain server for a TLS client */
    struct tls_credentials credentials = pki_credentials(&client_node, &ca);
    struct tls_client *client;
    ck_ok(tls_client_new(TLS_ALPN_RAFT, &credentials, &client, &err_));
    dial_with(client);
    ck_says(dialled, CF_INVALID, "does not speak TLS");
    tear_down();
}
END_TEST

static void write_file(const char *path, struct cf_slice text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text.data, text.size), (ssize_t)text.size);
    close(fd);
}

static char directory[64], cert_path[96], key_path[96];

static void write_pair(struct pki_node *of)
{
    CF_BUF(pem) = {.secret = true};
    ck_ok(x509_key_pem(of->key, &pem, &err_));
    write_file(cert_path, cf_buf_slice(&of->cert));
    write_file(key_path, cf_buf_slice(&pem));
}

static struct tls_files make_files(void)
{
    (void)snprintf(directory, sizeof(directory), "%s/coffer-tls-XXXXXX",
                   getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    (void)snprintf(cert_path, sizeof(cert_path), "%s/cert.pem", directory);
    (void)snprintf(key_path, sizeof(key_path), "%s/key.pem", directory);
    return (struct tls_files){.cert_file = cert_path, .key_file = key_path};
}

static void remove_files(void)
{
    unlink(cert_path);
    unlink(key_path);
    rmdir(directory);
}

/* A proxy that terminates TLS has a certificate of its own and knows nothing of our names. */
START_TEST(terminating_proxy)
{
    set_up();
    struct tls_files files = make_files();
    files.no_client_certs = true;
    write_pair(&stranger);
    ck_ok(tls_server_from_files(&files, &accept_with, &err_));
    dial(&client_node, &ca, TLS_ALPN_RAFT); /* one that refuses names it does not know */
    ck_says(dialled, CF_DENIED, "a proxy terminates TLS between this node and the peer: let TCP pass through");
    tls_server_free(accept_with);
    remove_files();
    tear_down();
}
END_TEST

/* One that chooses our name is told from another cluster by its certificate, which has no identity. */
START_TEST(proxy_that_speaks_our_name)
{
    struct pki_node proxy;
    set_up();
    pki_issue(&other_ca, &proxy, "", PKI_VALID);
    struct tls_credentials credentials = pki_credentials(&proxy, &ca);
    ck_ok(tls_server_set(server, TLS_ALPN_RAFT, &credentials, &err_));
    dial(&client_node, &ca, TLS_ALPN_RAFT);
    ck_says(dialled, CF_DENIED, "a proxy terminates TLS between this node and the peer");
    ck_says(dialled, CF_DENIED, "shown is \"/CN=node\" issued by \"/CN=other ca\"");
    pki_node_done(&proxy);
    tear_down();
}
END_TEST

/* What a blocking OpenSSL peer of another make sees; runs on a thread while the loop serves. */
struct foreign {
    int min, max, port, result;
    const char *alpn;
    size_t alpn_size;
    long error;
    char chosen[32];
};

static void *connect_foreign(void *arg)
{
    struct foreign *foreign = arg;
    char target[32];
    (void)snprintf(target, sizeof(target), "127.0.0.1:%d", foreign->port);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, foreign->min);
    SSL_CTX_set_max_proto_version(ctx, foreign->max);
    if (foreign->alpn != NULL) {
        SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)foreign->alpn,
                                (unsigned)foreign->alpn_size);
    }
    BIO *bio = BIO_new_ssl_connect(ctx);
    BIO_set_conn_hostname(bio, target);
    foreign->result = BIO_do_connect(bio) == 1 && BIO_write(bio, "ping", 4) == 4;
    SSL *ssl = NULL;
    BIO_get_ssl(bio, &ssl);
    const unsigned char *chosen = NULL;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl, &chosen, &size);
    (void)snprintf(foreign->chosen, sizeof(foreign->chosen), "%.*s", (int)size,
                   (const char *)chosen);
    char byte[8];
    foreign->result = foreign->result && BIO_read(bio, byte, sizeof(byte)) == 4;
    BIO_free_all(bio);
    SSL_CTX_free(ctx);
    return NULL;
}

static void serve_foreign(struct foreign *foreign)
{
    pthread_t thread;
    accepted = (struct end){0};
    dialled = (struct end){.closed = true};
    foreign->port = net_listener_port(listener);
    ck_assert_int_eq(pthread_create(&thread, NULL, connect_foreign, foreign), 0);
    loop_run(loop);
    stream_free(accepted.stream);
    pthread_join(thread, NULL);
}

START_TEST(cluster_port_refuses_old_and_nameless)
{
    set_up();
    struct foreign old = {TLS1_VERSION, TLS1_2_VERSION, .alpn = "\x0d" TLS_ALPN_RAFT,
                          .alpn_size = 14};
    serve_foreign(&old);
    ck_assert_int_eq(old.result, 0);
    ck_says(accepted, CF_DENIED, "TLS version");
    struct foreign nameless = {TLS1_3_VERSION, TLS1_3_VERSION};
    serve_foreign(&nameless);
    ck_assert_int_eq(nameless.result, 0);
    ck_says(accepted, CF_DENIED, "no protocol (ALPN); if it came through a proxy");
    struct foreign bare = {TLS1_3_VERSION, TLS1_3_VERSION, .alpn = "\x0d" TLS_ALPN_RAFT,
                           .alpn_size = 14};
    serve_foreign(&bare); /* the name alone, no certificate */
    ck_assert_int_eq(bare.result, 0);
    ck_says(accepted, CF_DENIED, "the peer sent no certificate");
    tear_down();
}
END_TEST

START_TEST(operators_listener)
{
    set_up();
    struct tls_files files = make_files();
    write_pair(&node);
    ck_ok(tls_server_from_files(&files, &accept_with, &err_));
    struct foreign plain = {TLS1_2_VERSION, TLS1_2_VERSION};
    serve_foreign(&plain);
    ck_assert_int_eq(plain.result, 1);
    struct foreign both = {TLS1_2_VERSION, TLS1_3_VERSION, .alpn = "\x02h2\x08http/1.1",
                           .alpn_size = 12};
    serve_foreign(&both);
    ck_assert_int_eq(both.result, 1);
    ck_assert_str_eq(both.chosen, "http/1.1");
    struct foreign only_h2 = {TLS1_2_VERSION, TLS1_3_VERSION, .alpn = "\x02h2", .alpn_size = 3};
    serve_foreign(&only_h2);
    ck_assert_int_eq(only_h2.result, 0);
    struct foreign old = {TLS1_VERSION, TLS1_1_VERSION};
    serve_foreign(&old);
    ck_assert_int_eq(old.result, 0);
    tls_server_free(accept_with);
    remove_files();
    tear_down();
}
END_TEST

START_TEST(reload_keeps_what_works)
{
    set_up();
    struct cf_error err = {0};
    struct tls_files files = make_files();
    ck_status(tls_server_from_files(&files, &accept_with, &err), CF_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, cert_path));
    ck_assert_ptr_nonnull(strstr(err.message, "No such file"));
    write_pair(&node);
    ck_ok(tls_server_from_files(&files, &accept_with, &err_));
    write_file(cert_path, cf_buf_slice(&stranger.cert));
    ck_status(tls_server_reload(accept_with, &err), CF_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "does not belong to the certificate"));
    write_file(key_path, CF_SLICE("rubbish"));
    ck_status(tls_server_reload(accept_with, &err), CF_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, key_path));
    struct foreign still = {TLS1_2_VERSION, TLS1_3_VERSION};
    serve_foreign(&still);
    ck_assert_int_eq(still.result, 1);
    write_pair(&stranger);
    ck_ok(tls_server_reload(accept_with, &err_));
    serve_foreign(&still);
    ck_assert_int_eq(still.result, 1);
    tls_server_free(accept_with);
    remove_files();
    tear_down();
}
END_TEST

START_TEST(credentials_must_fit)
{
    set_up();
    struct tls_client *client;
    struct tls_credentials bad = pki_credentials(&node, &ca);
    bad.key = stranger.key;
    ck_status(tls_client_new(TLS_ALPN_RAFT, &bad, &client, NULL), CF_INVALID);
    bad = pki_credentials(&node, &ca);
    bad.cas = CF_SLICE("nothing");
    ck_status(tls_client_new(TLS_ALPN_RAFT, &bad, &client, NULL), CF_INVALID);
    bad = pki_credentials(&node, &ca);
    bad.cert = CF_SLICE("nothing");
    ck_status(tls_server_set(server, TLS_ALPN_RAFT, &bad, NULL), CF_INVALID);
    dial(&client_node, &ca, TLS_ALPN_RAFT); /* the old ones stay */
    ck_says(dialled, CF_OK, "");
    tear_down();
}
END_TEST

TEST_MAIN("node/cluster/tls", right_certificates_talk, wrong_authority, wrong_time, names_decide,
          not_tls_at_all, terminating_proxy, proxy_that_speaks_our_name, cluster_port_refuses_old_and_nameless,
          operators_listener, reload_keeps_what_works, credentials_must_fit)
