/* node/format/json_int.h: what the JSON files share. */
#ifndef COFFER_FORMAT_JSON_INT_H
#define COFFER_FORMAT_JSON_INT_H

#include "node/format/json.h"

/* Up to here a linear search is as fast as hashing. */
#define JSON_INDEX_FROM 16u

#define JSON_NOT_FOUND UINT32_MAX

/* Position of a key, or JSON_NOT_FOUND. */
uint32_t json_find(const struct json *object, struct cf_slice key);

/* Removes duplicate keys (the last value in the first place) and builds the index if one is due.
 * The members are already in place, count is set. */
void json_object_settle(struct arena *arena, struct json *object);

/* json_parse(), telling where it stopped. */
CF_CHECKED cf_status json_parse_at(struct arena *arena, struct cf_slice text,
                                   const struct json_limits *limits, struct json **ret,
                                   size_t *ret_offset, struct cf_error *err);

/* Builds the index anew, or drops it when there are few keys. */
void json_reindex(struct arena *arena, struct json *object);
/* The last member was just added to more than JSON_INDEX_FROM. */
void json_index_last(struct arena *arena, struct json *object);

/* The shared nodes. */
extern struct json json_shared_null, json_shared_true, json_shared_false;

/* Whether any of eight bytes needs a closer look within a string: quote, backslash, control
 * character or not ASCII. (x - 0x01..) borrows only past a byte that is itself a hit.) */
static inline bool json_is_plain8(const uint8_t *at)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t bytes;
    memcpy(&bytes, at, sizeof(bytes));
    uint64_t quote = bytes ^ ones * '"', backslash = bytes ^ ones * '\\';
    return (((bytes - ones * 0x20) | (quote - ones) | (backslash - ones) | bytes) & tops) == 0;
}

/* The same for one byte. */
static inline bool json_is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* The end of the run of plain bytes that starts at `at`. */
static inline const uint8_t *json_plain_end(const uint8_t *at, const uint8_t *end)
{
    while (end - at >= 8 && json_is_plain8(at)) {
        at += 8;
    }
    while (at < end && json_is_plain(*at)) {
        at++;
    }
    return at;
}

#endif
