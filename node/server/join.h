/* node/server/join.h: what both sides of a join agree on. */
#ifndef COFFER_SERVER_JOIN_H
#define COFFER_SERVER_JOIN_H

#include "node/server/node.h"

/* What the proof binds: name, id, cluster address and TLS key of the new node. */
struct cf_slice join_identity(struct arena *arena, struct cf_slice name, uint64_t id,
                              struct cf_slice address, const uint8_t key_hash[32]);

#endif
