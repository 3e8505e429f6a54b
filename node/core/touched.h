/* node/core/touched.h
 *
 * Which keys of the state changed: what whoever keeps a sum over it has to look at again. The applier
 * notes each stored key (a copy of some sixty bytes and nothing else: no read, no hash, no lock of its
 * own); core_touched() hands over what came together, with a snapshot that shows all of it.
 *
 * Keys and prefixes may be named that did not change, and more than once; never is one missing.
 */
#ifndef COFFER_CORE_TOUCHED_H
#define COFFER_CORE_TOUCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/slice.h"
#include "node/core/key.h"
#include "node/storage/kv.h"

struct core;

/* Kept until somebody takes it; more than that is "all". */
#define TOUCHED_BYTES_MAX ((size_t)16 << 20)

/* A zeroed one is empty. */
struct touched {
    struct cf_buf keys; /* kind (1 byte) | size (2) | stored key, one after the other */
    size_t count;
    bool is_all; /* too much, or the state was replaced: look at everything */
};

enum touched_kind { TOUCHED_KEY = 1, TOUCHED_PREFIX = 2 };

void touched_add(struct touched *touched, enum touched_kind kind, struct cf_slice stored);
/* Moves what `from` holds behind what `to` holds; `from` is empty then. */
void touched_move(struct touched *to, struct touched *from);
void touched_done(struct touched *touched);
/* From *at (0: the first) on; false at the end. */
bool touched_next(const struct touched *touched, size_t *at, enum touched_kind *kind,
                  struct cf_slice *stored);

/* A moment of the state. */
struct state_moment {
    struct kv *db;
    struct kv_family *family;     /* a reference */
    struct kv_snapshot *snapshot; /* owned */
    uint32_t generation[CLASS_COUNT];
    uint64_t index; /* published last; the snapshot may hold more */
};
void state_moment_done(struct state_moment *moment);
/* Generations as the moment's snapshot has them; those that are not there stay. */
void state_moment_read(struct state_moment *moment);

/* What changed between the snapshot of the last call and the one of this. The first call says "all", and
 * from then on the core takes notes. false: there is no state yet. Any thread; on the applier's, between
 * two batches, the snapshot is exactly of `index`. */
bool core_touched(struct core *core, struct state_moment *ret_moment, struct touched *ret);
/* About how much is noted; any thread. */
size_t core_touched_bytes(const struct core *core);

#endif
