/* node/format/json.c: the document tree, its key index and the builders. */
#include "node/format/json.h"

#include "node/base/map.h"
#include "node/format/json_int.h"

/* Open addressing; a slot holds a position + 1, so that zeroed memory is an empty table. The hash
 * is keyed (cf_hash): clients choose the keys. */
struct json_index {
    uint32_t mask;
    uint32_t slots[];
};

struct json json_shared_null = {.type = JSON_NULL};
struct json json_shared_true = {.type = JSON_BOOL, .boolean = true};
struct json json_shared_false = {.type = JSON_BOOL, .boolean = false};

/* ---- lookup ---- */

/* The slot of the key: its own, or the free one where it belongs. */
static uint32_t *slot_of(const struct json *object, struct cf_slice key)
{
    struct json_index *index = object->index;
    for (uint32_t at = (uint32_t)cf_hash(key) & index->mask;; at = (at + 1) & index->mask) {
        uint32_t *slot = &index->slots[at];
        if (*slot == 0 || cf_slice_eq(object->members[*slot - 1].key, key)) {
            return slot;
        }
    }
}

uint32_t json_find(const struct json *object, struct cf_slice key)
{
    if (object->index != NULL) {
        return *slot_of(object, key) - 1; /* 0 wraps to JSON_NOT_FOUND */
    }
    for (uint32_t i = 0; i < object->count; i++) {
        if (cf_slice_eq(object->members[i].key, key)) {
            return i;
        }
    }
    return JSON_NOT_FOUND;
}

/* An empty index for `count` keys to come: a third full then at most, so that some more may follow.
 */
static void index_new(struct arena *arena, struct json *object, uint32_t count)
{
    uint32_t size = 64;
    while (size < 3 * count) {
        size *= 2;
    }
    object->index = arena_alloc(arena, sizeof(struct json_index) + size * sizeof(uint32_t));
    object->index->mask = size - 1;
}

void json_reindex(struct arena *arena, struct json *object)
{
    object->index = NULL;
    if (object->count > JSON_INDEX_FROM) {
        index_new(arena, object, object->count);
        for (uint32_t i = 0; i < object->count; i++) {
            *slot_of(object, object->members[i].key) = i + 1;
        }
    }
}

void json_index_last(struct arena *arena, struct json *object)
{
    if (object->index == NULL || 2 * object->count > object->index->mask + 1) {
        json_reindex(arena, object);
    } else {
        *slot_of(object, object->members[object->count - 1].key) = object->count;
    }
}

void json_object_settle(struct arena *arena, struct json *object)
{
    uint32_t count = object->count;
    if (count > JSON_INDEX_FROM) {
        index_new(arena, object, count);
    }
    object->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct json_member member = object->members[i];
        uint32_t at = object->count;
        if (object->index != NULL) {
            uint32_t *slot = slot_of(object, member.key);
            at = *slot == 0 ? at : *slot - 1;
            *slot = at + 1;
            /* slot_of() may look at members[at] from now on: it is written below. */
        } else {
            uint32_t found = json_find(object, member.key);
            at = found == JSON_NOT_FOUND ? at : found;
        }
        object->members[at] = member;
        object->count += at == object->count;
    }
}

static struct json *get(const struct json *object, struct cf_slice key)
{
    if (object == NULL || object->type != JSON_OBJECT) {
        return NULL;
    }
    uint32_t at = json_find(object, key);
    return at != JSON_NOT_FOUND ? object->members[at].value : NULL;
}

struct json *json_get(const struct json *object, const char *key)
{
    return get(object, cf_slice_str(key));
}

struct json *json_get_slice(const struct json *object, struct cf_slice key)
{
    return get(object, key);
}

/* ---- accessors ---- */

bool json_is(const struct json *node, enum json_type type)
{
    return node != NULL && node->type == type;
}

size_t json_count(const struct json *node)
{
    return json_is(node, JSON_OBJECT) || json_is(node, JSON_ARRAY) ? node->count : 0;
}

struct json *json_item(const struct json *array, size_t at)
{
    return json_is(array, JSON_ARRAY) && at < array->count ? array->items[at] : NULL;
}

bool json_string(const struct json *node, struct cf_slice *ret)
{
    if (!json_is(node, JSON_STRING)) {
        return false;
    }
    *ret = node->text;
    return true;
}

bool json_bool(const struct json *node, bool *ret)
{
    if (!json_is(node, JSON_BOOL)) {
        return false;
    }
    *ret = node->boolean;
    return true;
}

bool json_number(const struct json *node, struct cf_slice *ret)
{
    if (!json_is(node, JSON_NUMBER)) {
        return false;
    }
    *ret = node->text;
    return true;
}

/* Digits only, no sign. */
static bool digits_to_u64(struct cf_slice text, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value)) {
            return false;
        }
    }
    *ret = value;
    return text.size != 0;
}

bool json_int64(const struct json *node, int64_t *ret)
{
    uint64_t value;
    if (!json_is(node, JSON_NUMBER)) {
        return false;
    }
    bool minus = node->text.size != 0 && node->text.data[0] == '-';
    if (!digits_to_u64(cf_slice_from(node->text, minus ? 1 : 0), &value) ||
        value > (uint64_t)INT64_MAX + minus) {
        return false;
    }
    *ret = minus ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

bool json_uint64(const struct json *node, uint64_t *ret)
{
    return json_is(node, JSON_NUMBER) && digits_to_u64(node->text, ret);
}

struct cf_slice json_get_string(const struct json *object, const char *key)
{
    struct cf_slice text = CF_SLICE_EMPTY;
    (void)json_string(json_get(object, key), &text);
    return text;
}

int64_t json_get_int(const struct json *object, const char *key)
{
    int64_t value = 0;
    cf_ignore(!json_int64(json_get(object, key), &value), "absent is 0");
    return value;
}

bool json_get_bool(const struct json *object, const char *key)
{
    bool value = false;
    cf_ignore(!json_bool(json_get(object, key), &value), "absent is false");
    return value;
}

struct json *json_get_object(const struct json *object, const char *key)
{
    struct json *value = json_get(object, key);
    return json_is(value, JSON_OBJECT) ? value : NULL;
}

static bool equal_objects(const struct json *a, const struct json *b)
{
    for (uint32_t i = 0; i < a->count; i++) {
        if (!json_equal(a->members[i].value, get(b, a->members[i].key))) {
            return false;
        }
    }
    return true;
}

bool json_equal(const struct json *a, const struct json *b)
{
    if (a == NULL || b == NULL || a->type != b->type || json_count(a) != json_count(b)) {
        return a == b;
    }
    switch (a->type) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return a->boolean == b->boolean;
    case JSON_NUMBER:
    case JSON_STRING:
    case JSON_RAW:
        return cf_slice_eq(a->text, b->text);
    case JSON_ARRAY:
        for (uint32_t i = 0; i < a->count; i++) {
            if (!json_equal(a->items[i], b->items[i])) {
                return false;
            }
        }
        return true;
    case JSON_OBJECT:
        return equal_objects(a, b);
    }
    return false;
}
