/* node/barrier/barrier.c: the sealed form of a value. */
#include "node/barrier/barrier.h"

#include "node/barrier/keyring_int.h"
#include "node/base/memory.h"
#include "node/crypto/aead.h"
#include "node/crypto/random.h"

#define KEY_ID_AT 1
#define NONCE_AT (KEY_ID_AT + 8)
#define TEXT_AT (NONCE_AT + AEAD_NONCE_SIZE)
_Static_assert(BARRIER_OVERHEAD == TEXT_AT + AEAD_TAG_SIZE, "the format of the header");

/* What is authenticated before the name: 1 format version | 1 class | 4 namespace. */
struct bound {
    uint8_t bytes[6];
};

static struct bound bound_of(const struct barrier_name *name)
{
    struct bound bound = {{BARRIER_FORMAT, name->class}};
    cf_put_u32(bound.bytes + 2, name->ns);
    return bound;
}

static cf_status purpose_of(const struct barrier_name *name, const struct line_id *line,
                            enum keyring_purpose *ret, struct cf_error *err)
{
    switch (name->class) {
    case BARRIER_REPLICATED:
        *ret = KEYRING_ITSELF;
        return CF_OK;
    case BARRIER_OWN:
        *ret = KEYRING_OF_CLUSTER_ALONE;
        return CF_OK;
    case BARRIER_CLUSTER:
        *ret = KEYRING_OF_LINE;
        return line != NULL ? CF_OK : cf_fail(err, CF_INVALID, "line of the cluster is not known");
    default:
        return cf_fail(err, CF_INVALID, "unknown class %u of a key", name->class);
    }
}

cf_status barrier_seal(const struct keyring *keyring, const struct barrier_name *name,
                       const struct line_id *line, struct cf_slice plain, struct cf_buf *out,
                       struct cf_error *err)
{
    enum keyring_purpose purpose;
    CF_TRY(purpose_of(name, line, &purpose, err));
    if (plain.size > AEAD_PLAIN_MAX || !cf_buf_reserve(out, plain.size + BARRIER_OVERHEAD)) {
        return cf_fail(err, CF_TOO_LARGE, "value of %zu bytes is too large", plain.size);
    }
    uint8_t *to = out->data + out->size;
    struct key_id id;
    struct aead_key *key =
        keyring_cipher_active(keyring, purpose, line != NULL ? line->bytes : NULL, &id);
    struct bound bound = bound_of(name);
    struct aead_input input = {.aad = cf_slice_of(bound.bytes, sizeof(bound.bytes)),
                               .aad_more = name->name};
    random_public(input.nonce, sizeof(input.nonce));
    to[0] = BARRIER_FORMAT;
    memcpy(to + KEY_ID_AT, id.bytes, sizeof(id.bytes));
    memcpy(to + NONCE_AT, input.nonce, sizeof(input.nonce));
    CF_TRY(aead_seal(key, &input, plain, to + TEXT_AT, err));
    out->size += plain.size + BARRIER_OVERHEAD;
    return CF_OK;
}

static cf_status check_head(struct cf_slice sealed, struct cf_error *err)
{
    if (sealed.size < BARRIER_OVERHEAD || sealed.data[0] == 0) {
        return cf_fail(err, CF_CORRUPT, "not a sealed value");
    }
    if (sealed.data[0] > BARRIER_FORMAT) {
        return cf_fail(err, CF_UNSUPPORTED, "value has format %u, which needs a newer version",
                       sealed.data[0]);
    }
    return CF_OK;
}

/* `out` has room for the plaintext. */
static cf_status open_to(const struct keyring *keyring, const struct barrier_name *name,
                         const struct line_id *line, struct cf_slice sealed, uint8_t *out,
                         struct cf_error *err)
{
    enum keyring_purpose purpose;
    struct key_id id;
    struct aead_key *key;
    CF_TRY(purpose_of(name, line, &purpose, err));
    CF_TRY(barrier_key_of(sealed, &id, err));
    CF_TRY(keyring_cipher(keyring, id, purpose, line != NULL ? line->bytes : NULL, &key, err));
    struct bound bound = bound_of(name);
    struct aead_input input = {.aad = cf_slice_of(bound.bytes, sizeof(bound.bytes)),
                               .aad_more = name->name};
    memcpy(input.nonce, sealed.data + NONCE_AT, sizeof(input.nonce));
    return aead_open(key, &input, cf_slice_from(sealed, TEXT_AT), out, err);
}

cf_status barrier_open(const struct keyring *keyring, const struct barrier_name *name,
                       const struct line_id *line, struct cf_slice sealed, struct arena *arena,
                       struct cf_slice *ret, struct cf_error *err)
{
    CF_TRY(check_head(sealed, err));
    size_t size = sealed.size - BARRIER_OVERHEAD;
    uint8_t *out = arena_alloc_raw(arena, size + 1);
    CF_TRY(open_to(keyring, name, line, sealed, out, err));
    out[size] = '\0'; /* as arena_copy() does */
    *ret = cf_slice_of(out, size);
    return CF_OK;
}

cf_status barrier_open_buf(const struct keyring *keyring, const struct barrier_name *name,
                           const struct line_id *line, struct cf_slice sealed, struct cf_buf *out,
                           struct cf_error *err)
{
    CF_TRY(check_head(sealed, err));
    size_t size = sealed.size - BARRIER_OVERHEAD;
    if (!cf_buf_reserve(out, cf_max(size, 1))) {
        return cf_buf_check(out, err);
    }
    CF_TRY(open_to(keyring, name, line, sealed, out->data + out->size, err));
    out->size += size;
    return CF_OK;
}

cf_status barrier_key_of(struct cf_slice sealed, struct key_id *ret, struct cf_error *err)
{
    CF_TRY(check_head(sealed, err));
    memcpy(ret->bytes, sealed.data + KEY_ID_AT, sizeof(ret->bytes));
    return CF_OK;
}
