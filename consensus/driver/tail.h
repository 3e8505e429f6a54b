/* consensus/driver/tail.h
 *
 * The hot tail of the log in memory, so that neither the applier nor followers that keep up ever
 * read the disk: the newest entries, bounded in number and bytes. It also holds entries that are
 * not durable yet; who reads it asks for what the core said is. Thread: any.
 */
#ifndef COFFER_CONSENSUS_DRIVER_TAIL_H
#define COFFER_CONSENSUS_DRIVER_TAIL_H

#include <stdbool.h>

#include "consensus/core/entry.h"
#include "node/base/own.h"

struct raft_tail;

/* Limits on what is kept; at least one entry always is. first: the index that comes next. */
struct raft_tail *raft_tail_new(size_t entries_max, size_t bytes_max, uint64_t first);
void raft_tail_free(struct raft_tail *tail); /* NULL is fine */
CF_DEFINE_OWNED(raft_tail);

/* Takes a reference. The index must be the next one. */
void raft_tail_append(struct raft_tail *tail, struct raft_entry *entry);
/* Forgets the entries >= from. */
void raft_tail_truncate(struct raft_tail *tail, uint64_t from);
/* Forgets everything; `first` comes next. */
void raft_tail_reset(struct raft_tail *tail, uint64_t first);
/* References to from, from + 1, ... <= to, at least one and then as many as fit; 0 when `from` is
 * not in memory. */
size_t raft_tail_get(struct raft_tail *tail, uint64_t from, uint64_t to, size_t bytes_max,
                     size_t count_max, struct raft_entry **ret);

#endif
