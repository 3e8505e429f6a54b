/* node/server/seal.c: unsealing, sealing and the keys that this takes. */
#include "node/server/seal.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/format/encode.h"
#include "node/server/auto_seal.h"
#include "node/server/catch_up.h"
#include "node/server/cluster.h"
#include "node/server/migrate.h"
#include "node/server/monitor.h"
#include "node/server/static_seal.h"
#include "node/server/status.h"

#define CATCH_UP_US ((uint64_t)5 * 1000 * 1000)

/* ---- records ---- */

static cf_status read_record(struct node *node, struct key key, struct arena *arena,
                             struct cf_slice *ret, struct cf_error *err)
{
    struct view *view = core_view(node->core);
    if (view == NULL) {
        return cf_fail(err, CF_NOT_FOUND, "%s", "");
    }
    cf_status status = view_get_raw(view, key, arena, ret, err);
    view_unref(view);
    return status;
}

cf_status seal_config_of(struct node *node, struct seal_config *ret, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(512);
    struct cf_slice bytes;
    cf_status status = read_record(node, SEAL_KEY_CONFIG, arena, &bytes, err);
    if (status == CF_NOT_FOUND) {
        return cluster_pending_seal(node, ret) ? CF_OK : cf_fail(err, CF_NOT_FOUND, "%s", "");
    }
    CF_TRY(status);
    return seal_config_load(bytes, ret, err);
}

cf_status seal_authority(struct node *node, const struct secret *key, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(512);
    struct seal_config config;
    struct cf_slice wrapped;
    CF_TRY(seal_config_of(node, &config, err));
    CF_TRY(read_record(node, seal_is_auto(config.type) ? SEAL_KEY_RECOVERY : SEAL_KEY_ROOT, arena,
                       &wrapped, err));
    return seal_verify(secret_slice(key), wrapped, err);
}

/* A rekey, or a change of the seal, on another node made a new one: it lies under the root key. */
static struct secret *rekeyed(struct node *node)
{
    CF_OWNED(arena) arena = arena_new(512);
    CF_OWNED(secret) root = NULL;
    struct secret *key = NULL;
    struct cf_slice wrapped;
    if (read_record(node, SEAL_KEY_UNSEAL, arena, &wrapped, NULL) != CF_OK ||
        seal_root_key(node, &root, NULL) != CF_OK ||
        seal_unwrap_root(secret_slice(root), wrapped, &key, NULL) != CF_OK) {
        return NULL;
    }
    return key;
}

cf_status seal_read_plain(struct request *rq, struct key key, struct cf_slice *ret,
                          struct cf_error *err)
{
    struct cf_slice ignored;
    cf_ignore(txn_get(rq->txn, key, &ignored, NULL) != CF_OK,
              "read for the read set alone: it does not open as a sealed value");
    return view_get_raw(rq->view, key, rq->arena, ret, err);
}

cf_status seal_unseal_key(struct node *node, struct secret **ret, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(512);
    struct cf_slice wrapped;
    bool is_stored = read_record(node, SEAL_KEY_ROOT, arena, &wrapped, NULL) == CF_OK;
    CF_OWNED(secret) stored = rekeyed(node);
    *ret = NULL;
    pthread_mutex_lock(&node->seal_lock);
    const struct secret *keys[] = {stored, node->unseal_key, node->pending_key};
    bool is_open = stored != NULL || node->unseal_key != NULL;
    for (size_t i = 0; is_open && *ret == NULL && i < CF_LENGTH(keys); i++) {
        if (keys[i] != NULL &&
            (!is_stored || seal_verify(secret_slice(keys[i]), wrapped, NULL) == CF_OK)) {
            *ret = secret_copy(secret_slice(keys[i]));
        }
    }
    if (is_open && *ret == NULL && node->unseal_key != NULL) {
        *ret = secret_copy(secret_slice(node->unseal_key)); /* of another seal: the caller will see */
    }
    pthread_mutex_unlock(&node->seal_lock);
    return *ret != NULL ? CF_OK : cf_fail(err, CF_SEALED, "Vault is sealed");
}

cf_status seal_root_key(struct node *node, struct secret **ret, struct cf_error *err)
{
    pthread_mutex_lock(&node->seal_lock);
    *ret = node->root_key != NULL ? secret_copy(secret_slice(node->root_key)) : NULL;
    pthread_mutex_unlock(&node->seal_lock);
    return *ret != NULL ? CF_OK : cf_fail(err, CF_SEALED, "Vault is sealed");
}

cf_status seal_wrap(struct node *node, const struct keyring *keyring, struct cf_buf *to,
                    struct cf_error *err)
{
    pthread_mutex_lock(&node->seal_lock);
    cf_status status = node->root_key == NULL
                           ? cf_fail(err, CF_SEALED, "Vault is sealed")
                           : seal_wrap_keyring(secret_slice(node->root_key), keyring, to, err);
    pthread_mutex_unlock(&node->seal_lock);
    return status;
}

static cf_status open_with(struct node *node, struct secret *key, struct cf_error *err);

/* Main loop. What the store holds is not for the root key that this node has: a restore brought another
 * seal. If the unseal key opens that, too, all is well; else operators have to. */
static void check_seal(void *arg)
{
    struct node *node = arg;
    CF_OWNED(secret) key = NULL;
    struct cf_error err = {0};
    if (atomic_load(&node->is_sealed) || seal_unseal_key(node, &key, &err) != CF_OK ||
        open_with(node, key, &err) == CF_OK) {
        return;
    }
    cf_warn("server", "the seal was replaced (a snapshot was restored by force): this node seals "
                      "itself, unseal it with the keys of the snapshot");
    seal_now(node);
    if (config_auto_seal(node->config) != NULL) {
        atomic_store(&node->wants_unseal, true);
        seal_state_arrived(node);
    }
}

cf_status seal_load_keyring(void *context, struct cf_slice wrapped, struct keyring **ret,
                            struct cf_error *err)
{
    struct node *node = context;
    pthread_mutex_lock(&node->seal_lock);
    cf_status status = node->root_key == NULL
                           ? cf_fail(err, CF_SEALED, "Vault is sealed")
                           : seal_unwrap_keyring(secret_slice(node->root_key), wrapped, ret, err);
    pthread_mutex_unlock(&node->seal_lock);
    if (status == CF_CORRUPT && node->loop != NULL) { /* NULL: no node runs, as in unit tests */
        loop_post(node->loop, check_seal, node);
    }
    return status;
}

/* ---- unsealing ---- */

/* The root key opens the keyring: the node is unsealed. unseal_key: NULL when it is not known. */
static cf_status open_root(struct node *node, const struct secret *root,
                           const struct secret *unseal_key, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(1024);
    CF_OWNED(keyring) keyring = NULL;
    struct cf_slice wrapped;
    CF_TRY(read_record(node, SEAL_KEY_KEYRING, arena, &wrapped, err));
    CF_TRY(seal_unwrap_keyring(secret_slice(root), wrapped, &keyring, err));
    pthread_mutex_lock(&node->seal_lock);
    secret_free(node->root_key);
    secret_free(node->unseal_key);
    node->root_key = secret_copy(secret_slice(root));
    node->unseal_key = unseal_key != NULL ? secret_copy(secret_slice(unseal_key)) : NULL;
    pthread_mutex_unlock(&node->seal_lock);
    core_unsealed(node->core, keyring);
    atomic_store(&node->is_sealed, false);
    raft_driver_set_sealed(node->driver, false);
    cluster_unsealed(node);
    cf_info("server", "unsealed");
    return CF_OK;
}

/* The key opens what the state holds: the node is unsealed. CF_NOT_FOUND: the state is not here yet. */
static cf_status open_with(struct node *node, struct secret *key, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(1024);
    CF_OWNED(secret) root = NULL;
    struct cf_slice wrapped;
    CF_TRY(read_record(node, SEAL_KEY_ROOT, arena, &wrapped, err));
    CF_TRY(seal_unwrap_root(secret_slice(key), wrapped, &root, err));
    return open_root(node, root, key, err);
}

/* The shares of the old seal, for a change to another (migrate.h). Of an auto seal they are recovery shares,
 * which open the root key, too. */
static cf_status open_for_migration(struct node *node, struct secret *key, struct cf_error *err)
{
    CF_OWNED(arena) arena = arena_new(1024);
    CF_OWNED(secret) root = NULL;
    struct seal_config config;
    struct cf_slice wrapped;
    CF_TRY(seal_config_of(node, &config, err));
    if (!migrate_is_pending(node, &config)) { /* another node was faster, and this one caught up */
        return cf_fail(err, CF_INVALID, "the seal was changed meanwhile: unseal without -migrate");
    }
    bool is_auto = seal_is_auto(config.type);
    CF_TRY(read_record(node, is_auto ? SEAL_KEY_RECOVERY : SEAL_KEY_ROOT, arena, &wrapped, err));
    CF_TRY(seal_unwrap_root(secret_slice(key), wrapped, &root, err));
    pthread_mutex_lock(&node->seal_lock);
    secret_free(node->migration_key);
    node->migration_key = secret_copy(secret_slice(key));
    pthread_mutex_unlock(&node->seal_lock);
    if (atomic_load(&node->is_sealed)) {
        CF_TRY(open_root(node, root, is_auto ? NULL : key, err));
    }
    migrate_try(node);
    return CF_OK;
}

void seal_keep_key(struct node *node, struct secret *key)
{
    pthread_mutex_lock(&node->seal_lock);
    secret_free(node->pending_key);
    node->pending_key = key;
    pthread_mutex_unlock(&node->seal_lock);
    atomic_store(&node->wants_unseal, key != NULL);
}

static void caught_up_waiting(void *arg, cf_status status);

/* A static key that is being replaced: the state may still be under the one before. */
static cf_status open_with_previous(struct node *node, struct cf_error *err)
{
    pthread_mutex_lock(&node->seal_lock);
    CF_OWNED(secret) previous = node->previous_key != NULL ? secret_copy(secret_slice(node->previous_key)) : NULL;
    pthread_mutex_unlock(&node->seal_lock);
    return previous != NULL ? open_with(node, previous, err) : CF_INVALID;
}

/* A static key was refused by just this root key before. Another one may come: somebody replaces the key. */
static bool was_refused(struct node *node)
{
    CF_OWNED(arena) arena = arena_new(512);
    struct cf_slice wrapped;
    return node->refused_root.size != 0 && read_record(node, SEAL_KEY_ROOT, arena, &wrapped, NULL) == CF_OK &&
           cf_slice_eq(wrapped, cf_buf_slice(&node->refused_root));
}

static void note_refused(struct node *node)
{
    CF_OWNED(arena) arena = arena_new(512);
    struct cf_slice wrapped;
    cf_buf_reset(&node->refused_root);
    if (read_record(node, SEAL_KEY_ROOT, arena, &wrapped, NULL) == CF_OK) {
        cf_buf_add_slice(&node->refused_root, wrapped);
    }
}

/* The newest state does not open. */
static void refuse_key(struct node *node, const struct cf_error *err)
{
    const struct config_seal *seal = config_auto_seal(node->config);
    struct seal_config config;
    if (seal == NULL || seal->type != SEAL_STATIC || seal_config_of(node, &config, NULL) != CF_OK) {
        cf_err("server", "the unseal key does not open this cluster: %s", err->message);
        atomic_store(&node->wants_unseal, false);
        return;
    }
    cf_err("server",
           "the static key \"%s\"%s does not open this cluster, which is sealed with the key \"%s\": give that one as "
           "current_key, or, while it is being replaced, as previous_key, and restart this node",
           seal->key_id, seal->previous_key != NULL ? " (nor the previous one)" : "", config.key_id);
    note_refused(node);
}

void seal_state_arrived(struct node *node)
{
    struct cf_error err = {0};
    struct seal_config config;
    if (!atomic_load(&node->wants_unseal) || !atomic_load(&node->is_sealed) ||
        (seal_config_of(node, &config, NULL) == CF_OK && migrate_is_pending(node, &config))) {
        return; /* a change of the seal needs the old shares, or another node that makes it */
    }
    pthread_mutex_lock(&node->seal_lock);
    CF_OWNED(secret) key =
        node->pending_key != NULL ? secret_copy(secret_slice(node->pending_key)) : NULL;
    pthread_mutex_unlock(&node->seal_lock);
    if (key == NULL) {
        if (node->auto_seal != NULL) {
            auto_seal_fetch(node->auto_seal);
        }
        return;
    }
    if (was_refused(node)) {
        return;
    }
    const struct config_seal *seal = config_auto_seal(node->config);
    cf_status status = open_with(node, key, &err);
    if (status == CF_INVALID && open_with_previous(node, NULL) == CF_OK) {
        status = CF_OK;
    }
    if (status == CF_OK) {
        if (seal == NULL || seal->type != SEAL_STATIC) { /* a static key stays, for the next restart's sake alone */
            seal_keep_key(node, NULL);
        }
        atomic_store(&node->wants_unseal, false);
        cf_buf_reset(&node->refused_root);
    } else if (status != CF_NOT_FOUND) {
        if (!node->is_caught_up) { /* the state that is here may be older than the key */
            if (!node->is_catching_up && !node->is_stopping) {
                node->is_catching_up = true;
                catch_up(node, CATCH_UP_US, caught_up_waiting, node);
            }
            return;
        }
        refuse_key(node, &err);
    }
}

/* A key that waits for the state. Without a leader it goes on waiting. */
static void caught_up_waiting(void *arg, cf_status status)
{
    struct node *node = arg;
    node->is_catching_up = false;
    if (node->driver == NULL) {
        return; /* the node ends */
    }
    node->is_caught_up = status == CF_OK;
    seal_state_arrived(node);
    node->is_caught_up = false;
}

/* Main loop. The combined key, as soon as enough shares are in. */
static cf_status use_key(struct node *node, struct secret *key, bool migrates,
                         struct cf_error *err)
{
    if (migrates) {
        return open_for_migration(node, key, err);
    }
    if (cluster_is_joining(node)) {
        cluster_join_with(node, secret_copy(secret_slice(key)));
        return CF_OK;
    }
    cf_status status = open_with(node, key, err);
    if (status == CF_NOT_FOUND) {
        /* The state is on its way: the key is tried again when it is here. */
        seal_keep_key(node, secret_copy(secret_slice(key)));
        return CF_OK;
    }
    return status;
}

/* ---- sealing ---- */

void seal_now(struct node *node)
{
    if (atomic_exchange(&node->is_sealed, true)) {
        return;
    }
    core_background_stop(node->core);
    core_sealed(node->core);
    pthread_mutex_lock(&node->seal_lock);
    secret_free(node->root_key);
    secret_free(node->unseal_key);
    secret_free(node->migration_key);
    node->root_key = NULL;
    node->unseal_key = NULL;
    node->migration_key = NULL;
    seal_progress_reset(node->progress);
    pthread_mutex_unlock(&node->seal_lock);
    if (node->driver != NULL) {
        raft_driver_set_sealed(node->driver, true);
    }
    cluster_sealed(node);
    cf_info("server", "sealed");
    monitors_end(node->monitors, false); /* who may follow the log is not known any more */
}

/* ---- configuration ---- */

cf_status seal_configure(struct node *node, struct cf_error *err)
{
    struct secret *key = NULL, *previous = NULL;
    CF_TRY(static_seal_read(node->config, &key, &previous, err));
    node->auto_seal = auto_seal_new(node);
    node->static_seal = static_seal_new(node);
    seal_keep_key(node, key);
    pthread_mutex_lock(&node->seal_lock);
    node->previous_key = previous;
    pthread_mutex_unlock(&node->seal_lock);
    atomic_store(&node->wants_unseal, config_auto_seal(node->config) != NULL);
    return CF_OK;
}

cf_status seal_check_config(struct node *node, struct cf_error *err)
{
    struct seal_config config;
    if (config_auto_seal(node->config) != NULL || seal_config_of(node, &config, NULL) != CF_OK ||
        !seal_is_auto(config.type) || migrate_is_pending(node, &config)) {
        return CF_OK;
    }
    return cf_fail(err, CF_INVALID,
                   "this cluster unseals itself with the %s key \"%s\", and the configuration has no "
                   "seal \"%s\" block: add it",
                   seal_type_name(config.type), config.key_id, seal_type_name(config.type));
}

/* ---- sys/unseal ---- */

struct unseal_operation {
    struct node *node;
    struct http_exchange *x;
    struct request *rq;
    struct cf_buf share;
    bool reset, migrate;
    struct secret *doubted; /* did not open what is here */
    cf_status status;
    struct cf_error err;
};

cf_status seal_decode_share(struct cf_slice text, struct cf_buf *to, struct cf_error *err)
{
    bool is_hex = text.size % 2 == 0 && text.size >= 2;
    if (is_hex && encode_hex_decode(to, text, NULL) == CF_OK) {
        return CF_OK;
    }
    cf_buf_reset(to);
    if (encode_base64_decode(to, text, NULL) == CF_OK && to->size != 0) {
        return CF_OK;
    }
    return cf_fail(err, CF_INVALID, "'key' must be a valid hex or base64 string");
}

static void unseal_answer(void *arg)
{
    struct unseal_operation *op = arg;
    if (op->status != CF_OK) {
        api_answer_error(op->x, op->status, &op->err);
    } else {
        seal_handle_status(op->node, op->x);
    }
    cf_buf_done(&op->share);
    cf_free(op);
}

/* The texts are those of other servers. */
static cf_status check_migrate(struct unseal_operation *op, const struct seal_config *config)
{
    if (op->migrate && cluster_is_joining(op->node)) {
        return cf_fail(&op->err, CF_INVALID,
                       "can't perform a seal migration while joining a raft cluster");
    }
    if (migrate_is_pending(op->node, config)) {
        return op->migrate ? CF_OK
                           : cf_fail(&op->err, CF_INVALID, "migrate option not provided and seal "
                                                           "migration is pending");
    }
    if (op->migrate) {
        return cf_fail(&op->err, CF_INVALID,
                       "can't perform a seal migration, no migration seal found");
    }
    if (seal_is_auto(config->type)) {
        return cf_fail(&op->err, CF_INVALID,
                       "this cluster unseals itself: restart the node with the seal \"%s\" block of "
                       "the other nodes in its configuration, or see its log",
                       seal_type_name(config->type));
    }
    return CF_OK;
}

static cf_status unseal_step(struct unseal_operation *op)
{
    struct node *node = op->node;
    struct seal_config config;
    CF_OWNED(secret) key = NULL;
    /* An open node may still need the shares for a change of the seal: it was opened by a state that its log then
     * went beyond, or by the new seal before a snapshot brought the old one. */
    if (!atomic_load(&node->is_sealed) &&
        !(op->migrate && seal_config_of(node, &config, NULL) == CF_OK &&
          migrate_is_pending(node, &config))) {
        return CF_OK;
    }
    if (op->reset) {
        pthread_mutex_lock(&node->seal_lock);
        seal_progress_reset(node->progress);
        pthread_mutex_unlock(&node->seal_lock);
        return CF_OK;
    }
    if (seal_config_of(node, &config, NULL) != CF_OK) {
        return cf_fail(&op->err, CF_INVALID, "server is not initialized");
    }
    CF_TRY(check_migrate(op, &config));
    pthread_mutex_lock(&node->seal_lock);
    cf_status status = seal_progress_add(node->progress, config.shape, cf_buf_slice(&op->share),
                                         core_random(), &key, &op->err);
    pthread_mutex_unlock(&node->seal_lock);
    if (status != CF_OK || key == NULL) {
        return status;
    }
    status = use_key(node, key, op->migrate, &op->err);
    if (status != CF_OK) {
        op->doubted = secret_copy(secret_slice(key));
    }
    return status;
}

/* Design 3.6: the state that is here may be older than the shares (the keys were changed, or a snapshot was
 * restored, while this node was away). Only what does not open the cluster's newest state is wrong. */
static void caught_up(void *arg, cf_status status)
{
    struct unseal_operation *op = arg;
    if (!atomic_load(&op->node->is_sealed)) {
        op->status = CF_OK;
    } else if (status == CF_OK) {
        op->status = use_key(op->node, op->doubted, op->migrate, &op->err);
    } else {
        op->status = cf_fail(&op->err, CF_UNAVAILABLE,
                             "the shares do not open the state that this node has, and there is no "
                             "leader to get a newer one from: start more nodes of the cluster, then "
                             "give the shares again");
    }
    secret_free(op->doubted);
    op->doubted = NULL;
    loop_post(http_loop(op->x), unseal_answer, op);
}

static void unseal_run(void *arg)
{
    struct unseal_operation *op = arg;
    op->status = unseal_step(op);
    if (op->doubted != NULL && op->node->driver != NULL) {
        catch_up(op->node, CATCH_UP_US, caught_up, op);
        return;
    }
    secret_free(op->doubted);
    op->doubted = NULL;
    loop_post(http_loop(op->x), unseal_answer, op);
}

void seal_handle_unseal(struct node *node, struct http_exchange *x)
{
    struct request *rq;
    struct cf_error err = {0};
    struct cf_slice key = CF_SLICE_EMPTY;
    bool reset = false, migrate = false;
    if (!api_read_request(node->api, x, &rq)) {
        return;
    }
    cf_status status = request_bool(rq, "reset", false, &reset, &err);
    if (status == CF_OK) {
        status = request_bool(rq, "migrate", false, &migrate, &err);
    }
    if (status == CF_OK) {
        status = request_string(rq, "key", &key, &err);
    }
    if (status == CF_OK && key.size == 0 && !reset) {
        status = cf_fail(&err, CF_INVALID,
                         "'key' must be specified in request body as JSON, or 'reset' set to true");
    }
    struct unseal_operation *op = cf_new(struct unseal_operation);
    cf_buf_init_secret(&op->share, 4096);
    if (status == CF_OK && !reset) {
        status = seal_decode_share(key, &op->share, &err);
    }
    if (status != CF_OK) {
        cf_buf_done(&op->share);
        cf_free(op);
        api_answer_error(x, status, &err);
        return;
    }
    op->node = node;
    op->x = x;
    op->reset = reset;
    op->migrate = migrate;
    loop_post(node->loop, unseal_run, op);
}
