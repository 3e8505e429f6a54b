/* node/base/arena.c: a chain of blocks with a bump pointer. */
#include "node/base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "node/base/memory.h"

#define ALIGNMENT ((size_t)16)

struct block {
    struct block *next; /* the one before it in time */
    size_t size, used;
    _Alignas(16) uint8_t data[];
};

struct arena {
    struct block *newest;
    struct block *first;
    size_t used;
};

static struct block *block_new(size_t size)
{
    struct block *block = cf_alloc(sizeof(*block) + size);
    block->next = NULL;
    block->size = size;
    block->used = 0;
    return block;
}

static void block_free(struct block *block)
{
    cf_wipe(block->data, block->used);
    cf_free(block);
}

struct arena *arena_new(size_t block_size)
{
    struct arena *arena = cf_new(struct arena);
    arena->first = block_new(cf_max(block_size, 256));
    arena->newest = arena->first;
    return arena;
}

void arena_free(struct arena *arena)
{
    if (arena == NULL) {
        return;
    }
    arena_reset(arena);
    block_free(arena->first);
    cf_free(arena);
}

void arena_reset(struct arena *arena)
{
    while (arena->newest != arena->first) {
        struct block *gone = arena->newest;
        arena->newest = gone->next;
        block_free(gone);
    }
    cf_wipe(arena->first->data, arena->first->used);
    arena->first->used = 0;
    arena->used = 0;
}

void *arena_alloc_raw(struct arena *arena, size_t size)
{
    size_t rounded = (cf_max(size, 1) + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    struct block *block = arena->newest;
    if (block->size - block->used < rounded) {
        block = block_new(cf_max(rounded, cf_min(2 * block->size, 1 << 20)));
        block->next = arena->newest;
        arena->newest = block;
    }
    void *memory = block->data + block->used;
    block->used += rounded;
    arena->used += rounded;
    return memory;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    return memset(arena_alloc_raw(arena, size), 0, size);
}

struct cf_slice arena_copy(struct arena *arena, struct cf_slice from)
{
    uint8_t *copy = arena_alloc_raw(arena, from.size + 1);
    if (from.size != 0) {
        memcpy(copy, from.data, from.size);
    }
    copy[from.size] = '\0';
    return cf_slice_of(copy, from.size);
}

char *arena_text(struct arena *arena, struct cf_slice from)
{
    return (char *)(uintptr_t)arena_copy(arena, from).data;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, fmt, args);
    size_t room = size > 0 ? (size_t)size + 1 : 1;
    char *text = arena_alloc(arena, room);
    (void)vsnprintf(text, room, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}
