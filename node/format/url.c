/* node/format/url.c: percent-encoding and query parameters. */
#include "node/format/url.h"

#include "node/format/utf8.h"

/* 0..15, or -1. */
static int hex_value(uint8_t byte)
{
    uint8_t lower = byte | 0x20;
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static bool needs_decoding(struct cf_slice text, bool plus_is_space)
{
    return cf_slice_find(text, '%') != text.size ||
           (plus_is_space && cf_slice_find(text, '+') != text.size);
}

cf_status url_decode(struct arena *arena, struct cf_slice text, bool plus_is_space,
                     struct cf_slice *ret, struct cf_error *err)
{
    struct cf_slice decoded = text;
    if (needs_decoding(text, plus_is_space)) {
        uint8_t *to = arena_alloc_raw(arena, text.size);
        size_t size = 0;
        for (size_t i = 0; i < text.size; i++) {
            uint8_t byte = text.data[i];
            if (byte == '%') {
                int high = i + 2 < text.size ? hex_value(text.data[i + 1]) : -1;
                int low = i + 2 < text.size ? hex_value(text.data[i + 2]) : -1;
                if (high < 0 || low < 0) {
                    return cf_fail(err, CF_INVALID, "malformed percent-encoding");
                }
                byte = (uint8_t)(high << 4 | low);
                i += 2;
            } else if (byte == '+' && plus_is_space) {
                byte = ' ';
            }
            to[size++] = byte;
        }
        decoded = cf_slice_of(to, size);
    }
    if (cf_slice_find(decoded, '\0') != decoded.size || !utf8_valid(decoded)) {
        return cf_fail(err, CF_INVALID, "percent-encoded text holds a NUL or invalid UTF-8");
    }
    *ret = decoded;
    return CF_OK;
}

static void encode(struct cf_buf *buf, struct cf_slice text, bool keep_slash)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i], lower = byte | 0x20;
        if ((lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' ||
            byte == '.' || byte == '_' || byte == '~' || (byte == '/' && keep_slash)) {
            cf_buf_add_byte(buf, byte);
        } else {
            char escape[3] = {'%', hex[byte >> 4], hex[byte & 15]};
            cf_buf_add(buf, escape, sizeof(escape));
        }
    }
}

void url_encode(struct cf_buf *buf, struct cf_slice text)
{
    encode(buf, text, false);
}

void url_encode_path(struct cf_buf *buf, struct cf_slice text)
{
    encode(buf, text, true);
}

bool url_next(struct arena *arena, struct cf_slice *rest, struct url_parameter *ret,
              cf_status *status, struct cf_error *err)
{
    struct cf_slice part = CF_SLICE_EMPTY;
    *status = CF_OK;
    while (part.size == 0) {
        if (rest->size == 0) {
            return false;
        }
        size_t end = cf_slice_find(*rest, '&');
        part = cf_slice_first(*rest, end);
        *rest = cf_slice_from(*rest, end + 1);
    }
    size_t equals = cf_slice_find(part, '=');
    struct url_parameter found;
    *status = url_decode(arena, cf_slice_first(part, equals), true, &found.key, err);
    if (*status == CF_OK) {
        *status = url_decode(arena, cf_slice_from(part, equals + 1), true, &found.value, err);
    }
    if (*status != CF_OK) {
        return false;
    }
    *ret = found;
    return true;
}

cf_status url_query(struct arena *arena, struct cf_slice query, const char *key,
                    struct cf_slice *ret, struct cf_error *err)
{
    struct url_parameter parameter;
    struct cf_slice found = CF_SLICE_EMPTY;
    bool have = false;
    cf_status status;
    while (url_next(arena, &query, &parameter, &status, err)) {
        if (!have && cf_slice_is(parameter.key, key)) {
            found = parameter.value;
            have = true;
        }
    }
    if (status == CF_OK && have) {
        *ret = found;
    }
    return status;
}
