/* node/server/join.c: a new node asks to join.
 *
 *   new node                                    any node of the cluster (a standby redirects)
 *   bootstrap/challenge {name, id, address, csr}  -->  seal configuration, a challenge under the unseal key
 *   (the unseal key: from a static or transit seal, or from the shares that its operators give it)
 *   bootstrap/answer {nonce, answer}  -->  certificate, CA, cluster id; the node is a learner now
 *
 * The answer proves that the new node holds the unseal key and binds its name, id, address and TLS key; the
 * private key never leaves it. State and log come through consensus. */
#include <stdio.h>

#include "node/base/level.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/crypto/x509.h"
#include "node/format/encode.h"
#include "node/server/cluster_int.h"
#include "node/server/join.h"
#include "node/server/outgoing.h"
#include "node/server/seal.h"
#include "node/server/transit.h"

#define RETRY_MIN_US ((uint64_t)500 * 1000)
#define RETRY_MAX_US ((uint64_t)4 * 1000 * 1000)
#define TIMEOUT_MS 10000
#define ADDRESSES_MAX 8 /* of one name */
#define PEM_MAX ((size_t)64 << 10)

struct joining {
    struct node *node;
    struct arena *arena;
    struct config_join targets[CONFIG_JOINS_MAX];
    size_t target_count;
    uint64_t node_id;
    struct secret *tls_key;
    struct cf_buf csr;
    struct loop_timer *timer;
    bool is_busy;     /* a worker has it */
    bool is_answered; /* at least one challenge came */
    bool is_given_up; /* sys/init came first; the worker still has it */
    bool is_non_voter;
    bool retries; /* goes on by itself after a failure */
    unsigned failures; /* in a row */
    struct secret *unseal_key, *previous_key; /* previous: of a static seal, or NULL */
    /* sys/storage/raft/join waits for the first challenge: */
    struct http_exchange *x;
    /* the worker's results */
    struct seal_config seal;
    struct cf_buf cert, ca;
    struct raft_identity identity;
    bool is_joined;
    cf_status status;
    struct cf_error err;
};

struct cf_slice join_identity(struct arena *arena, struct cf_slice name, uint64_t id,
                              struct cf_slice address, const uint8_t key_hash[32])
{
    CF_BUF(text) = {0};
    /* Sizes in front: no name can pass for the end of another field. */
    cf_buf_addf(&text, "%016llx|%zu:%.*s|%zu:%.*s|", (unsigned long long)id, name.size,
                CF_SHOW(name), address.size, CF_SHOW(address));
    encode_hex(&text, cf_slice_of(key_hash, 32));
    return arena_copy(arena, cf_buf_slice(&text));
}

void join_free(struct joining *joining)
{
    if (joining == NULL) {
        return;
    }
    loop_timer_free(joining->timer);
    secret_free(joining->tls_key);
    secret_free(joining->unseal_key);
    secret_free(joining->previous_key);
    cf_buf_done(&joining->csr);
    cf_buf_done(&joining->cert);
    cf_buf_done(&joining->ca);
    arena_free(joining->arena);
    cf_free(joining);
}

/* ---- on a worker: one round of HTTP ---- */

static const char *own_address(const struct node *node)
{
    const char *address = node->config->cluster_addr;
    const char *bare = strstr(address, "://");
    return bare != NULL ? bare + 3 : address;
}

static struct outgoing_target target_of(const struct config_join *join)
{
    return (struct outgoing_target){.url = join->leader_api_addr,
                                    .ca_file = join->ca_cert_file,
                                    .cert_file = join->client_cert_file,
                                    .key_file = join->client_key_file,
                                    .ca_pem = join->ca_cert,
                                    .cert_pem = join->client_cert,
                                    .key_pem = join->client_key,
                                    .server_name = join->tls_servername};
}

static cf_status post(const struct outgoing_target *target, const char *path,
                      const struct json *body, struct arena *arena, struct json **ret,
                      struct cf_error *err)
{
    int http;
    struct json *answer;
    CF_TRY(outgoing_post(target, path, NULL, body, TIMEOUT_MS, arena, &http, &answer, err));
    if (http != 200) {
        return cf_fail(err, http >= 500 ? CF_UNAVAILABLE : CF_INVALID, "%s refused with %d: %s",
                       target->url, http, outgoing_errors(arena, answer));
    }
    *ret = json_get(answer, "data");
    return CF_OK;
}

static cf_status decode_field(const struct json *data, const char *name, struct cf_buf *to,
                              struct cf_error *err)
{
    if (encode_base64_decode(to, json_get_string(data, name), NULL) != CF_OK || to->size == 0) {
        return cf_fail(err, CF_INVALID, "the answer of the cluster lacks \"%s\"", name);
    }
    return CF_OK;
}

static cf_status ask(struct joining *joining, const struct outgoing_target *target,
                     struct arena *arena, struct json **ret, struct cf_error *err)
{
    struct node *node = joining->node;
    char id[17];
    cluster_id_text(joining->node_id, id);
    struct json *body = json_object_new(arena);
    json_set_text(arena, body, "server_id", node->config->node_id);
    json_set_text(arena, body, "internal_id", id);
    json_set_text(arena, body, "cluster_address", own_address(node));
    json_set_string(arena, body, "csr", cf_buf_slice(&joining->csr));
    json_set_bool(arena, body, "non_voter", joining->is_non_voter);
    json_set_int(arena, body, "feature_level", cf_feature_level());
    CF_TRY(post(target, "sys/storage/raft/bootstrap/challenge", body, arena, ret, err));
    CF_BUF(config) = {0};
    CF_TRY(decode_field(*ret, "seal_config", &config, err));
    return seal_config_load(cf_buf_slice(&config), &joining->seal, err);
}

static cf_status prove(struct joining *joining, const struct outgoing_target *target,
                       const struct json *challenge, struct arena *arena, struct cf_error *err)
{
    struct node *node = joining->node;
    struct x509_info info;
    uint8_t answer[32];
    struct json *data;
    CF_BUF(bytes) = {0};
    CF_BUF(text) = {0};
    CF_TRY(decode_field(challenge, "challenge", &bytes, err));
    CF_TRY(x509_csr_read(cf_buf_slice(&joining->csr), &info, NULL, err));
    struct cf_slice identity =
        join_identity(arena, cf_slice_str(node->config->node_id), joining->node_id,
                      cf_slice_str(own_address(node)), info.public_key_hash);
    cf_status status = seal_challenge_answer(secret_slice(joining->unseal_key), identity,
                                             cf_buf_slice(&bytes), answer, err);
    if (status == CF_INVALID && joining->previous_key != NULL) { /* the key of a static seal is being replaced */
        status = seal_challenge_answer(secret_slice(joining->previous_key), identity, cf_buf_slice(&bytes), answer,
                                       err);
    }
    if (status == CF_INVALID) {
        return cf_fail(err, CF_DENIED, "the unseal key is not this cluster's");
    }
    CF_TRY(status);
    encode_base64(&text, cf_slice_of(answer, sizeof(answer)));
    struct json *body = json_object_new(arena);
    json_set_string(arena, body, "nonce", json_get_string(challenge, "nonce"));
    json_set_string(arena, body, "answer", cf_buf_slice(&text));
    CF_TRY(post(target, "sys/storage/raft/bootstrap/answer", body, arena, &data, err));
    struct uuid cluster_id;
    CF_TRY(encode_uuid_parse(json_get_string(data, "cluster_id"), &cluster_id, err));
    joining->identity = (struct raft_identity){.node_id = joining->node_id};
    memcpy(joining->identity.cluster_id, cluster_id.bytes, sizeof(cluster_id.bytes));
    cf_ignore(!json_uint64(json_get(data, "recovery_epoch"), &joining->identity.recovery_epoch),
              "absent is 0");
    cf_buf_reset(&joining->cert);
    cf_buf_reset(&joining->ca);
    cf_buf_add_slice(&joining->cert, json_get_string(data, "certificate"));
    cf_buf_add_slice(&joining->ca, json_get_string(data, "ca"));
    joining->is_joined = true;
    return CF_OK;
}

static void back_on_loop(void *arg);

/* One address of one stanza. CF_INVALID and CF_DENIED: it answered, and refused. */
static cf_status try_one(struct joining *joining, const struct outgoing_target *target,
                         struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(4096);
    struct json *challenge;
    CF_TRY(ask(joining, target, arena, &challenge, err));
    const struct config_seal *seal = config_auto_seal(joining->node->config);
    if (joining->unseal_key == NULL && joining->seal.type == SEAL_TRANSIT && seal != NULL &&
        seal->type == SEAL_TRANSIT) {
        CF_TRY(transit_unwrap(seal, cf_slice_str(joining->seal.wrapped_key), &joining->unseal_key,
                              err));
    }
    return joining->unseal_key != NULL ? prove(joining, target, challenge, arena, err) : CF_OK;
}

/* Names are looked up at every try, and each of their addresses counts: the name of a whole cluster may
 * lead to a node that is sealed, or gone. */
static cf_status try_target(struct joining *joining, const struct config_join *join,
                            struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(1024);
    struct outgoing_target target = target_of(join);
    const char *addresses[ADDRESSES_MAX];
    size_t count;
    CF_TRY(outgoing_resolve(target.url, arena, addresses, CF_LENGTH(addresses), &count, err));
    cf_status status = cf_fail(err, CF_UNAVAILABLE, "\"%s\" has no address", target.url);
    for (size_t i = 0; i < count && status != CF_OK; i++) {
        target.address = addresses[i];
        status = try_one(joining, &target, err);
        if (status != CF_OK) {
            cf_debug("server", "joining by %s (%s): %s", target.url, addresses[i], err->message);
        }
    }
    return status;
}

/* What is told in the end: a refusal by a member says more than an address where nobody was. */
static bool says_more(const struct cf_error *than, const struct cf_error *now)
{
    return than->status == CF_OK || than->status == CF_UNAVAILABLE ||
           (now->status == CF_DENIED && than->status != CF_DENIED);
}

static void on_worker(void *arg)
{
    struct joining *joining = arg;
    struct cf_error best = {0};
    joining->status = cf_fail(&best, CF_UNAVAILABLE, "nobody to ask: give retry_join stanzas");
    for (size_t i = 0; i < joining->target_count && joining->status != CF_OK; i++) {
        struct cf_error err = {0};
        joining->status = try_target(joining, &joining->targets[i], &err);
        if (joining->status != CF_OK && says_more(&best, &err)) {
            best = err;
        }
    }
    if (joining->status != CF_OK) {
        joining->status = best.status;
        joining->err = best;
    }
    loop_post(joining->node->loop, back_on_loop, joining);
}

/* ---- on the main loop ---- */

static void answer_join(void *arg)
{
    struct http_exchange *x = arg;
    struct json *body = json_object_new(http_arena(x));
    json_set_bool(http_arena(x), body, "joined", true);
    api_answer_json(x, 200, body);
}

struct refusal {
    struct http_exchange *x;
    cf_status status;
    struct cf_error err;
};

static void answer_refusal(void *arg)
{
    struct refusal *refusal = arg;
    refusal->err.status = CF_INVALID;
    api_answer_error(refusal->x, CF_INVALID, &refusal->err);
    cf_free(refusal);
}

static void tell(struct joining *joining)
{
    if (joining->x == NULL) {
        return;
    }
    struct loop *loop = http_loop(joining->x);
    if (joining->status == CF_OK) {
        loop_post(loop, answer_join, joining->x);
    } else {
        struct refusal *refusal = cf_new(struct refusal);
        *refusal = (struct refusal){joining->x, joining->status, joining->err};
        loop_post(loop, answer_refusal, refusal);
    }
    joining->x = NULL;
}

static cf_status install(struct joining *joining, struct cf_error *err)
{
    struct node *node = joining->node;
    CF_TRY(cluster_install_tls(node, cf_buf_slice(&joining->cert), joining->tls_key,
                               cf_buf_slice(&joining->ca), err));
    CF_TRY(raft_store_join(node->store, &joining->identity, err));
    const struct config_seal *seal = config_auto_seal(node->config);
    if (seal == NULL || seal->type != SEAL_STATIC) {
        seal_keep_key(node, secret_copy(secret_slice(joining->unseal_key)));
    }
    atomic_store(&node->wants_unseal, true);
    return node_start_driver(node, err);
}

static void set_joining(struct cluster *cluster, bool joining)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->joining_now = joining;
    pthread_mutex_unlock(&cluster->lock);
}

static void end(struct cluster *cluster)
{
    set_joining(cluster, false);
    join_free(cluster->joining);
    cluster->joining = NULL;
}

static void go(void *arg)
{
    struct joining *joining = arg;
    if (!joining->is_busy) {
        joining->is_busy = true;
        core_work(joining->node->core, on_worker, joining);
    }
}

/* Doubles, and differs from node to node, so that a cluster that starts at once does not ask at once. */
static uint64_t pause_us(unsigned failures)
{
    uint32_t draw;
    cf_random_fill(core_random(), &draw, sizeof(draw));
    uint64_t pause = RETRY_MIN_US << cf_min(failures - 1, 8u);
    pause = cf_min(pause, RETRY_MAX_US);
    return pause - draw % (pause / 4);
}

static void back_on_loop(void *arg)
{
    struct joining *joining = arg;
    struct cluster *cluster = joining->node->cluster;
    joining->is_busy = false;
    if (joining->status == CF_OK) {
        pthread_mutex_lock(&cluster->lock);
        cluster->pending_seal = joining->seal;
        pthread_mutex_unlock(&cluster->lock);
        joining->is_answered = true;
    } else {
        cf_warn("server", "joining: %s%s", joining->err.message,
                joining->retries ? "; trying again" : "");
    }
    tell(joining);
    if (joining->is_given_up) {
        end(cluster);
        return;
    }
    if (joining->is_joined) {
        struct cf_error err = {0};
        cf_status status = install(joining, &err);
        if (status == CF_OK) {
            cf_info("server", "joined the cluster");
        } else {
            cf_err("server", "joined, but cannot go on: %s", err.message);
        }
        end(cluster);
        return;
    }
    if (joining->status == CF_DENIED) {
        secret_free(joining->unseal_key); /* the shares were another cluster's: they are asked anew */
        joining->unseal_key = NULL;
    }
    if (joining->status != CF_OK && !joining->is_answered && !joining->retries) {
        end(cluster); /* sys/storage/raft/join is not tried again by itself */
        return;
    }
    joining->failures = joining->status == CF_OK ? 0 : joining->failures + 1;
    if (joining->status != CF_OK) {
        loop_timer_set_in(joining->timer, pause_us(joining->failures));
    } else if (joining->unseal_key != NULL) {
        go(joining); /* the key came while the challenge was under way */
    }
}

static cf_status begin(struct node *node, struct cf_error *err)
{
    struct joining *joining = cf_new(struct joining);
    struct cluster *cluster = node->cluster;
    cluster->joining = joining;
    joining->node = node;
    joining->arena = arena_new(1024);
    joining->timer = loop_timer_new(node->loop, go, joining);
    while (joining->node_id == 0) {
        cf_random_fill(core_random(), &joining->node_id, sizeof(joining->node_id));
    }
    char id[17];
    cluster_id_text(joining->node_id, id);
    struct x509_names names = {.common_name = cf_slice_str(id)};
    CF_TRY(x509_key_new(&joining->tls_key, err));
    CF_TRY(x509_csr_new(joining->tls_key, &names, &joining->csr, err));
    const struct config_seal *seal = config_auto_seal(node->config);
    if (seal != NULL && seal->type == SEAL_STATIC) {
        pthread_mutex_lock(&node->seal_lock);
        joining->unseal_key = secret_copy(secret_slice(node->pending_key));
        joining->previous_key = node->previous_key != NULL ? secret_copy(secret_slice(node->previous_key)) : NULL;
        pthread_mutex_unlock(&node->seal_lock);
    }
    set_joining(cluster, true);
    return CF_OK;
}

bool cluster_is_joining(struct node *node)
{
    struct cluster *cluster = node->cluster;
    pthread_mutex_lock(&cluster->lock);
    bool joining = cluster->joining_now;
    pthread_mutex_unlock(&cluster->lock);
    return joining;
}

bool cluster_give_up_joining(struct node *node)
{
    struct joining *joining = node->cluster->joining;
    if (joining == NULL) {
        return true;
    }
    if (joining->is_answered) {
        return false;
    }
    if (joining->is_busy) {
        joining->is_given_up = true;
        set_joining(node->cluster, false);
    } else {
        end(node->cluster);
    }
    return true;
}

void cluster_join_with(struct node *node, struct secret *key)
{
    struct joining *joining = node->cluster->joining;
    secret_free(joining->unseal_key);
    joining->unseal_key = key;
    go(joining);
}

bool cluster_pending_seal(struct node *node, struct seal_config *ret)
{
    struct cluster *cluster = node->cluster;
    pthread_mutex_lock(&cluster->lock);
    bool known = cluster->pending_seal.shape.shares != 0;
    *ret = known ? cluster->pending_seal : *ret;
    pthread_mutex_unlock(&cluster->lock);
    return known;
}

void cluster_start_joining(struct node *node)
{
    struct cf_error err = {0};
    if (begin(node, &err) != CF_OK) {
        cf_err("server", "cannot join: %s", err.message);
        return;
    }
    struct joining *joining = node->cluster->joining;
    joining->is_non_voter = node->config->join_as_non_voter;
    joining->retries = true;
    for (size_t i = 0; i < node->config->join_count; i++) {
        joining->targets[joining->target_count++] = node->config->joins[i];
    }
    go(joining);
}

/* ---- sys/storage/raft/join ---- */

struct join_order {
    struct node *node;
    struct http_exchange *x;
    struct config_join target;
    bool is_non_voter, retries;
};

static void refuse(struct join_order *order, const char *text)
{
    struct refusal *refusal = cf_new(struct refusal);
    refusal->x = order->x;
    cf_fail(&refusal->err, CF_INVALID, "%s", text);
    loop_post(http_loop(order->x), answer_refusal, refusal);
}

static void answer_later(void *arg)
{
    struct http_exchange *x = arg;
    struct json *body = json_object_new(http_arena(x));
    json_set_bool(http_arena(x), body, "joined", false);
    api_answer_json(x, 200, body);
}

static void order_run(void *arg)
{
    struct join_order *order = arg;
    struct node *node = order->node;
    struct cf_error err = {0};
    if (atomic_load(&node->is_initialized)) {
        refuse(order, "this node belongs to a cluster already");
        return;
    }
    struct joining *joining = node->cluster->joining;
    if (joining == NULL) {
        if (begin(node, &err) != CF_OK) {
            refuse(order, err.message);
            return;
        }
        joining = node->cluster->joining;
    }
    if (joining->is_busy || joining->x != NULL) {
        refuse(order, "a join is under way already: wait for it");
        return;
    }
    /* Copied: the exchange's arena does not outlive its answer. */
    struct config_join copy = order->target;
    const char **texts[] = {&copy.leader_api_addr, &copy.ca_cert,     &copy.client_cert,
                            &copy.client_key,      &copy.tls_servername};
    for (size_t i = 0; i < CF_LENGTH(texts); i++) {
        if (*texts[i] != NULL) {
            *texts[i] = arena_text(joining->arena, cf_slice_str(*texts[i]));
        }
    }
    joining->targets[0] = copy;
    joining->target_count = cf_max(joining->target_count, 1);
    joining->is_non_voter = order->is_non_voter || node->config->join_as_non_voter;
    joining->retries = joining->retries || order->retries;
    if (order->retries) { /* goes on in the background */
        loop_post(http_loop(order->x), answer_later, order->x);
    } else {
        joining->x = order->x;
    }
    go(joining);
}

/* Empty is as good as absent. */
static cf_status text_field(struct request *rq, const char *name, const char **ret,
                            struct cf_error *err)
{
    struct cf_slice text;
    CF_TRY(request_string(rq, name, &text, err));
    if (text.size > PEM_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "\"%s\" is too long", name);
    }
    *ret = text.size != 0 ? arena_text(rq->arena, text) : NULL;
    return CF_OK;
}

static cf_status read_order(struct request *rq, struct join_order *order, struct cf_error *err)
{
    struct config_join *target = &order->target;
    CF_TRY(text_field(rq, "auto_join", &target->auto_join, err));
    if (target->auto_join != NULL) {
        return cf_fail(err, CF_INVALID, "auto_join is not supported: give leader_api_addr");
    }
    CF_TRY(text_field(rq, "leader_api_addr", &target->leader_api_addr, err));
    CF_TRY(text_field(rq, "leader_ca_cert", &target->ca_cert, err));
    CF_TRY(text_field(rq, "leader_client_cert", &target->client_cert, err));
    CF_TRY(text_field(rq, "leader_client_key", &target->client_key, err));
    CF_TRY(text_field(rq, "leader_tls_servername", &target->tls_servername, err));
    CF_TRY(request_bool(rq, "non_voter", false, &order->is_non_voter, err));
    CF_TRY(request_bool(rq, "retry", false, &order->retries, err));
    if (target->leader_api_addr == NULL) {
        return cf_fail(err, CF_INVALID, "leader_api_addr is required");
    }
    if ((target->client_cert == NULL) != (target->client_key == NULL)) {
        return cf_fail(err, CF_INVALID, "leader_client_cert and leader_client_key go together");
    }
    return CF_OK;
}

void cluster_handle_join(struct node *node, struct http_exchange *x)
{
    struct request *rq;
    struct cf_error err = {0};
    if (!api_read_request(node->api, x, &rq)) {
        return;
    }
    if (node->config->storage != STORAGE_RAFT) {
        http_respond_error(x, 404, "1 error occurred:\n\t* unsupported path\n\n");
        return;
    }
    struct join_order *order = arena_new_object(rq->arena, struct join_order);
    *order = (struct join_order){.node = node, .x = x};
    cf_status status = read_order(rq, order, &err);
    if (status != CF_OK) {
        api_answer_error(x, status, &err);
        return;
    }
    loop_post(node->loop, order_run, order);
}
