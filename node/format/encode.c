/* node/format/encode.c: base64, hex, base62, UUID. */
#include "node/format/encode.h"

#include "node/base/memory.h"

#define BASE64_COMMON "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char base64_standard[] = BASE64_COMMON "+/";
static const char base64_url[] = BASE64_COMMON "-_";
static const char hex_digits[] = "0123456789abcdef";
static const char base62_digits[] =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* ---- base64 ---- */

static void encode64(struct cf_buf *buf, struct cf_slice bytes, const char *alphabet, bool pad)
{
    if (bytes.size == 0 || !cf_buf_reserve(buf, ENCODE_BASE64_SIZE(bytes.size))) {
        return;
    }
    uint8_t *to = buf->data + buf->size;
    const uint8_t *from = bytes.data;
    size_t left = bytes.size;
    for (; left >= 3; left -= 3, from += 3) {
        uint32_t word = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
        *to++ = (uint8_t)alphabet[word >> 18];
        *to++ = (uint8_t)alphabet[word >> 12 & 63];
        *to++ = (uint8_t)alphabet[word >> 6 & 63];
        *to++ = (uint8_t)alphabet[word & 63];
    }
    if (left != 0) {
        uint32_t word = (uint32_t)from[0] << 16 | (left == 2 ? (uint32_t)from[1] << 8 : 0);
        *to++ = (uint8_t)alphabet[word >> 18];
        *to++ = (uint8_t)alphabet[word >> 12 & 63];
        if (left == 2) {
            *to++ = (uint8_t)alphabet[word >> 6 & 63];
        }
        for (size_t i = left; pad && i < 3; i++) {
            *to++ = '=';
        }
    }
    buf->size = (size_t)(to - buf->data);
}

void encode_base64(struct cf_buf *buf, struct cf_slice bytes)
{
    encode64(buf, bytes, base64_standard, true);
}

void encode_base64url(struct cf_buf *buf, struct cf_slice bytes)
{
    encode64(buf, bytes, base64_url, false);
}

/* 0..63, or 64 when the character does not belong. `last_two` are those of 62 and 63. */
static uint32_t value64(uint8_t byte, const char *last_two)
{
    if (byte >= 'A' && byte <= 'Z') {
        return (uint32_t)(byte - 'A');
    }
    if (byte >= 'a' && byte <= 'z') {
        return (uint32_t)(byte - 'a' + 26);
    }
    if (byte >= '0' && byte <= '9') {
        return (uint32_t)(byte - '0' + 52);
    }
    return byte == (uint8_t)last_two[0] ? 62 : byte == (uint8_t)last_two[1] ? 63 : 64;
}

/* Up to four characters to up to three bytes; false on a foreign character or stray bits. */
static bool decode_group(const uint8_t *from, size_t count, const char *last_two, uint8_t *to)
{
    uint32_t word = 0;
    for (size_t i = 0; i < 4; i++) {
        uint32_t value = i < count ? value64(from[i], last_two) : 0;
        if (value == 64) {
            return false;
        }
        word = word << 6 | value;
    }
    for (size_t i = 0; i + 1 < count; i++) {
        to[i] = (uint8_t)(word >> (16 - 8 * i));
    }
    uint32_t stray = count == 4 ? 0 : count == 3 ? word & 0xff : word & 0xffff;
    return stray == 0;
}

static cf_status decode64(struct cf_buf *buf, struct cf_slice text, const char *alphabet,
                          struct cf_error *err)
{
    size_t size = text.size;
    if (size % 4 == 0 && size != 0 && text.data[size - 1] == '=') {
        size -= text.data[size - 2] == '=' ? 2 : 1;
    }
    if (size % 4 == 1) {
        return cf_fail(err, CF_INVALID, "invalid base64: length");
    }
    size_t decoded = size / 4 * 3 + (size % 4 != 0 ? size % 4 - 1 : 0);
    if (!cf_buf_reserve(buf, decoded)) {
        return cf_buf_check(buf, err);
    }
    for (size_t at = 0; at < size; at += 4) {
        if (!decode_group(text.data + at, cf_min(size - at, 4), alphabet + 62,
                          buf->data + buf->size + at / 4 * 3)) {
            cf_wipe(buf->data + buf->size, at / 4 * 3 + cf_min(size - at, 4) - 1);
            return cf_fail(err, CF_INVALID, "invalid base64 near character %zu", at);
        }
    }
    buf->size += decoded;
    return CF_OK;
}

cf_status encode_base64_decode(struct cf_buf *buf, struct cf_slice text, struct cf_error *err)
{
    return decode64(buf, text, base64_standard, err);
}

cf_status encode_base64url_decode(struct cf_buf *buf, struct cf_slice text, struct cf_error *err)
{
    return decode64(buf, text, base64_url, err);
}

/* ---- hex ---- */

void encode_hex(struct cf_buf *buf, struct cf_slice bytes)
{
    if (!cf_buf_reserve(buf, 2 * bytes.size)) {
        return;
    }
    for (size_t i = 0; i < bytes.size; i++) {
        buf->data[buf->size++] = (uint8_t)hex_digits[bytes.data[i] >> 4];
        buf->data[buf->size++] = (uint8_t)hex_digits[bytes.data[i] & 15];
    }
}

/* 0..15, or 16 when it is no digit. */
static unsigned value16(uint8_t byte)
{
    uint8_t lower = byte | 0x20;
    if (byte >= '0' && byte <= '9') {
        return (unsigned)(byte - '0');
    }
    return lower >= 'a' && lower <= 'f' ? (unsigned)(lower - 'a' + 10) : 16;
}

cf_status encode_hex_decode(struct cf_buf *buf, struct cf_slice text, struct cf_error *err)
{
    if (text.size % 2 != 0) {
        return cf_fail(err, CF_INVALID, "invalid hex: odd number of digits");
    }
    if (!cf_buf_reserve(buf, text.size / 2)) {
        return cf_buf_check(buf, err);
    }
    for (size_t i = 0; i < text.size; i += 2) {
        unsigned high = value16(text.data[i]), low = value16(text.data[i + 1]);
        if (high > 15 || low > 15) {
            cf_wipe(buf->data + buf->size, i / 2);
            return cf_fail(err, CF_INVALID, "invalid hex near digit %zu", i);
        }
        buf->data[buf->size + i / 2] = (uint8_t)(high << 4 | low);
    }
    buf->size += text.size / 2;
    return CF_OK;
}

/* ---- base62 ---- */

void encode_base62_random(struct cf_buf *buf, const struct cf_random *random, size_t count)
{
    if (!cf_buf_reserve(buf, count)) {
        return;
    }
    uint8_t bytes[64];
    size_t at = sizeof(bytes);
    while (count > 0) {
        if (at == sizeof(bytes)) {
            cf_random_fill(random, bytes, sizeof(bytes));
            at = 0;
        }
        uint8_t byte = bytes[at++];
        if (byte < 4 * 62) { /* 248 of 256 values, four for each character */
            buf->data[buf->size++] = (uint8_t)base62_digits[byte % 62];
            count--;
        }
    }
    cf_wipe(bytes, sizeof(bytes));
}

/* ---- UUID ---- */

static bool is_dash_place(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

struct uuid encode_uuid_new(const struct cf_random *random)
{
    struct uuid uuid;
    cf_random_fill(random, uuid.bytes, sizeof(uuid.bytes));
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}

void encode_uuid_text(struct uuid uuid, char to[ENCODE_UUID_TEXT + 1])
{
    for (size_t i = 0; i < sizeof(uuid.bytes); i++) {
        if (is_dash_place(i)) {
            *to++ = '-';
        }
        *to++ = hex_digits[uuid.bytes[i] >> 4];
        *to++ = hex_digits[uuid.bytes[i] & 15];
    }
    *to = '\0';
}

void encode_uuid_add(struct cf_buf *buf, const struct cf_random *random)
{
    char text[ENCODE_UUID_TEXT + 1];
    encode_uuid_text(encode_uuid_new(random), text);
    cf_buf_add(buf, text, ENCODE_UUID_TEXT);
}

cf_status encode_uuid_parse(struct cf_slice text, struct uuid *ret, struct cf_error *err)
{
    struct uuid uuid;
    size_t at = 0;
    bool ok = text.size == ENCODE_UUID_TEXT;
    for (size_t i = 0; ok && i < sizeof(uuid.bytes); i++) {
        ok = !is_dash_place(i) || text.data[at++] == '-';
        unsigned high = value16(text.data[at]), low = value16(text.data[at + 1]);
        ok = ok && high < 16 && low < 16;
        uuid.bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    if (!ok) {
        return cf_fail(err, CF_INVALID, "invalid uuid");
    }
    *ret = uuid;
    return CF_OK;
}
