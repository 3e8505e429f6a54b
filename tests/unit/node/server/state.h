/* tests/unit/node/server/state.h: a state family and a view of it made by hand, without a core. */
#ifndef COFFER_TEST_STATE_H
#define COFFER_TEST_STATE_H

#include "node/base/memory.h"
#include "node/core/view.h"
#include "node/server/replication/tree.h"
#include "tests/lib/test.h"

struct state {
    struct kv *kv;
    uint64_t modified; /* modification index of the next put */
    struct view view;
};

static inline void state_view(struct state *state)
{
    kv_snapshot_free(state->view.snapshot);
    state->view.snapshot = kv_snapshot_new(state->kv);
    state->view.index++;
}

static inline void state_begin(struct state *state, uint32_t generation, uint64_t modified)
{
    *state = (struct state){.kv = kv_open_memory(), .modified = modified};
    state->view.db = state->kv;
    ck_ok(kv_family_create(state->kv, "state-0", &state->view.state, NULL));
    for (unsigned i = 0; i < CLASS_COUNT; i++) {
        state->view.generation[i] = generation + i;
    }
    state_view(state);
}

static inline void state_end(struct state *state)
{
    kv_snapshot_free(state->view.snapshot);
    kv_family_unref(state->view.state);
    kv_close(state->kv);
}

static inline void state_put_at(struct state *state, struct key key, uint32_t generation,
                                struct cf_slice value)
{
    CF_OWNED(kv_batch) batch = kv_batch_new(state->kv);
    CF_BUF(stored) = {0};
    uint8_t modified[VALUE_HEADER_SIZE];
    const struct cf_slice parts[] = {cf_slice_of(modified, sizeof(modified)), value};
    cf_put_u64(modified, state->modified++);
    key_encode(&stored, key, generation);
    kv_batch_put_parts(batch, state->view.state, cf_buf_slice(&stored), parts, 2);
    ck_ok(kv_commit(state->kv, batch, KV_NO_WAL, NULL));
    state_view(state);
}

static inline void state_put(struct state *state, struct key key, struct cf_slice value)
{
    state_put_at(state, key, state->view.generation[class_number(key.class)], value);
}

static inline void state_delete(struct state *state, struct key key)
{
    CF_OWNED(kv_batch) batch = kv_batch_new(state->kv);
    CF_BUF(stored) = {0};
    key_encode(&stored, key, state->view.generation[class_number(key.class)]);
    kv_batch_delete(batch, state->view.state, cf_buf_slice(&stored));
    ck_ok(kv_commit(state->kv, batch, KV_NO_WAL, NULL));
    state_view(state);
}

/* The root of a kind, by reading everything. */
static inline void state_root(const struct state *state, enum repl_kind kind,
                              char ret[ROOT_TEXT_SIZE])
{
    struct repl_tree *tree = cf_new(struct repl_tree);
    const struct view *view = &state->view;
    struct state_moment moment = {
        .db = view->db, .family = view->state, .snapshot = view->snapshot, .index = view->index};
    memcpy(moment.generation, view->generation, sizeof(moment.generation));
    ck_ok(state_tree_read(&moment, kind, NULL, tree, NULL));
    tree_root_text(tree, ret);
    cf_free(tree);
}

#define KEY(class, ns, name) ((struct key){(class), (ns), CF_SLICE(name)})

/* Keys in stored order, all classes; names that begin with one another, with bytes of every kind.
 */
static const struct state_pair {
    struct key key;
    struct cf_slice value;
} state_pairs[] = {
    {{CLASS_CLUSTER, 0, CF_SLICE("repl/performance/primary")}, CF_SLICE("c0")},
    {{CLASS_CLUSTER, 0, CF_SLICE("token/\0\xff")}, CF_SLICE("c1")},
    {{CLASS_CLUSTER, 9, CF_SLICE("a")}, CF_SLICE("")},
    {{CLASS_OWN, 0, CF_SLICE("seal/root")}, CF_SLICE("never")},
    {{CLASS_OWN, 3, CF_SLICE("a")}, CF_SLICE("never")},
    {{CLASS_REPLICATED, 0, CF_SLICE("a")}, CF_SLICE("r0")},
    {{CLASS_REPLICATED, 0, CF_SLICE("a\0")}, CF_SLICE("\x00\x01")},
    {{CLASS_REPLICATED, 0, CF_SLICE("a\0\0")}, CF_SLICE("r2")},
    {{CLASS_REPLICATED, 0, CF_SLICE("ab")}, CF_SLICE("")},
    {{CLASS_REPLICATED, 0, CF_SLICE("\xff\xff")}, CF_SLICE("a longer value than the others have")},
    {{CLASS_REPLICATED, 7, CF_SLICE("a")}, CF_SLICE("r5")},
    {{CLASS_REPLICATED, 0xffffffff, CF_SLICE("\xff")}, CF_SLICE("r6")},
};

static inline void state_fill(struct state *state)
{
    for (size_t i = 0; i < sizeof(state_pairs) / sizeof(state_pairs[0]); i++) {
        state_put(state, state_pairs[i].key, state_pairs[i].value);
    }
}

#endif
