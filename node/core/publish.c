/* node/core/publish.c: from applied entries to the views that requests see. */
#include "node/base/host.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/command.h"
#include "node/core/core_int.h"
#include "node/format/encode.h"

/* Reserved keys of the state family, beside the driver's "\0applied". */
#define GENERATION_KEY CF_SLICE("\1generation")
#define STAMP_KEY CF_SLICE("\1stamp")

#define ROLE_KEY ((struct key){CLASS_OWN, NAMESPACE_ROOT, CF_SLICE(AREA_REPL "role")})
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
    memcpy(view->generation, state->generation, sizeof(view->generation));
    view->stamp_ns = state->stamp_ns;
    view->stamp_monotonic_us = state->stamp_monotonic_us;
    view->role = state->role;
    view->line = state->line;
    memcpy(view->salt, state->salt, sizeof(view->salt));
    view->keyring = state->keyring != NULL ? keyring_ref(state->keyring) : NULL;
    view->mounts = state->mounts != NULL ? mount_table_ref(state->mounts) : NULL;
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
    struct mount_table *fresh;
    CF_TRY(mount_table_load(view, core->engines, &fresh, err));
    mount_table_unref(core->state.mounts);
    mount_table_unref(view->mounts);
    core->state.mounts = fresh;
    view->mounts = mount_table_ref(fresh);
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
    struct view *old = core->current;
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

void core_run_waits(struct core *core, bool all)
{
    struct cf_list ready;
    cf_list_init(&ready);
    pthread_mutex_lock(&core->view_lock);
    uint64_t index = core->current != NULL ? core->current->index : 0;
    cf_list_for_safe(at, &core->waits) {
        if (all || cf_container(at, struct index_wait, link)->index <= index) {
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
    }
    pthread_mutex_unlock(&core->view_lock);
    if (reached) {
        wait->run(wait, true);
    }
}

/* ---- applying ---- */

static void note_key(struct core *core, struct key key, uint64_t index)
{
    static const struct {
        struct cf_slice area;
        unsigned bit;
    } areas[] = {
        {{(const uint8_t *)AREA_MOUNT, sizeof(AREA_MOUNT) - 1}, DIRTY_MOUNTS},
        {{(const uint8_t *)AREA_SEAL "keyring", sizeof(AREA_SEAL "keyring") - 1}, DIRTY_KEYRING},
        {{(const uint8_t *)AREA_REPL "role", sizeof(AREA_REPL "role") - 1}, DIRTY_ROLE},
        {{(const uint8_t *)AREA_SALT, sizeof(AREA_SALT) - 1}, DIRTY_SALT},
        {{(const uint8_t *)AREA_REPL, sizeof(AREA_REPL) - 1}, DIRTY_REPLICATION},
    };
    cache_changed(core->cache, key_hash(key), index);
    if (key.name.size == 0 || memchr("msr", key.name.data[0], 3) == NULL) {
        return; /* none of the areas below */
    }
    for (size_t i = 0; i < CF_LENGTH(areas); i++) {
        if (cf_slice_starts(key.name, areas[i].area)) {
            core->state.dirty |= areas[i].bit;
        }
    }
}

/* A prefix delete over an area that the caches or tables are made from. */
static void note_prefix(struct core *core, struct key prefix, uint64_t index)
{
    if (prefix.name.size == 0 || prefix.name.data[0] == 't' || prefix.name.data[0] == 'p' ||
        prefix.name.data[0] == 'm') {
        cache_changed_all(core->cache, index);
        core->state.dirty |= DIRTY_ALL;
    }
}

static void put_op(struct core *core, struct kv_batch *batch, const struct op *op, uint64_t index,
                   uint32_t generation, bool is_staged)
{
    CF_BUF(key) = {0};
    key_encode(&key, op->key, generation);
    uint8_t head[VALUE_HEADER_SIZE];
    cf_put_u64(head, index);
    switch (op->kind) {
    case OP_PUT: {
        struct cf_slice parts[2] = {cf_slice_of(head, sizeof(head)), op->value};
        kv_batch_put_parts(batch, core->state.family, cf_buf_slice(&key), parts, 2);
        break;
    }
    case OP_DELETE:
        kv_batch_delete(batch, core->state.family, cf_buf_slice(&key));
        break;
    case OP_DELETE_PREFIX: {
        CF_BUF(end) = {0};
        cf_buf_add_slice(&end, cf_buf_slice(&key));
        while (end.data[end.size - 1] == 0xff) {
            end.size--;
        }
        end.data[end.size - 1]++;
        kv_batch_delete_range(batch, core->state.family, cf_buf_slice(&key), cf_buf_slice(&end));
        break;
    }
    }
    if (is_staged) {
        return;
    }
    if (op->kind == OP_DELETE_PREFIX) {
        note_prefix(core, op->key, index);
    } else {
        note_key(core, op->key, index);
    }
}

static void put_ops(struct core *core, struct kv_batch *batch, const struct op *ops, size_t count,
                    uint64_t index)
{
    for (size_t i = 0; i < count; i++) {
        unsigned number = class_number(ops[i].key.class);
        put_op(core, batch, &ops[i], index, core->state.generation[number], false);
    }
}

static void save_generations(struct core *core, struct kv_batch *batch)
{
    uint8_t bytes[4 * CLASS_COUNT];
    for (size_t i = 0; i < CLASS_COUNT; i++) {
        cf_put_u32(bytes + 4 * i, core->state.generation[i]);
    }
    kv_batch_put(batch, core->state.family, GENERATION_KEY, cf_slice_of(bytes, sizeof(bytes)));
}

/* Every generation of a class but one: the old data, and what interrupted copies have left. */
static void drop_others(struct core *core, struct kv_batch *batch, uint8_t class, uint32_t keep)
{
    uint8_t from[5] = {class}, to[5] = {class};
    cf_put_u32(to + 1, keep);
    kv_batch_delete_range(batch, core->state.family, cf_slice_of(from, 5), cf_slice_of(to, 5));
    from[0] = class;
    cf_put_u32(from + 1, keep + 1);
    to[0] = (uint8_t)(class + 1);
    if (keep != UINT32_MAX) {
        kv_batch_delete_range(batch, core->state.family, cf_slice_of(from, 5),
                              cf_slice_of(to, 1));
    }
}

static void apply_switch(struct core *core, struct kv_batch *batch, const struct command *command,
                         uint64_t index)
{
    static const uint8_t classes[CLASS_COUNT] = {CLASS_REPLICATED, CLASS_CLUSTER, CLASS_OWN};
    for (unsigned i = 0; i < CLASS_COUNT; i++) {
        if ((command->switch_classes & 1u << i) != 0) {
            drop_others(core, batch, classes[i], command->stage_generation);
            core->state.generation[i] = command->stage_generation;
        }
    }
    save_generations(core, batch);
    put_ops(core, batch, command->ops, command->op_count, index);
    cache_changed_all(core->cache, index);
    core->state.dirty = DIRTY_ALL;
}

cf_status core_apply(struct core *core, uint64_t index, struct cf_slice payload,
                     struct kv_batch *batch, struct cf_error *err)
{
    struct state *state = &core->state;
    struct command command;
    pthread_mutex_lock(&core->state_lock);
    cf_status status = command_decode(payload, state->scratch, &command, err);
    if (status != CF_OK) {
        pthread_mutex_unlock(&core->state_lock);
        return status;
    }
    if (command.stamp_ns > state->stamp_ns) {
        state->stamp_ns = command.stamp_ns;
        state->stamp_monotonic_us = cf_monotonic_us(cf_host_clock());
    }
    switch (command.id) {
    case COMMAND_WRITE:
        put_ops(core, batch, command.ops, command.op_count, index);
        break;
    case COMMAND_SHIPPED:
        for (size_t i = 0; i < command.entry_count; i++) {
            put_ops(core, batch, command.entries[i].ops, command.entries[i].op_count, index);
        }
        put_ops(core, batch, command.ops, command.op_count, index);
        break;
    case COMMAND_STAGE:
        for (size_t i = 0; i < command.op_count; i++) {
            put_op(core, batch, &command.ops[i], index, command.stage_generation, true);
        }
        break;
    case COMMAND_SWITCH:
        apply_switch(core, batch, &command, index);
        break;
    case COMMAND_TICK:
        break;
    }
    arena_reset(state->scratch);
    pthread_mutex_unlock(&core->state_lock);
    return CF_OK;
}

void core_apply_end(struct core *core, struct kv_batch *batch)
{
    uint8_t stamp[8];
    cf_put_u64(stamp, (uint64_t)core->state.stamp_ns);
    kv_batch_put(batch, core->state.family, STAMP_KEY, cf_slice_of(stamp, sizeof(stamp)));
}

void core_applied(struct core *core, uint64_t index)
{
    pthread_mutex_lock(&core->state_lock);
    core->state.index = index;
    core_publish(core);
    pthread_mutex_unlock(&core->state_lock);
    core_run_waits(core, false);
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
            state->generation[i] = cf_get_u32(generations + 4 * i);
        }
        state->stamp_ns = (int64_t)cf_get_u64(stamp);
        state->stamp_monotonic_us = cf_monotonic_us(cf_host_clock());
        state->dirty = DIRTY_ALL;
        cache_changed_all(core->cache, index);
        core_publish(core);
    }
    pthread_mutex_unlock(&core->state_lock);
    core_run_waits(core, false);
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
    core_run_waits(core, false);
}

void core_sealed(struct core *core)
{
    struct state *state = &core->state;
    pthread_mutex_lock(&core->state_lock);
    keyring_unref(state->keyring);
    mount_table_unref(state->mounts);
    state->keyring = NULL;
    state->mounts = NULL;
    state->unsealed = false;
    cf_wipe(state->salt, sizeof(state->salt));
    state->dirty = DIRTY_ALL;
    cache_changed_all(core->cache, state->index);
    core_publish(core);
    pthread_mutex_unlock(&core->state_lock);
    cache_clear(core->cache);
    core_run_waits(core, true);
}
