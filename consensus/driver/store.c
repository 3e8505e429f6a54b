/* consensus/driver/store.c: families, identity, records, loading, the state's reserved keys. */
#include "consensus/driver/store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/driver/store_int.h"
#include "node/base/level.h"

#define STATE_PREFIX "state-"
#define KEY_APPLIED CF_SLICE("\0applied")
#define KEY_LEVEL CF_SLICE("\0level")
#define KEY_CONFIG CF_SLICE("\0config")

/* ---- opening */

static bool is_state_name(const char *name)
{
    return strncmp(name, STATE_PREFIX, strlen(STATE_PREFIX)) == 0;
}

struct drop_others {
    struct raft_store *store;
    struct cf_error *err;
    cf_status status;
};

static void drop_other(void *context, const char *name)
{
    struct drop_others *drop = context;
    if (drop->status != CF_OK || !is_state_name(name) ||
        strcmp(name, kv_family_name(drop->store->state)) == 0) {
        return;
    }
    CF_OWNED(kv_family) family = NULL;
    drop->status = kv_family_open(drop->store->kv, name, &family, drop->err);
    if (drop->status == CF_OK) {
        drop->status = kv_family_drop(family, drop->err);
    }
}

cf_status raft_store_drop_others(struct raft_store *store, struct cf_error *err)
{
    struct drop_others drop = {.store = store, .err = err, .status = CF_OK};
    kv_family_each(store->kv, drop_other, &drop);
    return drop.status;
}

/* Commits what `add` put into a batch of its own, synced. */
static cf_status put_meta(struct raft_store *store, struct cf_slice key, struct cf_slice value,
                          struct cf_error *err)
{
    CF_OWNED(kv_batch) batch = kv_batch_new(store->kv);
    kv_batch_put(batch, store->meta, key, value);
    return kv_commit(store->kv, batch, KV_SYNC, err);
}

static cf_status get_meta(struct raft_store *store, struct cf_slice key, struct kv_value *value,
                          struct cf_error *err)
{
    return kv_get(kv_now(store->kv), store->meta, key, value, err);
}

static cf_status open_state(struct raft_store *store, struct cf_error *err)
{
    KV_VALUE(value) = {0};
    char name[KV_NAME_MAX + 1] = STATE_PREFIX "1";
    cf_status status = get_meta(store, KEY_STATE, &value, err);
    if (status == CF_NOT_FOUND) {
        CF_TRY(kv_family_ensure(store->kv, name, &store->state, err));
        store->state_number = 1;
        return put_meta(store, KEY_STATE, cf_slice_str(name), err);
    }
    CF_TRY(status);
    if (value.bytes.size == 0 || value.bytes.size > KV_NAME_MAX) {
        return cf_fail(err, CF_CORRUPT, "the record of the current state is damaged");
    }
    memcpy(name, value.bytes.data, value.bytes.size);
    name[value.bytes.size] = '\0';
    store->state_number = is_state_name(name) ? strtoull(name + strlen(STATE_PREFIX), NULL, 10) : 0;
    if (store->state_number == 0) {
        return cf_fail(err, CF_CORRUPT, "the record of the current state is damaged");
    }
    status = kv_family_open(store->kv, name, &store->state, err);
    return status == CF_NOT_FOUND
               ? cf_fail(err, CF_CORRUPT, "the state \"%s\" is missing in the store", name)
               : status;
}

static cf_status open_identity(struct raft_store *store, struct cf_error *err)
{
    KV_VALUE(value) = {0};
    cf_status status = get_meta(store, KEY_IDENTITY, &value, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    const uint8_t *at = value.bytes.data;
    if (value.bytes.size != 33 || at[0] != RECORD_VERSION || cf_get_u64(at + 1) == 0) {
        return cf_fail(err, CF_CORRUPT, "the record of this node's identity is damaged");
    }
    store->identity.node_id = cf_get_u64(at + 1);
    memcpy(store->identity.cluster_id, at + 9, RAFT_CLUSTER_ID_SIZE);
    store->identity.recovery_epoch = cf_get_u64(at + 25);
    store->has_identity = true;
    return CF_OK;
}

cf_status raft_store_open(struct kv *kv, struct raft_store **ret, struct cf_error *err)
{
    CF_OWNED(raft_store) store = cf_new(struct raft_store);
    store->kv = kv;
    pthread_mutex_init(&store->lock, NULL);
    CF_TRY(kv_family_ensure(kv, "log", &store->log, err));
    CF_TRY(kv_be_queue(store->log, err));
    CF_TRY(kv_family_ensure(kv, "meta", &store->meta, err));
    CF_TRY(open_state(store, err));
    CF_TRY(open_identity(store, err));
    uint64_t synced = 0;
    if (!store->has_identity && kv_noted(kv, &synced) && synced > 0) {
        /* A damaged list of files can look like an early one: never take that for a new node. */
        cf_fail(err, CF_CORRUPT, "the store has lost its identity: it held log entries before");
        cf_error_detail(err, "Its list of files is damaged. Restore the data directory as a whole, "
                             "or remove it and let this node join its cluster again.");
        return CF_CORRUPT;
    }
    CF_TRY(raft_store_drop_others(store, err));
    *ret = raft_store_take(&store);
    return CF_OK;
}

void raft_store_free(struct raft_store *store)
{
    if (store == NULL) {
        return;
    }
    kv_family_unref(store->log);
    kv_family_unref(store->meta);
    kv_family_unref(store->state);
    pthread_mutex_destroy(&store->lock);
    cf_free(store);
}

struct kv *raft_store_kv(struct raft_store *store)
{
    return store->kv;
}

/* ---- identity */

bool raft_store_has_identity(const struct raft_store *store)
{
    return store->has_identity;
}

struct raft_identity raft_store_identity(const struct raft_store *store)
{
    return store->identity;
}

void store_add_identity(struct raft_store *store, struct kv_batch *batch,
                        const struct raft_identity *identity)
{
    uint8_t bytes[33] = {RECORD_VERSION};
    cf_put_u64(bytes + 1, identity->node_id);
    memcpy(bytes + 9, identity->cluster_id, RAFT_CLUSTER_ID_SIZE);
    cf_put_u64(bytes + 25, identity->recovery_epoch);
    kv_batch_put(batch, store->meta, KEY_IDENTITY, cf_slice_of(bytes, sizeof(bytes)));
}

/* Identity, empty hard state and base, in one synced batch. */
static cf_status found(struct raft_store *store, const struct raft_identity *identity,
                       const struct raft_membership *membership, struct cf_error *err)
{
    if (store->has_identity) {
        return cf_fail(err, CF_EXISTS, "this node belongs to a cluster already");
    }
    if (identity->node_id == 0) {
        return cf_fail(err, CF_INVALID, "a node's id must not be 0");
    }
    CF_OWNED(kv_batch) batch = kv_batch_new(store->kv);
    store_add_identity(store, batch, identity);
    store_add_hard_state(store, batch, &(struct raft_hard_state){0});
    store_add_base(store, batch, &(struct raft_base){.membership = *membership});
    CF_TRY(kv_commit(store->kv, batch, KV_SYNC, err));
    store->identity = *identity;
    store->has_identity = true;
    return CF_OK;
}

cf_status raft_store_bootstrap(struct raft_store *store, const struct raft_identity *identity,
                               const char *address, const char *name, struct cf_error *err)
{
    struct raft_membership membership = {0};
    CF_TRY(raft_membership_set(&membership, identity->node_id, RAFT_VOTER, cf_feature_level(), address,
                               name, err));
    return found(store, identity, &membership, err);
}

cf_status raft_store_join(struct raft_store *store, const struct raft_identity *identity,
                          struct cf_error *err)
{
    return found(store, identity, &(struct raft_membership){0}, err);
}

static cf_status record_key(const char *name, struct cf_buf *key, struct cf_error *err)
{
    if (strlen(name) == 0 || strlen(name) > RAFT_RECORD_NAME_MAX) {
        return cf_fail(err, CF_INVALID, "bad name of a record");
    }
    cf_buf_add_str(key, RECORD_PREFIX);
    cf_buf_add_str(key, name);
    return CF_OK;
}

void store_add_record(struct raft_store *store, struct kv_batch *batch, const char *name,
                      struct cf_slice value)
{
    CF_BUF(key) = {0};
    cf_buf_add_str(&key, RECORD_PREFIX);
    cf_buf_add_str(&key, name);
    if (value.size > 0) {
        kv_batch_put(batch, store->meta, cf_buf_slice(&key), value);
    } else {
        kv_batch_delete(batch, store->meta, cf_buf_slice(&key));
    }
}

cf_status raft_store_put_record(struct raft_store *store, const char *name, struct cf_slice value,
                                struct cf_error *err)
{
    CF_BUF(key) = {0};
    CF_TRY(record_key(name, &key, err));
    if (value.size > 0) {
        return put_meta(store, cf_buf_slice(&key), value, err);
    }
    CF_OWNED(kv_batch) batch = kv_batch_new(store->kv);
    kv_batch_delete(batch, store->meta, cf_buf_slice(&key));
    return kv_commit(store->kv, batch, KV_SYNC, err);
}

cf_status raft_store_get_record(struct raft_store *store, const char *name, struct kv_value *ret,
                                struct cf_error *err)
{
    CF_BUF(key) = {0};
    CF_TRY(record_key(name, &key, err));
    return get_meta(store, cf_buf_slice(&key), ret, err);
}

/* ---- loading */

cf_status store_load_hard_state(struct raft_store *store, struct raft_hard_state *ret,
                                 struct cf_error *err)
{
    KV_VALUE(value) = {0};
    CF_TRY(get_meta(store, KEY_HARD_STATE, &value, err));
    if (value.bytes.size != 25 || value.bytes.data[0] != RECORD_VERSION) {
        return cf_fail(err, CF_CORRUPT, "the record of term and vote is damaged");
    }
    ret->term = cf_get_u64(value.bytes.data + 1);
    ret->vote = cf_get_u64(value.bytes.data + 9);
    ret->commit = cf_get_u64(value.bytes.data + 17);
    return CF_OK;
}

cf_status store_load_base(struct raft_store *store, struct raft_base *ret, struct cf_error *err)
{
    KV_VALUE(value) = {0};
    CF_TRY(get_meta(store, KEY_BASE, &value, err));
    if (value.bytes.size < 17 || value.bytes.data[0] != RECORD_VERSION) {
        return cf_fail(err, CF_CORRUPT, "the record of the log's base is damaged");
    }
    ret->index = cf_get_u64(value.bytes.data + 1);
    ret->term = cf_get_u64(value.bytes.data + 9);
    return raft_membership_decode(cf_slice_from(value.bytes, 17), &ret->membership, err);
}

cf_status raft_store_base_term(struct raft_store *store, uint64_t index, uint64_t *ret,
                               struct cf_error *err)
{
    struct raft_base base;
    CF_TRY(store_load_base(store, &base, err));
    if (base.index != index) {
        return cf_fail(err, CF_NOT_FOUND, "log entry %llu is not there", (unsigned long long)index);
    }
    *ret = base.term;
    return CF_OK;
}

/* The last index, and that the log begins right above its base. */
static cf_status load_bounds(struct raft_store *store, struct raft_loaded *loaded,
                             struct cf_error *err)
{
    uint64_t base = loaded->base.index;
    uint8_t lower[INDEX_KEY_SIZE];
    CF_OWNED(kv_iterator)
    it = kv_iterator_new(kv_now(store->kv), store->log,
                         (struct kv_range){.lower = index_key(lower, base + 1)});
    kv_seek_last(it);
    if (!kv_valid(it)) {
        loaded->last_index = base;
        return kv_iterator_check(it, err);
    }
    if (kv_key(it).size != INDEX_KEY_SIZE) {
        return cf_fail(err, CF_CORRUPT, "the log holds a foreign key");
    }
    loaded->last_index = cf_get_u64(kv_key(it).data);
    kv_seek_first(it);
    if (!kv_valid(it) || cf_get_u64(kv_key(it).data) != base + 1) {
        cf_fail(err, CF_CORRUPT, "the log does not begin at entry %llu",
                (unsigned long long)base + 1);
        cf_error_detail(err,
                        "Entries are missing. Remove this node's data directory and let it join "
                        "its cluster again under a new id.");
        return CF_CORRUPT;
    }
    return CF_OK;
}

static cf_status load_configs(struct raft_store *store, struct raft_loaded *loaded,
                              struct cf_error *err)
{
    uint8_t lower[CONFIG_KEY_SIZE], upper[CONFIG_KEY_SIZE];
    CF_OWNED(kv_iterator)
    it = kv_iterator_new(kv_now(store->kv), store->meta,
                         (struct kv_range){.lower = config_key(lower, loaded->base.index + 1),
                                           .upper = config_key(upper, UINT64_MAX)});
    size_t capacity = 0;
    for (kv_seek_first(it); kv_valid(it); kv_next(it)) {
        if (loaded->config_count == capacity) {
            capacity = cf_max(8, 2 * capacity);
            loaded->configs = cf_realloc(loaded->configs, capacity * sizeof(*loaded->configs));
        }
        uint64_t index = cf_get_u64(kv_key(it).data + kv_key(it).size - 8);
        size_t count = 0;
        struct raft_entry **entry = &loaded->configs[loaded->config_count];
        CF_TRY(raft_store_entries(store, index, index, 0, 1, entry, &count, err));
        loaded->config_count++;
        if ((*entry)->type != RAFT_ENTRY_CONFIG) {
            return cf_fail(err, CF_CORRUPT, "log entry %llu should be a configuration",
                           (unsigned long long)index);
        }
    }
    return kv_iterator_check(it, err);
}

/* Reads what will be applied again: a hole or a wrong byte there is better found now. */
static cf_status check_tail(struct raft_store *store, const struct raft_loaded *loaded,
                            struct cf_error *err)
{
    uint64_t next = loaded->applied + 1, term = loaded->applied_term;
    struct raft_entry *run[64];
    while (next <= loaded->last_index) {
        size_t count = 0;
        cf_status status = raft_store_entries(store, next, loaded->last_index, (size_t)1 << 20,
                                              CF_LENGTH(run), run, &count, err);
        if (status == CF_NOT_FOUND) {
            return cf_fail(err, CF_CORRUPT, "log entry %llu is missing, the log goes on to %llu",
                           (unsigned long long)next, (unsigned long long)loaded->last_index);
        }
        CF_TRY(status);
        for (size_t i = 0; i < count; i++) {
            if (run[i]->term < term) {
                status = cf_fail(err, CF_CORRUPT, "the term falls at log entry %llu",
                                 (unsigned long long)run[i]->index);
            }
            term = run[i]->term;
            raft_entry_unref(run[i]);
        }
        CF_TRY(status);
        next += count;
    }
    return CF_OK;
}

/* RocksDB takes the first bad record of the WAL for the end that a crash tore off. The note, which
 * is written after each sync and promises nothing itself, tells a torn end from a damaged middle. */
static cf_status check_note(struct raft_store *store, struct raft_loaded *loaded,
                            struct cf_error *err)
{
    uint64_t synced = 0;
    if (!kv_noted(store->kv, &synced) || synced <= loaded->last_index) {
        return CF_OK;
    }
    loaded->recovering = true;
    if (!store_is_alone(store)) {
        return CF_OK;
    }
    cf_fail(err, CF_CORRUPT, "the log ends at entry %llu, but entry %llu was written",
            (unsigned long long)loaded->last_index, (unsigned long long)synced);
    cf_error_detail(err,
                    "The write-ahead log is damaged, and there is no other node to fetch what is "
                    "lost from: restore a snapshot. To go on without those entries, remove the "
                    "file \"synced\" from the data directory.");
    return CF_CORRUPT;
}

static cf_status load(struct raft_store *store, struct raft_loaded *loaded, struct cf_error *err)
{
    CF_TRY(store_load_hard_state(store, &loaded->hard_state, err));
    CF_TRY(store_load_base(store, &loaded->base, err));
    atomic_store(&store->base_index, loaded->base.index);
    CF_TRY(load_bounds(store, loaded, err));
    CF_TRY(load_configs(store, loaded, err));
    struct raft_applied applied;
    CF_TRY(raft_store_read_applied(kv_now(store->kv), store->state, &applied, err));
    if (applied.index < loaded->base.index) {
        return cf_fail(err, CF_CORRUPT, "the state is at entry %llu, the log begins after %llu",
                       (unsigned long long)applied.index, (unsigned long long)loaded->base.index);
    }
    loaded->applied = applied.index;
    uint32_t level; /* whoever starts needs it next: damage there is met where it can be repaired */
    CF_TRY(raft_store_read_level(kv_now(store->kv), store->state, &level, err));
    /* Made a cluster of one by its operator: what it has is what there is. */
    loaded->recovering = store_is_recovering(store) && !store_is_alone(store);
    CF_TRY(check_note(store, loaded, err));
    loaded->applied_term = applied.term;
    atomic_store(&store->last_index, loaded->last_index);
    return check_tail(store, loaded, err);
}

cf_status raft_store_load(struct raft_store *store, struct raft_loaded *ret, struct cf_error *err)
{
    *ret = (struct raft_loaded){0};
    if (!store->has_identity) {
        return cf_fail(err, CF_UNINITIALIZED, "this node belongs to no cluster yet");
    }
    cf_status status = load(store, ret, err);
    if (status == CF_NOT_FOUND) {
        status = cf_fail(err, CF_CORRUPT, "a record of the raft log is missing");
    }
    if (status != CF_OK) {
        raft_loaded_done(ret);
    }
    return status;
}

void raft_loaded_done(struct raft_loaded *loaded)
{
    for (size_t i = 0; i < loaded->config_count; i++) {
        raft_entry_unref(loaded->configs[i]);
    }
    cf_free(loaded->configs);
    *loaded = (struct raft_loaded){0};
}

/* ---- the state */

struct kv_family *raft_store_state(struct raft_store *store)
{
    pthread_mutex_lock(&store->lock);
    struct kv_family *state = kv_family_ref(store->state);
    pthread_mutex_unlock(&store->lock);
    return state;
}

void raft_store_set_state(struct raft_store *store, struct kv_family *state)
{
    pthread_mutex_lock(&store->lock);
    struct kv_family *old = store->state;
    store->state = kv_family_ref(state);
    pthread_mutex_unlock(&store->lock);
    kv_family_unref(old);
}

void raft_store_add_applied(struct kv_batch *batch, struct kv_family *state,
                            struct raft_applied applied, const struct raft_membership *membership)
{
    uint8_t bytes[17] = {RECORD_VERSION};
    cf_put_u64(bytes + 1, applied.index);
    cf_put_u64(bytes + 9, applied.term);
    kv_batch_put(batch, state, KEY_APPLIED, cf_slice_of(bytes, sizeof(bytes)));
    if (membership != NULL) {
        CF_BUF(config) = {0};
        cf_buf_add_byte(&config, RECORD_VERSION);
        cf_buf_add_u64(&config, applied.index);
        raft_membership_encode(membership, &config);
        kv_batch_put(batch, state, KEY_CONFIG, cf_buf_slice(&config));
    }
}

void raft_store_set_state_wal(struct raft_store *store, bool state_wal)
{
    store->state_wal = state_wal;
}

enum kv_durability raft_store_state_durability(const struct raft_store *store)
{
    return store->state_wal ? KV_WAL : KV_NO_WAL;
}

static cf_status decode_applied(cf_status got, const struct kv_value *value,
                                struct raft_applied *ret, struct cf_error *err)
{
    *ret = (struct raft_applied){0};
    if (got == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(got);
    if (value->bytes.size != 17 || value->bytes.data[0] != RECORD_VERSION) {
        return cf_fail(err, CF_CORRUPT, "the record of the applied index is damaged");
    }
    ret->index = cf_get_u64(value->bytes.data + 1);
    ret->term = cf_get_u64(value->bytes.data + 9);
    return CF_OK;
}

cf_status raft_store_read_applied(struct kv_view view, struct kv_family *state,
                                  struct raft_applied *ret, struct cf_error *err)
{
    KV_VALUE(value) = {0};
    cf_status got = kv_get(view, state, KEY_APPLIED, &value, err);
    return decode_applied(got, &value, ret, err);
}

void raft_store_add_level(struct kv_batch *batch, struct kv_family *state, uint32_t level)
{
    uint8_t bytes[5] = {RECORD_VERSION};
    cf_put_u32(bytes + 1, level);
    kv_batch_put(batch, state, KEY_LEVEL, cf_slice_of(bytes, sizeof(bytes)));
}

cf_status raft_store_read_level(struct kv_view view, struct kv_family *state, uint32_t *ret,
                                struct cf_error *err)
{
    KV_VALUE(value) = {0};
    *ret = LEVEL_FIRST;
    cf_status got = kv_get(view, state, KEY_LEVEL, &value, err);
    if (got == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(got);
    if (value.bytes.size != 5 || value.bytes.data[0] != RECORD_VERSION) {
        return cf_fail(err, CF_CORRUPT, "the record of the state's feature level is damaged");
    }
    *ret = cf_get_u32(value.bytes.data + 1);
    return CF_OK;
}

cf_status raft_store_flushed(struct raft_store *store, struct raft_applied *ret,
                             struct cf_error *err)
{
    CF_OWNED(kv_family) state = raft_store_state(store);
    KV_VALUE(value) = {0};
    cf_status got = kv_get_persisted(store->kv, state, KEY_APPLIED, &value, err);
    return decode_applied(got, &value, ret, err);
}

cf_status raft_store_stage(struct raft_store *store, struct kv_family **ret, struct cf_error *err)
{
    CF_TRY(raft_store_drop_others(store, err));
    char name[KV_NAME_MAX + 1];
    snprintf(name, sizeof(name), STATE_PREFIX "%llu", (unsigned long long)++store->state_number);
    return kv_family_create(store->kv, name, ret, err);
}
