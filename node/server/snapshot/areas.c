/* node/server/snapshot/areas.c: what engines say of their own names.
 *
 * Which of them are credentials goes into meta.json, by mount: a restore under other keys cannot open
 * the mount table, and has to void them all the same. */
#include <string.h>

#include "node/base/memory.h"
#include "node/core/mount.h"
#include "node/core/namespace.h"
#include "node/server/snapshot/areas.h"

#define UUID_SIZE sizeof(((struct uuid *)NULL)->bytes)

static size_t count_of(const char *const *prefix)
{
    size_t count = 0;
    while (prefix != NULL && prefix[count] != NULL) {
        count++;
    }
    return count;
}

static void add(struct areas *areas, struct arena *arena, struct uuid mount, enum area_kind kind,
                struct cf_slice prefix)
{
    if (areas->count == areas->capacity) {
        size_t capacity = areas->capacity == 0 ? 8 : 2 * areas->capacity;
        struct area *items = arena_alloc(arena, capacity * sizeof(*items));
        if (areas->count != 0) {
            memcpy(items, areas->items, areas->count * sizeof(*items));
        }
        areas->items = items;
        areas->capacity = capacity;
    }
    areas->items[areas->count++] = (struct area){mount, kind, prefix};
}

void areas_add_mount(struct areas *areas, struct arena *arena, const struct mount *mount)
{
    const char *const *lists[] = {[AREA_OF_CREDENTIALS] = mount->ops->credentials,
                                  [AREA_OF_REVOCATIONS] = mount->ops->revocations};
    for (size_t kind = 0; kind < CF_LENGTH(lists); kind++) {
        size_t count = count_of(lists[kind]);
        for (size_t i = 0; i < count; i++) {
            add(areas, arena, mount->uuid, (enum area_kind)kind, cf_slice_str(lists[kind][i]));
        }
    }
}

bool areas_hold(const struct areas *areas, enum area_kind kind, struct cf_slice name)
{
    struct cf_slice rest = cf_slice_from(name, sizeof(AREA_DATA) - 1);
    if (!cf_slice_starts(name, CF_SLICE(AREA_DATA)) || rest.size <= UUID_SIZE) {
        return false;
    }
    struct cf_slice own = cf_slice_from(rest, UUID_SIZE);
    own = cf_slice_from(own, own.data[0] == '/' ? 1 : 0);
    for (size_t i = 0; i < areas->count; i++) {
        const struct area *area = &areas->items[i];
        if (area->kind == kind && memcmp(area->mount.bytes, rest.data, UUID_SIZE) == 0 &&
            cf_slice_starts(own, area->prefix)) {
            return true;
        }
    }
    return false;
}

bool areas_any(const struct areas *areas)
{
    return areas->count != 0;
}

struct json *areas_to_json(struct arena *arena, const struct view *view)
{
    struct json *list = json_array_new(arena);
    for (size_t n = 0; n < view->namespaces->count; n++) {
        const struct mount_table *table = view->namespaces->list[n]->mounts;
        for (size_t m = 0; m < table->count; m++) {
            const struct mount *mount = table->mounts[m];
            size_t count = count_of(mount->ops->credentials);
            for (size_t i = 0; i < count; i++) {
                json_array_add(arena, list,
                               json_from_text(arena, arena_printf(arena, "%s/%s", mount->uuid_text,
                                                                  mount->ops->credentials[i])));
            }
        }
    }
    return list;
}

bool areas_from_json(struct areas *areas, struct arena *arena, const struct json *list)
{
    for (size_t i = 0; i < json_count(list); i++) {
        struct cf_slice text = CF_SLICE_EMPTY;
        struct uuid mount;
        if (!json_string(json_item(list, i), &text) || text.size < ENCODE_UUID_TEXT + 1 ||
            encode_uuid_parse(cf_slice_first(text, ENCODE_UUID_TEXT), &mount, NULL) != CF_OK) {
            return false;
        }
        add(areas, arena, mount, AREA_OF_CREDENTIALS, cf_slice_from(text, ENCODE_UUID_TEXT + 1));
    }
    return json_is(list, JSON_ARRAY);
}
