/* node/core/apply.c: the effects of log entries on the store, and what they make stale. */
#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/core/command.h"
#include "node/core/core_int.h"

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
        {{(const uint8_t *)AREA_FILTER, sizeof(AREA_FILTER) - 1}, DIRTY_REPLICATION},
        {{(const uint8_t *)AREA_AUDIT, sizeof(AREA_AUDIT) - 1}, DIRTY_AUDIT},
        {{(const uint8_t *)AREA_NAMESPACE, sizeof(AREA_NAMESPACE) - 1}, DIRTY_MOUNTS},
        {{(const uint8_t *)QUOTA_AREA, sizeof(QUOTA_AREA) - 1}, DIRTY_SETTINGS},
        {{(const uint8_t *)SETTINGS_CORS, sizeof(SETTINGS_CORS) - 1}, DIRTY_SETTINGS},
    };
    cache_changed(core->cache, key_hash(key), index);
    if (key.name.size == 0 || memchr("acfmnsr", key.name.data[0], 7) == NULL) {
        return; /* none of the areas below */
    }
    for (size_t i = 0; i < CF_LENGTH(areas); i++) {
        if (cf_slice_starts(key.name, areas[i].area)) {
            core->state.next_dirty |= areas[i].bit;
            if (i == 0) {
                stale_mounts_add(&core->state.next_stale, key.ns);
            }
        }
    }
}

/* A prefix delete over an area that the caches or tables are made from. */
static void note_prefix(struct core *core, struct key prefix, uint64_t index)
{
    if (cf_slice_starts(prefix.name, CF_SLICE(AREA_REQUEST))) {
        return; /* nobody keeps those */
    }
    if (prefix.name.size == 0 || memchr("amnprst", prefix.name.data[0], 7) != NULL) {
        cache_changed_all(core->cache, index);
        core->state.next_dirty |= DIRTY_ALL;
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
    if (core->state.is_noting) {
        touched_add(&core->state.next_touched,
                    op->kind == OP_DELETE_PREFIX ? TOUCHED_PREFIX : TOUCHED_KEY, cf_buf_slice(&key));
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
        put_op(core, batch, &ops[i], index, core->state.next.generation[number], false);
    }
}

static void save_generations(struct core *core, struct kv_batch *batch)
{
    uint8_t bytes[4 * CLASS_COUNT];
    for (size_t i = 0; i < CLASS_COUNT; i++) {
        cf_put_u32(bytes + 4 * i, core->state.next.generation[i]);
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
        kv_batch_delete_range(batch, core->state.family, cf_slice_of(from, 5), cf_slice_of(to, 1));
    }
}

static void apply_switch(struct core *core, struct kv_batch *batch, const struct command *command,
                         uint64_t index)
{
    static const uint8_t classes[CLASS_COUNT] = {CLASS_REPLICATED, CLASS_CLUSTER, CLASS_OWN};
    for (unsigned i = 0; i < CLASS_COUNT; i++) {
        if ((command->switch_classes & 1u << i) != 0) {
            drop_others(core, batch, classes[i], command->stage_generation);
            core->state.next.generation[i] = command->stage_generation;
        }
    }
    save_generations(core, batch);
    put_ops(core, batch, command->ops, command->op_count, index);
    cache_changed_all(core->cache, index);
    core->state.next_dirty = DIRTY_ALL;
    core->state.next_touched.is_all = true;
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
    state->next.is_live = state->next.is_live || index > core->log_start;
    if (command.stamp_ns > state->next.stamp_ns) {
        state->next.stamp_ns = command.stamp_ns;
        state->next.stamp_monotonic_us = cf_monotonic_us(cf_host_clock());
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
    cf_put_u64(stamp, (uint64_t)core->state.next.stamp_ns);
    kv_batch_put(batch, core->state.family, STAMP_KEY, cf_slice_of(stamp, sizeof(stamp)));
}

void core_applied(struct core *core, uint64_t index)
{
    pthread_mutex_lock(&core->state_lock);
    core->state.index = index;
    core->state.now = core->state.next;
    core->state.dirty |= core->state.next_dirty;
    core->state.next_dirty = 0;
    core->state.stale.all = core->state.stale.all || core->state.next_stale.all;
    for (size_t i = 0; i < core->state.next_stale.count; i++) {
        stale_mounts_add(&core->state.stale, core->state.next_stale.ns[i]);
    }
    core->state.next_stale = (struct stale_mounts){0};
    if (core->state.is_noting) {
        touched_move(&core->state.touched, &core->state.next_touched);
        atomic_store_explicit(&core->touched_bytes, core->state.touched.keys.size,
                              memory_order_relaxed);
    }
    core_publish(core);
    pthread_mutex_unlock(&core->state_lock);
    uint64_t timed = atomic_load_explicit(&core->timed_index, memory_order_relaxed);
    if (timed != 0 && index >= timed) {
        atomic_store(&core->timed_index, 0);
    }
    core_run_waits(core, WAITS_REACHED);
}
