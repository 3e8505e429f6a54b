/* node/format/tar.c: headers of tar archives. */
#include "node/format/tar.h"

#include <stdio.h>
#include <string.h>

#include "node/base/memory.h"

/* The fields of a header that matter here (POSIX.1-2017, pax, "ustar Interchange Format"). */
#define AT_MODE 100
#define AT_UID 108
#define AT_GID 116
#define AT_SIZE 124
#define SIZE_SIZE 12
#define AT_MTIME 136
#define AT_SUM 148
#define SUM_SIZE 8
#define AT_TYPE 156
#define AT_LINK 157
#define AT_MAGIC 257
#define AT_PREFIX 345

static unsigned sum_of(const uint8_t block[TAR_BLOCK])
{
    unsigned sum = 0;
    for (size_t i = 0; i < TAR_BLOCK; i++) {
        sum += i >= AT_SUM && i < AT_SUM + SUM_SIZE ? ' ' : block[i];
    }
    return sum;
}

static void put_octal(uint8_t *to, size_t digits, uint64_t value)
{
    to[digits] = 0;
    for (size_t i = digits; i > 0; i--) {
        to[i - 1] = (uint8_t)('0' + (value & 7));
        value >>= 3;
    }
}

void tar_header(const char *name, uint64_t size, int64_t mtime_s, uint8_t ret[TAR_BLOCK])
{
    memset(ret, 0, TAR_BLOCK);
    memcpy(ret, name, cf_min(strlen(name), TAR_NAME_MAX));
    put_octal(ret + AT_MODE, 7, 0600);
    put_octal(ret + AT_UID, 7, 0);
    put_octal(ret + AT_GID, 7, 0);
    if (size < (uint64_t)1 << 33) {
        put_octal(ret + AT_SIZE, SIZE_SIZE - 1, size);
    } else {
        ret[AT_SIZE] = 0x80;
        cf_put_u64(ret + AT_SIZE + 4, size);
    }
    put_octal(ret + AT_MTIME, 11, mtime_s > 0 ? (uint64_t)mtime_s : 0);
    ret[AT_TYPE] = '0';
    memcpy(ret + AT_MAGIC, "ustar\00000", 8);
    put_octal(ret + AT_SUM, 6, sum_of(ret));
    ret[AT_SUM + 7] = ' ';
}

/* Octal with leading blanks, ended by a blank, a NUL or the end of the field. */
static bool get_octal(const uint8_t *from, size_t size, uint64_t *ret)
{
    size_t at = 0, digits = 0;
    uint64_t value = 0;
    while (at < size && from[at] == ' ') {
        at++;
    }
    for (; at < size && from[at] >= '0' && from[at] <= '7'; at++, digits++) {
        value = value << 3 | (uint64_t)(from[at] - '0');
    }
    if (digits == 0 || (at < size && from[at] != 0 && from[at] != ' ')) {
        return false;
    }
    *ret = value;
    return true;
}

static bool get_size(const uint8_t *from, uint64_t *ret)
{
    if (from[0] != 0x80) {
        return get_octal(from, SIZE_SIZE, ret);
    }
    *ret = cf_get_u64(from + 4);
    return from[1] == 0 && from[2] == 0 && from[3] == 0;
}

static bool is_zero(const uint8_t block[TAR_BLOCK])
{
    return block[0] == 0 && memcmp(block, block + 1, TAR_BLOCK - 1) == 0;
}

cf_status tar_parse(const uint8_t block[TAR_BLOCK], struct tar_entry *ret, bool *at_end,
                    struct cf_error *err)
{
    uint64_t sum;
    *at_end = is_zero(block);
    if (*at_end) {
        return CF_OK;
    }
    if (!get_octal(block + AT_SUM, SUM_SIZE, &sum) || sum != sum_of(block)) {
        return cf_fail(err, CF_INVALID, "the tar archive is damaged (checksum of a header)");
    }
    const uint8_t *end = memchr(block, 0, TAR_NAME_MAX);
    size_t size = end != NULL ? (size_t)(end - block) : TAR_NAME_MAX;
    memcpy(ret->name, block, size);
    ret->name[size] = 0;
    bool is_plain = size != 0 && strchr(ret->name, '/') == NULL && strcmp(ret->name, ".") != 0 &&
                    strcmp(ret->name, "..") != 0 && block[AT_PREFIX] == 0;
    for (size_t i = 0; i < size; i++) {
        is_plain = is_plain && block[i] > 0x20 && block[i] < 0x7f;
    }
    if (!is_plain) {
        return cf_fail(err, CF_INVALID, "the tar archive holds a file whose name has a folder in it");
    }
    if ((block[AT_TYPE] != '0' && block[AT_TYPE] != 0) || block[AT_LINK] != 0) {
        return cf_fail(err, CF_INVALID, "the tar archive holds something that is no plain file");
    }
    if (!get_size(block + AT_SIZE, &ret->size) || ret->size > TAR_SIZE_MAX) {
        return cf_fail(err, CF_INVALID, "the tar archive holds a file of an impossible size");
    }
    return CF_OK;
}
