/* node/server/replication/root.c: the hash over everything that a kind of replication ships.
 *
 * Over keys (without the generation, which is each cluster's own) and sealed values (without the
 * modification index, which is each log's own), in their order. */
#include "node/server/replication/root.h"

#include <pthread.h>
#include <stdio.h>

#include "node/base/memory.h"
#include "node/crypto/hash.h"
#include "node/server/replication/codec.h"

struct root_cache {
    pthread_mutex_t lock;
    struct {
        uint64_t index; /* of the view; 0: none */
        char text[ROOT_TEXT_SIZE];
    } roots[REPL_KIND_COUNT];
};

struct root_cache *root_cache_new(void)
{
    struct root_cache *cache = cf_new(struct root_cache);
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

void root_cache_free(struct root_cache *cache)
{
    if (cache != NULL) {
        pthread_mutex_destroy(&cache->lock);
        cf_free(cache);
    }
}

static void add_sized(struct hash *hash, struct cf_slice bytes)
{
    uint8_t size[8];
    cf_put_u64(size, bytes.size);
    hash_add(hash, cf_slice_of(size, sizeof(size)));
    hash_add(hash, bytes);
}

static cf_status add_class(struct hash *hash, const struct view *view, uint8_t class,
                           struct cf_error *err)
{
    uint8_t lower[5] = {class}, upper[5] = {class};
    uint32_t generation = view->generation[class_number(class)];
    cf_put_u32(lower + 1, generation);
    cf_put_u32(upper + 1, generation + 1);
    struct kv_range range = {cf_slice_of(lower, 5), cf_slice_of(upper, 5), true};
    CF_OWNED(kv_iterator) iterator =
        kv_iterator_new((struct kv_view){view->db, view->snapshot}, view->state, range);
    hash_add(hash, cf_slice_of(&class, 1));
    for (kv_seek_first(iterator); kv_valid(iterator); kv_next(iterator)) {
        add_sized(hash, cf_slice_from(kv_key(iterator), 5));
        add_sized(hash, cf_slice_from(kv_bytes(iterator), VALUE_HEADER_SIZE));
    }
    return kv_iterator_check(iterator, err);
}

static cf_status scan(const struct view *view, enum repl_kind kind, char ret[ROOT_TEXT_SIZE],
                      struct cf_error *err)
{
    static const uint8_t classes[] = {CLASS_REPLICATED, CLASS_CLUSTER};
    enum hash_kind sha256;
    uint8_t digest[64];
    if (!hash_find(CF_SLICE("sha2-256"), &sha256)) {
        return cf_fail(err, CF_INTERNAL, "no SHA-256");
    }
    struct hash *hash = hash_new(sha256);
    cf_status status = CF_OK;
    for (size_t i = 0; i < sizeof(classes) && status == CF_OK; i++) {
        if (codec_ships(kind, classes[i])) {
            status = add_class(hash, view, classes[i], err);
        }
    }
    (void)hash_end(hash, digest);
    hash_free(hash);
    for (int i = 0; i < 20; i++) {
        (void)snprintf(ret + 2 * i, 3, "%02x", digest[i]);
    }
    return status;
}

cf_status root_of(struct root_cache *cache, const struct view *view, enum repl_kind kind,
                  char ret[ROOT_TEXT_SIZE], struct cf_error *err)
{
    cf_status status = CF_OK;
    pthread_mutex_lock(&cache->lock);
    if (cache->roots[kind].index != view->index || view->index == 0) {
        cache->roots[kind].index = 0;
        status = scan(view, kind, cache->roots[kind].text, err);
        cache->roots[kind].index = status == CF_OK ? view->index : 0;
    }
    memcpy(ret, cache->roots[kind].text, ROOT_TEXT_SIZE);
    pthread_mutex_unlock(&cache->lock);
    return status;
}
