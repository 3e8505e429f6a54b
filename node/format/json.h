/* node/format/json.h
 *
 * JSON (RFC 8259) for requests and answers: a document tree in an arena, and writers.
 *
 * What the API demands of it: numbers keep their source text and never pass through a double
 * (`1.10`,
 * `-0`, `1e400` and 30 digits come out as they went in); of duplicate keys the last wins, in the
 * place of the first; key order is kept; text is UTF-8 and checked; every dimension has a limit.
 *
 * A node belongs to its arena, as does the text that it points to. A node may stand in several
 * parents (nothing points upwards); then all of them see a later change to it. true, false and null
 * are shared and never written. Nothing here may become part of itself. Thread: the arena's owner;
 * a tree that is not changed any more may be read from any thread.
 */
#ifndef COFFER_FORMAT_JSON_H
#define COFFER_FORMAT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/arena.h"
#include "node/base/slice.h"
#include "node/base/status.h"

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER, /* text: the number as it stood in the source */
    JSON_STRING, /* text: decoded, may hold NUL bytes */
    JSON_ARRAY,
    JSON_OBJECT,
    JSON_RAW, /* text: valid JSON of any type, written as it is; accessors do not look inside */
};

struct json;
struct json_index; /* hash index over the keys of a large object */

struct json_member {
    struct cf_slice key;
    struct json *value;
};

/* Read freely; change through the functions below only. */
struct json {
    enum json_type type;
    uint32_t count;    /* members or items */
    uint32_t capacity; /* room at members or items */
    union {
        bool boolean;
        struct cf_slice text;
        struct json **items;
        struct {
            struct json_member *members;
            struct json_index *index;
        };
    };
};

/* Zero means the default. depth is cut to JSON_DEPTH_MAX: reading and writing recurse. */
struct json_limits {
    uint32_t depth; /* containers within each other: 300 */
    uint32_t keys;  /* of one object, duplicates count: 10,000 */
    uint32_t items; /* of one array: 10,000 */
    uint32_t nodes; /* values in the document: 200,000 */
    size_t string;  /* bytes of one decoded string, key or number: 1 MiB */
};
#define JSON_DEPTH_MAX 1000

/* ---- reading ---- */

/* Reads one document with nothing but white space around it. `text` is copied into the arena and
 * may go away. limits NULL: the defaults. CF_INVALID with the byte offset when the text is
 * malformed or over a limit; the message never quotes the text. What was allocated stays in the
 * arena. */
CF_CHECKED cf_status json_parse(struct arena *arena, struct cf_slice text,
                                const struct json_limits *limits, struct json **ret,
                                struct cf_error *err);

/* All accessors accept NULL and nodes of other types: they answer NULL, false, 0 or an empty slice
 * and leave *ret alone, so that lookups can be chained. */

/* The value of a key, or NULL when absent. A JSON null is a node of its own. */
struct json *json_get(const struct json *object, const char *key);
struct json *json_get_slice(const struct json *object, struct cf_slice key);
/* Members or items: for (size_t i = 0; i < json_count(o); i++) { o->members[i].key ... } after a
 * look at the type. */
size_t json_count(const struct json *node);
struct json *json_item(const struct json *array, size_t at);
bool json_is(const struct json *node, enum json_type type);

bool json_string(const struct json *node, struct cf_slice *ret);
bool json_bool(const struct json *node, bool *ret);
bool json_number(const struct json *node, struct cf_slice *ret); /* its text */
/* Integers without fraction or exponent, as Go's json.Number.Int64; false when out of range. */
bool json_int64(const struct json *node, int64_t *ret);
bool json_uint64(const struct json *node, uint64_t *ret);
/* The text of a string member; empty when absent or of another type. */
struct cf_slice json_get_string(const struct json *object, const char *key);
/* An integer, a boolean, an object among the members; 0, false, NULL when absent or of another type. */
int64_t json_get_int(const struct json *object, const char *key);
bool json_get_bool(const struct json *object, const char *key);
struct json *json_get_object(const struct json *object, const char *key);

/* Same type and content; the order of keys does not matter, numbers compare as text. */
bool json_equal(const struct json *a, const struct json *b);

/* ---- building; none of these fails ---- */

struct json *json_null(void);
struct json *json_from_bool(bool value);
struct json *json_from_int(struct arena *arena, int64_t value);
struct json *json_from_uint(struct arena *arena, uint64_t value);
struct json *json_from_string(struct arena *arena, struct cf_slice text);   /* copies */
struct json *json_from_text(struct arena *arena, const char *text);         /* copies; NULL: null */
struct json *json_from_borrowed(struct arena *arena, struct cf_slice text); /* lives as the arena */
/* Valid JSON text, borrowed for the life of the arena; not checked. */
struct json *json_from_raw(struct arena *arena, struct cf_slice text);
/* Copies. NULL when the text is no JSON number. */
struct json *json_from_number(struct arena *arena, struct cf_slice text);
bool json_is_number(struct cf_slice text);

struct json *json_object_new(struct arena *arena);
struct json *json_array_new(struct arena *arena);
/* Adds the key at the end (copied), or replaces its value in place. Constant time on average.
 * value NULL: null. */
void json_object_set(struct arena *arena, struct json *object, struct cf_slice key,
                     struct json *value);
/* As json_object_set for a key that outlives the arena, such as a literal. */
void json_set(struct arena *arena, struct json *object, const char *key, struct json *value);
/* Shorthands of json_set; strings are copied. */
void json_set_string(struct arena *arena, struct json *object, const char *key,
                     struct cf_slice value);
void json_set_text(struct arena *arena, struct json *object, const char *key, const char *value);
void json_set_int(struct arena *arena, struct json *object, const char *key, int64_t value);
void json_set_bool(struct arena *arena, struct json *object, const char *key, bool value);
/* False when there was no such key. Linear time. */
bool json_object_remove(struct arena *arena, struct json *object, struct cf_slice key);
void json_array_add(struct arena *arena, struct json *array, struct json *value);
/* A copy that shares nothing with the original. */
struct json *json_copy(struct arena *arena, const struct json *from);
/* JSON merge patch (RFC 7396): a new tree that may share nodes with both; neither is changed. Raw
 * nodes count as a value that is replaced whole. target may be NULL. */
struct json *json_merge_patch(struct arena *arena, struct json *target, struct json *patch);

/* ---- writing ----
 * To a cf_buf, whose overflow flag tells at the end whether all went in. Escapes quotes,
 * backslashes and control characters; other text as it is; bytes that are no UTF-8 become U+FFFD,
 * as in Go. */

void json_write(struct cf_buf *buf, const struct json *node);
/* Keys in bytewise order at all levels (raw nodes stay as they are): what the API answers. */
void json_write_sorted(struct cf_buf *buf, const struct json *node);
/* Two spaces a level, no newline at the end. For people. */
void json_write_pretty(struct cf_buf *buf, const struct json *node);
/* One string with its quotes. */
void json_write_string(struct cf_buf *buf, struct cf_slice text);

/* A writer without a tree: calls come in the order of the text; it sets the commas. Keys are
 * written in the order of the calls, duplicates are the caller's business. json_out_end() asserts
 * that all that was opened was closed. */
struct json_out {
    struct cf_buf *buf;
    bool comma; /* the next key or value needs one */
    uint32_t depth;
};

void json_out_init(struct json_out *out, struct cf_buf *buf);
void json_out_object(struct json_out *out);
void json_out_object_end(struct json_out *out);
void json_out_array(struct json_out *out);
void json_out_array_end(struct json_out *out);
void json_out_key(struct json_out *out, const char *key);
void json_out_key_slice(struct json_out *out, struct cf_slice key);
void json_out_string(struct json_out *out, struct cf_slice value);
void json_out_text(struct json_out *out, const char *value); /* NULL: null */
void json_out_int(struct json_out *out, int64_t value);
void json_out_uint(struct json_out *out, uint64_t value);
void json_out_bool(struct json_out *out, bool value);
void json_out_null(struct json_out *out);
void json_out_raw(struct json_out *out, struct cf_slice json);     /* one valid value */
void json_out_node(struct json_out *out, const struct json *node); /* sorted; NULL: null */
void json_out_end(struct json_out *out);

#endif
