/* tests/lib/alloc_count.h: counts the allocations of one thread, those inside libraries too, by standing in front of
 * the C library's allocator. Link alloc_count.c into the test's executable; not with sanitizers, which stand there
 * themselves. */
#ifndef COFFER_TEST_ALLOC_COUNT_H
#define COFFER_TEST_ALLOC_COUNT_H

#include <stdint.h>

/* What the calling thread allocated since its last call of this (malloc, calloc, realloc and aligned ones). */
uint64_t alloc_count(void);

#endif
