/* consensus/driver/store_int.h: shared by store.c and store_log.c. */
#ifndef COFFER_CONSENSUS_DRIVER_STORE_INT_H
#define COFFER_CONSENSUS_DRIVER_STORE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "consensus/driver/store.h"
#include "node/base/memory.h"

#define RECORD_VERSION 1

struct raft_store {
    struct kv *kv;
    struct kv_family *log, *meta;
    pthread_mutex_t lock; /* guards state: the log writer switches it under readers */
    struct kv_family *state;
    uint64_t state_number;
    bool has_identity, state_wal;
    struct raft_identity identity;
    atomic_uint_fast64_t base_index; /* what is left of the log up to here is read by nobody */
    atomic_uint_fast64_t last_index; /* highest key of the log: bounds a deletion of all */
};

#define KEY_IDENTITY CF_SLICE("identity")
#define KEY_HARD_STATE CF_SLICE("hard")
#define KEY_BASE CF_SLICE("base")
#define KEY_STATE CF_SLICE("state")
#define KEY_PURGED CF_SLICE("purged")
#define CONFIG_PREFIX "config/" /* + index: says that this entry of the log is a CONFIG */
#define RECORD_PREFIX "record/" /* + name */

#define INDEX_KEY_SIZE 8
#define CONFIG_KEY_SIZE (sizeof(CONFIG_PREFIX) - 1 + 8)

static inline struct cf_slice index_key(uint8_t room[INDEX_KEY_SIZE], uint64_t index)
{
    cf_put_u64(room, index);
    return cf_slice_of(room, INDEX_KEY_SIZE);
}
static inline struct cf_slice config_key(uint8_t room[CONFIG_KEY_SIZE], uint64_t index)
{
    memcpy(room, CONFIG_PREFIX, sizeof(CONFIG_PREFIX) - 1);
    cf_put_u64(room + sizeof(CONFIG_PREFIX) - 1, index);
    return cf_slice_of(room, CONFIG_KEY_SIZE);
}

/* One entry out of its record in the log; checks everything. */
cf_status store_decode_entry(uint64_t index, struct cf_slice bytes, struct raft_entry **ret,
                             struct cf_error *err);
void store_add_hard_state(struct raft_store *store, struct kv_batch *batch,
                          const struct raft_hard_state *hard_state);
void store_add_identity(struct raft_store *store, struct kv_batch *batch,
                        const struct raft_identity *identity);
/* An empty value deletes. */
void store_add_record(struct raft_store *store, struct kv_batch *batch, const char *name,
                      struct cf_slice value);
void store_add_base(struct raft_store *store, struct kv_batch *batch, const struct raft_base *base);

void store_delete_entries(struct raft_store *store, struct kv_batch *batch, uint64_t from,
                          uint64_t to);
cf_status store_load_hard_state(struct raft_store *store, struct raft_hard_state *ret,
                                struct cf_error *err);
cf_status store_load_base(struct raft_store *store, struct raft_base *ret, struct cf_error *err);
bool store_is_recovering(struct raft_store *store);
bool store_is_alone(struct raft_store *store);

#endif
