/* node/http/gate.c: how many connections there are, in all and from one address. One lock, taken
 * when a connection comes and when it goes, never for a request. */
#include <assert.h>
#include <pthread.h>

#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/http/server.h"

struct http_gate {
    pthread_mutex_t lock;
    unsigned connections_max, per_address_max;
    unsigned connections;
    struct cf_map *addresses; /* address bytes -> how many, as a pointer */
};

/* What counts as one client. A household or a cloud tenant has a whole /64 of IPv6. */
static struct cf_slice address_of(const struct net_address *peer)
{
    const void *storage = &peer->storage;
    if (peer->storage.ss_family == AF_INET) {
        const struct sockaddr_in *in = storage;
        return cf_slice_of(&in->sin_addr, sizeof(in->sin_addr));
    }
    if (peer->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = storage;
        return cf_slice_of(&in6->sin6_addr, 8);
    }
    return CF_SLICE_EMPTY;
}

struct http_gate *http_gate_new(unsigned connections_max, unsigned per_address_max)
{
    struct http_gate *gate = cf_new(struct http_gate);
    gate->connections_max = connections_max;
    gate->per_address_max = per_address_max;
    gate->addresses = cf_map_new();
    pthread_mutex_init(&gate->lock, NULL);
    return gate;
}

void http_gate_free(struct http_gate *gate)
{
    if (gate != NULL) {
        cf_map_free(gate->addresses);
        pthread_mutex_destroy(&gate->lock);
        cf_free(gate);
    }
}

bool http_gate_enter(struct http_gate *gate, const struct net_address *peer)
{
    struct cf_slice address = address_of(peer);
    pthread_mutex_lock(&gate->lock);
    uintptr_t here = (uintptr_t)cf_map_get(gate->addresses, address);
    bool enters = (gate->connections_max == 0 || gate->connections < gate->connections_max) &&
                  (gate->per_address_max == 0 || here < gate->per_address_max);
    if (enters) {
        gate->connections++;
        cf_map_put(gate->addresses, address, (void *)(here + 1));
    }
    pthread_mutex_unlock(&gate->lock);
    return enters;
}

void http_gate_leave(struct http_gate *gate, const struct net_address *peer)
{
    struct cf_slice address = address_of(peer);
    pthread_mutex_lock(&gate->lock);
    uintptr_t here = (uintptr_t)cf_map_get(gate->addresses, address);
    assert(here > 0 && gate->connections > 0); /* it entered */
    gate->connections--;
    if (here == 1) {
        cf_map_remove(gate->addresses, address);
    } else {
        cf_map_put(gate->addresses, address, (void *)(here - 1));
    }
    pthread_mutex_unlock(&gate->lock);
}
