/* node/server/cluster.h
 *
 * The cluster port of a node: identity and internal CA, connections to peers, forwarding to the active
 * node, joining. Main loop's thread unless it says otherwise.
 */
#ifndef COFFER_SERVER_CLUSTER_H
#define COFFER_SERVER_CLUSTER_H

#include "node/cluster/rpc.h"
#include "node/server/node.h"

struct cluster_peer {
    uint64_t id;
    struct cf_slice name, api_addr, cluster_addr; /* arena's */
};

CF_CHECKED cf_status cluster_new(struct node *node, struct cluster **ret, struct cf_error *err);
void cluster_free(struct cluster *cluster); /* NULL is fine */
/* Opens the cluster port and, with an identity, serves it. */
CF_CHECKED cf_status cluster_open(struct node *node, struct cf_error *err);
struct rpc *cluster_rpc(struct node *node);

/* Makes this node the first of a new cluster: ids, internal CA, node certificate; durable. */
CF_CHECKED cf_status cluster_bootstrap(struct node *node, struct cf_error *err);
/* After it: the CA with its key, for the first entry (class own, sealed by the barrier). */
struct initial_put cluster_initial_put(struct node *node, struct arena *arena);
/* The driver runs: gives it its transport. */
void cluster_driver_started(struct node *node);
/* Before the driver goes. */
void cluster_driver_stopping(struct node *node);

void cluster_unsealed(struct node *node);
void cluster_sealed(struct node *node);
/* From the driver: role, term or leader changed. */
void cluster_role_changed(struct node *node, enum raft_role role, uint64_t term, uint64_t leader,
                          const char *leader_address);

/* This node leads and takes proposals from now on. */
void cluster_became_active(struct node *node);

/* Joining: this node has asked a cluster and waits for its unseal key. */
bool cluster_is_joining(struct node *node);
/* For sys/init on a node with retry_join: the first node of a new cluster has nobody to join, so it stops
 * trying. False when a cluster has answered already: then this node belongs to it. */
bool cluster_give_up_joining(struct node *node);
/* The combined unseal key: answers the challenge; owned. */
void cluster_join_with(struct node *node, struct secret *key);
/* Any thread: the seal configuration of the cluster that is being joined. */
bool cluster_pending_seal(struct node *node, struct seal_config *ret);
/* Starts what retry_join asks for. */
void cluster_start_joining(struct node *node);
/* Reactor threads: sys/storage/raft/join and sys/storage/raft/bootstrap/... */
void cluster_handle_join(struct node *node, struct http_exchange *x);
bool cluster_handle_bootstrap(struct node *node, struct http_exchange *x, struct cf_slice path);

/* Any thread: who leads, with addresses as far as they are known (arena's). */
bool cluster_leader(struct node *node, struct arena *arena, struct cluster_peer *ret);
/* Main loop: the API address of the member `id` as it said over a link to here; empty without a link. */
struct cf_slice cluster_peer_api(struct node *node, struct arena *arena, uint64_t id);
/* The same for its software's version. */
struct cf_slice cluster_peer_version(struct node *node, struct arena *arena, uint64_t id);
/* Any thread: core_host's forward. */
void cluster_forward(void *context, struct request *rq, bool to_primary);
/* Reactor threads: the same for a node route's exchange, whose rq is sent as it is. */
void cluster_forward_exchange(struct node *node, struct http_exchange *x, struct request *rq);
/* Main loop: hands leadership over, then calls done (with CF_OK also when there is nobody to take it). */
void cluster_step_down(struct node *node, void (*done)(void *arg, cf_status status), void *arg);

#endif
