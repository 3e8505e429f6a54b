/* consensus/driver/recover.c: see recover.h. */
#include "consensus/driver/recover.h"

#include "consensus/driver/driver_int.h"
#include "consensus/driver/store_int.h"
#include "node/base/level.h"

#define GENERATION_SHIFT 32

uint64_t raft_epoch_generation(uint64_t epoch)
{
    return epoch >> GENERATION_SHIFT;
}

static cf_status newest_members(const struct raft_loaded *loaded, struct raft_membership *ret,
                                struct cf_error *err)
{
    *ret = loaded->base.membership;
    return loaded->config_count == 0
               ? CF_OK
               : raft_membership_decode(loaded->configs[loaded->config_count - 1]->payload, ret,
                                        err);
}

static cf_status plan(const struct raft_loaded *loaded, const struct cf_random *random,
                      const char *address, const char *name, struct raft_recovery *is,
                      struct cf_error *err)
{
    uint32_t draw;
    CF_TRY(newest_members(loaded, &is->members, err));
    if (loaded->applied > loaded->last_index) {
        return cf_fail(err, CF_CORRUPT,
                       "the log of this node ends at entry %llu, before its state at %llu: recover "
                       "another node",
                       (unsigned long long)loaded->last_index, (unsigned long long)loaded->applied);
    }
    if (is->members.count == 0 || loaded->last_index == 0) {
        return cf_fail(err, CF_INVALID, "this node joined, but got nothing of its cluster's log: "
                                        "recover another node");
    }
    is->term = loaded->hard_state.term;
    is->last_index = loaded->last_index;
    is->applied = loaded->applied;
    is->commit = cf_max(loaded->hard_state.commit, loaded->applied);
    cf_random_fill(random, &draw, sizeof(draw));
    is->epoch = (raft_epoch_generation(is->identity.recovery_epoch) + 1) << GENERATION_SHIFT | draw;
    is->entry_index = is->last_index + 1;
    is->entry_term = is->term + RAFT_RECOVERY_TERMS;
    return raft_membership_set(&is->next, is->identity.node_id, RAFT_VOTER, cf_feature_level(), address,
                               name, err);
}

cf_status raft_recovery_plan(struct raft_store *store, const struct cf_random *random,
                             const char *address, const char *name, struct raft_recovery *ret,
                             struct cf_error *err)
{
    struct raft_loaded loaded;
    struct raft_recovery is = {.identity = raft_store_identity(store)};
    CF_TRY(raft_store_load(store, &loaded, err));
    cf_status status = plan(&loaded, random, address, name, &is, err);
    if (status == CF_OK) {
        status = loaded.last_index == loaded.base.index
                     ? raft_store_base_term(store, loaded.last_index, &is.last_term, err)
                     : raft_store_term(store, loaded.last_index, &is.last_term, err);
    }
    raft_loaded_done(&loaded);
    CF_TRY(status);
    *ret = is;
    return CF_OK;
}

cf_status raft_recovery_write(struct raft_store *store, const struct raft_recovery *recovery,
                              struct cf_error *err)
{
    CF_BUF(payload) = {0};
    CF_OWNED(kv_batch) batch = kv_batch_new(store->kv);
    struct raft_identity identity = recovery->identity;
    identity.recovery_epoch = recovery->epoch;
    raft_membership_encode(&recovery->next, &payload);
    struct raft_entry *entry =
        raft_entry_new(RAFT_ENTRY_CONFIG, 0, cf_buf_slice(&payload));
    raft_entry_seal(entry, recovery->entry_term, recovery->entry_index);
    struct raft_hard_state hard_state = {.term = recovery->entry_term,
                                         .commit = cf_min(recovery->commit, recovery->last_index)};
    raft_store_add(store, batch, &(struct raft_store_write){.entries = &entry,
                                                            .entry_count = 1,
                                                            .hard_state = &hard_state});
    store_add_identity(store, batch, &identity);
    store_add_record(store, batch, RAFT_SUPERSEDED_RECORD, CF_SLICE_EMPTY);
    store_add_record(store, batch, RAFT_AMNESIAC_RECORD, CF_SLICE_EMPTY);
    uint8_t found[16];
    cf_put_u64(found, recovery->last_term);
    cf_put_u64(found + 8, recovery->last_index);
    store_add_record(store, batch, RAFT_RECOVERED_RECORD, cf_slice_of(found, sizeof(found)));
    cf_status status = raft_store_sync(store, batch, err);
    raft_entry_unref(entry);
    return status;
}
