/* tests/fuzz/fuzz_peers.c: the file of a recovery. What is accepted can be used as it stands. */
#include "fuzz.h"
#include "consensus/core/membership.h"
#include "node/server/recover_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CF_OWNED(arena) arena = arena_new(1024);
    struct recover_file file;
    struct cf_error err = {0};
    cf_status status = recover_file_parse(cf_slice_of(data, size), arena, &file, &err);
    if (status != CF_OK) {
        FUZZ_CHECK(status == CF_INVALID && err.message[0] != '\0');
        return 0;
    }
    FUZZ_CHECK(file.count > 0 && file.count <= RECOVER_PEERS_MAX);
    for (size_t i = 0; i < file.count; i++) {
        const struct recover_peer *peer = &file.peers[i];
        struct raft_membership members = {0};
        FUZZ_CHECK(raft_membership_set(&members, 1, RAFT_VOTER, 0, peer->address,
                                       peer->id[0] != '\0' ? peer->id : "x", NULL) == CF_OK);
        FUZZ_CHECK(recover_file_find(&file, peer->id, "", peer->address) == peer);
    }
    return 0;
}
