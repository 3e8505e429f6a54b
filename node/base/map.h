/* node/base/map.h
 *
 * A hash table from bytes to a pointer, safe for keys that outsiders choose (SipHash-2-4 under a key
 * drawn at process start; tests and the simulator may set it). Keys are copied, values are borrowed.
 * Iteration order is insertion order (so that runs replay). Thread: its owner's.
 */
#ifndef COFFER_BASE_MAP_H
#define COFFER_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/own.h"
#include "node/base/slice.h"

struct cf_map;

struct cf_map *cf_map_new(void);
void cf_map_free(struct cf_map *map); /* values are not freed; NULL is fine */
CF_DEFINE_OWNED(cf_map);
size_t cf_map_size(const struct cf_map *map);
/* NULL when absent. */
void *cf_map_get(const struct cf_map *map, struct cf_slice key);
/* Returns the value that was replaced, or NULL. value must not be NULL. */
void *cf_map_put(struct cf_map *map, struct cf_slice key, void *value);
/* Returns the value that was removed, or NULL. */
void *cf_map_remove(struct cf_map *map, struct cf_slice key);
/* Iterates: start with *at = 0; false at the end. Removing the current key meanwhile is allowed. */
bool cf_map_next(const struct cf_map *map, size_t *at, struct cf_slice *key, void **value);

/* SipHash-2-4 (Aumasson and Bernstein, 2012) of `data` under a 16-byte key. */
uint64_t cf_siphash(const uint8_t key[16], struct cf_slice data);
/* SipHash under the process's key. */
uint64_t cf_hash(struct cf_slice data);
/* Replaces the process's key (16 bytes). Before any map is made. */
void cf_hash_seed(const uint8_t key[16]);

#endif
