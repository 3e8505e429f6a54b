/* consensus/driver/rpc_transport.h
 *
 * The driver's network over node/cluster: to each member of the configuration one rpc client with a
 * connection for what must be quick and one for bulk, dialled with back-off; frames are one-way
 * messages. A peer is believed to be who its certificate says: the id part of its identity must be
 * the node's id as 16 hexadecimal digits. Everything on the loop's thread.
 */
#ifndef COFFER_CONSENSUS_DRIVER_RPC_TRANSPORT_H
#define COFFER_CONSENSUS_DRIVER_RPC_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"
#include "node/cluster/rpc.h"

struct raft_driver;
struct raft_rpc;

#define RAFT_NODE_TEXT_SIZE 17
/* The name of a node in certificates and for people: 16 lower-case hexadecimal digits. */
void raft_node_text(uint64_t id, char text[RAFT_NODE_TEXT_SIZE]);
/* CF_INVALID for anything else; 0 is no id. */
CF_CHECKED cf_status raft_node_parse(struct cf_slice text, uint64_t *ret, struct cf_error *err);

/* Serves "coffer-raft/1" on the cluster port, becomes the driver's transport and starts to dial.
 * rpc and driver are borrowed; tls is copied. */
CF_CHECKED cf_status raft_rpc_new(struct rpc *rpc, struct raft_driver *driver,
                                  const struct node_tls *tls, struct raft_rpc **ret,
                                  struct cf_error *err);
/* Before the driver and before rpc. NULL is fine. */
void raft_rpc_free(struct raft_rpc *transport);
CF_DEFINE_OWNED(raft_rpc);
/* A renewed certificate: used for new connections. */
CF_CHECKED cf_status raft_rpc_set_tls(struct raft_rpc *transport, const struct node_tls *tls,
                                      struct cf_error *err);
/* A request of another part of the node to this member, over the bulk connection: as rpc_link_call. CF_UNAVAILABLE
 * while there is none. */
CF_CHECKED cf_status raft_rpc_call(struct raft_rpc *transport, uint64_t peer, enum rpc_id id,
                                   struct cf_slice request, uint64_t deadline_us, rpc_done_fn fn,
                                   void *arg, struct rpc_pending **ret, struct cf_error *err);
/* Is there a quick connection to this peer? */
bool raft_rpc_is_connected(const struct raft_rpc *transport, uint64_t peer);
/* Dials this peer now instead of after its back-off (it has just called us). */
void raft_rpc_hurry(struct raft_rpc *transport, uint64_t peer);

#endif
