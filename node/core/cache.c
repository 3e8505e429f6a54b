/* node/core/cache.c: the change clock, and a set-associative table of objects under sharded locks.
 */
#include "node/core/cache.h"

#include <pthread.h>
#include <stdatomic.h>

#include "node/base/map.h"
#include "node/base/memory.h"

#define CLOCK_SLOTS ((size_t)1 << 15)
#define WAYS ((size_t)4)
#define SHARDS ((size_t)16)

struct slot {
    uint64_t hash;
    struct cache_object *object;
    uint8_t *name;
    size_t name_size;
    unsigned kind;
    uint32_t used; /* for the choice of a victim */
};

struct cache {
    _Atomic uint64_t changed[CLOCK_SLOTS];
    _Atomic uint64_t all_changed;
    pthread_mutex_t locks[SHARDS];
    struct slot *slots;
    size_t sets; /* power of two */
    _Atomic uint32_t tick;
};

struct cache *cache_new(size_t entries_max)
{
    struct cache *cache = cf_new(struct cache);
    cache->sets = SHARDS;
    while (cache->sets * WAYS < entries_max) {
        cache->sets *= 2;
    }
    cache->slots = cf_array(cache->sets * WAYS, sizeof(*cache->slots));
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&cache->locks[i], NULL);
    }
    return cache;
}

static void empty(struct slot *slot)
{
    cache_object_unref(slot->object);
    cf_free(slot->name);
    *slot = (struct slot){0};
}

void cache_clear(struct cache *cache)
{
    for (size_t set = 0; set < cache->sets; set++) {
        pthread_mutex_t *lock = &cache->locks[set % SHARDS];
        pthread_mutex_lock(lock);
        for (size_t way = 0; way < WAYS; way++) {
            empty(&cache->slots[set * WAYS + way]);
        }
        pthread_mutex_unlock(lock);
    }
}

void cache_free(struct cache *cache)
{
    if (cache == NULL) {
        return;
    }
    cache_clear(cache);
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_destroy(&cache->locks[i]);
    }
    cf_free(cache->slots);
    cf_free(cache);
}

static void raise_to(_Atomic uint64_t *slot, uint64_t index)
{
    uint64_t seen = atomic_load_explicit(slot, memory_order_relaxed);
    while (seen < index && !atomic_compare_exchange_weak(slot, &seen, index)) {
    }
}

void cache_changed(struct cache *cache, uint64_t key_hash, uint64_t index)
{
    raise_to(&cache->changed[key_hash % CLOCK_SLOTS], index);
}

void cache_changed_all(struct cache *cache, uint64_t index)
{
    raise_to(&cache->all_changed, index);
}

bool cache_unchanged(const struct cache *cache, uint64_t key_hash, uint64_t from, uint64_t to)
{
    uint64_t older = from < to ? from : to;
    return atomic_load(&cache->changed[key_hash % CLOCK_SLOTS]) <= older &&
           atomic_load(&cache->all_changed) <= older;
}

void cache_object_init(struct cache_object *object, void (*destroy)(struct cache_object *))
{
    atomic_init(&object->references, 1);
    object->destroy = destroy;
}

struct cache_object *cache_object_ref(struct cache_object *object)
{
    atomic_fetch_add_explicit(&object->references, 1, memory_order_relaxed);
    return object;
}

void cache_object_unref(struct cache_object *object)
{
    if (object != NULL &&
        atomic_fetch_sub_explicit(&object->references, 1, memory_order_acq_rel) == 1) {
        object->destroy(object);
    }
}

static bool is_good(const struct cache *cache, const struct cache_object *object, uint64_t index)
{
    for (size_t i = 0; i < object->key_count; i++) {
        if (!cache_unchanged(cache, object->keys[i], object->index, index)) {
            return false;
        }
    }
    return true;
}

static struct slot *find(struct cache *cache, size_t set, uint64_t hash, unsigned kind,
                         struct cf_slice name)
{
    for (size_t way = 0; way < WAYS; way++) {
        struct slot *slot = &cache->slots[set * WAYS + way];
        if (slot->object != NULL && slot->hash == hash && slot->kind == kind &&
            cf_slice_eq(cf_slice_of(slot->name, slot->name_size), name)) {
            return slot;
        }
    }
    return NULL;
}

static uint64_t hash_of(unsigned kind, struct cf_slice name)
{
    return cf_hash(name) + kind * 0x9e3779b97f4a7c15U;
}

struct cache_object *cache_get(struct cache *cache, unsigned kind, struct cf_slice name,
                               uint64_t index)
{
    uint64_t hash = hash_of(kind, name);
    size_t set = hash & (cache->sets - 1);
    struct cache_object *object = NULL;
    pthread_mutex_t *lock = &cache->locks[set % SHARDS];
    pthread_mutex_lock(lock);
    struct slot *slot = find(cache, set, hash, kind, name);
    if (slot != NULL) {
        slot->used = atomic_fetch_add_explicit(&cache->tick, 1, memory_order_relaxed);
        object = cache_object_ref(slot->object);
    }
    pthread_mutex_unlock(lock);
    if (object != NULL && !is_good(cache, object, index)) {
        cache_object_unref(object);
        return NULL;
    }
    return object;
}

void cache_put(struct cache *cache, unsigned kind, struct cf_slice name,
               struct cache_object *object)
{
    uint64_t hash = hash_of(kind, name);
    size_t set = hash & (cache->sets - 1);
    pthread_mutex_t *lock = &cache->locks[set % SHARDS];
    pthread_mutex_lock(lock);
    struct slot *slot = find(cache, set, hash, kind, name);
    bool newer = slot != NULL && slot->object->index > object->index;
    if (newer || !is_good(cache, object, object->index)) {
        pthread_mutex_unlock(lock); /* a newer one is there already, or has to be made */
        return;
    }
    for (size_t way = 0; slot == NULL && way < WAYS; way++) {
        if (cache->slots[set * WAYS + way].object == NULL) {
            slot = &cache->slots[set * WAYS + way];
        }
    }
    if (slot == NULL) {
        slot = &cache->slots[set * WAYS];
        for (size_t way = 1; way < WAYS; way++) {
            struct slot *other = &cache->slots[set * WAYS + way];
            slot = (int32_t)(other->used - slot->used) < 0 ? other : slot;
        }
    }
    empty(slot);
    *slot = (struct slot){.hash = hash,
                          .object = cache_object_ref(object),
                          .name = cf_memdup(name.data, name.size),
                          .name_size = name.size,
                          .kind = kind,
                          .used = atomic_fetch_add(&cache->tick, 1)};
    pthread_mutex_unlock(lock);
}
