/* node/server/init.c: the first moment of a cluster: keys, shares, the first log entry.
 *
 * Runs on the main loop: identity and cluster CA are made durable, consensus starts with this node as its
 * only voter, and as soon as it leads the whole first content is proposed as one entry. The shares leave
 * only after that entry is applied; before, nothing of them is kept anywhere. */
#include "node/server/init.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/command.h"
#include "node/core/pgp_shares.h"
#include "node/format/encode.h"
#include "node/server/cluster.h"
#include "node/server/seal.h"
#include "node/server/transit.h"
#include "node/server/versions.h"

struct init_operation {
    struct node *node;
    struct http_exchange *x; /* NULL: -dev */
    void (*dev_done)(struct node *node, struct cf_slice root_token, struct cf_slice unseal_key);
    struct shamir_shape shape;
    struct secret *shares[SHAMIR_SHARES_MAX];
    struct secret *share_key; /* the unseal key, or with a static seal the recovery key */
    struct secret *unseal_key, *root_key;
    struct keyring *keyring;
    struct arena *arena;
    struct cf_slice root_token;
    struct json *body; /* the answer, ready before the first entry is proposed */
    struct pgp_shares *share_keys, *token_key; /* NULL: plain answers */
    struct proposal proposal;
    const struct config_seal *auto_seal; /* NULL: Shamir */
    struct cf_buf wrapped; /* transit: the unseal key as the other server encrypted it */
    cf_status status;
    struct cf_error err;
};

static void operation_free(struct init_operation *op)
{
    for (size_t i = 0; i < CF_LENGTH(op->shares); i++) {
        secret_free(op->shares[i]);
    }
    secret_free(op->share_key);
    secret_free(op->unseal_key);
    secret_free(op->root_key);
    keyring_unref(op->keyring);
    pgp_shares_free(op->share_keys);
    pgp_shares_free(op->token_key);
    arena_free(op->arena);
    cf_buf_done(&op->wrapped);
    cf_buf_done(&op->proposal.payload);
    cf_free(op);
}

/* ---- the answer ---- */

static cf_status describe(struct init_operation *op, struct json *body, struct cf_error *err)
{
    struct arena *arena = op->arena;
    const char *hex = op->auto_seal != NULL ? "recovery_keys" : "keys";
    const char *base64 = op->auto_seal != NULL ? "recovery_keys_base64" : "keys_base64";
    if (op->auto_seal != NULL) {
        json_set(arena, body, "keys", json_array_new(arena));
        json_set(arena, body, "keys_base64", json_array_new(arena));
    }
    CF_TRY(pgp_shares_put(op->share_keys, op->shares, op->shape.shares, hex, base64, arena, body,
                          err));
    if (op->share_keys != NULL) {
        json_set(arena, body, "pgp_fingerprints", pgp_shares_fingerprints(op->share_keys, arena));
    }
    if (op->token_key == NULL) {
        json_set_string(arena, body, "root_token", op->root_token);
        return CF_OK;
    }
    CF_BUF(message) = {0};
    CF_BUF(text) = {0};
    CF_TRY(pgp_shares_seal_text(op->token_key, 0, op->root_token, &message, err));
    encode_base64(&text, cf_buf_slice(&message));
    json_set_string(arena, body, "root_token", cf_buf_slice(&text));
    return CF_OK;
}

/* Main loop. The answer is made before the first entry: what cannot be encrypted must not begin. */
static cf_status make_answer(struct init_operation *op, struct cf_error *err)
{
    op->body = json_object_new(op->arena);
    return op->x == NULL ? CF_OK : describe(op, op->body, err);
}

static void answer(void *arg)
{
    struct init_operation *op = arg;
    if (op->status != CF_OK) {
        api_answer_error(op->x, op->status, &op->err);
    } else {
        api_answer_json(op->x, 200, op->body);
    }
    operation_free(op);
}

static void finish(void *arg)
{
    struct init_operation *op = arg;
    struct node *node = op->node;
    node->init = NULL;
    if (op->status == CF_OK) {
        cf_info("server", "cluster \"%s\" initialised", node_cluster_name(node));
        if (op->auto_seal != NULL || op->x == NULL) {
            if (op->x == NULL || op->auto_seal->type == SEAL_TRANSIT) {
                seal_keep_key(node, secret_copy(secret_slice(op->unseal_key)));
            }
            atomic_store(&node->wants_unseal, true);
            seal_state_arrived(node);
        }
    } else {
        cf_err("server", "initialisation failed: %s", op->err.message);
    }
    if (op->x == NULL) {
        op->dev_done(node, op->status == CF_OK ? op->root_token : CF_SLICE_EMPTY,
                     secret_slice(op->shares[0]));
        operation_free(op);
        return;
    }
    loop_post(http_loop(op->x), answer, op);
}

/* ---- the first entry ---- */

static void proposed(struct proposal *proposal, cf_status status, uint64_t index)
{
    struct init_operation *op = cf_container(proposal, struct init_operation, proposal);
    (void)index;
    op->status = status;
    if (status != CF_OK) {
        cf_fail(&op->err, status, "%s", cf_status_text(status));
    }
    loop_post(op->node->loop, finish, op);
}

static cf_status seal_records(struct init_operation *op, struct initial_put *puts, size_t *count,
                              struct cf_error *err)
{
    struct seal_config config = {.type = op->auto_seal != NULL ? op->auto_seal->type : SEAL_SHAMIR,
                                 .shape = op->shape,
                                 .generation = 1};
    struct cf_slice unseal_key = secret_slice(op->unseal_key);
    struct cf_slice root_key = secret_slice(op->root_key);
    CF_BUF(bytes) = {0};
    if (op->auto_seal != NULL) {
        const char *id = config.type == SEAL_TRANSIT ? op->auto_seal->key_name
                                                     : op->auto_seal->key_id;
        memcpy(config.key_id, id, cf_min(strlen(id), SEAL_KEY_ID_MAX));
    }
    if (op->wrapped.size != 0) {
        memcpy(config.wrapped_key, op->wrapped.data, op->wrapped.size);
    }
    CF_TRY(seal_config_dump(&config, &bytes, err));
    puts[(*count)++] = (struct initial_put){
        SEAL_KEY_CONFIG, arena_copy(op->arena, cf_buf_slice(&bytes)), true};
    cf_buf_reset(&bytes);
    CF_TRY(seal_wrap_root(unseal_key, root_key, &bytes, err));
    puts[(*count)++] = (struct initial_put){
        SEAL_KEY_ROOT, arena_copy(op->arena, cf_buf_slice(&bytes)), true};
    cf_buf_reset(&bytes);
    CF_TRY(seal_wrap_keyring(root_key, op->keyring, &bytes, err));
    puts[(*count)++] = (struct initial_put){
        SEAL_KEY_KEYRING, arena_copy(op->arena, cf_buf_slice(&bytes)), true};
    if (op->auto_seal != NULL) {
        cf_buf_reset(&bytes);
        CF_TRY(seal_wrap_root(secret_slice(op->share_key), root_key, &bytes, err));
        puts[(*count)++] = (struct initial_put){
        SEAL_KEY_RECOVERY, arena_copy(op->arena, cf_buf_slice(&bytes)), true};
    }
    return CF_OK;
}

static cf_status build_entry(struct init_operation *op, struct cf_error *err)
{
    struct initial_put puts[6];
    size_t count = 0;
    op->keyring = keyring_new_first(core_random(), cf_wall_ns(cf_host_clock()));
    CF_TRY(seal_records(op, puts, &count, err));
    puts[count++] = cluster_initial_put(op->node, op->arena);
    puts[count++] = versions_initial_put(op->arena);
    CF_TRY(core_initial_command(op->node->core, op->keyring, puts, count, core_random(),
                                &op->proposal.payload, &op->root_token, op->arena, err));
    return make_answer(op, err);
}

void init_leader_ready(struct node *node)
{
    struct init_operation *op = node->init;
    if (op == NULL || op->keyring != NULL) {
        return;
    }
    op->status = build_entry(op, &op->err);
    if (op->status != CF_OK) {
        finish(op);
        return;
    }
    op->proposal.done = proposed;
    op->proposal.deadline_us = UINT64_MAX;
    const struct proposer *proposer = node_proposer(node);
    proposer->propose(proposer->context, &op->proposal);
}

/* ---- the start ---- */

static cf_status make_keys(struct init_operation *op, struct cf_error *err)
{
    struct node *node = op->node;
    op->root_key = seal_new_key(core_random());
    op->share_key = seal_new_key(core_random());
    if (op->unseal_key != NULL) {
        /* wrapped by the other server already */
    } else if (op->auto_seal != NULL) {
        pthread_mutex_lock(&node->seal_lock);
        op->unseal_key = secret_copy(secret_slice(node->pending_key));
        pthread_mutex_unlock(&node->seal_lock);
    } else {
        op->unseal_key = secret_copy(secret_slice(op->share_key));
    }
    return shamir_split(secret_slice(op->share_key), op->shape, core_random(), op->shares, err);
}

/* Once consensus has begun there is no way back: the first entry must find room. */
static cf_status check_space(struct node *node, struct cf_error *err)
{
    uint64_t left = 0, total = 0;
    if (kv_space(node->kv, &left, &total, NULL) != CF_OK ||
        left >= raft_driver_space_needed(total)) {
        return CF_OK;
    }
    return cf_fail(err, CF_NO_SPACE,
                   "the data directory's disk is almost full (%llu MiB left): make room, then "
                   "initialise again",
                   (unsigned long long)(left >> 20));
}

static cf_status begin(struct init_operation *op, struct cf_error *err)
{
    struct node *node = op->node;
    CF_TRY(check_space(node, err));
    if (atomic_load(&node->is_initialized) || node->init != NULL ||
        !cluster_give_up_joining(node)) {
        return cf_fail(err, CF_INVALID, "Vault is already initialized");
    }
    CF_TRY(make_keys(op, err));
    CF_TRY(cluster_bootstrap(node, err));
    node->init = op;
    cf_status status = node_start_driver(node, err);
    if (status != CF_OK) {
        node->init = NULL;
    }
    return status;
}

static void run(void *arg)
{
    struct init_operation *op = arg;
    op->status = begin(op, &op->err);
    if (op->status != CF_OK) {
        if (op->x == NULL) {
            cf_err("server", "cannot initialise: %s", op->err.message);
            node_stop(op->node, 1);
            operation_free(op);
            return;
        }
        loop_post(http_loop(op->x), answer, op);
    }
}

/* A transit seal: nothing begins before the other server has encrypted the key. */
static void wrap_on_worker(void *arg)
{
    struct init_operation *op = arg;
    op->unseal_key = seal_new_key(core_random());
    op->status = transit_wrap(op->auto_seal, op->unseal_key, &op->wrapped, &op->err);
    if (op->status == CF_OK) {
        loop_post(op->node->loop, run, op);
    } else {
        loop_post(http_loop(op->x), answer, op);
    }
}

static cf_status read_shape(struct request *rq, const char *shares_name, const char *threshold_name,
                            struct shamir_shape *ret, struct cf_error *err)
{
    int64_t shares, threshold;
    CF_TRY(request_int(rq, shares_name, 0, &shares, err));
    CF_TRY(request_int(rq, threshold_name, 0, &threshold, err));
    if (shares < 1) {
        return cf_fail(err, CF_INVALID,
                       "invalid seal configuration: shares must be at least one");
    }
    if (shares > 255) {
        return cf_fail(err, CF_INVALID,
                       "invalid seal configuration: shares must be less than 256");
    }
    if (threshold < 1) {
        return cf_fail(err, CF_INVALID,
                       "invalid seal configuration: threshold must be at least one");
    }
    if (threshold > shares) {
        return cf_fail(err, CF_INVALID,
                       "invalid seal configuration: threshold cannot be larger than shares");
    }
    if (shares > 1 && threshold == 1) {
        return cf_fail(err, CF_INVALID, "invalid seal configuration: threshold must be greater "
                                        "than one for multiple shares");
    }
    *ret = (struct shamir_shape){(unsigned)shares, (unsigned)threshold};
    return CF_OK;
}

static cf_status read_pgp_keys(struct init_operation *op, struct request *rq, const char *field,
                               struct cf_error *err)
{
    CF_TRY(pgp_shares_read(rq, field, op->shape.shares, &op->share_keys, err));
    cf_status status = pgp_shares_read(rq, "root_token_pgp_key", 1, &op->token_key, err);
    return status == CF_OK ? CF_OK : cf_error_prefix(err, status, "root_token_pgp_key");
}

static cf_status read_options(struct init_operation *op, struct request *rq, struct cf_error *err)
{
    bool asks_shares = request_field(rq, "secret_shares") != NULL;
    int64_t recovery = 0;
    CF_TRY(request_int(rq, "recovery_shares", 0, &recovery, err));
    if (op->auto_seal == NULL) {
        if (recovery != 0) {
            return cf_fail(err, CF_INVALID, "parameters recovery_shares,recovery_threshold not "
                                            "applicable to seal type shamir");
        }
        if (request_field(rq, "recovery_pgp_keys") != NULL) {
            return cf_fail(err, CF_INVALID, "parameter recovery_pgp_keys not applicable to seal "
                                            "type shamir: give pgp_keys");
        }
        CF_TRY(read_shape(rq, "secret_shares", "secret_threshold", &op->shape, err));
        return read_pgp_keys(op, rq, "pgp_keys", err);
    }
    if (request_field(rq, "pgp_keys") != NULL) {
        return cf_fail(err, CF_INVALID, "parameter pgp_keys not applicable to seal type %s: give "
                                        "recovery_pgp_keys",
                       seal_type_name(op->auto_seal->type));
    }
    if (asks_shares && recovery == 0) {
        return cf_fail(err, CF_INVALID, "parameters secret_shares,secret_threshold not applicable "
                                        "to seal type %s: give recovery_shares and "
                                        "recovery_threshold",
                       seal_type_name(op->auto_seal->type));
    }
    CF_TRY(read_shape(rq, "recovery_shares", "recovery_threshold", &op->shape, err));
    return read_pgp_keys(op, rq, "recovery_pgp_keys", err);
}

static struct init_operation *operation_new(struct node *node, struct http_exchange *x)
{
    struct init_operation *op = cf_new(struct init_operation);
    op->node = node;
    op->x = x;
    op->arena = arena_new(4096);
    op->auto_seal = config_auto_seal(node->config);
    op->wrapped.max = SEAL_WRAPPED_MAX;
    return op;
}

void init_handle(struct node *node, struct http_exchange *x)
{
    struct request *rq;
    if (!api_read_request(node->api, x, &rq)) {
        return;
    }
    if (rq->operation == OPERATION_READ) {
        struct json *body = json_object_new(rq->arena);
        json_set_bool(rq->arena, body, "initialized", atomic_load(&node->is_initialized));
        api_answer_json(x, 200, body);
        return;
    }
    if (rq->operation != OPERATION_UPDATE) {
        http_respond_error(x, 405, NULL);
        return;
    }
    if (atomic_load(&node->is_initialized)) {
        http_respond_error(x, 400, "Vault is already initialized");
        return;
    }
    struct init_operation *op = operation_new(node, x);
    op->status = rq->body == NULL ? cf_fail(&op->err, CF_INVALID, "EOF")
                                  : read_options(op, rq, &op->err);
    if (op->status != CF_OK) {
        answer(op);
        return;
    }
    if (op->auto_seal != NULL && op->auto_seal->type == SEAL_TRANSIT) {
        core_work(node->core, wrap_on_worker, op);
    } else {
        loop_post(node->loop, run, op);
    }
}

void init_dev(struct node *node,
              void (*done)(struct node *node, struct cf_slice root_token,
                           struct cf_slice unseal_key))
{
    struct init_operation *op = operation_new(node, NULL);
    op->dev_done = done;
    op->shape = (struct shamir_shape){1, 1};
    run(op);
}
