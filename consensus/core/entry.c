/* consensus/core/entry.c: entries with their checksum and reference count. */
#include "consensus/core/raft_int.h"

/* Everything beside the payload that the checksum covers, in a fixed byte order. */
static uint32_t sum(uint32_t payload_crc, uint64_t term, uint64_t index, uint8_t type,
                    uint8_t flags)
{
    uint8_t header[18];
    header[0] = type;
    header[1] = flags;
    cf_put_u64(header + 2, term);
    cf_put_u64(header + 10, index);
    return raft_crc32c(payload_crc, header, sizeof(header));
}

static struct raft_entry *allocate(uint8_t type, uint8_t flags, struct cf_slice payload)
{
    struct raft_entry *entry = cf_alloc(sizeof(*entry) + payload.size);
    uint8_t *bytes = (uint8_t *)(entry + 1);
    if (payload.size != 0) {
        memcpy(bytes, payload.data, payload.size);
    }
    *entry = (struct raft_entry){
        .type = type, .flags = flags, .payload = cf_slice_of(bytes, payload.size)};
    atomic_init(&entry->refs, 1);
    return entry;
}

struct raft_entry *raft_entry_new(enum raft_entry_type type, uint8_t flags, struct cf_slice payload)
{
    assert(payload.size <= RAFT_PAYLOAD_MAX);
    assert(type < RAFT_ENTRY_TYPES);
    struct raft_entry *entry = allocate((uint8_t)type, flags, payload);
    entry->payload_crc = raft_crc32c(0, entry->payload.data, entry->payload.size);
    return entry;
}

void raft_entry_seal(struct raft_entry *entry, uint64_t term, uint64_t index)
{
    entry->term = term;
    entry->index = index;
    entry->crc32c = sum(entry->payload_crc, term, index, entry->type, entry->flags);
}

cf_status raft_entry_load(uint64_t term, uint64_t index, uint8_t type, uint8_t flags,
                          uint32_t crc32c, struct cf_slice payload, struct raft_entry **ret,
                          struct cf_error *err)
{
    if (payload.size > RAFT_PAYLOAD_MAX) {
        return cf_fail(err, CF_TOO_LARGE, "log entry is too large");
    }
    if (term == 0 || index == 0 || type >= RAFT_ENTRY_TYPES) {
        return cf_fail(err, CF_INVALID, "malformed log entry");
    }
    uint32_t payload_crc = raft_crc32c(0, payload.data, payload.size);
    if (sum(payload_crc, term, index, type, flags) != crc32c) {
        return cf_fail(err, CF_CORRUPT, "log entry fails its checksum");
    }
    struct raft_entry *entry = allocate(type, flags, payload);
    entry->term = term;
    entry->index = index;
    entry->crc32c = crc32c;
    entry->payload_crc = payload_crc;
    *ret = entry;
    return CF_OK;
}

cf_status raft_entry_check(const struct raft_entry *entry, struct cf_error *err)
{
    uint32_t payload_crc = raft_crc32c(0, entry->payload.data, entry->payload.size);
    if (sum(payload_crc, entry->term, entry->index, entry->type, entry->flags) != entry->crc32c) {
        return cf_fail(err, CF_CORRUPT, "log entry fails its checksum");
    }
    return CF_OK;
}

cf_status raft_entries_check(struct raft_entry *const *entries, size_t count, struct cf_error *err)
{
    for (size_t i = 0; i < count; i++) {
        CF_TRY(raft_entry_check(entries[i], err));
    }
    return CF_OK;
}

struct raft_entry *raft_entry_ref(struct raft_entry *entry)
{
    unsigned before = atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
    assert(before != 0);
    return entry;
}

void raft_entry_unref(struct raft_entry *entry)
{
    if (entry == NULL) {
        return;
    }
    unsigned before = atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel);
    assert(before != 0);
    if (before == 1) {
        cf_free(entry);
    }
}

size_t raft_entry_size(const struct raft_entry *entry)
{
    return entry->payload.size + RAFT_ENTRY_OVERHEAD;
}
