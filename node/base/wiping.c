/* node/base/wiping.c: see wiping.h. The size stands before what is handed out. */
#include "node/base/wiping.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct block {
    size_t size;
    alignas(max_align_t) uint8_t bytes[];
};

static struct block *block_of(void *memory)
{
    return (struct block *)(void *)((uint8_t *)memory - offsetof(struct block, bytes));
}

void *cf_wiping_malloc(size_t size)
{
    struct block *block = size <= SIZE_MAX / 2 ? malloc(sizeof(*block) + size) : NULL;
    if (block == NULL) {
        return NULL;
    }
    block->size = size;
    return block->bytes;
}

void *cf_wiping_calloc(size_t count, size_t size)
{
    size_t whole;
    if (__builtin_mul_overflow(count, size, &whole)) {
        return NULL;
    }
    void *memory = cf_wiping_malloc(whole);
    if (memory != NULL) {
        memset(memory, 0, whole);
    }
    return memory;
}

void *cf_wiping_realloc(void *old, size_t size)
{
    void *memory = cf_wiping_malloc(size);
    if (memory != NULL && old != NULL) {
        size_t had = block_of(old)->size;
        memcpy(memory, old, had < size ? had : size);
        cf_wiping_free(old);
    }
    return memory;
}

char *cf_wiping_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = cf_wiping_malloc(size);
    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

void cf_wiping_free(void *memory)
{
    if (memory != NULL) {
        struct block *block = block_of(memory);
        explicit_bzero(block->bytes, block->size);
        free(block);
    }
}
