/* node/crypto/random.c: OpenSSL's generator behind the injected table. */
#include "node/crypto/random.h"

#include <limits.h>
#include <string.h>

#include <openssl/rand.h>

#include "node/base/memory.h"
#include "node/crypto/crypto_int.h"

static void fill(void *context, void *bytes, size_t size)
{
    (void)context;
    uint8_t *at = bytes;
    while (size != 0) {
        size_t part = cf_min(size, INT_MAX);
        if (RAND_bytes(at, (int)part) != 1) {
            crypto_abort("random bytes");
        }
        at += part;
        size -= part;
    }
}

const struct cf_random *random_system(void)
{
    static const struct cf_random table = {.fill = fill};
    return &table;
}

void random_public(void *bytes, size_t size)
{
    if (size == 0 || size > CRYPTO_POOL_SIZE / 4) {
        fill(NULL, bytes, size);
        return;
    }
    struct crypto_thread *thread = crypto_thread();
    if (thread->pool_left < size) {
        fill(NULL, thread->pool, CRYPTO_POOL_SIZE);
        thread->pool_left = CRYPTO_POOL_SIZE;
    }
    /* Bytes that were handed out leave the pool: nothing can hand them out twice. */
    uint8_t *from = thread->pool + CRYPTO_POOL_SIZE - thread->pool_left;
    memcpy(bytes, from, size);
    cf_wipe(from, size);
    thread->pool_left -= size;
}

static void fill_public(void *context, void *bytes, size_t size)
{
    (void)context;
    random_public(bytes, size);
}

const struct cf_random *random_system_public(void)
{
    static const struct cf_random table = {.fill = fill_public};
    return &table;
}
