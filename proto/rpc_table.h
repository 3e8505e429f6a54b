/* proto/rpc_table.h: the list of rpc.def as numbers and as a table. */
#ifndef COFFER_PROTO_RPC_TABLE_H
#define COFFER_PROTO_RPC_TABLE_H

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

/* Which connections may carry a message: one bit an ALPN name of the cluster port. */
enum {
    RPC_BY_RAFT = 1,    /* coffer-raft/1: members of this cluster, consensus */
    RPC_BY_FORWARD = 2, /* coffer-forward/1: members of this cluster */
    RPC_BY_PERF = 4,    /* coffer-perf/1: primary and performance secondary */
    RPC_BY_DR = 8,      /* coffer-dr/1: primary and DR secondary */
    RPC_BY_ANY = 15,
};

#define RPC(NAME, id, request, response, who) RPC_##NAME = (id),
enum rpc_id {
#include "proto/rpc.def"
};
#undef RPC

struct rpc_type {
    uint16_t id;
    const char *name;
    const ProtobufCMessageDescriptor *request, *response;
    unsigned who;
};

/* NULL for an id that is not in the list. Constant for the life of the process. */
const struct rpc_type *rpc_type_find(uint16_t id);

#endif
