/* node/cluster/net.c: addresses, name look-ups on a thread of their own, listening sockets. */
#include "node/cluster/net.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/memory.h"

enum { HOST_MAX = 255, LOOKUPS_MAX = 32, BACKLOG = 1024, ACCEPTS_PER_WAKE = 64 };
#define REST_US ((uint64_t)100000)

static cf_status bad_address(struct cf_slice text, struct cf_error *err)
{
    return cf_fail(err, CF_INVALID,
                   "\"%.*s\" is not an address: write \"host:port\" or \"[v6]:port\"",
                   CF_SHOW(cf_slice_first(text, 100)));
}

static bool parse_port(struct cf_slice text, bool zero_allowed, uint16_t *ret)
{
    uint32_t port = 0;
    if (text.size == 0 || text.size > 5) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        port = port * 10 + (uint32_t)(text.data[i] - '0');
    }
    if (port > 65535 || (port == 0 && !zero_allowed)) {
        return false;
    }
    *ret = (uint16_t)port;
    return true;
}

static bool is_host(struct cf_slice host)
{
    for (size_t i = 0; i < host.size; i++) {
        if (host.data[i] <= ' ' || host.data[i] == 0x7f || host.data[i] == '/') {
            return false;
        }
    }
    return host.size > 0 && host.size <= HOST_MAX;
}

cf_status net_split(struct cf_slice text, uint16_t default_port, struct cf_slice *host,
                    uint16_t *port, struct cf_error *err)
{
    struct cf_slice name, rest;
    if (text.size > 0 && text.data[0] == '[') {
        size_t end = cf_slice_find(text, ']');
        if (end == text.size) {
            return bad_address(text, err);
        }
        name = cf_slice_from(cf_slice_first(text, end), 1);
        rest = cf_slice_from(text, end + 1);
    } else {
        size_t colon = cf_slice_find(text, ':');
        bool several = cf_slice_find(cf_slice_from(text, colon + 1), ':') + colon + 1 < text.size;
        name = several ? text : cf_slice_first(text, colon); /* a bare v6 address has no port */
        rest = several ? CF_SLICE_EMPTY : cf_slice_from(text, colon);
    }
    uint16_t number = default_port;
    if (rest.size > 0) {
        if (rest.data[0] != ':' ||
            !parse_port(cf_slice_from(rest, 1), default_port == 0, &number)) {
            return bad_address(text, err);
        }
    } else if (default_port == 0) {
        return bad_address(text, err);
    }
    if (!is_host(name)) {
        return bad_address(text, err);
    }
    *host = name;
    *port = number;
    return CF_OK;
}

static int look_up(struct cf_slice host, uint16_t port, int flags, struct net_answer *answer)
{
    char name[HOST_MAX + 1], service[8];
    if (!is_host(host)) {
        return EAI_NONAME;
    }
    memcpy(name, host.data, host.size);
    name[host.size] = '\0';
    (void)snprintf(service, sizeof(service), "%u", (unsigned)port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    hints.ai_flags = flags | AI_NUMERICSERV;
    struct addrinfo *found = NULL;
    int result = getaddrinfo(name, service, &hints, &found);
    if (result != 0) {
        return result;
    }
    for (const struct addrinfo *at = found; at != NULL && answer->count < NET_ADDRESSES_MAX;
         at = at->ai_next) {
        struct net_address *to = &answer->addresses[answer->count];
        if (at->ai_addrlen <= sizeof(to->storage)) {
            memcpy(&to->storage, at->ai_addr, at->ai_addrlen);
            to->size = at->ai_addrlen;
            answer->count++;
        }
    }
    freeaddrinfo(found);
    return answer->count > 0 ? 0 : EAI_NONAME;
}

cf_status net_numeric(struct cf_slice host, uint16_t port, struct net_address *ret,
                      struct cf_error *err)
{
    struct net_answer answer = {0};
    if (look_up(host, port, AI_NUMERICHOST, &answer) != 0) {
        return cf_fail(err, CF_NOT_FOUND, "\"%.*s\" is not a numeric address",
                       CF_SHOW(cf_slice_first(host, 100)));
    }
    *ret = answer.addresses[0];
    return CF_OK;
}

void net_text(const struct net_address *address, char text[NET_TEXT_SIZE])
{
    char host[INET6_ADDRSTRLEN] = "?";
    const void *storage = &address->storage;
    if (address->storage.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = storage;
        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        (void)snprintf(text, NET_TEXT_SIZE, "%s:%u", host, (unsigned)ntohs(v4->sin_port));
    } else if (address->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = storage;
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        (void)snprintf(text, NET_TEXT_SIZE, "[%s]:%u", host, (unsigned)ntohs(v6->sin6_port));
    } else {
        (void)snprintf(text, NET_TEXT_SIZE, "unix");
    }
}

struct lookup {
    struct loop_task task;
    struct loop *loop;
    net_answer_fn fn;
    void *arg;
    uint16_t port;
    bool counted;
    size_t host_size;
    struct net_answer answer;
    uint8_t host[HOST_MAX];
};

static atomic_uint lookups;

static void deliver(void *arg)
{
    struct lookup *lookup = arg;
    if (lookup->counted) {
        atomic_fetch_sub(&lookups, 1);
    }
    lookup->fn(&lookup->answer, lookup->arg);
    cf_free(lookup);
}

static void *run_lookup(void *arg)
{
    struct lookup *lookup = arg;
    struct cf_slice host = {lookup->host, lookup->host_size};
    int result = look_up(host, lookup->port, 0, &lookup->answer);
    if (result != 0) {
        lookup->answer.status =
            cf_fail(&lookup->answer.err, CF_UNAVAILABLE, "can't look up \"%.*s\": %s",
                    CF_SHOW(cf_slice_first(host, 100)), gai_strerror(result));
    }
    loop_post_task(lookup->loop, &lookup->task);
    return NULL;
}

static bool start_lookup(struct lookup *lookup)
{
    if (atomic_fetch_add(&lookups, 1) >= LOOKUPS_MAX) {
        atomic_fetch_sub(&lookups, 1);
        return false;
    }
    lookup->counted = true;
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int result = pthread_create(&thread, &attributes, run_lookup, lookup);
    pthread_attr_destroy(&attributes);
    return result == 0;
}

void net_resolve(struct loop *loop, struct cf_slice host, uint16_t port, net_answer_fn fn,
                 void *arg)
{
    struct lookup *lookup = cf_new(struct lookup);
    lookup->task = (struct loop_task){.fn = deliver, .arg = lookup};
    lookup->loop = loop;
    lookup->fn = fn;
    lookup->arg = arg;
    lookup->port = port;
    lookup->host_size = cf_min(host.size, HOST_MAX);
    if (lookup->host_size > 0) {
        memcpy(lookup->host, host.data, lookup->host_size);
    }
    if (look_up(host, port, AI_NUMERICHOST, &lookup->answer) == 0) {
        loop_post_task(loop, &lookup->task);
    } else if (!is_host(host)) {
        lookup->answer.status = bad_address(host, &lookup->answer.err);
        loop_post_task(loop, &lookup->task);
    } else if (!start_lookup(lookup)) {
        lookup->answer.status =
            cf_fail(&lookup->answer.err, CF_BUSY, "too many name look-ups at once");
        loop_post_task(loop, &lookup->task);
    }
}

struct net_listener {
    int fd;
    bool paused;
    struct loop_fd *watch;
    struct loop_timer *rest;
    net_accept_fn fn;
    void *arg;
    struct net_address address;
    char text[NET_TEXT_SIZE];
};

static void watch_again(void *arg)
{
    struct net_listener *listener = arg;
    if (!listener->paused) {
        cf_ignore(loop_fd_want(listener->watch, LOOP_READ, NULL) != CF_OK,
                  "a socket that was polled before can be polled again");
    }
}

/* Out of descriptors the socket stays readable: without a rest the loop would spin. */
static void rest(struct net_listener *listener)
{
    cf_ignore(loop_fd_want(listener->watch, 0, NULL) != CF_OK, "nothing is asked for");
    loop_timer_set_in(listener->rest, REST_US);
}

static void on_connection(int fd, unsigned ready, void *arg)
{
    struct net_listener *listener = arg;
    (void)ready;
    for (int i = 0; i < ACCEPTS_PER_WAKE; i++) {
        struct net_address peer = {.size = sizeof(peer.storage)};
        void *storage = &peer.storage;
        int accepted = accept4(fd, storage, &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) {
            listener->fn(accepted, &peer, listener->arg);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            rest(listener);
            return;
        } /* anything else (ECONNABORTED, EINTR) concerns that one connection */
    }
}

static cf_status bind_failed(const char *what, const char *text, int error, struct cf_error *err)
{
    switch (error) {
    case EADDRINUSE:
        return cf_fail(err, CF_UNAVAILABLE,
                       "%s: address %s is already in use: stop what listens there (ss -ltnp shows "
                       "it) or configure another port",
                       what, text);
    case EADDRNOTAVAIL:
        return cf_fail(err, CF_UNAVAILABLE,
                       "%s: address %s does not belong to this machine: configure one that does, "
                       "or 0.0.0.0",
                       what, text);
    case EACCES:
        return cf_fail(err, CF_UNAVAILABLE,
                       "%s: not allowed to listen on %s: take a port above 1023 or grant "
                       "CAP_NET_BIND_SERVICE",
                       what, text);
    default:
        return cf_fail(err, CF_UNAVAILABLE, "%s: can't listen on %s: %s", what, text,
                       strerror(error));
    }
}

static cf_status open_socket(struct net_listener *listener, const char *what, struct cf_error *err)
{
    void *storage = &listener->address.storage;
    int on = 1;
    net_text(&listener->address, listener->text);
    listener->fd =
        socket(listener->address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener->fd < 0) {
        return bind_failed(what, listener->text, errno, err);
    }
    /* Without TCP_NODELAY an answer in two TLS records waits 44 ms for the peer's delayed ACK. */
    if (setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(listener->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        bind(listener->fd, storage, listener->address.size) != 0 ||
        listen(listener->fd, BACKLOG) != 0) {
        return bind_failed(what, listener->text, errno, err);
    }
    listener->address.size = sizeof(listener->address.storage);
    if (getsockname(listener->fd, storage, &listener->address.size) != 0) {
        return bind_failed(what, listener->text, errno, err);
    }
    net_text(&listener->address, listener->text);
    return CF_OK;
}

cf_status net_listen(struct loop *loop, struct cf_slice text, const char *what, net_accept_fn fn,
                     void *arg, struct net_listener **ret, struct cf_error *err)
{
    struct cf_slice host = {0};
    uint16_t port = 0;
    struct net_answer answer = {0};
    if (net_split(text, 0, &host, &port, err) != CF_OK) {
        return cf_error_prefix(err, CF_INVALID, "%s", what);
    }
    int result = look_up(host, port, AI_PASSIVE, &answer);
    if (result != 0) {
        return cf_fail(err, CF_INVALID, "%s: can't look up \"%.*s\": %s", what,
                       CF_SHOW(cf_slice_first(host, 100)), gai_strerror(result));
    }
    CF_OWNED(net_listener) listener = cf_new(struct net_listener);
    listener->fd = -1;
    listener->fn = fn;
    listener->arg = arg;
    listener->address = answer.addresses[0];
    CF_TRY(open_socket(listener, what, err));
    listener->rest = loop_timer_new(loop, watch_again, listener);
    listener->watch = loop_fd_new(loop, listener->fd, on_connection, listener);
    CF_TRY(loop_fd_want(listener->watch, LOOP_READ, err));
    *ret = net_listener_take(&listener);
    return CF_OK;
}

void net_listener_free(struct net_listener *listener)
{
    if (listener != NULL) {
        loop_fd_free(listener->watch);
        loop_timer_free(listener->rest);
        if (listener->fd >= 0) {
            close(listener->fd);
        }
        cf_free(listener);
    }
}

const char *net_listener_address(const struct net_listener *listener)
{
    return listener->text;
}

uint16_t net_listener_port(const struct net_listener *listener)
{
    const void *storage = &listener->address.storage;
    const struct sockaddr_in *v4 = storage;
    const struct sockaddr_in6 *v6 = storage;
    return ntohs(listener->address.storage.ss_family == AF_INET6 ? v6->sin6_port : v4->sin_port);
}

void net_listener_pause(struct net_listener *listener, bool paused)
{
    listener->paused = paused;
    loop_timer_cancel(listener->rest);
    if (paused) {
        cf_ignore(loop_fd_want(listener->watch, 0, NULL) != CF_OK, "nothing is asked for");
    } else {
        watch_again(listener);
    }
}
