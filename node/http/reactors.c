/* node/http/reactors.c: one thread with a loop and a server per core, and the listeners that hand
 * them connections. */
#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "node/http/server_int.h"

#define REACTORS_MAX 256

struct reactor {
    struct http_reactors *owner;
    struct loop *loop;
    struct http_server *server;
    pthread_t thread;
    bool has_thread;
};

struct http_reactors {
    unsigned count;
    atomic_uint draining; /* reactors that still drain */
    uint64_t grace_us;
    struct loop *done_loop;
    loop_fn done;
    void *done_arg;
    struct reactor reactors[];
};

struct http_listener {
    struct net_listener *socket;
    struct http_reactors *reactors;
    struct tls_server *tls;
    struct http_gate *gate;
    void *context;
};

static void *run(void *arg)
{
    struct reactor *reactor = arg;
    loop_run(reactor->loop);
    return NULL;
}

static cf_status start(struct reactor *reactor, const struct http_options *options, unsigned index,
                       struct cf_error *err)
{
    CF_TRY(loop_new(&reactor->loop, err));
    reactor->server = http_server_new(reactor->loop, options, index);
    int error = pthread_create(&reactor->thread, NULL, run, reactor);
    if (error != 0) {
        return cf_fail(err, CF_IO, "can't start a thread for clients: %s", strerror(error));
    }
    reactor->has_thread = true;
    return CF_OK;
}

cf_status http_reactors_start(const struct http_options *options, unsigned count,
                              struct http_reactors **ret, struct cf_error *err)
{
    long cores = count != 0 ? (long)count : sysconf(_SC_NPROCESSORS_ONLN);
    count = cores < 1 ? 1 : cores > REACTORS_MAX ? REACTORS_MAX : (unsigned)cores;
    CF_OWNED(http_reactors)
    reactors = cf_zalloc(sizeof(*reactors) + count * sizeof(struct reactor));
    for (unsigned i = 0; i < count; i++) {
        reactors->count = i + 1;
        reactors->reactors[i].owner = reactors;
        CF_TRY(start(&reactors->reactors[i], options, i, err));
    }
    *ret = http_reactors_take(&reactors);
    return CF_OK;
}

unsigned http_reactors_count(const struct http_reactors *reactors)
{
    return reactors->count;
}

struct http_server *http_reactors_server(struct http_reactors *reactors, unsigned index)
{
    assert(index < reactors->count);
    return reactors->reactors[index].server;
}

static void on_drained(void *arg)
{
    struct http_reactors *reactors = ((struct reactor *)arg)->owner;
    if (atomic_fetch_sub(&reactors->draining, 1) == 1) {
        loop_post(reactors->done_loop, reactors->done, reactors->done_arg);
    }
}

static void drain(void *arg)
{
    struct reactor *reactor = arg;
    http_server_drain(reactor->server, reactor->owner->grace_us, on_drained, reactor);
}

void http_reactors_drain(struct http_reactors *reactors, uint64_t grace_us, struct loop *loop,
                         loop_fn done, void *arg)
{
    reactors->grace_us = grace_us;
    reactors->done_loop = loop;
    reactors->done = done;
    reactors->done_arg = arg;
    atomic_store(&reactors->draining, reactors->count);
    for (unsigned i = 0; i < reactors->count; i++) {
        loop_post(reactors->reactors[i].loop, drain, &reactors->reactors[i]);
    }
}

void http_reactors_free(struct http_reactors *reactors)
{
    if (reactors == NULL) {
        return;
    }
    for (unsigned i = 0; i < reactors->count; i++) {
        struct reactor *reactor = &reactors->reactors[i];
        if (reactor->has_thread) {
            loop_stop(reactor->loop);
            pthread_join(reactor->thread, NULL);
        }
        http_server_free(reactor->server);
        loop_free(reactor->loop);
    }
    cf_free(reactors);
}

/* Counted at hand-over, so that a burst of connections spreads. */
static struct http_server *least_loaded(struct http_reactors *reactors)
{
    struct http_server *best = reactors->reactors[0].server;
    unsigned load = atomic_load_explicit(&best->load, memory_order_relaxed);
    for (unsigned i = 1; i < reactors->count; i++) {
        struct http_server *server = reactors->reactors[i].server;
        unsigned other = atomic_load_explicit(&server->load, memory_order_relaxed);
        if (other < load) {
            best = server;
            load = other;
        }
    }
    return best;
}

/* Best effort: a new socket has room for one small answer; TLS clients just see the end. */
static void turn_away(int fd, bool is_tls)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
                                 "Content-Type: application/json\r\nCache-Control: no-store\r\n"
                                 "Retry-After: 1\r\nContent-Length: 36\r\n\r\n"
                                 "{\"errors\":[\"too many connections\"]}\n";
    if (!is_tls) {
        cf_ignore(send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) < 0, "it is closed anyway");
        shutdown(fd, SHUT_WR);
    }
    close(fd);
}

static void on_accept(int fd, const struct net_address *peer, void *arg)
{
    struct http_listener *listener = arg;
    if (listener->gate != NULL && !http_gate_enter(listener->gate, peer)) {
        turn_away(fd, listener->tls != NULL);
        return;
    }
    http_server_adopt(least_loaded(listener->reactors), fd, peer, listener->tls, listener->context,
                      listener->gate);
}

cf_status http_listen(struct loop *loop, struct http_reactors *reactors, struct cf_slice address,
                      struct tls_server *tls, struct http_gate *gate, void *context,
                      struct http_listener **ret, struct cf_error *err)
{
    CF_OWNED(http_listener) listener = cf_new(struct http_listener);
    listener->reactors = reactors;
    listener->tls = tls;
    listener->gate = gate;
    listener->context = context;
    CF_TRY(net_listen(loop, address, "API listener", on_accept, listener, &listener->socket, err));
    *ret = http_listener_take(&listener);
    return CF_OK;
}

void http_listener_free(struct http_listener *listener)
{
    if (listener != NULL) {
        net_listener_free(listener->socket);
        cf_free(listener);
    }
}

const char *http_listener_address(const struct http_listener *listener)
{
    return net_listener_address(listener->socket);
}
