/* node/core/cache.h
 *
 * Objects made from records (tokens, policies, ACLs), shared by requests. Correctness does not rest on
 * messages between threads: the applier notes, before it publishes index i, that the keys of entry i
 * changed at i (the change clock: an array of "last change" by key hash). An object that was made from a
 * view at index f is good for a view at index v exactly when none of the keys it was made from changed
 * after min(f, v). Keys that share a slot only cost a miss. Thread: any.
 */
#ifndef COFFER_CORE_CACHE_H
#define COFFER_CORE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/slice.h"

struct cache;

/* entries_max: objects kept at most. */
struct cache *cache_new(size_t entries_max);
void cache_free(struct cache *cache);

/* ---- the applier ---- */
void cache_changed(struct cache *cache, uint64_t key_hash, uint64_t index);
/* Everything changed: snapshot install, restore, seal, prefix deletes over cached areas. */
void cache_changed_all(struct cache *cache, uint64_t index);
/* Drops every object (their keys may have been derived from what is now sealed). */
void cache_clear(struct cache *cache);

/* ---- readers ---- */
bool cache_unchanged(const struct cache *cache, uint64_t key_hash, uint64_t from, uint64_t to);

struct cache_object {
    _Atomic unsigned references;
    void (*destroy)(struct cache_object *object);
    uint64_t index;        /* of the view it was made from */
    const uint64_t *keys;  /* key_hash() of all it was made from; owned by the object */
    size_t key_count;
};
void cache_object_init(struct cache_object *object, void (*destroy)(struct cache_object *));
struct cache_object *cache_object_ref(struct cache_object *object);
void cache_object_unref(struct cache_object *object); /* NULL is fine */

/* The object under the name (kind apart), with a reference for the caller, if it is good for a view at
 * `index`; else NULL. */
struct cache_object *cache_get(struct cache *cache, unsigned kind, struct cf_slice name,
                               uint64_t index);
/* Keeps a reference of its own. An object that has been overtaken is not kept. */
void cache_put(struct cache *cache, unsigned kind, struct cf_slice name,
               struct cache_object *object);

enum cache_kind { CACHE_TOKEN = 1, CACHE_POLICY = 2, CACHE_ACL = 3, CACHE_IDENTITY = 4, CACHE_ENGINE = 16 };

#endif
