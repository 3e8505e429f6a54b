/* node/base/wiping.h
 *
 * An allocator that wipes what is freed, for libraries that handle secrets and let go of them as they are (libcurl: a
 * token in a header, the key that a transit seal answers with). The signatures are those of malloc and its
 * like, but without an abort when memory is short: NULL is the library's to deal with. Memory of one family must not be given to
 * the other. Thread: any.
 */
#ifndef COFFER_BASE_WIPING_H
#define COFFER_BASE_WIPING_H

#include <stddef.h>

void *cf_wiping_malloc(size_t size);
void *cf_wiping_calloc(size_t count, size_t size);
void *cf_wiping_realloc(void *old, size_t size); /* what moves leaves nothing behind */
char *cf_wiping_strdup(const char *text);
void cf_wiping_free(void *memory); /* NULL is fine */

#endif
