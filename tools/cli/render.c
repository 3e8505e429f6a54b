/* tools/cli/render.c: JSON values as text. */
#include <inttypes.h>
#include <stdlib.h>

#include "node/base/memory.h"
#include "tools/cli/render.h"

/* The parser bounds the depth of what comes from outside; this bounds what we would print. */
#define DEPTH_MAX 1000u

static int by_key(const void *a, const void *b, void *context)
{
    const struct json *object = context;
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return cf_slice_cmp(object->members[left].key, object->members[right].key);
}

static void sort_members(const struct json *object, uint32_t *order)
{
    for (uint32_t i = 0; i < object->count; i++) {
        order[i] = i;
    }
    qsort_r(order, object->count, sizeof(*order), by_key, (void *)(uintptr_t)object);
}

const uint32_t *render_order(struct arena *arena, const struct json *object)
{
    uint32_t *order = arena_alloc(arena, (object->count + 1) * sizeof(*order));
    sort_members(object, order);
    return order;
}

static void value_at(struct cf_buf *out, const struct json *value, unsigned depth)
{
    if (value == NULL || depth > DEPTH_MAX) {
        cf_buf_add_str(out, "<nil>");
        return;
    }
    switch (value->type) {
    case JSON_NULL:
        cf_buf_add_str(out, "<nil>");
        break;
    case JSON_BOOL:
        cf_buf_add_str(out, value->boolean ? "true" : "false");
        break;
    case JSON_NUMBER:
    case JSON_STRING:
    case JSON_RAW:
        cf_buf_add_slice(out, value->text);
        break;
    case JSON_ARRAY:
        cf_buf_add_byte(out, '[');
        for (uint32_t i = 0; i < value->count; i++) {
            cf_buf_add_str(out, i > 0 ? " " : "");
            value_at(out, value->items[i], depth + 1);
        }
        cf_buf_add_byte(out, ']');
        break;
    case JSON_OBJECT: {
        uint32_t *order = cf_array(value->count + 1, sizeof(*order));
        sort_members(value, order);
        cf_buf_add_str(out, "map[");
        for (uint32_t i = 0; i < value->count; i++) {
            const struct json_member *member = &value->members[order[i]];
            cf_buf_add_str(out, i > 0 ? " " : "");
            cf_buf_add_slice(out, member->key);
            cf_buf_add_byte(out, ':');
            value_at(out, member->value, depth + 1);
        }
        cf_buf_add_byte(out, ']');
        cf_free(order);
        break;
    }
    }
}

void render_value(struct cf_buf *out, const struct json *value)
{
    value_at(out, value, 0);
}

void render_quoted_list(struct cf_buf *out, const struct json *list)
{
    cf_buf_add_byte(out, '[');
    for (size_t i = 0; i < json_count(list) && json_is(list, JSON_ARRAY); i++) {
        struct cf_slice text = CF_SLICE_EMPTY;
        (void)json_string(list->items[i], &text);
        cf_buf_add_str(out, i > 0 ? " " : "");
        json_write_string(out, text);
    }
    cf_buf_add_byte(out, ']');
}

void render_duration(struct cf_buf *out, int64_t seconds)
{
    if (seconds == 0) {
        cf_buf_add_str(out, "0s");
        return;
    }
    uint64_t left = seconds < 0 ? 0 - (uint64_t)seconds : (uint64_t)seconds;
    cf_buf_add_str(out, seconds < 0 ? "-" : "");
    uint64_t hours = left / 3600;
    uint64_t minutes = left / 60 % 60;
    uint64_t rest = left % 60;
    if (hours > 0) {
        cf_buf_addf(out, "%" PRIu64 "h", hours);
    }
    if (minutes > 0 || (hours > 0 && rest > 0)) {
        cf_buf_addf(out, "%" PRIu64 "m", minutes);
    }
    if (rest > 0) {
        cf_buf_addf(out, "%" PRIu64 "s", rest);
    }
}

bool render_is_duration(struct cf_slice key)
{
    return cf_slice_is(key, "period") || cf_slice_ends(key, CF_SLICE("_period")) ||
           cf_slice_is(key, "ttl") || cf_slice_ends(key, CF_SLICE("_ttl")) ||
           cf_slice_is(key, "duration") || cf_slice_ends(key, CF_SLICE("_duration")) ||
           cf_slice_is(key, "lease_max") || cf_slice_is(key, "ttl_max");
}

void render_field(struct cf_buf *out, struct cf_slice key, const struct json *value)
{
    int64_t seconds = 0;
    if (render_is_duration(key) && json_int64(value, &seconds)) {
        render_duration(out, seconds);
    } else {
        render_value(out, value);
    }
}

/* Words and number-like texts that some YAML reader would take for something else. */
static bool yaml_is_plain(struct cf_slice text)
{
    static const char *const words[] = {"true", "false", "yes",  "no",  "on", "off",
                                        "y",    "n",     "null", "nan", "inf"};
    if (text.size == 0 || text.size > 200) {
        return false;
    }
    uint8_t first = text.data[0] | 0x20;
    if ((first < 'a' || first > 'z') && text.data[0] != '/' && text.data[0] != '_') {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        bool letter = ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c >= '0' && c <= '9');
        bool inner = c == ' ' && i + 1 < text.size;
        if (!letter && !inner && strchr("_-./+=@", c) == NULL) {
            return false;
        }
    }
    for (size_t i = 0; i < CF_LENGTH(words); i++) {
        if (strlen(words[i]) == text.size &&
            strncasecmp((const char *)text.data, words[i], text.size) == 0) {
            return false;
        }
    }
    return true;
}

static void yaml_text(struct cf_buf *out, struct cf_slice text)
{
    if (yaml_is_plain(text)) {
        cf_buf_add_slice(out, text);
    } else {
        json_write_string(out, text);
    }
}

static void indent_by(struct cf_buf *out, unsigned indent)
{
    for (unsigned i = 0; i < indent; i++) {
        cf_buf_add_str(out, "  ");
    }
}

static bool is_block(const struct json *value)
{
    return (json_is(value, JSON_OBJECT) || json_is(value, JSON_ARRAY)) && value->count > 0;
}

/* A list within a map stands at the map's own indentation, as the Go library writes it. */
static void yaml_at(struct cf_buf *out, const struct json *value, unsigned indent, unsigned depth,
                    bool first_inline)
{
    if (depth > DEPTH_MAX) {
        cf_buf_add_str(out, "null");
        return;
    }
    if (json_is(value, JSON_OBJECT) && value->count > 0) {
        uint32_t *order = cf_array(value->count, sizeof(*order));
        sort_members(value, order);
        for (uint32_t i = 0; i < value->count; i++) {
            const struct json_member *member = &value->members[order[i]];
            if (i > 0) {
                cf_buf_add_byte(out, '\n');
            }
            if (i > 0 || !first_inline) {
                indent_by(out, indent);
            }
            yaml_text(out, member->key);
            cf_buf_add_byte(out, ':');
            bool block = is_block(member->value);
            cf_buf_add_str(out, block ? "\n" : " ");
            bool list = json_is(member->value, JSON_ARRAY);
            yaml_at(out, member->value, list ? indent : indent + 1, depth + 1, !block);
        }
        cf_free(order);
    } else if (json_is(value, JSON_ARRAY) && value->count > 0) {
        for (uint32_t i = 0; i < value->count; i++) {
            cf_buf_add_str(out, i > 0 ? "\n" : "");
            if (i > 0 || !first_inline) {
                indent_by(out, indent);
            }
            cf_buf_add_str(out, "- ");
            yaml_at(out, value->items[i], indent + 1, depth + 1, true);
        }
    } else if (json_is(value, JSON_STRING)) {
        yaml_text(out, value->text);
    } else if (value == NULL) {
        cf_buf_add_str(out, "null");
    } else {
        json_write(out, value); /* numbers, booleans, null, {} and [] are the same in YAML */
    }
}

void render_yaml(struct cf_buf *out, const struct json *value)
{
    yaml_at(out, value, 0, 0, false);
}

static struct json *sorted(struct arena *arena, const struct json *value)
{
    if (json_is(value, JSON_OBJECT)) {
        struct json *object = json_object_new(arena);
        const uint32_t *order = render_order(arena, value);
        for (uint32_t i = 0; i < value->count; i++) {
            const struct json_member *member = &value->members[order[i]];
            json_object_set(arena, object, member->key, sorted(arena, member->value));
        }
        return object;
    }
    if (json_is(value, JSON_ARRAY)) {
        struct json *array = json_array_new(arena);
        for (uint32_t i = 0; i < value->count; i++) {
            json_array_add(arena, array, sorted(arena, value->items[i]));
        }
        return array;
    }
    return value != NULL ? json_copy(arena, value) : json_null();
}

void render_json(struct cf_buf *out, struct arena *arena, const struct json *value)
{
    if (!json_is(value, JSON_OBJECT)) {
        json_write_pretty(out, sorted(arena, value));
        return;
    }
    struct json *object = json_object_new(arena);
    for (uint32_t i = 0; i < value->count; i++) {
        json_object_set(arena, object, value->members[i].key,
                        sorted(arena, value->members[i].value));
    }
    json_write_pretty(out, object);
}
