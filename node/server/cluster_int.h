/* node/server/cluster_int.h: what the files of the cluster port share. */
#ifndef COFFER_SERVER_CLUSTER_INT_H
#define COFFER_SERVER_CLUSTER_INT_H

#include "node/server/cluster.h"

#define CLUSTER_CA_KEY ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_CLUSTER "ca")})

struct joining; /* join.c */
struct admissions; /* admit.h */
struct raft_rpc; /* consensus/driver/rpc_transport.h */

struct cluster {
    struct node *node;
    struct rpc *rpc;
    struct node_tls *tls; /* NULL until there is an identity */
    struct secret *ca_key; /* while this node bootstraps the cluster */
    struct cf_buf ca_cert;
    struct joining *joining;
    struct admissions *admissions;
    struct raft_rpc *transport;
    struct rpc_client *forward_client; /* to the active node; NULL: it is this one, or unknown */
    uint64_t forward_leader;
    struct rpc_client *former_client; /* to the one before: it may still answer what it has */
    struct loop_timer *former_timer;

    pthread_mutex_t lock; /* guards what follows; any thread */
    bool joining_now;
    struct seal_config pending_seal;
    uint64_t leader;
    char leader_name[64], leader_api[256], leader_cluster[256];
};

/* Node ids in certificates and links: 16 hex digits. */
void cluster_id_text(uint64_t id, char to[17]);
bool cluster_id_parse(const char *text, uint64_t *ret);
/* Takes certificate, key and CA (PEM, key, PEM) as this node's and keeps them durably. */
CF_CHECKED cf_status cluster_install_tls(struct node *node, struct cf_slice cert,
                                         const struct secret *key, struct cf_slice ca,
                                         struct cf_error *err);
/* The two halves of cluster_install_tls, for a node that runs: durable (any thread), then in use for every
 * connection from now on (main loop); those that exist stay. */
CF_CHECKED cf_status cluster_keep_tls(struct node *node, struct cf_slice cert,
                                      const struct secret *key, struct cf_slice ca,
                                      struct cf_error *err);
CF_CHECKED cf_status cluster_adopt_tls(struct node *node, struct cf_slice cert,
                                       const struct secret *key, struct cf_slice ca,
                                       struct cf_error *err);
/* A certificate for a node of this cluster over its public key; it lasts as long as this node's
 * configuration says. */
CF_CHECKED cf_status cluster_issue(struct node *node, struct cf_slice ca_cert,
                                   const struct secret *ca_key, struct cf_slice public_key,
                                   const char *cluster_id, uint64_t node_id, struct cf_buf *cert,
                                   struct cf_error *err);
/* CA certificate and key from the store, through the request's txn. */
CF_CHECKED cf_status cluster_read_ca(struct request *rq, struct cf_buf *cert, struct secret **key,
                                     struct cf_error *err);
void cluster_refresh_leader(struct cluster *cluster);

void join_free(struct joining *joining);
/* forward_serve.c: handlers of forwarded requests. */
void forward_serve(struct cluster *cluster);
/* Main loop: serves one of this node's own, which leads by now; done later, on the main loop. */
void forward_here(struct node *node, struct cf_slice request, uint64_t deadline_us, rpc_done_fn done,
                  void *arg);
/* forward.c */
/* Main loop: a renewed certificate, for connections from now on. */
CF_CHECKED cf_status forward_set_tls(struct cluster *cluster, struct cf_error *err);
/* Main loop: from now on requests go to that node. */
void forward_follow(struct cluster *cluster, uint64_t leader, const char *address);

#endif
