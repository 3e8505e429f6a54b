/* node/server/recover_file.h
 *
 * The file with which other servers' operators recover a cluster (peers.json): a list of
 * {"id", "address", "non_voter"}, or, older, of addresses. Here it only says which node is recovered and
 * under which address: one survives, the others join it anew (consensus/driver/recover.h).
 */
#ifndef COFFER_SERVER_RECOVER_FILE_H
#define COFFER_SERVER_RECOVER_FILE_H

#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"

#define RECOVER_PEERS_MAX 32

struct recover_peer {
    const char *id;      /* "" in the older form */
    const char *address; /* host:port of the cluster port */
    bool is_non_voter;
};

struct recover_file {
    struct recover_peer peers[RECOVER_PEERS_MAX];
    size_t count;
};

/* In the arena. CF_INVALID says which entry is wrong and why. */
CF_CHECKED cf_status recover_file_parse(struct cf_slice text, struct arena *arena,
                                        struct recover_file *ret, struct cf_error *err);
/* The entry of the node with this name, internal id (16 hex digits) or address; NULL. */
const struct recover_peer *recover_file_find(const struct recover_file *file, const char *name,
                                             const char *internal_id, const char *address);

#endif
