/* tests/unit/tools/fake_server.c: a small HTTP server within the test. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_server.h"
#include "node/base/map.h"
#include "node/base/memory.h"

#define ANSWERS_MAX 32
#define THREADS_MAX 256
#define REQUEST_MAX ((size_t)65536)

struct scripted {
    const char *request, *body, *location;
    int status;
    bool used;
};

struct fake_server {
    int listener;
    char address[64];
    pthread_t acceptor;
    pthread_t threads[THREADS_MAX];
    size_t thread_count;
    pthread_mutex_t lock;
    struct scripted answers[ANSWERS_MAX];
    size_t answer_count, requests;
    char last[REQUEST_MAX];
    struct cf_map *kv; /* path -> body of the write */
};

struct connection {
    struct fake_server *server;
    int fd;
};

static const struct scripted *find(struct fake_server *server, const char *line)
{
    struct scripted *found = NULL;
    for (size_t i = 0; i < server->answer_count; i++) {
        struct scripted *one = &server->answers[i];
        if (strcmp(one->request, line) == 0 && (found == NULL || found->used)) {
            found = one;
        }
    }
    if (found != NULL) {
        found->used = true;
    }
    return found;
}

static void kv_list(struct fake_server *server, struct cf_buf *out)
{
    struct cf_slice key;
    void *value = NULL;
    size_t at = 0;
    cf_buf_add_str(out, "{\"data\":{\"keys\":[");
    for (bool first = true; cf_map_next(server->kv, &at, &key, &value); first = false) {
        cf_buf_addf(out, "%s\"%.*s\"", first ? "" : ",", CF_SHOW(key));
    }
    cf_buf_add_str(out, "]}}");
}

/* The KV mount; 0 when the request is none of its. */
static int kv_request(struct fake_server *server, const char *line, const char *body,
                      struct cf_buf *out)
{
    static const char put[] = "POST /v1/kv/data/";
    static const char get[] = "GET /v1/kv/data/";
    if (strcmp(line, "GET /v1/kv/metadata/?list=true") == 0) {
        kv_list(server, out);
        return 200;
    }
    if (strncmp(line, put, strlen(put)) == 0) {
        struct cf_slice key = cf_slice_str(line + strlen(put));
        cf_free(cf_map_put(server->kv, key, cf_strdup(body)));
        return 204;
    }
    if (strncmp(line, get, strlen(get)) == 0) {
        const char *found = cf_map_get(server->kv, cf_slice_str(line + strlen(get)));
        cf_buf_addf(out, found != NULL ? "{\"data\":%s}" : "{\"errors\":[]}%s",
                    found != NULL ? found : "");
        return found != NULL ? 200 : 404;
    }
    return 0;
}

static void respond(struct fake_server *server, int fd, const char *head, const char *body)
{
    char line[1024];
    CF_BUF(content) = {0};
    CF_BUF(out) = {0};
    (void)snprintf(line, sizeof(line), "%.*s", (int)strcspn(head, "\r"), head);
    *strstr(line, " HTTP/") = '\0';
    (void)pthread_mutex_lock(&server->lock);
    server->requests++;
    const struct scripted *scripted = find(server, line);
    int status = 404;
    if (scripted != NULL) {
        status = scripted->status;
        cf_buf_add_str(&content, scripted->body);
        (void)snprintf(server->last, sizeof(server->last), "%s\r\n\r\n%s", head, body);
    } else {
        status = kv_request(server, line, body, &content);
        if (status == 0) {
            status = 404;
            cf_buf_add_str(&content, "{\"errors\":[\"unexpected request\"]}");
        }
    }
    (void)pthread_mutex_unlock(&server->lock);
    cf_buf_addf(&out, "HTTP/1.1 %d X\r\n", status);
    if (scripted != NULL && scripted->location != NULL) {
        cf_buf_addf(&out, "Location: %s\r\n", scripted->location);
    }
    if (status != 204) {
        cf_buf_addf(&out, "Content-Length: %zu\r\n", content.size);
    }
    cf_buf_add_str(&out, "\r\n");
    cf_buf_add_slice(&out, cf_buf_slice(&content));
    (void)send(fd, out.data, out.size, MSG_NOSIGNAL);
}

static void *serve(void *context)
{
    struct connection *connection = context;
    CF_BUF(in) = {.max = REQUEST_MAX};
    char block[4096];
    for (;;) {
        const char *text = cf_buf_text(&in);
        const char *end = strstr(text, "\r\n\r\n");
        if (end != NULL) {
            const char *length = strcasestr(text, "content-length:");
            size_t size = length != NULL && length < end ? strtoul(length + 15, NULL, 10) : 0;
            size_t total = (size_t)(end - text) + 4 + size;
            if (in.size >= total) {
                char *head = cf_strdup(text);
                char *body = cf_strdup(end + 4);
                head[end - text] = '\0';
                body[size] = '\0';
                respond(connection->server, connection->fd, head, body);
                cf_free(head);
                cf_free(body);
                cf_buf_reset(&in);
                continue;
            }
        }
        ssize_t got = recv(connection->fd, block, sizeof(block), 0);
        if (got <= 0) {
            break;
        }
        cf_buf_add(&in, block, (size_t)got);
    }
    (void)close(connection->fd);
    cf_free(connection);
    return NULL;
}

static void *accept_all(void *context)
{
    struct fake_server *server = context;
    for (;;) {
        int fd = accept(server->listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        struct connection *connection = cf_new(struct connection);
        *connection = (struct connection){server, fd};
        if (server->thread_count == THREADS_MAX ||
            pthread_create(&server->threads[server->thread_count], NULL, serve, connection) != 0) {
            abort();
        }
        server->thread_count++;
    }
}

struct fake_server *fake_server_new(void)
{
    struct fake_server *server = cf_new(struct fake_server);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    server->kv = cf_map_new();
    (void)pthread_mutex_init(&server->lock, NULL);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server->listener, (struct sockaddr *)&address, size) != 0 ||
        listen(server->listener, 64) != 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &size) != 0 ||
        pthread_create(&server->acceptor, NULL, accept_all, server) != 0) {
        abort();
    }
    (void)snprintf(server->address, sizeof(server->address), "http://127.0.0.1:%u",
                   ntohs(address.sin_port));
    return server;
}

void fake_server_free(struct fake_server *server)
{
    struct cf_slice key;
    void *value = NULL;
    size_t at = 0;
    (void)shutdown(server->listener, SHUT_RDWR);
    (void)pthread_join(server->acceptor, NULL);
    (void)close(server->listener);
    for (size_t i = 0; i < server->thread_count; i++) {
        (void)pthread_join(server->threads[i], NULL);
    }
    while (cf_map_next(server->kv, &at, &key, &value)) {
        cf_free(value);
    }
    cf_map_free(server->kv);
    (void)pthread_mutex_destroy(&server->lock);
    cf_free(server);
}

const char *fake_server_address(const struct fake_server *server)
{
    return server->address;
}

void fake_server_answer(struct fake_server *server, const char *request, int status,
                        const char *body, const char *location)
{
    (void)pthread_mutex_lock(&server->lock);
    if (server->answer_count == ANSWERS_MAX) {
        abort();
    }
    server->answers[server->answer_count++] =
        (struct scripted){request, body, location, status, false};
    (void)pthread_mutex_unlock(&server->lock);
}

const char *fake_server_last(struct fake_server *server)
{
    static char copy[REQUEST_MAX];
    (void)pthread_mutex_lock(&server->lock);
    memcpy(copy, server->last, sizeof(copy));
    (void)pthread_mutex_unlock(&server->lock);
    return copy;
}

size_t fake_server_count(struct fake_server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    size_t count = server->requests;
    (void)pthread_mutex_unlock(&server->lock);
    return count;
}
