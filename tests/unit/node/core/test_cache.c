/* tests/unit/node/core/test_cache.c: the change clock, and objects that are good for a view or
 * missing. */
#include "node/core/cache.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "tests/lib/test.h"

struct thing {
    struct cache_object object;
    uint64_t keys[2];
    uint64_t value;
};

static _Atomic unsigned destroyed;

static void destroy(struct cache_object *object)
{
    destroyed++;
    cf_free(cf_container(object, struct thing, object));
}

static struct thing *thing_new(uint64_t index, uint64_t key, uint64_t value)
{
    struct thing *thing = cf_new(struct thing);
    cache_object_init(&thing->object, destroy);
    thing->keys[0] = key;
    thing->object.keys = thing->keys;
    thing->object.key_count = 1;
    thing->object.index = index;
    thing->value = value;
    return thing;
}

static void put(struct cache *cache, const char *name, uint64_t index, uint64_t key, uint64_t value)
{
    struct thing *thing = thing_new(index, key, value);
    cache_put(cache, CACHE_TOKEN, cf_slice_str(name), &thing->object);
    cache_object_unref(&thing->object);
}

/* 0: a miss. */
static uint64_t get(struct cache *cache, const char *name, uint64_t index)
{
    struct cache_object *object = cache_get(cache, CACHE_TOKEN, cf_slice_str(name), index);
    uint64_t value = object != NULL ? cf_container(object, struct thing, object)->value : 0;
    cache_object_unref(object);
    return value;
}

START_TEST(change_clock)
{
    struct cache *cache = cache_new(64);
    ck_assert(cache_unchanged(cache, 5, 0, 100));
    cache_changed(cache, 5, 10);
    ck_assert(cache_unchanged(cache, 5, 10, 20));
    ck_assert(cache_unchanged(cache, 5, 20, 10));
    ck_assert(!cache_unchanged(cache, 5, 9, 20));
    ck_assert(!cache_unchanged(cache, 5, 20, 9));
    ck_assert(cache_unchanged(cache, 6, 0, 20));
    cache_changed(cache, 5, 8); /* an older note comes late: the newer one stands */
    ck_assert(!cache_unchanged(cache, 5, 9, 20));
    ck_assert(cache_unchanged(cache, 5, 10, 20));
    cache_changed_all(cache, 15);
    ck_assert(!cache_unchanged(cache, 6, 14, 20));
    ck_assert(cache_unchanged(cache, 6, 15, 20));
    cache_free(cache);
}
END_TEST

START_TEST(good_exactly_when_nothing_changed_after_both)
{
    /* For every order of a change at c, a fill at f and a view at v. */
    for (uint64_t c = 1; c <= 5; c++) {
        for (uint64_t f = 1; f <= 5; f++) {
            for (uint64_t v = 1; v <= 5; v++) {
                struct cache *cache = cache_new(64);
                put(cache, "a", f, 77, 1);
                cache_changed(cache, 77, c);
                bool is_good = c <= cf_min(f, v);
                ck_assert_uint_eq(get(cache, "a", v), is_good ? 1 : 0);
                cache_free(cache);
            }
        }
    }
}
END_TEST

START_TEST(every_key_counts)
{
    struct cache *cache = cache_new(64);
    struct thing *thing = thing_new(10, 1, 1);
    thing->keys[1] = 2;
    thing->object.key_count = 2;
    cache_put(cache, CACHE_ACL, CF_SLICE("x"), &thing->object);
    cache_object_unref(&thing->object);
    struct cache_object *hit = cache_get(cache, CACHE_ACL, CF_SLICE("x"), 12);
    ck_assert_ptr_nonnull(hit);
    cache_object_unref(hit);
    cache_changed(cache, 2, 11);
    ck_assert_ptr_null(cache_get(cache, CACHE_ACL, CF_SLICE("x"), 12));
    ck_assert_ptr_null(cache_get(cache, CACHE_POLICY, CF_SLICE("x"), 12)); /* kinds are apart */
    cache_free(cache);
}
END_TEST

/* Keys that share a slot of the clock, whatever its size: a change of one never makes the other
 * good, and may cost it a miss. */
START_TEST(shared_slots_only_miss)
{
    struct cache *cache = cache_new(64);
    const uint64_t near = 3, far = 3 + ((uint64_t)1 << 40);
    put(cache, "a", 10, near, 1);
    cache_changed(cache, far, 11);
    ck_assert(get(cache, "a", 12) == 0 || get(cache, "a", 12) == 1);
    cache_changed(cache, near, 12);
    cache_changed(cache, far, 11); /* must not wind the shared slot back */
    ck_assert_uint_eq(get(cache, "a", 12), 0);
    cache_free(cache);
}
END_TEST

START_TEST(newer_fills_stay)
{
    struct cache *cache = cache_new(64);
    put(cache, "a", 10, 1, 100);
    put(cache, "a", 9, 1, 90); /* a slow reader of an older view */
    ck_assert_uint_eq(get(cache, "a", 10), 100);
    put(cache, "a", 11, 1, 110);
    ck_assert_uint_eq(get(cache, "a", 11), 110);
    cache_free(cache);
}
END_TEST

START_TEST(the_overtaken_is_not_kept)
{
    struct cache *cache = cache_new(64);
    cache_changed(cache, 1, 12);
    destroyed = 0;
    put(cache, "a", 11, 1, 110);
    ck_assert_uint_eq(destroyed, 1);
    ck_assert_uint_eq(get(cache, "a", 11), 0);
    put(cache, "a", 12, 1, 120);
    ck_assert_uint_eq(get(cache, "a", 12), 120);
    cache_free(cache);
    ck_assert_uint_eq(destroyed, 2);
}
END_TEST

START_TEST(objects_outlive_their_place)
{
    struct cache *cache = cache_new(64);
    destroyed = 0;
    put(cache, "a", 10, 1, 100);
    struct cache_object *held = cache_get(cache, CACHE_TOKEN, CF_SLICE("a"), 10);
    put(cache, "a", 11, 1, 110);
    cache_clear(cache);
    ck_assert_uint_eq(destroyed, 1);
    ck_assert_uint_eq(cf_container(held, struct thing, object)->value, 100);
    ck_assert_uint_eq(get(cache, "a", 11), 0);
    cache_free(cache);
    cache_object_unref(held);
    ck_assert_uint_eq(destroyed, 2);
    cache_object_unref(NULL);
}
END_TEST

START_TEST(size_is_bounded)
{
    struct cache *cache = cache_new(64);
    char name[16];
    destroyed = 0;
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        put(cache, name, 10, i, i + 1);
        ck_assert_uint_eq(get(cache, name, 10), i + 1); /* what was put last is there */
    }
    ck_assert_uint_ge(destroyed, 5000 - 64);
    cache_free(cache);
    ck_assert_uint_eq(destroyed, 5000);
}
END_TEST

/* ---- one applier, threads that fill, threads that read ---- */

#define KEYS 8
#define ROUNDS 20000

/* An object is made from key k and from the key after it. */
struct race {
    struct cache *cache;
    _Atomic uint64_t published;
    _Atomic bool stop;
    _Atomic uint64_t hits, old_hits, fills, dropped, wrong;
    /* The truth by index: which key entry i changed. */
    uint8_t changed[ROUNDS + 1];
};

/* What the key holds as of the view: the last entry that changed it. */
static uint64_t truth(const struct race *race, unsigned key, uint64_t view)
{
    while (view > 0 && race->changed[view] != key) {
        view--;
    }
    return view;
}

static uint64_t truth_of_both(const struct race *race, unsigned key, uint64_t view)
{
    return truth(race, key, view) + (truth(race, (key + 1) % KEYS, view) << 32);
}

static void name_of(unsigned key, char name[2])
{
    name[0] = (char)('a' + key);
    name[1] = '\0';
}

/* A view, some of its entries ago. */
static uint64_t some_view(const struct race *race, struct cf_prng *prng)
{
    uint64_t newest = atomic_load(&race->published);
    return newest - cf_min(newest, cf_prng_below(prng, 4));
}

/* Reads its view, takes its time, and puts what it made: much of it has been overtaken by then. */
static void *filler(void *arg)
{
    struct race *race = arg;
    struct cf_prng prng;
    cf_prng_seed(&prng, (uint64_t)(uintptr_t)&prng);
    while (!atomic_load(&race->stop)) {
        uint64_t view = some_view(race, &prng);
        unsigned key = (unsigned)cf_prng_below(&prng, KEYS), other = (key + 1) % KEYS;
        struct thing *thing = thing_new(view, key, truth_of_both(race, key, view));
        char name[2];
        name_of(key, name);
        thing->keys[1] = other;
        thing->object.key_count = 2;
        for (uint64_t i = cf_prng_below(&prng, 3); i > 0; i--) {
            sched_yield();
        }
        cache_put(race->cache, CACHE_TOKEN, cf_slice_str(name), &thing->object);
        race->fills++;
        race->dropped += !cache_unchanged(race->cache, key, view, view) ||
                         !cache_unchanged(race->cache, other, view, view);
        cache_object_unref(&thing->object);
    }
    return NULL;
}

/* Whatever it gets at a view is what a reader of that view would have made itself. */
static void *reader(void *arg)
{
    struct race *race = arg;
    struct cf_prng prng;
    cf_prng_seed(&prng, (uint64_t)(uintptr_t)&prng);
    while (!atomic_load(&race->stop)) {
        uint64_t view = some_view(race, &prng);
        unsigned key = (unsigned)cf_prng_below(&prng, KEYS);
        char name[2];
        name_of(key, name);
        struct cache_object *object = cache_get(race->cache, CACHE_TOKEN, cf_slice_str(name), view);
        if (object != NULL) {
            uint64_t value = cf_container(object, struct thing, object)->value;
            race->hits++;
            race->old_hits += object->index != view;
            race->wrong += value != truth_of_both(race, key, view);
            cache_object_unref(object);
        }
    }
    return NULL;
}

START_TEST(fills_while_the_applier_invalidates)
{
    struct race *race = cf_new(struct race);
    pthread_t threads[4];
    struct cf_prng prng;
    cf_prng_seed(&prng, 7);
    race->cache = cache_new(64);
    race->changed[0] = KEYS;
    for (unsigned i = 1; i <= ROUNDS; i++) {
        race->changed[i] = (uint8_t)cf_prng_below(&prng, KEYS);
    }
    for (size_t i = 0; i < CF_LENGTH(threads); i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i % 2 == 0 ? filler : reader, race), 0);
    }
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        cache_changed(race->cache, race->changed[i],
                      i); /* before it is visible, as the applier does */
        atomic_store(&race->published, i);
        if (i % 5000 == 2500) { /* not the last: what is filled after it has to be found */
            cache_changed_all(race->cache, i);
            cache_clear(race->cache);
        }
        if (i % 16 == 0) {
            sched_yield();
        }
    }
    /* Nothing changes any more: fills stay, and are found by views of other indexes, too. */
    for (unsigned i = 0; i < 60000 && atomic_load(&race->old_hits) < 100; i++) {
        struct timespec pause = {0, 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    atomic_store(&race->stop, true);
    for (size_t i = 0; i < CF_LENGTH(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(race->wrong, 0);
    ck_assert_uint_ge(race->old_hits, 100);
    ck_assert_uint_ge(race->dropped, 1);
    cache_free(race->cache);
    cf_free(race);
}
END_TEST

TEST_MAIN("node/core/cache", change_clock, good_exactly_when_nothing_changed_after_both, every_key_counts,
          shared_slots_only_miss, newer_fills_stay, the_overtaken_is_not_kept,
          objects_outlive_their_place, size_is_bounded, fills_while_the_applier_invalidates)
