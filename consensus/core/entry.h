/* consensus/core/entry.h
 *
 * One log entry: immutable once it has its index, reference counted (it is shared by the core, the
 * log writer, the applier and frames on their way), one allocation together with its payload.
 * The checksum covers type, flags, term, index and payload; it is computed once, when the leader
 * assigns the index, and travels unchanged to every disk and peer.
 */
#ifndef COFFER_CONSENSUS_CORE_ENTRY_H
#define COFFER_CONSENSUS_CORE_ENTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/slice.h"
#include "node/base/status.h"

/* Reach disk and wire as numbers: add at the end only. */
enum raft_entry_type {
    RAFT_ENTRY_NOOP = 0,       /* first entry of each term; empty payload */
    RAFT_ENTRY_DATA = 1,       /* one command of the state machine */
    RAFT_ENTRY_DATA_BATCH = 2, /* several; the core does not look inside */
    RAFT_ENTRY_CONFIG = 3,     /* payload: raft_membership_encode() */
    RAFT_ENTRY_BARRIER = 4,    /* a point in the log without effect, proposed by the host */
    RAFT_ENTRY_TYPES
};

#define RAFT_PAYLOAD_MAX ((size_t)12 * 1024 * 1024) /* design 5.2: an entry is 12 MiB */
/* What an entry weighs in windows and limits beside its payload. */
#define RAFT_ENTRY_OVERHEAD 64

struct raft_entry {
    uint64_t term, index; /* 0 until raft_propose() */
    uint32_t crc32c;      /* of the whole entry; 0 until raft_propose() */
    uint8_t type;         /* enum raft_entry_type */
    uint8_t flags;        /* the host's; carried and checksummed, not interpreted */
    struct cf_slice payload;
    uint32_t payload_crc; /* part of crc32c, so that large payloads are summed by who made them */
    atomic_uint refs;
};

/* A proposal: copies the payload (asserts size <= RAFT_PAYLOAD_MAX: check client input before). The
 * caller holds one reference. Thread: any. */
struct raft_entry *raft_entry_new(enum raft_entry_type type, uint8_t flags,
                                  struct cf_slice payload);

/* An entry that comes from disk or wire: copies the payload and checks everything. CF_CORRUPT when
 * the checksum does not fit, CF_INVALID for an unknown type, index 0 or term 0, CF_TOO_LARGE. The
 * caller holds one reference. Thread: any. */
CF_CHECKED cf_status raft_entry_load(uint64_t term, uint64_t index, uint8_t type, uint8_t flags,
                                     uint32_t crc32c, struct cf_slice payload,
                                     struct raft_entry **ret, struct cf_error *err);

/* Gives a fresh entry its place and its checksum: the core's business, and that of a recovery while
 * no core runs. */
void raft_entry_seal(struct raft_entry *entry, uint64_t term, uint64_t index);

/* Sums again and compares: CF_CORRUPT when a byte changed since. Thread: any. */
CF_CHECKED cf_status raft_entry_check(const struct raft_entry *entry, struct cf_error *err);

/* All of a run. */
CF_CHECKED cf_status raft_entries_check(struct raft_entry *const *entries, size_t count,
                                        struct cf_error *err);

/* Reference counting, thread-safe. unref(NULL) is fine. */
struct raft_entry *raft_entry_ref(struct raft_entry *entry);
void raft_entry_unref(struct raft_entry *entry);

/* Weight in windows and limits: payload + RAFT_ENTRY_OVERHEAD. */
size_t raft_entry_size(const struct raft_entry *entry);

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), continued from `crc` (0 to begin). Uses the
 * processor's instruction where there is one. Thread: any. */
uint32_t raft_crc32c(uint32_t crc, const void *bytes, size_t size);

#endif
