/* node/base/slice.h
 *
 * Bytes. cf_slice is borrowed (pointer and length, never NUL-terminated by contract); cf_buf is
 * owned, grows on demand and has a maximum: what would go past it sets `overflow` and is dropped,
 * so that a writer may append freely and check once at the end.
 */
#ifndef COFFER_BASE_SLICE_H
#define COFFER_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "node/base/status.h"

struct cf_slice {
    const uint8_t *data;
    size_t size;
};

struct cf_buf {
    uint8_t *data;
    size_t size, capacity, max;
    bool overflow;
    bool secret; /* wiped when it moves or is freed */
};

#define CF_SLICE_EMPTY ((struct cf_slice){NULL, 0})
#define CF_SLICE(literal) ((struct cf_slice){(const uint8_t *)("" literal), sizeof(literal) - 1})
/* for printf: "%.*s", CF_SHOW(slice) */
#define CF_SHOW(slice) (int)(slice).size, (const char *)(slice).data

static inline struct cf_slice cf_slice_of(const void *data, size_t size)
{
    return (struct cf_slice){(const uint8_t *)data, size};
}
static inline struct cf_slice cf_slice_str(const char *text)
{
    return (struct cf_slice){(const uint8_t *)text, text != NULL ? strlen(text) : 0};
}
static inline bool cf_slice_eq(struct cf_slice a, struct cf_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
static inline bool cf_slice_is(struct cf_slice a, const char *text)
{
    return cf_slice_eq(a, cf_slice_str(text));
}
static inline bool cf_slice_starts(struct cf_slice a, struct cf_slice prefix)
{
    return a.size >= prefix.size && (prefix.size == 0 || memcmp(a.data, prefix.data, prefix.size) == 0);
}
static inline bool cf_slice_ends(struct cf_slice a, struct cf_slice suffix)
{
    return a.size >= suffix.size &&
           (suffix.size == 0 || memcmp(a.data + a.size - suffix.size, suffix.data, suffix.size) == 0);
}
static inline struct cf_slice cf_slice_from(struct cf_slice a, size_t offset)
{
    if (offset > a.size) {
        offset = a.size;
    }
    return (struct cf_slice){a.data != NULL ? a.data + offset : NULL, a.size - offset};
}
static inline struct cf_slice cf_slice_first(struct cf_slice a, size_t size)
{
    return (struct cf_slice){a.data, size < a.size ? size : a.size};
}
/* Bytewise order, as memcmp and then the shorter first. */
int cf_slice_cmp(struct cf_slice a, struct cf_slice b);
/* Offset of the first such byte, or a.size. */
size_t cf_slice_find(struct cf_slice a, uint8_t byte);

/* max 0: no limit other than memory. A zeroed cf_buf is also valid (no limit). */
void cf_buf_init(struct cf_buf *buf, size_t max);
/* As cf_buf_init, and every byte that it ever held is wiped when it moves or is freed. */
void cf_buf_init_secret(struct cf_buf *buf, size_t max);
void cf_buf_done(struct cf_buf *buf);
void cf_buf_reset(struct cf_buf *buf); /* keeps the memory; wipes when secret */
/* Room for `more` bytes at data + size; false (and overflow) when past max. */
bool cf_buf_reserve(struct cf_buf *buf, size_t more);
void cf_buf_add(struct cf_buf *buf, const void *data, size_t size);
void cf_buf_add_slice(struct cf_buf *buf, struct cf_slice slice);
void cf_buf_add_str(struct cf_buf *buf, const char *text);
void cf_buf_add_byte(struct cf_buf *buf, uint8_t byte);
void cf_buf_add_u32(struct cf_buf *buf, uint32_t value); /* big-endian */
void cf_buf_add_u64(struct cf_buf *buf, uint64_t value); /* big-endian */
void cf_buf_addf(struct cf_buf *buf, const char *fmt, ...) CF_PRINTF(2, 3);
/* CF_TOO_LARGE when something was dropped. */
CF_CHECKED cf_status cf_buf_check(const struct cf_buf *buf, struct cf_error *err);
/* NUL-terminates (the NUL does not count in size) and returns the text, borrowed. */
const char *cf_buf_text(struct cf_buf *buf);

static inline struct cf_slice cf_buf_slice(const struct cf_buf *buf)
{
    return (struct cf_slice){buf->data, buf->size};
}
static inline void cf_buf_auto(struct cf_buf *buf)
{
    cf_buf_done(buf);
}
/* A buffer on the stack that is freed at the end of the scope: CF_BUF(name) = {.max = ...}; */
#define CF_BUF(name) __attribute__((cleanup(cf_buf_auto))) struct cf_buf name

/* Big-endian integers at any alignment. */
static inline void cf_put_u32(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}
static inline void cf_put_u64(uint8_t *to, uint64_t value)
{
    cf_put_u32(to, (uint32_t)(value >> 32));
    cf_put_u32(to + 4, (uint32_t)value);
}
static inline uint32_t cf_get_u32(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}
static inline uint64_t cf_get_u64(const uint8_t *from)
{
    return (uint64_t)cf_get_u32(from) << 32 | cf_get_u32(from + 4);
}

#endif
