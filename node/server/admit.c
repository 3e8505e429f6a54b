/* node/server/admit.c: the cluster's side of a join: challenge, proof, certificate, membership. */
#include <stdio.h>

#include "node/base/level.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/crypto/x509.h"
#include "node/format/encode.h"
#include "node/server/admit.h"
#include "node/server/autopilot.h"
#include "node/server/cluster_int.h"
#include "node/server/join.h"
#include "node/server/seal.h"

#define PENDING_MAX 16
#define PENDING_US ((uint64_t)30 * 1000000)
#define CHANCE_US ((uint64_t)5 * 1000000)
#define CSR_MAX 16384

struct candidate {
    bool is_used;
    uint64_t until_us;
    char nonce[ENCODE_UUID_TEXT + 1];
    uint8_t expected[32];
    uint64_t node_id;
    uint32_t features;
    bool is_non_voter;
    char name[RAFT_NAME_MAX], address[RAFT_ADDRESS_MAX];
    struct cf_buf public_key;
};

struct admissions {
    pthread_mutex_t lock;
    struct candidate candidates[PENDING_MAX];
};

struct admissions *admissions_new(void)
{
    struct admissions *admissions = cf_new(struct admissions);
    pthread_mutex_init(&admissions->lock, NULL);
    return admissions;
}

static void forget(struct candidate *candidate)
{
    cf_buf_done(&candidate->public_key);
    cf_wipe(candidate, sizeof(*candidate));
}

void admissions_free(struct admissions *admissions)
{
    if (admissions == NULL) {
        return;
    }
    for (size_t i = 0; i < PENDING_MAX; i++) {
        forget(&admissions->candidates[i]);
    }
    pthread_mutex_destroy(&admissions->lock);
    cf_free(admissions);
}

/* The lock is held. The same node's earlier place, a free one, one whose time is up, or the oldest if it
 * had its chance (whoever means it answers at once); NULL when all are taken. */
static struct candidate *place(struct admissions *admissions, uint64_t node_id)
{
    struct candidate *found = NULL;
    uint64_t now_us = loop_now_us();
    for (size_t i = 0; i < PENDING_MAX; i++) {
        struct candidate *candidate = &admissions->candidates[i];
        if (candidate->is_used && candidate->node_id == node_id) {
            found = candidate;
            break;
        }
        if (!candidate->is_used || now_us > candidate->until_us) {
            found = candidate;
        } else if (now_us > candidate->until_us - PENDING_US + CHANCE_US &&
                   (found == NULL ||
                    (found->is_used && candidate->until_us < found->until_us))) {
            found = candidate;
        }
    }
    if (found != NULL) {
        forget(found);
    }
    return found;
}

/* ---- the challenge ---- */

static cf_status read_candidate(struct request *rq, struct candidate *candidate,
                                struct x509_info *info, struct cf_error *err)
{
    struct cf_slice name, id, address, csr;
    int64_t features;
    CF_TRY(request_string(rq, "server_id", &name, err));
    CF_TRY(request_string(rq, "internal_id", &id, err));
    CF_TRY(request_string(rq, "cluster_address", &address, err));
    CF_TRY(request_string(rq, "csr", &csr, err));
    CF_TRY(request_bool(rq, "non_voter", false, &candidate->is_non_voter, err));
    CF_TRY(request_int(rq, "feature_level", cf_feature_level(), &features, err));
    candidate->features = features > 0 ? (uint32_t)cf_min(features, INT32_MAX) : 0;
    if (name.size == 0 || name.size >= sizeof(candidate->name) || address.size == 0 ||
        address.size >= sizeof(candidate->address) || csr.size > CSR_MAX ||
        !cluster_id_parse(arena_text(rq->arena, id), &candidate->node_id)) {
        return cf_fail(err, CF_INVALID, "malformed request to join: is the joining node of the "
                                        "same version?");
    }
    memcpy(candidate->name, name.data, name.size);
    memcpy(candidate->address, address.data, address.size);
    return x509_csr_read(csr, info, &candidate->public_key, err);
}

static cf_status challenge(struct node *node, struct request *rq, struct json **ret,
                           struct cf_error *err)
{
    struct admissions *admissions = node->cluster->admissions;
    struct seal_config config;
    struct x509_info info;
    CF_OWNED(secret) key = NULL;
    CF_BUF(sealed) = {0};
    CF_BUF(text) = {0};
    CF_BUF(dump) = {0};
    CF_TRY(seal_unseal_key(node, &key, err));
    CF_TRY(seal_config_of(node, &config, err));
    CF_TRY(seal_config_dump(&config, &dump, err));
    struct candidate fresh = {0};
    cf_status status = read_candidate(rq, &fresh, &info, err);
    if (status == CF_OK) {
        struct cf_slice identity =
            join_identity(rq->arena, cf_slice_str(fresh.name), fresh.node_id,
                          cf_slice_str(fresh.address), info.public_key_hash);
        status = seal_challenge_new(secret_slice(key), identity, rq->random, &sealed,
                                    fresh.expected, err);
    }
    if (status != CF_OK) {
        forget(&fresh);
        return status;
    }
    fresh.is_used = true;
    fresh.until_us = loop_now_us() + PENDING_US;
    encode_uuid_text(encode_uuid_new(rq->random), fresh.nonce);
    *ret = json_object_new(rq->arena);
    json_set_text(rq->arena, *ret, "nonce", fresh.nonce);
    pthread_mutex_lock(&admissions->lock);
    struct candidate *candidate = place(admissions, fresh.node_id);
    if (candidate != NULL) {
        *candidate = fresh; /* with its buffer */
    }
    pthread_mutex_unlock(&admissions->lock);
    if (candidate == NULL) {
        forget(&fresh);
        return cf_fail(err, CF_RATE_LIMITED, "too many nodes are joining: try again in 30 seconds");
    }
    encode_base64(&text, cf_buf_slice(&sealed));
    json_set_string(rq->arena, *ret, "challenge", cf_buf_slice(&text));
    cf_buf_reset(&text);
    encode_base64(&text, cf_buf_slice(&dump));
    json_set_string(rq->arena, *ret, "seal_config", cf_buf_slice(&text));
    return CF_OK;
}

/* ---- the answer: issue, add, reply ---- */

struct admission {
    struct node *node;
    struct http_exchange *x;
    struct candidate candidate;
    struct cf_buf cert, ca;
    cf_status status;
    struct cf_error err;
};

static void admission_answer(void *arg)
{
    struct admission *admission = arg;
    struct arena *arena = http_arena(admission->x);
    if (admission->status != CF_OK) {
        api_answer_error(admission->x, admission->status, &admission->err);
    } else {
        struct raft_identity identity = raft_store_identity(admission->node->store);
        char id[37];
        node_cluster_id(admission->node, id);
        struct json *data = json_object_new(arena);
        json_set_string(arena, data, "certificate", cf_buf_slice(&admission->cert));
        json_set_string(arena, data, "ca", cf_buf_slice(&admission->ca));
        json_set_text(arena, data, "cluster_id", id);
        json_set_int(arena, data, "recovery_epoch", (int64_t)identity.recovery_epoch);
        struct json *body = json_object_new(arena);
        json_set(arena, body, "data", data);
        api_answer_json(admission->x, 200, body);
    }
    cf_buf_done(&admission->cert);
    cf_buf_done(&admission->ca);
    forget(&admission->candidate);
    cf_free(admission);
}

static void admission_end(struct admission *admission, cf_status status, const struct cf_error *err)
{
    admission->status = status;
    if (err != NULL && err != &admission->err) {
        admission->err = *err;
    }
    loop_post(http_loop(admission->x), admission_answer, admission);
}

static void added(void *context, cf_status status, const struct cf_error *err)
{
    struct admission *admission = context;
    if (status == CF_OK) {
        cf_info("server", "node \"%s\" at %s joined%s", admission->candidate.name,
                admission->candidate.address,
                admission->candidate.is_non_voter ? ", never to vote" : "");
    }
    admission_end(admission, status, err);
}

/* A join may bring a node or replace one that is gone, and change nothing about those that are there: not
 * their vote, not their address (CVE-2022-36129). */
static cf_status enrol(struct admission *admission, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(16384);
    struct raft_driver *driver = admission->node->driver;
    const struct candidate *candidate = &admission->candidate;
    struct raft_driver_status *status = arena_new_object(arena, struct raft_driver_status);
    uint64_t now_us = loop_now_us(), contact_us = autopilot_last_contact_us(admission->node);
    raft_driver_status(driver, status);
    for (size_t i = 0; i < status->peer_count; i++) {
        const struct raft_peer_info *peer = &status->peers[i];
        if (peer->id == candidate->node_id) {
            /* It asks again after a lost answer, or somebody pretends to. */
            if (peer->id == status->id || peer->match != 0 ||
                strcmp(peer->name, candidate->name) != 0 ||
                strcmp(peer->address, candidate->address) != 0) {
                return cf_fail(err, CF_INVALID, "the id %016llx belongs to a member already",
                               (unsigned long long)peer->id);
            }
            continue;
        }
        if (strcmp(peer->name, candidate->name) != 0) {
            continue;
        }
        uint64_t silent_us = peer->heard_us < now_us ? now_us - peer->heard_us : 0;
        if (peer->id == status->id || silent_us <= contact_us) {
            return cf_fail(err, CF_INVALID,
                           "\"%s\" is a member that was heard %.1f s ago: give the new node a "
                           "node_id of its own, or stop the other and try again %.0f s later",
                           peer->name, peer->id == status->id ? 0.0 : (double)silent_us / 1e6,
                           (double)contact_us / 1e6);
        }
        cf_info("server", "\"%s\" (%016llx) was not heard for %.1f s: %016llx takes its place",
                peer->name, (unsigned long long)peer->id, (double)silent_us / 1e6,
                (unsigned long long)candidate->node_id);
        return raft_driver_replace(driver, peer->id, candidate->node_id, candidate->address,
                                   candidate->name, candidate->features, candidate->is_non_voter,
                                   added, admission, err);
    }
    return raft_driver_add(driver, candidate->node_id, candidate->address, candidate->name,
                           candidate->features, added, admission, err);
}

static void add(void *arg)
{
    struct admission *admission = arg;
    if (admission->candidate.is_non_voter && raft_driver_is_leader(admission->node->driver)) {
        autopilot_feed_start(admission->node); /* it must know before there is somebody to promote */
    }
    cf_status status = enrol(admission, &admission->err);
    if (status != CF_OK) {
        admission_end(admission, status, &admission->err);
    }
}

static cf_status issue(struct request *rq, void *context, struct cf_error *err)
{
    struct admission *admission = context;
    CF_OWNED(secret) key = NULL;
    char id[37];
    node_cluster_id(admission->node, id);
    cf_buf_reset(&admission->ca);
    cf_buf_reset(&admission->cert);
    CF_TRY(cluster_read_ca(rq, &admission->ca, &key, err));
    if (admission->candidate.is_non_voter) {
        struct raft_driver_status *members = arena_new_object(rq->arena, struct raft_driver_status);
        raft_driver_status(admission->node->driver, members);
        CF_TRY(autopilot_note_member(rq, admission->candidate.node_id,
                                     cf_slice_str(admission->candidate.name), true, members, err));
    }
    return cluster_issue(admission->node, cf_buf_slice(&admission->ca), key,
                         cf_buf_slice(&admission->candidate.public_key), id,
                         admission->candidate.node_id, &admission->cert, err);
}

static void issued(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct admission *admission = context;
    (void)index;
    if (status != CF_OK) {
        admission_end(admission, status, err);
        return;
    }
    loop_post(admission->node->loop, add, admission);
}

static cf_status take_answer(struct node *node, struct request *rq, struct admission *admission,
                             struct cf_error *err)
{
    struct admissions *admissions = node->cluster->admissions;
    struct cf_slice nonce, text;
    CF_BUF(answer) = {.max = 64};
    CF_TRY(request_string(rq, "nonce", &nonce, err));
    CF_TRY(request_string(rq, "answer", &text, err));
    CF_TRY(encode_base64_decode(&answer, text, err));
    cf_status status = cf_fail(err, CF_INVALID, "no such join: its 30 seconds are over; ask for a "
                                                "new challenge");
    pthread_mutex_lock(&admissions->lock);
    for (size_t i = 0; i < PENDING_MAX; i++) {
        struct candidate *candidate = &admissions->candidates[i];
        if (!candidate->is_used || loop_now_us() > candidate->until_us ||
            !cf_slice_is(nonce, candidate->nonce)) {
            continue;
        }
        if (seal_challenge_check(candidate->expected, cf_buf_slice(&answer))) {
            admission->candidate = *candidate;
            memset(candidate, 0, sizeof(*candidate)); /* its buffer has moved */
            status = CF_OK;
        } else {
            forget(candidate);
            status = cf_fail(err, CF_DENIED, "the answer is wrong: the joining node has another "
                                             "unseal key");
        }
        break;
    }
    pthread_mutex_unlock(&admissions->lock);
    return status;
}

bool cluster_handle_bootstrap(struct node *node, struct http_exchange *x, struct cf_slice path)
{
    bool asks = cf_slice_is(path, "sys/storage/raft/bootstrap/challenge");
    struct cf_error err = {0};
    struct request *rq;
    if (!asks && !cf_slice_is(path, "sys/storage/raft/bootstrap/answer")) {
        return false;
    }
    if (!api_read_request(node->api, x, &rq)) {
        return true;
    }
    if (node->config->storage != STORAGE_RAFT) {
        http_respond_error(x, 404, "1 error occurred:\n\t* unsupported path\n\n");
    } else if (rq->operation != OPERATION_UPDATE) {
        http_respond_error(x, 405, NULL);
    } else if (atomic_load(&node->is_sealed)) {
        http_respond_error(x, 503, cf_status_text(CF_SEALED));
    } else if (!node_proposer(node)->is_active(node)) {
        cluster_forward_exchange(node, x, rq);
    } else if (asks) {
        struct json *data = NULL;
        cf_status status = challenge(node, rq, &data, &err);
        if (status != CF_OK) {
            api_answer_error(x, status, &err);
        } else {
            struct json *body = json_object_new(rq->arena);
            json_set(rq->arena, body, "data", data);
            api_answer_json(x, 200, body);
        }
    } else {
        struct admission *admission = cf_new(struct admission);
        admission->node = node;
        admission->x = x;
        cf_status status = take_answer(node, rq, admission, &err);
        if (status != CF_OK) {
            cf_free(admission);
            api_answer_error(x, status, &err);
        } else {
            struct system_work work = {issue, issued, admission};
            system_submit(node->core, &work);
        }
    }
    return true;
}
