/* node/base/memory.c: allocation that does not return NULL, wiping, constant-time comparison. */
#include "node/base/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *memory, size_t size)
{
    if (memory == NULL) {
        (void)fprintf(stderr, "coffer: out of memory (%zu bytes asked for); add memory or lower "
                              "the limits of the configuration\n",
                      size);
        abort();
    }
    return memory;
}

void *cf_alloc(size_t size)
{
    return checked(malloc(size != 0 ? size : 1), size);
}

void *cf_zalloc(size_t size)
{
    return checked(calloc(1, size != 0 ? size : 1), size);
}

void *cf_array(size_t count, size_t size)
{
    return checked(calloc(count != 0 ? count : 1, size != 0 ? size : 1), size);
}

void *cf_realloc(void *old, size_t size)
{
    return checked(realloc(old, size != 0 ? size : 1), size);
}

char *cf_strdup(const char *text)
{
    return checked(strdup(text), strlen(text));
}

void *cf_memdup(const void *bytes, size_t size)
{
    void *copy = cf_alloc(size);
    if (size != 0) {
        memcpy(copy, bytes, size);
    }
    return copy;
}

void cf_free(void *memory)
{
    free(memory);
}

void cf_wipe(void *memory, size_t size)
{
    if (memory != NULL && size != 0) {
        explicit_bzero(memory, size);
    }
}

bool cf_equal_secret(const void *a, const void *b, size_t size)
{
    const volatile uint8_t *left = a;
    const volatile uint8_t *right = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < size; i++) {
        difference |= (uint8_t)(left[i] ^ right[i]);
    }
    return difference == 0;
}
