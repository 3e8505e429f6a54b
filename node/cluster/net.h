/* node/cluster/net.h
 *
 * Listening sockets, addresses and names. Everything belongs to a loop and its thread; name
 * look-ups run on a short-lived thread of their own and answer on the loop.
 */
#ifndef COFFER_CLUSTER_NET_H
#define COFFER_CLUSTER_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/cluster/loop.h"

#define NET_TEXT_SIZE 64 /* holds any numeric address with port, "[v6%scope]:65535" */

struct net_address {
    struct sockaddr_storage storage;
    socklen_t size;
};

/* Splits "host:port", "[v6]:port" or (with default_port > 0) a bare host. The host is borrowed and
 * without brackets. CF_INVALID, naming the text, for anything else and for ports outside 1..65535
 * (port 0 is allowed when default_port is 0: "any free port" of a listener). */
CF_CHECKED cf_status net_split(struct cf_slice text, uint16_t default_port, struct cf_slice *host,
                               uint16_t *port, struct cf_error *err);
/* A numeric host only, no look-up: CF_NOT_FOUND when it is a name. */
CF_CHECKED cf_status net_numeric(struct cf_slice host, uint16_t port, struct net_address *ret,
                                 struct cf_error *err);
/* "127.0.0.1:8201", "[::1]:8201", "unix". */
void net_text(const struct net_address *address, char text[NET_TEXT_SIZE]);

/* Looks a name up (both families, at most NET_ADDRESSES_MAX answers). `fn` runs on the loop,
 * exactly once, also after a failure (CF_UNAVAILABLE, names the host) and never from inside this
 * call; there is no cancelling: let `arg` (and the loop) outlive it. At most 32 look-ups run at
 * once in the process; one more answers CF_BUSY. */
#define NET_ADDRESSES_MAX 8
struct net_answer {
    cf_status status;
    struct cf_error err;
    size_t count;
    struct net_address addresses[NET_ADDRESSES_MAX];
};
typedef void (*net_answer_fn)(const struct net_answer *answer, void *arg);
void net_resolve(struct loop *loop, struct cf_slice host, uint16_t port, net_answer_fn fn,
                 void *arg);

/* A listening TCP socket: SO_REUSEADDR, TCP_NODELAY (accepted sockets inherit it), close-on-exec.
 */
struct net_listener;
/* `fd` is non-blocking, close-on-exec and now the callee's: give it to stream_accept (on its own
 * loop's thread: hand it over with loop_post if that is another) or close it. `peer` is borrowed.
 */
typedef void (*net_accept_fn)(int fd, const struct net_address *peer, void *arg);

/* text: "host:port"; port 0 takes a free one. `what` names the listener in messages ("API
 * listener"). CF_INVALID for a bad address, CF_UNAVAILABLE when it is in use or not ours; both say
 * which address and what to do. Blocks on a name look-up when the host is a name: at start-up only.
 */
CF_CHECKED cf_status net_listen(struct loop *loop, struct cf_slice text, const char *what,
                                net_accept_fn fn, void *arg, struct net_listener **ret,
                                struct cf_error *err);
void net_listener_free(struct net_listener *listener); /* closes the socket; NULL is fine */
CF_DEFINE_OWNED(net_listener);
/* Where it really listens, as "host:port"; borrowed for its life. */
const char *net_listener_address(const struct net_listener *listener);
uint16_t net_listener_port(const struct net_listener *listener);
/* Stops and restarts accepting; what connects meanwhile waits in the kernel's queue. (Out of
 * descriptors, a listener rests by itself for 100 ms at a time.) */
void net_listener_pause(struct net_listener *listener, bool paused);

#endif
