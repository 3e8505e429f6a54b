/* consensus/driver/store_repair.c
 *
 * What is damaged is never guessed (consensus.md 13.4). A node with peers keeps its identity, its
 * term and its vote, drops what it cannot trust, and remembers in `meta` that it did: until its
 * leader has given it back whatever it may have acknowledged, it neither votes nor campaigns. A node
 * on its own has nobody to ask and refuses to start, with a text that says what to do.
 */
#include <inttypes.h>
#include <string.h>

#include "consensus/driver/store_int.h"
#include "node/base/log.h"

#define KEY_DAMAGED CF_SLICE("damaged")     /* the state, found while it ran */
#define KEY_RECOVERING CF_SLICE("recovering") /* something was dropped and is not back yet */

#define NOTE_DAMAGED UINT64_MAX

static bool has_record(struct raft_store *store, struct cf_slice key)
{
    KV_VALUE(value) = {0};
    return kv_get(kv_now(store->kv), store->meta, key, &value, NULL) == CF_OK;
}

static cf_status put_record(struct raft_store *store, struct cf_slice key, bool present,
                            struct cf_error *err)
{
    CF_OWNED(kv_batch) batch = kv_batch_new(store->kv);
    if (present) {
        kv_batch_put(batch, store->meta, key, CF_SLICE("1"));
    } else {
        kv_batch_delete(batch, store->meta, key);
    }
    return kv_commit(store->kv, batch, KV_SYNC, err);
}

void raft_store_set_damaged(struct raft_store *store)
{
    if (!store_is_alone(store) && put_record(store, KEY_DAMAGED, true, NULL) != CF_OK) {
        kv_note(store->kv, NOTE_DAMAGED); /* RocksDB may refuse writes by now */
    }
}

bool store_is_recovering(struct raft_store *store)
{
    return has_record(store, KEY_RECOVERING);
}

cf_status raft_store_set_recovering(struct raft_store *store, struct cf_error *err)
{
    return put_record(store, KEY_RECOVERING, true, err);
}

cf_status raft_store_recovered(struct raft_store *store, struct cf_error *err)
{
    return put_record(store, KEY_RECOVERING, false, err);
}

/* By the newest configuration that can be read. */
bool store_is_alone(struct raft_store *store)
{
    struct raft_base base;
    if (!store->has_identity || store_load_base(store, &base, NULL) != CF_OK) {
        return true;
    }
    struct raft_membership members = base.membership, newer;
    uint8_t first[INDEX_KEY_SIZE];
    struct kv_range range = {.lower = index_key(first, base.index + 1), .bulk = true};
    CF_OWNED(kv_iterator) it = kv_iterator_new(kv_now(store->kv), store->log, range);
    for (kv_seek_first(it); kv_valid(it); kv_next(it)) {
        struct raft_entry *entry = NULL;
        if (kv_key(it).size != INDEX_KEY_SIZE ||
            store_decode_entry(cf_get_u64(kv_key(it).data), kv_bytes(it), &entry, NULL) != CF_OK) {
            continue;
        }
        if (entry->type == RAFT_ENTRY_CONFIG &&
            raft_membership_decode(entry->payload, &newer, NULL) == CF_OK) {
            members = newer;
        }
        raft_entry_unref(entry);
    }
    return members.count == 1 && members.members[0].id == store->identity.node_id;
}

/* The log ends before the first entry that does not read well. */
static cf_status cut_log(struct raft_store *store, struct cf_error *err)
{
    struct raft_base base;
    struct raft_applied applied;
    CF_TRY(store_load_base(store, &base, err));
    CF_TRY(raft_store_read_applied(kv_now(store->kv), store->state, &applied, err));
    uint64_t next = base.index + 1, term = base.term;
    for (bool sound = true; sound;) {
        struct raft_entry *run[64];
        size_t count = 0;
        sound = raft_store_entries(store, next, UINT64_MAX - 1, (size_t)1 << 20, CF_LENGTH(run),
                                   run, &count, NULL) == CF_OK;
        for (size_t i = 0; i < count; i++) {
            sound = sound && run[i]->term >= term;
            term = run[i]->term;
            next += sound;
            raft_entry_unref(run[i]);
        }
    }
    cf_err("raft",
           "log entry %" PRIu64 " is damaged or missing: this node drops its log from there on and "
           "fetches it from its leader; until then it does not vote",
           next);
    CF_OWNED(kv_batch) batch = kv_batch_new(store->kv);
    store_delete_entries(store, batch, next, UINT64_MAX - 1);
    kv_batch_put(batch, store->meta, KEY_RECOVERING, CF_SLICE("1"));
    return kv_commit(store->kv, batch, KV_SYNC, err);
}

/* Everything that others have as well goes; term and vote stay. In one batch. */
static cf_status reset(struct raft_store *store, struct cf_error *err)
{
    struct raft_hard_state hard;
    CF_TRY(store_load_hard_state(store, &hard, err));
    cf_err("raft", "the state is damaged: this node drops its state and log and fetches them from "
                   "its leader; until then it does not vote");
    hard.commit = 0;
    CF_OWNED(kv_family) fresh = NULL;
    CF_TRY(raft_store_stage(store, &fresh, err));
    CF_OWNED(kv_batch) batch = kv_batch_new(store->kv);
    store_delete_entries(store, batch, 0, UINT64_MAX - 1);
    store_add_base(store, batch, &(struct raft_base){0});
    store_add_hard_state(store, batch, &hard);
    kv_batch_put(batch, store->meta, KEY_STATE, cf_slice_str(kv_family_name(fresh)));
    kv_batch_put(batch, store->meta, KEY_RECOVERING, CF_SLICE("1"));
    kv_batch_delete(batch, store->meta, KEY_DAMAGED);
    CF_TRY(kv_commit(store->kv, batch, KV_SYNC, err));
    atomic_store(&store->base_index, 0);
    kv_note(store->kv, 0);
    raft_store_set_state(store, fresh);
    return raft_store_drop_others(store, err);
}

cf_status raft_store_load_or_repair(struct raft_store *store, struct raft_loaded *ret,
                                    struct cf_error *err)
{
    uint64_t synced = 0;
    bool noted = kv_noted(store->kv, &synced) && synced == NOTE_DAMAGED;
    if ((noted || has_record(store, KEY_DAMAGED)) && !store_is_alone(store)) {
        CF_TRY(reset(store, err));
    }
    cf_status status = raft_store_load(store, ret, err);
    if (status != CF_CORRUPT || store_is_alone(store)) {
        return status;
    }
    cf_err("raft", "%s", err != NULL ? err->message : "the store is damaged");
    if (cut_log(store, err) == CF_OK) {
        status = raft_store_load(store, ret, err);
    }
    if (status == CF_CORRUPT) {
        CF_TRY(reset(store, err));
        status = raft_store_load(store, ret, err);
    }
    return status;
}
