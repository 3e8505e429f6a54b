/* node/base/slice.c: borrowed and owned bytes. */
#include "node/base/slice.h"

#include <stdarg.h>
#include <stdio.h>

#include "node/base/memory.h"

int cf_slice_cmp(struct cf_slice a, struct cf_slice b)
{
    size_t common = cf_min(a.size, b.size);
    int order = common != 0 ? memcmp(a.data, b.data, common) : 0;
    if (order != 0) {
        return order;
    }
    return a.size < b.size ? -1 : a.size > b.size;
}

size_t cf_slice_find(struct cf_slice a, uint8_t byte)
{
    const uint8_t *at = a.size != 0 ? memchr(a.data, byte, a.size) : NULL;
    return at != NULL ? (size_t)(at - a.data) : a.size;
}

void cf_buf_init(struct cf_buf *buf, size_t max)
{
    *buf = (struct cf_buf){.max = max};
}

void cf_buf_init_secret(struct cf_buf *buf, size_t max)
{
    *buf = (struct cf_buf){.max = max, .secret = true};
}

void cf_buf_done(struct cf_buf *buf)
{
    if (buf->secret) {
        cf_wipe(buf->data, buf->capacity);
    }
    cf_free(buf->data);
    *buf = (struct cf_buf){.max = buf->max, .secret = buf->secret};
}

void cf_buf_reset(struct cf_buf *buf)
{
    if (buf->secret) {
        cf_wipe(buf->data, buf->capacity);
    }
    buf->size = 0;
    buf->overflow = false;
}

static void grow(struct cf_buf *buf, size_t need)
{
    size_t capacity = cf_max(buf->capacity + buf->capacity / 2, 64);
    capacity = cf_max(capacity, need);
    if (buf->secret) {
        uint8_t *moved = cf_alloc(capacity);
        if (buf->size != 0) {
            memcpy(moved, buf->data, buf->size);
        }
        cf_wipe(buf->data, buf->capacity);
        cf_free(buf->data);
        buf->data = moved;
    } else {
        buf->data = cf_realloc(buf->data, capacity);
    }
    buf->capacity = capacity;
}

bool cf_buf_reserve(struct cf_buf *buf, size_t more)
{
    size_t need;
    if (__builtin_add_overflow(buf->size, more, &need) || (buf->max != 0 && need > buf->max)) {
        buf->overflow = true;
        return false;
    }
    if (need > buf->capacity) {
        grow(buf, need);
    }
    return true;
}

void cf_buf_add(struct cf_buf *buf, const void *data, size_t size)
{
    if (size != 0 && cf_buf_reserve(buf, size)) {
        memcpy(buf->data + buf->size, data, size);
        buf->size += size;
    }
}

void cf_buf_add_slice(struct cf_buf *buf, struct cf_slice slice)
{
    cf_buf_add(buf, slice.data, slice.size);
}

void cf_buf_add_str(struct cf_buf *buf, const char *text)
{
    cf_buf_add(buf, text, strlen(text));
}

void cf_buf_add_byte(struct cf_buf *buf, uint8_t byte)
{
    cf_buf_add(buf, &byte, 1);
}

void cf_buf_add_u32(struct cf_buf *buf, uint32_t value)
{
    uint8_t bytes[4];
    cf_put_u32(bytes, value);
    cf_buf_add(buf, bytes, sizeof(bytes));
}

void cf_buf_add_u64(struct cf_buf *buf, uint64_t value)
{
    uint8_t bytes[8];
    cf_put_u64(bytes, value);
    cf_buf_add(buf, bytes, sizeof(bytes));
}

void cf_buf_addf(struct cf_buf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    char small[256];
    int size = vsnprintf(small, sizeof(small), fmt, args);
    if (size >= 0 && (size_t)size < sizeof(small)) {
        cf_buf_add(buf, small, (size_t)size);
    } else if (size >= 0) {
        char *large = cf_alloc((size_t)size + 1);
        (void)vsnprintf(large, (size_t)size + 1, fmt, again);
        cf_buf_add(buf, large, (size_t)size);
        if (buf->secret) {
            cf_wipe(large, (size_t)size);
        }
        cf_free(large);
    }
    if (buf->secret) {
        cf_wipe(small, sizeof(small));
    }
    va_end(again);
    va_end(args);
}

cf_status cf_buf_check(const struct cf_buf *buf, struct cf_error *err)
{
    if (buf->overflow) {
        return cf_fail(err, CF_TOO_LARGE, "result larger than the limit of %zu bytes", buf->max);
    }
    return CF_OK;
}

const char *cf_buf_text(struct cf_buf *buf)
{
    size_t max = buf->max;
    buf->max = 0; /* the terminator is not content */
    cf_ignore(!cf_buf_reserve(buf, 1), "cannot overflow without a maximum");
    buf->max = max;
    buf->data[buf->size] = '\0';
    return (const char *)buf->data;
}
