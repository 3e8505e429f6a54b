/* node/core/touched.c: which keys of the state changed. */
#include "node/core/touched.h"

#include "node/base/memory.h"
#include "node/core/core_int.h"

static void forget(struct touched *touched)
{
    cf_buf_done(&touched->keys);
    touched->count = 0;
    touched->is_all = true;
}

void touched_add(struct touched *touched, enum touched_kind kind, struct cf_slice stored)
{
    uint8_t head[3] = {(uint8_t)kind, (uint8_t)(stored.size >> 8), (uint8_t)stored.size};
    if (touched->is_all) {
        return;
    }
    if (touched->keys.size + sizeof(head) + stored.size > TOUCHED_BYTES_MAX) {
        forget(touched);
        return;
    }
    cf_buf_add(&touched->keys, head, sizeof(head));
    cf_buf_add_slice(&touched->keys, stored);
    touched->count++;
}

void touched_move(struct touched *to, struct touched *from)
{
    if (from->is_all || to->is_all ||
        to->keys.size + from->keys.size > TOUCHED_BYTES_MAX) {
        if (from->is_all || from->count != 0) {
            forget(to);
        }
    } else if (to->count == 0) {
        struct touched swapped = *to;
        *to = *from;
        *from = swapped; /* both memories stay in use: one batch is noted where the one before was */
    } else {
        cf_buf_add_slice(&to->keys, cf_buf_slice(&from->keys));
        to->count += from->count;
    }
    cf_buf_reset(&from->keys);
    from->count = 0;
    from->is_all = false;
}

void touched_done(struct touched *touched)
{
    cf_buf_done(&touched->keys);
    *touched = (struct touched){0};
}

bool touched_next(const struct touched *touched, size_t *at, enum touched_kind *kind,
                  struct cf_slice *stored)
{
    if (*at >= touched->keys.size) {
        return false;
    }
    const uint8_t *head = touched->keys.data + *at;
    size_t size = (size_t)head[1] << 8 | head[2];
    *kind = (enum touched_kind)head[0];
    *stored = cf_slice_of(head + 3, size);
    *at += 3 + size;
    return true;
}

void state_moment_done(struct state_moment *moment)
{
    kv_snapshot_free(moment->snapshot);
    kv_family_unref(moment->family);
    *moment = (struct state_moment){0};
}

void state_moment_read(struct state_moment *moment)
{
    KV_VALUE(value) = {0};
    if (kv_get((struct kv_view){moment->db, moment->snapshot}, moment->family, GENERATION_KEY, &value,
               NULL) == CF_OK &&
        value.bytes.size == 4 * CLASS_COUNT) {
        for (size_t i = 0; i < CLASS_COUNT; i++) {
            moment->generation[i] = cf_get_u32(value.bytes.data + 4 * i);
        }
    }
}

bool core_touched(struct core *core, struct state_moment *ret_moment, struct touched *ret)
{
    struct state *state = &core->state;
    pthread_mutex_lock(&core->state_lock);
    if (state->family == NULL) {
        pthread_mutex_unlock(&core->state_lock);
        return false;
    }
    *ret_moment = (struct state_moment){.db = state->db,
                                        .family = kv_family_ref(state->family),
                                        .snapshot = kv_snapshot_new(state->db),
                                        .index = state->index};
    /* A batch that is committed and not yet published is in the snapshot. */
    memcpy(ret_moment->generation, state->now.generation, sizeof(ret_moment->generation));
    state_moment_read(ret_moment);
    *ret = state->touched;
    state->touched = (struct touched){0};
    if (!state->is_noting) {
        /* The batch under way was not noted from its beginning: the next call says "all", too. */
        state->is_noting = true;
        touched_done(ret);
        ret->is_all = state->next_touched.is_all = true;
    } else if (state->next_touched.is_all || state->next_touched.count != 0) {
        /* The batch under way may be in the snapshot already. It stays noted for the next call. */
        struct touched copy = {.count = state->next_touched.count,
                               .is_all = state->next_touched.is_all};
        cf_buf_add_slice(&copy.keys, cf_buf_slice(&state->next_touched.keys));
        touched_move(ret, &copy);
        touched_done(&copy);
    }
    atomic_store_explicit(&core->touched_bytes, 0, memory_order_relaxed);
    pthread_mutex_unlock(&core->state_lock);
    return true;
}

size_t core_touched_bytes(const struct core *core)
{
    return atomic_load_explicit(&core->touched_bytes, memory_order_relaxed);
}
