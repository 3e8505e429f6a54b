/* consensus/driver/store_log.c: the log on disk: records of entries, the one batch of a write. */
#include <assert.h>
#include <string.h>

#include "consensus/driver/store_int.h"

/* version, type, flags, 0, crc32c, term; then the payload. The index is the key. */
#define ENTRY_HEADER 16

static void encode_header(uint8_t to[ENTRY_HEADER], const struct raft_entry *entry)
{
    to[0] = RECORD_VERSION;
    to[1] = entry->type;
    to[2] = entry->flags;
    to[3] = 0;
    cf_put_u32(to + 4, entry->crc32c);
    cf_put_u64(to + 8, entry->term);
}

cf_status store_decode_entry(uint64_t index, struct cf_slice bytes, struct raft_entry **ret,
                             struct cf_error *err)
{
    if (bytes.size < ENTRY_HEADER || bytes.data[0] != RECORD_VERSION || bytes.data[3] != 0) {
        return cf_fail(err, CF_CORRUPT, "log entry %llu is damaged", (unsigned long long)index);
    }
    cf_status status =
        raft_entry_load(cf_get_u64(bytes.data + 8), index, bytes.data[1], bytes.data[2],
                        cf_get_u32(bytes.data + 4), cf_slice_from(bytes, ENTRY_HEADER), ret, err);
    if (status != CF_OK) {
        cf_error_prefix(err, status, "log entry %llu", (unsigned long long)index);
        return CF_CORRUPT; /* whatever it is, it was not written like that */
    }
    return CF_OK;
}

void store_add_hard_state(struct raft_store *store, struct kv_batch *batch,
                          const struct raft_hard_state *hard_state)
{
    uint8_t bytes[25] = {RECORD_VERSION};
    cf_put_u64(bytes + 1, hard_state->term);
    cf_put_u64(bytes + 9, hard_state->vote);
    cf_put_u64(bytes + 17, hard_state->commit);
    kv_batch_put(batch, store->meta, KEY_HARD_STATE, cf_slice_of(bytes, sizeof(bytes)));
}

void store_add_base(struct raft_store *store, struct kv_batch *batch, const struct raft_base *base)
{
    CF_BUF(bytes) = {0};
    cf_buf_add_byte(&bytes, RECORD_VERSION);
    cf_buf_add_u64(&bytes, base->index);
    cf_buf_add_u64(&bytes, base->term);
    raft_membership_encode(&base->membership, &bytes);
    kv_batch_put(batch, store->meta, KEY_BASE, cf_buf_slice(&bytes));
}

/* What points to the configurations among the entries [from, to]. */
static void forget_configs(struct raft_store *store, struct kv_batch *batch, uint64_t from,
                           uint64_t to)
{
    uint8_t first[CONFIG_KEY_SIZE], past[CONFIG_KEY_SIZE];
    kv_batch_delete_range(batch, store->meta, config_key(first, from), config_key(past, to + 1));
}

void store_delete_entries(struct raft_store *store, struct kv_batch *batch, uint64_t from,
                          uint64_t to)
{
    if (from > to) {
        return;
    }
    uint8_t first[INDEX_KEY_SIZE], past[INDEX_KEY_SIZE];
    kv_batch_delete_range(batch, store->log, index_key(first, from), index_key(past, to + 1));
    forget_configs(store, batch, from, to);
}

static void add_entry(struct raft_store *store, struct kv_batch *batch,
                      const struct raft_entry *entry)
{
    uint8_t key[INDEX_KEY_SIZE], header[ENTRY_HEADER];
    encode_header(header, entry);
    struct cf_slice parts[] = {cf_slice_of(header, ENTRY_HEADER), entry->payload};
    kv_batch_put_parts(batch, store->log, index_key(key, entry->index), parts, 2);
    if (entry->type == RAFT_ENTRY_CONFIG) {
        uint8_t config[CONFIG_KEY_SIZE];
        kv_batch_put(batch, store->meta, config_key(config, entry->index), CF_SLICE_EMPTY);
    }
}

void raft_store_add(struct raft_store *store, struct kv_batch *batch,
                    const struct raft_store_write *write)
{
    uint64_t last = atomic_load(&store->last_index);
    if (write->install != NULL) {
        /* All in one batch: a crash leaves the old state with the old log, or the new with none. */
        store_delete_entries(store, batch, 0, last);
        store_add_base(store, batch, write->install);
        atomic_store(&store->base_index, write->install->index);
        kv_batch_put(batch, store->meta, KEY_STATE, cf_slice_str(kv_family_name(write->switch_to)));
        last = write->install->index;
    }
    if (write->truncate_from != 0) {
        store_delete_entries(store, batch, write->truncate_from, last);
        last = write->truncate_from - 1;
    }
    for (size_t i = 0; i < write->entry_count; i++) {
        add_entry(store, batch, write->entries[i]);
        last = write->entries[i]->index;
    }
    if (write->hard_state != NULL) {
        store_add_hard_state(store, batch, write->hard_state);
    }
    if (write->compact != NULL) {
        /* The new base alone: nobody reads below it, and raft_store_drop_log_files takes the files.
         * A range delete would lie in a file with the newest entries, which then reaches from the
         * cut to the end and has to be merged with all that is kept, again and again: that cost
         * as much as everything else that the disk's thread does. */
        forget_configs(store, batch, 0, write->compact->index);
        store_add_base(store, batch, write->compact);
        atomic_store(&store->base_index, write->compact->index);
    }
    atomic_store(&store->last_index, last);
}

/* What is left below the base in files that hold more goes with a later cut. */
cf_status raft_store_drop_log_files(struct raft_store *store, uint64_t index, struct cf_error *err)
{
    uint8_t first[INDEX_KEY_SIZE], last[INDEX_KEY_SIZE];
    return kv_drop_files(store->log, index_key(first, 0), index_key(last, index), err);
}

cf_status raft_store_end_log_file(struct raft_store *store, uint64_t *ret_last,
                                  struct cf_error *err)
{
    CF_TRY(kv_flush(store->log, err));
    *ret_last = atomic_load(&store->last_index);
    return CF_OK;
}

/* Whole files of the log go, whatever snapshots see: a deletion of entries would wait for all views of today to end,
 * which on an idle node they don't. The store's own log of writes goes with the last family that was flushed. */
cf_status raft_store_purge(struct raft_store *store, uint64_t index, struct cf_error *err)
{
    CF_OWNED(kv_family) state = raft_store_state(store);
    CF_TRY(raft_store_drop_log_files(store, index, err));
    CF_TRY(kv_rewrite(state, CF_SLICE_EMPTY, CF_SLICE_EMPTY, err));
    CF_TRY(kv_flush(store->meta, err));
    return kv_forget_names(store->kv, err);
}

uint64_t raft_store_purged(struct raft_store *store)
{
    KV_VALUE(value) = {0};
    cf_status status = kv_get(kv_now(store->kv), store->meta, KEY_PURGED, &value, NULL);
    return status == CF_OK && value.bytes.size == 8 ? cf_get_u64(value.bytes.data) : 0;
}

cf_status raft_store_set_purged(struct raft_store *store, uint64_t index, struct cf_error *err)
{
    CF_OWNED(kv_batch) batch = kv_batch_new(store->kv);
    uint8_t bytes[8];
    cf_put_u64(bytes, index);
    kv_batch_put(batch, store->meta, KEY_PURGED, cf_slice_of(bytes, sizeof(bytes)));
    return kv_commit(store->kv, batch, KV_SYNC, err);
}

bool raft_store_has_older_snapshot(struct raft_store *store, uint64_t number)
{
    uint64_t oldest = kv_oldest_snapshot(store->kv);
    return oldest != 0 && oldest < number;
}

void raft_store_allow_purges(struct raft_store *store, bool allowed)
{
    kv_allow_rewrites(store->kv, allowed);
}

cf_status raft_store_sync(struct raft_store *store, struct kv_batch *batch, struct cf_error *err)
{
    CF_TRY(kv_commit(store->kv, batch, KV_SYNC, err));
    kv_note(store->kv, atomic_load(&store->last_index));
    return CF_OK;
}

cf_status raft_store_entries(struct raft_store *store, uint64_t from, uint64_t to, size_t max_bytes,
                             size_t max_count, struct raft_entry **ret, size_t *ret_count,
                             struct cf_error *err)
{
    *ret_count = 0;
    if (from <= atomic_load(&store->base_index)) {
        return CF_NOT_FOUND;
    }
    uint8_t lower[INDEX_KEY_SIZE], upper[INDEX_KEY_SIZE];
    struct kv_range range = {.lower = index_key(lower, from),
                             .bulk = max_bytes >= (size_t)256 << 10};
    if (to < UINT64_MAX) {
        range.upper = index_key(upper, to + 1);
    }
    CF_OWNED(kv_iterator) it = kv_iterator_new(kv_now(store->kv), store->log, range);
    size_t count = 0, bytes = 0;
    cf_status status = CF_OK;
    for (kv_seek_first(it); kv_valid(it) && count < max_count; kv_next(it)) {
        if (kv_key(it).size != INDEX_KEY_SIZE || cf_get_u64(kv_key(it).data) != from + count) {
            break; /* a gap: what is before it is fine */
        }
        size_t size =
            kv_bytes(it).size - cf_min(kv_bytes(it).size, ENTRY_HEADER) + RAFT_ENTRY_OVERHEAD;
        if (count > 0 && bytes + size > max_bytes) {
            break;
        }
        status = store_decode_entry(from + count, kv_bytes(it), &ret[count], err);
        if (status != CF_OK) {
            break;
        }
        bytes += size;
        count++;
    }
    if (status == CF_OK && !kv_valid(it)) {
        status = kv_iterator_check(it, err);
    }
    if (status == CF_OK && count == 0) {
        status =
            cf_fail(err, CF_NOT_FOUND, "log entry %llu is not there", (unsigned long long)from);
    }
    if (status != CF_OK && count > 0) {
        status = CF_OK; /* what could be read; the next call meets the trouble first */
    }
    *ret_count = count;
    return status;
}

cf_status raft_store_term(struct raft_store *store, uint64_t index, uint64_t *ret,
                          struct cf_error *err)
{
    uint8_t key[INDEX_KEY_SIZE];
    KV_VALUE(value) = {0};
    if (index <= atomic_load(&store->base_index)) {
        return CF_NOT_FOUND;
    }
    CF_TRY(kv_get(kv_now(store->kv), store->log, index_key(key, index), &value, err));
    if (value.bytes.size < ENTRY_HEADER || value.bytes.data[0] != RECORD_VERSION) {
        return cf_fail(err, CF_CORRUPT, "log entry %llu is damaged", (unsigned long long)index);
    }
    *ret = cf_get_u64(value.bytes.data + 8);
    return CF_OK;
}

uint64_t raft_store_log_bytes(struct raft_store *store)
{
    return kv_approximate_size(store->log, CF_SLICE_EMPTY, CF_SLICE_EMPTY);
}

uint64_t raft_store_table_bytes(struct raft_store *store)
{
    CF_OWNED(kv_family) state = raft_store_state(store);
    return raft_store_log_bytes(store) + kv_approximate_size(state, CF_SLICE_EMPTY, CF_SLICE_EMPTY);
}
