/* node/base/map.c: SipHash and an insertion-ordered open-addressing hash table. */
#include "node/base/map.h"

#include <sys/random.h>

#include "node/base/memory.h"

struct entry {
    uint64_t hash;
    uint8_t *key; /* NULL: removed */
    size_t key_size;
    void *value;
};

struct cf_map {
    struct entry *entries; /* in order of insertion */
    size_t entry_count, entry_capacity, live;
    uint32_t *slots; /* entry number + 1; 0 is free */
    size_t slot_count; /* power of two */
};

static uint8_t process_key[16];
static bool process_key_set;

static uint64_t rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static uint64_t load_le(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof(value));
    return value; /* little-endian hosts only, checked in meson.build */
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

uint64_t cf_siphash(const uint8_t key[16], struct cf_slice data)
{
    uint64_t k0 = load_le(key);
    uint64_t k1 = load_le(key + 8);
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575U, k1 ^ 0x646f72616e646f6dU, k0 ^ 0x6c7967656e657261U,
                     k1 ^ 0x7465646279746573U};
    size_t whole = data.size & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word = load_le(data.data + i);
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)data.size << 56;
    for (size_t i = whole; i < data.size; i++) {
        last |= (uint64_t)data.data[i] << (8 * (i - whole));
    }
    v[3] ^= last;
    sip_round(v);
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

__attribute__((constructor)) static void draw_process_key(void)
{
    if (!process_key_set && getrandom(process_key, sizeof(process_key), 0) == sizeof(process_key)) {
        process_key_set = true;
    }
}

void cf_hash_seed(const uint8_t key[16])
{
    memcpy(process_key, key, sizeof(process_key));
    process_key_set = true;
}

uint64_t cf_hash(struct cf_slice data)
{
    return cf_siphash(process_key, data);
}

struct cf_map *cf_map_new(void)
{
    return cf_new(struct cf_map);
}

void cf_map_free(struct cf_map *map)
{
    if (map == NULL) {
        return;
    }
    for (size_t i = 0; i < map->entry_count; i++) {
        cf_free(map->entries[i].key);
    }
    cf_free(map->entries);
    cf_free(map->slots);
    cf_free(map);
}

size_t cf_map_size(const struct cf_map *map)
{
    return map->live;
}

static bool is_key(const struct entry *entry, uint64_t hash, struct cf_slice key)
{
    return entry->key != NULL && entry->hash == hash &&
           cf_slice_eq(cf_slice_of(entry->key, entry->key_size), key);
}

static struct entry *find(const struct cf_map *map, uint64_t hash, struct cf_slice key)
{
    if (map->slot_count == 0) {
        return NULL;
    }
    for (size_t i = hash & (map->slot_count - 1);; i = (i + 1) & (map->slot_count - 1)) {
        if (map->slots[i] == 0) {
            return NULL;
        }
        struct entry *entry = &map->entries[map->slots[i] - 1];
        if (is_key(entry, hash, key)) {
            return entry;
        }
    }
}

static void place(struct cf_map *map, size_t number)
{
    size_t i = map->entries[number].hash & (map->slot_count - 1);
    while (map->slots[i] != 0) {
        i = (i + 1) & (map->slot_count - 1);
    }
    map->slots[i] = (uint32_t)number + 1;
}

/* Drops removed entries and makes the slots large enough for one more. */
static void rebuild(struct cf_map *map)
{
    size_t kept = 0;
    for (size_t i = 0; i < map->entry_count; i++) {
        if (map->entries[i].key != NULL) {
            map->entries[kept++] = map->entries[i];
        }
    }
    map->entry_count = kept;
    size_t wanted = 16;
    while (wanted < 4 * (kept + 1)) {
        wanted *= 2;
    }
    cf_free(map->slots);
    map->slots = cf_array(wanted, sizeof(*map->slots));
    map->slot_count = wanted;
    map->entry_capacity = wanted / 2;
    map->entries = cf_realloc(map->entries, map->entry_capacity * sizeof(*map->entries));
    for (size_t i = 0; i < kept; i++) {
        place(map, i);
    }
}

void *cf_map_get(const struct cf_map *map, struct cf_slice key)
{
    const struct entry *entry = find(map, cf_hash(key), key);
    return entry != NULL ? entry->value : NULL;
}

void *cf_map_put(struct cf_map *map, struct cf_slice key, void *value)
{
    uint64_t hash = cf_hash(key);
    struct entry *entry = find(map, hash, key);
    if (entry != NULL) {
        void *old = entry->value;
        entry->value = value;
        return old;
    }
    if (map->entry_count == map->entry_capacity) {
        rebuild(map);
    }
    map->entries[map->entry_count] = (struct entry){
        .hash = hash, .key = cf_memdup(key.data, key.size), .key_size = key.size, .value = value};
    place(map, map->entry_count++);
    map->live++;
    return NULL;
}

void *cf_map_remove(struct cf_map *map, struct cf_slice key)
{
    struct entry *entry = find(map, cf_hash(key), key);
    if (entry == NULL) {
        return NULL;
    }
    void *old = entry->value;
    cf_free(entry->key);
    *entry = (struct entry){0}; /* the slot stays and points at a removed entry */
    map->live--;
    return old;
}

bool cf_map_next(const struct cf_map *map, size_t *at, struct cf_slice *key, void **value)
{
    while (*at < map->entry_count) {
        const struct entry *entry = &map->entries[(*at)++];
        if (entry->key != NULL) {
            *key = cf_slice_of(entry->key, entry->key_size);
            *value = entry->value;
            return true;
        }
    }
    return false;
}
