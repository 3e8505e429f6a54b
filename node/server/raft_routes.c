/* node/server/raft_routes.c: who belongs to this cluster, and removing a member. */
#include "node/server/raft_routes.h"

#include "node/base/memory.h"
#include "node/format/duration.h"
#include "node/server/dr_token.h"

cf_status raft_check_dr_token(struct request *rq, struct cf_error *err)
{
    return rq->view->role == ROLE_DR_SECONDARY ? dr_token_check(rq, err) : CF_OK;
}

static struct node *node_of(struct request *rq)
{
    return core_host_context(rq->core);
}

cf_status raft_want(struct request *rq, struct cf_error *err)
{
    if (node_of(rq)->config->storage != STORAGE_RAFT) {
        return cf_fail(err, CF_NOT_FOUND, "1 error occurred:\n\t* unsupported path\n\n");
    }
    return CF_OK;
}

struct raft_driver_status *raft_status_of(struct request *rq)
{
    struct raft_driver_status *status = arena_new_object(rq->arena, struct raft_driver_status);
    raft_driver_status(atomic_load(&node_of(rq)->driver_shared), status);
    return status;
}

const char *raft_peer_name(struct request *rq, const struct raft_peer_info *peer)
{
    return peer->name[0] != '\0'
               ? peer->name
               : arena_printf(rq->arena, "%016llx", (unsigned long long)peer->id);
}

const struct raft_peer_info *raft_find_peer(struct request *rq,
                                            const struct raft_driver_status *status,
                                            struct cf_slice name)
{
    const struct raft_peer_info *by_id = NULL;
    for (size_t i = 0; i < status->peer_count; i++) {
        const struct raft_peer_info *peer = &status->peers[i];
        if (cf_slice_is(name, raft_peer_name(rq, peer))) {
            return peer;
        }
        by_id = cf_slice_is(name, arena_printf(rq->arena, "%016llx", (unsigned long long)peer->id))
                    ? peer
                    : by_id;
    }
    return by_id;
}

const char *raft_last_contact(struct request *rq, const struct raft_driver_status *status,
                              const struct raft_peer_info *peer)
{
    CF_BUF(text) = {0};
    uint64_t now_us = loop_now_us();
    uint64_t since_us = peer->id == status->leader || peer->heard_us >= now_us
                            ? 0
                            : now_us - peer->heard_us;
    duration_write_ns(&text, (int64_t)(since_us / 1000) * 1000000);
    return arena_text(rq->arena, cf_buf_slice(&text));
}

uint64_t raft_peer_lag(const struct raft_driver_status *status, const struct raft_peer_info *peer)
{
    return peer->id != status->leader && status->last_index > peer->match
               ? status->last_index - peer->match
               : 0;
}

/* What an operator has to know of this node, in words; nothing when all is well. */
static void add_alarms(struct request *rq, const struct raft_driver_status *status,
                       struct json *to)
{
    const struct {
        bool is_on;
        const char *text;
    } alarms[] = {
        {status->diverged, "the state of this node differs from that of the others: it takes no "
                           "part; let it join again with an empty data directory"},
        {status->digest_split, "the states of the nodes differ and no majority agrees: writes are "
                               "refused; restore a snapshot"},
        {status->digest_mismatches > 0 && !status->diverged && !status->digest_split,
         "another node's state was found to differ; see the logs"},
        {status->damaged, "stored data is damaged and no other node has it: restore a snapshot"},
        {status->disk_full, "the data directory's disk is almost full: only deletes are taken"},
        {(status->condition & RAFT_STALLED) != 0 && !status->diverged,
         "the data directory's disk does not answer in time"},
        {(status->condition & RAFT_AMNESIAC) != 0,
         "this node lost what it had acknowledged and does not vote any more: stop it, remove its data directory, and "
         "let it join again"},
        {(status->condition & RAFT_RECOVERING) != 0 && (status->condition & RAFT_AMNESIAC) == 0,
         "this node lost data and fetches it from the leader; it does not vote"},
    };
    struct json *list = json_array_new(rq->arena);
    bool any = false;
    for (size_t i = 0; i < CF_LENGTH(alarms); i++) {
        if (alarms[i].is_on) {
            json_array_add(rq->arena, list, json_from_text(rq->arena, alarms[i].text));
            any = true;
        }
    }
    if (any) {
        json_set(rq->arena, to, "alarms", list);
    }
}

cf_status raft_read_configuration(struct request *rq, struct cf_error *err)
{
    CF_TRY(raft_check_dr_token(rq, err));
    CF_TRY(raft_want(rq, err));
    const struct raft_driver_status *status = raft_status_of(rq);
    struct json *servers = json_array_new(rq->arena);
    for (size_t i = 0; i < status->peer_count; i++) {
        const struct raft_peer_info *peer = &status->peers[i];
        struct json *server = json_object_new(rq->arena);
        json_set_text(rq->arena, server, "node_id", raft_peer_name(rq, peer));
        json_set_text(rq->arena, server, "address", peer->address);
        json_set_bool(rq->arena, server, "leader", peer->id == status->leader);
        json_set_bool(rq->arena, server, "voter", peer->role != RAFT_LEARNER);
        json_set_bool(rq->arena, server, "non_voter", peer->is_non_voter);
        json_set_text(rq->arena, server, "protocol_version", "3");
        json_set_int(rq->arena, server, "feature_level", peer->features);
        json_set_int(rq->arena, server, "match_index", (int64_t)peer->match);
        json_set_int(rq->arena, server, "lag_entries", (int64_t)raft_peer_lag(status, peer));
        json_set_text(rq->arena, server, "last_contact", raft_last_contact(rq, status, peer));
        json_array_add(rq->arena, servers, server);
    }
    struct json *config = json_object_new(rq->arena);
    json_set_int(rq->arena, config, "index", (int64_t)status->applied);
    json_set_int(rq->arena, config, "feature_level", status->level);
    json_set_int(rq->arena, config, "state_feature_level", status->state_level);
    json_set(rq->arena, config, "servers", servers);
    add_alarms(rq, status, config);
    json_set(rq->arena, response_data(rq), "config", config);
    core_host_done(rq, CF_OK);
    return CF_OK;
}

/* ---- remove-peer ---- */

struct removal {
    struct request *rq;
    uint64_t id;
};

static void removed(void *context, cf_status status, const struct cf_error *err)
{
    struct removal *removal = context;
    if (status != CF_OK && err != NULL) {
        removal->rq->error = *err;
    }
    core_host_done(removal->rq, status);
}

static void remove_run(void *arg)
{
    struct removal *removal = arg;
    struct node *node = node_of(removal->rq);
    cf_status status =
        raft_driver_remove(node->driver, removal->id, removed, removal, &removal->rq->error);
    if (status != CF_OK) {
        core_host_done(removal->rq, status);
    }
}

cf_status raft_remove_peer(struct request *rq, struct cf_error *err)
{
    struct cf_slice name;
    CF_TRY(raft_check_dr_token(rq, err));
    CF_TRY(raft_want(rq, err));
    CF_TRY(request_string(rq, "server_id", &name, err));
    if (name.size == 0) {
        return cf_fail(err, CF_INVALID, "no server id provided");
    }
    const struct raft_peer_info *peer = raft_find_peer(rq, raft_status_of(rq), name);
    if (peer == NULL) {
        return cf_fail(err, CF_INVALID, "no server \"%.*s\" in this cluster: see "
                                        "sys/storage/raft/configuration",
                       CF_SHOW(name));
    }
    struct removal *removal = arena_new_object(rq->arena, struct removal);
    *removal = (struct removal){rq, peer->id};
    loop_post(node_of(rq)->loop, remove_run, removal);
    return CF_OK;
}
