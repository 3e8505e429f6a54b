/* tests/lib/alloc_count.c: see alloc_count.h. glibc has its allocator under these second names. */
#include "alloc_count.h"

#include <errno.h>
#include <stddef.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static __thread uint64_t counted;

uint64_t alloc_count(void)
{
    uint64_t since = counted;
    counted = 0;
    return since;
}

#define FRONT __attribute__((visibility("default")))
FRONT void *malloc(size_t size);
FRONT void *calloc(size_t count, size_t size);
FRONT void *realloc(void *old, size_t size);
FRONT void *aligned_alloc(size_t alignment, size_t size);
FRONT int posix_memalign(void **ret, size_t alignment, size_t size);

void *malloc(size_t size)
{
    counted++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    counted++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    counted++;
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    counted++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
    counted++;
    *ret = __libc_memalign(alignment, size);
    return *ret != NULL ? 0 : ENOMEM;
}
