/* node/server/migrate.c: one entry that replaces the seal. */
#include "node/server/migrate.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/server/seal.h"
#include "node/server/transit.h"

#define RETRY_US ((uint64_t)1000 * 1000)

struct migration {
    struct node *node;
    struct loop_timer *retry;
    bool is_busy; /* a worker or an entry is under way */
    struct secret *shares, *root; /* the old shares combined; the root key, which stays */
    struct secret *unseal_key;    /* the new one */
    struct cf_buf wrapped;        /* of a transit seal */
    enum seal_type from, to;
    cf_status status;
    struct cf_error err;
};

static enum seal_type wanted(const struct node *node)
{
    const struct config_seal *seal = config_auto_seal(node->config);
    return seal != NULL ? seal->type : SEAL_SHAMIR;
}

bool migrate_is_pending(const struct node *node, const struct seal_config *stored)
{
    const struct config_seal *old = config_old_seal(node->config);
    if (stored->type == wanted(node)) {
        return false;
    }
    return stored->type == SEAL_SHAMIR || (old != NULL && old->type == stored->type);
}

/* ---- the entry ---- */

static cf_status put_wrapped(struct request *rq, struct key key, const struct secret *under,
                          const struct secret *inner, struct cf_error *err)
{
    CF_BUF(bytes) = {0};
    CF_TRY(seal_wrap_root(secret_slice(under), secret_slice(inner), &bytes, err));
    txn_put_plain(rq->txn, key, cf_buf_slice(&bytes));
    return CF_OK;
}

static cf_status run(struct request *rq, void *context, struct cf_error *err)
{
    struct migration *is = context;
    struct seal_config config;
    struct cf_slice bytes;
    CF_BUF(dump) = {0};
    CF_TRY(seal_read_plain(rq, SEAL_KEY_CONFIG, &bytes, err));
    CF_TRY(seal_config_load(bytes, &config, err));
    if (config.type == is->to) {
        return CF_OK; /* another node did it */
    }
    /* The shares may have been changed since they were given: they must open what is stored now. */
    CF_TRY(seal_read_plain(rq, seal_is_auto(is->from) ? SEAL_KEY_RECOVERY : SEAL_KEY_ROOT, &bytes,
                           err));
    CF_TRY(seal_verify(secret_slice(is->shares), bytes, err));
    config.type = is->to;
    config.generation++;
    memset(config.key_id, 0, sizeof(config.key_id));
    memset(config.wrapped_key, 0, sizeof(config.wrapped_key));
    if (seal_is_auto(is->to)) {
        const struct config_seal *seal = config_auto_seal(is->node->config);
        const char *id = is->to == SEAL_TRANSIT ? seal->key_name : seal->key_id;
        memcpy(config.key_id, id, cf_min(strlen(id), SEAL_KEY_ID_MAX));
        if (is->wrapped.size != 0) {
            memcpy(config.wrapped_key, is->wrapped.data, is->wrapped.size);
        }
    }
    CF_TRY(seal_config_dump(&config, &dump, err));
    txn_put_plain(rq->txn, SEAL_KEY_CONFIG, cf_buf_slice(&dump));
    CF_TRY(put_wrapped(rq, SEAL_KEY_ROOT, is->unseal_key, is->root, err));
    CF_TRY(put_wrapped(rq, SEAL_KEY_UNSEAL, is->root, is->unseal_key, err)); /* for nodes that are open */
    if (!seal_is_auto(is->from)) {
        CF_TRY(put_wrapped(rq, SEAL_KEY_RECOVERY, is->shares, is->root, err));
    } else if (!seal_is_auto(is->to)) {
        txn_delete(rq->txn, SEAL_KEY_RECOVERY);
    }
    return CF_OK;
}

static void forget(struct migration *is)
{
    secret_free(is->shares);
    secret_free(is->root);
    secret_free(is->unseal_key);
    is->shares = is->root = is->unseal_key = NULL;
    cf_buf_reset(&is->wrapped);
}

static void end(void *arg)
{
    struct migration *is = arg;
    is->is_busy = false;
    if (is->status == CF_OK) {
        cf_info("server", "the seal was changed from %s to %s", seal_type_name(is->from),
                seal_type_name(is->to));
    } else if (is->status != CF_NOT_LEADER && is->status != CF_SEALED) {
        cf_err("server", "the seal is still %s: %s; trying again", seal_type_name(is->from),
               is->err.message);
    }
    forget(is);
}

static void done(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct migration *is = context;
    (void)index;
    is->status = status;
    is->err = *err;
    loop_post(is->node->loop, end, is);
}

static void submit(struct migration *is)
{
    struct system_work work = {run, done, is};
    system_submit(is->node->core, &work);
}

static void wrap_on_worker(void *arg)
{
    struct migration *is = arg;
    cf_buf_reset(&is->wrapped);
    is->err = (struct cf_error){0};
    is->status =
        transit_wrap(config_auto_seal(is->node->config), is->unseal_key, &is->wrapped, &is->err);
    if (is->status == CF_OK) {
        submit(is);
    } else {
        loop_post(is->node->loop, end, is);
    }
}

/* ---- the start ---- */

static void on_retry(void *arg)
{
    struct migration *is = arg;
    migrate_try(is->node);
}

static struct migration *migration_of(struct node *node)
{
    if (node->migration == NULL) {
        node->migration = cf_new(struct migration);
        node->migration->node = node;
        node->migration->wrapped.max = SEAL_WRAPPED_MAX;
        node->migration->retry = loop_timer_new(node->loop, on_retry, node->migration);
    }
    return node->migration;
}

static struct secret *copy_of(const struct secret *secret)
{
    return secret != NULL ? secret_copy(secret_slice(secret)) : NULL;
}

static bool holds_shares(struct node *node)
{
    pthread_mutex_lock(&node->seal_lock);
    bool holds = node->migration_key != NULL;
    pthread_mutex_unlock(&node->seal_lock);
    return holds;
}

/* Tries again each second while there is something to do: a standby that becomes active finds it here. */
void migrate_try(struct node *node)
{
    struct seal_config config;
    struct migration *is = migration_of(node);
    if (is->is_busy || atomic_load(&node->is_sealed) || !holds_shares(node) ||
        seal_config_of(node, &config, NULL) != CF_OK || !migrate_is_pending(node, &config)) {
        return; /* opened by the old seal, or not at all: the nodes opened for the change make it */
    }
    /* Leading is not being active: entries are taken when the time is known, too. */
    loop_timer_set_in(is->retry, RETRY_US);
    if (!node_proposer(node)->is_active(node)) {
        return;
    }
    is->from = config.type;
    is->to = wanted(node);
    pthread_mutex_lock(&node->seal_lock);
    is->shares = copy_of(node->migration_key);
    is->root = copy_of(node->root_key);
    is->unseal_key = is->to == SEAL_STATIC   ? copy_of(node->pending_key)
                     : is->to == SEAL_SHAMIR ? copy_of(node->migration_key)
                                             : seal_new_key(core_random());
    pthread_mutex_unlock(&node->seal_lock);
    if (is->shares == NULL || is->root == NULL || is->unseal_key == NULL) {
        forget(is); /* sealed meanwhile */
        return;
    }
    is->is_busy = true;
    if (is->to == SEAL_TRANSIT) {
        core_work(node->core, wrap_on_worker, is);
    } else {
        submit(is);
    }
}

void migrate_free(struct migration *migration)
{
    if (migration != NULL) {
        loop_timer_free(migration->retry);
        forget(migration);
        cf_buf_done(&migration->wrapped);
        cf_free(migration);
    }
}
