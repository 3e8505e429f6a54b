/* node/base/arena.h
 *
 * Memory of one request: allocated piece by piece, freed whole, wiped on reset and on free (requests
 * carry secrets). Nothing that it handed out outlives it. Thread: its owner's only.
 */
#ifndef COFFER_BASE_ARENA_H
#define COFFER_BASE_ARENA_H

#include <stddef.h>

#include "node/base/own.h"
#include "node/base/slice.h"
#include "node/base/status.h"

struct arena;

/* block_size: size of the first block, e.g. 4096 (it is kept over a reset). */
struct arena *arena_new(size_t block_size);
void arena_free(struct arena *arena); /* wipes; NULL is fine */
CF_DEFINE_OWNED(arena);
void arena_reset(struct arena *arena); /* wipes what was used, keeps the first block */

/* Zeroed, aligned for any type, never NULL. */
void *arena_alloc(struct arena *arena, size_t size);
/* As arena_alloc without the zeroing. */
void *arena_alloc_raw(struct arena *arena, size_t size);
/* Copies, with a NUL after the last byte (not counted). */
struct cf_slice arena_copy(struct arena *arena, struct cf_slice from);
char *arena_text(struct arena *arena, struct cf_slice from);
char *arena_printf(struct arena *arena, const char *fmt, ...) CF_PRINTF(2, 3);
size_t arena_used(const struct arena *arena);

#define arena_new_object(arena, type) ((type *)arena_alloc((arena), sizeof(type)))

#endif
