/* node/server/node.h
 *
 * One running node: everything wired together. Members belong to the main loop's thread unless they say
 * otherwise; the reactors reach them by posting.
 */
#ifndef COFFER_SERVER_NODE_H
#define COFFER_SERVER_NODE_H

#include <pthread.h>
#include <stdatomic.h>

#include "consensus/driver/driver.h"
#include "node/barrier/seal.h"
#include "node/cluster/loop.h"
#include "node/core/core.h"
#include "node/http/api.h"
#include "node/http/server.h"
#include "node/server/config.h"

struct cluster;    /* cluster.h: the cluster port, peers, forwarding, joining */
struct ceremony;   /* ceremony.h: generate-root and DR operation tokens */
struct snapshots;  /* snapshot/snapshot.h */
struct node_replication; /* replication.h: the link to other clusters */

/* What this node is to its cluster. */
enum standing {
    MEMBER,
    MEMBER_REMOVED,    /* the committed configuration lacks it */
    MEMBER_SUPERSEDED, /* the cluster was recovered without it */
};

struct node {
    struct config *config;
    struct loop *loop;
    struct loop_signal *signals[3]; /* SIGTERM, SIGINT, SIGHUP */
    struct kv *kv;
    struct raft_store *store;
    struct raft_driver *driver; /* NULL until there is an identity */
    struct core *core;
    struct api *api;
    struct http_gate *gate;
    struct http_reactors *reactors;
    struct http_listener *listeners[CONFIG_LISTENERS_MAX];
    struct tls_server *tls[CONFIG_LISTENERS_MAX];
    struct cluster *cluster;
    struct ceremony *ceremony;
    struct rekey *rekey; /* rekey.h */
    struct node_replication *replication;
    struct state_tree *tree; /* replication/tree.h; any thread */
    struct runs *runs; /* replication/runs.h; NULL: the storage keeps no files */
    struct node_audit *audit;    /* audit.h */
    struct init_operation *init; /* sys/init under way */
    struct ticker *_Atomic ticker; /* tick.h */
    struct autopilot_feed *autopilot; /* autopilot.h */
    struct upkeep *upkeep; /* upkeep.h */
    struct snapshots *snapshots; /* any thread */
    struct monitors *monitors;   /* monitor.h */
    struct snapshot_timer *snapshot_timer;
    struct renewal *renewal;          /* renewal.h */
    struct auto_seal *auto_seal; /* auto_seal.h */
    struct migration *migration; /* migrate.h */
    struct static_seal *static_seal; /* static_seal.h */
    struct cf_buf refused_root; /* seal.c: the wrapped root key that the static key did not open */
    struct catching_up *catching_up; /* catch_up.c */
    bool is_catching_up, is_caught_up; /* seal.c: before a key is called wrong */
    bool is_stopping;
    int exit_status;
    int64_t started_ns;

    /* Any thread. */
    _Atomic bool is_initialized; /* this node belongs to a cluster */
    _Atomic bool is_sealed;
    _Atomic int standing; /* enum standing */
    _Atomic int64_t certificate_end_s; /* since 1970; 0: none yet */
    _Atomic(struct raft_driver *) driver_shared; /* as driver, once it runs */
    _Atomic bool wants_unseal; /* an unseal key waits for the state to arrive */
    _Atomic int64_t active_since_ns;
    uint64_t incarnation; /* random at each start: in ids of forwarded requests */
    _Atomic uint64_t once_sequence;

    /* Guarded by seal_lock. */
    pthread_mutex_t seal_lock;
    struct secret *root_key, *unseal_key; /* NULL while sealed */
    struct secret *pending_key;           /* combined, but the state has not arrived yet */
    struct secret *previous_key;          /* static seal: the one that pending_key replaces; NULL: none */
    struct secret *migration_key;         /* shares of the old seal, combined; NULL: no change of it */
    struct seal_progress *progress;
};

/* Runs a node until SIGTERM or SIGINT. Returns the exit status of the process. */
int node_run(struct config *config);

/* Starts consensus from what the store holds (it has an identity). */
CF_CHECKED cf_status node_start_driver(struct node *node, struct cf_error *err);
/* Ends the process in order: hands leadership over, answers what waits. */
void node_stop(struct node *node, int exit_status);
/* Text forms of this cluster's and this node's ids. */
void node_cluster_id(const struct node *node, char to[37]);
const char *node_cluster_name(const struct node *node);
/* What core was given for proposals. */
const struct proposer *node_proposer(struct node *node);

#endif
