/* node/server/cluster.c: identity, the internal CA, the cluster port and who leads. */
#include "node/server/cluster.h"

#include <stdio.h>
#include <stdlib.h>

#include "consensus/driver/rpc_transport.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/crypto/x509.h"
#include "node/format/encode.h"
#include "node/server/admit.h"
#include "node/server/audit.h"
#include "node/server/autopilot.h"
#include "node/server/cluster_int.h"
#include "node/server/init.h"
#include "node/server/migrate.h"
#include "node/server/renewal.h"
#include "node/server/replication.h"
#include "node/server/snapshot/snapshot.h"
#include "node/server/tick.h"
#include "node/server/upkeep.h"

#define CA_LIFE_S ((int64_t)30 * 365 * 86400)
#define CERT_LIFE_S ((int64_t)90 * 86400)
#define CLOCK_SLACK_S ((int64_t)3600)
#define TLS_RECORD "node-tls"
#define TRANSFER_WAIT_US ((uint64_t)2 * 1000000)

/* ---- ids ---- */

void cluster_id_text(uint64_t id, char to[17])
{
    (void)snprintf(to, 17, "%016llx", (unsigned long long)id);
}

bool cluster_id_parse(const char *text, uint64_t *ret)
{
    char *end;
    *ret = strtoull(text, &end, 16);
    return strlen(text) == 16 && *end == '\0' && *ret != 0;
}

/* ---- certificates ---- */

static struct x509_validity life(int64_t seconds)
{
    int64_t now = cf_wall_ns(cf_host_clock()) / 1000000000;
    return (struct x509_validity){now - CLOCK_SLACK_S, now + seconds};
}

cf_status cluster_issue(struct node *node, struct cf_slice ca_cert, const struct secret *ca_key,
                        struct cf_slice public_key, const char *cluster_id, uint64_t node_id,
                        struct cf_buf *cert, struct cf_error *err)
{
    char id[17], uri[IDENTITY_URI_SIZE];
    struct identity identity;
    cluster_id_text(node_id, id);
    CF_TRY(identity_make(cf_slice_str(cluster_id), cf_slice_str(IDENTITY_NODE), cf_slice_str(id),
                         &identity, err));
    identity_uri(&identity, uri);
    struct x509_names names = {.common_name = cf_slice_str(id), .uri = cf_slice_str(uri)};
    struct x509_issuer issuer = {ca_cert, ca_key};
    int64_t ttl_s = node->config->node_cert_ttl_s != 0 ? node->config->node_cert_ttl_s : CERT_LIFE_S;
    struct x509_validity validity = life(ttl_s);
    if (ttl_s / 4 < CLOCK_SLACK_S) { /* else most of a short life would be over when it begins */
        validity.from_s += CLOCK_SLACK_S - ttl_s / 4;
    }
    return x509_issue(&issuer, public_key, &names, validity, cert, err);
}

/* One record: lengths and bytes of certificate, CA and key. The one exception to promise 7. */
static void pack_tls(struct cf_buf *to, struct cf_slice cert, struct cf_slice ca,
                     const struct secret *key)
{
    cf_buf_add_u32(to, (uint32_t)cert.size);
    cf_buf_add_slice(to, cert);
    cf_buf_add_u32(to, (uint32_t)ca.size);
    cf_buf_add_slice(to, ca);
    cf_buf_add_slice(to, secret_slice(key));
}

static bool take(struct cf_slice *from, struct cf_slice *ret)
{
    if (from->size < 4 || cf_get_u32(from->data) > from->size - 4) {
        return false;
    }
    uint32_t size = cf_get_u32(from->data);
    *ret = cf_slice_of(from->data + 4, size);
    *from = cf_slice_from(*from, 4 + (size_t)size);
    return true;
}

static cf_status load_tls(struct cluster *cluster, struct cf_error *err)
{
    KV_VALUE(value) = {0};
    struct cf_slice cert, ca;
    cf_status status =
        raft_store_get_record(cluster->node->store, TLS_RECORD, &value, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    struct cf_slice rest = value.bytes;
    if (!take(&rest, &cert) || !take(&rest, &ca) || rest.size == 0 ||
        rest.size > SECRET_SIZE_MAX) {
        return cf_fail(err, CF_CORRUPT, "the node's TLS record is damaged: remove this node from "
                                        "the cluster and let it join again");
    }
    CF_OWNED(secret) key = secret_copy(rest);
    return node_tls_new(cert, key, ca, &cluster->tls, err);
}

cf_status cluster_keep_tls(struct node *node, struct cf_slice cert, const struct secret *key,
                           struct cf_slice ca, struct cf_error *err)
{
    CF_OWNED(node_tls) fresh = NULL;
    struct cf_buf record;
    CF_TRY(node_tls_new(cert, key, ca, &fresh, err)); /* nothing is kept that could not be used */
    cf_buf_init_secret(&record, 0);
    pack_tls(&record, cert, ca, key);
    cf_status status = raft_store_put_record(node->store, TLS_RECORD, cf_buf_slice(&record), err);
    cf_buf_done(&record);
    return status;
}

cf_status cluster_install_tls(struct node *node, struct cf_slice cert, const struct secret *key,
                              struct cf_slice ca, struct cf_error *err)
{
    struct cluster *cluster = node->cluster;
    struct node_tls *fresh;
    CF_TRY(cluster_keep_tls(node, cert, key, ca, err));
    CF_TRY(node_tls_new(cert, key, ca, &fresh, err));
    node_tls_free(cluster->tls);
    cluster->tls = fresh;
    return CF_OK;
}

cf_status cluster_adopt_tls(struct node *node, struct cf_slice cert, const struct secret *key,
                            struct cf_slice ca, struct cf_error *err)
{
    struct cluster *cluster = node->cluster;
    struct node_tls *fresh;
    CF_TRY(node_tls_new(cert, key, ca, &fresh, err));
    node_tls_free(cluster->tls);
    cluster->tls = fresh;
    if (cluster->transport != NULL) {
        CF_TRY(raft_rpc_set_tls(cluster->transport, fresh, err));
    }
    return forward_set_tls(cluster, err);
}

/* ---- the first node ---- */

cf_status cluster_bootstrap(struct node *node, struct cf_error *err)
{
    struct cluster *cluster = node->cluster;
    struct raft_identity identity = {0};
    struct uuid cluster_id = encode_uuid_new(core_random());
    char id_text[ENCODE_UUID_TEXT + 1];
    CF_OWNED(secret) node_key = NULL;
    CF_BUF(cert) = {0};
    CF_BUF(public_key) = {0};
    encode_uuid_text(cluster_id, id_text);
    memcpy(identity.cluster_id, cluster_id.bytes, sizeof(identity.cluster_id));
    while (identity.node_id == 0) {
        cf_random_fill(core_random(), &identity.node_id, sizeof(identity.node_id));
    }
    secret_free(cluster->ca_key);
    cf_buf_done(&cluster->ca_cert);
    CF_TRY(x509_key_new(&cluster->ca_key, err));
    CF_TRY(x509_ca_new(CF_SLICE("coffer cluster CA"), cluster->ca_key, life(CA_LIFE_S),
                       &cluster->ca_cert, err));
    CF_TRY(x509_key_new(&node_key, err));
    CF_TRY(x509_key_public(node_key, &public_key, err));
    CF_TRY(cluster_issue(node, cf_buf_slice(&cluster->ca_cert), cluster->ca_key,
                         cf_buf_slice(&public_key), id_text, identity.node_id, &cert, err));
    CF_TRY(cluster_install_tls(node, cf_buf_slice(&cert), node_key,
                               cf_buf_slice(&cluster->ca_cert), err));
    const char *address = node->config->cluster_addr;
    const char *bare = strstr(address, "://") != NULL ? strstr(address, "://") + 3 : address;
    return raft_store_bootstrap(node->store, &identity, bare, node->config->node_id, err);
}

struct initial_put cluster_initial_put(struct node *node, struct arena *arena)
{
    struct cluster *cluster = node->cluster;
    struct json *record = json_object_new(arena);
    CF_BUF(key) = {.secret = true};
    encode_base64(&key, secret_slice(cluster->ca_key));
    json_set_string(arena, record, "certificate", cf_buf_slice(&cluster->ca_cert));
    json_set_string(arena, record, "key", cf_buf_slice(&key));
    return (struct initial_put){CLUSTER_CA_KEY, record_encode(arena, record), false};
}

cf_status cluster_read_ca(struct request *rq, struct cf_buf *cert, struct secret **key,
                          struct cf_error *err)
{
    struct cf_slice bytes;
    struct json *record;
    struct cf_buf raw;
    CF_TRY(txn_get(rq->txn, CLUSTER_CA_KEY, &bytes, err));
    CF_TRY(record_decode(bytes, rq->arena, &record, err));
    cf_buf_init_secret(&raw, SECRET_SIZE_MAX);
    cf_status status = encode_base64_decode(&raw, json_get_string(record, "key"), err);
    if (status == CF_OK) {
        *key = secret_copy(cf_buf_slice(&raw));
        cf_buf_add_slice(cert, json_get_string(record, "certificate"));
    }
    cf_buf_done(&raw);
    return status;
}

/* ---- the port ---- */

cf_status cluster_new(struct node *node, struct cluster **ret, struct cf_error *err)
{
    struct cluster *cluster = cf_new(struct cluster);
    cluster->node = node;
    cluster->admissions = admissions_new();
    pthread_mutex_init(&cluster->lock, NULL);
    struct rpc_config config = {.loop = node->loop,
                                .random = core_random(),
                                .version = COFFER_VERSION,
                                .cluster_address = node->config->cluster_addr,
                                .api_address = node->config->api_addr};
    cluster->rpc = rpc_new(&config);
    *ret = cluster;
    node->cluster = cluster;
    return load_tls(cluster, err);
}

void cluster_free(struct cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    join_free(cluster->joining);
    admissions_free(cluster->admissions);
    raft_rpc_free(cluster->transport);
    rpc_client_free(cluster->forward_client);
    rpc_client_free(cluster->former_client);
    loop_timer_free(cluster->former_timer);
    rpc_free(cluster->rpc);
    node_tls_free(cluster->tls);
    secret_free(cluster->ca_key);
    cf_buf_done(&cluster->ca_cert);
    pthread_mutex_destroy(&cluster->lock);
    cf_free(cluster);
}

struct rpc *cluster_rpc(struct node *node)
{
    return node->cluster->rpc;
}

cf_status cluster_open(struct node *node, struct cf_error *err)
{
    const char *address = node->config->listeners[0].cluster_address;
    CF_TRY(rpc_listen(node->cluster->rpc, cf_slice_str(address), err));
    cf_info("server", "cluster listener on %s", rpc_listen_address(node->cluster->rpc));
    return CF_OK;
}

void cluster_driver_started(struct node *node)
{
    struct cluster *cluster = node->cluster;
    struct cf_error err = {0};
    if (cluster->tls == NULL) {
        cf_err("server", "this node has no certificate: the cluster port serves no peers");
        return;
    }
    if (raft_rpc_new(cluster->rpc, node->driver, cluster->tls, &cluster->transport, &err) !=
        CF_OK) {
        cf_err("server", "the cluster port serves no peers: %s", err.message);
        return;
    }
    forward_serve(cluster);
    renewal_serve(cluster);
}

void cluster_driver_stopping(struct node *node)
{
    raft_rpc_free(node->cluster->transport);
    node->cluster->transport = NULL;
}

/* ---- who leads ---- */

struct leader_search {
    uint64_t id;
    const struct rpc_peer *found;
};

static void each_link(void *arg, struct rpc_link *link)
{
    struct leader_search *search = arg;
    const struct rpc_peer *peer = rpc_link_peer(link);
    uint64_t id;
    if (strcmp(peer->identity.role, IDENTITY_NODE) == 0 &&
        cluster_id_parse(peer->identity.id, &id) && id == search->id) {
        search->found = peer;
    }
}

struct cf_slice cluster_peer_api(struct node *node, struct arena *arena, uint64_t id)
{
    struct leader_search search = {.id = id};
    (void)rpc_each_link(node->cluster->rpc, each_link, &search);
    return search.found != NULL ? arena_copy(arena, cf_slice_str(search.found->api_address))
                                : CF_SLICE_EMPTY;
}

struct cf_slice cluster_peer_version(struct node *node, struct arena *arena, uint64_t id)
{
    struct leader_search search = {.id = id};
    (void)rpc_each_link(node->cluster->rpc, each_link, &search);
    return search.found != NULL ? arena_copy(arena, cf_slice_str(search.found->version))
                                : CF_SLICE_EMPTY;
}

/* Whose addresses cluster_leader() answers: copied out, so that reactors need not visit the loop. */
void cluster_refresh_leader(struct cluster *cluster)
{
    struct node *node = cluster->node;
    if (node->driver == NULL) {
        return;
    }
    struct leader_search search = {.id = raft_driver_leader(node->driver)};
    bool self = raft_driver_is_leader(node->driver);
    if (search.id != 0 && !self) {
        (void)rpc_each_link(cluster->rpc, each_link, &search);
    }
    pthread_mutex_lock(&cluster->lock);
    cluster->leader = search.id;
    (void)snprintf(cluster->leader_api, sizeof(cluster->leader_api), "%s",
                   self                   ? node->config->api_addr
                   : search.found != NULL ? search.found->api_address
                                          : "");
    (void)snprintf(cluster->leader_cluster, sizeof(cluster->leader_cluster), "%s",
                   self                   ? node->config->cluster_addr
                   : search.found != NULL ? search.found->cluster_address
                                          : "");
    pthread_mutex_unlock(&cluster->lock);
}

bool cluster_leader(struct node *node, struct arena *arena, struct cluster_peer *ret)
{
    struct cluster *cluster = node->cluster;
    pthread_mutex_lock(&cluster->lock);
    *ret = (struct cluster_peer){
        .id = cluster->leader,
        .api_addr = arena_copy(arena, cf_slice_str(cluster->leader_api)),
        .cluster_addr = arena_copy(arena, cf_slice_str(cluster->leader_cluster))};
    pthread_mutex_unlock(&cluster->lock);
    return ret->id != 0;
}

void cluster_role_changed(struct node *node, enum raft_role role, uint64_t term, uint64_t leader,
                          const char *leader_address)
{
    bool self = leader == raft_store_identity(node->store).node_id;
    if (role == RAFT_LEADER || self) {
        cf_info("server", "term %llu: elected", (unsigned long long)term);
    } else if (leader != 0) {
        cf_info("server", "term %llu: standby of %s", (unsigned long long)term, leader_address);
    } else {
        cf_info("server", "term %llu: no leader known", (unsigned long long)term);
    }
    if (role != RAFT_LEADER) {
        atomic_store(&node->active_since_ns, 0);
        core_background_stop(node->core);
        tick_stop(node);
        autopilot_feed_stop(node);
        upkeep_stop(node);
    }
    forward_follow(node->cluster, leader, leader_address);
    cluster_refresh_leader(node->cluster);
    node_replication_refresh(node);
}

void cluster_became_active(struct node *node)
{
    if (!raft_driver_is_leader(node->driver)) {
        return; /* lost again meanwhile */
    }
    cf_info("server", "this node is active");
    atomic_store(&node->active_since_ns, cf_wall_ns(cf_host_clock()));
    init_leader_ready(node);
    tick_start(node);
    autopilot_feed_start(node);
    upkeep_start(node);
    migrate_try(node);
    if (!atomic_load(&node->is_sealed)) {
        node_audit_reconcile(node);
        core_background_start(node->core);
    }
    cluster_refresh_leader(node->cluster);
    node_replication_refresh(node);
}

void cluster_unsealed(struct node *node)
{
    if (raft_driver_is_leader(node->driver)) {
        node_audit_reconcile(node);
        core_background_start(node->core);
    }
    node_replication_refresh(node);
    snapshot_take_carried(node);
}

void cluster_sealed(struct node *node)
{
    node_replication_refresh(node);
}

/* ---- stepping down ---- */

struct step_down {
    void (*done)(void *arg, cf_status status);
    void *arg;
};

static void transferred(void *context, cf_status status, const struct cf_error *err)
{
    struct step_down *step = context;
    (void)err;
    step->done(step->arg, status);
    cf_free(step);
}

void cluster_step_down(struct node *node, void (*done)(void *arg, cf_status status), void *arg)
{
    struct cf_error err = {0};
    if (node->driver == NULL || !raft_driver_is_leader(node->driver)) {
        done(arg, CF_OK);
        return;
    }
    struct step_down *step = cf_new(struct step_down);
    step->done = done;
    step->arg = arg;
    cf_status status = raft_driver_transfer(node->driver, 0, transferred, step, &err);
    if (status != CF_OK) {
        cf_free(step);
        done(arg, status == CF_UNAVAILABLE ? CF_OK : status); /* nobody else is there to lead */
    }
}
