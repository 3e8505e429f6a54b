/* node/core/txn.h
 *
 * One run of a request over a view: what it reads is remembered (the read set), what it writes is
 * collected (the write set) and seen by its own later reads. Nothing leaves before the run is over.
 * Values are plaintext here; they are sealed when the log entry is made. Thread: its request's.
 */
#ifndef COFFER_CORE_TXN_H
#define COFFER_CORE_TXN_H

#include "node/core/command.h"
#include "node/core/view.h"
#include "node/core/window.h"

struct txn;

/* Lives in the arena; borrows the view. */
struct txn *txn_new(struct arena *arena, const struct view *view);

/* The value, in the arena. CF_NOT_FOUND (err then says nothing: an absent entry is no failure yet). */
CF_CHECKED cf_status txn_get(struct txn *txn, struct key key, struct cf_slice *ret,
                             struct cf_error *err);
/* Replaces. key.name and value are copied. */
void txn_put(struct txn *txn, struct key key, struct cf_slice value);
void txn_delete(struct txn *txn, struct key key);
/* Deletes every name that begins with prefix.name. */
void txn_delete_prefix(struct txn *txn, struct key prefix);
/* As it stands, not sealed by the barrier (AREA_SEAL). */
void txn_put_plain(struct txn *txn, struct key key, struct cf_slice value);

struct txn_names {
    struct cf_slice *names; /* sorted bytewise; a folder ends in '/' */
    size_t count;
};
/* The names directly below prefix.name (what follows up to and with the next '/', each once).
 * after: only names greater than it (empty: all). limit 0: all. */
CF_CHECKED cf_status txn_list(struct txn *txn, struct key prefix, struct cf_slice after, size_t limit,
                              struct txn_names *ret, struct cf_error *err);
/* As txn_list with whole names instead of folders. */
CF_CHECKED cf_status txn_scan(struct txn *txn, struct key prefix, struct cf_slice after, size_t limit,
                              struct txn_names *ret, struct cf_error *err);

/* Adds to the read set what was read elsewhere at this view's index (caches). */
void txn_note_read(struct txn *txn, uint64_t key_hash);
/* Calls unref(object) when the run is over (objects borrowed from caches). */
void txn_keep(struct txn *txn, void *object, void (*unref)(void *object));
/* The end of the run: lets go of what was kept. The arena frees the rest. */
void txn_release(struct txn *txn);
bool txn_has_writes(const struct txn *txn);
/* Whether this run writes or deletes the key itself. */
bool txn_writes_key(const struct txn *txn, struct key key);
/* Bit class_number() of each class that is written. */
unsigned txn_write_classes(const struct txn *txn);
/* Whether it deletes and puts next to nothing: what a disk that is almost full still takes. */
bool txn_frees(const struct txn *txn);
/* Marks a point in the write set and goes back to it (a failed optional step leaves nothing). */
size_t txn_mark(const struct txn *txn);
void txn_rollback(struct txn *txn, size_t mark);
/* The effects with sealed values, in the arena. */
CF_CHECKED cf_status txn_seal(struct txn *txn, struct op **ret, size_t *ret_count,
                              struct cf_error *err);
/* Seals the values and appends the WRITE command. */
CF_CHECKED cf_status txn_encode(struct txn *txn, struct cf_buf *to, struct cf_error *err);
/* A lease is made (1) or removed (-1) that counts for the rule. */
void txn_count_lease(struct txn *txn, uint64_t rule, int32_t change);
/* The claim for the window; borrowed from the arena. */
struct window_claim *txn_claim(struct txn *txn);
const struct view *txn_view(const struct txn *txn);

#endif
