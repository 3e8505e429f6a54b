/* node/storage/treap.h
 *
 * An ordered map that can be shared: a treap (Seidel and Aragon, 1996) whose nodes are reference
 * counted. A reference to the root is a snapshot; a writer changes nodes that nobody else can see
 * in place and copies the path to the others. Split and merge make deleting a range O(log n).
 * Priorities are a keyed hash of the key, so that no choice of keys makes the tree deep.
 *
 * Thread: references may be taken and dropped by any thread and a shared tree may be read by all;
 * the functions that change a tree need the only handle on that root (its owner's lock).
 */
#ifndef COFFER_STORAGE_TREAP_H
#define COFFER_STORAGE_TREAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "node/base/slice.h"

/* Key and value; immutable, reference counted. */
struct treap_item {
    atomic_uint refs;
    uint32_t key_size, value_size;
    uint8_t bytes[]; /* key, value */
};

struct treap {
    atomic_uint refs;
    uint32_t priority;
    struct treap *left, *right;
    struct treap_item *item;
    uint64_t bytes, count; /* of keys and values of the whole subtree; of its nodes */
};

/* One reference, for the caller. */
struct treap_item *treap_item_new(struct cf_slice key, const struct cf_slice *parts, size_t count);
struct treap_item *treap_item_ref(struct treap_item *item);
void treap_item_unref(struct treap_item *item);
static inline struct cf_slice treap_item_key(const struct treap_item *item)
{
    return cf_slice_of(item->bytes, item->key_size);
}
static inline struct cf_slice treap_item_value(const struct treap_item *item)
{
    return cf_slice_of(item->bytes + item->key_size, item->value_size);
}

/* NULL is the empty tree, for all of these. */
struct treap *treap_ref(struct treap *root);
void treap_unref(struct treap *root);
/* Borrowed from the tree; NULL when absent. */
struct treap_item *treap_find(const struct treap *root, struct cf_slice key);
/* Bytes of keys and values below `key`. */
uint64_t treap_bytes_below(const struct treap *root, struct cf_slice key);

/* These take over the reference on root and return the new root. */
struct treap *treap_put(struct treap *root, struct treap_item *item); /* takes over item, too */
struct treap *treap_delete(struct treap *root, struct cf_slice key);
struct treap *treap_delete_range(struct treap *root, struct cf_slice from, struct cf_slice to);

/* A position in a tree: the path from the root. The tree must outlive it. Zeroed is valid. */
struct treap_cursor {
    const struct treap *root;
    const struct treap **path;
    size_t depth, capacity; /* depth 0: not on an item */
};
void treap_cursor_done(struct treap_cursor *cursor);
void treap_seek(struct treap_cursor *cursor, struct cf_slice key);        /* first >= key */
void treap_seek_before(struct treap_cursor *cursor, struct cf_slice key); /* last < key */
void treap_seek_end(struct treap_cursor *cursor, bool last);
void treap_step(struct treap_cursor *cursor, bool forward); /* only when on an item */
/* NULL when not on an item. */
const struct treap_item *treap_at(const struct treap_cursor *cursor);

#endif
