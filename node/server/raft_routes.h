/* node/server/raft_routes.h: sys/storage/raft/configuration and remove-peer, and what routes of members share. */
#ifndef COFFER_SERVER_RAFT_ROUTES_H
#define COFFER_SERVER_RAFT_ROUTES_H

#include "node/server/node.h"

CF_CHECKED cf_status raft_read_configuration(struct request *rq, struct cf_error *err);
CF_CHECKED cf_status raft_remove_peer(struct request *rq, struct cf_error *err);

/* 404 as clients know it where the storage is not raft. */
CF_CHECKED cf_status raft_want(struct request *rq, struct cf_error *err);
/* On a DR secondary, where nobody was authenticated, the operation token in the body counts. */
CF_CHECKED cf_status raft_check_dr_token(struct request *rq, struct cf_error *err);
/* In the request's arena. */
struct raft_driver_status *raft_status_of(struct request *rq);
const char *raft_peer_name(struct request *rq, const struct raft_peer_info *peer);
/* The member that clients call `name`, or whose internal id that is; NULL. */
const struct raft_peer_info *raft_find_peer(struct request *rq,
                                            const struct raft_driver_status *status,
                                            struct cf_slice name);
/* "0s" for the leader, "1.2s" for others: how long it has not been heard. */
const char *raft_last_contact(struct request *rq, const struct raft_driver_status *status,
                              const struct raft_peer_info *peer);
/* Entries that the leader has and the peer has not. */
uint64_t raft_peer_lag(const struct raft_driver_status *status, const struct raft_peer_info *peer);

#endif
