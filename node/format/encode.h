/* node/format/encode.h
 *
 * Text forms of bytes: base64, base64url (RFC 4648), hex, base62 and UUIDs (RFC 9562). The decoders
 * are strict: no white space, no foreign characters, no bits set that the value does not have, so
 * that a value has one spelling. They are not in constant time (keys that are secret come from our
 * own files, not from guesses). Thread: any.
 */
#ifndef COFFER_FORMAT_ENCODE_H
#define COFFER_FORMAT_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/host.h"
#include "node/base/slice.h"
#include "node/base/status.h"

/* What a string of `size` bytes becomes, padded; and room enough for decoding `size` characters. */
#define ENCODE_BASE64_SIZE(size) (((size) + 2) / 3 * 4)
#define ENCODE_BASE64_DECODED_MAX(size) ((size) / 4 * 3 + 3)

/* ---- each appends to `buf` ---- */

void encode_base64(struct cf_buf *buf, struct cf_slice bytes);    /* with padding */
void encode_base64url(struct cf_buf *buf, struct cf_slice bytes); /* without */
void encode_hex(struct cf_buf *buf, struct cf_slice bytes);       /* small letters */

/* CF_INVALID when the text is no such encoding, buf is then as before. CF_TOO_LARGE when the bytes
 * do not fit into buf. Padding may be there in full or be missing. */
CF_CHECKED cf_status encode_base64_decode(struct cf_buf *buf, struct cf_slice text,
                                          struct cf_error *err);
CF_CHECKED cf_status encode_base64url_decode(struct cf_buf *buf, struct cf_slice text,
                                             struct cf_error *err);
/* Both cases of letters; an even number of digits. */
CF_CHECKED cf_status encode_hex_decode(struct cf_buf *buf, struct cf_slice text,
                                       struct cf_error *err);

/* Appends `count` characters of [0-9A-Za-z], each equally likely (rejection sampling). */
void encode_base62_random(struct cf_buf *buf, const struct cf_random *random, size_t count);

/* ---- UUIDs ---- */

#define ENCODE_UUID_TEXT 36 /* characters, without the NUL */

struct uuid {
    uint8_t bytes[16];
};

/* Version 4, variant 10 (RFC 9562 section 5.4). */
struct uuid encode_uuid_new(const struct cf_random *random);
/* Small letters, NUL-terminated. */
void encode_uuid_text(struct uuid uuid, char to[ENCODE_UUID_TEXT + 1]);
void encode_uuid_add(struct cf_buf *buf, const struct cf_random *random); /* a new one, as text */
/* 8-4-4-4-12 hex digits of either case, any version. CF_INVALID otherwise. */
CF_CHECKED cf_status encode_uuid_parse(struct cf_slice text, struct uuid *ret,
                                       struct cf_error *err);

#endif
