/* node/format/json_write.c: from a tree or from calls to text. */
#include "node/format/json.h"

#include <assert.h>
#include <stdlib.h>

#include "node/base/memory.h"
#include "node/format/json_int.h"
#include "node/format/utf8.h"

#define SORT_ON_STACK 32

struct style {
    bool sorted, pretty;
};

/* Without the call into base when there is room already. */
static inline void put(struct cf_buf *buf, const void *data, size_t size)
{
    if (buf->capacity - buf->size >= size && (buf->max == 0 || buf->size + size <= buf->max)) {
        if (size != 0) {
            memcpy(buf->data + buf->size, data, size);
        }
        buf->size += size;
    } else {
        cf_buf_add(buf, data, size);
    }
}

static inline void put_byte(struct cf_buf *buf, char byte)
{
    put(buf, &byte, 1);
}

#define put_literal(buf, text) put((buf), ("" text), sizeof(text) - 1)

/* ---- strings ---- */

static void put_control(struct cf_buf *buf, uint8_t byte)
{
    static const char hex[] = "0123456789abcdef";
    switch (byte) {
    case '\b':
        put_literal(buf, "\\b");
        break;
    case '\f':
        put_literal(buf, "\\f");
        break;
    case '\n':
        put_literal(buf, "\\n");
        break;
    case '\r':
        put_literal(buf, "\\r");
        break;
    case '\t':
        put_literal(buf, "\\t");
        break;
    default: {
        char text[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
        put(buf, text, sizeof(text));
    }
    }
}

/* The one byte or sequence at `at` that is not plain; returns what comes after it. */
static const uint8_t *put_special(struct cf_buf *buf, const uint8_t *at, const uint8_t *end)
{
    if (*at == '"' || *at == '\\') {
        char text[2] = {'\\', (char)*at};
        put(buf, text, sizeof(text));
        return at + 1;
    }
    if (*at < 0x20) {
        put_control(buf, *at);
        return at + 1;
    }
    unsigned length = utf8_length(at, end);
    if (length == 0) {
        put_literal(buf, "\xef\xbf\xbd"); /* U+FFFD */
        return at + 1;
    }
    put(buf, at, length);
    return at + length;
}

void json_write_string(struct cf_buf *buf, struct cf_slice text)
{
    put_byte(buf, '"');
    const uint8_t *at = text.data;
    const uint8_t *end = text.size != 0 ? at + text.size : at;
    while (at != end) {
        const uint8_t *stop = json_plain_end(at, end);
        put(buf, at, (size_t)(stop - at));
        at = stop != end ? put_special(buf, stop, end) : end;
    }
    put_byte(buf, '"');
}

/* ---- trees ---- */

static int compare_members(const void *a, const void *b)
{
    const struct json_member *const *left = a;
    const struct json_member *const *right = b;
    return cf_slice_cmp((*left)->key, (*right)->key);
}

static bool in_order(const struct json *object)
{
    for (uint32_t i = 1; i < object->count; i++) {
        if (cf_slice_cmp(object->members[i - 1].key, object->members[i].key) > 0) {
            return false;
        }
    }
    return true;
}

static void write_node(struct cf_buf *buf, const struct json *node, struct style style,
                       uint32_t level);

static void new_line(struct cf_buf *buf, uint32_t level)
{
    put_byte(buf, '\n');
    for (uint32_t i = 0; i < level; i++) {
        put_literal(buf, "  ");
    }
}

static void write_member(struct cf_buf *buf, const struct json_member *member, struct style style,
                         uint32_t level, bool first)
{
    if (!first) {
        put_byte(buf, ',');
    }
    if (style.pretty) {
        new_line(buf, level);
    }
    json_write_string(buf, member->key);
    put_byte(buf, ':');
    if (style.pretty) {
        put_byte(buf, ' ');
    }
    write_node(buf, member->value, style, level);
}

static void write_members_sorted(struct cf_buf *buf, const struct json *object, struct style style,
                                 uint32_t level)
{
    const struct json_member *few[SORT_ON_STACK];
    const struct json_member **order = few;
    if (object->count > SORT_ON_STACK) {
        order = cf_array(object->count, sizeof(*order));
    }
    for (uint32_t i = 0; i < object->count; i++) {
        order[i] = &object->members[i];
    }
    qsort(order, object->count, sizeof(*order), compare_members);
    for (uint32_t i = 0; i < object->count; i++) {
        write_member(buf, order[i], style, level, i == 0);
    }
    if (order != few) {
        cf_free(order);
    }
}

static void write_object(struct cf_buf *buf, const struct json *object, struct style style,
                         uint32_t level)
{
    put_byte(buf, '{');
    if (style.sorted && !in_order(object)) {
        write_members_sorted(buf, object, style, level + 1);
    } else {
        for (uint32_t i = 0; i < object->count; i++) {
            write_member(buf, &object->members[i], style, level + 1, i == 0);
        }
    }
    if (style.pretty && object->count != 0) {
        new_line(buf, level);
    }
    put_byte(buf, '}');
}

static void write_array(struct cf_buf *buf, const struct json *array, struct style style,
                        uint32_t level)
{
    put_byte(buf, '[');
    for (uint32_t i = 0; i < array->count; i++) {
        if (i != 0) {
            put_byte(buf, ',');
        }
        if (style.pretty) {
            new_line(buf, level + 1);
        }
        write_node(buf, array->items[i], style, level + 1);
    }
    if (style.pretty && array->count != 0) {
        new_line(buf, level);
    }
    put_byte(buf, ']');
}

static void write_node(struct cf_buf *buf, const struct json *node, struct style style,
                       uint32_t level)
{
    switch (node->type) {
    case JSON_NULL:
        put_literal(buf, "null");
        break;
    case JSON_BOOL:
        cf_buf_add_str(buf, node->boolean ? "true" : "false");
        break;
    case JSON_NUMBER:
    case JSON_RAW:
        put(buf, node->text.data, node->text.size);
        break;
    case JSON_STRING:
        json_write_string(buf, node->text);
        break;
    case JSON_ARRAY:
        write_array(buf, node, style, level);
        break;
    case JSON_OBJECT:
        write_object(buf, node, style, level);
        break;
    }
}

void json_write(struct cf_buf *buf, const struct json *node)
{
    write_node(buf, node, (struct style){0}, 0);
}

void json_write_sorted(struct cf_buf *buf, const struct json *node)
{
    write_node(buf, node, (struct style){.sorted = true}, 0);
}

void json_write_pretty(struct cf_buf *buf, const struct json *node)
{
    write_node(buf, node, (struct style){.pretty = true}, 0);
}

/* ---- without a tree ---- */

static inline void before(struct json_out *out)
{
    if (out->comma) {
        put_byte(out->buf, ',');
    }
    out->comma = true;
}

static void open_container(struct json_out *out, char byte)
{
    before(out);
    put_byte(out->buf, byte);
    out->comma = false;
    out->depth++;
}

static void close_container(struct json_out *out, char byte)
{
    assert(out->depth != 0);
    put_byte(out->buf, byte);
    out->comma = true;
    out->depth--;
}

void json_out_init(struct json_out *out, struct cf_buf *buf)
{
    *out = (struct json_out){.buf = buf};
}

void json_out_object(struct json_out *out)
{
    open_container(out, '{');
}

void json_out_object_end(struct json_out *out)
{
    close_container(out, '}');
}

void json_out_array(struct json_out *out)
{
    open_container(out, '[');
}

void json_out_array_end(struct json_out *out)
{
    close_container(out, ']');
}

void json_out_key_slice(struct json_out *out, struct cf_slice key)
{
    before(out);
    json_write_string(out->buf, key);
    put_byte(out->buf, ':');
    out->comma = false;
}

void json_out_key(struct json_out *out, const char *key)
{
    json_out_key_slice(out, cf_slice_str(key));
}

void json_out_string(struct json_out *out, struct cf_slice value)
{
    before(out);
    json_write_string(out->buf, value);
}

void json_out_text(struct json_out *out, const char *value)
{
    if (value == NULL) {
        json_out_null(out);
    } else {
        json_out_string(out, cf_slice_str(value));
    }
}

void json_out_raw(struct json_out *out, struct cf_slice json)
{
    before(out);
    put(out->buf, json.data, json.size);
}

void json_out_int(struct json_out *out, int64_t value)
{
    if (value < 0) {
        before(out);
        put_byte(out->buf, '-');
        out->comma = false;
        json_out_uint(out, 0 - (uint64_t)value);
    } else {
        json_out_uint(out, (uint64_t)value);
    }
}

void json_out_uint(struct json_out *out, uint64_t value)
{
    uint8_t digits[20];
    uint8_t *at = digits + sizeof(digits);
    do {
        *--at = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    json_out_raw(out, cf_slice_of(at, (size_t)(digits + sizeof(digits) - at)));
}

void json_out_bool(struct json_out *out, bool value)
{
    json_out_raw(out, value ? CF_SLICE("true") : CF_SLICE("false"));
}

void json_out_null(struct json_out *out)
{
    json_out_raw(out, CF_SLICE("null"));
}

void json_out_node(struct json_out *out, const struct json *node)
{
    before(out);
    json_write_sorted(out->buf, node != NULL ? node : &json_shared_null);
}

void json_out_end(struct json_out *out)
{
    assert(out->depth == 0);
}
