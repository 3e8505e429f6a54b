/* node/core/publish.c: from applied entries to the views that requests see. */
#include "node/base/host.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/command.h"
#include "node/core/core_int.h"
#include "node/format/encode.h"

/* Clients that rate limits tell apart: 32 bytes apiece. */
#define LIMITED_CLIENTS_MAX ((size_t)65536)
#define KEYRING_KEY ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_SEAL "keyring")})
#define SALT_KEY ((struct key){CLASS_CLUSTER, NAMESPACE_ROOT, CF_SLICE(AREA_SALT)})

static struct view *new_view(struct core *core)
{
    struct state *state = &core->state;
    struct view *view = cf_new(struct view);
    atomic_init(&view->references, 1);
    view->db = state->db;
    view->state = kv_family_ref(state->family);
    view->snapshot = kv_snapshot_new(state->db);
    view->index = state->index;
    memcpy(view->generation, state->now.generation, sizeof(view->generation));
    view->stamp_ns = state->now.stamp_ns;
    view->stamp_monotonic_us = state->now.stamp_monotonic_us;
    view->role = state->role;
    view->line = state->line;
    memcpy(view->salt, state->salt, sizeof(view->salt));
    view->keyring = state->keyring != NULL ? keyring_ref(state->keyring) : NULL;
    if (state->namespaces != NULL) {
        view->namespaces = namespace_table_ref(state->namespaces);
        view->mounts = view->namespaces->list[0]->mounts;
    }
    view->audit = state->audit != NULL ? audit_table_ref(state->audit) : NULL;
    view->settings = state->settings != NULL ? settings_ref(state->settings) : NULL;
    view->cache = core->cache;
    return view;
}

static const char *const role_names[] = {
    [ROLE_ALONE_OR_PRIMARY] = "primary",
    [ROLE_PERFORMANCE_SECONDARY] = "performance-secondary",
    [ROLE_DR_SECONDARY] = "dr-secondary",
    [ROLE_FENCED] = "fenced",
    [ROLE_BOOTSTRAPPING] = "bootstrapping",
};

const char *cluster_role_name(enum cluster_role role)
{
    return role_names[role];
}

static cf_status load_keyring(struct core *core, struct view *view, struct cf_error *err)
{
    struct cf_slice wrapped;
    struct keyring *fresh;
    cf_status status = view_get_raw(view, KEYRING_KEY, core->state.scratch, &wrapped, err);
    if (status == CF_NOT_FOUND || core->load_keyring == NULL) {
        return CF_OK;
    }
    CF_TRY(status);
    CF_TRY(core->load_keyring(core->load_context, wrapped, &fresh, err));
    keyring_unref(core->state.keyring);
    keyring_unref(view->keyring);
    core->state.keyring = fresh;
    view->keyring = keyring_ref(fresh);
    return CF_OK;
}

static cf_status load_role(struct core *core, struct view *view, struct cf_error *err)
{
    struct state *state = &core->state;
    struct cf_slice record;
    struct json *json;
    cf_status status = view_get(view, ROLE_KEY, state->scratch, &record, NULL, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    CF_TRY(record_decode(record, state->scratch, &json, err));
    struct cf_slice name = json_get_string(json, "role");
    for (size_t i = 0; i < CF_LENGTH(role_names); i++) {
        if (cf_slice_is(name, role_names[i])) {
            state->role = (enum cluster_role)i;
        }
    }
    if (state->role != view->role) {
        state->dirty |= DIRTY_AUDIT; /* which devices are another cluster's has changed */
    }
    struct uuid line;
    CF_TRY(encode_uuid_parse(json_get_string(json, "line"), &line, err));
    memcpy(state->line.bytes, line.bytes, sizeof(line.bytes));
    view->role = state->role;
    view->line = state->line;
    return CF_OK;
}

static cf_status load_salt(struct core *core, struct view *view, struct cf_error *err)
{
    struct cf_slice salt;
    cf_status status = view_get(view, SALT_KEY, core->state.scratch, &salt, NULL, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    if (salt.size != sizeof(core->state.salt)) {
        return cf_fail(err, CF_CORRUPT, "salt of tokens is malformed");
    }
    memcpy(core->state.salt, salt.data, salt.size);
    memcpy(view->salt, salt.data, salt.size);
    return CF_OK;
}

static cf_status load_mounts(struct core *core, struct view *view, struct cf_error *err)
{
    struct state *state = &core->state;
    struct namespace_table *fresh;
    state->stale.all = state->stale.all || (state->dirty & DIRTY_EVERY_MOUNT) != 0;
    CF_TRY(namespace_table_load(view, core->engines, state->namespaces, &state->stale, &fresh,
                                err));
    namespace_table_unref(state->namespaces);
    namespace_table_unref(view->namespaces);
    state->namespaces = fresh;
    state->stale = (struct stale_mounts){0};
    state->dirty &= ~(unsigned)DIRTY_EVERY_MOUNT;
    view->namespaces = namespace_table_ref(fresh);
    view->mounts = fresh->list[0]->mounts;
    return CF_OK;
}

static cf_status load_audit(struct core *core, struct view *view, struct cf_error *err)
{
    struct audit_table *fresh;
    CF_TRY(audit_table_load(view, core->audit, core->cluster_id, &fresh, err));
    audit_table_unref(core->state.audit);
    audit_table_unref(view->audit);
    core->state.audit = fresh;
    view->audit = audit_table_ref(fresh);
    return CF_OK;
}

static cf_status load_settings(struct core *core, struct view *view, struct cf_error *err)
{
    struct settings *fresh;
    CF_TRY(settings_load(view, &fresh, err));
    settings_unref(core->state.settings);
    settings_unref(view->settings);
    core->state.settings = fresh;
    view->settings = settings_ref(fresh);
    return CF_OK;
}

/* Order matters: the keyring opens the role, the role names the line, the line opens the rest. */
static void rebuild(struct core *core, struct view *view)
{
    static const struct {
        unsigned bit;
        const char *what;
        cf_status (*load)(struct core *core, struct view *view, struct cf_error *err);
    } parts[] = {
        {DIRTY_KEYRING, "keyring", load_keyring},
        {DIRTY_ROLE, "role", load_role},
        {DIRTY_SALT, "salt", load_salt},
        {DIRTY_MOUNTS, "mount table", load_mounts},
        {DIRTY_AUDIT, "table of audit devices", load_audit},
        {DIRTY_SETTINGS, "shared settings", load_settings},
    };
    struct cf_error err = {0};
    for (size_t i = 0; i < CF_LENGTH(parts); i++) {
        if ((core->state.dirty & parts[i].bit) == 0) {
            continue;
        }
        if (parts[i].load(core, view, &err) == CF_OK) {
            core->state.dirty &= ~parts[i].bit;
        } else {
            cf_err("core", "cannot load the %s at index %llu: %s %s", parts[i].what,
                   (unsigned long long)view->index, err.message, err.detail);
        }
    }
    arena_reset(core->state.scratch);
}

void core_publish(struct core *core)
{
    struct view *view = new_view(core);
    if (core->state.unsealed && core->state.dirty != 0) {
        rebuild(core, view);
    }
    bool changed = (core->state.dirty & DIRTY_REPLICATION) != 0;
    core->state.dirty &= ~(unsigned)DIRTY_REPLICATION;
    pthread_mutex_lock(&core->view_lock);
    bool has_quotas = view->settings != NULL && view->settings->quotas.count != 0;
    if (has_quotas && atomic_load(&core->limiter) == NULL) {
        atomic_store(&core->limiter, limiter_new(LIMITED_CLIENTS_MAX));
    }
    atomic_store(&core->has_quotas, has_quotas);
    struct view *old = core->current;
    atomic_store_explicit(&core->role_now, (int)view->role, memory_order_relaxed);
    atomic_store(&core->has_cors, view->settings != NULL && view->settings->cors.is_enabled);
    core->current = view;
    pthread_mutex_unlock(&core->view_lock);
    view_unref(old);
    if (changed && core->replication_changed != NULL) {
        core->replication_changed(core->replication_context);
    }
}

void core_on_replication_change(struct core *core, void (*changed)(void *context), void *context)
{
    core->replication_changed = changed;
    core->replication_context = context;
}

struct view *core_view(struct core *core)
{
    pthread_mutex_lock(&core->view_lock);
    struct view *view = core->current != NULL ? view_ref(core->current) : NULL;
    pthread_mutex_unlock(&core->view_lock);
    return view;
}

static bool is_due(const struct index_wait *wait, uint64_t index, enum waits which)
{
    switch (which) {
    case WAITS_ALL:
        return true;
    case WAITS_WHILE_ACTIVE:
        return wait->while_active;
    case WAITS_LATE:
        if (wait->deadline_us != 0 && wait->deadline_us < cf_monotonic_us(cf_host_clock())) {
            return true;
        }
        break;
    case WAITS_REACHED:
        break;
    }
    return wait->index <= index;
}

void core_run_waits(struct core *core, enum waits which)
{
    struct cf_list ready;
    cf_list_init(&ready);
    pthread_mutex_lock(&core->view_lock);
    uint64_t index = core->current != NULL ? core->current->index : 0;
    cf_list_for_safe(at, &core->waits) {
        struct index_wait *wait = cf_container(at, struct index_wait, link);
        if (is_due(wait, index, which)) {
            if (wait->deadline_us != 0) {
                atomic_fetch_sub(&core->timed_waits, 1);
            }
            cf_list_remove(at);
            cf_list_add_tail(&ready, at);
        }
    }
    pthread_mutex_unlock(&core->view_lock);
    while (!cf_list_empty(&ready)) {
        struct index_wait *wait = cf_container(ready.next, struct index_wait, link);
        cf_list_remove(&wait->link);
        wait->run(wait, wait->index <= index);
    }
}

void core_wait_index(struct core *core, struct index_wait *wait)
{
    pthread_mutex_lock(&core->view_lock);
    bool reached = core->current != NULL && core->current->index >= wait->index;
    if (!reached) {
        cf_list_add_tail(&core->waits, &wait->link);
        if (wait->deadline_us != 0) {
            atomic_fetch_add(&core->timed_waits, 1);
        }
    }
    pthread_mutex_unlock(&core->view_lock);
    if (reached) {
        wait->run(wait, true);
    }
}

void core_pulse(struct core *core)
{
    if (atomic_load(&core->timed_waits) != 0) {
        core_run_waits(core, WAITS_LATE);
    }
}

static cf_status read_reserved(struct state *state, struct cf_slice key, uint8_t *to, size_t size,
                               struct cf_error *err)
{
    KV_VALUE(value) = {0};
    cf_status status = kv_get(kv_now(state->db), state->family, key, &value, err);
    if (status == CF_OK && value.bytes.size == size) {
        memcpy(to, value.bytes.data, size);
    }
    return status == CF_NOT_FOUND ? CF_OK : status;
}

cf_status core_state_changed(struct core *core, struct kv *db, struct kv_family *family,
                             uint64_t index, struct cf_error *err)
{
    struct state *state = &core->state;
    uint8_t generations[4 * CLASS_COUNT] = {0};
    uint8_t stamp[8] = {0};
    pthread_mutex_lock(&core->state_lock);
    kv_family_unref(state->family);
    state->db = db;
    state->family = kv_family_ref(family);
    state->index = index;
    cf_status status = read_reserved(state, GENERATION_KEY, generations, sizeof(generations), err);
    if (status == CF_OK) {
        status = read_reserved(state, STAMP_KEY, stamp, sizeof(stamp), err);
    }
    if (status == CF_OK) {
        for (size_t i = 0; i < CLASS_COUNT; i++) {
            state->next.generation[i] = cf_get_u32(generations + 4 * i);
        }
        state->next.stamp_ns = (int64_t)cf_get_u64(stamp);
        state->next.stamp_monotonic_us = cf_monotonic_us(cf_host_clock());
        state->next.is_live = false;
        state->now = state->next;
        state->next_dirty = 0;
        state->dirty = DIRTY_ALL;
        touched_done(&state->next_touched);
        touched_done(&state->touched);
        state->touched.is_all = true;
        cache_changed_all(core->cache, index);
        core_publish(core);
    }
    pthread_mutex_unlock(&core->state_lock);
    core_run_waits(core, WAITS_REACHED);
    return status;
}

/* ---- sealing ---- */

void core_set_keyring_loader(struct core *core,
                             cf_status (*load)(void *context, struct cf_slice wrapped,
                                               struct keyring **ret, struct cf_error *err),
                             void *context)
{
    core->load_keyring = load;
    core->load_context = context;
}

void core_unsealed(struct core *core, struct keyring *keyring)
{
    pthread_mutex_lock(&core->state_lock);
    keyring_unref(core->state.keyring);
    core->state.keyring = keyring_ref(keyring);
    core->state.unsealed = true;
    core->state.dirty = DIRTY_ALL;
    cache_changed_all(core->cache, core->state.index);
    core_publish(core);
    pthread_mutex_unlock(&core->state_lock);
    core_run_waits(core, WAITS_REACHED);
}

void core_sealed(struct core *core)
{
    struct state *state = &core->state;
    pthread_mutex_lock(&core->state_lock);
    keyring_unref(state->keyring);
    namespace_table_unref(state->namespaces);
    state->keyring = NULL;
    state->namespaces = NULL;
    audit_table_unref(state->audit);
    state->audit = NULL;
    settings_unref(state->settings);
    state->settings = NULL;
    state->unsealed = false;
    cf_wipe(state->salt, sizeof(state->salt));
    state->dirty = DIRTY_ALL;
    cache_changed_all(core->cache, state->index);
    core_publish(core);
    pthread_mutex_unlock(&core->state_lock);
    cache_clear(core->cache);
    core_run_waits(core, WAITS_ALL);
}
