/* consensus/driver/store.h
 *
 * What a node keeps on its disk, in one key-value store:
 *
 *   family `log`        8-byte big-endian index -> version, type, flags, crc32c, term, payload
 *   family `meta`       identity, hard state, base of the log, name of the current state family,
 *                       where the CONFIG entries are, and opaque records of others (TLS keys)
 *   family `state-<n>`  the state machine: keys and values are opaque here, except the reserved
 * keys that begin with a zero byte: "\0applied", "\0config" and "\0level"
 *
 * `log` and `meta` are written with the WAL and synced; the state without, with "\0applied" in the
 * same batch as the effects (consensus.md 11). A snapshot is installed into a fresh state family
 * and switched by one synced record of `meta`; hard state and identity are never replaced.
 *
 * Thread: any, for everything below. One writer at a time for log and hard state (the log writer),
 * and one for the current state family (the applier).
 */
#ifndef COFFER_CONSENSUS_DRIVER_STORE_H
#define COFFER_CONSENSUS_DRIVER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/core/entry.h"
#include "consensus/core/raft.h"
#include "node/base/own.h"
#include "node/base/status.h"
#include "node/storage/kv.h"

struct raft_store;

#define RAFT_CLUSTER_ID_SIZE 16
#define RAFT_RECORD_NAME_MAX ((size_t)64)

struct raft_identity {
    uint64_t node_id; /* random, never 0, never changes */
    uint8_t cluster_id[RAFT_CLUSTER_ID_SIZE];
    uint64_t recovery_epoch; /* raised by a forced recovery: peers of another one are refused */
};

/* Opens the families (making those that are missing, dropping state families that a crash left
 * behind) and checks what can be checked at once: the records decode, the log begins behind its
 * base and ends where its last entry says. CF_CORRUPT says what is wrong and what to do. `kv` is
 * borrowed and must outlive the store. */
CF_CHECKED cf_status raft_store_open(struct kv *kv, struct raft_store **ret, struct cf_error *err);
/* Not while anything of it is in use. NULL is fine. */
void raft_store_free(struct raft_store *store);
CF_DEFINE_OWNED(raft_store);
struct kv *raft_store_kv(struct raft_store *store);

/* ---- identity ------------------------------------------------------------------------------- */

/* False on a store that was neither bootstrapped nor joined yet. */
bool raft_store_has_identity(const struct raft_store *store);
struct raft_identity raft_store_identity(const struct raft_store *store);
/* The first node of a new cluster: its only voter. Durable at the return. CF_EXISTS when the store
 * has an identity already. */
CF_CHECKED cf_status raft_store_bootstrap(struct raft_store *store,
                                          const struct raft_identity *identity, const char *address,
                                          const char *name, struct cf_error *err);
/* A node that waits to be added by a leader of that cluster: its configuration comes by log or
 * snapshot. Durable at the return. CF_EXISTS. */
CF_CHECKED cf_status raft_store_join(struct raft_store *store, const struct raft_identity *identity,
                                     struct cf_error *err);

/* A record of the driver's own: 8 bytes, the newer recovery epoch of the cluster that this node was
 * refused by. With it a node takes no part any more. */
#define RAFT_SUPERSEDED_RECORD "superseded"
#define RAFT_AMNESIAC_RECORD "amnesiac" /* not empty: others knew of acknowledged entries that were not here */

/* Another: 16 bytes, term and index of the last entry that a recovery found (recover.h). */
#define RAFT_RECOVERED_RECORD "recovered"

/* Opaque records of others in `meta`, e.g. "tls-key". put is durable at the return (it blocks for a
 * sync); an empty value deletes. get: the value is pinned, release it; CF_NOT_FOUND. */
CF_CHECKED cf_status raft_store_put_record(struct raft_store *store, const char *name,
                                           struct cf_slice value, struct cf_error *err);
CF_CHECKED cf_status raft_store_get_record(struct raft_store *store, const char *name,
                                           struct kv_value *ret, struct cf_error *err);

/* ---- what raft_new() wants ------------------------------------------------------------------- */

struct raft_loaded {
    struct raft_hard_state hard_state;
    struct raft_base base;
    uint64_t last_index;         /* base.index when the log is empty */
    uint64_t applied;            /* of the current state family */
    uint64_t applied_term;       /* of that entry */
    struct raft_entry **configs; /* referenced; CONFIG entries above the base */
    size_t config_count;
    bool recovering; /* something that was durable is not there: no vote before it is back */
};
/* Also reads every entry above `applied` once, and checks it: contiguous, right checksum, terms
 * that do not fall. CF_CORRUPT otherwise. */
CF_CHECKED cf_status raft_store_load(struct raft_store *store, struct raft_loaded *ret,
                                     struct cf_error *err);
/* As raft_store_load; what is damaged and can be fetched from others is dropped, durably, and
 * recovering is set. CF_CORRUPT: it can't be, or there are no others; the detail says what to do. */
CF_CHECKED cf_status raft_store_load_or_repair(struct raft_store *store, struct raft_loaded *ret,
                                               struct cf_error *err);
/* The log lacks what this node had acknowledged: no vote before the leader gave it back. Blocks for a sync. */
CF_CHECKED cf_status raft_store_set_recovering(struct raft_store *store, struct cf_error *err);
/* The leader gave back what was dropped. Blocks for a sync. */
CF_CHECKED cf_status raft_store_recovered(struct raft_store *store, struct cf_error *err);
/* Stored data was found damaged: the next start drops it, if there are others to fetch it from.
 * Blocks for a sync. */
void raft_store_set_damaged(struct raft_store *store);
void raft_loaded_done(struct raft_loaded *loaded);

/* ---- the log -------------------------------------------------------------------------------- */

/* The pieces of one write of the core; all NULL or 0 when absent. Order inside: install, truncate,
 * entries, hard state, compact. */
struct raft_store_write {
    const struct raft_base
        *install; /* drops the whole log, sets the base, switches to `switch_to` */
    struct kv_family *switch_to;
    uint64_t truncate_from;
    struct raft_entry *const *entries;
    size_t entry_count;
    const struct raft_hard_state *hard_state;
    const struct raft_base *compact; /* sets the base: entries up to it are gone */
};
/* Adds the write to a batch, which may hold several in their order. */
void raft_store_add(struct raft_store *store, struct kv_batch *batch,
                    const struct raft_store_write *write);
/* Gives back the files of entries up to `index`, whose compaction is durable. Blocks for a sync. */
CF_CHECKED cf_status raft_store_drop_log_files(struct raft_store *store, uint64_t index,
                                               struct cf_error *err);
/* Ends the file that the newest entries go to: those up to *ret_last can go with their files from now on. Blocks. */
CF_CHECKED cf_status raft_store_end_log_file(struct raft_store *store, uint64_t *ret_last,
                                             struct cf_error *err);
/* Of entries up to `index`, which are below the base and were the last of their file, and of what was deleted from the
 * state, nothing is left in files, save what of the state a snapshot still sees. Blocks, heavy. */
CF_CHECKED cf_status raft_store_purge(struct raft_store *store, uint64_t index, struct cf_error *err);
/* How far that was done: survives restarts; 0: never. */
uint64_t raft_store_purged(struct raft_store *store);
CF_CHECKED cf_status raft_store_set_purged(struct raft_store *store, uint64_t index,
                                           struct cf_error *err);
/* Is there a snapshot of the store that is older than the one with that number (kv_snapshot_number)? */
bool raft_store_has_older_snapshot(struct raft_store *store, uint64_t number);
/* Not allowed: a purge under way ends soon, unfinished. */
void raft_store_allow_purges(struct raft_store *store, bool allowed);
/* Commits the batch with one sync. Any error is fatal to the process (consensus.md 13.1). */
CF_CHECKED cf_status raft_store_sync(struct raft_store *store, struct kv_batch *batch,
                                     struct cf_error *err);

/* References to the entries from, from+1, ... <= to: at least one, else as many as fit in max_bytes
 * (by raft_entry_size) and max_count. CF_NOT_FOUND when `from` is not in the log, CF_CORRUPT. */
CF_CHECKED cf_status raft_store_entries(struct raft_store *store, uint64_t from, uint64_t to,
                                        size_t max_bytes, size_t max_count, struct raft_entry **ret,
                                        size_t *ret_count, struct cf_error *err);
/* CF_NOT_FOUND. */
CF_CHECKED cf_status raft_store_term(struct raft_store *store, uint64_t index, uint64_t *ret,
                                     struct cf_error *err);
/* Of the log's base, when it is at this index; CF_NOT_FOUND. */
CF_CHECKED cf_status raft_store_base_term(struct raft_store *store, uint64_t index, uint64_t *ret,
                                          struct cf_error *err);
/* Bytes that the log's files take, roughly; and all files of log and state. */
uint64_t raft_store_log_bytes(struct raft_store *store);
uint64_t raft_store_table_bytes(struct raft_store *store);

/* ---- the state ------------------------------------------------------------------------------ */

struct raft_applied {
    uint64_t index, term;
};

/* The current state family, with a reference for the caller. */
struct kv_family *raft_store_state(struct raft_store *store);
/* Adds "\0applied" (and "\0config" when membership is not NULL) to a batch of effects. */
void raft_store_add_applied(struct kv_batch *batch, struct kv_family *state,
                            struct raft_applied applied, const struct raft_membership *membership);
/* The feature level that reading this family takes (node/base/level.h): the highest of what was applied. 1 where
 * nothing is said. CF_CORRUPT. */
void raft_store_add_level(struct kv_batch *batch, struct kv_family *state, uint32_t level);
CF_CHECKED cf_status raft_store_read_level(struct kv_view view, struct kv_family *state,
                                           uint32_t *ret, struct cf_error *err);
/* {0, 0} when the family has none yet. view: now, or a snapshot. CF_CORRUPT. */
CF_CHECKED cf_status raft_store_read_applied(struct kv_view view, struct kv_family *state,
                                             struct raft_applied *ret, struct cf_error *err);
/* How batches of effects are to be committed: KV_NO_WAL, or KV_WAL with `state_wal` (option A of
 * consensus.md 11, the reference when the other is under suspicion). Set before anything is
 * applied; may differ from one start to the next, as an open leaves nothing in memory. */
void raft_store_set_state_wal(struct raft_store *store, bool state_wal);
enum kv_durability raft_store_state_durability(const struct raft_store *store);
/* As raft_store_read_applied, of what is on disk. */
CF_CHECKED cf_status raft_store_flushed(struct raft_store *store, struct raft_applied *ret,
                                        struct cf_error *err);
/* A fresh, empty family for a snapshot that is about to come (any earlier one that was not switched
 * to is dropped), with a reference for the caller. */
CF_CHECKED cf_status raft_store_stage(struct raft_store *store, struct kv_family **ret,
                                      struct cf_error *err);
/* After the switch record of `install` is durable: readers and the applier get this one from now
 * on. */
void raft_store_set_state(struct raft_store *store, struct kv_family *state);
/* Drops every state family but the current one. */
CF_CHECKED cf_status raft_store_drop_others(struct raft_store *store, struct cf_error *err);

/* Keys of a state family that begin with this byte are the driver's. */
#define RAFT_STATE_RESERVED 0

#endif
