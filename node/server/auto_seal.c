/* node/server/auto_seal.c: the life of a transit seal on this node. */
#include "node/server/auto_seal.h"

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/server/seal.h"
#include "node/server/transit.h"

#define RETRY_MIN_US ((uint64_t)500 * 1000)
#define RETRY_MAX_US ((uint64_t)15 * 1000 * 1000)
#define LOOK_US ((uint64_t)10 * 1000 * 1000) /* for a rotated key; each costs one call to the other server */
#define RENEW_MIN_US ((uint64_t)1000 * 1000)
#define RENEW_MAX_US ((uint64_t)600 * 1000 * 1000)

struct auto_seal {
    struct node *node;
    const struct config_seal *seal;
    struct loop_timer *retry, *look, *renew;
    unsigned failures; /* of fetching, in a row */
    bool is_fetching, is_looking, is_renewing; /* a worker has that part */
    /* fetching: */
    struct seal_config config;
    struct secret *key;
    cf_status fetch_status;
    struct cf_error fetch_err;
    /* looking: */
    struct seal_config seen;
    struct secret *wrapping;
    struct cf_buf wrapped;
    cf_status look_status;
    struct cf_error look_err;
    bool look_failed; /* said so already */
    /* renewing: */
    int64_t ttl_s;
    cf_status renew_status;
    struct cf_error renew_err;
};

/* ---- the unseal key ---- */

static void fetched(void *arg)
{
    struct auto_seal *is = arg;
    is->is_fetching = false;
    if (is->fetch_status == CF_OK) {
        bool is_sealed = atomic_load(&is->node->is_sealed);
        is->failures = 0;
        seal_keep_key(is->node, is->key);
        is->key = NULL;
        atomic_store(&is->node->wants_unseal, is_sealed);
        seal_state_arrived(is->node);
        return;
    }
    uint64_t pause = cf_min(RETRY_MIN_US << cf_min(is->failures, 8u), RETRY_MAX_US);
    is->failures++;
    cf_warn("server", "cannot unseal: %s; trying again in %llu ms. %s", is->fetch_err.message,
            (unsigned long long)(pause / 1000), is->fetch_err.detail);
    loop_timer_set_in(is->retry, pause);
}

static void fetch_on_worker(void *arg)
{
    struct auto_seal *is = arg;
    is->fetch_err = (struct cf_error){0};
    is->fetch_status = transit_unwrap(is->seal, cf_slice_str(is->config.wrapped_key), &is->key,
                                      &is->fetch_err);
    loop_post(is->node->loop, fetched, is);
}

void auto_seal_fetch(struct auto_seal *auto_seal)
{
    struct seal_config config = {.type = SEAL_SHAMIR};
    if (auto_seal->is_fetching || loop_timer_is_set(auto_seal->retry) ||
        seal_config_of(auto_seal->node, &config, NULL) != CF_OK || config.type != SEAL_TRANSIT) {
        return;
    }
    auto_seal->config = config;
    auto_seal->is_fetching = true;
    core_work(auto_seal->node->core, fetch_on_worker, auto_seal);
}

static void on_retry(void *arg)
{
    struct auto_seal *is = arg;
    if (atomic_load(&is->node->is_sealed) && atomic_load(&is->node->wants_unseal)) {
        auto_seal_fetch(is);
    }
}

/* ---- a rotated key of the other server ---- */

static cf_status run_rewrap(struct request *rq, void *context, struct cf_error *err)
{
    struct auto_seal *is = context;
    struct seal_config now;
    struct cf_slice bytes;
    CF_BUF(dump) = {0};
    CF_TRY(seal_read_plain(rq, SEAL_KEY_CONFIG, &bytes, err));
    CF_TRY(seal_config_load(bytes, &now, err));
    if (now.type != SEAL_TRANSIT || strcmp(now.wrapped_key, is->seen.wrapped_key) != 0) {
        return CF_OK; /* somebody else was here: the next look sees what is there now */
    }
    memcpy(now.wrapped_key, is->wrapped.data, is->wrapped.size);
    now.wrapped_key[is->wrapped.size] = '\0';
    CF_TRY(seal_config_dump(&now, &dump, err));
    txn_put_plain(rq->txn, SEAL_KEY_CONFIG, cf_buf_slice(&dump));
    return CF_OK;
}

static void look_over(void *arg)
{
    struct auto_seal *is = arg;
    is->is_looking = false;
    if (is->look_status != CF_OK && is->look_status != CF_NOT_LEADER && !is->look_failed) {
        cf_warn("server", "%s: this cluster stays open, and could not unseal now",
                is->look_err.message);
    }
    is->look_failed = is->look_status != CF_OK;
}

static void rewrapped(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct auto_seal *is = context;
    is->look_status = status;
    is->look_err = *err;
    if (status == CF_OK && index != 0) {
        cf_info("server", "the key of the transit seal was rotated: the unseal key is wrapped anew");
    }
    loop_post(is->node->loop, look_over, is);
}

static void look_on_worker(void *arg)
{
    struct auto_seal *is = arg;
    cf_buf_reset(&is->wrapped);
    is->look_err = (struct cf_error){0};
    is->look_status = transit_wrap(is->seal, is->wrapping, &is->wrapped, &is->look_err);
    secret_free(is->wrapping);
    is->wrapping = NULL;
    if (is->look_status == CF_OK && !transit_same_version(cf_buf_slice(&is->wrapped),
                                                          cf_slice_str(is->seen.wrapped_key))) {
        struct system_work work = {run_rewrap, rewrapped, is};
        system_submit(is->node->core, &work);
        return;
    }
    loop_post(is->node->loop, look_over, is);
}

static void on_look(void *arg)
{
    struct auto_seal *is = arg;
    struct node *node = is->node;
    struct seal_config config = {.type = SEAL_SHAMIR};
    loop_timer_set_in(is->look, LOOK_US);
    if (is->is_looking || atomic_load(&node->is_sealed) ||
        seal_config_of(node, &config, NULL) != CF_OK || config.type != SEAL_TRANSIT) {
        return;
    }
    if (!node_proposer(node)->is_active(node) ||
        seal_unseal_key(node, &is->wrapping, NULL) != CF_OK) {
        return;
    }
    is->seen = config;
    is->is_looking = true;
    core_work(node->core, look_on_worker, is);
}

/* ---- the token ---- */

static void renewed(void *arg)
{
    struct auto_seal *is = arg;
    uint64_t next = RENEW_MAX_US;
    is->is_renewing = false;
    if (is->renew_status != CF_OK) {
        cf_warn("server", "the token of the transit seal was not renewed: %s",
                is->renew_err.message);
        next = RETRY_MAX_US;
    } else if (is->ttl_s != 0) {
        uint64_t half = (uint64_t)cf_min(is->ttl_s, (int64_t)3600) * 500000;
        next = cf_max(RENEW_MIN_US, cf_min(half, RENEW_MAX_US));
    }
    loop_timer_set_in(is->renew, next);
}

static void renew_on_worker(void *arg)
{
    struct auto_seal *is = arg;
    is->renew_err = (struct cf_error){0};
    is->renew_status = transit_renew(is->seal, &is->ttl_s, &is->renew_err);
    loop_post(is->node->loop, renewed, is);
}

static void on_renew(void *arg)
{
    struct auto_seal *is = arg;
    if (!is->is_renewing) {
        is->is_renewing = true;
        core_work(is->node->core, renew_on_worker, is);
    }
}

/* ---- */

struct auto_seal *auto_seal_new(struct node *node)
{
    const struct config_seal *seal = config_auto_seal(node->config);
    if (seal == NULL || seal->type != SEAL_TRANSIT) {
        return NULL;
    }
    struct auto_seal *is = cf_new(struct auto_seal);
    is->node = node;
    is->seal = seal;
    is->wrapped.max = SEAL_WRAPPED_MAX;
    is->retry = loop_timer_new(node->loop, on_retry, is);
    is->look = loop_timer_new(node->loop, on_look, is);
    is->renew = loop_timer_new(node->loop, on_renew, is);
    loop_timer_set_in(is->look, LOOK_US);
    if (!seal->disable_renewal) {
        loop_timer_set_in(is->renew, 0);
    }
    return is;
}

void auto_seal_free(struct auto_seal *auto_seal)
{
    if (auto_seal == NULL) {
        return;
    }
    loop_timer_free(auto_seal->retry);
    loop_timer_free(auto_seal->look);
    loop_timer_free(auto_seal->renew);
    secret_free(auto_seal->key);
    secret_free(auto_seal->wrapping);
    cf_buf_done(&auto_seal->wrapped);
    cf_free(auto_seal);
}
