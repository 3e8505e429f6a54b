/* node/format/json_build.c: making and changing document trees. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "node/format/json.h"
#include "node/format/json_int.h"

static struct json *node_new(struct arena *arena, enum json_type type)
{
    struct json *node = arena_new_object(arena, struct json);
    node->type = type;
    return node;
}

static struct json *text_new(struct arena *arena, enum json_type type, struct cf_slice text)
{
    struct json *node = node_new(arena, type);
    node->text = text;
    return node;
}

struct json *json_null(void)
{
    return &json_shared_null;
}

struct json *json_from_bool(bool value)
{
    return value ? &json_shared_true : &json_shared_false;
}

struct json *json_from_int(struct arena *arena, int64_t value)
{
    char text[24];
    int size = snprintf(text, sizeof(text), "%" PRId64, value);
    return text_new(arena, JSON_NUMBER, arena_copy(arena, cf_slice_of(text, (size_t)size)));
}

struct json *json_from_uint(struct arena *arena, uint64_t value)
{
    char text[24];
    int size = snprintf(text, sizeof(text), "%" PRIu64, value);
    return text_new(arena, JSON_NUMBER, arena_copy(arena, cf_slice_of(text, (size_t)size)));
}

struct json *json_from_string(struct arena *arena, struct cf_slice text)
{
    return text_new(arena, JSON_STRING, arena_copy(arena, text));
}

struct json *json_from_text(struct arena *arena, const char *text)
{
    return text != NULL ? json_from_string(arena, cf_slice_str(text)) : json_null();
}

struct json *json_from_borrowed(struct arena *arena, struct cf_slice text)
{
    return text_new(arena, JSON_STRING, text);
}

struct json *json_from_raw(struct arena *arena, struct cf_slice text)
{
    return text_new(arena, JSON_RAW, text);
}

struct json *json_from_number(struct arena *arena, struct cf_slice text)
{
    return json_is_number(text) ? text_new(arena, JSON_NUMBER, arena_copy(arena, text)) : NULL;
}

struct json *json_object_new(struct arena *arena)
{
    return node_new(arena, JSON_OBJECT);
}

struct json *json_array_new(struct arena *arena)
{
    return node_new(arena, JSON_ARRAY);
}

/* Room for one more; what was there before stays in the arena, unused. */
static void *grown(struct arena *arena, struct json *node, const void *old, size_t size)
{
    node->capacity = node->capacity != 0 ? 2 * node->capacity : 4;
    void *room = arena_alloc_raw(arena, node->capacity * size);
    if (node->count != 0) {
        memcpy(room, old, node->count * size);
    }
    return room;
}

/* key_copy: the key is put into the arena if it is new. */
static void set(struct arena *arena, struct json *object, struct cf_slice key, struct json *value,
                bool key_copy)
{
    assert(object->type == JSON_OBJECT);
    value = value != NULL ? value : json_null();
    uint32_t at = json_find(object, key);
    if (at != JSON_NOT_FOUND) {
        object->members[at].value = value;
        return;
    }
    if (object->count == object->capacity) {
        object->members = grown(arena, object, object->members, sizeof(*object->members));
    }
    struct json_member *member = &object->members[object->count++];
    member->key = key_copy ? arena_copy(arena, key) : key;
    member->value = value;
    if (object->count > JSON_INDEX_FROM) {
        json_index_last(arena, object);
    }
}

void json_object_set(struct arena *arena, struct json *object, struct cf_slice key,
                     struct json *value)
{
    set(arena, object, key, value, true);
}

void json_set(struct arena *arena, struct json *object, const char *key, struct json *value)
{
    set(arena, object, cf_slice_str(key), value, false);
}

void json_set_string(struct arena *arena, struct json *object, const char *key,
                     struct cf_slice value)
{
    json_set(arena, object, key, json_from_string(arena, value));
}

void json_set_text(struct arena *arena, struct json *object, const char *key, const char *value)
{
    json_set(arena, object, key, json_from_text(arena, value));
}

void json_set_int(struct arena *arena, struct json *object, const char *key, int64_t value)
{
    json_set(arena, object, key, json_from_int(arena, value));
}

void json_set_bool(struct arena *arena, struct json *object, const char *key, bool value)
{
    json_set(arena, object, key, json_from_bool(value));
}

bool json_object_remove(struct arena *arena, struct json *object, struct cf_slice key)
{
    assert(object->type == JSON_OBJECT);
    uint32_t at = json_find(object, key);
    if (at == JSON_NOT_FOUND) {
        return false;
    }
    object->count--;
    memmove(&object->members[at], &object->members[at + 1],
            (object->count - at) * sizeof(*object->members));
    json_reindex(arena, object);
    return true;
}

void json_array_add(struct arena *arena, struct json *array, struct json *value)
{
    assert(array->type == JSON_ARRAY);
    if (array->count == array->capacity) {
        array->items = grown(arena, array, array->items, sizeof(struct json *));
    }
    array->items[array->count++] = value != NULL ? value : json_null();
}

static struct json *copy_object(struct arena *arena, const struct json *from)
{
    struct json *to = json_object_new(arena);
    for (uint32_t i = 0; i < from->count; i++) {
        json_object_set(arena, to, from->members[i].key, json_copy(arena, from->members[i].value));
    }
    return to;
}

struct json *json_copy(struct arena *arena, const struct json *from)
{
    switch (from->type) {
    case JSON_NULL:
        return json_null();
    case JSON_BOOL:
        return json_from_bool(from->boolean);
    case JSON_NUMBER:
    case JSON_STRING:
    case JSON_RAW:
        return text_new(arena, from->type, arena_copy(arena, from->text));
    case JSON_ARRAY: {
        struct json *to = json_array_new(arena);
        for (uint32_t i = 0; i < from->count; i++) {
            json_array_add(arena, to, json_copy(arena, from->items[i]));
        }
        return to;
    }
    case JSON_OBJECT:
        return copy_object(arena, from);
    }
    return json_null();
}

struct json *json_merge_patch(struct arena *arena, struct json *target, struct json *patch)
{
    if (patch->type != JSON_OBJECT) {
        return patch;
    }
    struct json *merged = json_object_new(arena);
    uint32_t target_count = json_is(target, JSON_OBJECT) ? target->count : 0;
    for (uint32_t i = 0; i < target_count; i++) {
        struct json_member member = target->members[i];
        struct json *change = json_get_slice(patch, member.key);
        if (change == NULL) {
            set(arena, merged, member.key, member.value, true);
        } else if (change->type != JSON_NULL) {
            set(arena, merged, member.key, json_merge_patch(arena, member.value, change), true);
        }
    }
    for (uint32_t i = 0; i < patch->count; i++) {
        struct json_member member = patch->members[i];
        bool is_new = target_count == 0 || json_find(target, member.key) == JSON_NOT_FOUND;
        if (is_new && member.value->type != JSON_NULL) {
            set(arena, merged, member.key, json_merge_patch(arena, NULL, member.value), true);
        }
    }
    return merged;
}
