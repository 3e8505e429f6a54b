/* node/crypto/hash.c: digests, HMAC and HKDF over prefetched algorithms and contexts kept per
 * thread. */
#include "node/crypto/hash.h"

#include <assert.h>

#include "node/base/memory.h"
#include "node/crypto/crypto_int.h"

#define BLOCK_MAX ((size_t)144) /* SHA3-224 */

static const struct {
    const char *name;
    size_t size, block;
} kinds[] = {
    [HASH_SHA1] = {"sha1", 20, 64},          [HASH_SHA224] = {"sha2-224", 28, 64},
    [HASH_SHA256] = {"sha2-256", 32, 64},    [HASH_SHA384] = {"sha2-384", 48, 128},
    [HASH_SHA512] = {"sha2-512", 64, 128},   [HASH_SHA3_224] = {"sha3-224", 28, 144},
    [HASH_SHA3_256] = {"sha3-256", 32, 136}, [HASH_SHA3_384] = {"sha3-384", 48, 104},
    [HASH_SHA3_512] = {"sha3-512", 64, 72},
};
_Static_assert(CF_LENGTH(kinds) == HASH_KIND_COUNT, "a row for each digest");

struct hash {
    enum hash_kind kind;
    EVP_MD_CTX *context;
};

static void must(int done)
{
    if (done != 1) {
        crypto_abort("a digest");
    }
}

static EVP_MD_CTX *context_new(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL) {
        crypto_abort("memory for a digest");
    }
    return context;
}

/* The thread's context of this kind, started. */
static EVP_MD_CTX *begin(enum hash_kind kind)
{
    EVP_MD_CTX **kept = &crypto_thread()->digests[kind];
    if (*kept == NULL) {
        *kept = context_new();
    }
    must(EVP_DigestInit_ex2(*kept, crypto_digest(kind), NULL));
    return *kept;
}

static void add(EVP_MD_CTX *context, struct cf_slice data)
{
    if (data.size != 0) {
        must(EVP_DigestUpdate(context, data.data, data.size));
    }
}

static void add_parts(EVP_MD_CTX *context, const struct cf_slice *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        add(context, parts[i]);
    }
}

static void end(EVP_MD_CTX *context, uint8_t *out)
{
    must(EVP_DigestFinal_ex(context, out, NULL));
}

bool hash_find(struct cf_slice name, enum hash_kind *ret)
{
    for (size_t i = 0; i < HASH_KIND_COUNT; i++) {
        if (cf_slice_is(name, kinds[i].name)) {
            *ret = (enum hash_kind)i;
            return true;
        }
    }
    return false;
}

const char *hash_name(enum hash_kind kind)
{
    return kinds[kind].name;
}

size_t hash_size(enum hash_kind kind)
{
    return kinds[kind].size;
}

size_t hash_once(enum hash_kind kind, struct cf_slice data, uint8_t *out)
{
    EVP_MD_CTX *context = begin(kind);
    add(context, data);
    end(context, out);
    return kinds[kind].size;
}

void hash_sha1(struct cf_slice data, uint8_t out[20])
{
    (void)hash_once(HASH_SHA1, data, out);
}

void hash_sha256(struct cf_slice data, uint8_t out[32])
{
    (void)hash_once(HASH_SHA256, data, out);
}

void hash_sha256_parts(const struct cf_slice *parts, size_t count, uint8_t out[32])
{
    EVP_MD_CTX *context = begin(HASH_SHA256);
    add_parts(context, parts, count);
    end(context, out);
}

struct hash *hash_new(enum hash_kind kind)
{
    struct hash *hash = cf_new(struct hash);
    hash->kind = kind;
    hash->context = context_new();
    must(EVP_DigestInit_ex2(hash->context, crypto_digest(kind), NULL));
    return hash;
}

void hash_free(struct hash *hash)
{
    if (hash != NULL) {
        EVP_MD_CTX_free(hash->context);
        cf_free(hash);
    }
}

void hash_add(struct hash *hash, struct cf_slice data)
{
    add(hash->context, data);
}

size_t hash_end(struct hash *hash, uint8_t *out)
{
    end(hash->context, out);
    must(EVP_DigestInit_ex2(hash->context, crypto_digest(hash->kind), NULL));
    return kinds[hash->kind].size;
}

/* RFC 2104, written out: EVP_MAC would keep the key in a context of the thread after the call. */
static void hmac(enum hash_kind kind, struct cf_slice key, const struct cf_slice *parts,
                 size_t count, uint8_t *out)
{
    uint8_t pad[BLOCK_MAX] = {0};
    size_t block = kinds[kind].block;
    if (key.size > block) {
        (void)hash_once(kind, key, pad);
    } else if (key.size != 0) {
        memcpy(pad, key.data, key.size);
    }
    for (size_t i = 0; i < block; i++) {
        pad[i] ^= 0x36;
    }
    uint8_t inner[HASH_SIZE_MAX];
    EVP_MD_CTX *context = begin(kind);
    add(context, cf_slice_of(pad, block));
    add_parts(context, parts, count);
    end(context, inner);
    for (size_t i = 0; i < block; i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }
    context = begin(kind);
    add(context, cf_slice_of(pad, block));
    add(context, cf_slice_of(inner, kinds[kind].size));
    end(context, out);
    (void)begin(kind); /* the result may be a key: the context forgets it */
    cf_wipe(pad, sizeof(pad));
    cf_wipe(inner, sizeof(inner));
}

size_t hash_hmac(enum hash_kind kind, struct cf_slice key, struct cf_slice data, uint8_t *out)
{
    hmac(kind, key, &data, 1, out);
    return kinds[kind].size;
}

void hash_hmac_sha256(struct cf_slice key, struct cf_slice data, uint8_t out[32])
{
    hmac(HASH_SHA256, key, &data, 1, out);
}

void hash_hmac_sha256_parts(struct cf_slice key, const struct cf_slice *parts, size_t count,
                            uint8_t out[32])
{
    hmac(HASH_SHA256, key, parts, count, out);
}

void hash_hkdf_sha256(struct cf_slice key, struct cf_slice salt, struct cf_slice info, uint8_t *out,
                      size_t size)
{
    assert(size != 0 && size <= HASH_HKDF_MAX);
    uint8_t extracted[32], block[32];
    hash_hmac_sha256(salt, key,
                     extracted); /* an empty key and 32 zero bytes are the same to HMAC */
    for (uint8_t round = 1; size != 0; round++) {
        const struct cf_slice parts[] = {cf_slice_of(block, round == 1 ? 0 : sizeof(block)), info,
                                         cf_slice_of(&round, 1)};
        hash_hmac_sha256_parts(cf_slice_of(extracted, sizeof(extracted)), parts, CF_LENGTH(parts),
                               block);
        size_t part = cf_min(size, sizeof(block));
        memcpy(out, block, part);
        out += part;
        size -= part;
    }
    cf_wipe(extracted, sizeof(extracted));
    cf_wipe(block, sizeof(block));
}
