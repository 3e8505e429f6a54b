/* node/base/secret.c: the locked arena of key material, a first-fit list inside one mapping. */
#include "node/base/secret.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "node/base/memory.h"

#define UNIT ((size_t)32)
#define DEFAULT_SIZE ((size_t)1 << 20)

struct secret {
    size_t size;
    _Alignas(16) uint8_t bytes[];
};

static struct {
    pthread_mutex_t lock;
    uint8_t *base;
    size_t units;
    uint8_t *used; /* one byte a unit: 0 free, 1 taken */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static cf_status pool_map(size_t size, bool must_lock, struct cf_error *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size = (size + page - 1) / page * page;
    uint8_t *map = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        return cf_fail(err, CF_IO, "cannot map %zu bytes for keys", size);
    }
    uint8_t *base = map + page;
    if (mprotect(base, size, PROT_READ | PROT_WRITE) != 0) {
        cf_ignore(munmap(map, size + 2 * page), "already failing");
        return cf_fail(err, CF_IO, "cannot unprotect the key memory");
    }
    cf_ignore(madvise(base, size, MADV_DONTDUMP), "a kernel without it still has no core limit");
    cf_ignore(madvise(base, size, MADV_WIPEONFORK), "older kernels lack it; we do not fork");
    if (mlock(base, size) != 0 && must_lock) {
        cf_ignore(munmap(map, size + 2 * page), "already failing");
        cf_fail(err, CF_IO, "cannot lock %zu bytes of key memory: raise the memlock limit "
                            "(LimitMEMLOCK, ulimit -l) or set disable_mlock = true",
                size);
        return CF_IO;
    }
    pool.base = base;
    pool.units = size / UNIT;
    pool.used = cf_zalloc(pool.units);
    return CF_OK;
}

cf_status secret_init(size_t size, bool must_lock, struct cf_error *err)
{
    pthread_mutex_lock(&pool.lock);
    cf_status status = pool.base == NULL ? pool_map(size, must_lock, err) : CF_OK;
    pthread_mutex_unlock(&pool.lock);
    return status;
}

static size_t units_of(size_t size)
{
    return (sizeof(struct secret) + size + UNIT - 1) / UNIT;
}

static void *pool_take(size_t units)
{
    size_t run = 0;
    for (size_t i = 0; i < pool.units; i++) {
        run = pool.used[i] != 0 ? 0 : run + 1;
        if (run == units) {
            memset(pool.used + i + 1 - units, 1, units);
            return pool.base + (i + 1 - units) * UNIT;
        }
    }
    return NULL;
}

struct secret *secret_new(size_t size)
{
    struct secret *secret = NULL;
    pthread_mutex_lock(&pool.lock);
    if (pool.base != NULL || pool_map(DEFAULT_SIZE, false, NULL) == CF_OK) {
        secret = size <= SECRET_SIZE_MAX ? pool_take(units_of(size)) : NULL;
    }
    pthread_mutex_unlock(&pool.lock);
    if (secret == NULL) {
        (void)cf_alloc(SIZE_MAX / 2); /* ends the process with the out-of-memory text */
        __builtin_unreachable();
    }
    memset(secret, 0, sizeof(*secret) + size);
    secret->size = size;
    return secret;
}

struct secret *secret_copy(struct cf_slice from)
{
    struct secret *secret = secret_new(from.size);
    memcpy(secret->bytes, from.data, from.size);
    return secret;
}

void secret_free(struct secret *secret)
{
    if (secret == NULL) {
        return;
    }
    size_t units = units_of(secret->size);
    cf_wipe(secret, units * UNIT);
    pthread_mutex_lock(&pool.lock);
    memset(pool.used + ((size_t)((uint8_t *)secret - pool.base)) / UNIT, 0, units);
    pthread_mutex_unlock(&pool.lock);
}

uint8_t *secret_bytes(struct secret *secret)
{
    return secret->bytes;
}

struct cf_slice secret_slice(const struct secret *secret)
{
    return cf_slice_of(secret->bytes, secret->size);
}

bool secret_equal(const struct secret *secret, struct cf_slice other)
{
    return secret->size == other.size && cf_equal_secret(secret->bytes, other.data, other.size);
}
