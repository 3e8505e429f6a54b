/* tools/load/conn.c: one keep-alive HTTP/1.1 connection. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "tools/load/answer.h"
#include "tools/load/conn.h"

#define READ_SIZE ((size_t)64 * 1024)
#define BODY_MAX ((size_t)256 * 1024 * 1024)
#define TLS_CONNECT_MS 10000L

struct conn {
    const struct conn_target *target;
    int fd;
    CURL *curl; /* https only */
    struct cf_buf request;
    size_t sent;
    struct answer answer;
    uint8_t *input;
};

static cf_status split_authority(const char *authority, struct conn_target *ret,
                                 struct cf_error *err)
{
    const char *host = authority;
    const char *host_end = NULL;
    if (*authority == '[') {
        host++;
        host_end = strchr(host, ']');
    } else {
        host_end = strrchr(authority, ':');
        host_end = host_end != NULL ? host_end : authority + strlen(authority);
    }
    if (host_end == NULL || host_end == host || (size_t)(host_end - host) >= sizeof(ret->host)) {
        return cf_fail(err, CF_INVALID, "no host in the address \"%s\"", ret->address);
    }
    memcpy(ret->host, host, (size_t)(host_end - host));
    ret->host[host_end - host] = '\0';
    const char *port = *host_end == ']' ? host_end + 1 : host_end;
    if (*port == ':') {
        port++;
    } else {
        port = ret->tls ? "443" : "80";
    }
    if (strlen(port) == 0 || strlen(port) >= sizeof(ret->port) ||
        strspn(port, "0123456789") != strlen(port)) {
        return cf_fail(err, CF_INVALID, "bad port in the address \"%s\"", ret->address);
    }
    (void)snprintf(ret->port, sizeof(ret->port), "%s", port);
    memcpy(ret->authority, authority, strlen(authority) + 1); /* the caller checked its length */
    return CF_OK;
}

cf_status conn_target_parse(const char *address, const struct tls_options *options,
                            struct conn_target *ret, struct cf_error *err)
{
    static const char http[] = "http://";
    static const char https[] = "https://";
    struct conn_target target = {0};
    size_t size = strlen(address);
    while (size > 0 && address[size - 1] == '/') {
        size--;
    }
    if (size >= sizeof(target.address)) {
        return cf_fail(err, CF_INVALID, "the address is too long");
    }
    memcpy(target.address, address, size);
    const char *authority = NULL;
    if (strncmp(target.address, http, sizeof(http) - 1) == 0) {
        authority = target.address + sizeof(http) - 1;
    } else if (strncmp(target.address, https, sizeof(https) - 1) == 0) {
        authority = target.address + sizeof(https) - 1;
        target.tls = true;
    } else {
        return cf_fail(err, CF_INVALID, "\"%s\" is no http:// or https:// address", address);
    }
    if (strlen(authority) >= sizeof(target.authority) || strpbrk(authority, "/?#@ \r\n") != NULL) {
        return cf_fail(err, CF_INVALID, "\"%s\" is not of the form scheme://host:port", address);
    }
    if (options != NULL) {
        target.options = *options;
    }
    CF_TRY(split_authority(authority, &target, err));
    *ret = target;
    return CF_OK;
}

struct conn *load_conn_new(const struct conn_target *target)
{
    struct conn *conn = cf_new(struct conn);
    conn->target = target;
    conn->fd = -1;
    conn->input = cf_alloc(READ_SIZE);
    cf_buf_init_secret(&conn->request, 0);
    answer_init(&conn->answer, BODY_MAX);
    return conn;
}

void conn_close(struct conn *conn)
{
    if (conn->curl != NULL) {
        curl_easy_cleanup(conn->curl); /* closes its socket, too */
        conn->curl = NULL;
    } else if (conn->fd >= 0) {
        (void)close(conn->fd);
    }
    conn->fd = -1;
    conn->sent = 0;
    answer_reset(&conn->answer);
}

void conn_free(struct conn *conn)
{
    if (conn != NULL) {
        conn_close(conn);
        cf_buf_done(&conn->request);
        answer_done(&conn->answer);
        cf_free(conn->input);
        cf_free(conn);
    }
}

bool conn_is_open(const struct conn *conn)
{
    return conn->fd >= 0;
}

int conn_fd(const struct conn *conn)
{
    return conn->fd;
}

static cf_status open_tls(struct conn *conn, struct cf_error *err)
{
    const struct conn_target *target = conn->target;
    const char *name = target->options.server_name;
    char url[600];
    char to[600];
    char detail[CURL_ERROR_SIZE] = "";
    struct curl_slist *list = NULL;
    CURL *curl = curl_easy_init();
    if (curl == NULL) {
        return cf_fail(err, CF_IO, "the HTTP library does not start");
    }
    (void)snprintf(url, sizeof(url), "https://%s:%s", name != NULL ? name : target->host,
                   target->port);
    if (name == NULL && strchr(target->host, ':') != NULL) {
        (void)snprintf(url, sizeof(url), "https://[%s]:%s", target->host, target->port);
    }
    (void)snprintf(to, sizeof(to), "::%s:%s", target->host, target->port);
    tls_apply(&target->options, curl);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, TLS_CONNECT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
    if (name != NULL) {
        list = curl_slist_append(NULL, to);
        (void)curl_easy_setopt(curl, CURLOPT_CONNECT_TO, list);
    }
    CURLcode code = curl_easy_perform(curl);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL); /* the buffer ends here */
    curl_slist_free_all(list);
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (code == CURLE_OK) {
        code = curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &fd);
    }
    if (code != CURLE_OK || fd == CURL_SOCKET_BAD) {
        curl_easy_cleanup(curl);
        return cf_fail(err, CF_IO, "cannot connect to %s: %s", target->address,
                       *detail != '\0' ? detail : curl_easy_strerror(code));
    }
    conn->curl = curl;
    conn->fd = (int)fd;
    return CF_OK;
}

static cf_status open_tcp(struct conn *conn, struct cf_error *err)
{
    const struct conn_target *target = conn->target;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int code = getaddrinfo(target->host, target->port, &hints, &list);
    if (code != 0) {
        return cf_fail(err, CF_IO, "cannot find %s: %s", target->host, gai_strerror(code));
    }
    int saved = 0;
    for (struct addrinfo *at = list; at != NULL && conn->fd < 0; at = at->ai_next) {
        int fd = socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            saved = errno;
            continue;
        }
        int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (connect(fd, at->ai_addr, at->ai_addrlen) == 0 || errno == EINPROGRESS) {
            conn->fd = fd;
        } else {
            saved = errno;
            (void)close(fd);
        }
    }
    freeaddrinfo(list);
    if (conn->fd < 0) {
        return cf_fail(err, CF_IO, "cannot connect to %s: %s", target->address, strerror(saved));
    }
    return CF_OK;
}

cf_status conn_open(struct conn *conn, struct cf_error *err)
{
    conn_close(conn);
    return conn->target->tls ? open_tls(conn, err) : open_tcp(conn, err);
}

struct cf_buf *conn_request(struct conn *conn)
{
    return &conn->request;
}

bool conn_wants_write(const struct conn *conn)
{
    return conn->sent < conn->request.size;
}

/* *ret 0: it would block. */
static cf_status send_some(struct conn *conn, size_t *ret, struct cf_error *err)
{
    const uint8_t *from = conn->request.data + conn->sent;
    size_t size = conn->request.size - conn->sent;
    *ret = 0;
    if (conn->curl != NULL) {
        CURLcode code = curl_easy_send(conn->curl, from, size, ret);
        if (code != CURLE_OK && code != CURLE_AGAIN) {
            return cf_fail(err, CF_IO, "%s: %s", conn->target->address, curl_easy_strerror(code));
        }
        return CF_OK;
    }
    ssize_t sent = send(conn->fd, from, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOTCONN) {
        return cf_fail(err, CF_IO, "%s: %s", conn->target->address, strerror(errno));
    }
    *ret = sent > 0 ? (size_t)sent : 0;
    return CF_OK;
}

/* *ret 0 and !*closed: it would block. */
static cf_status read_some(struct conn *conn, size_t *ret, bool *closed, struct cf_error *err)
{
    *ret = 0;
    *closed = false;
    if (conn->curl != NULL) {
        CURLcode code = curl_easy_recv(conn->curl, conn->input, READ_SIZE, ret);
        if (code != CURLE_OK && code != CURLE_AGAIN) {
            return cf_fail(err, CF_IO, "%s: %s", conn->target->address, curl_easy_strerror(code));
        }
        *closed = code == CURLE_OK && *ret == 0;
        return CF_OK;
    }
    ssize_t got = recv(conn->fd, conn->input, READ_SIZE, 0);
    if (got < 0 && errno != EAGAIN && errno != EINTR && errno != ENOTCONN) {
        return cf_fail(err, CF_IO, "%s: %s", conn->target->address, strerror(errno));
    }
    *closed = got == 0;
    *ret = got > 0 ? (size_t)got : 0;
    return CF_OK;
}

cf_status conn_start(struct conn *conn, struct cf_error *err)
{
    size_t sent = 0;
    answer_reset(&conn->answer);
    conn->sent = 0;
    CF_TRY(send_some(conn, &sent, err));
    conn->sent = sent;
    return CF_OK;
}

cf_status conn_step(struct conn *conn, bool *complete, struct cf_error *err)
{
    *complete = false;
    while (conn_wants_write(conn)) {
        size_t sent = 0;
        CF_TRY(send_some(conn, &sent, err));
        if (sent == 0) {
            break;
        }
        conn->sent += sent;
    }
    for (;;) {
        size_t got = 0;
        size_t used = 0;
        bool closed = false;
        CF_TRY(read_some(conn, &got, &closed, err));
        if (closed) {
            CF_TRY(answer_closed(&conn->answer, err));
        }
        CF_TRY(answer_feed(&conn->answer, cf_slice_of(conn->input, got), &used, err));
        if (conn->answer.state == ANSWER_COMPLETE) {
            if (used < got || conn_wants_write(conn)) {
                conn->answer.close = true; /* out of step: do not use it again */
            }
            *complete = true;
            return CF_OK;
        }
        /* A short read of a plain socket has emptied it; a TLS record may hide behind another. */
        if (got == 0 || (conn->curl == NULL && got < READ_SIZE)) {
            return CF_OK;
        }
    }
}

int conn_status(const struct conn *conn)
{
    return conn->answer.status;
}

struct cf_slice conn_body(const struct conn *conn)
{
    return cf_buf_slice(&conn->answer.body);
}

void load_conn_finish(struct conn *conn)
{
    if (conn->answer.close) {
        conn_close(conn);
    }
}

static cf_status wait_for(struct conn *conn, int timeout_ms, struct cf_error *err)
{
    short write = conn_wants_write(conn) ? POLLOUT : 0;
    struct pollfd entry = {.fd = conn->fd, .events = (short)(POLLIN | write)};
    int ready = poll(&entry, 1, timeout_ms);
    if (ready == 0) {
        return cf_fail(err, CF_TIMEOUT, "%s: no answer in time", conn->target->address);
    }
    if (ready < 0 && errno != EINTR) {
        return cf_fail(err, CF_IO, "%s: %s", conn->target->address, strerror(errno));
    }
    return CF_OK;
}

static cf_status call_once(struct conn *conn, int timeout_ms, struct cf_error *err)
{
    uint64_t start_us = cf_monotonic_us(cf_host_clock());
    bool complete = false;
    if (!conn_is_open(conn)) {
        CF_TRY(conn_open(conn, err));
    }
    CF_TRY(conn_start(conn, err));
    while (!complete) {
        int spent_ms = (int)((cf_monotonic_us(cf_host_clock()) - start_us) / 1000);
        CF_TRY(wait_for(conn, spent_ms < timeout_ms ? timeout_ms - spent_ms : 0, err));
        CF_TRY(conn_step(conn, &complete, err));
    }
    return CF_OK;
}

cf_status conn_call(struct conn *conn, int timeout_ms, struct cf_error *err)
{
    cf_status status = call_once(conn, timeout_ms, err);
    if (status != CF_OK) {
        conn_close(conn);
    }
    return status;
}

void conn_write_request(struct cf_buf *out, const struct conn_target *target, const char *method,
                        struct cf_slice path, struct cf_slice token, struct cf_slice extra,
                        struct cf_slice body)
{
    cf_buf_reset(out);
    cf_buf_add_str(out, method);
    cf_buf_add_byte(out, ' ');
    cf_buf_add_slice(out, path);
    cf_buf_add_str(out, " HTTP/1.1\r\nHost: ");
    cf_buf_add_str(out, target->authority);
    cf_buf_add_str(out, "\r\nX-Vault-Request: true\r\n");
    if (token.size > 0) {
        cf_buf_add_str(out, "X-Vault-Token: ");
        cf_buf_add_slice(out, token);
        cf_buf_add_str(out, "\r\n");
    }
    cf_buf_add_slice(out, extra);
    if (body.size > 0) {
        cf_buf_addf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.size);
    }
    cf_buf_add_str(out, "\r\n");
    cf_buf_add_slice(out, body);
}
