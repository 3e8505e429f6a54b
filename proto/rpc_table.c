/* proto/rpc_table.c: rpc.def as a table. */
#include "proto/rpc_table.h"

#include <stddef.h>

#include "proto/all.pb-c.h"

#define RPC(NAME, id, request, response, who)                                                      \
    {(id), #NAME, &request##__descriptor, &response##__descriptor, (who)},
static const struct rpc_type types[] = {
#include "proto/rpc.def"
};
#undef RPC

const struct rpc_type *rpc_type_find(uint16_t id)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i].id == id) {
            return &types[i];
        }
    }
    return NULL;
}
