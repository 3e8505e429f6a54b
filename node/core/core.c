/* node/core/core.c: struct core and what it is made of. */
#include "node/core/core.h"

#include "node/base/memory.h"
#include "node/core/audit_int.h"
#include "node/core/core_int.h"
#include "node/core/lease_count.h"
#include "node/crypto/random.h"

/* Objects in the caches: some 500 bytes apiece. */
#define CACHE_OBJECTS_MAX ((size_t)4096)
#define WINDOW_KEYS_MAX ((size_t)16384)
#define WINDOW_BYTES_MAX ((size_t)4 << 20)

struct core *core_new(const struct core_config *config, const struct engine_ops *const *engines,
                      const struct proposer *proposer, const struct core_host *host)
{
    struct core *core = cf_new(struct core);
    core->config = *config;
    core->engines = engines;
    core->proposer = *proposer;
    core->host = *host;
    core->cache = cache_new(CACHE_OBJECTS_MAX);
    core->audit = audit_broker_new(&config->audit);
    core->audit_gate = audit_gate_new(core);
    core->pool = work_pool_new(config->workers != 0 ? config->workers : 2);
    core->window = window_new(WINDOW_KEYS_MAX, WINDOW_BYTES_MAX);
    pthread_mutex_init(&core->state_lock, NULL);
    pthread_mutex_init(&core->view_lock, NULL);
    pthread_mutex_init(&core->window_lock, NULL);
    core->role_hash = key_hash(ROLE_KEY);
    for (size_t i = 0; i < CF_LENGTH(core->audit_hashes); i++) {
        uint8_t class = i == 0 ? CLASS_REPLICATED : CLASS_CLUSTER;
        core->audit_hashes[i] =
            key_hash((struct key){class, NAMESPACE_ROOT, CF_SLICE(AUDIT_GUARD)});
    }
    flights_init(&core->flights);
    cf_list_init(&core->waits);
    cf_list_init(&core->parked);
    core->state.scratch = arena_new(64 * 1024);
    core->state.dirty = DIRTY_ALL;
    core->lease_counts = lease_counts_new();
    core->expirer = expirer_new(core);
    core->revoker = revoker_new(core);
    core->outside = outside_new();
    return core;
}

/* The waits come after the threads: with the pool stopped their next step runs here and ends. */
void core_stop(struct core *core)
{
    expirer_stop(core->expirer);
    revoker_stop(core->revoker);
    audit_release(core);
    outside_stop(core->outside);
    work_pool_stop(core->pool);
    core_run_waits(core, WAITS_ALL);
}

void core_free(struct core *core)
{
    if (core == NULL) {
        return;
    }
    core_stop(core);
    revoker_free(core->revoker);
    outside_free(core->outside);
    expirer_free(core->expirer);
    work_pool_free(core->pool);
    view_unref(core->current);
    keyring_unref(core->state.keyring);
    namespace_table_unref(core->state.namespaces);
    audit_table_unref(core->state.audit);
    settings_unref(core->state.settings);
    kv_family_unref(core->state.family);
    touched_done(&core->state.touched);
    touched_done(&core->state.next_touched);
    arena_free(core->state.scratch);
    cache_free(core->cache);
    audit_broker_free(core->audit);
    audit_gate_free(core->audit_gate);
    window_free(core->window);
    lease_counts_free(core->lease_counts);
    flights_done(&core->flights);
    limiter_free(core->limiter);
    pthread_mutex_destroy(&core->state_lock);
    pthread_mutex_destroy(&core->view_lock);
    pthread_mutex_destroy(&core->window_lock);
    cf_wipe(core->state.salt, sizeof(core->state.salt));
    cf_free(core);
}

/* Any thread. */
enum core_origin core_origin(struct core *core, struct cf_slice origin, struct arena *arena,
                             struct cf_slice *ret_headers)
{
    enum core_origin ret = ORIGIN_ANY;
    if (!atomic_load_explicit(&core->has_cors, memory_order_relaxed)) {
        return ret;
    }
    struct view *view = core_view(core);
    if (view != NULL && view->settings != NULL && view->settings->cors.is_enabled) {
        ret = cors_allows(&view->settings->cors, origin) ? ORIGIN_ALLOWED : ORIGIN_REFUSED;
        *ret_headers = arena_copy(arena, view->settings->cors.header_line);
    }
    view_unref(view);
    return ret;
}

void core_set_cluster_id(struct core *core, const char id[37])
{
    memcpy(core->cluster_id, id, sizeof(core->cluster_id));
}

const struct core_config *core_config(const struct core *core)
{
    return &core->config;
}

const struct engine_ops *const *core_engines(const struct core *core)
{
    return core->engines;
}

cf_status core_check_move(struct request *rq, const struct namespace *from_ns, struct cf_slice from,
                          const struct namespace *to_ns, struct cf_slice to, struct cf_error *err)
{
    const struct core_host *host = &rq->core->host;
    return host->check_move != NULL ? host->check_move(rq, from_ns, from, to_ns, to, err) : CF_OK;
}

void *core_host_context(const struct core *core)
{
    return core->host.context;
}

uint64_t core_entry_count(const struct core *core)
{
    return atomic_load_explicit(&core->entries, memory_order_relaxed);
}

struct audit_broker *core_audit(struct core *core)
{
    return core->audit;
}

const struct cf_random *core_random(void)
{
    return random_system();
}

const struct cf_random *core_random_public(void)
{
    return random_system_public();
}
