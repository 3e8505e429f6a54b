/* node/base/memory.h
 *
 * Allocation for the whole tree. None of these returns NULL: an allocation that the machine refuses
 * ends the process with a message (every size that an outsider can choose is bounded before it gets
 * here, so a refusal means that the machine is out of memory; Raft makes the exit safe).
 * Thread: any.
 */
#ifndef COFFER_BASE_MEMORY_H
#define COFFER_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

__attribute__((malloc, returns_nonnull)) void *cf_alloc(size_t size);  /* uninitialised */
__attribute__((malloc, returns_nonnull)) void *cf_zalloc(size_t size); /* zeroed */
__attribute__((malloc, returns_nonnull)) void *cf_array(size_t count, size_t size); /* zeroed */
__attribute__((returns_nonnull)) void *cf_realloc(void *old, size_t size);
__attribute__((malloc, returns_nonnull)) char *cf_strdup(const char *text);
__attribute__((malloc, returns_nonnull)) void *cf_memdup(const void *bytes, size_t size);
void cf_free(void *memory); /* NULL is fine */

/* Overwrites memory in a way the compiler does not remove. */
void cf_wipe(void *memory, size_t size);

/* Compares in time that depends on size only. */
bool cf_equal_secret(const void *a, const void *b, size_t size);

#define cf_new(type) ((type *)cf_zalloc(sizeof(type)))
#define CF_LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define cf_container(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline size_t cf_min(size_t a, size_t b)
{
    return a < b ? a : b;
}
static inline size_t cf_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
