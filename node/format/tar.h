/* node/format/tar.h
 *
 * Headers of a tar archive (POSIX ustar): plain files with plain names, nothing else. Pure.
 */
#ifndef COFFER_FORMAT_TAR_H
#define COFFER_FORMAT_TAR_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/slice.h"
#include "node/base/status.h"

#define TAR_BLOCK ((size_t)512)
#define TAR_NAME_MAX ((size_t)100)
#define TAR_SIZE_MAX ((uint64_t)1 << 43)

struct tar_entry {
    char name[TAR_NAME_MAX + 1];
    uint64_t size;
};

/* name: 1..100 bytes without '/'. Sizes of 8 GiB and more are told in base 256, as GNU tar does. */
void tar_header(const char *name, uint64_t size, int64_t mtime_s, uint8_t ret[TAR_BLOCK]);
/* CF_INVALID for a wrong checksum, anything but a regular file, a name with a folder in it, "." and
 * "..", a size that is no number or above TAR_SIZE_MAX. *at_end: a block of zeros. */
CF_CHECKED cf_status tar_parse(const uint8_t block[TAR_BLOCK], struct tar_entry *ret, bool *at_end,
                               struct cf_error *err);
/* What fills the last block of a file of that size. */
static inline size_t tar_padding(uint64_t size)
{
    return (TAR_BLOCK - (size_t)(size % TAR_BLOCK)) % TAR_BLOCK;
}

#endif
